/* One batch of read-version requests.
 *
 *   TAKE ──► ASK ──► JUDGE ──► replies
 *              ▲       │
 *              └───────┘ (not decided yet)
 *
 * A read version must be at or above every commit that was acknowledged to anybody before the request was sent. The sequencer
 * knows the newest one of its epoch; that no later epoch has acknowledged anything is what the logs confirm: a recovery needs
 * locks such that fewer than r zones are missing, so while unlocked logs in r zones answer, no later epoch has begun. Both
 * questions are asked after the batch's last request has arrived: an older answer would say nothing about that request.
 *
 * What would break it: adding a request to a batch that has asked; using one confirmation for two batches; counting
 * two logs of one zone twice. */
#include <assert.h>

#include "net/buggify.h"
#include "net/planted_bug.h"
#include "roles/grv_proxy/grv_proxy_impl.h"

enum { TAKE, ASK, JUDGE, STAGES };

static struct grv_batch *batch_of(struct op *op)
{
    return container_of(op, struct grv_batch, op);
}

static enum op_result take(struct op *op)
{
    struct grv_batch *self = batch_of(op);

    assert(list_empty(&self->requests));
    grv_proxy_take(self->proxy, self, BUGGIFY(op->env, "a batch of read versions takes one request"));
    if (list_empty(&self->requests)) /* a rate that has sunk meanwhile */
        return op_finish(op, 0);
    if (BUGGIFY(op->env, "a batch of read versions waits before it asks")) {
        wait_timer_start(&self->dawdle, op, (int64_t)env_random_below(op->env, 5000));
        return op_wait(op, ASK);
    }
    return op_move(op, ASK);
}

static void answered(struct steady_call *call)
{
    op_resume(&((struct grv_batch *)call->parent)->op);
}

/* An answer counts for its zone, a refusal as well: a log that says that it is locked will always say so. */
static void confirm_answered(struct steady_call *call)
{
    struct grv_batch *self = call->parent;

    if (call->error == 0)
        self->confirmed |= UINT64_C(1) << call->index;
    else
        self->stopped |= UINT64_C(1) << call->index;
    op_resume(&self->op);
}

static enum op_result ask(struct op *op)
{
    struct grv_batch *self = batch_of(op);
    struct grv_proxy *proxy = self->proxy;

    if (BUGGIFY_DEATH(op->env, 3000, "a GRV proxy ends with requests in its batch"))
        return op_finish(op, ERROR_OPERATION_FAILED);
    self->confirmed = self->stopped = 0;
    self->least_version = proxy->newest_answered;
    self->committed.done = answered;
    steady_call_start(&self->committed, &proxy->ops, message_ref(proxy->ask_committed));
    for (uint32_t i = 0; i < proxy->generation.logs_count; i++) {
        self->confirms[i].done = confirm_answered;
        steady_call_start(&self->confirms[i], &proxy->ops, message_ref(proxy->ask_confirm));
    }
    return op_wait(op, JUDGE);
}

static uint64_t all_logs(const struct generation *generation)
{
    return generation->logs_count == 64 ? UINT64_MAX : (UINT64_C(1) << generation->logs_count) - 1;
}

/* Each of them was held back for another time. */
static void reply_to_delayed(struct rpc_request *request, const struct get_read_version_reply *as)
{
    struct message *message;
    struct get_read_version_reply *reply = MESSAGE_NEW(get_read_version_reply, &message);

    if (reply == NULL || arena_copy(&message->arena, as->metadata_version, &reply->metadata_version) != 0) {
        message_unref(message);
        rpc_fail(request, ERROR_BROKEN_PROMISE);
        return;
    }
    reply->version = as->version;
    reply->locked = as->locked;
    reply->tag_wait_us = request->owner_number;
    rpc_reply(request, message);
}

