/* Life of a storage server and its dispatch.
 *
 * Its files are <data>/storage-<id>/<engine>: the engine's name is the directory's, so that a restart needs no other record to
 * open it. What the server is stands in the engine itself, in the same transaction as the data. */
#include "net/buggify.h"
#include "net/error.h"
#include "net/mem.h"
#include "roles/storage/storage_internal.h"
#include "roles/storage/watches.h"

#include <stdio.h>

#define SELF struct server_record
SCHEMA_DEFINE(server_record, server_record_fields)
#undef SELF

void storage_end(struct storage_server *storage, int error)
{
    if (storage->ended)
        return;
    storage->ended = true;
    TRACE(storage->env, SEVERITY_WARN_ALWAYS, "StorageEnded", {"Id", trace_id(storage->id)},
          {"Tag", trace_int(storage->tag)}, {"Durable", trace_int(storage->durable)},
          {"Error", trace_str(error_name(error))});
    storage->context.ended(storage->context.host, ROLE_STORAGE, storage->id, error);
}

static void invariant_storage(void *owner)
{
    const struct storage_server *storage = owner;

    assert(storage->durable <= storage->oldest);
    assert(storage->oldest <= storage->known_committed);
    assert(storage->oldest <= storage_version(storage));
    assert(storage_commit_version(storage) <= storage->oldest);
    assert(window_forgotten(storage->window) <= storage->durable);
    assert(storage->moves.floor <= storage_version(storage) || storage->discarding);
    assert(storage->discarding || storage->ended || window_newest(storage->window) == storage_version(storage));
    for (uint32_t i = 0; i + 1 < storage->era_count; i++)
        assert(storage->eras[i].epoch < storage->eras[i + 1].epoch && storage->eras[i].begin <= storage->eras[i + 1].begin);
}

/* ---- reading the state ---- */

static void release_engine(struct ready *ready)
{
    engine_release(container_of(ready, struct storage_server, release)->engine);
}

void storage_reads_engine(struct storage_server *storage)
{
    env_turn_end(storage->env, &storage->release);
}

int storage_get(struct storage_server *storage, struct bytes key, version_t version, bool *ret_present,
                struct bytes *ret_value)
{
    switch (window_get(storage->window, key, version, ret_value)) {
    case WINDOW_FOUND:
        *ret_present = true;
        return 0;
    case WINDOW_CLEARED:
        *ret_present = false;
        return 0;
    case WINDOW_UNKNOWN:
        break;
    }
    storage_reads_engine(storage);
    return engine_get(storage->engine, key, ret_present, ret_value);
}

/* ---- dispatch ---- */

static void on_request(void *ctx, struct rpc_request *request)
{
    struct storage_server *storage = ctx;

    if (storage->ended) {
        rpc_drop(request);
        return;
    }
    switch (request->message->type->id) {
    case MESSAGE_get_values:
    case MESSAGE_get_range:
    case MESSAGE_fetch_range:
    case MESSAGE_get_range_digest:
        storage_on_read(storage, request);
        break;
    case MESSAGE_watch:
        watches_receive(storage->watches, request);
        break;
    case MESSAGE_get_range_metrics:
        storage_answer_metrics(storage, request);
        break;
    case MESSAGE_get_shard_loads:
        storage_answer_loads(storage, request);
        break;
    case MESSAGE_get_shard_split:
        storage_answer_split(storage, request);
        break;
    case MESSAGE_get_shard_progress:
        storage_answer_progress(storage, request);
        break;
    default:
        rpc_fail(request, ERROR_UNSUPPORTED_OPERATION);
    }
}

/* ---- files ---- */

/* "<data>/storage-<id>/<engine>". */
static int engine_directory(const struct role_context *context, uint64_t id, enum engine_kind kind,
                            char out[ROLE_PATH_MAX])
{
    char directory[ROLE_PATH_MAX];
    int len;

    role_directory(context->data_directory, ROLE_STORAGE, id, directory);
    len = snprintf(out, ROLE_PATH_MAX, "%.4000s/%s", directory, engine_name(kind));
    return len < ROLE_PATH_MAX - 96 ? 0 : ERROR_IO_ERROR;
}

