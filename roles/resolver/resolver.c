/* Batches go through one door in version order: each names its predecessor and waits until that one has been judged.
 *
 *   a request ──► ENTER ──(turnstile stands at prev_version)──► JUDGE ──► reply, turnstile moves to version
 *
 * One whose turn it is already is judged in the handler and makes no op. When a request comes through the door and the door
 * stands beyond its predecessor, it is a repeat: it is answered from memory if its content is the same; other content at a
 * version that was judged means that two believe to own it, and ends the role.
 *
 * The window: the conflict set is born when the first batch comes, whose version is that of the recovery transaction, and
 * knows nothing older: reads below it are too old. Later its oldest version follows at a distance of
 * MAX_WRITE_TRANSACTION_LIFE_VERSIONS. */
#include "roles/resolver/resolver.h"

#include <assert.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "net/buggify.h"
#include "net/mem.h"
#include "net/planted_bug.h"
#include "roles/resolver/range_sample.h"
#include "roles/resolver/resolver_memory.h"
#include "txn/conflict_range.h"
#include "txn/conflict_set.h"
#include "txn/keys.h"
#include "txn/resolver_map.h"

enum { PROXIES_MAX = 256, WAITING_MAX = 4096, REPORTED_MAX = 1000 /* conflicts of one transaction */ };

struct resolver {
    struct role_context context;
    uint64_t id, epoch;
    version_t recovery_version;
    version_t born; /* the first batch's; VERSION_NONE before it */
    struct conflict_set *set; /* owned; NULL before the first batch */
    struct resolver_memory memory;
    struct turnstile door; /* stands at the newest version judged */
    struct op_list ops;    /* struct waiting */
    struct arena scratch;  /* of one batch */
    uint64_t partition;        /* the newest by which a batch was cut */
    struct range_sample *load;  /* owned; NULL before anybody asked */
    struct arena asked;        /* holds part */
    struct key_part part;      /* as the last question named it */
    int64_t ranges_per_s;      /* as last answered */
    uint64_t batches, transactions, committed, conflicts, too_old, repeats;
    bool ended;
};

/* A request that came before its predecessor. */
struct waiting {
    struct op op;
    struct wait_turn turn;
    struct wait_timer timer;
    struct resolver *resolver;
    struct rpc_request *request;
};

static void invariant_resolver(void *owner)
{
    const struct resolver *self = owner;

    assert((self->set == NULL) == (self->born == VERSION_NONE));
    assert(self->memory.proxies != NULL);
    assert(self->memory.proxy_count <= self->memory.proxy_max);
    if (self->set == NULL || self->ended)
        return;
    assert(self->door.now == conflict_set_newest(self->set));
    assert(conflict_set_oldest(self->set) >= self->born);
    assert(conflict_set_oldest(self->set) == self->born ||
           conflict_set_oldest(self->set) == self->door.now - MAX_WRITE_TRANSACTION_LIFE_VERSIONS);
}

static void end(struct resolver *self, int error, const char *why)
{
    if (self->ended)
        return;
    self->ended = true;
    TRACE(self->context.env,
          error == ERROR_OUT_OF_MEMORY || error == ERROR_TIMED_OUT ? SEVERITY_WARN_ALWAYS : SEVERITY_ERROR, "RoleCannotGoOn",
          {"Role", trace_str("resolver")},
          {"Id", trace_id(self->id)}, {"Epoch", trace_int((int64_t)self->epoch)}, {"Error", trace_int(error)},
          {"Why", trace_str(why)});
    self->context.ended(self->context.host, ROLE_RESOLVER, self->id, error);
}

/* ---- judging ---- */

static uint64_t digest_bytes(struct bytes bytes, uint64_t seed)
{
    return XXH3_64bits_withSeed(bytes.len == 0 ? "" : (const void *)bytes.ptr, bytes.len, seed + bytes.len);
}

