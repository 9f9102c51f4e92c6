/* Life, dispatch and the queue; a batch's way is grv_batch.c. */
#include "roles/grv_proxy/grv_proxy.h"

#include <assert.h>

#include "net/buggify.h"
#include "net/mem.h"
#include "net/planted_bug.h"
#include "roles/grv_proxy/grv_proxy_impl.h"

/* How many times grv_queue_wait_us a request waits before it is refused; and how soon, and late, the queue is looked at again. */
enum { PATIENCE = 4, BATCH_PATIENCE = 20, LOOK_US_MIN = 200, LOOK_US_MAX = 50000, LEASE_US_MAX = 60000000 };

static bool nobody_waits(const struct grv_proxy *self)
{
    return self->tags.queued == 0 && list_empty(&self->immediate) && list_empty(&self->queues[GRV_DEFAULT]) && list_empty(&self->queues[GRV_BATCH]);
}

static void invariant_grv_proxy(void *owner)
{
    const struct grv_proxy *self = owner;
    unsigned in_use = 0;

    assert((self->immediate_transactions == 0) == list_empty(&self->immediate));
    for (int i = 0; i < GRV_PRIORITIES; i++)
        assert((self->queued[i] == 0) == list_empty(&self->queues[i]));
    for (unsigned i = 0; i < GRV_BATCHES_MAX; i++) {
        in_use += self->batches[i].in_use;
        assert(self->batches[i].in_use || list_empty(&self->batches[i].requests));
    }
    assert(self->ended || nobody_waits(self) || in_use > 0 || self->turn.heap_index_plus_1 != 0); /* nobody is forgotten */
}

static void fail_list(struct list *list)
{
    while (!list_empty(list))
        rpc_fail(list_entry(list_pop_front(list), struct rpc_request, link), ERROR_BROKEN_PROMISE);
}

static void fail_all(struct grv_proxy *self)
{
    env_timer_cancel(self->context.env, &self->turn);
    fail_list(&self->immediate);
    self->immediate_transactions = 0;
    for (int i = 0; i < GRV_PRIORITIES; i++) {
        fail_list(&self->queues[i]);
        self->queued[i] = 0;
    }
    for (unsigned i = 0; i < GRV_TAGS_MAX; i++)
        for (int p = 0; p < GRV_PRIORITIES; p++) {
            fail_list(&self->tags.tags[i].queues[p]);
            self->tags.queued -= self->tags.tags[i].queued[p];
            self->tags.tags[i].queued[p] = 0;
        }
    assert(self->tags.queued == 0);
}

void grv_proxy_end(struct grv_proxy *self, int error)
{
    if (self->ended)
        return;
    self->ended = true;
    TRACE(self->context.env, SEVERITY_INFO, "RoleCannotGoOn", {"Role", trace_str("grv_proxy")}, {"Id", trace_id(self->id)},
          {"Epoch", trace_int((int64_t)self->epoch)}, {"Error", trace_int(error)});
    fail_all(self);
    self->context.ended(self->context.host, ROLE_GRV_PROXY, self->id, error);
}

/* ---- who may start ---- */

static double floor_of(const struct grv_proxy *self)
{
    return (double)self->context.env->knobs.grv_rate_floor;
}

static void fill_rate(struct grv_proxy *self)
{
    for (int i = 0; i < GRV_PRIORITIES; i++)
        self->rate.buckets[i].waits = self->queued[i] > 0;
    grv_rate_fill(&self->rate, env_now_us(self->context.env), floor_of(self));
}

static uint64_t count_of(const struct rpc_request *request)
{
    uint64_t count = MESSAGE_BODY(get_read_version, request->message)->count;

    return count == 0 ? 1 : count;
}

static void move_first(struct list *from, uint64_t *queued, struct grv_batch *batch)
{
    struct list *first = list_pop_front(from);
    uint64_t count = count_of(list_entry(first, struct rpc_request, link));

    list_push_back(&batch->requests, first);
    batch->transaction_count += count;
    *queued -= count;
}

void grv_proxy_take(struct grv_proxy *self, struct grv_batch *batch, bool one)
{
    batch->transaction_count = 0;
    fill_rate(self);
    while (!list_empty(&self->immediate) && !(one && batch->transaction_count > 0))
        move_first(&self->immediate, &self->immediate_transactions, batch);
    for (int i = 0; i < GRV_PRIORITIES; i++) {
        while (!list_empty(&self->queues[i]) && grv_rate_may_start(&self->rate, (enum grv_priority)i) &&
               !(one && batch->transaction_count > 0)) {
            uint64_t before = batch->transaction_count;

            move_first(&self->queues[i], &self->queued[i], batch);
            grv_rate_started(&self->rate, (enum grv_priority)i, batch->transaction_count - before);
            self->started += batch->transaction_count - before;
            self->started_batch += i == GRV_BATCH ? batch->transaction_count - before : 0;
        }
    }
}

