#include "tests/unit/roles/storage_lab.h"

#include <stdio.h>

#include "sim/buggify.h"

/* ---- the stream and the model ---- */

struct bytes lab_key(unsigned key, char out[1200])
{
    size_t len = (size_t)snprintf(out, 1200, "k%02u", key);

    if (key % 10 == 3) { /* longer than LMDB's keys */
        memset(out + len, 'x', 600 + key);
        len += 600 + key;
    }
    return bytes_of(out, len);
}

static void note(struct lab *lab, unsigned key, version_t version, bool present, struct bytes value)
{
    struct lab_history *history = &lab->histories[key];
    struct lab_state *state;

    if (history->count == history->capacity) {
        history->capacity = history->capacity == 0 ? 16 : history->capacity * 2;
        history->states = mem_realloc(history->states, history->capacity * sizeof(*history->states));
    }
    state = &history->states[history->count++];
    *state = (struct lab_state){.version = version, .present = present, .len = (uint8_t)value.len};
    if (value.len > 0)
        memcpy(state->bytes, value.ptr, value.len);
}

const struct lab_state *lab_model(struct lab *lab, unsigned key, version_t version)
{
    static const struct lab_state absent;
    const struct lab_history *history = &lab->histories[key];
    size_t i = history->count;

    while (i > 0 && history->states[i - 1].version > version)
        i--;
    return i == 0 ? &absent : &history->states[i - 1];
}

static uint64_t draw(struct lab *lab, uint64_t below)
{
    return sim_random_below(&lab->world->workload, below);
}

static void answer_waiting(struct lab *lab);

void lab_push(struct lab *lab, version_t version, struct bytes_buffer *table)
{
    cr_assert_gt(version, lab->newest);
    if (lab->stream_count == lab->stream_capacity) {
        lab->stream_capacity = lab->stream_capacity == 0 ? 64 : lab->stream_capacity * 2;
        lab->stream = mem_realloc(lab->stream, lab->stream_capacity * sizeof(*lab->stream));
    }
    lab->stream[lab->stream_count++] = (struct lab_version){version, *table};
    lab->newest = version;
    answer_waiting(lab);
}

void lab_assign(struct bytes_buffer *table, struct bytes begin, struct bytes end, enum server_keys_state state)
{
    struct server_keys_value value = {.state = state, .end = end};
    struct bytes_buffer packed = {0};

    cr_assert_eq(message_encode(&schema_server_keys_value, &value, &packed), 0);
    cr_assert_eq(mutation_append(table, MUTATION_PRIVATE_ASSIGN, begin, bytes_buffer_bytes(&packed)), 0);
    bytes_buffer_done(&packed);
}

void lab_commit(struct lab *lab, version_t known_committed)
{
    if (known_committed > lab->known_committed)
        lab->known_committed = known_committed;
    answer_waiting(lab);
}

static void push_atomic(struct lab *lab, struct bytes_buffer *table, version_t version, unsigned key)
{
    const struct lab_state *old = lab_model(lab, key, version);
    char text[1200];
    uint8_t operand[8];
    uint64_t sum = draw(lab, 1000);

    put_le64(operand, sum << draw(lab, 40));
    if (draw(lab, 2) == 0) {
        uint8_t before[8] = {0};

        if (old->present)
            memcpy(before, old->bytes, old->len < 8 ? old->len : 8);
        sum = get_le64(before) + get_le64(operand);
        cr_assert_eq(mutation_append(table, MUTATION_ADD, lab_key(key, text), bytes_of(operand, 8)), 0);
        put_le64(operand, sum);
        note(lab, key, version, true, bytes_of(operand, 8));
        return;
    }
    cr_assert_eq(mutation_append(table, MUTATION_BYTE_MAX, lab_key(key, text), bytes_of(operand, 8)), 0);
    if (!old->present || bytes_compare(bytes_of(old->bytes, old->len), bytes_of(operand, 8)) < 0)
        note(lab, key, version, true, bytes_of(operand, 8));
}

