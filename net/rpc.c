/* The rpc's life and its serving side: endpoints, requests, answers.
 *
 * A request reaches its handler through the ready queue of its priority, never from inside the reading of bytes: so one
 * connection's flood does not keep another's commits waiting, and a handler may do anything to the rpc. Between arrival and
 * handler it is on rpc->queued; after that it is the handler's until exactly one of reply, fail, drop. */
#include "net/rpc_internal.h"

#include <assert.h>

#include "net/buggify.h"
#include "net/mem.h"
#include "net/trace.h"

#define SELF struct rpc_hello
SCHEMA_DEFINE(rpc_hello, fields_rpc_hello)
#undef SELF
#define SELF struct rpc_error
SCHEMA_DEFINE(rpc_error, fields_rpc_error)
#undef SELF
#define SELF struct rpc_nothing
SCHEMA_DEFINE(rpc_nothing, fields_rpc_nothing)
#undef SELF

const struct message_type rpc_type_hello = {
    .id = RPC_TYPE_HELLO, .name = "hello", .schema = &schema_rpc_hello, .senders = SENDER_ANY};
const struct message_type rpc_type_ping = {
    .id = RPC_TYPE_PING, .name = "ping", .schema = &schema_rpc_nothing, .senders = SENDER_ANY};
const struct message_type rpc_type_pong = {
    .id = RPC_TYPE_PONG, .name = "pong", .schema = &schema_rpc_nothing, .senders = SENDER_ANY};
const struct message_type rpc_type_error = {
    .id = RPC_TYPE_ERROR, .name = "error", .schema = &schema_rpc_error, .senders = SENDER_ANY};

/* ---- life ---- */

static void check_types(const struct rpc_options *options)
{
    for (size_t i = 0; i < options->type_count; i++) {
        assert(options->types[i] == NULL || i >= RPC_TYPE_FIRST);
        assert(options->types[i] == NULL || options->types[i]->id == i);
    }
}

static void flush(struct ready *ready)
{
    conn_flush_all(container_of(ready, struct rpc, flush));
}

static void fail_calls(struct ready *ready)
{
    struct rpc *rpc = container_of(ready, struct rpc, fail);

    while (!list_empty(&rpc->failed)) {
        struct rpc_call *call = list_entry(rpc->failed.next, struct rpc_call, link);

        rpc_call_complete(call, call->error, NULL);
    }
}

/* Everything that needs a look now and then, by one timer that runs only while there is something to look at. */
static void sweep(struct env_timer *timer)
{
    struct rpc *rpc = container_of(timer, struct rpc, sweep);
    int64_t now_us = env_now_us(rpc->env);
    bool more = false;

    list_each(link, after, &rpc->conns) {
        struct rpc_conn *conn = list_entry(link, struct rpc_conn, link);

        if (conn->peer == NULL && now_us - conn->heard_us > ACCEPTED_SILENCE_US)
            conn_close(conn, ERROR_CONNECTION_IDLE);
    }
    for (int i = 0; i < PEER_BUCKETS; i++) {
        list_each(link, after, &rpc->peers[i])
            peer_sweep(list_entry(link, struct rpc_peer, link), now_us);
        more |= !list_empty(&rpc->peers[i]);
    }
    if (more || !list_empty(&rpc->conns))
        env_timer_start(rpc->env, &rpc->sweep, now_us + IDLE_US);
}

void rpc_sweep_later(struct rpc *rpc)
{
    if (rpc->sweep.heap_index_plus_1 == 0)
        env_timer_start(rpc->env, &rpc->sweep, env_now_us(rpc->env) + IDLE_US);
}

int rpc_create(struct env *env, const struct rpc_options *options, struct rpc **ret_rpc)
{
    struct rpc *rpc = mem_zalloc(sizeof(*rpc));

    if (rpc == NULL)
        return ERROR_OUT_OF_MEMORY;
    check_types(options);
    assert(!options->client || options->public_address.port == 0);
    rpc->env = env;
    rpc->options = *options;
    if (options->listen_address.port == 0)
        rpc->options.listen_address = options->public_address;
    for (int i = 0; i < PEER_BUCKETS; i++)
        list_init(&rpc->peers[i]);
    for (int i = 0; i < ENDPOINT_BUCKETS; i++)
        list_init(&rpc->endpoints[i]);
    list_init(&rpc->conns);
    list_init(&rpc->dirty);
    list_init(&rpc->failed);
    list_init(&rpc->queued);
    rpc->flush.run = flush;
    rpc->fail.run = fail_calls;
    rpc->sweep.fire = sweep;
    rpc->bad_traced_us = INT64_MIN / 2;
    *ret_rpc = rpc;
    return 0;
}

int rpc_listen(struct rpc *rpc)
{
    assert(!rpc->options.client && rpc->listener == NULL);
    return env_listen(rpc->env, rpc->options.listen_address, &conn_listener_events, rpc, &rpc->listener);
}

