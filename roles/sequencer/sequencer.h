/* Hands out commit versions, in order, each with its predecessor, and the newest committed version.
 *
 * Serves get_commit_version, report_committed, get_committed. Ends with its epoch. */
#pragma once

#include "roles/role.h"

struct sequencer;

/* Takes over the init_sequencer request (see role.h). On an error nothing is taken: the caller answers. */
int sequencer_create(const struct role_context *context, struct rpc_request *request, struct sequencer **ret_sequencer);
void sequencer_destroy(struct sequencer *sequencer); /* accepts NULL */
/* Adds its numbers to `status`; the arena owns what it allocates. */
void sequencer_status(const struct sequencer *sequencer, struct role_status *status, struct arena *arena);
