/* quoin-bench: loops of transactions, and how long each part of them takes.
 *
 * With --clients each loop is a chain of callbacks on the network thread; with --threads each is a thread that blocks on every
 * future. A transaction: its read version, then its reads (--depth of them at once), then its writes and the commit. Everything
 * is counted only between the end of the warm-up and the end of the measurement. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "net/error.h"
#include "net/mem.h"
#include "tools/bench_stats.h"
#include "txn/client/quoin_admin.h"

enum { KEY_BYTES_MIN = 8, KEY_BYTES_MAX_HERE = 10000, VALUE_BYTES_MAX_HERE = 100000, READS_MAX = 1000, SCAN_PAIRS = 100,
       LOAD_PAIRS = 500, KILLS_MAX = 1000, PROCESSES_MAX = 256 };

enum phase { PHASE_WARMUP, PHASE_MEASURE, PHASE_OVER };
enum latency { READ_VERSION, READ, COMMIT, TRANSACTION, LATENCIES };
static const char *const latency_names[LATENCIES] = {"read_version", "read", "commit", "transaction"};

struct workload {
    const char *name;
    int reads;          /* default of --reads-per-txn */
    double write_share; /* of the transactions, that write */
    bool rmw;           /* the key that was read is written */
    bool scan;
    bool reads_or_writes; /* a transaction does the one or the other */
};
static const struct workload workloads[] = {
    {"put", 0, 1, false, false, false},      {"get", 1, 0, false, false, false},
    {"mixed", 9, 1, false, false, false},    {"rmw", 1, 1, true, false, false},
    {"range", 1, 0, false, true, false},     {"ycsb-a", 1, 0.5, false, false, true},
    {"ycsb-b", 1, 0.05, false, false, true}, {"ycsb-c", 1, 0, false, false, true},
    {"ycsb-d", 1, 0.05, false, false, true}, {"ycsb-e", 1, 0.05, false, true, true},
    {"ycsb-f", 1, 0.5, true, false, false},
};

struct bench {
    struct quoin_database *db;
    struct workload workload;
    int clients, threads, reads, depth, key_bytes, value_bytes, times;
    uint64_t keys;
    double rate, warmup_s, seconds;
    const char *cluster, *kill_role, *distribution;
    bool json;
    struct key_draw draw;
    _Atomic int phase;
    _Atomic int64_t killed_us;    /* when the last kill was; 0: none, or already recovered from */
    _Atomic int64_t recovered_us; /* the first commit begun after it was acknowledged */
    _Atomic int64_t tokens;       /* of --rate */
    _Atomic int running;
    uint64_t order; /* of idle loops: the next to look at */
};

struct loop {
    struct bench *bench;
    struct quoin_transaction *transaction;
    pthread_t thread;
    uint64_t random;
    struct histogram latencies[LATENCIES];
    uint64_t transactions, reads, writes, conflicts, errors;
    int64_t began_us, stage_us;
    bool writes_now;
    int reads_wanted, reads_started, reads_ended, read_error;
    uint8_t *key, *value, *read_key; /* owned */
    _Atomic bool idle;
    int last_error;
};

static int64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static uint64_t draw(struct loop *loop)
{
    loop->random ^= loop->random << 13;
    loop->random ^= loop->random >> 7;
    loop->random ^= loop->random << 17;
    return loop->random;
}

/* Decimal digits, filled up in front: keys are in the order of their numbers. */
static void write_key(const struct bench *bench, uint64_t number, uint8_t *out)
{
    for (int i = bench->key_bytes - 1; i >= 0; i--, number /= 10)
        out[i] = (uint8_t)('0' + number % 10);
}

static void draw_key(struct loop *loop, uint8_t *out)
{
    write_key(loop->bench, key_draw_next(&loop->bench->draw, draw(loop), draw(loop)), out);
}

static void fill_value(struct loop *loop)
{
    uint64_t random = 0;

    for (int i = 0; i < loop->bench->value_bytes; i++, random >>= 8) {
        if (i % 8 == 0)
            random = draw(loop);
        loop->value[i] = (uint8_t)random;
    }
}

/* ---- what is counted ---- */

static bool measuring(const struct loop *loop)
{
    return atomic_load_explicit(&loop->bench->phase, memory_order_relaxed) == PHASE_MEASURE;
}

static bool is_over(const struct loop *loop)
{
    return atomic_load_explicit(&loop->bench->phase, memory_order_relaxed) == PHASE_OVER;
}

static void note(struct loop *loop, enum latency latency, int64_t since_us)
{
    if (measuring(loop))
        histogram_add(&loop->latencies[latency], (uint64_t)(now_us() - since_us));
}

