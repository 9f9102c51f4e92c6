#define XXH_INLINE_ALL
#include "rpc_world.h"

#include <xxhash.h>

/* ---- messages ---- */

#define SELF struct question
SCHEMA_DEFINE(question, fields_question)
#undef SELF
#define SELF struct answer
SCHEMA_DEFINE(answer, fields_answer)
#undef SELF

static const struct message_type type_answer = {.id = 11, .name = "answer", .schema = &schema_answer};
static const struct message_type type_question = {
    .id = 10, .name = "question", .schema = &schema_question, .reply = &type_answer, .senders = SENDER_ANY};
const struct message_type type_notice = {
    .id = 13, .name = "notice", .schema = &schema_question, .senders = SENDER_SERVER, .priority = PRIORITY_READ};
static const struct message_type *const types[] = {[10] = &type_question, [11] = &type_answer, [13] = &type_notice};

/* ---- a world of a server and a caller ---- */

void one_came(struct world *world)
{
    if (world->to_come > 0 && --world->to_come == 0)
        env_posix_stop(world->env);
}

struct message *make_answer(const struct rpc_request *request)
{
    const struct question *question = request->message->body;
    struct message *reply = message_create(&type_answer);
    struct answer *answer = reply->body;

    answer->number = question->number + 1;
    answer->payload = question->payload;
    message_keep(reply, request->message);
    return reply;
}

void handle(void *ctx, struct rpc_request *request)
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

struct rpc *make_rpc(struct world *world, struct address at, struct uid cluster, bool client)
{
    struct rpc_options options = {.public_address = at, .cluster_id = cluster, .types = types, .client = client,
                                  .type_count = sizeof(types) / sizeof(types[0])};
    struct rpc *rpc;

    cr_assert_eq(rpc_create(world->env, &options, &rpc), 0);
    return rpc;
}

void world_init_as(struct world *world, struct uid server_cluster, struct uid caller_cluster, bool client)
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

void world_init(struct world *world)
{
    world_init_as(world, cluster_a, cluster_a, false);
}

void drop_held(struct world *world)
{
    while (!list_empty(&world->held))
        rpc_drop(list_entry(list_pop_front(&world->held), struct rpc_request, link));
}

void world_done(struct world *world)
{
    op_cancel_all(&world->ops);
    drop_held(world);
    rpc_destroy(world->caller);
    rpc_destroy(world->server);
    fixture_done(&world->fixture);
}

void kill_server(struct world *world)
{
    drop_held(world);
    rpc_destroy(world->server);
    world->server = NULL;
}

struct message *make_notice(void)
{
    return message_create(&type_notice);
}

/* Runs until `count` completions came. */
void run_until(struct world *world, unsigned count)
{
    world->to_come = count;
    cr_assert_eq(env_posix_run(world->env), 0);
}

/* ---- an op that asks one thing ---- */

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

void ask_start(struct world *world, struct ask *ask, struct rpc *from, uint64_t endpoint_id)
{
    size_t payload_bytes = ask->payload_bytes;
    int64_t timeout_us = ask->timeout_us;

    *ask = (struct ask){.world = world, .rpc = from, .to = {world->at, endpoint_id}, .number = 41,
                        .payload_bytes = payload_bytes, .timeout_us = timeout_us};
    op_start(&ask->op, &ask_type, &world->ops);
}

int ask_and_wait(struct world *world, struct rpc *from, uint64_t endpoint_id)
{
    struct ask ask = {0};

    ask_start(world, &ask, from, endpoint_id);
    run_until(world, 1);
    cr_assert(ask.ended);
    return ask.error;
}

/* ---- frames made by hand ---- */

uint32_t hello_frame(uint8_t *out, uint64_t version, struct uid cluster, bool client)
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

uint32_t question_frame(uint8_t *out, uint16_t type, uint16_t what, const char *body, size_t body_len)
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
