/* quoin-api-test: the promises of <quoin/quoin.h>, kept against a real cluster.
 *
 *   quoin-api-test CLUSTER_FILE [NAME]
 *
 * Runs every test, or those whose name contains NAME. It knows nothing but the public header. Each test writes below a
 * prefix of its own, which it empties first. Prints a line a test; exit status 1 at the first promise that is broken. */
#include "tests/real/api_test.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <string.h>

enum { THREADS = 8 };

struct quoin_database *db;
const char *running = "start";
int64_t version_at_start;
struct timespec started;
static const char *cluster_file;

/* ---- helpers ---- */

int wait_for(struct quoin_future *future)
{
    int error;

    CHECK_EQ(quoin_future_block_until_ready(future), 0);
    error = quoin_future_get_error(future);
    quoin_future_destroy(future);
    return error;
}

struct quoin_transaction *begin(void)
{
    struct quoin_transaction *txn;

    CHECK_EQ(quoin_transaction_create(db, &txn), 0);
    return txn;
}

void set(struct quoin_transaction *txn, const char *key, const char *value)
{
    CHECK_EQ(quoin_transaction_set(txn, key, (int)strlen(key), value, (int)strlen(value)), 0);
}

struct quoin_future *ask(struct quoin_transaction *txn, const char *key)
{
    return quoin_transaction_get(txn, key, (int)strlen(key), false);
}

int get_error(struct quoin_transaction *txn, const char *key)
{
    return wait_for(ask(txn, key));
}

bool is(struct quoin_transaction *txn, const char *key, const void *value, int length)
{
    struct quoin_future *future = ask(txn, key);
    const uint8_t *found = NULL;
    int found_length = 0;
    bool present = false, same;

    CHECK_EQ(quoin_future_block_until_ready(future), 0);
    CHECK_EQ(quoin_future_get_value(future, &present, &found, &found_length), 0);
    same = value == NULL ? !present : present && found_length == length && (length == 0 || memcmp(found, value, (size_t)length) == 0);
    quoin_future_destroy(future);
    return same;
}

int commit(struct quoin_transaction *txn)
{
    return wait_for(quoin_transaction_commit(txn));
}

static quoin_error clear_prefix(struct quoin_transaction *txn, void *prefix)
{
    char end[64];

    snprintf(end, sizeof(end), "%s\xfe", (const char *)prefix);
    return quoin_transaction_clear_range(txn, prefix, (int)strlen(prefix), end, (int)strlen(end));
}

void empty(char *prefix)
{
    CHECK_EQ(quoin_run(db, clear_prefix, prefix), 0);
}

int set_number(struct quoin_transaction *txn, int option, int64_t number)
{
    return quoin_transaction_set_option(txn, option, &number, sizeof(number));
}

double seconds_since(const struct timespec *then)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - then->tv_sec) + (double)(now.tv_nsec - then->tv_nsec) / 1e9;
}

int64_t read_version(struct quoin_transaction *txn)
{
    struct quoin_future *future = quoin_transaction_get_read_version(txn);
    int64_t version = 0;

    CHECK_EQ(quoin_future_block_until_ready(future), 0);
    CHECK_EQ(quoin_future_get_int64(future, &version), 0);
    quoin_future_destroy(future);
    return version;
}

/* ---- futures ---- */

struct heard {
    pthread_t thread;
    atomic_int times;
    sem_t posted;
    struct quoin_transaction *txn;
    int blocked, ran, stopped;
};

static void hear(struct quoin_future *future, void *context)
{
    struct heard *heard = context;

    CHECK(quoin_future_is_ready(future));
    heard->thread = pthread_self();
    atomic_fetch_add(&heard->times, 1);
    sem_post(&heard->posted);
}