static void push_mutation(struct lab *lab, struct bytes_buffer *table, version_t version)
{
    unsigned key = (unsigned)draw(lab, LAB_KEYS), end = key + 1 + (unsigned)draw(lab, LAB_KEYS - key);
    uint8_t value[LAB_VALUE_MAX];
    char text[1200], end_text[1200];
    struct bytes bytes;

    switch (draw(lab, LAB_DRAWS)) {
    case 0:
        for (unsigned i = key; i < end; i++)
            note(lab, i, version, false, bytes_none());
        cr_assert_eq(mutation_append(table, MUTATION_CLEAR_RANGE, lab_key(key, text),
                                     end == LAB_KEYS ? BYTES_LITERAL("k99") : lab_key(end, end_text)), 0);
        break;
    case 1:
    case 2:
        push_atomic(lab, table, version, key);
        break;
    default:
        bytes = bytes_of(value, 1 + draw(lab, LAB_VALUE_MAX));
        for (size_t i = 0; i < bytes.len; i++)
            value[i] = (uint8_t)draw(lab, 256);
        note(lab, key, version, true, bytes);
        cr_assert_eq(mutation_append(table, MUTATION_SET, lab_key(key, text), bytes), 0);
    }
}

void lab_push_random(struct lab *lab, version_t step)
{
    struct bytes_buffer table = {0};
    version_t version = lab->newest + step;

    for (uint64_t i = draw(lab, 6); i > 0; i--)
        push_mutation(lab, &table, version);
    lab_push(lab, version, &table);
}

void lab_push_set(struct lab *lab, version_t step, unsigned key, const char *value)
{
    struct bytes_buffer table = {0};
    char text[1200];

    cr_assert_eq(mutation_append(&table, MUTATION_SET, lab_key(key, text), bytes_of_string(value)), 0);
    note(lab, key, lab->newest + step, true, bytes_of_string(value));
    lab_push(lab, lab->newest + step, &table);
}

void lab_push_add(struct lab *lab, version_t step, unsigned key)
{
    const struct lab_state *old = lab_model(lab, key, lab->newest);
    uint8_t one[8] = {1}, sum[8] = {0};
    struct bytes_buffer table = {0};
    char text[1200];

    if (old->present)
        memcpy(sum, old->bytes, old->len < 8 ? old->len : 8);
    put_le64(sum, get_le64(sum) + 1);
    cr_assert_eq(mutation_append(&table, MUTATION_ADD, lab_key(key, text), bytes_of(one, 8)), 0);
    note(lab, key, lab->newest + step, true, bytes_of(sum, 8));
    lab_push(lab, lab->newest + step, &table);
}

void lab_push_clear(struct lab *lab, version_t step, unsigned begin, unsigned end)
{
    struct bytes_buffer table = {0};
    char text[1200], end_text[1200];

    for (unsigned key = begin; key < end; key++)
        note(lab, key, lab->newest + step, false, bytes_none());
    cr_assert_eq(mutation_append(&table, MUTATION_CLEAR_RANGE, lab_key(begin, text),
                                 end == LAB_KEYS ? BYTES_LITERAL("k99") : lab_key(end, end_text)), 0);
    lab_push(lab, lab->newest + step, &table);
}

void lab_push_empty(struct lab *lab, version_t step)
{
    struct bytes_buffer table = {0};

    lab_push(lab, lab->newest + step, &table);
}

/* ---- the fake logs ---- */

static version_t log_end(const struct lab_log *log)
{
    version_t end = log->lab->newest < log->generation->begin ? log->generation->begin : log->lab->newest;

    return end < log->end ? end : log->end;
}

static version_t log_known_committed(const struct lab_log *log)
{
    version_t end = log->generation->end, known = log->lab->known_committed;

    if (known < log->generation->begin)
        known = log->generation->begin;
    return known < end ? known : end;
}

