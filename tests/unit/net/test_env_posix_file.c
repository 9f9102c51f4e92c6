/* Files, syncs, jobs and trace files on a real disk. */
#include "posix_fixture.h"

#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "net/error.h"
#include "net/mem.h"
#include "net/trace.h"
#include "tests/unit/nth_files.h"

static struct env_file *open_new(struct fixture *fixture, const char *name)
{
    struct env_file *file = NULL;
    char path[128];

    cr_assert_eq(env_file_open(fixture->env, fixture_path(fixture, name, path),
                               ENV_OPEN_READ | ENV_OPEN_WRITE | ENV_OPEN_CREATE, &file), 0);
    return file;
}

Test(env_posix_file, what_is_written_is_read_back_and_reads_end_at_the_end)
{
    struct fixture fixture;
    struct env_file *file;
    uint8_t into[16];
    uint64_t size;
    size_t got;

    fixture_init(&fixture, NULL);
    file = open_new(&fixture, "a");
    cr_assert_eq(env_file_write(fixture.env, file, 3, BYTES_LITERAL("hello")), 0);
    cr_assert_eq(env_file_size(fixture.env, file, &size), 0);
    cr_assert_eq(size, 8);
    cr_assert_eq(env_file_read(fixture.env, file, 0, into, sizeof(into), &got), 0);
    cr_assert_eq(got, 8);
    cr_assert_arr_eq(into, "\0\0\0hello", 8);
    cr_assert_eq(env_file_read(fixture.env, file, 100, into, sizeof(into), &got), 0);
    cr_assert_eq(got, 0);
    cr_assert_eq(env_file_truncate(fixture.env, file, 4), 0);
    cr_assert_eq(env_file_size(fixture.env, file, &size), 0);
    cr_assert_eq(size, 4);
    cr_assert_eq(env_file_drop_cache(fixture.env, file), 0);
    env_file_close(fixture.env, file);
    env_file_close(fixture.env, NULL);
    fixture_done(&fixture);
}

Test(env_posix_file, a_zero_filled_file_is_allocated_and_zero)
{
    struct fixture fixture;
    struct env_file *file;
    struct stat status;
    uint8_t byte = 1;
    char path[128];
    size_t got;

    fixture_init(&fixture, NULL);
    file = open_new(&fixture, "z");
    cr_assert_eq(env_file_write(fixture.env, file, 1000, BYTES_LITERAL("xxxx")), 0);
    cr_assert_eq(env_file_zero_fill(fixture.env, file, 1002, 3000000), 0);
    cr_assert_eq(stat(fixture_path(&fixture, "z", path), &status), 0);
    cr_assert_eq(status.st_size, 3001002);
    cr_assert_geq(status.st_blocks * 512, 3000000);
    cr_assert_eq(env_file_read(fixture.env, file, 1001, &byte, 1, &got), 0);
    cr_assert_eq(byte, 'x');
    for (uint64_t at = 1002; at < 3001002; at += 99991) {
        cr_assert_eq(env_file_read(fixture.env, file, at, &byte, 1, &got), 0);
        cr_assert(got == 1 && byte == 0);
    }
    env_file_close(fixture.env, file);
    fixture_done(&fixture);
}

Test(env_posix_file, opening_tells_what_is_wrong)
{
    struct fixture fixture;
    struct env_file *file = NULL, *again = NULL;
    char path[128];

    fixture_init(&fixture, NULL);
    fixture_path(&fixture, "none", path);
    cr_assert_eq(env_file_open(fixture.env, path, ENV_OPEN_READ, &file), ERROR_FILE_NOT_FOUND);
    cr_assert_eq(env_file_open(fixture.env, fixture.dir, ENV_OPEN_WRITE, &file), ERROR_FILE_NOT_WRITABLE);
    cr_assert_eq(env_file_open(fixture.env, path, ENV_OPEN_WRITE | ENV_OPEN_CREATE | ENV_OPEN_EXCLUSIVE, &file), 0);
    cr_assert_eq(env_file_open(fixture.env, path, ENV_OPEN_WRITE | ENV_OPEN_CREATE | ENV_OPEN_EXCLUSIVE, &again),
                 ERROR_FILE_NOT_WRITABLE);
    cr_assert_null(again);
    env_file_close(fixture.env, file);
    fixture_done(&fixture);
}

