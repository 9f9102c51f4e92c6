/* Life cycle, one step, and the update that comes out of it.
 *
 * A step runs one handler, then whatever timers are due, and leaves its effects in struct raft: dirty marks, index
 * ranges, an outbox. Only at the end are they turned into pointers, because the log's arrays may move while the step
 * runs. Nothing in an update points at memory that this step freed: the log keeps what it forgets until the next step. */
#include <assert.h>

#include "net/error.h"
#include "net/mem.h"
#include "net/planted_bug.h"
#include "roles/coordinator/raft/raft_internal.h"

/* splitmix64: enough to keep timeouts apart, and it replays. */
uint64_t raft_random(struct raft *raft, uint64_t below)
{
    uint64_t z = raft->random_state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    z ^= z >> 31;
    return below == 0 ? 0 : z % below;
}

bool raft_sequence_durable(const struct raft *raft, uint64_t sequence)
{
    assert(sequence <= raft->next_sequence);
    return sequence <= raft->durable_sequence;
}

void raft_set_hard_state(struct raft *raft, uint64_t term, uint64_t vote)
{
    assert(term >= raft->term);
    assert(term > raft->term || raft->vote == 0 || raft->vote == vote); /* one vote a term [paper 5.2] */
    raft->term = term;
    raft->vote = vote;
    raft->hard_state_dirty = true;
    raft->hard_state_sequence = raft->next_sequence;
}

int raft_append(struct raft *raft, uint8_t type, uint64_t term, struct bytes data)
{
    struct raft_entry entry = {.index = raft_log_last_index(&raft->log) + 1, .term = term, .type = type, .data = data};
    int error = raft_log_append(&raft->log, &entry, raft->next_sequence);

    if (error != 0)
        return error;
    if (raft->appended_from == 0)
        raft->appended_from = entry.index;
    if (type == RAFT_ENTRY_CONFIGURATION)
        raft_refresh_configuration(raft);
    return 0;
}

/* A step truncates at most once, before it appends: both come from one message. */
void raft_truncate(struct raft *raft, uint64_t from)
{
    assert(raft->role != RAFT_LEADER); /* leader append-only [paper 5.3] */
    assert(from > raft->commit_index);
    assert(raft->truncate_from == 0 && raft->appended_from == 0);
    raft_log_truncate(&raft->log, from);
    raft->truncate_from = from;
    if (raft->configuration_index >= from)
        raft_refresh_configuration(raft);
}

static bool entry_restorable(const struct raft_entry *entry, uint64_t index, uint64_t previous_term, uint64_t term)
{
    struct raft_configuration configuration;

    if (entry->index != index || entry->term < previous_term || entry->term > term || entry->term == 0)
        return false;
    if (entry->type < RAFT_ENTRY_NOOP || entry->type > RAFT_ENTRY_CONFIGURATION)
        return false;
    return entry->type != RAFT_ENTRY_CONFIGURATION || raft_configuration_decode(entry->data, &configuration);
}

static bool snapshot_restorable(const struct raft_snapshot *snapshot, uint64_t term)
{
    struct raft_configuration configuration;

    if (snapshot->index > RAFT_NUMBER_MAX || term > RAFT_NUMBER_MAX || snapshot->term > term)
        return false;
    if ((snapshot->index == 0) != (snapshot->term == 0) || (snapshot->index == 0 && snapshot->data.len != 0))
        return false;
    if (snapshot->index == 0 && snapshot->configuration.len == 0)
        return true; /* waits to be added */
    return raft_configuration_decode(snapshot->configuration, &configuration);
}

static int restore(struct raft *raft, const struct raft_restored *restored)
{
    int error;

    if (!snapshot_restorable(&restored->snapshot, restored->term))
        return ERROR_FILE_CORRUPT;
    error = raft_log_set_snapshot(&raft->log, &restored->snapshot, false, 0);
    for (size_t i = 0; error == 0 && i < restored->entry_count; i++) {
        const struct raft_entry *entry = &restored->entries[i];

        if (!entry_restorable(entry, raft_log_last_index(&raft->log) + 1, raft_log_last_term(&raft->log),
                              restored->term))
            return ERROR_FILE_CORRUPT;
        error = raft_log_append(&raft->log, entry, 0);
    }
    if (error != 0)
        return error;
    raft->term = restored->term;
    raft->vote = restored->vote;
    raft->commit_index = raft->applied_index = restored->snapshot.index;
    raft_refresh_configuration(raft);
    return 0;
}

