/* Life of a log server and its dispatch. */
#include "net/buggify.h"
#include "net/mem.h"
#include "roles/log/log_internal.h"

void log_end(struct log_server *log, int error)
{
    if (log->ended)
        return;
    log->ended = true;
    TRACE(log->env, SEVERITY_WARN_ALWAYS, "LogEnded", {"Id", trace_id(log->id)},
          {"Epoch", trace_int((int64_t)log->epoch)}, {"Error", trace_str(error_name(error))});
    log_stop_pushes(log);
    log->context.ended(log->context.host, ROLE_LOG, log->id, error);
}

/* ---- tags ---- */

/* Only a tag that is held here has a server that peeks and pops here. */
bool log_tag_is_held(const struct log_server *log, tag_t tag)
{
    uint32_t indexes[LOG_REPLICATION_MAX];
    unsigned count;

    if (log->self == UINT32_MAX)
        return true;
    count = log_system_logs_of_tag(&log->generation, tag, indexes);
    for (unsigned i = 0; i < count; i++)
        if (indexes[i] == log->self)
            return true;
    return false;
}

/* The tag's slot, or the free one where it belongs. */
static struct log_tag *tag_slot(const struct log_server *log, tag_t tag)
{
    uint32_t mask = log->tag_capacity - 1;
    uint32_t at = (tag * UINT32_C(2654435761)) >> 8 & mask;

    while (log->tags[at].used && log->tags[at].tag != tag)
        at = (at + 1) & mask;
    return &log->tags[at];
}

static void grow_tags(struct log_server *log)
{
    struct log_tag *old = log->tags;
    uint32_t capacity = log->tag_capacity;

    log->tag_capacity = capacity == 0 ? 16 : capacity * 2;
    log->tags = mem_zalloc(log->tag_capacity * sizeof(*log->tags));
    for (uint32_t i = 0; i < capacity; i++)
        if (old[i].used)
            *tag_slot(log, old[i].tag) = old[i];
    mem_free(old);
}

struct log_tag *log_tag_find(struct log_server *log, tag_t tag, bool create)
{
    struct log_tag *slot = log->tag_capacity == 0 ? NULL : tag_slot(log, tag);

    if (slot != NULL && slot->used)
        return slot;
    if (!create || log->tag_count == LOG_TAGS_MAX)
        return NULL;
    if (log->tag_count * 2 >= log->tag_capacity)
        grow_tags(log);
    slot = tag_slot(log, tag);
    *slot = (struct log_tag){
        .tag = tag, .used = true, .held = log_tag_is_held(log, tag), .removed = log_metadata_tag_removed(log, tag)};
    log->tag_count++;
    return slot;
}

struct arena *log_scratch(struct log_server *log)
{
    if (log->scratch.reserved_bytes > LOG_SCRATCH_KEEP_BYTES)
        arena_done(&log->scratch);
    else
        arena_reset(&log->scratch);
    return &log->scratch;
}

void log_known_committed(struct log_server *log, version_t version)
{
    if (version > log->durable)
        version = log->durable;
    if (version <= log->known_committed)
        return;
    log->known_committed = version;
    log_metadata_fold(log);
    log_memory_popped(log);
    log_memory_spill(log);
    env_turn_end(log->env, &log->answer_peeks);
}

static void invariant_log(void *owner)
{
    const struct log_server *log = owner;

    assert(log->durable <= log->received.now);
    assert(log->known_committed <= log->durable);
    assert(log->popped_through <= log->known_committed);
    assert(log->metadata_version <= log->known_committed);
    assert(log->spilled_through <= log->known_committed || log->restored);
    assert(log->popped_through <= log->spilled_through);
    assert(!log->restored || log->locked);
}

/* ---- dispatch ---- */

static void on_confirm(struct log_server *log, struct rpc_request *request)
{
    const struct confirm_epoch *m = MESSAGE_BODY(confirm_epoch, request->message);
    struct message *reply;

    if (log->locked || log->ended || m->epoch != log->epoch) {
        PROBE(log->env, "a locked log tells a GRV proxy that the epoch is over");
        rpc_fail(request, ERROR_TLOG_STOPPED);
        return;
    }
    (void)MESSAGE_NEW(done, &reply);
    rpc_reply(request, reply);
}

