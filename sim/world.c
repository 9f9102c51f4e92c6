/* The run loop and the life of processes.
 *
 * The agenda gives the next event; one that belongs to a process runs inside a turn of that process: the event, whatever else
 * waits in its inbox, then env_turn(). A turn takes a little virtual time; what arrives meanwhile waits in the inbox, which is
 * also where everything waits while the process is paused. A process without events sleeps until its earliest timer. */
#include "sim/world.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>

#include "net/error.h"
#include "net/mem.h"
#include "sim/buggify.h"
#include "sim/env_sim.h"

enum { ROUNDS_MAX = 1000, ALLOCATIONS_MAX = 100 };

enum { STREAM_SCHEDULE, STREAM_FAULTS, STREAM_WORKLOAD, STREAM_KNOBS };

void *sim_zalloc(size_t size)
{
    void *ptr = mem_zalloc(size);

    assert(ptr != NULL);
    return ptr;
}

char *sim_strdup(const char *text)
{
    size_t size = strlen(text) + 1;

    return memcpy(sim_zalloc(size), text, size);
}

int64_t sim_draw_us(struct sim_random *random, int64_t typical_us, unsigned tail, int64_t tail_us)
{
    int64_t us = sim_random_range(random, typical_us / 2, typical_us + typical_us / 2);

    if (tail != 0 && sim_random_one_in(random, tail))
        us += sim_random_range(random, 0, tail_us);
    return us;
}

/* ---- the world ---- */

static struct sim_settings default_settings(void)
{
    return (struct sim_settings){
        .latency_us = 150,
        .latency_tail = 200,
        .latency_tail_us = 10000,
        .split_one_in = 50,
        .merge_one_in = 20,
        .window_bytes = 1 << 20,
        .sync_us = 150,
        .sync_tail = 100,
        .sync_tail_us = 20000,
        .job_us = 500,
        .disk_bytes = UINT64_C(16) << 30,
        .restart_us = 2 * SIM_SECOND_US,
    };
}

struct sim_world *sim_world_create(uint64_t seed)
{
    struct sim_world *world = sim_zalloc(sizeof(*world));

    world->seed = seed;
    world->schedule = sim_random_stream(seed, STREAM_SCHEDULE);
    world->faults = sim_random_stream(seed, STREAM_FAULTS);
    world->workload = sim_random_stream(seed, STREAM_WORKLOAD);
    world->knobs_random = sim_random_stream(seed, STREAM_KNOBS);
    world->settings = default_settings();
    world->hash = sim_mix(seed);
    knobs_init(&world->knobs);
    sim_net_init(&world->net);
    sim_meter_init(&world->meter);
    list_init(&world->spare_events);
    list_init(&world->listeners);
    return world;
}

void sim_world_buggify(struct sim_world *world)
{
    if (world->buggify == NULL)
        world->buggify = sim_buggify_create(world->seed);
}

static void free_pages(struct sim_pages *pages)
{
    while (pages->spare != NULL) {
        struct sim_page_block *block = pages->spare;

        pages->spare = block->next;
        mem_free(block);
    }
}

static void free_spare_events(struct sim_world *world)
{
    struct list *link;

    while ((link = list_pop_front(&world->spare_events)) != NULL)
        mem_free(list_entry(link, struct sim_pending, event.link));
}

void sim_world_destroy(struct sim_world *world)
{
    if (world == NULL)
        return;
    for (size_t i = 0; i < world->process_count; i++)
        sim_process_stop(world->processes[i], SIM_END);
    sim_net_done(world);
    for (size_t i = 0; i < world->process_count; i++) {
        struct sim_process *process = world->processes[i];

        sim_agenda_remove(&world->agenda, &process->restart);
        sim_disk_destroy(process->disk);
        mem_free((char *)process->name);
        mem_free(process);
    }
    mem_free(world->processes);
    free_pages(&world->pages);
    free_spare_events(world);
    sim_agenda_done(&world->agenda);
    sim_buggify_destroy(world->buggify);
    sim_trace_destroy(world->trace);
    sim_scratch_remove(world);
    mem_free(world);
}

