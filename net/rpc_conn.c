/* One connection: hello, reading frames, sending them once a turn, pings, and its end.
 *
 *   DIALLING --opened--> HELLO --their hello--> LIVE --> closed
 *   accepted: HELLO ------------'    '--refused, accepted--> CONDEMNED --> closed
 *
 * Frames are parsed straight from the bytes that arrived; only an incomplete one at their end is copied. What goes out is
 * collected in `out` and handed to the env at the end of the turn. Both buffers are freed when they are empty, so that a quiet
 * process is small.
 *
 * A refused dialler is not cut off at once: closing a socket with unread bytes resets it, and the hello that says why would be
 * lost. So the accepting side stops listening to it and gives it a moment; the dialler, who reads the hello, closes. */
#include <assert.h>

#include "net/buggify.h"
#include "net/mem.h"
#include "net/observe.h"
#include "net/rpc_internal.h"
#include "net/trace.h"

static const struct env_conn_events conn_events;

/* ---- life ---- */

static void conn_timer(struct env_timer *timer);

static struct rpc_conn *create(struct rpc *rpc, struct rpc_peer *peer, enum conn_state state)
{
    struct rpc_conn *conn = mem_zalloc(sizeof(*conn));
    int64_t now_us = env_now_us(rpc->env);

    if (conn == NULL)
        return NULL;
    conn->rpc = rpc;
    conn->peer = peer;
    conn->state = state;
    conn->heard_us = conn->used_us = now_us;
    conn->timer.fire = conn_timer;
    conn->next_number = env_random(rpc->env);
    list_init(&conn->requests);
    list_push_back(&rpc->conns, &conn->link);
    env_timer_start(rpc->env, &conn->timer, now_us + rpc->env->knobs.rpc_connect_timeout_us);
    rpc_sweep_later(rpc);
    return conn;
}

static void forget_requests(struct rpc_conn *conn)
{
    while (!list_empty(&conn->requests))
        list_entry(list_pop_front(&conn->requests), struct rpc_request, conn_link)->conn = NULL;
}

void conn_close(struct rpc_conn *conn, int error)
{
    struct rpc *rpc = conn->rpc;
    int64_t lived_us = conn->state == CONN_LIVE ? env_now_us(rpc->env) - conn->live_us : 0;

    if (conn->env_conn != NULL)
        env_conn_close(rpc->env, conn->env_conn);
    env_timer_cancel(rpc->env, &conn->timer);
    list_remove(&conn->link);
    list_remove(&conn->dirty);
    forget_requests(conn);
    if (conn->peer != NULL)
        peer_failed(conn->peer, error, lived_us > rpc->env->knobs.rpc_reconnect_delay_max_us);
    bytes_buffer_done(&conn->in);
    bytes_buffer_done(&conn->out);
    mem_free(conn->slots);
    mem_free(conn);
}

struct rpc_conn *conn_dial(struct rpc_peer *peer)
{
    struct rpc *rpc = peer->rpc;
    struct rpc_conn *conn = create(rpc, peer, CONN_DIALLING);

    if (conn == NULL)
        return NULL;
    if (env_connect(rpc->env, peer->address, &conn_events, conn, &conn->env_conn) == 0)
        return conn;
    rpc->counters.dial_failures++;
    conn->peer = NULL;
    conn_close(conn, ERROR_CONNECTION_FAILED);
    return NULL;
}

static void say_hello(struct rpc_conn *conn)
{
    const struct rpc_options *options = &conn->rpc->options;
    struct frame head = {.type = RPC_TYPE_HELLO};
    struct rpc_hello hello = {.version = QUOIN_PROTOCOL_VERSION,
                              .cluster_high = options->cluster_id.high,
                              .cluster_low = options->cluster_id.low,
                              .client = options->client,
                              .address = {options->public_address.ip, options->public_address.port}};

    conn->state = CONN_HELLO;
    (void)conn_frame(conn, &head, &schema_rpc_hello, &hello); /* out of memory: the time limit of the hello ends it */
}

static void on_accepted(void *ctx, struct env_conn *env_conn, struct address from)
{
    struct rpc *rpc = ctx;
    struct rpc_conn *conn = create(rpc, NULL, CONN_HELLO);

    (void)from;
    if (conn == NULL) {
        env_conn_close(rpc->env, env_conn);
        return;
    }
    rpc->counters.accepted++;
    conn->env_conn = env_conn;
    env_conn_adopt(rpc->env, env_conn, &conn_events, conn);
    if (BUGGIFY_ONE_IN(rpc->env, 16, "an accepted connection is closed before its hello"))
        conn_close(conn, ERROR_CONNECTION_FAILED);
    else
        say_hello(conn);
}

