/* Mutations into the window, in the order of the stream.
 *
 * A table is checked whole before any of its reply is applied: what no proxy makes must not get half in. All of our tag's
 * mutations are applied, whatever we hold: within the version that gives us a shard its first data may stand before the
 * assignment, and a range that we don't hold is not read by anyone. Atomic operations are evaluated here, against the window
 * and then the engine, so that each later reader sees plain values. */
#include "net/error.h"
#include "net/mem.h"
#include "net/planted_bug.h"
#include "roles/storage/storage_internal.h"
#include "roles/storage/watches.h"

/* ---- checking ---- */

static bool key_fits(struct bytes key)
{
    return key.len <= SYSTEM_KEY_BYTES_MAX && bytes_compare(key, KEY_SPECIAL_END) < 0;
}

static bool range_fits(struct bytes begin, struct bytes end)
{
    return begin.len <= SYSTEM_KEY_BYTES_MAX + 1 && end.len <= SYSTEM_KEY_BYTES_MAX + 1 &&
           bytes_compare(begin, end) <= 0 && bytes_compare(end, KEY_SPECIAL_END) <= 0;
}

static int decode_assignment(struct mutation mutation, struct arena *arena, struct server_keys_value *ret)
{
    int error = message_decode(&schema_server_keys_value, mutation.param2, arena, ret);

    if (error != 0)
        return error;
    if (ret->state > SERVER_KEYS_READY || !range_fits(mutation.param1, ret->end) ||
        bytes_equal(mutation.param1, ret->end))
        return ERROR_SERIALIZATION_FAILED;
    return 0;
}

static int check(struct mutation mutation)
{
    bool fits;

    if (mutation.type == MUTATION_PRIVATE_ASSIGN) {
        struct arena arena = {0};
        struct server_keys_value value;
        int error = decode_assignment(mutation, &arena, &value);

        arena_done(&arena);
        return error;
    }
    if (mutation.type == MUTATION_CLEAR_RANGE)
        fits = range_fits(mutation.param1, mutation.param2);
    else
        fits = (mutation.type == MUTATION_SET || mutation_type_is_atomic(mutation.type)) && key_fits(mutation.param1) &&
               mutation.param2.len <= VALUE_BYTES_MAX;
    return fits ? 0 : ERROR_SERIALIZATION_FAILED;
}

int storage_check_mutations(struct bytes table)
{
    struct mutation mutation;
    int error;

    while ((error = mutation_next(&table, &mutation)) == 0) {
        error = check(mutation);
        if (error != 0)
            return error;
    }
    return error == ERROR_END_OF_STREAM ? 0 : error;
}

/* ---- into the window and the sample ---- */

static int set_key(struct storage_server *storage, version_t version, struct bytes key, struct bytes value)
{
    int error = window_set(storage->window, version, key, value);

    return error != 0 ? error : byte_sample_set(&storage->sample, key, key.len + value.len);
}

static int clear_range(struct storage_server *storage, version_t version, struct bytes begin, struct bytes end)
{
    int error = window_clear_range(storage->window, version, begin, end);

    if (error == 0 && bytes_compare(begin, end) < 0)
        byte_sample_clear(&storage->sample, begin, end);
    return error;
}

int storage_sample_pairs(struct storage_server *storage, struct bytes begin, struct bytes end, struct bytes pairs)
{
    int error = 0;

    byte_sample_clear(&storage->sample, begin, end);
    while (pairs.len > 0 && error == 0) {
        size_t key_len = get_le32(pairs.ptr), bytes = key_len + get_le32(pairs.ptr + 4);
        const uint8_t *key = pairs.ptr + 8;

        error = byte_sample_set(&storage->sample, bytes_of(key, key_len), bytes);
        pairs = bytes_of(key + bytes, pairs.len - 8 - bytes);
    }
    return error;
}

/* ---- ownership ---- */

static int make_assignment(version_t version, struct bytes begin, struct bytes end, uint32_t state, struct assignment **ret_assignment)
{
    struct assignment *assignment = mem_zalloc(sizeof(*assignment) + begin.len + end.len);
    uint8_t *bytes;

    if (assignment == NULL)
        return ERROR_OUT_OF_MEMORY;
    bytes = (uint8_t *)(assignment + 1);
    if (begin.len > 0)
        memcpy(bytes, begin.ptr, begin.len);
    memcpy(bytes + begin.len, end.ptr, end.len);
    assignment->begin = bytes_of(bytes, begin.len);
    assignment->end = bytes_of(bytes + begin.len, end.len);
    assignment->version = version;
    assignment->state = state;
    *ret_assignment = assignment;
    return 0;
}

