/* Watches: one fires when its key's value has changed, and only then.
 *
 * Actors write few values to few keys (also the value that is there already, and back to what was), and watch what they read. Every
 * write is logged with when it began and when it was surely over: all clients live in one program, so "before" is exact.
 *
 * - A watch that fires is right only if some other value was written, by a write that was not over when the watch's transaction
 *   began to read, and had begun when it fired.
 * - After the heal, each watch that is left must fire if its key has another value than it saw.
 *
 * A key that is written all the time hides a watch that missed one change: the next one makes up for it. So some watches are of a key
 * that is written only once, between the watch's read and its commit. */
#include "net/mem.h"
#include "sim/workloads/values.h"

enum option { ACTORS, KEYS, VALUES, WATCHES, PAUSE_MS };

enum { KEYS_MAX = 100, WATCHES_MAX = 64, FIRE_US_MAX = 60000000 };

struct write {
    int64_t began_us, over_us; /* INT64_MAX: it is not over */
    uint64_t value;            /* 0: cleared */
};

struct watched {
    struct sim_watch *watch; /* NULL: none */
    uint64_t key, value;
    int64_t read_us; /* when its transaction began to read */
};

struct key_log {
    struct write *writes; /* owned */
    size_t count, capacity;
};

struct watches {
    struct key_log keys[KEYS_MAX];
    struct watched left[WATCHES_MAX]; /* of all actors: slots by turns */
    uint64_t once; /* keys behind the others that have been written, each once */
    uint64_t begun, fired, cancelled, writes;
};

static const char prefix[] = "watches";

static void watches_setup(struct sim_actor *actor, struct sim_workload_run *run)
{
    (void)actor;
    (void)run; /* a missing key has the value 0 */
}

static size_t log_begin(struct key_log *log, int64_t now_us, uint64_t value)
{
    if (log->count == log->capacity) {
        log->capacity = log->capacity == 0 ? 64 : log->capacity * 2;
        log->writes = mem_realloc(log->writes, log->capacity * sizeof(*log->writes));
    }
    log->writes[log->count] = (struct write){now_us, INT64_MAX, value};
    return log->count++;
}

/* ---- what is done ---- */

static void write_key(struct sim_actor *actor, struct watches *watches, uint64_t index, uint64_t value)
{
    struct sim_transaction *transaction = sim_transaction_create(actor);
    struct key_log *log = &watches->keys[index];
    size_t logged = log_begin(log, workload_world(actor)->now_us, value);
    struct workload_key key, end;
    uint8_t bytes[8];
    int error;

    put_le64(bytes, value);
    do {
        if (value == 0)
            sim_clear_range(transaction, workload_key(&key, prefix, index), workload_key(&end, prefix, index + 1));
        else
            sim_set(transaction, workload_key(&key, prefix, index), bytes_of(bytes, sizeof(bytes)));
        error = sim_commit(transaction);
    } while (error != 0 && error != ERROR_COMMIT_UNKNOWN_RESULT && sim_retry(transaction, error));
    /* Unknown is over as well: it has happened or never will. */
    log->writes[logged].over_us = workload_world(actor)->now_us;
    if (error != 0 && error != ERROR_COMMIT_UNKNOWN_RESULT)
        sim_world_fail(workload_world(actor), "Watches: %s", error_name(error));
    watches->writes += error == 0;
    sim_transaction_destroy(transaction);
}

static int read_number(struct sim_transaction *transaction, uint64_t index, uint64_t *ret_value)
{
    struct workload_key key;
    struct bytes value;
    bool present = false;
    int error = sim_get(transaction, workload_key(&key, prefix, index), &present, &value);

    *ret_value = 0;
    if (error == 0 && present)
        (void)workload_number(value, ret_value);
    return error;
}

static void write_any(struct sim_actor *actor, struct sim_workload_run *run)
{
    uint64_t index = sim_actor_random(actor, (uint64_t)run->options[KEYS]);

    write_key(actor, run->state, index, sim_actor_random(actor, (uint64_t)run->options[VALUES] + 1));
}

/* Reads a key and watches it, in one transaction; the watch goes on when that is committed. */
static void watch_once(struct sim_actor *actor, struct sim_workload_run *run, struct watched *watched)
{
    struct sim_transaction *transaction = sim_transaction_create(actor);
    struct watches *watches = run->state;
    struct watched one = {.key = sim_actor_random(actor, (uint64_t)run->options[KEYS])};
    bool once = (uint64_t)run->options[KEYS] + watches->once < KEYS_MAX && sim_actor_random(actor, 4) == 0;
    struct workload_key key;
    int error;

    if (once)
        one.key = (uint64_t)run->options[KEYS] + watches->once++;
    do {
        one.read_us = workload_world(actor)->now_us;
        error = read_number(transaction, one.key, &one.value);
        sim_watch_destroy(one.watch);
        one.watch = sim_watch(transaction, workload_key(&key, prefix, one.key));
        if (once && error == 0)
            write_key(actor, watches, one.key, 1);
        once = once && error != 0;
        if (error == 0)
            error = sim_commit(transaction);
    } while (error != 0 && sim_retry(transaction, error));
    if (error != 0)
        sim_world_fail(workload_world(actor), "Watches: %s", error_name(error));
    watches->begun++;
    *watched = one;
    sim_transaction_destroy(transaction);
}

