/* The contract of libfdb_c.so, checked from outside: each wrong call gives FoundationDB's code and never a crash, each function is
 * there, and each API version has its own parameters and rules. Loaded by dlopen, as bindings do it.
 *
 *   quoin-fdb-contract LIBRARY VERSION CLUSTER      one version a process: it can be selected once
 *
 * Prints the checks that failed; exits 0 if there was none. Example: quoin-fdb-contract ./libfdb_c.so 730 memory: */
#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FDB_API_VERSION 800
#include "txn/fdb_c/include/foundationdb/fdb_c.h"
#undef fdb_future_is_error
#undef fdb_future_get_version
#undef fdb_create_cluster
#undef fdb_cluster_create_database
#undef fdb_future_get_cluster
#undef fdb_future_get_database

static void *library;
static int version, checks, failures;
static const char *cluster;

static void *need(const char *name)
{
    void *found = dlsym(library, name);

    if (found == NULL) {
        printf("%s is not there\n", name);
        exit(1);
    }
    return found;
}

/* The function of the library with the type that the newest header gives it. */
#define F(name) ((__typeof__(&name))need(#name))

static void expect(int line, const char *what, long got, long wanted)
{
    checks++;
    if (got == wanted)
        return;
    failures++;
    printf("line %d: %s gave %ld, not %ld\n", line, what, got, wanted);
}
#define EXPECT(call, wanted) expect(__LINE__, #call, (long)(call), (long)(wanted))

static const uint8_t *B(const char *text)
{
    return (const uint8_t *)text;
}

/* How a future ends; takes it over. */
static int end_of(FDBFuture *f)
{
    int error = F(fdb_future_block_until_ready)(f);

    if (error == 0)
        error = version < 23 ? ((int (*)(FDBFuture *, const char **))need("fdb_future_get_error"))(f, NULL) : F(fdb_future_get_error)(f);
    if (version < 23 && error == 2016)
        error = 0;
    F(fdb_future_destroy)(f);
    return error;
}

static FDBTransaction *new_transaction(FDBDatabase *db)
{
    FDBTransaction *tr = NULL;

    EXPECT(F(fdb_database_create_transaction)(db, &tr), 0);
    return tr;
}

/* ---- before there is a network ---- */

static void check_selection(void)
{
    FDBDatabase *db = NULL;

    EXPECT(F(fdb_create_database)(cluster, &db), 2200);
    EXPECT(F(fdb_setup_network)(), 2200);
    EXPECT(F(fdb_run_network)(), 2200);
    EXPECT(F(fdb_stop_network)(), 2200);
    EXPECT(F(fdb_network_set_option)(FDB_NET_OPTION_TRACE_ENABLE, NULL, 0), 2200);
    EXPECT(F(fdb_get_max_api_version)(), 800);
    EXPECT(F(fdb_select_api_version_impl)(800, 730), 2202);
    EXPECT(F(fdb_select_api_version_impl)(12, 800), 2203);
    EXPECT(F(fdb_select_api_version_impl)(800, 801), 2203);
    EXPECT(F(fdb_select_api_version_impl)(version, version), 0);
    EXPECT(F(fdb_select_api_version_impl)(version, version), 2201);
}

static void nothing(void *parameter)
{
    ++*(int *)parameter;
}

static int hooked;

static int setup(void)
{
    return version < 14 ? ((int (*)(const char *))need("fdb_setup_network"))(NULL) : F(fdb_setup_network)();
}

static void check_setup(void)
{
    int64_t number = 1;
    FDBDatabase *db = NULL;

    EXPECT(F(fdb_create_database)(cluster, &db), 2008);
    EXPECT(F(fdb_run_network)(), 2008);
    EXPECT(F(fdb_stop_network)(), 2008);
    EXPECT(F(fdb_add_network_thread_completion_hook)(nothing, &hooked), 2008);
    EXPECT(F(fdb_network_set_option)((FDBNetworkOption)9999, NULL, 0), 2007);
    EXPECT(F(fdb_network_set_option)(FDB_NET_OPTION_TRACE_ROLL_SIZE, (uint8_t *)&number, 4), 2006);
    EXPECT(F(fdb_network_set_option)(FDB_NET_OPTION_TRACE_ROLL_SIZE, (uint8_t *)&number, 8), 0);
    setenv("FDB_NETWORK_OPTION_TRACE_ROLL_SIZE", "many", 1);
    EXPECT(setup(), 2022);
    setenv("FDB_NETWORK_OPTION_TRACE_ROLL_SIZE", "10000000", 1);
    setenv("FDB_NETWORK_OPTION_KNOB", "a=1:b=2", 1);
    EXPECT(setup(), 0);
    EXPECT(setup(), 2009);
    EXPECT(F(fdb_add_network_thread_completion_hook)(nothing, &hooked), 0);
    EXPECT(F(fdb_add_network_thread_completion_hook)(NULL, NULL), 2000);
}

