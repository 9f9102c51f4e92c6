/* Many threads on libquoin at once: transactions, watches, cancelled and destroyed futures, callbacks, resets, databases that open and close,
 * and the network that stops and starts. Meant for ThreadSanitizer (tools/build tsan), and useful without.
 *
 *   quoin-stress CLUSTER ROUNDS SECONDS [THREADS]
 *
 * CLUSTER is memory:, embedded:DIR or a cluster file. Each round opens the database, lets the threads loose, and ends the network.
 * Every thread counts what it has surely added to a counter of the database, and what it may have: at the end the counter lies
 * between. An error that a call may not give here ends the program. Example: quoin-stress memory: 2 5 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "txn/client/include/quoin/quoin.h"

enum { THREADS_MAX = 64, KEYS = 200, OPEN_MAX = 8 };

static struct quoin_database *db;
static const char *cluster;
static atomic_bool stopping;
static atomic_long surely, perhaps, called_back, asked_back;

static void __attribute__((noreturn)) die(int line, const char *what, int error)
{
    printf("line %d: %s: %s (%d)\n", line, what, quoin_error_text(error), error);
    exit(1);
}

/* Errors that a busy application meets: the transaction was reset, cancelled or timed out under it, or used after its commit. */
static bool is_usual(int error)
{
    switch (error) {
    case 0:
    case QUOIN_ERROR_TRANSACTION_CANCELLED:
    case QUOIN_ERROR_TRANSACTION_TIMED_OUT:
    case QUOIN_ERROR_OPERATION_CANCELLED:
    case QUOIN_ERROR_USED_DURING_COMMIT:
    case QUOIN_ERROR_ACCESSED_UNREADABLE:
    case 1032: /* too many watches */
    case 2021: /* no stamp: nothing was written */
    case 2010: /* a read version was set twice */
        return true;
    default:
        return quoin_error_predicate(QUOIN_PREDICATE_RETRYABLE, error);
    }
}
#define USUAL(call)                         \
    do {                                    \
        int error_ = (call);                \
        if (!is_usual(error_))              \
            die(__LINE__, #call, error_);   \
    } while (0)

static uint64_t draw(uint64_t *state, uint64_t below)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (*state >> 20) % below;
}

static int draw_key(uint64_t *state, char out[16])
{
    return snprintf(out, 16, "k%03d", (int)draw(state, KEYS));
}

/* ---- futures and what may happen to them ---- */

static void called(struct quoin_future *future, void *context)
{
    USUAL(quoin_future_get_error(future));
    atomic_fetch_add(&called_back, 1);
    if (context != NULL)
        quoin_future_destroy(future);
}

static int order(const struct quoin_pair *a, const struct quoin_pair *b)
{
    int shorter = a->key_length < b->key_length ? a->key_length : b->key_length, first = memcmp(a->key, b->key, (size_t)shorter);

    first = first != 0 ? first : a->key_length - b->key_length;
    return first < 0 ? -1 : first > 0;
}

static void __attribute__((noreturn)) die_of_order(const struct quoin_pair *pairs, int count)
{
    for (int i = 0; i < count; i++)
        printf("%.*s ", pairs[i].key_length, (const char *)pairs[i].key);
    die(__LINE__, "a range out of order", 0);
}

static void look_at(struct quoin_future *future)
{
    const struct quoin_pair *pairs;
    const uint8_t *bytes;
    bool flag;
    int len, count, error = quoin_future_get_error(future);

    USUAL(error);
    if (error != 0)
        return;
    if (quoin_future_get_value(future, &flag, &bytes, &len) == 0 && flag && len > 16)
        die(__LINE__, "a value that nobody wrote", 0);
    if (quoin_future_get_range(future, &pairs, &count, &flag) == 0)
        for (int i = 2; i < count; i++)
            if (order(&pairs[i - 2], &pairs[i - 1]) * order(&pairs[i - 1], &pairs[i]) <= 0)
                die_of_order(pairs, count);
}

/* Waits, gives it to a callback, cancels it, or just lets it go. */
static void finish(struct quoin_future *future, uint64_t *state)
{
    switch (draw(state, 6)) {
    case 0: /* not waited for */
        quoin_future_destroy(future);
        return;
    case 1:
        quoin_future_cancel(future);
        quoin_future_destroy(future);
        return;
    case 2: /* the callback destroys it */
        atomic_fetch_add(&asked_back, 1);
        USUAL(quoin_future_set_callback(future, called, &called_back));
        return;
    case 3: /* a callback and a wait at once */
        atomic_fetch_add(&asked_back, 1);
        USUAL(quoin_future_set_callback(future, called, NULL));
        break;
    case 4:
        (void)quoin_future_is_ready(future);
        break;
    default:
        break;
    }
    USUAL(quoin_future_block_until_ready(future));
    look_at(future);
    if (draw(state, 4) == 0)
        quoin_future_release_memory(future);
    quoin_future_destroy(future);
}

static struct quoin_future *read_something(struct quoin_transaction *transaction, uint64_t *state)
{
    struct quoin_range_options range = {.limit = (int)draw(state, 50) + 1, .mode = QUOIN_MODE_EXACT, .reverse = draw(state, 2) == 0};
    char key[16], end[16];
    int len = draw_key(state, key), end_len = draw_key(state, end);

