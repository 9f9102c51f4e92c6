/* Fetching a piece of a shard from those who have it: one op for each piece in state FETCH, some at a time.
 *
 *   LOOK <--------------------------------------------+----------+
 *     | \--> (nothing may be asked for: waits)        |          |
 *     |  \--> LOCATE -> LOCATED ----------------------+--> PAUSE |
 *     v                                               |      ^   |
 *    ASK -> JUDGE -> (STORE) -> ENTER ----------------+      |   |
 *              \---------------------------------------------+---+
 *
 * LOOK decides what comes next. LOCATE asks a commit proxy who may be read. ASK wants the next chunk from one of them, as of
 * F = min(known committed, our version): that never was nor will be taken back, by us or by them. JUDGE checks what came. ENTER
 * puts it into the window at W, our version now: what was there is cleared, the pairs are set, and what was written there above F
 * (fetch_buffer.c) follows. Pairs that STORE has put into the engine already (store_chunks.c) need no place in the window. From W on the stream applies to it as to all else, and the map says FETCHED since W. That is kept like
 * an assignment at version W: a roll-back below W undoes it, and a commit of the engine has all of the chunk or nothing.
 *
 * What would break it: entering at a version that a commit of the engine is being made of, or that is durable (W waits until it is
 * above both); a chunk asked for an earlier assignment of the range, or older than what was pruned (ENTER looks at both again);
 * believing the bytes of a source without their digest. Nothing else needs to be cancelled when the world changes meanwhile:
 * a chunk that does not fit any more is dropped at the door. */
#include "net/buggify.h"
#include "net/error.h"
#include "net/mem.h"
#include "net/planted_bug.h"
#include "roles/storage/storage_internal.h"
#include "txn/digest.h"

enum { LOOK, LOCATE, LOCATED, ASK, JUDGE, STORE, ENTER, PAUSE, STAGES };
enum {
    SOURCES_MAX = 8,
    CALL_TIMEOUT_US = 5000000,
    LOOK_AGAIN_US = 50000,    /* for what nobody tells */
    SETTLED_US = 250000,      /* and for a charge that may turn out to be less */
    PAUSE_US = 20000,         /* after every source failed; doubles */
    PAUSE_MAX_US = 1000000,
    FAILURES_BEFORE_OTHERS = 4, /* a piece that nobody gives must not keep others waiting for ever */
};

struct fetch {
    struct op op;
    struct list link;
    struct storage_server *storage;
    struct bytes_buffer at;    /* what is below, of our piece, has come in */
    struct rpc_call call;
    struct wait_timer timer;
    struct wait_turn turn;
    struct endpoint sources[SOURCES_MAX];
    uint32_t source_count, source; /* the one to ask next */
    uint32_t failures;         /* in a row */
    struct bytes_buffer located_end; /* of the sources' shard */
    version_t version;         /* of the chunk asked for or at hand; VERSION_NONE: none */
    struct message *chunk;     /* owned: waits to be entered */
    struct chunk_storing storing;
    bool stored;               /* the engine has its pairs */
    bool heals;                /* as of the last LOOK: at the rate of heals, and counted among them */
    struct fetch_rate *charged; /* for the chunk that is asked for; NULL: none is */
    int64_t charge;
    bool told;                 /* a chunk came in, and with it: */
    uint64_t bytes_left;       /* of the piece, as the source's sample has it */
};

static struct fetch *fetch_of(struct op *op)
{
    return container_of(op, struct fetch, op);
}

static struct bytes at_of(const struct fetch *fetch)
{
    return bytes_buffer_bytes(&fetch->at);
}

