/* The directory layer's inside: nodes and where they are kept. All memory of an operation is in its arena. */
#pragma once

#include <quoin/layers.h>

#include "net/arena.h"

/* One directory layer in use: the root's, or that of a partition. */
struct directory_layer {
    struct quoin_transaction *transaction;
    struct arena *arena;
    struct bytes nodes, contents; /* prefixes */
    struct quoin_path path;       /* of the partition, from the root */
    bool manual_prefixes;
};

/* What a path leads to. */
struct directory_node {
    bool exists;
    bool is_partition;   /* its layer is "partition" */
    bool is_beyond;      /* the path goes on inside that partition */
    struct bytes prefix; /* of its contents; the root's: the node subspace's */
    struct bytes layer;
    struct quoin_path path, rest; /* up to this node, and beyond it; borrowed from the path that was asked for */
};

int directory_find(struct directory_layer *layer, struct quoin_path path, struct directory_node *ret_node);
/* The directory layer inside a partition. */
int directory_inside(const struct directory_layer *layer, const struct directory_node *partition, struct directory_layer *ret_inside);
/* Errors: 2263; 2260. With `write` the version is written where there is none. */
int directory_check_version(struct directory_layer *layer, bool write);

/* An allocated prefix, or the checked `manual` one. Errors: 2264, 2265. */
int directory_new_prefix(struct directory_layer *layer, const struct quoin_slice *manual, struct bytes *ret_prefix);
/* The entry of `name` in the node of `parent`. */
int directory_set_entry(struct directory_layer *layer, struct bytes parent, struct quoin_slice name, struct bytes prefix);
int directory_clear_entry(struct directory_layer *layer, struct bytes parent, struct quoin_slice name);
int directory_set_layer(struct directory_layer *layer, struct bytes prefix, struct bytes name);
/* The node of `prefix`, its contents, and all below it. */
int directory_clear_all(struct directory_layer *layer, struct bytes prefix);

/* Names and prefixes of what is in a node, in order; in the arena. */
struct directory_entries {
    int count;
    struct quoin_slice *names;
    struct bytes *prefixes;
};
int directory_entries(struct directory_layer *layer, struct bytes prefix, struct directory_entries *ret_entries);

int directory_join(struct arena *arena, struct quoin_path a, struct quoin_path b, struct quoin_path *ret_path);
