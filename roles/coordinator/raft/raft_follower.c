/* The follower's side of the log: appends and snapshots.
 *
 * An append is answered when everything that the answer vouches for is durable. If the disk is slow, repeated appends are
 * also answered at once with what is durable so far, so that the leader knows that we live. */
#include <assert.h>

#include "roles/coordinator/raft/raft_internal.h"

static void reject(struct raft *raft, const struct raft_message *message, uint64_t hint)
{
    struct raft_message reply = {
        .type = RAFT_APPEND_REPLY, .term = raft->term, .reject = true, .index = message->index, .hint = hint};

    raft_send_durable(raft, message->from, reply, raft->hard_state_sequence);
}

static void accept_through(struct raft *raft, const struct raft_message *message, uint64_t matched)
{
    struct raft_message reply = {.type = RAFT_APPEND_REPLY, .term = raft->term, .index = matched};
    uint64_t sequence = raft_log_sequence(&raft->log, matched);
    bool wrote = sequence == raft->next_sequence;

    if (raft->vouched_term != raft->term || matched > raft->vouched_index)
        raft->vouched_index = matched;
    raft->vouched_term = raft->term;
    if (!wrote && !raft_sequence_durable(raft, sequence)) {
        struct raft_message alive = reply;

        /* Below what matched, so that it too is equal to the leader's. */
        alive.index = raft_log_durable_index(&raft->log, raft->durable_sequence);
        assert(alive.index <= matched); /* equal: 0, a late heartbeat from before a snapshot that is not durable yet */
        raft_send_durable(raft, message->from, alive, raft->hard_state_sequence);
    }
    if (sequence < raft->hard_state_sequence)
        sequence = raft->hard_state_sequence;
    raft_send_durable(raft, message->from, reply, sequence);
}

/* A sender whom we do not know as a member can only be the leader of a configuration that we do not know yet: then its log has
 * something that ours lacks. If not, even its term is ignored. `index` and `term` are the last that the message vouches for. */
static bool is_stranger(struct raft *raft, const struct raft_message *message, uint64_t index, uint64_t term)
{
    if (raft->configuration.count == 0 || raft_may_lead(raft, message->from))
        return false;
    if (raft_log_compare_end(&raft->log, term, index) > 0)
        return false;
    raft->counters.ignored_stranger++;
    return true;
}

/* True if the sender is the leader of the current term now. False: it has been answered or counted. */
static bool follow(struct raft *raft, const struct raft_message *message)
{
    if (message->term < raft->term) {
        raft->counters.ignored_old_term++;
        reject(raft, message, 0); /* the old leader learns the term [paper 5.1] */
        return false;
    }
    if (message->term == raft->term && raft->term_leader != 0 && raft->term_leader != message->from) {
        raft->counters.ignored_forged++; /* election safety [paper 5.2] */
        return false;
    }
    if (message->term > raft->term)
        raft_become_follower(raft, message->term, 0);
    raft_hear_leader(raft, message->from);
    return true;
}

/* Where the leader should try next: before all entries of the conflicting term [paper 5.3], never below what is committed. */
static uint64_t conflict_hint(const struct raft *raft, uint64_t index)
{
    uint64_t term = 0, conflicting = 0;

    if (index > raft_log_last_index(&raft->log))
        return raft_log_last_index(&raft->log);
    if (!raft_log_term(&raft->log, index, &conflicting))
        return raft->commit_index;
    while (index > raft->commit_index && raft_log_term(&raft->log, index, &term) && term == conflicting)
        index--;
    return index;
}

static void commit_through(struct raft *raft, uint64_t index)
{
    assert(index <= raft_log_last_index(&raft->log));
    if (index > raft->commit_index)
        raft->commit_index = index;
}

/* A leader's log only grows [paper 5.3]: what we told this term's leader to have of it is in it for good. Whoever speaks for it and
 * says something else is not it. */
static bool is_settled(const struct raft *raft, uint64_t index)
{
    return index <= raft->commit_index || (raft->vouched_term == raft->term && index <= raft->vouched_index);
}

/* [paper figure 2, AppendEntries 3 and 4]. False: the message contradicts what is settled. *ret_matched is the last
 * entry that is the leader's. */
