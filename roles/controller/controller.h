/* Knows all workers, detects failures, recruits, drives recovery, broadcasts the description, answers status.
 *
 * One beside the Raft leader, at ENDPOINT_CONTROLLER; losing leadership destroys it. Recovery is recovery.c. */
#pragma once

#include "roles/coordinator/coordinator_state.h"
#include "roles/role.h"

struct controller;

int controller_create(const struct role_context *context, const struct coordinated_state_access *access, uint64_t term,
                      struct controller **ret_controller);
void controller_destroy(struct controller *controller);
void controller_status(const struct controller *controller, struct role_status *status, struct arena *arena);
