#include <criterion/criterion.h>

#include "net/arena.h"
#include "net/error.h"
#include "net/mem.h"
#include "tests/unit/nth.h"

Test(arena, a_zeroed_arena_is_empty_and_valid)
{
    struct arena arena = {0};

    arena_done(&arena);
    arena_reset(&arena);
    cr_assert_eq(arena.reserved_bytes, 0);
}

Test(arena, allocations_are_aligned_and_do_not_overlap)
{
    struct arena arena;
    uint8_t *blocks[300];

    arena_init(&arena);
    for (size_t i = 0; i < 300; i++) {
        blocks[i] = arena_alloc(&arena, i * 7 + 1);
        cr_assert_eq((uintptr_t)blocks[i] % 8, 0);
        memset(blocks[i], (int)(i & 255), i * 7 + 1);
    }
    for (size_t i = 0; i < 300; i++)
        for (size_t j = 0; j < i * 7 + 1; j++)
            cr_assert_eq(blocks[i][j], i & 255);
    arena_done(&arena);
}

Test(arena, a_large_allocation_leaves_the_bumped_block_in_use)
{
    struct arena arena;
    uint8_t *small, *next;

    arena_init(&arena);
    small = arena_alloc(&arena, 8);
    cr_assert_not_null(arena_alloc(&arena, 1 << 20));
    next = arena_alloc(&arena, 8);
    cr_assert_eq(next, small + 8);
    arena_done(&arena);
}

Test(arena, a_reset_arena_reuses_its_newest_block)
{
    struct arena arena;
    void *first;

    arena_init(&arena);
    first = arena_alloc(&arena, 100);
    arena_reset(&arena);
    cr_assert_eq(arena_alloc(&arena, 100), first);
    arena_done(&arena);
}

Test(arena, joined_memory_stays_valid)
{
    struct arena to, from;
    struct bytes a, b;

    arena_init(&to);
    arena_init(&from);
    cr_assert_eq(arena_copy(&to, BYTES_LITERAL("to"), &a), 0);
    cr_assert_eq(arena_copy(&from, BYTES_LITERAL("from"), &b), 0);
    arena_join(&to, &from);
    cr_assert_null(from.blocks);
    arena_done(&from);
    cr_assert(bytes_equal(a, BYTES_LITERAL("to")));
    cr_assert(bytes_equal(b, BYTES_LITERAL("from")));
    arena_done(&to);
}

Test(arena, what_was_adopted_stays_where_it_is_until_the_end)
{
    struct arena arena = {0}, other = {0};
    struct bytes_buffer buffer = {0};
    struct bytes before, after;
    const uint8_t *at;

    cr_assert_eq(bytes_buffer_append(&buffer, BYTES_LITERAL("adopted")), 0);
    at = buffer.ptr;
    cr_assert_eq(arena_adopt(&arena, &buffer), 0); /* the first thing in it */
    cr_assert_null(buffer.ptr);
    cr_assert_eq(arena_copy(&arena, BYTES_LITERAL("after"), &after), 0);
    cr_assert_eq(arena_copy(&other, BYTES_LITERAL("before"), &before), 0);
    arena_join(&other, &arena);
    cr_assert_arr_eq(at, "adopted", 7);
    cr_assert(bytes_equal(after, BYTES_LITERAL("after")));
    cr_assert(bytes_equal(before, BYTES_LITERAL("before")));
    arena_reset(&other);
    arena_done(&other);
}

Test(arena, an_absurd_size_is_refused)
{
    struct arena arena;

    arena_init(&arena);
    cr_assert_null(arena_alloc(&arena, SIZE_MAX));
    cr_assert_null(arena_alloc(&arena, SIZE_MAX - 8));
    arena_done(&arena);
}

Test(arena, every_failing_allocation_is_an_error_and_nothing_leaks)
{
    FAIL_EACH(nth, nth_allocation) {
        struct arena arena;
        struct bytes copy = bytes_none();
        int error = 0;

        arena_init(&arena);
        nth_begin(&nth, NULL);
        for (int i = 0; i < 20 && error == 0; i++)
            error = arena_copy(&arena, BYTES_LITERAL("0123456789012345678901234567890123456789"
                                                     "0123456789012345678901234567890123456789"), &copy);
        cr_assert_eq(error, nth_end(&nth) ? ERROR_OUT_OF_MEMORY : 0);
        arena_done(&arena);
    }
}
