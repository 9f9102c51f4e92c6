#include "tests/unit/roles/pipeline.h"

/* ---- logs ---- */

static version_t push_version(const struct rpc_request *request)
{
    return ((const struct push *)request->message->body)->version;
}

static void acknowledge(struct rpc_request *request)
{
    struct message *reply;

    MESSAGE_NEW(done, &reply);
    rpc_reply(request, reply);
}

static void take_push(struct fake_log *log, struct rpc_request *request)
{
    const struct push *push = MESSAGE_BODY(push, request->message);

    if (push->version > log->end) {
        cr_assert_eq(push->prev_version, log->end);
        cr_assert_lt(log->push_count, PUSHES_KEPT);
        log->end = push->version;
        log->pushes[log->push_count++] = message_ref(request->message);
    }
    if (push->known_committed > log->known_committed)
        log->known_committed = push->known_committed;
    acknowledge(request);
}

static void take_waiting(struct fake_log *log)
{
    bool again = !log->holds;

    while (again) {
        again = false;
        list_each(node, after, &log->waiting) {
            struct rpc_request *request = list_entry(node, struct rpc_request, link);

            if (MESSAGE_BODY(push, request->message)->prev_version > log->end)
                continue;
            list_remove(node);
            take_push(log, request);
            again = true;
        }
    }
}

void fake_log_hold(struct fake_log *log, bool hold)
{
    log->holds = hold;
    take_waiting(log);
}

static void log_receive(void *ctx, struct rpc_request *request)
{
    struct fake_log *log = ctx;

    if (log->stopped) {
        rpc_fail(request, ERROR_TLOG_STOPPED);
    } else if (request->message->type == &message_type_confirm_epoch) {
        acknowledge(request);
    } else if (push_version(request) == 0) {
        log->bare++;
        log->known_committed = MESSAGE_BODY(push, request->message)->known_committed;
        rpc_drop(request);
    } else {
        list_push_back(&log->waiting, &request->link);
        take_waiting(log);
    }
}

const struct push *fake_log_push(const struct fake_log *log, version_t version)
{
    for (unsigned i = 0; i < log->push_count; i++)
        if (MESSAGE_BODY(push, log->pushes[i])->version == version)
            return log->pushes[i]->body;
    return NULL;
}

struct bytes_buffer fake_log_of_tag(const struct fake_log *log, version_t version, tag_t tag)
{
    const struct push *push = fake_log_push(log, version);
    struct bytes_buffer out = {0};

    cr_assert_not_null(push);
    for (uint32_t i = 0; i < push->sections_count; i++)
        for (uint32_t t = 0; t < push->sections[i].tags_count; t++)
            if (push->sections[i].tags[t] == tag)
                bytes_buffer_append(&out, push->sections[i].mutations);
    return out;
}

/* ---- asking ---- */

enum { ASK, HEAR };

static enum op_result ask_stage(struct op *op)
{
    struct ask *ask = container_of(op, struct ask, op);

    rpc_call_start(&ask->call, op, ask->pipeline->rpc, &ask->to, ask->request, 0);
    ask->request = NULL;
    return op_wait(op, HEAR);
}

static enum op_result hear_stage(struct op *op)
{
    return op_finish(op, 0);
}

static void ask_ended(struct op *op)
{
    struct ask *ask = container_of(op, struct ask, op);

    ask->done = true;
    ask->error = op->error != 0 ? op->error : ask->call.error;
    ask->reply = ask->error == 0 ? rpc_call_take(&ask->call) : NULL;
    rpc_call_clear(&ask->call);
    message_unref(ask->request);
    ask->request = NULL;
}

static const struct op_stage ask_stages[] = {
    [ASK] = {"ASK", ask_stage, OP_STAGE(HEAR)},
    [HEAR] = {"HEAR", hear_stage, 0},
};
static const struct op_type ask_type = {"ask", ask_stages, 2, READY_COMMIT, ask_ended};

static void ask_begin(struct pipeline *pipeline, struct ask *ask, struct endpoint to, struct message *request)
{
    *ask = (struct ask){.pipeline = pipeline, .request = request, .to = to};
    op_start(&ask->op, &ask_type, &pipeline->ops);
}

void ask_start(struct pipeline *pipeline, struct ask *ask, uint64_t endpoint, struct message *request)
{
    ask_begin(pipeline, ask, pipeline_endpoint(pipeline, endpoint), request);
}

static bool not_done(void *ctx)
{
    return !((struct ask *)ctx)->done;
}

