/* The world: determinism, connections and their faults, pauses, kills, clocks. */
#include <criterion/criterion.h>

#include "net/error.h"
#include "net/trace.h"
#include "sim/buggify.h"
#include "sim/world.h"
#include "tests/unit/sim/echo.h"

struct pair {
    struct sim_world *world;
    struct sim_process *server, *client;
    struct echo_client_stats stats;
};

static void pair_init(struct pair *pair, uint64_t seed)
{
    *pair = (struct pair){.stats.reconnect_us = 10000};
    pair->world = sim_world_create(seed);
    pair->world->settings.restart_us = SIM_NEVER;
    pair->server = sim_process_create(pair->world, "server", 0, 4500, &echo_server, NULL);
    pair->client = sim_process_create(pair->world, "client", 1, 4501, &echo_client, &pair->stats);
    pair->stats.server = pair->server->address;
    sim_process_boot(pair->server);
    sim_process_boot(pair->client);
}

static void run_more(struct pair *pair, int64_t us)
{
    cr_assert(sim_world_run_until(pair->world, pair->world->now_us + us), "%s", pair->world->why);
}

/* Echoes that came back in the next `us`. */
static uint64_t echoes_in(struct pair *pair, int64_t us)
{
    uint64_t before = pair->stats.received;

    run_more(pair, us);
    return pair->stats.received - before;
}

static uint64_t hash_of_a_rough_run(uint64_t seed)
{
    struct pair pair;
    uint64_t hash;

    pair_init(&pair, seed);
    pair.world->settings.restart_us = 100000;
    for (int i = 0; i < 20; i++) {
        run_more(&pair, sim_random_range(&pair.world->faults, 1000, 300000));
        sim_process_stop(i % 2 == 0 ? pair.server : pair.client, i % 3 == 0 ? SIM_POWER_OFF : SIM_KILL);
        sim_net_drop(pair.world, (size_t)i, (enum sim_drop)(i % 3));
    }
    hash = pair.world->hash;
    sim_world_destroy(pair.world);
    return hash;
}

Test(world, same_seed_same_hash_other_seed_other_hash)
{
    cr_assert_eq(hash_of_a_rough_run(7), hash_of_a_rough_run(7));
    cr_assert_neq(hash_of_a_rough_run(7), hash_of_a_rough_run(8));
}

Test(world, echoes_flow_at_the_speed_of_the_network)
{
    struct pair pair;

    pair_init(&pair, 1);
    cr_assert_gt(echoes_in(&pair, SIM_SECOND_US), 1000);
    cr_assert_lt(pair.stats.received, 5000);
    cr_assert_eq(pair.stats.opened, 1);
    sim_world_destroy(pair.world);
}

Test(world, big_messages_come_whole_through_a_small_window_in_pieces)
{
    struct pair pair;

    pair_init(&pair, 2);
    pair.world->settings.window_bytes = 1000;
    pair.world->settings.split_one_in = 1;
    pair.world->settings.merge_one_in = 2;
    pair.stats.message_bytes = 70000;
    sim_process_stop(pair.client, SIM_KILL);
    sim_process_boot(pair.client);
    cr_assert_gt(echoes_in(&pair, SIM_SECOND_US), 100);
    sim_world_destroy(pair.world);
}

Test(world, a_killed_peer_is_noticed_soon_and_refuses_until_it_is_back)
{
    struct pair pair;

    pair_init(&pair, 3);
    run_more(&pair, SIM_SECOND_US);
    sim_process_stop(pair.server, SIM_KILL);
    run_more(&pair, 100000);
    cr_assert_geq(pair.stats.closed, 2); /* the connection, then refused dials */
    cr_assert_eq(pair.stats.last_error, ERROR_CONNECTION_FAILED);
    sim_process_boot(pair.server);
    cr_assert_gt(echoes_in(&pair, SIM_SECOND_US), 500);
    sim_world_destroy(pair.world);
}

Test(world, a_peer_without_power_is_sometimes_noticed_and_sometimes_not)
{
    int noticed = 0;

    for (uint64_t seed = 0; seed < 40; seed++) {
        struct pair pair;

        pair_init(&pair, seed);
        run_more(&pair, 500000);
        sim_process_stop(pair.server, SIM_POWER_OFF);
        run_more(&pair, 900000);
        noticed += pair.stats.closed != 0;
        sim_world_destroy(pair.world);
    }
    cr_assert(noticed > 3 && noticed < 37, "%d of 40", noticed);
}

Test(world, a_clogged_direction_holds_bytes_and_loses_none)
{
    struct pair pair;

    pair_init(&pair, 4);
    run_more(&pair, SIM_SECOND_US);
    sim_net_block(pair.world, 1, 0, +1);
    cr_assert_leq(echoes_in(&pair, 500000), 1);
    sim_net_block(pair.world, 1, 0, -1);
    cr_assert_gt(echoes_in(&pair, 500000), 400);
    cr_assert_eq(pair.stats.opened, 1, "the same connection went on");
    sim_world_destroy(pair.world);
}

