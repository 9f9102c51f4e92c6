/* Serializability, ConflictRange, WriteDuringRead, AtomicOps: random operations over few keys, recorded and replayed.
 *
 * They differ in what they draw: everything; range reads with limits against single writes at their ends; many writes and reads
 * of one transaction over the same keys; all atomic operations. */
#include <assert.h>

#include "sim/workloads/recorded.h"
#include "sim/workloads/values.h"
#include "txn/mutation.h"

enum option { ACTORS, KEYS, OPERATIONS, PAUSE_MS };

enum draw { DRAW_GET, DRAW_RANGE, DRAW_SET, DRAW_CLEAR, DRAW_ATOMIC, DRAW_CONFLICT_READ, DRAW_CONFLICT_WRITE, DRAWS };

struct mix {
    const char *prefix;
    uint8_t weights[DRAWS];
    uint8_t snapshot_percent;
    uint8_t think_percent; /* of the transactions wait somewhere between their first read and their commit, so that others come between */
};

struct mixed {
    struct recorded recorded;
};

static void random_atomic(struct sim_actor *actor, struct recorded_transaction *t, uint32_t key)
{
    static const uint8_t types[] = {MUTATION_ADD, MUTATION_AND, MUTATION_OR, MUTATION_XOR, MUTATION_APPEND_IF_FITS, MUTATION_MAX,
                                    MUTATION_MIN, MUTATION_BYTE_MIN, MUTATION_BYTE_MAX, MUTATION_COMPARE_AND_CLEAR};
    uint8_t type = types[sim_actor_random(actor, sizeof(types))], param[12];
    size_t length = sim_actor_random(actor, 4) != 0 ? 8 : 1 + sim_actor_random(actor, sizeof(param));
    bool present;
    struct bytes value;

    for (size_t i = 0; i < length; i++)
        param[i] = (uint8_t)sim_actor_random(actor, 256);
    /* To clear, it must know the value; half of the time it does. */
    if (type == MUTATION_COMPARE_AND_CLEAR && sim_actor_random(actor, 2) == 0 &&
        recorded_get(t, key, true, &present, &value) == 0 && present)
        recorded_atomic(t, type, key, value);
    else
        recorded_atomic(t, type, key, bytes_of(param, length));
}

static int random_read(struct sim_actor *actor, struct recorded_transaction *t, enum draw kind, uint32_t begin, uint32_t end,
                       bool snapshot)
{
    struct sim_range range = {.snapshot = snapshot};
    struct bytes value;
    bool present;

    if (kind == DRAW_GET)
        return recorded_get(t, begin, snapshot, &present, &value);
    range.reverse = sim_actor_random(actor, 2) != 0;
    if (sim_actor_random(actor, 2) != 0)
        range.limit = 1 + (uint32_t)sim_actor_random(actor, 5);
    return recorded_range(t, begin, end, &range);
}

static void random_write(struct sim_actor *actor, struct recorded_transaction *t, enum draw kind, uint32_t begin, uint32_t end)
{
    if (kind == DRAW_SET)
        recorded_set(t, begin);
    else if (kind == DRAW_CLEAR)
        recorded_clear(t, begin, sim_actor_random(actor, 2) != 0 ? begin + 1 : end);
    else if (kind == DRAW_ATOMIC)
        random_atomic(actor, t, begin);
    else
        recorded_conflict(t, kind == DRAW_CONFLICT_WRITE, begin, end);
}

static enum draw draw_kind(struct sim_actor *actor, const struct mix *mix)
{
    unsigned sum = 0, drawn;
    int kind = 0;

    for (int i = 0; i < DRAWS; i++)
        sum += mix->weights[i];
    drawn = (unsigned)sim_actor_random(actor, sum);
    for (; drawn >= mix->weights[kind]; kind++)
        drawn -= mix->weights[kind];
    return (enum draw)kind;
}

static int random_operation(struct sim_actor *actor, struct recorded_transaction *t, const struct mix *mix)
{
    uint32_t keys = t->recorded->history.key_count, begin = (uint32_t)sim_actor_random(actor, keys - 1);
    uint32_t width = keys - 1 - begin < 12 ? keys - 1 - begin : 12;
    uint32_t end = begin + 1 + (uint32_t)sim_actor_random(actor, width);
    enum draw kind = draw_kind(actor, mix);

    if (kind <= DRAW_RANGE)
        return random_read(actor, t, kind, begin, end, sim_actor_random(actor, 100) < mix->snapshot_percent);
    random_write(actor, t, kind, begin, end);
    return 0;
}

static int mix_body(struct sim_actor *actor, struct recorded_transaction *t, const struct mix *mix, uint64_t operations)
{
    uint64_t count = 1 + sim_actor_random(actor, operations);
    uint64_t waits = sim_actor_random(actor, 100) < mix->think_percent ? sim_actor_random(actor, count) : count;
    int error = 0;

    for (uint64_t i = 0; i < count && error == 0; i++) {
        if (i == waits)
            sim_actor_sleep(actor, (int64_t)sim_actor_random(actor, 300000));
        error = random_operation(actor, t, mix);
    }
    return error;
}

