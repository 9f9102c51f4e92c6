/* libquoin: transactions on a Quoin cluster.
 *
 *   struct quoin_database *db;
 *   quoin_open(NULL, &db);                        // the cluster file is looked up
 *   quoin_run(db, my_body, my_context);           // runs my_body until its transaction commits
 *   quoin_database_destroy(db);
 *
 * Semantics are FoundationDB's: strictly serializable transactions over one ordered map from byte strings to byte strings;
 * error numbers, option codes, mutation types and predicates are the same (its C API documentation is the source). Limits:
 * keys 10,000 bytes (system keys 30,000), values 100,000, a transaction 10,000,000 (keys and values written plus conflict
 * ranges), 5 seconds from its read version to its last read and its commit.
 *
 * Threads: one network thread for the process, started by the first quoin_open. All functions may be called from any
 * thread, also several for one transaction; but what blocks must not be called on the network thread, where callbacks run
 * (it fails with 2026).
 *
 * Ownership: what a function creates is destroyed by its *_destroy, which accepts NULL. Pointers passed in are read during the
 * call only. What a future's getter returns belongs to the future, until quoin_future_release_memory or its destruction.
 * A database must outlive its transactions; a future may outlive its transaction.
 *
 * Byte strings are (pointer, length in bytes). A NULL pointer is fine with length 0; a NULL pointer with another length, or a
 * negative length, is an error (2000 client_invalid_operation).
 *
 * Errors are ints, 0 is success; quoin_error_text says what one means. 1501: out of memory; a function that returns a future
 * then returns NULL, which every quoin_future function takes for a future that has ended with 1501. */
#ifndef QUOIN_H
#define QUOIN_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef int quoin_error;

struct quoin_database;
struct quoin_transaction;
struct quoin_future;

/* ---- errors ---- */

enum {
    QUOIN_ERROR_TRANSACTION_TOO_OLD = 1007,
    QUOIN_ERROR_FUTURE_VERSION = 1009,
    QUOIN_ERROR_NOT_COMMITTED = 1020,
    QUOIN_ERROR_COMMIT_UNKNOWN_RESULT = 1021,
    QUOIN_ERROR_TRANSACTION_CANCELLED = 1025,
    QUOIN_ERROR_TRANSACTION_TIMED_OUT = 1031,
    QUOIN_ERROR_ACCESSED_UNREADABLE = 1036,
    QUOIN_ERROR_DATABASE_LOCKED = 1038,
    QUOIN_ERROR_OPERATION_CANCELLED = 1101,
    QUOIN_ERROR_FUTURE_RELEASED = 1102,
    QUOIN_ERROR_OUT_OF_MEMORY = 1501,
    QUOIN_ERROR_NO_CLUSTER_FILE_FOUND = 1515,
    QUOIN_ERROR_CLIENT_INVALID_OPERATION = 2000,
    QUOIN_ERROR_KEY_OUTSIDE_LEGAL_RANGE = 2004,
    QUOIN_ERROR_INVERTED_RANGE = 2005,
    QUOIN_ERROR_FUTURE_NOT_SET = 2015,
    QUOIN_ERROR_USED_DURING_COMMIT = 2017,
    QUOIN_ERROR_BLOCKED_FROM_NETWORK_THREAD = 2026,
    QUOIN_ERROR_TRANSACTION_TOO_LARGE = 2101,
    QUOIN_ERROR_KEY_TOO_LARGE = 2102,
    QUOIN_ERROR_VALUE_TOO_LARGE = 2103,
    QUOIN_ERROR_CONNECTION_STRING_INVALID = 2104,
    QUOIN_ERROR_UNSUPPORTED_OPERATION = 2108,
};

/* One sentence; and the name ("not_committed"). Never NULL, never freed. */
const char *quoin_error_text(quoin_error error);
const char *quoin_error_name(quoin_error error);

/* FoundationDB's error predicates. */
enum quoin_predicate {
    QUOIN_PREDICATE_RETRYABLE = 50000,               /* on_error would try again */
    QUOIN_PREDICATE_MAYBE_COMMITTED = 50001,         /* the commit may have happened */
    QUOIN_PREDICATE_RETRYABLE_NOT_COMMITTED = 50002, /* retryable, and it surely has not */
};
bool quoin_error_predicate(enum quoin_predicate predicate, quoin_error error);

