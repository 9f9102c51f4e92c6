/* Who the coordinators are: joining, and changes of one member at a time.
 *
 *   join (at the new one, through its worker) -> change{add} at the leader -> ... -> change{remove} at the leader
 *
 * Raft brings a new member up to date before it counts, so that an empty or dead one can't take the majority away. What Raft does not
 * know is where members are reached that are not in force: the one that joins hears of the leader from its record, and the leader
 * of it from the request; one that was removed is told so at the address that it had. Both stand in the address book. */
#include <assert.h>

#include "net/buggify.h"
#include "net/error.h"
#include "net/planted_bug.h"
#include "roles/coordinator/coordinator_internal.h"

struct raft_member members_raft(const struct coordinator_member *member)
{
    struct raft_member made = {.id = member->member};
    char text[ADDRESS_TEXT_MAX];

    address_print((struct address){member->address.ip, member->address.port}, text);
    made.address_len = (uint8_t)strlen(text);
    memcpy(made.address, text, made.address_len);
    return made;
}

static bool is_sound(const struct coordinator_member *member)
{
    return member->member != 0 && member->address.ip != 0 && member->address.port != 0 && member->address.port <= UINT16_MAX;
}

/* ---- joining ---- */

static void answer_joined(struct rpc_request *request, uint64_t member)
{
    struct message *reply;
    struct coordinator_join_reply *m = MESSAGE_NEW(coordinator_join_reply, &reply);

    if (m == NULL) {
        rpc_fail(request, ERROR_OUT_OF_MEMORY);
        return;
    }
    m->member = member;
    rpc_reply(request, reply);
}

static void answer_done(struct rpc_request *request)
{
    struct message *reply;

    if (MESSAGE_NEW(done, &reply) == NULL)
        rpc_fail(request, ERROR_OUT_OF_MEMORY);
    else
        rpc_reply(request, reply);
}

static bool join_is_sound(const struct coordinator_join *m)
{
    if (m->member == 0 || m->members_count == 0 || m->members_count > RAFT_MEMBERS_MAX ||
        (m->cluster_high == 0 && m->cluster_low == 0))
        return false;
    for (uint32_t i = 0; i < m->members_count; i++) {
        if (!is_sound(&m->members[i]) || m->members[i].member == m->member)
            return false;
        for (uint32_t j = 0; j < i; j++)
            if (m->members[j].member == m->members[i].member)
                return false;
    }
    return true;
}

/* It waits since an earlier join. Who added it is gone, and what added it perhaps cut off: it may have vouched for entries as that member,
 * so it stays that member, and is added as such. */
static bool still_waits(const struct coordinator_record *held, const struct coordinator_join *m)
{
    if (!held->joins)
        return false;
    for (uint32_t i = 0; i < m->members_count; i++)
        if (m->members[i].member == held->member)
            return false;
    return true;
}

void coordinator_join(struct coordinator *coordinator, struct rpc_request *request)
{
    const struct coordinator_join *m = MESSAGE_BODY(coordinator_join, request->message);
    const struct coordinator_record *held = coordinator_record(coordinator);
    struct coordinator_record record = {.format = COORDINATOR_FORMAT,
                                        .member = m->member,
                                        .cluster_high = m->cluster_high,
                                        .cluster_low = m->cluster_low,
                                        .members = m->members,
                                        .members_count = m->members_count,
                                        .joins = true};
    struct coordinator_restored restored;
    int error;

    if (held != NULL && held->cluster_high == m->cluster_high && held->cluster_low == m->cluster_low &&
        (held->member == m->member || (coordinator->failed == 0 && join_is_sound(m) && still_waits(held, m)))) {
        if (held->member != m->member)
            PROBE(coordinator->env, "a coordinator that waits to be added is asked to join again: as the member that it is");
        answer_joined(request, held->member);
        return;
    }
    if (held != NULL || coordinator->failed != 0 || !join_is_sound(m)) {
        rpc_fail(request, ERROR_CLIENT_INVALID_OPERATION);
        return;
    }
    error = coordinator_disk_create(coordinator->disk, &record, &restored);
    if (error == 0)
        error = coordinator_start_raft(coordinator, &restored);
    else
        arena_done(&restored.arena);
    if (error != 0) {
        rpc_fail(request, error);
        coordinator_fail(coordinator, error);
        return;
    }
    TRACE(coordinator->env, SEVERITY_INFO, "CoordinatorJoins", {"Member", trace_id(m->member)});
    answer_joined(request, m->member);
}

