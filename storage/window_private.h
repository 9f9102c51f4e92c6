/* What the files of the window (storage/window*.c) share: its struct, its generations, and who covers a key. */
#pragma once

#include "net/list.h"
#include "storage/clear_map.h"
#include "storage/window.h"
#include "storage/window_points.h"

/* The range clears of a generation as of one version. */
struct clear_root {
    version_t version;
    const struct clear_node *root;
};

struct window_generation {
    struct list link;          /* in the window, newest first */
    struct list clearing_link; /* the same order, of those with range clears alone */
    version_t first, newest;   /* versions of its mutations */
    struct arena arena;        /* points, clear nodes */
    struct list points;        /* window_point.by_version, oldest first */
    struct clear_root *roots;  /* owned; ascending versions */
    size_t root_count, root_capacity;
};

struct window {
    struct list generations; /* newest first */
    struct list clearing;    /* newest first: generations with range clears */
    struct window_points points;
    version_t forgotten, newest;
    uint64_t sequence; /* of the last mutation */
    uint64_t random;   /* state of the clear maps' priorities */
};

/* The range clears of the generation as of `version`; NULL if there are none. */
const struct clear_node *window_generation_clears(const struct window_generation *generation, version_t version);

/* The state of `point`'s key as of `version` as far as points know: it, an older one, or NULL. */
const struct window_point *window_point_at(const struct window *window, const struct window_point *point,
                                           version_t version);

/* The sequence of the last range clear, as of `version`, that covers `key`; 0 if none does. */
uint64_t window_cover_at(const struct window *window, struct bytes key, version_t version);

/* Is the clear still the window's to tell (the engine may not have it)? */
static inline uint64_t window_cover_of(const struct window *window, const struct clear_node *node)
{
    return node == NULL || node->version <= window->forgotten ? 0 : node->sequence;
}
