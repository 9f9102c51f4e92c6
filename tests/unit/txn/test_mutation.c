#include <criterion/criterion.h>
#include <stdlib.h>

#include "net/error.h"
#include "net/mem.h"
#include "tests/unit/draw.h"
#include "tests/unit/nth.h"
#include "txn/keys.h"
#include "txn/mutation.h"

#define L BYTES_LITERAL

/* A copy of exactly the table's size, so that ASan sees a read beyond it. */
static uint8_t *exact_copy(struct bytes table, size_t len)
{
    uint8_t *copy = malloc(len == 0 ? 1 : len);

    if (len > 0)
        memcpy(copy, table.ptr, len);
    return copy;
}

static int check_one(enum mutation_type type, struct bytes param1, struct bytes param2, unsigned allow)
{
    struct bytes_buffer buffer = {0};
    struct mutation_table_facts facts;
    int error;

    cr_assert_eq(mutation_append(&buffer, type, param1, param2), 0);
    error = mutation_table_check(bytes_buffer_bytes(&buffer), allow, &facts);
    bytes_buffer_done(&buffer);
    return error;
}

static struct bytes long_key(uint8_t *out, size_t len, uint8_t first)
{
    memset(out, 'k', len);
    out[0] = first;
    return bytes_of(out, len);
}

Test(mutation, a_table_is_read_as_it_was_written)
{
    static const enum mutation_type types[] = {MUTATION_SET, MUTATION_CLEAR_RANGE, MUTATION_ADD, 255};
    struct bytes_buffer buffer = {0};
    struct mutation mutation;
    uint8_t bytes[64];
    uint64_t state = 7, again = 7;
    struct bytes cursor;

    for (int i = 0; i < 1000; i++) {
        struct bytes all = draw_bytes(&state, bytes, draw_below(&state, sizeof(bytes)));
        size_t cut = all.len / 3;

        cr_assert_eq(mutation_append(&buffer, types[i % 4], bytes_of(bytes, cut), bytes_of(bytes + cut, all.len - cut)), 0);
    }
    cursor = bytes_buffer_bytes(&buffer);
    for (int i = 0; i < 1000; i++) {
        struct bytes all = draw_bytes(&again, bytes, draw_below(&again, sizeof(bytes)));

        cr_assert_eq(mutation_next(&cursor, &mutation), 0);
        cr_assert_eq(mutation.type, types[i % 4]);
        cr_assert(bytes_equal(mutation.param1, bytes_of(bytes, all.len / 3)));
        cr_assert(bytes_equal(mutation.param2, bytes_of(bytes + all.len / 3, all.len - all.len / 3)));
    }
    cr_assert_eq(mutation_next(&cursor, &mutation), ERROR_END_OF_STREAM);
    bytes_buffer_done(&buffer);
}

Test(mutation, a_table_cut_anywhere_but_between_records_is_refused)
{
    struct bytes_buffer buffer = {0};
    size_t boundaries[4] = {0};
    struct mutation_table_facts facts;

    for (int i = 0; i < 3; i++) {
        mutation_append(&buffer, MUTATION_SET, L("key"), bytes_of("value", (size_t)i));
        boundaries[i + 1] = buffer.len;
    }
    for (size_t len = 0; len <= buffer.len; len++) {
        uint8_t *copy = exact_copy(bytes_buffer_bytes(&buffer), len);
        bool whole = len == boundaries[0] || len == boundaries[1] || len == boundaries[2] || len == boundaries[3];

        cr_assert_eq(mutation_table_check(bytes_of(copy, len), 0, &facts), whole ? 0 : ERROR_SERIALIZATION_FAILED);
        free(copy);
    }
    bytes_buffer_done(&buffer);
}

Test(mutation, random_bytes_never_read_beyond_the_table)
{
    struct mutation_table_facts facts = {0};
    uint64_t state = 99;
    uint32_t refused = 0;

    for (int i = 0; i < 200000; i++) {
        size_t len = draw_below(&state, 80);
        uint8_t *table = malloc(len + 1);

        draw_bytes(&state, table, len);
        for (size_t at = 0; at < len && draw_below(&state, 4) != 0; at++) /* small lengths reach further */
            table[at] = (uint8_t)draw_below(&state, at % 4 == 0 ? 21 : 2);
        table = realloc(table, len == 0 ? 1 : len);
        refused += mutation_table_check(bytes_of(table, len), (unsigned)draw_below(&state, 4), &facts) != 0;
        (void)mutation_patch_versionstamps(table, len, 5, 6);
        free(table);
    }
    cr_assert_gt(refused, 100000);
}

