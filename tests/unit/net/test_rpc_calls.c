/* Calls, one-way messages and what is handed over locally: each ends, once, with the right answer or error. */
#include "rpc_world.h"

#include "tests/unit/nth.h"

/* ---- calls ---- */

Test(rpc, a_call_gets_its_reply)
{
    struct world world;

    world_init(&world);
    cr_assert_eq(ask_and_wait(&world, world.caller, ECHO), 0);
    cr_assert_eq(ask_and_wait(&world, world.caller, ECHO), 0);
    cr_assert_eq(rpc_counters(world.caller)->dialled, 1);
    cr_assert_eq(rpc_counters(world.server)->accepted, 1);
    cr_assert_eq(rpc_counters(world.server)->bad_frames, 0);
    world_done(&world);
}

Test(rpc, a_client_without_an_address_may_call)
{
    struct world world;

    world_init_as(&world, cluster_a, cluster_none, true);
    cr_assert_eq(ask_and_wait(&world, world.caller, ECHO), 0);
    world_done(&world);
}

Test(rpc, large_and_small_ones_interleave)
{
    static struct ask asks[40];
    struct world world;

    world_init(&world);
    for (int i = 0; i < 40; i++) {
        asks[i].payload_bytes = i % 7 == 0 ? 1500000 : (size_t)i * 37;
        ask_start(&world, &asks[i], world.caller, ECHO);
    }
    run_until(&world, 40);
    for (int i = 0; i < 40; i++)
        cr_assert_eq(asks[i].error, 0);
    world_done(&world);
}

Test(rpc, a_thousand_calls_of_a_turn_travel_in_few_sends)
{
    static struct ask asks[1000];
    struct world world;

    world_init(&world);
    cr_assert_eq(ask_and_wait(&world, world.caller, ECHO), 0);
    for (int i = 0; i < 1000; i++)
        ask_start(&world, &asks[i], world.caller, ECHO);
    run_until(&world, 1000);
    for (int i = 0; i < 1000; i++)
        cr_assert_eq(asks[i].error, 0);
    cr_assert_eq(rpc_counters(world.caller)->frames_out, 1 + 1 + 1000);
    world_done(&world);
}

Test(rpc, an_error_reply_reaches_the_caller)
{
    struct world world;

    world_init(&world);
    world.mode = MODE_FAIL;
    cr_assert_eq(ask_and_wait(&world, world.caller, ECHO), ERROR_TRANSACTION_TOO_OLD);
    cr_assert_eq(ask_and_wait(&world, world.server, ECHO), ERROR_TRANSACTION_TOO_OLD);
    world_done(&world);
}

Test(rpc, a_dropped_request_and_an_absent_endpoint_are_broken_promises)
{
    struct world world;

    world_init(&world);
    world.mode = MODE_DROP;
    cr_assert_eq(ask_and_wait(&world, world.caller, ECHO), ERROR_BROKEN_PROMISE);
    cr_assert_eq(ask_and_wait(&world, world.server, ECHO), ERROR_BROKEN_PROMISE);
    cr_assert_eq(ask_and_wait(&world, world.caller, ABSENT), ERROR_BROKEN_PROMISE);
    cr_assert_eq(ask_and_wait(&world, world.server, ABSENT), ERROR_BROKEN_PROMISE);
    rpc_unregister(world.server, ECHO);
    rpc_unregister(world.server, ECHO);
    cr_assert_eq(ask_and_wait(&world, world.caller, ECHO), ERROR_BROKEN_PROMISE);
    cr_assert_eq(rpc_counters(world.server)->no_endpoint, 3);
    world_done(&world);
}

/* ---- failing connections ---- */

Test(rpc, nobody_there_is_connection_failed)
{
    struct world world;

    world_init(&world);
    kill_server(&world);
    cr_assert_eq(ask_and_wait(&world, world.caller, ECHO), ERROR_CONNECTION_FAILED);
    cr_assert_eq(ask_and_wait(&world, world.caller, ECHO), ERROR_CONNECTION_FAILED);
    cr_assert_eq(rpc_counters(world.caller)->dial_failures, 2);
    world_done(&world);
}

