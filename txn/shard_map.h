/* Which storage servers hold which keys: a proxy's view of keyServers and serverList, kept in step with the metadata.
 *
 * Shards are stored as sorted boundaries that share interned teams; 10,000 shards cost a few hundred KB. Pure. Borrowed
 * results live until the next change. */
#pragma once

#include "net/bytes.h"
#include "txn/messages.h"
#include "txn/mutation.h"
#include "txn/system_keys.h"

struct shard_map;

struct shard_server {
    uint64_t id;
    struct wire_endpoint endpoint;
    tag_t tag;
};

/* What a mutation of the shard goes to, and what a client may read from. Servers that serverList does not name are left out. */
struct shard_team {
    const struct shard_server *const *readable; /* source servers */
    uint32_t readable_count;
    const tag_t *tags; /* of source and destination, sorted, no duplicates */
    uint32_t tag_count;
};

struct shard {
    struct bytes begin, end;
    const struct shard_team *team; /* never NULL; empty for keys that no shard holds yet */
};

struct shard_map *shard_map_create(void);
void shard_map_destroy(struct shard_map *map);
/* Takes in one metadata mutation (SET or CLEAR_RANGE of keyServers or serverList keys; others are ignored), after it was
 * applied to the metadata. ERROR_SERIALIZATION_FAILED for a value that is not of its format (nothing changed). */
int shard_map_apply(struct shard_map *map, enum mutation_type type, struct bytes param1, struct bytes param2);
void shard_map_at(const struct shard_map *map, struct bytes key, struct shard *ret_shard);
/* The shard that holds the last key below `key` (key > ""). */
void shard_map_before(const struct shard_map *map, struct bytes key, struct shard *ret_shard);
/* How many shards [begin, end) meets, and no more than `limit`; *ret_key_bytes is the sum of the keys of the boundaries inside. Takes
 * time in proportion to the result. */
size_t shard_map_pieces(const struct shard_map *map, struct bytes begin, struct bytes end, size_t limit, size_t *ret_key_bytes);
size_t shard_map_count(const struct shard_map *map);
/* NULL if unknown. */
const struct shard_server *shard_map_server(const struct shard_map *map, uint64_t server_id);
