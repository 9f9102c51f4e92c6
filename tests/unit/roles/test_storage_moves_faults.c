/* Shards that come to a storage server from others, whatever happens meanwhile. */
#include "tests/unit/roles/moves_bench.h"

/* ---- roll-backs and restarts ---- */

Test(moves, a_roll_back_while_a_chunk_is_on_its_way)
{
    struct bench bench;
    struct lab *lab = &bench.lab;
    version_t version, committed;

    bench_init(&bench, 7, false);
    version = begin_held(&bench);
    committed = lab->newest;
    for (int i = 0; i < 20; i++)
        lab_push_random(lab, 10);
    lab_catch_up(lab);
    lab_recover(lab, committed + 100);
    lab_describe(lab);
    source_release(&bench.source);
    lab_push_random(lab, 10);
    finish(lab, version);
    cr_assert_geq(moves_of(lab)->refused, 1, "what it needs of the buffer is gone");
    compare(lab);
    bench_done(&bench);
}

Test(moves, a_roll_back_takes_a_chunk_out_again)
{
    struct bench bench;
    struct lab *lab = &bench.lab;
    version_t version, committed;

    bench_init(&bench, 8, false);
    version = begin_held(&bench);
    committed = lab->newest;
    for (int i = 0; i < 20; i++)
        lab_push_random(lab, 10);
    lab_catch_up(lab);
    source_release(&bench.source);
    lab_run(lab, 100000);
    cr_assert_eq(moves_of(lab)->chunks, 1);
    cr_assert_eq(lab_server(lab)->owned->fetching, 0);
    lab_recover(lab, committed + 100);
    lab_describe(lab);
    cr_assert_eq(lab_server(lab)->owned->fetching, 1, "it waits to be fetched again");
    lab_push_random(lab, 10);
    finish(lab, version);
    cr_assert_eq(moves_of(lab)->chunks, 2);
    compare(lab);
    bench_done(&bench);
}

Test(moves, a_roll_back_of_the_assignment_leaves_nothing_of_the_move)
{
    struct bench bench;
    struct lab *lab = &bench.lab;
    version_t committed;
    bool ready;

    bench_init(&bench, 9, false);
    committed = lab->newest;
    assign(lab, OWN_END, MOVED_END, SERVER_KEYS_FETCH);
    lab_push_random(lab, 10);
    lab_catch_up(lab);
    lab_recover(lab, committed);
    lab_describe(lab);
    idle(lab, 3);
    cr_assert_eq(ask_progress(lab, lab->newest, 0, &ready), ERROR_WRONG_SHARD_SERVER);
    cr_assert_eq(bench.source.asked[0] + bench.source.asked[1], 0);
    cr_assert(list_empty(&moves_of(lab)->fetches) && list_empty(&moves_of(lab)->buffer));
    bench_done(&bench);
}

Test(moves, after_a_restart_half_of_a_piece_is_not_taken_for_a_whole_one)
{
    for (uint64_t seed = 10; seed < 20; seed++) {
        struct bench bench;
        struct lab *lab = &bench.lab;
        version_t version;

        bench_init(&bench, seed, false);
        bench.source.bytes_limit = 1;
        lab->world->knobs.storage_commit_interval_us = 50000;
        lab->world->knobs.storage_fetch_store_bytes = seed < 15 ? 1 : 65536;
        lab->world->knobs.storage_fetch_bytes_per_second = 60; /* it takes a while */
        sim_process_stop(lab->storage, SIM_KILL);
        sim_process_boot(lab->storage);
        version = assign(lab, OWN_END, MOVED_END, SERVER_KEYS_FETCH);
        for (int kill = 0; kill < 3; kill++) {
            for (unsigned i = 0; i < 3 + seed % 5; i++) {
                lab_push_random(lab, VERSIONS_PER_SECOND);
                lab_commit(lab, lab->newest);
                lab_run(lab, SIM_SECOND_US);
            }
            sim_process_stop(lab->storage, kill % 2 == 0 ? SIM_KILL : SIM_POWER_OFF);
            sim_process_boot(lab->storage);
        }
        finish(lab, version);
        compare(lab);
        bench_done(&bench);
    }
}

