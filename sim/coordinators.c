/* An operator who puts another coordinator in the place of one: one more, and then one of the first ones less. */
#include <assert.h>

#include "sim/cluster.h"

enum { ASK_US = 10 * SIM_SECOND_US, IMPATIENT_US = 2000, SETTLE_TRIES = 60 };

/* ---- asking ---- */

static struct address leader_of(const struct get_leader_reply *reply)
{
    return (struct address){reply->leader_address.ip, reply->leader_address.port};
}

/* Whom the coordinator at `at` names, and then what that one says of itself; false: it is not the leader. */
static bool ask_leader(struct sim_actor *actor, struct address at, struct address *ret_leader, struct message **ret_reply)
{
    for (int hop = 0; hop < 2; hop++) {
        struct message *message, *reply;
        struct address leader;

        MESSAGE_NEW(get_leader, &message);
        if (sim_actor_call(actor, &(struct endpoint){at, ENDPOINT_COORDINATOR}, message, 2 * SIM_SECOND_US, &reply) != 0)
            return false;
        leader = leader_of(MESSAGE_BODY(get_leader_reply, reply));
        if (leader.port != 0 && address_equal(leader, at)) {
            *ret_leader = leader;
            *ret_reply = reply;
            return true;
        }
        message_unref(reply);
        if (leader.port == 0)
            return false;
        at = leader;
    }
    return false;
}

/* `newest`: one that may be a coordinator by now, too. */
static bool find_members(struct sim_actor *actor, struct address newest, struct address *ret_leader, struct message **ret_reply)
{
    const struct sim_cluster *cluster = actor->client->cluster;

    for (size_t i = 0; i < cluster->coordinator_count; i++)
        if (ask_leader(actor, cluster->coordinators[i], ret_leader, ret_reply))
            return true;
    return ask_leader(actor, newest, ret_leader, ret_reply);
}

static bool has_member(const struct get_leader_reply *reply, struct address address, uint64_t *ret_member)
{
    for (uint32_t i = 0; i < reply->members_count; i++)
        if (reply->members[i].address.ip == address.ip) {
            *ret_member = reply->members[i].member;
            return true;
        }
    return false;
}

static int ask_join(struct sim_actor *actor, const struct get_leader_reply *reply, struct coordinator_member *member)
{
    struct endpoint to = {{member->address.ip, member->address.port}, ENDPOINT_WORKER};
    struct message *message, *answer = NULL;
    struct coordinator_join *m = MESSAGE_NEW(coordinator_join, &message);
    int error;

    *m = (struct coordinator_join){reply->cluster_high, reply->cluster_low, member->member, NULL, reply->members_count};
    m->members = arena_zalloc(&message->arena, reply->members_count * sizeof(*m->members));
    memcpy(m->members, reply->members, reply->members_count * sizeof(*m->members));
    error = sim_actor_call(actor, &to, message, 5 * SIM_SECOND_US, &answer);
    if (error == 0)
        member->member = MESSAGE_BODY(coordinator_join_reply, answer)->member;
    message_unref(answer);
    return error;
}

static void ask_change(struct sim_actor *actor, struct address leader, bool add, const struct coordinator_member *member,
                       int64_t timeout_us)
{
    struct message *message, *answer = NULL;
    struct coordinator_change *m = MESSAGE_NEW(coordinator_change, &message);

    m->add = add;
    m->member = *member;
    (void)sim_actor_call(actor, &(struct endpoint){leader, ENDPOINT_COORDINATOR}, message, timeout_us, &answer);
    message_unref(answer); /* whatever it says: the members are asked for */
}

/* One step: true when the member is there (added), or is not any more. */
static bool step(struct sim_actor *actor, bool add, struct address address, struct address newest)
{
    struct coordinator_member member = {.address = {address.ip, address.port}};
    struct message *reply;
    struct address leader;
    bool there;

    if (!find_members(actor, newest, &leader, &reply))
        return false;
    there = has_member(MESSAGE_BODY(get_leader_reply, reply), address, &member.member);
    if (there != add) {
        if (add)
            member.member = 1 + sim_actor_random(actor, UINT64_MAX - 1);
        if (!add || ask_join(actor, MESSAGE_BODY(get_leader_reply, reply), &member) == 0)
            ask_change(actor, leader, add, &member, ASK_US);
    }
    message_unref(reply);
    return there == add;
}

/* Two operators at once, who each want another one to go. At most one change may be under way at any time. */
static void remove_two(struct sim_actor *actor, struct address one, struct address other)
{
    struct coordinator_member members[2] = {{.address = {one.ip, one.port}}, {.address = {other.ip, other.port}}};
    struct message *reply;
    struct address leader;

    if (!find_members(actor, other, &leader, &reply))
        return;
    if (has_member(MESSAGE_BODY(get_leader_reply, reply), one, &members[0].member) &&
        has_member(MESSAGE_BODY(get_leader_reply, reply), other, &members[1].member)) {
        ask_change(actor, leader, false, &members[0], 1 + (int64_t)sim_actor_random(actor, IMPATIENT_US));
        ask_change(actor, leader, false, &members[1], ASK_US);
    }
    message_unref(reply);
}

/* All of them live, so that any two may go for a moment. */
static bool all_live(const struct sim_cluster *cluster)
{
    bool live = true;

    for (size_t i = 0; i < cluster->world->process_count; i++) {
        const struct sim_process *process = cluster->world->processes[i];

        live = live && (!process->coordinator || (process->alive && !process->given_up && !process->damaged));
    }
    return live;
}

/* ---- a replacement ---- */

bool sim_cluster_may_join(const struct sim_cluster *cluster, const struct sim_process *process)
{
    return cluster->joining == NULL && process->server && !process->coordinator && process->alive && !process->given_up && !process->damaged;
}

void sim_replacement_begin(struct sim_replacement *replacement, struct sim_cluster *cluster, struct sim_process *process, size_t leaves)
{
    assert(sim_cluster_may_join(cluster, process) && leaves < cluster->coordinator_count);
    process->coordinator = true; /* from here on it may count, and what it promises must not be lost */
    cluster->joining = replacement->joins = process;
    replacement->joined = false;
    replacement->leaves = leaves;
}

bool sim_replace_coordinator(struct sim_actor *actor, struct sim_replacement *replacement, int tries)
{
    struct sim_cluster *cluster = actor->client->cluster;
    struct sim_process *process = replacement->joins;
    struct address leaves = cluster->coordinators[replacement->leaves];

    for (; tries > 0 && process != NULL; tries--) {
        if (tries > SETTLE_TRIES && replacement->joined && !replacement->two && all_live(cluster)) {
            replacement->two = true;
            remove_two(actor, leaves, process->address);
            replacement->joined = false; /* or it is: that is found out now */
        }
        if (step(actor, !replacement->joined, replacement->joined ? leaves : process->address, process->address)) {
            if (replacement->joined)
                break;
            replacement->joined = true;
        } else {
            sim_actor_sleep(actor, SIM_SECOND_US / 2);
        }
    }
    if (tries == 0)
        return process == NULL;
    if (process != NULL) {
        cluster->coordinators[replacement->leaves] = process->address; /* as cluster files say now */
        cluster->joining = replacement->joins = NULL;
        replacement->count++;
    }
    return true;
}

void sim_cluster_replace_coordinator(struct sim_actor *actor, void *arg)
{
    struct sim_cluster *cluster = arg;

    while (!sim_replace_coordinator(actor, &cluster->replacement, SETTLE_TRIES))
        ;
}
