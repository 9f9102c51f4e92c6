/* --measure's memory: what an open database, a transaction and 100,000 idle watches keep resident. Pages that are free but still ours
 * are given back before each look, so that nothing hides in them. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/mem.h"
#include "tools/bench.h"

enum {
    DATABASES = 32,
    DATABASE_BYTES_MAX = 2 << 20,
    TRANSACTIONS = 10000,
    TRANSACTION_BYTES_MAX = 4096,
    GETS = 10,
    WATCHES = 100000,
    WATCHES_A_TRANSACTION = 1000,
    WATCHES_BYTES_MAX = 64 << 20,
    PROOFS = 20, /* watches that are made to fire */
    SETTLE_US = 250000,
    SETTLES_MAX = 80,
};

/* Of jemalloc, if that is linked. */
int mallctl(const char *name, void *old, size_t *old_len, void *new, size_t new_len) __attribute__((weak));

static void give_back(void)
{
    if (mallctl != NULL)
        (void)mallctl("arena.4096.purge", NULL, NULL, NULL, 0); /* 4096: all arenas */
    else
        malloc_trim(0);
}

/* Its own pages: not those of files that it has mapped. A storage server's store is such a file, and whatever else was written keeps
 * touching more of it for seconds after. 0 if there is no such process. */
static double resident(int pid)
{
    unsigned long long pages = 0, of_files = 0;
    char path[64];
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/statm", pid);
    file = fopen(path, "re");
    if (file == NULL)
        return 0;
    if (fscanf(file, "%*u %llu %llu", &pages, &of_files) != 2 || of_files > pages)
        pages = of_files = 0;
    fclose(file);
    return (double)(pages - of_files) * (double)sysconf(_SC_PAGESIZE);
}

static double own_bytes(void)
{
    give_back();
    return resident(getpid());
}

static quoin_error end_of(struct quoin_future *future)
{
    quoin_error error = quoin_future_block_until_ready(future);

    if (error == 0)
        error = quoin_future_get_error(future);
    quoin_future_destroy(future);
    return error;
}

static bool complain(quoin_error error, const char *what)
{
    if (error != 0)
        fprintf(stderr, "quoin-bench: %s: %s (%d)\n", what, quoin_error_text(error), error);
    return error == 0;
}

static struct quoin_future *get_some(const struct bench_run *run, struct quoin_transaction *transaction, uint64_t number)
{
    uint8_t key[BENCH_KEY_BYTES_MAX];

    bench_key(run->options, number % run->options->keys, key);
    return quoin_transaction_get(transaction, key, run->options->key_bytes, false);
}

/* ---- databases ---- */

/* Opened and used once: its connections, description and first locations are there. */
static quoin_error open_one(const struct bench_run *run, struct quoin_database **ret_db)
{
    struct quoin_transaction *transaction;
    quoin_error error = quoin_open(run->options->cluster, ret_db);

    if (error == 0)
        error = quoin_transaction_create(*ret_db, &transaction);
    if (error != 0)
        return error;
    error = end_of(get_some(run, transaction, 1));
    quoin_transaction_destroy(transaction);
    return error;
}

static bool measure_databases(const struct bench_run *run, struct bench_figures *figures)
{
    struct quoin_database *dbs[DATABASES] = {NULL};
    double before = own_bytes();
    quoin_error error = 0;

    for (int i = 0; i < DATABASES && error == 0; i++)
        error = open_one(run, &dbs[i]);
    if (error == 0) {
        bench_figure(figures, "database_bytes", "bytes", (own_bytes() - before) / DATABASES);
        bench_figure_at_most(figures, DATABASE_BYTES_MAX);
    }
    for (int i = 0; i < DATABASES; i++)
        quoin_database_destroy(dbs[i]);
    return complain(error, "a database can't be opened");
}

/* ---- transactions ---- */

static quoin_error read_some(const struct bench_run *run, struct quoin_transaction *transaction)
{
    struct quoin_future *gets[GETS];
    quoin_error first = 0;

    for (int i = 0; i < GETS; i++)
        gets[i] = get_some(run, transaction, (uint64_t)i);
    for (int i = 0; i < GETS; i++) {
        quoin_error error = end_of(gets[i]);

        if (first == 0)
            first = error;
    }
    return first;
}

static bool measure_transactions(const struct bench_run *run, struct bench_figures *figures)
{
    struct quoin_transaction **transactions = mem_zalloc(TRANSACTIONS * sizeof(*transactions));
    double before;
    quoin_error error = 0;

    memset(transactions, 1, TRANSACTIONS * sizeof(*transactions)); /* its pages are there before we look */
    before = own_bytes();
    memset(transactions, 0, TRANSACTIONS * sizeof(*transactions));
    for (int i = 0; i < TRANSACTIONS && error == 0; i++)
        error = quoin_transaction_create(run->db, &transactions[i]);
    if (error == 0) {
        bench_figure(figures, "transaction_bytes", "bytes", (own_bytes() - before) / TRANSACTIONS);
        bench_figure_at_most(figures, TRANSACTION_BYTES_MAX);
    }
    for (int i = 0; i < TRANSACTIONS && error == 0; i++)
        error = read_some(run, transactions[i]);
    if (error == 0) {
        bench_figure(figures, "transaction_bytes_after_ten_gets", "bytes", (own_bytes() - before) / TRANSACTIONS);
        bench_figure_at_most(figures, TRANSACTION_BYTES_MAX);
    }
    for (int i = 0; i < TRANSACTIONS; i++)
        quoin_transaction_destroy(transactions[i]);
    mem_free(transactions);
    return complain(error, "a transaction does not work");
}

