/* The codec: what was packed comes back, and nothing else is ever accepted, crashed on or believed. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "net/error.h"
#include "net/mem.h"
#include "net/message.h"
#include "tests/unit/nth.h"

#define FIELDS_leaf(F, S, A, L) F(bytes, key) F(i64, version) F(boolean, on)
#define FIELDS_tree(F, S, A, L) \
    F(u32, small) F(u64, big) S(leaf, first) A(leaf, leaves) L(u64, numbers) L(bytes, names) L(boolean, bits) S(wire_address, from)
/* `old` as an older release knew it, `grown` as a newer one does. */
#define FIELDS_old(F, S, A, L) F(u32, a) F(bytes, b)
#define FIELDS_grown(F, S, A, L) F(u32, a) F(bytes, b) F(i64, c) A(leaf, more) S(leaf, one) L(u32, list)
#define FIELDS_numbers(F, S, A, L) F(u32, a) F(u64, b) F(i64, c)
#define FIELDS_rows(F, S, A, L) A(tree, trees)
#define FIELDS_nothing(F, S, A, L)
SCHEMA_DECLARE(leaf)
SCHEMA_DECLARE(tree)
SCHEMA_DECLARE(old)
SCHEMA_DECLARE(grown)
SCHEMA_DECLARE(numbers)
SCHEMA_DECLARE(rows)
SCHEMA_DECLARE(nothing)
#define SELF struct leaf
SCHEMA_DEFINE(leaf, fields_leaf)
#undef SELF
#define SELF struct tree
SCHEMA_DEFINE(tree, fields_tree)
#undef SELF
#define SELF struct old
SCHEMA_DEFINE(old, fields_old)
#undef SELF
#define SELF struct grown
SCHEMA_DEFINE(grown, fields_grown)
#undef SELF
#define SELF struct numbers
SCHEMA_DEFINE(numbers, fields_numbers)
#undef SELF
#define SELF struct rows
SCHEMA_DEFINE(rows, fields_rows)
#undef SELF
#define SELF struct nothing
SCHEMA_DEFINE(nothing, fields_nothing)
#undef SELF

static const struct schema *const schemas[] = {&schema_leaf, &schema_tree,    &schema_old,         &schema_grown,
                                               &schema_rows, &schema_numbers, &schema_wire_address, &schema_nothing};
enum { SCHEMAS = sizeof(schemas) / sizeof(schemas[0]), BODY_MAX = 512, TEXT_MAX = 1 << 20 };

