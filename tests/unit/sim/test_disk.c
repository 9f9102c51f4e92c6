/* The disk: what a sync promises, and what a power-off takes. */
#include <criterion/criterion.h>

#include "net/error.h"
#include "net/mem.h"
#include "sim/world.h"

static int idle_start(struct sim_process *process, void *ctx)
{
    (void)process;
    (void)ctx;
    return 0;
}

static void idle_kill(struct sim_process *process, void *ctx)
{
    (void)process;
    (void)ctx;
}

static const struct sim_program idle = {idle_start, idle_kill};

struct machine {
    struct sim_world *world;
    struct sim_process *process;
    struct env *env;
};

static void machine_init(struct machine *machine, uint64_t seed)
{
    machine->world = sim_world_create(seed);
    machine->world->settings.restart_us = SIM_NEVER;
    machine->process = sim_process_create(machine->world, "p", 0, 4500, &idle, NULL);
    sim_process_boot(machine->process);
    machine->env = &machine->process->env;
}

static struct env_file *open_file(struct machine *machine, const char *path)
{
    struct env_file *file = NULL;

    cr_assert_eq(env_file_open(machine->env, path, ENV_OPEN_READ | ENV_OPEN_WRITE | ENV_OPEN_CREATE, &file), 0);
    return file;
}

static void fill(struct machine *machine, struct env_file *file, uint64_t offset, size_t len, int byte)
{
    uint8_t *data = mem_alloc(len);

    memset(data, byte, len);
    cr_assert_eq(env_file_write(machine->env, file, offset, bytes_of(data, len)), 0);
    mem_free(data);
}

/* -1 behind the end. */
static int byte_at(struct machine *machine, struct env_file *file, uint64_t offset)
{
    uint8_t byte;
    size_t got;

    cr_assert_eq(env_file_read(machine->env, file, offset, &byte, 1, &got), 0);
    return got == 0 ? -1 : byte;
}

static bool exists(struct machine *machine, const char *path)
{
    struct env_file *file = NULL;
    int error = env_file_open(machine->env, path, ENV_OPEN_READ, &file);

    env_file_close(machine->env, file);
    return error == 0;
}

static void power_cycle(struct machine *machine)
{
    sim_process_stop(machine->process, SIM_POWER_OFF);
    sim_process_boot(machine->process);
    cr_assert_not(machine->world->failed, "%s", machine->world->why);
}

/* A file "d/f" of 4 pages of 'a', durable with its name. */
static struct env_file *durable_file(struct machine *machine)
{
    struct env_file *file;

    cr_assert_eq(env_dir_make(machine->env, "d"), 0);
    file = open_file(machine, "d/f");
    fill(machine, file, 0, 4 * SIM_PAGE_BYTES, 'a');
    cr_assert_eq(env_file_sync_now(machine->env, file), 0);
    cr_assert_eq(env_dir_sync(machine->env, "d"), 0);
    return file;
}

Test(disk, what_is_synced_survives_every_power_off)
{
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct machine machine;
        struct env_file *file;

        machine_init(&machine, seed);
        file = durable_file(&machine);
        env_file_close(machine.env, file);
        power_cycle(&machine);
        file = open_file(&machine, "d/f");
        for (int i = 0; i < 4; i++)
            cr_assert_eq(byte_at(&machine, file, (uint64_t)i * SIM_PAGE_BYTES + 77), 'a');
        cr_assert_eq(byte_at(&machine, file, 4 * SIM_PAGE_BYTES), -1);
        env_file_close(machine.env, file);
        sim_world_destroy(machine.world);
    }
}