const void *ask_wait(struct ask *ask)
{
    struct sim_world *world = ask->pipeline->world;

    sim_world_run_while(world, not_done, ask, world->now_us + 20 * SIM_SECOND_US);
    cr_assert_not(world->failed, "%s", world->why);
    cr_assert(ask->done, "no answer");
    return ask->reply == NULL ? NULL : ask->reply->body;
}

void ask_clear(struct ask *ask)
{
    message_unref(ask->reply);
    ask->reply = NULL;
}

const void *ask_now(struct pipeline *pipeline, struct ask *ask, uint64_t endpoint, struct message *request)
{
    const void *reply;

    ask_start(pipeline, ask, endpoint, request);
    reply = ask_wait(ask);
    cr_assert_eq(ask->error, 0, "error %d", ask->error);
    return reply;
}

static bool forever(void *ctx)
{
    (void)ctx;
    return true;
}

void pipeline_run(struct pipeline *pipeline, int64_t time_us)
{
    sim_world_run_while(pipeline->world, forever, NULL, pipeline->world->now_us + time_us);
    cr_assert_not(pipeline->world->failed, "%s", pipeline->world->why);
}

/* ---- processes ---- */

static unsigned node_of(const struct pipeline *self, uint64_t id)
{
    if (!self->spread || id >= ID_LOG)
        return NODE_TEST;
    return id >= ID_RESOLVER ? NODE_RESOLVERS : id >= ID_PROXY ? NODE_PROXIES : NODE_SEQUENCER;
}

struct endpoint pipeline_endpoint(const struct pipeline *self, uint64_t id)
{
    return (struct endpoint){self->nodes[node_of(self, id)].process->address, id};
}

static void recruit(void *ctx, struct rpc_request *request)
{
    struct node *node = ctx;
    struct pipeline *self = node->pipeline;
    uint16_t type = request->message->type->id;
    int error = ERROR_CLIENT_INVALID_OPERATION;

    if (type == MESSAGE_init_sequencer)
        error = sequencer_create(&node->context, request, &self->sequencer);
    else if (type == MESSAGE_init_grv_proxy)
        error = grv_proxy_create(&node->context, request, &self->grv);
    else if (type == MESSAGE_init_commit_proxy)
        error = commit_proxy_create(&node->context, request,
                                    &self->proxy[MESSAGE_BODY(init_commit_proxy, request->message)->role_id - ID_PROXY]);
    else if (type == MESSAGE_init_resolver)
        error = resolver_create(&node->context, request,
                                &self->resolver[MESSAGE_BODY(init_resolver, request->message)->role_id - ID_RESOLVER]);
    if (error != 0)
        rpc_fail(request, error);
}

static void role_ended(void *host, enum role_kind kind, uint64_t role_id, int error)
{
    struct pipeline *self = host;

    (void)kind;
    self->ended_count++;
    self->ended_id = role_id;
    self->ended_error = error;
}

static void start_test(struct pipeline *self, struct node *node)
{
    self->process = node->process;
    self->env = &node->process->env;
    self->rpc = node->rpc;
    op_list_init(&self->ops, self->env, self);
    for (unsigned i = 0; i < LOGS; i++)
        rpc_register(self->rpc, ID_LOG + i, log_receive, &self->logs[i]);
}

static int start(struct sim_process *process, void *ctx)
{
    struct node *node = ctx;
    struct rpc_options options = {.public_address = process->address, .types = message_types, .type_count = MESSAGE_ID_END};
    int error = rpc_create(&process->env, &options, &node->rpc);

    if (error == 0)
        error = rpc_listen(node->rpc);
    node->context = (struct role_context){
        .env = &process->env, .rpc = node->rpc, .ended = role_ended, .host = node->pipeline};
    rpc_register(node->rpc, ENDPOINT_WORKER, recruit, node);
    if (node == &node->pipeline->nodes[NODE_TEST])
        start_test(node->pipeline, node);
    return error;
}

static void drop_log(struct pipeline *self, struct fake_log *log)
{
    while (!list_empty(&log->waiting))
        rpc_fail(list_entry(list_pop_front(&log->waiting), struct rpc_request, link), ERROR_BROKEN_PROMISE);
    for (unsigned i = 0; i < log->push_count; i++)
        message_unref(log->pushes[i]);
    rpc_unregister(self->rpc, ID_LOG + log->index);
}

static void destroy_roles(struct pipeline *self, unsigned node)
{
    for (unsigned i = 0; i < MAX_PROXIES && node == node_of(self, ID_PROXY); i++)
        commit_proxy_destroy(self->proxy[i]);
    if (node == node_of(self, ID_GRV)) {
        grv_proxy_destroy(self->grv);
        sequencer_destroy(self->sequencer);
    }
    for (unsigned i = 0; i < MAX_RESOLVERS && node == node_of(self, ID_RESOLVER); i++)
        resolver_destroy(self->resolver[i]);
    for (unsigned i = 0; i < LOGS && node == NODE_TEST; i++)
        drop_log(self, &self->logs[i]);
}