static uint64_t draw(void *ctx)
{
    uint64_t *state = ctx, z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static struct bytes_buffer pack(const struct schema *schema, const void *body)
{
    struct bytes_buffer packed = {0};

    cr_assert_eq(message_encode(schema, body, &packed), 0);
    return packed;
}

/* Decodes from a heap copy of exactly that size, so that a sanitizer sees any step outside. */
static int decode_exact(const struct schema *schema, struct bytes packed, struct arena *arena, void *body)
{
    uint8_t *copy = mem_alloc(packed.len);
    int error;

    memcpy(copy, packed.ptr, packed.len);
    error = message_decode(schema, bytes_of(copy, packed.len), arena, body);
    mem_free(copy);
    return error;
}

static void check_same(const struct schema *schema, const void *a, const void *b)
{
    struct bytes_buffer pa = pack(schema, a), pb = pack(schema, b);

    cr_assert(bytes_equal(bytes_buffer_bytes(&pa), bytes_buffer_bytes(&pb)));
    bytes_buffer_done(&pa);
    bytes_buffer_done(&pb);
}

Test(message, random_bodies_come_back_as_they_were)
{
    static char before[TEXT_MAX], after[TEXT_MAX];
    uint64_t seed = 1;

    for (int i = 0; i < 4000; i++) {
        const struct schema *schema = schemas[i % SCHEMAS];
        _Alignas(16) uint8_t body[BODY_MAX], decoded[BODY_MAX];
        struct arena arena = {0};
        struct bytes_buffer packed;

        cr_assert(schema->size <= BODY_MAX);
        cr_assert_eq(message_randomize(schema, &arena, draw, &seed, body), 0);
        packed = pack(schema, body);
        memset(decoded, 0xaa, sizeof(decoded));
        cr_assert_eq(message_decode(schema, bytes_buffer_bytes(&packed), &arena, decoded), 0);
        cr_assert_str_eq(message_print(schema, body, before, TEXT_MAX), message_print(schema, decoded, after, TEXT_MAX));
        check_same(schema, body, decoded);
        bytes_buffer_done(&packed);
        arena_done(&arena);
    }
}

Test(message, every_truncation_is_refused)
{
    uint64_t seed = 2;

    for (int i = 0; i < 60; i++) {
        struct tree body, decoded;
        struct arena arena = {0};
        struct bytes_buffer packed;

        cr_assert_eq(message_randomize(&schema_tree, &arena, draw, &seed, &body), 0);
        packed = pack(&schema_tree, &body);
        for (size_t len = 0; len < packed.len; len++)
            cr_assert_eq(decode_exact(&schema_tree, bytes_of(packed.ptr, len), &arena, &decoded), ERROR_SERIALIZATION_FAILED);
        bytes_buffer_done(&packed);
        arena_done(&arena);
    }
}

Test(message, trailing_garbage_is_refused)
{
    struct old body = {.a = 1}, decoded;
    struct bytes_buffer packed = pack(&schema_old, &body);
    struct arena arena = {0};

    cr_assert_eq(bytes_buffer_append(&packed, BYTES_LITERAL("\xc0")), 0);
    cr_assert_eq(message_decode(&schema_old, bytes_buffer_bytes(&packed), &arena, &decoded), ERROR_SERIALIZATION_FAILED);
    bytes_buffer_done(&packed);
    arena_done(&arena);
}

Test(message, flipped_bits_decode_to_something_or_nothing_but_stay_inside)
{
    uint64_t seed = 3;
    unsigned refused = 0;

    for (int i = 0; i < 40; i++) {
        const struct schema *schema = schemas[i % SCHEMAS];
        _Alignas(16) uint8_t body[BODY_MAX], decoded[BODY_MAX];
        struct arena arena = {0};
        struct bytes_buffer packed;

        cr_assert_eq(message_randomize(schema, &arena, draw, &seed, body), 0);
        packed = pack(schema, body);
        for (size_t bit = 0; bit < packed.len * 8; bit++) {
            int error;

            packed.ptr[bit / 8] ^= (uint8_t)(1U << bit % 8);
            error = decode_exact(schema, bytes_buffer_bytes(&packed), &arena, decoded);
            cr_assert(error == 0 || error == ERROR_SERIALIZATION_FAILED);
            refused += error != 0;
            packed.ptr[bit / 8] ^= (uint8_t)(1U << bit % 8);
            arena_reset(&arena);
        }
        bytes_buffer_done(&packed);
        arena_done(&arena);
    }
    cr_assert_gt(refused, 100);
}

Test(message, random_bytes_never_crash)
{
    uint64_t seed = 4;

    for (int i = 0; i < 20000; i++) {
        const struct schema *schema = schemas[i % SCHEMAS];
        _Alignas(16) uint8_t decoded[BODY_MAX];
        uint8_t packed[64];
        struct arena arena = {0};
        size_t len = draw(&seed) % (sizeof(packed) + 1);

        for (size_t at = 0; at < len; at++)
            packed[at] = (uint8_t)draw(&seed);
        if (len > 0)
            packed[0] = (uint8_t)(0x90 | schema->field_count);
        (void)decode_exact(schema, bytes_of(packed, len), &arena, decoded);
        arena_done(&arena);
    }
}

Test(message, a_newer_peers_fields_are_skipped)
{
    uint64_t seed = 5;

    for (int i = 0; i < 500; i++) {
        struct grown sent;
        struct old got;
        struct arena arena = {0};
        struct bytes_buffer packed;

        cr_assert_eq(message_randomize(&schema_grown, &arena, draw, &seed, &sent), 0);
        packed = pack(&schema_grown, &sent);
        cr_assert_eq(message_decode(&schema_old, bytes_buffer_bytes(&packed), &arena, &got), 0);
        cr_assert_eq(got.a, sent.a);
        cr_assert(bytes_equal(got.b, sent.b));
        bytes_buffer_done(&packed);
        arena_done(&arena);
    }
}

Test(message, what_an_older_peer_lacks_is_zero)
{
    struct old sent = {.a = 7, .b = BYTES_LITERAL("b")};
    struct grown got;
    struct arena arena = {0};
    struct bytes_buffer packed = pack(&schema_old, &sent);

    memset(&got, 0xff, sizeof(got));
    cr_assert_eq(message_decode(&schema_grown, bytes_buffer_bytes(&packed), &arena, &got), 0);
    cr_assert_eq(got.a, 7);
    cr_assert(bytes_equal(got.b, sent.b));
    cr_assert_eq(got.c, 0);
    cr_assert_eq(got.more_count, 0);
    cr_assert_null(got.more);
    cr_assert_eq(got.one.key.len, 0);
    cr_assert_eq(got.list_count, 0);
    bytes_buffer_done(&packed);
    arena_done(&arena);
}

Test(message, every_kind_of_msgpack_value_can_be_skipped)
{
    static const struct bytes values[] = {
        BYTES_LITERAL("\xc0"),                 BYTES_LITERAL("\xc2"),         BYTES_LITERAL("\x7f"),
        BYTES_LITERAL("\xff"),                 BYTES_LITERAL("\xcc\x01"),     BYTES_LITERAL("\xcd\x01\x02"),
        BYTES_LITERAL("\xce\x01\x02\x03\x04"), BYTES_LITERAL("\xd0\x01"),     BYTES_LITERAL("\xd1\x01\x02"),
        BYTES_LITERAL("\xca\x01\x02\x03\x04"), BYTES_LITERAL("\xa2hi"),       BYTES_LITERAL("\xd9\x02hi"),
        BYTES_LITERAL("\xda\x00\x02hi"),       BYTES_LITERAL("\xc4\x02hi"),   BYTES_LITERAL("\xc5\x00\x02hi"),
        BYTES_LITERAL("\xc6\x00\x00\x00\x01h"), BYTES_LITERAL("\x92\x01\x02"), BYTES_LITERAL("\xdc\x00\x01\xc0"),
        BYTES_LITERAL("\x81\xa1k\x01"),        BYTES_LITERAL("\xde\x00\x01\x01\x02"), BYTES_LITERAL("\xd4\x01\x02"),
        BYTES_LITERAL("\xd5\x01\x02\x03"),     BYTES_LITERAL("\xc7\x02\x01\x02\x03"),
        BYTES_LITERAL("\xcb\x01\x02\x03\x04\x05\x06\x07\x08"),
        BYTES_LITERAL("\xd6\x01\x02\x03\x04\x05"),
        BYTES_LITERAL("\xd7\x01\x02\x03\x04\x05\x06\x07\x08\x09"),
        BYTES_LITERAL("\xd8\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11"),
    };

    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        struct bytes_buffer packed = {0};
        struct arena arena = {0};
        struct old got;

        cr_assert_eq(bytes_buffer_append(&packed, BYTES_LITERAL("\x93\x05\xc4\x01x")), 0);
        cr_assert_eq(bytes_buffer_append(&packed, values[i]), 0);
        cr_assert_eq(decode_exact(&schema_old, bytes_buffer_bytes(&packed), &arena, &got), 0, "value %zu", i);
        cr_assert_eq(got.a, 5);
        for (size_t len = 0; len < packed.len; len++)
            cr_assert_eq(decode_exact(&schema_old, bytes_of(packed.ptr, len), &arena, &got), ERROR_SERIALIZATION_FAILED);
        bytes_buffer_done(&packed);
        arena_done(&arena);
    }
}

