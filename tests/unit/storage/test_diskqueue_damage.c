#include <criterion/criterion.h>
#include <stdlib.h>

#include "net/error.h"
#include "net/mem.h"
#include "tests/unit/draw.h"
#include "tests/unit/nth.h"
#include "tests/unit/storage/diskqueue_bench.h"

/* ---- tearing ---- */

static const char *const first_name = "q/0000000000000000.queue";

enum damage { DAMAGE_GARBAGE, DAMAGE_ZERO, DAMAGE_FLIP, DAMAGES };

static void damage_from(struct fake_disk *disk, size_t offset, size_t len, enum damage how)
{
    struct fake_content *content = fake_disk_content(disk, first_name);

    for (size_t i = offset; i < offset + len && i < content->len; i++)
        content->ptr[i] = how == DAMAGE_ZERO ? 0 : how == DAMAGE_FLIP ? content->ptr[i] ^ 0x10 : (uint8_t)(i * 131 + 7);
}

/* Frames 1..6 are durable and known so; 7..9 form the last batch, of which nobody may know. */
static uint64_t make_torn_case(struct bench *bench, uint64_t *ret_end)
{
    uint64_t position, synced_known;

    bench_init(bench, 8192, 8192);
    for (uint64_t i = 1; i <= 6; i++)
        add(bench, i, 40);
    synced_known = diskqueue_end(bench->queue);
    for (uint64_t i = 7; i <= 9; i++)
        cr_assert_eq(append(bench, i, 60, &position), 0);
    commit_all(bench);
    *ret_end = diskqueue_end(bench->queue);
    bench_close(bench);
    return synced_known;
}

static void expect_prefix_then_go_on(struct bench *bench, uint64_t at_least)
{
    uint64_t last;

    cr_assert_eq(bench_open(bench), 0);
    cr_assert(!bench->replayed.bad);
    cr_assert_eq(bench->replayed.first, 1);
    cr_assert_geq(bench->replayed.last, at_least);
    last = bench->replayed.last;
    for (int i = 0; i < 2; i++) {
        add(bench, ++last, 60); /* of the same size: what was cut off would fit right behind it */
        bench_close(bench);
        cr_assert_eq(bench_open(bench), 0);
        expect_frames(bench, 1, last);
    }
    bench_close(bench);
}

Test(diskqueue_damage, a_tail_torn_at_any_byte_is_cut, .timeout = 120)
{
    struct bench bench, torn;
    uint64_t end, synced = make_torn_case(&bench, &end);

    bench_init(&torn, 8192, 8192);
    bench_close(&torn);
    for (int how = 0; how < DAMAGES; how++)
        for (uint64_t at = synced; at < end; at++) {
            fake_disk_copy(torn.disk, bench.disk);
            damage_from(torn.disk, 4096 + at, end - at, how);
            expect_prefix_then_go_on(&torn, 6);
            fake_disk_copy(torn.disk, bench.disk);
            damage_from(torn.disk, 4096 + at, 1, how); /* valid frames of the same batch follow */
            expect_prefix_then_go_on(&torn, 6);
        }
    bench_done(&bench);
    bench_done(&torn);
}

Test(diskqueue_damage, a_file_cut_short_at_any_byte_of_the_tail_is_cut, .timeout = 120)
{
    struct bench bench, torn;
    uint64_t end, synced = make_torn_case(&bench, &end);

    bench_init(&torn, 8192, 8192);
    bench_close(&torn);
    for (uint64_t at = synced; at < end; at++) {
        fake_disk_copy(torn.disk, bench.disk);
        fake_disk_content(torn.disk, first_name)->len = 4096 + at;
        expect_prefix_then_go_on(&torn, 6);
    }
    bench_done(&bench);
    bench_done(&torn);
}

/* What ends in zeros is whole without them, and then for whoever reads it as much as for whoever opened it. */
Test(diskqueue_damage, a_sealed_file_that_lost_its_last_zeros_reads_as_it_opened)
{
    struct bench bench;
    struct arena arena = {0};
    struct bytes data;
    uint64_t next;

    bench_init(&bench, 8192, 8192);
    add(&bench, 5, 4000); /* zeros behind its number */
    add(&bench, 6, 100);
    bench_close(&bench);
    fake_disk_content(bench.disk, first_name)->len = 4096 + 500;
    cr_assert_eq(bench_open(&bench), 0);
    expect_frames(&bench, 5, 6);
    cr_assert_eq(diskqueue_read(bench.queue, 0, &arena, &data, &next), 0);
    cr_assert_eq(data.len, 4000);
    arena_done(&arena);
    bench_done(&bench);
}

