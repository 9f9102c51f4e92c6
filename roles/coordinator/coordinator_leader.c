/* Who leads? A long poll: answered once the leader is known and is another than the caller knows.
 *
 * A follower's word is what Raft knows; of ourselves we say it only when the no-op of our term has committed, for before that
 * the controller, whom everybody looks for, does not run. */
#include <assert.h>

#include "net/buggify.h"
#include "net/error.h"
#include "roles/coordinator/coordinator_internal.h"

/* 0: not known. */
static uint64_t known_leader(const struct coordinator *coordinator, uint64_t *ret_term, struct address *ret_address)
{
    struct raft_status status;

    *ret_term = 0;
    *ret_address = (struct address){0};
    if (coordinator->raft == NULL || coordinator->failed != 0)
        return 0;
    raft_status(coordinator->raft, &status);
    *ret_term = status.term;
    if (status.leader_id == status.id && coordinator->leading_term == 0) {
        PROBE(coordinator->env, "a leader does not name itself before an entry of its own term has committed");
        return 0;
    }
    if (status.leader_id == 0 || !peers_address(coordinator, status.leader_id, ret_address))
        return 0;
    return status.leader_id;
}

static void fill_members(const struct coordinator *coordinator, struct arena *arena, struct get_leader_reply *m)
{
    const struct raft_configuration *configuration;
    struct address address;

    if (coordinator->raft == NULL)
        return;
    configuration = raft_configuration(coordinator->raft);
    m->members = arena_zalloc(arena, (configuration->count + 1) * sizeof(*m->members));
    if (m->members == NULL)
        return;
    for (uint32_t i = 0; i < configuration->count; i++) {
        if (!peers_address(coordinator, configuration->members[i].id, &address))
            continue;
        m->members[m->members_count++] =
            (struct coordinator_member){configuration->members[i].id, {address.ip, address.port}};
    }
}

void leader_answer(struct coordinator *coordinator, struct rpc_request *request)
{
    const struct coordinator_record *record = coordinator_record(coordinator);
    struct message *reply;
    struct get_leader_reply *m = MESSAGE_NEW(get_leader_reply, &reply);
    struct address address;

    if (m == NULL) {
        rpc_fail(request, ERROR_OUT_OF_MEMORY);
        return;
    }
    m->leader_member = known_leader(coordinator, &m->term, &address);
    m->leader_address = (struct wire_address){address.ip, address.port};
    if (record != NULL && coordinator->raft != NULL) {
        m->cluster_high = record->cluster_high;
        m->cluster_low = record->cluster_low;
    }
    fill_members(coordinator, &reply->arena, m);
    rpc_reply(request, reply);
}

static bool is_news(const struct coordinator *coordinator, const struct rpc_request *request)
{
    const struct get_leader *m = MESSAGE_BODY(get_leader, request->message);
    struct address address;
    uint64_t term, leader = known_leader(coordinator, &term, &address);

    return leader != 0 && (leader != m->known_member || term != m->known_term);
}

void leader_request(struct coordinator *coordinator, struct rpc_request *request)
{
    const struct get_leader *m = MESSAGE_BODY(get_leader, request->message);
    int64_t wait_us = m->wait_us > LEADER_WAIT_US_MAX ? LEADER_WAIT_US_MAX : m->wait_us;

    if (wait_us <= 0 || coordinator->failed != 0 || is_news(coordinator, request) ||
        BUGGIFY(coordinator->env, "who asks for the leader is answered before there is news"))
        leader_answer(coordinator, request);
    else if (BUGGIFY_ONE_IN(coordinator->env, 16, "too many wait to hear of a leader"))
        rpc_fail(request, ERROR_SERVER_REQUEST_QUEUE_FULL);
    else if (waiter_add(coordinator, &coordinator->leader_waiters, LEADER_WAITERS_MAX, request,
                        env_now_us(coordinator->env) + wait_us) == NULL)
        rpc_fail(request, ERROR_SERVER_REQUEST_QUEUE_FULL);
}

void leader_look(struct coordinator *coordinator)
{
    struct address address;
    uint64_t term, leader = known_leader(coordinator, &term, &address);

    if (leader == coordinator->shown_leader && term == coordinator->shown_term)
        return;
    coordinator->shown_leader = leader;
    coordinator->shown_term = term;
    list_each(node, after, &coordinator->leader_waiters.list) {
        struct waiter *waiter = list_entry(node, struct waiter, link);

        if (is_news(coordinator, waiter->request))
            leader_answer(coordinator, waiter_take(&coordinator->leader_waiters, waiter));
    }
}
