/* What FoundationDB's own C programs do with the C API (its unit tests, its benchmarks, its tester of the API), done in one program of
 * ours: written against the installed headers alone, and C as well as C++.
 *
 *   quoin-fdb-calls CLUSTER [SECONDS]
 *
 * Checks what a program relies on without saying so, then runs a mixed load (threads that wait, and callbacks) for SECONDS (1).
 * Prints what failed; exits 0 if nothing did. */
#define FDB_API_VERSION 710
#include <foundationdb/fdb_c.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { WORKERS = 4, ROWS = 1000, CHAINS = 16 };

static FDBDatabase *db;
static int checks, failures;

static void expect(int line, const char *what, long long got, long long wanted)
{
    __atomic_add_fetch(&checks, 1, __ATOMIC_RELAXED); /* also from threads and callbacks */
    if (got == wanted)
        return;
    __atomic_add_fetch(&failures, 1, __ATOMIC_RELAXED);
    printf("line %d: %s gave %lld, not %lld\n", line, what, got, wanted);
}
#define EXPECT(call, wanted) expect(__LINE__, #call, (long long)(call), (long long)(wanted))

static const uint8_t *B(const char *text)
{
    return (const uint8_t *)text;
}

static fdb_error_t wait_for(FDBFuture *f)
{
    fdb_error_t error = fdb_future_block_until_ready(f);

    return error != 0 ? error : fdb_future_get_error(f);
}

static fdb_error_t end_of(FDBFuture *f)
{
    fdb_error_t error = wait_for(f);

    fdb_future_destroy(f);
    return error;
}

static FDBTransaction *begin(void)
{
    FDBTransaction *tr = NULL;

    EXPECT(fdb_database_create_transaction(db, &tr), 0);
    return tr;
}

static FDBFuture *get(FDBTransaction *tr, const char *key)
{
    return fdb_transaction_get(tr, B(key), (int)strlen(key), 0);
}

static void set(FDBTransaction *tr, const char *key, const char *value)
{
    fdb_transaction_set(tr, B(key), (int)strlen(key), B(value), (int)strlen(value));
}

static fdb_error_t set_number(FDBTransaction *tr, FDBTransactionOption option, int64_t number)
{
    return fdb_transaction_set_option(tr, option, (const uint8_t *)&number, sizeof(number));
}

/* The key's value as text, "-" if it is absent, "!CODE" after an error. */
static const char *value_of(FDBTransaction *tr, const char *key)
{
    static char text[4096];
    FDBFuture *f = get(tr, key);
    const uint8_t *value;
    fdb_bool_t present;
    int len;
    fdb_error_t error = wait_for(f);

    if (error == 0)
        error = fdb_future_get_value(f, &present, &value, &len);
    if (error != 0)
        snprintf(text, sizeof(text), "!%d", error);
    else
        snprintf(text, sizeof(text), "%.*s", present ? len : 1, present ? (const char *)value : "-");
    fdb_future_destroy(f);
    return text;
}
#define EXPECT_VALUE(tr, key, wanted)                                          \
    do {                                                                       \
        const char *got_ = value_of(tr, key);                                  \
        checks++;                                                              \
        if (strcmp(got_, wanted) != 0) {                                       \
            failures++;                                                        \
            printf("line %d: %s is %s, not %s\n", __LINE__, key, got_, wanted); \
        }                                                                      \
    } while (0)

static void put_letters(void)
{
    FDBTransaction *tr = begin();

    fdb_transaction_clear_range(tr, B("calls/"), 6, B("calls0"), 6);
    set(tr, "calls/a", "1");
    set(tr, "calls/b", "2");
    set(tr, "calls/c", "3");
    set(tr, "calls/d", "4");
    EXPECT(end_of(fdb_transaction_commit(tr)), 0);
    fdb_transaction_destroy(tr);
}

/* ---- futures ---- */

