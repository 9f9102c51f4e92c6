/* The scan's op: which shard, which page, what the replicas say of it, and what follows.
 *
 *   RESTORE -> RESTORED -> LOOK -> VERSION -> ASK -> JUDGE -> LOOK ..
 *                          ^ |_ SAVE -> SAVED _|      |_ REPAIR -> REPAIRED -> LOOK
 *
 * A page is asked of every replica at one read version; storage servers answer behind their reads. A page that differs is asked once more,
 * at another version, and each replica looks at its store as a whole if it is small: nobody is accused for what one answer says. Then
 * smaller pages find the first key that differs (for who reads the report). Before the bad replica gives the shard up, the good ones are
 * read to the end of the shard: a copy that is damaged elsewhere is no copy to fetch from.
 *
 * A finding is written down before anything is done about it: the next distributor looks at it again at once. */
#include "roles/distributor/scan.h"

#include "net/buggify.h"
#include "net/mem.h"
#include "net/trace.h"
#include "roles/distributor/scan_internal.h"
#include "roles/role_client.h"
#include "txn/mutation.h"

#define SELF struct scan_record
SCHEMA_DEFINE(scan_record, scan_record_fields)
#undef SELF
#define SELF struct scan_state
SCHEMA_DEFINE(scan_state, scan_state_fields)
#undef SELF

enum { ASK_REPLICA, REPLICA_ANSWERED, ASK_STAGES };
enum {
    PAUSED_LOOK_US = 1000000,
    AGAIN_US = 200000,
    TRIES_MAX = 5,
    CLOSER_MAX = 32, /* pages that differ, and hold more than one pair */
    ANSWER_TIMEOUT_US = 5000000,
    PAGE_COST_BYTES = 4096, /* of a page, whatever it holds: messages, a read version */
    PAGE_BYTES_MIN = 1000,
};

static void set_key(struct bytes_buffer *into, struct bytes key)
{
    struct bytes_buffer fresh = {0}; /* key may lie in `into` */

    scan_must(bytes_buffer_append(&fresh, key));
    bytes_buffer_done(into);
    *into = fresh;
}

static void resume(struct change *change)
{
    op_resume(&((struct scan *)change->parent)->op);
}

/* ---- what stands in the database ---- */

static void ask_state(struct change *change)
{
    ((struct scan *)change->parent)->stored = change_read_key(change, KEY_SCAN_STATE);
}

static int decide_restore(struct change *change)
{
    struct scan *scan = change->parent;
    struct arena arena = {0};
    struct scan_state state;

    if (scan->stored->pair_count == 1 && message_decode(&schema_scan_state, scan->stored->pairs[0].value, &arena, &state) == 0) {
        scan->state = state;
        set_key(&scan->at, state.at);
        scan_findings_restore(scan, &state);
    }
    scan->state.at = bytes_none();
    scan->state.findings = NULL; /* the arena's; see `findings` */
    scan->state.findings_count = 0;
    arena_done(&arena);
    return 0;
}

static int decide_save(struct change *change)
{
    struct scan *scan = change->parent;
    struct scan_state state = scan->state;
    struct bytes_buffer packed = {0};

    state.at = bytes_buffer_bytes(&scan->at);
    scan_must(scan_findings_keep(scan, &change->arena, &state));
    scan_must(message_encode(&schema_scan_state, &state, &packed));
    scan_must(mutation_append(&change->writes, MUTATION_SET, KEY_SCAN_STATE, bytes_buffer_bytes(&packed)));
    bytes_buffer_done(&packed);
    return 0;
}

enum op_result scan_change(struct scan *scan, void (*ask)(struct change *), int (*decide)(struct change *), unsigned next)
{
    scan->change = (struct change){.ask = ask, .decide = decide, .done = resume, .parent = scan};
    change_start(&scan->change, scan->distributor);
    return op_wait(&scan->op, next);
}

static enum op_result run_restore(struct op *op)
{
    return scan_change(scan_of_op(op), ask_state, decide_restore, RESTORED);
}

static enum op_result wait_then(struct scan *scan, int64_t us, unsigned stage)
{
    wait_timer_start(&scan->timer, &scan->op, us);
    return op_wait(&scan->op, stage);
}

