/* What was written in the last seconds, so that a resolver can say who conflicts.
 *
 * A transaction conflicts if and only if some write range of a committed transaction, at a version above its read version
 * (its own batch's earlier transactions included), meets one of its read ranges. The answer is exact: no conflict is
 * missed and none is invented, whatever the hashes collide.
 *
 * Memory is bounded by what was written in the window: it is freed in generations of half a second of versions when
 * conflict_set_set_oldest passes them.
 *
 * The set owns copies of every key. Allocation failure (ERROR_OUT_OF_MEMORY) in the middle of a batch leaves the set half
 * written: it stays failed, every later resolve returns the same error, and its owner destroys it. */
#pragma once

#include "net/arena.h"
#include "net/bytes.h"
#include "txn/types.h"

struct conflict_set;

enum conflict_verdict {
    CONFLICT_COMMITTED = 0,
    CONFLICT_CONFLICT = 1, /* not_committed */
    CONFLICT_TOO_OLD = 2,  /* it has read ranges, and its read version is below the window: transaction_too_old */
};

/* The newest write that a read met, or a part of it (a wide write may have been cut by others). */
struct conflict_write {
    struct bytes begin, end; /* end is not there when is_point */
    bool is_point;
    version_t version;
};

struct conflict_transaction {
    version_t read_version;
    struct bytes read_ranges;  /* borrowed during the call; table of txn/conflict_range.h */
    struct bytes write_ranges; /* the same */
    bool report;               /* wants conflicting_reads */

    /* Results. */
    enum conflict_verdict verdict;
    const struct conflict_write *conflicting_writes; /* what each of them met, in the arena */
    uint32_t conflicting_count;        /* 0 unless report and the verdict is CONFLICT */
    const uint32_t *conflicting_reads; /* indexes into read_ranges, ascending; lives in the arena of the call */
};

/* `oldest`: reads below it are too old. `seed` (random, from env) keeps the hash and the index from being attacked by
 * chosen keys. 0 or ERROR_OUT_OF_MEMORY. */
int conflict_set_create(version_t oldest, uint64_t seed, struct conflict_set **ret_set);
void conflict_set_destroy(struct conflict_set *set); /* accepts NULL */

/* Judges the transactions of a batch in their order and enters the writes of those that commit at `version`, which is above
 * every earlier batch's. `arena` holds the reports; it may be NULL when no transaction asks for one. Errors:
 * ERROR_SERIALIZATION_FAILED for a malformed or inverted range (nothing was entered, results are undefined);
 * ERROR_OUT_OF_MEMORY (see above). */
int conflict_set_resolve(struct conflict_set *set, version_t version, struct conflict_transaction *transactions,
                         size_t count, struct arena *arena);

/* Moves the window up (lower values than the present one do nothing) and frees generations that lie below it. */
void conflict_set_set_oldest(struct conflict_set *set, version_t oldest);

version_t conflict_set_oldest(const struct conflict_set *set);
version_t conflict_set_newest(const struct conflict_set *set); /* of the last batch; `oldest` when there was none */
size_t conflict_set_bytes(const struct conflict_set *set);     /* all memory held */
