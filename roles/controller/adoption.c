/* A new leader looks at what there is: nothing, an epoch that lives and can be adopted, or one to recover from.
 *
 * READ -> DECIDE -> WAIT -> METADATA -> accepting
 *   ^--------'
 *
 * The logs fence, not the controller: a leader's death need not end the epoch. It is adopted when its locked and written
 * epochs are equal and every role of it registers within a bound, no log of it locked. Else: recovery. */
#include "net/buggify.h"
#include "net/mem.h"
#include "roles/controller/controller_internal.h"

enum { READ, DECIDE, WAIT, METADATA, METADATA_LOADED, STAGES };
enum outcome { OUTCOME_NONE, OUTCOME_RECOVER, OUTCOME_ADOPTED };

struct adoption {
    struct op op;
    struct controller *controller;
    struct rpc_call call;
    struct wait_timer timer;
    int64_t deadline_us;
    uint32_t next_log;
    enum outcome outcome;
    const char *cause;
};

static struct adoption *adoption_of(struct op *op)
{
    return container_of(op, struct adoption, op);
}

static enum op_result recover(struct adoption *adoption, const char *cause)
{
    adoption->outcome = OUTCOME_RECOVER;
    adoption->cause = cause;
    return op_finish(&adoption->op, 0);
}

static enum op_result run_read(struct op *op)
{
    struct adoption *adoption = adoption_of(op);
    struct endpoint coordinator = controller_coordinator(adoption->controller);
    struct message *message;
    struct read_state *m = MESSAGE_NEW(read_state, &message);

    m->term = adoption->controller->term;
    rpc_call_start(&adoption->call, op, adoption->controller->rpc, &coordinator, message, 0);
    return op_wait(op, DECIDE);
}

static enum op_result run_decide(struct op *op)
{
    struct adoption *adoption = adoption_of(op);
    struct controller *controller = adoption->controller;
    int error = adoption->call.error;

    if (error == 0)
        error = controller_state_set(controller, &MESSAGE_BODY(state_reply, adoption->call.reply)->state);
    rpc_call_clear(&adoption->call);
    if (error != 0) { /* nobody else would ask; and if leadership is lost, we are about to be destroyed */
        PROBE(op->env, "a new leader reads the state once more");
        wait_timer_start(&adoption->timer, op, op->env->knobs.controller_retry_delay_us);
        return op_wait(op, READ);
    }
    if (controller->state.written_epoch == 0) {
        controller->phase = CONTROLLER_NO_DATABASE;
        if (controller->creating)
            return recover(adoption, "configure new");
        return op_finish(op, 0);
    }
    controller_refuse_create(controller);
    if (BUGGIFY(op->env, "a living epoch is not adopted"))
        return recover(adoption, "the simulator wants no adoption");
    if (controller->state.locked_epoch != controller->state.written_epoch)
        return recover(adoption, "an earlier recovery did not end");
    controller->phase = CONTROLLER_ADOPTING;
    adoption->deadline_us = env_now_us(controller->env) + controller->env->knobs.controller_adopt_timeout_us;
    if (BUGGIFY(op->env, "the roles of an epoch have no time to register with a new leader"))
        adoption->deadline_us = 0;
    return op_move(op, WAIT);
}

static bool role_is_here(struct controller *controller, const struct wire_endpoint *endpoint, bool *ret_locked)
{
    const struct hosted_role *role = controller_hosted(controller, endpoint);

    if (role != NULL && role->locked)
        *ret_locked = true;
    return role != NULL;
}

static enum op_result run_wait(struct op *op)
{
    struct adoption *adoption = adoption_of(op);
    struct controller *controller = adoption->controller;
    const struct coordinated_state *state = &controller->state;
    const struct generation *newest = controller_newest_generation(state);
    int64_t left_us = adoption->deadline_us - env_now_us(controller->env);
    bool here = true, locked = false;

    for (uint32_t i = 0; i < state->roles_count; i++)
        here &= role_is_here(controller, &state->roles[i].endpoint, &locked);
    for (uint32_t i = 0; i < newest->logs_count; i++)
        here &= role_is_here(controller, &newest->logs[i].endpoint, &locked);
    if (locked)
        PROBE(op->env, "an epoch is not adopted: a log of it was restored from disk");
    if (locked)
        return recover(adoption, "a log of the epoch was restored from disk");
    if (here)
        return op_move(op, METADATA);
    if (left_us <= 0)
        PROBE(op->env, "an epoch is not adopted: its roles did not register in time");
    if (left_us <= 0)
        return recover(adoption, "roles of the epoch did not register with the new leader");
    wait_timer_start(&adoption->timer, op, left_us);
    return op_wait(op, WAIT);
}

