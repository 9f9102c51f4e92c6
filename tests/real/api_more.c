/* Promises of <quoin/quoin.h> beyond reading and writing: keys of selectors, what is known of ranges, options. */
#include "tests/real/api_test.h"

#include <string.h>

/* ---- selectors ---- */

static bool key_is(struct quoin_transaction *txn, struct quoin_selector selector, const char *wanted)
{
    struct quoin_future *future = quoin_transaction_get_key(txn, selector, false);
    const uint8_t *key = NULL;
    int length = 0;
    bool same;

    CHECK_EQ(quoin_future_block_until_ready(future), 0);
    CHECK_EQ(quoin_future_get_key(future, &key, &length), 0);
    same = length == (int)strlen(wanted) && (length == 0 || memcmp(key, wanted, (size_t)length) == 0);
    if (!same)
        fprintf(stderr, "key is %.*s, not %s\n", length, (const char *)key, wanted);
    quoin_future_destroy(future);
    return same;
}

static struct quoin_selector at(const char *key, bool or_equal, int offset)
{
    return (struct quoin_selector){key, (int)strlen(key), or_equal, offset};
}

static void selectors_find_their_keys(void)
{
    struct quoin_transaction *txn;

    empty("selector/");
    txn = begin();
    for (int i = 0; i < 5; i++)
        set(txn, (const char *[]){"selector/a", "selector/c", "selector/e", "selector/g", "selector/i"}[i], "v");
    CHECK_EQ(commit(txn), 0);
    quoin_transaction_reset(txn);
    set(txn, "selector/d", "own");
    CHECK_EQ(quoin_transaction_clear(txn, "selector/g", 10), 0);
    CHECK(key_is(txn, at("selector/c", false, 1), "selector/c"));
    CHECK(key_is(txn, at("selector/c", true, 1), "selector/d"));
    CHECK(key_is(txn, at("selector/c", false, 0), "selector/a"));
    CHECK(key_is(txn, at("selector/c", true, 0), "selector/c"));
    CHECK(key_is(txn, at("selector/a", false, 5), "selector/i"));
    CHECK(key_is(txn, at("selector/i", true, -4), "selector/a"));
    CHECK(key_is(txn, at("", false, 0), ""));
    CHECK(key_is(txn, at("", false, -1000), ""));
    CHECK(key_is(txn, at("\xff", false, 1), "\xff"));
    CHECK(key_is(txn, at("selector/a", false, 2000000000), "\xff"));
    CHECK_EQ(wait_for(quoin_transaction_get_key(txn, at("\xff\x01", false, 1), false)), QUOIN_ERROR_KEY_OUTSIDE_LEGAL_RANGE);
    CHECK_EQ(wait_for(quoin_transaction_get_key(txn, (struct quoin_selector){NULL, 3, false, 1}, false)),
             QUOIN_ERROR_CLIENT_INVALID_OPERATION);
    quoin_transaction_destroy(txn);
}

/* ---- ranges ---- */

static void sizes_and_split_points_cover_the_range(void)
{
    struct quoin_transaction *txn = begin();
    const struct quoin_key *keys = NULL;
    struct quoin_future *future;
    char key[32], value[1000];
    int64_t bytes = 0;
    int count = 0;

    empty("split/");
    memset(value, 'v', sizeof(value));
    for (int i = 0; i < 100; i++) {
        snprintf(key, sizeof(key), "split/%03d", i);
        CHECK_EQ(quoin_transaction_set(txn, key, (int)strlen(key), value, sizeof(value)), 0);
    }
    CHECK_EQ(commit(txn), 0);
    quoin_transaction_reset(txn);
    CHECK(read_version(txn) > 0);
    future = quoin_transaction_get_estimated_range_size(txn, "split/", 6, "split0", 6);
    CHECK_EQ(quoin_future_block_until_ready(future), 0);
    CHECK_EQ(quoin_future_get_int64(future, &bytes), 0);
    CHECK(bytes > 90000 && bytes < 120000);
    quoin_future_destroy(future);
    future = quoin_transaction_get_range_split_points(txn, "split/", 6, "split0", 6, 25000, 0);
    CHECK_EQ(quoin_future_block_until_ready(future), 0);
    CHECK_EQ(quoin_future_get_key_array(future, &keys, &count), 0);
    CHECK_EQ(count, 5);
    CHECK(keys[0].key_length == 6 && memcmp(keys[0].key, "split/", 6) == 0);
    CHECK(keys[4].key_length == 6 && memcmp(keys[4].key, "split0", 6) == 0);
    for (int i = 1; i < 4; i++)
        CHECK(memcmp(keys[i - 1].key, keys[i].key, 6) <= 0 && keys[i].key_length == 9);
    quoin_future_destroy(future);
    future = quoin_transaction_get_range_split_points(txn, "split/", 6, "split0", 6, 1000, 2);
    CHECK_EQ(quoin_future_block_until_ready(future), 0);
    CHECK_EQ(quoin_future_get_key_array(future, &keys, &count), 0);
    CHECK_EQ(count, 3);
    quoin_future_destroy(future);
    CHECK_EQ(wait_for(quoin_transaction_get_range_split_points(txn, "b", 1, "a", 1, 1000, 0)), QUOIN_ERROR_INVERTED_RANGE);
    CHECK_EQ(wait_for(quoin_transaction_get_range_split_points(txn, "a", 1, "b", 1, 0, 0)), QUOIN_ERROR_CLIENT_INVALID_OPERATION);
    quoin_transaction_destroy(txn);
}

