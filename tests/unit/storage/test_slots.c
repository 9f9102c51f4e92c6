#include <criterion/criterion.h>

#include "net/error.h"
#include "net/op.h"
#include "storage/diskqueue.h"
#include "tests/unit/draw.h"
#include "tests/unit/storage/fake_disk.h"

static struct slots *open_slots(struct fake_disk *disk, struct arena *arena, struct bytes *ret_record)
{
    struct slots *slots = NULL;

    cr_assert_eq(slots_open(&disk->env, "d/slots", arena, ret_record, &slots), 0);
    return slots;
}

static uint64_t number_of(struct bytes record)
{
    return record.len == 0 ? 0 : get_le64(record.ptr);
}

static struct bytes record_of(uint64_t number, uint8_t out[8])
{
    put_le64(out, number);
    return bytes_of(out, 8);
}

Test(slots, the_newest_record_is_read_back)
{
    struct fake_disk *disk = fake_disk_create();
    struct arena arena = {0};
    struct bytes record;
    uint8_t bytes[8];

    for (uint64_t i = 0; i < 20; i++) {
        struct slots *slots = open_slots(disk, &arena, &record);

        cr_assert_eq(number_of(record), i);
        cr_assert_eq(slots_write_now(slots, record_of(i + 1, bytes)), 0);
        slots_close(slots);
        fake_disk_crash(disk, FAKE_KEEP_NOTHING, NULL);
    }
    arena_done(&arena);
    fake_disk_destroy(disk);
}

/* Any byte of the newer slot damaged: the older record. Both damaged: an error. */
Test(slots, a_torn_slot_leaves_the_other)
{
    struct fake_disk *disk = fake_disk_create(), *torn = fake_disk_create();
    struct arena arena = {0};
    struct bytes record;
    uint8_t bytes[8];
    struct slots *slots = open_slots(disk, &arena, &record);

    cr_assert_eq(slots_write_now(slots, record_of(1, bytes)), 0); /* sequence 2: slot 0 */
    cr_assert_eq(slots_write_now(slots, record_of(2, bytes)), 0); /* sequence 3: slot 1 */
    slots_close(slots);
    for (size_t at = 0; at < 32; at++) {
        fake_disk_copy(torn, disk);
        fake_disk_content(torn, "d/slots")->ptr[4096 + at] ^= 1;
        slots = open_slots(torn, &arena, &record);
        cr_assert_eq(number_of(record), 1);
        cr_assert_eq(slots_write_now(slots, record_of(9, bytes)), 0);
        slots_close(slots);
        slots = open_slots(torn, &arena, &record);
        cr_assert_eq(number_of(record), 9);
        slots_close(slots);
    }
    fake_disk_content(disk, "d/slots")->ptr[4096] ^= 1;
    fake_disk_content(disk, "d/slots")->ptr[0] ^= 1;
    cr_assert_eq(slots_open(&disk->env, "d/slots", &arena, &record, &slots), ERROR_FILE_CORRUPT);
    arena_done(&arena);
    fake_disk_destroy(disk);
    fake_disk_destroy(torn);
}

struct writer {
    struct op op;
    struct slots *slots;
    struct wait_sync sync;
    uint8_t bytes[8];
    bool ended;
    int error;
};

static enum op_result write_it(struct op *op)
{
    struct writer *writer = container_of(op, struct writer, op);
    int error = slots_write(writer->slots, bytes_of(writer->bytes, 8), &writer->sync, op);

    return error != 0 ? op_finish(op, error) : op_wait(op, 1);
}

static enum op_result written(struct op *op)
{
    return op_finish(op, container_of(op, struct writer, op)->sync.error);
}

static void writer_ended(struct op *op)
{
    container_of(op, struct writer, op)->ended = true;
    container_of(op, struct writer, op)->error = op->error;
}

static const struct op_stage writer_stages[] = {{"WRITE", write_it, OP_STAGE(1)}, {"WRITTEN", written, 0}};
static const struct op_type writer_type = {"writer", writer_stages, 2, READY_COMMIT, writer_ended};

Test(slots, a_write_completes_with_its_sync_and_may_be_left_alone)
{
    struct fake_disk *disk = fake_disk_create();
    struct arena arena = {0};
    struct op_list ops;
    struct bytes record;
    struct writer writer = {.slots = open_slots(disk, &arena, &record)};

    op_list_init(&ops, &disk->env, NULL);
    record_of(5, writer.bytes);
    op_start_now(&writer.op, &writer_type, &ops);
    fake_disk_run(disk, 3, false);
    cr_assert(!writer.ended);
    fake_disk_run(disk, 2, true);
    cr_assert(writer.ended && writer.error == 0);

    writer = (struct writer){.slots = writer.slots};
    record_of(6, writer.bytes);
    op_start_now(&writer.op, &writer_type, &ops);
    op_cancel_all(&ops);
    slots_close(writer.slots);
    cr_assert_eq(disk->open_files, 1);
    fake_disk_run(disk, 2, true);
    cr_assert_eq(disk->open_files, 0);
    slots_close(open_slots(disk, &arena, &record));
    cr_assert_eq(number_of(record), 6);
    arena_done(&arena);
    fake_disk_destroy(disk);
}

Test(slots, random_crashes_leave_the_last_acknowledged_record_or_a_newer_one)
{
    uint64_t random = 3;

    for (unsigned round = 0; round < 400; round++) {
        struct fake_disk *disk = fake_disk_create();
        struct arena arena = {0};
        uint64_t acknowledged = 0, written_last = 0;
        struct bytes record;

        disk->fail_at = 12 + draw_below(&random, 40);
        for (unsigned life = 0; life < 3; life++) {
            struct slots *slots = NULL;

            if (slots_open(&disk->env, "d/slots", &arena, &record, &slots) == 0) {
                uint8_t bytes[8];

                cr_assert_geq(number_of(record), acknowledged);
                cr_assert_leq(number_of(record), written_last);
                for (unsigned i = 0; i < 10; i++)
                    if (slots_write_now(slots, record_of(++written_last, bytes)) == 0)
                        acknowledged = written_last;
                slots_close(slots);
            }
            fake_disk_crash(disk, FAKE_KEEP_SOME, &random);
        }
        arena_done(&arena);
        fake_disk_destroy(disk);
    }
}

Test(slots, a_failed_allocation_is_an_error_and_loses_nothing)
{
    FAIL_EACH(nth, nth_allocation) {
        struct fake_disk *disk = fake_disk_create();
        struct arena arena = {0};
        struct slots *slots = NULL;
        struct bytes record;
        uint8_t bytes[8];
        int error;

        slots = open_slots(disk, &arena, &record);
        cr_assert_eq(slots_write_now(slots, record_of(1, bytes)), 0);
        slots_close(slots);
        nth_begin(&nth, NULL);
        slots = NULL;
        error = slots_open(&disk->env, "d/slots", &arena, &record, &slots);
        if (error == 0)
            error = slots_write_now(slots, record_of(2, bytes));
        slots_close(slots);
        cr_assert_eq(error, nth_end(&nth) ? ERROR_OUT_OF_MEMORY : 0);
        slots_close(open_slots(disk, &arena, &record));
        cr_assert(number_of(record) == 2 || (error != 0 && number_of(record) == 1));
        arena_done(&arena);
        fake_disk_destroy(disk);
    }
}
