/* Coordinators in the simulated world: creation, election, the coordinated state, restarts, damaged files. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "net/error.h"
#include "net/mem.h"
#include "roles/coordinator/coordinator.h"
#include "sim/world.h"

enum { NODES_MAX = 4 };

struct node {
    struct sim_process *process;
    struct rpc *rpc;
    struct coordinator *coordinator;
    int start_error; /* of the last coordinator_create */
    int ended_error;
    uint64_t leading_term; /* as told; 0: not */
    unsigned told_leading, told_lost;
    uint32_t member_count; /* as told last */
    unsigned forgot;
    struct uid cluster;
    void (*before_start)(struct env *env); /* spoils files */
};

struct client_call {
    struct op op;
    struct rpc_call call;
    struct rpc *rpc;
    struct endpoint to;
    struct message *request;
    bool done;
};

struct scene {
    struct sim_world *world;
    unsigned count;
    struct node nodes[NODES_MAX];
    struct sim_process *caller;
    struct rpc *rpc;
    struct op_list ops;
    struct client_call call;
};

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

static bool call_goes_on(void *ctx)
{
    return !((struct scene *)ctx)->call.done;
}

static void run(struct scene *scene, int64_t us)
{
    cr_assert(sim_world_run_until(scene->world, scene->world->now_us + us), "%s", scene->world->why);
}

static void begin_call(struct scene *scene, unsigned node, struct message *request)
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

/* The error; the reply stays in scene->call until the next one. */
static int ask(struct scene *scene, unsigned node, struct message *request)
{
    begin_call(scene, node, request);
    cr_assert(sim_world_run_while(scene->world, call_goes_on, scene, scene->world->now_us + 30 * SIM_SECOND_US), "%s",
              scene->world->why);
    return scene->call.call.error;
}

/* ---- scenes ---- */

static void scene_init(struct scene *scene, unsigned count, uint64_t seed)
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
    run(scene, SIM_SECOND_US / 10);
}

static void scene_done(struct scene *scene)
{
    rpc_call_clear(&scene->call.call);
    cr_assert_not(scene->world->failed, "%s", scene->world->why);
    sim_world_destroy(scene->world);
}

static struct message *create_message(const struct scene *scene, uint64_t cluster)
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

