/* Requests and replies between roles, over frames on TCP or handed over inside one process.
 *
 * One struct rpc a process. It owns its connections: one that it dials to each peer it calls (kept while calls or watches
 * need it, closed after idling), and those that peers dialled. A frame is
 *
 *   offset  size  field
 *        0     4  length of what follows (little-endian), at least 28, at most RPC_FRAME_BYTES_MAX
 *        4     8  XXH3-64 of everything after it
 *       12     2  message type      (little-endian, like all below)
 *       14     2  what it is: 0 request or one-way message, 1 reply, 2 error reply (type 4, whose body holds the error code)
 *       16     8  endpoint id (0 in replies)
 *       24     8  request id (0: one way, no reply)
 *       32     .  msgpack body
 *
 * valid if and only if length and hash fit, the type is known, the sender may send it, and the body decodes to its end. The
 * first frame each way is a hello (type 1: protocol version, cluster id, client or server, the sender's public address). A
 * frame that is not valid closes the connection and is counted; a hello of another protocol version or another cluster fails
 * the peer's calls with ERROR_INCOMPATIBLE_PROTOCOL_VERSION or ERROR_INVALID_CLUSTER_ID. Requests travel only from the side that
 * dialled, and only after both hellos. Types 1 to 9 are the rpc's own (hello, ping, pong, error); the users' begin at
 * RPC_TYPE_FIRST.
 *
 * Failure: a closed connection fails its calls at once: ERROR_CONNECTION_FAILED when the request was not sent,
 * ERROR_REQUEST_MAYBE_DELIVERED when it was. Silence on a connection that somebody waits on is pinged, and counts as closed
 * after rpc_ping_timeout_us. Dialling again backs off; a call made during the pause waits for its end.
 *
 * A message to the process's own address is handed over (same turn, no encoding) unless the knob rpc_encode_local is set: 1
 * encodes it all the same, 2 sends it over a connection to itself, as to any peer. */
#pragma once

#include "net/env.h"
#include "net/message.h"
#include "net/op.h"

enum { RPC_FRAME_HEADER_BYTES = 32, RPC_FRAME_BYTES_MAX = 64 * 1024 * 1024, RPC_TYPE_FIRST = 10 };
#define QUOIN_PROTOCOL_VERSION UINT64_C(0x0001000000000001)

struct rpc;

struct uid {
    uint64_t high, low;
};
static inline bool uid_equal(struct uid a, struct uid b)
{
    return a.high == b.high && a.low == b.low;
}
static inline bool uid_is_none(struct uid a)
{
    return a.high == 0 && a.low == 0;
}

/* Where a role instance is reached: the process and the instance's random id (or a well-known one). */
struct endpoint {
    struct address address;
    uint64_t id;
};

struct rpc_options {
    struct address public_address; /* none for a client */
    struct address listen_address; /* none: public_address */
    struct uid cluster_id;         /* none: not known yet; set later with rpc_set_cluster_id */
    const struct message_type *const *types; /* indexed by message id, NULL for holes; borrowed for the rpc's life */
    size_t type_count;
    bool client;
};

struct rpc_counters {
    uint64_t frames_in, frames_out, bytes_in, bytes_out, calls, local;
    uint64_t bad_frames, bad_hash, bad_length, bad_type, bad_body, bad_sender, wrong_version, wrong_cluster, no_endpoint;
    uint64_t unknown_type; /* requests that only a newer peer knows */
    uint64_t accepted, dialled, dial_failures, ping_timeouts, closed_overfull;
    uint64_t foreign_version; /* no count: what the last peer of another protocol version said; 0: there was none */
};

/* Does not listen yet. */
int rpc_create(struct env *env, const struct rpc_options *options, struct rpc **ret_rpc);
/* 0, ERROR_ADDRESS_IN_USE, ERROR_BIND_FAILED. */
int rpc_listen(struct rpc *rpc);
/* Every call must have been cancelled and every request answered or dropped before (destroy the roles first). */
void rpc_destroy(struct rpc *rpc);
struct env *rpc_env(struct rpc *rpc);
struct address rpc_address(const struct rpc *rpc);
/* Closes connections that said another cluster id. */
void rpc_set_cluster_id(struct rpc *rpc, struct uid cluster_id);
struct uid rpc_cluster_id(const struct rpc *rpc);
const struct rpc_counters *rpc_counters(const struct rpc *rpc);

/* ---- serving ---- */

