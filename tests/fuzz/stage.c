#include "tests/fuzz/stage.h"

#include <assert.h>
#include <stdio.h>

#include "net/error.h"
#include "net/mem.h"
#include "net/rpc_internal.h"
#include "txn/digest.h"
#include "txn/keys.h"
#include "txn/kv_map.h"
#include "txn/mutation.h"
#include "txn/system_keys.h"

enum { SERVER, CLIENT };

static const int errors[] = {ERROR_OPERATION_FAILED, ERROR_OPERATION_OBSOLETE, ERROR_TLOG_STOPPED, ERROR_BROKEN_PROMISE,
                             ERROR_CLIENT_INVALID_OPERATION, ERROR_TIMED_OUT, ERROR_CONNECTION_FAILED, 1};

struct address stage_address(void)
{
    return (struct address){0x0a000001, 4500};
}

struct wire_endpoint stage_at(uint64_t id)
{
    return (struct wire_endpoint){{stage_address().ip, stage_address().port}, id};
}

struct generation stage_generation(struct stage *stage)
{
    struct log_ref *logs = arena_zalloc(&stage->arena, 2 * sizeof(*logs));

    logs[0] = (struct log_ref){stage_at(STAGE_PEER), BYTES_LITERAL("a")};
    logs[1] = (struct log_ref){stage_at(STAGE_PEER + 1), BYTES_LITERAL("b")};
    return (struct generation){.epoch = 1, .begin = STAGE_VERSION, .end = VERSION_MAX, .replication = 1, .logs = logs, .logs_count = 2};
}

void stage_description(struct stage *stage, struct description *ret_description)
{
    struct generation *generation = arena_zalloc(&stage->arena, sizeof(*generation));
    struct role_ref *roles = arena_zalloc(&stage->arena, 2 * sizeof(*roles));

    *generation = stage_generation(stage);
    roles[0] = (struct role_ref){.kind = ROLE_GRV_PROXY, .endpoint = stage_at(STAGE_PEER + 2)};
    roles[1] = (struct role_ref){.kind = ROLE_COMMIT_PROXY, .endpoint = stage_at(STAGE_PEER + 3)};
    *ret_description = (struct description){
        .epoch = 1, .term = 1, .number = 1, .cluster_high = 1, .cluster_low = 2, .controller = stage_at(ENDPOINT_CONTROLLER),
        .recovery_transaction_version = STAGE_VERSION, .roles = roles, .roles_count = 2, .generations = generation,
        .generations_count = 1};
}

/* ---- what the role asks of others ---- */

struct bytes stage_metadata(struct stage *stage)
{
    struct server_value server = {.endpoint = stage_at(STAGE_PEER), .zone = BYTES_LITERAL("a"), .tag = 1, .engine = ENGINE_MEMORY};
    uint64_t id = STAGE_PEER;
    struct key_servers_value team = {.source = &id, .source_count = 1};
    struct bytes_buffer out = {0}, key = {0}, value = {0};
    struct bytes copy;

    (void)system_key_server_list(&key, id);
    (void)message_encode(&schema_server_value, &server, &value);
    (void)mutation_append(&out, MUTATION_SET, bytes_buffer_bytes(&key), bytes_buffer_bytes(&value));
    (void)key_servers_set(&out, bytes_none(), &team);
    (void)mutation_append(&out, MUTATION_SET, KEY_CONF_REDUNDANCY, BYTES_LITERAL("single"));
    (void)mutation_append(&out, MUTATION_SET, KEY_CONF_ENGINE, BYTES_LITERAL("memory"));
    (void)arena_copy(&stage->arena, bytes_buffer_bytes(&out), &copy);
    bytes_buffer_done(&out);
    bytes_buffer_done(&key);
    bytes_buffer_done(&value);
    return copy;
}

