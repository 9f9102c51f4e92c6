/* The seam to the OS and to the simulator: clock, random numbers, connections, files, off-loop jobs, trace lines.
 *
 * One env is one process: net/env_posix.c (libevent) or sim/env_sim.c implement `struct env_ops`; net/env.c holds what both
 * share (ready queues, timers, turn hooks). Nothing above net/ calls the OS, reads a clock, draws a random number or keeps
 * mutable static state; all that hangs off the env. One thread runs an env; only jobs run elsewhere.
 *
 * A turn: the implementation delivers events (bytes, accepted connections, finished syncs and jobs), then calls env_turn():
 * due timers run, the ready queues are drained (the commit path before reads) until empty or TURN_US_MAX has passed, then the
 * turn hooks run (that is where frames for one connection and commits for one log batch themselves).
 *
 * A submit never calls back before it returns: every completion below comes through a ready queue or a later turn. */
#pragma once

#include <stdarg.h>

#include "net/address.h"
#include "net/bytes.h"
#include "net/knobs.h"
#include "net/list.h"

enum { TURN_US_MAX = 250 };

struct env;
struct env_conn;     /* opaque, owned by the env until closed() was called or env_conn_close() */
struct env_listener; /* opaque */
struct env_file;     /* opaque */

/* ---- ready queues, turn hooks, timers (net/env.c) ---- */

enum ready_queue { READY_COMMIT, READY_READ, READY_QUEUES };

/* Something to run in this turn or the next, embedded in its owner. Zeroed is idle. */
struct ready {
    struct list link;
    void (*run)(struct ready *ready);
    uint64_t cause; /* the env's, for its observer */
};

/* Queues `ready` once; a second call while it is queued is a no-op. */
void env_ready(struct env *env, struct ready *ready, enum ready_queue queue);
/* Takes it back; accepts an idle one. */
void env_ready_cancel(struct ready *ready);
/* Runs once at the end of this turn, after the ready queues; a hook may queue others, which run in the same turn end. */
void env_turn_end(struct env *env, struct ready *hook);

/* A timer embedded in its owner. Zeroed is idle. */
struct env_timer {
    int64_t at_us; /* env clock */
    void (*fire)(struct env_timer *timer);
    size_t heap_index_plus_1; /* 0 = not armed */
    uint64_t cause;           /* the env's, for its observer */
};

/* Arms (or moves) the timer to fire in the first turn at or after at_us. */
void env_timer_start(struct env *env, struct env_timer *timer, int64_t at_us);
void env_timer_cancel(struct env *env, struct env_timer *timer); /* accepts an idle one */

/* ---- connections ---- */

struct env_conn_events {
    void (*opened)(void *ctx); /* the outgoing connection is established */
    /* Bytes arrived, borrowed during the call. The receiver keeps what it cannot use yet. */
    void (*received)(void *ctx, struct bytes data);
    void (*drained)(void *ctx); /* env_conn_unsent_bytes() has come back to 0 after a send that could not finish at once */
    /* The other side closed, or `error` happened. Called at most once, never after env_conn_close(); the conn is gone. */
    void (*closed)(void *ctx, int error);
};

struct env_listener_events {
    /* A new connection; the callee must call env_conn_adopt() or env_conn_close() on it before it returns. */
    void (*accepted)(void *ctx, struct env_conn *conn, struct address from);
};

/* ---- files ----
 * Reads and writes are done at once (the page cache absorbs them); syncs finish later. Paths are relative to nothing: they
 * come from the process's data directory. Errors: ERROR_IO_ERROR (a full disk too: the implementation traces "DiskFull"),
 * ERROR_FILE_NOT_FOUND, ERROR_FILE_NOT_READABLE, ERROR_FILE_NOT_WRITABLE. Only a finished sync makes written bytes durable; only a finished
 * env_dir_sync makes a created, renamed or removed name durable. After a failed write or sync nothing is retried. */

enum env_open_flags { ENV_OPEN_READ = 1, ENV_OPEN_WRITE = 2, ENV_OPEN_CREATE = 4, ENV_OPEN_EXCLUSIVE = 8 };

/* Embedded by whoever syncs. `done` comes through READY_COMMIT. */
struct env_sync {
    void (*done)(struct env_sync *sync, int error);
    struct ready ready;       /* the env's */
    struct env_file *file;    /* the env's */
    struct env_sync *next;    /* the env's */
    int error;                /* the env's */
};

