/* Life of the data distributor: takes the lock, loads, watches, and makes one plan after another.
 *
 * Whatever changes (a server that falls silent, loads, a move that ends, a setting) asks for a plan; plans are at least
 * dd_plan_interval_us apart, so that many changes cost one. A plan's actions become ops (move.c, resize.c), which check by their own
 * transactions what the plan believed. It ends by itself when another distributor holds \xff/moveKeysLock. */
#include "roles/distributor/distributor.h"

#include <assert.h>

#include "net/buggify.h"
#include "net/mem.h"
#include "net/observe.h"
#include "net/trace.h"
#include "roles/distributor/distributor_internal.h"
#include "roles/distributor/scan.h"
#include "roles/role_client.h"

static void receive(void *ctx, struct rpc_request *request)
{
    (void)ctx;
    rpc_fail(request, ERROR_CLIENT_INVALID_OPERATION);
}

void distributor_end(struct distributor *self, int error)
{
    if (self->ended)
        return;
    self->ended = true;
    env_timer_cancel(self->env, &self->plan_timer);
    TRACE(self->env, SEVERITY_WARN_ALWAYS, "DistributorEnds", {"Id", trace_id(self->id)}, {"Error", trace_str(error_name(error))});
    self->context.ended(self->context.host, ROLE_DATA_DISTRIBUTOR, self->id, error);
}

void distributor_changed_badly(struct distributor *self, int error)
{
    if (error == ERROR_MOVEKEYS_CONFLICT)
        distributor_end(self, error);
    if (error == ERROR_OPERATION_OBSOLETE || error == ERROR_SERIALIZATION_FAILED || error == ERROR_WRONG_SHARD_SERVER) {
        PROBE(self->env, "the distributor's picture of the shards was wrong");
        self->shards_stale = true;
        loader_hurry(self);
    }
}

/* ---- planning ---- */

static struct plan_rules rules_of(const struct distributor *self)
{
    const struct knobs *knobs = &self->env->knobs;

    return (struct plan_rules){
        .replication = self->settings.configuration.replication,
        .engine = self->settings.configuration.engine,
        .shard_bytes_min = knobs->dd_shard_bytes_min,
        .shard_bytes_max = knobs->dd_shard_bytes_max,
        .shards_target = knobs->dd_shards_target,
        .load_floor = knobs->dd_load_floor,
        .load_parts = knobs->dd_load_parts,
        .shards_per_server_min = knobs->dd_shards_per_server_min,
        .balance_percent = knobs->dd_balance_percent,
        .settle_us = knobs->dd_settle_us,
        .moves_max = (uint32_t)knobs->dd_moves_max,
        .moves_per_source = (uint32_t)knobs->dd_moves_per_server,
        .moves_per_destination = (uint32_t)knobs->dd_moves_per_server,
        .move_bytes_per_server = knobs->dd_move_bytes_per_server,
        .move = !self->settings.off,
        .balance = !self->settings.balance_off,
    };
}

/* What no shard names and no plan wants any more. Slots of servers that serverList has dropped are free again. */
static void clear_away(struct distributor *self)
{
    struct picture *picture = self->picture;

    for (uint32_t slot = 0; slot < picture->server_count && self->plan.summary.missing == 0; slot++) {
        if (picture->servers[slot].id == 0)
            continue;
        if (!picture->servers[slot].known) {
            if (!picture_is_named(picture, slot) && picture->servers[slot].sources == 0)
                picture_forget_server(picture, slot);
        } else if (plan_may_remove(picture, &self->plan.summary, slot)) {
            servers_remove(self, slot);
        }
    }
}

static void act(struct distributor *self, const struct plan_action *action)
{
    self->by_reason[action->reason]++;
    if (action->kind == PLAN_MOVE || action->kind == PLAN_CANCEL)
        move_start(self, action);
    else
        resize_start(self, action, bytes_none());
}