Test(world, a_healed_partition_lets_a_new_connection_through)
{
    struct pair pair;

    pair_init(&pair, 5);
    run_more(&pair, SIM_SECOND_US);
    sim_net_block(pair.world, 1, 0, +1);
    sim_net_block(pair.world, 0, 1, +1);
    cr_assert_leq(echoes_in(&pair, 5 * SIM_SECOND_US), 1);
    sim_net_heal(pair.world);
    cr_assert_gt(echoes_in(&pair, 2 * SIM_SECOND_US), 400);
    sim_world_destroy(pair.world);
}

Test(world, a_dropped_connection_is_heard_of_by_those_who_should)
{
    for (int how = SIM_DROP_BOTH; how <= SIM_DROP_NONE; how++) {
        struct pair pair;

        pair_init(&pair, 6);
        run_more(&pair, SIM_SECOND_US);
        sim_net_drop(pair.world, 0, (enum sim_drop)how);
        run_more(&pair, 500000);
        if (how == SIM_DROP_BOTH)
            cr_assert_eq(pair.stats.closed, 1);
        if (how == SIM_DROP_NONE)
            cr_assert_eq(pair.stats.closed, 0);
        cr_assert_gt(echoes_in(&pair, 2 * SIM_SECOND_US), 400);
        sim_world_destroy(pair.world);
    }
}

Test(world, flipped_bits_are_seen)
{
    struct pair pair;

    pair_init(&pair, 7);
    pair.world->settings.flip_one_in = 100;
    cr_assert_not(sim_world_run_until(pair.world, 5 * SIM_SECOND_US));
    cr_assert(strstr(pair.world->why, "echo differs") != NULL);
    sim_world_destroy(pair.world);
}

Test(world, a_paused_process_does_nothing_and_loses_nothing)
{
    struct pair pair;

    pair_init(&pair, 8);
    run_more(&pair, SIM_SECOND_US);
    sim_process_pause(pair.server);
    cr_assert_leq(echoes_in(&pair, 800000), 1);
    sim_process_resume(pair.server);
    cr_assert_gt(echoes_in(&pair, 500000), 300);
    cr_assert_eq(pair.stats.closed, 0);
    sim_world_destroy(pair.world);
}

Test(world, a_paused_process_is_dialled_by_its_kernel)
{
    struct pair pair;

    pair_init(&pair, 9);
    sim_process_pause(pair.server);
    run_more(&pair, 500000);
    cr_assert_eq(pair.stats.opened, 1);
    cr_assert_eq(pair.stats.received, 0);
    sim_world_destroy(pair.world);
}

Test(world, what_exits_comes_back_and_what_must_stay_down_does_not)
{
    struct pair pair;

    pair_init(&pair, 10);
    pair.world->settings.restart_us = 100000;
    env_exit(&pair.server->env, 1, "test");
    run_more(&pair, 200000);
    cr_assert(pair.server->alive);
    cr_assert_eq(pair.server->incarnation, 2);
    pair.server->stay_down = true;
    sim_process_stop(pair.server, SIM_KILL);
    run_more(&pair, SIM_SECOND_US);
    cr_assert_not(pair.server->alive);
    sim_world_destroy(pair.world);
}

Test(world, a_clock_that_drifts_measures_other_seconds_and_never_goes_back)
{
    struct pair pair;
    int64_t before_us, after_us;

    pair_init(&pair, 11);
    sim_process_set_clock(pair.client, -100000, 3600 * SIM_SECOND_US);
    before_us = sim_process_clock_us(pair.client);
    for (int i = 0; i < 100; i++) {
        int64_t last_us = sim_process_clock_us(pair.client);

        run_more(&pair, 10000);
        cr_assert_geq(sim_process_clock_us(pair.client), last_us);
    }
    after_us = sim_process_clock_us(pair.client);
    cr_assert(after_us - before_us > 899000 && after_us - before_us < 901000);
    sim_world_destroy(pair.world);
}

struct job_owner {
    struct env_job job;
    int ran, done;
};

static void count_run(struct env_job *job)
{
    container_of(job, struct job_owner, job)->ran++;
}

static void count_done(struct env_job *job)
{
    container_of(job, struct job_owner, job)->done++;
}

Test(world, a_job_of_a_killed_process_runs_or_does_not_and_is_done_once)
{
    int ran = 0;

    for (uint64_t seed = 0; seed < 40; seed++) {
        struct job_owner owner = {.job = {.run = count_run, .done = count_done}};
        struct pair pair;

        pair_init(&pair, seed);
        env_job_start(&pair.server->env, &owner.job);
        cr_assert_eq(owner.ran, 0);
        sim_process_stop(pair.server, SIM_KILL);
        cr_assert_eq(owner.done, 1);
        ran += owner.ran;
        sim_world_destroy(pair.world);
    }
    cr_assert(ran > 5 && ran < 35, "%d of 40", ran);
}

