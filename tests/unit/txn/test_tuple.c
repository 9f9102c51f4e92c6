#include <criterion/criterion.h>

#include <quoin/layers.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/bytes.h"
#include "net/mem.h"
#include "tests/unit/draw.h"
#include "tests/unit/nth.h"

static struct bytes packed_of(const struct quoin_tuple *t)
{
    struct quoin_slice packed = {0};

    cr_assert_eq(quoin_tuple_get(t, &packed), 0);
    return bytes_of(packed.data, (size_t)packed.length);
}

static void expect_hex(const struct quoin_tuple *t, const char *hex)
{
    struct bytes packed = packed_of(t);
    char text[2048] = "";

    for (size_t i = 0; i < packed.len; i++)
        sprintf(text + 2 * i, "%02x", packed.ptr[i]);
    cr_assert_str_eq(text, hex);
}

/* ---- golden vectors; those beyond the format's table were made with npm's fdb-tuple ---- */

Test(tuple, strings_are_packed_as_in_the_format)
{
    struct quoin_tuple t = {0};

    quoin_tuple_add_bytes(&t, "foo\0bar", 7);
    expect_hex(&t, "01666f6f00ff62617200");
    quoin_tuple_reset(&t);
    quoin_tuple_add_text(&t, "F\xc3\x94O\0bar", 8);
    expect_hex(&t, "0246c3944f00ff62617200");
    quoin_tuple_done(&t);
}

Test(tuple, nested_tuples_are_packed_as_in_the_format)
{
    struct quoin_tuple t = {0}, inner = {0};
    struct bytes packed;

    quoin_tuple_open(&t);
    quoin_tuple_add_bytes(&t, "foo\0bar", 7);
    quoin_tuple_add_null(&t);
    quoin_tuple_open(&t);
    quoin_tuple_close(&t);
    quoin_tuple_close(&t);
    expect_hex(&t, "0501666f6f00ff6261720000ff050000");
    quoin_tuple_reset(&t);
    quoin_tuple_add_bytes(&inner, "foo\0bar", 7);
    quoin_tuple_add_null(&inner);
    quoin_tuple_open(&inner);
    quoin_tuple_close(&inner);
    packed = packed_of(&inner);
    quoin_tuple_add_nested(&t, packed.ptr, (int)packed.len);
    expect_hex(&t, "0501666f6f00ff6261720000ff050000");
    quoin_tuple_done(&t);
    quoin_tuple_done(&inner);
}

Test(tuple, integers_are_packed_as_in_the_format)
{
    static const int64_t values[] = {0, 1, -1, 255, 256, -255, -256, 65535, -65536, 5551212, -5551212};
    struct quoin_tuple t = {0};
    uint8_t big[26] = {1};

    for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++)
        quoin_tuple_add_int(&t, values[i]);
    expect_hex(&t, "14150113fe15ff160100130012feff16ffff11feffff1754b46c11ab4b93");
    quoin_tuple_reset(&t);
    quoin_tuple_add_int(&t, INT64_MAX);
    quoin_tuple_add_int(&t, INT64_MIN);
    quoin_tuple_add_uint(&t, (uint64_t)INT64_MAX + 1);
    quoin_tuple_add_bigint(&t, true, "\x80\0\0\0\0\0\0\x01", 8);
    quoin_tuple_add_uint(&t, UINT64_MAX);
    quoin_tuple_add_bigint(&t, false, "\0\x01\0\0\0\0\0\0\0\0", 10);
    quoin_tuple_add_bigint(&t, true, "\x01\0\0\0\0\0\0\0\0", 9);
    quoin_tuple_add_bigint(&t, false, big, 26);
    quoin_tuple_add_bigint(&t, true, big, 26);
    expect_hex(&t, "1c7fffffffffffffff0c7fffffffffffffff1c80000000000000000c7ffffffffffffffe1cffffffffffffffff1d090100000000000000000bf6feffffffffff"
                   "ffffff1d1a01000000000000000000000000000000000000000000000000000be5feffffffffffffffffffffffffffffffffffffffffffffffffff");
    quoin_tuple_done(&t);
}