Test(mutation, lengths_near_the_top_of_32_bits_are_refused)
{
    uint8_t table[MUTATION_HEADER_BYTES + 4] = {MUTATION_SET};
    struct bytes cursor = bytes_of(table, sizeof(table));
    struct mutation mutation;

    put_le32(table + 4, UINT32_MAX);
    put_le32(table + 8, 8);
    cr_assert_eq(mutation_next(&cursor, &mutation), ERROR_SERIALIZATION_FAILED);
    put_le32(table + 8, UINT32_MAX);
    cr_assert_eq(mutation_next(&cursor, &mutation), ERROR_SERIALIZATION_FAILED);
    cr_assert_eq(cursor.len, sizeof(table));
}

Test(mutation, keys_and_values_have_limits)
{
    static uint8_t key[SYSTEM_KEY_BYTES_MAX + 2], value[VALUE_BYTES_MAX + 1];
    struct bytes v = bytes_of(value, VALUE_BYTES_MAX);

    cr_assert_eq(check_one(MUTATION_SET, long_key(key, KEY_BYTES_MAX, 'k'), v, 0), 0);
    cr_assert_eq(check_one(MUTATION_SET, long_key(key, KEY_BYTES_MAX + 1, 'k'), v, 0), ERROR_KEY_TOO_LARGE);
    cr_assert_eq(check_one(MUTATION_SET, L("k"), bytes_of(value, sizeof(value)), 0), ERROR_VALUE_TOO_LARGE);
    cr_assert_eq(check_one(MUTATION_SET, long_key(key, SYSTEM_KEY_BYTES_MAX, 0xff), v, MUTATION_ALLOW_SYSTEM), 0);
    cr_assert_eq(check_one(MUTATION_SET, long_key(key, SYSTEM_KEY_BYTES_MAX + 1, 0xff), v, MUTATION_ALLOW_SYSTEM),
                 ERROR_KEY_TOO_LARGE);
    cr_assert_eq(check_one(MUTATION_CLEAR_RANGE, L("a"), long_key(key, KEY_BYTES_MAX + 1, 'k'), 0), 0);
    cr_assert_eq(check_one(MUTATION_CLEAR_RANGE, L("a"), long_key(key, KEY_BYTES_MAX + 2, 'k'), 0), ERROR_KEY_TOO_LARGE);
    cr_assert_eq(check_one(MUTATION_SET, bytes_none(), bytes_none(), 0), 0);
}

Test(mutation, system_keys_need_leave_and_special_keys_never_get_it)
{
    cr_assert_eq(check_one(MUTATION_SET, L("\xff"), L("v"), 0), ERROR_KEY_OUTSIDE_LEGAL_RANGE);
    cr_assert_eq(check_one(MUTATION_SET, L("\xff"), L("v"), MUTATION_ALLOW_SYSTEM), 0);
    cr_assert_eq(check_one(MUTATION_ADD, L("\xff/x"), L("v"), 0), ERROR_KEY_OUTSIDE_LEGAL_RANGE);
    cr_assert_eq(check_one(MUTATION_SET, L("\xff\xff"), L("v"), MUTATION_ALLOW_SYSTEM), ERROR_KEY_OUTSIDE_LEGAL_RANGE);
    cr_assert_eq(check_one(MUTATION_CLEAR_RANGE, L(""), L("\xff"), 0), 0);
    cr_assert_eq(check_one(MUTATION_CLEAR_RANGE, L(""), L("\xff\x00"), 0), ERROR_KEY_OUTSIDE_LEGAL_RANGE);
    cr_assert_eq(check_one(MUTATION_CLEAR_RANGE, L(""), L("\xff\xff"), MUTATION_ALLOW_SYSTEM), 0);
    cr_assert_eq(check_one(MUTATION_CLEAR_RANGE, L(""), L("\xff\xff\x00"), MUTATION_ALLOW_SYSTEM),
                 ERROR_KEY_OUTSIDE_LEGAL_RANGE);
}

Test(mutation, an_inverted_range_is_refused_and_an_empty_one_is_not)
{
    cr_assert_eq(check_one(MUTATION_CLEAR_RANGE, L("b"), L("a"), 0), ERROR_INVERTED_RANGE);
    cr_assert_eq(check_one(MUTATION_CLEAR_RANGE, L("a"), L("a"), 0), 0);
}