static bool has_news(const struct lab_log *log, const struct peek *m)
{
    return log->broken || log->locked || log_end(log) > m->from || log_known_committed(log) > m->known_committed;
}

/* Versions out of order, a table cut short, an end below what was asked for. */
static void spoil(struct lab *lab, struct peek_reply *reply, const struct peek *m)
{
    switch (draw(lab, 3)) {
    case 0:
        reply->through = m->from - 1;
        break;
    case 1:
        reply->through = reply->end = m->from + 10;
        for (uint32_t i = 0; i < reply->versions_count; i++)
            reply->versions[i].version = m->from + 5;
        if (reply->versions_count < 2)
            reply->end = m->from;
        break;
    default:
        reply->through = reply->end = m->from + 10;
        reply->versions_count = reply->versions_count == 0 ? 0 : 1;
        if (reply->versions_count == 1)
            reply->versions[0] = (struct peek_version){.version = m->from + 1,
                                                       .mutations = BYTES_LITERAL("\0\0\0\0\xff\xff\xff\xff nonsense")};
        else
            reply->end = m->from;
    }
}

static void answer(struct lab_log *log, struct rpc_request *request)
{
    const struct peek *m = MESSAGE_BODY(peek, request->message);
    struct lab *lab = log->lab;
    struct message *message;
    struct peek_reply *reply = MESSAGE_NEW(peek_reply, &message);
    size_t limit = 1 + draw(lab, 20), i = 0;

    reply->versions = arena_zalloc(&message->arena, (limit + 1) * sizeof(*reply->versions));
    reply->end = log_end(log);
    reply->through = reply->end > m->from ? reply->end : m->from;
    while (i < lab->stream_count && lab->stream[i].version <= m->from)
        i++;
    for (; i < lab->stream_count && lab->stream[i].version <= reply->end; i++) {
        struct peek_version *version = &reply->versions[reply->versions_count];

        if (reply->versions_count == limit) {
            reply->through = reply->versions[limit - 1].version;
            break;
        }
        if (lab->stream[i].table.len == 0)
            continue;
        version->version = lab->stream[i].version;
        cr_assert_eq(arena_copy(&message->arena, bytes_buffer_bytes(&lab->stream[i].table), &version->mutations), 0);
        reply->versions_count++;
    }
    if (log->tail && reply->through == reply->end) {
        struct bytes_buffer table = {0};
        struct peek_version *version = &reply->versions[reply->versions_count++];

        cr_assert_eq(mutation_append(&table, MUTATION_SET, BYTES_LITERAL("k05"), BYTES_LITERAL("never")), 0);
        version->version = reply->through = reply->end = reply->end + 10;
        cr_assert_eq(arena_copy(&message->arena, bytes_buffer_bytes(&table), &version->mutations), 0);
        bytes_buffer_done(&table);
    }
    reply->known_committed = log_known_committed(log);
    reply->popped = log->popped;
    reply->locked = log->locked;
    if (log->broken)
        spoil(lab, reply, m);
    rpc_reply(request, message);
}

static void answer_log(struct lab_log *log)
{
    list_each(node, after, &log->waiting) {
        struct rpc_request *request = list_entry(node, struct rpc_request, link);

        if (!has_news(log, MESSAGE_BODY(peek, request->message)))
            continue;
        list_remove(node);
        answer(log, request);
    }
}

static void answer_waiting(struct lab *lab)
{
    for (uint32_t g = 0; g < lab->generation_count; g++)
        for (unsigned l = 0; l < LAB_LOGS; l++)
            answer_log(&lab->generations[g].logs[l]);
}

