/* Records, and keys longer than LMDB's 511 bytes.
 *
 * A key of 1 to 500 bytes is stored as itself in the table of keys: a get is one mdb_get. A longer key is cut: its first
 * 500 bytes P and a zero byte make a marker (501 bytes; nothing else in the table is that long) whose record names a child,
 * and the rest of the key is stored the same way under the child's id in the table of chunks, again cut if longer than 500.
 * A child is never empty: its marker goes with its last key.
 *
 * Why the order is right: let a level be the entries of one child (or the table of keys). All that a marker of P stands for
 * are the proper extensions of P. A short entry s of the level (at most 500 bytes) is never one of them. If s <= P, or s is a
 * prefix of P, then s sorts before every extension of P, and before the marker P 00. If s > P and is no prefix of P, then s differs
 * from P at a byte within both (s can't extend P, being no longer), so s sorts after every extension of P and after the
 * marker. Two markers differ within their 500 bytes, which decides for all of their extensions. Within one marker the order is
 * that of the rests, and so on down. So walking a level in LMDB's order, going down at each marker, meets the keys in
 * bytes_compare order, and a range is a stretch of a level whose first and last entry may be markers of which a part belongs.
 *
 * The empty key can't be stored as itself: it is the rest "" of child 0 in the table of chunks. */
#include <assert.h>
#include <xxhash.h>

#include "net/error.h"
#include "net/planted_bug.h"
#include "storage/engine_lmdb.h"

/* ---- records ---- */

uint64_t record_checksum(struct bytes key, struct bytes value)
{
    return XXH3_64bits_withSeed(value.ptr, value.len, XXH3_64bits(key.ptr, key.len));
}

bool record_open(struct bytes key, MDB_val stored, struct bytes *ret_value)
{
    struct bytes value;

    if (stored.mv_size < CHECKSUM_BYTES)
        return false;
    value = bytes_of((uint8_t *)stored.mv_data + CHECKSUM_BYTES, stored.mv_size - CHECKSUM_BYTES);
    if (get_le64(stored.mv_data) != record_checksum(key, value) && !PLANTED_BUG(BAD_RECORD))
        return false;
    *ret_value = value;
    return true;
}

static void marker_seal(MDB_val stored_key, uint64_t child, uint8_t out[CHECKSUM_BYTES + CHILD_ID_BYTES])
{
    put_le64(out + CHECKSUM_BYTES, child);
    put_le64(out, record_checksum(bytes_of_val(stored_key), bytes_of(out + CHECKSUM_BYTES, CHILD_ID_BYTES)));
}

bool marker_open(MDB_val stored_key, MDB_val stored, uint64_t *ret_child)
{
    struct bytes child;

    if (stored.mv_size != CHECKSUM_BYTES + CHILD_ID_BYTES || !record_open(bytes_of_val(stored_key), stored, &child))
        return false;
    *ret_child = get_le64(child.ptr);
    return *ret_child != 0;
}

MDB_val stored_key(uint64_t child, struct bytes rest, bool marker, uint8_t *into)
{
    size_t at = 0;

    assert(marker ? rest.len == CHUNK_BYTES : rest.len <= CHUNK_BYTES);
    if (child == 0 && !marker && rest.len > 0)
        return val_of(rest);
    if (child != 0 || rest.len == 0) {
        put_be64(into, child);
        at = CHILD_ID_BYTES;
    }
    if (rest.len > 0)
        memcpy(into + at, rest.ptr, rest.len);
    at += rest.len;
    if (marker)
        into[at++] = 0;
    return (MDB_val){at, into};
}

static MDB_dbi table_of(const struct lmdb_tables *tables, uint64_t child, struct bytes rest)
{
    return child == 0 && rest.len > 0 ? tables->keys : tables->chunks;
}

static struct bytes first_chunk(struct bytes rest)
{
    return bytes_of(rest.ptr, CHUNK_BYTES);
}

static struct bytes after_chunk(struct bytes rest)
{
    return bytes_of(rest.ptr + CHUNK_BYTES, rest.len - CHUNK_BYTES);
}

/* ---- looking up ---- */

