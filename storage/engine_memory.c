/* The memory engine: everything in ordered maps, made durable as frames of a disk queue.
 *
 * A frame (engine_memory_frames.h) is a commit or a chunk of a snapshot.
 *
 * A chunk says: the keys of [from, to) (the last one: from `from` on) are exactly these; the first one of a sweep lists all meta
 * records as well. A sweep goes through the whole key space, a few chunks before each commit's frame, so that no commit waits for
 * all of the data. Chunks are taken from the maps when no commit is under way: what a chunk shows is the state that the frames
 * before it lead to.
 *
 * Replaying applies all frames in order, from wherever the queue now begins. What the frames before the last whole sweep leave
 * there, from a part of history alone, is replaced range by range; so it does not matter that they were there. The queue is popped
 * to where the last whole sweep began when its last chunk is durable, and a new sweep begins when the queue has grown past twice
 * the data: it stays within about four times the data.
 *
 * A commit changes the maps when it is durable, and not while somebody borrows from them: then its completion waits for the
 * release. */
#include <assert.h>
#include <stdio.h>

#include "net/buggify.h"
#include "net/error.h"
#include "net/mem.h"
#include "net/planted_bug.h"
#include "net/trace.h"
#include "storage/diskqueue.h"
#include "storage/engine_impl.h"
#include "storage/engine_memory_frames.h"
#include "txn/kv_map.h"

enum {
    SWEEP_STEP_BYTES = 64 * 1024,  /* at least, before each commit while a sweep is under way */
    SWEEP_START_BYTES = 1 << 20,   /* a queue shorter than this is left alone */
    FIRST_SEGMENT_BYTES = 256 * 1024
};

/* "QuoinMem": each queue has a directory of its own, so one id serves all. */
static const uint64_t memory_file_id = UINT64_C(0x516f696e4d656d31);

struct sweep {
    bool under_way;
    uint64_t begin;           /* position of its first chunk */
    struct bytes_buffer next; /* the key from which the next chunk goes on */
    bool whole_pending;       /* its last chunk is in the commit under way */
};

struct engine_memory {
    struct engine engine;
    struct kv_map *keys, *meta;
    uint64_t bytes; /* of keys and values */
    struct diskqueue *queue;
    struct op_list ops;
    struct op op; /* of the commit under way */
    struct diskqueue_commit wait;
    struct engine_commit *commit;
    struct sweep sweep;
    struct ready apply_hook, closed_hook;
    bool borrowed; /* since the last release */
    bool durable;  /* the commit under way waits for the release */
    bool closing;
    bool whole; /* while opening: a whole sweep was replayed, or the queue begins at its beginning */
    bool sweep_open;
    int error; /* of the commit under way */
    void (*closed)(void *ctx);
    void *closed_ctx;
    char directory[ENGINE_PATH_MAX];
};

struct memory_cursor {
    struct engine_cursor cursor;
    bool reverse, ended;
    struct bytes_buffer at; /* forward: just behind the last key; reverse: the last key */
};

static const struct engine_ops memory_ops;

static struct engine_memory *memory_of(struct engine *engine)
{
    return container_of(engine, struct engine_memory, engine);
}

/* ---- the maps ---- */

static int map_set(struct engine_memory *engine, struct bytes key, struct bytes value)
{
    struct bytes old;
    bool existed = kv_map_get(engine->keys, key, &old);
    size_t old_bytes = existed ? key.len + old.len : 0;
    int error = kv_map_set(engine->keys, key, value);

    if (error == 0)
        engine->bytes += key.len + value.len - old_bytes;
    return error;
}

/* end == NULL: to the last key. */
static void map_clear(struct engine_memory *engine, struct bytes begin, const struct bytes *end)
{
    struct bytes key, value, last;

    while (kv_map_at_or_after(engine->keys, begin, &key, &value) && (end == NULL || bytes_compare(key, *end) < 0)) {
        uint8_t after[SYSTEM_KEY_BYTES_MAX + 1];

        if (PLANTED_BUG(CLEAR_MISSES_LAST) && end != NULL && kv_map_before(engine->keys, *end, &last, &value) && bytes_equal(key, last))
            break;

        assert(key.len <= SYSTEM_KEY_BYTES_MAX);
        engine->bytes -= key.len + value.len;
        if (key.len > 0)
            memcpy(after, key.ptr, key.len);
        after[key.len] = 0;
        kv_map_clear_range(engine->keys, bytes_of(after, key.len), bytes_of(after, key.len + 1));
    }
}

