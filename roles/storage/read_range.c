/* Range reads: the window's entries and the engine's pairs, merged in either direction.
 *
 * The window's word counts where it has one: a set key hides the engine's pair of that key, a cleared stretch hides all of the engine's
 * pairs in it, which are skipped by seeking behind it, not by walking. Whichever comes first in the direction of the walk is
 * taken; a cleared stretch comes first when it begins at or before the engine's key (reverse: ends after it). */
#include "net/buggify.h"
#include "net/error.h"
#include "roles/storage/storage_internal.h"

struct merge {
    struct storage_server *storage;
    struct bytes begin, end;
    bool reverse, keys_only;
    uint32_t limit;
    size_t bytes_limit, bytes; /* of what was walked over, also when the values are left out */
    struct bytes_buffer *out; /* owned by who asks */
    uint32_t count;
    size_t last_at; /* in out: the last pair */
    bool more;

    struct window_iterator iterator;
    bool has_entry;
    struct window_entry entry;
    struct engine_cursor *cursor;
    bool has_pair;
    struct bytes key, value;
};

/* ---- the two sources ---- */

static void next_entry(struct merge *merge)
{
    merge->has_entry = window_iterator_next(&merge->iterator, &merge->entry);
}

/* The engine knows nothing of the range's end: what lies behind it is no pair of ours, and no damage of ours either (the key of a damaged
 * record is given). */
static int bound_pair(struct merge *merge, int error)
{
    bool has_key = error == 0 ? merge->has_pair : error == ERROR_FILE_CORRUPT && merge->key.ptr != NULL;

    if (!has_key || !(merge->reverse ? bytes_compare(merge->key, merge->begin) < 0 : bytes_compare(merge->key, merge->end) >= 0))
        return error;
    merge->has_pair = false;
    return 0;
}

static int next_pair(struct merge *merge)
{
    merge->key = bytes_none();
    return bound_pair(merge, engine_cursor_next(merge->cursor, &merge->has_pair, &merge->key, &merge->value));
}

static int seek_pair(struct merge *merge, struct bytes to)
{
    merge->key = bytes_none();
    return bound_pair(merge, engine_cursor_seek(merge->cursor, to, &merge->has_pair, &merge->key, &merge->value));
}

/* ---- the merge ---- */

static int emit(struct merge *merge, struct bytes key, struct bytes value)
{
    struct bytes_buffer *out = merge->out;
    uint8_t *at;
    int error;

    merge->bytes += PAIR_HEADER_BYTES + key.len + value.len;
    if (merge->keys_only)
        value = bytes_none();
    error = bytes_buffer_reserve(out, PAIR_HEADER_BYTES + key.len + value.len);
    if (error != 0)
        return error;
    merge->last_at = out->len;
    at = out->ptr + out->len;
    put_le32(at, (uint32_t)key.len);
    put_le32(at + 4, (uint32_t)value.len);
    at += PAIR_HEADER_BYTES;
    if (key.len > 0)
        memcpy(at, key.ptr, key.len);
    if (value.len > 0)
        memcpy(at + key.len, value.ptr, value.len);
    out->len += PAIR_HEADER_BYTES + key.len + value.len;
    merge->count++;
    return 0;
}

static bool entry_comes_first(const struct merge *merge)
{
    const struct window_entry *entry = &merge->entry;

    if (!merge->has_entry || !merge->has_pair)
        return merge->has_entry;
    if (!merge->reverse)
        return bytes_compare(entry->key, merge->key) <= 0;
    if (entry->kind == WINDOW_CLEARED_RANGE)
        return bytes_compare(entry->end, merge->key) > 0;
    return bytes_compare(entry->key, merge->key) >= 0;
}

/* The engine's pairs that the entry hides are passed over. */
static int pass_hidden(struct merge *merge)
{
    const struct window_entry *entry = &merge->entry;

    if (!merge->has_pair)
        return 0;
    if (entry->kind != WINDOW_CLEARED_RANGE)
        return bytes_equal(entry->key, merge->key) ? next_pair(merge) : 0;
    if (merge->reverse)
        return bytes_compare(merge->key, entry->key) >= 0 ? seek_pair(merge, entry->key) : 0;
    return bytes_compare(merge->key, entry->end) < 0 ? seek_pair(merge, entry->end) : 0;
}

static int take_entry(struct merge *merge)
{
    int error = 0;

    if (merge->entry.kind == WINDOW_SET_KEY)
        error = emit(merge, merge->entry.key, merge->entry.value);
    if (error == 0)
        error = pass_hidden(merge);
    next_entry(merge);
    return error;
}

static int take_pair(struct merge *merge)
{
    int error = emit(merge, merge->key, merge->value);

    return error != 0 ? error : next_pair(merge);
}

static int run(struct merge *merge)
{
    int error = 0;

    while (error == 0 && (merge->has_entry || merge->has_pair)) {
        if (merge->count >= merge->limit || merge->bytes >= merge->bytes_limit) {
            merge->more = true;
            return 0;
        }
        error = entry_comes_first(merge) ? take_entry(merge) : take_pair(merge);
    }
    return error;
}

