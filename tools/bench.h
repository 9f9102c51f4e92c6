/* quoin-bench's inside: what a run is, who draws its transactions, and where the numbers go.
 *
 *   bench_options.c   flags                      bench_loops.c     transaction loops on callbacks
 *   bench_plan.c      keys, which and how many   bench_threads.c   threads that wait; the first load
 *   bench_stats.c     histograms and counters    bench_cluster.c   status, server processes and their CPU time
 *   bench_report.c    the table and the JSON     bench_kill.c      kill, and the time to recover
 *   bench_overload.c  what more load than it can bear does to it
 *   bench_measure*.c  what a client costs: one get beside a ping-pong, gets, scans, waiting threads, memory
 *
 * A transaction is drawn as a plan, before it begins and once for all its tries. Its stages are timed apart: the read version,
 * each read (from when all of its reads were asked for), the commit, and the whole from the plan to the acknowledgement. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

#include "txn/client/include/quoin/quoin.h"

enum {
    BENCH_READS_MAX = 1000,
    BENCH_SCAN_KEYS = 100,
    BENCH_KEY_BYTES_MIN = 8,
    BENCH_KEY_BYTES_MAX = 10000,
    BENCH_VALUE_BYTES_MAX = 100000,
    BENCH_CLIENTS_MAX = 65536,
    BENCH_THREADS_MAX = 1024,
};

/* ---- options ---- */

enum bench_kind { BENCH_GET, BENCH_PUT, BENCH_INSERT, BENCH_SCAN, BENCH_RMW, BENCH_KINDS };

struct bench_workload {
    const char *name;
    unsigned percent[BENCH_KINDS]; /* of the transactions; adds up to 100 */
    int reads;                     /* of a get or rmw transaction, without --reads-per-txn */
    bool zipf;                     /* draws keys by zipf:0.99 unless told otherwise */
    bool latest;                   /* ... counted back from the newest key */
    bool any_scan;                 /* scans have 1 to BENCH_SCAN_KEYS keys, not always that many */
};

enum bench_distribution { BENCH_UNIFORM, BENCH_ZIPF, BENCH_HOT, BENCH_HOT_RANGE };

struct bench_options {
    const char *cluster;
    const struct bench_workload *workload;
    int clients, threads, depth; /* threads 0: loops on callbacks */
    int reads, key_bytes, value_bytes;
    uint64_t keys;
    enum bench_distribution distribution;
    double skew; /* of BENCH_ZIPF: theta; of BENCH_HOT and BENCH_HOT_RANGE: the hot part of the keys */
    double rate; /* ops a second; 0: as many as it can */
    double warmup_s, seconds;
    bool overload;    /* bench_overload.c, instead of one run */
    bool open;        /* with a rate: an open loop */
    const char *tag;  /* of every transaction; NULL: none */
    const char *kill; /* NULL: nobody */
    int times;
    unsigned measures; /* bits of enum bench_measure; 0: a workload instead */
    bool json;
};

/* What --measure knows; its names: bench_measure_names. */
enum bench_measure {
    BENCH_MEASURE_MEMORY, /* first: what was freed before would be used again */
    BENCH_MEASURE_WATCHES,
    BENCH_MEASURE_LATENCY,
    BENCH_MEASURE_GETS,
    BENCH_MEASURE_SCAN,
    BENCH_MEASURE_BLOCKING,
    BENCH_MEASURES,
};
extern const char *const bench_measure_names[BENCH_MEASURES];

/* Exits with 2 after a complaint, with 0 after --help. */
void bench_options_parse(int argc, char **argv, struct bench_options *ret_options);

/* ---- plans ---- */

/* What all that draw share; read-only but for the inserts. */
struct bench_space {
    const struct bench_options *options;
    double zeta, zeta2, eta, alpha; /* of the zipf distribution */
    atomic_uint_fast64_t inserted;  /* keys that inserts of the run were given, behind the first `keys` */
    atomic_uint_fast64_t settled;   /* the first so many of them have been committed, or given up */
    pthread_mutex_t lock;           /* of `settling` */
    uint8_t *settling;              /* owned: BENCH_INSERTS_MAX flags, a ring: settled before an earlier one */
    uint8_t *noise;                 /* owned: values are cut from it */
};
enum { BENCH_NOISE_BYTES = 1 << 20, BENCH_INSERTS_MAX = 2 * BENCH_CLIENTS_MAX };

void bench_space_init(struct bench_space *space, const struct bench_options *options);
void bench_space_done(struct bench_space *space);

