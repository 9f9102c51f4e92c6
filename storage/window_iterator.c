/* Walking the window at one version.
 *
 * The key space is cut into stretches at the boundaries of all range clears; within a stretch one clear (or none) came last.
 * In an uncovered stretch every point speaks for itself. In a covered one, the points set after the clear are there and all
 * else is cleared, older points and cleared keys too. */
#include "net/error.h"
#include "net/planted_bug.h"
#include "storage/window_private.h"
#include "txn/keys.h"

void window_iterator_init(struct window_iterator *iterator, const struct window *window, version_t version,
                          struct bytes begin, struct bytes end, bool reverse)
{
    assert(version >= window->forgotten);
    *iterator = (struct window_iterator){
        .window = window, .version = version, .begin = begin, .end = end, .reverse = reverse};
    if (bytes_compare(begin, end) < 0)
        iterator->point = reverse ? window_points_before(&window->points, end) : window_points_from(&window->points, begin);
}

/* The stretch at the near end of what is left: how far it reaches, and what covers it. */
static void find_stretch(struct window_iterator *iterator)
{
    bool reverse = iterator->reverse;

    iterator->stretch = reverse ? iterator->begin : iterator->end;
    iterator->cover = 0;
    iterator->stretch_known = true;
    list_each(node, after, &iterator->window->clearing) {
        const struct window_generation *generation = list_entry(node, struct window_generation, clearing_link);
        const struct clear_node *clears = window_generation_clears(generation, iterator->version);
        const struct clear_node *at, *bound;
        uint64_t cover;

        at = reverse ? clear_map_below(clears, iterator->end) : clear_map_floor(clears, iterator->begin);
        bound = reverse ? at : clear_map_above(clears, iterator->begin);
        if (bound != NULL)
            iterator->stretch = reverse ? bytes_max(iterator->stretch, bound->key) : bytes_min(iterator->stretch, bound->key);
        cover = window_cover_of(iterator->window, at);
        iterator->cover = cover > iterator->cover ? cover : iterator->cover;
    }
}

static bool is_in_stretch(const struct window_iterator *iterator, const struct window_point *point)
{
    struct bytes key = window_point_key(point);
    int order = PLANTED_BUG(SIGNED_COMPARE) ? planted_signed_compare(key, iterator->stretch) : bytes_compare(key, iterator->stretch);

    return iterator->reverse ? order >= 0 : order < 0;
}

/* Moves to the next point of the stretch that has something to say at the version; *ret_state is what. */
static const struct window_point *find_point(struct window_iterator *iterator, const struct window_point **ret_state)
{
    while (iterator->point != NULL && is_in_stretch(iterator, iterator->point)) {
        const struct window_point *state = window_point_at(iterator->window, iterator->point, iterator->version);

        if (state != NULL && (iterator->cover == 0 || (state->is_set && state->sequence > iterator->cover))) {
            *ret_state = state;
            return iterator->point;
        }
        iterator->point = iterator->reverse ? window_points_previous(iterator->point) : window_points_next(iterator->point);
    }
    return NULL;
}

static void set_position(struct window_iterator *iterator, struct bytes key)
{
    if (iterator->reverse)
        iterator->end = key;
    else
        iterator->begin = key;
}

static void take_point(struct window_iterator *iterator, const struct window_point *state, struct window_entry *ret_entry)
{
    const struct window_point *point = iterator->point;

    *ret_entry = (struct window_entry){
        .kind = state->is_set ? WINDOW_SET_KEY : WINDOW_CLEARED_KEY,
        .key = window_point_key(state),
        .value = state->is_set ? window_point_value(state) : bytes_none(),
    };
    set_position(iterator, iterator->reverse ? window_point_key(state) : window_point_after(state));
    iterator->point = iterator->reverse ? window_points_previous(point) : window_points_next(point);
}

static void take_range(struct window_iterator *iterator, struct bytes bound, struct window_entry *ret_entry)
{
    *ret_entry = (struct window_entry){
        .kind = WINDOW_CLEARED_RANGE,
        .key = iterator->reverse ? bound : iterator->begin,
        .end = iterator->reverse ? iterator->end : bound,
    };
    set_position(iterator, bound);
}

/* One step within a covered stretch; there always is one. */
static void next_covered(struct window_iterator *iterator, struct window_entry *ret_entry)
{
    const struct window_point *state = NULL, *point = find_point(iterator, &state);
    struct bytes near;

    if (point == NULL) {
        take_range(iterator, iterator->stretch, ret_entry);
        return;
    }
    near = iterator->reverse ? window_point_after(state) : window_point_key(state);
    if (bytes_equal(near, iterator->reverse ? iterator->end : iterator->begin))
        take_point(iterator, state, ret_entry);
    else
        take_range(iterator, near, ret_entry);
}

static bool next_uncovered(struct window_iterator *iterator, struct window_entry *ret_entry)
{
    const struct window_point *state = NULL;

    if (find_point(iterator, &state) == NULL) {
        set_position(iterator, iterator->stretch);
        return false;
    }
    take_point(iterator, state, ret_entry);
    return true;
}

bool window_iterator_next(struct window_iterator *iterator, struct window_entry *ret_entry)
{
    while (bytes_compare(iterator->begin, iterator->end) < 0) {
        bool at_bound = bytes_equal(iterator->reverse ? iterator->end : iterator->begin, iterator->stretch);

        if (!iterator->stretch_known || at_bound)
            find_stretch(iterator);
        if (iterator->cover != 0) {
            next_covered(iterator, ret_entry);
            return true;
        }
        if (next_uncovered(iterator, ret_entry))
            return true;
    }
    return false;
}

/* ---- collect ---- */

/* Where the clears that cover `begin` end, taken together, whatever was set in them. */
static struct bytes joined_end(const struct window *window, version_t version, struct bytes begin)
{
    struct window_iterator iterator;

    window_iterator_init(&iterator, window, version, begin, KEY_SPECIAL_END, false);
    for (;;) {
        find_stretch(&iterator);
        if (iterator.cover == 0)
            return iterator.begin;
        iterator.begin = iterator.stretch;
    }
}

/* What the walk has left is all that a step needs to go on: the state at the version does not change. */
int window_collect_step(struct window_collection *collection, size_t entries_max,
                        int (*entry)(void *context, const struct window_entry *entry), void *context, bool *ret_more)
{
    struct window_iterator iterator;
    struct window_entry next;
    int result = 0;

    *ret_more = true;
    window_iterator_init(&iterator, collection->window, collection->version, collection->begin, KEY_SPECIAL_END, false);
    for (size_t count = 0; result == 0 && *ret_more && count < entries_max; count++) {
        *ret_more = window_iterator_next(&iterator, &next);
        if (!*ret_more)
            break;
        if (next.kind == WINDOW_CLEARED_RANGE) {
            if (bytes_compare(next.key, collection->cleared_until) < 0)
                continue;
            next.end = collection->cleared_until = joined_end(collection->window, collection->version, next.key);
        }
        result = entry(context, &next);
    }
    collection->begin = iterator.begin;
    return result;
}

int window_collect(const struct window *window, version_t version,
                   int (*entry)(void *context, const struct window_entry *entry), void *context)
{
    struct window_collection collection = {.window = window, .version = version};
    bool more;

    return window_collect_step(&collection, SIZE_MAX, entry, context, &more);
}
