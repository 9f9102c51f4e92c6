#include "coordinator_lab.h"

#include <stdio.h>

/* ---- a process with a coordinator ---- */

static void node_leading(void *host, uint64_t term)
{
    struct node *node = host;

    cr_assert_eq(node->leading_term, 0, "leading twice");
    node->leading_term = term;
    node->told_leading++;
}

static void node_lost(void *host)
{
    struct node *node = host;

    cr_assert_neq(node->leading_term, 0, "lost without leading");
    node->leading_term = 0;
    node->told_lost++;
}

static void node_cluster_known(void *host, struct uid cluster)
{
    struct node *node = host;

    node->cluster = cluster;
    rpc_set_cluster_id(node->rpc, cluster);
}

static void node_members(void *host, const struct coordinator_member *members, uint32_t count)
{
    cr_assert(count > 0 && members[0].member != 0);
    ((struct node *)host)->member_count = count;
}

static void node_ended(void *host, enum role_kind kind, uint64_t id, int error)
{
    (void)id;
    cr_assert_eq(kind, ROLE_COORDINATOR);
    ((struct node *)host)->ended_error = error;
}

static int start_rpc(struct sim_process *process, bool client, struct rpc **ret_rpc)
{
    struct rpc_options options = {
        .public_address = client ? (struct address){0} : process->address,
        .types = message_types,
        .type_count = MESSAGE_ID_END,
        .client = client,
    };
    int error = rpc_create(&process->env, &options, ret_rpc);

    return error != 0 || client ? error : rpc_listen(*ret_rpc);
}

static int create_coordinator(struct node *node)
{
    static const struct coordinator_callbacks callbacks = {
        .leading = node_leading, .lost = node_lost, .cluster_known = node_cluster_known, .members = node_members};
    struct role_context context = {
        .env = &node->process->env, .rpc = node->rpc, .data_directory = "data", .ended = node_ended, .host = node};

    return coordinator_create(&context, &callbacks, &node->coordinator);
}

/* What a worker does with coordinator_join. */
static void node_worker(void *ctx, struct rpc_request *request)
{
    struct node *node = ctx;

    if (coordinator_must_forget(node->coordinator, MESSAGE_BODY(coordinator_join, request->message))) {
        cr_assert_eq(coordinator_forget(node->coordinator), 0);
        cr_assert_eq(create_coordinator(node), 0);
        node->forgot++;
    }
    coordinator_join(node->coordinator, request);
}

static int node_start(struct sim_process *process, void *ctx)
{
    struct node *node = ctx;

    node->leading_term = 0;
    node->cluster = (struct uid){0};
    node->coordinator = NULL;
    cr_assert_eq(env_dir_make(&process->env, "data"), 0);
    if (node->before_start != NULL)
        node->before_start(&process->env);
    node->before_start = NULL;
    cr_assert_eq(start_rpc(process, false, &node->rpc), 0);
    node->start_error = create_coordinator(node);
    rpc_register(node->rpc, ENDPOINT_WORKER, node_worker, node);
    return 0;
}

static void node_kill(struct sim_process *process, void *ctx)
{
    struct node *node = ctx;

    (void)process;
    coordinator_destroy(node->coordinator);
    rpc_unregister(node->rpc, ENDPOINT_WORKER);
    rpc_destroy(node->rpc);
    node->coordinator = NULL;
    node->leading_term = 0;
}

static const struct sim_program node_program = {node_start, node_kill};

/* ---- a process that calls; as a server, for the state is the servers' alone ---- */

static int caller_start(struct sim_process *process, void *ctx)
{
    struct scene *scene = ctx;

    op_list_init(&scene->ops, &process->env, scene);
    return start_rpc(process, false, &scene->rpc);
}

static void caller_kill(struct sim_process *process, void *ctx)
{
    struct scene *scene = ctx;

    (void)process;
    op_cancel_all(&scene->ops);
    rpc_destroy(scene->rpc);
}

static const struct sim_program caller_program = {caller_start, caller_kill};

