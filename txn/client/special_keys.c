/* Problem: keys that no server has, in ranges and with selectors.
 *
 *   STATUS -> WORKERS -> ASKED -> COLLECT        (each of the first three only if a module that is read needs it)
 *
 * All pairs of the modules that a read meets are made, sorted, and the selectors count in them: they are few. What comes from
 * the cluster is waited for a few seconds; status then says what the client knows without it. */
#include "txn/client/special_keys.h"

#include <stdio.h>
#include <stdlib.h>

#include "txn/client/client_internal.h"

enum { NEEDS_STATUS = 1, NEEDS_WORKERS = 2, STATUS_US_MAX = 5000000 };
enum { STATUS, WORKERS, ASKED, COLLECT, SPECIAL_STAGES };

struct special_module {
    const char *begin, *end; /* without \xff\xff; end NULL: one key */
    unsigned group;          /* a read may not leave it */
    unsigned needs;
    int (*collect)(struct special_read *read, const struct special_module *module);
};

/* ---- pairs ---- */

static int add_pair(struct special_read *read, const char *prefix, struct bytes rest, struct bytes value)
{
    size_t len = 2 + strlen(prefix) + rest.len;
    uint8_t *key = arena_alloc(&read->arena, len);
    struct client_pair *grown;

    if (read->pair_count == read->capacity) {
        uint32_t capacity = read->capacity == 0 ? 16 : read->capacity * 2;

        grown = mem_realloc(read->pairs, capacity * sizeof(*grown));
        if (grown == NULL)
            return ERROR_OUT_OF_MEMORY;
        read->pairs = grown;
        read->capacity = capacity;
    }
    if (key == NULL)
        return ERROR_OUT_OF_MEMORY;
    memset(key, 0xff, 2);
    memcpy(key + 2, prefix, strlen(prefix));
    if (rest.len > 0)
        memcpy(key + 2 + strlen(prefix), rest.ptr, rest.len);
    read->pairs[read->pair_count].key = bytes_of(key, len);
    return arena_copy(&read->arena, value, &read->pairs[read->pair_count++].value);
}

/* ---- modules ---- */

static int collect_nothing(struct special_read *read, const struct special_module *module)
{
    (void)read;
    (void)module;
    return 0;
}

static int collect_cluster_id(struct special_read *read, const struct special_module *module)
{
    struct uid id = read->txn->client->cluster_id;
    char text[33];

    snprintf(text, sizeof(text), "%016llx%016llx", (unsigned long long)id.high, (unsigned long long)id.low);
    return uid_is_none(id) ? 0 : add_pair(read, module->begin, bytes_none(), bytes_of_string(text));
}

static int collect_file_path(struct special_read *read, const struct special_module *module)
{
    return add_pair(read, module->begin, bytes_none(), bytes_buffer_bytes(&read->txn->client->file_path));
}

static int collect_connection_string(struct special_read *read, const struct special_module *module)
{
    return add_pair(read, module->begin, bytes_none(), bytes_buffer_bytes(&read->txn->client->connection_string));
}

static int collect_status(struct special_read *read, const struct special_module *module)
{
    struct bytes_buffer json = {0};
    bool came = !read->status.call.under_way && read->status.call.error == 0;
    int error = client_json_status(read->txn->client, came ? bytes_buffer_bytes(&read->status.json) : bytes_none(), &json);

    if (error == 0)
        error = add_pair(read, module->begin, bytes_none(), bytes_buffer_bytes(&json));
    bytes_buffer_done(&json);
    return error;
}

static int collect_tracing(struct special_read *read, const struct special_module *module)
{
    int error = add_pair(read, module->begin, BYTES_LITERAL("token"), BYTES_LITERAL("0"));

    return error != 0 ? error : add_pair(read, module->begin, BYTES_LITERAL("transaction_id"), BYTES_LITERAL("0"));
}

static const struct get_workers_reply *workers_of(const struct special_read *read)
{
    return read->rpc.error != 0 || read->rpc.reply == NULL ? NULL : MESSAGE_BODY(get_workers_reply, read->rpc.reply);
}

static int collect_workers(struct special_read *read, const struct special_module *module)
{
    const struct get_workers_reply *workers = workers_of(read);
    char text[ADDRESS_TEXT_MAX];
    int error = 0;

    for (uint32_t i = 0; workers != NULL && i < workers->workers_count && error == 0; i++) {
        const struct worker_interface *worker = &workers->workers[i];

        address_print((struct address){worker->address.ip, worker->address.port}, text);
        error = add_pair(read, module->begin, bytes_of_string(text), bytes_of_string(text));
    }
    return error;
}