/* Of everything that decides the answer; known_version does not. */
static uint64_t digest_of(const struct resolve *batch)
{
    uint64_t digest = XXH3_64bits_withSeed(&batch->prev_version, sizeof(batch->prev_version), batch->proxy);

    for (uint32_t i = 0; i < batch->transactions_count; i++) {
        const struct resolve_transaction *transaction = &batch->transactions[i];

        digest = digest_bytes(transaction->read_conflicts, digest ^ (uint64_t)transaction->read_version);
        digest = digest_bytes(transaction->write_conflicts, digest + transaction->flags);
        digest = digest_bytes(transaction->mutations, digest);
    }
    return digest + batch->transactions_count;
}

static int birth(struct resolver *self, version_t version)
{
    /* Not at `version` itself: a batch must be newer than the set. Nothing was ever read in between. */
    int error = conflict_set_create(version - 1, env_random(self->context.env), &self->set);

    if (error == 0)
        self->born = version;
    return error;
}

static struct conflict_transaction *prepare(struct resolver *self, const struct resolve *batch)
{
    struct conflict_transaction *transactions;

    arena_reset(&self->scratch);
    transactions = arena_zalloc(&self->scratch, batch->transactions_count * sizeof(*transactions));
    if (transactions == NULL)
        return NULL;
    for (uint32_t i = 0; i < batch->transactions_count; i++) {
        transactions[i].read_version = batch->transactions[i].read_version;
        transactions[i].read_ranges = batch->transactions[i].read_conflicts;
        transactions[i].write_ranges = batch->transactions[i].write_conflicts;
        transactions[i].report = (batch->transactions[i].flags & RESOLVE_REPORT_CONFLICTS) != 0;
    }
    return transactions;
}

static void count_verdict(struct resolver *self, enum conflict_verdict verdict)
{
    self->transactions++;
    self->committed += verdict == CONFLICT_COMMITTED;
    self->conflicts += verdict == CONFLICT_CONFLICT;
    self->too_old += verdict == CONFLICT_TOO_OLD;
}

static uint32_t reported(const struct conflict_transaction *transaction)
{
    return transaction->conflicting_count < REPORTED_MAX ? transaction->conflicting_count : REPORTED_MAX;
}

/* The end of a range, or of one key as a range. */
static int copy_end(struct arena *arena, bool is_point, struct bytes begin, struct bytes end, struct bytes *ret)
{
    return is_point ? key_after(arena, begin, ret) : PLANTED_BUG(CONFLICT_END) ? key_after(arena, end, ret) : arena_copy(arena, end, ret);
}

/* What one transaction met. The reads are walked once: conflicting_reads ascends. */
static int report_one(struct bytes reads, const struct conflict_transaction *transaction, struct arena *arena,
                      struct resolve_reply *reply)
{
    struct conflict_range range = {0};
    uint32_t place = 0;
    int error = conflict_range_next(&reads, &range);

    for (uint32_t i = 0; i < reported(transaction) && error == 0; i++) {
        const struct conflict_write *write = &transaction->conflicting_writes[i];
        struct conflict *conflict = &reply->conflicts[reply->conflicts_count];

        for (; place < transaction->conflicting_reads[i] && error == 0; place++)
            error = conflict_range_next(&reads, &range);
        conflict->version = write->version;
        if (error == 0)
            error = arena_copy(arena, range.begin, &conflict->read_begin);
        if (error == 0)
            error = copy_end(arena, range.is_point, range.begin, range.end, &conflict->read_end);
        if (error == 0)
            error = arena_copy(arena, write->begin, &conflict->written_begin);
        if (error == 0 && write->version != VERSION_NONE)
            error = copy_end(arena, write->is_point, write->begin, write->end, &conflict->written_end);
        reply->conflicts_count++;
    }
    return error;
}

static int report_conflicts(const struct resolve *batch, const struct conflict_transaction *transactions, struct arena *arena,
                            struct resolve_reply *reply)
{
    uint32_t count = 0;
    int error = 0;

