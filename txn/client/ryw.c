/* A skip list of boundaries. An entry at K says what K holds (kind) and what the keys after K, up to the next entry, hold
 * (after: unknown, cleared or unreadable). A clear of a range is then two boundaries, whatever it covers; a point write is one.
 *
 * Why not a list of writes that is searched backwards: a read must cost the same however much was written. Levels come from
 * a generator with a fixed seed: the same writes make the same list. */
#include "txn/client/ryw.h"

#include <assert.h>

#include "net/error.h"
#include "txn/keys.h"

enum { AFTER_UNKNOWN, AFTER_CLEARED, AFTER_UNREADABLE };

struct ryw_entry {
    struct bytes key;
    struct bytes value;
    const struct ryw_op *ops;
    uint8_t kind;  /* enum ryw_kind */
    uint8_t after; /* of the keys between this one and the next */
    struct ryw_entry *next[];
};

void ryw_init(struct ryw *ryw)
{
    *ryw = (struct ryw){.random = 0x9e3779b9};
}

void ryw_done(struct ryw *ryw)
{
    arena_done(&ryw->arena);
    ryw_init(ryw);
}

void ryw_reset(struct ryw *ryw)
{
    struct arena kept;

    arena_reset(&ryw->arena);
    kept = ryw->arena;
    ryw_init(ryw);
    ryw->arena = kept;
}

static unsigned draw_levels(struct ryw *ryw)
{
    unsigned levels = 1;

    ryw->random ^= ryw->random << 13;
    ryw->random ^= ryw->random >> 17;
    ryw->random ^= ryw->random << 5;
    for (uint32_t bits = ryw->random; (bits & 3) == 0 && levels < RYW_LEVELS; bits >>= 2)
        levels++;
    return levels;
}

static struct ryw_entry *make_entry(struct ryw *ryw, struct bytes key, unsigned levels)
{
    struct ryw_entry *entry = arena_zalloc(&ryw->arena, sizeof(*entry) + levels * sizeof(entry->next[0]));

    if (entry == NULL || arena_copy(&ryw->arena, key, &entry->key) != 0)
        return NULL;
    return entry;
}

/* The last entries below `key` on every level. */
static void find_below(struct ryw_entry *head, struct bytes key, struct ryw_entry *ret_below[RYW_LEVELS])
{
    struct ryw_entry *at = head;

    for (int level = RYW_LEVELS - 1; level >= 0; level--) {
        while (at->next[level] != NULL && bytes_compare(at->next[level]->key, key) < 0)
            at = at->next[level];
        ret_below[level] = at;
    }
}

/* The last entry at or below `key`. There must be a head. */
static const struct ryw_entry *find_at_or_below(const struct ryw_entry *head, struct bytes key)
{
    const struct ryw_entry *at = head;

    for (int level = RYW_LEVELS - 1; level >= 0; level--)
        while (at->next[level] != NULL && bytes_compare(at->next[level]->key, key) <= 0)
            at = at->next[level];
    return at;
}

static enum ryw_kind kind_after(const struct ryw_entry *entry)
{
    return entry->after == AFTER_CLEARED ? RYW_CLEARED : entry->after == AFTER_UNREADABLE ? RYW_UNREADABLE : RYW_UNKNOWN;
}

/* The entry of `key`, made if need be with what the map says of the key now. NULL: out of memory. */
static struct ryw_entry *obtain(struct ryw *ryw, struct bytes key)
{
    struct ryw_entry *below[RYW_LEVELS], *entry;
    unsigned levels;

    if (ryw->head == NULL)
        ryw->head = make_entry(ryw, bytes_none(), RYW_LEVELS);
    if (ryw->head == NULL)
        return NULL;
    if (key.len == 0)
        return ryw->head;
    find_below(ryw->head, key, below);
    entry = below[0]->next[0];
    assert(bytes_compare(below[0]->key, key) < 0);
    assert(entry == NULL || bytes_compare(entry->key, key) >= 0);
    if (entry != NULL && bytes_equal(entry->key, key))
        return entry;
    levels = draw_levels(ryw);
    assert(levels >= 1 && levels <= RYW_LEVELS);
    entry = make_entry(ryw, key, levels);
    if (entry == NULL)
        return NULL;
    entry->kind = (uint8_t)kind_after(below[0]);
    entry->after = below[0]->after;
    for (unsigned level = 0; level < levels; level++) {
        entry->next[level] = below[level]->next[level];
        below[level]->next[level] = entry;
    }
    ryw->count++;
    return entry;
}

static void make_known(struct ryw_entry *entry, enum ryw_kind kind, struct bytes value)
{
    entry->kind = (uint8_t)kind;
    entry->value = value;
    entry->ops = NULL;
}