static int map_set_meta(struct engine_memory *engine, struct bytes name, struct bytes value)
{
    uint8_t after[ENGINE_META_NAME_MAX + 1] = {0};

    assert(name.len <= ENGINE_META_NAME_MAX);
    if (value.len > 0)
        return kv_map_set(engine->meta, name, value);
    memcpy(after, name.ptr, name.len);
    kv_map_clear_range(engine->meta, name, bytes_of(after, name.len + 1));
    return 0;
}

static int apply_entry(struct engine_memory *engine, unsigned type, struct bytes key, struct bytes value)
{
    uint8_t after[SYSTEM_KEY_BYTES_MAX + 1];
    struct bytes end = value;

    assert(key.len <= SYSTEM_KEY_BYTES_MAX);
    switch (type) {
    case ENTRY_SET:
        return map_set(engine, key, value);
    case ENTRY_META:
        return map_set_meta(engine, key, value);
    case ENTRY_CLEAR:
        if (key.len > 0)
            memcpy(after, key.ptr, key.len);
        after[key.len] = 0;
        end = bytes_of(after, key.len + 1);
        break;
    default:
        break;
    }
    map_clear(engine, key, &end);
    return 0;
}

/* ---- replaying ---- */

static int replay_entries(struct engine_memory *engine, struct frame_reading *reading, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        unsigned type = frame_u8(reading);
        uint32_t key_bytes = frame_u32(reading), value_bytes = frame_u32(reading);
        struct bytes key = frame_bytes(reading, key_bytes), value = frame_bytes(reading, value_bytes);
        int error;

        if (reading->bad || !frame_entry_allowed(type, key))
            return ERROR_FILE_CORRUPT;
        error = apply_entry(engine, type, key, value);
        if (error != 0)
            return error;
    }
    return reading->left.len == 0 ? 0 : ERROR_FILE_CORRUPT;
}

static int clear_meta(struct engine_memory *engine)
{
    struct kv_map *fresh = kv_map_create();

    if (fresh == NULL)
        return ERROR_OUT_OF_MEMORY;
    kv_map_destroy(engine->meta);
    engine->meta = fresh;
    return 0;
}

static int replay_chunk(struct engine_memory *engine, struct frame_reading *reading)
{
    uint8_t flags = frame_u8(reading);
    uint64_t count = frame_u32(reading);
    struct bytes from, to;
    int error = 0;

    count += frame_u32(reading);
    from = frame_bytes(reading, frame_u32(reading));
    to = frame_bytes(reading, frame_u32(reading));
    if (reading->bad)
        return ERROR_FILE_CORRUPT;
    if (flags & CHUNK_FIRST)
        error = clear_meta(engine);
    if (error != 0)
        return error;
    map_clear(engine, from, flags & CHUNK_LAST ? NULL : &to);
    if (flags & CHUNK_FIRST)
        engine->sweep_open = true;
    if ((flags & CHUNK_LAST) && engine->sweep_open)
        engine->whole = true;
    return replay_entries(engine, reading, count);
}

static int replay(void *ctx, uint64_t position, uint64_t end, struct bytes data)
{
    struct engine_memory *engine = ctx;
    struct frame_reading reading = {.left = data};
    uint8_t type = frame_u8(&reading);
    uint64_t count;

    (void)end;
    if (position == 0)
        engine->whole = true;
    if (type == FRAME_CHUNK)
        return replay_chunk(engine, &reading);
    if (type != FRAME_COMMIT)
        return ERROR_FILE_CORRUPT;
    count = frame_u32(&reading);
    count += frame_u32(&reading);
    return replay_entries(engine, &reading, count);
}

/* ---- sweeping ---- */

