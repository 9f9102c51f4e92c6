/* Range reads: pieces read from storage servers, merged with what the transaction wrote there.
 *
 *   SELECT -> VERSION -> NEXT -> LOCATED -> ANSWERED -> NEXT ...
 *      ^_ a child read           ^____________|  (another replica, or a pause)
 *
 * [low, high) is what has not been read. Each round takes a piece at its near end (`low`; reverse: `high`) that lies in one
 * shard and up to the next range that the transaction cleared: what it cleared is skipped without asking anybody. The answer covers the
 * piece, or its part up to the last pair when the server stopped at a limit; over that part the two ordered lists are merged.
 *
 * Selectors are range reads too: the n-th key from a place is the n-th pair of a read with limit n. What a read really
 * covered becomes its conflict range, without what the own writes answered. */
#include <assert.h>

#include "net/buggify.h"
#include "txn/client/client_internal.h"

enum { SELECT, VERSION, NEXT, LOCATED, ANSWERED, PAUSED, RANGE_STAGES };

static struct transaction_range *range_of(struct op *op)
{
    return container_of(op, struct transaction_range, op);
}

static const struct op_type range_type;

/* ---- pairs ---- */

static bool limits_reached(const struct transaction_range *range)
{
    return (range->options.limit != 0 && range->pair_count >= range->options.limit) ||
           (range->options.bytes_limit != 0 && range->bytes >= range->options.bytes_limit);
}

static int emit(struct transaction_range *range, struct bytes key, struct bytes value)
{
    struct client_pair *pair;

    if (range->pair_count == range->pair_capacity) {
        uint32_t capacity = range->pair_capacity == 0 ? 16 : range->pair_capacity * 2;
        struct client_pair *grown = mem_realloc(range->pairs, capacity * sizeof(*grown));

        if (grown == NULL)
            return ERROR_OUT_OF_MEMORY;
        range->pairs = grown;
        range->pair_capacity = capacity;
    }
    pair = &range->pairs[range->pair_count];
    if (arena_copy(&range->arena, key, &pair->key) != 0 || arena_copy(&range->arena, value, &pair->value) != 0)
        return ERROR_OUT_OF_MEMORY;
    range->pair_count++;
    range->bytes += key.len + value.len;
    range->full = limits_reached(range);
    return 0;
}

/* ---- the own writes ---- */

static int keep_segment(struct transaction_range *range, const struct ryw_segment *segment)
{
    if (range->own_count == range->own_capacity) {
        uint32_t capacity = range->own_capacity == 0 ? 8 : range->own_capacity * 2;
        struct ryw_segment *grown = mem_realloc(range->own, capacity * sizeof(*grown));

        if (grown == NULL)
            return ERROR_OUT_OF_MEMORY;
        range->own = grown;
        range->own_capacity = capacity;
    }
    range->own[range->own_count++] = *segment;
    return 0;
}

/* Takes down what the transaction has written in [begin, end), as far as the limit can make it matter: that many own pairs
 * end the read at the latest. Under the lock. */
static int capture(struct transaction_range *range)
{
    const struct transaction *txn = range->txn;
    struct ryw_cursor cursor;
    struct ryw_segment segment;
    uint32_t sets = 0;

    range->own_count = range->own_next = 0;
    range->low = range->begin;
    range->high = range->end;
    if (txn->ryw_off || (range->options.snapshot && txn->settings.snapshot_ryw_off))
        return 0;
    ryw_cursor_init(&cursor, &txn->ryw, range->begin, range->end, range->options.reverse);
    while ((range->options.limit == 0 || sets < range->options.limit) && ryw_cursor_next(&cursor, &segment)) {
        if (segment.value.kind == RYW_UNREADABLE && txn->bypass_unreadable)
            continue;
        if (keep_segment(range, &segment) != 0)
            return ERROR_OUT_OF_MEMORY;
        sets += segment.value.kind == RYW_SET;
    }
    return 0;
}

static const struct ryw_segment *own_at(const struct transaction_range *range)
{
    return range->own_next < range->own_count ? &range->own[range->own_next] : NULL;
}