/* ---- network and databases ---- */

/* Starts the network thread; quoin_open does it by itself. Starting twice is fine. Errors: 1500, 1501. */
quoin_error quoin_network_start(void);
/* Ends the network thread and waits for it. Every database must have been destroyed (else 2000, and nothing happens). May be
 * started again. Not from the network thread (2026). */
quoin_error quoin_network_stop(void);
/* FoundationDB's network options (NetworkOption in its option table): all codes are accepted, integers are 8 bytes
 * little-endian. For the whole process, and best set before the first quoin_open. Errors: 2007 (no such option), 2006 (value
 * of the wrong size or out of bounds). */
quoin_error quoin_network_set_option(int option, const void *value, int value_length);

/* Opens the cluster of a cluster file. NULL: $QUOIN_CLUSTER_FILE, then ./quoin.cluster, then /etc/quoin/quoin.cluster.
 * Returns at once: whether the cluster can be reached shows in the first transaction (give it a time-out) and in
 * quoin_database_explain. Errors: 1515 (no file: quoin_open_why says which names were tried), 1513 (not readable), 2104
 * (malformed: quoin_open_why says line and reason), 1500, 1501.
 *
 * In place of a file's name: "embedded:DIR" runs a whole cluster in this process, whose data is in DIR (made if it is not there; 1529 when
 * another process has it open, 1510 when it can't be used); "memory:" the same without a trace; "memory:NAME" shared within
 * the process. Each creates its database on the first open. Closing the last database stops it. */
quoin_error quoin_open(const char *cluster_file, struct quoin_database **ret_db);
/* The same from the text of a cluster file. */
quoin_error quoin_open_text(const char *text, struct quoin_database **ret_db);
/* Why this thread's last quoin_open failed; "" if it did not. Valid until its next quoin_open. */
const char *quoin_open_why(void);
void quoin_database_destroy(struct quoin_database *db);

/* Path of the cluster file ("" when opened from text). Lives as long as the database. */
const char *quoin_database_cluster_file(struct quoin_database *db);
/* Why the cluster can't be reached or used, in words, cut to `size`; "" when it can. Blocks briefly. Returns `out`. */
char *quoin_database_explain(struct quoin_database *db, char *out, int size);

/* Why this transaction's time-out (1031) came: what kept the client from the cluster then, in words, cut to `size`; "" when the cluster
 * was reachable, or nothing timed out. Until the next reset. Returns `out`. */
char *quoin_transaction_explain(struct quoin_transaction *transaction, char *out, int size);

/* Options for all transactions that are created afterwards: enum quoin_option values 500..503, 700 etc. as defaults.
 * Errors as quoin_transaction_set_option. */
quoin_error quoin_database_set_transaction_option(struct quoin_database *db, int option, const void *value, int value_length);
/* FoundationDB's database options, by the codes of its DatabaseOption table (which differ from the transaction's: 504 here is
 * transaction_causal_read_risky). Those named transaction_* become the defaults of transactions created afterwards. Errors:
 * 2007 (no such option), 2006 (value of the wrong size or out of bounds). */
enum quoin_database_option {
    QUOIN_DATABASE_OPTION_LOCATION_CACHE_SIZE = 10, /* shards that are remembered; 0: none but the last */
    QUOIN_DATABASE_OPTION_MAX_WATCHES = 20,         /* 0 to 1,000,000; default 10,000. More give 1032 */
    QUOIN_DATABASE_OPTION_SNAPSHOT_RYW_ENABLE = 26,
    QUOIN_DATABASE_OPTION_SNAPSHOT_RYW_DISABLE = 27,
    QUOIN_DATABASE_OPTION_TRANSACTION_TIMEOUT = 500,
    QUOIN_DATABASE_OPTION_TRANSACTION_RETRY_LIMIT = 501,
    QUOIN_DATABASE_OPTION_TRANSACTION_MAX_RETRY_DELAY = 502,
    QUOIN_DATABASE_OPTION_TRANSACTION_SIZE_LIMIT = 503,
    QUOIN_DATABASE_OPTION_TRANSACTION_CAUSAL_READ_RISKY = 504,
    QUOIN_DATABASE_OPTION_TRANSACTION_AUTOMATIC_IDEMPOTENCY = 506,
    QUOIN_DATABASE_OPTION_TRANSACTION_BYPASS_UNREADABLE = 700,
    QUOIN_DATABASE_OPTION_TRANSACTION_USED_DURING_COMMIT_PROTECTION_DISABLE = 701,
    QUOIN_DATABASE_OPTION_TRANSACTION_REPORT_CONFLICTING_KEYS = 702,
};
quoin_error quoin_database_set_option(struct quoin_database *db, int option, const void *value, int value_length);

