/* Both engines in the simulated world: after kills and power-offs each holds exactly what one of its commits left, at or after
 * the last that was acknowledged.
 *
 * Commit n sets key (n mod KEYS) to n, clears a range now and then, and the meta record "version" to n, so the content follows
 * from the version alone. */
#include <criterion/criterion.h>

#include "net/error.h"
#include "net/mem.h"
#include "sim/faults.h"
#include "storage/engine.h"

enum { KEYS = 50, CHANGES = 3, CLEARED = 5 };

struct history {
    enum engine_kind kind;
    uint64_t acknowledged, attempted, starts, commits;
};

struct batch {
    struct engine_commit commit;
    struct engine_change changes[CHANGES + 1];
    struct engine_meta meta;
    char keys[CHANGES + 3][16];
    uint8_t values[CHANGES + 1][8];
    struct program *program; /* NULL: it has gone */
    uint64_t number;
};

struct program {
    struct env *env;
    struct engine *engine;
    struct env_timer timer;
    struct history *history;
    struct batch *batch; /* under way; owned by itself once the program has gone */
    uint64_t version;
};

static struct bytes key_of(char out[16], uint64_t key)
{
    return bytes_of(out, (size_t)snprintf(out, 16, "key%04u", (unsigned)key));
}

/* The keys that commit n touches: CHANGES sets from n * 7 on, and every tenth a clear of the five keys from n on. */
static uint64_t nth_key(uint64_t number, uint64_t i)
{
    return (number * 7 + i * 11) % KEYS;
}

static void model_apply(uint64_t model[KEYS], uint64_t number)
{
    if (number % 10 == 0)
        for (uint64_t key = number % (KEYS - CLEARED); key < number % (KEYS - CLEARED) + CLEARED; key++)
            model[key] = 0;
    for (uint64_t i = 0; i < CHANGES; i++)
        model[nth_key(number, i)] = number;
}

/* In key order, the clear before a set of its first key. */
static int compare_changes(const void *a, const void *b)
{
    const struct engine_change *left = a, *right = b;

    int order = bytes_compare(left->key, right->key);

    return order != 0 ? order : (left->type == ENGINE_SET) - (right->type == ENGINE_SET);
}

static void commit_done(struct engine_commit *commit, int error)
{
    struct batch *batch = container_of(commit, struct batch, commit);
    struct program *program = batch->program;

    if (program != NULL) {
        program->batch = NULL;
        if (error == 0) {
            program->version = program->history->acknowledged = batch->number;
            program->history->commits++;
            env_timer_start(program->env, &program->timer, program->env->turn_us + (int64_t)env_random_below(program->env, 5000));
        } else {
            env_exit(program->env, 1, "commit failed");
        }
    }
    mem_free(batch);
}

static void next_commit(struct env_timer *timer)
{
    struct program *program = container_of(timer, struct program, timer);
    struct batch *batch = mem_zalloc(sizeof(*batch));
    uint64_t number = program->version + 1, begin = number % (KEYS - CLEARED);
    size_t count = 0;

    batch->program = program;
    batch->number = number;
    program->batch = batch;
    if (number % 10 == 0)
        batch->changes[count++] = (struct engine_change){
            ENGINE_CLEAR_RANGE, key_of(batch->keys[CHANGES + 1], begin), key_of(batch->keys[CHANGES + 2], begin + CLEARED)};
    for (uint64_t i = 0; i < CHANGES; i++) {
        put_le64(batch->values[i], number);
        batch->changes[count++] = (struct engine_change){ENGINE_SET, key_of(batch->keys[i], nth_key(number, i)),
                                                         bytes_of(batch->values[i], 8)};
    }
    qsort(batch->changes, count, sizeof(batch->changes[0]), compare_changes);
    put_le64(batch->values[CHANGES], number);
    batch->meta = (struct engine_meta){"version", bytes_of(batch->values[CHANGES], 8)};
    batch->commit.changes = batch->changes;
    batch->commit.change_count = count;
    batch->commit.meta = &batch->meta;
    batch->commit.meta_count = 1;
    batch->commit.done = commit_done;
    if (number > program->history->attempted)
        program->history->attempted = number;
    engine_commit_start(program->engine, &batch->commit);
}

