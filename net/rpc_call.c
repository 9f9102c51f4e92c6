/* The calling side: a call is a wait of its op, and leaves a request either on a connection, in a peer's queue, or on the
 * process's own ready queue.
 *
 * A call that fails while it is started goes to rpc->failed, from where the ready queue completes it: the caller may still be
 * adding it to a gather. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#include "net/buggify.h"
#include "net/mem.h"
#include "net/rpc_internal.h"

/* ---- request ids: a slot for looking up, a number so that no late reply fits another call ---- */

static int grow_slots(struct rpc_conn *conn)
{
    uint32_t capacity = conn->slot_capacity == 0 ? 16 : conn->slot_capacity * 2;
    struct rpc_slot *grown;

    if (capacity > UINT32_C(1) << SLOT_BITS)
        return ERROR_OUT_OF_MEMORY;
    grown = mem_realloc(conn->slots, capacity * sizeof(*grown));
    if (grown == NULL)
        return ERROR_OUT_OF_MEMORY;
    conn->slots = grown;
    conn->slot_capacity = capacity;
    return 0;
}

int conn_slot_take(struct rpc_conn *conn, struct rpc_call *call)
{
    uint32_t slot = conn->free_slot - 1;
    uint64_t number = conn->next_number++ << SLOT_BITS;

    if (conn->free_slot != 0) {
        conn->free_slot = conn->slots[slot].next_free;
    } else {
        if (conn->slot_count == conn->slot_capacity && grow_slots(conn) != 0)
            return ERROR_OUT_OF_MEMORY;
        slot = conn->slot_count++;
    }
    if (number == 0) /* 0 is no request id */
        number = conn->next_number++ << SLOT_BITS;
    conn->slots[slot] = (struct rpc_slot){.call = call};
    call->request_id = number | slot;
    return 0;
}

static uint32_t slot_of(uint64_t request_id)
{
    return (uint32_t)(request_id & ((UINT64_C(1) << SLOT_BITS) - 1));
}

void conn_slot_free(struct rpc_conn *conn, uint64_t request_id)
{
    uint32_t slot = slot_of(request_id);

    assert(slot < conn->slot_count && conn->slots[slot].call != NULL);
    conn->slots[slot] = (struct rpc_slot){.next_free = conn->free_slot};
    conn->free_slot = slot + 1;
}

struct rpc_call *conn_slot_find(const struct rpc_conn *conn, uint64_t request_id)
{
    uint32_t slot = slot_of(request_id);
    struct rpc_call *call = slot < conn->slot_count ? conn->slots[slot].call : NULL;

    return call != NULL && call->request_id == request_id ? call : NULL;
}

/* ---- life of a call ---- */

/* Out of whatever holds it: slot, peer's list, failed list, the local request. */
static void detach(struct rpc_call *call)
{
    env_timer_cancel(call->rpc->env, &call->timeout);
    if (call->peer != NULL && call->sent)
        conn_slot_free(call->peer->conn, call->request_id);
    list_remove(&call->link);
    if (call->local_request != NULL)
        call->local_request->local_call = NULL;
    call->local_request = NULL;
    call->peer = NULL;
    call->sent = false;
    message_unref(call->request);
    call->request = NULL;
}

static void call_cancel(struct wait *wait)
{
    detach(container_of(wait, struct rpc_call, wait));
}

static void call_print(const struct wait *wait, char *out, size_t out_size)
{
    const struct rpc_call *call = container_of(wait, struct rpc_call, wait);
    char to[ADDRESS_TEXT_MAX] = "itself";

    if (call->peer != NULL)
        address_print(call->peer->address, to);
    snprintf(out, out_size, "%s from %s request=%" PRIu64 "%s", call->reply_type->name, to, call->request_id,
             call->sent || call->local_request != NULL ? "" : ", not sent yet");
}

static const struct wait_type call_type = {"call", call_cancel, call_print};

void rpc_call_complete(struct rpc_call *call, int error, struct message *reply)
{
    assert((error == 0) == (reply != NULL));
    assert(reply == NULL || reply->type == call->reply_type);
    detach(call);
    call->error = error;
    call->reply = reply;
    wait_complete(&call->wait, error == 0);
}