/* Goes down the markers of a long key. *ret_found false: one is missing. */
static int descend(MDB_txn *txn, const struct lmdb_tables *tables, uint64_t *child, struct bytes *rest, bool *ret_found)
{
    uint8_t into[STORED_KEY_MAX];

    *ret_found = true;
    while (rest->len > CHUNK_BYTES) {
        MDB_val key = stored_key(*child, first_chunk(*rest), true, into), stored;
        int rc = mdb_get(txn, table_of(tables, *child, *rest), &key, &stored);

        if (rc == MDB_NOTFOUND)
            *ret_found = false;
        if (rc != 0)
            return rc == MDB_NOTFOUND ? 0 : rc;
        if (!marker_open(key, stored, child))
            return ERROR_FILE_CORRUPT;
        *rest = after_chunk(*rest);
    }
    return 0;
}

int lmdb_find(MDB_txn *txn, const struct lmdb_tables *tables, struct bytes key, bool *ret_found, struct bytes *ret_value)
{
    uint8_t into[STORED_KEY_MAX];
    struct bytes rest = key;
    uint64_t child = 0;
    MDB_val at, stored;
    int rc = descend(txn, tables, &child, &rest, ret_found);

    if (rc != 0 || !*ret_found)
        return rc;
    at = stored_key(child, rest, false, into);
    rc = mdb_get(txn, table_of(tables, child, rest), &at, &stored);
    *ret_found = rc == 0;
    if (rc != 0)
        return rc == MDB_NOTFOUND ? 0 : rc;
    return record_open(key, stored, ret_value) ? 0 : ERROR_FILE_CORRUPT;
}

/* ---- setting ---- */

static struct bucket *bucket_of(struct writing *writing, struct bytes key)
{
    return &writing->tally->buckets[key.len == 0 ? 0 : key.ptr[0]];
}

static void tally_remove(struct bucket *bucket, size_t key_bytes, MDB_val stored)
{
    bucket->keys--;
    bucket->bytes -= key_bytes + stored.mv_size - CHECKSUM_BYTES;
    bucket->digest -= get_le64(stored.mv_data);
}

static MDB_cursor *cursor_of(struct writing *writing, uint64_t child, struct bytes rest)
{
    return child == 0 && rest.len > 0 ? writing->keys : writing->chunks;
}

/* The child of a marker, which is made if it is missing. */
static int child_of(struct writing *writing, uint64_t *child, struct bytes rest)
{
    uint8_t into[STORED_KEY_MAX], fresh[CHECKSUM_BYTES + CHILD_ID_BYTES];
    MDB_cursor *cursor = cursor_of(writing, *child, rest);
    MDB_val key = stored_key(*child, first_chunk(rest), true, into), stored = {sizeof(fresh), fresh};
    uint64_t id = writing->tally->next_child;
    int rc;

    marker_seal(key, id, fresh);
    rc = mdb_cursor_put(cursor, &key, &stored, MDB_NOOVERWRITE);
    if (rc == MDB_KEYEXIST)
        return marker_open(key, stored, child) ? 0 : ERROR_FILE_CORRUPT;
    if (rc != 0)
        return rc;
    writing->tally->next_child++;
    *child = id;
    return 0;
}

/* One search: where the key exists already, the put stops there, tells the old record, and the next one overwrites it. */
static int put_record(MDB_cursor *cursor, MDB_val at, struct bytes key, struct bytes value, struct bucket *bucket)
{
    MDB_val stored = {CHECKSUM_BYTES + value.len, NULL};
    int rc = mdb_cursor_put(cursor, &at, &stored, MDB_NOOVERWRITE | MDB_RESERVE);

    if (rc == MDB_KEYEXIST) {
        if (stored.mv_size < CHECKSUM_BYTES)
            return ERROR_FILE_CORRUPT;
        tally_remove(bucket, key.len, stored);
        stored = (MDB_val){CHECKSUM_BYTES + value.len, NULL};
        rc = mdb_cursor_put(cursor, &at, &stored, MDB_CURRENT | MDB_RESERVE);
    }
    if (rc != 0)
        return rc;
    put_le64(stored.mv_data, record_checksum(key, value));
    if (value.len > 0)
        memcpy((uint8_t *)stored.mv_data + CHECKSUM_BYTES, value.ptr, value.len);
    bucket->keys++;
    bucket->bytes += key.len + value.len;
    bucket->digest += get_le64(stored.mv_data);
    return 0;
}

int writing_set(struct writing *writing, struct bytes key, struct bytes value)
{
    uint8_t into[STORED_KEY_MAX];
    struct bytes rest = key;
    uint64_t child = 0;

    assert(key.len <= SYSTEM_KEY_BYTES_MAX && value.len <= UINT32_MAX - CHECKSUM_BYTES);
    while (rest.len > CHUNK_BYTES) {
        int rc = child_of(writing, &child, rest);

        if (rc != 0)
            return rc;
        rest = after_chunk(rest);
    }
    return put_record(cursor_of(writing, child, rest), stored_key(child, rest, false, into), key, value,
                      bucket_of(writing, key));
}