bool scan_may_go_on(struct scan *scan, int error)
{
    if (error != 0)
        distributor_changed_badly(scan->distributor, error);
    return error != ERROR_MOVEKEYS_CONFLICT;
}

static enum op_result run_restored(struct op *op)
{
    struct scan *scan = scan_of_op(op);

    if (!scan_may_go_on(scan, scan->change.error))
        return op_finish(op, scan->change.error);
    if (scan->change.error != 0)
        return wait_then(scan, AGAIN_US, RESTORE);
    scan->restored = true;
    if (scan->at.len > 0)
        PROBE(op->env, "a consistency scan goes on where another distributor's ended");
    return op_move(op, LOOK);
}

static enum op_result run_save(struct op *op)
{
    return scan_change(scan_of_op(op), ask_state, decide_save, SAVED);
}

static enum op_result run_saved(struct op *op)
{
    struct scan *scan = scan_of_op(op);

    if (!scan_may_go_on(scan, scan->change.error))
        return op_finish(op, scan->change.error);
    scan->saved_us = env_now_us(op->env);
    scan->changed = scan->change.error != 0;
    return op_move(op, LOOK);
}

/* ---- LOOK: which shard, and may it be read now ---- */

void scan_leave(struct scan *scan)
{
    if (scan->examining && scan->by_round)
        set_key(&scan->at, bytes_buffer_bytes(&scan->end));
    scan->examining = scan->suspected = false;
    scan->finding = NULL;
    scan->changed = true;
}

void scan_skip(struct scan *scan)
{
    PROBE(scan->op.env, "the consistency scan passes a shard over");
    scan->state.skipped += scan->by_round;
    scan_again(scan);
    scan_leave(scan);
}

bool scan_is_whole_team(const struct scan *scan, const struct team *team)
{
    const struct picture *picture = scan->distributor->picture;

    for (uint32_t i = 0; i < team->count; i++) {
        const struct picture_server *server = &picture->servers[team->servers[i]];

        if (!server->known || !server->reachable || tracker_of(scan->distributor, server->id) == NULL)
            return false;
    }
    return team->count > 0;
}

static void begin_pages(struct scan *scan, enum scan_mode mode, uint32_t asked)
{
    scan->mode = mode;
    scan->asked = asked;
    scan->pairs_limit = scan->tries = scan->closer = 0;
    scan->suspected = false;
    set_key(&scan->from, bytes_buffer_bytes(&scan->begin));
    scan->until.len = 0;
}

/* The shard that holds `key`. */
static void examine(struct scan *scan, struct bytes key, bool by_round)
{
    struct picture *picture = scan->distributor->picture;
    int64_t at = picture_shard_of(picture, key);
    const struct picture_shard *shard;
    const struct team *team;

    assert(at >= 0); /* a picture that does not begin is stale, and the scan waits */
    shard = picture->shards[at];
    team = teams_at(&picture->teams, shard->source);
    set_key(&scan->begin, picture_shard_begin(shard));
    set_key(&scan->end, picture_shard_end(picture, (size_t)at));
    scan->examining = true;
    scan->by_round = by_round;
    scan->count = team->count;
    for (uint32_t i = 0; i < team->count; i++)
        scan->ids[i] = picture->servers[team->servers[i]].id;
    if (shard->busy || shard->destination != TEAM_NONE || !scan_is_whole_team(scan, team)) {
        scan_skip(scan);
        return;
    }
    begin_pages(scan, SCAN_WALK, (UINT32_C(1) << team->count) - 1);
}

static void end_round(struct scan *scan)
{
    struct scan_state *state = &scan->state;

    state->last_began_us = state->began_us;
    state->last_ended_us = env_wall_us(scan->op.env);
    state->last_shards = state->shards;
    state->last_skipped = state->skipped;
    state->last_bytes = state->bytes;
    state->shards = state->skipped = state->bytes = 0;
    state->began_us = 0;
    scan->at.len = 0;
    scan->changed = true;
    scan->pause_until_us = env_now_us(scan->op.env) + scan->op.env->knobs.dd_scan_interval_us;
    TRACE(scan->op.env, SEVERITY_INFO, "ConsistencyScanRound", {"Round", trace_int((int64_t)state->round)},
          {"Shards", trace_int((int64_t)state->last_shards)}, {"Skipped", trace_int((int64_t)state->last_skipped)},
          {"Bytes", trace_int((int64_t)state->last_bytes)});
}

