/* Asking the resolvers: each gets the part of every transaction's ranges that lies in its part of the key space.
 *
 * The tables are copied into the requests: a resolver of the same process may hold a request for longer than this proxy lives. A
 * transaction that has nothing for a resolver is not sent to it, unless it changes metadata: those go to all, for each
 * resolver tells the other proxies of them. */
#include <assert.h>

#include "net/buggify.h"
#include "net/error.h"
#include "roles/commit_proxy/commit_proxy_impl.h"
#include "txn/conflict_range.h"
#include "txn/keys.h"

static int copy_clipped_range(const struct conflict_range *range, struct bytes low, const struct bytes *high,
                              struct bytes_buffer *out)
{
    struct bytes begin = bytes_max(range->begin, low), end;

    if (range->is_point) {
        if (bytes_compare(range->begin, low) < 0 || (high != NULL && bytes_compare(range->begin, *high) >= 0))
            return 0;
        return conflict_range_append_point(out, range->begin);
    }
    end = high == NULL ? range->end : bytes_min(range->end, *high);
    return bytes_compare(begin, end) < 0 ? conflict_range_append(out, begin, end) : 0;
}

/* *ret_part lives in the arena. */
static int clip(struct bytes table, struct bytes low, const struct bytes *high, struct arena *arena, struct bytes *ret_part)
{
    struct bytes_buffer out = {0};
    struct conflict_range range;
    int error = 0;

    if (low.len == 0 && high == NULL)
        return arena_copy(arena, table, ret_part);
    while (error == 0 && conflict_range_next(&table, &range) == 0)
        error = copy_clipped_range(&range, low, high, &out);
    if (error == 0)
        error = arena_copy(arena, bytes_buffer_bytes(&out), ret_part);
    bytes_buffer_done(&out);
    return error;
}

static int add_transaction(const struct commit_item *item, struct bytes low, const struct bytes *high, struct arena *arena,
                           struct resolve_transaction *ret)
{
    int error = clip(item->body->read_conflicts, low, high, arena, &ret->read_conflicts);

    if (error == 0)
        error = clip(item->body->write_conflicts, low, high, arena, &ret->write_conflicts);
    if (error == 0 && item->metadata.len > 0)
        error = arena_copy(arena, item->metadata, &ret->mutations);
    ret->read_version = item->body->read_version;
    ret->flags = (item->metadata.len > 0 ? RESOLVE_METADATA : 0) |
                 ((item->flags & (COMMIT_LOCK_AWARE | COMMIT_RECOVERY)) != 0 ? RESOLVE_LOCK_AWARE : 0) |
                 ((item->flags & COMMIT_REPORT_CONFLICTS) != 0 ? RESOLVE_REPORT_CONFLICTS : 0);
    return error;
}

static int add_transactions(struct commit_batch *batch, uint32_t index, struct arena *arena, struct resolve *body)
{
    const struct commit_proxy *proxy = batch->proxy;
    struct bytes low = proxy->resolvers[index].begin;
    const struct bytes *high = index + 1 < proxy->resolver_count ? &proxy->resolvers[index + 1].begin : NULL;

    for (uint32_t i = 0; i < batch->count; i++) {
        struct resolve_transaction *transaction = &body->transactions[body->transactions_count];
        int error;

        if (batch->items[i].error != 0)
            continue;
        *transaction = (struct resolve_transaction){0};
        error = add_transaction(&batch->items[i], low, high, arena, transaction);
        if (error != 0)
            return error;
        if (transaction->read_conflicts.len + transaction->write_conflicts.len + transaction->mutations.len > 0)
            batch->asked[index].items[body->transactions_count++] = i;
    }
    return 0;
}

