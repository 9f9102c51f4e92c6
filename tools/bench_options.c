/* The flags of quoin-bench. */
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/bench.h"

static const struct bench_workload workloads[] = {
    {.name = "put", .percent = {[BENCH_PUT] = 100}, .reads = 1},
    {.name = "get", .percent = {[BENCH_GET] = 100}, .reads = 1},
    {.name = "mixed", .percent = {[BENCH_GET] = 50, [BENCH_PUT] = 50}, .reads = 1},
    {.name = "rmw", .percent = {[BENCH_RMW] = 100}, .reads = 9},
    {.name = "range", .percent = {[BENCH_SCAN] = 100}, .reads = 1},
    {.name = "ycsb-a", .percent = {[BENCH_GET] = 50, [BENCH_PUT] = 50}, .reads = 1, .zipf = true},
    {.name = "ycsb-b", .percent = {[BENCH_GET] = 95, [BENCH_PUT] = 5}, .reads = 1, .zipf = true},
    {.name = "ycsb-c", .percent = {[BENCH_GET] = 100}, .reads = 1, .zipf = true},
    {.name = "ycsb-d", .percent = {[BENCH_GET] = 95, [BENCH_INSERT] = 5}, .reads = 1, .zipf = true, .latest = true},
    {.name = "ycsb-e", .percent = {[BENCH_SCAN] = 95, [BENCH_INSERT] = 5}, .reads = 1, .zipf = true, .any_scan = true},
    {.name = "ycsb-f", .percent = {[BENCH_GET] = 50, [BENCH_RMW] = 50}, .reads = 1, .zipf = true},
};

const char *const bench_measure_names[BENCH_MEASURES] = {"memory", "watches", "latency", "gets", "scan", "blocking"};

