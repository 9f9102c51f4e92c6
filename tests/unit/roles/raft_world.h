/* A cluster of Raft members in one process, with a network, disks and a clock that a test may break.
 *
 * Every update is checked against the paper's safety properties (figure 3) as it comes out; a violation aborts with the
 * seed and the time. Deterministic: a seed is a schedule. Member i (from 0) has the id i + 1, printed as m1, m2, ... */
#pragma once

#include "roles/coordinator/raft/raft.h"

enum {
    WORLD_NODES_MAX = 7,
    WORLD_ENTRY_BYTES_MAX = 1 + RAFT_MEMBERS_MAX * 9, /* addresses are empty here */
    WORLD_LOG_MAX = 4096,
    WORLD_TERMS_MAX = 1 << 16,
    WORLD_NET_MAX = 512,
    WORLD_FRAMES_MAX = 256,
    WORLD_TRACE_MAX = 1 << 18,
};

struct world_entry {
    uint64_t index, term;
    uint8_t type, len;
    uint8_t bytes[WORLD_ENTRY_BYTES_MAX];
};

/* What the applied state is: a chain of hashes over everything applied. */
struct world_state {
    uint64_t index, hash;
};

struct world_snapshot {
    uint64_t index, term;
    uint8_t configuration[RAFT_CONFIGURATION_BYTES_MAX];
    size_t configuration_len;
    struct world_state state; /* none at index 0 */
};

struct world_frame {
    uint64_t sequence, done_us;
    uint64_t term, vote;
    bool has_snapshot, snapshot_keeps_log;
    struct world_snapshot snapshot;
    uint64_t truncate_from;
    struct world_entry *entries; /* owned */
    size_t entry_count;
};

struct world_disk {
    uint64_t term, vote;
    struct world_snapshot snapshot;
    struct world_entry *entries; /* owned, WORLD_LOG_MAX */
    size_t entry_count;
};

struct world_node {
    struct raft *raft; /* owned; NULL: down */
    uint64_t id;
    uint64_t incarnation;
    struct world_disk disk;
    struct world_frame *frames; /* owned, WORLD_FRAMES_MAX; not durable yet, oldest first */
    size_t frame_count;
    uint64_t disk_us; /* of one frame */
    bool disk_stuck;  /* frames never finish */
    struct world_state state;
    uint64_t timeout_us;
    uint64_t led_term; /* while it leads */
    uint64_t led_last; /* its last index then */
    uint64_t closed[WORLD_NODES_MAX]; /* when it sees the connection to that one close; 0: not */
    enum raft_change_result change;   /* last one reported */
    bool ready;
};

struct world_packet {
    uint64_t at_us;
    struct raft_message message;
    struct world_entry *entries; /* owned */
    struct world_snapshot snapshot;
};

struct world {
    uint64_t seed, random_state, now_us;
    struct world_node nodes[WORLD_NODES_MAX];
    int node_count;
    struct world_packet *net; /* owned, WORLD_NET_MAX */
    size_t net_count;
    bool cut[WORLD_NODES_MAX][WORLD_NODES_MAX];
    bool mute[RAFT_TIMEOUT_NOW + 1]; /* message types that get lost */
    uint64_t latency_us, jitter_us;
    uint32_t drop_percent, duplicate_percent;
    uint64_t compact_every; /* entries; 0: never */
    struct raft_options options; /* but for id and seed */

    /* What has been seen, for the checks. */
    uint64_t leader_of_term[WORLD_TERMS_MAX];
    uint64_t *chain;     /* owned; hash after index */
    uint64_t *seen_term; /* owned; term of the first member that applied index: its commit is not newer */
    uint64_t applied_max;
    uint64_t proposals;

    bool trace_on;
    char *trace; /* owned */
    size_t trace_len;
};

/* The first `voters` of `nodes` are members; the others run and wait to be added. Nothing is started. */
struct world *world_create(uint64_t seed, int voters, int nodes);
void world_destroy(struct world *world);
uint64_t world_random(struct world *world, uint64_t below);

void world_start(struct world *world, int node);
void world_start_all(struct world *world);
/* Loses what is not durable, but for the oldest `frames_kept` frames. The others see the connection close. */
void world_crash(struct world *world, int node, size_t frames_kept);
void world_partition(struct world *world, uint32_t side_mask);
void world_heal(struct world *world);

/* Next delivery, disk completion, closed connection or timeout. False: nothing is left to happen by then. */
bool world_step(struct world *world, uint64_t until_us);
void world_run(struct world *world, uint64_t duration_us);
/* Runs until the member leads and its no-op has committed, or aborts after 30 s. -1: any member that is up. */
int world_run_until_leader(struct world *world, int node);
/* The leader of the highest term; -1: none. */
int world_leader(const struct world *world);

int world_event(struct world *world, int node, struct raft_event event);
int world_propose(struct world *world, int node); /* 8 bytes, unique */
void world_say(struct world *world, const char *format, ...) __attribute__((format(printf, 2, 3)));
void world_check_log_matching(const struct world *world);
struct raft_status world_status(const struct world *world, int node);
