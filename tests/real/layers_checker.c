/* quoin-layers-checker: every layer against a cluster, each promise of <quoin/layers.h> that needs one. Prints the first that
 * does not hold, and ends with 1. */
#include <pthread.h>
#include <quoin/layers.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FATAL_UNLESS(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "WRONG %s:%d: %s\n", __func__, __LINE__, #condition); \
            exit(1); \
        } \
    } while (0)
#define P(...) QUOIN_PATH(__VA_ARGS__)
#define N(name) QUOIN_TEXT(name)
#define ALLOCATING_THREADS 8
#define ALLOCATIONS 12

typedef quoin_error body(struct quoin_transaction *t, void *context);

static void commit(struct quoin_database *db, body *run, void *context)
{
    quoin_error error = quoin_run(db, run, context);

    if (error != 0)
        fprintf(stderr, "a transaction ended with %d\n", error);
    FATAL_UNLESS(error == 0);
}

/* Retryable errors start the body over; any other than `wanted` is wrong. */
#define EXPECT(call, wanted) \
    do { \
        quoin_error ended_with = (call); \
        if (ended_with != (wanted) && quoin_error_predicate(QUOIN_PREDICATE_RETRYABLE, ended_with)) \
            return ended_with; \
        if (ended_with != (wanted)) \
            fprintf(stderr, "got %d\n", ended_with); \
        FATAL_UNLESS(ended_with == (wanted)); \
    } while (0)

static struct quoin_tuple *one_int(struct quoin_tuple *tuple, int64_t value)
{
    quoin_tuple_reset(tuple);
    quoin_tuple_add_int(tuple, value);
    return tuple;
}

static struct quoin_tuple *one_text(struct quoin_tuple *tuple, const char *value)
{
    quoin_tuple_reset(tuple);
    quoin_tuple_add_text(tuple, value, (int)strlen(value));
    return tuple;
}

static void subspace_named(struct quoin_subspace *subspace, const char *name)
{
    struct quoin_tuple tuple = {0};

    FATAL_UNLESS(quoin_subspace_init_tuple(subspace, NULL, one_text(&tuple, name)) == 0);
    quoin_tuple_done(&tuple);
}

/* Whether a key has a value (NULL: any; absent: not there). */
static quoin_error stored(struct quoin_transaction *t, const void *key, int key_length, const void *value, int length, bool *ret_same)
{
    struct quoin_future *future = quoin_transaction_get(t, key, key_length, false);
    const uint8_t *data;
    bool present;
    int size;
    quoin_error error = quoin_future_block_until_ready(future);

    if (error == 0)
        error = quoin_future_get_value(future, &present, &data, &size);
    if (error == 0)
        *ret_same = value == NULL ? !present : present && size == length && memcmp(data, value, (size_t)size) == 0;
    quoin_future_destroy(future);
    return error;
}

/* ---- directories ---- */

