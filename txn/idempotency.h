/* Ids that make an unknown commit known: kept in the database beside what their transactions wrote, in the same version.
 *
 *   key    \xff\x02/idmp/ + 8 bytes big-endian of the commit version + 2 bytes big-endian of the place in its batch
 *   value  the id, 16 to 255 bytes
 *
 * valid if and only if the lengths are so. A commit proxy writes them. Each proxy that writes one also clears, every few seconds of
 * versions, what is older than IDEMPOTENCY_LIFE_VERSIONS: so they are bounded, and one that may have expired is known by its age.
 * A recovery's jump ages them too: the life is that of several jumps. Pure. */
#pragma once

#include "net/arena.h"
#include "txn/types.h"

#define IDEMPOTENCY_LIFE_VERSIONS (1200 * VERSIONS_PER_SECOND)
#define IDEMPOTENCY_FORGET_VERSIONS (10 * VERSIONS_PER_SECOND) /* how often a proxy clears */
static_assert(IDEMPOTENCY_LIFE_VERSIONS > 10 * VERSIONS_IN_FLIGHT_MAX, "an id outlives some recoveries");

enum { IDEMPOTENCY_KEY_BYTES = 8 + VERSIONSTAMP_BYTES };

/* 0, or ERROR_CLIENT_INVALID_OPERATION: a wrong length, or no read version, from which a search for it would begin. */
int idempotency_check(struct bytes id, version_t read_version);
/* The key; and where the keys of `version` begin (with order 0). */
void idempotency_key(version_t version, uint16_t order, uint8_t ret_key[IDEMPOTENCY_KEY_BYTES]);
/* False: no such key. */
bool idempotency_parse(struct bytes key, version_t *ret_version, uint16_t *ret_order);
