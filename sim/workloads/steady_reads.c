/* SteadyReads: reads keep their latency while one replica after another stands still.
 *
 * Storage servers are stopped for seconds, one at a time, and each read of the clients must be answered by another replica within a
 * bound that is far below any time-out. It needs two replicas, no other faults, and servers that host nothing else. */
#include "net/error.h"
#include "sim/cluster.h"
#include "sim/faults_internal.h"
#include "sim/workloads/values.h"
#include "txn/messages.h"

enum option { ACTORS, KEYS, STOP_MS, BOUND_MS };

enum { WARM = 50, FIRST_STOP_US = 3 * SIM_SECOND_US };

struct steady {
    struct sim_event event;
    struct sim_faults *faults;
    const int64_t *options;
    int64_t stopped_until_us;
    uint64_t stops, reads;
    int64_t longest_us;
    const char *longest_what;
};

static const char prefix[] = "steady";

static void stop_end(struct sim_active *active)
{
    if (fault_same_life(active))
        sim_process_resume(active->process);
}

static void stop_one(struct sim_event *event)
{
    struct steady *steady = container_of(event, struct steady, event);
    struct sim_process *process = fault_host(steady->faults, UINT32_C(1) << ROLE_STORAGE);
    int64_t lasts_us = 1000 * steady->options[STOP_MS];

    if (process == NULL || process->paused)
        return;
    sim_process_pause(process);
    fault_of_process(steady->faults, process, stop_end, lasts_us);
    steady->stopped_until_us = steady->faults->world->now_us + lasts_us;
    steady->stops++;
}

static void steady_setup(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct sim_transaction *transaction = sim_transaction_create(actor);
    struct steady *steady = run->state;
    struct workload_key key;
    int error;

    steady->faults = actor->client->cluster->faults;
    steady->options = run->options;
    steady->event.fire = stop_one;
    do {
        for (int64_t i = 0; i < run->options[KEYS]; i++)
            sim_set(transaction, workload_key(&key, prefix, (uint64_t)i), BYTES_LITERAL("x"));
        error = sim_commit(transaction);
    } while (error != 0 && sim_retry(transaction, error));
    if (error != 0)
        sim_world_fail(workload_world(actor), "SteadyReads: the setup failed: %s", error_name(error));
    sim_transaction_destroy(transaction);
}

static void took(struct sim_actor *actor, struct steady *steady, const char *what, int64_t began_us, bool measured)
{
    int64_t took_us = workload_world(actor)->now_us - began_us;

    if (!measured)
        return;
    steady->reads++;
    if (steady->longest_us < took_us) {
        steady->longest_us = took_us;
        steady->longest_what = what;
    }
    if (took_us > steady->options[BOUND_MS] * 1000)
        sim_world_fail(workload_world(actor), "SteadyReads: a %s took %.3f s while one replica of two stood still", what,
                       (double)took_us / 1e6);
}

/* One of each kind. A transaction that is too old, or that has waited in vain for a version, says nothing. */
static int read_some(struct sim_actor *actor, struct steady *steady, struct sim_transaction *transaction, bool measured)
{
    uint64_t number = sim_actor_random(actor, (uint64_t)steady->options[KEYS]);
    struct sim_world *world = workload_world(actor);
    int64_t began_us = world->now_us;
    struct sim_range range = {.limit = 10};
    struct workload_key key, end;
    struct bytes value;
    bool present;
    int error = sim_get(transaction, workload_key(&key, prefix, number), &present, &value);

    took(actor, steady, "get", began_us, measured);
    if (error != 0)
        return error;
    began_us = world->now_us;
    error = sim_read_range(transaction, workload_key(&key, prefix, 0), workload_key(&end, prefix, number + 1), &range);
    took(actor, steady, "range read", began_us, measured);
    if (error != 0)
        return error;
    began_us = world->now_us;
    error = sim_get_key(transaction, workload_key(&key, prefix, number), true, 0, &value);
    took(actor, steady, "key selector", began_us, measured);
    return error;
}

static void steady_run(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct steady *steady = run->state;
    bool leads = actor->index == 0 && actor->client->index == 0;
    struct sim_world *world = workload_world(actor);
    int64_t next_stop_us = world->now_us + FIRST_STOP_US;

    for (int i = 0; !sim_actor_stopping(actor); i++) {
        struct sim_transaction *transaction = sim_transaction_create(actor);
        version_t version;
        int error = sim_read_version(transaction, &version);

        if (leads && world->now_us > next_stop_us && !sim_event_waiting(&steady->event)) {
            sim_event_in(world, &steady->event, 0);
            next_stop_us = world->now_us + 2000 * run->options[STOP_MS];
        }
        if (error == 0)
            (void)read_some(actor, steady, transaction, i >= WARM);
        sim_transaction_destroy(transaction);
        sim_actor_sleep(actor, (int64_t)sim_actor_random(actor, 40000));
    }
}

static void steady_check(struct sim_actor *actor, struct sim_workload_run *run)
{
    const struct steady *steady = run->state;

    if (steady->stops == 0 || steady->reads == 0)
        sim_world_fail(workload_world(actor), "SteadyReads: nothing was stopped, or nothing was read");
    sim_say(workload_world(actor), actor->client->process, "SteadyReads: %llu reads, %llu stops, longest %.3f s (a %s)",
            (unsigned long long)steady->reads, (unsigned long long)steady->stops, (double)steady->longest_us / 1e6,
            steady->longest_what);
}

const struct sim_workload sim_workload_steady_reads = {
    .name = "SteadyReads",
    .what = "reads keep their latency while one replica after another stands still",
    .options = {{"actors", 2, 1, 100}, {"keys", 200, 1, 1000}, {"stop-ms", 3000, 100, 60000}, {"bound-ms", 300, 1, 100000}},
    .state_bytes = sizeof(struct steady),
    .setup = steady_setup,
    .run = steady_run,
    .check = steady_check,
};