static void count_name(void *ctx, const char *name)
{
    int *found = ctx;

    cr_assert(strlen(name) == 2 && name[0] == 'f');
    found[name[1] - '0']++;
}

Test(env_posix_file, names_are_made_listed_renamed_and_removed)
{
    struct fixture fixture;
    char dir[128], a[160], b[160], out[8];
    struct env_space space;
    int found[3] = {0};

    fixture_init(&fixture, NULL);
    fixture_path(&fixture, "d", dir);
    cr_assert_eq(env_dir_make(fixture.env, dir), 0);
    cr_assert_eq(env_dir_make(fixture.env, dir), 0, "fine if it exists");
    env_file_close(fixture.env, open_new(&fixture, "d/f0"));
    env_file_close(fixture.env, open_new(&fixture, "d/f1"));
    snprintf(a, sizeof(a), "%s/f1", dir);
    snprintf(b, sizeof(b), "%s/f2", dir);
    cr_assert_eq(env_rename(fixture.env, a, b), 0);
    cr_assert_eq(env_rename(fixture.env, a, b), ERROR_FILE_NOT_FOUND);
    cr_assert_eq(env_dir_sync(fixture.env, dir), 0);
    cr_assert_eq(env_dir_list(fixture.env, dir, count_name, found), 0);
    cr_assert(found[0] == 1 && found[1] == 0 && found[2] == 1);
    cr_assert_eq(env_remove(fixture.env, b), 0);
    cr_assert_eq(env_remove(fixture.env, b), ERROR_FILE_NOT_FOUND);
    cr_assert_eq(env_dir_list(fixture.env, b, count_name, found), ERROR_FILE_NOT_FOUND);
    cr_assert_eq(env_dir_sync(fixture.env, b), ERROR_FILE_NOT_FOUND);
    cr_assert_eq(env_dir_space(fixture.env, dir, &space), 0);
    cr_assert(space.total_bytes > 0 && space.free_bytes <= space.total_bytes);
    cr_assert_eq(env_real_path(fixture.env, "abc", out, sizeof(out)), 0);
    cr_assert_str_eq(out, "abc");
    cr_assert_neq(env_real_path(fixture.env, "12345678", out, sizeof(out)), 0);
    fixture_done(&fixture);
}

/* ---- syncs ---- */

struct syncing {
    struct env_sync sync;
    struct env *env;
    int *left;
    int done, error, left_after;
    struct env_file *closes;
};

static void sync_done(struct env_sync *sync, int error)
{
    struct syncing *syncing = container_of(sync, struct syncing, sync);

    syncing->done++;
    syncing->error = error;
    if (syncing->closes != NULL)
        env_file_close(syncing->env, syncing->closes);
    syncing->left_after = --*syncing->left;
    if (syncing->left_after == 0)
        env_posix_stop(syncing->env);
}

enum { SYNCS = 50, FILES = 3 };

Test(env_posix_file, syncs_of_several_files_are_each_done_once)
{
    struct fixture fixture;
    static struct syncing syncs[FILES][SYNCS];
    struct env_file *files[FILES];
    int left = FILES * SYNCS;

    fixture_init(&fixture, NULL);
    for (int i = 0; i < FILES; i++) {
        files[i] = open_new(&fixture, (char[]){(char)('a' + i), 0});
        cr_assert_eq(env_file_write(fixture.env, files[i], 0, BYTES_LITERAL("data")), 0);
        for (int j = 0; j < SYNCS; j++) {
            syncs[i][j] = (struct syncing){.sync.done = sync_done, .env = fixture.env, .left = &left};
            env_file_sync(fixture.env, files[i], &syncs[i][j].sync);
        }
        env_file_close(fixture.env, files[i]); /* goes when the last sync is back */
    }
    cr_assert_eq(left, FILES * SYNCS, "a submit never calls back");
    env_posix_run(fixture.env);
    for (int i = 0; i < FILES * SYNCS; i++) {
        struct syncing *syncing = &syncs[i / SYNCS][i % SYNCS];

        cr_assert_eq(syncing->done, 1);
        cr_assert_eq(syncing->error, 0);
        cr_assert(i % SYNCS == 0 || syncing->left_after < syncing[-1].left_after, "in the order they were asked for");
    }
    fixture_done(&fixture);
}

