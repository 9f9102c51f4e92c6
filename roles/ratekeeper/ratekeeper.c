/* Life and dispatch of the ratekeeper: reports come in, leases go out. What the rate is: ratekeeper_rate.c.
 *
 * Every role reports by itself, and every report is answered with a lease, so the ratekeeper keeps no timers and asks nobody. A rate is worked out
 * anew when a report comes UPDATE_US after the last time. A GRV proxy's share of the rate is half an equal one, half by what it started
 * lately: a busy one gets more, an idle one can begin at once. */
#include "roles/ratekeeper/ratekeeper.h"

#include <stdio.h>

#include "net/buggify.h"
#include "net/mem.h"
#include "roles/ratekeeper/ratekeeper_internal.h"

enum { UPDATE_US = 50000, WRITERS_TOLD_MAX = 64 };

/* ---- rates ---- */

static void tell_changes(struct ratekeeper *self)
{
    const struct rate_core *core = &self->core;

    if (core->hold_sets != self->told_hold)
        TRACE(self->context.env, SEVERITY_WARN_ALWAYS, core->hold_sets ? "SetsHeldBack" : "SetsGoOn",
              {"Reason", trace_str(rate_reason_name(core->hold_reason))}, {"Id", trace_id(core->hold_id)},
              {"FreeBytes", trace_int(core->hold_free_bytes)});
    if (core->hold_sets && !self->told_hold)
        PROBE(self->context.env, "a disk is nearly full: transactions that set are held back");
    if (core->normal.reason != self->told_reason)
        TRACE(self->context.env, SEVERITY_INFO, "RateLimitedBy", {"Reason", trace_str(rate_reason_name(core->normal.reason))},
              {"Id", trace_id(core->normal.id)}, {"Rate", trace_int((int64_t)core->normal.rate)});
    if (core->normal.reason != RATE_WORKLOAD)
        PROBE(self->context.env, "the ratekeeper slows down the start of transactions");
    self->told_hold = core->hold_sets;
    self->told_reason = core->normal.reason;
}

void ratekeeper_tell_tag_limits(struct ratekeeper *self)
{
    for (unsigned i = 0; i < RATE_TAG_LIMITS_MAX; i++) {
        struct rate_tag_limit *limit = &self->tags->limits[i];
        const struct throttle *throttle = &limit->throttle;
        bool holds = limit->used && throttle->type == THROTTLE_AUTO;

        if (holds && !limit->told)
            TRACE(self->context.env, SEVERITY_INFO, "TagLimited", {"Tag", trace_bytes(tag_bytes(&throttle->tag))},
                  {"Rate", trace_int((int64_t)throttle->rate)}, {"Reason", trace_str(throttle_reason_name(throttle->reason))},
                  {"Server", trace_id(limit->server)});
        else if (!holds && limit->told)
            TRACE(self->context.env, SEVERITY_INFO, "TagLimitEnded", {"Tag", trace_bytes(tag_bytes(&throttle->tag))});
        limit->told = holds;
    }
}

static void update(struct ratekeeper *self)
{
    int64_t now_us = env_now_us(self->context.env);
    uint32_t changes = self->tags->changes;

    if (now_us - self->core.updated_us < UPDATE_US)
        return;
    rate_core_update(&self->core, now_us);
    tell_changes(self);
    if (self->tags->changes != changes) {
        ratekeeper_tell_tag_limits(self);
        throttles_changed(self);
    }
    if (self->tags->auto_count > 0)
        PROBE(self->context.env, "the ratekeeper limits a tag by itself");
}

static int64_t share_milli(const struct ratekeeper *self, double rate, uint64_t id)
{
    const struct rate_core *core = &self->core;
    double equal = 1.0 / (core->live_grv_proxies == 0 ? 1 : core->live_grv_proxies), own = equal;

    if (rate >= RATE_UNLIMITED)
        return -1;
    for (int i = 0; i < RATE_PROXIES_MAX && core->released > 0; i++)
        if (core->proxies[i].id == id)
            own = core->proxies[i].started.rate / core->released;
    return (int64_t)(rate * (equal + own) / 2 * 1000);
}

