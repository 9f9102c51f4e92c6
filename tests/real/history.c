/* quoin-history: clients of a real cluster that write down all they see, and the two oracles that say whether it can be.
 *
 * While it runs, others break the cluster. At SIGTERM the clients end, the database is read back, and the histories are checked:
 * by replay (sim/checkers/replay.h: lost, doubled, stale, half and reordered) and for cycles (sim/checkers/cycles.h). The
 * file of --progress holds the number of commits so far, 8 bytes, so that who breaks the cluster sees it go on. All its keys begin with
 * history/; what is there at the start is cleared. */
#include "tests/real/history.h"

#include "net/error.h"
#include "net/mem.h"
#include "tests/unit/draw.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { CLIENTS_MAX = 256, PAIR_BATCH = 1000 };

/* ---- calls that wait ---- */

static int end_of(struct quoin_future *future)
{
    int error = quoin_future_block_until_ready(future);

    return error != 0 ? error : quoin_future_get_error(future);
}

static int finish(struct quoin_future *future)
{
    int error = end_of(future);

    quoin_future_destroy(future);
    return error;
}

int call_read_version(struct quoin_transaction *transaction, int64_t *ret_version)
{
    struct quoin_future *future = quoin_transaction_get_read_version(transaction);
    int error = end_of(future);

    if (error == 0)
        error = quoin_future_get_int64(future, ret_version);
    quoin_future_destroy(future);
    return error;
}

int call_get(struct quoin_transaction *transaction, struct bytes key, bool snapshot, bool *ret_present, struct bytes_buffer *value)
{
    struct quoin_future *future = quoin_transaction_get(transaction, key.ptr, (int)key.len, snapshot);
    const uint8_t *bytes;
    int length, error = end_of(future);

    value->len = 0;
    if (error == 0)
        error = quoin_future_get_value(future, ret_present, &bytes, &length);
    if (error == 0 && *ret_present)
        error = bytes_buffer_append(value, bytes_of(bytes, (size_t)length));
    quoin_future_destroy(future);
    return error;
}

/* One batch; the last key goes to `last`. */
static int see_batch(struct quoin_future *future, struct call_range *range, struct bytes_buffer *last, uint32_t *seen, bool *ret_more)
{
    const struct quoin_pair *pairs;
    int count, error = end_of(future);

    if (error == 0)
        error = quoin_future_get_range(future, &pairs, &count, ret_more);
    if (error != 0)
        return error;
    for (int i = 0; i < count; i++)
        range->see(range->context, bytes_of(pairs[i].key, (size_t)pairs[i].key_length),
                   bytes_of(pairs[i].value, (size_t)pairs[i].value_length));
    *seen += (uint32_t)count;
    if (count == 0)
        return 0;
    last->len = 0;
    return bytes_buffer_append(last, bytes_of(pairs[count - 1].key, (size_t)pairs[count - 1].key_length));
}

int call_get_range(struct quoin_transaction *transaction, struct bytes begin, struct bytes end, struct call_range *range)
{
    struct bytes_buffer last = {0};
    uint32_t seen = 0;
    bool more = true;
    int error = 0;

    while (more && error == 0 && (range->limit == 0 || seen < range->limit)) {
        struct quoin_selector low = QUOIN_FIRST_AT_OR_AFTER(begin.ptr, (int)begin.len);
        struct quoin_selector high = QUOIN_FIRST_AT_OR_AFTER(end.ptr, (int)end.len);
        struct quoin_range_options options = {.limit = range->limit == 0 ? 0 : (int)(range->limit - seen),
                                              .mode = QUOIN_MODE_WANT_ALL, .snapshot = range->snapshot, .reverse = range->reverse};
        struct quoin_future *future;

        if (last.len > 0 && range->reverse)
            high = QUOIN_FIRST_AT_OR_AFTER(last.ptr, (int)last.len);
        else if (last.len > 0)
            low = QUOIN_FIRST_AFTER(last.ptr, (int)last.len);
        future = quoin_transaction_get_range(transaction, low, high, options);
        error = see_batch(future, range, &last, &seen, &more);
        quoin_future_destroy(future);
    }
    range->more = more;
    bytes_buffer_done(&last);
    return error;
}