static void find_kind(void *ctx, const char *name)
{
    enum engine_kind *kind = ctx;

    if (strcmp(name, engine_name(ENGINE_LMDB)) == 0)
        *kind = ENGINE_LMDB;
    else if (strcmp(name, engine_name(ENGINE_MEMORY)) == 0 && *kind == 0)
        *kind = ENGINE_MEMORY;
}

static int make_directories(const struct role_context *context, uint64_t id)
{
    char directory[ROLE_PATH_MAX];
    int error = env_dir_make(context->env, role_directory(context->data_directory, ROLE_STORAGE, id, directory));

    return error != 0 ? error : env_dir_sync(context->env, context->data_directory);
}

static int open_engine(struct storage_server *storage)
{
    char directory[ROLE_PATH_MAX], parent[ROLE_PATH_MAX];
    int error = engine_directory(&storage->context, storage->id, storage->engine_kind, directory);

    if (error == 0)
        error = engine_open(storage->env, storage->engine_kind, directory, &storage->engine);
    if (error == 0)
        error = env_dir_sync(storage->env, role_directory(storage->context.data_directory, ROLE_STORAGE, storage->id, parent));
    return error;
}

/* ---- life ---- */

static struct storage_server *allocate(const struct role_context *context, uint64_t id)
{
    struct storage_server *storage = mem_zalloc(sizeof(*storage));

    if (storage == NULL)
        return NULL;
    storage->context = *context;
    storage->env = context->env;
    storage->rpc = context->rpc;
    storage->id = id;
    storage->cluster_id = rpc_cluster_id(context->rpc);
    list_init(&storage->assignments);
    storage_moves_init(storage);
    storage_sweep_init(storage);
    storage->release.run = release_engine;
    storage->forget.run = storage_forget;
    storage->commit_timer.fire = storage_commit_timer;
    op_list_init(&storage->ops, context->env, storage);
    turnstile_init(&storage->readable, context->env, 0);
    return storage;
}

/* The server stands at `version`, all of it durable. */
static int stand_at(struct storage_server *storage, version_t version)
{
    int error = window_create(version, env_random(storage->env), &storage->window);

    storage->durable = storage->oldest = storage->known_committed = storage->readable.now = version;
    storage->moves.floor = version; /* what the stream brought before is in no buffer */
    storage->committed_us = env_now_us(storage->env);
    if (error == 0)
        error = ownership_copy(storage->base, &storage->owned);
    if (error == 0)
        error = watches_create(storage, &storage->watches);
    if (error == 0)
        error = byte_sample_init(&storage->sample, (uint64_t)storage->env->knobs.storage_sample_unit_bytes);
    if (error == 0)
        error = load_sample_init(&storage->writes_load);
    if (error == 0)
        error = load_sample_init(&storage->reads_load);
    if (error == 0)
        storage->ops.invariant = invariant_storage;
    return error;
}

static void serve(struct storage_server *storage)
{
    storage->registered = true;
    rpc_register(storage->rpc, storage->id, on_request, storage);
    storage_load_start(storage);
    storage_sweep(storage);
}

static int read_record(struct storage_server *storage, bool *ret_found, struct server_record *ret_record)
{
    struct arena arena = {0};
    struct bytes packed;
    int error = engine_meta_get(storage->engine, META_RECORD, ret_found, &packed);

    storage_reads_engine(storage);
    if (error == 0 && *ret_found && message_decode(&schema_server_record, packed, &arena, ret_record) != 0)
        error = ERROR_FILE_CORRUPT;
    arena_done(&arena);
    return error;
}

int storage_server_create(const struct role_context *context, struct rpc_request *request,
                          struct storage_server **ret_storage)
{
    const struct init_storage *m = MESSAGE_BODY(init_storage, request->message);
    struct storage_server *storage;
    struct server_record record;
    bool found = false;
    int error;

