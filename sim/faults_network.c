/* Faults of the network: who hears whom, how late, how often and in what pieces.
 *
 * Blocks are sets of directions, counted by the network, so that faults may overlap and each takes back exactly what it did. */
#include "sim/faults_internal.h"

/* The machines that have a process. */
static struct sim_machines machine_set(const struct sim_world *world)
{
    struct sim_machines set = {0};

    for (size_t i = 0; i < world->process_count; i++)
        machines_add(&set, world->processes[i]->machine);
    return set;
}

/* "machines 0>1 0>2", for the trace. */
static void say_blocks(const struct sim_active *active)
{
    char text[400] = "";
    size_t used = 0;

    if (active->faults->world->trace == NULL)
        return;
    for (unsigned from = 0; from < SIM_MACHINES_MAX; from++) {
        if (machines_empty(&active->blocks[from]))
            continue;
        for (unsigned to = 0; to < SIM_MACHINES_MAX; to++)
            if (machines_has(&active->blocks[from], to) && used + 20 < sizeof(text))
                used += (size_t)snprintf(text + used, sizeof(text) - used, " %u>%u", from, to);
    }
    sim_say(active->faults->world, NULL, "machines%s", text);
}

static void blocks_change(struct sim_active *active, int change)
{
    struct sim_world *world = active->faults->world;
    uint64_t outer = sim_set_cause(world, sim_note(world, NULL, change > 0 ? "block" : "unblock", active->blocks[0].words[0]));

    say_blocks(active);
    sim_net_block_many(world, active->blocks, change);
    sim_set_cause(world, outer);
}

static void block_begin(struct sim_active *active)
{
    blocks_change(active, +1);
}

static void block_end(struct sim_active *active)
{
    blocks_change(active, -1);
}

static struct sim_active *block_create(struct sim_faults *faults, int64_t delay_us, int64_t lasts_us)
{
    return fault_lasts(faults, block_begin, block_end, delay_us, lasts_us);
}

static void block_set(struct sim_active *active, const struct sim_machines *from_set, const struct sim_machines *to_set)
{
    for (unsigned from = 0; from < SIM_MACHINES_MAX; from++) {
        if (!machines_has(from_set, from))
            continue;
        machines_add_all(&active->blocks[from], to_set);
        machines_remove(&active->blocks[from], from);
    }
}

static void block_both_ways(struct sim_active *active, const struct sim_machines *one, const struct sim_machines *other)
{
    block_set(active, one, other);
    block_set(active, other, one);
}

/* ---- blocks: clogs and partitions ---- */

bool strike_clog(struct sim_faults *faults)
{
    struct sim_machines all = machine_set(faults->world);
    struct sim_machines one = machines_of(machines_draw(&all, &faults->world->faults));
    struct sim_machines other = machines_of(machines_draw(&all, &faults->world->faults));
    struct sim_active *active = block_create(faults, 0, fault_long_tail(faults, 100000, 10 * SIM_SECOND_US));

    switch (fault_range(faults, 0, 2)) {
    case 0:
        block_set(active, &one, &all);
        break;
    case 1:
        block_set(active, &all, &one);
        break;
    default:
        block_both_ways(active, &one, &other);
        break;
    }
    return true;
}

bool strike_swizzle(struct sim_faults *faults)
{
    struct sim_machines all = machine_set(faults->world);
    struct sim_machines half = machines_draw_half(&all, &faults->world->faults);

    for (unsigned machine = 0; machine < SIM_MACHINES_MAX; machine++) {
        struct sim_machines one = machines_of(machine);
        struct sim_active *active;
        int64_t delay_us;

        if (!machines_has(&half, machine))
            continue;
        delay_us = fault_range(faults, 0, 3 * SIM_SECOND_US);
        active = block_create(faults, delay_us, fault_range(faults, SIM_SECOND_US, 6 * SIM_SECOND_US));
        block_both_ways(active, &one, &all);
    }
    return !machines_empty(&half);
}