    switch (draw(state, 9)) {
    case 0:
        return quoin_transaction_get_range(transaction, QUOIN_FIRST_AT_OR_AFTER(key, len), QUOIN_FIRST_AFTER(end, end_len), range);
    case 1:
        return quoin_transaction_get_key(transaction, (struct quoin_selector){key, len, true, (int)draw(state, 9) - 4}, false);
    case 2:
        return quoin_transaction_get_read_version(transaction);
    case 3:
        return quoin_transaction_get_approximate_size(transaction);
    case 4: /* ends with the transaction, which may have nothing to commit: not waited for */
        quoin_future_destroy(quoin_transaction_get_versionstamp(transaction));
        return quoin_transaction_get_approximate_size(transaction);
    case 5:
        return quoin_transaction_get_addresses_for_key(transaction, key, len);
    case 6:
        return quoin_database_get_client_status(db);
    default:
        return quoin_transaction_get(transaction, key, len, draw(state, 2) == 0);
    }
}

static void write_something(struct quoin_transaction *transaction, uint64_t *state)
{
    char key[16], end[16];
    uint64_t one = 1;
    int len = draw_key(state, key), end_len = draw_key(state, end);

    switch (draw(state, 5)) {
    case 0:
        USUAL(quoin_transaction_clear(transaction, key, len));
        break;
    case 1:
        if (memcmp(key, end, 4) < 0)
            USUAL(quoin_transaction_clear_range(transaction, key, len, end, end_len));
        break;
    case 2:
        USUAL(quoin_transaction_atomic(transaction, QUOIN_ADD, key, len, &one, sizeof(one)));
        break;
    default:
        USUAL(quoin_transaction_set(transaction, key, len, "value", 5));
    }
}

/* ---- what a thread does ---- */

/* One of them is shared by all threads: its calls meet each other. */
static void use(struct quoin_transaction *transaction, uint64_t *state)
{
    struct quoin_future *futures[6];
    int64_t timeout_ms = 2000;
    int count = (int)draw(state, 6) + 1;

    if (draw(state, 8) == 0)
        USUAL(quoin_transaction_set_option(transaction, QUOIN_OPTION_TIMEOUT, &timeout_ms, sizeof(timeout_ms)));
    for (int i = 0; i < count; i++) {
        futures[i] = read_something(transaction, state);
        if (draw(state, 2) == 0)
            write_something(transaction, state);
    }
    if (draw(state, 12) == 0)
        quoin_transaction_cancel(transaction);
    if (draw(state, 12) == 0)
        quoin_transaction_reset(transaction);
    for (int i = 0; i < count; i++)
        finish(futures[i], state);
    if (draw(state, 2) == 0)
        finish(quoin_transaction_commit(transaction), state);
    if (draw(state, 3) == 0)
        finish(quoin_transaction_on_error(transaction, QUOIN_ERROR_NOT_COMMITTED), state);
}

static void watch(struct quoin_transaction *transaction, uint64_t *state)
{
    struct quoin_future *watches[4];
    char key[16];

    for (int i = 0; i < 4; i++)
        watches[i] = quoin_transaction_watch(transaction, key, draw_key(state, key));
    for (int i = 0; i < 4; i++) {
        if (i == 2)
            finish(quoin_transaction_commit(transaction), state);
        if (draw(state, 2) == 0)
            quoin_future_cancel(watches[i]);
        quoin_future_destroy(watches[i]);
    }
}

/* A commit is waited for, so that its fate is known. */
static void add_one(struct quoin_transaction *transaction)
{
    struct quoin_future *future;
    uint64_t one = 1;
    int error;

    quoin_transaction_reset(transaction);
    if (quoin_transaction_atomic(transaction, QUOIN_ADD, "counter", 7, &one, sizeof(one)) != 0)
        return;
    future = quoin_transaction_commit(transaction);
    error = quoin_future_block_until_ready(future);
    if (error == 0)
        error = quoin_future_get_error(future);
    quoin_future_destroy(future);
    USUAL(error);
    if (error != 0)
        printf("commit: %d\n", error);
    atomic_fetch_add(&surely, error == 0);
    atomic_fetch_add(&perhaps, error != 0 && quoin_error_predicate(QUOIN_PREDICATE_MAYBE_COMMITTED, error));
}

static void open_another(void)
{
    struct quoin_transaction *transaction;
    struct quoin_database *other;
    char why[256];

    if (quoin_open(cluster, &other) != 0) /* an embedded directory has one owner a process */
        return;
    (void)quoin_database_explain(other, why, sizeof(why));
    if (quoin_transaction_create(other, &transaction) == 0) {
        quoin_future_destroy(quoin_transaction_get(transaction, "k", 1, false));
        quoin_transaction_destroy(transaction);
    }
    quoin_database_destroy(other);
}