static void on_log_request(void *ctx, struct rpc_request *request)
{
    struct lab_log *log = ctx;

    if (request->message->type->id == MESSAGE_pop) {
        version_t version = MESSAGE_BODY(pop, request->message)->version;

        cr_assert_eq(MESSAGE_BODY(pop, request->message)->tag, LAB_TAG);
        cr_assert_leq(version, log_known_committed(log));
        if (version > log->popped)
            log->popped = version;
        log->pops++;
        rpc_drop(request);
        return;
    }
    cr_assert_eq(request->message->type->id, MESSAGE_peek);
    log->peeks++;
    if (log->silent) {
        rpc_fail(request, ERROR_BROKEN_PROMISE);
        return;
    }
    list_push_back(&log->waiting, &request->link);
    answer_log(log);
}

static void on_controller_request(void *ctx, struct rpc_request *request)
{
    struct lab *lab = ctx;

    cr_assert_eq(request->message->type->id, MESSAGE_storage_durable);
    lab->reported_durable = MESSAGE_BODY(storage_durable, request->message)->version;
    lab->durable_reports++;
    rpc_drop(request);
}

static struct rpc *rpc_of(struct sim_process *process)
{
    struct rpc_options options = {
        .public_address = process->address, .types = message_types, .type_count = MESSAGE_ID_END, .cluster_id = {1, 2}};
    struct rpc *rpc;

    cr_assert_eq(rpc_create(&process->env, &options, &rpc), 0);
    cr_assert_eq(rpc_listen(rpc), 0);
    return rpc;
}

struct logs_instance {
    struct rpc *rpc;
    struct op_list ops;
};

static int logs_start(struct sim_process *process, void *ctx)
{
    struct logs_instance *instance = mem_zalloc(sizeof(*instance));

    instance->rpc = rpc_of(process);
    op_list_init(&instance->ops, &process->env, instance);
    rpc_register(instance->rpc, ENDPOINT_CONTROLLER, on_controller_request, ctx);
    process->instance = instance;
    return 0;
}

static void logs_kill(struct sim_process *process, void *ctx)
{
    struct logs_instance *instance = process->instance;
    struct lab *lab = ctx;

    op_cancel_all(&instance->ops);
    rpc_unregister(instance->rpc, ENDPOINT_CONTROLLER);
    for (uint32_t g = 0; g < lab->generation_count; g++)
        for (unsigned l = 0; l < LAB_LOGS; l++) {
            struct lab_log *log = &lab->generations[g].logs[l];

            rpc_unregister(instance->rpc, log->id);
            while (!list_empty(&log->waiting))
                rpc_drop(list_entry(list_pop_front(&log->waiting), struct rpc_request, link));
        }
    rpc_destroy(instance->rpc);
    mem_free(instance);
}

struct rpc *lab_rpc(struct lab *lab)
{
    return ((struct logs_instance *)lab->logs->instance)->rpc;
}

struct op_list *lab_ops(struct lab *lab)
{
    return &((struct logs_instance *)lab->logs->instance)->ops;
}

static const struct sim_program logs_program = {logs_start, logs_kill};

/* ---- the server's process ---- */

struct storage_instance {
    struct rpc *rpc;
    struct storage_server *server;
    struct role_context context;
};

static void role_ended(void *host, enum role_kind kind, uint64_t role_id, int error)
{
    struct lab *lab = host;

    cr_assert_eq(kind, ROLE_STORAGE);
    cr_assert_eq(role_id, LAB_SERVER_ID);
    cr_assert_eq(lab->ended, 0, "said once");
    lab->ended = error;
}

static void on_worker_request(void *ctx, struct rpc_request *request)
{
    struct storage_instance *instance = ctx;
    int error = storage_server_create(&instance->context, request, &instance->server);

    if (error != 0)
        rpc_fail(request, error);
}