static void answer_state(struct stage *stage, const struct message *asked, struct state_reply *reply)
{
    if (asked->type->id == MESSAGE_lock_state) {
        stage->state.locked_epoch++;
        stage->state.lock_id = MESSAGE_BODY(lock_state, asked)->lock_id;
    } else if (asked->type->id == MESSAGE_write_state) {
        (void)message_copy_body(&schema_coordinated_state, &MESSAGE_BODY(write_state, asked)->state, &stage->arena, &stage->state);
        stage->state.written_epoch = stage->state.locked_epoch;
    }
    *reply = (struct state_reply){true, stage->state};
}

/* A table that begins with the whole key space given to its reader. */
static struct bytes with_shard(struct arena *arena, enum server_keys_state state, struct bytes table)
{
    struct server_keys_value shard = {state, KEY_SYSTEM_END};
    struct bytes_buffer out = {0}, value = {0};
    struct bytes copy;

    (void)message_encode(&schema_server_keys_value, &shard, &value);
    (void)mutation_append(&out, MUTATION_PRIVATE_ASSIGN, bytes_none(), bytes_buffer_bytes(&value));
    (void)bytes_buffer_append(&out, table);
    (void)arena_copy(arena, bytes_buffer_bytes(&out), &copy);
    bytes_buffer_done(&out);
    bytes_buffer_done(&value);
    return copy;
}

static void answer_peek(struct stage *stage, const struct peek *peek, struct message *reply, struct peek_reply *m)
{
    unsigned draw = (unsigned)feed_raw(&stage->feed, 2);

    m->versions = arena_zalloc(&reply->arena, sizeof(*m->versions));
    m->versions_count = 1;
    m->versions[0].version = peek->from < VERSION_MAX - 70000 ? peek->from + 1 + (version_t)draw : peek->from;
    m->versions[0].mutations = feed_mutations(&stage->feed, &reply->arena);
    if (draw & 1)
        m->versions[0].mutations = with_shard(&reply->arena, SERVER_KEYS_OWNED_EMPTY + (draw >> 2 & 3) % 3, m->versions[0].mutations);
    if (draw & 2)
        m->versions[0].digest = peek_digest(peek->tag, m->versions[0].version, m->versions[0].mutations);
    m->through = m->end = m->versions[0].version;
    if (m->through > stage->version && m->through < VERSION_MAX / 2)
        stage->version = m->through;
    m->known_committed = feed_below(&stage->feed, 2) == 0 ? m->through : peek->from;
    m->locked = feed_below(&stage->feed, 8) == 1;
}

/* One shard, at the pretended storage server. */
static void answer_locations(struct message *reply, struct get_key_locations_reply *m)
{
    struct location *location = m->locations = arena_zalloc(&reply->arena, sizeof(*location));

    m->locations_count = location->servers_count = 1;
    location->end = KEY_SYSTEM_END;
    location->servers = arena_zalloc(&reply->arena, sizeof(*location->servers));
    location->servers[0] = stage_at(STAGE_PEER);
}

/* What the pretended cluster stores: the metadata at first, then what was committed to it. */
static struct kv_map *database_of(struct stage *stage)
{
    if (stage->database == NULL) {
        stage->database = kv_map_create();
        assert(kv_map_apply(stage->database, stage_metadata(stage)) == 0);
    }
    return stage->database;
}

static void answer_values(struct stage *stage, const struct get_values *asked, struct message *reply, struct get_values_reply *m)
{
    m->values = arena_zalloc(&reply->arena, (asked->gets_count + 1) * sizeof(*m->values));
    m->values_count = asked->gets_count;
    for (uint32_t i = 0; i < asked->gets_count; i++) {
        struct bytes value;

        m->values[i].version = asked->gets[i].version;
        m->values[i].present = kv_map_get(database_of(stage), asked->gets[i].key, &value);
        if (m->values[i].present)
            (void)arena_copy(&reply->arena, value, &m->values[i].value);
    }
}

