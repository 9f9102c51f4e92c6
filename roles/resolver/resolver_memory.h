/* What a resolver remembers of its proxies: answers that may be asked for again, and metadata that not all have seen.
 *
 * Both end by the proxies' own progress: a proxy's known version says that it has applied that batch, so it has had every
 * answer through it. So memory is bounded by the batches that the proxies have under way, plus the metadata of at most one
 * empty-batch interval. */
#pragma once

#include "net/arena.h"
#include "net/list.h"
#include "txn/messages.h"

struct remembered {
    struct list link;
    version_t version;
    uint64_t digest;       /* of the request */
    struct message *reply; /* owned reference */
};

struct progress {
    uint64_t proxy;
    version_t known;
    struct list answers; /* struct remembered, oldest first */
};

struct kept_metadata {
    struct list link;
    version_t version;
    uint64_t proxy;
    struct arena arena;
    struct metadata_transaction *transactions; /* in the arena */
    uint32_t count;
};

struct resolver_memory {
    struct progress *proxies; /* owned; proxy_max of them */
    uint32_t proxy_count, proxy_max;
    struct list metadata; /* struct kept_metadata, oldest first */
    size_t metadata_bytes, metadata_count, answer_count;
};

int resolver_memory_init(struct resolver_memory *memory, uint32_t proxy_max);
void resolver_memory_done(struct resolver_memory *memory); /* accepts a zeroed one */

/* NULL when there are more proxies than the epoch has. */
struct progress *resolver_memory_proxy(struct resolver_memory *memory, uint64_t proxy, version_t known_at_birth);
/* The proxy has applied everything through `known`: its answers through there go, and metadata that everyone has seen. */
void resolver_memory_advance(struct resolver_memory *memory, struct progress *progress, version_t known);
/* NULL when it is forgotten, or there was none. */
const struct remembered *resolver_memory_answer(const struct progress *progress, version_t version);
/* Takes a reference of its own on the reply. */
int resolver_memory_remember(struct resolver_memory *memory, struct progress *progress, version_t version, uint64_t digest,
                             struct message *reply);

/* Keeps the metadata transactions of a resolved batch; nothing if there are none. Copies. */
int resolver_memory_keep(struct resolver_memory *memory, const struct resolve *batch, const uint32_t *verdicts);
/* Fills reply->metadata with what other proxies' batches in (known, version) changed. Copies into the arena. */
int resolver_memory_tell(const struct resolver_memory *memory, uint64_t proxy, version_t known, version_t version,
                         struct arena *arena, struct resolve_reply *reply);
