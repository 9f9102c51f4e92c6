/* FoundationDB's options, mutation types, streaming modes and predicates, by the codes of its C API.
 *
 * Each table is written once, as X(NAME, name, code, parameter, kind): parameter is NONE, INT (8 bytes, little-endian), STRING or
 * BYTES; kind is SHOWN, DEPRECATED or HIDDEN. The enumerations below are made from the tables, and so is what the library
 * knows of an option. What each does in Quoin, or why it does nothing, is in txn/fdb_c/README.md. */
#ifndef FDB_C_OPTIONS_G_H
#define FDB_C_OPTIONS_G_H

/* clang-format off */
#define FDB_NETWORK_OPTION_TABLE(X) \
    X(LOCAL_ADDRESS, local_address, 10, STRING, DEPRECATED) \
    X(CLUSTER_FILE, cluster_file, 20, STRING, DEPRECATED) \
    X(TRACE_ENABLE, trace_enable, 30, STRING, SHOWN) \
    X(TRACE_ROLL_SIZE, trace_roll_size, 31, INT, SHOWN) \
    X(TRACE_MAX_LOGS_SIZE, trace_max_logs_size, 32, INT, SHOWN) \
    X(TRACE_LOG_GROUP, trace_log_group, 33, STRING, SHOWN) \
    X(TRACE_FORMAT, trace_format, 34, STRING, SHOWN) \
    X(TRACE_CLOCK_SOURCE, trace_clock_source, 35, STRING, SHOWN) \
    X(TRACE_FILE_IDENTIFIER, trace_file_identifier, 36, STRING, SHOWN) \
    X(TRACE_SHARE_AMONG_CLIENT_THREADS, trace_share_among_client_threads, 37, NONE, SHOWN) \
    X(TRACE_INITIALIZE_ON_SETUP, trace_initialize_on_setup, 38, NONE, SHOWN) \
    X(TRACE_PARTIAL_FILE_SUFFIX, trace_partial_file_suffix, 39, STRING, SHOWN) \
    X(KNOB, knob, 40, STRING, SHOWN) \
    X(TLS_PLUGIN, tls_plugin, 41, STRING, DEPRECATED) \
    X(TLS_CERT_BYTES, tls_cert_bytes, 42, BYTES, SHOWN) \
    X(TLS_CERT_PATH, tls_cert_path, 43, STRING, SHOWN) \
    X(TLS_KEY_BYTES, tls_key_bytes, 45, BYTES, SHOWN) \
    X(TLS_KEY_PATH, tls_key_path, 46, STRING, SHOWN) \
    X(TLS_VERIFY_PEERS, tls_verify_peers, 47, BYTES, SHOWN) \
    X(BUGGIFY_ENABLE, buggify_enable, 48, NONE, SHOWN) \
    X(BUGGIFY_DISABLE, buggify_disable, 49, NONE, SHOWN) \
    X(BUGGIFY_SECTION_ACTIVATED_PROBABILITY, buggify_section_activated_probability, 50, INT, SHOWN) \
    X(BUGGIFY_SECTION_FIRED_PROBABILITY, buggify_section_fired_probability, 51, INT, SHOWN) \
    X(TLS_CA_BYTES, tls_ca_bytes, 52, BYTES, SHOWN) \
    X(TLS_CA_PATH, tls_ca_path, 53, STRING, SHOWN) \
    X(TLS_PASSWORD, tls_password, 54, STRING, SHOWN) \
    X(TLS_DISABLE_PLAINTEXT_CONNECTION, tls_disable_plaintext_connection, 55, NONE, SHOWN) \
    X(DISABLE_MULTI_VERSION_CLIENT_API, disable_multi_version_client_api, 60, NONE, SHOWN) \
    X(CALLBACKS_ON_EXTERNAL_THREADS, callbacks_on_external_threads, 61, NONE, SHOWN) \
    X(EXTERNAL_CLIENT_LIBRARY, external_client_library, 62, STRING, SHOWN) \
    X(EXTERNAL_CLIENT_DIRECTORY, external_client_directory, 63, STRING, SHOWN) \
    X(DISABLE_LOCAL_CLIENT, disable_local_client, 64, NONE, SHOWN) \
    X(CLIENT_THREADS_PER_VERSION, client_threads_per_version, 65, INT, SHOWN) \
    X(FUTURE_VERSION_CLIENT_LIBRARY, future_version_client_library, 66, STRING, SHOWN) \
    X(RETAIN_CLIENT_LIBRARY_COPIES, retain_client_library_copies, 67, NONE, SHOWN) \
    X(IGNORE_EXTERNAL_CLIENT_FAILURES, ignore_external_client_failures, 68, NONE, SHOWN) \
    X(FAIL_INCOMPATIBLE_CLIENT, fail_incompatible_client, 69, NONE, SHOWN) \
    X(DISABLE_CLIENT_STATISTICS_LOGGING, disable_client_statistics_logging, 70, NONE, SHOWN) \
    X(ENABLE_SLOW_TASK_PROFILING, enable_slow_task_profiling, 71, NONE, DEPRECATED) \
    X(ENABLE_RUN_LOOP_PROFILING, enable_run_loop_profiling, 71, NONE, SHOWN) \
    X(DISABLE_CLIENT_BYPASS, disable_client_bypass, 72, NONE, SHOWN) \
    X(CLIENT_BUGGIFY_ENABLE, client_buggify_enable, 80, NONE, SHOWN) \
    X(CLIENT_BUGGIFY_DISABLE, client_buggify_disable, 81, NONE, SHOWN) \
    X(CLIENT_BUGGIFY_SECTION_ACTIVATED_PROBABILITY, client_buggify_section_activated_probability, 82, INT, SHOWN) \
    X(CLIENT_BUGGIFY_SECTION_FIRED_PROBABILITY, client_buggify_section_fired_probability, 83, INT, SHOWN) \
    X(TRACE_IP, trace_ip, 84, STRING, SHOWN) \
    X(DISTRIBUTED_CLIENT_TRACER, distributed_client_tracer, 90, STRING, SHOWN) \
    X(CLIENT_TMP_DIR, client_tmp_dir, 91, STRING, SHOWN) \
    X(SUPPORTED_CLIENT_VERSIONS, supported_client_versions, 1000, STRING, HIDDEN) \
    X(EXTERNAL_CLIENT, external_client, 1001, NONE, HIDDEN) \
    X(EXTERNAL_CLIENT_TRANSPORT_ID, external_client_transport_id, 1002, INT, HIDDEN)

