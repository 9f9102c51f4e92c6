#include "tests/unit/roles/log_bench.h"

enum { ADDRESS_PORT = 4500, TURNS_MAX = 200 };

static void role_ended(void *host, enum role_kind kind, uint64_t role_id, int error)
{
    struct bench *bench = host;

    cr_assert_eq(kind, ROLE_LOG);
    cr_assert_eq(role_id, bench->log_id);
    bench->ended++;
    bench->ended_error = error;
}

static void on_recruit(void *ctx, struct rpc_request *request)
{
    struct bench *bench = ctx;
    int error = log_server_create(&bench->context, request, &bench->log);

    if (error != 0)
        rpc_fail(request, error);
}

void bench_init(struct bench *bench)
{
    struct rpc_options options = {
        .public_address = {0x7f000001, ADDRESS_PORT}, .types = message_types, .type_count = MESSAGE_ID_END};

    *bench = (struct bench){.disk = fake_disk_create(), .log_id = LOG_ID};
    bench->disk->env.knobs.log_segment_bytes = 16384;
    cr_assert_eq(rpc_create(&bench->disk->env, &options, &bench->rpc), 0);
    bench->context = (struct role_context){.env = &bench->disk->env, .rpc = bench->rpc, .data_directory = "data",
                                           .ended = role_ended, .host = bench};
    op_list_init(&bench->ops, &bench->disk->env, bench);
    rpc_register(bench->rpc, ENDPOINT_WORKER, on_recruit, bench);
}

void bench_stop(struct bench *bench)
{
    log_server_destroy(bench->log);
    bench->log = NULL;
    fake_disk_run(bench->disk, 3, false);
}

static void finish_syncs(struct bench *bench)
{
    while (bench->disk->syncs != NULL)
        fake_disk_run(bench->disk, 1, true);
}

void bench_done(struct bench *bench)
{
    bench_stop(bench);
    finish_syncs(bench);
    op_cancel_all(&bench->ops);
    rpc_unregister(bench->rpc, ENDPOINT_WORKER);
    rpc_destroy(bench->rpc);
    fake_disk_destroy(bench->disk);
}

/* ---- asking ---- */

static enum op_result run_ask(struct op *op)
{
    struct asked *asked = container_of(op, struct asked, op);
    struct endpoint to = {rpc_address(asked->bench->rpc), asked->to};

    rpc_call_start(&asked->call, op, asked->bench->rpc, &to, asked->request, 0);
    asked->request = NULL;
    return op_wait(op, 1);
}

static enum op_result run_answered(struct op *op)
{
    struct asked *asked = container_of(op, struct asked, op);

    return op_finish(op, asked->call.error);
}

static void ask_ended(struct op *op)
{
    struct asked *asked = container_of(op, struct asked, op);

    asked->ended = true;
    asked->error = op->error;
    if (op->error == 0)
        asked->reply = rpc_call_take(&asked->call);
    rpc_call_clear(&asked->call);
    message_unref(asked->request);
}

static const struct op_stage ask_stages[] = {{"ASK", run_ask, OP_STAGE(1)}, {"ANSWERED", run_answered, 0}};
static const struct op_type ask_type = {"ask", ask_stages, 2, READY_COMMIT, ask_ended};

struct asked *ask(struct bench *bench, struct message *message)
{
    struct asked *asked = mem_zalloc(sizeof(*asked));

    asked->bench = bench;
    asked->to = message->type->id == MESSAGE_init_log ? (uint64_t)ENDPOINT_WORKER : bench->log_id;
    asked->request = message;
    op_start_now(&asked->op, &ask_type, &bench->ops);
    return asked;
}

void asked_free(struct asked *asked)
{
    op_cancel(&asked->op);
    message_unref(asked->reply);
    mem_free(asked);
}

int answer_of(struct bench *bench, struct asked *asked, struct message **ret_reply)
{
    int error;

    for (int i = 0; i < TURNS_MAX && !asked->ended; i++)
        fake_disk_run(bench->disk, 1, true);
    cr_assert(asked->ended, "no answer");
    error = asked->error;
    if (error == 0 && ret_reply != NULL)
        *ret_reply = message_ref(asked->reply);
    asked_free(asked);
    return error;
}

/* ---- life ---- */

struct message *init_message(uint64_t log_id)
{
    struct message *message;
    struct init_log *m = MESSAGE_NEW(init_log, &message);