static int collect_classes(struct special_read *read, const struct special_module *module)
{
    const struct get_workers_reply *workers = workers_of(read);
    char text[ADDRESS_TEXT_MAX + 32];
    int error = 0;

    for (uint32_t i = 0; workers != NULL && i < workers->workers_count && error == 0; i++) {
        const struct worker_interface *worker = &workers->workers[i];
        size_t len = (size_t)snprintf(text, sizeof(text), "process/class_type/");

        address_print((struct address){worker->address.ip, worker->address.port}, text + len);
        error = add_pair(read, module->begin, bytes_of_string(text),
                         bytes_of_string(process_class_name((enum process_class)worker->process_class)));
    }
    return error;
}

/* ---- the transaction's own ranges ---- */

struct span {
    struct bytes begin, end;
};

static int by_begin(const void *a, const void *b)
{
    return bytes_compare(((const struct span *)a)->begin, ((const struct span *)b)->begin);
}

/* FoundationDB's form: a union of ranges is a "1" where one begins and a "0" where it ends. */
static int add_spans(struct special_read *read, const char *prefix, struct span *spans, uint32_t count)
{
    int error = 0;

    if (count > 0)
        qsort(spans, count, sizeof(*spans), by_begin);
    for (uint32_t i = 0; i < count && error == 0;) {
        struct bytes begin = spans[i].begin, end = spans[i].end;

        for (i++; i < count && bytes_compare(spans[i].begin, end) <= 0; i++)
            end = bytes_max(end, spans[i].end);
        error = add_pair(read, prefix, begin, BYTES_LITERAL("1"));
        if (error == 0)
            error = add_pair(read, prefix, end, BYTES_LITERAL("0"));
    }
    return error;
}

/* Under the lock. */
static int add_table(struct special_read *read, const char *prefix, struct bytes table)
{
    struct conflict_range range;
    struct bytes left = table;
    struct span *spans;
    uint32_t count = 0, filled = 0;
    int error = 0;

    while (conflict_range_next(&left, &range) == 0)
        count++;
    spans = arena_alloc(&read->arena, (count + 1) * sizeof(*spans));
    if (spans == NULL)
        return ERROR_OUT_OF_MEMORY;
    for (left = table; filled < count && conflict_range_next(&left, &range) == 0 && error == 0; filled++) {
        spans[filled] = (struct span){range.begin, range.end};
        if (range.is_point)
            error = key_after(&read->arena, range.begin, &spans[filled].end);
    }
    return error != 0 ? error : add_spans(read, prefix, spans, filled);
}

static int collect_transaction(struct special_read *read, const struct special_module *module)
{
    struct transaction *txn = read->txn;
    struct span *spans;
    int error;

    transaction_lock(txn);
    spans = arena_alloc(&read->arena, (txn->conflict_count + 1) * sizeof(*spans));
    for (uint32_t i = 0; spans != NULL && i < txn->conflict_count; i++)
        spans[i] = (struct span){txn->conflicts[i].read_begin, txn->conflicts[i].read_end};
    error = spans == NULL ? ERROR_OUT_OF_MEMORY : add_spans(read, "/transaction/conflicting_keys/", spans, txn->conflict_count);
    if (error == 0)
        error = add_table(read, "/transaction/read_conflict_range/", bytes_buffer_bytes(&txn->read_conflicts));
    if (error == 0)
        error = add_table(read, "/transaction/write_conflict_range/", bytes_buffer_bytes(&txn->write_conflicts));
    transaction_unlock(txn);
    (void)module;
    return error;
}

static const struct special_module modules[] = {
    {"/clusterId", NULL, 1, 0, collect_cluster_id},
    {"/cluster_file_path", NULL, 2, 0, collect_file_path},
    {"/configuration/", "/configuration0", 3, NEEDS_WORKERS, collect_classes},
    {"/connection_string", NULL, 4, 0, collect_connection_string},
    {"/error_message", NULL, 5, 0, collect_nothing}, /* no write is taken, so none has failed */
    {"/global_config/", "/global_config0", 6, 0, collect_nothing},
    {"/management/", "/management0", 7, 0, collect_nothing},
    {"/metrics/", "/metrics0", 8, 0, collect_nothing},
    {"/status/json", NULL, 9, NEEDS_STATUS, collect_status},
    {"/tracing/", "/tracing0", 10, 0, collect_tracing},
    {"/transaction/", "/transaction0", 11, 0, collect_transaction},
    {"/worker_interfaces/", "/worker_interfaces0", 12, NEEDS_WORKERS, collect_workers},
};
enum { MODULES = sizeof(modules) / sizeof(modules[0]) };