/* For those who look on. `last`: the piece is whole; Above: how far we are above what is known committed. */
static void announce(const struct fetch *fetch, const char *what, bool last)
{
    TRACE(fetch->op.env, SEVERITY_DEBUG, what, {"Id", trace_id(fetch->storage->id)},
          {"Source", trace_id(fetch->source_count == 0 ? 0 : fetch->sources[fetch->source % fetch->source_count].id)},
          {"Version", trace_int(fetch->version)}, {"Above", trace_int(storage_version(fetch->storage) - fetch->storage->known_committed)},
          {"Last", trace_int(last)}, {"Begin", trace_bytes(at_of(fetch))});
}

/* ---- LOOK ---- */

static const struct held_shard *piece_of(const struct fetch *fetch)
{
    const struct held_shard *piece = ownership_piece(fetch->storage->owned, at_of(fetch));

    return piece != NULL && piece->state == SERVER_KEYS_FETCH ? piece : NULL;
}

static bool located(const struct fetch *fetch)
{
    return fetch->source_count > 0 && bytes_compare(at_of(fetch), bytes_buffer_bytes(&fetch->located_end)) < 0;
}

/* The version at which a chunk may be had now, or VERSION_NONE. */
static version_t version_for(const struct storage_server *storage, const struct held_shard *piece)
{
    version_t version = storage->known_committed, own = storage_version(storage);

    version = own < version ? own : version;
    return version >= piece->since && version >= storage->moves.floor ? version : VERSION_NONE;
}

/* Half of the memory is for what the stream brings. But where that alone takes more, fetching still goes on, chunk by chunk. */
static bool has_room(const struct storage_server *storage)
{
    return window_bytes(storage->window) <= (size_t)storage->env->knobs.storage_memory_bytes_max / 2 ||
           storage->moves.entered <= storage->durable;
}

static void judge_urgency(struct fetch *fetch, const struct held_shard *piece)
{
    bool heals = storage_piece_heals(fetch->storage, piece);

    if (heals && !fetch->heals)
        fetch->storage->moves.heal_count++;
    else if (!heals && fetch->heals)
        fetch->storage->moves.heal_count--;
    fetch->heals = heals;
}

static struct fetch_rate *rate_of(const struct fetch *fetch)
{
    struct moves *moves = &fetch->storage->moves;

    return fetch->heals ? &moves->heal_rate : &moves->rate;
}

static int64_t bytes_per_second(const struct fetch *fetch)
{
    const struct knobs *knobs = &fetch->op.env->knobs;
    int64_t moves = knobs->storage_fetch_bytes_per_second, heals = knobs->storage_heal_bytes_per_second;

    return fetch->heals && heals > moves ? heals : moves;
}

/* A chunk counts from when it is asked for, as a whole one until its size is known: else as many as are fetched at a time would come at once whenever
 * the rate allows any. */
static void charge(struct fetch *fetch)
{
    fetch->charged = rate_of(fetch);
    fetch->charge = fetch->op.env->knobs.storage_fetch_chunk_bytes;
    fetch->charged->tokens -= fetch->charge;
}

static void settle(struct fetch *fetch, size_t bytes)
{
    if (fetch->charged != NULL)
        fetch->charged->tokens += fetch->charge - (int64_t)bytes;
    fetch->charged = NULL;
}

/* How long until the rate allows another chunk. The bucket holds a quarter of a second, and is empty at first. */
static int64_t rate_delay_us(struct fetch *fetch)
{
    struct fetch_rate *bucket = rate_of(fetch);
    int64_t rate = bytes_per_second(fetch), now_us = env_now_us(fetch->op.env);

    if (bucket->tokens_us == 0)
        bucket->tokens_us = now_us;
    if (now_us > bucket->tokens_us + 1000000)
        bucket->tokens_us = now_us - 1000000;
    bucket->tokens += (now_us - bucket->tokens_us) * rate / 1000000;
    bucket->tokens_us = now_us;
    if (bucket->tokens > rate / 4)
        bucket->tokens = rate / 4;
    return bucket->tokens >= 0 ? 0 : -bucket->tokens * 1000000 / rate + 1;
}

