/* The ratekeeper: says how many transactions a second may start. One in the cluster, beside the epoch.
 *
 * Stateless: what it knows was reported to it a moment ago. Recruited by the controller (controller/singletons.c), kept across
 * recoveries, ended by its worker when a description names another. Its death stops nobody: GRV proxies go on with the last rate. */
#pragma once

#include "roles/role.h"

struct ratekeeper;

/* Takes over the init_ratekeeper request (see role.h). On an error nothing is taken: the caller answers. */
int ratekeeper_create(const struct role_context *context, struct rpc_request *request, struct ratekeeper **ret_ratekeeper);
void ratekeeper_destroy(struct ratekeeper *ratekeeper); /* accepts NULL */
/* A newer description; borrowed during the call. */
void ratekeeper_described(struct ratekeeper *ratekeeper, const struct description *description);
/* For checkers. Why it limits anybody now (a literal); NULL: it does not. */
const char *ratekeeper_unrest(const struct ratekeeper *ratekeeper);
/* Adds its numbers to `status`; the arena owns what it allocates. */
void ratekeeper_status(const struct ratekeeper *ratekeeper, struct role_status *status, struct arena *arena);
