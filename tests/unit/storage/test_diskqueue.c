#include <criterion/criterion.h>
#include <stdlib.h>

#include "net/error.h"
#include "net/mem.h"
#include "tests/unit/draw.h"
#include "tests/unit/nth.h"
#include "tests/unit/storage/diskqueue_bench.h"

Test(diskqueue, what_was_committed_is_replayed_after_a_power_cut)
{
    struct bench bench;

    bench_init(&bench, 8192, 16384);
    for (uint64_t i = 1; i <= 40; i++)
        add(&bench, i, i * 37 % 3000);
    bench_close(&bench);
    fake_disk_crash(bench.disk, FAKE_KEEP_NOTHING, NULL);
    cr_assert_eq(bench_open(&bench), 0);
    expect_frames(&bench, 1, 40);
    add(&bench, 41, 10);
    bench_close(&bench);
    fake_disk_crash(bench.disk, FAKE_KEEP_NOTHING, NULL);
    cr_assert_eq(bench_open(&bench), 0);
    expect_frames(&bench, 1, 41);
    bench_done(&bench);
}

Test(diskqueue, nothing_completes_before_its_sync)
{
    struct bench bench;
    struct waiter waiter;
    uint64_t position;

    bench_init(&bench, 8192, 8192);
    cr_assert_eq(append(&bench, 1, 100, &position), 0);
    start(&bench, &waiter);
    fake_disk_run(bench.disk, 10, false);
    cr_assert(!waiter.ended);
    cr_assert_eq(diskqueue_durable_end(bench.queue), 0);
    fake_disk_run(bench.disk, 3, true);
    cr_assert(waiter.ended);
    cr_assert_eq(diskqueue_durable_end(bench.queue), diskqueue_end(bench.queue));
    bench_done(&bench);
}

Test(diskqueue, commits_of_one_turn_share_a_sync_and_two_batches_overlap)
{
    struct bench bench;
    struct waiter waiters[30];
    struct diskqueue_status status;
    uint64_t position;

    bench_init(&bench, 8192, 8192);
    for (unsigned i = 0; i < 30; i++) {
        cr_assert_eq(append(&bench, i, 8, &position), 0);
        start(&bench, &waiters[i]);
        if (i % 10 == 9)
            fake_disk_run(bench.disk, 2, false);
    }
    diskqueue_status(bench.queue, &status);
    cr_assert_eq(status.syncs, 2); /* the third ten wait */
    fake_disk_run(bench.disk, 10, true);
    diskqueue_status(bench.queue, &status);
    cr_assert_eq(status.syncs, 3);
    for (unsigned i = 0; i < 30; i++)
        cr_assert(waiters[i].ended && waiters[i].error == 0);
    bench_done(&bench);
}

Test(diskqueue, a_commit_with_nothing_new_completes)
{
    struct bench bench;

    bench_init(&bench, 8192, 8192);
    commit_all(&bench);
    add(&bench, 1, 8);
    commit_all(&bench);
    bench_done(&bench);
}

Test(diskqueue, closing_while_syncs_are_under_way_leaves_nothing)
{
    struct bench bench;
    struct waiter waiter;
    uint64_t position;

    bench_init(&bench, 8192, 8192);
    cr_assert_eq(append(&bench, 1, 100, &position), 0);
    start(&bench, &waiter);
    fake_disk_run(bench.disk, 2, false);
    op_cancel_all(&bench.ops);
    diskqueue_close(bench.queue);
    bench.queue = NULL;
    cr_assert_eq(bench.disk->open_files, 1);
    fake_disk_run(bench.disk, 3, true);
    cr_assert_eq(bench.disk->open_files, 0);
    bench_done(&bench);
}

Test(diskqueue, frames_larger_than_a_segment_get_one_of_their_own)
{
    struct bench bench;
    struct arena arena = {0};
    uint64_t positions[6];

    bench_init(&bench, 8192, 8192);
    for (unsigned i = 0; i < 6; i++) {
        cr_assert_eq(append(&bench, i, i % 2 == 0 ? 19000 : 50, &positions[i]), 0);
        commit_all(&bench);
    }
    for (unsigned i = 0; i < 6; i++) {
        struct bytes data;
        uint64_t next;

        cr_assert_eq(diskqueue_read(bench.queue, positions[i], &arena, &data, &next), 0);
        cr_assert_eq(get_le64(data.ptr) & 0xffff, i);
        cr_assert_eq(next, i == 5 ? diskqueue_end(bench.queue) : positions[i + 1]);
    }
    bench_close(&bench);
    cr_assert_eq(bench_open(&bench), 0);
    expect_frames(&bench, 0, 5);
    arena_done(&arena);
    bench_done(&bench);
}

