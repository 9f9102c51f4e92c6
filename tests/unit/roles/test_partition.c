#include <criterion/criterion.h>
#include <stdio.h>

#include "net/mem.h"
#include "roles/resolver/range_sample.h"
#include "roles/sequencer/partition.h"
#include "tests/unit/draw.h"
#include "txn/conflict_range.h"

#define L(s) BYTES_LITERAL(s)

static const struct partition_wish wish = {.floor = 10, .percent = 150};

/* Keys of one letter each, weights of one digit each: "abc", "129". */
static struct resolver_load load_of(struct arena *arena, int64_t ranges_per_s, const char *keys, const char *weights)
{
    struct resolver_load load = {.ranges_per_s = ranges_per_s, .keys_count = (uint32_t)strlen(keys)};

    load.keys = arena_alloc(arena, (load.keys_count + 1) * sizeof(*load.keys));
    for (uint32_t i = 0; i < load.keys_count; i++)
        load.keys[i] = (struct sampled_key){bytes_of(keys + i, 1), (uint64_t)(weights[i] - '0')};
    return load;
}

/* The begins in one string, "-" where nothing changes: for three resolvers. */
static const char *choose(struct arena *arena, struct resolver_load one, struct resolver_load two, struct resolver_load three)
{
    const struct resolver_load *loads[3] = {&one, &two, &three};
    struct bytes begins[RESOLVERS_MAX];
    static char text[100];

    if (!partition_choose(&wish, loads, 3, arena, begins))
        return "-";
    cr_assert(resolver_begins_are_sound(begins, 3));
    snprintf(text, sizeof(text), "%.*s %.*s", (int)begins[1].len, (const char *)begins[1].ptr, (int)begins[2].len,
             (const char *)begins[2].ptr);
    return text;
}

Test(partition, all_load_in_one_part_is_cut_into_even_parts)
{
    struct arena arena = {0};

    cr_assert_str_eq(choose(&arena, load_of(&arena, 600, "abcdef", "111111"), load_of(&arena, 0, "", ""), load_of(&arena, 0, "", "")),
                     "c e");
    cr_assert_str_eq(choose(&arena, load_of(&arena, 0, "", ""), load_of(&arena, 0, "", ""), load_of(&arena, 900, "rstuvw", "111111")),
                     "t v");
    arena_done(&arena);
}

Test(partition, what_is_even_or_little_stays_as_it_is)
{
    struct arena arena = {0};

    cr_assert_str_eq(choose(&arena, load_of(&arena, 140, "ab", "11"), load_of(&arena, 100, "mn", "11"), load_of(&arena, 100, "st", "11")), "-");
    cr_assert_str_eq(choose(&arena, load_of(&arena, 9, "abcdef", "111111"), load_of(&arena, 0, "", ""), load_of(&arena, 0, "", "")), "-");
    arena_done(&arena);
}

Test(partition, one_hot_key_gets_a_part_of_its_own_and_then_all_is_quiet)
{
    struct arena arena = {0};

    cr_assert_str_eq(choose(&arena, load_of(&arena, 1000, "abcdef", "118111"), load_of(&arena, 0, "", ""), load_of(&arena, 0, "", "")),
                     "c d");
    /* The same load by that cut: no other is better. */
    cr_assert_str_eq(choose(&arena, load_of(&arena, 154, "ab", "11"), load_of(&arena, 615, "c", "8"), load_of(&arena, 231, "def", "111")), "-");
    arena_done(&arena);
}

Test(partition, a_single_key_is_not_enough_for_three_cuts)
{
    struct arena arena = {0};
    struct resolver_load hot = load_of(&arena, 1000, "c", "1"), none = load_of(&arena, 0, "", "");
    const struct resolver_load *loads[4] = {&hot, &none, &none, &none};
    struct bytes begins[RESOLVERS_MAX];

    cr_assert_not(partition_choose(&wish, loads, 4, &arena, begins));
    arena_done(&arena);
}

Test(partition, answers_of_no_sense_are_seen)
{
    struct arena arena = {0};
    struct key_part part = {L("c"), L("m"), false};
    struct resolver_load good = load_of(&arena, 5, "cdl", "123"), outside = load_of(&arena, 5, "cm", "11"),
                         twice = load_of(&arena, 5, "dd", "11"), light = load_of(&arena, 5, "d", "0"), nowhere = load_of(&arena, 5, "", "");

    cr_assert(partition_load_is_sound(&good, &part));
    cr_assert_not(partition_load_is_sound(&outside, &part));
    cr_assert_not(partition_load_is_sound(&twice, &part));
    cr_assert_not(partition_load_is_sound(&light, &part));
    cr_assert_not(partition_load_is_sound(&nowhere, &part));
    good.ranges_per_s = -1;
    cr_assert_not(partition_load_is_sound(&good, &part));
    arena_done(&arena);
}

static uint64_t draw_of(void *ctx)
{
    return draw(ctx);
}

