/* Pushes: one version each, made durable in version order.
 *
 * WAIT_TURN -> APPEND -> COMMITTED
 *                ^ \-> (disk nearly full) APPEND
 *
 * A push waits until its predecessor has been appended, goes to the disk queue, and is answered when it and all before it are
 * durable. How many may be under way is bounded: a peer that never sends the predecessor can't fill the memory. What holds: a locked log never acknowledges (a push whose sync ends after the lock gets ERROR_TLOG_STOPPED, though it
 * counts in the end that the lock reports); a repeat is answered like the first; other content at a known version, or a gap, ends
 * the log, for then somebody lies; so does a predecessor that does not come in predecessor_wait_us. */
#include "net/buggify.h"
#include "net/mem.h"
#include "roles/log/log_internal.h"
#include "txn/digest.h"

enum { WAIT_TURN, APPEND, COMMITTED, STAGES };
struct push_op {
    struct op op;
    struct log_server *log;
    struct rpc_request *request; /* owned until answered */
    struct wait_turn turn;
    struct wait_timer timer;
    struct diskqueue_commit commit;
    size_t bytes; /* counted in the log's push_op_bytes */
};

static struct push_op *push_of(struct op *op)
{
    return container_of(op, struct push_op, op);
}

static void answer(struct push_op *push, int error)
{
    struct rpc_request *request = push->request;
    struct message *reply;

    push->request = NULL;
    if (error != 0) {
        rpc_fail(request, error);
        return;
    }
    (void)MESSAGE_NEW(done, &reply);
    rpc_reply(request, reply);
}

/* Down to the reserve pushes go on, below it they wait. */
static bool disk_is_full(struct log_server *log)
{
    log_look_at_space(log);
    return log->disk_full;
}

static enum op_result run_wait_turn(struct op *op)
{
    struct push_op *push = push_of(op);
    const struct push *m = MESSAGE_BODY(push, push->request->message);

    if (turnstile_enter(&push->log->received, &push->turn, op, m->prev_version))
        return op_move(op, APPEND);
    PROBE(op->env, "a push reaches a log before its predecessor");
    /* One that never comes, because nobody was given that version, would stop all commits without anybody's failure. */
    wait_timer_start(&push->timer, op, push->log->env->knobs.predecessor_wait_us);
    return op_wait(op, APPEND);
}

static bool sections_equal(const struct push_section *a, const struct push_section *b)
{
    return a->tags_count == b->tags_count && bytes_equal(a->mutations, b->mutations) &&
           (a->tags_count == 0 || memcmp(a->tags, b->tags, a->tags_count * sizeof(*a->tags)) == 0);
}

static bool content_equal(const struct push *a, const struct push *b)
{
    if (a->prev_version != b->prev_version || a->sections_count != b->sections_count ||
        !bytes_equal(a->metadata, b->metadata))
        return false;
    for (uint32_t i = 0; i < a->sections_count; i++)
        if (!sections_equal(&a->sections[i], &b->sections[i]))
            return false;
    return true;
}

/* A version at or below what was received: fine if it is the same again. What has left memory is known committed: nobody waits
 * for an answer of it any more. */
static enum op_result check_repeat(struct push_op *push, const struct push *m)
{
    struct log_server *log = push->log;
    struct log_entry *entry = log_entry_find(log, m->version);

    log->repeats++;
    PROBE(log->env, "log gets a push again");
    if (m->version <= log->begin) /* of an epoch that this log never served */
        return op_finish(&push->op, ERROR_CLIENT_INVALID_OPERATION);
    if (entry == NULL && m->version <= log->spilled_through) {
        PROBE(log->env, "a push comes again that has left the log's memory");
        return op_finish(&push->op, 0);
    }
    if (entry == NULL || !content_equal(MESSAGE_BODY(push, entry->message), m)) {
        TRACE(log->env, SEVERITY_WARN_ALWAYS, "LogOtherContent", {"Id", trace_id(log->id)},
              {"Version", trace_int(m->version)}, {"PrevVersion", trace_int(m->prev_version)});
        log_end(log, ERROR_TLOG_FAILED);
        return op_finish(&push->op, ERROR_TLOG_FAILED);
    }
    diskqueue_commit(log->queue, &push->commit, &push->op);
    return op_wait(&push->op, COMMITTED);
}

static enum op_result append(struct push_op *push, const struct push *m)
{
    struct log_server *log = push->log;
    uint64_t position;
    int error;

    if (!log_memory_admit(log, m))
        return op_finish(&push->op, ERROR_CLIENT_INVALID_OPERATION);
    error = log_disk_append_push(log, m, &position);
    if (error == 0)
        error = log_metadata_add(log, m->version, m->metadata);
    if (error != 0) {
        log_end(log, error);
        return op_finish(&push->op, error);
    }
    log_memory_add(log, push->request->message, position);
    log->pushes++;
    log->push_bytes += push->bytes;
    diskqueue_commit(log->queue, &push->commit, &push->op);
    turnstile_advance(&log->received, m->version);
    log_known_committed(log, m->known_committed);
    env_turn_end(log->env, &log->answer_peeks);
    return op_wait(&push->op, COMMITTED);
}

static enum op_result run_append(struct op *op)
{
    struct push_op *push = push_of(op);
    struct log_server *log = push->log;
    const struct push *m = MESSAGE_BODY(push, push->request->message);

