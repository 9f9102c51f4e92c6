/* A leader hands over [thesis 3.10]: it stops taking proposals, brings the target's log level with its own, and tells it to
 * stand at once. If no new term has come after an election timeout, it goes on leading. */
#include <assert.h>

#include "net/error.h"
#include "roles/coordinator/raft/raft_internal.h"

const struct raft_peer *raft_best_voter(const struct raft *raft)
{
    const struct raft_peer *best = NULL;

    for (uint32_t i = 0; i < raft->peer_count; i++) {
        const struct raft_peer *peer = &raft->peers[i];

        if (peer->voter && (best == NULL || peer->match > best->match))
            best = peer;
    }
    return best;
}

void raft_send_timeout_now(struct raft *raft, uint64_t to)
{
    raft_send(raft, to, (struct raft_message){.type = RAFT_TIMEOUT_NOW, .term = raft->term});
}

int raft_transfer(struct raft *raft, uint64_t to)
{
    const struct raft_peer *peer = to == 0 ? raft_best_voter(raft) : raft_peer_find(raft, to);

    if (raft->role != RAFT_LEADER)
        return ERROR_OPERATION_OBSOLETE;
    if (peer == NULL || !peer->voter)
        return ERROR_CLIENT_INVALID_OPERATION;
    if (raft->transfer_id != 0)
        return raft->transfer_id == peer->id ? 0 : ERROR_OPERATION_FAILED;
    raft->transfer_id = peer->id;
    raft->transfer_us = raft->now_us + raft->options.election_timeout_us;
    raft_transfer_progress(raft, peer);
    return 0;
}

/* Said again after each answer until it works or is given up: the word may get lost. */
void raft_transfer_progress(struct raft *raft, const struct raft_peer *peer)
{
    assert(raft->role == RAFT_LEADER);
    if (peer->id == raft->transfer_id && peer->match == raft_log_last_index(&raft->log))
        raft_send_timeout_now(raft, peer->id);
}

void raft_receive_timeout_now(struct raft *raft, const struct raft_message *message)
{
    if (message->term < raft->term) {
        raft->counters.ignored_old_term++;
        return;
    }
    if (message->term > raft->term || message->from != raft->leader_id || !raft_electable(raft) ||
        raft->term >= RAFT_NUMBER_MAX) {
        raft->counters.ignored_stale++;
        return;
    }
    assert(raft->role == RAFT_FOLLOWER);
    raft_start_election(raft, true);
}