static struct bytes without_prefix(struct bytes key)
{
    return key.len < 2 ? bytes_none() : bytes_of(key.ptr + 2, key.len - 2);
}

static bool module_has(const struct special_module *module, struct bytes key)
{
    struct bytes begin = bytes_of_string(module->begin), at = without_prefix(key);

    if (module->end == NULL)
        return bytes_equal(begin, at);
    return bytes_compare(begin, at) <= 0 && bytes_compare(at, bytes_of_string(module->end)) < 0;
}

static const struct special_module *find_module(struct bytes key)
{
    for (int i = 0; i < MODULES; i++)
        if (special_contains(key) && module_has(&modules[i], key))
            return &modules[i];
    return NULL;
}

/* Is the end of a range still in the module: its last key, or just behind it? */
static bool module_ends_at(const struct special_module *module, struct bytes key)
{
    struct bytes begin = bytes_of_string(module->begin), at = without_prefix(key);

    if (module_has(module, key))
        return true;
    return module->end == NULL ? key_is_after(begin, at) : bytes_equal(at, bytes_of_string(module->end));
}

static bool is_met(const struct special_read *read, const struct special_module *module)
{
    struct bytes low = without_prefix(read->begin.key), high = without_prefix(read->end.key);
    struct bytes begin = bytes_of_string(module->begin);

    if (module_has(module, read->begin.key) || module_has(module, read->end.key))
        return true;
    return bytes_compare(begin, low) >= 0 && bytes_compare(begin, high) < 0;
}

/* ---- the answer ---- */

static int by_key(const void *a, const void *b)
{
    return bytes_compare(((const struct client_pair *)a)->key, ((const struct client_pair *)b)->key);
}

/* Which pair a selector means: 0 to pair_count. */
static uint32_t place_of(const struct special_read *read, const struct key_selector *selector)
{
    int64_t place = 0;

    while (place < (int64_t)read->pair_count) {
        int order = bytes_compare(read->pairs[place].key, selector->key);

        if (order > 0 || (order == 0 && !selector->or_equal))
            break;
        place++;
    }
    place += (int64_t)selector->offset - 1;
    return place < 0 ? 0 : place > (int64_t)read->pair_count ? read->pair_count : (uint32_t)place;
}

static void choose(struct special_read *read)
{
    uint32_t from = place_of(read, &read->begin), to = place_of(read, &read->end), limit = read->options.limit;

    read->first = from;
    read->count = to > from ? to - from : 0;
    read->more = limit != 0 && read->count > limit;
    if (!read->more)
        limit = read->count;
    if (read->options.reverse)
        for (uint32_t i = 0; i < read->count / 2; i++) {
            struct client_pair swapped = read->pairs[from + i];

            read->pairs[from + i] = read->pairs[to - 1 - i];
            read->pairs[to - 1 - i] = swapped;
        }
    read->count = limit;
}

/* ---- stages ---- */

static struct special_read *read_of(struct op *op)
{
    return container_of(op, struct special_read, op);
}

static enum op_result ask_status(struct op *op)
{
    struct special_read *read = read_of(op);

    if (!(read->needs & NEEDS_STATUS))
        return op_move(op, WORKERS);
    client_status_start(&read->status, op, read->txn->client);
    wait_timer_start(&read->timer, op, STATUS_US_MAX);
    return op_wait(op, WORKERS);
}

static enum op_result find_controller(struct op *op)
{
    struct special_read *read = read_of(op);

    if (!(read->needs & NEEDS_WORKERS))
        return op_move(op, COLLECT);
    client_wait_controller(&read->controller, op, read->txn->client);
    return op_wait(op, ASKED);
}

static enum op_result ask_workers(struct op *op)
{
    struct special_read *read = read_of(op);
    struct client *client = read->txn->client;
    struct endpoint to = {client->controller, ENDPOINT_CONTROLLER};
    struct message *message;

    if (read->controller.error != 0)
        return op_finish(op, read->controller.error);
    if (client->controller.port == 0)
        return op_move(op, WORKERS);
    if (MESSAGE_NEW(get_workers, &message) == NULL)
        return op_finish(op, ERROR_OUT_OF_MEMORY);
    rpc_call_start(&read->rpc, op, client->rpc, &to, message, client->env->knobs.client_request_timeout_us);
    return op_wait(op, COLLECT);
}

