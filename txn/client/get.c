/* Point reads: looked up in the transaction's own writes first, then gathered by storage server, a message a server a turn.
 *
 * A get is no op: it is a node that moves from list to list (waiting for the version, for its location, for the end of the
 * turn, for the message's answer), so that a message of 64 gets is one op. Cancelling takes it out of whichever lists it is in:
 * when its server is late, it is in a message to another replica as well, and the first answer counts.
 *
 * A replica that can't be reached is passed over; when all are, the location is asked for again after a short pause, for as
 * long as the transaction wants to wait. */
#include <assert.h>

#include "net/buggify.h"
#include "txn/client/client_internal.h"

enum { GETS_PER_MESSAGE_MAX = 4096 };

struct get_batch {
    struct client_request request; /* first */
    struct list asks; /* get_ask.link */
    uint32_t count, first_count; /* first: those that are no second requests */
    struct client_server *server; /* shared */
    struct second_request second;
};

static void dispatch(struct transaction_get *get);

/* ---- ends ---- */

static void take_out(struct transaction_get *get)
{
    list_remove(&get->asks[0].link);
    list_remove(&get->asks[1].link);
    list_remove(&get->call.link);
    locate_cancel(&get->locate);
    env_timer_cancel(get->call.env, &get->timer);
}

static void cancelled(struct client_call *call)
{
    struct transaction_get *get = container_of(call, struct transaction_get, call);

    take_out(get);
    transaction_reads_changed(get->txn);
}

void get_fail(struct transaction_get *get, int error)
{
    struct transaction *txn = get->txn;
    uint32_t incarnation = get->incarnation;

    take_out(get);
    client_call_end(&get->call, error);
    if (error != 0)
        transaction_read_failed(txn, incarnation, error);
    transaction_reads_changed(txn);
}

static int keep_value(struct transaction_get *get, bool present, struct bytes value)
{
    get->present = present;
    return bytes_buffer_set(&get->value, present ? value : bytes_none());
}

/* The atomic operations that the transaction had done when it asked come on top. Under the transaction's lock. */
static int keep_with_ops(struct transaction_get *get, bool present, struct bytes value)
{
    struct arena arena = {0};
    int error = get->ops == NULL ? 0 : ryw_apply(&arena, get->ops, present, value, &present, &value);

    if (error == 0)
        error = keep_value(get, present, value);
    arena_done(&arena);
    return error;
}

static void succeed(struct transaction_get *get, bool present, struct bytes value)
{
    struct transaction *txn = get->txn;
    int error;

    transaction_lock(txn);
    error = get->incarnation == transaction_incarnation(txn) ? keep_with_ops(get, present, value)
                                                             : ERROR_TRANSACTION_CANCELLED;
    transaction_unlock(txn);
    client_proved_version(txn->client, get->version);
    get_fail(get, error);
}

/* ---- another try ---- */

static void timer_fired(struct env_timer *timer)
{
    dispatch(container_of(timer, struct transaction_get, timer));
}

static void again_with_new_location(struct transaction_get *get)
{
    struct env *env = get->call.env;

    location_forget(get->txn->client, bytes_buffer_bytes(&get->key), false);
    get->tried = 0;
    get->timer.fire = timer_fired;
    env_timer_start(env, &get->timer, env_now_us(env) + get->delay_us);
    get->delay_us = get->delay_us == 0 ? RETRY_DELAY_US_MIN : get->delay_us * 2;
    if (get->delay_us > RETRY_DELAY_US_MAX)
        get->delay_us = RETRY_DELAY_US_MAX;
}

/* Is there a replica that has not been tried? Nobody knows where the location was forgotten meanwhile (another key of the message was not there any
 * more), or is a new one. */
static bool another_is_left(struct transaction_get *get)
{
    struct client *client = get->txn->client;
    const struct client_location *location = location_find(client, bytes_buffer_bytes(&get->key), false);
    uint32_t replica;

    return location == NULL || location->number != get->located || location_pick(client, location, get->tried, &replica) != NULL;
}

