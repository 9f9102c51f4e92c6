/* Which requests may start now: a bucket of starts a priority, filled at the ratekeeper's rate. No clock, no I/O: time comes in.
 *
 * Buckets hold little (GRV_BURST_US of their rate, at least one start; GRV_WAITING_BURST_US while somebody waits who may start, but for a
 * batch to be free: else a busy proxy, whose batches come seldom, would start fewer than its rate) and may go into debt, so that a request that stands for many
 * transactions is taken whole and paid for afterwards. Starts of default priority are paid from both buckets: batch priority gets what
 * is left of its lower limit.
 *
 * A rate is a lease. When it lapses, it holds for GRV_KEEP_US more; then it sinks, by half each GRV_HALVING_US, towards a floor, until the
 * next lease. Where no rate limited, what started lately is where the sinking begins. Before the first lease nothing limits. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { GRV_BURST_US = 10000, GRV_WAITING_BURST_US = 100000, GRV_KEEP_US = 2000000, GRV_HALVING_US = 5000000, GRV_PACE_US = 500000 };
enum grv_priority { GRV_DEFAULT, GRV_BATCH, GRV_PRIORITIES };

struct grv_bucket {
    double rate;  /* a second, as leased; negative: no limit */
    double holds; /* starts; negative: debt */
    bool waits;   /* somebody of the priority does: the owner's to say, before the next fill */
    bool sinks;
    double sinks_from;
};

struct grv_rate {
    struct grv_bucket buckets[GRV_PRIORITIES];
    int64_t filled_us, lease_end_us;
    bool leased; /* ever */
    double pace; /* starts a second lately */
    double pace_count;
    int64_t pace_us;
};

void grv_rate_init(struct grv_rate *rate, int64_t now_us);
/* Negative rates: no limit. */
void grv_rate_lease(struct grv_rate *rate, int64_t now_us, double normal, double batch, int64_t lease_us);
/* Before any of the next: time goes on. floor: a second. */
void grv_rate_fill(struct grv_rate *rate, int64_t now_us, double floor);
bool grv_rate_may_start(const struct grv_rate *rate, enum grv_priority priority);
void grv_rate_started(struct grv_rate *rate, enum grv_priority priority, uint64_t count);
/* How long until it may; 0: now. As of the last fill. */
int64_t grv_rate_wait_us(const struct grv_rate *rate, enum grv_priority priority, double floor);
/* How long `count` starts take. 0: no time, nothing limits. */
int64_t grv_rate_takes_us(const struct grv_rate *rate, enum grv_priority priority, double floor, uint64_t count);
bool grv_rate_lapsed(const struct grv_rate *rate, int64_t now_us);
/* What limits now, after a lapse too; negative: nothing. */
double grv_rate_effective(const struct grv_rate *rate, enum grv_priority priority, int64_t now_us, double floor);
