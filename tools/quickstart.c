/* quoin-quickstart: the machine's Debian package index as records with two indexes, and three questions to them.
 *
 *   pkg/NAME                the record, as apt prints it
 *   section/SECTION/NAME    empty: the index by section
 *   depends/OTHER/NAME      empty: NAME depends on OTHER
 *   quickstart/loaded       how many packages; written last
 *
 * Each package is one transaction: it reads the record that is there, takes its index entries away and writes the new ones,
 * so that the indexes are right whatever was there before and wherever a load was interrupted. Many threads run
 * transactions that wait; the client library batches them. */
#include "net/bytes.h"
#include "net/error.h"
#include "net/mem.h"
#include "tools/blocking.h"
#include "tools/packages.h"

#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define THREADS_DEFAULT 64
#define THREADS_MAX 1024
#define QUEUE_MAX 512
#define VALUE_BYTES_MAX 100000
#define KEY_BYTES_MAX 4096
#define EXPECTED_PACKAGES 64000 /* for the bar alone: the count is known only at the end of the pipe */
#define KEY_LOADED BYTES_LITERAL("quickstart/loaded")

/* Packages on their way from the reader to the threads. */
enum { REACH_TIMEOUT_MS = 4000 };

struct loader {
    struct blocking *store;
    pthread_mutex_t lock;
    pthread_cond_t filled, emptied;
    struct bytes_buffer *queue[QUEUE_MAX]; /* owned records */
    size_t first, count;
    bool at_end;
    int error;      /* the first that a thread could not get over */
    uint64_t done;  /* packages stored */
    uint64_t entries;
};

static double now_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* ---- one package, one transaction ---- */

struct store_package {
    struct package package;
    struct packages *scratch; /* takes the record apart that was there before */
};

/* "PREFIX/MIDDLE/NAME" in `out`. */
static struct bytes make_key(char out[static KEY_BYTES_MAX], const char *prefix, struct bytes middle, struct bytes name)
{
    int len = middle.len > 0 ? snprintf(out, KEY_BYTES_MAX, "%s/%.*s/%.*s", prefix, (int)middle.len, (const char *)middle.ptr,
                                        (int)name.len, (const char *)name.ptr)
                             : snprintf(out, KEY_BYTES_MAX, "%s/%.*s", prefix, (int)name.len, (const char *)name.ptr);

    return bytes_of(out, (size_t)len < KEY_BYTES_MAX ? (size_t)len : KEY_BYTES_MAX - 1);
}

/* Writes or clears the index entries of a package. */
static void write_entries(struct blocking_txn *txn, const struct package *package, bool present)
{
    char key[KEY_BYTES_MAX];

    for (size_t i = 0; i <= package->depend_count; i++) {
        struct bytes at = i == 0 ? make_key(key, "section", package->section, package->name)
                                 : make_key(key, "depends", package->depends[i - 1], package->name);

        if (present)
            blocking_set(txn, at, bytes_none());
        else
            blocking_clear(txn, at);
    }
}

static int store_one(struct blocking_txn *txn, void *context)
{
    struct store_package *store = context;
    struct bytes_buffer old = {0};
    char key[KEY_BYTES_MAX];
    struct bytes at = make_key(key, "pkg", bytes_none(), store->package.name);
    struct package before;
    const char *ignored;
    bool present;
    int error = blocking_get(txn, at, &old, &present);

    if (error == 0 && !(present && bytes_equal(bytes_buffer_bytes(&old), store->package.record))) {
        if (present && packages_parse(store->scratch, bytes_buffer_bytes(&old), &before, &ignored) == 1)
            write_entries(txn, &before, false);
        blocking_set(txn, at, store->package.record);
        write_entries(txn, &store->package, true);
    }
    bytes_buffer_done(&old);
    return error;
}

/* ---- the load ---- */

static struct bytes_buffer *take(struct loader *loader)
{
    struct bytes_buffer *record = NULL;

    pthread_mutex_lock(&loader->lock);
    while (loader->count == 0 && !loader->at_end)
        pthread_cond_wait(&loader->filled, &loader->lock);
    if (loader->count > 0) {
        record = loader->queue[loader->first];
        loader->first = (loader->first + 1) % QUEUE_MAX;
        loader->count--;
        pthread_cond_signal(&loader->emptied);
    }
    pthread_mutex_unlock(&loader->lock);
    return record;
}

/* Returns false once a thread has failed. */
static bool give(struct loader *loader, struct bytes record)
{
    struct bytes_buffer *copy = mem_zalloc(sizeof(*copy));
    bool going;

    bytes_buffer_append(copy, record);
    pthread_mutex_lock(&loader->lock);
    while (loader->count == QUEUE_MAX && loader->error == 0)
        pthread_cond_wait(&loader->emptied, &loader->lock);
    going = loader->error == 0;
    if (going) {
        loader->queue[(loader->first + loader->count++) % QUEUE_MAX] = copy;
        pthread_cond_signal(&loader->filled);
    }
    pthread_mutex_unlock(&loader->lock);
    if (!going) {
        bytes_buffer_done(copy);
        mem_free(copy);
    }
    return going;
}

