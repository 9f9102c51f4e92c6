/* ConfigureDatabase: what an operator does to a cluster that runs.
 *
 * Only the first actor of the first client does it. It draws the numbers of \xff/conf anew, which the controller must obey by a new
 * epoch (now and then the sequencer dies as well, so that this meets a recovery); it excludes a server that is no coordinator, as
 * long as the others would do, and includes it again; with coordinators = 2 it puts another coordinator in the place of one of the
 * first ones. The check: the configuration reads as it was written, the epoch has no more of anything than that asks for, who is still
 * excluded has no role of it, and a coordinator can be replaced by another. The other workloads say whether the cluster is right. */
#include "roles/worker/worker.h"
#include "sim/cluster.h"
#include "sim/workloads/values.h"
#include "txn/system_keys.h"

enum option { ACTORS, PAUSE_MS, EXCLUDE, COORDINATORS };

enum { OPTION_ACCESS_SYSTEM_KEYS = 301, OPTION_LOCK_AWARE = 700, CONF_KEYS = 4, SETTLE_S = 60 };

struct configure {
    struct sim_event strike; /* ends the sequencer's process, from outside of any turn */
    struct sim_world *world;
    char values[CONF_KEYS];
    struct sim_process *out; /* excluded; NULL: nobody is */
    struct sim_replacement replacement; /* of a coordinator */
    uint64_t changes, strikes, exclusions;
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

static struct sim_transaction *begin(struct sim_actor *actor)
{
    struct sim_transaction *transaction = sim_transaction_create(actor);

