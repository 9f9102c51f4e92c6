/* Directories: the operations, and the handles.
 *
 * A path is followed node by node until it ends or meets a partition; what is beyond goes on in the directory layer inside that
 * partition, with the rest of the path, as if it were a root. A handle keeps all that it was opened with in one arena and is not tied
 * to a transaction; a partition's handle uses the layer inside for what is below it and the one around it for itself. */
#include "txn/layers/directory.h"
#include "txn/layers/tuple.h"

#include "net/mem.h"

struct quoin_directory {
    struct arena arena;           /* everything below */
    struct bytes nodes, contents; /* of the directory layer that it is in */
    int layer_names;              /* how many of the path's names lead to that layer */
    struct quoin_path path;       /* from the root */
    struct bytes prefix, layer;
    bool manual_prefixes;
    bool is_root, is_partition;
};

/* ---- handles ---- */

static int copy_path(struct arena *arena, struct quoin_path path, struct quoin_path *ret_path)
{
    struct quoin_slice *names = arena_alloc(arena, ((size_t)path.count + 1) * sizeof(*names));
    struct bytes copy;
    int error = names == NULL ? QUOIN_ERROR_OUT_OF_MEMORY : 0;

    for (int i = 0; error == 0 && i < path.count; i++) {
        error = arena_copy(arena, bytes_of(path.names[i].data, (size_t)path.names[i].length), &copy);
        if (error == 0)
            names[i] = (struct quoin_slice){copy.ptr, path.names[i].length};
    }
    if (error == 0)
        *ret_path = (struct quoin_path){names, path.count};
    return error;
}

/* The handle of a directory with that path in `layer`. */
static int make_handle(const struct directory_layer *layer, struct quoin_path path, struct bytes prefix, struct bytes name,
                       struct quoin_directory **ret_directory)
{
    struct quoin_directory *directory = mem_zalloc(sizeof(*directory));
    struct quoin_path whole;
    int error;

    if (directory == NULL)
        return QUOIN_ERROR_OUT_OF_MEMORY;
    directory->layer_names = layer->path.count;
    directory->manual_prefixes = layer->manual_prefixes;
    directory->is_partition = bytes_equal(name, BYTES_LITERAL("partition"));
    error = arena_copy(&directory->arena, layer->nodes, &directory->nodes);
    if (error == 0)
        error = arena_copy(&directory->arena, layer->contents, &directory->contents);
    if (error == 0)
        error = arena_copy(&directory->arena, prefix, &directory->prefix);
    if (error == 0)
        error = arena_copy(&directory->arena, name, &directory->layer);
    if (error == 0)
        error = directory_join(layer->arena, layer->path, path, &whole);
    if (error == 0)
        error = copy_path(&directory->arena, whole, &directory->path);
    if (error == 0)
        *ret_directory = directory;
    else
        quoin_directory_destroy(directory);
    return error;
}

static bool readable(const void *data, int length)
{
    return length >= 0 && (data != NULL || length == 0);
}

quoin_error quoin_directory_root(const struct quoin_slice *node_prefix, const struct quoin_slice *content_prefix,
                                 bool allow_manual_prefixes, struct quoin_directory **ret_directory)
{
    struct arena scratch = {0};
    struct directory_layer layer = {.arena = &scratch, .nodes = BYTES_LITERAL("\xfe"), .manual_prefixes = allow_manual_prefixes};
    struct quoin_directory *directory;
    int error;

    if ((node_prefix != NULL && !readable(node_prefix->data, node_prefix->length)) ||
        (content_prefix != NULL && !readable(content_prefix->data, content_prefix->length)))
        return QUOIN_ERROR_CLIENT_INVALID_OPERATION;
    if (node_prefix != NULL)
        layer.nodes = bytes_of(node_prefix->data, (size_t)node_prefix->length);
    if (content_prefix != NULL)
        layer.contents = bytes_of(content_prefix->data, (size_t)content_prefix->length);
    error = make_handle(&layer, QUOIN_PATH_EMPTY, bytes_none(), bytes_none(), &directory);
    if (error == 0) {
        directory->is_root = true;
        *ret_directory = directory;
    }
    arena_done(&scratch);
    return error;
}

