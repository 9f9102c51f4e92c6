/* Problem: keys that no server has, in ranges and with selectors.
 *
 *   STATUS -> COLLECT      (the first only if a part that is read needs it)
 *              ^___|  each part that is met first fetches what it is made of (special_fetch.c), and then makes its pairs
 *
 * All pairs of the parts that a read meets are made, what the transaction itself wrote comes on top, and the selectors count in
 * them: they are few. A selector that counts on makes the whole module be met. The status is waited for a few seconds; it then says
 * what the client knows without it. */
#include "txn/client/special_keys.h"

#include <stdlib.h>

#include "txn/client/client_internal.h"

enum { STATUS_US_MAX = 5000000 };
enum { STATUS, COLLECT, SPECIAL_STAGES };

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

struct bytes special_rest(const struct special_part *part, struct bytes key)
{
    size_t prefix = 2 + strlen(part->span.begin);

    return key.len < prefix ? bytes_none() : bytes_of(key.ptr + prefix, key.len - prefix);
}

/* Whether the two modules are one, or the first may be anything. */
static bool in_module_of(const struct special_span *span, struct bytes key)
{
    const struct special_span *module = find_module(key);
    struct bytes begin = bytes_of_string(span->begin), low;

    if (module == NULL)
        return false;
    low = bytes_of_string(module->begin);
    return module->end == NULL ? bytes_equal(begin, low)
                               : bytes_compare(begin, low) >= 0 && bytes_compare(begin, bytes_of_string(module->end)) < 0;
}