static void timed_out(struct env_timer *timer)
{
    struct rpc_call *call = container_of(timer, struct rpc_call, timeout);

    if (call->sent && call->peer != NULL && call->peer->conn != NULL)
        conn_doubted(call->peer->conn, call->started_us);
    if (!call->sent)
        PROBE(call->rpc->env, "a call times out before it could be sent");
    rpc_call_complete(call, ERROR_TIMED_OUT, NULL);
}

static void fail_later(struct rpc_call *call, int error)
{
    call->error = error;
    list_push_back(&call->rpc->failed, &call->link);
    env_ready(call->rpc->env, &call->rpc->fail, READY_COMMIT);
}

/* ---- to the own process ---- */

static bool is_local(const struct rpc *rpc, struct address address)
{
    return address_equal(address, rpc->options.public_address) && rpc->env->knobs.rpc_encode_local < 2;
}

/* Takes over the reference on `message`, returns one of what the other side sees. */
static int local_message(struct rpc *rpc, struct message *message, struct message **ret_seen)
{
    int error;

    *ret_seen = message;
    if (rpc->env->knobs.rpc_encode_local == 0)
        return 0;
    error = rpc_recode(message, ret_seen);
    message_unref(message);
    return error;
}

static void call_local(struct rpc_call *call)
{
    struct rpc *rpc = call->rpc;
    struct message *seen = NULL;
    uint64_t cause = observed_cause(rpc->env);
    int error = local_message(rpc, call->request, &seen);

    if (error == 0)
        rpc_observe_local(rpc, &(struct observed_message){
                                   .type = seen->type, .body = seen->body, .endpoint_id = call->endpoint_id, .call = call});
    call->request = NULL;
    rpc->counters.local++;
    if (error == 0)
        call->local_request = rpc_request_queue(rpc, seen, NULL, call->endpoint_id, 1);
    if (call->local_request != NULL)
        call->local_request->local_call = call;
    else
        fail_later(call, error != 0 ? error : ERROR_OUT_OF_MEMORY);
    observed_set_cause(rpc->env, cause);
}

/* ---- to a peer ---- */

/* Puts the request of a call that is in no list on the live connection. */
static int send_request(struct rpc_call *call, struct rpc_conn *conn)
{
    struct frame head = {.type = call->request->type->id, .what = FRAME_REQUEST, .endpoint_id = call->endpoint_id};
    int error = conn_slot_take(conn, call);

    if (error != 0)
        return error;
    head.request_id = call->request_id;
    error = conn_frame(conn, &head, call->request->type->schema, call->request->body);
    if (error != 0) {
        conn_slot_free(conn, call->request_id);
        return error;
    }
    call->sent = true;
    list_push_back(&call->peer->sent, &call->link);
    message_unref(call->request);
    call->request = NULL;
    conn_awaited(conn);
    return 0;
}

static void call_peer(struct rpc_call *call, struct address address)
{
    struct rpc_peer *peer = peer_obtain(call->rpc, address);
    int error;

    if (peer == NULL) {
        fail_later(call, ERROR_OUT_OF_MEMORY);
        return;
    }
    call->peer = peer;
    if (peer->conn == NULL || peer->conn->state != CONN_LIVE) {
        list_push_back(&peer->unsent, &call->link);
        peer_need(peer);
        return;
    }
    error = send_request(call, peer->conn);
    if (error == 0)
        return;
    call->peer = NULL;
    fail_later(call, error);
}

/* What has waited for the connection goes out, in the order in which it was asked for. */
void peer_live(struct rpc_peer *peer)
{
    struct list waiting;

    list_init(&waiting);
    list_splice(&waiting, &peer->unsent);
    while (!list_empty(&waiting)) {
        struct rpc_call *call = list_entry(list_pop_front(&waiting), struct rpc_call, link);
        int error = send_request(call, peer->conn);

        if (error != 0)
            rpc_call_complete(call, error, NULL);
    }
    while (!list_empty(&peer->sends)) {
        struct rpc_outgoing *out = list_entry(list_pop_front(&peer->sends), struct rpc_outgoing, link);
        struct frame head = {.type = out->message->type->id, .what = FRAME_REQUEST, .endpoint_id = out->endpoint_id};

        peer->send_count--;
        (void)conn_frame(peer->conn, &head, out->message->type->schema, out->message->body);
        message_unref(out->message);
        mem_free(out);
    }
}