int call_commit(struct quoin_transaction *transaction)
{
    return finish(quoin_transaction_commit(transaction));
}

bool call_retry(struct history_client *client, int error)
{
    int none = 0;

    if (finish(quoin_transaction_on_error(client->transaction, error)) == 0)
        return true;
    if (atomic_compare_exchange_strong(&client->run->failed, &none, error)) {
        fprintf(stderr, "quoin-history: client %u: %s (%d)\n", client->number, error_name(error), error);
        kill(getpid(), SIGTERM);
    }
    return false;
}

void history_pause(struct history_client *client, uint64_t ms_below)
{
    uint64_t us = ms_below == 0 ? 0 : history_random(client, 1000 * ms_below);
    struct timespec pause = {.tv_sec = (time_t)(us / 1000000), .tv_nsec = (long)(us % 1000000) * 1000};

    nanosleep(&pause, NULL);
}

uint64_t history_random(struct history_client *client, uint64_t below)
{
    return draw_below(&client->random, below);
}

/* ---- the run ---- */

/* Every other client appends to lists. */
static void *client_main(void *argument)
{
    struct history_client *client = argument;
    struct history_run *run = client->run;

    while (!atomic_load(&run->ending) && atomic_load(&run->failed) == 0) {
        if (client->number % 2 == 0)
            mix_once(client);
        else
            lists_once(client);
        history_pause(client, run->pause_ms);
    }
    return NULL;
}

static int open_client(struct history_run *run, struct history_client *client, uint32_t number)
{
    *client = (struct history_client){.run = run, .number = number, .random = run->seed * 1000 + number};
    return quoin_transaction_create(run->db, &client->transaction);
}

static int open_progress(struct history_run *run, const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    void *shared = MAP_FAILED;

    if (fd >= 0 && ftruncate(fd, sizeof(*run->committed)) == 0)
        shared = mmap(NULL, sizeof(*run->committed), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd >= 0)
        close(fd);
    if (shared == MAP_FAILED) {
        fprintf(stderr, "quoin-history: --progress %s: %s\n", path, strerror(errno));
        return 1;
    }
    run->committed = shared;
    return 0;
}

/* What an earlier run left would be what nobody wrote. */
static bool clear_all(struct history_run *run)
{
    static const char begin[] = "history/", end[] = "history0";
    struct history_client client;
    int error = open_client(run, &client, CLIENTS_MAX);

    if (error != 0)
        return false;
    do {
        quoin_transaction_clear_range(client.transaction, begin, sizeof(begin) - 1, end, sizeof(end) - 1);
        error = call_commit(client.transaction);
    } while (error != 0 && call_retry(&client, error));
    quoin_transaction_destroy(client.transaction);
    return error == 0;
}

static bool check(struct history_run *run)
{
    struct history_client client;
    bool good = open_client(run, &client, CLIENTS_MAX) == 0;

    good = mix_check(&client) && good;
    good = lists_check(&client) && good;
    quoin_transaction_destroy(client.transaction);
    return good;
}

static int run_clients(struct history_run *run, uint32_t count)
{
    static struct history_client clients[CLIENTS_MAX];
    sigset_t signals;
    int got;
    bool good;

    if (!clear_all(run))
        return 1;
    mix_init(run);
    lists_init(run);
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    for (uint32_t i = 0; i < count; i++)
        if (open_client(run, &clients[i], i) != 0 || pthread_create(&clients[i].thread, NULL, client_main, &clients[i]) != 0)
            abort();
    sigwait(&signals, &got); /* blocked since main, so that no thread takes it */
    atomic_store(&run->ending, true);
    for (uint32_t i = 0; i < count; i++) {
        pthread_join(clients[i].thread, NULL);
        quoin_transaction_destroy(clients[i].transaction);
    }
    good = atomic_load(&run->failed) == 0 && check(run);
    mix_done();
    lists_done();
    return !good;
}

