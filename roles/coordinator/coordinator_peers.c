/* Raft's messages to and from the other coordinators, and the watch on the leader's connection.
 *
 * Messages are one way and may be lost: Raft sends again. Each names the cluster; one of another cluster is never shown to Raft,
 * for a member id or a term of another cluster means nothing here. */
#include <assert.h>

#include "net/buggify.h"
#include "net/error.h"
#include "roles/coordinator/coordinator_internal.h"

bool peers_address(const struct coordinator *coordinator, uint64_t member_id, struct address *ret_address)
{
    const struct raft_member *member = raft_configuration_find(raft_configuration(coordinator->raft), member_id);

    for (uint32_t i = 0; i < ADDRESS_BOOK && member == NULL && member_id != 0; i++)
        if (coordinator->book[i].id == member_id)
            member = &coordinator->book[i];
    if (member == NULL && member_id != 0 && member_id == coordinator->asker) {
        *ret_address = coordinator->asker_address;
        return true;
    }
    return member != NULL && address_parse(bytes_of(member->address, member->address_len), ret_address) == 0;
}

void peers_remember(struct coordinator *coordinator, const struct raft_member *member)
{
    for (uint32_t i = 0; i < ADDRESS_BOOK; i++)
        if (coordinator->book[i].id == member->id) {
            coordinator->book[i] = *member;
            return;
        }
    coordinator->book[coordinator->book_next++ % ADDRESS_BOOK] = *member;
}

void peers_remember_all(struct coordinator *coordinator)
{
    const struct raft_configuration *configuration = raft_configuration(coordinator->raft);

    for (uint32_t i = 0; i < configuration->count; i++)
        peers_remember(coordinator, &configuration->members[i]);
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
        .cluster_high = record->cluster_high, .cluster_low = record->cluster_low, .instance = coordinator->instance,
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
        return; /* a member that was just removed: it counts as lost */
    if (raft_message->type == RAFT_VOTE || (raft_message->type == RAFT_VOTE_REPLY && !raft_message->reject))
        TRACE(coordinator->env, SEVERITY_DEBUG, "RaftVoted", {"Member", trace_id(coordinator_record(coordinator)->member)},
              {"Term", trace_int((int64_t)raft_message->term)},
              {"Vote", trace_id(raft_message->type == RAFT_VOTE ? coordinator_record(coordinator)->member : raft_message->to)});
    if (raft_message->type == RAFT_APPEND_REPLY && !raft_message->reject && raft_message->index != coordinator->vouched_index) {
        coordinator->vouched_index = raft_message->index;
        TRACE(coordinator->env, SEVERITY_DEBUG, "RaftVouched", {"Member", trace_id(coordinator_record(coordinator)->member)},
              {"Index", trace_int((int64_t)raft_message->index)});
    }
    if (BUGGIFY_ONE_IN(coordinator->env, 16, "a message of Raft is not sent"))
        return;
    wire = MESSAGE_NEW(raft_wire, &message);
    if (wire == NULL)
        return;
    if (fill(coordinator, raft_message, &message->arena, wire) == 0)
        rpc_send(coordinator->rpc, &to, message);
    else
        message_unref(message);
}

/* ---- receiving ---- */

enum { IGNORED_TRACE_US = 1000000 };

/* Why Raft ignored a message. What happens in every healthy cluster now and then is not worth a warning. */
static const struct {
    const char *reason;
    size_t offset;
    bool ordinary;
} ignored[] = {
    {"unknown_type", offsetof(struct raft_counters, ignored_unknown_type), false},
    {"misaddressed", offsetof(struct raft_counters, ignored_misaddressed), false},
    {"stranger", offsetof(struct raft_counters, ignored_stranger), false},
    {"malformed", offsetof(struct raft_counters, ignored_malformed), false},
    {"forged", offsetof(struct raft_counters, ignored_forged), false},
    {"old_term", offsetof(struct raft_counters, ignored_old_term), true},
    {"stale", offsetof(struct raft_counters, ignored_stale), true},
    {"lease", offsetof(struct raft_counters, ignored_lease), true},
};
enum { IGNORED_REASONS = sizeof(ignored) / sizeof(ignored[0]) };

