/* Transactions that wait, over libquoin: what small programs need of it.
 *
 * blocking_run calls a body until its transaction commits, as the client library's rules for retries say; the body must
 * be repeatable. Any number of threads may run transactions of one store. Errors are those of net/error.h. */
#pragma once

#include "net/bytes.h"

#include <stdbool.h>

struct blocking;
struct blocking_txn;

/* Opens the cluster of a cluster file. The caller owns *ret_store. */
int blocking_open(const char *cluster_file, struct blocking **ret_store);
void blocking_close(struct blocking *store);

/* A first answer within timeout_ms; else the error, and what is missing (which coordinators do not answer) in `why`. Calls
 * wait for the cluster as long as it takes: a program for people asks this first. */
int blocking_reach(struct blocking *store, int64_t timeout_ms, char *why, int why_size);

/* Returns 0 when a call of `body` returned 0 and its transaction committed; else the error that is not retried. */
int blocking_run(struct blocking *store, int (*body)(struct blocking_txn *txn, void *context), void *context);

/* For bodies. The version that the transaction reads at. */
int blocking_read_version(struct blocking_txn *txn, int64_t *ret_version);
/* For bodies. *value is replaced (and kept for reuse); *ret_present is false for a key that is not there. */
int blocking_get(struct blocking_txn *txn, struct bytes key, struct bytes_buffer *value, bool *ret_present);
/* Every pair whose key begins with `prefix`, in order; what `see` gets is borrowed for the call. */
int blocking_range(struct blocking_txn *txn, struct bytes prefix, void (*see)(void *context, struct bytes key, struct bytes value),
                   void *context);
void blocking_set(struct blocking_txn *txn, struct bytes key, struct bytes value);
void blocking_clear(struct blocking_txn *txn, struct bytes key);
/* Adds a 64-bit little-endian number, without a read. */
void blocking_add(struct blocking_txn *txn, struct bytes key, uint64_t addend);