/* One own point, with what the database has there (NULL: nothing). */
static int emit_own(struct transaction_range *range, const struct ryw_segment *segment, const struct bytes *existing)
{
    struct bytes value = existing == NULL ? bytes_none() : *existing;
    bool exists = existing != NULL;
    struct arena arena = {0};
    int error = 0;

    switch (segment->value.kind) {
    case RYW_SET:
        return emit(range, segment->begin, segment->value.value);
    case RYW_CLEARED:
        return 0;
    case RYW_UNREADABLE:
        return ERROR_ACCESSED_UNREADABLE;
    default:
        error = ryw_apply(&arena, segment->value.ops, exists, value, &exists, &value);
        if (error == 0 && exists)
            error = emit(range, segment->begin, value);
        arena_done(&arena);
        return error;
    }
}

/* ---- one piece ---- */

static int key_after_in(struct transaction_range *range, struct bytes key, struct bytes *ret)
{
    return key_after(&range->arena, key, ret);
}

static bool empty(const struct transaction_range *range)
{
    return bytes_compare(range->low, range->high) >= 0;
}

/* Forward: passes over a cleared range that covers `low`. *ret_progress: something was passed. */
static int skip_forward(struct transaction_range *range, bool *ret_progress)
{
    const struct ryw_segment *segment = own_at(range);

    *ret_progress = false;
    if (segment == NULL || segment->is_point)
        return 0;
    if (bytes_compare(segment->begin, range->low) > 0)
        return 0;
    *ret_progress = true;
    range->own_next++;
    if (bytes_compare(segment->end, range->low) <= 0)
        return 0;
    if (segment->value.kind == RYW_UNREADABLE)
        return ERROR_ACCESSED_UNREADABLE;
    return arena_copy(&range->arena, segment->end, &range->low);
}

static int skip_reverse(struct transaction_range *range, bool *ret_progress)
{
    const struct ryw_segment *segment = own_at(range);

    *ret_progress = false;
    if (segment == NULL || segment->is_point)
        return 0;
    if (bytes_compare(segment->end, range->high) < 0)
        return 0;
    *ret_progress = true;
    range->own_next++;
    if (bytes_compare(segment->begin, range->high) >= 0)
        return 0;
    if (segment->value.kind == RYW_UNREADABLE)
        return ERROR_ACCESSED_UNREADABLE;
    return segment->begin_open ? key_after_in(range, segment->begin, &range->high)
                               : arena_copy(&range->arena, segment->begin, &range->high);
}

/* The far end of the piece: where the next range of own writes lies. */
static int choose_piece(struct transaction_range *range)
{
    range->piece_low = range->low;
    range->piece_high = range->high;
    for (uint32_t i = range->own_next; i < range->own_count; i++) {
        const struct ryw_segment *segment = &range->own[i];

        if (segment->is_point)
            continue;
        if (!range->options.reverse) /* an open begin is a point of its own, merged before */
            return segment->begin_open ? key_after_in(range, segment->begin, &range->piece_high)
                                       : arena_copy(&range->arena, segment->begin, &range->piece_high);
        return arena_copy(&range->arena, segment->end, &range->piece_low);
    }
    return 0;
}

/* Under the lock: makes [piece_low, piece_high) the next thing to read; false in *ret_more if nothing is left. */
static int next_piece(struct transaction_range *range, bool *ret_more)
{
    bool progress = true;
    int error = 0;

    *ret_more = false;
    while (progress && error == 0 && !empty(range))
        error = range->options.reverse ? skip_reverse(range, &progress) : skip_forward(range, &progress);
    if (error != 0 || empty(range))
        return error;
    *ret_more = true;
    return choose_piece(range);
}

struct pair_cursor {
    struct bytes left;
    struct bytes key, value;
    bool here;
};