void quoin_directory_destroy(struct quoin_directory *directory)
{
    if (directory == NULL)
        return;
    arena_done(&directory->arena);
    mem_free(directory);
}

quoin_error quoin_directory_subspace(const struct quoin_directory *directory, struct quoin_subspace *ret_subspace)
{
    if (directory->is_root)
        return QUOIN_ERROR_CANNOT_OPEN_ROOT_DIRECTORY;
    if (directory->is_partition)
        return QUOIN_ERROR_CANNOT_USE_PARTITION_AS_SUBSPACE;
    return quoin_subspace_init(ret_subspace, directory->prefix.ptr, (int)directory->prefix.len);
}

struct quoin_path quoin_directory_path(const struct quoin_directory *directory)
{
    return directory->path;
}

struct quoin_slice quoin_directory_layer(const struct quoin_directory *directory)
{
    return (struct quoin_slice){directory->layer.ptr, (int)directory->layer.len};
}

bool quoin_directory_is_partition(const struct quoin_directory *directory)
{
    return directory->is_partition;
}

/* ---- an operation's place ---- */

/* A directory layer and a path in it. */
struct place {
    struct arena arena;
    struct directory_layer layer;
    struct quoin_path path;
};

/* Where `path`, relative to the handle, leads. `itself`: an empty path means the handle's own directory, so that a partition's
 * is found in the layer around it. Paths are checked here. */
static int find_place(struct place *place, struct quoin_transaction *transaction, const struct quoin_directory *from,
                      struct quoin_path path, bool itself)
{
    struct quoin_path own = {from->path.names + from->layer_names, from->path.count - from->layer_names};

    *place = (struct place){.layer = {.transaction = transaction, .nodes = from->nodes, .contents = from->contents,
                                      .path = {from->path.names, from->layer_names}, .manual_prefixes = from->manual_prefixes}};
    place->layer.arena = &place->arena;
    if (path.count < 0 || (path.names == NULL && path.count > 0))
        return QUOIN_ERROR_CLIENT_INVALID_OPERATION;
    for (int i = 0; i < path.count; i++) {
        if (!readable(path.names[i].data, path.names[i].length))
            return QUOIN_ERROR_CLIENT_INVALID_OPERATION;
    }
    if (from->is_partition && !(itself && path.count == 0)) {
        struct directory_node node = {.prefix = from->prefix, .path = own};
        struct directory_layer around = place->layer;

        place->path = path;
        return directory_inside(&around, &node, &place->layer);
    }
    return directory_join(&place->arena, own, path, &place->path);
}

/* ---- create and open ---- */

struct open_options {
    struct bytes layer;
    const struct quoin_slice *prefix;
    bool may_create, may_open;
};

static int create_or_open(struct directory_layer *layer, struct quoin_path path, const struct open_options *options,
                          struct quoin_directory **ret_directory);

/* The content prefix of the parent directory, which is made if there is none. */
static int parent_of(struct directory_layer *layer, struct quoin_path path, struct bytes *ret_prefix)
{
    struct open_options options = {.may_create = true, .may_open = true};
    struct quoin_directory *parent;
    int error;

    if (path.count <= 1) {
        *ret_prefix = layer->nodes;
        return 0;
    }
    error = create_or_open(layer, (struct quoin_path){path.names, path.count - 1}, &options, &parent);
    if (error != 0)
        return error;
    error = arena_copy(layer->arena, parent->prefix, ret_prefix);
    quoin_directory_destroy(parent);
    return error;
}

static int create_directory(struct directory_layer *layer, struct quoin_path path, const struct open_options *options,
                  struct quoin_directory **ret_directory)
{
    struct bytes prefix, parent;
    int error = directory_check_version(layer, true);

    if (error == 0)
        error = directory_new_prefix(layer, options->prefix, &prefix);
    if (error == 0)
        error = parent_of(layer, path, &parent);
    if (error == 0)
        error = directory_set_entry(layer, parent, path.names[path.count - 1], prefix);
    if (error == 0)
        error = directory_set_layer(layer, prefix, options->layer);
    return error != 0 ? error : make_handle(layer, path, prefix, options->layer, ret_directory);
}

static int open_found(struct directory_layer *layer, const struct directory_node *node, const struct open_options *options,
                      struct quoin_directory **ret_directory)
{
    struct directory_layer inside;
    int error;

