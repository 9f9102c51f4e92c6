/* A ticker a class strikes; what lasts is an active fault with an event that ends it.
 *
 * Network faults are sets of blocked directions, counted by the network, so that faults may overlap and each takes back
 * exactly what it did. */
#include "sim/faults.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "net/mem.h"
#include "sim/buggify.h"
#include "txn/messages.h"

struct active {
    struct list link;
    struct sim_event event;
    struct sim_faults *faults;
    void (*begin)(struct active *active); /* NULL: begun */
    void (*end)(struct active *active);
    int64_t lasts_us;
    struct sim_process *process;
    uint64_t incarnation;
    uint64_t blocks[SIM_MACHINES_MAX]; /* bit b of [a]: a to b */
};

static const struct {
    const char *key;
    int64_t pause_min_us, pause_max_us;
} classes[FAULT_CLASSES] = {
#define X(class, key, pause_min_ms, pause_max_ms, what) {key, pause_min_ms * INT64_C(1000), pause_max_ms * INT64_C(1000)},
    SIM_FAULT_TABLE(X)
#undef X
};

enum sim_fault_class sim_fault_class_of(const char *key)
{
    int class = 0;

    while (class < FAULT_CLASSES && strcmp(classes[class].key, key) != 0)
        class++;
    return (enum sim_fault_class)class;
}

bool sim_strikes_has(const struct sim_strikes *strikes, uint64_t number)
{
    return !strikes->limited || (number <= SIM_STRIKES_MAX && (strikes->bits[number / 64] >> number % 64 & 1) != 0);
}

static bool parse_strike(const char **text, unsigned long *ret_number)
{
    char *end;

    *ret_number = **text >= '1' && **text <= '9' ? strtoul(*text, &end, 10) : 0;
    if (*ret_number == 0 || *ret_number > SIM_STRIKES_MAX)
        return false;
    *text = end;
    return true;
}

bool sim_strikes_parse(const char *text, struct sim_strikes *ret_strikes)
{
    struct sim_strikes strikes = {.limited = true};

    do {
        unsigned long first, last;

        text += strspn(text, " ");
        if (!parse_strike(&text, &first))
            return false;
        last = first;
        if (*text == '-' && (text++, !parse_strike(&text, &last)))
            return false;
        for (; first <= last; first++)
            strikes.bits[first / 64] |= UINT64_C(1) << first % 64;
    } while (*text == ' ');
    *ret_strikes = strikes;
    return *text == '\0';
}

static int64_t draw_range(struct sim_faults *faults, int64_t low, int64_t high)
{
    return sim_random_range(&faults->world->faults, low, high);
}

/* Mostly short, now and then long: uniform in the exponent. */
static int64_t draw_long_tail(struct sim_faults *faults, int64_t low, int64_t high)
{
    int64_t top = low;

    while (top < high && sim_random_below(&faults->world->faults, 3) != 0)
        top *= 2;
    return draw_range(faults, low, top < high ? top : high);
}

static struct sim_process *draw_server(struct sim_faults *faults)
{
    struct sim_world *world = faults->world;
    struct sim_process *chosen = NULL;
    uint64_t seen = 0;

    for (size_t i = 0; i < world->process_count; i++)
        if (world->processes[i]->server && sim_random_below(&world->faults, ++seen) == 0)
            chosen = world->processes[i];
    return chosen;
}

static uint32_t role_kinds(const struct sim_faults *faults, const struct sim_process *process)
{
    return faults->role_kinds == NULL || !process->alive || !process->server ? 0 : faults->role_kinds(process);
}

#define KIND(kind) (UINT32_C(1) << (kind))

/* One of those that host any of these kinds; NULL when there is none. */
static struct sim_process *draw_host(struct sim_faults *faults, uint32_t kinds)
{
    struct sim_world *world = faults->world;
    struct sim_process *chosen = NULL;
    uint64_t seen = 0;

