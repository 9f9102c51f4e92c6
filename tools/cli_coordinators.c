/* coordinators: who they are, and a change of them while the cluster runs.
 *
 *   for each that is missing: join (at its process), add (at the leader); for each that is too much: remove (at the leader)
 *
 * Raft changes a member at a time, so that any two majorities in a row meet. Every step is done again after a failure: what is done
 * already is found done, for each begins by asking the leader who the members are. The controller tells servers and clients of the
 * new set, and they write it into their cluster files. */
#include <stdio.h>

#include "net/error.h"
#include "tools/cli_processes.h"
#include "tools/cli_shell.h"

enum { MEMBERS_MAX = OPERATOR_COORDINATORS_MAX, CALL_LIMIT_US = 10000000, PROBE_LIMIT_US = 1500000, TRIES = 40, PAUSE_US = 250000 };

struct change {
    struct address wanted[MEMBERS_MAX];
    uint32_t wanted_count;
    struct uid cluster_id;
    struct coordinator_member members[MEMBERS_MAX]; /* as the leader last said */
    uint32_t member_count;
    struct address leader;
};

static void forget_why(struct cli *cli)
{
    cli->session.why[0] = '\0';
}

static void wait_a_moment(struct cli *cli)
{
    int64_t end_us = env_now_us(cli->session.env) + PAUSE_US;

    while (env_now_us(cli->session.env) < end_us && !cli->session.interrupted)
        cli_session_idle(&cli->session);
}

/* ---- who they are ---- */

static int ask(struct cli *cli, struct address at, struct message **ret_reply)
{
    struct message *message;

    if (MESSAGE_NEW(get_leader, &message) == NULL)
        return ERROR_OUT_OF_MEMORY;
    return cli_session_call(&cli->session, (struct endpoint){at, ENDPOINT_COORDINATOR}, message, PROBE_LIMIT_US, ret_reply);
}

static bool take_leader(struct change *change, const struct get_leader_reply *reply)
{
    struct address leader = {reply->leader_address.ip, reply->leader_address.port};

    if (leader.port == 0 || reply->members_count == 0 || reply->members_count > MEMBERS_MAX)
        return false;
    change->leader = leader;
    change->cluster_id = (struct uid){reply->cluster_high, reply->cluster_low};
    memcpy(change->members, reply->members, reply->members_count * sizeof(change->members[0]));
    change->member_count = reply->members_count;
    return true;
}

/* From the leader's own mouth: the others may be behind. */
static bool find_leader(struct cli *cli, struct change *change)
{
    for (int tries = 0; tries < TRIES && !cli->session.interrupted; tries++) {
        struct address at[CLUSTER_FILE_COORDINATORS_MAX + MEMBERS_MAX];
        uint32_t count = cli->session.file.coordinator_count;

        memcpy(at, cli->session.file.coordinators, count * sizeof(at[0]));
        for (uint32_t i = 0; i < change->member_count; i++)
            at[count++] = (struct address){change->members[i].address.ip, change->members[i].address.port};
        for (uint32_t i = 0; i < count; i++) {
            struct message *reply;
            bool itself;

            if (ask(cli, at[i], &reply) != 0)
                continue;
            itself = take_leader(change, MESSAGE_BODY(get_leader_reply, reply)) && address_equal(change->leader, at[i]);
            message_unref(reply);
            if (itself)
                return true;
            if (change->leader.port != 0 && ask(cli, change->leader, &reply) == 0) {
                itself = take_leader(change, MESSAGE_BODY(get_leader_reply, reply));
                message_unref(reply);
                if (itself)
                    return true;
            }
        }
        wait_a_moment(cli);
    }
    cli_fail(cli, ERROR_TIMED_OUT, "no leader of the coordinators can be found; `status' says which do not answer");
    return false;
}

static bool is_wanted(const struct change *change, struct address address)
{
    for (uint32_t i = 0; i < change->wanted_count; i++)
        if (address_equal(change->wanted[i], address))
            return true;
    return false;
}

static bool is_member(const struct change *change, struct address address)
{
    for (uint32_t i = 0; i < change->member_count; i++)
        if (change->members[i].address.ip == address.ip && change->members[i].address.port == address.port)
            return true;
    return false;
}

/* ---- what is wanted ---- */

