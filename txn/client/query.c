/* Questions about a range that need no read version: which servers have a key, where shards begin, how many bytes there are,
 * where to cut them.
 *
 *   LOCATE -> ASK -> ANSWERED -> LOCATE ..      (who has it and where shards begin is known after LOCATE)
 *     ^________|________|  by way of PAUSED
 *
 * `at` walks from begin to end, a shard (or what a server walked of it in one turn) at a time. A replica that fails is passed
 * over; a shard that moved is looked for again. */
#include <stdio.h>

#include "net/buggify.h"
#include "txn/client/client_internal.h"

enum { LOCATE, ASK, ANSWERED, PAUSED, QUERY_STAGES };

static struct transaction_query *query_of(struct op *op)
{
    return container_of(op, struct transaction_query, op);
}

/* ---- results ---- */

/* `item` goes into the arena, with a NUL behind it. */
static int add_item(struct transaction_query *query, struct bytes item)
{
    uint8_t *copy = arena_alloc(&query->arena, item.len + 1);

    if (query->count == query->capacity) {
        uint32_t capacity = query->capacity == 0 ? 16 : query->capacity * 2;
        struct bytes *grown = mem_realloc(query->items, capacity * sizeof(*grown));

        if (grown == NULL)
            return ERROR_OUT_OF_MEMORY;
        query->items = grown;
        query->capacity = capacity;
    }
    if (copy == NULL)
        return ERROR_OUT_OF_MEMORY;
    if (item.len > 0)
        memcpy(copy, item.ptr, item.len);
    copy[item.len] = '\0';
    query->items[query->count++] = bytes_of(copy, item.len);
    return 0;
}

static int add_shard(struct transaction_query *query, struct bytes begin, int64_t bytes)
{
    int error = add_item(query, begin);
    int64_t *sizes = error != 0 ? NULL : mem_realloc(query->sizes, query->capacity * sizeof(*sizes));

    if (sizes == NULL)
        return ERROR_OUT_OF_MEMORY;
    query->sizes = sizes;
    query->sizes[query->count - 1] = bytes;
    return 0;
}

static bool is_full(const struct transaction_query *query)
{
    return query->limit != 0 && query->count >= query->limit;
}

static int add_addresses(struct transaction_query *query, const struct client_location *location)
{
    char text[ADDRESS_TEXT_MAX];
    int error = 0;

    for (uint32_t i = 0; i < location->server_count && error == 0; i++) {
        address_print(location->servers[i]->endpoint.address, text);
        if (query->without_port)
            *strrchr(text, ':') = '\0';
        error = add_item(query, bytes_of_string(text));
    }
    return error;
}

static int add_splits(struct transaction_query *query, const struct get_range_metrics_reply *reply)
{
    int error = 0;

    for (uint32_t i = 0; i < reply->splits_count && !is_full(query) && error == 0; i++)
        error = add_item(query, reply->splits[i].key);
    return error;
}

/* ---- stages ---- */

static void located(struct client_locate *locate)
{
    op_resume(&container_of(locate, struct transaction_query, locate)->op);
}

static enum op_result finish(struct op *op)
{
    struct transaction_query *query = query_of(op);

    return op_finish(op, query->kind == QUERY_SPLITS ? add_item(query, query->end) : 0);
}

static enum op_result after_shard(struct op *op, const struct client_location *location)
{
    struct transaction_query *query = query_of(op);
    int error = 0;

    if (query->kind == QUERY_ADDRESSES)
        return op_finish(op, add_addresses(query, location));
    if (bytes_compare(location->begin, query->at) >= 0) /* below it: shards have merged since the one before was looked at */
        error = add_item(query, location->begin);
    if (error == 0)
        error = arena_copy(&query->arena, location->end, &query->at);
    return error != 0 ? op_finish(op, error) : op_move(op, LOCATE);
}

static enum op_result locate(struct op *op)
{
    struct transaction_query *query = query_of(op);
    struct client *client = query->txn->client;
    const struct client_location *location;

    if (bytes_compare(query->at, query->end) >= 0 || is_full(query))
        return finish(op);
    location = location_find(client, query->at, false);
    if (location == NULL) {
        query->locate = (struct client_locate){.key = query->at, .got = located};
        query->tried = 0;
        locate_ask(client, &query->locate);
        return op_wait(op, LOCATE);
    }
    if (query->kind == QUERY_ADDRESSES || query->kind == QUERY_BOUNDARIES)
        return after_shard(op, location);
    query->server = location_pick(client, location, query->tried, &query->replica);
    query->piece_end = bytes_min(location->end, query->end);
    return op_move(op, ASK);
}

/* Comes back after a while, with a new location. */
static enum op_result later(struct op *op)
{
    struct transaction_query *query = query_of(op);