Test(disk, unsynced_pages_are_kept_lost_or_torn_by_sector)
{
    unsigned kept = 0, lost = 0, torn = 0, garbage = 0;

    for (uint64_t seed = 0; seed < 200; seed++) {
        struct machine machine;
        struct env_file *file;
        uint8_t page[SIM_PAGE_BYTES];
        unsigned news = 0, others = 0;
        size_t got;

        machine_init(&machine, seed);
        file = durable_file(&machine);
        fill(&machine, file, SIM_PAGE_BYTES, SIM_PAGE_BYTES, 'b');
        env_file_close(machine.env, file);
        power_cycle(&machine);
        file = open_file(&machine, "d/f");
        cr_assert_eq(env_file_read(machine.env, file, SIM_PAGE_BYTES, page, sizeof(page), &got), 0);
        for (size_t i = 0; i < SIM_PAGE_BYTES; i += SIM_SECTOR_BYTES) {
            news += page[i] == 'b';
            others += page[i] != 'b' && page[i] != 'a';
        }
        kept += news == 8;
        lost += news == 0;
        torn += news > 0 && news < 8;
        garbage += others > 0;
        cr_assert_eq(byte_at(&machine, file, 0), 'a');
        cr_assert_eq(byte_at(&machine, file, 2 * SIM_PAGE_BYTES), 'a');
        env_file_close(machine.env, file);
        sim_world_destroy(machine.world);
    }
    cr_assert(kept > 30 && lost > 30 && torn > 5 && garbage > 0, "%u %u %u %u", kept, lost, torn, garbage);
}

Test(disk, a_kill_loses_nothing)
{
    struct machine machine;
    struct env_file *file;

    machine_init(&machine, 1);
    file = open_file(&machine, "f");
    fill(&machine, file, 0, 10000, 'x');
    env_file_close(machine.env, file);
    sim_process_stop(machine.process, SIM_KILL);
    sim_process_boot(machine.process);
    file = open_file(&machine, "f");
    cr_assert_eq(byte_at(&machine, file, 9999), 'x');
    env_file_close(machine.env, file);
    sim_world_destroy(machine.world);
}

Test(disk, unsynced_names_are_lost_or_a_prefix_of_them_survives)
{
    unsigned renamed = 0, old = 0;

    for (uint64_t seed = 0; seed < 60; seed++) {
        struct machine machine;

        machine_init(&machine, seed);
        env_file_close(machine.env, durable_file(&machine));
        cr_assert_eq(env_rename(machine.env, "d/f", "d/g"), 0);
        env_file_close(machine.env, open_file(&machine, "d/h"));
        power_cycle(&machine);
        cr_assert(exists(&machine, "d/f") != exists(&machine, "d/g"), "one of the two names, never none");
        cr_assert(!exists(&machine, "d/h") || exists(&machine, "d/g"), "in order");
        renamed += exists(&machine, "d/g");
        old += exists(&machine, "d/f");
        sim_world_destroy(machine.world);
    }
    cr_assert(renamed > 5 && old > 5);
}

Test(disk, synced_names_survive)
{
    for (uint64_t seed = 0; seed < 30; seed++) {
        struct machine machine;

        machine_init(&machine, seed);
        env_file_close(machine.env, durable_file(&machine));
        cr_assert_eq(env_rename(machine.env, "d/f", "d/g"), 0);
        cr_assert_eq(env_dir_sync(machine.env, "d"), 0);
        power_cycle(&machine);
        cr_assert(exists(&machine, "d/g") && !exists(&machine, "d/f"));
        cr_assert_eq(env_remove(machine.env, "d/g"), 0);
        cr_assert_eq(env_dir_sync(machine.env, "d"), 0);
        power_cycle(&machine);
        cr_assert_not(exists(&machine, "d/g"));
        sim_world_destroy(machine.world);
    }
}

Test(disk, an_unsynced_truncate_may_be_lost)
{
    unsigned shorter = 0, longer = 0;

    for (uint64_t seed = 0; seed < 60; seed++) {
        struct machine machine;
        struct env_file *file;
        uint64_t size;

        machine_init(&machine, seed);
        file = durable_file(&machine);
        cr_assert_eq(env_file_truncate(machine.env, file, 100), 0);
        env_file_close(machine.env, file);
        power_cycle(&machine);
        file = open_file(&machine, "d/f");
        cr_assert_eq(env_file_size(machine.env, file, &size), 0);
        cr_assert(size == 100 || size == 4 * SIM_PAGE_BYTES);
        shorter += size == 100;
        longer += size != 100;
        env_file_close(machine.env, file);
        sim_world_destroy(machine.world);
    }
    cr_assert(shorter > 5 && longer > 5);
}

struct synced {
    struct env_sync sync;
    int calls, error;
};

