/* A move: two transactions, and in between the destinations fetch.
 *
 *   START -> STARTED -> FETCHING -> FINISH -> FINISHED -> (ended)
 *              |            ^__|  a destination has said something
 *              |_ (a move that is taken back ends here)
 *
 * START gives the shard a destination: its servers get the mutations from that version on, and fetch what was there. FINISH makes
 * them the team once each has said that all of it is fetched and durable; the sources hear in their own streams that they have it no
 * more. The distributor may die anywhere: the next one finds the shard with a destination and goes on from START, which then finds
 * nothing to write. A destination that fails ends the move; the shard keeps its destination, and the next plan finds another
 * place or takes the move back. */
#include <assert.h>

#include "net/buggify.h"
#include "net/mem.h"
#include "net/trace.h"
#include "roles/distributor/distributor_internal.h"
#include "roles/distributor/move_keys.h"

enum { START, STARTED, FETCHING, FINISH, FINISHED, STAGES };
enum { ASK, ANSWERED, PROGRESS_STAGES };
enum { PROGRESS_WAIT_US = 5000000, PROGRESS_RETRY_US = 100000, REST_US = 1000000 };

/* One destination's word: a long poll, again and again. */
struct progress {
    struct op op;
    struct move *move;
    struct rpc_call call;
    struct wait_timer timer;
    uint64_t id;
    bool ready;
    int64_t fetched, left; /* bytes, as it said last; left 0: it cannot tell yet */
    int error; /* of a destination that will not do */
};

struct move {
    struct op op;
    struct distributor *distributor;
    enum plan_reason reason;
    bool back; /* PLAN_CANCEL */
    struct picture_move counted;
    struct bytes_buffer begin, end; /* owned */
    uint64_t ids[TEAM_SERVERS_MAX]; /* the team that it goes to */
    uint32_t count;
    struct change change;
    const struct transaction_range *shard, *servers, *conf; /* of the change's present try */
    uint64_t source[TEAM_SERVERS_MAX];               /* as START read it */
    uint32_t source_count;
    int64_t left;      /* bytes that are still to be fetched, counted in distributor->bytes_left */
    version_t started; /* at which the destination is the shard's */
    int64_t began_us;
    struct progress progress[TEAM_SERVERS_MAX];
};

static struct move *move_of(struct op *op)
{
    return container_of(op, struct move, op);
}

static void must(int error)
{
    assert(error == 0); /* a server dies of a failed allocation before it gets here */
}

static void resume(struct change *change)
{
    op_resume(&((struct move *)change->parent)->op);
}

static bool names(const uint64_t *ids, uint32_t count, uint64_t id)
{
    for (uint32_t i = 0; i < count; i++)
        if (ids[i] == id)
            return true;
    return false;
}

/* ---- what both transactions read ---- */

static void ask(struct change *change)
{
    struct move *move = change->parent;
    struct bytes prefix_end, conf_end;

    must(key_strinc(&change->arena, KEY_SERVER_LIST_PREFIX, &prefix_end));
    must(key_strinc(&change->arena, KEY_CONF_PREFIX, &conf_end));
    move->shard = change_read_shards(change, bytes_buffer_bytes(&move->begin), bytes_buffer_bytes(&move->end));
    move->servers = change_read(change, KEY_SERVER_LIST_PREFIX, prefix_end);
    move->conf = change_read(change, KEY_CONF_PREFIX, conf_end);
}

static int read_shard(struct move *move, struct shard_now *ret)
{
    struct shard_record records[2];

    if (move->shard->pair_count != 2)
        return ERROR_OPERATION_OBSOLETE;
    for (unsigned i = 0; i < 2; i++)
        records[i] = (struct shard_record){move->shard->pairs[i].key, move->shard->pairs[i].value};
    return move_keys_read(records, 2, bytes_buffer_bytes(&move->begin), bytes_buffer_bytes(&move->end), &move->change.arena, ret);
}

