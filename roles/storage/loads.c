/* What the distributor asks: sizes and loads of the shards that are readable here, and where one may be cut.
 *
 * All of it comes from the samples: nothing is read for it. A page ends after PAGE_KEYS of the byte sample, so that no turn gets
 * long. */
#include "net/error.h"
#include "roles/storage/storage_internal.h"

enum { PAGE_SHARDS = 1000, PAGE_KEYS = 8192, SPLITS_MAX = 1000 };

struct page {
    struct storage_server *storage;
    struct arena *arena;
    struct shard_load *shards;
    uint32_t count, limit;
    bool more;
};

/* ---- loads ---- */

/* Where the shard ends that begins with piece i; *ret_readable: all of it is. */
static uint32_t shard_end(const struct ownership *owned, uint32_t i, bool *ret_readable)
{
    *ret_readable = ownership_state_is_readable(owned->shards[i].state);
    for (i++; i < owned->count && owned->shards[i].inner && bytes_equal(owned->shards[i - 1].end, owned->shards[i].begin); i++)
        *ret_readable = *ret_readable && ownership_state_is_readable(owned->shards[i].state);
    return i;
}

static int fill_shards(struct page *page, struct bytes from)
{
    const struct ownership *owned = page->storage->owned;
    uint32_t keys = 0, more_keys = 0, next;
    int error = 0;

    for (uint32_t i = 0; i < owned->count && error == 0; i = next) {
        struct shard_load *shard = &page->shards[page->count];
        bool readable;

        next = shard_end(owned, i, &readable);
        if (!readable || bytes_compare(owned->shards[i].begin, from) < 0)
            continue;
        page->more = page->count == page->limit || keys >= PAGE_KEYS;
        if (page->more)
            break;
        page->count++;
        error = arena_copy(page->arena, owned->shards[i].begin, &shard->begin);
        if (error == 0)
            error = arena_copy(page->arena, owned->shards[next - 1].end, &shard->end);
        shard->bytes = (int64_t)byte_sample_sum(&page->storage->sample, owned->shards[i].begin, owned->shards[next - 1].end, &more_keys);
        keys += more_keys;
    }
    return error;
}