static bool read_addresses(struct cli *cli, const struct operator_processes *processes, struct change *change)
{
    char text[ADDRESS_TEXT_MAX];

    for (size_t i = 1; i < cli->word_count; i++) {
        struct address address;

        if (address_parse(cli->words[i], &address) != 0) {
            cli_fail(cli, ERROR_CLIENT_INVALID_OPERATION, "`%s' is not an address of the form IP:PORT", cli_show(cli, cli->words[i]));
            return false;
        }
        if (is_wanted(change, address) || change->wanted_count == MEMBERS_MAX) {
            cli_fail(cli, ERROR_CLIENT_INVALID_OPERATION, "%s: each address once, and at most %d", cli_show(cli, cli->words[i]), MEMBERS_MAX);
            return false;
        }
        if (operator_processes_at(processes, address) == NULL && !is_member(change, address)) {
            cli_fail(cli, ERROR_CLIENT_INVALID_OPERATION, "there is no process at %s that could be a coordinator: start one (quoind -p %s), "
                     "or name another; `status details' shows the addresses", address_print(address, text), text);
            return false;
        }
        change->wanted[change->wanted_count++] = address;
    }
    return true;
}

static bool choose(struct cli *cli, const struct operator_processes *processes, struct change *change)
{
    struct address present[MEMBERS_MAX];

    for (uint32_t i = 0; i < change->member_count; i++)
        present[i] = (struct address){change->members[i].address.ip, change->members[i].address.port};
    change->wanted_count = (uint32_t)operator_processes_coordinators(processes, present, change->member_count, change->wanted);
    if (change->wanted_count > 0)
        return true;
    cli_fail(cli, ERROR_CLIENT_INVALID_OPERATION, "no process may be a coordinator: all are excluded");
    return false;
}

/* ---- the change ---- */

/* All that is new must be there, before anything is changed. */
static bool can_be_reached(struct cli *cli, const struct change *change)
{
    for (uint32_t i = 0; i < change->wanted_count; i++) {
        struct endpoint at = {change->wanted[i], ENDPOINT_WORKER};
        struct message *message, *reply;
        char text[ADDRESS_TEXT_MAX];
        int error;

        (void)MESSAGE_NEW(get_worker_status, &message);
        error = message == NULL ? ERROR_OUT_OF_MEMORY : cli_session_call(&cli->session, at, message, PROBE_LIMIT_US, &reply);
        if (error == 0) {
            message_unref(reply);
            continue;
        }
        cli_fail(cli, error, "%s can't be reached: %s; nothing was changed", address_print(change->wanted[i], text), cli_unreachable(error));
        return false;
    }
    return true;
}

/* The process may wait as another member since a change that did not end: it is added as that one. */
static int join(struct cli *cli, const struct change *change, struct coordinator_member *member)
{
    struct endpoint at = {{member->address.ip, member->address.port}, ENDPOINT_WORKER};
    struct message *message, *reply;
    struct coordinator_join *m = MESSAGE_NEW(coordinator_join, &message);
    int error;

    if (m == NULL)
        return ERROR_OUT_OF_MEMORY;
    m->cluster_high = change->cluster_id.high;
    m->cluster_low = change->cluster_id.low;
    m->member = member->member;
    m->members = arena_alloc(&message->arena, change->member_count * sizeof(*m->members));
    if (m->members == NULL) {
        message_unref(message);
        return ERROR_OUT_OF_MEMORY;
    }
    memcpy(m->members, change->members, change->member_count * sizeof(*m->members));
    m->members_count = change->member_count;
    error = cli_session_call(&cli->session, at, message, CALL_LIMIT_US, &reply);
    if (error != 0)
        return error;
    member->member = MESSAGE_BODY(coordinator_join_reply, reply)->member;
    message_unref(reply);
    return member->member != 0 ? 0 : ERROR_OPERATION_FAILED;
}

static int change_one(struct cli *cli, const struct change *change, const struct coordinator_member *member, bool add)
{
    struct endpoint at = {change->leader, ENDPOINT_COORDINATOR};
    struct message *message, *reply;
    struct coordinator_change *m = MESSAGE_NEW(coordinator_change, &message);
    int error;

    if (m == NULL)
        return ERROR_OUT_OF_MEMORY;
    m->add = add;
    m->member = *member;
    error = cli_session_call(&cli->session, at, message, CALL_LIMIT_US, &reply);
    if (error == 0)
        message_unref(reply);
    return error;
}

