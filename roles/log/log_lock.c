/* Locking, and snapshots of the metadata in the queue.
 *
 * Locking first stops pushes, then waits for the sync in flight, then answers (id, begin, end, known committed): from then on
 * the end never moves and nothing is acknowledged. The first snapshot is durable before a new log answers its recruitment; a
 * fresh one is durable before the queue pops past the last. */
#include "net/buggify.h"
#include "net/mem.h"
#include "net/planted_bug.h"
#include "roles/log/log_internal.h"

enum { START, COMMITTED, STAGES };

struct sync_op {
    struct op op;
    struct log_server *log;
    struct rpc_request *request; /* owned until answered; NULL for a fresh snapshot */
    struct diskqueue_commit commit;
    version_t known_committed; /* these two of a snapshot, as it was written: what the queue may pop when it is durable, */
    uint64_t needed;
    uint64_t bytes; /* and what it takes */
};

static struct sync_op *sync_of(struct op *op)
{
    return container_of(op, struct sync_op, op);
}

static struct sync_op *start(struct log_server *log, struct rpc_request *request, const struct op_type *type)
{
    struct sync_op *sync = mem_zalloc(sizeof(*sync));

    sync->log = log;
    sync->request = request;
    op_start(&sync->op, type, &log->ops);
    return sync;
}

static enum op_result failed(struct sync_op *sync, int error)
{
    log_end(sync->log, error);
    return op_finish(&sync->op, error);
}

static void fail_request(struct sync_op *sync)
{
    if (sync->request != NULL)
        rpc_fail(sync->request,
                 sync->op.error == ERROR_OPERATION_CANCELLED ? ERROR_BROKEN_PROMISE : sync->op.error);
}

/* ---- lock ---- */

static enum op_result run_lock(struct op *op)
{
    struct sync_op *sync = sync_of(op);

    diskqueue_commit(sync->log->queue, &sync->commit, op);
    return op_wait(op, COMMITTED);
}

static enum op_result run_locked(struct op *op)
{
    struct sync_op *sync = sync_of(op);
    struct log_server *log = sync->log;
    struct message *message;
    struct lock_log_reply *reply;

    if (sync->commit.error != 0)
        return failed(sync, sync->commit.error);
    log->durable = log->received.now;
    if (BUGGIFY(op->env, "the answer of a log that is locked now is lost"))
        return op_finish(op, ERROR_REQUEST_MAYBE_DELIVERED);
    reply = MESSAGE_NEW(lock_log_reply, &message);
    *reply = (struct lock_log_reply){log->id, log->begin, log->received.now, log->known_committed};
    rpc_reply(sync->request, message);
    sync->request = NULL;
    return op_finish(op, 0);
}

static void lock_ended(struct op *op)
{
    fail_request(sync_of(op));
    mem_free(sync_of(op));
}

static const struct op_stage lock_stages[STAGES] = {
    [START] = {"START", run_lock, OP_STAGE(COMMITTED)},
    [COMMITTED] = {"COMMITTED", run_locked, 0},
};
static const struct op_type lock_type = {"lock_log", lock_stages, STAGES, READY_COMMIT, lock_ended};

void log_on_lock(struct log_server *log, struct rpc_request *request)
{
    const struct lock_log *m = MESSAGE_BODY(lock_log, request->message);

    if (m->epoch <= log->epoch) { /* only a later epoch can end this one */
        rpc_fail(request, ERROR_OPERATION_OBSOLETE);
        return;
    }
    if (!log->locked)
        TRACE(log->env, SEVERITY_INFO, "LogLocked", {"Id", trace_id(log->id)}, {"Epoch", trace_int((int64_t)log->epoch)},
              {"ByEpoch", trace_int((int64_t)m->epoch)}, {"Received", trace_int(log->received.now)});
    else
        PROBE(log->env, "a log is locked that was locked already");
    if (log->durable < log->received.now)
        PROBE(log->env, "a log is locked while a sync is in flight");
    log->locked = log->locked || !PLANTED_BUG(LOG_NOT_LOCKED);
    if (m->epoch > log->locked_by)
        log->locked_by = m->epoch;
    log_stop_pushes(log);
    env_turn_end(log->env, &log->answer_peeks);
    start(log, request, &lock_type);
}

/* ---- snapshots ---- */

static enum op_result run_snapshot(struct op *op)
{
    struct sync_op *sync = sync_of(op);
    struct log_server *log = sync->log;
    uint64_t position;
    int error;

    if (sync->request == NULL && BUGGIFY_DEATH(op->env, 20, "a log ends when it should write a fresh snapshot"))
        return failed(sync, ERROR_IO_ERROR);
    sync->needed = log_memory_needed(log);
    sync->known_committed = log->known_committed;
    error = log_disk_append_snapshot(log, sync->needed, &position);
    if (error == 0 && log->tag_count > 0)
        error = log_disk_append_pops(log);
    if (error != 0)
        return failed(sync, error);
    assert(sync->needed <= position);
    sync->bytes = diskqueue_end(log->queue) - position;
    diskqueue_commit(log->queue, &sync->commit, op);
    return op_wait(op, COMMITTED);
}

/* The pushes whose metadata the snapshot lacks are above what was known committed then, so they are not below `needed`. The
 * next one is due when it frees a segment more than it takes itself. */
static enum op_result run_snapshot_durable(struct op *op)
{
    struct sync_op *sync = sync_of(op);
    struct log_server *log = sync->log;

    if (sync->commit.error != 0)
        return failed(sync, sync->commit.error);
    log->snapshot_committed = sync->known_committed;
    log->snapshot_due = sync->needed + sync->bytes + (uint64_t)log->env->knobs.log_segment_bytes;
    diskqueue_pop(log->queue, sync->needed);
    return op_finish(op, 0);
}

static void first_ended(struct op *op)
{
    struct sync_op *sync = sync_of(op);

    if (op->error == 0)
        log_role_started(sync->log, sync->request);
    else
        fail_request(sync);
    mem_free(sync);
}

static void fresh_ended(struct op *op)
{
    struct sync_op *sync = sync_of(op);
    struct log_server *log = sync->log;
    int error = op->error;

    log->snapshot_op = NULL;
    mem_free(sync);
    if (error == 0)
        log_memory_pop_queue(log);
}

static const struct op_stage snapshot_stages[STAGES] = {
    [START] = {"START", run_snapshot, OP_STAGE(COMMITTED)},
    [COMMITTED] = {"COMMITTED", run_snapshot_durable, 0},
};
static const struct op_type first_type = {"first_snapshot", snapshot_stages, STAGES, READY_COMMIT, first_ended};
static const struct op_type fresh_type = {"fresh_snapshot", snapshot_stages, STAGES, READY_COMMIT, fresh_ended};

void log_start_first_snapshot(struct log_server *log, struct rpc_request *request)
{
    start(log, request, &first_type);
}

void log_start_fresh_snapshot(struct log_server *log)
{
    if (log->snapshot_op == NULL && !log->ended)
        log->snapshot_op = &start(log, NULL, &fresh_type)->op;
}
