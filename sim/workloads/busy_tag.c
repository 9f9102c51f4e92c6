/* BusyTag: one tag writes more than a storage server can take; the ratekeeper finds out by itself, and limits that tag alone.
 *
 * Disks of storage servers are slow: a sync takes up to a second. Greedy actors write large values, with a tag, as fast as they can, into one place. Modest ones write a small key now and then, with another
 * tag or none. What holds: the ratekeeper limits the greedy tag within seconds (its trace says when: the keys that say so are on the very
 * servers that are slow), and none other ever; only greedy transactions are told tag_throttled; while it lasts, the greedy ones are
 * held back, and modest ones start and commit as fast as before; one who watches the keys in which limits stand (as `throttle
 * list` does) comes to see it; and when the greedy ones have stopped, it goes by itself. In half of the runs he clears what he has found, as
 * `throttle off auto` does: then the limit has an end, and comes again as long as there is reason for it. */
#include <stdio.h>

#include "sim/cluster.h"
#include "sim/workloads/values.h"
#include "txn/mutation.h"
#include "txn/tags.h"

enum option { ACTORS, VALUE_BYTES, BUSY_SECONDS, PACE_MS, BOUND_MS, GONE_SECONDS, LIMIT_SECONDS, CLEARS };
enum { GREEDY, MODEST, WATCHER };
enum { FREE, SETTLING, HELD, PHASES };
enum { VALUE_MAX = 50000, PLACES = 50, WATCH_US = 200000, SETTLE_US = 10000000, HELD_US_MIN = 5000000, CLEARED_US_MAX = 10000000, LIMITS_MAX = 100, OPTION_READ_SYSTEM_KEYS = 302, OPTION_ACCESS_SYSTEM_KEYS = 301 };

static const char greedy_tag[] = "greedy", modest_tag[] = "modest";

struct counts {
    uint64_t committed;
    int64_t us; /* how long it was like this */
};

struct busy_tag {
    struct sim_listener listener; /* first */
    struct sim_world *world;
    int64_t began_us, busy_us;    /* busy_us: for how long */
    int64_t limited_us, seen_us;  /* when the limit first began, and was first found among the keys; 0: never */
    int64_t since_us, counted_us; /* since when it is as it is; up to when `greedy` counts time */
    bool limited;                 /* now */
    bool clears;                  /* the one who watches clears the first that he finds */
    int64_t cleared_us, heard_us; /* when he did, and when the first limit ended after that; 0: not yet */
    struct counts greedy[PHASES];            /* not limited, just limited, limited for a while */
    uint64_t throttled;                      /* tries of greedy ones that were told so */
    uint64_t modest, slow;                   /* while limited */
    int64_t longest_us;
};

static bool is_busy(const struct busy_tag *state)
{
    return state->world->now_us - state->began_us < state->busy_us;
}

/* What follows a limit, until the next one comes, is no free run either: the servers are still full. */
static int phase_of(const struct busy_tag *state)
{
    return state->limited_us == 0 ? FREE : state->limited && state->world->now_us - state->since_us >= SETTLE_US ? HELD : SETTLING;
}

static void count_time(struct busy_tag *state)
{
    if (is_busy(state))
        state->greedy[phase_of(state)].us += state->world->now_us - state->counted_us;
    state->counted_us = state->world->now_us;
}

/* ---- what the ratekeeper says ---- */

static void heard(struct sim_listener *listener, struct sim_process *process, struct bytes line)
{
    struct busy_tag *state = container_of(listener, struct busy_tag, listener);
    bool begins = sim_line_is(line, "TagLimited");

    if (!begins && !sim_line_is(line, "TagLimitEnded"))
        return;
    count_time(state);
    if (!bytes_equal(sim_line_text(line, "Tag"), bytes_of_string(greedy_tag)))
        sim_world_fail(process->world, "BusyTag: another tag is limited");
    state->limited = begins;
    if (!begins && state->cleared_us != 0 && state->heard_us == 0)
        state->heard_us = state->world->now_us;
    state->since_us = state->world->now_us;
    if (begins && state->limited_us == 0)
        state->limited_us = state->world->now_us;
}

/* ---- watching ---- */

/* Whether the greedy tag is limited now. */
static int look(struct sim_actor *actor, struct sim_transaction *transaction, bool *ret_limited)
{
    const struct sim_pair *pairs;
    size_t count;
    int error;

    *ret_limited = false;
    error = sim_get_range(transaction, KEY_THROTTLE_PREFIX, KEY_THROTTLE_END, LIMITS_MAX, &pairs, &count);
    for (size_t i = 0; error == 0 && i < count; i++) {
        struct throttle throttle = {0};

        if (!throttle_key_parse(pairs[i].key, &throttle) || !throttle_value_parse(pairs[i].value, &throttle))
            sim_world_fail(workload_world(actor), "BusyTag: what stands among the limits is none");
        else if (throttle.type != THROTTLE_AUTO || !bytes_equal(tag_bytes(&throttle.tag), bytes_of_string(greedy_tag)))
            sim_world_fail(workload_world(actor), "BusyTag: tag %.*s is limited", (int)throttle.tag.len, (const char *)throttle.tag.text);
        else if (throttle.reason != THROTTLE_BUSY_WRITE)
            sim_world_fail(workload_world(actor), "BusyTag: the limit's reason is %d", (int)throttle.reason);
        else
            *ret_limited = true;
    }
    return error;
}

