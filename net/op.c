/* One loop runs every stage function of every op.
 *
 * An op is in exactly one of four states: running (inside its stage function), waiting (its `waits` or a child will resume it),
 * queued (waiting, and its ready is in the loop's queue), or off the list (not started, or ended). Leaving a stage always goes
 * through leave_stage(), which cancels what is still under way: that is why a late completion can't be seen, and why
 * cancelling from any stage needs no code of the op's own.
 *
 * An op may free itself in ended(), and ended() may even destroy the owner: after op_finish() the loop touches neither,
 * unless the `emptied` flag, which op_cancel_all sets, still says that the owner is there. */
#include "net/op.h"

#include <assert.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>

#include "net/buggify.h"
#include "net/mem.h"
#include "net/observe.h"
#include "net/trace.h"

enum { DELAY_US_MAX = 2000 };

static int64_t turn_clock_us(struct env *env)
{
    return env->in_turn ? env->turn_us : env_now_us(env);
}

/* ---- what the observer sees ---- */

static void observe(const struct op *op, enum observed_op what)
{
    struct observer *observer = op->env->observer;

    if (__builtin_expect(observer != NULL, 0))
        observer->op(observer, op, what);
}

static void check_type(const struct op_type *type)
{
    assert(type->stage_count > 0 && type->stage_count <= 64);
    assert(type->ended != NULL);
    assert(type->queue < READY_QUEUES);
}

/* ---- stages ---- */

static void note_stage_time(struct op *op)
{
    int64_t now_us = turn_clock_us(op->env);
    int64_t spent_us = now_us - op->stage_started_us;

    if (spent_us > op->slowest_us) {
        op->slowest_us = spent_us;
        op->slowest_stage = op->stage;
    }
    op->stage_started_us = now_us;
}

static void cancel_quietly(struct wait *wait)
{
    list_remove(&wait->link);
    wait->gather = NULL;
    wait->type->cancel(wait);
}

static void leave_stage(struct op *op)
{
    while (!list_empty(&op->waits))
        cancel_quietly(list_entry(op->waits.next, struct wait, link));
    env_ready_cancel(&op->ready);
    if (op->env->buggify != NULL)
        env_timer_cancel(op->env, &op->delay);
    note_stage_time(op);
}

static void trace_if_slow(struct op *op)
{
    int64_t total_us = op->stage_started_us - op->started_us;

    if (total_us < op->env->knobs.slow_op_us || op->error == ERROR_OPERATION_CANCELLED)
        return; /* what lives as long as its role is not slow */
    TRACE(op->env, SEVERITY_INFO, "SlowOp", {"Op", trace_str(op->type->name)}, {"Us", trace_int(total_us)},
          {"SlowestStage", trace_str(op->type->stages[op->slowest_stage].name)}, {"StageUs", trace_int(op->slowest_us)},
          {"EndStage", trace_str(op_stage_name(op))}, {"Error", trace_int(op->error)});
}

static void end(struct op *op, int error)
{
    assert(op->owner != NULL); /* ended exactly once */
    leave_stage(op);
    op->error = error;
    op->waiting = false;
    op->running = false;
    trace_if_slow(op);
    observe(op, OBSERVED_ENDED);
    list_remove(&op->link);
    assert(op->owner->count > 0);
    op->owner->count--;
    op->owner = NULL;
    op->type->ended(op); /* the op may be gone */
}

static enum op_result run_stage(struct op *op)
{
    observe(op, OBSERVED_STAGE);
    op->running = true;
    return op->type->stages[op->stage].run(op);
}

/* After a stage function of an op that has not ended. True when another runs at once. */
static bool goes_on(struct op *op, enum op_result result)
{
    assert(op->running);
    op->running = false;
    if (result == OP_PENDING) {
        assert(op->waiting);
        return false;
    }
    leave_stage(op);
    op->stage = op->next_stage;
    return true;
}

static void run_stages(struct op *op)
{
    enum op_result result;

    do {
        result = run_stage(op);
    } while (result != OP_FINISHED && goes_on(op, result));
}