static void set_options(struct raft *raft, const struct raft_options *options)
{
    raft->options = *options;
    if (raft->options.heartbeat_us == 0)
        raft->options.heartbeat_us = 100 * 1000;
    if (raft->options.election_timeout_us == 0)
        raft->options.election_timeout_us = 500 * 1000;
    if (raft->options.leader_gone_delay_us == 0)
        raft->options.leader_gone_delay_us = 20 * 1000;
    if (raft->options.batch_bytes_max == 0)
        raft->options.batch_bytes_max = 256 << 10;
    assert(raft->options.heartbeat_us < raft->options.election_timeout_us);
    raft->random_state = options->seed;
}

int raft_create(const struct raft_options *options, const struct raft_restored *restored, uint64_t now_us,
                struct raft **ret_raft)
{
    struct raft *raft = mem_zalloc(sizeof(*raft));
    int error;

    assert(options->id != 0);
    if (raft == NULL)
        return ERROR_OUT_OF_MEMORY;
    set_options(raft, options);
    raft->role = RAFT_FOLLOWER;
    raft->now_us = now_us;
    raft->next_sequence = 1;
    error = restore(raft, restored);
    if (error != 0) {
        raft_destroy(raft);
        return error;
    }
    raft->configuration_changed = false;
    /* The first wait is short: a cluster that starts as a whole should not sit out a timeout, and if there is a leader
     * its followers refuse the pre-vote. Alone there is nobody to wait for. */
    raft->election_us = now_us + raft->options.heartbeat_us + raft_random(raft, raft->options.election_timeout_us);
    if (raft->configuration.count == 1 && raft_is_voter(raft, options->id))
        raft->election_us = now_us;
    *ret_raft = raft;
    return 0;
}

void raft_destroy(struct raft *raft)
{
    if (raft == NULL)
        return;
    raft_log_done(&raft->log);
    mem_free(raft);
}

static void begin_step(struct raft *raft, uint64_t now_us)
{
    assert(now_us >= raft->now_us);
    raft->now_us = now_us;
    raft_log_collect(&raft->log);
    raft->hard_state_dirty = false;
    raft->snapshot_dirty = false;
    raft->snapshot_keeps_log = false;
    raft->snapshot_installed = false;
    raft->configuration_changed = false;
    raft->leader_ready = false;
    raft->truncate_from = 0;
    raft->appended_from = 0;
    raft->change = RAFT_CHANGE_NONE;
    raft->outbox_count = 0;
}

static int propose(struct raft *raft, struct bytes data, struct raft_update *update)
{
    int error;

    if (raft->role != RAFT_LEADER || raft->transfer_id != 0)
        return ERROR_OPERATION_OBSOLETE;
    if (data.len > RAFT_ENTRY_BYTES_MAX)
        return ERROR_CLIENT_INVALID_OPERATION;
    error = raft_append(raft, RAFT_ENTRY_DATA, raft->term, data);
    if (error != 0)
        return error;
    update->proposed_index = raft_log_last_index(&raft->log);
    update->proposed_term = raft->term;
    raft_broadcast(raft);
    return 0;
}

static int remove_member(struct raft *raft, uint64_t id, struct raft_update *update)
{
    int error = raft_remove_member(raft, id);

    if (error != 0)
        return error;
    update->proposed_index = raft->configuration_index;
    update->proposed_term = raft->term;
    return 0;
}

static int compact(struct raft *raft, uint64_t index, struct bytes data)
{
    struct raft_snapshot snapshot = {.index = index, .data = data};
    uint64_t configuration_index;
    bool known;
    int error;

    assert(index <= raft->applied_index);
    if (index <= raft->log.snapshot.index)
        return ERROR_OPERATION_OBSOLETE;
    if (data.len > RAFT_SNAPSHOT_BYTES_MAX)
        return ERROR_CLIENT_INVALID_OPERATION;
    known = raft_log_term(&raft->log, index, &snapshot.term);
    assert(known);
    snapshot.configuration = raft_configuration_at(raft, index, &configuration_index);
    if (snapshot.configuration.len == 0)
        return ERROR_OPERATION_FAILED; /* a snapshot without members would be of no use to anybody */
    error = raft_log_set_snapshot(&raft->log, &snapshot, true, raft->next_sequence);
    if (error != 0)
        return error;
    raft->snapshot_dirty = true;
    raft->snapshot_keeps_log = true;
    return 0;
}

static void persisted(struct raft *raft, uint64_t sequence)
{
    assert(sequence < raft->next_sequence);
    if (sequence <= raft->durable_sequence)
        return;
    raft->durable_sequence = sequence;
    raft_election_persisted(raft);
    if (raft->role == RAFT_LEADER)
        raft_advance_commit(raft);
}

