/* A transaction of the distributor's: reads, decides, writes, commits, and again until its fate is known.
 *
 * An op of its own beside its parent, which waits without a wait and is resumed by done(). Every change reads \xff/moveKeysLock first:
 * another id there is ERROR_MOVEKEYS_CONFLICT. All that it reads is in its read conflict ranges. An unknown result is no result: it reads
 * again, and decide() finds that nothing is left to be written. */
#pragma once

#include "net/op.h"
#include "txn/client/transaction.h"

struct distributor;

enum { CHANGE_READS_MAX = 12 };

struct change {
    struct op op;
    struct distributor *distributor; /* borrowed */
    struct transaction *txn;         /* owned */
    struct transaction_version read_version;
    struct transaction_range lock, reads[CHANGE_READS_MAX];
    uint32_t read_count;
    struct gather gather;
    struct client_call commit;
    struct transaction_retry retry;
    struct arena arena;         /* of the present try */
    struct bytes_buffer writes; /* a mutation table, applied in order */
    bool taking_lock;           /* another id is overwritten, not respected */
    /* The parent's. */
    void *parent;
    void (*ask)(struct change *change);   /* names what is to be read: change_read() */
    int (*decide)(struct change *change); /* appends to `writes`; an error ends the change with it */
    void (*done)(struct change *change);  /* never when it was cancelled */
    int error;
    version_t version; /* at which what decide() wanted is so: the commit's, or that of the read when nothing was left to write */
};

/* ask, decide, done and parent are set. */
void change_start(struct change *change, struct distributor *distributor);
/* From any state, also zeroed. */
void change_cancel(struct change *change);
static inline bool change_under_way(const struct change *change)
{
    return change->op.owner != NULL;
}
/* From ask(): the pairs of [begin, end) will be in the range that is returned. */
struct transaction_range *change_read(struct change *change, struct bytes begin, struct bytes end);
struct transaction_range *change_read_key(struct change *change, struct bytes key);
/* The records in keyServers of the shards from `begin` to `end`, that of `end` as well. */
struct transaction_range *change_read_shards(struct change *change, struct bytes begin, struct bytes end);
