/* The coordinated state: what a command does follows from the state and its bytes alone. */
#include <criterion/criterion.h>

#include "net/error.h"
#include "roles/coordinator/coordinated_state.h"

static bool lock(struct coordinated *c, uint64_t lock_id)
{
    struct bytes_buffer command = {0};
    bool changed;

    cr_assert_eq(coordinated_encode_lock(lock_id, &command), 0);
    changed = coordinated_apply(c, bytes_buffer_bytes(&command));
    bytes_buffer_done(&command);
    return changed;
}

static bool write(struct coordinated *c, const struct coordinated_state *state)
{
    struct bytes_buffer command = {0};
    bool changed;

    cr_assert_eq(coordinated_encode_write(state, &command), 0);
    changed = coordinated_apply(c, bytes_buffer_bytes(&command));
    memset(command.ptr, 0xee, command.len); /* nothing of it may be kept */
    bytes_buffer_done(&command);
    return changed;
}

static struct log_ref logs[] = {{{{0x7f000001, 4500}, 77}, {(const uint8_t *)"zone", 4}}};
static struct generation generations[] = {{.epoch = 1, .begin = 5, .end = VERSION_MAX, .replication = 1, .logs = logs, .logs_count = 1}};

static struct coordinated_state brought(const struct coordinated *c)
{
    struct coordinated_state state = c->state;

    state.recovery_transaction_version = 42;
    state.generations = generations;
    state.generations_count = 1;
    return state;
}

Test(coordinated_state, a_lock_raises_the_epoch_and_says_whose_it_is)
{
    struct coordinated c;

    coordinated_init(&c, 1, 2);
    cr_assert(lock(&c, 10));
    cr_assert(lock(&c, 11));
    cr_assert_eq(c.state.locked_epoch, 2);
    cr_assert_eq(c.state.lock_id, 11);
    cr_assert_eq(c.state.written_epoch, 0);
    coordinated_done(&c);
}

Test(coordinated_state, a_write_under_its_own_lock_replaces_the_state)
{
    struct coordinated c;
    struct coordinated_state state;

    coordinated_init(&c, 1, 2);
    lock(&c, 10);
    state = brought(&c);
    state.cluster_high = 99; /* not its to change */
    cr_assert(write(&c, &state));
    cr_assert_eq(c.state.written_epoch, 1);
    cr_assert_eq(c.state.recovery_transaction_version, 42);
    cr_assert_eq(c.state.cluster_high, 1);
    cr_assert_eq(c.state.generations_count, 1);
    cr_assert(bytes_equal(c.state.generations[0].logs[0].zone, BYTES_LITERAL("zone")));
    cr_assert(write(&c, &state), "the holder of the lock may write again");
    coordinated_done(&c);
}

Test(coordinated_state, a_write_under_an_older_lock_changes_nothing)
{
    struct coordinated c;
    struct coordinated_state state;

    coordinated_init(&c, 1, 2);
    lock(&c, 10);
    state = brought(&c);
    lock(&c, 11);
    cr_assert_not(write(&c, &state));
    state.locked_epoch = 2; /* the right epoch, another's lock */
    cr_assert_not(write(&c, &state));
    cr_assert_eq(c.state.written_epoch, 0);
    cr_assert_eq(c.state.generations_count, 0);
    coordinated_done(&c);
}

Test(coordinated_state, nobody_writes_without_a_lock)
{
    struct coordinated c;
    struct coordinated_state state;

    coordinated_init(&c, 1, 2);
    state = brought(&c);
    cr_assert_not(write(&c, &state));
    coordinated_done(&c);
}

Test(coordinated_state, any_bytes_are_a_command_or_ignored)
{
    struct coordinated c;
    struct bytes_buffer command = {0};
    uint64_t ignored = 0;

    coordinated_init(&c, 1, 2);
    cr_assert_eq(coordinated_encode_lock(7, &command), 0);
    for (size_t len = 0; len < command.len; len++)
        ignored += !coordinated_apply(&c, bytes_of(command.ptr, len));
    cr_assert_eq(ignored, command.len);
    cr_assert_eq(c.ignored, ignored);
    cr_assert_eq(c.state.locked_epoch, 0);
    bytes_buffer_done(&command);
    coordinated_done(&c);
}

Test(coordinated_state, a_snapshot_holds_all_of_it)
{
    struct coordinated c, restored;
    struct coordinated_state state;
    struct bytes_buffer snapshot = {0}, again = {0};

    coordinated_init(&c, 1, 2);
    lock(&c, 10);
    state = brought(&c);
    write(&c, &state);
    cr_assert_eq(coordinated_encode(&c, 9, &snapshot), 0);
    coordinated_init(&restored, 1, 2);
    cr_assert_eq(coordinated_restore(&restored, bytes_buffer_bytes(&snapshot)), 0);
    cr_assert_eq(coordinated_encode(&restored, 9, &again), 0);
    cr_assert(bytes_equal(bytes_buffer_bytes(&snapshot), bytes_buffer_bytes(&again)));
    cr_assert_eq(coordinated_restore(&restored, bytes_of(snapshot.ptr, snapshot.len - 1)), ERROR_SERIALIZATION_FAILED);
    cr_assert_null(coordinated_refuses(1, 2, 9, bytes_buffer_bytes(&snapshot)));
    cr_assert_str_eq(coordinated_refuses(1, 2, 8, bytes_buffer_bytes(&snapshot)), "of another index");
    cr_assert_str_eq(coordinated_refuses(1, 3, 9, bytes_buffer_bytes(&snapshot)), "of another cluster");
    snapshot.ptr[snapshot.len - 1] ^= 1;
    cr_assert_str_eq(coordinated_refuses(1, 2, 9, bytes_buffer_bytes(&snapshot)), "its digest does not fit");
    cr_assert_eq(restored.state.locked_epoch, 1, "a bad snapshot leaves the state as it was");
    bytes_buffer_done(&snapshot);
    bytes_buffer_done(&again);
    coordinated_done(&c);
    coordinated_done(&restored);
}