static bool create_at(struct scene *scene, unsigned node, uint64_t cluster)
{
    cr_assert_eq(ask(scene, node, create_message(scene, cluster)), 0);
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

/* The index of the node that leads; runs until there is one. */
static unsigned leader(struct scene *scene)
{
    cr_assert(sim_world_run_while(scene->world, no_leader, scene, scene->world->now_us + 30 * SIM_SECOND_US), "no leader");
    for (unsigned i = 0; i < scene->count; i++)
        if (scene->nodes[i].process->alive && scene->nodes[i].leading_term != 0)
            return i;
    return 0;
}

static void scene_created(struct scene *scene, unsigned count, uint64_t seed)
{
    scene_init(scene, count, seed);
    for (unsigned i = 0; i < count; i++)
        cr_assert(create_at(scene, i, 1));
    leader(scene);
}

static const struct state_reply *state_reply(const struct scene *scene)
{
    return MESSAGE_BODY(state_reply, scene->call.call.reply);
}

static int ask_lock(struct scene *scene, unsigned node, uint64_t term, uint64_t lock_id)
{
    struct message *message;
    struct lock_state *m = MESSAGE_NEW(lock_state, &message);

    m->term = term;
    m->lock_id = lock_id;
    return ask(scene, node, message);
}

/* The connection or the leadership may have gone since: then again. */
static bool try_again(int error)
{
    return error == ERROR_REQUEST_MAYBE_DELIVERED || error == ERROR_CONNECTION_FAILED || error == ERROR_OPERATION_OBSOLETE ||
           error == ERROR_BROKEN_PROMISE;
}

static void lock(struct scene *scene, uint64_t lock_id)
{
    unsigned at;
    int error;

    do {
        at = leader(scene);
        error = ask_lock(scene, at, scene->nodes[at].leading_term, lock_id);
    } while (try_again(error));
    cr_assert_eq(error, 0, "%s", error_name(error));
    cr_assert(state_reply(scene)->accepted);
    cr_assert_eq(state_reply(scene)->state.lock_id, lock_id);
}

/* True if it was accepted. */
static bool write_version(struct scene *scene, uint64_t epoch, uint64_t lock_id, int64_t version)
{
    unsigned at = leader(scene);
    struct message *message;
    struct write_state *m = MESSAGE_NEW(write_state, &message);

    m->term = scene->nodes[at].leading_term;
    m->state.locked_epoch = epoch;
    m->state.lock_id = lock_id;
    m->state.recovery_transaction_version = version;
    cr_assert_eq(ask(scene, at, message), 0);
    return state_reply(scene)->accepted;
}

static struct coordinated_state read_back(struct scene *scene)
{
    int error;

    do {
        unsigned at = leader(scene);
        struct message *message;
        struct read_state *m = MESSAGE_NEW(read_state, &message);

        m->term = scene->nodes[at].leading_term;
        error = ask(scene, at, message);
    } while (try_again(error));
    cr_assert_eq(error, 0, "%s", error_name(error));
    return state_reply(scene)->state;
}

static struct message *leader_question(uint64_t member, uint64_t term, int64_t wait_us)
{
    struct message *message;
    struct get_leader *m = MESSAGE_NEW(get_leader, &message);

    m->known_member = member;
    m->known_term = term;
    m->wait_us = wait_us;
    return message;
}

static const struct get_leader_reply *leader_reply(const struct scene *scene)
{
    return MESSAGE_BODY(get_leader_reply, scene->call.call.reply);
}

/* ---- tests: one coordinator ---- */

Test(coordinator, without_a_record_it_says_so_after_the_wait)
{
    struct scene scene;
    int64_t began_us;

    scene_init(&scene, 1, 1);
    began_us = scene.world->now_us;
    cr_assert_eq(ask(&scene, 0, leader_question(0, 0, SIM_SECOND_US)), 0);
    cr_assert_eq(leader_reply(&scene)->cluster_high, 0);
    cr_assert_eq(leader_reply(&scene)->leader_member, 0);
    cr_assert_geq(scene.world->now_us - began_us, SIM_SECOND_US * 9 / 10);
    cr_assert_eq(ask_lock(&scene, 0, 0, 1), ERROR_OPERATION_OBSOLETE);
    scene_done(&scene);
}

Test(coordinator, one_alone_is_created_leads_and_keeps_the_state)
{
    struct scene scene;

    scene_created(&scene, 1, 2);
    cr_assert_eq(scene.nodes[0].cluster.high, 1);
    lock(&scene, 10);
    cr_assert_eq(state_reply(&scene)->state.locked_epoch, 1);
    cr_assert(write_version(&scene, 1, 10, 4242));
    cr_assert_eq(state_reply(&scene)->state.written_epoch, 1);
    cr_assert_eq(read_back(&scene).recovery_transaction_version, 4242);
    scene_done(&scene);
}

Test(coordinator, a_write_after_anothers_lock_is_refused)
{
    struct scene scene;

    scene_created(&scene, 1, 3);
    lock(&scene, 10);
    lock(&scene, 11);
    cr_assert_not(write_version(&scene, 1, 10, 4242));
    cr_assert_eq(state_reply(&scene)->state.lock_id, 11, "the state as it is comes with the refusal");
    cr_assert_eq(read_back(&scene).written_epoch, 0);
    scene_done(&scene);
}

Test(coordinator, the_same_record_again_is_accepted_and_another_refused)
{
    struct scene scene;

    scene_created(&scene, 1, 4);
    cr_assert(create_at(&scene, 0, 1));
    cr_assert_not(create_at(&scene, 0, 77));
    cr_assert_eq(MESSAGE_BODY(coordinator_create_reply, scene.call.call.reply)->cluster_high, 1);
    scene_done(&scene);
}

Test(coordinator, who_is_not_among_the_members_does_not_become_one)
{
    struct scene scene;
    struct message *message;

    scene_init(&scene, 1, 5);
    message = create_message(&scene, 1);
    ((struct coordinator_create *)message->body)->members[0].address.port++;
    cr_assert_eq(ask(&scene, 0, message), ERROR_CLIENT_INVALID_OPERATION);
    cr_assert(create_at(&scene, 0, 1), "and is still free");
    scene_done(&scene);
}

Test(coordinator, requests_of_another_term_are_obsolete)
{
    struct scene scene;

    scene_created(&scene, 1, 6);
    cr_assert_eq(ask_lock(&scene, 0, scene.nodes[0].leading_term + 1, 10), ERROR_OPERATION_OBSOLETE);
    cr_assert_eq(read_back(&scene).locked_epoch, 0);
    scene_done(&scene);
}

static void restart(struct scene *scene, unsigned node, enum sim_stop how)
{
    sim_process_stop(scene->nodes[node].process, how);
    run(scene, SIM_SECOND_US / 10);
    sim_process_boot(scene->nodes[node].process);
}

Test(coordinator, the_state_is_there_after_power_failures)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct scene scene;

        scene_created(&scene, 1, seed);
        for (uint64_t i = 1; i <= 4 * seed; i++)
            lock(&scene, i);
        cr_assert(write_version(&scene, 4 * seed, 4 * seed, 9));
        restart(&scene, 0, seed % 2 == 0 ? SIM_KILL : SIM_POWER_OFF);
        cr_assert_eq(scene.nodes[0].start_error, 0);
        cr_assert_eq(read_back(&scene).written_epoch, 4 * seed, "seed %d", (int)seed);
        cr_assert_eq(scene.nodes[0].cluster.high, 1, "the host is told of a record that was found");
        scene_done(&scene);
    }
}

