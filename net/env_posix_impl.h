/* The inside of env_posix_*.c: not for anybody else. */
#pragma once

#include <event2/event.h>
#include <event2/event_struct.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "net/env_posix.h"

enum { SCRATCH_BYTES = 256 * 1024, LOOP_SLICE_NS = 100 * 1000 };

/* One lazily started thread with a queue of things to do. */
struct worker {
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    pthread_t thread;
    bool started;  /* the loop's */
    bool stopping; /* under mutex, like all below */
    void *first, *last; /* struct env_job by `next` (job threads) or struct env_file by `next_unsynced` (the syncer) */
    struct env_job *current; /* of a job thread: whose run() is under way */
    pthread_cond_t ran;      /* it is over */
    pid_t tid;               /* of the thread of idle priority */
    int nice;                /* its own, before it gave way */
    bool comes_back;         /* it may raise its priority again */
};

struct trace_sink {
    char *dir; /* owned; NULL: no files */
    struct bytes_buffer tail; /* what a line ends with */
    uint32_t port;
    bool to_stderr;
    enum severity severity_min;
    int fd; /* -1: none yet */
    int64_t started_s;
    unsigned number;
    uint64_t file_bytes;
    struct bytes_buffer buffer; /* lines not yet written */
    pthread_mutex_t mutex;      /* of the buffer and the file: jobs trace failures of files */
};

/* Of whoever drives, or of the seat: what env_posix_wake has to do. */
enum rest { AWAKE, ASLEEP, VACANT };

enum driver { DRIVER_ENDED, DRIVER_NONE, DRIVER_OWN, DRIVER_HELPER };

struct env_posix {
    struct env env; /* first */
    struct event_base *base;
    uint64_t random_state[4];

    struct event wake_event, timer_event, signal_event;
    int wake_fd, timer_fd, signal_fd;
    int64_t timer_armed_us; /* when timer_fd rings; INT64_MAX: it does not */
    sigset_t old_mask;      /* valid while signal_fd >= 0 */
    atomic_int rest; /* enum rest */
    atomic_bool stopped;
    _Atomic int64_t share_began_us;         /* the loop writes these; this one about once a second */
    _Atomic int64_t slept_us;               /* since then, but for a sleep that goes on */
    _Atomic int64_t asleep_since_us;        /* 0: awake */
    _Atomic uint32_t share_busy_millionths; /* of the time before */
    bool exited;
    int exit_status;
    bool awake;         /* turn_us is of this wake-up */
    unsigned delivered; /* events of this poll that made work */
    void (*on_signal)(void *ctx, int signal);
    bool (*on_wake)(void *ctx);
    void *ctx;

    uint8_t *scratch;                       /* owned, lazily allocated: where sockets are read into */
    struct list conns, listeners;           /* owned */
    struct env_conn *accepting;             /* offered to accepted(), neither adopted nor closed yet */
    struct env_listener *accepting_listener; /* NULL once it was closed */

    /* Who drives the loop: all of the env is theirs. Under `seat`. */
    pthread_mutex_t seat;
    pthread_cond_t own_turn, helper_turn;
    enum driver driver;
    int64_t vacated_us;        /* DRIVER_NONE: since when */
    bool recalled;             /* the own thread is wanted */
    bool own_waits;            /* for the helper to leave, however long that takes */
    bool (*enough)(void *ctx); /* the helper's; NULL: there is none */
    void *enough_ctx;
    bool refused;              /* the helper is to leave */
    atomic_bool helper_waits;  /* for the seat: a hint */

    struct list unsynced; /* files with syncs of this turn */
    size_t syncs_out, jobs_out; /* handed to threads, not yet back */
    struct list quiet_waits;    /* ready.link: to be run when neither is */
    struct worker syncer, jobs, idle_jobs;
    _Atomic int64_t slow_sync_us; /* when a sync last took so long that the loop should not have waited for it */
    _Atomic(struct env_job *) jobs_done;  /* stacks that threads push to and the loop takes whole */
    _Atomic(struct env_sync *) syncs_done;

    struct trace_sink trace;
};

static inline struct env_posix *env_posix_of(struct env *env)
{
    return container_of(env, struct env_posix, env);
}