static struct scan_finding *to_look_at_again(struct scan *scan)
{
    for (uint32_t i = 0; i < SCAN_FINDINGS_MAX && env_now_us(scan->op.env) >= scan->again_us; i++)
        if (scan->findings[i].again)
            return &scan->findings[i];
    return NULL;
}

/* False: nothing is to be looked at now. */
static bool choose(struct scan *scan)
{
    struct scan_finding *known = to_look_at_again(scan);

    if (known != NULL) {
        PROBE(scan->op.env, "what was found before is looked at again at once");
        TRACE(scan->op.env, SEVERITY_INFO, "ScanLooksAgain", {"Shard", trace_bytes(known->shard)});
        scan->again_us = env_now_us(scan->op.env) + PAUSED_LOOK_US;
        examine(scan, known->begin, false); /* of what was one shard then */
        known->again = !scan->examining; /* passed over: later */
        return true;
    }
    if (scan->is_urgent) {
        scan->is_urgent = false;
        examine(scan, bytes_buffer_bytes(&scan->urgent), false);
        return true;
    }
    if (env_now_us(scan->op.env) < scan->pause_until_us)
        return false;
    if (bytes_compare(bytes_buffer_bytes(&scan->at), KEY_SYSTEM_END) >= 0) {
        end_round(scan);
        return true;
    }
    if (scan->state.began_us == 0) {
        scan->state.round++;
        scan->state.began_us = env_wall_us(scan->op.env);
    }
    examine(scan, bytes_buffer_bytes(&scan->at), true);
    return true;
}

/* How long until another page may be read. */
static int64_t wait_for_tokens(struct scan *scan)
{
    int64_t rate = scan->op.env->knobs.dd_scan_bytes_per_second, now_us = env_now_us(scan->op.env);
    double more = (double)(now_us - scan->tokens_us) * (double)rate / 1000000; /* it may have been paused for years */

    if (scan->tokens_us == 0 || (double)scan->tokens + more > (double)rate)
        scan->tokens = rate;
    else
        scan->tokens += (int64_t)more;
    scan->tokens_us = now_us;
    return scan->tokens >= 0 ? 0 : -scan->tokens * 1000000 / rate + 1;
}

static enum op_result run_look(struct op *op)
{
    struct scan *scan = scan_of_op(op);
    struct distributor *self = scan->distributor;
    int64_t wait_us;

    scan_look(scan);
    if (scan->changed && env_now_us(op->env) - scan->saved_us >= SCAN_SAVE_INTERVAL_US)
        return op_move(op, SAVE);
    scan->paused = self->settings.scan_off || op->env->knobs.dd_scan_bytes_per_second == 0 || self->shards_stale;
    if (scan->paused || self->picture->shard_count == 0)
        return wait_then(scan, PAUSED_LOOK_US, LOOK);
    wait_us = wait_for_tokens(scan);
    if (wait_us > 0)
        return wait_then(scan, wait_us, LOOK);
    if (scan->examining)
        return op_move(op, VERSION);
    if (!choose(scan))
        return wait_then(scan, PAUSED_LOOK_US / 4, LOOK);
    if (!scan->examining) /* passed over, which costs a little too */
        scan->tokens -= PAGE_COST_BYTES / 4;
    return scan->examining ? op_move(op, VERSION) : wait_then(scan, 0, LOOK);
}

/* ---- VERSION, ASK: one page, at one version ---- */

static enum op_result run_version(struct op *op)
{
    struct scan *scan = scan_of_op(op);

    transaction_destroy(scan->txn);
    scan->txn = NULL;
    scan_must(role_transaction_create(scan->distributor->client, &scan->txn));
    transaction_read_version_start(&scan->read_version, op, scan->txn);
    return op_wait(op, ASK);
}

