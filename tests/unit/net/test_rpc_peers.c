/* Peers: watched, silent, paused, of another cluster or version, and connections that nobody uses. */
#include "rpc_world.h"

/* ---- watches and silence ---- */

struct watcher {
    struct rpc_watch watch;
    struct world *world;
};

static void watch_failed(struct rpc_watch *watch, int error)
{
    struct world *world = container_of(watch, struct watcher, watch)->world;

    world->failed_watches++;
    world->watch_error = error;
    one_came(world);
}

Test(rpc_peers, a_watch_hears_of_the_closed_connection)
{
    struct world world;
    struct watcher watcher = {.watch.failed = watch_failed, .world = &world}, own = watcher;

    world_init(&world);
    rpc_watch_start(world.caller, &watcher.watch, world.at);
    rpc_watch_start(world.caller, &own.watch, rpc_address(world.caller));
    while (rpc_counters(world.server)->frames_in == 0)
        run_for(&world.fixture, 2000);
    cr_assert_eq(world.failed_watches, 0);
    kill_server(&world);
    run_until(&world, 1);
    cr_assert_eq(world.watch_error, ERROR_CONNECTION_FAILED);
    rpc_watch_start(world.caller, &watcher.watch, world.at);
    run_until(&world, 1); /* nobody is there */
    cr_assert_eq(world.failed_watches, 2);
    rpc_watch_start(world.caller, &watcher.watch, world.at);
    rpc_watch_cancel(&watcher.watch);
    rpc_watch_cancel(&watcher.watch);
    rpc_watch_cancel(&own.watch);
    world_done(&world);
}

/* ---- refused hellos ---- */

Test(rpc_peers, another_cluster_is_refused)
{
    struct world world;

    world_init_as(&world, cluster_a, cluster_b, false);
    cr_assert_eq(ask_and_wait(&world, world.caller, ECHO), ERROR_INVALID_CLUSTER_ID);
    run_for(&world.fixture, 5000);
    cr_assert_eq(rpc_counters(world.server)->wrong_cluster, 1);
    cr_assert_eq(world.handled, 0);
    world_done(&world);
}

Test(rpc_peers, an_unknown_cluster_id_is_accepted_until_it_is_known)
{
    struct world world;
    struct ask ask = {0};

    world_init_as(&world, cluster_a, cluster_none, false);
    cr_assert_eq(ask_and_wait(&world, world.caller, ECHO), 0);
    rpc_set_cluster_id(world.caller, cluster_a);
    cr_assert_eq(ask_and_wait(&world, world.caller, ECHO), 0);
    world.mode = MODE_HOLD;
    ask_start(&world, &ask, world.caller, ECHO);
    run_until(&world, 1);
    rpc_set_cluster_id(world.caller, cluster_b);
    run_until(&world, 1);
    cr_assert_eq(ask.error, ERROR_REQUEST_MAYBE_DELIVERED);
    cr_assert_eq(ask_and_wait(&world, world.caller, ECHO), ERROR_INVALID_CLUSTER_ID);
    world_done(&world);
}

/* A server of another version: a listener that answers with its own hello. */
static void foreign_accepted(void *ctx, struct env_conn *conn, struct address from);
static void foreign_received(void *ctx, struct bytes data)
{
    (void)ctx, (void)data;
}
static void foreign_closed(void *ctx, int error)
{
    (void)ctx, (void)error;
}
static const struct env_conn_events foreign_events = {.received = foreign_received, .closed = foreign_closed};
static const struct env_listener_events foreign_listener = {.accepted = foreign_accepted};

struct foreign {
    struct world *world;
    uint64_t version;
    bool deaf; /* reads nothing */
};

static void foreign_accepted(void *ctx, struct env_conn *conn, struct address from)
{
    struct foreign *foreign = ctx;
    struct bytes_buffer hello = {0};
    uint8_t bytes[256];
    uint32_t len = hello_frame(bytes, foreign->version, cluster_a, false);

    (void)from;
    env_conn_adopt(foreign->world->env, conn, &foreign_events, NULL);
    env_conn_pause(foreign->world->env, conn, foreign->deaf);
    if (foreign->version == 0) /* says nothing at all */
        return;
    cr_assert_eq(bytes_buffer_append(&hello, bytes_of(bytes, len)), 0);
    env_conn_send(foreign->world->env, conn, &hello);
}