static bool look_once(struct sim_actor *actor)
{
    struct sim_transaction *transaction = sim_transaction_create(actor);
    bool limited = false;
    int error;

    sim_option(transaction, OPTION_READ_SYSTEM_KEYS);
    do
        error = look(actor, transaction, &limited);
    while (error != 0 && sim_retry(transaction, error));
    if (error != 0)
        sim_world_fail(workload_world(actor), "BusyTag: limits can't be read: %s", error_name(error));
    sim_transaction_destroy(transaction);
    return limited;
}

/* What `throttle off auto` does; look() has said that all of them are automatic. */
static void clear(struct sim_actor *actor)
{
    struct sim_transaction *transaction = sim_transaction_create(actor);
    int error;

    sim_option(transaction, OPTION_ACCESS_SYSTEM_KEYS);
    do {
        sim_clear_range(transaction, KEY_THROTTLE_PREFIX, KEY_THROTTLE_END);
        sim_atomic(transaction, MUTATION_SET_VERSIONSTAMPED_VALUE, KEY_THROTTLE_SIGNAL, BYTES_LITERAL("XXXXXXXXXX\0\0\0\0"));
        error = sim_commit(transaction);
    } while (error != 0 && sim_retry(transaction, error));
    if (error != 0)
        sim_world_fail(workload_world(actor), "BusyTag: the limit can't be cleared: %s", error_name(error));
    sim_transaction_destroy(transaction);
}

static void watch(struct sim_actor *actor, const struct sim_workload_run *run)
{
    struct busy_tag *state = run->state;

    if (look_once(actor) && state->seen_us == 0) {
        state->seen_us = state->world->now_us;
        if (state->clears) {
            clear(actor);
            state->cleared_us = state->limited ? state->world->now_us : 0; /* else it had just ended by itself */
        }
    }
    sim_actor_sleep(actor, WATCH_US);
}

/* ---- greedy and modest ---- */

static int write_one(struct sim_actor *actor, const struct sim_workload_run *run, struct sim_transaction *transaction, bool greedy)
{
    static const uint8_t value[VALUE_MAX];
    struct workload_key key;

    sim_set(transaction, workload_key(&key, greedy ? "busy" : "calm", sim_actor_random(actor, PLACES)),
            bytes_of(value, greedy ? (size_t)run->options[VALUE_BYTES] : 1));
    return sim_commit(transaction);
}

static void be_greedy(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct sim_transaction *transaction = sim_transaction_create(actor);
    struct busy_tag *state = run->state;
    version_t version;
    int error;

    sim_tag(transaction, greedy_tag);
    do {
        error = sim_read_version(transaction, &version);
        state->throttled += error == ERROR_TAG_THROTTLED;
        if (error == 0)
            error = write_one(actor, run, transaction, true);
    } while (error != 0 && is_busy(state) && sim_retry(transaction, error));
    count_time(state);
    state->greedy[phase_of(state)].committed += error == 0;
    sim_transaction_destroy(transaction);
}

/* A read version and a commit: neither may wait for the greedy ones. */
static void be_modest(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct sim_world *world = workload_world(actor);
    struct sim_transaction *transaction = sim_transaction_create(actor);
    struct busy_tag *state = run->state;
    int64_t began_us = world->now_us, took_us;
    bool limited = state->limited;
    version_t version;
    int error;

    if (sim_actor_random(actor, 2) == 0)
        sim_tag(transaction, modest_tag);
    do {
        error = sim_read_version(transaction, &version);
        if (error == ERROR_TAG_THROTTLED)
            sim_world_fail(world, "BusyTag: a modest transaction was told that its tag is throttled");
        if (error == 0)
            error = write_one(actor, run, transaction, false);
    } while (error != 0 && sim_retry(transaction, error));
    sim_transaction_destroy(transaction);
    took_us = world->now_us - began_us;
    if (limited && state->limited && is_busy(state)) {
        state->modest++;
        state->slow += took_us > run->options[BOUND_MS] * 1000;
        state->longest_us = took_us > state->longest_us ? took_us : state->longest_us;
    }
    sim_actor_sleep(actor, (int64_t)sim_actor_random(actor, 2000 * (uint64_t)run->options[PACE_MS]));
}

static void slow_stores(struct sim_world *world, int64_t lasts_us)
{
    for (size_t i = 0; i < world->process_count; i++)
        if (world->processes[i]->server && sim_cluster_class_of(world->processes[i]) == CLASS_STORAGE)
            sim_disk_slow(world->processes[i], lasts_us);
}

