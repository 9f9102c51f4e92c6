/* Life of the controller: registrations, descriptions, what the loss of a worker means.
 *
 * A worker is known from its first registration until the watch on its address fails. What it hosted is then lost at once: a
 * closed connection is the detection. The loss of a sequencer, commit proxy, resolver or log of the living epoch ends
 * the epoch (recovery.c); the loss of a GRV proxy alone recruits another (upkeep.c). A role that ended by itself is named in
 * its worker's next registration. A role is never taken for lost because a registration does not name it yet: registrations
 * and recruitment answers travel on different connections. */
#include "net/buggify.h"
#include "net/mem.h"
#include "roles/controller/controller_internal.h"
#include "txn/log_system.h"

static const struct description *described(const struct controller *controller)
{
    return controller->description == NULL ? NULL : MESSAGE_BODY(description, controller->description);
}

/* Descriptions are ordered by (epoch, term, number). */
static bool is_newer(const struct description *description, uint64_t epoch, uint64_t term, uint64_t number)
{
    if (description->epoch != epoch)
        return description->epoch > epoch;
    if (description->term != term)
        return description->term > term;
    return description->number > number;
}

struct endpoint controller_coordinator(const struct controller *controller)
{
    return (struct endpoint){rpc_address(controller->rpc), ENDPOINT_COORDINATOR};
}

const struct generation *controller_newest_generation(const struct coordinated_state *state)
{
    return state->generations_count == 0 ? NULL : &state->generations[state->generations_count - 1];
}

struct worker_info *controller_worker_at(const struct controller *controller, struct address address)
{
    list_each(node, after, &controller->workers) {
        struct worker_info *worker = list_entry(node, struct worker_info, link);

        if (address_equal(worker->address, address))
            return worker;
    }
    return NULL;
}

const struct hosted_role *controller_hosted(const struct controller *controller, const struct wire_endpoint *endpoint)
{
    struct worker_info *worker = controller_worker_at(controller, endpoint_of(endpoint).address);

    for (uint32_t i = 0; worker != NULL && i < worker->role_count; i++)
        if (worker->roles[i].id == endpoint->id && worker->roles[i].error.len == 0)
            return &worker->roles[i];
    return NULL;
}

int controller_state_set(struct controller *controller, const struct coordinated_state *state)
{
    struct arena arena = {0};
    struct coordinated_state copy;
    int error;

    if (!log_system_state_is_sound(state)) {
        TRACE(controller->env, SEVERITY_WARN_ALWAYS, "CoordinatedStateUnsound",
              {"WrittenEpoch", trace_int((int64_t)state->written_epoch)},
              {"Generations", trace_int(state->generations_count)});
        return ERROR_COORDINATED_STATE_CONFLICT;
    }
    error = message_copy_body(&schema_coordinated_state, state, &arena, &copy);
    assert(error == 0);
    arena_done(&controller->state_arena);
    controller->state_arena = arena;
    controller->state = copy;
    return 0;
}

/* ---- descriptions ---- */

static struct message *describe(struct controller *controller)
{
    struct message *message;
    struct description *d = MESSAGE_NEW(description, &message);
    const struct coordinated_state *state = &controller->state;
    struct role_ref singletons[SINGLETONS];
    struct description view = {
        .epoch = state->written_epoch,
        .term = controller->term,
        .number = ++controller->description_number,
        .cluster_high = state->cluster_high,
        .cluster_low = state->cluster_low,
        .controller = {{rpc_address(controller->rpc).ip, rpc_address(controller->rpc).port}, ENDPOINT_CONTROLLER},
        .recovery_transaction_version = state->recovery_transaction_version,
        .roles = state->roles,
        .roles_count = state->roles_count,
        .generations = state->generations,
        .generations_count = state->generations_count,
        .coordinators = controller->coordinators,
        .coordinators_count = controller->coordinator_count,
        .singletons = singletons,
        .singletons_count = singletons_list(controller, singletons),
    };
    int error = message_copy_body(&schema_description, &view, &message->arena, d);

