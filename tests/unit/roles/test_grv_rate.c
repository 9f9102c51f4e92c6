/* Who may start now: smoothness, priorities, debts and leases that lapse. */
#include <criterion/criterion.h>

#include "roles/grv_proxy/grv_rate.h"

#define SECOND_US 1000000
#define FLOOR 100.0

/* Starts as many as it may, looking each `step_us`, for `us`. Returns how many started, and the most of one look. */
static uint64_t start_all(struct grv_rate *rate, enum grv_priority priority, int64_t *now_us, int64_t us, int64_t step_us, uint64_t *ret_most)
{
    uint64_t started = 0, most = 0;

    for (int64_t end_us = *now_us + us; *now_us < end_us; *now_us += step_us) {
        uint64_t now = 0;

        grv_rate_fill(rate, *now_us, FLOOR);
        for (; grv_rate_may_start(rate, priority) && now < 100000; now++)
            grv_rate_started(rate, priority, 1);
        started += now;
        most = now > most ? now : most;
    }
    if (ret_most != NULL)
        *ret_most = most;
    return started;
}

static void lease(struct grv_rate *rate, int64_t now_us, double normal, double batch)
{
    grv_rate_init(rate, now_us);
    grv_rate_lease(rate, now_us, normal, batch, 100 * SECOND_US);
}

Test(grv_rate, nothing_limits_before_the_first_lease_nor_when_it_says_so)
{
    struct grv_rate rate;
    int64_t now_us = SECOND_US;

    grv_rate_init(&rate, now_us);
    grv_rate_fill(&rate, 100 * SECOND_US, FLOOR);
    cr_assert(grv_rate_may_start(&rate, GRV_BATCH));
    cr_assert_eq(grv_rate_takes_us(&rate, GRV_DEFAULT, FLOOR, 1000000), 0);
    cr_assert(!grv_rate_lapsed(&rate, 100 * SECOND_US));
    lease(&rate, now_us, -1, -1);
    cr_assert_eq(grv_rate_wait_us(&rate, GRV_BATCH, FLOOR), 0);
}

Test(grv_rate, starts_are_spread_and_as_many_as_the_rate_says)
{
    for (double per_second = 20; per_second < 200000; per_second *= 7) {
        struct grv_rate rate;
        int64_t now_us = SECOND_US;
        uint64_t most, started;

        lease(&rate, now_us, per_second, per_second);
        started = start_all(&rate, GRV_DEFAULT, &now_us, 10 * SECOND_US, 500, &most);
        cr_assert_float_eq((double)started, 10 * per_second, per_second * 0.1 + 2, "%f: %lu", per_second, (unsigned long)started);
        cr_assert_leq((double)most, per_second * GRV_BURST_US / 1e6 + 1);
    }
}

/* A busy proxy's batches come seldom: what its rate gave meanwhile is not lost while somebody waits. */
Test(grv_rate, batches_that_come_seldom_start_as_many_as_the_rate_says)
{
    struct grv_rate rate;
    int64_t now_us = SECOND_US;
    uint64_t most, started;

    lease(&rate, now_us, 10000, 10000);
    rate.buckets[GRV_DEFAULT].waits = true;
    started = start_all(&rate, GRV_DEFAULT, &now_us, 10 * SECOND_US, 80000, &most);
    cr_assert_float_eq((double)started, 100000, 2000, "%lu", (unsigned long)started);
    cr_assert_leq(most, 801);
    rate.buckets[GRV_DEFAULT].waits = false; /* nobody waited: no more than a moment's worth at once */
    started = start_all(&rate, GRV_DEFAULT, &now_us, SECOND_US, 500000, &most);
    cr_assert_leq(most, 10000 * (uint64_t)GRV_BURST_US / 1000000 + 1);
}

