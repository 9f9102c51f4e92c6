/* The keys of the window: a hash and an ordered index over one node a set.
 *
 * Private to the window (storage/window*.c). The hash and the index hold the newest node of each key; older versions hang
 * behind it. Nodes are made and freed by the window, whose generations own them; here they are only linked. */
#pragma once

#include "net/bytes.h"
#include "net/list.h"
#include "txn/types.h"

struct window_point {
    struct list by_version;                     /* in its generation, oldest first; not linked: overwritten within its version */
    struct window_point *left, *right, *parent; /* of a key's newest node: the index */
    struct window_point *older;                 /* the key's state before; only if older_version > forgotten */
    version_t older_version;
    version_t version;
    uint64_t sequence; /* among all mutations of the window */
    uint32_t priority;
    uint32_t tag; /* of the key: 32 bits of its hash */
    uint32_t key_len;
    uint32_t value_len;
    bool is_set;    /* else the key is cleared */
    bool is_newest; /* in the hash and the index */
    uint8_t bytes[]; /* key, a zero byte (so that the key's successor needs no memory), value */
};

struct window_slot {
    struct window_point *point; /* NULL: empty */
    uint32_t tag;
};

struct window_points {
    struct window_slot *slots; /* owned */
    unsigned bits;             /* there are 2^bits of them */
    size_t count;
    struct window_point *root;
    uint64_t random; /* state of the priorities, not 0 */
    uint64_t seed;
};

static inline struct bytes window_point_key(const struct window_point *point)
{
    return bytes_of(point->bytes, point->key_len);
}

static inline struct bytes window_point_after(const struct window_point *point)
{
    return bytes_of(point->bytes, (size_t)point->key_len + 1);
}

static inline struct bytes window_point_value(const struct window_point *point)
{
    return bytes_of(point->bytes + point->key_len + 1, point->value_len);
}

int window_points_init(struct window_points *points, uint64_t seed); /* 0 or ERROR_OUT_OF_MEMORY */
void window_points_done(struct window_points *points);

uint32_t window_points_tag(const struct window_points *points, struct bytes key);
struct window_point *window_points_find(const struct window_points *points, struct bytes key, uint32_t tag);
/* Makes sure that one more window_points_add can't fail. */
int window_points_reserve(struct window_points *points);
void window_points_add(struct window_points *points, struct window_point *point); /* a key that is not there */
/* `fresh` takes the place of `old`, a node of the same key. */
void window_points_replace(struct window_points *points, struct window_point *old, struct window_point *fresh);
void window_points_remove(struct window_points *points, struct window_point *point);
/* Gives memory back after many removals, if it can. */
void window_points_shrink(struct window_points *points);

/* First node at or after `key`; last before it; neighbours. NULL if there is none. */
struct window_point *window_points_from(const struct window_points *points, struct bytes key);
struct window_point *window_points_before(const struct window_points *points, struct bytes key);
struct window_point *window_points_next(const struct window_point *point);
struct window_point *window_points_previous(const struct window_point *point);
