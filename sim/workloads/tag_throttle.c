/* TagThrottle: a greedy tag is limited for a while, and nobody but it notices.
 *
 * setup() limits the tag as `throttle on` does, by its keys. Then three kinds of actors: greedy ones, with the limited tag and without a
 * pause; modest ones, with a tag that nobody has limited, or none; and those with system-immediate priority and the greedy tag. What holds:
 * only greedy transactions are ever told tag_throttled; their starts stay near the limit while it lasts; what a modest or an immediate
 * one's read version takes does not depend on the greedy ones' queue; and when the time of the limit is over, it is over. */
#include "sim/cluster.h"
#include "sim/workloads/values.h"
#include "txn/mutation.h"
#include "txn/tags.h"

enum option { ACTORS, RATE, SECONDS, SETTLE_MS, PACE_MS, BOUND_MS };
enum { GREEDY, MODEST, IMMEDIATE, KINDS };

/* FoundationDB's codes. */
enum { OPTION_IMMEDIATE = 200, OPTION_ACCESS_SYSTEM_KEYS = 301 };

static const char greedy_tag[] = "greedy", modest_tag[] = "modest";

struct throttling {
    int64_t limited_us;             /* when the limit was set; 0: not yet */
    uint64_t first_epoch;           /* the newest one when the limit was set */
    uint64_t begun[KINDS];          /* starts that count: the limit has settled, and not ended yet */
    uint64_t throttled;             /* tries of greedy ones that were told so */
    uint64_t slow[KINDS];
    int64_t longest_us[KINDS];
};

static uint64_t epoch_of(const struct sim_world *world)
{
    const struct description *d = sim_cluster_description(world);

    return d == NULL ? 0 : d->epoch;
}

static bool limit_holds(const struct sim_world *world, const struct sim_workload_run *run)
{
    const struct throttling *state = run->state;
    int64_t since_us = world->now_us - state->limited_us;

    return state->limited_us != 0 && since_us > run->options[SETTLE_MS] * 1000 && since_us < run->options[SECONDS] * 1000000;
}

static void tag_setup(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct sim_transaction *transaction = sim_transaction_create(actor);
    struct throttle throttle = {.type = THROTTLE_MANUAL, .priority = THROTTLE_DEFAULT, .rate = (double)run->options[RATE],
                                .duration_s = (double)run->options[SECONDS], .reason = THROTTLE_BY_HAND};
    uint8_t key[THROTTLE_KEY_BYTES_MAX], value[THROTTLE_VALUE_BYTES];
    struct throttling *state = run->state;
    size_t key_len;
    int error;

    (void)tag_name_of(bytes_of_string(greedy_tag), &throttle.tag);
    key_len = throttle_key_write(key, &throttle);
    throttle_value_write(value, &throttle);
    sim_option(transaction, OPTION_ACCESS_SYSTEM_KEYS);
    do {
        sim_set(transaction, bytes_of(key, key_len), bytes_of(value, sizeof(value)));
        sim_atomic(transaction, MUTATION_SET_VERSIONSTAMPED_VALUE, KEY_THROTTLE_SIGNAL, BYTES_LITERAL("XXXXXXXXXX\0\0\0\0"));
        error = sim_commit(transaction);
    } while (error != 0 && sim_retry(transaction, error));
    if (error != 0)
        sim_world_fail(workload_world(actor), "TagThrottle: the limit can't be set: %s", error_name(error));
    state->limited_us = workload_world(actor)->now_us;
    state->first_epoch = epoch_of(workload_world(actor));
    sim_transaction_destroy(transaction);
}

static int kind_of(const struct sim_actor *actor)
{
    return actor->index % 4 == 1 ? MODEST : actor->index % 4 == 3 ? IMMEDIATE : GREEDY;
}

static struct sim_transaction *transaction_of(struct sim_actor *actor, int kind)
{
    struct sim_transaction *transaction = sim_transaction_create(actor);

    if (kind == IMMEDIATE)
        sim_option(transaction, OPTION_IMMEDIATE);
    if (kind != MODEST)
        sim_tag(transaction, greedy_tag);
    else if (sim_actor_random(actor, 2) == 0)
        sim_tag(transaction, modest_tag);
    return transaction;
}

/* True: the read version came. */
static bool begin(struct sim_actor *actor, struct sim_workload_run *run, struct sim_transaction *transaction, int kind, int *ret_error)
{
    struct sim_world *world = workload_world(actor);
    struct throttling *state = run->state;
    int64_t began_us = world->now_us, took_us;
    uint64_t epoch = epoch_of(world);
    version_t version;

    *ret_error = sim_read_version(transaction, &version);
    took_us = world->now_us - began_us;
    if (*ret_error == ERROR_TAG_THROTTLED && kind != GREEDY)
        sim_world_fail(world, "TagThrottle: a transaction of kind %d was told that its tag is throttled", kind);
    state->throttled += *ret_error == ERROR_TAG_THROTTLED;
    if (*ret_error != 0 || !limit_holds(world, run) || began_us - state->limited_us < run->options[SETTLE_MS] * 1000)
        return *ret_error == 0;
    state->begun[kind]++;
    if (epoch != epoch_of(world)) /* it waited for a recovery, and not for a tag */
        return true;
    state->slow[kind] += took_us > run->options[BOUND_MS] * 1000;
    if (took_us > state->longest_us[kind])
        state->longest_us[kind] = took_us;
    return true;
}