static enum op_result look_again(struct fetch *fetch, int64_t delay_us)
{
    wait_timer_start(&fetch->timer, &fetch->op, delay_us);
    return op_wait(&fetch->op, LOOK);
}

static enum op_result look(struct op *op)
{
    struct fetch *fetch = fetch_of(op);
    struct storage_server *storage = fetch->storage;
    const struct held_shard *piece = piece_of(fetch);
    int64_t delay_us;

    fetch->version = VERSION_NONE;
    settle(fetch, 0);
    rpc_call_clear(&fetch->call);
    message_unref(fetch->chunk);
    fetch->chunk = NULL;
    fetch->stored = false;
    if (piece == NULL || storage->ended)
        return op_finish(op, 0);
    if (storage->discarding || storage->description == NULL ||
        (!has_room(storage) && !storage_window_is_clean(storage, at_of(fetch), piece->end)) ||
        version_for(storage, piece) == VERSION_NONE)
        return look_again(fetch, LOOK_AGAIN_US);
    judge_urgency(fetch, piece);
    delay_us = rate_delay_us(fetch);
    if (delay_us > 0)
        return look_again(fetch, delay_us < SETTLED_US ? delay_us : SETTLED_US);
    return op_move(op, located(fetch) ? ASK : LOCATE);
}

/* ---- LOCATE ---- */

static const struct role_ref *any_proxy(const struct storage_server *storage)
{
    const struct description *d = storage->description;
    uint32_t count = 0, chosen;

    for (uint32_t i = 0; i < d->roles_count; i++)
        count += d->roles[i].kind == ROLE_COMMIT_PROXY;
    if (count == 0)
        return NULL;
    chosen = (uint32_t)env_random_below(storage->env, count);
    for (uint32_t i = 0; i < d->roles_count; i++)
        if (d->roles[i].kind == ROLE_COMMIT_PROXY && chosen-- == 0)
            return &d->roles[i];
    return NULL;
}

static enum op_result locate(struct op *op)
{
    struct fetch *fetch = fetch_of(op);
    struct storage_server *storage = fetch->storage;
    const struct role_ref *proxy = any_proxy(storage);
    const struct held_shard *piece = piece_of(fetch);
    struct get_key_locations *m;
    struct message *message;
    struct endpoint to;

    fetch->source_count = fetch->source = 0;
    if (piece == NULL)
        return op_move(op, LOOK);
    if (proxy == NULL)
        return op_move(op, PAUSE);
    m = MESSAGE_NEW(get_key_locations, &message);
    if (m == NULL || arena_copy(&message->arena, at_of(fetch), &m->begin) != 0 ||
        arena_copy(&message->arena, piece->end, &m->end) != 0) {
        message_unref(message);
        return op_move(op, PAUSE);
    }
    m->limit = 1;
    to = endpoint_of(&proxy->endpoint);
    rpc_call_start(&fetch->call, op, storage->rpc, &to, message, CALL_TIMEOUT_US);
    return op_wait(op, LOCATED);
}

static enum op_result located_done(struct op *op)
{
    struct fetch *fetch = fetch_of(op);
    const struct get_key_locations_reply *reply;
    const struct location *location;

    if (fetch->call.error != 0 || fetch->call.reply == NULL)
        return op_move(op, PAUSE);
    reply = MESSAGE_BODY(get_key_locations_reply, fetch->call.reply);
    if (reply->locations_count == 0)
        return op_move(op, PAUSE);
    location = &reply->locations[0];
    fetch->located_end.len = 0;
    if (bytes_compare(location->begin, at_of(fetch)) > 0 || bytes_compare(location->end, at_of(fetch)) <= 0 ||
        bytes_buffer_append(&fetch->located_end, location->end) != 0)
        return op_move(op, PAUSE);
    for (uint32_t i = 0; i < location->servers_count && fetch->source_count < SOURCES_MAX; i++)
        if (location->servers[i].id != fetch->storage->id)
            fetch->sources[fetch->source_count++] = endpoint_of(&location->servers[i]);
    if (fetch->source_count == 0) {
        PROBE(op->env, "nobody else has what is to be fetched");
        return op_move(op, PAUSE);
    }
    fetch->source = (uint32_t)env_random_below(op->env, fetch->source_count);
    return op_move(op, LOOK);
}

