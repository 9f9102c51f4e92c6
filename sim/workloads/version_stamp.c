/* VersionStamp: stamps in keys and values are those that the client is told; unique, and increasing in the order of commits. */
#include <assert.h>

#include "sim/workloads/recorded.h"
#include "sim/workloads/values.h"

enum option { ACTORS, KEYS, PAUSE_MS };

struct version_stamp {
    struct recorded recorded;
};

static void version_stamp_setup(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct version_stamp *state = run->state;

    (void)actor;
    recorded_init(&state->recorded, "VersionStamp", "stamp", (uint32_t)run->options[KEYS]);
}

/* Reads a few keys, whose stamps the checker recomputes, then stamps one or two. */
static int stamp_body(struct sim_actor *actor, struct recorded_transaction *t)
{
    uint32_t keys = t->recorded->history.key_count;
    uint64_t reads = sim_actor_random(actor, 3), stamps = 1 + sim_actor_random(actor, 2);
    int error = 0;

    for (uint64_t i = 0; i < reads && error == 0; i++) {
        uint32_t key = (uint32_t)sim_actor_random(actor, keys);
        struct bytes value;
        bool present;

        error = recorded_get(t, key, sim_actor_random(actor, 2) != 0, &present, &value);
    }
    for (uint64_t i = 0; i < stamps && error == 0; i++)
        recorded_stamp(t, (uint32_t)sim_actor_random(actor, keys));
    return error;
}

static void version_stamp_run(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct version_stamp *state = run->state;
    uint8_t last[VERSIONSTAMP_BYTES] = {0};

    while (!sim_actor_stopping(actor)) {
        struct recorded_transaction *t = recorded_create(actor, &state->recorded);
        int error;

        do {
            error = recorded_start(t);
            if (error == 0)
                error = stamp_body(actor, t);
            if (error == 0)
                error = recorded_commit(t);
        } while (error != 0 && recorded_retry(t, error));
        if (error != 0)
            sim_world_fail(workload_world(actor), "VersionStamp: %s", error_name(error));
        else if (memcmp(t->stamp, last, sizeof(last)) <= 0)
            sim_world_fail(workload_world(actor), "VersionStamp: the stamps of an actor do not increase");
        memcpy(last, t->stamp, sizeof(last));
        recorded_destroy(t);
        sim_actor_sleep(actor, (int64_t)sim_actor_random(actor, 2000 * (uint64_t)run->options[PAUSE_MS] + 1));
    }
}

static void version_stamp_check(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct version_stamp *state = run->state;

    recorded_check(actor, &state->recorded);
}

static void version_stamp_done(struct sim_workload_run *run)
{
    struct version_stamp *state = run->state;

    recorded_done(&state->recorded);
}

const struct sim_workload sim_workload_version_stamp = {
    .name = "VersionStamp",
    .what = "versionstamps: unique, increasing, and the same in keys, values and replies",
    .options = {{"actors", 2, 1, 100}, {"keys", 12, 1, 10000}, {"pause-ms", 150, 0, 10000}},
    .state_bytes = sizeof(struct version_stamp),
    .setup = version_stamp_setup,
    .run = version_stamp_run,
    .check = version_stamp_check,
    .done = version_stamp_done,
};
