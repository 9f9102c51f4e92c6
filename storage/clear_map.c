#include "storage/clear_map.h"

#include <assert.h>

#include "net/error.h"

struct change {
    struct arena *arena;
    bool failed; /* sticky: a NULL from then on means nothing */
};

static struct clear_node *clone(struct change *change, const struct clear_node *node)
{
    struct clear_node *copy = change->failed ? NULL : arena_alloc(change->arena, sizeof(*copy));

    if (copy == NULL)
        change->failed = true;
    else
        *copy = *node;
    return copy;
}

static void split(struct change *change, const struct clear_node *node, struct bytes key,
                  const struct clear_node **ret_below, const struct clear_node **ret_rest)
{
    struct clear_node *copy;

    *ret_below = *ret_rest = NULL;
    if (node == NULL)
        return;
    copy = clone(change, node);
    if (copy == NULL)
        return;
    if (bytes_compare(node->key, key) < 0) {
        split(change, node->right, key, &copy->right, ret_rest);
        *ret_below = copy;
    } else {
        split(change, node->left, key, ret_below, &copy->left);
        *ret_rest = copy;
    }
}

static const struct clear_node *merge(struct change *change, const struct clear_node *left,
                                      const struct clear_node *right)
{
    struct clear_node *copy;

    if (left == NULL || right == NULL)
        return left == NULL ? right : left;
    copy = clone(change, left->priority >= right->priority ? left : right);
    if (copy == NULL)
        return NULL;
    if (left->priority >= right->priority)
        copy->right = merge(change, left->right, right);
    else
        copy->left = merge(change, left, right->left);
    return copy;
}

static uint32_t draw_priority(uint64_t *random)
{
    uint64_t x = *random;

    assert(x != 0);
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    *random = x;
    return (uint32_t)(x >> 32);
}

static struct clear_node *create_node(struct change *change, struct bytes key, version_t version, uint64_t sequence,
                                      uint32_t priority)
{
    struct clear_node node = {.version = version, .sequence = sequence, .priority = priority};

    if (change->failed || arena_copy(change->arena, key, &node.key) != 0) {
        change->failed = true;
        return NULL;
    }
    return clone(change, &node);
}

int clear_map_add(const struct clear_node **root, struct arena *arena, uint64_t *random, struct bytes begin,
                  struct bytes end, version_t version, uint64_t sequence)
{
    const struct clear_node *at_end = clear_map_floor(*root, end), *below, *covered, *rest, *changed;
    bool end_exists = at_end != NULL && bytes_equal(at_end->key, end);
    struct change change = {.arena = arena};
    struct clear_node *first, *last;

    assert(bytes_compare(begin, end) < 0);
    first = create_node(&change, begin, version, sequence, draw_priority(random));
    split(&change, *root, begin, &below, &rest);
    split(&change, rest, end, &covered, &rest);
    if (!end_exists) { /* what covered the end goes on behind it */
        last = create_node(&change, end, at_end == NULL ? VERSION_NONE : at_end->version,
                           at_end == NULL ? 0 : at_end->sequence, draw_priority(random));
        rest = merge(&change, last, rest);
    }
    changed = merge(&change, merge(&change, below, first), rest);
    if (change.failed)
        return ERROR_OUT_OF_MEMORY;
    *root = changed;
    return 0;
}

const struct clear_node *clear_map_floor(const struct clear_node *root, struct bytes key)
{
    const struct clear_node *found = NULL;

    while (root != NULL) {
        bool fits = bytes_compare(root->key, key) <= 0;

        found = fits ? root : found;
        root = fits ? root->right : root->left;
    }
    return found;
}

const struct clear_node *clear_map_below(const struct clear_node *root, struct bytes key)
{
    const struct clear_node *found = NULL;

    while (root != NULL) {
        bool fits = bytes_compare(root->key, key) < 0;

        found = fits ? root : found;
        root = fits ? root->right : root->left;
    }
    return found;
}

const struct clear_node *clear_map_above(const struct clear_node *root, struct bytes key)
{
    const struct clear_node *found = NULL;

    while (root != NULL) {
        bool fits = bytes_compare(root->key, key) > 0;

        found = fits ? root : found;
        root = fits ? root->left : root->right;
    }
    return found;
}
