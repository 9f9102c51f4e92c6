/* Clock, random numbers, jobs, trace lines and the end of a process: what of the seam is neither network nor disk. */
#include "sim/ballot.h"
#include "sim/damage.h"
#include "sim/env_sim.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "net/error.h"
#include "net/mem.h"
#include "sim/world.h"

/* ---- clocks and random numbers ---- */

static int64_t now_us(struct env *env)
{
    struct sim_process *process = sim_process_of(env);

    process->clock_calls++;
    return sim_process_clock_us(process);
}

static int64_t wall_us(struct env *env)
{
    struct sim_process *process = sim_process_of(env);

    return INT64_C(1700000000) * SIM_SECOND_US + process->world->now_us + process->wall_offset_us;
}

static uint64_t draw(struct env *env)
{
    return sim_random_u64(&sim_process_of(env)->random);
}

static void wake_at(struct env *env)
{
    sim_process_plan(sim_process_of(env));
}

/* ---- what is in flight ---- */

struct sim_pending *sim_pending_take(struct sim_process *process, struct list *list)
{
    struct list *spare = list_pop_front(&process->world->spare_events);
    struct sim_pending *pending;

    if (spare == NULL)
        pending = sim_zalloc(sizeof(*pending));
    else
        pending = list_entry(spare, struct sim_pending, event.link);
    memset(pending, 0, sizeof(*pending));
    pending->process = process;
    list_push_back(list, &pending->link);
    return pending;
}

void sim_pending_free(struct sim_pending *pending)
{
    struct sim_world *world = pending->process->world;

    sim_agenda_remove(&world->agenda, &pending->event);
    list_remove(&pending->link);
    mem_free(pending->pages);
    pending->pages = NULL;
    list_push_back(&world->spare_events, &pending->event.link);
}

/* ---- jobs ---- */

static void job_ready(struct ready *ready)
{
    struct env_job *job = container_of(ready, struct env_job, ready);
    struct sim_process *process = sim_process_of(job->env);

    list_each(link, after, &process->jobs) {
        struct sim_pending *pending = list_entry(link, struct sim_pending, link);

        if (pending->job == job) {
            sim_pending_free(pending);
            break;
        }
    }
    job->done(job);
}

static void job_done_arrives(struct sim_event *event)
{
    struct sim_pending *pending = container_of(event, struct sim_pending, event);

    env_ready(&pending->process->env, &pending->job->ready, READY_COMMIT);
}

/* Returns how long it blocked its thread, which is not the loop's. */
static int64_t job_run(struct sim_pending *pending)
{
    struct sim_process *process = pending->process;
    int64_t loop_blocked_us = process->blocked_us, blocked_us;

    pending->ran = true;
    sim_set_cause(process->world, sim_note(process->world, process, "job", 0));
    pending->job->run(pending->job);
    blocked_us = process->blocked_us - loop_blocked_us;
    process->blocked_us = loop_blocked_us;
    return blocked_us;
}

static void job_ends_in(struct sim_pending *pending, int64_t us)
{
    pending->event.fire = job_done_arrives;
    pending->event.process = pending->process;
    sim_event_in(pending->process->world, &pending->event, us);
}

static void job_run_fire(struct sim_event *event)
{
    struct sim_pending *pending = container_of(event, struct sim_pending, event);
    struct sim_world *world = pending->process->world;
    int64_t blocked_us;

    if (pending->process->paused) { /* a stopped process has stopped threads */
        sim_event_in(world, event, 20000);
        return;
    }
    blocked_us = job_run(pending);
    job_ends_in(pending, blocked_us + sim_random_range(&world->schedule, 1, 100));
}

static void job_start(struct env *env, struct env_job *job)
{
    struct sim_process *process = sim_process_of(env);
    struct sim_world *world = process->world;
    struct sim_pending *pending = sim_pending_take(process, &process->jobs);
    int64_t typical_us = world->settings.job_us * (job->priority == ENV_JOB_IDLE ? 10 : 1);

    assert(job->run != NULL && job->done != NULL);
    job->env = env;
    job->ready = (struct ready){.run = job_ready};
    pending->job = job;
    pending->cut_off = sim_process_cut_off(process);
    pending->event.fire = job_run_fire;
    sim_event_in(world, &pending->event, sim_draw_us(&world->schedule, typical_us, 50, typical_us * 50));
}