void sim_world_fail(struct sim_world *world, const char *format, ...)
{
    va_list arguments;

    if (world->failed)
        return;
    world->failed = true;
    va_start(arguments, format);
    vsnprintf(world->why, sizeof(world->why), format, arguments);
    va_end(arguments);
    sim_say(world, NULL, "FAILED %s", world->why);
}

void sim_world_show(struct sim_world *world, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(world->shown, sizeof(world->shown), format, arguments);
    va_end(arguments);
    sim_say(world, NULL, "SHOWN %s", world->shown);
}

void sim_world_committed(struct sim_world *world)
{
    world->commits++;
    world->committed_us = world->now_us;
    if (world->commit_seconds != 0 && world->now_us - world->commit_second_us < SIM_SECOND_US)
        return;
    world->commit_seconds++;
    world->commit_second_us = world->now_us;
}

static void hash_in(struct sim_world *world, uint64_t word)
{
    world->hash = (world->hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
    world->hash ^= world->hash >> 32;
}

static void hash_note(struct sim_world *world, const struct sim_process *process, const char *what, uint64_t detail)
{
    uint64_t word = 0;

    for (const char *c = what; *c != '\0'; c++)
        word = word * 31 + (unsigned char)*c;
    hash_in(world, (uint64_t)world->now_us);
    hash_in(world, word << 16 ^ (process == NULL ? 0xffff : process->id));
    hash_in(world, detail);
}

uint64_t sim_note(struct sim_world *world, const struct sim_process *process, const char *what, uint64_t detail)
{
    hash_note(world, process, what, detail);
    return world->trace == NULL ? 0 : sim_say(world, process, "%s %" PRIx64, what, detail);
}

uint64_t sim_note_as(struct sim_world *world, const struct sim_process *process, const char *what, uint64_t detail,
                     const char *format, ...)
{
    va_list arguments;
    uint64_t number;

    hash_note(world, process, what, detail);
    if (world->trace == NULL)
        return 0;
    va_start(arguments, format);
    number = sim_say_va(world, process, format, arguments);
    va_end(arguments);
    return number;
}

static void step(struct sim_world *world, struct sim_event *event)
{
    assert(event->at_us >= world->now_us);
    sim_agenda_remove(&world->agenda, event);
    world->now_us = event->at_us;
    world->events++;
    sim_set_cause(world, event->cause);
    sim_dispatch(world, event);
}

static bool always(void *ctx)
{
    (void)ctx;
    return true;
}

bool sim_world_run_while(struct sim_world *world, bool (*go_on)(void *ctx), void *ctx, int64_t limit_us)
{
    while (go_on(ctx)) {
        struct sim_event *event = sim_agenda_first(&world->agenda);

        if (world->failed)
            return false;
        if (event == NULL || event->at_us > limit_us) {
            world->now_us = limit_us > world->now_us ? limit_us : world->now_us;
            return false;
        }
        step(world, event);
    }
    return !world->failed;
}

bool sim_world_run_until(struct sim_world *world, int64_t at_us)
{
    sim_world_run_while(world, always, NULL, at_us);
    return !world->failed;
}

/* ---- turns ---- */

void sim_event_in(struct sim_world *world, struct sim_event *event, int64_t delay_us)
{
    sim_agenda_put(&world->agenda, event, world->now_us + (delay_us < 0 ? 0 : delay_us));
}

int64_t sim_process_clock_us(const struct sim_process *process)
{
    __int128 passed = process->world->now_us - process->clock_at_us;

    passed = passed * (1000000 + process->clock_drift_ppm) / 1000000;
    return process->clock_base_us + (int64_t)passed + (process->running ? process->clock_calls / 8 : 0);
}

/* The world's time at which the process's clock reaches `clock_us`, rounded up. */
static int64_t world_time_of(const struct sim_process *process, int64_t clock_us)
{
    __int128 left = (__int128)clock_us - process->clock_base_us;
    __int128 rate = 1000000 + process->clock_drift_ppm;
    __int128 at = left <= 0 ? 0 : (left * 1000000 + rate - 1) / rate;

    return at > SIM_NEVER / 2 ? SIM_NEVER : process->clock_at_us + (int64_t)at;
}

static bool has_ready_work(const struct env *env)
{
    for (int queue = 0; queue < READY_QUEUES; queue++)
        if (!list_empty(&env->ready[queue]))
            return true;
    return !list_empty(&env->turn_end);
}

void sim_process_plan(struct sim_process *process)
{
    struct sim_world *world = process->world;
    int64_t at = SIM_NEVER;

    if (!process->alive || process->running || process->paused || process->dying)
        return;
    if (!list_empty(&process->inbox) || has_ready_work(&process->env) || process->exiting) {
        at = world->now_us;
    } else {
        int64_t deadline_us = env_next_deadline_us(&process->env);

        if (deadline_us != INT64_MAX)
            at = world_time_of(process, deadline_us);
    }
    if (at == SIM_NEVER) {
        sim_agenda_remove(&world->agenda, &process->wake);
        return;
    }
    if (at < world->now_us)
        at = world->now_us;
    if (at < process->busy_until_us)
        at = process->busy_until_us;
    if (process->wake.heap_index_plus_1 == 0 || process->wake.at_us != at)
        sim_agenda_put(&world->agenda, &process->wake, at);
}

/* What a turn costs: mostly a few microseconds, now and then a scheduler tick. */
static int64_t turn_cost_us(struct sim_process *process)
{
    struct sim_random *random = &process->world->schedule;
    uint64_t drawn = sim_random_u64(random);
    int64_t us = 2 + (int64_t)(drawn & 15) + process->clock_calls / 4; /* over /8: no clock goes back, drift included */

    if ((drawn >> 32) % 1000 == 0)
        us += 4000;
    if (process->slow_cpu > 1)
        us *= process->slow_cpu;
    return us + process->blocked_us;
}

static void turn_begin(struct sim_process *process)
{
    assert(process->alive && !process->running && !process->paused && !process->dying);
    process->world->current = process;
    process->world->turns++;
    process->running = true;
    process->clock_calls = 0;
    process->blocked_us = 0;
    process->env.turn_us = sim_process_clock_us(process);
    if (process->out_of_memory)
        mem_watch_nth(1 + sim_random_below(&process->world->faults, ALLOCATIONS_MAX));
}

/* An allocation of the turn failed, had it been a real one: the process has ended there. */
static bool ran_out_of_memory(struct sim_process *process)
{
    bool fired = process->out_of_memory && mem_fail_fired();

    if (process->out_of_memory)
        mem_fail_nth(0);
    process->out_of_memory &= !fired;
    return fired;
}

static void turn_end(struct sim_process *process)
{
    struct sim_world *world = process->world;
    struct list *link;
    bool killed;

    while ((link = list_pop_front(&process->inbox)) != NULL) {
        struct sim_event *event = list_entry(link, struct sim_event, link);

        sim_set_cause(world, event->cause);
        event->fire(event);
    }
    env_turn(&process->env);
    process->busy_until_us = world->now_us + turn_cost_us(process);
    killed = ran_out_of_memory(process);
    if (process->clock_drift_ppm < -100000) /* a clock that hardly moves: the turn's length does not make up for the calls */
        process->clock_base_us += process->clock_calls / 8;
    process->running = false;
    world->current = NULL;
    hash_in(world, (uint64_t)world->now_us << 16 ^ process->id);
    if (killed) {
        sim_process_stop(process, SIM_KILL);
    } else if (process->exiting) {
        sim_set_cause(world, process->exit_line);
        sim_process_stop(process, SIM_EXIT);
    } else {
        sim_process_plan(process);
    }
}

static bool is_free(const struct sim_process *process)
{
    return !process->paused && !process->running && process->busy_until_us <= process->world->now_us;
}

void sim_dispatch(struct sim_world *world, struct sim_event *event)
{
    struct sim_process *process = event->process;

    event->cause = sim_cause(world); /* for when it waits in the inbox */
    if (process == NULL) {
        event->fire(event);
        return;
    }
    assert(process->alive && !process->dying);
    if (!is_free(process)) {
        list_push_back(&process->inbox, &event->link);
        sim_process_plan(process);
        return;
    }
    turn_begin(process);
    event->fire(event);
    turn_end(process);
}

static void wake_fire(struct sim_event *event)
{
    struct sim_process *process = container_of(event, struct sim_process, wake);

    if (!is_free(process)) {
        sim_process_plan(process);
        return;
    }
    turn_begin(process);
    turn_end(process);
}

/* ---- processes ---- */

static void restart_fire(struct sim_event *event)
{
    sim_process_boot(container_of(event, struct sim_process, restart));
}

static void add_process(struct sim_world *world, struct sim_process *process)
{
    if (world->process_count == world->process_capacity) {
        world->process_capacity = world->process_capacity == 0 ? 16 : world->process_capacity * 2;
        world->processes =
            mem_realloc(world->processes, world->process_capacity * sizeof(world->processes[0]));
        assert(world->processes != NULL);
    }
    process->id = (unsigned)world->process_count;
    world->processes[world->process_count++] = process;
}

struct sim_process *sim_process_create(struct sim_world *world, const char *name, unsigned machine, uint32_t port,
                                       const struct sim_program *program, void *ctx)
{
    struct sim_process *process = sim_zalloc(sizeof(*process));

    assert(machine < SIM_MACHINES_MAX);
    process->world = world;
    process->program = program;
    process->ctx = ctx;
    process->name = sim_strdup(name);
    process->machine = machine;
    process->address = (struct address){0x0a000001u + machine, port};
    process->disk = sim_disk_create(world);
    process->stopped_by = SIM_EXIT;
    process->wake.fire = wake_fire;
    process->restart.fire = restart_fire;
    list_init(&process->inbox);
    list_init(&process->conns);
    list_init(&process->listeners);
    list_init(&process->files);
    list_init(&process->syncs);
    list_init(&process->jobs);
    add_process(world, process);
    sim_say(world, process, "is 10.0.0.%u:%u on machine %u", machine + 1, port, machine);
    return process;
}

static void reset_clock(struct sim_process *process)
{
    /* Every boot has its own zero, from a second to ten days ago: clocks of two processes can't be compared. */
    process->clock_base_us = sim_random_range(&process->world->schedule, SIM_SECOND_US, 864000 * SIM_SECOND_US);
    process->clock_at_us = process->world->now_us;
}

void sim_process_boot(struct sim_process *process)
{
    struct sim_world *world = process->world;
    uint64_t outer;
    int error;

    if (process->alive)
        return;
    sim_agenda_remove(&world->agenda, &process->restart);
    process->incarnation++;
    process->exiting = process->paused = process->out_of_memory = false;
    process->busy_until_us = world->now_us;
    process->random = (struct sim_random){sim_random_u64(&world->schedule)};
    reset_clock(process);
    env_init(&process->env, &sim_env_ops);
    process->env.knobs = world->knobs;
    process->env.buggify = world->buggify == NULL ? NULL : &world->buggify->face;
    process->env.observer = sim_trace_observer(world);
    process->env.meter = &world->meter.face;
    process->alive = true;
    outer = sim_set_cause(world, sim_note(world, process, "boot", process->incarnation));
    turn_begin(process);
    error = process->program->start(process, process->ctx);
    if (error != 0) {
        process->exit_line = sim_note_as(world, process, "start-failed", (uint64_t)error, "start-failed %d", error);
        process->exiting = true;
    }
    turn_end(process);
    sim_set_cause(world, outer);
}

static void empty_inbox(struct sim_process *process)
{
    while (list_pop_front(&process->inbox) != NULL)
        ;
}

static void check_leaks(struct sim_process *process)
{
    size_t conns = sim_net_sweep(process);
    size_t files = sim_disk_sweep(process);

    if (conns != 0 || files != 0 || process->env.timer_count != 0)
        sim_world_fail(process->world, "%s left %zu connections or listeners, %zu files, %zu timers behind", process->name,
                       conns, files, process->env.timer_count);
}

/* What came back may queue more (an engine that has closed says so), as at the end of a real process. */
static void end_what_is_in_flight(struct sim_process *process, bool jobs_may_run)
{
    int rounds = 0;

    while (!list_empty(&process->syncs) || !list_empty(&process->jobs) || has_ready_work(&process->env)) {
        sim_disk_cancel_syncs(process);
        sim_jobs_end(process, jobs_may_run);
        env_turn(&process->env);
        if (++rounds == ROUNDS_MAX) {
            sim_world_fail(process->world, "%s does not come to an end", process->name);
            return;
        }
    }
}

static void plan_restart(struct sim_process *process)
{
    struct sim_world *world = process->world;

    if (process->stay_down || world->settings.restart_us == SIM_NEVER)
        return;
    sim_event_in(world, &process->restart, sim_random_range(&world->schedule, 1000, world->settings.restart_us));
}

void sim_process_stop(struct sim_process *process, enum sim_stop how)
{
    static const char *const names[] = {"kill", "power-off", "exit", "end of the run"};
    struct sim_world *world = process->world;
    struct sim_process *current = world->current;
    uint64_t outer;

    if (!process->alive || process->dying)
        return;
    assert(!process->running);
    process->stop_line = sim_note_as(world, process, "stop", (uint64_t)how, "stop: %s", names[how]);
    outer = sim_set_cause(world, process->stop_line);
    process->dying = true;
    process->paused = false;
    process->stopped_by = how;
    world->current = process;
    sim_agenda_remove(&world->agenda, &process->wake);
    empty_inbox(process);
    process->program->kill(process, process->ctx);
    if (process->env.timer_count != 0)
        sim_world_fail(world, "%s left %zu timers behind", process->name, process->env.timer_count);
    end_what_is_in_flight(process, how != SIM_END);
    check_leaks(process);
    empty_inbox(process);
    env_done(&process->env);
    process->alive = process->dying = process->exiting = false;
    process->instance = NULL;
    world->current = current;
    if (how == SIM_POWER_OFF)
        sim_disk_power_off(process->disk, &world->schedule);
    if (how != SIM_END)
        plan_restart(process);
    sim_set_cause(world, outer);
}

void sim_machine_stop(struct sim_world *world, unsigned machine, enum sim_stop how)
{
    for (size_t i = 0; i < world->process_count; i++)
        if (world->processes[i]->machine == machine)
            sim_process_stop(world->processes[i], how);
}

void sim_process_pause(struct sim_process *process)
{
    if (!process->alive || process->paused)
        return;
    assert(!process->running);
    process->pause_line = sim_note(process->world, process, "pause", 0);
    process->paused = true;
    sim_agenda_remove(&process->world->agenda, &process->wake);
}

void sim_process_resume(struct sim_process *process)
{
    if (!process->paused)
        return;
    sim_also(process->world, process->pause_line);
    process->resume_line = sim_note(process->world, process, "resume", 0);
    process->resumed_us = process->world->now_us;
    process->paused = false;
    sim_process_plan(process);
}

void sim_process_jump_clock(struct sim_process *process, int64_t by_us, int64_t wall_offset_us)
{
    assert(by_us >= 0);
    process->clock_base_us += by_us;
    process->wall_offset_us = wall_offset_us;
    sim_note(process->world, process, "clock-jump", (uint64_t)by_us);
    sim_process_plan(process);
}

void sim_process_set_clock(struct sim_process *process, int64_t drift_ppm, int64_t wall_offset_us)
{
    assert(drift_ppm > -1000000);
    process->clock_base_us = sim_process_clock_us(process);
    process->clock_at_us = process->world->now_us;
    process->clock_drift_ppm = drift_ppm;
    process->wall_offset_us = wall_offset_us;
    sim_note_as(process->world, process, "clock", (uint64_t)drift_ppm, "clock: drift %" PRId64 " ppm, wall clock %+" PRId64 " s",
                drift_ppm, wall_offset_us / SIM_SECOND_US);
    sim_process_plan(process);
}