#define FDB_DATABASE_OPTION_TABLE(X) \
    X(LOCATION_CACHE_SIZE, location_cache_size, 10, INT, SHOWN) \
    X(MAX_WATCHES, max_watches, 20, INT, SHOWN) \
    X(MACHINE_ID, machine_id, 21, STRING, SHOWN) \
    X(DATACENTER_ID, datacenter_id, 22, STRING, SHOWN) \
    X(SNAPSHOT_RYW_ENABLE, snapshot_ryw_enable, 26, NONE, SHOWN) \
    X(SNAPSHOT_RYW_DISABLE, snapshot_ryw_disable, 27, NONE, SHOWN) \
    X(TRANSACTION_LOGGING_MAX_FIELD_LENGTH, transaction_logging_max_field_length, 405, INT, SHOWN) \
    X(TRANSACTION_TIMEOUT, transaction_timeout, 500, INT, SHOWN) \
    X(TRANSACTION_RETRY_LIMIT, transaction_retry_limit, 501, INT, SHOWN) \
    X(TRANSACTION_MAX_RETRY_DELAY, transaction_max_retry_delay, 502, INT, SHOWN) \
    X(TRANSACTION_SIZE_LIMIT, transaction_size_limit, 503, INT, SHOWN) \
    X(TRANSACTION_CAUSAL_READ_RISKY, transaction_causal_read_risky, 504, NONE, SHOWN) \
    X(TRANSACTION_INCLUDE_PORT_IN_ADDRESS, transaction_include_port_in_address, 505, NONE, DEPRECATED) \
    X(TRANSACTION_AUTOMATIC_IDEMPOTENCY, transaction_automatic_idempotency, 506, NONE, SHOWN) \
    X(TRANSACTION_BYPASS_UNREADABLE, transaction_bypass_unreadable, 700, NONE, SHOWN) \
    X(TRANSACTION_USED_DURING_COMMIT_PROTECTION_DISABLE, transaction_used_during_commit_protection_disable, 701, NONE, SHOWN) \
    X(TRANSACTION_REPORT_CONFLICTING_KEYS, transaction_report_conflicting_keys, 702, NONE, SHOWN) \
    X(TEST_CAUSAL_READ_RISKY, test_causal_read_risky, 900, INT, SHOWN)