static void job_hurry(struct env *env, struct env_job *job)
{
    struct sim_process *process = sim_process_of(env);
    struct sim_world *world = process->world;

    list_each(link, after, &process->jobs) {
        struct sim_pending *pending = list_entry(link, struct sim_pending, link);
        int64_t at_us;

        if (pending->job != job || pending->ran || pending->event.heap_index_plus_1 == 0)
            continue;
        at_us = world->now_us + sim_draw_us(&world->schedule, world->settings.job_us, 50, world->settings.job_us * 50);
        if (at_us < pending->event.at_us)
            sim_agenda_put(&world->agenda, &pending->event, at_us);
    }
}

static void job_stop(struct env *env, struct env_job *job)
{
    struct sim_process *process = sim_process_of(env);

    list_each(link, after, &process->jobs) {
        struct sim_pending *pending = list_entry(link, struct sim_pending, link);

        if (pending->job != job || pending->ran)
            continue;
        pending->ran = true; /* it never will */
        job_ends_in(pending, sim_random_range(&process->world->schedule, 1, 100));
    }
}

void sim_jobs_end(struct sim_process *process, bool may_run)
{
    struct list *link;

    while ((link = process->jobs.next) != &process->jobs) {
        struct sim_pending *pending = list_entry(link, struct sim_pending, link);
        struct env_job *job = pending->job;

        env_ready_cancel(&job->ready);
        if (!pending->ran && may_run && !pending->cut_off && sim_random_coin(&process->world->schedule))
            job_run(pending);
        sim_pending_free(pending);
        job->done(job);
    }
}

/* ---- trace, exit ---- */

static void trace(struct env *env, enum severity severity, struct bytes line)
{
    struct sim_process *process = sim_process_of(env);
    struct sim_world *world = process->world;
    bool wanted;

    sim_note_as(world, process, "trace", XXH3_64bits(line.ptr, line.len), "%.*s", (int)line.len, (const char *)line.ptr);
    if (severity >= SEVERITY_WARN)
        world->warnings++;
    if (!sim_process_cut_off(process)) { /* what it made in this turn is not there, and nobody hears what it says of that */
        sim_ballot_look(world, process, line);
        sim_damage_look(world, process, line);
    }
    list_each(node, after, &world->listeners) {
        struct sim_listener *listener = list_entry(node, struct sim_listener, link);

        listener->heard(listener, process, line);
    }
    wanted = world->traced != NULL && world->traced(world, process, severity, line);
    if (severity < SEVERITY_ERROR || wanted || sim_process_cut_off(process))
        return;
    if (process->damaged && sim_line_is(line, "StorageReadyTooEarly")) /* its disk went back to before it had said that it has the shard */
        return;
    if (world->errors_allowed > 0)
        world->errors_allowed--;
    else
        sim_world_fail(world, "%s logged an error: %.*s", process->name, (int)line.len, (const char *)line.ptr);
}

static void process_exit(struct env *env, int status, const char *why)
{
    struct sim_process *process = sim_process_of(env);

    if (process->exiting || process->dying)
        return;
    process->exiting = true;
    process->exit_status = status;
    process->exit_line = sim_note_as(process->world, process, "exit", (uint64_t)status, "exits: %s", why);
    sim_process_plan(process);
}

/* ---- the scratch directory ---- */

static bool make_parents(char *path)
{
    for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        int result = mkdir(path, 0700);
        *slash = '/';
        if (result != 0 && errno != EEXIST)
            return false;
    }
    return true;
}

static bool make_scratch(struct sim_world *world)
{
    static const char *const places[] = {"/dev/shm", "/tmp"};

    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        snprintf(world->scratch, sizeof(world->scratch), "%s/quoin-sim-XXXXXX", places[i]);
        if (mkdtemp(world->scratch) != NULL)
            return true;
    }
    world->scratch[0] = '\0';
    return false;
}

