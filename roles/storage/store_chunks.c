/* Chunks of shards that move here, straight into the engine.
 *
 * A chunk of a megabyte that went through the window would stay there for the 5 s of history and cost a node a key: moves would be
 * as slow as the window's memory allows. But nobody reads a piece in state FETCH, and its mutations are kept aside: of such a range
 * the engine may hold whatever it likes. So the pairs are written at once, in a commit that touches nothing else: neither the
 * server's record nor the map of what is held, which says FETCH until FETCHED since W is durable. A crash before that finds a piece to
 * be fetched, and its first chunk clears what is there.
 *
 *   chunk comes -> waits for the engine -> written and durable -> enters at W: what was written above F follows, FETCHED since W
 *
 * What would break it: a mutation of before the assignment that is still in the window and would be written over the pairs later (of
 * a range that we gave up a moment ago, say). Such a chunk is not stored; it goes through the window, which keeps the order.
 * Whether it still fits is asked again when it enters.
 *
 * One block at a time, and never beside a commit of the window: the engine takes one. The block borrows from the chunks, which it
 * holds, and outlives the server if need be. */
#include "net/buggify.h"
#include "net/error.h"
#include "net/mem.h"
#include "roles/storage/storage_internal.h"

enum { CHUNKS_MAX = 16, LATE_US = 200000 };

struct chunk_block {
    struct engine_commit commit;
    struct storage_server *server; /* NULL: detached */
    struct list storing;           /* of struct chunk_storing; those whose fetch was cancelled have left it */
    struct arena arena;            /* where the chunks begin */
    struct message *chunks[CHUNKS_MAX]; /* owned */
    uint32_t chunk_count;
    struct engine_change *changes;
    size_t change_count;
};

static void free_block(struct chunk_block *block)
{
    for (uint32_t i = 0; i < block->chunk_count; i++)
        message_unref(block->chunks[i]);
    arena_done(&block->arena);
    mem_free(block->changes);
    mem_free(block);
}

static const struct fetch_range_reply *reply_of(const struct chunk_storing *storing)
{
    return MESSAGE_BODY(fetch_range_reply, storing->chunk);
}

bool storage_window_is_clean(const struct storage_server *storage, struct bytes begin, struct bytes end)
{
    struct window_iterator iterator;
    struct window_entry entry;

    if (storage->discarding)
        return false;
    window_iterator_init(&iterator, storage->window, window_newest(storage->window), begin, end, false);
    return !window_iterator_next(&iterator, &entry);
}

static bool may_be_stored(const struct storage_server *storage, const struct chunk_storing *storing)
{
    const struct fetch_range_reply *reply = reply_of(storing);

    return reply->version >= storage->moves.floor &&
           ownership_awaits(storage->owned, storing->begin, reply->through, reply->version) &&
           storage_window_is_clean(storage, storing->begin, reply->through);
}

static void tell(struct chunk_storing *storing, bool stored)
{
    list_remove(&storing->link);
    storing->done(storing, stored);
}

/* ---- the block ---- */

/* Takes the chunk in, in the order of their ranges: changes of a commit come in key order. */
static void take(struct chunk_block *block, struct chunk_storing *storing)
{
    struct list *at = &block->storing;

    list_remove(&storing->link);
    list_each(node, after, &block->storing)
        if (bytes_compare(storing->begin, list_entry(node, struct chunk_storing, link)->begin) < 0) {
            at = node;
            break;
        }
    list_push_back(at, &storing->link); /* before it */
    block->chunks[block->chunk_count++] = message_ref(storing->chunk);
    block->change_count += 1 + reply_of(storing)->count;
}

static void add_changes(struct chunk_block *block, const struct chunk_storing *storing, struct engine_change **next)
{
    const struct fetch_range_reply *reply = reply_of(storing);
    struct bytes pairs = reply->pairs, begin;
    int error = arena_copy(&block->arena, storing->begin, &begin);

    assert(error == 0); /* a server dies of a failed allocation before it gets here */
    *(*next)++ = (struct engine_change){.type = ENGINE_CLEAR_RANGE, .key = begin, .value = reply->through};
    while (pairs.len > 0) {
        size_t key_len = get_le32(pairs.ptr), value_len = get_le32(pairs.ptr + 4);
        const uint8_t *key = pairs.ptr + PAIR_HEADER_BYTES;

        *(*next)++ = (struct engine_change){
            .type = ENGINE_SET, .key = bytes_of(key, key_len), .value = bytes_of(key + key_len, value_len)};
        pairs = bytes_of(key + key_len + value_len, pairs.len - PAIR_HEADER_BYTES - key_len - value_len);
    }
}