static struct get_ask *pop_ask(struct list *asks)
{
    return list_entry(list_pop_front(asks), struct get_ask, link);
}

/* One that is in no message. */
static struct get_ask *other_ask(struct get_ask *ask)
{
    return ask == &ask->get->asks[0] ? &ask->get->asks[1] : &ask->get->asks[0];
}

/* The ask has left its message. */
static void one_failed(struct get_ask *ask, int error)
{
    struct transaction_get *get = ask->get;

    get->tried |= replica_bit(ask->replica);
    if (list_linked(&other_ask(ask)->link) && error != ERROR_WRONG_SHARD_SERVER) {
        PROBE(get->call.env, "one of two replicas failed: the other decides");
        return;
    }
    if (error == ERROR_WRONG_SHARD_SERVER) {
        PROBE(get->call.env, "a get's key is not where it was thought to be");
        list_remove(&other_ask(ask)->link); /* it may be long in answering, and who has the shard now may not */
        again_with_new_location(get);
        return;
    }
    if (error == ERROR_TRANSACTION_TOO_OLD)
        get_fail(get, error);
    else if (another_is_left(get))
        dispatch(get);
    else if (client_error_is_transport(error))
        again_with_new_location(get);
    else
        get_fail(get, error);
}

/* ---- messages ---- */

static void give_answers(struct get_batch *batch, const struct get_values_reply *reply)
{
    while (!list_empty(&batch->asks)) {
        struct get_ask *ask = pop_ask(&batch->asks);
        struct transaction_get *get = ask->get;
        const struct value *value = &reply->values[ask->slot];

        if (value->version != 0 && value->version != get->version) {
            client_refuse(get->txn->client, "a get was answered at another version");
            one_failed(ask, ERROR_BROKEN_PROMISE);
        } else if (value->error == 0 && BUGGIFY_ONE_IN(get->call.env, 64, "a get that was answered is asked of another replica"))
            one_failed(ask, ERROR_BROKEN_PROMISE);
        else if (value->error == 0) {
            if (ask->is_second && list_linked(&other_ask(ask)->link))
                PROBE(get->call.env, "the second replica answers a get first");
            succeed(get, value->present, value->value);
        } else
            one_failed(ask, (int)value->error);
    }
}

static void fail_all(struct get_batch *batch, int error)
{
    while (!list_empty(&batch->asks))
        one_failed(pop_ask(&batch->asks), error);
}

static void batch_ended(struct client_request *request, int error)
{
    struct get_batch *batch = container_of(request, struct get_batch, request);
    struct client *client = request->client;
    const struct get_values_reply *reply;

    second_stop(&batch->second);
    server_left(batch->server, batch->count);
    if (error == 0) {
        reply = MESSAGE_BODY(get_values_reply, request->rpc.reply);
        server_answered(client, batch->server, client->env->turn_us - request->op.started_us);
        if (reply->values_count == batch->count)
            give_answers(batch, reply);
        else /* it lies */
            fail_all(batch, ERROR_BROKEN_PROMISE);
    } else {
        PROBE(client->env, "a get failed at one replica");
        server_failed(client, batch->server, client->env->turn_us - request->op.started_us);
        if (client->destroying)
            while (!list_empty(&batch->asks))
                get_fail(list_entry(batch->asks.next, struct get_ask, link)->get, ERROR_OPERATION_CANCELLED);
        fail_all(batch, error);
    }
    server_unref(client, batch->server);
    rpc_call_clear(&request->rpc);
    mem_free(batch);
}

