/* Administration: small ops that keep trying.
 *
 *   configure:  LOOK -> LOOKED -> CREATE -> CREATED -> FIND -> CREATE_DATABASE -> DONE (-> FILL)
 *                         \-----------------------------^              (PAUSED -> back, where something failed)
 *
 * A coordinator that has lost its disk must not be made a voter again behind its cluster's back: so all are asked first, and a
 * record goes out only when all of them answered and none has one, or when those that have one are too few to elect a leader
 * (an earlier `configure new` that was cut short). The record that makes coordinators a cluster is drawn once; a coordinator
 * that has another refuses and shows it: then that one is what everybody is sent. Coordinators that were missed get theirs
 * after the database was created, when there has not been anything that they could have forgotten. */
#include "txn/client/client_admin.h"

#include <assert.h>

#include "txn/client/client_internal.h"

enum { ADMIN_PAUSE_US = 50000 };

/* ---- configure ---- */

enum { LOOK, LOOKED, CREATE, CREATED, FIND, CREATE_DATABASE, DONE, FILLED, PAUSED_LOOK, PAUSED_CREATE, PAUSED_FIND, CONFIGURE_STAGES };

static struct client_configure *configure_of(struct op *op)
{
    return container_of(op, struct client_configure, op);
}

static void draw_record(struct client_configure *configure)
{
    struct env *env = configure->client->env;

    configure->cluster_id.high = env_random(env) | 1;
    configure->cluster_id.low = env_random(env);
    configure->member_count = configure->count;
    for (uint32_t i = 0; i < configure->count; i++) {
        struct address address = configure->client->coordinators[i].address;

        configure->members[i] = (struct coordinator_member){env_random(env) | 1, {address.ip, address.port}};
    }
}

static int send_create(struct client_configure *configure, uint32_t index)
{
    struct client *client = configure->client;
    struct message *message;
    struct coordinator_create *body = MESSAGE_NEW(coordinator_create, &message);
    struct endpoint to = {client->coordinators[index].address, ENDPOINT_COORDINATOR};

    if (body == NULL)
        return ERROR_OUT_OF_MEMORY;
    body->cluster_high = configure->cluster_id.high;
    body->cluster_low = configure->cluster_id.low;
    body->members = arena_alloc(&message->arena, configure->member_count * sizeof(body->members[0]));
    if (body->members == NULL) {
        message_unref(message);
        return ERROR_OUT_OF_MEMORY;
    }
    memcpy(body->members, configure->members, configure->member_count * sizeof(body->members[0]));
    body->members_count = configure->member_count;
    gather_add(&configure->gather, &configure->creates[index].wait);
    rpc_call_start(&configure->creates[index], &configure->op, client->rpc, &to, message,
                   client->env->knobs.client_connect_timeout_us);
    return 0;
}

static void clear_creates(struct client_configure *configure)
{
    for (uint32_t i = 0; i < configure->count; i++)
        rpc_call_clear(&configure->creates[i]);
}

static enum op_result come_back(struct op *op, unsigned paused_stage)
{
    wait_timer_start(&configure_of(op)->timer, op, ADMIN_PAUSE_US);
    return op_wait(op, paused_stage);
}

static enum op_result look(struct op *op)
{
    struct client_configure *configure = configure_of(op);
    struct client *client = configure->client;

    clear_creates(configure);
    gather_init(&configure->gather, op, configure->count);
    for (uint32_t i = 0; i < configure->count; i++) {
        struct endpoint to = {client->coordinators[i].address, ENDPOINT_COORDINATOR};
        struct message *message;
        struct get_leader *body = MESSAGE_NEW(get_leader, &message);

        if (body == NULL)
            return op_finish(op, ERROR_OUT_OF_MEMORY);
        gather_add(&configure->gather, &configure->creates[i].wait);
        rpc_call_start(&configure->creates[i], op, client->rpc, &to, message, client->env->knobs.client_connect_timeout_us);
    }
    return op_wait(op, LOOKED);
}

/* Takes over the record that a coordinator shows; false if it is not the one seen before. */
static bool take_record(struct client_configure *configure, const struct get_leader_reply *reply)
{
    struct uid id = {reply->cluster_high, reply->cluster_low};

    if (configure->found)
        return uid_equal(id, configure->cluster_id);
    if (reply->members_count == 0 || reply->members_count > CLIENT_COORDINATORS_MAX)
        return false;
    configure->found = true;
    configure->cluster_id = id;
    configure->member_count = reply->members_count;
    memcpy(configure->members, reply->members, reply->members_count * sizeof(reply->members[0]));
    return true;
}

