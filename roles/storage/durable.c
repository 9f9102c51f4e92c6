/* Engine commits: rarely and large, never above what every reader has left behind and what is known committed.
 *
 * A commit writes what the window holds in (durable, oldest], each key once, in key order, with the server's record and, if it
 * changed, the shards. What to write is collected in short steps. It is a block of its own: the engine's job borrows from it and from the window until it is done, also
 * when the server is destroyed meanwhile. While one is under way the window neither forgets nor discards.
 *
 * When: every storage_commit_interval_us while there is something to write; at once when storage_commit_bytes_max is waiting,
 * when memory presses, or when an ended generation waits for us to pass its end. Never more at once than an eighth of the memory: all of it stays there until the commit ends. A version that moved with nothing to write is progress too
 * (it pops the logs), but an idle cluster must cost nothing: that is written every STORAGE_EMPTY_COMMIT_INTERVAL_US.
 *
 * With what priority: a commit gives way to everything else, since nobody waits for it. But where the processors are always busy that leaves
 * it a tenth of one: history and the logs' queues grow, and the ratekeeper slows everybody down for a disk that has time. So one that
 * takes longer than the interval runs on like all other work, as do those of the next seconds; then one is tried again, ever more seldom. One that is under way when
 * memory comes to press gives way no more either, be it of the window or of a move's chunks: nothing else makes room.
 *
 * Afterwards the window forgets what the engine holds, a share at a time, so that no turn gets long. */
#include "net/buggify.h"
#include "net/error.h"
#include "net/mem.h"
#include "net/planted_bug.h"
#include "roles/storage/storage_internal.h"

enum { COLLECT_ENTRIES = 400, COMMIT_PARTS = 8 /* of the memory: one commit takes so much at most */ };
enum { HURRY_US = 10000000, HURRY_MAX_US = 640000000, LATE_COLLECTION_US = 50000 };

struct storage_commit {
    struct engine_commit commit;
    struct ready collect;
    struct env_timer late; /* collects later */
    struct window_collection collection;
    bool started;                  /* the engine has it */
    struct storage_server *server; /* NULL: detached */
    struct window *window;         /* borrowed from the server; owned once detached */
    version_t version;
    size_t bytes;       /* of the mutations that it takes off the window */
    int64_t started_us;
    int64_t due_us;  /* since when it could have been under way, but for the engine */
    int64_t full_us; /* since when it gives way to nobody; 0: it does */
    bool hurried;    /* it did at first */
    struct ownership *owned; /* as of version; NULL: unchanged */
    struct engine_change *changes;
    size_t change_count, change_capacity;
    struct engine_meta meta[3];
    struct bytes_buffer record, shards, sample;
};

static void free_commit(struct storage_commit *block)
{
    ownership_destroy(block->owned);
    mem_free(block->changes);
    bytes_buffer_done(&block->record);
    bytes_buffer_done(&block->shards);
    bytes_buffer_done(&block->sample);
    mem_free(block);
}

/* ---- what it writes ---- */

static int add_change(void *context, const struct window_entry *entry)
{
    struct storage_commit *block = context;
    struct engine_change *change;

    if (block->change_count == block->change_capacity) {
        size_t capacity = block->change_capacity == 0 ? 64 : block->change_capacity * 2;
        struct engine_change *grown = mem_realloc(block->changes, capacity * sizeof(*grown));

        if (grown == NULL)
            return ERROR_OUT_OF_MEMORY;
        block->changes = grown;
        block->change_capacity = capacity;
    }
    change = &block->changes[block->change_count++];
    change->key = entry->key;
    change->value = bytes_none();
    switch (entry->kind) {
    case WINDOW_SET_KEY:
        change->type = ENGINE_SET;
        change->value = entry->value;
        break;
    case WINDOW_CLEARED_KEY:
        change->type = ENGINE_CLEAR;
        break;
    case WINDOW_CLEARED_RANGE:
        change->type = ENGINE_CLEAR_RANGE;
        change->value = entry->end;
        break;
    }
    return 0;
}

