#include <criterion/criterion.h>

#include "net/error.h"
#include "net/knobs.h"

Test(knobs, defaults_are_those_of_the_table)
{
    struct knobs knobs;

    knobs_init(&knobs);
    cr_assert_eq(knobs.commit_slots, 2);
    cr_assert_eq(knobs.trace_roll_bytes, 10485760);
}

Test(knobs, a_knob_is_set_by_name_with_dashes_or_underscores)
{
    struct knobs knobs;

    knobs_init(&knobs);
    cr_assert_eq(knobs_set(&knobs, BYTES_LITERAL("commit_slots"), BYTES_LITERAL("3")), 0);
    cr_assert_eq(knobs.commit_slots, 3);
    cr_assert_eq(knobs_set(&knobs, BYTES_LITERAL("commit-slots"), BYTES_LITERAL("9223372036854775807")), 0);
    cr_assert_eq(knobs.commit_slots, INT64_MAX);
}

Test(knobs, what_is_not_a_knob_or_not_a_number_is_refused)
{
    static const char *const bad[] = {"", " 1", "1 ", "-1", "+1", "1e3", "0x10", "9223372036854775808", "99999999999999999999"};
    struct knobs knobs;

    knobs_init(&knobs);
    cr_assert_eq(knobs_set(&knobs, BYTES_LITERAL("commit_slot"), BYTES_LITERAL("1")), ERROR_INVALID_OPTION);
    cr_assert_eq(knobs_set(&knobs, BYTES_LITERAL("commit_slotss"), BYTES_LITERAL("1")), ERROR_INVALID_OPTION);
    cr_assert_eq(knobs_set(&knobs, bytes_none(), BYTES_LITERAL("1")), ERROR_INVALID_OPTION);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_assert_eq(knobs_set(&knobs, BYTES_LITERAL("commit_slots"), bytes_of_string(bad[i])), ERROR_INVALID_OPTION_VALUE,
                     "%s", bad[i]);
    cr_assert_eq(knobs.commit_slots, 2);
}

static uint64_t draw_next(void *ctx)
{
    uint64_t *state = ctx;

    *state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
    return *state >> 33;
}

Test(knobs, random_knobs_stay_in_their_range_and_half_keep_their_default)
{
    uint64_t state = 7;
    int kept = 0, rounds = 1000;

    for (int i = 0; i < rounds; i++) {
        struct knobs knobs;

        knobs_init(&knobs);
        knobs_randomize(&knobs, draw_next, &state);
        cr_assert(knobs.grv_queue_max >= 100 && knobs.grv_queue_max <= 100000);
        cr_assert(knobs.trace_files_max >= 1 && knobs.trace_files_max <= 10);
        kept += knobs.grv_queue_max == 100000;
    }
    cr_assert(kept > rounds * 4 / 10 && kept < rounds * 6 / 10);
}

Test(knobs, every_knob_describes_itself)
{
    size_t count = 0;
    int64_t value;
    const char *why, *name;

    while ((name = knobs_describe(count, &value, &why)) != NULL) {
        cr_assert(strlen(name) > 0 && strlen(why) > 0 && value >= 0);
        count++;
    }
    cr_assert_eq(count, sizeof(struct knobs) / sizeof(int64_t));
}

Test(knobs, every_knob_has_a_range_that_the_simulator_draws_from)
{
    static const struct {
        const char *name;
        int64_t sim_min, sim_max;
    } ranges[] = {
#define X(name, value, sim_min, sim_max, why) {#name, sim_min, sim_max},
        KNOB_TABLE(X)
#undef X
    };

    for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++)
        cr_assert_lt(ranges[i].sim_min, ranges[i].sim_max, "%s is the same in every seed", ranges[i].name);
}
