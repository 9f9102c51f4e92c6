/* Two rpcs of one loop talking over loopback, and a bare socket that speaks nonsense to them. */
#define XXH_INLINE_ALL
#include <errno.h>
#include <xxhash.h>

#include "posix_fixture.h"

#include "net/error.h"
#include "net/mem.h"
#include "net/rpc.h"

/* ---- messages ---- */

#define FIELDS_question(F, S, A, L) F(u64, number) F(bytes, payload)
#define FIELDS_answer(F, S, A, L) F(u64, number) F(bytes, payload)
SCHEMA_DECLARE(question)
SCHEMA_DECLARE(answer)
#define SELF struct question
SCHEMA_DEFINE(question, fields_question)
#undef SELF
#define SELF struct answer
SCHEMA_DEFINE(answer, fields_answer)
#undef SELF

static const struct message_type type_answer = {.id = 11, .name = "answer", .schema = &schema_answer};
static const struct message_type type_question = {
    .id = 10, .name = "question", .schema = &schema_question, .reply = &type_answer, .senders = SENDER_ANY};
static const struct message_type type_notice = {
    .id = 13, .name = "notice", .schema = &schema_question, .senders = SENDER_SERVER, .priority = PRIORITY_READ};
static const struct message_type *const types[] = {[10] = &type_question, [11] = &type_answer, [13] = &type_notice};

/* ---- a world of a server and a caller ---- */

enum { ECHO = 100, ABSENT = 999 };
enum mode { MODE_ECHO, MODE_FAIL, MODE_DROP, MODE_HOLD };

struct world {
    struct fixture fixture;
    struct env *env;
    struct rpc *server, *caller;
    struct address at;
    struct op_list ops;
    enum mode mode;
    struct list held;
    unsigned handled, notices, failed_watches;
    int watch_error;
    unsigned to_come; /* completions until the loop stops */
};

static void one_came(struct world *world)
{
    if (world->to_come > 0 && --world->to_come == 0)
        env_posix_stop(world->env);
}

static struct message *make_answer(const struct rpc_request *request)
{
    const struct question *question = request->message->body;
    struct message *reply = message_create(&type_answer);
    struct answer *answer = reply->body;

    answer->number = question->number + 1;
    answer->payload = question->payload;
    message_keep(reply, request->message);
    return reply;
}

static void handle(void *ctx, struct rpc_request *request)
{
    struct world *world = ctx;

    world->handled++;
    if (request->message->type == &type_notice) {
        cr_assert(request->one_way);
        cr_assert_not(rpc_request_alive(request));
        world->notices++;
        rpc_drop(request);
        one_came(world);
        return;
    }
    cr_assert(rpc_request_alive(request));
    switch (world->mode) {
    case MODE_ECHO:
        rpc_reply(request, make_answer(request));
        break;
    case MODE_FAIL:
        rpc_fail(request, ERROR_TRANSACTION_TOO_OLD);
        break;
    case MODE_DROP:
        rpc_drop(request);
        break;
    case MODE_HOLD:
        list_push_back(&world->held, &request->link);
        one_came(world);
        break;
    }
}

static struct rpc *make_rpc(struct world *world, struct address at, struct uid cluster, bool client)
{
    struct rpc_options options = {.public_address = at, .cluster_id = cluster, .types = types, .client = client,
                                  .type_count = sizeof(types) / sizeof(types[0])};
    struct rpc *rpc;

    cr_assert_eq(rpc_create(world->env, &options, &rpc), 0);
    return rpc;
}

static const struct uid cluster_a = {1, 2}, cluster_b = {3, 4}, cluster_none = {0, 0};

static void world_init_as(struct world *world, struct uid server_cluster, struct uid caller_cluster, bool client)
{
    *world = (struct world){.mode = MODE_ECHO};
    fixture_init(&world->fixture, NULL);
    world->env = world->fixture.env;
    list_init(&world->held);
    op_list_init(&world->ops, world->env, world);
    world->at = free_address();
    world->server = make_rpc(world, world->at, server_cluster, false);
    world->caller = make_rpc(world, client ? (struct address){0, 0} : (struct address){0x7f000001, 1}, caller_cluster, client);
    cr_assert_eq(rpc_listen(world->server), 0);
    rpc_register(world->server, ECHO, handle, world);
}

static void world_init(struct world *world)
{
    world_init_as(world, cluster_a, cluster_a, false);
}

static void drop_held(struct world *world)
{
    while (!list_empty(&world->held))
        rpc_drop(list_entry(list_pop_front(&world->held), struct rpc_request, link));
}

