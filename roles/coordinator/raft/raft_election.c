/* Who leads: pre-votes, votes, the follower's lease, and the way in and out of leadership.
 *
 * A failed leader should be replaced within tens of milliseconds, a living one never be disturbed. So candidacy is
 * always preceded by a pre-vote, which changes nobody's term; pre-votes are cheap and therefore retried soon, with a
 * back-off. Two that stand at once would split the votes: whoever grants a pre-vote steps back, and of two
 * pre-candidates the one with the lower (log end, id) gives way. That is an arrangement about pre-votes alone: real
 * votes go by the paper. */
#include <assert.h>

#include "roles/coordinator/raft/raft_internal.h"

void raft_set_election_timeout(struct raft *raft)
{
    uint64_t least = raft->options.election_timeout_us;

    raft->election_us = raft->now_us + least + raft_random(raft, least); /* [paper 5.2] */
}

/* The wait of a candidacy for its answers. */
static void set_retry_timeout(struct raft *raft, uint32_t round, uint64_t base_max)
{
    uint64_t base = raft->options.heartbeat_us << (round < 16 ? round : 16);

    if (base > base_max)
        base = base_max;
    raft->election_us = raft->now_us + base + raft_random(raft, base);
}

void raft_become_follower(struct raft *raft, uint64_t term, uint64_t leader_id)
{
    bool led = raft->role == RAFT_LEADER;

    assert(term >= raft->term);
    assert(leader_id != raft->options.id);
    raft->role = RAFT_FOLLOWER;
    if (term > raft->term) {
        raft_set_hard_state(raft, term, 0);
        raft->term_leader = 0;
        raft->stood_term = 0;
    }
    if (leader_id != 0)
        raft->term_leader = leader_id;
    raft->leader_id = leader_id;
    if (led) {
        raft->stood_term = 0;
        raft_membership_stop(raft);
        raft->transfer_id = 0;
    }
    if (led || raft->election_us == RAFT_NEVER)
        raft_set_election_timeout(raft);
}

void raft_hear_leader(struct raft *raft, uint64_t leader_id)
{
    assert(raft->role != RAFT_LEADER);
    assert(raft->term_leader == 0 || raft->term_leader == leader_id);
    raft->role = RAFT_FOLLOWER;
    raft->stood_term = 0; /* the term has its leader, and it is not us */
    raft->term_leader = leader_id;
    raft->leader_id = leader_id;
    raft->leader_heard_us = raft->now_us;
    raft->pre_vote_round = raft->election_round = 0;
    raft_set_election_timeout(raft);
}

void raft_leader_closed(struct raft *raft, uint64_t id)
{
    uint64_t soon = raft->now_us + 1 + raft_random(raft, raft->options.leader_gone_delay_us);

    if (raft->role == RAFT_LEADER || id == 0 || id != raft->leader_id)
        return;
    raft->leader_id = 0; /* and with it the lease */
    if (soon < raft->election_us)
        raft->election_us = soon;
}

/* Votes are refused while a leader lives [thesis 4.2.3, 6.4]. */
static bool lease_holds(const struct raft *raft)
{
    if (raft->role == RAFT_LEADER)
        return true;
    return raft->leader_id != 0 && raft->now_us < raft->leader_heard_us + raft->options.election_timeout_us;
}

static bool have_majority(const struct raft *raft, bool pre_vote)
{
    uint32_t granted = raft_is_voter(raft, raft->options.id);

    for (uint32_t i = 0; i < raft->peer_count; i++) {
        const struct raft_peer *peer = &raft->peers[i];

        granted += peer->voter && (pre_vote ? peer->pre_vote_granted : peer->vote_granted);
    }
    return granted >= raft_quorum(raft);
}

static void become_leader(struct raft *raft)
{
    assert(raft->role == RAFT_PRE_CANDIDATE || raft->role == RAFT_CANDIDATE);
    assert(raft->stood_term == raft->term && raft->vote == raft->options.id);
    assert(raft->term_leader == 0);
    /* Only entries of the own term are committed by counting [paper 5.4.2]; the no-op is the first [thesis 6.4]. */
    if (raft_append(raft, RAFT_ENTRY_NOOP, raft->term, bytes_none()) != 0) {
        raft->counters.dropped_memory++;
        raft->stood_term = 0;
        raft_become_follower(raft, raft->term, 0);
        return;
    }
    raft->role = RAFT_LEADER;
    raft->leader_id = raft->term_leader = raft->options.id;
    raft->pre_vote_round = raft->election_round = 0;
    raft->counters.elections_won++;
    raft_lead_log(raft);
}

