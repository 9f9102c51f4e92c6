/* Shards that come to a storage server from others, as it should go. */
#include "tests/unit/roles/moves_bench.h"

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

Test(moves, what_was_written_to_a_range_before_it_was_given_up_is_not_written_over_a_chunk_that_comes)
{
    for (int written = 0; written < 2; written++) {
        struct bench bench;
        struct lab *lab = &bench.lab;
        version_t version;

        bench_init(&bench, 42, false);
        go_straight(lab);
        version = assign(lab, OWN_END, MOVED_END, SERVER_KEYS_FETCH);
        finish(lab, version);
        cr_assert_eq(moves_of(lab)->stored_chunks, 1);
        idle(lab, 12); /* the window has nothing of it */
        if (written)
            lab_push_set(lab, 10, 30, "kept for 5 s");
        assign(lab, OWN_END, MOVED_END, SERVER_KEYS_NONE);
        version = assign(lab, OWN_END, MOVED_END, SERVER_KEYS_FETCH);
        finish(lab, version);
        cr_assert_eq(moves_of(lab)->chunks, 2);
        cr_assert_eq(moves_of(lab)->stored_chunks, written ? 1 : 2, "the second one goes behind what was written");
        compare(lab);
        bench_done(&bench);
    }
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

Test(moves, chunks_of_several_pieces_are_asked_for_evenly_as_the_rate_allows)
{
    struct bench bench;
    struct lab *lab = &bench.lab;
    uint64_t asked;

    bench_init(&bench, 41, false);
    lab->world->knobs.storage_fetch_bytes_per_second = lab->world->knobs.storage_fetch_chunk_bytes; /* one a second */
    sim_process_stop(lab->storage, SIM_KILL);
    sim_process_boot(lab->storage);
    bench.source.moods[0] = bench.source.moods[1] = SOURCE_HOLDS;
    assign(lab, OWN_END, BYTES_LITERAL("k25"), SERVER_KEYS_FETCH);
    assign(lab, BYTES_LITERAL("k25"), BYTES_LITERAL("k30"), SERVER_KEYS_FETCH);
    assign(lab, BYTES_LITERAL("k30"), BYTES_LITERAL("k35"), SERVER_KEYS_FETCH);
    assign(lab, BYTES_LITERAL("k35"), MOVED_END, SERVER_KEYS_FETCH);
    lab_commit(lab, lab->newest);
    lab_catch_up(lab);
    lab_run(lab, SIM_SECOND_US / 2);
    asked = bench.source.asked[0] + bench.source.asked[1];
    cr_assert_eq(asked, 1, "%llu", (unsigned long long)asked);
    lab_run(lab, 2 * SIM_SECOND_US);
    asked = bench.source.asked[0] + bench.source.asked[1];
    cr_assert(asked == 2 || asked == 3, "%llu", (unsigned long long)asked);
    bench_done(&bench);
}