Test(mutation, only_known_types_pass)
{
    static const bool known[21] = {1, 1, 1, 0, 0, 0, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    struct bytes stamped = L("0123456789\x00\x00\x00\x00");

    for (int type = 0; type < 256; type++) {
        int expected = type < 21 && known[type] ? 0 : ERROR_INVALID_MUTATION_TYPE;

        cr_assert_eq(check_one((enum mutation_type)type, stamped, stamped, 0), expected, "type %d", type);
        if (type >= MUTATION_PRIVATE_MIN)
            expected = 0;
        cr_assert_eq(check_one((enum mutation_type)type, stamped, stamped, MUTATION_ALLOW_PRIVATE), expected);
    }
}

Test(mutation, versionstamp_offsets_must_leave_room_for_the_stamp)
{
    struct bytes good = L("ab0123456789\x02\x00\x00\x00"), past = L("ab0123456789\x03\x00\x00\x00");
    struct bytes huge = L("ab0123456789\xff\xff\xff\xff"), small = L("abc");

    cr_assert_eq(check_one(MUTATION_SET_VERSIONSTAMPED_KEY, good, L("v"), 0), 0);
    cr_assert_eq(check_one(MUTATION_SET_VERSIONSTAMPED_KEY, past, L("v"), 0), ERROR_CLIENT_INVALID_OPERATION);
    cr_assert_eq(check_one(MUTATION_SET_VERSIONSTAMPED_KEY, huge, L("v"), 0), ERROR_CLIENT_INVALID_OPERATION);
    cr_assert_eq(check_one(MUTATION_SET_VERSIONSTAMPED_KEY, small, L("v"), 0), ERROR_CLIENT_INVALID_OPERATION);
    cr_assert_eq(check_one(MUTATION_SET_VERSIONSTAMPED_VALUE, L("k"), good, 0), 0);
    cr_assert_eq(check_one(MUTATION_SET_VERSIONSTAMPED_VALUE, L("k"), past, 0), ERROR_CLIENT_INVALID_OPERATION);
    cr_assert_eq(check_one(MUTATION_SET_VERSIONSTAMPED_VALUE, L("k"), small, 0), ERROR_CLIENT_INVALID_OPERATION);
}

Test(mutation, metadata_version_takes_its_own_stamp_and_nothing_else)
{
    struct bytes zeros = L("\0\0\0\0\0\0\0\0\0\0\0\0\0\0");

    cr_assert_eq(check_one(MUTATION_SET_VERSIONSTAMPED_VALUE, KEY_METADATA_VERSION, zeros, 0), 0);
    cr_assert_eq(check_one(MUTATION_SET_VERSIONSTAMPED_VALUE, KEY_METADATA_VERSION, L("0\0\0\0\0\0\0\0\0\0\0\0\0\0"), 0),
                 ERROR_CLIENT_INVALID_OPERATION);
    cr_assert_eq(check_one(MUTATION_SET, KEY_METADATA_VERSION, zeros, MUTATION_ALLOW_SYSTEM),
                 ERROR_CLIENT_INVALID_OPERATION);
    cr_assert_eq(check_one(MUTATION_SET, KEY_METADATA_VERSION, L("v"), MUTATION_ALLOW_PRIVATE | MUTATION_ALLOW_SYSTEM), 0);
}

Test(mutation, versionstamps_are_patched_in_place)
{
    static const uint8_t stamp[] = {0, 0, 0, 1, 2, 3, 4, 5, 0xab, 0xcd};
    struct bytes_buffer buffer = {0};
    struct mutation_table_facts facts;
    struct mutation m;
    struct bytes cursor;
    size_t len;

    mutation_append(&buffer, MUTATION_SET_VERSIONSTAMPED_KEY, L("ab0123456789c\x02\x00\x00\x00"), L("value"));
    mutation_append(&buffer, MUTATION_ADD, L("x"), L("y"));
    mutation_append(&buffer, MUTATION_SET_VERSIONSTAMPED_VALUE, L("k"), L("0123456789z\x00\x00\x00\x00"));
    len = buffer.len;
    cr_assert_eq(mutation_table_check(bytes_buffer_bytes(&buffer), 0, &facts), 0);
    cr_assert_eq(facts.versionstamps, 2);
    cr_assert_eq(facts.count, 3);
    cr_assert_eq(mutation_patch_versionstamps(buffer.ptr, buffer.len, 0x102030405, 0xabcd), 0);
    cr_assert_eq(buffer.len, len);
    cursor = bytes_buffer_bytes(&buffer);
    cr_assert_eq(mutation_next(&cursor, &m), 0);
    cr_assert(m.type == MUTATION_SET && m.param1.len == 13 && bytes_equal(m.param2, L("value")));
    cr_assert(memcmp(m.param1.ptr, "ab", 2) == 0 && memcmp(m.param1.ptr + 2, stamp, 10) == 0 && m.param1.ptr[12] == 'c');
    cr_assert_eq(mutation_next(&cursor, &m), 0);
    cr_assert(m.type == MUTATION_ADD && bytes_equal(m.param1, L("x")) && bytes_equal(m.param2, L("y")));
    cr_assert_eq(mutation_next(&cursor, &m), 0);
    cr_assert(m.type == MUTATION_SET && bytes_equal(m.param1, L("k")) && m.param2.len == 11);
    cr_assert(memcmp(m.param2.ptr, stamp, 10) == 0 && m.param2.ptr[10] == 'z');
    cr_assert_eq(mutation_next(&cursor, &m), ERROR_END_OF_STREAM);
    /* Servers may hold such a table, a client may not send one. */
    cr_assert_eq(mutation_table_check(bytes_buffer_bytes(&buffer), MUTATION_ALLOW_PRIVATE, &facts), 0);
    cr_assert_eq(mutation_table_check(bytes_buffer_bytes(&buffer), 0, &facts), ERROR_SERIALIZATION_FAILED);
    bytes_buffer_done(&buffer);
}

Test(mutation, pads_and_flags_are_what_the_format_says)
{
    uint8_t table[MUTATION_HEADER_BYTES + 8] = {MUTATION_SET};
    struct mutation_table_facts facts;

    table[1] = 4;
    table[2] = 4;
    cr_assert_eq(mutation_table_check(bytes_of(table, sizeof(table)), MUTATION_ALLOW_PRIVATE, &facts), 0);
    table[2] = 3;
    cr_assert_eq(mutation_table_check(bytes_of(table, sizeof(table)), MUTATION_ALLOW_PRIVATE, &facts),
                 ERROR_SERIALIZATION_FAILED);
    table[2] = 4;
    table[0] = MUTATION_ADD;
    cr_assert_eq(mutation_table_check(bytes_of(table, sizeof(table)), MUTATION_ALLOW_PRIVATE, &facts),
                 ERROR_SERIALIZATION_FAILED);
    memset(table, 0, sizeof(table));
    table[3] = 1;
    cr_assert_eq(mutation_table_check(bytes_of(table, MUTATION_HEADER_BYTES), 3, &facts), ERROR_SERIALIZATION_FAILED);
}

static bool touches_system(enum mutation_type type, struct bytes param1, struct bytes param2)
{
    struct bytes_buffer buffer = {0};
    struct mutation_table_facts facts;

    mutation_append(&buffer, type, param1, param2);
    cr_assert_eq(mutation_table_check(bytes_buffer_bytes(&buffer), MUTATION_ALLOW_SYSTEM, &facts), 0);
    bytes_buffer_done(&buffer);
    return facts.touches_system;
}

Test(mutation, the_check_tells_who_touches_the_system_keys)
{
    cr_assert_not(touches_system(MUTATION_SET, L("k"), L("\xff")));
    cr_assert(touches_system(MUTATION_SET, L("\xff/k"), L("")));
    cr_assert_not(touches_system(MUTATION_CLEAR_RANGE, L(""), L("\xff")));
    cr_assert(touches_system(MUTATION_CLEAR_RANGE, L(""), L("\xff\x00")));
}

Test(mutation, a_failed_allocation_leaves_the_table_as_it_was)
{
    uint8_t big[600] = {0};

    FAIL_EACH(nth, nth_allocation) {
        struct bytes_buffer buffer = {0};
        int error;

        cr_assert_eq(mutation_append(&buffer, MUTATION_SET, L("k"), L("v")), 0);
        nth_begin(&nth, NULL);
        error = mutation_append(&buffer, MUTATION_SET, L("k"), bytes_of(big, sizeof(big)));
        cr_assert_eq(error, nth_end(&nth) ? ERROR_OUT_OF_MEMORY : 0);
        cr_assert(error == 0 || buffer.len == mutation_encoded_bytes(1, 1));
        bytes_buffer_done(&buffer);
    }
}