static enum op_result looked(struct op *op)
{
    struct client_configure *configure = configure_of(op);
    uint32_t holders = 0, answers = 0;

    configure->accepted = 0;
    for (uint32_t i = 0; i < configure->count; i++) {
        const struct rpc_call *call = &configure->creates[i];
        const struct get_leader_reply *reply;

        if (wait_under_way(&call->wait) || call->error != 0 || call->reply == NULL)
            continue;
        answers++;
        reply = MESSAGE_BODY(get_leader_reply, call->reply);
        if (reply->cluster_high == 0 && reply->cluster_low == 0)
            continue;
        if (!take_record(configure, reply))
            return op_finish(op, ERROR_INVALID_CLUSTER_ID);
        configure->accepted |= UINT32_C(1) << i;
        holders++;
    }
    if (holders > configure->count / 2)
        return op_move(op, FIND);
    if (answers < configure->count) /* one that can't be reached may hold a record that we must not contradict */
        return come_back(op, PAUSED_LOOK);
    return op_move(op, CREATE);
}

/* The record, to all that are not known to have it. */
static enum op_result send_record(struct op *op, unsigned next)
{
    struct client_configure *configure = configure_of(op);

    clear_creates(configure);
    gather_init(&configure->gather, op, configure->count - (uint32_t)__builtin_popcount(configure->accepted));
    for (uint32_t i = 0; i < configure->count; i++)
        if (!(configure->accepted & UINT32_C(1) << i) && send_create(configure, i) != 0)
            return op_finish(op, ERROR_OUT_OF_MEMORY);
    return op_wait(op, next);
}

static enum op_result create(struct op *op)
{
    return send_record(op, CREATED);
}

/* Another record is there: it becomes ours. False if it can't be. */
static bool adopt_record(struct client_configure *configure, const struct coordinator_create_reply *reply)
{
    struct uid id = {reply->cluster_high, reply->cluster_low};

    if (uid_is_none(id) || reply->members_count == 0 || reply->members_count > CLIENT_COORDINATORS_MAX)
        return false;
    if (configure->found && !uid_equal(id, configure->cluster_id))
        return false;
    configure->found = true;
    configure->accepted = 0;
    configure->cluster_id = id;
    configure->member_count = reply->members_count;
    memcpy(configure->members, reply->members, reply->members_count * sizeof(reply->members[0]));
    return true;
}

static enum op_result created(struct op *op)
{
    struct client_configure *configure = configure_of(op);
    const struct coordinator_create_reply *other = NULL;
    uint32_t accepted;

    for (uint32_t i = 0; i < configure->count; i++) {
        const struct rpc_call *call = &configure->creates[i];
        const struct coordinator_create_reply *reply;

        if (wait_under_way(&call->wait) || call->error != 0 || call->reply == NULL)
            continue;
        reply = MESSAGE_BODY(coordinator_create_reply, call->reply);
        if (reply->accepted)
            configure->accepted |= UINT32_C(1) << i;
        if (!reply->accepted && (!configure->found || !uid_equal((struct uid){reply->cluster_high, reply->cluster_low},
                                                                 configure->cluster_id)))
            other = reply;
    }
    if (other != NULL)
        return adopt_record(configure, other) ? come_back(op, PAUSED_CREATE) : op_finish(op, ERROR_INVALID_CLUSTER_ID);
    accepted = (uint32_t)__builtin_popcount(configure->accepted);
    if (accepted == configure->count || (configure->found && accepted > configure->count / 2))
        return op_move(op, FIND);
    return come_back(op, PAUSED_CREATE);
}

static enum op_result find_controller(struct op *op)
{
    struct client_configure *configure = configure_of(op);

    client_wait_controller(&configure->controller, op, configure->client);
    return op_wait(op, CREATE_DATABASE);
}

static enum op_result create_database(struct op *op)
{
    struct client_configure *configure = configure_of(op);
    struct client *client = configure->client;
    struct endpoint to = {client->controller, ENDPOINT_CONTROLLER};
    struct message *message;
    struct create_database *body;

    if (client->controller.port == 0)
        return come_back(op, PAUSED_FIND);
    body = MESSAGE_NEW(create_database, &message);
    if (body == NULL)
        return op_finish(op, ERROR_OUT_OF_MEMORY);
    *body = (struct create_database){configure->redundancy, configure->engine};
    rpc_call_start(&configure->create_database, op, client->rpc, &to, message, 0);
    return op_wait(op, DONE);
}

