/* When a cluster is quiet: one controller, which accepts commits in an epoch that stays and has heard of every server that lives, no
 * generation that storage has yet to drain, no log with segments that are popped, and both singletons: a distributor that has nothing to do,
 * a ratekeeper that limits nobody. */
#include "roles/worker/worker.h"
#include "sim/cluster.h"

static const struct worker *worker_in(const struct sim_process *process)
{
    return process->server && process->alive && !process->exiting ? process->instance : NULL;
}

/* Some storage server will never drain what an ended generation holds for it. */
static bool some_storage_is_lost(const struct sim_world *world)
{
    for (size_t i = 0; i < world->process_count; i++)
        if (world->processes[i]->keeps_data && (world->processes[i]->given_up || world->processes[i]->damaged))
            return true;
    return false;
}

/* The controller in `worker`, if there is one, has heard of all that live. A damaged one may have nothing to register with. */
static bool knows_all(const struct sim_world *world, const struct worker *worker)
{
    for (size_t i = 0; i < world->process_count; i++) {
        const struct worker *other = worker_in(world->processes[i]);

        if (other != NULL && !world->processes[i]->damaged && !worker_knows(worker, other))
            return false;
    }
    return true;
}

const char *sim_cluster_unrest(const struct sim_cluster *cluster)
{
    const struct sim_world *world = cluster->world;
    const struct description *description = NULL;
    unsigned distributors = 0, ratekeepers = 0;

    for (size_t i = 0; i < world->process_count; i++) {
        const struct sim_process *process = world->processes[i];
        const struct worker *worker = worker_in(process);

        if (process->server && worker == NULL && !process->given_up && !process->damaged)
            return "a server is down";
        if (worker == NULL)
            continue;
        if (worker_recovers(worker))
            return "an epoch ends";
        if (worker_would_recover(worker) != NULL)
            return worker_would_recover(worker);
        if (!knows_all(world, worker))
            return "the controller has not heard of a server that lives";
        if (worker_roles_unrest(worker) != NULL)
            return worker_roles_unrest(worker);
        distributors += worker_role_kinds(worker) >> ROLE_DATA_DISTRIBUTOR & 1;
        ratekeepers += worker_role_kinds(worker) >> ROLE_RATEKEEPER & 1;
        if ((worker_role_kinds(worker) >> ROLE_CONTROLLER & 1) == 0)
            continue;
        if (description != NULL)
            return "two controllers";
        description = worker_description(worker);
        if (description == NULL)
            return "a controller without a description";
    }
    if (description == NULL)
        return "no controller";
    if (description->generations_count > 1 && !some_storage_is_lost(world))
        return "storage has not drained the ended generations";
    if (description->singletons_count < 2)
        return "the data distributor or the ratekeeper is missing";
    if (distributors != 1 || ratekeepers != 1)
        return "there are more or fewer singletons than one of each kind";
    return NULL;
}
