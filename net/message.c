/* The generic codec: walks a schema's fields and a struct side by side.
 *
 * Packing goes through msgpack-c. Unpacking is our own, because it must be bounded in every direction: each read checks what is
 * left, a count is never larger than the bytes left, all arrays of one message together may take at most
 * ARRAY_BYTES_FACTOR times the packed size, and what a newer peer added is skipped to a fixed depth. Every valid msgpack encoding of
 * an integer is taken, bytes come as bin or str, and no value is interpreted beyond its kind. */
#include "net/message.h"

#include <assert.h>
#include <msgpack/pack.h>

#include "net/error.h"
#include "net/message_fields.h"
#include "net/planted_bug.h"

enum {
    SKIP_DEPTH_MAX = 2 * MESSAGE_DEPTH_MAX, /* a struct and the array that holds it are two levels */
    /* A wire byte makes at most 16 bytes of a struct that has all its fields (an empty array); twice that for old peers. */
    ARRAY_BYTES_FACTOR = 32,
    ARRAY_BYTES_FREE = 65536
};

#define SELF struct wire_address
SCHEMA_DEFINE(wire_address, fields_wire_address)
#undef SELF

/* ---- life ---- */

static struct message *create(const struct message_type *type, size_t extra)
{
    struct arena arena = {0};
    size_t head = (sizeof(struct message) + 7) & ~(size_t)7;
    struct message *message = arena_alloc(&arena, head + type->schema->size + extra);

    if (message == NULL)
        return NULL;
    memset(message, 0, head + type->schema->size - PLANTED_BUG(UNINITIALIZED));
    message->refs = 1;
    message->type = type;
    message->body = (uint8_t *)message + head;
    message->arena = arena;
    return message;
}

struct message *message_create(const struct message_type *type)
{
    return create(type, 0);
}

void message_unref(struct message *message)
{
    while (message != NULL) {
        struct message *keeps = message->keeps;
        struct arena arena = message->arena;

        assert(message->refs > 0);
        if (--message->refs > 0)
            return;
        arena_done(&arena);
        message = keeps;
    }
}

bool message_give(struct message *message, struct arena *into)
{
    struct arena arena = message->arena; /* the message lies in it */

    if (message->refs != 1 || message->keeps != NULL)
        return false;
    arena_join(into, &arena);
    return true;
}

void message_keep(struct message *message, struct message *kept)
{
    assert(message->keeps == NULL && message != kept);
    message->keeps = message_ref(kept);
}

/* ---- packing ---- */

static int append(void *data, const char *bytes, size_t len)
{
    return bytes_buffer_append(data, bytes_of(bytes, len));
}

static int pack_struct(msgpack_packer *packer, const struct schema *schema, const uint8_t *body, unsigned depth);

static int pack_value(msgpack_packer *packer, const struct field *field, const uint8_t *at, unsigned depth)
{
    const struct bytes *bytes = (const void *)at;

    switch (field->kind) {
    case KIND_u32:
        return msgpack_pack_uint32(packer, *(const uint32_t *)(const void *)at);
    case KIND_u64:
        return msgpack_pack_uint64(packer, *(const uint64_t *)(const void *)at);
    case KIND_i64:
        return msgpack_pack_int64(packer, *(const int64_t *)(const void *)at);
    case KIND_boolean:
        return *(const bool *)at ? msgpack_pack_true(packer) : msgpack_pack_false(packer);
    case KIND_bytes:
        assert(bytes->len <= UINT32_MAX);
        if (msgpack_pack_bin(packer, bytes->len) != 0)
            return ERROR_OUT_OF_MEMORY;
        return bytes->len == 0 ? 0 : msgpack_pack_bin_body(packer, bytes->ptr, bytes->len);
    case KIND_struct:
        return pack_struct(packer, field->schema, at, depth + 1);
    }
    assert(false);
    return ERROR_OUT_OF_MEMORY;
}