static int read_range(struct merge *merge, version_t version)
{
    struct storage_server *storage = merge->storage;
    int error;

    storage_reads_engine(storage);
    error = engine_cursor_open(storage->engine, merge->reverse, &merge->cursor);
    if (error != 0)
        return error;
    window_iterator_init(&merge->iterator, storage->window, version, merge->begin, merge->end, merge->reverse);
    next_entry(merge);
    error = seek_pair(merge, merge->reverse ? merge->end : merge->begin);
    if (error == 0)
        error = run(merge);
    engine_cursor_close(merge->cursor);
    return error;
}

/* ---- the message ---- */

static int check(struct storage_server *storage, const struct get_range *m, int late)
{
    int error = storage_check_version(storage, m->version, late);

    if (error != 0)
        return error;
    if (m->begin.len > SYSTEM_KEY_BYTES_MAX + 1 || m->end.len > SYSTEM_KEY_BYTES_MAX + 1)
        return ERROR_KEY_TOO_LARGE;
    if (bytes_compare(m->begin, m->end) > 0)
        return ERROR_INVERTED_RANGE;
    if (!bytes_equal(m->begin, m->end) && !ownership_range_readable(storage->owned, m->begin, m->end, m->version)) {
        storage->wrong_shard++;
        return ERROR_WRONG_SHARD_SERVER;
    }
    return 0;
}

/* All of it counts where it began: a long range comes in many replies. */
static void sample_read(struct storage_server *storage, struct bytes begin, struct bytes pairs)
{
    if (pairs.len > 0)
        begin = bytes_of(pairs.ptr + PAIR_HEADER_BYTES, get_le32(pairs.ptr));
    load_sample_add(&storage->reads_load, begin, begin.len + pairs.len, storage->env->turn_us);
}

static int reply_with(struct merge *merge, struct rpc_request *request)
{
    struct message *message;
    struct get_range_reply *reply = MESSAGE_NEW(get_range_reply, &message);
    int error = reply == NULL ? ERROR_OUT_OF_MEMORY : 0;

    if (error == 0 && rpc_request_is_remote(request))
        reply->pairs = bytes_buffer_bytes(merge->out); /* packed before rpc_reply returns */
    else if (error == 0)
        error = arena_copy(&message->arena, bytes_buffer_bytes(merge->out), &reply->pairs);
    if (error != 0) {
        message_unref(message);
        return error;
    }
    reply->version = MESSAGE_BODY(get_range, request->message)->version;
    reply->count = merge->count;
    reply->more = merge->more;
    merge->storage->rows_read += merge->count;
    merge->storage->bytes_read += reply->pairs.len;
    sample_read(merge->storage, MESSAGE_BODY(get_range, request->message)->begin, reply->pairs);
    rpc_reply(request, message);
    return 0;
}

/* What failed lies behind the last pair that was read. */
static int failed(const struct merge *merge, int error)
{
    const uint8_t *last = merge->out->ptr + merge->last_at;
    struct bytes key = merge->count == 0 || merge->reverse ? merge->begin : bytes_of(last + PAIR_HEADER_BYTES, get_le32(last));

    return storage_record_failed(merge->storage, key, error);
}

int storage_walk_range(struct storage_server *storage, struct key_range range, version_t version, uint32_t limit,
                       size_t bytes_limit, uint32_t *ret_count, bool *ret_more)
{
    struct merge merge = {.storage = storage, .begin = range.begin, .end = range.end, .limit = limit, .bytes_limit = bytes_limit,
                          .out = &storage->pairs};
    int error;

    storage->pairs.len = 0;
    error = read_range(&merge, version);
    *ret_count = merge.count;
    *ret_more = merge.more;
    return error == 0 ? 0 : failed(&merge, error);
}

void storage_answer_range(struct storage_server *storage, struct rpc_request *request, int late)
{
    const struct get_range *m = MESSAGE_BODY(get_range, request->message);
    struct merge merge = {.storage = storage,
                          .begin = m->begin,
                          .end = m->end,
                          .reverse = m->reverse,
                          .keys_only = m->keys_only,
                          .limit = m->limit == 0 ? UINT32_MAX : m->limit,
                          .bytes_limit = (size_t)storage->env->knobs.storage_range_bytes_max,
                          .out = &storage->pairs};
    int error = check(storage, m, late);

    storage->range_reads++;
    storage->pairs.len = 0;
    if (m->bytes_limit != 0 && m->bytes_limit < merge.bytes_limit)
        merge.bytes_limit = m->bytes_limit;
    if (BUGGIFY(storage->env, "a range reply ends after one pair"))
        merge.limit = 1;
    if (BUGGIFY(storage->env, "a range reply ends after some hundred bytes") && merge.bytes_limit > 300)
        merge.bytes_limit = 300;
    if (error == 0 && BUGGIFY_ONE_IN(storage->env, 64, "a storage server says that a range it holds is elsewhere"))
        error = ERROR_WRONG_SHARD_SERVER;
    if (error == 0 && !bytes_equal(m->begin, m->end)) {
        error = read_range(&merge, m->version);
        if (error != 0)
            error = failed(&merge, error);
    }
    if (error == 0)
        storage_count_reads(storage, m->tags, m->tags_count, 1, storage->pairs.len);
    if (error == 0)
        error = reply_with(&merge, request);
    if (error != 0)
        rpc_fail(request, error);
}