/* Takes it off every list and frees it; the answer, if any, has been given. */
static void release(struct rpc_request *request)
{
    struct rpc *rpc = request->rpc;

    env_ready_cancel(&request->ready);
    list_remove(&request->conn_link);
    if (request->local_call != NULL)
        request->local_call->local_request = NULL;
    message_unref(request->message);
    assert(rpc->requests_live > 0);
    rpc->requests_live--;
    mem_free(request);
}

static void drop_queued(struct rpc *rpc)
{
    while (!list_empty(&rpc->queued)) {
        struct rpc_request *request = list_entry(rpc->queued.next, struct rpc_request, link);

        assert(request->local_call == NULL);
        list_remove(&request->link);
        release(request);
    }
}

void rpc_destroy(struct rpc *rpc)
{
    if (rpc == NULL)
        return;
    drop_queued(rpc);
    assert(rpc->requests_live == 0 && list_empty(&rpc->failed));
    env_listener_close(rpc->listener, rpc->env);
    for (int i = 0; i < PEER_BUCKETS; i++) {
        list_each(link, after, &rpc->peers[i])
            peer_destroy(list_entry(link, struct rpc_peer, link));
    }
    while (!list_empty(&rpc->conns))
        conn_close(list_entry(rpc->conns.next, struct rpc_conn, link), ERROR_CONNECTION_FAILED);
    for (int i = 0; i < ENDPOINT_BUCKETS; i++) {
        list_each(link, after, &rpc->endpoints[i])
            mem_free(list_entry(link, struct rpc_endpoint, link));
    }
    env_ready_cancel(&rpc->flush);
    env_ready_cancel(&rpc->fail);
    env_timer_cancel(rpc->env, &rpc->sweep);
    mem_free(rpc);
}

struct env *rpc_env(struct rpc *rpc)
{
    return rpc->env;
}

struct address rpc_address(const struct rpc *rpc)
{
    return rpc->options.public_address;
}

void rpc_set_cluster_id(struct rpc *rpc, struct uid cluster_id)
{
    rpc->options.cluster_id = cluster_id;
    if (uid_is_none(cluster_id))
        return;
    list_each(link, after, &rpc->conns) {
        struct rpc_conn *conn = list_entry(link, struct rpc_conn, link);

        if (conn->state == CONN_LIVE && !uid_is_none(conn->cluster_id) && !uid_equal(conn->cluster_id, cluster_id)) {
            rpc->counters.wrong_cluster++;
            conn_close(conn, ERROR_INVALID_CLUSTER_ID);
        }
    }
}

struct uid rpc_cluster_id(const struct rpc *rpc)
{
    return rpc->options.cluster_id;
}

const struct rpc_counters *rpc_counters(const struct rpc *rpc)
{
    return &rpc->counters;
}

const struct message_type *rpc_type(const struct rpc *rpc, uint16_t id)
{
    return id >= RPC_TYPE_FIRST && id < rpc->options.type_count ? rpc->options.types[id] : NULL;
}

int rpc_recode(const struct message *message, struct message **ret_copy)
{
    struct bytes_buffer packed = {0};
    int error = message_encode(message->type->schema, message->body, &packed);

    if (error == 0)
        error = message_from_packed(message->type, bytes_buffer_bytes(&packed), ret_copy);
    bytes_buffer_done(&packed);
    return error;
}

/* ---- endpoints ---- */

static struct list *endpoint_bucket(struct rpc *rpc, uint64_t id)
{
    return &rpc->endpoints[(id * UINT64_C(0x9e3779b97f4a7c15)) >> 58];
}
_Static_assert(ENDPOINT_BUCKETS == 1 << (64 - 58), "the hash fits the buckets");

static struct rpc_endpoint *find_endpoint(struct rpc *rpc, uint64_t id)
{
    struct list *bucket = endpoint_bucket(rpc, id);

    list_each(link, after, bucket) {
        struct rpc_endpoint *endpoint = list_entry(link, struct rpc_endpoint, link);

        if (endpoint->id == id)
            return endpoint;
    }
    return NULL;
}

/* Only servers serve, and a server's failed allocation ends the process: nothing to return. */
void rpc_register(struct rpc *rpc, uint64_t endpoint_id, rpc_handler *handler, void *ctx)
{
    struct rpc_endpoint *endpoint = mem_zalloc(sizeof(*endpoint));

    assert(endpoint != NULL);
    assert(find_endpoint(rpc, endpoint_id) == NULL);
    endpoint->id = endpoint_id;
    endpoint->handler = handler;
    endpoint->ctx = ctx;
    list_push_back(endpoint_bucket(rpc, endpoint_id), &endpoint->link);
}

void rpc_unregister(struct rpc *rpc, uint64_t endpoint_id)
{
    struct rpc_endpoint *endpoint = find_endpoint(rpc, endpoint_id);

    if (endpoint == NULL)
        return;
    list_remove(&endpoint->link);
    mem_free(endpoint);
}

/* ---- requests ---- */

void rpc_observe_local(struct rpc *rpc, const struct observed_message *message)
{
    if (__builtin_expect(rpc->env->observer != NULL, 0))
        rpc->env->observer->handed_over(rpc->env->observer, rpc->env, message);
}