    *m = (struct init_log){.epoch = EPOCH, .role_id = log_id, .begin = BEGIN};
    m->generation = (struct generation){.epoch = EPOCH, .begin = BEGIN, .replication = 1, .logs_count = 1};
    m->generation.logs = arena_zalloc(&message->arena, sizeof(*m->generation.logs));
    m->generation.logs[0].endpoint.id = log_id;
    m->generation.logs[0].zone = bytes_of_string("z");
    return message;
}

int recruit(struct bench *bench, struct bytes metadata)
{
    struct message *message = init_message(bench->log_id);

    ((struct init_log *)message->body)->metadata = metadata;
    return answer_of(bench, ask(bench, message), NULL);
}

int restart(struct bench *bench, enum fake_crash how, uint64_t *random)
{
    bench_stop(bench);
    if (how != FAKE_KEEP_ALL)
        for (struct env_sync *sync = bench->disk->syncs; sync != NULL; sync = sync->next)
            sync->error = ERROR_OPERATION_CANCELLED;
    finish_syncs(bench);
    fake_disk_crash(bench->disk, how, random);
    return log_server_restore(&bench->context, bench->log_id, &bench->log);
}

/* ---- messages ---- */

static struct bytes copied(struct message *message, struct bytes bytes)
{
    struct bytes copy;

    cr_assert_eq(arena_copy(&message->arena, bytes, &copy), 0);
    return copy;
}

void push_add(struct message *message, const tag_t *tags, uint32_t count, struct bytes data)
{
    struct push *m = message->body;
    struct push_section *sections = arena_zalloc(&message->arena, (m->sections_count + 1) * sizeof(*sections));

    if (m->sections_count > 0)
        memcpy(sections, m->sections, m->sections_count * sizeof(*sections));
    m->sections = sections;
    sections += m->sections_count++;
    sections->tags = arena_alloc(&message->arena, count * sizeof(*tags) + 1);
    memcpy(sections->tags, tags, count * sizeof(*tags));
    sections->tags_count = count;
    sections->mutations = copied(message, data);
}

struct message *push_message(version_t version, version_t prev, version_t known_committed, tag_t tag, struct bytes data,
                             struct bytes metadata)
{
    struct message *message;
    struct push *m = MESSAGE_NEW(push, &message);

    *m = (struct push){.epoch = EPOCH, .version = version, .prev_version = prev, .known_committed = known_committed};
    m->metadata = copied(message, metadata);
    if (data.len > 0)
        push_add(message, &tag, 1, data);
    return message;
}

struct message *text_push(version_t version, version_t prev, tag_t tag, const char *data)
{
    return push_message(version, prev, 0, tag, bytes_of_string(data), bytes_none());
}

struct message *peek_message(tag_t tag, version_t from, version_t known_committed)
{
    struct message *message;
    struct peek *m = MESSAGE_NEW(peek, &message);

    *m = (struct peek){.tag = tag, .from = from, .known_committed = known_committed};
    return message;
}

struct message *lock_message(uint64_t epoch)
{
    struct message *message;
    struct lock_log *m = MESSAGE_NEW(lock_log, &message);

    m->epoch = epoch;
    return message;
}

static void send(struct bench *bench, struct message *message)
{
    struct endpoint to = {rpc_address(bench->rpc), bench->log_id};

    rpc_send(bench->rpc, &to, message);
    fake_disk_run(bench->disk, 2, true);
}

void pop(struct bench *bench, tag_t tag, version_t version)
{
    struct message *message;
    struct pop *m = MESSAGE_NEW(pop, &message);

    *m = (struct pop){.tag = tag, .version = version};
    send(bench, message);
}

void say_committed(struct bench *bench, version_t version)
{
    send(bench, push_message(0, 0, version, 0, bytes_none(), bytes_none()));
}

int64_t metric(struct bench *bench, const char *name)
{
    struct role_status status = {0};
    struct arena arena = {0};
    int64_t value = INT64_MIN;

    log_server_status(bench->log, &status, &arena);
    for (uint32_t i = 0; i < status.metrics_count; i++)
        if (bytes_equal(status.metrics[i].name, bytes_of_string(name)))
            value = status.metrics[i].value;
    cr_assert_neq(value, INT64_MIN);
    arena_done(&arena);
    return value;
}
