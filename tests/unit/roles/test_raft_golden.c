/* Golden traces: small scenarios whose every message is written down in tests/golden/raft and reviewed as a diff.
 *
 * QUOIN_REGENERATE=1 writes the files instead of comparing. Latency is 1 ms, a disk frame takes 1 ms. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/roles/raft_world.h"

#ifndef GOLDEN_DIR
#error "GOLDEN_DIR names tests/golden/raft"
#endif

enum { MS = 1000 };

static char *read_all(const char *path)
{
    char *text = calloc(1, WORLD_TRACE_MAX);
    FILE *file = fopen(path, "r");

    cr_assert_not_null(text);
    if (file != NULL) {
        size_t n = fread(text, 1, WORLD_TRACE_MAX - 1, file);

        text[n] = 0;
        fclose(file);
    }
    return text;
}

static void write_all(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    cr_assert_not_null(file, "can't write %s", path);
    cr_assert_geq(fputs(text, file), 0);
    cr_assert_eq(fclose(file), 0);
}

static void first_difference(const char *name, const char *want, const char *got)
{
    int line = 1;

    while (*want != 0 && *want == *got) {
        line += *want == '\n';
        want++;
        got++;
    }
    cr_assert_fail("%s.trace differs in line %d, from here: want \"%.60s\", got \"%.60s\"", name, line, want, got);
}

/* Compares the trace with its file, and ends the world. */
static void golden(struct world *world, const char *name)
{
    const char *regenerate = getenv("QUOIN_REGENERATE");
    char path[512], *want;

    snprintf(path, sizeof(path), "%s/%s.trace", GOLDEN_DIR, name);
    cr_assert_gt(world->trace_len, 0);
    if (regenerate != NULL && regenerate[0] == '1')
        write_all(path, world->trace);
    want = read_all(path);
    if (strcmp(want, world->trace) != 0)
        first_difference(name, want, world->trace);
    free(want);
    world_destroy(world);
}

/* Started, with m1 leading whatever the timeouts. */
static struct world *led_world(uint64_t seed, int voters, int nodes)
{
    struct world *world = world_create(seed, voters, nodes);
    int leader;

    world_start_all(world);
    leader = world_run_until_leader(world, -1);
    if (leader != 0) {
        world_event(world, leader, (struct raft_event){.type = RAFT_EVENT_TRANSFER, .member_id = 1});
        world_run_until_leader(world, 0);
    }
    world_run(world, 150 * MS);
    world->now_us += MS - world->now_us % MS; /* begins on a whole ms, to be read */
    return world;
}

Test(raft_golden, a_cluster_elects_its_first_leader)
{
    struct world *world = world_create(7, 3, 3);

    world->trace_on = true;
    world_start_all(world);
    world_run_until_leader(world, -1);
    world_run(world, 5 * MS);
    golden(world, "first_election");
}

Test(raft_golden, a_single_member_leads_without_a_message)
{
    struct world *world = world_create(1, 1, 1);

    world->trace_on = true;
    world_start_all(world);
    world_run_until_leader(world, 0);
    cr_assert_eq(world_propose(world, 0), 0);
    world_run(world, 1000 * MS);
    golden(world, "single_member");
}

Test(raft_golden, an_entry_commits_when_a_majority_has_it_on_disk)
{
    struct world *world = led_world(2, 3, 3);

    world->trace_on = true;
    cr_assert_eq(world_propose(world, 0), 0);
    world_run(world, 10 * MS);
    golden(world, "commit");
}

Test(raft_golden, a_closed_connection_elects_the_next_leader_within_milliseconds)
{
    struct world *world = led_world(3, 3, 3);

    world->trace_on = true;
    world_crash(world, 0, 0);
    world_run_until_leader(world, -1);
    world_run(world, 5 * MS);
    golden(world, "leader_killed");
}

Test(raft_golden, a_silent_leader_is_replaced_after_the_timeout_and_steps_down)
{
    struct world *world = led_world(4, 3, 3);

    world->trace_on = true;
    world_partition(world, 1);
    world_propose(world, 0);
    world_run(world, 1200 * MS);
    world_heal(world);
    world_run(world, 300 * MS);
    golden(world, "leader_cut_off");
}

Test(raft_golden, leadership_is_handed_over)
{
    struct world *world = led_world(5, 3, 3);

    world->trace_on = true;
    cr_assert_eq(world_event(world, 0, (struct raft_event){.type = RAFT_EVENT_TRANSFER, .member_id = 3}), 0);
    world_run_until_leader(world, 2);
    world_run(world, 5 * MS);
    golden(world, "transfer");
}

Test(raft_golden, an_empty_member_is_brought_up_to_date_and_added)
{
    struct world *world = led_world(6, 3, 4);
    struct raft_member member = {.id = 4};

    world->trace_on = true;
    cr_assert_eq(world_event(world, 0, (struct raft_event){.type = RAFT_EVENT_ADD_MEMBER, .member = &member}), 0);
    world_run(world, 30 * MS);
    golden(world, "add_member");
}

Test(raft_golden, a_leader_removes_itself_and_names_its_heir)
{
    struct world *world = led_world(8, 3, 3);

    world->trace_on = true;
    cr_assert_eq(world_event(world, 0, (struct raft_event){.type = RAFT_EVENT_REMOVE_MEMBER, .member_id = 1}), 0);
    world_run(world, 50 * MS);
    golden(world, "remove_leader");
}

Test(raft_golden, a_member_that_lags_behind_the_log_gets_the_snapshot)
{
    struct world *world = led_world(9, 3, 3);

    world->compact_every = 5;
    world_partition(world, 4);
    for (int i = 0; i < 12; i++) {
        cr_assert_eq(world_propose(world, 0), 0);
        world_run(world, 10 * MS);
    }
    world->trace_on = true;
    world_heal(world);
    world_run(world, 150 * MS);
    golden(world, "snapshot");
}

Test(raft_golden, entries_that_no_majority_had_are_truncated)
{
    struct world *world = led_world(10, 3, 3);

    world_partition(world, 1);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(world_propose(world, 0), 0);
    world_run(world, 20 * MS);
    world_crash(world, 0, 99);
    world_run_until_leader(world, -1);
    world_propose(world, world_leader(world));
    world_run(world, 20 * MS);
    world_heal(world);
    world->trace_on = true;
    world_start(world, 0);
    world_run(world, 150 * MS);
    golden(world, "truncation");
}