/* The simulator's twin of run_stages: the owner's invariant runs after every handler, while the owner is there. */
static void run_stages_checked(struct op *op)
{
    struct op_list *owner = op->owner;
    bool *outer = owner->emptied;
    bool emptied = false;
    enum op_result result;

    owner->emptied = &emptied;
    do {
        result = run_stage(op);
        if (emptied) {
            assert(result == OP_FINISHED);
            if (outer != NULL)
                *outer = true;
            return;
        }
        if (owner->invariant != NULL)
            owner->invariant(owner->owner);
    } while (result != OP_FINISHED && goes_on(op, result));
    owner->emptied = outer;
}

static void go(struct op *op)
{
    assert(op->owner != NULL && op->waiting && !op->running);
    leave_stage(op);
    op->waiting = false;
    op->stage = op->next_stage;
    if (__builtin_expect(op->env->buggify != NULL, 0))
        run_stages_checked(op);
    else
        run_stages(op);
}

static void ready_to_go(struct ready *ready)
{
    go(container_of(ready, struct op, ready));
}

static void delay_over(struct env_timer *timer)
{
    op_resume(container_of(timer, struct op, delay));
}

/* ---- life ---- */

void op_list_init(struct op_list *list, struct env *env, void *owner)
{
    *list = (struct op_list){.env = env, .owner = owner};
    list_init(&list->ops);
}

void op_cancel_all(struct op_list *list)
{
    if (list->emptied != NULL) {
        *list->emptied = true;
        list->emptied = NULL;
    }
    list->cancelling = true;
    while (!list_empty(&list->ops))
        op_cancel(list_entry(list->ops.next, struct op, link));
    assert(list->count == 0);
    list->cancelling = false;
}

static void begin(struct op *op, const struct op_type *type, struct op_list *owner)
{
    check_type(type);
    assert(!owner->cancelling);
    op->type = type;
    op->owner = owner;
    op->env = owner->env;
    op->stage = op->next_stage = op->slowest_stage = 0;
    op->waiting = true;
    op->running = false;
    op->error = 0;
    op->started_us = op->stage_started_us = turn_clock_us(op->env);
    op->slowest_us = 0;
    op->ready = (struct ready){.run = ready_to_go};
    op->delay = (struct env_timer){.fire = delay_over};
    list_init(&op->waits);
    op->link = (struct list){0};
    list_push_back(&owner->ops, &op->link);
    owner->count++;
    observe(op, OBSERVED_STARTED);
}

void op_start(struct op *op, const struct op_type *type, struct op_list *owner)
{
    uint64_t cause = observed_cause(owner->env);

    begin(op, type, owner);
    env_ready(op->env, &op->ready, type->queue);
    observed_set_cause(op->env, cause);
}

void op_start_now(struct op *op, const struct op_type *type, struct op_list *owner)
{
    struct env *env = owner->env;
    uint64_t cause = observed_cause(env);

    begin(op, type, owner);
    go(op);
    observed_set_cause(env, cause);
}

void op_cancel(struct op *op)
{
    struct env *env = op->env;
    uint64_t cause;

    if (op->owner == NULL)
        return;
    assert(!op->running);
    cause = observed_cause(env);
    end(op, ERROR_OPERATION_CANCELLED);
    observed_set_cause(env, cause);
}

void op_resume(struct op *op)
{
    assert(op->owner != NULL);
    env_ready(op->env, &op->ready, op->type->queue);
}

static void check_move(const struct op *op, unsigned next)
{
    assert(op->running);
    assert(next < op->type->stage_count);
    assert(op->type->stages[op->stage].next & OP_STAGE(next));
}

enum op_result op_move(struct op *op, unsigned next)
{
    check_move(op, next);
    op->next_stage = (uint8_t)next;
    return OP_READY;
}

enum op_result op_wait(struct op *op, unsigned next)
{
    check_move(op, next);
    op->next_stage = (uint8_t)next;
    op->waiting = true;
    return OP_PENDING;
}

enum op_result op_finish(struct op *op, int error)
{
    assert(op->running);
    end(op, error);
    return OP_FINISHED;
}

/* ---- waits ---- */

void wait_begin(struct wait *wait, struct op *op, const struct wait_type *type)
{
    assert(!wait_under_way(wait));
    assert(op->owner != NULL && (op->running || op->waiting));
    wait->op = op;
    wait->type = type;
    list_push_back(&op->waits, &wait->link);
}

/* As a slow machine would. */
static void resume_late(struct op *op)
{
    env_timer_start(op->env, &op->delay, env_now_us(op->env) + (int64_t)env_random_below(op->env, DELAY_US_MAX));
}