/* env_posix.c: every libevent callback calls it first: refreshes turn_us after a sleep and counts the event. */
void env_posix_event(struct env_posix *posix);

/* env_posix_net.c */
int posix_listen(struct env *env, struct address at, const struct env_listener_events *events, void *ctx,
                 struct env_listener **ret_listener);
void posix_listener_close(struct env_listener *listener);
int posix_connect(struct env *env, struct address to, const struct env_conn_events *events, void *ctx,
                  struct env_conn **ret_conn);
void posix_conn_adopt(struct env_conn *conn, const struct env_conn_events *events, void *ctx);
void posix_conn_send(struct env_conn *conn, struct bytes_buffer *data);
size_t posix_conn_unsent_bytes(struct env_conn *conn);
void posix_conn_pause(struct env_conn *conn, bool paused);
void posix_conn_close(struct env_conn *conn);
void posix_net_done(struct env_posix *posix);

/* env_posix_file.c */
int posix_file_open(struct env *env, const char *path, unsigned flags, struct env_file **ret_file);
int posix_file_read(struct env_file *file, uint64_t offset, void *into, size_t len, size_t *ret_read);
int posix_file_write(struct env_file *file, uint64_t offset, struct bytes data);
int posix_file_size(struct env_file *file, uint64_t *ret_size);
int posix_file_truncate(struct env_file *file, uint64_t size);
int posix_file_zero_fill(struct env_file *file, uint64_t offset, uint64_t len);
int posix_file_drop_cache(struct env_file *file);
int posix_file_sync_now(struct env_file *file);
void posix_file_close(struct env_file *file);
int posix_rename(struct env *env, const char *from, const char *to);
int posix_remove(struct env *env, const char *path);
int posix_dir_make(struct env *env, const char *path);
int posix_dir_sync(struct env *env, const char *path);
int posix_dir_list(struct env *env, const char *path, void (*each)(void *ctx, const char *name), void *ctx);
int posix_dir_space(struct env *env, const char *path, struct env_space *ret_space);
int posix_real_path(struct env *env, const char *path, char *out, size_t out_size);

/* env_posix_file.c and env_posix_jobs.c share an open file. */
struct env_file {
    struct env_posix *posix;
    int fd;
    bool closing;       /* closed by its user; goes when the last sync is back */
    atomic_bool failed; /* a write or a sync failed: no sync of it succeeds any more */
    pthread_mutex_t flushing; /* of posix_file_flush */
    size_t syncs_out;   /* not yet delivered */
    size_t flying;      /* of them, handed to the syncer */
    struct list unsynced_link;
    struct env_sync *fresh, **fresh_tail; /* of this turn */
    /* the syncer's, under its mutex */
    struct env_sync *queued, **queued_tail;
    bool on_syncer;
    struct env_file *next_unsynced;
    char path[]; /* for trace lines */
};
void posix_file_free(struct env_file *file);
/* fdatasync, from any thread; sets `failed`. Returns the errno of this call, 0 if it succeeded or the file had failed before. */
int posix_file_flush(struct env_file *file);

/* env_posix_jobs.c */
void posix_file_sync(struct env_file *file, struct env_sync *sync);
void posix_job_start(struct env *env, struct env_job *job);
void posix_job_hurry(struct env *env, struct env_job *job);
void posix_job_stop(struct env *env, struct env_job *job);
void posix_jobs_init(struct env_posix *posix);
/* Ends the threads after all that is queued has run. */
void posix_jobs_stop(struct env_posix *posix);
void posix_jobs_done(struct env_posix *posix);
/* Makes what threads have finished ready on the loop; true if there was something. */
bool posix_take_completions(struct env_posix *posix);
/* Syncs that are queued and not started: the one file inline if `inline_allowed`, else by the syncer. */
void posix_start_syncs(struct env_posix *posix, bool inline_allowed);
/* Asks the scheduler for a short slice, so that a wake-up need not wait for a tick of whoever runs. */
void posix_take_short_slice(void);

/* env_posix_trace.c */
int posix_trace_init(struct env_posix *posix, const struct env_posix_options *options);
void posix_trace(struct env *env, enum severity severity, struct bytes json_line);
void posix_trace_flush(struct env_posix *posix);
void posix_trace_done(struct env_posix *posix);
