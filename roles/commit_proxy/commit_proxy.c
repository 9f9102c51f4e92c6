/* Life, dispatch, the queue, and what an idle proxy does. A batch's way is commit_batch.c. */
#include "roles/commit_proxy/commit_proxy.h"

#include <assert.h>

#include "net/buggify.h"
#include "net/mem.h"
#include "roles/commit_proxy/commit_proxy_impl.h"
#include "txn/system_keys.h"

static void invariant_commit_proxy(void *owner)
{
    const struct commit_proxy *self = owner;

    if (self->ended)
        return;
    assert(self->known_committed >= self->recovery_version);
    assert(self->known_committed <= self->applied_version); /* nothing is reported that was not applied */
    assert(self->told_committed <= self->known_committed);
    assert(self->queued_bytes <= self->held_bytes);
    assert((self->queued_count == 0) == list_empty(&self->queue));
    assert(self->slots_used <= self->batches_under_way);
    assert(self->apply_turn.now <= (int64_t)self->newest_batch + 1);
    /* Nobody is forgotten: who is queued has a batch to wait for. */
    assert(list_empty(&self->queue) || self->slots_used > 0);
}

void commit_proxy_end(struct commit_proxy *self, int error, const char *why)
{
    if (self->ended)
        return;
    self->ended = true;
    /* ERROR_OPERATION_FAILED: another role broke the protocol, which no fault of the world explains. */
    TRACE(self->context.env, error == ERROR_OPERATION_FAILED ? SEVERITY_ERROR : SEVERITY_WARN, "RoleCannotGoOn", {"Role", trace_str("commit_proxy")},
          {"Id", trace_id(self->id)}, {"Epoch", trace_int((int64_t)self->epoch)}, {"Error", trace_int(error)},
          {"Why", trace_str(why)});
    self->context.ended(self->context.host, ROLE_COMMIT_PROXY, self->id, error);
}

static bool has_free_slot(const struct commit_proxy *self)
{
    int64_t slots = self->context.env->knobs.commit_slots;

    if (self->slots_used > 0 && BUGGIFY(self->context.env, "a batch waits although a slot is free"))
        return false;
    return self->slots_used < (slots < 1 ? 1 : slots);
}

void commit_proxy_go(struct commit_proxy *self)
{
    if (self->ended || self->closing != NULL || list_empty(&self->queue) || !has_free_slot(self))
        return;
    commit_batch_start(self);
}

/* Nothing stands behind the batch that was reported: the logs would hear of it only with the next one. */
static void tell_known_committed(struct commit_proxy *self)
{
    struct message *message;
    struct push *push;

    if (self->known_committed <= self->told_committed ||
        BUGGIFY(self->context.env, "the logs hear of a committed version with the next batch only"))
        return;
    push = MESSAGE_NEW(push, &message);
    if (push == NULL)
        return;
    push->epoch = self->epoch;
    push->known_committed = self->told_committed = self->known_committed;
    for (uint32_t i = 0; i < self->generation.logs_count; i++) {
        struct endpoint to = endpoint_of(&self->generation.logs[i].endpoint);

        rpc_send(self->context.rpc, &to, message_ref(message));
    }
    message_unref(message);
}

void commit_proxy_batch_ended(struct commit_proxy *self, bool well)
{
    commit_proxy_go(self);
    if (well && self->batches_under_way == 0)
        tell_known_committed(self);
}

/* ---- the queue ---- */

static void receive_commit(struct commit_proxy *self, struct rpc_request *request)
{
    size_t bytes = commit_held_bytes(MESSAGE_BODY(commit, request->message));

    if (self->ended) {
        rpc_fail(request, ERROR_BROKEN_PROMISE);
        return;
    }
    if (commit_is_held_back(self, request)) {
        rpc_fail(request, ERROR_COMMIT_PROXY_MEMORY_LIMIT_EXCEEDED);
        return;
    }
    /* One alone is always taken, or a large one never would be. */
    if (self->held_bytes > 0 && (self->held_bytes + bytes > (size_t)self->context.env->knobs.commit_queue_bytes_max ||
                                 BUGGIFY_ONE_IN(self->context.env, 32, "a commit meets a full queue"))) {
        PROBE(self->context.env, "the queue of a commit proxy is full");
        self->overloaded++;
        rpc_fail(request, ERROR_COMMIT_PROXY_MEMORY_LIMIT_EXCEEDED);
        return;
    }
    self->commits_in++;
    self->queued_count++;
    self->queued_bytes += bytes;
    self->held_bytes += bytes;
    request->owner_data = (void *)(intptr_t)env_now_us(self->context.env);
    list_push_back(&self->queue, &request->link);
    rate_reporter_hurry(&self->reporter);
    commit_proxy_go(self);
}

