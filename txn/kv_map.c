/* An AA tree: a red-black tree with one rule less, so that insertion and removal are each a page.
 *
 * Level 1 is a leaf's; a left child is one level below its parent; a right child is at the same level or one below, but
 * two right children in a row never are. So the height is at most twice the logarithm. Key and value stand behind the
 * node in one allocation: a pair costs one malloc, and a failed one is noticed before anything has changed. */
#include "txn/kv_map.h"

#include <assert.h>

#include "net/arena.h"
#include "net/error.h"
#include "net/mem.h"
#include "txn/mutation.h"

struct node {
    struct node *left, *right;
    uint32_t key_len, value_len;
    uint8_t level;
    uint8_t data[]; /* key, then value */
};

struct kv_map {
    struct node *root;
    size_t count;
    size_t bytes; /* of nodes */
};

static struct bytes node_key(const struct node *node)
{
    return bytes_of(node->data, node->key_len);
}

static struct bytes node_value(const struct node *node)
{
    return bytes_of(node->data + node->key_len, node->value_len);
}

static size_t node_bytes(const struct node *node)
{
    return sizeof(*node) + node->key_len + node->value_len;
}

static struct node *node_create(struct bytes key, struct bytes value)
{
    struct node *node = mem_alloc(sizeof(*node) + key.len + value.len);

    assert(key.len <= UINT32_MAX && value.len <= UINT32_MAX);
    if (node == NULL)
        return NULL;
    *node = (struct node){.key_len = (uint32_t)key.len, .value_len = (uint32_t)value.len, .level = 1};
    if (key.len > 0)
        memcpy(node->data, key.ptr, key.len);
    if (value.len > 0)
        memcpy(node->data + key.len, value.ptr, value.len);
    return node;
}

/* ---- the tree ---- */

static unsigned level_of(const struct node *node)
{
    return node == NULL ? 0 : node->level;
}

/* A left child of the same level becomes the parent. */
static struct node *skew(struct node *node)
{
    struct node *left;

    if (node == NULL || level_of(node->left) != node->level)
        return node;
    left = node->left;
    node->left = left->right;
    left->right = node;
    return left;
}

/* Two right children in a row of the same level: the middle one rises. */
static struct node *split(struct node *node)
{
    struct node *right;

    if (node == NULL || node->right == NULL || level_of(node->right->right) != node->level)
        return node;
    right = node->right;
    node->right = right->left;
    right->left = node;
    right->level++;
    return right;
}

/* Puts `node` in; an equal key's node is replaced and handed back in *ret_old. */
static struct node *insert(struct node *root, struct node *node, struct node **ret_old)
{
    int order;

    if (root == NULL)
        return node;
    order = bytes_compare(node_key(node), node_key(root));
    if (order == 0) {
        node->left = root->left;
        node->right = root->right;
        node->level = root->level;
        *ret_old = root;
        return node;
    }
    if (order < 0)
        root->left = insert(root->left, node, ret_old);
    else
        root->right = insert(root->right, node, ret_old);
    return split(skew(root));
}

static struct node *mend(struct node *node)
{
    unsigned low = level_of(node->left) < level_of(node->right) ? level_of(node->left) : level_of(node->right);

    if (low + 1 < node->level) {
        node->level = (uint8_t)(low + 1);
        if (node->right != NULL && node->right->level > node->level)
            node->right->level = node->level;
    }
    node = skew(node);
    node->right = skew(node->right);
    if (node->right != NULL)
        node->right->right = skew(node->right->right);
    node = split(node);
    node->right = split(node->right);
    return node;
}

static struct node *remove_first(struct node *root, struct node **ret_first)
{
    if (root->left == NULL) {
        *ret_first = root;
        return root->right;
    }
    root->left = remove_first(root->left, ret_first);
    return mend(root);
}

static struct node *replace_by_successor(struct node *root)
{
    struct node *right, *successor;