/* Moves waiting gets into the batch and its message. */
static int fill(struct get_batch *batch, struct message *message, struct get_values *body)
{
    struct client_server *server = batch->server;
    uint32_t count = server->get_count < GETS_PER_MESSAGE_MAX ? server->get_count : GETS_PER_MESSAGE_MAX;

    if (BUGGIFY(batch->request.client->env, "a message of gets holds one"))
        count = 1;
    body->gets = arena_alloc(&message->arena, count * sizeof(body->gets[0]));
    if (body->gets == NULL)
        return ERROR_OUT_OF_MEMORY;
    while (batch->count < count && !list_empty(&server->gets)) {
        struct get_ask *ask = list_entry(server->gets.next, struct get_ask, link);
        struct get_value *at = &body->gets[batch->count];

        if (arena_copy(&message->arena, bytes_buffer_bytes(&ask->get->key), &at->key) != 0)
            return ERROR_OUT_OF_MEMORY;
        at->version = ask->get->version;
        read_tags_add(&message->arena, ask->get->txn, &body->tags, &body->tags_count);
        ask->slot = batch->count++;
        batch->first_count += !ask->is_second;
        list_remove(&ask->link);
        list_push_back(&batch->asks, &ask->link);
    }
    body->gets_count = batch->count;
    server->get_count = list_empty(&server->gets) ? 0 : server->get_count - batch->count;
    return 0;
}

static void enqueue(struct get_ask *ask, struct transaction_get *get, struct client_server *server, uint32_t replica)
{
    struct client *client = get->txn->client;

    ask->get = get;
    ask->replica = replica;
    ask->is_second = false;
    list_push_back(&server->gets, &ask->link);
    server->get_count++;
    if (!list_linked(&server->dirty))
        list_push_back(&client->dirty_servers, &server->dirty);
    client_turn_end(client);
}

static void ask_another(struct get_ask *ask, const struct client_server *first)
{
    struct transaction_get *get = ask->get;
    struct client *client = get->txn->client;
    const struct client_location *location = location_find(client, bytes_buffer_bytes(&get->key), false);
    struct client_server *server;
    uint32_t replica;

    if (location == NULL || list_linked(&other_ask(ask)->link))
        return;
    if (location->number != get->located) { /* it was looked up again for another key: perhaps the shard has moved away from who is late */
        get->located = location->number;
        get->tried = 0;
        ask->replica = location_replica(location, first);
    }
    server = second_pick(client, location, first, get->tried, &replica);
    if (server == NULL)
        return;
    enqueue(other_ask(ask), get, server, replica);
    other_ask(ask)->is_second = true;
}

static void batch_late(struct second_request *second)
{
    struct get_batch *batch = container_of(second, struct get_batch, second);

    list_each(link, after, &batch->asks)
        ask_another(list_entry(link, struct get_ask, link), batch->server);
}

static bool send_gets(struct client *client, struct client_server *server)
{
    struct get_batch *batch = mem_zalloc(sizeof(*batch));
    struct message *message = NULL;
    struct get_values *body = batch == NULL ? NULL : MESSAGE_NEW(get_values, &message);

    if (batch == NULL || body == NULL) {
        mem_free(batch);
        return false;
    }
    batch->server = server;
    list_init(&batch->asks);
    batch->request.client = client;
    batch->request.ended = batch_ended;
    if (fill(batch, message, body) != 0) {
        list_splice(&server->gets, &batch->asks);
        message_unref(message);
        mem_free(batch);
        return false;
    }
    server->refs++;
    server_sent(server, batch->count);
    second_start(&batch->second, client, server, batch->first_count, batch_late);
    client_request_start(&batch->request, client, server->endpoint, message, client->env->knobs.client_request_timeout_us);
    return true;
}

static void flush_server(struct client *client, struct client_server *server)
{
    while (!list_empty(&server->gets))
        if (!send_gets(client, server))
            break;
    while (!list_empty(&server->gets)) { /* no memory */
        struct get_ask *ask = pop_ask(&server->gets);

        if (!list_linked(&other_ask(ask)->link))
            get_fail(ask->get, ERROR_OUT_OF_MEMORY);
    }
    server->get_count = 0;
}

void gets_flush(struct client *client)
{
    while (!list_empty(&client->dirty_servers)) {
        struct client_server *server = list_entry(list_pop_front(&client->dirty_servers), struct client_server, dirty);

        server->refs++;
        flush_server(client, server);
        server_unref(client, server);
    }
}

/* ---- the way there ---- */

static void located(struct client_locate *locate)
{
    dispatch(container_of(locate, struct transaction_get, locate));
}