    for (uint32_t i = 0; i < batch->transactions_count; i++)
        count += reported(&transactions[i]);
    if (count == 0)
        return 0;
    reply->conflicts = arena_zalloc(arena, count * sizeof(*reply->conflicts));
    reply->reporters = arena_alloc(arena, count * sizeof(*reply->reporters));
    if (reply->conflicts == NULL || reply->reporters == NULL)
        return ERROR_OUT_OF_MEMORY;
    for (uint32_t i = 0; i < batch->transactions_count && error == 0; i++) {
        if (reported(&transactions[i]) == 0 && !PLANTED_BUG(REPORT_NEEDS_READS)) /* it may have no reads here at all */
            continue;
        for (uint32_t n = 0; n < reported(&transactions[i]); n++)
            reply->reporters[reply->reporters_count++] = i;
        error = report_one(batch->transactions[i].read_conflicts, &transactions[i], arena, reply);
    }
    return error;
}

static int resolve(struct resolver *self, const struct resolve *batch, struct arena *arena, struct resolve_reply *reply)
{
    struct conflict_transaction *transactions = prepare(self, batch);
    int error;

    static_assert((int)VERDICT_COMMITTED == (int)CONFLICT_COMMITTED && (int)VERDICT_CONFLICT == (int)CONFLICT_CONFLICT &&
                      (int)VERDICT_TOO_OLD == (int)CONFLICT_TOO_OLD,
                  "a verdict travels as it is");
    reply->verdicts = arena_alloc(arena, batch->transactions_count * sizeof(*reply->verdicts));
    if (transactions == NULL || reply->verdicts == NULL)
        return ERROR_OUT_OF_MEMORY;
    error = conflict_set_resolve(self->set, batch->version, transactions, batch->transactions_count, arena);
    if (error != 0)
        return error;
    reply->verdicts_count = batch->transactions_count;
    for (uint32_t i = 0; i < batch->transactions_count; i++) {
        reply->verdicts[i] = (uint32_t)transactions[i].verdict;
        count_verdict(self, transactions[i].verdict);
    }
    return report_conflicts(batch, transactions, arena, reply);
}

static void move_window(struct resolver *self, version_t version)
{
    version_t oldest = version - MAX_WRITE_TRANSACTION_LIFE_VERSIONS;

    conflict_set_set_oldest(self->set, oldest > self->born ? oldest : self->born);
}

/* R1 of txn/resolver_map.h, as far as one resolver can see it: who cuts by an older partition than a lower version was cut by sends its
 * reads and writes to the wrong resolvers. 0: from an older program, which never has a second one. */
static bool is_cut_in_order(struct resolver *self, const struct resolve *batch)
{
    if (batch->partition == 0)
        return true;
    if (batch->partition < self->partition)
        return false;
    self->partition = batch->partition;
    return true;
}

/* The whole work on one batch whose predecessor has been judged. On success *ret_reply is owned by the caller. */
static int judge(struct resolver *self, struct progress *progress, const struct resolve *batch, struct message **ret_reply)
{
    struct message *message;
    struct resolve_reply *reply = MESSAGE_NEW(resolve_reply, &message);
    int error = reply == NULL ? ERROR_OUT_OF_MEMORY : 0;

    if (error == 0 && self->set == NULL)
        error = birth(self, batch->version);
    if (error == 0)
        error = resolve(self, batch, &message->arena, reply);
    if (error == 0) {
        reply->version = batch->version;
        reply->resolver = self->id;
    }
    if (error == 0)
        error = resolver_memory_tell(&self->memory, batch->proxy, batch->known_version, batch->version, &message->arena, reply);
    if (error == 0)
        error = resolver_memory_keep(&self->memory, batch, reply->verdicts);
    if (error == 0)
        error = resolver_memory_remember(&self->memory, progress, batch->version, digest_of(batch), message);
    if (error != 0) {
        message_unref(message);
        return error;
    }
    move_window(self, batch->version);
    if (self->load != NULL)
        range_sample_take(self->load, env_now_us(self->context.env), batch);
    self->batches++;
    *ret_reply = message;
    return 0;
}