    if (log->locked || log->ended) {
        PROBE(op->env, "a push that waited for its turn meets a locked log");
        return op_finish(op, ERROR_TLOG_STOPPED);
    }
    if (m->version <= log->received.now)
        return check_repeat(push, m);
    if (m->prev_version != log->received.now) {
        TRACE(log->env, SEVERITY_WARN_ALWAYS, "LogVersionGap", {"Id", trace_id(log->id)},
              {"Version", trace_int(m->version)}, {"PrevVersion", trace_int(m->prev_version)},
              {"Received", trace_int(log->received.now)});
        log_end(log, ERROR_TLOG_FAILED);
        return op_finish(op, ERROR_TLOG_FAILED);
    }
    if (disk_is_full(log)) {
        PROBE(log->env, "log waits for disk space");
        wait_timer_start(&push->timer, op, LOG_SPACE_CHECK_US);
        return op_wait(op, APPEND);
    }
    return append(push, m);
}

static enum op_result run_committed(struct op *op)
{
    struct push_op *push = push_of(op);
    struct log_server *log = push->log;
    const struct push *m = MESSAGE_BODY(push, push->request->message);

    if (push->commit.error != 0) {
        log_end(log, push->commit.error);
        return op_finish(op, ERROR_TLOG_FAILED);
    }
    if (m->version > log->durable)
        log->durable = m->version;
    if (log->locked) {
        PROBE(op->env, "a push is durable, but the log was locked meanwhile: no acknowledgement");
        return op_finish(op, ERROR_TLOG_STOPPED);
    }
    if (BUGGIFY_DEATH(op->env, 5000, "a log ends before it acknowledges what is durable")) {
        log_end(log, ERROR_TLOG_FAILED);
        return op_finish(op, ERROR_TLOG_FAILED);
    }
    return op_finish(op, 0);
}

static void ended(struct op *op)
{
    struct push_op *push = push_of(op);

    push->log->push_op_count--;
    push->log->push_op_bytes -= push->bytes;
    answer(push, op->error == ERROR_OPERATION_CANCELLED ? ERROR_BROKEN_PROMISE : op->error);
    mem_free(push);
}

static const struct op_stage stages[STAGES] = {
    [WAIT_TURN] = {"WAIT_TURN", run_wait_turn, OP_STAGE(APPEND)},
    [APPEND] = {"APPEND", run_append, OP_STAGE(APPEND) | OP_STAGE(COMMITTED)},
    [COMMITTED] = {"COMMITTED", run_committed, 0},
};
static const struct op_type type = {"push", stages, STAGES, READY_COMMIT, ended};

void log_stop_pushes(struct log_server *log)
{
    list_each(node, after, &log->ops.ops) {
        struct op *op = list_entry(node, struct op, link);

        if (op->type == &type && op->waiting && op->next_stage == APPEND)
            op_resume(op); /* APPEND looks at the log first */
    }
}

static uint64_t push_bytes(const struct push *m)
{
    uint64_t bytes = m->metadata.len;

    for (uint32_t i = 0; i < m->sections_count; i++)
        bytes += m->sections[i].mutations.len + 4 * (uint64_t)m->sections[i].tags_count + 8;
    return bytes;
}

/* A section goes to the logs that hold one of its tags: one without any here would be kept for nobody. */
static bool is_for_us(const struct log_server *log, const struct push_section *section)
{
    for (uint32_t i = 0; i < section->tags_count; i++)
        if (log_tag_is_held(log, section->tags[i]))
            return true;
    return false;
}

/* Lengths, order and content that the decoder can't know. */
static bool is_well_formed(const struct log_server *log, const struct push *m)
{
    for (uint32_t i = 0; i < m->sections_count; i++)
        if (!is_for_us(log, &m->sections[i]))
            return false;
    return m->version > m->prev_version && m->prev_version >= 0 && m->known_committed < m->version &&
           push_bytes(m) < LOG_PUSH_BYTES_MAX && log_metadata_is_valid(m->metadata);
}

static void start(struct log_server *log, struct rpc_request *request)
{
    struct push_op *push = mem_zalloc(sizeof(*push));

    push->log = log;
    push->request = request;
    push->bytes = push_bytes(MESSAGE_BODY(push, request->message));
    log->push_op_count++;
    log->push_op_bytes += push->bytes;
    op_start_now(&push->op, &type, &log->ops);
}

static void refuse(struct log_server *log, const struct push *m, const char *why)
{
    log->refused_pushes++;
    TRACE(log->env, SEVERITY_WARN_ALWAYS, "LogPushRefused", {"Id", trace_id(log->id)}, {"Version", trace_int(m->version)},
          {"Why", trace_str(why)});
}

void log_on_push(struct log_server *log, struct rpc_request *request)
{
    const struct push *m = MESSAGE_BODY(push, request->message);

    if (log->locked || log->restored || log->ended || m->epoch != log->epoch) {
        PROBE(log->env, "a push is refused: the log is locked, or of another epoch");
        rpc_fail(request, ERROR_TLOG_STOPPED);
        return;
    }
    if (m->version == 0) { /* a bare known committed version: nothing to store, but peeks may wait for it */
        if (!BUGGIFY(log->env, "a bare known committed version is not heard"))
            log_known_committed(log, m->known_committed);
        rpc_drop(request);
        return;
    }
    if (m->digest != 0 && m->digest != push_digest(m, NULL)) { /* not what its proxy made: to be sent again */
        refuse(log, m, "its digest does not fit");
        rpc_fail(request, ERROR_REQUEST_MAYBE_DELIVERED);
        return;
    }
    if (!is_well_formed(log, m)) {
        refuse(log, m, "malformed");
        rpc_fail(request, ERROR_CLIENT_INVALID_OPERATION);
        return;
    }
    if (log->push_op_count >= LOG_PUSHES_MAX || log->push_op_bytes >= LOG_PUSHES_BYTES_MAX ||
        BUGGIFY_DEATH(log->env, 5000, "a log has too many pushes under way: the proxy ends")) {
        rpc_fail(request, ERROR_SERVER_REQUEST_QUEUE_FULL);
        return;
    }
    start(log, request);
}
