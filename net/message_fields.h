/* How the two halves of the codec reach a field inside a struct; private to net/message*.c.
 *
 * Array pointers and counts are copied by memcpy: the field's real type is known to its schema alone. */
#pragma once

#include <assert.h>

#include "net/message.h"

static inline size_t field_value_size(const struct field *field)
{
    switch (field->kind) {
    case KIND_u32:
        return sizeof(uint32_t);
    case KIND_u64:
    case KIND_i64:
        return sizeof(uint64_t);
    case KIND_boolean:
        return sizeof(bool);
    case KIND_bytes:
        return sizeof(struct bytes);
    case KIND_struct:
        return field->schema->size;
    }
    assert(false);
    return 0;
}

static inline void *field_array(const struct field *field, const uint8_t *body)
{
    void *array;

    memcpy(&array, body + field->offset, sizeof(array));
    return array;
}

static inline uint32_t field_count(const struct field *field, const uint8_t *body)
{
    uint32_t count;

    memcpy(&count, body + field->count_offset, sizeof(count));
    return count;
}

static inline void field_set_array(const struct field *field, uint8_t *body, void *array, uint32_t count)
{
    memcpy(body + field->offset, &array, sizeof(array));
    memcpy(body + field->count_offset, &count, sizeof(count));
}