static void on_request(void *ctx, struct rpc_request *request)
{
    struct log_server *log = ctx;

    switch (request->message->type->id) {
    case MESSAGE_push:
        log_on_push(log, request);
        break;
    case MESSAGE_peek:
        log_on_peek(log, request);
        break;
    case MESSAGE_pop:
        log_on_pop(log, request);
        break;
    case MESSAGE_lock_log:
        log_on_lock(log, request);
        break;
    case MESSAGE_get_metadata:
        log_on_get_metadata(log, request);
        break;
    case MESSAGE_confirm_epoch:
        on_confirm(log, request);
        break;
    default:
        rpc_fail(request, ERROR_UNSUPPORTED_OPERATION);
    }
}

/* ---- life ---- */

static struct log_server *allocate(const struct role_context *context, uint64_t id)
{
    struct log_server *log = mem_zalloc(sizeof(*log));

    if (log == NULL)
        return NULL;
    log->context = *context;
    log->env = context->env;
    log->rpc = context->rpc;
    log->id = id;
    log->self = UINT32_MAX;
    log->metadata = kv_map_create();
    log->answer_peeks.run = log_answer_peeks;
    op_list_init(&log->ops, context->env, log);
    log->ops.invariant = invariant_log;
    turnstile_init(&log->received, context->env, VERSION_NONE);
    list_init(&log->waiting_peeks);
    return log;
}

static void find_self(struct log_server *log)
{
    for (uint32_t i = 0; i < log->generation.logs_count; i++)
        if (log->generation.logs[i].endpoint.id == log->id)
            log->self = i;
    for (uint32_t i = 0; i < log->tag_capacity; i++)
        log->tags[i].held = log->tags[i].used && log_tag_is_held(log, log->tags[i].tag);
    log_metadata_look_at_tags(log);
}

static void serve(struct log_server *log)
{
    struct env_space space;

    if (env_dir_space(log->env, log->context.data_directory, &space) == 0) { /* for status, until a push asks again */
        log->free_bytes = space.free_bytes;
        log->total_bytes = space.total_bytes;
    }
    log->registered = true;
    rpc_register(log->rpc, log->id, on_request, log);
    log_load_start(log);
}

int log_server_create(const struct role_context *context, struct rpc_request *request, struct log_server **ret_log)
{
    const struct init_log *m = MESSAGE_BODY(init_log, request->message);
    struct log_server *log = allocate(context, m->role_id);
    int error;

    if (log == NULL)
        return ERROR_OUT_OF_MEMORY;
    log->epoch = m->epoch;
    log->snapshot_due = UINT64_MAX; /* the first comes unasked */
    log->begin = m->begin;
    log->received.now = log->durable = log->spilled_through = log->popped_through = m->begin;
    log->known_committed = log->metadata_version = log->snapshot_committed = m->begin;
    error = message_copy_body(&schema_generation, &m->generation, &log->generation_arena, &log->generation);
    if (error == 0 && m->generation.logs_count <= LOGS_MAX)
        find_self(log);
    if (error == 0 && (log->self == UINT32_MAX || m->begin < 0 || m->epoch == 0))
        error = ERROR_CLIENT_INVALID_OPERATION;
    if (error == 0)
        error = kv_map_apply(log->metadata, m->metadata);
    if (error == 0)
        log_metadata_look_at_tags(log);
    if (error == 0)
        error = log_disk_open(log);
    if (error != 0) {
        log_server_destroy(log);
        return error;
    }
    serve(log);
    log_start_first_snapshot(log, request);
    *ret_log = log;
    return 0;
}

void log_role_started(struct log_server *log, struct rpc_request *request)
{
    struct message *message;
    struct role_started *reply = MESSAGE_NEW(role_started, &message);

    reply->role_id = log->id;
    rpc_reply(request, message);
}

/* Without a snapshot it never answered its recruitment. The metadata above the newest snapshot stands in the pushes after
 * what was known committed when it was written, so those must all be there. */
static bool is_whole(const struct log_server *log)
{
    return log->epoch != 0 && log->self != UINT32_MAX && log->popped_through <= log->snapshot_committed;
}