static void kill_process(struct sim_process *process, void *ctx)
{
    struct node *node = ctx;
    unsigned index = (unsigned)(node - node->pipeline->nodes);

    (void)process;
    if (index == NODE_TEST)
        op_cancel_all(&node->pipeline->ops);
    destroy_roles(node->pipeline, index);
    rpc_unregister(node->rpc, ENDPOINT_WORKER);
    rpc_destroy(node->rpc);
}

static const struct sim_program program = {start, kill_process};

/* ---- recruitment ---- */

static struct wire_endpoint at(struct pipeline *self, uint64_t id)
{
    struct endpoint endpoint = pipeline_endpoint(self, id);

    return wire_of(&endpoint);
}

static void describe_logs(struct pipeline *self)
{
    static const char *const zones[LOGS] = {"a", "b", "b"};

    for (unsigned i = 0; i < LOGS; i++)
        self->log_refs[i] = (struct log_ref){.endpoint = at(self, ID_LOG + i), .zone = bytes_of_string(zones[i])};
    self->generation = (struct generation){.epoch = 1, .begin = RECOVERY_VERSION, .end = VERSION_MAX,
                                           .replication = self->replication, .logs = self->log_refs, .logs_count = LOGS};
}

static void recruit_now(struct pipeline *self, uint64_t id, struct message *message)
{
    struct ask ask;

    ask_begin(self, &ask, (struct endpoint){pipeline_endpoint(self, id).address, ENDPOINT_WORKER}, message);
    ask_wait(&ask);
    cr_assert_eq(ask.error, 0);
    ask_clear(&ask);
}

static void describe_resolvers(struct pipeline *self, struct role_ref *refs)
{
    static const char *const begins[MAX_RESOLVERS] = {"", "h", "p"};

    for (unsigned r = 0; r < self->resolvers; r++)
        refs[r] = (struct role_ref){ROLE_RESOLVER, at(self, ID_RESOLVER + r), bytes_of_string(begins[r])};
}

static void recruit_sequencer(struct pipeline *self)
{
    struct message *message;
    struct init_sequencer *init = MESSAGE_NEW(init_sequencer, &message);

    struct role_ref refs[MAX_RESOLVERS];

    describe_resolvers(self, refs);
    *init = (struct init_sequencer){.epoch = 1, .role_id = ID_SEQUENCER, .recovery_version = RECOVERY_VERSION,
                                    .resolvers = refs, .resolvers_count = self->resolvers, .proxy_count = self->proxies};
    recruit_now(self, ID_SEQUENCER, message);
}

static void recruit_grv(struct pipeline *self)
{
    struct message *message;
    struct init_grv_proxy *init = MESSAGE_NEW(init_grv_proxy, &message);

    *init = (struct init_grv_proxy){.epoch = 1, .role_id = ID_GRV, .sequencer = at(self, ID_SEQUENCER), .logs = self->generation};
    recruit_now(self, ID_GRV, message);
}

static void recruit_resolver(struct pipeline *self, unsigned i)
{
    struct message *message;
    struct init_resolver *init = MESSAGE_NEW(init_resolver, &message);

    *init = (struct init_resolver){
        .epoch = 1, .role_id = ID_RESOLVER + i, .recovery_version = RECOVERY_VERSION, .proxy_count = self->proxies == 0 ? 2 : self->proxies};
    recruit_now(self, ID_RESOLVER + i, message);
}

static void recruit_proxy(struct pipeline *self, unsigned i, struct bytes metadata)
{
    struct role_ref refs[MAX_RESOLVERS];
    struct message *message;
    struct init_commit_proxy *init = MESSAGE_NEW(init_commit_proxy, &message);

    describe_resolvers(self, refs);
    *init = (struct init_commit_proxy){.epoch = 1, .role_id = ID_PROXY + i, .sequencer = at(self, ID_SEQUENCER),
                                       .resolvers = refs, .resolvers_count = self->resolvers, .logs = self->generation,
                                       .recovery_version = RECOVERY_VERSION, .metadata = metadata,
                                       .proxy_count = self->proxies};
    recruit_now(self, ID_PROXY + i, message);
}

static void boot(struct pipeline *self)
{
    for (unsigned i = 0; i < (self->spread ? NODES : 1); i++) {
        struct node *node = &self->nodes[i];

        node->pipeline = self;
        node->process = sim_process_create(self->world, "pipeline", i, 4500, &program, node);
        sim_process_boot(node->process);
    }
}