static quoin_error directory_life(struct quoin_transaction *t, void *context)
{
    struct quoin_directory *root = context, *a, *again, *moved;
    struct quoin_subspace one, two;
    struct quoin_names *names;
    bool yes;

    EXPECT(quoin_directory_open(t, root, P(N("a")), NULL, 0, &a), 2257);
    EXPECT(quoin_directory_create(t, root, P(N("a"), N("b"), N("c")), "app", 3, NULL, &a), 0);
    EXPECT(quoin_directory_create(t, root, P(N("a"), N("b"), N("c")), "app", 3, NULL, &again), 2256);
    EXPECT(quoin_directory_open(t, root, P(N("a"), N("b"), N("c")), "other", 5, &again), 2259);
    EXPECT(quoin_directory_create_or_open(t, root, P(N("a"), N("b"), N("c")), "app", 3, &again), 0);
    FATAL_UNLESS(quoin_directory_subspace(a, &one) == 0 && quoin_directory_subspace(again, &two) == 0);
    FATAL_UNLESS(one.prefix.length == two.prefix.length && memcmp(one.prefix.data, two.prefix.data, (size_t)one.prefix.length) == 0);
    FATAL_UNLESS(quoin_directory_path(a).count == 3 && quoin_directory_layer(a).length == 3);
    quoin_subspace_done(&two);
    quoin_directory_destroy(again);
    EXPECT(quoin_directory_open(t, root, QUOIN_PATH_EMPTY, NULL, 0, &again), 2255);
    EXPECT(quoin_directory_create(t, root, P(N("m")), NULL, 0, &(struct quoin_slice){"zz", 2}, &again), 2253);
    EXPECT(quoin_directory_remove(t, root, QUOIN_PATH_EMPTY, NULL), 2267);
    EXPECT(quoin_directory_move(t, root, P(N("a")), P(N("a"), N("x")), &moved), 2266);
    EXPECT(quoin_directory_move(t, root, P(N("a")), P(N("no"), N("x")), &moved), 2258);
    EXPECT(quoin_directory_move(t, root, P(N("no")), P(N("x")), &moved), 2257);
    EXPECT(quoin_directory_move(t, root, P(N("a"), N("b"), N("c")), P(N("a")), &moved), 2256);
    EXPECT(quoin_directory_move_to(t, a, P(N("d")), &moved), 0);
    FATAL_UNLESS(quoin_directory_subspace(moved, &two) == 0 && two.prefix.length == one.prefix.length);
    FATAL_UNLESS(memcmp(one.prefix.data, two.prefix.data, (size_t)one.prefix.length) == 0);
    EXPECT(quoin_directory_exists(t, root, P(N("a"), N("b"), N("c")), &yes), 0);
    FATAL_UNLESS(!yes);
    EXPECT(quoin_directory_list(t, root, QUOIN_PATH_EMPTY, &names), 0);
    FATAL_UNLESS(names->count == 2 && memcmp(names->names[0].data, "a", 1) == 0 && memcmp(names->names[1].data, "d", 1) == 0);
    quoin_names_destroy(names);
    EXPECT(quoin_transaction_set(t, one.prefix.data, one.prefix.length, "x", 1), 0);
    EXPECT(quoin_directory_remove(t, moved, QUOIN_PATH_EMPTY, NULL), 0);
    EXPECT(stored(t, one.prefix.data, one.prefix.length, NULL, 0, &yes), 0);
    FATAL_UNLESS(yes);
    EXPECT(quoin_directory_remove(t, root, P(N("d")), NULL), 2257);
    EXPECT(quoin_directory_remove(t, root, P(N("d")), &yes), 0);
    FATAL_UNLESS(!yes);
    quoin_directory_destroy(a);
    quoin_directory_destroy(moved);
    quoin_subspace_done(&one);
    quoin_subspace_done(&two);
    return 0;
}

static quoin_error partitions(struct quoin_transaction *t, void *context)
{
    struct quoin_directory *root = context, *part, *inner, *other;
    struct quoin_subspace subspace;
    struct quoin_names *names;
    bool yes;

    EXPECT(quoin_directory_create(t, root, P(N("part")), "partition", 9, NULL, &part), 0);
    FATAL_UNLESS(quoin_directory_is_partition(part) && quoin_directory_subspace(part, &subspace) == 2262);
    EXPECT(quoin_directory_create(t, root, P(N("part"), N("x"), N("y")), NULL, 0, NULL, &inner), 0);
    FATAL_UNLESS(quoin_directory_path(inner).count == 3);
    quoin_directory_destroy(inner);
    EXPECT(quoin_directory_open(t, part, P(N("x"), N("y")), NULL, 0, &inner), 0);
    EXPECT(quoin_directory_create(t, part, P(N("q")), NULL, 0, &(struct quoin_slice){"zz", 2}, &other), 2254);
    EXPECT(quoin_directory_move(t, root, P(N("part"), N("x")), P(N("x")), &other), 2261);
    EXPECT(quoin_directory_move_to(t, inner, P(N("y")), &other), 2261);
    EXPECT(quoin_directory_move_to(t, inner, P(N("part"), N("z")), &other), 0);
    quoin_directory_destroy(other);
    EXPECT(quoin_directory_list(t, part, QUOIN_PATH_EMPTY, &names), 0);
    FATAL_UNLESS(names->count == 2);
    quoin_names_destroy(names);
    EXPECT(quoin_directory_move_to(t, part, P(N("whole")), &other), 0);
    EXPECT(quoin_directory_exists(t, root, P(N("whole"), N("z")), &yes), 0);
    FATAL_UNLESS(yes);
    EXPECT(quoin_directory_remove(t, other, QUOIN_PATH_EMPTY, NULL), 0);
    EXPECT(quoin_directory_exists(t, root, P(N("whole")), &yes), 0);
    FATAL_UNLESS(!yes);
    quoin_directory_destroy(other);
    quoin_directory_destroy(inner);
    quoin_directory_destroy(part);
    return 0;
}