Test(rpc_peers, another_protocol_version_is_refused)
{
    struct world world;
    struct foreign foreign = {&world, QUOIN_PROTOCOL_VERSION + 1, false};
    struct env_listener *listener;
    uint8_t bytes[256];
    uint32_t len = hello_frame(bytes, QUOIN_PROTOCOL_VERSION + 1, cluster_a, false);
    int fd;

    world_init(&world);
    fd = dial(world.at);
    cr_assert_eq(send(fd, bytes, len, MSG_NOSIGNAL), (ssize_t)len);
    while (rpc_counters(world.server)->wrong_version == 0)
        run_for(&world.fixture, 2000);
    cr_assert_gt(recv(fd, bytes, sizeof(bytes), 0), 32); /* it says who it is before it goes */
    close(fd);
    kill_server(&world);
    cr_assert_eq(env_listen(world.env, world.at, &foreign_listener, &foreign, &listener), 0);
    cr_assert_eq(ask_and_wait(&world, world.caller, ECHO), ERROR_INCOMPATIBLE_PROTOCOL_VERSION);
    cr_assert_eq(rpc_counters(world.caller)->wrong_version, 1);
    cr_assert_eq(rpc_counters(world.caller)->foreign_version, QUOIN_PROTOCOL_VERSION + 1);
    env_listener_close(listener, world.env);
    world_done(&world);
}

/* In the server's place stands one that says hello and nothing more. */
static struct env_listener *silence_server(struct world *world, struct foreign *foreign)
{
    struct env_listener *listener;

    *foreign = (struct foreign){world, QUOIN_PROTOCOL_VERSION, false};
    world_init(world);
    world->env->knobs.rpc_ping_interval_us = 20000;
    world->env->knobs.rpc_ping_timeout_us = 60000;
    kill_server(world);
    cr_assert_eq(env_listen(world->env, world->at, &foreign_listener, foreign, &listener), 0);
    return listener;
}

Test(rpc_peers, a_silent_peer_counts_as_dead)
{
    struct world world;
    struct foreign foreign;
    struct env_listener *listener = silence_server(&world, &foreign);

    cr_assert_eq(ask_and_wait(&world, world.caller, ECHO), ERROR_REQUEST_MAYBE_DELIVERED);
    cr_assert_eq(rpc_counters(world.caller)->ping_timeouts, 1);
    foreign.version = 0;
    world.env->knobs.rpc_connect_timeout_us = 30000;
    cr_assert_eq(ask_and_wait(&world, world.caller, ECHO), ERROR_CONNECTION_FAILED);
    env_listener_close(listener, world.env);
    world_done(&world);
}

Test(rpc_peers, who_only_sends_one_way_messages_finds_out_that_nobody_hears)
{
    struct world world;
    struct foreign foreign;
    struct env_listener *listener = silence_server(&world, &foreign);

    while (rpc_counters(world.caller)->ping_timeouts == 0) { /* no call waits, nobody watches; the watchdog bounds this */
        rpc_send(world.caller, &(struct endpoint){world.at, ECHO}, make_notice());
        run_for(&world.fixture, 5000);
    }
    cr_assert_eq(rpc_counters(world.caller)->dialled, 1);
    while (rpc_counters(world.caller)->dialled == 1) { /* and it tries again */
        rpc_send(world.caller, &(struct endpoint){world.at, ECHO}, make_notice());
        run_for(&world.fixture, 5000);
    }
    env_listener_close(listener, world.env);
    world_done(&world);
}

Test(rpc_peers, a_doubted_connection_is_pinged_before_anybody_waits_on_it)
{
    struct world world;
    struct foreign foreign;
    struct env_listener *listener = silence_server(&world, &foreign);

    rpc_doubt(world.caller, world.at); /* no connection: nothing */
    rpc_send(world.caller, &(struct endpoint){world.at, ECHO}, make_notice());
    run_for(&world.fixture, 30000);
    cr_assert_eq(rpc_counters(world.caller)->dialled, 1);
    run_for(&world.fixture, 150000);
    cr_assert_eq(rpc_counters(world.caller)->ping_timeouts, 0, "nobody asks");
    rpc_doubt(world.caller, world.at);
    run_for(&world.fixture, 150000);
    cr_assert_eq(rpc_counters(world.caller)->ping_timeouts, 1);
    env_listener_close(listener, world.env);
    world_done(&world);
}

