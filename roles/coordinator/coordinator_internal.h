/* What the coordinator's files share: coordinator.c (life, Raft's steps, callbacks), coordinator_peers.c (Raft's messages, the
 * watch on the leader), coordinator_leader.c (get_leader), coordinator_requests.c (coordinator_create and the state's requests). */
#pragma once

#include "roles/coordinator/coordinated_state.h"
#include "roles/coordinator/coordinator.h"
#include "roles/coordinator/coordinator_disk.h"

enum {
    LEADER_WAITERS_MAX = 4096,
    PROPOSALS_MAX = 256,
    LEADER_WAIT_US_MAX = 30 * 1000 * 1000,
    ADDRESS_BOOK = 2 * RAFT_MEMBERS_MAX,
};

/* A request that waits; owned by the list that it is on. */
struct waiter {
    struct list link;
    struct rpc_request *request; /* owned */
    int64_t deadline_us;
    uint64_t index, term; /* of a proposal */
};

struct waiters {
    struct list list;
    uint32_t count;
};

/* The life of a process that speaks for a member, and the one before it. */
struct peer_instance {
    uint64_t member, current, before;
    int64_t heard_us; /* from the current one */
};

struct coordinator {
    struct role_context context;
    struct env *env;
    struct rpc *rpc;
    struct coordinator_callbacks callbacks;
    struct coordinator_disk *disk; /* owned */
    struct raft *raft;             /* owned; NULL without a record */
    struct coordinated coordinated;
    uint64_t applied_index;
    uint64_t vouched_index; /* in the newest answer to an append; for the trace */
    int failed; /* not 0: the disk failed, and we wait to be destroyed */

    struct rpc_request *change; /* owned: the membership change under way; NULL: none */
    uint64_t announced_configuration; /* index of the one that the host was told, plus 1 */
    struct raft_member book[ADDRESS_BOOK]; /* where members are reached that are not (yet, or any more) in force */
    uint32_t book_next;
    uint64_t asker;               /* a member that nothing here names, who asked for a vote last; 0: none */
    struct address asker_address; /* where that came from */

    struct env_timer raft_timer;
    struct rpc_watch leader_watch;
    uint64_t watched_leader; /* member id; 0: none is watched */

    uint64_t leading_term;    /* we lead and are ready; 0: not */
    uint64_t announced_term;  /* as the host was told */
    bool announced_cluster;
    struct ready announce;

    struct waiters leader_waiters;  /* get_leader */
    struct waiters ready_waiters;   /* for the own term's no-op */
    struct waiters proposals;       /* for their entry to be applied */
    struct env_timer waiters_timer; /* the earliest deadline */
    uint64_t shown_leader, shown_term; /* as get_leader last saw them */

    uint64_t ignored_wrong_cluster, ignored_malformed, ignored_no_record, ignored_bad_snapshot;
    uint64_t instance;  /* of this life of the process; drawn */
    struct peer_instance instances[RAFT_MEMBERS_MAX]; /* that were heard of, by member */
    uint64_t ignored_superseded;
    int64_t ignored_traced_us; /* when a trace line last told of one */
};

/* ---- coordinator.c ---- */
/* Steps Raft and obeys the update. `proposal`: gets index and term of a proposal, and joins the proposals; may be NULL. */
int coordinator_step(struct coordinator *coordinator, struct raft_event *event, struct waiter *proposal);
/* The record is durable: Raft starts. Takes over what was restored. */
int coordinator_start_raft(struct coordinator *coordinator, struct coordinator_restored *restored);
/* Can't go on: everybody who waits is told, and the host. */
void coordinator_fail(struct coordinator *coordinator, int error);
const struct coordinator_record *coordinator_record(const struct coordinator *coordinator);

/* NULL if there are `most` already whose callers can still hear. */
struct waiter *waiter_add(struct coordinator *coordinator, struct waiters *waiters, uint32_t most,
                          struct rpc_request *request, int64_t deadline_us);
/* Frees the waiter; the request is the caller's again. */
struct rpc_request *waiter_take(struct waiters *waiters, struct waiter *waiter);

/* ---- coordinator_peers.c ---- */
void peers_send(struct coordinator *coordinator, const struct raft_message *message);
void peers_receive(struct coordinator *coordinator, struct rpc_request *request);
/* "raft_ignored_REASON", each. */
void peers_metrics(const struct raft_counters *counters, struct role_status *status, struct arena *arena);
/* Watches the leader's connection, if somebody else leads. */
void peers_watch_leader(struct coordinator *coordinator, uint64_t leader_id);
/* False if there is no such member or its address can't be read. */
bool peers_address(const struct coordinator *coordinator, uint64_t member_id, struct address *ret_address);

/* Where a member is reached, for as long as nobody in force says it. */
void peers_remember(struct coordinator *coordinator, const struct raft_member *member);
/* All members in force. */
void peers_remember_all(struct coordinator *coordinator);

/* ---- coordinator_members.c ---- */
void members_change(struct coordinator *coordinator, struct rpc_request *request);
/* What became of the change under way: 0, or the error that its caller hears. */
void members_changed(struct coordinator *coordinator, int error);
/* Tells the host, if the committed members are others than it knows. From announce() alone. */
void members_announce(struct coordinator *coordinator);
/* Has it something to tell? */
bool members_are_news(const struct coordinator *coordinator, const struct raft_status *status);
struct raft_member members_raft(const struct coordinator_member *member);

/* ---- coordinator_leader.c ---- */
void leader_request(struct coordinator *coordinator, struct rpc_request *request);
/* Raft may know another leader: answers who waited for that. */
void leader_look(struct coordinator *coordinator);
void leader_answer(struct coordinator *coordinator, struct rpc_request *request);

/* ---- coordinator_requests.c ---- */
void requests_create(struct coordinator *coordinator, struct rpc_request *request);
void requests_state(struct coordinator *coordinator, struct rpc_request *request);
/* The entry at `index` has been applied; changed: by a command that took effect. */
void requests_applied(struct coordinator *coordinator, uint64_t index, uint64_t term, bool changed);
/* We lead with a no-op of the own term committed, or not any more. */
void requests_leading(struct coordinator *coordinator);
void requests_lost(struct coordinator *coordinator);
