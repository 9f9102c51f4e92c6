/* The data distributor: teams, splits, merges, moves, heals. One in the cluster, beside the epoch.
 *
 * Stateless: what it knows it reads from the database, through a client of its own (roles/role_client.h). Recruited by the controller
 * (controller/singletons.c), kept across recoveries, ended by its worker when a description names another. Two may live side by
 * side for a moment. */
#pragma once

#include "roles/role.h"

struct distributor;

/* Takes over the init_data_distributor request (see role.h). On an error nothing is taken: the caller answers. */
int distributor_create(const struct role_context *context, struct rpc_request *request, struct distributor **ret_distributor);
void distributor_destroy(struct distributor *distributor); /* accepts NULL */
/* A newer description; borrowed during the call. */
void distributor_described(struct distributor *distributor, const struct description *description);
/* Adds its numbers to `status`; the arena owns what it allocates. */
void distributor_status(const struct distributor *distributor, struct role_status *status, struct arena *arena);
/* What it still has to do (a literal), as far as that can be done with the servers there are; NULL: it is at rest. */
const char *distributor_unrest(const struct distributor *distributor);
