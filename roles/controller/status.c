/* Status: asks every registered process at once, waits a second for those that do not answer, and says what is known.
 *
 * ASK -> COLLECT
 *
 * It works without a transaction system, and while a recovery waits: it asks workers alone. Processes may come and go
 * meanwhile, so what is needed of a registration is copied when the status begins. */
#include "roles/controller/status.h"

#include "net/mem.h"

enum { ASK, COLLECT, STAGES };
enum { STATUS_TIMEOUT_US = 1000000 };

struct status {
    struct op op;
    struct controller *controller;
    struct rpc_request *request; /* owned */
    struct arena arena;
    struct status_process *processes;
    uint32_t process_count;
    struct call_child *children; /* one a process, then the own coordinator */
    uint32_t child_count;
};

static struct status *status_of(struct op *op)
{
    return container_of(op, struct status, op);
}

static struct bytes copy(struct status *status, struct bytes bytes)
{
    struct bytes copied = bytes_none();

    (void)arena_copy(&status->arena, bytes, &copied);
    return copied;
}

static void copy_worker(struct status *status, const struct worker_info *worker, struct status_process *process)
{
    *process = (struct status_process){
        .address = worker->address,
        .worker_id = worker->worker_id,
        .pid = worker->pid,
        .process_class = worker->process_class,
        .class_is_set = worker->class_is_set,
        .excluded = worker->excluded,
        .failed = worker->failed,
        .zone = copy(status, worker->zone),
        .machine = copy(status, worker->machine),
        .rack = copy(status, worker->rack),
        .hall = copy(status, worker->hall),
        .data_center = copy(status, worker->data_center),
        .command_line = copy(status, worker->command_line),
        .version_text = copy(status, worker->version_text),
        .roles = arena_zalloc(&status->arena, worker->role_count * sizeof(*process->roles) + 1),
    };
    for (uint32_t i = 0; process->roles != NULL && i < worker->role_count; i++) {
        process->roles[i] = worker->roles[i];
        process->roles[i].error = copy(status, worker->roles[i].error);
        process->role_count++;
    }
}

static void ask(struct status *status, struct call_child *child, struct endpoint to, struct message *message)
{
    call_child_start(child, &status->controller->ops, &status->op, status->controller->rpc, to, message,
                     STATUS_TIMEOUT_US, false);
}

static enum op_result run_ask(struct op *op)
{
    struct status *status = status_of(op);
    struct controller *controller = status->controller;
    struct message *message;

    list_each(node, after, &controller->workers) {
        struct status_process *process = &status->processes[status->process_count];

        if (status->process_count == status->child_count - 1)
            break;
        copy_worker(status, list_entry(node, struct worker_info, link), process);
        (void)MESSAGE_NEW(get_worker_status, &message);
        ask(status, &status->children[status->process_count++],
            (struct endpoint){process->address, ENDPOINT_WORKER}, message);
    }
    (void)MESSAGE_NEW(get_leader, &message);
    ask(status, &status->children[status->child_count - 1], controller_coordinator(controller), message);
    return op_wait(op, COLLECT);
}

static const void *answer(const struct call_child *child, const struct message_type *type)
{
    if (!child->started || !child->ended || child->error != 0)
        return NULL;
    return message_body_checked(child->call.reply, type);
}

static enum op_result run_collect(struct op *op)
{
    struct status *status = status_of(op);
    struct status_input input = {.controller = status->controller,
                                 .processes = status->processes,
                                 .process_count = status->process_count,
                                 .rates = &status->controller->rates,
                                 .now_us = env_now_us(status->controller->env)};
    struct message *reply;
    struct get_status_reply *m;

    for (uint32_t i = 0; i < status->child_count; i++)
        if (status->children[i].started && !status->children[i].ended)
            return op_wait(op, COLLECT);
    for (uint32_t i = 0; i < status->process_count; i++)
        status->processes[i].reply = answer(&status->children[i], &message_type_get_worker_status_reply);
    input.coordinators = answer(&status->children[status->child_count - 1], &message_type_get_leader_reply);
    m = MESSAGE_NEW(get_status_reply, &reply);
    m->json = status_json(&input, &reply->arena);
    if (m->json.len == 0) {
        message_unref(reply);
        return op_finish(op, ERROR_OUT_OF_MEMORY);
    }
    status_health(&input, &reply->arena, m);
    rpc_reply(status->request, reply);
    status->request = NULL;
    return op_finish(op, 0);
}

static void ended(struct op *op)
{
    struct status *status = status_of(op);

    for (uint32_t i = 0; i < status->child_count; i++)
        call_child_cancel(&status->children[i]);
    if (status->request != NULL)
        rpc_fail(status->request, op->error == ERROR_OPERATION_CANCELLED ? ERROR_BROKEN_PROMISE : op->error);
    status->controller->status_count--;
    arena_done(&status->arena);
    mem_free(status->children);
    mem_free(status);
}

static const struct op_stage stages[STAGES] = {
    [ASK] = {"ASK", run_ask, OP_STAGE(COLLECT)},
    [COLLECT] = {"COLLECT", run_collect, OP_STAGE(COLLECT)},
};
static const struct op_type type = {"status", stages, STAGES, READY_READ, ended};

void status_start(struct controller *controller, struct rpc_request *request)
{
    struct status *status;

    if (controller->status_count >= STATUS_REQUESTS_MAX) {
        rpc_fail(request, ERROR_SERVER_REQUEST_QUEUE_FULL);
        return;
    }
    status = mem_zalloc(sizeof(*status));
    status->controller = controller;
    status->request = request;
    status->child_count = controller->worker_count + 1;
    status->children = mem_zalloc(status->child_count * sizeof(*status->children));
    status->processes = arena_zalloc(&status->arena, status->child_count * sizeof(*status->processes));
    controller->status_count++;
    op_start(&status->op, &type, &controller->ops);
}