static enum op_result call_start(struct op *op)
{
    struct client_call *call = container_of(op, struct client_call, op);
    struct message *request = call->request;

    call->request = NULL;
    rpc_call_start(&call->call, op, call->rpc, &call->to, request, 20 * SIM_SECOND_US);
    return op_wait(op, 1);
}

static enum op_result call_done(struct op *op)
{
    return op_finish(op, container_of(op, struct client_call, op)->call.error);
}

static void call_ended(struct op *op)
{
    struct client_call *call = container_of(op, struct client_call, op);

    message_unref(call->request);
    call->request = NULL;
    if (op->error == ERROR_OPERATION_CANCELLED)
        rpc_call_clear(&call->call);
    call->done = true;
}

static const struct op_stage call_stages[] = {{"CALL", call_start, OP_STAGE(1)}, {"DONE", call_done, 0}};
static const struct op_type call_type = {"test_call", call_stages, 2, READY_COMMIT, call_ended};

bool call_goes_on(void *ctx)
{
    return !((struct scene *)ctx)->call.done;
}

void scene_run(struct scene *scene, int64_t us)
{
    cr_assert(sim_world_run_until(scene->world, scene->world->now_us + us), "%s", scene->world->why);
}

void scene_begin_call(struct scene *scene, unsigned node, struct message *request)
{
    struct client_call *call = &scene->call;

    if (call->op.owner != NULL && !call->done)
        op_cancel(&call->op);
    rpc_call_clear(&call->call);
    memset(call, 0, sizeof(*call));
    call->rpc = scene->rpc;
    call->to = (struct endpoint){scene->nodes[node].process->address, ENDPOINT_COORDINATOR};
    call->request = request;
    op_start(&call->op, &call_type, &scene->ops);
    sim_process_plan(scene->caller);
}

int scene_ask(struct scene *scene, unsigned node, struct message *request)
{
    scene_begin_call(scene, node, request);
    cr_assert(sim_world_run_while(scene->world, call_goes_on, scene, scene->world->now_us + 30 * SIM_SECOND_US), "%s",
              scene->world->why);
    return scene->call.call.error;
}

/* ---- scenes ---- */

void scene_init(struct scene *scene, unsigned count, uint64_t seed)
{
    memset(scene, 0, sizeof(*scene));
    scene->count = count;
    scene->world = sim_world_create(seed);
    scene->world->settings.restart_us = SIM_NEVER;
    scene->world->knobs.raft_compact_entries = 20;
    for (unsigned i = 0; i < count; i++) {
        char name[16];

        snprintf(name, sizeof(name), "node%u", i);
        scene->nodes[i].process = sim_process_create(scene->world, name, i, 4500, &node_program, &scene->nodes[i]);
        sim_process_boot(scene->nodes[i].process);
    }
    scene->caller = sim_process_create(scene->world, "caller", 9, 4500, &caller_program, scene);
    sim_process_boot(scene->caller);
    scene_run(scene, SIM_SECOND_US / 10);
}

void scene_done(struct scene *scene)
{
    rpc_call_clear(&scene->call.call);
    cr_assert_not(scene->world->failed, "%s", scene->world->why);
    sim_world_destroy(scene->world);
}

struct message *create_message(const struct scene *scene, uint64_t cluster)
{
    struct message *message;
    struct coordinator_create *m = MESSAGE_NEW(coordinator_create, &message);

    m->cluster_high = cluster;
    m->cluster_low = 2;
    m->members = arena_zalloc(&message->arena, scene->count * sizeof(*m->members));
    m->members_count = scene->count;
    for (unsigned i = 0; i < scene->count; i++) {
        struct address address = scene->nodes[i].process->address;

        m->members[i] = (struct coordinator_member){100 + i, {address.ip, address.port}};
    }
    return message;
}

bool scene_create_at(struct scene *scene, unsigned node, uint64_t cluster)
{
    cr_assert_eq(scene_ask(scene, node, create_message(scene, cluster)), 0);
    return MESSAGE_BODY(coordinator_create_reply, scene->call.call.reply)->accepted;
}