int storage_assign(struct storage_server *storage, version_t version, struct bytes begin, struct bytes end, uint32_t state)
{
    struct assignment *kept;
    int error = make_assignment(version, begin, end, state, &kept);

    if (error != 0)
        return error;
    error = ownership_assign(storage->owned, kept->begin, kept->end, state, version, storage->durable);
    if (error != 0) {
        mem_free(kept);
        return error;
    }
    list_push_back(&storage->assignments, &kept->link);
    storage->assigns++;
    return 0;
}

static bool is_ready(const struct storage_server *storage, struct bytes begin, struct bytes end)
{
    const struct held_shard *piece;

    if (ownership_progress(storage->owned, begin, end, VERSION_MAX) != OWNERSHIP_READY)
        return false;
    for (; (piece = ownership_first(storage->owned, begin, end, HELD_FETCHED)) != NULL; begin = piece->end)
        if (piece->since > storage->durable)
            return false;
    return true;
}

/* READY comes only after we have said that all of the range is in the store. Whoever made it otherwise would have us answer for
 * data that is not here: better one copy less, loudly. (Or our disk went back to before we said so: a lost replica as well.) The process goes
 * on without it: another start would find the same. */
static int check_ready(struct storage_server *storage, struct bytes begin, struct bytes end)
{
    if (is_ready(storage, begin, end))
        return 0;
    TRACE(storage->env, SEVERITY_ERROR, "StorageReadyTooEarly", {"Id", trace_id(storage->id)},
          {"Durable", trace_int(storage->durable)}, {"Version", trace_int(storage_version(storage))});
    return ERROR_WORKER_REMOVED;
}

/* A range that was given up is no longer read. */
static void forget_damage(struct storage_server *storage, struct bytes begin, struct bytes end)
{
    struct bytes at = bytes_buffer_bytes(&storage->damaged_at);

    if (bytes_compare(begin, at) <= 0 && bytes_compare(at, end) < 0)
        storage->damaged = false;
}

static int apply_assign(struct storage_server *storage, version_t version, struct mutation mutation)
{
    struct arena arena = {0};
    struct server_keys_value value;
    int error = decode_assignment(mutation, &arena, &value);

    if (error != 0)
        goto out;
    TRACE(storage->env, SEVERITY_DEBUG, "StorageShard", {"Id", trace_id(storage->id)}, {"Version", trace_int(version)},
          {"State", trace_int(value.state)}, {"Begin", trace_bytes(mutation.param1)}, {"End", trace_bytes(value.end)},
          {"Above", trace_int(version > storage->known_committed ? version - storage->known_committed : 0)});
    if (value.state == SERVER_KEYS_NONE && PLANTED_BUG(TWO_OWNERS))
        goto out;
    if (value.state == SERVER_KEYS_READY)
        error = check_ready(storage, mutation.param1, value.end);
    else if (value.state == SERVER_KEYS_NONE && ownership_holds_some(storage->owned, mutation.param1, value.end))
        byte_sample_clear(&storage->sample, mutation.param1, value.end); /* the data itself: sweep.c */
    if (error == 0)
        error = storage_assign(storage, version, mutation.param1, value.end, value.state);
    if (error == 0 && !ownership_state_is_readable(value.state))
        watches_moved(storage->watches, mutation.param1, value.end);
    if (error == 0 && value.state == SERVER_KEYS_NONE && storage->env->knobs.storage_sweep_early)
        storage_sweep(storage);
    if (error == 0 && value.state == SERVER_KEYS_NONE)
        forget_damage(storage, mutation.param1, value.end);
    if (error == 0)
        storage_progress_look(storage);
out:
    arena_done(&arena);
    return error;
}

int storage_owned_at(const struct storage_server *storage, version_t version, struct ownership **ret_ownership)
{
    struct ownership *owned;
    int error = ownership_copy(storage->base, &owned);

    if (error != 0)
        return error;
    list_each(node, after, &storage->assignments) {
        const struct assignment *assignment = list_entry(node, struct assignment, link);

        if (assignment->version > version)
            break;
        error = ownership_assign(owned, assignment->begin, assignment->end, assignment->state, assignment->version,
                                 storage->durable);
        if (error != 0) {
            ownership_destroy(owned);
            return error;
        }
    }
    *ret_ownership = owned;
    return 0;
}

