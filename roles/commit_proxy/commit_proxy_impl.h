/* Private to roles/commit_proxy/: the role, a batch, and what the files do for each other. */
#pragma once

#include <assert.h>

#include "net/list.h"
#include "roles/commit_proxy/commit_proxy.h"
#include "roles/rate_reporter.h"
#include "roles/tag_counter.h"
#include "roles/steady_call.h"
#include "txn/kv_map.h"
#include "txn/log_system.h"
#include "txn/mutation.h"
#include "txn/resolver_map.h"
#include "txn/shard_map.h"

enum { SETTINGS_WAITERS_MAX = 8 };

struct commit_proxy {
    struct role_context context;
    uint64_t id, epoch;
    struct arena arena; /* holds resolvers and generation */
    struct endpoint sequencer;
    struct endpoint *resolvers; /* in the order of their parts */
    uint32_t resolver_count;
    struct resolver_map resolver_map; /* which part of the key space each holds, and held lately */
    version_t cut_version;            /* the newest of a batch that was cut by it */
    struct generation generation;
    version_t recovery_version;

    /* The metadata as of applied_version. */
    struct kv_map *metadata;  /* owned */
    struct shard_map *shards; /* owned */
    version_t applied_version;
    bool locked;        /* the database is */
    bool state_changed; /* locked or metadataVersion has changed in this epoch */
    bool settings_touched;        /* what is being applied has changed what an operator set */
    version_t settings_version;   /* that changed it last; the recovery version: none in this epoch */
    struct list settings_waiters; /* rpc_request.link */
    uint32_t settings_waiter_count;

    struct list queue; /* commit requests that no batch has taken */
    uint32_t queued_count;
    size_t queued_bytes, held_bytes; /* held: queued, and in batches */
    int64_t waited_us;               /* the least that a batch's oldest has stood in the queue since the last report; -1: no batch */
    struct rate_reporter reporter;
    struct tag_counter tag_writes;
    uint64_t reported_commits, held_back;
    int64_t hold_sets_until_us; /* until then no transaction may set anything: a disk is nearly full */
    struct op_list ops;
    unsigned slots_used, batches_under_way;
    struct commit_batch *closing; /* borrowed: has not taken its transactions yet */
    uint64_t newest_batch;        /* number */
    int64_t newest_batch_us;
    struct turnstile apply_turn;  /* stands at the number of the batch that may apply */
    version_t known_committed;    /* reported, and the sequencer said yes */
    version_t forgot_ids;         /* the version at which expired idempotency ids were last cleared */
    version_t told_committed;     /* the newest one that the logs were sent */
    struct op ticker;             /* empty batches */
    struct wait_timer tick;
    bool ended;

    uint64_t commits_in, committed, conflicts, too_old, refused, overloaded, batches, empty_batches, metadata_transactions;
    uint64_t mutations, mutation_bytes, locations;
};

/* Of one that asked for it; all in the batch's arena. */
struct reported_conflict {
    struct conflict conflict;
    struct reported_conflict *next;
};

/* A transaction of a batch. */
struct commit_item {
    struct rpc_request *request; /* owned until it is answered; NULL then */
    const struct commit *body;   /* borrowed from the request */
    unsigned flags;              /* enum commit_flags that count */
    struct mutation_table_facts facts;
    struct bytes mutations;      /* of the request; a patched copy in the batch's arena if it has versionstamps */
    struct bytes metadata;       /* what it changes of the metadata, in the batch's arena; empty: nothing */
    struct reported_conflict *conflicts;
    uint32_t conflict_count;
    int error;                   /* what the client hears; 0: it commits, as far as is known */
};

/* Which transactions a resolver was asked about. */
struct asked {
    uint32_t *items; /* indexes of the batch's items, in the batch's arena */
    uint32_t count;
};

/* The mutations of one set of tags. */
struct section {
    const struct shard_team *team; /* NULL: a private mutation's */
    const tag_t *tags;             /* in the content's arena */
    uint32_t tag_count;
    uint64_t logs;                 /* mask */
    size_t len;
    uint8_t *bytes; /* in the content's arena */
    size_t filled;
    uint64_t digest; /* once it is filled */
};

/* Mutations of one push, at most: a client must not be able to make a version that no log can take. A transaction that alone is
 * larger is refused; a batch closes before it. */
enum { COMMIT_PUSH_BYTES_MAX = 24 * 1024 * 1024 };
static_assert(COMMIT_PUSH_BYTES_MAX < RPC_FRAME_BYTES_MAX / 2, "a push fits a log's limit, with room for its metadata");
static_assert(COMMIT_PUSH_BYTES_MAX > 2 * TRANSACTION_BYTES_MAX, "whatever is a legal transaction can be pushed");

struct commit_batch {
    struct op op;
    struct commit_proxy *proxy; /* borrowed: the owner */
    uint64_t number;            /* 1, 2, 3, ..: the request number of GET_VERSION, and the order of APPLY_METADATA */
    struct arena arena;
    struct commit_item *items; /* in the arena */
    uint32_t count;
    size_t bytes; /* of the requests */
    size_t push_bytes; /* of their mutations once clears are split by shards */
    version_t version, prev_version;
    bool holds_slot, dawdled;
    struct wait_timer dawdle;
    struct wait_turn turn;

