/* Range clears of one generation of the window: a persistent step function, one root a version.
 *
 * A treap whose nodes never change: a clear copies the O(log n) nodes on its paths and gives a new root; every older root
 * still answers for its own version. A node at key k says which clear covered [k, next node's key) last. What a clear
 * covers whole disappears from the new root, so clearing the same keys again and again costs no more each time.
 *
 * Nodes and copies of keys live in the arena of the caller. */
#pragma once

#include "net/arena.h"
#include "net/bytes.h"
#include "txn/types.h"

struct clear_node {
    const struct clear_node *left, *right;
    struct bytes key;
    version_t version; /* VERSION_NONE: nothing cleared this stretch */
    uint64_t sequence; /* of the clear among all mutations of the window; 0: none */
    uint32_t priority;
};

/* *root (NULL: no clear yet) becomes the map with [begin, end) cleared; begin < end; the order of sequences is the caller's.
 * `random` is the state of the priorities, not 0. 0, or ERROR_OUT_OF_MEMORY and *root is as it was. */
int clear_map_add(const struct clear_node **root, struct arena *arena, uint64_t *random, struct bytes begin,
                  struct bytes end, version_t version, uint64_t sequence);

/* The node at or below `key`; strictly below it; strictly above it. NULL if there is none. */
const struct clear_node *clear_map_floor(const struct clear_node *root, struct bytes key);
const struct clear_node *clear_map_below(const struct clear_node *root, struct bytes key);
const struct clear_node *clear_map_above(const struct clear_node *root, struct bytes key);