Test(coordinator, a_power_failure_in_the_middle_of_changes_loses_none_that_was_answered)
{
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct scene scene;
        uint64_t answered = 0;

        scene_created(&scene, 1, seed);
        for (int round = 0; round < 3; round++) {
            unsigned at = leader(&scene);
            struct message *message;
            struct lock_state *m;

            for (uint64_t i = 0; i < seed % 7; i++)
                lock(&scene, ++answered);
            m = MESSAGE_NEW(lock_state, &message);
            m->term = scene.nodes[at].leading_term;
            begin_call(&scene, at, message);
            run(&scene, (int64_t)(seed * 131 % 4000));
            restart(&scene, 0, SIM_POWER_OFF);
            cr_assert_eq(scene.nodes[0].start_error, 0, "seed %d", (int)seed);
            run(&scene, SIM_SECOND_US);
            cr_assert_geq(read_back(&scene).locked_epoch, answered, "seed %d", (int)seed);
            answered = read_back(&scene).locked_epoch;
        }
        scene_done(&scene);
    }
}

Test(coordinator, compaction_keeps_the_log_short)
{
    struct scene scene;
    struct role_status status = {0};
    struct arena arena = {0};
    int64_t last = 0, snapshot = 0;

    scene_created(&scene, 1, 7);
    for (uint64_t i = 1; i <= 100; i++)
        lock(&scene, i);
    coordinator_status(scene.nodes[0].coordinator, &status, &arena);
    for (uint32_t i = 0; i < status.metrics_count; i++) {
        if (bytes_equal(status.metrics[i].name, BYTES_LITERAL("last_index")))
            last = status.metrics[i].value;
        if (bytes_equal(status.metrics[i].name, BYTES_LITERAL("snapshot_index")))
            snapshot = status.metrics[i].value;
    }
    cr_assert_gt(last, 100);
    cr_assert_lt(last - snapshot, 25);
    arena_done(&arena);
    restart(&scene, 0, SIM_POWER_OFF);
    cr_assert_eq(read_back(&scene).locked_epoch, 100);
    scene_done(&scene);
}

/* ---- tests: damage ---- */

static void found_queue(void *ctx, const char *name)
{
    if (strstr(name, ".queue") != NULL)
        snprintf(ctx, 200, "data/coordinator/log/%s", name);
}

static void log_path(struct env *env, char out[200])
{
    out[0] = '\0';
    cr_assert_eq(env_dir_list(env, "data/coordinator/log", found_queue, out), 0);
    cr_assert_neq(out[0], '\0');
}

static void flip(struct env *env, const char *path, uint64_t offset)
{
    struct env_file *file;
    uint8_t byte;
    size_t got;

    cr_assert_eq(env_file_open(env, path, ENV_OPEN_READ | ENV_OPEN_WRITE, &file), 0);
    cr_assert_eq(env_file_read(env, file, offset, &byte, 1, &got), 0);
    cr_assert_eq(got, 1);
    byte ^= 0x10;
    cr_assert_eq(env_file_write(env, file, offset, bytes_of(&byte, 1)), 0);
    cr_assert_eq(env_file_sync_now(env, file), 0);
    env_file_close(env, file);
}