bool bench_measure_memory(struct bench_run *run, struct bench_figures *figures)
{
    return measure_databases(run, figures) && measure_transactions(run, figures);
}

/* ---- watches ---- */

struct servers {
    struct bench_cluster cluster;
    double bytes[BENCH_PROCESSES_MAX];
};

static void look_at_servers(struct servers *servers)
{
    for (int i = 0; i < servers->cluster.count; i++)
        servers->bytes[i] = servers->cluster.processes[i].here ? resident(servers->cluster.processes[i].pid) : 0;
}

/* Until nothing grows any more: who is told of a watch, says nothing. */
static void wait_until_still(struct servers *servers)
{
    double last = -1, now = 0;

    for (int i = 0; i < SETTLES_MAX && now != last; i++) {
        bench_sleep_us(SETTLE_US);
        last = now;
        now = resident(getpid());
        look_at_servers(servers);
        for (int n = 0; n < servers->cluster.count; n++)
            now += servers->bytes[n];
    }
}

static void watched_key(uint64_t number, char out[17])
{
    snprintf(out, 17, "watched/%08u", (unsigned)number);
}

static quoin_error watch_some(struct bench_run *run, struct quoin_future **watches, uint64_t first)
{
    struct quoin_transaction *transaction;
    quoin_error error = quoin_transaction_create(run->db, &transaction);
    char key[17];

    for (uint64_t i = first; i < first + WATCHES_A_TRANSACTION && error == 0; i++) {
        watched_key(i, key);
        watches[i] = quoin_transaction_watch(transaction, key, 16);
        error = watches[i] == NULL ? QUOIN_ERROR_OUT_OF_MEMORY : 0;
    }
    if (error == 0)
        error = end_of(quoin_transaction_commit(transaction));
    quoin_transaction_destroy(transaction);
    return error;
}

static quoin_error write_watched(struct quoin_transaction *transaction, void *context)
{
    quoin_error error = 0;
    char key[17];

    (void)context;
    for (uint64_t i = 0; i < PROOFS && error == 0; i++) {
        watched_key(i * (WATCHES / PROOFS), key);
        error = quoin_transaction_set(transaction, key, 16, "x", 1);
    }
    return error;
}

static quoin_error clear_watched(struct quoin_transaction *transaction, void *context)
{
    (void)context;
    return quoin_transaction_clear_range(transaction, "watched/", 8, "watched0", 8);
}

/* Some of them fire, and no other: they have not been forgotten. */
static quoin_error prove(struct bench_run *run, struct quoin_future **watches)
{
    quoin_error error = quoin_run(run->db, write_watched, NULL);

    for (uint64_t i = 0; i < PROOFS && error == 0; i++) {
        struct quoin_future *watch = watches[i * (WATCHES / PROOFS)];

        error = quoin_future_block_until_ready(watch);
        if (error == 0)
            error = quoin_future_get_error(watch);
        if (error == 0 && quoin_future_is_ready(watches[i * (WATCHES / PROOFS) + 1]))
            error = QUOIN_ERROR_CLIENT_INVALID_OPERATION;
    }
    return error;
}

/* What a server's allocator had free before hides a part of the growth; the server's own count knows nothing of what an allocator
 * adds: the larger of the two. */
static double grown(const struct servers *before, const struct servers *after, int i)
{
    double counted = (double)after->cluster.processes[i].watch_bytes, bytes = after->bytes[i] - before->bytes[i];

    return counted > bytes ? counted : bytes;
}

static void add_watch_figures(struct bench_figures *figures, const struct servers *before, const struct servers *after, double own)
{
    double most = 0;

    bench_figure(figures, "watches_client_bytes", "bytes", own);
    bench_figure_at_most(figures, WATCHES_BYTES_MAX);
    for (int i = 0; i < after->cluster.count && i < before->cluster.count; i++)
        if (grown(before, after, i) > most)
            most = grown(before, after, i);
    if (after->cluster.count == 0)
        return;
    bench_figure(figures, "watches_server_bytes", "bytes", most);
    bench_figure_at_most(figures, WATCHES_BYTES_MAX);
}

bool bench_measure_watches(struct bench_run *run, struct bench_figures *figures)
{
    struct quoin_future **watches = mem_zalloc(WATCHES * sizeof(*watches));
    struct servers *before = mem_zalloc(sizeof(*before)), *after = mem_zalloc(sizeof(*after));
    int64_t most = WATCHES;
    quoin_error error = quoin_database_set_option(run->db, QUOIN_DATABASE_OPTION_MAX_WATCHES, &most, sizeof(most));
    double own;

    if (error == 0)
        error = quoin_run(run->db, clear_watched, NULL);
    (void)bench_cluster_read(run->options->cluster, &before->cluster);
    wait_until_still(before);
    after->cluster = before->cluster;
    own = own_bytes();
    for (uint64_t i = 0; i < WATCHES && error == 0; i += WATCHES_A_TRANSACTION)
        error = watch_some(run, watches, i);
    if (error == 0) {
        wait_until_still(after);
        own = own_bytes() - own;
        (void)bench_cluster_read(run->options->cluster, &after->cluster);
        add_watch_figures(figures, before, after, own);
        error = prove(run, watches);
    }
    for (int i = 0; i < WATCHES; i++)
        quoin_future_destroy(watches[i]);
    if (error == 0)
        error = quoin_run(run->db, clear_watched, NULL);
    mem_free(watches);
    mem_free(before);
    mem_free(after);
    return complain(error, "watches");
}