/* As serverList has it. False: it is not there. */
static bool server_of(const struct move *move, uint64_t id, struct arena *arena, struct server_value *ret)
{
    for (uint32_t i = 0; i < move->servers->pair_count; i++) {
        uint64_t listed;

        if (system_key_parse_server_list(move->servers->pairs[i].key, &listed) && listed == id)
            return message_decode(&schema_server_value, move->servers->pairs[i].value, arena, ret) == 0;
    }
    return false;
}

/* The digest of its zone; 0: it is not there. */
static uint64_t zone_of(const struct move *move, uint64_t id)
{
    struct arena arena = {0};
    struct server_value value;
    uint64_t zone = server_of(move, id, &arena, &value) ? picture_digest_name(value.zone) : 0;

    arena_done(&arena);
    return zone;
}

/* Read with the shard: whoever excludes a process and then sees no shard that names it can rely on that. What the distributor has heard of
 * exclusions may be seconds old. */
static bool is_excluded(const struct move *move, uint64_t id)
{
    struct arena arena = {0};
    struct server_value value;
    bool found = false;

    if (server_of(move, id, &arena, &value))
        for (uint32_t i = 0; i < move->conf->pair_count && !found; i++) {
            struct exclusion exclusion;

            found = exclusion_key_parse(move->conf->pairs[i].key, &exclusion) &&
                    exclusion_means(exclusion.address, endpoint_of(&value.endpoint).address);
        }
    arena_done(&arena);
    return found;
}

static uint32_t zones_of(const struct move *move, const uint64_t *ids, uint32_t count)
{
    uint64_t zones[TEAM_SERVERS_MAX];
    uint32_t found = 0;

    for (uint32_t i = 0; i < count && i < TEAM_SERVERS_MAX; i++) {
        uint64_t zone = zone_of(move, ids[i]);
        bool is_new = zone != 0;

        for (uint32_t k = 0; k < found && is_new; k++)
            is_new = zones[k] != zone;
        if (is_new)
            zones[found++] = zone;
    }
    return found;
}

/* All listed, none new that is excluded; in no fewer zones than the servers that have it now, but for more than the replication asks. */
static int check_team(const struct move *move, const struct shard_now *shard)
{
    uint32_t replication = move->distributor->settings.configuration.replication, zones = zones_of(move, move->ids, move->count);
    uint32_t now = zones_of(move, shard->source, shard->source_count);

    for (uint32_t i = 0; i < move->count; i++)
        if (zone_of(move, move->ids[i]) == 0)
            return ERROR_OPERATION_OBSOLETE;
    for (uint32_t i = 0; i < move->count; i++)
        if (!names(shard->source, shard->source_count, move->ids[i]) && is_excluded(move, move->ids[i])) {
            PROBE(move->op.env, "a move to a process that was just excluded does not start");
            return ERROR_OPERATION_OBSOLETE;
        }
    return zones < (now < replication ? now : replication) ? ERROR_OPERATION_OBSOLETE : 0;
}

/* What the move has come to, for those who look on: whom it takes the shard from, and who is new. 0: nobody. */
static void announce(const struct move *move, const char *stage)
{
    uint64_t from = 0, to = 0;

    for (uint32_t i = move->source_count; i-- > 0;)
        from = from == 0 || !names(move->ids, move->count, move->source[i]) ? move->source[i] : from;
    for (uint32_t i = 0; i < move->count && to == 0; i++)
        to = names(move->source, move->source_count, move->ids[i]) ? 0 : move->ids[i];
    TRACE(move->op.env, SEVERITY_DEBUG, "ShardMoveStage", {"Stage", trace_str(stage)}, {"From", trace_id(from)}, {"To", trace_id(to)},
          {"Begin", trace_bytes(bytes_buffer_bytes(&move->begin))});
}

/* ---- START ---- */

static int decide_start(struct change *change)
{
    struct move *move = change->parent;
    struct shard_now shard;
    int error = read_shard(move, &shard);

    if (error != 0)
        return error;
    move->source_count = shard.source_count < TEAM_SERVERS_MAX ? shard.source_count : TEAM_SERVERS_MAX;
    memcpy(move->source, shard.source, move->source_count * sizeof(*move->source));
    if (move->back)
        return move_keys_cancel(&shard, &change->writes);
    error = check_team(move, &shard);
    if (error == 0)
        error = move_keys_start(&shard, move->ids, move->count, &change->writes);
    if (error == 0)
        announce(move, "start_decided");
    return error;
}

