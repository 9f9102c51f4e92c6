/* Every row of the table of atomic operations, as vectors: type, existing value, parameter, result. */
#include <criterion/criterion.h>

#include "net/error.h"
#include "net/mem.h"
#include "tests/unit/nth.h"
#include "txn/mutation.h"

#define V(s) {(const uint8_t *)(s), sizeof(s) - 1}
#define NONE {NULL, SIZE_MAX}

struct vector {
    enum mutation_type type;
    struct bytes existing, param, result; /* len SIZE_MAX: the key is absent */
};

static const struct vector vectors[] = {
    {MUTATION_ADD, V("\x01\x00"), V("\x02\x00"), V("\x03\x00")},
    {MUTATION_ADD, V("\xff\xff"), V("\x01\x00"), V("\x00\x00")},
    {MUTATION_ADD, V("\xff"), V("\x01\x00"), V("\x00\x01")},
    {MUTATION_ADD, V("\xff\x01\x09"), V("\x01\x00"), V("\x00\x02")},
    {MUTATION_ADD, NONE, V("\x05\x00"), V("\x05\x00")},
    {MUTATION_ADD, V(""), V("\x05"), V("\x05")},
    {MUTATION_ADD, V("\x05"), V(""), V("")},
    {MUTATION_AND, V("\x0f\xff"), V("\x3c\x0f"), V("\x0c\x0f")},
    {MUTATION_AND, NONE, V("\xff\xff"), V("\x00\x00")},
    {MUTATION_AND, V("\xff"), V("\xff\xff"), V("\xff\x00")},
    {MUTATION_AND, V("\xff\xff\xff"), V("\xf0"), V("\xf0")},
    {MUTATION_AND_V2, NONE, V("\x3c"), V("\x3c")},
    {MUTATION_AND_V2, V(""), V("\x3c\x01"), V("\x00\x00")},
    {MUTATION_AND_V2, V("\x0f"), V("\x3c"), V("\x0c")},
    {MUTATION_OR, V("\x0f"), V("\xf0\x01"), V("\xff\x01")},
    {MUTATION_OR, NONE, V("\xf0"), V("\xf0")},
    {MUTATION_OR, V(""), V("\xf0"), V("\xf0")},
    {MUTATION_OR, V("\x0f"), V(""), V("")},
    {MUTATION_OR, V("\x0f\x0f"), V("\xf0"), V("\xff")},
    {MUTATION_XOR, V("\xff"), V("\x0f\x01"), V("\xf0\x01")},
    {MUTATION_XOR, NONE, V("\xf0"), V("\xf0")},
    {MUTATION_XOR, V("\x01"), V(""), V("")},
    {MUTATION_APPEND_IF_FITS, V("ab"), V("cd"), V("abcd")},
    {MUTATION_APPEND_IF_FITS, NONE, V("cd"), V("cd")},
    {MUTATION_APPEND_IF_FITS, V(""), V("cd"), V("cd")},
    {MUTATION_APPEND_IF_FITS, V("ab"), V(""), V("ab")},
    {MUTATION_MAX, V("\x02\x01"), V("\x01\x02"), V("\x01\x02")},
    {MUTATION_MAX, V("\x01\x02"), V("\x02\x01"), V("\x01\x02")},
    {MUTATION_MAX, V("\x09"), V("\x01\x00"), V("\x09\x00")},
    {MUTATION_MAX, V("\x01\x09"), V("\x02"), V("\x02")},
    {MUTATION_MAX, V("\x03\x09"), V("\x02"), V("\x03")},
    {MUTATION_MAX, NONE, V("\x01"), V("\x01")},
    {MUTATION_MAX, V(""), V("\x00"), V("\x00")},
    {MUTATION_MAX, V("\x07"), V(""), V("")},
    {MUTATION_MIN, NONE, V("\x05\x01"), V("\x00\x00")},
    {MUTATION_MIN, V("\x02\x01"), V("\x01\x02"), V("\x02\x01")},
    {MUTATION_MIN, V("\x07"), V(""), V("")},
    {MUTATION_MIN_V2, NONE, V("\x05\x01"), V("\x05\x01")},
    {MUTATION_MIN_V2, V(""), V("\x05\x01"), V("\x00\x00")},
    {MUTATION_MIN_V2, V("\x04"), V("\x05\x01"), V("\x04\x00")},
    {MUTATION_MIN_V2, V("\x06\x00\x01"), V("\x05"), V("\x05")},
    {MUTATION_MIN_V2, V("\x04\x01"), V("\x05"), V("\x04")},
    {MUTATION_BYTE_MIN, V("b"), V("a"), V("a")},
    {MUTATION_BYTE_MIN, V("a"), V("ab"), V("a")},
    {MUTATION_BYTE_MIN, NONE, V("b"), V("b")},
    {MUTATION_BYTE_MIN, V(""), V("b"), V("")},
    {MUTATION_BYTE_MAX, V("b"), V("a"), V("b")},
    {MUTATION_BYTE_MAX, V("a"), V("ab"), V("ab")},
    {MUTATION_BYTE_MAX, NONE, V("a"), V("a")},
    {MUTATION_COMPARE_AND_CLEAR, V("a"), V("a"), NONE},
    {MUTATION_COMPARE_AND_CLEAR, V("a"), V("b"), V("a")},
    {MUTATION_COMPARE_AND_CLEAR, NONE, V("a"), NONE},
    {MUTATION_COMPARE_AND_CLEAR, NONE, V(""), NONE},
    {MUTATION_COMPARE_AND_CLEAR, V(""), V(""), NONE},
};

