/* What a storage server gave up goes, in slices, and nothing else does. */
#include "tests/unit/roles/moves_bench.h"

static unsigned keys_in(struct lab *lab, struct bytes begin, struct bytes end)
{
    struct storage_server *storage = lab_server(lab);
    struct engine_cursor *cursor;
    struct bytes key, value;
    unsigned count = 0;
    bool found;

    cr_assert_eq(engine_cursor_open(storage->engine, false, &cursor), 0);
    cr_assert_eq(engine_cursor_seek(cursor, begin, &found, &key, &value), 0);
    for (; found && bytes_compare(key, end) < 0; count++)
        cr_assert_eq(engine_cursor_next(cursor, &found, &key, &value), 0);
    engine_cursor_close(cursor);
    engine_release(storage->engine);
    return count;
}

/* [k20, k99) has been fetched, and lies in the engine. */
static void begin(struct bench *bench, uint64_t seed)
{
    struct lab *lab = &bench->lab;

    bench_init(bench, seed, false);
    lab->world->knobs.storage_sweep_bytes = 1;
    sim_process_stop(lab->storage, SIM_KILL);
    sim_process_boot(lab->storage); /* with that knob */
    finish(lab, assign(lab, OWN_END, MOVED_END, SERVER_KEYS_FETCH));
    idle(lab, 12);
    cr_assert_gt(keys_in(lab, OWN_END, MOVED_END), 5);
}

Test(sweep, what_was_given_up_goes_a_key_a_slice)
{
    struct bench bench;
    struct lab *lab = &bench.lab;
    unsigned before, kept;

    begin(&bench, 60);
    before = keys_in(lab, OWN_END, MOVED_END);
    kept = keys_in(lab, bytes_none(), OWN_END);
    assign(lab, OWN_END, MOVED_END, SERVER_KEYS_NONE);
    lab_run(lab, 2 * SIM_SECOND_US);
    cr_assert_eq(keys_in(lab, OWN_END, MOVED_END), before, "a roll-back could still make it ours");
    idle(lab, 12);
    cr_assert_eq(keys_in(lab, OWN_END, MOVED_END), 0);
    cr_assert_eq(keys_in(lab, bytes_none(), OWN_END), kept);
    if (lab->engine == ENGINE_LMDB)
        cr_assert_geq(lab_server(lab)->sweep.slices, before);
    cr_assert_not(lab_server(lab)->sweep.wanted);
    bench_done(&bench);
}

Test(sweep, a_server_that_is_killed_goes_on_when_it_is_back)
{
    struct bench bench;
    struct lab *lab = &bench.lab;

    begin(&bench, 61);
    assign(lab, OWN_END, MOVED_END, SERVER_KEYS_NONE);
    for (int i = 0; i < 4; i++) {
        idle(lab, 2);
        sim_process_stop(lab->storage, i % 2 == 0 ? SIM_KILL : SIM_POWER_OFF);
        sim_process_boot(lab->storage);
    }
    idle(lab, 12);
    cr_assert_eq(keys_in(lab, OWN_END, MOVED_END), 0);
    for (unsigned key = 0; key < 20; key++)
        cr_assert(lab_check_get(lab, key, lab->newest), "%u", key);
    bench_done(&bench);
}

Test(sweep, what_a_roll_back_gives_back_is_all_there)
{
    for (int fetches = 0; fetches < 2; fetches++) {
        struct bench bench;
        struct lab *lab = &bench.lab;
        struct bytes middle = BYTES_LITERAL("k30");
        version_t committed;

        begin(&bench, 62);
        assign(lab, middle, MOVED_END, SERVER_KEYS_NONE);
        committed = lab->newest;
        lab_commit(lab, committed);
        assign(lab, OWN_END, middle, SERVER_KEYS_NONE); /* nobody ever commits it */
        if (fetches)
            assign(lab, OWN_END, middle, SERVER_KEYS_FETCH);
        for (int i = 0; i < 8; i++) {
            lab_push_empty(lab, VERSIONS_PER_SECOND);
            lab_run(lab, SIM_SECOND_US);
        }
        cr_assert_eq(lab_server(lab)->durable, committed);
        cr_assert_eq(keys_in(lab, middle, MOVED_END), 0, "a round was gone");
        lab_recover(lab, committed);
        lab_describe(lab);
        idle(lab, 2);
        for (unsigned key = 0; key < 30; key++)
            cr_assert(lab_check_get(lab, key, lab->newest), "%u", key);
        bench_done(&bench);
    }
}

Test(sweep, a_range_that_comes_back_while_it_is_swept_is_whole)
{
    for (uint64_t seed = 63; seed < 73; seed++) {
        struct bench bench;
        struct lab *lab = &bench.lab;

        begin(&bench, seed);
        if (seed % 2 == 0)
            go_straight(lab);
        assign(lab, OWN_END, MOVED_END, SERVER_KEYS_NONE);
        for (uint64_t i = 0; i < seed - 60; i++) {
            lab_push_random(lab, VERSIONS_PER_SECOND / 2);
            lab_commit(lab, lab->newest);
            lab_run(lab, SIM_SECOND_US / 2);
        }
        finish(lab, assign(lab, OWN_END, MOVED_END, SERVER_KEYS_FETCH));
        idle(lab, 8);
        compare(lab);
        bench_done(&bench);
    }
}
