/* Histograms and counters of a run. */
#include "tools/bench.h"

#include <assert.h>
#include <string.h>

/* ---- histograms ---- */

/* Values below 64 have a bucket each. Above, every power of two is cut into 64 buckets: of a value with its top bit at place e
 * the next 6 bits say which. */
static size_t bucket_of(uint64_t us)
{
    size_t e, bucket;

    if (us < 64)
        return (size_t)us;
    e = 63 - (size_t)__builtin_clzll(us);
    bucket = (e - 5) * 64 + ((us >> (e - 6)) & 63);
    return bucket < BENCH_HISTOGRAM_BUCKETS ? bucket : BENCH_HISTOGRAM_BUCKETS - 1;
}

static double middle_of(size_t bucket)
{
    size_t e = bucket / 64 + 5;
    uint64_t width = UINT64_C(1) << (e - 6 > 58 ? 0 : e - 6);

    if (bucket < 64)
        return (double)bucket;
    return (double)((64 + bucket % 64) * width) + (double)(width - 1) / 2;
}

void bench_histogram_add(struct bench_histogram *histogram, uint64_t us)
{
    histogram->buckets[bucket_of(us)]++;
    histogram->count++;
    histogram->sum_us += us;
    if (us > histogram->max_us)
        histogram->max_us = us;
}

void bench_histogram_merge(struct bench_histogram *into, const struct bench_histogram *from)
{
    for (size_t i = 0; i < BENCH_HISTOGRAM_BUCKETS; i++)
        into->buckets[i] += from->buckets[i];
    into->count += from->count;
    into->sum_us += from->sum_us;
    if (from->max_us > into->max_us)
        into->max_us = from->max_us;
}

double bench_histogram_percentile(const struct bench_histogram *histogram, double part)
{
    uint64_t wanted = (uint64_t)(part * (double)histogram->count), seen = 0;

    if (histogram->count == 0)
        return 0;
    if ((double)wanted < part * (double)histogram->count || wanted == 0)
        wanted++;
    for (size_t i = 0; i < BENCH_HISTOGRAM_BUCKETS; i++) {
        seen += histogram->buckets[i];
        if (seen >= wanted)
            return middle_of(i) < (double)histogram->max_us ? middle_of(i) : (double)histogram->max_us;
    }
    return (double)histogram->max_us;
}

/* ---- stats ---- */

void bench_stats_init(struct bench_stats *stats)
{
    memset(stats, 0, sizeof(*stats));
    pthread_mutex_init(&stats->lock, NULL);
}

void bench_stats_merge(struct bench_stats *into, struct bench_stats *from)
{
    pthread_mutex_lock(&from->lock);
    for (int i = 0; i < BENCH_STAGES; i++)
        bench_histogram_merge(&into->stages[i], &from->stages[i]);
    into->ops += from->ops;
    into->transactions += from->transactions;
    into->conflicts += from->conflicts;
    into->retries += from->retries;
    into->refused += from->refused;
    into->errors += from->errors;
    into->missing += from->missing;
    if (from->last_error != 0)
        into->last_error = from->last_error;
    if (from->last_retry != 0)
        into->last_retry = from->last_retry;
    pthread_mutex_unlock(&from->lock);
}

/* ---- what loops and threads report ---- */

void bench_sample_begin(struct bench_sample *sample, int64_t due_us)
{
    sample->begun_us = due_us;
    sample->conflicts = sample->retries = 0;
    sample->last_retry = 0;
}

quoin_error bench_sample_read(struct bench_sample *sample, const struct bench_plan *plan, int index, struct quoin_future *future)
{
    const struct quoin_pair *pairs;
    const uint8_t *value;
    bool present = true, more;
    int len, count;
    quoin_error error;

    if (plan->kind == BENCH_SCAN) {
        error = quoin_future_get_range(future, &pairs, &count, &more);
        if (error == 0)
            sample->ops = count;
    } else {
        error = quoin_future_get_value(future, &present, &value, &len);
    }
    if (error == 0 && !present)
        atomic_fetch_add_explicit(&sample->missing, 1, memory_order_relaxed);
    sample->reads_took_us[index] = (uint64_t)(bench_now_us() - sample->reads_begun_us);
    return error;
}

void bench_sample_failed(struct bench_sample *sample, quoin_error error)
{
    if (error == QUOIN_ERROR_NOT_COMMITTED) {
        sample->conflicts++;
    } else {
        sample->retries++;
        sample->last_retry = error;
    }
}

void bench_run_acknowledged(struct bench_run *run, int64_t try_begun_us, int64_t now_us)
{
    int_fast64_t killed_us = atomic_load_explicit(&run->killed_us, memory_order_acquire), none = 0;

    atomic_fetch_add_explicit(&run->committed, 1, memory_order_relaxed);
    if (killed_us != 0 && try_begun_us > killed_us && atomic_load_explicit(&run->recovered_us, memory_order_relaxed) == 0)
        atomic_compare_exchange_strong(&run->recovered_us, &none, now_us);
}

bool bench_is_refusal(quoin_error error)
{
    return error == 1042 || error == 1051 || error == 1078 || error == 1213 || error == 1037; /* and process_behind */
}

static void count_tries(struct bench_stats *stats, const struct bench_sample *sample)
{
    stats->conflicts += sample->conflicts;
    stats->retries += sample->retries;
    if (sample->last_retry != 0)
        stats->last_retry = sample->last_retry;
}

void bench_run_ended(struct bench_run *run, struct bench_stats *stats, const struct bench_plan *plan, struct bench_sample *sample,
                     quoin_error error)
{
    int64_t now_us = bench_now_us();

    bench_plan_settled(plan, &run->space);
    if (atomic_load_explicit(&run->phase, memory_order_relaxed) != BENCH_MEASURING)
        return;
    pthread_mutex_lock(&stats->lock);
    count_tries(stats, sample);
    if (error != 0 && run->options->open && bench_is_refusal(error)) {
        stats->refused++;
    } else if (error != 0) {
        stats->errors++;
        stats->last_error = error;
    } else {
        stats->transactions++;
        stats->ops += (uint64_t)sample->ops;
        stats->missing += (uint64_t)atomic_load_explicit(&sample->missing, memory_order_relaxed);
        bench_histogram_add(&stats->stages[BENCH_READ_VERSION], sample->read_version_took_us);
        for (int i = 0; i < plan->read_count; i++)
            bench_histogram_add(&stats->stages[BENCH_READ], sample->reads_took_us[i]);
        if (bench_plan_writes(plan))
            bench_histogram_add(&stats->stages[BENCH_COMMIT], sample->commit_took_us);
        bench_histogram_add(&stats->stages[BENCH_ACCEPTED], (uint64_t)(now_us - sample->reads_begun_us));
        bench_histogram_add(&stats->stages[BENCH_TRANSACTION], (uint64_t)(now_us - sample->begun_us));
    }
    pthread_mutex_unlock(&stats->lock);
}