static void answer_range(struct stage *stage, const struct get_range *asked, struct message *reply, struct get_range_reply *m)
{
    struct bytes key = asked->reverse ? asked->end : asked->begin, value;
    struct bytes_buffer pairs = {0};
    uint8_t lengths[8];

    m->version = asked->version;
    while (asked->reverse ? kv_map_before(database_of(stage), key, &key, &value) && bytes_compare(key, asked->begin) >= 0
                          : kv_map_at_or_after(database_of(stage), key, &key, &value) && bytes_compare(key, asked->end) < 0) {
        put_le32(lengths, (uint32_t)key.len);
        put_le32(lengths + 4, (uint32_t)value.len);
        (void)bytes_buffer_append(&pairs, bytes_of(lengths, sizeof(lengths)));
        (void)bytes_buffer_append(&pairs, key);
        (void)bytes_buffer_append(&pairs, value);
        m->count++;
        if (!asked->reverse && key_after(&reply->arena, key, &key) != 0)
            break;
    }
    (void)arena_copy(&reply->arena, bytes_buffer_bytes(&pairs), &m->pairs);
    bytes_buffer_done(&pairs);
}

static void answer_commit(struct stage *stage, const struct commit *asked, struct commit_reply *m)
{
    stage->version += asked->flags & COMMIT_RECOVERY ? VERSIONS_IN_FLIGHT_MAX + 1 : 1;
    m->version = stage->version;
    (void)kv_map_apply(database_of(stage), asked->mutations); /* as far as it is well formed */
}

static void on_asked(void *ctx, struct rpc_request *request);

/* A role that was recruited elsewhere can be reached. */
static void take_part(struct stage *stage, uint64_t id)
{
    for (unsigned i = 0; i < stage->recruited_count; i++)
        if (stage->recruited[i] == id)
            return;
    if (stage->recruited_count == STAGE_RECRUITED || id == STAGE_ROLE || id < STAGE_PEER + STAGE_PEERS)
        return;
    stage->recruited[stage->recruited_count++] = id;
    rpc_register(stage->rpc, id, on_asked, stage);
}

/* A body that an honest peer could send. */
static void plausible(struct stage *stage, const struct message *asked, uint64_t endpoint_id, struct message *reply)
{
    void *body = reply->body;

    switch (asked->type->id) {
    case MESSAGE_get_commit_version:
        ((struct get_commit_version_reply *)body)->prev_version = stage->version;
        stage->version += 1 + feed_byte(&stage->feed) * 1000;
        ((struct get_commit_version_reply *)body)->version = stage->version;
        break;
    case MESSAGE_resolve:
        ((struct resolve_reply *)body)->verdicts_count = MESSAGE_BODY(resolve, asked)->transactions_count;
        ((struct resolve_reply *)body)->verdicts =
            arena_zalloc(&reply->arena, (MESSAGE_BODY(resolve, asked)->transactions_count + 1) * sizeof(uint32_t));
        break;
    case MESSAGE_get_committed:
        ((struct get_committed_reply *)body)->version = stage->version;
        break;
    case MESSAGE_peek:
        answer_peek(stage, MESSAGE_BODY(peek, asked), reply, body);
        break;
    case MESSAGE_read_state:
    case MESSAGE_lock_state:
    case MESSAGE_write_state:
        answer_state(stage, asked, body);
        break;
    case MESSAGE_lock_log:
        *(struct lock_log_reply *)body = (struct lock_log_reply){endpoint_id, STAGE_VERSION, stage->version, stage->version};
        break;
    case MESSAGE_get_metadata:
        ((struct get_metadata_reply *)body)->mutations = stage_metadata(stage);
        break;
    case MESSAGE_get_leader:
        *(struct get_leader_reply *)body = (struct get_leader_reply){
            .cluster_high = 1, .cluster_low = 2, .leader_member = 100, .term = 1,
            .leader_address = {stage_address().ip, stage_address().port}};
        break;
    case MESSAGE_commit:
        answer_commit(stage, MESSAGE_BODY(commit, asked), body);
        break;
    case MESSAGE_get_read_version:
        ((struct get_read_version_reply *)body)->version = stage->version;
        break;
    case MESSAGE_get_description:
        stage_description(stage, body);
        ((struct description *)body)->number = ++stage->described;
        break;
    case MESSAGE_get_key_locations:
        answer_locations(reply, body);
        break;
    case MESSAGE_get_values:
        answer_values(stage, MESSAGE_BODY(get_values, asked), reply, body);
        break;
    case MESSAGE_get_range:
        answer_range(stage, MESSAGE_BODY(get_range, asked), reply, body);
        break;
    case MESSAGE_get_shard_progress:
        *(struct shard_progress *)body = (struct shard_progress){.ready = true, .version = stage->version};
        break;
    case MESSAGE_init_storage:
    case MESSAGE_init_data_distributor:
    case MESSAGE_init_ratekeeper: /* the id is the first field */
        ((struct role_started *)body)->role_id = *(const uint64_t *)asked->body;
        take_part(stage, *(const uint64_t *)asked->body);
        break;
    case MESSAGE_init_sequencer:
    case MESSAGE_init_grv_proxy:
    case MESSAGE_init_commit_proxy:
    case MESSAGE_init_resolver:
    case MESSAGE_init_log: /* epoch, then the id, in all of them */
        ((struct role_started *)body)->role_id = ((const struct init_resolver *)asked->body)->role_id;
        take_part(stage, ((const struct init_resolver *)asked->body)->role_id);
        break;
    default:
        break;
    }
}