static void addresses_and_boundaries_are_told(void)
{
    struct quoin_transaction *txn = begin();
    struct quoin_future *future = quoin_transaction_get_addresses_for_key(txn, "k", 1);
    const char *const *addresses = NULL;
    const struct quoin_key *keys = NULL;
    int count = 0;

    CHECK_EQ(quoin_future_block_until_ready(future), 0);
    CHECK_EQ(quoin_future_get_string_array(future, &addresses, &count), 0);
    CHECK(count > 0 && strstr(addresses[0], "127.0.0.1:") != NULL);
    quoin_future_destroy(future);
    future = quoin_transaction_get_boundary_keys(txn, "", 0, "\xff", 1, 0);
    CHECK_EQ(quoin_future_block_until_ready(future), 0);
    CHECK_EQ(quoin_future_get_key_array(future, &keys, &count), 0);
    CHECK(count >= 1 && keys[0].key_length == 0);
    quoin_future_destroy(future);
    quoin_transaction_destroy(txn);
}

/* ---- options ---- */

static void parameters_of_options_are_checked(void)
{
    struct quoin_transaction *txn = begin();
    int64_t many = 1000001;
    char tag[2] = "a";

    CHECK_EQ(quoin_transaction_set_option(txn, QUOIN_OPTION_LOCK_AWARE, "x", 1), 2006);
    CHECK_EQ(quoin_transaction_set_option(txn, QUOIN_OPTION_IDEMPOTENCY_ID, "too short", 9), 2006);
    CHECK_EQ(quoin_transaction_set_option(txn, QUOIN_OPTION_TAG, "more than 16 bytes", 18), 2110);
    for (; tag[0] < 'f'; tag[0]++)
        CHECK_EQ(quoin_transaction_set_option(txn, QUOIN_OPTION_TAG, tag, 1), 0);
    CHECK_EQ(quoin_transaction_set_option(txn, QUOIN_OPTION_TAG, "a", 1), 0); /* again */
    CHECK_EQ(quoin_transaction_set_option(txn, QUOIN_OPTION_AUTO_THROTTLE_TAG, "f", 1), 2109);
    CHECK_EQ(quoin_database_set_option(db, 11, NULL, 0), 2007);
    CHECK_EQ(quoin_database_set_option(db, QUOIN_DATABASE_OPTION_MAX_WATCHES, &many, 8), 2006);
    CHECK_EQ(quoin_database_set_option(db, QUOIN_DATABASE_OPTION_MAX_WATCHES, &many, 4), 2006);
    CHECK_EQ(quoin_database_set_option(db, QUOIN_DATABASE_OPTION_SNAPSHOT_RYW_ENABLE, "x", 1), 2006);
    CHECK_EQ(quoin_network_set_option(44, NULL, 0), 2007);
    CHECK_EQ(quoin_network_set_option(31, "123", 3), 2006);
    CHECK_EQ(quoin_network_set_option(80, NULL, 0), 0);
    CHECK_EQ(quoin_database_set_api_version(db, 12), 2203);
    CHECK_EQ(quoin_database_set_api_version(db, 801), 2203);
    quoin_transaction_destroy(txn);
}