/* Each machine hears a majority, no two the same one. */
static void block_ring(struct sim_active *active, const struct sim_machines *all)
{
    unsigned machines[SIM_MACHINES_MAX], count = 0;

    for (unsigned machine = 0; machine < SIM_MACHINES_MAX; machine++)
        if (machines_has(all, machine))
            machines[count++] = machine;
    for (unsigned i = 0; i < count; i++)
        for (unsigned distance = count / 4 + 1; distance < count - count / 4; distance++)
            machines_add(&active->blocks[machines[i]], machines[(i + distance) % count]);
}

bool strike_partition(struct sim_faults *faults)
{
    struct sim_machines all = machine_set(faults->world);
    struct sim_machines side = machines_draw_half(&all, &faults->world->faults);
    struct sim_active *active = block_create(faults, 0, fault_long_tail(faults, 500000, 20 * SIM_SECOND_US));
    int64_t how = fault_range(faults, 0, 3);
    struct sim_machines rest;

    if (how == 0)
        side = machines_of(machines_draw(&all, &faults->world->faults));
    rest = machines_without(&all, &side);
    switch (how) {
    case 0:
    case 1:
        block_both_ways(active, &side, &rest);
        break;
    case 2:
        block_set(active, &side, &rest);
        break;
    default:
        block_ring(active, &all);
        break;
    }
    return true;
}

/* ---- broken connections ---- */

bool strike_drop(struct sim_faults *faults)
{
    int64_t count = fault_long_tail(faults, 1, 16);

    for (; count > 0; count--) {
        enum sim_drop how = (enum sim_drop)fault_range(faults, 0, 2);

        sim_net_drop(faults->world, sim_random_u64(&faults->world->faults) >> 1, how);
    }
    return true;
}

/* ---- cut off by role ---- */

/* The pipeline of the living epoch with some of its clients on one side, what recovers on the other: stale read versions would
 * be given here, if anywhere. */
bool strike_old_side(struct sim_faults *faults)
{
    const uint32_t pipeline = KIND(ROLE_SEQUENCER) | KIND(ROLE_COMMIT_PROXY) | KIND(ROLE_GRV_PROXY) | KIND(ROLE_RESOLVER);
    struct sim_machines all = machine_set(faults->world), side = {0}, rest;
    struct sim_process *log = fault_host(faults, KIND(ROLE_LOG));
    struct sim_active *active;

    for (size_t i = 0; i < faults->world->process_count; i++) {
        struct sim_process *process = faults->world->processes[i];
        uint32_t kinds = fault_role_kinds(faults, process);
        bool joins = (kinds & pipeline) != 0 && (kinds & (KIND(ROLE_LOG) | KIND(ROLE_CONTROLLER))) == 0;

        if (!process->server || ((kinds & KIND(ROLE_STORAGE)) != 0 && !joins))
            joins = fault_coin(faults);
        if (joins)
            machines_add(&side, process->machine);
    }
    if (log != NULL && fault_coin(faults))
        machines_add(&side, log->machine);
    active = block_create(faults, 0, fault_range(faults, SIM_SECOND_US, 15 * SIM_SECOND_US));
    rest = machines_without(&all, &side);
    block_both_ways(active, &side, &rest);
    return true;
}

/* A leader that hears nobody, or is heard by nobody, while the rest elects another. */
bool strike_leader(struct sim_faults *faults)
{
    struct sim_process *leader = fault_host(faults, KIND(ROLE_CONTROLLER));
    struct sim_machines all = machine_set(faults->world), others = {0}, one;
    struct sim_active *active;

    if (leader == NULL)
        return false;
    for (size_t i = 0; i < faults->world->process_count; i++)
        if (faults->world->processes[i]->coordinator)
            machines_add(&others, faults->world->processes[i]->machine);
    if (fault_coin(faults) || machines_empty(&others))
        others = all;
    one = machines_of(leader->machine);
    active = block_create(faults, 0, fault_long_tail(faults, 500000, 20 * SIM_SECOND_US));
    switch (fault_range(faults, 0, 2)) {
    case 0:
        block_set(active, &one, &others);
        break;
    case 1:
        block_set(active, &others, &one);
        break;
    default:
        block_both_ways(active, &one, &others);
        break;
    }
    return true;
}

/* ---- slow, in parts, out of order ---- */

