/* Directory nodes: the keys of the metadata.
 *
 *   node of a directory = nodes, (its content prefix)       the root node's: the node subspace's own prefix
 *   node, (0, name) = content prefix of the subdirectory    node, ("layer") = layer
 *   root node, ("version") = 1, 0, 0 as little-endian uint32    root node, ("hca"): the allocator
 *
 * Source: FoundationDB's directory layer; the words are byte strings, names are text. */
#include "txn/layers/directory.h"
#include "txn/layers/read.h"

#define SUBDIRECTORIES 0
#define VERSION_MAJOR 1
#define PARTITION BYTES_LITERAL("partition")

static struct quoin_slice slice_of(struct bytes bytes)
{
    return (struct quoin_slice){bytes.ptr, (int)bytes.len};
}

/* The key of a node, without an end: what belongs to it follows. */
static void start_node(const struct directory_layer *layer, struct bytes prefix, struct quoin_tuple *out)
{
    quoin_tuple_reset(out);
    quoin_tuple_add_raw(out, layer->nodes.ptr, (int)layer->nodes.len);
    quoin_tuple_add_bytes(out, prefix.ptr, (int)prefix.len);
}

/* Reads a key into the arena. */
static int read_key(struct directory_layer *layer, const struct quoin_tuple *key, bool *ret_present, struct bytes *ret_value)
{
    struct layer_value value = {0};
    struct quoin_slice packed;
    int error = quoin_tuple_get(key, &packed);

    if (error == 0)
        error = layer_get(layer->transaction, packed, false, &value);
    if (error == 0)
        error = arena_copy(layer->arena, bytes_of(value.data, (size_t)value.length), ret_value);
    if (error == 0)
        *ret_present = value.present;
    layer_value_done(&value);
    return error;
}

static int write_key(struct directory_layer *layer, const struct quoin_tuple *key, const struct bytes *value)
{
    struct quoin_slice packed;
    int error = quoin_tuple_get(key, &packed);

    if (error == 0 && value != NULL)
        error = quoin_transaction_set(layer->transaction, packed.data, packed.length, value->ptr, (int)value->len);
    else if (error == 0)
        error = quoin_transaction_clear(layer->transaction, packed.data, packed.length);
    return error;
}

/* ---- version ---- */

int directory_check_version(struct directory_layer *layer, bool write)
{
    uint8_t first[12] = {VERSION_MAJOR};
    struct bytes value = bytes_of(first, sizeof(first)), stored;
    struct quoin_tuple key = {0};
    bool present = false;
    int error;

    start_node(layer, layer->nodes, &key);
    quoin_tuple_add_bytes(&key, "version", 7);
    error = read_key(layer, &key, &present, &stored);
    if (error == 0 && !present)
        error = write ? write_key(layer, &key, &value) : 0;
    else if (error == 0 && stored.len != sizeof(first))
        error = QUOIN_ERROR_INVALID_DIRECTORY_LAYER_METADATA;
    else if (error == 0 && (get_le32(stored.ptr) > VERSION_MAJOR || (write && get_le32(stored.ptr + 4) > 0)))
        error = QUOIN_ERROR_INCOMPATIBLE_DIRECTORY_VERSION;
    quoin_tuple_done(&key);
    return error;
}

/* ---- finding ---- */

static int read_entry(struct directory_layer *layer, struct bytes parent, struct quoin_slice name, struct directory_node *node)
{
    struct quoin_tuple key = {0};
    int error;

    start_node(layer, parent, &key);
    quoin_tuple_add_int(&key, SUBDIRECTORIES);
    quoin_tuple_add_text(&key, name.data, name.length);
    error = read_key(layer, &key, &node->exists, &node->prefix);
    quoin_tuple_done(&key);
    return error;
}

/* A node without a layer has the empty one. */
static int read_layer(struct directory_layer *layer, struct directory_node *node)
{
    struct quoin_tuple key = {0};
    bool present;
    int error;

    start_node(layer, node->prefix, &key);
    quoin_tuple_add_bytes(&key, "layer", 5);
    error = read_key(layer, &key, &present, &node->layer);
    node->is_partition = error == 0 && bytes_equal(node->layer, PARTITION);
    quoin_tuple_done(&key);
    return error;
}

int directory_find(struct directory_layer *layer, struct quoin_path path, struct directory_node *ret_node)
{
    struct directory_node node = {.exists = true, .prefix = layer->nodes, .rest = path};
    int error = 0;

    for (int i = 0; error == 0 && i < path.count && node.exists && !node.is_partition; i++) {
        node.path = (struct quoin_path){path.names, i + 1};
        node.rest = (struct quoin_path){path.names + i + 1, path.count - i - 1};
        error = read_entry(layer, node.prefix, path.names[i], &node);
        if (error == 0 && node.exists)
            error = read_layer(layer, &node);
    }
    node.is_beyond = node.is_partition && node.rest.count > 0;
    if (error == 0)
        *ret_node = node;
    return error;
}