/* A store that is too large to be walked when it is opened keeps its sample, as soon as a quarter of it is new. */
static int add_sample(struct storage_server *storage, struct storage_commit *block)
{
    struct engine_status status;
    int error;

    if (storage->engine_kind != ENGINE_LMDB || !storage->recorded ||
        storage->sample.changes <= kv_map_count(storage->sample.keys) / 4)
        return 0;
    engine_status(storage->engine, &status);
    if (status.bytes <= (uint64_t)storage->env->knobs.storage_check_bytes_max / 2)
        return 0;
    error = byte_sample_pack(&storage->sample, &block->sample);
    if (error == 0)
        block->meta[block->commit.meta_count++] = (struct engine_meta){META_SAMPLE, bytes_buffer_bytes(&block->sample)};
    return error;
}

static int fill_meta(struct storage_server *storage, struct storage_commit *block)
{
    struct server_record record = {.format = STORAGE_FORMAT_VERSION,
                                   .cluster_high = storage->cluster_id.high,
                                   .cluster_low = storage->cluster_id.low,
                                   .server_id = storage->id,
                                   .tag = storage->tag,
                                   .engine = storage->engine_kind,
                                   .version = block->version,
                                   .epoch = storage_epoch_of(storage, block->version)};
    int error = message_encode(&schema_server_record, &record, &block->record);

    if (error == 0 && block->owned != NULL)
        error = ownership_encode(block->owned, &block->shards);
    if (error != 0)
        return error;
    block->commit.meta = block->meta;
    block->meta[block->commit.meta_count++] = (struct engine_meta){META_RECORD, bytes_buffer_bytes(&block->record)};
    if (block->owned != NULL)
        block->meta[block->commit.meta_count++] = (struct engine_meta){META_SHARDS, bytes_buffer_bytes(&block->shards)};
    return add_sample(storage, block);
}

/* ---- how fast ---- */

bool storage_engine_hurries(const struct storage_server *storage)
{
    return env_now_us(storage->env) < storage->hurry_until_us;
}

static void judge_pace(struct storage_server *storage, const struct storage_commit *block)
{
    int64_t now_us = env_now_us(storage->env);

    if (block->commit.urgent && !block->hurried)
        return;
    if (now_us - block->started_us <= storage->env->knobs.storage_commit_interval_us) {
        storage->hurry_us = 0;
        return;
    }
    PROBE(storage->env, "the engine's commits give way no more");
    storage->hurry_us = storage->hurry_us == 0 ? HURRY_US : storage->hurry_us * 2;
    if (storage->hurry_us > HURRY_MAX_US)
        storage->hurry_us = HURRY_MAX_US;
    storage->hurry_until_us = now_us + storage->hurry_us;
}

/* What is under way gives way no more. */
static void hurry(struct storage_server *storage, bool presses)
{
    struct storage_commit *block = storage->commit;
    int64_t now_us = env_now_us(storage->env);

    if (presses && storage->due_us == 0)
        storage->due_us = now_us;
    if (block != NULL && block->started && block->full_us == 0 && (presses || now_us - block->started_us > storage->env->knobs.storage_commit_interval_us)) {
        PROBE(storage->env, "a commit that gave way runs on at full speed");
        block->hurried = true;
        block->full_us = now_us;
        engine_hurry(storage->engine);
    } else if (block == NULL && presses) {
        engine_hurry(storage->engine);
    }
}

/* ---- after it ---- */

static void answer_init(struct storage_server *storage, int error)
{
    struct rpc_request *request = storage->init_request;
    struct role_started *reply;
    struct message *message;

    storage->init_request = NULL;
    if (request == NULL)
        return;
    if (error != 0) {
        rpc_fail(request, error);
        return;
    }
    reply = MESSAGE_NEW(role_started, &message);
    reply->role_id = storage->id;
    rpc_reply(request, message);
}

static void committed(struct storage_server *storage, struct storage_commit *block)
{
    version_t passed = storage_old_end(storage);
    bool passes = passed != VERSION_NONE && storage->durable < passed && block->version >= passed;

    assert(block->version >= storage->durable && block->version <= storage->oldest);
    storage->durable = block->version;
    storage->commits++;
    storage->committed_changes += block->change_count;
    if (block->owned != NULL) {
        ownership_destroy(storage->base);
        storage->base = block->owned;
        block->owned = NULL;
        storage_drop_assignments(storage, VERSION_NONE, block->version);
        storage_sweep(storage);
    }
    storage_discard(storage);
    storage_eras_prune(storage);
    storage->forget_to = block->version;
    env_ready(storage->env, &storage->forget, READY_READ);
    if (passes)
        TRACE(storage->env, SEVERITY_INFO, "StoragePassedGeneration", {"Id", trace_id(storage->id)},
              {"Durable", trace_int(storage->durable)}, {"End", trace_int(passed)});
    if (storage->recorded)
        storage_report_durable(storage, true);
    storage_progress_look(storage);
    storage_fetch_look(storage);
}