static const char usage[] =
    "quoin-bench " QUOIN_VERSION ": how fast a cluster is, and how soon it goes on after a kill\n"
    "\n"
    "usage: quoin-bench --cluster FILE --workload NAME [options]\n"
    "       quoin-bench --cluster FILE --overload [--workload NAME] [--rate OPS] [--seconds S] [--json]\n"
    "       quoin-bench --cluster FILE --measure LIST [--seconds S] [--keys K] [--json]\n"
    "\n"
    "  --cluster FILE        the cluster file\n"
    "  --workload NAME       put     one set a transaction\n"
    "                        get     one get (or --reads-per-txn)\n"
    "                        mixed   half of these, half of those\n"
    "                        rmw     9 gets (or --reads-per-txn) and an update of one of the keys read\n"
    "                        range   one range read of 100 keys\n"
    "                        ycsb-a  half gets, half puts          ycsb-d  95 % gets of new keys, 5 % inserts\n"
    "                        ycsb-b  95 % gets, 5 % puts           ycsb-e  95 % ranges of 1 to 100, 5 % inserts\n"
    "                        ycsb-c  gets                          ycsb-f  half gets, half read-modify-writes\n"
    "  --clients N           transaction loops on one network thread (default 64)\n"
    "  --depth N             transactions in flight in each of them (default 1)\n"
    "  --threads T           instead of these loops, T threads that wait for every answer\n"
    "  --reads-per-txn N     gets in a transaction that gets\n"
    "  --key-bytes B         default 16                --value-bytes B    default 100\n"
    "  --keys K              default 200,000; written first if they are not there\n"
    "  --distribution D      uniform (default but for ycsb), zipf:THETA (zipf:0.99: default for ycsb; below 1), hot:F: nine\n"
    "                        accesses in ten go to the part F (0 to 1) of the keys, or hot-range:F: to neighbours\n"
    "  --rate OPS            begin no more than OPS operations a second; latency then counts from when a transaction was due\n"
    "  --overload            instead of one run: finds the peak with --clients and ever twice as many, then offers 0.8, 1 and 2 times\n"
    "                        as much by an open loop (put unless told otherwise), then measures the peak again: what is done, what\n"
    "                        is refused, and how long accepted transactions take. Five runs of --warmup and --seconds, and up to 6\n"
    "                        of --warmup and a third of --seconds before. Disks catch up late: with large values give it\n"
    "                        --warmup 5 --seconds 30. With --rate that is taken for the peak: for several clients at once,\n"
    "                        each with its part of it\n"
    "  --tag TAG             of every transaction (auto_throttle_tag); see `throttle' of quoincli\n"
    "  --warmup S            default 2                 --seconds S        measured, default 10\n"
    "  --kill ROLE           of a cluster of tools/local-cluster: kill -9 a process of the role under load (put unless told\n"
    "                        otherwise) and measure the time to the first acknowledged transaction that was begun after it;\n"
    "                        ROLE or IP:PORT as there. Instead of --seconds:\n"
    "  --times N             so many kills, each after the cluster was whole again (default 1)\n"
    "  --measure LIST        instead of a workload, what a client costs; all, or some of these by commas:\n"
    "                        memory    of an open database and of a transaction\n"
    "                        watches   memory of 100,000 idle watches, here and on the storage servers of this machine\n"
    "                        latency   one get at a known read version, beside a loopback ping-pong in the same run\n"
    "                        gets      4 threads with 16 ten-get transactions in flight each\n"
    "                        scan      range reads of all keys, by one thread and by four\n"
    "                        blocking  9 gets and an update: 64 threads that wait, beside 64 loops on callbacks\n"
    "  --json                one object on one line, the last\n"
    "\n"
    "Every transaction takes a read version of its own. An operation is a key read or written. Latencies are in microseconds.\n"
    "\n"
    "examples:\n"
    "  quoin-bench --cluster quoin.cluster --workload put\n"
    "  quoin-bench --cluster quoin.cluster --workload get --reads-per-txn 10 --seconds 30 --json\n"
    "  quoin-bench --cluster quoin.cluster --workload ycsb-a --threads 64 --keys 1000000\n"
    "  quoin-bench --cluster quoin.cluster --workload mixed --rate 5000\n"
    "  quoin-bench --cluster /tmp/q/quoin.cluster --kill sequencer --times 20\n"
    "  quoin-bench --cluster quoin.cluster --overload --workload rmw\n"
    "  quoin-bench --cluster quoin.cluster --overload --clients 1024 --value-bytes 1000 --warmup 5 --seconds 30\n"
    "  quoin-bench --cluster quoin.cluster --overload --rate 10000\n"
    "  quoin-bench --cluster quoin.cluster --measure all --seconds 5\n";

static void __attribute__((format(printf, 1, 2), noreturn)) refuse(const char *format, ...)
{
    va_list list;

    va_start(list, format);
    fprintf(stderr, "quoin-bench: ");
    vfprintf(stderr, format, list);
    fprintf(stderr, " (--help tells more)\n");
    va_end(list);
    exit(2);
}

static uint64_t parse_count(const char *flag, const char *text, uint64_t min, uint64_t max)
{
    char *end;
    unsigned long long number;

    errno = 0;
    number = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || number < min || number > max)
        refuse("--%s: \"%s\" is not a whole number from %llu to %llu", flag, text, (unsigned long long)min,
               (unsigned long long)max);
    return number;
}

static double parse_real(const char *flag, const char *text, double min, double max)
{
    char *end;
    double number = strtod(text, &end);

    if (end == text || *end != '\0' || !isfinite(number) || number < min || number > max)
        refuse("%s: \"%s\" is not a number from %g to %g", flag, text, min, max);
    return number;
}

static const struct bench_workload *parse_workload(const char *text)
{
    for (size_t i = 0; i < sizeof(workloads) / sizeof(workloads[0]); i++)
        if (strcmp(text, workloads[i].name) == 0)
            return &workloads[i];
    refuse("--workload: \"%s\" is not one of put, get, mixed, rmw, range, ycsb-a to ycsb-f", text);
}