    if (node->is_beyond) {
        error = directory_inside(layer, node, &inside);
        return error != 0 ? error : create_or_open(&inside, node->rest, options, ret_directory);
    }
    if (!options->may_open)
        return QUOIN_ERROR_DIRECTORY_ALREADY_EXISTS;
    if (options->layer.len > 0 && !bytes_equal(options->layer, node->layer))
        return QUOIN_ERROR_MISMATCHED_LAYER;
    return make_handle(layer, node->path, node->prefix, node->layer, ret_directory);
}

static int create_or_open(struct directory_layer *layer, struct quoin_path path, const struct open_options *options,
                          struct quoin_directory **ret_directory)
{
    struct directory_node node;
    int error;

    if (options->prefix != NULL && !layer->manual_prefixes)
        return layer->path.count == 0 ? QUOIN_ERROR_MANUAL_PREFIXES_NOT_ENABLED : QUOIN_ERROR_PREFIX_IN_PARTITION;
    if (path.count == 0)
        return QUOIN_ERROR_CANNOT_OPEN_ROOT_DIRECTORY;
    error = directory_check_version(layer, false);
    if (error == 0)
        error = directory_find(layer, path, &node);
    if (error == 0 && node.exists)
        return open_found(layer, &node, options, ret_directory);
    if (error == 0 && !options->may_create)
        error = QUOIN_ERROR_DIRECTORY_DOES_NOT_EXIST;
    return error != 0 ? error : create_directory(layer, path, options, ret_directory);
}

static int open_at(struct quoin_transaction *transaction, const struct quoin_directory *parent, struct quoin_path path, const void *layer,
                   int layer_length, struct open_options options, struct quoin_directory **ret_directory)
{
    struct place place;
    int error;

    if (!readable(layer, layer_length) || (options.prefix != NULL && !readable(options.prefix->data, options.prefix->length)))
        return QUOIN_ERROR_CLIENT_INVALID_OPERATION;
    options.layer = bytes_of(layer, (size_t)layer_length);
    error = find_place(&place, transaction, parent, path, false);
    if (error == 0)
        error = create_or_open(&place.layer, place.path, &options, ret_directory);
    arena_done(&place.arena);
    return error;
}

quoin_error quoin_directory_create_or_open(struct quoin_transaction *transaction, const struct quoin_directory *parent,
                                           struct quoin_path path, const void *layer, int layer_length,
                                           struct quoin_directory **ret_directory)
{
    return open_at(transaction, parent, path, layer, layer_length, (struct open_options){.may_create = true, .may_open = true},
                   ret_directory);
}

quoin_error quoin_directory_open(struct quoin_transaction *transaction, const struct quoin_directory *parent, struct quoin_path path,
                                 const void *layer, int layer_length, struct quoin_directory **ret_directory)
{
    return open_at(transaction, parent, path, layer, layer_length, (struct open_options){.may_open = true}, ret_directory);
}

quoin_error quoin_directory_create(struct quoin_transaction *transaction, const struct quoin_directory *parent, struct quoin_path path,
                                   const void *layer, int layer_length, const struct quoin_slice *prefix,
                                   struct quoin_directory **ret_directory)
{
    return open_at(transaction, parent, path, layer, layer_length, (struct open_options){.may_create = true, .prefix = prefix},
                   ret_directory);
}

/* ---- move ---- */

static bool names_equal(struct quoin_slice a, struct quoin_slice b)
{
    return bytes_equal(bytes_of(a.data, (size_t)a.length), bytes_of(b.data, (size_t)b.length));
}

static bool path_begins(struct quoin_path path, struct quoin_path with)
{
    bool same = path.count >= with.count;

    for (int i = 0; same && i < with.count; i++)
        same = names_equal(path.names[i], with.names[i]);
    return same;
}

static struct quoin_path without_last(struct quoin_path path)
{
    return (struct quoin_path){path.names, path.count - 1};
}

static int move_inside(struct directory_layer *layer, struct quoin_path from, struct quoin_path to, const struct directory_node *old,
                       struct quoin_directory **ret_directory)
{
    struct directory_node parent, old_parent;
    int error = directory_find(layer, without_last(to), &parent);

