/* Random schedules: the paper's safety properties hold through all of them, and the cluster works again after healing.
 *
 * The checks themselves are in raft_world.c, at every step. */
#include <criterion/criterion.h>

#include <stdio.h>

#include "net/error.h"
#include "tests/unit/roles/raft_world.h"

enum { STEPS = 4000 };

struct chaos {
    struct world *world;
    int voters;
    bool members_change;
    uint64_t committed; /* entries applied anywhere, over all seeds */
    uint64_t terms, snapshots, changes, truncations;
};

static int random_node(struct world *world)
{
    return (int)world_random(world, (uint64_t)world->node_count);
}

static void crash_or_start(struct world *world)
{
    int node = random_node(world);

    if (world->nodes[node].raft == NULL)
        world_start(world, node);
    else if (world_random(world, 3) == 0) /* most are up at most times, or nothing would happen */
        world_crash(world, node, world_random(world, world->nodes[node].frame_count + 1));
}

static void cut_something(struct world *world)
{
    switch (world_random(world, 3)) {
    case 0:
        world_partition(world, (uint32_t)world_random(world, 1U << world->node_count));
        break;
    case 1: /* one direction of one link */
        world->cut[random_node(world)][random_node(world)] = true;
        break;
    default:
        world_heal(world);
    }
}

static void ask_for_change(struct chaos *chaos)
{
    struct world *world = chaos->world;
    struct raft_member member = {.id = 1 + world_random(world, (uint64_t)world->node_count)};
    int leader = world_leader(world);
    struct raft_event event = {.type = RAFT_EVENT_ADD_MEMBER, .member = &member};

    if (leader < 0 || !chaos->members_change)
        return;
    if (world_random(world, 2) == 0)
        event = (struct raft_event){.type = RAFT_EVENT_REMOVE_MEMBER, .member_id = member.id};
    if (world_event(world, leader, event) == 0)
        chaos->changes++;
}

static void disturb(struct chaos *chaos)
{
    struct world *world = chaos->world;
    uint64_t what = world_random(world, 1000);
    int node = random_node(world);
    struct raft_event event = {.type = RAFT_EVENT_TICK};

    if (what < 15) {
        crash_or_start(world);
    } else if (what < 20) {
        cut_something(world);
    } else if (what < 23) {
        world->nodes[node].disk_us = world_random(world, 20) == 0 ? 700 * 1000 : world_random(world, 20 * 1000);
    } else if (what < 27) {
        ask_for_change(chaos);
    } else if (what < 29 && world->nodes[node].raft != NULL) {
        event = (struct raft_event){.type = RAFT_EVENT_TRANSFER, .member_id = (uint64_t)random_node(world)};
        world_event(world, node, event);
    } else if (what < 33 && world->nodes[node].raft != NULL) {
        event = (struct raft_event){.type = RAFT_EVENT_PEER_CLOSED, .member_id = (uint64_t)random_node(world) + 1};
        world_event(world, node, event);
    } else if (what < 150 && world->nodes[node].raft != NULL) {
        world_propose(world, node);
    }
}

static struct world *chaotic_world(const struct chaos *chaos, uint64_t seed)
{
    struct world *world = world_create(seed, chaos->voters, chaos->members_change ? 6 : chaos->voters);

    world->drop_percent = (uint32_t)world_random(world, 25);
    world->duplicate_percent = (uint32_t)world_random(world, 25);
    world->jitter_us = 1 + world_random(world, 3) * world_random(world, 60 * 1000);
    world->compact_every = world_random(world, 3) * (5 + world_random(world, 30));
    world->options.batch_bytes_max = world_random(world, 2) == 0 ? 1 : 64;
    for (int i = 0; i < world->node_count; i++)
        world->nodes[i].disk_us = 100 + world_random(world, 5000);
    return world;
}