    if (root->right == NULL) {
        assert(root->left == NULL); /* a left child without a right one would be two levels off */
        return NULL;
    }
    right = remove_first(root->right, &successor);
    assert(successor != root);
    successor->left = root->left;
    successor->right = right;
    successor->level = root->level;
    return mend(successor);
}

/* `key` is there. */
static struct node *take_out(struct node *root, struct bytes key, struct node **ret_old)
{
    int order = bytes_compare(key, node_key(root));

    if (order == 0) {
        *ret_old = root;
        return replace_by_successor(root);
    }
    if (order < 0)
        root->left = take_out(root->left, key, ret_old);
    else
        root->right = take_out(root->right, key, ret_old);
    return mend(root);
}

static struct node *seek(const struct kv_map *map, struct bytes key)
{
    struct node *found = NULL;

    for (struct node *node = map->root; node != NULL;) {
        if (bytes_compare(node_key(node), key) >= 0) {
            found = node;
            node = node->left;
        } else {
            node = node->right;
        }
    }
    return found;
}

static struct node *seek_before(const struct kv_map *map, struct bytes key)
{
    struct node *found = NULL;

    for (struct node *node = map->root; node != NULL;) {
        if (bytes_compare(node_key(node), key) < 0) {
            found = node;
            node = node->right;
        } else {
            node = node->left;
        }
    }
    return found;
}

static struct node *find(const struct kv_map *map, struct bytes key)
{
    struct node *node = map->root;

    while (node != NULL) {
        int order = bytes_compare(key, node_key(node));

        if (order == 0)
            return node;
        node = order < 0 ? node->left : node->right;
    }
    return NULL;
}

static void free_all(struct node *node)
{
    while (node != NULL) {
        struct node *right = node->right;

        free_all(node->left);
        mem_free(node);
        node = right;
    }
}

/* ---- the map ---- */

struct kv_map *kv_map_create(void)
{
    return mem_zalloc(sizeof(struct kv_map));
}

void kv_map_destroy(struct kv_map *map)
{
    if (map == NULL)
        return;
    free_all(map->root);
    mem_free(map);
}

static void insert_node(struct kv_map *map, struct node *node)
{
    struct node *old = NULL;

    map->root = insert(map->root, node, &old);
    assert(old == NULL || (map->count > 0 && bytes_equal(node_key(old), node_key(node))));
    map->count++;
    map->bytes += node_bytes(node);
    if (old == NULL)
        return;
    map->count--;
    map->bytes -= node_bytes(old);
    mem_free(old);
}

int kv_map_set(struct kv_map *map, struct bytes key, struct bytes value)
{
    struct node *node = find(map, key);

    if (node != NULL && node->value_len == value.len) {
        if (value.len > 0)
            memmove(node->data + node->key_len, value.ptr, value.len);
        return 0;
    }
    node = node_create(key, value);
    if (node == NULL)
        return ERROR_OUT_OF_MEMORY;
    insert_node(map, node);
    return 0;
}

static void remove_node(struct kv_map *map, const struct node *node)
{
    struct node *old = NULL;

    assert(map->count > 0 && map->bytes >= node_bytes(node));
    map->root = take_out(map->root, node_key(node), &old);
    assert(old == node);
    map->count--;
    map->bytes -= node_bytes(old);
    mem_free(old);
}

void kv_map_clear_range(struct kv_map *map, struct bytes begin, struct bytes end)
{
    struct node *node;

    while ((node = seek(map, begin)) != NULL && bytes_compare(node_key(node), end) < 0)
        remove_node(map, node);
}

bool kv_map_get(const struct kv_map *map, struct bytes key, struct bytes *ret_value)
{
    const struct node *node = find(map, key);

    if (node == NULL)
        return false;
    *ret_value = node_value(node);
    return true;
}

static bool give(const struct node *node, struct bytes *ret_key, struct bytes *ret_value)
{
    if (node == NULL)
        return false;
    *ret_key = node_key(node);
    *ret_value = node_value(node);
    return true;
}