static void tell(struct lab *lab, struct storage_server *server)
{
    struct description d = {.epoch = lab->generation_count, .term = 1, .number = ++lab->description_number};
    struct generation generations[LAB_GENERATIONS_MAX] = {0};
    struct log_ref logs[LAB_GENERATIONS_MAX][LAB_LOGS] = {0};
    static const char *const zones[LAB_LOGS] = {"a", "b"};

    d.controller = (struct wire_endpoint){{lab->logs->address.ip, lab->logs->address.port}, ENDPOINT_CONTROLLER};
    d.recovery_transaction_version = lab->first_of_epoch;
    d.generations = generations;
    d.roles = &lab->proxy;
    d.roles_count = lab->proxy.kind == ROLE_COMMIT_PROXY;
    for (uint32_t g = lab->generation_first; g < lab->generation_count; g++) {
        struct generation *generation = &generations[d.generations_count];

        if (lab->generations[g].unlisted)
            continue;
        d.generations_count++;
        for (unsigned l = 0; l < LAB_LOGS; l++)
            logs[g][l] = (struct log_ref){
                {{lab->logs->address.ip, lab->logs->address.port}, lab->generations[g].logs[l].id}, bytes_of_string(zones[l])};
        *generation = (struct generation){.epoch = lab->generations[g].epoch,
                                          .begin = lab->generations[g].begin,
                                          .end = lab->generations[g].end,
                                          .replication = LAB_LOGS,
                                          .logs = logs[g],
                                          .logs_count = LAB_LOGS};
    }
    storage_server_described(server, &d);
}

static int storage_start(struct sim_process *process, void *ctx)
{
    struct storage_instance *instance = mem_zalloc(sizeof(*instance));
    struct lab *lab = ctx;

    instance->rpc = rpc_of(process);
    instance->context = (struct role_context){
        .env = &process->env, .rpc = instance->rpc, .data_directory = "data", .ended = role_ended, .host = lab};
    process->instance = instance;
    cr_assert_eq(env_dir_make(&process->env, "data"), 0);
    rpc_register(instance->rpc, ENDPOINT_WORKER, on_worker_request, instance);
    if (lab->created) {
        cr_assert_eq(storage_server_restore(&instance->context, LAB_SERVER_ID, &instance->server), 0);
        tell(lab, instance->server);
    }
    return 0;
}

static void storage_kill(struct sim_process *process, void *ctx)
{
    struct storage_instance *instance = process->instance;

    (void)ctx;
    rpc_unregister(instance->rpc, ENDPOINT_WORKER);
    storage_server_destroy(instance->server);
    rpc_destroy(instance->rpc);
    mem_free(instance);
}

static const struct sim_program storage_program = {storage_start, storage_kill};

struct storage_server *lab_server(struct lab *lab)
{
    return lab->storage->alive ? ((struct storage_instance *)lab->storage->instance)->server : NULL;
}

void lab_forget_server(struct lab *lab)
{
    storage_server_destroy(lab_server(lab));
    ((struct storage_instance *)lab->storage->instance)->server = NULL;
    lab->created = false;
}

void lab_describe(struct lab *lab)
{
    if (lab_server(lab) != NULL)
        tell(lab, lab_server(lab));
}

/* ---- recoveries ---- */

static void add_generation(struct lab *lab, version_t begin)
{
    struct lab_generation *generation = &lab->generations[lab->generation_count++];
    struct logs_instance *logs = lab->logs->instance;

    cr_assert_lt(lab->generation_count, LAB_GENERATIONS_MAX);
    *generation = (struct lab_generation){.epoch = lab->generation_count, .begin = begin, .end = VERSION_MAX};
    for (unsigned l = 0; l < LAB_LOGS; l++) {
        generation->logs[l] = (struct lab_log){.lab = lab,
                                               .generation = generation,
                                               .id = 1000 + lab->generation_count * 10 + l,
                                               .end = VERSION_MAX};
        list_init(&generation->logs[l].waiting);
        rpc_register(logs->rpc, generation->logs[l].id, on_log_request, &generation->logs[l]);
    }
}