/* Who has waited for too long is refused: the client backs off. What waits here is bounded in time, not only in number. */
static void refuse_late(struct grv_proxy *self, enum grv_priority priority, int64_t now_us)
{
    struct list *queue = &self->queues[priority];
    int64_t bound_us = self->context.env->knobs.grv_queue_wait_us * (priority == GRV_BATCH ? BATCH_PATIENCE : PATIENCE);

    while (!list_empty(queue)) {
        struct rpc_request *request = list_entry(queue->next, struct rpc_request, link);

        if (now_us - (int64_t)(intptr_t)request->owner_data <= bound_us)
            return;
        PROBE(self->context.env, "a transaction that has waited for its turn is refused");
        list_remove(&request->link);
        self->queued[priority] -= count_of(request);
        *(priority == GRV_BATCH ? &self->batch_refused : &self->refused) += count_of(request);
        rpc_fail(request, priority == GRV_BATCH ? ERROR_BATCH_TRANSACTION_THROTTLED : ERROR_GRV_PROXY_MEMORY_LIMIT_EXCEEDED);
    }
}

static void enqueue(struct grv_proxy *self, struct rpc_request *request, enum grv_priority priority, int64_t now_us)
{
    request->owner_data = (void *)(intptr_t)now_us;
    list_push_back(&self->queues[priority], &request->link);
    self->queued[priority] += count_of(request);
}

/* It is held back by another of its tags, or waits for its turn as everybody does. */
static void pass_tag(struct grv_proxy *self, struct rpc_request *request, enum grv_priority priority, int64_t now_us)
{
    const struct get_read_version *body = MESSAGE_BODY(get_read_version, request->message);
    struct grv_tag *tag = grv_tags_blocking(&self->tags, body, priority, true);

    if (tag != NULL) {
        grv_tags_hold(&self->tags, tag, priority, request, count_of(request));
        return;
    }
    request->owner_number = now_us - (int64_t)(intptr_t)request->owner_data;
    grv_tags_started(&self->tags, body, priority, count_of(request));
    enqueue(self, request, priority, now_us);
}

/* Those of a tag that may start now go on; those that have waited for too long are refused, as FoundationDB's proxies do. */
static void look_at_tags(struct grv_proxy *self, int64_t now_us)
{
    int64_t since_us = now_us - self->context.env->knobs.grv_tag_wait_us;
    struct rpc_request *request;

    grv_tags_fill(&self->tags, now_us);
    for (unsigned i = 0; i < GRV_TAGS_MAX && self->tags.queued > 0; i++)
        for (int p = 0; p < GRV_PRIORITIES; p++) {
            struct grv_tag *tag = &self->tags.tags[i];

            while ((request = grv_tags_next(&self->tags, tag, (enum grv_priority)p)) != NULL)
                pass_tag(self, request, (enum grv_priority)p, now_us);
            while ((request = grv_tags_late(&self->tags, tag, (enum grv_priority)p, since_us)) != NULL) {
                PROBE(self->context.env, "a transaction that a tag's limit has held back for long is refused");
                self->tag_refused += count_of(request);
                rpc_fail(request, ERROR_TAG_THROTTLED);
            }
        }
}

/* 0: somebody may start now; negative: nobody waits. */
static int64_t wait_for_turn_us(struct grv_proxy *self)
{
    int64_t least_us = grv_tags_wait_us(&self->tags);

    if (!list_empty(&self->immediate))
        return 0;
    for (int i = 0; i < GRV_PRIORITIES; i++) {
        int64_t wait_us;

        if (list_empty(&self->queues[i]))
            continue;
        wait_us = grv_rate_wait_us(&self->rate, (enum grv_priority)i, floor_of(self));
        if (least_us < 0 || wait_us < least_us)
            least_us = wait_us;
    }
    return least_us;
}

/* A batch takes what may start when it runs, through the ready queue: requests of the same turn travel in one batch. Who may not
 * start yet waits for the timer, which fires when a whole start has come together. */
