/* The conflict set against a model that knows the newest write of every key there can be.
 *
 * All keys of the random steps come from one small universe, in order. A range is the keys of the universe in it: two ranges
 * meet if and only if they share one, since the larger of their begins is in both. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "net/error.h"
#include "net/mem.h"
#include "tests/unit/draw.h"
#include "tests/unit/nth.h"
#include "txn/conflict_range.h"
#include "txn/conflict_set.h"

#define L BYTES_LITERAL

enum { UNIVERSE = 121, KEY_LEN_MAX = 4, RANGES_MAX = 6, BATCH_MAX = 12 };

struct universe {
    uint8_t text[UNIVERSE][KEY_LEN_MAX];
    struct bytes keys[UNIVERSE];
};

/* All strings over {0, 'a', 'b'} of up to 4 bytes, in order: depth first. */
static void enumerate(struct universe *universe, int *count, const uint8_t *prefix, size_t len)
{
    uint8_t extended[KEY_LEN_MAX];
    int at = (*count)++;

    memcpy(universe->text[at], prefix, len);
    universe->keys[at] = bytes_of(universe->text[at], len);
    if (len == KEY_LEN_MAX)
        return;
    memcpy(extended, prefix, len);
    for (int i = 0; i < 3; i++) {
        extended[len] = (uint8_t)"\0ab"[i];
        enumerate(universe, count, extended, len + 1);
    }
}

struct range {
    int begin, end; /* indexes into the universe; begin + 1 == end may be a point or not */
    bool is_point;
};

struct model {
    struct universe universe;
    version_t written[UNIVERSE];
    version_t oldest, newest;
    uint64_t random;
    unsigned points_of_8; /* how many of 8 ranges are points */
};

static void model_init(struct model *model, uint64_t seed, unsigned points_of_8)
{
    int count = 0;

    memset(model, 0, sizeof(*model));
    enumerate(&model->universe, &count, (const uint8_t *)"", 0);
    cr_assert_eq(count, UNIVERSE);
    for (int i = 1; i < UNIVERSE; i++)
        cr_assert_lt(bytes_compare(model->universe.keys[i - 1], model->universe.keys[i]), 0);
    model->random = seed;
    model->points_of_8 = points_of_8;
}

static struct range draw_range(struct model *model)
{
    int begin = (int)draw_below(&model->random, UNIVERSE);

    if (draw_below(&model->random, 8) < model->points_of_8)
        return (struct range){begin, begin + 1, true};
    return (struct range){begin, begin + (int)draw_below(&model->random, (uint64_t)(UNIVERSE - begin)), false};
}

/* Ranges that the writer's own functions would turn into points are written as they are, too. */
static void append_range(struct bytes_buffer *buffer, const struct universe *universe, struct range range)
{
    uint8_t header[CONFLICT_RANGE_HEADER_BYTES];

    if (range.is_point) {
        cr_assert_eq(conflict_range_append_point(buffer, universe->keys[range.begin]), 0);
        return;
    }
    put_le32(header, (uint32_t)universe->keys[range.begin].len);
    put_le32(header + 4, (uint32_t)universe->keys[range.end].len);
    bytes_buffer_append(buffer, bytes_of(header, sizeof(header)));
    bytes_buffer_append(buffer, universe->keys[range.begin]);
    bytes_buffer_append(buffer, universe->keys[range.end]);
}

static bool model_conflicts(const struct model *model, struct range range, version_t read_version)
{
    for (int i = range.begin; i < range.end; i++)
        if (model->written[i] > read_version)
            return true;
    return false;
}

struct drawn {
    struct range reads[RANGES_MAX], writes[RANGES_MAX];
    size_t read_count, write_count;
    struct bytes_buffer read_table, write_table;
};

static void draw_transaction(struct model *model, struct drawn *drawn, struct conflict_transaction *ret)
{
    version_t span = draw_below(&model->random, 4) == 0 ? 3000000 : 100000;

    *drawn = (struct drawn){0};
    drawn->read_count = draw_below(&model->random, RANGES_MAX + 1);
    drawn->write_count = draw_below(&model->random, 4);
    for (size_t i = 0; i < drawn->read_count; i++)
        append_range(&drawn->read_table, &model->universe, drawn->reads[i] = draw_range(model));
    for (size_t i = 0; i < drawn->write_count; i++)
        append_range(&drawn->write_table, &model->universe, drawn->writes[i] = draw_range(model));
    *ret = (struct conflict_transaction){
        .read_version = model->newest - (version_t)draw_below(&model->random, (uint64_t)span),
        .read_ranges = bytes_buffer_bytes(&drawn->read_table),
        .write_ranges = bytes_buffer_bytes(&drawn->write_table),
        .report = draw_below(&model->random, 2) == 0,
    };
}