    struct steady_call *calls; /* in the arena; of the present stage */
    uint32_t call_count, calls_pending;
    int call_error;
    struct asked *asked; /* one a resolver; in the arena */

    struct bytes_buffer privates; /* struct private_mutation, in order */
    struct bytes_buffer sections; /* struct section */
    struct bytes_buffer pieces;   /* of tagging */
    struct message *content;      /* owned reference: holds the bytes of all pushes */
    struct bytes content_metadata;
    struct message **pushes; /* owned references, one a log; in the arena */

    /* As of `version`. */
    bool locked, state_changed;
    struct bytes metadata_version; /* in the arena */
};

/* serverKeys/<server>/<begin> was set. */
struct private_mutation {
    uint64_t server;
    struct bytes begin, value; /* in the batch's arena */
    tag_t tag;
    bool tag_known;
};

/* What a request counts for while the proxy holds it. */
static inline size_t commit_held_bytes(const struct commit *body)
{
    return body->mutations.len + body->read_conflicts.len + body->write_conflicts.len + sizeof(struct rpc_request);
}

/* ---- commit_proxy.c ---- */

void commit_proxy_end(struct commit_proxy *proxy, int error, const char *why);
/* Starts a batch if there is something to commit and a slot is free. */
void commit_proxy_go(struct commit_proxy *proxy);
/* A batch has ended. */
void commit_proxy_batch_ended(struct commit_proxy *proxy, bool well);

/* ---- commit_batch.c ---- */

void commit_batch_start(struct commit_proxy *proxy);

/* ---- commit_load.c ---- */

void commit_load_start(struct commit_proxy *proxy);
/* A batch has taken a request that came then. */
void commit_load_taken(struct commit_proxy *proxy, const struct rpc_request *oldest);
/* A disk is nearly full, and the transaction would set something of the users'. */
bool commit_is_held_back(struct commit_proxy *proxy, const struct rpc_request *request);

/* ---- idempotency.c ---- */

enum { IDEMPOTENCY_PUSH_BYTES = 512 }; /* at most, for an id and a clear */
/* Adds what keeps the item's id, and now and then what forgets those that have expired, to the item's mutations. */
int commit_add_idempotency(struct commit_batch *batch, uint32_t index);

/* ---- commit_check.c: pure ---- */

/* Everything that can be said about a transaction before its batch has a version. 0 or the client's error. */
/* What a table takes in a push, where a clear stands once for each shard that it meets. Stops counting above
 * COMMIT_PUSH_BYTES_MAX; the table need not be valid. */
size_t commit_push_bytes(const struct commit_proxy *proxy, struct bytes table);
int commit_check(const struct commit *body, unsigned flags, struct mutation_table_facts *ret_facts);
/* Appends the part of a checked, patched table that changes metadata: clears are cut to it. */
int commit_metadata_part(struct bytes mutations, struct bytes_buffer *out);

/* ---- commit_resolve.c ---- */

/* Takes a newer partition of the key space, if the reply tells of one. ERROR_OPERATION_FAILED when it can't be right: it is not the next
 * one, or a version that it counts for was cut without it. */
int commit_resolve_take_partition(struct commit_batch *batch, const struct get_commit_version_reply *reply);
/* Who held what when that was read is not known any more: nobody could say that there is no conflict. */
bool commit_resolve_is_forgotten(const struct commit_proxy *proxy, version_t read_version);
/* Every batch of this proxy through `version` has been judged. */
void commit_resolve_forget(struct commit_proxy *proxy, version_t version);
/* The request to resolver `index`; fills batch->asked[index]. */
int commit_resolve_request(struct commit_batch *batch, uint32_t index, struct message **ret_request);
/* Puts the verdicts of all replies into the items. ERROR_OPERATION_FAILED when a reply does not fit its request. */
int commit_resolve_judge(struct commit_batch *batch);

/* ---- commit_metadata.c ---- */

/* Brings the proxy's metadata from the last applied version to the batch's: lower versions that the resolvers told of, then
 * the batch's own transactions in order, refusing those that the lock refuses. */
int commit_metadata_apply(struct commit_batch *batch);
/* Applies one table to metadata and shard map. `batch` collects private mutations; NULL: somebody else's table. */
int commit_metadata_take(struct commit_proxy *proxy, struct commit_batch *batch, struct bytes table);

/* ---- commit_push.c ---- */

/* Tags the committed mutations and makes batch->pushes. ERROR_OPERATION_FAILED when a key has no shard. */
int commit_push_build(struct commit_batch *batch);

/* ---- settings.c ---- */

/* Does it change what an operator set (\xff/conf/, \xff/processClass/)? */
bool settings_touched_by(const struct mutation *mutation);
void settings_receive(struct commit_proxy *proxy, struct rpc_request *request);
/* Answers controllers; after the known committed version has risen. */
void settings_look(struct commit_proxy *proxy);
/* Fails those that wait. */
void settings_done(struct commit_proxy *proxy);

/* ---- key_locations.c ---- */

void key_locations_receive(struct commit_proxy *proxy, struct rpc_request *request);