static enum op_result done_stage(struct op *op)
{
    struct client_configure *configure = configure_of(op);
    int error = configure->create_database.error;

    if (client_error_is_transport(error) || error == ERROR_OPERATION_OBSOLETE) {
        configure->unsure |= error != ERROR_CONNECTION_FAILED; /* it may have been done before its answer was lost */
        return come_back(op, PAUSED_FIND);
    }
    if (error == ERROR_CLIENT_INVALID_OPERATION && configure->unsure)
        error = 0;
    if (error != 0 || (uint32_t)__builtin_popcount(configure->accepted) == configure->count)
        return op_finish(op, error);
    return send_record(op, FILLED);
}

static enum op_result filled(struct op *op)
{
    return op_finish(op, 0); /* those that can't be reached now are found out by status */
}

static enum op_result paused_look(struct op *op)
{
    return op_move(op, LOOK);
}

static enum op_result paused_create(struct op *op)
{
    return op_move(op, CREATE);
}

static enum op_result paused_find(struct op *op)
{
    return op_move(op, FIND);
}

static void configure_ended(struct op *op)
{
    struct client_configure *configure = configure_of(op);

    clear_creates(configure);
    rpc_call_clear(&configure->create_database);
    client_call_cancel(&configure->controller);
    if (configure->call.under_way)
        client_call_end(&configure->call, op->error);
}

static const struct op_stage configure_stages[CONFIGURE_STAGES] = {
    [LOOK] = {"LOOK", look, OP_STAGE(LOOKED)},
    [LOOKED] = {"LOOKED", looked, OP_STAGE(CREATE) | OP_STAGE(FIND) | OP_STAGE(PAUSED_LOOK)},
    [CREATE] = {"CREATE", create, OP_STAGE(CREATED)},
    [CREATED] = {"CREATED", created, OP_STAGE(FIND) | OP_STAGE(PAUSED_CREATE)},
    [FIND] = {"FIND", find_controller, OP_STAGE(CREATE_DATABASE)},
    [CREATE_DATABASE] = {"CREATE_DATABASE", create_database, OP_STAGE(DONE) | OP_STAGE(PAUSED_FIND)},
    [DONE] = {"DONE", done_stage, OP_STAGE(PAUSED_FIND) | OP_STAGE(FILLED)},
    [FILLED] = {"FILLED", filled, 0},
    [PAUSED_LOOK] = {"PAUSED_LOOK", paused_look, OP_STAGE(LOOK)},
    [PAUSED_CREATE] = {"PAUSED_CREATE", paused_create, OP_STAGE(CREATE)},
    [PAUSED_FIND] = {"PAUSED_FIND", paused_find, OP_STAGE(FIND)},
};
static const struct op_type configure_type = {.name = "client_configure", .stages = configure_stages,
    .stage_count = CONFIGURE_STAGES, .queue = READY_COMMIT, .ended = configure_ended};

static void configure_cancelled(struct client_call *call)
{
    op_cancel(&container_of(call, struct client_configure, call)->op);
}

void client_configure_start(struct client_configure *configure, struct op *op, struct client *client, uint32_t redundancy,
                            uint32_t engine)
{
    client_call_begin(&configure->call, op, client->env, configure_cancelled);
    if (client->coordinator_count > CLIENT_COORDINATORS_MAX) {
        client_call_end(&configure->call, ERROR_CONNECTION_STRING_INVALID);
        return;
    }
    configure->client = client;
    configure->redundancy = redundancy;
    configure->engine = engine;
    configure->count = client->coordinator_count;
    configure->found = configure->unsure = false;
    configure->accepted = 0;
    draw_record(configure);
    op_start(&configure->op, &configure_type, &client->ops);
}

/* ---- status ---- */

enum { STATUS_FIND, STATUS_ASK, STATUS_ANSWERED, STATUS_STAGES };

static struct client_status *status_of(struct op *op)
{
    return container_of(op, struct client_status, op);
}

static enum op_result status_find(struct op *op)
{
    client_wait_controller(&status_of(op)->controller, op, status_of(op)->client);
    return op_wait(op, STATUS_ASK);
}

static enum op_result status_ask(struct op *op)
{
    struct client_status *status = status_of(op);
    struct client *client = status->client;
    struct endpoint to = {client->controller, ENDPOINT_CONTROLLER};
    struct message *message;

