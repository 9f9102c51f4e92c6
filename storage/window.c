/* Problem: answer reads at any of some million versions, take 100,000 sets a second, and give the memory back as versions
 * are forgotten.
 *
 * Approach: one node a set, in the arena of its half second. The newest node of each key is in a hash (for gets) and in an
 * ordered index (for ranges); the older ones hang behind it. Range clears are kept apart, a persistent map a generation
 * (clear_map.h): the keys that a clear hides are not touched, since each mutation has a number and the higher one wins.
 *
 * Forgetting takes the nodes up to a version out of hash and index (constant expected time each), then drops whole arenas.
 * A node's `older` may then dangle: it is followed only if its version, kept beside it, is above `forgotten`. */
#include "storage/window.h"

#include "net/error.h"
#include "net/mem.h"
#include "storage/window_private.h"
#include "txn/keys.h"

int window_create(version_t version, uint64_t seed, struct window **ret_window)
{
    struct window *window = mem_zalloc(sizeof(*window));

    if (window == NULL)
        return ERROR_OUT_OF_MEMORY;
    if (window_points_init(&window->points, seed) != 0) {
        mem_free(window);
        return ERROR_OUT_OF_MEMORY;
    }
    list_init(&window->generations);
    list_init(&window->clearing);
    window->forgotten = window->newest = version;
    window->random = (seed ^ 0x9e3779b97f4a7c15u) | 1;
    *ret_window = window;
    return 0;
}

static void destroy_generation(struct window_generation *generation)
{
    list_remove(&generation->link);
    list_remove(&generation->clearing_link);
    arena_done(&generation->arena);
    mem_free(generation->roots);
    mem_free(generation);
}

void window_destroy(struct window *window)
{
    if (window == NULL)
        return;
    list_each(node, after, &window->generations)
        destroy_generation(list_entry(node, struct window_generation, link));
    window_points_done(&window->points);
    mem_free(window);
}

static struct window_generation *newest_generation(const struct window *window)
{
    return list_empty(&window->generations) ? NULL : list_entry(window->generations.next, struct window_generation, link);
}

/* The generation that takes the mutations of `version`. NULL when out of memory. */
static struct window_generation *obtain_generation(struct window *window, version_t version)
{
    struct window_generation *generation = newest_generation(window);

    if (generation != NULL && version - generation->first < VERSIONS_PER_GENERATION)
        return generation;
    generation = mem_zalloc(sizeof(*generation));
    if (generation == NULL)
        return NULL;
    generation->first = generation->newest = version;
    list_init(&generation->points);
    list_push_front(&window->generations, &generation->link);
    return generation;
}

static void entered(struct window *window, struct window_generation *generation, version_t version)
{
    window->sequence++;
    window->newest = generation->newest = version;
    if (version < generation->first) /* it was made for a higher one, which then failed for lack of memory */
        generation->first = version;
}

/* ---- points ---- */

static struct window_point *create_point(struct window_generation *generation, struct bytes key, bool is_set,
                                         struct bytes value)
{
    struct window_point *point = arena_alloc(&generation->arena, sizeof(*point) + key.len + 1 + value.len);

    if (point == NULL)
        return NULL;
    *point = (struct window_point){
        .key_len = (uint32_t)key.len, .value_len = (uint32_t)value.len, .is_set = is_set, .older_version = VERSION_NONE};
    if (key.len > 0)
        memcpy(point->bytes, key.ptr, key.len);
    point->bytes[key.len] = 0;
    if (value.len > 0)
        memcpy(point->bytes + key.len + 1, value.ptr, value.len);
    return point;
}

/* Links a fresh point in front of the key's present state, if it has one. */
static void enter_point(struct window *window, struct window_point *fresh, struct window_point *present)
{
    if (present == NULL) {
        window_points_add(&window->points, fresh);
        return;
    }
    window_points_replace(&window->points, present, fresh);
    if (present->version == fresh->version) { /* nobody can read what it had within the version */
        fresh->older = present->older;
        fresh->older_version = present->older_version;
        list_remove(&present->by_version);
    } else {
        fresh->older = present;
        fresh->older_version = present->version;
    }
}

