/* Agrees on one log of entries among 1 to 7 members: Raft as a pure function.
 *
 * raft_step(raft, event, update) is the whole protocol. It has no clock, no I/O and no environment: the time comes in
 * with every event; what to persist, what to send, what is committed and when to call next come out in the update.
 *
 * The caller's contract, for every update, in this order:
 * 1. `persist`, if its sequence is not 0, is handed to the disk as ONE atomic frame (after a crash all of it is there or
 *    none of it), in the order of sequences, and may finish later: then the caller steps RAFT_EVENT_PERSISTED with the
 *    newest sequence through which everything is durable. Several may be in flight.
 * 2. `messages` are sent at once, none of them waits for anything: a message that depends on durability (every answer,
 *    every request for a real vote) is kept inside until the event that reports it, and comes out of that step.
 * 3. `snapshot_installed`, if any, replaces the applied state; then the entries apply_first..apply_last (raft_entry) are
 *    applied in order, each exactly once. They are durable on a majority, not necessarily here: applied state is
 *    rebuilt after a restart from the snapshot and the entries, never saved by itself.
 * 4. At `timeout_us`, or with any earlier event, raft_step is called again.
 * All pointers in an update are borrowed until the next raft_step or raft_destroy; pointers in an event until
 * raft_step returns.
 *
 * Promises: the five safety properties of the Raft paper (figure 3) under lost, repeated, reordered and late messages and
 * crashes; any bytes in a message do no more harm than a message of that sender could, are counted and never crash.
 * Sources: [paper] Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm (Extended Version)";
 * [thesis] Ongaro, "Consensus: Bridging Theory and Practice". */
#pragma once

#include "net/bytes.h"

enum {
    RAFT_MEMBERS_MAX = 7,
    RAFT_ADDRESS_BYTES_MAX = 64,
    RAFT_ENTRY_BYTES_MAX = 1 << 20,
    RAFT_SNAPSHOT_BYTES_MAX = 1 << 24,
    RAFT_BATCH_ENTRIES_MAX = 1024, /* of one message */
    RAFT_CONFIGURATION_BYTES_MAX = 1 + RAFT_MEMBERS_MAX * (8 + 1 + RAFT_ADDRESS_BYTES_MAX),
};

/* Higher terms and indexes than this are taken for damage: nothing reaches them, and sums of two can't overflow. */
#define RAFT_NUMBER_MAX (UINT64_C(1) << 62)
#define RAFT_NEVER UINT64_MAX
/* Terms rise by one an election, so one that is this far above ours is a lie. Believed, it would use terms up: a cluster at
 * RAFT_NUMBER_MAX can't elect anybody ever again. */
#define RAFT_TERM_JUMP_MAX (UINT64_C(1) << 24)

/* A member's id is drawn at random at its creation and never used again; 0 means none. */
struct raft_member {
    uint64_t id;
    uint8_t address_len;
    uint8_t address[RAFT_ADDRESS_BYTES_MAX]; /* opaque to Raft: how to reach it, as the caller writes it */
};

/* The voters. */
struct raft_configuration {
    uint32_t count; /* 0: not a member of anything yet */
    struct raft_member members[RAFT_MEMBERS_MAX];
};

/* Its bytes, in entries of type RAFT_ENTRY_CONFIGURATION and in snapshots:
 *     count u8, then for each member: id (little-endian u64), address length u8, address bytes.
 * Valid if and only if 1 <= count <= 7, ids are distinct and not 0, lengths are at most 64, and nothing follows.
 * encode returns the length; out has room for RAFT_CONFIGURATION_BYTES_MAX. */
size_t raft_configuration_encode(const struct raft_configuration *configuration, uint8_t *out);
bool raft_configuration_decode(struct bytes bytes, struct raft_configuration *ret_configuration);
/* NULL if it is not in it. */
const struct raft_member *raft_configuration_find(const struct raft_configuration *configuration, uint64_t id);

enum raft_entry_type {
    RAFT_ENTRY_NOOP = 1,      /* a new leader's first; no data */
    RAFT_ENTRY_DATA,          /* a proposal, opaque */
    RAFT_ENTRY_CONFIGURATION, /* takes effect when appended, not when committed [thesis 4.1] */
};

struct raft_entry {
    uint64_t index; /* from 1 */
    uint64_t term;
    uint8_t type; /* enum raft_entry_type */
    struct bytes data;
};

/* The whole applied state after entry `index`. */
struct raft_snapshot {
    uint64_t index;
    uint64_t term;               /* of that entry */
    struct bytes configuration;  /* as of that entry, encoded */
    struct bytes data;
};

