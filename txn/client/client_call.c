/* The one mechanism of completion, and the op that stands behind every batched request. */
#include <assert.h>

#include "net/buggify.h"
#include "txn/client/client_internal.h"

static void wait_cancelled(struct wait *wait)
{
    struct client_call *call = container_of(wait, struct client_call, wait);

    call->under_way = false;
    call->op = NULL;
    call->cancel(call);
}

static void run_done(struct ready *ready)
{
    struct client_call *call = container_of(ready, struct client_call, ready);

    if (call->ended != NULL)
        list_remove(&call->link);
    call->done(call);
}

static const struct wait_type wait_type = {"client call", wait_cancelled, NULL};

void client_call_begin(struct client_call *call, struct op *op, struct env *env, void (*cancel)(struct client_call *call))
{
    assert(!call->under_way && !list_linked(&call->ready.link));
    assert(op != NULL || call->done != NULL);
    call->env = env;
    call->op = op;
    call->error = 0;
    call->cancel = cancel;
    call->ended = NULL;
    call->under_way = true;
    call->ready.run = run_done;
    if (op != NULL)
        wait_begin(&call->wait, op, &wait_type);
}

void client_call_end(struct client_call *call, int error)
{
    assert(call->under_way);
    call->under_way = false;
    call->error = error;
    if (call->op != NULL) {
        call->op = NULL;
        wait_complete(&call->wait, error == 0);
    } else {
        env_ready(call->env, &call->ready, READY_COMMIT);
        if (call->ended != NULL)
            list_push_back(call->ended, &call->link);
    }
}

void client_call_cancel(struct client_call *call)
{
    if (!call->under_way) {
        if (list_linked(&call->ready.link) && call->ended != NULL)
            list_remove(&call->link);
        env_ready_cancel(&call->ready);
        return;
    }
    if (call->op != NULL) {
        wait_cancel(&call->wait);
        return;
    }
    call->under_way = false;
    call->cancel(call);
}

/* ---- requests ---- */

enum { SEND, ANSWERED, REQUEST_STAGES };

static struct client_request *request_of(struct op *op)
{
    return container_of(op, struct client_request, op);
}

static enum op_result send(struct op *op)
{
    struct client_request *request = request_of(op);
    struct message *message = request->message;

    assert(message != NULL);
    request->message = NULL;
    if (request->timeout_us > 0 && BUGGIFY_ONE_IN(op->env, 128, "a client's request times out after a millisecond"))
        request->timeout_us = 1000;
    rpc_call_start(&request->rpc, op, request->client->rpc, &request->to, message, request->timeout_us);
    return op_wait(op, ANSWERED);
}

static enum op_result answered(struct op *op)
{
    return op_finish(op, request_of(op)->rpc.error);
}

static void ended(struct op *op)
{
    struct client_request *request = request_of(op);

    message_unref(request->message);
    request->message = NULL;
    request->ended(request, op->error);
}

static const struct op_stage stages[REQUEST_STAGES] = {
    [SEND] = {"SEND", send, OP_STAGE(ANSWERED)},
    [ANSWERED] = {"ANSWERED", answered, 0},
};
static const struct op_type request_type = {
    .name = "client_request", .stages = stages, .stage_count = REQUEST_STAGES, .queue = READY_COMMIT, .ended = ended};

void client_request_start(struct client_request *request, struct client *client, struct endpoint to, struct message *message,
                          int64_t timeout_us)
{
    assert(request->ended != NULL && message != NULL);
    request->client = client;
    request->to = to;
    request->message = message;
    request->timeout_us = timeout_us;
    op_start_now(&request->op, &request_type, &client->ops);
}

bool client_error_is_transport(int error)
{
    switch (error) {
    case ERROR_CONNECTION_FAILED:
    case ERROR_REQUEST_MAYBE_DELIVERED:
    case ERROR_TIMED_OUT:
    case ERROR_BROKEN_PROMISE:
    case ERROR_INCOMPATIBLE_PROTOCOL_VERSION:
    case ERROR_INVALID_CLUSTER_ID:
    case ERROR_OUT_OF_MEMORY:
        return true;
    default:
        return false;
    }
}