int ryw_set(struct ryw *ryw, struct bytes key, struct bytes value)
{
    struct ryw_entry *entry;
    struct bytes copy;

    if (arena_copy(&ryw->arena, value, &copy) != 0)
        return ERROR_OUT_OF_MEMORY;
    entry = obtain(ryw, key);
    if (entry == NULL)
        return ERROR_OUT_OF_MEMORY;
    if (entry->kind != RYW_UNREADABLE) /* the stamp may still come to lie here */
        make_known(entry, RYW_SET, copy);
    return 0;
}

int ryw_clear(struct ryw *ryw, struct bytes key)
{
    struct ryw_entry *entry = obtain(ryw, key);

    if (entry == NULL)
        return ERROR_OUT_OF_MEMORY;
    make_known(entry, RYW_CLEARED, bytes_none());
    return 0;
}

/* Drops the entries above `first` and below `last` (both are in the list; NULL: to the end). */
static void drop_between(struct ryw *ryw, struct ryw_entry *first, const struct ryw_entry *last)
{
    struct ryw_entry *below[RYW_LEVELS];

    find_below(ryw->head, first->key, below);
    for (struct ryw_entry *at = first->next[0]; at != last; at = at->next[0])
        ryw->count--;
    for (int level = RYW_LEVELS - 1; level >= 0; level--) {
        struct ryw_entry *from = below[level]->next[level] == first ? first : below[level], *at = from->next[level];

        if (first == ryw->head)
            at = (from = first)->next[level];
        while (at != NULL && at != last && (last == NULL || bytes_compare(at->key, last->key) < 0))
            at = at->next[level];
        from->next[level] = at;
    }
}

static int mark_range(struct ryw *ryw, struct bytes begin, struct bytes end, enum ryw_kind kind, uint8_t after)
{
    struct ryw_entry *last, *first;

    if (bytes_compare(begin, end) >= 0)
        return 0;
    last = obtain(ryw, end);
    first = last == NULL ? NULL : obtain(ryw, begin);
    if (first == NULL)
        return ERROR_OUT_OF_MEMORY;
    drop_between(ryw, first, last);
    make_known(first, kind, bytes_none());
    first->after = after;
    return 0;
}

int ryw_clear_range(struct ryw *ryw, struct bytes begin, struct bytes end)
{
    return mark_range(ryw, begin, end, RYW_CLEARED, AFTER_CLEARED);
}

int ryw_unreadable(struct ryw *ryw, struct bytes key)
{
    struct ryw_entry *entry = obtain(ryw, key);

    if (entry == NULL)
        return ERROR_OUT_OF_MEMORY;
    make_known(entry, RYW_UNREADABLE, bytes_none());
    return 0;
}

int ryw_unreadable_range(struct ryw *ryw, struct bytes begin, struct bytes end)
{
    return mark_range(ryw, begin, end, RYW_UNREADABLE, AFTER_UNREADABLE);
}

static int push_op(struct ryw *ryw, struct ryw_entry *entry, enum mutation_type type, struct bytes param)
{
    struct ryw_op *op = arena_alloc(&ryw->arena, sizeof(*op));

    if (op == NULL)
        return ERROR_OUT_OF_MEMORY;
    *op = (struct ryw_op){entry->ops, type, param};
    entry->kind = RYW_OPS;
    entry->ops = op;
    return 0;
}

int ryw_atomic(struct ryw *ryw, enum mutation_type type, struct bytes key, struct bytes param)
{
    struct ryw_entry *entry = obtain(ryw, key);
    struct bytes copy, value;
    bool exists;
    int error;

    assert(mutation_type_is_atomic(type));
    if (entry == NULL || arena_copy(&ryw->arena, param, &copy) != 0)
        return ERROR_OUT_OF_MEMORY;
    if (entry->kind == RYW_UNREADABLE)
        return 0;
    if (entry->kind == RYW_UNKNOWN || entry->kind == RYW_OPS)
        return push_op(ryw, entry, type, copy);
    error = mutation_apply_atomic(&ryw->arena, type, entry->kind == RYW_SET, entry->value, copy, &exists, &value);
    if (error == 0)
        make_known(entry, exists ? RYW_SET : RYW_CLEARED, exists ? value : bytes_none());
    return error;
}

/* ---- reading ---- */

static void value_of(const struct ryw_entry *entry, struct ryw_value *ret)
{
    *ret = (struct ryw_value){(enum ryw_kind)entry->kind, entry->value, entry->ops};
}

