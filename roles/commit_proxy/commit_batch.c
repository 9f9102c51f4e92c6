/* One batch of commits, from the queue to the clients' answers.
 *
 *   GET_VERSION ──► RESOLVE ──► APPLY_METADATA ──► LOG ──► REPORT ──► REPLY
 *        │             │              │             │         │
 *    sequencer     resolvers     turn of the     all logs  sequencer
 *                                batch number
 *
 * GET_VERSION takes what is queued, refuses what is malformed, and asks for a version. RESOLVE asks all resolvers, with nothing if
 * need be, for each of them goes from version to version. APPLY_METADATA runs in the order of versions, which of one proxy is
 * the order of batch numbers; it brings the metadata to this version and tags the mutations by it. LOG waits for every
 * log of the epoch. REPORT waits until the sequencer gives out read versions at or above this one. Only then does a client hear.
 *
 * Why no client can hear of a batch before all lower versions are durable: a log acknowledges a version only when that version
 * and all before it, chained by prev_version, are synced there. All logs have acknowledged this one, so all logs have all
 * lower ones, whoever pushed them, though their own proxies may learn of it later.
 *
 * A failed connection is never an answer: each stage's request is sent again with the same content (steady_call). Any other
 * error ends the role, and with it the epoch: then the transactions of the batches under way have no known fate, and their clients
 * get broken_promise, never a definite error. */
#include <assert.h>

#include "net/buggify.h"
#include "net/mem.h"
#include "net/planted_bug.h"
#include "roles/commit_proxy/commit_proxy_impl.h"

enum { GET_VERSION, RESOLVE, APPLY_METADATA, LOG, REPORT, REPLY, STAGES };
enum { DIES_ONE_IN = 3000 }; /* of the simulator's deaths at each stage */

static struct commit_batch *batch_of(struct op *op)
{
    return container_of(op, struct commit_batch, op);
}

/* The simulator may let any stage come late. */
static bool dawdles(struct commit_batch *self)
{
    struct env *env = self->op.env;

    if (!self->dawdled && BUGGIFY(env, "a stage of a commit batch comes late")) {
        self->dawdled = true;
        wait_timer_start(&self->dawdle, &self->op, (int64_t)env_random_below(env, 10000));
        return true;
    }
    self->dawdled = false;
    return false;
}

/* ---- calls of a stage ---- */

static void call_done(struct steady_call *call)
{
    struct commit_batch *self = call->parent;

    assert(self->calls_pending > 0 || PLANTED_BUG(ACK_AFTER_FIRST_LOG));
    self->calls_pending = PLANTED_BUG(ACK_AFTER_FIRST_LOG) && self->op.stage == LOG ? 0 : self->calls_pending - 1;
    if (call->error != 0 && self->call_error == 0)
        self->call_error = call->error;
    if (self->calls_pending == 0 || self->call_error != 0)
        op_resume(&self->op);
}

static void clear_calls(struct commit_batch *self)
{
    for (uint32_t i = 0; i < self->call_count; i++)
        steady_call_clear(&self->calls[i]);
    self->call_count = self->calls_pending = 0;
}

/* Takes the reference on `request`. */
static void call(struct commit_batch *self, struct endpoint to, struct message *request)
{
    struct commit_proxy *proxy = self->proxy;
    struct steady_call *steady = &self->calls[self->call_count];

    *steady = (struct steady_call){.rpc = proxy->context.rpc, .to = to, .done = call_done, .parent = self};
    steady->index = self->call_count++;
    /* Until something has committed, the epoch's other roles may still be on their way into the world. */
    steady->patient = proxy->known_committed == proxy->recovery_version;
    self->calls_pending++;
    steady_call_start(steady, &proxy->ops, request);
}

/* ---- GET_VERSION ---- */

/* An error reply has no room for them. False: no memory. */
static bool answer_conflicts(struct commit_item *item)
{
    struct message *message;
    struct commit_reply *reply = MESSAGE_NEW(commit_reply, &message);

    if (reply != NULL)
        reply->conflicts = arena_alloc(&message->arena, item->conflict_count * sizeof(*reply->conflicts));
    if (reply == NULL || reply->conflicts == NULL) {
        message_unref(message);
        return false;
    }
    reply->error = ERROR_NOT_COMMITTED;
    for (struct reported_conflict *at = item->conflicts; at != NULL; at = at->next) {
        struct conflict *to = &reply->conflicts[reply->conflicts_count++];

        if (message_copy_body(&schema_conflict, &at->conflict, &message->arena, to) != 0) {
            message_unref(message);
            return false;
        }
    }
    rpc_reply(item->request, message);
    return true;
}

