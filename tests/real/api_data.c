/* Arguments, limits, order, conflicts, versions and atomic operations, through the public library. */
#include "tests/real/api_test.h"

#include <string.h>

enum { KEY_MAX = 10000, VALUE_MAX = 100000 };

/* ---- arguments, options, limits ---- */

static void wrong_options_are_refused(void)
{
    struct quoin_transaction *txn = begin();
    int64_t limit = 31;

    CHECK_EQ(quoin_transaction_set_option(txn, 9999, NULL, 0), 2007);
    CHECK_EQ(quoin_transaction_set_option(txn, -1, NULL, 0), 2007);
    CHECK_EQ(quoin_transaction_set_option(txn, QUOIN_OPTION_TIMEOUT, "1234", 4), 2006);
    CHECK_EQ(quoin_transaction_set_option(txn, QUOIN_OPTION_TIMEOUT, NULL, 8), 2006);
    CHECK_EQ(quoin_transaction_set_option(txn, QUOIN_OPTION_TIMEOUT, &limit, -8), 2006);
    CHECK_EQ(set_number(txn, QUOIN_OPTION_TIMEOUT, -1), 2006);
    CHECK_EQ(set_number(txn, QUOIN_OPTION_SIZE_LIMIT, limit), 2006);
    CHECK_EQ(set_number(txn, QUOIN_OPTION_SIZE_LIMIT, 10000001), 2006);
    CHECK_EQ(set_number(txn, QUOIN_OPTION_RETRY_LIMIT, -2), 2006);
    CHECK_EQ(quoin_database_set_transaction_option(db, 9999, NULL, 0), 2007);
    set(txn, "api/x", "v");
    CHECK_EQ(get_error(txn, "api/y"), 0);
    CHECK_EQ(quoin_transaction_set_option(txn, QUOIN_OPTION_READ_YOUR_WRITES_DISABLE, NULL, 0), 2000);
    CHECK_EQ(commit(txn), 0); /* a wrong option spoils nothing */
    quoin_transaction_destroy(txn);
}

static void wrong_arguments_are_refused(void)
{
    struct quoin_range_options want_all = {.mode = QUOIN_MODE_WANT_ALL}, exact = {0}, negative = {.limit = -1};
    struct quoin_selector first = QUOIN_FIRST_AT_OR_AFTER("a", 1), bad = QUOIN_FIRST_AT_OR_AFTER(NULL, 3);
    struct quoin_transaction *txn = begin();

    CHECK_EQ(wait_for(quoin_transaction_get(txn, NULL, 5, false)), 2000);
    CHECK_EQ(wait_for(quoin_transaction_get(txn, "k", -1, false)), 2000);
    CHECK_EQ(wait_for(quoin_transaction_get(txn, "\xff", 1, false)), 2004);
    CHECK_EQ(wait_for(quoin_transaction_get_range(txn, bad, first, want_all)), 2000);
    CHECK_EQ(wait_for(quoin_transaction_get_range(txn, first, first, exact)), 2210);
    CHECK_EQ(wait_for(quoin_transaction_get_range(txn, first, first, negative)), 2012);
    CHECK_EQ(wait_for(quoin_transaction_get_range(txn, QUOIN_FIRST_AFTER("b", 1), first, want_all)), 0); /* empty */
    CHECK_EQ(quoin_transaction_add_conflict_range(txn, QUOIN_CONFLICT_READ, "b", 1, "a", 1), 2005);
    CHECK_EQ(quoin_transaction_set_read_version(txn, 0), 2011);
    CHECK_EQ(quoin_transaction_set(txn, NULL, 0, NULL, 0), 0); /* the empty key, the empty value */
    CHECK(is(txn, "", "", 0));
    CHECK_EQ(quoin_transaction_clear(txn, NULL, 0), 0);
    CHECK_EQ(commit(txn), 0);
    quoin_transaction_reset(txn);
    CHECK_EQ(quoin_transaction_set(txn, NULL, 1, "v", 1), 2000);
    CHECK_EQ(commit(txn), 2000); /* a failed write is not forgotten */
    quoin_transaction_reset(txn);
    CHECK_EQ(quoin_transaction_set(txn, "k", 1, "v", -1), 2000);
    quoin_transaction_reset(txn);
    CHECK_EQ(quoin_transaction_atomic(txn, (enum quoin_mutation)99, "k", 1, "v", 1), 2018);
    quoin_transaction_destroy(txn);
}

