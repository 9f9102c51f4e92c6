/* The index is a treap with parent pointers: a key that is set again is found by the hash and its node replaced in constant
 * time, and a node that is forgotten leaves in constant time (expected). Only a new key descends. */
#include "storage/window_points.h"

#include <assert.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "net/error.h"
#include "net/mem.h"

enum { SLOTS_MIN_BITS = 8, SLOTS_MAX_BITS = 31 };

int window_points_init(struct window_points *points, uint64_t seed)
{
    struct window_slot *slots = mem_zalloc(sizeof(*slots) << SLOTS_MIN_BITS);

    if (slots == NULL)
        return ERROR_OUT_OF_MEMORY;
    *points = (struct window_points){.slots = slots, .bits = SLOTS_MIN_BITS, .random = seed | 1, .seed = seed};
    return 0;
}

void window_points_done(struct window_points *points)
{
    mem_free(points->slots);
    *points = (struct window_points){0};
}

uint32_t window_points_tag(const struct window_points *points, struct bytes key)
{
    return (uint32_t)(XXH3_64bits_withSeed(key.len == 0 ? (const void *)"" : key.ptr, key.len, points->seed) >> 32);
}

/* ---- hash: linear probing from the tag's top bits; removal shifts back, so there are no tombstones ---- */

static size_t home_of(const struct window_points *points, uint32_t tag)
{
    return tag >> (32 - points->bits);
}

static size_t slot_mask(const struct window_points *points)
{
    return ((size_t)1 << points->bits) - 1;
}

struct window_point *window_points_find(const struct window_points *points, struct bytes key, uint32_t tag)
{
    for (size_t at = home_of(points, tag);; at = (at + 1) & slot_mask(points)) {
        const struct window_slot *slot = &points->slots[at];

        if (slot->point == NULL)
            return NULL;
        if (slot->tag == tag && bytes_equal(window_point_key(slot->point), key))
            return slot->point;
    }
}

static struct window_slot *slot_of(const struct window_points *points, const struct window_point *point)
{
    size_t at = home_of(points, point->tag);

    while (points->slots[at].point != point) {
        assert(points->slots[at].point != NULL);
        at = (at + 1) & slot_mask(points);
    }
    return &points->slots[at];
}

static void put_slot(struct window_points *points, struct window_point *point)
{
    size_t at = home_of(points, point->tag);

    while (points->slots[at].point != NULL)
        at = (at + 1) & slot_mask(points);
    points->slots[at] = (struct window_slot){.point = point, .tag = point->tag};
}

static void clear_slot(struct window_points *points, struct window_slot *slot)
{
    size_t mask = slot_mask(points), hole = (size_t)(slot - points->slots);

    for (size_t at = (hole + 1) & mask; points->slots[at].point != NULL; at = (at + 1) & mask) {
        size_t home = home_of(points, points->slots[at].tag);

        if (((at - home) & mask) < ((at - hole) & mask))
            continue; /* it would come to lie before its home */
        points->slots[hole] = points->slots[at];
        hole = at;
    }
    points->slots[hole] = (struct window_slot){0};
}

static int resize(struct window_points *points, unsigned bits)
{
    struct window_slot *old = points->slots, *slots;
    size_t old_count = (size_t)1 << points->bits;

    if (bits > SLOTS_MAX_BITS)
        return ERROR_OUT_OF_MEMORY;
    slots = mem_zalloc(sizeof(*slots) << bits);
    if (slots == NULL)
        return ERROR_OUT_OF_MEMORY;
    points->slots = slots;
    points->bits = bits;
    for (size_t i = 0; i < old_count; i++) {
        size_t at = home_of(points, old[i].tag);

        if (old[i].point == NULL)
            continue;
        while (slots[at].point != NULL)
            at = (at + 1) & slot_mask(points);
        slots[at] = old[i];
    }
    mem_free(old);
    return 0;
}

int window_points_reserve(struct window_points *points)
{
    if ((points->count + 1) * 8 <= ((size_t)5 << points->bits))
        return 0;
    return resize(points, points->bits + 1);
}

void window_points_shrink(struct window_points *points)
{
    unsigned bits = points->bits;

    while (bits > SLOTS_MIN_BITS && points->count * 8 < ((size_t)1 << bits))
        bits--;
    if (bits + 1 < points->bits)
        (void)resize(points, bits + 1); /* without memory the larger table stays, which is as right */
}