const struct env_listener_events conn_listener_events = {.accepted = on_accepted};

static void on_opened(void *ctx)
{
    say_hello(ctx);
}

static void on_closed(void *ctx, int error)
{
    struct rpc_conn *conn = ctx;

    (void)error;
    conn->env_conn = NULL;
    if (conn->peer != NULL && conn->state != CONN_LIVE)
        conn->rpc->counters.dial_failures++;
    conn_close(conn, ERROR_CONNECTION_FAILED);
}

/* ---- sending ---- */

int conn_frame(struct rpc_conn *conn, const struct frame *head, const struct schema *schema, const void *body)
{
    struct rpc *rpc = conn->rpc;
    struct observer *observer = rpc->env->observer;
    size_t start = conn->out.len;
    int error = frame_append(&conn->out, head, schema, body);

    if (error != 0)
        return error;
    if (__builtin_expect(observer != NULL, 0))
        observer->frame_out(observer, rpc->env, bytes_of(conn->out.ptr + start, conn->out.len - start));
    rpc->counters.frames_out++;
    if (rpc->env->turn_us > conn->used_us)
        conn->used_us = rpc->env->turn_us;
    if (!list_linked(&conn->dirty)) {
        list_push_back(&rpc->dirty, &conn->dirty);
        env_turn_end(rpc->env, &rpc->flush);
    }
    return 0;
}

static void conn_flush(struct rpc_conn *conn)
{
    struct rpc *rpc = conn->rpc;

    if (BUGGIFY_ONE_IN(rpc->env, 3000, "a connection breaks with the frames of a turn unsent")) {
        conn_close(conn, ERROR_CONNECTION_FAILED);
        return;
    }
    rpc->counters.bytes_out += conn->out.len;
    env_conn_send(rpc->env, conn->env_conn, &conn->out);
    assert(conn->out.len == 0);
    if (env_conn_unsent_bytes(rpc->env, conn->env_conn) <= (size_t)rpc->env->knobs.rpc_unsent_bytes_max &&
        (env_conn_unsent_bytes(rpc->env, conn->env_conn) == 0 ||
         !BUGGIFY_ONE_IN(rpc->env, 50, "a connection counts as overfull with little unsent")))
        return;
    rpc->counters.closed_overfull++;
    TRACE(rpc->env, SEVERITY_WARN, "ConnectionOverfull", {"Peer", trace_addr(conn->remote)});
    conn_close(conn, ERROR_CONNECTION_FAILED);
}

void conn_flush_all(struct rpc *rpc)
{
    while (!list_empty(&rpc->dirty))
        conn_flush(list_entry(list_pop_front(&rpc->dirty), struct rpc_conn, dirty));
}

/* ---- silence ---- */

/* Coarse, so that all connections of a process are looked at in the same few wake-ups. */
static void look_again(struct rpc_conn *conn, int64_t at_us)
{
    int64_t grain_us = conn->rpc->env->knobs.rpc_ping_interval_us / 4 + 1;

    env_timer_start(conn->rpc->env, &conn->timer, (at_us / grain_us + 1) * grain_us);
}

void conn_awaited(struct rpc_conn *conn)
{
    assert(conn->state == CONN_LIVE && conn->peer != NULL);
    if (conn->timer.heap_index_plus_1 != 0)
        return;
    conn->quiet_since_us = env_now_us(conn->rpc->env);
    conn->pinged_us = 0;
    look_again(conn, conn->quiet_since_us + conn->rpc->env->knobs.rpc_ping_interval_us);
}

static bool ping_is_out(const struct rpc_conn *conn)
{
    return conn->pinged_us != 0 && conn->heard_us < conn->pinged_us;
}

static void send_ping(struct rpc_conn *conn, int64_t now_us)
{
    struct frame head = {.type = RPC_TYPE_PING};
    struct rpc_nothing nothing;

    conn->pinged_us = now_us;
    (void)conn_frame(conn, &head, &schema_rpc_nothing, &nothing);
}

