/* The client library's inside: one cluster's client on an env, single-threaded.
 *
 * It finds the leader through the coordinators, follows the cluster's description, batches what the calls of a turn ask for
 * (one read-version request, one get_values message a storage server), remembers where keys live, and retries what may be
 * retried. The public library (include/quoin/quoin.h) and the simulator's workloads both stand on it; transactions are in
 * txn/client/transaction.h.
 *
 * One mechanism of waiting: every asynchronous call is a struct that embeds `struct client_call` first. Started with an op, it is
 * one of that op's waits (like rpc_call) and resumes it; started without one, call.done(call) runs from the ready queue,
 * never before the start returned. A call that was started completes exactly once, unless client_call_cancel() came first.
 *
 * One cluster for life: its id is what more than half of the coordinators say, and never changes. A coordinator of another
 * cluster is not listened to. While the coordinators are so divided that no id can have a majority, what asks for the cluster or for a
 * read version fails with ERROR_INVALID_CLUSTER_ID. */
#pragma once

#include "net/rpc.h"
#include "txn/messages.h"
#include "txn/types.h"

enum { CLIENT_COORDINATORS_MAX = 15 };

struct client;

struct client_options {
    const struct address *coordinators; /* copied */
    uint32_t coordinator_count;         /* at least 1 */
    struct rpc *rpc;                    /* borrowed for the client's life; NULL: the client makes its own */
    /* The coordinators are others than before: a cluster file should say so. On the client's thread; may be NULL. */
    void (*coordinators_changed)(void *ctx, const struct address *coordinators, uint32_t count);
    void *ctx;
};

/* 0 or ERROR_OUT_OF_MEMORY. Looks for the cluster from the next turn on, for as long as it lives. */
int client_create(struct env *env, const struct client_options *options, struct client **ret_client);
/* Its transactions must have been destroyed. Accepts NULL. */
void client_destroy(struct client *client);
/* What the special keys cluster_file_path and connection_string say. */
int client_set_names(struct client *client, struct bytes file_path, struct bytes connection_string);
struct env *client_env(struct client *client);
struct rpc *client_rpc(struct client *client);

/* ---- calls ---- */

/* Zeroed is idle. */
struct client_call {
    struct wait wait;                        /* first */
    int error;                               /* once completed */
    void (*done)(struct client_call *call);  /* set before a start without an op; may free the call */
    void *ctx;                               /* the caller's: never touched */
    /* what follows is the client's */
    struct env *env;
    struct op *op;
    void (*cancel)(struct client_call *call);
    struct list link;
    struct list *ended; /* where it stands (by link) between its end and done(); may be NULL */
    void *owner;        /* the transaction of a commit */
    struct ready ready;
    bool under_way;
    uint32_t incarnation; /* of its transaction, of a commit */
};

/* Takes it back: neither the op nor done() will hear of it. Accepts an idle or completed one. */
void client_call_cancel(struct client_call *call);
static inline bool client_call_under_way(const struct client_call *call)
{
    return call->under_way;
}

/* ---- what it knows ---- */

/* The newest description; NULL before the first. Borrowed until the turn ends. */
const struct description *client_description(const struct client *client);

struct client_coordinator {
    struct address address;
    bool asked;     /* false: not tried yet */
    int error;      /* of the last try; 0: it answered. ERROR_INVALID_CLUSTER_ID: it is not of this client's cluster */
    bool has_record; /* it answered, and belongs to a cluster */
    struct uid cluster_id;
};
uint32_t client_coordinator_count(const struct client *client);
void client_coordinator(const struct client *client, uint32_t index, struct client_coordinator *ret);
/* The controller that was found; none (port 0) while there is no leader. */
struct address client_controller(const struct client *client);
/* Says in words why the cluster can't be reached or used; an empty string when it can. Cut to fit; returns out. */
char *client_explain(const struct client *client, char *out, size_t out_size);

/* Completes with 0 once a description of a database (epoch > 0) is known. Errors of this and the next: ERROR_INVALID_CLUSTER_ID. */
void client_wait_ready(struct client_call *call, struct op *op, struct client *client);
/* Completes with 0 once a controller is known. */
void client_wait_controller(struct client_call *call, struct op *op, struct client *client);
/* Completes once a coordinator has said which protocol it speaks (rpc's QUOIN_PROTOCOL_VERSION, or another that this client can't),
 * and that is not `expected`. Zeroed is idle. */
struct client_protocol {
    struct client_call call; /* first */
    uint64_t expected;       /* set before the start; 0: any is news */
    uint64_t version;        /* when error is 0 */
};
void client_protocol_start(struct client_protocol *protocol, struct op *op, struct client *client);
