/* Knows all workers, detects failures, recruits, drives recovery, broadcasts the description, answers status.
 *
 * One beside the Raft leader, at ENDPOINT_CONTROLLER; losing leadership destroys it. It reads and changes the coordinated
 * state through messages to its own process's coordinator. Recovery is recovery.c. */
#pragma once

#include "roles/role.h"

struct controller;

int controller_create(const struct role_context *context, uint64_t term, struct controller **ret_controller);
void controller_destroy(struct controller *controller);
/* Who the coordinators are, as committed: told to everybody with the next description, which comes at once. Copied; at most 7. */
void controller_set_coordinators(struct controller *controller, const struct coordinator_member *members, uint32_t count);
/* What it has published last, NULL before; borrowed until the next. */
const struct description *controller_description(const struct controller *controller);
bool controller_accepts_commits(const struct controller *controller);
/* Why an epoch that accepts commits is about to give way to a better one (a literal); NULL: it is not. For checkers. */
const char *controller_would_recover(struct controller *controller);
/* That process, in that life of it, has registered. */
bool controller_knows(const struct controller *controller, struct address address, uint64_t worker_id);
void controller_status(const struct controller *controller, struct role_status *status, struct arena *arena);