static bool merge(struct raft *raft, const struct raft_message *message, uint64_t *ret_matched)
{
    uint64_t matched = message->index;

    for (uint32_t i = 0; i < message->entry_count; i++) {
        const struct raft_entry *entry = &message->entries[i];
        uint64_t term = 0;

        if (raft_log_term(&raft->log, entry->index, &term) && term != entry->term) {
            if (is_settled(raft, entry->index))
                return false;
            raft_truncate(raft, entry->index);
        }
        if (entry->index > raft_log_last_index(&raft->log) &&
            raft_append(raft, entry->type, entry->term, entry->data) != 0) {
            raft->counters.dropped_memory++;
            break;
        }
        matched = entry->index;
    }
    *ret_matched = matched;
    return true;
}

/* [thesis 4.1]: one member at a time, or two majorities need not meet. Only a log without members takes any. What the message
 * follows on is the leader's and ours. */
static bool configurations_follow(const struct raft *raft, const struct raft_message *message)
{
    struct raft_configuration before = {0}, after;
    uint64_t index;

    (void)raft_configuration_decode(raft_configuration_at(raft, message->index, &index), &before);
    for (uint32_t i = 0; i < message->entry_count; i++) {
        const struct raft_entry *entry = &message->entries[i];

        if (entry->type != RAFT_ENTRY_CONFIGURATION || entry->index <= raft->log.snapshot.index)
            continue;
        if (!raft_configuration_decode(entry->data, &after) || !raft_configuration_is_step(&before, &after))
            return false;
        before = after;
    }
    return true;
}

void raft_receive_append(struct raft *raft, const struct raft_message *message)
{
    uint32_t count = message->entry_count;
    uint64_t term = 0, matched = 0;
    bool known;

    if (is_stranger(raft, message, message->index + count, count == 0 ? message->log_term : message->entries[count - 1].term))
        return;
    if (!follow(raft, message))
        return;
    known = raft_log_term(&raft->log, message->index, &term);
    /* Below our snapshot everything is committed, so it is the leader's too [paper 5.4.3]. */
    if (message->index >= raft->log.snapshot.index && (!known || term != message->log_term)) {
        if (message->index <= raft->commit_index)
            raft->counters.ignored_forged++;
        else
            reject(raft, message, conflict_hint(raft, message->index));
        return;
    }
    if (!configurations_follow(raft, message) || !merge(raft, message, &matched)) {
        raft->counters.ignored_forged++;
        return;
    }
    /* Beyond `matched` our log may be another leader's: a higher commit index does not speak about it. */
    commit_through(raft, message->commit < matched ? message->commit : matched);
    accept_through(raft, message, matched);
}

static bool install(struct raft *raft, const struct raft_snapshot *snapshot)
{
    assert(snapshot->index > raft->commit_index);
    if (raft_log_set_snapshot(&raft->log, snapshot, false, raft->next_sequence) != 0) {
        raft->counters.dropped_memory++;
        return false;
    }
    raft->commit_index = raft->applied_index = snapshot->index;
    raft->snapshot_dirty = true;
    raft->snapshot_installed = true;
    raft->counters.snapshots_installed++;
    raft_refresh_configuration(raft);
    return true;
}

void raft_receive_snapshot(struct raft *raft, const struct raft_message *message)
{
    const struct raft_snapshot *snapshot = &message->snapshot;
    uint64_t term = 0;

    if (is_stranger(raft, message, snapshot->index, snapshot->term) || !follow(raft, message))
        return;
    if (snapshot->index <= raft->commit_index) {
        raft->counters.ignored_stale++;
        accept_through(raft, message, raft->commit_index);
        return;
    }
    /* An entry that it ends in vouches for all before it: they are applied instead [paper 7, figure 13]. */
    if (raft_log_term(&raft->log, snapshot->index, &term) && term == snapshot->term)
        commit_through(raft, snapshot->index);
    else if (is_settled(raft, snapshot->index)) {
        raft->counters.ignored_forged++;
        return;
    } else if (!install(raft, snapshot))
        return;
    accept_through(raft, message, snapshot->index);
}