/* A page ends with the pair that reaches it. */
static uint32_t page_bytes(const struct env *env)
{
    int64_t quarter = env->knobs.dd_scan_bytes_per_second / 4;

    return (uint32_t)(quarter < PAGE_BYTES_MIN ? PAGE_BYTES_MIN : quarter > INT32_MAX ? INT32_MAX : quarter);
}

static enum op_result ask_replica(struct op *op)
{
    struct scan_ask *ask = container_of(op, struct scan_ask, op);
    struct scan *scan = ask->scan;
    const struct tracker *tracker = tracker_of(scan->distributor, ask->id);
    struct message *message;
    struct get_range_digest *m;

    if (tracker == NULL)
        return op_finish(op, ERROR_CONNECTION_FAILED);
    m = MESSAGE_NEW(get_range_digest, &message);
    scan_must(arena_copy(&message->arena, bytes_buffer_bytes(&scan->from), &m->begin));
    scan_must(arena_copy(&message->arena, bytes_buffer_bytes(scan->until.len > 0 ? &scan->until : &scan->end), &m->end));
    m->version = scan->read_version.version;
    m->bytes_limit = page_bytes(op->env);
    m->pairs_limit = scan->pairs_limit;
    m->check_store = scan->suspected && scan->mode == SCAN_WALK;
    rpc_call_start(&ask->call, op, scan->distributor->context.rpc, &tracker->endpoint, message, ANSWER_TIMEOUT_US);
    return op_wait(op, REPLICA_ANSWERED);
}

/* NULL, or what is wrong with it. */
static const char *judge_answer(const struct scan *scan, const struct range_digest *reply)
{
    struct bytes end = bytes_buffer_bytes(scan->until.len > 0 ? &scan->until : &scan->end);

    if (reply->version != scan->read_version.version)
        return "another version";
    if (bytes_compare(reply->through, bytes_buffer_bytes(&scan->from)) <= 0 || bytes_compare(reply->through, end) > 0)
        return "another range";
    if (reply->bytes >= (uint64_t)page_bytes(scan->op.env) + PAIR_HEADER_BYTES + SYSTEM_KEY_BYTES_MAX + VALUE_BYTES_MAX)
        return "more than a page";
    return NULL;
}

static enum op_result replica_answered(struct op *op)
{
    struct scan_ask *ask = container_of(op, struct scan_ask, op);
    const struct range_digest *reply;
    const char *wrong;

    if (ask->call.error != 0)
        return op_finish(op, ask->call.error);
    reply = MESSAGE_BODY(range_digest, ask->call.reply);
    wrong = judge_answer(ask->scan, reply);
    if (wrong != NULL) {
        PROBE(op->env, "an answer to the consistency scan is refused");
        TRACE(op->env, SEVERITY_WARN_ALWAYS, "ScanAnswerRefused", {"Server", trace_id(ask->id)}, {"What", trace_str(wrong)});
        return op_finish(op, ERROR_BROKEN_PROMISE);
    }
    ask->answer = (struct scan_answer){
        .through = reply->through, .pairs = reply->pairs, .bytes = reply->bytes, .digest = reply->digest};
    return op_finish(op, 0);
}

static void ask_ended(struct op *op)
{
    struct scan_ask *ask = container_of(op, struct scan_ask, op);

    ask->answer.error = op->error;
    if (op->error != ERROR_OPERATION_CANCELLED && --ask->scan->asks_waiting == 0)
        op_resume(&ask->scan->op);
}

static const struct op_stage ask_stages[ASK_STAGES] = {
    [ASK_REPLICA] = {"ASK", ask_replica, OP_STAGE(REPLICA_ANSWERED)},
    [REPLICA_ANSWERED] = {"ANSWERED", replica_answered, 0},
};
static const struct op_type ask_type = {"scan_ask", ask_stages, ASK_STAGES, READY_READ, ask_ended};

static enum op_result again_later(struct scan *scan)
{
    if (++scan->tries >= TRIES_MAX) {
        scan_skip(scan);
        return op_move(&scan->op, LOOK);
    }
    return wait_then(scan, AGAIN_US, LOOK);
}

static enum op_result run_ask(struct op *op)
{
    struct scan *scan = scan_of_op(op);

