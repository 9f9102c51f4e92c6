/* Marker: each transaction adds 1 to a counter and sets a marker of its own, blindly; both or neither, and once.
 *
 * Markers of acknowledged transactions must be there, of failed ones must not, of unknown ones stay as they were found once the
 * result had been reported; and the counter must equal the markers, which it would not if an addition were applied twice, lost, or applied to one replica alone. */
#include <assert.h>

#include "net/mem.h"
#include "sim/workloads/values.h"

enum option { ACTORS, PAUSE_MS };

enum fate { FATE_NONE, FATE_ACKNOWLEDGED, FATE_UNKNOWN, FATE_FAILED };

struct marker {
    uint8_t *fates; /* owned; by marker number */
    size_t count, capacity;
    uint64_t fate_counts[4];
};

static const char prefix[] = "marker";
static const char counter_key[] = "markercount";

static void marker_setup(struct sim_actor *actor, struct sim_workload_run *run)
{
    (void)actor;
    (void)run;
}

static size_t new_marker(struct marker *marker)
{
    if (marker->count == marker->capacity) {
        marker->capacity = marker->capacity == 0 ? 1024 : marker->capacity * 2;
        marker->fates = mem_realloc(marker->fates, marker->capacity);
        assert(marker->fates != NULL);
    }
    marker->fates[marker->count] = FATE_NONE;
    return marker->count++;
}

/* Whether an unknown result is there, once it has been reported: nothing may change that any more. */
static enum fate look_back(struct sim_actor *actor, size_t number)
{
    struct sim_transaction *transaction = sim_transaction_create(actor);
    struct workload_key key;
    struct bytes value;
    bool present = false;
    int error;

    while ((error = sim_get(transaction, workload_key(&key, prefix, number), &present, &value)) != 0 &&
           sim_retry(transaction, error))
        ;
    if (error != 0)
        sim_world_fail(workload_world(actor), "Marker: %s", error_name(error));
    sim_transaction_destroy(transaction);
    return present ? FATE_ACKNOWLEDGED : FATE_FAILED;
}

/* What the library retries, but for an unknown result, has left nothing in the database. */
static void marker_once(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct sim_transaction *transaction = sim_transaction_create(actor);
    struct marker *marker = run->state;
    size_t number = new_marker(marker);
    struct workload_key key;
    enum fate fate;
    int error;

    for (;;) {
        sim_add(transaction, bytes_of_string(counter_key), 1);
        sim_set(transaction, workload_key(&key, prefix, number), BYTES_LITERAL("x"));
        error = sim_commit(transaction);
        if (error == 0 || error == ERROR_COMMIT_UNKNOWN_RESULT || !sim_retry(transaction, error))
            break;
    }
    fate = error == 0 ? FATE_ACKNOWLEDGED : error == ERROR_COMMIT_UNKNOWN_RESULT ? FATE_UNKNOWN : FATE_FAILED;
    marker->fate_counts[fate]++;
    sim_transaction_destroy(transaction);
    if (fate == FATE_UNKNOWN)
        fate = look_back(actor, number);
    marker->fates[number] = (uint8_t)fate;
}

static void marker_run(struct sim_actor *actor, struct sim_workload_run *run)
{
    const struct marker *marker = run->state;

    while (workload_goes_on(actor, marker->fate_counts[FATE_ACKNOWLEDGED] > 0)) {
        marker_once(actor, run);
        sim_actor_sleep(actor, (int64_t)sim_actor_random(actor, 2000 * (uint64_t)run->options[PAUSE_MS] + 1));
    }
}

static void compare(struct sim_actor *actor, struct marker *marker, const struct sim_pair *pairs, size_t count,
                    uint64_t counted)
{
    struct sim_world *world = workload_world(actor);
    uint8_t *present = sim_zalloc(marker->count + 1);

    for (size_t i = 0; i < count; i++) {
        uint64_t number = UINT64_MAX;

        if (!workload_key_number(pairs[i].key, prefix, &number) || number >= marker->count)
            sim_world_fail(world, "Marker: a marker %d that nobody wrote", (int)number);
        else
            present[number] = 1;
    }
    for (size_t i = 0; i < marker->count; i++) {
        if (marker->fates[i] == FATE_ACKNOWLEDGED && !present[i])
            sim_world_fail(world, "Marker: marker %zu was acknowledged and is lost", i);
        if (marker->fates[i] == FATE_FAILED && present[i])
            sim_world_fail(world, "Marker: marker %zu failed and is there", i);
    }
    if (counted != count)
        sim_world_fail(world, "Marker: %zu markers, but %llu were counted", count, (unsigned long long)counted);
    mem_free(present);
}

static int read_all(struct sim_actor *actor, struct sim_transaction *transaction, struct marker *marker)
{
    struct workload_key begin, end;
    const struct sim_pair *pairs;
    struct bytes value;
    uint64_t counted = 0;
    size_t count;
    bool present;
    int error = sim_get(transaction, bytes_of_string(counter_key), &present, &value);

    if (error == 0)
        if (present && !workload_number(value, &counted))
            sim_world_fail(workload_world(actor), "Marker: the counter is damaged");
    if (error == 0)
        error = sim_get_range(transaction, workload_begin(&begin, prefix), workload_end(&end, prefix), 1000, &pairs, &count);
    if (error == 0)
        compare(actor, marker, pairs, count, counted);
    return error;
}

static void marker_check(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct sim_transaction *transaction = sim_transaction_create(actor);
    struct marker *marker = run->state;
    int error;

    while ((error = read_all(actor, transaction, marker)) != 0 && sim_retry(transaction, error))
        ;
    if (error != 0)
        sim_world_fail(workload_world(actor), "Marker: check: %s", error_name(error));
    if (marker->fate_counts[FATE_ACKNOWLEDGED] == 0)
        sim_world_fail(workload_world(actor), "Marker: nothing committed");
    sim_say(workload_world(actor), actor->client->process, "Marker: %llu acknowledged, %llu unknown, %llu failed",
            (unsigned long long)marker->fate_counts[FATE_ACKNOWLEDGED],
            (unsigned long long)marker->fate_counts[FATE_UNKNOWN], (unsigned long long)marker->fate_counts[FATE_FAILED]);
    sim_transaction_destroy(transaction);
}

static void marker_done(struct sim_workload_run *run)
{
    struct marker *marker = run->state;

    mem_free(marker->fates);
}

const struct sim_workload sim_workload_marker = {
    .name = "Marker",
    .what = "each acknowledged transaction is there, whole, exactly once; each failed one is not",
    .options = {{"actors", 2, 1, 100}, {"pause-ms", 150, 0, 10000}},
    .state_bytes = sizeof(struct marker),
    .setup = marker_setup,
    .run = marker_run,
    .check = marker_check,
    .done = marker_done,
};