static void answer(struct stage *stage, struct rpc_request *request)
{
    struct feed *feed = &stage->feed;
    uint8_t how = feed_byte(feed);
    struct message *reply;

    if (request->one_way || request->message->type->reply == NULL || how >= 0xe8) {
        rpc_drop(request);
    } else if (how >= 0xd0) {
        rpc_fail(request, errors[feed_below(feed, 8)]);
    } else {
        reply = message_create(request->message->type->reply);
        plausible(stage, request->message, request->endpoint_id, reply);
        if (how >= 0xa0)
            feed_body(feed, reply->type->schema, &reply->arena, reply->body);
        feed_saw_body(feed, reply->type->schema, reply->body);
        rpc_reply(request, reply);
    }
}

static bool is_long_poll(uint16_t id)
{
    return id == MESSAGE_peek || id == MESSAGE_get_description || id == MESSAGE_get_settings || id == MESSAGE_get_shard_loads;
}

static void on_asked(void *ctx, struct rpc_request *request)
{
    struct stage *stage = ctx;

    if (stage->fuzz->prints)
        fprintf(stderr, "asked: %s\n", request->message->type->name);
    feed_saw_body(&stage->feed, request->message->type->schema, request->message->body);
    if (stage->held_count >= 64) {
        rpc_drop(request);
        return;
    }
    /* Once the input has ended nobody answers: a role that asks again at once would go on for ever. A long poll is asked again
     * too, and would eat all of the input in one turn: it waits until the input says so. */
    if (!is_long_poll(request->message->type->id) && stage->feed.left > 0 && feed_byte(&stage->feed) < 0xd0) {
        answer(stage, request);
        return;
    }
    list_push_back(&stage->held, &request->link);
    stage->held_count++;
}

static void answer_held(struct stage *stage)
{
    struct list *link = list_pop_front(&stage->held);

    if (link == NULL)
        return;
    stage->held_count--;
    answer(stage, list_entry(link, struct rpc_request, link));
}

/* ---- frames ---- */

