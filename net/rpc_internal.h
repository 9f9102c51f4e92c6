/* What the files of the rpc share: net/rpc.c (life, serving), rpc_call.c (calling), rpc_peer.c (dialling, back-off, watches),
 * rpc_conn.c (one connection), frame.c (bytes). Private to them.
 *
 *   rpc ──< peer (by address) ──1 conn that it dialled ──< slots: calls that wait for a reply
 *    └────< conn (accepted)   ──< requests that wait for an answer
 *
 * Nothing here runs code of a role directly: calls complete through their op's ready queue, requests and failed watches through
 * their own `ready`. So a connection may be torn down at any point without somebody acting on it half way. */
#pragma once

#include "net/observe.h"
#include "net/planted_bug.h"
#include "net/rpc.h"

enum {
    RPC_TYPE_HELLO = 1,
    RPC_TYPE_PING = 2,
    RPC_TYPE_PONG = 3,
    RPC_TYPE_ERROR = 4,
};
enum { FRAME_REQUEST = 0, FRAME_REPLY = 1, FRAME_ERROR = 2 };
enum {
    PEER_BUCKETS = 64,
    ENDPOINT_BUCKETS = 64,
    HELLO_FRAME_BYTES_MAX = 1024,           /* who has not said hello may not make us buffer more */
    CONN_QUEUED_BYTES_MAX = 16 * 1024 * 1024, /* requests waiting for their handlers; beyond it reading pauses */
    PEER_SENDS_MAX = 4096,                  /* one-way messages waiting for a connection */
    SLOT_BITS = 24,
    IDLE_US = 60 * 1000 * 1000,             /* a dialled connection nobody uses is closed after this (once or twice) */
    ACCEPTED_SILENCE_US = 180 * 1000 * 1000, /* a living dialler pings or closes long before */
    CONDEMNED_US = 500 * 1000,
    BAD_FRAME_TRACE_US = 1000 * 1000,
    TAKEN_BYTES_MIN = 16 * 1024,            /* the buffer of a longer frame becomes its message's; a shorter one is copied */
    HEARD_BYTES = 16 * 1024,                /* so much of an unfinished frame is a sign of life */
};

/* ---- own messages ---- */

#define FIELDS_rpc_hello(F, S, A, L) \
    F(u64, version) F(u64, cluster_high) F(u64, cluster_low) F(boolean, client) S(wire_address, address)
#define FIELDS_rpc_error(F, S, A, L) F(u32, code)
#define FIELDS_rpc_nothing(F, S, A, L)
SCHEMA_DECLARE(rpc_hello)
SCHEMA_DECLARE(rpc_error)
SCHEMA_DECLARE(rpc_nothing)

/* Shows a message that stays in the process to the observer. Sets the cause: who calls goes back to his own. */
void rpc_observe_local(struct rpc *rpc, const struct observed_message *message);

/* ---- frames (frame.c) ---- */

struct frame {
    uint16_t type;
    uint16_t what; /* FRAME_* */
    uint64_t endpoint_id;
    uint64_t request_id;
    struct bytes body; /* borrowed */
    struct bytes_buffer *buffer; /* of a received one: holds it alone, and may be taken; NULL: it is in the env's scratch */
};

/* Appends header and packed body. 0, ERROR_OUT_OF_MEMORY, or ERROR_SERIALIZATION_FAILED (longer than a frame may be); on
 * failure `out` is as it was. */
int frame_append(struct bytes_buffer *out, const struct frame *head, const struct schema *schema, const void *body);
/* The frame's whole length by its first four bytes; 0 if no frame of at most bytes_max is that long. */
size_t frame_length(const uint8_t *start, size_t bytes_max);
/* `whole` is one frame. False if the hash does not fit. */
bool frame_parse(struct bytes whole, struct frame *ret_frame);

/* ---- structures ---- */

struct rpc_slot {
    struct rpc_call *call; /* borrowed; NULL: free */
    uint32_t next_free;
};

enum conn_state {
    CONN_DIALLING,  /* no hello sent yet */
    CONN_HELLO,     /* waits for the other's hello */
    CONN_LIVE,
    CONN_CONDEMNED, /* refused by hello; stays a moment so that the other side can read why */
};

struct rpc_conn {
    struct list link; /* rpc->conns */
    struct rpc *rpc;
    struct env_conn *env_conn; /* owned */
    struct rpc_peer *peer;     /* dialled for; NULL: accepted */
    enum conn_state state;
    struct address remote; /* by its hello */
    struct uid cluster_id; /* by its hello */
    bool from_client;
    bool paused;
    struct bytes_buffer in;  /* a partial frame */
    struct bytes_buffer out; /* frames of this turn */
    struct list dirty;       /* rpc->dirty */
    struct list requests;    /* not answered */
    size_t queued_bytes;     /* of those, waiting for their handlers */
    int64_t live_us;         /* when it became live */
    int64_t heard_us;        /* when a whole frame last came, or enough bytes of a long one */
    size_t unheard_bytes;    /* that came since */
    int64_t used_us;         /* when a frame last went out */
    int64_t quiet_since_us;  /* start of the silence that the ping timer measures */
    int64_t pinged_us;       /* 0: no ping is out */
    struct env_timer timer;  /* by state: time limit of the hello, pings, end of the condemned */
    struct rpc_slot *slots;  /* owned */
    uint32_t slot_count, slot_capacity, free_slot; /* free_slot: index + 1, 0 = none */
    uint64_t newest_request; /* number of the newest request that came; 0: none */
    uint64_t next_number;    /* upper bits of request ids; starts at random, so that no earlier connection's reply fits */
};

