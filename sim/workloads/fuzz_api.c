/* FuzzApi: what must not be asked gets its error, and nothing of it reaches the database.
 *
 * A case does one forbidden thing in a transaction that also writes a key; whatever the cluster goes through, the commit must fail
 * with that error, so the key must never be there. */
#include "net/mem.h"
#include "sim/workloads/values.h"
#include "txn/keys.h"
#include "txn/mutation.h"

enum option { ACTORS, PAUSE_MS };

struct fuzz {
    uint64_t tried;
    uint8_t *zeros; /* owned */
};

enum { ZEROS = VALUE_BYTES_MAX + 1, NO_SUCH_TYPE = 99 };

static const char key_text[] = "fuzz/must-not-be-there";

struct fuzz_case {
    const char *name;
    int error;
    int (*ask)(struct fuzz *fuzz, struct sim_transaction *transaction); /* what a read gave; 0 for a write */
};

static int long_key(struct fuzz *fuzz, struct sim_transaction *transaction)
{
    sim_set(transaction, bytes_of(fuzz->zeros, KEY_BYTES_MAX + 1), BYTES_LITERAL("x"));
    return 0;
}

static int long_value(struct fuzz *fuzz, struct sim_transaction *transaction)
{
    sim_set(transaction, BYTES_LITERAL("fuzz/value"), bytes_of(fuzz->zeros, VALUE_BYTES_MAX + 1));
    return 0;
}

static int system_key(struct fuzz *fuzz, struct sim_transaction *transaction)
{
    (void)fuzz;
    sim_set(transaction, BYTES_LITERAL("\xff/fuzz"), BYTES_LITERAL("x"));
    return 0;
}

static int clear_backwards(struct fuzz *fuzz, struct sim_transaction *transaction)
{
    (void)fuzz;
    sim_clear_range(transaction, BYTES_LITERAL("fuzz/b"), BYTES_LITERAL("fuzz/a"));
    return 0;
}

static int clear_system(struct fuzz *fuzz, struct sim_transaction *transaction)
{
    (void)fuzz;
    sim_clear_range(transaction, BYTES_LITERAL("fuzz"), BYTES_LITERAL("\xff\xff"));
    return 0;
}

static int strange_atomic(struct fuzz *fuzz, struct sim_transaction *transaction)
{
    (void)fuzz;
    sim_atomic(transaction, NO_SUCH_TYPE, BYTES_LITERAL("fuzz/atomic"), BYTES_LITERAL("x"));
    return 0;
}

static int stamp_outside(struct fuzz *fuzz, struct sim_transaction *transaction)
{
    (void)fuzz;
    sim_atomic(transaction, MUTATION_SET_VERSIONSTAMPED_KEY, BYTES_LITERAL("fuzz/stamp\xff\xff\x00\x00"), BYTES_LITERAL("x"));
    return 0;
}

static int conflict_backwards(struct fuzz *fuzz, struct sim_transaction *transaction)
{
    (void)fuzz;
    sim_conflict_range(transaction, true, BYTES_LITERAL("fuzz/b"), BYTES_LITERAL("fuzz/a"));
    return 0;
}

static int get_system(struct fuzz *fuzz, struct sim_transaction *transaction)
{
    struct bytes value;
    bool present;

    (void)fuzz;
    return sim_get(transaction, BYTES_LITERAL("\xff/conf/"), &present, &value);
}

static const struct fuzz_case cases[] = {
    {"a key that is too long", ERROR_KEY_TOO_LARGE, long_key},
    {"a value that is too long", ERROR_VALUE_TOO_LARGE, long_value},
    {"a system key", ERROR_KEY_OUTSIDE_LEGAL_RANGE, system_key},
    {"a clear from end to begin", ERROR_INVERTED_RANGE, clear_backwards},
    {"a clear into the system's keys", ERROR_KEY_OUTSIDE_LEGAL_RANGE, clear_system},
    {"an unknown atomic operation", ERROR_INVALID_MUTATION_TYPE, strange_atomic},
    {"a versionstamp outside of its key", ERROR_CLIENT_INVALID_OPERATION, stamp_outside},
    {"a conflict range from end to begin", ERROR_INVERTED_RANGE, conflict_backwards},
    {"a read of a system key", ERROR_KEY_OUTSIDE_LEGAL_RANGE, get_system},
};

static void fuzz_setup(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct fuzz *fuzz = run->state;

    (void)actor;
    fuzz->zeros = sim_zalloc(ZEROS);
}

static void try_one(struct sim_actor *actor, struct fuzz *fuzz, const struct fuzz_case *what)
{
    struct sim_transaction *transaction = sim_transaction_create(actor);
    int error;

    if (sim_actor_random(actor, 2) == 0)
        sim_set(transaction, bytes_of_string(key_text), BYTES_LITERAL("x"));
    error = what->ask(fuzz, transaction);
    if (error == 0) {
        sim_set(transaction, bytes_of_string(key_text), BYTES_LITERAL("x"));
        error = sim_commit(transaction);
    }
    if (error != what->error)
        sim_world_fail(workload_world(actor), "FuzzApi: %s gives %s, not %s", what->name, error_name(error),
                       error_name(what->error));
    fuzz->tried++;
    sim_transaction_destroy(transaction);
}

static void fuzz_run(struct sim_actor *actor, struct sim_workload_run *run)
{
    while (!sim_actor_stopping(actor)) {
        try_one(actor, run->state, &cases[sim_actor_random(actor, sizeof(cases) / sizeof(cases[0]))]);
        sim_actor_sleep(actor, (int64_t)sim_actor_random(actor, 2000 * (uint64_t)run->options[PAUSE_MS] + 1));
    }
}

static void fuzz_check(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct sim_transaction *transaction = sim_transaction_create(actor);
    struct fuzz *fuzz = run->state;
    struct bytes value;
    bool present = false;
    int error;

    while ((error = sim_get(transaction, bytes_of_string(key_text), &present, &value)) != 0 && sim_retry(transaction, error))
        ;
    if (error != 0 || present)
        sim_world_fail(workload_world(actor), "FuzzApi: a transaction that had to fail left something (%s)", error_name(error));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        try_one(actor, fuzz, &cases[i]);
    sim_say(workload_world(actor), actor->client->process, "FuzzApi: %llu tried", (unsigned long long)fuzz->tried);
    sim_transaction_destroy(transaction);
}

static void fuzz_done(struct sim_workload_run *run)
{
    struct fuzz *fuzz = run->state;

    mem_free(fuzz->zeros);
}

const struct sim_workload sim_workload_fuzz_api = {
    .name = "FuzzApi",
    .what = "what must not be asked gets its error and leaves nothing",
    .options = {{"actors", 1, 1, 10}, {"pause-ms", 300, 0, 10000}},
    .state_bytes = sizeof(struct fuzz),
    .setup = fuzz_setup,
    .run = fuzz_run,
    .check = fuzz_check,
    .done = fuzz_done,
};