/* The write that a report names is the newest that the read met, and some key of the read is in it. */
static void check_write(const struct model *model, struct range read, const struct conflict_write *write)
{
    version_t newest = 0;
    bool meets = false;

    for (int i = read.begin; i < read.end; i++)
        newest = model->written[i] > newest ? model->written[i] : newest;
    cr_assert_eq(write->version, newest);
    for (int i = read.begin; i < read.end; i++) {
        struct bytes key = model->universe.keys[i];
        bool within = write->is_point ? bytes_equal(key, write->begin)
                                      : bytes_compare(key, write->begin) >= 0 && bytes_compare(key, write->end) < 0;

        meets |= within && model->written[i] == newest;
    }
    cr_assert(meets);
}

/* What the answer must be; enters the writes into the model if it commits. */
static void check_transaction(struct model *model, const struct drawn *drawn, const struct conflict_transaction *answer,
                              version_t version)
{
    uint32_t conflicts = 0;

    if (drawn->read_count > 0 && answer->read_version < model->oldest) {
        cr_assert_eq(answer->verdict, CONFLICT_TOO_OLD);
        return;
    }
    for (size_t i = 0; i < drawn->read_count; i++) {
        if (!model_conflicts(model, drawn->reads[i], answer->read_version))
            continue;
        if (answer->report) {
            cr_assert(conflicts < answer->conflicting_count && answer->conflicting_reads[conflicts] == i);
            check_write(model, drawn->reads[i], &answer->conflicting_writes[conflicts]);
        }
        conflicts++;
    }
    cr_assert_eq(answer->verdict, conflicts == 0 ? CONFLICT_COMMITTED : CONFLICT_CONFLICT);
    cr_assert_eq(answer->conflicting_count, answer->report ? conflicts : 0);
    if (conflicts > 0)
        return;
    for (size_t i = 0; i < drawn->write_count; i++)
        for (int key = drawn->writes[i].begin; key < drawn->writes[i].end; key++)
            model->written[key] = version;
}

static void run_batch(struct model *model, struct conflict_set *set)
{
    struct conflict_transaction transactions[BATCH_MAX];
    struct drawn drawn[BATCH_MAX];
    size_t count = draw_below(&model->random, BATCH_MAX + 1);
    version_t version = model->newest + 1 + (version_t)draw_below(&model->random, 60000);
    struct arena arena = {0};

    for (size_t i = 0; i < count; i++)
        draw_transaction(model, &drawn[i], &transactions[i]);
    cr_assert_eq(conflict_set_resolve(set, version, transactions, count, &arena), 0);
    model->newest = version;
    cr_assert_eq(conflict_set_newest(set), version);
    for (size_t i = 0; i < count; i++) {
        check_transaction(model, &drawn[i], &transactions[i], version);
        bytes_buffer_done(&drawn[i].read_table);
        bytes_buffer_done(&drawn[i].write_table);
    }
    arena_done(&arena);
    if (draw_below(&model->random, 4) == 0) {
        version_t oldest = version - (version_t)draw_below(&model->random, 3000000);

        conflict_set_set_oldest(set, oldest);
        model->oldest = oldest > model->oldest ? oldest : model->oldest;
        cr_assert_eq(conflict_set_oldest(set), model->oldest);
    }
}

static void run_batches(uint64_t seed, unsigned points_of_8, int batches)
{
    struct model *model = malloc(sizeof(*model));
    struct conflict_set *set;

    model_init(model, seed, points_of_8);
    cr_assert_eq(conflict_set_create(0, seed, &set), 0);
    for (int i = 0; i < batches; i++)
        run_batch(model, set);
    conflict_set_destroy(set);
    free(model);
}

