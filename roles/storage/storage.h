/* Holds shards: serves reads at versions of the last 5 s, pulls its tag from the logs, keeps an engine.
 *
 * Serves get_values, get_range at its server id, which never changes. Its files are <data>/storage-<id>/. It pulls only
 * from generations of the newest description that it was told. */
#pragma once

#include "roles/role.h"

struct storage_server;

/* Takes over the init_storage request (see role.h); answers once the empty store with its record is durable. */
int storage_server_create(const struct role_context *context, struct rpc_request *request,
                          struct storage_server **ret_storage);
/* Opens what an earlier process left (blocking). ERROR_FILE_CORRUPT: this replica is lost. */
int storage_server_restore(const struct role_context *context, uint64_t server_id, struct storage_server **ret_storage);
/* Keeps the files. An engine commit under way is detached. Accepts NULL. */
void storage_server_destroy(struct storage_server *storage);
/* Deletes a destroyed server's files. */
int storage_server_remove(const struct role_context *context, uint64_t server_id);

/* A newer description, after each one that the worker accepted. Borrowed during the call. */
void storage_server_described(struct storage_server *storage, const struct description *description);

/* Reads every record of the engine (blocking) and compares with its counts and digests; report(ctx, key, what) for each damage.
 * Returns the number of damages, or a negative error. */
int64_t storage_server_check(struct storage_server *storage, void (*report)(void *ctx, struct bytes key, const char *what),
                             void *ctx);

/* The database has removed it (its logs say so), and no job writes its files any more: nobody needs them. */
bool storage_server_was_removed(const struct storage_server *storage);
uint64_t storage_server_id(const struct storage_server *storage);
tag_t storage_server_tag(const struct storage_server *storage);
version_t storage_server_durable_version(const struct storage_server *storage);
void storage_server_status(const struct storage_server *storage, struct role_status *status, struct arena *arena);