Test(tuple, the_other_types_are_packed_as_in_the_format)
{
    struct quoin_tuple t = {0};

    quoin_tuple_add_float(&t, -42);
    quoin_tuple_add_double(&t, 3.5);
    quoin_tuple_add_double(&t, -3.5);
    quoin_tuple_add_float(&t, 1.5f);
    quoin_tuple_add_double(&t, -0.0);
    expect_hex(&t, "203dd7ffff21c00c000000000000213ff3ffffffffffff20bfc00000217fffffffffffffff");
    quoin_tuple_reset(&t);
    quoin_tuple_add_null(&t);
    quoin_tuple_add_bool(&t, true);
    quoin_tuple_add_bool(&t, false);
    quoin_tuple_add_uuid(&t, "\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff", 16);
    quoin_tuple_add_versionstamp(&t, "\1\2\3\4\5\6\7\10\11\12\13\14", 12);
    quoin_tuple_add_user(&t, 0x41, "x\0y", 3);
    expect_hex(&t, "0027263000112233445566778899aabbccddeeff330102030405060708090a0b0c41780079");
    quoin_tuple_done(&t);
}

Test(tuple, an_incomplete_versionstamp_says_where_it_is)
{
    struct quoin_tuple t = {0};
    struct quoin_slice packed;

    quoin_tuple_add_raw(&t, "pre", 3);
    quoin_tuple_add_text(&t, "a", 1);
    cr_assert_eq(quoin_tuple_get_versionstamped(&t, &packed), QUOIN_ERROR_CLIENT_INVALID_OPERATION);
    quoin_tuple_add_incomplete_versionstamp(&t, 0x0102);
    quoin_tuple_add_int(&t, 0);
    cr_assert_eq(quoin_tuple_get(&t, &packed), QUOIN_ERROR_CLIENT_INVALID_OPERATION);
    cr_assert_eq(quoin_tuple_get_versionstamped(&t, &packed), 0);
    cr_assert(bytes_equal(bytes_of(packed.data, (size_t)packed.length),
                          BYTES_LITERAL("pre\x02" "a\0\x33\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x02\x14\x07\0\0\0")));
    quoin_tuple_add_incomplete_versionstamp(&t, 1);
    cr_assert_eq(quoin_tuple_get_versionstamped(&t, &packed), QUOIN_ERROR_CLIENT_INVALID_OPERATION);
    quoin_tuple_done(&t);
}

Test(tuple, a_range_holds_what_begins_with_the_tuple_and_goes_on)
{
    struct quoin_tuple t = {0};
    struct quoin_key_range range = {0};

    quoin_tuple_add_int(&t, 1);
    cr_assert_eq(quoin_tuple_range(&t, &range), 0);
    cr_assert(bytes_equal(bytes_of(range.begin.data, (size_t)range.begin.length), BYTES_LITERAL("\x15\x01\x00")));
    cr_assert(bytes_equal(bytes_of(range.end.data, (size_t)range.end.length), BYTES_LITERAL("\x15\x01\xff")));
    quoin_key_range_done(&range);
    cr_assert_eq(quoin_prefix_range("a\xff", 2, &range), 0);
    cr_assert(bytes_equal(bytes_of(range.end.data, (size_t)range.end.length), BYTES_LITERAL("b")));
    quoin_key_range_done(&range);
    cr_assert_eq(quoin_prefix_range("\xff\xff", 2, &range), QUOIN_ERROR_CLIENT_INVALID_OPERATION);
    cr_assert_eq(quoin_prefix_range("", 0, &range), QUOIN_ERROR_CLIENT_INVALID_OPERATION);
    cr_assert_eq(quoin_prefix_range("a", -1, &range), QUOIN_ERROR_CLIENT_INVALID_OPERATION);
    quoin_tuple_done(&t);
}

