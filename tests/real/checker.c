/* quoin-checker: writes from many loops, notes what was acknowledged, and verifies that it is there exactly once.
 *
 * Write number S of writer W is one transaction that sets check/W/S and adds 1 to count/W and to total/SHARD. Before that
 * it reads check/W/S: where an earlier try did commit after all (its answer was lost), the write is done and is not added
 * again. So afterwards, for each W: count/W = the number of check/W/ keys, these are 0 .. n-1 without a gap, each has the
 * value that belongs to it, n is at least the number of acknowledgements and at most one more (the write under way at the
 * end), and the totals sum up to all of them. A lost commit, a doubled one and half a one each break one of these.
 *
 * Read versions never go back: what a transaction gets is at least what any other got before this one asked, in every process
 * that shares a file of versions. A proxy or sequencer of an ended epoch that still answered would break that.
 *
 * The file of acknowledgements has a line `W S` for each, written after the commit was acknowledged. */
#include "net/bytes.h"
#include "net/error.h"
#include "net/mem.h"
#include "tools/blocking.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define WRITERS_MAX 256
#define TOTAL_SHARDS 4
#define NAME_BYTES_MAX 64

struct checker {
    struct blocking *store;
    const char *acks_path;
    int acks; /* appended to with single writes */
    atomic_llong *newest; /* the highest read version that anybody got; shared by processes, 8 bytes of a file */
    atomic_bool ending;
    atomic_int failed; /* the first error that the client library would not retry */
    atomic_ullong acknowledged;
};

struct writer {
    struct checker *checker;
    pthread_t thread;
    char name[NAME_BYTES_MAX];
    uint64_t next; /* the number under way */
};

static struct bytes format(char out[static 128], const char *prefix, const char *name, uint64_t number, bool numbered)
{
    /* Numbers have a fixed width, so that keys are in the order of the numbers. */
    int len = numbered ? snprintf(out, 128, "%s/%s/%012llu", prefix, name, (unsigned long long)number)
                       : snprintf(out, 128, "%s/%s", prefix, name);

    return bytes_of(out, (size_t)len);
}

/* ---- write ---- */

/* 0, or the error of the call. A version that goes back is fatal: nothing after it could be trusted. */
static int check_read_version(struct checker *checker, struct blocking_txn *txn)
{
    long long newest = atomic_load(checker->newest);
    int64_t version;
    int error = blocking_read_version(txn, &version);

    if (error != 0)
        return error;
    if (version < newest) {
        fprintf(stderr, "WRONG: the read version %lld after somebody had %lld\n", (long long)version, newest);
        exit(1);
    }
    while (newest < version && !atomic_compare_exchange_weak(checker->newest, &newest, version))
        ;
    return 0;
}

static int write_once(struct blocking_txn *txn, void *context)
{
    struct writer *writer = context;
    char key[128], value[128], shard[32];
    struct bytes at = format(key, "check", writer->name, writer->next, true);
    struct bytes_buffer old = {0};
    bool present = false;
    int error = check_read_version(writer->checker, txn);

    if (error == 0)
        error = blocking_get(txn, at, &old, &present);
    bytes_buffer_done(&old);
    if (error != 0 || present)
        return error;
    blocking_set(txn, at, format(value, "value", writer->name, writer->next, true));
    blocking_add(txn, format(key, "count", writer->name, 0, false), 1);
    snprintf(shard, sizeof(shard), "%llu", (unsigned long long)(writer->next % TOTAL_SHARDS));
    blocking_add(txn, format(key, "total", shard, 0, false), 1);
    return 0;
}

static void acknowledge(struct writer *writer)
{
    char line[128];
    int len = snprintf(line, sizeof(line), "%s %llu\n", writer->name, (unsigned long long)writer->next);

    if (write(writer->checker->acks, line, (size_t)len) != len) {
        fprintf(stderr, "quoin-checker: can't write to %s: %s\n", writer->checker->acks_path, strerror(errno));
        abort();
    }
    atomic_fetch_add(&writer->checker->acknowledged, 1);
}

static void *write_all(void *argument)
{
    struct writer *writer = argument;
    struct checker *checker = writer->checker;

    while (!atomic_load(&checker->ending)) {
        int error = blocking_run(checker->store, write_once, writer), none = 0;

        if (error != 0) {
            atomic_compare_exchange_strong(&checker->failed, &none, error);
            fprintf(stderr, "quoin-checker: %s %llu: %s (%d)\n", writer->name, (unsigned long long)writer->next,
                    error_name(error), error);
            kill(getpid(), SIGTERM);
            break;
        }
        acknowledge(writer);
        writer->next++;
    }
    return NULL;
}

