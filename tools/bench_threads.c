/* Threads that wait for every future, and the first load of the keys, which is done by such threads.
 *
 * Each thread has statistics of its own, so that they do not meet at a lock. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/mem.h"
#include "tools/bench.h"

enum { LOADERS = 16, LOAD_BATCH_KEYS = 100, LOAD_BATCH_BYTES = 1000000, BAR_WIDTH = 40 };

/* ---- one transaction ---- */

struct waiter {
    struct bench_run *run;
    pthread_t thread;
    struct quoin_transaction *transaction; /* owned */
    struct quoin_future **reads;           /* owned; of the reads under way */
    struct bench_plan plan;
    struct bench_sample sample;
    struct bench_stats stats;
};

struct bench_threads {
    struct bench_run *run;
    struct waiter *waiters; /* owned */
    int count;
};

/* Waits, destroys, and says how it ended. */
static quoin_error end_of(struct quoin_future *future)
{
    quoin_error error = quoin_future_block_until_ready(future);

    if (error == 0)
        error = quoin_future_get_error(future);
    quoin_future_destroy(future);
    return error;
}

static struct quoin_future *ask(struct waiter *waiter, int index)
{
    const struct bench_options *options = waiter->run->options;
    struct quoin_range_options range = {.limit = waiter->plan.scan_keys, .mode = QUOIN_MODE_EXACT};
    uint8_t key[BENCH_KEY_BYTES_MAX];

    bench_key(options, waiter->plan.reads[index], key);
    if (waiter->plan.kind == BENCH_SCAN)
        return quoin_transaction_get_range(waiter->transaction, QUOIN_FIRST_AT_OR_AFTER(key, options->key_bytes),
                                           QUOIN_FIRST_AT_OR_AFTER("\xff", 1), range);
    return quoin_transaction_get(waiter->transaction, key, options->key_bytes, false);
}

static quoin_error read_all(struct waiter *waiter)
{
    struct bench_sample *sample = &waiter->sample;
    quoin_error first = 0;

    sample->reads_begun_us = bench_now_us();
    for (int i = 0; i < waiter->plan.read_count; i++)
        waiter->reads[i] = ask(waiter, i);
    for (int i = 0; i < waiter->plan.read_count; i++) {
        quoin_error error = quoin_future_block_until_ready(waiter->reads[i]);

        if (error == 0)
            error = bench_sample_read(sample, &waiter->plan, i, waiter->reads[i]);
        quoin_future_destroy(waiter->reads[i]);
        if (first == 0)
            first = error;
    }
    return first;
}

static quoin_error write_and_commit(struct waiter *waiter)
{
    struct bench_run *run = waiter->run;
    uint8_t key[BENCH_KEY_BYTES_MAX];
    quoin_error error;
    int64_t now_us;

    bench_key(run->options, waiter->plan.write, key);
    error = quoin_transaction_set(waiter->transaction, key, run->options->key_bytes, bench_value(&run->space, &waiter->plan),
                                  run->options->value_bytes);
    if (error != 0)
        return error;
    waiter->sample.commit_begun_us = bench_now_us();
    error = end_of(quoin_transaction_commit(waiter->transaction));
    now_us = bench_now_us();
    waiter->sample.commit_took_us = (uint64_t)(now_us - waiter->sample.commit_begun_us);
    if (error == 0)
        bench_run_acknowledged(run, waiter->sample.try_begun_us, now_us);
    return error;
}

static quoin_error try_once(struct waiter *waiter)
{
    struct bench_sample *sample = &waiter->sample;
    quoin_error error;

    sample->ops = bench_plan_ops(&waiter->plan);
    sample->missing = 0;
    sample->try_begun_us = bench_now_us();
    bench_run_options(waiter->run, waiter->transaction);
    error = end_of(quoin_transaction_get_read_version(waiter->transaction));
    sample->read_version_took_us = (uint64_t)(bench_now_us() - sample->try_begun_us);
    if (error == 0)
        error = read_all(waiter);
    if (error == 0 && bench_plan_writes(&waiter->plan))
        error = write_and_commit(waiter);
    return error;
}