/* ---- reading ---- */

Test(tuple, elements_are_read_by_index_and_type)
{
    struct quoin_tuple t = {0};
    struct quoin_unpacked *u;
    const struct quoin_tuple_item *item;
    struct quoin_slice text;
    int64_t number;
    struct bytes packed;

    quoin_tuple_open(&t);
    quoin_tuple_add_null(&t);
    quoin_tuple_open(&t);
    quoin_tuple_add_int(&t, 7);
    quoin_tuple_close(&t);
    quoin_tuple_close(&t);
    quoin_tuple_add_int(&t, INT64_MIN);
    quoin_tuple_add_text(&t, "a\0b", 3);
    quoin_tuple_add_uint(&t, UINT64_MAX);
    packed = packed_of(&t);
    cr_assert_eq(quoin_tuple_unpack(packed.ptr, (int)packed.len, &u), 0);
    cr_assert_eq(u->count, 4);
    cr_assert_eq(u->item_count, 7);
    cr_assert(u->items[0].type == QUOIN_TUPLE_NESTED && u->items[0].count == 2 && u->items[0].span == 4);
    cr_assert(u->items[2].type == QUOIN_TUPLE_NESTED && u->items[2].count == 1 && u->items[3].integer == 7);
    cr_assert(quoin_unpacked_int(u, 1, &number) == 0 && number == INT64_MIN);
    cr_assert(quoin_unpacked_text(u, 2, &text) == 0 && text.length == 3 && memcmp(text.data, "a\0b", 3) == 0);
    cr_assert(quoin_unpacked_at(u, 3, &item) == 0 && item->type == QUOIN_TUPLE_BIGINT && item->bytes.length == 8);
    cr_assert_eq(quoin_unpacked_int(u, 3, &number), QUOIN_ERROR_INVALID_TUPLE_DATA_TYPE);
    cr_assert_eq(quoin_unpacked_bytes(u, 2, &text), QUOIN_ERROR_INVALID_TUPLE_DATA_TYPE);
    cr_assert_eq(quoin_unpacked_at(u, 4, &item), QUOIN_ERROR_INVALID_TUPLE_INDEX);
    cr_assert_eq(quoin_unpacked_at(u, -1, &item), QUOIN_ERROR_INVALID_TUPLE_INDEX);
    quoin_unpacked_destroy(u);
    quoin_tuple_done(&t);
}

static quoin_error unpack_error(struct bytes packed)
{
    struct quoin_unpacked *u = NULL;
    quoin_error error = quoin_tuple_unpack(packed.ptr, (int)packed.len, &u);

    quoin_unpacked_destroy(u);
    return error;
}

