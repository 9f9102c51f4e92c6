/* Keeps the coordinated state in Raft, elects a leader, says who leads.
 *
 * One per process whose address is in the cluster file. Serves raft_wire, coordinator_create, get_leader at
 * ENDPOINT_COORDINATOR. Its files are <data>/coordinator/. Without its record (new, or a wiped disk) it takes no part. */
#pragma once

#include "roles/role.h"

struct coordinator;

/* A change of the coordinated state. Applying is deterministic and all or nothing; see coordinated_state.h. */
struct coordinator_callbacks {
    /* This coordinator leads from now on, with a no-op of its own term committed. */
    void (*leading)(void *host, uint64_t term);
    void (*lost)(void *host);
};

int coordinator_create(const struct role_context *context, const struct coordinator_callbacks *callbacks,
                       struct coordinator **ret_coordinator);
void coordinator_destroy(struct coordinator *coordinator);

/* For the controller beside the leader. A proposal is a wait: completes when it was applied here (accepted says whether
 * it took effect), or failed (leadership lost: its fate is unknown). state is as of then. */
struct coordinator_proposal {
    struct wait wait;
    int error;
    bool accepted;
    struct list link;
    uint64_t index;
};
/* Raises the locked epoch by one; accepted always. lock_id is a random number that names this attempt. */
void coordinator_lock_state(struct coordinator *coordinator, struct coordinator_proposal *proposal, struct op *op,
                            uint64_t lock_id);
/* Replaces roles, generations and recovery version; accepted only if the locked epoch is still `epoch` and lock_id the
 * same; sets the written epoch to it. */
void coordinator_write_state(struct coordinator *coordinator, struct coordinator_proposal *proposal, struct op *op,
                             const struct coordinated_state *state);
/* As applied here. Borrowed until the next turn. */
const struct coordinated_state *coordinator_state(const struct coordinator *coordinator);
bool coordinator_has_record(const struct coordinator *coordinator);
bool coordinator_leads(const struct coordinator *coordinator);
struct coordinator_view {
    uint64_t member, leader_member, term;
    struct address leader_address; /* none: unknown */
    const struct coordinator_member *members; /* borrowed until the next turn */
    uint32_t member_count;
};
void coordinator_view(const struct coordinator *coordinator, struct coordinator_view *ret_view);
void coordinator_status(const struct coordinator *coordinator, struct role_status *status, struct arena *arena);
