/* The shared core of the env, under a clock that the test turns. */
#include <criterion/criterion.h>

#include "net/env.h"
#include "net/error.h"

struct world {
    struct env env;
    int64_t now_us;
    int64_t tick_us; /* what a look at the clock costs */
    unsigned wakes;
    char log[256];
};

static int64_t world_now_us(struct env *env)
{
    struct world *world = container_of(env, struct world, env);

    world->now_us += world->tick_us;
    return world->now_us;
}

static void world_wake_at(struct env *env)
{
    container_of(env, struct world, env)->wakes++;
}

static const struct env_ops world_ops = {.now_us = world_now_us, .wake_at = world_wake_at};

static void world_init(struct world *world)
{
    *world = (struct world){.now_us = 1000};
    env_init(&world->env, &world_ops);
}

struct thing {
    struct ready ready;
    struct env_timer timer;
    struct world *world;
    char name;
    struct thing *queues; /* when it runs */
    enum ready_queue queue;
    bool as_hook, forever;
    int runs;
};

static void thing_ran(struct thing *thing)
{
    size_t len = strlen(thing->world->log);

    thing->runs++;
    if (len + 1 < sizeof(thing->world->log))
        thing->world->log[len] = thing->name;
    if (thing->forever)
        env_ready(&thing->world->env, &thing->ready, thing->queue);
    if (thing->queues == NULL)
        return;
    if (thing->as_hook)
        env_turn_end(&thing->world->env, &thing->queues->ready);
    else
        env_ready(&thing->world->env, &thing->queues->ready, thing->queue);
}

static void thing_ready(struct ready *ready)
{
    thing_ran(container_of(ready, struct thing, ready));
}

static void thing_fire(struct env_timer *timer)
{
    thing_ran(container_of(timer, struct thing, timer));
}

static struct thing make(struct world *world, char name)
{
    return (struct thing){.ready.run = thing_ready, .timer.fire = thing_fire, .world = world, .name = name};
}

Test(env, the_commit_path_runs_before_reads)
{
    struct world world;
    struct thing a, b, c;

    world_init(&world);
    a = make(&world, 'a'), b = make(&world, 'b'), c = make(&world, 'c');
    env_ready(&world.env, &a.ready, READY_READ);
    env_ready(&world.env, &b.ready, READY_COMMIT);
    env_ready(&world.env, &c.ready, READY_COMMIT);
    cr_assert_not(env_turn(&world.env));
    cr_assert_str_eq(world.log, "bca");
    env_done(&world.env);
}

Test(env, what_a_handler_queues_runs_in_the_same_turn)
{
    struct world world;
    struct thing a, b;

    world_init(&world);
    a = make(&world, 'a'), b = make(&world, 'b');
    a.queues = &b;
    env_ready(&world.env, &a.ready, READY_READ);
    cr_assert_not(env_turn(&world.env));
    cr_assert_str_eq(world.log, "ab");
    env_done(&world.env);
}

Test(env, a_ready_that_is_queued_twice_runs_once_and_a_cancelled_one_never)
{
    struct world world;
    struct thing a, b;

    world_init(&world);
    a = make(&world, 'a'), b = make(&world, 'b');
    env_ready(&world.env, &a.ready, READY_COMMIT);
    env_ready(&world.env, &a.ready, READY_READ);
    env_ready(&world.env, &b.ready, READY_COMMIT);
    env_ready_cancel(&b.ready);
    env_ready_cancel(&b.ready);
    env_turn(&world.env);
    cr_assert_str_eq(world.log, "a");
    env_done(&world.env);
}

Test(env, hooks_run_last_and_may_queue_others)
{
    struct world world;
    struct thing handler, hook, second, late;

    world_init(&world);
    handler = make(&world, 'a'), hook = make(&world, 'h'), second = make(&world, 'i'), late = make(&world, 'z');
    hook.queues = &second;
    hook.as_hook = true;
    second.queues = &late;
    env_turn_end(&world.env, &hook.ready);
    env_ready(&world.env, &handler.ready, READY_READ);
    cr_assert(env_turn(&world.env), "what a hook makes ready is left for the next turn");
    cr_assert_str_eq(world.log, "ahi");
    cr_assert_not(env_turn(&world.env));
    cr_assert_str_eq(world.log, "ahiz");
    env_done(&world.env);
}

Test(env, a_turn_ends_after_its_time_and_reads_are_not_starved)
{
    struct world world;
    struct thing commits, read;

    world_init(&world);
    world.tick_us = 50;
    commits = make(&world, 'c'), read = make(&world, 'r');
    commits.forever = true;
    env_ready(&world.env, &commits.ready, READY_COMMIT);
    env_ready(&world.env, &read.ready, READY_READ);
    cr_assert(env_turn(&world.env));
    cr_assert_lt(commits.runs, 100);
    cr_assert_eq(read.runs, 1);
    env_done(&world.env);
}

Test(env, a_turn_ends_also_when_the_clock_stands_still)
{
    struct world world;
    struct thing forever;

    world_init(&world);
    forever = make(&world, 'f');
    forever.forever = true;
    env_ready(&world.env, &forever.ready, READY_READ);
    cr_assert(env_turn(&world.env));
    cr_assert_gt(forever.runs, 100);
    env_done(&world.env);
}