/* A ping must have been out for a while before silence counts: after a pause of this very process the bytes of the other side
 * may not have been read yet. */
static void check_silence(struct rpc_conn *conn)
{
    const struct knobs *knobs = &conn->rpc->env->knobs;
    int64_t interval_us = knobs->rpc_ping_interval_us, timeout_us = knobs->rpc_ping_timeout_us;
    int64_t grace_us = timeout_us - interval_us > timeout_us / 2 ? timeout_us - interval_us : timeout_us / 2;
    int64_t heard_us = conn->heard_us > conn->quiet_since_us ? conn->heard_us : conn->quiet_since_us;
    int64_t now_us = env_now_us(conn->rpc->env);

    if (conn->pinged_us != 0 && heard_us >= conn->pinged_us)
        conn->pinged_us = 0;
    if (conn->pinged_us != 0 && now_us - conn->pinged_us >= grace_us) {
        conn->rpc->counters.ping_timeouts++;
        PROBE(conn->rpc->env, "a connection closes because nothing answers its ping");
        TRACE(conn->rpc->env, SEVERITY_WARN, "ConnectionSilent", {"Peer", trace_addr(conn->peer->address)},
              {"SilenceUs", trace_int(now_us - heard_us)});
        conn_close(conn, ERROR_CONNECTION_FAILED);
        return;
    }
    if (conn->pinged_us == 0 &&
        (now_us - heard_us >= interval_us || BUGGIFY(conn->rpc->env, "a ping goes out although the peer was just heard")))
        send_ping(conn, now_us);
    look_again(conn, conn->pinged_us != 0 ? conn->pinged_us + grace_us : heard_us + interval_us);
}

static void conn_timer(struct env_timer *timer)
{
    struct rpc_conn *conn = container_of(timer, struct rpc_conn, timer);

    if (conn->state != CONN_LIVE) {
        PROBE(conn->rpc->env, "a connection gets no hello in time");
        if (conn->peer != NULL)
            conn->rpc->counters.dial_failures++;
        conn_close(conn, ERROR_CONNECTION_FAILED);
    } else if (peer_awaited(conn->peer) || ping_is_out(conn)) {
        check_silence(conn); /* a ping is waited for even if whoever caused it has given up */
    }
}

/* A caller gave up before silence did, or nobody waits for answers there, or somebody is about to: without this, callers that time out early and come back would start the silence
 * anew each time, and a connection whose other side has forgotten it would never be found out. */
void conn_doubted(struct rpc_conn *conn, int64_t since_us)
{
    if (conn->state != CONN_LIVE || conn->heard_us >= since_us || ping_is_out(conn))
        return;
    PROBE(conn->rpc->env, "a caller that gives up makes its connection doubtful");
    send_ping(conn, env_now_us(conn->rpc->env));
    check_silence(conn);
}

/* ---- receiving ---- */

/* A peer that floods us with bad frames must not fill the log. */
static bool reject(struct rpc_conn *conn, uint64_t *counter, const char *why)
{
    struct rpc *rpc = conn->rpc;
    int64_t now_us = env_now_us(rpc->env);

    rpc->counters.bad_frames++;
    ++*counter;
    PROBE(rpc->env, "a frame that is not valid closes its connection");
    if (now_us - rpc->bad_traced_us < BAD_FRAME_TRACE_US) {
        rpc->bad_untraced++;
    } else {
        TRACE(rpc->env, SEVERITY_WARN, "BadFrame", {"Why", trace_str(why)}, {"Untraced", trace_int((int64_t)rpc->bad_untraced)},
              {"Peer", trace_addr(conn->peer != NULL ? conn->peer->address : conn->remote)});
        rpc->bad_traced_us = now_us;
        rpc->bad_untraced = 0;
    }
    conn_close(conn, ERROR_CONNECTION_FAILED);
    return false;
}

static bool go_live(struct rpc_conn *conn)
{
    struct rpc_peer *seen;

    conn->state = CONN_LIVE;
    conn->live_us = env_now_us(conn->rpc->env);
    env_timer_cancel(conn->rpc->env, &conn->timer);
    if (conn->peer != NULL) {
        peer_live(conn->peer);
        if (peer_awaited(conn->peer))
            conn_awaited(conn);
        return true;
    }
    seen = conn->from_client ? NULL : peer_find(conn->rpc, conn->remote);
    if (seen != NULL)
        peer_seen(seen);
    return true;
}