static void init(struct pipeline *self, uint64_t seed, struct bytes metadata)
{
    self->replication = 2;
    self->world = sim_world_create(seed);
    for (unsigned i = 0; i < LOGS; i++) {
        self->logs[i] = (struct fake_log){.pipeline = self, .index = i, .end = RECOVERY_VERSION};
        list_init(&self->logs[i].waiting);
    }
    boot(self);
    describe_logs(self);
    recruit_sequencer(self);
    recruit_grv(self);
    for (unsigned i = 0; i < self->resolvers; i++)
        recruit_resolver(self, i);
    for (unsigned i = 0; i < self->proxies; i++)
        recruit_proxy(self, i, metadata);
}

void pipeline_init(struct pipeline *self, uint64_t seed, unsigned proxies, unsigned resolvers, struct bytes metadata)
{
    memset(self, 0, sizeof(*self));
    self->proxies = proxies;
    self->resolvers = resolvers;
    init(self, seed, metadata);
}

void pipeline_init_spread(struct pipeline *self, uint64_t seed, unsigned proxies, unsigned resolvers, struct bytes metadata)
{
    memset(self, 0, sizeof(*self));
    self->proxies = proxies;
    self->resolvers = resolvers;
    self->spread = true;
    init(self, seed, metadata);
}

void pipeline_done(struct pipeline *self)
{
    for (unsigned i = 0; i < (self->spread ? NODES : 1); i++) {
        self->nodes[i].process->stay_down = true;
        sim_process_stop(self->nodes[i].process, SIM_KILL);
    }
    sim_world_run_until(self->world, self->world->now_us + SIM_SECOND_US);
    cr_assert_not(self->world->failed, "%s", self->world->why);
    sim_world_destroy(self->world);
}

/* ---- transactions ---- */

static struct bytes point_table(struct arena *arena, const char *key)
{
    struct bytes_buffer table = {0};
    struct bytes copy = bytes_none();

    if (key == NULL)
        return copy;
    conflict_range_append_point(&table, bytes_of_string(key));
    arena_copy(arena, bytes_buffer_bytes(&table), &copy);
    bytes_buffer_done(&table);
    return copy;
}

struct message *commit_of(version_t read_version, unsigned flags, struct bytes mutations, const char *read, const char *write)
{
    struct message *message;
    struct commit *commit = MESSAGE_NEW(commit, &message);

    commit->read_version = read_version;
    commit->flags = flags;
    arena_copy(&message->arena, mutations, &commit->mutations);
    commit->read_conflicts = point_table(&message->arena, read);
    commit->write_conflicts = point_table(&message->arena, write);
    return message;
}

struct message *commit_set(const char *key, const char *value)
{
    struct bytes_buffer table = {0};
    struct message *message;

    put(&table, MUTATION_SET, key, value);
    message = commit_of(VERSION_NONE, 0, bytes_buffer_bytes(&table), NULL, key);
    bytes_buffer_done(&table);
    return message;
}

void put(struct bytes_buffer *out, enum mutation_type type, const char *a, const char *b)
{
    cr_assert_eq(mutation_append(out, type, bytes_of_string(a), bytes_of_string(b)), 0);
}

static void put_packed(struct bytes_buffer *out, struct bytes_buffer *key, const struct schema *schema, const void *body)
{
    struct bytes_buffer value = {0};

    message_encode(schema, body, &value);
    mutation_append(out, MUTATION_SET, bytes_buffer_bytes(key), bytes_buffer_bytes(&value));
    bytes_buffer_done(&value);
    bytes_buffer_done(key);
}

void put_server(struct bytes_buffer *out, uint64_t id, tag_t tag)
{
    struct server_value value = {.endpoint = {{1, 1}, id}, .tag = tag};
    struct bytes_buffer key = {0};

    system_key_server_list(&key, id);
    put_packed(out, &key, &schema_server_value, &value);
}

void put_shard(struct bytes_buffer *out, const char *begin, unsigned servers, const uint64_t *ids)
{
    struct key_servers_value value = {.source = ids, .source_count = servers};

    cr_assert_eq(key_servers_set(out, bytes_of_string(begin), &value), 0);
}

void put_owner(struct bytes_buffer *out, uint64_t id, const char *begin, const char *end, enum server_keys_state state)
{
    cr_assert_eq(server_keys_set(out, id, bytes_of_string(begin), bytes_of_string(end), state), 0);
}

struct bytes_buffer two_servers(void)
{
    static const uint64_t ids[] = {1, 2};
    struct bytes_buffer out = {0};

    put_server(&out, 1, 1);
    put_server(&out, 2, 2);
    put_shard(&out, "", 1, ids);
    put_shard(&out, "m", 2, ids);
    return out;
}