static void receive(void *ctx, struct rpc_request *request)
{
    struct commit_proxy *self = ctx;

    if (request->message->type == &message_type_commit)
        receive_commit(self, request);
    else if (request->message->type == &message_type_get_key_locations)
        key_locations_receive(self, request);
    else if (request->message->type == &message_type_get_settings)
        settings_receive(self, request);
    else
        rpc_fail(request, ERROR_CLIENT_INVALID_OPERATION);
}

/* ---- empty batches ----
 *
 * They keep the known committed version, pops, the 5 s window and every proxy's metadata moving when nobody commits. */

enum { WAIT, TICK, STAGES };

static enum op_result wait_for_tick(struct op *op)
{
    struct commit_proxy *self = container_of(op, struct commit_proxy, ticker);
    int64_t interval_us = self->context.env->knobs.commit_empty_interval_us;
    int64_t left_us = self->newest_batch_us + interval_us - env_now_us(op->env);

    /* One that is due stands behind a batch that takes its time: look again after a whole interval. */
    wait_timer_start(&self->tick, op, left_us > 0 ? left_us : interval_us);
    return op_wait(op, TICK);
}

static enum op_result tick(struct op *op)
{
    struct commit_proxy *self = container_of(op, struct commit_proxy, ticker);
    int64_t idle_us = env_now_us(op->env) - self->newest_batch_us;

    if (self->ended)
        return op_finish(op, 0);
    if (self->slots_used == 0 &&
        (idle_us >= self->context.env->knobs.commit_empty_interval_us ||
         BUGGIFY(op->env, "an empty batch is committed though the proxy was not idle for long")))
        commit_batch_start(self);
    return op_move(op, WAIT);
}

static void ticker_ended(struct op *op)
{
    (void)op;
}

static const struct op_stage ticker_stages[STAGES] = {
    [WAIT] = {"WAIT", wait_for_tick, OP_STAGE(TICK)},
    [TICK] = {"TICK", tick, OP_STAGE(WAIT)},
};
static const struct op_type ticker_type = {"empty_batches", ticker_stages, STAGES, READY_COMMIT, ticker_ended};

/* ---- life ---- */

static void dispose(struct commit_proxy *self)
{
    kv_map_destroy(self->metadata);
    shard_map_destroy(self->shards);
    resolver_map_done(&self->resolver_map);
    arena_done(&self->arena);
    mem_free(self);
}

static bool are_sound(const struct init_commit_proxy *body)
{
    const struct generation *logs = &body->logs;

    if (logs->replication < 1 || logs->replication > LOG_REPLICATION_MAX || logs->logs_count < 1 ||
        logs->logs_count > LOGS_MAX || log_system_zone_count(logs, UINT64_MAX) < logs->replication)
        return false;
    return body->resolvers_count >= 1 && body->resolvers_count <= RESOLVERS_MAX && body->recovery_version >= 0;
}

static int copy_resolvers(struct commit_proxy *self, const struct init_commit_proxy *body)
{
    struct bytes begins[RESOLVERS_MAX];

    self->resolver_count = body->resolvers_count;
    self->resolvers = arena_alloc(&self->arena, body->resolvers_count * sizeof(*self->resolvers));
    if (self->resolvers == NULL)
        return ERROR_OUT_OF_MEMORY;
    for (uint32_t i = 0; i < body->resolvers_count; i++) {
        self->resolvers[i] = endpoint_of(&body->resolvers[i].endpoint);
        begins[i] = body->resolvers[i].begin;
    }
    return resolver_map_init(&self->resolver_map, begins, self->resolver_count);
}

static int load_metadata(struct commit_proxy *self, struct bytes metadata)
{
    int error;

    self->metadata = kv_map_create();
    self->shards = shard_map_create();
    if (self->metadata == NULL || self->shards == NULL)
        return ERROR_OUT_OF_MEMORY;
    error = commit_metadata_take(self, NULL, metadata);
    self->state_changed = false; /* the sequencer was told the same */
    self->settings_touched = false;
    self->settings_version = self->recovery_version;
    return error;
}

