/* What changes a coordinator from outside: its creation, and the controller's door to the coordinated state.
 *
 * A change's fate is told only when the entry at its index has been applied: with its own term it is that change, with another
 * it never happened. Who loses leadership before that does not know, and says so. */
#include <assert.h>

#include "net/buggify.h"
#include "net/error.h"
#include "net/mem.h"
#include "roles/coordinator/coordinator_internal.h"
#include "txn/log_system.h"

/* ---- coordinator_create ---- */

static bool members_are_sound(const struct coordinator_create *m)
{
    if (m->members_count == 0 || m->members_count > RAFT_MEMBERS_MAX || (m->cluster_high == 0 && m->cluster_low == 0))
        return false;
    for (uint32_t i = 0; i < m->members_count; i++) {
        const struct coordinator_member *member = &m->members[i];

        if (member->member == 0 || member->address.ip == 0 || member->address.port == 0 ||
            member->address.port > UINT16_MAX)
            return false;
        for (uint32_t j = 0; j < i; j++)
            if (m->members[j].member == member->member ||
                (m->members[j].address.ip == member->address.ip && m->members[j].address.port == member->address.port))
                return false;
    }
    return true;
}

/* Our id among them, by address; 0: we are not among them. */
static uint64_t own_member(const struct coordinator *coordinator, const struct coordinator_create *m)
{
    struct address own = rpc_address(coordinator->rpc);

    for (uint32_t i = 0; i < m->members_count; i++)
        if (m->members[i].address.ip == own.ip && m->members[i].address.port == own.port)
            return m->members[i].member;
    return 0;
}

static bool record_lists(const struct coordinator_record *record, const struct coordinator_member *member)
{
    for (uint32_t i = 0; i < record->members_count; i++)
        if (record->members[i].member == member->member && record->members[i].address.ip == member->address.ip &&
            record->members[i].address.port == member->address.port)
            return true;
    return false;
}

/* In any order: ids and addresses are distinct on both sides. */
static bool same_record(const struct coordinator_record *record, const struct coordinator_create *m)
{
    if (record->cluster_high != m->cluster_high || record->cluster_low != m->cluster_low ||
        record->members_count != m->members_count)
        return false;
    for (uint32_t i = 0; i < m->members_count; i++)
        if (!record_lists(record, &m->members[i]))
            return false;
    return true;
}

/* Answers with the record that is held. */
static void answer_create(struct coordinator *coordinator, struct rpc_request *request, bool accepted)
{
    const struct coordinator_record *record = coordinator_record(coordinator);
    struct message *reply;
    struct coordinator_create_reply *m = MESSAGE_NEW(coordinator_create_reply, &reply);

    if (m == NULL) {
        rpc_fail(request, ERROR_OUT_OF_MEMORY);
        return;
    }
    m->accepted = accepted;
    m->cluster_high = record->cluster_high;
    m->cluster_low = record->cluster_low;
    m->members = arena_alloc(&reply->arena, record->members_count * sizeof(*m->members));
    if (m->members != NULL) {
        memcpy(m->members, record->members, record->members_count * sizeof(*m->members));
        m->members_count = record->members_count;
    }
    rpc_reply(request, reply);
}

static int create(struct coordinator *coordinator, const struct coordinator_create *m, uint64_t member)
{
    struct coordinator_record record = {
        .format = COORDINATOR_FORMAT,
        .member = member,
        .cluster_high = m->cluster_high,
        .cluster_low = m->cluster_low,
        .members = m->members,
        .members_count = m->members_count,
    };
    struct coordinator_restored restored;
    int error = coordinator_disk_create(coordinator->disk, &record, &restored);

    if (error == 0)
        return coordinator_start_raft(coordinator, &restored);
    arena_done(&restored.arena);
    return error;
}

void requests_create(struct coordinator *coordinator, struct rpc_request *request)
{
    const struct coordinator_create *m = MESSAGE_BODY(coordinator_create, request->message);
    uint64_t member;
    int error;

    if (coordinator->failed != 0) {
        rpc_fail(request, ERROR_OPERATION_FAILED);
        return;
    }
    if (coordinator->raft != NULL) {
        PROBE(coordinator->env, "a coordinator is created that has its record already");
        answer_create(coordinator, request, same_record(coordinator_record(coordinator), m));
        return;
    }
    member = members_are_sound(m) ? own_member(coordinator, m) : 0;
    if (member == 0) {
        rpc_fail(request, ERROR_CLIENT_INVALID_OPERATION);
        return;
    }
    error = create(coordinator, m, member);
    if (error == 0 && BUGGIFY(coordinator->env, "a coordinator is created, and the answer is lost")) {
        rpc_fail(request, ERROR_REQUEST_MAYBE_DELIVERED);
    } else if (error == 0) {
        answer_create(coordinator, request, true);
    } else {
        rpc_fail(request, error);
        coordinator_fail(coordinator, error);
    }
}

/* ---- the state ---- */

static void answer_state(struct coordinator *coordinator, struct rpc_request *request, bool accepted)
{
    struct message *reply;
    struct state_reply *m = MESSAGE_NEW(state_reply, &reply);

    if (m != NULL && message_copy_body(&schema_coordinated_state, &coordinator->coordinated.state, &reply->arena,
                                       &m->state) == 0) {
        m->accepted = accepted;
        rpc_reply(request, reply);
        return;
    }
    message_unref(reply);
    rpc_fail(request, ERROR_OUT_OF_MEMORY);
}