Test(moves, what_has_lost_copies_is_fetched_at_the_rate_of_heals_while_somebody_says_so)
{
    struct bench bench;
    struct lab *lab = &bench.lab;
    uint64_t chunks, heals;
    version_t version;
    bool ready;

    bench_init(&bench, 30, false);
    bench.source.bytes_limit = 1;
    lab->world->knobs.storage_fetch_bytes_per_second = 1;
    lab->world->knobs.storage_fetch_store_bytes = 1; /* chunks from the engine do not wait for each other's versions */
    sim_process_stop(lab->storage, SIM_KILL);
    sim_process_boot(lab->storage);
    version = assign(lab, OWN_END, MOVED_END, SERVER_KEYS_FETCH);
    lab_commit(lab, lab->newest);
    lab_catch_up(lab);
    lab_run(lab, 5 * SIM_SECOND_US);
    chunks = moves_of(lab)->chunks;
    cr_assert_leq(chunks, 2, "a pair of more than ten bytes takes as many seconds");
    cr_assert_eq(ask_progress_of(lab, version, SIM_SECOND_US, true, &ready), 0);
    heals = moves_of(lab)->chunks;
    cr_assert_gt(heals, chunks + 4);
    cr_assert_eq(moves_of(lab)->heal_count, moves_of(lab)->fetch_count);
    lab_run(lab, 5 * SIM_SECOND_US);
    cr_assert_leq(moves_of(lab)->chunks, heals + 2, "nobody says so any more");
    bench_done(&bench);
}

/* ---- sources ---- */

static void move_with(uint64_t seed, enum source_mood mood, uint64_t *ret_failures, uint64_t *ret_damaged)
{
    struct bench bench;
    struct lab *lab = &bench.lab;
    version_t version;

    bench_init(&bench, seed, false);
    bench.source.names_server = true;
    bench.source.moods[0] = bench.source.moods[1] = mood;
    version = assign(lab, OWN_END, MOVED_END, SERVER_KEYS_FETCH);
    idle(lab, 3);
    lab_push_random(lab, 10);
    idle(lab, 3);
    cr_assert_eq(moves_of(lab)->chunks, 0);
    cr_assert_gt(bench.source.asked[0], 0);
    cr_assert_gt(bench.source.asked[1], 0, "the other one is asked too");
    cr_assert_leq(bench.source.asked[0] + bench.source.asked[1], 700, "and none of them all the time");
    *ret_failures = moves_of(lab)->failures;
    *ret_damaged = moves_of(lab)->damaged;
    bench.source.moods[1] = SOURCE_WELL;
    finish(lab, version);
    compare(lab);
    bench_done(&bench);
}

Test(moves, a_source_that_fails_is_left_for_another)
{
    static const enum source_mood moods[] = {SOURCE_DEAD, SOURCE_ELSEWHERE, SOURCE_BEHIND, SOURCE_FORGOT};

    for (unsigned i = 0; i < 4; i++) {
        uint64_t failures, damaged;

        move_with(20 + i, moods[i], &failures, &damaged);
        cr_assert_eq(damaged, 0);
    }
}

Test(moves, a_damaged_chunk_never_comes_in)
{
    static const enum source_mood moods[] = {SOURCE_DAMAGED, SOURCE_WRONG_PART};

    for (unsigned i = 0; i < 2; i++) {
        uint64_t failures, damaged;

        move_with(24 + i, moods[i], &failures, &damaged);
        cr_assert_gt(damaged, 1);
    }
}

Test(moves, without_a_proxy_that_answers_it_waits)
{
    struct bench bench;
    struct lab *lab = &bench.lab;
    version_t version;

    bench_init(&bench, 26, false);
    bench.source.proxy_silent = true;
    version = assign(lab, OWN_END, MOVED_END, SERVER_KEYS_FETCH);
    idle(lab, 10);
    cr_assert_eq(moves_of(lab)->chunks, 0);
    cr_assert_lt(bench.source.located, 100);
    bench.source.proxy_silent = false;
    finish(lab, version);
    compare(lab);
    bench_done(&bench);
}

/* ---- what the distributor decides ---- */

Test(moves, a_chunk_waits_for_a_version_that_the_engine_is_not_given)
{
    struct bench bench;
    struct lab *lab = &bench.lab;
    version_t version;

    bench_init(&bench, 34, false);
    lab->world->knobs.storage_memory_bytes_max = 1; /* all that is committed goes to the engine at once */
    sim_process_stop(lab->storage, SIM_KILL);
    sim_process_boot(lab->storage);
    version = begin_held(&bench);
    lab_push_set(lab, 10, 25, "meanwhile");
    lab_commit(lab, lab->newest);
    lab_run(lab, SIM_SECOND_US);
    cr_assert_eq(storage_server_durable_version(lab_server(lab)), lab->newest);
    source_release(&bench.source);
    lab_run(lab, SIM_SECOND_US);
    cr_assert_eq(moves_of(lab)->chunks, 0);
    lab_push_empty(lab, 10);
    lab_run(lab, SIM_SECOND_US);
    cr_assert_eq(moves_of(lab)->chunks, 1);
    finish(lab, version);
    compare(lab);
    bench_done(&bench);
}

