#include <criterion/criterion.h>

#include "net/error.h"
#include "net/mem.h"
#include "tests/unit/draw.h"
#include "tests/unit/nth.h"
#include "txn/kv_map.h"
#include "txn/system_keys.h"

Test(system_keys, metadata_is_ff_without_ff02)
{
    cr_assert(system_key_is_metadata(BYTES_LITERAL("\xff")));
    cr_assert(system_key_is_metadata(BYTES_LITERAL("\xff/conf/logs")));
    cr_assert(system_key_is_metadata(BYTES_LITERAL("\xff\x01\xff")));
    cr_assert(system_key_is_metadata(BYTES_LITERAL("\xff\x03")));
    cr_assert_not(system_key_is_metadata(BYTES_LITERAL("\xff\x02")));
    cr_assert_not(system_key_is_metadata(BYTES_LITERAL("\xff\x02/idmp/1")));
    cr_assert_not(system_key_is_metadata(BYTES_LITERAL("\xff\xff")));
    cr_assert_not(system_key_is_metadata(BYTES_LITERAL("\xfe\xff")));
    cr_assert_not(system_key_is_metadata(bytes_none()));
}

Test(system_keys, a_range_touches_metadata_if_some_key_of_it_is)
{
    cr_assert(system_range_touches_metadata(bytes_none(), BYTES_LITERAL("\xff\xff")));
    cr_assert(system_range_touches_metadata(BYTES_LITERAL("a"), BYTES_LITERAL("\xff\x00")));
    cr_assert(system_range_touches_metadata(BYTES_LITERAL("\xff\x02"), BYTES_LITERAL("\xff\x03\x00")));
    cr_assert_not(system_range_touches_metadata(BYTES_LITERAL("a"), BYTES_LITERAL("\xff")));
    cr_assert_not(system_range_touches_metadata(BYTES_LITERAL("\xff\x02"), BYTES_LITERAL("\xff\x03")));
    cr_assert_not(system_range_touches_metadata(BYTES_LITERAL("\xff/b"), BYTES_LITERAL("\xff/b")));
    cr_assert_not(system_range_touches_metadata(BYTES_LITERAL("\xff/b"), BYTES_LITERAL("\xff/a")));
}

Test(system_keys, keys_are_parsed_as_they_were_built)
{
    struct bytes_buffer key = {0};
    struct bytes begin;
    uint64_t id;

    cr_assert_eq(system_key_server_list(&key, 0x0102030405060708), 0);
    cr_assert(system_key_parse_server_list(bytes_buffer_bytes(&key), &id));
    cr_assert_eq(id, 0x0102030405060708);
    key.len = 0;
    cr_assert_eq(system_key_key_servers(&key, BYTES_LITERAL("a\0b")), 0);
    cr_assert(system_key_parse_key_servers(bytes_buffer_bytes(&key), &begin));
    cr_assert(bytes_equal(begin, BYTES_LITERAL("a\0b")));
    key.len = 0;
    cr_assert_eq(system_key_server_keys(&key, 9, bytes_none()), 0);
    cr_assert(system_key_parse_server_keys(bytes_buffer_bytes(&key), &id, &begin));
    cr_assert(id == 9 && begin.len == 0);
    bytes_buffer_done(&key);
}

Test(system_keys, what_is_not_of_the_form_is_not_parsed)
{
    struct bytes begin;
    uint64_t id;

    cr_assert_not(system_key_parse_server_list(BYTES_LITERAL("\xff/serverList/1234567"), &id));
    cr_assert_not(system_key_parse_server_list(BYTES_LITERAL("\xff/serverList/123456789"), &id));
    cr_assert_not(system_key_parse_server_keys(BYTES_LITERAL("\xff/serverKeys/12345678"), &id, &begin));
    cr_assert_not(system_key_parse_server_keys(BYTES_LITERAL("\xff/serverKeys/12345678x"), &id, &begin));
    cr_assert_not(system_key_parse_key_servers(BYTES_LITERAL("\xff/keyServer"), &begin));
}

Test(system_keys, the_configuration_round_trips)
{
    struct configuration wanted = {3, ENGINE_MEMORY, 7, 2, 4, 64}, got;
    struct bytes_buffer table = {0};
    struct kv_map *map = kv_map_create();

    cr_assert_eq(configuration_write(&table, &wanted), 0);
    cr_assert_eq(kv_map_apply(map, bytes_buffer_bytes(&table)), 0);
    configuration_read(map, &got);
    cr_assert_eq(memcmp(&wanted, &got, sizeof(got)), 0);
    kv_map_destroy(map);
    bytes_buffer_done(&table);
}

Test(system_keys, a_configuration_that_makes_no_sense_is_the_default)
{
    struct kv_map *map = kv_map_create();
    struct configuration got;

    kv_map_set(map, KEY_CONF_REDUNDANCY, BYTES_LITERAL("quadruple"));
    kv_map_set(map, KEY_CONF_ENGINE, BYTES_LITERAL("ssd-2"));
    kv_map_set(map, KEY_CONF_LOGS, BYTES_LITERAL("65"));
    kv_map_set(map, KEY_CONF_COMMIT_PROXIES, BYTES_LITERAL("0"));
    kv_map_set(map, KEY_CONF_GRV_PROXIES, BYTES_LITERAL("1x"));
    kv_map_set(map, KEY_CONF_RESOLVERS, BYTES_LITERAL("99999999999999999999"));
    configuration_read(map, &got);
    cr_assert(got.replication == 1 && got.engine == ENGINE_LMDB && got.logs == 3);
    cr_assert(got.commit_proxies == 1 && got.grv_proxies == 1 && got.resolvers == 1);
    kv_map_destroy(map);
}

Test(system_keys, names_and_numbers_match)
{
    for (uint32_t r = 1; r <= 3; r++)
        cr_assert_eq(redundancy_parse(bytes_of_string(redundancy_name(r))), r);
    cr_assert_eq(redundancy_parse(BYTES_LITERAL("unknown")), 0);
    cr_assert_str_eq(redundancy_name(4), "unknown");
    cr_assert_eq(engine_parse(BYTES_LITERAL("ssd-redwood-1")), ENGINE_LMDB);
    cr_assert_eq(engine_parse(BYTES_LITERAL("memory")), ENGINE_MEMORY);
    cr_assert_eq(engine_parse(BYTES_LITERAL("")), 0);
}

Test(system_keys, a_failed_allocation_leaves_the_buffer_as_it_was)
{
    uint8_t begin[600] = {0};

    FAIL_EACH(nth, nth_allocation) {
        struct bytes_buffer buffer = {0};
        struct configuration configuration = {1, 1, 1, 1, 1, 1};
        int error;

        nth_begin(&nth, NULL);
        error = configuration_write(&buffer, &configuration);
        cr_assert_eq(buffer.len == 0, error != 0);
        buffer.len = 0;
        if (error == 0)
            error = system_key_server_keys(&buffer, 1, bytes_of(begin, sizeof(begin)));
        cr_assert_eq(buffer.len == 0, error != 0);
        cr_assert_eq(error, nth_end(&nth) ? ERROR_OUT_OF_MEMORY : 0);
        bytes_buffer_done(&buffer);
    }
}
