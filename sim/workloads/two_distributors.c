/* TwoDistributors: the data distributor's machine and the controller's can't reach each other, so another distributor is recruited while
 * the old one lives on, reaches everybody else, and goes on with its moves.
 *
 * \xff/moveKeysLock must make the old one end itself at its next transaction, whatever it had under way. Each cut mends itself
 * after a while; the check wants that two lived at once, and that one ended because it found another's lock (or was told, by a
 * description that came first). Nobody may have changed anything while another had the lock: what each committed is held against who
 * had taken it by then. One of each kind is what makes a cluster quiet; the other workloads, the comparison of replicas and the check
 * of the shard map say that nothing came of it. */
#include "sim/cluster.h"
#include "sim/faults_internal.h"
#include "sim/workloads/values.h"

enum option { ACTORS, PAUSE_MS, CUT_MS };
enum { LOOK_US = 50000, EVENTS_MAX = 4096 };

/* Committed by a distributor: it took the lock, or changed something else. */
struct lock_event {
    uint64_t id, version;
    bool takes;
};

struct two_distributors {
    struct sim_listener listener; /* first */
    struct sim_event cut;
    struct sim_faults *faults;
    int64_t cut_us; /* at most */
    struct lock_event events[EVENTS_MAX]; /* by version */
    uint32_t event_count;
    uint64_t cuts, together, taken, lost; /* looks that found two; locks that were taken; distributors that found another's */
};

static void cut_begin(struct sim_active *active)
{
    sim_net_block_many(active->faults->world, active->blocks, +1);
}

static void cut_end(struct sim_active *active)
{
    sim_net_block_many(active->faults->world, active->blocks, -1);
}

static void cut_fire(struct sim_event *event)
{
    struct two_distributors *state = container_of(event, struct two_distributors, cut);
    struct sim_faults *faults = state->faults;
    struct sim_process *old = fault_host(faults, KIND(ROLE_DATA_DISTRIBUTOR));
    struct sim_process *controller = fault_host(faults, KIND(ROLE_CONTROLLER));
    struct sim_active *active;

    if (old == NULL || controller == NULL || old == controller)
        return;
    sim_note(faults->world, old, "cut-from-controller", ++state->cuts);
    active = fault_lasts(faults, cut_begin, cut_end, 0, fault_range(faults, state->cut_us / 4, state->cut_us));
    active->process = old;
    active->blocks[old->machine] = machines_of(controller->machine);
    active->blocks[controller->machine] = machines_of(old->machine);
}

/* Word of it may come in another order than they were committed in. */
static void note_event(struct two_distributors *state, struct bytes line, bool takes)
{
    struct lock_event event = {.takes = takes};
    uint32_t at = state->event_count;

    if (at == EVENTS_MAX || !sim_line_number(line, "Id", 16, &event.id) || !sim_line_number(line, "Version", 10, &event.version))
        return;
    for (; at > 0 && state->events[at - 1].version > event.version; at--)
        state->events[at] = state->events[at - 1];
    state->events[at] = event;
    state->event_count++;
}

static void check_lock(const struct two_distributors *state, struct sim_world *world)
{
    uint64_t holder = 0, since = 0;

    for (uint32_t i = 0; i < state->event_count; i++) {
        const struct lock_event *event = &state->events[i];

        if (event->takes) {
            holder = event->id;
            since = event->version;
        } else if (holder != 0 && event->id != holder && event->version > since) {
            sim_world_fail(world, "TwoDistributors: %016llx changed shards at %llu, though %016llx had the lock since %llu",
                           (unsigned long long)event->id, (unsigned long long)event->version, (unsigned long long)holder,
                           (unsigned long long)since);
        }
    }
}

static void heard(struct sim_listener *listener, struct sim_process *process, struct bytes line)
{
    struct two_distributors *state = container_of(listener, struct two_distributors, listener);

    (void)process;
    if (sim_line_is(line, "MoveKeysLockTaken") || sim_line_is(line, "ShardsChanged"))
        note_event(state, line, sim_line_is(line, "MoveKeysLockTaken"));
    state->taken += sim_line_is(line, "MoveKeysLockTaken");
    state->lost += sim_line_is(line, "DistributorEnds") &&
                   bytes_equal(sim_line_text(line, "Error"), bytes_of_string(error_name(ERROR_MOVEKEYS_CONFLICT)));
}

static void two_distributors_setup(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct two_distributors *state = run->state;

    state->faults = actor->client->cluster->faults;
    state->cut.fire = cut_fire;
    state->cut_us = 1000 * run->options[CUT_MS];
    state->listener.heard = heard;
    list_push_back(&workload_world(actor)->listeners, &state->listener.link);
}

static unsigned living(const struct sim_world *world)
{
    unsigned count = 0;

    for (size_t i = 0; i < world->process_count; i++)
        count += sim_cluster_role_kinds(world->processes[i]) >> ROLE_DATA_DISTRIBUTOR & 1;
    return count;
}

static void two_distributors_run(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct two_distributors *state = run->state;
    struct sim_world *world = workload_world(actor);
    int64_t next_us = world->now_us;

    while (actor->index == 0 && !sim_actor_stopping(actor)) {
        if (world->now_us >= next_us && !sim_event_waiting(&state->cut)) {
            sim_event_in(world, &state->cut, 0);
            next_us = world->now_us + (int64_t)sim_actor_random(actor, 2000 * (uint64_t)run->options[PAUSE_MS] + 1);
        }
        sim_actor_sleep(actor, LOOK_US);
        state->together += living(world) > 1;
    }
}

static void two_distributors_check(struct sim_actor *actor, struct sim_workload_run *run)
{
    const struct two_distributors *state = run->state;
    struct sim_world *world = workload_world(actor);

    check_lock(state, world);
    if (state->cuts > 0 && state->together == 0)
        sim_world_fail(world, "TwoDistributors: %llu cuts, and never were there two", (unsigned long long)state->cuts);
    sim_world_show(world, "%llu cuts, two distributors for %.1f s, %llu locks taken, %llu distributors ended by another's",
                   (unsigned long long)state->cuts, (double)state->together * LOOK_US / 1e6, (unsigned long long)state->taken,
                   (unsigned long long)state->lost);
}

const struct sim_workload sim_workload_two_distributors = {
    .name = "TwoDistributors",
    .what = "a data distributor that the controller can't reach goes on beside its successor",
    .options = {{"actors", 1, 1, 1}, {"pause-ms", 8000, 10, 100000}, {"cut-ms", 15000, 100, 100000}},
    .state_bytes = sizeof(struct two_distributors),
    .setup = two_distributors_setup,
    .run = two_distributors_run,
    .check = two_distributors_check,
};