Test(moves, a_move_that_is_withdrawn_leaves_nothing)
{
    for (int late = 0; late < 2; late++) {
        struct bench bench;
        struct lab *lab = &bench.lab;
        struct lab_state state;
        version_t version;
        bool ready;

        bench_init(&bench, 27, false);
        bench.source.moods[0] = bench.source.moods[1] = SOURCE_HOLDS;
        version = assign(lab, OWN_END, MOVED_END, SERVER_KEYS_FETCH);
        until_held(&bench);
        if (late == 1)
            source_release(&bench.source);
        lab_run(lab, 100000);
        assign(lab, OWN_END, MOVED_END, SERVER_KEYS_NONE);
        lab_commit(lab, lab->newest);
        lab_run(lab, 100000);
        source_release(&bench.source);
        idle(lab, 3);
        cr_assert_eq(moves_of(lab)->chunks, (uint64_t)late);
        cr_assert_eq(ask_progress(lab, version, 0, &ready), ERROR_WRONG_SHARD_SERVER);
        cr_assert_eq(lab_get(lab, 25, lab->newest, &state), ERROR_WRONG_SHARD_SERVER);
        version = assign(lab, OWN_END, MOVED_END, SERVER_KEYS_FETCH); /* and once more */
        finish(lab, version);
        compare(lab);
        bench_done(&bench);
    }
}

Test(moves, a_chunk_of_an_earlier_assignment_does_not_come_in)
{
    struct bench bench;
    struct lab *lab = &bench.lab;
    version_t version;

    bench_init(&bench, 28, false);
    bench.source.moods[0] = bench.source.moods[1] = SOURCE_HOLDS;
    assign(lab, OWN_END, MOVED_END, SERVER_KEYS_FETCH);
    until_held(&bench);
    assign(lab, OWN_END, MOVED_END, SERVER_KEYS_NONE);
    lab_push_set(lab, 10, 25, "not ours then");
    version = assign(lab, OWN_END, MOVED_END, SERVER_KEYS_FETCH);
    lab_catch_up(lab);
    source_release(&bench.source);
    finish(lab, version);
    cr_assert_geq(moves_of(lab)->refused, 1);
    compare(lab);
    bench_done(&bench);
}

static void ready_early(uint64_t seed, bool fetched)
{
    struct bench bench;
    struct lab *lab = &bench.lab;

    bench_init(&bench, seed, false);
    if (!fetched)
        bench.source.moods[0] = bench.source.moods[1] = SOURCE_DEAD;
    assign(lab, OWN_END, MOVED_END, SERVER_KEYS_FETCH);
    idle(lab, 2);
    cr_assert_eq(moves_of(lab)->chunks, (uint64_t)fetched);
    lab->world->errors_allowed = 1;
    assign(lab, OWN_END, MOVED_END, SERVER_KEYS_READY);
    lab_commit(lab, lab->newest);
    lab_run(lab, SIM_SECOND_US);
    cr_assert_eq(lab->ended, ERROR_WORKER_REMOVED);
    bench_done(&bench);
}

Test(moves, ready_before_it_is_fetched_or_durable_ends_the_server)
{
    ready_early(29, false);
    ready_early(30, true);
}

/* ---- everything at once ---- */

struct mover {
    struct bench *bench;
    enum server_keys_state state; /* as of the newest assignment */
    version_t version;            /* of it */
    enum server_keys_state older[200];
    version_t versions[200];
    unsigned count;
};

static void give(struct mover *mover, enum server_keys_state state)
{
    struct lab *lab = &mover->bench->lab;
    struct bytes_buffer table = {0};

    lab_assign(&table, OWN_END, BYTES_LITERAL("k30"), state);
    lab_assign(&table, BYTES_LITERAL("k30"), MOVED_END, state);
    lab_push(lab, lab->newest + 10, &table);
    mover->version = lab->newest;
    mover->state = state;
    cr_assert_lt(mover->count, 200);
    mover->older[mover->count] = state;
    mover->versions[mover->count++] = mover->version;
}

