/* What the client's files share; private to txn/client. All of it belongs to the env's thread, but for what struct
 * transaction says of itself. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "net/mem.h"
#include "txn/client/client.h"
#include "txn/client/transaction.h"
#include "txn/client/watch.h"
#include "txn/conflict_range.h"
#include "txn/tags.h"

enum {
    RETRY_DELAY_US_MIN = 1000,  /* after a call to a server failed: the first pause before it is tried again */
    RETRY_DELAY_US_MAX = 100000,
    GRV_CACHE_US_MAX = 100000,  /* age of a cached read version */
    WHY_BYTES_MAX = 512,
    AVOID_TIMES = 8, /* a failed server is avoided so many times as long as the failure took, if another replica is left */
    REPLICAS_MAX = 16,          /* of one location */
    GRV_CLASSES = 3,            /* default, batch, immediate */
    LOCATIONS_PER_QUERY = 64,
    CLIENT_WATCHES_DEFAULT = 10000,
    CLIENT_WATCHES_MAX = 1000000,
};

/* ---- calls (client_call.c) ---- */

void client_call_begin(struct client_call *call, struct op *op, struct env *env, void (*cancel)(struct client_call *call));
/* Completes it: tells the op, or queues done(). */
void client_call_end(struct client_call *call, int error);

/* ---- a request that is an op of its own, for what is batched ---- */

struct client_request {
    struct op op; /* first */
    struct rpc_call rpc;
    struct endpoint to;
    struct message *message; /* until it is sent */
    int64_t timeout_us;
    /* Runs when it has ended: rpc.reply is there when error is 0. Frees the request. ERROR_OPERATION_CANCELLED: the client is
     * being destroyed. */
    void (*ended)(struct client_request *request, int error);
    struct client *client;
};
/* Takes over `message`. */
void client_request_start(struct client_request *request, struct client *client, struct endpoint to, struct message *message,
                          int64_t timeout_us);

/* ---- read versions (read_version.c) ---- */

struct grv_batch;

struct grv_class {
    struct list waiting; /* client_call.link of transactions' version requests */
    uint32_t count;
};

/* One transaction's wait for a version. */
struct grv_wait {
    struct list link;
    void (*got)(struct grv_wait *wait, int error, version_t version, bool locked);
    unsigned grv_class;
    struct tag_set tags;
    int64_t tag_wait_us; /* before got(): for which a limit of its tags held it back */
};
void grv_ask(struct client *client, struct grv_wait *wait);
void grv_cancel(struct client *client, struct grv_wait *wait); /* accepts an idle one */
void grv_flush(struct client *client);
void grv_description_changed(struct client *client);

/* ---- storage servers and where keys live (locations.c) ---- */

struct client_server {
    struct list link; /* client->servers */
    struct endpoint endpoint;
    uint32_t refs;    /* of locations, waiting gets and requests */
    struct list gets; /* get_ask.link: asked for in this turn */
    uint32_t get_count;
    struct list dirty; /* client->dirty_servers */
    uint32_t outstanding;     /* gets and range reads that it was sent and has not answered */
    int64_t latency_us;       /* smoothed; 0: not known */
    int64_t usual_us, deviation_us; /* of its answers, without the rare slow one (second_request.c); 0: not known */
    int64_t answered_us;      /* when latency_us was last true */
    int64_t avoid_until_us;   /* it has just failed */
    int64_t late_until_us;    /* it has not answered for long, and may still */
    uint32_t failures;        /* in a row */
};

struct client_location {
    struct bytes begin, end; /* own memory, behind the struct */
    uint64_t number;         /* no two ever have the same: which of its replicas were tried means nothing for the next one */
    uint32_t server_count;
    struct client_server *servers[];
};

/* The cached location of a key (before: of the last key below it), or NULL. Borrowed until the cache changes. */
struct client_location *location_find(struct client *client, struct bytes key, bool before);
void location_forget(struct client *client, struct bytes key, bool before);
void locations_clear(struct client *client);
/* Picks a replica that is not in `tried`; NULL if there is none. *ret_replica is its index. */
struct client_server *location_pick(struct client *client, const struct client_location *location, uint32_t tried,
                                    uint32_t *ret_replica);
/* The server's place among the replicas; and the bit of a place in `tried`. */
enum { REPLICA_NONE = UINT8_MAX };
uint32_t location_replica(const struct client_location *location, const struct client_server *server);
static inline uint32_t replica_bit(uint32_t replica)
{
    return replica == REPLICA_NONE ? 0 : UINT32_C(1) << replica;
}
void server_unref(struct client *client, struct client_server *server);
/* `count` reads go there; they have left it again when they are answered, have failed or were cancelled. */
void server_sent(struct client_server *server, uint32_t count);
void server_left(struct client_server *server, uint32_t count);
void server_answered(struct client *client, struct client_server *server, int64_t took_us);
void server_failed(struct client *client, struct client_server *server, int64_t took_us);

