/* Life, dispatch and the queue; a batch's way is grv_batch.c. */
#include "roles/grv_proxy/grv_proxy.h"

#include <assert.h>

#include "net/buggify.h"
#include "net/mem.h"
#include "roles/grv_proxy/grv_proxy_impl.h"

static void invariant_grv_proxy(void *owner)
{
    const struct grv_proxy *self = owner;
    unsigned in_use = 0;

    assert((self->queued_transactions == 0) == list_empty(&self->queue));
    for (unsigned i = 0; i < GRV_BATCHES_MAX; i++) {
        in_use += self->batches[i].in_use;
        assert(self->batches[i].in_use || list_empty(&self->batches[i].requests));
    }
    assert(self->ended || list_empty(&self->queue) || in_use > 0); /* nobody is forgotten */
}

void grv_proxy_end(struct grv_proxy *self, int error)
{
    if (self->ended)
        return;
    self->ended = true;
    TRACE(self->context.env, SEVERITY_INFO, "RoleCannotGoOn", {"Role", trace_str("grv_proxy")}, {"Id", trace_id(self->id)},
          {"Epoch", trace_int((int64_t)self->epoch)}, {"Error", trace_int(error)});
    while (!list_empty(&self->queue))
        rpc_fail(list_entry(list_pop_front(&self->queue), struct rpc_request, link), ERROR_BROKEN_PROMISE);
    self->queued_transactions = 0;
    self->context.ended(self->context.host, ROLE_GRV_PROXY, self->id, error);
}

/* A batch takes the queue when it runs, through the ready queue: requests of the same turn travel in one batch. */
void grv_proxy_go(struct grv_proxy *self)
{
    struct grv_batch *free_one = NULL;

    if (self->ended || list_empty(&self->queue))
        return;
    for (unsigned i = 0; i < GRV_BATCHES_MAX; i++) {
        struct grv_batch *batch = &self->batches[i];

        if (!batch->in_use)
            free_one = batch;
        else if (batch->transaction_count == 0)
            return; /* it has not taken anything yet: it will take these */
    }
    if (free_one != NULL)
        grv_batch_start(free_one);
}

static void receive_get_read_version(struct grv_proxy *self, struct rpc_request *request)
{
    const struct get_read_version *body = MESSAGE_BODY(get_read_version, request->message);
    uint64_t count = body->count == 0 ? 1 : body->count;
    bool immediate = (body->flags & GRV_PRIORITY_IMMEDIATE) != 0 && !request->from_client;

    if (self->ended) {
        rpc_fail(request, ERROR_BROKEN_PROMISE);
        return;
    }
    /* One request alone is always taken, or a large one never would be. */
    if (!immediate && self->queued_transactions > 0 &&
        (self->queued_transactions + count > (uint64_t)self->context.env->knobs.grv_queue_max ||
         BUGGIFY_ONE_IN(self->context.env, 32, "a request for a read version meets a full queue"))) {
        PROBE(self->context.env, "the queue of a GRV proxy is full");
        self->refused += count;
        rpc_fail(request, ERROR_GRV_PROXY_MEMORY_LIMIT_EXCEEDED);
        return;
    }
    self->requests_in++;
    self->transactions_in += count;
    self->queued_transactions += count;
    list_push_back(&self->queue, &request->link);
    grv_proxy_go(self);
}

static void receive(void *ctx, struct rpc_request *request)
{
    struct grv_proxy *self = ctx;

    if (request->message->type == &message_type_get_read_version)
        receive_get_read_version(self, request);
    else
        rpc_fail(request, ERROR_CLIENT_INVALID_OPERATION);
}

/* ---- life ---- */

static void init_batch(struct grv_proxy *self, struct grv_batch *batch)
{
    batch->proxy = self;
    list_init(&batch->requests);
    batch->committed.rpc = self->context.rpc;
    batch->committed.to = self->sequencer;
    batch->committed.parent = batch;
    for (uint32_t i = 0; i < self->generation.logs_count; i++) {
        batch->confirms[i].rpc = self->context.rpc;
        batch->confirms[i].to = endpoint_of(&self->generation.logs[i].endpoint);
        batch->confirms[i].parent = batch;
        batch->confirms[i].index = i;
    }
}