    if (error == 0 && !parent.exists)
        error = QUOIN_ERROR_PARENT_DIRECTORY_DOES_NOT_EXIST;
    if (error == 0)
        error = directory_set_entry(layer, parent.prefix, to.names[to.count - 1], old->prefix);
    if (error == 0)
        error = directory_find(layer, without_last(from), &old_parent);
    if (error == 0)
        error = directory_clear_entry(layer, old_parent.prefix, from.names[from.count - 1]);
    return error != 0 ? error : make_handle(layer, to, old->prefix, old->layer, ret_directory);
}

static int move(struct directory_layer *layer, struct quoin_path from, struct quoin_path to, struct quoin_directory **ret_directory)
{
    struct directory_node old, new;
    struct directory_layer inside;
    int error = directory_check_version(layer, true);

    if (error == 0 && path_begins(to, from))
        error = QUOIN_ERROR_INVALID_DESTINATION_DIRECTORY;
    if (error == 0)
        error = directory_find(layer, from, &old);
    if (error == 0)
        error = directory_find(layer, to, &new);
    if (error == 0 && !old.exists)
        error = QUOIN_ERROR_DIRECTORY_DOES_NOT_EXIST;
    if (error != 0)
        return error;
    if (old.is_beyond || (new.exists && new.is_beyond)) {
        if (!old.is_beyond || !new.is_beyond || old.path.count != new.path.count || !path_begins(new.path, old.path))
            return QUOIN_ERROR_CANNOT_MOVE_DIRECTORY_BETWEEN_PARTITIONS;
        error = directory_inside(layer, &new, &inside);
        return error != 0 ? error : move(&inside, old.rest, new.rest, ret_directory);
    }
    return new.exists ? QUOIN_ERROR_DIRECTORY_ALREADY_EXISTS : move_inside(layer, from, to, &old, ret_directory);
}

quoin_error quoin_directory_move(struct quoin_transaction *transaction, const struct quoin_directory *parent, struct quoin_path from,
                                 struct quoin_path to, struct quoin_directory **ret_directory)
{
    struct place old, new;
    int error = find_place(&old, transaction, parent, from, false);

    if (error != 0) {
        arena_done(&old.arena);
        return error;
    }
    error = find_place(&new, transaction, parent, to, false);
    if (error == 0)
        error = move(&old.layer, old.path, new.path, ret_directory);
    arena_done(&old.arena);
    arena_done(&new.arena);
    return error;
}

quoin_error quoin_directory_move_to(struct quoin_transaction *transaction, const struct quoin_directory *directory,
                                    struct quoin_path absolute, struct quoin_directory **ret_directory)
{
    struct quoin_path around = {directory->path.names, directory->layer_names}, to;
    struct place place;
    int error;

    if (directory->is_root)
        return QUOIN_ERROR_CANNOT_MODIFY_ROOT_DIRECTORY;
    error = find_place(&place, transaction, directory, QUOIN_PATH_EMPTY, true);
    if (error == 0 && (absolute.count < 0 || (absolute.names == NULL && absolute.count > 0)))
        error = QUOIN_ERROR_CLIENT_INVALID_OPERATION;
    for (int i = 0; error == 0 && i < absolute.count; i++) {
        if (!readable(absolute.names[i].data, absolute.names[i].length))
            error = QUOIN_ERROR_CLIENT_INVALID_OPERATION;
    }
    if (error == 0 && !path_begins(absolute, around))
        error = QUOIN_ERROR_CANNOT_MOVE_DIRECTORY_BETWEEN_PARTITIONS;
    if (error == 0) {
        to = (struct quoin_path){absolute.names + around.count, absolute.count - around.count};
        error = move(&place.layer, place.path, to, ret_directory);
    }
    arena_done(&place.arena);
    return error;
}

/* ---- remove, exists, list ---- */

static int remove_directory(struct directory_layer *layer, struct quoin_path path, bool *ret_existed)
{
    struct directory_node node, parent;
    struct directory_layer inside;
    int error = directory_check_version(layer, true);

    if (error == 0 && path.count == 0)
        error = QUOIN_ERROR_CANNOT_MODIFY_ROOT_DIRECTORY;
    if (error == 0)
        error = directory_find(layer, path, &node);
    if (error != 0)
        return error;
    if (node.is_beyond && node.exists) {
        error = directory_inside(layer, &node, &inside);
        return error != 0 ? error : remove_directory(&inside, node.rest, ret_existed);
    }
    if (node.exists)
        error = directory_clear_all(layer, node.prefix);
    if (error == 0 && node.exists)
        error = directory_find(layer, without_last(path), &parent);
    if (error == 0 && node.exists)
        error = directory_clear_entry(layer, parent.prefix, path.names[path.count - 1]);
    if (error == 0)
        *ret_existed = node.exists;
    return error;
}