/* The very bytes, in a directory layer of its own: nodes below N, contents below C. */
static quoin_error directory_bytes(struct quoin_transaction *t, void *context)
{
    struct quoin_directory *root, *dir;
    struct quoin_slice nodes = {"N", 1}, contents = {"C", 1}, prefix = {"hand", 4};
    bool same;

    (void)context;
    EXPECT(quoin_directory_root(&nodes, &contents, true, &root), 0);
    EXPECT(quoin_directory_create(t, root, P(N("e")), "lay", 3, &prefix, &dir), 0);
    quoin_directory_destroy(dir);
    EXPECT(quoin_directory_create(t, root, P(N("f")), NULL, 0, &(struct quoin_slice){"hand2", 5}, &dir), 2265);
    EXPECT(quoin_directory_create(t, root, P(N("f")), NULL, 0, &(struct quoin_slice){"ha", 2}, &dir), 2265);
    EXPECT(quoin_directory_create(t, root, P(N("f")), NULL, 0, &(struct quoin_slice){"Nx", 2}, &dir), 2265);
    EXPECT(stored(t, "N\1N\0\x14\2e\0", 8, "hand", 4, &same), 0);
    FATAL_UNLESS(same);
    EXPECT(stored(t, "N\1hand\0\1layer\0", 14, "lay", 3, &same), 0);
    FATAL_UNLESS(same);
    EXPECT(stored(t, "N\1N\0\1version\0", 13, "\1\0\0\0\0\0\0\0\0\0\0\0", 12, &same), 0);
    FATAL_UNLESS(same);
    EXPECT(quoin_directory_create(t, root, P(N("g")), NULL, 0, NULL, &dir), 0);
    quoin_directory_destroy(dir);
    EXPECT(stored(t, "N\1N\0\1hca\0\x14\x14", 11, "\1\0\0\0\0\0\0\0", 8, &same), 0);
    FATAL_UNLESS(same);
    EXPECT(quoin_transaction_set(t, "N\1N\0\1version\0", 13, "\1\0\0\0\1\0\0\0\0\0\0\0", 12), 0);
    EXPECT(quoin_directory_exists(t, root, P(N("e")), &same), 0);
    EXPECT(quoin_directory_remove(t, root, P(N("e")), NULL), 2263);
    EXPECT(quoin_transaction_set(t, "N\1N\0\1version\0", 13, "\2\0\0\0\0\0\0\0\0\0\0\0", 12), 0);
    EXPECT(quoin_directory_exists(t, root, P(N("e")), &same), 2263);
    EXPECT(quoin_transaction_set(t, "N\1N\0\1version\0", 13, "\1", 1), 0);
    EXPECT(quoin_directory_exists(t, root, P(N("e")), &same), 2260);
    quoin_directory_destroy(root);
    return 0;
}

/* ---- the allocator ---- */

struct allocating {
    struct quoin_database *db;
    struct quoin_subspace *subspace;
    struct quoin_tuple tuple;
    int64_t got[ALLOCATIONS];
};

static quoin_error allocate_one(struct quoin_transaction *t, void *context)
{
    struct allocating *a = context;

    return quoin_allocate(t, a->subspace, &a->tuple);
}

static void *allocate_many(void *context)
{
    struct allocating *a = context;
    struct quoin_unpacked *u;

    for (int i = 0; i < ALLOCATIONS; i++) {
        commit(a->db, allocate_one, a);
        FATAL_UNLESS(quoin_tuple_unpack(a->tuple.data, a->tuple.length, &u) == 0 && quoin_unpacked_int(u, 0, &a->got[i]) == 0);
        quoin_unpacked_destroy(u);
    }
    quoin_tuple_done(&a->tuple);
    return NULL;
}

static int compare_numbers(const void *a, const void *b)
{
    return (*(const int64_t *)a > *(const int64_t *)b) - (*(const int64_t *)a < *(const int64_t *)b);
}