static void reply_to_all(struct grv_batch *self, const struct get_committed_reply *committed)
{
    struct message *message;
    struct get_read_version_reply *reply = MESSAGE_NEW(get_read_version_reply, &message);
    struct grv_proxy *proxy = self->proxy;

    if (reply == NULL || arena_copy(&message->arena, committed->metadata_version, &reply->metadata_version) != 0) {
        message_unref(message); /* what is not answered is failed when the batch has ended */
        return;
    }
    reply->version = committed->version;
    reply->locked = committed->locked;
    while (!list_empty(&self->requests)) {
        struct rpc_request *request = list_entry(list_pop_front(&self->requests), struct rpc_request, link);

        if (request->owner_number > 0)
            reply_to_delayed(request, reply);
        else
            rpc_reply(request, message_ref(message));
    }
    message_unref(message);
    proxy->transactions_out += self->transaction_count;
    if (committed->version > proxy->newest_answered)
        proxy->newest_answered = committed->version;
}

static enum op_result judge(struct op *op)
{
    struct grv_batch *self = batch_of(op);
    const struct generation *generation = &self->proxy->generation;
    const struct get_committed_reply *committed;

    if (log_system_zone_count(generation, all_logs(generation) & ~self->stopped) < generation->replication) {
        PROBE(op->env, "a GRV proxy learns from the logs that its epoch is over");
        return op_finish(op, ERROR_TLOG_STOPPED);
    }
    if (!steady_call_under_way(&self->committed) && self->stopped != 0)
        PROBE(op->env, "some logs are locked, and the others still confirm the epoch");
    if (steady_call_under_way(&self->committed) ||
        (log_system_zone_count(generation, self->confirmed) < generation->replication && !PLANTED_BUG(GRV_WITHOUT_EPOCH_CHECK)))
        return op_wait(op, JUDGE);
    if (self->committed.error != 0)
        return op_finish(op, self->committed.error);
    committed = MESSAGE_BODY(get_committed_reply, self->committed.reply);
    if (committed->epoch != 0 && committed->epoch != self->proxy->epoch) {
        TRACE(op->env, SEVERITY_WARN_ALWAYS, "CommittedVersionOfAnotherEpoch", {"Version", trace_int(committed->version)},
              {"Epoch", trace_int((int64_t)committed->epoch)}, {"Ours", trace_int((int64_t)self->proxy->epoch)});
        return op_finish(op, ERROR_INTERNAL_ERROR);
    }
    if (committed->version < self->least_version) { /* what was answered before this batch asked */
        TRACE(op->env, SEVERITY_WARN_ALWAYS, "CommittedVersionWentBack", {"Version", trace_int(committed->version)},
              {"Least", trace_int(self->least_version)});
        return op_finish(op, ERROR_INTERNAL_ERROR);
    }
    reply_to_all(self, committed);
    self->proxy->batches_done++;
    return op_finish(op, 0);
}

static void ended(struct op *op)
{
    struct grv_batch *self = batch_of(op);
    struct grv_proxy *proxy = self->proxy;

    steady_call_clear(&self->committed);
    for (uint32_t i = 0; i < proxy->generation.logs_count; i++)
        steady_call_clear(&self->confirms[i]);
    while (!list_empty(&self->requests))
        rpc_fail(list_entry(list_pop_front(&self->requests), struct rpc_request, link), ERROR_BROKEN_PROMISE);
    self->transaction_count = 0;
    self->in_use = false;
    if (op->error == ERROR_OPERATION_CANCELLED)
        return;
    if (op->error != 0)
        grv_proxy_end(proxy, op->error);
    else
        grv_proxy_go(proxy);
}

static const struct op_stage stages[STAGES] = {
    [TAKE] = {"TAKE", take, OP_STAGE(ASK)},
    [ASK] = {"ASK", ask, OP_STAGE(JUDGE)},
    [JUDGE] = {"JUDGE", judge, OP_STAGE(JUDGE)},
};
static const struct op_type grv_batch_type = {"grv_batch", stages, STAGES, READY_COMMIT, ended};

void grv_batch_start(struct grv_batch *batch)
{
    assert(!batch->in_use);
    batch->in_use = true;
    op_start(&batch->op, &grv_batch_type, &batch->proxy->ops);
}