    for (size_t i = 0; i < world->process_count; i++)
        if ((role_kinds(faults, world->processes[i]) & kinds) != 0 && sim_random_below(&world->faults, ++seen) == 0)
            chosen = world->processes[i];
    return chosen;
}

/* Bits of the machines that have a process. */
static uint64_t machine_set(const struct sim_world *world)
{
    uint64_t set = 0;

    for (size_t i = 0; i < world->process_count; i++)
        set |= UINT64_C(1) << world->processes[i]->machine;
    return set;
}

static bool in_set(uint64_t set, unsigned machine)
{
    return (set >> machine & 1) != 0;
}

static unsigned draw_machine(struct sim_faults *faults, uint64_t set)
{
    uint64_t nth = sim_random_below(&faults->world->faults, (uint64_t)__builtin_popcountll(set));

    for (unsigned machine = 0;; machine++)
        if (in_set(set, machine) && nth-- == 0)
            return machine;
}

static uint64_t draw_half(struct sim_faults *faults, uint64_t set)
{
    return set & sim_random_u64(&faults->world->faults);
}

/* ---- what lasts ---- */

static void active_fire(struct sim_event *event)
{
    struct active *active = container_of(event, struct active, event);

    if (active->begin != NULL) {
        active->begin(active);
        active->begin = NULL;
        sim_event_in(active->faults->world, event, active->lasts_us);
        return;
    }
    active->end(active);
    list_remove(&active->link);
    mem_free(active);
}

static struct active *active_create(struct sim_faults *faults, void (*begin)(struct active *active),
                                    void (*end)(struct active *active), int64_t delay_us, int64_t lasts_us)
{
    struct active *active = sim_zalloc(sizeof(*active));

    active->faults = faults;
    active->begin = begin;
    active->end = end;
    active->lasts_us = lasts_us;
    active->event.fire = active_fire;
    list_push_back(&faults->active, &active->link);
    sim_event_in(faults->world, &active->event, delay_us);
    return active;
}

static void blocks_change(struct active *active, int change)
{
    for (unsigned from = 0; from < SIM_MACHINES_MAX; from++)
        for (unsigned to = 0; active->blocks[from] != 0 && to < SIM_MACHINES_MAX; to++)
            if (in_set(active->blocks[from], to))
                sim_net_block(active->faults->world, from, to, change);
    sim_note(active->faults->world, NULL, change > 0 ? "block" : "unblock", active->blocks[0]);
}

static void block_begin(struct active *active)
{
    blocks_change(active, +1);
}

static void block_end(struct active *active)
{
    blocks_change(active, -1);
}

static struct active *block_create(struct sim_faults *faults, int64_t delay_us, int64_t lasts_us)
{
    return active_create(faults, block_begin, block_end, delay_us, lasts_us);
}

static void block_set(struct active *active, uint64_t from_set, uint64_t to_set)
{
    for (unsigned from = 0; from < SIM_MACHINES_MAX; from++)
        if (in_set(from_set, from))
            active->blocks[from] |= to_set & ~(UINT64_C(1) << from);
}

static bool same_life(const struct active *active)
{
    return active->process->alive && active->process->incarnation == active->incarnation;
}

static struct active *process_fault(struct sim_faults *faults, struct sim_process *process,
                                    void (*end)(struct active *active), int64_t lasts_us)
{
    struct active *active = active_create(faults, NULL, end, lasts_us, 0);

    active->process = process;
    active->incarnation = process->incarnation;
    return active;
}

/* ---- one strike a class ---- */

static void strike_kill(struct sim_faults *faults)
{
    int64_t count = sim_random_one_in(&faults->world->faults, 8) ? draw_range(faults, 2, 5) : 1;

    for (; count > 0; count--)
        sim_process_stop(draw_server(faults), SIM_KILL);
}

static void strike_reboot(struct sim_faults *faults)
{
    sim_machine_stop(faults->world, draw_server(faults)->machine, SIM_POWER_OFF);
}

