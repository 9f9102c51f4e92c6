/* A sorted array. An assignment cuts the pieces that it meets and moves the structs behind them; keys are never copied for it but its own.
 * A server holds some hundreds of shards, but the first ones hold all while a cluster with thousands of shards is made. */
#include "roles/storage/ownership.h"

#include <assert.h>

#include "net/error.h"
#include "net/mem.h"
#include "net/planted_bug.h"

/* Pieces more than there are, of which the arena holds keys, before they are copied. */
enum { ADDED_MAX = 64 };

#define SELF struct held_shard
SCHEMA_DEFINE(held_shard, held_shard_fields)
#undef SELF
#define SELF struct held_shards
SCHEMA_DEFINE(held_shards, held_shards_fields)
#undef SELF

static int grow(struct ownership *ownership, uint32_t count)
{
    uint32_t capacity = count + count / 2 + 8;
    struct held_shard *shards;

    if (count <= ownership->capacity && ownership->shards != NULL) /* an empty map has an array too */
        return 0;
    shards = mem_realloc(ownership->shards, capacity * sizeof(*shards));
    if (shards == NULL)
        return ERROR_OUT_OF_MEMORY;
    ownership->shards = shards;
    ownership->capacity = capacity;
    return 0;
}

static int create(uint32_t capacity, struct ownership **ret_ownership)
{
    struct ownership *ownership = mem_zalloc(sizeof(*ownership));

    if (ownership == NULL)
        return ERROR_OUT_OF_MEMORY;
    if (grow(ownership, capacity) != 0) {
        mem_free(ownership);
        return ERROR_OUT_OF_MEMORY;
    }
    *ret_ownership = ownership;
    return 0;
}

int ownership_create(struct ownership **ret_ownership)
{
    return create(0, ret_ownership);
}

void ownership_destroy(struct ownership *ownership)
{
    if (ownership == NULL)
        return;
    arena_done(&ownership->arena);
    mem_free(ownership->shards);
    mem_free(ownership);
}

bool ownership_state_is_readable(uint32_t state)
{
    return state == SERVER_KEYS_OWNED_EMPTY || state == SERVER_KEYS_READY;
}

static bool is_one_piece(const struct held_shard *last, const struct held_shard *next, version_t settled)
{
    return next->inner && last->state == next->state && bytes_equal(last->end, next->begin) &&
           (last->since == next->since || (last->since <= settled && next->since <= settled));
}

static void join(struct held_shard *last, const struct held_shard *next)
{
    last->end = next->end;
    last->since = next->since > last->since ? next->since : last->since;
}

/* Pieces in key order that a map will have: the keys in its arena, which keeps them if they are not used after all. */
struct pieces {
    struct arena *arena;
    struct held_shard *shards;
    uint32_t count;
};

/* Adds a piece behind the others, joined with the last one where nothing tells them apart. Empty ones are left out. */
static int add(struct pieces *pieces, struct held_shard piece, version_t settled)
{
    struct held_shard *last = pieces->count == 0 ? NULL : &pieces->shards[pieces->count - 1];

    if (piece.state == SERVER_KEYS_NONE || bytes_compare(piece.begin, piece.end) >= 0)
        return 0;
    if (arena_copy(pieces->arena, piece.end, &piece.end) != 0)
        return ERROR_OUT_OF_MEMORY;
    if (last != NULL && is_one_piece(last, &piece, settled)) {
        join(last, &piece);
        return 0;
    }
    if (arena_copy(pieces->arena, piece.begin, &piece.begin) != 0)
        return ERROR_OUT_OF_MEMORY;
    pieces->shards[pieces->count++] = piece;
    return 0;
}

/* Fills an empty map with room for them. */
static int fill(struct ownership *ownership, const struct held_shard *shards, uint32_t count)
{
    struct pieces pieces = {&ownership->arena, ownership->shards, 0};
    int error = 0;

    for (uint32_t i = 0; error == 0 && i < count; i++) {
        error = add(&pieces, shards[i], VERSION_NONE);
        ownership->fetching += shards[i].state == SERVER_KEYS_FETCH;
    }
    ownership->count = pieces.count;
    return error;
}

int ownership_copy(const struct ownership *ownership, struct ownership **ret_copy)
{
    struct ownership *copy;
    int error = create(ownership->count, &copy);

    if (error != 0)
        return error;
    error = fill(copy, ownership->shards, ownership->count);
    if (error != 0) {
        ownership_destroy(copy);
        return error;
    }
    *ret_copy = copy;
    return 0;
}

static bool is_whole(uint32_t state)
{
    return ownership_state_is_readable(state) || state == HELD_FETCHED;
}

/* The part of `shard` that lies in [low, high). What is cut off its front begins where the assignment ended. */
static struct held_shard part_of(const struct held_shard *shard, struct bytes low, struct bytes high, bool inner)
{
    struct held_shard part = *shard;