static void fill(struct chunk_block *block)
{
    struct engine_change *next = block->changes = mem_alloc(block->change_count * sizeof(*block->changes));

    list_each(node, after, &block->storing)
        add_changes(block, list_entry(node, struct chunk_storing, link), &next);
    assert(next == block->changes + block->change_count);
    block->commit.changes = block->changes;
    block->commit.change_count = block->change_count;
}

static void store_done(struct engine_commit *commit, int error)
{
    struct chunk_block *block = container_of(commit, struct chunk_block, commit);
    struct storage_server *storage = block->server;

    if (storage == NULL) {
        free_block(block);
        return;
    }
    storage->moves.block = NULL;
    if (error == 0 && BUGGIFY_DEATH(storage->env, 8, "a storage server ends when the engine has chunks that it was given"))
        error = ERROR_IO_ERROR;
    storage->moves.stored_chunks += error == 0 ? block->chunk_count : 0;
    while (!list_empty(&block->storing))
        tell(list_entry(block->storing.next, struct chunk_storing, link), error == 0);
    free_block(block);
    if (error != 0) {
        TRACE(storage->env, SEVERITY_WARN_ALWAYS, "StorageChunksNotStored", {"Id", trace_id(storage->id)},
              {"Error", trace_str(error_name(error))});
        storage_end(storage, error);
    } else if (storage->removed) {
        storage_end(storage, ERROR_WORKER_REMOVED);
    } else {
        storage_consider_commit(storage);
        storage_store_look(storage);
        storage_sweep_look(storage);
    }
}

/* ---- when ---- */

void storage_store_chunks(struct ready *ready)
{
    struct storage_server *storage = container_of(ready, struct storage_server, moves.store);
    struct chunk_block *block;
    bool late = false;

    if (storage->ended || storage->removed || storage_engine_is_busy(storage) || list_empty(&storage->moves.to_store))
        return;
    block = mem_zalloc(sizeof(*block));
    list_init(&block->storing);
    list_each(node, after, &storage->moves.to_store) {
        struct chunk_storing *storing = list_entry(node, struct chunk_storing, link);

        if (block->chunk_count == CHUNKS_MAX)
            break;
        if (may_be_stored(storage, storing)) {
            late |= storing->since_us + LATE_US <= env_now_us(storage->env);
            take(block, storing);
            continue;
        }
        PROBE(storage->env, "a chunk that waited for the engine does not go there any more");
        tell(storing, false);
    }
    if (block->chunk_count == 0) {
        free_block(block);
        return;
    }
    fill(block);
    block->server = storage;
    block->commit.urgent = late || storage_engine_hurries(storage); /* behind all other work a move would never end on a busy machine */
    block->commit.done = store_done;
    storage->moves.block = block;
    PROBE(storage->env, "chunks go straight into the engine");
    engine_commit_start(storage->engine, &block->commit);
}

void storage_store_look(struct storage_server *storage)
{
    if (!list_empty(&storage->moves.to_store) && !storage_engine_is_busy(storage))
        env_ready(storage->env, &storage->moves.store, READY_READ);
}

void storage_store_chunk(struct storage_server *storage, struct chunk_storing *storing)
{
    storing->since_us = env_now_us(storage->env);
    list_push_back(&storage->moves.to_store, &storing->link);
    storage_store_look(storage);
}

void storage_store_detach(struct storage_server *storage)
{
    if (storage->moves.block == NULL)
        return;
    PROBE(storage->env, "a storage server goes while chunks are stored");
    assert(list_empty(&storage->moves.block->storing));
    storage->moves.block->server = NULL;
    storage->moves.block = NULL;
}