static void a_callback_on_a_ready_future_fires_in_the_calling_thread(void)
{
    struct quoin_transaction *txn = begin();
    struct quoin_future *future;
    struct heard heard = {0};

    sem_init(&heard.posted, 0, 0);
    set(txn, "api/own", "v");
    future = ask(txn, "api/own"); /* answered by the own write */
    CHECK(quoin_future_is_ready(future));
    CHECK_EQ(quoin_future_set_callback(future, hear, &heard), 0);
    CHECK_EQ(heard.times, 1);
    CHECK(pthread_equal(heard.thread, pthread_self()));
    CHECK_EQ(quoin_future_set_callback(future, hear, &heard), QUOIN_ERROR_CLIENT_INVALID_OPERATION);
    CHECK_EQ(heard.times, 1);
    quoin_future_destroy(future);
    quoin_transaction_destroy(txn);
    sem_destroy(&heard.posted);
}

static quoin_error nothing(struct quoin_transaction *txn, void *context)
{
    (void)txn, (void)context;
    return 0;
}

static void try_to_block(struct quoin_future *future, void *context)
{
    struct heard *heard = context;
    struct quoin_future *other = ask(heard->txn, "api/other");

    heard->blocked = quoin_future_block_until_ready(other);
    heard->ran = quoin_run(db, nothing, NULL);
    heard->stopped = quoin_network_stop();
    quoin_future_destroy(other);
    quoin_future_destroy(future); /* allowed from within */
    hear(NULL, context);
}

static void blocking_in_a_callback_gives_2026(void)
{
    struct heard heard = {.txn = begin()};
    struct quoin_future *future;

    sem_init(&heard.posted, 0, 0);
    future = ask(heard.txn, "api/blocked");
    CHECK_EQ(quoin_future_set_callback(future, try_to_block, &heard), 0);
    sem_wait(&heard.posted);
    if (!pthread_equal(heard.thread, pthread_self())) { /* it was not ready yet, as is usual */
        CHECK_EQ(heard.blocked, QUOIN_ERROR_BLOCKED_FROM_NETWORK_THREAD);
        CHECK_EQ(heard.ran, QUOIN_ERROR_BLOCKED_FROM_NETWORK_THREAD);
        CHECK_EQ(heard.stopped, QUOIN_ERROR_BLOCKED_FROM_NETWORK_THREAD);
    }
    quoin_transaction_destroy(heard.txn);
    sem_destroy(&heard.posted);
}

static void no_callback_runs_on_a_thread_that_waits(void)
{
    int put_off = 0;

    for (int i = 0; i < 300; i++) {
        struct heard heard = {.txn = begin()};
        struct quoin_future *called, *waited;
        bool at_once;

        sem_init(&heard.posted, 0, 0);
        (void)read_version(heard.txn);
        called = ask(heard.txn, "api/called");
        waited = ask(heard.txn, "api/waited");
        CHECK_EQ(quoin_future_set_callback(called, hear, &heard), 0);
        at_once = heard.times == 1 && pthread_equal(heard.thread, pthread_self()); /* it was ready */
        CHECK_EQ(quoin_future_block_until_ready(waited), 0);
        sem_wait(&heard.posted);
        CHECK(at_once || !pthread_equal(heard.thread, pthread_self()));
        put_off += !at_once;
        quoin_future_destroy(called);
        quoin_future_destroy(waited);
        quoin_transaction_destroy(heard.txn);
        sem_destroy(&heard.posted);
    }
    CHECK(put_off > 0);
}

static void every_callback_fires_once(void)
{
    enum { FUTURES = 2000 };
    static struct heard heard[FUTURES];
    struct quoin_transaction *txn = begin();
    struct quoin_future **futures = calloc(FUTURES, sizeof(*futures));

    for (int i = 0; i < FUTURES; i++) {
        sem_init(&heard[i].posted, 0, 0);
        futures[i] = ask(txn, "api/once");
        if (i % 3 == 0)
            quoin_future_cancel(futures[i]);
        CHECK_EQ(quoin_future_set_callback(futures[i], hear, &heard[i]), 0);
        CHECK_EQ(quoin_future_set_callback(futures[i], hear, &heard[i]), QUOIN_ERROR_CLIENT_INVALID_OPERATION);
    }
    for (int i = 0; i < FUTURES; i++)
        sem_wait(&heard[i].posted);
    CHECK_EQ(commit(txn), 0);
    for (int i = 0; i < FUTURES; i++) {
        int error = quoin_future_get_error(futures[i]);

        CHECK_EQ(heard[i].times, 1);
        CHECK(error == 0 || (i % 3 == 0 && error == QUOIN_ERROR_OPERATION_CANCELLED));
        quoin_future_destroy(futures[i]);
        sem_destroy(&heard[i].posted);
    }
    free(futures);
    quoin_transaction_destroy(txn);
}