Test(rpc, a_closed_connection_fails_what_was_sent_as_maybe_delivered)
{
    struct world world;
    struct ask ask = {0};

    world_init(&world);
    world.mode = MODE_HOLD;
    ask_start(&world, &ask, world.caller, ECHO);
    run_until(&world, 1); /* the handler holds it */
    cr_assert_eq(world.handled, 1);
    list_each(link, after, &world.held)
        cr_assert(rpc_request_alive(list_entry(link, struct rpc_request, link)));
    kill_server(&world);
    run_until(&world, 1);
    cr_assert_eq(ask.error, ERROR_REQUEST_MAYBE_DELIVERED);
    world_done(&world);
}

Test(rpc, a_pause_follows_a_failure_and_a_call_waits_for_its_end)
{
    struct world world;
    int64_t began_us;

    world_init(&world);
    world.env->knobs.rpc_reconnect_delay_us = 100000;
    kill_server(&world);
    cr_assert_eq(ask_and_wait(&world, world.caller, ECHO), ERROR_CONNECTION_FAILED);
    world.server = make_rpc(&world, world.at, cluster_a, false);
    cr_assert_eq(rpc_listen(world.server), 0);
    rpc_register(world.server, ECHO, handle, &world);
    began_us = env_now_us(world.env);
    cr_assert_eq(ask_and_wait(&world, world.caller, ECHO), 0);
    cr_assert_geq(env_now_us(world.env) - began_us, 50000);
    world_done(&world);
}

Test(rpc, a_request_whose_connection_has_gone_is_answered_into_nothing)
{
    struct world world;
    struct ask ask = {0};
    struct rpc_request *request;

    world_init(&world);
    world.mode = MODE_HOLD;
    ask_start(&world, &ask, world.caller, ECHO);
    run_until(&world, 1);
    request = list_entry(list_pop_front(&world.held), struct rpc_request, link);
    op_cancel(&ask.op);
    cr_assert_eq(ask.error, ERROR_OPERATION_CANCELLED);
    rpc_destroy(world.caller);
    world.caller = NULL;
    while (rpc_request_alive(request))
        run_for(&world.fixture, 2000);
    rpc_reply(request, make_answer(request));
    world_done(&world);
}

Test(rpc, a_late_reply_is_never_seen)
{
    struct world world;
    struct ask first = {0}, second = {0};

    world_init(&world);
    world.mode = MODE_HOLD;
    ask_start(&world, &first, world.caller, ECHO);
    run_until(&world, 1);
    op_cancel(&first.op);
    ask_start(&world, &second, world.caller, ECHO);
    run_until(&world, 1);
    while (!list_empty(&world.held)) {
        struct rpc_request *request = list_entry(list_pop_front(&world.held), struct rpc_request, link);

        rpc_reply(request, make_answer(request));
    }
    run_until(&world, 1);
    cr_assert_eq(second.error, 0);
    cr_assert_eq(first.error, ERROR_OPERATION_CANCELLED);
    world_done(&world);
}

Test(rpc, a_call_times_out)
{
    struct world world;
    struct ask remote = {.timeout_us = 20000}, local = {.timeout_us = 20000};

    world_init(&world);
    world.mode = MODE_HOLD;
    ask_start(&world, &remote, world.caller, ECHO);
    ask_start(&world, &local, world.server, ECHO);
    run_until(&world, 4);
    cr_assert_eq(remote.error, ERROR_TIMED_OUT);
    cr_assert_eq(local.error, ERROR_TIMED_OUT);
    world_done(&world);
}

/* ---- one way, local ---- */

Test(rpc, one_way_messages_arrive)
{
    struct world world;
    struct endpoint to;

    world_init(&world);
    to = (struct endpoint){world.at, ECHO};
    for (int i = 0; i < 10; i++)
        rpc_send(world.caller, &to, make_notice());
    rpc_send(world.server, &to, make_notice());
    run_until(&world, 11);
    rpc_send(world.caller, &to, make_notice());
    run_until(&world, 1);
    cr_assert_eq(world.notices, 12);
    world_done(&world);
}