/* The last byte that is not zero lies in the newest frame, which the queue alone would take for a torn tail. */
static void spoil_last_frame(struct env *env)
{
    static uint8_t content[1 << 18];
    char path[200];
    struct env_file *file;
    size_t got;

    log_path(env, path);
    cr_assert_eq(env_file_open(env, path, ENV_OPEN_READ, &file), 0);
    cr_assert_eq(env_file_read(env, file, 0, content, sizeof(content), &got), 0);
    env_file_close(env, file);
    while (got > 0 && content[got - 1] == 0)
        got--;
    cr_assert_gt(got, 4096);
    flip(env, path, got - 1);
}

static void spoil_first_frame(struct env *env)
{
    char path[200];

    log_path(env, path);
    flip(env, path, 4096 + 40);
}

static void spoil_hard(struct env *env)
{
    flip(env, "data/coordinator/hard", 30);
    flip(env, "data/coordinator/hard", 4096 + 30);
}

static void spoil_record(struct env *env)
{
    flip(env, "data/coordinator/record", 30);
    flip(env, "data/coordinator/record", 4096 + 16);
}

static void remove_record(struct env *env)
{
    cr_assert_eq(env_remove(env, "data/coordinator/record"), 0);
}

static void remove_hard(struct env *env)
{
    cr_assert_eq(env_remove(env, "data/coordinator/hard"), 0);
}

static void remove_log(struct env *env)
{
    char path[200];

    log_path(env, path);
    cr_assert_eq(env_remove(env, path), 0);
}

Test(coordinator, damaged_files_are_detected_and_it_takes_no_part)
{
    void (*const spoil[])(struct env *env) = {spoil_last_frame, spoil_first_frame, spoil_hard,  spoil_record,
                                              remove_record,    remove_hard,       remove_log};

    for (unsigned i = 0; i < sizeof(spoil) / sizeof(spoil[0]); i++) {
        struct scene scene;

        scene_created(&scene, 1, 8 + i);
        lock(&scene, 10);
        lock(&scene, 11);
        scene.nodes[0].before_start = spoil[i];
        scene.nodes[0].process->damaged = true;
        restart(&scene, 0, SIM_KILL);
        cr_assert_eq(scene.nodes[0].start_error, ERROR_FILE_CORRUPT, "spoiler %u", i);
        cr_assert_null(scene.nodes[0].coordinator);
        scene_done(&scene);
    }
}

/* ---- tests: three coordinators ---- */

Test(coordinator, three_elect_one_and_all_of_them_name_it)
{
    struct scene scene;
    unsigned at;

    scene_created(&scene, 3, 20);
    at = leader(&scene);
    run(&scene, SIM_SECOND_US);
    for (unsigned i = 0; i < 3; i++) {
        cr_assert_eq(ask(&scene, i, leader_question(0, 0, SIM_SECOND_US)), 0);
        cr_assert_eq(leader_reply(&scene)->leader_member, 100 + at);
        cr_assert_eq(leader_reply(&scene)->term, scene.nodes[at].leading_term);
        cr_assert_eq(leader_reply(&scene)->leader_address.ip, scene.nodes[at].process->address.ip);
        cr_assert_eq(leader_reply(&scene)->members_count, 3);
    }
    scene_done(&scene);
}

Test(coordinator, the_state_survives_the_leaders_kill)
{
    for (uint64_t seed = 1; seed <= 8; seed++) {
        struct scene scene;
        unsigned first, second;
        int64_t killed_us;

        scene_created(&scene, 3, seed);
        first = leader(&scene);
        for (uint64_t i = 1; i <= 30; i++)
            lock(&scene, i);
        killed_us = scene.world->now_us;
        sim_process_stop(scene.nodes[first].process, SIM_KILL);
        second = leader(&scene);
        cr_assert_neq(first, second);
        cr_assert_lt(scene.world->now_us - killed_us, SIM_SECOND_US / 2, "a closed connection is noticed at once");
        cr_assert_eq(read_back(&scene).locked_epoch, 30);
        lock(&scene, 31);
        sim_process_boot(scene.nodes[first].process);
        run(&scene, 2 * SIM_SECOND_US);
        sim_process_stop(scene.nodes[second].process, SIM_POWER_OFF);
        cr_assert_eq(read_back(&scene).locked_epoch, 31, "the first is up to date again");
        scene_done(&scene);
    }
}

