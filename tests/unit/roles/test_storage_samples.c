/* Samples of sizes and loads against exact counts. */
#include <criterion/criterion.h>

#include <stdio.h>

#include "net/error.h"
#include "roles/storage/samples.h"
#include "sim/random.h"
#include "tests/unit/nth.h"

enum { KEYS = 200000, SECOND_US = 1000000 };

static struct bytes key_of(unsigned number, char text[24])
{
    return bytes_of(text, (size_t)snprintf(text, 24, "key%08u", number));
}

static bool near(double value, double wanted, double part)
{
    return value >= wanted * (1 - part) && value <= wanted * (1 + part);
}

Test(samples, of_few_or_large_keys_the_sum_is_exact)
{
    struct byte_sample sample;
    char text[24], end[24];
    uint64_t exact = 0;

    cr_assert_eq(byte_sample_init(&sample, 1), 0);
    for (unsigned i = 0; i < 1000; i++) {
        cr_assert_eq(byte_sample_set(&sample, key_of(i, text), 11 + i % 100), 0);
        exact += i >= 100 && i < 700 ? 11 + i % 100 : 0;
    }
    cr_assert_eq(byte_sample_bytes(&sample, key_of(100, text), key_of(700, end)), exact);
    byte_sample_clear(&sample, key_of(200, text), key_of(300, end));
    cr_assert_eq(byte_sample_bytes(&sample, key_of(200, text), key_of(300, end)), 0);
    cr_assert_eq(byte_sample_set(&sample, key_of(500, text), 5000), 0);
    cr_assert_eq(byte_sample_bytes(&sample, key_of(500, text), key_of(501, end)), 5000, "the newest size counts");
    byte_sample_done(&sample);
}

Test(samples, of_many_keys_the_sum_is_near_and_the_memory_bounded)
{
    struct sim_random random = sim_random_stream(5, 0);
    struct byte_sample sample;
    char text[24], end[24];
    static uint32_t sizes[KEYS];
    uint64_t total = 0;

    cr_assert_eq(byte_sample_init(&sample, 100), 0);
    for (unsigned round = 0; round < 2; round++) /* overwritten by other sizes */
        for (unsigned i = 0; i < KEYS; i++) {
            sizes[i] = 20 + (uint32_t)sim_random_below(&random, i % 100 == 0 ? 20000 : 200);
            cr_assert_eq(byte_sample_set(&sample, key_of(i, text), sizes[i]), 0);
        }
    for (unsigned i = 0; i < KEYS; i++)
        total += sizes[i];
    cr_assert_leq(kv_map_count(sample.keys), SAMPLE_KEYS_MAX);
    cr_assert_gt(sample.unit, 100);
    cr_assert(near((double)byte_sample_bytes(&sample, bytes_none(), BYTES_LITERAL("l")), (double)total, 0.02));
    for (unsigned i = 0; i < KEYS; i += KEYS / 20) {
        uint64_t part = 0;

        for (unsigned k = i; k < i + KEYS / 20; k++)
            part += sizes[k];
        cr_assert(near((double)byte_sample_bytes(&sample, key_of(i, text), key_of(i + KEYS / 20, end)), (double)part, 0.1));
    }
    byte_sample_done(&sample);
}

Test(samples, a_sample_does_not_depend_on_the_way_to_it)
{
    struct byte_sample a, b;
    char text[24];

    cr_assert_eq(byte_sample_init(&a, 1000), 0);
    cr_assert_eq(byte_sample_init(&b, 1000), 0);
    for (unsigned i = 0; i < 20000; i++)
        cr_assert_eq(byte_sample_set(&a, key_of(i, text), 100), 0);
    for (unsigned i = 20000; i-- > 0;) {
        cr_assert_eq(byte_sample_set(&b, key_of(i, text), 900), 0);
        cr_assert_eq(byte_sample_set(&b, key_of(i, text), 100), 0);
    }
    cr_assert_eq(a.unit, b.unit);
    cr_assert_eq(kv_map_count(a.keys), kv_map_count(b.keys));
    byte_sample_done(&a);
    byte_sample_done(&b);
}

Test(samples, a_record_brings_it_back_and_damage_is_found)
{
    struct byte_sample sample, again;
    struct bytes_buffer packed = {0};
    char text[24], end[24];

    cr_assert_eq(byte_sample_init(&sample, 100), 0);
    cr_assert_eq(byte_sample_init(&again, 1), 0);
    for (unsigned i = 0; i < 300; i++)
        cr_assert_eq(byte_sample_set(&sample, key_of(i, text), 50), 0);
    cr_assert_eq(byte_sample_pack(&sample, &packed), 0);
    cr_assert_eq(sample.changes, 0);
    cr_assert_eq(byte_sample_unpack(&again, bytes_buffer_bytes(&packed)), 0);
    cr_assert_eq(again.unit, 100);
    cr_assert_eq(byte_sample_bytes(&again, key_of(10, text), key_of(99, end)), byte_sample_bytes(&sample, key_of(10, text), key_of(99, end)));
    for (unsigned i = 0; i < 300; i++) /* what was in it is found again */
        byte_sample_clear(&again, key_of(i, text), bytes_of(text, 12)); /* its 12th byte is the zero */
    cr_assert_eq(kv_map_count(again.keys), 0);
    for (size_t cut = 0; cut < packed.len; cut++)
        cr_assert_eq(byte_sample_unpack(&again, bytes_of(packed.ptr, cut)), ERROR_FILE_CORRUPT);
    bytes_buffer_done(&packed);
    byte_sample_done(&sample);
    byte_sample_done(&again);
}

