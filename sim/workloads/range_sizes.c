/* RangeSizes: what servers say of a range's size, of where to cut it, and of where shards begin, against data that does not change.
 *
 * Servers walk what they hold, so of keys that nobody writes size and cuts are exact, whichever replicas answer, however shards move meanwhile, and
 * also when a part of the answer comes from another server. A server answers as of what it has heard of so far: one that has just been
 * restored is as old as its engine. So nobody asks before all engines have the data. */
#include "sim/workloads/values.h"
#include "txn/client/transaction.h"

enum option { ACTORS, KEYS, PAUSE_MS };

enum { KEYS_MAX = 400, KEYS_AT_ONCE = 20, VALUE_MAX = 400, DURABLE_US = 30000000 };

struct range_sizes {
    uint64_t sizes, splits, boundaries;
};

static const char prefix[] = "sizes";

static size_t value_bytes(uint64_t index)
{
    return (size_t)(index * 37 % VALUE_MAX);
}

static int64_t pair_bytes(uint64_t index)
{
    struct workload_key key;

    return (int64_t)(workload_key(&key, prefix, index).len + value_bytes(index));
}

static void range_sizes_setup(struct sim_actor *actor, struct sim_workload_run *run)
{
    static const uint8_t zeros[VALUE_MAX];

    for (uint64_t first = 0; first < (uint64_t)run->options[KEYS]; first += KEYS_AT_ONCE) {
        struct sim_transaction *transaction = sim_transaction_create(actor);
        int error;

        do {
            for (uint64_t i = first; i < first + KEYS_AT_ONCE && i < (uint64_t)run->options[KEYS]; i++) {
                struct workload_key key;

                sim_set(transaction, workload_key(&key, prefix, i), bytes_of(zeros, value_bytes(i)));
            }
            error = sim_commit(transaction);
        } while (error != 0 && sim_retry(transaction, error));
        if (error != 0)
            sim_world_fail(workload_world(actor), "RangeSizes: setup: %s", error_name(error));
        sim_transaction_destroy(transaction);
    }
    sim_actor_sleep(actor, DURABLE_US);
}

/* ---- what must come out ---- */

static void check_size(struct sim_actor *actor, const struct sim_query *query, uint64_t begin, uint64_t end)
{
    int64_t bytes = 0;

    for (uint64_t i = begin; i < end; i++)
        bytes += pair_bytes(i);
    if (query->bytes != bytes)
        sim_world_fail(workload_world(actor), "RangeSizes: keys %d to %d are said to have %lld bytes, and have %lld", (int)begin, (int)end,
                       (long long)query->bytes, (long long)bytes);
}

/* The range's begin, each key before which `chunk` bytes have come together since the last cut, and the range's end. */
static void check_splits(struct sim_actor *actor, const struct sim_query *query, uint64_t begin, uint64_t end)
{
    struct workload_key key;
    int64_t carried = 0;
    uint32_t at = 1;
    bool right = query->count >= 2 && bytes_equal(query->items[0], workload_key(&key, prefix, begin)) &&
                 bytes_equal(query->items[query->count - 1], workload_key(&key, prefix, end));

    for (uint64_t i = begin; i < end && right; i++) {
        if (carried >= query->chunk) {
            right = at + 1 < query->count && bytes_equal(query->items[at], workload_key(&key, prefix, i));
            at++;
            carried = 0;
        }
        carried += pair_bytes(i);
    }
    if (!right || at + 1 != query->count)
        sim_world_fail(workload_world(actor), "RangeSizes: keys %d to %d are not cut where %lld bytes have come together: %u cuts", (int)begin,
                       (int)end, (long long)query->chunk, query->count);
}

static void check_boundaries(struct sim_actor *actor, const struct sim_query *query, struct bytes begin, struct bytes end)
{
    for (uint32_t i = 0; i < query->count; i++)
        if (bytes_compare(query->items[i], begin) < 0 || bytes_compare(query->items[i], end) >= 0 ||
            (i > 0 && bytes_compare(query->items[i - 1], query->items[i]) >= 0))
            sim_world_fail(workload_world(actor), "RangeSizes: boundary %u of %u is out of order or out of the range", i, query->count);
}

/* ---- run ---- */

static void ask_once(struct sim_actor *actor, struct sim_workload_run *run)
{
    static const enum query_kind kinds[] = {QUERY_SIZE, QUERY_SPLITS, QUERY_BOUNDARIES};
    struct sim_transaction *transaction = sim_transaction_create(actor);
    struct range_sizes *sizes = run->state;
    uint64_t begin = sim_actor_random(actor, (uint64_t)run->options[KEYS]);
    uint64_t end = begin + 1 + sim_actor_random(actor, (uint64_t)run->options[KEYS] - begin);
    struct sim_query query = {.kind = kinds[sim_actor_random(actor, 3)]};
    struct workload_key begin_key, end_key;
    struct bytes from = workload_key(&begin_key, prefix, begin), to = workload_key(&end_key, prefix, end);
    int error;

    query.chunk = 100 + (int64_t)sim_actor_random(actor, 5000);
    while ((error = sim_query(transaction, from, to, &query)) != 0 && !sim_actor_stopping(actor) && sim_retry(transaction, error))
        ;
    if (error == 0 && query.kind == QUERY_SIZE)
        check_size(actor, &query, begin, end);
    else if (error == 0 && query.kind == QUERY_SPLITS)
        check_splits(actor, &query, begin, end);
    else if (error == 0)
        check_boundaries(actor, &query, from, to);
    sizes->sizes += error == 0 && query.kind == QUERY_SIZE;
    sizes->splits += error == 0 && query.kind == QUERY_SPLITS;
    sizes->boundaries += error == 0 && query.kind == QUERY_BOUNDARIES;
    sim_transaction_destroy(transaction);
}

static void range_sizes_run(struct sim_actor *actor, struct sim_workload_run *run)
{
    while (!sim_actor_stopping(actor)) {
        ask_once(actor, run);
        sim_actor_sleep(actor, (int64_t)sim_actor_random(actor, 2000 * (uint64_t)run->options[PAUSE_MS] + 1));
    }
}

static void range_sizes_check(struct sim_actor *actor, struct sim_workload_run *run)
{
    const struct range_sizes *sizes = run->state;

    if (sizes->sizes == 0 || sizes->splits == 0 || sizes->boundaries == 0)
        sim_world_fail(workload_world(actor), "RangeSizes: nothing was shown: %llu sizes, %llu splits, %llu boundaries",
                       (unsigned long long)sizes->sizes, (unsigned long long)sizes->splits, (unsigned long long)sizes->boundaries);
}

const struct sim_workload sim_workload_range_sizes = {
    .name = "RangeSizes",
    .what = "sizes of ranges and where to cut them are exact for data that does not change, whoever answers",
    .options = {{"actors", 2, 1, 100}, {"keys", 300, 1, KEYS_MAX}, {"pause-ms", 50, 0, 10000}},
    .state_bytes = sizeof(struct range_sizes),
    .setup = range_sizes_setup,
    .run = range_sizes_run,
    .check = range_sizes_check,
};