/* 6 transactions a batch on average: a million in the four of them. */
Test(conflict_set, agrees_with_the_model_on_points_and_ranges)
{
    run_batches(1, 4, 43000);
}

Test(conflict_set, agrees_with_the_model_on_points_alone)
{
    run_batches(2, 8, 43000);
}

Test(conflict_set, agrees_with_the_model_on_mostly_points)
{
    run_batches(3, 7, 43000);
}

Test(conflict_set, agrees_with_the_model_on_ranges_alone)
{
    run_batches(4, 0, 43000);
}

static enum conflict_verdict resolve_one(struct conflict_set *set, version_t version, version_t read_version,
                                         struct bytes read, struct bytes read_end, struct bytes write)
{
    struct bytes_buffer reads = {0}, writes = {0};
    struct conflict_transaction transaction = {.read_version = read_version};

    if (read_end.len > 0)
        conflict_range_append(&reads, read, read_end);
    else if (read.ptr != NULL)
        conflict_range_append_point(&reads, read);
    if (write.ptr != NULL)
        conflict_range_append_point(&writes, write);
    transaction.read_ranges = bytes_buffer_bytes(&reads);
    transaction.write_ranges = bytes_buffer_bytes(&writes);
    cr_assert_eq(conflict_set_resolve(set, version, &transaction, 1, NULL), 0);
    bytes_buffer_done(&reads);
    bytes_buffer_done(&writes);
    return transaction.verdict;
}

Test(conflict_set, a_read_version_equal_to_the_write_does_not_conflict)
{
    struct conflict_set *set;

    conflict_set_create(0, 1, &set);
    cr_assert_eq(resolve_one(set, 10, 0, bytes_none(), bytes_none(), L("k")), CONFLICT_COMMITTED);
    cr_assert_eq(resolve_one(set, 11, 10, L("k"), bytes_none(), bytes_none()), CONFLICT_COMMITTED);
    cr_assert_eq(resolve_one(set, 12, 9, L("k"), bytes_none(), bytes_none()), CONFLICT_CONFLICT);
    cr_assert_eq(resolve_one(set, 13, 9, L("j"), L("k"), bytes_none()), CONFLICT_COMMITTED);
    cr_assert_eq(resolve_one(set, 14, 9, L("j"), L("l"), bytes_none()), CONFLICT_CONFLICT);
    conflict_set_destroy(set);
}

Test(conflict_set, a_write_without_reads_is_never_too_old)
{
    struct conflict_set *set;

    conflict_set_create(100, 1, &set);
    cr_assert_eq(resolve_one(set, 110, 0, bytes_none(), bytes_none(), L("k")), CONFLICT_COMMITTED);
    cr_assert_eq(resolve_one(set, 111, 99, L("x"), bytes_none(), L("k")), CONFLICT_TOO_OLD);
    cr_assert_eq(resolve_one(set, 112, 100, L("x"), bytes_none(), L("k")), CONFLICT_COMMITTED);
    conflict_set_destroy(set);
}

static struct bytes number_key(uint32_t number, uint8_t *out)
{
    put_le32(out, number * 2654435761u);
    put_le32(out + 4, number);
    return bytes_of(out, 8);
}

/* Enough keys that some share 32 bits of hash: every other key must stay apart. */
Test(conflict_set, equal_hashes_are_told_apart)
{
    struct bytes_buffer table = {0};
    struct conflict_transaction transaction = {0};
    struct conflict_set *set;
    uint8_t key[8];

    conflict_set_create(0, 1, &set);
    for (uint32_t i = 0; i < 200000; i++)
        conflict_range_append_point(&table, number_key(i, key));
    transaction.write_ranges = bytes_buffer_bytes(&table);
    cr_assert_eq(conflict_set_resolve(set, 10, &transaction, 1, NULL), 0);
    table.len = 0;
    for (uint32_t i = 200000; i < 400000; i++)
        conflict_range_append_point(&table, number_key(i, key));
    transaction.read_ranges = bytes_buffer_bytes(&table);
    transaction.write_ranges = bytes_none();
    cr_assert_eq(conflict_set_resolve(set, 11, &transaction, 1, NULL), 0);
    cr_assert_eq(transaction.verdict, CONFLICT_COMMITTED);
    for (uint32_t i = 0; i < 1000; i++)
        cr_assert_eq(resolve_one(set, 12 + i, 9, number_key(i * 199, key), bytes_none(), bytes_none()), CONFLICT_CONFLICT);
    bytes_buffer_done(&table);
    conflict_set_destroy(set);
}