bool coordinator_must_forget(const struct coordinator *coordinator, const struct coordinator_join *join)
{
    const struct coordinator_record *record = coordinator_record(coordinator);
    struct raft_status status;

    if (coordinator->raft == NULL || record->member == join->member || coordinator->failed != 0 ||
        record->cluster_high != join->cluster_high || record->cluster_low != join->cluster_low)
        return false;
    raft_status(coordinator->raft, &status);
    return status.commit_index >= status.configuration_index &&
           raft_configuration_find(raft_configuration(coordinator->raft), record->member) == NULL;
}

bool coordinator_is_writing(const struct coordinator *coordinator)
{
    return coordinator_disk_is_writing(coordinator->disk);
}

int coordinator_forget(struct coordinator *coordinator)
{
    int error;

    PROBE(coordinator->env, "a coordinator that was removed is to join again: as another member");
    error = coordinator_disk_forget(coordinator->disk);
    coordinator_destroy(coordinator);
    return error;
}

int coordinator_was_here(struct env *env, const char *data_directory, bool *ret_was)
{
    return coordinator_disk_is_there(env, data_directory, ret_was);
}

/* ---- changes ---- */

void members_change(struct coordinator *coordinator, struct rpc_request *request)
{
    const struct coordinator_change *m = MESSAGE_BODY(coordinator_change, request->message);
    struct raft_event event = {.type = m->add ? RAFT_EVENT_ADD_MEMBER : RAFT_EVENT_REMOVE_MEMBER};
    struct raft_member member;
    int error;

    if (coordinator->leading_term == 0 || coordinator->failed != 0) {
        rpc_fail(request, ERROR_OPERATION_OBSOLETE);
        return;
    }
    if (PLANTED_BUG(TWO_CHANGES))
        members_changed(coordinator, ERROR_REQUEST_MAYBE_DELIVERED);
    if (coordinator->change != NULL || (m->add && !is_sound(&m->member))) {
        rpc_fail(request, coordinator->change != NULL ? ERROR_OPERATION_FAILED : ERROR_CLIENT_INVALID_OPERATION);
        return;
    }
    member = members_raft(&m->member);
    event.member = &member;
    event.member_id = m->member.member;
    if (m->add)
        peers_remember(coordinator, &member);
    TRACE(coordinator->env, SEVERITY_INFO, "CoordinatorsChange", {"Add", trace_int(m->add)}, {"Member", trace_id(m->member.member)});
    coordinator->change = request; /* the step may end it */
    error = coordinator_step(coordinator, &event, NULL);
    if (error != 0)
        members_changed(coordinator, error);
}

void members_changed(struct coordinator *coordinator, int error)
{
    struct rpc_request *request = coordinator->change;

    coordinator->change = NULL;
    if (request == NULL)
        return;
    if (error == 0 && BUGGIFY(coordinator->env, "the coordinators are changed, and who asked for it never hears"))
        error = ERROR_REQUEST_MAYBE_DELIVERED;
    if (error == 0)
        answer_done(request);
    else
        rpc_fail(request, error);
}

bool members_are_news(const struct coordinator *coordinator, const struct raft_status *status)
{
    return status->commit_index >= status->configuration_index &&
           coordinator->announced_configuration != status->configuration_index + 1;
}

void members_announce(struct coordinator *coordinator)
{
    const struct raft_configuration *configuration;
    struct coordinator_member members[RAFT_MEMBERS_MAX];
    struct raft_status status;
    struct address address;
    uint32_t count = 0;

    if (coordinator->raft == NULL || coordinator->failed != 0)
        return;
    raft_status(coordinator->raft, &status);
    if (!members_are_news(coordinator, &status))
        return;
    coordinator->announced_configuration = status.configuration_index + 1;
    configuration = raft_configuration(coordinator->raft);
    for (uint32_t i = 0; i < configuration->count; i++)
        if (peers_address(coordinator, configuration->members[i].id, &address))
            members[count++] = (struct coordinator_member){configuration->members[i].id, {address.ip, address.port}};
    if (count > 0 && coordinator->callbacks.members != NULL)
        coordinator->callbacks.members(coordinator->context.host, members, count);
}