static void refuse(struct commit_batch *self, struct commit_item *item, int error)
{
    item->error = error;
    if (error != ERROR_NOT_COMMITTED || item->conflict_count == 0 || !answer_conflicts(item))
        rpc_fail(item->request, error);
    item->request = NULL;
    if (error == ERROR_NOT_COMMITTED)
        self->proxy->conflicts++;
    else if (error == ERROR_TRANSACTION_TOO_OLD)
        self->proxy->too_old++;
    else
        self->proxy->refused++;
}

static unsigned flags_of(const struct rpc_request *request, const struct commit *body)
{
    /* Only the controller writes recovery transactions. */
    return request->from_client ? body->flags & ~(unsigned)COMMIT_RECOVERY : body->flags;
}

static void take_request(struct commit_batch *self, struct rpc_request *request, size_t push_bytes)
{
    struct commit_item *item = &self->items[self->count++];
    const struct commit *body = MESSAGE_BODY(commit, request->message);
    int error;

    *item = (struct commit_item){.request = request, .body = body, .flags = flags_of(request, body)};
    item->mutations = body->mutations;
    self->bytes += commit_held_bytes(body);
    error = commit_check(body, item->flags, &item->facts);
    if (error == 0 && push_bytes > COMMIT_PUSH_BYTES_MAX)
        error = ERROR_TRANSACTION_TOO_LARGE;
    if (error == 0)
        self->push_bytes += push_bytes;
    if (error != 0)
        refuse(self, item, error);
}

static uint32_t count_limit(const struct commit_proxy *proxy)
{
    int64_t limit = proxy->context.env->knobs.commit_batch_count_max;

    if (BUGGIFY(proxy->context.env, "a batch closes after one to three transactions"))
        return 1 + (uint32_t)env_random_below(proxy->context.env, 3);
    return limit < 1 ? 1 : limit > (int64_t)BATCH_TRANSACTIONS_MAX ? BATCH_TRANSACTIONS_MAX : (uint32_t)limit;
}

static int take_queue(struct commit_batch *self)
{
    struct commit_proxy *proxy = self->proxy;
    uint32_t limit = count_limit(proxy);
    size_t bytes_max = (size_t)proxy->context.env->knobs.commit_batch_bytes_max;

    if (BUGGIFY(proxy->context.env, "a batch closes at a few hundred bytes"))
        bytes_max = 300;

    limit = limit < proxy->queued_count ? limit : proxy->queued_count;
    self->items = arena_alloc(&self->arena, limit * sizeof(*self->items));
    if (self->items == NULL)
        return ERROR_OUT_OF_MEMORY;
    if (limit > 0)
        commit_load_taken(proxy, list_entry(proxy->queue.next, struct rpc_request, link));
    while (self->count < limit && (self->count == 0 || self->bytes < bytes_max)) {
        struct rpc_request *request = list_entry(proxy->queue.next, struct rpc_request, link);
        const struct commit *body = MESSAGE_BODY(commit, request->message);
        size_t push_bytes = commit_push_bytes(proxy, body->mutations) + (body->idempotency_id.len > 0 ? IDEMPOTENCY_PUSH_BYTES : 0);

        if (self->count > 0 && (self->push_bytes + push_bytes > COMMIT_PUSH_BYTES_MAX ||
                                BUGGIFY_ONE_IN(proxy->context.env, 8, "a batch's push has no room for the next transaction")))
            break;
        list_remove(&request->link);
        proxy->queued_count--;
        take_request(self, request, push_bytes);
    }
    proxy->queued_bytes -= self->bytes;
    return 0;
}

static int make_arrays(struct commit_batch *self)
{
    const struct commit_proxy *proxy = self->proxy;
    uint32_t calls = proxy->resolver_count > proxy->generation.logs_count ? proxy->resolver_count : proxy->generation.logs_count;

    self->calls = arena_zalloc(&self->arena, calls * sizeof(*self->calls));
    self->asked = arena_zalloc(&self->arena, proxy->resolver_count * sizeof(*self->asked));
    return self->calls == NULL || self->asked == NULL ? ERROR_OUT_OF_MEMORY : take_queue(self);
}

