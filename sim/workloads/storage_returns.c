/* StorageReturns: a storage server's process is away, for less than the bound within which it must find its data still its own, or for so
 * long (an hour) that its shards have long gone elsewhere.
 *
 * One at a time, and only while the others suffice. Back within the bound, its server is the same one, listed as before. Back
 * after it was removed, it must end and its files must go; the process may then be given another server. One that is still listed
 * (nobody could take its shards) must serve again. What it answers meanwhile is judged by the other workloads and by the comparison of
 * replicas.
 *
 * Each third absence is announced (maintenance of its zone) and lasts far longer than the bound: nobody may take the server's place. */
#include "roles/worker/worker.h"
#include "sim/cluster.h"
#include "sim/faults_internal.h"
#include "sim/workloads/values.h"
#include "txn/operator_keys.h"
#include "txn/system_keys.h"

enum option { ACTORS, PAUSE_MS, SHORT_MS, LONG_MS, PATIENCE_MS, ANNOUNCED_MS };
enum absence { SHORT, LONG, ANNOUNCED, ABSENCES };
enum { OPTION_ACCESS_SYSTEM_KEYS = 301, OPTION_READ_SYSTEM_KEYS = 302, OPTION_READ_LOCK_AWARE = 702, LOOK_US = 200000, HEARD_US = 5 * SIM_SECOND_US, IDS_MAX = 256 };

struct storage_returns {
    struct sim_event leave; /* outside of any turn */
    struct sim_faults *faults;
    struct sim_process *process; /* away, or to go; NULL: nobody */
    int64_t away_us;
    bool left;
    uint64_t kept, cleaned, stayed, spared;
};

static void leave_fire(struct sim_event *event)
{
    struct storage_returns *state = container_of(event, struct storage_returns, leave);
    struct sim_faults *faults = state->faults;
    enum sim_stop how = fault_coin(faults) ? SIM_KILL : SIM_POWER_OFF;

    if (state->process->alive && fault_can_spare(faults, state->process))
        state->left = fault_keep_down(faults, state->process, how, state->away_us);
}

static void storage_returns_setup(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct storage_returns *state = run->state;

    state->faults = actor->client->cluster->faults;
    state->leave.fire = leave_fire;
}

/* The ids of the storage servers that are listed. False when the chaos has ended meanwhile. */
static bool read_listed(struct sim_actor *actor, uint64_t ids[IDS_MAX], size_t *ret_count)
{
    struct sim_transaction *transaction = sim_transaction_create(actor);
    const struct sim_pair *pairs;
    size_t count = 0;
    int error;

    sim_option(transaction, OPTION_READ_SYSTEM_KEYS);
    sim_option(transaction, OPTION_READ_LOCK_AWARE);
    do
        error = sim_get_range(transaction, KEY_SERVER_LIST_PREFIX, BYTES_LITERAL("\xff/serverList0"), IDS_MAX, &pairs, &count);
    while (error != 0 && sim_retry(transaction, error));
    *ret_count = 0;
    for (size_t i = 0; i < count && error == 0 && *ret_count < IDS_MAX; i++)
        *ret_count += system_key_parse_server_list(pairs[i].key, &ids[*ret_count]);
    sim_transaction_destroy(transaction);
    return error == 0 && !sim_actor_stopping(actor);
}

static bool hosts(const struct sim_process *process, uint64_t id)
{
    return sim_cluster_role_kinds(process) != 0 && worker_hosts(process->instance, ROLE_STORAGE, id);
}

/* A process with a storage server that is listed, and that server; false: none was found this time. */
static bool choose(struct sim_actor *actor, struct sim_process **ret_process, uint64_t *ret_id)
{
    struct sim_world *world = workload_world(actor);
    uint64_t ids[IDS_MAX];
    size_t count;

    if (!read_listed(actor, ids, &count) || count == 0)
        return false;
    *ret_id = ids[sim_actor_random(actor, count)];
    for (size_t i = 0; i < world->process_count; i++)
        if (hosts(world->processes[i], *ret_id)) {
            *ret_process = world->processes[i];
            return true;
        }
    return false;
}

static bool is_listed(struct sim_actor *actor, uint64_t id, bool *ret_listed)
{
    uint64_t ids[IDS_MAX];
    size_t count;

    if (!read_listed(actor, ids, &count))
        return false;
    *ret_listed = false;
    for (size_t i = 0; i < count; i++)
        *ret_listed |= ids[i] == id;
    return true;
}

/* Waits until the process hosts the server, or does not; false when the chaos ended first. */
static bool wait_for(struct sim_actor *actor, const struct sim_process *process, uint64_t id, bool hosted, int64_t patience_us)
{
    int64_t until_us = workload_world(actor)->now_us + patience_us;

    while (!process->alive || hosts(process, id) != hosted) {
        if (sim_actor_stopping(actor))
            return false;
        if (workload_world(actor)->now_us > until_us) {
            sim_world_fail(workload_world(actor), "StorageReturns: %s is back, and its server %016llx %s", process->name,
                           (unsigned long long)id, hosted ? "does not serve" : "was removed and has not ended");
            return false;
        }
        sim_actor_sleep(actor, LOOK_US);
    }
    return true;
}

