/* Batches commits: version, resolve, metadata, tags, log push, report, reply; answers key locations.
 *
 * Serves commit, get_key_locations. The path of a batch is commit_batch.c. */
#pragma once

#include "roles/role.h"

struct commit_proxy;
struct kv_map;

/* Takes over the init_commit_proxy request (see role.h). On an error nothing is taken: the caller answers. */
int commit_proxy_create(const struct role_context *context, struct rpc_request *request, struct commit_proxy **ret_proxy);
void commit_proxy_destroy(struct commit_proxy *proxy); /* accepts NULL */
/* For checkers: the metadata as it applies it, borrowed until its next turn. */
const struct kv_map *commit_proxy_metadata(const struct commit_proxy *proxy);
/* A newer description, for the ratekeeper that it names; borrowed during the call. */
void commit_proxy_described(struct commit_proxy *proxy, const struct description *description);
/* Adds its numbers to `status`; the arena owns what it allocates. */
void commit_proxy_status(const struct commit_proxy *proxy, struct role_status *status, struct arena *arena);