bool kv_map_at_or_after(const struct kv_map *map, struct bytes key, struct bytes *ret_key, struct bytes *ret_value)
{
    return give(seek(map, key), ret_key, ret_value);
}

bool kv_map_before(const struct kv_map *map, struct bytes key, struct bytes *ret_key, struct bytes *ret_value)
{
    return give(seek_before(map, key), ret_key, ret_value);
}

struct walk {
    struct bytes begin, end;
    void (*each)(void *ctx, struct bytes key, struct bytes value);
    void *ctx;
};

/* `above`: the subtree is known to lie at or above begin; `below`: below end. So keys are compared on the way to both ends alone. */
static void walk_subtree(const struct walk *walk, const struct node *node, bool above, bool below)
{
    while (node != NULL) {
        bool from = above || bytes_compare(node_key(node), walk->begin) >= 0;
        bool to = below || bytes_compare(node_key(node), walk->end) < 0;

        if (from)
            walk_subtree(walk, node->left, above, to);
        if (from && to)
            walk->each(walk->ctx, node_key(node), node_value(node));
        if (!to)
            return;
        node = node->right;
        above = from;
    }
}

void kv_map_walk(const struct kv_map *map, struct bytes begin, struct bytes end,
                 void (*each)(void *ctx, struct bytes key, struct bytes value), void *ctx)
{
    struct walk walk = {begin, end, each, ctx};

    walk_subtree(&walk, map->root, false, false);
}

size_t kv_map_count(const struct kv_map *map)
{
    return map->count;
}

size_t kv_map_bytes(const struct kv_map *map)
{
    return sizeof(*map) + map->bytes;
}

/* ---- mutation tables ---- */

static int apply_atomic(struct kv_map *map, const struct mutation *mutation)
{
    struct arena arena = {0};
    struct bytes existing = bytes_none(), value;
    bool exists = kv_map_get(map, mutation->param1, &existing);
    int error = mutation_apply_atomic(&arena, mutation->type, exists, existing, mutation->param2, &exists, &value);
    struct node *node;

    if (error == 0 && exists) {
        error = kv_map_set(map, mutation->param1, value);
    } else if (error == 0) {
        node = find(map, mutation->param1);
        if (node != NULL)
            remove_node(map, node);
    }
    arena_done(&arena);
    return error;
}

static int apply(struct kv_map *map, const struct mutation *mutation)
{
    if (mutation->type >= MUTATION_PRIVATE_MIN)
        return 0;
    if (mutation->type == MUTATION_SET)
        return kv_map_set(map, mutation->param1, mutation->param2);
    if (mutation_type_is_atomic(mutation->type))
        return apply_atomic(map, mutation);
    if (mutation->type != MUTATION_CLEAR_RANGE)
        return ERROR_SERIALIZATION_FAILED;
    kv_map_clear_range(map, mutation->param1, mutation->param2);
    return 0;
}

int kv_map_apply(struct kv_map *map, struct bytes mutations)
{
    struct mutation mutation;
    int error;

    while ((error = mutation_next(&mutations, &mutation)) == 0) {
        error = apply(map, &mutation);
        if (error != 0)
            return error;
    }
    return error == ERROR_END_OF_STREAM ? 0 : error;
}

/* The height is at most twice the logarithm of the count, so recursion is bounded. */
static int dump(const struct node *node, struct bytes_buffer *out)
{
    int error;

    if (node == NULL)
        return 0;
    error = dump(node->left, out);
    if (error == 0)
        error = mutation_append(out, MUTATION_SET, node_key(node), node_value(node));
    return error != 0 ? error : dump(node->right, out);
}

int kv_map_dump(const struct kv_map *map, struct bytes_buffer *out)
{
    size_t len_before = out->len;
    int error = dump(map->root, out);

    if (error != 0)
        out->len = len_before;
    return error;
}
