#include "tests/unit/txn/client_fakes.h"

#include "txn/messages.h"

static struct wire_endpoint wire(const struct fakes *fakes, uint64_t id)
{
    return (struct wire_endpoint){{fakes->address.ip, fakes->address.port}, id};
}

static void coordinator(void *ctx, struct rpc_request *request)
{
    struct fakes *fakes = ctx;
    struct message *message;
    struct get_leader_reply *reply = MESSAGE_NEW(get_leader_reply, &message);

    cr_assert_eq(request->message->type, &message_type_get_leader);
    *reply = (struct get_leader_reply){1, 2, 5, 1, {fakes->address.ip, fakes->address.port}, NULL, 0};
    rpc_reply(request, message);
}

static void controller(void *ctx, struct rpc_request *request)
{
    struct fakes *fakes = ctx;
    struct message *message;
    struct description *reply;

    if (MESSAGE_BODY(get_description, request->message)->known_epoch != 0) {
        if (fakes->poll != NULL)
            rpc_drop(fakes->poll); /* of a client that has gone, or asks again */
        fakes->poll = request;
        return;
    }
    reply = MESSAGE_NEW(description, &message);
    *reply = (struct description){.epoch = 1, .term = 1, .number = 1, .cluster_high = 1, .cluster_low = 2};
    reply->roles_count = fakes->another_grv_is_lost ? 3 : 2;
    reply->roles = arena_zalloc(&message->arena, 3 * sizeof(reply->roles[0]));
    reply->roles[0] = (struct role_ref){ROLE_GRV_PROXY, wire(fakes, fakes->lost_grv_is_first ? NOBODY : GRV), {NULL, 0}};
    reply->roles[1] = (struct role_ref){ROLE_COMMIT_PROXY, wire(fakes, PROXY), {NULL, 0}};
    reply->roles[2] = (struct role_ref){ROLE_GRV_PROXY, wire(fakes, fakes->lost_grv_is_first ? GRV : NOBODY), {NULL, 0}};
    rpc_reply(request, message);
}

static void grv_proxy(void *ctx, struct rpc_request *request)
{
    struct fakes *fakes = ctx;
    struct message *message;
    struct get_read_version_reply *reply = MESSAGE_NEW(get_read_version_reply, &message);

    fakes->grvs++;
    reply->version = READ_VERSION_NOW;
    reply->locked = fakes->locked;
    rpc_reply(request, message);
}

/* Two shards: below "m", and the rest. */
static void give_locations(struct fakes *fakes, struct rpc_request *request)
{
    const struct get_key_locations *asked = MESSAGE_BODY(get_key_locations, request->message);
    struct message *message;
    struct get_key_locations_reply *reply = MESSAGE_NEW(get_key_locations_reply, &message);
    struct bytes bounds[3] = {BYTES_LITERAL(""), BYTES_LITERAL("m"), BYTES_LITERAL("\xff\xff")};

    reply->locations = arena_zalloc(&message->arena, 2 * sizeof(reply->locations[0]));
    for (int n = 0; n < 2; n++) {
        int i = asked->reverse ? 1 - n : n;
        struct location *location = &reply->locations[reply->locations_count];

        if (bytes_compare(bounds[i + 1], asked->begin) <= 0 || bytes_compare(bounds[i], asked->end) >= 0)
            continue;
        *location = (struct location){bounds[i], bounds[i + 1], arena_zalloc(&message->arena, 2 * sizeof(struct wire_endpoint)), 2};
        location->servers[0] = wire(fakes, STORAGE_A);
        location->servers[1] = wire(fakes, STORAGE_B);
        reply->locations_count++;
    }
    rpc_reply(request, message);
}

static void commit_proxy(void *ctx, struct rpc_request *request)
{
    struct fakes *fakes = ctx;
    const struct commit *commit;
    struct message *message;
    struct commit_reply *reply;

    if (request->message->type == &message_type_get_key_locations) {
        give_locations(fakes, request);
        return;
    }
    commit = MESSAGE_BODY(commit, request->message);
    fakes->commits++;
    fakes->last_reads.len = fakes->last_writes.len = 0;
    bytes_buffer_append(&fakes->last_reads, commit->read_conflicts);
    bytes_buffer_append(&fakes->last_writes, commit->write_conflicts);
    if (fakes->lose_commits_left > 0) {
        fakes->lose_commits_left--;
        rpc_drop(request);
        return;
    }
    cr_assert_eq(kv_map_apply(fakes->map, commit->mutations), 0);
    reply = MESSAGE_NEW(commit_reply, &message);
    *reply = (struct commit_reply){.version = 100 + fakes->commits, .batch_index = 3};
    rpc_reply(request, message);
}