static void answer_repeat(struct resolver *self, struct rpc_request *request, const struct progress *progress,
                          const struct resolve *batch)
{
    const struct remembered *remembered = resolver_memory_answer(progress, batch->version);

    self->repeats++;
    PROBE(self->context.env, "a resolve request was repeated");
    if (remembered != NULL && remembered->digest == digest_of(batch)) {
        rpc_reply(request, message_ref(remembered->reply));
        return;
    }
    if (remembered == NULL && batch->version <= progress->known) { /* an old connection's: its proxy has the answer */
        PROBE(self->context.env, "a resolve request comes again after its proxy has gone on");
        rpc_fail(request, ERROR_OPERATION_OBSOLETE);
        return;
    }
    rpc_fail(request, ERROR_OPERATION_FAILED);
    end(self, ERROR_OPERATION_FAILED, "other content at a version that was judged");
}

/* The door stands at the request's predecessor or beyond. Answers it. */
static void enter(struct resolver *self, struct rpc_request *request)
{
    const struct resolve *batch = MESSAGE_BODY(resolve, request->message);
    struct progress *progress = resolver_memory_proxy(&self->memory, batch->proxy, self->recovery_version);
    struct message *reply;
    int error;

    assert(progress != NULL); /* checked when it came */
    resolver_memory_advance(&self->memory, progress, batch->known_version);
    if (self->ended) {
        rpc_fail(request, ERROR_BROKEN_PROMISE);
        return;
    }
    if (batch->prev_version < self->door.now) {
        answer_repeat(self, request, progress, batch);
        return;
    }
    if (!is_cut_in_order(self, batch)) {
        rpc_fail(request, ERROR_OPERATION_FAILED);
        end(self, ERROR_OPERATION_FAILED, "a proxy cuts by older ranges of the resolvers than others do");
        return;
    }
    error = BUGGIFY_DEATH(self->context.env, 5000, "a resolver ends before it judges a batch")
                ? ERROR_OUT_OF_MEMORY
                : judge(self, progress, batch, &reply);
    if (error != 0) {
        rpc_fail(request, error);
        end(self, error, "a batch could not be judged");
        return;
    }
    if (!PLANTED_BUG(EMPTY_BATCH_SKIPPED) || batch->transactions_count > 0)
        turnstile_advance(&self->door, batch->version);
    rpc_reply(request, reply);
}

/* ---- load ---- */

static bool is_sound_question(const struct get_resolver_load *body)
{
    return body->begin.len <= SYSTEM_KEY_BYTES_MAX + 1 && body->end.len <= SYSTEM_KEY_BYTES_MAX + 1 &&
           (body->end.len == 0 || bytes_compare(body->begin, body->end) < 0);
}

/* The sample begins anew: what came by another partition says little of this one. */
static int take_part(struct resolver *self, const struct get_resolver_load *body)
{
    struct range_sample *fresh = range_sample_create(env_now_us(self->context.env), self->context.env->knobs.resolver_balance_interval_us,
                                                   body->partition);

    if (fresh == NULL)
        return ERROR_OUT_OF_MEMORY;
    range_sample_destroy(self->load);
    self->load = fresh;
    arena_reset(&self->asked);
    self->part.endless = body->end.len == 0;
    if (arena_copy(&self->asked, body->begin, &self->part.begin) != 0 || arena_copy(&self->asked, body->end, &self->part.end) != 0)
        return ERROR_OUT_OF_MEMORY;
    return 0;
}

static void receive_get_load(struct resolver *self, struct rpc_request *request)
{
    const struct get_resolver_load *body = MESSAGE_BODY(get_resolver_load, request->message);
    struct message *message;
    struct resolver_load *reply = MESSAGE_NEW(resolver_load, &message);
    int error = reply == NULL ? ERROR_OUT_OF_MEMORY : 0;

    if (error == 0 && !is_sound_question(body))
        error = ERROR_CLIENT_INVALID_OPERATION;
    if (error == 0 && BUGGIFY(self->context.env, "a resolver does not say what its load is"))
        error = ERROR_OPERATION_FAILED;
    if (error == 0 && (self->load == NULL || range_sample_partition(self->load) != body->partition))
        error = take_part(self, body);
    if (error == 0)
        error = range_sample_tell(self->load, env_now_us(self->context.env), &self->part, &message->arena, reply);
    if (error != 0) {
        message_unref(message);
        rpc_fail(request, error);
        return;
    }
    self->ranges_per_s = reply->ranges_per_s;
    rpc_reply(request, message);
}

