/* How large a range is, and where to cut it: one turn's worth of it is walked, and the client goes on where that ended.
 *
 * The walk sees the newest version, committed or not: it is an estimate. */
#include "net/error.h"
#include "roles/storage/storage_internal.h"

enum { SPLITS_MAX = 4096 };

struct count {
    struct arena *arena;
    struct get_range_metrics_reply *reply;
    int64_t chunk;
    struct bytes last; /* in the pairs */
};

int storage_check_range(struct storage_server *storage, struct bytes begin, struct bytes end)
{
    if (begin.len > SYSTEM_KEY_BYTES_MAX + 1 || end.len > SYSTEM_KEY_BYTES_MAX + 1)
        return ERROR_KEY_TOO_LARGE;
    if (bytes_compare(begin, end) >= 0)
        return ERROR_INVERTED_RANGE;
    if (!ownership_range_readable(storage->owned, begin, end, storage_version(storage))) {
        storage->wrong_shard++;
        return ERROR_WRONG_SHARD_SERVER;
    }
    return 0;
}

static int check(struct storage_server *storage, const struct get_range_metrics *m)
{
    if (m->chunk < 0 || m->carried < 0 || m->carried > RANGE_BYTES_MAX)
        return ERROR_CLIENT_INVALID_OPERATION;
    return storage_check_range(storage, m->begin, m->end);
}

/* The key before which `chunk` bytes have come together is where the next part begins. */
static int count_pair(struct count *count, struct bytes key, size_t bytes)
{
    struct get_range_metrics_reply *reply = count->reply;

    if (count->chunk > 0 && reply->carried >= count->chunk && reply->splits_count < SPLITS_MAX) {
        if (arena_copy(count->arena, key, &reply->splits[reply->splits_count].key) != 0)
            return ERROR_OUT_OF_MEMORY;
        reply->splits_count++;
        reply->carried = 0;
    }
    reply->bytes += (int64_t)bytes;
    reply->carried += (int64_t)bytes;
    count->last = key;
    return 0;
}

/* Ends early when there is no room for another split: *ret_more. */
static int count_pairs(struct count *count, struct bytes pairs, bool *ret_more)
{
    int error = 0;

    while (pairs.len > 0 && error == 0) {
        size_t key_len = get_le32(pairs.ptr), value_len = get_le32(pairs.ptr + 4);

        if (count->reply->splits_count == SPLITS_MAX) {
            *ret_more = true;
            return 0;
        }
        error = count_pair(count, bytes_of(pairs.ptr + PAIR_HEADER_BYTES, key_len), key_len + value_len);
        pairs.ptr += PAIR_HEADER_BYTES + key_len + value_len;
        pairs.len -= PAIR_HEADER_BYTES + key_len + value_len;
    }
    return error;
}

static int measure(struct storage_server *storage, const struct get_range_metrics *m, struct arena *arena,
                   struct get_range_metrics_reply *reply)
{
    struct count count = {.arena = arena, .reply = reply, .chunk = m->chunk};
    uint32_t pairs;
    bool more = false;
    int error = check(storage, m);

    reply->carried = m->carried;
    if (m->chunk > 0 && error == 0) {
        reply->splits = arena_alloc(arena, SPLITS_MAX * sizeof(*reply->splits));
        if (reply->splits == NULL)
            return ERROR_OUT_OF_MEMORY;
    }
    if (error == 0)
        error = storage_walk_range(storage, (struct key_range){m->begin, m->end}, storage_version(storage), UINT32_MAX,
                                   (size_t)storage->env->knobs.storage_range_bytes_max, &pairs, &more);
    if (error == 0)
        error = count_pairs(&count, bytes_buffer_bytes(&storage->pairs), &more);
    if (error == 0)
        error = more ? key_after(arena, count.last, &reply->through) : arena_copy(arena, m->end, &reply->through);
    return error;
}

void storage_answer_metrics(struct storage_server *storage, struct rpc_request *request)
{
    struct message *message;
    struct get_range_metrics_reply *reply = MESSAGE_NEW(get_range_metrics_reply, &message);
    int error = reply == NULL ? ERROR_OUT_OF_MEMORY
                              : measure(storage, MESSAGE_BODY(get_range_metrics, request->message), &message->arena, reply);

    if (error != 0) {
        message_unref(message);
        rpc_fail(request, error);
        return;
    }
    rpc_reply(request, message);
}
