/* Which key ranges a storage server holds, in which state, and since which version.
 *
 * A server has two: as of its window, changed by each assignment, and as of its durable version, from which a commit makes the one that
 * it writes and a roll-back starts again. What no shard covers is not held (SERVER_KEYS_NONE).
 *
 * Pure: no clock, no I/O. Errors: ERROR_OUT_OF_MEMORY, and nothing was made or changed. */
#pragma once

#include "net/arena.h"
#include "net/message.h"
#include "txn/system_keys.h"

/* A state of ours alone, which no assignment brings: a FETCH piece whose chunk has come in at version `since`. */
enum { HELD_FETCHED = 16 };

/* Also the record in the engine. state: enum server_keys_state but NONE, or HELD_FETCHED. since: not readable below this version; of a
 * FETCH piece: the version of its assignment. inner: begin is no boundary between shards, only between pieces of one. */
#define FIELDS_held_shard(F, S, A, L) F(bytes, begin) F(bytes, end) F(u32, state) F(i64, since) F(boolean, inner)
SCHEMA_DECLARE(held_shard)
#define FIELDS_held_shards(F, S, A, L) A(held_shard, shards)
SCHEMA_DECLARE(held_shards)

/* shards are in key order, not empty, and do not overlap. Pieces that are borrowed from a map live until it changes. */
struct ownership {
    struct arena arena;        /* the keys, also such as no piece has any more */
    struct held_shard *shards; /* owned */
    uint32_t count, capacity;
    uint32_t added;    /* pieces since the arena held the keys of the present ones alone */
    uint32_t fetching; /* pieces in state FETCH */
};

int ownership_create(struct ownership **ret_ownership);
int ownership_copy(const struct ownership *ownership, struct ownership **ret_copy);
void ownership_destroy(struct ownership *ownership); /* accepts NULL */

/* [begin, end), not empty, gets `state` at `version`. The keys may be borrowed from the map itself. What was readable (or fetched) before and is now has been so
 * since before. Pieces of one shard that have all been so since `settled` or earlier, below which nobody reads, become one.
 * HELD_FETCHED may be any part of a shard; any other state makes begin and end boundaries of shards. */
int ownership_assign(struct ownership *ownership, struct bytes begin, struct bytes end, uint32_t state, version_t version,
                     version_t settled);

bool ownership_state_is_readable(uint32_t state);
/* True when the key could be read here at `version`. */
bool ownership_readable(const struct ownership *ownership, struct bytes key, version_t version);
/* True when all of [begin, end), not empty, could. */
bool ownership_range_readable(const struct ownership *ownership, struct bytes begin, struct bytes end, version_t version);
/* The piece that holds `key`; NULL: none. Borrowed from the map. */
const struct held_shard *ownership_piece(const struct ownership *ownership, struct bytes key);
/* The first piece that meets [begin, end), in `state` unless that is NONE; NULL: none. */
const struct held_shard *ownership_first(const struct ownership *ownership, struct bytes begin, struct bytes end, uint32_t state);
/* How far a move of [begin, end) is. READY: all of it is readable or fetched, and that is in the store at `durable`. */
enum ownership_progress { OWNERSHIP_NOT_HELD, OWNERSHIP_FETCHING, OWNERSHIP_READY };
enum ownership_progress ownership_progress(const struct ownership *ownership, struct bytes begin, struct bytes end, version_t durable);
/* True when a chunk of [begin, end) as of `version` may come in: all of it still waits to be fetched, and was assigned at or below. */
bool ownership_awaits(const struct ownership *ownership, struct bytes begin, struct bytes end, version_t version);
/* True when some key of [begin, end) is held, in whatever state. */
bool ownership_holds_some(const struct ownership *ownership, struct bytes begin, struct bytes end);

/* The record. Decoding checks all that is promised above: ERROR_FILE_CORRUPT. */
int ownership_encode(const struct ownership *ownership, struct bytes_buffer *out);
int ownership_decode(struct bytes packed, struct ownership **ret_ownership);