Test(diskqueue, frames_that_are_not_written_yet_can_be_read)
{
    struct bench bench;
    struct arena arena = {0};
    struct bytes data;
    uint64_t position, next;

    bench_init(&bench, 8192, 8192);
    cr_assert_eq(append(&bench, 9, 100, &position), 0);
    cr_assert_eq(diskqueue_read(bench.queue, position, &arena, &data, &next), 0);
    cr_assert_eq(get_le64(data.ptr) & 0xffff, 9);
    cr_assert_eq(next, diskqueue_end(bench.queue));
    arena_done(&arena);
    bench_done(&bench);
}

Test(diskqueue, popped_segments_are_recycled_and_stay_gone)
{
    struct bench bench;
    struct diskqueue_status status;

    bench_init(&bench, 8192, 8192);
    for (uint64_t i = 1; i <= 400; i++) {
        add(&bench, i, 500);
        diskqueue_pop(bench.queue, diskqueue_end(bench.queue));
    }
    diskqueue_status(bench.queue, &status);
    cr_assert_leq(status.file_bytes, 5 * 8192);
    cr_assert_gt(status.begin, 100000);
    bench_close(&bench);
    fake_disk_crash(bench.disk, FAKE_KEEP_NOTHING, NULL);
    cr_assert_eq(bench_open(&bench), 0);
    cr_assert(!bench.replayed.bad);
    cr_assert_eq(bench.replayed.last, 400);
    cr_assert_leq(bench.replayed.count, 40);
    bench_done(&bench);
}

static void add_and_pop(struct bench *bench, uint64_t from, uint64_t to)
{
    for (uint64_t i = from; i <= to; i++) {
        add(bench, i, 500);
        diskqueue_pop(bench->queue, diskqueue_end(bench->queue));
    }
}

Test(diskqueue, in_the_steady_state_no_file_is_made_and_none_removed)
{
    struct bench bench;
    uint64_t created, removed, begin;

    bench_init(&bench, 8192, 8192);
    add_and_pop(&bench, 1, 200);
    created = bench.disk->created;
    removed = bench.disk->removed;
    begin = diskqueue_begin(bench.queue);
    add_and_pop(&bench, 201, 600);
    cr_assert_gt(diskqueue_begin(bench.queue), begin + 40 * 4096);
    cr_assert_eq(bench.disk->created, created);
    cr_assert_eq(bench.disk->removed, removed);
    bench_done(&bench);
}

/* The disk does nothing with names any more, and commits go on as ever: through the spares that are there, then in a segment that grows. */
Test(diskqueue, no_commit_waits_for_a_directory)
{
    struct bench bench;
    uint64_t dir_syncs, created;

    bench_init(&bench, 8192, 8192);
    for (uint64_t i = 1; i <= 12; i++)
        add(&bench, i, 500);
    dir_syncs = bench.disk->dir_syncs;
    created = bench.disk->created;
    bench.disk->jobs_wait = true;
    for (uint64_t i = 13; i <= 100; i++) {
        add(&bench, i, 500); /* asserts that it is durable in a few turns */
        diskqueue_pop(bench.queue, diskqueue_end(bench.queue));
    }
    cr_assert_eq(bench.disk->dir_syncs, dir_syncs);
    cr_assert_eq(bench.disk->created, created);
    bench.disk->jobs_wait = false;
    bench_close(&bench);
    fake_disk_crash(bench.disk, FAKE_KEEP_NOTHING, NULL);
    cr_assert_eq(bench_open(&bench), 0);
    expect_frames(&bench, 1, 100);
    bench_done(&bench);
}

/* The first segment is full, the second one has the name of the spare that it was. */
static void make_unnamed_case(struct bench *bench, bool one_batch)
{
    uint64_t position;

    bench_init(bench, 8192, 8192);
    for (uint64_t i = 1; i <= 5; i++)
        add(bench, i, 500);
    fake_disk_run(bench->disk, 20, true); /* the spare gets ready */
    bench->disk->jobs_wait = true;
    for (uint64_t i = 6; i <= 12; i++) {
        cr_assert_eq(append(bench, i, 500, &position), 0);
        if (!one_batch)
            commit_all(bench);
    }
    commit_all(bench);
    bench->disk->jobs_wait = false; /* closing takes back the one that would name it */
    bench_close(bench);
    cr_assert_not_null(fake_disk_content(bench->disk, "q/spare"));
}

