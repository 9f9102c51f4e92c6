/* Range reads: pieces read from storage servers, merged with what the transaction wrote there.
 *
 *   SELECT -> VERSION -> NEXT -> LOCATED -> ANSWERED -> NEXT ...
 *      ^_ a child read           ^____________|  (another replica, or a pause)
 *
 * [low, high) is what has not been read. Each round takes a piece at its near end (`low`; reverse: `high`) that lies in one
 * shard and up to the next range that the transaction cleared: what it cleared is skipped without asking anybody. The answer covers the
 * piece, or its part up to the last pair when the server stopped at a limit; over that part the two ordered lists are merged.
 *
 * A second replica may be asked for the same piece while the first is silent; one answer is taken.
 *
 * Selectors are range reads too: the n-th key from a place is the n-th pair of a read with limit n, of which the keys alone are read
 * and the last one kept, however large n is. The merge: range_merge.c. */
#include <assert.h>

#include "net/buggify.h"
#include "net/planted_bug.h"
#include "txn/client/client_internal.h"

enum { SELECT, VERSION, NEXT, LOCATED, ANSWERED, PAUSED, RANGE_STAGES };

static struct transaction_range *range_of(struct op *op)
{
    return container_of(op, struct transaction_range, op);
}

static const struct op_type range_type;

/* ---- the end ---- */

static bool is_current(const struct transaction_range *range)
{
    return range->incarnation == transaction_incarnation(range->txn);
}

static enum op_result finish(struct transaction_range *range)
{
    int error;

    range->more = range->full;
    transaction_lock(range->txn);
    error = is_current(range) ? range_add_covered(range) : ERROR_TRANSACTION_CANCELLED;
    transaction_unlock(range->txn);
    return op_finish(&range->op, error);
}

/* ---- stages ---- */

/* The selectors that no read is needed for: the first key at or after a place. */
static bool is_place(const struct key_selector *selector)
{
    return selector->offset == 1;
}

static int place_of(struct transaction_range *range, const struct key_selector *selector, struct bytes *ret)
{
    return selector->or_equal ? range_key_after(range, selector->key, ret) : arena_copy(&range->arena, selector->key, ret);
}

/* Under the lock. */
static struct bytes space_end(const struct transaction_range *range)
{
    return range->options.system || range->txn->system_read || range->txn->raw_access ? KEY_SYSTEM_END : KEY_SYSTEM_BEGIN;
}

static struct bytes space_end_locked(struct transaction_range *range)
{
    struct bytes end;

    transaction_lock(range->txn);
    end = space_end(range);
    transaction_unlock(range->txn);
    return end;
}

/* Begin and end have become places: what will be read is known. Under the lock. */
static int fix_bounds(struct transaction_range *range)
{
    struct bytes end = space_end(range);
    int error = place_of(range, &range->begin_selector, &range->begin);

    if (error == 0)
        error = place_of(range, &range->end_selector, &range->end);
    range->end = bytes_min(range->end, end);
    range->begin = bytes_min(range->begin, end);
    if (bytes_compare(range->begin, range->end) > 0)
        range->end = range->begin;
    return error != 0 ? error : range_capture(range);
}

/* The n-th key from a place, as a child's range read. */
static enum op_result start_child(struct transaction_range *range, const struct key_selector *selector)
{
    struct key_selector start = {selector->key, selector->or_equal, 1};
    struct key_selector first = SELECT_FIRST_AT_OR_AFTER(bytes_none()), last;
    struct transaction_range_options options = {.snapshot = range->options.snapshot, .counts = true};
    bool ready;

    range->child = mem_zalloc(sizeof(*range->child));
    if (range->child == NULL)
        return op_finish(&range->op, ERROR_OUT_OF_MEMORY);
    last = SELECT_FIRST_AT_OR_AFTER(space_end_locked(range));
    options.reverse = selector->offset < 1;
    options.limit = selector->offset < 1 ? 1 + (uint32_t)-(int64_t)selector->offset : (uint32_t)selector->offset;
    ready = options.reverse ? transaction_range_prepare(range->child, range->txn, first, start, &options)
                            : transaction_range_prepare(range->child, range->txn, start, last, &options);
    if (ready)
        return op_finish(&range->op, range->child->call.error);
    if (range->child->incarnation != range->incarnation) /* a reset that is not synced yet; this op can't be ended while it runs */
        return op_finish(&range->op, ERROR_TRANSACTION_CANCELLED);
    transaction_range_submit(range->child, &range->op);
    return op_wait(&range->op, SELECT);
}