static void mix_once(struct sim_actor *actor, struct sim_workload_run *run, const struct mix *mix)
{
    struct mixed *mixed = run->state;
    struct recorded_transaction *t = recorded_create(actor, &mixed->recorded);
    int error;

    do {
        error = recorded_start(t);
        if (error == 0)
            error = mix_body(actor, t, mix, (uint64_t)run->options[OPERATIONS]);
        if (error == 0)
            error = recorded_commit(t);
    } while (error != 0 && recorded_retry(t, error));
    if (error != 0)
        sim_world_fail(workload_world(actor), "%s: %s", mixed->recorded.name, error_name(error));
    recorded_destroy(t);
}

static void mix_run(struct sim_actor *actor, struct sim_workload_run *run, const struct mix *mix)
{
    while (!sim_actor_stopping(actor)) {
        mix_once(actor, run, mix);
        sim_actor_sleep(actor, (int64_t)sim_actor_random(actor, 2000 * (uint64_t)run->options[PAUSE_MS] + 1));
    }
}

static void mix_setup(struct sim_actor *actor, struct sim_workload_run *run, const struct mix *mix)
{
    struct mixed *mixed = run->state;

    (void)actor;
    recorded_init(&mixed->recorded, run->type->name, mix->prefix, (uint32_t)run->options[KEYS] + 1);
}

static void mix_check(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct mixed *mixed = run->state;

    recorded_check(actor, &mixed->recorded);
}

static void mix_done(struct sim_workload_run *run)
{
    struct mixed *mixed = run->state;

    recorded_done(&mixed->recorded);
}

#define MIX_WORKLOAD(id, title, words, key_count, operation_count)                                        \
    static void id##_setup(struct sim_actor *actor, struct sim_workload_run *run)                         \
    {                                                                                                     \
        mix_setup(actor, run, &id##_mix);                                                                 \
    }                                                                                                     \
    static void id##_run(struct sim_actor *actor, struct sim_workload_run *run)                           \
    {                                                                                                     \
        mix_run(actor, run, &id##_mix);                                                                   \
    }                                                                                                     \
    const struct sim_workload sim_workload_##id = {                                                       \
        .name = title,                                                                                    \
        .what = words,                                                                                    \
        .options = {{"actors", 3, 1, 100}, {"keys", key_count, 4, 100000}, {"operations", operation_count, 1, 1000},   \
                    {"pause-ms", 200, 0, 10000}},                                                         \
        .state_bytes = sizeof(struct mixed),                                                              \
        .setup = id##_setup,                                                                              \
        .run = id##_run,                                                                                  \
        .check = mix_check,                                                                               \
        .done = mix_done,                                                                                 \
    }

static const struct mix serializability_mix = {"serial", {[DRAW_GET] = 30, [DRAW_RANGE] = 20, [DRAW_SET] = 25, [DRAW_CLEAR] = 10,
    [DRAW_ATOMIC] = 15, [DRAW_CONFLICT_READ] = 3, [DRAW_CONFLICT_WRITE] = 3}, .snapshot_percent = 10, .think_percent = 20};
static const struct mix conflict_range_mix = {"confrange", {[DRAW_RANGE] = 40, [DRAW_SET] = 30, [DRAW_CLEAR] = 10,
    [DRAW_CONFLICT_READ] = 10, [DRAW_CONFLICT_WRITE] = 10}, .snapshot_percent = 5, .think_percent = 60};
static const struct mix write_during_read_mix = {"wdr", {[DRAW_GET] = 25, [DRAW_RANGE] = 25, [DRAW_SET] = 20, [DRAW_CLEAR] = 15,
    [DRAW_ATOMIC] = 20}, .snapshot_percent = 20, .think_percent = 10};
static const struct mix atomic_ops_mix = {"atomics", {[DRAW_GET] = 5, [DRAW_RANGE] = 5, [DRAW_CLEAR] = 3, [DRAW_ATOMIC] = 80},
    .snapshot_percent = 90, .think_percent = 20};

MIX_WORKLOAD(serializability, "Serializability", "all reads and writes at random: the history has one order that explains it",
             40, 8);
MIX_WORKLOAD(conflict_range, "ConflictRange", "conflict ranges of range reads: exact at both ends, whatever limit or direction",
             60, 4);
MIX_WORKLOAD(write_during_read, "WriteDuringRead", "what a transaction reads of its own writes, over what the database has", 24,
             30);
MIX_WORKLOAD(atomic_ops, "AtomicOps", "atomic operations: applied once, in order, with the same result on every replica", 8, 5);
