/* `configure new` as an actor, through the client library; and how a checker finds the leader without it. */
#include <assert.h>

#include "net/error.h"
#include "sim/cluster.h"
#include "sim/transaction.h"
#include "txn/messages.h"
#include "txn/operator_keys.h"
#include "txn/system_keys.h"

enum { ASK_TIMEOUT_US = 2000000, OPTION_ACCESS_SYSTEM_KEYS = 301, OPTION_LOCK_AWARE = 700 };

bool sim_find_leader(struct sim_actor *actor, size_t index, struct address *ret_leader)
{
    struct endpoint to = {actor->client->cluster->coordinators[index], ENDPOINT_COORDINATOR};
    const struct get_leader_reply *answer;
    struct message *message, *reply;

    MESSAGE_NEW(get_leader, &message);
    if (sim_actor_call(actor, &to, message, ASK_TIMEOUT_US, &reply) != 0)
        return false;
    answer = MESSAGE_BODY(get_leader_reply, reply);
    *ret_leader = (struct address){answer->leader_address.ip, answer->leader_address.port};
    message_unref(reply);
    return ret_leader->port != 0;
}

static void set_number(struct sim_transaction *transaction, struct bytes key, unsigned number)
{
    char digit = (char)('0' + number);

    assert(number <= 9);
    if (number > 0)
        sim_set(transaction, key, bytes_of(&digit, 1));
}

static void set_at_random(struct sim_actor *actor, struct sim_transaction *transaction, struct bytes key, unsigned most)
{
    set_number(transaction, key, 1 + (unsigned)sim_actor_random(actor, most));
}

static void configure_roles(struct sim_actor *actor, const struct sim_cluster *cluster)
{
    struct sim_transaction *transaction = sim_transaction_create(actor);
    int error;

    sim_option(transaction, OPTION_ACCESS_SYSTEM_KEYS);
    do {
        set_number(transaction, KEY_CONF_COMMIT_PROXIES, cluster->commit_proxies);
        set_number(transaction, KEY_CONF_GRV_PROXIES, cluster->grv_proxies);
        set_number(transaction, KEY_CONF_RESOLVERS, cluster->resolvers);
        error = sim_commit(transaction);
    } while (error != 0 && sim_retry(transaction, error));
    if (error != 0)
        sim_world_fail(cluster->world, "the numbers of roles: %s", error_name(error));
    sim_transaction_destroy(transaction);
}

void sim_cluster_configure(struct sim_actor *actor, void *arg)
{
    struct sim_cluster *cluster = arg;
    int error = sim_configure_new(actor, cluster->redundancy, cluster->engine);

    if (error != 0)
        sim_world_fail(cluster->world, "configure new: %s", error_name(error));
    else if (cluster->commit_proxies + cluster->grv_proxies + cluster->resolvers > 0)
        configure_roles(actor, cluster);
}

void sim_cluster_reconfigure(struct sim_actor *actor, void *arg)
{
    struct sim_transaction *transaction = sim_transaction_create(actor);
    struct sim_cluster *cluster = arg;
    int error;

    sim_option(transaction, OPTION_ACCESS_SYSTEM_KEYS);
    sim_option(transaction, OPTION_LOCK_AWARE);
    do {
        set_at_random(actor, transaction, KEY_CONF_LOGS, 5);
        set_at_random(actor, transaction, KEY_CONF_COMMIT_PROXIES, 3);
        set_at_random(actor, transaction, KEY_CONF_GRV_PROXIES, 3);
        set_at_random(actor, transaction, KEY_CONF_RESOLVERS, 3);
        error = sim_commit(transaction);
    } while (error != 0 && sim_retry(transaction, error));
    if (error != 0)
        sim_world_fail(cluster->world, "another configuration: %s", error_name(error));
    sim_transaction_destroy(transaction);
}

/* ---- exclusions ---- */

/* Coordinators stay, so that there is always somebody for the stateless roles. */
bool sim_cluster_may_exclude(const struct sim_cluster *cluster, const struct sim_process *process)
{
    struct sim_machines zones = {0};

    if (!process->server || process->coordinator || process == cluster->joining || process->given_up || process->excluded)
        return false;
    for (size_t i = 0; i < cluster->world->process_count; i++) {
        const struct sim_process *other = cluster->world->processes[i];

        if (other->server && other != process && !other->damaged && !other->given_up && !other->excluded &&
            process_class_may_host(sim_cluster_class_of(other), ROLE_LOG))
            machines_add(&zones, sim_cluster_zone_of(other));
    }
    return machines_count(&zones) >= cluster->redundancy;
}

static int exclusion_keys(const struct sim_process *process, struct bytes_buffer *key, struct bytes_buffer *end)
{
    int error = exclusion_key(key, process->address, false);

    if (error == 0)
        error = bytes_buffer_append(end, bytes_buffer_bytes(key));
    return error == 0 ? bytes_buffer_append(end, BYTES_LITERAL("\0")) : error;
}

void sim_exclude(struct sim_actor *actor, struct sim_process *process, bool excluded)
{
    struct sim_transaction *transaction = sim_transaction_create(actor);
    struct bytes_buffer key = {0}, end = {0};
    int error = exclusion_keys(process, &key, &end);

    assert(error == 0);
    process->excluded = true; /* before the commit, and until the other: their fate may stay unknown for long */
    sim_option(transaction, OPTION_ACCESS_SYSTEM_KEYS);
    sim_option(transaction, OPTION_LOCK_AWARE);
    do {
        if (excluded)
            sim_set(transaction, bytes_buffer_bytes(&key), bytes_none());
        else
            sim_clear_range(transaction, bytes_buffer_bytes(&key), bytes_buffer_bytes(&end));
        error = sim_commit(transaction);
    } while (error != 0 && sim_retry(transaction, error));
    process->excluded = excluded;
    if (error != 0)
        sim_world_fail(actor->client->cluster->world, "an exclusion: %s", error_name(error));
    bytes_buffer_done(&key);
    bytes_buffer_done(&end);
    sim_transaction_destroy(transaction);
}

void sim_cluster_exclude(struct sim_actor *actor, void *arg)
{
    struct sim_cluster *cluster = arg;

    sim_exclude(actor, cluster->out, true);
    sim_actor_sleep(actor, cluster->out_us);
    sim_exclude(actor, cluster->out, false);
}