static void old_api_versions_behave_as_they_did(void)
{
    struct quoin_transaction *txn;

    empty("old/");
    CHECK_EQ(quoin_database_set_api_version(db, 500), 0);
    txn = begin();
    CHECK_EQ(quoin_transaction_atomic(txn, QUOIN_BIT_AND, "old/and", 7, "\x0f", 1), 0);
    CHECK(is(txn, "old/and", "\0", 1));
    CHECK_EQ(quoin_transaction_atomic(txn, QUOIN_SET_VERSIONSTAMPED_VALUE, "old/stamp", 9, "0123456789tail", 14), 0);
    CHECK_EQ(quoin_transaction_atomic(txn, QUOIN_SET_VERSIONSTAMPED_KEY, "old/k0123456789\x05", 17, "v", 1), 0);
    CHECK_EQ(commit(txn), 0);
    quoin_transaction_destroy(txn);
    CHECK_EQ(quoin_database_set_api_version(db, 300), 0);
    txn = begin();
    set(txn, "old/reset", "v");
    CHECK_EQ(commit(txn), 0);
    CHECK(is(txn, "old/reset", "v", 1)); /* a commit made it new */
    CHECK(is(txn, "old/and", "\0", 1));
    quoin_transaction_destroy(txn);
    CHECK_EQ(quoin_database_set_api_version(db, 800), 0);
    txn = begin();
    set(txn, "old/reset", "v");
    CHECK_EQ(commit(txn), 0);
    CHECK_EQ(get_error(txn, "old/reset"), QUOIN_ERROR_USED_DURING_COMMIT);
    quoin_transaction_destroy(txn);
}

/* ---- the fate of a commit ---- */

static bool key_of_report(const struct quoin_key *key, const char *wanted, int length)
{
    return key->key_length == length && memcmp(key->key, wanted, (size_t)length) == 0;
}

static void a_conflict_is_told_with_what_was_read_and_written(void)
{
    struct quoin_transaction *txn = begin(), *other = begin();
    const struct quoin_conflict_report *reports = NULL;
    struct quoin_range_options all = {.mode = QUOIN_MODE_WANT_ALL};
    struct quoin_future *future;
    int count = 0;

    empty("conflict/");
    CHECK_EQ(quoin_transaction_set_option(txn, QUOIN_OPTION_REPORT_CONFLICTING_KEYS, NULL, 0), 0);
    CHECK_EQ(get_error(txn, "conflict/a"), 0);
    CHECK_EQ(get_error(txn, "conflict/quiet"), 0);
    CHECK_EQ(wait_for(quoin_transaction_get_range(txn, QUOIN_FIRST_AT_OR_AFTER("conflict/m", 10), QUOIN_FIRST_AT_OR_AFTER("conflict/o", 10), all)), 0);
    set(txn, "conflict/z", "v");
    set(other, "conflict/a", "v");
    set(other, "conflict/n", "v");
    CHECK_EQ(commit(other), 0);
    CHECK_EQ(commit(txn), QUOIN_ERROR_NOT_COMMITTED);
    future = quoin_transaction_get_conflicts(txn);
    CHECK_EQ(quoin_future_get_conflicts(future, &reports, &count), 0);
    CHECK_EQ(count, 2);
    for (int i = 0; i < 2; i++) {
        bool point = key_of_report(&reports[i].read_begin, "conflict/a", 10);
        int64_t version = -1;

        CHECK(key_of_report(&reports[i].read_begin, point ? "conflict/a" : "conflict/m", 10));
        CHECK(key_of_report(&reports[i].read_end, point ? "conflict/a\0" : "conflict/o", point ? 11 : 10));
        CHECK(key_of_report(&reports[i].written_begin, point ? "conflict/a" : "conflict/n", 10));
        CHECK(key_of_report(&reports[i].written_end, point ? "conflict/a\0" : "conflict/n\0", 11));
        CHECK_EQ(quoin_transaction_get_committed_version(other, &version), 0);
        CHECK_EQ(reports[i].version, version);
    }
    quoin_future_destroy(future);
    quoin_transaction_reset(txn);
    future = quoin_transaction_get_conflicts(txn);
    CHECK_EQ(quoin_future_get_conflicts(future, &reports, &count), 0);
    CHECK_EQ(count, 0);
    quoin_future_destroy(future);
    quoin_transaction_destroy(other);
    quoin_transaction_destroy(txn);
}

static void an_idempotency_id_is_kept_with_its_commit(void)
{
    struct quoin_transaction *txn = begin();
    struct quoin_range_options all = {.mode = QUOIN_MODE_WANT_ALL};
    const struct quoin_pair *pairs = NULL;
    struct quoin_future *future;
    bool more = false, found = false;
    int count = 0;

    CHECK_EQ(quoin_transaction_set_option(txn, QUOIN_OPTION_IDEMPOTENCY_ID, "an id of 16 byte", 16), 0);
    set(txn, "api/idempotent", "v");
    CHECK_EQ(commit(txn), 0);
    quoin_transaction_reset(txn);
    CHECK_EQ(quoin_transaction_set_option(txn, QUOIN_OPTION_READ_SYSTEM_KEYS, NULL, 0), 0);
    future = quoin_transaction_get_range(txn, QUOIN_FIRST_AT_OR_AFTER("\xff\x02/idmp/", 8), QUOIN_FIRST_AT_OR_AFTER("\xff\x02/idmp0", 8), all);
    CHECK_EQ(quoin_future_block_until_ready(future), 0);
    CHECK_EQ(quoin_future_get_range(future, &pairs, &count, &more), 0);
    for (int i = 0; i < count; i++)
        found |= pairs[i].key_length == 18 && pairs[i].value_length == 16 && memcmp(pairs[i].value, "an id of 16 byte", 16) == 0;
    CHECK(found);
    quoin_future_destroy(future);
    quoin_transaction_reset(txn);
    CHECK_EQ(quoin_transaction_set_option(txn, QUOIN_OPTION_AUTOMATIC_IDEMPOTENCY, NULL, 0), 0);
    set(txn, "api/idempotent", "w");
    CHECK_EQ(commit(txn), 0);
    quoin_transaction_destroy(txn);
}