static void dispatch(struct transaction_get *get)
{
    struct client *client = get->txn->client;
    struct bytes key = bytes_buffer_bytes(&get->key);
    const struct client_location *location;
    struct client_server *server;
    uint32_t replica;

    if (BUGGIFY_ONE_IN(client->env, 32, "a client forgets where a key is before it reads it"))
        location_forget(client, key, false);
    location = location_find(client, key, false);
    if (location == NULL) {
        get->locate = (struct client_locate){.key = key, .got = located};
        get->tried = 0;
        locate_ask(client, &get->locate);
        return;
    }
    if (location->number != get->located)
        get->tried = 0;
    get->located = location->number;
    server = location_pick(client, location, get->tried, &replica);
    if (server == NULL)
        again_with_new_location(get);
    else
        enqueue(&get->asks[0], get, server, replica);
}

void get_version_known(struct transaction_get *get, version_t version)
{
    get->version = version;
    dispatch(get);
}

/* Under the lock: true when the own writes say it all, or it fails. */
static bool answer_from_own(struct transaction_get *get, struct transaction *txn, bool snapshot, int *ret_error)
{
    struct bytes key = bytes_buffer_bytes(&get->key);
    bool look = !txn->ryw_off && !(snapshot && txn->settings.snapshot_ryw_off);
    struct ryw_value own = {.kind = RYW_UNKNOWN};

    if (look)
        ryw_get(&txn->ryw, key, &own);
    *ret_error = 0;
    if (own.kind == RYW_UNREADABLE && !txn->settings.bypass_unreadable) {
        *ret_error = ERROR_ACCESSED_UNREADABLE;
        if (txn->read_error == 0)
            txn->read_error = *ret_error;
        return true;
    }
    if (own.kind == RYW_SET || own.kind == RYW_CLEARED) {
        *ret_error = keep_value(get, own.kind == RYW_SET, own.value);
        return true;
    }
    get->ops = own.kind == RYW_OPS ? own.ops : NULL;
    if (!snapshot)
        *ret_error = conflict_range_append_point(&txn->read_conflicts, key);
    if (!snapshot && *ret_error == 0)
        transaction_charge_conflict(txn, 2 * key.len + 1);
    return *ret_error != 0;
}

bool transaction_get_prepare(struct transaction_get *get, struct transaction *txn, struct bytes key, bool snapshot)
{
    bool answered = true;
    int error;

    get->txn = txn;
    get->ops = NULL;
    get->tried = 0;
    get->delay_us = 0;
    get->version = VERSION_NONE;
    transaction_lock(txn);
    get->incarnation = transaction_incarnation(txn);
    error = transaction_failure(txn);
    if (error == 0)
        error = transaction_check_read(txn, key, false);
    if (error == 0)
        error = bytes_buffer_set(&get->key, key);
    if (error == 0)
        answered = answer_from_own(get, txn, snapshot, &error);
    txn->touched = true;
    transaction_unlock(txn);
    get->call.error = error;
    return answered;
}

void transaction_get_submit(struct transaction_get *get, struct op *op)
{
    struct transaction *txn = get->txn;
    version_t version;

    transaction_call_begin(txn, &get->call, op, cancelled);
    list_push_back(&txn->gets, &get->call.link);
    transaction_begun(txn, get->incarnation);
    if (!get->call.under_way)
        return;
    if (transaction_version_or_ask(txn, &version))
        get_version_known(get, version);
}

void transaction_get_start(struct transaction_get *get, struct op *op, struct transaction *txn, struct bytes key, bool snapshot)
{
    int error;

    if (!transaction_get_prepare(get, txn, key, snapshot)) {
        transaction_get_submit(get, op);
        return;
    }
    error = get->call.error;
    transaction_call_begin(txn, &get->call, op, cancelled);
    client_call_end(&get->call, error);
}

void transaction_get_done(struct transaction_get *get)
{
    client_call_cancel(&get->call);
    bytes_buffer_done(&get->key);
    bytes_buffer_done(&get->value);
}
