/* Servers are asked in a drawn order, each in turn: it stays dead if a die says so and what is left still suffices. */
#include "sim/survivors.h"

#include "roles/role.h"
#include "roles/worker/worker.h"
#include "sim/transaction.h"
#include "txn/log_system.h"

struct left {
    const struct sim_cluster *cluster;
    const struct description *description; /* the newest that any living server knows; NULL: none */
    bool settled; /* a controller accepts commits, and none ends an epoch */
    bool told;    /* whoever lives knows who the coordinators are, and they stay so */
    unsigned coordinators; /* that live, or will */
    unsigned logs_dead, storage_dead; /* whose disks hold such files */
    struct sim_machines spared;
};

static bool may_host_logs(const struct sim_process *process)
{
    enum process_class process_class = sim_cluster_class_of(process);

    return !process->excluded && (process_class == CLASS_LOG || process_class == CLASS_UNSET || process_class == CLASS_STORAGE);
}

static bool is_coordinator(const struct sim_cluster *cluster, const struct sim_process *process)
{
    for (size_t i = 0; i < cluster->coordinator_count; i++)
        if (address_equal(cluster->coordinators[i], process->address))
            return true;
    return false;
}

/* ---- ended generations ---- */

static const struct sim_process *process_at(const struct sim_cluster *cluster, const struct wire_endpoint *endpoint)
{
    const struct sim_world *world = cluster->world;
    struct address address = endpoint_of(endpoint).address;

    for (size_t i = 0; i < world->process_count; i++)
        if (address_equal(world->processes[i]->address, address))
            return world->processes[i];
    return NULL;
}

static bool is_whole(const struct left *left, const struct generation *generation, uint32_t log)
{
    const struct sim_process *process = process_at(left->cluster, &generation->logs[log].endpoint);

    if (process == NULL || machines_has(&left->spared, process->machine) || !process->alive || process->instance == NULL)
        return false;
    return worker_log_end(process->instance, generation->logs[log].endpoint.id) >= generation->end;
}

static bool generations_suffice(const struct left *left)
{
    const struct description *description = left->description;

    for (uint32_t g = 0; description != NULL && g < description->generations_count; g++) {
        const struct generation *generation = &description->generations[g];
        uint64_t missing = 0;

        if (generation->end == VERSION_MAX)
            continue;
        for (uint32_t i = 0; i < generation->logs_count; i++)
            if (!is_whole(left, generation, i))
                missing |= UINT64_C(1) << i;
        if (log_system_zone_count(generation, missing) >= generation->replication)
            return false;
    }
    return true;
}

/* In how many zones a next epoch's logs find a place: as many as there are copies must be left. */
static unsigned log_zones(const struct left *left)
{
    const struct sim_world *world = left->cluster->world;
    struct sim_machines zones = {0};

    for (size_t i = 0; i < world->process_count; i++) {
        const struct sim_process *process = world->processes[i];

        if (process->server && !process->damaged && may_host_logs(process) && !machines_has(&left->spared, process->machine))
            machines_add(&zones, sim_cluster_zone_of(process));
    }
    return machines_count(&zones);
}

/* ---- drawing ---- */

/* What would be left without it; false when that does not suffice. */
static bool spare(struct sim_process *process, struct left *left)
{
    const struct sim_cluster *cluster = left->cluster;
    bool has_logs = sim_disk_has(process->disk, "data/log-");
    struct left without = *left;

    if (!left->told && process->coordinator)
        return false;
    machines_add(&without.spared, process->machine);
    if (!process->damaged) {
        without.coordinators -= is_coordinator(cluster, process);
        without.logs_dead += has_logs;
        without.storage_dead += sim_disk_has(process->disk, "data/storage-");
    }
    if (without.coordinators <= cluster->coordinator_count / 2 || log_zones(&without) < cluster->redundancy ||
        without.logs_dead >= cluster->redundancy || without.storage_dead >= cluster->redundancy)
        return false;
    if (has_logs && (!left->settled || !generations_suffice(&without)))
        return false;
    *left = without;
    return true;
}

/* What a damaged disk held counts as dead already, whatever of it is left. */
static void count_damaged(const struct sim_process *process, struct left *left)
{
    if (!process->damaged)
        return;
    left->coordinators -= is_coordinator(left->cluster, process);
    left->logs_dead += process->keeps_data;
    left->storage_dead += process->keeps_data;
    machines_add(&left->spared, process->machine);
}

