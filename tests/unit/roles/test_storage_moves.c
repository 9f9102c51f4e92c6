/* Shards that come to a storage server from others, whatever happens meanwhile. [k20, k40) moves, [, k20) is the server's. */
#include "tests/unit/roles/storage_source.h"

#include "sim/buggify.h"

#define OWN_END BYTES_LITERAL("k20")
#define MOVED_END BYTES_LITERAL("k99")

struct bench {
    struct lab lab;
    struct lab_source source;
};

static uint64_t draw(struct lab *lab, uint64_t below)
{
    return sim_random_below(&lab->world->workload, below);
}

static version_t assign(struct lab *lab, struct bytes begin, struct bytes end, enum server_keys_state state)
{
    struct bytes_buffer table = {0};

    lab_assign(&table, begin, end, state);
    lab_push(lab, lab->newest + 10, &table);
    return lab->newest;
}

/* A server with half of the keys, all of which have values of before. */
static void bench_init(struct bench *bench, uint64_t seed, bool buggify)
{
    struct lab *lab = &bench->lab;

    lab_init(lab, seed, seed % 2 == 0 ? ENGINE_LMDB : ENGINE_MEMORY, buggify);
    source_init(&bench->source, lab);
    assign(lab, bytes_none(), OWN_END, SERVER_KEYS_OWNED_EMPTY);
    for (unsigned key = 0; key < LAB_KEYS; key += 1 + key % 3)
        lab_push_set(lab, 10, key, "before");
    lab_commit(lab, lab->newest);
    lab_catch_up(lab);
    if (buggify)
        lab->world->buggify->quiet = false;
}

static void bench_done(struct bench *bench)
{
    source_done(&bench->source);
    lab_done(&bench->lab);
}

/* Versions for `seconds` of real time, all committed. */
static void idle(struct lab *lab, unsigned seconds)
{
    for (unsigned i = 0; i < seconds; i++) {
        lab_push_empty(lab, VERSIONS_PER_SECOND);
        lab_commit(lab, lab->newest);
        lab_run(lab, SIM_SECOND_US);
    }
}

static int ask_progress_of(struct lab *lab, version_t version, int64_t wait_us, bool heals, bool *ret_ready)
{
    struct message *request, *reply;
    struct get_shard_progress *m = MESSAGE_NEW(get_shard_progress, &request);
    int error;

    *m = (struct get_shard_progress){.begin = OWN_END, .end = MOVED_END, .version = version, .wait_us = wait_us, .heals = heals};
    reply = lab_ask(lab, request, &error);
    *ret_ready = error == 0 && MESSAGE_BODY(shard_progress, reply)->ready;
    cr_assert(error != 0 || MESSAGE_BODY(shard_progress, reply)->version >= version);
    message_unref(reply);
    return error;
}

static int ask_progress(struct lab *lab, version_t version, int64_t wait_us, bool *ret_ready)
{
    return ask_progress_of(lab, version, wait_us, false, ret_ready);
}

static bool is_ready(struct lab *lab, version_t version)
{
    bool ready;
    int error = ask_progress(lab, version, 0, &ready);

    cr_assert(error == 0 || error == ERROR_FUTURE_VERSION || error == ERROR_CONNECTION_FAILED || error == ERROR_REQUEST_MAYBE_DELIVERED ||
              error == ERROR_BROKEN_PROMISE, "%s", error_name(error));
    return ready;
}

/* Time passes until the move that began at `version` may be finished; it is. */
static void finish(struct lab *lab, version_t version)
{
    for (int i = 0; !is_ready(lab, version); i++) {
        cr_assert_lt(i, 40, "not fetched after 40 s");
        idle(lab, 1);
    }
    assign(lab, OWN_END, MOVED_END, SERVER_KEYS_READY);
    lab_commit(lab, lab->newest);
    lab_catch_up(lab);
}

static void compare(struct lab *lab)
{
    cr_assert_eq(lab->ended, 0, "%s", error_name(lab->ended));
    for (unsigned key = 0; key < LAB_KEYS; key++)
        cr_assert(lab_check_get(lab, key, lab->newest), "k%02u", key);
    cr_assert(lab_check_range(lab, 0, LAB_KEYS, lab->newest, 0, false));
    cr_assert(lab_check_range(lab, 0, LAB_KEYS, lab->newest, 3, true));
}

