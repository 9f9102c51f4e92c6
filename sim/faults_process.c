/* Faults of processes and their clocks. */
#include "sim/faults_internal.h"

enum { NEWS_LOOK_US = 500, NEWS_US_MAX = 3000000, WRITE_US_MAX = 8000000 };
#define WALL_US_MAX (3600 * SIM_SECOND_US)

bool strike_kill(struct sim_faults *faults)
{
    int64_t count = fault_one_in(faults, 8) ? fault_range(faults, 2, 5) : 1;
    bool any = false;

    for (; count > 0; count--) {
        struct sim_process *process = fault_server(faults);

        any |= process->alive;
        sim_process_stop(process, SIM_KILL);
    }
    return any;
}

bool strike_reboot(struct sim_faults *faults)
{
    struct sim_process *process = fault_server(faults);
    bool alive = process->alive;

    sim_machine_stop(faults->world, process->machine, SIM_POWER_OFF);
    return alive;
}

static void stop_servers(struct sim_faults *faults, enum sim_stop how)
{
    for (size_t i = 0; i < faults->world->process_count; i++)
        if (faults->world->processes[i]->server)
            sim_process_stop(faults->world->processes[i], how);
}

static void power_off_end(struct sim_active *active)
{
    stop_servers(active->faults, SIM_POWER_OFF);
}

/* Looks again and again for a commit that was not known at the last look; for as long as the disks are slow. */
static void power_off_wait(struct sim_active *active)
{
    struct sim_faults *faults = active->faults;
    const struct sim_world *world = faults->world;

    if (active->commits != 0 && active->commits != world->commits)
        power_off_end(active);
    else if (world->now_us < world->processes[0]->disk->slow_until_us)
        fault_lasts(faults, NULL, power_off_wait, NEWS_LOOK_US, 0)->commits = world->commits;
    else
        power_off_end(active);
}

static void wait_for_write(struct sim_faults *faults, struct sim_process *process, const char *kind, int64_t until_us);

/* The power of one machine, or of all. */
static void write_wait(struct sim_active *active)
{
    struct sim_faults *faults = active->faults;

    if (!sim_disk_hit(active->process, active->kind) && faults->world->now_us < active->until_us)
        wait_for_write(faults, active->process, active->kind, active->until_us);
    else if (fault_coin(faults))
        stop_servers(faults, SIM_POWER_OFF);
    else
        sim_machine_stop(faults->world, active->process->machine, SIM_POWER_OFF);
}

static void wait_for_write(struct sim_faults *faults, struct sim_process *process, const char *kind, int64_t until_us)
{
    struct sim_active *active = fault_lasts(faults, NULL, write_wait, NEWS_LOOK_US, 0);

    active->process = process;
    active->until_us = until_us;
    memcpy(active->kind, kind, sizeof(active->kind));
}

/* What is seldom written (a vote, a snapshot, what a folder is) is hardly ever being written when the power goes. So it may go just when a
 * file of some kind is. The leader may die first: then votes and the coordinated state are written. */
static bool power_off_at_a_write(struct sim_faults *faults)
{
    struct sim_process *process = fault_host(faults, fault_coin(faults) ? KIND(ROLE_COORDINATOR) : UINT32_MAX);
    struct sim_process *leader = fault_host(faults, KIND(ROLE_CONTROLLER));
    char kind[SIM_FILE_KIND_MAX];

    if (process == NULL || !process->alive || !sim_disk_draw_kind(process->disk, &faults->world->faults, kind))
        return false;
    sim_say(faults->world, process, "the power goes when a file of kind %s is written", kind);
    sim_disk_slow(process, WRITE_US_MAX);
    if (leader != NULL && leader != process && fault_coin(faults))
        sim_process_stop(leader, SIM_KILL);
    wait_for_write(faults, process, kind, faults->world->now_us + fault_range(faults, SIM_SECOND_US, WRITE_US_MAX));
    return true;
}

/* On quick disks next to nothing is under way at any moment. So mostly they lag behind first: then every log has frames
 * that are written and not synced; and the power may go
 * just when a client has heard of a commit: what it was told had better be on the disks. */
bool strike_power_off(struct sim_faults *faults)
{
    int64_t lag_us = fault_range(faults, 20000, SIM_SECOND_US), more_us = fault_coin(faults) ? NEWS_US_MAX : 0;

    if (fault_one_in(faults, 3))
        return power_off_at_a_write(faults);
    if (fault_one_in(faults, 4)) {
        stop_servers(faults, fault_coin(faults) ? SIM_KILL : SIM_POWER_OFF);
        return true;
    }
    for (size_t i = 0; i < faults->world->process_count; i++)
        sim_disk_slow(faults->world->processes[i], lag_us + more_us);
    fault_lasts(faults, NULL, more_us != 0 ? power_off_wait : power_off_end, lag_us, 0);
    return true;
}

static void pause_end(struct sim_active *active)
{
    if (fault_same_life(active))
        sim_process_resume(active->process);
}

bool strike_pause(struct sim_faults *faults)
{
    struct sim_process *process = fault_server(faults);

    if (!process->alive || process->paused)
        return false;
    sim_process_pause(process);
    fault_of_process(faults, process, pause_end, fault_long_tail(faults, 100000, 30 * SIM_SECOND_US));
    return true;
}

