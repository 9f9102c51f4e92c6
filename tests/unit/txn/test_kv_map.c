/* The ordered map against an array of all possible keys. */
#include <criterion/criterion.h>

#include "net/error.h"
#include "net/mem.h"
#include "tests/unit/draw.h"
#include "tests/unit/nth.h"
#include "txn/kv_map.h"
#include "txn/mutation.h"

enum { KEYS = 300, STEPS = 1000000, VALUE_MAX = 24 };

/* Key i of the model: two digits of base 20 and, for every third key, a tail; in key order. */
static struct bytes model_key(unsigned i, uint8_t out[4])
{
    out[0] = (uint8_t)(i / 60);
    out[1] = (uint8_t)(i % 60 / 3);
    out[2] = (uint8_t)(i % 3);
    return bytes_of(out, i % 3 == 0 ? 2 : 3);
}

struct model {
    bool present[KEYS];
    uint8_t value[KEYS][VALUE_MAX];
    size_t len[KEYS];
};

static void check_seek(const struct kv_map *map, const struct model *model, unsigned from)
{
    uint8_t space[4], found_space[4];
    struct bytes key, value;
    unsigned after = from, before = from;

    while (after < KEYS && !model->present[after])
        after++;
    cr_assert_eq(kv_map_at_or_after(map, model_key(from, space), &key, &value), after < KEYS);
    if (after < KEYS) {
        cr_assert(bytes_equal(key, model_key(after, found_space)));
        cr_assert(bytes_equal(value, bytes_of(model->value[after], model->len[after])));
    }
    while (before > 0 && !model->present[before - 1])
        before--;
    cr_assert_eq(kv_map_before(map, model_key(from, space), &key, &value), before > 0);
    if (before > 0)
        cr_assert(bytes_equal(key, model_key(before - 1, found_space)));
}

struct walked {
    const struct model *model;
    unsigned next; /* of the model, not walked over yet */
};

static void walk_one(void *ctx, struct bytes key, struct bytes value)
{
    struct walked *walked = ctx;
    uint8_t space[4];

    while (walked->next < KEYS && !walked->model->present[walked->next])
        walked->next++;
    cr_assert(walked->next < KEYS && bytes_equal(key, model_key(walked->next, space)));
    cr_assert(bytes_equal(value, bytes_of(walked->model->value[walked->next], walked->model->len[walked->next])));
    walked->next++;
}

static void check_walk(const struct kv_map *map, const struct model *model, unsigned from, unsigned to)
{
    struct walked walked = {model, from};
    uint8_t space[4], end_space[4];

    kv_map_walk(map, model_key(from, space), model_key(to, end_space), walk_one, &walked);
    while (walked.next < to)
        cr_assert(!model->present[walked.next++]);
    cr_assert(walked.next <= to || from > to);
}

static void model_step(struct kv_map *map, struct model *model, uint64_t *random)
{
    unsigned i = (unsigned)draw_below(random, KEYS), j;
    uint8_t space[4], end_space[4];
    struct bytes value;

    switch (draw_below(random, 16)) {
    case 0:
        j = i + (unsigned)draw_below(random, 20);
        j = j < KEYS ? j : KEYS - 1;
        kv_map_clear_range(map, model_key(i, space), model_key(j, end_space));
        for (; i < j; i++)
            model->present[i] = false;
        break;
    case 1:
    case 2:
    case 3:
        check_seek(map, model, i);
        break;
    case 4:
        check_walk(map, model, i, (unsigned)draw_below(random, KEYS));
        break;
    case 5:
    case 6:
        cr_assert_eq(kv_map_get(map, model_key(i, space), &value), model->present[i]);
        if (model->present[i])
            cr_assert(bytes_equal(value, bytes_of(model->value[i], model->len[i])));
        break;
    default:
        model->present[i] = true;
        model->len[i] = draw_below(random, VALUE_MAX);
        value = draw_bytes(random, model->value[i], model->len[i]);
        cr_assert_eq(kv_map_set(map, model_key(i, space), value), 0);
    }
}

static size_t model_count(const struct model *model)
{
    size_t count = 0;

    for (unsigned i = 0; i < KEYS; i++)
        count += model->present[i];
    return count;
}

Test(kv_map, answers_as_the_model_does_a_million_times)
{
    struct kv_map *map = kv_map_create();
    struct model *model = mem_zalloc(sizeof(*model));
    uint64_t random = 7;

    for (unsigned step = 0; step < STEPS; step++) {
        model_step(map, model, &random);
        if (step % 1024 == 0)
            cr_assert_eq(kv_map_count(map), model_count(model));
    }
    kv_map_clear_range(map, bytes_none(), BYTES_LITERAL("\xff"));
    cr_assert_eq(kv_map_count(map), 0);
    cr_assert_lt(kv_map_bytes(map), 100);
    kv_map_destroy(map);
    mem_free(model);
}