/* What the role sends is whole frames that decode. */
static void take_sent(struct stage *stage, struct env_conn *conn, const struct frame *frame)
{
    const struct message_type *type = frame->type < MESSAGE_ID_END ? message_types[frame->type] : NULL;
    void *body;

    if (frame->type < RPC_TYPE_FIRST)
        return;
    assert(type != NULL);
    arena_reset(&stage->taken);
    body = arena_alloc(&stage->taken, type->schema->size);
    assert(message_decode(type->schema, frame->body, &stage->taken, body) == 0);
    feed_saw_body(&stage->feed, type->schema, body);
    if (frame->what == 0 && frame->request_id != 0 && fuzz_conn_outgoing(conn))
        stage->asked[stage->asked_next++ % STAGE_ASKED] = (struct stage_asked){conn, type, frame->request_id};
}

static void on_sent(void *ctx, struct env_conn *conn, struct bytes data)
{
    while (data.len > 0) {
        size_t length = data.len >= RPC_FRAME_HEADER_BYTES ? frame_length(data.ptr, RPC_FRAME_BYTES_MAX) : 0;
        struct frame frame;

        assert(length > 0 && length <= data.len);
        assert(frame_parse(bytes_of(data.ptr, length), &frame));
        take_sent(ctx, conn, &frame);
        data = bytes_of(data.ptr + length, data.len - length);
    }
}

static void give(struct env_conn *conn, const struct frame *head, const struct schema *schema, const void *body)
{
    struct bytes_buffer out = {0};

    if (frame_append(&out, head, schema, body) == 0)
        fuzz_conn_give(conn, bytes_buffer_bytes(&out));
    bytes_buffer_done(&out);
}

static void say_hello(struct env_conn *conn, bool client)
{
    struct rpc_hello hello = {.version = QUOIN_PROTOCOL_VERSION, .client = client, .address = {0x0a000002, 4500}};
    struct frame head = {.type = 1};

    give(conn, &head, &schema_rpc_hello, &hello);
}

static struct env_conn *connection(struct stage *stage, unsigned which)
{
    struct env_conn *conn = stage->conns[which];

    if (conn != NULL && fuzz_conn_alive(conn))
        return conn;
    conn = stage->conns[which] = fuzz_dial(stage->fuzz, (struct address){0x0a000002, 40000});
    if (conn != NULL)
        say_hello(conn, which == CLIENT);
    return conn;
}

static uint64_t target(struct stage *stage)
{
    uint8_t how = feed_byte(&stage->feed);

    if (how < 0xe0)
        return stage->act->endpoint != 0 ? stage->act->endpoint : 1 + how % 3u;
    return how < 0xf8 ? 1 + how % 3u : feed_number(&stage->feed);
}

static void send_message(struct stage *stage)
{
    struct feed *feed = &stage->feed;
    uint8_t which = feed_byte(feed), how = feed_byte(feed);
    uint16_t id = which < 0xf0 ? stage->act->types[which % stage->act->type_count] : feed_below(feed, MESSAGE_ID_END);
    const struct message_type *type = message_types[id];
    struct env_conn *conn;
    struct frame head;
    void *body;

    if (type == NULL)
        return;
    conn = connection(stage, type->senders == SENDER_CLIENT || (type->senders == SENDER_ANY && how & 1) ? CLIENT : SERVER);
    if (conn == NULL)
        return;
    head = (struct frame){.type = id, .endpoint_id = target(stage)};
    head.request_id = type->reply == NULL || how >= 0xf8 ? 0 : ++stage->next_request;
    arena_reset(&stage->given);
    body = arena_alloc(&stage->given, type->schema->size);
    feed_body(feed, type->schema, &stage->given, body);
    if (how & 2)
        stage_mend(stage, id, how, body);
    feed_saw_body(feed, type->schema, body);
    give(conn, &head, type->schema, body);
}