static void note_transaction(struct loop *loop)
{
    note(loop, TRANSACTION, loop->began_us);
    if (measuring(loop)) {
        loop->transactions++;
        loop->reads += (uint64_t)loop->reads_wanted;
        loop->writes += loop->writes_now;
    }
}

static void note_commit(struct loop *loop)
{
    struct bench *bench = loop->bench;
    int64_t killed_us = atomic_load(&bench->killed_us), none = 0;

    note(loop, COMMIT, loop->stage_us);
    if (killed_us != 0 && loop->began_us >= killed_us)
        atomic_compare_exchange_strong(&bench->recovered_us, &none, now_us());
}

static void note_error(struct loop *loop, int error)
{
    if (!measuring(loop))
        return;
    if (error == ERROR_NOT_COMMITTED)
        loop->conflicts++;
    else
        loop->errors++;
}

static void plan(struct loop *loop)
{
    const struct workload *workload = &loop->bench->workload;

    loop->writes_now = (double)(draw(loop) >> 11) / 9007199254740992.0 < workload->write_share;
    loop->reads_wanted = workload->reads_or_writes && loop->writes_now ? 0 : loop->bench->reads;
    loop->reads_started = loop->reads_ended = loop->read_error = 0;
}

static struct quoin_future *start_read(struct loop *loop)
{
    struct bench *bench = loop->bench;
    struct quoin_range_options options = {.limit = SCAN_PAIRS, .mode = QUOIN_MODE_EXACT};

    loop->reads_started++;
    draw_key(loop, loop->read_key);
    if (!bench->workload.scan)
        return quoin_transaction_get(loop->transaction, loop->read_key, bench->key_bytes, false);
    return quoin_transaction_get_range(loop->transaction, QUOIN_FIRST_AT_OR_AFTER(loop->read_key, bench->key_bytes),
                                       QUOIN_FIRST_AT_OR_AFTER("\xff", 1), options);
}

static struct quoin_future *start_commit(struct loop *loop)
{
    struct bench *bench = loop->bench;

    if (bench->workload.rmw)
        memcpy(loop->key, loop->read_key, (size_t)bench->key_bytes);
    else
        draw_key(loop, loop->key);
    fill_value(loop);
    quoin_transaction_set(loop->transaction, loop->key, bench->key_bytes, loop->value, bench->value_bytes);
    loop->stage_us = now_us();
    return quoin_transaction_commit(loop->transaction);
}

/* ---- loops of callbacks ---- */

static void begin(struct loop *loop);
static void try_transaction(struct loop *loop);

static void end_loop(struct loop *loop)
{
    atomic_fetch_sub(&loop->bench->running, 1);
}

static void retried(struct quoin_future *future, void *context)
{
    struct loop *loop = context;
    int error = quoin_future_get_error(future);

    quoin_future_destroy(future);
    if (is_over(loop)) {
        end_loop(loop);
        return;
    }
    if (error != 0) {
        loop->last_error = error;
        quoin_transaction_reset(loop->transaction);
    }
    try_transaction(loop);
}

static void failed(struct loop *loop, int error)
{
    note_error(loop, error);
    if (quoin_future_set_callback(quoin_transaction_on_error(loop->transaction, error), retried, loop) != 0)
        abort();
}

static void succeeded(struct loop *loop)
{
    note_transaction(loop);
    quoin_transaction_reset(loop->transaction);
    begin(loop);
}

static void committed(struct quoin_future *future, void *context)
{
    struct loop *loop = context;
    int error = quoin_future_get_error(future);

    quoin_future_destroy(future);
    if (error != 0) {
        failed(loop, error);
        return;
    }
    note_commit(loop);
    succeeded(loop);
}

static void write_or_end(struct loop *loop)
{
    if (!loop->writes_now)
        succeeded(loop);
    else
        quoin_future_set_callback(start_commit(loop), committed, loop);
}

static void was_read(struct quoin_future *future, void *context);

static void read_more(struct loop *loop)
{
    quoin_future_set_callback(start_read(loop), was_read, loop);
}

static void was_read(struct quoin_future *future, void *context)
{
    struct loop *loop = context;
    int error = quoin_future_get_error(future);

    quoin_future_destroy(future);
    note(loop, READ, loop->stage_us);
    if (error != 0)
        loop->read_error = error;
    loop->reads_ended++;
    if (loop->reads_started < loop->reads_wanted && loop->read_error == 0) {
        if (loop->bench->depth == 1)
            loop->stage_us = now_us();
        read_more(loop);
    } else if (loop->reads_ended == loop->reads_started) {
        if (loop->read_error != 0)
            failed(loop, loop->read_error);
        else
            write_or_end(loop);
    }
}