/* ---- ASK ---- */

static enum op_result ask(struct op *op)
{
    struct fetch *fetch = fetch_of(op);
    struct storage_server *storage = fetch->storage;
    const struct held_shard *piece = piece_of(fetch);
    struct fetch_range *m;
    struct message *message;

    if (piece == NULL || !located(fetch))
        return op_move(op, LOOK);
    m = MESSAGE_NEW(fetch_range, &message);
    if (m == NULL || arena_copy(&message->arena, at_of(fetch), &m->begin) != 0 ||
        arena_copy(&message->arena, bytes_min(piece->end, bytes_buffer_bytes(&fetch->located_end)), &m->end) != 0) {
        message_unref(message);
        return op_move(op, PAUSE);
    }
    fetch->version = m->version = version_for(storage, piece);
    if (m->version == VERSION_NONE) {
        message_unref(message);
        return op_move(op, LOOK);
    }
    m->bytes_limit = (uint32_t)storage->env->knobs.storage_fetch_chunk_bytes;
    announce(fetch, "StorageChunkAsked", false);
    charge(fetch);
    rpc_call_start(&fetch->call, op, storage->rpc, &fetch->sources[fetch->source % fetch->source_count], message,
                   BUGGIFY_ONE_IN(op->env, 16, "a chunk is given up after some milliseconds") ? PAUSE_US : CALL_TIMEOUT_US);
    return op_wait(op, JUDGE);
}

/* ---- JUDGE ---- */

/* NULL, or what is wrong with it. */
static const char *judge_pairs(const struct fetch *fetch, const struct fetch_range_reply *reply)
{
    struct bytes pairs = reply->pairs, last = bytes_none();
    uint32_t count = 0;

    for (; pairs.len > 0; count++) {
        size_t key_len, value_len;
        struct bytes key;

        if (pairs.len < PAIR_HEADER_BYTES)
            return "a pair is cut short";
        key_len = get_le32(pairs.ptr);
        value_len = get_le32(pairs.ptr + 4);
        if (key_len > SYSTEM_KEY_BYTES_MAX || value_len > VALUE_BYTES_MAX || pairs.len - PAIR_HEADER_BYTES < key_len + value_len)
            return "a pair's lengths";
        key = bytes_of(pairs.ptr + PAIR_HEADER_BYTES, key_len);
        if (bytes_compare(key, at_of(fetch)) < 0 || bytes_compare(key, reply->through) >= 0)
            return "a key outside of the chunk";
        if (count > 0 && bytes_compare(key, last) <= 0)
            return "keys out of order";
        last = key;
        pairs = bytes_of(key.ptr + key_len + value_len, pairs.len - PAIR_HEADER_BYTES - key_len - value_len);
    }
    return count == reply->count ? NULL : "the number of pairs";
}

static const char *judge(const struct fetch *fetch, const struct fetch_range_reply *reply)
{
    const struct held_shard *piece = piece_of(fetch);

    if (reply->version != fetch->version)
        return "it is of another version than was asked for";
    if (reply->digest != fetch_digest(at_of(fetch), reply))
        return "its digest does not fit";
    if (bytes_compare(reply->through, at_of(fetch)) <= 0 || piece == NULL || bytes_compare(reply->through, piece->end) > 0)
        return "it ends elsewhere than in what was asked for";
    return judge_pairs(fetch, reply);
}

static enum op_result ask_another(struct fetch *fetch)
{
    settle(fetch, 0);
    fetch->source++;
    fetch->failures++;
    fetch->storage->moves.failures++;
    return op_move(&fetch->op, fetch->source_count == 0 || fetch->failures % fetch->source_count == 0 ? PAUSE : LOOK);
}

