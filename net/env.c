/* What both implementations of the env share: the turn, the ready queues, the timers, addresses.
 *
 * Timers are a binary heap of pointers to what their owners embed; each knows its place, so moving and cancelling one costs
 * O(log n) and no search. Ready queues and turn hooks are intrusive lists: nothing here allocates but the heap's array.
 *
 * ops->wake_at is called only between turns, when something becomes due earlier than the implementation knew: after a turn it
 * looks by itself (env_turn's result and env_next_deadline_us). */
#include "net/buggify.h"
#include "net/env.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "net/error.h"
#include "net/mem.h"
#include "net/observe.h"

enum {
    TIMERS_MIN = 64,
    CLOCK_EVERY = 8,              /* handlers between two looks at the clock */
    READS_MIN = 8,                /* handlers of READY_READ that a turn full of commits still runs */
    TURN_HANDLERS_MAX = 16 * 1024, /* only met where the clock stands still during a turn */
    FILE_CALL_FAILS_ONE_IN = 300, /* in the simulator: mostly the end of a process, which is started again */
    FILE_WRITE_FAILS_ONE_IN = 5000
};

void env_init(struct env *env, const struct env_ops *ops)
{
    *env = (struct env){.ops = ops};
    knobs_init(&env->knobs);
    for (int i = 0; i < READY_QUEUES; i++)
        list_init(&env->ready[i]);
    list_init(&env->turn_end);
}

void env_done(struct env *env)
{
    mem_free(env->timers);
    env->timers = NULL;
    env->timer_count = env->timer_capacity = 0;
}

static void wake_between_turns(struct env *env)
{
    if (!env->in_turn)
        env->ops->wake_at(env);
}

static void keep_cause(const struct env *env, uint64_t *cause)
{
    if (__builtin_expect(env->observer != NULL, 0))
        *cause = env->observer->cause;
}

/* ---- ready queues and turn hooks ---- */

void env_ready(struct env *env, struct ready *ready, enum ready_queue queue)
{
    assert(ready->run != NULL);
    if (list_linked(&ready->link))
        return;
    list_push_back(&env->ready[queue], &ready->link);
    keep_cause(env, &ready->cause);
    wake_between_turns(env);
}

void env_ready_cancel(struct ready *ready)
{
    list_remove(&ready->link);
}

void env_turn_end(struct env *env, struct ready *hook)
{
    assert(hook->run != NULL);
    if (list_linked(&hook->link))
        return;
    list_push_back(&env->turn_end, &hook->link);
    keep_cause(env, &hook->cause);
    wake_between_turns(env);
}

static bool run_next(struct env *env, struct list *queue)
{
    struct list *link = list_pop_front(queue);
    struct ready *ready;

    if (link == NULL)
        return false;
    ready = list_entry(link, struct ready, link);
    observed_set_cause(env, ready->cause);
    ready->run(ready); /* may free it */
    return true;
}

static bool ready_left(const struct env *env)
{
    return !list_empty(&env->ready[READY_COMMIT]) || !list_empty(&env->ready[READY_READ]);
}

static void drain_ready(struct env *env)
{
    unsigned handlers = 0, reads = 0;

    for (;;) {
        if (!run_next(env, &env->ready[READY_COMMIT])) {
            if (!run_next(env, &env->ready[READY_READ]))
                return;
            reads++;
        }
        if (++handlers % CLOCK_EVERY == 0 && env->ops->now_us(env) - env->turn_us >= TURN_US_MAX)
            break;
        if (handlers >= TURN_HANDLERS_MAX || BUGGIFY_ONE_IN(env, 32, "a turn ends although more is ready"))
            break;
    }
    while (reads < READS_MIN && run_next(env, &env->ready[READY_READ]))
        reads++;
}

/* ---- timers ---- */

static void heap_set(struct env *env, size_t index, struct env_timer *timer)
{
    env->timers[index] = timer;
    timer->heap_index_plus_1 = index + 1;
}

static void heap_up(struct env *env, size_t index, struct env_timer *timer)
{
    while (index > 0) {
        size_t parent = (index - 1) / 2;

        if (env->timers[parent]->at_us <= timer->at_us)
            break;
        heap_set(env, index, env->timers[parent]);
        index = parent;
    }
    heap_set(env, index, timer);
}

static void heap_down(struct env *env, size_t index, struct env_timer *timer)
{
    for (;;) {
        size_t child = 2 * index + 1;

        if (child >= env->timer_count)
            break;
        if (child + 1 < env->timer_count && env->timers[child + 1]->at_us < env->timers[child]->at_us)
            child++;
        if (timer->at_us <= env->timers[child]->at_us)
            break;
        heap_set(env, index, env->timers[child]);
        index = child;
    }
    heap_set(env, index, timer);
}