/* ---- index ---- */

static uint32_t draw_priority(struct window_points *points)
{
    uint64_t x = points->random;

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    points->random = x;
    return (uint32_t)(x >> 32);
}

/* Where the tree points at `point`. */
static struct window_point **link_of(struct window_points *points, const struct window_point *point)
{
    if (point->parent == NULL)
        return &points->root;
    return point->parent->left == point ? &point->parent->left : &point->parent->right;
}

static void set_left(struct window_point *point, struct window_point *child)
{
    point->left = child;
    if (child != NULL)
        child->parent = point;
}

static void set_right(struct window_point *point, struct window_point *child)
{
    point->right = child;
    if (child != NULL)
        child->parent = point;
}

/* The child takes its parent's place, and the parent goes down on the other side. */
static void rotate_up(struct window_points *points, struct window_point *child)
{
    struct window_point *parent = child->parent;

    *link_of(points, parent) = child;
    child->parent = parent->parent;
    if (parent->left == child) {
        set_left(parent, child->right);
        set_right(child, parent);
    } else {
        set_right(parent, child->left);
        set_left(child, parent);
    }
}

static void index_add(struct window_points *points, struct window_point *point)
{
    struct window_point **at = &points->root, *parent = NULL;

    while (*at != NULL) {
        parent = *at;
        at = bytes_compare(window_point_key(point), window_point_key(parent)) < 0 ? &parent->left : &parent->right;
    }
    point->left = point->right = NULL;
    point->parent = parent;
    point->priority = draw_priority(points);
    *at = point;
    while (point->parent != NULL && point->parent->priority < point->priority)
        rotate_up(points, point);
}

static void index_remove(struct window_points *points, struct window_point *point)
{
    while (point->left != NULL && point->right != NULL)
        rotate_up(points, point->left->priority > point->right->priority ? point->left : point->right);

    struct window_point *child = point->left != NULL ? point->left : point->right;

    *link_of(points, point) = child;
    if (child != NULL)
        child->parent = point->parent;
}

void window_points_add(struct window_points *points, struct window_point *point)
{
    put_slot(points, point);
    index_add(points, point);
    points->count++;
    point->is_newest = true;
}

void window_points_replace(struct window_points *points, struct window_point *old, struct window_point *fresh)
{
    assert(old->is_newest && old->tag == fresh->tag);
    slot_of(points, old)->point = fresh;
    fresh->priority = old->priority;
    fresh->parent = old->parent;
    *link_of(points, old) = fresh;
    set_left(fresh, old->left);
    set_right(fresh, old->right);
    old->is_newest = false;
    fresh->is_newest = true;
}

void window_points_remove(struct window_points *points, struct window_point *point)
{
    assert(point->is_newest);
    clear_slot(points, slot_of(points, point));
    index_remove(points, point);
    points->count--;
    point->is_newest = false;
}

struct window_point *window_points_from(const struct window_points *points, struct bytes key)
{
    struct window_point *point = points->root, *found = NULL;

    while (point != NULL) {
        bool fits = bytes_compare(window_point_key(point), key) >= 0;

        found = fits ? point : found;
        point = fits ? point->left : point->right;
    }
    return found;
}

struct window_point *window_points_before(const struct window_points *points, struct bytes key)
{
    struct window_point *point = points->root, *found = NULL;

    while (point != NULL) {
        bool fits = bytes_compare(window_point_key(point), key) < 0;

        found = fits ? point : found;
        point = fits ? point->right : point->left;
    }
    return found;
}

struct window_point *window_points_next(const struct window_point *point)
{
    const struct window_point *child = point;

    if (point->right != NULL) {
        for (point = point->right; point->left != NULL;)
            point = point->left;
        return (struct window_point *)point;
    }
    for (point = point->parent; point != NULL && point->right == child; point = point->parent)
        child = point;
    return (struct window_point *)point;
}

struct window_point *window_points_previous(const struct window_point *point)
{
    const struct window_point *child = point;

    if (point->left != NULL) {
        for (point = point->left; point->right != NULL;)
            point = point->right;
        return (struct window_point *)point;
    }
    for (point = point->parent; point != NULL && point->left == child; point = point->parent)
        child = point;
    return (struct window_point *)point;
}