static uint64_t ignored_count(const struct raft_counters *counters, size_t reason)
{
    return *(const uint64_t *)((const uint8_t *)counters + ignored[reason].offset);
}

void peers_metrics(const struct raft_counters *counters, struct role_status *status, struct arena *arena)
{
    static const char *const names[] = {"raft_ignored_unknown_type", "raft_ignored_misaddressed", "raft_ignored_stranger",
                                        "raft_ignored_malformed",    "raft_ignored_forged",       "raft_ignored_old_term",
                                        "raft_ignored_stale",        "raft_ignored_lease"};
    static_assert(sizeof(names) / sizeof(names[0]) == IGNORED_REASONS, "a name a reason");

    for (size_t i = 0; i < IGNORED_REASONS; i++)
        role_metric(status, arena, names[i], (int64_t)ignored_count(counters, i));
}

/* A message was not believed: an operator should see it, though not once a message. */
static void trace_ignored(struct coordinator *coordinator, const struct raft_wire *wire, const char *reason,
                          enum severity severity)
{
    int64_t now_us = env_now_us(coordinator->env);

    if (severity >= SEVERITY_WARN) {
        if (coordinator->ignored_traced_us != 0 && now_us - coordinator->ignored_traced_us < IGNORED_TRACE_US)
            return;
        coordinator->ignored_traced_us = now_us;
    }
    TRACE(coordinator->env, severity, "RaftMessageIgnored", {"Reason", trace_str(reason)}, {"MessageType", trace_int(wire->type)},
          {"From", trace_id(wire->from)}, {"Term", trace_int((int64_t)wire->term)}, {"Index", trace_int((int64_t)wire->index)});
}

static void look_at_ignored(struct coordinator *coordinator, const struct raft_wire *wire, const struct raft_counters *before)
{
    const struct raft_counters *now = raft_counters(coordinator->raft);

    for (size_t i = 0; i < IGNORED_REASONS; i++)
        if (ignored_count(now, i) != ignored_count(before, i))
            trace_ignored(coordinator, wire, ignored[i].reason, ignored[i].ordinary ? SEVERITY_DEBUG : SEVERITY_WARN);
}

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
    struct raft_counters before = *raft_counters(coordinator->raft);

    if (entries != NULL) {
        for (uint32_t i = 0; i < wire->entries_count; i++)
            entries[i] = (struct raft_entry){wire->entries[i].index, wire->entries[i].term,
                                             (uint8_t)wire->entries[i].type, wire->entries[i].data};
        message.entries = entries;
        (void)coordinator_step(coordinator, &event, NULL);
        if (BUGGIFY_ONE_IN(coordinator->env, 8, "a message of Raft arrives twice") && coordinator->failed == 0)
            (void)coordinator_step(coordinator, &event, NULL);
        look_at_ignored(coordinator, wire, &before);
    }
    arena_done(&arena);
}

/* Raft takes a snapshot's content for what its leader says it is, so that is looked at before. */
static const char *bad_snapshot(const struct coordinator *coordinator, const struct raft_wire *wire)
{
    const struct coordinator_record *record = coordinator_record(coordinator);

    if (wire->type != RAFT_SNAPSHOT)
        return NULL;
    return coordinated_refuses(record->cluster_high, record->cluster_low, wire->snapshot_index, wire->snapshot_data);
}

enum { SUPERSEDED_US = 5000000 };

/* The slot of the member; of one that is not known yet, a free one, or the first of one that is no member any more. NULL: none. */
static struct peer_instance *find_instance(struct coordinator *coordinator, uint64_t member)
{
    struct peer_instance *spare = NULL;