static void next_pair(struct pair_cursor *cursor)
{
    uint32_t key_len, value_len;

    cursor->here = false;
    if (cursor->left.len < 8)
        return;
    key_len = get_le32(cursor->left.ptr);
    value_len = get_le32(cursor->left.ptr + 4);
    if ((uint64_t)8 + key_len + value_len > cursor->left.len)
        return;
    cursor->key = bytes_of(cursor->left.ptr + 8, key_len);
    cursor->value = bytes_of(cursor->key.ptr + key_len, value_len);
    cursor->left = bytes_of(cursor->value.ptr + value_len, cursor->left.len - 8 - key_len - value_len);
    cursor->here = true;
}

/* < 0: `a` comes first in the direction of the read. */
static int order(const struct transaction_range *range, struct bytes a, struct bytes b)
{
    return range->options.reverse ? bytes_compare(b, a) : bytes_compare(a, b);
}

static bool own_point_within(const struct transaction_range *range, struct bytes low, struct bytes high)
{
    const struct ryw_segment *segment = own_at(range);

    return segment != NULL && segment->is_point && bytes_compare(segment->begin, low) >= 0 &&
           bytes_compare(segment->begin, high) < 0;
}

/* Merges the pairs of [low, high) with the own points there. Under the lock. */
static int merge(struct transaction_range *range, struct bytes pairs, struct bytes low, struct bytes high)
{
    struct pair_cursor cursor = {.left = pairs};
    int error = 0;

    next_pair(&cursor);
    while (error == 0 && !range->full && (cursor.here || own_point_within(range, low, high))) {
        bool own = own_point_within(range, low, high);
        int first = !own ? 1 : !cursor.here ? -1 : order(range, own_at(range)->begin, cursor.key);

        if (first > 0)
            error = emit(range, cursor.key, cursor.value);
        else
            error = emit_own(range, own_at(range), first == 0 ? &cursor.value : NULL);
        if (first <= 0)
            range->own_next++;
        if (first >= 0)
            next_pair(&cursor);
    }
    return error;
}

/* Every pair must lie in the piece, in order. Returns how many there are, or -1; *ret_last is the last key. */
static int64_t check_pairs(const struct transaction_range *range, struct bytes pairs, struct bytes *ret_last)
{
    struct pair_cursor cursor = {.left = pairs};
    int64_t count = 0;

    for (next_pair(&cursor); cursor.here; next_pair(&cursor)) {
        if (bytes_compare(cursor.key, range->piece_low) < 0 || bytes_compare(cursor.key, range->piece_high) >= 0)
            return -1;
        if (count > 0 && order(range, *ret_last, cursor.key) >= 0)
            return -1;
        *ret_last = cursor.key;
        count++;
    }
    return cursor.left.len == 0 ? count : -1;
}

/* What the answer covers becomes read. ERROR_BROKEN_PROMISE: it is not an answer to what was asked. */
static int take_answer(struct transaction_range *range, const struct get_range_reply *reply)
{
    struct bytes low = range->piece_low, high = range->piece_high, last = bytes_none();
    int64_t count = check_pairs(range, reply->pairs, &last);
    int error = 0;

    if (count < 0 || (reply->more && count == 0))
        return ERROR_BROKEN_PROMISE;
    if (reply->more && range->options.reverse)
        error = arena_copy(&range->arena, last, &low);
    else if (reply->more)
        error = key_after_in(range, last, &high);
    if (error == 0)
        error = merge(range, reply->pairs, low, high);
    if (range->options.reverse)
        range->high = low;
    else
        range->low = high;
    return error;
}

/* ---- the end ---- */

/* Adds the conflict ranges of [begin, end) but for what the own writes answered. Under the lock. */
static int add_conflicts(struct transaction_range *range, struct bytes begin, struct bytes end)
{
    struct bytes_buffer *table = &range->txn->read_conflicts;
    size_t before = table->len;
    int error = 0;

    for (uint32_t n = 0; n < range->own_count && error == 0; n++) {
        const struct ryw_segment *segment = &range->own[range->options.reverse ? range->own_count - 1 - n : n];
        struct bytes after = segment->end;

        if (segment->value.kind != RYW_SET && segment->value.kind != RYW_CLEARED)
            continue;
        if (bytes_compare(segment->begin, end) >= 0)
            break;
        if (segment->is_point)
            error = key_after_in(range, segment->begin, &after);
        if (error != 0 || bytes_compare(after, begin) <= 0)
            continue;
        if (bytes_compare(segment->begin, begin) > 0)
            error = conflict_range_append(table, begin, segment->begin);
        begin = after;
    }
    if (error == 0 && bytes_compare(begin, end) < 0)
        error = conflict_range_append(table, begin, end);
    range->txn->size += table->len - before;
    return error;
}