Test(tuple, bad_bytes_are_errors)
{
    static const uint8_t bad[] = {0x03, 0x04, 0x06, 0x0a, 0x1e, 0x1f, 0x22, 0x25, 0x28, 0x31, 0x32, 0x34, 0x3f, 0x50, 0xf0, 0xff};
    struct quoin_unpacked *u;

    for (size_t i = 0; i < sizeof(bad); i++)
        cr_assert_eq(unpack_error(bytes_of(&bad[i], 1)), QUOIN_ERROR_INVALID_TUPLE_DATA_TYPE, "code %02x", bad[i]);
    cr_assert_eq(unpack_error(BYTES_LITERAL("\x01" "abc")), QUOIN_ERROR_INVALID_TUPLE_DATA_TYPE);
    cr_assert_eq(unpack_error(BYTES_LITERAL("\x01" "abc\x00\xff")), QUOIN_ERROR_INVALID_TUPLE_DATA_TYPE);
    cr_assert_eq(unpack_error(BYTES_LITERAL("\x05\x14")), QUOIN_ERROR_INVALID_TUPLE_DATA_TYPE);
    cr_assert_eq(unpack_error(BYTES_LITERAL("\x05\x41")), QUOIN_ERROR_INVALID_TUPLE_DATA_TYPE);
    cr_assert_eq(unpack_error(BYTES_LITERAL("\x16\x01")), QUOIN_ERROR_INVALID_TUPLE_DATA_TYPE);
    cr_assert_eq(unpack_error(BYTES_LITERAL("\x1d")), QUOIN_ERROR_INVALID_TUPLE_DATA_TYPE);
    cr_assert_eq(unpack_error(BYTES_LITERAL("\x1d\xff\x01")), QUOIN_ERROR_INVALID_TUPLE_DATA_TYPE);
    cr_assert_eq(unpack_error(BYTES_LITERAL("\x0b\x00\x01")), QUOIN_ERROR_INVALID_TUPLE_DATA_TYPE);
    cr_assert_eq(unpack_error(BYTES_LITERAL("\x20\x01\x02\x03")), QUOIN_ERROR_INVALID_TUPLE_DATA_TYPE);
    cr_assert_eq(unpack_error(BYTES_LITERAL("\x30\x01")), QUOIN_ERROR_INVALID_UUID_SIZE);
    cr_assert_eq(unpack_error(BYTES_LITERAL("\x33\x01")), QUOIN_ERROR_INVALID_VERSIONSTAMP_SIZE);
    cr_assert_eq(unpack_error(bytes_none()), 0);
    cr_assert_eq(quoin_tuple_unpack(NULL, 1, &u), QUOIN_ERROR_CLIENT_INVALID_OPERATION);
    cr_assert_eq(quoin_tuple_unpack("", -1, &u), QUOIN_ERROR_CLIENT_INVALID_OPERATION);
}

Test(tuple, nesting_is_bounded)
{
    uint8_t deep[2 * QUOIN_TUPLE_DEPTH_MAX + 2];
    struct quoin_tuple t = {0};
    struct quoin_unpacked *u;

    memset(deep, 0x05, QUOIN_TUPLE_DEPTH_MAX);
    memset(deep + QUOIN_TUPLE_DEPTH_MAX, 0, QUOIN_TUPLE_DEPTH_MAX);
    cr_assert_eq(quoin_tuple_unpack(deep, 2 * QUOIN_TUPLE_DEPTH_MAX, &u), 0);
    quoin_tuple_add_item(&t, u->items);
    cr_assert(bytes_equal(packed_of(&t), bytes_of(deep, 2 * QUOIN_TUPLE_DEPTH_MAX)));
    quoin_unpacked_destroy(u);
    memset(deep, 0x05, QUOIN_TUPLE_DEPTH_MAX + 1);
    memset(deep + QUOIN_TUPLE_DEPTH_MAX + 1, 0, QUOIN_TUPLE_DEPTH_MAX + 1);
    cr_assert_eq(quoin_tuple_unpack(deep, (int)sizeof(deep), &u), QUOIN_ERROR_INVALID_TUPLE_DATA_TYPE);
    quoin_tuple_done(&t);
}

static quoin_error error_of(struct quoin_tuple *t)
{
    struct quoin_slice packed;
    quoin_error error = quoin_tuple_get(t, &packed);

    quoin_tuple_reset(t);
    return error;
}

