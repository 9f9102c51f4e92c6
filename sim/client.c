/* Actors and calls. */
#include "sim/client.h"

#include <assert.h>

#include "net/mem.h"
#include "sim/transaction.h"
#include "txn/messages.h"

/* ---- actors ---- */

void sim_actor_resume(struct sim_actor *actor)
{
    sim_fiber_resume(actor->fiber);
    if (!sim_fiber_ended(actor->fiber))
        return;
    actor->ended = true;
    sim_fiber_destroy(actor->fiber);
    actor->fiber = NULL;
}

void sim_actor_wait(struct sim_actor *actor)
{
    actor->wait_since_us = actor->client->world->now_us;
    actor->wait_line = sim_cause(actor->client->world);
    sim_fiber_wait(actor->fiber);
}

static void actor_main(void *arg)
{
    struct sim_actor *actor = arg;

    actor->main(actor, actor->arg);
}

static void actor_begin(struct ready *ready)
{
    sim_actor_resume(container_of(ready, struct sim_actor, ready));
}

static void actor_slept(struct env_timer *timer)
{
    sim_actor_resume(container_of(timer, struct sim_actor, timer));
}

struct sim_actor *sim_actor_start(struct sim_client *client, unsigned index,
                                  void (*main)(struct sim_actor *actor, void *arg), void *arg)
{
    struct sim_actor *actor = sim_zalloc(sizeof(*actor));

    assert(client->process->alive);
    actor->client = client;
    actor->index = index;
    actor->main = main;
    actor->arg = arg;
    actor->timer.fire = actor_slept;
    actor->ready.run = actor_begin;
    actor->fiber = sim_fiber_create(actor_main, actor);
    list_push_back(&client->actors, &actor->link);
    env_ready(&client->process->env, &actor->ready, READY_READ);
    return actor;
}

static void actor_free(struct sim_actor *actor)
{
    env_ready_cancel(&actor->ready);
    env_timer_cancel(&actor->client->process->env, &actor->timer);
    list_remove(&actor->link);
    sim_fiber_destroy(actor->fiber);
    mem_free(actor);
}

bool sim_client_idle(const struct sim_client *client)
{
    list_each(link, after, &client->actors)
        if (!list_entry(link, struct sim_actor, link)->ended)
            return false;
    return true;
}

bool sim_actor_stopping(const struct sim_actor *actor)
{
    return *actor->client->stopping;
}

void sim_actor_sleep(struct sim_actor *actor, int64_t us)
{
    struct env *env = &actor->client->process->env;

    env_timer_start(env, &actor->timer, env->turn_us + us);
    sim_actor_wait(actor);
}

uint64_t sim_actor_random(struct sim_actor *actor, uint64_t below)
{
    return sim_random_below(&actor->client->world->workload, below);
}

/* ---- calls ---- */

enum call_stage { CALL_SEND, CALL_ANSWERED };

struct call_op {
    struct op op;
    struct rpc_call call;
    struct sim_actor *actor;
    const struct endpoint *to;
    struct message *request;
    int64_t timeout_us;
    struct message *reply;
    int error;
};

static enum op_result call_send(struct op *op)
{
    struct call_op *call = container_of(op, struct call_op, op);

    rpc_call_start(&call->call, op, call->actor->client->rpc, call->to, call->request, call->timeout_us);
    call->request = NULL;
    return op_wait(op, CALL_ANSWERED);
}

static enum op_result call_answered(struct op *op)
{
    struct call_op *call = container_of(op, struct call_op, op);

    call->error = call->call.error;
    if (call->error == 0)
        call->reply = rpc_call_take(&call->call);
    return op_finish(op, call->error);
}

/* A cancelled one belongs to a process that ends: its fiber is not resumed any more. */
static void call_ended(struct op *op)
{
    struct call_op *call = container_of(op, struct call_op, op);

    message_unref(call->request);
    call->request = NULL;
    rpc_call_clear(&call->call);
    if (!call->actor->client->process->dying)
        sim_actor_resume(call->actor);
}

static const struct op_stage call_stages[] = {
    [CALL_SEND] = {"SEND", call_send, OP_STAGE(CALL_ANSWERED)},
    [CALL_ANSWERED] = {"ANSWERED", call_answered, 0},
};

static const struct op_type call_type = {"sim_call", call_stages, 2, READY_READ, call_ended};

int sim_actor_call(struct sim_actor *actor, const struct endpoint *to, struct message *request, int64_t timeout_us,
                   struct message **ret_reply)
{
    struct call_op call = {.actor = actor, .to = to, .request = request, .timeout_us = timeout_us};

    op_start(&call.op, &call_type, &actor->client->calls);
    sim_actor_wait(actor);
    if (call.error == 0)
        *ret_reply = call.reply;
    return call.error;
}

/* ---- the process ---- */

static int client_start(struct sim_process *process, void *ctx)
{
    struct sim_client *client = ctx;
    struct rpc_options options = {.types = message_types, .type_count = MESSAGE_ID_END, .client = true};

    if (client->server) {
        options.client = false;
        options.public_address = process->address;
    }
    client->process = process;
    list_init(&client->actors);
    op_list_init(&client->calls, &process->env, client);
    if (rpc_create(&process->env, &options, &client->rpc) != 0)
        return 1;
    return sim_transactions_start(client);
}

static void client_kill(struct sim_process *process, void *ctx)
{
    struct sim_client *client = ctx;

    (void)process;
    op_cancel_all(&client->calls);
    sim_transactions_stop(client);
    rpc_destroy(client->rpc);
    client->rpc = NULL;
    while (!list_empty(&client->actors))
        actor_free(list_entry(client->actors.next, struct sim_actor, link));
}

const struct sim_program sim_client_program = {client_start, client_kill};