Test(coordinator, a_long_poll_hears_of_the_next_leader)
{
    struct scene scene;
    unsigned first, other;
    uint64_t term;

    scene_created(&scene, 3, 30);
    run(&scene, SIM_SECOND_US);
    first = leader(&scene);
    term = scene.nodes[first].leading_term;
    other = (first + 1) % 3;
    begin_call(&scene, other, leader_question(100 + first, term, 10 * SIM_SECOND_US));
    run(&scene, SIM_SECOND_US);
    cr_assert_not(scene.call.done, "it waits while nothing changes");
    sim_process_stop(scene.nodes[first].process, SIM_KILL);
    run(&scene, 2 * SIM_SECOND_US);
    cr_assert(scene.call.done);
    cr_assert_eq(scene.call.call.error, 0);
    cr_assert_neq(leader_reply(&scene)->leader_member, 100 + first);
    cr_assert_gt(leader_reply(&scene)->term, term);
    scene_done(&scene);
}

Test(coordinator, one_of_three_alone_commits_nothing_and_stops_leading)
{
    struct scene scene;
    unsigned first;
    uint64_t term;
    struct message *message;
    struct lock_state *m;

    scene_created(&scene, 3, 40);
    first = leader(&scene);
    term = scene.nodes[first].leading_term;
    sim_process_stop(scene.nodes[(first + 1) % 3].process, SIM_KILL);
    sim_process_stop(scene.nodes[(first + 2) % 3].process, SIM_KILL);
    m = MESSAGE_NEW(lock_state, &message);
    m->term = term;
    cr_assert_eq(ask(&scene, first, message), ERROR_OPERATION_OBSOLETE, "its fate is not known");
    run(&scene, SIM_SECOND_US);
    cr_assert_eq(scene.nodes[first].told_lost, 1);
    cr_assert_not(coordinator_leads(scene.nodes[first].coordinator));
    scene_done(&scene);
}

Test(coordinator, leadership_is_told_in_turns_through_kills_and_cuts)
{
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct scene scene;
        uint64_t locked = 0;

        scene_created(&scene, 3, 50 + seed);
        for (int i = 0; i < 12; i++) {
            unsigned victim = (unsigned)sim_random_below(&scene.world->faults, 3);

            lock(&scene, 1);
            locked++;
            cr_assert_geq(state_reply(&scene)->state.locked_epoch, locked);
            restart(&scene, victim, i % 2 == 0 ? SIM_KILL : SIM_POWER_OFF);
            run(&scene, sim_random_range(&scene.world->faults, 1000, 2 * SIM_SECOND_US));
            leader(&scene);
        }
        run(&scene, 3 * SIM_SECOND_US);
        cr_assert_geq(read_back(&scene).locked_epoch, locked);
        scene_done(&scene);
    }
}

/* ---- changes of the members ---- */

static struct coordinator_member member_at(const struct scene *scene, unsigned node, uint64_t id)
{
    struct address address = scene->nodes[node].process->address;

    return (struct coordinator_member){id, {address.ip, address.port}};
}

/* Joins node as `id`; `count` members (100, 101, ..) may speak to it. */
static int ask_join(struct scene *scene, unsigned node, uint64_t id, unsigned count)
{
    struct message *message;
    struct coordinator_join *m = MESSAGE_NEW(coordinator_join, &message);

    *m = (struct coordinator_join){.cluster_high = 1, .cluster_low = 2, .member = id, .members_count = count};
    m->members = arena_zalloc(&message->arena, count * sizeof(*m->members));
    for (unsigned i = 0; i < count; i++)
        m->members[i] = member_at(scene, i, 100 + i);
    begin_call(scene, node, message);
    scene->call.to.id = ENDPOINT_WORKER;
    cr_assert(sim_world_run_while(scene->world, call_goes_on, scene, scene->world->now_us + 30 * SIM_SECOND_US));
    return scene->call.call.error;
}

static int ask_change(struct scene *scene, unsigned at, bool add, unsigned node, uint64_t id)
{
    struct message *message;
    struct coordinator_change *m = MESSAGE_NEW(coordinator_change, &message);

    m->add = add;
    m->member = member_at(scene, node, id);
    return ask(scene, at, message);
}