void storage_drop_assignments(struct storage_server *storage, version_t above, version_t through)
{
    list_each(node, after, &storage->assignments) {
        struct assignment *assignment = list_entry(node, struct assignment, link);

        if (assignment->version <= above || assignment->version > through)
            continue;
        list_remove(node);
        mem_free(assignment);
    }
}

/* ---- data ---- */

static int apply_atomic(struct storage_server *storage, version_t version, enum mutation_type type, struct bytes key,
                        struct bytes operand)
{
    struct bytes existing = bytes_none(), value = bytes_none(), end;
    bool exists = false, present = false;
    int error = storage_get(storage, key, version, &exists, &existing);

    storage->atomics++;
    if (error == 0)
        error = mutation_apply_atomic(&storage->atomic_arena, type, exists, existing, operand, &present, &value);
    if (error == 0 && present)
        error = set_key(storage, version, key, value);
    else if (error == 0 && exists) {
        error = key_after(&storage->atomic_arena, key, &end);
        if (error == 0)
            error = clear_range(storage, version, key, end);
    }
    arena_reset(&storage->atomic_arena);
    return error;
}

int storage_apply_data(struct storage_server *storage, version_t version, enum mutation_type type, struct bytes param1,
                       struct bytes param2)
{
    switch (type) {
    case MUTATION_SET:
        return set_key(storage, version, param1, param2);
    case MUTATION_CLEAR_RANGE:
        return clear_range(storage, version, param1, param2);
    default:
        return apply_atomic(storage, version, type, param1, param2);
    }
}

/* A cleared range, cut into what is cleared now and what waits for its chunk. */
static int clear_by_pieces(struct storage_server *storage, version_t version, struct bytes begin, struct bytes end)
{
    const struct held_shard *piece;
    struct bytes at = begin;
    int error = 0;

    while (error == 0 && bytes_compare(at, end) < 0 &&
           (piece = ownership_first(storage->owned, at, end, SERVER_KEYS_FETCH)) != NULL) {
        struct bytes low = bytes_max(piece->begin, at), high = bytes_min(piece->end, end);

        error = clear_range(storage, version, at, low);
        if (error == 0)
            error = storage_buffer(storage, version, MUTATION_CLEAR_RANGE, low, high);
        at = high;
    }
    return error != 0 || bytes_compare(at, end) >= 0 ? error : clear_range(storage, version, at, end);
}

static int apply_one(struct storage_server *storage, version_t version, struct mutation mutation)
{
    const struct held_shard *piece;

    if (mutation.type == MUTATION_PRIVATE_ASSIGN)
        return apply_assign(storage, version, mutation);
    if (storage->owned->fetching == 0)
        return storage_apply_data(storage, version, mutation.type, mutation.param1, mutation.param2);
    if (mutation.type == MUTATION_CLEAR_RANGE)
        return clear_by_pieces(storage, version, mutation.param1, mutation.param2);
    piece = ownership_piece(storage->owned, mutation.param1);
    if (piece != NULL && piece->state == SERVER_KEYS_FETCH)
        return storage_buffer(storage, version, mutation.type, mutation.param1, mutation.param2);
    return storage_apply_data(storage, version, mutation.type, mutation.param1, mutation.param2);
}

int storage_apply(struct storage_server *storage, version_t version, struct bytes table)
{
    int64_t now_us = storage->env->turn_us;
    size_t bytes = table.len;
    struct mutation mutation;
    int error;

    assert(!storage->discarding && version > storage_version(storage));
    while ((error = mutation_next(&table, &mutation)) == 0) {
        error = apply_one(storage, version, mutation);
        if (error != 0)
            return error;
        if (mutation.type == MUTATION_CLEAR_RANGE)
            watches_cleared(storage->watches, mutation.param1, mutation.param2, version);
        else if (mutation.type != MUTATION_PRIVATE_ASSIGN)
            watches_written(storage->watches, mutation.param1, version);
        if (mutation.type < MUTATION_PRIVATE_MIN)
            load_sample_add(&storage->writes_load, mutation.param1, mutation.param1.len + mutation.param2.len, now_us);
        storage->mutations++;
    }
    if (error != ERROR_END_OF_STREAM)
        return error;
    storage->mutation_bytes += bytes;
    return bytes == 0 ? 0 : shares_add(storage, version, bytes);
}