/* Configuration and storage servers, as known committed by a log of the epoch. */
static enum op_result run_metadata(struct op *op)
{
    struct adoption *adoption = adoption_of(op);
    const struct generation *newest = controller_newest_generation(&adoption->controller->state);
    struct endpoint log;
    struct message *message;

    if (adoption->next_log == newest->logs_count)
        return recover(adoption, "no log of the epoch gave its metadata");
    log = endpoint_of(&newest->logs[adoption->next_log++].endpoint);
    (void)MESSAGE_NEW(get_metadata, &message);
    rpc_call_start(&adoption->call, op, adoption->controller->rpc, &log, message,
                   adoption->controller->env->knobs.controller_adopt_timeout_us);
    return op_wait(op, METADATA_LOADED);
}

static enum op_result run_metadata_loaded(struct op *op)
{
    struct adoption *adoption = adoption_of(op);
    struct kv_map *metadata;
    int error;

    if (adoption->call.error == 0 && BUGGIFY(op->env, "a new leader asks another log for the metadata"))
        adoption->call.error = ERROR_REQUEST_MAYBE_DELIVERED;
    if (adoption->call.error != 0) {
        rpc_call_clear(&adoption->call);
        return op_move(op, METADATA);
    }
    metadata = kv_map_create();
    error = kv_map_apply(metadata, MESSAGE_BODY(get_metadata_reply, adoption->call.reply)->mutations);
    if (error == 0)
        controller_read_metadata(adoption->controller, metadata);
    kv_map_destroy(metadata);
    rpc_call_clear(&adoption->call);
    if (error != 0)
        return op_move(op, METADATA);
    adoption->outcome = OUTCOME_ADOPTED;
    return op_finish(op, 0);
}

/* True while every process that hosts the epoch is still registered: losses during METADATA are caught here. */
static bool still_here(struct controller *controller)
{
    const struct generation *newest = controller_newest_generation(&controller->state);
    bool here = true, locked = false;

    for (uint32_t i = 0; i < controller->state.roles_count; i++)
        here &= role_is_here(controller, &controller->state.roles[i].endpoint, &locked);
    for (uint32_t i = 0; i < newest->logs_count; i++)
        here &= role_is_here(controller, &newest->logs[i].endpoint, &locked);
    return here && !locked;
}

static void ended(struct op *op)
{
    struct adoption *adoption = adoption_of(op);
    struct controller *controller = adoption->controller;
    enum outcome outcome = adoption->outcome;
    const char *cause = adoption->cause;
    int error = op->error;

    rpc_call_clear(&adoption->call);
    controller->adoption = NULL;
    mem_free(adoption);
    if (error == ERROR_OPERATION_CANCELLED || outcome == OUTCOME_NONE)
        return;
    if (outcome == OUTCOME_RECOVER || !still_here(controller)) {
        controller_recover(controller, outcome == OUTCOME_RECOVER ? cause : "a role was lost during adoption");
        return;
    }
    PROBE(controller->env, "a new leader adopts the living epoch");
    TRACE(controller->env, SEVERITY_INFO, "EpochAdopted", {"Epoch", trace_int((int64_t)controller->state.written_epoch)},
          {"Term", trace_int((int64_t)controller->term)});
    controller_accepting(controller);
}

static const struct op_stage stages[STAGES] = {
    [READ] = {"READ", run_read, OP_STAGE(DECIDE)},
    [DECIDE] = {"DECIDE", run_decide, OP_STAGE(READ) | OP_STAGE(WAIT)},
    [WAIT] = {"WAIT", run_wait, OP_STAGE(WAIT) | OP_STAGE(METADATA)},
    [METADATA] = {"METADATA", run_metadata, OP_STAGE(METADATA_LOADED)},
    [METADATA_LOADED] = {"METADATA_LOADED", run_metadata_loaded, OP_STAGE(METADATA)},
};
static const struct op_type type = {"adoption", stages, STAGES, READY_COMMIT, ended};

void adoption_start(struct controller *controller)
{
    struct adoption *adoption = mem_zalloc(sizeof(*adoption));

    adoption->controller = controller;
    controller->adoption = adoption;
    op_start(&adoption->op, &type, &controller->ops);
}

void adoption_workers_changed(struct controller *controller)
{
    struct adoption *adoption = controller->adoption;

    if (adoption != NULL && adoption->op.stage == WAIT && adoption->op.waiting)
        op_resume(&adoption->op);
}