    if (scan->read_version.call.error != 0)
        return again_later(scan);
    scan->asks_waiting = (uint32_t)__builtin_popcount(scan->asked);
    for (uint32_t i = 0; i < scan->count; i++) {
        struct scan_ask *ask = &scan->asks[i];

        rpc_call_clear(&ask->call);
        if ((scan->asked >> i & 1) == 0)
            continue;
        *ask = (struct scan_ask){.scan = scan, .id = scan->ids[i]};
        op_start(&ask->op, &ask_type, &scan->distributor->ops);
    }
    return op_wait(op, JUDGE);
}

/* ---- JUDGE ---- */

/* Back to the places of `ids`. */
static uint32_t spread(uint32_t bits, uint32_t asked)
{
    uint32_t out = 0;

    for (uint32_t i = 0, at = 0; i < TEAM_SERVERS_MAX; i++)
        if (asked >> i & 1)
            out |= (bits >> at++ & 1) << i;
    return out;
}

static void judge_page(struct scan *scan)
{
    struct scan_answer answers[TEAM_SERVERS_MAX];
    uint32_t count = 0;

    for (uint32_t i = 0; i < scan->count; i++)
        if (scan->asked >> i & 1)
            answers[count++] = scan->asks[i].answer;
    scan->judgement = scan_judge(answers, count);
    scan->judgement.bad = spread(scan->judgement.bad, scan->asked);
    scan->judgement.good = spread(scan->judgement.good, scan->asked);
    scan->tokens -= (int64_t)(scan->judgement.bytes / count) + PAGE_COST_BYTES;
    scan->state.bytes += scan->mode == SCAN_WALK && !scan->suspected ? scan->judgement.bytes / count : 0;
}

static enum op_result report(struct scan *scan)
{
    struct scan_finding *finding = scan_found(scan);

    if (scan->judgement.verdict == SCAN_UNDECIDED) {
        PROBE(scan->op.env, "replicas are not equal, and nobody can tell which is right");
        scan_leave(scan);
        return op_move(&scan->op, LOOK);
    }
    scan->finding = finding;
    begin_pages(scan, SCAN_PROVE, scan->judgement.good);
    return op_move(&scan->op, LOOK);
}

/* The copies that were to be fetched from are not what they should be either. */
static enum op_result no_proof(struct scan *scan)
{
    PROBE(scan->op.env, "no good copy is proven: nothing is changed");
    TRACE(scan->op.env, SEVERITY_WARN_ALWAYS, "ShardHasNoGoodCopy", {"Shard", trace_bytes(bytes_buffer_bytes(&scan->begin))},
          {"At", trace_bytes(bytes_buffer_bytes(&scan->from))});
    scan_leave(scan);
    return op_move(&scan->op, LOOK);
}

/* A page that differs for the second time, and of the least size that tells where; or of any, where so much is written that it can't be told. */
static enum op_result differs(struct scan *scan)
{
    if (!scan->suspected) {
        scan->suspected = true;
        return wait_then(scan, AGAIN_US, LOOK);
    }
    if (scan->mode == SCAN_PROVE)
        return no_proof(scan);
    if (!scan->judgement.content || scan->judgement.pairs <= 1 || ++scan->closer > CLOSER_MAX)
        return report(scan);
    PROBE(scan->op.env, "a page that differs is looked at more closely");
    if (scan->mode == SCAN_WALK) {
        set_key(&scan->narrow, scan->judgement.through);
        TRACE(scan->op.env, SEVERITY_DEBUG, "ScanLooksCloser", {"Shard", trace_bytes(bytes_buffer_bytes(&scan->begin))});
    }
    scan->mode = SCAN_NARROW;
    scan->pairs_limit = scan->judgement.pairs / 4 == 0 ? 1 : scan->judgement.pairs / 4;
    set_key(&scan->until, bytes_buffer_bytes(&scan->narrow));
    return op_move(&scan->op, LOOK);
}

/* Equal up to `through`. */
static enum op_result page_done(struct scan *scan)
{
    bool first_try = !scan->suspected;