#define FDB_TRANSACTION_OPTION_TABLE(X) \
    X(CAUSAL_WRITE_RISKY, causal_write_risky, 10, NONE, SHOWN) \
    X(CAUSAL_READ_RISKY, causal_read_risky, 20, NONE, SHOWN) \
    X(CAUSAL_READ_DISABLE, causal_read_disable, 21, NONE, SHOWN) \
    X(INCLUDE_PORT_IN_ADDRESS, include_port_in_address, 23, NONE, SHOWN) \
    X(NEXT_WRITE_NO_WRITE_CONFLICT_RANGE, next_write_no_write_conflict_range, 30, NONE, SHOWN) \
    X(COMMIT_ON_FIRST_PROXY, commit_on_first_proxy, 40, NONE, HIDDEN) \
    X(CHECK_WRITES_ENABLE, check_writes_enable, 50, NONE, HIDDEN) \
    X(READ_YOUR_WRITES_DISABLE, read_your_writes_disable, 51, NONE, SHOWN) \
    X(READ_AHEAD_DISABLE, read_ahead_disable, 52, NONE, DEPRECATED) \
    X(READ_SERVER_SIDE_CACHE_ENABLE, read_server_side_cache_enable, 507, NONE, SHOWN) \
    X(READ_SERVER_SIDE_CACHE_DISABLE, read_server_side_cache_disable, 508, NONE, SHOWN) \
    X(READ_PRIORITY_NORMAL, read_priority_normal, 509, NONE, SHOWN) \
    X(READ_PRIORITY_LOW, read_priority_low, 510, NONE, SHOWN) \
    X(READ_PRIORITY_HIGH, read_priority_high, 511, NONE, SHOWN) \
    X(DURABILITY_DATACENTER, durability_datacenter, 110, NONE, SHOWN) \
    X(DURABILITY_RISKY, durability_risky, 120, NONE, SHOWN) \
    X(DURABILITY_DEV_NULL_IS_WEB_SCALE, durability_dev_null_is_web_scale, 130, NONE, DEPRECATED) \
    X(PRIORITY_SYSTEM_IMMEDIATE, priority_system_immediate, 200, NONE, SHOWN) \
    X(PRIORITY_BATCH, priority_batch, 201, NONE, SHOWN) \
    X(INITIALIZE_NEW_DATABASE, initialize_new_database, 300, NONE, SHOWN) \
    X(ACCESS_SYSTEM_KEYS, access_system_keys, 301, NONE, SHOWN) \
    X(READ_SYSTEM_KEYS, read_system_keys, 302, NONE, SHOWN) \
    X(RAW_ACCESS, raw_access, 303, NONE, SHOWN) \
    X(BYPASS_STORAGE_QUOTA, bypass_storage_quota, 304, NONE, SHOWN) \
    X(DEBUG_DUMP, debug_dump, 400, NONE, HIDDEN) \
    X(DEBUG_RETRY_LOGGING, debug_retry_logging, 401, STRING, SHOWN) \
    X(TRANSACTION_LOGGING_ENABLE, transaction_logging_enable, 402, STRING, DEPRECATED) \
    X(DEBUG_TRANSACTION_IDENTIFIER, debug_transaction_identifier, 403, STRING, SHOWN) \
    X(LOG_TRANSACTION, log_transaction, 404, NONE, SHOWN) \
    X(TRANSACTION_LOGGING_MAX_FIELD_LENGTH, transaction_logging_max_field_length, 405, INT, SHOWN) \
    X(SERVER_REQUEST_TRACING, server_request_tracing, 406, NONE, SHOWN) \
    X(TIMEOUT, timeout, 500, INT, SHOWN) \
    X(RETRY_LIMIT, retry_limit, 501, INT, SHOWN) \
    X(MAX_RETRY_DELAY, max_retry_delay, 502, INT, SHOWN) \
    X(SIZE_LIMIT, size_limit, 503, INT, SHOWN) \
    X(IDEMPOTENCY_ID, idempotency_id, 504, STRING, HIDDEN) \
    X(AUTOMATIC_IDEMPOTENCY, automatic_idempotency, 505, NONE, SHOWN) \
    X(SNAPSHOT_RYW_ENABLE, snapshot_ryw_enable, 600, NONE, SHOWN) \
    X(SNAPSHOT_RYW_DISABLE, snapshot_ryw_disable, 601, NONE, SHOWN) \
    X(LOCK_AWARE, lock_aware, 700, NONE, SHOWN) \
    X(USED_DURING_COMMIT_PROTECTION_DISABLE, used_during_commit_protection_disable, 701, NONE, SHOWN) \
    X(READ_LOCK_AWARE, read_lock_aware, 702, NONE, SHOWN) \
    X(FIRST_IN_BATCH, first_in_batch, 710, NONE, HIDDEN) \
    X(USE_PROVISIONAL_PROXIES, use_provisional_proxies, 711, NONE, SHOWN) \
    X(REPORT_CONFLICTING_KEYS, report_conflicting_keys, 712, NONE, SHOWN) \
    X(SPECIAL_KEY_SPACE_RELAXED, special_key_space_relaxed, 713, NONE, SHOWN) \
    X(SPECIAL_KEY_SPACE_ENABLE_WRITES, special_key_space_enable_writes, 714, NONE, SHOWN) \
    X(TAG, tag, 800, STRING, SHOWN) \
    X(AUTO_THROTTLE_TAG, auto_throttle_tag, 801, STRING, SHOWN) \
    X(SPAN_PARENT, span_parent, 900, BYTES, SHOWN) \
    X(EXPENSIVE_CLEAR_COST_ESTIMATION_ENABLE, expensive_clear_cost_estimation_enable, 1000, NONE, SHOWN) \
    X(BYPASS_UNREADABLE, bypass_unreadable, 1100, NONE, SHOWN) \
    X(USE_GRV_CACHE, use_grv_cache, 1101, NONE, SHOWN) \
    X(SKIP_GRV_CACHE, skip_grv_cache, 1102, NONE, HIDDEN) \
    X(MAX_GRV_QUEUE_DELAY, max_grv_queue_delay, 1103, INT, SHOWN) \
    X(AUTHORIZATION_TOKEN, authorization_token, 2000, STRING, SHOWN) \
    X(ENABLE_REPLICA_CONSISTENCY_CHECK, enable_replica_consistency_check, 4000, NONE, SHOWN) \
    X(CONSISTENCY_CHECK_REQUIRED_REPLICAS, consistency_check_required_replicas, 4001, INT, SHOWN)