static void got_version(struct quoin_future *future, void *context)
{
    struct loop *loop = context;
    int error = quoin_future_get_error(future), first = loop->bench->depth;

    quoin_future_destroy(future);
    if (error != 0) {
        failed(loop, error);
        return;
    }
    note(loop, READ_VERSION, loop->stage_us);
    loop->stage_us = now_us();
    if (loop->reads_wanted == 0) {
        write_or_end(loop);
        return;
    }
    if (first > loop->reads_wanted)
        first = loop->reads_wanted;
    for (int i = 0; i < first; i++)
        read_more(loop);
}

static void try_transaction(struct loop *loop)
{
    loop->began_us = loop->stage_us = now_us();
    plan(loop);
    quoin_future_set_callback(quoin_transaction_get_read_version(loop->transaction), got_version, loop);
}

static bool take_token(struct bench *bench)
{
    if (bench->rate <= 0)
        return true;
    if (atomic_fetch_sub(&bench->tokens, 1) > 0)
        return true;
    atomic_fetch_add(&bench->tokens, 1);
    return false;
}

static void begin(struct loop *loop)
{
    if (is_over(loop))
        end_loop(loop);
    else if (take_token(loop->bench))
        try_transaction(loop);
    else
        atomic_store(&loop->idle, true); /* the pacer wakes it */
}

/* ---- threads that block ---- */

static int wait_for(struct quoin_future *future)
{
    int error = quoin_future_block_until_ready(future);

    if (error == 0)
        error = quoin_future_get_error(future);
    quoin_future_destroy(future);
    return error;
}

static int read_all(struct loop *loop)
{
    struct quoin_future *futures[READS_MAX];
    int error = 0;

    while (loop->reads_started < loop->reads_wanted && error == 0) {
        int count = 0;

        loop->stage_us = now_us();
        while (count < loop->bench->depth && loop->reads_started < loop->reads_wanted)
            futures[count++] = start_read(loop);
        for (int i = 0; i < count; i++) {
            int one = wait_for(futures[i]);

            note(loop, READ, loop->stage_us);
            error = error != 0 ? error : one;
        }
    }
    return error;
}

static int one_transaction(struct loop *loop)
{
    int error;

    loop->began_us = loop->stage_us = now_us();
    plan(loop);
    error = wait_for(quoin_transaction_get_read_version(loop->transaction));
    if (error == 0)
        note(loop, READ_VERSION, loop->stage_us);
    if (error == 0)
        error = read_all(loop);
    if (error != 0 || !loop->writes_now)
        return error;
    error = wait_for(start_commit(loop));
    if (error == 0)
        note_commit(loop);
    return error;
}

static void *run_thread(void *argument)
{
    struct loop *loop = argument;

    while (!is_over(loop)) {
        int error;

        while (!take_token(loop->bench) && !is_over(loop))
            usleep(1000);
        while ((error = one_transaction(loop)) != 0 && !is_over(loop)) {
            note_error(loop, error);
            if (wait_for(quoin_transaction_on_error(loop->transaction, error)) != 0) {
                loop->last_error = error;
                quoin_transaction_reset(loop->transaction);
            }
        }
        if (error == 0)
            note_transaction(loop);
        quoin_transaction_reset(loop->transaction);
    }
    end_loop(loop);
    return NULL;
}

/* ---- loading the keys ---- */

struct load {
    struct loop *loop;
    uint64_t from, to;
};

static quoin_error load_some(struct quoin_transaction *transaction, void *context)
{
    struct load *load = context;
    struct bench *bench = load->loop->bench;
    int error = 0;

    for (uint64_t i = load->from; i < load->to && error == 0; i++) {
        write_key(bench, i, load->loop->key);
        fill_value(load->loop);
        error = quoin_transaction_set(transaction, load->loop->key, bench->key_bytes, load->loop->value, bench->value_bytes);
    }
    return error;
}

static quoin_error find_last(struct quoin_transaction *transaction, void *context)
{
    struct load *load = context;
    struct bench *bench = load->loop->bench;
    struct quoin_future *future;
    const uint8_t *value;
    bool present = false;
    int length, error;

    write_key(bench, bench->keys - 1, load->loop->key);
    future = quoin_transaction_get(transaction, load->loop->key, bench->key_bytes, true);
    error = quoin_future_block_until_ready(future);
    if (error == 0)
        error = quoin_future_get_value(future, &present, &value, &length);
    quoin_future_destroy(future);
    load->from = present && length == bench->value_bytes ? 1 : 0;
    return error;
}

static void show_bar(const struct bench *bench, uint64_t done)
{
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\rloading %" PRIu64 " of %" PRIu64 " keys (%d %%) ", done, bench->keys, (int)(done * 100 / bench->keys));
}