static void peer_closed(struct raft *raft, uint64_t id)
{
    struct raft_peer *peer = raft_peer_find(raft, id);

    if (peer != NULL)
        peer->in_flight = 0; /* lost with the connection; the next heartbeat sends it again */
    raft_leader_closed(raft, id);
}

static int handle(struct raft *raft, const struct raft_event *event, struct raft_update *update)
{
    switch (event->type) {
    case RAFT_EVENT_TICK:
        return 0;
    case RAFT_EVENT_MESSAGE:
        raft_receive(raft, event->message);
        return 0;
    case RAFT_EVENT_PERSISTED:
        persisted(raft, event->sequence);
        return 0;
    case RAFT_EVENT_PROPOSE:
        return propose(raft, event->data, update);
    case RAFT_EVENT_PEER_CLOSED:
        peer_closed(raft, event->member_id);
        return 0;
    case RAFT_EVENT_TRANSFER:
        return raft_transfer(raft, event->member_id);
    case RAFT_EVENT_ADD_MEMBER:
        return raft_add_member(raft, event->member);
    case RAFT_EVENT_REMOVE_MEMBER:
        return remove_member(raft, event->member_id, update);
    case RAFT_EVENT_COMPACT:
        return compact(raft, event->index, event->data);
    }
    assert(!"an event of no known type");
    return 0;
}