void ryw_get(const struct ryw *ryw, struct bytes key, struct ryw_value *ret_value)
{
    const struct ryw_entry *entry;

    *ret_value = (struct ryw_value){RYW_UNKNOWN, {NULL, 0}, NULL};
    if (ryw->head == NULL)
        return;
    entry = find_at_or_below(ryw->head, key);
    if (bytes_equal(entry->key, key))
        value_of(entry, ret_value);
    else
        ret_value->kind = kind_after(entry);
}

int ryw_apply(struct arena *arena, const struct ryw_op *ops, bool exists, struct bytes existing, bool *ret_exists,
              struct bytes *ret_value)
{
    const struct ryw_op *chain[64];
    size_t depth = 0;
    int error = 0;

    /* The oldest comes first; a long chain is walked in pieces, from its far end. */
    while (ops != NULL && depth < sizeof(chain) / sizeof(chain[0])) {
        chain[depth++] = ops;
        ops = ops->older;
    }
    if (ops != NULL)
        error = ryw_apply(arena, ops, exists, existing, &exists, &existing);
    while (depth-- > 0 && error == 0)
        error = mutation_apply_atomic(arena, chain[depth]->type, exists, existing, chain[depth]->param, &exists, &existing);
    if (error != 0)
        return error;
    *ret_exists = exists;
    *ret_value = existing;
    return 0;
}

void ryw_cursor_init(struct ryw_cursor *cursor, const struct ryw *ryw, struct bytes begin, struct bytes end, bool reverse)
{
    *cursor = (struct ryw_cursor){.ryw = ryw, .begin = begin, .end = end, .reverse = reverse};
    if (ryw->head == NULL || bytes_compare(begin, end) >= 0) {
        cursor->begin = cursor->end = bytes_none();
        return;
    }
    if (!reverse) {
        cursor->entry = find_at_or_below(ryw->head, begin);
        cursor->at_gap = !bytes_equal(cursor->entry->key, begin);
    }
}

/* What the keys between an entry and the next hold, cut to the range. False if nothing is known of them. The entry's own key
 * is not part of it: what is known of that is a segment of its own, the one before (in key order). */
static bool gap(const struct ryw_cursor *cursor, const struct ryw_entry *entry, struct ryw_segment *ret)
{
    struct bytes end = entry->next[0] == NULL ? cursor->end : bytes_min(entry->next[0]->key, cursor->end);
    bool from_entry = bytes_compare(entry->key, cursor->begin) >= 0;

    if (entry->after == AFTER_UNKNOWN)
        return false;
    assert(entry->kind != RYW_UNKNOWN && entry->kind != RYW_OPS);
    *ret = (struct ryw_segment){.begin = from_entry ? entry->key : cursor->begin, .end = end, .begin_open = from_entry};
    ret->value.kind = kind_after(entry);
    return bytes_compare(ret->begin, end) < 0;
}

static bool point(const struct ryw_entry *entry, struct ryw_segment *ret)
{
    if (entry->kind == RYW_UNKNOWN)
        return false;
    *ret = (struct ryw_segment){.begin = entry->key, .is_point = true};
    value_of(entry, &ret->value);
    return true;
}

static bool next_forward(struct ryw_cursor *cursor, struct ryw_segment *ret)
{
    while (cursor->entry != NULL && bytes_compare(cursor->entry->key, cursor->end) < 0) {
        const struct ryw_entry *entry = cursor->entry;

        if (!cursor->at_gap) {
            cursor->at_gap = true;
            if (point(entry, ret))
                return true;
            continue;
        }
        cursor->at_gap = false;
        cursor->entry = entry->next[0];
        if (gap(cursor, entry, ret))
            return true;
    }
    return false;
}

static bool next_reverse(struct ryw_cursor *cursor, struct ryw_segment *ret)
{
    while (bytes_compare(cursor->begin, cursor->end) < 0) {
        struct ryw_entry *below[RYW_LEVELS];
        const struct ryw_entry *entry;

        find_below(cursor->ryw->head, cursor->end, below);
        entry = below[0];
        if (!cursor->at_gap) { /* first the gap below `end`, then its entry's key */
            cursor->at_gap = true;
            if (gap(cursor, entry, ret))
                return true;
            continue;
        }
        cursor->at_gap = false;
        if (bytes_compare(entry->key, cursor->begin) < 0 || cursor->end.len == 0) {
            cursor->end = cursor->begin;
            return false;
        }
        cursor->end = entry->key;
        if (point(entry, ret))
            return true;
    }
    return false;
}

bool ryw_cursor_next(struct ryw_cursor *cursor, struct ryw_segment *ret_segment)
{
    return cursor->reverse ? next_reverse(cursor, ret_segment) : next_forward(cursor, ret_segment);
}