static void check_release(void)
{
    FDBTransaction *tr = begin();
    FDBFuture *f = get(tr, "calls/a");
    const uint8_t *value;
    fdb_bool_t present;
    int len;

    EXPECT(wait_for(f), 0);
    fdb_future_cancel(f); /* too late */
    EXPECT(fdb_future_get_value(f, &present, &value, &len), 0);
    EXPECT(fdb_future_get_value(f, &present, &value, &len), 0);
    fdb_future_release_memory(f);
    EXPECT(fdb_future_get_value(f, &present, &value, &len), 0); /* released once, given twice */
    fdb_future_release_memory(f);
    fdb_future_release_memory(f);
    EXPECT(fdb_future_get_value(f, &present, &value, &len), 1102);
    fdb_future_destroy(f);
    fdb_transaction_destroy(tr);
}

/* A benchmark reads the key of a selector as if it were a value. */
static void check_key_as_value(void)
{
    FDBTransaction *tr = begin();
    FDBFuture *f = fdb_transaction_get_key(tr, FDB_KEYSEL_FIRST_GREATER_THAN(B("calls/a"), 7), 0);
    const uint8_t *key;
    fdb_bool_t present;
    int len;

    EXPECT(wait_for(f), 0);
    EXPECT(fdb_future_get_value(f, &present, &key, &len), 0);
    EXPECT(len == 7 && memcmp(key, "calls/b", 7) == 0, 1);
    EXPECT(fdb_future_get_key(f, &key, &len), 0);
    EXPECT(len == 7 && memcmp(key, "calls/b", 7) == 0, 1);
    fdb_future_destroy(f);
    fdb_transaction_destroy(tr);
}

struct blocked {
    FDBTransaction *tr;
    pthread_mutex_t lock;
    int done, error;
};

static void block_in_callback(FDBFuture *f, void *context)
{
    struct blocked *blocked = (struct blocked *)context;
    FDBFuture *other = get(blocked->tr, "calls/b");

    (void)f;
    blocked->error = fdb_future_block_until_ready(other);
    fdb_future_destroy(other);
    pthread_mutex_lock(&blocked->lock);
    blocked->done = 1;
    pthread_mutex_unlock(&blocked->lock);
}

static void nap(void)
{
    struct timespec ms = {0, 1000000};

    nanosleep(&ms, NULL);
}

static void check_callbacks(void)
{
    struct blocked blocked = {begin(), PTHREAD_MUTEX_INITIALIZER, 0, 0};
    FDBFuture *f = get(blocked.tr, "calls/a");
    int done = 0;

    EXPECT(fdb_future_set_callback(f, block_in_callback, &blocked), 0);
    while (!done) {
        nap();
        pthread_mutex_lock(&blocked.lock);
        done = blocked.done;
        pthread_mutex_unlock(&blocked.lock);
    }
    EXPECT(blocked.error == 2026 || blocked.error == 0, 1); /* 0: it was ready when the callback was set */
    fdb_future_destroy(f);
    fdb_transaction_destroy(blocked.tr);
}

/* ---- ranges ---- */

static int read_range(FDBTransaction *tr, int limit, int bytes, FDBStreamingMode mode, int iteration, int reverse, fdb_bool_t *more)
{
    FDBFuture *f = fdb_transaction_get_range(tr, FDB_KEYSEL_FIRST_GREATER_OR_EQUAL(B("calls/a"), 7),
                                             FDB_KEYSEL_LAST_LESS_OR_EQUAL(B("calls/d"), 7) + 1, limit, bytes, mode, iteration, 0, reverse);
    const FDBKeyValue *pairs;
    int count = -1;
    fdb_error_t error = wait_for(f);

    if (error == 0)
        error = fdb_future_get_keyvalue_array(f, &pairs, &count, more);
    for (int i = 0; error == 0 && i < count; i++)
        EXPECT(pairs[i].key[6], reverse ? 'd' - i : 'a' + i);
    fdb_future_destroy(f);
    return error != 0 ? -error : count;
}

