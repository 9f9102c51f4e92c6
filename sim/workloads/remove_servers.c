/* RemoveServersSafely: storage servers are excluded, and drained by the data distributor, and come back empty when they are included.
 *
 * One actor, one server (or, with the option zone, all of a zone) at a time, and only while the other servers' zones suffice. A drained server is one that no shard names; by then
 * it may be taken away (its process is killed at times, for good measure). The other workloads and the comparison of replicas say
 * whether the data came along; a server that is drained must not be named again before it is included. The check, when nothing fails any more, excludes once more, and
 * that must be drained. */
#include "sim/cluster.h"
#include "sim/workloads/values.h"
#include "txn/key_servers.h"
#include "txn/operator_keys.h"
#include "txn/system_keys.h"

enum option { ACTORS, PAUSE_MS, PATIENCE_MS, ZONE };
enum { OPTION_ACCESS_SYSTEM_KEYS = 301, OPTION_LOCK_AWARE = 700, LOOK_US = 500000, LAST_PATIENCE_US = 90000000, SERVERS_MAX = 64, CHOSEN_MAX = 8, RANGE_LIMIT = 1000 };

struct remove_servers {
    uint64_t excluded, drained, patience_ended;
};

/* Who is excluded together: one server, or all of a zone. */
struct chosen {
    uint64_t ids[CHOSEN_MAX];
    struct address addresses[CHOSEN_MAX];
    size_t count; /* 0: none can be spared */
};

static void remove_servers_setup(struct sim_actor *actor, struct sim_workload_run *run)
{
    (void)actor;
    (void)run;
}

static struct sim_transaction *begin(struct sim_actor *actor)
{
    struct sim_transaction *transaction = sim_transaction_create(actor);

    sim_option(transaction, OPTION_ACCESS_SYSTEM_KEYS);
    sim_option(transaction, OPTION_LOCK_AWARE);
    return transaction;
}

static bool zone_is_new(const struct server_value *servers, size_t count, struct bytes zone)
{
    for (size_t i = 0; i < count; i++)
        if (bytes_equal(servers[i].zone, zone))
            return false;
    return true;
}

static struct address address_of(const struct server_value *server)
{
    return (struct address){server->endpoint.address.ip, server->endpoint.address.port};
}

/* How many zones are left without those. */
static unsigned zones_without(const struct server_value *servers, size_t count, const struct chosen *chosen)
{
    struct server_value others[SERVERS_MAX];
    size_t other_count = 0;
    unsigned zones = 0;

    for (size_t i = 0; i < count; i++) {
        bool goes = false;

        for (size_t k = 0; k < chosen->count; k++)
            goes |= address_equal(address_of(&servers[i]), chosen->addresses[k]);
        if (goes)
            continue;
        zones += zone_is_new(others, other_count, servers[i].zone);
        others[other_count++] = servers[i];
    }
    return zones;
}

static void pick(struct sim_actor *actor, bool zone, const struct sim_pair *pairs, size_t pair_count, struct chosen *ret)
{
    struct server_value servers[SERVERS_MAX];
    uint64_t ids[SERVERS_MAX];
    struct arena arena = {0};
    size_t count = 0, at;

    for (size_t i = 0; i < pair_count && count < SERVERS_MAX; i++)
        if (system_key_parse_server_list(pairs[i].key, &ids[count]) &&
            message_decode(&schema_server_value, pairs[i].value, &arena, &servers[count]) == 0)
            count++;
    *ret = (struct chosen){0};
    at = count == 0 ? 0 : sim_actor_random(actor, count);
    for (size_t i = 0; i < count && ret->count < CHOSEN_MAX; i++)
        if (i == at || (zone && bytes_equal(servers[i].zone, servers[at].zone))) {
            ret->ids[ret->count] = ids[i];
            ret->addresses[ret->count++] = address_of(&servers[i]);
        }
    if (zones_without(servers, count, ret) < actor->client->cluster->redundancy)
        ret->count = 0;
    arena_done(&arena);
}

/* Whoever lives on after the chaos must not be counted on for roles while it is excluded. */
static void note_excluded(struct sim_actor *actor, const struct chosen *chosen, bool excluded)
{
    const struct sim_world *world = workload_world(actor);

    for (size_t i = 0; i < world->process_count; i++)
        for (size_t k = 0; k < chosen->count; k++)
            if (address_equal(world->processes[i]->address, chosen->addresses[k]))
                world->processes[i]->excluded = excluded;
}

static int write_exclusion(struct sim_transaction *transaction, struct address address, bool include)
{
    struct bytes_buffer key = {0};
    struct arena arena = {0};
    struct bytes after;
    int error = exclusion_key(&key, address, false);

    if (error == 0 && include)
        error = key_after(&arena, bytes_buffer_bytes(&key), &after);
    if (error == 0 && include)
        sim_clear_range(transaction, bytes_buffer_bytes(&key), after);
    else if (error == 0)
        sim_set(transaction, bytes_buffer_bytes(&key), bytes_none());
    bytes_buffer_done(&key);
    arena_done(&arena);
    return error;
}

/* Excludes some, or (include) takes the exclusion back. Those alone: the fate of a commit may be unknown, and the next try is for the same. */
static bool set_exclusion(struct sim_actor *actor, bool zone, bool include, struct chosen *chosen)
{
    struct sim_transaction *transaction = begin(actor);
    const struct sim_pair *pairs;
    size_t count;
    int error;

    do {
        error = 0;
        if (!include && chosen->count == 0) {
            error = sim_get_range(transaction, KEY_SERVER_LIST_PREFIX, BYTES_LITERAL("\xff/serverList0"), RANGE_LIMIT, &pairs, &count);
            if (error == 0)
                pick(actor, zone, pairs, count, chosen);
            note_excluded(actor, chosen, true);
        }
        for (size_t i = 0; i < chosen->count && error == 0; i++)
            error = write_exclusion(transaction, chosen->addresses[i], include);
        if (error == 0 && chosen->count > 0)
            error = sim_commit(transaction);
    } while (error != 0 && sim_retry(transaction, error));
    sim_transaction_destroy(transaction);
    if (error == 0 && include)
        note_excluded(actor, chosen, false);
    return error == 0;
}