struct loader {
    struct load load;
    _Atomic uint64_t *next;
    int error;
    pthread_t thread;
};

static void *load_thread(void *argument)
{
    struct loader *loader = argument;
    struct bench *bench = loader->load.loop->bench;
    uint64_t step = LOAD_PAIRS;

    if (step * (uint64_t)(bench->key_bytes * 3 + bench->value_bytes) > 1000000)
        step = 1 + 1000000 / (uint64_t)(bench->key_bytes * 3 + bench->value_bytes);
    while (loader->error == 0) {
        loader->load.from = atomic_fetch_add(loader->next, step);
        if (loader->load.from >= bench->keys)
            break;
        loader->load.to = loader->load.from + step < bench->keys ? loader->load.from + step : bench->keys;
        loader->error = quoin_run(bench->db, load_some, &loader->load);
        show_bar(bench, loader->load.to);
    }
    return NULL;
}

/* The last key is written last: when it is there, so are the others. */
static int load_keys(struct bench *bench, struct loop *loops, int count)
{
    struct loader loaders[8] = {0};
    _Atomic uint64_t next = 0;
    struct load check = {.loop = &loops[0]};
    int error = quoin_run(bench->db, find_last, &check), threads = count < 8 ? count : 8;
    uint64_t keys = bench->keys;

    if (error != 0 || check.from == 1)
        return error;
    bench->keys = keys - 1;
    for (int i = 0; i < threads; i++) {
        loaders[i] = (struct loader){.load.loop = &loops[i], .next = &next};
        if (pthread_create(&loaders[i].thread, NULL, load_thread, &loaders[i]) != 0)
            abort();
    }
    for (int i = 0; i < threads; i++) {
        pthread_join(loaders[i].thread, NULL);
        error = error != 0 ? error : loaders[i].error;
    }
    bench->keys = keys;
    check.from = keys - 1;
    check.to = keys;
    if (error == 0)
        error = quoin_run(bench->db, load_some, &check);
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r\033[K");
    return error;
}

/* ---- the cluster's processes ---- */

struct process {
    char address[32], roles[256];
    int pid;
    int64_t cpu_us;
};

static int list_processes(struct bench *bench, struct process processes[PROCESSES_MAX])
{
    struct bytes_buffer text = {0};
    json_t *document = NULL, *list, *process;
    const char *id;
    int count = 0;

    if (quoin_admin_status(bench->db, &text, 5000000) == 0)
        document = json_loadb((const char *)text.ptr, text.len, 0, NULL);
    bytes_buffer_done(&text);
    list = json_object_get(document, "processes");
    if (list == NULL)
        list = json_object_get(json_object_get(document, "cluster"), "processes");
    json_object_foreach(list, id, process) {
        json_t *roles = json_object_get(process, "roles");
        struct process *into = &processes[count];

        if (count++ == PROCESSES_MAX)
            break;
        *into = (struct process){.pid = (int)json_integer_value(json_object_get(process, "pid"))};
        snprintf(into->address, sizeof(into->address), "%s", json_string_value(json_object_get(process, "address")));
        for (size_t i = 0; i < json_array_size(roles); i++) {
            size_t used = strlen(into->roles);

            snprintf(into->roles + used, sizeof(into->roles) - used, "%s%s", used > 0 ? " " : "",
                     json_string_value(json_object_get(json_array_get(roles, i), "role")));
        }
        into->cpu_us = cpu_us_of(into->pid);
    }
    json_decref(document);
    return count < PROCESSES_MAX ? count : PROCESSES_MAX;
}

static bool has_role(const struct process *process, const char *role)
{
    size_t len = strlen(role);

    for (const char *at = process->roles; (at = strstr(at, role)) != NULL; at += len)
        if ((at == process->roles || at[-1] == ' ') && (at[len] == ' ' || at[len] == '\0'))
            return true;
    return false;
}

/* FoundationDB's words in the status. */
static const char *status_role(const char *role)
{
    if (strcmp(role, "sequencer") == 0)
        return "master";
    return strcmp(role, "controller") == 0 ? "cluster_controller" : role;
}

/* ---- kills ---- */

static int kill_one(struct bench *bench, int expected)
{
    struct process processes[PROCESSES_MAX];
    int64_t give_up_us = now_us() + 60000000;

    while (now_us() < give_up_us) { /* until all are there again */
        int count = list_processes(bench, processes), victim = -1;

        for (int i = 0; i < count; i++)
            if (has_role(&processes[i], status_role(bench->kill_role)) && (victim < 0 || rand() % 2 == 0))
                victim = i;
        if (count >= expected && victim >= 0 && processes[victim].pid > 1) {
            atomic_store(&bench->recovered_us, 0);
            if (kill(processes[victim].pid, SIGKILL) != 0)
                return -1;
            atomic_store(&bench->killed_us, now_us()); /* what begins from now on meets a dead process */
            return 0;
        }
        usleep(100000);
    }
    return -1;
}

static int compare_times(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return x < y ? -1 : x > y;
}

/* Returns how many kills were recovered from; their times are sorted. */
static int run_kills(struct bench *bench, int64_t times_us[KILLS_MAX])
{
    struct process processes[PROCESSES_MAX];
    int expected = list_processes(bench, processes), done = 0;

    while (done < bench->times) {
        int64_t give_up_us;

        if (kill_one(bench, expected) != 0) {
            fprintf(stderr, "quoin-bench: no process with the role %s to kill\n", bench->kill_role);
            break;
        }
        give_up_us = now_us() + 60000000;
        while (atomic_load(&bench->recovered_us) == 0 && now_us() < give_up_us)
            usleep(500);
        if (atomic_load(&bench->recovered_us) == 0) {
            fprintf(stderr, "quoin-bench: no commit in 60 s after kill %d\n", done + 1);
            break;
        }
        times_us[done++] = atomic_load(&bench->recovered_us) - atomic_load(&bench->killed_us);
        atomic_store(&bench->killed_us, 0);
        if (!bench->json)
            fprintf(stderr, "kill %d: %.1f ms\n", done, (double)times_us[done - 1] / 1000);
        sleep(2); /* the supervisor's back-off, and the process's start */
    }
    qsort(times_us, (size_t)done, sizeof(times_us[0]), compare_times);
    return done;
}

/* ---- the run ---- */

static struct loop *make_loops(struct bench *bench, int count)
{
    struct loop *loops = mem_zalloc((size_t)count * sizeof(*loops));

    for (int i = 0; i < count; i++) {
        loops[i].bench = bench;
        loops[i].random = (uint64_t)now_us() * UINT64_C(0x9e3779b97f4a7c15) + (uint64_t)i * UINT64_C(0xbf58476d1ce4e5b9) + 1;
        loops[i].key = mem_zalloc((size_t)bench->key_bytes);
        loops[i].read_key = mem_zalloc((size_t)bench->key_bytes);
        loops[i].value = mem_zalloc((size_t)bench->value_bytes + 1);
        if (quoin_transaction_create(bench->db, &loops[i].transaction) != 0)
            abort();
    }
    return loops;
}

static void free_loops(struct loop *loops, int count)
{
    for (int i = 0; i < count; i++) {
        quoin_transaction_destroy(loops[i].transaction);
        mem_free(loops[i].key);
        mem_free(loops[i].read_key);
        mem_free(loops[i].value);
    }
    mem_free(loops);
}

static void start_loops(struct bench *bench, struct loop *loops, int count)
{
    atomic_store(&bench->running, count);
    for (int i = 0; i < count; i++) {
        if (bench->threads == 0)
            begin(&loops[i]);
        else if (pthread_create(&loops[i].thread, NULL, run_thread, &loops[i]) != 0)
            abort();
    }
}

/* Sleeps; with --rate it deals out tokens a thousand times a second and wakes idle loops. */
static void pace(struct bench *bench, struct loop *loops, int count, double seconds)
{
    int64_t end_us = now_us() + (int64_t)(seconds * 1e6), last_us = now_us();
    double due = 0;

    while (now_us() < end_us) {
        usleep(bench->rate > 0 ? 1000 : 10000);
        if (bench->rate <= 0)
            continue;
        due += (double)(now_us() - last_us) * bench->rate / 1e6;
        last_us = now_us();
        atomic_fetch_add(&bench->tokens, (int64_t)due);
        due -= (double)(int64_t)due;
        for (int i = 0; i < count; i++)
            if (atomic_load(&bench->tokens) > 0 && atomic_exchange(&loops[i].idle, false))
                begin(&loops[i]);
    }
}

static void stop_loops(struct bench *bench, struct loop *loops, int count)
{
    atomic_store(&bench->phase, PHASE_OVER);
    for (int i = 0; i < count; i++)
        if (atomic_exchange(&loops[i].idle, false))
            begin(&loops[i]);
    for (int i = 0; i < 30000 && atomic_load(&bench->running) > 0; i++)
        usleep(1000);
    if (bench->threads > 0)
        for (int i = 0; i < count; i++)
            pthread_join(loops[i].thread, NULL);
}

/* ---- the report ---- */

struct totals {
    struct histogram latencies[LATENCIES];
    uint64_t transactions, reads, writes, conflicts, errors;
    double seconds;
    int64_t client_cpu_us;
};

static json_t *latency_json(const struct histogram *histogram)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "count", (json_int_t)histogram->total, "p50",
                     (json_int_t)histogram_quantile(histogram, 0.5), "p95", (json_int_t)histogram_quantile(histogram, 0.95), "p99",
                     (json_int_t)histogram_quantile(histogram, 0.99), "p99.9", (json_int_t)histogram_quantile(histogram, 0.999),
                     "max", (json_int_t)histogram->max);
}

