/* Splits and merges: keyServers and serverKeys alone change, no byte moves.
 *
 *   ASK -> ANSWERED -> CHANGED -> (ended)
 *
 * A split asks one of the shard's servers where to cut; a merge goes straight to its transaction. */
#include <assert.h>

#include "net/buggify.h"
#include "net/mem.h"
#include "net/trace.h"
#include "roles/distributor/distributor_internal.h"
#include "roles/distributor/move_keys.h"

enum { ASK, ANSWERED, CHANGE, CHANGED, STAGES };
enum { ASK_TIMEOUT_US = 5000000, REST_US = 1000000, WHOLE_US = 30000000 };

struct resize {
    struct op op;
    struct distributor *distributor;
    enum plan_reason reason;
    bool merge;
    int64_t chunk;
    struct picture_shard *shard, *next; /* busy; next: of a merge */
    struct bytes_buffer begin, middle, end; /* owned; middle: of a merge */
    struct rpc_call call;
    struct change change;
    const struct transaction_range *range; /* of the change's present try */
    struct arena arena;
    struct bytes keys[PLAN_CUTS_MAX]; /* in the arena */
    uint32_t key_count;
};

static struct resize *resize_of(struct op *op)
{
    return container_of(op, struct resize, op);
}

static void must(int error)
{
    assert(error == 0); /* a server dies of a failed allocation before it gets here */
}

/* ---- where to cut ---- */

static const struct tracker *server_to_ask(const struct resize *resize)
{
    struct distributor *self = resize->distributor;
    const struct team *team = teams_at(&self->picture->teams, resize->shard->source);
    uint32_t first = team->count == 0 ? 0 : (uint32_t)env_random_below(self->env, team->count);

    for (uint32_t i = 0; i < team->count; i++) {
        const struct picture_server *server = &self->picture->servers[team->servers[(first + i) % team->count]];

        if (server->known && server->reachable && !server->failed)
            return tracker_of(self, server->id);
    }
    return NULL;
}

static enum op_result run_ask(struct op *op)
{
    struct resize *resize = resize_of(op);
    const struct tracker *server;
    struct message *message;
    struct get_shard_split *m;

    if (resize->merge || resize->key_count > 0)
        return op_move(op, CHANGE);
    server = server_to_ask(resize);
    if (server == NULL)
        return op_finish(op, ERROR_NO_MORE_SERVERS);
    m = MESSAGE_NEW(get_shard_split, &message);
    must(arena_copy(&message->arena, bytes_buffer_bytes(&resize->begin), &m->begin));
    must(arena_copy(&message->arena, bytes_buffer_bytes(&resize->end), &m->end));
    m->by = resize->reason == PLAN_SPLIT_BYTES    ? SPLIT_BY_BYTES
            : resize->reason == PLAN_SPLIT_WRITES ? SPLIT_BY_WRITES
                                                  : SPLIT_BY_READS;
    m->chunk = resize->chunk;
    rpc_call_start(&resize->call, op, resize->distributor->context.rpc, &server->endpoint, message, ASK_TIMEOUT_US);
    return op_wait(op, ANSWERED);
}

static enum op_result run_answered(struct op *op)
{
    struct resize *resize = resize_of(op);
    const struct shard_split *reply;

    if (resize->call.error != 0)
        return op_finish(op, resize->call.error);
    reply = MESSAGE_BODY(shard_split, resize->call.reply);
    for (uint32_t i = 0; i < reply->keys_count && i < PLAN_CUTS_MAX; i++)
        must(arena_copy(&resize->arena, reply->keys[i].key, &resize->keys[resize->key_count++]));
    rpc_call_clear(&resize->call);
    if (resize->key_count == 0) {
        PROBE(op->env, "a shard that is too big or too hot can't be cut");
        resize->shard->whole_until_us = env_now_us(op->env) + WHOLE_US;
        return op_finish(op, 0);
    }
    return op_move(op, CHANGE);
}

/* ---- the transaction ---- */

static void ask(struct change *change)
{
    struct resize *resize = change->parent;

    resize->range = change_read_shards(change, bytes_buffer_bytes(&resize->begin), bytes_buffer_bytes(&resize->end));
}

static int read_shard(const struct resize *resize, uint32_t at, struct bytes begin, struct bytes end, struct arena *arena,
                      struct shard_now *ret)
{
    struct shard_record records[2];

    if (at + 1 >= resize->range->pair_count)
        return ERROR_OPERATION_OBSOLETE;
    for (unsigned i = 0; i < 2; i++)
        records[i] = (struct shard_record){resize->range->pairs[at + i].key, resize->range->pairs[at + i].value};
    return move_keys_read(records, 2, begin, end, arena, ret);
}

static bool is_split_already(const struct resize *resize)
{
    struct bytes begin;

    if (resize->range->pair_count != resize->key_count + 2)
        return false;
    for (uint32_t i = 0; i < resize->key_count; i++)
        if (!system_key_parse_key_servers(resize->range->pairs[i + 1].key, &begin) || !bytes_equal(begin, resize->keys[i]))
            return false;
    return true;
}

static int decide_split(struct change *change)
{
    struct resize *resize = change->parent;
    struct shard_now shard;
    int error;

    if (is_split_already(resize))
        return 0;
    if (resize->range->pair_count != 2)
        return ERROR_OPERATION_OBSOLETE;
    error = read_shard(resize, 0, bytes_buffer_bytes(&resize->begin), bytes_buffer_bytes(&resize->end), &change->arena, &shard);
    return error != 0 ? error : move_keys_split(&shard, resize->keys, resize->key_count, &change->writes);
}