Test(world, a_job_runs_then_is_done)
{
    struct job_owner owner = {.job = {.run = count_run, .done = count_done}};
    struct pair pair;

    pair_init(&pair, 12);
    env_job_start(&pair.server->env, &owner.job);
    run_more(&pair, SIM_SECOND_US);
    cr_assert_eq(owner.ran, 1);
    cr_assert_eq(owner.done, 1);
    sim_world_destroy(pair.world);
}

static bool buggy_site(struct env *env)
{
    return BUGGIFY(env, "a site of the test");
}

Test(buggify, a_site_is_active_in_a_quarter_of_the_seeds_and_then_fires_a_quarter_of_the_time)
{
    unsigned active = 0, fired = 0;

    for (uint64_t seed = 0; seed < 400; seed++) {
        struct sim_world *world = sim_world_create(seed);
        struct echo_client_stats stats = {.reconnect_us = 1};
        struct sim_process *process;
        unsigned fired_here = 0;

        sim_world_buggify(world);
        process = sim_process_create(world, "p", 0, 1, &echo_server, &stats);
        sim_process_boot(process);
        for (int i = 0; i < 100; i++)
            fired_here += buggy_site(&process->env);
        PROBE(&process->env, "test");
        active += fired_here != 0;
        fired += fired_here;
        sim_world_destroy(world);
    }
    cr_assert(active > 60 && active < 140, "%u of 400 active", active);
    cr_assert(fired > active * 15 && fired < active * 35);
}

Test(buggify, a_muted_site_says_that_it_fires_and_does_nothing)
{
    uint64_t said = 0;

    for (uint64_t seed = 0; seed < 40; seed++) {
        struct sim_world *world = sim_world_create(seed);
        struct echo_client_stats stats = {.reconnect_us = 1};
        struct sim_process *process;

        sim_world_buggify(world);
        world->buggify->mute = "a site of the test";
        process = sim_process_create(world, "p", 0, 1, &echo_server, &stats);
        sim_process_boot(process);
        for (int i = 0; i < 20; i++)
            cr_assert_not(buggy_site(&process->env));
        said += sim_buggify_fired(world->buggify);
        sim_world_destroy(world);
    }
    cr_assert_gt(said, 10);
}

Test(world, what_a_program_leaves_behind_fails_the_run)
{
    struct pair pair;
    struct env_timer timer = {.fire = (void (*)(struct env_timer *))abort};

    pair_init(&pair, 13);
    env_timer_start(&pair.server->env, &timer, INT64_MAX);
    sim_process_stop(pair.server, SIM_KILL);
    cr_assert(pair.world->failed);
    cr_assert(strstr(pair.world->why, "1 timers") != NULL);
    sim_world_destroy(pair.world);
}

/* ---- lines that processes trace ---- */

struct ear {
    struct sim_listener listener;
    unsigned heard;
    uint64_t number, id;
    char text[32];
};

static void ear_heard(struct sim_listener *listener, struct sim_process *process, struct bytes line)
{
    struct ear *ear = container_of(listener, struct ear, listener);
    struct bytes text = sim_line_text(line, "Text");

    (void)process;
    if (!sim_line_is(line, "Said"))
        return;
    ear->heard++;
    cr_assert(sim_line_number(line, "Number", 10, &ear->number) && sim_line_number(line, "Id", 16, &ear->id));
    cr_assert(!sim_line_number(line, "Numb", 10, &ear->number) && sim_line_text(line, "Number").len == 0);
    snprintf(ear->text, sizeof(ear->text), "%.*s", (int)text.len, (const char *)text.ptr);
}

Test(world, a_listener_hears_what_a_process_traces)
{
    struct ear ear = {.listener.heard = ear_heard};
    struct pair pair;

    pair_init(&pair, 1);
    list_push_back(&pair.world->listeners, &ear.listener.link);
    TRACE(&pair.server->env, SEVERITY_DEBUG, "SaidOtherwise", {"Number", trace_int(1)});
    TRACE(&pair.server->env, SEVERITY_DEBUG, "Said", {"Number", trace_int(4711)}, {"Id", trace_id(0xab)},
          {"Text", trace_bytes(BYTES_LITERAL("a\"b\xff"))});
    cr_assert(ear.heard == 1 && ear.number == 4711 && ear.id == 0xab);
    cr_assert_str_eq(ear.text, "a\\\"b\\\\xff"); /* as it stands there, escaped */
    sim_world_destroy(pair.world);
}