/* ---- waiting for the predecessor ---- */

enum { ENTER, JUDGE, STAGES };

static enum op_result wait_for_turn(struct op *op)
{
    struct waiting *self = container_of(op, struct waiting, op);
    const struct resolve *batch = MESSAGE_BODY(resolve, self->request->message);

    if (turnstile_enter(&self->resolver->door, &self->turn, op, batch->prev_version))
        return op_move(op, JUDGE);
    wait_timer_start(&self->timer, op, op->env->knobs.predecessor_wait_us);
    return op_wait(op, JUDGE);
}

static enum op_result judge_in_turn(struct op *op)
{
    struct waiting *self = container_of(op, struct waiting, op);
    struct rpc_request *request = self->request;

    self->request = NULL;
    if (MESSAGE_BODY(resolve, request->message)->prev_version > self->resolver->door.now) {
        /* Nobody was given that version, or what we knew of it is gone: all commits would wait without anybody's failure. */
        rpc_fail(request, ERROR_BROKEN_PROMISE);
        end(self->resolver, ERROR_TIMED_OUT, "a batch's predecessor never came");
        return op_finish(op, 0);
    }
    enter(self->resolver, request);
    return op_finish(op, 0);
}

static void waiting_ended(struct op *op)
{
    struct waiting *self = container_of(op, struct waiting, op);

    if (self->request != NULL)
        rpc_fail(self->request, ERROR_BROKEN_PROMISE);
    mem_free(self);
}

static const struct op_stage stages[STAGES] = {
    [ENTER] = {"ENTER", wait_for_turn, OP_STAGE(JUDGE)},
    [JUDGE] = {"JUDGE", judge_in_turn, 0},
};
static const struct op_type waiting_type = {"resolve_waiting", stages, STAGES, READY_COMMIT, waiting_ended};

/* A repeat takes the place of the same request of a connection that has gone. */
static bool takes_place(struct resolver *self, struct rpc_request *request)
{
    const struct resolve *batch = MESSAGE_BODY(resolve, request->message);

    list_each(node, after, &self->ops.ops) {
        struct waiting *waiting = container_of(list_entry(node, struct op, link), struct waiting, op);
        const struct resolve *other;

        if (waiting->request == NULL)
            continue;
        other = MESSAGE_BODY(resolve, waiting->request->message);
        if (other->proxy != batch->proxy || other->version != batch->version || digest_of(other) != digest_of(batch))
            continue;
        PROBE(self->context.env, "a repeat takes the place of a batch that waits outside");
        rpc_fail(waiting->request, ERROR_REQUEST_MAYBE_DELIVERED);
        waiting->request = request;
        return true;
    }
    return false;
}

static void wait_outside(struct resolver *self, struct rpc_request *request)
{
    struct waiting *waiting;

    if (takes_place(self, request))
        return;
    waiting = self->ops.count < WAITING_MAX ? mem_zalloc(sizeof(*waiting)) : NULL;
    if (waiting == NULL) {
        rpc_fail(request, ERROR_SERVER_REQUEST_QUEUE_FULL);
        return;
    }
    PROBE(self->context.env, "a batch reaches a resolver before its predecessor");
    waiting->resolver = self;
    waiting->request = request;
    op_start(&waiting->op, &waiting_type, &self->ops);
}

/* ---- life ---- */

static bool is_sound(struct resolver *self, const struct resolve *batch)
{
    if (batch->epoch != self->epoch || batch->prev_version < self->recovery_version || batch->version <= batch->prev_version)
        return false;
    if (batch->known_version >= batch->version)
        return false;
    return resolver_memory_proxy(&self->memory, batch->proxy, self->recovery_version) != NULL;
}