enum raft_message_type {
    RAFT_PRE_VOTE = 1,
    RAFT_PRE_VOTE_REPLY,
    RAFT_VOTE,
    RAFT_VOTE_REPLY,
    RAFT_APPEND, /* without entries: the heartbeat */
    RAFT_APPEND_REPLY, /* also answers RAFT_SNAPSHOT */
    RAFT_SNAPSHOT,
    RAFT_TIMEOUT_NOW, /* the leader asks the receiver to stand for election at once [thesis 3.10] */
};

/* One message. A field that its type does not name is 0. */
struct raft_message {
    uint8_t type; /* enum raft_message_type */
    bool reject;   /* replies */
    bool transfer; /* vote: the leader asked for this election; receivers forget their lease */
    uint64_t from; /* member ids */
    uint64_t to;
    uint64_t term;     /* the sender's; pre-vote and its grant: the term that it would stand in */
    uint64_t index;    /* (pre-)vote: last entry; append: the entry before entries[0]; append reply: durable and equal
                          through here, if rejected the refused append's index */
    uint64_t log_term; /* (pre-)vote and append: term of the entry `index` */
    uint64_t commit;   /* append */
    uint64_t hint;     /* rejected append: try again with `index` at most this */
    const struct raft_entry *entries; /* append: consecutive from index + 1; borrowed */
    uint32_t entry_count;
    struct raft_snapshot snapshot; /* snapshot; borrowed */
};

enum raft_event_type {
    RAFT_EVENT_TICK = 1,    /* only the time */
    RAFT_EVENT_MESSAGE,     /* message */
    RAFT_EVENT_PERSISTED,   /* sequence: every persist up to this one is durable */
    RAFT_EVENT_PROPOSE,     /* data; update: proposed_index, which commits if it is seen applied with proposed_term */
    RAFT_EVENT_PEER_CLOSED, /* member_id: the connection to it closed */
    RAFT_EVENT_TRANSFER,    /* member_id, or 0 for the voter that has most: hand leadership over */
    RAFT_EVENT_ADD_MEMBER,  /* member: first brought up to date, then appended as a configuration [thesis 4.2.1] */
    RAFT_EVENT_REMOVE_MEMBER, /* member_id; may be the leader itself */
    RAFT_EVENT_COMPACT,     /* index (applied), data: the whole state after it */
};

struct raft_event {
    enum raft_event_type type;
    uint64_t now_us; /* never goes back */
    const struct raft_message *message; /* borrowed */
    const struct raft_member *member;   /* borrowed */
    uint64_t member_id;
    uint64_t sequence;
    uint64_t index;
    struct bytes data; /* borrowed; what is kept is copied */
};

/* What one step must make durable. Recovery applies frames in order: hard state, then snapshot, then truncation, then
 * entries. */
struct raft_persist {
    uint64_t sequence; /* 0: nothing to persist; else one higher than the last */
    bool hard_state_changed;
    uint64_t term; /* always filled in */
    uint64_t vote;
    const struct raft_snapshot *snapshot; /* NULL: none */
    bool snapshot_keeps_log; /* the entries after its index stay (compaction); else all entries go. A caller that now
                                drops older frames writes raft_entry(index + 1 .. last_index) again behind it */
    uint64_t truncate_from;  /* 0: nothing; else entries from this index on go */
    const struct raft_entry *entries; /* consecutive; all entries that are new in this step */
    size_t entry_count;
};

enum raft_change_result {
    RAFT_CHANGE_NONE = 0,
    RAFT_CHANGE_COMMITTED, /* the change asked of this leader has committed */
    RAFT_CHANGE_ABORTED,   /* the member to add did not catch up in time, or leadership was lost: nothing was appended */
};

struct raft_update {
    struct raft_persist persist;
    const struct raft_message *messages;
    size_t message_count;
    const struct raft_snapshot *snapshot_installed; /* NULL: none */
    uint64_t apply_first; /* apply_first > apply_last: nothing to apply */
    uint64_t apply_last;
    uint64_t proposed_index; /* of an accepted proposal, or of a membership change that was appended at once */
    uint64_t proposed_term;
    uint64_t timeout_us; /* absolute; RAFT_NEVER: none */
    uint64_t leader_id;  /* 0: not known */
    bool leader_changed; /* leader_id is another than after the last step */
    bool became_leader;
    bool leader_ready; /* the no-op of the own term has committed: all that was ever committed is now applied */
    bool lost_leadership; /* what was proposed and has not been applied may commit or may not */
    bool configuration_changed; /* raft_configuration() is another than before */
    enum raft_change_result change;
};

enum raft_role {
    RAFT_FOLLOWER = 1,
    RAFT_PRE_CANDIDATE,
    RAFT_CANDIDATE,
    RAFT_LEADER,
};