/* For programs written for an older FoundationDB API: transactions created afterwards behave as its client does for `version`
 * (13 to 800; default: the newest). Below 300 snapshot reads don't see own writes and conflict ranges have no size; below 410
 * a commit that succeeded resets; below 510 AND and MIN take an absent key for zeros; below 520 a versionstamped key ends in a
 * 2-byte offset and a stamped value begins with its stamp; below 610 on_error resets the time-out, the retry limit and the
 * maximum delay as well, and a refused error does not stay. Errors: 2203. */
quoin_error quoin_database_set_api_version(struct quoin_database *db, int version);

/* Futures of a database; they may outlive it. */
/* What this client knows and waits for, as JSON (quoin_future_get_key): FoundationDB's fields (Healthy, ClusterID, Coordinators,
 * CurrentCoordinator, GrvProxies, CommitProxies, StorageServers, Connections, NumConnectionsFailed, InitializationState), and
 * "Explanation": quoin_database_explain's sentence, "" when all is well. Never waits for the cluster. */
struct quoin_future *quoin_database_get_client_status(struct quoin_database *db);
/* The protocol version that the cluster speaks, in FoundationDB's form (quoin_future_get_uint64), as soon as it is known to be
 * another than `expected` (0: as soon as it is known). */
struct quoin_future *quoin_database_get_server_protocol(struct quoin_database *db, uint64_t expected);
/* Ends the process at `address` ("ip:port"); its supervisor starts it again. quoin_future_get_int64: 1 if the request was sent, 0 if
 * there is no such process. `duration_s` and `check` (a test of its files first) are FoundationDB's, and do nothing. */
struct quoin_future *quoin_database_reboot_worker(struct quoin_database *db, const void *address, int address_length, bool check,
                                                  int duration_s);
/* Share of the last second that the network thread was at work, 0 to 1. */
double quoin_database_get_main_thread_busyness(struct quoin_database *db);

/* ---- transactions ---- */

/* A new transaction. It takes its read version with its first read. Errors: 1501. */
quoin_error quoin_transaction_create(struct quoin_database *db, struct quoin_transaction **ret_transaction);
/* Futures that are not ready complete with 1025. */
void quoin_transaction_destroy(struct quoin_transaction *transaction);
/* Back to new, with the options of a new one (on_error keeps time-out, retry limit and maximum delay; this does not). Futures
 * that are not ready complete with 1025. */
void quoin_transaction_reset(struct quoin_transaction *transaction);
/* Everything fails with 1025 from now on, until a reset. A commit under way may still happen. */
void quoin_transaction_cancel(struct quoin_transaction *transaction);

/* Transaction options: the codes of FoundationDB. Integers are 8 bytes little-endian. All codes of its table are accepted; those
 * not listed here have no effect. */