static void limits_have_their_errors(void)
{
    static uint8_t large[VALUE_MAX + 1];
    struct quoin_transaction *txn = begin();
    char key[32];

    CHECK_EQ(quoin_transaction_set(txn, large, KEY_MAX + 1, "v", 1), 2102);
    CHECK_EQ(commit(txn), 2102);
    quoin_transaction_reset(txn);
    CHECK_EQ(quoin_transaction_set(txn, "k", 1, large, VALUE_MAX + 1), 2103);
    CHECK_EQ(commit(txn), 2103);
    quoin_transaction_reset(txn);
    CHECK_EQ(quoin_transaction_set(txn, "\xff", 1, "v", 1), 2004);
    quoin_transaction_reset(txn);
    CHECK_EQ(quoin_transaction_clear_range(txn, "b", 1, "a", 1), 2005);
    quoin_transaction_reset(txn);
    for (int i = 0; i < 101; i++) {
        snprintf(key, sizeof(key), "large/%03d", i);
        CHECK_EQ(quoin_transaction_set(txn, key, (int)strlen(key), large, VALUE_MAX), 0);
    }
    CHECK_EQ(commit(txn), 2101);
    quoin_transaction_reset(txn);
    CHECK_EQ(set_number(txn, QUOIN_OPTION_SIZE_LIMIT, 1000), 0);
    CHECK_EQ(quoin_transaction_set(txn, "k", 1, large, 1000), 0);
    CHECK_EQ(commit(txn), 2101);
    quoin_transaction_destroy(txn);
}

/* ---- long keys and values, in order ---- */

enum { LONGS = 48 };

struct pair {
    int key_length, value_length;
    uint8_t *key, *value;
};

static int by_key(const void *a, const void *b)
{
    const struct pair *one = a, *other = b;
    int shorter = one->key_length < other->key_length ? one->key_length : other->key_length;
    int order = memcmp(one->key, other->key, (size_t)shorter);

    return order != 0 ? order : one->key_length - other->key_length;
}

/* Keys that differ in their last bytes alone, and keys that are a beginning of others. */
static void make_pairs(struct pair *pairs)
{
    for (int i = 0; i < LONGS; i++) {
        struct pair *pair = &pairs[i];

        pair->key_length = i % 3 == 0 ? KEY_MAX - i : KEY_MAX;
        pair->value_length = i % 4 == 0 ? VALUE_MAX : i * 37;
        pair->key = malloc((size_t)pair->key_length);
        pair->value = malloc((size_t)pair->value_length + 1);
        memset(pair->key, 'x', (size_t)pair->key_length);
        memcpy(pair->key, "long/", 5);
        pair->key[pair->key_length - 1] = (uint8_t)(255 - i * 5);
        memset(pair->value, i, (size_t)pair->value_length);
    }
    qsort(pairs, LONGS, sizeof(*pairs), by_key);
}

static void read_pages(const struct pair *pairs, struct quoin_range_options options)
{
    struct quoin_selector begin_at = QUOIN_FIRST_AT_OR_AFTER("long/", 5), end_at = QUOIN_FIRST_AT_OR_AFTER("long0", 5);
    struct quoin_transaction *txn = begin();
    static uint8_t last[KEY_MAX];
    bool more = true;
    int at = 0;

    while (more) {
        struct quoin_future *future = quoin_transaction_get_range(txn, begin_at, end_at, options);
        const struct quoin_pair *found;
        int count;

        CHECK_EQ(quoin_future_block_until_ready(future), 0);
        CHECK_EQ(quoin_future_get_range(future, &found, &count, &more), 0);
        CHECK(!more || count > 0);
        for (int i = 0; i < count; i++, at++) {
            const struct pair *pair = &pairs[options.reverse ? LONGS - 1 - at : at];

            CHECK(at < LONGS && found[i].key_length == pair->key_length && found[i].value_length == pair->value_length);
            CHECK_EQ(memcmp(found[i].key, pair->key, (size_t)pair->key_length), 0);
            CHECK_EQ(memcmp(found[i].value, pair->value, (size_t)pair->value_length), 0);
        }
        if (more) {
            memcpy(last, found[count - 1].key, (size_t)found[count - 1].key_length);
            if (options.reverse)
                end_at = QUOIN_FIRST_AT_OR_AFTER(last, found[count - 1].key_length);
            else
                begin_at = QUOIN_FIRST_AFTER(last, found[count - 1].key_length);
        }
        quoin_future_destroy(future);
        options.iteration++;
    }
    CHECK_EQ(at, LONGS);
    quoin_transaction_destroy(txn);
}