static void *store_all(void *argument)
{
    struct loader *loader = argument;
    struct packages mine, olds;
    struct bytes_buffer *record;
    const char *ignored;

    packages_init(&mine, NULL);
    packages_init(&olds, NULL);
    while ((record = take(loader)) != NULL) {
        struct store_package store = {.scratch = &olds};
        int error = 0;

        if (packages_parse(&mine, bytes_buffer_bytes(record), &store.package, &ignored) == 1)
            error = blocking_run(loader->store, store_one, &store);
        pthread_mutex_lock(&loader->lock);
        if (error == 0) {
            loader->done++;
            loader->entries += store.package.depend_count + 1;
        } else if (loader->error == 0) {
            loader->error = error;
            pthread_cond_broadcast(&loader->emptied);
        }
        pthread_mutex_unlock(&loader->lock);
        bytes_buffer_done(record);
        mem_free(record);
    }
    packages_done(&mine);
    packages_done(&olds);
    return NULL;
}

static void draw_bar(uint64_t done, double seconds)
{
    const int width = 40;
    int full = done >= EXPECTED_PACKAGES ? width : (int)(done * (uint64_t)width / EXPECTED_PACKAGES);

    fprintf(stderr, "\r     [%.*s%*s] %llu packages, %.0f/s ", full, "########################################", width - full,
            "", (unsigned long long)done, seconds > 0 ? (double)done / seconds : 0);
}

/* Reads the index from stdin and hands it out. Returns an error of the store, or -1 after a complaint about the input. */
static int read_index(struct loader *loader)
{
    bool bar = isatty(STDERR_FILENO);
    double began = now_s(), drawn = 0;
    struct packages packages;
    struct package package;
    const char *problem;
    int got;

    packages_init(&packages, stdin);
    while ((got = packages_next(&packages, &package, &problem)) == 1) {
        if (package.record.len > VALUE_BYTES_MAX) {
            fprintf(stderr, "quoin-quickstart: %.*s is left out: its record has more than %d bytes\n", (int)package.name.len,
                    (const char *)package.name.ptr, VALUE_BYTES_MAX);
            continue;
        }
        if (!give(loader, package.record))
            break;
        if (bar && now_s() - drawn > 0.1) {
            drawn = now_s();
            pthread_mutex_lock(&loader->lock);
            draw_bar(loader->done, drawn - began);
            pthread_mutex_unlock(&loader->lock);
        }
    }
    if (got < 0)
        fprintf(stderr, "quoin-quickstart: the package index, line %zu: %s\n", packages.line, problem);
    packages_done(&packages);
    if (bar)
        fprintf(stderr, "\r\033[K");
    return got < 0 ? -1 : 0;
}

static int mark_loaded(struct blocking_txn *txn, void *context)
{
    const struct loader *loader = context;
    char count[32];

    blocking_set(txn, KEY_LOADED, bytes_of(count, (size_t)snprintf(count, sizeof(count), "%llu", (unsigned long long)loader->done)));
    return 0;
}

