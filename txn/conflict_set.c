/* Problem: say of each transaction whether a newer write meets one of its reads, a million times a second and more, where
 * nearly all reads and writes are single keys.
 *
 * Approach: writes are kept in generations of half a second of versions, each with its own arena, its own hash of points and
 * its own ordered index, dropped whole. A read looks only at generations that hold something above its read version: nearly
 * always the newest one or two.
 *
 * - A point write is one slot of the hash (newest version of the key) and, the first time in a generation, a copy of the key.
 * - A range write goes into the ordered index (conflict_index.h) at once.
 * - A point read probes the hash; the ordered index only if it holds a newer range write. A batch of points alone thus never
 *   touches it.
 * - A range read asks the ordered index, in O(log n), and must see points too. They are not indexed when they are written:
 *   they wait in a list, newest first. A range read walks the waiting ones above its read version (a few milliseconds of
 *   them). Once such walks have cost as much as indexing would, those are moved into the index: so a rare range read costs
 *   a short walk, and a load of range reads costs O(log n) a point, each point once.
 *
 * The slot holds 32 bits of the hash, whose top ones are the position (so a table grows without looking at its keys), and
 * the version relative to the generation. Only a slot that matches and is newer than the read is followed to compare the
 * key: an unwritten or long written key costs one cache miss, which a look ahead over the batch hides. */
#include "txn/conflict_set.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "net/error.h"
#include "net/list.h"
#include "net/mem.h"
#include "net/planted_bug.h"
#include "txn/conflict_index.h"
#include "txn/conflict_range.h"

enum {
    SLOTS_MIN_BITS = 8,
    SLOTS_MAX_BITS = 31,
    LOOK_AHEAD = 8,             /* transactions */
    WALKS_BEFORE_INDEXING = 32, /* an insertion into the index costs about as much as this many steps of a walk */
    ACCESSES_KEPT_MAX = 1 << 18, /* a larger scratch is given back after its batch */
};

/* A key that was written alone in this generation. */
struct point {
    struct list waiting; /* not linked once it is in the index */
    uint32_t when;       /* relative to the generation's base */
    uint32_t len;
    uint8_t key[];
};

struct slot {
    uint32_t tag;
    uint32_t when;
    struct point *point; /* NULL: empty. Lives in the generation's arena */
};

struct generation {
    struct list link;   /* in the set, newest first */
    version_t base;     /* `when` w is version base + w, w >= 1 */
    version_t newest;
    struct arena arena; /* points, keys, index nodes */
    struct slot *slots; /* owned */
    unsigned bits;      /* there are 2^bits slots */
    size_t count;       /* of them in use */
    uint32_t newest_point, newest_range;
    struct list waiting; /* points, newest first */
    uint64_t walked;     /* steps over waiting points that indexing has not paid back */
    struct conflict_index index;
};

/* A read or write of the batch at hand. */
struct access {
    struct bytes begin, end;
    uint32_t tag; /* points only */
    bool is_point;
    bool is_empty;
};

struct bounds {
    size_t reads, writes, end; /* of one transaction, indexes into accesses */
};

struct conflict_set {
    struct list generations; /* newest first */
    version_t oldest, newest;
    uint64_t seed;
    bool failed;
    struct access *accesses; /* owned scratch */
    size_t accesses_capacity;
    struct bounds *bounds; /* owned scratch */
    size_t bounds_capacity;
};

int conflict_set_create(version_t oldest, uint64_t seed, struct conflict_set **ret_set)
{
    struct conflict_set *set = mem_zalloc(sizeof(*set));

    if (set == NULL)
        return ERROR_OUT_OF_MEMORY;
    list_init(&set->generations);
    set->oldest = set->newest = oldest;
    set->seed = seed;
    *ret_set = set;
    return 0;
}

static void destroy_generation(struct generation *generation)
{
    list_remove(&generation->link);
    arena_done(&generation->arena);
    mem_free(generation->slots);
    mem_free(generation);
}

