/* Makes batches durable in version order, serves them by tag, forgets what is popped.
 *
 * Serves push, peek, pop, lock_log, get_metadata, confirm_epoch at its own random id. Its files are <data>/log-<id>/. A log
 * restored from disk is born locked; only one recruited for an epoch ever accepts pushes. */
#pragma once

#include "roles/role.h"

struct log_server;

/* Takes over the init_log request (see role.h); answers once the metadata snapshot is durable. */
int log_server_create(const struct role_context *context, struct rpc_request *request, struct log_server **ret_log);
/* Opens what an earlier process left (blocking). ERROR_FILE_CORRUPT: damaged; it counts as missing. */
int log_server_restore(const struct role_context *context, uint64_t log_id, struct log_server **ret_log);
/* Keeps the files. Accepts NULL. */
void log_server_destroy(struct log_server *log);
/* Deletes a destroyed log's files. */
int log_server_remove(const struct role_context *context, uint64_t log_id);

uint64_t log_server_id(const struct log_server *log);
uint64_t log_server_epoch(const struct log_server *log);
/* The newest version received. */
version_t log_server_end(const struct log_server *log);
bool log_server_is_locked(const struct log_server *log);
/* What keeps it from being at rest (a literal); NULL. */
const char *log_server_unrest(const struct log_server *log);
/* A newer description, for the ratekeeper that it names; borrowed during the call. */
void log_server_described(struct log_server *log, const struct description *description);
void log_server_status(const struct log_server *log, struct role_status *status, struct arena *arena);
