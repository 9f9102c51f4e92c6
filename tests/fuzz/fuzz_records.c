/* An engine's records and markers: what was sealed opens to what went in, one harmed byte opens nothing, and any bytes at all
 * are either refused or hold their own checksum. */
#include <assert.h>

#include "storage/engine_lmdb.h"
#include "tests/fuzz/fuzz_input.h"

enum { RECORD_MAX = 600 };

static void open_any(struct bytes key, struct bytes stored)
{
    struct bytes value;
    uint64_t child;

    if (record_open(key, val_of(stored), &value))
        assert(value.len == stored.len - CHECKSUM_BYTES && get_le64(stored.ptr) == record_checksum(key, value));
    if (marker_open(val_of(key), val_of(stored), &child))
        assert(child != 0 && stored.len == CHECKSUM_BYTES + CHILD_ID_BYTES);
}

static void seal_and_harm(struct bytes key, struct bytes value, uint16_t where, uint8_t how)
{
    uint8_t stored[CHECKSUM_BYTES + RECORD_MAX];
    size_t len = CHECKSUM_BYTES + value.len;
    struct bytes opened;

    put_le64(stored, record_checksum(key, value));
    if (value.len > 0)
        memcpy(stored + CHECKSUM_BYTES, value.ptr, value.len);
    assert(record_open(key, val_of(bytes_of(stored, len)), &opened) && bytes_equal(opened, value));
    open_any(key, bytes_of(stored, len));
    if (how == 0)
        return;
    stored[where % len] ^= how;
    assert(!record_open(key, val_of(bytes_of(stored, len)), &opened));
}

/* A stored key tells its child and whether it is a marker; short ones are borrowed. */
static void store_key(struct bytes rest, uint64_t child)
{
    uint8_t into[STORED_KEY_MAX];
    bool marker = rest.len > CHUNK_BYTES;
    MDB_val stored;

    if (rest.len == 0 && child == 0)
        return;
    stored = stored_key(child, marker ? bytes_of(rest.ptr, CHUNK_BYTES) : rest, marker, into);
    assert(stored.mv_size <= STORED_KEY_MAX);
    assert(is_marker(stored.mv_size - (child == 0 ? 0 : CHILD_ID_BYTES)) == marker);
}

int fuzz_input(const uint8_t *data, size_t size)
{
    size_t key_len, value_len;

    if (size < 8)
        return 0;
    key_len = get_le16(data) % (size - 7);
    open_any(bytes_of(data + 8, key_len), bytes_of(data + 8 + key_len, size - 8 - key_len));
    value_len = size - 8 - key_len < RECORD_MAX ? size - 8 - key_len : RECORD_MAX;
    seal_and_harm(bytes_of(data + 8, key_len), bytes_of(data + 8 + key_len, value_len), get_le16(data + 2), data[4]);
    store_key(bytes_of(data + 8, key_len), get_le16(data + 5));
    return 0;
}