Test(env_posix_file, a_file_may_be_closed_when_its_sync_is_done)
{
    struct fixture fixture;
    int left = 1;
    struct syncing syncing = {.sync.done = sync_done, .left = &left};

    fixture_init(&fixture, NULL);
    syncing.env = fixture.env;
    syncing.closes = open_new(&fixture, "a");
    env_file_sync(fixture.env, syncing.closes, &syncing.sync);
    env_posix_run(fixture.env);
    cr_assert_eq(syncing.done, 1);
    fixture_done(&fixture);
}

Test(env_posix_file, after_a_failed_write_no_sync_succeeds)
{
    struct fixture fixture;
    struct env_file *file = NULL;
    int left = 1;
    struct syncing syncing = {.sync.done = sync_done, .left = &left};

    fixture_init(&fixture, NULL);
    syncing.env = fixture.env;
    cr_assert_eq(env_file_open(fixture.env, "/dev/full", ENV_OPEN_WRITE, &file), 0);
    cr_assert_eq(env_file_write(fixture.env, file, 0, BYTES_LITERAL("x")), ERROR_IO_ERROR);
    cr_assert_eq(env_file_sync_now(fixture.env, file), ERROR_IO_ERROR);
    env_file_sync(fixture.env, file, &syncing.sync);
    env_posix_run(fixture.env);
    cr_assert_eq(syncing.error, ERROR_IO_ERROR);
    env_file_close(fixture.env, file);
    fixture_done(&fixture);
}

/* ---- jobs ---- */

struct work {
    struct env_job job;
    pthread_t loop;
    int *left, *order;
    int number, ran_as, policy, nice;
    bool ran_elsewhere;
};

static void work_run(struct env_job *job)
{
    struct work *work = container_of(job, struct work, job);

    work->ran_elsewhere = !pthread_equal(pthread_self(), work->loop);
    work->policy = sched_getscheduler(0);
    work->nice = getpriority(PRIO_PROCESS, 0);
}

static void work_done(struct env_job *job)
{
    struct work *work = container_of(job, struct work, job);

    cr_assert(pthread_equal(pthread_self(), work->loop));
    work->ran_as = (*work->order)++;
    if (--*work->left == 0)
        env_posix_stop(job->env);
}

enum { JOBS = 100 };

Test(env_posix_file, jobs_run_elsewhere_in_order_and_finish_on_the_loop)
{
    struct fixture fixture;
    static struct work works[JOBS];
    int left = JOBS, order = 0;

    fixture_init(&fixture, NULL);
    for (int i = 0; i < JOBS; i++) {
        works[i] = (struct work){.job = {.run = work_run, .done = work_done}, .loop = pthread_self(), .left = &left,
                                 .order = &order, .number = i};
        env_job_start(fixture.env, &works[i].job);
    }
    env_posix_run(fixture.env);
    for (int i = 0; i < JOBS; i++) {
        cr_assert(works[i].ran_elsewhere);
        cr_assert_eq(works[i].ran_as, i);
    }
    fixture_done(&fixture);
}

static void *come_back(void *ctx)
{
    struct sched_param none = {0};

    *(bool *)ctx = sched_setscheduler(0, SCHED_IDLE, &none) == 0 && sched_setscheduler(0, SCHED_OTHER, &none) == 0;
    return NULL;
}

/* Who may not raise a priority again never takes the lowest. */
static void needs_to_come_back(void)
{
    pthread_t thread;
    bool may = false;

    cr_assert_eq(pthread_create(&thread, NULL, come_back, &may), 0);
    pthread_join(thread, NULL);
    if (!may)
        cr_skip_test("who may not raise a priority can't hurry");
}

static void run_idle_job(struct work *ret_work)
{
    struct fixture fixture;
    int left = 1, order = 0;

    *ret_work = (struct work){.job = {.run = work_run, .done = work_done, .priority = ENV_JOB_IDLE}, .left = &left, .order = &order,
                              .loop = pthread_self()};
    fixture_init(&fixture, NULL);
    env_job_start(fixture.env, &ret_work->job);
    env_posix_run(fixture.env);
    fixture_done(&fixture);
}

