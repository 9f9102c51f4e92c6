/* What the files of the FoundationDB C API share; private to txn/fdb_c.
 *
 * The shim holds no state of its own but the selected version and the network's hooks: an FDBDatabase is a quoin_database, an
 * FDBTransaction a quoin_transaction, an FDBFuture a quoin_future. The public structs have the same layouts (static asserts in
 * fdb_future.c), so what a future holds is handed out as it lies. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "txn/fdb_c/include/foundationdb/fdb_c_apiversion.g.h"
#define FDB_API_VERSION FDB_LATEST_API_VERSION

#include "net/error.h"
#include "txn/client/include/quoin/quoin.h"
#include "txn/fdb_c/include/foundationdb/fdb_c.h"

enum { FDB_OLDEST_API_VERSION = 13 };

/* The version that the application selected; 0 before. */
int fdb_version(void);
/* 0, or why a call with this handle can't be made: ERROR_NETWORK_CANNOT_BE_RESTARTED after the network has stopped,
 * ERROR_CLIENT_INVALID_OPERATION for no handle. */
int fdb_check(const void *handle);
/* The same for what only needs the network. 0, ERROR_API_VERSION_UNSET, ERROR_NETWORK_NOT_SETUP or as above. */
int fdb_check_network(void);

/* Sets the network options that the environment names. 0, ERROR_ENVIRONMENT_VARIABLE_NETWORK_OPTION_FAILED, or 1501. */
int fdb_options_from_environment(void);

static inline FDBFuture *fdb_future_of(struct quoin_future *future)
{
    return (FDBFuture *)future;
}
static inline struct quoin_future *inner_future(FDBFuture *future)
{
    return (struct quoin_future *)future;
}
static inline struct quoin_transaction *inner_transaction(FDBTransaction *transaction)
{
    return (struct quoin_transaction *)transaction;
}
static inline struct quoin_database *inner_database(FDBDatabase *database)
{
    return (struct quoin_database *)database;
}
static inline FDBFuture *fdb_failed(int error)
{
    return fdb_future_of(quoin_future_failed(error));
}

/* ---- functions that the newest header does not have, for programs built with an older one ---- */

#undef fdb_future_is_error
#undef fdb_future_get_version
#undef fdb_create_cluster
#undef fdb_cluster_destroy
#undef fdb_cluster_set_option
#undef fdb_cluster_create_database
#undef fdb_future_get_cluster
#undef fdb_future_get_database
#undef fdb_transaction_get_range_selector
fdb_bool_t fdb_future_is_error(FDBFuture *f);
fdb_error_t fdb_future_get_version(FDBFuture *f, int64_t *out_version);
FDBFuture *fdb_create_cluster(const char *cluster_file_path);
void fdb_cluster_destroy(FDBCluster *c);
fdb_error_t fdb_cluster_set_option(FDBCluster *c, FDBClusterOption option, uint8_t const *value, int value_length);
FDBFuture *fdb_cluster_create_database(FDBCluster *c, uint8_t const *db_name, int db_name_length);
fdb_error_t fdb_future_get_cluster(FDBFuture *f, FDBCluster **out_cluster);
fdb_error_t fdb_future_get_database(FDBFuture *f, FDBDatabase **out_database);
FDBFuture *fdb_transaction_get_range_selector(FDBTransaction *tr, uint8_t const *begin, int begin_length, fdb_bool_t begin_or_equal,
                                              int begin_offset, uint8_t const *end, int end_length, fdb_bool_t end_or_equal,
                                              int end_offset, int limit);

/* ---- functions whose parameters changed: NAME jumps to one of these (fdb_api.c) ---- */

/* Every function that jumps, with the last version that has its old parameters. */
#define FDB_JUMPS(X) \
    X(fdb_setup_network, 13) \
    X(fdb_future_get_error, 22) \
    X(fdb_future_get_keyvalue_array, 13) \
    X(fdb_transaction_get, 13) \
    X(fdb_transaction_get_key, 13) \
    X(fdb_transaction_get_range, 13) \
    X(fdb_transaction_set_option, 13)

fdb_error_t fdb_setup_network_new(void);
fdb_error_t fdb_setup_network_old(const char *local_address);
fdb_error_t fdb_future_get_error_new(FDBFuture *f);
fdb_error_t fdb_future_get_error_old(FDBFuture *f, const char **out_description);
fdb_error_t fdb_future_get_keyvalue_array_new(FDBFuture *f, FDBKeyValue const **out_kv, int *out_count, fdb_bool_t *out_more);
fdb_error_t fdb_future_get_keyvalue_array_old(FDBFuture *f, FDBKeyValue const **out_kv, int *out_count);
FDBFuture *fdb_transaction_get_new(FDBTransaction *tr, uint8_t const *key, int key_length, fdb_bool_t snapshot);
FDBFuture *fdb_transaction_get_old(FDBTransaction *tr, uint8_t const *key, int key_length);
FDBFuture *fdb_transaction_get_key_new(FDBTransaction *tr, uint8_t const *key, int key_length, fdb_bool_t or_equal, int offset,
                                       fdb_bool_t snapshot);
FDBFuture *fdb_transaction_get_key_old(FDBTransaction *tr, uint8_t const *key, int key_length, fdb_bool_t or_equal, int offset);
FDBFuture *fdb_transaction_get_range_new(FDBTransaction *tr, uint8_t const *begin, int begin_length, fdb_bool_t begin_or_equal,
                                         int begin_offset, uint8_t const *end, int end_length, fdb_bool_t end_or_equal, int end_offset,
                                         int limit, int target_bytes, FDBStreamingMode mode, int iteration, fdb_bool_t snapshot,
                                         fdb_bool_t reverse);
FDBFuture *fdb_transaction_get_range_old(FDBTransaction *tr, uint8_t const *begin, int begin_length, uint8_t const *end, int end_length,
                                         int limit);
fdb_error_t fdb_transaction_set_option_new(FDBTransaction *tr, FDBTransactionOption option, uint8_t const *value, int value_length);
void fdb_transaction_set_option_old(FDBTransaction *tr, FDBTransactionOption option);