static bool wants_sweep(const struct engine_memory *engine)
{
    uint64_t length = diskqueue_end(engine->queue) - diskqueue_begin(engine->queue);

    if (engine->sweep.under_way)
        return false;
    return (length > SWEEP_START_BYTES && length > 2 * engine->bytes) ||
           BUGGIFY(engine->engine.env, "a snapshot of the memory engine begins although the queue is short");
}

/* Pairs from `next` on until the chunk is long enough; *ret_to is a copy of the first key beyond. */
static int collect_pairs(struct engine_memory *engine, size_t bytes, struct bytes_buffer *pairs, uint32_t *ret_count,
                         struct bytes_buffer *to, bool *ret_last)
{
    struct bytes_buffer at = {0};
    struct bytes key, value;
    int error = bytes_buffer_append(&at, bytes_buffer_bytes(&engine->sweep.next));

    *ret_last = true;
    while (error == 0 && kv_map_at_or_after(engine->keys, bytes_buffer_bytes(&at), &key, &value)) {
        if (pairs->len >= bytes) {
            *ret_last = false;
            error = bytes_buffer_append(to, key);
            break;
        }
        error = frame_entry(pairs, ENTRY_SET, key, value);
        ++*ret_count;
        at.len = 0;
        if (error == 0)
            error = bytes_buffer_append(&at, key);
        if (error == 0)
            error = bytes_buffer_append(&at, bytes_of("", 1));
    }
    bytes_buffer_done(&at);
    return error;
}

static int collect_meta(struct engine_memory *engine, struct bytes_buffer *pairs, uint32_t *ret_count)
{
    uint8_t at[ENGINE_META_NAME_MAX + 1];
    struct bytes from = bytes_none(), name, value;
    int error = 0;

    while (error == 0 && kv_map_at_or_after(engine->meta, from, &name, &value)) {
        error = frame_entry(pairs, ENTRY_META, name, value);
        ++*ret_count;
        memcpy(at, name.ptr, name.len);
        at[name.len] = 0;
        from = bytes_of(at, name.len + 1);
    }
    return error;
}

static int append_chunk(struct engine_memory *engine, uint8_t flags, size_t bytes)
{
    struct bytes_buffer entries = {0}, to = {0}, head = {0};
    uint32_t pairs = 0, meta = 0;
    uint64_t position;
    bool last;
    int error = collect_pairs(engine, bytes, &entries, &pairs, &to, &last);

    if (error == 0 && (flags & CHUNK_FIRST))
        error = collect_meta(engine, &entries, &meta);
    if (last)
        flags |= CHUNK_LAST;
    if (error == 0)
        error = frame_chunk_head(flags, pairs, meta, bytes_buffer_bytes(&engine->sweep.next), bytes_buffer_bytes(&to), &head);
    if (error == 0) {
        struct bytes parts[2] = {bytes_buffer_bytes(&head), bytes_buffer_bytes(&entries)};

        error = diskqueue_append(engine->queue, parts, 2, &position);
    }
    if (error == 0 && (flags & CHUNK_FIRST))
        engine->sweep.begin = position;
    if (error == 0) {
        bytes_buffer_done(&engine->sweep.next);
        engine->sweep.next = to;
        to = (struct bytes_buffer){0};
        engine->sweep.under_way = !last;
        engine->sweep.whole_pending = last;
    }
    bytes_buffer_done(&entries);
    bytes_buffer_done(&to);
    bytes_buffer_done(&head);
    return error;
}

static int sweep_some(struct engine_memory *engine, size_t commit_bytes)
{
    size_t bytes = 2 * commit_bytes > SWEEP_STEP_BYTES ? 2 * commit_bytes : SWEEP_STEP_BYTES;

    assert(!engine->sweep.whole_pending);
    if (BUGGIFY(engine->engine.env, "a chunk of a snapshot holds one pair"))
        bytes = 1;
    if (engine->sweep.under_way)
        return append_chunk(engine, 0, bytes);
    if (!wants_sweep(engine))
        return 0;
    bytes_buffer_done(&engine->sweep.next);
    return append_chunk(engine, CHUNK_FIRST, bytes);
}

