/* Raft's messages to and from the other coordinators, and the watch on the leader's connection.
 *
 * Messages are one way and may be lost: Raft sends again. Each names the cluster; one of another cluster is never shown to Raft,
 * for a member id or a term of another cluster means nothing here. */
#include <assert.h>

#include "net/error.h"
#include "roles/coordinator/coordinator_internal.h"

bool peers_address(const struct coordinator *coordinator, uint64_t member_id, struct address *ret_address)
{
    const struct raft_member *member = raft_configuration_find(raft_configuration(coordinator->raft), member_id);

    return member != NULL && address_parse(bytes_of(member->address, member->address_len), ret_address) == 0;
}

/* ---- sending ---- */

static int copy_entries(const struct raft_message *from, struct arena *arena, struct raft_wire *to)
{
    int error = 0;

    to->entries = arena_alloc(arena, from->entry_count * sizeof(*to->entries) + 1);
    if (to->entries == NULL)
        return ERROR_OUT_OF_MEMORY;
    for (uint32_t i = 0; i < from->entry_count && error == 0; i++) {
        const struct raft_entry *entry = &from->entries[i];

        to->entries[i] = (struct raft_wire_entry){.index = entry->index, .term = entry->term, .type = entry->type};
        error = arena_copy(arena, entry->data, &to->entries[i].data);
    }
    to->entries_count = from->entry_count;
    return error;
}

static int fill(const struct coordinator *coordinator, const struct raft_message *from, struct arena *arena,
                struct raft_wire *to)
{
    const struct coordinator_record *record = coordinator_record(coordinator);
    int error;

    *to = (struct raft_wire){
        .type = from->type, .reject = from->reject, .transfer = from->transfer,
        .from = from->from, .to = from->to, .term = from->term, .index = from->index, .log_term = from->log_term,
        .commit = from->commit, .hint = from->hint,
        .snapshot_index = from->snapshot.index, .snapshot_term = from->snapshot.term,
        .cluster_high = record->cluster_high, .cluster_low = record->cluster_low,
    };
    error = copy_entries(from, arena, to);
    if (error == 0)
        error = arena_copy(arena, from->snapshot.configuration, &to->snapshot_configuration);
    if (error == 0)
        error = arena_copy(arena, from->snapshot.data, &to->snapshot_data);
    return error;
}

void peers_send(struct coordinator *coordinator, const struct raft_message *raft_message)
{
    struct endpoint to = {.id = ENDPOINT_COORDINATOR};
    struct message *message;
    struct raft_wire *wire;

    if (!peers_address(coordinator, raft_message->to, &to.address))
        return; /* a member that was just removed, or who only asked for a vote: it counts as lost */
    wire = MESSAGE_NEW(raft_wire, &message);
    if (wire == NULL)
        return;
    if (fill(coordinator, raft_message, &message->arena, wire) == 0)
        rpc_send(coordinator->rpc, &to, message);
    else
        message_unref(message);
}

/* ---- receiving ---- */

static bool well_formed(const struct raft_wire *wire)
{
    if (wire->type > UINT8_MAX || wire->entries_count > RAFT_BATCH_ENTRIES_MAX)
        return false;
    for (uint32_t i = 0; i < wire->entries_count; i++)
        if (wire->entries[i].type > UINT8_MAX)
            return false;
    return true;
}

static void step_message(struct coordinator *coordinator, const struct raft_wire *wire)
{
    struct raft_message message = {
        .type = (uint8_t)wire->type, .reject = wire->reject, .transfer = wire->transfer,
        .from = wire->from, .to = wire->to, .term = wire->term, .index = wire->index, .log_term = wire->log_term,
        .commit = wire->commit, .hint = wire->hint, .entry_count = wire->entries_count,
        .snapshot = {wire->snapshot_index, wire->snapshot_term, wire->snapshot_configuration, wire->snapshot_data},
    };
    struct raft_event event = {.type = RAFT_EVENT_MESSAGE, .message = &message};
    struct arena arena = {0};
    struct raft_entry *entries = arena_alloc(&arena, wire->entries_count * sizeof(*entries) + 1);

    if (entries != NULL) {
        for (uint32_t i = 0; i < wire->entries_count; i++)
            entries[i] = (struct raft_entry){wire->entries[i].index, wire->entries[i].term,
                                             (uint8_t)wire->entries[i].type, wire->entries[i].data};
        message.entries = entries;
        (void)coordinator_step(coordinator, &event, NULL);
    }
    arena_done(&arena);
}

void peers_receive(struct coordinator *coordinator, struct rpc_request *request)
{
    const struct raft_wire *wire = MESSAGE_BODY(raft_wire, request->message);
    const struct coordinator_record *record = coordinator_record(coordinator);

    if (coordinator->raft == NULL)
        coordinator->ignored_no_record++;
    else if (wire->cluster_high != record->cluster_high || wire->cluster_low != record->cluster_low)
        coordinator->ignored_wrong_cluster++;
    else if (!well_formed(wire))
        coordinator->ignored_malformed++;
    else if (coordinator->failed == 0)
        step_message(coordinator, wire);
    rpc_drop(request);
}

/* ---- the leader's connection ---- */

/* Raft forgets the leader by this; when it hears of it again, the watch starts again. */
static void leader_closed(struct rpc_watch *watch, int error)
{
    struct coordinator *coordinator = container_of(watch, struct coordinator, leader_watch);
    struct raft_event event = {.type = RAFT_EVENT_PEER_CLOSED, .member_id = coordinator->watched_leader};

    (void)error;
    coordinator->watched_leader = 0;
    (void)coordinator_step(coordinator, &event, NULL);
}

void peers_watch_leader(struct coordinator *coordinator, uint64_t leader_id)
{
    struct address address;

    if (leader_id == coordinator_record(coordinator)->member)
        leader_id = 0;
    if (leader_id == coordinator->watched_leader)
        return;
    rpc_watch_cancel(&coordinator->leader_watch);
    coordinator->watched_leader = 0;
    if (leader_id == 0 || !peers_address(coordinator, leader_id, &address))
        return;
    coordinator->watched_leader = leader_id;
    coordinator->leader_watch.failed = leader_closed;
    rpc_watch_start(coordinator->rpc, &coordinator->leader_watch, address);
}
