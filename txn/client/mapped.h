/* Mapped ranges: an index is read, and what each of its entries points at, in one call. FoundationDB's get_mapped_range.
 *
 * The mapper is a packed tuple. Of each pair of the index a key is made of it: a string element {K[i]} is replaced by element i of the
 * pair's key, {V[i]} by element i of its value (both packed tuples), and all others stay; "{{" and "}}" mean a brace. With {...} as the
 * last element, all keys below the made one are read, else that key alone. Only for serializable reads that see nothing of the
 * transaction's own writes. */
#pragma once

#include "txn/client/transaction.h"

struct mapped_row {
    struct bytes key, value; /* of the index */
    struct bytes begin, end; /* what was read for it */
    struct client_pair *pairs;
    uint32_t pair_count;
}; /* all in the arena */

struct mapper_part;

/* Zeroed is idle; transaction_mapped_done() frees it. Errors: those of a range read; 2108 (snapshot, or read-your-writes is off), 2030,
 * 2032, 2033 (more than 2,000 pairs or 10 MB for one entry), 2039 (it would see own writes), 2041, 2042, 2043. */
struct transaction_mapped {
    struct client_call call; /* first */
    struct mapped_row *rows; /* in the arena */
    uint32_t row_count;
    bool more;
    struct arena arena;
    /* what follows is the client's */
    struct list link; /* among the transaction's */
    struct op op;
    struct transaction *txn;
    uint32_t incarnation;
    struct mapper_part *parts; /* in the arena */
    uint32_t part_count;
    bool is_range;
    struct transaction_range_options options;
    struct transaction_range index;
    struct transaction_range *reads; /* owned */
    uint32_t at, reading;            /* rows that are done; that are being read */
    struct gather gather;
    uint64_t bytes;
};

/* The halves, as of other calls: prepare (any thread) says true when it is over. */
bool transaction_mapped_prepare(struct transaction_mapped *mapped, struct transaction *txn, struct key_selector begin,
                                struct key_selector end, struct bytes mapper, const struct transaction_range_options *options);
void transaction_mapped_submit(struct transaction_mapped *mapped, struct op *op);
void transaction_mapped_done(struct transaction_mapped *mapped);
/* The transaction's: ends it. */
void mapped_fail(struct transaction_mapped *mapped, int error);
