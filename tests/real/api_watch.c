/* Promises of <quoin/quoin.h> on watches. */
#include "tests/real/api_test.h"

#include <string.h>
#include <unistd.h>

static struct quoin_future *watch(struct quoin_transaction *txn, const char *key)
{
    return quoin_transaction_watch(txn, key, (int)strlen(key));
}

/* Watches one key in a transaction of its own, which is gone afterwards. */
static struct quoin_future *watch_alone(const char *key)
{
    struct quoin_transaction *txn = begin();
    struct quoin_future *future = watch(txn, key);

    CHECK_EQ(commit(txn), 0);
    quoin_transaction_destroy(txn);
    return future;
}

static void put(const char *key, const char *value)
{
    struct quoin_transaction *txn = begin();

    set(txn, key, value);
    CHECK_EQ(commit(txn), 0);
    quoin_transaction_destroy(txn);
}

static bool stays_silent(struct quoin_future *future)
{
    usleep(300000);
    return !quoin_future_is_ready(future);
}

static void a_watch_fires_when_the_value_changes_and_only_then(void)
{
    struct quoin_future *future;

    empty("watch/");
    put("watch/a", "1");
    future = watch_alone("watch/a");
    put("watch/a", "1");
    put("watch/b", "2");
    CHECK(stays_silent(future));
    put("watch/a", "2");
    CHECK_EQ(wait_for(future), 0);
    future = watch_alone("watch/a");
    empty("watch/");
    CHECK_EQ(wait_for(future), 0);
    future = watch_alone("watch/a");
    CHECK(stays_silent(future));
    put("watch/a", "");
    CHECK_EQ(wait_for(future), 0);
}

static void a_watch_begins_at_its_transactions_commit(void)
{
    struct quoin_transaction *txn = begin();
    struct quoin_future *future;

    put("watch/c", "1");
    set(txn, "watch/c", "2");
    future = watch(txn, "watch/c");
    CHECK_EQ(commit(txn), 0);
    CHECK(stays_silent(future)); /* its own write before it is what it saw */
    put("watch/c", "3");
    CHECK_EQ(wait_for(future), 0);
    quoin_transaction_reset(txn);
    future = watch(txn, "watch/c");
    set(txn, "watch/c", "3");
    CHECK(stays_silent(future));
    set(txn, "watch/c", "4");
    CHECK_EQ(wait_for(future), 0); /* its own write after it */
    quoin_transaction_destroy(txn);
}

static void a_watch_ends_with_its_transaction_before_the_commit(void)
{
    struct quoin_transaction *txn = begin();
    struct quoin_future *future = watch(txn, "watch/d");

    quoin_transaction_reset(txn);
    CHECK_EQ(wait_for(future), QUOIN_ERROR_TRANSACTION_CANCELLED);
    future = watch(txn, "watch/d");
    quoin_future_cancel(future);
    CHECK_EQ(wait_for(future), QUOIN_ERROR_OPERATION_CANCELLED);
    CHECK_EQ(wait_for(watch(txn, "\xff\xff/status/json")), QUOIN_ERROR_KEY_OUTSIDE_LEGAL_RANGE);
    CHECK_EQ(wait_for(quoin_transaction_watch(txn, NULL, 3)), QUOIN_ERROR_CLIENT_INVALID_OPERATION);
    quoin_transaction_reset(txn);
    CHECK_EQ(quoin_transaction_set_option(txn, QUOIN_OPTION_READ_YOUR_WRITES_DISABLE, NULL, 0), 0);
    CHECK_EQ(wait_for(watch(txn, "watch/d")), 1034);
    quoin_transaction_destroy(txn);
    future = watch_alone("watch/d");
    quoin_future_cancel(future);
    CHECK_EQ(wait_for(future), QUOIN_ERROR_OPERATION_CANCELLED);
}

static void watches_have_a_limit(void)
{
    struct quoin_transaction *txn = begin();
    struct quoin_future *futures[4];
    int64_t max = 3;

    CHECK_EQ(quoin_database_set_option(db, QUOIN_DATABASE_OPTION_MAX_WATCHES, &max, 8), 0);
    for (int i = 0; i < 3; i++)
        futures[i] = watch(txn, "watch/e");
    CHECK_EQ(wait_for(watch(txn, "watch/e")), 1032);
    quoin_future_destroy(futures[0]);
    usleep(50000);
    futures[0] = watch(txn, "watch/e");
    CHECK_EQ(commit(txn), 0); /* one too many spoils nothing */
    put("watch/e", "v");
    for (int i = 0; i < 3; i++)
        CHECK_EQ(wait_for(futures[i]), 0);
    max = 10000;
    CHECK_EQ(quoin_database_set_option(db, QUOIN_DATABASE_OPTION_MAX_WATCHES, &max, 8), 0);
    quoin_transaction_destroy(txn);
}

static void thousands_of_watches_fire(void)
{
    enum { COUNT = 5000 };
    static struct quoin_future *futures[COUNT];
    struct quoin_transaction *txn = begin();
    char key[32];

    empty("many/");
    for (int i = 0; i < COUNT; i++) {
        snprintf(key, sizeof(key), "many/%05d", i);
        futures[i] = watch(txn, key);
    }
    CHECK_EQ(commit(txn), 0);
    quoin_transaction_reset(txn);
    for (int i = 0; i < COUNT; i += 2) {
        snprintf(key, sizeof(key), "many/%05d", i);
        set(txn, key, "v");
    }
    CHECK_EQ(commit(txn), 0);
    quoin_transaction_destroy(txn);
    for (int i = 0; i < COUNT; i += 2)
        CHECK_EQ(wait_for(futures[i]), 0);
    for (int i = 1; i < COUNT; i += 2) {
        CHECK(!quoin_future_is_ready(futures[i]));
        quoin_future_destroy(futures[i]);
    }
}

const struct test watch_tests[] = {
    TEST(a_watch_fires_when_the_value_changes_and_only_then),
    TEST(a_watch_begins_at_its_transactions_commit),
    TEST(a_watch_ends_with_its_transaction_before_the_commit),
    TEST(watches_have_a_limit),
    TEST(thousands_of_watches_fire),
    {0},
};
