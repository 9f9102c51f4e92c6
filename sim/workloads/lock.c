/* Lock: while the database is locked, nothing commits that is not lock-aware, and nothing else gets a read version.
 *
 * The first actor locks and unlocks; the others commit blindly. What began after the lock was acknowledged must not be
 * acknowledged before the unlock is tried, nor give a value. The locker's own transactions go on meanwhile.
 *
 * Half of the reads take their version from the client's cache (use_grv_cache), where one from before the lock serves for a moment more. */
#include "sim/workloads/values.h"
#include "txn/system_keys.h"

enum option { ACTORS, PAUSE_MS, LOCKED_MS, UNLOCKED_MS };

enum { OPTION_ACCESS_SYSTEM_KEYS = 301, OPTION_LOCK_AWARE = 700, OPTION_USE_GRV_CACHE = 1101 };
enum { CACHE_US = 150000 }; /* versions in the cache serve for 100 ms; a turn may last */

struct lock {
    bool locked;     /* surely */
    int64_t locked_us; /* since then */
    uint64_t period; /* counts the locks */
    uint64_t locks, commits, refused, aware;
};

static const char prefix[] = "lock";

static void lock_setup(struct sim_actor *actor, struct sim_workload_run *run)
{
    (void)actor;
    (void)run;
}

/* Goes on until it is as wanted: an unknown result is found out by the next attempt's read. */
static void set_lock(struct sim_actor *actor, bool locked)
{
    struct sim_transaction *transaction = sim_transaction_create(actor);
    struct bytes value;
    bool present;
    int error;

    sim_option(transaction, OPTION_ACCESS_SYSTEM_KEYS);
    sim_option(transaction, OPTION_LOCK_AWARE);
    do {
        error = sim_get(transaction, KEY_DB_LOCKED, &present, &value);
        if (error == 0 && present != locked) {
            if (locked)
                sim_set(transaction, KEY_DB_LOCKED, BYTES_LITERAL("the lock of sim."));
            else
                sim_clear_range(transaction, KEY_DB_LOCKED, BYTES_LITERAL("\xff/dbLocked\x00"));
            error = sim_commit(transaction);
        }
    } while (error != 0 && sim_retry_anew(actor, &transaction, error));
    if (error != 0)
        sim_world_fail(workload_world(actor), "Lock: %s", error_name(error));
    sim_transaction_destroy(transaction);
}

static void commit_aware(struct sim_actor *actor, struct lock *lock)
{
    struct sim_transaction *transaction = sim_transaction_create(actor);
    struct workload_key key;
    int error;

    sim_option(transaction, OPTION_LOCK_AWARE);
    do {
        sim_set(transaction, workload_key(&key, prefix, 0), BYTES_LITERAL("aware"));
        error = sim_commit(transaction);
    } while (error != 0 && sim_retry_anew(actor, &transaction, error));
    if (error != 0)
        sim_world_fail(workload_world(actor), "Lock: a lock-aware commit: %s", error_name(error));
    lock->aware++;
    sim_transaction_destroy(transaction);
}

static void locker(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct lock *lock = run->state;

    while (!sim_actor_stopping(actor)) {
        sim_actor_sleep(actor, (int64_t)sim_actor_random(actor, 2000 * (uint64_t)run->options[UNLOCKED_MS] + 1));
        set_lock(actor, true);
        lock->locked = true;
        lock->locked_us = workload_world(actor)->now_us;
        lock->period++;
        lock->locks++;
        commit_aware(actor, lock);
        sim_actor_sleep(actor, (int64_t)sim_actor_random(actor, 2000 * (uint64_t)run->options[LOCKED_MS] + 1));
        lock->locked = false;
        set_lock(actor, false);
    }
}

static bool same_lock(const struct lock *lock, bool was_locked, uint64_t period)
{
    return was_locked && lock->locked && lock->period == period;
}

/* Half of them get their read version, perhaps before the lock, and commit later, perhaps after it. */
static int try_once(struct sim_actor *actor, struct lock *lock, struct sim_transaction *transaction, bool cached)
{
    struct workload_key key;
    bool locked = lock->locked, present;
    uint64_t period = lock->period;
    struct bytes value;
    int error;

    if (sim_actor_random(actor, 2) == 0) {
        locked &= !cached || workload_world(actor)->now_us - lock->locked_us >= CACHE_US;
        error = sim_get(transaction, workload_key(&key, prefix, 0), &present, &value);
        if (error == 0 && same_lock(lock, locked, period))
            sim_world_fail(workload_world(actor), "Lock: a read of a locked database");
        if (error != 0)
            return error;
        sim_actor_sleep(actor, (int64_t)sim_actor_random(actor, 2000000));
    }
    locked = lock->locked;
    period = lock->period;
    sim_set(transaction, workload_key(&key, prefix, 1 + actor->index), BYTES_LITERAL("x"));
    error = sim_commit(transaction);
    if (error == 0 && same_lock(lock, locked, period))
        sim_world_fail(workload_world(actor), "Lock: a commit to a locked database");
    lock->commits += error == 0;
    lock->refused += error == ERROR_DATABASE_LOCKED;
    return error;
}

static void lock_run(struct sim_actor *actor, struct sim_workload_run *run)
{
    if (actor->index == 0) {
        locker(actor, run);
        return;
    }
    while (!sim_actor_stopping(actor)) {
        struct sim_transaction *transaction = sim_transaction_create(actor);
        bool cached = sim_actor_random(actor, 2) == 0;
        int error;

        if (cached)
            sim_option(transaction, OPTION_USE_GRV_CACHE);
        while ((error = try_once(actor, run->state, transaction, cached)) != 0 && sim_retry(transaction, error))
            ;
        if (error != 0)
            sim_world_fail(workload_world(actor), "Lock: %s", error_name(error));
        sim_transaction_destroy(transaction);
        sim_actor_sleep(actor, (int64_t)sim_actor_random(actor, 2000 * (uint64_t)run->options[PAUSE_MS] + 1));
    }
}

static void lock_check(struct sim_actor *actor, struct sim_workload_run *run)
{
    const struct lock *lock = run->state;

    if (lock->locks == 0)
        sim_world_fail(workload_world(actor), "Lock: it was never locked");
    sim_say(workload_world(actor), actor->client->process, "Lock: %llu locks, %llu commits, %llu refused, %llu aware",
            (unsigned long long)lock->locks, (unsigned long long)lock->commits, (unsigned long long)lock->refused,
            (unsigned long long)lock->aware);
}

const struct sim_workload sim_workload_lock = {
    .name = "Lock",
    .what = "a locked database refuses reads and commits that are not lock-aware, and only those",
    .options = {{"actors", 2, 1, 100}, {"pause-ms", 200, 0, 10000}, {"locked-ms", 1500, 0, 100000}, {"unlocked-ms", 8000, 0, 100000}},
    .state_bytes = sizeof(struct lock),
    .setup = lock_setup,
    .run = lock_run,
    .check = lock_check,
};