static void cancelling_gives_1101_or_1025(void)
{
    struct quoin_transaction *txn = begin();
    struct quoin_future *future, *version, *range;
    int error;

    set(txn, "api/cancel", "v");
    future = ask(txn, "api/x");
    quoin_future_cancel(future);
    error = wait_for(future);
    CHECK(error == QUOIN_ERROR_OPERATION_CANCELLED || error == 0); /* it may have been faster */
    future = quoin_transaction_get_versionstamp(txn); /* can't be ready before the commit */
    quoin_future_cancel(future);
    CHECK_EQ(wait_for(future), QUOIN_ERROR_OPERATION_CANCELLED);
    CHECK_EQ(commit(txn), 0); /* what the application cancelled does not fail it */
    quoin_transaction_reset(txn);
    future = ask(txn, "api/x");
    version = quoin_transaction_get_read_version(txn);
    range = quoin_transaction_get_range(txn, QUOIN_FIRST_AFTER("api/", 4), QUOIN_LAST_BEFORE("api0", 4), (struct quoin_range_options){.mode = QUOIN_MODE_WANT_ALL});
    quoin_transaction_cancel(txn);
    error = wait_for(future);
    CHECK(error == QUOIN_ERROR_TRANSACTION_CANCELLED || error == 0);
    error = wait_for(version);
    CHECK(error == QUOIN_ERROR_TRANSACTION_CANCELLED || error == 0);
    error = wait_for(range);
    CHECK(error == QUOIN_ERROR_TRANSACTION_CANCELLED || error == 0);
    CHECK_EQ(get_error(txn, "api/x"), QUOIN_ERROR_TRANSACTION_CANCELLED);
    CHECK_EQ(quoin_transaction_set(txn, "k", 1, "v", 1), QUOIN_ERROR_TRANSACTION_CANCELLED);
    CHECK_EQ(commit(txn), QUOIN_ERROR_TRANSACTION_CANCELLED);
    CHECK_EQ(wait_for(quoin_transaction_on_error(txn, QUOIN_ERROR_NOT_COMMITTED)), QUOIN_ERROR_TRANSACTION_CANCELLED);
    quoin_transaction_reset(txn);
    CHECK_EQ(get_error(txn, "api/x"), 0);
    quoin_transaction_destroy(txn);
}

static void getters_say_what_is_missing(void)
{
    struct quoin_transaction *txn = begin();
    struct quoin_future *stamp = quoin_transaction_get_versionstamp(txn), *future;
    const uint8_t *value = NULL;
    int length = -1;
    int64_t number = 0;
    bool present = false;

    CHECK(!quoin_future_is_ready(stamp));
    CHECK_EQ(quoin_future_get_error(stamp), QUOIN_ERROR_FUTURE_NOT_SET);
    CHECK_EQ(quoin_future_get_key(stamp, &value, &length), QUOIN_ERROR_FUTURE_NOT_SET);
    set(txn, "api/get", "v");
    future = ask(txn, "api/get");
    CHECK_EQ(quoin_future_get_int64(future, &number), QUOIN_ERROR_CLIENT_INVALID_OPERATION);
    CHECK_EQ(quoin_future_get_value(future, &present, &value, &length), 0);
    CHECK(present && length == 1 && value[0] == 'v');
    quoin_future_release_memory(future);
    CHECK_EQ(quoin_future_get_value(future, &present, &value, &length), QUOIN_ERROR_FUTURE_RELEASED);
    CHECK_EQ(quoin_future_get_error(future), 0);
    quoin_future_release_memory(future);
    quoin_future_destroy(future);
    quoin_future_destroy(stamp); /* before it is ready */
    CHECK_EQ(commit(txn), 0);
    CHECK_EQ(quoin_future_get_error(NULL), QUOIN_ERROR_OUT_OF_MEMORY);
    CHECK_EQ(quoin_future_block_until_ready(NULL), 0);
    quoin_future_cancel(NULL);
    quoin_future_release_memory(NULL);
    quoin_future_destroy(NULL);
    quoin_transaction_destroy(NULL);
    quoin_database_destroy(NULL);
    quoin_transaction_destroy(txn);
}

