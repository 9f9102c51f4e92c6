/* The classes, their pace, and the heal.
 *
 * A ticker a class strikes; what lasts is a sim_active with an event that ends it. */
#include "sim/faults_internal.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "net/mem.h"
#include "sim/buggify.h"

static const struct {
    const char *key;
    int64_t pause_min_us, pause_max_us;
} classes[FAULT_CLASSES] = {
#define X(class, key, pause_min_ms, pause_max_ms, what) {key, pause_min_ms * INT64_C(1000), pause_max_ms * INT64_C(1000)},
    SIM_FAULT_TABLE(X)
#undef X
};

static bool (*const functions[FAULT_CLASSES])(struct sim_faults *faults) = {
#define X(class, function) [FAULT_##class] = function,
    SIM_STRIKES(X)
#undef X
};

enum sim_fault_class sim_fault_class_of(const char *key)
{
    int class = 0;

    while (class < FAULT_CLASSES && strcmp(classes[class].key, key) != 0)
        class++;
    return (enum sim_fault_class)class;
}

const char *sim_fault_key(enum sim_fault_class class)
{
    return classes[class].key;
}

/* ---- which strikes ---- */

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

/* ---- draws ---- */

int64_t fault_range(struct sim_faults *faults, int64_t low, int64_t high)
{
    return sim_random_range(&faults->world->faults, low, high);
}

int64_t fault_long_tail(struct sim_faults *faults, int64_t low, int64_t high)
{
    int64_t top = low;

    while (top < high && sim_random_below(&faults->world->faults, 3) != 0)
        top *= 2;
    return fault_range(faults, low, top < high ? top : high);
}

bool fault_coin(struct sim_faults *faults)
{
    return sim_random_coin(&faults->world->faults);
}

bool fault_one_in(struct sim_faults *faults, uint64_t n)
{
    return sim_random_one_in(&faults->world->faults, n);
}

struct sim_process *fault_server(struct sim_faults *faults)
{
    struct sim_world *world = faults->world;
    struct sim_process *chosen = NULL;
    uint64_t seen = 0;

    for (size_t i = 0; i < world->process_count; i++)
        if (world->processes[i]->server && fault_one_in(faults, ++seen))
            chosen = world->processes[i];
    return chosen;
}

uint32_t fault_role_kinds(const struct sim_faults *faults, const struct sim_process *process)
{
    return faults->role_kinds == NULL || !process->alive || !process->server ? 0 : faults->role_kinds(process);
}

struct sim_process *fault_host(struct sim_faults *faults, uint32_t kinds)
{
    struct sim_world *world = faults->world;
    struct sim_process *chosen = NULL;
    uint64_t seen = 0;

    for (size_t i = 0; i < world->process_count; i++)
        if ((fault_role_kinds(faults, world->processes[i]) & kinds) != 0 && fault_one_in(faults, ++seen))
            chosen = world->processes[i];
    return chosen;
}

bool fault_can_spare(const struct sim_faults *faults, const struct sim_process *process)
{
    unsigned coordinators = process->coordinator, zones = process->keeps_data;

    for (size_t i = 0; i < faults->world->process_count; i++) {
        const struct sim_process *other = faults->world->processes[i];

        if (other == process || !other->server || (!other->stay_down && !other->damaged))
            continue;
        coordinators += other->coordinator;
        zones += other->keeps_data;
    }
    return coordinators <= faults->coordinators_may_lose && zones <= faults->zones_may_lose;
}

/* ---- what lasts ---- */

static void active_free(struct sim_active *active)
{
    sim_agenda_remove(&active->faults->world->agenda, &active->event);
    list_remove(&active->link);
    sim_disk_image_free(active->image);
    mem_free(active);
}

static void active_fire(struct sim_event *event)
{
    struct sim_active *active = container_of(event, struct sim_active, event);

    if (active->begin != NULL) {
        active->begin(active);
        active->begin = NULL;
        sim_event_in(active->faults->world, event, active->lasts_us);
        return;
    }
    active->end(active);
    active_free(active);
}

struct sim_active *fault_lasts(struct sim_faults *faults, void (*begin)(struct sim_active *active),
                               void (*end)(struct sim_active *active), int64_t delay_us, int64_t lasts_us)
{
    struct sim_active *active = sim_zalloc(sizeof(*active));

    active->faults = faults;
    active->begin = begin;
    active->end = end;
    active->lasts_us = lasts_us;
    active->event.fire = active_fire;
    list_push_back(&faults->active, &active->link);
    sim_event_in(faults->world, &active->event, delay_us);
    return active;
}