/* A role that sleeps through a recovery wakes up in an epoch that has ended, and must not know how to serve. */
bool strike_pause_role(struct sim_faults *faults)
{
    static const enum role_kind kinds[] = {ROLE_SEQUENCER, ROLE_COMMIT_PROXY, ROLE_GRV_PROXY, ROLE_RESOLVER,
                                           ROLE_LOG,       ROLE_CONTROLLER,   ROLE_STORAGE,   ROLE_DATA_DISTRIBUTOR,
                                           ROLE_RATEKEEPER};
    uint32_t kind = KIND(kinds[fault_range(faults, 0, (int64_t)(sizeof(kinds) / sizeof(kinds[0])) - 1)]);
    int64_t lasts_us = fault_long_tail(faults, 300000, 20 * SIM_SECOND_US);
    bool with_sequencer = fault_one_in(faults, 3), any = false;

    if (with_sequencer)
        kind |= KIND(ROLE_SEQUENCER);
    for (size_t i = 0; i < faults->world->process_count; i++) {
        struct sim_process *process = faults->world->processes[i];

        if ((fault_role_kinds(faults, process) & kind) == 0 || process->paused)
            continue;
        sim_process_pause(process);
        fault_of_process(faults, process, pause_end, lasts_us);
        lasts_us += fault_range(faults, 0, 50000);
        any = true;
    }
    return any;
}

/* Its data waits in the logs for as long. */
bool strike_dead(struct sim_faults *faults)
{
    struct sim_process *process = fault_server(faults), *storage = fault_host(faults, KIND(ROLE_STORAGE));
    enum sim_stop how = fault_coin(faults) ? SIM_KILL : SIM_POWER_OFF;
    int64_t lasts_us = fault_range(faults, 5 * SIM_SECOND_US, 60 * SIM_SECOND_US);

    if (storage != NULL && !fault_one_in(faults, 4))
        process = storage;
    return fault_keep_down(faults, process, how, lasts_us);
}

static void slow_cpu_end(struct sim_active *active)
{
    active->process->slow_cpu = 0;
}

bool strike_slow_cpu(struct sim_faults *faults)
{
    struct sim_process *process = fault_server(faults);

    process->slow_cpu = (unsigned)fault_range(faults, 2, 100);
    fault_of_process(faults, process, slow_cpu_end, fault_long_tail(faults, 100000, 10 * SIM_SECOND_US));
    return true;
}

/* ---- clocks ---- */

bool strike_clock(struct sim_faults *faults)
{
    struct sim_process *process = fault_server(faults);
    int64_t drift_ppm = fault_range(faults, -100000, 100000);
    int64_t hours = fault_range(faults, -1, 1);
    int64_t offset_us = fault_range(faults, 0, SIM_SECOND_US);

    if (!process->alive)
        return false;
    sim_process_set_clock(process, drift_ppm, hours * 3600 * SIM_SECOND_US + offset_us);
    return true;
}

static void clock_freeze_end(struct sim_active *active)
{
    if (fault_same_life(active))
        sim_process_set_clock(active->process, 0, active->process->wall_offset_us);
}

/* A microsecond a second: no time limit ends, no lease runs out, no version moves. */
bool strike_clock_freeze(struct sim_faults *faults)
{
    struct sim_process *process = fault_server(faults), *sequencer = fault_host(faults, KIND(ROLE_SEQUENCER) | KIND(ROLE_CONTROLLER));

    if (sequencer != NULL && fault_coin(faults))
        process = sequencer;
    if (!process->alive)
        return false;
    sim_process_set_clock(process, -999999, process->wall_offset_us);
    fault_of_process(faults, process, clock_freeze_end, fault_long_tail(faults, 100000, 20 * SIM_SECOND_US));
    return true;
}

static void wall_clocks_leap(struct sim_active *active)
{
    const struct sim_world *world = active->faults->world;

    for (size_t i = 0; i < world->process_count; i++)
        if (world->processes[i]->server && world->processes[i]->alive)
            sim_process_jump_clock(world->processes[i], 0, fault_range(active->faults, -WALL_US_MAX, WALL_US_MAX));
}

/* As after a machine was moved or slept: every time limit ends at once. Or those that set the wall clocks of all machines disagree for
 * some seconds: nothing that is measured by one in the meantime is right. */
bool strike_clock_jump(struct sim_faults *faults)
{
    struct sim_process *process = fault_server(faults);
    int64_t leap_us = fault_long_tail(faults, 100000, 3600 * SIM_SECOND_US);
    int64_t wall_us = fault_range(faults, -WALL_US_MAX, WALL_US_MAX);
    int64_t count = fault_one_in(faults, 3) ? fault_range(faults, 1, 100) : 0, delay_us = 0;

    if (!process->alive)
        return false;
    sim_process_jump_clock(process, fault_coin(faults) ? leap_us : 0, wall_us);
    for (; count > 0; count--) {
        delay_us += fault_range(faults, 0, 200000);
        fault_lasts(faults, NULL, wall_clocks_leap, delay_us, 0);
    }
    return true;
}

/* ---- memory ---- */

static void out_of_memory_end(struct sim_active *active)
{
    active->process->out_of_memory = false;
}

/* Until one of its turns allocates often enough. */
bool strike_out_of_memory(struct sim_faults *faults)
{
    struct sim_process *process = fault_server(faults);

    if (!process->alive || process->out_of_memory)
        return false;
    process->out_of_memory = true;
    fault_of_process(faults, process, out_of_memory_end, 5 * SIM_SECOND_US);
    return true;
}
