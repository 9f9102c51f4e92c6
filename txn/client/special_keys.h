/* The special keys, \xff\xff: what the client library answers by itself. Private to txn/client.
 *
 * A module is a key, or all keys below a prefix; a read that leaves its module fails with 2112 (unless relaxed), one that meets none
 * with 2113. Its parts, with the functions that make their pairs and commit what was written to them, are a table
 * (special_modules.c). A write needs the option (2114) and a part that takes writes (2115); a clear must stay within one part
 * (2116). What was written is kept apart, is seen by the transaction's own reads of special keys, and becomes mutations of keys of
 * the system when it commits; a part that refuses fails the commit with 2117, and \xff\xff/error_message says why, as JSON. */
#pragma once

#include "txn/client/client_admin.h"
#include "txn/client/transaction.h"

enum { SPECIAL_RANGES_MAX = 3 };

/* What a part wants to know of the cluster, before it makes pairs or mutations. */
enum { SPECIAL_NEEDS_STATUS = 1, SPECIAL_NEEDS_WORKERS = 2, SPECIAL_NEEDS_SHARDS = 4 }; /* reads: status and shards, all three; commits: workers */
struct special_needs {
    unsigned what;
    struct {
        struct bytes begin, end;
    } ranges[SPECIAL_RANGES_MAX]; /* of the system's keys, at the transaction's version; an empty end: no more */
};

/* Brings it, a wait after the other (special_fetch.c). Zeroed is idle. */
struct special_fetch {
    struct client_call controller;
    struct rpc_call rpc;
    struct wait_timer timer;
    struct transaction_range ranges[SPECIAL_RANGES_MAX];
    uint32_t range_count; /* that have come */
    bool workers_known, range_asked;
    enum { SPECIAL_FETCH_FIND, SPECIAL_FETCH_ASK, SPECIAL_FETCH_TAKE } step; /* of the workers */
};

struct special_read {
    struct client_call call; /* first */
    struct client_pair *pairs; /* owned; `count` from `first` on are the answer */
    uint32_t pair_count, capacity, first, count;
    bool more;
    struct arena arena;
    /* private */
    struct list link; /* among the transaction's */
    struct transaction *txn;
    uint32_t incarnation;
    struct op op;
    struct client_status status;
    struct special_fetch fetch;
    struct transaction_query shards; /* of metrics/data_distribution_stats/ */
    struct wait_timer timer;
    uint32_t at;
    bool whole_module, everywhere, shards_asked; /* everywhere: modules do not count (option 713) */
    struct bytes own; /* in the arena: what the transaction had written */
    struct key_selector begin, end;
    struct transaction_range_options options;
    unsigned needs;
};

static inline bool special_contains(struct bytes key)
{
    return key.len >= 2 && key.ptr[0] == 0xff && key.ptr[1] == 0xff;
}
/* True: it is over (call.error). One key: begin and end as for a range of it. */
bool special_read_prepare(struct special_read *read, struct transaction *txn, struct key_selector begin, struct key_selector end,
                          const struct transaction_range_options *options);
void special_read_submit(struct special_read *read);
void special_read_fail(struct special_read *read, int error);
void special_read_done(struct special_read *read);

/* Writes, under the transaction's lock: they wait for the commit. 0, 2114, 2115, 2116, 2117 (what may not be cleared), 1501. */
int special_set(struct transaction *txn, struct bytes key, struct bytes value);
int special_clear(struct transaction *txn, struct bytes begin, struct bytes end);

/* A commit's turn to make mutations of what was written. Zeroed is idle. */
struct special_commit {
    struct transaction *txn;
    struct special_fetch fetch; /* for the part at `at` */
    uint32_t at;
};
/* *ret_waits: it resumes `op`, which calls again; else all is done. Errors: 2117 and those of the parts. */
int special_commit_go(struct special_commit *commit, struct transaction *txn, struct op *op, bool *ret_waits);
void special_commit_done(struct special_commit *commit);

/* ---- for the parts ---- */

struct special_span {
    const char *begin, *end; /* without \xff\xff; end NULL: one key */
};

struct special_part {
    struct special_span span;
    struct special_needs to_collect, to_commit;
    bool lock_aware; /* it can be read though the database is locked */
    int (*collect)(struct special_read *read, const struct special_part *part);
    /* Under the transaction's lock. NULL: it can't be written. */
    int (*commit)(struct special_commit *commit, const struct special_part *part);
    /* Under the lock; false: what was written needs nothing of to_commit. NULL: it does. */
    bool (*judges)(const struct transaction *txn, const struct special_part *part);
    const char *command;   /* the shell's, for the error's JSON */
    const char *uncleared; /* why nothing of it may be cleared; NULL: it may */
    int (*sets_at_once)(struct transaction *txn, struct bytes rest, struct bytes value); /* NULL: writes wait for the commit */
    bool (*ignores)(struct bytes rest); /* keys that are taken and forgotten, as in FoundationDB; may be NULL */
    /* Of parts whose keys stand for keys of the system: another prefix, the same rest. */
    struct bytes map_begin, map_end;
    bool keeps_value; /* else what is written there has none */
    const char *(*refuses)(struct bytes rest, struct bytes value); /* why it can't be; NULL: it can */
};
extern const struct special_span special_modules[]; /* these two end with a begin of NULL */
extern const struct special_part special_parts[];

