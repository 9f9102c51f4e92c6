/* The topology: a machine for every process; a zone as well, or one for two storage servers; coordinators first, clients last. */
#include "sim/cluster.h"

#include <assert.h>

#include "net/error.h"
#include "net/mem.h"
#include "net/trace.h"
#include "roles/worker/worker.h"
#include "txn/messages.h"

enum { SERVER_PORT = 4500 };

struct server {
    struct list link;
    struct sim_cluster *cluster;
    enum process_class process_class;
    unsigned zone;
    bool placed; /* its rack, hall and data centre are given */
    unsigned place[3];
};

static int server_start(struct sim_process *process, void *ctx)
{
    struct server *server = ctx;
    char zone[16], machine[16], place[3][16], why[256] = "";
    struct worker_options options = {
        .data_directory = "data",
        .public_address = process->address,
        .process_class = server->process_class,
        .coordinators = server->cluster->coordinators,
        .coordinator_count = server->cluster->coordinator_count,
        .command_line = BYTES_LITERAL("simulated"),
        .pid = process->id * UINT64_C(1000) + process->incarnation,
    };
    struct worker *worker = NULL;
    int error;

    snprintf(zone, sizeof(zone), "m%u", server->zone);
    snprintf(machine, sizeof(machine), "m%u", process->machine);
    options.zone = bytes_of_string(zone);
    options.machine = bytes_of_string(machine);
    for (unsigned i = 0; i < 3; i++)
        snprintf(place[i], sizeof(place[i]), "%u", server->place[i]);
    if (server->placed) {
        options.rack = bytes_of_string(place[0]);
        options.hall = bytes_of_string(place[1]);
        options.data_center = bytes_of_string(place[2]);
    }
    error = env_dir_make(&process->env, options.data_directory);
    if (error == 0)
        error = worker_create(&process->env, &options, &worker, why, sizeof(why));
    if (error != 0)
        sim_say(process->world, process, "can't start: %s %s", error_name(error), why);
    process->instance = worker;
    return error;
}

static void server_kill(struct sim_process *process, void *ctx)
{
    (void)ctx;
    worker_destroy(process->instance);
}

static const struct sim_program server_program = {server_start, server_kill};

uint32_t sim_cluster_role_kinds(const struct sim_process *process)
{
    return process->server && process->alive && !process->exiting && process->instance != NULL
               ? worker_role_kinds(process->instance)
               : 0;
}

const struct description *sim_cluster_description(const struct sim_world *world)
{
    const struct description *newest = NULL;

    for (size_t i = 0; i < world->process_count; i++) {
        const struct sim_process *process = world->processes[i];
        const struct description *known =
            process->server && process->alive && process->instance != NULL ? worker_description(process->instance) : NULL;

        if (known != NULL && (newest == NULL || known->epoch > newest->epoch))
            newest = known;
    }
    return newest;
}

const struct kv_map *sim_cluster_metadata(const struct sim_world *world)
{
    const struct description *d = sim_cluster_description(world);
    const struct kv_map *metadata = NULL;

    for (uint32_t i = 0; d != NULL && i < d->roles_count && metadata == NULL; i++) {
        if (d->roles[i].kind != ROLE_COMMIT_PROXY)
            continue;
        for (size_t p = 0; p < world->process_count && metadata == NULL; p++)
            if (sim_cluster_role_kinds(world->processes[p]) != 0)
                metadata = worker_metadata(world->processes[p]->instance, d->roles[i].endpoint.id);
    }
    return metadata;
}

enum process_class sim_cluster_class_of(const struct sim_process *server)
{
    const struct server *ctx = server->ctx;

    assert(server->server);
    return ctx->process_class;
}

unsigned sim_cluster_zone_of(const struct sim_process *server)
{
    const struct server *ctx = server->ctx;

    assert(server->server);
    return ctx->zone;
}

/* ---- topology ---- */

struct topology {
    unsigned counts[CLASS_COUNT];
    unsigned clients, redundancy, engine, commit_proxies, grv_proxies, resolvers;
    bool storage_pairs; /* two storage servers a zone: then not any two of them make a team */
};

static unsigned draw_count(struct sim_world *world, int64_t wanted, int64_t low, int64_t high)
{
    return (unsigned)(wanted == SCENARIO_DRAW ? sim_random_range(&world->knobs_random, low, high) : wanted);
}

static unsigned at_least(unsigned count, unsigned least)
{
    return count < least ? least : count;
}

static struct topology draw_topology(struct sim_world *world, const struct scenario *scenario)
{
    struct topology topology = {0};
    bool one = scenario->topology == TOPOLOGY_ONE;