int directory_join(struct arena *arena, struct quoin_path a, struct quoin_path b, struct quoin_path *ret_path)
{
    struct quoin_slice *names = arena_alloc(arena, ((size_t)a.count + (size_t)b.count + 1) * sizeof(*names));

    if (names == NULL)
        return QUOIN_ERROR_OUT_OF_MEMORY;
    if (a.count > 0)
        memcpy(names, a.names, (size_t)a.count * sizeof(*names));
    if (b.count > 0)
        memcpy(names + a.count, b.names, (size_t)b.count * sizeof(*names));
    *ret_path = (struct quoin_path){names, a.count + b.count};
    return 0;
}

static int join_bytes(struct arena *arena, struct bytes a, struct bytes b, struct bytes *ret_bytes)
{
    uint8_t *copy = arena_alloc(arena, a.len + b.len + 1);

    if (copy == NULL)
        return QUOIN_ERROR_OUT_OF_MEMORY;
    if (a.len > 0)
        memcpy(copy, a.ptr, a.len);
    if (b.len > 0)
        memcpy(copy + a.len, b.ptr, b.len);
    *ret_bytes = bytes_of(copy, a.len + b.len);
    return 0;
}

int directory_inside(const struct directory_layer *layer, const struct directory_node *partition, struct directory_layer *ret_inside)
{
    struct directory_layer inside = {.transaction = layer->transaction, .arena = layer->arena, .contents = partition->prefix};
    int error = join_bytes(layer->arena, partition->prefix, BYTES_LITERAL("\xfe"), &inside.nodes);

    if (error == 0)
        error = directory_join(layer->arena, layer->path, partition->path, &inside.path);
    if (error == 0)
        *ret_inside = inside;
    return error;
}

/* ---- a new prefix ---- */

/* Whether there is a key from `begin` to `end`; its copy is in the arena. */
static int any_key(struct directory_layer *layer, struct quoin_slice begin, struct quoin_slice end, bool snapshot, bool reverse,
                   bool *ret_any, struct bytes *ret_key)
{
    struct layer_scan scan = {.snapshot = snapshot, .reverse = reverse};
    const struct quoin_pair *pair = NULL;
    int error;

    layer_scan_start(&scan, layer->transaction, begin, end, 1);
    error = layer_scan_next(&scan, &pair);
    if (error == 0 && pair != NULL)
        error = arena_copy(layer->arena, bytes_of(pair->key, (size_t)pair->key_length), ret_key);
    if (error == 0)
        *ret_any = pair != NULL;
    layer_scan_done(&scan);
    return error;
}

/* The content prefix that a key of the node subspace names. */
static int prefix_in_key(struct directory_layer *layer, struct bytes key, struct bytes *ret_prefix)
{
    struct quoin_unpacked *unpacked;
    struct quoin_slice first;
    int error = quoin_tuple_unpack(key.ptr + layer->nodes.len, (int)(key.len - layer->nodes.len), &unpacked);

    if (error != 0)
        return error == QUOIN_ERROR_OUT_OF_MEMORY ? error : QUOIN_ERROR_INVALID_DIRECTORY_LAYER_METADATA;
    error = quoin_unpacked_bytes(unpacked, 0, &first);
    if (error != 0)
        error = QUOIN_ERROR_INVALID_DIRECTORY_LAYER_METADATA;
    else
        error = arena_copy(layer->arena, bytes_of(first.data, (size_t)first.length), ret_prefix);
    quoin_unpacked_destroy(unpacked);
    return error;
}

/* Whether the prefix lies in the node subspace or in an existing directory. */
static int is_inside_another(struct directory_layer *layer, struct bytes prefix, bool snapshot, bool *ret_inside)
{
    struct quoin_tuple begin = {0}, end = {0};
    struct bytes key, other;
    bool any = false;
    int error;

    *ret_inside = bytes_starts_with(prefix, layer->nodes);
    if (*ret_inside)
        return 0;
    quoin_tuple_add_raw(&begin, layer->nodes.ptr, (int)layer->nodes.len);
    quoin_tuple_add_raw(&begin, "", 1);
    start_node(layer, prefix, &end);
    quoin_tuple_add_raw(&end, "", 1);
    error = begin.error != 0 ? begin.error : end.error;
    if (error == 0)
        error = any_key(layer, (struct quoin_slice){begin.data, begin.length}, (struct quoin_slice){end.data, end.length}, snapshot, true,
                        &any, &key);
    if (error == 0 && any)
        error = prefix_in_key(layer, key, &other);
    if (error == 0 && any)
        *ret_inside = bytes_starts_with(prefix, other);
    quoin_tuple_done(&begin);
    quoin_tuple_done(&end);
    return error;
}

