/*   SEND ──► ANSWERED ──► PAUSE ──► SEND
 *     waits there while no ratekeeper is known */
#include "roles/rate_reporter.h"

#include "net/buggify.h"

enum { SEND, ANSWERED, PAUSE, STAGES };

static struct rate_reporter *reporter_of(struct op *op)
{
    return container_of(op, struct rate_reporter, op);
}

static enum op_result send_report(struct op *op)
{
    struct rate_reporter *self = reporter_of(op);
    struct message *message;

    if (self->to.id == 0)
        return op_wait(op, SEND); /* the next description resumes it */
    message = self->make(self->ctx, &self->busy);
    if (message == NULL || BUGGIFY(op->env, "a report to the ratekeeper is left out")) {
        message_unref(message);
        return op_move(op, PAUSE);
    }
    rpc_call_start(&self->call, op, self->rpc, &self->to, message, op->env->knobs.rpc_ping_timeout_us);
    return op_wait(op, ANSWERED);
}

static enum op_result take_answer(struct op *op)
{
    struct rate_reporter *self = reporter_of(op);

    if (self->call.error == 0) {
        self->answered++;
        if (self->take != NULL)
            self->take(self->ctx, MESSAGE_BODY(rate_lease, self->call.reply));
    }
    rpc_call_clear(&self->call);
    return op_move(op, PAUSE);
}

static enum op_result pause_between(struct op *op)
{
    struct rate_reporter *self = reporter_of(op);
    const struct knobs *knobs = &op->env->knobs;

    wait_timer_start(&self->pause, op, self->busy ? knobs->rate_report_interval_us : knobs->rate_report_idle_us);
    return op_wait(op, SEND);
}

static void ended(struct op *op)
{
    rpc_call_clear(&reporter_of(op)->call);
}

static const struct op_stage stages[STAGES] = {
    [SEND] = {"SEND", send_report, OP_STAGE(SEND) | OP_STAGE(ANSWERED) | OP_STAGE(PAUSE)},
    [ANSWERED] = {"ANSWERED", take_answer, OP_STAGE(PAUSE)},
    [PAUSE] = {"PAUSE", pause_between, OP_STAGE(SEND)},
};
static const struct op_type type = {"rate_report", stages, STAGES, READY_READ, ended};

void rate_reporter_start(struct rate_reporter *self, struct op_list *owner)
{
    op_start(&self->op, &type, owner);
}

void rate_reporter_described(struct rate_reporter *self, const struct description *description)
{
    struct endpoint to = {0};
    bool known = self->to.id != 0;

    for (uint32_t i = 0; i < description->singletons_count; i++)
        if (description->singletons[i].kind == ROLE_RATEKEEPER)
            to = endpoint_of(&description->singletons[i].endpoint);
    self->to = to;
    if (!known && to.id != 0 && self->op.owner != NULL && self->op.waiting && self->op.stage == SEND && self->op.next_stage == SEND)
        op_resume(&self->op);
}

void rate_reporter_hurry(struct rate_reporter *self)
{
    if (!self->busy && self->op.owner != NULL && self->op.waiting && self->op.stage == PAUSE)
        op_resume(&self->op);
}