static void parse_distribution(const char *text, struct bench_options *o)
{
    if (strcmp(text, "uniform") == 0) {
        o->distribution = BENCH_UNIFORM;
    } else if (strncmp(text, "zipf:", 5) == 0) {
        o->distribution = BENCH_ZIPF;
        o->skew = parse_real("--distribution zipf:", text + 5, 0.01, 0.9999);
    } else if (strncmp(text, "hot:", 4) == 0) {
        o->distribution = BENCH_HOT;
        o->skew = parse_real("--distribution hot:", text + 4, 1e-9, 1);
    } else if (strncmp(text, "hot-range:", 10) == 0) {
        o->distribution = BENCH_HOT_RANGE;
        o->skew = parse_real("--distribution hot-range:", text + 10, 1e-9, 1);
    } else {
        refuse("--distribution: \"%s\" is not one of uniform, zipf:THETA, hot:F, hot-range:F", text);
    }
}

static unsigned parse_measures(const char *text)
{
    unsigned measures = 0;

    if (strcmp(text, "all") == 0)
        return (1u << BENCH_MEASURES) - 1;
    for (const char *at = text, *end; *at != '\0'; at = *end == ',' ? end + 1 : end) {
        size_t len = (size_t)((end = strchrnul(at, ',')) - at);
        int i = 0;

        while (i < BENCH_MEASURES && (strlen(bench_measure_names[i]) != len || strncmp(at, bench_measure_names[i], len) != 0))
            i++;
        if (i == BENCH_MEASURES)
            refuse("--measure: \"%.*s\" is not one of all, memory, watches, latency, gets, scan, blocking", (int)len, at);
        measures |= 1u << i;
    }
    if (measures == 0)
        refuse("--measure: nothing is named");
    return measures;
}

/* What the flags say together. */
static void check(struct bench_options *o, bool loops_chosen, bool distribution_chosen, bool times_chosen)
{
    uint64_t most = 1;

    if (o->cluster == NULL)
        refuse("--cluster FILE is needed");
    if (o->measures != 0 && (o->workload != NULL || o->kill != NULL || o->rate > 0))
        refuse("--measure takes the place of --workload, --rate and --kill");
    if (o->measures != 0 && (o->threads > 0 || loops_chosen))
        refuse("--measure has its own numbers of threads and transactions");
    if (o->overload && (o->measures != 0 || o->kill != NULL || o->threads > 0))
        refuse("--overload takes the place of --measure, --kill and --threads");
    if (o->workload == NULL && o->kill == NULL && o->measures == 0 && !o->overload)
        refuse("--workload NAME is needed");
    if (o->measures != 0)
        o->workload = parse_workload("rmw"); /* of its blocking part */
    if (o->workload == NULL)
        o->workload = parse_workload("put");
    if (o->threads > 0 && loops_chosen)
        refuse("--threads takes the place of --clients and --depth");
    if (o->tag != NULL && strlen(o->tag) > 16)
        refuse("--tag: a tag has at most 16 bytes");
    if (times_chosen && o->kill == NULL)
        refuse("--times needs --kill ROLE");
    if (o->kill != NULL && o->workload->percent[BENCH_GET] + o->workload->percent[BENCH_SCAN] == 100)
        refuse("--kill needs a workload that commits, and %s does not", o->workload->name);
    if (o->reads == 0)
        o->reads = o->workload->reads;
    if (!distribution_chosen && o->workload->zipf) {
        o->distribution = BENCH_ZIPF;
        o->skew = 0.99;
    }
    if ((uint64_t)o->clients * (uint64_t)o->depth > BENCH_CLIENTS_MAX)
        refuse("--clients times --depth is more than %d", BENCH_CLIENTS_MAX);
    for (int i = 1; i < o->key_bytes && most < UINT64_MAX / 100; i++)
        most *= 10;
    if (o->keys > most / 10)
        refuse("--keys %llu: keys of %d bytes have room for %llu and as many inserts", (unsigned long long)o->keys, o->key_bytes,
               (unsigned long long)(most / 10));
}