void rpc_call_start(struct rpc_call *call, struct op *op, struct rpc *rpc, const struct endpoint *to, struct message *request,
                    int64_t timeout_us)
{
    assert(request->type->reply != NULL);
    message_unref(call->reply);
    wait_begin(&call->wait, op, &call_type);
    call->rpc = rpc;
    call->error = 0;
    call->reply = NULL;
    call->peer = NULL;
    call->sent = false;
    call->local_request = NULL;
    call->request = request;
    call->reply_type = request->type->reply;
    call->endpoint_id = to->id;
    call->started_us = rpc->env->turn_us;
    call->timeout.fire = timed_out;
    rpc->counters.calls++;
    if (timeout_us > 0 && BUGGIFY_ONE_IN(rpc->env, 64, "a call times out after a tenth of its time"))
        timeout_us = timeout_us / 10 + 1;
    if (timeout_us > 0)
        env_timer_start(rpc->env, &call->timeout, env_now_us(rpc->env) + timeout_us);
    if (is_local(rpc, to->address))
        call_local(call);
    else
        call_peer(call, to->address);
}

void rpc_call_clear(struct rpc_call *call)
{
    wait_cancel(&call->wait);
    message_unref(call->reply);
    call->reply = NULL;
}

struct message *rpc_call_take(struct rpc_call *call)
{
    struct message *reply = call->reply;

    call->reply = NULL;
    return reply;
}

/* ---- one way ---- */

static void send_later(struct rpc_peer *peer, uint64_t endpoint_id, struct message *message)
{
    struct rpc_outgoing *out;

    if (peer->send_count >= PEER_SENDS_MAX || peer_clock_us(peer) < peer->not_before_us)
        goto lost;
    out = mem_zalloc(sizeof(*out));
    if (out == NULL)
        goto lost;
    out->message = message;
    out->endpoint_id = endpoint_id;
    list_push_back(&peer->sends, &out->link);
    peer->send_count++;
    peer_need(peer);
    return;

lost:
    PROBE(peer->rpc->env, "a one-way message is lost: no connection, or too many wait for one");
    message_unref(message);
}

static void send_local(struct rpc *rpc, uint64_t endpoint_id, struct message *message)
{
    uint64_t cause = observed_cause(rpc->env);
    struct message *seen;

    rpc->counters.local++;
    if (local_message(rpc, message, &seen) != 0)
        return;
    rpc_observe_local(rpc, &(struct observed_message){.type = seen->type, .body = seen->body, .endpoint_id = endpoint_id});
    (void)rpc_request_queue(rpc, seen, NULL, endpoint_id, 0);
    observed_set_cause(rpc->env, cause);
}

static void doubt(struct rpc_peer *peer)
{
    struct env *env = peer->rpc->env;

    if (peer->conn != NULL)
        conn_doubted(peer->conn, env_now_us(env) - env->knobs.rpc_ping_interval_us);
}

void rpc_send(struct rpc *rpc, const struct endpoint *to, struct message *message)
{
    struct frame head = {.type = message->type->id, .what = FRAME_REQUEST, .endpoint_id = to->id};
    struct rpc_peer *peer;

    if (BUGGIFY_ONE_IN(rpc->env, 64, "a one-way message is lost on its way")) {
        message_unref(message);
        return;
    }
    if (is_local(rpc, to->address)) {
        send_local(rpc, to->id, message);
        return;
    }
    peer = peer_obtain(rpc, to->address);
    if (peer != NULL && (peer->conn == NULL || peer->conn->state != CONN_LIVE)) {
        send_later(peer, to->id, message);
        return;
    }
    if (peer != NULL)
        (void)conn_frame(peer->conn, &head, message->type->schema, message->body);
    if (peer != NULL && BUGGIFY_ONE_IN(rpc->env, 16, "a one-way message is sent twice"))
        (void)conn_frame(peer->conn, &head, message->type->schema, message->body);
    if (peer != NULL) /* nobody waits for an answer, and yet the other side may be gone */
        doubt(peer);
    message_unref(message);
}

void rpc_doubt(struct rpc *rpc, struct address address)
{
    struct rpc_peer *peer = is_local(rpc, address) ? NULL : peer_find(rpc, address);

    if (peer != NULL)
        doubt(peer);
}