Test(diskqueue, a_segment_that_has_no_name_of_its_own_yet_is_found)
{
    struct bench bench;

    make_unnamed_case(&bench, false);
    fake_disk_crash(bench.disk, FAKE_KEEP_NOTHING, NULL);
    cr_assert_eq(bench_open(&bench), 0);
    expect_frames(&bench, 1, 12);
    cr_assert_null(fake_disk_content(bench.disk, "q/spare"));
    add(&bench, 13, 500);
    bench_close(&bench);
    cr_assert_eq(bench_open(&bench), 0);
    expect_frames(&bench, 1, 13);
    bench_done(&bench);
}

Test(diskqueue, damage_to_a_segment_without_a_name_is_found)
{
    struct bench bench, torn;

    make_unnamed_case(&bench, false);
    bench_init(&torn, 8192, 8192);
    bench_close(&torn);
    for (size_t at = 0; at < 4096 + 500; at++) { /* its header, its first frame */
        if (at >= 56 && at < 4096)
            continue;
        fake_disk_copy(torn.disk, bench.disk);
        fake_disk_content(torn.disk, "q/spare")->ptr[at] ^= 0x10;
        cr_assert_neq(bench_open(&torn), 0, "byte %zu", at);
        cr_assert_eq(torn.disk->open_files, 0);
    }
    bench_done(&bench);
    bench_done(&torn);
}

/* A spare holds frames of its last life, or, after a crash, of a batch that nobody was told of: they never come back. */
Test(diskqueue, what_a_spare_holds_is_gone_after_an_opening)
{
    struct bench bench;
    uint64_t position;

    make_unnamed_case(&bench, true);
    memset(fake_disk_content(bench.disk, "q/spare")->ptr, 0, 56); /* the header was not written, the frames were */
    cr_assert_eq(bench_open(&bench), 0);
    cr_assert_null(fake_disk_content(bench.disk, "q/spare"));
    position = bench.replayed.last;
    cr_assert_lt(position, 12);
    add(&bench, position + 1, 500);
    bench_close(&bench);
    cr_assert_eq(bench_open(&bench), 0);
    expect_frames(&bench, 1, position + 1);
    bench_done(&bench);
}

Test(diskqueue, closing_takes_back_what_would_change_names)
{
    struct bench bench;

    bench_init(&bench, 8192, 8192);
    for (uint64_t i = 1; i <= 5 && bench.disk->job == NULL; i++)
        add(&bench, i, 500);
    while (bench.disk->job != NULL && bench.disk->job_ran) /* up to a step that has not begun */
        fake_disk_run(bench.disk, 1, true);
    bench.disk->jobs_wait = true;
    bench_close(&bench);
    bench.disk->jobs_wait = false;
    cr_assert_eq(diskqueue_remove(&bench.disk->env, "q"), ERROR_FILE_NOT_FOUND); /* the disk knows no directories */
    for (int i = 0; i < FAKE_FILES_MAX; i++)
        cr_assert_eq(bench.disk->names[i].name[0], 0);
    bench_done(&bench);
}

Test(diskqueue, what_is_not_popped_stays)
{
    struct bench bench;
    uint64_t keep;

    bench_init(&bench, 8192, 8192);
    for (uint64_t i = 1; i <= 20; i++)
        add(&bench, i, 500);
    cr_assert_eq(append(&bench, 21, 500, &keep), 0);
    for (uint64_t i = 22; i <= 60; i++) {
        add(&bench, i, 500);
        diskqueue_pop(bench.queue, keep);
    }
    bench_close(&bench);
    cr_assert_eq(bench_open(&bench), 0);
    cr_assert(!bench.replayed.bad);
    cr_assert_leq(bench.replayed.first, 21);
    cr_assert_gt(bench.replayed.first, 1);
    cr_assert_eq(bench.replayed.last, 60);
    bench_done(&bench);
}

Test(diskqueue, another_file_id_or_a_missing_first_segment_is_damage)
{
    struct bench bench;

    bench_init(&bench, 8192, 8192);
    for (uint64_t i = 1; i <= 60; i++)
        add(&bench, i, 500);
    bench_close(&bench);
    bench.options.file_id = FILE_ID + 1;
    cr_assert_eq(bench_open(&bench), ERROR_FILE_CORRUPT);
    bench.options.file_id = FILE_ID;
    cr_assert_eq(env_remove(&bench.disk->env, "q/0000000000000000.queue"), 0);
    cr_assert_eq(bench_open(&bench), ERROR_FILE_CORRUPT);
    cr_assert_gt(bench.disk->traced_damage, 0);
    bench_done(&bench);
}

