/* ManyShards: so many keys that the data distributor makes thousands of shards of them, on all the machines there are.
 *
 * The keys are written before the chaos, all over the key space, so that every team of the first shards has some; meanwhile the distributor
 * splits them (the scenario's knobs say how small shards are) and evens them out. Then actors rewrite keys anywhere. Each key belongs to
 * one actor, which knows what it wrote last: whatever a split, a move or a heal loses, doubles or takes back shows in the check. The check
 * also says to how many shards it came, which must be as many as were asked for, and that no plan cost more than in proportion to
 * them; and it shows what CPU time the plans took, by the number of shards. With `places = 1` all keys follow each other, and are in one
 * shard at first; `split-seconds` says how long after the first split (which waits for a move of that shard) none may be left. */
#include <assert.h>
#include <inttypes.h>

#include "net/mem.h"
#include "sim/workloads/values.h"

enum option { ACTORS, KEYS, VALUE_BYTES, SHARDS, PAUSE_MS, STEPS_MAX, PLACES, SPLIT_SECONDS };
enum { KEYS_A_COMMIT = 200, KEYS_A_READ = 50, VALUE_MAX = 2000, PLACES_MAX = 64, READ_MAX = 20000, REWRITES_MAX = 8 };

struct many_shards {
    struct sim_listener listener; /* first */
    uint32_t *generations; /* owned; by key: how often it was rewritten */
    uint64_t rewritten;
    int64_t split_for_us, split_us; /* how long shards may be split; until when: 0: none has been */
};

/* Below a prefix whose first byte says where: 1, 5, .. 253. */
struct prefix {
    char text[8];
};

static const char *prefix_of(struct prefix *prefix, uint64_t place)
{
    (void)snprintf(prefix->text, sizeof(prefix->text), "%cmany", (int)(4 * place + 1));
    return prefix->text;
}

/* The keys of a place follow each other. */
static uint64_t keys_a_place(const struct sim_workload_run *run)
{
    uint64_t places = (uint64_t)run->options[PLACES];

    return ((uint64_t)run->options[KEYS] + places - 1) / places;
}

/* The key's number, its generation, and bytes that follow from both. */
static struct bytes value_of(const struct sim_workload_run *run, uint64_t key, uint32_t generation, uint8_t value[VALUE_MAX])
{
    size_t len = (size_t)run->options[VALUE_BYTES];

    memset(value, (int)(key * 31 + generation), len);
    put_le64(value, key);
    put_le32(value + 8, generation);
    return bytes_of(value, len);
}

static void write_key(const struct sim_workload_run *run, struct sim_transaction *transaction, uint64_t key, uint32_t generation)
{
    uint64_t each = keys_a_place(run);
    struct workload_key text;
    struct prefix prefix;
    uint8_t value[VALUE_MAX];

    sim_set(transaction, workload_key(&text, prefix_of(&prefix, key / each), key % each), value_of(run, key, generation, value));
}

static void heard(struct sim_listener *listener, struct sim_process *process, struct bytes line)
{
    struct many_shards *many = container_of(listener, struct many_shards, listener);

    if (!sim_line_is(line, "ShardSplit"))
        return;
    if (many->split_us == 0)
        many->split_us = process->world->now_us + many->split_for_us;
    if (process->world->now_us > many->split_us)
        sim_world_fail(process->world, "ManyShards: a shard is still split");
}

static void many_shards_setup(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct many_shards *many = run->state;
    uint64_t keys = (uint64_t)run->options[KEYS];
    int error = 0;

    many->generations = sim_zalloc(keys * sizeof(*many->generations));
    for (uint64_t first = 0; first < keys && error == 0; first += KEYS_A_COMMIT) {
        struct sim_transaction *transaction = sim_transaction_create(actor);

        do {
            for (uint64_t key = first; key < keys && key < first + KEYS_A_COMMIT; key++)
                write_key(run, transaction, key, 0);
            error = sim_commit(transaction);
        } while (error != 0 && sim_retry(transaction, error));
        sim_transaction_destroy(transaction);
    }
    if (error != 0)
        sim_world_fail(workload_world(actor), "ManyShards: setup: %s", error_name(error));
    if (run->options[SPLIT_SECONDS] == 0)
        return;
    many->split_for_us = run->options[SPLIT_SECONDS] * SIM_SECOND_US;
    many->listener.heard = heard;
    list_push_back(&workload_world(actor)->listeners, &many->listener.link);
}

/* Of those that are the actor's: every n-th, n being the number of actors. */
static uint64_t own_key(struct sim_actor *actor, const struct sim_workload_run *run)
{
    uint64_t actors = (uint64_t)run->options[ACTORS] * run->client_count;
    uint64_t groups = (uint64_t)run->options[KEYS] / actors;

    assert(actor->index < actors && groups > 0);
    return sim_actor_random(actor, groups) * actors + actor->index;
}

/* A commit whose fate is unknown is made again: it writes the same. */
static void rewrite_some(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct sim_transaction *transaction = sim_transaction_create(actor);
    struct many_shards *many = run->state;
    uint64_t keys[REWRITES_MAX], count = 1 + sim_actor_random(actor, REWRITES_MAX);
    int error;

    for (uint64_t i = 0; i < count; i++)
        keys[i] = own_key(actor, run);
    do {
        for (uint64_t i = 0; i < count; i++)
            write_key(run, transaction, keys[i], many->generations[keys[i]] + 1);
        error = sim_commit(transaction);
    } while (error != 0 && sim_retry(transaction, error));
    if (error != 0)
        sim_world_fail(workload_world(actor), "ManyShards: %s", error_name(error));
    for (uint64_t i = 0; i < count; i++) {
        bool again = false; /* drawn twice, written once */

        for (uint64_t k = 0; k < i; k++)
            again |= keys[k] == keys[i];
        many->generations[keys[i]] += !again;
    }
    many->rewritten += count;
    sim_transaction_destroy(transaction);
}

