/* A transaction: what it wrote, what it read, and how its commit ends. FoundationDB's semantics (its read-your-writes
 * transaction), with FoundationDB's error and option codes.
 *
 * Two kinds of functions. Those under "any thread" take the transaction's own lock and never wait: they may be called from
 * any thread. Those under "env thread" start or cancel calls and belong to the thread of the client's env. The simulator and
 * other single-threaded users need not care: the *_start functions do both halves.
 *
 * A read sees the writes that were made before it was asked for. Mutations and conflict ranges are encoded as they are
 * made. A failed write (say 2102) returns its error and is remembered: reads and the commit then fail with it.
 *
 * Life: reset() starts a new incarnation; calls of an older one complete with ERROR_TRANSACTION_CANCELLED. */
#pragma once

#include "net/arena.h"
#include "txn/client/client.h"
#include "txn/client/ryw.h"
#include "txn/keys.h"
#include "txn/mutation.h"

struct transaction;

/* ---- env thread: life ---- */

int transaction_create(struct client *client, struct transaction **ret_txn);
/* Cancels its calls silently (as client_call_cancel). Accepts NULL. */
void transaction_destroy(struct transaction *txn);

/* ---- any thread: writes, ranges, options, facts ---- */

int transaction_set(struct transaction *txn, struct bytes key, struct bytes value);
int transaction_clear(struct transaction *txn, struct bytes key);
int transaction_clear_range(struct transaction *txn, struct bytes begin, struct bytes end);
/* The types of mutation_type that applications know (2, 6..9, 12..17, 20); MIN and AND mean their V2. Else 2018. */
int transaction_atomic(struct transaction *txn, enum mutation_type type, struct bytes key, struct bytes param);

/* Why the time-out ended it, in words: what kept the client from the cluster then. "" when there is nothing to say. Returns `out`. */
char *transaction_explain(struct transaction *txn, char *out, size_t size);
/* As a failed write: remembers the error and returns it. */
int transaction_refuse(struct transaction *txn, int error);

enum conflict_kind { CONFLICT_READ = 0, CONFLICT_WRITE = 1 };
int transaction_add_conflict_range(struct transaction *txn, enum conflict_kind kind, struct bytes begin, struct bytes end);

/* Codes and parameters of FoundationDB's transaction options; integers are 8 bytes little-endian. Errors:
 * ERROR_INVALID_OPTION, ERROR_INVALID_OPTION_VALUE. */
int transaction_set_option(struct transaction *txn, int option, struct bytes value);

/* ERROR_READ_VERSION_ALREADY_SET, ERROR_VERSION_INVALID (<= 0). */
int transaction_set_read_version(struct transaction *txn, version_t version);
/* VERSION_NONE while there is none; after the commit of a transaction that wrote nothing, too. */
version_t transaction_committed_version(struct transaction *txn);
/* 0 and 10 bytes, or ERROR_NO_COMMIT_VERSION. Of the last commit. */
int transaction_versionstamp(struct transaction *txn, uint8_t ret_stamp[VERSIONSTAMP_BYTES]);
/* How long limits of its tags have held it back since it began, retries and their back-off included. */
int64_t transaction_tag_throttled_us(struct transaction *txn);
int64_t transaction_approximate_size(struct transaction *txn);

/* ---- env thread: calls; each completes as client_call says ---- */

/* A question for a key's location: the client's own. */
struct client_locate {
    struct list link;
    struct bytes key; /* borrowed while it waits */
    bool before;      /* the last key below it is meant */
    void (*got)(struct client_locate *locate); /* the cache has it */
};

/* A request that is answered by another replica if its own takes too long: the client's own. */
struct second_request {
    struct env_timer timer;
    struct client *client;
    struct client_server *server; /* borrowed */
    int64_t sent_us;
    bool grace_over;
    void (*late)(struct second_request *second);
};

struct transaction_version { /* get_read_version */
    struct client_call call; /* first */
    version_t version;       /* when error is 0 */
    struct transaction *txn;
    uint32_t incarnation;
};
void transaction_read_version_start(struct transaction_version *version, struct op *op, struct transaction *txn);
/* The halves, as below; prepare never completes. */
void transaction_read_version_prepare(struct transaction_version *version, struct transaction *txn);
void transaction_read_version_submit(struct transaction_version *version, struct op *op);

/* A get's place in a message, or among those of a server that wait for one. */
struct get_ask {
    struct list link;
    struct transaction_get *get;
    uint32_t slot; /* in its message */
    uint32_t replica;
    bool is_second;
};