void op_hurry_all(struct op_list *list)
{
    list_each(link, after, &list->ops) {
        struct op *op = list_entry(link, struct op, link);

        if (op->delay.heap_index_plus_1 == 0)
            continue;
        env_timer_cancel(op->env, &op->delay);
        op_resume(op);
    }
}

static void gather_count(struct gather *gather, bool ok)
{
    if (ok)
        gather->ok++;
    else
        gather->failed++;
    assert(gather->ok + gather->failed <= gather->total);
    if (gather->fired || (!gather_succeeded(gather) && gather->total - gather->failed >= gather->needed))
        return;
    gather->fired = true;
    if (gather->op->delay.heap_index_plus_1 == 0 && BUGGIFY(gather->op->env, "a gather that is complete resumes its op late"))
        resume_late(gather->op);
    else
        op_resume(gather->op);
}

/* Tells the gather or the op. `may_delay`: the simulator may hold the op back, as a slow machine would. */
static void completed(struct wait *wait, bool ok, bool may_delay)
{
    struct gather *gather = wait->gather;
    struct op *op = wait->op;

    assert(wait_under_way(wait));
    list_remove(&wait->link);
    wait->gather = NULL;
    if (gather != NULL) {
        if (!ok && !gather->fired && gather->gives_up != NULL && gather->gives_up(gather, wait))
            gather->needed = UINT_MAX; /* not to be had any more */
        gather_count(gather, ok);
        return;
    }
    if (may_delay && op->delay.heap_index_plus_1 == 0 &&
        BUGGIFY(op->env, "an op resumes late: the order in which waits complete"))
        resume_late(op);
    else
        op_resume(op);
}

void wait_complete(struct wait *wait, bool ok)
{
    completed(wait, ok, true);
}

void wait_cancel(struct wait *wait)
{
    struct gather *gather = wait->gather;

    if (!wait_under_way(wait)) {
        wait->gather = NULL;
        return;
    }
    cancel_quietly(wait);
    if (gather != NULL)
        gather_count(gather, false);
}

void gather_init(struct gather *gather, struct op *op, unsigned needed)
{
    *gather = (struct gather){.op = op, .needed = needed};
    if (needed > 0)
        return;
    gather->fired = true;
    op_resume(op);
}

void gather_add(struct gather *gather, struct wait *wait)
{
    assert(wait->gather == NULL);
    assert(!gather->fired || gather_succeeded(gather));
    wait->gather = gather;
    gather->total++;
}

/* ---- timer ---- */

static void timer_fired(struct env_timer *timer)
{
    struct wait_timer *self = container_of(timer, struct wait_timer, timer);

    wait_complete(&self->wait, true);
}

static void timer_cancel(struct wait *wait)
{
    env_timer_cancel(wait->op->env, &container_of(wait, struct wait_timer, wait)->timer);
}

static void timer_print(const struct wait *wait, char *out, size_t out_size)
{
    const struct wait_timer *self = container_of(wait, struct wait_timer, wait);

    snprintf(out, out_size, "%.6f s more", (double)(self->timer.at_us - wait->op->env->turn_us) / 1e6);
}

static const struct wait_type timer_type = {"timer", timer_cancel, timer_print};

void wait_timer_start(struct wait_timer *timer, struct op *op, int64_t delay_us)
{
    wait_begin(&timer->wait, op, &timer_type);
    timer->timer.fire = timer_fired;
    if (BUGGIFY(op->env, "a timer rings late by up to a quarter"))
        delay_us += (int64_t)env_random_below(op->env, (uint64_t)(delay_us < 0 ? 0 : delay_us) / 4 + DELAY_US_MAX);
    env_timer_start(op->env, &timer->timer, env_now_us(op->env) + delay_us);
}

/* ---- turnstile ---- */

void turnstile_init(struct turnstile *turnstile, struct env *env, int64_t now)
{
    turnstile->env = env;
    turnstile->now = now;
    list_init(&turnstile->waiting);
}

static void turn_cancel(struct wait *wait)
{
    list_remove(&container_of(wait, struct wait_turn, wait)->link);
}

static void turn_print(const struct wait *wait, char *out, size_t out_size)
{
    const struct wait_turn *self = container_of(wait, struct wait_turn, wait);

    snprintf(out, out_size, "%" PRId64 ", which stands at %" PRId64, self->number, self->turnstile->now);
}