static void check_cluster_files(void)
{
    char path[] = "/tmp/quoin-fdb-contract-XXXXXX";
    int fd = mkstemp(path);
    FDBDatabase *db = NULL;

    if (fd < 0 || write(fd, "not a cluster file\n", 19) != 19)
        abort();
    close(fd);
    EXPECT(F(fdb_create_database)("/tmp/quoin-no-such.cluster", &db), 1515);
    EXPECT(F(fdb_create_database)(path, &db), 2104);
    setenv("FDB_CLUSTER_FILE", path, 1);
    EXPECT(F(fdb_create_database)(NULL, &db), 2104);
    unsetenv("FDB_CLUSTER_FILE");
    EXPECT(F(fdb_create_database)(cluster, NULL), 2000);
    EXPECT(F(fdb_create_database_from_connection_string)(NULL, &db), 2000);
    EXPECT(F(fdb_create_database_from_connection_string)("no@where", &db), 2104);
    unlink(path);
}

static void *run_network(void *argument)
{
    *(int *)argument = F(fdb_run_network)();
    return NULL;
}

/* ---- with the newest parameters ---- */

static void check_bad_bytes(FDBDatabase *db)
{
    FDBTransaction *tr = new_transaction(db);
    FDBFuture *f = F(fdb_transaction_get)(tr, NULL, 3, 0);

    EXPECT(end_of(f), 2000);
    EXPECT(end_of(F(fdb_transaction_get)(tr, B("k"), -1, 0)), 2000);
    EXPECT(end_of(F(fdb_transaction_get)(tr, NULL, 0, 0)), 0);
    EXPECT(end_of(F(fdb_transaction_get_key)(tr, NULL, 1, 0, 1, 0)), 2000);
    EXPECT(end_of(F(fdb_transaction_get)(tr, B("\xff/x"), 3, 0)), 2004);
    F(fdb_transaction_reset)(tr);
    EXPECT(end_of(F(fdb_transaction_get_range)(tr, B("a"), 1, 0, 1, B("b"), 1, 0, 1, 0, 0, FDB_STREAMING_MODE_EXACT, 0, 0, 0)), 2210);
    EXPECT(end_of(F(fdb_transaction_get_range)(tr, B("a"), 1, 0, 1, B("b"), 1, 0, 1, -1, 0, FDB_STREAMING_MODE_WANT_ALL, 0, 0, 0)), 2012);
    EXPECT(end_of(F(fdb_transaction_get_range)(tr, B("a"), 1, 0, 1, B("b"), 1, 0, 1, 0, 0, FDB_STREAMING_MODE_ITERATOR, 0, 0, 0)), 2000);
    EXPECT(end_of(F(fdb_transaction_get_range)(tr, B("a"), 1, 0, 1, B("b"), 1, 0, 1, 0, 0, (FDBStreamingMode)77, 0, 0, 0)), 2000);
    EXPECT(end_of(F(fdb_transaction_get_range)(tr, B("b"), 1, 0, 1, B("a"), 1, 0, 1, 0, 0, FDB_STREAMING_MODE_WANT_ALL, 0, 0, 0)), 0);
    F(fdb_transaction_destroy)(tr);
}

/* A refused write says so at the commit. */
static int commit_of(FDBTransaction *tr)
{
    int error = end_of(F(fdb_transaction_commit)(tr));

    F(fdb_transaction_reset)(tr);
    return error;
}

static void check_bad_writes(FDBDatabase *db)
{
    FDBTransaction *tr = new_transaction(db);
    uint8_t *large = calloc(1, 200000);

    F(fdb_transaction_set)(tr, large, 10001, B("v"), 1);
    EXPECT(commit_of(tr), 2102);
    F(fdb_transaction_set)(tr, B("k"), 1, large, 100001);
    EXPECT(commit_of(tr), 2103);
    F(fdb_transaction_set)(tr, B("k"), 1, NULL, 1);
    EXPECT(commit_of(tr), 2000);
    F(fdb_transaction_set)(tr, B("\xff/k"), 3, B("v"), 1);
    EXPECT(commit_of(tr), 2004);
    F(fdb_transaction_clear_range)(tr, B("b"), 1, B("a"), 1);
    EXPECT(commit_of(tr), 2005);
    F(fdb_transaction_clear)(tr, B("b"), -2);
    EXPECT(commit_of(tr), 2000);
    F(fdb_transaction_atomic_op)(tr, B("k"), 1, B("v"), 1, (FDBMutationType)99);
    EXPECT(commit_of(tr), 2018);
    F(fdb_transaction_atomic_op)(tr, B("k"), 1, B("v"), 1, FDB_MUTATION_TYPE_SET_VERSIONSTAMPED_KEY);
    EXPECT(commit_of(tr), 2000);
    EXPECT(F(fdb_transaction_add_conflict_range)(tr, B("b"), 1, B("a"), 1, FDB_CONFLICT_RANGE_TYPE_READ), 2005);
    EXPECT(F(fdb_transaction_add_conflict_range)(tr, B("a"), 1, B("b"), 1, (FDBConflictRangeType)7), 2000);
    F(fdb_transaction_set_read_version)(tr, 0);
    EXPECT(end_of(F(fdb_transaction_get)(tr, B("k"), 1, 0)), 2011);
    EXPECT(commit_of(tr), 2011);
    F(fdb_transaction_destroy)(tr);
    free(large);
}