    if (m->version < 0 || (m->engine != ENGINE_LMDB && m->engine != ENGINE_MEMORY))
        return ERROR_CLIENT_INVALID_OPERATION;
    storage = allocate(context, m->server_id);
    if (storage == NULL)
        return ERROR_OUT_OF_MEMORY;
    storage->tag = m->tag;
    storage->engine_kind = (enum engine_kind)m->engine;
    error = make_directories(context, storage->id);
    if (error == 0)
        error = open_engine(storage);
    if (error == 0)
        error = read_record(storage, &found, &record);
    if (error == 0 && found)
        error = ERROR_CLIENT_INVALID_OPERATION; /* the id is taken: nothing here may be overwritten */
    if (error == 0)
        error = ownership_create(&storage->base);
    if (error == 0)
        error = stand_at(storage, m->version);
    if (error == 0)
        error = storage_commit_record(storage);
    if (error != 0) {
        storage_server_destroy(storage);
        return error;
    }
    storage->init_request = request;
    serve(storage);
    *ret_storage = storage;
    return 0;
}

/* The record and the shards, as the last commit left them. */
static int restore_state(struct storage_server *storage)
{
    struct server_record record;
    struct bytes packed;
    bool found = false;
    int error = read_record(storage, &found, &record);

    if (error != 0)
        return error;
    if (!found)
        return ERROR_FILE_CORRUPT; /* it never answered its recruitment */
    if (record.format > STORAGE_FORMAT_VERSION)
        return ERROR_UNSUPPORTED_FORMAT_VERSION;
    if (record.server_id != storage->id || record.engine != storage->engine_kind || record.version < 0)
        return ERROR_FILE_CORRUPT;
    if (!uid_is_none(storage->cluster_id) &&
        !uid_equal(storage->cluster_id, (struct uid){record.cluster_high, record.cluster_low}))
        return ERROR_INVALID_CLUSTER_ID;
    storage->cluster_id = (struct uid){record.cluster_high, record.cluster_low};
    storage->tag = record.tag;
    error = engine_meta_get(storage->engine, META_SHARDS, &found, &packed);
    if (error == 0)
        error = found ? ownership_decode(packed, &storage->base) : ERROR_FILE_CORRUPT;
    if (error == 0)
        error = stand_at(storage, record.version);
    if (error != 0 || record.epoch == 0)
        return error;
    storage->eras = mem_alloc(sizeof(*storage->eras));
    if (storage->eras == NULL)
        return ERROR_OUT_OF_MEMORY;
    storage->eras[0] = (struct era){.epoch = record.epoch, .begin = record.version, .first = record.version};
    storage->era_count = storage->era_capacity = 1;
    return 0;
}

static int sample_all(struct storage_server *storage)
{
    struct engine_cursor *cursor;
    struct bytes key, value;
    bool found = false;
    int error = engine_cursor_open(storage->engine, false, &cursor);

    if (error != 0)
        return error;
    error = engine_cursor_seek(cursor, bytes_none(), &found, &key, &value);
    while (error == 0 && found) {
        error = byte_sample_set(&storage->sample, key, key.len + value.len);
        if (error == 0)
            error = engine_cursor_next(cursor, &found, &key, &value);
    }
    engine_cursor_close(cursor);
    return error == ERROR_FILE_CORRUPT ? 0 : error; /* whoever reads the damaged one is told; the sample is an estimate */
}

/* A small store, or one in memory, is walked. A large one wrote its sample down not long before it ended. */
static int restore_sample(struct storage_server *storage)
{
    struct engine_status status;
    struct bytes packed;
    bool found = false;
    int error = 0;

    engine_status(storage->engine, &status);
    storage_reads_engine(storage);
    if (storage->engine_kind == ENGINE_LMDB && status.bytes > (uint64_t)storage->env->knobs.storage_check_bytes_max)
        error = engine_meta_get(storage->engine, META_SAMPLE, &found, &packed);
    if (error == 0 && found)
        error = byte_sample_unpack(&storage->sample, packed);
    if (error == ERROR_FILE_CORRUPT) {
        PROBE(storage->env, "a sample that was written down is damaged: all keys are walked");
        TRACE(storage->env, SEVERITY_WARN, "StorageSampleDamaged", {"Id", trace_id(storage->id)});
    }
    return found && error == 0 ? 0 : error == 0 || error == ERROR_FILE_CORRUPT ? sample_all(storage) : error;
}