/* Whether an existing directory lies in the prefix. */
static int contains_another(struct directory_layer *layer, struct bytes prefix, bool snapshot, bool *ret_contains)
{
    struct quoin_key_range prefixes = {0};
    struct quoin_tuple begin = {0}, end = {0};
    struct bytes key;
    int error = quoin_prefix_range(prefix.ptr, (int)prefix.len, &prefixes);

    if (error == 0) {
        start_node(layer, prefix, &begin);
        start_node(layer, bytes_of(prefixes.end.data, (size_t)prefixes.end.length), &end);
        error = begin.error != 0 ? begin.error : end.error;
    }
    if (error == 0)
        error = any_key(layer, (struct quoin_slice){begin.data, begin.length}, (struct quoin_slice){end.data, end.length}, snapshot, false,
                        ret_contains, &key);
    quoin_tuple_done(&begin);
    quoin_tuple_done(&end);
    quoin_key_range_done(&prefixes);
    return error;
}

/* No directory may begin another: their contents would mix. */
static int check_prefix(struct directory_layer *layer, struct bytes prefix, bool snapshot)
{
    bool taken = prefix.len == 0;
    int error = 0;

    if (!taken)
        error = is_inside_another(layer, prefix, snapshot, &taken);
    if (error == 0 && !taken)
        error = contains_another(layer, prefix, snapshot, &taken);
    return error == 0 && taken ? QUOIN_ERROR_DIRECTORY_PREFIX_IN_USE : error;
}

static int check_empty(struct directory_layer *layer, struct bytes prefix)
{
    struct quoin_key_range range = {0};
    struct bytes key;
    bool any = false;
    int error = quoin_prefix_range(prefix.ptr, (int)prefix.len, &range);

    if (error == 0)
        error = any_key(layer, layer_slice(&range.begin), layer_slice(&range.end), false, false, &any, &key);
    quoin_key_range_done(&range);
    return error == 0 && any ? QUOIN_ERROR_DIRECTORY_PREFIX_NOT_EMPTY : error;
}

static int allocate_prefix(struct directory_layer *layer, struct bytes *ret_prefix)
{
    struct quoin_tuple key = {0}, allocated = {0};
    struct quoin_subspace subspace;
    int error;

    start_node(layer, layer->nodes, &key);
    quoin_tuple_add_bytes(&key, "hca", 3);
    subspace.prefix = (struct quoin_buffer){key.data, key.length}; /* lent */
    error = key.error != 0 ? key.error : quoin_allocate(layer->transaction, &subspace, &allocated);
    if (error == 0)
        error = join_bytes(layer->arena, layer->contents, bytes_of(allocated.data, (size_t)allocated.length), ret_prefix);
    quoin_tuple_done(&key);
    quoin_tuple_done(&allocated);
    return error;
}

int directory_new_prefix(struct directory_layer *layer, const struct quoin_slice *manual, struct bytes *ret_prefix)
{
    int error;

    if (manual == NULL)
        error = allocate_prefix(layer, ret_prefix);
    else
        error = arena_copy(layer->arena, bytes_of(manual->data, (size_t)manual->length), ret_prefix);
    if (error == 0 && manual == NULL)
        error = check_empty(layer, *ret_prefix);
    /* The allocator's own conflicts are enough for what it hands out. */
    return error != 0 ? error : check_prefix(layer, *ret_prefix, manual == NULL);
}

/* ---- changing ---- */

static int change_entry(struct directory_layer *layer, struct bytes parent, struct quoin_slice name, const struct bytes *prefix)
{
    struct quoin_tuple key = {0};
    int error;

    start_node(layer, parent, &key);
    quoin_tuple_add_int(&key, SUBDIRECTORIES);
    quoin_tuple_add_text(&key, name.data, name.length);
    error = write_key(layer, &key, prefix);
    quoin_tuple_done(&key);
    return error;
}

int directory_set_entry(struct directory_layer *layer, struct bytes parent, struct quoin_slice name, struct bytes prefix)
{
    return change_entry(layer, parent, name, &prefix);
}

int directory_clear_entry(struct directory_layer *layer, struct bytes parent, struct quoin_slice name)
{
    return change_entry(layer, parent, name, NULL);
}

int directory_set_layer(struct directory_layer *layer, struct bytes prefix, struct bytes name)
{
    struct quoin_tuple key = {0};
    int error;

    start_node(layer, prefix, &key);
    quoin_tuple_add_bytes(&key, "layer", 5);
    error = write_key(layer, &key, &name);
    quoin_tuple_done(&key);
    return error;
}