static void check_allocator(struct quoin_database *db)
{
    struct allocating all[ALLOCATING_THREADS] = {0};
    pthread_t threads[ALLOCATING_THREADS];
    int64_t got[ALLOCATING_THREADS * ALLOCATIONS];
    struct quoin_subspace subspace;

    subspace_named(&subspace, "allocator");
    for (int i = 0; i < ALLOCATING_THREADS; i++) {
        all[i] = (struct allocating){.db = db, .subspace = &subspace};
        FATAL_UNLESS(pthread_create(&threads[i], NULL, allocate_many, &all[i]) == 0);
    }
    for (int i = 0; i < ALLOCATING_THREADS; i++) {
        pthread_join(threads[i], NULL);
        memcpy(got + i * ALLOCATIONS, all[i].got, sizeof(all[i].got));
    }
    qsort(got, ALLOCATING_THREADS * ALLOCATIONS, sizeof(*got), compare_numbers);
    for (int i = 1; i < ALLOCATING_THREADS * ALLOCATIONS; i++)
        FATAL_UNLESS(got[i] != got[i - 1]);
    FATAL_UNLESS(got[0] >= 0 && got[ALLOCATING_THREADS * ALLOCATIONS - 1] >= 64); /* the window moved on */
    quoin_subspace_done(&subspace);
}

/* ---- records ---- */

/* Of a slice, which ends without a NUL. */
static int number_at(const char *at, const char *end)
{
    int number = 0;

    for (; at < end && *at >= '0' && *at <= '9'; at++)
        number = number * 10 + (*at - '0');
    return number;
}

/* A record is "city,age". */
static quoin_error extract_city(void *context, struct quoin_slice key, struct quoin_slice record, struct quoin_index_entries *entries)
{
    const char *text = record.data, *comma = memchr(text, ',', (size_t)record.length);
    struct quoin_tuple entry = {0};
    quoin_error error;

    (void)context, (void)key;
    if (comma == NULL)
        return 0;
    quoin_tuple_add_text(&entry, text, (int)(comma - text));
    quoin_tuple_add_int(&entry, number_at(comma + 1, text + record.length));
    error = quoin_index_add(entries, &entry);
    quoin_tuple_done(&entry);
    return error;
}

static const struct quoin_record_index city_index = {.name = "city", .extract = extract_city};

struct seen {
    char text[4096];
    int count, stop_after;
};

static quoin_error see(void *context, const struct quoin_record *record)
{
    struct seen *seen = context;
    struct quoin_unpacked *u;
    int64_t key;

    FATAL_UNLESS(quoin_tuple_unpack(record->key.data, record->key.length, &u) == 0 && quoin_unpacked_int(u, 0, &key) == 0);
    quoin_unpacked_destroy(u);
    seen->count++;
    if (strlen(seen->text) < sizeof(seen->text) - 64)
        sprintf(seen->text + strlen(seen->text), "%d:%.*s ", (int)key, record->record.length, (const char *)record->record.data);
    return seen->count == seen->stop_after ? QUOIN_STOP : 0;
}

static quoin_error put_records(struct quoin_transaction *t, void *context)
{
    static const char *const data[] = {"Rome,30", "Oslo,20", "Rome,10", "Oslo,70", "none", "Bern,5"};
    struct quoin_tuple key = {0};

    for (int i = 0; i < 6; i++)
        EXPECT(quoin_records_put(t, context, one_int(&key, i), data[i], (int)strlen(data[i])), 0);
    quoin_tuple_done(&key);
    return 0;
}

static quoin_error query(struct quoin_transaction *t, struct quoin_records *records, struct quoin_query what, const char *expected)
{
    struct seen seen = {.stop_after = 1000};

    EXPECT(quoin_records_query(t, records, &what, see, &seen), 0);
    if (strcmp(seen.text, expected) != 0)
        fprintf(stderr, "saw \"%s\", not \"%s\"\n", seen.text, expected);
    FATAL_UNLESS(strcmp(seen.text, expected) == 0);
    return 0;
}