/* The process's zone is under maintenance for so long from now on; 0: no more. */
static void announce(struct sim_actor *actor, const struct sim_process *process, int64_t us)
{
    struct sim_transaction *transaction = sim_transaction_create(actor);
    struct bytes_buffer value = {0};
    version_t version;
    char zone[16];
    int error;

    snprintf(zone, sizeof(zone), "m%u", sim_cluster_zone_of(process));
    sim_option(transaction, OPTION_ACCESS_SYSTEM_KEYS);
    do {
        value.len = 0;
        error = sim_read_version(transaction, &version);
        if (error == 0 && us == 0)
            sim_clear_range(transaction, KEY_HEALTHY_ZONE, BYTES_LITERAL("\xff/healthyZone\0"));
        else if (error == 0 && healthy_zone_write(&value, version + us, bytes_of_string(zone)) == 0)
            sim_set(transaction, KEY_HEALTHY_ZONE, bytes_buffer_bytes(&value));
        error = error != 0 ? error : sim_commit(transaction);
    } while (error != 0 && sim_retry(transaction, error));
    bytes_buffer_done(&value);
    sim_transaction_destroy(transaction);
}

static void judge_return(struct sim_actor *actor, struct sim_workload_run *run, enum absence absence, uint64_t id, bool listed)
{
    struct storage_returns *state = run->state;

    if (absence != LONG && !listed)
        sim_world_fail(workload_world(actor), "StorageReturns: server %016llx was away for %lld ms%s and was removed", (unsigned long long)id,
                       (long long)state->away_us / 1000, absence == ANNOUNCED ? ", as was announced," : "");
    else if (wait_for(actor, state->process, id, listed, 1000 * run->options[PATIENCE_MS]))
        (*(absence == SHORT ? &state->kept : absence == ANNOUNCED ? &state->spared : listed ? &state->stayed : &state->cleaned))++;
}

static void go_and_return(struct sim_actor *actor, struct sim_workload_run *run, enum absence absence)
{
    static const enum option lengths[ABSENCES] = {SHORT_MS, LONG_MS, ANNOUNCED_MS};
    struct storage_returns *state = run->state;
    bool listed = false;
    uint64_t id;

    state->left = false;
    state->away_us = 1000 * run->options[lengths[absence]];
    if (!choose(actor, &state->process, &id))
        return;
    if (absence == ANNOUNCED) {
        announce(actor, state->process, 2 * state->away_us);
        sim_actor_sleep(actor, HEARD_US);
    }
    sim_event_in(workload_world(actor), &state->leave, 0);
    sim_actor_sleep(actor, LOOK_US);
    if (!state->left)
        return;
    while (!state->process->alive && !sim_actor_stopping(actor))
        sim_actor_sleep(actor, LOOK_US);
    if (is_listed(actor, id, &listed))
        judge_return(actor, run, absence, id, listed);
    if (absence == ANNOUNCED && !sim_actor_stopping(actor))
        announce(actor, state->process, 0);
}

static void storage_returns_run(struct sim_actor *actor, struct sim_workload_run *run)
{
    for (unsigned round = 0; actor->index == 0 && !sim_actor_stopping(actor); round++) {
        go_and_return(actor, run, round % ABSENCES);
        sim_actor_sleep(actor, (int64_t)sim_actor_random(actor, 2000 * (uint64_t)run->options[PAUSE_MS] + 1));
    }
}

static void storage_returns_check(struct sim_actor *actor, struct sim_workload_run *run)
{
    const struct storage_returns *state = run->state;

    if (state->kept == 0 || state->cleaned == 0)
        sim_world_fail(workload_world(actor), "StorageReturns: %llu came back to their data, %llu were cleaned",
                       (unsigned long long)state->kept, (unsigned long long)state->cleaned);
    sim_world_show(workload_world(actor),
                   "servers away for %lld s kept their data %llu times; after %lld s %llu were cleaned, %llu were still listed; announced: %llu",
                   (long long)run->options[SHORT_MS] / 1000, (unsigned long long)state->kept, (long long)run->options[LONG_MS] / 1000,
                   (unsigned long long)state->cleaned, (unsigned long long)state->stayed, (unsigned long long)state->spared);
}

const struct sim_workload sim_workload_storage_returns = {
    .name = "StorageReturns",
    .what = "a storage server is back within the bound and keeps its data, or an hour later and is cleaned",
    .options = {{"actors", 1, 1, 1}, {"pause-ms", 10000, 0, 1000000}, {"short-ms", 4000, 0, 1000000}, {"long-ms", 3600000, 1000, 100000000},
                {"patience-ms", 30000, 1000, 1000000}, {"announced-ms", 60000, 1000, 1000000}},
    .state_bytes = sizeof(struct storage_returns),
    .setup = storage_returns_setup,
    .run = storage_returns_run,
    .check = storage_returns_check,
};