static int clear_prefix(struct directory_layer *layer, struct quoin_slice prefix)
{
    struct quoin_key_range range = {0};
    int error = quoin_prefix_range(prefix.data, prefix.length, &range);

    if (error == 0)
        error = quoin_transaction_clear_range(layer->transaction, range.begin.data, range.begin.length, range.end.data, range.end.length);
    quoin_key_range_done(&range);
    return error;
}

static int clear_node(struct directory_layer *layer, struct bytes prefix)
{
    struct quoin_tuple key = {0};
    int error;

    start_node(layer, prefix, &key);
    error = key.error != 0 ? key.error : clear_prefix(layer, (struct quoin_slice){key.data, key.length});
    quoin_tuple_done(&key);
    return error != 0 ? error : clear_prefix(layer, slice_of(prefix));
}

struct pending {
    struct pending *next;
    struct bytes prefix;
};

/* Each node is cleared before what was in it is visited, so that damaged metadata that names a directory inside itself comes to an end. */
int directory_clear_all(struct directory_layer *layer, struct bytes prefix)
{
    struct pending first = {.prefix = prefix}, *pending = &first;
    struct directory_entries entries;
    int error = 0;

    while (error == 0 && pending != NULL) {
        struct pending *at = pending;

        pending = at->next;
        error = directory_entries(layer, at->prefix, &entries);
        if (error == 0)
            error = clear_node(layer, at->prefix);
        for (int i = 0; error == 0 && i < entries.count; i++) {
            struct pending *below = arena_alloc(layer->arena, sizeof(*below));

            if (below == NULL)
                return QUOIN_ERROR_OUT_OF_MEMORY;
            *below = (struct pending){.next = pending, .prefix = entries.prefixes[i]};
            pending = below;
        }
    }
    return error;
}

/* ---- listing ---- */

static int add_listed(struct directory_layer *layer, const struct quoin_pair *pair, int node_length, struct directory_entries *entries,
                      int *capacity)
{
    struct quoin_unpacked *unpacked;
    struct quoin_slice name;
    struct bytes copy;
    int error;

    if (entries->count == *capacity) {
        int wider = *capacity > 0 ? *capacity * 2 : 16;
        struct quoin_slice *names = arena_alloc(layer->arena, (size_t)wider * sizeof(*names));
        struct bytes *prefixes = arena_alloc(layer->arena, (size_t)wider * sizeof(*prefixes));

        if (names == NULL || prefixes == NULL)
            return QUOIN_ERROR_OUT_OF_MEMORY;
        if (entries->count > 0) {
            memcpy(names, entries->names, (size_t)entries->count * sizeof(*names));
            memcpy(prefixes, entries->prefixes, (size_t)entries->count * sizeof(*prefixes));
        }
        entries->names = names;
        entries->prefixes = prefixes;
        *capacity = wider;
    }
    error = quoin_tuple_unpack(pair->key + node_length, pair->key_length - node_length, &unpacked);
    if (error != 0)
        return error == QUOIN_ERROR_OUT_OF_MEMORY ? error : QUOIN_ERROR_INVALID_DIRECTORY_LAYER_METADATA;
    error = quoin_unpacked_text(unpacked, 1, &name) != 0 ? QUOIN_ERROR_INVALID_DIRECTORY_LAYER_METADATA : 0;
    if (error == 0)
        error = arena_copy(layer->arena, bytes_of(name.data, (size_t)name.length), &copy);
    if (error == 0) {
        entries->names[entries->count] = slice_of(copy);
        error = arena_copy(layer->arena, bytes_of(pair->value, (size_t)pair->value_length), &entries->prefixes[entries->count]);
    }
    entries->count += error == 0;
    quoin_unpacked_destroy(unpacked);
    return error;
}

int directory_entries(struct directory_layer *layer, struct bytes prefix, struct directory_entries *ret_entries)
{
    struct quoin_key_range range = {0};
    struct directory_entries entries = {0};
    struct quoin_tuple key = {0};
    struct layer_scan scan = {0};
    const struct quoin_pair *pair;
    int error, node_length, capacity = 0;

    start_node(layer, prefix, &key);
    node_length = key.length;
    quoin_tuple_add_int(&key, SUBDIRECTORIES);
    error = quoin_tuple_range(&key, &range);
    if (error == 0)
        layer_scan_start(&scan, layer->transaction, layer_slice(&range.begin), layer_slice(&range.end), 0);
    while (error == 0 && (error = layer_scan_next(&scan, &pair)) == 0 && pair != NULL)
        error = add_listed(layer, pair, node_length, &entries, &capacity);
    layer_scan_done(&scan);
    quoin_tuple_done(&key);
    quoin_key_range_done(&range);
    if (error == 0)
        *ret_entries = entries;
    return error;
}
