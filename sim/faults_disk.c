/* Faults of disks. Those that take away what was durable hit a few disks alone: fewer zones than there are replicas of anything,
 * and a minority of the coordinators; more, and loss would be legal.
 *
 * A coordinator is never rolled back, nor is a log of the living epoch: nobody else need know of it then, and
 * no system could notice (one that forgets a vote votes twice). Rot and misdirected writes hit pages that at least three later
 * syncs of the same file have followed, for the same reason: what was written last may lawfully be taken for a torn tail. */
#include <inttypes.h>

#include "sim/faults_internal.h"

bool strike_slow_disk(struct sim_faults *faults)
{
    struct sim_process *process = fault_server(faults);

    sim_disk_slow(process, fault_long_tail(faults, 200000, 20 * SIM_SECOND_US));
    return true;
}

static void disk_error_end(struct sim_active *active)
{
    active->process->disk->error_one_in = active->process->disk->error_calls = 0;
}

bool strike_disk_error(struct sim_faults *faults)
{
    struct sim_process *process = fault_server(faults);

    process->disk->error_calls = (unsigned)fault_range(faults, 1, SIM_DISK_ALL_CALLS);
    process->disk->error_one_in = (unsigned)fault_long_tail(faults, 2, 1000);
    fault_of_process(faults, process, disk_error_end, fault_long_tail(faults, 100000, 5 * SIM_SECOND_US));
    return true;
}

static void disk_full_end(struct sim_active *active)
{
    active->process->disk->full = false;
}

bool strike_disk_full(struct sim_faults *faults)
{
    struct sim_process *process = fault_server(faults);

    process->disk->full = true;
    fault_of_process(faults, process, disk_full_end, fault_long_tail(faults, 200000, 10 * SIM_SECOND_US));
    return true;
}

static void disk_little_end(struct sim_active *active)
{
    active->process->disk->limit_bytes = 0;
}

/* Mostly of somebody who keeps data. Whoever looks at the free room should take no more, and slow down, before it is gone. */
bool strike_disk_little(struct sim_faults *faults)
{
    struct sim_process *process = fault_host(faults, KIND(ROLE_STORAGE) | KIND(ROLE_LOG));

    if (process == NULL)
        process = fault_server(faults);
    if (process->disk->limit_bytes != 0)
        return false;
    process->disk->limit_bytes = process->disk->used_bytes + (uint64_t)fault_long_tail(faults, 1 << 16, 1 << 26);
    fault_of_process(faults, process, disk_little_end, fault_range(faults, SIM_SECOND_US, 20 * SIM_SECOND_US));
    return true;
}

static void disk_hung_end(struct sim_active *active)
{
    sim_disk_unhang(active->process);
}

bool strike_disk_hung(struct sim_faults *faults)
{
    struct sim_process *process = fault_server(faults);
    int64_t lasts_us = fault_long_tail(faults, SIM_SECOND_US, 40 * SIM_SECOND_US);

    if (faults->world->now_us < process->disk->hung_until_us)
        return false;
    process->disk->hung_until_us = faults->world->now_us + lasts_us;
    fault_of_process(faults, process, disk_hung_end, lasts_us);
    return true;
}

/* ---- what loses data ---- */

static bool may_lose(const struct sim_faults *faults, const struct sim_process *process)
{
    unsigned coordinators = 0, zones = 0;

    if (faults->others_suffice != NULL && !faults->others_suffice(faults->others_ctx, process))
        return false;
    if (process->damaged)
        return true;
    for (size_t i = 0; i < faults->world->process_count; i++) {
        const struct sim_process *other = faults->world->processes[i];

        coordinators += other->damaged && other->coordinator;
        zones += other->damaged && other->keeps_data;
    }
    return (!process->coordinator || coordinators < faults->coordinators_may_lose) &&
           (!process->keeps_data || zones < faults->zones_may_lose);
}

static bool has_something(const struct sim_process *process)
{
    return process->server && (process->coordinator || process->keeps_data);
}