static enum op_result collect(struct op *op)
{
    struct special_read *read = read_of(op);
    int error = read->needs & NEEDS_WORKERS ? read->rpc.error : 0;

    if (error != 0) {
        wait_timer_start(&read->timer, op, RETRY_DELAY_US_MAX);
        return op_wait(op, WORKERS);
    }
    for (int i = 0; i < MODULES && error == 0; i++)
        if (is_met(read, &modules[i]))
            error = modules[i].collect(read, &modules[i]);
    if (error != 0)
        return op_finish(op, error);
    if (read->pair_count > 0)
        qsort(read->pairs, read->pair_count, sizeof(*read->pairs), by_key);
    choose(read);
    return op_finish(op, 0);
}

static void ended(struct op *op)
{
    struct special_read *read = read_of(op);

    client_status_done(&read->status);
    client_call_cancel(&read->controller);
    rpc_call_clear(&read->rpc);
    list_remove(&read->link);
    if (read->call.under_way)
        client_call_end(&read->call, op->error);
}

static const struct op_stage stages[SPECIAL_STAGES] = {
    [STATUS] = {"STATUS", ask_status, OP_STAGE(WORKERS)},
    [WORKERS] = {"WORKERS", find_controller, OP_STAGE(ASKED) | OP_STAGE(COLLECT)},
    [ASKED] = {"ASKED", ask_workers, OP_STAGE(WORKERS) | OP_STAGE(COLLECT)},
    [COLLECT] = {"COLLECT", collect, OP_STAGE(WORKERS)},
};
static const struct op_type special_type = {
    .name = "client_special", .stages = stages, .stage_count = SPECIAL_STAGES, .queue = READY_READ, .ended = ended};

/* ---- start ---- */

static int check_modules(struct special_read *read, bool relaxed)
{
    const struct special_module *begin = find_module(read->begin.key);

    for (int i = 0; i < MODULES; i++)
        if (is_met(read, &modules[i]))
            read->needs |= modules[i].needs;
    if (relaxed)
        return 0;
    if (begin == NULL)
        return find_module(read->end.key) != NULL ? ERROR_SPECIAL_KEYS_CROSS_MODULE_READ : ERROR_SPECIAL_KEYS_NO_MODULE_FOUND;
    return module_ends_at(begin, read->end.key) ? 0 : ERROR_SPECIAL_KEYS_CROSS_MODULE_READ;
}

bool special_read_prepare(struct special_read *read, struct transaction *txn, struct key_selector begin, struct key_selector end,
                          const struct transaction_range_options *options)
{
    bool relaxed;
    int error;

    read->txn = txn;
    read->options = *options;
    read->begin = begin;
    read->end = end;
    transaction_lock(txn);
    read->incarnation = transaction_incarnation(txn);
    error = txn->error; /* also after a commit: why it failed is asked then */
    relaxed = txn->special_relaxed;
    transaction_unlock(txn);
    if (error == 0)
        error = arena_copy(&read->arena, begin.key, &read->begin.key);
    if (error == 0)
        error = arena_copy(&read->arena, end.key, &read->end.key);
    if (error == 0)
        error = check_modules(read, relaxed);
    read->call.error = error;
    return error != 0;
}

static void cancelled(struct client_call *call)
{
    op_cancel(&container_of(call, struct special_read, call)->op);
}

void special_read_submit(struct special_read *read)
{
    struct transaction *txn = read->txn;

    transaction_call_begin(txn, &read->call, NULL, cancelled);
    list_push_back(&txn->specials, &read->link);
    op_start(&read->op, &special_type, &txn->client->ops);
    if (read->incarnation != txn->synced_incarnation)
        transaction_sync(txn);
}

void special_read_fail(struct special_read *read, int error)
{
    if (read->call.under_way)
        client_call_end(&read->call, error);
    op_cancel(&read->op);
}

void special_read_done(struct special_read *read)
{
    client_call_cancel(&read->call);
    arena_done(&read->arena);
    mem_free(read->pairs);
    read->pairs = NULL;
}

int special_write_error(const struct transaction *txn, struct bytes begin, struct bytes end)
{
    const struct special_module *module = find_module(begin);

    if (!txn->special_writes)
        return ERROR_SPECIAL_KEYS_WRITE_DISABLED;
    if (module != NULL && !module_ends_at(module, end))
        return ERROR_SPECIAL_KEYS_CROSS_MODULE_CLEAR;
    return ERROR_SPECIAL_KEYS_NO_WRITE_MODULE_FOUND;
}
