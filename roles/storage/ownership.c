/* A sorted array, copied whole by each assignment: those are rare, and a server holds some hundreds of shards. */
#include "roles/storage/ownership.h"

#include <assert.h>

#include "net/error.h"
#include "net/mem.h"
#include "net/planted_bug.h"

#define SELF struct held_shard
SCHEMA_DEFINE(held_shard, held_shard_fields)
#undef SELF
#define SELF struct held_shards
SCHEMA_DEFINE(held_shards, held_shards_fields)
#undef SELF

static int create(uint32_t capacity, struct ownership **ret_ownership)
{
    struct ownership *ownership = mem_zalloc(sizeof(*ownership));

    if (ownership == NULL)
        return ERROR_OUT_OF_MEMORY;
    if (capacity > 0) {
        ownership->shards = arena_alloc(&ownership->arena, capacity * sizeof(*ownership->shards));
        if (ownership->shards == NULL) {
            mem_free(ownership);
            return ERROR_OUT_OF_MEMORY;
        }
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

/* Adds a piece behind the others, joined with the last one where nothing tells them apart. Empty ones are left out. */
static int add(struct ownership *ownership, struct held_shard piece, version_t settled)
{
    struct held_shard *last = ownership->count == 0 ? NULL : &ownership->shards[ownership->count - 1];

    if (piece.state == SERVER_KEYS_NONE || bytes_compare(piece.begin, piece.end) >= 0)
        return 0;
    if (arena_copy(&ownership->arena, piece.end, &piece.end) != 0)
        return ERROR_OUT_OF_MEMORY;
    if (last != NULL && is_one_piece(last, &piece, settled)) {
        last->end = piece.end;
        last->since = piece.since > last->since ? piece.since : last->since;
        return 0;
    }
    if (arena_copy(&ownership->arena, piece.begin, &piece.begin) != 0)
        return ERROR_OUT_OF_MEMORY;
    ownership->shards[ownership->count++] = piece;
    ownership->fetching += piece.state == SERVER_KEYS_FETCH;
    return 0;
}

int ownership_copy(const struct ownership *ownership, struct ownership **ret_copy)
{
    struct ownership *copy;
    int error = create(ownership->count, &copy);

    for (uint32_t i = 0; error == 0 && i < ownership->count; i++) {
        error = add(copy, ownership->shards[i], VERSION_NONE);
        if (error != 0)
            ownership_destroy(copy);
    }
    if (error == 0)
        *ret_copy = copy;
    return error;
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

/* What [begin, end) becomes, piece by piece: where it was whole and stays so, it has been since the older version. */
static int add_assigned(struct ownership *fresh, const struct ownership *old, struct held_shard given, version_t settled)
{
    const struct held_shard *first = ownership_piece(old, given.begin);
    struct held_shard next = given;
    int error = 0;

    next.inner = given.state == HELD_FETCHED && (first == NULL || first->inner || !bytes_equal(first->begin, given.begin));
    for (uint32_t i = 0; error == 0 && i < old->count; i++) {
        const struct held_shard *shard = &old->shards[i];
        struct bytes low = bytes_max(shard->begin, given.begin), high = bytes_min(shard->end, given.end);

        if (bytes_compare(low, high) >= 0 || !is_whole(shard->state) || !is_whole(given.state))
            continue;
        next.end = low;
        next.since = given.since;
        error = add(fresh, next, settled);
        next.inner = next.inner || bytes_compare(next.begin, low) < 0;
        next.begin = low;
        next.end = high;
        next.since = shard->since;
        if (error == 0)
            error = add(fresh, next, settled);
        next.begin = high;
        next.inner = true;
    }
    next.end = given.end;
    next.since = given.since;
    return error != 0 ? error : add(fresh, next, settled);
}

int ownership_assign(const struct ownership *old, struct bytes begin, struct bytes end, uint32_t state, version_t version,
                     version_t settled, struct ownership **ret_ownership)
{
    struct held_shard given = {.begin = begin, .end = end, .state = state, .since = version};
    struct ownership *fresh;
    uint32_t i = 0;
    int error = create(3 * old->count + 3, &fresh);

    if (error != 0)
        return error;
    assert(bytes_compare(begin, end) < 0);
    for (; error == 0 && i < old->count && bytes_compare(old->shards[i].begin, begin) < 0; i++)
        error = add(fresh, part_of(&old->shards[i], bytes_none(), begin, false), settled);
    if (error == 0)
        error = add_assigned(fresh, old, given, settled);
    for (i = 0; error == 0 && i < old->count; i++)
        error = add(fresh, part_of(&old->shards[i], end, old->shards[i].end, state == HELD_FETCHED), settled);
    if (error != 0) {
        ownership_destroy(fresh);
        return error;
    }
    *ret_ownership = fresh;
    return 0;
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
        else
            error = add(ownership, *shard, VERSION_NONE);
        at = shard->end;
    }
    arena_done(&arena);
    if (error != 0) {
        ownership_destroy(ownership);
        return error == ERROR_OUT_OF_MEMORY ? error : ERROR_FILE_CORRUPT;
    }
    *ret_ownership = ownership;
    return 0;
}