static int add_one(struct cli *cli, const struct change *change, struct address address)
{
    struct coordinator_member member = {.address = {address.ip, address.port}};
    int error;

    do
        member.member = env_random(cli->session.env);
    while (member.member == 0);
    error = join(cli, change, &member);
    return error != 0 ? error : change_one(cli, change, &member, true);
}

/* The one to add, or else (none is missing, or there are as many as there can be) to remove; false: there is none. */
static bool next_step(const struct change *change, struct address *ret_add, const struct coordinator_member **ret_remove)
{
    *ret_remove = NULL;
    *ret_add = (struct address){0};
    for (uint32_t i = 0; i < change->wanted_count && ret_add->port == 0; i++)
        if (!is_member(change, change->wanted[i]))
            *ret_add = change->wanted[i];
    for (uint32_t i = 0; i < change->member_count; i++)
        if (!is_wanted(change, (struct address){change->members[i].address.ip, change->members[i].address.port}))
            *ret_remove = &change->members[i];
    if (ret_add->port != 0 && change->member_count < MEMBERS_MAX)
        *ret_remove = NULL;
    else
        *ret_add = (struct address){0};
    return ret_add->port != 0 || *ret_remove != NULL;
}

/* Until the leader says that the members are those that are wanted. */
static bool change_all(struct cli *cli, struct change *change)
{
    const struct coordinator_member *remove = NULL;
    char text[ADDRESS_TEXT_MAX];
    struct address add = {0};
    int error = 0;

    for (int tries = 0; tries < TRIES && !cli->session.interrupted; tries++) {
        if (!find_leader(cli, change))
            return false;
        if (!next_step(change, &add, &remove))
            return true;
        if (remove != NULL)
            add = (struct address){remove->address.ip, remove->address.port};
        error = remove != NULL ? change_one(cli, change, remove, false) : add_one(cli, change, add);
        forget_why(cli);
        if (error == 0)
            cli_say(cli, "  %s is %s\n", address_print(add, text), remove != NULL ? "no coordinator any more" : "a coordinator");
        else
            wait_a_moment(cli);
    }
    cli_fail(cli, error, "%s could not be %s: %s; the same command goes on from here", address_print(add, text),
             remove != NULL ? "removed" : "added", cli_unreachable(error));
    return false;
}

static void rewrite_file(struct cli *cli, const struct change *change)
{
    int error = cluster_file_update(cli->session.path, change->wanted, change->wanted_count);

    memcpy(cli->session.file.coordinators, change->wanted, change->wanted_count * sizeof(change->wanted[0]));
    cli->session.file.coordinator_count = change->wanted_count;
    if (error != 0)
        cli_fail(cli, error, "the coordinators are changed, but %s can't be written: write them into it by hand", cli->session.path);
}

static void show(struct cli *cli, const struct change *change)
{
    json_t *list = json_array();
    char text[ADDRESS_TEXT_MAX];

    cli_say(cli, "Cluster coordinators (%u): ", change->member_count);
    for (uint32_t i = 0; i < change->member_count; i++) {
        address_print((struct address){change->members[i].address.ip, change->members[i].address.port}, text);
        cli_say(cli, "%s%s", i == 0 ? "" : ",", text);
        (void)json_array_append_new(list, json_string(text));
    }
    cli_say(cli, "\nType `help coordinators' to learn how to change this information.\n");
    cli_result(cli, "coordinators", list);
}

static void change(struct cli *cli, struct change *change)
{
    struct operator_processes processes;
    json_t *document = cli_processes_now(cli, &processes);

    if (document == NULL)
        return;
    if ((cli_word_is(cli, 1, "auto") && cli->word_count == 2 ? choose(cli, &processes, change)
                                                             : read_addresses(cli, &processes, change)) &&
        can_be_reached(cli, change) && change_all(cli, change)) {
        rewrite_file(cli, change);
        if (cli->error == 0)
            cli_say(cli, "Coordination state changed\n");
        show(cli, change);
    }
    json_decref(document);
}

void cli_coordinators(struct cli *cli)
{
    struct change found = {.wanted_count = 0};

    if (cli->session.embedded != NULL) {
        cli_fail(cli, ERROR_CLIENT_INVALID_OPERATION, "a cluster in this process has one coordinator, itself");
        return;
    }
    if (!find_leader(cli, &found))
        return;
    if (cli->word_count == 1)
        show(cli, &found);
    else
        change(cli, &found);
}
