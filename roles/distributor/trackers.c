/* Watching the storage servers: does each answer, and what do its shards weigh.
 *
 *   ASK -> ANSWERED -> (more: ASK; else a pause) -> ASK
 *
 * Loads are asked for page by page, a round each dd_loads_interval_us. A connection that closes is noticed at once (a watch of the address)
 * and shown in status at once; the shards are healed when the server has not answered for dd_server_return_us. */
#include <assert.h>

#include "net/buggify.h"
#include "net/mem.h"
#include "net/trace.h"
#include "roles/distributor/distributor_internal.h"
#include "roles/distributor/scan.h"

enum { ASK, ANSWERED, STAGES };
enum { STEADY_PART = 4 /* of the bound, and it counts as back */, RETURNS_MAX = 3 };
enum { PAGE_SHARDS = 1000, RETRY_US = 100000, FULL_PART = 20 /* of the disk: less free than that, and it takes no more */ };

static struct tracker *tracker_of_op(struct op *op)
{
    return container_of(op, struct tracker, op);
}

struct tracker *tracker_of(const struct distributor *self, uint64_t id)
{
    list_each(node, after, &self->trackers)
        if (list_entry(node, struct tracker, link)->id == id)
            return list_entry(node, struct tracker, link);
    return NULL;
}

/* ---- does it answer ---- */

static void silent(struct tracker *tracker)
{
    struct picture_server *server = &tracker->distributor->picture->servers[tracker->slot];

    if (tracker->silent_since_us == 0)
        tracker->silent_since_us = env_now_us(tracker->distributor->env);
    tracker->back_since_us = 0;
    if (!server->reachable)
        return;
    server->reachable = false;
    TRACE(tracker->distributor->env, SEVERITY_WARN, "StorageServerSilent", {"Server", trace_id(tracker->id)},
          {"Address", trace_addr(tracker->endpoint.address)});
    distributor_plan_soon(tracker->distributor);
}

static void watch_failed(struct rpc_watch *watch, int error)
{
    (void)error;
    silent(container_of(watch, struct tracker, watch));
}

/* An operator has said that its zone is. */
static bool is_away_on_purpose(const struct tracker *tracker)
{
    const struct distributor *self = tracker->distributor;

    return self->picture->servers[tracker->slot].zone == self->settings.healthy_zone && self->settings.version < self->settings.healthy_until;
}

static void answers(struct tracker *tracker)
{
    struct distributor *self = tracker->distributor;
    struct picture_server *server = &self->picture->servers[tracker->slot];

    if (tracker->silent_since_us == 0 && server->reachable)
        return;
    if (tracker->back_since_us == 0) {
        tracker->back_since_us = env_now_us(self->env);
        tracker->returns++;
        rpc_watch_cancel(&tracker->watch);
        rpc_watch_start(self->context.rpc, &tracker->watch, tracker->endpoint.address);
    }
    if (!server->reachable)
        distributor_plan_soon(self);
    server->reachable = true;
}

/* Its silence while it is away on purpose counts for nothing, also if the announcement is taken back before it has been asked again and if it goes
 * again at once; until the first plan that sees the announcement gone. */
static void excuse(struct tracker *tracker, int64_t now_us)
{
    bool on_purpose = is_away_on_purpose(tracker), silent = tracker->silent_since_us != 0 && tracker->back_since_us == 0;

    if (on_purpose || tracker->on_purpose) {
        tracker->excused_until_us = now_us;
        tracker->returns = 0;
    }
    tracker->on_purpose = on_purpose;
    if (on_purpose && silent && now_us - tracker->silent_since_us >= tracker->distributor->env->knobs.dd_server_return_us)
        PROBE(tracker->distributor->env, "a server that is away on purpose is not replaced");
}

/* One that comes and goes again and again (it dies of what it finds on its disk) is no better than one that stays away. */
static bool is_late(struct tracker *tracker, int64_t now_us)
{
    int64_t bound_us = tracker->distributor->env->knobs.dd_server_return_us, counts_from_us;

    if (tracker->back_since_us != 0 && now_us - tracker->back_since_us >= bound_us / STEADY_PART)
        tracker->silent_since_us = tracker->back_since_us = tracker->returns = 0;
    counts_from_us = tracker->silent_since_us > tracker->excused_until_us ? tracker->silent_since_us : tracker->excused_until_us;
    if (tracker->silent_since_us == 0 || now_us - counts_from_us < bound_us)
        return false;
    return tracker->back_since_us == 0 || tracker->returns > RETURNS_MAX;
}

static void judge(struct tracker *tracker, int64_t now_us)
{
    struct distributor *self = tracker->distributor;
    struct picture_server *server = &self->picture->servers[tracker->slot];
    bool failed;

    excuse(tracker, now_us);
    failed = server->given_up || is_late(tracker, now_us);
    if (failed && !server->failed)
        TRACE(self->env, SEVERITY_WARN_ALWAYS, "StorageServerFailed", {"Server", trace_id(tracker->id)},
              {"Address", trace_addr(tracker->endpoint.address)}, {"Returns", trace_int(tracker->returns)});
    if (server->failed && !failed)
        PROBE(self->env, "a storage server that was given up returns");
    if (failed != server->failed)
        servers_hurry(self);
    server->failed = failed;
}