/* ---- what is checked ---- */

static bool may_fire(const struct key_log *log, const struct watched *watched, int64_t fired_us)
{
    for (size_t i = log->count; i > 0; i--) {
        const struct write *write = &log->writes[i - 1];

        if (write->value != watched->value && write->began_us <= fired_us && write->over_us >= watched->read_us)
            return true;
    }
    return false;
}

static void check_fired(struct sim_actor *actor, struct watches *watches, struct watched *watched)
{
    int64_t fired_us;
    int error;

    if (!sim_watch_over(watched->watch, &error, &fired_us))
        return;
    if (error != 0)
        sim_world_fail(workload_world(actor), "Watches: a watch of key %d ended with %s", (int)watched->key, error_name(error));
    else if (!may_fire(&watches->keys[watched->key], watched, fired_us))
        sim_world_fail(workload_world(actor), "Watches: the watch of key %d, which had %llu at %lld us, fired at %lld us for nothing",
                       (int)watched->key, (unsigned long long)watched->value, (long long)watched->read_us, (long long)fired_us);
    watches->fired++;
    sim_watch_destroy(watched->watch);
    watched->watch = NULL;
}

static void one_step(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct watches *watches = run->state;
    uint64_t slots = (uint64_t)run->options[WATCHES], slot = sim_actor_random(actor, slots);
    struct watched *watched = &watches->left[slot], new = {0};

    if (sim_actor_random(actor, 2) == 0) {
        write_any(actor, run);
    } else if (watched->watch == NULL) {
        watch_once(actor, run, &new);
        if (watched->watch != NULL) /* another actor was first */
            sim_watch_destroy(new.watch);
        else
            *watched = new;
    } else if (sim_actor_random(actor, 10) == 0) {
        watches->cancelled++;
        sim_watch_destroy(watched->watch);
        watched->watch = NULL;
    }
    for (uint64_t i = 0; i < slots; i++)
        if (watches->left[i].watch != NULL)
            check_fired(actor, watches, &watches->left[i]);
}

static void watches_run(struct sim_actor *actor, struct sim_workload_run *run)
{
    while (!sim_actor_stopping(actor)) {
        one_step(actor, run);
        sim_actor_sleep(actor, (int64_t)sim_actor_random(actor, 2000 * (uint64_t)run->options[PAUSE_MS] + 1));
    }
}

/* What its key has now decides. */
static void check_left(struct sim_actor *actor, struct watches *watches, struct watched *watched)
{
    struct sim_transaction *transaction = sim_transaction_create(actor);
    int64_t began_us = workload_world(actor)->now_us;
    uint64_t value;
    int error;

    while ((error = read_number(transaction, watched->key, &value)) != 0 && sim_retry(transaction, error))
        ;
    sim_transaction_destroy(transaction);
    while (error == 0 && value != watched->value && watched->watch != NULL) {
        check_fired(actor, watches, watched);
        if (watched->watch != NULL && workload_world(actor)->now_us - began_us > FIRE_US_MAX) {
            sim_world_fail(workload_world(actor), "Watches: key %d has %llu, and a watch that saw %llu at %lld us has not fired",
                           (int)watched->key, (unsigned long long)value, (unsigned long long)watched->value,
                           (long long)watched->read_us);
            break;
        }
        if (watched->watch != NULL)
            sim_actor_sleep(actor, 100000);
    }
    if (watched->watch != NULL)
        check_fired(actor, watches, watched);
    sim_watch_destroy(watched->watch);
    watched->watch = NULL;
}

static void watches_check(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct watches *watches = run->state;

    for (uint64_t i = 0; i < (uint64_t)run->options[WATCHES]; i++)
        if (watches->left[i].watch != NULL)
            check_left(actor, watches, &watches->left[i]);
    if (watches->fired == 0 || watches->writes == 0)
        sim_world_fail(workload_world(actor), "Watches: nothing was shown: %llu writes, %llu watches, %llu fired",
                       (unsigned long long)watches->writes, (unsigned long long)watches->begun, (unsigned long long)watches->fired);
    sim_say(workload_world(actor), actor->client->process, "Watches: %llu writes, %llu watches, %llu fired, %llu cancelled",
            (unsigned long long)watches->writes, (unsigned long long)watches->begun, (unsigned long long)watches->fired,
            (unsigned long long)watches->cancelled);
}

static void watches_done(struct sim_workload_run *run)
{
    struct watches *watches = run->state;

    for (int i = 0; i < KEYS_MAX; i++)
        mem_free(watches->keys[i].writes);
}

const struct sim_workload sim_workload_watches = {
    .name = "Watches",
    .what = "a watch fires when its value has changed, and only then",
    .options = {{"actors", 3, 1, 100}, {"keys", 8, 1, KEYS_MAX / 2}, {"values", 3, 1, 1000}, {"watches", 24, 1, WATCHES_MAX},
                {"pause-ms", 150, 0, 10000}},
    .state_bytes = sizeof(struct watches),
    .setup = watches_setup,
    .run = watches_run,
    .check = watches_check,
    .done = watches_done,
};