Test(tuple, wrong_calls_are_remembered)
{
    struct quoin_tuple t = {0};
    uint8_t big[256] = {1};

    quoin_tuple_add_uuid(&t, "abc", 3);
    quoin_tuple_add_bytes(&t, NULL, 1);
    cr_assert_eq(error_of(&t), QUOIN_ERROR_INVALID_UUID_SIZE);
    quoin_tuple_add_versionstamp(&t, "abc", 3);
    cr_assert_eq(error_of(&t), QUOIN_ERROR_INVALID_VERSIONSTAMP_SIZE);
    quoin_tuple_add_bytes(&t, "a", -1);
    cr_assert_eq(error_of(&t), QUOIN_ERROR_CLIENT_INVALID_OPERATION);
    quoin_tuple_close(&t);
    cr_assert_eq(error_of(&t), QUOIN_ERROR_CLIENT_INVALID_OPERATION);
    quoin_tuple_open(&t);
    cr_assert_eq(error_of(&t), QUOIN_ERROR_CLIENT_INVALID_OPERATION);
    quoin_tuple_add_bigint(&t, false, big, 256);
    cr_assert_eq(error_of(&t), QUOIN_ERROR_CLIENT_INVALID_OPERATION);
    quoin_tuple_add_user(&t, 0x50, "", 0);
    cr_assert_eq(error_of(&t), QUOIN_ERROR_INVALID_TUPLE_DATA_TYPE);
    quoin_tuple_add_nested(&t, "\x01", 1);
    cr_assert_eq(error_of(&t), QUOIN_ERROR_INVALID_TUPLE_DATA_TYPE);
    quoin_tuple_add_int(&t, 1);
    cr_assert_eq(error_of(&t), 0);
    quoin_tuple_done(&t);
}

Test(tuple, a_failed_allocation_is_an_error_and_loses_nothing)
{
    FAIL_EACH(nth, nth_allocation) {
        struct quoin_tuple t = {0};
        struct quoin_key_range range = {0};
        struct quoin_unpacked *u = NULL;
        int error;

        nth_begin(&nth, NULL);
        quoin_tuple_add_int(&t, 5);
        error = quoin_tuple_range(&t, &range); /* also says what adding met */
        if (error == 0)
            error = quoin_tuple_unpack("\x14", 1, &u);
        cr_assert_eq(error, nth_end(&nth) ? QUOIN_ERROR_OUT_OF_MEMORY : 0);
        quoin_unpacked_destroy(u);
        quoin_key_range_done(&range);
        quoin_tuple_done(&t);
    }
}

/* ---- at random ---- */

/* Any bytes are either refused, or mean a tuple that is packed to something that means the same. */
Test(tuple, hostile_bytes_never_break_the_reader)
{
    static const uint8_t codes[] = {0, 0, 0xff, 1, 2, 5, 0x0b, 0x0c, 0x13, 0x14, 0x15, 0x1c, 0x1d, 0x20, 0x21, 0x26, 0x30, 0x33, 0x40, 9};
    struct quoin_tuple once = {0}, twice = {0};
    uint64_t state = 42;
    int good = 0;

    for (int round = 0; round < 200000; round++) {
        uint8_t input[24];
        int length = (int)draw_below(&state, sizeof(input));
        uint8_t *exact = malloc((size_t)length + 1); /* so that a sanitizer sees a byte too far */
        struct quoin_unpacked *u, *again;

        for (int i = 0; i < length; i++)
            input[i] = draw_below(&state, 3) ? codes[draw_below(&state, sizeof(codes))] : (uint8_t)draw(&state);
        memcpy(exact + 1, input, (size_t)length);
        if (quoin_tuple_unpack(exact + 1, length, &u) == 0) {
            quoin_tuple_reset(&once);
            quoin_tuple_reset(&twice);
            for (int i = 0; i < u->count; i++) {
                const struct quoin_tuple_item *item;

                cr_assert_eq(quoin_unpacked_at(u, i, &item), 0);
                quoin_tuple_add_item(&once, item);
            }
            if (once.error == 0) {
                good++;
                cr_assert_eq(quoin_tuple_unpack(once.data, once.length, &again), 0);
                cr_assert_eq(again->item_count, u->item_count);
                quoin_unpacked_destroy(again);
            }
            quoin_unpacked_destroy(u);
        }
        free(exact);
    }
    cr_assert_gt(good, 1000);
    quoin_tuple_done(&once);
    quoin_tuple_done(&twice);
}