static quoin_error query_records(struct quoin_transaction *t, void *context)
{
    struct quoin_tuple low = {0}, high = {0};
    struct quoin_buffer record = {0};
    struct seen seen = {.stop_after = 2};
    bool present;

    EXPECT(query(t, context, (struct quoin_query){.low = one_int(&low, 1), .high = one_int(&high, 3)}, "1:Oslo,20 2:Rome,10 "), 0);
    EXPECT(query(t, context, (struct quoin_query){.index = "city"}, "5:Bern,5 1:Oslo,20 3:Oslo,70 2:Rome,10 0:Rome,30 "), 0);
    EXPECT(query(t, context, (struct quoin_query){.index = "city", .low = one_text(&low, "Oslo"), .high = &low, .high_included = true},
                 "1:Oslo,20 3:Oslo,70 "), 0);
    EXPECT(query(t, context, (struct quoin_query){.index = "city", .low = &low, .reverse = true, .limit = 3},
                 "0:Rome,30 2:Rome,10 3:Oslo,70 "), 0);
    EXPECT(query(t, context, (struct quoin_query){.index = "city", .high = &low, .keys_only = true}, "5: "), 0);
    EXPECT(quoin_records_query(t, context, &(struct quoin_query){.index = "city"}, see, &seen), 0);
    FATAL_UNLESS(seen.count == 2);
    EXPECT(quoin_records_query(t, context, &(struct quoin_query){.index = "age"}, see, &seen), 2000);
    EXPECT(quoin_records_query(t, context, &(struct quoin_query){.limit = -1}, see, &seen), 2012);
    EXPECT(quoin_records_put(t, context, one_int(&low, 1), "Rome,20", 7), 0);
    EXPECT(quoin_records_remove(t, context, one_int(&low, 0), &present), 0);
    FATAL_UNLESS(present);
    EXPECT(quoin_records_get(t, context, &low, &present, &record), 0);
    FATAL_UNLESS(!present);
    EXPECT(query(t, context, (struct quoin_query){.index = "city"}, "5:Bern,5 3:Oslo,70 2:Rome,10 1:Rome,20 "), 0);
    quoin_tuple_done(&low);
    quoin_tuple_done(&high);
    return 0;
}

/* More than a batch of gets and more than a page. */
static quoin_error many_records(struct quoin_transaction *t, void *context)
{
    struct quoin_tuple key = {0};
    struct seen seen = {0};
    char record[64];

    for (int i = 100; i < 1100; i++)
        EXPECT(quoin_records_put(t, context, one_int(&key, i), record, sprintf(record, "Many,%d", i)), 0);
    EXPECT(quoin_records_query(t, context, &(struct quoin_query){.index = "city", .low = one_text(&key, "Many"), .high = &key,
                                                                 .high_included = true}, see, &seen), 0);
    FATAL_UNLESS(seen.count == 1000);
    quoin_tuple_done(&key);
    return 0;
}

/* ---- queue ---- */

static quoin_error push_two(struct quoin_transaction *t, void *context)
{
    EXPECT(quoin_queue_push(t, context, 0, "first", 5), 0);
    EXPECT(quoin_queue_push(t, context, 1, "second", 6), 0);
    return 0;
}

static quoin_error push_third(struct quoin_transaction *t, void *context)
{
    return quoin_queue_push(t, context, 0, "third", 5);
}

static quoin_error pop_all(struct quoin_transaction *t, void *context)
{
    static const char *const expected[] = {"first", "second", "third"};
    struct quoin_buffer item = {0};
    bool present;

    for (int i = 0; i < 3; i++) {
        EXPECT(quoin_queue_pop(t, context, &present, &item), 0);
        FATAL_UNLESS(present && item.length == (int)strlen(expected[i]) && memcmp(item.data, expected[i], (size_t)item.length) == 0);
        quoin_buffer_done(&item);
    }
    EXPECT(quoin_queue_peek(t, context, &present, &item), 0);
    FATAL_UNLESS(!present);
    return 0;
}

static quoin_error finish(struct quoin_transaction *t)
{
    struct quoin_future *future = quoin_transaction_commit(t);
    quoin_error error = quoin_future_block_until_ready(future);

    if (error == 0)
        error = quoin_future_get_error(future);
    quoin_future_destroy(future);
    return error;
}