enum quoin_option {
    QUOIN_OPTION_CAUSAL_WRITE_RISKY = 10,
    QUOIN_OPTION_CAUSAL_READ_RISKY = 20,
    QUOIN_OPTION_NEXT_WRITE_NO_WRITE_CONFLICT_RANGE = 30,
    QUOIN_OPTION_READ_YOUR_WRITES_DISABLE = 51, /* before the first read or write, else 2000 */
    QUOIN_OPTION_PRIORITY_SYSTEM_IMMEDIATE = 200,
    QUOIN_OPTION_PRIORITY_BATCH = 201,
    QUOIN_OPTION_ACCESS_SYSTEM_KEYS = 301,
    QUOIN_OPTION_READ_SYSTEM_KEYS = 302,
    QUOIN_OPTION_RAW_ACCESS = 303,
    QUOIN_OPTION_TIMEOUT = 500,         /* milliseconds from creation or reset; 0: none */
    QUOIN_OPTION_RETRY_LIMIT = 501,     /* -1: none */
    QUOIN_OPTION_MAX_RETRY_DELAY = 502, /* milliseconds; default 1000 */
    QUOIN_OPTION_SIZE_LIMIT = 503,      /* bytes, 32 to 10,000,000 */
    QUOIN_OPTION_IDEMPOTENCY_ID = 504,  /* 16 to 255 bytes of your own choice, else 2006 */
    QUOIN_OPTION_AUTOMATIC_IDEMPOTENCY = 505, /* an id is drawn: a commit whose answer was lost is looked up, not reported 1021 */
    QUOIN_OPTION_SNAPSHOT_RYW_ENABLE = 600,
    QUOIN_OPTION_SNAPSHOT_RYW_DISABLE = 601,
    QUOIN_OPTION_LOCK_AWARE = 700,
    QUOIN_OPTION_USED_DURING_COMMIT_PROTECTION_DISABLE = 701,
    QUOIN_OPTION_READ_LOCK_AWARE = 702,
    QUOIN_OPTION_REPORT_CONFLICTING_KEYS = 712,         /* see quoin_transaction_get_conflicts */
    QUOIN_OPTION_SPECIAL_KEY_SPACE_RELAXED = 713,       /* range reads across modules of \xff\xff */
    QUOIN_OPTION_SPECIAL_KEY_SPACE_ENABLE_WRITES = 714, /* writes to \xff\xff */
    QUOIN_OPTION_TAG = 800,                             /* at most 16 bytes (2110), 5 a transaction (2109) */
    QUOIN_OPTION_AUTO_THROTTLE_TAG = 801,
    QUOIN_OPTION_BYPASS_UNREADABLE = 1100,
    QUOIN_OPTION_USE_GRV_CACHE = 1101, /* reads at a version that is up to 100 ms old: no round trip, not the newest */
};
/* Errors: 2007 (no such option), 2006 (value of the wrong size or outside its bounds). */
quoin_error quoin_transaction_set_option(struct quoin_transaction *transaction, int option, const void *value, int value_length);

/* A read sees the transaction's own earlier writes. snapshot: no read conflict is added. The future holds a value:
 * quoin_future_get_value. Errors: 2004 key at or above \xff without the option, 1007, 1009, 1025, 1031, 1036, 1038, 2017. */
struct quoin_future *quoin_transaction_get(struct quoin_transaction *transaction, const void *key, int key_length, bool snapshot);

/* A position in the key space: the last key below `key` (or_equal: at or below), then `offset` keys further. */
struct quoin_selector {
    const void *key;
    int key_length;
    bool or_equal;
    int offset;
};
#define QUOIN_FIRST_AT_OR_AFTER(k, len) ((struct quoin_selector){(k), (len), false, 1})
#define QUOIN_FIRST_AFTER(k, len) ((struct quoin_selector){(k), (len), true, 1})
#define QUOIN_LAST_AT_OR_BEFORE(k, len) ((struct quoin_selector){(k), (len), true, 0})
#define QUOIN_LAST_BEFORE(k, len) ((struct quoin_selector){(k), (len), false, 0})

/* How much a range read brings at once. FoundationDB's codes. */
enum quoin_mode {
    QUOIN_MODE_WANT_ALL = -2,
    QUOIN_MODE_ITERATOR = -1, /* grows with `iteration` */
    QUOIN_MODE_EXACT = 0,     /* all `limit` pairs; without a limit or target: 2210 */
    QUOIN_MODE_SMALL = 1,
    QUOIN_MODE_MEDIUM = 2,
    QUOIN_MODE_LARGE = 3,
    QUOIN_MODE_SERIAL = 4,
};
struct quoin_range_options {
    int limit;        /* pairs; 0: no limit; negative: 2012 */
    int target_bytes; /* ends after the pair that reaches it; 0: the mode decides */
    enum quoin_mode mode;
    int iteration; /* of QUOIN_MODE_ITERATOR, from 1 */
    bool snapshot;
    bool reverse; /* from the end */
};
/* Pairs from the selector `begin` (included) to `end` (not included), in key order. The future holds an array and `more`:
 * quoin_future_get_range. When `more` is true, go on at QUOIN_FIRST_AFTER the last key (reverse: with the last key as
 * end). Errors: as get; 2005 is not one (an inverted range is empty, as in FoundationDB). */