/* A page that was damaged can lose keys without a trace in any record: the counts and digests tell, and such a store must not
 * answer. One that has damaged records alone serves the others: each reader of a damaged one is told. A large store is left
 * to its checksums, for nobody would wait for that. */
static int check_small_store(struct storage_server *storage)
{
    bool checked;

    return storage_check_store(storage, &checked);
}

int storage_server_restore(const struct role_context *context, uint64_t server_id, struct storage_server **ret_storage)
{
    struct storage_server *storage = allocate(context, server_id);
    char directory[ROLE_PATH_MAX];
    int error;

    if (storage == NULL)
        return ERROR_OUT_OF_MEMORY;
    error = env_dir_list(context->env, role_directory(context->data_directory, ROLE_STORAGE, server_id, directory), find_kind,
                         &storage->engine_kind);
    if (error == 0 && storage->engine_kind == 0)
        error = ERROR_FILE_CORRUPT;
    if (error == 0)
        error = open_engine(storage);
    if (error == 0)
        error = restore_state(storage);
    if (error == 0)
        error = check_small_store(storage);
    if (error == 0)
        error = restore_sample(storage);
    if (error != 0) {
        TRACE(context->env, SEVERITY_WARN_ALWAYS, "StorageNotRestored", {"Id", trace_id(server_id)},
              {"Error", trace_str(error_name(error))});
        storage_server_destroy(storage);
        return error;
    }
    storage->recorded = true;
    serve(storage);
    TRACE(context->env, SEVERITY_INFO, "StorageRestored", {"Id", trace_id(server_id)}, {"Tag", trace_int(storage->tag)},
          {"Version", trace_int(storage->durable)}, {"Shards", trace_int(storage->base->count)});
    *ret_storage = storage;
    return 0;
}

void storage_server_destroy(struct storage_server *storage)
{
    if (storage == NULL)
        return;
    storage->ended = true; /* what the end of an op would start must not */
    if (storage->registered)
        rpc_unregister(storage->rpc, storage->id);
    op_cancel_all(&storage->ops);
    watches_destroy(storage->watches);
    env_timer_cancel(storage->env, &storage->commit_timer);
    env_ready_cancel(&storage->forget);
    env_ready_cancel(&storage->release);
    if (storage->init_request != NULL)
        rpc_fail(storage->init_request, ERROR_BROKEN_PROMISE);
    storage_commit_detach(storage);
    storage_store_detach(storage);
    storage_sweep_done(storage);
    if (storage->engine != NULL) {
        engine_release(storage->engine);
        engine_close(storage->engine, NULL, NULL);
    }
    window_destroy(storage->window);
    storage_drop_assignments(storage, VERSION_NONE, VERSION_MAX);
    ownership_destroy(storage->owned);
    ownership_destroy(storage->base);
    storage_reads_done(storage);
    storage_moves_done(storage);
    byte_sample_done(&storage->sample);
    load_sample_done(&storage->writes_load);
    load_sample_done(&storage->reads_load);
    bytes_buffer_done(&storage->pairs);
    bytes_buffer_done(&storage->damaged_at);
    arena_done(&storage->atomic_arena);
    arena_done(&storage->description_arena);
    mem_free(storage->shares);
    mem_free(storage->eras);
    mem_free(storage);
}

int storage_server_remove(const struct role_context *context, uint64_t server_id)
{
    char directory[ROLE_PATH_MAX];
    int error = 0;

    for (int kind = ENGINE_LMDB; error == 0 && kind <= ENGINE_MEMORY; kind++) {
        error = engine_directory(context, server_id, (enum engine_kind)kind, directory);
        if (error == 0)
            error = engine_remove(context->env, directory);
        if (error == ERROR_FILE_NOT_FOUND)
            error = 0;
    }
    if (error == 0)
        error = env_remove(context->env, role_directory(context->data_directory, ROLE_STORAGE, server_id, directory));
    if (error == 0)
        error = env_dir_sync(context->env, context->data_directory);
    return error == ERROR_FILE_NOT_FOUND ? 0 : error;
}