static void check_ranges(void)
{
    FDBTransaction *tr = begin();
    fdb_bool_t more = 0;

    EXPECT(read_range(tr, 0, 0, FDB_STREAMING_MODE_WANT_ALL, 0, 0, &more), 4);
    EXPECT(more, 0);
    EXPECT(read_range(tr, 0, 0, FDB_STREAMING_MODE_WANT_ALL, 0, 1, &more), 4);
    EXPECT(read_range(tr, 2, 0, FDB_STREAMING_MODE_WANT_ALL, 0, 0, &more), 2);
    EXPECT(more, 1);
    EXPECT(read_range(tr, 3, 0, FDB_STREAMING_MODE_EXACT, 0, 0, &more), 3);
    EXPECT(more, 1);
    EXPECT(read_range(tr, 0, 0, FDB_STREAMING_MODE_ITERATOR, 1, 0, &more), 4);
    EXPECT(read_range(tr, 0, 0, FDB_STREAMING_MODE_SMALL, 0, 0, &more) > 0, 1);
    EXPECT(read_range(tr, 0, 0, FDB_STREAMING_MODE_MEDIUM, 0, 0, &more) > 0, 1);
    EXPECT(read_range(tr, 0, 0, FDB_STREAMING_MODE_LARGE, 0, 0, &more) > 0, 1);
    EXPECT(read_range(tr, 0, 0, FDB_STREAMING_MODE_SERIAL, 0, 0, &more) > 0, 1);
    EXPECT(read_range(tr, 0, 8, FDB_STREAMING_MODE_WANT_ALL, 0, 0, &more), 1);
    EXPECT(more, 1);
    EXPECT(read_range(tr, 0, 0, FDB_STREAMING_MODE_EXACT, 0, 0, &more), -2210);
    EXPECT(read_range(tr, 0, 0, FDB_STREAMING_MODE_ITERATOR, 0, 0, &more), -2000);
    EXPECT(read_range(tr, -1, 0, FDB_STREAMING_MODE_WANT_ALL, 0, 0, &more), -2012);
    fdb_transaction_destroy(tr);
}

/* ---- options, limits, versions ---- */

static fdb_error_t commit_with_limit(int64_t limit)
{
    FDBTransaction *tr = begin();
    fdb_error_t error;

    EXPECT(set_number(tr, FDB_TR_OPTION_SIZE_LIMIT, limit), 0); /* a limit out of bounds shows in what follows */
    set(tr, "calls/size", "a value that is longer than thirty-two bytes");
    error = end_of(fdb_transaction_commit(tr));
    fdb_transaction_destroy(tr);
    return error;
}

static void check_options(void)
{
    int64_t limit = 32, most = 10000000, timeout = 1;
    FDBTransaction *tr;
    fdb_error_t error = 0;

    EXPECT(commit_with_limit(31), 2006);
    EXPECT(commit_with_limit(10000001), 2006);
    EXPECT(commit_with_limit(32), 2101);
    EXPECT(fdb_database_set_option(db, FDB_DB_OPTION_TRANSACTION_SIZE_LIMIT, (const uint8_t *)&limit, 8), 0);
    tr = begin();
    set(tr, "calls/size", "a value that is longer than thirty-two bytes");
    EXPECT(end_of(fdb_transaction_commit(tr)), 2101);
    EXPECT(fdb_database_set_option(db, FDB_DB_OPTION_TRANSACTION_SIZE_LIMIT, (const uint8_t *)&most, 8), 0);
    EXPECT(fdb_database_set_option(db, FDB_DB_OPTION_TRANSACTION_TIMEOUT, (const uint8_t *)&timeout, 8), 0);
    fdb_transaction_destroy(tr);
    tr = begin();
    while (error == 0) {
        error = end_of(get(tr, "calls/a"));
        if (error != 0)
            error = end_of(fdb_transaction_on_error(tr, error));
    }
    EXPECT(error, 1031);
    timeout = 0;
    EXPECT(fdb_database_set_option(db, FDB_DB_OPTION_TRANSACTION_TIMEOUT, (const uint8_t *)&timeout, 8), 0);
    fdb_transaction_destroy(tr);
}

