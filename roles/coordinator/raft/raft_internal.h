/* What the files of Raft share with each other and with nobody else. */
#pragma once

#include "roles/coordinator/raft/raft_log.h"

enum {
    /* All voters but us, one that joins, one that leaves. */
    RAFT_PEERS_MAX = RAFT_MEMBERS_MAX + 2,
    /* Answers that wait for the disk. One that finds no room is lost, which Raft is made for. */
    RAFT_HELD_MAX = 64,
    /* A step sends each peer a few messages at most, and releases what was held. */
    RAFT_OUTBOX_MAX = RAFT_HELD_MAX + 4 * RAFT_PEERS_MAX,
    /* Election timeouts that a member may take to catch up, and that one that was removed is told of it. */
    RAFT_JOIN_TIMEOUTS = 10,
};

struct raft_peer {
    uint64_t id;
    bool voter;
    bool pre_vote_granted;
    bool vote_granted; /* in stood_term */
    /* Of a leader: */
    uint64_t match;       /* its log is durable and equal to ours through here */
    uint64_t next;        /* first entry to send; moves on by answers alone, so that a lost batch is sent again */
    uint64_t in_flight;   /* last index of the one batch or snapshot that is under way; 0: none */
    uint64_t commit_sent; /* highest commit index that it has been sent */
    uint64_t sent_us;     /* last append or snapshot */
    uint64_t heard_us;
};

struct raft_held {
    uint64_t sequence; /* durable before the message goes */
    struct raft_message message;
};

struct raft {
    struct raft_options options;
    uint64_t random_state;
    uint64_t now_us;
    enum raft_role role;

    uint64_t term;
    uint64_t vote;
    uint64_t hard_state_sequence; /* of the persist that makes both durable */
    uint64_t stood_term;          /* own candidacy of this term is alive: its grants count; 0: none */
    uint64_t term_leader;         /* whoever leads or led `term`; 0: not known */
    uint64_t leader_id;           /* the same while it is believed alive */
    uint64_t leader_heard_us;
    uint64_t election_us; /* of all but leaders: next (pre-)candidacy */
    uint32_t pre_vote_round; /* since a leader was heard, for the back-off */
    uint32_t election_round;

    struct raft_log log;
    uint64_t commit_index;
    uint64_t applied_index;    /* handed to the caller */
    uint64_t next_sequence;    /* of this step's persist */
    uint64_t durable_sequence; /* as reported */

    struct raft_configuration configuration; /* the newest in the log, committed or not [thesis 4.1] */
    uint64_t configuration_index;
    bool was_member; /* of the configuration before it */
    struct raft_peer peers[RAFT_PEERS_MAX];
    uint32_t peer_count;

    uint64_t vouched_term, vouched_index; /* we told this term's leader that all through the index is ours, for good */

    /* Of a leader: */
    uint64_t noop_index;
    uint64_t led_commit; /* the commit index when it began to lead */
    uint64_t transfer_id; /* 0: none */
    uint64_t transfer_us; /* when it is given up */
    struct raft_member joining; /* id 0: none */
    uint64_t joining_us;
    uint64_t leaving_id; /* removed, but still told so; 0: none */
    uint64_t leaving_us;
    bool change_pending; /* a change of ours is appended and not committed */

    /* Of the step: */
    bool hard_state_dirty;
    bool snapshot_dirty;
    bool snapshot_keeps_log;
    bool snapshot_installed;
    bool configuration_changed;
    bool leader_ready;
    uint64_t truncate_from; /* 0: nothing */
    uint64_t appended_from; /* 0: nothing */
    enum raft_change_result change;
    struct raft_message outbox[RAFT_OUTBOX_MAX];
    size_t outbox_count;

    struct raft_held held[RAFT_HELD_MAX]; /* oldest first */
    size_t held_count;
    struct raft_counters counters;
};