static void strike_power_off(struct sim_faults *faults)
{
    enum sim_stop how = sim_random_one_in(&faults->world->faults, 4) ? SIM_KILL : SIM_POWER_OFF;

    for (size_t i = 0; i < faults->world->process_count; i++)
        if (faults->world->processes[i]->server)
            sim_process_stop(faults->world->processes[i], how);
}

static void strike_clog(struct sim_faults *faults)
{
    uint64_t all = machine_set(faults->world);
    uint64_t one = UINT64_C(1) << draw_machine(faults, all);
    uint64_t other = UINT64_C(1) << draw_machine(faults, all);
    struct active *active = block_create(faults, 0, draw_long_tail(faults, 100000, 10 * SIM_SECOND_US));

    switch (draw_range(faults, 0, 2)) {
    case 0:
        block_set(active, one, all);
        break;
    case 1:
        block_set(active, all, one);
        break;
    default:
        block_set(active, one, other);
        block_set(active, other, one);
        break;
    }
}

static void strike_swizzle(struct sim_faults *faults)
{
    uint64_t all = machine_set(faults->world);
    uint64_t half = draw_half(faults, all);

    for (unsigned machine = 0; machine < SIM_MACHINES_MAX; machine++) {
        struct active *active;
        int64_t delay_us;

        if (!in_set(half, machine))
            continue;
        delay_us = draw_range(faults, 0, 3 * SIM_SECOND_US);
        active = block_create(faults, delay_us, draw_range(faults, SIM_SECOND_US, 6 * SIM_SECOND_US));
        block_set(active, UINT64_C(1) << machine, all);
        block_set(active, all, UINT64_C(1) << machine);
    }
}

/* Each machine hears a majority, no two the same one. */
static void block_ring(struct active *active, uint64_t all)
{
    unsigned machines[SIM_MACHINES_MAX], count = 0;

    for (unsigned machine = 0; machine < SIM_MACHINES_MAX; machine++)
        if (in_set(all, machine))
            machines[count++] = machine;
    for (unsigned i = 0; i < count; i++)
        for (unsigned distance = count / 4 + 1; distance < count - count / 4; distance++)
            active->blocks[machines[i]] |= UINT64_C(1) << machines[(i + distance) % count];
}

static void strike_partition(struct sim_faults *faults)
{
    uint64_t all = machine_set(faults->world);
    uint64_t side = draw_half(faults, all);
    struct active *active = block_create(faults, 0, draw_long_tail(faults, 500000, 20 * SIM_SECOND_US));

    switch (draw_range(faults, 0, 3)) {
    case 0:
        side = UINT64_C(1) << draw_machine(faults, all);
        /* fall through */
    case 1:
        block_set(active, side, all & ~side);
        block_set(active, all & ~side, side);
        break;
    case 2:
        block_set(active, side, all & ~side);
        break;
    default:
        block_ring(active, all);
        break;
    }
}

static void strike_drop(struct sim_faults *faults)
{
    int64_t count = draw_long_tail(faults, 1, 16);

    for (; count > 0; count--) {
        enum sim_drop how = (enum sim_drop)draw_range(faults, 0, 2);

        sim_net_drop(faults->world, sim_random_u64(&faults->world->faults) >> 1, how);
    }
}

static void pause_end(struct active *active)
{
    if (same_life(active))
        sim_process_resume(active->process);
}

static void strike_pause(struct sim_faults *faults)
{
    struct sim_process *process = draw_server(faults);

    if (!process->alive || process->paused)
        return;
    sim_process_pause(process);
    process_fault(faults, process, pause_end, draw_long_tail(faults, 100000, 30 * SIM_SECOND_US));
}