static void one(struct sim_actor *actor, struct sim_workload_run *run, int kind)
{
    struct sim_transaction *transaction = transaction_of(actor, kind);
    struct workload_key key;
    int error;

    do {
        if (begin(actor, run, transaction, kind, &error)) {
            sim_set(transaction, workload_key(&key, "tags", sim_actor_random(actor, 50)), BYTES_LITERAL("x"));
            error = sim_commit(transaction);
        }
    } while (error != 0 && !sim_actor_stopping(actor) && sim_retry(transaction, error));
    sim_transaction_destroy(transaction);
}

static void tag_run(struct sim_actor *actor, struct sim_workload_run *run)
{
    int kind = kind_of(actor);

    while (!sim_actor_stopping(actor)) {
        one(actor, run, kind);
        sim_actor_sleep(actor, kind == GREEDY ? 2000 : (int64_t)sim_actor_random(actor, 2000 * (uint64_t)run->options[PACE_MS]));
    }
}

/* Three times the limit, and what may start before the first word of each epoch's new proxies or of a new ratekeeper (a proxy that was
 * told nothing yet holds nobody back): far below what comes. */
static void check_rate(struct sim_actor *actor, struct sim_workload_run *run)
{
    const struct throttling *state = run->state;
    int64_t held_s = run->options[SECONDS] - run->options[SETTLE_MS] / 1000;
    uint64_t epochs = 1 + epoch_of(workload_world(actor)) - state->first_epoch;
    uint64_t most = (uint64_t)(run->options[RATE] * held_s * 3) + 300 * epochs;

    if (state->begun[GREEDY] > most)
        sim_world_fail(workload_world(actor), "TagThrottle: %llu transactions of a tag started in %lld s, %lld a second may",
                       (unsigned long long)state->begun[GREEDY], (long long)held_s, (long long)run->options[RATE]);
    for (int kind = MODEST; kind < KINDS; kind++)
        if (state->slow[kind] * 20 > state->begun[kind] + 20)
            sim_world_fail(workload_world(actor), "TagThrottle: %llu of %llu read versions of kind %d took over %lld ms, the longest %.3f s",
                           (unsigned long long)state->slow[kind], (unsigned long long)state->begun[kind], kind,
                           (long long)run->options[BOUND_MS], (double)state->longest_us[kind] / 1e6);
}

/* The limit has run out: at its rate, these would take three times as long as they may. */
static void check_end(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct sim_world *world = workload_world(actor);
    const struct throttling *state = run->state;
    int64_t left_us = state->limited_us + (run->options[SECONDS] + 2) * 1000000 - world->now_us, began_us;
    uint64_t count = (uint64_t)run->options[RATE] * 30;

    if (left_us > 0)
        sim_actor_sleep(actor, left_us);
    began_us = world->now_us;
    for (uint64_t i = 0; i < count; i++) {
        struct sim_transaction *transaction = transaction_of(actor, GREEDY);
        version_t version;
        int error;

        while ((error = sim_read_version(transaction, &version)) != 0 && error != ERROR_TAG_THROTTLED && sim_retry(transaction, error))
            ;
        if (error == ERROR_TAG_THROTTLED)
            sim_world_fail(world, "TagThrottle: a tag whose limit has ended is still throttled");
        sim_transaction_destroy(transaction);
    }
    if (world->now_us - began_us > 10000000)
        sim_world_fail(world, "TagThrottle: after the end of its limit %llu transactions of a tag took %.3f s", (unsigned long long)count,
                       (double)(world->now_us - began_us) / 1e6);
}

static void tag_check(struct sim_actor *actor, struct sim_workload_run *run)
{
    const struct throttling *state = run->state;

    check_rate(actor, run);
    check_end(actor, run);
    sim_say(workload_world(actor), actor->client->process, "TagThrottle: %llu greedy started, %llu tries throttled; %llu modest, longest %.3f s",
            (unsigned long long)state->begun[GREEDY], (unsigned long long)state->throttled, (unsigned long long)state->begun[MODEST],
            (double)state->longest_us[MODEST] / 1e6);
}

const struct sim_workload sim_workload_tag_throttle = {
    .name = "TagThrottle",
    .what = "a limited tag is held to its limit, alone, and for as long as it was said",
    .options = {{"actors", 4, 2, 32}, {"rate", 5, 1, 1000}, {"seconds", 40, 5, 1000}, {"settle-ms", 10000, 0, 100000}, {"pace-ms", 100, 1, 10000},
                {"bound-ms", 1500, 1, 100000}},
    .state_bytes = sizeof(struct throttling),
    .setup = tag_setup,
    .run = tag_run,
    .check = tag_check,
};