static void answer_gets(struct fakes *fakes, struct rpc_request *request)
{
    const struct get_values *asked = MESSAGE_BODY(get_values, request->message);
    struct message *message;
    struct get_values_reply *reply = MESSAGE_NEW(get_values_reply, &message);

    fakes->get_messages++;
    reply->values = arena_zalloc(&message->arena, asked->gets_count * sizeof(reply->values[0]));
    reply->values_count = asked->gets_count;
    for (uint32_t i = 0; i < asked->gets_count; i++) {
        struct value *value = &reply->values[i];

        cr_assert_eq(asked->gets[i].version, READ_VERSION_NOW);
        fakes->gets++;
        if (fakes->wrong_shard_left > 0) {
            fakes->wrong_shard_left--;
            value->error = ERROR_WRONG_SHARD_SERVER;
            continue;
        }
        value->error = (uint32_t)fakes->get_error;
        value->present = kv_map_get(fakes->map, asked->gets[i].key, &value->value);
    }
    rpc_reply(request, message);
}

static void put_pair(struct bytes_buffer *pairs, struct bytes key, struct bytes value)
{
    uint8_t head[8];

    put_le32(head, (uint32_t)key.len);
    put_le32(head + 4, (uint32_t)value.len);
    bytes_buffer_append(pairs, bytes_of(head, 8));
    bytes_buffer_append(pairs, key);
    bytes_buffer_append(pairs, value);
}

static void answer_range(struct fakes *fakes, struct rpc_request *request)
{
    const struct get_range *asked = MESSAGE_BODY(get_range, request->message);
    uint32_t limit = asked->limit == 0 || asked->limit > (uint32_t)fakes->range_limit ? (uint32_t)fakes->range_limit : asked->limit;
    struct message *message;
    struct get_range_reply *reply = MESSAGE_NEW(get_range_reply, &message);
    struct bytes_buffer pairs = {0};
    struct bytes key, value;
    bool there = asked->reverse ? kv_map_before(fakes->map, asked->end, &key, &value)
                                : kv_map_at_or_after(fakes->map, asked->begin, &key, &value);

    fakes->ranges++;
    if (fakes->wrong_shard_left > 0) {
        fakes->wrong_shard_left--;
        message_unref(message);
        rpc_fail(request, ERROR_WRONG_SHARD_SERVER);
        return;
    }
    fakes->keys_only += asked->keys_only;
    cr_assert(bytes_compare(asked->end, BYTES_LITERAL("m")) <= 0 || bytes_compare(asked->begin, BYTES_LITERAL("m")) >= 0);
    while (there && (asked->reverse ? bytes_compare(key, asked->begin) >= 0 : bytes_compare(key, asked->end) < 0)) {
        uint8_t after[512];

        cr_assert_lt(key.len, sizeof(after));
        if (reply->count == limit) {
            reply->more = true;
            break;
        }
        put_pair(&pairs, key, asked->keys_only ? bytes_none() : value);
        reply->count++;
        memcpy(after, key.ptr, key.len);
        after[key.len] = 0;
        there = asked->reverse ? kv_map_before(fakes->map, key, &key, &value)
                               : kv_map_at_or_after(fakes->map, bytes_of(after, key.len + 1), &key, &value);
    }
    cr_assert_eq(arena_copy(&message->arena, bytes_buffer_bytes(&pairs), &reply->pairs), 0);
    bytes_buffer_done(&pairs);
    rpc_reply(request, message);
}

static void storage(void *ctx, struct rpc_request *request)
{
    struct fakes *fakes = ctx;

    if (request->message->type == &message_type_watch && fakes->on_watch != NULL)
        fakes->on_watch(fakes, request);
    else if (request->message->type == &message_type_watch)
        rpc_drop(request);
    else if (request->message->type == &message_type_get_values)
        answer_gets(fakes, request);
    else
        answer_range(fakes, request);
}

static int gets_in(const struct rpc_request *request)
{
    return request->message->type == &message_type_get_values ? (int)MESSAGE_BODY(get_values, request->message)->gets_count : 0;
}

static void storage_a(void *ctx, struct rpc_request *request)
{
    struct fakes *fakes = ctx;

    fakes->gets_of_a++;
    fakes->asked += gets_in(request);
    fakes->clock_us += fakes->a_takes_us;
    if (fakes->storage_a_dead)
        rpc_drop(request);
    else if (fakes->hold_a)
        list_push_back(&fakes->held, &request->link);
    else
        storage(ctx, request);
}