/* A model of a tuple, with an order of its own that knows nothing of the encoding. */
struct element {
    int rank; /* null, bytes, text, nested, integer, float, double, bool, uuid, versionstamp */
    int length;
    uint8_t bytes[16];
    __int128 integer;
    double number;
    struct element *children;
};
#define RANKS 10

static void draw_element(uint64_t *state, struct element *e, int depth)
{
    static const int lengths[RANKS] = {0, -1, -1, 0, 0, 0, 0, 0, 16, 12};

    memset(e, 0, sizeof(*e));
    e->rank = (int)draw_below(state, RANKS);
    if (e->rank == 3 && depth == 0)
        e->rank = 0;
    e->length = lengths[e->rank] >= 0 ? lengths[e->rank] : (int)draw_below(state, 4);
    for (int i = 0; i < e->length; i++)
        e->bytes[i] = (uint8_t)(draw_below(state, 2) ? draw_below(state, 2) * 255 : draw(state) & 0x7f);
    if (e->rank == 4) {
        e->integer = (__int128)(draw(state) >> draw_below(state, 64)) << draw_below(state, 40);
        e->integer = draw_below(state, 2) ? -e->integer : e->integer;
    }
    if (e->rank == 5 || e->rank == 6)
        e->number = (double)(float)(((double)draw_below(state, 2001) - 1000) / (double)(1 + draw_below(state, 5)));
    if (e->rank == 7)
        e->number = (double)draw_below(state, 2);
    if (e->rank == 3) {
        e->length = (int)draw_below(state, 4);
        e->children = calloc(4, sizeof(*e));
        for (int i = 0; i < e->length; i++)
            draw_element(state, &e->children[i], depth - 1);
    }
}

static void free_elements(struct element *e, int count)
{
    for (int i = 0; i < count; i++) {
        if (e[i].children != NULL)
            free_elements(e[i].children, e[i].length);
        free(e[i].children);
    }
}

static int compare_elements(const struct element *a, int a_count, const struct element *b, int b_count)
{
    for (int i = 0; i < a_count && i < b_count; i++) {
        int order = a[i].rank - b[i].rank;

        if (order == 0 && a[i].rank == 3)
            order = compare_elements(a[i].children, a[i].length, b[i].children, b[i].length);
        else if (order == 0 && a[i].rank == 4)
            order = (a[i].integer > b[i].integer) - (a[i].integer < b[i].integer);
        else if (order == 0 && a[i].rank >= 5 && a[i].rank <= 7)
            order = (a[i].number > b[i].number) - (a[i].number < b[i].number);
        else if (order == 0)
            order = bytes_compare(bytes_of(a[i].bytes, (size_t)a[i].length), bytes_of(b[i].bytes, (size_t)b[i].length));
        if (order != 0)
            return order;
    }
    return a_count - b_count;
}

static void add_integer(struct quoin_tuple *t, __int128 value)
{
    unsigned __int128 magnitude = (unsigned __int128)(value < 0 ? -value : value);
    uint8_t bytes[16];

    for (int i = 0; i < 16; i++)
        bytes[i] = (uint8_t)(magnitude >> (120 - 8 * i));
    quoin_tuple_add_bigint(t, value < 0, bytes, 16);
}

static void add_elements(struct quoin_tuple *t, const struct element *e, int count)
{
    for (int i = 0; i < count; i++) {
        switch (e[i].rank) {
        case 0: quoin_tuple_add_null(t); break;
        case 1: quoin_tuple_add_bytes(t, e[i].bytes, e[i].length); break;
        case 2: quoin_tuple_add_text(t, (const char *)e[i].bytes, e[i].length); break;
        case 3:
            quoin_tuple_open(t);
            add_elements(t, e[i].children, e[i].length);
            quoin_tuple_close(t);
            break;
        case 4: add_integer(t, e[i].integer); break;
        case 5: quoin_tuple_add_float(t, (float)e[i].number); break;
        case 6: quoin_tuple_add_double(t, e[i].number); break;
        case 7: quoin_tuple_add_bool(t, e[i].number != 0); break;
        case 8: quoin_tuple_add_uuid(t, e[i].bytes, 16); break;
        default: quoin_tuple_add_versionstamp(t, e[i].bytes, 12); break;
        }
    }
}

