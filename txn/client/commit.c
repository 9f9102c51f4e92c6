/* A commit, and the fate of one whose answer was lost.
 *
 *   READS -> (SPECIAL ->) VERSION -> SEND -> ANSWERED -> (ended)
 *                        ^  |_ not sent: PAUSED -> SEND
 *                           |_ lost: FENCE -> FENCED -> (ended, 1021)
 *                                     ^________|  |  until it succeeds
 *                                                 |_ with an idempotency id: LOOKUP -> LOOKED -> (ended)
 *                                                                              ^________|  pages
 *
 * A lost answer (the proxy died after the commit was sent) leaves two possibilities, and a third that would be worse: that
 * the commit is still on its way and happens later. So every transaction that writes has a key that is in both its read and its write conflict
 * ranges (one under \xff/SC/ is added where there is none), and before 1021 is reported an empty transaction that writes
 * just that key is committed, again and again until it surely has been: from then on the lost commit either has happened or
 * conflicts. With an idempotency id the library then looks whether it has, and nothing is left unknown: 0, or 1020. */
#include <assert.h>
#include <stdio.h>

#include "net/buggify.h"
#include "net/planted_bug.h"
#include "net/trace.h"
#include "txn/client/client_internal.h"
#include "txn/client/special_keys.h"

enum { READS, SPECIAL, VERSION, SEND, ANSWERED, PAUSED, FENCE, FENCED, LOOKUP, LOOKED, LOOKUP_PAUSED, COMMIT_STAGES };
enum { COMPARISONS_MAX = 1024 };

static struct transaction *txn_of(struct op *op)
{
    return container_of(op, struct transaction, commit.op);
}

/* ---- the key in both conflict ranges ---- */

static bool ranges_meet(const struct conflict_range *a, const struct conflict_range *b, struct bytes *ret_key)
{
    bool a_first = bytes_compare(a->begin, b->begin) <= 0;
    const struct conflict_range *low = a_first ? a : b, *high = a_first ? b : a;

    *ret_key = high->begin;
    if (low->is_point)
        return bytes_equal(low->begin, high->begin);
    return bytes_compare(high->begin, low->end) < 0;
}

/* A key that was both read and written, if one is found cheaply. */
static bool find_common_key(const struct transaction *txn, struct bytes *ret_key)
{
    struct bytes reads = bytes_buffer_bytes(&txn->read_conflicts);
    struct conflict_range read, write;
    unsigned comparisons = 0;

    while (conflict_range_next(&reads, &read) == 0) {
        struct bytes writes = bytes_buffer_bytes(&txn->write_conflicts);

        while (conflict_range_next(&writes, &write) == 0) {
            if (ranges_meet(&read, &write, ret_key))
                return true;
            if (++comparisons == COMPARISONS_MAX)
                return false;
        }
    }
    return false;
}

static int make_fence(struct transaction *txn)
{
    struct client *client = txn->client;
    struct bytes_buffer *fence = &txn->commit.fence;
    struct bytes common;
    uint8_t id[16];
    int error;

    fence->len = 0;
    if (txn->causal_write_risky && txn->commit.id.len == 0)
        return 0;
    if (find_common_key(txn, &common) && !BUGGIFY(client->env, "a commit gets a fence of its own although it has a common key"))
        return bytes_buffer_append(fence, common);
    put_be64(id, env_random(client->env));
    put_be64(id + 8, client->self_conflicts++);
    error = bytes_buffer_append(fence, KEY_SELF_CONFLICT_BEGIN);
    if (error == 0)
        error = bytes_buffer_append(fence, bytes_of(id, sizeof(id)));
    if (error == 0)
        error = conflict_range_append_point(&txn->read_conflicts, bytes_buffer_bytes(fence));
    return error != 0 ? error : conflict_range_append_point(&txn->write_conflicts, bytes_buffer_bytes(fence));
}

/* ---- stages ---- */

/* A read that failed fails the commit at once, also one that ended before the commit began: what was written may rest on it. */
static int read_error(struct transaction *txn)
{
    int error;

    transaction_lock(txn);
    error = txn->read_error;
    transaction_unlock(txn);
    return error;
}

static bool has_special_writes(struct transaction *txn)
{
    bool has;

    transaction_lock(txn);
    has = txn->special_table.len > 0;
    transaction_unlock(txn);
    return has;
}

