/* Clears what the engine holds of ranges that are not ours, in slices.
 *
 * Giving a shard up writes nothing. To clear it in the commit that makes that durable would be simple, and takes as long as its pages take to
 * be read: minutes for gigabytes of a file that is larger than memory, while moves, the durable version and the logs wait. So what was
 * given up stays where it is, and nobody reads it; this goes over the key space, and clears a slice a commit, as a commit that touches
 * neither the server's record nor its map.
 *
 * What must hold, or data is lost: a range is swept only when it is held neither by the durable map, nor by the newest one, nor by anything between
 * them. Then no roll-back and no restart can make it ours again; a new assignment finds a piece to be fetched, whose chunks come in
 * later than a slice that is under way, for the engine takes one commit at a time.
 *
 * Nothing is kept of what is left to do: each change of the durable map, and each start, goes over the key space again, which costs a seek for each gap
 * between what is held. The engine takes one commit at a time: so slices are small, do not give way to others (chunks that wait for one would
 * give way with it), and after each it rests for four times as long as that took. */
#include "net/buggify.h"
#include "net/error.h"
#include "net/mem.h"
#include "net/planted_bug.h"
#include "roles/storage/storage_internal.h"

enum { GAPS_A_TURN = 64, REST = 4 };

struct sweep_block {
    struct engine_commit commit;
    struct storage_server *server; /* NULL: detached */
    struct engine_change change;
    struct arena arena; /* the change's keys */
    int64_t started_us;
};

static void free_block(struct sweep_block *block)
{
    arena_done(&block->arena);
    mem_free(block);
}

/* ---- gaps ---- */

/* `key` does not lie in `at`. */
static void go_to(struct sweep *sweep, struct bytes key)
{
    int error = bytes_buffer_set(&sweep->at, key);

    assert(error == 0); /* a server dies of a failed allocation before it gets here */
}

/* Moves *at behind what the map holds there, and *end before what it holds next. */
static bool step_over(const struct ownership *map, struct bytes *at, struct bytes *end)
{
    const struct held_shard *piece = ownership_piece(map, *at), *next;

    if (piece != NULL) {
        *at = piece->end;
        return true;
    }
    next = ownership_first(map, *at, *end, SERVER_KEYS_NONE);
    if (next != NULL)
        *end = next->begin;
    return false;
}

static bool step_over_assignments(const struct storage_server *storage, struct bytes *at, struct bytes *end)
{
    list_each(node, after, &storage->assignments) {
        const struct assignment *assignment = list_entry(node, struct assignment, link);

        if (bytes_compare(assignment->end, *at) <= 0 || bytes_compare(assignment->begin, *end) >= 0)
            continue;
        if (bytes_compare(assignment->begin, *at) <= 0) {
            *at = assignment->end;
            return true;
        }
        *end = assignment->begin;
    }
    return false;
}

/* Moves *at or *end so that nothing in between can be ours again. */
static bool step_over_what_may_be_ours(const struct storage_server *storage, struct bytes *at, struct bytes *end)
{
    return step_over(storage->owned, at, end) ||
           (!PLANTED_BUG(SWEEP_TOO_EARLY) && (step_over(storage->base, at, end) || step_over_assignments(storage, at, end)));
}

/* The first gap at or behind `at`. False: there is none. Borrowed from the maps. */
static bool next_gap(const struct storage_server *storage, struct bytes at, struct bytes *ret_begin, struct bytes *ret_end)
{
    struct bytes end;

    do {
        end = KEY_SYSTEM_END;
        if (bytes_compare(at, end) >= 0)
            return false;
    } while (step_over_what_may_be_ours(storage, &at, &end));
    *ret_begin = at;
    *ret_end = end;
    return true;
}

/* ---- a slice ---- */

static void slice_done(struct engine_commit *commit, int error)
{
    struct sweep_block *block = container_of(commit, struct sweep_block, commit);
    struct storage_server *storage = block->server;
    int64_t started_us = block->started_us, now_us;

    free_block(block);
    if (storage == NULL)
        return;
    storage->sweep.block = NULL;
    if (error == 0 && BUGGIFY_DEATH(storage->env, 8, "a storage server ends when a slice of what it gave up is cleared"))
        error = ERROR_IO_ERROR;
    if (error != 0) {
        TRACE(storage->env, SEVERITY_WARN_ALWAYS, "StorageSweepFailed", {"Id", trace_id(storage->id)}, {"Error", trace_str(error_name(error))});
        storage_end(storage, error);
        return;
    }
    if (storage->removed) {
        storage_end(storage, ERROR_WORKER_REMOVED);
        return;
    }
    storage->sweep.slices++;
    storage_consider_commit(storage);
    storage_store_look(storage);
    now_us = env_now_us(storage->env);
    env_timer_start(storage->env, &storage->sweep.rest, now_us + REST * (now_us - started_us));
}

