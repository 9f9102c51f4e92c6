#include <criterion/criterion.h>

#include "net/error.h"
#include "net/mem.h"
#include "tests/unit/nth.h"
#include "txn/keys.h"

static void expect_strinc(struct bytes prefix, struct bytes expected)
{
    struct arena arena = {0};
    struct bytes after;

    cr_assert_eq(key_strinc(&arena, prefix, &after), 0);
    cr_assert(bytes_equal(after, expected));
    arena_done(&arena);
}

Test(keys, strinc_raises_the_last_byte_that_is_not_ff)
{
    expect_strinc(BYTES_LITERAL("a"), BYTES_LITERAL("b"));
    expect_strinc(BYTES_LITERAL("a\xff\xff"), BYTES_LITERAL("b"));
    expect_strinc(BYTES_LITERAL("\x00"), BYTES_LITERAL("\x01"));
    expect_strinc(BYTES_LITERAL("\xff\xfe"), BYTES_LITERAL("\xff\xff"));
}

Test(keys, strinc_of_all_ff_or_nothing_is_an_error)
{
    struct arena arena = {0};
    struct bytes after;

    cr_assert_eq(key_strinc(&arena, BYTES_LITERAL("\xff\xff"), &after), ERROR_CLIENT_INVALID_OPERATION);
    cr_assert_eq(key_strinc(&arena, bytes_none(), &after), ERROR_CLIENT_INVALID_OPERATION);
    arena_done(&arena);
}

Test(keys, after_is_the_next_key)
{
    struct arena arena = {0};
    struct bytes after;

    cr_assert_eq(key_after(&arena, BYTES_LITERAL("k"), &after), 0);
    cr_assert(bytes_equal(after, BYTES_LITERAL("k\x00")));
    cr_assert(key_is_after(BYTES_LITERAL("k"), after));
    cr_assert_not(key_is_after(BYTES_LITERAL("j"), after));
    cr_assert_not(key_is_after(after, after));
    cr_assert_eq(key_after(&arena, bytes_none(), &after), 0);
    cr_assert(key_is_after(bytes_none(), after));
    arena_done(&arena);
}

Test(keys, a_failed_allocation_is_an_error)
{
    FAIL_EACH(nth, nth_allocation) {
        struct arena after = {0}, strinc = {0};
        struct bytes key;
        int error;

        nth_begin(&nth, NULL);
        error = key_after(&after, BYTES_LITERAL("k"), &key);
        if (error == 0)
            error = key_strinc(&strinc, BYTES_LITERAL("k"), &key);
        cr_assert_eq(error, nth_end(&nth) ? ERROR_OUT_OF_MEMORY : 0);
        arena_done(&after);
        arena_done(&strinc);
    }
}

Test(keys, ranges_meet_only_where_they_share_a_key)
{
    struct key_range a = {BYTES_LITERAL("b"), BYTES_LITERAL("d")};

    cr_assert(key_ranges_meet(a, (struct key_range){BYTES_LITERAL("c"), BYTES_LITERAL("e")}));
    cr_assert_not(key_ranges_meet(a, (struct key_range){BYTES_LITERAL("d"), BYTES_LITERAL("e")}));
    cr_assert_not(key_ranges_meet(a, (struct key_range){BYTES_LITERAL("a"), BYTES_LITERAL("b")}));
    cr_assert(key_range_contains(a, BYTES_LITERAL("b")));
    cr_assert_not(key_range_contains(a, BYTES_LITERAL("d")));
}