static void world_done(struct world *world)
{
    op_cancel_all(&world->ops);
    drop_held(world);
    rpc_destroy(world->caller);
    rpc_destroy(world->server);
    fixture_done(&world->fixture);
}

/* Runs until `count` completions came. */
static void run_until(struct world *world, unsigned count)
{
    world->to_come = count;
    cr_assert_eq(env_posix_run(world->env), 0);
}

/* ---- an op that asks one thing ---- */

struct ask {
    struct op op;
    struct world *world;
    struct rpc *rpc;
    struct endpoint to;
    uint64_t number;
    size_t payload_bytes;
    int64_t timeout_us;
    struct rpc_call call;
    int error;
    bool ended;
};

static enum op_result ask_ask(struct op *op)
{
    struct ask *ask = container_of(op, struct ask, op);
    struct message *request = message_create(&type_question);
    struct question *question = request->body;
    uint8_t *payload = arena_zalloc(&request->arena, ask->payload_bytes);

    question->number = ask->number;
    question->payload = bytes_of(payload, ask->payload_bytes);
    rpc_call_start(&ask->call, op, ask->rpc, &ask->to, request, ask->timeout_us);
    cr_assert(wait_under_way(&ask->call.wait)); /* never completes inside the start */
    return op_wait(op, 1);
}

static enum op_result ask_heard(struct op *op)
{
    struct ask *ask = container_of(op, struct ask, op);

    cr_assert_eq(ask->call.error == 0, ask->call.reply != NULL);
    if (ask->call.error == 0) {
        const struct answer *answer = ask->call.reply->body;

        cr_assert_eq(answer->number, ask->number + 1);
        cr_assert_eq(answer->payload.len, ask->payload_bytes);
    }
    return op_finish(op, ask->call.error);
}

static void ask_ended(struct op *op)
{
    struct ask *ask = container_of(op, struct ask, op);

    rpc_call_clear(&ask->call);
    ask->error = op->error;
    ask->ended = true;
    one_came(ask->world);
}

static const struct op_stage ask_stages[] = {{"ASK", ask_ask, OP_STAGE(1)}, {"HEARD", ask_heard, 0}};
static const struct op_type ask_type = {"ask", ask_stages, 2, READY_COMMIT, ask_ended};

static void ask_start(struct world *world, struct ask *ask, struct rpc *from, uint64_t endpoint_id)
{
    size_t payload_bytes = ask->payload_bytes;
    int64_t timeout_us = ask->timeout_us;

    *ask = (struct ask){.world = world, .rpc = from, .to = {world->at, endpoint_id}, .number = 41,
                        .payload_bytes = payload_bytes, .timeout_us = timeout_us};
    op_start(&ask->op, &ask_type, &world->ops);
}

static int ask_and_wait(struct world *world, struct rpc *from, uint64_t endpoint_id)
{
    struct ask ask = {0};

    ask_start(world, &ask, from, endpoint_id);
    run_until(world, 1);
    cr_assert(ask.ended);
    return ask.error;
}

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

static void kill_server(struct world *world)
{
    drop_held(world);
    rpc_destroy(world->server);
    world->server = NULL;
}

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

static struct message *make_notice(void)
{
    return message_create(&type_notice);
}

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

Test(rpc, a_watch_hears_of_the_closed_connection)
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

/* ---- a bare socket ---- */

static uint32_t hello_frame(uint8_t *out, uint64_t version, struct uid cluster, bool client)
{
    uint8_t *at = out + RPC_FRAME_HEADER_BYTES;

    memset(out, 0, RPC_FRAME_HEADER_BYTES);
    *at++ = 0x95;
    for (int i = 0; i < 3; i++) {
        *at++ = 0xcf;
        put_be64(at, i == 0 ? version : i == 1 ? cluster.high : cluster.low);
        at += 8;
    }
    *at++ = client ? 0xc3 : 0xc2;
    memcpy(at, "\x92\x01\x02", 3);
    at += 3;
    put_le32(out, (uint32_t)(at - out - 4));
    put_le16(out + 12, 1);
    put_le64(out + 4, XXH3_64bits(out + 12, (size_t)(at - out) - 12));
    return (uint32_t)(at - out);
}

static uint32_t question_frame(uint8_t *out, uint16_t type, uint16_t what, const char *body, size_t body_len)
{
    memset(out, 0, RPC_FRAME_HEADER_BYTES);
    put_le32(out, (uint32_t)(RPC_FRAME_HEADER_BYTES - 4 + body_len));
    put_le16(out + 12, type);
    put_le16(out + 14, what);
    put_le64(out + 16, ECHO);
    put_le64(out + 24, 7);
    memcpy(out + RPC_FRAME_HEADER_BYTES, body, body_len);
    put_le64(out + 4, XXH3_64bits(out + 12, RPC_FRAME_HEADER_BYTES + body_len - 12));
    return (uint32_t)(RPC_FRAME_HEADER_BYTES + body_len);
}