/* One key. Zeroed is idle; reuse keeps its buffers; transaction_get_done() frees them. */
struct transaction_get {
    struct client_call call; /* first */
    bool present;            /* when error is 0 */
    struct bytes_buffer value; /* owned */
    /* what follows is the client's */
    struct transaction *txn;
    struct bytes_buffer key;
    const struct ryw_op *ops;
    uint32_t incarnation;
    uint32_t tried;    /* bit n: replica n of the location failed, */
    uint64_t located;  /* of that one: its number */
    version_t version; /* VERSION_NONE: not known yet */
    int64_t delay_us;
    struct env_timer timer;
    struct client_locate locate;
    struct get_ask asks[2]; /* two of two replicas are under way when the first was late */
};
void transaction_get_start(struct transaction_get *get, struct op *op, struct transaction *txn, struct bytes key, bool snapshot);
/* The halves: prepare (any thread) says true when the call needs no more (call.error, present, value are there, nothing will
 * complete); else submit must follow, with call.done set or an op. */
bool transaction_get_prepare(struct transaction_get *get, struct transaction *txn, struct bytes key, bool snapshot);
void transaction_get_submit(struct transaction_get *get, struct op *op);
void transaction_get_done(struct transaction_get *get);

struct client_pair {
    struct bytes key, value; /* in the range's arena */
};

/* A key selector: the last key below `key` (or_equal: at or below it), moved by `offset` keys. */
struct key_selector {
    struct bytes key;
    bool or_equal;
    int offset;
};
#define SELECT_FIRST_AT_OR_AFTER(k) ((struct key_selector){(k), false, 1})
#define SELECT_FIRST_AFTER(k) ((struct key_selector){(k), true, 1})
#define SELECT_LAST_AT_OR_BEFORE(k) ((struct key_selector){(k), true, 0})
#define SELECT_LAST_BEFORE(k) ((struct key_selector){(k), false, 0})

struct transaction_range_options {
    uint32_t limit;       /* pairs; 0: no limit */
    uint32_t bytes_limit; /* ends after the pair that reaches it; 0: no limit */
    bool reverse;
    bool snapshot;
    bool system;   /* the library's own: \xff may be read, also while the transaction commits */
    bool key_only; /* just finds the key that the begin selector means: it is in `begin` then */
    bool counts;   /* the library's own: pairs are counted and not kept, the last one's key is in `last_key` */
};

/* Pairs of [begin, end) in order (reverse: from the end). Zeroed is idle; transaction_range_done() frees it. */
struct transaction_range {
    struct client_call call; /* first */
    struct client_pair *pairs; /* owned */
    uint32_t pair_count; /* also when they are only counted */
    bool more; /* it ended because of a limit */
    struct arena arena;
    /* what follows is the client's */
    struct list link; /* among the transaction's reads */
    struct op op;
    struct range_ask {
        struct rpc_call rpc;
        struct client_server *server; /* shared, while it is under way */
        uint32_t replica;
    } asks[2]; /* the second: of another replica, when the first was late */
    struct gather answer; /* the first of them that is one */
    struct second_request second;
    struct wait_timer timer;
    struct client_locate locate;
    struct transaction *txn;
    struct transaction_range_options options;
    struct key_selector begin_selector, end_selector; /* keys in the arena */
    struct transaction_range *child;                  /* resolves a selector; owned */
    struct bytes begin, end;      /* in the arena; what is asked for */
    struct bytes low, high;       /* in the arena; what has not been read yet */
    struct bytes piece_low, piece_high; /* in the arena; what the server was asked for */
    struct ryw_segment *own;      /* what the transaction wrote there, in the direction of the read; owned */
    uint32_t own_count, own_capacity, own_next;
    uint32_t pair_capacity;
    struct bytes_buffer last_key; /* of the pairs */
    uint64_t bytes;
    uint32_t incarnation, tried;
    uint64_t located; /* as in a get */
    version_t version;
    int64_t delay_us;
    bool full; /* a limit was reached */
};
void transaction_range_start(struct transaction_range *range, struct op *op, struct transaction *txn, struct key_selector begin,
                             struct key_selector end, const struct transaction_range_options *options);
bool transaction_range_prepare(struct transaction_range *range, struct transaction *txn, struct key_selector begin,
                               struct key_selector end, const struct transaction_range_options *options);
void transaction_range_submit(struct transaction_range *range, struct op *op);
void transaction_range_done(struct transaction_range *range);
/* The key that a selector means, in range->begin: "" before the first, the end of what may be read after the last. */
bool transaction_key_prepare(struct transaction_range *range, struct transaction *txn, struct key_selector selector, bool snapshot);
void transaction_key_start(struct transaction_range *range, struct op *op, struct transaction *txn, struct key_selector selector,
                           bool snapshot);

/* Questions about a range that need no read version. `kind`, and chunk and limit where they apply, are set before the start. Zeroed is
 * idle; transaction_query_done() frees it. Errors: 2004, 2005. */
