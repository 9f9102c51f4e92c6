/* A call as an op of its own: see controller_internal.h.
 *
 * CALL -> (ok, or an error that is final) end
 *   ^  \-> (a connection's failure, retry) PAUSE
 *   \_________________________________________/ */
#include "net/buggify.h"
#include "roles/controller/controller_internal.h"

enum { CALL, ANSWERED, STAGES };
enum { RETRY_US = 50000 };

static enum op_result run_call(struct op *op)
{
    struct call_child *child = container_of(op, struct call_child, op);

    rpc_call_start(&child->call, op, child->rpc, &child->to, message_ref(child->request), child->timeout_us);
    return op_wait(op, ANSWERED);
}

/* A process of another version is started again, sooner or later, with the right one: its disk has what we need. */
static bool is_transient(int error)
{
    return error == ERROR_CONNECTION_FAILED || error == ERROR_REQUEST_MAYBE_DELIVERED || error == ERROR_TIMED_OUT ||
           error == ERROR_INCOMPATIBLE_PROTOCOL_VERSION;
}

static enum op_result run_answered(struct op *op)
{
    struct call_child *child = container_of(op, struct call_child, op);

    if (child->call.error == 0 && child->retry && BUGGIFY(op->env, "an answer that a recovery waits for is lost: it asks again"))
        child->call.error = ERROR_REQUEST_MAYBE_DELIVERED;
    if (child->call.error == 0 && !child->retry &&
        BUGGIFY_ONE_IN(op->env, 16, "a role was recruited, and its answer is lost"))
        child->call.error = ERROR_REQUEST_MAYBE_DELIVERED;
    child->last_error = child->call.error;
    /* A log or coordinator that is being restored has no endpoint yet: that is as if it were unreachable. */
    if (child->retry && (is_transient(child->call.error) || child->call.error == ERROR_BROKEN_PROMISE)) {
        rpc_call_clear(&child->call);
        wait_timer_start(&child->pause, op, RETRY_US);
        return op_wait(op, CALL);
    }
    return op_finish(op, child->call.error);
}

static void ended(struct op *op)
{
    struct call_child *child = container_of(op, struct call_child, op);

    child->ended = true;
    child->error = op->error;
    if (op->error != ERROR_OPERATION_CANCELLED)
        op_resume(child->parent);
}

static const struct op_stage stages[STAGES] = {
    [CALL] = {"CALL", run_call, OP_STAGE(ANSWERED)},
    [ANSWERED] = {"ANSWERED", run_answered, OP_STAGE(CALL)},
};
static const struct op_type type = {"call_child", stages, STAGES, READY_COMMIT, ended};

void call_child_start(struct call_child *child, struct op_list *list, struct op *parent, struct rpc *rpc,
                      struct endpoint to, struct message *request, int64_t timeout_us, bool retry)
{
    *child = (struct call_child){
        .rpc = rpc, .parent = parent, .to = to, .request = request, .timeout_us = timeout_us, .retry = retry, .started = true};
    op_start(&child->op, &type, list);
}

void call_child_cancel(struct call_child *child)
{
    if (!child->started)
        return;
    if (!child->ended)
        op_cancel(&child->op);
    rpc_call_clear(&child->call);
    message_unref(child->request);
    child->request = NULL;
    child->started = false;
}
