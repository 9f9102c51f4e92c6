/* The scrubber's full pass: every record against its checksum, every key range against its count and digest.
 *
 * A flipped bit in a page's inner structure can lose keys without touching a record; only the counts tell. */
#include "net/error.h"
#include "storage/engine_lmdb.h"

struct checking {
    struct tally found;
    bool has_damaged[BUCKETS]; /* its records are all there, and what they hold can't be compared */
    void (*report)(void *ctx, struct bytes key, const char *what);
    void *ctx;
    int64_t damages;
};

static void report(struct checking *checking, struct bytes key, const char *what)
{
    checking->damages++;
    if (checking->report != NULL)
        checking->report(checking->ctx, key, what);
}

static void count(struct checking *checking, struct bytes key, struct bytes value)
{
    struct bucket *bucket = &checking->found.buckets[key.len == 0 ? 0 : key.ptr[0]];

    bucket->keys++;
    bucket->bytes += key.len + value.len;
    bucket->digest += record_checksum(key, value);
}

/* ERROR_FILE_CORRUPT of a record is one damage, and the walk goes on behind it; a marker that leads nowhere ends it. */
static int walk(struct checking *checking, struct engine_cursor *cursor)
{
    struct bytes key = bytes_none(), value;
    bool found;
    int error = lmdb_cursor_seek(cursor, bytes_none(), &found, &key, &value);

    for (;;) {
        if (error == ERROR_FILE_CORRUPT) {
            report(checking, key, engine_damaged_record);
            if (key.ptr == NULL && key.len == 0)
                return 0;
            checking->has_damaged[key.len == 0 ? 0 : key.ptr[0]] = true;
            checking->found.buckets[key.len == 0 ? 0 : key.ptr[0]].keys++;
        } else if (error != 0) {
            return error;
        } else if (!found) {
            return 0;
        } else {
            count(checking, key, value);
        }
        key = bytes_none();
        error = lmdb_cursor_next(cursor, &found, &key, &value);
    }
}

static void compare(struct checking *checking, const struct tally *stored)
{
    for (unsigned i = 0; i < BUCKETS; i++) {
        const struct bucket *is = &checking->found.buckets[i], *was = &stored->buckets[i];
        uint8_t first = (uint8_t)i;

        if (is->keys != was->keys)
            report(checking, bytes_of(&first, 1), "number of keys that begin with this byte");
        else if (!checking->has_damaged[i] && (is->bytes != was->bytes || is->digest != was->digest))
            report(checking, bytes_of(&first, 1), "digest of the keys that begin with this byte");
    }
}

int64_t lmdb_check(struct engine *base, void (*report_damage)(void *ctx, struct bytes key, const char *what), void *ctx)
{
    struct engine_lmdb *engine = engine_lmdb_of(base);
    struct checking checking = {.report = report_damage, .ctx = ctx};
    struct engine_cursor *cursor;
    struct tally stored;
    MDB_txn *txn;
    int error = lmdb_reader(engine, &txn);

    if (error == 0)
        error = tally_read(txn, engine->tables.own, &stored);
    if (error == ERROR_FILE_CORRUPT) {
        report(&checking, bytes_none(), "counts and digests");
        return checking.damages;
    }
    if (error == 0)
        error = lmdb_cursor_open(base, false, &cursor);
    if (error != 0)
        return -error;
    error = walk(&checking, cursor);
    lmdb_cursor_close(cursor);
    if (error != 0)
        return -error;
    compare(&checking, &stored);
    return checking.damages;
}