Test(env, timers_fire_in_order_when_they_are_due)
{
    struct world world;
    struct thing a, b, c;

    world_init(&world);
    a = make(&world, 'a'), b = make(&world, 'b'), c = make(&world, 'c');
    cr_assert_eq(env_next_deadline_us(&world.env), INT64_MAX);
    env_timer_start(&world.env, &c.timer, 3000);
    env_timer_start(&world.env, &a.timer, 1001);
    env_timer_start(&world.env, &b.timer, 2000);
    cr_assert_eq(env_next_deadline_us(&world.env), 1001);
    env_turn(&world.env);
    cr_assert_str_eq(world.log, "");
    world.now_us = 2000;
    env_turn(&world.env);
    cr_assert_str_eq(world.log, "ab");
    cr_assert_eq(env_next_deadline_us(&world.env), 3000);
    env_timer_cancel(&world.env, &c.timer);
    env_timer_cancel(&world.env, &c.timer);
    cr_assert_eq(env_next_deadline_us(&world.env), INT64_MAX);
    env_done(&world.env);
}

static void fire_again(struct env_timer *timer)
{
    struct thing *thing = container_of(timer, struct thing, timer);

    thing->runs++;
    env_timer_start(&thing->world->env, timer, 0);
}

Test(env, a_timer_that_arms_itself_for_the_past_fires_once_a_turn)
{
    struct world world;
    struct thing a;

    world_init(&world);
    a = make(&world, 'a');
    a.timer.fire = fire_again;
    env_timer_start(&world.env, &a.timer, 0);
    for (int i = 1; i <= 3; i++) {
        env_turn(&world.env);
        cr_assert_eq(a.runs, i);
        world.now_us++;
    }
    env_done(&world.env);
}

enum { MANY = 1000 };

Test(env, a_thousand_timers_moved_and_cancelled_at_random_keep_their_order)
{
    static struct thing things[MANY];
    struct world world;
    uint64_t state = 1;
    int64_t last = 0;
    int fired = 0, expected = 0;

    world_init(&world);
    for (int i = 0; i < 20 * MANY; i++) {
        struct thing *thing;

        state = state * 6364136223846793005ULL + 1442695040888963407ULL;
        thing = &things[(state >> 33) % MANY];
        thing->timer.fire = thing_fire, thing->world = &world, thing->name = '.';
        if ((state >> 20 & 3) == 0)
            env_timer_cancel(&world.env, &thing->timer);
        else
            env_timer_start(&world.env, &thing->timer, 2000 + (int64_t)(state >> 40 & 0xffff));
    }
    for (int i = 0; i < MANY; i++)
        expected += things[i].timer.heap_index_plus_1 != 0;
    while (env_next_deadline_us(&world.env) != INT64_MAX) {
        cr_assert_geq(env_next_deadline_us(&world.env), last);
        world.now_us = last = env_next_deadline_us(&world.env);
        env_turn(&world.env);
    }
    for (int i = 0; i < MANY; i++)
        fired += things[i].runs;
    cr_assert_eq(fired, expected);
    cr_assert_gt(fired, MANY / 2);
    env_done(&world.env);
}

Test(env, the_implementation_is_woken_only_between_turns)
{
    struct world world;
    struct thing a, b;

    world_init(&world);
    a = make(&world, 'a'), b = make(&world, 'b');
    a.queues = &b;
    env_ready(&world.env, &a.ready, READY_READ);
    cr_assert_eq(world.wakes, 1);
    env_turn(&world.env);
    cr_assert_eq(world.wakes, 1);
    env_timer_start(&world.env, &a.timer, 5000);
    env_timer_start(&world.env, &b.timer, 6000);
    cr_assert_eq(world.wakes, 2, "the later timer changes nothing");
    env_done(&world.env);
}

Test(env, addresses_are_printed_and_parsed)
{
    struct address address;
    char text[ADDRESS_TEXT_MAX];

    cr_assert_eq(address_parse(BYTES_LITERAL("127.0.0.1:4500"), &address), 0);
    cr_assert_eq(address.ip, 0x7f000001);
    cr_assert_eq(address.port, 4500);
    cr_assert_str_eq(address_print(address, text), "127.0.0.1:4500");
    cr_assert_eq(address_parse(BYTES_LITERAL("255.255.255.255:65535"), &address), 0);
    cr_assert_str_eq(address_print(address, text), "255.255.255.255:65535");
}

Test(env, hostile_addresses_are_refused)
{
    static const char *const bad[] = {
        "", ":", "....:", "1.2.3.4", "1.2.3.4:", "1.2.3.4:0", "1.2.3.4:65536", "1.2.3.4:4294967297", "256.1.1.1:1",
        "1.2.3:4", "1.2.3.4.5:1", "01.2.3.4:1", "1.2.3.4:01", " 1.2.3.4:1", "1.2.3.4:1 ", "1.2.3.4:1x", "-1.2.3.4:1",
        "1.2.3.4:+1", "a.b.c.d:e", "1..3.4:1", "99999999999.2.3.4:1", "localhost:4500", "[::1]:4500"};
    struct address address = {.ip = 1, .port = 2};

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_assert_eq(address_parse(bytes_of_string(bad[i]), &address), ERROR_ADDRESS_PARSE_ERROR, "%s", bad[i]);
    cr_assert_eq(address_parse(bytes_of("1.2.3.4:1\0", 10), &address), ERROR_ADDRESS_PARSE_ERROR);
    cr_assert_eq(address_parse(bytes_of("1.2.3.4:12", 8), &address), ERROR_ADDRESS_PARSE_ERROR, "cut at its length");
    cr_assert(address.ip == 1 && address.port == 2, "untouched on failure");
}