static struct shard_load *shard_of(const struct page *page, struct bytes key)
{
    uint32_t low = 0, high = page->count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (bytes_compare(page->shards[middle].end, key) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low < page->count && bytes_compare(page->shards[low].begin, key) <= 0 ? &page->shards[low] : NULL;
}

/* What came to the page's shards, a second. */
static void add_loads(const struct page *page, const struct load_sample *load, int64_t now_us, bool writes)
{
    int64_t span_us = load_sample_span_us(load, now_us);

    for (uint32_t i = 0; i < load->used; i++) {
        const struct load_entry *entry = load_sample_at(load, i);
        struct shard_load *shard = now_us - entry->at_us > span_us ? NULL : shard_of(page, load_entry_key(entry));

        if (shard == NULL)
            continue;
        *(writes ? &shard->write_bytes_per_s : &shard->read_bytes_per_s) += (int64_t)entry->bytes;
        shard->reads_per_s += writes ? 0 : (int64_t)entry->count;
    }
    for (uint32_t i = 0; i < page->count; i++) {
        struct shard_load *shard = &page->shards[i];
        int64_t *bytes = writes ? &shard->write_bytes_per_s : &shard->read_bytes_per_s;

        *bytes = *bytes * 1000000 / span_us;
        shard->reads_per_s = writes ? shard->reads_per_s : shard->reads_per_s * 1000000 / span_us;
    }
}

static void fill_totals(struct storage_server *storage, int64_t now_us, struct shard_loads *reply)
{
    struct engine_status engine;

    engine_status(storage->engine, &engine);
    reply->bytes = (int64_t)engine.bytes;
    reply->free_bytes = (int64_t)engine.free_bytes;
    reply->total_bytes = (int64_t)(engine.free_bytes + engine.file_bytes);
    reply->version = storage_version(storage);
    reply->durable_lag = storage_version(storage) - storage->durable;
    reply->write_bytes_per_s = (int64_t)load_sample_rate(&storage->writes_load, now_us);
    reply->read_bytes_per_s = (int64_t)load_sample_rate(&storage->reads_load, now_us);
}

void storage_answer_loads(struct storage_server *storage, struct rpc_request *request)
{
    const struct get_shard_loads *m = MESSAGE_BODY(get_shard_loads, request->message);
    int64_t now_us = env_now_us(storage->env);
    struct message *message;
    struct shard_loads *reply = MESSAGE_NEW(shard_loads, &message);
    struct page page = {.storage = storage, .limit = m->limit == 0 || m->limit > PAGE_SHARDS ? PAGE_SHARDS : m->limit};
    int error = reply == NULL ? ERROR_OUT_OF_MEMORY : 0;

    if (error == 0) {
        page.arena = &message->arena;
        page.shards = arena_zalloc(page.arena, (page.limit + 1) * sizeof(*page.shards));
        error = page.shards == NULL ? ERROR_OUT_OF_MEMORY : fill_shards(&page, m->begin);
    }
    if (error != 0) {
        message_unref(message);
        rpc_fail(request, error);
        return;
    }
    load_sample_refine(&storage->writes_load, now_us);
    load_sample_refine(&storage->reads_load, now_us);
    add_loads(&page, &storage->writes_load, now_us, true);
    add_loads(&page, &storage->reads_load, now_us, false);
    reply->shards = page.shards;
    reply->shards_count = page.count;
    reply->more = page.more;
    fill_totals(storage, now_us, reply);
    error = storage->damaged ? arena_copy(&message->arena, bytes_buffer_bytes(&storage->damaged_at), &reply->damaged_at) : 0;
    reply->damaged = storage->damaged && error == 0;
    rpc_reply(request, message);
}

/* ---- where to cut ---- */

static int check(struct storage_server *storage, const struct get_shard_split *m)
{
    if (m->by > SPLIT_BY_READS || (m->by == SPLIT_BY_BYTES && m->chunk <= 0))
        return ERROR_CLIENT_INVALID_OPERATION;
    return storage_check_range(storage, m->begin, m->end);
}

/* Before the key with which `chunk` bytes have come together. What is left behind the last cut is a piece of half a chunk at least. */
static int cut_by_bytes(struct storage_server *storage, const struct get_shard_split *m, struct arena *arena,
                        struct shard_split *reply)
{
    int64_t left = (int64_t)byte_sample_bytes(&storage->sample, m->begin, m->end), piece = 0;
    struct bytes at = m->begin, key;
    uint64_t weight;
    int error = 0;

    while (error == 0 && reply->keys_count < SPLITS_MAX && byte_sample_next(&storage->sample, at, m->end, &key, &weight)) {
        if (piece >= m->chunk && left >= m->chunk / 2 && bytes_compare(key, m->begin) > 0) {
            error = arena_copy(arena, key, &reply->keys[reply->keys_count].key);
            reply->keys_count += error == 0;
            piece = 0;
        }
        piece += (int64_t)weight;
        left -= (int64_t)weight;
        if (error == 0)
            error = key_after(arena, key, &at);
    }
    return error;
}

static int cut_by_load(struct storage_server *storage, const struct get_shard_split *m, struct arena *arena,
                       struct shard_split *reply)
{
    const struct load_sample *load = m->by == SPLIT_BY_WRITES ? &storage->writes_load : &storage->reads_load;
    struct bytes key;

    if (!load_sample_median(load, m->begin, m->end, env_now_us(storage->env), &key) || bytes_compare(key, m->begin) <= 0)
        return 0;
    reply->keys_count = 1;
    return arena_copy(arena, key, &reply->keys[0].key);
}

void storage_answer_split(struct storage_server *storage, struct rpc_request *request)
{
    const struct get_shard_split *m = MESSAGE_BODY(get_shard_split, request->message);
    struct message *message;
    struct shard_split *reply = MESSAGE_NEW(shard_split, &message);
    int error = reply == NULL ? ERROR_OUT_OF_MEMORY : check(storage, m);

    if (error == 0) {
        reply->keys = arena_alloc(&message->arena, SPLITS_MAX * sizeof(*reply->keys));
        error = reply->keys == NULL ? ERROR_OUT_OF_MEMORY : 0;
    }
    if (error == 0)
        error = m->by == SPLIT_BY_BYTES ? cut_by_bytes(storage, m, &message->arena, reply)
                                        : cut_by_load(storage, m, &message->arena, reply);
    if (error != 0) {
        message_unref(message);
        rpc_fail(request, error);
        return;
    }
    rpc_reply(request, message);
}
