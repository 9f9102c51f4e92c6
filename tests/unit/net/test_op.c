/* Ops on an env whose clock, syncs and jobs the test moves by hand. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>

#include "net/buggify.h"
#include "net/mem.h"
#include "net/op.h"
#include "tests/unit/nth.h"

/* ---- a world ---- */

struct world {
    struct env env;
    struct op_list ops;
    int64_t now_us;
    struct env_sync *sync; /* the one under way */
    struct env_job *job;
    unsigned traces, invariants, ended, dropped;
    bool always; /* BUGGIFY fires */
    struct buggify buggify;
    char log[256]; /* what happened, a letter each */
};

static struct world *world_of(struct env *env)
{
    return container_of(env, struct world, env);
}

static int64_t fake_now(struct env *env)
{
    return world_of(env)->now_us;
}

static uint64_t fake_random(struct env *env)
{
    (void)env;
    return 1500;
}

static void fake_wake(struct env *env)
{
    (void)env;
}

static void fake_trace(struct env *env, enum severity severity, struct bytes line)
{
    (void)severity;
    cr_assert_gt(line.len, 0);
    world_of(env)->traces++;
}

static struct world *the_world; /* files know no env */

static void fake_sync(struct env_file *file, struct env_sync *sync)
{
    (void)file;
    the_world->sync = sync;
}

static void fake_job(struct env *env, struct env_job *job)
{
    world_of(env)->job = job;
}

static const struct env_ops fake_ops = {.now_us = fake_now, .wall_us = fake_now, .random = fake_random, .wake_at = fake_wake,
                                        .trace = fake_trace, .file_sync = fake_sync, .job_start = fake_job};

static bool fires(struct buggify *buggify, struct env *env, const char *file, const char *what, unsigned one_in)
{
    (void)buggify, (void)file, (void)what, (void)one_in;
    return world_of(env)->always;
}

static void probes(struct buggify *buggify, struct env *env, const char *file, const char *what)
{
    (void)buggify, (void)env, (void)file, (void)what;
}

static void invariant(void *owner)
{
    ((struct world *)owner)->invariants++;
}

static void world_init(struct world *world)
{
    *world = (struct world){.now_us = 1000000, .buggify = {.fire = fires, .probe = probes}};
    env_init(&world->env, &fake_ops);
    op_list_init(&world->ops, &world->env, world);
    world->ops.invariant = invariant;
    the_world = world;
}

static void world_done(struct world *world)
{
    op_cancel_all(&world->ops);
    env_done(&world->env);
}

static void turn_after(struct world *world, int64_t us)
{
    world->now_us += us;
    while (env_turn(&world->env))
        ;
}

static void turn(struct world *world)
{
    turn_after(world, 0);
}

static void note(struct world *world, char what)
{
    size_t len = strlen(world->log);

    cr_assert_lt(len + 1, sizeof(world->log));
    world->log[len] = what;
}

/* ---- an op whose stages do what the test says ---- */

enum plan { PLAN_TIMER, PLAN_TWO_OF_THREE, PLAN_ALL_OF_THREE, PLAN_TURN, PLAN_JOB, PLAN_SYNC, PLAN_CHILD, PLAN_NONE_NEEDED,
            PLAN_ILLEGAL, PLAN_SELF_CANCEL, PLAN_MOVE_WITH_WAITS, PLAN_BARE, PLAN_START_IN_END };
enum { BEGIN, AFTER, LAST };

/* A wait that the test completes. */
struct manual {
    struct wait wait;
    unsigned cancelled;
};

struct job_shared {
    struct wait_job_shared base;
    struct world *world;
    int result;
};

struct tester {
    struct op op;
    struct world *world;
    enum plan plan;
    char name;
    struct wait_timer timer;
    struct manual manual[3];
    struct gather gather;
    struct wait_turn turn;
    struct turnstile *turnstile;
    int64_t number;
    struct wait_job job;
    struct wait_sync sync;
    struct tester *child;
    int error;
    unsigned ended;
    bool on_heap;
};

static const struct op_type tester_type;