static void give_up(struct sim_process *process)
{
    sim_say(process->world, process, "stays dead");
    sim_agenda_remove(&process->world->agenda, &process->restart);
    process->stay_down = process->given_up = true;
    sim_process_stop(process, SIM_KILL);
}

static void look_at(struct left *left, const struct sim_process *process)
{
    const struct description *description;

    count_damaged(process, left);
    if (!process->alive || process->instance == NULL)
        return;
    description = worker_description(process->instance);
    if (description != NULL && (left->description == NULL || description->epoch > left->description->epoch ||
                                (description->epoch == left->description->epoch &&
                                 description->generations_count < left->description->generations_count)))
        left->description = description;
}

/* Without a controller that accepts commits nobody can say which logs are needed. */
static bool is_settled(const struct left *left)
{
    const struct sim_world *world = left->cluster->world;
    bool accepts = false;

    for (size_t i = 0; i < world->process_count; i++) {
        const struct sim_process *process = world->processes[i];

        if (!process->server || !process->alive || process->instance == NULL)
            continue;
        if (worker_recovers(process->instance))
            return false;
        accepts |= left->description != NULL && (worker_role_kinds(process->instance) >> ROLE_CONTROLLER & 1) != 0 &&
                   worker_description(process->instance)->epoch == left->description->epoch;
    }
    return accepts;
}

/* Who was away during a change asks those that were coordinators before; what is down comes back with a cluster file of today. */
static bool is_told(const struct sim_cluster *cluster)
{
    bool told = cluster->joining == NULL;

    for (size_t i = 0; i < cluster->world->process_count; i++) {
        const struct sim_process *process = cluster->world->processes[i];

        if (process->server && process->alive && process->instance != NULL)
            told &= worker_knows_coordinators(process->instance, cluster->coordinators, cluster->coordinator_count);
    }
    for (unsigned i = 0; i < cluster->client_count; i++)
        told &= sim_client_knows_coordinators(&cluster->clients[i]);
    return told;
}

uint64_t sim_survivors_living_log(const struct sim_cluster *cluster, const struct sim_process *process)
{
    struct left left = {.cluster = cluster};
    const struct generation *newest;

    for (size_t i = 0; i < cluster->world->process_count; i++)
        if (cluster->world->processes[i]->server)
            look_at(&left, cluster->world->processes[i]);
    if (left.description == NULL || left.description->generations_count == 0)
        return 0;
    newest = &left.description->generations[left.description->generations_count - 1];
    for (uint32_t i = 0; i < newest->logs_count; i++)
        if (process_at(cluster, &newest->logs[i].endpoint) == process)
            return newest->logs[i].endpoint.id;
    return 0;
}

bool sim_survivors_may_lose(const struct sim_cluster *cluster, const struct sim_process *process)
{
    const struct sim_world *world = cluster->world;
    struct left left = {.cluster = cluster};

    for (size_t i = 0; i < world->process_count; i++)
        if (world->processes[i]->server)
            look_at(&left, world->processes[i]);
    if (!process->keeps_data)
        return true;
    machines_add(&left.spared, process->machine);
    left.settled = is_settled(&left);
    return left.settled && generations_suffice(&left);
}

/* They end when all are chosen: the description may belong to one of them. */
unsigned sim_survivors_draw(struct sim_cluster *cluster)
{
    struct sim_world *world = cluster->world;
    struct left left = {.cluster = cluster, .coordinators = (unsigned)cluster->coordinator_count};
    struct sim_process *order[SIM_MACHINES_MAX], *chosen[SIM_MACHINES_MAX];
    unsigned count = 0, dead = 0;

    for (size_t i = 0; i < world->process_count; i++) {
        unsigned at;

        if (!world->processes[i]->server)
            continue;
        at = (unsigned)sim_random_below(&world->faults, ++count);
        order[count - 1] = order[at];
        order[at] = world->processes[i];
        look_at(&left, world->processes[i]);
    }
    left.settled = is_settled(&left);
    left.told = is_told(cluster);
    for (unsigned i = 0; i < count; i++) {
        bool wanted = sim_random_below(&world->faults, 4) != 0;

        if (dead + 1 < count && wanted && spare(order[i], &left))
            chosen[dead++] = order[i];
    }
    for (unsigned i = 0; i < dead; i++)
        give_up(chosen[i]);
    sim_note(world, NULL, "given-up", dead);
    return dead;
}