static int add_covered(struct transaction_range *range)
{
    struct bytes begin = range->begin, end = range->end;
    struct bytes last = range->pair_count > 0 ? range->pairs[range->pair_count - 1].key : bytes_none();
    int error = 0;

    if (range->options.snapshot)
        return 0;
    if (range->more && range->options.reverse)
        begin = last;
    else if (range->more)
        error = key_after_in(range, last, &end);
    return error != 0 ? error : add_conflicts(range, begin, end);
}

static bool is_current(const struct transaction_range *range)
{
    return range->incarnation == transaction_incarnation(range->txn);
}

static enum op_result finish(struct transaction_range *range)
{
    int error;

    range->more = range->full;
    transaction_lock(range->txn);
    error = is_current(range) ? add_covered(range) : ERROR_TRANSACTION_CANCELLED;
    transaction_unlock(range->txn);
    return op_finish(&range->op, error);
}

/* ---- stages ---- */

/* The selectors that no read is needed for: the first key at or after a place. */
static bool is_place(const struct key_selector *selector)
{
    return selector->offset == 1;
}

static int place_of(struct transaction_range *range, const struct key_selector *selector, struct bytes *ret)
{
    return selector->or_equal ? key_after_in(range, selector->key, ret) : arena_copy(&range->arena, selector->key, ret);
}

/* Under the lock. */
static struct bytes space_end(const struct transaction *txn)
{
    return txn->system_read || txn->raw_access ? KEY_SYSTEM_END : KEY_SYSTEM_BEGIN;
}

static struct bytes space_end_locked(struct transaction *txn)
{
    struct bytes end;

    transaction_lock(txn);
    end = space_end(txn);
    transaction_unlock(txn);
    return end;
}

/* Begin and end have become places: what will be read is known. Under the lock. */
static int fix_bounds(struct transaction_range *range)
{
    struct bytes end = space_end(range->txn);
    int error = place_of(range, &range->begin_selector, &range->begin);

    if (error == 0)
        error = place_of(range, &range->end_selector, &range->end);
    range->end = bytes_min(range->end, end);
    range->begin = bytes_min(range->begin, end);
    if (bytes_compare(range->begin, range->end) > 0)
        range->end = range->begin;
    return error != 0 ? error : capture(range);
}

/* The n-th key from a place, as a child's range read. */
static enum op_result start_child(struct transaction_range *range, const struct key_selector *selector)
{
    struct key_selector start = {selector->key, selector->or_equal, 1};
    struct key_selector first = SELECT_FIRST_AT_OR_AFTER(bytes_none()), last;
    struct transaction_range_options options = {.snapshot = range->options.snapshot};
    bool ready;

    range->child = mem_zalloc(sizeof(*range->child));
    if (range->child == NULL)
        return op_finish(&range->op, ERROR_OUT_OF_MEMORY);
    last = SELECT_FIRST_AT_OR_AFTER(space_end_locked(range->txn));
    options.reverse = selector->offset < 1;
    options.limit = selector->offset < 1 ? 1 + (uint32_t)-(int64_t)selector->offset : (uint32_t)selector->offset;
    ready = options.reverse ? transaction_range_prepare(range->child, range->txn, first, start, &options)
                            : transaction_range_prepare(range->child, range->txn, start, last, &options);
    if (ready)
        return op_finish(&range->op, range->child->call.error);
    if (range->child->incarnation != range->incarnation) /* a reset that is not synced yet; this op can't be ended while it runs */
        return op_finish(&range->op, ERROR_TRANSACTION_CANCELLED);
    transaction_range_submit(range->child, &range->op);
    return op_wait(&range->op, SELECT);
}