/* The own vote counts only once it is durable; the persist behind it comes back as an event. */
static void try_win(struct raft *raft)
{
    if (raft->role != RAFT_CANDIDATE && raft->role != RAFT_PRE_CANDIDATE)
        return;
    if (raft->stood_term != raft->term || !raft_sequence_durable(raft, raft->hard_state_sequence))
        return;
    if (have_majority(raft, false))
        become_leader(raft);
}

void raft_election_persisted(struct raft *raft)
{
    bool asks_now = raft->role == RAFT_CANDIDATE && raft->election_us == RAFT_NEVER &&
                    raft_sequence_durable(raft, raft->hard_state_sequence);

    /* The voters' disks may be slow as well: candidacies that fail wait longer each time, up to far more than a
     * follower would, or they would overtake their own votes for ever. */
    if (asks_now)
        set_retry_timeout(raft, raft->election_round++, 8 * raft->options.election_timeout_us);
    try_win(raft);
}

static void ask_voters(struct raft *raft, struct raft_message message, uint64_t sequence)
{
    message.index = raft_log_last_index(&raft->log);
    message.log_term = raft_log_last_term(&raft->log);
    for (uint32_t i = 0; i < raft->peer_count; i++) {
        if (raft->peers[i].voter)
            raft_send_durable(raft, raft->peers[i].id, message, sequence);
    }
}

void raft_start_election(struct raft *raft, bool transfer)
{
    assert(raft->role != RAFT_LEADER);
    assert(raft_electable(raft));
    raft->role = RAFT_CANDIDATE;
    raft->leader_id = raft->term_leader = 0;
    raft_set_hard_state(raft, raft->term + 1, raft->options.id);
    raft->stood_term = raft->term;
    for (uint32_t i = 0; i < raft->peer_count; i++)
        raft->peers[i].vote_granted = false;
    raft->counters.elections_started++;
    raft->election_us = RAFT_NEVER; /* until it has asked anybody */
    /* Sent only when term and vote are durable: else a restart could stand in this term again, with another log, and
     * count the answers to this request. */
    ask_voters(raft, (struct raft_message){.type = RAFT_VOTE, .term = raft->term, .transfer = transfer},
               raft->hard_state_sequence);
}

/* Standing again leaves an unfinished candidacy alive: its late votes still elect, as long as the term is the same. */
static void start_pre_vote(struct raft *raft)
{
    raft->role = RAFT_PRE_CANDIDATE;
    raft->leader_id = 0;
    for (uint32_t i = 0; i < raft->peer_count; i++)
        raft->peers[i].pre_vote_granted = false;
    raft->counters.pre_votes_started++;
    set_retry_timeout(raft, raft->pre_vote_round++, raft->options.election_timeout_us);
    if (have_majority(raft, true)) {
        raft_start_election(raft, false);
        return;
    }
    ask_voters(raft, (struct raft_message){.type = RAFT_PRE_VOTE, .term = raft->term + 1}, 0); /* [thesis 9.6] */
}

void raft_election_timers(struct raft *raft)
{
    if (raft->role == RAFT_LEADER || raft->now_us < raft->election_us)
        return;
    if (raft_electable(raft) && raft->term < RAFT_NUMBER_MAX) {
        start_pre_vote(raft);
        return;
    }
    raft->leader_id = 0;
    raft_set_election_timeout(raft);
}

/* One that we do not know as a member and whose log has nothing that ours lacks can't know of a configuration that we do
 * not know: it was removed. Even its term is ignored. */
static bool is_removed(const struct raft *raft, const struct raft_message *message)
{
    if (raft->configuration.count == 0 || raft_is_voter(raft, message->from))
        return false;
    return raft_log_compare_end(&raft->log, message->log_term, message->index) <= 0;
}

/* Term and vote are durable before any answer. */
static void answer(struct raft *raft, const struct raft_message *message, uint8_t type, uint64_t term, bool reject)
{
    struct raft_message reply = {.type = type, .term = term, .reject = reject};

    raft_send_durable(raft, message->from, reply, raft->hard_state_sequence);
}

