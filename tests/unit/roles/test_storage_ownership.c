/* The map of held shards against a state and a version for every key. */
#include <stdio.h>

#include <criterion/criterion.h>

#include "net/error.h"
#include "roles/storage/ownership.h"
#include "sim/random.h"
#include "tests/unit/nth.h"

enum { KEYS = 12 };

struct naive {
    uint32_t state[KEYS];
    version_t since[KEYS];
};

static struct bytes key_of(unsigned key, uint8_t out[1])
{
    out[0] = (uint8_t)(key * 10);
    return bytes_of(out, key == 0 ? 0 : 1);
}

static bool is_whole(uint32_t state)
{
    return ownership_state_is_readable(state) || state == HELD_FETCHED;
}

static void assign_naive(struct naive *naive, unsigned begin, unsigned end, uint32_t state, version_t version)
{
    for (unsigned key = begin; key < end; key++) {
        if (!is_whole(naive->state[key]) || !is_whole(state))
            naive->since[key] = version;
        naive->state[key] = state;
    }
}

static bool readable_naive(const struct naive *naive, unsigned begin, unsigned end, version_t version)
{
    for (unsigned key = begin; key < end; key++)
        if (!ownership_state_is_readable(naive->state[key]) || version < naive->since[key])
            return false;
    return true;
}

static enum ownership_progress progress_naive(const struct naive *naive, unsigned begin, unsigned end, version_t durable)
{
    enum ownership_progress progress = OWNERSHIP_READY;

    for (unsigned key = begin; key < end; key++) {
        if (naive->state[key] == SERVER_KEYS_NONE)
            return OWNERSHIP_NOT_HELD;
        if (!is_whole(naive->state[key]) || naive->since[key] > durable)
            progress = OWNERSHIP_FETCHING;
    }
    return progress;
}

static bool awaits_naive(const struct naive *naive, unsigned begin, unsigned end, version_t version)
{
    for (unsigned key = begin; key < end; key++)
        if (naive->state[key] != SERVER_KEYS_FETCH || naive->since[key] > version)
            return false;
    return true;
}

/* version: at or above what was settled, below which nobody asks. */
static void compare(const struct ownership *owned, const struct naive *naive, version_t version)
{
    uint8_t low[1], high[1];

    for (unsigned begin = 0; begin < KEYS; begin++) {
        cr_assert_eq(ownership_readable(owned, key_of(begin, low), version), readable_naive(naive, begin, begin + 1, version));
        for (unsigned end = begin + 1; end <= KEYS; end++) {
            bool some = false;

            for (unsigned key = begin; key < end; key++)
                some |= naive->state[key] != SERVER_KEYS_NONE;
            cr_assert_eq(ownership_range_readable(owned, key_of(begin, low), key_of(end, high), version),
                         readable_naive(naive, begin, end, version));
            cr_assert_eq(ownership_progress(owned, key_of(begin, low), key_of(end, high), version),
                         progress_naive(naive, begin, end, version));
            cr_assert_eq(ownership_awaits(owned, key_of(begin, low), key_of(end, high), version),
                         awaits_naive(naive, begin, end, version));
            cr_assert_eq(ownership_holds_some(owned, key_of(begin, low), key_of(end, high)), some);
        }
    }
}

/* Through its record and back. */
static struct ownership *recode(struct ownership *owned)
{
    struct bytes_buffer packed = {0};
    struct ownership *again;

    cr_assert_eq(ownership_encode(owned, &packed), 0);
    cr_assert_eq(ownership_decode(bytes_buffer_bytes(&packed), &again), 0);
    cr_assert_eq(again->count, owned->count);
    for (size_t cut = 0; cut < packed.len; cut++) {
        struct ownership *never;

        cr_assert_eq(ownership_decode(bytes_of(packed.ptr, cut), &never), ERROR_FILE_CORRUPT);
    }
    bytes_buffer_done(&packed);
    ownership_destroy(owned);
    return again;
}

Test(ownership, equals_the_naive_map_after_any_assignments)
{
    struct sim_random random = sim_random_stream(7, 0);

    for (int round = 0; round < 50; round++) {
        struct naive naive = {0};
        struct ownership *owned;

        cr_assert_eq(ownership_create(&owned), 0);
        for (version_t version = 1; version < 40; version++) {
            unsigned begin = (unsigned)sim_random_below(&random, KEYS);
            unsigned end = begin + 1 + (unsigned)sim_random_below(&random, KEYS - begin);
            uint32_t state = (uint32_t)sim_random_below(&random, 5);
            version_t settled = round % 2 == 0 ? VERSION_NONE : version - 10;
            uint8_t low[1], high[1];

            state = state == 4 ? HELD_FETCHED : state;
            cr_assert_eq(ownership_assign(owned, key_of(begin, low), key_of(end, high), state, version, settled), 0);
            owned = version % 10 == 0 ? recode(owned) : owned;
            assign_naive(&naive, begin, end, state, version);
            compare(owned, &naive, version - (version_t)sim_random_below(&random, 10));
        }
        ownership_destroy(owned);
    }
}