static bool no_leader(void *ctx)
{
    struct scene *scene = ctx;

    for (unsigned i = 0; i < scene->count; i++)
        if (scene->nodes[i].process->alive && scene->nodes[i].leading_term != 0)
            return false;
    return true;
}

unsigned scene_leader(struct scene *scene)
{
    cr_assert(sim_world_run_while(scene->world, no_leader, scene, scene->world->now_us + 30 * SIM_SECOND_US), "no leader");
    for (unsigned i = 0; i < scene->count; i++)
        if (scene->nodes[i].process->alive && scene->nodes[i].leading_term != 0)
            return i;
    return 0;
}

void scene_created(struct scene *scene, unsigned count, uint64_t seed)
{
    scene_init(scene, count, seed);
    for (unsigned i = 0; i < count; i++)
        cr_assert(scene_create_at(scene, i, 1));
    scene_leader(scene);
}

const struct state_reply *state_reply(const struct scene *scene)
{
    return MESSAGE_BODY(state_reply, scene->call.call.reply);
}

int scene_ask_lock(struct scene *scene, unsigned node, uint64_t term, uint64_t lock_id)
{
    struct message *message;
    struct lock_state *m = MESSAGE_NEW(lock_state, &message);

    m->term = term;
    m->lock_id = lock_id;
    return scene_ask(scene, node, message);
}

/* The connection or the leadership may have gone since: then again. */
static bool try_again(int error)
{
    return error == ERROR_REQUEST_MAYBE_DELIVERED || error == ERROR_CONNECTION_FAILED || error == ERROR_OPERATION_OBSOLETE ||
           error == ERROR_BROKEN_PROMISE;
}

void scene_lock(struct scene *scene, uint64_t lock_id)
{
    unsigned at;
    int error;

    do {
        at = scene_leader(scene);
        error = scene_ask_lock(scene, at, scene->nodes[at].leading_term, lock_id);
    } while (try_again(error));
    cr_assert_eq(error, 0, "%s", error_name(error));
    cr_assert(state_reply(scene)->accepted);
    cr_assert_eq(state_reply(scene)->state.lock_id, lock_id);
}

bool scene_write_version(struct scene *scene, uint64_t epoch, uint64_t lock_id, int64_t version)
{
    unsigned at = scene_leader(scene);
    struct message *message;
    struct write_state *m = MESSAGE_NEW(write_state, &message);

    m->term = scene->nodes[at].leading_term;
    m->state.locked_epoch = epoch;
    m->state.lock_id = lock_id;
    m->state.recovery_transaction_version = version;
    cr_assert_eq(scene_ask(scene, at, message), 0);
    return state_reply(scene)->accepted;
}

struct coordinated_state scene_read_back(struct scene *scene)
{
    int error;

    do {
        unsigned at = scene_leader(scene);
        struct message *message;
        struct read_state *m = MESSAGE_NEW(read_state, &message);

        m->term = scene->nodes[at].leading_term;
        error = scene_ask(scene, at, message);
    } while (try_again(error));
    cr_assert_eq(error, 0, "%s", error_name(error));
    return state_reply(scene)->state;
}

struct message *leader_question(uint64_t member, uint64_t term, int64_t wait_us)
{
    struct message *message;
    struct get_leader *m = MESSAGE_NEW(get_leader, &message);

    m->known_member = member;
    m->known_term = term;
    m->wait_us = wait_us;
    return message;
}

const struct get_leader_reply *leader_reply(const struct scene *scene)
{
    return MESSAGE_BODY(get_leader_reply, scene->call.call.reply);
}

void scene_restart(struct scene *scene, unsigned node, enum sim_stop how)
{
    sim_process_stop(scene->nodes[node].process, how);
    scene_run(scene, SIM_SECOND_US / 10);
    sim_process_boot(scene->nodes[node].process);
}
