/* Byte strings that own themselves, key ranges, and subspaces. */
#include "txn/layers/tuple.h"

#include "net/bytes.h"
#include "net/mem.h"

void quoin_buffer_done(struct quoin_buffer *buffer)
{
    mem_free(buffer->data);
    *buffer = (struct quoin_buffer){0};
}

void quoin_key_range_done(struct quoin_key_range *range)
{
    quoin_buffer_done(&range->begin);
    quoin_buffer_done(&range->end);
}

/* `data` and `more` bytes after it, which are not set. */
static quoin_error copy_and(struct quoin_buffer *ret_buffer, const void *data, int length, int more)
{
    uint8_t *copy = NULL;

    if (length < 0 || (data == NULL && length > 0))
        return QUOIN_ERROR_CLIENT_INVALID_OPERATION;
    if (length + more > 0) {
        copy = mem_alloc((size_t)length + (size_t)more);
        if (copy == NULL)
            return QUOIN_ERROR_OUT_OF_MEMORY;
    }
    if (length > 0)
        memcpy(copy, data, (size_t)length);
    *ret_buffer = (struct quoin_buffer){copy, length + more};
    return 0;
}

quoin_error layer_buffer_copy(struct quoin_buffer *ret_buffer, const void *data, int length)
{
    return copy_and(ret_buffer, data, length, 0);
}

quoin_error tuple_range_of(struct quoin_slice packed, struct quoin_key_range *ret_range)
{
    struct quoin_key_range range = {0};
    quoin_error error = copy_and(&range.begin, packed.data, packed.length, 1);

    if (error == 0)
        error = copy_and(&range.end, packed.data, packed.length, 1);
    if (error != 0) {
        quoin_key_range_done(&range);
        return error;
    }
    range.begin.data[packed.length] = 0;
    range.end.data[packed.length] = 0xff;
    *ret_range = range;
    return 0;
}

quoin_error quoin_prefix_range(const void *prefix, int length, struct quoin_key_range *ret_range)
{
    const uint8_t *bytes = prefix;
    struct quoin_key_range range = {0};
    int kept = length;
    quoin_error error = copy_and(&range.begin, prefix, length, 0);

    while (error == 0 && kept > 0 && bytes[kept - 1] == 0xff)
        kept--;
    if (error == 0)
        error = kept <= 0 ? QUOIN_ERROR_CLIENT_INVALID_OPERATION : copy_and(&range.end, prefix, kept, 0);
    if (error != 0) {
        quoin_key_range_done(&range);
        return error;
    }
    range.end.data[kept - 1]++;
    *ret_range = range;
    return 0;
}

/* ---- subspaces ---- */

quoin_error quoin_subspace_init(struct quoin_subspace *subspace, const void *prefix, int length)
{
    return layer_buffer_copy(&subspace->prefix, prefix, length);
}

quoin_error quoin_subspace_init_tuple(struct quoin_subspace *subspace, const struct quoin_subspace *parent, const struct quoin_tuple *tuple)
{
    struct quoin_buffer prefix;
    struct quoin_slice packed;
    int before = parent != NULL ? parent->prefix.length : 0;
    quoin_error error = quoin_tuple_get(tuple, &packed);

    if (error == 0)
        error = copy_and(&prefix, before > 0 ? parent->prefix.data : NULL, before, packed.length);
    if (error != 0)
        return error;
    if (packed.length > 0)
        memcpy(prefix.data + before, packed.data, (size_t)packed.length);
    subspace->prefix = prefix;
    return 0;
}

void quoin_subspace_done(struct quoin_subspace *subspace)
{
    quoin_buffer_done(&subspace->prefix);
}

void quoin_subspace_start(const struct quoin_subspace *subspace, struct quoin_tuple *tuple)
{
    quoin_tuple_reset(tuple);
    quoin_tuple_add_raw(tuple, subspace->prefix.data, subspace->prefix.length);
}

bool quoin_subspace_contains(const struct quoin_subspace *subspace, const void *key, int length)
{
    size_t prefix = (size_t)subspace->prefix.length;

    return length >= 0 && (key != NULL || length == 0) &&
           bytes_starts_with(bytes_of(key, (size_t)length), bytes_of(subspace->prefix.data, prefix));
}

quoin_error quoin_subspace_unpack(const struct quoin_subspace *subspace, const void *key, int length, struct quoin_unpacked **ret_unpacked)
{
    int prefix = subspace->prefix.length;

    if (!quoin_subspace_contains(subspace, key, length))
        return QUOIN_ERROR_KEY_NOT_IN_SUBSPACE;
    return quoin_tuple_unpack(length > prefix ? (const uint8_t *)key + prefix : NULL, length - prefix, ret_unpacked);
}

quoin_error quoin_subspace_range(const struct quoin_subspace *subspace, struct quoin_key_range *ret_range)
{
    return tuple_range_of((struct quoin_slice){subspace->prefix.data, subspace->prefix.length}, ret_range);
}