    if (client->controller.port == 0) {
        wait_timer_start(&status->timer, op, ADMIN_PAUSE_US);
        return op_wait(op, STATUS_FIND);
    }
    if (MESSAGE_NEW(get_status, &message) == NULL)
        return op_finish(op, ERROR_OUT_OF_MEMORY);
    rpc_call_start(&status->rpc, op, client->rpc, &to, message, client->env->knobs.client_request_timeout_us);
    return op_wait(op, STATUS_ANSWERED);
}

static enum op_result status_answered(struct op *op)
{
    struct client_status *status = status_of(op);
    int error = status->rpc.error;

    if (error == 0) {
        status->json.len = 0;
        error = bytes_buffer_append(&status->json, MESSAGE_BODY(get_status_reply, status->rpc.reply)->json);
        message_unref(status->reply);
        status->reply = message_ref(status->rpc.reply);
    } else if (client_error_is_transport(error)) {
        wait_timer_start(&status->timer, op, ADMIN_PAUSE_US);
        return op_wait(op, STATUS_FIND);
    }
    return op_finish(op, error);
}

static void status_ended(struct op *op)
{
    struct client_status *status = status_of(op);

    rpc_call_clear(&status->rpc);
    if (status->call.under_way)
        client_call_end(&status->call, op->error);
}

static const struct op_stage status_stages[STATUS_STAGES] = {
    [STATUS_FIND] = {"FIND", status_find, OP_STAGE(STATUS_ASK)},
    [STATUS_ASK] = {"ASK", status_ask, OP_STAGE(STATUS_FIND) | OP_STAGE(STATUS_ANSWERED)},
    [STATUS_ANSWERED] = {"ANSWERED", status_answered, OP_STAGE(STATUS_FIND)},
};
static const struct op_type status_type = {.name = "client_status", .stages = status_stages, .stage_count = STATUS_STAGES,
    .queue = READY_COMMIT, .ended = status_ended};

static void status_cancelled(struct client_call *call)
{
    op_cancel(&container_of(call, struct client_status, call)->op);
}

void client_status_start(struct client_status *status, struct op *op, struct client *client)
{
    client_call_begin(&status->call, op, client->env, status_cancelled);
    status->client = client;
    op_start(&status->op, &status_type, &client->ops);
}

void client_status_done(struct client_status *status)
{
    client_call_cancel(&status->call);
    bytes_buffer_done(&status->json);
    message_unref(status->reply);
    status->reply = NULL;
}

/* ---- reboot ---- */

enum { REBOOT_SEND, REBOOT_ANSWERED, REBOOT_STAGES };

static enum op_result reboot_send(struct op *op)
{
    struct client_reboot *reboot = container_of(op, struct client_reboot, op);
    struct endpoint to = {reboot->address, ENDPOINT_WORKER};
    struct message *message;

    if (MESSAGE_NEW(reboot_process, &message) == NULL)
        return op_finish(op, ERROR_OUT_OF_MEMORY);
    rpc_call_start(&reboot->rpc, op, reboot->client->rpc, &to, message, reboot->client->env->knobs.client_request_timeout_us);
    return op_wait(op, REBOOT_ANSWERED);
}

/* A process that ends at once has no time for an answer. */
static enum op_result reboot_answered(struct op *op)
{
    int error = container_of(op, struct client_reboot, op)->rpc.error;

    return op_finish(op, error == ERROR_REQUEST_MAYBE_DELIVERED ? 0 : error);
}

static void reboot_ended(struct op *op)
{
    struct client_reboot *reboot = container_of(op, struct client_reboot, op);

    rpc_call_clear(&reboot->rpc);
    if (reboot->call.under_way)
        client_call_end(&reboot->call, op->error);
}

static const struct op_stage reboot_stages[REBOOT_STAGES] = {
    [REBOOT_SEND] = {"SEND", reboot_send, OP_STAGE(REBOOT_ANSWERED)},
    [REBOOT_ANSWERED] = {"ANSWERED", reboot_answered, 0},
};
static const struct op_type reboot_type = {.name = "client_reboot", .stages = reboot_stages, .stage_count = REBOOT_STAGES,
    .queue = READY_COMMIT, .ended = reboot_ended};

static void reboot_cancelled(struct client_call *call)
{
    op_cancel(&container_of(call, struct client_reboot, call)->op);
}

void client_reboot_start(struct client_reboot *reboot, struct op *op, struct client *client, struct address address)
{
    client_call_begin(&reboot->call, op, client->env, reboot_cancelled);
    reboot->client = client;
    reboot->address = address;
    op_start(&reboot->op, &reboot_type, &client->ops);
}
