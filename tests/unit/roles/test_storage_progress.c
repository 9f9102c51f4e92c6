/* What a storage server says of a move to it. */
#include "tests/unit/roles/moves_bench.h"

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

/* What it says is still to come; -1: nothing can be said of the range. */
static int64_t bytes_left(struct lab *lab, version_t version)
{
    struct message *request, *reply;
    struct get_shard_progress *m = MESSAGE_NEW(get_shard_progress, &request);
    int64_t left = -1;
    int error;

    *m = (struct get_shard_progress){.begin = OWN_END, .end = MOVED_END, .version = version};
    reply = lab_ask(lab, request, &error);
    if (error == 0)
        left = (int64_t)MESSAGE_BODY(shard_progress, reply)->bytes_left;
    message_unref(reply);
    return left;
}

Test(moves, what_is_left_of_a_move_sinks_to_nothing)
{
    struct bench bench;
    struct lab *lab = &bench.lab;
    int64_t left, first = 0, last = INT64_MAX;
    unsigned steps = 0;
    version_t version;

    bench_init(&bench, 33, false);
    bench.source.bytes_limit = 1;
    lab->world->knobs.storage_fetch_bytes_per_second = 100; /* a pair, and a while */
    sim_process_stop(lab->storage, SIM_KILL);
    sim_process_boot(lab->storage);
    version = assign(lab, OWN_END, MOVED_END, SERVER_KEYS_FETCH);
    bench.source.moods[0] = bench.source.moods[1] = SOURCE_HOLDS;
    lab_commit(lab, lab->newest);
    lab_catch_up(lab);
    cr_assert_eq(bytes_left(lab, version), 0, "no source has said anything");
    source_release(&bench.source);
    while (moves_of(lab)->fetch_count > 0) {
        idle(lab, 1);
        left = bytes_left(lab, version);
        cr_assert(left >= 0 && left <= last, "%lld after %lld", (long long)left, (long long)last);
        steps += left < last;
        first = first == 0 ? left : first;
        last = left;
    }
    cr_assert(first > 50 && last == 0 && steps > 3, "from %lld to %lld in %u steps", (long long)first, (long long)last, steps);
    finish(lab, version);
    bench_done(&bench);
}

/* A chunk of one pair of [k00, k20), from the server itself. */
static uint64_t left_behind_a_chunk(struct lab *lab, struct bytes begin)
{
    struct message *request, *reply;
    struct fetch_range *m = MESSAGE_NEW(fetch_range, &request);
    uint64_t left;
    int error;

    *m = (struct fetch_range){.begin = begin, .end = OWN_END, .version = lab->newest, .bytes_limit = 1};
    reply = lab_ask(lab, request, &error);
    cr_assert_eq(error, 0, "%s", error_name(error));
    left = MESSAGE_BODY(fetch_range_reply, reply)->bytes_left;
    message_unref(reply);
    return left;
}

Test(moves, a_source_says_what_is_behind_a_chunk)
{
    struct bench bench;
    uint64_t all, half;

    bench_init(&bench, 35, false);
    byte_sample_done(&lab_server(&bench.lab)->sample);
    cr_assert_eq(byte_sample_init(&lab_server(&bench.lab)->sample, 1), 0); /* it holds every key */
    for (unsigned key = 0; key < 20; key++)
        lab_push_set(&bench.lab, 10, key, "sampled");
    lab_commit(&bench.lab, bench.lab.newest);
    lab_catch_up(&bench.lab);
    all = left_behind_a_chunk(&bench.lab, BYTES_LITERAL("k00"));
    half = left_behind_a_chunk(&bench.lab, BYTES_LITERAL("k10"));
    cr_assert(half > 0 && half < all, "%llu of %llu", (unsigned long long)half, (unsigned long long)all);
    cr_assert_eq(left_behind_a_chunk(&bench.lab, BYTES_LITERAL("k19")), 0);
    bench_done(&bench);
}