/* A one-way message that waits for a connection. */
struct rpc_outgoing {
    struct list link;
    struct message *message; /* owned */
    uint64_t endpoint_id;
};

struct rpc_peer {
    struct list link; /* a bucket of rpc->peers */
    struct rpc *rpc;
    struct address address;
    struct rpc_conn *conn; /* NULL: not dialled */
    struct list sent;      /* calls whose request is on the connection */
    struct list unsent;    /* calls that wait for it */
    struct list sends;     /* struct rpc_outgoing */
    size_t send_count;
    struct list watches;
    struct ready dial;
    struct env_timer pause; /* fires when the pause is over */
    int64_t not_before_us, delay_us;
};

struct rpc_endpoint {
    struct list link;
    uint64_t id;
    rpc_handler *handler;
    void *ctx;
};

struct rpc {
    struct env *env;
    struct rpc_options options;
    struct rpc_counters counters;
    struct env_listener *listener;
    struct list peers[PEER_BUCKETS];
    struct list endpoints[ENDPOINT_BUCKETS];
    struct list conns;
    struct list dirty;
    struct ready flush;
    struct list failed; /* calls that failed inside rpc_call_start */
    struct ready fail;
    struct list queued; /* requests that wait for their handlers */
    size_t requests_live;
    struct env_timer sweep;
    int64_t bad_traced_us;
    uint64_t bad_untraced;
};

/* What the pauses before a peer is dialled again are measured by. */
static inline int64_t peer_clock_us(const struct rpc_peer *peer)
{
    return PLANTED_BUG(WALL_CLOCK) ? env_wall_us(peer->rpc->env) : env_now_us(peer->rpc->env);
}

/* ---- rpc.c ---- */

extern const struct message_type rpc_type_hello, rpc_type_ping, rpc_type_pong, rpc_type_error;
const struct message_type *rpc_type(const struct rpc *rpc, uint16_t id); /* a user's; NULL if there is none */
/* Takes over one reference on `message`. NULL when out of memory (the reference is dropped). Its handler runs through the
 * ready queue. */
struct rpc_request *rpc_request_queue(struct rpc *rpc, struct message *message, struct rpc_conn *conn, uint64_t endpoint_id,
                                      uint64_t request_id);
/* The same content by way of bytes, as a remote peer would see it. */
int rpc_recode(const struct message *message, struct message **ret_copy);
void rpc_sweep_later(struct rpc *rpc);

/* ---- rpc_call.c ---- */

/* Takes the call out of whatever holds it and completes it. Takes over the reference on `reply`. */
void rpc_call_complete(struct rpc_call *call, int error, struct message *reply);

int conn_slot_take(struct rpc_conn *conn, struct rpc_call *call); /* gives call->request_id; 0 or ERROR_OUT_OF_MEMORY */
void conn_slot_free(struct rpc_conn *conn, uint64_t request_id);
struct rpc_call *conn_slot_find(const struct rpc_conn *conn, uint64_t request_id); /* NULL: nobody waits for that */

/* ---- rpc_peer.c ---- */

struct rpc_peer *peer_find(struct rpc *rpc, struct address address);   /* NULL: none */
struct rpc_peer *peer_obtain(struct rpc *rpc, struct address address); /* NULL: out of memory */
void peer_destroy(struct rpc_peer *peer);                              /* nobody may wait on it */
bool peer_awaited(const struct rpc_peer *peer);
/* Somebody waits: sees to it that there is a connection, or will be. */
void peer_need(struct rpc_peer *peer);
void peer_live(struct rpc_peer *peer);
/* The connection is going (its memory is still there), or dialling failed. `error` is for calls not sent and for watches;
 * `lived`: it had been live for long enough to try again at once. */
void peer_failed(struct rpc_peer *peer, int error, bool lived);
/* The process at that address has just shown that it is alive. */
void peer_seen(struct rpc_peer *peer);
void peer_sweep(struct rpc_peer *peer, int64_t now_us); /* may destroy it */

/* ---- rpc_conn.c ---- */

extern const struct env_listener_events conn_listener_events;
/* NULL: could not even begin. */
struct rpc_conn *conn_dial(struct rpc_peer *peer);
/* Closes and frees it; its calls and watches fail (error is for those not sent). */
void conn_close(struct rpc_conn *conn, int error);
/* A frame of this turn. Errors as frame_append. */
int conn_frame(struct rpc_conn *conn, const struct frame *head, const struct schema *schema, const void *body);
/* Somebody waits on it from now on: silence is pinged. */
void conn_awaited(struct rpc_conn *conn);
/* A call sent at `since_us` has timed out: if nothing was heard since, a ping finds out whether the other side lives. */
void conn_doubted(struct rpc_conn *conn, int64_t since_us);
void conn_request_started(struct rpc_conn *conn, size_t bytes); /* a queued one has reached its handler */
void conn_flush_all(struct rpc *rpc);