/* ---- committing ---- */

static int append_commit(struct engine_memory *engine)
{
    struct bytes_buffer frame = {0};
    struct bytes part;
    uint64_t position;
    int error = frame_commit(engine->commit, &frame);

    if (error == 0)
        error = sweep_some(engine, frame.len);
    part = bytes_buffer_bytes(&frame);
    if (error == 0)
        error = diskqueue_append(engine->queue, &part, 1, &position);
    bytes_buffer_done(&frame);
    return error;
}

static enum op_result write_frames(struct op *op)
{
    struct engine_memory *engine = container_of(op, struct engine_memory, op);
    int error = append_commit(engine);

    if (error != 0)
        return op_finish(op, error);
    diskqueue_commit(engine->queue, &engine->wait, op);
    return op_wait(op, 1);
}

static enum op_result frames_durable(struct op *op)
{
    return op_finish(op, container_of(op, struct engine_memory, op)->wait.error);
}

static int apply_changes(struct engine_memory *engine, const struct engine_commit *commit)
{
    int error = 0;

    for (size_t i = 0; i < commit->change_count && error == 0; i++)
        error = apply_entry(engine, frame_entry_type(&commit->changes[i]), commit->changes[i].key, commit->changes[i].value);
    for (size_t i = 0; i < commit->meta_count && error == 0; i++)
        error = map_set_meta(engine, bytes_of_string(commit->meta[i].name), commit->meta[i].value);
    return error;
}

static void finish_commit(struct engine_memory *engine)
{
    struct engine_commit *commit = engine->commit;
    int error = engine->error;

    engine->durable = false;
    engine->commit = NULL;
    if (error == 0)
        error = apply_changes(engine, commit);
    if (error == 0 && engine->sweep.whole_pending) {
        PROBE(engine->engine.env, "a whole snapshot of the memory engine lets its queue go");
        diskqueue_pop(engine->queue, engine->sweep.begin);
    }
    if (error == 0)
        engine->sweep.whole_pending = false;
    commit->error = error;
    if (engine->closing)
        env_ready(engine->engine.env, &engine->closed_hook, READY_COMMIT);
    commit->done(commit, error); /* may free it, start the next one or close the engine */
}

static void run_apply(struct ready *ready)
{
    struct engine_memory *engine = container_of(ready, struct engine_memory, apply_hook);

    if (engine->durable && engine->borrowed && !engine->closing)
        PROBE(engine->engine.env, "a durable commit waits until nobody borrows from the maps");
    if (engine->durable && (!engine->borrowed || engine->closing))
        finish_commit(engine);
}

static void commit_ended(struct op *op)
{
    struct engine_memory *engine = container_of(op, struct engine_memory, op);

    engine->error = op->error;
    engine->durable = true;
    env_ready(engine->engine.env, &engine->apply_hook, READY_COMMIT);
}

static const struct op_stage commit_stages[] = {
    {"WRITE", write_frames, OP_STAGE(1)},
    {"DURABLE", frames_durable, 0},
};
static const struct op_type commit_type = {"memory_engine_commit", commit_stages, 2, READY_COMMIT, commit_ended};

static void memory_commit_start(struct engine *base, struct engine_commit *commit)
{
    struct engine_memory *engine = memory_of(base);

    assert(engine->commit == NULL && !engine->closing);
    engine->commit = commit;
    engine->wait = (struct diskqueue_commit){0};
    op_start(&engine->op, &commit_type, &engine->ops);
}

/* Its commits run on the loop. */
static void memory_hurry(struct engine *base)
{
    (void)base;
}

/* ---- opening and closing ---- */

static void queue_directory(const char *directory, char out[ENGINE_PATH_MAX])
{
    int len = snprintf(out, ENGINE_PATH_MAX, "%s/queue", directory);

    assert(len > 0 && len < ENGINE_PATH_MAX);
}

static void memory_free(struct engine_memory *engine)
{
    diskqueue_close(engine->queue);
    kv_map_destroy(engine->keys);
    kv_map_destroy(engine->meta);
    bytes_buffer_done(&engine->sweep.next);
    env_ready_cancel(&engine->apply_hook);
    mem_free(engine);
}