static enum op_result reads(struct op *op)
{
    struct transaction *txn = txn_of(op);

    txn->commit.waits_for_reads = read_error(txn) == 0 && transaction_is_reading(txn);
    if (txn->commit.waits_for_reads)
        return op_wait(op, READS);
    return op_move(op, has_special_writes(txn) ? SPECIAL : VERSION);
}

/* What was written to special keys becomes mutations. */
static enum op_result special(struct op *op)
{
    struct transaction *txn = txn_of(op);
    struct commit_op *commit = &txn->commit;
    bool waits;
    int error;

    if (commit->special == NULL)
        commit->special = mem_zalloc(sizeof(*commit->special));
    if (commit->special == NULL)
        return op_finish(op, ERROR_OUT_OF_MEMORY);
    error = special_commit_go(commit->special, txn, op, &waits);
    if (error != 0)
        return op_finish(op, error);
    return waits ? op_wait(op, SPECIAL) : op_move(op, VERSION);
}

void commit_reads_over(struct transaction *txn)
{
    if (!txn->commit.waits_for_reads || txn->commit.op.owner == NULL)
        return;
    txn->commit.waits_for_reads = false;
    op_resume(&txn->commit.op);
}

void commit_version_known(struct transaction *txn)
{
    if (!txn->commit.waits_for_version || txn->commit.op.owner == NULL)
        return;
    txn->commit.waits_for_version = false;
    op_resume(&txn->commit.op);
}

/* The application's id, or one drawn for this attempt. Under the lock. */
static int make_id(struct transaction *txn)
{
    uint8_t drawn[16];

    txn->commit.id.len = 0;
    if (txn->idempotency_id.len > 0)
        return bytes_buffer_append(&txn->commit.id, bytes_buffer_bytes(&txn->idempotency_id));
    if (!txn->settings.automatic_idempotency)
        return 0;
    put_be64(drawn, env_random(txn->client->env));
    put_be64(drawn + 8, env_random(txn->client->env));
    return bytes_buffer_append(&txn->commit.id, bytes_of(drawn, sizeof(drawn)));
}

/* Under the lock. *ret_writes: there is something to commit. */
static int look_over(struct transaction *txn, bool *ret_writes)
{
    int error;

    *ret_writes = txn->mutations.len > 0 || txn->write_conflicts.len > 0;
    if (txn->synced_incarnation != transaction_incarnation(txn))
        return ERROR_TRANSACTION_CANCELLED;
    if (txn->read_error != 0 || !*ret_writes)
        return txn->read_error;
    if (txn->size > (uint64_t)txn->settings.size_limit)
        return ERROR_TRANSACTION_TOO_LARGE;
    if (txn->commit.fence.len > 0)
        return 0;
    error = make_id(txn);
    return error != 0 ? error : make_fence(txn);
}

static enum op_result version(struct op *op)
{
    struct transaction *txn = txn_of(op);
    struct commit_op *commit = &txn->commit;
    bool writes, needs_version;
    int error;

    transaction_lock(txn);
    error = look_over(txn, &writes);
    needs_version = txn->read_conflicts.len > 0 || txn->commit.id.len > 0; /* a search for the id begins there */
    commit->version = txn->read_version;
    transaction_unlock(txn);
    if (error == 0)
        error = txn->grv_error;
    if (!list_empty(&txn->watches))
        watches_look_at_writes(txn);
    if (error == 0 && !list_empty(&txn->watches))
        needs_version = needs_version || !writes;
    if (error != 0 || (!writes && list_empty(&txn->watches)))
        return op_finish(op, error);
    if (needs_version && !transaction_version_or_ask(txn, &commit->version)) {
        commit->waits_for_version = true;
        return op_wait(op, VERSION);
    }
    return writes ? op_move(op, SEND) : op_finish(op, 0);
}

static uint32_t flags_of(const struct transaction *txn)
{
    return (txn->lock_aware ? COMMIT_LOCK_AWARE : 0) | (txn->system_write || txn->raw_access || txn->system_read || txn->special_system ? COMMIT_ACCESS_SYSTEM : 0) |
           (txn->settings.report_conflicts ? COMMIT_REPORT_CONFLICTS : 0);
}

