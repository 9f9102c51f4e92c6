/* LowLatency: after the last fault, a read version, a read and a commit each end within a bound.
 *
 * A few transactions first find the cluster again (a client may have to find out that a server is dead); from then on nothing is
 * broken, and nothing may be slow. During the chaos it goes on gently, so that the client's connections are as old as anybody's. */
#include "sim/workloads/values.h"

enum option { ACTORS, PAUSE_MS, BOUND_MS };

enum { WARM = 20, MEASURED = 50 };

struct latency {
    uint64_t committed;
    int64_t longest_us;
};

static const char key_text[] = "lowlatency";

static void latency_setup(struct sim_actor *actor, struct sim_workload_run *run)
{
    (void)actor;
    (void)run;
}

static void one(struct sim_actor *actor, struct latency *latency)
{
    struct sim_transaction *transaction = sim_transaction_create(actor);
    struct bytes value;
    bool present;
    int error;

    do {
        error = sim_get(transaction, bytes_of_string(key_text), &present, &value);
        if (error == 0) {
            sim_set(transaction, bytes_of_string(key_text), BYTES_LITERAL("x"));
            error = sim_commit(transaction);
        }
    } while (error != 0 && sim_retry(transaction, error));
    if (error != 0)
        sim_world_fail(workload_world(actor), "LowLatency: %s", error_name(error));
    latency->committed++;
    sim_transaction_destroy(transaction);
}

static void latency_run(struct sim_actor *actor, struct sim_workload_run *run)
{
    while (!sim_actor_stopping(actor)) {
        one(actor, run->state);
        sim_actor_sleep(actor, (int64_t)sim_actor_random(actor, 2000 * (uint64_t)run->options[PAUSE_MS] + 1));
    }
}

static void latency_check(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct sim_world *world = workload_world(actor);
    struct latency *latency = run->state;

    for (int i = 0; i < WARM + MEASURED; i++) {
        int64_t began_us = world->now_us;

        one(actor, latency);
        if (i >= WARM && latency->longest_us < world->now_us - began_us)
            latency->longest_us = world->now_us - began_us;
    }
    if (latency->longest_us > run->options[BOUND_MS] * 1000)
        sim_world_fail(world, "LowLatency: a transaction took %.3f s after the last fault", (double)latency->longest_us / 1e6);
    sim_say(world, actor->client->process, "LowLatency: %llu committed, longest %.3f s", (unsigned long long)latency->committed,
            (double)latency->longest_us / 1e6);
}

const struct sim_workload sim_workload_low_latency = {
    .name = "LowLatency",
    .what = "after the last fault every transaction ends within a bound",
    .options = {{"actors", 1, 1, 10}, {"pause-ms", 1000, 0, 10000}, {"bound-ms", 1000, 1, 100000}},
    .state_bytes = sizeof(struct latency),
    .setup = latency_setup,
    .run = latency_run,
    .check = latency_check,
};