static void check_versions(void)
{
    FDBTransaction *tr = begin(), *other = begin();
    int64_t before, after, committed;
    FDBFuture *f = fdb_transaction_get_read_version(tr);

    EXPECT(wait_for(f), 0);
    EXPECT(fdb_future_get_int64(f, &before), 0);
    fdb_future_destroy(f);
    EXPECT(end_of(fdb_transaction_get_read_version(other)), 0);
    set(tr, "calls/version", "1");
    EXPECT(end_of(fdb_transaction_commit(tr)), 0);
    EXPECT(fdb_transaction_get_committed_version(tr, &committed), 0);
    EXPECT(committed > before, 1);
    f = fdb_transaction_get_read_version(tr); /* a commit does not reset */
    EXPECT(wait_for(f), 0);
    EXPECT(fdb_future_get_int64(f, &after), 0);
    EXPECT(after, before);
    fdb_future_destroy(f);
    EXPECT(fdb_transaction_add_conflict_range(other, B("calls/version"), 13, B("calls/versioo"), 13, FDB_CONFLICT_RANGE_TYPE_READ), 0);
    set(other, "calls/version", "2");
    EXPECT(end_of(fdb_transaction_commit(other)), 1020);
    EXPECT(end_of(fdb_transaction_get_read_version(other)), 0); /* nor does one that failed */
    fdb_transaction_reset(tr);
    fdb_transaction_set_read_version(tr, 1);
    EXPECT(end_of(get(tr, "calls/a")), 1007);
    fdb_transaction_reset(tr);
    fdb_transaction_set_read_version(tr, (int64_t)1 << 62);
    EXPECT(end_of(get(tr, "calls/a")), 1009);
    fdb_transaction_destroy(tr);
    fdb_transaction_destroy(other);
}

static void check_stamps(void)
{
    uint8_t key[] = "calls/stamp/..........\x0c\0\0";
    char found[64] = "calls/stamp/";
    FDBTransaction *tr = begin();
    FDBFuture *stamp;
    const uint8_t *bytes;
    int len = 0;
    fdb_bool_t present = 0;

    fdb_transaction_atomic_op(tr, key, sizeof(key), B("v"), 1, FDB_MUTATION_TYPE_SET_VERSIONSTAMPED_KEY);
    stamp = fdb_transaction_get_versionstamp(tr);
    EXPECT(end_of(fdb_transaction_commit(tr)), 0);
    EXPECT(wait_for(stamp), 0);
    EXPECT(fdb_future_get_key(stamp, &bytes, &len), 0);
    EXPECT(len, 10);
    memcpy(found + 12, bytes, 10);
    fdb_future_destroy(stamp);
    fdb_transaction_reset(tr);
    stamp = fdb_transaction_get(tr, (const uint8_t *)found, 22, 0);
    EXPECT(wait_for(stamp), 0);
    EXPECT(fdb_future_get_value(stamp, &present, &bytes, &len), 0);
    EXPECT(present, 1);
    fdb_future_destroy(stamp);
    fdb_transaction_destroy(tr);
}

/* ---- system keys and what tools read ---- */

static void check_system(void)
{
    FDBTransaction *tr = begin();
    FDBFuture *f;
    const char **addresses;
    int count;

    EXPECT(end_of(get(tr, "\xff/coordinators")), 2004);
    EXPECT(fdb_transaction_set_option(tr, FDB_TR_OPTION_READ_SYSTEM_KEYS, NULL, 0), 0);
    EXPECT(strchr(value_of(tr, "\xff/coordinators"), '@') != NULL, 1);
    EXPECT(strncmp(value_of(tr, "\xff\xff/status/json"), "{", 1), 0);
    f = fdb_transaction_get_addresses_for_key(tr, B("calls/a"), 7);
    EXPECT(wait_for(f), 0);
    EXPECT(fdb_future_get_string_array(f, &addresses, &count), 0);
    EXPECT(count > 0 && strlen(addresses[0]) > 0, 1);
    fdb_future_destroy(f);
    fdb_transaction_destroy(tr);
    f = fdb_database_create_snapshot(db, B("no uid"), 6, B("test"), 4);
    EXPECT(end_of(f), 2509);
    f = fdb_database_create_snapshot(db, B("0123456789abcdefABCDEF0123456789"), 32, B("test"), 4);
    EXPECT(end_of(f), 2505);
    EXPECT(end_of(fdb_database_force_recovery_with_data_loss(db, B("region"), 6)), 0);
    EXPECT(fdb_database_get_main_thread_busyness(db) >= 0 && fdb_database_get_main_thread_busyness(db) <= 1, 1);
    EXPECT(fdb_get_max_api_version() >= FDB_API_VERSION && fdb_get_client_version()[0] != '\0', 1);
}

