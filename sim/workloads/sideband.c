/* Sideband: what one client was told is committed, another that hears of it elsewhere must see.
 *
 * Half of the actors commit and then post a note outside of the database; the other half take notes, begin a transaction and
 * look. Both are recorded: the checker holds read versions against all that was answered before. */
#include <assert.h>

#include "sim/workloads/recorded.h"
#include "sim/workloads/values.h"

enum option { ACTORS, PAUSE_MS };

enum { NOTES_MAX = 256, PRODUCERS_MAX = 1024 };

struct note {
    uint32_t key;
    uint64_t number;
};

struct sideband {
    struct recorded recorded;
    struct note notes[NOTES_MAX]; /* a ring */
    uint64_t posted, taken, seen;
};

static void sideband_setup(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct sideband *sideband = run->state;

    (void)actor;
    recorded_init(&sideband->recorded, "Sideband", "sideband", PRODUCERS_MAX);
}

/* Numbers of one key only grow: it has one writer. */
static void produce(struct sim_actor *actor, struct sideband *sideband, uint32_t key, uint64_t number)
{
    struct recorded_transaction *t = recorded_create(actor, &sideband->recorded);
    uint8_t value[8];
    int error;

    put_le64(value, number);
    do {
        error = recorded_start(t);
        if (error == 0) {
            recorded_set_value(t, key, bytes_of(value, sizeof(value)));
            error = recorded_commit(t);
        }
    } while (error != 0 && recorded_retry(t, error));
    if (error == 0 && sideband->posted - sideband->taken < NOTES_MAX)
        sideband->notes[sideband->posted++ % NOTES_MAX] = (struct note){key, number};
    else if (error != 0)
        sim_world_fail(workload_world(actor), "Sideband: %s", error_name(error));
    recorded_destroy(t);
}

static void consume(struct sim_actor *actor, struct sideband *sideband)
{
    const struct note note = sideband->notes[sideband->taken++ % NOTES_MAX];
    struct recorded_transaction *t = recorded_create(actor, &sideband->recorded);
    struct bytes value;
    uint64_t number = 0;
    bool present = false;
    int error;

    do {
        error = recorded_start(t);
        if (error == 0)
            error = recorded_get(t, note.key, false, &present, &value);
        if (error == 0 && (!present || !workload_number(value, &number) || number < note.number))
            sim_world_fail(workload_world(actor), "Sideband: key %u is %llu; it was said to be %llu", note.key,
                           (unsigned long long)number, (unsigned long long)note.number);
        if (error == 0)
            error = recorded_commit(t);
    } while (error != 0 && recorded_retry(t, error));
    sideband->seen += error == 0;
    recorded_destroy(t);
}

static void sideband_run(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct sideband *sideband = run->state;
    uint64_t number = 0;

    while (!sim_actor_stopping(actor)) {
        if (actor->index % 2 == 0) {
            produce(actor, sideband, actor->index % PRODUCERS_MAX, ++number);
            sim_actor_sleep(actor, (int64_t)sim_actor_random(actor, 2000 * (uint64_t)run->options[PAUSE_MS] + 1));
        } else if (sideband->taken < sideband->posted) {
            consume(actor, sideband);
        } else {
            sim_actor_sleep(actor, 500 + (int64_t)sim_actor_random(actor, 20000));
        }
    }
}

static void sideband_check(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct sideband *sideband = run->state;

    if (sideband->seen == 0)
        sim_world_fail(workload_world(actor), "Sideband: nobody heard of anything");
    recorded_check(actor, &sideband->recorded);
}

static void sideband_done(struct sim_workload_run *run)
{
    struct sideband *sideband = run->state;

    recorded_done(&sideband->recorded);
}

const struct sim_workload sim_workload_sideband = {
    .name = "Sideband",
    .what = "external consistency: whoever hears of a commit outside of the database sees it inside",
    .options = {{"actors", 2, 2, 100}, {"pause-ms", 150, 0, 10000}},
    .state_bytes = sizeof(struct sideband),
    .setup = sideband_setup,
    .run = sideband_run,
    .check = sideband_check,
    .done = sideband_done,
};
