/* An ordered map from byte strings to byte strings in memory: metadata, and the memory engine.
 *
 * Owns copies of keys and values. Borrowed results live until the next change of the map. Pure; deterministic (no random
 * levels: same operations, same shape). O(log n) for get, set, seek; clear_range O(k log n). */
#pragma once

#include "net/bytes.h"

struct kv_map;

struct kv_map *kv_map_create(void); /* NULL when out of memory */
void kv_map_destroy(struct kv_map *map); /* accepts NULL */
/* 0 or ERROR_OUT_OF_MEMORY (the map is as it was). */
int kv_map_set(struct kv_map *map, struct bytes key, struct bytes value);
void kv_map_clear_range(struct kv_map *map, struct bytes begin, struct bytes end);
bool kv_map_get(const struct kv_map *map, struct bytes key, struct bytes *ret_value);
/* The first pair at or after `key` (before: the last pair below it); false when there is none. */
bool kv_map_at_or_after(const struct kv_map *map, struct bytes key, struct bytes *ret_key, struct bytes *ret_value);
bool kv_map_before(const struct kv_map *map, struct bytes key, struct bytes *ret_key, struct bytes *ret_value);
/* Calls each() for the pairs of [begin, end) in order; much cheaper a pair than looking for the next one. The map must not change
 * meanwhile. */
void kv_map_walk(const struct kv_map *map, struct bytes begin, struct bytes end,
                 void (*each)(void *ctx, struct bytes key, struct bytes value), void *ctx);
size_t kv_map_count(const struct kv_map *map);
/* Keys, values and nodes. */
size_t kv_map_bytes(const struct kv_map *map);
/* Applies a mutation table (sets, clears, atomic operations; private types are skipped). 0, ERROR_SERIALIZATION_FAILED at
 * a malformed record (those before it are applied), ERROR_OUT_OF_MEMORY. */
int kv_map_apply(struct kv_map *map, struct bytes mutations);
/* Appends the whole map as a mutation table of SETs. */
int kv_map_dump(const struct kv_map *map, struct bytes_buffer *out);
