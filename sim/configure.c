/* `configure new` as an actor: step one makes every coordinator a member, step two asks the controller for a database. */
#include <assert.h>

#include "net/error.h"
#include "sim/cluster.h"
#include "txn/messages.h"

enum { STEP_TIMEOUT_US = 2000000, STEP_PAUSE_US = 100000 };

static struct message *create_request(struct sim_cluster *cluster, struct uid cluster_id)
{
    struct message *message;
    struct coordinator_create *create = MESSAGE_NEW(coordinator_create, &message);

    assert(create != NULL);
    create->cluster_high = cluster_id.high;
    create->cluster_low = cluster_id.low;
    create->members_count = (uint32_t)cluster->coordinator_count;
    create->members = arena_zalloc(&message->arena, cluster->coordinator_count * sizeof(create->members[0]));
    for (size_t i = 0; i < cluster->coordinator_count; i++) {
        create->members[i].member = i + 1;
        create->members[i].address =
            (struct wire_address){cluster->coordinators[i].ip, cluster->coordinators[i].port};
    }
    return message;
}

/* Until this coordinator says yes. */
static void make_member(struct sim_actor *actor, size_t index, struct uid cluster_id)
{
    struct sim_cluster *cluster = actor->client->cluster;
    struct endpoint to = {cluster->coordinators[index], ENDPOINT_COORDINATOR};
    bool accepted = false;

    while (!accepted) {
        struct message *reply;
        int error = sim_actor_call(actor, &to, create_request(cluster, cluster_id), STEP_TIMEOUT_US, &reply);

        if (error == 0) {
            accepted = MESSAGE_BODY(coordinator_create_reply, reply)->accepted;
            message_unref(reply);
        }
        if (error == 0 && !accepted)
            sim_world_fail(actor->client->world, "an empty coordinator refused its record");
        if (!accepted)
            sim_actor_sleep(actor, STEP_PAUSE_US);
    }
}

bool sim_find_leader(struct sim_actor *actor, size_t index, struct address *ret_leader)
{
    struct endpoint to = {actor->client->cluster->coordinators[index], ENDPOINT_COORDINATOR};
    const struct get_leader_reply *answer;
    struct message *message, *reply;

    MESSAGE_NEW(get_leader, &message);
    if (sim_actor_call(actor, &to, message, STEP_TIMEOUT_US, &reply) != 0)
        return false;
    answer = MESSAGE_BODY(get_leader_reply, reply);
    *ret_leader = (struct address){answer->leader_address.ip, answer->leader_address.port};
    message_unref(reply);
    return ret_leader->port != 0;
}

static int create_database(struct sim_actor *actor, struct address leader)
{
    struct endpoint to = {leader, ENDPOINT_CONTROLLER};
    struct message *message, *reply;
    struct create_database *create = MESSAGE_NEW(create_database, &message);
    int error;

    create->redundancy = actor->client->cluster->redundancy;
    create->engine = actor->client->cluster->engine;
    error = sim_actor_call(actor, &to, message, 30 * SIM_SECOND_US, &reply);
    if (error == 0)
        message_unref(reply);
    return error;
}

void sim_cluster_configure(struct sim_actor *actor, void *arg)
{
    struct sim_cluster *cluster = arg;
    struct uid cluster_id = {sim_actor_random(actor, UINT64_MAX), sim_actor_random(actor, UINT64_MAX)};
    struct address leader;

    for (size_t i = 0; i < cluster->coordinator_count; i++)
        make_member(actor, i, cluster_id);
    for (size_t i = 0;; i++) {
        if (sim_find_leader(actor, i % cluster->coordinator_count, &leader)) {
            int error = create_database(actor, leader);

            sim_say(cluster->world, actor->client->process, "create database: %s", error_name(error));
            if (error == 0 || error == ERROR_CLIENT_INVALID_OPERATION)
                return;
        }
        sim_actor_sleep(actor, STEP_PAUSE_US);
    }
}
