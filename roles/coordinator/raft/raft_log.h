/* The log in memory: a snapshot and the consecutive entries after it.
 *
 * It owns copies of all bytes. What is forgotten is kept until raft_log_collect, so that what an update borrowed stays
 * valid until the next step. Each entry knows the sequence of the persist that makes it durable: an index that was
 * truncated and written again can't be taken for durable by the report about its predecessor. */
#pragma once

#include "roles/coordinator/raft/raft.h"

struct raft_blob {
    struct raft_blob *next; /* in the garbage */
    uint8_t bytes[];
};

struct raft_log {
    struct raft_snapshot snapshot; /* its bytes are in snapshot_blob */
    struct raft_blob *snapshot_blob; /* owned; NULL if it has no bytes */
    uint64_t base_sequence;        /* makes everything up to snapshot.index durable */
    struct raft_entry *entries;    /* owned, and their data, each in a raft_blob */
    uint64_t *sequences;           /* owned, one an entry */
    size_t count, capacity;
    struct raft_blob *garbage; /* owned */
};

void raft_log_done(struct raft_log *log);
/* Frees what has been forgotten since the last call. */
void raft_log_collect(struct raft_log *log);

uint64_t raft_log_last_index(const struct raft_log *log);
uint64_t raft_log_last_term(const struct raft_log *log);
/* NULL if index is not in memory. */
const struct raft_entry *raft_log_entry(const struct raft_log *log, uint64_t index);
/* False if it is not known: below the snapshot, above the end. */
bool raft_log_term(const struct raft_log *log, uint64_t index, uint64_t *ret_term);
/* Of the persist that makes everything up to index durable; index <= last. */
uint64_t raft_log_sequence(const struct raft_log *log, uint64_t index);
/* Highest index through which everything is durable once `durable_sequence` is. */
uint64_t raft_log_durable_index(const struct raft_log *log, uint64_t durable_sequence);
/* Is a log that ends in (term, index) at least as up to date as this one? [paper 5.4.1]: -1 no, 0 the same, 1 newer. */
int raft_log_compare_end(const struct raft_log *log, uint64_t term, uint64_t index);

/* Copies entry, whose index is last + 1. Returns 0 or ERROR_OUT_OF_MEMORY. */
int raft_log_append(struct raft_log *log, const struct raft_entry *entry, uint64_t sequence);
/* Forgets the entries from `from` on; from is above the snapshot. */
void raft_log_truncate(struct raft_log *log, uint64_t from);
/* Copies snapshot and forgets the entries up to its index, or all of them. Returns 0 or ERROR_OUT_OF_MEMORY. */
int raft_log_set_snapshot(struct raft_log *log, const struct raft_snapshot *snapshot, bool keep_rest,
                          uint64_t sequence);
