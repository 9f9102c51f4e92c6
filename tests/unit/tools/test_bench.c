/* What quoin-bench's numbers rest on: its histogram, its keys, what it draws. */
#include <criterion/criterion.h>
#include <string.h>

#include "net/mem.h"
#include "tools/bench.h"

int64_t bench_now_us(void)
{
    return 0;
}

static const struct bench_workload gets = {.name = "gets", .percent = {[BENCH_GET] = 100}, .reads = 1};
static const struct bench_workload inserts = {.name = "inserts", .percent = {[BENCH_INSERT] = 100}, .reads = 1};

static struct bench_options options_of(const struct bench_workload *workload, enum bench_distribution distribution, double skew)
{
    return (struct bench_options){.workload = workload, .reads = 1, .key_bytes = 16, .value_bytes = 100, .keys = 1000,
                                  .distribution = distribution, .skew = skew};
}

Test(bench, percentiles_are_within_a_sixty_fourth)
{
    static const double parts[] = {0.01, 0.5, 0.95, 0.99, 0.999, 1};
    struct bench_histogram *h = mem_zalloc(sizeof(*h));

    for (uint64_t us = 1; us <= 1000000; us++)
        bench_histogram_add(h, us);
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        double wanted = parts[i] * 1e6, got = bench_histogram_percentile(h, parts[i]);

        cr_assert(got > wanted * (1 - 1.0 / 64) && got < wanted * (1 + 1.0 / 64), "%g: %g", parts[i], got);
    }
    cr_assert_eq(h->count, 1000000);
    cr_assert_eq(h->max_us, 1000000);
    mem_free(h);
}

Test(bench, small_and_huge_samples_and_none_have_percentiles)
{
    struct bench_histogram *h = mem_zalloc(sizeof(*h)), *other = mem_zalloc(sizeof(*other));

    cr_assert_eq(bench_histogram_percentile(h, 0.5), 0);
    bench_histogram_add(h, 7);
    cr_assert_eq(bench_histogram_percentile(h, 0.999), 7);
    bench_histogram_add(other, UINT64_MAX);
    bench_histogram_merge(h, other);
    cr_assert_eq(h->count, 2);
    cr_assert_eq(bench_histogram_percentile(h, 0.5), 7);
    cr_assert(bench_histogram_percentile(h, 1) > 1e9);
    mem_free(h);
    mem_free(other);
}

Test(bench, keys_differ_and_spread_over_first_bytes)
{
    struct bench_options options = options_of(&gets, BENCH_UNIFORM, 0);
    uint32_t per_quarter[64] = {0};
    uint8_t key[16], other[16];

    for (uint64_t i = 0; i < 64000; i++) {
        bench_key(&options, i, key);
        cr_assert_neq(key[0], 0xff);
        per_quarter[key[0] / 4]++;
        bench_key(&options, i + 1, other);
        cr_assert_neq(memcmp(key + 1, other + 1, 15), 0);
    }
    for (int i = 0; i < 64; i++)
        cr_assert(per_quarter[i] > 500 && per_quarter[i] < 1500, "%d: %u", i, per_quarter[i]);
}

/* How many of 100,000 draws fall on the first `most` keys. */
static uint64_t draws_below(struct bench_options options, uint64_t most)
{
    struct bench_space space;
    struct bench_plan plan;
    uint64_t count = 0;

    bench_space_init(&space, &options);
    bench_plan_init(&plan, &space, 1);
    for (int i = 0; i < 100000; i++) {
        bench_plan_draw(&plan, &space);
        cr_assert(plan.reads[0] < options.keys);
        count += plan.reads[0] < most;
    }
    bench_plan_done(&plan);
    bench_space_done(&space);
    return count;
}

Test(bench, distributions_are_what_they_say)
{
    uint64_t uniform = draws_below(options_of(&gets, BENCH_UNIFORM, 0), 100);
    uint64_t hot = draws_below(options_of(&gets, BENCH_HOT, 0.1), 100);
    uint64_t zipf = draws_below(options_of(&gets, BENCH_ZIPF, 0.99), 1);

    cr_assert(uniform > 9000 && uniform < 11000, "%lu", uniform);
    cr_assert(hot > 90000 && hot < 92000, "%lu", hot);    /* 90 % and a tenth of the rest */
    cr_assert(zipf > 12000 && zipf < 14000, "%lu", zipf); /* 1 / zeta(1000, 0.99) is 0.1298 */
}

Test(bench, a_hot_range_holds_neighbours)
{
    struct bench_options options = options_of(&gets, BENCH_HOT_RANGE, 0.01);
    struct bench_space space;
    struct bench_plan plan;
    unsigned hot = 0;
    uint8_t key[16];

    options.keys = 10000;
    bench_space_init(&space, &options);
    bench_plan_init(&plan, &space, 1);
    for (int i = 0; i < 10000; i++) {
        bench_plan_draw(&plan, &space);
        bench_key(&options, plan.reads[0], key);
        hot += key[0] >= 0x60 && key[0] < 0x63;
    }
    bench_plan_done(&plan);
    bench_space_done(&space);
    cr_assert(hot > 8900 && hot < 9300, "%u", hot);
}

Test(bench, the_newest_keys_are_those_that_settled_without_a_gap)
{
    struct bench_options options = options_of(&inserts, BENCH_UNIFORM, 0);
    struct bench_space space;
    struct bench_plan plans[3];

    bench_space_init(&space, &options);
    for (int i = 0; i < 3; i++) {
        bench_plan_init(&plans[i], &space, (uint64_t)i);
        bench_plan_draw(&plans[i], &space);
        cr_assert_eq(plans[i].write, options.keys + (uint64_t)i);
    }
    bench_plan_settled(&plans[1], &space);
    cr_assert_eq(atomic_load(&space.settled), 0);
    bench_plan_settled(&plans[0], &space);
    cr_assert_eq(atomic_load(&space.settled), 2);
    bench_plan_settled(&plans[2], &space);
    cr_assert_eq(atomic_load(&space.settled), 3);
    for (int i = 0; i < 3; i++)
        bench_plan_done(&plans[i]);
    bench_space_done(&space);
}