void lab_recover(struct lab *lab, version_t end)
{
    struct lab_generation *last = &lab->generations[lab->generation_count - 1];
    version_t begin;

    cr_assert_geq(end, lab->known_committed);
    for (unsigned l = 0; l < LAB_LOGS; l++) {
        last->logs[l].locked = true;
        last->logs[l].end = end;
    }
    last->end = end;
    while (lab->stream_count > 0 && lab->stream[lab->stream_count - 1].version > end)
        bytes_buffer_done(&lab->stream[--lab->stream_count].table);
    for (unsigned key = 0; key < LAB_KEYS; key++)
        while (lab->histories[key].count > 0 &&
               lab->histories[key].states[lab->histories[key].count - 1].version > end)
            lab->histories[key].count--;
    begin = end;
    add_generation(lab, begin);
    lab->known_committed = begin;
    lab->newest = begin;
    lab->first_of_epoch = begin + VERSIONS_IN_FLIGHT_MAX + 1;
    lab_push_empty(lab, VERSIONS_IN_FLIGHT_MAX + 1);
    while (lab->generation_first + 1 < lab->generation_count &&
           lab->generations[lab->generation_first].end <= lab->reported_durable)
        lab->generation_first++;
}

/* ---- life ---- */

void lab_run(struct lab *lab, int64_t us)
{
    cr_assert(sim_world_run_until(lab->world, lab->world->now_us + us), "%s", lab->world->why);
}

void lab_catch_up(struct lab *lab)
{
    if (lab->world->buggify != NULL)
        lab->world->buggify->quiet = true;
    for (int i = 0; i < 1000; i++) {
        if (lab_server(lab) != NULL && storage_version(lab_server(lab)) == lab->newest)
            return;
        lab_run(lab, 10000);
    }
    cr_assert_fail("the server stands at %ld, the stream at %ld", (long)storage_version(lab_server(lab)), (long)lab->newest);
}

static void recruit(struct lab *lab)
{
    struct message *request, *reply;
    int error = ERROR_CONNECTION_FAILED;

    for (int i = 0; i < 10 && error == ERROR_CONNECTION_FAILED; i++) {
        struct init_storage *m = MESSAGE_NEW(init_storage, &request);

        *m = (struct init_storage){.server_id = LAB_SERVER_ID, .tag = LAB_TAG, .engine = lab->engine, .version = 0};
        reply = lab_ask_at(lab, ENDPOINT_WORKER, request, &error);
    }
    cr_assert_eq(error, 0, "%s", error_name(error));
    cr_assert_eq(MESSAGE_BODY(role_started, reply)->role_id, LAB_SERVER_ID);
    message_unref(reply);
}

void lab_init(struct lab *lab, uint64_t seed, enum engine_kind engine, bool buggify)
{
    *lab = (struct lab){.engine = engine, .newest = 0};
    lab->world = sim_world_create(seed);
    lab->world->settings.restart_us = SIM_NEVER;
    lab->world->knobs.storage_engine_nosync = 1;
    lab->world->knobs.storage_engine_map_bytes = INT64_C(1) << 30;
    if (buggify) {
        sim_world_buggify(lab->world);
        lab->world->buggify->face.spares_lives = true;
    }
    lab->logs = sim_process_create(lab->world, "logs", 0, 4500, &logs_program, lab);
    lab->storage = sim_process_create(lab->world, "storage", 1, 4501, &storage_program, lab);
    sim_process_boot(lab->logs);
    sim_process_boot(lab->storage);
    recruit(lab);
    lab->created = true;
    add_generation(lab, 0);
    lab_describe(lab);
}

void lab_done(struct lab *lab)
{
    struct sim_world *world = lab->world;
    bool failed;
    char why[SIM_WHY_MAX];

    sim_process_stop(lab->storage, SIM_END);
    sim_process_stop(lab->logs, SIM_END);
    failed = world->failed;
    snprintf(why, sizeof(why), "%s", world->why);
    sim_world_destroy(world);
    for (size_t i = 0; i < lab->stream_count; i++)
        bytes_buffer_done(&lab->stream[i].table);
    for (unsigned key = 0; key < LAB_KEYS; key++)
        mem_free(lab->histories[key].states);
    mem_free(lab->stream);
    cr_assert_not(failed, "%s", why);
}