    if (bytes_compare(shard->begin, low) < 0) {
        part.begin = low;
        part.inner = inner;
    }
    part.end = bytes_min(shard->end, high);
    return part;
}

/* The shard that holds `key`, or the first one after it; count when there is none. */
static uint32_t find(const struct ownership *ownership, struct bytes key)
{
    uint32_t low = 0, high = ownership->count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (bytes_compare(ownership->shards[middle].end, key) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* What [begin, end) becomes, of the `count` pieces of the map that it meets: where it was whole and stays so, it has been since the
 * older version. */
static int add_assigned(struct pieces *fresh, const struct held_shard *old, uint32_t count, struct held_shard given, version_t settled)
{
    const struct held_shard *first = count > 0 && bytes_compare(old[0].begin, given.begin) <= 0 ? &old[0] : NULL;
    struct held_shard next = given;
    int error = 0;

    next.inner = given.state == HELD_FETCHED && (first == NULL || first->inner || !bytes_equal(first->begin, given.begin));
    for (uint32_t i = 0; error == 0 && i < count; i++) {
        struct bytes low = bytes_max(old[i].begin, given.begin), high = bytes_min(old[i].end, given.end);

        if (!is_whole(old[i].state) || !is_whole(given.state))
            continue;
        next.end = low;
        next.since = given.since;
        error = add(fresh, next, settled);
        next.inner = next.inner || bytes_compare(next.begin, low) < 0;
        next.begin = low;
        next.end = high;
        next.since = old[i].since;
        if (error == 0)
            error = add(fresh, next, settled);
        next.begin = high;
        next.inner = true;
    }
    next.end = given.end;
    next.since = given.since;
    return error != 0 ? error : add(fresh, next, settled);
}

/* The pieces that come instead of those that the assignment meets: what it leaves of the first, its own, what it leaves of the last. */
static int make_fresh(struct pieces *fresh, const struct held_shard *old, uint32_t count, struct held_shard given, version_t settled)
{
    int error = 0;

    if (count > 0)
        error = add(fresh, part_of(&old[0], bytes_none(), bytes_min(old[0].end, given.begin), false), settled);
    if (error == 0)
        error = add_assigned(fresh, old, count, given, settled);
    if (error == 0 && count > 0)
        error = add(fresh, part_of(&old[count - 1], given.end, old[count - 1].end, given.state == HELD_FETCHED), settled);
    return error;
}

/* Joins what nothing tells apart any more. Most pieces begin a shard: this is one look at each. */
static void join_all(struct ownership *ownership, version_t settled)
{
    uint32_t count = 0;

    ownership->fetching = 0;
    for (uint32_t i = 0; i < ownership->count; i++) {
        const struct held_shard *piece = &ownership->shards[i];

        if (count > 0 && is_one_piece(&ownership->shards[count - 1], piece, settled)) {
            join(&ownership->shards[count - 1], piece);
            continue;
        }
        ownership->fetching += piece->state == SERVER_KEYS_FETCH;
        if (count < i)
            ownership->shards[count] = *piece;
        count++;
    }
    ownership->count = count;
}

/* The keys that no piece has any more go when they are as many as those in use. Without memory they stay. */
static void clean(struct ownership *ownership)
{
    struct ownership *copy;

    if (ownership->added <= ownership->count + ADDED_MAX || ownership_copy(ownership, &copy) != 0)
        return;
    arena_done(&ownership->arena);
    mem_free(ownership->shards);
    *ownership = *copy;
    mem_free(copy);
}

int ownership_assign(struct ownership *ownership, struct bytes begin, struct bytes end, uint32_t state, version_t version,
                     version_t settled)
{
    struct held_shard given = {.begin = begin, .end = end, .state = state, .since = version};
    uint32_t first = find(ownership, begin), met = first;
    struct pieces fresh = {.arena = &ownership->arena};
    int error;

    assert(bytes_compare(begin, end) < 0);
    while (met < ownership->count && bytes_compare(ownership->shards[met].begin, end) < 0)
        met++;
    met -= first;
    fresh.shards = mem_alloc((2 * met + 3) * sizeof(*fresh.shards));
    error = fresh.shards == NULL ? ERROR_OUT_OF_MEMORY : make_fresh(&fresh, ownership->shards + first, met, given, settled);
    if (error == 0)
        error = grow(ownership, ownership->count - met + fresh.count);
    if (error == 0) {
        memmove(ownership->shards + first + fresh.count, ownership->shards + first + met,
                (ownership->count - first - met) * sizeof(*fresh.shards));
        memcpy(ownership->shards + first, fresh.shards, fresh.count * sizeof(*fresh.shards));
        ownership->count += fresh.count - met;
        ownership->added += fresh.count;
        join_all(ownership, settled);
        clean(ownership);
    }
    mem_free(fresh.shards);
    return error;
}

const struct held_shard *ownership_piece(const struct ownership *ownership, struct bytes key)
{
    uint32_t i = find(ownership, key);

    return i < ownership->count && bytes_compare(ownership->shards[i].begin, key) <= 0 ? &ownership->shards[i] : NULL;
}

const struct held_shard *ownership_first(const struct ownership *ownership, struct bytes begin, struct bytes end, uint32_t state)
{
    for (uint32_t i = find(ownership, begin); i < ownership->count; i++) {
        const struct held_shard *shard = &ownership->shards[i];

        if (bytes_compare(shard->begin, end) >= 0)
            break;
        if (state == SERVER_KEYS_NONE || shard->state == state)
            return shard;
    }
    return NULL;
}

enum ownership_progress ownership_progress(const struct ownership *ownership, struct bytes begin, struct bytes end, version_t durable)
{
    enum ownership_progress progress = OWNERSHIP_READY;
    struct bytes at = begin;

    assert(bytes_compare(begin, end) < 0);
    for (uint32_t i = find(ownership, begin); i < ownership->count && bytes_compare(at, end) < 0; i++) {
        const struct held_shard *shard = &ownership->shards[i];

        if (bytes_compare(shard->begin, at) > 0)
            return OWNERSHIP_NOT_HELD;
        if (!is_whole(shard->state) || (shard->since > durable && !PLANTED_BUG(READY_BEFORE_DURABLE)))
            progress = OWNERSHIP_FETCHING;
        at = shard->end;
    }
    return bytes_compare(at, end) < 0 ? OWNERSHIP_NOT_HELD : progress;
}

bool ownership_awaits(const struct ownership *ownership, struct bytes begin, struct bytes end, version_t version)
{
    struct bytes at = begin;

    assert(bytes_compare(begin, end) < 0);
    for (uint32_t i = find(ownership, begin); i < ownership->count && bytes_compare(at, end) < 0; i++) {
        const struct held_shard *shard = &ownership->shards[i];

        if (bytes_compare(shard->begin, at) > 0 || shard->state != SERVER_KEYS_FETCH || shard->since > version)
            return false;
        at = shard->end;
    }
    return bytes_compare(at, end) >= 0;
}

bool ownership_readable(const struct ownership *ownership, struct bytes key, version_t version)
{
    uint32_t i = find(ownership, key);
    const struct held_shard *shard;

    if (i == ownership->count)
        return false;
    shard = &ownership->shards[i];
    return bytes_compare(shard->begin, key) <= 0 && ownership_state_is_readable(shard->state) && version >= shard->since;
}

bool ownership_range_readable(const struct ownership *ownership, struct bytes begin, struct bytes end, version_t version)
{
    struct bytes at = begin;

    assert(bytes_compare(begin, end) < 0);
    for (uint32_t i = find(ownership, begin); i < ownership->count; i++) {
        const struct held_shard *shard = &ownership->shards[i];

        if (bytes_compare(shard->begin, at) > 0 || !ownership_state_is_readable(shard->state) || version < shard->since)
            return false;
        if (bytes_compare(shard->end, end) >= 0)
            return true;
        at = shard->end;
    }
    return false;
}

bool ownership_holds_some(const struct ownership *ownership, struct bytes begin, struct bytes end)
{
    uint32_t i = find(ownership, begin);

    return i < ownership->count && bytes_compare(ownership->shards[i].begin, end) < 0;
}

int ownership_encode(const struct ownership *ownership, struct bytes_buffer *out)
{
    struct held_shards record = {.shards = ownership->shards, .shards_count = ownership->count};

    return message_encode(&schema_held_shards, &record, out);
}

int ownership_decode(struct bytes packed, struct ownership **ret_ownership)
{
    struct arena arena = {0};
    struct held_shards record;
    struct ownership *ownership = NULL;
    struct bytes at = bytes_none();
    int error = message_decode(&schema_held_shards, packed, &arena, &record);

    if (error == 0)
        error = create(record.shards_count, &ownership);
    for (uint32_t i = 0; error == 0 && i < record.shards_count; i++) {
        const struct held_shard *shard = &record.shards[i];

        if (bytes_compare(shard->begin, at) < 0 || bytes_compare(shard->begin, shard->end) >= 0 ||
            shard->state == SERVER_KEYS_NONE || (shard->state > SERVER_KEYS_READY && shard->state != HELD_FETCHED))
            error = ERROR_FILE_CORRUPT;
        at = shard->end;
    }
    if (error == 0)
        error = fill(ownership, record.shards, record.shards_count);
    arena_done(&arena);
    if (error != 0) {
        ownership_destroy(ownership);
        return error == ERROR_OUT_OF_MEMORY ? error : ERROR_FILE_CORRUPT;
    }
    *ret_ownership = ownership;
    return 0;
}