static void collect(struct chaos *chaos)
{
    struct world *world = chaos->world;

    chaos->committed += world->applied_max;
    for (int i = 0; i < world->node_count; i++) {
        struct raft_status status = world_status(world, i);

        chaos->snapshots += raft_counters(world->nodes[i].raft)->snapshots_installed;
        if (i == 0)
            chaos->terms += status.term;
    }
}

static void repair_disk(struct world *world, struct world_node *node)
{
    node->disk_us = 1000;
    for (size_t i = 0; i < node->frame_count; i++)
        node->frames[i].done_us = world->now_us + 1000 * (i + 1);
}

/* Everything is repaired: a leader comes, and commits what it is given at every member that it has. */
static void heals(struct chaos *chaos)
{
    struct world *world = chaos->world;
    const struct raft_configuration *configuration;
    uint64_t index;
    int leader;

    world_heal(world);
    world->drop_percent = world->duplicate_percent = 0;
    world->jitter_us = 0;
    for (int i = 0; i < world->node_count; i++)
        repair_disk(world, &world->nodes[i]);
    world_start_all(world);
    world_run(world, 6 * 1000 * 1000); /* changes end or time out */
    leader = world_run_until_leader(world, -1);
    cr_assert_eq(world_propose(world, leader), 0);
    index = world_status(world, leader).last_index;
    world_run(world, 1000 * 1000);
    cr_assert_eq(world_leader(world), leader, "seed %llu: a healthy leader lost", (unsigned long long)world->seed);
    configuration = raft_configuration(world->nodes[leader].raft);
    for (uint32_t i = 0; i < configuration->count; i++)
        cr_assert_geq(world->nodes[configuration->members[i].id - 1].state.index, index, "seed %llu: m%llu is behind",
                      (unsigned long long)world->seed, (unsigned long long)configuration->members[i].id);
}

static void run_seed(struct chaos *chaos, uint64_t seed)
{
    chaos->world = chaotic_world(chaos, seed);
    world_start_all(chaos->world);
    for (int i = 0; i < STEPS; i++) {
        if (!world_step(chaos->world, RAFT_NEVER - 1))
            crash_or_start(chaos->world);
        disturb(chaos);
        if (i % 50 == 0)
            world_check_log_matching(chaos->world);
    }
    heals(chaos);
    world_check_log_matching(chaos->world);
    collect(chaos);
    world_destroy(chaos->world);
}

static void run_seeds(struct chaos *chaos, uint64_t first, uint64_t count)
{
    for (uint64_t seed = first; seed < first + count; seed++)
        run_seed(chaos, seed);
    fprintf(stderr, "%d voters: %llu seeds, %llu entries, %llu terms, %llu snapshots, %llu changes\n", chaos->voters,
            (unsigned long long)count, (unsigned long long)chaos->committed, (unsigned long long)chaos->terms,
            (unsigned long long)chaos->snapshots, (unsigned long long)chaos->changes);
    /* Chaos that prevents all progress would prove nothing. */
    cr_assert_gt(chaos->committed, count * 10);
    cr_assert_gt(chaos->terms, count * 2);
    cr_assert_gt(chaos->snapshots, count / 10);
}

Test(raft_safety, three_members_stay_safe_and_heal)
{
    struct chaos chaos = {.voters = 3};

    run_seeds(&chaos, 1, 400);
}

Test(raft_safety, five_members_stay_safe_and_heal)
{
    struct chaos chaos = {.voters = 5};

    run_seeds(&chaos, 1000, 300);
}

Test(raft_safety, changing_members_stay_safe_and_heal)
{
    struct chaos chaos = {.voters = 3, .members_change = true};

    run_seeds(&chaos, 2000, 400);
    cr_assert_gt(chaos.changes, 100);
}

Test(raft_safety, one_member_survives_crashes)
{
    struct chaos chaos = {.voters = 1};

    for (uint64_t seed = 3000; seed < 3050; seed++)
        run_seed(&chaos, seed);
    cr_assert_gt(chaos.committed, 50 * 50);
}
