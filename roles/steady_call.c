/*   SEND ──► CHECK ──► answered
 *     ▲        │
 *     └─ pause ┘ */
#include "roles/steady_call.h"

#include <assert.h>

#include "net/buggify.h"

enum { SEND, CHECK, STAGES };

/* Dialling backs off by itself; this only keeps a receiver that closes at once from being asked in a circle. */
enum { PAUSE_US = 2000 };

static enum op_result send_request(struct op *op)
{
    struct steady_call *self = container_of(op, struct steady_call, op);

    /* Given up early it is sent again, while the first may still be on its way. */
    rpc_call_start(&self->call, op, self->rpc, &self->to, message_ref(self->request),
                   BUGGIFY_ONE_IN(op->env, 64, "a steady call is sent again although the first may arrive") ? PAUSE_US : 0);
    return op_wait(op, CHECK);
}

static bool is_worth_repeating(const struct steady_call *self, int error)
{
    if (error == ERROR_CONNECTION_FAILED || error == ERROR_REQUEST_MAYBE_DELIVERED || error == ERROR_TIMED_OUT)
        return true;
    return error == ERROR_BROKEN_PROMISE && self->patient;
}

static enum op_result check_answer(struct op *op)
{
    struct steady_call *self = container_of(op, struct steady_call, op);

    /* An answer that is lost after the receiver acted on it: the repeat must be answered from memory. */
    if (self->call.error == 0 && BUGGIFY(op->env, "the answer to a steady call is lost after the receiver acted on it")) {
        rpc_call_clear(&self->call);
        self->call.error = ERROR_REQUEST_MAYBE_DELIVERED;
    }
    if (is_worth_repeating(self, self->call.error)) {
        PROBE(op->env, "a steady call is sent again");
        self->repeats++;
        wait_timer_start(&self->pause, op, PAUSE_US);
        return op_wait(op, SEND);
    }
    self->reply = self->call.error == 0 ? rpc_call_take(&self->call) : NULL;
    return op_finish(op, self->call.error);
}

static void ended(struct op *op)
{
    struct steady_call *self = container_of(op, struct steady_call, op);

    message_unref(self->request);
    self->request = NULL;
    self->error = op->error;
    if (op->error != ERROR_OPERATION_CANCELLED)
        self->done(self);
}

static const struct op_stage stages[STAGES] = {
    [SEND] = {"SEND", send_request, OP_STAGE(CHECK)},
    [CHECK] = {"CHECK", check_answer, OP_STAGE(SEND)},
};
static const struct op_type steady_call_type = {"steady_call", stages, STAGES, READY_COMMIT, ended};

void steady_call_start(struct steady_call *call, struct op_list *owner, struct message *request)
{
    assert(call->done != NULL && call->request == NULL && call->reply == NULL);
    call->request = request;
    op_start(&call->op, &steady_call_type, owner);
}

void steady_call_clear(struct steady_call *call)
{
    op_cancel(&call->op);
    rpc_call_clear(&call->call);
    message_unref(call->reply);
    call->reply = NULL;
}
