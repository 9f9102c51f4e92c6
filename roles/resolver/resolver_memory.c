#include "roles/resolver/resolver_memory.h"

#include <assert.h>

#include "net/error.h"
#include "net/mem.h"
#include "net/planted_bug.h"

int resolver_memory_init(struct resolver_memory *memory, uint32_t proxy_max)
{
    list_init(&memory->metadata);
    memory->proxy_max = proxy_max;
    memory->proxies = mem_zalloc(proxy_max * sizeof(*memory->proxies));
    return memory->proxies == NULL ? ERROR_OUT_OF_MEMORY : 0;
}

static void forget_answer(struct resolver_memory *memory, struct remembered *remembered)
{
    list_remove(&remembered->link);
    message_unref(remembered->reply);
    mem_free(remembered);
    memory->answer_count--;
}

static void forget_metadata(struct resolver_memory *memory, struct kept_metadata *kept)
{
    list_remove(&kept->link);
    memory->metadata_bytes -= kept->arena.reserved_bytes;
    memory->metadata_count--;
    arena_done(&kept->arena);
    mem_free(kept);
}

void resolver_memory_done(struct resolver_memory *memory)
{
    for (uint32_t i = 0; i < memory->proxy_count; i++)
        list_each(node, after, &memory->proxies[i].answers)
            forget_answer(memory, list_entry(node, struct remembered, link));
    if (memory->proxies != NULL)
        list_each(node, after, &memory->metadata)
            forget_metadata(memory, list_entry(node, struct kept_metadata, link));
    mem_free(memory->proxies);
    *memory = (struct resolver_memory){0};
}

struct progress *resolver_memory_proxy(struct resolver_memory *memory, uint64_t proxy, version_t known_at_birth)
{
    struct progress *progress;

    for (uint32_t i = 0; i < memory->proxy_count; i++)
        if (memory->proxies[i].proxy == proxy)
            return &memory->proxies[i];
    if (memory->proxy_count == memory->proxy_max)
        return NULL;
    progress = &memory->proxies[memory->proxy_count++];
    progress->proxy = proxy;
    progress->known = known_at_birth;
    list_init(&progress->answers);
    return progress;
}

static version_t known_by_all(const struct resolver_memory *memory)
{
    version_t known = VERSION_MAX;

    if (memory->proxy_count < memory->proxy_max)
        return VERSION_NONE; /* one that has not been heard of knows nothing */
    for (uint32_t i = 0; i < memory->proxy_count; i++)
        if (memory->proxies[i].known < known)
            known = memory->proxies[i].known;
    return known;
}

void resolver_memory_advance(struct resolver_memory *memory, struct progress *progress, version_t known)
{
    version_t everyone;

    if (known > progress->known)
        progress->known = known;
    list_each(node, after, &progress->answers) {
        struct remembered *remembered = list_entry(node, struct remembered, link);

        if (remembered->version <= progress->known)
            forget_answer(memory, remembered);
    }
    everyone = known_by_all(memory);
    list_each(node, after, &memory->metadata) {
        struct kept_metadata *kept = list_entry(node, struct kept_metadata, link);

        if (kept->version > everyone)
            break;
        forget_metadata(memory, kept);
    }
}

const struct remembered *resolver_memory_answer(const struct progress *progress, version_t version)
{
    list_each(node, after, &progress->answers) {
        const struct remembered *remembered = list_entry(node, struct remembered, link);

        if (remembered->version == version)
            return remembered;
    }
    return NULL;
}

int resolver_memory_remember(struct resolver_memory *memory, struct progress *progress, version_t version, uint64_t digest,
                             struct message *reply)
{
    struct remembered *remembered = mem_alloc(sizeof(*remembered));

    if (remembered == NULL)
        return ERROR_OUT_OF_MEMORY;
    *remembered = (struct remembered){.version = version, .digest = digest, .reply = message_ref(reply)};
    list_push_back(&progress->answers, &remembered->link);
    memory->answer_count++;
    return 0;
}

/* ---- metadata ---- */

static int copy_transactions(struct kept_metadata *kept, const struct resolve *batch, const uint32_t *verdicts)
{
    for (uint32_t i = 0; i < batch->transactions_count; i++) {
        const struct resolve_transaction *from = &batch->transactions[i];
        struct metadata_transaction *to = &kept->transactions[kept->count];

        if ((from->flags & RESOLVE_METADATA) == 0)
            continue;
        if (arena_copy(&kept->arena, from->mutations, &to->mutations) != 0)
            return ERROR_OUT_OF_MEMORY;
        to->committed = verdicts[i] == VERDICT_COMMITTED;
        to->flags = from->flags;
        kept->count++;
    }
    return 0;
}

static uint32_t count_metadata(const struct resolve *batch)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < batch->transactions_count; i++)
        count += (batch->transactions[i].flags & RESOLVE_METADATA) != 0;
    return count;
}

int resolver_memory_keep(struct resolver_memory *memory, const struct resolve *batch, const uint32_t *verdicts)
{
    uint32_t count = count_metadata(batch);
    struct kept_metadata *kept;

    if (count == 0)
        return 0;
    kept = mem_zalloc(sizeof(*kept));
    if (kept == NULL)
        return ERROR_OUT_OF_MEMORY;
    kept->version = batch->version;
    kept->proxy = batch->proxy;
    kept->transactions = arena_alloc(&kept->arena, count * sizeof(*kept->transactions));
    if (kept->transactions == NULL || copy_transactions(kept, batch, verdicts) != 0) {
        arena_done(&kept->arena);
        mem_free(kept);
        return ERROR_OUT_OF_MEMORY;
    }
    assert(kept->count == count);
    list_push_back(&memory->metadata, &kept->link);
    memory->metadata_bytes += kept->arena.reserved_bytes;
    memory->metadata_count++;
    return 0;
}

static bool is_news(const struct kept_metadata *kept, uint64_t proxy, version_t known, version_t version)
{
    return kept->proxy != proxy && kept->version > known && kept->version < version;
}

static int copy_batch(const struct kept_metadata *kept, struct arena *arena, struct metadata_batch *batch)
{
    batch->version = kept->version;
    batch->transactions_count = kept->count;
    batch->transactions = arena_alloc(arena, kept->count * sizeof(*batch->transactions));
    if (batch->transactions == NULL)
        return ERROR_OUT_OF_MEMORY;
    for (uint32_t i = 0; i < kept->count; i++) {
        batch->transactions[i] = kept->transactions[i];
        if (arena_copy(arena, kept->transactions[i].mutations, &batch->transactions[i].mutations) != 0)
            return ERROR_OUT_OF_MEMORY;
    }
    return 0;
}

int resolver_memory_tell(const struct resolver_memory *memory, uint64_t proxy, version_t known, version_t version,
                         struct arena *arena, struct resolve_reply *reply)
{
    if (list_empty(&memory->metadata))
        return 0;
    reply->metadata = arena_alloc(arena, memory->metadata_count * sizeof(*reply->metadata));
    if (reply->metadata == NULL)
        return ERROR_OUT_OF_MEMORY;
    list_each(node, after, &memory->metadata) {
        const struct kept_metadata *kept = list_entry(node, struct kept_metadata, link);

        if (!is_news(kept, proxy, known, version) || PLANTED_BUG(METADATA_ONE_PROXY))
            continue;
        if (copy_batch(kept, arena, &reply->metadata[reply->metadata_count]) != 0)
            return ERROR_OUT_OF_MEMORY;
        reply->metadata_count++;
    }
    return 0;
}