/* One transaction to do. */
struct bench_plan {
    enum bench_kind kind;
    int read_count;
    uint64_t *reads; /* owned, options->reads of them; of a scan the first is where it starts */
    int scan_keys;
    uint64_t write; /* the key that a put, insert or rmw writes */
    uint64_t state; /* of its random numbers */
};
void bench_plan_init(struct bench_plan *plan, const struct bench_space *space, uint64_t seed);
void bench_plan_done(struct bench_plan *plan);
/* Draws the next one. */
void bench_plan_draw(struct bench_plan *plan, struct bench_space *space);
static inline bool bench_plan_writes(const struct bench_plan *plan)
{
    return plan->kind != BENCH_GET && plan->kind != BENCH_SCAN;
}
/* Its transaction has ended: if it was an insert, reads of the newest keys may count on it. */
void bench_plan_settled(const struct bench_plan *plan, struct bench_space *space);
/* Keys that it reads and writes; what a scan really found is counted when it is known. */
int bench_plan_ops(const struct bench_plan *plan);
/* ... of the workload's mean transaction. */
double bench_plan_mean_ops(const struct bench_options *options);

/* Key number `index`: a first byte hashed from the number, so that keys spread over the shards of a new database, then the
 * number's decimal digits from the last to the first, zeros behind. `out` has options->key_bytes. */
void bench_key(const struct bench_options *options, uint64_t index, uint8_t *out);
/* options->value_bytes that don't compress; borrowed from the space. */
const uint8_t *bench_value(const struct bench_space *space, struct bench_plan *plan);
uint64_t bench_random(uint64_t *state);

/* ---- numbers ---- */

/* Log-linear: below 64 us exact, above within 1/64. */
enum { BENCH_HISTOGRAM_BUCKETS = 64 * 32 };
struct bench_histogram {
    uint64_t count, sum_us, max_us;
    uint64_t buckets[BENCH_HISTOGRAM_BUCKETS];
};
void bench_histogram_add(struct bench_histogram *histogram, uint64_t us);
void bench_histogram_merge(struct bench_histogram *into, const struct bench_histogram *from);
/* The value that `part` (0..1) of the samples do not exceed; 0 without samples. */
double bench_histogram_percentile(const struct bench_histogram *histogram, double part);

/* BENCH_ACCEPTED: from the read version to the acknowledgement. */
enum bench_stage { BENCH_READ_VERSION, BENCH_READ, BENCH_COMMIT, BENCH_ACCEPTED, BENCH_TRANSACTION, BENCH_STAGES };

struct bench_stats {
    pthread_mutex_t lock; /* of all below */
    struct bench_histogram stages[BENCH_STAGES];
    uint64_t ops, transactions;
    uint64_t conflicts;   /* tries that ended in not_committed */
    uint64_t retries;     /* tries that ended in another error and were repeated */
    uint64_t refused;     /* of an open loop: transactions that the cluster did not want now */
    uint64_t errors;      /* transactions that were given up */
    uint64_t missing;     /* keys that a get did not find: of a loaded space none, so that it can't look fast by being empty */
    quoin_error last_error;
    quoin_error last_retry;
};
void bench_stats_init(struct bench_stats *stats);
void bench_stats_merge(struct bench_stats *into, struct bench_stats *from);

/* How one transaction went; its counters are of all its tries. */
struct bench_sample {
    int64_t begun_us; /* the whole transaction: when it was due */
    int64_t try_begun_us, version_us, reads_begun_us, commit_begun_us;
    uint64_t read_version_took_us, commit_took_us;
    uint64_t *reads_took_us; /* owned, options->reads of them */
    int ops;
    atomic_int missing; /* in the present try */
    uint64_t conflicts, retries;
    quoin_error last_retry;
};

/* Starts it anew; due_us: when its transaction should begin. */
void bench_sample_begin(struct bench_sample *sample, int64_t due_us);
/* Looks at the answer of read `index` and times it. Returns how the future ended; it is not destroyed. */
quoin_error bench_sample_read(struct bench_sample *sample, const struct bench_plan *plan, int index, struct quoin_future *future);
/* The cluster has too much to do: again, later. */
bool bench_is_refusal(quoin_error error);
/* Counts a try that failed. */
void bench_sample_failed(struct bench_sample *sample, quoin_error error);

/* ---- a run ---- */

enum bench_phase { BENCH_WARMING, BENCH_MEASURING, BENCH_STOPPING };

struct bench_run {
    const struct bench_options *options;
    struct quoin_database *db;
    struct bench_space space;
    atomic_int phase;
    atomic_int in_flight;              /* transactions of loops, or threads, that have not ended */
    atomic_uint_fast64_t committed;    /* acknowledged commits, in all phases */
    atomic_uint_fast64_t unbegun;      /* of an open loop, while it measures: due, and no slot was free */
    atomic_int_fast64_t killed_us;     /* after a kill: commits begun later than this show that the cluster goes on; 0: none */
    atomic_int_fast64_t recovered_us;  /* when the first of those was acknowledged; 0: not yet */
    struct bench_stats stats;          /* the loops' own, or merged from the threads */
};