static void long_keys_and_values_come_back_in_order(void)
{
    static struct pair pairs[LONGS];
    struct quoin_transaction *txn;

    empty("long/");
    make_pairs(pairs);
    txn = begin();
    for (int i = 0; i < LONGS; i++)
        CHECK_EQ(quoin_transaction_set(txn, pairs[i].key, pairs[i].key_length, pairs[i].value, pairs[i].value_length), 0);
    CHECK_EQ(commit(txn), 0);
    quoin_transaction_destroy(txn);
    for (int reverse = 0; reverse < 2; reverse++) {
        read_pages(pairs, (struct quoin_range_options){.mode = QUOIN_MODE_WANT_ALL, .reverse = reverse});
        read_pages(pairs, (struct quoin_range_options){.mode = QUOIN_MODE_EXACT, .limit = 7, .reverse = reverse});
        read_pages(pairs, (struct quoin_range_options){.mode = QUOIN_MODE_WANT_ALL, .limit = 1, .reverse = reverse});
        read_pages(pairs, (struct quoin_range_options){.mode = QUOIN_MODE_ITERATOR, .iteration = 1, .reverse = reverse});
        read_pages(pairs, (struct quoin_range_options){.mode = QUOIN_MODE_SMALL, .reverse = reverse, .snapshot = true});
    }
    for (int i = 0; i < LONGS; i++) {
        free(pairs[i].key);
        free(pairs[i].value);
    }
}

/* ---- what conflicts ---- */

/* The verdict on a transaction that touches `key` as `touch` does, while another one writes it. */
static int meet(void (*touch)(struct quoin_transaction *txn), void (*write)(struct quoin_transaction *txn))
{
    struct quoin_transaction *txn = begin(), *other = begin();
    int error;

    CHECK_EQ(get_error(txn, "conflict/other"), 0); /* takes the read version */
    touch(txn);
    set(txn, "conflict/mine", "v");
    write(other);
    CHECK_EQ(commit(other), 0);
    error = commit(txn);
    quoin_transaction_destroy(txn);
    quoin_transaction_destroy(other);
    return error;
}

static void read_it(struct quoin_transaction *txn)
{
    CHECK_EQ(get_error(txn, "conflict/k"), 0);
}

static void read_snapshot(struct quoin_transaction *txn)
{
    CHECK_EQ(wait_for(quoin_transaction_get(txn, "conflict/k", 10, true)), 0);
}

static void declare_read(struct quoin_transaction *txn)
{
    CHECK_EQ(quoin_transaction_add_conflict_range(txn, QUOIN_CONFLICT_READ, "conflict/a", 10, "conflict/l", 10), 0);
}

static void read_range(struct quoin_transaction *txn)
{
    CHECK_EQ(wait_for(quoin_transaction_get_range(txn, QUOIN_FIRST_AT_OR_AFTER("conflict/a", 10), QUOIN_FIRST_AT_OR_AFTER("conflict/l", 10),
                                                  (struct quoin_range_options){.mode = QUOIN_MODE_WANT_ALL})), 0);
}

static void write_it(struct quoin_transaction *txn)
{
    set(txn, "conflict/k", "v");
}

static void write_without_conflict(struct quoin_transaction *txn)
{
    CHECK_EQ(quoin_transaction_set_option(txn, QUOIN_OPTION_NEXT_WRITE_NO_WRITE_CONFLICT_RANGE, NULL, 0), 0);
    set(txn, "conflict/k", "v");
}

static void declare_write(struct quoin_transaction *txn)
{
    CHECK_EQ(quoin_transaction_add_conflict_range(txn, QUOIN_CONFLICT_WRITE, "conflict/k", 10, "conflict/k\0", 11), 0);
}

static void reads_and_writes_conflict_as_declared(void)
{
    CHECK_EQ(meet(read_it, write_it), QUOIN_ERROR_NOT_COMMITTED);
    CHECK_EQ(meet(read_range, write_it), QUOIN_ERROR_NOT_COMMITTED);
    CHECK_EQ(meet(declare_read, write_it), QUOIN_ERROR_NOT_COMMITTED);
    CHECK_EQ(meet(read_it, declare_write), QUOIN_ERROR_NOT_COMMITTED);
    CHECK_EQ(meet(read_snapshot, write_it), 0);
    CHECK_EQ(meet(write_it, write_it), 0);
    CHECK_EQ(meet(read_it, write_without_conflict), 0);
}