/* Of two transactions that overlap: what both do, and how the second commit ends. */
static quoin_error second_commit(struct quoin_database *db, body *first, body *second, void *context)
{
    struct quoin_transaction *a, *b;
    quoin_error error;

    FATAL_UNLESS(quoin_transaction_create(db, &a) == 0 && quoin_transaction_create(db, &b) == 0);
    FATAL_UNLESS(second(b, context) == 0 && first(a, context) == 0);
    FATAL_UNLESS(finish(a) == 0);
    error = finish(b);
    quoin_transaction_destroy(a);
    quoin_transaction_destroy(b);
    return error;
}

static quoin_error pop_one(struct quoin_transaction *t, void *context)
{
    struct quoin_buffer item = {0};
    bool present;
    quoin_error error = quoin_queue_pop(t, context, &present, &item);

    quoin_buffer_done(&item);
    /* Also when nothing was there it must be a transaction that writes. */
    return error != 0 ? error : quoin_transaction_set(t, "popped", 6, "", 0);
}

static quoin_error clear_queue(struct quoin_transaction *t, void *context)
{
    return quoin_queue_clear(t, context);
}

static void check_queue(struct quoin_database *db)
{
    struct quoin_subspace queue;

    subspace_named(&queue, "queue");
    commit(db, push_two, &queue);
    FATAL_UNLESS(second_commit(db, push_third, push_third, &queue) == 0); /* pushes don't meet */
    FATAL_UNLESS(second_commit(db, push_third, pop_one, &queue) == 0);    /* nor push and pop */
    commit(db, push_two, &queue);
    FATAL_UNLESS(second_commit(db, pop_one, pop_one, &queue) == 1020);    /* two pops of one item do */
    commit(db, clear_queue, &queue);
    FATAL_UNLESS(second_commit(db, push_third, pop_one, &queue) == 1020); /* it was empty, and is not any more */
    commit(db, clear_queue, &queue);
    commit(db, push_two, &queue);
    commit(db, push_third, &queue);
    commit(db, pop_all, &queue);
    quoin_subspace_done(&queue);
}

/* ---- counter, multimap, blob ---- */

static quoin_error add_five(struct quoin_transaction *t, void *context)
{
    return quoin_counter_add(t, context, 5);
}

static quoin_error count_to_nine(struct quoin_transaction *t, void *context)
{
    int64_t value;

    EXPECT(quoin_counter_get(t, context, true, &value), 0);
    FATAL_UNLESS(value == 10);
    EXPECT(quoin_counter_add(t, context, -1), 0);
    EXPECT(quoin_counter_get(t, context, false, &value), 0);
    FATAL_UNLESS(value == 9);
    EXPECT(quoin_counter_set(t, context, -3), 0);
    EXPECT(quoin_counter_get(t, context, false, &value), 0);
    FATAL_UNLESS(value == -3);
    return 0;
}

static quoin_error see_value(void *context, struct quoin_slice value, int64_t count)
{
    struct quoin_unpacked *u;
    struct quoin_slice text;
    char *out = context;

    FATAL_UNLESS(quoin_tuple_unpack(value.data, value.length, &u) == 0 && quoin_unpacked_text(u, 0, &text) == 0);
    sprintf(out + strlen(out), "%.*s*%d ", text.length, (const char *)text.data, (int)count);
    quoin_unpacked_destroy(u);
    return 0;
}

static quoin_error use_multimap(struct quoin_transaction *t, void *context)
{
    struct quoin_tuple key = {0}, value = {0};
    char seen[256] = "";
    bool existed;
    int64_t count;

    one_text(&key, "k");
    EXPECT(quoin_multimap_add(t, context, &key, one_text(&value, "b")), 0);
    EXPECT(quoin_multimap_add(t, context, &key, one_text(&value, "a")), 0);
    EXPECT(quoin_multimap_add(t, context, &key, &value), 0);
    EXPECT(quoin_multimap_add(t, context, one_text(&key, "k2"), &value), 0);
    EXPECT(quoin_multimap_get(t, context, one_text(&key, "k"), see_value, seen), 0);
    FATAL_UNLESS(strcmp(seen, "a*2 b*1 ") == 0);
    for (int left = 2; left >= 0; left--) {
        EXPECT(quoin_multimap_count(t, context, &key, &value, &count), 0);
        FATAL_UNLESS(count == left);
        EXPECT(quoin_multimap_remove(t, context, &key, &value, &existed), 0);
        FATAL_UNLESS(existed == (left > 0));
    }
    EXPECT(quoin_multimap_remove_key(t, context, &key), 0);
    seen[0] = '\0';
    EXPECT(quoin_multimap_get(t, context, &key, see_value, seen), 0);
    EXPECT(quoin_multimap_get(t, context, one_text(&key, "k2"), see_value, seen), 0);
    FATAL_UNLESS(strcmp(seen, "a*1 ") == 0);
    quoin_tuple_done(&key);
    quoin_tuple_done(&value);
    return 0;
}

