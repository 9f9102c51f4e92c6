#include <criterion/criterion.h>

#include "net/bytes.h"
#include "net/error.h"
#include "net/mem.h"
#include "tests/unit/nth.h"

Test(bytes, order_is_unsigned_and_a_prefix_comes_first)
{
    cr_assert_lt(bytes_compare(BYTES_LITERAL("a"), BYTES_LITERAL("b")), 0);
    cr_assert_lt(bytes_compare(BYTES_LITERAL("a"), BYTES_LITERAL("a\0")), 0);
    cr_assert_gt(bytes_compare(BYTES_LITERAL("\xff"), BYTES_LITERAL("\x7f")), 0);
    cr_assert_eq(bytes_compare(bytes_none(), BYTES_LITERAL("")), 0);
    cr_assert_lt(bytes_compare(bytes_none(), BYTES_LITERAL("\0")), 0);
}

Test(bytes, equality_and_prefixes_accept_nothing)
{
    cr_assert(bytes_equal(bytes_none(), BYTES_LITERAL("")));
    cr_assert(bytes_starts_with(BYTES_LITERAL("x"), bytes_none()));
    cr_assert(bytes_starts_with(BYTES_LITERAL("prefix"), BYTES_LITERAL("pre")));
    cr_assert_not(bytes_starts_with(BYTES_LITERAL("pre"), BYTES_LITERAL("prefix")));
}

Test(bytes, integers_survive_at_any_alignment)
{
    uint8_t raw[16];

    for (int at = 0; at < 8; at++) {
        put_le64(raw + at, 0x0123456789abcdefULL);
        cr_assert_eq(get_le64(raw + at), 0x0123456789abcdefULL);
        cr_assert_eq(raw[at], 0xef);
        put_be64(raw + at, 0x0123456789abcdefULL);
        cr_assert_eq(get_be64(raw + at), 0x0123456789abcdefULL);
        cr_assert_eq(raw[at], 0x01);
        put_le32(raw + at, 0xfedcba98U);
        cr_assert_eq(get_le32(raw + at), 0xfedcba98U);
        put_le16(raw + at, 0xfedcU);
        cr_assert_eq(get_le16(raw + at), 0xfedcU);
    }
}

Test(bytes, a_buffer_grows_and_keeps_its_content)
{
    struct bytes_buffer buffer = {0};

    for (int i = 0; i < 10000; i++) {
        uint8_t byte = (uint8_t)i;

        cr_assert_eq(bytes_buffer_append(&buffer, bytes_of(&byte, 1)), 0);
    }
    for (int i = 0; i < 10000; i++)
        cr_assert_eq(buffer.ptr[i], (uint8_t)i);
    cr_assert_eq(bytes_buffer_reserve(&buffer, SIZE_MAX / 2), ERROR_OUT_OF_MEMORY);
    cr_assert_eq(buffer.len, 10000);
    bytes_buffer_done(&buffer);
}

Test(bytes, room_that_is_asked_for_exactly_is_hardly_more)
{
    struct bytes_buffer buffer = {0};

    cr_assert_eq(bytes_buffer_append(&buffer, BYTES_LITERAL("abc")), 0);
    cr_assert_eq(bytes_buffer_reserve_exactly(&buffer, 10), 0);
    cr_assert_geq(buffer.capacity, 13);
    cr_assert_eq(bytes_buffer_reserve_exactly(&buffer, 1000), 0);
    cr_assert_eq(buffer.capacity, 1003);
    cr_assert_eq(bytes_buffer_reserve_exactly(&buffer, SIZE_MAX / 2), ERROR_OUT_OF_MEMORY);
    cr_assert(bytes_equal(bytes_buffer_bytes(&buffer), BYTES_LITERAL("abc")));
    bytes_buffer_done(&buffer);
}

Test(bytes, a_buffer_that_cannot_grow_stays_as_it_was)
{
    FAIL_EACH(nth, nth_allocation) {
        struct bytes_buffer buffer = {0};
        int error;

        cr_assert_eq(bytes_buffer_append(&buffer, BYTES_LITERAL("kept")), 0);
        nth_begin(&nth, NULL);
        error = bytes_buffer_reserve(&buffer, 100000);
        cr_assert_eq(error, nth_end(&nth) ? ERROR_OUT_OF_MEMORY : 0);
        cr_assert(bytes_equal(bytes_buffer_bytes(&buffer), BYTES_LITERAL("kept")));
        bytes_buffer_done(&buffer);
    }
}

Test(bytes, printing_escapes_and_cuts_to_fit)
{
    char out[8];
    char one[1];

    cr_assert_str_eq(bytes_print(BYTES_LITERAL("a\\\x01z"), out, sizeof(out)), "a\\\\\\x01");
    cr_assert_str_eq(bytes_print(BYTES_LITERAL("abc"), one, sizeof(one)), "");
    cr_assert_str_eq(bytes_print(bytes_none(), out, sizeof(out)), "");
}
