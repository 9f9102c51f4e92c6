/* The leader's side of the log: batches out, answers in, the commit index, and whether anybody still listens.
 *
 * Each peer has at most one batch under way. `next` moves with answers only, so an append that was lost is sent again by
 * the first heartbeat that is due, and an empty append (the heartbeat) goes out with the same previous entry. A rejection
 * counts only if it is about the append that was sent last. Simple beats fast here: the log sees a few entries a second. */
#include <assert.h>

#include "net/planted_bug.h"
#include "roles/coordinator/raft/raft_internal.h"

void raft_lead_log(struct raft *raft)
{
    uint64_t last = raft_log_last_index(&raft->log);

    assert(raft->role == RAFT_LEADER);
    raft->noop_index = last;
    raft->led_commit = raft->commit_index;
    raft->transfer_id = 0;
    raft->change_pending = false;
    for (uint32_t i = 0; i < raft->peer_count; i++) {
        struct raft_peer *peer = &raft->peers[i];

        peer->match = 0;
        peer->next = last; /* [paper figure 2]: guess that all but the no-op is there */
        peer->in_flight = 0;
        peer->commit_sent = 0;
        peer->heard_us = raft->now_us;
        raft_send_append(raft, peer);
    }
}

static void send_snapshot(struct raft *raft, struct raft_peer *peer)
{
    raft_send(raft, peer->id, (struct raft_message){.type = RAFT_SNAPSHOT, .term = raft->term});
    peer->in_flight = raft->log.snapshot.index;
    raft->counters.snapshots_sent++;
}

/* As many entries from `next` on as one batch holds. */
static uint32_t batch_count(const struct raft *raft, uint64_t next)
{
    size_t bytes = 0;
    uint32_t count = 0;
    const struct raft_entry *entry;

    while (count < RAFT_BATCH_ENTRIES_MAX && (entry = raft_log_entry(&raft->log, next + count)) != NULL) {
        bytes += entry->data.len;
        if (count != 0 && bytes > raft->options.batch_bytes_max)
            break;
        count++;
    }
    return count;
}

void raft_send_append(struct raft *raft, struct raft_peer *peer)
{
    struct raft_message message = {
        .type = RAFT_APPEND, .term = raft->term, .index = peer->next - 1, .commit = raft->commit_index};

    assert(raft->role == RAFT_LEADER);
    assert(peer->next <= raft_log_last_index(&raft->log) + 1);
    peer->sent_us = raft->now_us;
    if (!raft_log_term(&raft->log, message.index, &message.log_term)) {
        send_snapshot(raft, peer); /* the entries are compacted away [paper 7] */
        return;
    }
    message.entry_count = batch_count(raft, peer->next);
    peer->in_flight = message.entry_count == 0 ? 0 : message.index + message.entry_count;
    peer->commit_sent = raft->commit_index;
    raft_send(raft, peer->id, message);
}

static void send_if_new(struct raft *raft, struct raft_peer *peer)
{
    bool behind = peer->next <= raft_log_last_index(&raft->log) || peer->commit_sent < raft->commit_index;

    if (peer->in_flight == 0 && behind)
        raft_send_append(raft, peer);
}

void raft_broadcast(struct raft *raft)
{
    for (uint32_t i = 0; i < raft->peer_count; i++)
        send_if_new(raft, &raft->peers[i]);
}