static void a_future_may_be_destroyed_at_any_moment(void)
{
    unsigned random = 1;

    for (int i = 0; i < 1500; i++) {
        struct quoin_transaction *txn = begin();
        struct quoin_future *kept = ask(txn, "api/kept"), *gone = ask(txn, "api/gone"), *range, *on;
        int error;

        range = quoin_transaction_get_range(txn, QUOIN_FIRST_AT_OR_AFTER("api/", 4), QUOIN_FIRST_AFTER("api/z", 5),
                                            (struct quoin_range_options){.mode = QUOIN_MODE_ITERATOR, .iteration = 1});
        for (volatile unsigned spin = (random = random * 1103515245 + 12345) >> 16; spin > 0; spin--)
            ;
        quoin_future_destroy(gone);
        on = quoin_transaction_on_error(txn, QUOIN_ERROR_NOT_COMMITTED);
        quoin_future_destroy(range);
        if (i % 2)
            quoin_future_destroy(on);
        quoin_transaction_destroy(txn);
        error = wait_for(kept); /* it outlives its transaction */
        CHECK(error == 0 || error == QUOIN_ERROR_TRANSACTION_CANCELLED);
        if (i % 2 == 0) {
            error = wait_for(on);
            CHECK(error == 0 || error == QUOIN_ERROR_TRANSACTION_CANCELLED);
        }
    }
}

/* ---- many threads ---- */

static quoin_error move_one(struct quoin_transaction *txn, void *context)
{
    unsigned *random = context;
    char key[32];
    struct quoin_future *future;
    const uint8_t *value;
    int length, error;
    int64_t number = 0;
    bool present;

    *random = *random * 1103515245 + 12345;
    snprintf(key, sizeof(key), "count/%u", (*random >> 16) % 4);
    future = ask(txn, key);
    CHECK_EQ(quoin_future_block_until_ready(future), 0);
    error = quoin_future_get_value(future, &present, &value, &length);
    if (error == 0 && present)
        memcpy(&number, value, sizeof(number));
    quoin_future_destroy(future);
    number++;
    return error != 0 ? error : quoin_transaction_set(txn, key, (int)strlen(key), &number, sizeof(number));
}

enum { MOVES = 1000 };

static void *move_many(void *context)
{
    unsigned random = (unsigned)(uintptr_t)context;

    for (int i = 0; i < MOVES; i++)
        CHECK_EQ(quoin_run(db, move_one, &random), 0);
    return NULL;
}

static void counters_shared_by_threads_are_exact(void)
{
    struct quoin_transaction *txn;
    pthread_t threads[THREADS];
    int64_t sum = 0, delay_ms = 5;

    empty("count/");
    CHECK_EQ(quoin_database_set_transaction_option(db, QUOIN_OPTION_MAX_RETRY_DELAY, &delay_ms, sizeof(delay_ms)), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, move_many, (void *)(uintptr_t)(i + 1));
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    txn = begin();
    for (int i = 0; i < 4; i++) {
        char key[32];
        struct quoin_future *future;
        const uint8_t *value;
        int64_t number;
        bool present;
        int length;

        snprintf(key, sizeof(key), "count/%d", i);
        future = ask(txn, key);
        CHECK_EQ(quoin_future_block_until_ready(future), 0);
        CHECK_EQ(quoin_future_get_value(future, &present, &value, &length), 0);
        CHECK(present && length == sizeof(number));
        memcpy(&number, value, sizeof(number));
        sum += number;
        quoin_future_destroy(future);
    }
    CHECK_EQ(sum, THREADS * MOVES);
    delay_ms = 1000;
    CHECK_EQ(quoin_database_set_transaction_option(db, QUOIN_OPTION_MAX_RETRY_DELAY, &delay_ms, sizeof(delay_ms)), 0);
    quoin_transaction_destroy(txn);
}