    assert(error == 0);
    return message;
}

static void answer_worker(struct controller *controller, struct worker_info *worker)
{
    struct rpc_request *request = worker->request;

    if (request == NULL)
        return;
    worker->request = NULL;
    rpc_reply(request, message_ref(controller->description));
}

void controller_publish(struct controller *controller)
{
    struct rpc_request *request;

    assert(controller->state.written_epoch > 0);
    message_unref(controller->description);
    controller->description = describe(controller);
    list_each(node, after, &controller->workers)
        answer_worker(controller, list_entry(node, struct worker_info, link));
    while (!list_empty(&controller->description_waiters)) {
        request = list_entry(list_pop_front(&controller->description_waiters), struct rpc_request, link);
        rpc_reply(request, message_ref(controller->description));
    }
    controller->description_waiter_count = 0;
}

void controller_set_coordinators(struct controller *controller, const struct coordinator_member *members, uint32_t count)
{
    bool same = count == controller->coordinator_count;

    assert(count <= COORDINATORS_MAX);
    for (uint32_t i = 0; i < count && same; i++)
        same = memcmp(&members[i], &controller->coordinators[i], sizeof(members[i])) == 0;
    if (same)
        return;
    if (count > 0)
        memcpy(controller->coordinators, members, count * sizeof(*members));
    controller->coordinator_count = count;
    if (controller->description != NULL)
        controller_publish(controller);
}

static void forget_dead_waiters(struct controller *controller)
{
    list_each(node, after, &controller->description_waiters) {
        struct rpc_request *request = list_entry(node, struct rpc_request, link);

        if (rpc_request_alive(request))
            continue;
        PROBE(controller->env, "one who waited for a description has gone");
        list_remove(&request->link);
        rpc_drop(request);
        controller->description_waiter_count--;
    }
    controller->description_sweep_at = 2 * controller->description_waiter_count + 1;
}

static void on_get_description(struct controller *controller, struct rpc_request *request)
{
    const struct get_description *known = MESSAGE_BODY(get_description, request->message);
    const struct description *d = described(controller);

    if (d != NULL && (is_newer(d, known->known_epoch, known->known_term, known->known_number) ||
                      BUGGIFY_ONE_IN(controller->env, 16, "a client is told a description that it knows"))) {
        rpc_reply(request, message_ref(controller->description));
        return;
    }
    if (controller->description_waiter_count >= controller->description_sweep_at)
        forget_dead_waiters(controller);
    if (controller->description_waiter_count >= DESCRIPTION_WAITERS_MAX ||
        BUGGIFY_ONE_IN(controller->env, 32, "too many clients wait for a description")) {
        PROBE(controller->env, "a client that would wait for a description is sent away");
        rpc_fail(request, ERROR_SERVER_REQUEST_QUEUE_FULL); /* it asks again after a pause */
        return;
    }
    list_push_back(&controller->description_waiters, &request->link);
    controller->description_waiter_count++;
}

/* ---- losses ---- */

/* Takes a lost GRV proxy out of the epoch's roles; upkeep recruits another. */
static void drop_role(struct controller *controller, uint32_t index)
{
    struct coordinated_state *state = &controller->state;

    for (uint32_t i = index; i + 1 < state->roles_count; i++)
        state->roles[i] = state->roles[i + 1];
    state->roles_count--;
}

/* What an upkeep under way brings back from the coordinators would still name the lost one: it starts again from what is
 * left. Its write may have been applied all the same; the next one comes after it. */
static void restart_upkeep(struct controller *controller)
{
    if (controller->upkeep != NULL)
        op_cancel(controller->upkeep);
}

