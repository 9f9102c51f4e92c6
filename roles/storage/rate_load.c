/* What a storage server tells the ratekeeper: what waits for its disk, what that takes, how far it is behind.
 *
 * What waits shrinks with a commit under way as far as that is probably done: commits are seconds apart, and a rate made of what they leave in memory would
 * swing with them. The disk's free room
 * counts what clears have left free within the engine's file, or nothing that is cleared on a full disk would ever help. */
#include "roles/storage/storage_internal.h"

enum { SPACE_CHECK_US = 500000, READ_PAGE_BYTES = 16384 };

/* A tree's pages are about two thirds full; what the file has beyond that is free in it. */
static int64_t room_in_file(const struct engine_status *engine)
{
    uint64_t used = engine->bytes + engine->bytes / 2 + engine->keys * 16;

    return engine->file_bytes > used ? (int64_t)(engine->file_bytes - used) : 0;
}

static void look_at_space(struct storage_server *storage)
{
    int64_t now_us = env_now_us(storage->env);
    struct engine_status engine;
    struct env_space space;

    if (storage->space_checked_us != 0 && now_us - storage->space_checked_us < SPACE_CHECK_US)
        return;
    storage->space_checked_us = now_us;
    if (env_dir_space(storage->env, storage->context.data_directory, &space) != 0)
        return;
    engine_status(storage->engine, &engine);
    storage->free_bytes = (int64_t)space.free_bytes + (storage->engine_kind == ENGINE_LMDB ? room_in_file(&engine) : 0);
    storage->total_bytes = (int64_t)space.total_bytes;
}

void storage_count_reads(struct storage_server *storage, const struct read_tag *tags, uint32_t tags_count, uint32_t reads, size_t bytes)
{
    double cost = (double)reads + (double)bytes / READ_PAGE_BYTES;

    storage->tag_reads.total += cost;
    for (uint32_t i = 0; i < tags_count && i < TAG_COUNTERS; i++)
        tag_counter_add(&storage->tag_reads, tags[i].tag, 0, cost * (tags[i].reads < reads ? tags[i].reads : reads) / (reads == 0 ? 1 : reads));
}

static void tell_disk(const struct storage_server *storage, struct storage_load *load)
{
    int64_t past_us;
    size_t bytes = storage_commit_under_way(storage, &past_us);
    double done = drain_done_part(&storage->drain, bytes, past_us), window = (double)window_bytes(storage->window), part;
    version_t durable = storage->share_bytes == 0 ? storage_version(storage) : storage->durable; /* nothing waits to be written */

    part = bytes > 0 && bytes < storage->share_bytes ? (double)bytes / (double)storage->share_bytes : 1;
    load->queue_bytes = (int64_t)(window - window * part * done);
    load->queue_max = storage->env->knobs.storage_memory_bytes_max;
    load->durable_version = bytes == 0 ? durable : durable + (version_t)((double)(storage_commit_version(storage) - durable) * done);
    load->capacity = (int64_t)drain_capacity(&storage->drain, bytes, past_us);
}

static struct message *make_report(void *ctx, bool *ret_busy)
{
    struct storage_server *storage = ctx;
    struct message *message;
    struct storage_load *load;

    if (storage->ended || !storage->recorded)
        return NULL;
    look_at_space(storage);
    load = MESSAGE_NEW(storage_load, &message);
    load->id = storage->id;
    load->version = storage_version(storage);
    load->input_bytes = (int64_t)storage->mutation_bytes;
    tell_disk(storage, load);
    load->free_bytes = storage->free_bytes;
    load->total_bytes = storage->total_bytes;
    load->tag = storage->tag;
    tag_counter_decay(&storage->tag_reads, env_now_us(storage->env));
    load->reads_count = tag_counter_report(&storage->tag_reads, &message->arena, &load->reads);
    load->reads_cost = (int64_t)storage->tag_reads.total;
    *ret_busy = storage->mutation_bytes != storage->reported_bytes || storage->share_bytes > 0;
    storage->reported_bytes = storage->mutation_bytes;
    return message;
}

void storage_load_start(struct storage_server *storage)
{
    storage->reporter = (struct rate_reporter){.rpc = storage->rpc, .make = make_report, .ctx = storage};
    rate_reporter_start(&storage->reporter, &storage->ops);
}