void bench_options_parse(int argc, char **argv, struct bench_options *ret_options)
{
    static const struct option options[] = {
        {"cluster", required_argument, NULL, 'C'},     {"workload", required_argument, NULL, 'w'},
        {"clients", required_argument, NULL, 'c'},     {"threads", required_argument, NULL, 't'},
        {"reads-per-txn", required_argument, NULL, 'r'}, {"depth", required_argument, NULL, 'd'},
        {"key-bytes", required_argument, NULL, 'k'},   {"value-bytes", required_argument, NULL, 'v'},
        {"keys", required_argument, NULL, 'K'},        {"distribution", required_argument, NULL, 'D'},
        {"rate", required_argument, NULL, 'R'},        {"warmup", required_argument, NULL, 'W'},
        {"seconds", required_argument, NULL, 's'},     {"kill", required_argument, NULL, 'x'},
        {"times", required_argument, NULL, 'n'},       {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},              {"version", no_argument, NULL, 'V'},
        {"measure", required_argument, NULL, 'm'},     {"tag", required_argument, NULL, 'T'},
        {"overload", no_argument, NULL, 'O'},
        {NULL, 0, NULL, 0}};
    struct bench_options o = {.clients = 64, .depth = 1, .key_bytes = 16, .value_bytes = 100, .keys = 200000,
                              .warmup_s = 2, .seconds = 10, .times = 1};
    bool loops_chosen = false, distribution_chosen = false, times_chosen = false;
    int c;

    while ((c = getopt_long(argc, argv, "C:h", options, NULL)) != -1) {
        switch (c) {
        case 'C': o.cluster = optarg; break;
        case 'w': o.workload = parse_workload(optarg); break;
        case 'c': o.clients = (int)parse_count("clients", optarg, 1, BENCH_CLIENTS_MAX), loops_chosen = true; break;
        case 'd': o.depth = (int)parse_count("depth", optarg, 1, BENCH_CLIENTS_MAX), loops_chosen = true; break;
        case 't': o.threads = (int)parse_count("threads", optarg, 1, BENCH_THREADS_MAX); break;
        case 'r': o.reads = (int)parse_count("reads-per-txn", optarg, 1, BENCH_READS_MAX); break;
        case 'k': o.key_bytes = (int)parse_count("key-bytes", optarg, BENCH_KEY_BYTES_MIN, BENCH_KEY_BYTES_MAX); break;
        case 'v': o.value_bytes = (int)parse_count("value-bytes", optarg, 0, BENCH_VALUE_BYTES_MAX); break;
        case 'K': o.keys = parse_count("keys", optarg, 1, UINT64_C(1000000000000)); break;
        case 'D': parse_distribution(optarg, &o), distribution_chosen = true; break;
        case 'R': o.rate = parse_real("--rate", optarg, 0.01, 1e9); break;
        case 'W': o.warmup_s = parse_real("--warmup", optarg, 0, 86400); break;
        case 's': o.seconds = parse_real("--seconds", optarg, 0.1, 864000); break;
        case 'x': o.kill = optarg; break;
        case 'n': o.times = (int)parse_count("times", optarg, 1, 100000), times_chosen = true; break;
        case 'm': o.measures = parse_measures(optarg); break;
        case 'O': o.overload = true; break;
        case 'T': o.tag = optarg; break;
        case 'j': o.json = true; break;
        case 'h': fputs(usage, stdout); exit(0);
        case 'V': puts("quoin-bench " QUOIN_VERSION); exit(0);
        default: fputs("quoin-bench --help lists the flags\n", stderr); exit(2);
        }
    }
    if (optind != argc)
        refuse("what is \"%s\" for?", argv[optind]);
    check(&o, loops_chosen, distribution_chosen, times_chosen);
    *ret_options = o;
}