struct raft_status {
    enum raft_role role;
    bool ready; /* leader whose no-op has committed */
    uint64_t id, term, vote, leader_id;
    uint64_t first_index; /* of the log in memory: snapshot index + 1 */
    uint64_t last_index, last_term, durable_index, commit_index;
    uint64_t snapshot_index;
    uint64_t configuration_index; /* of the entry that brought the configuration in force; 0: the first one */
    uint64_t joining_id; /* being brought up to date; 0: none */
};

/* Since creation. What is ignored is counted once, under its first reason. */
struct raft_counters {
    uint64_t messages_received;
    uint64_t messages_sent;
    uint64_t ignored_unknown_type;
    uint64_t ignored_misaddressed; /* not to us, or from nobody or ourselves */
    uint64_t ignored_stranger;     /* from who is no member, where membership matters */
    uint64_t ignored_old_term;
    uint64_t ignored_malformed; /* impossible numbers, gaps, oversized or undecodable content */
    uint64_t ignored_forged;    /* contradicts what Raft makes certain: a second leader of a term, committed entries changed */
    uint64_t ignored_stale;     /* late or repeated, harmless */
    uint64_t ignored_lease;     /* votes refused because the leader lives */
    uint64_t dropped_full;      /* own messages that found no room; Raft sends again */
    uint64_t dropped_memory;    /* received messages that found no memory */
    uint64_t elections_started;
    uint64_t pre_votes_started;
    uint64_t elections_won;
    uint64_t quorum_lost;
    uint64_t snapshots_sent;
    uint64_t snapshots_installed;
};

struct raft_options {
    uint64_t id;   /* not 0 */
    uint64_t seed; /* of the timeouts */
    uint64_t heartbeat_us;        /* 0: 100 ms */
    uint64_t election_timeout_us; /* 0: 500 ms; drawn from this to twice this. More than the heartbeat */
    uint64_t leader_gone_delay_us; /* 0: 20 ms; a pre-vote starts by then after the leader's connection closed */
    size_t batch_bytes_max; /* 0: 256 KiB; entry data of one append, though always at least one entry */
};

/* What the disk held. A new cluster's first member set comes as a snapshot with index 0, term 0 and no data, the same at
 * every member; one with an empty configuration belongs to a member that waits to be added. */
struct raft_restored {
    uint64_t term;
    uint64_t vote;
    struct raft_snapshot snapshot;
    const struct raft_entry *entries; /* consecutive from snapshot.index + 1 */
    size_t entry_count;
};

struct raft;

/* Copies what it keeps; everything restored counts as durable, and the restored snapshot as applied: the caller starts its
 * state from it, and is handed the entries behind it again as they turn out to be committed. Errors: ERROR_OUT_OF_MEMORY; ERROR_FILE_CORRUPT if what was
 * restored contradicts itself. The first step should be a tick at once: a single voter becomes leader by it. */
int raft_create(const struct raft_options *options, const struct raft_restored *restored, uint64_t now_us,
                struct raft **ret_raft);
void raft_destroy(struct raft *raft); /* accepts NULL */

/* Returns 0, or why a local request is refused, with nothing changed by it (time has passed all the same, and the update
 * is to be obeyed as ever):
 * ERROR_OPERATION_OBSOLETE        not the leader (any more), or on the way out: a transfer is under way; a compaction that
 *                                 is not above the newest snapshot
 * ERROR_OPERATION_FAILED          not now: another membership change is under way, or the own no-op has not committed;
 *                                 compaction at an index where a joining member does not know the members yet
 * ERROR_CLIENT_INVALID_OPERATION  never: too large, no such member, already a member, too many, the last one
 * ERROR_OUT_OF_MEMORY
 * Events without a request return 0. */
int raft_step(struct raft *raft, const struct raft_event *event, struct raft_update *update);

/* RAFT_EVENT_COMPACT for short. */
int raft_compact(struct raft *raft, uint64_t now_us, uint64_t index, struct bytes data, struct raft_update *update);

/* The entry at index, first_index <= index <= last_index; NULL outside. Borrowed until the next step. */
const struct raft_entry *raft_entry(const struct raft *raft, uint64_t index);
/* Newest snapshot (index 0: none yet), borrowed until the next step. */
const struct raft_snapshot *raft_snapshot(const struct raft *raft);
/* The configuration in force, borrowed until the next step. */
const struct raft_configuration *raft_configuration(const struct raft *raft);
void raft_status(const struct raft *raft, struct raft_status *ret_status);
const struct raft_counters *raft_counters(const struct raft *raft);
/* Asserts what holds between any two steps. */
void invariant_raft(const struct raft *raft);