static void many_futures_are_in_flight(void)
{
    enum { GETS = 20000, KEYS = 1000 };
    struct quoin_future **futures = calloc(GETS, sizeof(*futures));
    struct quoin_transaction *txn = begin();
    char key[32];

    for (int i = 0; i < KEYS; i++) {
        snprintf(key, sizeof(key), "many/%05d", i);
        set(txn, key, key + 5);
    }
    CHECK_EQ(commit(txn), 0);
    quoin_transaction_reset(txn);
    for (int i = 0; i < GETS; i++) {
        snprintf(key, sizeof(key), "many/%05d", i % KEYS);
        futures[i] = quoin_transaction_get(txn, key, 10, i % 2);
    }
    for (int i = GETS - 1; i >= 0; i--) {
        const uint8_t *value;
        bool present;
        int length;

        snprintf(key, sizeof(key), "%05d", i % KEYS);
        CHECK_EQ(quoin_future_block_until_ready(futures[i]), 0);
        CHECK_EQ(quoin_future_get_value(futures[i], &present, &value, &length), 0);
        CHECK(present && length == 5 && memcmp(value, key, 5) == 0);
        quoin_future_destroy(futures[i]);
    }
    quoin_transaction_destroy(txn);
    free(futures);
}

struct sharer {
    struct quoin_transaction *txn;
    int number;
    atomic_bool *ending; /* NULL: it writes; else it reads until then */
    pthread_t thread;
};

static void *write_a_part(void *context)
{
    struct sharer *sharer = context;

    for (int i = 0; i < 200; i++) {
        char key[32];

        snprintf(key, sizeof(key), "shared/%d/%03d", sharer->number, i);
        set(sharer->txn, key, key);
        CHECK(is(sharer->txn, key, key, (int)strlen(key)));
        CHECK(is(sharer->txn, "shared/none", NULL, 0));
    }
    return NULL;
}

static void *read_through_resets(void *context)
{
    struct sharer *sharer = context;

    while (!atomic_load(sharer->ending)) {
        struct quoin_range_options options = {.mode = QUOIN_MODE_WANT_ALL, .reverse = true};
        int error = get_error(sharer->txn, "shared/x");

        CHECK(error == 0 || error == QUOIN_ERROR_TRANSACTION_CANCELLED);
        quoin_transaction_set(sharer->txn, "shared/x", 8, "v", 1);
        error = wait_for(quoin_transaction_get_range(sharer->txn, QUOIN_FIRST_AFTER("shared/", 7), QUOIN_LAST_BEFORE("shared/1", 8), options));
        CHECK(error == 0 || error == QUOIN_ERROR_TRANSACTION_CANCELLED);
    }
    return NULL;
}

