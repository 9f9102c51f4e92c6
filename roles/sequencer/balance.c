/* Resolvers share the load: who holds which keys changes within the epoch.
 *
 *   WAIT ──► ASK ──► JUDGE ──┐
 *    ▲  │              │     │ another partition
 *    └──┴──────────────┴─────┘
 *
 * ASK puts the question to all resolvers, JUDGE cuts the key space anew when the most loaded has too much more than the least.
 * Why the sequencer does this: it alone knows a version that nobody has yet, and every proxy comes to it for each version. So a new
 * partition counts from `newest + 1`, and is told with the answers: a proxy names the newest partition that it has in each request, and
 * every answer at or above the new one's version to a request that names an older one carries it. Whichever of a proxy's
 * answers comes first, it has the partition before it cuts the batch.
 *
 * There is no next change before every proxy of the epoch has named the last one: so one partition is all that anybody can
 * lack, and what is told never grows. Nor while there are RESOLVER_PARTITIONS_MAX within the reach of reads, which is what proxies keep. */
#include <assert.h>

#include "net/buggify.h"
#include "net/mem.h"
#include "roles/sequencer/partition.h"
#include "roles/sequencer/sequencer_internal.h"

enum { WAIT, ASK, JUDGE, STAGES };
enum {
    ASK_TIMEOUT_US = 1000000,
    SETTLE_INTERVALS = 3, /* after a change: resolvers look back over up to two */
};

static struct sequencer *sequencer_of(struct op *op)
{
    return container_of(op, struct sequencer, balance.op);
}

static void clear_calls(struct balance *balance)
{
    for (uint32_t i = 0; i < balance->resolver_count; i++)
        rpc_call_clear(&balance->calls[i]);
}

static enum op_result wait_for_time(struct op *op)
{
    struct balance *balance = &sequencer_of(op)->balance;
    int64_t interval_us = op->env->knobs.resolver_balance_interval_us;

    clear_calls(balance);
    wait_timer_start(&balance->timer, op, interval_us < 1 ? 1 : interval_us);
    return op_wait(op, ASK);
}

/* ---- ASK ---- */

static bool all_proxies_know(const struct sequencer *self)
{
    uint64_t number = resolver_map_newest(&self->balance.map)->number;

    if (self->proxy_count != self->balance.proxy_count)
        return false;
    for (size_t i = 0; i < self->proxy_count; i++)
        if (self->proxies[i]->partition != number) /* 0: an older program, which would not take it */
            return false;
    return true;
}

static bool has_settled(const struct sequencer *self)
{
    const struct env *env = self->context.env;

    return self->balance.changes == 0 || env_now_us(self->context.env) - self->balance.changed_us >=
                                             SETTLE_INTERVALS * env->knobs.resolver_balance_interval_us;
}

/* Asking goes on whatever may change: status tells of the loads. */
static bool may_change(struct sequencer *self)
{
    struct resolver_map *map = &self->balance.map;

    resolver_map_forget(map, self->committed - MAX_WRITE_TRANSACTION_LIFE_VERSIONS);
    if (map->partition_count == RESOLVER_PARTITIONS_MAX) {
        PROBE(self->context.env, "the resolvers' ranges have changed so often that they must stay for a while");
        return false;
    }
    return self->committed > self->recovery_version && has_settled(self) && all_proxies_know(self);
}

static bool ask_one(struct sequencer *self, uint32_t i)
{
    struct balance *balance = &self->balance;
    struct key_part part = resolver_map_part(&balance->map, balance->map.partition_count - 1, i);
    struct message *message;
    struct get_resolver_load *body = MESSAGE_NEW(get_resolver_load, &message);
    int error = body == NULL ? ERROR_OUT_OF_MEMORY : arena_copy(&message->arena, part.begin, &body->begin);

    if (error == 0)
        error = arena_copy(&message->arena, part.end, &body->end);
    if (error != 0) {
        message_unref(message);
        return false;
    }
    body->partition = resolver_map_newest(&balance->map)->number;
    rpc_call_start(&balance->calls[i], &balance->op, self->context.rpc, &balance->resolvers[i], message, ASK_TIMEOUT_US);
    gather_add(&balance->gather, &balance->calls[i].wait);
    return true;
}

static enum op_result ask(struct op *op)
{
    struct sequencer *self = sequencer_of(op);
    struct balance *balance = &self->balance;

    if (self->ended)
        return op_finish(op, 0);
    gather_init(&balance->gather, op, balance->resolver_count);
    for (uint32_t i = 0; i < balance->resolver_count; i++)
        if (!ask_one(self, i))
            return op_move(op, WAIT);
    return op_wait(op, JUDGE);
}

/* ---- JUDGE ---- */

static void change(struct sequencer *self, const struct bytes *begins, int64_t most)
{
    struct balance *balance = &self->balance;
    struct env *env = self->context.env;
    uint64_t number = resolver_map_newest(&balance->map)->number + 1;
    version_t from = self->newest + 1;
    int error = resolver_map_add(&balance->map, number, from, begins, balance->resolver_count);

    assert(error != ERROR_CLIENT_INVALID_OPERATION); /* it was made of sound parts, above all versions */
    if (error != 0)
        return;
    balance->changes++;
    balance->changed_us = env_now_us(env);
    TRACE(env, SEVERITY_INFO, "ResolverRangesChange", {"Id", trace_id(self->id)}, {"Epoch", trace_int((int64_t)self->epoch)},
          {"Partition", trace_int((int64_t)number)}, {"From", trace_int(from)}, {"MostLoaded", trace_int(most)});
}

