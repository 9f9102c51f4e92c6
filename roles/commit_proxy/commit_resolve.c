/* Asking the resolvers: each gets what of every transaction's ranges lies in its part of the key space.
 *
 * The parts change within an epoch (txn/resolver_map.h, whose R1 to R4 are kept here): writes are cut by the partition that counts at
 * the batch's version, reads by all that have counted since the read version, so that who held a key before is asked as well.
 * Mostly that is the one partition; just after a change it is two.
 *
 * The tables are copied into the requests: a resolver of the same process may hold a request for longer than this proxy lives. A
 * transaction that has nothing for a resolver is not sent to it, unless it changes metadata: those go to all, for each
 * resolver tells the other proxies of them. */
#include <assert.h>

#include "net/buggify.h"
#include "net/error.h"
#include "net/planted_bug.h"
#include "roles/commit_proxy/commit_proxy_impl.h"
#include "txn/conflict_range.h"
#include "txn/keys.h"

static int copy_clipped_range(const struct conflict_range *range, const struct key_part *part, struct bytes_buffer *out)
{
    struct bytes begin, end;

    if (range->is_point)
        return key_part_contains(part, range->begin) ? conflict_range_append_point(out, range->begin) : 0;
    begin = bytes_max(range->begin, part->begin);
    end = part->endless ? range->end : bytes_min(range->end, part->end);
    return bytes_compare(begin, end) < 0 ? conflict_range_append(out, begin, end) : 0;
}

/* What lies in the parts, which are apart from each other. *ret_part lives in the arena. */
static int clip(struct bytes table, const struct key_part *parts, uint32_t count, struct arena *arena, struct bytes *ret_part)
{
    struct bytes_buffer out = {0};
    struct conflict_range range;
    int error = 0;

    if (key_part_is_all(&parts[0]))
        return arena_copy(arena, table, ret_part);
    while (error == 0 && conflict_range_next(&table, &range) == 0)
        for (uint32_t i = 0; i < count && error == 0; i++)
            error = copy_clipped_range(&range, &parts[i], &out);
    if (error == 0)
        error = arena_copy(arena, bytes_buffer_bytes(&out), ret_part);
    bytes_buffer_done(&out);
    return error;
}

/* How a batch is cut for one resolver. */
struct cut {
    const struct resolver_map *map; /* borrowed */
    uint32_t resolver, now;         /* now: the index of the partition that counts at the batch's version */
    struct key_part writes;
    uint32_t first, read_count; /* reads: what it has held from partition `first` to `now` */
    struct key_part reads[RESOLVER_PARTITIONS_MAX];
};

static void cut_start(struct cut *cut, const struct commit_batch *batch, uint32_t resolver)
{
    const struct resolver_map *map = &batch->proxy->resolver_map;

    cut->map = map;
    cut->resolver = resolver;
    cut->now = cut->first = resolver_map_at(map, batch->version);
    cut->writes = cut->reads[0] = resolver_map_part(map, cut->now, resolver);
    cut->read_count = 1;
}

/* Makes cut->reads right for what was read then. */
static void cut_reads(struct cut *cut, struct env *env, version_t read_version)
{
    uint32_t first = cut->now;

    if (cut->now == 0 || PLANTED_BUG(OLD_RESOLVER_NOT_ASKED))
        return;
    resolver_map_reach(cut->map, read_version, &first); /* what it can't reach was refused */
    if (BUGGIFY(env, "a read goes to all who have held its keys, however long ago"))
        first = 0;
    if (first > cut->now) /* a newer partition came, and this batch is from before it */
        first = cut->now;
    if (first == cut->first)
        return;
    PROBE(env, "a read goes to those who held its keys before as well");
    cut->first = first;
    cut->read_count = resolver_map_parts(cut->map, first, cut->now, cut->resolver, cut->reads);
}

static int add_transaction(const struct commit_item *item, const struct cut *cut, struct arena *arena, struct resolve_transaction *ret)
{
    int error = clip(item->body->read_conflicts, cut->reads, cut->read_count, arena, &ret->read_conflicts);

    if (error == 0)
        error = clip(item->body->write_conflicts, &cut->writes, 1, arena, &ret->write_conflicts);
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
    struct cut cut;

    cut_start(&cut, batch, index);
    body->partition = cut.map->partitions[cut.now]->number;
    for (uint32_t i = 0; i < batch->count; i++) {
        struct resolve_transaction *transaction = &body->transactions[body->transactions_count];
        int error;

        if (batch->items[i].error != 0)
            continue;
        *transaction = (struct resolve_transaction){0};
        cut_reads(&cut, batch->op.env, batch->items[i].body->read_version);
        error = add_transaction(&batch->items[i], &cut, arena, transaction);
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
    if (batch->version > proxy->cut_version)
        proxy->cut_version = batch->version;
    *ret_request = message;
    return 0;
}

/* ---- partitions ---- */

int commit_resolve_take_partition(struct commit_batch *batch, const struct get_commit_version_reply *reply)
{
    struct commit_proxy *proxy = batch->proxy;
    struct resolver_map *map = &proxy->resolver_map;
    version_t from = PLANTED_BUG(PARTITION_ONE_BATCH_LATE) ? batch->version + 1 : reply->partition_from;
    int error;

    if (map->partitions[0]->from > batch->version) /* changes enough for it to be forgotten came meanwhile: nobody may do that */
        return ERROR_OPERATION_FAILED;
    if (reply->partition == 0)
        return 0;
    if (reply->partition <= resolver_map_newest(map)->number) {
        PROBE(proxy->context.env, "a partition of the resolvers is told again");
        return 0;
    }
    if (reply->partition_from > batch->version || from <= proxy->cut_version) /* R1 would not hold */
        return ERROR_OPERATION_FAILED;
    error = resolver_map_add(map, reply->partition, from, reply->begins, reply->begins_count);
    if (error == ERROR_CLIENT_INVALID_OPERATION)
        return ERROR_OPERATION_FAILED;
    PROBE(proxy->context.env, "the resolvers' parts change within an epoch");
    return error;
}

bool commit_resolve_is_forgotten(const struct commit_proxy *proxy, version_t read_version)
{
    uint32_t first;

    if (resolver_map_reach(&proxy->resolver_map, read_version, &first))
        return false;
    PROBE(proxy->context.env, "a read is too old because the resolvers of its time are forgotten");
    return true;
}

/* A batch above `version` has its predecessor at or above it, and its resolvers take no read below that by more than the window. */
void commit_resolve_forget(struct commit_proxy *proxy, version_t version)
{
    resolver_map_forget(&proxy->resolver_map, version - MAX_WRITE_TRANSACTION_LIFE_VERSIONS);
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
        item = &batch->items[PLANTED_BUG(CONFLICT_OF_OTHER) ? reply->reporters[i] : batch->asked[index].items[reply->reporters[i]]];
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
        (reply->version != batch->version || reply->resolver != batch->proxy->resolvers[index].id))
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