/* ---- versions ---- */

static void an_old_read_version_gives_1007(void)
{
    struct quoin_transaction *txn = begin();
    struct timespec pause = {0, 50000000};

    while (seconds_since(&started) < 6.5)
        nanosleep(&pause, NULL);
    CHECK_EQ(quoin_transaction_set_read_version(txn, version_at_start), 0);
    CHECK_EQ(quoin_transaction_set_read_version(txn, version_at_start), 2010);
    CHECK_EQ(get_error(txn, "api/x"), QUOIN_ERROR_TRANSACTION_TOO_OLD);
    set(txn, "api/x", "v");
    CHECK_EQ(commit(txn), QUOIN_ERROR_TRANSACTION_TOO_OLD);
    quoin_transaction_reset(txn);
    CHECK_EQ(quoin_transaction_set_read_version(txn, version_at_start), 0);
    quoin_future_destroy(NULL);
    CHECK_EQ(quoin_transaction_add_conflict_range(txn, QUOIN_CONFLICT_READ, "api/x", 5, "api/y", 5), 0);
    set(txn, "api/x", "v");
    CHECK_EQ(commit(txn), QUOIN_ERROR_TRANSACTION_TOO_OLD); /* the resolver's word */
    quoin_transaction_reset(txn);
    CHECK_EQ(quoin_transaction_set_read_version(txn, read_version(txn) + 1000000000000), 2010);
    quoin_transaction_destroy(txn);
}

static void a_read_that_nobody_looked_at_fails_the_commit(void)
{
    struct quoin_transaction *txn = begin();
    struct quoin_future *future;

    CHECK_EQ(quoin_transaction_set_read_version(txn, read_version(txn) > 0 ? version_at_start : 0), 2010);
    quoin_transaction_reset(txn);
    CHECK_EQ(quoin_transaction_set_read_version(txn, version_at_start), 0);
    set(txn, "api/x", "v");
    future = quoin_transaction_get(txn, "api/y", 5, true);
    CHECK_EQ(commit(txn), QUOIN_ERROR_TRANSACTION_TOO_OLD);
    CHECK_EQ(wait_for(future), QUOIN_ERROR_TRANSACTION_TOO_OLD);
    quoin_transaction_destroy(txn);
}

static void versions_grow_and_commits_tell_theirs(void)
{
    struct quoin_transaction *txn = begin();
    int64_t before = read_version(txn), committed = 0;

    set(txn, "api/x", "v");
    CHECK_EQ(quoin_transaction_get_committed_version(txn, &committed), 0);
    CHECK_EQ(committed, -1);
    CHECK_EQ(commit(txn), 0);
    CHECK_EQ(quoin_transaction_get_committed_version(txn, &committed), 0);
    CHECK(committed > before);
    CHECK_EQ(get_error(txn, "api/x"), QUOIN_ERROR_USED_DURING_COMMIT);
    quoin_transaction_reset(txn);
    CHECK(read_version(txn) >= committed);
    CHECK_EQ(commit(txn), 0);
    CHECK_EQ(quoin_transaction_get_committed_version(txn, &committed), 0);
    CHECK_EQ(committed, -1);
    quoin_transaction_destroy(txn);
}