static void check_watches(void)
{
    int64_t few = 3, many = 10000;
    FDBTransaction *tr = begin();
    FDBFuture *watches[4];
    int refused = 0;

    EXPECT(fdb_transaction_set_option(tr, FDB_TR_OPTION_READ_YOUR_WRITES_DISABLE, NULL, 0), 0);
    EXPECT(end_of(fdb_transaction_watch(tr, B("calls/a"), 7)), 1034);
    fdb_transaction_reset(tr);
    watches[0] = fdb_transaction_watch(tr, B("calls/a"), 7);
    fdb_transaction_reset(tr);
    EXPECT(end_of(watches[0]), 1025);
    EXPECT(fdb_database_set_option(db, FDB_DB_OPTION_MAX_WATCHES, (const uint8_t *)&few, 8), 0);
    for (int i = 0; i < 4; i++)
        watches[i] = fdb_transaction_watch(tr, B("calls/a"), 6 + (i & 1));
    EXPECT(end_of(fdb_transaction_commit(tr)), 0);
    for (int i = 0; i < 1000 && refused == 0; i++, nap())
        for (int n = 0; n < 4; n++)
            refused += fdb_future_is_ready(watches[n]) && fdb_future_get_error(watches[n]) == 1032;
    EXPECT(refused, 1);
    for (int i = 0; i < 4; i++)
        fdb_future_destroy(watches[i]);
    EXPECT(fdb_database_set_option(db, FDB_DB_OPTION_MAX_WATCHES, (const uint8_t *)&many, 8), 0);
    fdb_transaction_reset(tr);
    watches[0] = fdb_transaction_watch(tr, B("calls/a"), 7);
    EXPECT(end_of(fdb_transaction_commit(tr)), 0);
    fdb_transaction_reset(tr);
    set(tr, "calls/a", "changed");
    EXPECT(end_of(fdb_transaction_commit(tr)), 0);
    EXPECT(end_of(watches[0]), 0);
    fdb_transaction_destroy(tr);
}

static void check_cancelling(void)
{
    FDBTransaction *tr = begin();
    FDBFuture *f;
    int64_t timeout = 500;

    fdb_transaction_cancel(tr);
    EXPECT(end_of(get(tr, "calls/a")), 1025);
    fdb_transaction_reset(tr);
    EXPECT(end_of(get(tr, "calls/a")), 0);
    f = fdb_transaction_get_read_version(tr);
    fdb_transaction_destroy(tr);
    EXPECT(wait_for(f) == 1025 || wait_for(f) == 0, 1);
    fdb_future_destroy(f);
    for (int i = 0; i < 1000; i++) {
        tr = begin();
        EXPECT(set_number(tr, FDB_TR_OPTION_TIMEOUT, timeout), 0);
        fdb_transaction_destroy(tr);
    }
}