static int apply(struct arena *arena, const struct vector *vector, bool *ret_exists, struct bytes *ret_value)
{
    bool exists = vector->existing.len != SIZE_MAX;

    return mutation_apply_atomic(arena, vector->type, exists, exists ? vector->existing : bytes_none(), vector->param,
                                 ret_exists, ret_value);
}

Test(atomic, each_vector_gives_its_result)
{
    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
        bool exists = false, expected = vectors[i].result.len != SIZE_MAX;
        struct arena arena = {0};
        struct bytes value;

        cr_assert_eq(apply(&arena, &vectors[i], &exists, &value), 0);
        cr_assert_eq(exists, expected, "vector %zu", i);
        cr_assert(!exists || bytes_equal(value, vectors[i].result), "vector %zu", i);
        arena_done(&arena);
    }
}

Test(atomic, append_keeps_what_does_not_fit_unchanged)
{
    static uint8_t existing[VALUE_BYTES_MAX];
    struct arena arena = {0};
    struct bytes value;
    bool exists;

    cr_assert_eq(mutation_apply_atomic(&arena, MUTATION_APPEND_IF_FITS, true, bytes_of(existing, VALUE_BYTES_MAX - 1),
                                       BYTES_LITERAL("x"), &exists, &value), 0);
    cr_assert(exists && value.len == VALUE_BYTES_MAX && value.ptr[value.len - 1] == 'x');
    cr_assert_eq(mutation_apply_atomic(&arena, MUTATION_APPEND_IF_FITS, true, bytes_of(existing, VALUE_BYTES_MAX - 1),
                                       BYTES_LITERAL("xy"), &exists, &value), 0);
    cr_assert(exists && value.len == VALUE_BYTES_MAX - 1);
    arena_done(&arena);
}

Test(atomic, other_types_are_refused)
{
    struct arena arena = {0};
    struct bytes value;
    bool exists;

    for (int type = 0; type < 256; type++) {
        int error = mutation_apply_atomic(&arena, (enum mutation_type)type, true, BYTES_LITERAL("a"), BYTES_LITERAL("b"),
                                          &exists, &value);

        cr_assert_eq(error, mutation_type_is_atomic((enum mutation_type)type) ? 0 : ERROR_INVALID_MUTATION_TYPE);
    }
    cr_assert_not(mutation_type_is_atomic(MUTATION_SET));
    cr_assert_not(mutation_type_is_atomic(MUTATION_SET_VERSIONSTAMPED_KEY));
    arena_done(&arena);
}

Test(atomic, a_failed_allocation_is_an_error)
{
    FAIL_EACH(nth, nth_allocation) {
        int error = 0;

        nth_begin(&nth, NULL);
        for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]) && error == 0; i++) {
            struct arena arena = {0};
            struct bytes value;
            bool exists;

            error = apply(&arena, &vectors[i], &exists, &value);
            arena_done(&arena);
        }
        cr_assert_eq(error, nth_end(&nth) ? ERROR_OUT_OF_MEMORY : 0);
    }
}