/* While the engine is given what the window holds, which may take seconds, the window takes chunks as far as it has room. */
static bool goes_into_the_engine(const struct fetch *fetch)
{
    const struct storage_server *storage = fetch->storage;
    const struct fetch_range_reply *reply = MESSAGE_BODY(fetch_range_reply, fetch->chunk);

    if (reply->pairs.len < (size_t)storage->env->knobs.storage_fetch_store_bytes)
        return false; /* not worth a commit of its own */
    return (storage->commit == NULL || !has_room(storage)) && storage_window_is_clean(storage, at_of(fetch), reply->through);
}

static enum op_result judge_reply(struct op *op)
{
    struct fetch *fetch = fetch_of(op);
    struct storage_server *storage = fetch->storage;
    const char *wrong;

    if (piece_of(fetch) == NULL) {
        PROBE(op->env, "a chunk comes for a piece that was taken away");
        return op_move(op, LOOK);
    }
    if (fetch->call.error == ERROR_TRANSACTION_TOO_OLD)
        PROBE(op->env, "a source does not know a chunk's version any more"); /* there will be newer ones */
    if (fetch->call.error != 0 || fetch->call.reply == NULL) {
        if (fetch->call.error == ERROR_WRONG_SHARD_SERVER)
            fetch->located_end.len = 0; /* it moved on: ask where to */
        return ask_another(fetch);
    }
    wrong = judge(fetch, MESSAGE_BODY(fetch_range_reply, fetch->call.reply));
    if (wrong != NULL) {
        storage->moves.damaged++;
        PROBE(op->env, "a damaged chunk is refused");
        TRACE(op->env, SEVERITY_WARN_ALWAYS, "StorageChunkDamaged", {"Id", trace_id(storage->id)},
              {"Source", trace_id(fetch->sources[fetch->source % fetch->source_count].id)}, {"What", trace_str(wrong)});
        return ask_another(fetch);
    }
    fetch->chunk = rpc_call_take(&fetch->call);
    settle(fetch, MESSAGE_BODY(fetch_range_reply, fetch->chunk)->pairs.len);
    fetch->failures = 0;
    return op_move(op, goes_into_the_engine(fetch) ? STORE : ENTER);
}

/* ---- STORE ---- */

static void stored(struct chunk_storing *storing, bool is_stored)
{
    struct fetch *fetch = container_of(storing, struct fetch, storing);

    fetch->stored = is_stored;
    op_resume(&fetch->op);
}

static enum op_result store(struct op *op)
{
    struct fetch *fetch = fetch_of(op);

    fetch->storing = (struct chunk_storing){.begin = at_of(fetch), .chunk = fetch->chunk, .done = stored};
    storage_store_chunk(fetch->storage, &fetch->storing);
    return op_wait(op, ENTER);
}

/* ---- ENTER ---- */

static int set_pairs(struct storage_server *storage, version_t version, struct bytes pairs)
{
    int error = 0;

    while (pairs.len > 0 && error == 0) {
        size_t key_len = get_le32(pairs.ptr), value_len = get_le32(pairs.ptr + 4);
        const uint8_t *key = pairs.ptr + PAIR_HEADER_BYTES;

        error = storage_apply_data(storage, version, MUTATION_SET, bytes_of(key, key_len), bytes_of(key + key_len, value_len));
        pairs = bytes_of(key + key_len + value_len, pairs.len - PAIR_HEADER_BYTES - key_len - value_len);
    }
    return error;
}