static void take_back(struct mover *mover, version_t end)
{
    while (mover->count > 0 && mover->versions[mover->count - 1] > end)
        mover->count--;
    mover->state = mover->count == 0 ? SERVER_KEYS_NONE : mover->older[mover->count - 1];
    mover->version = mover->count == 0 ? 0 : mover->versions[mover->count - 1];
}

static void move_on(struct mover *mover)
{
    struct lab *lab = &mover->bench->lab;

    if (mover->state == SERVER_KEYS_NONE)
        give(mover, SERVER_KEYS_FETCH);
    else if (mover->state == SERVER_KEYS_FETCH && draw(lab, 12) == 0)
        give(mover, SERVER_KEYS_NONE);
    else if (mover->state == SERVER_KEYS_FETCH && lab->known_committed >= mover->version && is_ready(lab, mover->version))
        give(mover, SERVER_KEYS_READY);
    else if (mover->state == SERVER_KEYS_READY && draw(lab, 3) == 0)
        give(mover, draw(lab, 2) == 0 ? SERVER_KEYS_NONE : SERVER_KEYS_FETCH);
}

static void something_bad(struct mover *mover)
{
    struct lab *lab = &mover->bench->lab;
    struct lab_source *source = &mover->bench->source;
    version_t end = lab->known_committed + (version_t)draw(lab, (uint64_t)(lab->newest - lab->known_committed) + 1);

    switch (draw(lab, 5)) {
    case 0:
        sim_process_stop(lab->storage, draw(lab, 2) == 0 ? SIM_KILL : SIM_POWER_OFF);
        lab_run(lab, (int64_t)draw(lab, 300000));
        sim_process_boot(lab->storage);
        break;
    case 1:
    case 2:
        if (lab->generation_count + 1 >= LAB_GENERATIONS_MAX)
            break;
        lab_recover(lab, end);
        take_back(mover, end);
        lab_run(lab, (int64_t)draw(lab, 50000));
        lab_describe(lab);
        break;
    case 3:
        source->moods[draw(lab, 2)] = (enum source_mood)draw(lab, SOURCE_WRONG_PART + 1);
        break;
    default:
        source->bytes_limit = (uint32_t)draw(lab, 3) * 20;
        source_release(source);
    }
}

static void live_roughly(uint64_t seed, bool buggify)
{
    struct bench bench;
    struct lab *lab = &bench.lab;
    struct mover mover = {.bench = &bench};

    bench_init(&bench, seed, buggify);
    lab->world->knobs.storage_commit_interval_us = 200000;
    lab->world->knobs.storage_fetch_store_bytes = seed % 2 == 0 ? 1 : 65536;
    if (seed % 3 == 0)
        lab->world->knobs.storage_memory_bytes_max = 100000;
    sim_process_stop(lab->storage, SIM_KILL); /* it takes in the knobs */
    sim_process_boot(lab->storage);
    for (int i = 0; i < 500; i++) {
        lab_push_random(lab, 1 + (version_t)draw(lab, 200000));
        if (draw(lab, 3) == 0)
            lab_commit(lab, lab->newest - (version_t)draw(lab, 2) * (lab->newest - lab->known_committed) / 2);
        lab_run(lab, (int64_t)draw(lab, 60000));
        if (draw(lab, 30) == 0)
            something_bad(&mover);
        if (draw(lab, 5) == 0)
            move_on(&mover);
        (void)lab_check_get(lab, (unsigned)draw(lab, 20), lab->known_committed);
        if (mover.state == SERVER_KEYS_READY && lab->known_committed >= mover.version)
            (void)lab_check_range(lab, 20, LAB_KEYS, lab->known_committed, 0, false);
    }
    source_release(&bench.source);
    lab_commit(lab, lab->newest);
    if (mover.state == SERVER_KEYS_NONE)
        give(&mover, SERVER_KEYS_FETCH);
    lab_commit(lab, lab->newest);
    lab_catch_up(lab);
    if (mover.state == SERVER_KEYS_FETCH)
        finish(lab, mover.version);
    compare(lab);
    cr_assert_eq(storage_server_check(lab_server(lab), NULL, NULL), 0);
    bench_done(&bench);
}

Test(moves, equals_the_model_through_kills_recoveries_and_bad_sources)
{
    for (uint64_t seed = 1000; seed < 1012; seed++)
        live_roughly(seed, false);
}

Test(moves, equals_the_model_when_the_simulator_meddles)
{
    for (uint64_t seed = 1100; seed < 1112; seed++)
        live_roughly(seed, true);
}