static void synced_done(struct env_sync *sync, int error)
{
    struct synced *synced = container_of(sync, struct synced, sync);

    synced->calls++;
    synced->error = error;
}

Test(disk, a_sync_covers_what_was_written_before_it_and_no_more)
{
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct synced synced = {.sync.done = synced_done};
        struct machine machine;
        struct env_file *file;

        machine_init(&machine, seed);
        file = durable_file(&machine);
        fill(&machine, file, 0, SIM_PAGE_BYTES, 'b');
        env_file_sync(machine.env, file, &synced.sync);
        cr_assert_eq(synced.calls, 0);
        fill(&machine, file, 0, SIM_PAGE_BYTES, 'c');
        cr_assert(sim_world_run_until(machine.world, SIM_SECOND_US));
        cr_assert(synced.calls == 1 && synced.error == 0);
        env_file_close(machine.env, file);
        power_cycle(&machine);
        file = open_file(&machine, "d/f");
        cr_assert_neq(byte_at(&machine, file, 5), 'a');
        env_file_close(machine.env, file);
        sim_world_destroy(machine.world);
    }
}

Test(disk, after_a_failed_sync_the_pages_read_as_written_and_never_reach_the_disk)
{
    struct synced synced = {.sync.done = synced_done};
    struct machine machine;
    struct env_file *file;

    machine_init(&machine, 3);
    file = durable_file(&machine);
    fill(&machine, file, 0, SIM_PAGE_BYTES, 'b');
    machine.process->disk->error_one_in = 1;
    env_file_sync(machine.env, file, &synced.sync);
    cr_assert(sim_world_run_until(machine.world, SIM_SECOND_US));
    machine.process->disk->error_one_in = 0;
    cr_assert_eq(synced.error, ERROR_IO_ERROR);
    cr_assert_eq(byte_at(&machine, file, 0), 'b');
    cr_assert_eq(env_file_sync_now(machine.env, file), 0);
    cr_assert_eq(env_file_drop_cache(machine.env, file), 0);
    cr_assert_eq(byte_at(&machine, file, 0), 'a');
    env_file_close(machine.env, file);
    sim_world_destroy(machine.world);
}

/* A program with a sync in flight, which detaches it and defers the close to done(). */
static struct env_file *closes_late;
static struct env *closes_late_env;
static struct synced in_flight;

static void close_late(struct env_sync *sync, int error)
{
    synced_done(sync, error);
    env_file_close(closes_late_env, closes_late);
}

Test(disk, a_sync_of_a_killed_process_is_given_back_as_cancelled)
{
    struct machine machine;

    machine_init(&machine, 4);
    in_flight = (struct synced){.sync.done = close_late};
    closes_late_env = machine.env;
    closes_late = durable_file(&machine);
    fill(&machine, closes_late, 0, 10, 'b');
    env_file_sync(machine.env, closes_late, &in_flight.sync);
    sim_process_stop(machine.process, SIM_KILL);
    cr_assert(in_flight.calls == 1 && in_flight.error == ERROR_OPERATION_CANCELLED);
    cr_assert_not(machine.world->failed, "%s", machine.world->why);
    sim_world_destroy(machine.world);
}

Test(disk, a_full_disk_refuses_growth_but_not_overwriting)
{
    struct machine machine;
    struct env_file *file;
    struct env_space space;

    machine_init(&machine, 5);
    file = durable_file(&machine);
    machine.process->disk->full = true;
    cr_assert_eq(env_file_write(machine.env, file, 4 * SIM_PAGE_BYTES, BYTES_LITERAL("x")), ERROR_IO_ERROR);
    cr_assert_eq(env_file_zero_fill(machine.env, file, 4 * SIM_PAGE_BYTES, 1), ERROR_IO_ERROR);
    cr_assert_eq(env_file_write(machine.env, file, 0, BYTES_LITERAL("x")), 0);
    cr_assert_eq(env_dir_space(machine.env, "d", &space), 0);
    cr_assert_eq(space.free_bytes, 0);
    env_file_close(machine.env, file);
    sim_world_destroy(machine.world);
}

