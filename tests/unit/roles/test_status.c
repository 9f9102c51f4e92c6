/* Status of a real worker in the simulated world: before there is a database, and the document's shape. */
#include <criterion/criterion.h>
#include <jansson.h>

#include "net/error.h"
#include "roles/worker/worker.h"
#include "sim/world.h"

struct scene {
    struct sim_world *world;
    struct sim_process *server, *caller;
    struct worker *worker;
    struct rpc *rpc;
    struct op_list ops;
    struct op op;
    struct rpc_call call;
    struct endpoint to;
    struct message *request;
    bool done;
};

static int server_start(struct sim_process *process, void *ctx)
{
    struct scene *scene = ctx;
    struct worker_options options = {
        .data_directory = "data",
        .public_address = process->address,
        .process_class = CLASS_UNSET,
        .zone = BYTES_LITERAL("zone \xff 1"),
        .coordinators = &process->address,
        .coordinator_count = 1,
        .command_line = BYTES_LITERAL("quoind -p \"x\""),
        .pid = 77,
    };
    char why[200];

    cr_assert_eq(env_dir_make(&process->env, "data"), 0);
    return worker_create(&process->env, &options, &scene->worker, why, sizeof(why));
}

static void server_kill(struct sim_process *process, void *ctx)
{
    (void)process;
    worker_destroy(((struct scene *)ctx)->worker);
}

static int caller_start(struct sim_process *process, void *ctx)
{
    struct scene *scene = ctx;
    struct rpc_options options = {.types = message_types, .type_count = MESSAGE_ID_END, .client = true};

    op_list_init(&scene->ops, &process->env, scene);
    return rpc_create(&process->env, &options, &scene->rpc);
}

static void caller_kill(struct sim_process *process, void *ctx)
{
    struct scene *scene = ctx;

    (void)process;
    op_cancel_all(&scene->ops);
    rpc_destroy(scene->rpc);
}

static const struct sim_program server_program = {server_start, server_kill};
static const struct sim_program caller_program = {caller_start, caller_kill};

static enum op_result run_call(struct op *op)
{
    struct scene *scene = container_of(op, struct scene, op);
    struct message *request = scene->request;

    scene->request = NULL;
    rpc_call_start(&scene->call, op, scene->rpc, &scene->to, request, 5 * SIM_SECOND_US);
    return op_wait(op, 1);
}

static enum op_result run_done(struct op *op)
{
    return op_finish(op, container_of(op, struct scene, op)->call.error);
}

static void ended(struct op *op)
{
    container_of(op, struct scene, op)->done = true;
}

static const struct op_stage stages[] = {{"CALL", run_call, OP_STAGE(1)}, {"DONE", run_done, 0}};
static const struct op_type type = {"test_call", stages, 2, READY_COMMIT, ended};

static bool goes_on(void *ctx)
{
    return !((struct scene *)ctx)->done;
}

static int ask(struct scene *scene, uint64_t endpoint, struct message *request)
{
    rpc_call_clear(&scene->call);
    scene->to = (struct endpoint){scene->server->address, endpoint};
    scene->request = request;
    scene->done = false;
    op_start(&scene->op, &type, &scene->ops);
    sim_process_plan(scene->caller);
    cr_assert(sim_world_run_while(scene->world, goes_on, scene, scene->world->now_us + 30 * SIM_SECOND_US), "%s",
              scene->world->why);
    return scene->call.error;
}

static void scene_init(struct scene *scene)
{
    struct message *message;
    struct coordinator_create *m = MESSAGE_NEW(coordinator_create, &message);

    memset(scene, 0, sizeof(*scene));
    scene->world = sim_world_create(5);
    scene->world->settings.restart_us = SIM_NEVER;
    scene->server = sim_process_create(scene->world, "server", 0, 4500, &server_program, scene);
    scene->caller = sim_process_create(scene->world, "caller", 1, 4501, &caller_program, scene);
    sim_process_boot(scene->server);
    sim_process_boot(scene->caller);
    m->cluster_high = 1;
    m->cluster_low = 2;
    m->members = arena_zalloc(&message->arena, sizeof(*m->members));
    m->members[0] = (struct coordinator_member){9, {scene->server->address.ip, scene->server->address.port}};
    m->members_count = 1;
    cr_assert_eq(ask(scene, ENDPOINT_COORDINATOR, message), 0);
    cr_assert(sim_world_run_until(scene->world, scene->world->now_us + 3 * SIM_SECOND_US), "%s", scene->world->why);
}

static json_t *status(struct scene *scene)
{
    struct message *message;
    struct bytes text;
    json_t *cluster;

    (void)MESSAGE_NEW(get_status, &message);
    cr_assert_eq(ask(scene, ENDPOINT_CONTROLLER, message), 0);
    text = MESSAGE_BODY(get_status_reply, scene->call.reply)->json;
    cluster = json_loadb((const char *)text.ptr, text.len, 0, NULL);
    cr_assert_not_null(cluster, "%.*s", (int)text.len, (const char *)text.ptr);
    return cluster;
}

static void scene_done(struct scene *scene)
{
    rpc_call_clear(&scene->call);
    cr_assert_not(scene->world->failed, "%s", scene->world->why);
    sim_world_destroy(scene->world);
}

static const char *text_at(json_t *object, const char *outer, const char *inner)
{
    return json_string_value(json_object_get(json_object_get(object, outer), inner));
}