static void check_predicates(void)
{
    static const int retryable[] = {1007, 1020, 1038}, not_retryable[] = {1036, 2000, 2004, 2005, 2006, 2007, 2011, 2020, 2023, 2100,
                                                                          2101, 2102, 2103, 2108, 2200, 4000};
    static const int surely_not[] = {1000, 1004, 1025, 1038, 1101, 2002};

    for (size_t i = 0; i < sizeof(retryable) / sizeof(int); i++) {
        EXPECT(fdb_error_predicate(FDB_ERROR_PREDICATE_RETRYABLE, retryable[i]) != 0, 1);
        EXPECT(fdb_error_predicate(FDB_ERROR_PREDICATE_RETRYABLE_NOT_COMMITTED, retryable[i]) != 0, 1);
    }
    for (size_t i = 0; i < sizeof(not_retryable) / sizeof(int); i++)
        EXPECT(fdb_error_predicate(FDB_ERROR_PREDICATE_RETRYABLE, not_retryable[i]), 0);
    for (size_t i = 0; i < sizeof(surely_not) / sizeof(int); i++)
        EXPECT(fdb_error_predicate(FDB_ERROR_PREDICATE_MAYBE_COMMITTED, surely_not[i]), 0);
    EXPECT(fdb_error_predicate(FDB_ERROR_PREDICATE_MAYBE_COMMITTED, 1021) != 0, 1);
    EXPECT(fdb_error_predicate(FDB_ERROR_PREDICATE_RETRYABLE_NOT_COMMITTED, 1021), 0);
}

/* ---- a load ---- */

static double load_seconds = 1;

struct chain {
    FDBTransaction *tr;
    pthread_mutex_t *lock;
    int *left;
    int step, error;
    time_t end;
};

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Nine gets, an update of one of them, a short range: as existing benchmarks do, each future waited for. */
static fdb_error_t mixed_transaction(FDBTransaction *tr, unsigned *seed)
{
    FDBFuture *gets[9];
    fdb_error_t first = 0, error;
    char key[32];

    for (int i = 0; i < 9; i++) {
        snprintf(key, sizeof(key), "load/%06d", rand_r(seed) % ROWS);
        gets[i] = get(tr, key);
    }
    for (int i = 0; i < 9; i++) {
        error = end_of(gets[i]);
        first = first != 0 ? first : error;
    }
    if (first != 0)
        return first;
    error = end_of(fdb_transaction_get_range(tr, FDB_KEYSEL_FIRST_GREATER_OR_EQUAL(B(key), 11), FDB_KEYSEL_FIRST_GREATER_THAN(B("load0"), 5),
                                             10, 0, FDB_STREAMING_MODE_ITERATOR, 1, 1, 0));
    if (error != 0)
        return error;
    set(tr, key, "updated");
    return end_of(fdb_transaction_commit(tr));
}

static void *wait_and_wait(void *argument)
{
    FDBTransaction *tr = begin();
    unsigned seed = (unsigned)(uintptr_t)argument;
    double end = now() + load_seconds;
    long done = 0;

    while (now() < end) {
        fdb_error_t error = mixed_transaction(tr, &seed);

        if (error != 0) {
            error = end_of(fdb_transaction_on_error(tr, error));
            EXPECT(error, 0);
        } else {
            done++;
            fdb_transaction_reset(tr);
        }
    }
    fdb_transaction_destroy(tr);
    return (void *)(uintptr_t)done;
}

static void go_on(FDBFuture *f, void *context);

static void wait_later(FDBFuture *f, struct chain *chain)
{
    EXPECT(fdb_future_set_callback(f, go_on, chain), 0);
}

static void go_on(FDBFuture *f, void *context)
{
    struct chain *chain = (struct chain *)context;
    fdb_error_t error = f == NULL ? 0 : fdb_future_get_error(f);

    fdb_future_destroy(f);
    if (error != 0) { /* on_error, then from the start */
        chain->step = 0;
        wait_later(fdb_transaction_on_error(chain->tr, error), chain);
        return;
    }
    switch (chain->step++ % 3) {
    case 0:
        wait_later(get(chain->tr, "load/000001"), chain);
        return;
    case 1:
        set(chain->tr, "load/callback", "x");
        wait_later(fdb_transaction_commit(chain->tr), chain);
        return;
    default:
        fdb_transaction_reset(chain->tr);
    }
    if (time(NULL) < chain->end) {
        go_on(NULL, chain);
        return;
    }
    pthread_mutex_lock(chain->lock);
    --*chain->left;
    pthread_mutex_unlock(chain->lock);
}

