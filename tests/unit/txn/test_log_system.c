#include <criterion/criterion.h>

#include "tests/unit/draw.h"
#include "txn/log_system.h"

/* n logs, log i in zone "a" + zones[i]. */
static struct generation generation_of(struct log_ref *logs, const char *zones, uint32_t replication)
{
    uint32_t n = (uint32_t)strlen(zones);

    for (uint32_t i = 0; i < n; i++)
        logs[i] = (struct log_ref){.endpoint = {.id = i + 1}, .zone = bytes_of(zones + i, 1)};
    return (struct generation){.epoch = 1, .replication = replication, .logs = logs, .logs_count = n};
}

Test(log_system, a_tag_goes_round_and_skips_zones_it_has)
{
    struct log_ref logs[5];
    struct generation generation = generation_of(logs, "aabcb", 3);
    uint32_t indexes[LOG_REPLICATION_MAX];

    cr_assert_eq(log_system_logs_of_tag(&generation, 0, indexes), 3);
    cr_assert(indexes[0] == 0 && indexes[1] == 2 && indexes[2] == 3);
    cr_assert_eq(log_system_logs_of_tag(&generation, 9, indexes), 3);
    cr_assert(indexes[0] == 4 && indexes[1] == 0 && indexes[2] == 3);
    cr_assert_eq(log_system_logs_of_tag(&generation, UINT32_MAX, indexes), 3);
    cr_assert_eq(indexes[0], UINT32_MAX % 5);
}

Test(log_system, too_few_zones_give_fewer_logs)
{
    struct log_ref logs[3];
    struct generation generation = generation_of(logs, "aaa", 2), empty = {.replication = 2};
    uint32_t indexes[LOG_REPLICATION_MAX];

    cr_assert_eq(log_system_logs_of_tag(&generation, 1, indexes), 1);
    cr_assert_eq(indexes[0], 1);
    cr_assert_eq(log_system_logs_of_tag(&empty, 1, indexes), 0);
}

Test(log_system, a_mask_is_the_union_of_its_tags)
{
    struct log_ref logs[4];
    struct generation generation = generation_of(logs, "abcd", 2);
    tag_t tags[] = {0, 1};

    cr_assert_eq(log_system_logs_of_tags(&generation, tags, 2), 7);
    cr_assert_eq(log_system_logs_of_tags(&generation, tags, 0), 0);
    cr_assert_eq(log_system_zone_count(&generation, 7), 3);
}

/* What recovery and GRV proxies rest on: with fewer than r zones missing, each tag is still on some log. */
Test(log_system, fewer_than_r_missing_zones_never_hide_a_tag)
{
    uint64_t random = 11;

    for (int round = 0; round < 20000; round++) {
        char zones[9] = {0};
        struct log_ref logs[8];
        uint32_t n = 1 + (uint32_t)draw_below(&random, 8), indexes[LOG_REPLICATION_MAX];
        struct generation generation;
        uint64_t mask = 0, missing = draw(&random) & ((1u << n) - 1);

        for (uint32_t i = 0; i < n; i++)
            zones[i] = (char)('a' + draw_below(&random, 4));
        generation = generation_of(logs, zones, 1 + (uint32_t)draw_below(&random, 3));
        if (log_system_zone_count(&generation, (1u << n) - 1) < generation.replication ||
            log_system_zone_count(&generation, missing) >= generation.replication)
            continue;
        cr_assert_eq(log_system_logs_of_tag(&generation, (tag_t)draw(&random), indexes), generation.replication);
        for (uint32_t i = 0; i < generation.replication; i++)
            mask |= 1u << indexes[i];
        cr_assert_eq(log_system_zone_count(&generation, mask), generation.replication);
        cr_assert_neq(mask & ~missing, 0);
    }
}

Test(log_system, a_state_names_the_roles_of_its_epoch)
{
    struct log_ref logs[1];
    struct generation generation = generation_of(logs, "a", 1);
    struct role_ref roles[4] = {{.kind = ROLE_SEQUENCER}, {.kind = ROLE_COMMIT_PROXY}, {.kind = ROLE_RESOLVER}, {.kind = ROLE_SEQUENCER}};
    struct coordinated_state state = {.locked_epoch = 1, .written_epoch = 1, .generations = &generation, .generations_count = 1,
                                      .roles = roles, .roles_count = 3};

    cr_assert(log_system_state_is_sound(&state));
    state.roles_count = 4;
    cr_assert_not(log_system_state_is_sound(&state), "two sequencers");
    state.roles_count = 2;
    cr_assert_not(log_system_state_is_sound(&state), "no resolver");
    state.roles = roles + 1;
    cr_assert_not(log_system_state_is_sound(&state), "no sequencer");
    state = (struct coordinated_state){.locked_epoch = 1};
    cr_assert(log_system_state_is_sound(&state), "no database yet");
}