static void pack_again(const struct quoin_tuple *t, struct quoin_tuple *out)
{
    struct quoin_unpacked *u;
    const struct quoin_tuple_item *item;

    cr_assert_eq(quoin_tuple_unpack(t->data, t->length, &u), 0);
    for (int i = 0; i < u->count; i++) {
        cr_assert_eq(quoin_unpacked_at(u, i, &item), 0);
        quoin_tuple_add_item(out, item);
    }
    quoin_unpacked_destroy(u);
}

Test(tuple, the_order_of_bytes_is_the_order_of_tuples)
{
    uint64_t state = 7;

    for (int round = 0; round < 40000; round++) {
        struct element a[4], b[4];
        struct quoin_tuple ta = {0}, tb = {0}, again = {0};
        int a_count = (int)draw_below(&state, 4), b_count = (int)draw_below(&state, 4), same, expected, order;

        for (int i = 0; i < a_count; i++)
            draw_element(&state, &a[i], 3);
        for (int i = 0; i < b_count; i++)
            draw_element(&state, &b[i], 3);
        same = (int)draw_below(&state, 3); /* often they begin alike */
        if (same == 0 && a_count > 0 && b_count > 0) {
            free_elements(b, 1);
            b[0] = a[0];
        }
        add_elements(&ta, a, a_count);
        add_elements(&tb, b, b_count);
        expected = compare_elements(a, a_count, b, b_count);
        order = bytes_compare(packed_of(&ta), packed_of(&tb));
        cr_assert((order < 0) == (expected < 0) && (order > 0) == (expected > 0), "round %d", round);
        pack_again(&ta, &again);
        cr_assert(bytes_equal(packed_of(&again), packed_of(&ta)));
        if (same == 0 && a_count > 0 && b_count > 0)
            b[0].children = NULL;
        free_elements(a, a_count);
        free_elements(b, b_count);
        quoin_tuple_done(&ta);
        quoin_tuple_done(&tb);
        quoin_tuple_done(&again);
    }
}

/* ---- subspaces ---- */

Test(subspace, keys_are_its_prefix_and_a_tuple)
{
    struct quoin_subspace outer = {0}, inner = {0};
    struct quoin_tuple t = {0};
    struct quoin_unpacked *u;
    struct quoin_key_range range;
    int64_t number;

    quoin_tuple_add_text(&t, "a", 1);
    cr_assert_eq(quoin_subspace_init(&outer, "\xfe", 1), 0);
    cr_assert_eq(quoin_subspace_init_tuple(&inner, &outer, &t), 0);
    quoin_subspace_start(&inner, &t);
    quoin_tuple_add_int(&t, 5);
    expect_hex(&t, "fe0261001505");
    cr_assert_eq(quoin_subspace_unpack(&inner, t.data, t.length, &u), 0);
    cr_assert(quoin_unpacked_int(u, 0, &number) == 0 && number == 5);
    quoin_unpacked_destroy(u);
    cr_assert_eq(quoin_subspace_unpack(&inner, "\xfe", 1, &u), QUOIN_ERROR_KEY_NOT_IN_SUBSPACE);
    cr_assert(quoin_subspace_contains(&outer, t.data, t.length));
    cr_assert_not(quoin_subspace_contains(&outer, "x", 1));
    cr_assert_eq(quoin_subspace_range(&inner, &range), 0);
    cr_assert(bytes_equal(bytes_of(range.end.data, (size_t)range.end.length), BYTES_LITERAL("\xfe\x02" "a\0\xff")));
    quoin_key_range_done(&range);
    quoin_subspace_done(&outer);
    quoin_subspace_done(&inner);
    quoin_tuple_done(&t);
}