static int take_child(struct transaction_range *range)
{
    bool end = is_place(&range->begin_selector) && !range->options.key_only;
    struct key_selector *selector = end ? &range->end_selector : &range->begin_selector;
    struct transaction_range *child = range->child;
    uint32_t wanted = child->options.limit;
    struct bytes key = child->options.reverse ? bytes_none() : space_end_locked(range);
    int error = child->call.error;

    if (error == 0 && child->pair_count == wanted)
        key = range_last_key(child);
    *selector = SELECT_FIRST_AT_OR_AFTER(bytes_none());
    if (error == 0)
        error = arena_copy(&range->arena, key, &selector->key);
    transaction_range_done(child);
    mem_free(child);
    range->child = NULL;
    return error;
}

static enum op_result select_stage(struct op *op)
{
    struct transaction_range *range = range_of(op);
    bool selected = range->child != NULL;
    int error = selected ? take_child(range) : 0;

    if (error != 0)
        return op_finish(op, error);
    if (range->options.key_only && selected) {
        range->begin = range->begin_selector.key;
        return op_finish(op, 0);
    }
    if (range->options.key_only)
        return start_child(range, &range->begin_selector);
    if (!is_place(&range->begin_selector))
        return start_child(range, &range->begin_selector);
    if (!is_place(&range->end_selector))
        return start_child(range, &range->end_selector);
    if (range->begin.ptr == NULL) {
        transaction_lock(range->txn);
        error = is_current(range) ? fix_bounds(range) : ERROR_TRANSACTION_CANCELLED;
        transaction_unlock(range->txn);
    }
    return error != 0 ? op_finish(op, error) : op_move(op, VERSION);
}

static enum op_result version_stage(struct op *op)
{
    struct transaction_range *range = range_of(op);

    if (range->txn->grv_error != 0)
        return op_finish(op, range->txn->grv_error);
    if (!transaction_version_or_ask(range->txn, &range->version))
        return op_wait(op, VERSION);
    if (PLANTED_BUG(MAPPED_OF_NOW) && range->options.system && range->version < range->txn->client->newest_told)
        range->version = range->txn->client->newest_told;
    return op_move(op, NEXT);
}

void range_fail(struct transaction_range *range, int error)
{
    if (range->call.under_way)
        client_call_end(&range->call, error);
    op_cancel(&range->op);
}

void range_version_known(struct transaction_range *range)
{
    if (range->op.owner != NULL && range->op.stage == VERSION && range->op.waiting)
        op_resume(&range->op);
}

static void located(struct client_locate *locate)
{
    op_resume(&container_of(locate, struct transaction_range, locate)->op);
}

static struct bytes near_end(const struct transaction_range *range)
{
    return range->options.reverse ? range->high : range->low;
}

static enum op_result next(struct op *op)
{
    struct transaction_range *range = range_of(op);
    bool more = false;
    int error = 0;

    transaction_lock(range->txn);
    if (!is_current(range))
        error = ERROR_TRANSACTION_CANCELLED;
    else if (!range->full)
        error = range_next_piece(range, &more);
    transaction_unlock(range->txn);
    if (error != 0)
        return op_finish(op, error);
    if (!more)
        return finish(range);
    range->tried = 0;
    range->delay_us = 0;
    return op_move(op, LOCATED);
}

static int fill_request(struct transaction_range *range, struct message *message, struct get_range *body)
{
    const struct transaction_range_options *options = &range->options;

    body->version = range->version;
    body->reverse = options->reverse;
    body->keys_only = range_needs_keys_only(range);
    body->limit = options->limit == 0 ? 0 : options->limit - range->pair_count;
    if (BUGGIFY_ONE_IN(range->op.env, 8, "a client asks for a range pair by pair"))
        body->limit = 1;
    body->bytes_limit = options->bytes_limit == 0 ? 0 : options->bytes_limit - (uint32_t)range->bytes;
    read_tags_add(&message->arena, range->txn, &body->tags, &body->tags_count);
    if (arena_copy(&message->arena, range->piece_low, &body->begin) != 0)
        return ERROR_OUT_OF_MEMORY;
    return arena_copy(&message->arena, range->piece_high, &body->end);
}