static void receive(void *ctx, struct rpc_request *request)
{
    struct resolver *self = ctx;

    if (request->message->type == &message_type_get_resolver_load)
        receive_get_load(self, request);
    else if (request->message->type != &message_type_resolve || !is_sound(self, MESSAGE_BODY(resolve, request->message)))
        rpc_fail(request, ERROR_CLIENT_INVALID_OPERATION);
    else if (BUGGIFY_ONE_IN(self->context.env, 16, "a resolver has no room for a batch now: it must come again"))
        rpc_fail(request, ERROR_REQUEST_MAYBE_DELIVERED);
    else if (MESSAGE_BODY(resolve, request->message)->prev_version > self->door.now ||
             BUGGIFY(self->context.env, "a batch in order waits outside all the same"))
        wait_outside(self, request);
    else
        enter(self, request);
    invariant_resolver(self);
}

static void dispose(struct resolver *self)
{
    resolver_memory_done(&self->memory);
    conflict_set_destroy(self->set);
    arena_done(&self->scratch);
    range_sample_destroy(self->load);
    arena_done(&self->asked);
    mem_free(self);
}

static struct resolver *create(const struct role_context *context, const struct init_resolver *init)
{
    struct resolver *self = mem_zalloc(sizeof(*self));

    if (self == NULL)
        return NULL;
    self->context = *context;
    self->id = init->role_id;
    self->epoch = init->epoch;
    self->recovery_version = init->recovery_version;
    self->born = VERSION_NONE;
    turnstile_init(&self->door, context->env, init->recovery_version);
    op_list_init(&self->ops, context->env, self);
    self->ops.invariant = invariant_resolver;
    if (resolver_memory_init(&self->memory, init->proxy_count) == 0)
        return self;
    dispose(self);
    return NULL;
}

int resolver_create(const struct role_context *context, struct rpc_request *request, struct resolver **ret_resolver)
{
    const struct init_resolver *init = MESSAGE_BODY(init_resolver, request->message);
    struct resolver *self;
    struct message *message;
    struct role_started *started;

    if (init->proxy_count == 0 || init->proxy_count > PROXIES_MAX || init->recovery_version < 0)
        return ERROR_CLIENT_INVALID_OPERATION;
    self = create(context, init);
    started = self == NULL ? NULL : MESSAGE_NEW(role_started, &message);
    if (started == NULL) {
        if (self != NULL)
            dispose(self);
        return ERROR_OUT_OF_MEMORY;
    }
    started->role_id = self->id;
    rpc_register(context->rpc, self->id, receive, self);
    rpc_reply(request, message);
    *ret_resolver = self;
    return 0;
}

void resolver_destroy(struct resolver *self)
{
    if (self == NULL)
        return;
    rpc_unregister(self->context.rpc, self->id);
    op_cancel_all(&self->ops);
    dispose(self);
}

void resolver_status(const struct resolver *self, struct role_status *status, struct arena *arena)
{
    role_metric(status, arena, "version", self->door.now);
    role_metric(status, arena, "batches", (int64_t)self->batches);
    role_metric(status, arena, "transactions", (int64_t)self->transactions);
    role_metric(status, arena, "committed", (int64_t)self->committed);
    role_metric(status, arena, "conflicts", (int64_t)self->conflicts);
    role_metric(status, arena, "too_old", (int64_t)self->too_old);
    role_metric(status, arena, "repeated_requests", (int64_t)self->repeats);
    role_metric(status, arena, "waiting_requests", (int64_t)self->ops.count);
    role_metric(status, arena, "conflict_set_bytes", self->set == NULL ? 0 : (int64_t)conflict_set_bytes(self->set));
    role_metric(status, arena, "kept_metadata_bytes", (int64_t)self->memory.metadata_bytes);
    role_metric(status, arena, "remembered_answers", (int64_t)self->memory.answer_count);
    if (self->load == NULL)
        return;
    role_metric(status, arena, "conflict_ranges_per_s", self->ranges_per_s);
    role_metric(status, arena, "partition", (int64_t)range_sample_partition(self->load));
    status->has_range = arena_copy(arena, self->part.begin, &status->range_begin) == 0 &&
                        arena_copy(arena, self->part.end, &status->range_end) == 0;
}
