/* --measure's loads: gets by application threads, scans, and threads that wait beside callbacks. Each says how much CPU time an operation
 * cost on both sides as well: on a machine that does something else, that is what can be compared. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "net/mem.h"
#include "tools/bench.h"

enum {
    GET_THREADS = 4,
    GET_TRANSACTIONS = 16, /* in flight, a thread */
    GETS = 10,
    GETS_PER_S = 100000,
    SCAN_THREADS = 4,
    SCAN_KEYS_PER_S = 2000000,
    BLOCKING_THREADS = 64,
};

/* ---- what all have in common ---- */

struct load {
    struct bench_run *run;
    pthread_t threads[GET_THREADS > SCAN_THREADS ? GET_THREADS : SCAN_THREADS];
    int number; /* the next thread's */
    atomic_bool counting, stopping;
    atomic_uint_fast64_t ops;
    atomic_int error;
    /* at the first moment counted */
    struct bench_cluster cluster;
    double cpu_s;
    int64_t begun_us;
};

static bool refused(struct load *load, quoin_error error)
{
    if (error != 0)
        atomic_store(&load->error, error);
    return error != 0;
}

static void count(struct load *load, uint64_t ops)
{
    if (atomic_load_explicit(&load->counting, memory_order_relaxed))
        atomic_fetch_add_explicit(&load->ops, ops, memory_order_relaxed);
}

static double servers_cpu_s(const struct bench_cluster *before)
{
    struct bench_cluster after = *before;
    double ticks = 0;

    bench_cluster_sample(&after);
    for (int i = 0; i < before->count; i++)
        if (before->processes[i].here && after.processes[i].here)
            ticks += (double)(after.processes[i].ticks - before->processes[i].ticks);
    return ticks / (double)sysconf(_SC_CLK_TCK);
}

static void begin_counting(struct load *load)
{
    load->cluster.count = 0;
    (void)bench_cluster_read(load->run->options->cluster, &load->cluster);
    load->cpu_s = bench_client_cpu_s();
    load->begun_us = bench_now_us();
    atomic_store(&load->counting, true);
}

static void add_figures(struct load *load, struct bench_figures *figures, const char *name, double bound)
{
    double seconds = (double)(bench_now_us() - load->begun_us) / 1e6, ops = (double)atomic_load(&load->ops);
    double client_us = (bench_client_cpu_s() - load->cpu_s) * 1e6, servers_us = servers_cpu_s(&load->cluster) * 1e6;
    char text[64];

    bench_figure(figures, name, "/s", ops / seconds);
    if (bound > 0)
        bench_figure_at_least(figures, bound);
    snprintf(text, sizeof(text), "%s_client_cpu", name);
    bench_figure(figures, text, "us each", ops > 0 ? client_us / ops : 0);
    snprintf(text, sizeof(text), "%s_servers_cpu", name);
    bench_figure(figures, text, "us each", ops > 0 ? servers_us / ops : 0);
}

/* Lets `threads` of them run, first unmeasured. */
static bool run_threads(struct load *load, void *(*work)(void *load), int threads, struct bench_figures *figures, const char *name,
                        double bound)
{
    int started = 0;

    while (started < threads && pthread_create(&load->threads[started], NULL, work, load) == 0)
        started++;
    bench_sleep_us((int64_t)(load->run->options->warmup_s * 1e6));
    begin_counting(load);
    bench_sleep_us((int64_t)(load->run->options->seconds * 1e6));
    if (started == threads && atomic_load(&load->error) == 0)
        add_figures(load, figures, name, bound);
    atomic_store(&load->stopping, true);
    for (int i = 0; i < started; i++)
        pthread_join(load->threads[i], NULL);
    if (started < threads)
        fprintf(stderr, "quoin-bench: can't start %d threads\n", threads);
    if (atomic_load(&load->error) != 0)
        fprintf(stderr, "quoin-bench: %s: %s (%d)\n", name, quoin_error_text(atomic_load(&load->error)), atomic_load(&load->error));
    return started == threads && atomic_load(&load->error) == 0;
}

/* Waits, and goes on after an error that a new read version mends. */
static quoin_error try_again(struct quoin_transaction *transaction, quoin_error error)
{
    struct quoin_future *future;

    if (error == 0)
        return 0;
    future = quoin_transaction_on_error(transaction, error);
    error = quoin_future_block_until_ready(future);
    if (error == 0)
        error = quoin_future_get_error(future);
    quoin_future_destroy(future);
    return error;
}

/* ---- gets ---- */

struct flying {
    struct quoin_transaction *transaction;
    struct quoin_future *gets[GETS];
};

static void take_off(struct load *load, struct flying *flying, struct bench_plan *plan)
{
    const struct bench_options *options = load->run->options;
    uint8_t key[BENCH_KEY_BYTES_MAX];

    for (int i = 0; i < GETS; i++) {
        bench_key(options, bench_random(&plan->state) % options->keys, key);
        flying->gets[i] = quoin_transaction_get(flying->transaction, key, options->key_bytes, false);
    }
}

static quoin_error land(struct flying *flying)
{
    const uint8_t *value;
    quoin_error first = 0;
    bool present;
    int len;

    for (int i = 0; i < GETS; i++) {
        quoin_error error = quoin_future_block_until_ready(flying->gets[i]);

        if (error == 0)
            error = quoin_future_get_value(flying->gets[i], &present, &value, &len);
        if (error == 0 && !present)
            error = QUOIN_ERROR_CLIENT_INVALID_OPERATION;
        quoin_future_destroy(flying->gets[i]);
        if (first == 0)
            first = error;
    }
    return first;
}