/* `whole`: without a bound. */
static void clear_slice(struct storage_server *storage, struct bytes begin, struct bytes end, bool whole)
{
    struct sweep_block *block = mem_zalloc(sizeof(*block));
    int error = arena_copy(&block->arena, begin, &block->change.key);

    if (error == 0)
        error = arena_copy(&block->arena, end, &block->change.value);
    assert(error == 0);
    PROBE(storage->env, "what was given up is cleared in slices");
    TRACE(storage->env, SEVERITY_DEBUG, "StorageSweeps", {"Id", trace_id(storage->id)}, {"Durable", trace_int(storage->durable)},
          {"Begin", trace_bytes(begin)}, {"End", trace_bytes(end)});
    block->server = storage;
    block->started_us = env_now_us(storage->env);
    block->change.type = ENGINE_CLEAR_RANGE;
    block->commit.changes = &block->change;
    block->commit.change_count = 1;
    block->commit.clear_bytes_max = whole ? 0 : (size_t)storage->env->knobs.storage_sweep_bytes;
    block->commit.urgent = !BUGGIFY(storage->env, "what was given up is cleared behind all other work");
    block->commit.done = slice_done;
    storage->sweep.block = block;
    engine_commit_start(storage->engine, &block->commit);
}

/* ---- the round ---- */

enum found { NOTHING_HERE, SOMETHING_HERE, DAMAGE_HERE };

/* Goes to the first key at or behind `begin`, where a gap begins. Of a damaged record the engine does not say which key it has: then behind the
 * gap, all of which is to be cleared. */
static int look_into(struct storage_server *storage, struct bytes begin, struct bytes end, enum found *ret_found)
{
    struct engine_cursor *cursor;
    struct bytes key, value;
    bool found = false;
    int error = engine_cursor_open(storage->engine, false, &cursor);

    if (error != 0)
        return error;
    storage_reads_engine(storage);
    error = engine_cursor_seek(cursor, begin, &found, &key, &value);
    *ret_found = error == ERROR_FILE_CORRUPT ? DAMAGE_HERE : found && bytes_compare(key, end) < 0 ? SOMETHING_HERE : NOTHING_HERE;
    if (error == 0)
        go_to(&storage->sweep, found ? key : KEY_SYSTEM_END);
    engine_cursor_close(cursor);
    return error == ERROR_FILE_CORRUPT ? 0 : error;
}

static void run(struct ready *ready)
{
    struct storage_server *storage = container_of(ready, struct storage_server, sweep.look);
    struct sweep *sweep = &storage->sweep;

    if (storage->ended || storage->removed || !storage->recorded || storage_engine_is_busy(storage))
        return; /* whoever is done with the engine looks again */
    for (int i = 0; i < GAPS_A_TURN; i++) {
        struct bytes begin, end;
        enum found found;
        int error;

        if (!next_gap(storage, bytes_buffer_bytes(&sweep->at), &begin, &end)) {
            sweep->wanted = false;
            return;
        }
        error = look_into(storage, begin, end, &found);
        if (error != 0) {
            storage_end(storage, error);
            return;
        }
        if (found != NOTHING_HERE) {
            clear_slice(storage, found == DAMAGE_HERE ? begin : bytes_buffer_bytes(&sweep->at), end, found == DAMAGE_HERE);
            if (found == DAMAGE_HERE)
                go_to(sweep, end);
            return;
        }
    }
    env_ready(storage->env, &sweep->look, READY_READ);
}

static void rested(struct env_timer *timer)
{
    storage_sweep_look(container_of(timer, struct storage_server, sweep.rest));
}

void storage_sweep_look(struct storage_server *storage)
{
    struct sweep *sweep = &storage->sweep;

    if (sweep->wanted && !storage->ended && !storage_engine_is_busy(storage) && sweep->rest.heap_index_plus_1 == 0)
        env_ready(storage->env, &sweep->look, READY_READ);
}

void storage_sweep(struct storage_server *storage)
{
    storage->sweep.wanted = true;
    storage->sweep.at.len = 0;
    storage_sweep_look(storage);
}

void storage_sweep_init(struct storage_server *storage)
{
    storage->sweep.look.run = run;
    storage->sweep.rest.fire = rested;
}

void storage_sweep_done(struct storage_server *storage)
{
    env_ready_cancel(&storage->sweep.look);
    env_timer_cancel(storage->env, &storage->sweep.rest);
    bytes_buffer_done(&storage->sweep.at);
    if (storage->sweep.block != NULL) {
        PROBE(storage->env, "a storage server goes while it clears what it gave up");
        storage->sweep.block->server = NULL;
    }
    storage->sweep.block = NULL;
}