/* Off-loop work. run() may touch only what the job owns (and LMDB), and of the env call what opens, fills, truncates and syncs files,
 * renames, removes and syncs names; done() runs on the loop. A job that began is never abandoned: whoever started it keeps it alive
 * until done(). */
enum env_job_priority { ENV_JOB_NORMAL, ENV_JOB_IDLE /* gives way to everything, as far as it can be hurried; for engine commits */ };

struct env_job {
    void (*run)(struct env_job *job);  /* on a job thread */
    void (*done)(struct env_job *job); /* on the loop, through READY_COMMIT */
    enum env_job_priority priority;
    bool hurried;         /* the env's */
    struct ready ready;   /* the env's */
    struct env_job *next; /* the env's */
    struct env *env;      /* the env's */
};

struct env_space {
    uint64_t free_bytes;
    uint64_t total_bytes;
};

/* ---- trace ---- */

enum severity { SEVERITY_DEBUG = 5, SEVERITY_INFO = 10, SEVERITY_WARN = 20, SEVERITY_WARN_ALWAYS = 30, SEVERITY_ERROR = 40 };

/* ---- the seam ---- */

struct env_ops {
    int64_t (*now_us)(struct env *env);      /* monotonic */
    int64_t (*wall_us)(struct env *env);     /* since 1970; for people, never for time-outs */
    uint64_t (*random)(struct env *env);
    void (*wake_at)(struct env *env);        /* the earliest deadline, or the ready state, has changed */

    int (*listen)(struct env *env, struct address at, const struct env_listener_events *events, void *ctx,
                  struct env_listener **ret_listener);
    void (*listener_close)(struct env_listener *listener);
    int (*connect)(struct env *env, struct address to, const struct env_conn_events *events, void *ctx,
                   struct env_conn **ret_conn);
    void (*conn_adopt)(struct env_conn *conn, const struct env_conn_events *events, void *ctx);
    void (*conn_send)(struct env_conn *conn, struct bytes_buffer *data);
    size_t (*conn_unsent_bytes)(struct env_conn *conn);
    void (*conn_pause)(struct env_conn *conn, bool paused);
    void (*conn_close)(struct env_conn *conn);

    int (*file_open)(struct env *env, const char *path, unsigned flags, struct env_file **ret_file);
    int (*file_read)(struct env_file *file, uint64_t offset, void *into, size_t len, size_t *ret_read);
    int (*file_write)(struct env_file *file, uint64_t offset, struct bytes data);
    int (*file_size)(struct env_file *file, uint64_t *ret_size);
    int (*file_truncate)(struct env_file *file, uint64_t size);
    int (*file_zero_fill)(struct env_file *file, uint64_t offset, uint64_t len);
    int (*file_drop_cache)(struct env_file *file);
    void (*file_sync)(struct env_file *file, struct env_sync *sync);
    int (*file_sync_now)(struct env_file *file);
    void (*file_close)(struct env_file *file);
    int (*rename)(struct env *env, const char *from, const char *to);
    int (*remove)(struct env *env, const char *path);
    int (*dir_make)(struct env *env, const char *path);
    int (*dir_sync)(struct env *env, const char *path);
    int (*dir_list)(struct env *env, const char *path, void (*each)(void *ctx, const char *name), void *ctx);
    int (*dir_space)(struct env *env, const char *path, struct env_space *ret_space);
    /* Where a library with its own I/O (LMDB) finds `path` on the machine's file system. */
    int (*real_path)(struct env *env, const char *path, char *out, size_t out_size);

    void (*job_start)(struct env *env, struct env_job *job);
    void (*job_hurry)(struct env *env, struct env_job *job);
    void (*job_stop)(struct env *env, struct env_job *job);
    void (*trace)(struct env *env, enum severity severity, struct bytes json_line);
    /* A role or process can't go on: the process (posix) or the simulated process ends after this turn. */
    void (*exit)(struct env *env, int status, const char *why);
};

struct buggify;  /* net/buggify.h; NULL outside the simulator */
struct observer; /* net/observe.h; NULL outside its traces */
struct meter;    /* the same; NULL outside the simulator */
struct rpc;

