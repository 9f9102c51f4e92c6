/* Problem: keys that no server has, in ranges and with selectors.
 *
 *   STATUS -> WORKERS -> ASKED -> COLLECT        (each of the first three only if a part that is read needs it)
 *                                  ^___|  a part that is made of keys of the system reads them first
 *
 * All pairs of the parts that a read meets are made, what the transaction itself wrote comes on top, and the selectors count in
 * them: they are few. What comes from the cluster is waited for a few seconds; status then says what the client knows without it. */
#include "txn/client/special_keys.h"

#include <stdlib.h>

#include "txn/client/client_internal.h"

enum { STATUS_US_MAX = 5000000 };
enum { STATUS, WORKERS, ASKED, COLLECT, SPECIAL_STAGES };

/* ---- which module, which part ---- */

static struct bytes without_prefix(struct bytes key)
{
    return key.len < 2 ? bytes_none() : bytes_of(key.ptr + 2, key.len - 2);
}

bool special_span_has(const struct special_span *span, struct bytes key)
{
    struct bytes begin = bytes_of_string(span->begin), at = without_prefix(key);

    if (!special_contains(key))
        return false;
    if (span->end == NULL)
        return bytes_equal(begin, at);
    return bytes_compare(begin, at) <= 0 && bytes_compare(at, bytes_of_string(span->end)) < 0;
}

bool special_span_ends_at(const struct special_span *span, struct bytes key)
{
    struct bytes begin = bytes_of_string(span->begin), at = without_prefix(key);

    if (special_span_has(span, key))
        return true;
    return span->end == NULL ? key_is_after(begin, at) : bytes_equal(at, bytes_of_string(span->end));
}

static const struct special_span *find_module(struct bytes key)
{
    for (const struct special_span *module = special_modules; module->begin != NULL; module++)
        if (special_span_has(module, key))
            return module;
    return NULL;
}

static bool is_met(const struct special_read *read, const struct special_span *span)
{
    struct bytes low = without_prefix(read->begin.key), high = without_prefix(read->end.key);
    struct bytes begin = bytes_of_string(span->begin);

    if (special_span_has(span, read->begin.key) || special_span_has(span, read->end.key))
        return true;
    return bytes_compare(begin, low) >= 0 && bytes_compare(begin, high) < 0;
}

/* ---- pairs ---- */

static int add_pair(struct special_read *read, struct bytes key, struct bytes value)
{
    struct client_pair *grown;

    if (read->pair_count == read->capacity) {
        uint32_t capacity = read->capacity == 0 ? 16 : read->capacity * 2;

        grown = mem_realloc(read->pairs, capacity * sizeof(*grown));
        if (grown == NULL)
            return ERROR_OUT_OF_MEMORY;
        read->pairs = grown;
        read->capacity = capacity;
    }
    read->pairs[read->pair_count].key = key;
    return arena_copy(&read->arena, value, &read->pairs[read->pair_count++].value);
}

int special_add(struct special_read *read, const char *prefix, struct bytes rest, struct bytes value)
{
    size_t prefix_len = strlen(prefix), len = 2 + prefix_len + rest.len;
    uint8_t *key = arena_alloc(&read->arena, len);

    if (key == NULL)
        return ERROR_OUT_OF_MEMORY;
    memset(key, 0xff, 2);
    memcpy(key + 2, prefix, prefix_len);
    if (rest.len > 0)
        memcpy(key + 2 + prefix_len, rest.ptr, rest.len);
    return add_pair(read, bytes_of(key, len), value);
}

static void remove_pairs(struct special_read *read, struct bytes begin, struct bytes end)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < read->pair_count; i++)
        if (bytes_compare(read->pairs[i].key, begin) < 0 || bytes_compare(read->pairs[i].key, end) >= 0)
            read->pairs[kept++] = read->pairs[i];
    read->pair_count = kept;
}

