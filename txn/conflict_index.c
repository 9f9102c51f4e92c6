/* A treap, because cutting out everything under a range write is a split and dropping the middle; why not a skip list: its
 * levels would need the maximum repaired one by one. */
#include "txn/conflict_index.h"

#include <assert.h>

#include "net/error.h"

struct conflict_node {
    struct conflict_node *left, *right;
    uint32_t priority;
    uint32_t point;  /* last write of the key alone */
    uint32_t gap;    /* last write of [key, next node's key) */
    uint32_t newest; /* maximum of point and gap in this subtree */
    uint32_t key_len;
    uint8_t key[]; /* here, since a descent pays for each place in memory that it looks at */
};

static struct bytes key_of(const struct conflict_node *node)
{
    return bytes_of(node->key, node->key_len);
}

static uint32_t larger(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

static uint32_t newest_of(const struct conflict_node *node)
{
    return node == NULL ? 0 : node->newest;
}

static uint32_t own_newest(const struct conflict_node *node)
{
    return larger(node->point, node->gap);
}

static void pull(struct conflict_node *node)
{
    node->newest = larger(own_newest(node), larger(newest_of(node->left), newest_of(node->right)));
}

static uint32_t draw_priority(struct conflict_index *index)
{
    uint64_t x = index->random;

    assert(x != 0);
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    index->random = x;
    return (uint32_t)(x >> 32);
}

static struct conflict_node *create_node(struct conflict_index *index, struct arena *arena, struct bytes key)
{
    struct conflict_node *node = arena_alloc(arena, sizeof(*node) + key.len);

    if (node == NULL)
        return NULL;
    *node = (struct conflict_node){.priority = draw_priority(index), .key_len = (uint32_t)key.len};
    if (key.len > 0)
        memcpy(node->key, key.ptr, key.len);
    return node;
}

/* The greatest node at or below `key`. */
static struct conflict_node *find_floor(const struct conflict_index *index, struct bytes key)
{
    struct conflict_node *node = index->root, *floor = NULL;

    while (node != NULL) {
        int order = bytes_compare(key_of(node), key);

        if (order == 0)
            return node;
        if (order < 0)
            floor = node;
        node = order < 0 ? node->right : node->left;
    }
    return floor;
}

/* Depth is logarithmic in expectation: priorities are drawn from a seed that no client knows. */
static void split(struct conflict_node *node, struct bytes key, struct conflict_node **ret_below,
                  struct conflict_node **ret_rest)
{
    if (node == NULL) {
        *ret_below = *ret_rest = NULL;
    } else if (bytes_compare(key_of(node), key) < 0) {
        split(node->right, key, &node->right, ret_rest);
        *ret_below = node;
        pull(node);
    } else {
        split(node->left, key, ret_below, &node->left);
        *ret_rest = node;
        pull(node);
    }
}

static struct conflict_node *merge(struct conflict_node *left, struct conflict_node *right)
{
    if (left == NULL || right == NULL)
        return left == NULL ? right : left;
    if (left->priority >= right->priority) {
        left->right = merge(left->right, right);
        pull(left);
        return left;
    }
    right->left = merge(left, right->left);
    pull(right);
    return right;
}

/* A node that exists got a newer point: its ancestors' maxima follow. */
static void raise_path(struct conflict_index *index, const struct conflict_node *target, uint32_t when)
{
    struct conflict_node *node = index->root;

    for (;;) {
        int order = bytes_compare(key_of(target), key_of(node));

        node->newest = larger(node->newest, when);
        if (order == 0)
            return;
        node = order < 0 ? node->left : node->right;
    }
}

static void insert_node(struct conflict_index *index, struct conflict_node *fresh)
{
    struct conflict_node **at = &index->root;

    while (*at != NULL && (*at)->priority >= fresh->priority) {
        (*at)->newest = larger((*at)->newest, own_newest(fresh));
        at = bytes_compare(key_of(fresh), key_of(*at)) < 0 ? &(*at)->left : &(*at)->right;
    }
    split(*at, key_of(fresh), &fresh->left, &fresh->right);
    pull(fresh);
    *at = fresh;
}

int conflict_index_add_point(struct conflict_index *index, struct arena *arena, struct bytes key, uint32_t when)
{
    struct conflict_node *floor = find_floor(index, key), *fresh;

    assert(when > 0);
    if (floor != NULL && floor->gap >= when)
        return 0;
    if (floor != NULL && bytes_equal(key_of(floor), key)) {
        floor->point = larger(floor->point, when);
        raise_path(index, floor, when);
        return 0;
    }
    fresh = create_node(index, arena, key);
    if (fresh == NULL)
        return ERROR_OUT_OF_MEMORY;
    fresh->point = when;
    fresh->gap = floor == NULL ? 0 : floor->gap;
    insert_node(index, fresh);
    return 0;
}

/* The boundary at `key`: the one that is there, or a new one with a copy of the key, in no tree yet. */
static struct conflict_node *obtain_boundary(struct conflict_index *index, struct arena *arena, struct bytes key,
                                             bool *ret_found)
{
    struct conflict_node *floor = find_floor(index, key), *fresh;

    *ret_found = floor != NULL && bytes_equal(key_of(floor), key);
    if (*ret_found)
        return floor;
    fresh = create_node(index, arena, key);
    if (fresh != NULL)
        fresh->gap = floor == NULL ? 0 : floor->gap;
    return fresh;
}

int conflict_index_add_range(struct conflict_index *index, struct arena *arena, struct bytes begin, struct bytes end,
                             uint32_t when)
{
    struct conflict_node *below, *covered, *rest, *first, *last;
    bool first_found, last_found;

    assert(when >= newest_of(index->root) && when > 0);
    assert(bytes_compare(begin, end) < 0);
    first = obtain_boundary(index, arena, begin, &first_found);
    last = obtain_boundary(index, arena, end, &last_found);
    if (first == NULL || last == NULL)
        return ERROR_OUT_OF_MEMORY;
    split(index->root, begin, &below, &rest);
    split(rest, end, &covered, &rest); /* what is covered is older: gone, but for its first boundary */
    first->left = first->right = NULL;
    first->point = 0;
    first->gap = when;
    pull(first);
    if (!last_found) {
        pull(last);
        rest = merge(last, rest);
    }
    index->root = merge(merge(below, first), rest);
    return 0;
}

static bool is_newer_from(const struct conflict_node *node, struct bytes begin, uint32_t when)
{
    while (newest_of(node) > when) {
        if (bytes_compare(key_of(node), begin) < 0) {
            node = node->right;
            continue;
        }
        if (own_newest(node) > when || newest_of(node->right) > when)
            return true;
        node = node->left;
    }
    return false;
}

static bool is_newer_below(const struct conflict_node *node, struct bytes end, uint32_t when)
{
    while (newest_of(node) > when) {
        if (bytes_compare(key_of(node), end) >= 0) {
            node = node->left;
            continue;
        }
        if (own_newest(node) > when || newest_of(node->left) > when)
            return true;
        node = node->right;
    }
    return false;
}

/* Does the range write that covers `key` from a boundary at or below it come after `when`? A subtree that is old can only
 * say no: it is entered while a no can still overrule a yes. */
static bool cover_is_newer(const struct conflict_index *index, struct bytes key, uint32_t when)
{
    const struct conflict_node *node = index->root;
    bool newer = false;

    while (node != NULL && (newer || node->newest > when)) {
        if (bytes_compare(key_of(node), key) <= 0) {
            newer = node->gap > when;
            node = node->right;
        } else {
            node = node->left;
        }
    }
    return newer;
}

bool conflict_index_is_newer(const struct conflict_index *index, struct bytes begin, struct bytes end, uint32_t when)
{
    const struct conflict_node *node = index->root;

    while (newest_of(node) > when) {
        if (bytes_compare(key_of(node), begin) < 0) {
            node = node->right;
        } else if (bytes_compare(key_of(node), end) >= 0) {
            node = node->left;
        } else {
            if (own_newest(node) > when || is_newer_from(node->left, begin, when) ||
                is_newer_below(node->right, end, when))
                return true;
            break;
        }
    }
    return cover_is_newer(index, begin, when);
}

bool conflict_index_is_newer_at(const struct conflict_index *index, struct bytes key, uint32_t when)
{
    const struct conflict_node *node = index->root;
    bool newer = false;

    while (node != NULL && (newer || node->newest > when)) { /* see cover_is_newer */
        int order = bytes_compare(key_of(node), key);

        if (order == 0)
            return own_newest(node) > when;
        if (order < 0)
            newer = node->gap > when;
        node = order < 0 ? node->right : node->left;
    }
    return newer;
}

/* ---- which write that was ---- */

/* The first boundary above the node's. Every gap that was written has one. */
static struct bytes end_of_gap(const struct conflict_index *index, struct bytes key)
{
    const struct conflict_node *node = index->root, *above = NULL;

    while (node != NULL) {
        bool is_above = bytes_compare(key_of(node), key) > 0;

        if (is_above)
            above = node;
        node = is_above ? node->left : node->right;
    }
    assert(above != NULL);
    return key_of(above);
}

/* Subtrees that have nothing newer than what is found already are skipped. `floor`: the boundary at or below begin. */
static void look_for_newest(const struct conflict_node *node, const struct conflict_node *floor, struct bytes begin, struct bytes end,
                            const struct conflict_node **ret_node, bool *ret_is_point, uint32_t *when)
{
    bool within;

    if (newest_of(node) <= *when)
        return;
    within = bytes_compare(key_of(node), begin) >= 0;
    if (bytes_compare(key_of(node), end) >= 0) {
        look_for_newest(node->left, floor, begin, end, ret_node, ret_is_point, when);
        return;
    }
    if (within && node->point > *when) {
        *ret_node = node;
        *ret_is_point = true;
        *when = node->point;
    }
    if ((within || node == floor) && node->gap > *when) {
        *ret_node = node;
        *ret_is_point = false;
        *when = node->gap;
    }
    if (within)
        look_for_newest(node->left, floor, begin, end, ret_node, ret_is_point, when);
    look_for_newest(node->right, floor, begin, end, ret_node, ret_is_point, when);
}

bool conflict_index_find_newest(const struct conflict_index *index, struct bytes begin, struct bytes end, uint32_t when,
                                struct conflict_newest *ret)
{
    const struct conflict_node *node = NULL;

    look_for_newest(index->root, find_floor(index, begin), begin, end, &node, &ret->is_point, &when);
    if (node == NULL)
        return false;
    ret->begin = key_of(node);
    ret->end = ret->is_point ? bytes_none() : end_of_gap(index, key_of(node));
    ret->when = when;
    return true;
}
