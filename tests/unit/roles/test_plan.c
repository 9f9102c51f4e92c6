/* The planner: what it does for single shards, and that whole clusters settle, healthy and balanced, whatever happens to them. */
#include <inttypes.h>
#include <criterion/criterion.h>
#include <malloc.h>
#include <stdio.h>
#include <time.h>

#include "roles/distributor/plan_internal.h"
#include "tests/unit/draw.h"
#include "tests/unit/roles/plan_model.h"
#include "txn/keys.h"
#include "txn/messages.h"

static struct model *fresh(uint32_t replication, uint32_t servers, uint32_t shards)
{
    static struct model model;

    model_init(&model, replication, 1);
    for (uint32_t i = 0; i < servers; i++)
        model_add_server(&model, 1000 + i, i);
    model_make_shards(&model, shards);
    return &model;
}

Test(plan, a_healthy_cluster_is_left_alone)
{
    struct model *model = fresh(2, 4, 1);

    model->bytes = 5000000;
    cr_assert(model_settle(model, 20, 10));
    cr_assert_eq(model->started + model->splits + model->merges, 0);
    model_done(model);
}

Test(plan, the_shard_with_fewest_copies_comes_first)
{
    struct model *model = fresh(3, 8, 16);

    model->bytes = 50000000;
    model_step(model);
    model_kill(model, 0);
    model_kill(model, 1);
    model->picture->servers[0].failed = model->picture->servers[1].failed = true;
    plan_make(model->picture, &model->rules, model->now_us, &model->plan);
    cr_assert_gt(model->plan.count, 2);
    for (uint32_t i = 1, copies = 0; i < model->plan.count && model->plan.actions[i].reason == PLAN_FEW_COPIES; i++) {
        const struct team *team = teams_at(&model->picture->teams, model->picture->shards[model->plan.actions[i].shard]->source);

        cr_assert_geq(team->health.zones, copies);
        copies = team->health.zones;
    }
    cr_assert_eq(model->plan.summary.copies_min, 1);
    cr_assert(model_settle(model, 300, 15));
    cr_assert(model_is_healthy(model));
    model_done(model);
}

Test(plan, a_server_that_does_not_answer_for_a_while_is_not_replaced)
{
    struct model *model = fresh(2, 4, 8);

    model->bytes = 50000000;
    model_kill(model, 2);
    for (unsigned i = 0; i < 5; i++)
        model_step(model);
    cr_assert_eq(model->started, 0);
    cr_assert_eq(model->plan.summary.copies_min, 2);
    cr_assert_eq(model->plan.summary.reachable_min, 1, "status shows it at once");
    model_return(model, 2);
    cr_assert(model_settle(model, 20, 15));
    cr_assert_eq(model->started, 0);
    model_done(model);
}

Test(plan, without_another_zone_a_dead_servers_copy_is_kept_and_counted)
{
    struct model *model = fresh(3, 3, 4);

    model->rules.shards_per_server_min = 10; /* no merges */
    model_kill(model, 1);
    for (unsigned i = 0; i < 20; i++)
        model_step(model);
    cr_assert_eq(model->started, 0);
    cr_assert_eq(model->plan.summary.stuck, 5, "%zu", model->plan.summary.stuck);
    cr_assert_eq(model->plan.summary.zones, 2);
    cr_assert_eq(model->plan.summary.copies_min, 2);
    model_add_server(model, 2000, 7);
    cr_assert(model_settle(model, 100, 15));
    cr_assert(model_is_healthy(model));
    model_done(model);
}

Test(plan, an_excluded_server_is_emptied_and_may_then_go)
{
    struct model *model = fresh(2, 4, 16);

    model->bytes = 100000000;
    model->picture->servers[3].excluded = true;
    model_step(model);
    cr_assert(!plan_may_remove(model->picture, &model->plan.summary, 3));
    cr_assert(model_settle(model, 200, 15));
    cr_assert(model_is_healthy(model));
    cr_assert(plan_may_remove(model->picture, &model->plan.summary, 3));
    model_done(model);
}

