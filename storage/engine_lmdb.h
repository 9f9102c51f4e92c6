/* The inside of the LMDB engine; engine_lmdb.c has the format. For engine_lmdb*.c alone. */
#pragma once

#include <lmdb.h>
#include <stdatomic.h>

#include "storage/engine_impl.h"

enum {
    CHUNK_BYTES = 500,      /* a key, or what is left of one, up to this is stored as itself */
    MARKER_BYTES = CHUNK_BYTES + 1,
    CHILD_ID_BYTES = 8,
    STORED_KEY_MAX = CHILD_ID_BYTES + MARKER_BYTES,
    CHECKSUM_BYTES = 8,
    BUCKETS = 256,          /* key ranges with a count and a digest each: by the first byte */
    LEVELS_MAX = SYSTEM_KEY_BYTES_MAX / CHUNK_BYTES + 2
};
static_assert(STORED_KEY_MAX <= 511, "LMDB's keys end there");

struct bucket {
    uint64_t keys;
    uint64_t bytes;  /* of keys and values */
    uint64_t digest; /* sum of the records' checksums */
};

/* What a commit changes beside the records; written in the same transaction. */
struct tally {
    struct bucket buckets[BUCKETS];
    uint64_t next_child;
};

/* In a page shared with the file "guard": what was going on inside LMDB when the process died. */
struct guard {
    _Atomic uint32_t reading, committing;
    _Atomic uint32_t deaths; /* in a row, inside LMDB, with no commit between */
};

struct reader {
    MDB_txn *txn;
    bool active;
    struct reader *next;
};

struct lmdb_tables {
    MDB_dbi keys;   /* key to record; a marker stands for all keys that begin with its 500 bytes and go on */
    MDB_dbi chunks; /* (child id, rest of the key) to record or marker; id 0 is the empty key */
    MDB_dbi meta;   /* name to record */
    MDB_dbi own;    /* format, tally */
};

struct engine_lmdb {
    struct engine engine;
    MDB_env *lmdb;
    struct lmdb_tables tables;
    struct guard *guard;
    struct guard guard_instead; /* when the page could not be shared */
    struct reader *reader;      /* what new reads use; the others wait for the release */
    struct tally tally;         /* of the last finished commit */
    struct tally job_tally;     /* the job's */
    struct engine_commit *commit; /* under way */
    struct ready grow_hook, closed_hook;
    void (*closed)(void *ctx);
    void *closed_ctx;
    bool closing;
    uint64_t damaged_records;
    unsigned open_cursors;
    char directory[ENGINE_PATH_MAX];
};

static inline struct engine_lmdb *engine_lmdb_of(struct engine *engine)
{
    return container_of(engine, struct engine_lmdb, engine);
}

static inline MDB_val val_of(struct bytes bytes)
{
    return (MDB_val){bytes.len, (void *)(uintptr_t)bytes.ptr};
}

static inline struct bytes bytes_of_val(MDB_val val)
{
    return bytes_of(val.mv_data, val.mv_size);
}

/* LMDB's error as one of ours, traced unless it says that the data is damaged (the caller counts and traces that). */
int lmdb_error(struct engine_lmdb *engine, int rc, const char *what);

/* ---- records and keys (engine_lmdb_keys.c) ---- */

uint64_t record_checksum(struct bytes key, struct bytes value);
/* Splits a stored record and checks it. */
bool record_open(struct bytes key, MDB_val stored, struct bytes *ret_value);
bool marker_open(MDB_val stored_key, MDB_val stored, uint64_t *ret_child);
static inline bool is_marker(size_t rest_bytes)
{
    return rest_bytes == MARKER_BYTES;
}

/* The key of a table for `rest` under `child` (0: the table of keys itself, and then rest is not empty). `into` has
 * STORED_KEY_MAX bytes and is used only where the key can't be borrowed. */
MDB_val stored_key(uint64_t child, struct bytes rest, bool marker, uint8_t *into);

/* 0 and *ret_found, or LMDB's error, or ERROR_FILE_CORRUPT (positive, above 1000). */
int lmdb_find(MDB_txn *txn, const struct lmdb_tables *tables, struct bytes key, bool *ret_found, struct bytes *ret_value);

/* A write transaction and its cursors, within a job. */
struct writing {
    MDB_txn *txn;
    const struct lmdb_tables *tables;
    MDB_cursor *keys, *chunks;
    struct tally *tally;
    size_t clear_bytes_max, cleared_bytes; /* of the range that is being cleared; 0: no bound */
};
int writing_set(struct writing *writing, struct bytes key, struct bytes value);
int writing_clear(struct writing *writing, struct bytes key);
int writing_clear_range(struct writing *writing, struct bytes begin, struct bytes end);

/* ---- reading ---- */

int lmdb_reader(struct engine_lmdb *engine, MDB_txn **ret_txn);
int lmdb_damaged(struct engine_lmdb *engine, struct bytes key, const char *what);

int lmdb_cursor_open(struct engine *engine, bool reverse, struct engine_cursor **ret_cursor);
int lmdb_cursor_seek(struct engine_cursor *cursor, struct bytes key, bool *ret_found, struct bytes *ret_key,
                     struct bytes *ret_value);
int lmdb_cursor_next(struct engine_cursor *cursor, bool *ret_found, struct bytes *ret_key, struct bytes *ret_value);
void lmdb_cursor_close(struct engine_cursor *cursor);
/* What lies under the cursor, checked or not: for the check, which goes on after a damaged record. */
MDB_val lmdb_cursor_stored(const struct engine_cursor *cursor);

int64_t lmdb_check(struct engine *engine, void (*report)(void *ctx, struct bytes key, const char *what), void *ctx);
/* The tally as stored, in the transaction. */
int tally_read(MDB_txn *txn, MDB_dbi own, struct tally *ret_tally);
