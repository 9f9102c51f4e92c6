/* Digests for the consistency scan: what this replica holds of a range at a version, in a few bytes.
 *
 * The distributor asks every replica of a shard for the same range at the same version (roles/distributor/scan.c); what they read is compared
 * by its digest. A page is no larger than a move's chunk and waits in the same queue. A page may end anywhere, so the asker must look where
 * each one ended. */
#include "net/buggify.h"
#include "net/error.h"
#include "net/planted_bug.h"
#include "roles/storage/storage_internal.h"
#include "txn/digest.h"

struct damages {
    struct storage_server *storage;
    int64_t lost;
};

static void count_damage(void *ctx, struct bytes key, const char *what)
{
    struct damages *damages = ctx;

    if (what == engine_damaged_record)
        storage_note_damage(damages->storage, key);
    else
        damages->lost++;
}

int storage_check_store(struct storage_server *storage, bool *ret_checked)
{
    struct damages damages = {.storage = storage};
    struct engine_status status;
    int64_t found;

    engine_status(storage->engine, &status);
    *ret_checked = status.bytes <= (uint64_t)storage->env->knobs.storage_check_bytes_max;
    if (!*ret_checked)
        return 0;
    found = engine_check(storage->engine, count_damage, &damages);
    storage_reads_engine(storage);
    if (found > 0)
        TRACE(storage->env, SEVERITY_WARN_ALWAYS, "StorageStoreDamaged", {"Id", trace_id(storage->id)}, {"Damages", trace_int(found)},
              {"KeysMayBeLost", trace_int(damages.lost > 0)});
    return damages.lost > 0 ? ERROR_FILE_CORRUPT : found < 0 ? (int)-found : 0;
}

static uint32_t least(uint32_t limit, uint32_t bound)
{
    return limit != 0 && limit < bound ? limit : bound;
}

static int read_page(struct storage_server *storage, const struct get_range_digest *m, struct arena *arena, struct range_digest *reply)
{
    uint32_t bytes = least(m->bytes_limit, (uint32_t)storage->env->knobs.storage_fetch_chunk_bytes);
    uint32_t pairs = least(m->pairs_limit, STORAGE_CHUNK_PAIRS_MAX);
    version_t version = PLANTED_BUG(DIGEST_OF_NOW) ? storage_version(storage) : m->version;
    struct bytes read;
    bool more = false;
    int error;

    if (BUGGIFY(storage->env, "a page of the consistency scan ends after one pair"))
        pairs = 1;
    error = storage_walk_range(storage, (struct key_range){m->begin, m->end}, version, pairs, bytes, &reply->pairs, &more);
    read = bytes_buffer_bytes(&storage->pairs);
    if (error == 0)
        error = more ? storage_after_pairs(read, arena, &reply->through) : arena_copy(arena, m->end, &reply->through);
    reply->bytes = read.len;
    reply->digest = pairs_digest(read);
    reply->version = m->version;
    assert(error != 0 || !more || reply->pairs > 0);
    return error;
}

static int answer(struct storage_server *storage, const struct get_range_digest *m, struct arena *arena, struct range_digest *reply)
{
    bool checked = false;
    int error = storage_check_chunk(storage, m->begin, m->end, m->version, ERROR_FUTURE_VERSION);

    if (error == 0 && m->check_store)
        error = storage_check_store(storage, &checked);
    if (error == ERROR_FILE_CORRUPT)
        return storage_read_failed(storage, error);
    reply->store = checked ? STORE_WHOLE : STORE_NOT_CHECKED;
    return error != 0 ? error : read_page(storage, m, arena, reply);
}

void storage_serve_digest(struct storage_server *storage, struct rpc_request *request)
{
    struct message *message;
    struct range_digest *reply = MESSAGE_NEW(range_digest, &message);
    int error = reply == NULL ? ERROR_OUT_OF_MEMORY
                              : answer(storage, MESSAGE_BODY(get_range_digest, request->message), &message->arena, reply);

    if (error != 0) {
        message_unref(message);
        rpc_fail(request, error);
        return;
    }
    storage->digests++;
    storage->digest_bytes += reply->bytes;
    rpc_reply(request, message);
}