static void check_content(struct program *program)
{
    struct sim_world *world = sim_process_of(program->env)->world;
    uint64_t model[KEYS] = {0};

    for (uint64_t number = 1; number <= program->version; number++)
        model_apply(model, number);
    for (uint64_t key = 0; key < KEYS; key++) {
        char text[16];
        struct bytes value = {0};
        bool found = false;
        int error = engine_get(program->engine, key_of(text, key), &found, &value);
        uint64_t number = found && value.len == 8 ? get_le64(value.ptr) : 0;

        if (error != 0 || number != model[key])
            sim_world_fail(world, "at version %d key %d is %d, not %d (error %d)", (int)program->version, (int)key, (int)number,
                           (int)model[key], error);
    }
    engine_release(program->engine);
}

static void check_version(struct program *program)
{
    struct history *history = program->history;
    struct bytes value = {0};
    bool found = false;
    int error = engine_meta_get(program->engine, "version", &found, &value);

    program->version = error == 0 && found && value.len == 8 ? get_le64(value.ptr) : 0;
    engine_release(program->engine);
    if (error != 0 || program->version < history->acknowledged || program->version > history->attempted)
        sim_world_fail(sim_process_of(program->env)->world, "the engine is at %d; %d was acknowledged, %d attempted (error %d)",
                       (int)program->version, (int)history->acknowledged, (int)history->attempted, error);
}

static int program_start(struct sim_process *process, void *ctx)
{
    struct program *program = mem_zalloc(sizeof(*program));
    int error;

    process->instance = program;
    program->env = &process->env;
    program->history = ctx;
    program->timer.fire = next_commit;
    program->history->starts++;
    error = engine_open(program->env, program->history->kind, "engine", &program->engine);
    if (error == ERROR_FILE_CORRUPT)
        sim_world_fail(process->world, "the engine says that it is damaged");
    if (error != 0)
        return error;
    check_version(program);
    check_content(program);
    env_timer_start(program->env, &program->timer, program->env->turn_us);
    return 0;
}

static void program_kill(struct sim_process *process, void *ctx)
{
    struct program *program = process->instance;

    (void)ctx;
    env_timer_cancel(program->env, &program->timer);
    if (program->batch != NULL)
        program->batch->program = NULL;
    if (program->engine != NULL)
        engine_close(program->engine, NULL, NULL);
    mem_free(program);
}

static const struct sim_program engine_program = {program_start, program_kill};

static void rough_run(uint64_t seed, enum engine_kind kind)
{
    struct sim_world *world = sim_world_create(seed);
    struct history history = {.kind = kind};
    struct sim_faults faults;

    sim_faults_init(&faults, world);
    for (int class = 0; class < FAULT_CLASSES; class++)
        faults.want[class] = class == FAULT_KILL || class == FAULT_REBOOT || class == FAULT_SLOW_DISK ? SWITCH_ON : SWITCH_OFF;
    sim_process_create(world, "engine", 0, 4500, &engine_program, &history)->server = true;
    sim_process_boot(world->processes[0]);
    sim_faults_start(&faults, 60 * SIM_SECOND_US);
    sim_world_run_until(world, 60 * SIM_SECOND_US);
    sim_faults_heal(&faults);
    sim_world_run_until(world, 62 * SIM_SECOND_US);
    cr_assert_not(world->failed, "seed %d at %f s: %s", (int)seed, (double)world->now_us / 1e6, world->why);
    cr_assert(history.starts > 2 && history.commits > 500, "%d starts, %d commits", (int)history.starts, (int)history.commits);
    sim_world_destroy(world);
}

Test(engine, memory_holds_what_a_commit_left)
{
    for (uint64_t seed = 0; seed < 4; seed++)
        rough_run(seed, ENGINE_MEMORY);
}

Test(engine, lmdb_holds_what_a_commit_left)
{
    for (uint64_t seed = 0; seed < 4; seed++)
        rough_run(seed, ENGINE_LMDB);
}