static void many_shards_run(struct sim_actor *actor, struct sim_workload_run *run)
{
    while (!sim_actor_stopping(actor)) {
        rewrite_some(actor, run);
        sim_actor_sleep(actor, (int64_t)sim_actor_random(actor, 2000 * (uint64_t)run->options[PAUSE_MS] + 1));
    }
}

/* ---- check ---- */

/* Keys that are read at once: one shard is read after another, and a transaction lives five seconds, however slow the network. */
static uint64_t keys_from(const struct sim_workload_run *run, uint64_t first)
{
    uint64_t keys = (uint64_t)run->options[KEYS], each = keys_a_place(run), left = each - first % each;

    left = keys - first < left ? keys - first : left;
    return left < KEYS_A_READ ? left : KEYS_A_READ;
}

static void compare(struct sim_actor *actor, const struct sim_workload_run *run, uint64_t first, const struct sim_pair *pairs,
                    size_t count)
{
    const struct many_shards *many = run->state;
    uint64_t each = keys_a_place(run), expected = keys_from(run, first);
    struct prefix prefix;
    uint8_t value[VALUE_MAX];

    if (count != expected)
        sim_world_fail(workload_world(actor), "ManyShards: of the %" PRIu64 " keys from %" PRIu64 " on, %zu are there", expected, first, count);
    for (uint64_t i = 0; i < expected && i < count; i++) {
        uint64_t key = first + i, number = UINT64_MAX;

        if (!workload_key_number(pairs[i].key, prefix_of(&prefix, key / each), &number) || number != key % each) {
            sim_world_fail(workload_world(actor), "ManyShards: key %" PRIu64 " is missing", key);
            return;
        }
        if (!bytes_equal(pairs[i].value, value_of(run, key, many->generations[key], value))) {
            sim_world_fail(workload_world(actor), "ManyShards: key %" PRIu64 " is not as written last (%" PRIu32 " times)", key,
                           many->generations[key]);
            return;
        }
    }
}

/* keys_from() of them; and whatever lies between them and what is read next. */
static int check_keys(struct sim_actor *actor, const struct sim_workload_run *run, uint64_t first)
{
    struct sim_transaction *transaction = sim_transaction_create(actor);
    uint64_t each = keys_a_place(run), end_at = first + keys_from(run, first);
    struct workload_key begin_key, end_key;
    struct bytes begin, end;
    struct prefix prefix;
    const struct sim_pair *pairs;
    size_t count;
    int error;

    (void)prefix_of(&prefix, first / each);
    begin = first % each == 0 ? workload_begin(&begin_key, prefix.text) : workload_key(&begin_key, prefix.text, first % each);
    end = end_at % each == 0 || end_at == (uint64_t)run->options[KEYS] ? workload_end(&end_key, prefix.text)
                                                                      : workload_key(&end_key, prefix.text, end_at % each);
    do {
        error = sim_get_range(transaction, begin, end, READ_MAX, &pairs, &count);
        if (error == 0)
            compare(actor, run, first, pairs, count);
    } while (error != 0 && sim_retry(transaction, error));
    sim_transaction_destroy(transaction);
    return error;
}

static void check_plans(struct sim_world *world, const struct sim_workload_run *run)
{
    const struct sim_metered *largest = sim_meter_largest(&world->meter, METERED_PLAN);
    char plans[SIM_WHY_MAX];

    if (largest == NULL || largest->units_max < (uint64_t)run->options[SHARDS]) {
        sim_world_fail(world, "ManyShards: only %" PRIu64 " shards were made, of %" PRId64, largest == NULL ? 0 : largest->units_max,
                       run->options[SHARDS]);
        return;
    }
    if (largest->steps_each_max > (uint64_t)run->options[STEPS_MAX])
        sim_world_fail(world, "ManyShards: a plan looked %" PRIu64 " times at each of its shards", largest->steps_each_max);
    sim_meter_print(&world->meter, METERED_PLAN, "shards", plans, sizeof(plans));
    sim_world_show(world, "CPU time of plans: %s", plans);
}

static void many_shards_check(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct sim_world *world = workload_world(actor);
    struct many_shards *many = run->state;
    int error = 0;

    for (uint64_t first = 0; first < (uint64_t)run->options[KEYS] && error == 0; first += keys_from(run, first))
        error = check_keys(actor, run, first);
    if (error != 0)
        sim_world_fail(world, "ManyShards: check: %s", error_name(error));
    if (many->rewritten == 0)
        sim_world_fail(world, "ManyShards: nothing was rewritten");
    check_plans(world, run);
}

static void many_shards_done(struct sim_workload_run *run)
{
    struct many_shards *many = run->state;

    mem_free(many->generations);
}

const struct sim_workload sim_workload_many_shards = {
    .name = "ManyShards",
    .what = "thousands of shards on all machines: each key stays as it was written last, and plans cost what the shards cost",
    .options = {{"actors", 2, 1, 100}, {"keys", 10000, 1000, 1000000}, {"value-bytes", 100, 16, VALUE_MAX}, {"shards", 1000, 0, 100000},
                {"pause-ms", 100, 0, 10000}, {"steps-max", 100, 1, 1000000}, {"places", PLACES_MAX, 1, PLACES_MAX},
                {"split-seconds", 0, 0, 1000}},
    .state_bytes = sizeof(struct many_shards),
    .setup = many_shards_setup,
    .run = many_shards_run,
    .check = many_shards_check,
    .done = many_shards_done,
};