/* What counts as one operation: a read where there are only reads, else a transaction. */
static uint64_t operations(const struct bench *bench, const struct totals *totals)
{
    return bench->workload.write_share == 0 ? totals->reads : totals->transactions;
}

static json_t *processes_json(const struct process *before, int before_count, const struct process *after, int after_count,
                              uint64_t operations)
{
    json_t *list = json_array();

    for (int i = 0; i < after_count; i++)
        for (int k = 0; k < before_count; k++)
            if (after[i].pid == before[k].pid && after[i].cpu_us >= 0 && operations > 0)
                json_array_append_new(list, json_pack("{s:s, s:s, s:i, s:f}", "address", after[i].address, "roles", after[i].roles,
                                                      "pid", after[i].pid, "cpu_us_per_op",
                                                      (double)(after[i].cpu_us - before[k].cpu_us) / (double)operations));
    return list;
}

static json_t *report(const struct bench *bench, const struct totals *totals, json_t *processes, const int64_t *kills_us, int kills)
{
    uint64_t ops = operations(bench, totals);
    json_t *latencies = json_object();
    json_t *result = json_pack("{s:s, s:i, s:i, s:I, s:s, s:f, s:f, s:f, s:f, s:f, s:I, s:I, s:f, s:o}", "workload",
                               bench->workload.name, "clients", bench->threads > 0 ? 0 : bench->clients, "threads", bench->threads,
                               "keys", (json_int_t)bench->keys, "distribution", bench->distribution, "seconds", totals->seconds,
                               "ops_per_s", (double)ops / totals->seconds, "transactions_per_s",
                               (double)totals->transactions / totals->seconds, "reads_per_s", (double)totals->reads / totals->seconds,
                               "writes_per_s", (double)totals->writes / totals->seconds, "conflicts", (json_int_t)totals->conflicts,
                               "errors", (json_int_t)totals->errors, "client_cpu_us_per_op",
                               ops > 0 ? (double)totals->client_cpu_us / (double)ops : 0.0, "processes", processes);

    for (int i = 0; i < LATENCIES; i++)
        json_object_set_new(latencies, latency_names[i], latency_json(&totals->latencies[i]));
    json_object_set_new(result, "latency_us", latencies);
    if (bench->kill_role != NULL && kills > 0)
        json_object_set_new(result, "recovery_ms",
                            json_pack("{s:s, s:i, s:f, s:f, s:f}", "role", bench->kill_role, "kills", kills, "median",
                                      (double)kills_us[kills / 2] / 1000, "p90",
                                      (double)kills_us[(kills * 9 + 9) / 10 - 1] / 1000, "max", (double)kills_us[kills - 1] / 1000));
    return result;
}