static void answer(struct ratekeeper *self, struct rpc_request *request, uint64_t id)
{
    struct message *message;
    struct rate_lease *lease = MESSAGE_NEW(rate_lease, &message);

    self->reports++;
    update(self);
    lease->rate_milli = share_milli(self, self->core.normal.rate, id);
    lease->batch_rate_milli = share_milli(self, self->core.batch.rate, id);
    lease->lease_us = self->context.env->knobs.rate_lease_us;
    lease->hold_sets = self->core.hold_sets;
    lease->reason = self->core.normal.reason;
    if (id != 0)
        rate_tags_lease(self->tags, env_now_us(self->context.env), id, self->core.live_grv_proxies, self->core.limits.stale_us, &message->arena, lease);
    if (BUGGIFY_ONE_IN(self->context.env, 16, "the ratekeeper gives little for no reason"))
        lease->rate_milli = lease->batch_rate_milli = (int64_t)env_random_below(self->context.env, 100000) + 1000;
    if (BUGGIFY_ONE_IN(self->context.env, 64, "the ratekeeper holds back sets though there is room"))
        lease->hold_sets = true;
    rpc_reply(request, message);
}

static void receive(void *ctx, struct rpc_request *request)
{
    struct ratekeeper *self = ctx;
    int64_t now_us = env_now_us(self->context.env);
    const struct message *message = request->message;

    if (BUGGIFY_DEATH(self->context.env, 2000, "the ratekeeper ends when it gets a report")) {
        rpc_fail(request, ERROR_BROKEN_PROMISE);
        self->context.ended(self->context.host, ROLE_RATEKEEPER, self->id, ERROR_OPERATION_FAILED);
    } else if (message->type == &message_type_storage_load) {
        rate_note_storage(&self->core, now_us, request->peer, MESSAGE_BODY(storage_load, message));
        answer(self, request, 0);
    } else if (message->type == &message_type_log_load) {
        rate_note_log(&self->core, now_us, request->peer, MESSAGE_BODY(log_load, message));
        answer(self, request, 0);
    } else if (message->type == &message_type_proxy_load) {
        const struct proxy_load *load = MESSAGE_BODY(proxy_load, message);

        rate_note_proxy(&self->core, now_us, request->peer, load);
        rate_tags_note_proxy(self->tags, now_us, load, self->core.limits.smoothing_us);
        answer(self, request, load->kind == ROLE_GRV_PROXY ? load->id : 0);
    } else {
        rpc_fail(request, ERROR_CLIENT_INVALID_OPERATION);
    }
}

void ratekeeper_described(struct ratekeeper *self, const struct description *description)
{
    rate_core_epoch(&self->core, description->recovery_transaction_version);
}

/* ---- life ---- */

static void dispose(struct ratekeeper *self)
{
    client_destroy(self->client);
    mem_free(self->sources);
    mem_free(self->tags);
    mem_free(self);
}

static struct rate_limits limits_of(const struct knobs *knobs)
{
    return (struct rate_limits){.smoothing_us = knobs->ratekeeper_smoothing_us,
                                .stale_us = knobs->ratekeeper_stale_us,
                                .hold_free_bytes = knobs->ratekeeper_hold_free_bytes,
                                .read_lag_us = knobs->ratekeeper_read_lag_us,
                                .durability_lag_us = knobs->ratekeeper_durability_lag_us,
                                .catch_up_us = knobs->ratekeeper_catch_up_us,
                                .commit_wait_us = knobs->ratekeeper_commit_wait_us};
}

int ratekeeper_create(const struct role_context *context, struct rpc_request *request, struct ratekeeper **ret_ratekeeper)
{
    const struct init_ratekeeper *body = MESSAGE_BODY(init_ratekeeper, request->message);
    struct ratekeeper *self = mem_zalloc(sizeof(*self));
    struct rate_limits limits = limits_of(&context->env->knobs);
    struct message *message = NULL;
    struct role_started *started = NULL;
    int error;

    if (self == NULL)
        return ERROR_OUT_OF_MEMORY;
    self->context = *context;
    self->id = body->role_id;
    op_list_init(&self->ops, context->env, self);
    self->sources = mem_zalloc(RATE_STORAGE_MAX * sizeof(*self->sources));
    self->tags = mem_zalloc(sizeof(*self->tags));
    error = self->sources == NULL || self->tags == NULL ? ERROR_OUT_OF_MEMORY : role_client_create(context, &self->client);
    if (error == 0 && (started = MESSAGE_NEW(role_started, &message)) == NULL)
        error = ERROR_OUT_OF_MEMORY;
    if (error != 0) {
        dispose(self);
        return error;
    }
    rate_core_init(&self->core, &limits, self->sources);
    self->core.tags = self->tags;
    self->tags->auto_enabled = true; /* until the database says otherwise */
    ratekeeper_described(self, &body->description);
    started->role_id = self->id;
    rpc_register(context->rpc, self->id, receive, self);
    rpc_reply(request, message);
    throttles_start(self);
    *ret_ratekeeper = self;
    return 0;
}

void ratekeeper_destroy(struct ratekeeper *self)
{
    if (self == NULL)
        return;
    rpc_unregister(self->context.rpc, self->id);
    op_cancel_all(&self->ops);
    dispose(self);
}