/* Those of which the cluster counts what they write. Under the lock. */
static int fill_tags(const struct transaction *txn, struct arena *arena, struct commit *body)
{
    if (txn->auto_tags == 0)
        return 0;
    body->tags = arena_zalloc(arena, TRANSACTION_TAGS_MAX * sizeof(*body->tags));
    if (body->tags == NULL)
        return ERROR_OUT_OF_MEMORY;
    for (unsigned i = 0; i < txn->tags.count; i++)
        if ((txn->auto_tags >> i & 1) != 0 &&
            arena_copy(arena, tag_bytes(&txn->tags.names[i]), &body->tags[body->tags_count++].tag) != 0)
            return ERROR_OUT_OF_MEMORY;
    return 0;
}

/* Under the lock. */
static int fill(struct transaction *txn, struct message *message, struct commit *body)
{
    struct arena *arena = &message->arena;
    int error;

    if (txn->synced_incarnation != transaction_incarnation(txn))
        return ERROR_TRANSACTION_CANCELLED;
    body->read_version = txn->commit.version;
    body->flags = flags_of(txn);
    error = arena_copy(arena, bytes_buffer_bytes(&txn->mutations), &body->mutations);
    if (error == 0)
        error = arena_copy(arena, bytes_buffer_bytes(&txn->read_conflicts), &body->read_conflicts);
    if (error == 0)
        error = arena_copy(arena, bytes_buffer_bytes(&txn->commit.id), &body->idempotency_id);
    if (error == 0)
        error = fill_tags(txn, arena, body);
    return error != 0 ? error : arena_copy(arena, bytes_buffer_bytes(&txn->write_conflicts), &body->write_conflicts);
}

/* Sends to a proxy of the present epoch; without one, waits for the next description and comes back to `stage`. */
static enum op_result send_to_proxy(struct op *op, struct message *message, unsigned stage, unsigned next)
{
    struct transaction *txn = txn_of(op);
    struct commit_op *commit = &txn->commit;
    const struct role_ref *proxy = client_pick_role(txn->client, ROLE_COMMIT_PROXY);

    if (proxy == NULL) {
        message_unref(message);
        commit->waits_for_proxy = true;
        return op_wait(op, stage);
    }
    commit->proxy = endpoint_of(&proxy->endpoint);
    commit->in_flight = true;
    commit->lost = false;
    rpc_call_start(&commit->rpc, op, txn->client->rpc, &commit->proxy, message, 0);
    return op_wait(op, next);
}

static enum op_result send(struct op *op)
{
    struct transaction *txn = txn_of(op);
    struct message *message;
    struct commit *body = MESSAGE_NEW(commit, &message);
    int error = body == NULL ? ERROR_OUT_OF_MEMORY : 0;

    if (error == 0) {
        transaction_lock(txn);
        error = fill(txn, message, body);
        transaction_unlock(txn);
    }
    if (error != 0) {
        message_unref(message);
        return op_finish(op, error);
    }
    return send_to_proxy(op, message, SEND, ANSWERED);
}

/* The connection's errors, of a request that has not left: the process is not there, or is not one to talk to. */
static bool was_never_sent(int error)
{
    return error == ERROR_CONNECTION_FAILED || error == ERROR_INCOMPATIBLE_PROTOCOL_VERSION || error == ERROR_INVALID_CLUSTER_ID;
}

/* The proxy's word on the transaction itself. */
static bool is_verdict(int error)
{
    switch (error) {
    case ERROR_NOT_COMMITTED:
    case ERROR_TRANSACTION_TOO_OLD:
    case ERROR_DATABASE_LOCKED:
    case ERROR_COMMIT_PROXY_MEMORY_LIMIT_EXCEEDED:
    case ERROR_SERIALIZATION_FAILED:
        return true;
    default:
        return error >= ERROR_CLIENT_INVALID_OPERATION && error <= ERROR_VALUE_TOO_LARGE;
    }
}

static int64_t next_delay(struct commit_op *commit)
{
    int64_t delay_us = commit->delay_us;

    commit->delay_us = delay_us == 0 ? RETRY_DELAY_US_MIN : delay_us * 2;
    if (commit->delay_us > RETRY_DELAY_US_MAX)
        commit->delay_us = RETRY_DELAY_US_MAX;
    return delay_us;
}