Test(status, without_a_database_it_says_so_and_names_the_process)
{
    struct scene scene;
    json_t *cluster, *process, *roles;
    const char *id;
    unsigned seen = 0;

    scene_init(&scene);
    cluster = status(&scene);
    cr_assert_str_eq(text_at(cluster, "recovery_state", "name"), "configuration_never_created");
    cr_assert(json_is_false(json_object_get(cluster, "database_available")));
    cr_assert_eq(json_integer_value(json_object_get(json_object_get(cluster, "configuration"), "coordinators_count")), 1);
    cr_assert_eq(json_object_size(json_object_get(cluster, "processes")), 1);
    cr_assert_eq(json_object_size(json_object_get(cluster, "machines")), 1);
    json_object_foreach(json_object_get(cluster, "processes"), id, process) {
        cr_assert_str_eq(json_string_value(json_object_get(process, "address")), "10.0.0.1:4500");
        cr_assert_str_eq(json_string_value(json_object_get(process, "class_type")), "unset");
        cr_assert_str_eq(json_string_value(json_object_get(process, "command_line")), "quoind -p \"x\"");
        cr_assert_eq(json_array_size(json_object_get(process, "messages")), 0);
        roles = json_object_get(process, "roles");
        for (size_t i = 0; i < json_array_size(roles); i++) {
            const char *role = json_string_value(json_object_get(json_array_get(roles, i), "role"));

            seen |= (strcmp(role, "coordinator") == 0 ? 1 : 0) | (strcmp(role, "cluster_controller") == 0 ? 2 : 0);
        }
    }
    cr_assert_eq(seen, 3);
    json_decref(cluster);
    scene_done(&scene);
}

Test(status, a_worker_dies_with_requests_and_a_status_under_way)
{
    struct scene scene;
    struct message *message;

    scene_init(&scene);
    (void)MESSAGE_NEW(get_status, &message);
    scene.to = (struct endpoint){scene.server->address, ENDPOINT_CONTROLLER};
    scene.request = message;
    op_start(&scene.op, &type, &scene.ops);
    sim_process_plan(scene.caller);
    sim_world_run_until(scene.world, scene.world->now_us + 300);
    sim_process_stop(scene.server, SIM_KILL);
    sim_world_run_until(scene.world, scene.world->now_us + SIM_SECOND_US);
    scene_done(&scene);
}

Test(status, a_database_of_one_process_is_created_and_fully_recovered)
{
    struct scene scene;
    struct message *message;
    struct create_database *m;
    json_t *cluster, *log;

    scene_init(&scene);
    m = MESSAGE_NEW(create_database, &message);
    m->redundancy = 1;
    m->engine = ENGINE_MEMORY;
    cr_assert_eq(ask(&scene, ENDPOINT_CONTROLLER, message), 0, "%s", error_name(scene.call.error));
    cluster = status(&scene);
    cr_assert_str_eq(text_at(cluster, "recovery_state", "name"), "fully_recovered");
    cr_assert(json_is_true(json_object_get(cluster, "database_available")));
    cr_assert_str_eq(text_at(cluster, "configuration", "redundancy_mode"), "single");
    cr_assert_str_eq(text_at(cluster, "configuration", "storage_engine"), "memory");
    cr_assert(json_is_true(json_object_get(json_object_get(json_object_get(cluster, "data"), "state"), "healthy")));
    log = json_array_get(json_object_get(json_array_get(json_object_get(cluster, "logs"), 0), "log_interfaces"), 0);
    cr_assert(json_is_true(json_object_get(log, "healthy")));
    cr_assert_eq(json_integer_value(json_object_get(json_object_get(cluster, "fault_tolerance"),
                                                    "max_zone_failures_without_losing_data")), 0);
    json_decref(cluster);
    m = MESSAGE_NEW(create_database, &message);
    m->redundancy = 1;
    m->engine = ENGINE_MEMORY;
    cr_assert_eq(ask(&scene, ENDPOINT_CONTROLLER, message), ERROR_CLIENT_INVALID_OPERATION, "there is one already");
    scene_done(&scene);
}

Test(status, the_database_recovers_after_each_power_failure)
{
    struct scene scene;
    struct message *message;
    struct create_database *m;

    scene_init(&scene);
    m = MESSAGE_NEW(create_database, &message);
    m->redundancy = 1;
    m->engine = ENGINE_MEMORY;
    cr_assert_eq(ask(&scene, ENDPOINT_CONTROLLER, message), 0);
    for (int64_t epoch = 1; epoch <= 5; epoch++) {
        json_t *cluster = status(&scene);

        cr_assert_str_eq(text_at(cluster, "recovery_state", "name"), "fully_recovered", "epoch %d", (int)epoch);
        cr_assert_geq(json_integer_value(json_object_get(cluster, "generation")), epoch);
        json_decref(cluster);
        sim_process_stop(scene.server, epoch % 2 == 0 ? SIM_KILL : SIM_POWER_OFF);
        sim_process_boot(scene.server);
        cr_assert(sim_world_run_until(scene.world, scene.world->now_us + 10 * SIM_SECOND_US), "%s", scene.world->why);
        (void)MESSAGE_NEW(get_status, &message);
        (void)ask(&scene, ENDPOINT_CONTROLLER, message); /* the old connection is found dead by this one */
        cr_assert(sim_world_run_until(scene.world, scene.world->now_us + SIM_SECOND_US), "%s", scene.world->why);
    }
    scene_done(&scene);
}