    if (raft_configuration_find(raft_configuration(coordinator->raft), member) == NULL)
        return NULL;
    for (uint32_t i = 0; i < RAFT_MEMBERS_MAX; i++) {
        struct peer_instance *slot = &coordinator->instances[i];

        if (slot->member == member)
            return slot;
        if (spare == NULL && raft_configuration_find(raft_configuration(coordinator->raft), slot->member) == NULL)
            spare = slot;
    }
    if (spare != NULL)
        *spare = (struct peer_instance){.member = member};
    return spare;
}

/* A member's process was started again, or copied with its disk. A restart never comes back to the life before, so that is
 * not believed while the later one speaks: two processes that vote for one member are two votes. */
static bool is_superseded(struct coordinator *coordinator, const struct raft_wire *wire)
{
    struct peer_instance *slot = wire->instance == 0 ? NULL : find_instance(coordinator, wire->from);
    int64_t now_us = env_now_us(coordinator->env);

    if (slot == NULL)
        return false;
    if (wire->instance == slot->before && now_us - slot->heard_us < SUPERSEDED_US)
        return true;
    if (wire->instance != slot->current) {
        slot->before = slot->current;
        slot->current = wire->instance;
    }
    slot->heard_us = now_us;
    return false;
}

static void leader_closed(struct rpc_watch *watch, int error);

/* Who lags does not know yet who has been added, and must vote for it all the same: where others have died there may be no other majority. One
 * place for all such, so that nobody drives others out of the address book. */
static void remember_asker(struct coordinator *coordinator, const struct raft_wire *wire, struct address peer)
{
    struct address address;

    if ((wire->type != RAFT_PRE_VOTE && wire->type != RAFT_VOTE) || peer.port == 0)
        return;
    if (coordinator->asker != wire->from && peers_address(coordinator, wire->from, &address))
        return;
    coordinator->asker = wire->from;
    coordinator->asker_address = peer;
}

void peers_receive(struct coordinator *coordinator, struct rpc_request *request)
{
    const struct raft_wire *wire = MESSAGE_BODY(raft_wire, request->message);
    const struct coordinator_record *record = coordinator_record(coordinator);
    const char *wrong = NULL;

    if (coordinator->raft == NULL) {
        coordinator->ignored_no_record++;
    } else if (wire->cluster_high != record->cluster_high || wire->cluster_low != record->cluster_low) {
        coordinator->ignored_wrong_cluster++;
        wrong = "another cluster";
    } else if (!well_formed(wire)) {
        coordinator->ignored_malformed++;
        wrong = "malformed";
    } else if (is_superseded(coordinator, wire)) {
        coordinator->ignored_superseded++;
        wrong = "superseded by another process of the member";
    } else if ((wrong = bad_snapshot(coordinator, wire)) != NULL) {
        coordinator->ignored_bad_snapshot++;
    } else if (coordinator->failed == 0) {
        remember_asker(coordinator, wire, request->peer);
        step_message(coordinator, wire);
    }
    if (wrong != NULL)
        trace_ignored(coordinator, wire, wrong, SEVERITY_WARN);
    rpc_drop(request);
    if (coordinator->failed == 0 && coordinator->watched_leader != 0 &&
        BUGGIFY_ONE_IN(coordinator->env, 300, "a follower believes that its leader's connection closed")) {
        rpc_watch_cancel(&coordinator->leader_watch);
        leader_closed(&coordinator->leader_watch, ERROR_CONNECTION_FAILED);
    }
}

/* ---- the leader's connection ---- */

/* Raft forgets the leader by this; when it hears of it again, the watch starts again. */
static void leader_closed(struct rpc_watch *watch, int error)
{
    struct coordinator *coordinator = container_of(watch, struct coordinator, leader_watch);
    struct raft_event event = {.type = RAFT_EVENT_PEER_CLOSED, .member_id = coordinator->watched_leader};

    (void)error;
    PROBE(coordinator->env, "a follower sees its leader's connection close");
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
