/* Golden bytes of a shard's team, and what is no team. */
#include <criterion/criterion.h>

#include "net/error.h"
#include "net/mem.h"
#include "tests/unit/nth.h"
#include "txn/mutation.h"
#include "txn/system_keys.h"

static const uint8_t golden[] = {
    0x01, 0x00, 0x01, 0x62, 0xb0, 0x00, 0xdb, 0x0f,                         /* FoundationDB's protocol version of the format */
    2,    0,    0,    0,                                                    /* source */
    0x08, 0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01, 0, 0, 0, 0, 0, 0, 0, 0, /* id 0x0102030405060708 */
    0x09, 0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01, 0, 0, 0, 0, 0, 0, 0, 0,
    1,    0,    0,    0,                                                    /* destination */
    0x03, 0,    0,    0,    0,    0,    0,    0,    0, 0, 0, 0, 0, 0, 0, 0,
};

static int decode(struct bytes packed, struct key_servers_value *ret)
{
    static struct arena arena;

    arena_done(&arena);
    arena_init(&arena);
    return key_servers_decode(packed, &arena, ret);
}

Test(key_servers, a_team_has_foundationdbs_bytes)
{
    uint64_t source[] = {0x0102030405060709, 0x0102030405060708}, destination[] = {3, 3};
    struct key_servers_value value = {source, 2, destination, 2}, back;
    struct bytes_buffer packed = {0};

    cr_assert_eq(key_servers_encode(&value, &packed), 0);
    cr_assert(bytes_equal(bytes_buffer_bytes(&packed), bytes_of(golden, sizeof(golden))), "sorted, without repeats");
    cr_assert_eq(decode(bytes_of(golden, sizeof(golden)), &back), 0);
    cr_assert(back.source_count == 2 && back.source[0] == 0x0102030405060708 && back.source[1] == 0x0102030405060709);
    cr_assert(back.destination_count == 1 && back.destination[0] == 3);
    bytes_buffer_done(&packed);
    decode(bytes_none(), &back);
}

Test(key_servers, the_empty_value_names_nobody)
{
    struct key_servers_value back = {.source_count = 1, .destination_count = 1};

    cr_assert_eq(decode(bytes_none(), &back), 0);
    cr_assert(back.source_count == 0 && back.destination_count == 0);
}

Test(key_servers, a_value_that_was_cut_or_has_more_behind_it_is_refused)
{
    uint8_t longer[sizeof(golden) + 1] = {0};
    struct key_servers_value back;

    memcpy(longer, golden, sizeof(golden));
    for (size_t len = 1; len < sizeof(golden); len++)
        cr_assert_eq(decode(bytes_of(golden, len), &back), ERROR_SERIALIZATION_FAILED, "%zu bytes", len);
    cr_assert_eq(decode(bytes_of(longer, sizeof(longer)), &back), ERROR_SERIALIZATION_FAILED);
    decode(bytes_none(), &back);
}

Test(key_servers, another_version_a_foreign_id_a_repeat_and_a_lying_count_are_refused)
{
    static const struct {
        size_t at;
        uint8_t byte;
    } wrong[] = {{0, 2}, {7, 0x8f}, {8, 1}, {8, 3}, {11, 0xff}, {20, 1}, {28, 0x08}, {28, 0x07}, {44, 2}, {47, 0x80}};
    struct key_servers_value back;

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        uint8_t copy[sizeof(golden)];

        memcpy(copy, golden, sizeof(golden));
        copy[wrong[i].at] = wrong[i].byte;
        cr_assert_eq(decode(bytes_of(copy, sizeof(copy)), &back), ERROR_SERIALIZATION_FAILED, "byte %zu", wrong[i].at);
    }
    decode(bytes_none(), &back);
}

Test(key_servers, mutations_set_the_keys)
{
    uint64_t id = 9;
    struct key_servers_value team = {.source = &id, .source_count = 1}, back;
    struct bytes_buffer table = {0};
    struct mutation mutation;
    struct bytes begin, rest;
    uint64_t server;

    cr_assert_eq(key_servers_set(&table, BYTES_LITERAL("m"), &team), 0);
    cr_assert_eq(server_keys_set(&table, 9, BYTES_LITERAL("m"), BYTES_LITERAL("p"), SERVER_KEYS_FETCH), 0);
    rest = bytes_buffer_bytes(&table);
    cr_assert_eq(mutation_next(&rest, &mutation), 0);
    cr_assert(mutation.type == MUTATION_SET && system_key_parse_key_servers(mutation.param1, &begin));
    cr_assert(bytes_equal(begin, BYTES_LITERAL("m")) && decode(mutation.param2, &back) == 0 && back.source[0] == 9);
    cr_assert_eq(mutation_next(&rest, &mutation), 0);
    cr_assert(mutation.type == MUTATION_SET && system_key_parse_server_keys(mutation.param1, &server, &begin));
    cr_assert(server == 9 && bytes_equal(begin, BYTES_LITERAL("m")));
    bytes_buffer_done(&table);
    decode(bytes_none(), &back);
}

Test(key_servers, a_failed_allocation_appends_nothing)
{
    uint64_t id = 9;
    struct key_servers_value team = {.source = &id, .source_count = 1};

    FAIL_EACH(nth, nth_allocation) {
        struct bytes_buffer table = {0};
        int error;

        nth_begin(&nth, NULL);
        error = key_servers_set(&table, BYTES_LITERAL("m"), &team);
        cr_assert_eq(table.len == 0, error != 0);
        table.len = 0;
        if (error == 0)
            error = server_keys_set(&table, 9, BYTES_LITERAL("m"), BYTES_LITERAL("p"), SERVER_KEYS_READY);
        cr_assert_eq(table.len == 0, error != 0);
        cr_assert_eq(error, nth_end(&nth) ? ERROR_OUT_OF_MEMORY : 0);
        bytes_buffer_done(&table);
    }
}