/* How many moves the first plan orders for a server to be emptied of 100 shards of that size. */
static uint32_t moves_at_once(double shard_bytes)
{
    struct model *model = fresh(1, 4, 400);
    uint32_t moves;

    model->bytes = 400 * shard_bytes;
    model->rules.balance = false;
    model->rules.moves_max = model->rules.moves_per_source = model->rules.moves_per_destination = 250;
    model->rules.move_bytes_per_server = 100000000;
    model_step(model);
    model->picture->servers[3].excluded = true;
    plan_make(model->picture, &model->rules, model->now_us, &model->plan);
    moves = model->plan.count;
    model_done(model);
    return moves;
}

Test(plan, many_small_shards_move_at_once_and_few_large_ones)
{
    cr_assert_geq(moves_at_once(100000), 100);
    cr_assert_eq(moves_at_once(20000000), 5, "what is under way from one server is bounded by bytes");
    cr_assert_eq(moves_at_once(400000000), 1, "and one at least moves, however large");
}

/* Twelve servers, each its own zone, in two data centres of two halls of three racks; neighbours share most. */
static struct model *placed(uint32_t replication)
{
    struct model *model = fresh(replication, 12, 48);

    for (uint32_t i = 0; i < 12; i++) {
        struct picture_server *server = &model->picture->servers[i];

        server->data_center = 1 + i / 6;
        server->hall = 10 + i / 3;
        server->rack = 100 + i;
    }
    model->bytes = 3e8;
    return model;
}

static void all_stand_as_near_as(struct model *model, uint32_t nearness)
{
    cr_assert(model_settle(model, 3000, 15));
    cr_assert(model_is_healthy(model));
    for (size_t i = 0; i < model->picture->shard_count; i++)
        cr_assert_eq(planning_nearness(model->picture, teams_at(&model->picture->teams, model->picture->shards[i]->source)), nearness);
    cr_assert_lt(model_worst_bytes(model), 1.5);
}

Test(plan, copies_are_spread_over_data_centres_then_halls_then_racks)
{
    struct team one_data_center = {.servers = {0, 3}, .count = 2};
    struct model *model = placed(2);

    all_stand_as_near_as(model, 0);
    model_done(model);
    model = placed(3);
    all_stand_as_near_as(model, planning_nearness(model->picture, &one_data_center)); /* one pair shares it, and no hall */
    model_done(model);
}

Test(plan, a_load_is_balanced_without_bringing_copies_together)
{
    struct model *model = placed(2);

    model->bytes = 3e9;
    model->reads_at = model->writes_at = model_hot_range;
    model->reads = model->writes = 20e6;
    all_stand_as_near_as(model, 0);
    cr_assert_lt(model_worst_load(model), 1.5);
    model_done(model);
}

Test(plan, a_heal_keeps_the_copies_apart)
{
    struct model *model = placed(2);

    all_stand_as_near_as(model, 0);
    model_kill(model, 7);
    all_stand_as_near_as(model, 0);
    model_done(model);
}

Test(plan, excluding_all_of_the_other_zones_changes_nothing)
{
    struct model *model = fresh(2, 3, 4);

    model->picture->servers[1].excluded = model->picture->servers[2].excluded = true;
    for (unsigned i = 0; i < 30; i++)
        model_step(model);
    for (size_t i = 0; i < model->picture->shard_count; i++)
        cr_assert_eq(teams_at(&model->picture->teams, model->picture->shards[i]->source)->count, 2);
    cr_assert_gt(model->plan.summary.stuck, 0);
    model_done(model);
}

Test(plan, two_copies_of_one_zone_are_parted)
{
    struct model *model = fresh(2, 4, 4);
    uint32_t same[2] = {0, 1};

    model->picture->servers[1].zone = model->picture->servers[0].zone;
    picture_set_shard(model->picture, bytes_none(), same, 2, NULL, 0, ++model->version);
    model_step(model);
    cr_assert_eq(model->plan.actions[0].reason, PLAN_SAME_ZONE);
    cr_assert(model_settle(model, 100, 15));
    cr_assert(model_is_healthy(model));
    model_done(model);
}

