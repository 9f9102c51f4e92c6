/* Key-value engines behind one header: LMDB (default) and memory (snapshot and disk queue).
 *
 * An engine holds one ordered set of pairs at one version, plus a few small named records ("meta") that change in the same
 * transaction. Reads see the last finished commit. Keys to SYSTEM_KEY_BYTES_MAX bytes in bytes_compare order; values to
 * VALUE_BYTES_MAX. Each record is checked by a checksum when it is read: damage is ERROR_FILE_CORRUPT (counted and traced), never
 * a wrong answer.
 *
 * Reading: what get and cursors return is borrowed until engine_release(), which the owner calls at the end of each turn
 * (one read transaction a turn). Committing: one at a time, as an off-loop job; reads go on meanwhile and see the old state
 * until it has completed. */
#pragma once

#include "net/env.h"
#include "net/op.h"
#include "txn/messages.h"

struct engine;
struct engine_cursor;

/* One change, in key order within a commit, ranges not overlapping any later key of the same commit unless the commit
 * lists the clear first. All borrowed until the commit completes. */
struct engine_change {
    enum { ENGINE_SET, ENGINE_CLEAR_RANGE, ENGINE_CLEAR } type;
    struct bytes key;   /* or begin */
    struct bytes value; /* or end */
};

struct engine_meta {
    const char *name;   /* at most 32 characters */
    struct bytes value; /* len 0 removes it */
};

/* Opens or creates `directory`. 0, ERROR_FILE_CORRUPT (damage, or a crash inside the engine marked it lost),
 * ERROR_IO_ERROR, ERROR_UNSUPPORTED_FORMAT_VERSION. */
int engine_open(struct env *env, enum engine_kind kind, const char *directory, struct engine **ret_engine);
/* A commit under way is waited for by the engine, not by the caller: files close, and the directory may be opened or removed
 * again, when it is back (`closed` is then called, through the ready queue, unless NULL). */
void engine_close(struct engine *engine, void (*closed)(void *ctx), void *ctx);
/* Deletes a closed engine's files. */
int engine_remove(struct env *env, const char *directory);

/* *ret_found false: absent. Borrowed until engine_release. 0, ERROR_FILE_CORRUPT, ERROR_IO_ERROR. */
int engine_get(struct engine *engine, struct bytes key, bool *ret_found, struct bytes *ret_value);
int engine_meta_get(struct engine *engine, const char *name, bool *ret_found, struct bytes *ret_value);

/* A cursor lives within a turn: close it before engine_release. seek finds the first key at or after `key` (reverse: the last
 * key below it); next goes on in the same direction. *ret_found false at the end. */
int engine_cursor_open(struct engine *engine, bool reverse, struct engine_cursor **ret_cursor);
int engine_cursor_seek(struct engine_cursor *cursor, struct bytes key, bool *ret_found, struct bytes *ret_key,
                       struct bytes *ret_value);
int engine_cursor_next(struct engine_cursor *cursor, bool *ret_found, struct bytes *ret_key, struct bytes *ret_value);
void engine_cursor_close(struct engine_cursor *cursor);
/* Ends the turn's read transaction. Cheap when nothing was read. */
void engine_release(struct engine *engine);

/* A commit: changes then meta, all or nothing, durable when it completes. done() runs on the loop. The struct and everything it
 * borrows stay until done(), even across engine_close (which then calls done with ERROR_OPERATION_CANCELLED or the result). */
struct engine_commit {
    const struct engine_change *changes;
    size_t change_count;
    const struct engine_meta *meta;
    size_t meta_count;
    size_t clear_bytes_max; /* each CLEAR_RANGE may end after the pair that reaches this, and must have cleared one if there is one; 0: no bound */
    bool urgent; /* memory presses: run at normal priority, not idle */
    void (*done)(struct engine_commit *commit, int error);
    struct env_job job; /* the engine's */
    struct engine *engine; /* the engine's */
    int error; /* the engine's */
};
void engine_commit_start(struct engine *engine, struct engine_commit *commit);
/* A commit under way that gives way to other work does so no more. */
void engine_hurry(struct engine *engine);

struct engine_status {
    uint64_t keys;        /* exact */
    uint64_t bytes;       /* of keys and values, exact */
    uint64_t file_bytes;  /* on disk, or in memory for the memory engine */
    uint64_t free_bytes;  /* left on the disk (or of the granted memory) */
    uint64_t damaged_records;
    bool commit_under_way;
};
void engine_status(struct engine *engine, struct engine_status *ret_status);

/* Reads every record and compares with the counts and digests per key range that are kept in the same transaction; for
 * --inspect and the scrubber. report(ctx, key, what) for each damage. Blocking. Returns the number of damages or a
 * negative error. A record whose checksum is wrong is engine_damaged_record (compare the pointers): whoever reads it is told.
 * Whatever else is damaged may have lost keys, and no reader can tell. */
extern const char engine_damaged_record[];
int64_t engine_check(struct engine *engine, void (*report)(void *ctx, struct bytes key, const char *what), void *ctx);