static int enter_chunk(struct fetch *fetch, const struct fetch_range_reply *reply)
{
    struct storage_server *storage = fetch->storage;
    version_t version = storage_version(storage);
    struct bytes at = at_of(fetch);
    int error;

    assert(reply->version <= version && reply->version <= storage->known_committed);
    assert(version > storage->durable && version > storage_commit_version(storage) && !storage->discarding);
    if (fetch->stored)
        error = storage_sample_pairs(storage, at, reply->through, reply->pairs);
    else
        error = storage_apply_data(storage, version, MUTATION_CLEAR_RANGE, at, reply->through);
    if (error == 0 && !fetch->stored)
        error = set_pairs(storage, version, reply->pairs);
    if (error == 0 && !PLANTED_BUG(FETCH_LOSES_UPDATES))
        error = storage_buffer_apply(storage, version, at, reply->through, reply->version);
    if (error == 0 && PLANTED_BUG(FETCH_APPLIES_TWICE))
        error = storage_buffer_apply(storage, version, at, reply->through, reply->version);
    if (error == 0)
        error = storage_assign(storage, version, at, reply->through, HELD_FETCHED);
    if (error == 0)
        error = shares_add(storage, version, (fetch->stored ? 0 : reply->pairs.len) + at.len + reply->through.len);
    return error;
}

static bool still_fits(const struct fetch *fetch, const struct fetch_range_reply *reply)
{
    const struct storage_server *storage = fetch->storage;

    return reply->version >= storage->moves.floor &&
           ownership_awaits(storage->owned, at_of(fetch), reply->through, reply->version);
}

/* A version above what the engine has or is being given: the next one, if this is not. */
static bool may_enter(struct fetch *fetch)
{
    struct storage_server *storage = fetch->storage;
    version_t above = storage_commit_version(storage);

    if (storage->durable > above)
        above = storage->durable;
    if (!storage->discarding && storage_version(storage) > above)
        return true;
    PROBE(storage->env, "a chunk waits for a version that the engine is not being given");
    wait_timer_start(&fetch->timer, &fetch->op, LOOK_AGAIN_US);
    if (!storage->discarding && turnstile_enter(&storage->readable, &fetch->turn, &fetch->op, above + 1))
        op_resume(&fetch->op);
    return false;
}

static enum op_result enter(struct op *op)
{
    struct fetch *fetch = fetch_of(op);
    struct storage_server *storage = fetch->storage;
    const struct fetch_range_reply *reply = MESSAGE_BODY(fetch_range_reply, fetch->chunk);
    bool last;
    int error;

    if (storage->ended)
        return op_finish(op, 0);
    if (!fetch->stored && !has_room(storage)) {
        wait_timer_start(&fetch->timer, op, LOOK_AGAIN_US);
        return op_wait(op, ENTER);
    }
    if (!may_enter(fetch))
        return op_wait(op, ENTER);
    if (!still_fits(fetch, reply)) {
        PROBE(op->env, "a chunk does not fit any more when it may come in");
        storage->moves.refused++;
        return op_move(op, LOOK);
    }
    last = bytes_equal(reply->through, piece_of(fetch)->end);
    error = enter_chunk(fetch, reply);
    if (error != 0) {
        (void)storage_read_failed(storage, error);
        return op_finish(op, error);
    }
    if (!fetch->stored)
        storage->moves.entered = storage_version(storage);
    storage->moves.chunks++;
    storage->moves.bytes += reply->pairs.len;
    storage->moves.pairs += reply->count;
    announce(fetch, "StorageChunkEntered", last);
    fetch->told = true;
    fetch->bytes_left = reply->bytes_left;
    fetch->at.len = 0;
    if (bytes_buffer_append(&fetch->at, reply->through) != 0 || last)
        return op_finish(op, 0);
    return op_move(op, LOOK);
}

/* ---- PAUSE ---- */

static enum op_result pause_fetch(struct op *op)
{
    struct fetch *fetch = fetch_of(op);
    uint32_t doublings = fetch->failures < 6 ? fetch->failures : 6;
    int64_t pause_us = (int64_t)PAUSE_US << doublings;