/* Another process: it accepts, says hello, answers one of the last requests, or goes. */
static void act_as_remote(struct stage *stage)
{
    struct feed *feed = &stage->feed;
    struct stage_asked *asked = &stage->asked[feed_below(feed, STAGE_ASKED)];
    struct env_conn *conn = fuzz_dialled(stage->fuzz, feed_byte(feed));
    uint8_t how = feed_byte(feed);
    struct frame head = {.type = 4, .what = how >= 0xc0 ? 2 : 1, .request_id = asked->request_id};
    struct rpc_error error = {(uint32_t)errors[how & 7]};
    void *body;

    if (conn == NULL)
        return;
    if (how >= 0xf0) {
        fuzz_conn_end(conn);
        return;
    }
    fuzz_conn_open(conn);
    if (how < 0x40)
        say_hello(conn, false);
    if (asked->conn == NULL || !fuzz_conn_alive(asked->conn))
        return;
    if (head.what == 2) {
        give(asked->conn, &head, &schema_rpc_error, &error);
    } else if (asked->type->reply != NULL) {
        head.type = asked->type->reply->id;
        arena_reset(&stage->given);
        body = arena_alloc(&stage->given, asked->type->reply->schema->size);
        feed_body(feed, asked->type->reply->schema, &stage->given, body);
        give(asked->conn, &head, asked->type->reply->schema, body);
    }
    asked->conn = NULL;
}

/* ---- the play ---- */

static void role_ended(void *host, enum role_kind kind, uint64_t role_id, int error)
{
    struct stage *stage = host;

    (void)role_id;
    assert(kind == stage->act->kind && error != 0);
    assert(stage->ended++ == 0);
}

static void on_recruit(void *ctx, struct rpc_request *request)
{
    struct stage *stage = ctx;
    int error = stage->create(&stage->context, request, &stage->role);

    stage->created = error == 0;
    if (error != 0)
        rpc_fail(request, error);
}

/* Those of no epoch. */
static bool begins_with_id(uint16_t id)
{
    return id == MESSAGE_init_storage || id == MESSAGE_init_data_distributor || id == MESSAGE_init_ratekeeper;
}

void stage_recruit(struct stage *stage, struct message *init, int (*create)(const struct role_context *context,
                                                                           struct rpc_request *request, void **ret_role))
{
    struct endpoint to = {stage_address(), STAGE_PEER + STAGE_PEERS};
    struct message *seen = NULL;

    if (feed_byte(&stage->feed) >= 0xd8) {
        feed_body(&stage->feed, init->type->schema, &init->arena, init->body);
        *((uint64_t *)init->body + (begins_with_id(init->type->id) ? 0 : 1)) = STAGE_ROLE;
    }
    stage->create = create;
    assert(rpc_recode(init, &seen) == 0);
    message_unref(init);
    rpc_register(stage->rpc, to.id, on_recruit, stage);
    rpc_send(stage->rpc, &to, seen);
    fuzz_env_run(stage->fuzz, 1, 10);
    rpc_unregister(stage->rpc, to.id);
}

static void ask_status(struct stage *stage)
{
    struct role_status status = {0};
    struct arena arena = {0};

    if (stage->role != NULL)
        stage->act->status(stage, &status, &arena);
    arena_done(&arena);
}

static void play(struct stage *stage)
{
    static const int64_t steps[] = {10, 1000, 20000, 100000, 400000, 1000000, 3000000, 6000000};
    struct feed *feed = &stage->feed;
    uint8_t what = feed_byte(feed);

    switch (what & 15) {
    default:
        send_message(stage);
        break;
    case 8:
    case 9:
    case 10:
        fuzz_env_run(stage->fuzz, 1 + (what >> 4) % 4u, steps[what >> 5]);
        break;
    case 11:
        fuzz_env_run(stage->fuzz, 1, 10);
        break;
    case 12:
        answer_held(stage);
        break;
    case 13:
        act_as_remote(stage);
        break;
    case 14:
        if (stage->act->extra != NULL && stage->role != NULL)
            stage->act->extra(stage);
        break;
    case 15:
        if (what < 0x80)
            ask_status(stage);
        else if (stage->conns[what >> 4 & 1] != NULL)
            fuzz_conn_end(stage->conns[what >> 4 & 1]);
        break;
    }
}

