/* A command is a msgpack array {kind, lock_id, state}; a lock carries an empty state, a write no lock_id beside the state's.
 *
 * Determinism: whether a command applies follows from the state before it and from its bytes alone. A command that can't be
 * decoded is skipped by every member alike. Running out of memory must not look like that: it would part the members, so it
 * ends the process. */
#include "roles/coordinator/coordinated_state.h"

#include <assert.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "net/error.h"

enum command_kind { COMMAND_LOCK = 1, COMMAND_WRITE = 2 }; /* on disk: never renumbered */

#define FIELDS_state_command(F, S, A, L) F(u32, kind) F(u64, lock_id) S(coordinated_state, state)
SCHEMA_DECLARE(state_command)
#define SELF struct state_command
SCHEMA_DEFINE(state_command, state_command_fields)
#undef SELF

void coordinated_init(struct coordinated *coordinated, uint64_t cluster_high, uint64_t cluster_low)
{
    *coordinated = (struct coordinated){.state.cluster_high = cluster_high, .state.cluster_low = cluster_low};
}

void coordinated_done(struct coordinated *coordinated)
{
    arena_done(&coordinated->arena);
    *coordinated = (struct coordinated){0};
}

int coordinated_encode_lock(uint64_t lock_id, struct bytes_buffer *out)
{
    struct state_command command = {.kind = COMMAND_LOCK, .lock_id = lock_id};

    return message_encode(&schema_state_command, &command, out);
}

int coordinated_encode_write(const struct coordinated_state *state, struct bytes_buffer *out)
{
    struct state_command command = {.kind = COMMAND_WRITE, .state = *state};

    return message_encode(&schema_state_command, &command, out);
}

/* By a deep copy, for decoded bytes point into what they came from. */
static int replace(struct coordinated *coordinated, const struct coordinated_state *state)
{
    struct coordinated_state copy;
    struct arena arena = {0};
    int error = message_copy_body(&schema_coordinated_state, state, &arena, &copy);

    if (error != 0) {
        arena_done(&arena);
        return error;
    }
    copy.cluster_high = coordinated->state.cluster_high;
    copy.cluster_low = coordinated->state.cluster_low;
    arena_done(&coordinated->arena);
    coordinated->arena = arena;
    coordinated->state = copy;
    return 0;
}

static bool apply_lock(struct coordinated *coordinated, uint64_t lock_id)
{
    coordinated->state.locked_epoch++;
    coordinated->state.lock_id = lock_id;
    return true;
}

static bool apply_write(struct coordinated *coordinated, const struct coordinated_state *brought)
{
    struct coordinated_state state = *brought;
    int error;

    if (state.locked_epoch == 0 || state.locked_epoch != coordinated->state.locked_epoch ||
        state.lock_id != coordinated->state.lock_id)
        return false;
    state.written_epoch = state.locked_epoch;
    error = replace(coordinated, &state);
    assert(error == 0);
    assert(coordinated->state.written_epoch == coordinated->state.locked_epoch);
    return true;
}

bool coordinated_apply(struct coordinated *coordinated, struct bytes command)
{
    struct state_command decoded;
    struct arena arena = {0};
    bool changed = false;
    int error = message_decode(&schema_state_command, command, &arena, &decoded);

    assert(error != ERROR_OUT_OF_MEMORY);
    if (error == 0 && decoded.kind == COMMAND_LOCK)
        changed = apply_lock(coordinated, decoded.lock_id);
    else if (error == 0 && decoded.kind == COMMAND_WRITE)
        changed = apply_write(coordinated, &decoded.state);
    else
        coordinated->ignored++;
    arena_done(&arena);
    return changed;
}

/* ---- snapshots ---- */

/* The state with two fields more. Zero in both: written before there were any. */
#define FIELDS_state_snapshot(F, S, A, L) FIELDS_coordinated_state(F, S, A, L) F(u64, index) F(u64, digest)
SCHEMA_DECLARE(state_snapshot)
#define SELF struct state_snapshot
SCHEMA_DEFINE(state_snapshot, state_snapshot_fields)
#undef SELF
static_assert(offsetof(struct state_snapshot, index) == sizeof(struct coordinated_state), "it begins with the state");

static int digest_of(const struct coordinated_state *state, uint64_t index, uint64_t *ret_digest)
{
    struct bytes_buffer packed = {0};
    int error = message_encode(&schema_coordinated_state, state, &packed);

    if (error == 0)
        *ret_digest = XXH3_64bits_withSeed(packed.ptr, packed.len, index);
    bytes_buffer_done(&packed);
    return error;
}

int coordinated_encode(const struct coordinated *coordinated, uint64_t index, struct bytes_buffer *out)
{
    struct state_snapshot snapshot = {.index = index};
    int error = digest_of(&coordinated->state, index, &snapshot.digest);

    memcpy(&snapshot, &coordinated->state, sizeof(coordinated->state));
    return error != 0 ? error : message_encode(&schema_state_snapshot, &snapshot, out);
}

static const char *judge(const struct state_snapshot *snapshot, uint64_t index)
{
    struct coordinated_state state;
    uint64_t digest;

    memcpy(&state, snapshot, sizeof(state));
    if (snapshot->index == 0 && snapshot->digest == 0)
        return NULL;
    if (snapshot->index != index)
        return "of another index";
    return digest_of(&state, index, &digest) != 0 || digest != snapshot->digest ? "its digest does not fit" : NULL;
}

const char *coordinated_refuses(uint64_t cluster_high, uint64_t cluster_low, uint64_t index, struct bytes snapshot)
{
    struct state_snapshot decoded;
    struct arena arena = {0};
    const char *wrong = NULL;
    int error = message_decode(&schema_state_snapshot, snapshot, &arena, &decoded);

    assert(error != ERROR_OUT_OF_MEMORY);
    if (error != 0)
        wrong = "can't be decoded";
    else if (decoded.cluster_high != cluster_high || decoded.cluster_low != cluster_low)
        wrong = "of another cluster";
    else
        wrong = judge(&decoded, index);
    arena_done(&arena);
    return wrong;
}

int coordinated_restore(struct coordinated *coordinated, struct bytes snapshot)
{
    struct coordinated_state state;
    struct arena arena = {0};
    int error = message_decode(&schema_coordinated_state, snapshot, &arena, &state);

    if (error == 0)
        error = replace(coordinated, &state);
    arena_done(&arena);
    return error;
}
