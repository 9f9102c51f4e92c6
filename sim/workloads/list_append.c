/* ListAppend: transactions read lists and append to them; cycles between them are looked for (sim/checkers/cycles.h).
 *
 * A list is a value: its elements, 4 bytes each. Appends are atomic operations or read, change and write. */
#include <assert.h>

#include "net/mem.h"
#include "sim/checkers/cycles.h"
#include "sim/workloads/values.h"
#include "txn/mutation.h"

enum option { ACTORS, LISTS, OPERATIONS, PAUSE_MS };

struct list_append {
    struct cycles_history history;
    struct cycles_record *records; /* owned; one an actor, and the last for the check */
    size_t record_count;
};

static const char prefix[] = "lists";

static void list_append_setup(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct list_append *state = run->state;

    (void)actor;
    cycles_init(&state->history, (uint32_t)run->options[LISTS]);
    state->record_count = (size_t)run->options[ACTORS] * run->client_count + 1;
    state->records = sim_zalloc(state->record_count * sizeof(state->records[0]));
}

static int read_list(struct sim_actor *actor, struct sim_transaction *transaction, struct cycles_record *record, uint32_t list,
                     struct bytes *ret_value)
{
    struct workload_key key;
    bool present;
    uint32_t *elements;
    int error = sim_get(transaction, workload_key(&key, prefix, list), &present, ret_value);

    if (error != 0)
        return error;
    if (!present)
        *ret_value = bytes_none();
    if (ret_value->len % 4 != 0)
        sim_world_fail(workload_world(actor), "ListAppend: list %u is damaged", list);
    elements = sim_zalloc(ret_value->len + 1);
    for (size_t i = 0; i < ret_value->len / 4; i++)
        elements[i] = get_le32(ret_value->ptr + 4 * i);
    cycles_read(record, list, elements, (uint32_t)(ret_value->len / 4));
    mem_free(elements);
    return 0;
}

static void append_blindly(struct sim_transaction *transaction, struct cycles_record *record, uint32_t list)
{
    uint32_t element = cycles_new_element(record->history);
    struct workload_key key;
    uint8_t bytes[4];

    put_le32(bytes, element);
    sim_atomic(transaction, MUTATION_APPEND_IF_FITS, workload_key(&key, prefix, list), bytes_of(bytes, sizeof(bytes)));
    cycles_append(record, list, element);
}

static int append_by_rewriting(struct sim_actor *actor, struct sim_transaction *transaction, struct cycles_record *record,
                               uint32_t list)
{
    struct workload_key key;
    struct bytes value;
    uint8_t *longer;
    uint32_t element;
    int error = read_list(actor, transaction, record, list, &value);

    if (error != 0)
        return error;
    element = cycles_new_element(record->history);
    longer = sim_zalloc(value.len + 4);
    if (value.len > 0)
        memcpy(longer, value.ptr, value.len);
    put_le32(longer + value.len, element);
    sim_set(transaction, workload_key(&key, prefix, list), bytes_of(longer, value.len + 4));
    mem_free(longer);
    cycles_append(record, list, element);
    return 0;
}

static int random_operations(struct sim_actor *actor, struct sim_workload_run *run, struct sim_transaction *transaction,
                             struct cycles_record *record)
{
    uint64_t count = 1 + sim_actor_random(actor, (uint64_t)run->options[OPERATIONS]);
    int error = 0;

    for (uint64_t i = 0; i < count && error == 0; i++) {
        uint32_t list = (uint32_t)sim_actor_random(actor, (uint64_t)run->options[LISTS]);
        uint64_t kind = sim_actor_random(actor, 4);
        struct bytes value;

        if (sim_actor_random(actor, 8) == 0)
            sim_actor_sleep(actor, (int64_t)sim_actor_random(actor, 200000));
        if (kind < 2)
            error = read_list(actor, transaction, record, list, &value);
        else if (kind == 2)
            append_blindly(transaction, record, list);
        else
            error = append_by_rewriting(actor, transaction, record, list);
    }
    return error == 0 ? sim_commit(transaction) : error;
}

static int read_all(struct sim_actor *actor, struct sim_workload_run *run, struct sim_transaction *transaction,
                    struct cycles_record *record)
{
    struct bytes value;
    int error = 0;

    for (int64_t list = 0; list < run->options[LISTS] && error == 0; list++)
        error = read_list(actor, transaction, record, (uint32_t)list, &value);
    return error;
}

static void attempt(struct sim_actor *actor, struct sim_workload_run *run, struct cycles_record *record,
                    int (*body)(struct sim_actor *actor, struct sim_workload_run *run, struct sim_transaction *transaction,
                                struct cycles_record *record))
{
    struct list_append *state = run->state;
    struct sim_transaction *transaction = sim_transaction_create(actor);
    int error;

    do {
        cycles_begin(&state->history, record, actor->index);
        error = body(actor, run, transaction, record);
        cycles_finish(record, error == 0                              ? CYCLES_COMMITTED
                              : error == ERROR_COMMIT_UNKNOWN_RESULT ? CYCLES_UNKNOWN
                                                                     : CYCLES_ABORTED);
    } while (error != 0 && sim_retry(transaction, error));
    if (error != 0)
        sim_world_fail(workload_world(actor), "ListAppend: %s", error_name(error));
    sim_transaction_destroy(transaction);
}

static void list_append_run(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct list_append *state = run->state;

    while (!sim_actor_stopping(actor)) {
        attempt(actor, run, &state->records[actor->index], random_operations);
        sim_actor_sleep(actor, (int64_t)sim_actor_random(actor, 2000 * (uint64_t)run->options[PAUSE_MS] + 1));
    }
}

static void list_append_check(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct list_append *state = run->state;
    struct cycles_report report;

    attempt(actor, run, &state->records[state->record_count - 1], read_all);
    if (cycles_check(&state->history, &report) != CYCLES_OK)
        sim_world_fail(workload_world(actor), "ListAppend: %s: %s", cycles_name(report.anomaly), report.what);
    else if (report.committed < 2)
        sim_world_fail(workload_world(actor), "ListAppend: nothing committed");
    sim_say(workload_world(actor), actor->client->process, "ListAppend: %u committed, %u aborted, %u unknown, %u elements of them there, %u edges",
            report.committed, report.aborted, report.unknown, report.unknown_applied, report.edges);
}

static void list_append_done(struct sim_workload_run *run)
{
    struct list_append *state = run->state;

    for (size_t i = 0; i < state->record_count; i++)
        cycles_drop(&state->records[i]);
    mem_free(state->records);
    cycles_done(&state->history);
}

const struct sim_workload sim_workload_list_append = {
    .name = "ListAppend",
    .what = "no cycle of dependencies between transactions, trusting no version",
    .options = {{"actors", 3, 1, 100}, {"lists", 8, 1, 10000}, {"operations", 5, 1, 100}, {"pause-ms", 200, 0, 10000}},
    .state_bytes = sizeof(struct list_append),
    .setup = list_append_setup,
    .run = list_append_run,
    .check = list_append_check,
    .done = list_append_done,
};