static void commit_done(struct engine_commit *commit, int error)
{
    struct storage_commit *block = container_of(commit, struct storage_commit, commit);
    struct storage_server *storage = block->server;
    bool first;

    if (storage == NULL) {
        window_destroy(block->window);
        free_commit(block);
        return;
    }
    storage->commit = NULL;
    storage->committed_us = env_now_us(storage->env);
    if (error == 0 && BUGGIFY_DEATH(storage->env, 200, "a storage server ends when the engine has committed"))
        error = ERROR_IO_ERROR;
    if (error != 0) {
        free_commit(block);
        answer_init(storage, error);
        TRACE(storage->env, SEVERITY_WARN_ALWAYS, "StorageCommitFailed", {"Id", trace_id(storage->id)},
              {"Error", trace_str(error_name(error))});
        storage_end(storage, error);
        return;
    }
    first = !storage->recorded;
    drain_committed(&storage->drain, block->bytes, storage->committed_us - block->due_us, block->hurried || !block->commit.urgent);
    judge_pace(storage, block);
    committed(storage, block);
    free_commit(block);
    if (first) {
        storage->recorded = true;
        answer_init(storage, 0);
        storage_pull_start(storage);
    }
    if (storage->removed)
        storage_end(storage, ERROR_WORKER_REMOVED);
    storage_store_look(storage);
    storage_sweep_look(storage);
    storage_pull_look(storage);
    if (storage->ops.invariant != NULL)
        storage->ops.invariant(storage->ops.owner);
}

/* A share a time, behind the reads: whoever reads does not wait for it. */
void storage_forget(struct ready *ready)
{
    struct storage_server *storage = container_of(ready, struct storage_server, forget);
    const struct share *oldest = shares_oldest(storage);

    if (storage->commit != NULL)
        return;
    if (BUGGIFY(storage->env, "the window forgets later what the engine holds")) {
        env_ready(storage->env, &storage->forget, READY_READ);
        return;
    }
    if (oldest != NULL && oldest->last < storage->forget_to) {
        version_t last = oldest->last;

        shares_drop_oldest(storage);
        window_forget(storage->window, last);
        env_ready(storage->env, &storage->forget, READY_READ);
        return;
    }
    window_forget(storage->window, storage->forget_to);
    if (oldest != NULL && oldest->last == storage->forget_to)
        shares_drop_oldest(storage);
    else if (oldest != NULL && oldest->first <= storage->forget_to)
        shares_at(storage, 0)->first = storage->forget_to + 1;
    storage_consider_commit(storage);
}

/* ---- when ---- */

/* The server gives it up before the engine has it. */
static void drop_commit(struct storage_server *storage)
{
    env_ready_cancel(&storage->commit->collect);
    env_timer_cancel(storage->env, &storage->commit->late);
    free_commit(storage->commit);
    storage->commit = NULL;
}

static void commit_failed(struct storage_server *storage, int error)
{
    drop_commit(storage);
    storage_end(storage, error);
}

/* COLLECT_ENTRIES a time, behind the reads, while the stream goes on above the commit's version; then the engine has it. */
static void collect(struct ready *ready)
{
    struct storage_commit *block = container_of(ready, struct storage_commit, collect);
    struct storage_server *storage = block->server;
    bool more = false;
    int error = 0;

    if (storage->ended)
        return;
    if (block->version > window_forgotten(storage->window))
        error = window_collect_step(&block->collection, BUGGIFY(storage->env, "a commit of the engine is collected key by key") ? 1 : COLLECT_ENTRIES, add_change, block,
                                    &more);
    if (error != 0) {
        commit_failed(storage, error);
        return;
    }
    if (more) {
        env_ready(storage->env, &block->collect, READY_READ);
        return;
    }
    block->commit.changes = block->changes;
    block->commit.change_count = block->change_count;
    block->started = true;
    block->started_us = env_now_us(storage->env);
    engine_commit_start(storage->engine, &block->commit);
}