static bool refuse(struct rpc_conn *conn, int error)
{
    TRACE(conn->rpc->env, SEVERITY_WARN, "PeerRefused", {"Why", trace_str(error_name(error))},
          {"Peer", trace_addr(conn->remote)});
    if (conn->peer != NULL) {
        conn->rpc->counters.dial_failures++;
        conn_close(conn, error);
        return false;
    }
    conn->state = CONN_CONDEMNED;
    env_timer_start(conn->rpc->env, &conn->timer, env_now_us(conn->rpc->env) + CONDEMNED_US);
    return true;
}

static bool take_hello(struct rpc_conn *conn, const struct frame *frame)
{
    struct rpc *rpc = conn->rpc;
    struct uid own = rpc->options.cluster_id;
    struct rpc_hello hello;
    struct arena none = {0};

    if (frame->type != RPC_TYPE_HELLO || frame->what != FRAME_REQUEST)
        return reject(conn, &rpc->counters.bad_type, "not a hello");
    if (message_decode(&schema_rpc_hello, frame->body, &none, &hello) != 0)
        return reject(conn, &rpc->counters.bad_body, "hello");
    if (hello.address.port > UINT16_MAX || (!hello.client && hello.address.port == 0))
        return reject(conn, &rpc->counters.bad_body, "a server without an address");
    conn->remote = (struct address){hello.address.ip, hello.address.port};
    conn->cluster_id = (struct uid){hello.cluster_high, hello.cluster_low};
    conn->from_client = hello.client;
    if (hello.version != QUOIN_PROTOCOL_VERSION) {
        rpc->counters.wrong_version++;
        rpc->counters.foreign_version = hello.version;
        return refuse(conn, ERROR_INCOMPATIBLE_PROTOCOL_VERSION);
    }
    if (!uid_is_none(own) && !uid_is_none(conn->cluster_id) && !uid_equal(own, conn->cluster_id)) {
        rpc->counters.wrong_cluster++;
        return refuse(conn, ERROR_INVALID_CLUSTER_ID);
    }
    return go_live(conn);
}

void conn_request_started(struct rpc_conn *conn, size_t bytes)
{
    assert(conn->queued_bytes >= bytes);
    conn->queued_bytes -= bytes;
    if (!conn->paused || conn->queued_bytes > CONN_QUEUED_BYTES_MAX / 2)
        return;
    PROBE(conn->rpc->env, "a connection is read again: its requests were handled");
    conn->paused = false;
    env_conn_pause(conn->rpc->env, conn->env_conn, false);
}

static bool queue_request(struct rpc_conn *conn, const struct frame *frame, struct message *message)
{
    struct rpc_request *request = rpc_request_queue(conn->rpc, message, conn, frame->endpoint_id, frame->request_id);

    if (request == NULL) {
        conn_close(conn, ERROR_CONNECTION_FAILED);
        return false;
    }
    conn->queued_bytes += request->queued_bytes;
    if (!conn->paused && (conn->queued_bytes > CONN_QUEUED_BYTES_MAX ||
                          BUGGIFY_ONE_IN(conn->rpc->env, 32, "reading pauses with one request not yet handled"))) {
        conn->paused = true;
        PROBE(conn->rpc->env, "a connection is not read: too many requests of it are not handled yet");
        env_conn_pause(conn->rpc->env, conn->env_conn, true);
    }
    return true;
}

/* The numbers of a connection's requests rise (rpc_call.c), so that one which does not is one that came before: its second
 * answer could say of the first something that is not true, as "not committed". Numbers have what the slots leave, and go round. */
static bool came_before(struct rpc_conn *conn, uint64_t request_id)
{
    const uint64_t mask = UINT64_MAX >> SLOT_BITS;
    uint64_t number = request_id >> SLOT_BITS, ahead = (number - conn->newest_request) & mask;

    if (request_id == 0)
        return false;
    if (conn->newest_request != 0 && (ahead == 0 || ahead > mask / 2))
        return true;
    conn->newest_request = number;
    return false;
}

static int unpack(const struct message_type *type, const struct frame *frame, struct message **ret_message)
{
    if (frame->buffer != NULL && frame->body.len >= TAKEN_BYTES_MIN)
        return message_from_buffer(type, frame->body, frame->buffer, ret_message);
    return message_from_packed(type, frame->body, ret_message);
}