/* A disk that may lose what it holds; NULL when there is none. */
static struct sim_process *draw_victim(struct sim_faults *faults)
{
    struct sim_world *world = faults->world;
    struct sim_process *chosen = NULL;
    uint64_t seen = 0;

    for (size_t i = 0; i < world->process_count; i++)
        if (has_something(world->processes[i]) && may_lose(faults, world->processes[i]) && fault_one_in(faults, ++seen))
            chosen = world->processes[i];
    return chosen;
}

/* Also of one whose process was killed and has not come back yet. */
static void power_off(struct sim_process *process)
{
    if (process->alive) {
        sim_process_stop(process, SIM_POWER_OFF);
        return;
    }
    sim_disk_power_off(process->disk, &process->world->schedule);
    process->stopped_by = SIM_POWER_OFF;
}

/* What its logs and storage servers have lost shows at once: later on, an epoch may have ended that relied on them. */
static void restart(struct sim_faults *faults, struct sim_process *process)
{
    if (process->keeps_data || fault_one_in(faults, 3))
        power_off(process);
}

bool strike_latent_corruption(struct sim_faults *faults)
{
    struct sim_process *victim = draw_victim(faults);
    int64_t count = fault_long_tail(faults, 1, 32);
    bool any = false;

    if (victim == NULL)
        return false;
    for (; count > 0; count--)
        any |= sim_disk_rot(victim->disk, &faults->world->faults);
    if (!any)
        return false;
    victim->damaged = true;
    restart(faults, victim);
    return true;
}

bool strike_misdirected_write(struct sim_faults *faults)
{
    struct sim_process *victim = draw_victim(faults);

    if (victim == NULL || !sim_disk_misdirect(victim->disk, &faults->world->faults))
        return false;
    victim->damaged = true;
    restart(faults, victim);
    return true;
}

bool strike_disk_deleted(struct sim_faults *faults)
{
    struct sim_process *victim = draw_victim(faults);

    if (victim == NULL)
        return false;
    victim->damaged = true;
    power_off(victim);
    sim_disk_erase(victim);
    return true;
}

bool strike_disk_swapped(struct sim_faults *faults)
{
    struct sim_process *victim = draw_victim(faults), *other;
    bool was_damaged;

    if (victim == NULL)
        return false;
    was_damaged = victim->damaged;
    victim->damaged = true; /* so that the other one is drawn beside it */
    other = fault_coin(faults) ? draw_victim(faults) : fault_server(faults);
    if (other == NULL || other == victim || !may_lose(faults, other)) {
        victim->damaged = was_damaged;
        return false;
    }
    other->damaged = true;
    power_off(victim);
    power_off(other);
    sim_disk_swap(victim, other);
    victim->keeps_data = other->keeps_data = victim->keeps_data || other->keeps_data; /* wherever it lies now */
    return true;
}

/* A log of the living epoch that forgets what it acknowledged is believed by a recovery that reaches no other log. */
static bool holds_living_log(const struct sim_active *active)
{
    const struct sim_faults *faults = active->faults;
    uint64_t id = faults->living_log == NULL ? 0 : faults->living_log(faults->others_ctx, active->process);
    char path[64];

    snprintf(path, sizeof(path), "data/log-%016" PRIx64, id);
    return id != 0 && sim_disk_image_has(active->image, path);
}

/* Once commits have gone on for three seconds, others know of what it forgets. */
static void roll_back(struct sim_active *active)
{
    struct sim_process *process = active->process;

    if (active->faults->world->commit_seconds < active->commits + 3 || !may_lose(active->faults, process) ||
        holds_living_log(active))
        return;
    process->damaged = true;
    power_off(process);
    sim_disk_put_image(process->disk, active->image);
}

bool strike_disk_rolled_back(struct sim_faults *faults)
{
    struct sim_process *victim = draw_victim(faults);
    struct sim_active *active;

    if (victim == NULL || victim->coordinator)
        return false;
    active = fault_of_process(faults, victim, roll_back, fault_range(faults, 3 * SIM_SECOND_US, 25 * SIM_SECOND_US));
    active->image = sim_disk_image(victim->disk);
    active->commits = faults->world->commit_seconds;
    return true;
}