void conflict_set_destroy(struct conflict_set *set)
{
    if (set == NULL)
        return;
    list_each(node, after, &set->generations)
        destroy_generation(list_entry(node, struct generation, link));
    mem_free(set->accesses);
    mem_free(set->bounds);
    mem_free(set);
}

/* ---- points ---- */

static size_t slot_of(const struct generation *generation, uint32_t tag)
{
    return tag >> (32 - generation->bits);
}

static size_t slot_after(const struct generation *generation, size_t at)
{
    return (at + 1) & (((size_t)1 << generation->bits) - 1);
}

static bool is_key(const struct point *point, struct bytes key)
{
    return point->len == key.len && memcmp(point->key, key.ptr, key.len) == 0;
}

/* Was the key written as a point after `when`? */
static bool point_is_newer(const struct generation *generation, const struct access *access, uint32_t when)
{
    size_t at = slot_of(generation, access->tag);

    for (;; at = slot_after(generation, at)) {
        const struct slot *slot = &generation->slots[at];

        if (slot->point == NULL)
            return false;
        if (slot->tag == access->tag && slot->when + PLANTED_BUG(SNAPSHOT_INCLUSIVE) > when &&
            is_key(slot->point, access->begin))
            return true;
    }
}

/* The key's slot, or the empty one that it belongs in. */
static struct slot *find_slot(struct generation *generation, const struct access *access)
{
    size_t at = slot_of(generation, access->tag);

    for (;; at = slot_after(generation, at)) {
        struct slot *slot = &generation->slots[at];

        if (slot->point == NULL || (slot->tag == access->tag && is_key(slot->point, access->begin)))
            return slot;
    }
}

static int grow_slots(struct generation *generation)
{
    struct slot *old = generation->slots;
    size_t old_count = (size_t)1 << generation->bits;
    struct slot *grown;

    if (generation->bits == SLOTS_MAX_BITS)
        return ERROR_OUT_OF_MEMORY;
    grown = mem_zalloc(2 * old_count * sizeof(*grown));
    if (grown == NULL)
        return ERROR_OUT_OF_MEMORY;
    generation->slots = grown;
    generation->bits++;
    for (size_t i = 0; i < old_count; i++) {
        size_t at = slot_of(generation, old[i].tag);

        if (old[i].point == NULL)
            continue;
        while (grown[at].point != NULL)
            at = slot_after(generation, at);
        grown[at] = old[i];
    }
    assert(generation->count < (size_t)1 << generation->bits);
    mem_free(old);
    return 0;
}

static int add_point(struct generation *generation, struct slot *slot, const struct access *access, uint32_t when)
{
    struct point *point = arena_alloc(&generation->arena, sizeof(*point) + access->begin.len);

    if (point == NULL)
        return ERROR_OUT_OF_MEMORY;
    assert(slot->point == NULL && when > 0);
    point->when = when;
    point->len = (uint32_t)access->begin.len;
    if (access->begin.len > 0)
        memcpy(point->key, access->begin.ptr, access->begin.len);
    list_push_front(&generation->waiting, &point->waiting);
    *slot = (struct slot){.tag = access->tag, .when = when, .point = point};
    generation->count++;
    return 0;
}

static int write_point(struct generation *generation, const struct access *access, uint32_t when)
{
    struct slot *slot;
    int error;

    if ((generation->count + 1) * 8 > ((size_t)5 << generation->bits)) {
        error = grow_slots(generation);
        if (error != 0)
            return error;
    }
    generation->newest_point = when;
    slot = find_slot(generation, access);
    if (slot->point == NULL)
        return add_point(generation, slot, access, when);
    if (slot->when == when)
        return 0;
    assert(slot->when < when && slot->point->when == slot->when); /* versions only rise */
    slot->when = slot->point->when = when;
    list_remove(&slot->point->waiting);
    list_push_front(&generation->waiting, &slot->point->waiting);
    return 0;
}

/* ---- generations ---- */

