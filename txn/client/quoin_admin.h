/* Administration for the tools, blocking, over an open database of the public library. Not installed.
 *
 * Each waits at most timeout_us: ERROR_TIMED_OUT then, and quoin_database_explain says what was in the way. Not from the
 * network thread. */
#pragma once

#include "net/env.h"
#include "txn/client/client.h"
#include "txn/client/cluster_file.h"
#include "txn/client/include/quoin/quoin.h"

/* As client_configure_start. */
int quoin_admin_configure(struct quoin_database *db, uint32_t redundancy, uint32_t engine, int64_t timeout_us);
/* The controller's document; *json is replaced. */
int quoin_admin_status(struct quoin_database *db, struct bytes_buffer *json, int64_t timeout_us);
int quoin_admin_reboot(struct quoin_database *db, struct address address, int64_t timeout_us);
/* Waits until a database can be used. */
int quoin_admin_wait_ready(struct quoin_database *db, int64_t timeout_us);
/* The coordinators as the client knows them now; returns how many (at most CLUSTER_FILE_COORDINATORS_MAX). */
uint32_t quoin_admin_coordinators(struct quoin_database *db, struct client_coordinator ret[CLUSTER_FILE_COORDINATORS_MAX]);