quoin_error quoin_directory_remove(struct quoin_transaction *transaction, const struct quoin_directory *parent, struct quoin_path path,
                                   bool *ret_existed)
{
    struct place place;
    bool existed;
    int error = find_place(&place, transaction, parent, path, true);

    if (error == 0)
        error = remove_directory(&place.layer, place.path, &existed);
    if (error == 0 && ret_existed == NULL && !existed)
        error = QUOIN_ERROR_DIRECTORY_DOES_NOT_EXIST;
    if (error == 0 && ret_existed != NULL)
        *ret_existed = existed;
    arena_done(&place.arena);
    return error;
}

static int exists(struct directory_layer *layer, struct quoin_path path, bool *ret_exists)
{
    struct directory_node node;
    struct directory_layer inside;
    int error = directory_check_version(layer, false);

    if (error == 0)
        error = directory_find(layer, path, &node);
    if (error == 0 && node.exists && node.is_beyond) {
        error = directory_inside(layer, &node, &inside);
        return error != 0 ? error : exists(&inside, node.rest, ret_exists);
    }
    if (error == 0)
        *ret_exists = node.exists;
    return error;
}

quoin_error quoin_directory_exists(struct quoin_transaction *transaction, const struct quoin_directory *parent, struct quoin_path path,
                                   bool *ret_exists)
{
    struct place place;
    int error = find_place(&place, transaction, parent, path, true);

    if (error == 0)
        error = exists(&place.layer, place.path, ret_exists);
    arena_done(&place.arena);
    return error;
}

static int list(struct directory_layer *layer, struct quoin_path path, struct directory_entries *ret_entries)
{
    struct directory_node node;
    struct directory_layer inside;
    int error = directory_check_version(layer, false);

    if (error == 0)
        error = directory_find(layer, path, &node);
    if (error == 0 && !node.exists)
        error = QUOIN_ERROR_DIRECTORY_DOES_NOT_EXIST;
    if (error == 0 && node.is_partition) {
        error = directory_inside(layer, &node, &inside);
        return error != 0 ? error : list(&inside, node.rest, ret_entries);
    }
    return error != 0 ? error : directory_entries(layer, node.prefix, ret_entries);
}

/* One block: the struct, the slices and the bytes. */
static int make_names(const struct directory_entries *entries, struct quoin_names **ret_names)
{
    size_t bytes = 0;
    struct quoin_names *names;
    struct quoin_slice *slices;
    uint8_t *at;

    for (int i = 0; i < entries->count; i++)
        bytes += (size_t)entries->names[i].length;
    names = mem_alloc(sizeof(*names) + (size_t)entries->count * sizeof(*slices) + bytes);
    if (names == NULL)
        return QUOIN_ERROR_OUT_OF_MEMORY;
    slices = (struct quoin_slice *)(names + 1);
    at = (uint8_t *)(slices + entries->count);
    for (int i = 0; i < entries->count; i++) {
        size_t length = (size_t)entries->names[i].length;

        if (length > 0)
            memcpy(at, entries->names[i].data, length);
        slices[i] = (struct quoin_slice){at, (int)length};
        at += length;
    }
    *names = (struct quoin_names){.count = entries->count, .names = slices};
    *ret_names = names;
    return 0;
}

quoin_error quoin_directory_list(struct quoin_transaction *transaction, const struct quoin_directory *parent, struct quoin_path path,
                                 struct quoin_names **ret_names)
{
    struct directory_entries entries;
    struct place place;
    int error = find_place(&place, transaction, parent, path, false);

    if (error == 0)
        error = list(&place.layer, place.path, &entries);
    if (error == 0)
        error = make_names(&entries, ret_names);
    arena_done(&place.arena);
    return error;
}

void quoin_names_destroy(struct quoin_names *names)
{
    mem_free(names);
}