/* ---- descriptions ---- */

void storage_server_described(struct storage_server *storage, const struct description *description)
{
    uint64_t epoch = storage->era_count == 0 ? 0 : storage->eras[storage->era_count - 1].epoch;
    struct arena arena = {0};
    struct description *copy;
    const char *wrong;
    int error;

    /* A controller that was left behind knows nothing of the epoch that our versions come from. */
    if (description->epoch < epoch)
        PROBE(storage->env, "storage is told of an epoch older than its versions");
    rate_reporter_described(&storage->reporter, description);
    if (storage->ended || description->epoch < epoch)
        return;
    wrong = storage_description_wrong(storage, description);
    if (wrong != NULL) {
        PROBE(storage->env, "storage is told of a history that is not the one it has lived through");
        TRACE(storage->env, SEVERITY_WARN_ALWAYS, "StorageDescriptionRefused", {"Id", trace_id(storage->id)},
              {"Epoch", trace_int((int64_t)description->epoch)}, {"Why", trace_str(wrong)});
        return;
    }
    copy = arena_zalloc(&arena, sizeof(*copy));
    error = copy == NULL ? ERROR_OUT_OF_MEMORY : message_copy_body(&schema_description, description, &arena, copy);
    if (error != 0) {
        arena_done(&arena);
        storage_end(storage, error);
        return;
    }
    arena_done(&storage->description_arena);
    storage->description_arena = arena;
    storage->description = copy;
    if (!storage_roll_back(storage))
        return;
    storage_pull_described(storage);
    storage_fetch_look(storage);
    if (storage->recorded)
        storage_report_durable(storage, false);
    storage_consider_commit(storage);
}

int64_t storage_server_check(struct storage_server *storage, void (*report)(void *ctx, struct bytes key, const char *what),
                             void *ctx)
{
    return engine_check(storage->engine, report, ctx);
}

/* ---- what it says of itself ---- */

bool storage_server_was_removed(const struct storage_server *storage)
{
    return storage->removed && storage->ended && !storage_engine_is_busy(storage);
}

uint64_t storage_server_id(const struct storage_server *storage)
{
    return storage->id;
}

tag_t storage_server_tag(const struct storage_server *storage)
{
    return storage->tag;
}

version_t storage_server_durable_version(const struct storage_server *storage)
{
    return storage->durable;
}

static void status_of_versions(const struct storage_server *storage, struct role_status *status, struct arena *arena)
{
    version_t version = storage_version(storage), committed = storage->known_committed;

    role_metric(status, arena, "data_version", version);
    role_metric(status, arena, "durable_version", storage->durable);
    role_metric(status, arena, "oldest_version", storage->oldest);
    role_metric(status, arena, "known_committed_version", committed);
    role_metric(status, arena, "data_lag_versions", committed > version ? committed - version : 0);
    role_metric(status, arena, "durability_lag_versions", version - storage->durable);
    role_metric(status, arena, "tag", storage->tag);
    role_metric(status, arena, "shards", storage->owned->count);
    role_metric(status, arena, "window_bytes", (int64_t)window_bytes(storage->window));
    role_metric(status, arena, "input_bytes", (int64_t)storage->mutation_bytes);
    role_metric(status, arena, "pending_bytes", (int64_t)storage->share_bytes);
}

static void status_of_moves(const struct storage_server *storage, struct role_status *status, struct arena *arena)
{
    const struct moves *moves = &storage->moves;

    role_metric(status, arena, "fetching_pieces", storage->owned->fetching);
    role_metric(status, arena, "fetched_bytes", (int64_t)moves->bytes);
    role_metric(status, arena, "fetched_keys", (int64_t)moves->pairs);
    role_metric(status, arena, "fetched_chunks", (int64_t)moves->chunks);
    role_metric(status, arena, "fetched_chunks_stored", (int64_t)moves->stored_chunks);
    role_metric(status, arena, "fetch_failures", (int64_t)moves->failures);
    role_metric(status, arena, "fetch_refused_chunks", (int64_t)moves->refused);
    role_metric(status, arena, "fetch_damaged_chunks", (int64_t)moves->damaged);
    role_metric(status, arena, "fetch_buffer_bytes", (int64_t)moves->buffer_bytes);
    role_metric(status, arena, "served_chunks", (int64_t)moves->served_chunks);
    role_metric(status, arena, "served_fetch_bytes", (int64_t)moves->served_bytes);
}