Test(plan, single_to_triple_to_double)
{
    struct model *model = fresh(1, 5, 20);

    model->bytes = 100000000;
    model->rules.replication = 3;
    cr_assert(model_settle(model, 400, 15));
    cr_assert(model_is_healthy(model));
    model->rules.replication = 2;
    model_step(model);
    cr_assert_eq(model->plan.actions[0].reason, PLAN_TEAM_SIZE);
    cr_assert(model_settle(model, 400, 15));
    cr_assert(model_is_healthy(model));
    model_done(model);
}

Test(plan, another_engine_comes_server_by_server)
{
    struct model *model = fresh(2, 3, 12);
    uint32_t emptied = 0;

    model->bytes = 100000000;
    model->rules.engine = ENGINE_MEMORY;
    for (unsigned round = 0; round < 3; round++) {
        uint32_t old;

        model_step(model);
        cr_assert_neq(model->plan.summary.draining, 0);
        old = model->plan.summary.draining - 1;
        /* The distributor recruits one beside it, in the same zone. */
        model->picture->servers[model_add_server(model, 5000 + round, (uint32_t)model->picture->servers[old].zone - 1)].engine =
            ENGINE_MEMORY;
        cr_assert(model_settle(model, 300, 15));
        cr_assert(plan_may_remove(model->picture, &model->plan.summary, old));
        picture_forget_candidates(model->picture);
        picture_forget_server(model->picture, old);
        emptied++;
    }
    cr_assert_eq(emptied, 3);
    model_step(model);
    cr_assert_eq(model->plan.summary.draining, 0);
    cr_assert(model_is_healthy(model));
    model_done(model);
}

Test(plan, a_move_that_was_begun_goes_on_to_where_it_went)
{
    struct model *model = fresh(2, 4, 4);
    uint32_t source[2] = {0, 1}, destination[2] = {2, 3};

    picture_set_shard(model->picture, bytes_none(), source, 2, destination, 2, ++model->version);
    model_step(model);
    cr_assert_eq(model->plan.actions[0].reason, PLAN_RESUME);
    cr_assert_eq(model->plan.actions[0].kind, PLAN_MOVE);
    cr_assert(team_has(teams_at(&model->picture->teams, model->picture->shards[0]->destination), 2) || model->finished == 1);
    model_done(model);
}

Test(plan, a_move_whose_destination_died_is_taken_back_or_sent_elsewhere)
{
    struct model *model = fresh(2, 4, 4);
    uint32_t source[2] = {0, 1}, destination[2] = {0, 3};

    picture_set_shard(model->picture, bytes_none(), source, 2, destination, 2, ++model->version);
    model_kill(model, 3);
    model->picture->servers[3].failed = true;
    model_step(model);
    cr_assert_eq(model->cancelled, 1);
    picture_set_shard(model->picture, bytes_none(), destination, 2, source, 2, ++model->version);
    cr_assert(model_settle(model, 100, 15));
    cr_assert(model_is_healthy(model));
    model_done(model);
}

/* ---- sizes ---- */

Test(plan, shards_grow_and_are_split_and_shrink_and_are_merged)
{
    struct model *model = fresh(2, 5, 1);
    size_t many;

    model->bytes = 2e9;
    cr_assert(model_settle(model, 1000, 15));
    many = model->picture->shard_count;
    cr_assert(many >= 200 && many <= 900, "%zu shards", many);
    for (size_t i = 0; i < many; i++)
        cr_assert_leq(model->picture->shards[i]->bytes, model->plan.summary.split_bytes);
    model->bytes = 1e7;
    cr_assert(model_settle(model, 3000, 15));
    cr_assert_lt(model->picture->shard_count, many / 10);
    cr_assert(model_is_healthy(model));
    model_done(model);
}

/* Each round makes up to PLAN_CUTS_MAX + 1 pieces of every one there is, all alike: not so many off the front of what is left. */
Test(plan, what_comes_into_one_shard_is_cut_to_pieces_within_a_few_rounds)
{
    struct model *model = fresh(2, 8, 1);

    model->bytes = 50e9;
    model->rules.shard_bytes_max = 25000000; /* 2,000 pieces */
    model->rules.balance_percent = 10000; /* nothing is moved */
    model_step(model);
    cr_assert_leq(model->picture->shard_count, PLAN_CUTS_MAX + 2);
    model_step(model);
    model_step(model);
    cr_assert_geq(model->picture->shard_count, 2000);
    cr_assert_leq(model->picture->shard_count, 4001);
    for (size_t i = 0; i < model->picture->shard_count; i++)
        cr_assert_leq(model->picture->shards[i]->bytes, model->plan.summary.split_bytes);
    model_done(model);
}

