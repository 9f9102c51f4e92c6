/* What an operator asks of processes, in the metadata: exclusions, classes, maintenance.
 *
 *   \xff/conf/excluded/<ip>[:<port>]  the process (without a port: all at that IP) is given no role, and is drained; empty value
 *   \xff/conf/failed/<ip>[:<port>]    the same, and nothing that it holds is waited for; empty value
 *   \xff/processClass/<ip>:<port>     a class's name, which stands for the one of the command line
 *   \xff/healthyZone                  "<version> <zone>": below that read version the zone is away on purpose, and nothing is moved for it
 *   \xff/dataDistributionMode         "0": nothing is moved; absent or anything else: the distributor works
 *   \xff\x02/rebalanceDDIgnored       present: nothing is moved for balance alone
 *   \xff\x02/ConsistencyCheck/Suspend present: the consistency scan pauses
 *
 * FoundationDB's keys (its values of the last four differ). Pure. */
#pragma once

#include "net/address.h"
#include "net/arena.h"
#include "txn/messages.h"
#include "txn/types.h"

#define KEY_EXCLUDED_PREFIX BYTES_LITERAL("\xff/conf/excluded/")
#define KEY_EXCLUDED_END BYTES_LITERAL("\xff/conf/excluded0")
#define KEY_FAILED_PREFIX BYTES_LITERAL("\xff/conf/failed/")
#define KEY_FAILED_END BYTES_LITERAL("\xff/conf/failed0")
#define KEY_PROCESS_CLASS_PREFIX BYTES_LITERAL("\xff/processClass/")
#define KEY_PROCESS_CLASS_END BYTES_LITERAL("\xff/processClass0")
#define KEY_HEALTHY_ZONE BYTES_LITERAL("\xff/healthyZone")
#define KEY_DATA_DISTRIBUTION_MODE BYTES_LITERAL("\xff/dataDistributionMode")
#define KEY_REBALANCE_IGNORED BYTES_LITERAL("\xff\x02/rebalanceDDIgnored")
#define KEY_CONSISTENCY_CHECK_SUSPEND BYTES_LITERAL("\xff\x02/ConsistencyCheck/Suspend")

struct kv_map;

/* ---- exclusions ---- */

struct exclusion {
    struct address address; /* port 0: every process at the IP */
    bool failed;
};

struct exclusions {
    struct exclusion *list; /* in the arena that they were read into */
    uint32_t count;
};

/* "IP" (port 0) or "IP:PORT"; false for anything else. */
bool exclusion_parse(struct bytes text, struct address *ret_address);
/* As it stands in a key and in a command. */
char *exclusion_print(struct address address, char out[ADDRESS_TEXT_MAX]);
/* Appends the key to an empty buffer. 0 or ERROR_OUT_OF_MEMORY. */
int exclusion_key(struct bytes_buffer *out, struct address address, bool failed);
/* False when `key` is no such key, or names nobody. */
bool exclusion_key_parse(struct bytes key, struct exclusion *ret);
/* All of the metadata. 0 or ERROR_OUT_OF_MEMORY. */
int exclusions_read(const struct kv_map *metadata, struct arena *arena, struct exclusions *ret);
/* Does the exclusion's address (port 0: the whole IP) mean the process at `address`? */
bool exclusion_means(struct address exclusion, struct address address);
/* The one that the process at `address` falls under (failed before excluded); NULL: none. */
const struct exclusion *exclusions_find(const struct exclusions *exclusions, struct address address);

/* ---- classes ---- */

/* The names of process_class_name(), and "transaction" for log; false for anything else. */
bool process_class_parse(struct bytes name, enum process_class *ret);
/* May a process of that class host roles of that kind, be it only when there is no better one? */
bool process_class_may_host(enum process_class process_class, enum role_kind kind);
int process_class_key(struct bytes_buffer *out, struct address address);
/* The class that was set for the process; false: none was, its own holds. */
bool process_class_read(const struct kv_map *metadata, struct address address, enum process_class *ret);

/* ---- maintenance ---- */

/* FoundationDB's name, as a zone, for: no storage server counts as failed. */
#define ZONE_IGNORE_STORAGE_FAILURES BYTES_LITERAL("IgnoreSSFailures")

/* Appends the value of healthyZone. */
int healthy_zone_write(struct bytes_buffer *out, version_t until, struct bytes zone);
/* *ret_zone borrows from value. False when it is malformed. */
bool healthy_zone_parse(struct bytes value, version_t *ret_until, struct bytes *ret_zone);