static void heap_place(struct env *env, size_t index, struct env_timer *timer)
{
    if (index > 0 && timer->at_us < env->timers[(index - 1) / 2]->at_us)
        heap_up(env, index, timer);
    else
        heap_down(env, index, timer);
}

/* Arming a timer has no way to fail, so a failed growth is tried once more before the process ends. */
static void heap_reserve(struct env *env)
{
    size_t capacity = env->timer_capacity == 0 ? TIMERS_MIN : env->timer_capacity * 2;
    struct env_timer **grown;

    if (env->timer_count < env->timer_capacity)
        return;
    grown = mem_realloc(env->timers, capacity * sizeof(struct env_timer *));
    if (grown == NULL)
        grown = mem_realloc(env->timers, capacity * sizeof(struct env_timer *));
    if (grown == NULL) {
        fprintf(stderr, "out of memory: no room for %zu timers; the process ends\n", capacity);
        abort();
    }
    env->timers = grown;
    env->timer_capacity = capacity;
}

void env_timer_start(struct env *env, struct env_timer *timer, int64_t at_us)
{
    assert(timer->fire != NULL);
    /* One that is armed in a turn never fires in the same turn, or two of them could keep it from ending. */
    if (env->in_turn && at_us <= env->turn_us)
        at_us = env->turn_us + 1;
    timer->at_us = at_us;
    keep_cause(env, &timer->cause);
    if (timer->heap_index_plus_1 != 0) {
        assert(env->timers[timer->heap_index_plus_1 - 1] == timer);
        heap_place(env, timer->heap_index_plus_1 - 1, timer);
    } else {
        heap_reserve(env);
        heap_up(env, env->timer_count++, timer);
    }
    if (env->timers[0] == timer)
        wake_between_turns(env);
}

void env_timer_cancel(struct env *env, struct env_timer *timer)
{
    size_t index = timer->heap_index_plus_1 - 1;
    struct env_timer *last;

    if (timer->heap_index_plus_1 == 0)
        return;
    assert(index < env->timer_count && env->timers[index] == timer);
    last = env->timers[--env->timer_count];
    timer->heap_index_plus_1 = 0;
    if (last != timer)
        heap_place(env, index, last);
}

int64_t env_next_deadline_us(const struct env *env)
{
    return env->timer_count == 0 ? INT64_MAX : env->timers[0]->at_us;
}

static void fire_due_timers(struct env *env)
{
    while (env->timer_count > 0 && env->timers[0]->at_us <= env->turn_us) {
        struct env_timer *timer = env->timers[0];

        env_timer_cancel(env, timer);
        observed_set_cause(env, timer->cause);
        timer->fire(timer); /* may free it */
    }
}

/* ---- the turn ---- */

bool env_turn(struct env *env)
{
    assert(!env->in_turn);
    env->in_turn = true;
    env->turn_us = env->ops->now_us(env);
    env->turns++;
    fire_due_timers(env);
    drain_ready(env);
    while (run_next(env, &env->turn_end))
        ;
    env->in_turn = false;
    return ready_left(env);
}

/* ---- thin names over ops ---- */

int env_listen(struct env *env, struct address at, const struct env_listener_events *events, void *ctx,
               struct env_listener **ret_listener)
{
    assert(events->accepted != NULL);
    return env->ops->listen(env, at, events, ctx, ret_listener);
}

void env_listener_close(struct env_listener *listener, struct env *env)
{
    if (listener != NULL)
        env->ops->listener_close(listener);
}

int env_connect(struct env *env, struct address to, const struct env_conn_events *events, void *ctx,
                struct env_conn **ret_conn)
{
    assert(events->received != NULL && events->closed != NULL);
    return env->ops->connect(env, to, events, ctx, ret_conn);
}

void env_conn_adopt(struct env *env, struct env_conn *conn, const struct env_conn_events *events, void *ctx)
{
    assert(events->received != NULL && events->closed != NULL);
    env->ops->conn_adopt(conn, events, ctx);
}

void env_conn_send(struct env *env, struct env_conn *conn, struct bytes_buffer *data)
{
    env->ops->conn_send(conn, data);
}

size_t env_conn_unsent_bytes(struct env *env, struct env_conn *conn)
{
    return env->ops->conn_unsent_bytes(conn);
}

void env_conn_pause(struct env *env, struct env_conn *conn, bool paused)
{
    env->ops->conn_pause(conn, paused);
}

void env_conn_close(struct env *env, struct env_conn *conn)
{
    env->ops->conn_close(conn);
}

int env_file_open(struct env *env, const char *path, unsigned flags, struct env_file **ret_file)
{
    assert((flags & (ENV_OPEN_READ | ENV_OPEN_WRITE)) != 0);
    if (BUGGIFY_DEATH(env, FILE_CALL_FAILS_ONE_IN, "opening a file fails"))
        return ERROR_IO_ERROR;
    return env->ops->file_open(env, path, flags, ret_file);
}