static void versionstamps_are_what_was_written(void)
{
    struct quoin_transaction *txn;
    struct quoin_future *stamp_future;
    const uint8_t *stamp;
    char key[20] = "stamp/##########\x06\0\0";
    int length;

    empty("stamp/");
    txn = begin();
    CHECK_EQ(quoin_transaction_atomic(txn, QUOIN_SET_VERSIONSTAMPED_KEY, key, 20, "v", 1), 0);
    CHECK_EQ(quoin_transaction_atomic(txn, QUOIN_SET_VERSIONSTAMPED_VALUE, "stamp", 5, "##########\0\0\0\0", 14), 0);
    stamp_future = quoin_transaction_get_versionstamp(txn);
    CHECK_EQ(commit(txn), 0);
    CHECK_EQ(quoin_future_block_until_ready(stamp_future), 0);
    CHECK_EQ(quoin_future_get_key(stamp_future, &stamp, &length), 0);
    CHECK_EQ(length, 10);
    quoin_transaction_reset(txn);
    CHECK(is(txn, "stamp", stamp, 10));
    memcpy(key + 6, stamp, 10);
    stamp_future = (quoin_future_destroy(stamp_future), quoin_transaction_get(txn, key, 16, false));
    CHECK_EQ(quoin_future_block_until_ready(stamp_future), 0);
    CHECK(quoin_future_get_value(stamp_future, &(bool){false}, &stamp, &length) == 0 && length == 1 && stamp[0] == 'v');
    quoin_future_destroy(stamp_future);
    stamp_future = quoin_transaction_get_versionstamp(txn);
    CHECK_EQ(commit(txn), 0);
    CHECK_EQ(wait_for(stamp_future), 2021);
    quoin_transaction_reset(txn);
    CHECK_EQ(quoin_transaction_atomic(txn, QUOIN_SET_VERSIONSTAMPED_VALUE, "stamp", 5, "##########\0\0\0\0", 14), 0);
    CHECK_EQ(get_error(txn, "stamp"), QUOIN_ERROR_ACCESSED_UNREADABLE);
    CHECK_EQ(commit(txn), QUOIN_ERROR_ACCESSED_UNREADABLE);
    quoin_transaction_destroy(txn);
}

/* ---- atomic operations ---- */

struct operation {
    enum quoin_mutation type;
    const char *before; /* two bytes; NULL: none */
    const char *param;
    const char *after; /* NULL: none */
};

static const struct operation operations[] = {
    {QUOIN_ADD, "\x01\x02", "\xff\x01", "\x00\x04"},
    {QUOIN_ADD, NULL, "\x07\x08", "\x07\x08"},
    {QUOIN_BIT_AND, "\x0f\xf0", "\x3c\x3c", "\x0c\x30"},
    {QUOIN_BIT_AND, NULL, "\x3c\x3c", "\x3c\x3c"},
    {QUOIN_BIT_OR, "\x0f\xf0", "\x30\x0c", "\x3f\xfc"},
    {QUOIN_BIT_XOR, "\x0f\xf0", "\xff\xff", "\xf0\x0f"},
    {QUOIN_MAX, "\x01\x02", "\x02\x01", "\x01\x02"},
    {QUOIN_MIN, "\x01\x02", "\x02\x01", "\x02\x01"},
    {QUOIN_MIN, NULL, "\x02\x01", "\x02\x01"},
    {QUOIN_BYTE_MAX, "\x01\x02", "\x02\x01", "\x02\x01"},
    {QUOIN_BYTE_MIN, "\x01\x02", "\x02\x01", "\x01\x02"},
    {QUOIN_COMPARE_AND_CLEAR, "ab", "ab", NULL},
    {QUOIN_COMPARE_AND_CLEAR, "ab", "ac", "ab"},
};

static void atomic_operations_agree_before_and_after_the_commit(void)
{
    for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++) {
        const struct operation *operation = &operations[i];
        struct quoin_transaction *txn;

        empty("atomic/");
        txn = begin();
        if (operation->before != NULL)
            CHECK_EQ(quoin_transaction_set(txn, "atomic/k", 8, operation->before, 2), 0);
        CHECK_EQ(commit(txn), 0);
        quoin_transaction_reset(txn);
        CHECK_EQ(quoin_transaction_atomic(txn, operation->type, "atomic/k", 8, operation->param, 2), 0);
        CHECK(is(txn, "atomic/k", operation->after, 2));
        CHECK_EQ(commit(txn), 0);
        quoin_transaction_reset(txn);
        CHECK(is(txn, "atomic/k", operation->after, 2));
        quoin_transaction_destroy(txn);
    }
}

const struct test data_tests[] = {
    TEST(wrong_options_are_refused),
    TEST(wrong_arguments_are_refused),
    TEST(limits_have_their_errors),
    TEST(long_keys_and_values_come_back_in_order),
    TEST(reads_and_writes_conflict_as_declared),
    TEST(an_old_read_version_gives_1007),
    TEST(a_read_that_nobody_looked_at_fails_the_commit),
    TEST(versions_grow_and_commits_tell_theirs),
    TEST(versionstamps_are_what_was_written),
    TEST(atomic_operations_agree_before_and_after_the_commit),
    {0},
};