/* Until it is done: who asked need not have heard. */
static void change(struct scene *scene, bool add, unsigned node, uint64_t id, uint32_t members_then)
{
    unsigned at;

    do {
        at = leader(scene);
        (void)ask_change(scene, at, add, node, id);
        run(scene, SIM_SECOND_US / 10);
        at = leader(scene);
    } while (scene->nodes[at].member_count != members_then);
}

static const struct get_leader_reply *ask_leader(struct scene *scene, unsigned node)
{
    struct message *message;

    MESSAGE_NEW(get_leader, &message);
    cr_assert_eq(ask(scene, node, message), 0);
    return MESSAGE_BODY(get_leader_reply, scene->call.call.reply);
}

/* `created` members, and nodes without a record behind them. */
static void scene_with_more(struct scene *scene, unsigned created, unsigned more, uint64_t seed)
{
    scene_init(scene, created + more, seed);
    scene->count = created;
    for (unsigned i = 0; i < created; i++)
        cr_assert(create_at(scene, i, 1));
    leader(scene);
    scene->count = created + more;
}

Test(coordinator, one_that_joins_takes_part_and_the_first_may_go)
{
    struct scene scene;

    scene_with_more(&scene, 1, 2, 21);
    lock(&scene, 77);
    cr_assert_eq(ask_join(&scene, 1, 501, 1), 0);
    cr_assert_eq(ask_join(&scene, 1, 501, 1), 0, "a repeat is answered again");
    cr_assert_eq(ask_join(&scene, 2, 502, 1), 0);
    change(&scene, true, 1, 501, 2);
    change(&scene, true, 2, 502, 3);
    change(&scene, false, 0, 100, 2);
    sim_process_stop(scene.nodes[0].process, SIM_KILL);
    lock(&scene, 78);
    cr_assert_eq(state_reply(&scene)->state.locked_epoch, 2, "the state is that of the first");
    scene_done(&scene);
}

Test(coordinator, one_that_was_removed_names_the_others_and_joins_again_as_another)
{
    struct scene scene;
    const struct get_leader_reply *reply;

    scene_with_more(&scene, 3, 0, 22);
    lock(&scene, 1);
    change(&scene, false, 2, 102, 2);
    run(&scene, SIM_SECOND_US);
    reply = ask_leader(&scene, 2);
    cr_assert_eq(reply->members_count, 2);
    for (uint32_t i = 0; i < reply->members_count; i++)
        cr_assert_neq(reply->members[i].member, 102);
    cr_assert_eq(ask_join(&scene, 0, 500, 2), ERROR_CLIENT_INVALID_OPERATION, "a member is no other");
    cr_assert_eq(ask_join(&scene, 2, 600, 2), 0);
    cr_assert_eq(scene.nodes[2].forgot, 1);
    change(&scene, true, 2, 600, 3);
    sim_process_stop(scene.nodes[0].process, SIM_POWER_OFF);
    lock(&scene, 2);
    cr_assert_eq(state_reply(&scene)->state.locked_epoch, 2);
    sim_process_stop(scene.nodes[2].process, SIM_KILL);
    sim_process_boot(scene.nodes[2].process);
    cr_assert_eq(scene.nodes[2].start_error, 0, "what it joined as is on its disk");
    lock(&scene, 3);
    scene_done(&scene);
}

Test(coordinator, a_change_that_can_not_be_is_refused)
{
    struct scene scene;
    unsigned at, other;

    scene_with_more(&scene, 3, 1, 23);
    at = leader(&scene);
    other = (at + 1) % 3;
    cr_assert_eq(ask_change(&scene, other, false, 2, 102), ERROR_OPERATION_OBSOLETE, "it does not lead");
    cr_assert_eq(ask_change(&scene, at, false, 0, 999), ERROR_CLIENT_INVALID_OPERATION, "there is no such member");
    cr_assert_eq(ask_change(&scene, at, true, 3, 0), ERROR_CLIENT_INVALID_OPERATION, "none");
    cr_assert_eq(ask_change(&scene, at, true, 3, 500), ERROR_TIMED_OUT, "it did not join, and does not catch up");
    cr_assert_eq(ask_leader(&scene, leader(&scene))->members_count, 3);
    scene_done(&scene);
}
