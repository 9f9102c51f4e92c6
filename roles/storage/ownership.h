/* Which key ranges a storage server holds, in which state, and since which version.
 *
 * A map is never changed: an assignment makes another, so that a commit can keep the one that it writes while the stream goes
 * on, and a roll-back starts again from the durable one. What no shard covers is not held (SERVER_KEYS_NONE).
 *
 * Pure: no clock, no I/O. Errors: ERROR_OUT_OF_MEMORY, and nothing was made. */
#pragma once

#include "net/arena.h"
#include "net/message.h"
#include "txn/system_keys.h"

/* Also the record in the engine. state: enum server_keys_state, never NONE. since: not readable below this version. */
#define FIELDS_held_shard(F, S, A, L) F(bytes, begin) F(bytes, end) F(u32, state) F(i64, since)
SCHEMA_DECLARE(held_shard)
#define FIELDS_held_shards(F, S, A, L) A(held_shard, shards)
SCHEMA_DECLARE(held_shards)

/* shards are in key order, not empty, and do not overlap; all in the arena. */
struct ownership {
    struct arena arena;
    struct held_shard *shards;
    uint32_t count;
};

int ownership_create(struct ownership **ret_ownership);
int ownership_copy(const struct ownership *ownership, struct ownership **ret_copy);
void ownership_destroy(struct ownership *ownership); /* accepts NULL */

/* The map after [begin, end), not empty, has got `state` at `version`. What was readable before and is still has been so since
 * before. */
int ownership_assign(const struct ownership *old, struct bytes begin, struct bytes end, uint32_t state, version_t version,
                     struct ownership **ret_ownership);

bool ownership_state_is_readable(uint32_t state);
/* True when the key could be read here at `version`. */
bool ownership_readable(const struct ownership *ownership, struct bytes key, version_t version);
/* True when all of [begin, end), not empty, could. */
bool ownership_range_readable(const struct ownership *ownership, struct bytes begin, struct bytes end, version_t version);
/* True when some key of [begin, end) is held, in whatever state. */
bool ownership_holds_some(const struct ownership *ownership, struct bytes begin, struct bytes end);

/* The record. Decoding checks all that is promised above: ERROR_FILE_CORRUPT. */
int ownership_encode(const struct ownership *ownership, struct bytes_buffer *out);
int ownership_decode(struct bytes packed, struct ownership **ret_ownership);