Test(env_posix_file, an_idle_job_runs_at_idle_priority)
{
    struct work work;

    needs_to_come_back();
    run_idle_job(&work);
    cr_assert_eq(work.policy, SCHED_IDLE);
}

Test(env_posix_file, an_idle_job_that_could_not_be_hurried_gives_way_by_its_nice_value)
{
    struct rlimit none = {0};
    struct work work;
    int own = getpriority(PRIO_PROCESS, 0);

    cr_assert_eq(setrlimit(RLIMIT_NICE, &none), 0);
    if (geteuid() == 0)
        cr_assert_eq(setuid(65534), 0);
    run_idle_job(&work);
    cr_assert_eq(work.policy, SCHED_OTHER);
    cr_assert_eq(work.nice, own + 6 > 19 ? 19 : own + 6);
}

/* Jobs that run until their thread is hurried, and the one that comes after them. */
struct hurried {
    struct work works[3];
    struct env_timer timer;
    int meant; /* which of them is hurried */
};

static void wait_for_hurry(struct env_job *job)
{
    for (int i = 0; i < 5000 && sched_getscheduler(0) == SCHED_IDLE; i++)
        usleep(1000);
    work_run(job);
}

static void hurry_it(struct env_timer *timer)
{
    struct hurried *hurried = container_of(timer, struct hurried, timer);

    env_job_hurry(hurried->works[hurried->meant].job.env, &hurried->works[hurried->meant].job);
}

static void hurry_one_of_three(struct hurried *hurried, int meant)
{
    struct fixture fixture;
    int left = 3, order = 0;

    *hurried = (struct hurried){.timer.fire = hurry_it, .meant = meant};
    fixture_init(&fixture, NULL);
    for (int i = 0; i < 3; i++) {
        hurried->works[i] = (struct work){.job = {.run = i <= meant ? wait_for_hurry : work_run, .done = work_done, .priority = ENV_JOB_IDLE},
                                          .left = &left, .order = &order, .loop = pthread_self()};
        env_job_start(fixture.env, &hurried->works[i].job);
    }
    env_timer_start(fixture.env, &hurried->timer, env_now_us(fixture.env) + 20000);
    env_posix_run(fixture.env);
    fixture_done(&fixture);
}

Test(env_posix_file, an_idle_job_under_way_can_be_hurried)
{
    struct hurried hurried;

    needs_to_come_back();
    hurry_one_of_three(&hurried, 0);
    cr_assert_eq(hurried.works[0].policy, SCHED_OTHER);
    cr_assert_eq(hurried.works[1].policy, SCHED_IDLE, "the next one gives way again");
}

Test(env_posix_file, an_idle_job_that_waits_is_hurried_with_the_one_before_it)
{
    struct hurried hurried;

    needs_to_come_back();
    hurry_one_of_three(&hurried, 1);
    cr_assert_eq(hurried.works[0].policy, SCHED_OTHER);
    cr_assert_eq(hurried.works[1].policy, SCHED_OTHER);
    cr_assert_eq(hurried.works[2].policy, SCHED_IDLE);
}

struct quiet_wait {
    struct ready ready;
    struct env *env;
    int times;
    bool was_quiet;
};

static void on_quiet(struct ready *ready)
{
    struct quiet_wait *wait = container_of(ready, struct quiet_wait, ready);

    wait->times++;
    wait->was_quiet = env_posix_is_quiet(wait->env);
    env_posix_stop(wait->env);
}

Test(env_posix_file, who_waits_for_quiet_is_told_once_when_the_last_job_is_back)
{
    struct fixture fixture;
    int left = 2, order = 0;
    struct work work = {.job = {.run = work_run, .done = work_done}, .left = &left, .order = &order, .loop = pthread_self()};
    struct quiet_wait wait = {.ready.run = on_quiet}, taken_back = {.ready.run = on_quiet};

    fixture_init(&fixture, NULL);
    wait.env = taken_back.env = fixture.env;
    cr_assert(env_posix_is_quiet(fixture.env));
    env_job_start(fixture.env, &work.job);
    cr_assert_not(env_posix_is_quiet(fixture.env));
    env_posix_when_quiet(fixture.env, &wait.ready);
    env_posix_when_quiet(fixture.env, &wait.ready);
    env_posix_when_quiet(fixture.env, &taken_back.ready);
    env_ready_cancel(&taken_back.ready);
    env_posix_run(fixture.env);
    cr_assert_eq(order, 1, "the job's completion came first");
    cr_assert(wait.times == 1 && wait.was_quiet);
    cr_assert_eq(taken_back.times, 0);
    fixture_done(&fixture);
}