static void manual_cancel(struct wait *wait)
{
    container_of(wait, struct manual, wait)->cancelled++;
}

static const struct wait_type manual_type = {"manual", manual_cancel, NULL};

static void begin_gather(struct tester *self, unsigned needed)
{
    gather_init(&self->gather, &self->op, needed);
    for (int i = 0; i < 3; i++) {
        wait_begin(&self->manual[i].wait, &self->op, &manual_type);
        gather_add(&self->gather, &self->manual[i].wait);
    }
}

static void job_run(struct wait_job_shared *shared)
{
    container_of(shared, struct job_shared, base)->result = 7;
}

static void job_drop(struct wait_job_shared *shared)
{
    struct job_shared *self = container_of(shared, struct job_shared, base);

    self->world->dropped++;
    mem_free(self);
}

static void begin_job(struct tester *self)
{
    struct job_shared *shared = mem_zalloc(sizeof(*shared));

    shared->base.run = job_run;
    shared->base.drop = job_drop;
    shared->world = self->world;
    wait_job_start(&self->job, &self->op, &shared->base, ENV_JOB_NORMAL);
}

static enum op_result stage_begin(struct op *op)
{
    struct tester *self = container_of(op, struct tester, op);

    switch (self->plan) {
    case PLAN_TIMER:
        wait_timer_start(&self->timer, op, 500);
        break;
    case PLAN_TWO_OF_THREE:
        begin_gather(self, 2);
        break;
    case PLAN_ALL_OF_THREE:
        begin_gather(self, 3);
        break;
    case PLAN_NONE_NEEDED:
        begin_gather(self, 0);
        break;
    case PLAN_TURN:
        if (turnstile_enter(self->turnstile, &self->turn, op, self->number))
            return op_move(op, AFTER);
        break;
    case PLAN_JOB:
        begin_job(self);
        break;
    case PLAN_SYNC:
        wait_sync_start(&self->sync, op, NULL);
        break;
    case PLAN_CHILD:
        op_start_now(&self->child->op, &tester_type, &self->world->ops);
        break;
    case PLAN_ILLEGAL:
        return op_move(op, LAST);
    case PLAN_SELF_CANCEL:
        op_cancel(op);
        break;
    case PLAN_MOVE_WITH_WAITS:
        wait_begin(&self->manual[0].wait, op, &manual_type);
        return op_move(op, AFTER);
    case PLAN_START_IN_END:
    case PLAN_BARE:
        wait_begin(&self->manual[0].wait, op, &manual_type);
        break;
    }
    return op_wait(op, AFTER);
}

static enum op_result stage_after(struct op *op)
{
    struct tester *self = container_of(op, struct tester, op);

    note(self->world, self->name);
    return op_move(op, LAST);
}

static enum op_result stage_last(struct op *op)
{
    return op_finish(op, 0);
}

static void tester_ended(struct op *op)
{
    struct tester *self = container_of(op, struct tester, op);

    self->ended++;
    self->error = op->error;
    self->world->ended++;
    wait_job_clear(&self->job);
    if (self->plan == PLAN_START_IN_END)
        op_start(&self->child->op, &tester_type, &self->world->ops);
    if (self->on_heap)
        mem_free(self);
}

static const struct op_stage stages[] = {
    {"BEGIN", stage_begin, OP_STAGE(AFTER)}, {"AFTER", stage_after, OP_STAGE(LAST)}, {"LAST", stage_last, 0}};
static const struct op_type tester_type = {"tester", stages, 3, READY_COMMIT, tester_ended};

static void start(struct world *world, struct tester *self, enum plan plan)
{
    self->world = world;
    self->plan = plan;
    if (self->name == 0)
        self->name = 'x';
    op_start(&self->op, &tester_type, &world->ops);
}

/* ---- stages ---- */

