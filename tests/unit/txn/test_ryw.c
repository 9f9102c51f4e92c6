/* The write map against a naive model: an array over a small key space. */
#include <criterion/criterion.h>

#include "net/error.h"
#include "tests/unit/draw.h"
#include "tests/unit/nth.h"
#include "txn/client/ryw.h"

enum { KEYS = 40, STEPS = 60000 };

/* What the model knows of a key: its state, and what the database would give it. */
struct model {
    enum ryw_kind kind;
    uint8_t value[8];
    size_t len;
    uint64_t added; /* of RYW_OPS: the sum */
};

static struct bytes key_of(unsigned number, uint8_t out[2])
{
    out[0] = 'k';
    out[1] = (uint8_t)(number * 3 + 1);
    return bytes_of(out, 2);
}

static struct model models[KEYS];

static void add_to_model(struct model *model, uint64_t addend)
{
    if (model->kind == RYW_UNKNOWN || model->kind == RYW_OPS) {
        model->added = (model->kind == RYW_OPS ? model->added : 0) + addend;
        model->kind = RYW_OPS;
    } else if (model->kind == RYW_SET) {
        uint8_t padded[8] = {0};

        memcpy(padded, model->value, model->len);
        put_le64(model->value, get_le64(padded) + addend);
        model->len = 8;
    } else if (model->kind == RYW_CLEARED) {
        put_le64(model->value, addend);
        model->len = 8;
        model->kind = RYW_SET;
    }
}

static void step(struct ryw *ryw, uint64_t *seed)
{
    uint8_t a[2], b[2], value[8];
    unsigned i = (unsigned)(draw(seed) % KEYS), k = i + (unsigned)(draw(seed) % (KEYS - i));
    uint64_t number = draw(seed);

    put_le64(value, number);
    switch (draw(seed) % 6) {
    case 0:
    case 1:
        cr_assert_eq(ryw_set(ryw, key_of(i, a), bytes_of(value, number % 9)), 0);
        if (models[i].kind == RYW_UNREADABLE)
            break;
        models[i] = (struct model){.kind = RYW_SET, .len = number % 9};
        memcpy(models[i].value, value, models[i].len);
        break;
    case 2:
        cr_assert_eq(ryw_clear(ryw, key_of(i, a)), 0);
        models[i] = (struct model){.kind = RYW_CLEARED};
        break;
    case 3:
        cr_assert_eq(ryw_clear_range(ryw, key_of(i, a), key_of(k, b)), 0);
        for (; i < k; i++)
            models[i] = (struct model){.kind = RYW_CLEARED};
        break;
    case 4:
        cr_assert_eq(ryw_atomic(ryw, MUTATION_ADD, key_of(i, a), bytes_of(value, 8)), 0);
        add_to_model(&models[i], number);
        break;
    default:
        if (draw(seed) % 8 == 0) {
            cr_assert_eq(ryw_unreadable(ryw, key_of(i, a)), 0);
            models[i] = (struct model){.kind = RYW_UNREADABLE};
        }
    }
}

static void check_value(const struct model *model, const struct ryw_value *value)
{
    struct arena arena = {0};
    struct bytes result;
    uint8_t ten[8];
    bool exists;

    cr_assert_eq(value->kind, model->kind);
    if (model->kind == RYW_SET)
        cr_assert(bytes_equal(value->value, bytes_of(model->value, model->len)));
    if (model->kind == RYW_OPS) {
        put_le64(ten, 10);
        cr_assert_eq(ryw_apply(&arena, value->ops, true, bytes_of(ten, 8), &exists, &result), 0);
        cr_assert(exists && result.len == 8 && get_le64(result.ptr) == model->added + 10);
    }
    arena_done(&arena);
}

static void check_points(const struct ryw *ryw)
{
    struct ryw_value value;
    uint8_t key[2];

    for (unsigned i = 0; i < KEYS; i++) {
        ryw_get(ryw, key_of(i, key), &value);
        check_value(&models[i], &value);
    }
}

/* Marks each key that a segment covers; segments must be ordered and apart. */
static void check_range(const struct ryw *ryw, unsigned from, unsigned to, bool reverse)
{
    bool seen[KEYS] = {false};
    struct ryw_cursor cursor;
    struct ryw_segment segment;
    uint8_t a[2], b[2], k[2];
    int last = reverse ? KEYS : -1;

    ryw_cursor_init(&cursor, ryw, key_of(from, a), key_of(to, b), reverse);
    while (ryw_cursor_next(&cursor, &segment))
        for (unsigned n = 0; n < KEYS; n++) {
            unsigned i = reverse ? KEYS - 1 - n : n;
            struct bytes key = key_of(i, k);
            int begin = bytes_compare(segment.begin, key);
            bool in = segment.is_point ? begin == 0 : (begin < 0 || (begin == 0 && !segment.begin_open)) &&
                                                          bytes_compare(key, segment.end) < 0;

            if (!in)
                continue;
            cr_assert(!seen[i] && i >= from && i < to);
            cr_assert(reverse ? (int)i < last : (int)i > last);
            last = (int)i;
            seen[i] = true;
            check_value(&models[i], &segment.value);
        }
    for (unsigned i = from; i < to; i++)
        cr_assert_eq(seen[i], models[i].kind != RYW_UNKNOWN, "key %u of [%u, %u)", i, from, to);
}

