/* Cycle: N keys form a ring; each transaction rotates a random triple, which keeps it one ring of length N.
 *
 * Any transaction applied twice, in part, on a stale read or in two orders on two replicas breaks the ring. */
#include <assert.h>

#include "sim/workloads/values.h"

enum option { ACTORS, NODES, PAUSE_MS };

struct cycle {
    uint64_t committed, retries;
};

static const char prefix[] = "cycle";

static void set_node(struct sim_transaction *transaction, uint64_t node, uint64_t next)
{
    struct workload_key key;
    uint8_t value[8];

    put_le64(value, next);
    sim_set(transaction, workload_key(&key, prefix, node), bytes_of(value, sizeof(value)));
}

static int get_node(struct sim_actor *actor, struct sim_transaction *transaction, uint64_t node, uint64_t *ret_next)
{
    struct workload_key key;
    struct bytes value;
    bool present;
    int error = sim_get(transaction, workload_key(&key, prefix, node), &present, &value);

    if (error != 0)
        return error;
    if (!present || !workload_number(value, ret_next)) {
        sim_world_fail(workload_world(actor), "Cycle: node %d is %s", (int)node, present ? "damaged" : "missing");
        return ERROR_OPERATION_FAILED;
    }
    return 0;
}

static void cycle_setup(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct sim_transaction *transaction = sim_transaction_create(actor);
    uint64_t nodes = (uint64_t)run->options[NODES];
    int error;

    do {
        for (uint64_t node = 0; node < nodes; node++)
            set_node(transaction, node, (node + 1) % nodes);
        error = sim_commit(transaction);
    } while (error != 0 && sim_retry(transaction, error));
    if (error != 0)
        sim_world_fail(workload_world(actor), "Cycle: setup: %s", error_name(error));
    sim_transaction_destroy(transaction);
}

/* r1 > r2 > r3 > r4 becomes r1 > r3 > r2 > r4. */
static int rotate(struct sim_actor *actor, struct sim_transaction *transaction, uint64_t r1)
{
    uint64_t r2 = 0, r3 = 0, r4 = 0;
    int error = get_node(actor, transaction, r1, &r2);

    if (error == 0)
        error = get_node(actor, transaction, r2, &r3);
    if (error == 0)
        error = get_node(actor, transaction, r3, &r4);
    if (error != 0)
        return error;
    set_node(transaction, r1, r3);
    set_node(transaction, r2, r4);
    set_node(transaction, r3, r2);
    return sim_commit(transaction);
}

static void cycle_run(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct cycle *cycle = run->state;

    while (workload_goes_on(actor, cycle->committed > 0)) {
        struct sim_transaction *transaction = sim_transaction_create(actor);
        uint64_t node = sim_actor_random(actor, (uint64_t)run->options[NODES]);
        int error;

        while ((error = rotate(actor, transaction, node)) != 0 && sim_retry(transaction, error))
            cycle->retries++;
        if (error != 0)
            sim_world_fail(workload_world(actor), "Cycle: %s", error_name(error));
        cycle->committed++;
        sim_transaction_destroy(transaction);
        sim_actor_sleep(actor, (int64_t)sim_actor_random(actor, 2000 * (uint64_t)run->options[PAUSE_MS] + 1));
    }
}

static void walk(struct sim_actor *actor, const struct sim_pair *pairs, size_t count, uint64_t nodes)
{
    struct sim_world *world = workload_world(actor);
    uint64_t node = 0;

    if (count != nodes) {
        sim_world_fail(world, "Cycle: %zu nodes of %d are there", count, (int)nodes);
        return;
    }
    for (uint64_t step = 1; step <= nodes; step++) {
        if (!workload_number(pairs[node].value, &node) || node >= nodes) {
            sim_world_fail(world, "Cycle: a damaged node at step %d", (int)step);
            return;
        }
        if ((node == 0) != (step == nodes)) {
            sim_world_fail(world, "Cycle: the ring of %d is broken at step %d", (int)nodes, (int)step);
            return;
        }
    }
}

static void cycle_check(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct sim_transaction *transaction = sim_transaction_create(actor);
    struct cycle *cycle = run->state;
    struct workload_key begin, end;
    const struct sim_pair *pairs;
    size_t count;
    int error;

    do
        error = sim_get_range(transaction, workload_begin(&begin, prefix), workload_end(&end, prefix), 100, &pairs, &count);
    while (error != 0 && sim_retry(transaction, error));
    if (error != 0)
        sim_world_fail(workload_world(actor), "Cycle: check: %s", error_name(error));
    else
        walk(actor, pairs, count, (uint64_t)run->options[NODES]);
    if (cycle->committed == 0)
        sim_world_fail(workload_world(actor), "Cycle: nothing committed");
    sim_say(workload_world(actor), actor->client->process, "Cycle: %llu committed, %llu retries",
            (unsigned long long)cycle->committed, (unsigned long long)cycle->retries);
    sim_transaction_destroy(transaction);
}

const struct sim_workload sim_workload_cycle = {
    .name = "Cycle",
    .what = "serializability and atomicity: a ring that every transaction rotates stays one ring",
    .options = {{"actors", 3, 1, 100}, {"nodes", 20, 4, 10000}, {"pause-ms", 150, 0, 10000}},
    .state_bytes = sizeof(struct cycle),
    .setup = cycle_setup,
    .run = cycle_run,
    .check = cycle_check,
};