struct quoin_future *quoin_transaction_get_range(struct quoin_transaction *transaction, struct quoin_selector begin,
                                                 struct quoin_selector end, struct quoin_range_options options);

/* The key that a selector means: quoin_future_get_key. "" when it lies before the first key, and \xff (\xff\xff with access to
 * system keys) when after the last. snapshot, errors: as get. */
struct quoin_future *quoin_transaction_get_key(struct quoin_transaction *transaction, struct quoin_selector selector, bool snapshot);

/* Ready with 0 once the key's value is known to have changed from what this transaction sees (its own writes count, and the
 * watch begins when it commits; without writes too). It outlives the transaction and its time-out, recoveries and reconnects;
 * a value that changed and came back may go unseen. Cancel or destroy it to be rid of it. Errors: 1032 too_many_watches, 1025
 * (reset or cancelled before the commit), 1101, 2004, 1034 (read-your-writes is off), the commit's error. */
struct quoin_future *quoin_transaction_watch(struct quoin_transaction *transaction, const void *key, int key_length);

/* Addresses ("ip:port") of the storage servers that have the key: quoin_future_get_string_array. */
struct quoin_future *quoin_transaction_get_addresses_for_key(struct quoin_transaction *transaction, const void *key, int key_length);
/* About how many bytes of keys and values [begin, end) has: quoin_future_get_int64. Errors: 2004, 2005. */
struct quoin_future *quoin_transaction_get_estimated_range_size(struct quoin_transaction *transaction, const void *begin,
                                                                int begin_length, const void *end, int end_length);
/* Keys that cut [begin, end) into parts of about `chunk_bytes`, begin and end with them: quoin_future_get_key_array. At most
 * `limit` parts (0: no limit). Errors: 2000 (chunk_bytes < 1, limit < 0), 2004, 2005. */
struct quoin_future *quoin_transaction_get_range_split_points(struct quoin_transaction *transaction, const void *begin, int begin_length,
                                                              const void *end, int end_length, int64_t chunk_bytes, int limit);
/* Where the shards of [begin, end) begin: quoin_future_get_key_array; the first may be begin itself. At most `limit` (0: no
 * limit). As of now, not of the read version. Errors: 2004, 2005, 2000. */
struct quoin_future *quoin_transaction_get_boundary_keys(struct quoin_transaction *transaction, const void *begin, int begin_length,
                                                         const void *end, int end_length, int limit);
/* FoundationDB's secondary lookups: pairs of an index, each with what it points at (quoin_future_get_mapped_range). `mapper` is a packed tuple; in a
 * string of it, {K[i]} stands for element i of the index pair's key, {V[i]} for element i of its value (both packed tuples), "{{" and "}}"
 * for a brace; as its last element, {...} means all keys below the one that comes out. What has no {...} is one key: none or one pair.
 * Limits and modes are those of the index; bytes count what was mapped as well. An entry points at no more than 2,000 pairs or 10 MB (2033).
 * All that was read is in the read conflict ranges. Errors: as get_range; 2108 (a snapshot, or read-your-writes is off), 2030
 * mapper_bad_index, 2032 mapper_bad_range_decriptor, 2039 get_mapped_range_reads_your_writes (the transaction has written in what was read),
 * 2041, 2042, 2043 (the key, the value, the mapper is no tuple). */
struct quoin_future *quoin_transaction_get_mapped_range(struct quoin_transaction *transaction, struct quoin_selector begin,
                                                        struct quoin_selector end, const void *mapper, int mapper_length,
                                                        struct quoin_range_options options);

/* Writes happen at the commit, and are seen by this transaction's later reads. Each returns its error, and the transaction
 * remembers the first one: later reads and the commit fail with it. Errors: 2004, 2005 (clear_range with begin > end),
 * 2018, 2102, 2103, 1025, 1031, 2017, 2000. */
quoin_error quoin_transaction_set(struct quoin_transaction *transaction, const void *key, int key_length, const void *value,
                                  int value_length);