Test(message, the_unused_tag_is_refused)
{
    struct arena arena = {0};
    struct old got;

    cr_assert_eq(message_decode(&schema_old, BYTES_LITERAL("\x93\x05\xc4\x01x\xc1"), &arena, &got), ERROR_SERIALIZATION_FAILED);
}

Test(message, integers_are_taken_in_every_encoding_and_range_checked)
{
    static const struct {
        struct bytes packed;
        int64_t value;
    } fits[] = {
        {BYTES_LITERAL("\x93\x05\x05\x05"), 5},
        {BYTES_LITERAL("\x93\xcc\x05\xcc\x05\xcc\x05"), 5},
        {BYTES_LITERAL("\x93\xcd\x00\x05\xcd\x00\x05\xcd\x00\x05"), 5},
        {BYTES_LITERAL("\x93\xd0\x05\xd1\x00\x05\xd2\x00\x00\x00\x05"), 5},
        {BYTES_LITERAL("\x93\xcf\0\0\0\0\0\0\0\x05\xd3\0\0\0\0\0\0\0\x05\xcf\0\0\0\0\0\0\0\x05"), 5},
    };
    static const struct bytes beyond[] = {
        BYTES_LITERAL("\x93\xff\x00\x00"),                                  /* u32 below zero */
        BYTES_LITERAL("\x93\xcf\0\0\0\x01\0\0\0\0\x00\x00"),                /* u32 too large */
        BYTES_LITERAL("\x93\x00\xd0\xff\x00"),                              /* u64 below zero */
        BYTES_LITERAL("\x93\x00\x00\xcf\x80\0\0\0\0\0\0\0"),                /* i64 too large */
        BYTES_LITERAL("\x93\x00\x00\xc3"), BYTES_LITERAL("\x93\xc0\x00\x00"), /* other kinds */
    };
    struct arena arena = {0};
    struct numbers got;

    for (size_t i = 0; i < sizeof(fits) / sizeof(fits[0]); i++) {
        cr_assert_eq(decode_exact(&schema_numbers, fits[i].packed, &arena, &got), 0, "%zu", i);
        cr_assert(got.a == 5 && got.b == 5 && got.c == 5, "%zu", i);
    }
    for (size_t i = 0; i < sizeof(beyond) / sizeof(beyond[0]); i++)
        cr_assert_eq(decode_exact(&schema_numbers, beyond[i], &arena, &got), ERROR_SERIALIZATION_FAILED, "%zu", i);
    cr_assert_eq(decode_exact(&schema_numbers, BYTES_LITERAL("\x93\x00\x00\xd1\xff\x00"), &arena, &got), 0);
    cr_assert_eq(got.c, -256);
}