Test(disk, a_disk_with_little_room_says_so_and_is_full_when_that_is_gone)
{
    struct machine machine;
    struct env_file *file;
    struct env_space space;

    machine_init(&machine, 5);
    file = durable_file(&machine);
    machine.process->disk->limit_bytes = machine.process->disk->used_bytes + SIM_PAGE_BYTES;
    cr_assert_eq(env_dir_space(machine.env, "d", &space), 0);
    cr_assert(space.free_bytes == SIM_PAGE_BYTES && space.total_bytes == machine.world->settings.disk_bytes);
    cr_assert_eq(env_file_write(machine.env, file, 8 * SIM_PAGE_BYTES, BYTES_LITERAL("x")), 0);
    cr_assert_eq(env_file_write(machine.env, file, 9 * SIM_PAGE_BYTES, BYTES_LITERAL("x")), ERROR_IO_ERROR);
    sim_disk_heal(machine.process);
    cr_assert_eq(env_file_write(machine.env, file, 9 * SIM_PAGE_BYTES, BYTES_LITERAL("x")), 0);
    env_file_close(machine.env, file);
    sim_world_destroy(machine.world);
}

static void count_name(void *ctx, const char *name)
{
    cr_assert(strcmp(name, "f") == 0 || strcmp(name, "sub") == 0 || strcmp(name, "lmdb") == 0, "%s", name);
    ++*(int *)ctx;
}

Test(disk, a_directory_lists_its_own_names_and_those_of_libraries_with_their_own_files)
{
    struct machine machine;
    char real[SIM_PATH_MAX];
    int count = 0;
    FILE *out;

    machine_init(&machine, 6);
    env_file_close(machine.env, durable_file(&machine));
    cr_assert_eq(env_dir_make(machine.env, "d/sub"), 0);
    env_file_close(machine.env, open_file(&machine, "d/sub/other"));
    cr_assert_eq(env_real_path(machine.env, "d/lmdb", real, sizeof(real)), 0);
    out = fopen(real, "w");
    cr_assert_not_null(out);
    fclose(out);
    cr_assert_eq(env_dir_list(machine.env, "d", count_name, &count), 0);
    cr_assert_eq(count, 3);
    cr_assert_eq(env_remove(machine.env, "d/lmdb"), 0);
    cr_assert_null(fopen(real, "r"));
    cr_assert_eq(env_file_open(machine.env, "no/such", ENV_OPEN_WRITE | ENV_OPEN_CREATE, &closes_late),
                 ERROR_FILE_NOT_FOUND);
    sim_world_destroy(machine.world);
}

Test(disk, zero_filled_space_reads_as_zeros_and_can_be_written)
{
    struct machine machine;
    struct env_file *file;
    uint64_t size;

    machine_init(&machine, 7);
    file = durable_file(&machine);
    cr_assert_eq(env_file_zero_fill(machine.env, file, 100, 1 << 20), 0);
    cr_assert_eq(env_file_size(machine.env, file, &size), 0);
    cr_assert_eq(size, 100 + (1 << 20));
    cr_assert_eq(byte_at(&machine, file, 99), 'a');
    cr_assert_eq(byte_at(&machine, file, 100), 0);
    cr_assert_eq(byte_at(&machine, file, 5000), 0);
    fill(&machine, file, 500000, 3, 'z');
    cr_assert_eq(byte_at(&machine, file, 500002), 'z');
    env_file_close(machine.env, file);
    sim_world_destroy(machine.world);
}

/* ---- harm ---- */

/* "d/f": pages of 'a', 'b', 'c', 'd', each synced, and enough syncs behind them. */
static void pages_at_rest(struct machine *machine)
{
    struct env_file *file = durable_file(machine);

    for (int i = 0; i < 4; i++) {
        fill(machine, file, (uint64_t)i * SIM_PAGE_BYTES, SIM_PAGE_BYTES, 'a' + i);
        cr_assert_eq(env_file_sync_now(machine->env, file), 0);
    }
    for (int i = 0; i < 4; i++) {
        fill(machine, file, 4 * SIM_PAGE_BYTES, 1, 'x' + i);
        cr_assert_eq(env_file_sync_now(machine->env, file), 0);
    }
    env_file_close(machine->env, file);
}

