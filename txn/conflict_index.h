/* The ordered index of one generation of the conflict set: the newest write of every key, as a step function.
 *
 * A treap of boundaries. A node at key k says when k itself was last written as a point, and when [k, next boundary) was
 * last written as a range; 0 is never. Every node also holds the newest write of its whole subtree (the subtrees are the
 * buckets of a range read), so that a range read takes O(log n) whatever lies between, and skips what is old.
 *
 * Writes are relative to the generation (1 and up). Nodes live in the generation's arena and are never freed one by one;
 * n is bounded by the writes of half a second. Failure (ERROR_OUT_OF_MEMORY) leaves the index as it was. */
#pragma once

#include "net/arena.h"
#include "net/bytes.h"

struct conflict_node;

struct conflict_index {
    struct conflict_node *root; /* in the arena */
    uint64_t random;            /* state of the priorities; seeded by the owner, not 0 */
};

/* Keys are copied. */

/* A write older than what covers the key is nothing new. */
int conflict_index_add_point(struct conflict_index *index, struct arena *arena, struct bytes key, uint32_t when);
/* begin < end; `when` is at least every write that the index has. */
int conflict_index_add_range(struct conflict_index *index, struct arena *arena, struct bytes begin, struct bytes end,
                             uint32_t when);

/* Was anything in [begin, end) written after `when`? Looks only where the answer can be yes: a recent `when` is cheap. */
bool conflict_index_is_newer(const struct conflict_index *index, struct bytes begin, struct bytes end, uint32_t when);
/* The newest write in [begin, end) after `when`; false if there is none. One of a range
 * covers all of [begin, end), or more. Borrowed from the index. */
struct conflict_newest {
    struct bytes begin, end; /* end is not there when is_point */
    uint32_t when;
    bool is_point;
};
bool conflict_index_find_newest(const struct conflict_index *index, struct bytes begin, struct bytes end, uint32_t when,
                                struct conflict_newest *ret);
bool conflict_index_is_newer_at(const struct conflict_index *index, struct bytes key, uint32_t when);