static int take_commit(struct transaction *txn, version_t version, uint16_t order)
{
    int error = 0;

    transaction_lock(txn);
    if (txn->synced_incarnation != transaction_incarnation(txn))
        error = ERROR_TRANSACTION_CANCELLED;
    else {
        txn->committed_version = version;
        client_told_version(txn->client, version);
        client_proved_version(txn->client, version);
        txn->stamp_order = order;
        txn->stamp_error = 0;
    }
    transaction_unlock(txn);
    return error;
}

/* Under the lock: all of them or none. */
static void keep_conflicts(struct transaction *txn, const struct commit_reply *reply)
{
    struct arena *arena = &txn->conflict_arena;

    arena_reset(arena);
    txn->conflict_count = 0;
    txn->conflicts = arena_alloc(arena, reply->conflicts_count * sizeof(*txn->conflicts));
    for (uint32_t i = 0; txn->conflicts != NULL && i < reply->conflicts_count; i++)
        if (message_copy_body(&schema_conflict, &reply->conflicts[i], arena, &txn->conflicts[i]) != 0)
            return;
    txn->conflict_count = txn->conflicts == NULL ? 0 : reply->conflicts_count;
}

static int take_result(struct transaction *txn, const struct commit_reply *reply)
{
    if (reply->error == 0)
        return take_commit(txn, reply->version, (uint16_t)reply->batch_index);
    transaction_lock(txn);
    if (txn->synced_incarnation == transaction_incarnation(txn))
        keep_conflicts(txn, reply);
    transaction_unlock(txn);
    return reply->error == ERROR_NOT_COMMITTED ? ERROR_NOT_COMMITTED : ERROR_BROKEN_PROMISE;
}

static enum op_result answered(struct op *op)
{
    struct transaction *txn = txn_of(op);
    struct commit_op *commit = &txn->commit;
    int error = commit->lost ? ERROR_REQUEST_MAYBE_DELIVERED : commit->rpc.error;

    if (error == 0 && BUGGIFY_ONE_IN(op->env, 32, "a client takes a commit that is done for lost"))
        error = ERROR_REQUEST_MAYBE_DELIVERED;
    commit->in_flight = false;
    if (error == 0)
        return op_finish(op, take_result(txn, MESSAGE_BODY(commit_reply, commit->rpc.reply)));
    if (was_never_sent(error) || (PLANTED_BUG(RPC_TWICE) && error == ERROR_REQUEST_MAYBE_DELIVERED)) {
        PROBE(op->env, "a commit that was not delivered is sent to another proxy");
        wait_timer_start(&commit->timer, op, next_delay(commit));
        return op_wait(op, PAUSED);
    }
    if (error == ERROR_VERSION_INVALID && commit->version <= txn->client->newest_told) { /* it was given to us */
        client_doubt_version(txn->client, commit->version);
        return op_finish(op, ERROR_FUTURE_VERSION);
    }
    if (is_verdict(error)) /* after the connection's: their numbers lie among those of a proxy's verdicts */
        return op_finish(op, error);
    PROBE(op->env, "the answer to a commit is lost: its result is unknown");
    if (commit->fence.len == 0)
        return op_finish(op, ERROR_COMMIT_UNKNOWN_RESULT);
    commit->delay_us = 0;
    return op_move(op, FENCE);
}

static enum op_result paused(struct op *op)
{
    return op_move(op, txn_of(op)->commit.fencing ? FENCE : SEND);
}

static enum op_result fence(struct op *op)
{
    struct transaction *txn = txn_of(op);
    struct bytes_buffer table = {0};
    struct message *message;
    struct commit *body = MESSAGE_NEW(commit, &message);
    int error = body == NULL ? ERROR_OUT_OF_MEMORY : 0;

    txn->commit.fencing = true;
    if (error == 0)
        error = conflict_range_append_point(&table, bytes_buffer_bytes(&txn->commit.fence));
    if (error == 0)
        error = arena_copy(&message->arena, bytes_buffer_bytes(&table), &body->write_conflicts);
    bytes_buffer_done(&table);
    if (error != 0) {
        message_unref(message);
        wait_timer_start(&txn->commit.timer, op, RETRY_DELAY_US_MAX);
        return op_wait(op, PAUSED);
    }
    body->read_version = VERSION_NONE;
    body->flags = COMMIT_LOCK_AWARE | COMMIT_ACCESS_SYSTEM;
    return send_to_proxy(op, message, FENCE, FENCED);
}

