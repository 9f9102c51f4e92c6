/* ConsistencyCheck: replicas are compared while everything goes on, not only at the end.
 *
 * A replica that can't be reached, or has forgotten the version, says nothing; two that answer must say the same. */
#include "sim/cluster.h"
#include "sim/workloads/values.h"

enum option { ACTORS, PAUSE_MS };

struct consistency {
    uint64_t rounds, replicas;
};

static void consistency_setup(struct sim_actor *actor, struct sim_workload_run *run)
{
    (void)actor;
    (void)run;
}

static void consistency_run(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct consistency *consistency = run->state;

    while (actor->index == 0 && !sim_actor_stopping(actor)) {
        consistency->replicas += sim_cluster_compare_replicas(actor, actor->client->cluster);
        consistency->rounds++;
        sim_actor_sleep(actor, (int64_t)sim_actor_random(actor, 2000 * (uint64_t)run->options[PAUSE_MS] + 1));
    }
}

static void consistency_check(struct sim_actor *actor, struct sim_workload_run *run)
{
    const struct consistency *consistency = run->state;

    if (consistency->rounds == 0)
        sim_world_fail(workload_world(actor), "ConsistencyCheck: not one round");
    sim_say(workload_world(actor), actor->client->process, "ConsistencyCheck: %llu rounds, %llu replicas",
            (unsigned long long)consistency->rounds, (unsigned long long)consistency->replicas);
}

const struct sim_workload sim_workload_consistency_check = {
    .name = "ConsistencyCheck",
    .what = "replicas that answer during the chaos are equal at every version",
    .options = {{"actors", 1, 1, 1}, {"pause-ms", 5000, 0, 100000}},
    .state_bytes = sizeof(struct consistency),
    .setup = consistency_setup,
    .run = consistency_run,
    .check = consistency_check,
};