/* False: some answer can't be used. */
static bool collect(struct sequencer *self, const struct resolver_load **loads, int64_t *ret_most)
{
    struct balance *balance = &self->balance;
    int64_t most = 0;

    for (uint32_t i = 0; i < balance->resolver_count; i++) {
        struct key_part part = resolver_map_part(&balance->map, balance->map.partition_count - 1, i);

        if (balance->calls[i].error != 0)
            return false;
        loads[i] = MESSAGE_BODY(resolver_load, balance->calls[i].reply);
        if (!partition_load_is_sound(loads[i], &part)) {
            TRACE(self->context.env, SEVERITY_WARN, "ResolverLoadOfNoSense", {"Id", trace_id(balance->resolvers[i].id)},
                  {"Epoch", trace_int((int64_t)self->epoch)}, {"Keys", trace_int(loads[i]->keys_count)});
            return false;
        }
        most = loads[i]->ranges_per_s > most ? loads[i]->ranges_per_s : most;
    }
    *ret_most = most;
    return true;
}

static uint64_t draw(void *ctx)
{
    return env_random(ctx);
}

static enum op_result judge(struct op *op)
{
    struct sequencer *self = sequencer_of(op);
    const struct knobs *knobs = &op->env->knobs;
    const struct partition_wish wish = {knobs->resolver_balance_floor, knobs->resolver_balance_percent};
    const struct resolver_load *loads[RESOLVERS_MAX];
    struct bytes begins[RESOLVERS_MAX];
    uint32_t count = self->balance.resolver_count;
    struct arena arena = {0};
    int64_t most;

    if (!gather_succeeded(&self->balance.gather) || !collect(self, loads, &most)) {
        PROBE(op->env, "some resolver does not say what its load is");
        return op_move(op, WAIT);
    }
    if (!may_change(self))
        return op_move(op, WAIT);
    if (knobs->resolver_balance_disturb != 0 || BUGGIFY(op->env, "the resolvers' ranges are drawn by lot")) {
        if (partition_draw(loads, count, draw, op->env, &arena, begins))
            change(self, begins, most);
    } else if (partition_choose(&wish, loads, count, &arena, begins)) {
        PROBE(op->env, "the resolvers' ranges change because their loads differ");
        change(self, begins, most);
    }
    arena_done(&arena);
    return op_move(op, WAIT);
}

static void balance_ended(struct op *op)
{
    clear_calls(&sequencer_of(op)->balance);
}

static const struct op_stage stages[STAGES] = {
    [WAIT] = {"WAIT", wait_for_time, OP_STAGE(ASK)},
    [ASK] = {"ASK", ask, OP_STAGE(WAIT) | OP_STAGE(JUDGE)},
    [JUDGE] = {"JUDGE", judge, OP_STAGE(WAIT)},
};
static const struct op_type balance_type = {"resolver_balance", stages, STAGES, READY_READ, balance_ended};

/* ---- telling proxies ---- */

int balance_tell(const struct sequencer *self, uint64_t known, struct arena *arena, struct get_commit_version_reply *reply)
{
    const struct resolver_partition *newest = resolver_map_newest(&self->balance.map);
    uint32_t count = self->balance.map.resolver_count;

    if (known == 0 || known >= newest->number || reply->version < newest->from)
        return 0;
    reply->begins = arena_alloc(arena, count * sizeof(*reply->begins));
    if (reply->begins == NULL)
        return ERROR_OUT_OF_MEMORY;
    for (uint32_t i = 0; i < count; i++)
        if (arena_copy(arena, newest->begins[i], &reply->begins[i]) != 0)
            return ERROR_OUT_OF_MEMORY;
    reply->begins_count = count;
    reply->partition = newest->number;
    reply->partition_from = newest->from;
    return 0;
}

/* ---- life ---- */

int balance_init(struct sequencer *self, const struct init_sequencer *init)
{
    struct balance *balance = &self->balance;
    uint32_t count = init->resolvers_count;
    struct bytes begins[RESOLVERS_MAX] = {{0}};

    if (count > RESOLVERS_MAX)
        return ERROR_CLIENT_INVALID_OPERATION;
    balance->proxy_count = init->proxy_count;
    balance->resolvers = arena_alloc(&balance->arena, count * sizeof(*balance->resolvers));
    balance->calls = arena_zalloc(&balance->arena, count * sizeof(*balance->calls));
    if (balance->resolvers == NULL || balance->calls == NULL)
        return ERROR_OUT_OF_MEMORY;
    for (uint32_t i = 0; i < count; i++) {
        balance->resolvers[i] = endpoint_of(&init->resolvers[i].endpoint);
        begins[i] = init->resolvers[i].begin;
    }
    balance->resolver_count = count;
    /* An older controller names none: then nothing ever changes. */
    return resolver_map_init(&balance->map, begins, count == 0 ? 1 : count);
}

void balance_start(struct sequencer *self)
{
    if (self->balance.resolver_count > 1)
        op_start(&self->balance.op, &balance_type, &self->ops);
}

void balance_done(struct sequencer *self)
{
    resolver_map_done(&self->balance.map);
    arena_done(&self->balance.arena);
}