static void check_negative_lengths(FDBDatabase *db)
{
    FDBTransaction *tr = new_transaction(db);

    EXPECT(end_of(F(fdb_transaction_get_key)(tr, B("k"), -1, 0, 1, 0)), 2000);
    EXPECT(end_of(F(fdb_transaction_get_range)(tr, B("a"), -1, 0, 1, B("b"), 1, 0, 1, 0, 0, FDB_STREAMING_MODE_WANT_ALL, 0, 0, 0)), 2000);
    EXPECT(end_of(F(fdb_transaction_get_range)(tr, B("a"), 1, 0, 1, NULL, 4, 0, 1, 0, 0, FDB_STREAMING_MODE_WANT_ALL, 0, 0, 0)), 2000);
    EXPECT(end_of(F(fdb_transaction_watch)(tr, B("k"), -3)), 2000);
    EXPECT(end_of(F(fdb_transaction_get_addresses_for_key)(tr, NULL, 2)), 2000);
    EXPECT(end_of(F(fdb_transaction_get_estimated_range_size_bytes)(tr, B("a"), 1, B("b"), -1)), 2000);
    EXPECT(end_of(F(fdb_transaction_get_range_split_points)(tr, B("a"), -1, B("b"), 1, 1000)), 2000);
    EXPECT(F(fdb_transaction_add_conflict_range)(tr, B("a"), -1, B("b"), 1, FDB_CONFLICT_RANGE_TYPE_READ), 2000);
    EXPECT(F(fdb_transaction_set_option)(tr, FDB_TR_OPTION_DEBUG_TRANSACTION_IDENTIFIER, B("id"), -2), 2006);
    EXPECT(F(fdb_database_set_option)(db, FDB_DB_OPTION_MACHINE_ID, NULL, 5), 2006);
    EXPECT(F(fdb_network_set_option)(FDB_NET_OPTION_TRACE_LOG_GROUP, B("g"), -1), 2006);
    F(fdb_transaction_set)(tr, B("k"), -1, B("v"), 1);
    EXPECT(commit_of(tr), 2000);
    F(fdb_transaction_clear_range)(tr, B("a"), 1, B("b"), -1);
    EXPECT(commit_of(tr), 2000);
    F(fdb_transaction_atomic_op)(tr, B("k"), 1, B("v"), -1, FDB_MUTATION_TYPE_ADD);
    EXPECT(commit_of(tr), 2000);
    F(fdb_transaction_set)(tr, NULL, 0, NULL, 0);
    EXPECT(commit_of(tr), 0);
    F(fdb_transaction_clear)(tr, NULL, 0);
    EXPECT(commit_of(tr), 0);
    F(fdb_transaction_destroy)(tr);
}

static int range_end(FDBTransaction *tr, const char *begin, const char *end)
{
    return end_of(F(fdb_transaction_get_range)(tr, B(begin), (int)strlen(begin), 0, 1, B(end), (int)strlen(end), 0, 1, 0, 0,
                                               FDB_STREAMING_MODE_WANT_ALL, 0, 0, 0));
}

