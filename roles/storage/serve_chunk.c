/* Chunks for servers that fetch a shard from us: what fetch.c asks for. Digests (serve_digest.c) wait in the same queue.
 *
 * One at a time, each behind the reads that are ready: neither a move nor the consistency scan makes anybody wait for more than the one
 * chunk that is being read. Only what is readable here as of the chunk's version is given, checked when its turn has come. */
#include "net/buggify.h"
#include "net/error.h"
#include "net/planted_bug.h"
#include "roles/storage/storage_internal.h"
#include "txn/digest.h"

int storage_check_chunk(struct storage_server *storage, struct bytes begin, struct bytes end, version_t version, int late)
{
    int error = storage_check_version(storage, version, late);

    if (error != 0)
        return error;
    if (begin.len > SYSTEM_KEY_BYTES_MAX + 1 || end.len > SYSTEM_KEY_BYTES_MAX + 1)
        return ERROR_KEY_TOO_LARGE;
    if (bytes_compare(begin, end) >= 0)
        return ERROR_INVERTED_RANGE;
    if (!ownership_range_readable(storage->owned, begin, end, version) ||
        BUGGIFY_ONE_IN(storage->env, 64, "a source says that what it holds is elsewhere")) {
        storage->wrong_shard++;
        return ERROR_WRONG_SHARD_SERVER;
    }
    return 0;
}

int storage_after_pairs(struct bytes pairs, struct arena *arena, struct bytes *ret_key)
{
    struct bytes key = bytes_none();

    while (pairs.len > 0) {
        size_t key_len = get_le32(pairs.ptr), value_len = get_le32(pairs.ptr + 4);

        key = bytes_of(pairs.ptr + PAIR_HEADER_BYTES, key_len);
        pairs = bytes_of(key.ptr + key_len + value_len, pairs.len - PAIR_HEADER_BYTES - key_len - value_len);
    }
    return key_after(arena, key, ret_key);
}

static size_t bytes_limit(const struct storage_server *storage, const struct fetch_range *m)
{
    size_t limit = (size_t)storage->env->knobs.storage_fetch_chunk_bytes;

    return m->bytes_limit != 0 && m->bytes_limit < limit ? m->bytes_limit : limit;
}

/* remote: what stands in storage->pairs is packed before rpc_reply returns. */
static int read_chunk(struct storage_server *storage, const struct fetch_range *m, bool remote, struct arena *arena,
                      struct fetch_range_reply *reply)
{
    bool more = false;
    version_t version = PLANTED_BUG(CHUNK_OF_NOW) ? storage_version(storage) : m->version;
    int error = storage_walk_range(storage, (struct key_range){m->begin, m->end}, version, STORAGE_CHUNK_PAIRS_MAX,
                                   bytes_limit(storage, m), &reply->count, &more);

    reply->pairs = bytes_buffer_bytes(&storage->pairs);
    if (error == 0 && !remote)
        error = arena_copy(arena, reply->pairs, &reply->pairs);
    if (error == 0)
        error = more ? storage_after_pairs(reply->pairs, arena, &reply->through) : arena_copy(arena, m->end, &reply->through);
    if (error != 0)
        return error;
    reply->version = m->version;
    reply->bytes_left = more ? byte_sample_bytes(&storage->sample, reply->through, m->end) : 0;
    reply->digest = fetch_digest(m->begin, reply);
    assert(!more || reply->count > 0);
    return 0;
}

static void serve(struct storage_server *storage, struct rpc_request *request)
{
    const struct fetch_range *m = MESSAGE_BODY(fetch_range, request->message);
    struct message *message;
    struct fetch_range_reply *reply;
    int error = storage_check_chunk(storage, m->begin, m->end, m->version, ERROR_FUTURE_VERSION);

    if (error != 0) {
        rpc_fail(request, error);
        return;
    }
    reply = MESSAGE_NEW(fetch_range_reply, &message);
    error = reply == NULL ? ERROR_OUT_OF_MEMORY : read_chunk(storage, m, rpc_request_is_remote(request), &message->arena, reply);
    if (error != 0) {
        message_unref(message);
        rpc_fail(request, error);
        return;
    }
    storage->moves.served_chunks++;
    storage->moves.served_bytes += reply->pairs.len;
    rpc_reply(request, message);
}

void storage_serve_chunk(struct ready *ready)
{
    struct storage_server *storage = container_of(ready, struct storage_server, moves.serve);
    struct rpc_request *request;

    if (list_empty(&storage->moves.asked))
        return;
    request = list_entry(list_pop_front(&storage->moves.asked), struct rpc_request, link);
    if (storage->ended || !rpc_request_alive(request))
        rpc_drop(request);
    else if (request->message->type->id == MESSAGE_get_range_digest)
        storage_serve_digest(storage, request);
    else
        serve(storage, request);
    if (!list_empty(&storage->moves.asked))
        env_ready(storage->env, &storage->moves.serve, READY_READ);
}

static int check_request(struct storage_server *storage, const struct rpc_request *request, int late)
{
    const struct get_range_digest *digest;
    const struct fetch_range *chunk;

    if (request->message->type->id == MESSAGE_get_range_digest) {
        digest = MESSAGE_BODY(get_range_digest, request->message);
        return storage_check_chunk(storage, digest->begin, digest->end, digest->version, late);
    }
    chunk = MESSAGE_BODY(fetch_range, request->message);
    return storage_check_chunk(storage, chunk->begin, chunk->end, chunk->version, late);
}

void storage_answer_chunk(struct storage_server *storage, struct rpc_request *request, int late)
{
    int error = check_request(storage, request, late);

    if (error != 0) {
        rpc_fail(request, error);
        return;
    }
    list_push_back(&storage->moves.asked, &request->link);
    env_ready(storage->env, &storage->moves.serve, READY_READ);
}
