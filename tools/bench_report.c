/* What a run has found: a table for people, or one JSON object. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/mem.h"
#include "tools/bench.h"

static const char *const stage_names[BENCH_STAGES] = {"read_version", "read", "commit", "accepted", "transaction"};

static double per_s(uint64_t count, double seconds)
{
    return seconds > 0 ? (double)count / seconds : 0;
}

static double cpu_us(uint64_t ticks)
{
    return (double)ticks * 1e6 / (double)sysconf(_SC_CLK_TCK);
}

static double per_op(double us, uint64_t ops)
{
    return ops > 0 ? us / (double)ops : 0;
}

/* What a server used while it was measured; false if it is elsewhere, or was not there all the time. */
static bool cpu_of(const struct bench_result *result, int index, double *ret_us)
{
    const struct bench_process *first = &result->before.processes[index], *last = &result->after.processes[index];

    if (!first->here || !last->here)
        return false;
    *ret_us = cpu_us(last->ticks - first->ticks);
    return true;
}

/* ---- recoveries ---- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

/* Median, ninth tenth and largest of at least one. */
static void summarize(const struct bench_result *result, double ret_summary[static 3])
{
    int count = result->kill_count;
    double *sorted = mem_alloc((size_t)count * sizeof(*sorted));

    for (int i = 0; i < count; i++)
        sorted[i] = result->kills[i].recovery_ms;
    qsort(sorted, (size_t)count, sizeof(*sorted), by_value);
    ret_summary[0] = count % 2 == 1 ? sorted[count / 2] : (sorted[count / 2 - 1] + sorted[count / 2]) / 2;
    ret_summary[1] = sorted[(count * 9 + 9) / 10 - 1];
    ret_summary[2] = sorted[count - 1];
    mem_free(sorted);
}

/* ---- the table ---- */

static void print_load(const struct bench_run *run)
{
    const struct bench_options *o = run->options;

    printf("workload     %s, ", o->workload->name);
    if (o->threads > 0)
        printf("%d blocking threads", o->threads);
    else
        printf("%d clients, %d in flight each", o->clients, o->depth);
    printf("; %" PRIu64 " keys of %d bytes, values of %d; ", o->keys, o->key_bytes, o->value_bytes);
    if (o->distribution == BENCH_UNIFORM)
        printf("uniform");
    else
        printf(o->distribution == BENCH_ZIPF ? "zipf:%g" : o->distribution == BENCH_HOT ? "hot:%g" : "hot-range:%g", o->skew);
    if (o->rate > 0)
        printf("; at most %g ops/s", o->rate);
    printf("\n");
}

static void print_latencies(const struct bench_stats *stats)
{
    printf("\nmicroseconds        p50        p95        p99      p99.9       mean        max      samples\n");
    for (int i = 0; i < BENCH_STAGES; i++) {
        const struct bench_histogram *h = &stats->stages[i];

        if (h->count > 0)
            printf("%-12s %10.0f %10.0f %10.0f %10.0f %10.0f %10" PRIu64 " %12" PRIu64 "\n", stage_names[i],
                   bench_histogram_percentile(h, 0.5), bench_histogram_percentile(h, 0.95), bench_histogram_percentile(h, 0.99),
                   bench_histogram_percentile(h, 0.999), (double)h->sum_us / (double)h->count, h->max_us, h->count);
    }
}

static void print_cpu(const struct bench_run *run, const struct bench_result *result)
{
    double us;

    printf("\nCPU                    us/op    of a core\n");
    printf("%-16s %11.2f %11.0f%%\n", "client", per_op(result->client_cpu_s * 1e6, run->stats.ops),
           100 * result->client_cpu_s / result->seconds);
    for (int i = 0; i < result->before.count; i++) {
        const struct bench_process *process = &result->before.processes[i];

        if (cpu_of(result, i, &us))
            printf("%-16s %11.2f %11.0f%%  pid %d %s\n", process->address, per_op(us, run->stats.ops),
                   us / 1e4 / result->seconds, process->pid, process->roles);
        else
            printf("%-16s %11s %12s  pid %d %s\n", process->address, "-", "-", process->pid, process->roles);
    }
}

static void print_table(const struct bench_run *run, const struct bench_result *result)
{
    const struct bench_stats *stats = &run->stats;
    double recovery[3];

    print_load(run);
    printf("measured     %.1f s: %" PRIu64 " operations in %" PRIu64 " transactions\n", result->seconds, stats->ops,
           stats->transactions);
    printf("throughput   %.0f ops/s, %.0f transactions/s\n", per_s(stats->ops, result->seconds),
           per_s(stats->transactions, result->seconds));
    printf("conflicts    %" PRIu64 "; other retries %" PRIu64 "%s%s; errors %" PRIu64 "%s%s\n", stats->conflicts, stats->retries,
           stats->last_retry != 0 ? ", the last: " : "", stats->last_retry != 0 ? quoin_error_name(stats->last_retry) : "",
           stats->errors, stats->last_error != 0 ? ", the last: " : "",
           stats->last_error != 0 ? quoin_error_name(stats->last_error) : "");
    if (stats->missing > 0)
        printf("missing      %" PRIu64 " keys that were read are not there\n", stats->missing);
    print_latencies(stats);
    if (result->kill_count == 0) {
        print_cpu(run, result);
        return;
    }
    summarize(result, recovery);
    printf("\nrecovery     %d kills of %s: median %.1f ms, p90 %.1f ms, max %.1f ms\n", result->kill_count, run->options->kill,
           recovery[0], recovery[1], recovery[2]);
}

/* ---- JSON ---- */