/* A role that sleeps through a recovery wakes up in an epoch that has ended, and must not know how to serve. */
static void strike_pause_role(struct sim_faults *faults)
{
    static const enum role_kind kinds[] = {ROLE_SEQUENCER, ROLE_COMMIT_PROXY, ROLE_GRV_PROXY, ROLE_RESOLVER,
                                           ROLE_LOG,       ROLE_CONTROLLER,   ROLE_STORAGE};
    uint32_t kind = KIND(kinds[draw_range(faults, 0, (int64_t)(sizeof(kinds) / sizeof(kinds[0])) - 1)]);
    int64_t lasts_us = draw_long_tail(faults, 300000, 20 * SIM_SECOND_US);
    bool with_sequencer = sim_random_one_in(&faults->world->faults, 3);

    if (with_sequencer)
        kind |= KIND(ROLE_SEQUENCER);
    for (size_t i = 0; i < faults->world->process_count; i++) {
        struct sim_process *process = faults->world->processes[i];

        if ((role_kinds(faults, process) & kind) == 0 || process->paused)
            continue;
        sim_process_pause(process);
        process_fault(faults, process, pause_end, lasts_us);
        lasts_us += draw_range(faults, 0, 50000);
    }
}

/* The pipeline of the living epoch with some of its clients on one side, what recovers on the other: stale read versions would
 * be given here, if anywhere. */
static void strike_old_side(struct sim_faults *faults)
{
    const uint32_t pipeline = KIND(ROLE_SEQUENCER) | KIND(ROLE_COMMIT_PROXY) | KIND(ROLE_GRV_PROXY) | KIND(ROLE_RESOLVER);
    uint64_t all = machine_set(faults->world), side = 0;
    struct sim_process *log = draw_host(faults, KIND(ROLE_LOG));
    struct active *active;

    for (size_t i = 0; i < faults->world->process_count; i++) {
        struct sim_process *process = faults->world->processes[i];
        uint32_t kinds = role_kinds(faults, process);
        bool joins = (kinds & pipeline) != 0 && (kinds & (KIND(ROLE_LOG) | KIND(ROLE_CONTROLLER))) == 0;

        if (!process->server || ((kinds & KIND(ROLE_STORAGE)) != 0 && !joins))
            joins = sim_random_coin(&faults->world->faults);
        if (joins)
            side |= UINT64_C(1) << process->machine;
    }
    if (log != NULL && sim_random_coin(&faults->world->faults))
        side |= UINT64_C(1) << log->machine;
    active = block_create(faults, 0, draw_range(faults, SIM_SECOND_US, 15 * SIM_SECOND_US));
    block_set(active, side, all & ~side);
    block_set(active, all & ~side, side);
}

static void dead_end(struct active *active)
{
    active->process->stay_down = false;
    sim_process_boot(active->process);
}

/* Its data waits in the logs for as long. */
static void strike_dead(struct sim_faults *faults)
{
    struct sim_process *process = draw_server(faults), *storage = draw_host(faults, KIND(ROLE_STORAGE));
    enum sim_stop how = sim_random_coin(&faults->world->faults) ? SIM_KILL : SIM_POWER_OFF;
    int64_t lasts_us = draw_range(faults, 5 * SIM_SECOND_US, 60 * SIM_SECOND_US);

    if (storage != NULL && !sim_random_one_in(&faults->world->faults, 4))
        process = storage;
    if (process->stay_down)
        return;
    sim_agenda_remove(&faults->world->agenda, &process->restart);
    process->stay_down = true;
    sim_process_stop(process, how);
    process_fault(faults, process, dead_end, lasts_us);
}

static void slow_cpu_end(struct active *active)
{
    active->process->slow_cpu = 0;
}

static void strike_slow_cpu(struct sim_faults *faults)
{
    struct sim_process *process = draw_server(faults);

    process->slow_cpu = (unsigned)draw_range(faults, 2, 100);
    process_fault(faults, process, slow_cpu_end, draw_long_tail(faults, 100000, 10 * SIM_SECOND_US));
}

static void latency_end(struct active *active)
{
    struct sim_settings *settings = &active->faults->world->settings;

    settings->latency_us = active->faults->healthy.latency_us;
    settings->latency_tail = active->faults->healthy.latency_tail;
    settings->latency_tail_us = active->faults->healthy.latency_tail_us;
}

