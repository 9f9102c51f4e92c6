/* MetadataMarks: small transactions that write under \xff and outside of it, so that every suffix which an epoch's end cuts off holds some.
 *
 * Each writes its number under two keys of its own, one of them metadata, which logs and proxies carry along by themselves. Nobody
 * writes there again: what a new epoch takes over wrongly is still there for the check of the metadata. */
#include "net/mem.h"
#include "sim/workloads/values.h"

enum option { ACTORS, PAUSE_MS };

enum { OPTION_ACCESS_SYSTEM_KEYS = 301, OPTION_LOCK_AWARE = 700, PAIRS_A_REQUEST = 500 };

enum fate { FATE_OPEN, FATE_COMMITTED, FATE_UNKNOWN, FATE_NEVER };

struct marks {
    uint8_t *fates; /* owned; of each number */
    size_t count, capacity;
    uint64_t committed;
};

static const char prefix[] = "marks", metadata_prefix[] = "\xff/sim/marks";

static void marks_setup(struct sim_actor *actor, struct sim_workload_run *run)
{
    (void)actor;
    (void)run;
}

static size_t new_number(struct marks *marks)
{
    if (marks->count == marks->capacity) {
        marks->capacity = marks->capacity == 0 ? 256 : 2 * marks->capacity;
        marks->fates = mem_realloc(marks->fates, marks->capacity);
    }
    marks->fates[marks->count] = FATE_OPEN;
    return marks->count++;
}

static void mark_once(struct sim_actor *actor, struct marks *marks)
{
    struct sim_transaction *transaction = sim_transaction_create(actor);
    size_t number = new_number(marks);
    struct workload_key key, metadata_key;
    uint8_t value[8];
    int error;

    put_le64(value, number);
    sim_option(transaction, OPTION_ACCESS_SYSTEM_KEYS);
    sim_option(transaction, OPTION_LOCK_AWARE);
    do {
        sim_set(transaction, workload_key(&metadata_key, metadata_prefix, number), bytes_of(value, sizeof(value)));
        sim_set(transaction, workload_key(&key, prefix, number), bytes_of(value, sizeof(value)));
        error = sim_commit(transaction);
    } while (error != 0 && error != ERROR_COMMIT_UNKNOWN_RESULT && sim_retry(transaction, error));
    if (error != 0 && error != ERROR_COMMIT_UNKNOWN_RESULT)
        sim_world_fail(workload_world(actor), "MetadataMarks: %s", error_name(error));
    marks->fates[number] = error == 0 ? FATE_COMMITTED : error == ERROR_COMMIT_UNKNOWN_RESULT ? FATE_UNKNOWN : FATE_NEVER;
    marks->committed += error == 0;
    sim_transaction_destroy(transaction);
}

static void marks_run(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct marks *marks = run->state;

    while (workload_goes_on(actor, marks->committed > 0)) {
        mark_once(actor, marks);
        sim_actor_sleep(actor, (int64_t)sim_actor_random(actor, 2000 * (uint64_t)run->options[PAUSE_MS] + 1));
    }
}

/* Bit `bit` of seen[n]: the number n stands there. */
static int look(struct sim_actor *actor, struct sim_transaction *transaction, const struct marks *marks, const char *where, unsigned bit,
                uint8_t *seen)
{
    struct workload_key begin, end;
    const struct sim_pair *pairs;
    size_t count;
    int error = sim_get_range(transaction, workload_begin(&begin, where), workload_end(&end, where), PAIRS_A_REQUEST, &pairs, &count);

    for (size_t i = 0; i < count && error == 0; i++) {
        uint64_t number, value;

        if (!workload_key_number(pairs[i].key, where, &number) || !workload_number(pairs[i].value, &value) || value != number ||
            number >= marks->count)
            sim_world_fail(workload_world(actor), "MetadataMarks: a pair that nobody wrote");
        else
            seen[number] |= (uint8_t)(1u << bit);
    }
    return error;
}

static void judge(struct sim_actor *actor, const struct marks *marks, const uint8_t *seen)
{
    for (size_t i = 0; i < marks->count; i++) {
        if (seen[i] == 1 || seen[i] == 2)
            sim_world_fail(workload_world(actor), "MetadataMarks: of transaction %zu only the %s is there", i,
                           seen[i] == 2 ? "metadata" : "part that is no metadata");
        if (seen[i] == 0 && marks->fates[i] == FATE_COMMITTED)
            sim_world_fail(workload_world(actor), "MetadataMarks: transaction %zu was acknowledged and is not there", i);
        if (seen[i] != 0 && marks->fates[i] == FATE_NEVER)
            sim_world_fail(workload_world(actor), "MetadataMarks: transaction %zu failed and is there", i);
    }
}

static void marks_check(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct sim_transaction *transaction = sim_transaction_create(actor);
    struct marks *marks = run->state;
    uint8_t *seen = mem_zalloc(marks->count + 1);
    int error;

    sim_option(transaction, OPTION_ACCESS_SYSTEM_KEYS);
    sim_option(transaction, OPTION_LOCK_AWARE);
    do {
        memset(seen, 0, marks->count);
        error = look(actor, transaction, marks, prefix, 0, seen);
        if (error == 0)
            error = look(actor, transaction, marks, metadata_prefix, 1, seen);
    } while (error != 0 && sim_retry(transaction, error));
    if (error != 0)
        sim_world_fail(workload_world(actor), "MetadataMarks: check: %s", error_name(error));
    else if (marks->committed == 0)
        sim_world_fail(workload_world(actor), "MetadataMarks: nothing committed");
    else
        judge(actor, marks, seen);
    sim_say(workload_world(actor), actor->client->process, "MetadataMarks: %llu of %zu committed", (unsigned long long)marks->committed,
            marks->count);
    mem_free(seen);
    sim_transaction_destroy(transaction);
}

static void marks_done(struct sim_workload_run *run)
{
    struct marks *marks = run->state;

    mem_free(marks->fates);
}

const struct sim_workload sim_workload_metadata_marks = {
    .name = "MetadataMarks",
    .what = "a transaction that changes metadata is there wholly or not at all, in every copy, also when an epoch's end cuts it off",
    .options = {{"actors", 1, 1, 100}, {"pause-ms", 300, 0, 10000}},
    .state_bytes = sizeof(struct marks),
    .setup = marks_setup,
    .run = marks_run,
    .check = marks_check,
    .done = marks_done,
};