/* What lies behind \xff needs an option, and a special key a module. */
static void check_system_keys(FDBDatabase *db)
{
    const char *lock = "\xff\xff/management/db_locked", *path = "\xff\xff/cluster_file_path";
    FDBTransaction *tr = new_transaction(db);

    EXPECT(range_end(tr, "\xff/conf/", "\xff/conf0"), 2004);
    F(fdb_transaction_reset)(tr);
    EXPECT(end_of(F(fdb_transaction_watch)(tr, B("\xff/k"), 3)), 2004);
    F(fdb_transaction_reset)(tr);
    EXPECT(end_of(F(fdb_transaction_get_key)(tr, B("\xff/k"), 3, 0, 1, 0)), 2004);
    F(fdb_transaction_reset)(tr);
    EXPECT(F(fdb_transaction_add_conflict_range)(tr, B("\xff/a"), 3, B("\xff/b"), 3, FDB_CONFLICT_RANGE_TYPE_WRITE), 2004);
    F(fdb_transaction_reset)(tr);
    F(fdb_transaction_clear)(tr, B("\xff/k"), 3);
    EXPECT(commit_of(tr), 2004);
    F(fdb_transaction_atomic_op)(tr, B("\xff/k"), 3, B("v"), 1, FDB_MUTATION_TYPE_ADD);
    EXPECT(commit_of(tr), 2004);
    EXPECT(F(fdb_transaction_set_option)(tr, FDB_TR_OPTION_READ_SYSTEM_KEYS, NULL, 0), 0);
    EXPECT(range_end(tr, "\xff/conf/", "\xff/conf0"), 0);
    F(fdb_transaction_set)(tr, B("\xff/k"), 3, B("v"), 1);
    EXPECT(commit_of(tr), 2004);
    EXPECT(range_end(tr, "\xff\xff/nothing/", "\xff\xff/nothing0"), 2113);
    EXPECT(range_end(tr, "\xff\xff/transaction/", "\xff\xff/worker_interfaces0"), 2112);
    F(fdb_transaction_set)(tr, B(lock), (int)strlen(lock), B("v"), 1);
    EXPECT(commit_of(tr), 2114);
    EXPECT(F(fdb_transaction_set_option)(tr, FDB_TR_OPTION_SPECIAL_KEY_SPACE_ENABLE_WRITES, NULL, 0), 0);
    F(fdb_transaction_set)(tr, B(path), (int)strlen(path), B("v"), 1);
    EXPECT(commit_of(tr), 2115);
    EXPECT(F(fdb_transaction_set_option)(tr, FDB_TR_OPTION_SPECIAL_KEY_SPACE_ENABLE_WRITES, NULL, 0), 0);
    F(fdb_transaction_clear_range)(tr, B(lock), (int)strlen(lock), B("\xff\xff/tracing0"), 11);
    EXPECT(commit_of(tr), 2116);
    EXPECT(F(fdb_transaction_set_option)(tr, FDB_TR_OPTION_SPECIAL_KEY_SPACE_ENABLE_WRITES, NULL, 0), 0);
    F(fdb_transaction_set)(tr, B(lock), (int)strlen(lock), B("v"), 1);
    EXPECT(commit_of(tr), 2117);
    F(fdb_transaction_destroy)(tr);
}

/* As locality code does: shards begin where the keys below \xff/keyServers/ say, and FoundationDB's decoder reads the values. */
static void check_locality(FDBDatabase *db)
{
    static const uint8_t protocol[8] = {0x01, 0x00, 0x01, 0x62, 0xb0, 0x00, 0xdb, 0x0f};
    FDBTransaction *tr = new_transaction(db);
    const FDBKeyValue *pairs;
    fdb_bool_t more;
    FDBFuture *f;
    int count = 0, servers;

    EXPECT(F(fdb_transaction_set_option)(tr, FDB_TR_OPTION_READ_SYSTEM_KEYS, NULL, 0), 0);
    f = F(fdb_transaction_get_range)(tr, B("\xff/keyServers/"), 13, 0, 1, B("\xff/keyServers/\xff\xff"), 15, 1, 1, 0, 0,
                                     FDB_STREAMING_MODE_WANT_ALL, 0, 0, 0);
    EXPECT(F(fdb_future_block_until_ready)(f), 0);
    EXPECT(F(fdb_future_get_keyvalue_array)(f, &pairs, &count, &more), 0);
    EXPECT(count >= 2, 1);
    EXPECT(pairs[0].key_length, 13);
    for (int i = 0; i + 1 < count; i++) {
        EXPECT(pairs[i].value_length >= 16 && memcmp(pairs[i].value, protocol, sizeof(protocol)) == 0, 1);
        memcpy(&servers, (const uint8_t *)pairs[i].value + 8, 4);
        EXPECT(servers >= 1 && pairs[i].value_length >= 12 + 16 * servers + 4, 1);
    }
    EXPECT(pairs[count - 1].key_length == 15 && pairs[count - 1].value_length == 0, 1); /* the end of the last shard */
    F(fdb_future_destroy)(f);
    F(fdb_transaction_destroy)(tr);
}