static uint64_t term_of(const struct rpc_request *request)
{
    switch (request->message->type->id) {
    case MESSAGE_read_state:
        return MESSAGE_BODY(read_state, request->message)->term;
    case MESSAGE_lock_state:
        return MESSAGE_BODY(lock_state, request->message)->term;
    default:
        return MESSAGE_BODY(write_state, request->message)->term;
    }
}

static int encode_command(const struct rpc_request *request, struct bytes_buffer *out)
{
    if (request->message->type->id == MESSAGE_lock_state)
        return coordinated_encode_lock(MESSAGE_BODY(lock_state, request->message)->lock_id, out);
    return coordinated_encode_write(&MESSAGE_BODY(write_state, request->message)->state, out);
}

static void propose(struct coordinator *coordinator, struct rpc_request *request)
{
    struct bytes_buffer command = {0};
    struct raft_event event = {.type = RAFT_EVENT_PROPOSE};
    struct waiter *waiter = waiter_add(coordinator, &coordinator->proposals, PROPOSALS_MAX, request, INT64_MAX);
    int error = waiter == NULL ? ERROR_SERVER_REQUEST_QUEUE_FULL : encode_command(request, &command);

    if (error == 0) {
        event.data = bytes_buffer_bytes(&command);
        error = coordinator_step(coordinator, &event, waiter); /* on success the waiter may be answered and gone */
    } else if (waiter != NULL) {
        (void)waiter_take(&coordinator->proposals, waiter);
    }
    bytes_buffer_done(&command);
    if (error != 0)
        rpc_fail(request, error);
}

/* What is written here rules every later recovery: nonsense must not get in. */
static bool brings_sound_state(const struct message *message)
{
    const struct coordinated_state *state = &MESSAGE_BODY(write_state, message)->state;

    return log_system_are_sound(state->generations, state->generations_count);
}

static void serve_state(struct coordinator *coordinator, struct rpc_request *request)
{
    if (request->message->type->id == MESSAGE_read_state && BUGGIFY(coordinator->env, "the state is read, and who asked for it never hears"))
        rpc_fail(request, ERROR_REQUEST_MAYBE_DELIVERED);
    else if (request->message->type->id == MESSAGE_read_state)
        answer_state(coordinator, request, true);
    else if (request->message->type->id == MESSAGE_write_state && !brings_sound_state(request->message))
        rpc_fail(request, ERROR_CLIENT_INVALID_OPERATION);
    else
        propose(coordinator, request);
}

void requests_state(struct coordinator *coordinator, struct rpc_request *request)
{
    int64_t wait_us = 2 * coordinator->env->knobs.raft_election_timeout_us;
    struct raft_status status = {0};

    if (coordinator->raft != NULL && coordinator->failed == 0)
        raft_status(coordinator->raft, &status);
    if (status.role == RAFT_LEADER && status.term != term_of(request))
        PROBE(coordinator->env, "a controller of an earlier term asks for the state");
    if (status.role != RAFT_LEADER || status.term != term_of(request))
        rpc_fail(request, ERROR_OPERATION_OBSOLETE);
    else if (coordinator->leading_term != 0)
        serve_state(coordinator, request);
    else if (waiter_add(coordinator, &coordinator->ready_waiters, PROPOSALS_MAX, request,
                        env_now_us(coordinator->env) + wait_us) == NULL)
        rpc_fail(request, ERROR_SERVER_REQUEST_QUEUE_FULL);
}

void requests_applied(struct coordinator *coordinator, uint64_t index, uint64_t term, bool changed)
{
    list_each(node, after, &coordinator->proposals.list) {
        struct waiter *waiter = list_entry(node, struct waiter, link);
        bool ours = waiter->index == index && waiter->term == term;

        if (waiter->index == 0 || waiter->index > index)
            continue;
        if (ours && BUGGIFY_ONE_IN(coordinator->env, 16, "a change of the state is done, and who asked for it never hears"))
            rpc_fail(waiter_take(&coordinator->proposals, waiter), ERROR_REQUEST_MAYBE_DELIVERED);
        else if (ours)
            answer_state(coordinator, waiter_take(&coordinator->proposals, waiter), changed);
        else
            rpc_fail(waiter_take(&coordinator->proposals, waiter), ERROR_OPERATION_OBSOLETE);
    }
}

static void refuse_all(struct waiters *waiters)
{
    list_each(node, after, &waiters->list)
        rpc_fail(waiter_take(waiters, list_entry(node, struct waiter, link)), ERROR_OPERATION_OBSOLETE);
}

/* They are taken off first: serving one may step Raft, which looks at the list again. */
void requests_leading(struct coordinator *coordinator)
{
    while (!list_empty(&coordinator->ready_waiters.list) && coordinator->leading_term != 0) {
        struct waiter *waiter = list_entry(coordinator->ready_waiters.list.next, struct waiter, link);

        requests_state(coordinator, waiter_take(&coordinator->ready_waiters, waiter));
    }
}

void requests_lost(struct coordinator *coordinator)
{
    refuse_all(&coordinator->ready_waiters);
    refuse_all(&coordinator->proposals);
}
