/* Workloads that break the cluster with a plan, beside whatever the faults do: MachineAttrition, RandomClogging, TargetedKill, Rollback.
 *
 * The first actor of the first client sets the pace; the hit itself is an event of the world, outside of any turn. What lasts is
 * one of the faults' (sim/faults_internal.h), so that the heal mends it. */
#include "net/error.h"
#include "sim/cluster.h"
#include "sim/faults_internal.h"
#include "sim/workloads/values.h"

enum option { ACTORS, PAUSE_MS, THIRD, AIMED };

struct attack {
    struct sim_event event;
    struct sim_listener listener;
    struct sim_faults *faults;
    const int64_t *options;
    bool (*hit)(struct attack *attack);
    uint64_t hits, tried;
    uint64_t by_kind[ROLE_KINDS];
    unsigned next_kind;
    int64_t longest_outage_us; /* between two acknowledged commits, as the hits saw it */
};

static void see_outage(struct attack *attack)
{
    const struct sim_world *world = attack->faults->world;
    int64_t outage_us = world->now_us - world->committed_us;

    if (attack->longest_outage_us < outage_us)
        attack->longest_outage_us = outage_us;
}

static void attack_fire(struct sim_event *event)
{
    struct attack *attack = container_of(event, struct attack, event);

    see_outage(attack);
    attack->tried++;
    attack->hits += attack->hit(attack);
}

/* A chunk of a moving shard that may have to be taken back, or a shard that was given up and may have to be given back. */
static void hear_move(struct sim_listener *listener, struct sim_process *process, struct bytes line)
{
    uint64_t above = 0, state = 1;
    bool given_up = sim_line_is(line, "StorageShard") && sim_line_number(line, "State", 10, &state) && state == 0;

    (void)listener;
    if ((!given_up && !sim_line_is(line, "StorageChunkEntered")) || !sim_line_number(line, "Above", 10, &above) || above == 0)
        return;
    process->world->moved_above_us = process->world->now_us;
    if (given_up)
        process->world->given_up_above_us = process->world->now_us;
}

static void attack_setup(struct sim_actor *actor, struct sim_workload_run *run, bool (*hit)(struct attack *attack))
{
    struct attack *attack = run->state;

    attack->faults = actor->client->cluster->faults;
    attack->options = run->options;
    attack->hit = hit;
    attack->event.fire = attack_fire;
    attack->listener.heard = hear_move;
    list_push_back(&workload_world(actor)->listeners, &attack->listener.link);
}

static void attack_run(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct attack *attack = run->state;

    while (actor->index == 0 && !sim_actor_stopping(actor)) {
        sim_actor_sleep(actor, (int64_t)sim_actor_random(actor, 2000 * (uint64_t)run->options[PAUSE_MS] + 1));
        if (!sim_actor_stopping(actor) && !sim_event_waiting(&attack->event))
            sim_event_in(workload_world(actor), &attack->event, 0);
    }
}

static void attack_check(struct sim_actor *actor, struct sim_workload_run *run)
{
    const struct attack *attack = run->state;

    if (attack->tried != 0 && attack->hits == 0)
        sim_world_fail(workload_world(actor), "%s: %d attempts, and nothing was hit", run->type->name, (int)attack->tried);
    sim_say(workload_world(actor), actor->client->process, "%s: %llu hits, longest outage %.3f s", run->type->name,
            (unsigned long long)attack->hits, (double)attack->longest_outage_us / 1e6);
}

#define ATTACK(id, title, words, ...)                                                                \
    static void id##_setup(struct sim_actor *actor, struct sim_workload_run *run)                    \
    {                                                                                                \
        attack_setup(actor, run, id##_hit);                                                          \
    }                                                                                                \
    const struct sim_workload sim_workload_##id = {                                                  \
        .name = title,                                                                               \
        .what = words,                                                                               \
        .options = {{"actors", 1, 1, 1}, __VA_ARGS__},                                               \
        .state_bytes = sizeof(struct attack),                                                        \
        .setup = id##_setup,                                                                         \
        .run = attack_run,                                                                           \
        .check = attack_check,                                                                       \
    }