/* ---- main ---- */

static void usage(FILE *out)
{
    fputs("usage: quoin-history -C CLUSTER_FILE --progress FILE [options]   runs until SIGTERM, then checks\n"
          "\n"
          "  -C FILE              the cluster file\n"
          "  --progress FILE      8 bytes, little-endian: commits acknowledged so far\n"
          "  --clients N          1 to 256 (default 8): half of them mix reads and writes, half append to lists\n"
          "  --keys N             of the mix, 4 to 10000 (default 40)\n"
          "  --pause-ms N         a client rests up to that long between transactions (default 40)\n"
          "  --seed N             what the clients draw (default 1)\n"
          "  --keep FILE          where a history that can't be is written (sim/checkers/history.h decodes it)\n"
          "\n"
          "Exit status 0: the histories can be; 1: they can't (a line WRONG: says why), or an error that is not retried.\n"
          "\n"
          "example:\n"
          "  quoin-history -C var/quoin.cluster --progress /tmp/progress & sleep 20; kill %1; wait %1\n",
          out);
}

/* True if `text` is a number from low to high. */
static bool number_of(const char *text, unsigned long low, unsigned long high, unsigned long *ret)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);

    if (*text < '0' || *text > '9' || *end != '\0' || value < low || value > high)
        return false;
    *ret = value;
    return true;
}

struct arguments {
    const char *cluster, *progress, *keep;
    unsigned long clients, keys, pause_ms, seed;
};

/* False: usage was shown, and *ret_status is the exit status. */
static bool parse(int argc, char **argv, struct arguments *a, int *ret_status)
{
    enum { PROGRESS = 256, CLIENTS, KEYS, PAUSE, SEED, KEEP };
    static const struct option options[] = {
        {"progress", required_argument, NULL, PROGRESS}, {"clients", required_argument, NULL, CLIENTS},
        {"keys", required_argument, NULL, KEYS},         {"pause-ms", required_argument, NULL, PAUSE},
        {"seed", required_argument, NULL, SEED},         {"keep", required_argument, NULL, KEEP},
        {"help", no_argument, NULL, 'h'},                {NULL, 0, NULL, 0}};
    bool good = true;
    int option;

    *a = (struct arguments){.clients = 8, .keys = 40, .pause_ms = 40, .seed = 1};
    while ((option = getopt_long(argc, argv, "C:h", options, NULL)) != -1 && good) {
        switch (option) {
        case 'C': a->cluster = optarg; break;
        case PROGRESS: a->progress = optarg; break;
        case KEEP: a->keep = optarg; break;
        case CLIENTS: good = number_of(optarg, 1, CLIENTS_MAX, &a->clients); break;
        case KEYS: good = number_of(optarg, 4, 10000, &a->keys); break;
        case PAUSE: good = number_of(optarg, 0, 60000, &a->pause_ms); break;
        case SEED: good = number_of(optarg, 0, UINT32_MAX, &a->seed); break;
        case 'h': usage(stdout); *ret_status = 0; return false;
        default: good = false;
        }
    }
    if (!good || optind != argc || a->cluster == NULL || a->progress == NULL) {
        usage(stderr);
        *ret_status = 2;
        return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    static struct history_run run;
    struct arguments arguments;
    sigset_t signals;
    int status = 0, error;

    if (!parse(argc, argv, &arguments, &status))
        return status;
    mem_set_fatal(true);
    run.failed_history = arguments.keep;
    run.seed = arguments.seed;
    run.pause_ms = (unsigned)arguments.pause_ms;
    run.keys = (uint32_t)arguments.keys;
    if (open_progress(&run, arguments.progress) != 0)
        return 1;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    error = quoin_open(arguments.cluster, &run.db);
    if (error != 0) {
        fprintf(stderr, "quoin-history: %s: %s\n", arguments.cluster, error_text(error));
        return 1;
    }
    status = run_clients(&run, (uint32_t)arguments.clients);
    quoin_database_destroy(run.db);
    quoin_network_stop();
    return status;
}
