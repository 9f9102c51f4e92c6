#include "roles/grv_proxy/grv_rate.h"

#include <string.h>

void grv_rate_init(struct grv_rate *rate, int64_t now_us)
{
    memset(rate, 0, sizeof(*rate));
    rate->filled_us = rate->pace_us = now_us;
    for (int i = 0; i < GRV_PRIORITIES; i++)
        rate->buckets[i] = (struct grv_bucket){.rate = -1, .holds = 1};
}

void grv_rate_lease(struct grv_rate *rate, int64_t now_us, double normal, double batch, int64_t lease_us)
{
    double rates[GRV_PRIORITIES] = {[GRV_DEFAULT] = normal, [GRV_BATCH] = batch};

    for (int i = 0; i < GRV_PRIORITIES; i++) {
        struct grv_bucket *bucket = &rate->buckets[i];

        if (bucket->rate < 0 || rates[i] < 0)
            bucket->holds = 1; /* a debt of other times is nobody's */
        bucket->rate = rates[i];
        bucket->sinks = false;
    }
    rate->leased = true;
    rate->lease_end_us = now_us + lease_us;
}

bool grv_rate_lapsed(const struct grv_rate *rate, int64_t now_us)
{
    return rate->leased && now_us > rate->lease_end_us;
}

/* 2^-(t / GRV_HALVING_US), straight between the powers. */
static double sunk(int64_t since_us)
{
    double part = 1;

    for (; since_us >= GRV_HALVING_US && part > 1e-9; since_us -= GRV_HALVING_US)
        part /= 2;
    return part * (1 - 0.5 * (double)(since_us % GRV_HALVING_US) / GRV_HALVING_US);
}

double grv_rate_effective(const struct grv_rate *rate, enum grv_priority priority, int64_t now_us, double floor)
{
    const struct grv_bucket *bucket = &rate->buckets[priority];
    int64_t since_us = now_us - rate->lease_end_us - GRV_KEEP_US;
    double now;

    if (!rate->leased || since_us <= 0 || !bucket->sinks)
        return bucket->rate;
    now = bucket->sinks_from * sunk(since_us);
    return now > floor ? now : floor;
}

static void begin_to_sink(struct grv_rate *rate, double floor)
{
    for (int i = 0; i < GRV_PRIORITIES; i++) {
        struct grv_bucket *bucket = &rate->buckets[i];
        double lately = rate->pace > floor ? rate->pace * 1.5 : floor;

        if (bucket->sinks)
            continue;
        bucket->sinks = true;
        bucket->sinks_from = bucket->rate < 0 || bucket->rate > lately ? lately : bucket->rate;
    }
}

static void fill(struct grv_bucket *bucket, double effective, int64_t past_us)
{
    double most = effective * (bucket->waits ? GRV_WAITING_BURST_US : GRV_BURST_US) / 1e6;

    if (effective < 0)
        return;
    bucket->holds += effective * (double)past_us / 1e6;
    if (bucket->holds > (most < 1 ? 1 : most))
        bucket->holds = most < 1 ? 1 : most;
}

void grv_rate_fill(struct grv_rate *rate, int64_t now_us, double floor)
{
    int64_t past_us = now_us - rate->filled_us, pace_us = now_us - rate->pace_us;

    if (pace_us >= GRV_PACE_US) {
        rate->pace = (rate->pace + rate->pace_count * 1e6 / (double)pace_us) / 2;
        rate->pace_count = 0;
        rate->pace_us = now_us;
    }
    if (rate->leased && now_us > rate->lease_end_us + GRV_KEEP_US)
        begin_to_sink(rate, floor);
    if (past_us <= 0)
        return;
    for (int i = 0; i < GRV_PRIORITIES; i++)
        fill(&rate->buckets[i], grv_rate_effective(rate, (enum grv_priority)i, now_us, floor), past_us);
    rate->filled_us = now_us;
}

static bool limits(const struct grv_rate *rate, enum grv_priority priority)
{
    return rate->leased && (rate->buckets[priority].rate >= 0 || rate->buckets[priority].sinks);
}

/* A whole start at least: a fraction would let one through each time that anybody looks. */
static bool has(const struct grv_rate *rate, enum grv_priority priority)
{
    return !limits(rate, priority) || rate->buckets[priority].holds >= 1;
}

bool grv_rate_may_start(const struct grv_rate *rate, enum grv_priority priority)
{
    return has(rate, GRV_DEFAULT) && (priority == GRV_DEFAULT || has(rate, priority));
}

/* What default priority takes from batch priority's bucket makes at most a second's debt: when it stops, the other need not wait longer. */
static void pay_for_other(struct grv_bucket *bucket, double count)
{
    double least = -(bucket->rate > 1 ? bucket->rate : 1);

    if (bucket->holds - count >= least)
        bucket->holds -= count;
    else if (bucket->holds > least)
        bucket->holds = least;
}

void grv_rate_started(struct grv_rate *rate, enum grv_priority priority, uint64_t count)
{
    rate->pace_count += (double)count;
    if (limits(rate, GRV_DEFAULT))
        rate->buckets[GRV_DEFAULT].holds -= (double)count;
    if (!limits(rate, GRV_BATCH))
        return;
    if (priority == GRV_BATCH)
        rate->buckets[GRV_BATCH].holds -= (double)count;
    else
        pay_for_other(&rate->buckets[GRV_BATCH], (double)count);
}

static int64_t until_us(const struct grv_rate *rate, enum grv_priority priority, double floor, double count)
{
    double effective = grv_rate_effective(rate, priority, rate->filled_us, floor);

    if (!limits(rate, priority) || rate->buckets[priority].holds >= count)
        return 0;
    if (effective < 0.001)
        effective = 0.001;
    return (int64_t)((count - rate->buckets[priority].holds) / effective * 1e6) + 1;
}

int64_t grv_rate_wait_us(const struct grv_rate *rate, enum grv_priority priority, double floor)
{
    int64_t own_us = until_us(rate, priority, floor, 1), default_us = until_us(rate, GRV_DEFAULT, floor, 1);

    return own_us > default_us ? own_us : default_us;
}

int64_t grv_rate_takes_us(const struct grv_rate *rate, enum grv_priority priority, double floor, uint64_t count)
{
    int64_t own_us = until_us(rate, priority, floor, (double)count), default_us = until_us(rate, GRV_DEFAULT, floor, (double)count);

    return own_us > default_us ? own_us : default_us;
}