/* 0 or ERROR_OUT_OF_MEMORY (nothing was sent). */
static int ask(struct transaction_range *range, struct range_ask *ask, struct client_server *server, uint32_t replica)
{
    struct client *client = range->txn->client;
    struct message *message;
    struct get_range *body = MESSAGE_NEW(get_range, &message);

    if (body == NULL || fill_request(range, message, body) != 0) {
        message_unref(message);
        return ERROR_OUT_OF_MEMORY;
    }
    ask->server = server;
    ask->replica = replica;
    server->refs++;
    server_sent(server, 1);
    rpc_call_start(&ask->rpc, &range->op, client->rpc, &server->endpoint, message, client->env->knobs.client_request_timeout_us);
    gather_add(&range->answer, &ask->rpc.wait);
    return 0;
}

static void late(struct second_request *second)
{
    struct transaction_range *range = container_of(second, struct transaction_range, second);
    struct client *client = range->txn->client;
    const struct client_location *location = location_find(client, near_end(range), range->options.reverse);
    struct client_server *server;
    uint32_t replica;

    if (range->answer.fired || range->asks[1].server != NULL || location == NULL)
        return;
    if (location->number != range->located) { /* as in a get */
        range->located = location->number;
        range->tried = 0;
        range->asks[0].replica = location_replica(location, range->asks[0].server);
    }
    server = second_pick(client, location, range->asks[0].server, range->tried, &replica);
    if (server != NULL)
        (void)ask(range, &range->asks[1], server, replica); /* without memory the first one is waited for */
}

/* Forgets the location and comes back after a pause. */
static enum op_result pause_then_locate(struct transaction_range *range)
{
    location_forget(range->txn->client, near_end(range), range->options.reverse);
    range->tried = 0;
    wait_timer_start(&range->timer, &range->op, range->delay_us);
    range->delay_us = range->delay_us == 0 ? RETRY_DELAY_US_MIN : range->delay_us * 2;
    if (range->delay_us > RETRY_DELAY_US_MAX)
        range->delay_us = RETRY_DELAY_US_MAX;
    return op_wait(&range->op, PAUSED);
}

static enum op_result paused(struct op *op)
{
    return op_move(op, LOCATED);
}

/* Cuts the piece to the shard; the location may have changed since an earlier try. */
static int cut_piece(struct transaction_range *range, const struct client_location *location)
{
    if (bytes_compare(range->piece_low, location->begin) < 0)
        return arena_copy(&range->arena, location->begin, &range->piece_low);
    if (bytes_compare(range->piece_high, location->end) > 0)
        return arena_copy(&range->arena, location->end, &range->piece_high);
    return 0;
}

/* Of two replicas, one that lost the shard sends us to who has it now: the other may stand still for seconds. */
static bool is_elsewhere(const struct gather *gather, const struct wait *failed)
{
    (void)gather;
    return container_of(failed, const struct rpc_call, wait)->error == ERROR_WRONG_SHARD_SERVER;
}

static enum op_result located_stage(struct op *op)
{
    struct transaction_range *range = range_of(op);
    struct client *client = range->txn->client;
    struct bytes key = near_end(range);
    const struct client_location *location;
    struct client_server *server;
    uint32_t replica;

    if (BUGGIFY_ONE_IN(op->env, 32, "a client forgets where a range is before it reads it"))
        location_forget(client, key, range->options.reverse);
    location = location_find(client, key, range->options.reverse);
    if (location == NULL) {
        range->locate = (struct client_locate){.key = key, .before = range->options.reverse, .got = located};
        range->tried = 0;
        locate_ask(client, &range->locate);
        return op_wait(op, LOCATED);
    }
    if (location->number != range->located)
        range->tried = 0;
    range->located = location->number;
    if (cut_piece(range, location) != 0)
        return op_finish(op, ERROR_OUT_OF_MEMORY);
    server = location_pick(client, location, range->tried, &replica);
    if (server == NULL)
        return pause_then_locate(range);
    gather_init(&range->answer, op, 1);
    range->answer.gives_up = is_elsewhere;
    if (ask(range, &range->asks[0], server, replica) != 0)
        return op_finish(op, ERROR_OUT_OF_MEMORY);
    second_start(&range->second, client, server, 1, late);
    return op_wait(op, ANSWERED);
}

static enum op_result one_failed(struct transaction_range *range, int error)
{
    struct client *client = range->txn->client;
    const struct client_location *location = location_find(client, near_end(range), range->options.reverse);
    uint32_t replica;