static int take_child(struct transaction_range *range)
{
    struct key_selector *selector = is_place(&range->begin_selector) ? &range->end_selector : &range->begin_selector;
    struct transaction_range *child = range->child;
    uint32_t wanted = child->options.limit;
    struct bytes key = child->options.reverse ? bytes_none() : space_end_locked(range->txn);
    int error = child->call.error;

    if (error == 0 && child->pair_count == wanted)
        key = child->pairs[wanted - 1].key;
    *selector = SELECT_FIRST_AT_OR_AFTER(bytes_none());
    if (error == 0)
        error = arena_copy(&range->arena, key, &selector->key);
    transaction_range_done(child);
    mem_free(child);
    range->child = NULL;
    return error;
}

static enum op_result select_stage(struct op *op)
{
    struct transaction_range *range = range_of(op);
    int error = range->child == NULL ? 0 : take_child(range);

    if (error != 0)
        return op_finish(op, error);
    if (!is_place(&range->begin_selector))
        return start_child(range, &range->begin_selector);
    if (!is_place(&range->end_selector))
        return start_child(range, &range->end_selector);
    if (range->begin.ptr == NULL) {
        transaction_lock(range->txn);
        error = is_current(range) ? fix_bounds(range) : ERROR_TRANSACTION_CANCELLED;
        transaction_unlock(range->txn);
    }
    return error != 0 ? op_finish(op, error) : op_move(op, VERSION);
}

static enum op_result version_stage(struct op *op)
{
    struct transaction_range *range = range_of(op);

    if (range->txn->grv_error != 0)
        return op_finish(op, range->txn->grv_error);
    if (!transaction_version_or_ask(range->txn, &range->version))
        return op_wait(op, VERSION);
    return op_move(op, NEXT);
}

void range_fail(struct transaction_range *range, int error)
{
    if (range->call.under_way)
        client_call_end(&range->call, error);
    op_cancel(&range->op);
}

void range_version_known(struct transaction_range *range)
{
    if (range->op.owner != NULL && range->op.stage == VERSION && range->op.waiting)
        op_resume(&range->op);
}

static void located(struct client_locate *locate)
{
    op_resume(&container_of(locate, struct transaction_range, locate)->op);
}

static struct bytes near_end(const struct transaction_range *range)
{
    return range->options.reverse ? range->high : range->low;
}

static enum op_result next(struct op *op)
{
    struct transaction_range *range = range_of(op);
    bool more = false;
    int error = 0;

    transaction_lock(range->txn);
    if (!is_current(range))
        error = ERROR_TRANSACTION_CANCELLED;
    else if (!range->full)
        error = next_piece(range, &more);
    transaction_unlock(range->txn);
    if (error != 0)
        return op_finish(op, error);
    if (!more)
        return finish(range);
    range->tried = 0;
    range->delay_us = 0;
    return op_move(op, LOCATED);
}

static int fill_request(struct transaction_range *range, struct message *message, struct get_range *body)
{
    const struct transaction_range_options *options = &range->options;

    body->version = range->version;
    body->reverse = options->reverse;
    body->limit = options->limit == 0 ? 0 : options->limit - range->pair_count;
    body->bytes_limit = options->bytes_limit == 0 ? 0 : options->bytes_limit - (uint32_t)range->bytes;
    if (arena_copy(&message->arena, range->piece_low, &body->begin) != 0)
        return ERROR_OUT_OF_MEMORY;
    return arena_copy(&message->arena, range->piece_high, &body->end);
}

static enum op_result ask(struct transaction_range *range)
{
    struct client *client = range->txn->client;
    struct message *message;
    struct get_range *body = MESSAGE_NEW(get_range, &message);

    if (body == NULL || fill_request(range, message, body) != 0) {
        message_unref(message);
        return op_finish(&range->op, ERROR_OUT_OF_MEMORY);
    }
    rpc_call_start(&range->rpc, &range->op, client->rpc, &range->server->endpoint, message,
                   client->env->knobs.client_request_timeout_us);
    return op_wait(&range->op, ANSWERED);
}