/* Runs the loop until the server has closed the socket; true if it did within half a second. */
static bool closed_by_server(struct world *world, int fd)
{
    char waste[4096];

    for (int i = 0; i < 250; i++) {
        ssize_t got;

        run_for(&world->fixture, 2000);
        while ((got = recv(fd, waste, sizeof(waste), MSG_DONTWAIT)) > 0)
            ;
        if (got == 0 || (errno != EAGAIN && errno != EWOULDBLOCK))
            return true;
    }
    return false;
}

/* After whatever bytes: the connection is closed, counted, and others are served. */
static void check_refused(struct world *world, const uint8_t *bytes, size_t len, const uint64_t *counter)
{
    uint64_t before = *counter, bad_before = rpc_counters(world->server)->bad_frames;
    int fd = dial(world->at);

    cr_assert_eq(send(fd, bytes, len, MSG_NOSIGNAL), (ssize_t)len);
    cr_assert(closed_by_server(world, fd));
    close(fd);
    cr_assert_eq(*counter, before + 1);
    cr_assert_eq(rpc_counters(world->server)->bad_frames, bad_before + 1);
    cr_assert_eq(ask_and_wait(world, world->caller, ECHO), 0);
}

Test(rpc, garbage_closes_the_connection_and_harms_nobody)
{
    struct bytes http = BYTES_LITERAL("GET / HTTP/1.1\r\nHost: here\r\nAccept: */*\r\n\r\n");
    struct world world;
    uint8_t bytes[4096];

    world_init(&world);
    memset(bytes, 0xff, sizeof(bytes));
    check_refused(&world, bytes, sizeof(bytes), &rpc_counters(world.server)->bad_length);
    check_refused(&world, http.ptr, http.len, &rpc_counters(world.server)->bad_length);
    memset(bytes, 0, sizeof(bytes));
    check_refused(&world, bytes, 4, &rpc_counters(world.server)->bad_length);
    world_done(&world);
}

Test(rpc, every_flipped_bit_of_a_hello_is_noticed)
{
    struct world world;
    uint8_t bytes[256];
    uint32_t len = hello_frame(bytes, QUOIN_PROTOCOL_VERSION, cluster_a, false);

    world_init(&world);
    for (uint32_t bit = 32; bit < len * 8; bit += 29) {
        bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
        check_refused(&world, bytes, len, &rpc_counters(world.server)->bad_hash);
        bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
    world_done(&world);
}

Test(rpc, frames_that_are_not_valid_after_a_hello)
{
    struct world world;
    uint8_t bytes[512];
    const struct rpc_counters *counters;
    uint32_t hello, len;

    world_init(&world);
    counters = rpc_counters(world.server);
    hello = hello_frame(bytes, QUOIN_PROTOCOL_VERSION, cluster_a, true);
    len = hello + question_frame(bytes + hello, 77, 0, "\x90", 1);
    check_refused(&world, bytes, len, &counters->bad_type);
    len = hello + question_frame(bytes + hello, 10, 9, "\x90", 1);
    check_refused(&world, bytes, len, &counters->bad_type);
    len = hello + question_frame(bytes + hello, 13, 0, "\x90", 1); /* one way with a request id */
    check_refused(&world, bytes, len, &counters->bad_type);
    len = hello + question_frame(bytes + hello, 10, 0, "\x92\x01", 2);
    check_refused(&world, bytes, len, &counters->bad_body);
    len = hello + question_frame(bytes + hello, 11, 1, "\x90", 1); /* a reply to nothing */
    check_refused(&world, bytes, len, &counters->bad_sender);
    len = hello + question_frame(bytes + hello, 10, 0, "\x90", 1);
    put_le32(bytes + hello, RPC_FRAME_BYTES_MAX);
    check_refused(&world, bytes, len, &counters->bad_length);
    put_le32(bytes + hello, 27);
    check_refused(&world, bytes, len, &counters->bad_length);
    world_done(&world);
}

Test(rpc, a_client_may_not_send_what_only_servers_may)
{
    struct world world;
    uint8_t bytes[512];
    uint32_t hello = hello_frame(bytes, QUOIN_PROTOCOL_VERSION, cluster_a, true);
    uint32_t len = hello + question_frame(bytes + hello, 13, 0, "\x90", 1);
    uint8_t *frame = bytes + hello;

    world_init(&world);
    put_le64(frame + 24, 0);
    put_le64(frame + 4, XXH3_64bits(frame + 12, len - hello - 12));
    check_refused(&world, bytes, len, &rpc_counters(world.server)->bad_sender);
    world_done(&world);
}

Test(rpc, a_frame_may_come_in_pieces_of_any_size)
{
    struct world world;
    uint8_t bytes[512];
    uint32_t len = hello_frame(bytes, QUOIN_PROTOCOL_VERSION, cluster_a, true);

    world_init(&world);
    world.mode = MODE_DROP;
    len += question_frame(bytes + len, 10, 0, "\x92\x05\xc4\x01x", 5);
    len += question_frame(bytes + len, 10, 0, "\x92\x05\xc4\x01x", 5);
    for (uint32_t step = 1; step < 60; step += 7) {
        unsigned before = world.handled;
        int fd = dial(world.at);

        for (uint32_t at = 0; at < len; at += step) {
            uint32_t piece = len - at < step ? len - at : step;

            cr_assert_eq(send(fd, bytes + at, piece, MSG_NOSIGNAL), (ssize_t)piece);
            run_for(&world.fixture, 100);
        }
        while (world.handled < before + 2)
            run_for(&world.fixture, 1000);
        close(fd);
    }
    cr_assert_eq(rpc_counters(world.server)->bad_frames, 0);
    world_done(&world);
}

Test(rpc, who_says_no_hello_is_closed)
{
    struct world world;
    int fd;

    world_init(&world);
    world.env->knobs.rpc_connect_timeout_us = 30000;
    fd = dial(world.at);
    cr_assert(closed_by_server(&world, fd));
    close(fd);
    world_done(&world);
}

/* ---- refused hellos ---- */

Test(rpc, another_cluster_is_refused)
{
    struct world world;

    world_init_as(&world, cluster_a, cluster_b, false);
    cr_assert_eq(ask_and_wait(&world, world.caller, ECHO), ERROR_INVALID_CLUSTER_ID);
    run_for(&world.fixture, 5000);
    cr_assert_eq(rpc_counters(world.server)->wrong_cluster, 1);
    cr_assert_eq(world.handled, 0);
    world_done(&world);
}

Test(rpc, an_unknown_cluster_id_is_accepted_until_it_is_known)
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

Test(rpc, another_protocol_version_is_refused)
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
    env_listener_close(listener, world.env);
    world_done(&world);
}