    location_forget(query->txn->client, query->at, false);
    query->tried = 0;
    query->delay_us = query->delay_us == 0 ? RETRY_DELAY_US_MIN : query->delay_us * 2;
    if (query->delay_us > RETRY_DELAY_US_MAX)
        query->delay_us = RETRY_DELAY_US_MAX;
    wait_timer_start(&query->timer, op, query->delay_us);
    return op_wait(op, PAUSED);
}

static struct message *metrics_question(const struct transaction_query *query)
{
    struct message *message;
    struct get_range_metrics *body = MESSAGE_NEW(get_range_metrics, &message);

    if (body == NULL || arena_copy(&message->arena, query->at, &body->begin) != 0 ||
        arena_copy(&message->arena, query->piece_end, &body->end) != 0) {
        message_unref(message);
        return NULL;
    }
    body->chunk = query->kind == QUERY_SPLITS ? query->chunk : 0;
    body->carried = query->carried;
    return message;
}

static struct message *shards_question(const struct transaction_query *query)
{
    struct message *message;
    struct get_shard_loads *body = MESSAGE_NEW(get_shard_loads, &message);

    if (body == NULL || arena_copy(&message->arena, query->at, &body->begin) != 0) {
        message_unref(message);
        return NULL;
    }
    return message;
}

static enum op_result ask(struct op *op)
{
    struct transaction_query *query = query_of(op);
    struct client *client = query->txn->client;
    struct message *message;

    if (query->server == NULL)
        return later(op);
    query->server->refs++;
    message = query->kind == QUERY_SHARDS ? shards_question(query) : metrics_question(query);
    if (message == NULL)
        return op_finish(op, ERROR_OUT_OF_MEMORY);
    rpc_call_start(&query->rpc, op, client->rpc, &query->server->endpoint, message, client->env->knobs.client_request_timeout_us);
    return op_wait(op, ANSWERED);
}

static void leave_server(struct transaction_query *query)
{
    server_unref(query->txn->client, query->server);
    query->server = NULL;
}

/* Does it answer what was asked? */
static bool is_answer(const struct transaction_query *query, const struct get_range_metrics_reply *reply)
{
    struct bytes last = query->at;

    if (bytes_compare(reply->through, query->at) <= 0 || bytes_compare(reply->through, query->end) > 0 || reply->bytes < 0 ||
        reply->bytes > RANGE_BYTES_MAX - query->bytes || reply->carried < 0 || reply->carried > RANGE_BYTES_MAX)
        return false;
    for (uint32_t i = 0; i < reply->splits_count; i++) {
        if (bytes_compare(reply->splits[i].key, last) < 0 || bytes_compare(reply->splits[i].key, reply->through) >= 0)
            return false;
        last = reply->splits[i].key;
    }
    return true;
}

static int take(struct transaction_query *query, const struct get_range_metrics_reply *reply)
{
    int error;

    if (!is_answer(query, reply))
        return ERROR_BROKEN_PROMISE;
    error = add_splits(query, reply);
    query->bytes += reply->bytes;
    query->carried = reply->carried;
    query->delay_us = 0;
    query->tried = 0;
    return error != 0 ? error : arena_copy(&query->arena, reply->through, &query->at);
}

/* What the server holds from `at` on, as long as one shard begins where the other ends; it need not hold the next one. */
static int take_shards(struct transaction_query *query, const struct shard_loads *reply)
{
    int error = 0;
    bool any = false;

    for (uint32_t i = 0; i < reply->shards_count && error == 0 && !is_full(query); i++) {
        const struct shard_load *shard = &reply->shards[i];
        struct bytes begin = bytes_max(shard->begin, query->begin);

        if (bytes_compare(shard->end, query->at) <= 0)
            continue;
        if (shard->bytes < 0 || bytes_compare(shard->begin, shard->end) >= 0)
            return ERROR_BROKEN_PROMISE;
        if (bytes_compare(begin, query->at) > 0 || bytes_compare(query->at, query->end) >= 0)
            break;
        any = true;
        error = add_shard(query, begin, shard->bytes);
        if (error == 0)
            error = arena_copy(&query->arena, bytes_min(shard->end, KEY_SYSTEM_BEGIN), &query->at);
    }
    query->delay_us = 0;
    query->tried = 0;
    return error != 0 || any ? error : ERROR_WRONG_SHARD_SERVER;
}

static enum op_result answered(struct op *op)
{
    struct transaction_query *query = query_of(op);
    struct client *client = query->txn->client;
    int error = query->rpc.error;