Test(kv_map, keeps_many_ascending_keys_shallow_and_in_order)
{
    struct kv_map *map = kv_map_create();
    uint8_t space[8];
    struct bytes key, value, from = bytes_none();

    for (uint64_t i = 0; i < 100000; i++) {
        put_be64(space, i);
        cr_assert_eq(kv_map_set(map, bytes_of(space, 8), bytes_none()), 0);
    }
    for (uint64_t i = 0; i < 100000; i += 1000) {
        put_be64(space, i);
        cr_assert(kv_map_at_or_after(map, bytes_of(space, 8), &key, &value));
        cr_assert_eq(get_be64(key.ptr), i);
    }
    cr_assert(kv_map_at_or_after(map, from, &key, &value));
    cr_assert_eq(get_be64(key.ptr), 0);
    kv_map_destroy(map);
}

static void append(struct bytes_buffer *table, enum mutation_type type, const char *a, const char *b)
{
    cr_assert_eq(mutation_append(table, type, bytes_of_string(a), bytes_of_string(b)), 0);
}

Test(kv_map, applies_a_mutation_table)
{
    struct kv_map *map = kv_map_create();
    struct bytes_buffer table = {0};
    struct bytes value;

    append(&table, MUTATION_SET, "a", "1");
    append(&table, MUTATION_SET, "b", "2");
    append(&table, MUTATION_SET, "c", "3");
    append(&table, MUTATION_PRIVATE_ASSIGN, "c", "private");
    append(&table, MUTATION_CLEAR_RANGE, "b", "c");
    append(&table, MUTATION_ADD, "c", "\x01");
    append(&table, MUTATION_COMPARE_AND_CLEAR, "a", "1");
    append(&table, MUTATION_CLEAR_RANGE, "z", "a"); /* inverted: nothing */
    cr_assert_eq(kv_map_apply(map, bytes_buffer_bytes(&table)), 0);
    cr_assert_eq(kv_map_count(map), 1);
    cr_assert(kv_map_get(map, BYTES_LITERAL("c"), &value));
    cr_assert(bytes_equal(value, BYTES_LITERAL("4")));
    bytes_buffer_done(&table);
    kv_map_destroy(map);
}

Test(kv_map, refuses_a_malformed_table_after_what_came_before)
{
    struct kv_map *map = kv_map_create();
    struct bytes_buffer table = {0};

    append(&table, MUTATION_SET, "a", "1");
    append(&table, MUTATION_SET_VERSIONSTAMPED_KEY, "b", "unpatched");
    cr_assert_eq(kv_map_apply(map, bytes_buffer_bytes(&table)), ERROR_SERIALIZATION_FAILED);
    cr_assert_eq(kv_map_apply(map, bytes_of(table.ptr, 5)), ERROR_SERIALIZATION_FAILED);
    cr_assert_eq(kv_map_count(map), 1);
    bytes_buffer_done(&table);
    kv_map_destroy(map);
}

Test(kv_map, a_dump_makes_an_equal_map)
{
    struct kv_map *map = kv_map_create(), *copy = kv_map_create();
    struct bytes_buffer dump = {0}, again = {0};
    uint64_t random = 3;
    uint8_t key[6], value[9];

    for (int i = 0; i < 500; i++)
        kv_map_set(map, draw_bytes(&random, key, i % 7), draw_bytes(&random, value, i % 10));
    cr_assert_eq(kv_map_dump(map, &dump), 0);
    cr_assert_eq(kv_map_apply(copy, bytes_buffer_bytes(&dump)), 0);
    cr_assert_eq(kv_map_dump(copy, &again), 0);
    cr_assert(bytes_equal(bytes_buffer_bytes(&dump), bytes_buffer_bytes(&again)));
    cr_assert_eq(kv_map_count(copy), kv_map_count(map));
    cr_assert_eq(kv_map_bytes(copy), kv_map_bytes(map));
    bytes_buffer_done(&dump);
    bytes_buffer_done(&again);
    kv_map_destroy(map);
    kv_map_destroy(copy);
}

Test(kv_map, a_failed_allocation_changes_nothing)
{
    FAIL_EACH(nth, nth_allocation) {
        struct kv_map *map;
        struct bytes value;
        int error = 0;

        nth_begin(&nth, NULL);
        map = kv_map_create();
        if (map != NULL)
            error = kv_map_set(map, BYTES_LITERAL("k"), BYTES_LITERAL("one"));
        if (map != NULL && error == 0)
            error = kv_map_set(map, BYTES_LITERAL("k"), BYTES_LITERAL("longer"));
        nth_end(&nth);
        if (map != NULL && nth.n > 2)
            cr_assert(kv_map_get(map, BYTES_LITERAL("k"), &value) && value.len == (error == 0 ? 6 : 3));
        kv_map_destroy(map);
        cr_assert(nth.fired ? map == NULL || error == ERROR_OUT_OF_MEMORY : error == 0);
    }
}