/* raft.c */
uint64_t raft_random(struct raft *raft, uint64_t below); /* 0 if below is 0 */
/* Copies entry to the end of the log as a part of this step's persist. */
int raft_append(struct raft *raft, uint8_t type, uint64_t term, struct bytes data);
void raft_truncate(struct raft *raft, uint64_t from);
void raft_set_hard_state(struct raft *raft, uint64_t term, uint64_t vote);
bool raft_sequence_durable(const struct raft *raft, uint64_t sequence);

/* raft_message.c */
void raft_receive(struct raft *raft, const struct raft_message *message);
/* Goes out in this step. from and to are filled in. */
void raft_send(struct raft *raft, uint64_t to, struct raft_message message);
/* Goes out once `sequence` is durable, unless the term has moved past the message's by then. */
void raft_send_durable(struct raft *raft, uint64_t to, struct raft_message message, uint64_t sequence);
void raft_release_held(struct raft *raft);

/* raft_election.c */
void raft_become_follower(struct raft *raft, uint64_t term, uint64_t leader_id);
void raft_set_election_timeout(struct raft *raft);
void raft_hear_leader(struct raft *raft, uint64_t leader_id);
void raft_election_timers(struct raft *raft);
void raft_election_persisted(struct raft *raft);
void raft_leader_closed(struct raft *raft, uint64_t id);
void raft_receive_pre_vote(struct raft *raft, const struct raft_message *message);
void raft_receive_pre_vote_reply(struct raft *raft, const struct raft_message *message);
void raft_receive_vote(struct raft *raft, const struct raft_message *message);
void raft_receive_vote_reply(struct raft *raft, const struct raft_message *message);

/* raft_transfer.c */
int raft_transfer(struct raft *raft, uint64_t to);
void raft_transfer_progress(struct raft *raft, const struct raft_peer *peer);
/* The voter that has most of the log, other than us; NULL: none. */
const struct raft_peer *raft_best_voter(const struct raft *raft);
void raft_send_timeout_now(struct raft *raft, uint64_t to);
void raft_receive_timeout_now(struct raft *raft, const struct raft_message *message);
void raft_start_election(struct raft *raft, bool transfer); /* in raft_election.c */

/* raft_replication.c: the leader's side */
void raft_lead_log(struct raft *raft); /* a new leader's first */
void raft_send_append(struct raft *raft, struct raft_peer *peer);
void raft_broadcast(struct raft *raft);
void raft_replication_timers(struct raft *raft);
uint64_t raft_quorum_deadline(const struct raft *raft); /* RAFT_NEVER: alone */
void raft_advance_commit(struct raft *raft);
void raft_receive_append_reply(struct raft *raft, const struct raft_message *message);

/* raft_follower.c: the follower's side */
void raft_receive_append(struct raft *raft, const struct raft_message *message);
void raft_receive_snapshot(struct raft *raft, const struct raft_message *message);

/* raft_membership.c */
uint32_t raft_quorum(const struct raft *raft);
bool raft_is_voter(const struct raft *raft, uint64_t id);
/* The same, or it was one before a change that is not known to be committed: it may lead until then [thesis 4.2.2]. */
bool raft_may_lead(const struct raft *raft, uint64_t id);
/* True when `after` has at most one member more or less than `before`, which may be empty. */
bool raft_configuration_is_step(const struct raft_configuration *before, const struct raft_configuration *after);
bool raft_electable(const struct raft *raft);
struct raft_peer *raft_peer_find(struct raft *raft, uint64_t id);
/* The configuration in force after entry `index`, encoded. */
struct bytes raft_configuration_at(const struct raft *raft, uint64_t index, uint64_t *ret_index);
/* Reads the newest configuration of the log. */
void raft_refresh_configuration(struct raft *raft);
void raft_rebuild_peers(struct raft *raft);
int raft_add_member(struct raft *raft, const struct raft_member *member);
int raft_remove_member(struct raft *raft, uint64_t id);
void raft_membership_progress(struct raft *raft, const struct raft_peer *peer);
void raft_membership_committed(struct raft *raft);
void raft_membership_timers(struct raft *raft);
void raft_membership_stop(struct raft *raft); /* leadership is lost */