void controller_roles_lost(struct controller *controller, struct address address, uint64_t id, const char *cause)
{
    struct coordinated_state *state = &controller->state;
    const struct generation *newest = controller_newest_generation(state);
    bool dropped = false, another = false;

    if (controller->phase != CONTROLLER_ACCEPTING)
        return; /* recovery and adoption look for themselves */
    for (uint32_t i = 0; i < state->roles_count; i++) {
        struct endpoint endpoint = endpoint_of(&state->roles[i].endpoint);

        if (!address_equal(endpoint.address, address) || (id != 0 && endpoint.id != id))
            continue;
        if (state->roles[i].kind != ROLE_GRV_PROXY) {
            controller_recover(controller, cause);
            return;
        }
        PROBE(controller->env, "a GRV proxy alone is lost: the epoch goes on");
        restart_upkeep(controller);
        drop_role(controller, i--);
        dropped = true;
    }
    for (uint32_t i = 0; newest != NULL && i < newest->logs_count; i++) {
        struct endpoint endpoint = endpoint_of(&newest->logs[i].endpoint);

        if (address_equal(endpoint.address, address) && (id == 0 || endpoint.id == id)) {
            controller_recover(controller, cause);
            return;
        }
    }
    for (uint32_t i = 0; i < state->roles_count; i++)
        another |= state->roles[i].kind == ROLE_GRV_PROXY;
    if (dropped && another && controller->description != NULL)
        controller_publish(controller); /* there may be no place for another: nobody should go on asking the lost one */
    upkeep_look(controller);
}

static void worker_free(struct worker_info *worker, int error)
{
    list_remove(&worker->link);
    rpc_watch_cancel(&worker->watch);
    if (worker->request != NULL)
        rpc_fail(worker->request, error);
    arena_done(&worker->arena);
    mem_free(worker);
}

static void worker_lost(struct controller *controller, struct worker_info *worker, const char *cause)
{
    struct address address = worker->address;

    TRACE(controller->env, SEVERITY_WARN, "WorkerLost", {"Address", trace_addr(address)}, {"Cause", trace_str(cause)},
          {"Class", trace_str(process_class_name(worker->process_class))});
    list_remove(&worker->link);
    controller->worker_count--;
    workers_changed(controller);
    recovery_roles_lost(controller, address, 0);
    worker_free(worker, ERROR_CONNECTION_FAILED); /* if it lives, it registers again */
    singletons_worker_lost(controller, address);
    controller_roles_lost(controller, address, 0, cause);
}

static void watch_failed(struct rpc_watch *watch, int error)
{
    struct worker_info *worker = container_of(watch, struct worker_info, watch);

    (void)error;
    worker_lost(worker->controller, worker, "the connection to its process failed");
}

/* ---- registrations ---- */

static struct known_server *find_server(const struct controller *controller, uint64_t id)
{
    for (uint32_t i = 0; i < controller->server_count; i++)
        if (controller->servers[i].id == id)
            return &controller->servers[i];
    return NULL;
}

static void note_durable(struct controller *controller, uint64_t server_id, version_t version)
{
    struct known_server *server = find_server(controller, server_id);

    if (server != NULL && version > server->durable)
        server->durable = version;
}

/* A worker registered a storage server: where it is, and how far. */
static void note_storage(struct controller *controller, const struct worker_info *worker, const struct hosted_role *role)
{
    struct known_server *server = find_server(controller, role->id);

    if (server != NULL)
        server->address = worker->address;
    note_durable(controller, role->id, role->version);
}

/* Copies a registration into the worker's arena. */
static void worker_fill(struct worker_info *worker, const struct register_worker *r)
{
    struct arena arena = {0};
    struct register_worker *copy = arena_alloc(&arena, sizeof(*copy));
    int error = message_copy_body(&schema_register_worker, r, &arena, copy);

    assert(error == 0);
    arena_done(&worker->arena);
    worker->arena = arena;
    worker->sequence = copy->sequence;
    worker->own_class = copy->process_class;
    worker->pid = copy->pid;
    worker->zone = copy->zone;
    worker->machine = copy->machine;
    worker->rack = copy->rack;
    worker->hall = copy->hall;
    worker->data_center = copy->data_center;
    worker->command_line = copy->command_line;
    worker->version_text = copy->version_text;
    worker->roles = copy->roles;
    worker->role_count = copy->roles_count;
}