/* Who reads most. FoundationDB's words; fractions in thousandths. */
static void status_of_tags(const struct storage_server *storage, struct role_status *status, struct arena *arena)
{
    struct tag_counter counter = storage->tag_reads;
    struct tag_cost *costs;

    tag_counter_decay(&counter, env_now_us(storage->env));
    if (tag_counter_report(&counter, arena, &costs) == 0)
        return;
    role_text(status, arena, "busiest_read_tag", costs[0].tag);
    role_metric(status, arena, "busiest_read_tag_cost", costs[0].cost);
    role_metric(status, arena, "busiest_read_tag_part", counter.total >= 1 ? (int64_t)((double)costs[0].cost * 1000 / counter.total) : 0);
}

void storage_server_status(const struct storage_server *storage, struct role_status *status, struct arena *arena)
{
    struct engine_status engine;

    engine_status(storage->engine, &engine);
    status_of_versions(storage, status, arena);
    status_of_tags(storage, status, arena);
    role_metric(status, arena, "swept_slices", (int64_t)storage->sweep.slices);
    role_metric(status, arena, "stored_bytes", (int64_t)engine.bytes);
    role_metric(status, arena, "held_bytes", (int64_t)byte_sample_bytes(&storage->sample, bytes_none(), KEY_SYSTEM_END));
    role_metric(status, arena, "keys", (int64_t)engine.keys);
    role_metric(status, arena, "kvstore_used_bytes", (int64_t)engine.file_bytes);
    role_metric(status, arena, "kvstore_available_bytes", (int64_t)engine.free_bytes);
    role_metric(status, arena, "damaged_records", (int64_t)engine.damaged_records);
    role_metric(status, arena, "scanned_pages", (int64_t)storage->digests);
    role_metric(status, arena, "scanned_bytes", (int64_t)storage->digest_bytes);
    role_metric(status, arena, "total_queries", (int64_t)(storage->reads + storage->range_reads));
    role_metric(status, arena, "finished_queries", (int64_t)(storage->reads + storage->range_reads));
    role_metric(status, arena, "get_value_queries", (int64_t)storage->reads);
    role_metric(status, arena, "get_range_queries", (int64_t)storage->range_reads);
    role_metric(status, arena, "keys_queried", (int64_t)storage->rows_read);
    role_metric(status, arena, "bytes_queried", (int64_t)storage->bytes_read);
    role_metric(status, arena, "watch_count", (int64_t)watches_count(storage->watches));
    role_metric(status, arena, "watch_bytes", (int64_t)watches_bytes(storage->watches));
    role_metric(status, arena, "waiting_queries", storage->waiting_reads);
    role_metric(status, arena, "waited_queries", (int64_t)storage->reads_waited);
    role_metric(status, arena, "too_old_queries", (int64_t)storage->too_old);
    role_metric(status, arena, "future_version_queries", (int64_t)storage->future);
    role_metric(status, arena, "wrong_shard_queries", (int64_t)storage->wrong_shard);
    role_metric(status, arena, "behind_queries", (int64_t)storage->behind);
    role_metric(status, arena, "mutations", (int64_t)storage->mutations);
    role_metric(status, arena, "atomic_mutations", (int64_t)storage->atomics);
    role_metric(status, arena, "shard_assignments", (int64_t)storage->assigns);
    role_metric(status, arena, "commits", (int64_t)storage->commits);
    role_metric(status, arena, "committed_changes", (int64_t)storage->committed_changes);
    role_metric(status, arena, "pulls", (int64_t)storage->pulls);
    role_metric(status, arena, "pull_failures", (int64_t)storage->pull_failures);
    role_metric(status, arena, "malformed_replies", (int64_t)storage->malformed);
    role_metric(status, arena, "rollbacks", (int64_t)storage->rollbacks);
    status_of_moves(storage, status, arena);
}