static void collect_late(struct env_timer *timer)
{
    collect(&container_of(timer, struct storage_commit, late)->collect);
}

static void start_commit(struct storage_server *storage, version_t version, bool urgent)
{
    struct storage_commit *block = mem_zalloc(sizeof(*block));
    const struct assignment *oldest = list_empty(&storage->assignments)
                                          ? NULL
                                          : list_entry(storage->assignments.next, struct assignment, link);
    int error = 0;

    assert(!storage_engine_is_busy(storage) && version <= storage->oldest && version <= storage->known_committed);
    if (block == NULL) {
        storage_end(storage, ERROR_OUT_OF_MEMORY);
        return;
    }
    env_timer_cancel(storage->env, &storage->commit_timer);
    storage->commit = block;
    block->server = storage;
    block->window = storage->window;
    block->version = version;
    block->bytes = shares_bytes_through(storage, version);
    block->collection = (struct window_collection){.window = storage->window, .version = version};
    block->collect.run = collect;
    block->late.fire = collect_late;
    block->commit.urgent = urgent || storage_engine_hurries(storage);
    block->due_us = storage->due_us == 0 ? env_now_us(storage->env) : storage->due_us > storage->committed_us ? storage->due_us : storage->committed_us;
    block->full_us = block->commit.urgent ? block->due_us : 0;
    storage->due_us = 0;
    block->commit.done = commit_done;
    if (!storage->recorded || (oldest != NULL && oldest->version <= version))
        error = storage_owned_at(storage, version, &block->owned);
    if (error == 0)
        error = fill_meta(storage, block);
    if (error != 0)
        commit_failed(storage, error);
    else if (BUGGIFY(storage->env, "what a commit of the engine writes is collected late"))
        env_timer_start(storage->env, &block->late, env_now_us(storage->env) + LATE_COLLECTION_US);
    else
        collect(&block->collect);
}

int storage_commit_record(struct storage_server *storage)
{
    start_commit(storage, storage->durable, true);
    return storage->commit != NULL ? 0 : ERROR_OUT_OF_MEMORY;
}

bool storage_memory_presses(const struct storage_server *storage)
{
    return window_bytes(storage->window) > (size_t)storage->env->knobs.storage_memory_bytes_max / 4 * 3;
}

/* Memory presses: history is given up until an eighth of what the window holds may go, as far as it is committed. */
static void raise_oldest(struct storage_server *storage)
{
    version_t limit = storage->known_committed, to;
    size_t wanted = storage->share_bytes / COMMIT_PARTS, bytes = 0;

    if (limit > storage_version(storage))
        limit = storage_version(storage);
    to = limit;
    for (size_t i = 0; i < storage->share_count && bytes < wanted; i++) {
        bytes += shares_at(storage, i)->bytes;
        to = shares_at(storage, i)->last;
    }
    if (to > limit)
        to = limit;
    if (to <= storage->oldest)
        return;
    PROBE(storage->env, "storage gives up history because memory presses");
    storage->oldest = to;
}

/* As far as every reader has left it behind, or as a commit may go. */
static version_t commit_to(struct storage_server *storage)
{
    double memory = (double)storage->env->knobs.storage_memory_bytes_max / COMMIT_PARTS, window = (double)window_bytes(storage->window), bytes = 0;

    for (size_t i = 0; i < storage->share_count && shares_at(storage, i)->last < storage->oldest; i++) {
        bytes += (double)shares_at(storage, i)->bytes;
        if (bytes * window >= memory * (double)storage->share_bytes && shares_at(storage, i)->last > storage->durable)
            return shares_at(storage, i)->last;
    }
    return storage->oldest;
}

/* How long until a commit up to `oldest` is due; 0: now, negative: nothing will make it due but news. */
static int64_t due_in_us(struct storage_server *storage, bool presses)
{
    const struct knobs *knobs = &storage->env->knobs;
    version_t old_end = storage_old_end(storage);
    const struct share *share = shares_oldest(storage);
    int64_t since_us = env_now_us(storage->env) - storage->committed_us;

    if (presses || BUGGIFY_ONE_IN(storage->env, 64, "the engine commits before it is due"))
        return 0;
    if (old_end != VERSION_NONE && storage->durable < old_end && storage->oldest >= old_end)
        return 0;
    if (share == NULL || share->first > storage->oldest)
        return since_us >= STORAGE_EMPTY_COMMIT_INTERVAL_US ? 0 : -1;
    if (since_us >= knobs->storage_commit_interval_us ||
        shares_bytes_through(storage, storage->oldest) >= (size_t)knobs->storage_commit_bytes_max)
        return 0;
    return knobs->storage_commit_interval_us - since_us;
}