int env_file_read(struct env *env, struct env_file *file, uint64_t offset, void *into, size_t len, size_t *ret_read)
{
    if (BUGGIFY_DEATH(env, FILE_CALL_FAILS_ONE_IN, "reading a file fails"))
        return ERROR_IO_ERROR;
    return env->ops->file_read(file, offset, into, len, ret_read);
}

int env_file_write(struct env *env, struct env_file *file, uint64_t offset, struct bytes data)
{
    if (BUGGIFY_DEATH(env, FILE_WRITE_FAILS_ONE_IN, "writing a file fails, nothing of it was done"))
        return ERROR_IO_ERROR;
    return env->ops->file_write(file, offset, data);
}

int env_file_size(struct env *env, struct env_file *file, uint64_t *ret_size)
{
    if (BUGGIFY_DEATH(env, FILE_CALL_FAILS_ONE_IN, "asking a file for its size fails"))
        return ERROR_IO_ERROR;
    return env->ops->file_size(file, ret_size);
}

int env_file_truncate(struct env *env, struct env_file *file, uint64_t size)
{
    return env->ops->file_truncate(file, size);
}

int env_file_zero_fill(struct env *env, struct env_file *file, uint64_t offset, uint64_t len)
{
    if (BUGGIFY_DEATH(env, FILE_CALL_FAILS_ONE_IN, "filling a file with zeros fails"))
        return ERROR_IO_ERROR;
    return env->ops->file_zero_fill(file, offset, len);
}

int env_file_drop_cache(struct env *env, struct env_file *file)
{
    if (BUGGIFY_DEATH(env, FILE_CALL_FAILS_ONE_IN, "dropping a file from the page cache fails"))
        return ERROR_IO_ERROR;
    return env->ops->file_drop_cache(file);
}

void env_file_sync(struct env *env, struct env_file *file, struct env_sync *sync)
{
    assert(sync->done != NULL);
    env->ops->file_sync(file, sync);
}

int env_file_sync_now(struct env *env, struct env_file *file)
{
    if (BUGGIFY_DEATH(env, FILE_CALL_FAILS_ONE_IN, "a blocking sync fails"))
        return ERROR_IO_ERROR;
    return env->ops->file_sync_now(file);
}

void env_file_close(struct env *env, struct env_file *file)
{
    if (file != NULL)
        env->ops->file_close(file);
}

int env_rename(struct env *env, const char *from, const char *to)
{
    if (BUGGIFY_DEATH(env, FILE_CALL_FAILS_ONE_IN, "renaming a file fails"))
        return ERROR_IO_ERROR;
    return env->ops->rename(env, from, to);
}

int env_remove(struct env *env, const char *path)
{
    if (BUGGIFY_DEATH(env, FILE_CALL_FAILS_ONE_IN, "removing a file or directory fails"))
        return ERROR_IO_ERROR;
    return env->ops->remove(env, path);
}

int env_dir_make(struct env *env, const char *path)
{
    if (BUGGIFY_DEATH(env, FILE_CALL_FAILS_ONE_IN, "making a directory fails"))
        return ERROR_IO_ERROR;
    return env->ops->dir_make(env, path);
}

int env_dir_sync(struct env *env, const char *path)
{
    if (BUGGIFY_DEATH(env, FILE_CALL_FAILS_ONE_IN, "a sync of a directory fails"))
        return ERROR_IO_ERROR;
    return env->ops->dir_sync(env, path);
}

int env_dir_list(struct env *env, const char *path, void (*each)(void *ctx, const char *name), void *ctx)
{
    if (BUGGIFY_DEATH(env, FILE_CALL_FAILS_ONE_IN, "listing a directory fails"))
        return ERROR_IO_ERROR;
    return env->ops->dir_list(env, path, each, ctx);
}

int env_dir_space(struct env *env, const char *path, struct env_space *ret_space)
{
    if (BUGGIFY_DEATH(env, FILE_CALL_FAILS_ONE_IN, "asking for the free space fails"))
        return ERROR_IO_ERROR;
    return env->ops->dir_space(env, path, ret_space);
}

int env_real_path(struct env *env, const char *path, char *out, size_t out_size)
{
    return env->ops->real_path(env, path, out, out_size);
}

void env_job_start(struct env *env, struct env_job *job)
{
    assert(job->run != NULL && job->done != NULL);
    job->env = env;
    job->next = NULL;
    job->hurried = false;
    env->ops->job_start(env, job);
}

void env_job_hurry(struct env *env, struct env_job *job)
{
    assert(job->env == env);
    if (job->priority != ENV_JOB_IDLE)
        return;
    env->ops->job_hurry(env, job);
    job->priority = ENV_JOB_NORMAL;
}

void env_job_stop(struct env *env, struct env_job *job)
{
    assert(job->env == env);
    env->ops->job_stop(env, job);
}

void env_exit(struct env *env, int status, const char *why)
{
    env->ops->exit(env, status, why);
}