int commit_resolve_request(struct commit_batch *batch, uint32_t index, struct message **ret_request)
{
    struct commit_proxy *proxy = batch->proxy;
    struct message *message;
    struct resolve *body = MESSAGE_NEW(resolve, &message);
    int error = ERROR_OUT_OF_MEMORY;

    if (body == NULL)
        return ERROR_OUT_OF_MEMORY;
    body->epoch = proxy->epoch;
    body->proxy = proxy->id;
    body->version = batch->version;
    body->prev_version = batch->prev_version;
    body->known_version = BUGGIFY(proxy->context.env, "a proxy says that it knows less metadata than it does")
                              ? proxy->recovery_version
                              : proxy->applied_version;
    body->transactions = arena_alloc(&message->arena, batch->count * sizeof(*body->transactions));
    batch->asked[index].items = arena_alloc(&batch->arena, batch->count * sizeof(uint32_t));
    if (body->transactions != NULL && batch->asked[index].items != NULL)
        error = add_transactions(batch, index, &message->arena, body);
    if (error != 0) {
        message_unref(message);
        return error;
    }
    batch->asked[index].count = body->transactions_count;
    *ret_request = message;
    return 0;
}

/* ---- the replies ---- */

static int error_of(uint32_t verdict)
{
    return verdict == VERDICT_COMMITTED ? 0 : verdict == VERDICT_CONFLICT ? ERROR_NOT_COMMITTED : ERROR_TRANSACTION_TOO_OLD;
}

static int copy_conflict(struct arena *arena, const struct conflict *from, struct conflict *to)
{
    int error = arena_copy(arena, from->read_begin, &to->read_begin);

    to->version = from->version;
    if (error == 0)
        error = arena_copy(arena, from->read_end, &to->read_end);
    if (error == 0)
        error = arena_copy(arena, from->written_begin, &to->written_begin);
    return error != 0 ? error : arena_copy(arena, from->written_end, &to->written_end);
}

/* What a resolver reports, for the answer to the client: its item's list grows by a copy. */
static int keep_conflicts(struct commit_batch *batch, uint32_t index, const struct resolve_reply *reply)
{
    if (reply->reporters_count != reply->conflicts_count)
        return ERROR_OPERATION_FAILED;
    for (uint32_t i = 0; i < reply->conflicts_count; i++) {
        struct reported_conflict *reported = arena_zalloc(&batch->arena, sizeof(*reported));
        struct commit_item *item;

        if (reply->reporters[i] >= batch->asked[index].count)
            return ERROR_OPERATION_FAILED;
        if (reported == NULL || copy_conflict(&batch->arena, &reply->conflicts[i], &reported->conflict) != 0)
            return ERROR_OUT_OF_MEMORY;
        item = &batch->items[batch->asked[index].items[reply->reporters[i]]];
        reported->next = item->conflicts;
        item->conflicts = reported;
        item->conflict_count++;
    }
    return 0;
}

static int judge_by(struct commit_batch *batch, uint32_t index, const struct resolve_reply *reply)
{
    if (reply->verdicts_count != batch->asked[index].count)
        return ERROR_OPERATION_FAILED;
    if (reply->version != 0 &&
        (reply->version != batch->version || reply->resolver != batch->proxy->resolvers[index].endpoint.id))
        return ERROR_OPERATION_FAILED; /* of another batch, or for another part of the key space */
    for (uint32_t i = 0; i < reply->verdicts_count; i++) {
        struct commit_item *item = &batch->items[batch->asked[index].items[i]];
        int error = error_of(reply->verdicts[i]);

        if (reply->verdicts[i] > VERDICT_TOO_OLD)
            return ERROR_OPERATION_FAILED;
        if (item->error != 0 && error == 0)
            PROBE(batch->proxy->context.env, "one resolver says conflict, another does not");
        if (item->error == 0 || error == ERROR_TRANSACTION_TOO_OLD)
            item->error = error;
    }
    return keep_conflicts(batch, index, reply);
}

int commit_resolve_judge(struct commit_batch *batch)
{
    for (uint32_t i = 0; i < batch->proxy->resolver_count; i++) {
        int error = judge_by(batch, i, MESSAGE_BODY(resolve_reply, batch->calls[i].reply));

        if (error != 0)
            return error;
    }
    return 0;
}