Test(op, goes_through_its_stages_and_ends_once)
{
    struct world world;
    struct tester self = {0};

    world_init(&world);
    start(&world, &self, PLAN_TIMER);
    cr_assert_eq(world.ops.count, 1);
    cr_assert_str_eq(op_stage_name(&self.op), "BEGIN");
    turn(&world);
    turn_after(&world, 499);
    cr_assert_eq(self.ended, 0);
    turn_after(&world, 1);
    cr_assert_eq(self.ended, 1);
    cr_assert_eq(self.error, 0);
    cr_assert_eq(world.ops.count, 0);
    cr_assert_eq(world.traces, 0);
    world_done(&world);
}

Test(op, an_illegal_move_asserts, .signal = SIGABRT)
{
    struct world world;
    struct tester self = {0};

    world_init(&world);
    start(&world, &self, PLAN_ILLEGAL);
    turn(&world);
}

Test(op, cancelling_from_inside_the_own_stage_asserts, .signal = SIGABRT)
{
    struct world world;
    struct tester self = {0};

    world_init(&world);
    start(&world, &self, PLAN_SELF_CANCEL);
    turn(&world);
}

Test(op, starting_one_while_all_are_cancelled_asserts, .signal = SIGABRT)
{
    struct world world;
    struct tester self = {0}, child = {.world = &world};

    world_init(&world);
    self.child = &child;
    start(&world, &self, PLAN_START_IN_END);
    turn(&world);
    op_cancel_all(&world.ops);
}

Test(op, is_cancelled_from_every_stage)
{
    static const enum plan plans[] = {PLAN_TIMER, PLAN_TWO_OF_THREE, PLAN_TURN, PLAN_BARE};
    struct world world;
    struct turnstile turnstile;

    world_init(&world);
    turnstile_init(&turnstile, &world.env, 0);
    for (size_t i = 0; i < sizeof(plans) / sizeof(plans[0]); i++) {
        for (int turns = 0; turns < 2; turns++) {
            struct tester self = {.turnstile = &turnstile, .number = 5};

            start(&world, &self, plans[i]);
            if (turns == 1)
                turn(&world);
            op_cancel(&self.op);
            cr_assert_eq(self.ended, 1);
            cr_assert_eq(self.error, ERROR_OPERATION_CANCELLED);
            op_cancel(&self.op); /* ended: nothing to do */
            turn_after(&world, 1000);
            cr_assert_eq(self.ended, 1);
        }
    }
    cr_assert_eq(env_next_deadline_us(&world.env), INT64_MAX);
    cr_assert(list_empty(&turnstile.waiting));
    world_done(&world);
}

Test(op, leaving_a_stage_cancels_what_it_waited_for)
{
    struct world world;
    struct tester self = {0};

    world_init(&world);
    start(&world, &self, PLAN_MOVE_WITH_WAITS);
    turn(&world);
    cr_assert_eq(self.ended, 1);
    cr_assert_eq(self.manual[0].cancelled, 1);
    cr_assert_not(wait_under_way(&self.manual[0].wait));
    world_done(&world);
}

Test(op, a_child_that_ends_at_once_resumes_its_parent)
{
    struct world world;
    struct turnstile turnstile;
    struct tester child = {.world = &world, .plan = PLAN_TURN, .turnstile = &turnstile, .number = 1, .name = 'c'};
    struct tester parent = {.child = &child, .name = 'p'};

    world_init(&world);
    turnstile_init(&turnstile, &world.env, 1);
    start(&world, &parent, PLAN_CHILD);
    turn(&world);
    cr_assert_eq(child.ended, 1);
    cr_assert_eq(parent.ended, 0);
    op_resume(&parent.op);
    op_resume(&parent.op);
    turn(&world);
    cr_assert_str_eq(world.log, "cp");
    world_done(&world);
}

Test(op, may_free_itself_as_it_ends)
{
    struct world world;

    world_init(&world);
    world.env.buggify = &world.buggify;
    for (int i = 0; i < 4; i++) {
        struct tester *self = mem_zalloc(sizeof(*self));

        self->on_heap = true;
        start(&world, self, i % 2 == 0 ? PLAN_TIMER : PLAN_BARE);
    }
    turn(&world);
    turn_after(&world, 500);
    cr_assert_eq(world.ended, 2);
    op_cancel_all(&world.ops);
    cr_assert_eq(world.ended, 4);
    world_done(&world);
}