struct sim_active *fault_of_process(struct sim_faults *faults, struct sim_process *process,
                                    void (*end)(struct sim_active *active), int64_t lasts_us)
{
    struct sim_active *active = fault_lasts(faults, NULL, end, lasts_us, 0);

    active->process = process;
    active->incarnation = process->incarnation;
    process->disk->fault_line = sim_cause(faults->world);
    sim_say(faults->world, process, "is hit, for %.3f s", (double)lasts_us / 1e6);
    return active;
}

bool fault_same_life(const struct sim_active *active)
{
    return active->process->alive && active->process->incarnation == active->incarnation;
}

static void down_end(struct sim_active *active)
{
    active->process->stay_down = false;
    sim_process_boot(active->process);
}

bool fault_keep_down(struct sim_faults *faults, struct sim_process *process, enum sim_stop how, int64_t lasts_us)
{
    if (process->stay_down)
        return false;
    sim_agenda_remove(&faults->world->agenda, &process->restart);
    process->stay_down = true;
    sim_process_stop(process, how);
    fault_of_process(faults, process, down_end, lasts_us)->keeps_down = true;
    return true;
}

/* ---- chaos ---- */

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
    uint64_t outer;

    assert(class < FAULT_CLASSES);
    if (!sim_strikes_has(&faults->only[class], number))
        return;
    world->faults = stream_of(faults, class, number);
    if (fault_server(faults) != NULL) {
        outer = sim_set_cause(world, sim_note_as(world, NULL, classes[class].key, number, "strike %s %" PRIu64,
                                                 classes[class].key, number));
        faults->strikes[class] += functions[class](faults);
        sim_set_cause(world, outer);
    }
    world->faults = kept;
}

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
    if (faults->on[FAULT_REPLAY])
        sim_net_record(faults->world);
}

/* ---- the heal ---- */

static void heal_process(struct sim_process *process)
{
    process->slow_cpu = 0;
    process->read_pause_us = 0;
    process->newer = false;
    process->out_of_memory = false;
    sim_disk_heal(process);
    sim_process_resume(process);
    if (!process->alive)
        process->clock_drift_ppm = 0; /* it would boot with a clock that stands still */
    else if (process->clock_drift_ppm != 0)
        sim_process_set_clock(process, 0, process->wall_offset_us);
    if (process->foreign) {
        process->foreign = false;
        sim_process_stop(process, SIM_KILL);
    }
    if (!process->stay_down)
        sim_process_boot(process);
}

void sim_faults_heal(struct sim_faults *faults)
{
    struct sim_world *world = faults->world;
    uint64_t outer = sim_set_cause(world, sim_note(world, NULL, "heal", 0));

    for (int class = 0; class < FAULT_CLASSES; class++)
        sim_agenda_remove(&world->agenda, &faults->tickers[class].event);
    while (!list_empty(&faults->active)) {
        struct sim_active *active = list_entry(faults->active.next, struct sim_active, link);

        if (active->keeps_down)
            active->process->stay_down = active->process->given_up;
        active_free(active);
    }
    if (faults->running)
        world->settings = faults->healthy;
    faults->running = false;
    sim_net_heal(world);
    if (world->buggify != NULL)
        world->buggify->quiet = true;
    for (size_t i = 0; i < world->process_count; i++)
        heal_process(world->processes[i]);
    sim_set_cause(world, outer);
}

/* "kill=3", or "kill=3/5" when five had their turn and two of them found nothing to hit or were left out. */
static size_t print_class(const struct sim_faults *faults, int class, bool first, char *out, size_t out_size)
{
    uint64_t strikes_made = faults->strikes[class], numbers = faults->numbers[class];
    int length = snprintf(out, out_size, "%s%s=%" PRIu64, first ? "" : " ", classes[class].key, strikes_made);

    if (numbers != strikes_made && (size_t)length < out_size)
        length += snprintf(out + length, out_size - (size_t)length, "/%" PRIu64, numbers);
    return (size_t)length;
}

void sim_faults_report(const struct sim_faults *faults, FILE *out)
{
    for (int class = 0; class < FAULT_CLASSES; class++)
        fprintf(out, "fault\t%s\t%d\t%" PRIu64 "\n", classes[class].key, faults->on[class], faults->strikes[class]);
}

char *sim_faults_print(const struct sim_faults *faults, char *out, size_t out_size)
{
    size_t used = 0;

    out[0] = '\0';
    for (int class = 0; class < FAULT_CLASSES; class++)
        if (faults->strikes[class] != 0 && used < out_size)
            used += print_class(faults, class, used == 0, out + used, out_size - used);
    return out;
}