static void do_one(struct waiter *waiter, int64_t due_us)
{
    quoin_error error, over = 0;

    bench_sample_begin(&waiter->sample, due_us);
    bench_plan_draw(&waiter->plan, &waiter->run->space);
    while ((error = try_once(waiter)) != 0) {
        bench_sample_failed(&waiter->sample, error);
        over = end_of(quoin_transaction_on_error(waiter->transaction, error));
        if (over != 0)
            break;
    }
    bench_run_ended(waiter->run, &waiter->stats, &waiter->plan, &waiter->sample, over);
    quoin_transaction_reset(waiter->transaction);
    if (over != 0)
        bench_sleep_us(10000); /* an error that comes at once is not to become a loop that burns */
}

/* ---- threads ---- */

static void *work(void *argument)
{
    struct waiter *waiter = argument;
    const struct bench_options *options = waiter->run->options;
    double every_us = options->rate > 0 ? 1e6 * bench_plan_mean_ops(options) * options->threads / options->rate : 0;
    double due_us = (double)bench_now_us();

    while (atomic_load_explicit(&waiter->run->phase, memory_order_relaxed) != BENCH_STOPPING) {
        int64_t now_us = bench_now_us();

        if (options->rate > 0 && due_us > (double)now_us) {
            int64_t wait_us = (int64_t)due_us - now_us + 1;

            bench_sleep_us(wait_us < 100000 ? wait_us : 100000); /* looks at the phase now and then */
            continue;
        }
        do_one(waiter, options->rate > 0 ? (int64_t)due_us : now_us);
        due_us += every_us;
    }
    atomic_fetch_sub(&waiter->run->in_flight, 1);
    return NULL;
}

struct bench_threads *bench_threads_start(struct bench_run *run)
{
    struct bench_threads *threads = mem_zalloc(sizeof(*threads));
    size_t reads = (size_t)run->options->reads;

    threads->run = run;
    threads->count = run->options->threads;
    threads->waiters = mem_zalloc((size_t)threads->count * sizeof(*threads->waiters));
    for (int i = 0; i < threads->count; i++) {
        struct waiter *waiter = &threads->waiters[i];

        waiter->run = run;
        bench_plan_init(&waiter->plan, &run->space, (uint64_t)i);
        bench_stats_init(&waiter->stats);
        waiter->sample.reads_took_us = mem_zalloc(reads * sizeof(uint64_t));
        waiter->reads = mem_zalloc(reads * sizeof(struct quoin_future *));
        atomic_fetch_add(&run->in_flight, 1);
        if (quoin_transaction_create(run->db, &waiter->transaction) != 0 ||
            pthread_create(&waiter->thread, NULL, work, waiter) != 0) {
            fprintf(stderr, "quoin-bench: can't start thread %d\n", i + 1);
            exit(1);
        }
    }
    return threads;
}

void bench_threads_end(struct bench_threads *threads)
{
    for (int waited_ms = 0; atomic_load(&threads->run->in_flight) > 0 && waited_ms < 5000; waited_ms++)
        bench_sleep_us(1000);
    for (int i = 0; i < threads->count; i++) {
        struct waiter *waiter = &threads->waiters[i];

        quoin_transaction_cancel(waiter->transaction);
        pthread_join(waiter->thread, NULL);
        bench_stats_merge(&threads->run->stats, &waiter->stats);
        quoin_transaction_destroy(waiter->transaction);
        bench_plan_done(&waiter->plan);
        pthread_mutex_destroy(&waiter->stats.lock);
        mem_free(waiter->sample.reads_took_us);
        mem_free(waiter->reads);
    }
    mem_free(threads->waiters);
    mem_free(threads);
}

/* ---- the first load ---- */

struct loading {
    struct bench_run *run;
    atomic_uint_fast64_t next, done; /* keys */
    atomic_int failed;
    uint64_t batch;
};

struct batch {
    struct bench_run *run;
    struct bench_plan *plan;
    uint64_t first, end;
};

static quoin_error write_batch(struct quoin_transaction *transaction, void *context)
{
    const struct batch *batch = context;
    const struct bench_options *options = batch->run->options;
    uint8_t key[BENCH_KEY_BYTES_MAX];
    quoin_error error = 0;

    for (uint64_t i = batch->first; i < batch->end && error == 0; i++) {
        bench_key(options, i, key);
        error = quoin_transaction_set(transaction, key, options->key_bytes, bench_value(&batch->run->space, batch->plan),
                                      options->value_bytes);
    }
    return error;
}