/* A request (or a one-way message). The handler owns it until it calls exactly one of rpc_reply, rpc_fail, rpc_drop. */
struct rpc_request {
    struct message *message; /* borrowed: lives as long as the request, unless ref'ed */
    struct address peer;     /* the sender's public address; none for a client */
    bool from_client;
    bool one_way;            /* replies are ignored */
    struct list link;        /* the owner's, for its queues */
    void *owner_data;        /* the owner's */
    int64_t owner_number;    /* the owner's; 0 when it comes */
    /* what follows is the rpc's */
    struct rpc *rpc;
    struct rpc_conn *conn;   /* NULL: local, or the connection has gone */
    struct list conn_link;
    uint64_t request_id;
    struct rpc_call *local_call; /* NULL: remote, or the caller has gone */
    struct ready ready;
    uint64_t endpoint_id;
    size_t queued_bytes; /* while it waits for its handler */
};

typedef void rpc_handler(void *ctx, struct rpc_request *request);

/* Ids below 100 are well known (txn/messages.h); others are random. Registering an id twice asserts. */
void rpc_register(struct rpc *rpc, uint64_t endpoint_id, rpc_handler *handler, void *ctx);
/* Requests to an unknown id are answered with ERROR_BROKEN_PROMISE; those of an unknown type with ERROR_UNSUPPORTED_OPERATION: whoever asks
 * for what came with a later version takes that for "not there" and does without. */
void rpc_unregister(struct rpc *rpc, uint64_t endpoint_id);

/* Takes one reference on `reply` (a message of the request type's reply type). */
void rpc_reply(struct rpc_request *request, struct message *reply);
void rpc_fail(struct rpc_request *request, int error);
/* Gives it up: a caller that can still hear it gets ERROR_BROKEN_PROMISE. For one-way messages it is the only end. */
void rpc_drop(struct rpc_request *request);

/* ---- calling ---- */

/* A wait (see op.h). Zeroed is idle. After it completed: error is 0 and reply is owned by the call, or error is the
 * reason. Both stay until rpc_call_clear(), rpc_call_take() or the next start. */
struct rpc_call {
    struct wait wait;
    int error;
    struct message *reply; /* owned */
    /* the rpc's */
    struct rpc *rpc;
    struct rpc_peer *peer;
    struct list link;
    uint64_t request_id;
    struct message *request; /* until it is sent */
    struct rpc_request *local_request;
    const struct message_type *reply_type;
    struct env_timer timeout;
    uint64_t endpoint_id;
    bool sent;
    int64_t started_us;
};

/* Takes one reference on `request`. timeout_us 0: none beyond the connection's own; else ERROR_TIMED_OUT after it (the request
 * may have been delivered). Completes with ok = (error == 0), never before this returns. */
void rpc_call_start(struct rpc_call *call, struct op *op, struct rpc *rpc, const struct endpoint *to, struct message *request,
                    int64_t timeout_us);
/* Cancels if under way and drops the reply. */
void rpc_call_clear(struct rpc_call *call);
/* The reply now belongs to the caller. */
struct message *rpc_call_take(struct rpc_call *call);

/* One way, no answer, lost if the connection fails, can't be established or is in a pause of its back-off. Takes one reference. */
void rpc_send(struct rpc *rpc, const struct endpoint *to, struct message *message);

/* ---- watching a peer ---- */

/* failed() is called once, through the ready queue, when the connection to the peer closes, can't be established, or goes
 * silent; start it again to go on. A watch dials. The own address never fails. */
struct rpc_watch {
    struct list link;
    struct rpc_peer *peer;
    struct address address;
    void (*failed)(struct rpc_watch *watch, int error);
    struct ready ready; /* the rpc's */
    int error;          /* the rpc's */
};
void rpc_watch_start(struct rpc *rpc, struct rpc_watch *watch, struct address address);
void rpc_watch_cancel(struct rpc_watch *watch); /* accepts an idle one */
/* For who will soon depend on that process: if there is a connection and nothing was heard on it for the ping interval, it is pinged now.
 * Connections that died unnoticed are then found out together, and not each when its turn comes. */
void rpc_doubt(struct rpc *rpc, struct address address);

/* True when a request's caller can still hear the answer. */
bool rpc_request_alive(const struct rpc_request *request);
/* True when its answer is packed within rpc_reply, so that what the answer borrows need not outlive that call. */
bool rpc_request_is_remote(const struct rpc_request *request);