static void *get_in_turn(void *argument)
{
    struct load *load = argument;
    struct flying flying[GET_TRANSACTIONS] = {{NULL, {NULL}}};
    struct bench_plan plan;
    quoin_error error = 0;

    bench_plan_init(&plan, &load->run->space, (uint64_t)(uintptr_t)&plan);
    for (int i = 0; i < GET_TRANSACTIONS && error == 0; i++) {
        error = quoin_transaction_create(load->run->db, &flying[i].transaction);
        if (error == 0)
            take_off(load, &flying[i], &plan);
    }
    for (int i = 0; error == 0 && !atomic_load(&load->stopping); i = (i + 1) % GET_TRANSACTIONS) {
        error = land(&flying[i]);
        if (error == 0) {
            count(load, GETS);
            quoin_transaction_reset(flying[i].transaction);
        } else {
            error = try_again(flying[i].transaction, error);
        }
        take_off(load, &flying[i], &plan);
    }
    refused(load, error);
    for (int i = 0; i < GET_TRANSACTIONS; i++) {
        if (flying[i].transaction != NULL)
            (void)land(&flying[i]);
        quoin_transaction_destroy(flying[i].transaction);
    }
    bench_plan_done(&plan);
    return NULL;
}

bool bench_measure_gets(struct bench_run *run, struct bench_figures *figures)
{
    struct load *load = mem_zalloc(sizeof(*load));
    bool good;

    load->run = run;
    good = run_threads(load, get_in_turn, GET_THREADS, figures, "gets", GETS_PER_S);
    mem_free(load);
    return good;
}

/* ---- scans ---- */

/* One pass over all keys, from the first to the last. */
static quoin_error scan(struct load *load, struct quoin_transaction *transaction)
{
    struct quoin_range_options options = {.mode = QUOIN_MODE_WANT_ALL};
    struct quoin_selector begin = QUOIN_FIRST_AT_OR_AFTER("", 0);
    const struct quoin_pair *pairs;
    struct quoin_future *last = NULL;
    quoin_error error = 0;
    bool more = true;
    int found;

    while (error == 0 && more && !atomic_load(&load->stopping)) {
        struct quoin_future *future = quoin_transaction_get_range(transaction, begin, QUOIN_FIRST_AT_OR_AFTER("\xff", 1), options);

        error = quoin_future_block_until_ready(future);
        if (error == 0)
            error = quoin_future_get_range(future, &pairs, &found, &more);
        if (error == 0 && found > 0)
            begin = (struct quoin_selector)QUOIN_FIRST_AFTER(pairs[found - 1].key, pairs[found - 1].key_length);
        if (error == 0)
            count(load, (uint64_t)found);
        quoin_future_destroy(last);
        last = future; /* holds the key that the next one begins at */
    }
    quoin_future_destroy(last);
    return error;
}

static void *scan_in_turn(void *argument)
{
    struct load *load = argument;
    struct quoin_transaction *transaction;
    quoin_error error = quoin_transaction_create(load->run->db, &transaction);

    if (refused(load, error))
        return NULL;
    while (error == 0 && !atomic_load(&load->stopping)) {
        error = try_again(transaction, scan(load, transaction));
        quoin_transaction_reset(transaction);
    }
    refused(load, error);
    quoin_transaction_destroy(transaction);
    return NULL;
}

bool bench_measure_scan(struct bench_run *run, struct bench_figures *figures)
{
    struct load *load = mem_zalloc(sizeof(*load));
    bool good;

    load->run = run;
    good = run_threads(load, scan_in_turn, 1, figures, "keys_scanned_by_one", SCAN_KEYS_PER_S);
    memset(load, 0, sizeof(*load));
    load->run = run;
    good = good && run_threads(load, scan_in_turn, SCAN_THREADS, figures, "keys_scanned_by_four", 0);
    mem_free(load);
    return good;
}

/* ---- threads that wait ---- */

static bool mixed(const struct bench_run *from, int threads, const char *name, struct bench_figures *figures)
{
    struct bench_options options = *from->options;
    struct bench_run *run = mem_zalloc(sizeof(*run));
    struct bench_result *result = mem_zalloc(sizeof(*result));
    char text[64];
    bool good;

    options.threads = threads;
    options.clients = BLOCKING_THREADS;
    options.depth = 1;
    run->options = &options;
    run->db = from->db;
    bench_space_init(&run->space, &options);
    bench_stats_init(&run->stats);
    good = bench_run_load(run, result) && run->stats.errors == 0;
    bench_figure(figures, name, "/s", (double)run->stats.transactions / result->seconds);
    snprintf(text, sizeof(text), "%s_client_cpu", name);
    bench_figure(figures, text, "us each", result->client_cpu_s * 1e6 / (double)(run->stats.transactions + 1));
    snprintf(text, sizeof(text), "%s_p50", name);
    bench_figure(figures, text, "us", bench_histogram_percentile(&run->stats.stages[BENCH_TRANSACTION], 0.5));
    pthread_mutex_destroy(&run->stats.lock);
    bench_space_done(&run->space);
    mem_free(result);
    mem_free(run);
    return good;
}

bool bench_measure_blocking(struct bench_run *run, struct bench_figures *figures)
{
    return mixed(run, BLOCKING_THREADS, "transactions_by_waiting_threads", figures) &&
           mixed(run, 0, "transactions_by_callbacks", figures);
}