    sim_option(transaction, OPTION_ACCESS_SYSTEM_KEYS);
    sim_option(transaction, OPTION_LOCK_AWARE);
    return transaction;
}

static void end(struct sim_actor *actor, struct sim_transaction *transaction, int error)
{
    if (error != 0)
        sim_world_fail(workload_world(actor), "ConfigureDatabase: %s", error_name(error));
    sim_transaction_destroy(transaction);
}

static void change(struct sim_actor *actor, struct configure *configure)
{
    struct sim_transaction *transaction = begin(actor);
    char values[CONF_KEYS];
    int error;

    draw(actor, values);
    do {
        for (unsigned i = 0; i < CONF_KEYS; i++)
            sim_set(transaction, conf_key(i), bytes_of(&values[i], 1));
        error = sim_commit(transaction);
    } while (error != 0 && sim_retry(transaction, error));
    memcpy(configure->values, values, sizeof(values));
    configure->changes++;
    end(actor, transaction, error);
}

/* ---- exclusion ---- */

static void include(struct sim_actor *actor, struct configure *configure)
{
    sim_exclude(actor, configure->out, false);
    configure->out = NULL;
}

static void exclude(struct sim_actor *actor, struct configure *configure)
{
    struct sim_world *world = configure->world;
    struct sim_process *process = world->processes[sim_actor_random(actor, world->process_count)];

    if (!sim_cluster_may_exclude(actor->client->cluster, process))
        return;
    configure->out = process;
    sim_exclude(actor, process, true);
    configure->exclusions++;
}

/* ---- another coordinator ---- */

/* What was begun is gone on with before anything else. */
static void choose_coordinators(struct sim_actor *actor, struct configure *configure)
{
    struct sim_cluster *cluster = actor->client->cluster;
    struct sim_process *process = cluster->world->processes[sim_actor_random(actor, cluster->world->process_count)];

    if (sim_cluster_may_join(cluster, process))
        sim_replacement_begin(&configure->replacement, cluster, process, sim_actor_random(actor, cluster->coordinator_count));
}

/* ---- the run ---- */

static void configure_run(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct configure *configure = run->state;

    while (actor->index == 0 && !sim_actor_stopping(actor)) {
        change(actor, configure);
        if (run->options[EXCLUDE] != 0 && sim_actor_random(actor, 2) == 0) {
            if (configure->out != NULL)
                include(actor, configure);
            else
                exclude(actor, configure);
        }
        if (run->options[COORDINATORS] == 2) { /* under fire it may take its time: a few tries, and on with it next time */
            choose_coordinators(actor, configure);
            (void)sim_replace_coordinator(actor, &configure->replacement, 5);
        }
        sim_actor_sleep(actor, (int64_t)sim_actor_random(actor, 500000));
        if (!sim_event_waiting(&configure->strike) && sim_actor_random(actor, 3) == 0)
            sim_event_in(configure->world, &configure->strike, 0);
        sim_actor_sleep(actor, (int64_t)sim_actor_random(actor, 2000 * (uint64_t)run->options[PAUSE_MS] + 1));
    }
}

/* ---- the check ---- */

static bool is_at(const struct sim_process *process, const struct wire_endpoint *endpoint)
{
    return process != NULL && process->address.ip == endpoint->address.ip && process->address.port == endpoint->address.port;
}

/* What the living epoch has that nobody asked for; NULL: nothing. */
static const char *disobedience(const struct sim_cluster *cluster, const struct configure *configure)
{
    static const enum role_kind kinds[CONF_KEYS] = {ROLE_LOG, ROLE_COMMIT_PROXY, ROLE_GRV_PROXY, ROLE_RESOLVER};
    const struct description *d = sim_cluster_description(cluster->world);
    const struct generation *logs;

    if (d == NULL || d->generations_count == 0)
        return "there is no epoch";
    logs = &d->generations[d->generations_count - 1];
    for (unsigned k = 0; k < CONF_KEYS; k++) {
        unsigned count = kinds[k] == ROLE_LOG ? logs->logs_count : 0, most = (unsigned)(configure->values[k] - '0');

        for (uint32_t i = 0; i < d->roles_count; i++)
            count += d->roles[i].kind == kinds[k];
        if (kinds[k] == ROLE_LOG && most < cluster->redundancy)
            most = cluster->redundancy;
        if (count > most)
            return role_kind_name(kinds[k]);
    }
    for (uint32_t i = 0; i < d->roles_count; i++)
        if (is_at(configure->out, &d->roles[i].endpoint))
            return "a role on an excluded process";
    for (uint32_t i = 0; i < logs->logs_count; i++)
        if (is_at(configure->out, &logs->logs[i].endpoint))
            return "a log on an excluded process";
    return NULL;
}

static void check_obedience(struct sim_actor *actor, const struct configure *configure)
{
    const char *what = NULL;

    for (int second = 0; second < SETTLE_S; second++) {
        what = disobedience(actor->client->cluster, configure);
        if (what == NULL)
            return;
        sim_actor_sleep(actor, SIM_SECOND_US);
    }
    sim_world_fail(workload_world(actor), "ConfigureDatabase: the epoch does not obey the configuration: %s", what);
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
    change(actor, configure); /* nothing strikes any more: only obedience brings what is asked for */
    if (run->options[EXCLUDE] != 0 && configure->out == NULL)
        exclude(actor, configure);
    check_obedience(actor, configure);
    for (int round = 0; round < 2 && run->options[COORDINATORS] != 0; round++) { /* the one that was under way, and another */
        if (!sim_replace_coordinator(actor, &configure->replacement, 2 * SETTLE_S))
            sim_world_fail(workload_world(actor), "ConfigureDatabase: a coordinator can't be replaced");
        if (round == 0)
            choose_coordinators(actor, configure);
    }
    sim_say(workload_world(actor), actor->client->process, "ConfigureDatabase: %llu changes, %llu exclusions, %llu sequencers ended, %llu coordinators replaced",
            (unsigned long long)configure->changes, (unsigned long long)configure->exclusions, (unsigned long long)configure->strikes,
            (unsigned long long)configure->replacement.count);
    sim_transaction_destroy(transaction);
}

const struct sim_workload sim_workload_configure = {
    .name = "ConfigureDatabase",
    .what = "numbers of logs, proxies and resolvers change, servers are excluded and included, and epochs follow",
    .options = {{"actors", 1, 1, 1}, {"pause-ms", 6000, 0, 100000}, {"exclude", 1, 0, 1}, {"coordinators", 1, 0, 2}},
    .state_bytes = sizeof(struct configure),
    .setup = configure_setup,
    .run = configure_run,
    .check = configure_check,
};