static const struct wait_type turn_type = {"turnstile", turn_cancel, turn_print};

/* Numbers mostly come in order, so the place is looked for from the end. Equal numbers keep their order of arrival. */
static void insert_turn(struct turnstile *turnstile, struct wait_turn *turn)
{
    struct list *after = turnstile->waiting.prev;

    while (after != &turnstile->waiting && list_entry(after, struct wait_turn, link)->number > turn->number)
        after = after->prev;
    list_push_front(after, &turn->link);
}

bool turnstile_enter(struct turnstile *turnstile, struct wait_turn *turn, struct op *op, int64_t number)
{
    struct gather *gather = turn->wait.gather;

    assert(!wait_under_way(&turn->wait));
    if (number <= turnstile->now) {
        turn->wait.gather = NULL;
        if (gather != NULL)
            gather_count(gather, true);
        return true;
    }
    wait_begin(&turn->wait, op, &turn_type);
    turn->turnstile = turnstile;
    turn->number = number;
    insert_turn(turnstile, turn);
    return false;
}

void turnstile_advance(struct turnstile *turnstile, int64_t now)
{
    assert(now >= turnstile->now);
    turnstile->now = now;
    while (!list_empty(&turnstile->waiting)) {
        struct wait_turn *turn = list_entry(turnstile->waiting.next, struct wait_turn, link);

        if (turn->number > now)
            break;
        list_remove(&turn->link);
        completed(&turn->wait, true, false); /* a delay would break the order that is promised */
    }
}

/* ---- jobs ---- */

static void job_run(struct env_job *job)
{
    struct wait_job_shared *shared = container_of(job, struct wait_job_shared, job);

    shared->run(shared);
}

static void job_done(struct env_job *job)
{
    struct wait_job_shared *shared = container_of(job, struct wait_job_shared, job);
    struct wait_job *wait = shared->wait;

    if (wait == NULL) {
        shared->drop(shared);
        return;
    }
    shared->wait = NULL;
    wait_complete(&wait->wait, true);
}

static void job_detach(struct wait *wait)
{
    struct wait_job *self = container_of(wait, struct wait_job, wait);

    self->shared->wait = NULL;
    self->shared = NULL;
}

static const struct wait_type job_type = {"job", job_detach, NULL};

void wait_job_start(struct wait_job *job, struct op *op, struct wait_job_shared *shared, enum env_job_priority priority)
{
    assert(job->shared == NULL);
    wait_begin(&job->wait, op, &job_type);
    job->shared = shared;
    shared->wait = job;
    shared->job = (struct env_job){.run = job_run, .done = job_done, .priority = priority};
    env_job_start(op->env, &shared->job);
}

void wait_job_clear(struct wait_job *job)
{
    struct wait_job_shared *shared;

    wait_cancel(&job->wait);
    shared = job->shared;
    job->shared = NULL;
    if (shared != NULL)
        shared->drop(shared);
}

/* ---- syncs ---- */

struct wait_sync_shared {
    struct env_sync sync;
    struct wait_sync *wait; /* NULL: detached */
};

static void sync_done(struct env_sync *sync, int error)
{
    struct wait_sync_shared *shared = container_of(sync, struct wait_sync_shared, sync);
    struct wait_sync *wait = shared->wait;

    mem_free(shared);
    if (wait == NULL)
        return;
    wait->shared = NULL;
    wait->error = error;
    wait_complete(&wait->wait, error == 0);
}

static void sync_detach(struct wait *wait)
{
    struct wait_sync *self = container_of(wait, struct wait_sync, wait);

    self->shared->wait = NULL;
    self->shared = NULL;
}

static const struct wait_type sync_type = {"sync", sync_detach, NULL};

void wait_sync_start(struct wait_sync *sync, struct op *op, struct env_file *file)
{
    wait_begin(&sync->wait, op, &sync_type);
    sync->error = 0;
    sync->shared = mem_alloc(sizeof(*sync->shared));
    if (sync->shared == NULL) {
        sync->error = ERROR_OUT_OF_MEMORY;
        wait_complete(&sync->wait, false);
        return;
    }
    *sync->shared = (struct wait_sync_shared){.sync = {.done = sync_done}, .wait = sync};
    env_file_sync(op->env, file, &sync->shared->sync);
}