    topology.counts[CLASS_UNSET] = draw_count(world, scenario->unset, 0, 3);
    topology.counts[CLASS_LOG] = draw_count(world, scenario->logs, 1, 5);
    topology.counts[CLASS_STORAGE] = draw_count(world, scenario->storage, 1, 5);
    topology.counts[CLASS_STATELESS] = draw_count(world, scenario->stateless, 4, 7);
    topology.clients = draw_count(world, scenario->clients, 1, 3);
    topology.redundancy = draw_count(world, scenario->redundancy, 1, 3);
    topology.engine = draw_count(world, scenario->engine, ENGINE_LMDB, ENGINE_MEMORY);
    if (scenario->topology == TOPOLOGY_DRAW)
        one = sim_random_one_in(&world->knobs_random, 6);
    topology.counts[CLASS_COORDINATOR] =
        scenario->coordinators == SCENARIO_DRAW ? 1 + 2 * draw_count(world, SCENARIO_DRAW, 0, 2)
                                                : (unsigned)scenario->coordinators;
    if (one) {
        topology.redundancy = 1;
        memset(topology.counts, 0, sizeof(topology.counts));
        topology.counts[CLASS_UNSET] = 1;
    } else {
        topology.counts[CLASS_LOG] = at_least(topology.counts[CLASS_LOG], topology.redundancy);
        topology.counts[CLASS_STORAGE] = at_least(topology.counts[CLASS_STORAGE], topology.redundancy);
        topology.storage_pairs =
            sim_random_coin(&world->knobs_random) && (topology.counts[CLASS_STORAGE] + 1) / 2 >= topology.redundancy;
    }
    topology.commit_proxies = draw_count(world, scenario->commit_proxies, 1, 3);
    topology.grv_proxies = draw_count(world, scenario->grv_proxies, 1, 3);
    topology.resolvers = draw_count(world, scenario->resolvers, 2, 4);
    return topology;
}

/* In two seeds of three, racks, halls and data centres are given, but for one process in eight. From the seed alone: other draws stay. */
static void place(struct sim_world *world, struct server *server, unsigned machine)
{
    uint64_t draw = sim_mix(world->seed + sim_mix(machine + 1));

    server->placed = world->seed % 3 != 0 && draw % 8 != 0;
    for (unsigned i = 0; i < 3; i++)
        server->place[i] = (unsigned)(draw >> (8 * i + 8) & 0xff) % (4 - i);
}

static void add_server(struct sim_cluster *cluster, enum process_class process_class, unsigned nth, bool pairs)
{
    struct sim_world *world = cluster->world;
    unsigned machine = (unsigned)world->process_count;
    struct server *server = sim_zalloc(sizeof(*server));
    struct sim_process *process;
    char name[32];

    server->cluster = cluster;
    server->process_class = process_class;
    server->zone = pairs && process_class == CLASS_STORAGE ? machine - nth % 2 : machine;
    place(world, server, machine);
    list_push_back(&cluster->servers, &server->link);
    snprintf(name, sizeof(name), "%s%u", process_class_name(process_class), nth);
    process = sim_process_create(world, name, machine, SERVER_PORT, &server_program, server);
    process->server = true;
    process->keeps_data = process_class != CLASS_COORDINATOR && process_class != CLASS_STATELESS;
}

static void add_client(struct sim_cluster *cluster, unsigned nth)
{
    struct sim_world *world = cluster->world;
    struct sim_client *client = &cluster->clients[nth];
    char name[32];

    *client = (struct sim_client){.world = world, .cluster = cluster, .index = nth, .stopping = &cluster->stopping};
    snprintf(name, sizeof(name), "client%u", nth);
    client->process = sim_process_create(world, name, (unsigned)world->process_count, SERVER_PORT, &sim_client_program, client);
    client->process->stay_down = true;
}

static void choose_coordinators(struct sim_cluster *cluster, unsigned count)
{
    char address[ADDRESS_TEXT_MAX];
    size_t used;

    cluster->coordinator_count = count;
    used = (size_t)snprintf(cluster->connection_string, sizeof(cluster->connection_string), "sim:sim@");
    for (unsigned i = 0; i < count; i++) {
        cluster->coordinators[i] = cluster->world->processes[i]->address;
        cluster->world->processes[i]->coordinator = true;
        used += (size_t)snprintf(cluster->connection_string + used, sizeof(cluster->connection_string) - used, "%s%s",
                                 i == 0 ? "" : ",", address_print(cluster->coordinators[i], address));
        assert(used < sizeof(cluster->connection_string));
    }
}

void sim_cluster_start(struct sim_cluster *cluster, struct sim_world *world, const struct scenario *scenario)
{
    static const enum process_class order[] = {CLASS_COORDINATOR, CLASS_UNSET, CLASS_LOG, CLASS_STORAGE, CLASS_STATELESS};
    struct topology topology = draw_topology(world, scenario);

    *cluster = (struct sim_cluster){.world = world,
                                    .redundancy = topology.redundancy,
                                    .engine = topology.engine,
                                    .commit_proxies = topology.commit_proxies,
                                    .grv_proxies = topology.grv_proxies,
                                    .resolvers = topology.resolvers,
                                    .client_count = topology.clients};
    list_init(&cluster->servers);
    for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++)
        for (unsigned nth = 0; nth < topology.counts[order[i]]; nth++)
            add_server(cluster, order[i], nth, topology.storage_pairs);
    choose_coordinators(cluster, at_least(topology.counts[CLASS_COORDINATOR], 1));
    for (unsigned nth = 0; nth < topology.clients; nth++)
        add_client(cluster, nth);
    sim_say(world, NULL, "cluster %s redundancy=%u engine=%u processes=%zu", cluster->connection_string, cluster->redundancy,
            cluster->engine, world->process_count);
    for (size_t i = 0; i < world->process_count; i++)
        sim_process_boot(world->processes[i]);
}

void sim_cluster_done(struct sim_cluster *cluster)
{
    while (!list_empty(&cluster->servers)) {
        struct server *server = list_entry(cluster->servers.next, struct server, link);

        list_remove(&server->link);
        mem_free(server);
    }
}