Test(op, a_slow_one_leaves_a_trace_line)
{
    struct world world;
    struct tester self = {0};

    world_init(&world);
    start(&world, &self, PLAN_TIMER);
    turn(&world);
    turn_after(&world, world.env.knobs.slow_op_us);
    cr_assert_eq(self.ended, 1);
    cr_assert_eq(world.traces, 1);
    world_done(&world);
}

Test(op, the_owners_invariant_runs_after_every_handler_in_simulation)
{
    struct world world;
    struct tester plain = {0}, checked = {0};

    world_init(&world);
    start(&world, &plain, PLAN_MOVE_WITH_WAITS);
    turn(&world);
    cr_assert_eq(world.invariants, 0);
    world.env.buggify = &world.buggify;
    start(&world, &checked, PLAN_MOVE_WITH_WAITS);
    turn(&world);
    cr_assert_eq(world.invariants, 3);
    world_done(&world);
}

Test(op, the_simulator_may_hold_a_resume_back_and_it_can_still_be_cancelled)
{
    struct world world;
    struct tester first = {0}, second = {0};

    world_init(&world);
    world.env.buggify = &world.buggify;
    world.always = true;
    start(&world, &first, PLAN_BARE);
    start(&world, &second, PLAN_BARE);
    turn(&world);
    wait_complete(&first.manual[0].wait, true);
    wait_complete(&second.manual[0].wait, true);
    turn_after(&world, 1499);
    cr_assert_eq(world.ended, 0);
    op_cancel(&second.op);
    turn_after(&world, 1);
    cr_assert_eq(first.error, 0);
    cr_assert_eq(first.ended, 1);
    cr_assert_eq(second.error, ERROR_OPERATION_CANCELLED);
    cr_assert_eq(env_next_deadline_us(&world.env), INT64_MAX);
    world_done(&world);
}

/* ---- gather ---- */

Test(gather, resumes_when_enough_went_well_and_cancels_the_rest)
{
    struct world world;
    struct tester self = {0};

    world_init(&world);
    start(&world, &self, PLAN_TWO_OF_THREE);
    turn(&world);
    wait_complete(&self.manual[2].wait, true);
    turn(&world);
    cr_assert_eq(self.ended, 0);
    wait_complete(&self.manual[0].wait, true);
    turn(&world);
    cr_assert_eq(self.ended, 1);
    cr_assert(gather_succeeded(&self.gather));
    cr_assert_eq(self.manual[1].cancelled, 1);
    world_done(&world);
}

Test(gather, resumes_as_soon_as_enough_is_impossible)
{
    struct world world;
    struct tester self = {0};

    world_init(&world);
    start(&world, &self, PLAN_ALL_OF_THREE);
    turn(&world);
    wait_complete(&self.manual[1].wait, false);
    turn(&world);
    cr_assert_eq(self.ended, 1);
    cr_assert_not(gather_succeeded(&self.gather));
    cr_assert_eq(self.manual[0].cancelled + self.manual[2].cancelled, 2);
    world_done(&world);
}

Test(gather, counts_a_cancelled_wait_as_failed)
{
    struct world world;
    struct tester self = {0};

    world_init(&world);
    start(&world, &self, PLAN_TWO_OF_THREE);
    turn(&world);
    wait_cancel(&self.manual[0].wait);
    wait_cancel(&self.manual[0].wait);
    turn(&world);
    cr_assert_eq(self.ended, 0);
    wait_cancel(&self.manual[1].wait);
    turn(&world);
    cr_assert_eq(self.ended, 1);
    cr_assert_not(gather_succeeded(&self.gather));
    world_done(&world);
}

Test(gather, of_none_is_done_at_once)
{
    struct world world;
    struct tester self = {0};

    world_init(&world);
    start(&world, &self, PLAN_NONE_NEEDED);
    turn(&world);
    cr_assert_eq(self.ended, 1);
    world_done(&world);
}