static enum op_result run_start(struct op *op)
{
    struct move *move = move_of(op);

    if (BUGGIFY_DEATH(op->env, 64, "the distributor dies before a move starts")) {
        distributor_end(move->distributor, ERROR_PLEASE_REBOOT);
        return op_finish(op, ERROR_PLEASE_REBOOT);
    }
    move->change = (struct change){.ask = ask, .decide = decide_start, .done = resume, .parent = move};
    change_start(&move->change, move->distributor);
    return op_wait(op, STARTED);
}

static uint32_t slots_of(struct picture *picture, const uint64_t *ids, uint32_t count, uint32_t slots[TEAM_SERVERS_MAX])
{
    for (uint32_t i = 0; i < count; i++)
        slots[i] = picture_server(picture, ids[i]);
    return count;
}

static void set_picture(struct move *move, const uint64_t *source, uint32_t source_count, const uint64_t *to, uint32_t to_count,
                        version_t version)
{
    struct picture *picture = move->distributor->picture;
    uint32_t a[TEAM_SERVERS_MAX], b[TEAM_SERVERS_MAX];

    picture_set_shard(picture, bytes_buffer_bytes(&move->begin), a, slots_of(picture, source, source_count, a), b,
                      slots_of(picture, to, to_count, b), version);
}

/* What the destinations have not fetched yet. */
static void count_left(struct move *move)
{
    int64_t bytes = move->counted.shard->bytes, left = 0;

    for (uint32_t i = 0; i < move->count; i++) {
        bool fetches = move->progress[i].op.owner != NULL;

        for (uint32_t k = 0; k < move->source_count && fetches; k++)
            fetches = move->source[k] != move->ids[i];
        if (fetches && move->progress[i].left > 0)
            left += move->progress[i].left;
        else if (fetches && bytes > move->progress[i].fetched)
            left += bytes - move->progress[i].fetched; /* the sources' word as of some time ago */
    }
    move->distributor->bytes_left += left - move->left;
    move->left = left;
}

static void start_progress(struct move *move, uint32_t i);

static enum op_result run_started(struct op *op)
{
    struct move *move = move_of(op);

    if (move->change.error != 0)
        return op_finish(op, move->change.error);
    move->started = move->change.version;
    set_picture(move, move->source, move->source_count, move->ids, move->back ? 0 : move->count, move->started);
    if (move->back)
        return op_finish(op, 0);
    announce(move, "started");
    if (BUGGIFY_DEATH(op->env, 64, "the distributor dies when a move has started")) {
        distributor_end(move->distributor, ERROR_PLEASE_REBOOT);
        return op_finish(op, ERROR_PLEASE_REBOOT);
    }
    for (uint32_t i = 0; i < move->count; i++)
        start_progress(move, i);
    count_left(move);
    return op_wait(op, FETCHING);
}

/* ---- FETCHING ---- */

static bool will_not_do(const struct progress *progress)
{
    const struct picture *picture = progress->move->distributor->picture;
    uint32_t slot = picture_find_server(picture, progress->id);

    return slot == UINT32_MAX || !picture->servers[slot].known || picture->servers[slot].failed;
}

/* The shard has lost copies and has fewer than it should: more than balance is at stake. That a configuration asks for more copies than
 * before is no loss. Asked each time, since servers die, and come back, while a move is under way. */
static bool heals(const struct move *move)
{
    const struct picture *picture = move->distributor->picture;
    uint32_t living = 0;

    for (uint32_t i = 0; i < move->source_count; i++) {
        uint32_t slot = picture_find_server(picture, move->source[i]);

        living += slot != UINT32_MAX && picture->servers[slot].known && !picture->servers[slot].failed;
    }
    return living < move->distributor->settings.configuration.replication &&
           (living < move->source_count || move->reason == PLAN_REPAIR);
}