Test(diskqueue, must_exist_refuses_to_create_and_remove_leaves_no_file)
{
    struct bench bench;

    bench_init(&bench, 8192, 8192);
    for (uint64_t i = 1; i <= 30; i++)
        add(&bench, i, 500);
    bench_close(&bench);
    cr_assert_eq(env_dir_make(&bench.disk->env, "q"), 0);
    diskqueue_remove(&bench.disk->env, "q");
    for (int i = 0; i < FAKE_FILES_MAX; i++)
        cr_assert_eq(bench.disk->names[i].name[0], 0);
    bench.options.must_exist = true;
    cr_assert_eq(bench_open(&bench), ERROR_FILE_NOT_FOUND);
    bench_done(&bench);
}

/* ---- a random model ---- */

struct model {
    uint64_t next;    /* number of the next frame */
    uint64_t durable; /* highest acknowledged */
    uint64_t popped;  /* lowest that must be there */
    struct waiter waiters[WAITERS_MAX];
    uint64_t waiter_numbers[WAITERS_MAX];
    unsigned waiter_count;
    uint64_t positions[4096];
};

static void note_acknowledged(struct model *model)
{
    for (unsigned i = 0; i < model->waiter_count; i++)
        if (model->waiters[i].ended && model->waiters[i].error == 0 && model->waiter_numbers[i] > model->durable)
            model->durable = model->waiter_numbers[i];
}

static void model_step(struct bench *bench, struct model *model, uint64_t *random)
{
    uint64_t what = draw_below(random, 20);

    if (what < 10 && model->next < 4096) {
        size_t len = draw_below(random, 30) == 0 ? 12000 : draw_below(random, 700);

        if (append(bench, model->next, len, &model->positions[model->next]) == 0)
            model->next++;
    } else if (what < 15 && model->waiter_count < WAITERS_MAX) {
        model->waiter_numbers[model->waiter_count] = model->next - 1;
        start(bench, &model->waiters[model->waiter_count++]);
    } else if (what < 17 && model->durable > model->popped) {
        model->popped += 1 + draw_below(random, model->durable - model->popped);
        diskqueue_pop(bench->queue, model->positions[model->popped]);
    } else {
        fake_disk_run(bench->disk, 1, draw_below(random, 2) == 0);
    }
    note_acknowledged(model);
}

static void read_back(struct bench *bench, struct model *model, uint64_t *random)
{
    struct arena arena = {0};
    uint64_t number = model->popped + draw_below(random, model->next - model->popped), next;
    struct bytes data;

    if (model->positions[number] < diskqueue_begin(bench->queue) ||
        model->positions[number] >= diskqueue_end(bench->queue))
        return;
    cr_assert_eq(diskqueue_read(bench->queue, model->positions[number], &arena, &data, &next), 0);
    cr_assert_eq(get_le64(data.ptr) & 0xffff, number);
    arena_done(&arena);
}

static void crash_and_compare(struct bench *bench, struct model *model, enum fake_crash how, uint64_t *random)
{
    op_cancel_all(&bench->ops);
    diskqueue_close(bench->queue);
    fake_disk_finish(bench->disk); /* late: nobody was told */
    fake_disk_crash(bench->disk, how, random);
    cr_assert_eq(bench_open(bench), 0);
    cr_assert(!bench->replayed.bad);
    if (bench->replayed.count > 0) {
        cr_assert_leq(bench->replayed.first, model->popped);
        cr_assert_geq(bench->replayed.last, model->durable);
        cr_assert_lt(bench->replayed.last, model->next);
        model->next = bench->replayed.last + 1;
    } else {
        cr_assert_eq(model->durable, 0);
        model->next = 1;
    }
    model->durable = model->next - 1; /* what was replayed is durable */
    model->waiter_count = 0;
    if (model->popped > model->durable)
        model->popped = model->durable > 0 ? model->durable : 1;
}

Test(diskqueue, random_appends_pops_and_crashes_agree_with_a_model, .timeout = 240)
{
    for (uint64_t seed = 1; seed <= 250; seed++) {
        struct bench bench;
        struct model *model = calloc(1, sizeof(*model));
        uint64_t random = seed;

        bench_init(&bench, 8192, seed % 2 == 0 ? 8192 : 16384);
        model->next = model->popped = 1;
        for (unsigned step = 0; step < 1500; step++) {
            model_step(&bench, model, &random);
            if (model->next > 1 && draw_below(&random, 10) == 0)
                read_back(&bench, model, &random);
            if (model->waiter_count == WAITERS_MAX || draw_below(&random, 60) == 0)
                crash_and_compare(&bench, model, (enum fake_crash)draw_below(&random, 3), &random);
        }
        bench_done(&bench);
        free(model);
    }
}

/* The n-th call fails, n = 1, 2, ..: an error, never a wrong acknowledgement, and the next life has all that was promised. */