static int pack_array(msgpack_packer *packer, const struct field *field, const uint8_t *body, unsigned depth)
{
    const uint8_t *array = field_array(field, body);
    uint32_t count = field_count(field, body);
    size_t size = field_value_size(field);

    if (msgpack_pack_array(packer, count) != 0)
        return ERROR_OUT_OF_MEMORY;
    for (uint32_t i = 0; i < count; i++) {
        if (pack_value(packer, field, array + i * size, depth) != 0)
            return ERROR_OUT_OF_MEMORY;
    }
    return 0;
}

static int pack_struct(msgpack_packer *packer, const struct schema *schema, const uint8_t *body, unsigned depth)
{
    assert(depth <= MESSAGE_DEPTH_MAX);
    if (msgpack_pack_array(packer, schema->field_count) != 0)
        return ERROR_OUT_OF_MEMORY;
    for (uint32_t i = 0; i < schema->field_count; i++) {
        const struct field *field = &schema->fields[i];
        int failed = field->form == FORM_ARRAY ? pack_array(packer, field, body, depth)
                                               : pack_value(packer, field, body + field->offset, depth);

        if (failed)
            return ERROR_OUT_OF_MEMORY;
    }
    return 0;
}

int message_encode(const struct schema *schema, const void *body, struct bytes_buffer *out)
{
    size_t len_before = out->len;
    msgpack_packer packer;

    msgpack_packer_init(&packer, out, append);
    if (pack_struct(&packer, schema, body, 1) == 0)
        return 0;
    out->len = len_before;
    return ERROR_OUT_OF_MEMORY;
}

/* ---- unpacking ---- */

struct reader {
    const uint8_t *at, *end;
    struct arena *arena;
    size_t array_bytes_left; /* what arrays may still take */
};

static size_t left(const struct reader *reader)
{
    return (size_t)(reader->end - reader->at);
}

/* `count` bytes as a big-endian number; false when they are not there. */
static bool read_number(struct reader *reader, unsigned count, uint64_t *ret_number)
{
    uint64_t number = 0;

    if (left(reader) < count)
        return false;
    for (unsigned i = 0; i < count; i++)
        number = number << 8 | reader->at[i];
    reader->at += count;
    *ret_number = number;
    return true;
}

static bool read_tag(struct reader *reader, uint8_t *ret_tag)
{
    if (left(reader) == 0)
        return false;
    *ret_tag = *reader->at++;
    return true;
}

/* Any msgpack integer: its 64 bits, and whether it is below zero. */
static bool read_integer(struct reader *reader, uint64_t *ret_bits, bool *ret_negative)
{
    uint8_t tag;
    unsigned width;
    uint64_t bits;

    if (!read_tag(reader, &tag))
        return false;
    if (tag <= 0x7f || tag >= 0xe0) { /* the number itself */
        *ret_bits = (uint64_t)(int64_t)(int8_t)tag;
        *ret_negative = tag >= 0xe0;
        return true;
    }
    if (tag < 0xcc || tag > 0xd3)
        return false;
    width = 1U << ((tag - 0xcc) & 3);
    if (!read_number(reader, width, &bits))
        return false;
    *ret_negative = false;
    if (tag >= 0xd0) {
        unsigned shift = 64 - 8 * width;

        bits = (uint64_t)((int64_t)(bits << shift) >> shift);
        *ret_negative = (int64_t)bits < 0;
    }
    *ret_bits = bits;
    return true;
}

static bool read_array(struct reader *reader, uint32_t *ret_count)
{
    uint8_t tag;
    uint64_t count;

    if (!read_tag(reader, &tag))
        return false;
    if (tag >= 0x90 && tag <= 0x9f)
        count = tag & 0x0f;
    else if ((tag != 0xdc && tag != 0xdd) || !read_number(reader, tag == 0xdc ? 2 : 4, &count))
        return false;
    if (count > left(reader)) /* each element takes at least one byte */
        return false;
    *ret_count = (uint32_t)count;
    return true;
}

