/* Changes of the coordinated state within an epoch: another GRV proxy for a lost one, generations that storage has drained.
 *
 * LOOK -> (INIT_GRV ->) WRITE -> WRITTEN, one at a time. A generation may go when every storage server has made its end durable;
 * its logs are deleted by their workers once they see a description without it. */
#include "net/buggify.h"
#include "net/mem.h"
#include "roles/controller/controller_internal.h"
#include "txn/log_system.h"

enum { INIT_GRV, GRV_STARTED, WRITE, WRITTEN, STAGES };

struct upkeep {
    struct op op;
    struct controller *controller;
    struct rpc_call call;
    struct wait_timer timer;
    struct arena arena;
    struct coordinated_state state; /* to be written */
    struct role_ref grv;            /* to be added; kind 0: none */
    uint64_t worker_id;
};

static struct upkeep *upkeep_of(struct op *op)
{
    return container_of(op, struct upkeep, op);
}

static uint32_t grv_count(const struct coordinated_state *state)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < state->roles_count; i++)
        count += state->roles[i].kind == ROLE_GRV_PROXY;
    return count;
}

static const struct role_ref *sequencer_of(const struct coordinated_state *state)
{
    for (uint32_t i = 0; i < state->roles_count; i++)
        if (state->roles[i].kind == ROLE_SEQUENCER)
            return &state->roles[i];
    return NULL;
}

static uint32_t drained_count(const struct controller *controller)
{
    const struct coordinated_state *state = &controller->state;
    version_t durable = VERSION_MAX;
    uint32_t count = 0;

    if (controller->server_count == 0)
        return 0;
    for (uint32_t i = 0; i < controller->server_count; i++)
        if (controller->servers[i].durable < durable)
            durable = controller->servers[i].durable;
    while (count + 1 < state->generations_count && state->generations[count].end <= durable)
        count++;
    return count;
}

static void count_epoch_roles(struct controller *controller)
{
    const struct coordinated_state *state = &controller->state;
    const struct generation *newest = controller_newest_generation(state);
    struct worker_info *worker;

    recruitment_forget(controller);
    for (uint32_t i = 0; i < state->roles_count + newest->logs_count; i++) {
        const struct wire_endpoint *endpoint =
            i < state->roles_count ? &state->roles[i].endpoint : &newest->logs[i - state->roles_count].endpoint;

        worker = controller_worker_at(controller, endpoint_of(endpoint).address);
        if (worker != NULL)
            worker->assigned++;
    }
}

/* Where another GRV proxy would live; beside other roles of the epoch only when there is none at all. NULL: nowhere. */
static struct worker_info *grv_place(struct controller *controller)
{
    uint32_t count = grv_count(&controller->state);
    struct worker_info *worker;

    if (count > 0 && count >= controller->configuration.grv_proxies)
        return NULL;
    count_epoch_roles(controller);
    recruitment_refresh(controller, env_now_us(controller->env));
    if (recruitment_stateless(controller, ROLE_GRV_PROXY, 1, &worker) == 0)
        return NULL;
    return count > 0 && worker->assigned > 1 ? NULL : worker; /* it has just been counted once more */
}

/* ---- stages ---- */

static enum op_result run_init_grv(struct op *op)
{
    struct upkeep *upkeep = upkeep_of(op);
    struct controller *controller = upkeep->controller;
    struct worker_info *worker;
    struct message *message;
    struct init_grv_proxy *m;
    struct endpoint to;

    if (upkeep->grv.kind == ROLE_NONE)
        return op_move(op, WRITE);
    worker = grv_place(controller);
    if (worker == NULL || BUGGIFY(op->env, "there is no process for another GRV proxy now"))
        return op_finish(op, ERROR_NO_MORE_SERVERS); /* the next registration looks again */
    m = MESSAGE_NEW(init_grv_proxy, &message);
    do
        m->role_id = env_random(controller->env);
    while (m->role_id < 100);
    m->epoch = controller->state.written_epoch;
    m->sequencer = sequencer_of(&controller->state)->endpoint;
    if (message_copy_body(&schema_generation, controller_newest_generation(&controller->state), &message->arena,
                          &m->logs) != 0) {
        message_unref(message);
        return op_finish(op, ERROR_OUT_OF_MEMORY);
    }
    upkeep->grv.endpoint = (struct wire_endpoint){{worker->address.ip, worker->address.port}, m->role_id};
    upkeep->worker_id = worker->worker_id;
    to = (struct endpoint){worker->address, ENDPOINT_WORKER};
    rpc_call_start(&upkeep->call, op, controller->rpc, &to, message, controller->env->knobs.rpc_ping_timeout_us);
    return op_wait(op, GRV_STARTED);
}

static enum op_result run_grv_started(struct op *op)
{
    struct upkeep *upkeep = upkeep_of(op);

    if (upkeep->call.error != 0)
        return op_finish(op, upkeep->call.error);
    rpc_call_clear(&upkeep->call);
    return op_move(op, WRITE);
}