static int pages_that_differ(struct machine *machine)
{
    struct env_file *file = open_file(machine, "d/f");
    uint8_t page[SIM_PAGE_BYTES];
    int differ = 0;
    size_t got;

    cr_assert_eq(env_file_drop_cache(machine->env, file), 0);
    for (int i = 0; i < 4; i++) {
        bool same = true;

        cr_assert_eq(env_file_read(machine->env, file, (uint64_t)i * SIM_PAGE_BYTES, page, sizeof(page), &got), 0);
        for (size_t at = 0; at < sizeof(page); at++)
            same &= page[at] == 'a' + i;
        differ += !same;
    }
    env_file_close(machine->env, file);
    return differ;
}

Test(disk, rot_and_misdirected_writes_hit_pages_at_rest_and_never_the_newest)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct sim_random random = sim_random_stream(seed, 7);
        struct machine machine;
        struct env_file *file;

        machine_init(&machine, seed);
        pages_at_rest(&machine);
        cr_assert(sim_disk_rot(machine.process->disk, &random));
        cr_assert_eq(pages_that_differ(&machine), 1);
        while (!sim_disk_misdirect(machine.process->disk, &random))
            ;
        cr_assert_geq(pages_that_differ(&machine), 2);
        file = open_file(&machine, "d/f");
        cr_assert_eq(byte_at(&machine, file, 4 * SIM_PAGE_BYTES), 'x' + 3);
        env_file_close(machine.env, file);
        sim_world_destroy(machine.world);
    }
}

Test(disk, an_image_brings_back_what_was_durable_and_an_erased_disk_is_empty)
{
    struct sim_disk_image *image;
    struct machine machine;

    machine_init(&machine, 5);
    pages_at_rest(&machine);
    image = sim_disk_image(machine.process->disk);
    env_file_close(machine.env, open_file(&machine, "d/later"));
    cr_assert_eq(env_dir_sync(machine.env, "d"), 0);
    sim_process_stop(machine.process, SIM_POWER_OFF);
    sim_disk_put_image(machine.process->disk, image);
    sim_process_boot(machine.process);
    cr_assert(exists(&machine, "d/f") && !exists(&machine, "d/later"));
    cr_assert_eq(pages_that_differ(&machine), 0);
    sim_process_stop(machine.process, SIM_POWER_OFF);
    sim_disk_erase(machine.process);
    sim_process_boot(machine.process);
    cr_assert_not(exists(&machine, "d/f"));
    cr_assert_eq(machine.process->disk->used_bytes, 0);
    sim_disk_image_free(image);
    sim_world_destroy(machine.world);
}

Test(disk, swapped_disks_keep_their_files)
{
    struct machine machine;
    struct sim_process *other;

    machine_init(&machine, 6);
    pages_at_rest(&machine);
    other = sim_process_create(machine.world, "q", 1, 4500, &idle, NULL);
    sim_process_stop(machine.process, SIM_POWER_OFF);
    sim_disk_swap(machine.process, other);
    sim_process_boot(machine.process);
    sim_process_boot(other);
    cr_assert_not(exists(&machine, "d/f"));
    machine.env = &other->env;
    cr_assert(exists(&machine, "d/f"));
    cr_assert_eq(pages_that_differ(&machine), 0);
    sim_world_destroy(machine.world);
}

Test(disk, a_hung_disk_gives_back_no_sync_until_it_is_mended)
{
    struct synced synced = {.sync.done = synced_done, .error = -1};
    struct machine machine;
    struct env_file *file;

    machine_init(&machine, 7);
    file = durable_file(&machine);
    fill(&machine, file, 0, 1, 'b');
    env_file_sync(machine.env, file, &synced.sync);
    machine.process->disk->hung_until_us = SIM_NEVER;
    cr_assert(sim_world_run_until(machine.world, 100 * SIM_SECOND_US));
    cr_assert_eq(synced.error, -1);
    sim_disk_unhang(machine.process);
    cr_assert(sim_world_run_until(machine.world, 101 * SIM_SECOND_US));
    cr_assert_eq(synced.error, 0);
    env_file_close(machine.env, file);
    sim_world_destroy(machine.world);
}