quoin_error quoin_transaction_clear(struct quoin_transaction *transaction, const void *key, int key_length);
quoin_error quoin_transaction_clear_range(struct quoin_transaction *transaction, const void *begin, int begin_length,
                                          const void *end, int end_length);

/* FoundationDB's mutation types. Numbers are unsigned little-endian, as long as the parameter. */
enum quoin_mutation {
    QUOIN_ADD = 2,
    QUOIN_BIT_AND = 6,
    QUOIN_BIT_OR = 7,
    QUOIN_BIT_XOR = 8,
    QUOIN_APPEND_IF_FITS = 9,
    QUOIN_MAX = 12,
    QUOIN_MIN = 13,
    QUOIN_SET_VERSIONSTAMPED_KEY = 14,   /* the key's last 4 bytes: little-endian place of the 10-byte stamp */
    QUOIN_SET_VERSIONSTAMPED_VALUE = 15, /* the parameter's last 4 bytes, likewise */
    QUOIN_BYTE_MIN = 16,
    QUOIN_BYTE_MAX = 17,
    QUOIN_COMPARE_AND_CLEAR = 20,
};
quoin_error quoin_transaction_atomic(struct quoin_transaction *transaction, enum quoin_mutation type, const void *key, int key_length,
                                     const void *param, int param_length);

enum quoin_conflict { QUOIN_CONFLICT_READ = 0, QUOIN_CONFLICT_WRITE = 1 };
/* As if [begin, end) had been read, or written. Errors: 2005, 2004. */
quoin_error quoin_transaction_add_conflict_range(struct quoin_transaction *transaction, enum quoin_conflict kind, const void *begin,
                                                 int begin_length, const void *end, int end_length);

/* Futures of 0 or an error. commit: 1020 not_committed, 1021 commit_unknown_result (it may have committed; it will not any
 * more), 1007, 1038, 2101, ... After it everything but reset gives 2017. The usual loop passes every error to on_error, waits
 * for that, and starts over; quoin_run does so. */
struct quoin_future *quoin_transaction_commit(struct quoin_transaction *transaction);
/* Ready with 0 after a back-off when `error` is worth another try (the transaction is then as new); else with an error, in
 * which the transaction stays. */
struct quoin_future *quoin_transaction_on_error(struct quoin_transaction *transaction, quoin_error error);

/* The version that it reads at: quoin_future_get_int64. */
struct quoin_future *quoin_transaction_get_read_version(struct quoin_transaction *transaction);
/* Reads at `version`. Errors: 2010 (it has one), 2011 (not positive). */
quoin_error quoin_transaction_set_read_version(struct quoin_transaction *transaction, int64_t version);
/* After a successful commit: its version; -1 if it wrote nothing. Before: -1. */
quoin_error quoin_transaction_get_committed_version(struct quoin_transaction *transaction, int64_t *ret_version);
/* Ready once the commit is: quoin_future_get_key gives the 10 bytes that versionstamped operations used. 2021 if it wrote
 * nothing. Must be asked for before the commit is started. */
struct quoin_future *quoin_transaction_get_versionstamp(struct quoin_transaction *transaction);
/* Bytes of keys, values and conflict ranges so far: what the size limit is compared with. quoin_future_get_int64. */
struct quoin_future *quoin_transaction_get_approximate_size(struct quoin_transaction *transaction);
/* FoundationDB's cost of the transaction in 16 KiB units (quoin_future_get_int64): always 0, servers alone count. */
struct quoin_future *quoin_transaction_get_total_cost(struct quoin_transaction *transaction);
/* Seconds for which limits of its tags have held it back since it began, retries and their back-off included
 * (quoin_future_get_double). */
struct quoin_future *quoin_transaction_get_tag_throttled_duration(struct quoin_transaction *transaction);

/* Why the last commit failed with 1020, when QUOIN_OPTION_REPORT_CONFLICTING_KEYS was set; until the next reset. Each range that
 * this transaction had read, with the key or range, written since, that it met: quoin_future_get_conflicts. Ready at once; empty
 * when there is nothing to say. */
struct quoin_future *quoin_transaction_get_conflicts(struct quoin_transaction *transaction);

/* ---- futures ---- */