static void *load_batches(void *argument)
{
    struct loading *loading = argument;
    uint64_t keys = loading->run->options->keys;
    struct bench_plan plan;

    bench_plan_init(&plan, &loading->run->space, atomic_load(&loading->next));
    while (atomic_load(&loading->failed) == 0) {
        struct batch batch = {.run = loading->run, .plan = &plan, .first = atomic_fetch_add(&loading->next, loading->batch)};
        quoin_error error;

        if (batch.first >= keys)
            break;
        batch.end = batch.first + loading->batch < keys ? batch.first + loading->batch : keys;
        error = quoin_run(loading->run->db, write_batch, &batch);
        if (error != 0)
            atomic_store(&loading->failed, error);
        else
            atomic_fetch_add(&loading->done, batch.end - batch.first);
    }
    bench_plan_done(&plan);
    return NULL;
}

static void draw_bar(uint64_t done, uint64_t keys)
{
    int full = (int)((double)done * BAR_WIDTH / (double)keys);

    fprintf(stderr, "\rloading [%.*s%*s] %" PRIu64 " of %" PRIu64 " keys ", full, "########################################",
            BAR_WIDTH - full, "", done, keys);
}

static quoin_error load_all(struct bench_run *run)
{
    struct loading loading = {.run = run};
    bool bar = isatty(STDERR_FILENO);
    pthread_t threads[LOADERS];
    int count = 0;

    loading.batch = LOAD_BATCH_BYTES / (uint64_t)(run->options->key_bytes + run->options->value_bytes);
    if (loading.batch > LOAD_BATCH_KEYS)
        loading.batch = LOAD_BATCH_KEYS;
    while (count < LOADERS && pthread_create(&threads[count], NULL, load_batches, &loading) == 0)
        count++;
    while (count > 0 && bar && atomic_load(&loading.failed) == 0 && atomic_load(&loading.done) < run->options->keys) {
        draw_bar(atomic_load(&loading.done), run->options->keys);
        bench_sleep_us(100000);
    }
    for (int i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    if (bar)
        fprintf(stderr, "\r\033[K");
    return count == 0 ? QUOIN_ERROR_OUT_OF_MEMORY : atomic_load(&loading.failed);
}

/* What is loaded: "KEYS VALUE_BYTES" under a key that says how long the keys are. */
struct marker {
    char key[40], value[64];
    uint64_t keys, value_bytes; /* found; 0: none */
};

static quoin_error read_marker(struct quoin_transaction *transaction, void *context)
{
    struct marker *marker = context;
    struct quoin_future *future = quoin_transaction_get(transaction, marker->key, (int)strlen(marker->key), false);
    const uint8_t *value;
    char text[64];
    bool present;
    int len;
    quoin_error error = quoin_future_block_until_ready(future);

    if (error == 0)
        error = quoin_future_get_value(future, &present, &value, &len);
    if (error == 0 && present && len < (int)sizeof(text)) {
        memcpy(text, value, (size_t)len);
        text[len] = '\0';
        if (sscanf(text, "%" SCNu64 " %" SCNu64, &marker->keys, &marker->value_bytes) != 2)
            marker->keys = 0;
    }
    quoin_future_destroy(future);
    return error;
}

static quoin_error write_marker(struct quoin_transaction *transaction, void *context)
{
    struct marker *marker = context;

    return quoin_transaction_set(transaction, marker->key, (int)strlen(marker->key), marker->value, (int)strlen(marker->value));
}

bool bench_load(struct bench_run *run)
{
    const struct bench_options *options = run->options;
    struct marker marker = {.keys = 0};
    quoin_error error;

    snprintf(marker.key, sizeof(marker.key), "quoin-bench/%d", options->key_bytes);
    snprintf(marker.value, sizeof(marker.value), "%" PRIu64 " %d", options->keys, options->value_bytes);
    error = quoin_run(run->db, read_marker, &marker);
    if (error == 0 && marker.keys >= options->keys && marker.value_bytes == (uint64_t)options->value_bytes)
        return true;
    if (error == 0)
        error = load_all(run);
    if (error == 0)
        error = quoin_run(run->db, write_marker, &marker);
    if (error != 0)
        fprintf(stderr, "quoin-bench: the keys can't be loaded: %s (%d)\n", quoin_error_text(error), error);
    return error == 0;
}