static int open_versions(struct checker *checker, const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    void *shared = MAP_FAILED;

    if (fd >= 0 && ftruncate(fd, sizeof(*checker->newest)) == 0)
        shared = mmap(NULL, sizeof(*checker->newest), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (shared == MAP_FAILED) {
        fprintf(stderr, "quoin-checker: %s: %s\n", path, strerror(errno));
        return 1;
    }
    close(fd);
    checker->newest = shared;
    return 0;
}

static int run_writers(struct checker *checker, int count)
{
    struct writer writers[WRITERS_MAX] = {0};
    sigset_t signals;
    int got;

    checker->acks = open(checker->acks_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (checker->acks < 0) {
        fprintf(stderr, "quoin-checker: %s: %s\n", checker->acks_path, strerror(errno));
        return 1;
    }
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    for (int i = 0; i < count; i++) {
        writers[i].checker = checker;
        snprintf(writers[i].name, sizeof(writers[i].name), "%d-%d", getpid(), i);
        if (pthread_create(&writers[i].thread, NULL, write_all, &writers[i]) != 0)
            abort();
    }
    sigwait(&signals, &got); /* blocked since main, so that no thread takes it */
    atomic_store(&checker->ending, true);
    for (int i = 0; i < count; i++)
        pthread_join(writers[i].thread, NULL);
    close(checker->acks);
    printf("%llu acknowledged\n", (unsigned long long)atomic_load(&checker->acknowledged));
    return atomic_load(&checker->failed) != 0;
}

/* ---- verify ---- */

struct expected {
    char name[NAME_BYTES_MAX];
    uint64_t acknowledged; /* they come in order: 0 .. acknowledged - 1 */
};

struct seen {
    const struct expected *expected;
    char prefix[128];
    uint64_t keys;
    bool wrong;
    uint64_t count; /* of the counter key */
};

static void see_write(void *context, struct bytes key, struct bytes value)
{
    struct seen *seen = context;
    char wanted_key[128], wanted_value[128];

    if (!bytes_equal(key, format(wanted_key, "check", seen->expected->name, seen->keys, true)) ||
        !bytes_equal(value, format(wanted_value, "value", seen->expected->name, seen->keys, true))) {
        if (!seen->wrong)
            printf("WRONG: where %s belongs there is %.*s = %.*s\n", wanted_key, (int)key.len, (const char *)key.ptr,
                   (int)value.len, (const char *)value.ptr);
        seen->wrong = true;
    }
    seen->keys++;
}

static int read_count(struct blocking_txn *txn, struct bytes key, uint64_t *ret_count)
{
    struct bytes_buffer value = {0};
    bool present;
    int error = blocking_get(txn, key, &value, &present);

    if (error == 0)
        *ret_count = present && value.len == 8 ? get_le64(value.ptr) : 0;
    bytes_buffer_done(&value);
    return error;
}

static int read_writer(struct blocking_txn *txn, void *context)
{
    struct seen *seen = context;
    char key[128];
    int error;

    seen->keys = 0;
    seen->wrong = false;
    error = read_count(txn, format(key, "count", seen->expected->name, 0, false), &seen->count);
    return error != 0 ? error : blocking_range(txn, bytes_of_string(seen->prefix), see_write, seen);
}

static int read_totals(struct blocking_txn *txn, void *context)
{
    uint64_t *total = context, one = 0;
    int error = 0;

    *total = 0;
    for (int i = 0; i < TOTAL_SHARDS && error == 0; i++) {
        char key[128], shard[32];

        snprintf(shard, sizeof(shard), "%d", i);
        error = read_count(txn, format(key, "total", shard, 0, false), &one);
        *total += one;
    }
    return error;
}

/* Returns how many writers the file names, or -1; every writer's lines must count up from 0. */
static int read_acks(const char *path, struct expected expected[static WRITERS_MAX])
{
    FILE *file = fopen(path, "re");
    char line[128], name[NAME_BYTES_MAX];
    unsigned long long number;
    int count = 0, i;

    if (file == NULL) {
        fprintf(stderr, "quoin-checker: %s: %s\n", path, strerror(errno));
        return -1;
    }
    while (fgets(line, sizeof(line), file) != NULL) {
        if (sscanf(line, "%63s %llu", name, &number) != 2) {
            fprintf(stderr, "quoin-checker: %s: not a line of acknowledgement: %s", path, line);
            count = -1;
            break;
        }
        for (i = 0; i < count && strcmp(expected[i].name, name) != 0; i++)
            ;
        if (i == count && count < WRITERS_MAX) {
            expected[count].acknowledged = 0;
            strcpy(expected[count++].name, name);
        }
        if (i == WRITERS_MAX || number != expected[i].acknowledged++) {
            fprintf(stderr, "quoin-checker: %s: out of order: %s", path, line);
            count = -1;
            break;
        }
    }
    fclose(file);
    return count;
}

static bool verify_writer(struct checker *checker, const struct expected *expected, uint64_t *total)
{
    struct seen seen = {.expected = expected};
    int error;

    snprintf(seen.prefix, sizeof(seen.prefix), "check/%s/", expected->name);
    error = blocking_run(checker->store, read_writer, &seen);
    if (error != 0) {
        printf("WRONG: %s can't be read: %s (%d)\n", expected->name, error_name(error), error);
        return false;
    }
    *total += seen.count;
    if (seen.wrong)
        return false;
    if (seen.keys < expected->acknowledged || seen.keys > expected->acknowledged + 1 || seen.count != seen.keys) {
        printf("WRONG: %s: %llu acknowledged, %llu keys, counted %llu\n", expected->name,
               (unsigned long long)expected->acknowledged, (unsigned long long)seen.keys, (unsigned long long)seen.count);
        return false;
    }
    return true;
}

static int verify(struct checker *checker)
{
    struct expected *expected = mem_zalloc(sizeof(*expected) * WRITERS_MAX);
    uint64_t total = 0, totals = 0, acknowledged = 0;
    int count = read_acks(checker->acks_path, expected), error;
    bool good = count > 0;

    for (int i = 0; i < count; i++) {
        acknowledged += expected[i].acknowledged;
        good = verify_writer(checker, &expected[i], &total) && good;
    }
    error = blocking_run(checker->store, read_totals, &totals);
    if (error != 0 || totals != total) {
        printf("WRONG: the totals say %llu, the writers' counters %llu (%s)\n", (unsigned long long)totals,
               (unsigned long long)total, error_name(error));
        good = false;
    }
    if (good)
        printf("%llu acknowledged writes of %d writers are there, each once\n", (unsigned long long)acknowledged, count);
    mem_free(expected);
    return !good;
}

/* ---- main ---- */

static void usage(FILE *out)
{
    fputs("usage: quoin-checker -C CLUSTER_FILE write --acks FILE --versions FILE [--writers N]   until SIGTERM\n"
          "       quoin-checker -C CLUSTER_FILE verify --acks FILE\n",
          out);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"acks", required_argument, NULL, 'a'},
                                            {"versions", required_argument, NULL, 'v'},
                                            {"writers", required_argument, NULL, 'w'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    static struct checker checker;
    const char *cluster = NULL, *versions = NULL;
    int option, writers = 16, error;
    bool writes;
    sigset_t signals;

    while ((option = getopt_long(argc, argv, "C:h", options, NULL)) != -1) {
        if (option == 'C')
            cluster = optarg;
        else if (option == 'a')
            checker.acks_path = optarg;
        else if (option == 'v')
            versions = optarg;
        else if (option == 'w')
            writers = atoi(optarg);
        else {
            usage(option == 'h' ? stdout : stderr);
            return option == 'h' ? 0 : 2;
        }
    }
    writes = optind + 1 == argc && strcmp(argv[optind], "write") == 0;
    if (cluster == NULL || checker.acks_path == NULL || optind + 1 != argc || writers < 1 || writers > WRITERS_MAX ||
        (writes ? versions == NULL : strcmp(argv[optind], "verify") != 0)) {
        usage(stderr);
        return 2;
    }
    if (writes && open_versions(&checker, versions) != 0)
        return 1;
    mem_set_fatal(true);
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    error = blocking_open(cluster, &checker.store);
    if (error != 0) {
        fprintf(stderr, "quoin-checker: %s: %s\n", cluster, error_text(error));
        return 1;
    }
    error = writes ? run_writers(&checker, writers) : verify(&checker);
    blocking_close(checker.store);
    return error;
}
