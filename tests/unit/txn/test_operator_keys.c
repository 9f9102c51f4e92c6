/* Exclusions, classes and maintenance, as they stand in keys and values. */
#include <criterion/criterion.h>

#include "net/error.h"
#include "tests/unit/nth.h"
#include "txn/kv_map.h"
#include "txn/operator_keys.h"

static struct address address_of_text(const char *text)
{
    struct address address;

    cr_assert_eq(address_parse(bytes_of_string(text), &address), 0);
    return address;
}

static void put(struct kv_map *map, const char *key, const char *value)
{
    cr_assert_eq(kv_map_set(map, bytes_of_string(key), bytes_of_string(value)), 0);
}

Test(operator_keys, an_exclusion_names_a_process_or_all_of_an_ip)
{
    struct address address = {0};
    char text[ADDRESS_TEXT_MAX];

    cr_assert(exclusion_parse(BYTES_LITERAL("10.0.0.1:4500"), &address));
    cr_assert_eq(address.port, 4500);
    cr_assert_str_eq(exclusion_print(address, text), "10.0.0.1:4500");
    cr_assert(exclusion_parse(BYTES_LITERAL("10.0.0.1"), &address));
    cr_assert_eq(address.port, 0);
    cr_assert_str_eq(exclusion_print(address, text), "10.0.0.1");
}

Test(operator_keys, what_is_no_address_excludes_nobody)
{
    static const char *const bad[] = {"", "10.0.0", "10.0.0.1:", "10.0.0.1:0", "10.0.0.1:99999", "host:1", "10.0.0.1 ", "1.2.3.4:5:6",
                                      "10.0.0.1000000000000000000000000000000000000000000000000000000000000000000000000000000"};
    struct address address;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_assert_not(exclusion_parse(bytes_of_string(bad[i]), &address), "%s", bad[i]);
}

Test(operator_keys, exclusions_are_read_from_the_metadata)
{
    struct kv_map *map = kv_map_create();
    struct arena arena = {0};
    struct exclusions exclusions;

    put(map, "\xff/conf/excluded/10.0.0.1", "");
    put(map, "\xff/conf/excluded/10.0.0.2:4500", "");
    put(map, "\xff/conf/excluded/nonsense", "");
    put(map, "\xff/conf/failed/10.0.0.1:4501", "");
    put(map, "\xff/conf/logs", "3");
    cr_assert_eq(exclusions_read(map, &arena, &exclusions), 0);
    cr_assert_eq(exclusions.count, 3);
    cr_assert_not(exclusions_find(&exclusions, address_of_text("10.0.0.1:4500"))->failed);
    cr_assert(exclusions_find(&exclusions, address_of_text("10.0.0.1:4501"))->failed);
    cr_assert(exclusions_find(&exclusions, address_of_text("10.0.0.2:4500")) != NULL);
    cr_assert(exclusions_find(&exclusions, address_of_text("10.0.0.2:4501")) == NULL);
    arena_done(&arena);
    kv_map_destroy(map);
}

/* Nobody may be taken for included because memory was short. */
Test(operator_keys, exclusions_are_read_wholly_or_not_at_all)
{
    struct kv_map *map = kv_map_create();

    put(map, "\xff/conf/excluded/10.0.0.1", "");
    put(map, "\xff/conf/excluded/10.0.0.2:4500", "");
    put(map, "\xff/conf/failed/10.0.0.1:4501", "");
    FAIL_EACH(nth, nth_allocation) {
        struct exclusions exclusions = {0};
        struct arena arena = {0};
        int error;

        nth_begin(&nth, NULL);
        error = exclusions_read(map, &arena, &exclusions);
        cr_assert_eq(error, nth_end(&nth) ? ERROR_OUT_OF_MEMORY : 0);
        cr_assert_eq(exclusions.count, error == 0 ? 3 : 0);
        arena_done(&arena);
    }
    kv_map_destroy(map);
}

Test(operator_keys, a_key_that_is_built_is_parsed)
{
    struct bytes_buffer key = {0};
    struct exclusion exclusion;

    for (int failed = 0; failed < 2; failed++) {
        key.len = 0;
        cr_assert_eq(exclusion_key(&key, address_of_text("10.0.0.1:4500"), failed != 0), 0);
        cr_assert(exclusion_key_parse(bytes_buffer_bytes(&key), &exclusion));
        cr_assert_eq(exclusion.failed, failed != 0);
        cr_assert(address_equal(exclusion.address, address_of_text("10.0.0.1:4500")));
    }
    cr_assert_not(exclusion_key_parse(BYTES_LITERAL("\xff/conf/logs"), &exclusion));
    bytes_buffer_done(&key);
}

Test(operator_keys, a_class_that_was_set_stands_for_the_own)
{
    struct kv_map *map = kv_map_create();
    enum process_class class = CLASS_UNSET;

    put(map, "\xff/processClass/10.0.0.1:4500", "storage");
    put(map, "\xff/processClass/10.0.0.1:4501", "king");
    cr_assert(process_class_read(map, address_of_text("10.0.0.1:4500"), &class));
    cr_assert_eq(class, CLASS_STORAGE);
    cr_assert_not(process_class_read(map, address_of_text("10.0.0.1:4501"), &class));
    cr_assert_not(process_class_read(map, address_of_text("10.0.0.1:4502"), &class));
    cr_assert(process_class_parse(BYTES_LITERAL("transaction"), &class));
    cr_assert_eq(class, CLASS_LOG);
    kv_map_destroy(map);
}

Test(operator_keys, maintenance_names_a_zone_and_its_end)
{
    struct bytes_buffer value = {0};
    struct bytes zone;
    version_t until;

    cr_assert_eq(healthy_zone_write(&value, 1234567, BYTES_LITERAL("zone 7")), 0);
    cr_assert(healthy_zone_parse(bytes_buffer_bytes(&value), &until, &zone));
    cr_assert_eq(until, 1234567);
    cr_assert(bytes_equal(zone, BYTES_LITERAL("zone 7")));
    cr_assert_not(healthy_zone_parse(BYTES_LITERAL("12"), &until, &zone));
    cr_assert_not(healthy_zone_parse(BYTES_LITERAL("x zone"), &until, &zone));
    cr_assert_not(healthy_zone_parse(BYTES_LITERAL("12 "), &until, &zone));
    bytes_buffer_done(&value);
}
