/* Keeps the coordinated state in Raft, elects a leader, says who leads.
 *
 * One per process whose address is in the cluster file. Serves raft_wire, coordinator_create, get_leader,
 * read_state, lock_state and write_state at ENDPOINT_COORDINATOR. Its files are <data>/coordinator/. Without its record (new, or a wiped disk) it takes no part. */
#pragma once

#include "roles/role.h"

struct coordinator;

/* Called through the ready queue. */
struct coordinator_callbacks {
    /* This coordinator leads from now on, with a no-op of its own term committed. */
    void (*leading)(void *host, uint64_t term);
    void (*lost)(void *host);
    /* The record is there (created or found): the cluster's id. */
    void (*cluster_known)(void *host, struct uid cluster_id);
};

/* Opens what an earlier process left (blocking). ERROR_FILE_CORRUPT: its files are damaged and it takes no part. */
int coordinator_create(const struct role_context *context, const struct coordinator_callbacks *callbacks,
                       struct coordinator **ret_coordinator);
void coordinator_destroy(struct coordinator *coordinator); /* accepts NULL */
bool coordinator_leads(const struct coordinator *coordinator);
void coordinator_status(const struct coordinator *coordinator, struct role_status *status, struct arena *arena);