static struct worker_info *worker_add(struct controller *controller, const struct register_worker *r)
{
    struct worker_info *worker = mem_zalloc(sizeof(*worker));

    worker->controller = controller;
    worker->address = (struct address){r->address.ip, r->address.port};
    worker->worker_id = r->worker_id;
    worker->watch.failed = watch_failed;
    list_push_back(&controller->workers, &worker->link);
    controller->worker_count++;
    controller->newest_worker_us = env_now_us(controller->env);
    rpc_watch_start(controller->rpc, &worker->watch, worker->address);
    TRACE(controller->env, SEVERITY_INFO, "WorkerRegistered", {"Address", trace_addr(worker->address)},
          {"Class", trace_str(process_class_name(r->process_class))}, {"Zone", trace_bytes(r->zone)},
          {"Roles", trace_int(r->roles_count)});
    return worker;
}

static void look_at_roles(struct controller *controller, struct worker_info *worker)
{
    uint64_t sequence = worker->sequence;

    for (uint32_t i = 0; i < worker->role_count; i++) {
        const struct hosted_role *role = &worker->roles[i];

        if (role->kind == ROLE_STORAGE)
            note_storage(controller, worker, role);
        if (role->error.len > 0)
            recovery_roles_lost(controller, worker->address, role->id);
        if (role->error.len > 0)
            controller_roles_lost(controller, worker->address, role->id, "a role ended by itself");
        assert(worker->sequence == sequence);
    }
}

static bool registration_is_valid(const struct register_worker *r)
{
    return r->worker_id != 0 && r->address.port != 0 && r->address.port <= UINT16_MAX && r->process_class < CLASS_COUNT &&
           r->roles_count <= 1000 && r->zone.len <= LOCALITY_BYTES_MAX && r->rack.len <= LOCALITY_BYTES_MAX &&
           r->hall.len <= LOCALITY_BYTES_MAX && r->data_center.len <= LOCALITY_BYTES_MAX;
}

static void on_register(struct controller *controller, struct rpc_request *request)
{
    const struct register_worker *r = MESSAGE_BODY(register_worker, request->message);
    struct address address = {r->address.ip, r->address.port};
    struct worker_info *worker = controller_worker_at(controller, address);
    uint64_t known_term = r->known_term, known_number = r->known_number; /* `r` goes with the answer */
    const struct description *d;
    enum process_class was;

    if (BUGGIFY_ONE_IN(controller->env, 32, "a controller refuses a registration")) {
        rpc_fail(request, ERROR_SERVER_REQUEST_QUEUE_FULL);
        return;
    }
    if (!registration_is_valid(r) || (worker == NULL && controller->worker_count >= WORKERS_MAX)) {
        rpc_fail(request, ERROR_CLIENT_INVALID_OPERATION);
        return;
    }
    if (worker != NULL && worker->worker_id != r->worker_id) {
        PROBE(controller->env, "a process is back before its death was noticed");
        worker_lost(controller, worker, "its process was started again");
        worker = NULL;
    }
    if (worker != NULL && BUGGIFY_ONE_IN(controller->env, 100, "a worker that registers again counts as lost before")) {
        worker_lost(controller, worker, "the simulator wants it lost");
        worker = NULL;
    }
    if (worker != NULL && r->sequence < worker->sequence) {
        PROBE(controller->env, "a registration comes after a later one");
        rpc_fail(request, ERROR_OPERATION_OBSOLETE);
        return;
    }
    if (worker == NULL) {
        worker = worker_add(controller, r);
        better_look(controller);
        was = CLASS_COUNT;
    } else
        was = worker->process_class;
    worker_fill(worker, r);
    settings_of_worker(controller, worker);
    if (worker->process_class != was)
        workers_changed(controller);
    if (worker->request != NULL)
        rpc_fail(worker->request, ERROR_OPERATION_OBSOLETE);
    worker->request = request;
    d = described(controller);
    if (d != NULL && (is_newer(d, r->known_epoch, r->known_term, r->known_number) ||
                      BUGGIFY_ONE_IN(controller->env, 16, "a worker is told a description that it knows")))
        answer_worker(controller, worker);
    look_at_roles(controller, worker);
    adoption_workers_changed(controller);
    recovery_workers_changed(controller);
    singletons_registered(controller, worker, known_term, known_number);
    upkeep_look(controller);
}