/* The highest number that a majority of voters has reached, ours being `own`. */
static uint64_t majority_reached(const struct raft *raft, uint64_t own, bool heard)
{
    uint64_t sorted[RAFT_MEMBERS_MAX] = {0};
    uint32_t count = 0;

    if (raft_is_voter(raft, raft->options.id))
        sorted[count++] = own;
    for (uint32_t i = 0; i < raft->peer_count; i++) {
        uint64_t value = heard ? raft->peers[i].heard_us : raft->peers[i].match;
        uint32_t at = count;

        if (!raft->peers[i].voter)
            continue;
        assert(count < RAFT_MEMBERS_MAX);
        for (; at > 0 && sorted[at - 1] < value; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = value;
        count++;
    }
    assert(count == raft->configuration.count);
    return sorted[raft_quorum(raft) - 1];
}

uint64_t raft_quorum_deadline(const struct raft *raft)
{
    if (raft->role != RAFT_LEADER)
        return RAFT_NEVER;
    if (raft->configuration.count == 1 && raft_is_voter(raft, raft->options.id))
        return RAFT_NEVER;
    return majority_reached(raft, raft->now_us, true) + raft->options.election_timeout_us;
}

void raft_replication_timers(struct raft *raft)
{
    if (raft->role != RAFT_LEADER)
        return;
    if (raft->now_us >= raft_quorum_deadline(raft)) {
        raft->counters.quorum_lost++; /* [thesis 6.2] */
        raft_become_follower(raft, raft->term, 0);
        return;
    }
    if (raft->transfer_id != 0 && raft->now_us >= raft->transfer_us)
        raft->transfer_id = 0;
    for (uint32_t i = 0; i < raft->peer_count; i++) {
        if (raft->now_us >= raft->peers[i].sent_us + raft->options.heartbeat_us)
            raft_send_append(raft, &raft->peers[i]);
    }
}

/* The leader counts itself only as far as its own disk is [thesis 10.2.1]. */
void raft_advance_commit(struct raft *raft)
{
    uint64_t own = raft_log_durable_index(&raft->log, raft->durable_sequence);
    uint64_t index = majority_reached(raft, own, false), term = 0;
    bool was_ready = raft->commit_index >= raft->noop_index;

    assert(raft->role == RAFT_LEADER);
    if (index <= raft->commit_index)
        return;
    /* Never an entry of an older term by counting [paper 5.4.2, figure 8]. */
    if (!raft_log_term(&raft->log, index, &term) || (term != raft->term && !PLANTED_BUG(COMMIT_OLD_TERM)))
        return;
    raft->commit_index = index;
    raft->leader_ready = !was_ready && index >= raft->noop_index;
    raft_broadcast(raft);
    raft_membership_committed(raft);
}

static void accepted(struct raft *raft, struct raft_peer *peer, uint64_t index)
{
    if (index > raft_log_last_index(&raft->log)) {
        raft->counters.ignored_forged++;
        return;
    }
    if (index > peer->match)
        peer->match = index;
    if (peer->next <= peer->match)
        peer->next = peer->match + 1;
    if (peer->in_flight <= peer->match)
        peer->in_flight = 0;
    raft_advance_commit(raft);
    if (raft->role != RAFT_LEADER)
        return;
    raft_membership_progress(raft, peer);
}

/* [paper 5.3]: one rejection a conflicting term. */
static void rejected(struct raft *raft, struct raft_peer *peer, const struct raft_message *message)
{
    uint64_t previous;

    if (message->index != peer->next - 1 || message->index <= peer->match) {
        raft->counters.ignored_stale++;
        return;
    }
    previous = message->hint < message->index ? message->hint : message->index - 1;
    peer->next = (previous > peer->match ? previous : peer->match) + 1;
    peer->in_flight = 0;
}

void raft_receive_append_reply(struct raft *raft, const struct raft_message *message)
{
    struct raft_peer *peer = raft_peer_find(raft, message->from);

    if (message->term > raft->term) {
        raft_become_follower(raft, message->term, 0); /* [paper 5.1] */
        return;
    }
    if (message->term < raft->term) {
        raft->counters.ignored_old_term++;
        return;
    }
    if (raft->role != RAFT_LEADER) {
        raft->counters.ignored_stale++;
        return;
    }
    peer->heard_us = raft->now_us;
    if (message->reject)
        rejected(raft, peer, message);
    else
        accepted(raft, peer, message->index);
    /* Committing may have ended our leadership, or the peer's place in the table. */
    peer = raft->role == RAFT_LEADER ? raft_peer_find(raft, message->from) : NULL;
    if (peer == NULL)
        return;
    send_if_new(raft, peer);
    raft_transfer_progress(raft, peer);
}