static void weigh(struct model *model, struct bytes begin, int64_t bytes, int64_t writes)
{
    const struct picture_shard *shard = model->picture->shards[picture_find_shard(model->picture, begin)];
    const struct team *team = teams_at(&model->picture->teams, shard->source);

    for (uint32_t k = 0; k < team->count; k++)
        picture_loads(model->picture, team->servers[k], begin, model->version, bytes, writes, 0);
    plan_make(model->picture, &model->rules, model->now_us, &model->plan);
}

static bool is_ordered(const struct model *model, enum plan_kind kind, struct bytes begin)
{
    for (uint32_t i = 0; i < model->plan.count; i++)
        if (model->plan.actions[i].kind == kind && model->plan.actions[i].shard == (size_t)picture_find_shard(model->picture, begin))
            return true;
    return false;
}

/* What a split of the shard map writes lies in the shard map: it would call for the next. */
Test(plan, the_shard_map_is_not_cut_for_what_the_cuts_write)
{
    static const struct bytes below = BYTES_LITERAL("\xff\x02/metrics"), inside = BYTES_LITERAL("\xff/serverKeys/1");
    struct model *model = fresh(2, 4, 1);
    uint32_t team[] = {0, 1};

    model->bytes = 1000000;
    model->rules.shards_per_server_min = 0;
    model->rules.balance_percent = 10000; /* nothing is moved */
    model_step(model);
    weigh(model, KEY_SYSTEM_BEGIN, 5 * model->rules.shard_bytes_min, 100 * model->rules.load_floor);
    cr_assert_not(is_ordered(model, PLAN_SPLIT, KEY_SYSTEM_BEGIN), "it holds the shard map");
    weigh(model, KEY_SYSTEM_BEGIN, PLAN_MAP_SHARD_BYTES + 1, 0);
    cr_assert(is_ordered(model, PLAN_SPLIT, KEY_SYSTEM_BEGIN), "it is too big all the same");
    picture_set_shard(model->picture, below, team, 2, NULL, 0, ++model->version);
    picture_set_shard(model->picture, inside, team, 2, NULL, 0, model->version);
    weigh(model, KEY_SYSTEM_BEGIN, 5 * model->rules.shard_bytes_min, 0);
    cr_assert(is_ordered(model, PLAN_SPLIT, KEY_SYSTEM_BEGIN), "it ends before the shard map");
    weigh(model, below, 5 * model->rules.shard_bytes_min, 0);
    weigh(model, inside, 5 * model->rules.shard_bytes_min, 0);
    cr_assert_not(is_ordered(model, PLAN_SPLIT, below) || is_ordered(model, PLAN_SPLIT, inside));
    cr_assert(is_ordered(model, PLAN_MERGE, below), "two parts of the shard map are small together as long as one of it would be");
    model_done(model);
}

/* Neighbours that go to each other's teams must meet: with three teams in turn, one that has come is not left by the one that it came to. */
Test(plan, merging_ends_however_often_loads_are_looked_at)
{
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct model *model = fresh(2, 3, 1);

        model->random = seed;
        model_make_shards(model, 64);
        model->bytes = 1e5;
        model->rules.shards_per_server_min = 1;
        cr_assert(model_settle(model, 1000, 30), "seed %" PRIu64 ": it goes on for ever", seed);
        cr_assert_leq(model->picture->shard_count, 4);
        cr_assert_leq(model->started, 64, "each move brings a merge, and more were made than there were shards");
        model_done(model);
    }
}

/* Until nothing has been begun for a while: how long that took, less the while. */
static unsigned steps_to_settle(struct model *model)
{
    int64_t from_us = model->now_us;

    cr_assert(model_settle(model, 1000, 30));
    return (unsigned)((model->now_us - from_us) / 1000000) - 30;
}