/* Forgets the location and comes back after a pause. */
static enum op_result pause_then_locate(struct transaction_range *range)
{
    location_forget(range->txn->client, near_end(range), range->options.reverse);
    range->tried = 0;
    wait_timer_start(&range->timer, &range->op, range->delay_us);
    range->delay_us = range->delay_us == 0 ? RETRY_DELAY_US_MIN : range->delay_us * 2;
    if (range->delay_us > RETRY_DELAY_US_MAX)
        range->delay_us = RETRY_DELAY_US_MAX;
    return op_wait(&range->op, PAUSED);
}

static enum op_result paused(struct op *op)
{
    return op_move(op, LOCATED);
}

/* Cuts the piece to the shard; the location may have changed since an earlier try. */
static int cut_piece(struct transaction_range *range, const struct client_location *location)
{
    if (bytes_compare(range->piece_low, location->begin) < 0)
        return arena_copy(&range->arena, location->begin, &range->piece_low);
    if (bytes_compare(range->piece_high, location->end) > 0)
        return arena_copy(&range->arena, location->end, &range->piece_high);
    return 0;
}

static enum op_result located_stage(struct op *op)
{
    struct transaction_range *range = range_of(op);
    struct client *client = range->txn->client;
    struct bytes key = near_end(range);
    const struct client_location *location = location_find(client, key, range->options.reverse);

    if (location == NULL) {
        range->locate = (struct client_locate){.key = key, .before = range->options.reverse, .got = located};
        range->tried = 0;
        locate_ask(client, &range->locate);
        return op_wait(op, LOCATED);
    }
    if (cut_piece(range, location) != 0)
        return op_finish(op, ERROR_OUT_OF_MEMORY);
    range->server = location_pick(client, location, range->tried, &range->replica);
    if (range->server == NULL)
        return pause_then_locate(range);
    range->server->refs++;
    server_sent(range->server, 1);
    return ask(range);
}

static enum op_result one_failed(struct transaction_range *range, int error)
{
    struct client *client = range->txn->client;
    const struct client_location *location = location_find(client, near_end(range), range->options.reverse);
    uint32_t replica;

    PROBE(client->env, "a range read failed at one replica");
    if (error == ERROR_WRONG_SHARD_SERVER)
        return pause_then_locate(range);
    if (error == ERROR_TRANSACTION_TOO_OLD)
        return op_finish(&range->op, error);
    range->tried |= UINT32_C(1) << range->replica;
    if (location != NULL && location_pick(client, location, range->tried, &replica) != NULL)
        return op_move(&range->op, LOCATED);
    return client_error_is_transport(error) ? pause_then_locate(range) : op_finish(&range->op, error);
}

static void leave_server(struct transaction_range *range)
{
    if (range->server != NULL)
        server_left(range->server, 1);
    server_unref(range->txn->client, range->server);
    range->server = NULL;
}

static enum op_result answered(struct op *op)
{
    struct transaction_range *range = range_of(op);
    struct client *client = range->txn->client;
    int error = range->rpc.error;

    if (error == 0)
        server_answered(client, range->server, client->env->turn_us - range->rpc.started_us);
    else if (client_error_is_transport(error))
        server_failed(client, range->server, client->env->turn_us - range->rpc.started_us);
    leave_server(range);
    if (error == 0) {
        transaction_lock(range->txn);
        error = is_current(range) ? take_answer(range, MESSAGE_BODY(get_range_reply, range->rpc.reply))
                                  : ERROR_TRANSACTION_CANCELLED;
        transaction_unlock(range->txn);
        rpc_call_clear(&range->rpc);
        if (error == 0)
            return op_move(op, NEXT);
        if (error != ERROR_BROKEN_PROMISE)
            return op_finish(op, error);
    }
    return one_failed(range, error);
}

static void ended(struct op *op)
{
    struct transaction_range *range = range_of(op);
    struct transaction *txn = range->txn;

    locate_cancel(&range->locate);
    rpc_call_clear(&range->rpc);
    leave_server(range);
    if (range->child != NULL) {
        transaction_range_done(range->child);
        mem_free(range->child);
        range->child = NULL;
    }
    list_remove(&range->link);
    if (range->call.under_way) { /* not cancelled */
        client_call_end(&range->call, op->error);
        if (op->error != 0)
            transaction_read_failed(txn, range->incarnation, op->error);
    }
    transaction_reads_changed(txn);
}