static struct generation *newest_generation(struct conflict_set *set)
{
    return list_empty(&set->generations) ? NULL : list_entry(set->generations.next, struct generation, link);
}

/* Begins with room for as many points as its predecessor had. */
static struct generation *create_generation(struct conflict_set *set, version_t version)
{
    const struct generation *previous = newest_generation(set);
    struct generation *generation = mem_zalloc(sizeof(*generation));

    if (generation == NULL)
        return NULL;
    generation->bits = SLOTS_MIN_BITS;
    while (previous != NULL && previous->count > ((size_t)1 << generation->bits) / 2)
        generation->bits++;
    generation->slots = mem_zalloc(sizeof(struct slot) << generation->bits);
    if (generation->slots == NULL) {
        mem_free(generation);
        return NULL;
    }
    generation->base = version - 1;
    generation->index.random = (set->seed ^ (uint64_t)version * 0x9e3779b97f4a7c15u) | 1;
    list_init(&generation->waiting);
    list_push_front(&set->generations, &generation->link);
    return generation;
}

/* The generation that takes the writes of `version`. NULL when out of memory. */
static struct generation *obtain_generation(struct conflict_set *set, version_t version)
{
    struct generation *generation = newest_generation(set);

    if (generation == NULL || version - generation->base > VERSIONS_PER_GENERATION)
        generation = create_generation(set, version);
    if (generation == NULL)
        return NULL;
    assert(version > generation->base && version >= generation->newest);
    generation->newest = version;
    return generation;
}

/* ---- reads ---- */

/* `when` of a read version in this generation: 0 if it is older than all of it. */
static uint32_t relative(const struct generation *generation, version_t version)
{
    return version <= generation->base ? 0 : (uint32_t)(version - generation->base);
}

static bool point_read_conflicts(const struct generation *generation, const struct access *access, uint32_t when)
{
    if (generation->newest_point > when && point_is_newer(generation, access, when))
        return true;
    return generation->newest_range > when && conflict_index_is_newer_at(&generation->index, access->begin, when);
}

/* Moves the waiting points above `when` into the index. Without memory they keep waiting, which is as right. */
static void index_waiting(struct generation *generation, uint32_t when)
{
    list_each(node, after, &generation->waiting) {
        struct point *point = list_entry(node, struct point, waiting);

        if (point->when <= when)
            return;
        if (conflict_index_add_point(&generation->index, &generation->arena, bytes_of(point->key, point->len),
                                     point->when) != 0)
            return;
        list_remove(node);
    }
}

static bool waiting_point_conflicts(struct generation *generation, const struct access *access, uint32_t when)
{
    uint64_t steps = 0;
    bool found = false;

    list_each(node, after, &generation->waiting) {
        const struct point *point = list_entry(node, struct point, waiting);
        struct bytes key = bytes_of(point->key, point->len);

        if (point->when <= when)
            break;
        steps++;
        found = bytes_compare(key, access->begin) >= PLANTED_BUG(RANGE_BEGIN_EXCLUSIVE) &&
                bytes_compare(key, access->end) < PLANTED_BUG(RANGE_END_INCLUSIVE);
        if (found)
            break;
    }
    generation->walked += steps;
    if (!found && steps > 0 && generation->walked >= WALKS_BEFORE_INDEXING * steps) {
        generation->walked -= WALKS_BEFORE_INDEXING * steps;
        index_waiting(generation, when);
    }
    return found;
}

static bool range_read_conflicts(struct generation *generation, const struct access *access, uint32_t when)
{
    if (conflict_index_is_newer(&generation->index, access->begin, access->end, when))
        return true;
    return generation->newest_point > when && waiting_point_conflicts(generation, access, when);
}

static bool read_conflicts(struct conflict_set *set, const struct access *access, version_t read_version)
{
    if (access->is_empty)
        return false;
    list_each(node, after, &set->generations) {
        struct generation *generation = list_entry(node, struct generation, link);
        uint32_t when = relative(generation, read_version);

        if (generation->newest <= read_version)
            return false;
        if (access->is_point ? point_read_conflicts(generation, access, when)
                             : range_read_conflicts(generation, access, when))
            return true;
    }
    return false;
}