Test(rpc, a_silent_peer_counts_as_dead)
{
    struct world world;
    struct foreign foreign = {&world, QUOIN_PROTOCOL_VERSION, false};
    struct env_listener *listener;

    world_init(&world);
    world.env->knobs.rpc_ping_interval_us = 20000;
    world.env->knobs.rpc_ping_timeout_us = 60000;
    kill_server(&world);
    cr_assert_eq(env_listen(world.env, world.at, &foreign_listener, &foreign, &listener), 0);
    cr_assert_eq(ask_and_wait(&world, world.caller, ECHO), ERROR_REQUEST_MAYBE_DELIVERED);
    cr_assert_eq(rpc_counters(world.caller)->ping_timeouts, 1);
    foreign.version = 0;
    world.env->knobs.rpc_connect_timeout_us = 30000;
    cr_assert_eq(ask_and_wait(&world, world.caller, ECHO), ERROR_CONNECTION_FAILED);
    env_listener_close(listener, world.env);
    world_done(&world);
}

Test(rpc, pings_keep_a_long_wait_alive)
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

Test(rpc, a_queue_that_grows_too_long_closes_the_connection)
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

Test(rpc, a_peer_that_dials_us_ends_our_pause)
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

Test(rpc, an_idle_connection_is_closed_and_dialled_again_when_needed)
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

/* ---- memory ---- */

/* The n-th allocation of a client fails, n = 1, 2, ..: every call ends with some error, nothing leaks or hangs. */
Test(rpc, a_failed_allocation_ends_in_an_error)
{
    bool fired = true;

    for (uint64_t nth = 1; fired; nth++) {
        struct world world;
        struct ask ask = {.timeout_us = 300000};

        world_init(&world);
        ask_start(&world, &ask, world.caller, ABSENT);
        run_for(&world.fixture, 1); /* the env's own first allocations */
        op_cancel(&ask.op);
        ask_start(&world, &ask, world.caller, ABSENT);
        world.env->knobs.rpc_connect_timeout_us = 50000;
        env_turn(world.env);
        mem_fail_nth(nth);
        while (!ask.ended)
            run_for(&world.fixture, 500);
        fired = mem_fail_fired();
        mem_fail_nth(0);
        cr_assert_neq(ask.error, 0);
        world_done(&world);
    }
}