static bool is_met(const struct special_read *read, const struct special_span *span)
{
    struct bytes low = without_prefix(read->begin.key), high = without_prefix(read->end.key);
    struct bytes begin = bytes_of_string(span->begin);

    if (special_span_has(span, read->begin.key) || (bytes_compare(begin, low) >= 0 && bytes_compare(begin, high) < 0))
        return true;
    return read->whole_module && (read->everywhere || in_module_of(span, read->begin.key));
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

int special_add_text(struct special_read *read, const char *prefix, const char *rest, const char *value)
{
    return special_add(read, prefix, bytes_of_string(rest), bytes_of_string(value));
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

/* Limits as in FoundationDB: the pair that reaches one is given. */
static uint32_t within_limits(const struct special_read *read, uint32_t from, uint32_t count)
{
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < count; i++) {
        const struct client_pair *pair = &read->pairs[read->options.reverse ? from + count - 1 - i : from + i];

        bytes += pair->key.len + pair->value.len;
        if (i + 1 == read->options.limit || (read->options.bytes_limit != 0 && bytes >= read->options.bytes_limit))
            return i + 1;
    }
    return count;
}

static void choose(struct special_read *read)
{
    uint32_t from = place_of(read, &read->begin), to = place_of(read, &read->end), kept;

    read->first = from;
    read->count = to > from ? to - from : 0;
    kept = within_limits(read, from, read->count);
    read->more = kept < read->count;
    if (read->options.reverse)
        for (uint32_t i = 0; i < read->count / 2; i++) {
            struct client_pair swapped = read->pairs[from + i];

            read->pairs[from + i] = read->pairs[to - 1 - i];
            read->pairs[to - 1 - i] = swapped;
        }
    read->count = kept;
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
        return op_move(op, COLLECT);
    client_status_start(&read->status, op, read->txn->client);
    wait_timer_start(&read->timer, op, STATUS_US_MAX);
    return op_wait(op, COLLECT);
}

/* The shards between the ends of what is read of the part. */
static int ask_shards(struct special_read *read, const struct special_part *part)
{
    struct transaction_query *query = &read->shards;
    struct bytes begin = bytes_none(), end = KEY_SYSTEM_BEGIN;

    if (!read->whole_module && special_span_has(&part->span, read->begin.key))
        begin = special_rest(part, read->begin.key);
    if (!read->whole_module && special_span_has(&part->span, read->end.key))
        end = bytes_min(end, special_rest(part, read->end.key));
    query->kind = QUERY_SHARDS;
    query->limit = read->options.reverse || read->whole_module || read->options.limit == 0 ? 0 : read->options.limit + 2;
    if (transaction_query_prepare(query, read->txn, bytes_min(begin, end), end))
        return query->call.error;
    if (query->incarnation != read->incarnation)
        return ERROR_TRANSACTION_CANCELLED;
    read->shards_asked = true;
    transaction_query_submit(query, &read->op);
    return 0;
}

/* *ret_waits: the part's turn is not over. */
static int collect_part(struct special_read *read, const struct special_part *part, bool *ret_waits)
{
    int error = special_fetch_go(&read->fetch, read->txn, read->incarnation, &part->to_collect, &read->op, ret_waits);

    if (error != 0 || *ret_waits)
        return error;
    if (part->to_collect.what & SPECIAL_NEEDS_SHARDS && !read->shards_asked) {
        *ret_waits = true;
        return ask_shards(read, part);
    }
    if (read->shards_asked)
        error = read->shards.call.error;
    read->shards_asked = false;
    if (error == 0)
        error = part->collect(read, part);
    special_fetch_next(&read->fetch);
    return error;
}

static enum op_result collect(struct op *op)
{
    struct special_read *read = read_of(op);
    bool waits = false;
    int error = 0;

    for (; special_parts[read->at].span.begin != NULL && error == 0; read->at++) {
        if (!is_met(read, &special_parts[read->at].span))
            continue;
        error = collect_part(read, &special_parts[read->at], &waits);
        if (error == 0 && waits)
            return op_wait(op, COLLECT);
    }
    if (error == 0)
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
    special_fetch_done(&read->fetch);
    transaction_query_done(&read->shards);
    list_remove(&read->link);
    if (read->call.under_way)
        client_call_end(&read->call, op->error);
}

static const struct op_stage stages[SPECIAL_STAGES] = {
    [STATUS] = {"STATUS", ask_status, OP_STAGE(COLLECT)},
    [COLLECT] = {"COLLECT", collect, OP_STAGE(COLLECT)},
};
static const struct op_type special_type = {
    .name = "client_special", .stages = stages, .stage_count = SPECIAL_STAGES, .queue = READY_READ, .ended = ended};

/* ---- start ---- */

/* As in FoundationDB: a range ends in the module in which it begins, or just behind it. Between modules there is nothing. */
static int check_modules(const struct special_read *read)
{
    const struct special_span *begin = find_module(read->begin.key);
    struct bytes low = without_prefix(read->begin.key), high = without_prefix(read->end.key);

    if (begin != NULL)
        return special_span_ends_at(begin, read->end.key) ? 0 : ERROR_SPECIAL_KEYS_CROSS_MODULE_READ;
    for (const struct special_span *module = special_modules; module->begin != NULL; module++) {
        struct bytes its = bytes_of_string(module->begin);

        if (bytes_compare(its, low) >= 0 && bytes_compare(its, high) < 0)
            return ERROR_SPECIAL_KEYS_CROSS_MODULE_READ;
    }
    return ERROR_SPECIAL_KEYS_NO_MODULE_FOUND;
}

/* Nothing is in it, whatever it is. */
static bool is_inverted(const struct special_read *read)
{
    int order = bytes_compare(read->begin.key, read->end.key);

    return read->begin.offset >= read->end.offset && (order > 0 || (order == 0 && read->begin.or_equal >= read->end.or_equal));
}

/* Under the lock. */
static void gather_needs(struct special_read *read)
{
    for (const struct special_part *part = special_parts; part->span.begin != NULL; part++) {
        if (!is_met(read, &part->span))
            continue;
        read->needs |= part->to_collect.what;
        read->txn->read_lock_aware |= part->lock_aware;
    }
}

bool special_read_prepare(struct special_read *read, struct transaction *txn, struct key_selector begin, struct key_selector end,
                          const struct transaction_range_options *options)
{
    int error;

    read->txn = txn;
    read->options = *options;
    read->begin = begin;
    read->end = end;
    read->whole_module = begin.offset != 1 || end.offset != 1;
    transaction_lock(txn);
    read->incarnation = transaction_incarnation(txn);
    error = txn->error; /* also after a commit: why it failed is asked then */
    if (error == ERROR_SPECIAL_KEYS_API_FAILURE && bytes_equal(begin.key, BYTES_LITERAL("\xff\xff/error_message")))
        error = 0;
    read->everywhere = txn->special_relaxed;
    if (error == 0)
        error = arena_copy(&read->arena, bytes_buffer_bytes(&txn->special_table), &read->own);
    if (error == 0)
        gather_needs(read);
    transaction_unlock(txn);
    if (error == 0)
        error = arena_copy(&read->arena, begin.key, &read->begin.key);
    if (error == 0)
        error = arena_copy(&read->arena, end.key, &read->end.key);
    read->call.error = error;
    if (error != 0 || is_inverted(read))
        return true;
    if (!read->everywhere)
        read->call.error = check_modules(read);
    return read->call.error != 0;
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