    PROBE(client->env, "a range read failed at one replica");
    if (error == ERROR_WRONG_SHARD_SERVER)
        return pause_then_locate(range);
    if (error == ERROR_TRANSACTION_TOO_OLD)
        return op_finish(&range->op, error);
    if (location == NULL || location->number != range->located || location_pick(client, location, range->tried, &replica) != NULL)
        return op_move(&range->op, LOCATED);
    return client_error_is_transport(error) ? pause_then_locate(range) : op_finish(&range->op, error);
}

/* Nobody is asked any more; answers that were not taken are dropped. */
static void leave_servers(struct transaction_range *range)
{
    second_stop(&range->second);
    for (int i = 0; i < 2; i++) {
        struct range_ask *ask = &range->asks[i];

        rpc_call_clear(&ask->rpc);
        if (ask->server != NULL)
            server_left(ask->server, 1);
        server_unref(range->txn->client, ask->server);
        ask->server = NULL;
    }
}

/* Says what is known of the servers now. Returns who has answered, or NULL and the error. */
static struct range_ask *judge(struct transaction_range *range, int *ret_error)
{
    struct client *client = range->txn->client;
    struct range_ask *winner = NULL;

    *ret_error = 0;
    for (int i = 0; i < 2; i++) {
        struct range_ask *ask = &range->asks[i];
        int64_t took_us = client->env->turn_us - ask->rpc.started_us;

        if (ask->server == NULL)
            continue;
        if (ask->rpc.reply != NULL) {
            winner = winner == NULL ? ask : winner;
            server_answered(client, ask->server, took_us);
        } else if (ask->rpc.error != 0) {
            range->tried |= replica_bit(ask->replica);
            *ret_error = *ret_error == 0 ? ask->rpc.error : *ret_error;
            if (client_error_is_transport(ask->rpc.error))
                server_failed(client, ask->server, took_us);
        }
    }
    if (winner == &range->asks[1])
        PROBE(client->env, "the second replica answers a range first");
    return winner;
}

static int take_answer(struct transaction_range *range, struct rpc_call *rpc)
{
    version_t version = MESSAGE_BODY(get_range_reply, rpc->reply)->version;
    int error;

    if (BUGGIFY_ONE_IN(range->op.env, 64, "a piece of a range that came is asked of another replica"))
        return ERROR_BROKEN_PROMISE;
    transaction_lock(range->txn);
    if (!is_current(range)) {
        error = ERROR_TRANSACTION_CANCELLED;
    } else if (version != 0 && version != range->version) {
        client_refuse(range->txn->client, "a range was answered at another version");
        error = ERROR_BROKEN_PROMISE;
    } else {
        client_proved_version(range->txn->client, range->version);
        error = range_take_answer(range, rpc);
    }
    transaction_unlock(range->txn);
    return error;
}

static enum op_result answered(struct op *op)
{
    struct transaction_range *range = range_of(op);
    int error;
    struct range_ask *winner = judge(range, &error);

    if (winner != NULL)
        error = take_answer(range, &winner->rpc);
    if (winner != NULL && error != 0)
        range->tried |= replica_bit(winner->replica);
    leave_servers(range);
    if (error == 0)
        return op_move(op, NEXT);
    if (winner != NULL && error != ERROR_BROKEN_PROMISE)
        return op_finish(op, error);
    return one_failed(range, error);
}

static void ended(struct op *op)
{
    struct transaction_range *range = range_of(op);
    struct transaction *txn = range->txn;

    locate_cancel(&range->locate);
    leave_servers(range);
    if (range->child != NULL) {
        transaction_range_done(range->child);
        mem_free(range->child);
        range->child = NULL;
    }
    list_remove(&range->link);
    if (range->call.under_way) { /* not cancelled */
        client_call_end(&range->call, op->error);
        if (op->error != 0)
            transaction_read_failed(txn, range->incarnation, op->error);
    }
    transaction_reads_changed(txn);
}