static int decide_merge(struct change *change)
{
    struct resize *resize = change->parent;
    struct shard_now left, right;
    int error;

    if (resize->range->pair_count == 2) /* done already, if it is still that range */
        return read_shard(resize, 0, bytes_buffer_bytes(&resize->begin), bytes_buffer_bytes(&resize->end), &change->arena, &left);
    if (resize->range->pair_count != 3)
        return ERROR_OPERATION_OBSOLETE;
    error = read_shard(resize, 0, bytes_buffer_bytes(&resize->begin), bytes_buffer_bytes(&resize->middle), &change->arena, &left);
    if (error == 0)
        error = read_shard(resize, 1, bytes_buffer_bytes(&resize->middle), bytes_buffer_bytes(&resize->end), &change->arena, &right);
    return error != 0 ? error : move_keys_merge(&left, &right, &change->writes);
}

static void resume(struct change *change)
{
    op_resume(&((struct resize *)change->parent)->op);
}

static enum op_result run_change(struct op *op)
{
    struct resize *resize = resize_of(op);

    if (BUGGIFY_DEATH(op->env, 64, "the distributor dies before it splits or merges")) {
        distributor_end(resize->distributor, ERROR_PLEASE_REBOOT);
        return op_finish(op, ERROR_PLEASE_REBOOT);
    }
    resize->change = (struct change){
        .ask = ask, .decide = resize->merge ? decide_merge : decide_split, .done = resume, .parent = resize};
    change_start(&resize->change, resize->distributor);
    return op_wait(op, CHANGED);
}

static void picture_split(struct resize *resize)
{
    struct picture *picture = resize->distributor->picture;
    struct picture_shard *shard = resize->shard;
    const struct team team = *teams_at(&picture->teams, shard->source);
    int64_t bytes = shard->bytes / (resize->key_count + 1);
    uint32_t writes = shard->writes / (resize->key_count + 1);

    for (uint32_t i = resize->key_count; i-- > 0;) {
        struct picture_shard *piece =
            picture_set_shard(picture, resize->keys[i], team.servers, team.count, NULL, 0, resize->change.version);

        if (piece == NULL)
            continue;
        piece->bytes = bytes;
        piece->writes = writes;
    }
    shard->bytes = bytes;
    shard->writes = writes;
}

static enum op_result run_changed(struct op *op)
{
    struct resize *resize = resize_of(op);
    struct distributor *self = resize->distributor;

    if (resize->change.error != 0)
        return op_finish(op, resize->change.error);
    if (resize->merge) {
        resize->next->busy = false;
        resize->next = NULL;
        picture_remove_shard(self->picture, bytes_buffer_bytes(&resize->middle), resize->change.version);
        self->merges++;
    } else {
        picture_split(resize);
        self->splits++;
    }
    TRACE(op->env, SEVERITY_INFO, resize->merge ? "ShardsMerged" : "ShardSplit",
          {"Begin", trace_bytes(bytes_buffer_bytes(&resize->begin))}, {"Reason", trace_str(plan_reason_name(resize->reason))},
          {"Pieces", trace_int(resize->merge ? 1 : resize->key_count + 1)});
    return op_finish(op, 0);
}

/* ---- life ---- */

static void ended(struct op *op)
{
    struct resize *resize = resize_of(op);
    struct distributor *self = resize->distributor;

    change_cancel(&resize->change);
    rpc_call_clear(&resize->call);
    resize->shard->busy = false;
    if (resize->next != NULL)
        resize->next->busy = false;
    if (op->error != ERROR_OPERATION_CANCELLED) {
        if (op->error != 0) {
            PROBE(op->env, "a split or a merge is not done");
            resize->shard->rest_until_us = env_now_us(op->env) + REST_US;
            distributor_changed_badly(self, op->error);
        }
        distributor_plan_soon(self);
    }
    bytes_buffer_done(&resize->begin);
    bytes_buffer_done(&resize->middle);
    bytes_buffer_done(&resize->end);
    arena_done(&resize->arena);
    mem_free(resize);
}

static const struct op_stage stages[STAGES] = {
    [ASK] = {"ASK", run_ask, OP_STAGE(ANSWERED) | OP_STAGE(CHANGE)},
    [ANSWERED] = {"ANSWERED", run_answered, OP_STAGE(CHANGE)},
    [CHANGE] = {"CHANGE", run_change, OP_STAGE(CHANGED)},
    [CHANGED] = {"CHANGED", run_changed, 0},
};
static const struct op_type type = {"resize", stages, STAGES, READY_COMMIT, ended};

void resize_start(struct distributor *self, const struct plan_action *action, struct bytes key)
{
    struct picture *picture = self->picture;
    struct resize *resize = mem_zalloc(sizeof(*resize));

    resize->distributor = self;
    resize->reason = action->reason;
    resize->merge = action->kind == PLAN_MERGE;
    resize->chunk = action->chunk;
    resize->shard = picture->shards[action->shard];
    resize->shard->busy = true;
    must(bytes_buffer_append(&resize->begin, picture_shard_begin(resize->shard)));
    if (resize->merge) {
        resize->next = picture->shards[action->shard + 1];
        resize->next->busy = true;
        must(bytes_buffer_append(&resize->middle, picture_shard_begin(resize->next)));
    }
    must(bytes_buffer_append(&resize->end, picture_shard_end(picture, action->shard + (resize->merge ? 1 : 0))));
    if (key.len > 0)
        must(arena_copy(&resize->arena, key, &resize->keys[resize->key_count++]));
    op_start(&resize->op, &type, &self->ops);
}
