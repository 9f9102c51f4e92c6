/* The consistency scan: the replicas of each shard compared at one version, one shard at a time, for ever.
 *
 * In the background and under a rate (dd_scan_bytes_per_second, of one copy; 0: no scan). Shards that move, and shards of which a server does
 * not answer, are passed over and counted. What it finds is traced, told in the status, and mended: the bad replica gives the shard up and
 * fetches it again from the others, which have been read to their end first. Where it can't be told who is right, nothing is changed. How far it
 * is stands in the database (KEY_SCAN_STATE): the next distributor goes on there. */
#pragma once

#include "net/arena.h"
#include "txn/messages.h"

struct distributor;
struct scan;

#define KEY_SCAN_STATE BYTES_LITERAL("\xff\x02/ConsistencyScan/State")

/* Begins; ends with the distributor's ops. */
void scan_start(struct distributor *self);
/* A server says that a record at `key`, or not far behind it, is damaged: that shard is looked at next. */
void scan_hurry(struct distributor *self, struct bytes key);
/* NULL, or why the cluster is not at rest: what was found is not mended yet. */
const char *scan_unrest(const struct distributor *self);
void scan_status(const struct distributor *self, struct role_status *status, struct arena *arena);