/* ---- what it says of itself ---- */

/* -1: no limit. */
static int64_t limit_of(double rate)
{
    return rate >= RATE_UNLIMITED ? -1 : (int64_t)rate;
}

static void status_of_tags(const struct ratekeeper *self, struct role_status *status, struct arena *arena)
{
    const struct rate_tags *tags = self->tags;
    uint32_t reads = 0;

    for (unsigned i = 0; i < RATE_TAG_LIMITS_MAX; i++)
        reads += tags->limits[i].used && tags->limits[i].throttle.reason == THROTTLE_BUSY_READ;
    role_metric(status, arena, "throttled_tags_manual", tags->manual_count);
    role_metric(status, arena, "throttled_tags_auto", tags->auto_count);
    role_metric(status, arena, "throttled_tags_busy_read", reads);
    role_metric(status, arena, "throttled_tags_auto_enabled", tags->auto_enabled);
}

static const double COST_TOLD_MAX = 1e15;

/* "id, cost, thousandths of what it writes, tag" of each storage server that tags write to: only the commit proxies see that. */
static void status_of_writers(const struct ratekeeper *self, struct role_status *status, struct arena *arena)
{
    int64_t now_us = env_now_us(self->context.env);

    for (int i = 0; i < RATE_STORAGE_MAX && status->texts_count < WRITERS_TOLD_MAX; i++) {
        const struct rate_source *source = &self->sources[i];
        struct tag_name name = {0};
        double cost = source->id == 0 ? 0 : rate_tags_busiest_writer(self->tags, now_us, source->tag, self->core.limits.stale_us, &name);
        char text[120];
        int len;

        if (cost < 1)
            continue;
        cost = cost < COST_TOLD_MAX ? cost : COST_TOLD_MAX; /* a proxy may have said anything */
        len = snprintf(text, sizeof(text) - sizeof(name.text), "%016llx %lld %d ", (unsigned long long)source->id, (long long)cost,
                       source->input.rate > cost ? (int)(cost * 1000 / source->input.rate) : 1000);
        memcpy(text + len, name.text, name.len);
        role_text(status, arena, "busiest_write_tag", bytes_of(text, (size_t)len + name.len));
    }
}

const char *ratekeeper_unrest(const struct ratekeeper *self)
{
    if (self->core.hold_sets)
        return "the ratekeeper holds back what sets";
    return self->core.batch.rate < RATE_UNLIMITED ? "the ratekeeper still limits the rate" : NULL;
}

void ratekeeper_status(const struct ratekeeper *self, struct role_status *status, struct arena *arena)
{
    const struct rate_core *core = &self->core;

    role_metric(status, arena, "transactions_per_second_limit", limit_of(core->normal.rate));
    role_metric(status, arena, "batch_transactions_per_second_limit", limit_of(core->batch.rate));
    role_metric(status, arena, "released_transactions_per_second", (int64_t)core->released);
    role_metric(status, arena, "limit_reason", core->normal.reason);
    role_metric(status, arena, "limit_server_id", (int64_t)core->normal.id);
    role_metric(status, arena, "limit_server_ip", core->normal.address.ip);
    role_metric(status, arena, "limit_server_port", core->normal.address.port);
    role_metric(status, arena, "batch_limit_reason", core->batch.reason);
    role_metric(status, arena, "batch_limit_server_id", (int64_t)core->batch.id);
    role_metric(status, arena, "hold_sets", core->hold_sets);
    role_metric(status, arena, "hold_reason", core->hold_reason);
    role_metric(status, arena, "hold_server_id", (int64_t)core->hold_id);
    role_metric(status, arena, "hold_free_bytes", core->hold_free_bytes);
    role_metric(status, arena, "hold_server_ip", core->hold_address.ip);
    role_metric(status, arena, "hold_server_port", core->hold_address.port);
    role_metric(status, arena, "worst_queue_bytes_storage_server", (int64_t)core->worst_queue);
    role_metric(status, arena, "worst_queue_bytes_log_server", (int64_t)core->worst_log_queue);
    role_metric(status, arena, "worst_data_lag_versions", (int64_t)core->worst_lag_us);
    role_metric(status, arena, "worst_durability_lag_versions", (int64_t)core->worst_behind_us);
    role_metric(status, arena, "storage_servers_reporting", core->live_storage);
    role_metric(status, arena, "logs_reporting", core->live_logs);
    role_metric(status, arena, "grv_proxies_reporting", core->live_grv_proxies);
    role_metric(status, arena, "reports", (int64_t)self->reports);
    status_of_tags(self, status, arena);
    status_of_writers(self, status, arena);
}