#define FDB_STREAMING_MODE_TABLE(X) \
    X(WANT_ALL, want_all, -2, NONE, SHOWN) \
    X(ITERATOR, iterator, -1, NONE, SHOWN) \
    X(EXACT, exact, 0, NONE, SHOWN) \
    X(SMALL, small, 1, NONE, SHOWN) \
    X(MEDIUM, medium, 2, NONE, SHOWN) \
    X(LARGE, large, 3, NONE, SHOWN) \
    X(SERIAL, serial, 4, NONE, SHOWN)

#define FDB_MUTATION_TYPE_TABLE(X) \
    X(ADD, add, 2, BYTES, SHOWN) \
    X(AND, and, 6, BYTES, DEPRECATED) \
    X(BIT_AND, bit_and, 6, BYTES, SHOWN) \
    X(OR, or, 7, BYTES, DEPRECATED) \
    X(BIT_OR, bit_or, 7, BYTES, SHOWN) \
    X(XOR, xor, 8, BYTES, DEPRECATED) \
    X(BIT_XOR, bit_xor, 8, BYTES, SHOWN) \
    X(APPEND_IF_FITS, append_if_fits, 9, BYTES, SHOWN) \
    X(MAX, max, 12, BYTES, SHOWN) \
    X(MIN, min, 13, BYTES, SHOWN) \
    X(SET_VERSIONSTAMPED_KEY, set_versionstamped_key, 14, BYTES, SHOWN) \
    X(SET_VERSIONSTAMPED_VALUE, set_versionstamped_value, 15, BYTES, SHOWN) \
    X(BYTE_MIN, byte_min, 16, BYTES, SHOWN) \
    X(BYTE_MAX, byte_max, 17, BYTES, SHOWN) \
    X(COMPARE_AND_CLEAR, compare_and_clear, 20, BYTES, SHOWN)

