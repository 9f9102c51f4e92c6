/* The disk queue in the simulated world: under kills, power-offs and failing disks no acknowledged frame is ever lost.
 *
 * A program appends numbered frames, commits each batch, and remembers (outside of the world) what was acknowledged; at each
 * start it replays and compares. */
#include <criterion/criterion.h>

#include "net/error.h"
#include "net/mem.h"
#include "sim/faults.h"
#include "storage/diskqueue.h"

struct history {
    uint64_t acknowledged, appended, popped; /* numbers of frames */
    uint64_t starts, failed_starts, batches;
};

struct program {
    struct op op;
    struct op_list ops;
    struct env *env;
    struct diskqueue *queue;
    struct diskqueue_commit commit;
    struct history *history;
    struct wait_timer timer;
    uint64_t next, batch_end; /* numbers */
    uint64_t positions[256];  /* of the last frames, by number */
};

static struct sim_world *world_of(struct program *program)
{
    return sim_process_of(program->env)->world;
}

static void fill(uint8_t *data, size_t len, uint64_t number)
{
    put_le64(data, number);
    for (size_t i = 8; i < len; i++)
        data[i] = (uint8_t)(number * 31 + i);
}

static int replay(void *ctx, uint64_t position, uint64_t end, struct bytes data)
{
    struct program *program = ctx;
    uint64_t number = data.len >= 8 ? get_le64(data.ptr) : UINT64_MAX;

    (void)end;
    if (program->next != 0 && number != program->next)
        sim_world_fail(world_of(program), "frame %d follows frame %d", (int)number, (int)program->next - 1);
    for (size_t i = 8; i < data.len; i++)
        if (data.ptr[i] != (uint8_t)(number * 31 + i))
            sim_world_fail(world_of(program), "frame %d is damaged at byte %zu", (int)number, i);
    if (program->next == 0 && number > program->history->popped + 1)
        sim_world_fail(world_of(program), "the queue begins at %d, popped was %d", (int)number, (int)program->history->popped);
    program->next = number + 1;
    program->positions[number % 256] = position;
    return 0;
}

enum stage { APPEND, COMMITTED };

static enum op_result append_batch(struct op *op)
{
    struct program *program = container_of(op, struct program, op);
    uint64_t count = 1 + env_random_below(program->env, 5);
    int error = 0;

    for (uint64_t i = 0; i < count && error == 0; i++) {
        uint8_t data[9000];
        struct bytes part = bytes_of(data, 8 + env_random_below(program->env, env_random_below(program->env, 8) == 0 ? 8900 : 200));

        fill(data, part.len, program->next);
        error = diskqueue_append(program->queue, &part, 1, &program->positions[program->next % 256]);
        if (error == 0)
            program->next++;
    }
    if (error != 0) {
        env_exit(program->env, 1, "append failed");
        return op_finish(op, error);
    }
    program->batch_end = program->next - 1;
    if (program->batch_end > program->history->appended)
        program->history->appended = program->batch_end;
    diskqueue_commit(program->queue, &program->commit, op);
    return op_wait(op, COMMITTED);
}

static enum op_result committed(struct op *op)
{
    struct program *program = container_of(op, struct program, op);
    struct history *history = program->history;

    if (program->commit.error != 0) {
        env_exit(program->env, 1, "commit failed");
        return op_finish(op, program->commit.error);
    }
    history->acknowledged = program->batch_end;
    history->batches++;
    if (history->acknowledged > history->popped + 200) {
        history->popped = history->acknowledged - 100;
        diskqueue_pop(program->queue, program->positions[(history->popped + 1) % 256]);
    }
    wait_timer_start(&program->timer, op, (int64_t)env_random_below(program->env, 2000));
    return op_wait(op, APPEND);
}

static void ended(struct op *op)
{
    (void)op;
}

static const struct op_stage stages[] = {
    [APPEND] = {"APPEND", append_batch, OP_STAGE(COMMITTED)},
    [COMMITTED] = {"COMMITTED", committed, OP_STAGE(APPEND)},
};
static const struct op_type batch_type = {"batch", stages, 2, READY_COMMIT, ended};

static int program_start(struct sim_process *process, void *ctx)
{
    struct program *program = mem_zalloc(sizeof(*program));
    struct diskqueue_options options = {
        .directory = "queue", .file_id = 77, .segment_bytes = 128 * 1024, .first_segment_bytes = 16 * 1024};
    int error;

    process->instance = program;
    program->env = &process->env;
    program->history = ctx;
    op_list_init(&program->ops, program->env, program);
    program->history->starts++;
    error = diskqueue_open(program->env, &options, replay, program, &program->queue);
    if (error == ERROR_FILE_CORRUPT)
        sim_world_fail(process->world, "the queue says that it is damaged");
    if (error != 0) {
        program->history->failed_starts++;
        return error;
    }
    if (program->history->acknowledged >= (program->next == 0 ? 1 : program->next))
        sim_world_fail(process->world, "frame %d was acknowledged, the queue ends before %d",
                       (int)program->history->acknowledged, (int)program->next);
    if (program->next == 0)
        program->next = 1;
    op_start(&program->op, &batch_type, &program->ops);
    return 0;
}

static void program_kill(struct sim_process *process, void *ctx)
{
    struct program *program = process->instance;

    (void)ctx;
    op_cancel_all(&program->ops);
    diskqueue_close(program->queue);
    mem_free(program);
}

static const struct sim_program queue_program = {program_start, program_kill};

static void rough_run(uint64_t seed, const enum sim_fault_class *classes, size_t count)
{
    struct sim_world *world = sim_world_create(seed);
    struct history history = {0};
    struct sim_faults faults;

    sim_faults_init(&faults, world);
    for (int class = 0; class < FAULT_CLASSES; class++)
        faults.want[class] = SWITCH_OFF;
    for (size_t i = 0; i < count; i++)
        faults.want[classes[i]] = SWITCH_ON;
    sim_process_create(world, "queue", 0, 4500, &queue_program, &history)->server = true;
    sim_process_boot(world->processes[0]);
    sim_faults_start(&faults, 120 * SIM_SECOND_US);
    sim_world_run_until(world, 120 * SIM_SECOND_US);
    sim_faults_heal(&faults);
    sim_world_run_until(world, 125 * SIM_SECOND_US);
    cr_assert_not(world->failed, "seed %d at %f s: %s", (int)seed, (double)world->now_us / 1e6, world->why);
    cr_assert(history.starts > 2 && history.batches > 1000, "%d starts (%d failed), %d batches", (int)history.starts,
              (int)history.failed_starts, (int)history.batches);
    sim_world_destroy(world);
}

Test(queue, acknowledged_frames_survive_kills_and_power_offs)
{
    static const enum sim_fault_class classes[] = {FAULT_KILL, FAULT_REBOOT};

    for (uint64_t seed = 0; seed < 10; seed++)
        rough_run(seed, classes, 2);
}

Test(queue, acknowledged_frames_survive_failing_slow_and_full_disks)
{
    static const enum sim_fault_class classes[] = {FAULT_REBOOT, FAULT_DISK_ERROR, FAULT_SLOW_DISK, FAULT_DISK_FULL};

    for (uint64_t seed = 100; seed < 110; seed++)
        rough_run(seed, classes, 4);
}