static int make_questions(struct grv_proxy *self)
{
    struct confirm_epoch *confirm = MESSAGE_NEW(confirm_epoch, &self->ask_confirm);

    if (confirm == NULL || MESSAGE_NEW(get_committed, &self->ask_committed) == NULL)
        return ERROR_OUT_OF_MEMORY;
    confirm->epoch = self->epoch;
    return 0;
}

static int init(struct grv_proxy *self, const struct role_context *context, const struct init_grv_proxy *body)
{
    int error = message_copy_body(&schema_generation, &body->logs, &self->arena, &self->generation);

    self->context = *context;
    self->id = body->role_id;
    self->epoch = body->epoch;
    self->sequencer = endpoint_of(&body->sequencer);
    self->newest_answered = self->generation.begin; /* an epoch's committed version is never below where it begins */
    list_init(&self->queue);
    op_list_init(&self->ops, context->env, self);
    self->ops.invariant = invariant_grv_proxy;
    return error != 0 ? error : make_questions(self);
}

static void dispose(struct grv_proxy *self)
{
    message_unref(self->ask_committed);
    message_unref(self->ask_confirm);
    arena_done(&self->arena);
    mem_free(self);
}

static bool is_sound(const struct generation *logs)
{
    return logs->replication >= 1 && logs->replication <= LOG_REPLICATION_MAX && logs->logs_count >= 1 &&
           logs->logs_count <= LOGS_MAX && log_system_zone_count(logs, UINT64_MAX) >= logs->replication;
}

int grv_proxy_create(const struct role_context *context, struct rpc_request *request, struct grv_proxy **ret_proxy)
{
    const struct init_grv_proxy *body = MESSAGE_BODY(init_grv_proxy, request->message);
    struct grv_proxy *self;
    struct message *message = NULL;
    struct role_started *started = NULL;
    int error;

    if (!is_sound(&body->logs))
        return ERROR_CLIENT_INVALID_OPERATION;
    self = mem_zalloc(sizeof(*self));
    if (self == NULL)
        return ERROR_OUT_OF_MEMORY;
    error = init(self, context, body);
    if (error == 0 && (started = MESSAGE_NEW(role_started, &message)) == NULL)
        error = ERROR_OUT_OF_MEMORY;
    if (error != 0) {
        dispose(self);
        return error;
    }
    for (unsigned i = 0; i < GRV_BATCHES_MAX; i++)
        init_batch(self, &self->batches[i]);
    started->role_id = self->id;
    rpc_register(context->rpc, self->id, receive, self);
    rpc_reply(request, message);
    *ret_proxy = self;
    return 0;
}

void grv_proxy_destroy(struct grv_proxy *self)
{
    if (self == NULL)
        return;
    rpc_unregister(self->context.rpc, self->id);
    op_cancel_all(&self->ops);
    while (!list_empty(&self->queue))
        rpc_fail(list_entry(list_pop_front(&self->queue), struct rpc_request, link), ERROR_BROKEN_PROMISE);
    dispose(self);
}

void grv_proxy_status(const struct grv_proxy *self, struct role_status *status, struct arena *arena)
{
    role_metric(status, arena, "transactions_started", (int64_t)self->transactions_out);
    role_metric(status, arena, "transaction_requests", (int64_t)self->transactions_in);
    role_metric(status, arena, "requests", (int64_t)self->requests_in);
    role_metric(status, arena, "batches", (int64_t)self->batches_done);
    role_metric(status, arena, "queued_transactions", (int64_t)self->queued_transactions);
    role_metric(status, arena, "refused_transactions", (int64_t)self->refused);
    role_metric(status, arena, "read_version", self->newest_answered);
}