/* ---- a second request to another replica (second_request.c); struct second_request: transaction.h ---- */

/* Something was sent to the server, with `reads` that nobody was asked for before. The server must stay referenced until
 * second_stop(). late() runs each time that it has been silent twice as long as the last time (never within this call); it may ask
 * another replica. */
void second_start(struct second_request *second, struct client *client, struct client_server *server, uint32_t reads,
                  void (*late)(struct second_request *second));
void second_stop(struct second_request *second); /* accepts a zeroed one */
void second_answered(struct client_server *server, int64_t took_us);
/* Another replica than `first` and those tried that is not late itself, or NULL: there is none, or the budget is spent. For one read. */
struct client_server *second_pick(struct client *client, const struct client_location *location,
                                  const struct client_server *first, uint32_t tried, uint32_t *ret_replica);

/* struct client_locate: transaction.h. */
void locate_ask(struct client *client, struct client_locate *locate);
void locate_cancel(struct client_locate *locate);
void locate_description_changed(struct client *client);

/* ---- gets (get.c) ---- */

void get_version_known(struct transaction_get *get, version_t version);
void get_fail(struct transaction_get *get, int error);
void gets_flush(struct client *client);

/* ---- range reads (range.c, range_merge.c) ---- */

/* All under the transaction's lock. Takes down what the transaction has written in [begin, end), as far as the limit can make it
 * matter. */
int range_capture(struct transaction_range *range);
/* Makes [piece_low, piece_high) the next thing to read; *ret_more is false if nothing is left. */
int range_next_piece(struct transaction_range *range, bool *ret_more);
/* What the answer covers becomes read. ERROR_BROKEN_PROMISE: it is not an answer to what was asked. */
int range_take_answer(struct transaction_range *range, struct rpc_call *rpc);
/* The conflict ranges of what was read. */
int range_add_covered(struct transaction_range *range);
/* Borrowed; empty when there is no pair. */
struct bytes range_last_key(const struct transaction_range *range);
bool range_needs_keys_only(const struct transaction_range *range);
/* In the range's arena. */
int range_key_after(struct transaction_range *range, struct bytes key, struct bytes *ret);

/* ---- the client ---- */

struct coordinator {
    struct address address;
    struct client_request *request;
    bool asked;
    int error;
    bool has_record;
    struct uid cluster_id;
    struct address leader; /* as of the answer to the last question; port 0: it knew none */
    uint64_t leader_member, leader_term;
};

struct client {
    struct env *env;
    struct rpc *rpc;
    bool own_rpc;
    struct op_list ops;
    bool destroying;

    struct coordinator *coordinators;
    uint32_t coordinator_count;
    struct address next_coordinators[CLIENT_COORDINATORS_MAX]; /* to be taken over once none of the present is being asked */
    uint32_t next_count;                                       /* 0: none are */
    bool hinted; /* those that are known are not those of the cluster file, and no controller has named them */
    void (*coordinators_changed)(void *ctx, const struct address *coordinators, uint32_t count);
    void *coordinators_ctx;
    struct op *monitor;
    struct address controller; /* none: not known */
    uint64_t leader_term;
    struct message *description_message; /* owned; NULL before the first */
    const struct description *description;
    int controller_error; /* why the last call to the controller failed */
    struct list waiting_ready, waiting_controller, waiting_protocol; /* client_call.link */
    uint64_t protocol; /* what a coordinator said last; 0: none has */
    struct uid cluster_id; /* none: not known yet; else for life */
    bool divided;          /* the coordinators are of several clusters, and none has a majority */

    struct grv_class grv[GRV_CLASSES];
    struct list grv_batches;
    uint32_t grv_in_flight;
    struct env_timer grv_timer;
    int64_t grv_delay_us;
    uint32_t grv_next;

    struct list servers, dirty_servers;
    struct client_location **locations; /* sorted by begin */
    uint64_t locations_made;
    size_t location_count, location_capacity;
    struct list locating;
    struct client_request *location_query;
    struct env_timer locate_timer;
    int64_t locate_delay_us;
    int64_t second_budget, second_earned_us; /* second_request.c */

    struct client_watches watches;
    struct bytes_buffer file_path, connection_string; /* what special keys say; empty: not known */
    _Atomic int64_t location_cache_max, watches_max; /* options of the database: any thread */