/* ---- turnstile ---- */

Test(turnstile, lets_go_in_order_of_numbers)
{
    static const int64_t numbers[] = {5, 2, 9, 2, 7, 1};
    struct tester testers[6] = {0};
    struct turnstile turnstile;
    struct world world;

    world_init(&world);
    world.env.buggify = &world.buggify;
    world.always = true; /* even where waits are held back, turns are not */
    turnstile_init(&turnstile, &world.env, 1);
    for (int i = 0; i < 6; i++) {
        testers[i].turnstile = &turnstile;
        testers[i].number = numbers[i];
        testers[i].name = (char)('a' + i);
        start(&world, &testers[i], PLAN_TURN);
    }
    turn(&world);
    cr_assert_str_eq(world.log, "f"); /* 1 is where it stands */
    op_cancel(&testers[4].op);
    turnstile_advance(&turnstile, 8);
    turn(&world);
    cr_assert_str_eq(world.log, "fbda");
    turnstile_advance(&turnstile, 8);
    turnstile_advance(&turnstile, 20);
    turn(&world);
    cr_assert_str_eq(world.log, "fbdac");
    world_done(&world);
}

Test(turnstile, never_goes_back, .signal = SIGABRT)
{
    struct world world;
    struct turnstile turnstile;

    world_init(&world);
    turnstile_init(&turnstile, &world.env, 5);
    turnstile_advance(&turnstile, 4);
}

/* ---- jobs and syncs outlive the op ---- */

static void finish_job(struct world *world)
{
    struct env_job *job = world->job;

    job->run(job);
    job->done(job);
}

Test(wait_job, gives_its_result_to_the_op)
{
    struct world world;
    struct tester self = {0};

    world_init(&world);
    start(&world, &self, PLAN_JOB);
    turn(&world);
    finish_job(&world);
    cr_assert_eq(container_of(self.job.shared, struct job_shared, base)->result, 7);
    turn(&world);
    cr_assert_eq(self.ended, 1);
    cr_assert_eq(world.dropped, 1);
    world_done(&world);
}

Test(wait_job, survives_a_cancelled_op)
{
    struct world world;
    struct tester self = {0};

    world_init(&world);
    start(&world, &self, PLAN_JOB);
    turn(&world);
    op_cancel(&self.op);
    cr_assert_eq(world.dropped, 0);
    memset(&self, 0xee, sizeof(self)); /* the op's memory is somebody else's now */
    finish_job(&world);
    cr_assert_eq(world.dropped, 1);
    turn(&world);
    world_done(&world);
}

Test(wait_sync, tells_how_it_went)
{
    for (int error = 0; error <= ERROR_IO_ERROR; error += ERROR_IO_ERROR) {
        struct world world;
        struct tester self = {0};

        world_init(&world);
        start(&world, &self, PLAN_SYNC);
        turn(&world);
        world.sync->done(world.sync, error);
        turn(&world);
        cr_assert_eq(self.ended, 1);
        cr_assert_eq(self.sync.error, error);
        world_done(&world);
    }
}

Test(wait_sync, survives_a_cancelled_op)
{
    struct world world;
    struct tester self = {0};

    world_init(&world);
    start(&world, &self, PLAN_SYNC);
    turn(&world);
    op_cancel_all(&world.ops);
    memset(&self, 0xee, sizeof(self));
    world.sync->done(world.sync, 0);
    turn(&world);
    world_done(&world);
}

Test(wait_sync, without_memory_it_fails)
{
    FAIL_EACH(nth, nth_allocation) {
        struct world world;
        struct tester self = {0};

        world_init(&world);
        start(&world, &self, PLAN_SYNC);
        nth_begin(&nth, NULL);
        turn(&world);
        if (nth_end(&nth)) {
            cr_assert_eq(self.sync.error, ERROR_OUT_OF_MEMORY);
        } else {
            world.sync->done(world.sync, 0);
            turn(&world);
            cr_assert_eq(self.sync.error, 0);
        }
        cr_assert_eq(self.ended, 1);
        world_done(&world);
    }
}