/* ---- what the client knows ---- */

static void the_client_tells_what_it_knows(void)
{
    struct quoin_future *future = quoin_database_get_client_status(db);
    const uint8_t *json = NULL;
    uint64_t protocol = 0;
    int length = 0;

    CHECK_EQ(quoin_future_block_until_ready(future), 0);
    CHECK_EQ(quoin_future_get_key(future, &json, &length), 0);
    CHECK(memmem(json, (size_t)length, "\"Healthy\":true", 14) != NULL);
    CHECK(memmem(json, (size_t)length, "\"Explanation\":\"\"", 16) != NULL);
    quoin_future_destroy(future);
    future = quoin_database_get_server_protocol(db, 0);
    CHECK_EQ(quoin_future_block_until_ready(future), 0);
    CHECK_EQ(quoin_future_get_uint64(future, &protocol), 0);
    CHECK(protocol != 0);
    quoin_future_destroy(future);
    future = quoin_database_get_server_protocol(db, protocol); /* no other one will come */
    CHECK(!quoin_future_is_ready(future));
    quoin_future_cancel(future);
    CHECK_EQ(wait_for(future), 1101);
    CHECK(quoin_database_get_main_thread_busyness(db) >= 0 && quoin_database_get_main_thread_busyness(db) <= 1);
    future = quoin_database_reboot_worker(db, "nobody", 6, false, 0);
    CHECK_EQ(quoin_future_block_until_ready(future), 0);
    quoin_future_destroy(future);
}

static void a_timeout_says_what_was_in_the_way(void)
{
    struct quoin_database *nowhere;
    struct quoin_future *protocol;
    struct quoin_transaction *txn;
    char why[512];

    CHECK_EQ(quoin_open_text("a:b@127.0.0.1:1", &nowhere), 0);
    protocol = quoin_database_get_server_protocol(nowhere, 0);
    CHECK_EQ(quoin_transaction_create(nowhere, &txn), 0);
    CHECK_EQ(set_number(txn, QUOIN_OPTION_TIMEOUT, 500), 0);
    CHECK_EQ(get_error(txn, "k"), QUOIN_ERROR_TRANSACTION_TIMED_OUT);
    CHECK(strstr(quoin_transaction_explain(txn, why, sizeof(why)), "127.0.0.1:1") != NULL);
    quoin_transaction_reset(txn);
    CHECK_EQ(quoin_transaction_explain(txn, why, sizeof(why))[0], '\0');
    quoin_transaction_destroy(txn);
    CHECK(!quoin_future_is_ready(protocol)); /* nobody there who could say it */
    quoin_future_destroy(protocol);
    quoin_database_destroy(nowhere);
}

static void a_cached_read_version_is_recent(void)
{
    struct quoin_transaction *txn = begin(), *cached = begin();
    int64_t first = read_version(txn), second;

    CHECK_EQ(quoin_transaction_set_option(cached, QUOIN_OPTION_USE_GRV_CACHE, NULL, 0), 0);
    second = read_version(cached);
    CHECK(second >= first && second - first < 1000000);
    quoin_transaction_reset(txn);
    CHECK(read_version(txn) >= second);
    quoin_transaction_destroy(cached);
    quoin_transaction_destroy(txn);
}

const struct test more_tests[] = {
    TEST(selectors_find_their_keys),
    TEST(sizes_and_split_points_cover_the_range),
    TEST(addresses_and_boundaries_are_told),
    TEST(parameters_of_options_are_checked),
    TEST(old_api_versions_behave_as_they_did),
    TEST(a_conflict_is_told_with_what_was_read_and_written),
    TEST(an_idempotency_id_is_kept_with_its_commit),
    TEST(the_client_tells_what_it_knows),
    TEST(a_timeout_says_what_was_in_the_way),
    TEST(a_cached_read_version_is_recent),
    {0},
};