static void several_threads_use_one_transaction(void)
{
    struct sharer sharers[THREADS];
    struct quoin_transaction *txn;
    atomic_bool ending = false;

    empty("shared/");
    txn = begin();
    for (int i = 0; i < THREADS; i++) {
        sharers[i] = (struct sharer){.txn = txn, .number = i};
        pthread_create(&sharers[i].thread, NULL, write_a_part, &sharers[i]);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(sharers[i].thread, NULL);
    CHECK_EQ(commit(txn), 0);
    quoin_transaction_reset(txn);
    CHECK(is(txn, "shared/0/000", "shared/0/000", 12) && is(txn, "shared/7/199", "shared/7/199", 12));
    for (int i = 0; i < 4; i++) {
        sharers[i].ending = &ending;
        pthread_create(&sharers[i].thread, NULL, read_through_resets, &sharers[i]);
    }
    for (int i = 0; i < 300; i++) {
        struct timespec pause = {0, 200000};

        nanosleep(&pause, NULL);
        if (i % 10 == 0)
            quoin_transaction_cancel(txn);
        quoin_transaction_reset(txn);
    }
    atomic_store(&ending, true);
    for (int i = 0; i < 4; i++)
        pthread_join(sharers[i].thread, NULL);
    quoin_transaction_destroy(txn);
}


/* ---- trying again ---- */

static void on_error_tells_what_is_worth_another_try(void)
{
    struct quoin_transaction *txn = begin();
    struct timespec then;

    clock_gettime(CLOCK_MONOTONIC, &then);
    for (int i = 0; i < 8; i++) {
        set(txn, "api/again", "v");
        CHECK_EQ(wait_for(quoin_transaction_on_error(txn, QUOIN_ERROR_NOT_COMMITTED)), 0);
        CHECK(i > 0 || is(txn, "api/again", NULL, 0)); /* as new */
    }
    CHECK(seconds_since(&then) > 0.05 && seconds_since(&then) < 6); /* the back-off grew, up to a second */
    quoin_transaction_reset(txn);
    CHECK_EQ(set_number(txn, QUOIN_OPTION_MAX_RETRY_DELAY, 0), 0);
    clock_gettime(CLOCK_MONOTONIC, &then);
    for (int i = 0; i < 20; i++)
        CHECK_EQ(wait_for(quoin_transaction_on_error(txn, QUOIN_ERROR_COMMIT_UNKNOWN_RESULT)), 0);
    CHECK(seconds_since(&then) < 1);
    CHECK_EQ(wait_for(quoin_transaction_on_error(txn, QUOIN_ERROR_KEY_TOO_LARGE)), QUOIN_ERROR_KEY_TOO_LARGE);
    CHECK_EQ(get_error(txn, "api/x"), QUOIN_ERROR_KEY_TOO_LARGE); /* it stays in the error */
    quoin_transaction_reset(txn);
    CHECK_EQ(set_number(txn, QUOIN_OPTION_RETRY_LIMIT, 2), 0);
    CHECK_EQ(wait_for(quoin_transaction_on_error(txn, QUOIN_ERROR_NOT_COMMITTED)), 0);
    CHECK_EQ(wait_for(quoin_transaction_on_error(txn, QUOIN_ERROR_NOT_COMMITTED)), 0);
    CHECK_EQ(wait_for(quoin_transaction_on_error(txn, QUOIN_ERROR_NOT_COMMITTED)), QUOIN_ERROR_NOT_COMMITTED);
    quoin_transaction_destroy(txn);
}

static void a_timeout_gives_1031(void)
{
    struct quoin_database *nowhere, *cluster = db;
    struct quoin_transaction *txn;
    struct timespec then;
    int64_t timeout_ms = 200;
    char why[256];

    CHECK_EQ(quoin_open_text("a:b@127.0.0.1:1", &nowhere), 0);
    CHECK_EQ(quoin_database_set_transaction_option(nowhere, QUOIN_OPTION_TIMEOUT, &timeout_ms, sizeof(timeout_ms)), 0);
    db = nowhere;
    clock_gettime(CLOCK_MONOTONIC, &then);
    txn = begin();
    CHECK_EQ(get_error(txn, "k"), QUOIN_ERROR_TRANSACTION_TIMED_OUT);
    CHECK(seconds_since(&then) > 0.15 && seconds_since(&then) < 3);
    CHECK_EQ(quoin_transaction_set(txn, "k", 1, "v", 1), QUOIN_ERROR_TRANSACTION_TIMED_OUT);
    CHECK_EQ(commit(txn), QUOIN_ERROR_TRANSACTION_TIMED_OUT);
    CHECK_EQ(wait_for(quoin_transaction_on_error(txn, QUOIN_ERROR_TRANSACTION_TIMED_OUT)), QUOIN_ERROR_TRANSACTION_TIMED_OUT);
    CHECK(strstr(quoin_database_explain(nowhere, why, sizeof(why)), "127.0.0.1:1") != NULL);
    quoin_transaction_destroy(txn);
    quoin_database_destroy(nowhere);
    db = cluster;
    txn = begin();
    CHECK_EQ(set_number(txn, QUOIN_OPTION_TIMEOUT, 60), 0);
    CHECK_EQ(get_error(txn, "api/x"), 0);
    nanosleep(&(struct timespec){0, 200000000}, NULL);
    CHECK_EQ(commit(txn), QUOIN_ERROR_TRANSACTION_TIMED_OUT); /* of the whole transaction, not of a call */
    quoin_transaction_destroy(txn);
}

static quoin_error refuse(struct quoin_transaction *txn, void *context)
{
    (void)txn;
    ++*(int *)context;
    return *(int *)context < 3 ? QUOIN_ERROR_NOT_COMMITTED : QUOIN_ERROR_KEY_TOO_LARGE;
}

static void run_starts_over_only_what_can_succeed(void)
{
    int runs = 0;

    CHECK_EQ(quoin_run(db, refuse, &runs), QUOIN_ERROR_KEY_TOO_LARGE);
    CHECK_EQ(runs, 3);
    CHECK_EQ(quoin_run(db, nothing, NULL), 0);
}

/* ---- the network ---- */

static void the_network_stops_and_starts_again(void)
{
    for (int i = 0; i < 5; i++) {
        struct quoin_transaction *txn;

        CHECK_EQ(quoin_network_stop(), QUOIN_ERROR_CLIENT_INVALID_OPERATION); /* a database is open */
        quoin_database_destroy(db);
        CHECK_EQ(quoin_network_stop(), 0);
        CHECK_EQ(quoin_network_stop(), 0);
        CHECK_EQ(quoin_network_start(), 0);
        CHECK_EQ(quoin_open(cluster_file, &db), 0);
        txn = begin();
        CHECK_EQ(get_error(txn, "api/x"), 0);
        quoin_transaction_destroy(txn);
    }
    CHECK_EQ(quoin_open("/nowhere/quoin.cluster", &(struct quoin_database *){NULL}), QUOIN_ERROR_NO_CLUSTER_FILE_FOUND);
    CHECK(strstr(quoin_open_why(), "/nowhere/quoin.cluster") != NULL);
    CHECK_EQ(quoin_open_text("nonsense", &(struct quoin_database *){NULL}), QUOIN_ERROR_CONNECTION_STRING_INVALID);
}

static const struct test tests[] = {
    TEST(a_callback_on_a_ready_future_fires_in_the_calling_thread),
    TEST(blocking_in_a_callback_gives_2026),
    TEST(every_callback_fires_once),
    TEST(no_callback_runs_on_a_thread_that_waits),
    TEST(cancelling_gives_1101_or_1025),
    TEST(getters_say_what_is_missing),
    TEST(a_future_may_be_destroyed_at_any_moment),
    TEST(counters_shared_by_threads_are_exact),
    TEST(many_futures_are_in_flight),
    TEST(several_threads_use_one_transaction),
    TEST(on_error_tells_what_is_worth_another_try),
    TEST(a_timeout_gives_1031),
    TEST(run_starts_over_only_what_can_succeed),
    TEST(the_network_stops_and_starts_again),
    {0},
};

static int run_all(const struct test *all, const char *only)
{
    int count = 0;

    for (; all->name != NULL; all++) {
        struct timespec then;

        if (only != NULL && strstr(all->name, only) == NULL)
            continue;
        running = all->name;
        clock_gettime(CLOCK_MONOTONIC, &then);
        all->run();
        printf("ok %s (%.2f s)\n", all->name, seconds_since(&then));
        fflush(stdout);
        count++;
    }
    return count;
}

int main(int argc, char **argv)
{
    struct quoin_transaction *txn;
    int count;

    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: quoin-api-test CLUSTER_FILE [NAME]\n");
        return 2;
    }
    cluster_file = argv[1];
    CHECK_EQ(quoin_open(cluster_file, &db), 0);
    txn = begin();
    version_at_start = read_version(txn);
    clock_gettime(CLOCK_MONOTONIC, &started);
    quoin_transaction_destroy(txn);
    count = run_all(tests, argv[2]) + run_all(data_tests, argv[2]) + run_all(more_tests, argv[2]) + run_all(special_tests, argv[2]) +
            run_all(watch_tests, argv[2]);
    running = "end";
    quoin_database_destroy(db);
    CHECK_EQ(quoin_network_stop(), 0);
    printf("%d passed\n", count);
    return count == 0;
}