/* A newer peer asks for what we do not know (a rolling upgrade): it hears so, and does without. The connection goes on, for its
 * death would be taken for that of our roles. What is one-way is skipped, as unknown fields are. */
static bool take_unknown(struct rpc_conn *conn, const struct frame *frame)
{
    struct frame head = {.type = RPC_TYPE_ERROR, .what = FRAME_ERROR, .request_id = frame->request_id};
    struct rpc_error body = {.code = ERROR_UNSUPPORTED_OPERATION};

    conn->rpc->counters.unknown_type++;
    PROBE(conn->rpc->env, "a request that only a newer peer knows");
    if (frame->request_id == 0 || conn_frame(conn, &head, &schema_rpc_error, &body) == 0)
        return true;
    conn_close(conn, ERROR_CONNECTION_FAILED);
    return false;
}

static bool take_request(struct rpc_conn *conn, const struct frame *frame)
{
    struct rpc_counters *counters = &conn->rpc->counters;
    const struct message_type *type = rpc_type(conn->rpc, frame->type);
    struct message *message;
    int error;

    if (type == NULL ? frame->type < RPC_TYPE_FIRST : type->reply == NULL && frame->request_id != 0)
        return reject(conn, &counters->bad_type, "type");
    if (conn->peer != NULL || (type != NULL && !(type->senders & (conn->from_client ? SENDER_CLIENT : SENDER_SERVER))))
        return reject(conn, &counters->bad_sender, "sender");
    if (came_before(conn, frame->request_id))
        return reject(conn, &counters->bad_type, "a request that came before");
    if (type == NULL)
        return take_unknown(conn, frame);
    error = unpack(type, frame, &message);
    if (error == ERROR_SERIALIZATION_FAILED)
        return reject(conn, &counters->bad_body, type->name);
    if (error != 0) {
        conn_close(conn, ERROR_CONNECTION_FAILED);
        return false;
    }
    return queue_request(conn, frame, message);
}

static bool take_reply(struct rpc_conn *conn, const struct frame *frame)
{
    struct rpc_counters *counters = &conn->rpc->counters;
    struct rpc_call *call = conn_slot_find(conn, frame->request_id);
    struct message *reply;
    int error;

    if (conn->peer == NULL)
        return reject(conn, &counters->bad_sender, "a reply to nothing");
    if (call == NULL) { /* cancelled or timed out: nobody listens */
        PROBE(conn->rpc->env, "a reply comes for a call that was given up");
        return true;
    }
    if (frame->type != call->reply_type->id)
        return reject(conn, &counters->bad_type, "reply");
    error = unpack(call->reply_type, frame, &reply);
    if (error == ERROR_SERIALIZATION_FAILED)
        return reject(conn, &counters->bad_body, call->reply_type->name);
    rpc_call_complete(call, error, error == 0 ? reply : NULL);
    return true;
}

static bool take_error(struct rpc_conn *conn, const struct frame *frame)
{
    struct rpc_counters *counters = &conn->rpc->counters;
    struct rpc_call *call = conn_slot_find(conn, frame->request_id);
    struct arena none = {0};
    struct rpc_error body;

    if (conn->peer == NULL)
        return reject(conn, &counters->bad_sender, "an error to nothing");
    if (frame->type != RPC_TYPE_ERROR)
        return reject(conn, &counters->bad_type, "error");
    if (message_decode(&schema_rpc_error, frame->body, &none, &body) != 0 || body.code == 0 || body.code > UINT16_MAX)
        return reject(conn, &counters->bad_body, "error");
    if (call != NULL)
        rpc_call_complete(call, (int)body.code, NULL);
    return true;
}

static bool take_live_frame(struct rpc_conn *conn, const struct frame *frame)
{
    struct frame pong = {.type = RPC_TYPE_PONG};
    struct rpc_nothing nothing;

    switch (frame->what) {
    case FRAME_REPLY:
        return take_reply(conn, frame);
    case FRAME_ERROR:
        return take_error(conn, frame);
    case FRAME_REQUEST:
        if (frame->type == RPC_TYPE_PING)
            (void)conn_frame(conn, &pong, &schema_rpc_nothing, &nothing);
        else if (frame->type != RPC_TYPE_PONG)
            return take_request(conn, frame);
        return true;
    default:
        return reject(conn, &conn->rpc->counters.bad_type, "flags");
    }
}

