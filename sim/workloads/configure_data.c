/* ConfigureData: the number of copies and the engine change while everything runs; the data distributor must follow.
 *
 * Only the first actor of the first client does it, and never asks for more copies than there are zones. What the run asks of the cluster
 * (cluster->redundancy) is what was committed last; no fault may take data away, for while copies are made there are as few as before.
 * The check: all servers have the engine that was asked for last. That each shard has its copies, in different zones, and that they are
 * equal, the consistency check says; that nothing is left to move, the quiet cluster. */
#include "sim/cluster.h"
#include "sim/faults_internal.h"
#include "sim/workloads/values.h"
#include "txn/operator_keys.h"
#include "txn/system_keys.h"

enum option { ACTORS, PAUSE_MS };
enum { OPTION_ACCESS_SYSTEM_KEYS = 301, OPTION_LOCK_AWARE = 700, SERVERS_MAX = 256 };

struct configure_data {
    uint32_t redundancy_max;
    uint64_t more_copies, fewer_copies, engines;
};

/* As many as both logs and storage servers could be spread over. */
static uint32_t zones_of_all(const struct sim_cluster *cluster)
{
    struct sim_machines logs = {0}, storage = {0};
    unsigned log_zones, storage_zones;

    for (size_t i = 0; i < cluster->world->process_count; i++) {
        const struct sim_process *process = cluster->world->processes[i];

        if (!process->server)
            continue;
        if (process_class_may_host(sim_cluster_class_of(process), ROLE_LOG))
            machines_add(&logs, sim_cluster_zone_of(process));
        if (sim_cluster_class_of(process) == CLASS_STORAGE)
            machines_add(&storage, sim_cluster_zone_of(process));
    }
    log_zones = machines_count(&logs);
    storage_zones = machines_count(&storage);
    return log_zones < storage_zones ? log_zones : storage_zones;
}

static void configure_data_setup(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct configure_data *configure = run->state;
    struct sim_cluster *cluster = actor->client->cluster;
    uint32_t zones = zones_of_all(cluster);

    configure->redundancy_max = zones < 3 ? zones : 3;
    cluster->faults->zones_may_lose = 0;
}

static void change(struct sim_actor *actor, struct configure_data *configure)
{
    struct sim_transaction *transaction = sim_transaction_create(actor);
    struct sim_cluster *cluster = actor->client->cluster;
    uint32_t redundancy = 1 + (uint32_t)sim_actor_random(actor, configure->redundancy_max);
    uint32_t engine = sim_actor_random(actor, 3) != 0 ? cluster->engine
                      : cluster->engine == ENGINE_LMDB ? (uint32_t)ENGINE_MEMORY : (uint32_t)ENGINE_LMDB;
    int error;

    sim_option(transaction, OPTION_ACCESS_SYSTEM_KEYS);
    sim_option(transaction, OPTION_LOCK_AWARE);
    do {
        sim_set(transaction, KEY_CONF_REDUNDANCY, bytes_of_string(redundancy_name(redundancy)));
        sim_set(transaction, KEY_CONF_ENGINE, bytes_of_string(engine_name(engine)));
        error = sim_commit(transaction);
    } while (error != 0 && sim_retry(transaction, error));
    if (error != 0)
        sim_world_fail(workload_world(actor), "ConfigureData: %s", error_name(error));
    sim_transaction_destroy(transaction);
    configure->more_copies += redundancy > cluster->redundancy;
    configure->fewer_copies += redundancy < cluster->redundancy;
    configure->engines += engine != cluster->engine;
    cluster->redundancy = redundancy;
    cluster->engine = engine;
}

static void configure_data_run(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct configure_data *configure = run->state;

    while (actor->index == 0 && !sim_actor_stopping(actor)) {
        change(actor, configure);
        sim_actor_sleep(actor, (int64_t)sim_actor_random(actor, 2000 * (uint64_t)run->options[PAUSE_MS] + 1));
    }
}

/* How many servers are listed with another engine. */
static int count_others(struct sim_transaction *transaction, uint32_t engine, unsigned *ret_others)
{
    const struct sim_pair *pairs;
    struct arena arena = {0};
    size_t count = 0;
    int error = sim_get_range(transaction, KEY_SERVER_LIST_PREFIX, BYTES_LITERAL("\xff/serverList0"), SERVERS_MAX, &pairs, &count);

    *ret_others = 0;
    for (size_t i = 0; i < count && error == 0; i++) {
        struct server_value value;

        error = message_decode(&schema_server_value, pairs[i].value, &arena, &value);
        *ret_others += error == 0 && value.engine != engine;
    }
    arena_done(&arena);
    return error;
}

static void configure_data_check(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct sim_transaction *transaction = sim_transaction_create(actor);
    const struct configure_data *configure = run->state;
    struct sim_world *world = workload_world(actor);
    unsigned others = 0;
    int error;

    sim_option(transaction, OPTION_ACCESS_SYSTEM_KEYS);
    while ((error = count_others(transaction, actor->client->cluster->engine, &others)) != 0 && sim_retry(transaction, error))
        ;
    if (error != 0 || others != 0)
        sim_world_fail(world, "ConfigureData: %u servers have another engine than was asked for (%s)", others, error_name(error));
    sim_world_show(world, "more copies asked for %llu times, fewer %llu times, another engine %llu times",
                   (unsigned long long)configure->more_copies, (unsigned long long)configure->fewer_copies,
                   (unsigned long long)configure->engines);
    sim_transaction_destroy(transaction);
}

const struct sim_workload sim_workload_configure_data = {
    .name = "ConfigureData",
    .what = "the number of copies and the engine change under load, and the data follows",
    .options = {{"actors", 1, 1, 1}, {"pause-ms", 15000, 0, 1000000}},
    .state_bytes = sizeof(struct configure_data),
    .setup = configure_data_setup,
    .run = configure_data_run,
    .check = configure_data_check,
};
