/* FoundationDB's C API, spoken by Quoin (libfdb_c.so): programs and bindings written for it run unchanged.
 *
 *   #define FDB_API_VERSION 730
 *   #include <foundationdb/fdb_c.h>
 *
 * FDB_API_VERSION (13 to 800) says which version of the interface the program was written for: it selects the declarations here, and,
 * through fdb_select_api_version(), the behaviour of the library. New programs may want <quoin/quoin.h>, which is the same without
 * the history.
 *
 * Order of calls: fdb_select_api_version, then fdb_network_set_option, fdb_setup_network, then fdb_run_network on a thread of
 * its own (it returns after fdb_stop_network), and everything else from any thread. One network a process, for life.
 *
 * Ownership: what a function returns through FDBFuture*, FDBDatabase**, FDBTransaction** is destroyed by its *_destroy function, which
 * accepts NULL. Pointers passed in are read during the call only. What a future's getter gives lives until
 * fdb_future_release_memory (after it: 1102) or fdb_future_destroy; a future may outlive its transaction, a transaction must not
 * outlive its database.
 *
 * Byte strings are (pointer, length in bytes): keys up to 10,000, values up to 100,000; a transaction holds 10,000,000 and lives
 * 5 seconds. NULL is fine with length 0; NULL with another length, or a negative length, is 2000.
 *
 * Errors are FoundationDB's numbers (fdb_get_error has the texts). Functions of what Quoin has not (tenants, blob
 * granules, change streams, snapshots) fail with 2108. Source of the semantics: FoundationDB's C API documentation; what
 * differs is in txn/fdb_c/README.md. */
#ifndef FDB_C_H
#define FDB_C_H

#ifndef FDB_API_VERSION
#error "define FDB_API_VERSION before including fdb_c.h, as in: #define FDB_API_VERSION 730"
#elif FDB_API_VERSION < 13
#error "API versions below 13 are not supported"
#endif

#include "fdb_c_apiversion.g.h"
#include "fdb_c_options.g.h"
#include "fdb_c_types.h"

#if FDB_API_VERSION > FDB_LATEST_API_VERSION
#error "this fdb_c.h does not know so new an API version; FDB_LATEST_API_VERSION is the newest"
#endif

#ifdef __GNUC__
#define FDB_C_CHECKED __attribute__((warn_unused_result))
#else
#define FDB_C_CHECKED
#endif
#define FDB_REMOVED_FUNCTION this_function_is_not_part_of_the_selected_FDB_API_VERSION

