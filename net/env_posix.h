/* The env of a real process: libevent for sockets, a few threads for syncs and jobs.
 *
 * env_posix_create, then build roles on the env, then env_posix_run on one thread until env_posix_stop or env_exit; destroy
 * the roles, then env_posix_destroy. All of the env belongs to the thread that runs it; only env_posix_wake, env_posix_stop,
 * env_posix_help and env_posix_busyness may be called from others. Before env_posix_run and after it, the env may be used from the thread that created it.
 *
 * Paths are used as they are: relative to the working directory unless absolute. */
#pragma once

#include "net/env.h"

struct env_posix_options {
    /* Trace lines go to TRACE_DIR/trace.PORT.TIME.N.json, rolled by the knobs trace_roll_bytes and trace_files_max. NULL:
     * lines of SEVERITY_WARN and above go to stderr if trace_stderr, the others nowhere. Copied. */
    const char *trace_dir;
    uint32_t trace_port;
    const char *trace_group; /* what each line says as "LogGroup", as it is; NULL or "": nothing. Copied */
    bool trace_stderr;
    enum severity trace_severity_min; /* 0: SEVERITY_INFO */

    /* SIGTERM or SIGINT came (on the loop; the program decides what to do). NULL: the two are left alone. When set, both are
     * blocked in the creating thread, and so in all threads that it starts, until env_posix_destroy; a program that forks
     * and executes restores the mask in the child. */
    void (*on_signal)(void *ctx, int signal);

    /* Takes what other threads have queued for the loop; returns true if there was something. See env_posix_wake. May be
     * called at any time between turns, also when nothing was queued. NULL: none. */
    bool (*on_wake)(void *ctx);

    void *ctx; /* of both; borrowed until env_posix_destroy */
};

/* 0, ERROR_OUT_OF_MEMORY, or ERROR_OPERATION_FAILED (the OS refused: no file descriptors left). */
int env_posix_create(const struct env_posix_options *options, struct env **ret_env);

/* True when no job and no sync is under way: what was closed is really closed. On the env's thread. */
bool env_posix_is_quiet(struct env *env);
/* Runs `ready` when that is so, behind a turn; env_ready_cancel takes it back. Already waiting: no-op. On the env's thread. */
void env_posix_when_quiet(struct env *env, struct ready *ready);

/* Waits for jobs and syncs under way, delivers their completions (their owners may have detached), closes what is left open
 * without calling anybody. Accepts NULL. */
void env_posix_destroy(struct env *env);

/* Runs turns until env_posix_stop (returns 0) or env_exit (returns its status). May be called again after a stop. */
int env_posix_run(struct env *env);

/* Thread-safe: env_posix_run returns after the present turn (or at once when it is called next). */
void env_posix_stop(struct env *env);

/* Thread-safe: drives the loop on this thread, when its own has nothing to do, until enough(ctx), which is asked after each turn (and
 * by other threads). Returns early, or at once, when there is another helper, when the loop does not run, when it is done already, and after
 * env_posix_refuse_help: the caller then waits as if it had not called. So who waits for an answer sends the question and reads the
 * answer himself, with no wake-up from thread to thread between. When it returns nobody drives for up to a millisecond, unless the own
 * thread has something to do: who needs the loop to go on meanwhile calls env_posix_recall. Not from inside the loop. */
void env_posix_help(struct env *env, bool (*enough)(void *ctx), void *ctx);

/* From inside the loop, on a helper's thread: there is something that only the loop's own thread may do. The helper leaves, and that
 * thread calls on_wake. */
void env_posix_refuse_help(struct env *env);

/* Thread-safe: the share of the last second or two that the loop was at work and not asleep, 0 to 1. */
double env_posix_busyness(struct env *env);

/* Thread-safe, lock-free: makes the loop call on_wake soon. Costs a system call only when the loop sleeps.
 *
 * Memory order: the caller first publishes its work (a release or stronger store to its queue), then calls this. Here a
 * sequentially consistent fence comes between that store and the look at the loop's `rest` flag; the loop sets the flag,
 * passes a fence of its own, and calls on_wake once more before it really sleeps. So either the caller sees the flag and
 * writes the eventfd, or that on_wake sees the work: a wake-up can't be lost. Whoever clears the flag first pays for the
 * write, so a crowd of callers costs one. */
void env_posix_wake(struct env *env);

/* The same for who will wait for the outcome with env_posix_help, soon: if a helper has just left the loop, nobody is woken for it.
 * At the latest the own thread finds it a millisecond later. */
void env_posix_hint(struct env *env);

/* Thread-safe: if a helper has just left the loop, its own thread goes on with it now. For who waits otherwise than with env_posix_help. */
void env_posix_recall(struct env *env);