static void busy_tag_setup(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct busy_tag *state = run->state;

    state->world = workload_world(actor);
    state->began_us = state->counted_us = state->world->now_us;
    state->busy_us = run->options[BUSY_SECONDS] * SIM_SECOND_US;
    state->clears = sim_actor_random(actor, 100) < (uint64_t)run->options[CLEARS];
    state->listener.heard = heard;
    list_push_back(&workload_world(actor)->listeners, &state->listener.link);
    slow_stores(workload_world(actor), run->options[BUSY_SECONDS] * SIM_SECOND_US);
}

static int kind_of(const struct sim_actor *actor)
{
    return actor->index == 0 ? WATCHER : actor->index % 2 == 1 ? GREEDY : MODEST;
}

static void busy_tag_run(struct sim_actor *actor, struct sim_workload_run *run)
{
    int kind = kind_of(actor);

    while (!sim_actor_stopping(actor)) {
        if (kind == WATCHER)
            watch(actor, run);
        else if (kind == MODEST)
            be_modest(actor, run);
        else if (is_busy(run->state))
            be_greedy(actor, run);
        else
            return;
    }
}

/* ---- check ---- */

static double a_second(const struct counts *counts)
{
    return counts->us == 0 ? 0 : (double)counts->committed * 1e6 / (double)counts->us;
}

static void check_end(struct sim_actor *actor, const struct sim_workload_run *run)
{
    struct sim_world *world = workload_world(actor);
    int64_t until_us = world->now_us + run->options[GONE_SECONDS] * SIM_SECOND_US;

    while (look_once(actor)) {
        if (world->now_us > until_us) {
            sim_world_fail(world, "BusyTag: nothing is written any more, and the tag is limited still");
            return;
        }
        sim_actor_sleep(actor, WATCH_US);
    }
}

/* The ratekeeper reads as slowly as anybody while servers are slow. */
static void check_cleared(const struct busy_tag *state)
{
    if (state->cleared_us != 0 && (state->heard_us == 0 || state->heard_us - state->cleared_us > CLEARED_US_MAX))
        sim_world_fail(state->world, "BusyTag: the limit was cleared by hand, and held for %.1f s still",
                       (double)((state->heard_us != 0 ? state->heard_us : state->world->now_us) - state->cleared_us) / 1e6);
}

static void busy_tag_check(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct sim_world *world = workload_world(actor);
    const struct busy_tag *state = run->state;
    char by_hand[80] = "";

    if (state->limited_us == 0)
        sim_world_fail(world, "BusyTag: %.0f commits/s of %d bytes, and no limit", a_second(&state->greedy[FREE]), (int)run->options[VALUE_BYTES]);
    if (state->limited_us - state->began_us > run->options[LIMIT_SECONDS] * SIM_SECOND_US)
        sim_world_fail(world, "BusyTag: the limit came after %.1f s", (double)(state->limited_us - state->began_us) / 1e6);
    if (state->seen_us == 0)
        sim_world_fail(world, "BusyTag: the limit never stood among the keys");
    if (state->greedy[HELD].us > HELD_US_MIN && a_second(&state->greedy[HELD]) >= a_second(&state->greedy[FREE]))
        sim_world_fail(world, "BusyTag: the limit held few back: %.0f/s without it, %.0f/s with it", a_second(&state->greedy[FREE]),
                       a_second(&state->greedy[HELD]));
    if (state->modest == 0 || state->slow * 20 > state->modest + 20)
        sim_world_fail(world, "BusyTag: %llu of %llu modest ones took over %lld ms, the longest %.3f s", (unsigned long long)state->slow,
                       (unsigned long long)state->modest, (long long)run->options[BOUND_MS], (double)state->longest_us / 1e6);
    check_cleared(state);
    check_end(actor, run);
    if (state->cleared_us != 0)
        snprintf(by_hand, sizeof(by_hand), ", cleared by hand after %.1f s, gone %.1f s later", (double)(state->cleared_us - state->began_us) / 1e6,
                 (double)(state->heard_us - state->cleared_us) / 1e6);
    sim_world_show(world, "the busy tag was limited after %.1f s, and listed after %.1f s%s: from %.0f to %.0f commits/s, %llu tries throttled; of %llu others the longest took %.3f s",
                   (double)(state->limited_us - state->began_us) / 1e6, (double)(state->seen_us - state->began_us) / 1e6, by_hand,
                   a_second(&state->greedy[FREE]), a_second(&state->greedy[HELD]),
                   (unsigned long long)state->throttled, (unsigned long long)state->modest, (double)state->longest_us / 1e6);
}

const struct sim_workload sim_workload_busy_tag = {
    .name = "BusyTag",
    .what = "a tag that overloads a storage server is limited by the ratekeeper itself, alone, and for as long as it lasts",
    .options = {{"actors", 8, 3, 64}, {"value-bytes", 10000, 100, VALUE_MAX}, {"busy-seconds", 40, 5, 1000}, {"pace-ms", 100, 1, 10000},
                {"bound-ms", 1500, 1, 100000}, {"gone-seconds", 60, 1, 1000},
                {"limit-seconds", 10, 1, 1000}, {"clears", 50, 0, 100}},
    .state_bytes = sizeof(struct busy_tag),
    .setup = busy_tag_setup,
    .run = busy_tag_run,
    .check = busy_tag_check,
};
