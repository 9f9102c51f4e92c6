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
    struct client_call controller;
    struct rpc_call rpc;
    struct wait_timer timer;
    struct transaction_range system; /* what the part at `at` is made of */
    uint32_t at;
    bool system_asked;
    struct bytes own; /* in the arena: what the transaction had written */
    struct key_selector begin, end;
    struct transaction_range_options options;
    unsigned needs;
    int64_t deadline_us;
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

/* Writes, under the transaction's lock: they wait for the commit. 0, 2114, 2115, 2116, 1501. */
int special_set(struct transaction *txn, struct bytes key, struct bytes value);
int special_clear(struct transaction *txn, struct bytes begin, struct bytes end);

/* A commit's turn to make mutations of what was written. Zeroed is idle. */
struct special_commit {
    struct transaction *txn;
    struct transaction_range system; /* what the part at `at` reads first */
    uint32_t at;
    bool system_asked;
};
/* *ret_waits: it resumes `op`, which calls again; else all is done. Errors: 2117 and those of the parts. */
int special_commit_go(struct special_commit *commit, struct transaction *txn, struct op *op, bool *ret_waits);
void special_commit_done(struct special_commit *commit);

/* ---- for the parts ---- */

enum { SPECIAL_NEEDS_STATUS = 1, SPECIAL_NEEDS_WORKERS = 2 };

struct special_span {
    const char *begin, *end; /* without \xff\xff; end NULL: one key */
};

struct special_part {
    struct special_span span;
    unsigned needs;
    struct bytes system_begin, system_end; /* read at the transaction's version before collect (when `needs` is 0) and commit (unless
                                              `unread`); empty: nothing */
    int (*collect)(struct special_read *read, const struct special_part *part);
    /* Under the transaction's lock. NULL: it can't be written. */
    int (*commit)(struct special_commit *commit, const struct special_part *part);
    /* Of parts whose keys stand for keys of the system, in [system_begin, system_end): */
    bool unread;         /* the commit needs nothing of what is there */
    bool keeps_value;    /* else what is written there has none */
    const char *command; /* the shell's, for the error's JSON */
    const char *(*refuses)(struct bytes rest, struct bytes value); /* why it can't be; NULL: it can */
};
extern const struct special_span special_modules[]; /* these two end with a begin of NULL */
extern const struct special_part special_parts[];

bool special_span_has(const struct special_span *span, struct bytes key);
/* Is the end of a range still in the span: its last key, or just behind it? */
bool special_span_ends_at(const struct special_span *span, struct bytes key);
/* Adds the pair \xff\xff, prefix, rest. */
int special_add(struct special_read *read, const char *prefix, struct bytes rest, struct bytes value);
int special_system_prepare(struct transaction_range *range, struct transaction *txn, const struct special_part *part,
                           const struct transaction_range_options *options);

/* What the transaction wrote last at the part's one key: false when it was cleared. Under the lock, as all below. */
bool special_written(const struct transaction *txn, const struct special_part *part, struct bytes *ret_value);
/* Writes of keys of the system, with their conflict ranges. */
int special_system_set(struct transaction *txn, struct bytes key, struct bytes value);
int special_system_clear(struct transaction *txn, struct bytes key);
int special_system_clear_range(struct transaction *txn, struct bytes begin, struct bytes end);
/* Returns 2117, and \xff\xff/error_message says why. */
int special_refuse(struct transaction *txn, const char *command, const char *message);

/* ---- parts whose keys stand for keys of the system (special_operator.c) ---- */

int special_collect_mapped(struct special_read *read, const struct special_part *part);
int special_commit_mapped(struct special_commit *commit, const struct special_part *part);
const char *special_refuses_address(struct bytes rest, struct bytes value);
const char *special_refuses_class(struct bytes rest, struct bytes value);
const char *special_refuses_nothing(struct bytes rest, struct bytes value);