/* ---- clearing ---- */

/* A level that is being cleared: [begin, end) of what is left of the keys there. */
struct clearing {
    uint64_t child;
    size_t above; /* bytes of the key in the levels above */
    int first;    /* the key's first byte; -1 at the top, where each entry has its own */
    struct bytes begin, end;
    bool open_end; /* no end: to the level's last entry */
};

static int clear_level(struct writing *writing, const struct clearing *clearing);

/* The entry under the cursor as a rest of this level; false when it belongs to another level. */
static bool entry_rest(const struct clearing *clearing, MDB_val key, struct bytes *ret_rest)
{
    uint8_t *bytes = key.mv_data;

    if (clearing->child == 0) {
        *ret_rest = bytes_of_val(key);
        return true;
    }
    if (key.mv_size <= CHILD_ID_BYTES || get_be64(bytes) != clearing->child)
        return false;
    *ret_rest = bytes_of(bytes + CHILD_ID_BYTES, key.mv_size - CHILD_ID_BYTES);
    return true;
}

static int level_is_empty(struct writing *writing, uint64_t child, bool *ret_empty)
{
    uint8_t into[CHILD_ID_BYTES];
    MDB_val key = {sizeof(into), into}, stored;
    int rc;

    put_be64(into, child);
    rc = mdb_cursor_get(writing->chunks, &key, &stored, MDB_SET_RANGE);
    *ret_empty = rc == MDB_NOTFOUND || (rc == 0 && (key.mv_size < CHILD_ID_BYTES || get_be64(key.mv_data) != child));
    return rc == MDB_NOTFOUND ? 0 : rc;
}

/* Clears a marker's part of the range, and the marker with its last key. The marker's bytes are a copy: going down moves the
 * cursor. */
static int clear_under(struct writing *writing, const struct clearing *clearing, struct bytes marker, MDB_val stored)
{
    struct bytes chunk = bytes_of(marker.ptr, CHUNK_BYTES);
    struct clearing below = {.above = clearing->above + CHUNK_BYTES, .first = clearing->first};
    uint8_t into[STORED_KEY_MAX];
    MDB_val key = stored_key(clearing->child, chunk, true, into);
    MDB_cursor *cursor = cursor_of(writing, clearing->child, marker);
    bool empty;
    int rc;

    if (!marker_open(key, stored, &below.child))
        return ERROR_FILE_CORRUPT;
    if (below.first < 0)
        below.first = marker.ptr[0];
    if (clearing->begin.len > CHUNK_BYTES && bytes_starts_with(clearing->begin, chunk))
        below.begin = after_chunk(clearing->begin);
    below.open_end = clearing->open_end || clearing->end.len <= CHUNK_BYTES || !bytes_starts_with(clearing->end, chunk);
    if (!below.open_end)
        below.end = after_chunk(clearing->end);
    rc = clear_level(writing, &below);
    if (rc == 0)
        rc = level_is_empty(writing, below.child, &empty);
    if (rc != 0 || !empty)
        return rc;
    rc = mdb_cursor_get(cursor, &key, &stored, MDB_SET);
    return rc != 0 ? rc : mdb_cursor_del(cursor, 0);
}

/* Whether the entry, a marker or not, is at or beyond the range's end. A marker of which a part is below it is not. */
static bool beyond(const struct clearing *clearing, struct bytes rest)
{
    struct bytes shown = is_marker(rest.len) ? bytes_of(rest.ptr, CHUNK_BYTES) : rest;

    if (clearing->open_end)
        return false;
    return bytes_compare(shown, clearing->end) >= 0;
}

static int seek_level(struct writing *writing, const struct clearing *clearing, MDB_cursor *cursor, MDB_val *key,
                      MDB_val *stored)
{
    uint8_t into[STORED_KEY_MAX];

    if (clearing->child == 0 && clearing->begin.len == 0)
        return mdb_cursor_get(cursor, key, stored, MDB_FIRST);
    if (clearing->begin.len > CHUNK_BYTES)
        *key = stored_key(clearing->child, first_chunk(clearing->begin), true, into);
    else
        *key = stored_key(clearing->child, clearing->begin, false, into);
    (void)writing;
    return mdb_cursor_get(cursor, key, stored, MDB_SET_RANGE);
}

