/* What a range read does with an answer: pieces are cut at what the transaction cleared, and the server's pairs are merged with
 * what it wrote there. The pairs stay where the answer brought them: its memory becomes the range's. What the read really covered
 * becomes its conflict range, without what the own writes answered.
 *
 * Everything here runs under the transaction's lock, in the turn of the answer; nothing waits. */
#include "txn/client/client_internal.h"

/* ---- pairs ---- */

static bool limits_reached(const struct transaction_range *range)
{
    return (range->options.limit != 0 && range->pair_count >= range->options.limit) ||
           (range->options.bytes_limit != 0 && range->bytes >= range->options.bytes_limit);
}

static int count_one(struct transaction_range *range, struct bytes key)
{
    range->last_key.len = 0;
    range->pair_count++;
    range->full = limits_reached(range);
    return bytes_buffer_append(&range->last_key, key);
}

static int reserve_pairs(struct transaction_range *range, uint32_t more)
{
    uint32_t needed = range->pair_count + more, capacity = range->pair_capacity * 2;
    struct client_pair *grown;

    if (needed <= range->pair_capacity)
        return 0;
    capacity = capacity > needed ? capacity : needed;
    grown = mem_realloc(range->pairs, capacity * sizeof(*grown));
    if (grown == NULL)
        return ERROR_OUT_OF_MEMORY;
    range->pairs = grown;
    range->pair_capacity = capacity;
    return 0;
}

/* Of bytes that live as long as the range's arena. */
static int emit_kept(struct transaction_range *range, struct bytes key, struct bytes value)
{
    if (range->options.counts)
        return count_one(range, key);
    if (range->pair_count == range->pair_capacity && reserve_pairs(range, 8) != 0)
        return ERROR_OUT_OF_MEMORY;
    range->pairs[range->pair_count++] = (struct client_pair){key, value};
    range->bytes += key.len + value.len;
    range->full = limits_reached(range);
    return 0;
}

static int emit(struct transaction_range *range, struct bytes key, struct bytes value)
{
    if (!range->options.counts &&
        (arena_copy(&range->arena, key, &key) != 0 || arena_copy(&range->arena, value, &value) != 0))
        return ERROR_OUT_OF_MEMORY;
    return emit_kept(range, key, value);
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
int range_capture(struct transaction_range *range)
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
        if (segment.value.kind == RYW_UNREADABLE && txn->settings.bypass_unreadable)
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

int range_key_after(struct transaction_range *range, struct bytes key, struct bytes *ret)
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
    return segment->begin_open ? range_key_after(range, segment->begin, &range->high)
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
            return segment->begin_open ? range_key_after(range, segment->begin, &range->piece_high)
                                       : arena_copy(&range->arena, segment->begin, &range->piece_high);
        return arena_copy(&range->arena, segment->end, &range->piece_low);
    }
    return 0;
}

/* Under the lock: makes [piece_low, piece_high) the next thing to read; false in *ret_more if nothing is left. */
int range_next_piece(struct transaction_range *range, bool *ret_more)
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

/* Merges the pairs of [low, high), which live as long as the arena, with the own points there. Under the lock. */
static int merge(struct transaction_range *range, struct bytes pairs, struct bytes low, struct bytes high)
{
    struct pair_cursor cursor = {.left = pairs};
    int error = 0;

    next_pair(&cursor);
    while (error == 0 && !range->full && (cursor.here || own_point_within(range, low, high))) {
        bool own = own_point_within(range, low, high);
        int first = !own ? 1 : !cursor.here ? -1 : order(range, own_at(range)->begin, cursor.key);

        if (first > 0)
            error = emit_kept(range, cursor.key, cursor.value);
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
    struct bytes first = bytes_none(), last = bytes_none(), low, high;
    int64_t count = 0;

    for (next_pair(&cursor); cursor.here; next_pair(&cursor)) {
        if (count == 0)
            first = cursor.key;
        else if (order(range, last, cursor.key) >= 0)
            return -1;
        last = cursor.key;
        count++;
    }
    low = range->options.reverse ? last : first;
    high = range->options.reverse ? first : last;
    if (count > 0 && (bytes_compare(low, range->piece_low) < 0 || bytes_compare(high, range->piece_high) >= 0))
        return -1;
    *ret_last = last;
    return cursor.left.len == 0 ? count : -1;
}

/* The answer's memory becomes the range's, without a copy when nobody else has it. */
static int keep_answer(struct transaction_range *range, struct rpc_call *rpc, struct bytes *pairs)
{
    struct message *message = rpc_call_take(rpc);
    int error = 0;

    if (message_give(message, &range->arena))
        return 0;
    error = arena_copy(&range->arena, *pairs, pairs);
    message_unref(message);
    return error;
}

/* What the answer covers becomes read. ERROR_BROKEN_PROMISE: it is not an answer to what was asked. */
int range_take_answer(struct transaction_range *range, struct rpc_call *rpc)
{
    const struct get_range_reply *reply = MESSAGE_BODY(get_range_reply, rpc->reply);
    struct bytes low = range->piece_low, high = range->piece_high, last = bytes_none(), pairs = reply->pairs;
    bool more = reply->more;
    int64_t count = check_pairs(range, pairs, &last);
    int error = 0;

    if (count < 0 || (more && count == 0))
        return ERROR_BROKEN_PROMISE;
    if (more && range->options.reverse)
        error = arena_copy(&range->arena, last, &low);
    else if (more)
        error = range_key_after(range, last, &high);
    if (error == 0 && !range->options.counts)
        error = reserve_pairs(range, (uint32_t)count);
    if (error == 0 && !range->options.counts)
        error = keep_answer(range, rpc, &pairs);
    if (error == 0)
        error = merge(range, pairs, low, high);
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
            error = range_key_after(range, segment->begin, &after);
        if (error != 0 || bytes_compare(after, begin) <= 0)
            continue;
        if (bytes_compare(segment->begin, begin) > 0)
            error = conflict_range_append(table, begin, segment->begin);
        begin = after;
    }
    if (error == 0 && bytes_compare(begin, end) < 0)
        error = conflict_range_append(table, begin, end);
    transaction_charge_conflict(range->txn, table->len - before);
    return error;
}

struct bytes range_last_key(const struct transaction_range *range)
{
    if (range->options.counts)
        return bytes_buffer_bytes(&range->last_key);
    return range->pair_count > 0 ? range->pairs[range->pair_count - 1].key : bytes_none();
}

/* Nobody needs the values: the pairs are counted, and no atomic operation of the transaction's own rests on one. */
bool range_needs_keys_only(const struct transaction_range *range)
{
    for (uint32_t i = range->own_next; i < range->own_count; i++)
        if (range->own[i].value.kind == RYW_OPS)
            return false;
    return range->options.counts;
}

int range_add_covered(struct transaction_range *range)
{
    struct bytes begin = range->begin, end = range->end;
    struct bytes last = range_last_key(range);
    int error = 0;

    if (range->options.snapshot)
        return 0;
    if (range->more && range->options.reverse)
        begin = last;
    else if (range->more)
        error = range_key_after(range, last, &end);
    return error != 0 ? error : add_conflicts(range, begin, end);
}