/* ---- MachineAttrition ---- */

static bool machine_attrition_hit(struct attack *attack)
{
    struct sim_faults *faults = attack->faults;
    struct sim_process *process = fault_server(faults);
    enum sim_stop how = fault_coin(faults) ? SIM_KILL : SIM_POWER_OFF;
    int64_t down_us = fault_range(faults, SIM_SECOND_US, attack->options[THIRD] * 1000 + SIM_SECOND_US);

    if (fault_can_spare(faults, process))
        return fault_keep_down(faults, process, how, down_us);
    if (!process->alive)
        return false;
    sim_process_stop(process, how);
    return true;
}

ATTACK(machine_attrition, "MachineAttrition", "machines go for a while, as many at once as the cluster can do without; others reboot",
       {"pause-ms", 4000, 10, 100000}, {"down-ms", 15000, 0, 100000});

/* ---- RandomClogging ---- */

static bool random_clogging_hit(struct attack *attack)
{
    struct sim_faults *faults = attack->faults;

    sim_faults_strike(faults, fault_one_in(faults, 6) ? FAULT_SWIZZLE : FAULT_CLOG);
    return true;
}

ATTACK(random_clogging, "RandomClogging", "clogs and swizzles in a row", {"pause-ms", 3000, 10, 100000});

/* ---- TargetedKill ---- */

static bool targeted_kill_hit(struct attack *attack)
{
    static const enum role_kind kinds[] = {ROLE_SEQUENCER, ROLE_COMMIT_PROXY, ROLE_GRV_PROXY,   ROLE_RESOLVER,        ROLE_LOG,
                                           ROLE_STORAGE,   ROLE_CONTROLLER,   ROLE_COORDINATOR, ROLE_DATA_DISTRIBUTOR, ROLE_RATEKEEPER};
    enum role_kind kind = kinds[attack->next_kind++ % (sizeof(kinds) / sizeof(kinds[0]))];
    struct sim_process *host;

    if (attack->options[THIRD] != 0)
        kind = (enum role_kind)attack->options[THIRD];
    host = fault_host(attack->faults, KIND(kind));
    if (host == NULL)
        return false;
    attack->by_kind[kind]++;
    sim_note(attack->faults->world, host, "targeted-kill", (uint64_t)kind);
    sim_process_stop(host, SIM_KILL);
    return true;
}

ATTACK(targeted_kill, "TargetedKill", "the host of each kind of role in turn, or of one kind (role: its number), is killed",
       {"pause-ms", 4000, 10, 100000}, {"role", 0, 0, ROLE_KINDS - 1});

/* ---- Rollback ---- */

/* A log that a proxy can't reach has not what the others have; then the proxy dies: what it pushed was never acknowledged, and
 * must be nowhere in the end, or everywhere. An aimed one waits for a chunk that comes in meanwhile, or a shard that is given up, above what nobody has
 * acknowledged, and strikes then. One that is aimed at what is given up begins when a shard is about to be handed over, and leaves the old owner some
 * time with what is not his any more, before it is given back to him. */
enum { AIM_US = 3 * SIM_SECOND_US, AIM_LOOK_US = 2000, AIM_SETTLE_US = 100000 };
enum { AIMED_AT_MOVES = 1, AIMED_AT_GIVING_UP = 2, HAND_OVER_US = 10 * SIM_SECOND_US, HAND_OVER_LOOK_US = 500, KEPT_US = 1500000 };

static void rollback_begin(struct sim_active *active)
{
    sim_net_block_many(active->faults->world, active->blocks, +1);
    active->commits = (uint64_t)active->faults->world->now_us;
}

static void rollback_unblock(struct sim_active *active)
{
    sim_net_block_many(active->faults->world, active->blocks, -1);
}