int log_server_restore(const struct role_context *context, uint64_t log_id, struct log_server **ret_log)
{
    struct log_server *log = allocate(context, log_id);
    int error;

    if (log == NULL)
        return ERROR_OUT_OF_MEMORY;
    log->restored = log->locked = true;
    error = log_disk_open(log);
    if (error == 0)
        find_self(log);
    if (error == 0 && !is_whole(log))
        error = ERROR_FILE_CORRUPT;
    if (error != 0) {
        log_server_destroy(log);
        return error;
    }
    log_memory_restored(log);
    serve(log);
    log_memory_popped(log);
    log_memory_pop_queue(log);
    TRACE(log->env, SEVERITY_INFO, "LogRestored", {"Id", trace_id(log->id)}, {"Epoch", trace_int((int64_t)log->epoch)},
          {"Begin", trace_int(log->begin)}, {"End", trace_int(log->received.now)},
          {"KnownCommitted", trace_int(log->known_committed)}, {"PoppedThrough", trace_int(log->popped_through)});
    *ret_log = log;
    return 0;
}

void log_server_destroy(struct log_server *log)
{
    if (log == NULL)
        return;
    log->ended = true; /* what the end of an op would start must not */
    if (log->registered)
        rpc_unregister(log->rpc, log->id);
    op_cancel_all(&log->ops);
    env_ready_cancel(&log->answer_peeks);
    while (!list_empty(&log->waiting_peeks))
        rpc_fail(list_entry(list_pop_front(&log->waiting_peeks), struct rpc_request, link), ERROR_BROKEN_PROMISE);
    diskqueue_close(log->queue);
    log_memory_done(log);
    log_metadata_done(log);
    arena_done(&log->generation_arena);
    arena_done(&log->scratch);
    mem_free(log);
}

int log_server_remove(const struct role_context *context, uint64_t log_id)
{
    char directory[ROLE_PATH_MAX];

    return diskqueue_remove(context->env, role_directory(context->data_directory, ROLE_LOG, log_id, directory));
}

uint64_t log_server_id(const struct log_server *log)
{
    return log->id;
}

uint64_t log_server_epoch(const struct log_server *log)
{
    return log->epoch;
}

version_t log_server_end(const struct log_server *log)
{
    return log->received.now;
}

bool log_server_is_locked(const struct log_server *log)
{
    return log->locked;
}

const char *log_server_unrest(const struct log_server *log)
{
    enum { SETTLING = 2 /* segments: what is popped goes with later flushes */ };
    struct diskqueue_status queue;

    diskqueue_status(log->queue, &queue);
    return log->locked || queue.popped_segments <= SETTLING ? NULL : "a log keeps on its disk what nobody needs any more";
}

void log_server_status(const struct log_server *log, struct role_status *status, struct arena *arena)
{
    struct diskqueue_status queue;

    diskqueue_status(log->queue, &queue);
    role_metric(status, arena, "version", log->received.now);
    role_metric(status, arena, "durable_version", log->durable);
    role_metric(status, arena, "known_committed_version", log->known_committed);
    role_metric(status, arena, "popped_version", log->popped_through);
    role_metric(status, arena, "locked", log->locked);
    role_metric(status, arena, "queue_disk_available_bytes", (int64_t)log->free_bytes);
    role_metric(status, arena, "queue_disk_total_bytes", (int64_t)log->total_bytes);
    role_metric(status, arena, "queue_disk_used_bytes", (int64_t)queue.file_bytes);
    role_metric(status, arena, "queue_length_bytes", (int64_t)(queue.end - queue.begin));
    role_metric(status, arena, "memory_bytes", (int64_t)log->memory_bytes);
    role_metric(status, arena, "repeats", (int64_t)log->repeats);
    role_metric(status, arena, "refused_pushes", (int64_t)log->refused_pushes);
    role_metric(status, arena, "pushes", (int64_t)log->pushes);
    role_metric(status, arena, "syncs", (int64_t)queue.syncs);
    role_metric(status, arena, "peeks", (int64_t)log->peeks);
    role_metric(status, arena, "disk_full", log->disk_full);
}