Test(conflict_set, memory_goes_with_the_window)
{
    struct conflict_set *set;
    size_t empty, most = 0;
    uint8_t key[8];

    conflict_set_create(0, 1, &set);
    resolve_one(set, 1, 1, bytes_none(), bytes_none(), bytes_none());
    empty = conflict_set_bytes(set);
    for (uint32_t i = 1; i <= 100000; i++) {
        resolve_one(set, 1000 * (version_t)i, 0, bytes_none(), bytes_none(), number_key(i, key));
        conflict_set_set_oldest(set, 1000 * (version_t)i - MAX_WRITE_TRANSACTION_LIFE_VERSIONS);
        most = conflict_set_bytes(set) > most ? conflict_set_bytes(set) : most;
    }
    cr_assert_lt(most, 5500 * 100 + 4 * (1 << 16) + empty, "%zu bytes for 5,500 keys", most);
    conflict_set_set_oldest(set, 1000 * 100000);
    cr_assert_leq(conflict_set_bytes(set), empty + 16384);
    conflict_set_destroy(set);
}

Test(conflict_set, a_malformed_or_inverted_range_fails_the_batch_and_enters_nothing)
{
    uint8_t inverted[] = {1, 0, 0, 0, 1, 0, 0, 0, 'b', 'a'};
    struct bytes_buffer writes = {0};
    struct conflict_transaction transactions[2] = {0};
    struct conflict_set *set;

    conflict_set_create(0, 1, &set);
    conflict_range_append_point(&writes, L("k"));
    transactions[0].write_ranges = bytes_buffer_bytes(&writes);
    for (size_t len = 1; len <= sizeof(inverted); len++) {
        transactions[1].read_ranges = bytes_of(inverted, len);
        cr_assert_eq(conflict_set_resolve(set, 10, transactions, 2, NULL), ERROR_SERIALIZATION_FAILED);
    }
    cr_assert_eq(resolve_one(set, 11, 0, L("k"), bytes_none(), bytes_none()), CONFLICT_COMMITTED);
    bytes_buffer_done(&writes);
    conflict_set_destroy(set);
}

struct script {
    struct bytes_buffer points, range, everything;
};

/* 40 batches over several generations that write points and ranges and read everything. Returns the first error. */
static int run_script(const struct script *script, struct arena *arena, struct conflict_set **ret_set)
{
    int error = conflict_set_create(0, 1, ret_set);

    for (version_t version = 1; version <= 40 && error == 0; version++) {
        struct conflict_transaction transactions[3] = {
            {.write_ranges = bytes_buffer_bytes(version % 2 == 0 ? &script->points : &script->range)},
            {.read_version = version * 50000 - 1, .read_ranges = bytes_buffer_bytes(&script->everything), .report = true},
            {.read_version = version * 50000, .read_ranges = bytes_buffer_bytes(&script->everything)},
        };

        error = conflict_set_resolve(*ret_set, version * 50000, transactions, 3, arena);
        conflict_set_set_oldest(*ret_set, version * 50000 - 700000);
    }
    return error;
}

Test(conflict_set, every_failed_allocation_is_an_error_that_stays)
{
    struct script script = {{0}, {0}, {0}};
    uint8_t key[8];

    for (uint32_t i = 0; i < 600; i++)
        conflict_range_append_point(&script.points, number_key(i, key));
    conflict_range_append(&script.range, L("a"), L("b"));
    conflict_range_append(&script.everything, bytes_none(), L("\xff\xff"));
    FAIL_EACH(nth, nth_allocation) {
        struct conflict_set *set = NULL;
        struct arena arena = {0};
        int error;

        nth_begin(&nth, NULL);
        error = run_script(&script, &arena, &set);
        cr_assert(nth_end(&nth) ? error == 0 || error == ERROR_OUT_OF_MEMORY : error == 0);
        conflict_set_destroy(set);
        arena_done(&arena);
    }
    bytes_buffer_done(&script.points);
    bytes_buffer_done(&script.range);
    bytes_buffer_done(&script.everything);
}
