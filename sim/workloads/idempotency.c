/* Idempotency: with automatic ids a commit is either done or not done, and the library knows which.
 *
 * Every increment is a blind atomic addition, tried until it is acknowledged: one applied twice, or acknowledged and lost, shows in
 * the sum. An unknown result (1021) must not come up at all. Only who could not ask for longer than ids live, which is counted in versions (a
 * dozen recoveries in a row do it, each of 100 s of them), is told that nobody knows any more (1022): such an increment may be there, or not. */
#include "sim/workloads/values.h"
#include "txn/idempotency.h"

enum option { ACTORS, COUNTERS, PAUSE_MS };

enum { COUNTERS_MAX = 100, AUTOMATIC_IDEMPOTENCY = 505 };

struct idempotency {
    uint64_t acknowledged[COUNTERS_MAX];
    uint64_t expired[COUNTERS_MAX]; /* nobody knows */
    uint64_t committed, retries;
    version_t newest; /* of an acknowledged one */
};

static const char prefix[] = "idempotency";

static void idempotency_setup(struct sim_actor *actor, struct sim_workload_run *run)
{
    (void)actor;
    (void)run; /* a missing counter is zero */
}

/* Half of them read as well, so that conflicts happen and the key in both conflict ranges is one of the application's. */
static int attempt(struct sim_actor *actor, struct sim_transaction *transaction, struct bytes key)
{
    struct bytes value;
    bool present;
    int error = 0;

    if (sim_actor_random(actor, 2) == 0)
        error = sim_get(transaction, key, &present, &value);
    if (error != 0)
        return error;
    sim_add(transaction, key, 1);
    return sim_commit(transaction);
}

/* An attempt that began after a commit at `began` was acknowledged, and looked for its id from there on, did so too late. */
static bool has_expired(struct sim_actor *actor, version_t began)
{
    struct sim_transaction *transaction = sim_transaction_create(actor);
    version_t now = 0;
    int error;

    do
        error = sim_read_version(transaction, &now);
    while (error != 0 && sim_retry(transaction, error));
    sim_transaction_destroy(transaction);
    return error == 0 && now - began > IDEMPOTENCY_LIFE_VERSIONS;
}

static void increment_once(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct sim_transaction *transaction = sim_transaction_create(actor);
    struct idempotency *idempotency = run->state;
    uint64_t counter = sim_actor_random(actor, (uint64_t)run->options[COUNTERS]);
    struct workload_key key;
    struct bytes at = workload_key(&key, prefix, counter);
    version_t began = idempotency->newest;
    bool expired = false;
    int error;

    sim_option(transaction, AUTOMATIC_IDEMPOTENCY);
    while ((error = attempt(actor, transaction, at)) != 0) {
        expired = error == ERROR_COMMIT_UNKNOWN_RESULT_FATAL && has_expired(actor, began);
        if (expired || !sim_retry(transaction, error))
            break;
        if (error == ERROR_COMMIT_UNKNOWN_RESULT)
            sim_world_fail(workload_world(actor), "Idempotency: a result is unknown");
        began = idempotency->newest;
        idempotency->retries++;
    }
    if (error != 0 && !expired)
        sim_world_fail(workload_world(actor), "Idempotency: %s", error_name(error));
    idempotency->expired[counter] += error != 0;
    idempotency->acknowledged[counter] += error == 0;
    idempotency->committed += error == 0;
    if (error == 0 && sim_committed_version(transaction) > idempotency->newest)
        idempotency->newest = sim_committed_version(transaction);
    sim_transaction_destroy(transaction);
}

static void idempotency_run(struct sim_actor *actor, struct sim_workload_run *run)
{
    const struct idempotency *idempotency = run->state;

    while (workload_goes_on(actor, idempotency->committed > 0)) {
        increment_once(actor, run);
        sim_actor_sleep(actor, (int64_t)sim_actor_random(actor, 2000 * (uint64_t)run->options[PAUSE_MS] + 1));
    }
}

static int check_counter(struct sim_actor *actor, struct sim_transaction *transaction, const struct idempotency *idempotency,
                         uint64_t index)
{
    struct workload_key key;
    struct bytes value;
    uint64_t number = 0;
    bool present;
    int error = sim_get(transaction, workload_key(&key, prefix, index), &present, &value);

    if (error != 0)
        return error;
    if ((present && !workload_number(value, &number)) || number < idempotency->acknowledged[index] ||
        number > idempotency->acknowledged[index] + idempotency->expired[index])
        sim_world_fail(workload_world(actor), "Idempotency: counter %d is %llu, but %llu increments were acknowledged", (int)index,
                       (unsigned long long)number, (unsigned long long)idempotency->acknowledged[index]);
    return 0;
}

static void check_counters(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct sim_transaction *transaction = sim_transaction_create(actor);
    struct idempotency *idempotency = run->state;
    int error;

    do {
        error = 0;
        for (uint64_t i = 0; i < (uint64_t)run->options[COUNTERS] && error == 0; i++)
            error = check_counter(actor, transaction, idempotency, i);
    } while (error != 0 && sim_retry(transaction, error));
    if (error != 0)
        sim_world_fail(workload_world(actor), "Idempotency: check: %s", error_name(error));
    if (idempotency->committed == 0)
        sim_world_fail(workload_world(actor), "Idempotency: nothing committed");
    sim_say(workload_world(actor), actor->client->process, "Idempotency: %llu committed, %llu retries",
            (unsigned long long)idempotency->committed, (unsigned long long)idempotency->retries);
    sim_transaction_destroy(transaction);
}

const struct sim_workload sim_workload_idempotency = {
    .name = "Idempotency",
    .what = "with automatic ids no increment is applied twice or lost, and no result is unknown",
    .options = {{"actors", 3, 1, 100}, {"counters", 5, 1, COUNTERS_MAX}, {"pause-ms", 100, 0, 10000}},
    .state_bytes = sizeof(struct idempotency),
    .setup = idempotency_setup,
    .run = idempotency_run,
    .check = check_counters,
};