static void run_timers(struct raft *raft)
{
    raft_election_timers(raft);
    raft_membership_timers(raft);
    raft_replication_timers(raft);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t next_timeout(const struct raft *raft)
{
    uint64_t next = raft_quorum_deadline(raft);

    if (raft->role != RAFT_LEADER)
        return raft->election_us;
    for (uint32_t i = 0; i < raft->peer_count; i++)
        next = earlier(next, raft->peers[i].sent_us + raft->options.heartbeat_us);
    if (raft->transfer_id != 0)
        next = earlier(next, raft->transfer_us);
    if (raft->joining.id != 0)
        next = earlier(next, raft->joining_us);
    if (raft->leaving_id != 0)
        next = earlier(next, raft->leaving_us);
    return next;
}

static void fill_persist(struct raft *raft, struct raft_persist *persist)
{
    persist->term = raft->term;
    persist->vote = PLANTED_BUG(VOTE_NOT_PERSISTED) ? 0 : raft->vote;
    if (!raft->hard_state_dirty && !raft->snapshot_dirty && raft->truncate_from == 0 && raft->appended_from == 0)
        return;
    persist->sequence = raft->next_sequence++;
    persist->hard_state_changed = raft->hard_state_dirty;
    persist->truncate_from = raft->truncate_from;
    if (raft->snapshot_dirty) {
        persist->snapshot = &raft->log.snapshot;
        persist->snapshot_keeps_log = raft->snapshot_keeps_log;
    }
    if (raft->appended_from != 0) {
        persist->entries = raft_log_entry(&raft->log, raft->appended_from);
        persist->entry_count = raft_log_last_index(&raft->log) - raft->appended_from + 1;
        assert(persist->entries != NULL);
    }
}

/* Appends were queued as numbers: now the log holds still. */
static void fill_messages(struct raft *raft, struct raft_update *update)
{
    for (size_t i = 0; i < raft->outbox_count; i++) {
        struct raft_message *message = &raft->outbox[i];

        if (message->type == RAFT_APPEND && message->entry_count != 0)
            message->entries = raft_log_entry(&raft->log, message->index + 1);
        if (message->type == RAFT_SNAPSHOT)
            message->snapshot = raft->log.snapshot;
    }
    update->messages = raft->outbox;
    update->message_count = raft->outbox_count;
    raft->counters.messages_sent += raft->outbox_count;
}

static void fill_applied(struct raft *raft, struct raft_update *update)
{
    if (raft->snapshot_installed)
        update->snapshot_installed = &raft->log.snapshot;
    update->apply_first = raft->applied_index + 1;
    update->apply_last = raft->commit_index;
    raft->applied_index = raft->commit_index;
    assert(update->apply_first > raft->log.snapshot.index || update->apply_first > update->apply_last);
}

int raft_step(struct raft *raft, const struct raft_event *event, struct raft_update *update)
{
    uint64_t leader_before = raft->leader_id, led_term = raft->role == RAFT_LEADER ? raft->term : 0;
    bool leads;
    int error;

    *update = (struct raft_update){0};
    begin_step(raft, event->now_us);
    /* A message may be what a timer waited for: it goes first, anything else comes after the timers. */
    if (event->type != RAFT_EVENT_MESSAGE)
        run_timers(raft);
    error = handle(raft, event, update);
    run_timers(raft);
    raft_release_held(raft);

    leads = raft->role == RAFT_LEADER;
    update->became_leader = leads && led_term != raft->term;
    update->lost_leadership = led_term != 0 && (!leads || led_term != raft->term);
    update->leader_ready = raft->leader_ready;
    update->leader_id = raft->leader_id;
    update->leader_changed = raft->leader_id != leader_before || update->became_leader;
    update->configuration_changed = raft->configuration_changed;
    update->change = raft->change;
    fill_persist(raft, &update->persist);
    fill_messages(raft, update);
    fill_applied(raft, update);
    update->timeout_us = next_timeout(raft);
    return error;
}

int raft_compact(struct raft *raft, uint64_t now_us, uint64_t index, struct bytes data, struct raft_update *update)
{
    struct raft_event event = {.type = RAFT_EVENT_COMPACT, .now_us = now_us, .index = index, .data = data};

    return raft_step(raft, &event, update);
}

const struct raft_entry *raft_entry(const struct raft *raft, uint64_t index)
{
    return raft_log_entry(&raft->log, index);
}

const struct raft_snapshot *raft_snapshot(const struct raft *raft)
{
    return &raft->log.snapshot;
}

const struct raft_configuration *raft_configuration(const struct raft *raft)
{
    return &raft->configuration;
}

void raft_status(const struct raft *raft, struct raft_status *ret_status)
{
    *ret_status = (struct raft_status){
        .role = raft->role,
        .ready = raft->role == RAFT_LEADER && raft->commit_index >= raft->noop_index,
        .id = raft->options.id,
        .term = raft->term,
        .vote = raft->vote,
        .leader_id = raft->leader_id,
        .first_index = raft->log.snapshot.index + 1,
        .last_index = raft_log_last_index(&raft->log),
        .last_term = raft_log_last_term(&raft->log),
        .durable_index = raft_log_durable_index(&raft->log, raft->durable_sequence),
        .commit_index = raft->commit_index,
        .snapshot_index = raft->log.snapshot.index,
        .configuration_index = raft->configuration_index,
        .joining_id = raft->joining.id,
    };
}

const struct raft_counters *raft_counters(const struct raft *raft)
{
    return &raft->counters;
}

/* One change of the members at a time [thesis 4.1]. */
static bool changes_are_single(const struct raft *raft)
{
    unsigned changes = 0;

    for (uint64_t i = raft->commit_index + 1; i <= raft_log_last_index(&raft->log); i++)
        changes += raft_log_entry(&raft->log, i)->type == RAFT_ENTRY_CONFIGURATION;
    return changes <= 1;
}

static void invariant_leader(const struct raft *raft)
{
    assert(raft->leader_id == raft->options.id);
    assert(raft->vote == raft->options.id);
    assert(raft->noop_index != 0);
    /* What an older term left commits with the no-op behind it, never by itself [paper 5.4.2]. */
    assert(raft->commit_index == raft->led_commit || raft->commit_index >= raft->noop_index);
    assert(raft->commit_index < raft->noop_index || changes_are_single(raft)); /* only then it knows what is committed */
    for (uint32_t i = 0; i < raft->peer_count; i++) {
        const struct raft_peer *peer = &raft->peers[i];

        assert(peer->id != raft->options.id);
        assert(peer->next > peer->match);
        assert(peer->match <= raft_log_last_index(&raft->log));
        assert(peer->in_flight == 0 || peer->in_flight > peer->match);
    }
}

void invariant_raft(const struct raft *raft)
{
    /* A leader counts on what it was told, as long as its term lasts [paper 5.3]. */
    assert(raft->vouched_term != raft->term || raft->vouched_index <= raft_log_last_index(&raft->log));
    assert(raft->log.snapshot.index <= raft->commit_index);
    assert(raft->commit_index <= raft_log_last_index(&raft->log));
    assert(raft->applied_index == raft->commit_index);
    assert(raft_log_last_term(&raft->log) <= raft->term);
    assert(raft->configuration_index <= raft_log_last_index(&raft->log));
    assert(raft->configuration.count <= RAFT_MEMBERS_MAX);
    assert(raft->durable_sequence < raft->next_sequence);
    assert(raft->stood_term == 0 || (raft->stood_term == raft->term && raft->vote == raft->options.id));
    assert(raft->leader_id == 0 || raft->leader_id == raft->term_leader);
    if (raft->role == RAFT_LEADER)
        invariant_leader(raft);
    else
        assert(raft->joining.id == 0 && raft->leaving_id == 0 && raft->transfer_id == 0);
}