static void run_load(void)
{
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_t threads[WORKERS];
    struct chain chains[CHAINS];
    FDBTransaction *tr = begin();
    int left = CHAINS, still = 1;
    long done = 0;
    char key[32];

    for (int i = 0; i < ROWS; i++) {
        snprintf(key, sizeof(key), "load/%06d", i);
        set(tr, key, "loaded");
    }
    EXPECT(end_of(fdb_transaction_commit(tr)), 0);
    fdb_transaction_destroy(tr);
    for (int i = 0; i < CHAINS; i++) {
        chains[i].tr = begin();
        chains[i].lock = &lock;
        chains[i].left = &left;
        chains[i].step = 0;
        chains[i].end = time(NULL) + (time_t)load_seconds;
        go_on(NULL, &chains[i]);
    }
    for (int i = 0; i < WORKERS; i++)
        EXPECT(pthread_create(&threads[i], NULL, wait_and_wait, (void *)(uintptr_t)(i + 1)), 0);
    for (int i = 0; i < WORKERS; i++) {
        void *count = NULL;

        pthread_join(threads[i], &count);
        done += (long)(uintptr_t)count;
    }
    for (; still; nap()) {
        pthread_mutex_lock(&lock);
        still = left > 0;
        pthread_mutex_unlock(&lock);
    }
    for (int i = 0; i < CHAINS; i++)
        fdb_transaction_destroy(chains[i].tr);
    EXPECT(done > 0, 1);
    printf("%ld mixed transactions\n", done);
}

/* ---- the program ---- */

static int hooks;

static void network_ended(void *context)
{
    *(int *)context += 1;
}

static void *run_network(void *context)
{
    (void)context;
    return (void *)(uintptr_t)fdb_run_network();
}

int main(int argc, char **argv)
{
    pthread_t network;
    void *ended = NULL;

    if (argc < 2) {
        fprintf(stderr, "usage: quoin-fdb-calls CLUSTER [SECONDS]\nexample: quoin-fdb-calls memory: 2\n");
        return 2;
    }
    load_seconds = argc > 2 ? atof(argv[2]) : 1;
    EXPECT(fdb_select_api_version(9000) != 0, 1);
    EXPECT(fdb_select_api_version(FDB_API_VERSION), 0);
    EXPECT(fdb_select_api_version(FDB_API_VERSION) != 0, 1);
    EXPECT(fdb_network_set_option(FDB_NET_OPTION_TRACE_ENABLE, B("/tmp"), 4), 0);
    EXPECT(fdb_network_set_option(FDB_NET_OPTION_KNOB, B("min_trace_severity=20"), 21), 0);
    EXPECT(fdb_setup_network(), 0);
    EXPECT(fdb_setup_network() != 0, 1);
    EXPECT(fdb_add_network_thread_completion_hook(network_ended, &hooks), 0);
    EXPECT(pthread_create(&network, NULL, run_network, NULL), 0);
    EXPECT(fdb_create_database(argv[1], &db), 0);
    put_letters();
    check_release();
    check_key_as_value();
    check_callbacks();
    check_ranges();
    check_options();
    check_versions();
    check_stamps();
    check_system();
    check_watches();
    check_cancelling();
    check_predicates();
    {
        FDBTransaction *tr = begin();

        EXPECT_VALUE(tr, "calls/a", "changed");
        EXPECT_VALUE(tr, "calls/none", "-");
        fdb_transaction_destroy(tr);
    }
    run_load();
    fdb_database_destroy(db);
    EXPECT(hooks, 0);
    EXPECT(fdb_stop_network(), 0);
    pthread_join(network, &ended);
    EXPECT((uintptr_t)ended, 0);
    EXPECT(hooks, 1);
    printf("%d checks, %d failed\n", checks, failures);
    return failures == 0 ? 0 : 1;
}