Test(diskqueue_damage, damage_at_any_byte_below_the_synced_end_is_found)
{
    struct bench bench, torn;
    uint64_t end, synced = make_torn_case(&bench, &end);

    bench_init(&torn, 8192, 8192);
    bench_close(&torn);
    for (uint64_t at = 0; at < synced; at++) {
        fake_disk_copy(torn.disk, bench.disk);
        damage_from(torn.disk, 4096 + at, 1, DAMAGE_FLIP);
        if (at % 72 < 32 + 40) /* every byte of these frames is covered */
            cr_assert_eq(bench_open(&torn), ERROR_FILE_CORRUPT);
        cr_assert_eq(torn.disk->open_files, 0);
    }
    for (uint64_t at = 0; at < 56; at++) { /* the segment's header */
        fake_disk_copy(torn.disk, bench.disk);
        damage_from(torn.disk, at, 1, DAMAGE_FLIP);
        cr_assert_neq(bench_open(&torn), 0);
    }
    bench_done(&bench);
    bench_done(&torn);
}

Test(diskqueue_damage, any_failing_call_is_an_error_and_loses_nothing, .timeout = 120)
{
    FAIL_EACH(nth, fake_disk_calls) {
        struct bench bench;
        uint64_t acknowledged = 0, position, random = nth.n;
        int opened;

        bench_init(&bench, 8192, 8192);
        bench_close(&bench);
        nth_begin(&nth, bench.disk);
        opened = bench_open(&bench);
        for (uint64_t i = 1; opened == 0 && i <= 45; i++) {
            struct waiter waiter;
            int error = append(&bench, i, 600, &position);

            if (error == 0 && i % 9 == 0)
                diskqueue_pop(bench.queue, diskqueue_durable_end(bench.queue));
            start(&bench, &waiter);
            fake_disk_run(bench.disk, 5, true);
            cr_assert(waiter.ended);
            if (error == 0 && waiter.error == 0)
                acknowledged = i;
        }
        if (opened == 0)
            bench_close(&bench);
        cr_assert_eq(bench.disk->open_files, 0);
        nth_end(&nth);
        fake_disk_crash(bench.disk, FAKE_KEEP_SOME, &random);
        cr_assert_eq(bench_open(&bench), 0);
        cr_assert(!bench.replayed.bad);
        cr_assert(acknowledged == 0 || bench.replayed.last >= acknowledged);
        cr_assert(nth.fired || acknowledged == 45);
        bench_done(&bench);
    }
}

/* What was popped before names segments that are gone: half a queue would be taken for a damaged one. */
Test(diskqueue_damage, one_that_is_half_removed_is_absent_and_goes_at_the_next_opening)
{
    FAIL_EACH(nth, fake_disk_calls) {
        struct bench bench;
        uint64_t random = nth.n;
        bool removed;
        int error;

        bench_init(&bench, 8192, 8192);
        for (uint64_t i = 1; i <= 60; i++) {
            add(&bench, i, 500);
            if (i % 9 == 0)
                diskqueue_pop(bench.queue, diskqueue_durable_end(bench.queue));
        }
        bench_close(&bench);
        nth_begin(&nth, bench.disk);
        error = diskqueue_remove(&bench.disk->env, "q");
        removed = error == 0 || error == ERROR_FILE_NOT_FOUND; /* the disk knows no directories */
        cr_assert_eq(removed, !nth_end(&nth));
        fake_disk_crash(bench.disk, FAKE_KEEP_SOME, &random);
        bench.options.must_exist = true;
        error = bench_open(&bench);
        cr_assert(error == ERROR_FILE_NOT_FOUND || (error == 0 && !removed), "%s", error_name(error));
        cr_assert(error == 0 || diskqueue_remove(&bench.disk->env, "q") != ERROR_IO_ERROR);
        bench_done(&bench);
    }
}

Test(diskqueue_damage, any_failing_call_of_a_recovery_is_an_error_and_loses_nothing)
{
    struct bench bench, torn;
    uint64_t end, synced = make_torn_case(&bench, &end);

    bench_init(&torn, 8192, 8192);
    bench_close(&torn);
    FAIL_EACH(nth, fake_disk_calls) {
        fake_disk_copy(torn.disk, bench.disk);
        damage_from(torn.disk, 4096 + synced + 10, 4, DAMAGE_FLIP);
        nth_begin(&nth, torn.disk);
        cr_assert_eq(bench_open(&torn) == 0, !nth_end(&nth));
        if (torn.queue != NULL)
            bench_close(&torn);
        cr_assert_eq(torn.disk->open_files, 0);
        expect_prefix_then_go_on(&torn, 6);
    }
    bench_done(&bench);
    bench_done(&torn);
}

Test(diskqueue_damage, a_failed_allocation_is_an_error)
{
    FAIL_EACH(nth, nth_allocation) {
        struct bench bench;
        uint64_t position;
        struct waiter waiter = {0};

        bench_init(&bench, 8192, 8192);
        bench_close(&bench);
        nth_begin(&nth, NULL);
        if (bench_open(&bench) == 0 && append(&bench, 1, 9000, &position) == 0 && append(&bench, 2, 9000, &position) == 0) {
            start(&bench, &waiter);
            fake_disk_run(bench.disk, 5, true);
            cr_assert(waiter.ended);
        }
        cr_assert(nth_end(&nth) || (waiter.ended && waiter.error == 0));
        bench_done(&bench);
    }
}