Test(rpc, what_is_queued_for_an_endpoint_that_goes_never_reaches_it)
{
    struct world world;

    world_init(&world);
    rpc_send(world.server, &(struct endpoint){world.at, ECHO}, make_notice());
    rpc_unregister(world.server, ECHO);
    env_turn(world.env);
    cr_assert_eq(world.notices, 0);
    cr_assert_eq(rpc_counters(world.server)->no_endpoint, 1);
    rpc_send(world.server, &(struct endpoint){world.at, ECHO}, make_notice()); /* left to rpc_destroy */
    world_done(&world);
}

Test(rpc, a_flood_arrives_whole)
{
    enum { COUNT = 40, EACH = 1000000 };
    struct world world;

    world_init(&world);
    for (int i = 0; i < COUNT; i++) {
        struct message *notice = make_notice();
        struct question *body = notice->body;

        body->payload = bytes_of(arena_zalloc(&notice->arena, EACH), EACH);
        rpc_send(world.caller, &(struct endpoint){world.at, ECHO}, notice);
    }
    run_until(&world, COUNT);
    cr_assert_eq(world.notices, COUNT);
    world_done(&world);
}

Test(rpc, one_way_messages_to_nobody_are_lost)
{
    struct world world;
    struct endpoint to;

    world_init(&world);
    kill_server(&world);
    to = (struct endpoint){world.at, ECHO};
    for (int i = 0; i < 10000; i++)
        rpc_send(world.caller, &to, make_notice());
    while (rpc_counters(world.caller)->dial_failures == 0)
        run_for(&world.fixture, 2000);
    rpc_send(world.caller, &to, make_notice());
    world_done(&world);
}

Test(rpc, a_local_call_is_handed_over_in_the_same_turn)
{
    struct world world;
    struct ask ask = {0};

    world_init(&world);
    ask_start(&world, &ask, world.server, ECHO);
    env_turn(world.env);
    cr_assert(ask.ended);
    cr_assert_eq(ask.error, 0);
    cr_assert_eq(rpc_counters(world.server)->frames_out, 0);
    world_done(&world);
}

Test(rpc, a_local_call_may_be_encoded_all_the_same)
{
    struct world world;
    struct ask ask = {.payload_bytes = 1000};

    world_init(&world);
    world.env->knobs.rpc_encode_local = 1;
    ask_start(&world, &ask, world.server, ECHO);
    env_turn(world.env);
    cr_assert(ask.ended);
    cr_assert_eq(ask.error, 0);
    rpc_send(world.server, &(struct endpoint){world.at, ECHO}, make_notice());
    run_until(&world, 1);
    world_done(&world);
}

Test(rpc, a_cancelled_local_call_leaves_its_request_whole)
{
    struct world world;
    struct ask ask = {0};
    struct rpc_request *request;

    world_init(&world);
    world.mode = MODE_HOLD;
    ask_start(&world, &ask, world.server, ECHO);
    run_until(&world, 1);
    request = list_entry(list_pop_front(&world.held), struct rpc_request, link);
    cr_assert(rpc_request_alive(request));
    op_cancel(&ask.op);
    cr_assert_not(rpc_request_alive(request));
    rpc_reply(request, make_answer(request));
    cr_assert_eq(ask.error, ERROR_OPERATION_CANCELLED);
    world_done(&world);
}

/* ---- memory ---- */

/* The n-th allocation of a client fails, n = 1, 2, ..: every call ends with some error, nothing leaks or hangs. */
Test(rpc, a_failed_allocation_ends_in_an_error)
{
    FAIL_EACH(nth, nth_allocation) {
        struct world world;
        struct ask ask = {.timeout_us = 300000};

        world_init(&world);
        ask_start(&world, &ask, world.caller, ABSENT);
        run_for(&world.fixture, 1); /* the env's own first allocations */
        op_cancel(&ask.op);
        ask_start(&world, &ask, world.caller, ABSENT);
        world.env->knobs.rpc_connect_timeout_us = 50000;
        env_turn(world.env);
        nth_begin(&nth, NULL);
        while (!ask.ended)
            run_for(&world.fixture, 500);
        nth_end(&nth);
        cr_assert_neq(ask.error, 0);
        world_done(&world);
    }
}
