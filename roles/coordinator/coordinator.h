/* Keeps the coordinated state in Raft, elects a leader, says who leads.
 *
 * One per process whose address is in the cluster file, or that was asked to join (or was a member once, and now says who the members
 * are). Serves raft_wire, coordinator_create, coordinator_change, get_leader, read_state, lock_state and write_state at
 * ENDPOINT_COORDINATOR. Its files are <data>/coordinator/. Without its record (new, or a wiped disk) it takes no part. */
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
    /* The members as committed, when they are others than before; borrowed for the call. May be NULL. */
    void (*members)(void *host, const struct coordinator_member *members, uint32_t count);
};

/* Opens what an earlier process left (blocking). ERROR_FILE_CORRUPT: its files are damaged and it takes no part. */
int coordinator_create(const struct role_context *context, const struct coordinator_callbacks *callbacks,
                       struct coordinator **ret_coordinator);
void coordinator_destroy(struct coordinator *coordinator); /* accepts NULL */
/* Was there ever one in this data directory? 0, or an error: then nobody knows, and a process must not go on without it. */
int coordinator_was_here(struct env *env, const char *data_directory, bool *ret_was);
/* coordinator_join: makes an empty one wait to be added. Answers the request. */
void coordinator_join(struct coordinator *coordinator, struct rpc_request *request);
/* It was removed, or never added, and is asked to join as another member: coordinator_forget() and another creation must come first. */
bool coordinator_must_forget(const struct coordinator *coordinator, const struct coordinator_join *join);
/* Blocking. Destroys it, too; 0 or why its files could not be cleared. */
int coordinator_forget(struct coordinator *coordinator);
/* Something is on its way to its disk: it can't be forgotten now. */
bool coordinator_is_writing(const struct coordinator *coordinator);
bool coordinator_leads(const struct coordinator *coordinator);
void coordinator_status(const struct coordinator *coordinator, struct role_status *status, struct arena *arena);