static void strike_latency(struct sim_faults *faults)
{
    struct sim_settings *settings = &faults->world->settings;

    settings->latency_us = draw_long_tail(faults, 500, 30000);
    settings->latency_tail = (unsigned)draw_range(faults, 10, 200);
    settings->latency_tail_us = draw_long_tail(faults, 20000, 2 * SIM_SECOND_US);
    active_create(faults, NULL, latency_end, draw_long_tail(faults, 200000, 10 * SIM_SECOND_US), 0);
}

static void strike_slow_disk(struct sim_faults *faults)
{
    struct sim_disk *disk = draw_server(faults)->disk;

    disk->slow_until_us = faults->world->now_us + draw_long_tail(faults, 200000, 20 * SIM_SECOND_US);
}

static void disk_error_end(struct active *active)
{
    active->process->disk->error_one_in = 0;
}

static void strike_disk_error(struct sim_faults *faults)
{
    struct sim_process *process = draw_server(faults);

    process->disk->error_one_in = (unsigned)draw_long_tail(faults, 2, 1000);
    process_fault(faults, process, disk_error_end, draw_long_tail(faults, 100000, 5 * SIM_SECOND_US));
}

static void disk_full_end(struct active *active)
{
    active->process->disk->full = false;
}

static void strike_disk_full(struct sim_faults *faults)
{
    struct sim_process *process = draw_server(faults);

    process->disk->full = true;
    process_fault(faults, process, disk_full_end, draw_long_tail(faults, 200000, 10 * SIM_SECOND_US));
}

static void strike_bit_flip(struct sim_faults *faults)
{
    faults->world->settings.flip_one_in = (unsigned)draw_long_tail(faults, 1000, 20000);
}

static void strike_clock(struct sim_faults *faults)
{
    struct sim_process *process = draw_server(faults);
    int64_t drift_ppm = draw_range(faults, -100000, 100000);
    int64_t hours = draw_range(faults, -1, 1);
    int64_t offset_us = draw_range(faults, 0, SIM_SECOND_US);

    if (process->alive)
        sim_process_set_clock(process, drift_ppm, hours * 3600 * SIM_SECOND_US + offset_us);
}

static void (*const strikes[FAULT_CLASSES])(struct sim_faults *faults) = {
    [FAULT_KILL] = strike_kill,
    [FAULT_REBOOT] = strike_reboot,
    [FAULT_POWER_OFF] = strike_power_off,
    [FAULT_CLOG] = strike_clog,
    [FAULT_SWIZZLE] = strike_swizzle,
    [FAULT_PARTITION] = strike_partition,
    [FAULT_DROP] = strike_drop,
    [FAULT_PAUSE] = strike_pause,
    [FAULT_SLOW_CPU] = strike_slow_cpu,
    [FAULT_LATENCY] = strike_latency,
    [FAULT_SLOW_DISK] = strike_slow_disk,
    [FAULT_DISK_ERROR] = strike_disk_error,
    [FAULT_DISK_FULL] = strike_disk_full,
    [FAULT_BIT_FLIP] = strike_bit_flip,
    [FAULT_DEAD] = strike_dead,
    [FAULT_PAUSE_ROLE] = strike_pause_role,
    [FAULT_OLD_SIDE] = strike_old_side,
    [FAULT_CLOCK] = strike_clock,
};

/* Each class and each of its strikes has a stream of its own: leaving one out, or adding a class, changes what no other draws. */
static struct sim_random stream_of(const struct sim_faults *faults, enum sim_fault_class class, uint64_t number)
{
    uint64_t name = 0;

    for (const char *c = classes[class].key; *c != '\0'; c++)
        name = name * 31 + (unsigned char)*c;
    return sim_random_stream(faults->world->seed ^ sim_mix(name), number);
}