static const struct op_stage stages[RANGE_STAGES] = {
    [SELECT] = {"SELECT", select_stage, OP_STAGE(SELECT) | OP_STAGE(VERSION)},
    [VERSION] = {"VERSION", version_stage, OP_STAGE(VERSION) | OP_STAGE(NEXT)},
    [NEXT] = {"NEXT", next, OP_STAGE(LOCATED)},
    [LOCATED] = {"LOCATED", located_stage, OP_STAGE(LOCATED) | OP_STAGE(ANSWERED) | OP_STAGE(PAUSED)},
    [ANSWERED] = {"ANSWERED", answered, OP_STAGE(NEXT) | OP_STAGE(LOCATED) | OP_STAGE(PAUSED)},
    [PAUSED] = {"PAUSED", paused, OP_STAGE(LOCATED)},
};
static const struct op_type range_type = {
    .name = "client_range", .stages = stages, .stage_count = RANGE_STAGES, .queue = READY_READ, .ended = ended};

/* ---- start ---- */

static void cancelled(struct client_call *call)
{
    op_cancel(&container_of(call, struct transaction_range, call)->op);
}

static int keep_selector(struct transaction_range *range, struct key_selector selector, struct key_selector *ret)
{
    size_t max = key_bytes_max(selector.key) + 1;

    *ret = selector;
    if (selector.key.len > max) /* no key is that long: where it would stand is the same place */
        selector.key.len = max;
    return arena_copy(&range->arena, selector.key, &ret->key);
}

static int prepare(struct transaction_range *range, struct transaction *txn)
{
    int error = transaction_failure(txn);

    if (error == 0)
        error = transaction_check_read(txn, range->begin_selector.key, true);
    if (error == 0)
        error = transaction_check_read(txn, range->end_selector.key, true);
    if (error == 0 && is_place(&range->begin_selector) && is_place(&range->end_selector))
        error = fix_bounds(range);
    txn->touched = true;
    return error;
}

bool transaction_range_prepare(struct transaction_range *range, struct transaction *txn, struct key_selector begin,
                               struct key_selector end, const struct transaction_range_options *options)
{
    int error;

    arena_reset(&range->arena);
    range->txn = txn;
    range->options = *options;
    range->pair_count = range->own_count = range->own_next = 0;
    range->bytes = 0;
    range->more = range->full = false;
    range->begin = range->end = bytes_none();
    error = keep_selector(range, begin, &range->begin_selector);
    if (error == 0)
        error = keep_selector(range, end, &range->end_selector);
    transaction_lock(txn);
    range->incarnation = transaction_incarnation(txn);
    if (error == 0)
        error = prepare(range, txn);
    transaction_unlock(txn);
    range->call.error = error;
    return error != 0;
}

void transaction_range_submit(struct transaction_range *range, struct op *op)
{
    struct transaction *txn = range->txn;

    transaction_call_begin(txn, &range->call, op, cancelled);
    list_push_back(&txn->ranges, &range->link);
    op_start(&range->op, &range_type, &txn->client->ops);
    if (range->incarnation != txn->synced_incarnation)
        transaction_sync(txn);
}

void transaction_range_start(struct transaction_range *range, struct op *op, struct transaction *txn, struct key_selector begin,
                             struct key_selector end, const struct transaction_range_options *options)
{
    int error;

    if (!transaction_range_prepare(range, txn, begin, end, options)) {
        transaction_range_submit(range, op);
        return;
    }
    error = range->call.error;
    transaction_call_begin(txn, &range->call, op, cancelled);
    client_call_end(&range->call, error);
}

void transaction_range_done(struct transaction_range *range)
{
    client_call_cancel(&range->call);
    arena_done(&range->arena);
    mem_free(range->pairs);
    mem_free(range->own);
    range->pairs = NULL;
    range->own = NULL;
    range->pair_capacity = range->own_capacity = range->pair_count = range->own_count = 0;
}