static void latency_end(struct sim_active *active)
{
    struct sim_settings *settings = &active->faults->world->settings;

    settings->latency_us = active->faults->healthy.latency_us;
    settings->latency_tail = active->faults->healthy.latency_tail;
    settings->latency_tail_us = active->faults->healthy.latency_tail_us;
}

bool strike_latency(struct sim_faults *faults)
{
    struct sim_settings *settings = &faults->world->settings;

    settings->latency_us = fault_long_tail(faults, 500, 30000);
    settings->latency_tail = (unsigned)fault_range(faults, 10, 200);
    settings->latency_tail_us = fault_long_tail(faults, 20000, 2 * SIM_SECOND_US);
    fault_lasts(faults, NULL, latency_end, fault_long_tail(faults, 200000, 10 * SIM_SECOND_US), 0);
    return true;
}

static void reorder_end(struct sim_active *active)
{
    active->faults->world->settings.skew_us = active->faults->healthy.skew_us;
}

bool strike_reorder(struct sim_faults *faults)
{
    struct sim_settings *settings = &faults->world->settings;

    settings->skew_us = fault_long_tail(faults, 5000, 500000);
    settings->skew_salt = sim_random_u64(&faults->world->faults);
    fault_lasts(faults, NULL, reorder_end, fault_long_tail(faults, 500000, 20 * SIM_SECOND_US), 0);
    return true;
}

static void slow_reader_end(struct sim_active *active)
{
    active->process->read_pause_us = 0;
}

bool strike_slow_reader(struct sim_faults *faults)
{
    struct sim_process *process = fault_server(faults);

    process->read_pause_us = fault_long_tail(faults, 1000, 200000);
    fault_of_process(faults, process, slow_reader_end, fault_long_tail(faults, 500000, 15 * SIM_SECOND_US));
    return true;
}

static void partial_write_end(struct sim_active *active)
{
    active->faults->world->settings.partial_one_in = active->faults->healthy.partial_one_in;
}

bool strike_partial_write(struct sim_faults *faults)
{
    struct sim_settings *settings = &faults->world->settings;

    settings->partial_one_in = (unsigned)fault_long_tail(faults, 2, 100);
    settings->partial_us = fault_long_tail(faults, 1000, 500000);
    fault_lasts(faults, NULL, partial_write_end, fault_long_tail(faults, 500000, 20 * SIM_SECOND_US), 0);
    return true;
}

/* ---- what arrives twice, late, damaged or from another version ---- */

bool strike_bit_flip(struct sim_faults *faults)
{
    faults->world->settings.flip_one_in = (unsigned)fault_long_tail(faults, 1000, 20000);
    return true;
}

static void duplicate_end(struct sim_active *active)
{
    active->faults->world->settings.duplicate_one_in = active->faults->healthy.duplicate_one_in;
}

bool strike_duplicate(struct sim_faults *faults)
{
    faults->world->settings.duplicate_one_in = (unsigned)fault_long_tail(faults, 5, 200);
    fault_lasts(faults, NULL, duplicate_end, fault_long_tail(faults, 500000, 20 * SIM_SECOND_US), 0);
    return true;
}

bool strike_replay(struct sim_faults *faults)
{
    int64_t count = fault_long_tail(faults, 1, 16);
    bool any = false;

    for (; count > 0; count--)
        any |= sim_net_replay(faults->world);
    return any;
}

static void mixed_versions_end(struct sim_active *active)
{
    struct sim_process *process = active->process;

    process->newer = false;
    if (!process->foreign)
        return;
    process->foreign = false;
    sim_process_stop(process, SIM_KILL);
}

/* A foreign one must be refused and not be waited for; a newer one's additions must be skipped. */
bool strike_mixed_versions(struct sim_faults *faults)
{
    struct sim_process *process = fault_server(faults);
    bool foreign = fault_coin(faults);

    if (process->foreign || process->newer)
        return false;
    if (foreign)
        sim_process_stop(process, SIM_KILL);
    process->foreign = foreign;
    process->newer = !foreign;
    fault_of_process(faults, process, mixed_versions_end, fault_range(faults, SIM_SECOND_US, 30 * SIM_SECOND_US));
    return true;
}