static enum op_result run_ask(struct op *op)
{
    struct progress *progress = container_of(op, struct progress, op);
    struct move *move = progress->move;
    const struct tracker *tracker = tracker_of(move->distributor, progress->id); /* it may be at another address by now */
    struct message *message;
    struct get_shard_progress *m;

    if (tracker == NULL || will_not_do(progress))
        return op_finish(op, ERROR_NO_MORE_SERVERS);
    m = MESSAGE_NEW(get_shard_progress, &message);
    must(arena_copy(&message->arena, bytes_buffer_bytes(&move->begin), &m->begin));
    must(arena_copy(&message->arena, bytes_buffer_bytes(&move->end), &m->end));
    m->wait_us = PROGRESS_WAIT_US;
    m->version = move->started;
    m->heals = heals(move);
    rpc_call_start(&progress->call, op, move->distributor->context.rpc, &tracker->endpoint, message, 2 * PROGRESS_WAIT_US);
    return op_wait(op, ANSWERED);
}

/* Numbers of others are added up: what no server stores is not believed. */
static int64_t bytes_told(uint64_t bytes)
{
    return bytes > UINT64_C(1) << 50 ? 0 : (int64_t)bytes;
}

static enum op_result run_answered(struct op *op)
{
    struct progress *progress = container_of(op, struct progress, op);
    int error = progress->call.error;

    if (error == 0) {
        progress->ready = MESSAGE_BODY(shard_progress, progress->call.reply)->ready;
        progress->fetched = bytes_told(MESSAGE_BODY(shard_progress, progress->call.reply)->bytes_fetched);
        progress->left = bytes_told(MESSAGE_BODY(shard_progress, progress->call.reply)->bytes_left);
        count_left(progress->move);
        rpc_call_clear(&progress->call);
        return progress->ready ? op_finish(op, 0) : op_move(op, ASK);
    }
    if (error == ERROR_WRONG_SHARD_SERVER) /* it is as new as our transaction, and does not have it */
        return op_finish(op, error);
    wait_timer_start(&progress->timer, op, PROGRESS_RETRY_US);
    return op_wait(op, ASK);
}

static void progress_ended(struct op *op)
{
    struct progress *progress = container_of(op, struct progress, op);

    rpc_call_clear(&progress->call);
    progress->error = op->error;
    if (op->error != ERROR_OPERATION_CANCELLED)
        op_resume(&progress->move->op);
}

static const struct op_stage progress_stages[PROGRESS_STAGES] = {
    [ASK] = {"ASK", run_ask, OP_STAGE(ANSWERED)},
    [ANSWERED] = {"ANSWERED", run_answered, OP_STAGE(ASK)},
};
static const struct op_type progress_type = {"move_progress", progress_stages, PROGRESS_STAGES, READY_READ, progress_ended};

static void start_progress(struct move *move, uint32_t i)
{
    struct progress *progress = &move->progress[i];

    *progress = (struct progress){.move = move, .id = move->ids[i]};
    op_start(&progress->op, &progress_type, &move->distributor->ops);
}

static enum op_result run_fetching(struct op *op)
{
    struct move *move = move_of(op);
    uint32_t ready = 0;

    for (uint32_t i = 0; i < move->count; i++) {
        if (move->progress[i].error != 0)
            return op_finish(op, move->progress[i].error);
        ready += move->progress[i].ready;
    }
    return ready == move->count ? op_move(op, FINISH) : op_wait(op, FETCHING);
}

/* ---- FINISH ---- */

static int decide_finish(struct change *change)
{
    struct move *move = change->parent;
    struct shard_now shard;
    int error = read_shard(move, &shard);

    if (error == 0)
        error = check_team(move, &shard);
    if (error == 0)
        error = move_keys_finish(&shard, move->ids, move->count, &change->writes);
    if (error == 0)
        announce(move, "finish_decided");
    return error;
}

static enum op_result run_finish(struct op *op)
{
    struct move *move = move_of(op);

