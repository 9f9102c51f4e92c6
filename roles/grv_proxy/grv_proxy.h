/* Batches read-version requests and confirms that its epoch is alive.
 *
 * Serves get_read_version. Its death alone does not end the epoch: another is recruited. */
#pragma once

#include "roles/role.h"

struct grv_proxy;

/* Takes over the init_grv_proxy request (see role.h). On an error nothing is taken: the caller answers. */
int grv_proxy_create(const struct role_context *context, struct rpc_request *request, struct grv_proxy **ret_proxy);
void grv_proxy_destroy(struct grv_proxy *proxy); /* accepts NULL */
/* A newer description, for the ratekeeper that it names; borrowed during the call. */
void grv_proxy_described(struct grv_proxy *proxy, const struct description *description);
/* Adds its numbers to `status`; the arena owns what it allocates. */
void grv_proxy_status(const struct grv_proxy *proxy, struct role_status *status, struct arena *arena);