/* What the transaction had written when it asked. */
static int lay_own_on_top(struct special_read *read)
{
    struct bytes left = read->own, after;
    struct mutation write;
    int error = 0;

    while (error == 0 && mutation_next(&left, &write) == 0) {
        if (write.type == MUTATION_CLEAR_RANGE) {
            remove_pairs(read, write.param1, write.param2);
            continue;
        }
        error = key_after(&read->arena, write.param1, &after);
        if (error != 0)
            break;
        remove_pairs(read, write.param1, after);
        error = add_pair(read, write.param1, write.param2);
    }
    return error;
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

    if (!(read->needs & SPECIAL_NEEDS_STATUS))
        return op_move(op, WORKERS);
    client_status_start(&read->status, op, read->txn->client);
    wait_timer_start(&read->timer, op, STATUS_US_MAX);
    return op_wait(op, WORKERS);
}

static enum op_result find_controller(struct op *op)
{
    struct special_read *read = read_of(op);

    if (!(read->needs & SPECIAL_NEEDS_WORKERS))
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

/* The keys of the system that a part is made of, at the transaction's version. */
static int read_system(struct special_read *read, const struct special_part *part)
{
    struct transaction_range_options options = {.system = true};

    if (special_system_prepare(&read->system, read->txn, part, &options) != 0)
        return read->system.call.error;
    if (read->system.incarnation != read->incarnation) /* a reset that is not synced yet; this op can't be ended while it runs */
        return ERROR_TRANSACTION_CANCELLED;
    read->system_asked = true;
    transaction_range_submit(&read->system, &read->op);
    return 0;
}

static enum op_result collect(struct op *op)
{
    struct special_read *read = read_of(op);
    int error = read->needs & SPECIAL_NEEDS_WORKERS ? read->rpc.error : 0;

    if (error != 0) {
        wait_timer_start(&read->timer, op, RETRY_DELAY_US_MAX);
        return op_wait(op, WORKERS);
    }
    for (; special_parts[read->at].span.begin != NULL; read->at++) {
        const struct special_part *part = &special_parts[read->at];

        if (!is_met(read, &part->span))
            continue;
        if (part->system_begin.len > 0 && part->needs == 0 && !read->system_asked) {
            error = read_system(read, part);
            return error != 0 ? op_finish(op, error) : op_wait(op, COLLECT);
        }
        error = read->system_asked ? read->system.call.error : 0;
        read->system_asked = false;
        if (error == 0)
            error = part->collect(read, part);
        if (error != 0)
            return op_finish(op, error);
    }
    error = lay_own_on_top(read);
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
    transaction_range_done(&read->system);
    list_remove(&read->link);
    if (read->call.under_way)
        client_call_end(&read->call, op->error);
}

static const struct op_stage stages[SPECIAL_STAGES] = {
    [STATUS] = {"STATUS", ask_status, OP_STAGE(WORKERS)},
    [WORKERS] = {"WORKERS", find_controller, OP_STAGE(ASKED) | OP_STAGE(COLLECT)},
    [ASKED] = {"ASKED", ask_workers, OP_STAGE(WORKERS) | OP_STAGE(COLLECT)},
    [COLLECT] = {"COLLECT", collect, OP_STAGE(WORKERS) | OP_STAGE(COLLECT)},
};
static const struct op_type special_type = {
    .name = "client_special", .stages = stages, .stage_count = SPECIAL_STAGES, .queue = READY_READ, .ended = ended};

/* ---- start ---- */

static int check_modules(struct special_read *read, bool relaxed)
{
    const struct special_span *begin = find_module(read->begin.key);

    for (const struct special_part *part = special_parts; part->span.begin != NULL; part++)
        if (is_met(read, &part->span))
            read->needs |= part->needs;
    if (relaxed)
        return 0;
    if (begin == NULL)
        return find_module(read->end.key) != NULL ? ERROR_SPECIAL_KEYS_CROSS_MODULE_READ : ERROR_SPECIAL_KEYS_NO_MODULE_FOUND;
    return special_span_ends_at(begin, read->end.key) ? 0 : ERROR_SPECIAL_KEYS_CROSS_MODULE_READ;
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
    if (error == ERROR_SPECIAL_KEYS_API_FAILURE && bytes_equal(begin.key, BYTES_LITERAL("\xff\xff/error_message")))
        error = 0;
    relaxed = txn->special_relaxed;
    if (error == 0)
        error = arena_copy(&read->arena, bytes_buffer_bytes(&txn->special_table), &read->own);
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
    transaction_begun(txn, read->incarnation);
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

