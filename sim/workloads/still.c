/* Still: data that is written once and then left alone, as most data is. With rewrite = 1, the same is written once more each time that
 * the scan looks closer at what it suspects.
 *
 * Nobody reads it before the end, unless pause-ms says so: what happens to one of its replicas meanwhile, only a scan of the replicas
 * can notice. The check then reads every key from the client's side. */
#include "sim/workloads/values.h"

enum option { ACTORS, KEYS, VALUE_BYTES, PAUSE_MS, REWRITE };

enum { KEYS_MAX = 480, VALUE_MAX = 1000, KEYS_AT_ONCE = 20, LOOK_US = 20000 };

struct still {
    struct sim_listener listener;
    uint64_t closer, rewritten; /* how often the scan looked closer; of these, after how many all was written again */
};

static struct bytes value_of(uint64_t index, size_t len, uint8_t out[VALUE_MAX])
{
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)(index * 7 + i * 31 + index / 256);
    return bytes_of(out, len);
}

static void write_some(struct sim_actor *actor, struct sim_workload_run *run, uint64_t first)
{
    struct sim_transaction *transaction = sim_transaction_create(actor);
    int error;

    do {
        for (uint64_t i = first; i < first + KEYS_AT_ONCE && i < (uint64_t)run->options[KEYS]; i++) {
            struct workload_key key;
            uint8_t value[VALUE_MAX];

            sim_set(transaction, workload_key(&key, "still", i), value_of(i, (size_t)run->options[VALUE_BYTES], value));
        }
        error = sim_commit(transaction);
    } while (error != 0 && sim_retry(transaction, error));
    if (error != 0)
        sim_world_fail(workload_world(actor), "Still: setup: %s", error_name(error));
    sim_transaction_destroy(transaction);
}

static void write_all(struct sim_actor *actor, struct sim_workload_run *run)
{
    for (uint64_t first = 0; first < (uint64_t)run->options[KEYS]; first += KEYS_AT_ONCE)
        write_some(actor, run, first);
}

static void hear_scan(struct sim_listener *listener, struct sim_process *process, struct bytes line)
{
    (void)process;
    container_of(listener, struct still, listener)->closer += sim_line_is(line, "ScanLooksCloser");
}

static void still_setup(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct still *still = run->state;

    still->listener.heard = hear_scan;
    list_push_back(&workload_world(actor)->listeners, &still->listener.link);
    write_all(actor, run);
}

static void read_one(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct sim_transaction *transaction = sim_transaction_create(actor);
    uint64_t index = sim_actor_random(actor, (uint64_t)run->options[KEYS]);
    uint8_t expected[VALUE_MAX];
    struct workload_key key;
    struct bytes value;
    bool present = false;
    int error;

    while ((error = sim_get(transaction, workload_key(&key, "still", index), &present, &value)) != 0 && sim_retry(transaction, error))
        ;
    if (error != 0)
        sim_world_fail(workload_world(actor), "Still: %s", error_name(error));
    else if (!present || !bytes_equal(value, value_of(index, (size_t)run->options[VALUE_BYTES], expected)))
        sim_world_fail(workload_world(actor), "Still: key %d reads what nobody wrote", (int)index);
    sim_transaction_destroy(transaction);
}

static void still_run(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct still *still = run->state;

    while (run->options[REWRITE] != 0 && !sim_actor_stopping(actor)) {
        if (still->rewritten < still->closer) {
            still->rewritten = still->closer;
            write_all(actor, run);
        }
        sim_actor_sleep(actor, LOOK_US);
    }
    while (run->options[PAUSE_MS] != 0 && !sim_actor_stopping(actor)) {
        read_one(actor, run);
        sim_actor_sleep(actor, (int64_t)sim_actor_random(actor, 2000 * (uint64_t)run->options[PAUSE_MS]));
    }
}

static void compare(struct sim_actor *actor, struct sim_workload_run *run, const struct sim_pair *pairs, size_t count)
{
    if (count != (uint64_t)run->options[KEYS]) {
        sim_world_fail(workload_world(actor), "Still: %zu keys of %d are there", count, (int)run->options[KEYS]);
        return;
    }
    for (uint64_t i = 0; i < count; i++) {
        struct workload_key key;
        uint8_t value[VALUE_MAX];

        if (!bytes_equal(pairs[i].key, workload_key(&key, "still", i)) ||
            !bytes_equal(pairs[i].value, value_of(i, (size_t)run->options[VALUE_BYTES], value)))
            sim_world_fail(workload_world(actor), "Still: key %d is not what was written", (int)i);
    }
}

static void still_check(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct sim_transaction *transaction = sim_transaction_create(actor);
    struct workload_key begin, end;
    const struct sim_pair *pairs;
    size_t count;
    int error;

    do
        error = sim_get_range(transaction, workload_begin(&begin, "still"), workload_end(&end, "still"), 50, &pairs, &count);
    while (error != 0 && sim_retry(transaction, error));
    if (error != 0)
        sim_world_fail(workload_world(actor), "Still: check: %s", error_name(error));
    else
        compare(actor, run, pairs, count);
    sim_transaction_destroy(transaction);
}

const struct sim_workload sim_workload_still = {
    .name = "Still",
    .what = "data that nobody touches is what it was in the end, whatever has become of a replica",
    .options = {{"actors", 2, 1, 100}, {"keys", 200, 1, KEYS_MAX}, {"value-bytes", 100, 1, VALUE_MAX}, {"pause-ms", 0, 0, 10000},
                {"rewrite", 0, 0, 1}},
    .state_bytes = sizeof(struct still),
    .setup = still_setup,
    .run = still_run,
    .check = still_check,
};
