/* The blob store: (0) = size, (1, n) = chunk n.
 *
 * The size is only ever raised by an atomic maximum, so writers of different chunks don't meet; whoever cuts sets it. A chunk holds no more than was
 * written into it: what it lacks at its end reads as zeros, and truncating cuts the last chunk so that a later extension finds
 * none of the old bytes. */
#include "txn/layers/read.h"

#include "net/bytes.h"

#define SIZE_KEY 0
#define CHUNK_KEY 1

struct blob {
    struct quoin_transaction *transaction;
    const struct quoin_subspace *subspace;
    struct quoin_tuple key;          /* owned */
    uint8_t chunk[QUOIN_BLOB_CHUNK]; /* the one at hand */
    int length;
};

static quoin_error size_key(struct blob *blob, struct quoin_slice *ret_key)
{
    quoin_subspace_start(blob->subspace, &blob->key);
    quoin_tuple_add_int(&blob->key, SIZE_KEY);
    return quoin_tuple_get(&blob->key, ret_key);
}

static quoin_error chunk_key(struct blob *blob, int64_t number, struct quoin_slice *ret_key)
{
    quoin_subspace_start(blob->subspace, &blob->key);
    quoin_tuple_add_int(&blob->key, CHUNK_KEY);
    quoin_tuple_add_int(&blob->key, number);
    return quoin_tuple_get(&blob->key, ret_key);
}

static quoin_error read_size(struct blob *blob, int64_t *ret_size)
{
    struct layer_value value = {0};
    struct quoin_slice key;
    quoin_error error = size_key(blob, &key);

    if (error == 0)
        error = layer_get(blob->transaction, key, false, &value);
    if (error == 0 && value.present && (value.length != 8 || get_le64(value.data) > INT64_MAX))
        error = QUOIN_ERROR_INVALID_DIRECTORY_LAYER_METADATA;
    if (error == 0)
        *ret_size = value.present ? (int64_t)get_le64(value.data) : 0;
    layer_value_done(&value);
    return error;
}

static quoin_error read_chunk(struct blob *blob, int64_t number)
{
    struct layer_value value = {0};
    struct quoin_slice key;
    quoin_error error = chunk_key(blob, number, &key);

    if (error == 0)
        error = layer_get(blob->transaction, key, false, &value);
    if (error == 0 && value.length > QUOIN_BLOB_CHUNK)
        error = QUOIN_ERROR_INVALID_DIRECTORY_LAYER_METADATA;
    if (error == 0) {
        blob->length = value.present ? value.length : 0;
        if (blob->length > 0)
            memcpy(blob->chunk, value.data, (size_t)blob->length);
    }
    layer_value_done(&value);
    return error;
}

static quoin_error write_chunk(struct blob *blob, int64_t number, const void *data, int length)
{
    struct quoin_slice key;
    quoin_error error = chunk_key(blob, number, &key);

    return error != 0 ? error : quoin_transaction_set(blob->transaction, key.data, key.length, data, length);
}

/* Part of a chunk: what is around it stays. */
static quoin_error write_into_chunk(struct blob *blob, int64_t number, int at, const void *data, int length)
{
    quoin_error error = 0;

    if (length == QUOIN_BLOB_CHUNK)
        return write_chunk(blob, number, data, length);
    error = read_chunk(blob, number);
    if (error != 0)
        return error;
    if (at > blob->length)
        memset(blob->chunk + blob->length, 0, (size_t)(at - blob->length));
    memcpy(blob->chunk + at, data, (size_t)length);
    if (at + length > blob->length)
        blob->length = at + length;
    return write_chunk(blob, number, blob->chunk, blob->length);
}

static quoin_error raise_size(struct blob *blob, int64_t size)
{
    uint8_t bytes[8];
    struct quoin_slice key;
    quoin_error error = size_key(blob, &key);

    put_le64(bytes, (uint64_t)size);
    return error != 0 ? error : quoin_transaction_atomic(blob->transaction, QUOIN_MAX, key.data, key.length, bytes, sizeof(bytes));
}

static quoin_error set_size(struct blob *blob, int64_t size)
{
    uint8_t bytes[8];
    struct quoin_slice key;
    quoin_error error = size_key(blob, &key);

    put_le64(bytes, (uint64_t)size);
    return error != 0 ? error : quoin_transaction_set(blob->transaction, key.data, key.length, bytes, sizeof(bytes));
}

/* How much of `length` bytes from `offset` on lies in the first chunk that they touch. */
static int part_of(int64_t offset, int length)
{
    int room = QUOIN_BLOB_CHUNK - (int)(offset % QUOIN_BLOB_CHUNK);

    return length < room ? length : room;
}

static quoin_error write_all(struct blob *blob, int64_t offset, const uint8_t *from, int length)
{
    quoin_error error = 0;

    if (offset < 0 || length < 0 || (from == NULL && length > 0) || offset > INT64_MAX - length)
        return QUOIN_ERROR_CLIENT_INVALID_OPERATION;
    while (error == 0 && length > 0) {
        int part = part_of(offset, length);

        error = write_into_chunk(blob, offset / QUOIN_BLOB_CHUNK, (int)(offset % QUOIN_BLOB_CHUNK), from, part);
        offset += part;
        from += part;
        length -= part;
    }
    return error != 0 ? error : raise_size(blob, offset);
}