static enum op_result get_version(struct op *op)
{
    struct commit_batch *self = batch_of(op);
    struct commit_proxy *proxy = self->proxy;
    struct get_commit_version *body;
    struct message *request;
    int error = make_arrays(self);

    assert(proxy->closing == self);
    proxy->closing = NULL;
    if (error == 0 && BUGGIFY_DEATH(op->env, DIES_ONE_IN, "a commit proxy ends before it asks for a version"))
        error = ERROR_OUT_OF_MEMORY;
    if (error != 0)
        return op_finish(op, error);
    body = MESSAGE_NEW(get_commit_version, &request);
    if (body == NULL)
        return op_finish(op, ERROR_OUT_OF_MEMORY);
    body->proxy = proxy->id;
    body->request = self->number;
    body->partition = resolver_map_newest(&proxy->resolver_map)->number;
    call(self, proxy->sequencer, request);
    commit_proxy_go(proxy); /* another slot may take what is left */
    return op_wait(op, RESOLVE);
}

/* ---- RESOLVE ---- */

/* What depends on the version: its stamps, what it changes of the metadata, and reads from the future. */
static int complete_item(struct commit_batch *self, uint32_t index)
{
    struct commit_item *item = &self->items[index];
    struct bytes_buffer metadata = {0};
    int error = 0;

    if (item->body->read_version >= self->version) { /* it hears so when the resolvers have taken our version for true */
        item->error = ERROR_VERSION_INVALID;
        return 0;
    }
    if (item->body->read_conflicts.len > 0 && commit_resolve_is_forgotten(self->proxy, item->body->read_version)) {
        item->error = ERROR_TRANSACTION_TOO_OLD;
        return 0;
    }
    if (item->facts.versionstamps > 0) {
        error = arena_copy(&self->arena, item->body->mutations, &item->mutations);
        if (error == 0)
            error = mutation_patch_versionstamps((uint8_t *)item->mutations.ptr, item->mutations.len, self->version,
                                                 PLANTED_BUG(VERSIONSTAMP_REUSED) ? 0 : (uint16_t)index);
    }
    if (error == 0 && item->body->idempotency_id.len > 0)
        error = commit_add_idempotency(self, index);
    if (error != 0 || !item->facts.touches_system)
        return error;
    error = commit_metadata_part(item->mutations, &metadata);
    if (error == 0)
        error = arena_copy(&self->arena, bytes_buffer_bytes(&metadata), &item->metadata);
    bytes_buffer_done(&metadata);
    return error;
}

static int take_version(struct commit_batch *self)
{
    const struct get_commit_version_reply *reply = MESSAGE_BODY(get_commit_version_reply, self->calls[0].reply);
    int error = 0;

    /* What was applied is of lower batches, so it is this one's predecessor or below it; at first it is the recovery version. */
    if (reply->version <= reply->prev_version || reply->prev_version < self->proxy->applied_version)
        return ERROR_OPERATION_FAILED;
    self->version = reply->version;
    self->prev_version = reply->prev_version;
    error = commit_resolve_take_partition(self, reply);
    for (uint32_t i = 0; i < self->count && error == 0; i++)
        if (self->items[i].error == 0)
            error = complete_item(self, i);
    return error;
}

static enum op_result resolve(struct op *op)
{
    struct commit_batch *self = batch_of(op);
    struct commit_proxy *proxy = self->proxy;
    int error = self->call_error;

    if (error == 0 && BUGGIFY_DEATH(op->env, DIES_ONE_IN, "a commit proxy ends with a version that nobody will ever use"))
        error = ERROR_OUT_OF_MEMORY;
    if (error != 0)
        return op_finish(op, error);
    if (dawdles(self))
        return op_wait(op, RESOLVE);
    error = take_version(self);
    clear_calls(self);
    for (uint32_t i = 0; i < proxy->resolver_count && error == 0; i++) {
        struct message *request;

        error = commit_resolve_request(self, i, &request);
        if (error == 0)
            call(self, proxy->resolvers[i], request);
    }
    return error != 0 ? op_finish(op, error) : op_wait(op, APPLY_METADATA);
}

/* ---- APPLY_METADATA ---- */

