/* The special keys, \xff\xff: what the client library answers by itself. Private to txn/client.
 *
 * A module is a key, or all keys below a prefix; a table in special_keys.c says who makes its pairs and what that needs to know
 * first. A read that leaves its module fails with 2112 (unless relaxed), one that meets none with 2113. Nothing can be written yet:
 * 2114 without the option, 2116 for a clear across modules, else 2115. */
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
/* Why [begin, end) can't be written. Under the lock. */
int special_write_error(const struct transaction *txn, struct bytes begin, struct bytes end);