void grv_proxy_go(struct grv_proxy *self)
{
    int64_t now_us = env_now_us(self->context.env), wait_us;
    struct grv_batch *free_one = NULL;

    env_timer_cancel(self->context.env, &self->turn);
    if (self->ended || nobody_waits(self))
        return;
    fill_rate(self);
    for (int i = 0; i < GRV_PRIORITIES; i++)
        refuse_late(self, (enum grv_priority)i, now_us);
    look_at_tags(self, now_us);
    wait_us = wait_for_turn_us(self);
    if (wait_us < 0)
        return;
    if (wait_us > 0) {
        env_timer_start(self->context.env, &self->turn, now_us + (wait_us < LOOK_US_MIN ? LOOK_US_MIN : wait_us > LOOK_US_MAX ? LOOK_US_MAX : wait_us));
        return;
    }
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

static void turn_fired(struct env_timer *timer)
{
    grv_proxy_go(container_of(timer, struct grv_proxy, turn));
}

/* ---- requests ---- */

/* One request alone is always taken, or a large one never would be. */
static bool queue_is_full(struct grv_proxy *self, enum grv_priority priority, uint64_t count)
{
    const struct knobs *knobs = &self->context.env->knobs;
    uint64_t queued = self->queued[GRV_DEFAULT] + self->queued[GRV_BATCH] + self->immediate_transactions;
    int64_t bound_us = knobs->grv_queue_wait_us * (priority == GRV_BATCH ? BATCH_PATIENCE / 2 : 1);

    if (queued > 0 && queued + count > (uint64_t)knobs->grv_queue_max)
        return true;
    if (self->queued[priority] == 0)
        return false;
    fill_rate(self);
    return grv_rate_takes_us(&self->rate, priority, floor_of(self), self->queued[priority] + count) > bound_us ||
           BUGGIFY_ONE_IN(self->context.env, 32, "a request for a read version meets a full queue");
}

/* True: one of its tags is at its limit, and that is its end for now. */
static bool is_held_by_tag(struct grv_proxy *self, struct rpc_request *request, enum grv_priority priority, int64_t now_us)
{
    const struct get_read_version *body = MESSAGE_BODY(get_read_version, request->message);
    uint64_t count = count_of(request);
    struct grv_tag *tag;

    grv_tags_fill(&self->tags, now_us);
    tag = grv_tags_blocking(&self->tags, body, priority, false);
    if (tag == NULL)
        return false;
    if ((tag->queued[priority] > 0 && tag->queued[priority] + count > (uint64_t)self->context.env->knobs.grv_tag_queue_max) ||
        BUGGIFY_ONE_IN(self->context.env, 32, "a tag's queue is full")) {
        PROBE(self->context.env, "the queue of a tag is full");
        self->tag_refused += count;
        rpc_fail(request, ERROR_TAG_THROTTLED);
        return true;
    }
    PROBE(self->context.env, "a tag's limit holds back a transaction");
    self->requests_in++;
    self->transactions_in += count;
    self->tag_delayed += count;
    request->owner_data = (void *)(intptr_t)now_us;
    grv_tags_hold(&self->tags, tag, priority, request, count);
    grv_proxy_go(self);
    return true;
}

static void receive_get_read_version(struct grv_proxy *self, struct rpc_request *request)
{
    const struct get_read_version *body = MESSAGE_BODY(get_read_version, request->message);
    enum grv_priority priority = (body->flags & GRV_PRIORITY_BATCH) != 0 ? GRV_BATCH : GRV_DEFAULT;
    bool immediate = (body->flags & GRV_PRIORITY_IMMEDIATE) != 0;
    int64_t now_us = env_now_us(self->context.env);
    uint64_t count = count_of(request);

    if (self->ended || !grv_tags_are_sound(body)) {
        rpc_fail(request, self->ended ? ERROR_BROKEN_PROMISE : ERROR_CLIENT_INVALID_OPERATION);
        return;
    }
    grv_tags_wanted(&self->tags, now_us, body, count);
    if (!immediate && self->tags.limited > 0 && is_held_by_tag(self, request, priority, now_us))
        return;
    /* Nothing holds back the cluster's own transactions; an operator's are never slowed, but a program's could be without number. */
    if (immediate ? request->from_client && self->immediate_transactions > (uint64_t)self->context.env->knobs.grv_queue_max
                  : queue_is_full(self, priority, count)) {
        PROBE(self->context.env, "the queue of a GRV proxy is full");
        *(priority == GRV_BATCH ? &self->batch_refused : &self->refused) += count;
        rpc_fail(request, priority == GRV_BATCH ? ERROR_BATCH_TRANSACTION_THROTTLED : ERROR_GRV_PROXY_MEMORY_LIMIT_EXCEEDED);
        return;
    }
    self->requests_in++;
    self->transactions_in += count;
    if (!immediate) {
        grv_tags_started(&self->tags, body, priority, count);
        enqueue(self, request, priority, now_us);
    } else {
        self->immediate_transactions += count;
        list_push_back(&self->immediate, &request->link);
    }
    rate_reporter_hurry(&self->reporter);
    grv_proxy_go(self);
}

/* ---- the ratekeeper ---- */

/* Of those that wait for their turn, the one that came first. */
static int64_t oldest_waits_us(const struct grv_proxy *self)
{
    int64_t now_us = env_now_us(self->context.env), most_us = 0;

    for (int i = 0; i < GRV_PRIORITIES; i++)
        if (!list_empty(&self->queues[i])) {
            int64_t waits_us = now_us - (int64_t)(intptr_t)list_entry(self->queues[i].next, struct rpc_request, link)->owner_data;

            most_us = waits_us > most_us ? waits_us : most_us;
        }
    return most_us;
}

static struct message *make_report(void *ctx, bool *ret_busy)
{
    struct grv_proxy *self = ctx;
    struct message *message;
    struct proxy_load *load = MESSAGE_NEW(proxy_load, &message);

    load->id = self->id;
    load->kind = ROLE_GRV_PROXY;
    load->started = (int64_t)self->started;
    load->wait_us = oldest_waits_us(self);
    grv_tags_report(&self->tags, env_now_us(self->context.env), &message->arena, load);
    *ret_busy = self->started != self->reported || !nobody_waits(self);
    self->reported = self->started;
    return message;
}

static void take_lease(void *ctx, const struct rate_lease *lease)
{
    struct grv_proxy *self = ctx;

    if (self->ended || lease->lease_us <= 0)
        return;
    grv_rate_fill(&self->rate, env_now_us(self->context.env), floor_of(self));
    grv_rate_lease(&self->rate, env_now_us(self->context.env), (double)lease->rate_milli / 1000, (double)lease->batch_rate_milli / 1000,
                   lease->lease_us < LEASE_US_MAX ? lease->lease_us : LEASE_US_MAX);
    grv_tags_lease(&self->tags, env_now_us(self->context.env), lease, lease->lease_us < LEASE_US_MAX ? lease->lease_us : LEASE_US_MAX);
    if (lease->rate_milli >= 0)
        PROBE(self->context.env, "a GRV proxy is given a rate that limits");
    grv_proxy_go(self);
}

void grv_proxy_described(struct grv_proxy *self, const struct description *description)
{
    rate_reporter_described(&self->reporter, description);
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
    list_init(&self->immediate);
    for (int i = 0; i < GRV_PRIORITIES; i++)
        list_init(&self->queues[i]);
    grv_rate_init(&self->rate, env_now_us(context->env));
    grv_tags_init(&self->tags, env_now_us(context->env));
    self->turn.fire = turn_fired;
    self->reporter = (struct rate_reporter){.rpc = context->rpc, .make = make_report, .take = take_lease, .ctx = self};
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
    rate_reporter_start(&self->reporter, &self->ops);
    *ret_proxy = self;
    return 0;
}

void grv_proxy_destroy(struct grv_proxy *self)
{
    if (self == NULL)
        return;
    rpc_unregister(self->context.rpc, self->id);
    op_cancel_all(&self->ops);
    fail_all(self);
    dispose(self);
}

/* -1: nothing limits. */
static int64_t limit_of(const struct grv_proxy *self, enum grv_priority priority)
{
    double effective = grv_rate_effective(&self->rate, priority, env_now_us(self->context.env), floor_of(self));

    return effective < 0 ? -1 : (int64_t)effective;
}

void grv_proxy_status(const struct grv_proxy *self, struct role_status *status, struct arena *arena)
{
    role_metric(status, arena, "transactions_started", (int64_t)self->transactions_out);
    role_metric(status, arena, "transaction_requests", (int64_t)self->transactions_in);
    role_metric(status, arena, "requests", (int64_t)self->requests_in);
    role_metric(status, arena, "batches", (int64_t)self->batches_done);
    role_metric(status, arena, "queued_transactions",
                (int64_t)(self->immediate_transactions + self->queued[GRV_DEFAULT] + self->queued[GRV_BATCH]));
    role_metric(status, arena, "refused_transactions", (int64_t)self->refused);
    role_metric(status, arena, "refused_batch_transactions", (int64_t)self->batch_refused);
    role_metric(status, arena, "tag_refused_transactions", (int64_t)self->tag_refused);
    role_metric(status, arena, "tag_delayed_transactions", (int64_t)self->tag_delayed);
    role_metric(status, arena, "tag_queued_transactions", (int64_t)self->tags.queued);
    role_metric(status, arena, "limited_tags", self->tags.limited);
    role_metric(status, arena, "started_batch_transactions", (int64_t)self->started_batch);
    role_metric(status, arena, "rate_lease_lapsed", grv_rate_lapsed(&self->rate, env_now_us(self->context.env)));
    role_metric(status, arena, "rate_limit", limit_of(self, GRV_DEFAULT));
    role_metric(status, arena, "batch_rate_limit", limit_of(self, GRV_BATCH));
    role_metric(status, arena, "read_version", self->newest_answered);
}