/* Waits. 0 when it is ready (which may still mean an error: quoin_future_get_error); 2026 on the network thread. */
quoin_error quoin_future_block_until_ready(struct quoin_future *future);
bool quoin_future_is_ready(struct quoin_future *future);
/* Calls callback(future, context) once, when it is ready: on the network thread, or at once in this one if it is ready
 * already. One callback a future (a second: 2000). The callback may destroy the future; it must not block. */
typedef void quoin_callback(struct quoin_future *future, void *context);
quoin_error quoin_future_set_callback(struct quoin_future *future, quoin_callback *callback, void *context);
/* How it ended; 2015 while it is not ready. */
quoin_error quoin_future_get_error(struct quoin_future *future);

/* Each returns how the future ended, 2015 while it is not ready, 1102 after quoin_future_release_memory; results are
 * untouched unless it is 0. */
quoin_error quoin_future_get_value(struct quoin_future *future, bool *ret_present, const uint8_t **ret_value, int *ret_length);
quoin_error quoin_future_get_int64(struct quoin_future *future, int64_t *ret_number);
quoin_error quoin_future_get_key(struct quoin_future *future, const uint8_t **ret_key, int *ret_length);
/* Packed, as in FoundationDB's C API, which hands out the same memory. */
#pragma pack(push, 4)
struct quoin_pair {
    const uint8_t *key;
    int key_length;
    const uint8_t *value;
    int value_length;
};
/* Of a mapped range. begin and end: first at or after these keys (or_equal 0, offset 1). */
struct quoin_mapped {
    const uint8_t *key;
    int key_length;
    const uint8_t *value;
    int value_length;
    const uint8_t *begin_key;
    int begin_key_length, begin_or_equal, begin_offset;
    const uint8_t *end_key;
    int end_key_length, end_or_equal, end_offset;
    const struct quoin_pair *pairs;
    int pair_count, pair_capacity;
    unsigned char reserved[32];
};
#pragma pack(pop)
quoin_error quoin_future_get_bool(struct quoin_future *future, bool *ret_value);
quoin_error quoin_future_get_uint64(struct quoin_future *future, uint64_t *ret_number);
quoin_error quoin_future_get_double(struct quoin_future *future, double *ret_number);
/* NUL-terminated strings. */
quoin_error quoin_future_get_string_array(struct quoin_future *future, const char *const **ret_strings, int *ret_count);
#pragma pack(push, 4)
struct quoin_key {
    const uint8_t *key;
    int key_length;
};
#pragma pack(pop)
quoin_error quoin_future_get_key_array(struct quoin_future *future, const struct quoin_key **ret_keys, int *ret_count);
struct quoin_conflict_report {
    struct quoin_key read_begin, read_end;       /* what this transaction had read, [begin, end) */
    struct quoin_key written_begin, written_end; /* the newest write there; both empty if it is not known any more */
    int64_t version;                             /* of that write; -1: not known */
};
quoin_error quoin_future_get_conflicts(struct quoin_future *future, const struct quoin_conflict_report **ret_reports, int *ret_count);
quoin_error quoin_future_get_range(struct quoin_future *future, const struct quoin_pair **ret_pairs, int *ret_count, bool *ret_more);
quoin_error quoin_future_get_mapped_range(struct quoin_future *future, const struct quoin_mapped **ret_rows, int *ret_count,
                                          bool *ret_more);

/* A future that has ended with `error` (not 0); for interfaces on top of this one. NULL: out of memory. */
struct quoin_future *quoin_future_failed(quoin_error error);
/* Ends it with 1101 if it is not ready. What it started may still happen. */
void quoin_future_cancel(struct quoin_future *future);
/* Frees what its getters return, when it has been called as often as they were; it stays. */
void quoin_future_release_memory(struct quoin_future *future);
/* Cancels it if it is not ready. */
void quoin_future_destroy(struct quoin_future *future);

/* ---- the retry loop ---- */

/* Calls body(transaction, context) and commits, again and again as on_error says, until a commit succeeds. The body returns 0,
 * or the error that a call gave it (a retryable one starts it over). It must not commit, and may run several times; when
 * 1021 was met, the earlier run may have committed. Returns 0 or the error that ended it. Blocks. */
quoin_error quoin_run(struct quoin_database *db, quoin_error (*body)(struct quoin_transaction *transaction, void *context),
                      void *context);

#ifdef __cplusplus
}
#endif
#endif