#define FDB_CONFLICT_RANGE_TYPE_TABLE(X) \
    X(READ, read, 0, NONE, SHOWN) \
    X(WRITE, write, 1, NONE, SHOWN)

#define FDB_ERROR_PREDICATE_TABLE(X) \
    X(RETRYABLE, retryable, 50000, NONE, SHOWN) \
    X(MAYBE_COMMITTED, maybe_committed, 50001, NONE, SHOWN) \
    X(RETRYABLE_NOT_COMMITTED, retryable_not_committed, 50002, NONE, SHOWN)

/* clang-format on */

/* FDB_NET_OPTION_TRACE_ENABLE, ... (a comma before each: C90 allows none behind the last) */
typedef enum {
    FDB_NET_OPTION_DUMMY_DO_NOT_USE = -1
#define FDB_ENUM(NAME, name, code, parameter, kind) , FDB_NET_OPTION_##NAME = code
    FDB_NETWORK_OPTION_TABLE(FDB_ENUM)
#undef FDB_ENUM
} FDBNetworkOption;

/* Cluster objects are of API versions below 610, and never had an option. */
typedef enum { FDB_CLUSTER_OPTION_DUMMY_DO_NOT_USE = -1 } FDBClusterOption;

typedef enum {
    FDB_DB_OPTION_DUMMY_DO_NOT_USE = -1
#define FDB_ENUM(NAME, name, code, parameter, kind) , FDB_DB_OPTION_##NAME = code
    FDB_DATABASE_OPTION_TABLE(FDB_ENUM)
#undef FDB_ENUM
} FDBDatabaseOption;

typedef enum {
    FDB_TR_OPTION_DUMMY_DO_NOT_USE = -1
#define FDB_ENUM(NAME, name, code, parameter, kind) , FDB_TR_OPTION_##NAME = code
    FDB_TRANSACTION_OPTION_TABLE(FDB_ENUM)
#undef FDB_ENUM
} FDBTransactionOption;

typedef enum {
    FDB_STREAMING_MODE_DUMMY_DO_NOT_USE = -3
#define FDB_ENUM(NAME, name, code, parameter, kind) , FDB_STREAMING_MODE_##NAME = code
    FDB_STREAMING_MODE_TABLE(FDB_ENUM)
#undef FDB_ENUM
} FDBStreamingMode;

typedef enum {
    FDB_MUTATION_TYPE_DUMMY_DO_NOT_USE = -1
#define FDB_ENUM(NAME, name, code, parameter, kind) , FDB_MUTATION_TYPE_##NAME = code
    FDB_MUTATION_TYPE_TABLE(FDB_ENUM)
#undef FDB_ENUM
} FDBMutationType;

typedef enum {
    FDB_CONFLICT_RANGE_TYPE_DUMMY_DO_NOT_USE = -1
#define FDB_ENUM(NAME, name, code, parameter, kind) , FDB_CONFLICT_RANGE_TYPE_##NAME = code
    FDB_CONFLICT_RANGE_TYPE_TABLE(FDB_ENUM)
#undef FDB_ENUM
} FDBConflictRangeType;

typedef enum {
    FDB_ERROR_PREDICATE_DUMMY_DO_NOT_USE = -1
#define FDB_ENUM(NAME, name, code, parameter, kind) , FDB_ERROR_PREDICATE_##NAME = code
    FDB_ERROR_PREDICATE_TABLE(FDB_ENUM)
#undef FDB_ENUM
} FDBErrorPredicate;

#endif