bool special_span_has(const struct special_span *span, struct bytes key);
/* Is the end of a range still in the span: its last key, or just behind it? */
bool special_span_ends_at(const struct special_span *span, struct bytes key);
/* What stands behind the part's prefix. */
struct bytes special_rest(const struct special_part *part, struct bytes key);
/* Adds the pair \xff\xff, prefix, rest. */
int special_add(struct special_read *read, const char *prefix, struct bytes rest, struct bytes value);
int special_add_text(struct special_read *read, const char *prefix, const char *rest, const char *value);

/* Env thread. *ret_waits: it resumes `op`, and this is to be called again. */
int special_fetch_go(struct special_fetch *fetch, struct transaction *txn, uint32_t incarnation, const struct special_needs *needs,
                     struct op *op, bool *ret_waits);
/* The next part's ranges are others; the workers stay. */
void special_fetch_next(struct special_fetch *fetch);
void special_fetch_done(struct special_fetch *fetch);
/* What has come: borrowed. */
const struct get_workers_reply *special_fetched_workers(const struct special_fetch *fetch); /* NULL: none */
bool special_fetched(const struct special_fetch *fetch, struct bytes key, struct bytes *ret_value);

/* What the transaction wrote last at the part's one key: false when it was cleared. Under the lock, as all below. */
bool special_written(const struct transaction *txn, const struct special_part *part, struct bytes *ret_value);
/* The next write to the part from *left on, which begins as the transaction's table. */
bool special_next_write(struct bytes *left, const struct special_part *part, struct mutation *ret_write);
/* Is what stands at the key (without \xff\xff) set, as the transaction left it? */
bool special_is_set(const struct transaction *txn, const char *key);
/* Writes of keys of the system, with their conflict ranges. */
int special_system_set(struct transaction *txn, struct bytes key, struct bytes value);
int special_system_clear(struct transaction *txn, struct bytes key);
int special_system_clear_range(struct transaction *txn, struct bytes begin, struct bytes end);
/* Returns 2117, and \xff\xff/error_message says why: FoundationDB's JSON. */
int special_refuse(struct transaction *txn, const char *command, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* ---- parts whose keys stand for keys of the system (special_mapped.c) ---- */

int special_collect_mapped(struct special_read *read, const struct special_part *part);
int special_commit_mapped(struct special_commit *commit, const struct special_part *part);
const char *special_refuses_nothing(struct bytes rest, struct bytes value);

/* ---- what an operator asks of processes and of the data distributor (special_operator.c, special_processes.c) ---- */

int special_collect_in_progress(struct special_read *read, const struct special_part *part);
int special_commit_exclusions(struct special_commit *commit, const struct special_part *part);
bool special_judges_exclusions(const struct transaction *txn, const struct special_part *part);
int special_collect_classes(struct special_read *read, const struct special_part *part);
int special_collect_class_sources(struct special_read *read, const struct special_part *part);
int special_commit_classes(struct special_commit *commit, const struct special_part *part);
int special_collect_coordinators(struct special_read *read, const struct special_part *part);
int special_collect_auto_coordinators(struct special_read *read, const struct special_part *part);
int special_commit_coordinators(struct special_commit *commit, const struct special_part *part);

int special_collect_maintenance(struct special_read *read, const struct special_part *part);
int special_commit_maintenance(struct special_commit *commit, const struct special_part *part);
int special_collect_distribution(struct special_read *read, const struct special_part *part);
int special_commit_distribution(struct special_commit *commit, const struct special_part *part);
int special_collect_profiling(struct special_read *read, const struct special_part *part);
const char *special_refuses_profiling(struct bytes rest, struct bytes value);
bool special_ignores_option(struct bytes rest);
int special_collect_nothing(struct special_read *read, const struct special_part *part);
int special_commit_nothing(struct special_commit *commit, const struct special_part *part);

/* ---- tracing/, global_config/ and metrics/ (special_settings.c, special_metrics.c) ---- */

int special_collect_tracing(struct special_read *read, const struct special_part *part);
int special_commit_tracing(struct special_commit *commit, const struct special_part *part);
/* Takes effect at once: nothing of it waits for the commit. */
int special_set_tracing(struct transaction *txn, struct bytes rest, struct bytes value);
int special_collect_global_config(struct special_read *read, const struct special_part *part);
const char *special_refuses_global_config(struct bytes rest, struct bytes value);
int special_collect_shard_stats(struct special_read *read, const struct special_part *part);
int special_collect_health(struct special_read *read, const struct special_part *part);