static bool is_one(const struct chosen *chosen, uint64_t id)
{
    for (size_t i = 0; i < chosen->count; i++)
        if (chosen->ids[i] == id)
            return true;
    return false;
}

static bool names(struct bytes packed, const struct chosen *chosen)
{
    struct arena arena = {0};
    struct key_servers_value value;
    bool found = false;

    if (key_servers_decode(packed, &arena, &value) == 0) {
        for (uint32_t i = 0; i < value.source_count; i++)
            found |= is_one(chosen, value.source[i]);
        for (uint32_t i = 0; i < value.destination_count; i++)
            found |= is_one(chosen, value.destination[i]);
    }
    arena_done(&arena);
    return found;
}

/* True when no shard names any of them. */
static bool is_drained(struct sim_actor *actor, const struct chosen *chosen)
{
    struct sim_transaction *transaction = begin(actor);
    const struct sim_pair *pairs;
    size_t count = 0;
    bool named = false;
    int error;

    do
        error = sim_get_range(transaction, KEY_KEY_SERVERS_PREFIX, BYTES_LITERAL("\xff/keyServers0"), RANGE_LIMIT, &pairs, &count);
    while (error != 0 && sim_retry(transaction, error));
    for (size_t i = 0; i < count && error == 0; i++)
        named |= names(pairs[i].value, chosen);
    sim_transaction_destroy(transaction);
    return error == 0 && !named;
}

static bool wait_for_drain(struct sim_actor *actor, struct sim_workload_run *run, const struct chosen *chosen)
{
    int64_t left_us = 1000 * run->options[PATIENCE_MS];

    while (left_us > 0 && !sim_actor_stopping(actor)) {
        if (is_drained(actor, chosen))
            return true;
        sim_actor_sleep(actor, LOOK_US);
        left_us -= LOOK_US;
    }
    return false;
}

static void remove_servers_run(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct remove_servers *state = run->state;
    bool zone = run->options[ZONE] != 0;

    if (actor->index != 0)
        return;
    while (!sim_actor_stopping(actor)) {
        struct chosen chosen = {0};

        sim_actor_sleep(actor, (int64_t)sim_actor_random(actor, 2000 * (uint64_t)run->options[PAUSE_MS] + 1));
        if (sim_actor_stopping(actor) || !set_exclusion(actor, zone, false, &chosen) || chosen.count == 0)
            continue;
        state->excluded++;
        if (wait_for_drain(actor, run, &chosen)) {
            state->drained++;
            sim_actor_sleep(actor, (int64_t)sim_actor_random(actor, 1000 * (uint64_t)run->options[PAUSE_MS] + 1));
            if (!is_drained(actor, &chosen) && !sim_actor_stopping(actor))
                sim_world_fail(workload_world(actor), "RemoveServersSafely: a shard names a server that is excluded and was drained");
        } else if (!sim_actor_stopping(actor))
            state->patience_ended++;
        if (!set_exclusion(actor, zone, true, &chosen))
            sim_world_fail(workload_world(actor), "RemoveServersSafely: a server could not be included again");
    }
}

static bool all_may_live(const struct sim_world *world)
{
    for (size_t i = 0; i < world->process_count; i++)
        if (world->processes[i]->given_up)
            return false;
    return true;
}

/* Nothing fails any more and all are back: whoever is excluded now must be drained, whatever has become of those before. They stay excluded: what
 * is compared afterwards is at rest. */
static void drain_at_last(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct sim_world *world = workload_world(actor);
    struct chosen chosen = {0};

    if (!all_may_live(world))
        return; /* there may be nobody to take their copies */
    if (!set_exclusion(actor, run->options[ZONE] != 0, false, &chosen))
        sim_world_fail(world, "RemoveServersSafely: nothing could be excluded after the heal");
    for (int64_t waited_us = 0; chosen.count > 0 && !is_drained(actor, &chosen); waited_us += LOOK_US) {
        if (waited_us >= LAST_PATIENCE_US) {
            sim_world_fail(world, "RemoveServersSafely: what was excluded after the heal was not drained");
            return;
        }
        sim_actor_sleep(actor, LOOK_US);
    }
}

static void remove_servers_check(struct sim_actor *actor, struct sim_workload_run *run)
{
    const struct remove_servers *state = run->state;

    drain_at_last(actor, run);
    sim_say(workload_world(actor), actor->client->process, "RemoveServersSafely: %llu excluded, %llu drained, %llu not in time",
            (unsigned long long)state->excluded, (unsigned long long)state->drained, (unsigned long long)state->patience_ended);
}

const struct sim_workload sim_workload_remove_servers = {
    .name = "RemoveServersSafely",
    .what = "an excluded storage server is drained, and comes back empty when it is included",
    .options = {{"actors", 1, 1, 1}, {"pause-ms", 2000, 0, 100000}, {"patience-ms", 60000, 1000, 1000000}, {"zone", 0, 0, 1}},
    .state_bytes = sizeof(struct remove_servers),
    .setup = remove_servers_setup,
    .run = remove_servers_run,
    .check = remove_servers_check,
};
