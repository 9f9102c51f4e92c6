/* Increment: counters read and written back plus one; each ends between its acknowledged and its attempted increments.
 *
 * A commit whose result is unknown is not tried again here, so that the bounds are exact: it counts as at most one. */
#include <assert.h>

#include "net/mem.h"
#include "sim/workloads/values.h"

enum option { ACTORS, COUNTERS, PAUSE_MS };

enum { COUNTERS_MAX = 1000, TOUCHED_MAX = 3 };

struct counter {
    uint64_t acknowledged, unknown;
};

struct increment {
    struct counter counters[COUNTERS_MAX];
    uint64_t committed, unknown, retries;
};

static const char prefix[] = "increment";

static void increment_setup(struct sim_actor *actor, struct sim_workload_run *run)
{
    (void)actor;
    (void)run; /* a missing counter is zero */
}

static int add_one(struct sim_actor *actor, struct sim_transaction *transaction, uint64_t counter)
{
    struct workload_key key;
    struct bytes value;
    uint8_t next[8];
    uint64_t number = 0;
    bool present;
    int error = sim_get(transaction, workload_key(&key, prefix, counter), &present, &value);

    if (error != 0)
        return error;
    if (present && !workload_number(value, &number))
        sim_world_fail(workload_world(actor), "Increment: counter %d is damaged", (int)counter);
    put_le64(next, number + 1);
    sim_set(transaction, workload_key(&key, prefix, counter), bytes_of(next, sizeof(next)));
    return 0;
}

/* Up to three counters that differ. */
static unsigned choose(struct sim_actor *actor, struct sim_workload_run *run, uint64_t chosen[TOUCHED_MAX])
{
    uint64_t count = (uint64_t)run->options[COUNTERS];
    unsigned touched = 1 + (unsigned)sim_actor_random(actor, count < TOUCHED_MAX ? count : TOUCHED_MAX);

    chosen[0] = sim_actor_random(actor, count);
    for (unsigned i = 1; i < touched; i++)
        chosen[i] = (chosen[0] + i) % count;
    return touched;
}

static void increment_once(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct sim_transaction *transaction = sim_transaction_create(actor);
    struct increment *increment = run->state;
    uint64_t chosen[TOUCHED_MAX];
    unsigned touched = choose(actor, run, chosen);
    int error;

    for (;;) {
        error = 0;
        for (unsigned i = 0; i < touched && error == 0; i++)
            error = add_one(actor, transaction, chosen[i]);
        if (error == 0)
            error = sim_commit(transaction);
        if (error == 0 || error == ERROR_COMMIT_UNKNOWN_RESULT || !sim_retry(transaction, error))
            break;
        increment->retries++;
    }
    if (error != 0 && error != ERROR_COMMIT_UNKNOWN_RESULT)
        sim_world_fail(workload_world(actor), "Increment: %s", error_name(error));
    for (unsigned i = 0; i < touched; i++) {
        increment->counters[chosen[i]].acknowledged += error == 0;
        increment->counters[chosen[i]].unknown += error != 0;
    }
    increment->committed += error == 0;
    increment->unknown += error != 0;
    sim_transaction_destroy(transaction);
}

static void increment_run(struct sim_actor *actor, struct sim_workload_run *run)
{
    const struct increment *increment = run->state;

    while (workload_goes_on(actor, increment->committed > 0)) {
        increment_once(actor, run);
        sim_actor_sleep(actor, (int64_t)sim_actor_random(actor, 2000 * (uint64_t)run->options[PAUSE_MS] + 1));
    }
}

static int check_counter(struct sim_actor *actor, struct sim_transaction *transaction, struct increment *increment,
                         uint64_t index)
{
    const struct counter *counter = &increment->counters[index];
    struct workload_key key;
    struct bytes value;
    uint64_t number = 0;
    bool present;
    int error = sim_get(transaction, workload_key(&key, prefix, index), &present, &value);

    if (error != 0)
        return error;
    if ((present && !workload_number(value, &number)) || number < counter->acknowledged ||
        number > counter->acknowledged + counter->unknown)
        sim_world_fail(workload_world(actor), "Increment: counter %d is %llu; %llu were acknowledged, %llu unknown",
                       (int)index, (unsigned long long)number, (unsigned long long)counter->acknowledged,
                       (unsigned long long)counter->unknown);
    return 0;
}

static void increment_check(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct sim_transaction *transaction = sim_transaction_create(actor);
    struct increment *increment = run->state;
    int error;

    do {
        error = 0;
        for (uint64_t i = 0; i < (uint64_t)run->options[COUNTERS] && error == 0; i++)
            error = check_counter(actor, transaction, increment, i);
    } while (error != 0 && sim_retry(transaction, error));
    if (error != 0)
        sim_world_fail(workload_world(actor), "Increment: check: %s", error_name(error));
    if (increment->committed == 0)
        sim_world_fail(workload_world(actor), "Increment: nothing committed");
    sim_say(workload_world(actor), actor->client->process, "Increment: %llu committed, %llu unknown, %llu retries",
            (unsigned long long)increment->committed, (unsigned long long)increment->unknown,
            (unsigned long long)increment->retries);
    sim_transaction_destroy(transaction);
}

const struct sim_workload sim_workload_increment = {
    .name = "Increment",
    .what = "no acknowledged increment is lost, none is applied twice",
    .options = {{"actors", 2, 1, 100}, {"counters", 10, 1, COUNTERS_MAX}, {"pause-ms", 150, 0, 10000}},
    .state_bytes = sizeof(struct increment),
    .setup = increment_setup,
    .run = increment_run,
    .check = increment_check,
};