/* Of two pre-candidates, who goes on? */
static bool gives_way(const struct raft *raft, const struct raft_message *message)
{
    int order = raft_log_compare_end(&raft->log, message->log_term, message->index);

    return order > 0 || (order == 0 && message->from > raft->options.id);
}

static bool pre_vote_grantable(const struct raft *raft, const struct raft_message *message)
{
    if (raft_log_compare_end(&raft->log, message->log_term, message->index) < 0)
        return false; /* [paper 5.4.1] */
    if (raft->role != RAFT_FOLLOWER && !gives_way(raft, message))
        return false;
    if (message->term > raft->term)
        return true;
    return (raft->vote == 0 || raft->vote == message->from) && raft->term_leader == 0;
}

void raft_receive_pre_vote(struct raft *raft, const struct raft_message *message)
{
    bool old = message->term < raft->term;

    if (is_removed(raft, message)) {
        raft->counters.ignored_stranger++;
        return;
    }
    if (!old && lease_holds(raft)) {
        raft->counters.ignored_lease++;
        return;
    }
    if (old || !pre_vote_grantable(raft, message)) {
        answer(raft, message, RAFT_PRE_VOTE_REPLY, raft->term, true);
        return;
    }
    answer(raft, message, RAFT_PRE_VOTE_REPLY, message->term, false);
    if (raft->role == RAFT_PRE_CANDIDATE)
        raft->role = RAFT_FOLLOWER;
    if (raft->election_us < raft->now_us + raft->options.heartbeat_us)
        raft->election_us =
            raft->now_us + raft->options.heartbeat_us + raft_random(raft, raft->options.heartbeat_us);
}

void raft_receive_pre_vote_reply(struct raft *raft, const struct raft_message *message)
{
    if (message->reject) {
        if (message->term > raft->term)
            raft_become_follower(raft, message->term, 0);
        else
            raft->counters.ignored_stale++;
        return;
    }
    if (raft->role != RAFT_PRE_CANDIDATE || message->term != raft->term + 1) {
        raft->counters.ignored_stale++;
        return;
    }
    raft_peer_find(raft, message->from)->pre_vote_granted = true;
    if (have_majority(raft, true))
        raft_start_election(raft, false);
}

static bool vote_grantable(const struct raft *raft, const struct raft_message *message)
{
    assert(message->term == raft->term);
    if (raft->vote != 0 && raft->vote != message->from)
        return false; /* [paper 5.2] */
    if (raft->term_leader != 0)
        return false;
    return raft_log_compare_end(&raft->log, message->log_term, message->index) >= 0; /* [paper 5.4.1] */
}

void raft_receive_vote(struct raft *raft, const struct raft_message *message)
{
    if (is_removed(raft, message)) {
        raft->counters.ignored_stranger++;
        return;
    }
    if (message->term < raft->term) {
        answer(raft, message, RAFT_VOTE_REPLY, raft->term, true);
        return;
    }
    if (!message->transfer && lease_holds(raft)) {
        raft->counters.ignored_lease++; /* without even taking its term [thesis 4.2.3] */
        return;
    }
    if (message->term > raft->term)
        raft_become_follower(raft, message->term, 0);
    if (!vote_grantable(raft, message)) {
        answer(raft, message, RAFT_VOTE_REPLY, raft->term, true);
        return;
    }
    if (raft->vote == 0)
        raft_set_hard_state(raft, raft->term, message->from);
    raft_set_election_timeout(raft);
    answer(raft, message, RAFT_VOTE_REPLY, raft->term, false);
}

void raft_receive_vote_reply(struct raft *raft, const struct raft_message *message)
{
    if (message->term > raft->term && message->reject) {
        raft_become_follower(raft, message->term, 0); /* [paper 5.1] */
        return;
    }
    if (message->term > raft->term) {
        raft->counters.ignored_forged++; /* a grant of a term in which we did not stand */
        return;
    }
    if (message->term < raft->term) {
        raft->counters.ignored_old_term++;
        return;
    }
    if (message->reject || raft->stood_term != raft->term) {
        raft->counters.ignored_stale++;
        return;
    }
    raft_peer_find(raft, message->from)->vote_granted = true;
    try_win(raft);
}