static void check_options(FDBDatabase *db)
{
    FDBTransaction *tr = new_transaction(db);
    int64_t number = 5000;

    EXPECT(F(fdb_transaction_set_option)(tr, (FDBTransactionOption)9999, NULL, 0), 2007);
    EXPECT(F(fdb_transaction_set_option)(tr, FDB_TR_OPTION_TIMEOUT, (uint8_t *)&number, 4), 2006);
    EXPECT(F(fdb_transaction_set_option)(tr, FDB_TR_OPTION_TIMEOUT, NULL, 0), 2006);
    EXPECT(F(fdb_transaction_set_option)(tr, FDB_TR_OPTION_TIMEOUT, (uint8_t *)&number, 8), 0);
    EXPECT(F(fdb_transaction_set_option)(tr, FDB_TR_OPTION_CAUSAL_READ_RISKY, NULL, 0), 0);
    number = 1;
    EXPECT(F(fdb_transaction_set_option)(tr, FDB_TR_OPTION_SIZE_LIMIT, (uint8_t *)&number, 8), 0); /* out of bounds: shows later */
    F(fdb_transaction_set)(tr, B("k"), 1, B("v"), 1);
    EXPECT(end_of(F(fdb_transaction_commit)(tr)), 2006);
    F(fdb_transaction_reset)(tr);
    EXPECT(F(fdb_database_set_option)(db, (FDBDatabaseOption)9999, NULL, 0), 2007);
    EXPECT(F(fdb_database_set_option)(db, FDB_DB_OPTION_MAX_WATCHES, (uint8_t *)&number, 3), 2006);
#define SET(NAME, name, code, parameter, kind) \
    if (kind_##parameter != 2) \
        EXPECT(F(fdb_transaction_set_option)(tr, FDB_TR_OPTION_##NAME, NULL, 0), kind_##parameter == 0 ? 0 : 2006);
    enum { kind_NONE = 0, kind_INT = 1, kind_STRING = 2, kind_BYTES = 2 };
    F(fdb_transaction_reset)(tr);
    EXPECT(F(fdb_transaction_set_option)(tr, FDB_TR_OPTION_LOG_TRANSACTION, NULL, 0), 2000); /* nothing to log it under */
    EXPECT(F(fdb_transaction_set_option)(tr, FDB_TR_OPTION_DEBUG_TRANSACTION_IDENTIFIER, B("id"), 2), 0);
    FDB_TRANSACTION_OPTION_TABLE(SET)
#undef SET
    F(fdb_transaction_destroy)(tr);
}

static void check_life(FDBDatabase *db)
{
    FDBTransaction *tr = new_transaction(db);
    FDBFuture *f, *g;
    int64_t number = 0;
    fdb_bool_t present, more;
    const FDBKeyValue *pairs;
    const uint8_t *value;
    int length, count;

    F(fdb_transaction_set)(tr, B("contract"), 8, B("v"), 1);
    f = F(fdb_transaction_get)(tr, B("contract"), 8, 0);
    EXPECT(F(fdb_future_block_until_ready)(f), 0);
    EXPECT(F(fdb_future_get_int64)(f, &number), 2000);
    EXPECT(F(fdb_future_get_value)(f, NULL, &value, &length), 2000);
    EXPECT(F(fdb_future_get_value)(f, &present, &value, &length), 0);
    EXPECT(present && length == 1 && value[0] == 'v', 1);
    F(fdb_future_release_memory)(f);
    EXPECT(F(fdb_future_get_value)(f, &present, &value, &length), 1102);
    F(fdb_future_destroy)(f);
    EXPECT(F(fdb_transaction_get_committed_version)(tr, &number), 0);
    EXPECT(number, -1);
    f = F(fdb_transaction_get_versionstamp)(tr);
    EXPECT(F(fdb_future_get_key)(f, &value, &length), 2015);
    EXPECT(F(fdb_future_is_ready)(f), 0);
    EXPECT(end_of(F(fdb_transaction_commit)(tr)), 0);
    EXPECT(F(fdb_future_block_until_ready)(f), 0);
    EXPECT(F(fdb_future_get_key)(f, &value, &length), 0);
    EXPECT(length, 10);
    F(fdb_future_destroy)(f);
    EXPECT(F(fdb_transaction_get_committed_version)(tr, &number), 0);
    EXPECT(number > 0, 1);
    EXPECT(end_of(F(fdb_transaction_get)(tr, B("contract"), 8, 0)), version < 410 ? 0 : 2017);
    F(fdb_transaction_reset)(tr);
    f = F(fdb_transaction_get_range)(tr, B("contract"), 8, 0, 1, B("d"), 1, 0, 1, 10, 0, FDB_STREAMING_MODE_WANT_ALL, 0, 0, 0);
    EXPECT(F(fdb_future_block_until_ready)(f), 0);
    EXPECT(F(fdb_future_get_keyvalue_array)(f, &pairs, &count, &more), 0);
    EXPECT(count == 1 && pairs[0].key_length == 8 && pairs[0].value_length == 1 && !more, 1);
    F(fdb_future_destroy)(f);
    F(fdb_transaction_cancel)(tr);
    EXPECT(end_of(F(fdb_transaction_get)(tr, B("contract"), 8, 0)), 1025);
    EXPECT(end_of(F(fdb_transaction_commit)(tr)), 1025);
    EXPECT(end_of(F(fdb_transaction_on_error)(tr, 1020)), 1025);
    F(fdb_transaction_reset)(tr);
    EXPECT(end_of(F(fdb_transaction_on_error)(tr, 2000)), 2000);
    F(fdb_transaction_reset)(tr);
    EXPECT(end_of(F(fdb_transaction_on_error)(tr, 1020)), 0);
    f = F(fdb_transaction_get_read_version)(tr);
    F(fdb_future_cancel)(f);
    g = F(fdb_transaction_get)(tr, B("x"), 1, 1);
    F(fdb_future_destroy)(g);
    F(fdb_transaction_destroy)(tr);
    EXPECT(F(fdb_future_block_until_ready)(f), 0);
    count = F(fdb_future_get_error)(f);
    EXPECT(count == 0 || count == 1101 || count == 1025, 1);
    F(fdb_future_destroy)(f);
}

struct called {
    pthread_mutex_t lock;
    pthread_cond_t change;
    int times, blocked;
    bool same_thread;
    pthread_t starter;
    FDBFuture *pending;
};

static void on_ready(FDBFuture *f, void *parameter)
{
    struct called *called = parameter;

    (void)f;
    pthread_mutex_lock(&called->lock);
    called->times++;
    called->same_thread = pthread_equal(pthread_self(), called->starter);
    if (called->pending != NULL && !called->same_thread)
        called->blocked = F(fdb_future_block_until_ready)(called->pending);
    pthread_cond_broadcast(&called->change);
    pthread_mutex_unlock(&called->lock);
}

/* On the network thread, where nothing may block; and at once in this one when the future is ready. */
static void check_callbacks(FDBDatabase *db)
{
    struct called called = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, -1, true, pthread_self(), NULL};
    FDBTransaction *tr = new_transaction(db), *other = new_transaction(db);
    FDBFuture *f;

    F(fdb_transaction_set)(other, B("k"), 1, B("v"), 1);
    called.pending = F(fdb_transaction_get_versionstamp)(other);
    f = F(fdb_transaction_get_read_version)(tr);
    EXPECT(F(fdb_future_set_callback)(f, on_ready, &called), 0);
    pthread_mutex_lock(&called.lock);
    while (called.times == 0)
        pthread_cond_wait(&called.change, &called.lock);
    pthread_mutex_unlock(&called.lock);
    EXPECT(F(fdb_future_is_ready)(f), 1);
    EXPECT(called.times, 1);
    if (!called.same_thread)
        EXPECT(called.blocked, 2026);
    EXPECT(F(fdb_future_set_callback)(f, on_ready, &called), 2000);
    EXPECT(F(fdb_future_set_callback)(f, NULL, NULL), 2000);
    F(fdb_future_destroy)(f);
    F(fdb_future_destroy)(called.pending);
    called.pending = NULL;
    f = F(fdb_transaction_get_approximate_size)(tr);
    EXPECT(F(fdb_future_set_callback)(f, on_ready, &called), 0);
    EXPECT(called.times == 2 && called.same_thread, 1);
    F(fdb_future_destroy)(f);
    F(fdb_transaction_destroy)(other);
    F(fdb_transaction_destroy)(tr);
}

static void check_conflict(FDBDatabase *db)
{
    FDBTransaction *one = new_transaction(db), *other = new_transaction(db);

    EXPECT(end_of(F(fdb_transaction_get)(one, B("contract"), 8, 0)), 0);
    F(fdb_transaction_set)(other, B("contract"), 8, B("w"), 1);
    EXPECT(end_of(F(fdb_transaction_commit)(other)), 0);
    F(fdb_transaction_set)(one, B("other"), 5, B("w"), 1);
    EXPECT(end_of(F(fdb_transaction_commit)(one)), 1020);
    EXPECT(F(fdb_error_predicate)(FDB_ERROR_PREDICATE_RETRYABLE, 1020), 1);
    EXPECT(F(fdb_error_predicate)(FDB_ERROR_PREDICATE_MAYBE_COMMITTED, 1020), 0);
    EXPECT(F(fdb_error_predicate)(FDB_ERROR_PREDICATE_MAYBE_COMMITTED, 1021), 1);
    EXPECT(F(fdb_error_predicate)(0, 1021), 0);
    F(fdb_transaction_destroy)(one);
    F(fdb_transaction_destroy)(other);
}

static void check_absent(FDBDatabase *db)
{
    FDBTransaction *tr = new_transaction(db);
    FDBTenant *tenant = NULL;
    FDBReadBlobGranuleContext context = {0};
    const FDBKeyValue *pairs;
    FDBResult *result;
    fdb_bool_t more;
    int count;

    EXPECT(F(fdb_database_open_tenant)(db, B("t"), 1, &tenant), 2108);
    EXPECT(end_of(F(fdb_database_create_snapshot)(db, B("u"), 1, B("c"), 1)), 2509);
    EXPECT(end_of(F(fdb_database_list_cdc_streams)(db)), 2108);
    EXPECT(end_of(F(fdb_database_blobbify_range)(db, B("a"), 1, B("b"), 1)), 2108);
    EXPECT(end_of(F(fdb_tenant_get_id)(NULL)), 2000);
    EXPECT(end_of(F(fdb_transaction_get_blob_granule_ranges)(tr, B("a"), 1, B("b"), 1, 1)), 2108);
    EXPECT(end_of(F(fdb_transaction_get_mapped_range)(tr, B("a"), 1, 0, 1, B("b"), 1, 0, 1, B("m"), 1, 0, 0, FDB_STREAMING_MODE_WANT_ALL,
                                                      0, 0, 0)),
           2043);
    result = F(fdb_transaction_read_blob_granules)(tr, B("a"), 1, B("b"), 1, 0, 0, context);
    EXPECT(F(fdb_result_get_keyvalue_array)(result, &pairs, &count, &more), 2108);
    F(fdb_result_destroy)(result);
    F(fdb_tenant_destroy)(NULL);
    F(fdb_transaction_destroy)(tr);
}

static void check_no_handles(void)
{
    FDBTransaction *tr = NULL;
    int64_t number;

    EXPECT(F(fdb_database_create_transaction)(NULL, &tr), 2000);
    EXPECT(end_of(F(fdb_transaction_commit)(NULL)), 2000);
    F(fdb_transaction_set)(NULL, B("k"), 1, B("v"), 1);
    F(fdb_transaction_destroy)(NULL);
    F(fdb_database_destroy)(NULL);
    F(fdb_future_destroy)(NULL);
    EXPECT(F(fdb_transaction_get_committed_version)(NULL, &number), 2000);
    EXPECT(F(fdb_get_error)(-7) != NULL, 1);
    EXPECT(strlen(F(fdb_get_error)(1020)) > 0, 1);
    EXPECT(strchr(F(fdb_get_client_version)(), ',') != NULL, 1);
}

/* ---- with older parameters ---- */

typedef FDBFuture *old_get(FDBTransaction *, const uint8_t *, int);
typedef FDBFuture *old_get_key(FDBTransaction *, const uint8_t *, int, int, int);
typedef FDBFuture *old_get_range(FDBTransaction *, const uint8_t *, int, const uint8_t *, int, int);
typedef int old_pairs(FDBFuture *, FDBKeyValue const **, int *);
typedef int old_error(FDBFuture *, const char **);
typedef void old_option(FDBTransaction *, FDBTransactionOption);

static void check_version_13(FDBDatabase *db)
{
    FDBTransaction *tr = new_transaction(db);
    const FDBKeyValue *pairs;
    const uint8_t *key;
    FDBFuture *f;
    int count = 0, length = 0;

    ((old_option *)need("fdb_transaction_set_option"))(tr, FDB_TR_OPTION_CAUSAL_READ_RISKY);
    F(fdb_transaction_set)(tr, B("old1"), 4, B("v"), 1);
    F(fdb_transaction_set)(tr, B("old2"), 4, B("v"), 1);
    EXPECT(end_of(((old_get *)need("fdb_transaction_get"))(tr, B("old1"), 4)), 0);
    f = ((old_get_key *)need("fdb_transaction_get_key"))(tr, B("old1"), 4, 1, 1);
    EXPECT(F(fdb_future_block_until_ready)(f), 0);
    EXPECT(F(fdb_future_get_key)(f, &key, &length), 0);
    EXPECT(length == 4 && memcmp(key, "old2", 4) == 0, 1);
    F(fdb_future_destroy)(f);
    f = ((old_get_range *)need("fdb_transaction_get_range"))(tr, B("old"), 3, B("ole"), 3, -1);
    EXPECT(F(fdb_future_block_until_ready)(f), 0);
    EXPECT(((old_pairs *)need("fdb_future_get_keyvalue_array"))(f, &pairs, &count), 0);
    EXPECT(count == 1 && memcmp(pairs[0].key, "old2", 4) == 0, 1);
    F(fdb_future_destroy)(f);
    EXPECT(end_of(F(fdb_transaction_commit)(tr)), 0);
    F(fdb_transaction_destroy)(tr);
}

static void check_old_errors(FDBDatabase *db)
{
    FDBTransaction *tr = new_transaction(db);
    FDBFuture *f = F(fdb_transaction_get_approximate_size)(tr);
    const char *text = NULL;

    EXPECT(((old_error *)need("fdb_future_get_error"))(f, &text), 2016);
    EXPECT(((int (*)(FDBFuture *))need("fdb_future_is_error"))(f), 0);
    F(fdb_future_destroy)(f);
    f = F(fdb_transaction_on_error)(tr, 2000);
    EXPECT(F(fdb_future_block_until_ready)(f), 0);
    EXPECT(((old_error *)need("fdb_future_get_error"))(f, &text), 2000);
    EXPECT(text != NULL && strlen(text) > 0, 1);
    F(fdb_future_destroy)(f);
    F(fdb_transaction_destroy)(tr);
}

/* The way to a database below 610. */
static FDBDatabase *open_by_cluster(void)
{
    FDBFuture *f = ((FDBFuture * (*)(const char *)) need("fdb_create_cluster"))(cluster);
    FDBFuture *(*create)(FDBCluster *, const uint8_t *, int) = (FDBFuture * (*)(FDBCluster *, const uint8_t *, int))
        need("fdb_cluster_create_database");
    FDBCluster *made = NULL;
    FDBDatabase *db = NULL;

    EXPECT(F(fdb_future_block_until_ready)(f), 0);
    EXPECT(((int (*)(FDBFuture *, FDBCluster **))need("fdb_future_get_cluster"))(f, &made), 0);
    F(fdb_future_destroy)(f);
    EXPECT(end_of(create(made, B("XX"), 2)), 2013);
    f = create(made, B("DB"), 2);
    EXPECT(F(fdb_future_block_until_ready)(f), 0);
    EXPECT(((int (*)(FDBFuture *, FDBDatabase **))need("fdb_future_get_database"))(f, &db), 0);
    F(fdb_future_destroy)(f);
    ((void (*)(FDBCluster *))need("fdb_cluster_destroy"))(made);
    return db;
}

/* Versionstamped keys end in 2 bytes of offset below 520; a stamped value begins with its stamp. */
static void check_stamps(FDBDatabase *db)
{
    FDBTransaction *tr = new_transaction(db);
    uint8_t key[3 + 10 + 4] = "st/", value[10 + 4] = {0};
    bool old = version < 520;
    FDBFuture *f;
    const uint8_t *found;
    fdb_bool_t present = 0;
    int length = 0;

    key[13] = 3;
    F(fdb_transaction_atomic_op)(tr, key, old ? 15 : 17, B("v"), 1, FDB_MUTATION_TYPE_SET_VERSIONSTAMPED_KEY);
    F(fdb_transaction_atomic_op)(tr, B("sv"), 2, value, old ? 10 : 14, FDB_MUTATION_TYPE_SET_VERSIONSTAMPED_VALUE);
    EXPECT(end_of(F(fdb_transaction_commit)(tr)), 0);
    F(fdb_transaction_reset)(tr);
    f = F(fdb_transaction_get)(tr, B("sv"), 2, 0);
    EXPECT(F(fdb_future_block_until_ready)(f), 0);
    EXPECT(F(fdb_future_get_value)(f, &present, &found, &length), 0);
    EXPECT(present && length == 10, 1);
    F(fdb_future_destroy)(f);
    F(fdb_transaction_destroy)(tr);
}

static void check_and_of_nothing(FDBDatabase *db)
{
    FDBTransaction *tr = new_transaction(db);
    FDBFuture *f;
    const uint8_t *found = NULL;
    fdb_bool_t present = 0;
    int length = 0;

    F(fdb_transaction_clear)(tr, B("and"), 3);
    F(fdb_transaction_atomic_op)(tr, B("and"), 3, B("\x7f"), 1, FDB_MUTATION_TYPE_BIT_AND);
    f = F(fdb_transaction_get)(tr, B("and"), 3, 0);
    EXPECT(F(fdb_future_block_until_ready)(f), 0);
    EXPECT(F(fdb_future_get_value)(f, &present, &found, &length), 0);
    EXPECT(present && length == 1 && found[0] == (version < 510 ? 0 : 0x7f), 1);
    F(fdb_future_destroy)(f);
    F(fdb_transaction_destroy)(tr);
}

/* ---- the whole ---- */

static void check_over(FDBDatabase *db)
{
    FDBTransaction *tr = new_transaction(db);

    EXPECT(F(fdb_stop_network)(), 0);
    while (hooked == 0)
        usleep(1000);
    usleep(20000);
    EXPECT(F(fdb_run_network)(), 2025);
    if (version >= 14)
        EXPECT(end_of(F(fdb_transaction_get)(tr, B("k"), 1, 0)), 2025);
    EXPECT(end_of(F(fdb_transaction_commit)(tr)), 2025);
    EXPECT(F(fdb_create_database)(cluster, &db), 2025);
    F(fdb_transaction_destroy)(tr);
    F(fdb_database_destroy)(db);
}

static void check_database(FDBDatabase *db)
{
    check_no_handles();
    if (version >= 23) {
        check_bad_bytes(db);
        check_bad_writes(db);
        check_negative_lengths(db);
        check_system_keys(db);
        check_locality(db);
        check_options(db);
        check_life(db);
        check_callbacks(db);
        check_conflict(db);
        check_absent(db);
        check_stamps(db);
        check_and_of_nothing(db);
    } else {
        check_old_errors(db);
        if (version < 14)
            check_version_13(db);
    }
}

int main(int argc, char **argv)
{
    FDBDatabase *db = NULL;
    pthread_t thread;
    int network = -1;

    if (argc != 4) {
        fprintf(stderr, "usage: quoin-fdb-contract LIBRARY VERSION CLUSTER\nexample: quoin-fdb-contract ./libfdb_c.so 730 memory:\n");
        return 2;
    }
    library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        printf("%s\n", dlerror());
        return 1;
    }
    version = atoi(argv[2]);
    cluster = argv[3];
    alarm(60);
    check_selection();
    check_setup();
    check_cluster_files();
    if (version < 610)
        db = open_by_cluster();
    else
        EXPECT(F(fdb_create_database)(cluster, &db), 0); /* before the network runs */
    pthread_create(&thread, NULL, run_network, &network);
    check_database(db);
    check_over(db);
    pthread_join(thread, NULL);
    EXPECT(network, 0);
    EXPECT(hooked, 1);
    printf("version %d: %d checks, %d failed\n", version, checks, failures);
    return failures == 0 ? 0 : 1;
}