    struct list transactions; /* with a commit under way: commit.c looks at them when the description changes */
    struct ready turn_end;
    int64_t said_us; /* when the log was last told why the cluster can't be reached; 0: never */
    version_t cached_version; /* the read-version cache (use_grv_cache): VERSION_NONE, or what was asked for at cached_us */
    int64_t cached_us;
    bool cached_locked;
    version_t newest_told;   /* the highest read or commit version that anybody gave us, and nobody gave the lie */
    version_t newest_proven; /* the highest that we committed at, or that storage has read at: it is true */
    uint64_t lies;         /* answers that could not be true, and were not believed */
    uint64_t self_conflicts; /* numbers the keys under \xff/SC/ */
};

static inline void client_told_version(struct client *client, version_t version)
{
    if (version > client->newest_told)
        client->newest_told = version;
}
static inline void client_proved_version(struct client *client, version_t version)
{
    if (version > client->newest_proven)
        client->newest_proven = version;
}
/* A version that storage servers or a commit proxy have never heard of, so that a true one below it is not refused until it has passed. */
void client_doubt_version(struct client *client, version_t version);
/* An answer that can't be true: counted, traced, and the caller asks somebody else. */
void client_refuse(struct client *client, const char *what);
/* JSON (client_json.c): status/json around what the controller says (empty: it says nothing); the client's own status. */
int client_json_status(const struct client *client, struct bytes cluster, struct bytes_buffer *out);
int client_json_own(const struct client *client, struct bytes_buffer *out);
void client_turn_end(struct client *client); /* asks for the hook that sends what a turn has batched */
/* The role_ref of a kind, by turns; NULL if there is none. */
const struct role_ref *client_pick_role(struct client *client, enum role_kind kind);
uint32_t client_role_count(const struct client *client, enum role_kind kind);
/* Is this instance still part of the description? */
bool client_role_listed(const struct client *client, struct endpoint endpoint);
static inline struct endpoint endpoint_of(const struct wire_endpoint *wire)
{
    return (struct endpoint){{wire->address.ip, wire->address.port}, wire->id};
}
static inline bool endpoint_equal(struct endpoint a, struct endpoint b)
{
    return address_equal(a.address, b.address) && a.id == b.id;
}
/* Errors after which a request may be tried at another server: nothing was said about the request itself. */
bool client_error_is_transport(int error);

void commit_description_changed(struct client *client);
void commit_reads_over(struct transaction *txn);
void commit_version_known(struct transaction *txn);

/* ---- the fate of a commit with an idempotency id (commit_lookup.c) ---- */

struct commit_lookup;
struct special_commit;

struct lookup_result {
    bool found;
    version_t version; /* where it committed, if found */
    uint16_t order;
    bool more;             /* not found yet: another page is there */
    bool may_have_expired; /* not found: it may have been there all the same */
};
/* Looks at ids of versions above `above`. */
int lookup_create(struct client *client, version_t above, struct commit_lookup **ret_lookup);
void lookup_destroy(struct commit_lookup *lookup); /* accepts NULL */
/* Starts the next page (or the same again), as a wait of `op`; lookup_take then says what it has. */
void lookup_page(struct commit_lookup *lookup, struct op *op);
int lookup_take(struct commit_lookup *lookup, struct bytes id, version_t above, struct lookup_result *ret);

/* ---- the transaction ---- */

/* A commit, and what comes after a lost answer; embedded in its transaction (commit.c). */
struct commit_op {
    struct op op;
    struct rpc_call rpc;
    struct wait_timer timer;
    struct list link; /* client->transactions */
    struct endpoint proxy;
    version_t version;
    int64_t delay_us;
    struct bytes_buffer fence; /* a key in both conflict ranges: a commit that writes it settles this one's fate */
    struct bytes_buffer id;       /* its idempotency id; empty: none */
    struct commit_lookup *lookup; /* owned; while the id is looked for */
    struct special_commit *special; /* owned; while writes to special keys become mutations */
    bool waits_for_reads, waits_for_version, waits_for_proxy, in_flight;
    bool lost; /* its proxy is no more: there will be no answer */
    bool fencing;
};

enum transaction_state { TXN_OPEN, TXN_COMMITTING, TXN_COMMITTED };

struct transaction_settings { /* what survives a reset, and the defaults of new ones */
    int64_t timeout_ms;         /* 0: none */
    int64_t retry_limit;        /* -1: none */
    int64_t max_retry_delay_ms;
    int64_t size_limit;
    bool snapshot_ryw_off;
    bool used_during_commit_off;
    bool bypass_unreadable;
    bool report_conflicts;
    bool automatic_idempotency;
    int api_version; /* whose behaviour a program expects: API_VERSION_MIN to API_VERSION_MAX */
};

