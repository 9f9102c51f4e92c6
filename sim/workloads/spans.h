/* Sets of key ranges, for workloads that look at a transaction's conflict ranges: what it should have, and what it says that it has.
 *
 * The special keys \xff\xff/transaction/.. give such a set as a "1" at each key where a range begins and a "0" where it ends. */
#pragma once

#include "net/arena.h"
#include "sim/transaction.h"

enum { SPANS_MAX = 256 };

struct span {
    struct bytes begin, end; /* in the arena */
};

struct spans {
    struct span at[SPANS_MAX];
    size_t count;
    struct arena *arena; /* the transaction's */
};

#define READ_CONFLICT_RANGES "\xff\xff/transaction/read_conflict_range/"
#define WRITE_CONFLICT_RANGES "\xff\xff/transaction/write_conflict_range/"
#define CONFLICTING_KEYS "\xff\xff/transaction/conflicting_keys/"

/* Empty; the transaction's, until it is retried or destroyed. */
struct spans *spans_create(struct sim_transaction *transaction);
/* Nothing when it is empty. */
void spans_add(struct spans *spans, struct bytes begin, struct bytes end);
void spans_add_key(struct spans *spans, struct bytes key);
/* Ascending, and ranges that touch are one: what the functions below want of both sets. */
void spans_join(struct spans *spans);
bool spans_cover(const struct spans *spans, struct bytes begin, struct bytes end);
bool spans_meet(const struct spans *spans, struct bytes begin, struct bytes end);
bool spans_equal(const struct spans *a, const struct spans *b);
/* All of one of the three prefixes above. *ret_well: the answer has the form; *ret_spans is joined then. 0 or the read's error. */
int spans_read(struct sim_transaction *transaction, const char *prefix, struct spans *ret_spans, bool *ret_well);