static int change_key(struct window *window, version_t version, struct bytes key, bool is_set, struct bytes value)
{
    struct window_generation *generation;
    struct window_point *fresh;
    uint32_t tag;

    assert(version >= window->newest && version > window->forgotten);
    assert(bytes_compare(key, KEY_SPECIAL_END) < 0);
    generation = obtain_generation(window, version);
    if (generation == NULL || window_points_reserve(&window->points) != 0)
        return ERROR_OUT_OF_MEMORY;
    fresh = create_point(generation, key, is_set, value);
    if (fresh == NULL)
        return ERROR_OUT_OF_MEMORY;
    tag = window_points_tag(&window->points, key);
    entered(window, generation, version);
    fresh->version = version;
    fresh->sequence = window->sequence;
    fresh->tag = tag;
    list_push_back(&generation->points, &fresh->by_version);
    enter_point(window, fresh, window_points_find(&window->points, key, tag));
    return 0;
}

int window_set(struct window *window, version_t version, struct bytes key, struct bytes value)
{
    return change_key(window, version, key, true, value);
}

/* ---- range clears ---- */

static int reserve_root(struct window_generation *generation)
{
    size_t capacity = generation->root_capacity == 0 ? 4 : 2 * generation->root_capacity;
    struct clear_root *grown;

    if (generation->root_count < generation->root_capacity)
        return 0;
    grown = mem_realloc(generation->roots, capacity * sizeof(*grown));
    if (grown == NULL)
        return ERROR_OUT_OF_MEMORY;
    generation->roots = grown;
    generation->root_capacity = capacity;
    return 0;
}

static int clear_range(struct window *window, version_t version, struct bytes begin, struct bytes end)
{
    struct window_generation *generation = obtain_generation(window, version);
    const struct clear_node *root;
    struct clear_root *last;
    int error;

    if (generation == NULL || reserve_root(generation) != 0)
        return ERROR_OUT_OF_MEMORY;
    last = generation->root_count == 0 ? NULL : &generation->roots[generation->root_count - 1];
    root = last == NULL ? NULL : last->root;
    error = clear_map_add(&root, &generation->arena, &window->random, begin, end, version, window->sequence + 1);
    if (error != 0)
        return error;
    entered(window, generation, version);
    if (last != NULL && last->version == version)
        last->root = root;
    else
        generation->roots[generation->root_count++] = (struct clear_root){version, root};
    if (!list_linked(&generation->clearing_link)) /* only the newest generation gets its first clear */
        list_push_front(&window->clearing, &generation->clearing_link);
    return 0;
}

int window_clear_range(struct window *window, version_t version, struct bytes begin, struct bytes end)
{
    int order = bytes_compare(begin, end);

    assert(version >= window->newest && version > window->forgotten);
    assert(order <= 0 && bytes_compare(end, KEY_SPECIAL_END) <= 0);
    if (order == 0) {
        window_advance(window, version);
        return 0;
    }
    if (key_is_after(begin, end))
        return change_key(window, version, begin, false, bytes_none());
    return clear_range(window, version, begin, end);
}

void window_advance(struct window *window, version_t version)
{
    assert(version >= window->newest);
    window->newest = version;
}

/* ---- reads ---- */

const struct clear_node *window_generation_clears(const struct window_generation *generation, version_t version)
{
    size_t low = 0, high = generation->root_count; /* roots below low are at or below the version */

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (generation->roots[middle].version <= version)
            low = middle + 1;
        else
            high = middle;
    }
    return low == 0 ? NULL : generation->roots[low - 1].root;
}

const struct window_point *window_point_at(const struct window *window, const struct window_point *point,
                                           version_t version)
{
    while (point != NULL && point->version > version)
        point = point->older_version > window->forgotten ? point->older : NULL;
    return point;
}