    PROBE(op->env, "nobody gives what is to be fetched: a pause");
    fetch->version = VERSION_NONE;
    fetch->source_count = 0;
    fetch->failures++;
    if (fetch->failures >= FAILURES_BEFORE_OTHERS && fetch->storage->owned->fetching > fetch->storage->moves.fetch_count)
        return op_finish(op, 0);
    wait_timer_start(&fetch->timer, op, pause_us < PAUSE_MAX_US ? pause_us : PAUSE_MAX_US);
    return op_wait(op, LOOK);
}

/* ---- the table, start ---- */

static void ended(struct op *op)
{
    struct fetch *fetch = fetch_of(op);
    struct storage_server *storage = fetch->storage;

    settle(fetch, 0);
    rpc_call_clear(&fetch->call);
    list_remove(&fetch->storing.link);
    message_unref(fetch->chunk);
    list_remove(&fetch->link);
    storage->moves.fetch_count--;
    storage->moves.heal_count -= fetch->heals;
    bytes_buffer_done(&fetch->at);
    bytes_buffer_done(&fetch->located_end);
    mem_free(fetch);
    storage_fetch_look(storage); /* others may have waited for their turn */
}

static const struct op_stage stages[STAGES] = {
    [LOOK] = {"LOOK", look, OP_STAGE(LOOK) | OP_STAGE(LOCATE) | OP_STAGE(ASK)},
    [LOCATE] = {"LOCATE", locate, OP_STAGE(LOOK) | OP_STAGE(LOCATED) | OP_STAGE(PAUSE)},
    [LOCATED] = {"LOCATED", located_done, OP_STAGE(LOOK) | OP_STAGE(PAUSE)},
    [ASK] = {"ASK", ask, OP_STAGE(LOOK) | OP_STAGE(JUDGE) | OP_STAGE(PAUSE)},
    [JUDGE] = {"JUDGE", judge_reply, OP_STAGE(LOOK) | OP_STAGE(STORE) | OP_STAGE(ENTER) | OP_STAGE(PAUSE)},
    [STORE] = {"STORE", store, OP_STAGE(ENTER)},
    [ENTER] = {"ENTER", enter, OP_STAGE(LOOK) | OP_STAGE(ENTER)},
    [PAUSE] = {"PAUSE", pause_fetch, OP_STAGE(LOOK)},
};
static const struct op_type fetch_type = {"storage_fetch", stages, STAGES, READY_READ, ended};

/* Who fetches the piece; NULL: nobody yet. What came in of a piece is none of it any more. */
static const struct fetch *fetch_of_piece(const struct storage_server *storage, const struct held_shard *piece)
{
    list_each(node, after, &storage->moves.fetches) {
        const struct fetch *fetch = list_entry(node, struct fetch, link);

        if (bytes_compare(piece->begin, at_of(fetch)) <= 0 && bytes_compare(at_of(fetch), piece->end) < 0)
            return fetch;
    }
    return NULL;
}

static bool start(struct storage_server *storage, const struct held_shard *piece, bool heals)
{
    struct fetch *fetch = mem_zalloc(sizeof(*fetch));

    if (fetch == NULL || bytes_buffer_append(&fetch->at, piece->begin) != 0) {
        mem_free(fetch);
        return false;
    }
    fetch->storage = storage;
    fetch->version = VERSION_NONE;
    fetch->heals = heals;
    storage->moves.heal_count += heals;
    list_push_back(&storage->moves.fetches, &fetch->link);
    storage->moves.fetch_count++;
    op_start(&fetch->op, &fetch_type, &storage->ops);
    return true;
}

static bool wants_start(const struct storage_server *storage, const struct held_shard *piece)
{
    return piece->state == SERVER_KEYS_FETCH && fetch_of_piece(storage, piece) == NULL;
}