/* ---- a batch ---- */

static int reserve_accesses(struct conflict_set *set, size_t needed)
{
    size_t capacity = set->accesses_capacity == 0 ? 256 : set->accesses_capacity;
    struct access *grown;

    if (needed <= set->accesses_capacity)
        return 0;
    while (capacity < needed)
        capacity *= 2;
    grown = mem_realloc(set->accesses, capacity * sizeof(*grown));
    if (grown == NULL)
        return ERROR_OUT_OF_MEMORY;
    set->accesses = grown;
    set->accesses_capacity = capacity;
    return 0;
}

static int reserve_bounds(struct conflict_set *set, size_t needed)
{
    struct bounds *grown;

    if (needed <= set->bounds_capacity)
        return 0;
    grown = mem_realloc(set->bounds, needed * sizeof(*grown));
    if (grown == NULL)
        return ERROR_OUT_OF_MEMORY;
    set->bounds = grown;
    set->bounds_capacity = needed;
    return 0;
}

static int parse_range(const struct conflict_set *set, const struct conflict_range *range, struct access *ret)
{
    int order;

    *ret = (struct access){.begin = range->begin, .end = range->end, .is_point = range->is_point};
    if (range->is_point) {
        ret->tag = (uint32_t)(XXH3_64bits_withSeed(range->begin.ptr, range->begin.len, set->seed) >> 32);
        return 0;
    }
    order = bytes_compare(range->begin, range->end);
    ret->is_empty = order == 0;
    return order > 0 ? ERROR_SERIALIZATION_FAILED : 0;
}

/* Appends a table's ranges to the accesses from *at on. */
static int parse_table(struct conflict_set *set, struct bytes table, size_t *at)
{
    struct conflict_range range;
    int error;

    while ((error = conflict_range_next(&table, &range)) == 0) {
        error = reserve_accesses(set, *at + 1);
        if (error == 0)
            error = parse_range(set, &range, &set->accesses[*at]);
        if (error != 0)
            return error;
        (*at)++;
    }
    return error == ERROR_END_OF_STREAM ? 0 : error;
}

static int parse_batch(struct conflict_set *set, const struct conflict_transaction *transactions, size_t count)
{
    size_t at = 0;
    int error = reserve_bounds(set, count);

    for (size_t i = 0; i < count && error == 0; i++) {
        set->bounds[i].reads = at;
        error = parse_table(set, transactions[i].read_ranges, &at);
        set->bounds[i].writes = at;
        if (error == 0)
            error = parse_table(set, transactions[i].write_ranges, &at);
        set->bounds[i].end = at;
    }
    return error;
}

static void look_ahead(const struct conflict_set *set, const struct generation *generation, size_t transaction,
                       size_t count)
{
    const struct bounds *bounds;

    if (generation == NULL || transaction >= count)
        return;
    bounds = &set->bounds[transaction];
    for (size_t i = bounds->reads; i < bounds->end; i++)
        __builtin_prefetch(&generation->slots[slot_of(generation, set->accesses[i].tag)]);
}

/* Later than look_ahead, when the slots have come: the points that writes will compare. */
static void look_ahead_points(const struct conflict_set *set, const struct generation *generation, size_t transaction,
                              size_t count)
{
    const struct bounds *bounds;

    if (generation == NULL || transaction >= count)
        return;
    bounds = &set->bounds[transaction];
    for (size_t i = bounds->writes; i < bounds->end; i++) {
        const struct slot *slot = &generation->slots[slot_of(generation, set->accesses[i].tag)];

        if (slot->point != NULL && slot->tag == set->accesses[i].tag)
            __builtin_prefetch(slot->point);
    }
}

