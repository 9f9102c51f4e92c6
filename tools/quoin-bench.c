/* quoin-bench: a load on a cluster, and what it shows. This file is the run from its start to its report.
 *
 *   load the keys -> start the loops or threads -> warm up -> measure (or kill, again and again) -> stop -> report
 *
 * or, with --measure, what a client costs (bench_measure.c). How the parts share the work is in tools/bench.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "net/mem.h"
#include "tools/bench.h"

enum { REACH_TIMEOUT_MS = 5000 };

int64_t bench_now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

void bench_sleep_us(int64_t us)
{
    struct timespec left = {us / 1000000, us % 1000000 * 1000};

    while (us > 0 && nanosleep(&left, &left) != 0)
        ;
}

double bench_client_cpu_s(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) + (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

void bench_run_options(const struct bench_run *run, struct quoin_transaction *transaction)
{
    if (run->options->tag != NULL)
        (void)quoin_transaction_set_option(transaction, QUOIN_OPTION_AUTO_THROTTLE_TAG, run->options->tag, (int)strlen(run->options->tag));
}

/* A first read version, within a bound: later calls wait for the cluster as long as it takes. */
static bool reach(struct quoin_database *db)
{
    int64_t timeout_ms = REACH_TIMEOUT_MS;
    struct quoin_transaction *transaction;
    struct quoin_future *future;
    char why[1024];
    quoin_error error = quoin_transaction_create(db, &transaction);

    if (error != 0)
        return false;
    quoin_transaction_set_option(transaction, QUOIN_OPTION_TIMEOUT, &timeout_ms, sizeof(timeout_ms));
    future = quoin_transaction_get_read_version(transaction);
    error = quoin_future_block_until_ready(future);
    if (error == 0)
        error = quoin_future_get_error(future);
    if (error != 0)
        fprintf(stderr, "quoin-bench: the cluster can't be used: %s (%d)\n%s\n", quoin_error_text(error), error,
                quoin_database_explain(db, why, sizeof(why)));
    quoin_future_destroy(future);
    quoin_transaction_destroy(transaction);
    return error == 0;
}

/* Lets the load run for a while, with a line on a terminal that says how it does. */
static void show_and_sleep(struct bench_run *run, const char *what, double seconds)
{
    bool line = isatty(STDERR_FILENO);
    int64_t end_us = bench_now_us() + (int64_t)(seconds * 1e6);
    int64_t left_us;

    while ((left_us = end_us - bench_now_us()) > 0) {
        if (line)
            fprintf(stderr, "\r%s: %.0f s left, %d in flight \033[K", what, (double)left_us / 1e6,
                    atomic_load(&run->in_flight));
        bench_sleep_us(line && left_us > 500000 ? 500000 : left_us);
    }
    if (line)
        fprintf(stderr, "\r\033[K");
}

/* The measured part. False if it went wrong, which was said. */
static bool measure(struct bench_run *run, struct bench_result *result)
{
    int64_t began_us;
    double began_cpu_s;
    bool good = true;

    if (!bench_cluster_read(run->options->cluster, &result->before))
        fprintf(stderr, "quoin-bench: the cluster does not answer `status`: no CPU times of servers\n");
    began_cpu_s = bench_client_cpu_s();
    bench_cluster_sample(&result->before);
    began_us = bench_now_us();
    atomic_store(&run->phase, BENCH_MEASURING);
    if (run->options->kill != NULL)
        good = bench_kills(run, result->kills, &result->kill_count);
    else
        show_and_sleep(run, "measuring", run->options->seconds);
    atomic_store(&run->phase, BENCH_STOPPING);
    result->seconds = (double)(bench_now_us() - began_us) / 1e6;
    result->after = result->before;
    bench_cluster_sample(&result->after);
    result->client_cpu_s = bench_client_cpu_s() - began_cpu_s;
    return good;
}

bool bench_run_load(struct bench_run *run, struct bench_result *result)
{
    struct bench_threads *threads = run->options->threads > 0 ? bench_threads_start(run) : NULL;
    struct bench_loops *loops = threads == NULL ? bench_loops_start(run) : NULL;
    bool good;

    show_and_sleep(run, "warming up", run->options->warmup_s);
    good = measure(run, result);
    if (threads != NULL)
        bench_threads_end(threads);
    else
        bench_loops_end(loops);
    return good;
}

static bool load_and_report(struct bench_run *run, struct bench_result *result)
{
    bool good = bench_run_load(run, result);

    if (good || result->kill_count > 0)
        bench_report(run, result);
    return good && (run->stats.transactions > 0 || result->kill_count > 0) && run->stats.errors == 0;
}

int main(int argc, char **argv)
{
    struct bench_options options;
    struct bench_run *run;
    struct bench_result *result;
    quoin_error error;
    bool good;

    bench_options_parse(argc, argv, &options);
    mem_set_fatal(true);
    run = mem_zalloc(sizeof(*run));
    result = mem_zalloc(sizeof(*result));
    result->kills = mem_zalloc((size_t)options.times * sizeof(*result->kills));
    run->options = &options;
    error = quoin_open(options.cluster, &run->db);
    if (error != 0) {
        const char *why = quoin_open_why();

        fprintf(stderr, "quoin-bench: %s: %s\n", options.cluster, why[0] != '\0' ? why : quoin_error_text(error));
        return 1;
    }
    bench_space_init(&run->space, &options);
    bench_stats_init(&run->stats);
    good = reach(run->db) && bench_load(run) && (options.measures != 0 ? bench_measure(run) : options.overload ? bench_overload(run) : load_and_report(run, result));
    quoin_database_destroy(run->db);
    (void)quoin_network_stop();
    bench_space_done(&run->space);
    mem_free(result->kills);
    mem_free(result);
    mem_free(run);
    return good ? 0 : 1;
}