/* A move takes its time however small it is: two by two, 64 neighbours are one after six rounds. */
Test(plan, small_neighbours_come_together_at_once)
{
    struct model *model = fresh(2, 8, 1);
    unsigned steps;

    model_make_shards(model, 64);
    model->bytes = 1e5;
    model->rules.moves_per_source = model->rules.moves_per_destination = 64;
    steps = steps_to_settle(model);
    cr_assert_leq(steps, 15, "%u steps", steps);
    cr_assert_leq(model->started, 63, "no shard moves twice: %" PRIu64 " moves", model->started);
    cr_assert_leq(model->picture->shard_count, 8 + 1);
    model_done(model);
}

/* Spread one by one and brought together then, each would move twice. */
Test(plan, what_is_to_be_one_shard_is_spread_as_one)
{
    struct model *model = placed(2);

    model->bytes = 1e5;
    cr_assert(model_settle(model, 1000, 30));
    for (size_t i = 0; i < model->picture->shard_count; i++)
        cr_assert_eq(teams_at(&model->picture->teams, model->picture->shards[i]->source)->health.nearness, 0);
    cr_assert_leq(model->started, 48 + 6, "%" PRIu64 " moves of 48 shards", model->started);
    cr_assert_leq(model->picture->shard_count, 12 + 1);
    model_done(model);
}

/* ---- balance ---- */

static void settles_balanced(struct model *model, double bytes_at_most, double load_at_most)
{
    uint64_t moves;

    cr_assert(model_settle(model, 3000, 30), "it did not settle");
    cr_assert(model_is_healthy(model));
    cr_assert_lt(model_worst_bytes(model), bytes_at_most, "bytes: %.2f", model_worst_bytes(model));
    cr_assert_lt(model_worst_load(model), load_at_most, "load: %.2f", model_worst_load(model));
    moves = model->started;
    for (unsigned i = 0; i < 500; i++)
        model_step(model);
    cr_assert_eq(model->started, moves, "what has settled stays");
}

Test(plan, a_new_server_fills_up)
{
    struct model *model = fresh(2, 4, 100);

    model->bytes = 5e9;
    settles_balanced(model, 1.3, 9);
    model_add_server(model, 3000, 9);
    model_add_server(model, 3001, 10);
    settles_balanced(model, 1.3, 9);
    model_done(model);
}

/* Until a move's first transaction has committed the picture's shard has no destination: the next plan is often made before. */
Test(plan, a_move_counts_from_when_it_was_ordered)
{
    struct model *model = fresh(2, 4, 100);
    struct picture *picture = model->picture;
    struct picture_move moves[1000];
    uint32_t count = 0, slot;
    int64_t going = 0;

    model->bytes = 5e9;
    model->rules.moves_max = model->rules.moves_per_source = model->rules.moves_per_destination = 1000;
    settles_balanced(model, 1.3, 9);
    slot = model_add_server(model, 3000, 9);
    for (unsigned plans = 0; plans < 60; plans++) {
        plan_make(picture, &model->rules, model->now_us, &model->plan);
        for (uint32_t i = 0; i < model->plan.count; i++) {
            const struct plan_action *action = &model->plan.actions[i];
            uint32_t team = teams_intern(&picture->teams, action->team, action->team_count);

            cr_assert_eq(action->kind, PLAN_MOVE);
            going += team_has(teams_at(&picture->teams, team), slot) ? picture->shards[action->shard]->bytes : 0;
            picture_move_begin(picture, picture->shards[action->shard], team, &moves[count++]);
            teams_unref(&picture->teams, team);
        }
    }
    cr_assert_gt(count, 0);
    cr_assert_leq(going, (int64_t)(model->bytes * 2 / 5), "%" PRId64 " bytes go to one of five servers", going);
    while (count > 0)
        picture_move_end(picture, &moves[--count]);
    model_done(model);
}