static struct moves *moves_of(struct lab *lab)
{
    return &lab_server(lab)->moves;
}

/* Commits and runs until a chunk is being held. */
static void until_held(struct bench *bench)
{
    for (int i = 0; list_empty(&bench->source.held); i++) {
        cr_assert_lt(i, 100);
        lab_commit(&bench->lab, bench->lab.newest);
        lab_run(&bench->lab, 20000);
    }
}

/* A move whose first chunk was asked for, and is held back by the source. The version of its assignment. */
static version_t begin_held(struct bench *bench)
{
    version_t version;

    bench->source.moods[0] = bench->source.moods[1] = SOURCE_HOLDS;
    version = assign(&bench->lab, OWN_END, MOVED_END, SERVER_KEYS_FETCH);
    until_held(bench);
    return version;
}

/* From here on chunks go into the engine, however small they are. */
static void go_straight(struct lab *lab)
{
    lab->world->knobs.storage_fetch_store_bytes = 1;
    lab_server(lab)->env->knobs.storage_fetch_store_bytes = 1;
    idle(lab, 8); /* the window is empty: what was written in the range before is not in the way */
}

/* ---- the way it should go ---- */

Test(moves, a_range_is_fetched_and_serves_nothing_before_it_is_ready)
{
    for (uint64_t seed = 0; seed < 2; seed++) {
        struct bench bench;
        struct lab *lab = &bench.lab;
        struct lab_state state;
        version_t version;

        bench_init(&bench, seed, false);
        version = assign(lab, OWN_END, MOVED_END, SERVER_KEYS_FETCH);
        idle(lab, 2);
        cr_assert_eq(moves_of(lab)->chunks, 1);
        cr_assert_eq(lab_get(lab, 25, lab->newest, &state), ERROR_WRONG_SHARD_SERVER, "fetched, but not ready");
        cr_assert_not(is_ready(lab, version), "and not durable");
        finish(lab, version);
        compare(lab);
        cr_assert_eq(lab_server(lab)->owned->fetching, 0);
        cr_assert(list_empty(&moves_of(lab)->buffer) && list_empty(&moves_of(lab)->fetches));
        bench_done(&bench);
    }
}

Test(moves, what_is_ready_can_be_read_at_every_version_that_is_still_readable)
{
    struct bench bench;
    struct lab *lab = &bench.lab;
    version_t version, before;

    bench_init(&bench, 2, false);
    version = assign(lab, OWN_END, MOVED_END, SERVER_KEYS_FETCH);
    idle(lab, 8);
    lab_push_set(lab, 10, 30, "while it moves");
    before = lab->newest;
    lab_push_set(lab, 10, 30, "later");
    lab_commit(lab, lab->newest);
    finish(lab, version);
    cr_assert(lab_check_get(lab, 30, before), "a version from before READY");
    for (version_t back = 0; back <= 5 * VERSIONS_PER_SECOND; back += VERSIONS_PER_SECOND / 3)
        for (unsigned key = 20; key < LAB_KEYS; key++)
            (void)lab_check_get(lab, key, lab->newest - back);
    compare(lab);
    bench_done(&bench);
}

Test(moves, chunks_of_some_pairs_come_in_one_after_another)
{
    struct bench bench;
    struct lab *lab = &bench.lab;
    version_t version;

    bench_init(&bench, 3, false);
    bench.source.bytes_limit = 1;
    version = assign(lab, OWN_END, MOVED_END, SERVER_KEYS_FETCH);
    for (int i = 0; i < 10; i++) {
        lab_push_random(lab, 1000);
        lab_commit(lab, lab->newest);
        lab_run(lab, 3000);
    }
    finish(lab, version);
    cr_assert_geq(moves_of(lab)->chunks, 8);
    cr_assert_eq(lab_server(lab)->owned->count, 2, "the pieces have become one shard again");
    compare(lab);
    bench_done(&bench);
}

/* ---- straight into the engine ---- */

