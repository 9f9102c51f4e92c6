/* Says which transactions of a batch conflict with the last 5 s of writes.
 *
 * Serves resolve. */
#pragma once

#include "roles/role.h"

struct resolver;

/* Takes over the init_resolver request (see role.h). On an error nothing is taken: the caller answers. */
int resolver_create(const struct role_context *context, struct rpc_request *request, struct resolver **ret_resolver);
void resolver_destroy(struct resolver *resolver); /* accepts NULL */
/* Adds its numbers to `status`; the arena owns what it allocates. */
void resolver_status(const struct resolver *resolver, struct role_status *status, struct arena *arena);