bool sim_scratch_path(struct sim_process *process, const char *path, bool make, char *out, size_t out_size)
{
    struct sim_world *world = process->world;
    int length;

    if (world->scratch[0] == '\0' && (!make || !make_scratch(world)))
        return false;
    length = snprintf(out, out_size, "%s/p%u/%s", world->scratch, process->id, path[0] == '/' ? path + 1 : path);
    if (length < 0 || (size_t)length >= out_size)
        return false;
    return !make || make_parents(out);
}

bool sim_scratch_unlink(struct sim_process *process, const char *path)
{
    char real[SIM_PATH_MAX];

    return sim_scratch_path(process, path, false, real, sizeof(real)) && unlink(real) == 0;
}

static int not_hidden(const struct dirent *entry)
{
    return entry->d_name[0] != '.' && entry->d_type == DT_REG;
}

void sim_scratch_list(struct sim_process *process, const char *path, void (*each)(void *ctx, const char *name), void *ctx)
{
    char real[SIM_PATH_MAX];
    struct dirent **entries = NULL;
    int count;

    if (!sim_scratch_path(process, path, false, real, sizeof(real)))
        return;
    count = scandir(real, &entries, not_hidden, alphasort);
    for (int i = 0; i < count; i++) {
        each(ctx, entries[i]->d_name);
        mem_free(entries[i]);
    }
    mem_free(entries);
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *where)
{
    (void)status;
    (void)kind;
    (void)where;
    return remove(path);
}

static bool process_directory(struct sim_process *process, const char *suffix, char out[SIM_PATH_MAX + 32])
{
    snprintf(out, SIM_PATH_MAX + 32, "%s/p%u%s", process->world->scratch, process->id, suffix);
    return process->world->scratch[0] != '\0';
}

void sim_scratch_erase(struct sim_process *process)
{
    char directory[SIM_PATH_MAX + 32];

    if (process_directory(process, "", directory))
        nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Either may not be there. */
void sim_scratch_swap(struct sim_process *a, struct sim_process *b)
{
    char one[SIM_PATH_MAX + 32], other[SIM_PATH_MAX + 32], aside[SIM_PATH_MAX + 32];

    if (!process_directory(a, "", one) || !process_directory(b, "", other) || !process_directory(a, "-aside", aside))
        return;
    (void)rename(one, aside);
    (void)rename(other, one);
    (void)rename(aside, other);
}

void sim_scratch_remove(struct sim_world *world)
{
    if (world->scratch[0] == '\0')
        return;
    nftw(world->scratch, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    world->scratch[0] = '\0';
}

static int real_path(struct env *env, const char *path, char *out, size_t out_size)
{
    return sim_scratch_path(sim_process_of(env), path, true, out, out_size) ? 0 : ERROR_IO_ERROR;
}

const struct env_ops sim_env_ops = {
    .now_us = now_us,
    .wall_us = wall_us,
    .random = draw,
    .wake_at = wake_at,
    .listen = sim_listen,
    .listener_close = sim_listener_close,
    .connect = sim_connect,
    .conn_adopt = sim_conn_adopt,
    .conn_send = sim_conn_send,
    .conn_unsent_bytes = sim_conn_unsent_bytes,
    .conn_pause = sim_conn_pause,
    .conn_close = sim_conn_close,
    .file_open = sim_file_open,
    .file_read = sim_file_read,
    .file_write = sim_file_write,
    .file_size = sim_file_size,
    .file_truncate = sim_file_truncate,
    .file_zero_fill = sim_file_zero_fill,
    .file_drop_cache = sim_file_drop_cache,
    .file_sync = sim_file_sync,
    .file_sync_now = sim_file_sync_now,
    .file_close = sim_file_close,
    .rename = sim_rename,
    .remove = sim_remove,
    .dir_make = sim_dir_make,
    .dir_sync = sim_dir_sync,
    .dir_list = sim_dir_list,
    .dir_space = sim_dir_space,
    .real_path = real_path,
    .job_start = job_start,
    .job_hurry = job_hurry,
    .job_stop = job_stop,
    .trace = trace,
    .exit = process_exit,
};