/* The same life of the same process, the same blocks. */
static void rollback_later(const struct sim_active *active, void (*end)(struct sim_active *active), int64_t delay_us)
{
    struct sim_active *next = fault_lasts(active->faults, NULL, end, delay_us, 0);

    next->process = active->process;
    next->incarnation = active->incarnation;
    next->commits = active->commits;
    memcpy(next->blocks, active->blocks, sizeof(next->blocks));
}

/* What is held up would still reach the log before it is locked: it is let go once the epoch has ended, when nobody takes it. */
static void rollback_end(struct sim_active *active)
{
    if (fault_same_life(active))
        sim_process_stop(active->process, SIM_KILL);
    rollback_later(active, rollback_unblock, fault_range(active->faults, 0, SIM_SECOND_US));
}

/* One of the logs that have the suffix: without it, the epoch's end is that of the one that has not. */
static void kill_another_log(struct sim_active *active)
{
    struct sim_faults *faults = active->faults;

    for (int tries = 0; tries < 8; tries++) {
        struct sim_process *log = fault_host(faults, KIND(ROLE_LOG));

        if (log == NULL || log == active->process || machines_has(&active->blocks[active->process->machine], log->machine))
            continue;
        sim_process_stop(log, SIM_KILL);
        return;
    }
}

static void rollback_aim(struct sim_active *active)
{
    const struct sim_world *world = active->faults->world;
    int64_t began_us = (int64_t)active->commits;

    if (world->moved_above_us > began_us + AIM_SETTLE_US || world->now_us > began_us + AIM_US) {
        kill_another_log(active);
        rollback_end(active);
        return;
    }
    rollback_later(active, rollback_aim, AIM_LOOK_US);
}

static void rollback_give_back(struct sim_active *active)
{
    kill_another_log(active);
    rollback_end(active);
}

static void rollback_given_up(struct sim_active *active)
{
    const struct sim_world *world = active->faults->world;
    int64_t began_us = (int64_t)active->commits;

    if (world->given_up_above_us > began_us)
        rollback_later(active, rollback_give_back, fault_range(active->faults, 10000, KEPT_US));
    else if (world->now_us > began_us + AIM_US)
        rollback_end(active);
    else
        rollback_later(active, rollback_given_up, AIM_LOOK_US);
}

/* The blocks are not there yet. */
static void rollback_hand_over(struct sim_active *active)
{
    const struct sim_world *world = active->faults->world;
    int64_t began_us = (int64_t)active->commits;

    if (world->hands_over_us > began_us && fault_same_life(active)) {
        rollback_begin(active);
        rollback_later(active, rollback_given_up, AIM_LOOK_US);
    } else if (world->now_us < began_us + HAND_OVER_US) {
        rollback_later(active, rollback_hand_over, HAND_OVER_LOOK_US);
    }
}

static bool rollback_hit(struct attack *attack)
{
    struct sim_faults *faults = attack->faults;
    struct sim_process *proxy = fault_host(faults, KIND(ROLE_COMMIT_PROXY)), *log = fault_host(faults, KIND(ROLE_LOG));
    struct sim_active *active;

    if (proxy == NULL || log == NULL || proxy == log)
        return false;
    if (attack->options[AIMED] == AIMED_AT_GIVING_UP)
        active = fault_lasts(faults, NULL, rollback_hand_over, 0, HAND_OVER_LOOK_US);
    else if (attack->options[AIMED] == AIMED_AT_MOVES)
        active = fault_lasts(faults, rollback_begin, rollback_aim, 0, AIM_LOOK_US);
    else
        active = fault_lasts(faults, rollback_begin, rollback_end, 0, fault_range(faults, 10000, attack->options[THIRD] * 1000));
    active->process = proxy;
    active->incarnation = proxy->incarnation;
    active->commits = (uint64_t)faults->world->now_us;
    active->blocks[proxy->machine] = machines_of(log->machine);
    return true;
}

ATTACK(rollback, "Rollback", "a batch reaches some logs and not all, and its proxy dies: the suffix that nobody acknowledged",
       {"pause-ms", 5000, 10, 100000}, {"clog-ms", 1500, 20, 100000}, {"aimed", 0, 0, AIMED_AT_GIVING_UP});