static void plan_fired(struct env_timer *timer)
{
    struct distributor *self = container_of(timer, struct distributor, plan_timer);
    struct plan_rules rules = rules_of(self);
    uint32_t draining = self->plan.summary.draining;
    int64_t now_us;

    if (!self->loaded || self->ended)
        return;
    trackers_judge(self);
    now_us = env_now_us(self->env);
    meter_begin(self->env, METERED_PLAN);
    plan_make(self->picture, &rules, now_us, &self->plan);
    meter_end(self->env, METERED_PLAN, self->picture->shard_count, self->plan.summary.looks);
    if (self->plan.summary.draining != draining)
        servers_hurry(self); /* its process may get another */
    self->plans++;
    for (uint32_t i = 0; i < self->plan.count; i++)
        act(self, &self->plan.actions[i]);
    if (self->plan.count > 0)
        distributor_plan_soon(self); /* a plan is bounded: there may be more to do */
    if (self->env->knobs.dd_disturb && !self->settings.off)
        disturb(self);
    if (self->env->knobs.dd_disturb)
        distributor_plan_soon(self);
    if (!self->settings.off)
        clear_away(self);
}

void distributor_plan_soon(struct distributor *self)
{
    if (self->plan_timer.heap_index_plus_1 == 0 && !self->ended)
        env_timer_start(self->env, &self->plan_timer, env_now_us(self->env) + self->env->knobs.dd_plan_interval_us);
}

/* ---- life ---- */

void distributor_described(struct distributor *self, const struct description *description)
{
    struct arena arena = {0};
    struct description copy;
    int error = message_copy_body(&schema_description, description, &arena, &copy);

    assert(error == 0); /* a server dies of a failed allocation before it gets here */
    if (copy.controller.address.ip != self->description.controller.address.ip ||
        copy.controller.address.port != self->description.controller.address.port || copy.term != self->description.term)
        self->announce = self->loaded; /* another controller has to be told */
    arena_done(&self->description_arena);
    self->description_arena = arena;
    self->description = copy;
    if (self->loaded)
        servers_look(self);
}

static void dispose(struct distributor *self)
{
    client_destroy(self->client);
    picture_destroy(self->picture);
    arena_done(&self->settings.arena);
    arena_done(&self->description_arena);
    mem_free(self);
}

static struct distributor *make(const struct role_context *context, uint64_t id)
{
    struct distributor *self = mem_zalloc(sizeof(*self));

    self->context = *context;
    self->env = context->env;
    self->id = id;
    self->plan_timer.fire = plan_fired;
    self->picture = picture_create();
    op_list_init(&self->ops, context->env, self);
    list_init(&self->trackers);
    return self;
}

int distributor_create(const struct role_context *context, struct rpc_request *request, struct distributor **ret_distributor)
{
    const struct init_data_distributor *body = MESSAGE_BODY(init_data_distributor, request->message);
    struct distributor *self = make(context, body->role_id);
    struct message *message = NULL;
    struct role_started *started;
    int error = role_client_create(context, &self->client);

    if (error != 0) {
        dispose(self);
        return error;
    }
    distributor_described(self, &body->description);
    started = MESSAGE_NEW(role_started, &message);
    started->role_id = self->id;
    rpc_register(context->rpc, self->id, receive, self);
    rpc_reply(request, message);
    if (self->env->knobs.dd_enabled)
        loader_start(self);
    *ret_distributor = self;
    return 0;
}

void distributor_destroy(struct distributor *self)
{
    if (self == NULL)
        return;
    self->ended = true;
    rpc_unregister(self->context.rpc, self->id);
    env_timer_cancel(self->env, &self->plan_timer);
    op_cancel_all(&self->ops);
    assert(list_empty(&self->trackers) && self->picture->moves == 0);
    dispose(self);
}

const char *distributor_unrest(const struct distributor *self)
{
    const struct plan_summary *summary = &self->plan.summary;

    if (!self->env->knobs.dd_enabled || self->settings.off)
        return NULL;
    if (!self->loaded || self->plans == 0)
        return "the data distributor does not know the shards yet";
    if (self->shards_stale)
        return "the data distributor reads the shards again";
    if (self->picture->moves > 0 || summary->moving > 0)
        return "shards move";
    if (summary->waiting > summary->stuck)
        return "shards wait for a better place";
    if (summary->draining != 0)
        return "a storage server of another engine than the configured one is emptied";
    if (self->plan.count > 0 || self->env->knobs.dd_disturb)
        return "the data distributor has something to do";
    return scan_unrest(self);
}