static bool read_bytes(struct reader *reader, struct bytes *ret_bytes)
{
    uint8_t tag;
    uint64_t len;

    if (!read_tag(reader, &tag))
        return false;
    if (tag >= 0xa0 && tag <= 0xbf)
        len = tag & 0x1f;
    else if (tag >= 0xc4 && tag <= 0xc6) {
        if (!read_number(reader, 1U << (tag - 0xc4), &len))
            return false;
    } else if (tag < 0xd9 || tag > 0xdb || !read_number(reader, 1U << (tag - 0xd9), &len)) {
        return false;
    }
    if (len > left(reader))
        return false;
    *ret_bytes = bytes_of(reader->at, (size_t)len);
    reader->at += len;
    return true;
}

static bool read_boolean(struct reader *reader, bool *ret_value)
{
    uint8_t tag;

    if (!read_tag(reader, &tag) || (tag != 0xc2 && tag != 0xc3))
        return false;
    *ret_value = tag == 0xc3;
    return true;
}

/* How much follows the tag of a value that nobody here knows: bytes of payload, and values inside it. */
static bool read_unknown(struct reader *reader, uint64_t *ret_payload, uint64_t *ret_values)
{
    static const uint8_t fixed[32] = {[0x0a] = 4, [0x0b] = 8, [0x0c] = 1,  [0x0d] = 2,  [0x0e] = 4,
                                      [0x0f] = 8, [0x10] = 1, [0x11] = 2,  [0x12] = 4,  [0x13] = 8,
                                      [0x14] = 2, [0x15] = 3, [0x16] = 5,  [0x17] = 9,  [0x18] = 17};
    uint8_t tag;

    *ret_payload = *ret_values = 0;
    if (!read_tag(reader, &tag))
        return false;
    if (tag <= 0x7f || tag >= 0xe0)
        return true;
    if (tag <= 0x8f) {
        *ret_values = 2 * (uint64_t)(tag & 0x0f);
    } else if (tag <= 0x9f) {
        *ret_values = tag & 0x0f;
    } else if (tag <= 0xbf) {
        *ret_payload = tag & 0x1f;
    } else if (tag >= 0xc4 && tag <= 0xc6) {
        return read_number(reader, 1U << (tag - 0xc4), ret_payload);
    } else if (tag >= 0xc7 && tag <= 0xc9) { /* ext: one byte more, its type */
        bool there = read_number(reader, 1U << (tag - 0xc7), ret_payload);

        *ret_payload += 1;
        return there;
    } else if (tag >= 0xd9 && tag <= 0xdb) {
        return read_number(reader, 1U << (tag - 0xd9), ret_payload);
    } else if (tag == 0xdc || tag == 0xdd) {
        return read_number(reader, tag == 0xdc ? 2 : 4, ret_values);
    } else if (tag == 0xde || tag == 0xdf) {
        bool there = read_number(reader, tag == 0xde ? 2 : 4, ret_values);

        *ret_values *= 2;
        return there;
    } else {
        *ret_payload = fixed[tag & 0x1f];
        return tag != 0xc1; /* never used */
    }
    return true;
}

static bool skip(struct reader *reader, unsigned depth)
{
    uint64_t payload, values;

    if (depth > SKIP_DEPTH_MAX || !read_unknown(reader, &payload, &values))
        return false;
    if (payload > left(reader) || values > left(reader))
        return false;
    reader->at += payload;
    for (uint64_t i = 0; i < values; i++) {
        if (!skip(reader, depth + 1))
            return false;
    }
    return true;
}

static int unpack_struct(struct reader *reader, const struct schema *schema, uint8_t *body, unsigned depth);

static bool unpack_scalar(struct reader *reader, const struct field *field, uint8_t *at)
{
    uint64_t bits;
    bool negative;

    if (field->kind == KIND_bytes)
        return read_bytes(reader, (struct bytes *)(void *)at);
    if (field->kind == KIND_boolean)
        return read_boolean(reader, (bool *)at);
    if (!read_integer(reader, &bits, &negative))
        return false;
    switch (field->kind) {
    case KIND_u32:
        *(uint32_t *)(void *)at = (uint32_t)bits;
        return !negative && bits <= UINT32_MAX;
    case KIND_u64:
        *(uint64_t *)(void *)at = bits;
        return !negative;
    default:
        assert(field->kind == KIND_i64);
        *(int64_t *)(void *)at = (int64_t)bits;
        return negative || bits <= INT64_MAX;
    }
}