static const struct op_stage stages[RANGE_STAGES] = {
    [SELECT] = {"SELECT", select_stage, OP_STAGE(SELECT) | OP_STAGE(VERSION)},
    [VERSION] = {"VERSION", version_stage, OP_STAGE(VERSION) | OP_STAGE(NEXT)},
    [NEXT] = {"NEXT", next, OP_STAGE(LOCATED)},
    [LOCATED] = {"LOCATED", located_stage, OP_STAGE(LOCATED) | OP_STAGE(ANSWERED) | OP_STAGE(PAUSED)},
    [ANSWERED] = {"ANSWERED", answered, OP_STAGE(NEXT) | OP_STAGE(LOCATED) | OP_STAGE(PAUSED)},
    [PAUSED] = {"PAUSED", paused, OP_STAGE(LOCATED)},
};
static const struct op_type range_type = {
    .name = "client_range", .stages = stages, .stage_count = RANGE_STAGES, .queue = READY_READ, .ended = ended};

/* ---- start ---- */

static void cancelled(struct client_call *call)
{
    op_cancel(&container_of(call, struct transaction_range, call)->op);
}

static int keep_selector(struct transaction_range *range, struct key_selector selector, struct key_selector *ret)
{
    size_t max = key_bytes_max(selector.key) + 1;

    *ret = selector;
    if (selector.key.len > max) /* no key is that long: where it would stand is the same place */
        selector.key.len = max;
    return arena_copy(&range->arena, selector.key, &ret->key);
}

static int prepare(struct transaction_range *range, struct transaction *txn)
{
    bool system = range->options.system;
    int error = system ? txn->error : transaction_failure(txn);

    if (error == 0 && !system)
        error = transaction_check_read(txn, range->begin_selector.key, true);
    if (error == 0 && !system)
        error = transaction_check_read(txn, range->end_selector.key, true);
    if (error == 0 && !range->options.key_only && is_place(&range->begin_selector) && is_place(&range->end_selector))
        error = fix_bounds(range);
    txn->touched = true;
    return error;
}

bool transaction_range_prepare(struct transaction_range *range, struct transaction *txn, struct key_selector begin,
                               struct key_selector end, const struct transaction_range_options *options)
{
    int error;

    arena_reset(&range->arena);
    range->txn = txn;
    range->options = *options;
    range->pair_count = range->own_count = range->own_next = 0;
    range->bytes = 0;
    range->more = range->full = false;
    range->begin = range->end = bytes_none();
    range->last_key.len = 0;
    error = keep_selector(range, begin, &range->begin_selector);
    if (error == 0)
        error = keep_selector(range, end, &range->end_selector);
    transaction_lock(txn);
    range->incarnation = transaction_incarnation(txn);
    if (error == 0)
        error = prepare(range, txn);
    transaction_unlock(txn);
    range->call.error = error;
    return error != 0;
}

void transaction_range_submit(struct transaction_range *range, struct op *op)
{
    struct transaction *txn = range->txn;

    transaction_call_begin(txn, &range->call, op, cancelled);
    list_push_back(&txn->ranges, &range->link);
    op_start(&range->op, &range_type, &txn->client->ops);
    transaction_begun(txn, range->incarnation);
}

void transaction_range_start(struct transaction_range *range, struct op *op, struct transaction *txn, struct key_selector begin,
                             struct key_selector end, const struct transaction_range_options *options)
{
    int error;

    if (!transaction_range_prepare(range, txn, begin, end, options)) {
        transaction_range_submit(range, op);
        return;
    }
    error = range->call.error;
    transaction_call_begin(txn, &range->call, op, cancelled);
    client_call_end(&range->call, error);
}

bool transaction_key_prepare(struct transaction_range *range, struct transaction *txn, struct key_selector selector, bool snapshot)
{
    struct transaction_range_options options = {.snapshot = snapshot, .key_only = true};

    return transaction_range_prepare(range, txn, selector, SELECT_FIRST_AT_OR_AFTER(bytes_none()), &options);
}

void transaction_key_start(struct transaction_range *range, struct op *op, struct transaction *txn, struct key_selector selector,
                           bool snapshot)
{
    struct transaction_range_options options = {.snapshot = snapshot, .key_only = true};

    transaction_range_start(range, op, txn, selector, SELECT_FIRST_AT_OR_AFTER(bytes_none()), &options);
}

void transaction_range_done(struct transaction_range *range)
{
    client_call_cancel(&range->call);
    arena_done(&range->arena);
    bytes_buffer_done(&range->last_key);
    mem_free(range->pairs);
    mem_free(range->own);
    range->pairs = NULL;
    range->own = NULL;
    range->pair_capacity = range->own_capacity = range->pair_count = range->own_count = 0;
}