#define MODEL_BYTES 100000

/* Writes, cuts and reads at random, against an array. */
static quoin_error use_blob(struct quoin_transaction *t, void *context)
{
    static uint8_t model[MODEL_BYTES], data[MODEL_BYTES], out[MODEL_BYTES + 10];
    unsigned int seed = 5;
    int64_t size = 0, stored_size;
    int got;

    memset(model, 0, sizeof(model));
    for (int i = 0; i < MODEL_BYTES; i++)
        data[i] = (uint8_t)(rand_r(&seed) >> 4);
    for (int round = 0; round < 60; round++) {
        int at = rand_r(&seed) % MODEL_BYTES, length = rand_r(&seed) % (round % 2 ? 50 : 40000), to;

        if (round % 7 == 6) {
            EXPECT(quoin_blob_truncate(t, context, at), 0);
            memset(model + at, 0, (size_t)(MODEL_BYTES - at));
            size = at;
        } else {
            length = at + length > MODEL_BYTES ? MODEL_BYTES - at : length;
            EXPECT(quoin_blob_write(t, context, at, data, length), 0);
            memcpy(model + at, data, (size_t)length);
            size = at + length > size ? at + length : size;
        }
        EXPECT(quoin_blob_size(t, context, &stored_size), 0);
        FATAL_UNLESS(stored_size == size);
        to = rand_r(&seed) % MODEL_BYTES;
        EXPECT(quoin_blob_read(t, context, to, out, (int)sizeof(out), &got), 0);
        FATAL_UNLESS(got == (to < size ? (int)size - to : 0) && memcmp(out, model + to, (size_t)got) == 0);
    }
    EXPECT(quoin_blob_write(t, context, -1, data, 1), 2000);
    EXPECT(quoin_blob_append(t, context, "end", 3), 0);
    EXPECT(quoin_blob_read(t, context, size, out, 10, &got), 0);
    FATAL_UNLESS(got == 3 && memcmp(out, "end", 3) == 0);
    EXPECT(quoin_blob_remove(t, context), 0);
    EXPECT(quoin_blob_size(t, context, &stored_size), 0);
    FATAL_UNLESS(stored_size == 0);
    return 0;
}

int main(int argc, char **argv)
{
    struct quoin_subspace subspace;
    struct quoin_records records = {.subspace = &subspace, .indexes = &city_index, .index_count = 1};
    struct quoin_directory *root;
    struct quoin_database *db;

    FATAL_UNLESS(argc == 2 && quoin_open(argv[1], &db) == 0);
    FATAL_UNLESS(quoin_directory_root(NULL, NULL, false, &root) == 0);
    commit(db, directory_life, root);
    commit(db, partitions, root);
    commit(db, directory_bytes, NULL);
    quoin_directory_destroy(root);
    check_allocator(db);
    subspace_named(&subspace, "records");
    commit(db, put_records, &records);
    commit(db, query_records, &records);
    commit(db, many_records, &records);
    quoin_subspace_done(&subspace);
    check_queue(db);
    subspace_named(&subspace, "counter");
    FATAL_UNLESS(second_commit(db, add_five, add_five, &subspace) == 0);
    commit(db, count_to_nine, &subspace);
    quoin_subspace_done(&subspace);
    subspace_named(&subspace, "multimap");
    commit(db, use_multimap, &subspace);
    quoin_subspace_done(&subspace);
    subspace_named(&subspace, "blob");
    commit(db, use_blob, &subspace);
    quoin_subspace_done(&subspace);
    quoin_database_destroy(db);
    printf("all layers hold\n");
    return 0;
}