Test(moves, a_chunk_that_goes_straight_into_the_engine_leaves_the_window_alone)
{
    for (uint64_t seed = 40; seed < 42; seed++) {
        struct bench bench;
        struct lab *lab = &bench.lab;
        version_t version;

        bench_init(&bench, seed, false);
        go_straight(lab);
        version = begin_held(&bench);
        lab_push_add(lab, 10, 21); /* follows the chunk, evaluated over what the engine has of it */
        lab_push_add(lab, 10, 21);
        lab_commit(lab, lab->newest);
        source_release(&bench.source);
        lab_run(lab, 500000);
        cr_assert_eq(moves_of(lab)->chunks, 1);
        cr_assert_eq(moves_of(lab)->stored_chunks, 1);
        cr_assert(storage_window_is_clean(lab_server(lab), BYTES_LITERAL("k22"), MOVED_END));
        cr_assert_not(is_ready(lab, version), "it is ready when FETCHED is durable");
        finish(lab, version);
        compare(lab);
        bench_done(&bench);
    }
}

Test(moves, what_was_given_up_a_moment_ago_is_not_cleared_over_a_chunk_that_comes)
{
    struct bench bench;
    struct lab *lab = &bench.lab;
    version_t version;

    bench_init(&bench, 42, false);
    go_straight(lab);
    version = assign(lab, OWN_END, MOVED_END, SERVER_KEYS_FETCH);
    finish(lab, version);
    cr_assert_eq(moves_of(lab)->stored_chunks, 1);
    assign(lab, OWN_END, MOVED_END, SERVER_KEYS_NONE);
    version = assign(lab, OWN_END, MOVED_END, SERVER_KEYS_FETCH); /* the clear is in the window for 5 s */
    finish(lab, version);
    cr_assert_eq(moves_of(lab)->chunks, 2);
    cr_assert_eq(moves_of(lab)->stored_chunks, 1, "the second one went behind the clear");
    compare(lab);
    bench_done(&bench);
}

Test(moves, a_server_that_goes_while_a_chunk_is_stored_fetches_it_again)
{
    for (int64_t us = 0; us < 4000; us += 250) {
        struct bench bench;
        struct lab *lab = &bench.lab;
        version_t version;

        bench_init(&bench, 43 + (uint64_t)us, false);
        go_straight(lab);
        version = assign(lab, OWN_END, MOVED_END, SERVER_KEYS_FETCH);
        lab_commit(lab, lab->newest);
        for (int i = 0; bench.source.asked[0] + bench.source.asked[1] == 0; i++) {
            cr_assert_lt(i, 1000);
            lab_run(lab, 200);
        }
        lab_run(lab, us);
        sim_process_stop(lab->storage, SIM_KILL);
        sim_process_boot(lab->storage);
        lab_push_random(lab, 10);
        finish(lab, version);
        compare(lab);
        bench_done(&bench);
    }
}

/* ---- each mutation once ---- */

Test(moves, an_add_counts_once_whenever_it_comes)
{
    struct bench bench;
    struct lab *lab = &bench.lab;
    version_t version;

    bench_init(&bench, 4, false);
    lab_push_add(lab, 10, 21);
    version = begin_held(&bench);
    lab_push_add(lab, 10, 21); /* above the chunk's version, before it comes */
    lab_push_add(lab, 10, 21);
    lab_run(lab, 10000);
    cr_assert_eq(moves_of(lab)->buffer_bytes > 0, true);
    source_release(&bench.source);
    lab_run(lab, 100000);
    cr_assert_eq(moves_of(lab)->chunks, 1);
    lab_push_add(lab, 10, 21); /* behind it */
    lab_commit(lab, lab->newest);
    finish(lab, version);
    compare(lab);
    bench_done(&bench);
}

Test(moves, what_the_chunk_holds_already_is_not_applied_again)
{
    struct bench bench;
    struct lab *lab = &bench.lab;
    version_t version;

    bench_init(&bench, 5, false);
    version = assign(lab, OWN_END, MOVED_END, SERVER_KEYS_FETCH);
    lab_run(lab, 20000);
    cr_assert_eq(bench.source.asked[0] + bench.source.asked[1], 0, "the move is not known to be committed");
    for (int i = 0; i < 30; i++) /* at or below the version of the chunk that will be asked for */
        lab_push_random(lab, 10);
    lab_run(lab, 20000);
    cr_assert_gt(moves_of(lab)->buffer_bytes, 0);
    lab_commit(lab, lab->newest - 100); /* and some above it */
    finish(lab, version);
    compare(lab);
    bench_done(&bench);
}