    if (error == 0)
        server_answered(client, query->server, client->env->turn_us - query->rpc.started_us);
    else if (client_error_is_transport(error))
        server_failed(client, query->server, client->env->turn_us - query->rpc.started_us);
    leave_server(query);
    if (error == 0)
        error = query->kind == QUERY_SHARDS ? take_shards(query, MESSAGE_BODY(shard_loads, query->rpc.reply))
                                            : take(query, MESSAGE_BODY(get_range_metrics_reply, query->rpc.reply));
    rpc_call_clear(&query->rpc);
    if (error == 0)
        return op_move(op, LOCATE);
    if (error == ERROR_WRONG_SHARD_SERVER)
        return later(op);
    if (!client_error_is_transport(error))
        return op_finish(op, error);
    PROBE(client->env, "a server does not answer what was asked about a range");
    query->tried |= UINT32_C(1) << query->replica;
    return op_move(op, LOCATE);
}

static enum op_result paused(struct op *op)
{
    return op_move(op, LOCATE);
}

static void ended(struct op *op)
{
    struct transaction_query *query = query_of(op);

    locate_cancel(&query->locate);
    rpc_call_clear(&query->rpc);
    if (op->stage == ASK || op->stage == ANSWERED)
        leave_server(query);
    list_remove(&query->link);
    if (query->call.under_way)
        client_call_end(&query->call, op->error);
}

static const struct op_stage stages[QUERY_STAGES] = {
    [LOCATE] = {"LOCATE", locate, OP_STAGE(LOCATE) | OP_STAGE(ASK)},
    [ASK] = {"ASK", ask, OP_STAGE(ANSWERED) | OP_STAGE(PAUSED)},
    [ANSWERED] = {"ANSWERED", answered, OP_STAGE(LOCATE) | OP_STAGE(PAUSED)},
    [PAUSED] = {"PAUSED", paused, OP_STAGE(LOCATE)},
};
static const struct op_type query_type = {
    .name = "client_query", .stages = stages, .stage_count = QUERY_STAGES, .queue = READY_READ, .ended = ended};

/* ---- start ---- */

void query_fail(struct transaction_query *query, int error)
{
    if (query->call.under_way)
        client_call_end(&query->call, error);
    op_cancel(&query->op);
}

static void cancelled(struct client_call *call)
{
    op_cancel(&container_of(call, struct transaction_query, call)->op);
}

static int prepare(struct transaction_query *query, struct transaction *txn, struct bytes begin, struct bytes end)
{
    int error = transaction_failure(txn);

    if (error == 0)
        error = transaction_check_read(txn, begin, query->kind != QUERY_ADDRESSES);
    if (error == 0 && query->kind != QUERY_ADDRESSES)
        error = transaction_check_read(txn, end, true);
    if (error == 0 && bytes_compare(begin, end) > 0)
        error = ERROR_INVERTED_RANGE;
    return error;
}

bool transaction_query_prepare(struct transaction_query *query, struct transaction *txn, struct bytes begin, struct bytes end)
{
    int error;

    query->txn = txn;
    query->count = query->tried = 0;
    query->bytes = query->carried = query->delay_us = 0;
    arena_reset(&query->arena);
    transaction_lock(txn);
    query->incarnation = transaction_incarnation(txn);
    query->without_port = txn->settings.api_version < 630 && !txn->include_port;
    error = prepare(query, txn, begin, end);
    transaction_unlock(txn);
    if (error == 0)
        error = arena_copy(&query->arena, begin, &query->begin);
    if (error == 0)
        error = query->kind == QUERY_ADDRESSES ? key_after(&query->arena, begin, &query->end) : arena_copy(&query->arena, end, &query->end);
    if (error == 0 && query->kind == QUERY_SPLITS)
        error = add_item(query, begin);
    query->at = query->begin;
    query->call.error = error;
    return error != 0;
}

void transaction_query_submit(struct transaction_query *query, struct op *op)
{
    struct transaction *txn = query->txn;

    transaction_call_begin(txn, &query->call, op, cancelled);
    list_push_back(&txn->queries, &query->link);
    op_start(&query->op, &query_type, &txn->client->ops);
    transaction_begun(txn, query->incarnation);
}

void transaction_query_start(struct transaction_query *query, struct op *op, struct transaction *txn, struct bytes begin,
                             struct bytes end)
{
    int error;

    if (!transaction_query_prepare(query, txn, begin, end)) {
        transaction_query_submit(query, op);
        return;
    }
    error = query->call.error;
    transaction_call_begin(txn, &query->call, op, cancelled);
    client_call_end(&query->call, error);
}

void transaction_query_done(struct transaction_query *query)
{
    client_call_cancel(&query->call);
    arena_done(&query->arena);
    mem_free(query->items);
    mem_free(query->sizes);
    query->items = NULL;
    query->sizes = NULL;
    query->capacity = query->count = 0;
}
