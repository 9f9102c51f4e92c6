/* Transactions of an actor, blocking, through the client library.
 *
 *   struct sim_transaction *t = sim_transaction_create(actor);
 *   do {
 *       error = sim_get(t, key, &present, &value);
 *       if (error == 0) { sim_set(t, key, other); error = sim_commit(t); }
 *   } while (error != 0 && sim_retry(t, error));
 *   sim_transaction_destroy(t);
 */
#pragma once

#include "sim/client.h"
#include "txn/types.h"

struct sim_transaction;

struct sim_pair {
    struct bytes key, value;
};

struct sim_transaction *sim_transaction_create(struct sim_actor *actor);
void sim_transaction_destroy(struct sim_transaction *transaction);

/* Memory until the transaction is retried or destroyed. */
struct arena *sim_transaction_arena(struct sim_transaction *transaction);
/* Errors are FoundationDB's. What they give is borrowed until the transaction is retried or destroyed. */
int sim_get(struct sim_transaction *transaction, struct bytes key, bool *ret_present, struct bytes *ret_value);
/* All pairs of [begin, end), in pieces of at most `limit` pairs a request. */
int sim_get_range(struct sim_transaction *transaction, struct bytes begin, struct bytes end, uint32_t limit,
                  const struct sim_pair **ret_pairs, size_t *ret_count);
/* One request, as the application would make it: at most `limit` pairs (0: no limit), from the end when `reverse`. */
struct sim_range {
    uint32_t limit;
    bool reverse, snapshot;
    const struct sim_pair *pairs; /* results */
    size_t count;
    bool more;
};
int sim_read_range(struct sim_transaction *transaction, struct bytes begin, struct bytes end, struct sim_range *range);
/* A mapped range (txn/client/mapped.h), as one request. */
struct sim_mapped_row {
    struct bytes key, value; /* of the index */
    const struct sim_pair *pairs;
    size_t count;
};
struct sim_mapped {
    uint32_t limit, bytes_limit; /* 0: none */
    bool reverse, snapshot;
    const struct sim_mapped_row *rows; /* results */
    size_t count;
    bool more;
};
int sim_read_mapped(struct sim_transaction *transaction, struct bytes begin, struct bytes end, struct bytes mapper,
                    struct sim_mapped *mapped);
/* Special keys, as one request; `reverse` and `limit` of the range count. Also after a commit that failed, until the retry. */
int sim_read_special(struct sim_transaction *transaction, struct bytes begin, struct bytes end, struct sim_range *range);
/* A question about [begin, end) (txn/client/transaction.h): `kind`, and `chunk` where keys are to be cut. */
struct sim_query {
    int kind; /* enum query_kind */
    int64_t chunk;
    const struct bytes *items; /* results; borrowed until the next question or the destruction */
    uint32_t count;
    int64_t bytes;
};
int sim_query(struct sim_transaction *transaction, struct bytes begin, struct bytes end, struct sim_query *query);
/* The key that a selector means. */
int sim_get_key(struct sim_transaction *transaction, struct bytes key, bool or_equal, int offset, struct bytes *ret_key);
int sim_get_snapshot(struct sim_transaction *transaction, struct bytes key, bool *ret_present, struct bytes *ret_value);
int sim_read_version(struct sim_transaction *transaction, version_t *ret_version);
void sim_set(struct sim_transaction *transaction, struct bytes key, struct bytes value);
void sim_clear_range(struct sim_transaction *transaction, struct bytes begin, struct bytes end);
/* Little-endian addition. */
void sim_add(struct sim_transaction *transaction, struct bytes key, uint64_t number);
/* Options of FoundationDB's numbers, without a value; kept over retries. */
void sim_option(struct sim_transaction *transaction, int option);
/* A tag that the cluster may also limit by itself (a literal); kept over retries. */
void sim_tag(struct sim_transaction *transaction, const char *tag);
/* `type`: a mutation_type that applications know. */
void sim_atomic(struct sim_transaction *transaction, unsigned type, struct bytes key, struct bytes param);
void sim_conflict_range(struct sim_transaction *transaction, bool write, struct bytes begin, struct bytes end);
/* A watch of what the transaction sees; it goes on when that commits, and outlives it. The caller destroys it (NULL is fine). */
struct sim_watch;
struct sim_watch *sim_watch(struct sim_transaction *transaction, struct bytes key);
/* True once it has ended: with 0 when it fired, and when that was (virtual time). */
bool sim_watch_over(const struct sim_watch *watch, int *ret_error, int64_t *ret_when_us);
void sim_watch_destroy(struct sim_watch *watch);
int sim_commit(struct sim_transaction *transaction);
/* After sim_commit() == 0. */
version_t sim_committed_version(struct sim_transaction *transaction);
/* The same and the place in its batch: 0, or ERROR_NO_COMMIT_VERSION. */
int sim_versionstamp(struct sim_transaction *transaction, uint8_t ret_stamp[VERSIONSTAMP_BYTES]);
/* Waits as long as the library finds right and resets the transaction; false when the error is not one to retry. */
bool sim_retry(struct sim_transaction *transaction, int error);
/* The same; but where memory or a disk is full, FoundationDB's rule makes one transaction wait for up to 30 s, while others commit: then a
 * new one with the same options takes its place, after a moment. */
bool sim_retry_anew(struct sim_actor *actor, struct sim_transaction **transaction, int error);

/* `configure new`: 0 once commits are accepted. One at a time in a client. */
int sim_configure_new(struct sim_actor *actor, uint32_t redundancy, uint32_t engine);

/* The library of a client's process; 0 or an error. */
int sim_transactions_start(struct sim_client *client);
void sim_transactions_stop(struct sim_client *client);
/* Whether it would ask those that are the cluster's coordinators now. */
bool sim_client_knows_coordinators(const struct sim_client *client);