static void put_int(json_t *object, const char *name, uint64_t number)
{
    json_object_set_new(object, name, json_integer((json_int_t)number));
}

static void put_real(json_t *object, const char *name, double number)
{
    json_object_set_new(object, name, json_real(number));
}

static void put_text(json_t *object, const char *name, const char *text)
{
    json_object_set_new(object, name, json_string(text));
}

static json_t *latency_of(const struct bench_histogram *h)
{
    json_t *object = json_object();

    put_real(object, "p50", bench_histogram_percentile(h, 0.5));
    put_real(object, "p95", bench_histogram_percentile(h, 0.95));
    put_real(object, "p99", bench_histogram_percentile(h, 0.99));
    put_real(object, "p99.9", bench_histogram_percentile(h, 0.999));
    put_real(object, "mean", h->count > 0 ? (double)h->sum_us / (double)h->count : 0);
    put_int(object, "max", h->max_us);
    put_int(object, "count", h->count);
    return object;
}

static json_t *roles_of(const struct bench_process *process)
{
    json_t *roles = json_array();

    for (const char *at = process->roles; *at != '\0'; at += strcspn(at, " "), at += *at == ' ')
        json_array_append_new(roles, json_stringn(at, strcspn(at, " ")));
    return roles;
}

static json_t *cpu_of_all(const struct bench_run *run, const struct bench_result *result)
{
    json_t *cpu = json_object(), *servers = json_array();
    double us, total = 0;

    for (int i = 0; i < result->before.count; i++) {
        const struct bench_process *process = &result->before.processes[i];
        json_t *server = json_object();

        put_text(server, "address", process->address);
        put_int(server, "pid", (uint64_t)process->pid);
        json_object_set_new(server, "roles", roles_of(process));
        if (cpu_of(result, i, &us)) {
            put_real(server, "us_per_op", per_op(us, run->stats.ops));
            put_real(server, "cores", us / 1e6 / result->seconds);
            total += us;
        } else {
            json_object_set_new(server, "us_per_op", json_null());
        }
        json_array_append_new(servers, server);
    }
    put_real(cpu, "client", per_op(result->client_cpu_s * 1e6, run->stats.ops));
    put_real(cpu, "client_cores", result->client_cpu_s / result->seconds);
    put_real(cpu, "servers_total", per_op(total, run->stats.ops));
    json_object_set_new(cpu, "servers", servers);
    return cpu;
}

static void put_recovery(json_t *object, const struct bench_run *run, const struct bench_result *result)
{
    json_t *recovery = json_object(), *kills = json_array();
    double summary[3];

    summarize(result, summary);
    put_real(recovery, "median", summary[0]);
    put_real(recovery, "p90", summary[1]);
    put_real(recovery, "max", summary[2]);
    for (int i = 0; i < result->kill_count; i++) {
        json_t *kill = json_object();

        put_text(kill, "address", result->kills[i].address);
        put_int(kill, "pid", (uint64_t)result->kills[i].pid);
        put_real(kill, "recovery_ms", result->kills[i].recovery_ms);
        json_array_append_new(kills, kill);
    }
    put_text(object, "killed", run->options->kill);
    json_object_set_new(object, "recovery_ms", recovery);
    json_object_set_new(object, "kills", kills);
}

static void put_load(json_t *object, const struct bench_options *o)
{
    static const char *const names[] = {"uniform", "zipf", "hot", "hot-range"};

    put_text(object, "workload", o->workload->name);
    put_int(object, "clients", o->threads > 0 ? 0 : (uint64_t)o->clients);
    put_int(object, "depth", (uint64_t)o->depth);
    put_int(object, "threads", (uint64_t)o->threads);
    put_int(object, "reads_per_txn", (uint64_t)o->reads);
    put_int(object, "keys", o->keys);
    put_int(object, "key_bytes", (uint64_t)o->key_bytes);
    put_int(object, "value_bytes", (uint64_t)o->value_bytes);
    put_text(object, "distribution", names[o->distribution]);
    put_real(object, "skew", o->skew);
    put_real(object, "rate", o->rate);
}

static void print_json(const struct bench_run *run, const struct bench_result *result)
{
    const struct bench_stats *stats = &run->stats;
    json_t *object = json_object(), *latencies = json_object();

    put_load(object, run->options);
    put_real(object, "seconds", result->seconds);
    put_int(object, "ops", stats->ops);
    put_int(object, "transactions", stats->transactions);
    put_real(object, "ops_per_s", per_s(stats->ops, result->seconds));
    put_real(object, "transactions_per_s", per_s(stats->transactions, result->seconds));
    put_int(object, "conflicts", stats->conflicts);
    put_int(object, "retries", stats->retries);
    put_int(object, "errors", stats->errors);
    put_int(object, "missing", stats->missing);
    if (stats->last_error != 0)
        put_text(object, "last_error", quoin_error_name(stats->last_error));
    if (stats->last_retry != 0)
        put_text(object, "last_retry", quoin_error_name(stats->last_retry));
    for (int i = 0; i < BENCH_STAGES; i++)
        if (stats->stages[i].count > 0)
            json_object_set_new(latencies, stage_names[i], latency_of(&stats->stages[i]));
    json_object_set_new(object, "latency_us", latencies);
    if (result->kill_count > 0)
        put_recovery(object, run, result);
    else
        json_object_set_new(object, "cpu_us_per_op", cpu_of_all(run, result));
    json_dumpf(object, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(6));
    printf("\n");
    json_decref(object);
}

void bench_report(const struct bench_run *run, const struct bench_result *result)
{
    if (run->options->json)
        print_json(run, result);
    else
        print_table(run, result);
}