struct transaction {
    struct client *client; /* borrowed */
    pthread_mutex_t lock;  /* guards what "any thread" functions touch: down to `settings` */
    enum transaction_state state;
    int error;    /* everything fails with it: cancelled, timed out, or what on_error refused */
    int deferred; /* the first error of a write: reads and the commit fail with it */
    char *why;      /* owned: what was in the way when the time-out came; NULL: nothing to say */
    int read_error; /* the first error of a read: the commit fails with it */
    struct ryw ryw;
    struct bytes_buffer mutations, read_conflicts, write_conflicts;
    struct bytes_buffer special_table, special_error; /* special_write.c: what was written; why it was refused, as JSON */
    uint64_t trace_id, trace_token; /* special_settings.c; drawn when they are first asked for */
    uint64_t size;
    bool trace_id_set, trace_token_wanted;
    bool no_write_conflict_next, ryw_off, system_write, system_read, raw_access, lock_aware, read_lock_aware, causal_write_risky,
        include_port, special_relaxed, special_writes, special_system, use_grv_cache, has_identifier;
    bool touched; /* it has read or written */
    struct tag_set tags;
    _Atomic uint8_t auto_tags; /* written under the lock; mask of those that the cluster may limit by itself */
    int64_t tag_throttled_us; /* since it began, retries included */
    struct arena conflict_arena; /* of the last commit's conflicts */
    struct conflict *conflicts;
    uint32_t conflict_count;
    struct bytes_buffer idempotency_id; /* empty: none was set */
    unsigned grv_class;
    version_t read_version, committed_version;
    uint16_t stamp_order;
    int stamp_error; /* 0: committed_version and stamp_order make one */
    int64_t backoff_us;
    int64_t retries;
    int64_t began_us; /* for the time-out */
    bool sync_wanted;
    struct transaction_settings settings, defaults;

    _Atomic uint32_t watching; /* watches that are still its own */
    _Atomic uint32_t incarnation; /* written under the lock; calls of an older one are void */

    /* the env thread's */
    struct list ended;        /* client_call.link of those whose done() is still to run */
    struct list gets, ranges; /* under way: transaction_get.call.link, transaction_range.link */
    struct list specials;      /* special_read.link */
    struct list mappeds;       /* transaction_mapped.link */
    struct list watches;       /* client_watch.link */
    uint32_t watches_reading;  /* of them: their value is not known yet; its get may have ended already */
    struct list queries;       /* transaction_query.link */
    struct list version_waits; /* transaction_version.call.link, waiting for the version */
    struct list retry_waits;
    struct grv_wait grv;
    bool grv_under_way;
    int grv_error; /* of the present incarnation */
    uint32_t synced_incarnation;
    struct env_timer timeout;
    struct client_call *commit_call;
    struct commit_op commit;
};

static inline uint32_t transaction_incarnation(struct transaction *txn)
{
    return atomic_load_explicit(&txn->incarnation, memory_order_acquire);
}

static inline void transaction_lock(struct transaction *txn)
{
    pthread_mutex_lock(&txn->lock);
}

static inline void transaction_unlock(struct transaction *txn)
{
    pthread_mutex_unlock(&txn->lock);
}

/* client_call_begin for a call of a transaction: when that is destroyed, the call's done() is not run any more. */
static inline void transaction_call_begin(struct transaction *txn, struct client_call *call, struct op *op,
                                          void (*cancel)(struct client_call *call))
{
    client_call_begin(call, op, txn->client->env, cancel);
    call->ended = &txn->ended;
}

/* Conflict ranges have had a size since API version 300. Under the lock. */
static inline void transaction_charge_conflict(struct transaction *txn, size_t bytes)
{
    if (txn->settings.api_version >= 300)
        txn->size += bytes;
}

/* A call was asked for in `incarnation` and stands on its list: it ends when that is over, whoever has found that out. */
void transaction_begun(struct transaction *txn, uint32_t incarnation);
/* Counts one read of the transaction's for its tags of option 801, in a message's array (read_tags.c). */
void read_tags_add(struct arena *arena, struct transaction *txn, struct read_tag **tags, uint32_t *count);
/* A read ended with `error`: the commit of its incarnation will. */
void transaction_read_failed(struct transaction *txn, uint32_t incarnation, int error);
/* The error with which everything of this transaction fails now, or 0. Under the lock. */
int transaction_failure(const struct transaction *txn);
void transaction_reset_committed(struct transaction *txn);
int transaction_check_read(const struct transaction *txn, struct bytes key, bool range_end);
/* Env thread: calls got() of every waiter when the read version is there. Asks for it if nobody has. Returns true and the
 * version when it is known already. */
bool transaction_version_or_ask(struct transaction *txn, version_t *ret_version);
/* Env thread: what a commit waits for. */
bool transaction_is_reading(const struct transaction *txn);
void transaction_reads_changed(struct transaction *txn);
void commit_cancel(struct transaction *txn);
void range_version_known(struct transaction_range *range);
void range_fail(struct transaction_range *range, int error);
void query_fail(struct transaction_query *query, int error);