static void answer_refused(struct commit_batch *self)
{
    for (uint32_t i = 0; i < self->count; i++)
        if (self->items[i].error != 0 && self->items[i].request != NULL)
            refuse(self, &self->items[i], self->items[i].error);
}

static enum op_result apply_metadata(struct op *op)
{
    struct commit_batch *self = batch_of(op);
    struct commit_proxy *proxy = self->proxy;
    int error = self->call_error;

    if (error == 0 && BUGGIFY_DEATH(op->env, DIES_ONE_IN, "a commit proxy ends when its batch has been judged"))
        error = ERROR_OUT_OF_MEMORY;
    if (error != 0)
        return op_finish(op, error);
    if (!turnstile_enter(&proxy->apply_turn, &self->turn, op, (int64_t)self->number)) {
        PROBE(op->env, "a batch waits for the metadata of the one before");
        return op_wait(op, APPLY_METADATA);
    }
    assert(proxy->apply_turn.now == (int64_t)self->number);
    if (self->version <= proxy->applied_version) /* the sequencer gave versions out of order */
        return op_finish(op, ERROR_OPERATION_FAILED);
    error = commit_resolve_judge(self);
    if (error == 0)
        error = commit_metadata_apply(self);
    if (error == 0)
        error = commit_push_build(self);
    clear_calls(self);
    if (error != 0)
        return op_finish(op, error);
    answer_refused(self); /* a conflict is certain now, whatever becomes of the rest */
    turnstile_advance(&proxy->apply_turn, (int64_t)self->number + 1);
    return op_move(op, LOG);
}

/* ---- LOG ---- */

static enum op_result log_push(struct op *op)
{
    struct commit_batch *self = batch_of(op);
    struct commit_proxy *proxy = self->proxy;

    if (dawdles(self))
        return op_wait(op, LOG);
    if (MESSAGE_BODY(push, self->pushes[0])->known_committed > proxy->told_committed)
        proxy->told_committed = MESSAGE_BODY(push, self->pushes[0])->known_committed;
    for (uint32_t i = 0; i < proxy->generation.logs_count; i++) {
        call(self, endpoint_of(&proxy->generation.logs[i].endpoint), self->pushes[i]);
        self->pushes[i] = NULL;
    }
    return op_wait(op, REPORT);
}

/* ---- REPORT ---- */

static void release_slot(struct commit_batch *self)
{
    if (!self->holds_slot)
        return;
    self->holds_slot = false;
    assert(self->proxy->slots_used > 0);
    self->proxy->slots_used--;
}

static void answer_committed(struct commit_batch *self, uint32_t index)
{
    struct commit_item *item = &self->items[index];
    struct message *message;
    struct commit_reply *reply = MESSAGE_NEW(commit_reply, &message);

    if (reply == NULL || arena_copy(&message->arena, self->metadata_version, &reply->metadata_version) != 0) {
        message_unref(message);
        return; /* its fate is unknown to the client; answered when the batch has ended */
    }
    if (BUGGIFY_ONE_IN(self->op.env, 32, "a client never hears that its commit is done")) {
        message_unref(message);
        rpc_fail(item->request, ERROR_REQUEST_MAYBE_DELIVERED);
        item->request = NULL;
        return;
    }
    reply->version = self->version;
    reply->batch_index = index;
    rpc_reply(item->request, message);
    item->request = NULL;
    self->proxy->committed++;
}

static void answer_all(struct commit_batch *self)
{
    for (uint32_t i = 0; i < self->count; i++)
        if (self->items[i].request != NULL)
            answer_committed(self, i);
}

static int send_report(struct commit_batch *self)
{
    struct message *request;
    struct report_committed *body = MESSAGE_NEW(report_committed, &request);

    if (body == NULL)
        return ERROR_OUT_OF_MEMORY;
    body->version = self->version;
    body->changed = self->state_changed;
    body->locked = self->locked;
    if (arena_copy(&request->arena, self->metadata_version, &body->metadata_version) != 0) {
        message_unref(request);
        return ERROR_OUT_OF_MEMORY;
    }
    call(self, self->proxy->sequencer, request);
    return 0;
}

static enum op_result report(struct op *op)
{
    struct commit_batch *self = batch_of(op);
    int error = self->call_error;