static int unpack_value(struct reader *reader, const struct field *field, uint8_t *at, unsigned depth)
{
    if (field->kind == KIND_struct)
        return unpack_struct(reader, field->schema, at, depth + 1);
    return unpack_scalar(reader, field, at) ? 0 : ERROR_SERIALIZATION_FAILED;
}

static int unpack_array(struct reader *reader, const struct field *field, uint8_t *body, unsigned depth)
{
    size_t size = field_value_size(field), bytes;
    uint32_t count;
    uint8_t *array;

    if (!read_array(reader, &count))
        return ERROR_SERIALIZATION_FAILED;
    if (count == 0)
        return 0;
    if (__builtin_mul_overflow(size, count, &bytes) || bytes > reader->array_bytes_left)
        return ERROR_SERIALIZATION_FAILED;
    reader->array_bytes_left -= bytes;
    array = arena_alloc(reader->arena, bytes);
    if (array == NULL)
        return ERROR_OUT_OF_MEMORY;
    for (uint32_t i = 0; i < count; i++) {
        int error = unpack_value(reader, field, array + i * size, depth);

        if (error != 0)
            return error;
    }
    field_set_array(field, body, array, count);
    return 0;
}

static int unpack_struct(struct reader *reader, const struct schema *schema, uint8_t *body, unsigned depth)
{
    uint32_t count;

    memset(body, 0, schema->size);
    if (depth > MESSAGE_DEPTH_MAX || !read_array(reader, &count))
        return ERROR_SERIALIZATION_FAILED;
    for (uint32_t i = 0; i < schema->field_count && i < count; i++) {
        const struct field *field = &schema->fields[i];
        int error = field->form == FORM_ARRAY ? unpack_array(reader, field, body, depth)
                                              : unpack_value(reader, field, body + field->offset, depth);

        if (error != 0)
            return error;
    }
    for (uint32_t i = schema->field_count; i < count; i++) {
        if (!skip(reader, 1))
            return ERROR_SERIALIZATION_FAILED;
    }
    return 0;
}

int message_decode(const struct schema *schema, struct bytes packed, struct arena *arena, void *body)
{
    struct reader reader;
    int error;

    if (packed.len == 0 || packed.len > SIZE_MAX / (2 * ARRAY_BYTES_FACTOR)) /* nothing may be NULL */
        return ERROR_SERIALIZATION_FAILED;
    reader = (struct reader){packed.ptr, packed.ptr + packed.len, arena, packed.len * ARRAY_BYTES_FACTOR + ARRAY_BYTES_FREE};
    error = unpack_struct(&reader, schema, body, 1);
    if (error == 0 && reader.at != reader.end)
        error = ERROR_SERIALIZATION_FAILED;
    return error;
}

/* `message` is new; its reference is dropped on failure. */
static int unpack_into(struct message *message, struct bytes packed, struct message **ret_message)
{
    int error = message_decode(message->type->schema, packed, &message->arena, message->body);

    if (error != 0) {
        message_unref(message);
        return error;
    }
    message->encoded_bytes = packed.len;
    *ret_message = message;
    return 0;
}

int message_from_packed(const struct message_type *type, struct bytes packed, struct message **ret_message)
{
    struct message *message = create(type, packed.len);
    uint8_t *copy;

    if (message == NULL)
        return ERROR_OUT_OF_MEMORY;
    copy = (uint8_t *)message->body + type->schema->size;
    if (packed.len > 0)
        memcpy(copy, packed.ptr, packed.len);
    return unpack_into(message, bytes_of(copy, packed.len), ret_message);
}

int message_from_buffer(const struct message_type *type, struct bytes packed, struct bytes_buffer *buffer, struct message **ret_message)
{
    struct message *message = create(type, 0);
    int error = message == NULL ? ERROR_OUT_OF_MEMORY : unpack_into(message, packed, &message);

    if (error != 0)
        return error;
    error = arena_adopt(&message->arena, buffer);
    if (error != 0)
        message_unref(message);
    else
        *ret_message = message;
    return error;
}