static void run_closed(struct ready *ready)
{
    struct engine_memory *engine = container_of(ready, struct engine_memory, closed_hook);
    void (*closed)(void *ctx) = engine->closed;
    void *ctx = engine->closed_ctx;

    memory_free(engine);
    if (closed != NULL)
        closed(ctx);
}

static void memory_close(struct engine *base, void (*closed)(void *ctx), void *ctx)
{
    struct engine_memory *engine = memory_of(base);

    assert(!engine->closing);
    engine->closing = true;
    engine->closed = closed;
    engine->closed_ctx = ctx;
    if (engine->commit != NULL) {
        PROBE(base->env, "the memory engine closes while a commit is under way");
        op_hurry_all(&engine->ops); /* at the end of a process no timer fires any more */
    }
    if (engine->commit == NULL)
        env_ready(base->env, &engine->closed_hook, READY_COMMIT);
    else if (engine->durable)
        env_ready(base->env, &engine->apply_hook, READY_COMMIT);
}

static int open_queue(struct engine_memory *engine)
{
    char directory[ENGINE_PATH_MAX];
    struct diskqueue_options options = {
        .directory = directory,
        .file_id = memory_file_id,
        .segment_bytes = (uint64_t)engine->engine.env->knobs.log_segment_bytes,
        .first_segment_bytes = FIRST_SEGMENT_BYTES,
    };
    int error;

    if (options.first_segment_bytes > options.segment_bytes)
        options.first_segment_bytes = options.segment_bytes;
    queue_directory(engine->directory, directory);
    error = diskqueue_open(engine->engine.env, &options, replay, engine, &engine->queue);
    if (error != 0)
        return error;
    if (diskqueue_begin(engine->queue) == 0 || engine->whole)
        return 0;
    TRACE(engine->engine.env, SEVERITY_WARN_ALWAYS, "EngineDamaged", {"Directory", trace_str(engine->directory)},
          {"What", trace_str("no whole snapshot")});
    return ERROR_FILE_CORRUPT;
}

int engine_memory_open(struct env *env, const char *directory, struct engine **ret_engine)
{
    struct engine_memory *engine = mem_zalloc(sizeof(*engine));
    int error;

    if (engine == NULL)
        return ERROR_OUT_OF_MEMORY;
    engine->engine = (struct engine){&memory_ops, env};
    engine->apply_hook.run = run_apply;
    engine->closed_hook.run = run_closed;
    op_list_init(&engine->ops, env, engine);
    snprintf(engine->directory, sizeof(engine->directory), "%s", directory);
    engine->keys = kv_map_create();
    engine->meta = kv_map_create();
    error = engine->keys == NULL || engine->meta == NULL ? ERROR_OUT_OF_MEMORY : open_queue(engine);
    if (error != 0) {
        memory_free(engine);
        return error;
    }
    *ret_engine = &engine->engine;
    return 0;
}

int engine_memory_remove(struct env *env, const char *directory)
{
    char queue[ENGINE_PATH_MAX];
    int error;

    queue_directory(directory, queue);
    error = diskqueue_remove(env, queue);
    return error == ERROR_FILE_NOT_FOUND ? 0 : error;
}

/* ---- reading ---- */

static int memory_get(struct engine *base, struct bytes key, bool *ret_found, struct bytes *ret_value)
{
    struct engine_memory *engine = memory_of(base);

    engine->borrowed = true;
    *ret_found = kv_map_get(engine->keys, key, ret_value);
    return 0;
}

static int memory_meta_get(struct engine *base, const char *name, bool *ret_found, struct bytes *ret_value)
{
    struct engine_memory *engine = memory_of(base);

    engine->borrowed = true;
    *ret_found = kv_map_get(engine->meta, bytes_of_string(name), ret_value);
    return 0;
}

static struct memory_cursor *memory_cursor_of(struct engine_cursor *cursor)
{
    return container_of(cursor, struct memory_cursor, cursor);
}