    if (error == 0 && BUGGIFY_DEATH(op->env, DIES_ONE_IN, "a commit proxy ends when every log has its batch"))
        error = ERROR_OUT_OF_MEMORY;
    if (error != 0)
        return op_finish(op, error);
    if (self->holds_slot) {
        assert(self->calls_pending == 0 && self->call_count == self->proxy->generation.logs_count);
        clear_calls(self);
        release_slot(self);
        commit_proxy_go(self->proxy);
    }
    if (dawdles(self))
        return op_wait(op, REPORT);
    error = send_report(self);
    if (PLANTED_BUG(REPLY_BEFORE_REPORT))
        answer_all(self);
    return error != 0 ? op_finish(op, error) : op_wait(op, REPLY);
}

/* ---- REPLY ---- */

static enum op_result reply_to_clients(struct op *op)
{
    struct commit_batch *self = batch_of(op);
    struct commit_proxy *proxy = self->proxy;

    if (self->call_error != 0)
        return op_finish(op, self->call_error);
    if (dawdles(self))
        return op_wait(op, REPLY);
    if (BUGGIFY_DEATH(op->env, DIES_ONE_IN, "a commit proxy ends before it tells the clients"))
        return op_finish(op, ERROR_OUT_OF_MEMORY);
    if (self->version > proxy->known_committed)
        proxy->known_committed = self->version;
    answer_all(self);
    settings_look(proxy);
    return op_finish(op, 0);
}

/* ---- life ---- */

static void ended(struct op *op)
{
    struct commit_batch *self = batch_of(op);
    struct commit_proxy *proxy = self->proxy;
    int error = op->error;

    clear_calls(self);
    release_slot(self);
    if (proxy->closing == self)
        proxy->closing = NULL;
    for (uint32_t i = 0; i < self->count; i++)
        if (self->items[i].request != NULL) {
            PROBE(op->env, "a commit's fate is unknown: its batch ended half way");
            rpc_fail(self->items[i].request, ERROR_BROKEN_PROMISE);
        }
    for (uint32_t i = 0; self->pushes != NULL && i < proxy->generation.logs_count; i++)
        message_unref(self->pushes[i]);
    message_unref(self->content);
    bytes_buffer_done(&self->privates);
    bytes_buffer_done(&self->sections);
    bytes_buffer_done(&self->pieces);
    proxy->held_bytes -= self->bytes;
    proxy->batches_under_way--;
    if (error == 0) {
        proxy->batches++;
        proxy->empty_batches += self->count == 0;
    }
    arena_done(&self->arena);
    mem_free(self);
    if (error == ERROR_OPERATION_CANCELLED)
        return;
    if (error != 0)
        commit_proxy_end(proxy, error, "a batch failed");
    commit_proxy_batch_ended(proxy, error == 0);
}

static const struct op_stage stages[STAGES] = {
    [GET_VERSION] = {"GET_VERSION", get_version, OP_STAGE(RESOLVE)},
    [RESOLVE] = {"RESOLVE", resolve, OP_STAGE(RESOLVE) | OP_STAGE(APPLY_METADATA)},
    [APPLY_METADATA] = {"APPLY_METADATA", apply_metadata, OP_STAGE(APPLY_METADATA) | OP_STAGE(LOG)},
    [LOG] = {"LOG", log_push, OP_STAGE(LOG) | OP_STAGE(REPORT)},
    [REPORT] = {"REPORT", report, OP_STAGE(REPORT) | OP_STAGE(REPLY)},
    [REPLY] = {"REPLY", reply_to_clients, OP_STAGE(REPLY)},
};
static const struct op_type commit_batch_type = {"commit_batch", stages, STAGES, READY_COMMIT, ended};

/* Through the ready queue: what arrives in the same turn still joins it. */
void commit_batch_start(struct commit_proxy *proxy)
{
    struct commit_batch *self = mem_zalloc(sizeof(*self));

    if (self == NULL) {
        commit_proxy_end(proxy, ERROR_OUT_OF_MEMORY, "no memory for a batch");
        return;
    }
    assert(proxy->closing == NULL);
    self->proxy = proxy;
    self->number = ++proxy->newest_batch;
    self->holds_slot = true;
    proxy->slots_used++;
    proxy->batches_under_way++;
    proxy->closing = self;
    proxy->newest_batch_us = env_now_us(proxy->context.env);
    op_start(&self->op, &commit_batch_type, &proxy->ops);
}
