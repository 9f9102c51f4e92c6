#include <criterion/criterion.h>

#include "tests/unit/storage/diskqueue_bench.h"

static enum op_result wait_commit(struct op *op)
{
    struct waiter *waiter = container_of(op, struct waiter, op);

    diskqueue_commit(waiter->queue, &waiter->commit, op);
    return op_wait(op, 1);
}

static enum op_result waited(struct op *op)
{
    return op_finish(op, container_of(op, struct waiter, op)->commit.error);
}

static void waiter_ended(struct op *op)
{
    struct waiter *waiter = container_of(op, struct waiter, op);

    waiter->ended = true;
    waiter->error = op->error;
}

static const struct op_stage waiter_stages[] = {
    {"COMMIT", wait_commit, OP_STAGE(1)},
    {"DONE", waited, 0},
};
static const struct op_type waiter_type = {"waiter", waiter_stages, 2, READY_COMMIT, waiter_ended};

void start(struct bench *bench, struct waiter *waiter)
{
    memset(waiter, 0, sizeof(*waiter));
    waiter->queue = bench->queue;
    op_start_now(&waiter->op, &waiter_type, &bench->ops);
}

enum { LIFE_SHIFT = 40 };

/* Data of frame `number`: life and number, then bytes that follow from it; every fifth is all zero behind that. */
static size_t frame_data(uint64_t number, uint64_t life, size_t len, uint8_t *out)
{
    len = len < 8 ? 8 : len;
    put_le64(out, life << LIFE_SHIFT | number);
    for (size_t i = 8; i < len; i++)
        out[i] = number % 5 == 0 ? 0 : (uint8_t)(number * 31 + i);
    return len;
}

static int check_replay(void *ctx, uint64_t position, uint64_t end, struct bytes data)
{
    struct replayed *replayed = ctx;
    uint8_t expected[20000];
    uint64_t number, life;

    number = data.len < 8 ? 0 : get_le64(data.ptr);
    life = number >> LIFE_SHIFT;
    number &= (UINT64_C(1) << LIFE_SHIFT) - 1;
    if (life < replayed->life)
        replayed->bad = true;
    replayed->life = life;
    if (data.len < 8 || data.len > sizeof(expected) || frame_data(number, life, data.len, expected) != data.len ||
        memcmp(expected, data.ptr, data.len) != 0 || end - position < data.len)
        replayed->bad = true;
    if (replayed->count > 0 && (number != replayed->last + 1 || position != replayed->end))
        replayed->bad = true;
    if (replayed->count++ == 0)
        replayed->first = number;
    replayed->last = number;
    replayed->end = end;
    return 0;
}

int bench_open(struct bench *bench)
{
    bench->replayed = (struct replayed){0};
    bench->queue = NULL;
    bench->life++;
    return diskqueue_open(&bench->disk->env, &bench->options, check_replay, &bench->replayed, &bench->queue);
}

void bench_init(struct bench *bench, uint64_t first_bytes, uint64_t bytes)
{
    memset(bench, 0, sizeof(*bench));
    bench->disk = fake_disk_create();
    bench->options = (struct diskqueue_options){
        .directory = "q", .file_id = FILE_ID, .segment_bytes = bytes, .first_segment_bytes = first_bytes};
    op_list_init(&bench->ops, &bench->disk->env, bench);
    cr_assert_eq(bench_open(bench), 0);
}

void bench_close(struct bench *bench)
{
    op_cancel_all(&bench->ops);
    diskqueue_close(bench->queue);
    bench->queue = NULL;
    fake_disk_finish(bench->disk);
    cr_assert_eq(bench->disk->open_files, 0);
}

void bench_done(struct bench *bench)
{
    if (bench->queue != NULL)
        bench_close(bench);
    fake_disk_destroy(bench->disk);
}

int append(struct bench *bench, uint64_t number, size_t len, uint64_t *ret_position)
{
    uint8_t data[20000];
    struct bytes whole = bytes_of(data, frame_data(number, bench->life, len, data));
    struct bytes parts[2] = {bytes_of(whole.ptr, 5), bytes_of(whole.ptr + 5, whole.len - 5)};

    return diskqueue_append(bench->queue, parts, 2, ret_position);
}

void commit_all(struct bench *bench)
{
    struct waiter waiter;

    start(bench, &waiter);
    fake_disk_run(bench->disk, 6, true);
    cr_assert(waiter.ended);
    cr_assert_eq(waiter.error, 0);
}

void add(struct bench *bench, uint64_t number, size_t len)
{
    uint64_t position;

    cr_assert_eq(append(bench, number, len, &position), 0);
    commit_all(bench);
}

void expect_frames(struct bench *bench, uint64_t first, uint64_t last)
{
    cr_assert(!bench->replayed.bad);
    cr_assert_eq(bench->replayed.count, last - first + 1);
    cr_assert_eq(bench->replayed.first, first);
    cr_assert_eq(bench->replayed.last, last);
}