/* Any loads: what comes out is a partition, and by its own numbers better than what was. */
Test(partition, is_sound_whatever_the_loads)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz", digits[] = "123456789";
    uint64_t random = 1;
    unsigned changed = 0;

    for (int round = 0; round < 20000; round++) {
        struct arena arena = {0};
        uint32_t count = 2 + (uint32_t)draw_below(&random, 7), at = 0;
        struct resolver_load all[8];
        const struct resolver_load *loads[8];
        struct bytes begins[RESOLVERS_MAX];

        for (uint32_t i = 0; i < count; i++) {
            char keys[8] = "", weights[8] = "";
            uint32_t n = (uint32_t)draw_below(&random, 4);

            for (uint32_t k = 0; k < n && at < 26; k++, at++) {
                keys[k] = letters[at];
                weights[k] = digits[draw_below(&random, 9)];
            }
            all[i] = load_of(&arena, keys[0] == '\0' ? 0 : (int64_t)draw_below(&random, 1000), keys, weights);
            for (uint32_t k = 0; k < all[i].keys_count; k++)
                cr_assert_eq(arena_copy(&arena, all[i].keys[k].key, &all[i].keys[k].key), 0);
            loads[i] = &all[i];
        }
        if (partition_choose(&wish, loads, count, &arena, begins)) {
            cr_assert(resolver_begins_are_sound(begins, count));
            changed++;
        }
        if (partition_draw(loads, count, draw_of, &random, &arena, begins))
            cr_assert(resolver_begins_are_sound(begins, count));
        arena_done(&arena);
    }
    cr_assert_gt(changed, 5000);
}

/* ---- the sample that the loads are made of ---- */

static struct key_part everything(void)
{
    return (struct key_part){.endless = true};
}

/* `count` transactions that each read one key "k<n>", n below `keys`, 100 microseconds apart. */
static void feed(struct range_sample *sample, int64_t *now_us, uint64_t *random, unsigned count, unsigned keys)
{
    for (unsigned i = 0; i < count; i++) {
        char key[16];
        struct bytes_buffer table = {0};
        struct resolve_transaction transaction = {0};
        struct resolve batch = {.transactions = &transaction, .transactions_count = 1};

        snprintf(key, sizeof(key), "k%04u", (unsigned)draw_below(random, keys));
        conflict_range_append_point(&table, bytes_of_string(key));
        transaction.read_conflicts = bytes_buffer_bytes(&table);
        *now_us += 100;
        range_sample_take(sample, *now_us, &batch);
        bytes_buffer_done(&table);
    }
}

static struct resolver_load tell(struct range_sample *sample, int64_t now_us, struct key_part part, struct arena *arena)
{
    struct resolver_load load = {0};

    cr_assert_eq(range_sample_tell(sample, now_us, &part, arena, &load), 0);
    cr_assert(partition_load_is_sound(&load, &part));
    return load;
}

Test(range_sample, counts_what_comes_whatever_it_drops)
{
    struct range_sample *sample = range_sample_create(0, 1000000, 7);
    struct arena arena = {0};
    int64_t now_us = 0;
    uint64_t random = 1;
    struct resolver_load load;

    feed(sample, &now_us, &random, 30000, 1000); /* three windows of 10,000 a second */
    load = tell(sample, now_us, everything(), &arena);
    cr_assert(load.ranges_per_s > 9000 && load.ranges_per_s < 11000, "%lld", (long long)load.ranges_per_s);
    cr_assert(load.keys_count > 40 && load.keys_count <= 2 * RANGE_SAMPLE_TOLD);
    load = tell(sample, now_us, (struct key_part){L("k0900"), bytes_none(), true}, &arena);
    cr_assert(load.ranges_per_s > 700 && load.ranges_per_s < 1300, "%lld", (long long)load.ranges_per_s);
    cr_assert_eq(range_sample_partition(sample), 7);
    arena_done(&arena);
    range_sample_destroy(sample);
}

Test(range_sample, forgets_within_two_windows)
{
    struct range_sample *sample = range_sample_create(0, 1000000, 1);
    struct arena arena = {0};
    int64_t now_us = 0;
    uint64_t random = 1;

    feed(sample, &now_us, &random, 10000, 1000);
    cr_assert_gt(tell(sample, now_us + 1, everything(), &arena).ranges_per_s, 5000);
    tell(sample, now_us + 1100000, everything(), &arena);
    cr_assert_eq(tell(sample, now_us + 2200000, everything(), &arena).ranges_per_s, 0);
    arena_done(&arena);
    range_sample_destroy(sample);
}

Test(range_sample, a_hot_key_stands_alone_in_the_answer)
{
    struct range_sample *sample = range_sample_create(0, 1000000, 1);
    struct arena arena = {0};
    int64_t now_us = 0;
    uint64_t random = 1;
    struct resolver_load load;
    uint64_t heaviest = 0;

    for (int i = 0; i < 300; i++) {
        feed(sample, &now_us, &random, 1, 1); /* k0000 */
        feed(sample, &now_us, &random, 1, 1000);
    }
    load = tell(sample, now_us, everything(), &arena);
    cr_assert(bytes_equal(load.keys[0].key, L("k0000")));
    for (uint32_t i = 1; i < load.keys_count; i++)
        heaviest = load.keys[i].weight > heaviest ? load.keys[i].weight : heaviest;
    cr_assert_gt(load.keys[0].weight, 20 * heaviest);
    arena_done(&arena);
    range_sample_destroy(sample);
}
