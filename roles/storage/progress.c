/* How far a move is: get_shard_progress, a long poll.
 *
 *   WAIT -> LOOK <-> (waits)
 *
 * WAIT is for the version at which the asker saw that the range is ours. Before it an older state of ours may look ready: a range that we
 * held once, gave up and get again, while we lag behind all of that. */
#include "net/buggify.h"
#include "net/error.h"
#include "net/mem.h"
#include "roles/storage/storage_internal.h"

enum { WAIT, LOOK, STAGES };
enum { WAIT_MAX_US = 60000000 };

struct progress {
    struct op op;
    struct list link; /* in moves.waiting_progress */
    struct storage_server *storage;
    struct rpc_request *request; /* owned until answered */
    struct wait_turn turn;
    struct wait_timer timer;
    int64_t deadline_us;
    bool heals;
};

static struct progress *progress_of(struct op *op)
{
    return container_of(op, struct progress, op);
}

static const struct get_shard_progress *body_of(const struct progress *progress)
{
    return MESSAGE_BODY(get_shard_progress, progress->request->message);
}

static enum op_result fail(struct progress *progress, int error)
{
    rpc_fail(progress->request, error);
    progress->request = NULL;
    return op_finish(&progress->op, 0);
}

static enum op_result answer(struct progress *progress, bool ready)
{
    struct message *message;
    struct shard_progress *reply = MESSAGE_NEW(shard_progress, &message);

    if (reply == NULL)
        return fail(progress, ERROR_OUT_OF_MEMORY);
    reply->ready = ready;
    reply->version = storage_version(progress->storage);
    reply->bytes_fetched = byte_sample_bytes(&progress->storage->sample, body_of(progress)->begin, body_of(progress)->end);
    reply->bytes_left = storage_fetch_bytes_left(progress->storage, body_of(progress)->begin, body_of(progress)->end);
    if (ready)
        TRACE(progress->op.env, SEVERITY_DEBUG, "StorageShardWhole", {"Id", trace_id(progress->storage->id)},
              {"Durable", trace_int(progress->storage->durable)}, {"Begin", trace_bytes(body_of(progress)->begin)});
    rpc_reply(progress->request, message);
    progress->request = NULL;
    return op_finish(&progress->op, 0);
}

static enum op_result wait_for_version(struct op *op)
{
    struct progress *progress = progress_of(op);
    struct storage_server *storage = progress->storage;
    int64_t left_us = progress->deadline_us - env_now_us(op->env);

    if (storage_version(storage) >= body_of(progress)->version)
        return op_move(op, LOOK);
    if (left_us <= 0)
        return fail(progress, ERROR_FUTURE_VERSION);
    if (turnstile_enter(&storage->readable, &progress->turn, op, body_of(progress)->version))
        return op_move(op, LOOK);
    wait_timer_start(&progress->timer, op, left_us);
    return op_wait(op, WAIT);
}

static enum op_result look(struct op *op)
{
    struct progress *progress = progress_of(op);
    struct storage_server *storage = progress->storage;
    const struct get_shard_progress *m = body_of(progress);
    int64_t left_us = progress->deadline_us - env_now_us(op->env);

    if (!rpc_request_alive(progress->request))
        return fail(progress, ERROR_BROKEN_PROMISE);
    if (storage_version(storage) < m->version)
        return op_move(op, WAIT); /* rolled back */
    switch (ownership_progress(storage->owned, m->begin, m->end, storage->durable)) {
    case OWNERSHIP_NOT_HELD:
        storage->wrong_shard++;
        return fail(progress, ERROR_WRONG_SHARD_SERVER);
    case OWNERSHIP_READY:
        return answer(progress, true);
    case OWNERSHIP_FETCHING:
        break;
    }
    if (left_us <= 0 || BUGGIFY(op->env, "the progress of a move is told before there is any"))
        return answer(progress, false);
    wait_timer_start(&progress->timer, op, left_us);
    return op_wait(op, LOOK);
}

bool storage_heals_wait(const struct storage_server *storage)
{
    return storage->moves.waiting_heal_count > 0;
}

/* The question itself is what says so: nothing of it has to be kept, and it ends with the distributor that asks. */
bool storage_piece_heals(const struct storage_server *storage, const struct held_shard *piece)
{
    if (!storage_heals_wait(storage))
        return false;
    list_each(node, after, &storage->moves.waiting_progress) {
        const struct progress *progress = list_entry(node, struct progress, link);

        if (progress->heals && bytes_compare(body_of(progress)->begin, piece->end) < 0 &&
            bytes_compare(piece->begin, body_of(progress)->end) < 0)
            return true;
    }
    return false;
}

static void ended(struct op *op)
{
    struct progress *progress = progress_of(op);

    progress->storage->moves.waiting_heal_count -= progress->heals;
    if (progress->request != NULL)
        rpc_fail(progress->request, ERROR_BROKEN_PROMISE);
    list_remove(&progress->link);
    progress->storage->moves.waiting_progress_count--;
    mem_free(progress);
}

static const struct op_stage stages[STAGES] = {
    [WAIT] = {"WAIT", wait_for_version, OP_STAGE(WAIT) | OP_STAGE(LOOK)},
    [LOOK] = {"LOOK", look, OP_STAGE(WAIT) | OP_STAGE(LOOK)},
};
static const struct op_type progress_type = {"storage_progress", stages, STAGES, READY_READ, ended};

static int check(const struct storage_server *storage, const struct get_shard_progress *m)
{
    if (m->begin.len > SYSTEM_KEY_BYTES_MAX + 1 || m->end.len > SYSTEM_KEY_BYTES_MAX + 1)
        return ERROR_KEY_TOO_LARGE;
    if (bytes_compare(m->begin, m->end) >= 0)
        return ERROR_INVERTED_RANGE;
    if (m->version < 0 || m->wait_us < 0)
        return ERROR_CLIENT_INVALID_OPERATION;
    return storage->moves.waiting_progress_count >= STORAGE_WAITING_PROGRESS_MAX ? ERROR_PROCESS_BEHIND : 0;
}

void storage_answer_progress(struct storage_server *storage, struct rpc_request *request)
{
    const struct get_shard_progress *m = MESSAGE_BODY(get_shard_progress, request->message);
    int error = check(storage, m);
    bool heals = m->heals;
    struct progress *progress = error != 0 ? NULL : mem_zalloc(sizeof(*progress));

    if (progress == NULL) {
        rpc_fail(request, error != 0 ? error : ERROR_OUT_OF_MEMORY);
        return;
    }
    progress->storage = storage;
    progress->request = request;
    progress->deadline_us = env_now_us(storage->env) + (m->wait_us < WAIT_MAX_US ? m->wait_us : WAIT_MAX_US);
    list_push_back(&storage->moves.waiting_progress, &progress->link);
    storage->moves.waiting_progress_count++;
    progress->heals = heals;
    storage->moves.waiting_heal_count += heals;
    op_start_now(&progress->op, &progress_type, &storage->ops);
    if (heals)
        storage_fetch_look(storage);
}

void storage_progress_look(struct storage_server *storage)
{
    if (storage->ops.cancelling)
        return;
    list_each(node, after, &storage->moves.waiting_progress) {
        struct progress *progress = list_entry(node, struct progress, link);

        if (progress->op.waiting && progress->op.stage == LOOK)
            op_resume(&progress->op);
    }
}