    if (!first_try)
        PROBE(scan->op.env, "replicas that differed do no more");
    set_key(&scan->from, scan->judgement.through);
    scan->until.len = scan->tries = 0;
    if (scan->mode == SCAN_NARROW && bytes_compare(bytes_buffer_bytes(&scan->from), bytes_buffer_bytes(&scan->narrow)) >= 0) {
        PROBE(scan->op.env, "what differed has been written over");
        scan->mode = SCAN_WALK;
        scan->pairs_limit = 0;
    }
    if (scan->mode == SCAN_NARROW) {
        set_key(&scan->until, bytes_buffer_bytes(&scan->narrow));
        scan->pairs_limit *= 2; /* as many may have been written in front of what differs as pages are read */
    } else {
        scan->suspected = false;
    }
    if (bytes_compare(bytes_buffer_bytes(&scan->from), bytes_buffer_bytes(&scan->end)) < 0)
        return op_move(&scan->op, LOOK);
    if (scan->mode == SCAN_PROVE)
        return op_move(&scan->op, REPAIR);
    scan->state.shards += scan->by_round;
    scan_is_equal(scan);
    scan_leave(scan);
    return op_move(&scan->op, LOOK);
}

static enum op_result run_judge(struct op *op)
{
    struct scan *scan = scan_of_op(op);

    judge_page(scan);
    switch (scan->judgement.verdict) {
    case SCAN_EQUAL:
        return page_done(scan);
    case SCAN_UNKNOWN:
        return again_later(scan);
    case SCAN_SHORTER:
        PROBE(op->env, "pages of the consistency scan end at different keys");
        set_key(&scan->until, scan->judgement.through);
        return op_move(op, LOOK);
    case SCAN_DIFFERENT:
    case SCAN_UNDECIDED:
        break;
    }
    return differs(scan);
}

/* ---- life ---- */

static void ended(struct op *op)
{
    struct scan *scan = scan_of_op(op);

    change_cancel(&scan->change);
    for (uint32_t i = 0; i < TEAM_SERVERS_MAX; i++) {
        op_cancel(&scan->asks[i].op);
        rpc_call_clear(&scan->asks[i].call);
    }
    transaction_destroy(scan->txn);
    scan_findings_done(scan);
    bytes_buffer_done(&scan->at);
    bytes_buffer_done(&scan->urgent);
    bytes_buffer_done(&scan->begin);
    bytes_buffer_done(&scan->end);
    bytes_buffer_done(&scan->from);
    bytes_buffer_done(&scan->until);
    bytes_buffer_done(&scan->narrow);
    scan->distributor->scan = NULL;
    mem_free(scan);
}

static const struct op_stage stages[STAGES] = {
    [RESTORE] = {"RESTORE", run_restore, OP_STAGE(RESTORED)},
    [RESTORED] = {"RESTORED", run_restored, OP_STAGE(RESTORE) | OP_STAGE(LOOK)},
    [LOOK] = {"LOOK", run_look, OP_STAGE(LOOK) | OP_STAGE(SAVE) | OP_STAGE(VERSION)},
    [SAVE] = {"SAVE", run_save, OP_STAGE(SAVED)},
    [SAVED] = {"SAVED", run_saved, OP_STAGE(LOOK)},
    [VERSION] = {"VERSION", run_version, OP_STAGE(ASK)},
    [ASK] = {"ASK", run_ask, OP_STAGE(LOOK) | OP_STAGE(JUDGE)},
    [JUDGE] = {"JUDGE", run_judge, OP_STAGE(LOOK) | OP_STAGE(REPAIR)},
    [REPAIR] = {"REPAIR", scan_run_repair, OP_STAGE(LOOK) | OP_STAGE(REPAIRED)},
    [REPAIRED] = {"REPAIRED", scan_run_repaired, OP_STAGE(LOOK)},
};
static const struct op_type type = {"scan", stages, STAGES, READY_READ, ended};

void scan_start(struct distributor *self)
{
    struct scan *scan = mem_zalloc(sizeof(*scan));

    scan->distributor = self;
    self->scan = scan;
    op_start(&scan->op, &type, &self->ops);
}

void scan_hurry(struct distributor *self, struct bytes key)
{
    struct scan *scan = self->scan;

    if (scan == NULL || scan->is_urgent || bytes_compare(key, KEY_SYSTEM_END) >= 0)
        return;
    set_key(&scan->urgent, key);
    scan->is_urgent = true;
}