/* ---- status ---- */

static void moves_by_reason(const struct distributor *self, struct role_status *status, struct arena *arena)
{
    static const char *const names[PLAN_REASONS] = {
        [PLAN_FEW_COPIES] = "actions_few_copies",       [PLAN_SAME_ZONE] = "actions_same_zone",
        [PLAN_UNWANTED] = "actions_emptying",           [PLAN_TEAM_SIZE] = "actions_team_size",
        [PLAN_RESUME] = "actions_resumed",              [PLAN_SPREAD] = "actions_spread",
        [PLAN_SPLIT_BYTES] = "actions_split_bytes",
        [PLAN_SPLIT_WRITES] = "actions_split_writes",   [PLAN_SPLIT_READS] = "actions_split_reads",
        [PLAN_BALANCE_BYTES] = "actions_balance_bytes", [PLAN_BALANCE_LOAD] = "actions_balance_load",
        [PLAN_MERGE_SMALL] = "actions_merge",           [PLAN_REPAIR] = "actions_repair",
    };

    for (unsigned i = 0; i < PLAN_REASONS; i++)
        role_metric(status, arena, names[i], (int64_t)self->by_reason[i]);
}

/* Splits and merges under way. */
static int64_t resizes(const struct distributor *self)
{
    int64_t busy = 0;

    for (size_t i = 0; i < self->picture->shard_count; i++)
        busy += self->picture->shards[i]->busy;
    return busy > self->picture->moves ? busy - self->picture->moves : 0;
}

void distributor_status(const struct distributor *self, struct role_status *status, struct arena *arena)
{
    const struct plan_summary *summary = &self->plan.summary;
    uint32_t copies = summary->reachable_min < summary->copies_min ? summary->reachable_min : summary->copies_min;

    role_metric(status, arena, "described_epoch", (int64_t)self->description.epoch);
    role_metric(status, arena, "enabled", self->env->knobs.dd_enabled);
    role_metric(status, arena, "initialized", self->plans > 0);
    if (self->plans == 0)
        return;
    scan_status(self, status, arena);
    role_metric(status, arena, "switched_off", self->settings.off);
    role_metric(status, arena, "partitions_count", (int64_t)summary->shards);
    role_metric(status, arena, "min_replicas_remaining", copies);
    role_metric(status, arena, "replication", summary->zones_wanted);
    role_metric(status, arena, "storage_zones", summary->zones);
    role_metric(status, arena, "shards_missing", (int64_t)summary->missing);
    role_metric(status, arena, "shards_few_copies", (int64_t)summary->few_copies);
    role_metric(status, arena, "shards_waiting", (int64_t)summary->waiting);
    role_metric(status, arena, "shards_stuck", (int64_t)summary->stuck);
    role_metric(status, arena, "in_queue_bytes", summary->waiting_bytes);
    role_metric(status, arena, "in_flight_bytes", self->bytes_left);
    role_metric(status, arena, "moving_shards_bytes", summary->moving_bytes);
    role_metric(status, arena, "resizes_in_flight", resizes(self));
    role_metric(status, arena, "total_written_bytes", (int64_t)self->bytes_moved);
    role_metric(status, arena, "total_kv_size_bytes", summary->total_bytes);
    role_metric(status, arena, "split_bytes", summary->split_bytes);
    role_metric(status, arena, "teams", summary->teams);
    role_metric(status, arena, "moves_in_flight", self->picture->moves);
    role_metric(status, arena, "moves_started", (int64_t)self->moves_started);
    role_metric(status, arena, "moves_finished", (int64_t)self->moves_finished);
    role_metric(status, arena, "moves_ended_early", (int64_t)self->moves_failed);
    role_metric(status, arena, "splits", (int64_t)self->splits);
    role_metric(status, arena, "merges", (int64_t)self->merges);
    role_metric(status, arena, "servers_recruited", (int64_t)self->recruited);
    role_metric(status, arena, "servers_removed", (int64_t)self->removed);
    moves_by_reason(self, status, arena);
}