static enum op_result fenced(struct op *op)
{
    struct commit_op *commit = &txn_of(op)->commit;

    commit->in_flight = false;
    if ((!commit->lost && commit->rpc.error == 0 && !BUGGIFY(op->env, "a fence that is done is written again")) ||
        PLANTED_BUG(FENCE_NOT_AWAITED)) {
        PROBE(op->env, "a fence shows that an unknown commit can no longer happen");
        if (commit->id.len > 0)
            return op_move(op, LOOKUP);
        return op_finish(op, PLANTED_BUG(UNKNOWN_RETRIED) ? ERROR_NOT_COMMITTED : ERROR_COMMIT_UNKNOWN_RESULT);
    }
    wait_timer_start(&commit->timer, op, next_delay(commit));
    return op_wait(op, PAUSED);
}

static enum op_result lookup(struct op *op)
{
    struct transaction *txn = txn_of(op);
    struct commit_op *commit = &txn->commit;
    int error = commit->lookup != NULL ? 0 : lookup_create(txn->client, commit->version, &commit->lookup);

    if (error != 0) {
        wait_timer_start(&commit->timer, op, RETRY_DELAY_US_MAX);
        return op_wait(op, LOOKUP_PAUSED);
    }
    lookup_page(commit->lookup, op);
    return op_wait(op, LOOKED);
}

static enum op_result lookup_paused(struct op *op)
{
    return op_move(op, LOOKUP);
}

static enum op_result looked(struct op *op)
{
    struct transaction *txn = txn_of(op);
    struct commit_op *commit = &txn->commit;
    struct lookup_result result;

    if (lookup_take(commit->lookup, bytes_buffer_bytes(&commit->id), commit->version, &result) != 0) {
        wait_timer_start(&commit->timer, op, RETRY_DELAY_US_MAX); /* a page is read again for as long as it takes */
        return op_wait(op, LOOKUP_PAUSED);
    }
    if (result.found) {
        PROBE(op->env, "an unknown commit is found by its idempotency id");
        return op_finish(op, take_commit(txn, result.version, result.order));
    }
    if (result.more)
        return op_move(op, LOOKUP);
    PROBE(op->env, "an unknown commit is not found by its idempotency id");
    return op_finish(op, result.may_have_expired ? ERROR_COMMIT_UNKNOWN_RESULT_FATAL : ERROR_NOT_COMMITTED);
}

static void special_drop(struct commit_op *commit)
{
    if (commit->special == NULL)
        return;
    special_commit_done(commit->special);
    mem_free(commit->special);
    commit->special = NULL;
}

static void ended(struct op *op)
{
    struct transaction *txn = txn_of(op);
    struct commit_op *commit = &txn->commit;
    struct client_call *call = txn->commit_call;
    version_t watched_from = commit->version;

    rpc_call_clear(&commit->rpc);
    lookup_destroy(commit->lookup);
    commit->lookup = NULL;
    special_drop(commit);
    list_remove(&commit->link);
    transaction_lock(txn);
    if (txn->synced_incarnation == transaction_incarnation(txn) && txn->state == TXN_COMMITTING)
        txn->state = TXN_COMMITTED;
    if (txn->synced_incarnation == transaction_incarnation(txn) && txn->committed_version != VERSION_NONE)
        watched_from = txn->committed_version;
    if (op->error == 0 && txn->state == TXN_COMMITTED && txn->settings.api_version < 410)
        transaction_reset_committed(txn);
    transaction_unlock(txn);
    txn->commit_call = NULL;
    if (op->error == 0)
        watches_begin(txn, watched_from);
    else if (op->error != ERROR_OPERATION_CANCELLED) /* then it is a reset's or the owner's to end them */
        watches_end(txn, op->error, true, 0);
    if (call != NULL)
        client_call_end(call, op->error);
}