enum query_kind {
    QUERY_ADDRESSES,  /* of the servers that have `begin`: items are "ip:port" */
    QUERY_BOUNDARIES, /* where shards begin in [begin, end); at most `limit` (0: no limit) */
    QUERY_SIZE,       /* bytes */
    QUERY_SPLITS,     /* begin, a key about every `chunk` bytes, end; at most `limit` parts */
    QUERY_SHARDS,     /* where the shards of [begin, end) begin (the first: begin itself, if it is inside of one), with sizes */
};
struct transaction_query {
    struct client_call call; /* first */
    enum query_kind kind;
    int64_t chunk;
    uint32_t limit;
    struct bytes *items; /* owned; each in the arena, with a NUL behind it */
    int64_t *sizes;      /* owned; of the shards, else NULL */
    uint32_t count;
    int64_t bytes;
    /* what follows is the client's */
    struct list link; /* among the transaction's */
    struct arena arena;
    struct op op;
    struct rpc_call rpc;
    struct wait_timer timer;
    struct client_locate locate;
    struct transaction *txn;
    struct bytes begin, end, at;
    struct bytes piece_end; /* borrowed from the location, for one turn */
    struct client_server *server; /* shared, while a request is under way */
    uint32_t capacity, incarnation, tried, replica;
    int64_t carried, delay_us;
    bool without_port; /* addresses: as before API version 630 */
};
bool transaction_query_prepare(struct transaction_query *query, struct transaction *txn, struct bytes begin, struct bytes end);
void transaction_query_submit(struct transaction_query *query, struct op *op);
void transaction_query_start(struct transaction_query *query, struct op *op, struct transaction *txn, struct bytes begin,
                             struct bytes end);
void transaction_query_done(struct transaction_query *query);

/* Completes with 0 once the key's value is known to have changed from what the transaction sees now. It is the transaction's until
 * the commit, then the client's, and may outlive the transaction. Zeroed is idle; client_watch_done() cancels and frees. Errors: those of
 * a get and of the commit; ERROR_WATCHES_DISABLED (read-your-writes is off), ERROR_TOO_MANY_WATCHES,
 * ERROR_TRANSACTION_CANCELLED (reset before the commit). */
struct client_watch {
    struct client_call call; /* first */
    void (*detached)(struct client_watch *watch); /* may be NULL: it does not need its transaction any more */
    /* what follows is the client's */
    struct list link; /* of the transaction, of those that wait for a server, or of a session */
    struct client *client;
    struct transaction *txn;          /* NULL after the commit */
    struct transaction_get *reading;  /* owned; until the value is known */
    struct watch_session *session;
    struct bytes key; /* owned */
    const struct ryw_op *ops; /* what lay on the value in the own writes; only compared */
    uint64_t digest, seed;
    version_t version;
    uint32_t incarnation, slot; /* slot: its place in the table of ids + 1; 0: none */
    bool present, known;        /* the value */
    bool registered;            /* at the session's server */
    bool counted;
};
void transaction_watch_start(struct client_watch *watch, struct op *op, struct transaction *txn, struct bytes key);
/* The halves, as above; seed: random. */
bool transaction_watch_prepare(struct client_watch *watch, struct transaction *txn, struct bytes key, uint64_t seed);
void transaction_watch_submit(struct client_watch *watch, struct op *op, struct transaction *txn);
void client_watch_done(struct client_watch *watch);

/* Waits for the reads under way, then commits. Errors as in FoundationDB: 1020 not_committed, 1021 commit_unknown_result (it
 * will not commit any more once this has been said), 1007, 1038, 1042, 2101, ... A transaction that wrote nothing commits
 * without asking anybody. One at a time; while it runs and after it, everything but reset gives 2017. */
void transaction_commit_start(struct client_call *call, struct op *op, struct transaction *txn);
/* The halves, as above. */
bool transaction_commit_prepare(struct client_call *call, struct transaction *txn);
void transaction_commit_submit(struct client_call *call, struct op *op, struct transaction *txn);

/* What to do after `error`: completes with 0 after a back-off (10 ms doubling to 1 s, with jitter) and the transaction is
 * reset, to be tried again; or with the error itself when it is not retryable or the retry limit is reached: the transaction then stays
 * in that error. */
struct transaction_retry {
    struct client_call call; /* first */
    struct env_timer timer;
    struct transaction *txn;
    int64_t delay_us;
    uint32_t incarnation;
};
void transaction_on_error_start(struct transaction_retry *retry, struct op *op, struct transaction *txn, int error);
bool transaction_on_error_prepare(struct transaction_retry *retry, struct transaction *txn, int error, uint64_t random);
void transaction_on_error_submit(struct transaction_retry *retry, struct op *op);

/* Back to new, with the options that FoundationDB resets reset. Calls under way complete with 1025. */
void transaction_reset(struct transaction *txn);
/* Calls under way and all later ones fail with 1025, until a reset. */
void transaction_cancel(struct transaction *txn);
/* The halves of these two and of the time-out option: mark (any thread), then sync (env thread), which cancels what is of an
 * older incarnation and arms the time-out. */
void transaction_reset_mark(struct transaction *txn);
void transaction_cancel_mark(struct transaction *txn);
void transaction_sync(struct transaction *txn);
/* True when a mark or an option wants a transaction_sync(). */
bool transaction_wants_sync(struct transaction *txn);