static double number_at(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static void print_report(const json_t *result)
{
    const json_t *latencies = json_object_get(result, "latency_us"), *kills = json_object_get(result, "recovery_ms");
    json_t *processes = json_object_get(result, "processes");

    printf("%s: %.0f operations/s (%.0f transactions/s, %.0f reads/s, %.0f writes/s), %.0f conflicts, %.0f errors in %.1f s\n",
           json_string_value(json_object_get(result, "workload")), number_at(result, "ops_per_s"),
           number_at(result, "transactions_per_s"), number_at(result, "reads_per_s"), number_at(result, "writes_per_s"),
           number_at(result, "conflicts"), number_at(result, "errors"), number_at(result, "seconds"));
    printf("%-14s %10s %10s %10s %10s %10s\n", "latency (us)", "p50", "p95", "p99", "p99.9", "max");
    for (int i = 0; i < LATENCIES; i++) {
        const json_t *one = json_object_get(latencies, latency_names[i]);

        if (number_at(one, "count") > 0)
            printf("%-14s %10.0f %10.0f %10.0f %10.0f %10.0f\n", latency_names[i], number_at(one, "p50"), number_at(one, "p95"),
                   number_at(one, "p99"), number_at(one, "p99.9"), number_at(one, "max"));
    }
    printf("CPU us per operation: client %.2f", number_at(result, "client_cpu_us_per_op"));
    for (size_t i = 0; i < json_array_size(processes); i++)
        printf("%s%s (%s) %.2f", i % 3 == 0 ? "\n  " : ", ", json_string_value(json_object_get(json_array_get(processes, i), "address")),
               json_string_value(json_object_get(json_array_get(processes, i), "roles")),
               number_at(json_array_get(processes, i), "cpu_us_per_op"));
    printf("\n");
    if (kills != NULL)
        printf("recovery after %.0f kills: median %.1f ms, p90 %.1f ms, max %.1f ms\n", number_at(kills, "kills"),
               number_at(kills, "median"), number_at(kills, "p90"), number_at(kills, "max"));
}

static int64_t own_cpu_us(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (int64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 + usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
}

static int run(struct bench *bench)
{
    static struct process before[PROCESSES_MAX], after[PROCESSES_MAX];
    static struct totals totals;
    static int64_t kills_us[KILLS_MAX];
    int count = bench->threads > 0 ? bench->threads : bench->clients, kills = 0, before_count, after_count, last_error = 0;
    struct loop *loops = make_loops(bench, count);
    int error = load_keys(bench, loops, count);
    int64_t began_us;
    json_t *result;

    if (error != 0) {
        fprintf(stderr, "quoin-bench: loading: %s (%d)\n", error_text(error), error);
        free_loops(loops, count);
        return 1;
    }
    start_loops(bench, loops, count);
    pace(bench, loops, count, bench->warmup_s);
    before_count = list_processes(bench, before);
    totals.client_cpu_us = -own_cpu_us();
    began_us = now_us();
    atomic_store(&bench->phase, PHASE_MEASURE);
    if (bench->kill_role != NULL)
        kills = run_kills(bench, kills_us);
    else
        pace(bench, loops, count, bench->seconds);
    totals.seconds = (double)(now_us() - began_us) / 1e6;
    totals.client_cpu_us += own_cpu_us();
    after_count = list_processes(bench, after);
    stop_loops(bench, loops, count);
    for (int i = 0; i < count; i++) {
        for (int k = 0; k < LATENCIES; k++)
            histogram_merge(&totals.latencies[k], &loops[i].latencies[k]);
        totals.transactions += loops[i].transactions;
        totals.reads += loops[i].reads;
        totals.writes += loops[i].writes;
        totals.conflicts += loops[i].conflicts;
        totals.errors += loops[i].errors;
        last_error = loops[i].last_error != 0 ? loops[i].last_error : last_error;
    }
    result = report(bench, &totals, processes_json(before, before_count, after, after_count, operations(bench, &totals)), kills_us,
                    kills);
    if (bench->json) {
        json_dumpf(result, stdout, JSON_COMPACT);
        printf("\n");
    } else {
        print_report(result);
    }
    json_decref(result);
    if (last_error != 0)
        fprintf(stderr, "quoin-bench: a transaction failed for good: %s (%d)\n", error_text(last_error), last_error);
    if (atomic_load(&bench->running) == 0)
        free_loops(loops, count);
    else
        _exit(1); /* something hangs: its memory can't be taken away */
    return last_error != 0 || (bench->kill_role != NULL && kills < bench->times);
}

/* ---- main ---- */

static void usage(FILE *out)
{
    fputs("usage: quoin-bench --cluster FILE --workload put|get|mixed|rmw|range|ycsb-a..f\n"
          "       [--clients N | --threads T] [--reads-per-txn N] [--depth N] [--key-bytes B] [--value-bytes B] [--keys K]\n"
          "       [--distribution uniform|zipf:0.99|hot:F] [--rate OPS] [--warmup S] [--seconds S]\n"
          "       [--kill ROLE --times N] [--json]\n"
          "\n"
          "Loads the keys if they are not there, then runs. Defaults: 64 clients, 16-byte keys, 100-byte values, 200000 keys,\n"
          "uniform, 2 s of warm-up, 10 s. --kill: of a cluster on this machine; runs until N kills have recovered.\n",
          out);
}

/* A whole number within bounds, or the program ends. */
static int64_t number(const char *name, const char *text, int64_t min, int64_t max)
{
    char *end;
    int64_t value;

    errno = 0;
    value = strtoll(text, &end, 10);
    if (errno != 0 || *end != '\0' || end == text || value < min || value > max) {
        fprintf(stderr, "quoin-bench: %s: '%s' is no number from %" PRId64 " to %" PRId64 "\n", name, text, min, max);
        exit(2);
    }
    return value;
}

static double seconds(const char *name, const char *text)
{
    char *end;
    double value = strtod(text, &end);

    if (end == text || *end != '\0' || !(value >= 0) || value > 1e9) {
        fprintf(stderr, "quoin-bench: %s: '%s' is no number\n", name, text);
        exit(2);
    }
    return value;
}

static bool take_workload(struct bench *bench, const char *name)
{
    for (size_t i = 0; i < sizeof(workloads) / sizeof(workloads[0]); i++)
        if (strcmp(workloads[i].name, name) == 0) {
            bench->workload = workloads[i];
            return true;
        }
    fprintf(stderr, "quoin-bench: unknown workload '%s'\n", name);
    return false;
}

static void take_option(struct bench *bench, int option, const char *name)
{
    switch (option) {
    case 'C': bench->cluster = optarg; break;
    case 'w':
        if (!take_workload(bench, optarg))
            exit(2);
        break;
    case 'c': bench->clients = (int)number(name, optarg, 1, 10000); break;
    case 't': bench->threads = (int)number(name, optarg, 1, 1000); break;
    case 'r': bench->reads = (int)number(name, optarg, 0, READS_MAX); break;
    case 'd': bench->depth = (int)number(name, optarg, 1, READS_MAX); break;
    case 'k': bench->key_bytes = (int)number(name, optarg, KEY_BYTES_MIN, KEY_BYTES_MAX_HERE); break;
    case 'v': bench->value_bytes = (int)number(name, optarg, 0, VALUE_BYTES_MAX_HERE); break;
    case 'K': bench->keys = (uint64_t)number(name, optarg, 2, INT64_C(99999999)); break;
    case 'D': bench->distribution = optarg; break;
    case 'R': bench->rate = seconds(name, optarg); break;
    case 'W': bench->warmup_s = seconds(name, optarg); break;
    case 's': bench->seconds = seconds(name, optarg); break;
    case 'x': bench->kill_role = optarg; break;
    case 'n': bench->times = (int)number(name, optarg, 1, KILLS_MAX); break;
    case 'j': bench->json = true; break;
    case 'h': usage(stdout); exit(0);
    default: exit(2); /* getopt has said why */
    }
}

static void take_arguments(struct bench *bench, int argc, char **argv)
{
    static const struct option options[] = {
        {"cluster", 1, NULL, 'C'},   {"workload", 1, NULL, 'w'}, {"clients", 1, NULL, 'c'},     {"threads", 1, NULL, 't'},
        {"reads-per-txn", 1, NULL, 'r'}, {"depth", 1, NULL, 'd'}, {"key-bytes", 1, NULL, 'k'},  {"value-bytes", 1, NULL, 'v'},
        {"keys", 1, NULL, 'K'},      {"distribution", 1, NULL, 'D'}, {"rate", 1, NULL, 'R'},    {"warmup", 1, NULL, 'W'},
        {"seconds", 1, NULL, 's'},   {"kill", 1, NULL, 'x'},     {"times", 1, NULL, 'n'},       {"json", 0, NULL, 'j'},
        {"help", 0, NULL, 'h'},      {NULL, 0, NULL, 0}};
    int option, index = 0;

    while ((option = getopt_long(argc, argv, "C:h", options, &index)) != -1)
        take_option(bench, option, options[index].name);
    if (optind != argc || bench->workload.name == NULL) {
        usage(stderr);
        exit(2);
    }
    if (bench->reads < 0)
        bench->reads = bench->workload.reads;
    if (bench->depth == 0)
        bench->depth = bench->reads > 0 ? bench->reads : 1;
    if (!key_draw_parse(&bench->draw, bench->distribution, bench->keys)) {
        fprintf(stderr, "quoin-bench: --distribution '%s': uniform, zipf:0.99 or hot:0.1\n", bench->distribution);
        exit(2);
    }
    if (bench->kill_role != NULL && bench->workload.write_share == 0) {
        fprintf(stderr, "quoin-bench: --kill needs a workload that commits\n");
        exit(2);
    }
}

int main(int argc, char **argv)
{
    static struct bench bench = {.clients = 64, .reads = -1, .key_bytes = 16, .value_bytes = 100, .keys = 200000,
                                 .distribution = "uniform", .warmup_s = 2, .seconds = 10, .times = 1};
    char why[900];
    int error, status = 1;

    mem_set_fatal(true);
    take_arguments(&bench, argc, argv);
    error = quoin_open(bench.cluster, &bench.db);
    if (error != 0) {
        fprintf(stderr, "quoin-bench: %s %s\n", error_text(error), quoin_open_why());
        return 1;
    }
    error = quoin_admin_wait_ready(bench.db, 5000000);
    if (error != 0)
        fprintf(stderr, "quoin-bench: %s\n", quoin_database_explain(bench.db, why, sizeof(why)));
    else
        status = run(&bench);
    quoin_database_destroy(bench.db);
    quoin_network_stop();
    return status;
}