static enum op_result run_write(struct op *op)
{
    struct upkeep *upkeep = upkeep_of(op);
    struct controller *controller = upkeep->controller;
    struct endpoint coordinator = controller_coordinator(controller);
    struct coordinated_state state = controller->state;
    uint32_t drained = drained_count(controller);
    struct role_ref *roles = arena_zalloc(&upkeep->arena, (state.roles_count + 1) * sizeof(*roles));
    struct message *message;
    struct write_state *m = MESSAGE_NEW(write_state, &message);

    if (state.roles_count > 0)
        memcpy(roles, state.roles, state.roles_count * sizeof(*roles));
    state.roles = roles;
    if (upkeep->grv.kind != ROLE_NONE)
        roles[state.roles_count++] = upkeep->grv;
    state.generations += drained;
    state.generations_count -= drained;
    m->term = controller->term;
    if (message_copy_body(&schema_coordinated_state, &state, &message->arena, &m->state) != 0) {
        message_unref(message);
        return op_finish(op, ERROR_OUT_OF_MEMORY);
    }
    rpc_call_start(&upkeep->call, op, controller->rpc, &coordinator, message, 0);
    return op_wait(op, WRITTEN);
}

static enum op_result run_written(struct op *op)
{
    struct upkeep *upkeep = upkeep_of(op);
    const struct state_reply *reply;
    int error;

    if (upkeep->call.error == 0 && BUGGIFY_ONE_IN(op->env, 16, "a change of the state within an epoch is done, and its answer lost"))
        upkeep->call.error = ERROR_REQUEST_MAYBE_DELIVERED;
    if (upkeep->call.error != 0)
        return op_finish(op, upkeep->call.error);
    reply = MESSAGE_BODY(state_reply, upkeep->call.reply);
    if (reply->accepted && reply->state.written_epoch != upkeep->controller->state.written_epoch)
        return op_finish(op, ERROR_COORDINATED_STATE_CONFLICT); /* what was written is what stands, or nobody's word counts */
    error = controller_state_set(upkeep->controller, &reply->state);
    return op_finish(op, error == 0 && !reply->accepted ? ERROR_COORDINATED_STATE_CONFLICT : error);
}

static void retry(struct controller *controller, int error)
{
    PROBE(controller->env, "the state can't be changed within an epoch");
    if (error == ERROR_COORDINATED_STATE_CONFLICT)
        controller_recover(controller, "another recovery has locked the state");
    else if (error != ERROR_OPERATION_OBSOLETE && error != ERROR_NO_MORE_SERVERS)
        controller_recover(controller, "the epoch's state could not be changed");
}

static void ended(struct op *op)
{
    struct upkeep *upkeep = upkeep_of(op);
    struct controller *controller = upkeep->controller;
    struct worker_info *worker = controller_worker_at(controller, endpoint_of(&upkeep->grv.endpoint).address);
    bool grv_lives = upkeep->grv.kind == ROLE_NONE || (worker != NULL && worker->worker_id == upkeep->worker_id);
    struct endpoint grv = endpoint_of(&upkeep->grv.endpoint);
    int error = op->error;
    uint8_t stage = op->stage;

    rpc_call_clear(&upkeep->call);
    arena_done(&upkeep->arena);
    controller->upkeep = NULL;
    mem_free(upkeep);
    if (error == ERROR_OPERATION_CANCELLED)
        return;
    if (error == 0) {
        PROBE(controller->env, "the state changes within an epoch");
        if (!grv_lives)
            controller_roles_lost(controller, grv.address, grv.id, "a GRV proxy was lost while it was recruited");
        controller_publish(controller);
        upkeep_look(controller);
        return;
    }
    if (stage == GRV_STARTED && worker != NULL)
        recruitment_avoid(worker, env_now_us(controller->env));
    if (stage < WRITE) /* the process that was asked has gone or could not, or there was none */
        env_timer_start(controller->env, &controller->upkeep_retry,
                        env_now_us(controller->env) + controller->env->knobs.controller_retry_delay_us);
    else
        retry(controller, error);
}

static const struct op_stage stages[STAGES] = {
    [INIT_GRV] = {"INIT_GRV", run_init_grv, OP_STAGE(GRV_STARTED) | OP_STAGE(WRITE)},
    [GRV_STARTED] = {"GRV_STARTED", run_grv_started, OP_STAGE(WRITE)},
    [WRITE] = {"WRITE", run_write, OP_STAGE(WRITTEN)},
    [WRITTEN] = {"WRITTEN", run_written, 0},
};
static const struct op_type type = {"upkeep", stages, STAGES, READY_COMMIT, ended};

void upkeep_look(struct controller *controller)
{
    struct upkeep *upkeep;
    bool needs_grv;

    if (controller->phase != CONTROLLER_ACCEPTING || controller->upkeep != NULL || controller->recovery != NULL)
        return;
    needs_grv = grv_count(&controller->state) == 0 || grv_place(controller) != NULL;
    if (controller->worker_count == 0 || (!needs_grv && drained_count(controller) == 0))
        return;
    if (!needs_grv && BUGGIFY(controller->env, "a generation that is drained stays for a while"))
        return;
    upkeep = mem_zalloc(sizeof(*upkeep));
    upkeep->controller = controller;
    if (needs_grv)
        upkeep->grv.kind = ROLE_GRV_PROXY;
    controller->upkeep = &upkeep->op;
    op_start(&upkeep->op, &type, &controller->ops);
}