Test(ryw, agrees_with_a_naive_model)
{
    uint64_t seed = 20240607;
    struct ryw ryw;

    ryw_init(&ryw);
    for (unsigned n = 0; n < STEPS; n++) {
        step(&ryw, &seed);
        if (n % 16 == 0) {
            unsigned from = (unsigned)(draw(&seed) % KEYS), to = from + (unsigned)(draw(&seed) % (KEYS - from));

            check_points(&ryw);
            check_range(&ryw, from, to, draw(&seed) % 2 == 0);
        }
        if (n % 500 == 499) {
            ryw_reset(&ryw);
            memset(models, 0, sizeof(models));
        }
    }
    ryw_done(&ryw);
}

Test(ryw, a_cleared_range_hides_the_keys_between)
{
    struct ryw_value value;
    struct ryw ryw;

    ryw_init(&ryw);
    cr_assert_eq(ryw_clear_range(&ryw, BYTES_LITERAL("b"), BYTES_LITERAL("d")), 0);
    cr_assert_eq(ryw_set(&ryw, BYTES_LITERAL("c"), BYTES_LITERAL("1")), 0);
    ryw_get(&ryw, BYTES_LITERAL("bb"), &value);
    cr_assert_eq(value.kind, RYW_CLEARED);
    ryw_get(&ryw, BYTES_LITERAL("cc"), &value);
    cr_assert_eq(value.kind, RYW_CLEARED);
    ryw_get(&ryw, BYTES_LITERAL("d"), &value);
    cr_assert_eq(value.kind, RYW_UNKNOWN);
    ryw_get(&ryw, BYTES_LITERAL("a"), &value);
    cr_assert_eq(value.kind, RYW_UNKNOWN);
    ryw_done(&ryw);
}

Test(ryw, a_long_chain_of_operations_is_applied_from_the_oldest)
{
    struct ryw_value value;
    struct arena arena = {0};
    struct bytes result;
    struct ryw ryw;
    bool exists;

    ryw_init(&ryw);
    for (int i = 0; i < 300; i++) {
        char c = (char)('a' + i % 26);

        cr_assert_eq(ryw_atomic(&ryw, MUTATION_APPEND_IF_FITS, BYTES_LITERAL("k"), bytes_of(&c, 1)), 0);
    }
    ryw_get(&ryw, BYTES_LITERAL("k"), &value);
    cr_assert_eq(ryw_apply(&arena, value.ops, true, BYTES_LITERAL("-"), &exists, &result), 0);
    cr_assert(exists && result.len == 301 && result.ptr[0] == '-');
    for (int i = 0; i < 300; i++)
        cr_assert_eq(result.ptr[1 + i], 'a' + i % 26);
    arena_done(&arena);
    ryw_done(&ryw);
}

static int write_all_kinds(struct ryw *ryw)
{
    uint8_t one[8] = {1};
    int error = ryw_set(ryw, BYTES_LITERAL("b"), BYTES_LITERAL("value"));

    if (error == 0)
        error = ryw_clear_range(ryw, BYTES_LITERAL("c"), BYTES_LITERAL("f"));
    for (int i = 0; i < 40 && error == 0; i++)
        error = ryw_atomic(ryw, MUTATION_ADD, bytes_of(&(uint8_t){(uint8_t)(100 + i)}, 1), bytes_of(one, sizeof(one)));
    if (error == 0)
        error = ryw_unreadable(ryw, BYTES_LITERAL("h"));
    return error == 0 ? ryw_unreadable_range(ryw, BYTES_LITERAL("i"), BYTES_LITERAL("k")) : error;
}

Test(ryw, a_failed_allocation_is_an_error_and_what_was_written_before_stays)
{
    FAIL_EACH(nth, nth_allocation) {
        struct ryw_value value;
        struct ryw ryw;
        int error;

        ryw_init(&ryw);
        cr_assert_eq(ryw_set(&ryw, BYTES_LITERAL("a"), BYTES_LITERAL("kept")), 0);
        nth_begin(&nth, NULL);
        error = write_all_kinds(&ryw);
        cr_assert_eq(error, nth_end(&nth) ? ERROR_OUT_OF_MEMORY : 0);
        ryw_get(&ryw, BYTES_LITERAL("a"), &value);
        cr_assert(value.kind == RYW_SET && bytes_equal(value.value, BYTES_LITERAL("kept")));
        ryw_done(&ryw);
    }
}