static void *work(void *shared)
{
    struct quoin_transaction *own;
    static atomic_uint_fast64_t seeds;
    uint64_t state = (atomic_fetch_add(&seeds, 1) + 1) * UINT64_C(0x9e3779b97f4a7c15);

    USUAL(quoin_transaction_create(db, &own));
    while (!atomic_load(&stopping)) {
        switch (draw(&state, 12)) {
        case 0:
            open_another();
            break;
        case 1:
            quoin_transaction_destroy(own);
            USUAL(quoin_transaction_create(db, &own));
            break;
        case 2:
            watch(own, &state);
            break;
        case 3:
        case 4:
            add_one(own);
            break;
        case 5:
        case 6:
            use(shared, &state);
            break;
        default:
            use(own, &state);
        }
        quoin_transaction_reset(own);
    }
    quoin_transaction_destroy(own);
    return NULL;
}

/* ---- rounds ---- */

static quoin_error read_counter(struct quoin_transaction *transaction, void *context)
{
    struct quoin_future *future = quoin_transaction_get(transaction, "counter", 7, false);
    const uint8_t *value;
    bool present;
    int len;
    quoin_error error = quoin_future_block_until_ready(future);

    if (error == 0)
        error = quoin_future_get_value(future, &present, &value, &len);
    if (error == 0 && present)
        memcpy(context, value, sizeof(uint64_t));
    quoin_future_destroy(future);
    return error;
}

static void sleep_ms(long ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

/* A first read within a bound, or what the cluster says of itself. */
static void reach(void)
{
    static const char status_key[] = "\xff\xff/status/json";
    struct quoin_transaction *transaction;
    struct quoin_future *future;
    int64_t timeout_ms = 20000;
    const uint8_t *text;
    bool present;
    int len, error;

    USUAL(quoin_transaction_create(db, &transaction));
    USUAL(quoin_transaction_set_option(transaction, QUOIN_OPTION_TIMEOUT, &timeout_ms, sizeof(timeout_ms)));
    future = quoin_transaction_get_read_version(transaction);
    USUAL(quoin_future_block_until_ready(future));
    error = quoin_future_get_error(future);
    quoin_future_destroy(future);
    if (error != 0) {
        quoin_transaction_reset(transaction);
        future = quoin_transaction_get(transaction, status_key, sizeof(status_key) - 1, false);
        USUAL(quoin_future_block_until_ready(future));
        if (quoin_future_get_value(future, &present, &text, &len) == 0)
            printf("%.*s\n", len, (const char *)text);
        die(__LINE__, "the cluster can't be reached", error);
    }
    quoin_transaction_destroy(transaction);
}

static void run_round(int threads, double seconds)
{
    struct quoin_transaction *shared;
    pthread_t running[THREADS_MAX];
    int64_t counted = 0, before = 0, most = 1000;
    int error = quoin_open(cluster, &db);

    if (error != 0)
        die(__LINE__, quoin_open_why(), error);
    USUAL(quoin_database_set_option(db, QUOIN_DATABASE_OPTION_MAX_WATCHES, &most, sizeof(most)));
    reach();
    USUAL(quoin_run(db, read_counter, &before));
    atomic_store(&stopping, false);
    atomic_store(&surely, 0);
    atomic_store(&perhaps, 0);
    USUAL(quoin_transaction_create(db, &shared));
    for (int i = 0; i < threads; i++)
        if (pthread_create(&running[i], NULL, work, shared) != 0)
            die(__LINE__, "a thread can't be started", 1501);
    sleep_ms((long)(seconds * 1000));
    atomic_store(&stopping, true);
    for (int i = 0; i < threads; i++)
        pthread_join(running[i], NULL);
    quoin_transaction_destroy(shared);
    USUAL(quoin_run(db, read_counter, &counted));
    counted -= before;
    if (counted < atomic_load(&surely) || counted > atomic_load(&surely) + atomic_load(&perhaps)) {
        printf("%ld additions, %ld surely, %ld perhaps\n", (long)counted, atomic_load(&surely), atomic_load(&perhaps));
        die(__LINE__, "the counter lost or gained", 0);
    }
    for (int i = 0; i < 5000 && atomic_load(&called_back) != atomic_load(&asked_back); i++)
        sleep_ms(1);
    if (atomic_load(&called_back) != atomic_load(&asked_back))
        die(__LINE__, "a callback was not called", 0);
    printf("%ld additions, %ld callbacks\n", (long)counted, atomic_load(&called_back));
    quoin_database_destroy(db);
    error = quoin_network_stop();
    if (error != 0)
        die(__LINE__, "the network does not stop", error);
}

int main(int argc, char **argv)
{
    int threads = argc > 4 ? atoi(argv[4]) : OPEN_MAX;

    if (argc < 4 || threads < 1 || threads > THREADS_MAX || atoi(argv[2]) < 1 || atof(argv[3]) <= 0) {
        fprintf(stderr, "usage: quoin-stress CLUSTER ROUNDS SECONDS [THREADS]\n"
                        "example: quoin-stress memory: 2 5\n");
        return argc == 2 && strcmp(argv[1], "--help") == 0 ? 0 : 2;
    }
    cluster = argv[1];
    for (int i = 0; i < atoi(argv[2]); i++)
        run_round(threads, atof(argv[3]));
    return 0;
}
