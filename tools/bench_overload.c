/* --overload: what a cluster does when more is asked of it than it can do.
 *
 * First how many loops it takes: short closed loops, ever more of them, until more bring nothing. With so many the peak is measured in a run as
 * long as the others, then 0.8, 1 and 2 times as much is offered, then the peak is measured once more. What is kept is compared with the mean
 * of both: the fastest of several short runs is what fits into memory before disks have to write it, or what the machine had to give in its
 * best moment, and no later run can keep that. Where both differ by much the machine was not the same throughout, and the report says so.
 * --rate says the peak instead, so that several clients can offer at once, each its part.
 *
 * An offer is an open loop: a transaction begins when it is due, whatever became of those before it. One that is refused (its read version by
 * the ratekeeper's rate, its commit by a full queue) is counted and not tried again, one for which no slot is free is counted as not begun: a
 * retry would offer more than was meant. Accepted transactions are timed from the moment at which their read version was given, when the
 * cluster has let them start, to the acknowledgement; what they waited for before stands beside it. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "net/mem.h"
#include "tools/bench.h"

enum { PEAK_TRIES = 6, SLOTS_MIN = 256, SLOTS_SECONDS = 2 };
#define GROWTH_LEAST 1.03    /* more loops that bring less than that have found the peak */
#define THROUGHPUT_LEAST 0.9 /* of the peak, at twice the load */
#define LATENCY_MOST 5.0     /* times that at 0.8 of the peak */
#define HUNT_PART 3          /* of the seconds: a run that only chooses the number of loops */
#define UNSTEADY 0.15        /* peaks that differ by more, of their mean, are those of two different machines */

/* What closed loops got before the offers and after them; after is 0 where --rate says the peak. */
struct peak {
    double before, after;
    int clients;
};

struct offer {
    double factor, offered; /* transactions a second */
    double done, refused, unbegun; /* a second */
    double accepted_p50_us, accepted_p99_us, version_p99_us, total_p99_us;
};

static bool run_once(struct bench_run *run, const struct bench_options *options, double *ret_per_s)
{
    struct bench_result *result = mem_zalloc(sizeof(*result));
    bool good;

    run->options = options;
    run->space.options = options;
    atomic_store(&run->phase, BENCH_WARMING);
    atomic_store(&run->unbegun, 0);
    pthread_mutex_destroy(&run->stats.lock);
    memset(&run->stats, 0, sizeof(run->stats));
    bench_stats_init(&run->stats);
    good = bench_run_load(run, result);
    *ret_per_s = result->seconds > 0 ? (double)run->stats.transactions / result->seconds : 0;
    mem_free(result);
    if (run->stats.errors > 0)
        fprintf(stderr, "quoin-bench: %llu transactions failed, the last with %s\n", (unsigned long long)run->stats.errors,
                quoin_error_name(run->stats.last_error));
    return good && run->stats.errors == 0;
}

static bool closed_loops(struct bench_run *run, const struct bench_options *base, int clients, double seconds, double *ret_per_s)
{
    struct bench_options options = *base;

    options.clients = clients;
    options.seconds = seconds;
    options.rate = 0;
    options.open = false;
    if (!run_once(run, &options, ret_per_s))
        return false;
    if (!base->json)
        printf("closed loop  %6d transactions in flight: %8.0f a second over %.0f s, p99 %.0f us\n", clients, *ret_per_s, seconds,
               bench_histogram_percentile(&run->stats.stages[BENCH_TRANSACTION], 0.99));
    return true;
}

/* How many loops it takes; with fewer the peak would be that of the loops. */
static bool find_clients(struct bench_run *run, const struct bench_options *base, int *ret_clients)
{
    double most = 0;

    for (int i = 0, clients = base->clients; i < PEAK_TRIES && clients <= BENCH_CLIENTS_MAX; i++, clients *= 2) {
        double per_s;

        if (!closed_loops(run, base, clients, base->seconds / HUNT_PART, &per_s))
            return false;
        if (per_s < most * GROWTH_LEAST && i > 1)
            i = PEAK_TRIES;
        if (per_s > most) {
            most = per_s;
            *ret_clients = clients;
        }
    }
    return most > 0;
}

static double mean_of(const struct peak *peak)
{
    return peak->after > 0 ? (peak->before + peak->after) / 2 : peak->before;
}

static bool is_steady(const struct peak *peak)
{
    double apart = peak->before - peak->after;

    return peak->after == 0 || (apart < 0 ? -apart : apart) <= UNSTEADY * mean_of(peak);
}