static int load(struct blocking *store, size_t thread_count)
{
    struct loader loader = {.store = store, .lock = PTHREAD_MUTEX_INITIALIZER, .filled = PTHREAD_COND_INITIALIZER,
                            .emptied = PTHREAD_COND_INITIALIZER};
    pthread_t threads[THREADS_MAX];
    double began = now_s(), seconds;
    size_t started = 0;
    int bad_input;

    while (started < thread_count && pthread_create(&threads[started], NULL, store_all, &loader) == 0)
        started++;
    if (started == 0) {
        fprintf(stderr, "quoin-quickstart: can't start a thread\n");
        return -1;
    }
    bad_input = read_index(&loader);
    pthread_mutex_lock(&loader.lock);
    loader.at_end = true;
    pthread_cond_broadcast(&loader.filled);
    pthread_mutex_unlock(&loader.lock);
    for (size_t i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    if (loader.error == 0 && bad_input == 0)
        loader.error = blocking_run(store, mark_loaded, &loader);
    seconds = now_s() - began;
    if (loader.error == 0 && bad_input == 0)
        printf("     loaded %llu packages and %llu index entries in %.1f s: %.0f transactions a second\n",
               (unsigned long long)loader.done, (unsigned long long)loader.entries, seconds, (double)loader.done / seconds);
    return loader.error != 0 ? loader.error : bad_input;
}

/* ---- questions ---- */

struct question {
    struct bytes key;          /* of the record, or the prefix of the range */
    struct bytes_buffer value; /* the record */
    bool present;
    uint64_t count;
    char first[512]; /* the first names of the range */
    size_t first_count;
};

static int ask_loaded(struct blocking_txn *txn, void *context)
{
    struct question *question = context;

    question->value.len = 0;
    return blocking_get(txn, question->key, &question->value, &question->present);
}

static void see_name(void *context, struct bytes key, struct bytes value)
{
    struct question *question = context;
    size_t used = strlen(question->first);

    (void)value;
    question->count++;
    if (question->first_count < 5) {
        question->first_count++;
        snprintf(question->first + used, sizeof(question->first) - used, "%s%.*s", used > 0 ? ", " : "",
                 (int)(key.len - question->key.len), (const char *)key.ptr + question->key.len);
    }
}

static int ask_range(struct blocking_txn *txn, void *context)
{
    struct question *question = context;

    question->count = question->first_count = 0;
    question->first[0] = '\0';
    return blocking_range(txn, question->key, see_name, question);
}

static void print_field(struct bytes record, const char *name)
{
    const char *found = memmem(record.ptr, record.len, name, strlen(name));
    const char *end = (const char *)record.ptr + record.len, *newline;

    if (found != NULL) {
        found++; /* `name` begins with the end of the line before */
        newline = memchr(found, '\n', (size_t)(end - found));
        printf("       %.*s\n", (int)((newline != NULL ? newline : end) - found), found);
    }
}

static int ask(struct blocking *store)
{
    struct question package = {.key = BYTES_LITERAL("pkg/libc6")}, section = {.key = BYTES_LITERAL("section/games/")};
    struct question depends = {.key = BYTES_LITERAL("depends/libc6/")};
    double began = now_s(), then;
    int error = blocking_run(store, ask_loaded, &package);

    if (error == 0) {
        printf("     1. the package libc6 (%.1f ms):%s\n", (now_s() - began) * 1e3, package.present ? "" : " there is none");
        print_field(bytes_buffer_bytes(&package.value), "\nVersion: ");
        print_field(bytes_buffer_bytes(&package.value), "\nSection: ");
        print_field(bytes_buffer_bytes(&package.value), "\nDescription: ");
        then = now_s();
        error = blocking_run(store, ask_range, &section);
    }
    bytes_buffer_done(&package.value);
    if (error == 0) {
        printf("     2. the section games, through the index (%.1f ms): %llu packages: %s, ...\n", (now_s() - then) * 1e3,
               (unsigned long long)section.count, section.first);
        then = now_s();
        error = blocking_run(store, ask_range, &depends);
    }
    if (error == 0)
        printf("     3. who depends on libc6, by prefix (%.1f ms): %llu packages: %s, ...\n", (now_s() - then) * 1e3,
               (unsigned long long)depends.count, depends.first);
    return error;
}

/* ---- main ---- */

static void usage(FILE *out)
{
    fprintf(out, "usage: apt-cache dumpavail | quoin-quickstart --cluster FILE [--threads N]\n"
                 "\n"
                 "Loads a Debian package index into a cluster, unless it is there already, and asks three questions.\n"
                 "tools/quickstart does all of it.\n"
                 "\n"
                 "  --cluster FILE   the cluster file\n"
                 "  --threads N      transactions in flight (default %d)\n", THREADS_DEFAULT);
}

static const char *parse_arguments(int argc, char **argv, size_t *ret_threads)
{
    static const struct option options[] = {{"cluster", required_argument, NULL, 'C'},
                                            {"threads", required_argument, NULL, 't'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    const char *cluster = NULL;
    int option;

    *ret_threads = THREADS_DEFAULT;
    while ((option = getopt_long(argc, argv, "C:h", options, NULL)) != -1) {
        if (option == 'h') {
            usage(stdout);
            exit(0);
        }
        if (option == 'C')
            cluster = optarg;
        else if (option == 't')
            *ret_threads = strtoul(optarg, NULL, 10);
        else
            exit(2); /* getopt has said why */
    }
    if (cluster == NULL || optind != argc || *ret_threads < 1 || *ret_threads > THREADS_MAX) {
        usage(stderr);
        exit(2);
    }
    return cluster;
}

int main(int argc, char **argv)
{
    struct question loaded = {.key = KEY_LOADED};
    struct blocking *store;
    char why[1024] = "";
    size_t threads;
    const char *cluster = parse_arguments(argc, argv, &threads);
    int error;

    mem_set_fatal(true);
    error = blocking_open(cluster, &store);
    if (error != 0) {
        fprintf(stderr, "quoin-quickstart: %s: %s\n", cluster, error_text(error));
        return 1;
    }
    error = blocking_reach(store, REACH_TIMEOUT_MS, why, sizeof(why));
    if (error != 0) {
        fprintf(stderr, "quoin-quickstart: the cluster can't be used: %s (%d)\n%s\n", error_text(error), error, why);
        blocking_close(store);
        return 1;
    }
    error = blocking_run(store, ask_loaded, &loaded);
    if (error == 0 && loaded.present)
        printf("     %.*s packages are already there\n", (int)loaded.value.len, (const char *)loaded.value.ptr);
    else if (error == 0)
        error = load(store, threads);
    bytes_buffer_done(&loaded.value);
    if (error == 0)
        error = ask(store);
    if (error > 0)
        fprintf(stderr, "quoin-quickstart: %s (%d)\n", error_text(error), error);
    blocking_close(store);
    return error != 0;
}