static int memory_cursor_open(struct engine *base, bool reverse, struct engine_cursor **ret_cursor)
{
    struct memory_cursor *self = mem_zalloc(sizeof(*self));

    if (self == NULL)
        return ERROR_OUT_OF_MEMORY;
    self->cursor.engine = base;
    self->reverse = reverse;
    self->ended = true;
    memory_of(base)->borrowed = true;
    *ret_cursor = &self->cursor;
    return 0;
}

static int memory_find(struct memory_cursor *self, struct bytes from, bool *ret_found, struct bytes *ret_key,
                       struct bytes *ret_value)
{
    const struct kv_map *keys = memory_of(self->cursor.engine)->keys;
    int error;

    *ret_found = self->reverse ? kv_map_before(keys, from, ret_key, ret_value)
                               : kv_map_at_or_after(keys, from, ret_key, ret_value);
    self->ended = !*ret_found;
    if (self->ended)
        return 0;
    self->at.len = 0;
    error = bytes_buffer_append(&self->at, *ret_key);
    if (error == 0 && !self->reverse)
        error = bytes_buffer_append(&self->at, bytes_of("", 1));
    return error;
}

static int memory_cursor_seek(struct engine_cursor *cursor, struct bytes key, bool *ret_found, struct bytes *ret_key,
                              struct bytes *ret_value)
{
    return memory_find(memory_cursor_of(cursor), key, ret_found, ret_key, ret_value);
}

static int memory_cursor_next(struct engine_cursor *cursor, bool *ret_found, struct bytes *ret_key, struct bytes *ret_value)
{
    struct memory_cursor *self = memory_cursor_of(cursor);

    if (self->ended) {
        *ret_found = false;
        return 0;
    }
    return memory_find(self, bytes_buffer_bytes(&self->at), ret_found, ret_key, ret_value);
}

static void memory_cursor_close(struct engine_cursor *cursor)
{
    bytes_buffer_done(&memory_cursor_of(cursor)->at);
    mem_free(memory_cursor_of(cursor));
}

static void memory_release(struct engine *base)
{
    struct engine_memory *engine = memory_of(base);

    engine->borrowed = false;
    if (engine->durable)
        env_ready(base->env, &engine->apply_hook, READY_COMMIT);
}

/* ---- status and check ---- */

static void memory_status(struct engine *base, struct engine_status *ret_status)
{
    struct engine_memory *engine = memory_of(base);
    struct env_space space = {0};

    if (env_dir_space(base->env, engine->directory, &space) != 0)
        space = (struct env_space){0};
    *ret_status = (struct engine_status){
        .keys = kv_map_count(engine->keys),
        .bytes = engine->bytes,
        .file_bytes = kv_map_bytes(engine->keys),
        .free_bytes = space.free_bytes,
        .commit_under_way = engine->commit != NULL,
    };
}

/* Reads every frame back from the disk, and compares the map with what was counted along the way. */
static int64_t memory_check(struct engine *base, void (*report)(void *ctx, struct bytes key, const char *what), void *ctx)
{
    struct engine_memory *engine = memory_of(base);
    uint64_t position = diskqueue_begin(engine->queue), end = diskqueue_durable_end(engine->queue);
    int64_t damages = 0;
    int error = 0;

    while (position < end && error == 0) {
        struct arena arena = {0};
        struct bytes data;

        error = diskqueue_read(engine->queue, position, &arena, &data, &position);
        arena_done(&arena);
    }
    if (error != 0 && error != ERROR_FILE_CORRUPT)
        return -error;
    if (error != 0) {
        damages++;
        if (report != NULL)
            report(ctx, bytes_none(), "frame of the queue");
    }
    return damages;
}

static const struct engine_ops memory_ops = {
    .close = memory_close,
    .get = memory_get,
    .meta_get = memory_meta_get,
    .cursor_open = memory_cursor_open,
    .cursor_seek = memory_cursor_seek,
    .cursor_next = memory_cursor_next,
    .cursor_close = memory_cursor_close,
    .release = memory_release,
    .commit_start = memory_commit_start,
    .hurry = memory_hurry,
    .status = memory_status,
    .check = memory_check,
};