static void make_rpc(struct stage *stage)
{
    struct rpc_options options = {.public_address = stage_address(), .types = message_types, .type_count = MESSAGE_ID_END};

    assert(rpc_create(stage->env, &options, &stage->rpc) == 0);
    assert(rpc_listen(stage->rpc) == 0);
    for (unsigned i = 0; i < STAGE_PEERS; i++)
        rpc_register(stage->rpc, STAGE_PEER + i, on_asked, stage);
    for (uint64_t id = ENDPOINT_COORDINATOR; id <= ENDPOINT_WORKER; id++)
        if (id != stage->act->endpoint)
            rpc_register(stage->rpc, id, on_asked, stage);
}

static void drop_rpc(struct stage *stage)
{
    while (!list_empty(&stage->held))
        rpc_drop(list_entry(list_pop_front(&stage->held), struct rpc_request, link));
    for (unsigned i = 0; i < STAGE_PEERS; i++)
        rpc_unregister(stage->rpc, STAGE_PEER + i);
    for (unsigned i = 0; i < stage->recruited_count; i++)
        rpc_unregister(stage->rpc, stage->recruited[i]);
    for (uint64_t id = ENDPOINT_COORDINATOR; id <= ENDPOINT_WORKER; id++)
        if (id != stage->act->endpoint)
            rpc_unregister(stage->rpc, id);
    for (int i = 0; i < 4; i++)
        fuzz_env_run(stage->fuzz, 1, 10);
    rpc_destroy(stage->rpc);
}

static void stage_init(struct stage *stage, const struct act *act, const uint8_t *data, size_t size)
{
    *stage = (struct stage){.act = act, .fuzz = fuzz_env_create(), .version = STAGE_VERSION, .pushed = STAGE_VERSION,
                            .resolved = STAGE_VERSION};
    stage->env = &stage->fuzz->env;
    stage->fuzz->sent = on_sent;
    stage->fuzz->sent_ctx = stage;
    feed_init(&stage->feed, data, size, stage_address());
    feed_fixed(&stage->feed, STAGE_ROLE);
    for (unsigned i = 0; i < 4; i++)
        feed_fixed(&stage->feed, STAGE_PEER + i);
    feed_fixed(&stage->feed, 100); /* a coordinator's member id */
    feed_fixed(&stage->feed, 101);
    stage->env->knobs.rpc_encode_local = feed_below(&stage->feed, 2);
    list_init(&stage->held);
    (void)env_dir_make(stage->env, "data");
    stage->state = (struct coordinated_state){.cluster_high = 1, .cluster_low = 2, .locked_epoch = 1, .written_epoch = 1,
                                              .recovery_transaction_version = STAGE_VERSION};
    stage->state.generations = arena_zalloc(&stage->arena, sizeof(*stage->state.generations));
    *stage->state.generations = stage_generation(stage);
    stage->state.generations_count = 1;
    stage->own_address = stage_address();
    stage->context = (struct role_context){.env = stage->env, .data_directory = "data", .coordinators = &stage->own_address,
                                           .coordinator_count = 1, .ended = role_ended, .host = stage};
}

void stage_run(const struct act *act, const uint8_t *data, size_t size)
{
    struct stage stage;

    stage_init(&stage, act, data, size);
    if (!act->own_rpc)
        make_rpc(&stage);
    stage.context.rpc = stage.rpc;
    act->start(&stage);
    for (int i = 0; i < STAGE_OPS_MAX && stage.feed.left > 0 && stage.ended == 0 && !stage.fuzz->exited; i++)
        play(&stage);
    fuzz_env_run(stage.fuzz, 4, 10);
    ask_status(&stage);
    act->stop(&stage);
    if (!act->own_rpc)
        drop_rpc(&stage);
    fuzz_env_destroy(stage.fuzz);
    arena_done(&stage.arena);
    kv_map_destroy(stage.database);
    arena_done(&stage.given);
    arena_done(&stage.taken);
}