/* What the workers host says how far it is durable. */
static void note_hosted(struct controller *controller)
{
    list_each(node, after, &controller->workers) {
        struct worker_info *worker = list_entry(node, struct worker_info, link);

        for (uint32_t i = 0; i < worker->role_count; i++)
            if (worker->roles[i].kind == ROLE_STORAGE)
                note_storage(controller, worker, &worker->roles[i]);
    }
}

static bool names(const struct storage_servers *m, uint64_t id)
{
    for (uint32_t i = 0; i < m->ids_count; i++)
        if (m->ids[i] == id)
            return true;
    return false;
}

/* The epoch began with the servers of its metadata; a list from before that, or before one that we heard, says nothing new. A new server is
 * waited for until it says how far it is. */
static void on_storage_servers(struct controller *controller, struct rpc_request *request)
{
    const struct storage_servers *m = MESSAGE_BODY(storage_servers, request->message);
    struct message *reply;
    uint32_t kept = 0;

    if (controller->phase != CONTROLLER_ACCEPTING || m->ids_count == 0 || m->ids_count > STORAGE_SERVERS_MAX) {
        rpc_fail(request, m->ids_count == 0 || m->ids_count > STORAGE_SERVERS_MAX ? ERROR_CLIENT_INVALID_OPERATION
                                                                                   : ERROR_OPERATION_OBSOLETE);
        return;
    }
    if (m->version >= controller->state.recovery_transaction_version && m->version >= controller->servers_version) {
        controller->servers_version = m->version;
        for (uint32_t i = 0; i < controller->server_count; i++)
            if (names(m, controller->servers[i].id))
                controller->servers[kept++] = controller->servers[i];
        if (kept < controller->server_count)
            PROBE(controller->env, "the controller waits no more for a storage server that was removed");
        controller->server_count = kept;
        for (uint32_t i = 0; i < m->ids_count && controller->server_count < STORAGE_SERVERS_MAX; i++)
            if (find_server(controller, m->ids[i]) == NULL)
                controller->servers[controller->server_count++] = (struct known_server){.id = m->ids[i]};
        note_hosted(controller);
    }
    (void)MESSAGE_NEW(done, &reply);
    rpc_reply(request, reply);
    upkeep_look(controller);
}

static void on_storage_durable(struct controller *controller, struct rpc_request *request)
{
    const struct storage_durable *m = MESSAGE_BODY(storage_durable, request->message);

    if (!BUGGIFY(controller->env, "a controller does not hear how far a storage server is durable"))
        note_durable(controller, m->server_id, m->version);
    rpc_drop(request);
    upkeep_look(controller);
}

/* ---- the database ---- */

static void answer_create(struct controller *controller, int error)
{
    while (!list_empty(&controller->create_requests)) {
        struct rpc_request *request =
            list_entry(list_pop_front(&controller->create_requests), struct rpc_request, link);
        struct message *reply;

        if (error != 0) {
            rpc_fail(request, error);
            continue;
        }
        (void)MESSAGE_NEW(done, &reply);
        rpc_reply(request, reply);
    }
}

static void on_create_database(struct controller *controller, struct rpc_request *request)
{
    const struct create_database *m = MESSAGE_BODY(create_database, request->message);

    if (m->redundancy < 1 || m->redundancy > LOG_REPLICATION_MAX ||
        (m->engine != ENGINE_LMDB && m->engine != ENGINE_MEMORY)) {
        rpc_fail(request, ERROR_INVALID_OPTION_VALUE);
        return;
    }
    if (controller->phase != CONTROLLER_READING && controller->state.written_epoch > 0) {
        rpc_fail(request, ERROR_CLIENT_INVALID_OPERATION);
        return;
    }
    list_push_back(&controller->create_requests, &request->link);
    if (controller->creating)
        return;
    controller->creating = true;
    controller->configuration = (struct configuration){.replication = m->redundancy,
                                                       .engine = m->engine,
                                                       .logs = 3,
                                                       .commit_proxies = 1,
                                                       .grv_proxies = 1,
                                                       .resolvers = 1};
    if (controller->phase == CONTROLLER_NO_DATABASE)
        controller_recover(controller, "configure new");
}