/* The two that have all are equally full, to the byte; nothing reads or writes. */
Test(plan, a_third_server_fills_up_beside_two_that_have_everything)
{
    struct model *model = fresh(2, 2, 200);

    model->bytes = 2e9;
    model->reads = model->writes = 0;
    cr_assert(model_settle(model, 1000, 30));
    model_add_server(model, 3000, 9);
    settles_balanced(model, 1.3, 9);
    model_done(model);
}

Test(plan, a_hot_range_is_spread)
{
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct model *model = fresh(seed == 3 ? 2 : 1, 4, 64);

        model->random = seed;
        model->bytes = 1e9;
        model->reads_at = model_hot_range;
        model->writes_at = seed == 2 ? model_hot_range : model_uniform;
        model->reads = 50e6;
        model->writes = 5e6;
        settles_balanced(model, 1.5, 1.3);
        model_done(model);
    }
}

Test(plan, a_zipf_load_is_spread)
{
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct model *model = fresh((uint32_t)seed, 6, 64);

        model->random = seed;
        model->bytes = 3e9;
        model->reads_at = model->writes_at = model_zipf;
        model->reads = 80e6;
        model->writes = 10e6;
        settles_balanced(model, 1.5, 1.3);
        model_done(model);
    }
}

Test(plan, measurements_that_waver_move_little)
{
    struct model *model = fresh(2, 6, 64);
    uint64_t before, moved;

    model->bytes = 3e9;
    model->reads = model->writes = 20e6;
    cr_assert(model_settle(model, 2000, 30));
    before = model->started;
    for (unsigned i = 0; i < 1000; i++) {
        model->reads = 20e6 * (0.9 + (double)draw_below(&model->random, 200) / 1000);
        model->writes = 20e6 * (0.9 + (double)draw_below(&model->random, 200) / 1000);
        model_step(model);
    }
    moved = model->started - before;
    cr_assert_lt(moved, 10, "%llu moves", (unsigned long long)moved);
    model_done(model);
}

/* ---- whatever happens ---- */

static void trouble(struct model *model, uint32_t servers, uint64_t *next_id)
{
    uint32_t slot = (uint32_t)draw_below(&model->random, servers), dead = 0;

    for (uint32_t i = 0; i < model->picture->server_count; i++)
        dead += model->dead[i];
    switch (draw_below(&model->random, 12)) {
    case 0:
        if (dead == 0 && !model->picture->servers[slot].excluded)
            model_kill(model, slot);
        break;
    case 1:
    case 2:
        for (uint32_t i = 0; i < servers; i++)
            if (model->dead[i])
                model_return(model, i);
        break;
    case 3:
        model->picture->servers[slot].excluded = !model->picture->servers[slot].excluded;
        break;
    case 4:
        if (model->picture->server_count < servers + 4)
            model_add_server(model, ++*next_id, (uint32_t)draw_below(&model->random, 6));
        break;
    case 5:
        model->rules.replication = 1 + (uint32_t)draw_below(&model->random, 3);
        break;
    case 6:
        model->bytes = (double)draw_below(&model->random, 4000) * 1e6;
        break;
    case 7:
        model->reads_at = draw_below(&model->random, 2) ? model_hot_range : model_zipf;
        break;
    default:
        break;
    }
}

static void random_cluster(uint64_t seed)
{
    static struct model model;
    uint32_t servers;
    uint64_t next_id = 100;

    model_init(&model, 1 + (uint32_t)(seed % 3), seed);
    servers = 5 + (uint32_t)draw_below(&model.random, 8);
    for (uint32_t i = 0; i < servers; i++)
        model_add_server(&model, ++next_id, i % 6 < 5 ? i % 5 : i);
    for (uint32_t i = 0; i < servers && seed % 2 == 0; i++) {
        uint64_t place = draw_below(&model.random, 1 << 6);

        model.picture->servers[i].data_center = place % 3; /* 0: not given */
        model.picture->servers[i].hall = place / 4 % 3;
        model.picture->servers[i].rack = place / 16;
    }
    model.bytes = 1e8;
    model.reads = model.writes = 10e6;
    model_make_shards(&model, 1 + (uint32_t)draw_below(&model.random, 50));
    for (unsigned i = 0; i < 300; i++) {
        if (draw_below(&model.random, 5) == 0)
            trouble(&model, servers, &next_id);
        model_step(&model);
    }
    for (uint32_t i = 0; i < model.picture->server_count; i++) {
        if (model.dead[i])
            model_return(&model, i);
        model.picture->servers[i].excluded = false;
    }
    cr_assert(model_settle(&model, 3000, 30), "seed %llu does not settle", (unsigned long long)seed);
    cr_assert(model_is_healthy(&model), "seed %llu", (unsigned long long)seed);
    model_done(&model);
}