#ifdef __cplusplus
extern "C" {
#endif

/* ---- versions and errors ---- */

/* First call, once (2201). runtime above header: 2202; header above 800 or runtime below 13: 2203. */
fdb_error_t fdb_select_api_version_impl(int runtime_version, int header_version) FDB_C_CHECKED;
#define fdb_select_api_version(version) fdb_select_api_version_impl(version, FDB_API_VERSION)
/* The newest that both this header and the library have. */
#define fdb_select_api_version_capped() \
    fdb_select_api_version_impl(fdb_get_max_api_version() < FDB_API_VERSION ? fdb_get_max_api_version() : FDB_API_VERSION, \
                                FDB_API_VERSION)
int fdb_get_max_api_version(void);
/* "version,source,protocol"; static. */
const char *fdb_get_client_version(void);
/* One sentence; never NULL, never freed. */
const char *fdb_get_error(fdb_error_t code);
fdb_bool_t fdb_error_predicate(int predicate, fdb_error_t code);

/* ---- the network ---- */

/* Integers are 8 bytes little-endian. 2007: no such option; 2006: wrong size. */
fdb_error_t fdb_network_set_option(FDBNetworkOption option, uint8_t const *value, int value_length) FDB_C_CHECKED;
/* Reads FDB_NETWORK_OPTION_<NAME> from the environment (2022). Twice: 2009. */
#if FDB_API_VERSION < 14
fdb_error_t fdb_setup_network(const char *local_address) FDB_C_CHECKED;
#else
fdb_error_t fdb_setup_network(void) FDB_C_CHECKED;
#endif
/* Blocks until fdb_stop_network; callbacks run on this thread. 2008: not set up; 2025: it has been stopped. */
fdb_error_t fdb_run_network(void) FDB_C_CHECKED;
/* From any thread. */
fdb_error_t fdb_stop_network(void) FDB_C_CHECKED;
/* Runs hook(parameter) on the network thread when fdb_run_network is about to return. */
fdb_error_t fdb_add_network_thread_completion_hook(void (*hook)(void *), void *parameter) FDB_C_CHECKED;

/* ---- what futures hold ---- */

#pragma pack(push, 4)
typedef struct key {
    const uint8_t *key;
    int key_length;
} FDBKey;

typedef struct keyvalue {
#if FDB_API_VERSION >= 630
    const uint8_t *key;
    int key_length;
    const uint8_t *value;
#else
    const void *key;
    int key_length;
    const void *value;
#endif
    int value_length;
} FDBKeyValue;

typedef struct keyrange {
    const uint8_t *begin_key;
    int begin_key_length;
    const uint8_t *end_key;
    int end_key_length;
} FDBKeyRange;

typedef struct keyselector {
    FDBKey key;
    fdb_bool_t orEqual;
    int offset;
} FDBKeySelector;

typedef struct getrangereqandresult {
    FDBKeySelector begin, end;
    FDBKeyValue *data;
    int m_size, m_capacity;
} FDBGetRangeReqAndResult;

typedef struct mappedkeyvalue {
    FDBKey key, value;
    FDBGetRangeReqAndResult getRange;
    unsigned char buffer[32];
} FDBMappedKeyValue;

typedef struct granulesummary {
    FDBKeyRange key_range;
    int64_t snapshot_version, snapshot_size, delta_version, delta_size;
} FDBGranuleSummary;

typedef struct cdcmutation {
    uint8_t type;
    const uint8_t *param1;
    int param1_length;
    const uint8_t *param2;
    int param2_length;
} FDBCdcMutation;

typedef struct cdcversionedmutations {
    int64_t version;
    const FDBCdcMutation *mutations;
    int mutation_count;
} FDBCdcVersionedMutations;

typedef struct cdcstreaminfo {
    FDBKey name;
    uint64_t stream_id;
    FDBKeyRange range;
    int64_t min_version;
} FDBCdcStreamInfo;
#pragma pack(pop)

typedef struct readgranulecontext {
    void *userContext;
    int64_t (*start_load_f)(const char *filename, int filename_length, int64_t offset, int64_t length, int64_t full_file_length,
                            void *context);
    uint8_t *(*get_load_f)(int64_t load_id, void *context);
    void (*free_load_f)(int64_t load_id, void *context);
    fdb_bool_t debugNoMaterialize;
    int granuleParallelism;
} FDBReadBlobGranuleContext;
typedef struct bgfiledescription FDBBGFileDescription;
typedef struct bgtenantprefix FDBBGTenantPrefix;
typedef struct bgencryptionctx FDBBGEncryptionCtx;
typedef struct bgmutation FDBBGMutation;

/* ---- futures ---- */

/* Ends it with 1101 if it is not ready. */
void fdb_future_cancel(FDBFuture *f);
/* Frees what its getters gave. */
void fdb_future_release_memory(FDBFuture *f);
/* Cancels it if it is not ready. */
void fdb_future_destroy(FDBFuture *f);
/* 2026 on the network thread. */
fdb_error_t fdb_future_block_until_ready(FDBFuture *f) FDB_C_CHECKED;
fdb_bool_t fdb_future_is_ready(FDBFuture *f);
typedef void (*FDBCallback)(FDBFuture *future, void *callback_parameter);
/* Once a future (2000), on the network thread, or at once in this one if it is ready. */
fdb_error_t fdb_future_set_callback(FDBFuture *f, FDBCallback callback, void *callback_parameter) FDB_C_CHECKED;

/* 2015 while it is not ready. */
#if FDB_API_VERSION < 23
fdb_error_t fdb_future_get_error(FDBFuture *f, const char **out_description);
fdb_bool_t fdb_future_is_error(FDBFuture *f);
#else
fdb_error_t fdb_future_get_error(FDBFuture *f) FDB_C_CHECKED;
#define fdb_future_is_error(f) FDB_REMOVED_FUNCTION
#endif

/* The getters give the future's error, 2015 while it is not ready, 2000 if it holds something else. */
#if FDB_API_VERSION < 620
fdb_error_t fdb_future_get_version(FDBFuture *f, int64_t *out_version) FDB_C_CHECKED;
#else
#define fdb_future_get_version(f, out_version) FDB_REMOVED_FUNCTION
#endif
fdb_error_t fdb_future_get_bool(FDBFuture *f, fdb_bool_t *out) FDB_C_CHECKED;
fdb_error_t fdb_future_get_int64(FDBFuture *f, int64_t *out) FDB_C_CHECKED;
fdb_error_t fdb_future_get_uint64(FDBFuture *f, uint64_t *out) FDB_C_CHECKED;
fdb_error_t fdb_future_get_double(FDBFuture *f, double *out) FDB_C_CHECKED;
fdb_error_t fdb_future_get_key(FDBFuture *f, uint8_t const **out_key, int *out_key_length) FDB_C_CHECKED;
fdb_error_t fdb_future_get_value(FDBFuture *f, fdb_bool_t *out_present, uint8_t const **out_value, int *out_value_length) FDB_C_CHECKED;
#if FDB_API_VERSION < 14
fdb_error_t fdb_future_get_keyvalue_array(FDBFuture *f, FDBKeyValue const **out_kv, int *out_count) FDB_C_CHECKED;
#else
fdb_error_t fdb_future_get_keyvalue_array(FDBFuture *f, FDBKeyValue const **out_kv, int *out_count,
                                          fdb_bool_t *out_more) FDB_C_CHECKED;
#endif
fdb_error_t fdb_future_get_mappedkeyvalue_array(FDBFuture *f, FDBMappedKeyValue const **out_kv, int *out_count,
                                                fdb_bool_t *out_more) FDB_C_CHECKED;
fdb_error_t fdb_future_get_key_array(FDBFuture *f, FDBKey const **out_keys, int *out_count) FDB_C_CHECKED;
fdb_error_t fdb_future_get_keyrange_array(FDBFuture *f, FDBKeyRange const **out_ranges, int *out_count) FDB_C_CHECKED;
fdb_error_t fdb_future_get_string_array(FDBFuture *f, const char ***out_strings, int *out_count) FDB_C_CHECKED;
fdb_error_t fdb_future_get_granule_summary_array(FDBFuture *f, FDBGranuleSummary const **out_summaries, int *out_count) FDB_C_CHECKED;
fdb_error_t fdb_future_readbg_get_descriptions(FDBFuture *f, FDBBGFileDescription **out, int *out_count) FDB_C_CHECKED;
fdb_error_t fdb_future_get_cdc_consumer(FDBFuture *f, FDBCdcConsumer **out) FDB_C_CHECKED;
fdb_error_t fdb_future_get_cdc_stream_info_array(FDBFuture *f, FDBCdcStreamInfo const **out, int *out_count) FDB_C_CHECKED;
fdb_error_t fdb_future_get_cdc_versioned_mutations(FDBFuture *f, FDBCdcVersionedMutations const **out, int *out_count,
                                                   int64_t *out_version) FDB_C_CHECKED;

void fdb_result_destroy(FDBResult *r);
fdb_error_t fdb_result_get_keyvalue_array(FDBResult *r, FDBKeyValue const **out_kv, int *out_count, fdb_bool_t *out_more) FDB_C_CHECKED;
fdb_error_t fdb_result_get_bg_mutations_array(FDBResult *r, FDBBGMutation const **out, int *out_count) FDB_C_CHECKED;
FDBResult *fdb_readbg_parse_snapshot_file(const uint8_t *data, int length, FDBBGTenantPrefix const *prefix,
                                          FDBBGEncryptionCtx const *encryption) FDB_C_CHECKED;
FDBResult *fdb_readbg_parse_delta_file(const uint8_t *data, int length, FDBBGTenantPrefix const *prefix,
                                       FDBBGEncryptionCtx const *encryption) FDB_C_CHECKED;

/* ---- databases ---- */

#if FDB_API_VERSION < 610
FDBFuture *fdb_create_cluster(const char *cluster_file_path) FDB_C_CHECKED;
void fdb_cluster_destroy(FDBCluster *c);
fdb_error_t fdb_cluster_set_option(FDBCluster *c, FDBClusterOption option, uint8_t const *value, int value_length) FDB_C_CHECKED;
/* The name is "DB" (else 2013). */
FDBFuture *fdb_cluster_create_database(FDBCluster *c, uint8_t const *db_name, int db_name_length) FDB_C_CHECKED;
fdb_error_t fdb_future_get_cluster(FDBFuture *f, FDBCluster **out_cluster) FDB_C_CHECKED;
fdb_error_t fdb_future_get_database(FDBFuture *f, FDBDatabase **out_database) FDB_C_CHECKED;
#else
#define fdb_create_cluster(path) FDB_REMOVED_FUNCTION
#define fdb_cluster_destroy(c) FDB_REMOVED_FUNCTION
#define fdb_cluster_set_option(c, option, value, length) FDB_REMOVED_FUNCTION
#define fdb_cluster_create_database(c, name, length) FDB_REMOVED_FUNCTION
#define fdb_future_get_cluster(f, out) FDB_REMOVED_FUNCTION
#define fdb_future_get_database(f, out) FDB_REMOVED_FUNCTION
#endif

/* NULL or "": $FDB_CLUSTER_FILE, then ./fdb.cluster, then /etc/foundationdb/fdb.cluster. "embedded:DIR" and "memory:" run a
 * cluster in this process. Does not wait for the cluster. 2008 without a network; 1515, 1513, 2104 for the file. */
fdb_error_t fdb_create_database(const char *cluster_file_path, FDBDatabase **out_database) FDB_C_CHECKED;
fdb_error_t fdb_create_database_from_connection_string(const char *connection_string, FDBDatabase **out_database) FDB_C_CHECKED;
void fdb_database_destroy(FDBDatabase *d);
fdb_error_t fdb_database_set_option(FDBDatabase *d, FDBDatabaseOption option, uint8_t const *value, int value_length) FDB_C_CHECKED;
fdb_error_t fdb_database_create_transaction(FDBDatabase *d, FDBTransaction **out_transaction) FDB_C_CHECKED;
FDBFuture *fdb_database_reboot_worker(FDBDatabase *d, uint8_t const *address, int address_length, fdb_bool_t check,
                                      int duration) FDB_C_CHECKED;
FDBFuture *fdb_database_force_recovery_with_data_loss(FDBDatabase *d, uint8_t const *dcid, int dcid_length) FDB_C_CHECKED;
FDBFuture *fdb_database_create_snapshot(FDBDatabase *d, uint8_t const *uid, int uid_length, uint8_t const *command,
                                        int command_length) FDB_C_CHECKED;
double fdb_database_get_main_thread_busyness(FDBDatabase *d) FDB_C_CHECKED;
FDBFuture *fdb_database_get_server_protocol(FDBDatabase *d, uint64_t expected_version) FDB_C_CHECKED;
FDBFuture *fdb_database_get_client_status(FDBDatabase *d) FDB_C_CHECKED;

/* ---- transactions ---- */

void fdb_transaction_destroy(FDBTransaction *tr);
void fdb_transaction_cancel(FDBTransaction *tr);
void fdb_transaction_reset(FDBTransaction *tr);
#if FDB_API_VERSION < 14
void fdb_transaction_set_option(FDBTransaction *tr, FDBTransactionOption option);
#else
fdb_error_t fdb_transaction_set_option(FDBTransaction *tr, FDBTransactionOption option, uint8_t const *value,
                                       int value_length) FDB_C_CHECKED;
#endif

FDBFuture *fdb_transaction_get_read_version(FDBTransaction *tr) FDB_C_CHECKED;
void fdb_transaction_set_read_version(FDBTransaction *tr, int64_t version);
#if FDB_API_VERSION < 14
FDBFuture *fdb_transaction_get(FDBTransaction *tr, uint8_t const *key_name, int key_name_length) FDB_C_CHECKED;
FDBFuture *fdb_transaction_get_key(FDBTransaction *tr, uint8_t const *key_name, int key_name_length, fdb_bool_t or_equal,
                                   int offset) FDB_C_CHECKED;
FDBFuture *fdb_transaction_get_range(FDBTransaction *tr, uint8_t const *begin, int begin_length, uint8_t const *end, int end_length,
                                     int limit) FDB_C_CHECKED;
FDBFuture *fdb_transaction_get_range_selector(FDBTransaction *tr, uint8_t const *begin, int begin_length, fdb_bool_t begin_or_equal,
                                              int begin_offset, uint8_t const *end, int end_length, fdb_bool_t end_or_equal,
                                              int end_offset, int limit) FDB_C_CHECKED;
#else
FDBFuture *fdb_transaction_get(FDBTransaction *tr, uint8_t const *key_name, int key_name_length, fdb_bool_t snapshot) FDB_C_CHECKED;
FDBFuture *fdb_transaction_get_key(FDBTransaction *tr, uint8_t const *key_name, int key_name_length, fdb_bool_t or_equal, int offset,
                                   fdb_bool_t snapshot) FDB_C_CHECKED;
/* limit and target_bytes 0: none. mode ITERATOR: `iteration` counts from 1 (else 2000). Mode EXACT without limits: 2210. */
FDBFuture *fdb_transaction_get_range(FDBTransaction *tr, uint8_t const *begin, int begin_length, fdb_bool_t begin_or_equal,
                                     int begin_offset, uint8_t const *end, int end_length, fdb_bool_t end_or_equal, int end_offset,
                                     int limit, int target_bytes, FDBStreamingMode mode, int iteration, fdb_bool_t snapshot,
                                     fdb_bool_t reverse) FDB_C_CHECKED;
#define fdb_transaction_get_range_selector(tr, bk, bl, be, bo, ek, el, ee, eo, limit) FDB_REMOVED_FUNCTION
#endif
FDBFuture *fdb_transaction_get_mapped_range(FDBTransaction *tr, uint8_t const *begin, int begin_length, fdb_bool_t begin_or_equal,
                                            int begin_offset, uint8_t const *end, int end_length, fdb_bool_t end_or_equal,
                                            int end_offset, uint8_t const *mapper, int mapper_length, int limit, int target_bytes,
                                            FDBStreamingMode mode, int iteration, fdb_bool_t snapshot, fdb_bool_t reverse) FDB_C_CHECKED;
FDBFuture *fdb_transaction_get_range_and_flat_map(FDBTransaction *tr, uint8_t const *begin, int begin_length,
                                                  fdb_bool_t begin_or_equal, int begin_offset, uint8_t const *end, int end_length,
                                                  fdb_bool_t end_or_equal, int end_offset, uint8_t const *mapper, int mapper_length,
                                                  int limit, int target_bytes, FDBStreamingMode mode, int iteration,
                                                  fdb_bool_t snapshot, fdb_bool_t reverse) FDB_C_CHECKED;
FDBFuture *fdb_transaction_get_addresses_for_key(FDBTransaction *tr, uint8_t const *key_name, int key_name_length) FDB_C_CHECKED;
FDBFuture *fdb_transaction_get_estimated_range_size_bytes(FDBTransaction *tr, uint8_t const *begin, int begin_length,
                                                          uint8_t const *end, int end_length) FDB_C_CHECKED;
FDBFuture *fdb_transaction_get_range_split_points(FDBTransaction *tr, uint8_t const *begin, int begin_length, uint8_t const *end,
                                                  int end_length, int64_t chunk_size) FDB_C_CHECKED;
FDBFuture *fdb_transaction_get_range_split_points_with_limit(FDBTransaction *tr, uint8_t const *begin, int begin_length,
                                                             uint8_t const *end, int end_length, int64_t chunk_size,
                                                             int limit) FDB_C_CHECKED;

/* Writes are seen by the transaction's later reads. A write that is refused is remembered: the commit fails with its error. */
void fdb_transaction_set(FDBTransaction *tr, uint8_t const *key_name, int key_name_length, uint8_t const *value, int value_length);
void fdb_transaction_atomic_op(FDBTransaction *tr, uint8_t const *key_name, int key_name_length, uint8_t const *param,
                               int param_length, FDBMutationType operation_type);
void fdb_transaction_clear(FDBTransaction *tr, uint8_t const *key_name, int key_name_length);
void fdb_transaction_clear_range(FDBTransaction *tr, uint8_t const *begin, int begin_length, uint8_t const *end, int end_length);
fdb_error_t fdb_transaction_add_conflict_range(FDBTransaction *tr, uint8_t const *begin, int begin_length, uint8_t const *end,
                                               int end_length, FDBConflictRangeType type) FDB_C_CHECKED;
FDBFuture *fdb_transaction_watch(FDBTransaction *tr, uint8_t const *key_name, int key_name_length) FDB_C_CHECKED;

FDBFuture *fdb_transaction_commit(FDBTransaction *tr) FDB_C_CHECKED;
FDBFuture *fdb_transaction_on_error(FDBTransaction *tr, fdb_error_t error) FDB_C_CHECKED;
fdb_error_t fdb_transaction_get_committed_version(FDBTransaction *tr, int64_t *out_version) FDB_C_CHECKED;
FDBFuture *fdb_transaction_get_versionstamp(FDBTransaction *tr) FDB_C_CHECKED;
FDBFuture *fdb_transaction_get_approximate_size(FDBTransaction *tr) FDB_C_CHECKED;
FDBFuture *fdb_transaction_get_total_cost(FDBTransaction *tr) FDB_C_CHECKED;
FDBFuture *fdb_transaction_get_tag_throttled_duration(FDBTransaction *tr) FDB_C_CHECKED;

#define FDB_KEYSEL_LAST_LESS_THAN(k, l) k, l, 0, 0
#define FDB_KEYSEL_LAST_LESS_OR_EQUAL(k, l) k, l, 1, 0
#define FDB_KEYSEL_FIRST_GREATER_THAN(k, l) k, l, 1, 1
#define FDB_KEYSEL_FIRST_GREATER_OR_EQUAL(k, l) k, l, 0, 1

/* ---- what Quoin has not: each fails with 2108 ---- */

#define FDB_RANGE uint8_t const *begin, int begin_length, uint8_t const *end, int end_length
fdb_error_t fdb_database_open_tenant(FDBDatabase *d, uint8_t const *name, int name_length, FDBTenant **out_tenant) FDB_C_CHECKED;
void fdb_tenant_destroy(FDBTenant *t);
fdb_error_t fdb_tenant_create_transaction(FDBTenant *t, FDBTransaction **out_transaction) FDB_C_CHECKED;
FDBFuture *fdb_tenant_get_id(FDBTenant *t) FDB_C_CHECKED;

FDBFuture *fdb_database_blobbify_range(FDBDatabase *d, FDB_RANGE) FDB_C_CHECKED;
FDBFuture *fdb_database_blobbify_range_blocking(FDBDatabase *d, FDB_RANGE) FDB_C_CHECKED;
FDBFuture *fdb_database_unblobbify_range(FDBDatabase *d, FDB_RANGE) FDB_C_CHECKED;
FDBFuture *fdb_database_list_blobbified_ranges(FDBDatabase *d, FDB_RANGE, int limit) FDB_C_CHECKED;
FDBFuture *fdb_database_verify_blob_range(FDBDatabase *d, FDB_RANGE, int64_t version) FDB_C_CHECKED;
FDBFuture *fdb_database_flush_blob_range(FDBDatabase *d, FDB_RANGE, fdb_bool_t compact, int64_t version) FDB_C_CHECKED;
FDBFuture *fdb_database_purge_blob_granules(FDBDatabase *d, FDB_RANGE, int64_t version, fdb_bool_t force) FDB_C_CHECKED;
FDBFuture *fdb_database_wait_purge_granules_complete(FDBDatabase *d, uint8_t const *key, int key_length) FDB_C_CHECKED;
FDBFuture *fdb_tenant_blobbify_range(FDBTenant *t, FDB_RANGE) FDB_C_CHECKED;
FDBFuture *fdb_tenant_blobbify_range_blocking(FDBTenant *t, FDB_RANGE) FDB_C_CHECKED;
FDBFuture *fdb_tenant_unblobbify_range(FDBTenant *t, FDB_RANGE) FDB_C_CHECKED;
FDBFuture *fdb_tenant_list_blobbified_ranges(FDBTenant *t, FDB_RANGE, int limit) FDB_C_CHECKED;
FDBFuture *fdb_tenant_verify_blob_range(FDBTenant *t, FDB_RANGE, int64_t version) FDB_C_CHECKED;
FDBFuture *fdb_tenant_flush_blob_range(FDBTenant *t, FDB_RANGE, fdb_bool_t compact, int64_t version) FDB_C_CHECKED;
FDBFuture *fdb_tenant_purge_blob_granules(FDBTenant *t, FDB_RANGE, int64_t version, fdb_bool_t force) FDB_C_CHECKED;
FDBFuture *fdb_tenant_wait_purge_granules_complete(FDBTenant *t, uint8_t const *key, int key_length) FDB_C_CHECKED;
FDBFuture *fdb_transaction_get_blob_granule_ranges(FDBTransaction *tr, FDB_RANGE, int limit) FDB_C_CHECKED;
FDBFuture *fdb_transaction_summarize_blob_granules(FDBTransaction *tr, FDB_RANGE, int64_t version, int limit) FDB_C_CHECKED;
FDBResult *fdb_transaction_read_blob_granules(FDBTransaction *tr, FDB_RANGE, int64_t begin_version, int64_t read_version,
                                              FDBReadBlobGranuleContext context) FDB_C_CHECKED;
FDBFuture *fdb_transaction_read_blob_granules_description(FDBTransaction *tr, FDB_RANGE, int64_t begin_version, int64_t read_version,
                                                          int64_t *out_read_version) FDB_C_CHECKED;

FDBFuture *fdb_database_register_cdc_stream(FDBDatabase *d, uint8_t const *name, int name_length, FDB_RANGE) FDB_C_CHECKED;
FDBFuture *fdb_database_remove_cdc_stream(FDBDatabase *d, uint8_t const *name, int name_length) FDB_C_CHECKED;
FDBFuture *fdb_database_list_cdc_streams(FDBDatabase *d) FDB_C_CHECKED;
FDBFuture *fdb_database_create_cdc_consumer(FDBDatabase *d, uint8_t const *name, int name_length) FDB_C_CHECKED;
FDBFuture *fdb_database_resume_cdc_consumer(FDBDatabase *d, uint64_t stream_id, int64_t version) FDB_C_CHECKED;
FDBFuture *fdb_cdc_consumer_consume(FDBCdcConsumer *c) FDB_C_CHECKED;
FDBFuture *fdb_cdc_consumer_acknowledge(FDBCdcConsumer *c) FDB_C_CHECKED;
fdb_error_t fdb_cdc_consumer_get_position(FDBCdcConsumer *c, uint64_t *out_stream_id, int64_t *out_version) FDB_C_CHECKED;
void fdb_cdc_consumer_destroy(FDBCdcConsumer *c);
#undef FDB_RANGE

#ifdef __cplusplus
}
#endif
#endif
