/* The list of processes, for whoever asks: at once, or when it is another than the one that the asker knows. */
#include "net/buggify.h"
#include "net/error.h"
#include "net/mem.h"
#include "roles/controller/controller_internal.h"

/* Another controller's list has another number. */
static uint64_t number_of(const struct controller *controller)
{
    return (controller->term << 32) + controller->workers_changes + 1;
}

static int fill_worker(const struct worker_info *worker, struct arena *arena, struct worker_interface *ret)
{
    int error = arena_copy(arena, worker->zone, &ret->zone);

    ret->address.ip = worker->address.ip;
    ret->address.port = worker->address.port;
    ret->worker_id = worker->worker_id;
    ret->process_class = (uint32_t)worker->process_class;
    if (error == 0)
        error = arena_copy(arena, worker->machine, &ret->machine);
    if (error == 0)
        error = arena_copy(arena, worker->rack, &ret->rack);
    if (error == 0)
        error = arena_copy(arena, worker->hall, &ret->hall);
    return error != 0 ? error : arena_copy(arena, worker->data_center, &ret->data_center);
}

static void answer(struct controller *controller, struct rpc_request *request)
{
    struct message *message;
    struct get_workers_reply *reply = MESSAGE_NEW(get_workers_reply, &message);
    int error = 0;

    if (reply != NULL)
        reply->workers = arena_zalloc(&message->arena, (controller->worker_count + 1) * sizeof(*reply->workers));
    if (reply == NULL || reply->workers == NULL)
        error = ERROR_OUT_OF_MEMORY;
    list_each(node, after, &controller->workers)
        if (error == 0)
            error = fill_worker(list_entry(node, struct worker_info, link), &message->arena,
                                &reply->workers[reply->workers_count++]);
    if (error != 0) {
        message_unref(message);
        rpc_fail(request, error);
        return;
    }
    reply->number = number_of(controller);
    rpc_reply(request, message);
}

static void forget_dead(struct controller *controller)
{
    list_each(node, after, &controller->workers_waiters) {
        struct rpc_request *request = list_entry(node, struct rpc_request, link);

        if (rpc_request_alive(request))
            continue;
        list_remove(&request->link);
        rpc_drop(request);
    }
}

void workers_asked(struct controller *controller, struct rpc_request *request)
{
    uint64_t known = MESSAGE_BODY(get_workers, request->message)->known;

    if (known != number_of(controller) || BUGGIFY_ONE_IN(controller->env, 16, "somebody is told a list of workers that it knows")) {
        answer(controller, request);
        return;
    }
    forget_dead(controller);
    list_push_back(&controller->workers_waiters, &request->link);
}

void workers_changed(struct controller *controller)
{
    controller->workers_changes++;
    while (!list_empty(&controller->workers_waiters))
        answer(controller, list_entry(list_pop_front(&controller->workers_waiters), struct rpc_request, link));
}

void workers_done(struct controller *controller)
{
    while (!list_empty(&controller->workers_waiters))
        rpc_fail(list_entry(list_pop_front(&controller->workers_waiters), struct rpc_request, link), ERROR_BROKEN_PROMISE);
}
