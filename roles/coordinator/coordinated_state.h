/* The coordinated state as a state machine: what Raft's entries do to it.
 *
 * Pure: no clock, no I/O, no env. Every coordinator applies the same entries in the same order and so holds the same state; a
 * command applies as a whole or not at all. */
#pragma once

#include "txn/messages.h"

struct coordinated {
    struct arena arena;            /* holds what `state` points to */
    struct coordinated_state state;
    uint64_t ignored;              /* entries that were no command: a newer program's, or damage */
};

/* An empty state of that cluster. */
void coordinated_init(struct coordinated *coordinated, uint64_t cluster_high, uint64_t cluster_low);
void coordinated_done(struct coordinated *coordinated);

/* Commands, appended to `out`. lock: raises locked_epoch by one and sets lock_id. write: replaces roles, generations and
 * recovery_transaction_version and sets written_epoch to locked_epoch, if locked_epoch and lock_id are still those of `state`. */
int coordinated_encode_lock(uint64_t lock_id, struct bytes_buffer *out);
int coordinated_encode_write(const struct coordinated_state *state, struct bytes_buffer *out);

/* Applies one command. True if it changed the state. `command` is copied from. */
bool coordinated_apply(struct coordinated *coordinated, struct bytes command);

/* The whole state as of entry `index`, for a snapshot, and back. It names cluster and index, and ends with an XXH3-64 over both and
 * the state, made when the snapshot is: whatever changes it later, in memory or on its way, is noticed. refuses: NULL, or what is wrong
 * with one that claims to be of that index. restore: 0, or an error and the state is as it was. The cluster's id stays. */
int coordinated_encode(const struct coordinated *coordinated, uint64_t index, struct bytes_buffer *out);
const char *coordinated_refuses(uint64_t cluster_high, uint64_t cluster_low, uint64_t index, struct bytes snapshot);
int coordinated_restore(struct coordinated *coordinated, struct bytes snapshot);
