#include <criterion/criterion.h>
#include <stdlib.h>

#include "net/mem.h"
#include "tests/unit/draw.h"
#include "tests/unit/nth.h"
#include "txn/conflict_range.h"
#include "txn/keys.h"

#define L BYTES_LITERAL

static int check_one(struct bytes begin, struct bytes end, bool allow_system)
{
    struct bytes_buffer buffer = {0};
    uint32_t count;
    int error = conflict_range_append(&buffer, begin, end);

    cr_assert_eq(error, 0);
    error = conflict_range_table_check(bytes_buffer_bytes(&buffer), allow_system, &count);
    bytes_buffer_done(&buffer);
    return error;
}

Test(conflict_range, a_table_is_read_as_it_was_written)
{
    struct bytes_buffer buffer = {0};
    struct conflict_range range;
    struct bytes cursor;

    cr_assert_eq(conflict_range_append(&buffer, L("a"), L("b")), 0);
    cr_assert_eq(conflict_range_append_point(&buffer, L("k")), 0);
    cr_assert_eq(conflict_range_append(&buffer, L("m"), L("m\x00")), 0);
    cr_assert_eq(conflict_range_append(&buffer, L("m"), L("m")), 0);
    cr_assert_eq(conflict_range_append(&buffer, L("n"), L("m")), ERROR_INVERTED_RANGE);
    cursor = bytes_buffer_bytes(&buffer);
    cr_assert_eq(conflict_range_next(&cursor, &range), 0);
    cr_assert(!range.is_point && bytes_equal(range.begin, L("a")) && bytes_equal(range.end, L("b")));
    cr_assert_eq(conflict_range_next(&cursor, &range), 0);
    cr_assert(range.is_point && bytes_equal(range.begin, L("k")));
    cr_assert_eq(conflict_range_next(&cursor, &range), 0);
    cr_assert(range.is_point && bytes_equal(range.begin, L("m")));
    cr_assert_eq(conflict_range_next(&cursor, &range), ERROR_END_OF_STREAM);
    bytes_buffer_done(&buffer);
}

Test(conflict_range, a_table_cut_anywhere_but_between_records_is_refused)
{
    struct bytes_buffer buffer = {0};
    size_t first;
    uint32_t count;

    conflict_range_append(&buffer, L("abc"), L("abd"));
    first = buffer.len;
    conflict_range_append_point(&buffer, L("point"));
    for (size_t len = 0; len <= buffer.len; len++) {
        uint8_t *copy = malloc(len == 0 ? 1 : len);
        bool whole = len == 0 || len == first || len == buffer.len;

        memcpy(copy, buffer.ptr, len);
        cr_assert_eq(conflict_range_table_check(bytes_of(copy, len), false, &count), whole ? 0 : ERROR_SERIALIZATION_FAILED);
        free(copy);
    }
    bytes_buffer_done(&buffer);
}

Test(conflict_range, random_bytes_never_read_beyond_the_table)
{
    uint64_t state = 5;
    uint32_t count, refused = 0;

    for (int i = 0; i < 200000; i++) {
        size_t len = draw_below(&state, 60);
        uint8_t *table = malloc(len == 0 ? 1 : len);

        draw_bytes(&state, table, len);
        for (size_t at = 0; at < len && draw_below(&state, 4) != 0; at++)
            table[at] = (uint8_t)draw_below(&state, at % 4 == 0 ? 12 : 2);
        refused += conflict_range_table_check(bytes_of(table, len), draw_below(&state, 2) != 0, &count) != 0;
        free(table);
    }
    cr_assert_gt(refused, 100000);
}

Test(conflict_range, the_legal_range_ends_where_the_leave_says)
{
    cr_assert_eq(check_one(L(""), L("\xff"), false), 0);
    cr_assert_eq(check_one(L(""), L("\xff\x00"), false), ERROR_KEY_OUTSIDE_LEGAL_RANGE);
    cr_assert_eq(check_one(L("\xff"), L("\xff\x00"), false), ERROR_KEY_OUTSIDE_LEGAL_RANGE);
    cr_assert_eq(check_one(L(""), L("\xff\xff"), true), 0);
    cr_assert_eq(check_one(L(""), L("\xff\xff\x00"), true), ERROR_KEY_OUTSIDE_LEGAL_RANGE);
    cr_assert_eq(check_one(L("\xff\xff"), L("\xff\xff\x00"), true), ERROR_KEY_OUTSIDE_LEGAL_RANGE);
    cr_assert_eq(check_one(L("\xff/SC/a"), L("\xff/SC/b"), false), 0);
    cr_assert_eq(check_one(L("\xff/SC/a"), L("\xff/SC/a\x00"), false), 0);
    cr_assert_eq(check_one(L("\xff/SB"), L("\xff/SC/b"), false), ERROR_KEY_OUTSIDE_LEGAL_RANGE);
    cr_assert_eq(check_one(KEY_METADATA_VERSION, L("\xff/metadataVersion\x00"), false), 0);
    cr_assert_eq(check_one(KEY_METADATA_VERSION, L("\xff/metadataVersioo"), false), ERROR_KEY_OUTSIDE_LEGAL_RANGE);
}

Test(conflict_range, keys_have_limits)
{
    static uint8_t key[KEY_BYTES_MAX + 2];

    memset(key, 'k', sizeof(key));
    cr_assert_eq(check_one(bytes_of(key, KEY_BYTES_MAX + 1), L("l"), false), 0);
    cr_assert_eq(check_one(bytes_of(key, KEY_BYTES_MAX + 2), L("l"), false), ERROR_KEY_TOO_LARGE);
    cr_assert_eq(check_one(L("a"), bytes_of(key, KEY_BYTES_MAX + 2), false), ERROR_KEY_TOO_LARGE);
}

Test(conflict_range, an_inverted_range_of_a_hostile_client_is_refused)
{
    uint8_t table[CONFLICT_RANGE_HEADER_BYTES + 2] = {1, 0, 0, 0, 1, 0, 0, 0, 'b', 'a'};
    uint32_t count;

    cr_assert_eq(conflict_range_table_check(bytes_of(table, sizeof(table)), false, &count), ERROR_INVERTED_RANGE);
}

Test(conflict_range, a_failed_allocation_leaves_the_table_as_it_was)
{
    FAIL_EACH(nth, nth_allocation) {
        struct bytes_buffer buffer = {0};
        int error;

        nth_begin(&nth, NULL);
        error = conflict_range_append_point(&buffer, L("k"));
        cr_assert_eq(error, nth_end(&nth) ? ERROR_OUT_OF_MEMORY : 0);
        cr_assert_eq(buffer.len == 0, error != 0);
        bytes_buffer_done(&buffer);
    }
}