Test(plan, random_clusters_end_with_every_shard_whole, .timeout = 100)
{
    for (uint64_t seed = 1; seed <= 40; seed++)
        random_cluster(seed);
}

/* ---- cost ---- */

enum looking { AT_A_HEALTHY_CLUSTER, WHEN_A_TENTH_DIED };

static double plan_us(uint32_t servers, uint32_t shards, enum looking looking, unsigned rounds)
{
    struct model *model = fresh(3, servers, shards);
    struct timespec from, to;

    model->bytes = 50e6 * shards / 10;
    model->rules.shards_per_server_min = shards; /* no merges: what is timed is the looking */
    model_step(model);
    for (uint32_t i = 0; i < servers && looking == WHEN_A_TENTH_DIED; i += 10)
        model->picture->servers[i].failed = true;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
    for (unsigned i = 0; i < rounds; i++)
        plan_make(model->picture, &model->rules, model->now_us, &model->plan);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
    cr_assert_eq(model->plan.count > 0, looking == WHEN_A_TENTH_DIED);
    model_done(model);
    return ((double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec)) / 1000 / rounds;
}

/* To look at, beside each other: a time is no pass or fail. */
Test(plan, shows_what_it_costs_by_the_number_of_shards)
{
    static const char *const names[] = {"a plan", "a plan after the death of every tenth"};

    for (int looking = AT_A_HEALTHY_CLUSTER; looking <= WHEN_A_TENTH_DIED; looking++) {
        double small = plan_us(100, 1000, (enum looking)looking, 50), large = plan_us(100, 10000, (enum looking)looking, 20);
        double huge = plan_us(100, 100000, (enum looking)looking, 3); /* shown: a machine's caches end somewhere */

        printf("%s for 100 servers takes %.0f us with 1,000 shards, %.0f us with 10,000, %.0f us with 100,000\n", names[looking], small,
               large, huge);
    }
}

/* Counted, not timed: each pass over the shards is one look at each. */
Test(plan, a_plan_looks_at_each_shard_a_few_times_however_many_there_are)
{
    for (unsigned dead = 0; dead <= 1; dead++) {
        uint64_t looks[2];

        for (unsigned i = 0; i < 2; i++) {
            struct model *model = fresh(3, 100, i == 0 ? 1000 : 100000);

            model->bytes = 5e9;
            model_step(model);
            for (uint32_t k = 0; k < 100 && dead; k += 10)
                model->picture->servers[k].failed = true;
            plan_make(model->picture, &model->rules, model->now_us, &model->plan);
            looks[i] = model->plan.summary.looks / model->picture->shard_count;
            model_done(model);
        }
        cr_assert_geq(looks[1], 4, "it does look");
        cr_assert_leq(looks[1], looks[0], "%" PRIu64 " looks a shard, and %" PRIu64 " where there are a hundred times as many", looks[0], looks[1]);
        cr_assert_leq(looks[1], 25);
    }
}

/* All that is allocated for shards and their teams, as the C library counts it (a sanitizer's does not: then it is 0). */
Test(plan, a_shard_takes_at_most_200_bytes)
{
    enum { SHARDS = 10000 };
    struct model *model = fresh(3, 100, 1);
    size_t before = mallinfo2().uordblks, taken;

    model_make_shards(model, SHARDS);
    model_step(model);
    taken = mallinfo2().uordblks - before;
    printf("a shard takes %zu bytes in the data distributor, its key of 8 bytes and its team included\n", taken / SHARDS);
    cr_assert_leq(taken, (size_t)200 * SHARDS);
    cr_assert_leq(PICTURE_SHARD_BYTES + sizeof(struct picture_shard *), 200);
    model_done(model);
}