/* The newest point in the access that was written after `when`: of a range read, among those that are not indexed yet. */
static bool find_point(const struct generation *generation, const struct access *access, uint32_t when, struct conflict_newest *ret)
{
    const struct point *best = NULL;

    list_each(node, after, &generation->waiting) { /* newest first */
        const struct point *point = list_entry(node, struct point, waiting);
        struct bytes key = bytes_of(point->key, point->len);

        if (point->when <= when)
            break;
        if (access->is_point ? is_key(point, access->begin)
                             : bytes_compare(key, access->begin) >= 0 && bytes_compare(key, access->end) < 0) {
            best = point;
            break;
        }
    }
    if (best == NULL)
        return false;
    *ret = (struct conflict_newest){.begin = bytes_of(best->key, best->len), .when = best->when, .is_point = true};
    return true;
}

/* A key and what follows it: a point read as a range of one key. */
static int end_of_access(const struct access *access, struct arena *arena, struct bytes *ret_end)
{
    uint8_t *after;

    *ret_end = access->end;
    if (!access->is_point)
        return 0;
    after = arena_alloc(arena, access->begin.len + 1);
    if (after == NULL)
        return ERROR_OUT_OF_MEMORY;
    if (access->begin.len > 0)
        memcpy(after, access->begin.ptr, access->begin.len);
    after[access->begin.len] = 0;
    *ret_end = bytes_of(after, access->begin.len + 1);
    return 0;
}

/* What a read that conflicts has met: the newest generation's newest write in it. */
static int find_write(struct conflict_set *set, const struct access *access, version_t read_version, struct arena *arena,
                      struct conflict_write *ret)
{
    struct bytes end;
    int error = end_of_access(access, arena, &end);

    *ret = (struct conflict_write){.version = VERSION_NONE};
    list_each(node, after, &set->generations) {
        struct generation *generation = list_entry(node, struct generation, link);
        uint32_t when = relative(generation, read_version);
        struct conflict_newest indexed, waiting;
        bool is_indexed, is_waiting;

        if (error != 0 || generation->newest <= read_version)
            break;
        is_indexed = conflict_index_find_newest(&generation->index, access->begin, end, when, &indexed);
        is_waiting = find_point(generation, access, is_indexed ? indexed.when : when, &waiting);
        if (!is_indexed && !is_waiting)
            continue;
        if (is_waiting)
            indexed = waiting;
        ret->is_point = indexed.is_point;
        ret->version = generation->base + indexed.when;
        error = arena_copy(arena, indexed.begin, &ret->begin);
        if (error == 0)
            error = arena_copy(arena, indexed.end, &ret->end);
        break;
    }
    return error;
}

static int report_conflicts(struct conflict_set *set, struct conflict_transaction *transaction,
                            const struct bounds *bounds, struct arena *arena)
{
    uint32_t *indexes = arena_alloc(arena, (bounds->writes - bounds->reads) * sizeof(*indexes));
    struct conflict_write *writes = arena_alloc(arena, (bounds->writes - bounds->reads) * sizeof(*writes));
    uint32_t count = 0;

    if (indexes == NULL || writes == NULL)
        return ERROR_OUT_OF_MEMORY;
    for (size_t i = bounds->reads; i < bounds->writes; i++) {
        if (!read_conflicts(set, &set->accesses[i], transaction->read_version))
            continue;
        if (find_write(set, &set->accesses[i], transaction->read_version, arena, &writes[count]) != 0)
            return ERROR_OUT_OF_MEMORY;
        indexes[count++] = (uint32_t)(i - bounds->reads);
    }
    transaction->conflicting_reads = indexes;
    transaction->conflicting_writes = writes;
    transaction->conflicting_count = count;
    return 0;
}

static enum conflict_verdict judge(struct conflict_set *set, const struct conflict_transaction *transaction,
                                   const struct bounds *bounds)
{
    assert(bounds->reads <= bounds->writes && bounds->writes <= bounds->end);
    if (bounds->reads == bounds->writes)
        return CONFLICT_COMMITTED;
    if (PLANTED_BUG(SKIP_CHECK_IN_BATCH) && transaction->read_version >= set->newest)
        return CONFLICT_COMMITTED;
    if (transaction->read_version < set->oldest && !PLANTED_BUG(OLD_READ_VERSIONS))
        return CONFLICT_TOO_OLD;
    for (size_t i = bounds->reads; i < bounds->writes; i++)
        if (read_conflicts(set, &set->accesses[i], transaction->read_version))
            return CONFLICT_CONFLICT;
    return CONFLICT_COMMITTED;
}