uint64_t window_cover_at(const struct window *window, struct bytes key, version_t version)
{
    list_each(node, after, &window->clearing) {
        const struct window_generation *generation = list_entry(node, struct window_generation, clearing_link);
        const struct clear_node *clears = window_generation_clears(generation, version);
        uint64_t cover = window_cover_of(window, clear_map_floor(clears, key));

        if (cover != 0)
            return cover; /* every older generation's numbers are lower */
    }
    return 0;
}

enum window_answer window_get(const struct window *window, struct bytes key, version_t version,
                              struct bytes *ret_value)
{
    const struct window_point *point;
    uint64_t cover;

    assert(version >= window->forgotten);
    point = window_points_find(&window->points, key, window_points_tag(&window->points, key));
    point = window_point_at(window, point, version);
    cover = window_cover_at(window, key, version);
    if (point == NULL || point->sequence < cover)
        return cover == 0 ? WINDOW_UNKNOWN : WINDOW_CLEARED;
    if (!point->is_set)
        return WINDOW_CLEARED;
    *ret_value = window_point_value(point);
    return WINDOW_FOUND;
}

/* ---- the ends of the window ---- */

static void forget_points(struct window *window, struct window_generation *generation, version_t version)
{
    list_each(node, after, &generation->points) {
        struct window_point *point = list_entry(node, struct window_point, by_version);

        if (point->version > version)
            return;
        if (point->is_newest)
            window_points_remove(&window->points, point);
        list_remove(node);
    }
}

void window_forget(struct window *window, version_t version)
{
    if (version <= window->forgotten)
        return;
    while (!list_empty(&window->generations)) {
        struct window_generation *last = list_entry(window->generations.prev, struct window_generation, link);

        if (last->first > version)
            break;
        forget_points(window, last, version);
        if (last->newest > version)
            break;
        destroy_generation(last);
    }
    window->forgotten = version;
    window->newest = version > window->newest ? version : window->newest;
    window_points_shrink(&window->points);
}

/* Newest first, so that each point met is its key's newest. */
static void discard_points(struct window *window, struct window_generation *generation, version_t version)
{
    while (!list_empty(&generation->points)) {
        struct window_point *point = list_entry(generation->points.prev, struct window_point, by_version);

        if (point->version <= version)
            return;
        assert(point->is_newest);
        if (point->older_version > window->forgotten)
            window_points_replace(&window->points, point, point->older);
        else
            window_points_remove(&window->points, point);
        list_remove(&point->by_version);
    }
}

static void discard_clears(struct window_generation *generation, version_t version)
{
    while (generation->root_count > 0 && generation->roots[generation->root_count - 1].version > version)
        generation->root_count--;
    if (generation->root_count == 0)
        list_remove(&generation->clearing_link);
}

void window_discard_above(struct window *window, version_t version)
{
    assert(version >= window->forgotten);
    if (version >= window->newest)
        return;
    while (!list_empty(&window->generations)) {
        struct window_generation *generation = newest_generation(window);

        if (generation->newest <= version)
            break;
        discard_points(window, generation, version);
        discard_clears(generation, version);
        generation->newest = version;
        if (generation->first > version)
            destroy_generation(generation);
    }
    window->newest = version;
}

version_t window_forgotten(const struct window *window)
{
    return window->forgotten;
}

version_t window_newest(const struct window *window)
{
    return window->newest;
}

size_t window_bytes(const struct window *window)
{
    size_t bytes = sizeof(*window) + (sizeof(struct window_slot) << window->points.bits);

    list_each(node, after, &window->generations) {
        const struct window_generation *generation = list_entry(node, struct window_generation, link);

        bytes += sizeof(*generation) + generation->arena.reserved_bytes +
                 generation->root_capacity * sizeof(*generation->roots);
    }
    return bytes;
}
