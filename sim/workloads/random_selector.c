/* RandomSelector: the keys that selectors mean, against what a range read of the same transaction shows.
 *
 * Some of the keys come and go; a transaction writes a few of its own before it looks, so that selectors walk over its own
 * writes and clears as well. A selector that leaves the workload's keys says nothing and is not compared. */
#include "sim/workloads/values.h"

enum option { ACTORS, KEYS, PAUSE_MS, OFFSET };

enum { KEYS_MAX = 1000, SELECTORS = 8 };

struct selector {
    uint64_t committed, compared, outside;
};

static const char prefix[] = "selector";

static void selector_setup(struct sim_actor *actor, struct sim_workload_run *run)
{
    (void)actor;
    (void)run;
}

static void change_some(struct sim_actor *actor, struct sim_workload_run *run, struct sim_transaction *transaction)
{
    uint64_t keys = (uint64_t)run->options[KEYS], changes = 1 + sim_actor_random(actor, 4);
    struct workload_key key, end;

    for (; changes > 0; changes--) {
        uint64_t number = sim_actor_random(actor, keys);

        if (sim_actor_random(actor, 3) != 0)
            sim_set(transaction, workload_key(&key, prefix, number), BYTES_LITERAL("x"));
        else
            sim_clear_range(transaction, workload_key(&key, prefix, number),
                            workload_key(&end, prefix, number + 1 + sim_actor_random(actor, 5)));
    }
}

/* Where the selector's key lies among the pairs; false outside of them. */
static bool expected(const struct sim_pair *pairs, size_t count, struct bytes key, bool or_equal, int offset, size_t *ret_index)
{
    int64_t index = -1;

    for (size_t i = 0; i < count; i++) {
        int order = bytes_compare(pairs[i].key, key);

        index += order < 0 || (order == 0 && or_equal);
    }
    index += offset;
    *ret_index = (size_t)index;
    return index >= 0 && index < (int64_t)count;
}

static int compare_one(struct sim_actor *actor, struct sim_workload_run *run, struct sim_transaction *transaction,
                       const struct sim_pair *pairs, size_t count)
{
    struct selector *selector = run->state;
    int64_t reach = run->options[OFFSET];
    struct workload_key text;
    struct bytes key = workload_key(&text, prefix, sim_actor_random(actor, (uint64_t)run->options[KEYS])), got;
    bool or_equal = sim_actor_random(actor, 2) != 0;
    int offset = (int)((int64_t)sim_actor_random(actor, 2 * (uint64_t)reach + 1) - reach), error;
    char expected_text[80], got_text[80];
    size_t index;

    if (!expected(pairs, count, key, or_equal, offset, &index)) {
        selector->outside++;
        return 0;
    }
    error = sim_get_key(transaction, key, or_equal, offset, &got);
    if (error != 0)
        return error;
    selector->compared++;
    if (!bytes_equal(got, pairs[index].key))
        sim_world_fail(workload_world(actor), "RandomSelector: (%s, %s, %d) is %s, not %s", text.text,
                       or_equal ? "or equal" : "before", offset, bytes_print(got, got_text, sizeof(got_text)),
                       bytes_print(pairs[index].key, expected_text, sizeof(expected_text)));
    return 0;
}

static int selector_attempt(struct sim_actor *actor, struct sim_workload_run *run, struct sim_transaction *transaction)
{
    struct workload_key begin, end;
    const struct sim_pair *pairs;
    struct sim_range range = {.limit = 0};
    int error = 0;

    if (sim_actor_random(actor, 2) != 0)
        change_some(actor, run, transaction);
    error = sim_read_range(transaction, workload_begin(&begin, prefix), workload_end(&end, prefix), &range);
    pairs = range.pairs;
    for (int i = 0; i < SELECTORS && error == 0 && !range.more; i++)
        error = compare_one(actor, run, transaction, pairs, range.count);
    if (error == 0)
        change_some(actor, run, transaction);
    return error != 0 ? error : sim_commit(transaction);
}

static void selector_run(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct selector *selector = run->state;

    while (workload_goes_on(actor, selector->committed > 0)) {
        struct sim_transaction *transaction = sim_transaction_create(actor);
        int error;

        while ((error = selector_attempt(actor, run, transaction)) != 0 && sim_retry(transaction, error))
            ;
        if (error != 0)
            sim_world_fail(workload_world(actor), "RandomSelector: %s", error_name(error));
        selector->committed++;
        sim_transaction_destroy(transaction);
        sim_actor_sleep(actor, (int64_t)sim_actor_random(actor, 2000 * (uint64_t)run->options[PAUSE_MS] + 1));
    }
}

static void selector_check(struct sim_actor *actor, struct sim_workload_run *run)
{
    const struct selector *selector = run->state;

    if (selector->committed == 0)
        sim_world_fail(workload_world(actor), "RandomSelector: nothing committed");
    sim_say(workload_world(actor), actor->client->process, "RandomSelector: %llu committed, %llu compared, %llu outside",
            (unsigned long long)selector->committed, (unsigned long long)selector->compared,
            (unsigned long long)selector->outside);
}

const struct sim_workload sim_workload_random_selector = {
    .name = "RandomSelector",
    .what = "key selectors find the key that a range read shows, over own writes and shards",
    .options = {{"actors", 2, 1, 100}, {"keys", 60, 4, KEYS_MAX}, {"pause-ms", 150, 0, 10000}, {"offset", 12, 1, 1000}},
    .state_bytes = sizeof(struct selector),
    .setup = selector_setup,
    .run = selector_run,
    .check = selector_check,
};