static void heard(struct rpc_conn *conn)
{
    conn->heard_us = env_now_us(conn->rpc->env);
    conn->unheard_bytes = 0;
}

/* These return false when the connection has gone. */
static bool take_frame(struct rpc_conn *conn, struct bytes whole, struct bytes_buffer *buffer)
{
    struct frame frame;

    if (conn->state == CONN_CONDEMNED)
        return true;
    if (!frame_parse(whole, &frame))
        return reject(conn, &conn->rpc->counters.bad_hash, "hash");
    frame.buffer = buffer;
    if (__builtin_expect(conn->rpc->env->observer != NULL, 0))
        conn->rpc->env->observer->frame_in(conn->rpc->env->observer, conn->rpc->env, whole);
    conn->rpc->counters.frames_in++;
    heard(conn);
    return conn->state == CONN_LIVE ? take_live_frame(conn, &frame) : take_hello(conn, &frame);
}

/* *ret_length is what a frame that starts with these bytes measures; 4 while even that is not known. */
static bool measure(struct rpc_conn *conn, struct bytes start, size_t *ret_length)
{
    *ret_length = 4;
    if (start.len < 4)
        return true;
    *ret_length = frame_length(start.ptr, conn->state == CONN_LIVE ? RPC_FRAME_BYTES_MAX : HELLO_FRAME_BYTES_MAX);
    return *ret_length != 0 || reject(conn, &conn->rpc->counters.bad_length, "length");
}

/* Of a frame of `length`: memory for all of it once a quarter has arrived, so that no length asks for much more than came. */
static bool keep(struct rpc_conn *conn, struct bytes tail, size_t length)
{
    struct bytes_buffer *in = &conn->in;
    int error = 0;

    if (tail.len == 0)
        return true;
    if (length > in->len && (in->len + tail.len) >= length / 4)
        error = bytes_buffer_reserve_exactly(in, length - in->len);
    if (error == 0)
        error = bytes_buffer_append(in, tail);
    if (error != 0)
        conn_close(conn, ERROR_CONNECTION_FAILED);
    return error == 0;
}

/* Completes the frame that an earlier call began, as far as the bytes go. */
static bool finish_partial(struct rpc_conn *conn, struct bytes *data)
{
    while (conn->in.len > 0 && data->len > 0) {
        struct bytes_buffer whole;
        size_t length, more;
        bool alive;

        if (!measure(conn, bytes_buffer_bytes(&conn->in), &length))
            return false;
        more = length - conn->in.len < data->len ? length - conn->in.len : data->len;
        if (!keep(conn, bytes_of(data->ptr, more), length))
            return false;
        *data = bytes_of(data->ptr + more, data->len - more);
        if (conn->in.len < RPC_FRAME_HEADER_BYTES || conn->in.len < length)
            continue;
        whole = conn->in;
        conn->in = (struct bytes_buffer){0};
        alive = take_frame(conn, bytes_buffer_bytes(&whole), &whole);
        bytes_buffer_done(&whole);
        if (!alive)
            return false;
    }
    return true;
}

static void on_received(void *ctx, struct bytes data)
{
    struct rpc_conn *conn = ctx;
    size_t length;

    /* Bytes alone are no sign of life: a frame whose length was damaged on its way never ends, and would feed on pongs. */
    conn->unheard_bytes += data.len;
    if (conn->unheard_bytes >= HEARD_BYTES) {
        PROBE(conn->rpc->env, "much of an unfinished frame counts as a sign of life");
        heard(conn);
    }
    conn->rpc->counters.bytes_in += data.len;
    if (conn->state == CONN_CONDEMNED || !finish_partial(conn, &data))
        return;
    while (data.len >= RPC_FRAME_HEADER_BYTES && conn->state != CONN_CONDEMNED) {
        if (!measure(conn, data, &length))
            return;
        if (length > data.len)
            break;
        if (!take_frame(conn, bytes_of(data.ptr, length), NULL))
            return;
        data = bytes_of(data.ptr + length, data.len - length);
    }
    if (conn->state == CONN_CONDEMNED)
        bytes_buffer_done(&conn->in);
    else if (measure(conn, data, &length)) /* refuses a bad length before anything of it is kept */
        (void)keep(conn, data, length);
}

static const struct env_conn_events conn_events = {.opened = on_opened, .received = on_received, .closed = on_closed};