static bool offer(struct bench_run *run, const struct bench_options *base, double peak, struct offer *offer)
{
    struct bench_options options = *base;
    double slots = peak * offer->factor * SLOTS_SECONDS, seconds = base->seconds;

    offer->offered = peak * offer->factor;
    options.open = true;
    options.rate = offer->offered * bench_plan_mean_ops(base);
    options.depth = 1;
    options.clients = slots > BENCH_CLIENTS_MAX ? BENCH_CLIENTS_MAX : slots < SLOTS_MIN ? SLOTS_MIN : (int)slots;
    if (!run_once(run, &options, &offer->done))
        return false;
    offer->refused = (double)run->stats.refused / seconds;
    offer->unbegun = (double)atomic_load(&run->unbegun) / seconds;
    offer->accepted_p50_us = bench_histogram_percentile(&run->stats.stages[BENCH_ACCEPTED], 0.5);
    offer->accepted_p99_us = bench_histogram_percentile(&run->stats.stages[BENCH_ACCEPTED], 0.99);
    offer->version_p99_us = bench_histogram_percentile(&run->stats.stages[BENCH_READ_VERSION], 0.99);
    offer->total_p99_us = bench_histogram_percentile(&run->stats.stages[BENCH_TRANSACTION], 0.99);
    return true;
}

static json_t *json_of(const struct offer *o)
{
    return json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "factor", o->factor, "offered_per_s", o->offered, "done_per_s", o->done,
                     "refused_per_s", o->refused, "not_begun_per_s", o->unbegun, "accepted_p50_us", o->accepted_p50_us, "accepted_p99_us",
                     o->accepted_p99_us, "read_version_p99_us", o->version_p99_us, "transaction_p99_us", o->total_p99_us);
}

static void report_json(const struct peak *peak, const struct offer *offers, size_t count, double kept, double slower)
{
    json_t *object = json_pack("{s:f, s:f, s:f, s:b, s:i, s:[]}", "peak_per_s", mean_of(peak), "peak_before_per_s", peak->before,
                               "peak_after_per_s", peak->after, "steady", is_steady(peak), "peak_clients", peak->clients, "offers");

    for (size_t i = 0; i < count; i++)
        (void)json_array_append_new(json_object_get(object, "offers"), json_of(&offers[i]));
    (void)json_object_set_new(object, "throughput_kept", json_real(kept));
    (void)json_object_set_new(object, "accepted_p99_ratio", json_real(slower));
    json_dumpf(object, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(6));
    printf("\n");
    json_decref(object);
}

static void report_text(const struct peak *peak, const struct offer *offers, size_t count, double kept, double slower)
{
    printf("\nload   offered/s     done/s  refused/s  not begun   accepted p50        p99   version p99     all p99 (us)\n");
    for (size_t i = 0; i < count; i++)
        printf("%4.1f %11.0f %10.0f %10.0f %10.0f %14.0f %10.0f %13.0f %11.0f\n", offers[i].factor, offers[i].offered, offers[i].done,
               offers[i].refused, offers[i].unbegun, offers[i].accepted_p50_us, offers[i].accepted_p99_us, offers[i].version_p99_us,
               offers[i].total_p99_us);
    if (!is_steady(peak))
        printf("\nThe peak was %.0f a second before the offers and %.0f after them: the machine is not steady, or --warmup and --seconds are too "
               "short for it. Measure again, longer or when nothing else runs.\n", peak->before, peak->after);
    printf("\nat twice the peak (%.0f a second): %.0f %% of its throughput (at least %.0f %%: %s), accepted p99 %.1f times that at 0.8 (at most "
           "%.0f: %s)\n", mean_of(peak), 100 * kept, 100 * THROUGHPUT_LEAST, kept >= THROUGHPUT_LEAST ? "yes" : "NO", slower, LATENCY_MOST,
           slower <= LATENCY_MOST ? "yes" : "NO");
}

bool bench_overload(struct bench_run *run)
{
    const struct bench_options *base = run->options;
    struct offer offers[] = {{.factor = 0.8}, {.factor = 1}, {.factor = 2}};
    size_t count = sizeof(offers) / sizeof(offers[0]);
    struct peak peak = {.before = base->rate / bench_plan_mean_ops(base)};
    bool finds = base->rate <= 0, good;

    good = !finds || (find_clients(run, base, &peak.clients) && closed_loops(run, base, peak.clients, base->seconds, &peak.before));
    for (size_t i = 0; i < count && good; i++)
        good = offer(run, base, peak.before, &offers[i]);
    good = good && (!finds || closed_loops(run, base, peak.clients, base->seconds, &peak.after));
    if (good)
        (base->json ? report_json : report_text)(&peak, offers, count, offers[count - 1].done / mean_of(&peak),
                                                 offers[count - 1].accepted_p99_us / offers[0].accepted_p99_us);
    run->options = base;
    run->space.options = base;
    return good;
}