struct env {
    const struct env_ops *ops;
    struct knobs knobs;
    struct buggify *buggify; /* shared with the simulator; NULL in production */
    struct observer *observer; /* the same */
    struct meter *meter;     /* the same */
    int64_t turn_us;         /* the clock when the turn began: cheap, use it for latencies */
    struct list ready[READY_QUEUES];
    struct list turn_end;
    struct env_timer **timers; /* binary heap, owned */
    size_t timer_count, timer_capacity;
    bool in_turn;
    uint64_t turns; /* counter */
};

/* For implementations. env_init does not set ops. */
void env_init(struct env *env, const struct env_ops *ops);
void env_done(struct env *env);
/* One turn, as described above. Returns true if ready work is left (the implementation polls without waiting, then comes
 * back). */
bool env_turn(struct env *env);
/* INT64_MAX when no timer is armed. */
int64_t env_next_deadline_us(const struct env *env);

/* For users: thin names over ops. */
static inline int64_t env_now_us(struct env *env) { return env->ops->now_us(env); }
static inline int64_t env_wall_us(struct env *env) { return env->ops->wall_us(env); }
static inline uint64_t env_random(struct env *env) { return env->ops->random(env); }
/* Uniform in [0, below); below > 0. */
static inline uint64_t env_random_below(struct env *env, uint64_t below) { return env_random(env) % below; }

/* 0, ERROR_ADDRESS_IN_USE or ERROR_BIND_FAILED. */
int env_listen(struct env *env, struct address at, const struct env_listener_events *events, void *ctx,
               struct env_listener **ret_listener);
void env_listener_close(struct env_listener *listener, struct env *env);
/* Starts connecting; the result comes as opened() or closed(). 0 or ERROR_CONNECTION_FAILED (nothing will be called). */
int env_connect(struct env *env, struct address to, const struct env_conn_events *events, void *ctx,
                struct env_conn **ret_conn);
void env_conn_adopt(struct env *env, struct env_conn *conn, const struct env_conn_events *events, void *ctx);
/* Takes the buffer's memory (it is empty after); writes what the socket takes at once and keeps the rest. */
void env_conn_send(struct env *env, struct env_conn *conn, struct bytes_buffer *data);
size_t env_conn_unsent_bytes(struct env *env, struct env_conn *conn);
/* Stops (or resumes) reading from it: back-pressure. */
void env_conn_pause(struct env *env, struct env_conn *conn, bool paused);
void env_conn_close(struct env *env, struct env_conn *conn);

int env_file_open(struct env *env, const char *path, unsigned flags, struct env_file **ret_file);
/* Reads up to len bytes; *ret_read is less than len only at the end of the file. */
int env_file_read(struct env *env, struct env_file *file, uint64_t offset, void *into, size_t len, size_t *ret_read);
int env_file_write(struct env *env, struct env_file *file, uint64_t offset, struct bytes data);
int env_file_size(struct env *env, struct env_file *file, uint64_t *ret_size);
int env_file_truncate(struct env *env, struct env_file *file, uint64_t size);
/* Makes [offset, offset + len) allocated and zero, growing the file; preallocation so that later syncs have no metadata. */
int env_file_zero_fill(struct env *env, struct env_file *file, uint64_t offset, uint64_t len);
/* What is read next comes from the disk, not from the page cache. */
int env_file_drop_cache(struct env *env, struct env_file *file);
/* sync->done must be set. The file must stay open until then. */
void env_file_sync(struct env *env, struct env_file *file, struct env_sync *sync);
/* Blocks the loop; only for opening and creating files. */
int env_file_sync_now(struct env *env, struct env_file *file);
void env_file_close(struct env *env, struct env_file *file); /* accepts NULL */
int env_rename(struct env *env, const char *from, const char *to);
int env_remove(struct env *env, const char *path);
int env_dir_make(struct env *env, const char *path); /* fine if it exists */
int env_dir_sync(struct env *env, const char *path);
int env_dir_list(struct env *env, const char *path, void (*each)(void *ctx, const char *name), void *ctx);
int env_dir_space(struct env *env, const char *path, struct env_space *ret_space);
int env_real_path(struct env *env, const char *path, char *out, size_t out_size);
void env_job_start(struct env *env, struct env_job *job);
/* A job of idle priority that has been started and is not done runs like any other from now on. */
void env_job_hurry(struct env *env, struct env_job *job);
/* When it returns, run() of a job that is not done is over or will never begin; done() is called as ever. Blocks the loop while run() is under
 * way: only where its owner ends, and what comes next would meet what it does. */
void env_job_stop(struct env *env, struct env_job *job);
void env_exit(struct env *env, int status, const char *why);