/* Up to `length` bytes, all of them below the blob's size. */
static quoin_error read_all(struct blob *blob, int64_t offset, uint8_t *to, int length)
{
    quoin_error error = 0;

    while (error == 0 && length > 0) {
        int at = (int)(offset % QUOIN_BLOB_CHUNK), part = part_of(offset, length), there;

        error = read_chunk(blob, offset / QUOIN_BLOB_CHUNK);
        there = error == 0 && blob->length > at ? blob->length - at : 0;
        there = there < part ? there : part;
        if (error == 0) {
            memcpy(to, blob->chunk + at, (size_t)there);
            memset(to + there, 0, (size_t)(part - there));
        }
        offset += part;
        to += part;
        length -= part;
    }
    return error;
}

/* Clears the chunks from `number` on. */
static quoin_error clear_chunks(struct blob *blob, int64_t number)
{
    struct quoin_key_range range = {0};
    struct quoin_slice begin;
    quoin_error error;

    quoin_subspace_start(blob->subspace, &blob->key);
    quoin_tuple_add_int(&blob->key, CHUNK_KEY);
    error = quoin_tuple_range(&blob->key, &range);
    if (error == 0)
        error = chunk_key(blob, number, &begin);
    if (error == 0)
        error = quoin_transaction_clear_range(blob->transaction, begin.data, begin.length, range.end.data, range.end.length);
    quoin_key_range_done(&range);
    return error;
}

/* ---- public ---- */

quoin_error quoin_blob_size(struct quoin_transaction *transaction, const struct quoin_subspace *subspace, int64_t *ret_size)
{
    struct blob blob;
    quoin_error error;

    blob.transaction = transaction;
    blob.subspace = subspace;
    blob.key = (struct quoin_tuple){0};
    error = read_size(&blob, ret_size);
    quoin_tuple_done(&blob.key);
    return error;
}

quoin_error quoin_blob_write(struct quoin_transaction *transaction, const struct quoin_subspace *subspace, int64_t offset,
                             const void *data, int length)
{
    struct blob blob;
    quoin_error error;

    blob.transaction = transaction;
    blob.subspace = subspace;
    blob.key = (struct quoin_tuple){0};
    error = write_all(&blob, offset, data, length);
    quoin_tuple_done(&blob.key);
    return error;
}

quoin_error quoin_blob_append(struct quoin_transaction *transaction, const struct quoin_subspace *subspace, const void *data, int length)
{
    int64_t size;
    quoin_error error = quoin_blob_size(transaction, subspace, &size);

    return error != 0 ? error : quoin_blob_write(transaction, subspace, size, data, length);
}

quoin_error quoin_blob_read(struct quoin_transaction *transaction, const struct quoin_subspace *subspace, int64_t offset, void *out,
                            int length, int *ret_length)
{
    struct blob blob;
    int64_t size = 0;
    quoin_error error;

    if (offset < 0 || length < 0)
        return QUOIN_ERROR_CLIENT_INVALID_OPERATION;
    blob.transaction = transaction;
    blob.subspace = subspace;
    blob.key = (struct quoin_tuple){0};
    error = read_size(&blob, &size);
    if (offset >= size)
        length = 0;
    else if (size - offset < length)
        length = (int)(size - offset);
    if (error == 0)
        error = read_all(&blob, offset, out, length);
    quoin_tuple_done(&blob.key);
    if (error == 0)
        *ret_length = length;
    return error;
}

quoin_error quoin_blob_truncate(struct quoin_transaction *transaction, const struct quoin_subspace *subspace, int64_t size)
{
    struct blob blob;
    int64_t whole = size / QUOIN_BLOB_CHUNK;
    int rest = (int)(size % QUOIN_BLOB_CHUNK);
    quoin_error error = 0;

    if (size < 0)
        return QUOIN_ERROR_CLIENT_INVALID_OPERATION;
    blob.transaction = transaction;
    blob.subspace = subspace;
    blob.key = (struct quoin_tuple){0};
    blob.length = 0;
    if (rest > 0)
        error = read_chunk(&blob, whole);
    if (error == 0)
        error = clear_chunks(&blob, whole);
    if (error == 0 && rest > 0 && blob.length > 0)
        error = write_chunk(&blob, whole, blob.chunk, blob.length < rest ? blob.length : rest);
    if (error == 0)
        error = set_size(&blob, size);
    quoin_tuple_done(&blob.key);
    return error;
}

quoin_error quoin_blob_remove(struct quoin_transaction *transaction, const struct quoin_subspace *subspace)
{
    struct quoin_key_range range = {0};
    quoin_error error = quoin_subspace_range(subspace, &range);

    if (error == 0)
        error = quoin_transaction_clear_range(transaction, range.begin.data, range.begin.length, range.end.data, range.end.length);
    quoin_key_range_done(&range);
    return error;
}
