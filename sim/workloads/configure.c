/* ConfigureDatabase: \xff/conf drawn anew, then the epoch ended, so that recoveries recruit several proxies and resolvers.
 *
 * Only the first actor of the first client does it; what it checks is that the configuration reads as it was written. The
 * other workloads say whether the cluster is right with it. */
#include "sim/cluster.h"
#include "sim/workloads/values.h"
#include "txn/system_keys.h"

enum option { ACTORS, PAUSE_MS };

enum { OPTION_ACCESS_SYSTEM_KEYS = 301, OPTION_LOCK_AWARE = 700, CONF_KEYS = 4 };

struct configure {
    struct sim_event strike; /* ends the sequencer's process, from outside of any turn */
    struct sim_world *world;
    char values[CONF_KEYS];
    uint64_t changes, strikes;
};

static struct bytes conf_key(unsigned index)
{
    switch (index) {
    case 0:
        return KEY_CONF_LOGS;
    case 1:
        return KEY_CONF_COMMIT_PROXIES;
    case 2:
        return KEY_CONF_GRV_PROXIES;
    default:
        return KEY_CONF_RESOLVERS;
    }
}

static void strike_fire(struct sim_event *event)
{
    struct configure *configure = container_of(event, struct configure, strike);
    struct sim_world *world = configure->world;

    for (size_t i = 0; i < world->process_count; i++) {
        struct sim_process *process = world->processes[i];

        if ((sim_cluster_role_kinds(process) >> ROLE_SEQUENCER & 1) == 0)
            continue;
        configure->strikes++;
        sim_process_stop(process, SIM_KILL);
        return;
    }
}

static void configure_setup(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct configure *configure = run->state;

    configure->world = workload_world(actor);
    configure->strike.fire = strike_fire;
}

static void draw(struct sim_actor *actor, char values[CONF_KEYS])
{
    for (unsigned i = 0; i < CONF_KEYS; i++)
        values[i] = (char)('1' + sim_actor_random(actor, i == 0 ? 5 : 3));
}

static void change(struct sim_actor *actor, struct configure *configure)
{
    struct sim_transaction *transaction = sim_transaction_create(actor);
    char values[CONF_KEYS];
    int error;

    draw(actor, values);
    sim_option(transaction, OPTION_ACCESS_SYSTEM_KEYS);
    sim_option(transaction, OPTION_LOCK_AWARE);
    do {
        for (unsigned i = 0; i < CONF_KEYS; i++)
            sim_set(transaction, conf_key(i), bytes_of(&values[i], 1));
        error = sim_commit(transaction);
    } while (error != 0 && sim_retry(transaction, error));
    if (error != 0)
        sim_world_fail(workload_world(actor), "ConfigureDatabase: %s", error_name(error));
    memcpy(configure->values, values, sizeof(values));
    configure->changes++;
    sim_transaction_destroy(transaction);
}

static void configure_run(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct configure *configure = run->state;

    while (actor->index == 0 && !sim_actor_stopping(actor)) {
        change(actor, configure);
        sim_actor_sleep(actor, (int64_t)sim_actor_random(actor, 500000));
        if (!sim_event_waiting(&configure->strike))
            sim_event_in(configure->world, &configure->strike, 0);
        sim_actor_sleep(actor, (int64_t)sim_actor_random(actor, 2000 * (uint64_t)run->options[PAUSE_MS] + 1));
    }
}

static int compare(struct sim_actor *actor, struct sim_transaction *transaction, const struct configure *configure)
{
    int error = 0;

    for (unsigned i = 0; i < CONF_KEYS && error == 0; i++) {
        struct bytes value;
        bool present;

        error = sim_get(transaction, conf_key(i), &present, &value);
        if (error == 0 && (!present || !bytes_equal(value, bytes_of(&configure->values[i], 1))))
            sim_world_fail(workload_world(actor), "ConfigureDatabase: the configuration is not what was written last");
    }
    return error;
}

static void configure_check(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct sim_transaction *transaction = sim_transaction_create(actor);
    struct configure *configure = run->state;
    int error;

    sim_option(transaction, OPTION_ACCESS_SYSTEM_KEYS);
    while (configure->changes != 0 && (error = compare(actor, transaction, configure)) != 0 && sim_retry(transaction, error))
        ;
    if (configure->changes == 0)
        sim_world_fail(workload_world(actor), "ConfigureDatabase: nothing committed");
    sim_say(workload_world(actor), actor->client->process, "ConfigureDatabase: %llu changes, %llu sequencers ended",
            (unsigned long long)configure->changes, (unsigned long long)configure->strikes);
    sim_transaction_destroy(transaction);
}

const struct sim_workload sim_workload_configure = {
    .name = "ConfigureDatabase",
    .what = "the numbers of logs, proxies and resolvers change, and recoveries follow them",
    .options = {{"actors", 1, 1, 1}, {"pause-ms", 6000, 0, 100000}},
    .state_bytes = sizeof(struct configure),
    .setup = configure_setup,
    .run = configure_run,
    .check = configure_check,
};