void controller_refuse_create(struct controller *controller)
{
    controller->creating = false;
    answer_create(controller, ERROR_CLIENT_INVALID_OPERATION);
}

void controller_read_metadata(struct controller *controller, const struct kv_map *metadata)
{
    struct bytes key = KEY_SERVER_LIST_PREFIX, at, value;
    struct arena arena = {0};

    (void)settings_read(controller, metadata);
    controller->server_count = 0;
    controller->servers_version = 0;
    while (kv_map_at_or_after(metadata, key, &at, &value)) {
        struct server_value server;
        uint64_t id;

        if (!bytes_starts_with(at, KEY_SERVER_LIST_PREFIX))
            break;
        if (system_key_parse_server_list(at, &id) && controller->server_count < STORAGE_SERVERS_MAX &&
            message_decode(&schema_server_value, value, &arena, &server) == 0)
            controller->servers[controller->server_count++] = (struct known_server){id, endpoint_of(&server.endpoint).address, 0};
        if (key_after(&arena, at, &key) != 0)
            break;
    }
    arena_done(&arena);
    note_hosted(controller);
}

/* ---- phases ---- */

void controller_recover(struct controller *controller, const char *cause)
{
    if (controller->recovery != NULL)
        return;
    env_timer_cancel(controller->env, &controller->retry);
    settings_watch_stop(controller);
    if (controller->upkeep != NULL)
        op_cancel(controller->upkeep);
    if (controller->phase != CONTROLLER_RECOVERING)
        controller->recovery_started_us = env_now_us(controller->env);
    controller->phase = CONTROLLER_RECOVERING;
    controller->recovery_cause = cause;
    controller->recoveries++;
    TRACE(controller->env, SEVERITY_INFO, "RecoveryStarted", {"Cause", trace_str(cause)},
          {"Epoch", trace_int((int64_t)controller->state.written_epoch)});
    recovery_start(controller, cause);
}

static void retry_fired(struct env_timer *timer)
{
    struct controller *controller = container_of(timer, struct controller, retry);

    controller_recover(controller, controller->recovery_cause);
}

static void upkeep_retry_fired(struct env_timer *timer)
{
    upkeep_look(container_of(timer, struct controller, upkeep_retry));
}

void controller_recover_later(struct controller *controller, const char *cause)
{
    assert(controller->recovery == NULL);
    controller->recovery_cause = cause;
    controller->phase = CONTROLLER_RECOVERING;
    env_timer_start(controller->env, &controller->retry,
                    env_now_us(controller->env) + controller->env->knobs.controller_retry_delay_us);
}

void controller_accepting(struct controller *controller)
{
    controller->phase = CONTROLLER_ACCEPTING;
    controller->accepting_since_us = env_now_us(controller->env);
    controller->waiting_for[0] = '\0';
    controller->creating = false;
    controller_publish(controller);
    answer_create(controller, 0);
    TRACE(controller->env, SEVERITY_INFO, "AcceptingCommits", {"Epoch", trace_int((int64_t)controller->state.written_epoch)},
          {"Term", trace_int((int64_t)controller->term)}, {"Generations", trace_int(controller->state.generations_count)},
          {"TookUs", trace_int(controller->accepting_since_us - controller->recovery_started_us)});
    settings_watch_start(controller);
    better_look(controller);
    upkeep_look(controller);
    singletons_look(controller);
}

/* ---- life ---- */