Test(grv_rate, a_large_request_is_taken_whole_and_paid_for)
{
    struct grv_rate rate;
    int64_t now_us = SECOND_US;

    lease(&rate, now_us, 1000, 1000);
    grv_rate_fill(&rate, now_us, FLOOR);
    grv_rate_started(&rate, GRV_DEFAULT, 2000);
    cr_assert(!grv_rate_may_start(&rate, GRV_DEFAULT));
    cr_assert_float_eq((double)grv_rate_wait_us(&rate, GRV_DEFAULT, FLOOR), 2e6, 1e4);
    grv_rate_fill(&rate, now_us + 2 * SECOND_US + 10000, FLOOR);
    cr_assert(grv_rate_may_start(&rate, GRV_DEFAULT));
}

Test(grv_rate, batch_priority_gets_what_is_left_of_its_lower_limit)
{
    struct grv_rate rate;
    int64_t now_us = SECOND_US;
    uint64_t batch = 0;

    lease(&rate, now_us, 1000, 400);
    for (int i = 0; i < 10000; i++) { /* 300 a second of default priority */
        grv_rate_fill(&rate, now_us, FLOOR);
        if (i % 3 == 0 && grv_rate_may_start(&rate, GRV_DEFAULT))
            grv_rate_started(&rate, GRV_DEFAULT, 1);
        batch += start_all(&rate, GRV_BATCH, &now_us, 1000, 1000, NULL);
    }
    cr_assert_float_eq((double)batch, 10 * (400 - 333), 50, "%lu", (unsigned long)batch);
}

Test(grv_rate, a_lease_that_lapses_holds_then_sinks_to_the_floor_and_another_ends_that)
{
    struct grv_rate rate;
    int64_t now_us = SECOND_US;

    grv_rate_init(&rate, now_us);
    grv_rate_lease(&rate, now_us, 1000, 500, SECOND_US);
    start_all(&rate, GRV_DEFAULT, &now_us, SECOND_US, 1000, NULL);
    cr_assert(grv_rate_lapsed(&rate, now_us + 1000));
    cr_assert_gt(start_all(&rate, GRV_DEFAULT, &now_us, SECOND_US, 1000, NULL), 950);
    now_us += GRV_KEEP_US;
    start_all(&rate, GRV_DEFAULT, &now_us, GRV_HALVING_US, 1000, NULL);
    cr_assert_lt(grv_rate_effective(&rate, GRV_DEFAULT, now_us, FLOOR), 520);
    cr_assert_gt(grv_rate_effective(&rate, GRV_DEFAULT, now_us, FLOOR), FLOOR);
    grv_rate_fill(&rate, now_us + 100 * SECOND_US, FLOOR);
    cr_assert_float_eq(grv_rate_effective(&rate, GRV_DEFAULT, now_us + 100 * SECOND_US, FLOOR), FLOOR, 0.1);
    grv_rate_lease(&rate, now_us + 100 * SECOND_US, 1000, 500, SECOND_US);
    cr_assert_eq(grv_rate_effective(&rate, GRV_DEFAULT, now_us + 100 * SECOND_US, FLOOR), 1000);
}

Test(grv_rate, where_nothing_limited_sinking_begins_at_what_started_lately)
{
    struct grv_rate rate;
    int64_t now_us = SECOND_US;

    grv_rate_init(&rate, now_us);
    grv_rate_lease(&rate, now_us, -1, -1, SECOND_US);
    for (int i = 0; i < 3000; i++, now_us += 1000) {
        grv_rate_fill(&rate, now_us, FLOOR);
        grv_rate_started(&rate, GRV_DEFAULT, 2);
    }
    grv_rate_fill(&rate, now_us + SECOND_US / 10, FLOOR);
    cr_assert_leq(grv_rate_effective(&rate, GRV_DEFAULT, now_us + SECOND_US / 10, FLOOR), 3100);
    cr_assert_geq(grv_rate_effective(&rate, GRV_DEFAULT, now_us + SECOND_US / 10, FLOOR), 2000);
}