void trackers_judge(struct distributor *self)
{
    int64_t now_us = env_now_us(self->env);

    list_each(node, after, &self->trackers)
        judge(list_entry(node, struct tracker, link), now_us);
}

/* ---- what it says ---- */

static void take_page(struct tracker *tracker, const struct shard_loads *loads)
{
    struct distributor *self = tracker->distributor;
    struct picture_server *server = &self->picture->servers[tracker->slot];

    for (uint32_t i = 0; i < loads->shards_count; i++) {
        const struct shard_load *load = &loads->shards[i];

        picture_loads(self->picture, tracker->slot, load->begin, loads->version, load->bytes, load->write_bytes_per_s,
                      load->read_bytes_per_s);
    }
    if (loads->damaged)
        scan_hurry(self, loads->damaged_at);
    tracker->version = loads->version;
    tracker->lag = loads->durable_lag;
    server->full = loads->total_bytes > 0 && loads->free_bytes < loads->total_bytes / FULL_PART;
    if (server->full)
        PROBE(tracker->op.env, "a storage server with little free disk is given no more");
}

/* The end of the page; false: that was the last. */
static bool go_on(struct tracker *tracker, const struct shard_loads *loads)
{
    const struct shard_load *last = loads->shards_count == 0 ? NULL : &loads->shards[loads->shards_count - 1];
    bool more = loads->more && last != NULL && bytes_compare(last->end, bytes_buffer_bytes(&tracker->at)) > 0;

    if (!more)
        tracker->at.len = 0;
    else {
        struct bytes_buffer next = {0};
        int error = bytes_buffer_append(&next, last->end);

        assert(error == 0);
        bytes_buffer_done(&tracker->at);
        tracker->at = next;
    }
    return more;
}

static enum op_result run_ask(struct op *op)
{
    struct tracker *tracker = tracker_of_op(op);
    struct message *message;
    struct get_shard_loads *m = MESSAGE_NEW(get_shard_loads, &message);
    int error = arena_copy(&message->arena, bytes_buffer_bytes(&tracker->at), &m->begin);

    assert(error == 0);
    m->limit = BUGGIFY(op->env, "loads come in tiny pages") ? 2 : PAGE_SHARDS;
    rpc_call_start(&tracker->call, op, tracker->distributor->context.rpc, &tracker->endpoint, message,
                   op->env->knobs.rpc_ping_timeout_us);
    return op_wait(op, ANSWERED);
}

/* The server's own word that it can't say now is an answer all the same. */
static bool is_silence(int error)
{
    return error == ERROR_CONNECTION_FAILED || error == ERROR_REQUEST_MAYBE_DELIVERED || error == ERROR_TIMED_OUT ||
           error == ERROR_BROKEN_PROMISE;
}

static enum op_result run_answered(struct op *op)
{
    struct tracker *tracker = tracker_of_op(op);
    bool more = false;

    if (tracker->call.error != 0) {
        tracker->at.len = 0;
        if (is_silence(tracker->call.error))
            silent(tracker);
        else
            answers(tracker);
        wait_timer_start(&tracker->timer, op, RETRY_US);
        return op_wait(op, ASK);
    }
    answers(tracker);
    take_page(tracker, MESSAGE_BODY(shard_loads, tracker->call.reply));
    more = go_on(tracker, MESSAGE_BODY(shard_loads, tracker->call.reply));
    rpc_call_clear(&tracker->call);
    if (more)
        return op_move(op, ASK);
    distributor_plan_soon(tracker->distributor);
    wait_timer_start(&tracker->timer, op, op->env->knobs.dd_loads_interval_us);
    return op_wait(op, ASK);
}

/* ---- life ---- */

static void ended(struct op *op)
{
    struct tracker *tracker = tracker_of_op(op);

    rpc_watch_cancel(&tracker->watch);
    rpc_call_clear(&tracker->call);
    bytes_buffer_done(&tracker->at);
    list_remove(&tracker->link);
    mem_free(tracker);
}

static const struct op_stage stages[STAGES] = {
    [ASK] = {"ASK", run_ask, OP_STAGE(ANSWERED)},
    [ANSWERED] = {"ANSWERED", run_answered, OP_STAGE(ASK)},
};
static const struct op_type type = {"tracker", stages, STAGES, READY_READ, ended};

void tracker_start(struct distributor *self, uint32_t slot, const struct wire_endpoint *endpoint)
{
    uint64_t id = self->picture->servers[slot].id;
    struct tracker *tracker = tracker_of(self, id);
    struct endpoint at = endpoint_of(endpoint);

    if (tracker != NULL && tracker->slot == slot && tracker->endpoint.address.ip == at.address.ip &&
        tracker->endpoint.address.port == at.address.port && tracker->endpoint.id == at.id)
        return;
    tracker_stop(tracker);
    tracker = mem_zalloc(sizeof(*tracker));
    *tracker = (struct tracker){.distributor = self, .id = id, .slot = slot, .endpoint = at, .watch.failed = watch_failed};
    list_push_back(&self->trackers, &tracker->link);
    rpc_watch_start(self->context.rpc, &tracker->watch, at.address);
    op_start(&tracker->op, &type, &self->ops);
}

void tracker_stop(struct tracker *tracker)
{
    if (tracker != NULL)
        op_cancel(&tracker->op);
}
