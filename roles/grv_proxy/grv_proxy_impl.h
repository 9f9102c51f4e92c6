/* Private to roles/grv_proxy/: the role, and the op of a batch. */
#pragma once

#include "net/list.h"
#include "roles/grv_proxy/grv_proxy.h"
#include "roles/grv_proxy/grv_rate.h"
#include "roles/grv_proxy/grv_tags.h"
#include "roles/rate_reporter.h"
#include "roles/steady_call.h"
#include "txn/log_system.h"

/* Batches under way. A second one may ask while the first waits for its answers, so that a request that just missed a batch
 * waits for one round trip and not for two. */
enum { GRV_BATCHES_MAX = 2 };

/* Embedded in the role; reused. */
struct grv_batch {
    struct op op;
    struct grv_proxy *proxy;    /* borrowed: the owner */
    bool in_use;
    struct list requests;       /* struct rpc_request.link */
    uint64_t transaction_count; /* of the requests */
    struct steady_call committed;
    struct steady_call confirms[LOGS_MAX];
    uint64_t confirmed, stopped; /* masks of logs */
    version_t least_version;     /* answered to anybody before this batch asked */
    struct wait_timer dawdle;
};

struct grv_proxy {
    struct role_context context;
    uint64_t id, epoch;
    struct arena arena; /* holds what generation points to */
    struct endpoint sequencer;
    struct generation generation;
    struct message *ask_committed, *ask_confirm; /* the same for every batch */
    struct list immediate;             /* requests that no batch has taken: these are never held back, */
    struct list queues[GRV_PRIORITIES]; /* these wait for their turn; owner_data: when they came */
    uint64_t immediate_transactions, queued[GRV_PRIORITIES];
    struct grv_rate rate;
    struct grv_tags tags; /* holds back requests before they come to `queues` */
    struct rate_reporter reporter;
    struct env_timer turn; /* fires when the first that is held back may start */
    struct op_list ops;
    struct grv_batch batches[GRV_BATCHES_MAX];
    version_t newest_answered;
    uint64_t transactions_in, transactions_out, requests_in, batches_done, refused, batch_refused, tag_refused, tag_delayed, started, started_batch, reported;
    bool ended;
};

void grv_batch_start(struct grv_batch *batch);
/* Moves what may start now into `batch`; one: at most one request. */
void grv_proxy_take(struct grv_proxy *proxy, struct grv_batch *batch, bool one);
/* Starts a batch if one is needed and may be. */
void grv_proxy_go(struct grv_proxy *proxy);
/* The role can't go on; `batch` requests are answered when it is destroyed or their batch ends. */
void grv_proxy_end(struct grv_proxy *proxy, int error);