struct orphan {
    struct env_job job;
    int *freed;
};

static void orphan_run(struct env_job *job)
{
    (void)job;
    usleep(20000);
}

static void orphan_done(struct env_job *job)
{
    struct orphan *orphan = container_of(job, struct orphan, job);

    ++*orphan->freed;
    mem_free(orphan);
}

Test(env_posix_file, destroying_the_env_waits_for_jobs_and_syncs_under_way)
{
    struct fixture fixture;
    struct env_file *file;
    int freed = 0, left = 2;
    struct syncing syncing = {.sync.done = sync_done, .left = &left};

    fixture_init(&fixture, NULL);
    for (int i = 0; i < 3; i++) {
        struct orphan *orphan = mem_zalloc(sizeof(*orphan));

        *orphan = (struct orphan){.job = {.run = orphan_run, .done = orphan_done}, .freed = &freed};
        env_job_start(fixture.env, &orphan->job);
    }
    file = open_new(&fixture, "a");
    env_file_sync(fixture.env, file, &syncing.sync);
    env_file_close(fixture.env, file);
    fixture_done(&fixture);
    cr_assert_eq(freed, 3);
    cr_assert_eq(syncing.done, 1);
}

struct stopping {
    struct env_timer timer;
    struct work slow, queued;
    atomic_bool slow_began;
    bool slow_over, queued_ran;
};

static void run_slowly(struct env_job *job)
{
    struct stopping *stopping = container_of(job, struct stopping, slow.job);

    atomic_store(&stopping->slow_began, true);
    usleep(50000);
    stopping->slow_over = true;
}

static void run_never(struct env_job *job)
{
    container_of(job, struct stopping, queued.job)->queued_ran = true;
}

static void stop_both(struct env_timer *timer)
{
    struct stopping *stopping = container_of(timer, struct stopping, timer);

    if (!atomic_load(&stopping->slow_began)) {
        env_timer_start(stopping->slow.job.env, timer, env_now_us(stopping->slow.job.env) + 1000);
        return;
    }
    env_job_stop(stopping->slow.job.env, &stopping->queued.job);
    env_job_stop(stopping->slow.job.env, &stopping->slow.job);
    cr_assert(stopping->slow_over);
}

Test(env_posix_file, a_job_that_is_stopped_is_over_or_never_begins)
{
    static const enum env_job_priority priorities[] = {ENV_JOB_NORMAL, ENV_JOB_IDLE};

    for (int i = 0; i < 2; i++) {
        struct fixture fixture;
        int left = 2, order = 0;
        struct stopping stopping = {.timer.fire = stop_both};

        fixture_init(&fixture, NULL);
        stopping.slow = stopping.queued = (struct work){.left = &left, .order = &order, .loop = pthread_self()};
        stopping.slow.job = (struct env_job){.run = run_slowly, .done = work_done, .priority = priorities[i]};
        stopping.queued.job = (struct env_job){.run = run_never, .done = work_done, .priority = priorities[i]};
        env_job_start(fixture.env, &stopping.slow.job);
        env_job_start(fixture.env, &stopping.queued.job);
        env_timer_start(fixture.env, &stopping.timer, env_now_us(fixture.env) + 1000);
        env_posix_run(fixture.env); /* until both are done */
        cr_assert(stopping.slow_over && !stopping.queued_ran);
        fixture_done(&fixture);
    }
}

/* ---- trace files ---- */

static void count_trace(void *ctx, const char *name)
{
    int *count = ctx;

    cr_assert_eq(strncmp(name, "trace.4500.", 11), 0);
    ++*count;
}