/* In turn: the next piece behind the one that was started last. `heals`: only of those that do. */
static const struct held_shard *next_to_start(const struct storage_server *storage, bool heals)
{
    const struct ownership *owned = storage->owned;
    struct bytes last = bytes_buffer_bytes(&storage->moves.started);
    const struct held_shard *first = NULL;

    for (uint32_t i = 0; i < owned->count; i++) {
        if (!wants_start(storage, &owned->shards[i]) || (heals && !storage_piece_heals(storage, &owned->shards[i])))
            continue;
        if (bytes_compare(owned->shards[i].begin, last) > 0)
            return &owned->shards[i];
        first = first == NULL ? &owned->shards[i] : first;
    }
    return first;
}

static bool start_next(struct storage_server *storage, bool heals)
{
    const struct held_shard *piece = next_to_start(storage, heals);

    if (piece == NULL)
        return false;
    storage->moves.started.len = 0;
    return bytes_buffer_append(&storage->moves.started, piece->begin) == 0 && start(storage, piece, heals);
}

/* Heals never wait for other moves: as many as may run, run beside them. */
static void start_some(struct storage_server *storage)
{
    const struct moves *moves = &storage->moves;
    int64_t parallel = storage->env->knobs.storage_fetch_parallel;

    while (storage_heals_wait(storage) && moves->heal_count < parallel && start_next(storage, true))
        ;
    while (moves->fetch_count < parallel && start_next(storage, false))
        ;
}

void storage_fetch_look(struct storage_server *storage)
{
    if (storage->ended || !storage->recorded || storage->ops.cancelling)
        return;
    list_each(node, after, &storage->moves.fetches) {
        struct fetch *fetch = list_entry(node, struct fetch, link);

        if (fetch->op.waiting && fetch->op.stage == LOOK)
            op_resume(&fetch->op);
    }
    if (storage->owned->fetching > 0)
        start_some(storage);
}

version_t storage_fetch_oldest(const struct storage_server *storage)
{
    version_t oldest = VERSION_MAX;

    list_each(node, after, &storage->moves.fetches) {
        const struct fetch *fetch = list_entry(node, struct fetch, link);

        if (fetch->version != VERSION_NONE && fetch->version < oldest)
            oldest = fetch->version;
    }
    return oldest;
}

uint64_t storage_fetch_bytes_left(const struct storage_server *storage, struct bytes begin, struct bytes end)
{
    const struct ownership *owned = storage->owned;
    uint64_t left = 0;

    for (uint32_t i = 0; i < owned->count; i++) {
        const struct held_shard *piece = &owned->shards[i];
        const struct fetch *fetch;

        if (piece->state != SERVER_KEYS_FETCH || bytes_compare(piece->end, begin) <= 0 || bytes_compare(end, piece->begin) <= 0)
            continue;
        fetch = fetch_of_piece(storage, piece);
        if (fetch == NULL || !fetch->told)
            return 0;
        left += fetch->bytes_left;
    }
    return left;
}

void storage_moves_init(struct storage_server *storage)
{
    list_init(&storage->moves.fetches);
    list_init(&storage->moves.buffer);
    list_init(&storage->moves.asked);
    list_init(&storage->moves.waiting_progress);
    list_init(&storage->moves.to_store);
    storage->moves.serve.run = storage_serve_chunk;
    storage->moves.store.run = storage_store_chunks;
}

void storage_moves_done(struct storage_server *storage)
{
    assert(list_empty(&storage->moves.fetches) && list_empty(&storage->moves.waiting_progress));
    assert(list_empty(&storage->moves.to_store));
    env_ready_cancel(&storage->moves.serve);
    env_ready_cancel(&storage->moves.store);
    while (!list_empty(&storage->moves.asked))
        rpc_fail(list_entry(list_pop_front(&storage->moves.asked), struct rpc_request, link), ERROR_BROKEN_PROMISE);
    storage_buffer_roll_back(storage, storage->moves.floor);
    bytes_buffer_done(&storage->moves.started);
}