static void on_request(void *ctx, struct rpc_request *request)
{
    struct controller *controller = ctx;

    switch (request->message->type->id) {
    case MESSAGE_register_worker:
        on_register(controller, request);
        break;
    case MESSAGE_get_description:
        on_get_description(controller, request);
        break;
    case MESSAGE_create_database:
        on_create_database(controller, request);
        break;
    case MESSAGE_storage_durable:
        on_storage_durable(controller, request);
        break;
    case MESSAGE_storage_servers:
        on_storage_servers(controller, request);
        break;
    case MESSAGE_get_workers:
        workers_asked(controller, request);
        break;
    case MESSAGE_get_status:
        status_start(controller, request);
        break;
    default:
        rpc_fail(request, ERROR_UNSUPPORTED_OPERATION);
    }
}

int controller_create(const struct role_context *context, uint64_t term, struct controller **ret_controller)
{
    struct controller *controller = mem_zalloc(sizeof(*controller));

    if (controller == NULL)
        return ERROR_OUT_OF_MEMORY;
    controller->servers = mem_zalloc(STORAGE_SERVERS_MAX * sizeof(*controller->servers));
    if (controller->servers == NULL) {
        mem_free(controller);
        return ERROR_OUT_OF_MEMORY;
    }
    controller->context = *context;
    controller->env = context->env;
    controller->rpc = context->rpc;
    controller->term = term;
    controller->retry.fire = retry_fired;
    controller->upkeep_retry.fire = upkeep_retry_fired;
    controller->better.fire = better_fired;
    controller->recovery_started_us = controller->started_us = env_now_us(context->env);
    controller->recovery_cause = "a new leader";
    op_list_init(&controller->ops, context->env, controller);
    list_init(&controller->workers);
    list_init(&controller->description_waiters);
    list_init(&controller->workers_waiters);
    list_init(&controller->create_requests);
    list_init(&controller->settings_watches);
    singletons_init(controller);
    rpc_register(context->rpc, ENDPOINT_CONTROLLER, on_request, controller);
    TRACE(context->env, SEVERITY_INFO, "ControllerStarted", {"Term", trace_int((int64_t)term)});
    adoption_start(controller);
    *ret_controller = controller;
    return 0;
}

void controller_destroy(struct controller *controller)
{
    if (controller == NULL)
        return;
    rpc_unregister(controller->rpc, ENDPOINT_CONTROLLER);
    env_timer_cancel(controller->env, &controller->retry);
    env_timer_cancel(controller->env, &controller->upkeep_retry);
    env_timer_cancel(controller->env, &controller->better);
    op_cancel_all(&controller->ops);
    singletons_done(controller);
    assert(controller->recovery == NULL && controller->adoption == NULL && controller->upkeep == NULL);
    list_each(node, after, &controller->workers)
        worker_free(list_entry(node, struct worker_info, link), ERROR_BROKEN_PROMISE);
    workers_done(controller);
    while (!list_empty(&controller->description_waiters))
        rpc_fail(list_entry(list_pop_front(&controller->description_waiters), struct rpc_request, link),
                 ERROR_BROKEN_PROMISE);
    answer_create(controller, ERROR_BROKEN_PROMISE);
    message_unref(controller->description);
    arena_done(&controller->state_arena);
    arena_done(&controller->settings_arena);
    kv_map_destroy(controller->settings);
    mem_free(controller->servers);
    mem_free(controller);
}

const struct description *controller_description(const struct controller *controller)
{
    return described(controller);
}

bool controller_accepts_commits(const struct controller *controller)
{
    return controller->phase == CONTROLLER_ACCEPTING;
}

bool controller_knows(const struct controller *controller, struct address address, uint64_t worker_id)
{
    const struct worker_info *info = controller_worker_at(controller, address);

    return info != NULL && info->worker_id == worker_id;
}

void controller_status(const struct controller *controller, struct role_status *status, struct arena *arena)
{
    role_metric(status, arena, "workers", controller->worker_count);
    role_metric(status, arena, "recoveries", (int64_t)controller->recoveries);
    role_metric(status, arena, "generations", controller->state.generations_count);
}