/* ---- loads ---- */

Test(samples, rates_and_the_median_of_a_skewed_load)
{
    struct sim_random random = sim_random_stream(6, 0);
    struct load_sample load;
    char text[24];
    struct bytes median;

    cr_assert_eq(load_sample_init(&load), 0);
    for (int64_t now_us = 0; now_us < 60 * SECOND_US; now_us += 100) { /* 10,000 a second of 100 bytes: 90 % below key 100 */
        unsigned key = sim_random_below(&random, 10) != 0 ? (unsigned)sim_random_below(&random, 100)
                                                          : 100 + (unsigned)sim_random_below(&random, 900);

        load_sample_add(&load, key_of(key, text), 100, now_us);
    }
    cr_assert(near((double)load_sample_rate(&load, 60 * SECOND_US), 1000000, 0.05));
    cr_assert(load_sample_median(&load, bytes_none(), BYTES_LITERAL("l"), 60 * SECOND_US, &median));
    cr_assert_gt(bytes_compare(median, key_of(45, text)), 0);
    cr_assert_lt(bytes_compare(median, key_of(66, text)), 0);
    cr_assert_eq(load_sample_rate(&load, 80 * SECOND_US), 0, "what is long ago counts no more");
    cr_assert_not(load_sample_median(&load, bytes_none(), BYTES_LITERAL("l"), 80 * SECOND_US, &median));
    load_sample_done(&load);
}

Test(samples, one_hot_key_has_no_median)
{
    struct load_sample load;
    struct bytes median;
    char text[24];

    cr_assert_eq(load_sample_init(&load), 0);
    for (int i = 0; i < 5000; i++)
        load_sample_add(&load, key_of(7, text), 100, i * 1000);
    cr_assert_not(load_sample_median(&load, bytes_none(), BYTES_LITERAL("l"), 5 * SECOND_US, &median));
    load_sample_add(&load, key_of(3, text), 10000, 5 * SECOND_US);
    cr_assert(load_sample_median(&load, bytes_none(), BYTES_LITERAL("l"), 5 * SECOND_US, &median));
    cr_assert(bytes_equal(median, key_of(7, text)));
    load_sample_done(&load);
}

Test(samples, a_rate_that_changes_is_followed_in_bounded_memory)
{
    static const int64_t rates[] = {1000, 100000000, 10000, 1000000};
    struct load_sample load;
    int64_t now_us = 0;
    char text[24];

    cr_assert_eq(load_sample_init(&load), 0);
    for (unsigned r = 0; r < 4; r++) {
        int64_t until_us = now_us + 60 * SECOND_US, step_us = 100 * 1000000 / rates[r];
        size_t bytes = 100;

        if (step_us < 100) {
            bytes = (size_t)(rates[r] / 10000);
            step_us = 100;
        }
        for (; now_us < until_us; now_us += step_us) {
            load_sample_add(&load, key_of((unsigned)(now_us % 1000), text), bytes, now_us);
            if (now_us / SECOND_US != (now_us - step_us) / SECOND_US)
                load_sample_refine(&load, now_us);
        }
        cr_assert(near((double)load_sample_rate(&load, now_us), (double)rates[r], 0.25), "%ld is %lu", (long)rates[r],
                  (unsigned long)load_sample_rate(&load, now_us));
    }
    load_sample_done(&load);
}

/* ---- without memory ---- */

Test(samples, without_memory_nothing_is_lost_of_a_sample)
{
    FAIL_EACH(nth, nth_allocation) {
        struct byte_sample sample, again = {0};
        struct bytes_buffer packed = {0};
        char text[24];
        int error;

        nth_begin(&nth, NULL);
        error = byte_sample_init(&sample, 1);
        for (unsigned i = 0; i < 3 && error == 0; i++)
            error = byte_sample_set(&sample, key_of(i, text), 10);
        if (error == 0)
            error = byte_sample_pack(&sample, &packed);
        if (error == 0)
            error = byte_sample_init(&again, 1);
        if (error == 0)
            error = byte_sample_unpack(&again, bytes_buffer_bytes(&packed));
        if (nth_end(&nth))
            cr_assert_eq(error, ERROR_OUT_OF_MEMORY);
        else
            cr_assert_eq(kv_map_count(again.keys), 3);
        bytes_buffer_done(&packed);
        byte_sample_done(&sample);
        byte_sample_done(&again);
    }
}