Test(moves, a_clear_across_what_is_here_and_what_is_fetched_clears_both)
{
    struct bench bench;
    struct lab *lab = &bench.lab;
    version_t version;

    bench_init(&bench, 6, false);
    version = begin_held(&bench);
    lab_push_clear(lab, 10, 10, 30);
    lab_push_set(lab, 10, 25, "after the clear");
    lab_push_clear(lab, 10, 35, 40);
    lab_push_set(lab, 10, 12, "too");
    lab_catch_up(lab);
    cr_assert(lab_check_range(lab, 0, 20, lab->newest, 0, false), "what is here is cleared at once");
    source_release(&bench.source);
    finish(lab, version);
    compare(lab);
    bench_done(&bench);
}

Test(moves, two_ranges_at_a_time_take_each_their_own_part_of_what_was_written)
{
    struct bench bench;
    struct lab *lab = &bench.lab;
    struct bytes_buffer table = {0};
    version_t version;

    bench_init(&bench, 33, false);
    bench.source.moods[0] = bench.source.moods[1] = SOURCE_HOLDS;
    lab_assign(&table, OWN_END, BYTES_LITERAL("k30"), SERVER_KEYS_FETCH);
    lab_push(lab, lab->newest + 10, &table);
    until_held(&bench); /* keeps the buffer from being pruned */
    table = (struct bytes_buffer){0};
    lab_assign(&table, BYTES_LITERAL("k30"), MOVED_END, SERVER_KEYS_FETCH);
    lab_push(lab, lab->newest + 10, &table);
    version = lab->newest;
    for (int i = 0; i < 50; i++)
        lab_push_add(lab, 10, i % 2 == 0 ? 21 : 35);
    lab_catch_up(lab);
    lab_commit(lab, lab->newest);
    lab_run(lab, 100000);
    cr_assert_eq(bench.source.asked[0] + bench.source.asked[1], 2);
    /* the second chunk has them all, and the buffer too */
    source_release(&bench.source);
    lab_run(lab, 100000);
    cr_assert_eq(moves_of(lab)->chunks, 2);
    finish(lab, version);
    compare(lab);
    bench_done(&bench);
}

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

Test(moves, an_older_state_that_looks_ready_is_not_told)
{
    struct bench bench;
    struct lab *lab = &bench.lab;
    struct lab_generation *generation;
    version_t version;
    bool ready;

    bench_init(&bench, 31, false);
    finish(lab, assign(lab, OWN_END, MOVED_END, SERVER_KEYS_FETCH));
    cr_assert_eq(ask_progress(lab, lab->newest, 0, &ready), 0);
    cr_assert(ready);
    generation = &lab->generations[lab->generation_count - 1];
    generation->logs[0].silent = generation->logs[1].silent = true; /* it lags from here on */
    lab_run(lab, SIM_SECOND_US);
    lab_push_empty(lab, 10); /* answers what waits at a log */
    lab_run(lab, SIM_SECOND_US);
    assign(lab, OWN_END, MOVED_END, SERVER_KEYS_NONE);
    version = assign(lab, OWN_END, MOVED_END, SERVER_KEYS_FETCH);
    cr_assert_eq(ask_progress(lab, version, 200000, &ready), ERROR_FUTURE_VERSION);
    generation->logs[0].silent = generation->logs[1].silent = false;
    finish(lab, version);
    compare(lab);
    bench_done(&bench);
}

Test(moves, progress_is_told_when_there_is_some)
{
    struct bench bench;
    struct lab *lab = &bench.lab;
    int64_t asked_us;
    version_t version;
    bool ready;

    bench_init(&bench, 32, false);
    version = assign(lab, OWN_END, MOVED_END, SERVER_KEYS_FETCH);
    lab_commit(lab, lab->newest);
    asked_us = lab->world->now_us;
    cr_assert_eq(ask_progress(lab, version, 300000, &ready), 0);
    cr_assert(!ready && lab->world->now_us - asked_us >= 300000);
    cr_assert_eq(ask_progress(lab, lab->newest + 1000, 300000, &ready), ERROR_FUTURE_VERSION);
    idle(lab, 8);
    asked_us = lab->world->now_us;
    cr_assert_eq(ask_progress(lab, version, 10000000, &ready), 0);
    cr_assert(ready && lab->world->now_us - asked_us < 100000);
    bench_done(&bench);
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