void sim_faults_strike(struct sim_faults *faults, enum sim_fault_class class)
{
    struct sim_world *world = faults->world;
    uint64_t number = ++faults->numbers[class];
    struct sim_random kept = world->faults;

    assert(class < FAULT_CLASSES);
    if (!sim_strikes_has(&faults->only[class], number))
        return;
    world->faults = stream_of(faults, class, number);
    if (draw_server(faults) != NULL) {
        faults->strikes[class]++;
        sim_note(world, NULL, classes[class].key, number);
        strikes[class](faults);
    }
    world->faults = kept;
}

/* ---- chaos and heal ---- */

static void ticker_fire(struct sim_event *event)
{
    struct sim_fault_ticker *ticker = container_of(event, struct sim_fault_ticker, event);
    struct sim_faults *faults = ticker->faults;

    if (faults->world->now_us >= faults->end_us)
        return;
    sim_faults_strike(faults, ticker->class);
    if (ticker->pause_us != 0)
        sim_event_in(faults->world, event, sim_random_range(&ticker->random, 0, 2 * ticker->pause_us));
}

void sim_faults_init(struct sim_faults *faults, struct sim_world *world)
{
    *faults = (struct sim_faults){.world = world};
    list_init(&faults->active);
}

void sim_faults_start(struct sim_faults *faults, int64_t duration_us)
{
    assert(!faults->running);
    faults->running = true;
    faults->healthy = faults->world->settings;
    faults->end_us = faults->world->now_us + duration_us;
    for (int class = 0; class < FAULT_CLASSES; class++) {
        struct sim_fault_ticker *ticker = &faults->tickers[class];
        bool drawn;

        ticker->random = stream_of(faults, (enum sim_fault_class)class, 0);
        drawn = sim_random_coin(&ticker->random);
        ticker->event.fire = ticker_fire;
        ticker->faults = faults;
        ticker->class = (enum sim_fault_class)class;
        ticker->pause_us = sim_random_range(&ticker->random, classes[class].pause_min_us, classes[class].pause_max_us);
        faults->on[class] = faults->want[class] == SWITCH_DRAW ? drawn : faults->want[class] == SWITCH_ON;
        if (faults->on[class])
            sim_event_in(faults->world, &ticker->event, sim_random_range(&ticker->random, 0, 2 * ticker->pause_us));
    }
}

static void heal_process(struct sim_process *process)
{
    process->slow_cpu = 0;
    process->disk->error_one_in = 0;
    process->disk->full = false;
    process->disk->slow_until_us = 0;
    sim_process_resume(process);
    if (process->alive && process->clock_drift_ppm != 0)
        sim_process_set_clock(process, 0, process->wall_offset_us);
    if (!process->stay_down)
        sim_process_boot(process);
}

void sim_faults_heal(struct sim_faults *faults)
{
    struct sim_world *world = faults->world;

    sim_note(world, NULL, "heal", 0);
    for (int class = 0; class < FAULT_CLASSES; class++)
        sim_agenda_remove(&world->agenda, &faults->tickers[class].event);
    while (!list_empty(&faults->active)) {
        struct active *active = list_entry(faults->active.next, struct active, link);

        sim_agenda_remove(&world->agenda, &active->event);
        list_remove(&active->link);
        if (active->end == dead_end)
            active->process->stay_down = active->process->given_up;
        mem_free(active);
    }
    if (faults->running)
        world->settings = faults->healthy;
    faults->running = false;
    sim_net_heal(world);
    if (world->buggify != NULL)
        world->buggify->quiet = true;
    for (size_t i = 0; i < world->process_count; i++)
        heal_process(world->processes[i]);
}

char *sim_faults_print(const struct sim_faults *faults, char *out, size_t out_size)
{
    size_t used = 0;

    out[0] = '\0';
    for (int class = 0; class < FAULT_CLASSES; class++)
        if (faults->strikes[class] != 0 && used < out_size)
            used += (size_t)snprintf(out + used, out_size - used, "%s%s=%" PRIu64, used == 0 ? "" : " ",
                                     classes[class].key, faults->strikes[class]);
    return out;
}