Test(message, bytes_come_as_bin_or_str)
{
    struct arena arena = {0};
    struct old got;

    cr_assert_eq(message_decode(&schema_old, BYTES_LITERAL("\x92\x01\xa2hi"), &arena, &got), 0);
    cr_assert(bytes_equal(got.b, BYTES_LITERAL("hi")));
    cr_assert_eq(message_decode(&schema_old, BYTES_LITERAL("\x92\x01\xdb\0\0\0\x02hi"), &arena, &got), 0);
    cr_assert(bytes_equal(got.b, BYTES_LITERAL("hi")));
    cr_assert_eq(message_decode(&schema_old, BYTES_LITERAL("\x92\x01\xc6\xff\xff\xff\xffhi"), &arena, &got),
                 ERROR_SERIALIZATION_FAILED);
}

Test(message, a_huge_count_allocates_nothing)
{
    struct arena arena = {0};
    struct rows got;

    cr_assert_eq(message_decode(&schema_rows, BYTES_LITERAL("\x91\xdd\xff\xff\xff\xff\x90"), &arena, &got),
                 ERROR_SERIALIZATION_FAILED);
    cr_assert_eq(arena.reserved_bytes, 0);
}

/* A megabyte that claims a million structs of 200 bytes each: the claim fits the bytes, the memory would not be theirs. */
Test(message, memory_is_bounded_by_the_bytes_that_arrived)
{
    enum { COUNT = 1000000 };
    uint8_t *packed = mem_alloc(6 + COUNT);
    struct arena arena = {0};
    struct rows got;

    memcpy(packed, "\x91\xdd\x00\x0f\x42\x40", 6);
    memset(packed + 6, 0x90, COUNT);
    cr_assert_eq(message_decode(&schema_rows, bytes_of(packed, 6 + COUNT), &arena, &got), ERROR_SERIALIZATION_FAILED);
    cr_assert_lt(arena.reserved_bytes, 64 * (6 + COUNT));
    arena_done(&arena);
    mem_free(packed);
}