Test(env_posix_file, trace_files_roll_and_the_oldest_go)
{
    struct fixture fixture, traced;
    struct env_posix_options options = {.trace_port = 4500};
    int count = 0;

    fixture_init(&fixture, NULL);
    options.trace_dir = fixture.dir;
    fixture_init(&traced, &options);
    traced.env->knobs.trace_roll_bytes = 1000;
    traced.env->knobs.trace_files_max = 3;
    for (int i = 0; i < 2000; i++)
        TRACE(traced.env, SEVERITY_INFO, "Filler", {"I", trace_int(i)}, {"Text", trace_str("0123456789012345678901234567")});
    TRACE(traced.env, SEVERITY_DEBUG, "BelowTheLeast", {"I", trace_int(1)});
    fixture_done(&traced);
    cr_assert_eq(env_dir_list(fixture.env, fixture.dir, count_trace, &count), 0);
    cr_assert_eq(count, 3);
    fixture_done(&fixture);
}

Test(env_posix_file, a_trace_directory_that_does_not_exist_harms_nobody)
{
    struct fixture fixture;
    struct env_posix_options options = {.trace_dir = "/nonexistent/quoin"};

    fixture_init(&fixture, &options);
    TRACE(fixture.env, SEVERITY_ERROR, "Lost", {"I", trace_int(1)});
    fixture_done(&fixture);
}

Test(env_posix_file, creating_an_env_survives_every_failed_allocation)
{
    struct env_posix_options options = {.trace_dir = "/tmp"};

    FAIL_EACH(nth, nth_allocation) {
        struct env *env = NULL;
        int error;

        nth_begin(&nth, NULL);
        error = env_posix_create(&options, &env);
        cr_assert_eq(error, nth_end(&nth) ? ERROR_OUT_OF_MEMORY : 0);
        cr_assert_eq(env == NULL, error != 0);
        if (env != NULL)
            env_posix_destroy(env);
    }
}

/* ---- each file call fails once ---- */

static int count_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int count = 0;

    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

static void ignore_name(void *ctx, const char *name)
{
    (void)ctx, (void)name;
}

static int use_file(struct env *env, struct env_file *file)
{
    uint8_t bytes[8];
    uint64_t size;
    size_t got;
    int error = env_file_zero_fill(env, file, 0, 200000);

    if (error == 0)
        error = env_file_write(env, file, 4096, BYTES_LITERAL("kept"));
    if (error == 0)
        error = env_file_sync_now(env, file);
    if (error == 0)
        error = env_file_truncate(env, file, 8192);
    if (error == 0)
        error = env_file_size(env, file, &size);
    if (error == 0)
        error = env_file_drop_cache(env, file);
    if (error == 0)
        error = env_file_read(env, file, 4096, bytes, 4, &got);
    return error;
}

/* Everything that can be done to files and names, until the first error. */
static int use_directory(struct env *env, const char *directory)
{
    char one[256], two[256];
    struct env_file *file;
    int error = env_dir_make(env, directory);

    snprintf(one, sizeof(one), "%s/one", directory);
    snprintf(two, sizeof(two), "%s/two", directory);
    if (error == 0)
        error = env_file_open(env, one, ENV_OPEN_READ | ENV_OPEN_WRITE | ENV_OPEN_CREATE, &file);
    if (error != 0)
        return error;
    error = use_file(env, file);
    env_file_close(env, file);
    if (error == 0)
        error = env_rename(env, one, two);
    if (error == 0)
        error = env_dir_sync(env, directory);
    if (error == 0)
        error = env_dir_list(env, directory, ignore_name, NULL);
    if (error == 0)
        error = env_remove(env, two);
    return error;
}

Test(env_posix_file, any_failing_call_is_an_io_error_and_leaves_no_descriptor)
{
    FAIL_EACH(nth, nth_file_call) {
        struct fixture fixture;
        char directory[128];
        int before, error;

        fixture_init(&fixture, NULL);
        fixture_path(&fixture, "d", directory);
        before = count_descriptors();
        nth_begin(&nth, directory);
        error = use_directory(fixture.env, directory);
        cr_assert_eq(error, nth_end(&nth) ? ERROR_IO_ERROR : 0);
        cr_assert_eq(count_descriptors(), before);
        fixture_done(&fixture);
    }
}
