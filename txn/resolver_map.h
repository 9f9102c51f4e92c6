/* Which resolver holds which keys, now and lately: by it a commit proxy cuts conflict ranges.
 *
 * A partition gives resolver i the keys from begins[i] to begins[i + 1]; it counts from its version to that of the next one.
 * What must hold, or a conflict is missed:
 *
 *   R1  Version v is cut by the same partition at every proxy: the newest one that counts from v or below. So whom it names for
 *       a key has every write of that key at v, of whichever proxy.
 *   R2  What a transaction that commits at v has read at s goes to every resolver that held the key at some version in (s, v]:
 *       whoever wrote it in between is known to one of them. The transaction commits if all of them say so.
 *   R3  What it writes goes to the holder at v, and to nobody else.
 *   R4  A partition is forgotten only when no read can reach back to it; a read that would is refused as too old, and never
 *       judged by those that are left.
 *
 * R1 needs the one who gives versions: it makes a partition count from a version that nobody has yet, and tells it to each proxy
 * no later than the first version at or above that. Pure. The map owns its keys. */
#pragma once

#include "net/arena.h"
#include "net/bytes.h"
#include "txn/types.h"

enum { RESOLVERS_MAX = 64, RESOLVER_PARTITIONS_MAX = 16 };

struct resolver_partition {
    uint64_t number; /* 1: that of the epoch's start; then one after the other */
    version_t from;  /* the first version that it counts for */
    struct bytes begins[RESOLVERS_MAX];
    struct arena arena; /* holds the begins */
};

struct resolver_map {
    uint32_t resolver_count, partition_count;
    struct resolver_partition *partitions[RESOLVER_PARTITIONS_MAX]; /* owned; oldest first, the last counts now */
};

/* [begin, end), or all from begin on. Keys are borrowed from the map until it forgets or takes one. */
struct key_part {
    struct bytes begin, end;
    bool endless;
};

/* In order, without a gap at the start, at most RESOLVERS_MAX. */
bool resolver_begins_are_sound(const struct bytes *begins, uint32_t count);
/* Partition 1. 0, ERROR_OUT_OF_MEMORY, ERROR_CLIENT_INVALID_OPERATION. On an error there is nothing to be done(). */
int resolver_map_init(struct resolver_map *map, const struct bytes *begins, uint32_t count);
void resolver_map_done(struct resolver_map *map); /* accepts a zeroed one */

/* Makes partition `number` count from version `from`. One that is known already changes nothing. When there are too many, the
 * oldest is forgotten (R4). 0, ERROR_OUT_OF_MEMORY, ERROR_CLIENT_INVALID_OPERATION (unsound, not the next number, or not above
 * the last one's version). */
int resolver_map_add(struct resolver_map *map, uint64_t number, version_t from, const struct bytes *begins, uint32_t count);
/* No read at a version below `oldest` will be judged any more. */
void resolver_map_forget(struct resolver_map *map, version_t oldest);

static inline const struct resolver_partition *resolver_map_newest(const struct resolver_map *map)
{
    return map->partitions[map->partition_count - 1];
}

/* The index of the partition that counts at `version`; it is not below what is known. */
uint32_t resolver_map_at(const struct resolver_map *map, version_t version);
/* The index of the oldest partition that a read at `read_version` must ask. False: it may be forgotten, the read is too old. */
bool resolver_map_reach(const struct resolver_map *map, version_t read_version, uint32_t *ret_first);
/* What `resolver` holds in the partition with that index. */
struct key_part resolver_map_part(const struct resolver_map *map, uint32_t index, uint32_t resolver);
/* What it held in any of [first, last]: apart from each other, ascending. Returns how many, at least one. */
uint32_t resolver_map_parts(const struct resolver_map *map, uint32_t first, uint32_t last, uint32_t resolver,
                            struct key_part ret_parts[RESOLVER_PARTITIONS_MAX]);

static inline bool key_part_is_all(const struct key_part *part)
{
    return part->begin.len == 0 && part->endless;
}
static inline bool key_part_contains(const struct key_part *part, struct bytes key)
{
    return bytes_compare(part->begin, key) <= 0 && (part->endless || bytes_compare(key, part->end) < 0);
}