static void hand_over(struct ready *ready)
{
    struct rpc_request *request = container_of(ready, struct rpc_request, ready);
    struct rpc *rpc = request->rpc;
    struct rpc_endpoint *endpoint = find_endpoint(rpc, request->endpoint_id);

    if (BUGGIFY_ONE_IN(rpc->env, 16, "a request is handled after some that came later")) {
        env_ready(rpc->env, &request->ready, READY_READ);
        return;
    }
    list_remove(&request->link);
    if (request->conn != NULL)
        conn_request_started(request->conn, request->queued_bytes);
    if (endpoint == NULL) {
        rpc->counters.no_endpoint++;
        PROBE(rpc->env, "a request finds no such endpoint");
        rpc_drop(request);
        return;
    }
    endpoint->handler(endpoint->ctx, request);
}

struct rpc_request *rpc_request_queue(struct rpc *rpc, struct message *message, struct rpc_conn *conn, uint64_t endpoint_id,
                                      uint64_t request_id)
{
    struct rpc_request *request = mem_zalloc(sizeof(*request));

    if (request == NULL) {
        message_unref(message);
        return NULL;
    }
    request->message = message;
    request->peer = conn != NULL ? conn->remote : rpc->options.public_address;
    request->from_client = conn != NULL ? conn->from_client : rpc->options.client;
    request->one_way = request_id == 0;
    request->rpc = rpc;
    request->conn = conn;
    request->request_id = request_id;
    request->endpoint_id = endpoint_id;
    request->queued_bytes = sizeof(*request) + message->encoded_bytes;
    request->ready.run = hand_over;
    rpc->requests_live++;
    list_push_back(&rpc->queued, &request->link);
    if (conn != NULL)
        list_push_back(&conn->requests, &request->conn_link);
    env_ready(rpc->env, &request->ready, message->type->priority == PRIORITY_COMMIT ? READY_COMMIT : READY_READ);
    return request;
}

bool rpc_request_alive(const struct rpc_request *request)
{
    return !request->one_way && (request->local_call != NULL || request->conn != NULL);
}

/* ---- answers ---- */

static void answer_local(struct rpc_request *request, int error, struct message *reply)
{
    struct rpc_call *call = request->local_call;
    struct env *env = request->rpc->env;
    uint64_t cause = observed_cause(env);
    struct message *copy;

    rpc_observe_local(request->rpc, &(struct observed_message){.type = reply == NULL ? NULL : reply->type,
                                                               .body = reply == NULL ? NULL : reply->body,
                                                               .call = call, .reply = true, .error = error});
    request->local_call = NULL;
    call->local_request = NULL;
    if (reply != NULL && request->rpc->env->knobs.rpc_encode_local) {
        error = rpc_recode(reply, &copy);
        message_unref(reply);
        reply = error == 0 ? copy : NULL;
    }
    rpc_call_complete(call, error, reply);
    observed_set_cause(env, cause);
}

/* Out of memory (in a client library alone) leaves the caller without an answer; closing is what it can notice. */
static void answer_remote_error(struct rpc_request *request, int error)
{
    struct frame head = {.type = RPC_TYPE_ERROR, .what = FRAME_ERROR, .request_id = request->request_id};
    struct rpc_error body = {.code = (uint32_t)error};

    assert(error > 0);
    if (conn_frame(request->conn, &head, &schema_rpc_error, &body) != 0)
        conn_close(request->conn, ERROR_CONNECTION_FAILED);
}

bool rpc_request_is_remote(const struct rpc_request *request)
{
    return request->local_call == NULL;
}

static void answer_remote(struct rpc_request *request, struct message *reply)
{
    struct frame head = {.type = reply->type->id, .what = FRAME_REPLY, .request_id = request->request_id};
    int error = conn_frame(request->conn, &head, reply->type->schema, reply->body);

    message_unref(reply);
    if (error != 0)
        answer_remote_error(request, error);
}

static void break_instead(struct rpc_request *request, struct message *reply)
{
    message_unref(reply);
    conn_close(request->conn, ERROR_CONNECTION_FAILED);
}

void rpc_reply(struct rpc_request *request, struct message *reply)
{
    assert(reply != NULL);
    assert(request->one_way || reply->type == request->message->type->reply);
    if (!rpc_request_alive(request))
        message_unref(reply);
    else if (request->local_call != NULL)
        answer_local(request, 0, reply);
    else if (BUGGIFY_ONE_IN(request->rpc->env, 1000, "the connection breaks when a request that was done is answered"))
        break_instead(request, reply);
    else
        answer_remote(request, reply);
    release(request);
}

void rpc_fail(struct rpc_request *request, int error)
{
    assert(error > 0);
    if (rpc_request_alive(request)) {
        if (request->local_call != NULL)
            answer_local(request, error, NULL);
        else
            answer_remote_error(request, error);
    }
    release(request);
}

void rpc_drop(struct rpc_request *request)
{
    rpc_fail(request, ERROR_BROKEN_PROMISE);
}