Test(message, deep_nesting_is_refused)
{
    struct bytes_buffer packed = {0};
    struct arena arena = {0};
    struct old got;

    cr_assert_eq(bytes_buffer_append(&packed, BYTES_LITERAL("\x93\x05\xc4\x01x")), 0);
    for (int i = 0; i < 100000; i++)
        cr_assert_eq(bytes_buffer_append(&packed, BYTES_LITERAL("\x91")), 0);
    cr_assert_eq(bytes_buffer_append(&packed, BYTES_LITERAL("\xc0")), 0);
    cr_assert_eq(message_decode(&schema_old, bytes_buffer_bytes(&packed), &arena, &got), ERROR_SERIALIZATION_FAILED);
    bytes_buffer_done(&packed);
}

Test(message, printing_cuts_to_fit_at_every_size)
{
    struct old body = {.a = 12, .b = BYTES_LITERAL("a\"\x01z")};
    char text[64], cut[64];

    message_print(&schema_old, &body, text, sizeof(text));
    cr_assert_str_eq(text, "{a: 12, b: \"a\\\"\\x01z\"}");
    for (size_t size = 1; size <= strlen(text); size++) {
        message_print(&schema_old, &body, cut, size);
        cr_assert_eq(strlen(cut), size - 1);
        cr_assert_eq(strncmp(cut, text, size - 1), 0);
    }
}

Test(message, a_copy_stands_alone)
{
    uint64_t seed = 6;

    for (int i = 0; i < 300; i++) {
        struct arena first = {0}, second = {0};
        struct rows body, copy;
        struct bytes_buffer before, after;

        cr_assert_eq(message_randomize(&schema_rows, &first, draw, &seed, &body), 0);
        before = pack(&schema_rows, &body);
        cr_assert_eq(message_copy_body(&schema_rows, &body, &second, &copy), 0);
        arena_done(&first);
        after = pack(&schema_rows, &copy);
        cr_assert(bytes_equal(bytes_buffer_bytes(&before), bytes_buffer_bytes(&after)));
        bytes_buffer_done(&before);
        bytes_buffer_done(&after);
        arena_done(&second);
    }
}

static const struct message_type type_rows = {.id = 10, .name = "rows", .schema = &schema_rows, .senders = SENDER_ANY};

Test(message, references_keep_what_they_point_to)
{
    struct message *kept = message_create(&type_rows), *message = message_create(&type_rows);

    message_keep(message, kept);
    message_unref(kept);
    cr_assert_eq(kept->refs, 1);
    cr_assert_eq(message_ref(message), message);
    message_unref(message);
    cr_assert_eq(message->refs, 1);
    message_unref(message);
    message_unref(NULL);
}

