/* Tags, and the bytes of their limits. */
#include <criterion/criterion.h>
#include <math.h>

#include "net/error.h"
#include "txn/tags.h"

static struct throttle throttle_of(const char *tag)
{
    struct throttle throttle = {.type = THROTTLE_MANUAL, .priority = THROTTLE_DEFAULT, .rate = 12.5, .expires_s = 1.7e9, .duration_s = 3600,
                                .reason = THROTTLE_BY_HAND};

    cr_assert(tag_name_of(bytes_of_string(tag), &throttle.tag));
    return throttle;
}

Test(tags, a_set_holds_five_of_sixteen_bytes_and_each_once)
{
    struct tag_set set = {0};

    cr_assert_eq(tag_set_add(&set, BYTES_LITERAL("12345678901234567")), ERROR_TAG_TOO_LONG);
    cr_assert_eq(tag_set_add(&set, BYTES_LITERAL("")), 0);
    cr_assert_eq(tag_set_add(&set, BYTES_LITERAL("1234567890123456")), 0);
    cr_assert_eq(tag_set_add(&set, BYTES_LITERAL("c")), 0);
    cr_assert_eq(tag_set_add(&set, BYTES_LITERAL("d")), 0);
    cr_assert_eq(tag_set_add(&set, BYTES_LITERAL("e")), 0);
    cr_assert_eq(tag_set_add(&set, BYTES_LITERAL("f")), ERROR_TOO_MANY_TAGS);
    cr_assert_eq(tag_set_add(&set, BYTES_LITERAL("c")), 0);
    cr_assert_eq(set.count, 5);
}

Test(tags, sets_are_equal_whatever_their_order)
{
    struct tag_set a = {0}, b = {0};

    cr_assert_eq(tag_set_add(&a, BYTES_LITERAL("x")), 0);
    cr_assert(!tag_set_equal(&a, &b));
    cr_assert_eq(tag_set_add(&b, BYTES_LITERAL("y")), 0);
    cr_assert(!tag_set_equal(&a, &b));
    cr_assert_eq(tag_set_add(&a, BYTES_LITERAL("y")), 0);
    cr_assert_eq(tag_set_add(&b, BYTES_LITERAL("x")), 0);
    cr_assert(tag_set_equal(&a, &b));
}

Test(tags, a_limit_has_foundationdbs_bytes)
{
    static const uint8_t expected[THROTTLE_VALUE_BYTES] = {0x01, 0x00, 0x01, 0x70, 0xb0, 0x00, 0xdb, 0x0f, 0, 0, 0, 0, 0, 0, 0x29, 0x40, /* 12.5 */
                                                           0, 0, 0, 0x40, 0xfc, 0x54, 0xd9, 0x41, /* 1.7e9 */
                                                           0, 0, 0, 0, 0, 0x20, 0xac, 0x40,    /* 3600 */
                                                           1};
    struct throttle throttle = throttle_of("web");
    uint8_t key[THROTTLE_KEY_BYTES_MAX], value[THROTTLE_VALUE_BYTES];
    size_t key_len = throttle_key_write(key, &throttle);

    cr_assert(bytes_equal(bytes_of(key, key_len), BYTES_LITERAL("\xff\x02/throttledTags/tag/\x00\x01\x03web")));
    throttle_value_write(value, &throttle);
    cr_assert_arr_eq(value, expected, sizeof(expected));
}

Test(tags, a_limit_that_was_written_is_read_as_it_was)
{
    struct throttle throttle = throttle_of("1234567890123456"), found = {0};
    uint8_t key[THROTTLE_KEY_BYTES_MAX], value[THROTTLE_VALUE_BYTES];

    throttle.type = THROTTLE_AUTO;
    throttle.priority = THROTTLE_BATCH;
    throttle.reason = THROTTLE_BUSY_WRITE;
    cr_assert(throttle_key_parse(bytes_of(key, throttle_key_write(key, &throttle)), &found));
    throttle_value_write(value, &throttle);
    cr_assert(throttle_value_parse(bytes_of(value, sizeof(value)), &found));
    cr_assert(tag_equal(&found.tag, &throttle.tag));
    cr_assert(found.type == throttle.type && found.priority == throttle.priority && found.reason == throttle.reason);
    cr_assert(found.rate == throttle.rate && found.expires_s == throttle.expires_s && found.duration_s == throttle.duration_s);
    cr_assert(throttle_value_parse(bytes_of(value, sizeof(value) - 1), &found), "an older one has no reason");
    cr_assert_eq(found.reason, THROTTLE_UNSET);
}

Test(tags, what_is_no_limit_is_refused)
{
    struct throttle throttle = throttle_of("web"), found;
    uint8_t key[THROTTLE_KEY_BYTES_MAX], value[THROTTLE_VALUE_BYTES];
    size_t key_len = throttle_key_write(key, &throttle), tag_at = key_len - 4;

    for (size_t len = 0; len < key_len; len++)
        cr_assert(!throttle_key_parse(bytes_of(key, len), &found), "%zu", len);
    key[tag_at] = 4;
    cr_assert(!throttle_key_parse(bytes_of(key, key_len), &found), "a length beyond the end");
    key[tag_at] = 1;
    cr_assert(!throttle_key_parse(bytes_of(key, key_len), &found), "two tags");
    key[tag_at] = 3;
    key[tag_at - 1] = THROTTLE_PRIORITIES;
    cr_assert(!throttle_key_parse(bytes_of(key, key_len), &found));
    for (size_t len = 0; len + 1 < sizeof(value); len++)
        cr_assert(!throttle_value_parse(bytes_of(value, len), &found), "%zu", len);
    throttle.rate = -1;
    throttle_value_write(value, &throttle);
    cr_assert(!throttle_value_parse(bytes_of(value, sizeof(value)), &found));
    throttle.rate = (double)INFINITY;
    throttle_value_write(value, &throttle);
    cr_assert(!throttle_value_parse(bytes_of(value, sizeof(value)), &found));
}