int64_t bench_now_us(void);
void bench_sleep_us(int64_t us);

/* For loops and threads: the commit of a try begun at try_begun_us was acknowledged. */
void bench_run_acknowledged(struct bench_run *run, int64_t try_begun_us, int64_t now_us);
/* The options that each try needs. */
void bench_run_options(const struct bench_run *run, struct quoin_transaction *transaction);
/* A transaction has ended (error: it was given up). Counts it if the run is measuring. */
void bench_run_ended(struct bench_run *run, struct bench_stats *stats, const struct bench_plan *plan, struct bench_sample *sample,
                     quoin_error error);

struct bench_loops; /* N transaction loops on the network thread */
struct bench_loops *bench_loops_start(struct bench_run *run);
/* After run->phase became BENCH_STOPPING: waits for what is in flight, at most a few seconds. */
void bench_loops_end(struct bench_loops *loops);

struct bench_threads; /* T threads that wait for every future */
struct bench_threads *bench_threads_start(struct bench_run *run);
void bench_threads_end(struct bench_threads *threads);

/* Writes all keys unless a marker says that they are there. False after a complaint. */
bool bench_load(struct bench_run *run);

/* ---- the cluster's processes ---- */

enum { BENCH_PROCESSES_MAX = 256, BENCH_ROLES_MAX = 16 };
struct bench_process {
    char address[64];
    char roles[160]; /* FoundationDB's names, by spaces */
    int pid;
    uint64_t ticks; /* of CPU, user and system */
    bool here;      /* a process of this machine, so that its CPU time can be read */
    uint64_t watch_bytes; /* what its storage server says that watches take */
};
struct bench_cluster {
    struct bench_process processes[BENCH_PROCESSES_MAX];
    int count;
    char recovery_state[64];
};
/* Asks for the status; false if there is no answer within a few seconds. */
bool bench_cluster_read(const char *cluster_file, struct bench_cluster *ret_cluster);
/* Reads the CPU time of those that are here again. */
void bench_cluster_sample(struct bench_cluster *cluster);
/* As many processes, storage servers and coordinators as before, and each other role at least once: a recovery recruits from
 * the processes that are there at the time, so the number of those roles need not come back. */
bool bench_cluster_is_whole(const struct bench_cluster *now, const struct bench_cluster *before);

/* ---- kills ---- */

struct bench_kill {
    char role[64], address[64];
    int pid;
    double recovery_ms;
};
/* Kills a process of the role options->times times under the load of `run`, each after the cluster was whole again. False after
 * a complaint; *ret_count is how many recovered. `kills` has options->times. */
bool bench_kills(struct bench_run *run, struct bench_kill *kills, int *ret_count);

/* ---- the report ---- */

struct bench_result {
    double seconds;
    double client_cpu_s;
    struct bench_cluster before, after; /* `ticks` at the first and at the last moment measured */
    struct bench_kill *kills;
    int kill_count;
};
void bench_report(const struct bench_run *run, const struct bench_result *result);
/* Warms up and measures; false after a complaint. */
bool bench_run_load(struct bench_run *run, struct bench_result *result);

/* ---- what a client costs (bench_measure.c) ---- */

enum { BENCH_FIGURES_MAX = 32 };

/* One number, beside what it has to be. */
struct bench_figure {
    char name[64]; /* of the JSON's field */
    const char *unit;
    double value, bound; /* bound 0: there is none */
    bool at_least;       /* the value has to reach the bound, else it may not exceed it */
};
struct bench_figures {
    struct bench_figure list[BENCH_FIGURES_MAX];
    int count;
};
void bench_figure(struct bench_figures *figures, const char *name, const char *unit, double value);
/* The last one has to be so. */
void bench_figure_at_least(struct bench_figures *figures, double bound);
void bench_figure_at_most(struct bench_figures *figures, double bound);
double bench_client_cpu_s(void);

/* Each adds its figures; false after a complaint. */
bool bench_measure_latency(struct bench_run *run, struct bench_figures *figures);
bool bench_measure_gets(struct bench_run *run, struct bench_figures *figures);
bool bench_measure_scan(struct bench_run *run, struct bench_figures *figures);
bool bench_measure_blocking(struct bench_run *run, struct bench_figures *figures);
bool bench_measure_memory(struct bench_run *run, struct bench_figures *figures);
bool bench_measure_watches(struct bench_run *run, struct bench_figures *figures);

/* --overload; false after a complaint. */
bool bench_overload(struct bench_run *run);

/* All that options->measures names, one after the other, and a table or the JSON of what came out. */
bool bench_measure(struct bench_run *run);