Test(message, a_received_message_owns_its_bytes)
{
    uint64_t seed = 7;
    struct arena arena = {0};
    struct rows body;
    struct bytes_buffer packed, again;
    struct message *message;

    do
        cr_assert_eq(message_randomize(&schema_rows, &arena, draw, &seed, &body), 0);
    while (body.trees_count == 0);
    packed = pack(&schema_rows, &body);
    cr_assert_eq(message_from_packed(&type_rows, bytes_buffer_bytes(&packed), &message), 0);
    cr_assert_eq(message->encoded_bytes, packed.len);
    again = pack(&schema_rows, &body);
    memset(packed.ptr, 0, packed.len);
    bytes_buffer_done(&packed);
    packed = pack(&schema_rows, message->body);
    cr_assert(bytes_equal(bytes_buffer_bytes(&packed), bytes_buffer_bytes(&again)));
    bytes_buffer_done(&packed);
    bytes_buffer_done(&again);
    message_unref(message);
    arena_done(&arena);
}

Test(message, a_buffer_that_was_taken_lives_as_long_as_its_message_or_whoever_got_that)
{
    uint64_t seed = 9;
    struct arena arena = {0}, heir = {0};
    struct rows body;
    struct bytes_buffer packed, taken, again;
    struct message *message;

    do
        cr_assert_eq(message_randomize(&schema_rows, &arena, draw, &seed, &body), 0);
    while (body.trees_count == 0);
    packed = pack(&schema_rows, &body);
    taken = pack(&schema_rows, &body);
    cr_assert_eq(message_from_buffer(&type_rows, bytes_buffer_bytes(&taken), &taken, &message), 0);
    cr_assert_null(taken.ptr);
    cr_assert_eq(message->encoded_bytes, packed.len);
    cr_assert(message_give(message, &heir));
    again = pack(&schema_rows, message->body);
    cr_assert(bytes_equal(bytes_buffer_bytes(&packed), bytes_buffer_bytes(&again)));
    arena_done(&heir);
    bytes_buffer_done(&packed);
    bytes_buffer_done(&again);
    arena_done(&arena);
}

Test(message, a_bad_body_leaves_the_buffer_to_its_owner)
{
    struct bytes_buffer bad = {0};
    struct message *message;

    cr_assert_eq(bytes_buffer_append(&bad, BYTES_LITERAL("\xc1")), 0);
    cr_assert_eq(message_from_buffer(&type_rows, bytes_buffer_bytes(&bad), &bad, &message), ERROR_SERIALIZATION_FAILED);
    cr_assert_not_null(bad.ptr);
    bytes_buffer_done(&bad);
}

/* Everything that allocates, with its n-th allocation failing, n = 1, 2, .. until none does. */
static int allocate_everything(void)
{
    uint64_t seed = 8;
    struct arena arena = {0};
    struct bytes_buffer packed = {0};
    struct message *message = NULL;
    struct rows body, copy;
    int error = message_randomize(&schema_rows, &arena, draw, &seed, &body);

    if (error == 0)
        error = message_encode(&schema_rows, &body, &packed);
    if (error == 0)
        error = message_copy_body(&schema_rows, &body, &arena, &copy);
    if (error == 0)
        error = message_from_packed(&type_rows, bytes_buffer_bytes(&packed), &message);
    message_unref(message);
    message = NULL;
    if (error == 0)
        error = message_from_buffer(&type_rows, bytes_buffer_bytes(&packed), &packed, &message);
    message_unref(message);
    bytes_buffer_done(&packed);
    arena_done(&arena);
    return error;
}

Test(message, a_failed_allocation_is_an_error_and_leaks_nothing)
{
    FAIL_EACH(nth, nth_allocation) {
        int error;

        nth_begin(&nth, NULL);
        error = allocate_everything();
        cr_assert_eq(error, nth_end(&nth) ? ERROR_OUT_OF_MEMORY : 0);
    }
}