void storage_consider_commit(struct storage_server *storage)
{
    bool presses;
    int64_t delay_us;

    if (storage->ended || !storage->recorded)
        return;
    if (storage_engine_is_busy(storage)) {
        hurry(storage, storage_memory_presses(storage));
        return;
    }
    if (storage->discarding || list_linked(&storage->forget.link))
        return;
    presses = storage_memory_presses(storage) ||
              BUGGIFY_ONE_IN(storage->env, 5000, "history is given up although memory does not press");
    if (presses)
        raise_oldest(storage);
    else
        storage->due_us = 0;
    if (storage->oldest <= storage->durable)
        return;
    delay_us = due_in_us(storage, presses);
    if (delay_us == 0 && BUGGIFY(storage->env, "a commit of the engine that is due waits a whole interval"))
        delay_us = storage->env->knobs.storage_commit_interval_us;
    if (delay_us == 0)
        start_commit(storage, PLANTED_BUG(ENGINE_PAST_WINDOW) ? storage->known_committed : commit_to(storage), presses);
    else if (delay_us > 0 && storage->commit_timer.heap_index_plus_1 == 0)
        env_timer_start(storage->env, &storage->commit_timer, env_now_us(storage->env) + delay_us);
}

void storage_commit_timer(struct env_timer *timer)
{
    storage_consider_commit(container_of(timer, struct storage_server, commit_timer));
}

size_t storage_commit_under_way(const struct storage_server *storage, int64_t *ret_past_us)
{
    const struct storage_commit *block = storage->commit;

    *ret_past_us = block == NULL || block->full_us == 0 ? 0 : env_now_us(storage->env) - block->full_us;
    return block == NULL ? 0 : block->bytes;
}

version_t storage_commit_version(const struct storage_server *storage)
{
    return storage->commit == NULL ? VERSION_NONE : storage->commit->version;
}

void storage_commit_detach(struct storage_server *storage)
{
    if (storage->commit == NULL)
        return;
    if (storage->commit->started) {
        storage->commit->server = NULL;
        storage->window = NULL; /* the block's now */
    } else {
        PROBE(storage->env, "a storage server goes while a commit is collected");
        drop_commit(storage);
    }
    storage->commit = NULL;
}

/* ---- telling ---- */

static void pop(struct storage_server *storage, const struct generation *generation)
{
    uint32_t indexes[LOG_REPLICATION_MAX];
    unsigned count = log_system_logs_of_tag(generation, storage->tag, indexes);
    version_t version = PLANTED_BUG(POP_TOO_EARLY) ? storage_version(storage) : storage->durable;

    for (unsigned i = 0; i < count; i++) {
        struct endpoint to = endpoint_of(&generation->logs[indexes[i]].endpoint);
        struct message *message;
        struct pop *m;

        if (BUGGIFY(storage->env, "a pop goes to some logs of the tag alone"))
            continue;
        m = MESSAGE_NEW(pop, &message);

        m->tag = storage->tag;
        m->version = version < generation->end ? version : generation->end;
        rpc_send(storage->rpc, &to, message);
    }
}

void storage_report_durable(struct storage_server *storage, bool pops)
{
    const struct description *d = storage->description;
    struct endpoint controller;
    struct storage_durable *m;
    struct message *message;

    if (d == NULL)
        return;
    for (uint32_t i = 0; pops && i < d->generations_count; i++)
        if (d->generations[i].begin < storage->durable)
            pop(storage, &d->generations[i]);
    if (d->generations_count < 2 || d->controller.address.port == 0 ||
        BUGGIFY(storage->env, "storage does not tell the controller how far it is durable"))
        return;
    controller = endpoint_of(&d->controller);
    m = MESSAGE_NEW(storage_durable, &message);
    m->server_id = storage->id;
    m->tag = storage->tag;
    m->version = storage->durable;
    rpc_send(storage->rpc, &controller, message);
}