static int enter_writes(struct conflict_set *set, const struct bounds *bounds, version_t version)
{
    struct generation *generation;
    int error = 0;

    if (bounds->writes == bounds->end)
        return 0;
    generation = obtain_generation(set, version);
    if (generation == NULL)
        return ERROR_OUT_OF_MEMORY;
    for (size_t i = bounds->writes; i < bounds->end && error == 0; i++) {
        const struct access *access = &set->accesses[i];
        uint32_t when = relative(generation, version);

        if (access->is_empty)
            continue;
        if (access->is_point) {
            error = write_point(generation, access, when);
        } else {
            generation->newest_range = when;
            error = conflict_index_add_range(&generation->index, &generation->arena, access->begin, access->end, when);
        }
    }
    return error;
}

static int resolve_one(struct conflict_set *set, version_t version, struct conflict_transaction *transaction,
                       const struct bounds *bounds, struct arena *arena)
{
    transaction->conflicting_count = 0;
    transaction->conflicting_reads = NULL;
    transaction->verdict = judge(set, transaction, bounds);
    if (transaction->verdict == CONFLICT_COMMITTED)
        return enter_writes(set, bounds, version);
    if (transaction->verdict == CONFLICT_CONFLICT && transaction->report)
        return report_conflicts(set, transaction, bounds, arena);
    return 0;
}

static void shrink_scratch(struct conflict_set *set)
{
    if (set->accesses_capacity <= ACCESSES_KEPT_MAX)
        return;
    mem_free(set->accesses);
    set->accesses = NULL;
    set->accesses_capacity = 0;
}

int conflict_set_resolve(struct conflict_set *set, version_t version, struct conflict_transaction *transactions,
                         size_t count, struct arena *arena)
{
    int error;

    assert(version > set->newest);
    if (set->failed)
        return ERROR_OUT_OF_MEMORY;
    error = parse_batch(set, transactions, count);
    if (error != 0)
        return error; /* nothing was entered: the set is as good as before */
    for (size_t i = 0; i < count && error == 0; i++) {
        const struct generation *generation = newest_generation(set);

        look_ahead(set, generation, i + LOOK_AHEAD, count);
        look_ahead_points(set, generation, i + LOOK_AHEAD / 2, count);
        assert(!transactions[i].report || arena != NULL);
        error = resolve_one(set, version, &transactions[i], &set->bounds[i], arena);
    }
    set->failed = error != 0;
    set->newest = version;
    shrink_scratch(set);
    return error;
}

void conflict_set_set_oldest(struct conflict_set *set, version_t oldest)
{
    if (oldest <= set->oldest)
        return;
    set->oldest = oldest;
    assert(list_empty(&set->generations) || newest_generation(set)->newest <= set->newest);
    while (!list_empty(&set->generations)) {
        struct generation *last = list_entry(set->generations.prev, struct generation, link);

        if (last->newest > oldest)
            return;
        destroy_generation(last);
    }
}

version_t conflict_set_oldest(const struct conflict_set *set)
{
    return set->oldest;
}

version_t conflict_set_newest(const struct conflict_set *set)
{
    return set->newest;
}

size_t conflict_set_bytes(const struct conflict_set *set)
{
    size_t bytes = sizeof(*set) + set->accesses_capacity * sizeof(*set->accesses) +
                   set->bounds_capacity * sizeof(*set->bounds);

    list_each(node, after, &set->generations) {
        const struct generation *generation = list_entry(node, struct generation, link);

        bytes += sizeof(*generation) + generation->arena.reserved_bytes + (sizeof(struct slot) << generation->bits);
    }
    return bytes;
}