static int decode_of(struct held_shard *shards, uint32_t count)
{
    struct held_shards record = {.shards = shards, .shards_count = count};
    struct bytes_buffer packed = {0};
    struct ownership *owned;
    int error;

    cr_assert_eq(message_encode(&schema_held_shards, &record, &packed), 0);
    error = ownership_decode(bytes_buffer_bytes(&packed), &owned);
    bytes_buffer_done(&packed);
    if (error == 0)
        ownership_destroy(owned);
    return error;
}

Test(ownership, a_record_that_no_server_writes_is_damage)
{
    struct bytes a = BYTES_LITERAL("a"), b = BYTES_LITERAL("b"), c = BYTES_LITERAL("c");

    cr_assert_eq(decode_of((struct held_shard[]){{a, b, SERVER_KEYS_READY, 1, false}, {b, c, SERVER_KEYS_FETCH, 1, false}}, 2), 0);
    cr_assert_eq(decode_of((struct held_shard[]){{a, a, SERVER_KEYS_READY, 1, false}}, 1), ERROR_FILE_CORRUPT, "empty");
    cr_assert_eq(decode_of((struct held_shard[]){{b, a, SERVER_KEYS_READY, 1, false}}, 1), ERROR_FILE_CORRUPT, "inverted");
    cr_assert_eq(decode_of((struct held_shard[]){{a, c, SERVER_KEYS_READY, 1, false}, {b, c, SERVER_KEYS_READY, 1, false}}, 2),
                 ERROR_FILE_CORRUPT, "overlapping");
    cr_assert_eq(decode_of((struct held_shard[]){{a, b, SERVER_KEYS_NONE, 1, false}}, 1), ERROR_FILE_CORRUPT, "not held");
    cr_assert_eq(decode_of((struct held_shard[]){{a, b, 99, 1, false}}, 1), ERROR_FILE_CORRUPT, "no such state");
}

Test(ownership, boundaries_between_shards_stay_and_those_between_chunks_go)
{
    static const struct {
        const char *begin, *end;
        uint32_t state;
        version_t version;
        uint32_t pieces;
    } steps[] = {
        {"a", "m", SERVER_KEYS_OWNED_EMPTY, 1, 1},
        {"m", "z", SERVER_KEYS_OWNED_EMPTY, 1, 2}, /* a shard of its own */
        {"a", "z", SERVER_KEYS_READY, 2, 1},       /* merged */
        {"a", "f", SERVER_KEYS_READY, 3, 2},       /* split */
        {"f", "z", SERVER_KEYS_FETCH, 4, 2},
        {"f", "h", HELD_FETCHED, 5, 3},
        {"h", "k", HELD_FETCHED, 6, 4},
        {"k", "p", HELD_FETCHED, 20, 4}, /* by now the first two are settled, and one */
        {"p", "z", HELD_FETCHED, 21, 4},
        {"f", "z", SERVER_KEYS_READY, 40, 2},
    };
    struct ownership *owned;

    cr_assert_eq(ownership_create(&owned), 0);
    for (unsigned i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        cr_assert_eq(ownership_assign(owned, bytes_of_string(steps[i].begin), bytes_of_string(steps[i].end), steps[i].state,
                                      steps[i].version, steps[i].version - 10), 0);
        cr_assert_eq(owned->count, steps[i].pieces, "step %u: %u pieces", i, owned->count);
    }
    ownership_destroy(owned);
}

Test(ownership, without_memory_an_assignment_changes_nothing)
{
    struct ownership *owned;
    int error;

    FAIL_EACH(nth, nth_allocation) {
        cr_assert_eq(ownership_create(&owned), 0);
        cr_assert_eq(ownership_assign(owned, BYTES_LITERAL("a"), BYTES_LITERAL("z"), SERVER_KEYS_FETCH, 1, VERSION_NONE), 0);
        nth_begin(&nth, NULL);
        error = ownership_assign(owned, BYTES_LITERAL("f"), BYTES_LITERAL("k"), HELD_FETCHED, 2, VERSION_NONE);
        if (nth_end(&nth)) {
            cr_assert_eq(error, ERROR_OUT_OF_MEMORY);
            cr_assert_eq(owned->count, 1);
            cr_assert_eq(owned->fetching, 1);
        } else {
            cr_assert_eq(owned->count, 3);
            cr_assert_eq(owned->fetching, 2);
        }
        ownership_destroy(owned);
    }
}

/* Keys that are in use no more must go too, and an assignment may name what it borrowed from the map. */
Test(ownership, a_map_that_is_changed_for_ever_stays_small)
{
    struct ownership *owned;

    cr_assert_eq(ownership_create(&owned), 0);
    cr_assert_eq(ownership_assign(owned, BYTES_LITERAL("a"), BYTES_LITERAL("z"), SERVER_KEYS_READY, 1, VERSION_NONE), 0);
    for (version_t version = 2; version < 100000; version++) {
        char middle[16];
        size_t length = (size_t)snprintf(middle, sizeof(middle), "m%05d", (int)(version % 100));

        cr_assert_eq(ownership_assign(owned, BYTES_LITERAL("a"), bytes_of(middle, length), SERVER_KEYS_READY, version, version), 0);
        cr_assert_eq(ownership_assign(owned, owned->shards[0].begin, owned->shards[owned->count - 1].end, SERVER_KEYS_READY, version,
                                      version), 0);
        cr_assert_eq(owned->count, 1);
        cr_assert_leq(owned->arena.reserved_bytes, 100000);
    }
    ownership_destroy(owned);
}