static void storage_b(void *ctx, struct rpc_request *request)
{
    struct fakes *fakes = ctx;

    fakes->gets_of_b++;
    fakes->asked += gets_in(request);
    if (fakes->hold_b)
        list_push_back(&fakes->held, &request->link);
    else
        storage(ctx, request);
}

void fakes_release(struct fakes *fakes)
{
    fakes->hold_a = fakes->hold_b = false;
    while (!list_empty(&fakes->held))
        storage(fakes, list_entry(list_pop_front(&fakes->held), struct rpc_request, link));
}

/* ---- the world ---- */

void fakes_serve(struct fakes *fakes, struct env *env)
{
    struct rpc_options options = {.types = message_types, .type_count = MESSAGE_ID_END};

    *fakes = (struct fakes){.env = env, .range_limit = 3};
    list_init(&fakes->held);
    for (uint32_t port = 20000 + (uint32_t)(env_random(env) % 20000);; port++) {
        fakes->address = options.public_address = (struct address){0x7f000001, port};
        cr_assert_eq(rpc_create(env, &options, &fakes->server), 0);
        if (rpc_listen(fakes->server) == 0)
            break;
        rpc_destroy(fakes->server);
    }
    rpc_register(fakes->server, ENDPOINT_COORDINATOR, coordinator, fakes);
    rpc_register(fakes->server, ENDPOINT_CONTROLLER, controller, fakes);
    rpc_register(fakes->server, GRV, grv_proxy, fakes);
    rpc_register(fakes->server, PROXY, commit_proxy, fakes);
    rpc_register(fakes->server, STORAGE_A, storage_a, fakes);
    rpc_register(fakes->server, STORAGE_B, storage_b, fakes);
    fakes->map = kv_map_create();
}

void fakes_end(struct fakes *fakes)
{
    if (fakes->poll != NULL)
        rpc_drop(fakes->poll);
    while (!list_empty(&fakes->held))
        rpc_drop(list_entry(list_pop_front(&fakes->held), struct rpc_request, link));
    rpc_destroy(fakes->server);
    kv_map_destroy(fakes->map);
    bytes_buffer_done(&fakes->last_reads);
    bytes_buffer_done(&fakes->last_writes);
}

void start(struct fakes *fakes)
{
    struct env_posix_options env_options = {0};
    struct client_options client_options = {.coordinators = &fakes->address, .coordinator_count = 1};
    struct env *env;

    cr_assert_eq(env_posix_create(&env_options, &env), 0);
    fakes_serve(fakes, env);
    cr_assert_eq(client_create(env, &client_options, &fakes->client), 0);
}

void stop(struct fakes *fakes)
{
    struct env *env = fakes->env;

    client_destroy(fakes->client);
    fakes_end(fakes);
    env_posix_destroy(env);
}

static struct fakes *running;

static int64_t held_now(struct env *env)
{
    (void)env;
    return running->clock_us;
}

void hold_the_clock(struct fakes *fakes)
{
    running = fakes;
    fakes->clock_us = env_now_us(fakes->env);
    fakes->ops = *fakes->env->ops;
    fakes->ops.now_us = held_now;
    fakes->env->ops = &fakes->ops;
}

void call_done(struct client_call *call)
{
    (void)call;
    running->done = true;
    env_posix_stop(running->env);
}

int await(struct fakes *fakes, struct client_call *call)
{
    running = fakes;
    while (!fakes->done)
        env_posix_run(fakes->env);
    fakes->done = false;
    return call->error;
}

struct transaction *begin(struct fakes *fakes)
{
    struct transaction *txn;

    cr_assert_eq(transaction_create(fakes->client, &txn), 0);
    return txn;
}

int get(struct fakes *fakes, struct transaction *txn, const char *key, struct transaction_get *get)
{
    get->call.done = call_done;
    transaction_get_start(get, NULL, txn, bytes_of_string(key), false);
    return await(fakes, &get->call);
}

int commit(struct fakes *fakes, struct transaction *txn)
{
    struct client_call call = {.done = call_done};

    transaction_commit_start(&call, NULL, txn);
    return await(fakes, &call);
}

void put(struct fakes *fakes, const char *key, const char *value)
{
    cr_assert_eq(kv_map_set(fakes->map, bytes_of_string(key), bytes_of_string(value)), 0);
}