static int init(struct commit_proxy *self, const struct role_context *context, const struct init_commit_proxy *body)
{
    int error;

    self->context = *context;
    self->id = body->role_id;
    self->epoch = body->epoch;
    self->sequencer = endpoint_of(&body->sequencer);
    self->recovery_version = self->applied_version = self->cut_version = body->recovery_version;
    self->known_committed = self->told_committed = body->recovery_version;
    self->newest_batch_us = env_now_us(context->env);
    list_init(&self->queue);
    list_init(&self->settings_waiters);
    op_list_init(&self->ops, context->env, self);
    self->ops.invariant = invariant_commit_proxy;
    turnstile_init(&self->apply_turn, context->env, 1);
    error = message_copy_body(&schema_generation, &body->logs, &self->arena, &self->generation);
    if (error == 0)
        error = copy_resolvers(self, body);
    return error != 0 ? error : load_metadata(self, body->metadata);
}

/* A batch asks them one after another. */
static void doubt_all(const struct commit_proxy *self)
{
    struct rpc *rpc = self->context.rpc;

    rpc_doubt(rpc, self->sequencer.address);
    for (uint32_t i = 0; i < self->resolver_count; i++)
        rpc_doubt(rpc, self->resolvers[i].address);
    for (uint32_t i = 0; i < self->generation.logs_count; i++)
        rpc_doubt(rpc, endpoint_of(&self->generation.logs[i].endpoint).address);
}

int commit_proxy_create(const struct role_context *context, struct rpc_request *request, struct commit_proxy **ret_proxy)
{
    const struct init_commit_proxy *body = MESSAGE_BODY(init_commit_proxy, request->message);
    struct commit_proxy *self;
    struct message *message = NULL;
    struct role_started *started = NULL;
    int error;

    if (!are_sound(body))
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
    started->role_id = self->id;
    rpc_register(context->rpc, self->id, receive, self);
    op_start(&self->ticker, &ticker_type, &self->ops);
    commit_load_start(self);
    doubt_all(self);
    rpc_reply(request, message);
    *ret_proxy = self;
    return 0;
}

void commit_proxy_destroy(struct commit_proxy *self)
{
    if (self == NULL)
        return;
    rpc_unregister(self->context.rpc, self->id);
    self->ended = true; /* nothing starts any more */
    op_cancel_all(&self->ops);
    while (!list_empty(&self->queue))
        rpc_fail(list_entry(list_pop_front(&self->queue), struct rpc_request, link), ERROR_BROKEN_PROMISE);
    settings_done(self);
    dispose(self);
}

void commit_proxy_status(const struct commit_proxy *self, struct role_status *status, struct arena *arena)
{
    role_metric(status, arena, "version", self->applied_version);
    role_metric(status, arena, "known_committed_version", self->known_committed);
    role_metric(status, arena, "commits_started", (int64_t)self->commits_in);
    role_metric(status, arena, "commits_committed", (int64_t)self->committed);
    role_metric(status, arena, "commits_conflicted", (int64_t)self->conflicts);
    role_metric(status, arena, "commits_too_old", (int64_t)self->too_old);
    role_metric(status, arena, "commits_refused", (int64_t)self->refused);
    role_metric(status, arena, "commits_overloaded", (int64_t)self->overloaded);
    role_metric(status, arena, "commits_held_back", (int64_t)self->held_back);
    role_metric(status, arena, "batches", (int64_t)self->batches);
    role_metric(status, arena, "empty_batches", (int64_t)self->empty_batches);
    role_metric(status, arena, "batches_under_way", (int64_t)self->batches_under_way);
    role_metric(status, arena, "mutations", (int64_t)self->mutations);
    role_metric(status, arena, "mutation_bytes", (int64_t)self->mutation_bytes);
    role_metric(status, arena, "metadata_transactions", (int64_t)self->metadata_transactions);
    role_metric(status, arena, "queued_commits", (int64_t)self->queued_count);
    role_metric(status, arena, "held_bytes", (int64_t)self->held_bytes);
    role_metric(status, arena, "shards", (int64_t)shard_map_count(self->shards));
    role_metric(status, arena, "metadata_bytes", (int64_t)kv_map_bytes(self->metadata));
    role_metric(status, arena, "key_location_requests", (int64_t)self->locations);
    role_metric(status, arena, "locked", self->locked);
    role_metric(status, arena, "resolver_partition", (int64_t)resolver_map_newest(&self->resolver_map)->number);
    role_metric(status, arena, "resolver_partitions_kept", self->resolver_map.partition_count);
}

const struct kv_map *commit_proxy_metadata(const struct commit_proxy *self)
{
    return self->metadata;
}