/* Goes on behind a marker whose part has been cleared; whether it is still there does not matter. */
static int seek_behind(const struct clearing *clearing, MDB_cursor *cursor, const uint8_t *marker, MDB_val *key,
                       MDB_val *stored)
{
    uint8_t into[STORED_KEY_MAX];
    MDB_val from = stored_key(clearing->child, bytes_of(marker, CHUNK_BYTES), true, into);
    int rc;

    *key = from;
    rc = mdb_cursor_get(cursor, key, stored, MDB_SET_RANGE);
    if (rc == 0 && key->mv_size == from.mv_size && memcmp(key->mv_data, into, from.mv_size) == 0)
        rc = mdb_cursor_get(cursor, key, stored, MDB_NEXT);
    return rc;
}

/* Long keys below one marker go together. */
static bool is_enough(const struct writing *writing)
{
    return writing->clear_bytes_max > 0 && writing->cleared_bytes >= writing->clear_bytes_max;
}

static int clear_level(struct writing *writing, const struct clearing *clearing)
{
    MDB_cursor *cursor = clearing->child == 0 ? writing->keys : writing->chunks;
    MDB_val key, stored;
    struct bytes rest;
    int rc = seek_level(writing, clearing, cursor, &key, &stored);

    while (rc == 0 && entry_rest(clearing, key, &rest) && !beyond(clearing, rest)) {
        if (clearing->child == 0 && is_enough(writing))
            return 0;
        if (is_marker(rest.len)) {
            uint8_t marker[MARKER_BYTES];

            memcpy(marker, rest.ptr, MARKER_BYTES);
            rc = clear_under(writing, clearing, bytes_of(marker, MARKER_BYTES), stored);
            if (rc == 0)
                rc = seek_behind(clearing, cursor, marker, &key, &stored);
            continue;
        }
        if (stored.mv_size < CHECKSUM_BYTES)
            return ERROR_FILE_CORRUPT;
        writing->cleared_bytes += key.mv_size + stored.mv_size;
        tally_remove(&writing->tally->buckets[clearing->first < 0 ? rest.ptr[0] : clearing->first],
                     clearing->above + rest.len, stored);
        rc = mdb_cursor_del(cursor, 0);
        if (rc == 0)
            rc = mdb_cursor_get(cursor, &key, &stored, MDB_NEXT); /* the one that took its place */
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int clear_empty_key(struct writing *writing)
{
    uint8_t into[STORED_KEY_MAX];
    MDB_val key = stored_key(0, bytes_none(), false, into), stored;
    int rc = mdb_cursor_get(writing->chunks, &key, &stored, MDB_SET);

    if (rc == MDB_NOTFOUND)
        return 0;
    if (rc == 0 && stored.mv_size < CHECKSUM_BYTES)
        rc = ERROR_FILE_CORRUPT;
    if (rc != 0)
        return rc;
    tally_remove(&writing->tally->buckets[0], 0, stored);
    return mdb_cursor_del(writing->chunks, 0);
}

int writing_clear_range(struct writing *writing, struct bytes begin, struct bytes end)
{
    struct clearing clearing = {.first = -1, .begin = begin, .end = end};

    writing->cleared_bytes = 0;
    if (bytes_compare(begin, end) >= 0)
        return 0;
    if (begin.len == 0) {
        int rc = clear_empty_key(writing);

        if (rc != 0)
            return rc;
    }
    return clear_level(writing, &clearing);
}

static int clear_long(struct writing *writing, struct bytes key)
{
    uint8_t after[SYSTEM_KEY_BYTES_MAX + 1];

    assert(key.len <= SYSTEM_KEY_BYTES_MAX);
    memcpy(after, key.ptr, key.len);
    after[key.len] = 0;
    return writing_clear_range(writing, key, bytes_of(after, key.len + 1));
}

int writing_clear(struct writing *writing, struct bytes key)
{
    MDB_val at = val_of(key), stored;
    int rc;

    if (key.len == 0)
        return clear_empty_key(writing);
    if (key.len > CHUNK_BYTES)
        return clear_long(writing, key);
    rc = mdb_cursor_get(writing->keys, &at, &stored, MDB_SET);
    if (rc != 0)
        return rc == MDB_NOTFOUND ? 0 : rc;
    if (stored.mv_size < CHECKSUM_BYTES)
        return ERROR_FILE_CORRUPT;
    tally_remove(bucket_of(writing, key), key.len, stored);
    return mdb_cursor_del(writing->keys, 0);
}