static const struct op_stage stages[COMMIT_STAGES] = {
    [READS] = {"READS", reads, OP_STAGE(READS) | OP_STAGE(SPECIAL) | OP_STAGE(VERSION)},
    [SPECIAL] = {"SPECIAL", special, OP_STAGE(SPECIAL) | OP_STAGE(VERSION)},
    [VERSION] = {"VERSION", version, OP_STAGE(VERSION) | OP_STAGE(SEND)},
    [SEND] = {"SEND", send, OP_STAGE(SEND) | OP_STAGE(ANSWERED)},
    [ANSWERED] = {"ANSWERED", answered, OP_STAGE(PAUSED) | OP_STAGE(FENCE)},
    [PAUSED] = {"PAUSED", paused, OP_STAGE(SEND) | OP_STAGE(FENCE)},
    [FENCE] = {"FENCE", fence, OP_STAGE(FENCE) | OP_STAGE(FENCED) | OP_STAGE(PAUSED)},
    [FENCED] = {"FENCED", fenced, OP_STAGE(PAUSED) | OP_STAGE(LOOKUP)},
    [LOOKUP] = {"LOOKUP", lookup, OP_STAGE(LOOKED) | OP_STAGE(LOOKUP_PAUSED)},
    [LOOKED] = {"LOOKED", looked, OP_STAGE(LOOKUP) | OP_STAGE(LOOKUP_PAUSED)},
    [LOOKUP_PAUSED] = {"LOOKUP_PAUSED", lookup_paused, OP_STAGE(LOOKUP)},
};
static const struct op_type commit_type = {
    .name = "client_commit", .stages = stages, .stage_count = COMMIT_STAGES, .queue = READY_COMMIT, .ended = ended};

/* A proxy that the description no longer has will not answer: its epoch is over. */
void commit_description_changed(struct client *client)
{
    list_each(link, after, &client->transactions) {
        struct commit_op *commit = list_entry(link, struct commit_op, link);

        if (commit->waits_for_proxy) {
            commit->waits_for_proxy = false;
            op_resume(&commit->op);
        } else if (commit->in_flight && !client_role_listed(client, commit->proxy)) {
            PROBE(client->env, "a commit's proxy is no more: its result is unknown");
            commit->lost = true;
            rpc_call_clear(&commit->rpc);
            op_resume(&commit->op);
        }
    }
}

/* ---- start ---- */

void commit_cancel(struct transaction *txn)
{
    op_cancel(&txn->commit.op);
}

static void cancelled(struct client_call *call)
{
    struct transaction *txn = call->owner;

    if (txn->commit_call != call)
        return;
    txn->commit_call = NULL;
    commit_cancel(txn);
}

bool transaction_commit_prepare(struct client_call *call, struct transaction *txn)
{
    int error;

    transaction_lock(txn);
    error = txn->error != 0 ? txn->error : txn->state != TXN_OPEN ? ERROR_USED_DURING_COMMIT : txn->deferred;
    if (error == 0)
        txn->state = TXN_COMMITTING;
    call->incarnation = transaction_incarnation(txn);
    transaction_unlock(txn);
    call->error = error;
    return error != 0;
}

void transaction_commit_submit(struct client_call *call, struct op *op, struct transaction *txn)
{
    struct commit_op *commit = &txn->commit;
    bool open;

    call->owner = txn;
    transaction_call_begin(txn, call, op, cancelled);
    if (txn->synced_incarnation != transaction_incarnation(txn))
        transaction_sync(txn);
    transaction_lock(txn);
    open = txn->state == TXN_COMMITTING && txn->error == 0 && call->incarnation == transaction_incarnation(txn);
    transaction_unlock(txn);
    if (!open || commit->op.owner != NULL) { /* reset since */
        client_call_end(call, ERROR_TRANSACTION_CANCELLED);
        return;
    }
    txn->commit_call = call;
    commit->fence.len = commit->id.len = 0;
    commit->delay_us = 0;
    commit->waits_for_reads = commit->waits_for_version = commit->waits_for_proxy = commit->in_flight = false;
    commit->lost = commit->fencing = false;
    list_push_back(&txn->client->transactions, &commit->link);
    op_start_now(&commit->op, &commit_type, &txn->client->ops);
}

void transaction_commit_start(struct client_call *call, struct op *op, struct transaction *txn)
{
    int error;

    call->owner = txn;
    if (!transaction_commit_prepare(call, txn)) {
        transaction_commit_submit(call, op, txn);
        return;
    }
    error = call->error;
    transaction_call_begin(txn, call, op, cancelled);
    client_call_end(call, error);
}