Test(rpc_peers, pings_keep_a_long_wait_alive)
{
    struct world world;
    struct ask ask = {0};

    world_init(&world);
    world.env->knobs.rpc_ping_interval_us = 10000;
    world.env->knobs.rpc_ping_timeout_us = 30000;
    world.mode = MODE_HOLD;
    ask_start(&world, &ask, world.caller, ECHO);
    run_until(&world, 1);
    run_for(&world.fixture, 150000);
    cr_assert_not(ask.ended);
    cr_assert_geq(rpc_counters(world.caller)->frames_out, 2 + 5); /* hello, request, pings */
    drop_held(&world);
    run_until(&world, 1);
    cr_assert_eq(ask.error, ERROR_BROKEN_PROMISE);
    run_for(&world.fixture, 50000);
    {
        uint64_t frames = rpc_counters(world.caller)->frames_out;

        run_for(&world.fixture, 50000); /* nobody waits: no pings */
        cr_assert_eq(rpc_counters(world.caller)->frames_out, frames);
    }
    world_done(&world);
}

Test(rpc_peers, a_queue_that_grows_too_long_closes_the_connection)
{
    struct world world;
    struct foreign foreign = {&world, QUOIN_PROTOCOL_VERSION, true};
    struct env_listener *listener;
    struct ask ask = {.payload_bytes = 20000000};

    world_init(&world);
    world.env->knobs.rpc_unsent_bytes_max = 1000000;
    kill_server(&world);
    cr_assert_eq(env_listen(world.env, world.at, &foreign_listener, &foreign, &listener), 0);
    ask_start(&world, &ask, world.caller, ECHO);
    run_until(&world, 1);
    cr_assert_eq(ask.error, ERROR_REQUEST_MAYBE_DELIVERED);
    cr_assert_eq(rpc_counters(world.caller)->closed_overfull, 1);
    env_listener_close(listener, world.env);
    world_done(&world);
}

Test(rpc_peers, a_peer_that_dials_us_ends_our_pause)
{
    struct world world;
    struct ask paused = {0}, other = {0};

    world_init(&world);
    world.env->knobs.rpc_reconnect_delay_us = world.env->knobs.rpc_reconnect_delay_max_us = 60000000;
    rpc_destroy(world.caller);
    world.caller = make_rpc(&world, free_address(), cluster_a, false);
    cr_assert_eq(rpc_listen(world.caller), 0);
    rpc_register(world.caller, ECHO, handle, &world);
    kill_server(&world);
    cr_assert_eq(ask_and_wait(&world, world.caller, ECHO), ERROR_CONNECTION_FAILED);
    ask_start(&world, &paused, world.caller, ECHO);
    run_for(&world.fixture, 20000);
    cr_assert_not(paused.ended);
    world.server = make_rpc(&world, world.at, cluster_a, false);
    cr_assert_eq(rpc_listen(world.server), 0);
    rpc_register(world.server, ECHO, handle, &world);
    ask_start(&world, &other, world.server, ECHO);
    other.to.address = rpc_address(world.caller);
    run_until(&world, 2);
    cr_assert_eq(paused.error, 0);
    cr_assert_eq(other.error, 0);
    world_done(&world);
}

/* A clock that the test can move on. */
static const struct env_ops *real_ops;
static int64_t ahead_us;

static int64_t shifted_now(struct env *env)
{
    return real_ops->now_us(env) + ahead_us;
}

Test(rpc_peers, an_idle_connection_is_closed_and_dialled_again_when_needed)
{
    struct world world;
    struct env_ops ops;

    world_init(&world);
    env_timer_cancel(world.env, &world.fixture.watchdog);
    real_ops = world.env->ops;
    ops = *real_ops;
    ops.now_us = shifted_now;
    world.env->ops = &ops;
    cr_assert_eq(ask_and_wait(&world, world.caller, ECHO), 0);
    cr_assert_eq(ask_and_wait(&world, world.caller, ECHO), 0);
    cr_assert_eq(rpc_counters(world.caller)->dialled, 1);
    for (int i = 0; i < 3; i++) {
        ahead_us += 61000000;
        env_turn(world.env); /* the loop itself would sleep by the real clock */
    }
    cr_assert_eq(ask_and_wait(&world, world.caller, ECHO), 0);
    cr_assert_eq(rpc_counters(world.caller)->dialled, 2);
    cr_assert_eq(rpc_counters(world.server)->accepted, 2);
    world.env->ops = real_ops;
    world_done(&world);
}
