/* An env that a fuzz target drives: files in memory, connections whose other side is the target, a clock that it moves.
 *
 * Syncs and jobs finish in the next turn. Nothing is drawn: the same calls give the same run. A file that would grow past
 * FUZZ_FILE_BYTES_MAX is a full disk, so that a length believed from a damaged file can't eat the machine's memory. */
#pragma once

#include "net/env.h"

enum { FUZZ_PATH_MAX = 128, FUZZ_FILE_BYTES_MAX = 64 << 20 };

struct fuzz_env {
    struct env env; /* first */
    int64_t now_us;
    uint64_t random;
    struct list files, listeners, conns, syncs, jobs;
    unsigned open_files;
    bool exited;                /* env_exit was called */
    bool prints;                /* FUZZ_TRACE is set: traces go to stderr, to understand an input */
    const char *real_directory; /* borrowed: where LMDB may work; NULL: nowhere */
    /* A connection's other side gets these bytes. May be NULL. */
    void (*sent)(void *ctx, struct env_conn *conn, struct bytes data);
    void *sent_ctx;
};

struct fuzz_env *fuzz_env_create(void);
/* Asserts that nothing is open, armed or queued. */
void fuzz_env_destroy(struct fuzz_env *fuzz);
void fuzz_env_run(struct fuzz_env *fuzz, unsigned turns, int64_t step_us);

/* ---- connections; handles stay valid until the env goes, also of closed ones ---- */

/* Somebody dials: NULL if nobody listens, or the listener refuses. */
struct env_conn *fuzz_dial(struct fuzz_env *fuzz, struct address from);
/* The nth live connection (modulo their number) that was dialled from inside; NULL if there is none. */
struct env_conn *fuzz_dialled(struct fuzz_env *fuzz, unsigned nth);
void fuzz_conn_open(struct env_conn *conn);
void fuzz_conn_give(struct env_conn *conn, struct bytes data); /* what comes while it is paused is kept */
void fuzz_conn_end(struct env_conn *conn);                     /* the other side closes it */
bool fuzz_conn_alive(const struct env_conn *conn);
bool fuzz_conn_outgoing(const struct env_conn *conn);

/* ---- files ---- */

void fuzz_file_put(struct fuzz_env *fuzz, const char *path, struct bytes content);
/* Borrowed, to be changed in place; len 0: there is none. */
struct bytes fuzz_file_content(struct fuzz_env *fuzz, const char *path, uint8_t **ret_at);
void fuzz_file_cut(struct fuzz_env *fuzz, const char *path, size_t len);
/* The nth plain file's path (modulo their number), or NULL. Borrowed until files change. */
const char *fuzz_file_nth(struct fuzz_env *fuzz, unsigned nth);