    if (BUGGIFY_DEATH(op->env, 64, "the distributor dies when a shard has been fetched")) {
        distributor_end(move->distributor, ERROR_PLEASE_REBOOT);
        return op_finish(op, ERROR_PLEASE_REBOOT);
    }
    move->change = (struct change){.ask = ask, .decide = decide_finish, .done = resume, .parent = move};
    change_start(&move->change, move->distributor);
    return op_wait(op, FINISHED);
}

static enum op_result run_finished(struct op *op)
{
    struct move *move = move_of(op);
    struct distributor *self = move->distributor;

    if (move->change.error != 0)
        return op_finish(op, move->change.error);
    set_picture(move, move->ids, move->count, NULL, 0, move->change.version);
    announce(move, "finished");
    move->counted.shard->moved_us = env_now_us(op->env);
    self->moves_finished++;
    self->bytes_moved += move->counted.shard->bytes > 0 ? (uint64_t)move->counted.shard->bytes : 0;
    return op_finish(op, 0);
}

/* ---- life ---- */

static void trace_end(const struct move *move, int error)
{
    TRACE(move->op.env, error == 0 ? SEVERITY_INFO : SEVERITY_WARN, error == 0 ? "ShardMoved" : "ShardMoveEnded",
          {"Begin", trace_bytes(bytes_buffer_bytes(&move->begin))}, {"Reason", trace_str(plan_reason_name(move->reason))},
          {"Stage", trace_str(op_stage_name(&move->op))}, {"Error", trace_str(error_name(error))},
          {"TookUs", trace_int(env_now_us(move->op.env) - move->began_us)});
}

static void ended(struct op *op)
{
    struct move *move = move_of(op);
    struct distributor *self = move->distributor;
    struct picture_shard *shard = move->counted.shard;

    self->bytes_left -= move->left;
    change_cancel(&move->change);
    for (uint32_t i = 0; i < move->count; i++)
        op_cancel(&move->progress[i].op);
    picture_move_end(self->picture, &move->counted);
    if (op->error != ERROR_OPERATION_CANCELLED) {
        trace_end(move, op->error);
        if (op->error != 0) {
            PROBE(op->env, "a move ends before it is done");
            self->moves_failed++;
            shard->rest_until_us = env_now_us(op->env) + REST_US;
            distributor_changed_badly(self, op->error);
        }
        distributor_plan_soon(self);
    }
    bytes_buffer_done(&move->begin);
    bytes_buffer_done(&move->end);
    mem_free(move);
}

static const struct op_stage stages[STAGES] = {
    [START] = {"START", run_start, OP_STAGE(STARTED)},
    [STARTED] = {"STARTED", run_started, OP_STAGE(FETCHING)},
    [FETCHING] = {"FETCHING", run_fetching, OP_STAGE(FETCHING) | OP_STAGE(FINISH)},
    [FINISH] = {"FINISH", run_finish, OP_STAGE(FINISHED)},
    [FINISHED] = {"FINISHED", run_finished, 0},
};
static const struct op_type type = {"move", stages, STAGES, READY_COMMIT, ended};

void move_start(struct distributor *self, const struct plan_action *action)
{
    struct picture *picture = self->picture;
    struct picture_shard *shard = picture->shards[action->shard];
    struct move *move = mem_zalloc(sizeof(*move));
    uint32_t team = action->kind == PLAN_MOVE ? teams_intern(&picture->teams, action->team, action->team_count) : TEAM_NONE;

    move->distributor = self;
    move->reason = action->reason;
    move->back = action->kind == PLAN_CANCEL;
    move->count = action->kind == PLAN_MOVE ? action->team_count : 0;
    move->began_us = env_now_us(self->env);
    for (uint32_t i = 0; i < move->count; i++)
        move->ids[i] = picture->servers[action->team[i]].id;
    must(bytes_buffer_append(&move->begin, picture_shard_begin(shard)));
    must(bytes_buffer_append(&move->end, picture_shard_end(picture, action->shard)));
    picture_move_begin(picture, shard, team, &move->counted);
    teams_unref(&picture->teams, team);
    self->moves_started++;
    op_start(&move->op, &type, &self->ops);
}
