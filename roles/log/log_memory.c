/* Versions in memory, the index of those on disk alone, and what may be forgotten.
 *
 * The newest versions stand in a ring with a reference on their push. When they take more than the knob allows, the oldest are
 * let go: of those only a checkpoint every LOG_CHECKPOINT_EVERY versions or LOG_CHECKPOINT_BYTES is kept, from which the disk
 * is read in order. So a storage server that lags, or is down for days, costs disk and next to no memory.
 *
 * Only known committed versions are let go. Their proxies have heard from every log, and ask no more: so whatever may come
 * again is here to be compared with, and a push costs no hash.
 *
 * A version may be forgotten when, for every tag held here that has data above what its server popped, it is at or below that pop. The tag
 * of a server that was removed holds nothing up. */
#include "net/mem.h"
#include "net/buggify.h"
#include "roles/log/log_internal.h"

enum { ENTRIES_MIN = 1024 };

struct log_entry *log_entry_at(struct log_server *log, size_t index)
{
    assert(index < log->entry_count);
    return &log->entries[(log->entry_first + index) & (log->entry_capacity - 1)];
}

struct log_entry *log_entry_find(struct log_server *log, version_t version)
{
    size_t low = 0, high = log->entry_count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (log_entry_at(log, middle)->version < version)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == log->entry_count || log_entry_at(log, low)->version != version)
        return NULL;
    return log_entry_at(log, low);
}

static void grow(struct log_server *log)
{
    size_t capacity = log->entry_capacity == 0 ? ENTRIES_MIN : log->entry_capacity * 2;
    struct log_entry *entries = mem_alloc(capacity * sizeof(*entries));

    for (size_t i = 0; i < log->entry_count; i++)
        entries[i] = *log_entry_at(log, i);
    mem_free(log->entries);
    log->entries = entries;
    log->entry_first = 0;
    log->entry_capacity = capacity;
}

bool log_memory_admit(struct log_server *log, const struct push *push)
{
    for (uint32_t i = 0; i < push->sections_count; i++)
        for (uint32_t t = 0; t < push->sections[i].tags_count; t++)
            if (log_tag_find(log, push->sections[i].tags[t], true) == NULL)
                return false;
    return true;
}

static void note_tags(struct log_server *log, const struct push *push)
{
    for (uint32_t i = 0; i < push->sections_count; i++) {
        for (uint32_t t = 0; t < push->sections[i].tags_count; t++) {
            struct log_tag *tag = log_tag_find(log, push->sections[i].tags[t], false);

            assert(tag != NULL && tag->newest <= push->version);
            tag->newest = push->version;
        }
    }
}

/* What goes when the reference goes; what several share counts for each. */
static size_t held_bytes(const struct message *message)
{
    size_t bytes = sizeof(*message);

    for (; message != NULL; message = message->keeps)
        bytes += message->arena.reserved_bytes;
    return bytes;
}

void log_memory_add(struct log_server *log, struct message *message, uint64_t position)
{
    const struct push *push = MESSAGE_BODY(push, message);
    struct log_entry *entry;

    assert(log->entry_count == 0 || log_entry_at(log, log->entry_count - 1)->version < push->version);
    if (log->entry_count == log->entry_capacity)
        grow(log);
    log->entry_count++;
    entry = log_entry_at(log, log->entry_count - 1);
    *entry = (struct log_entry){.version = push->version,
                                .position = position,
                                .message = message_ref(message),
                                .bytes = sizeof(*entry) + held_bytes(message)};
    log->memory_bytes += entry->bytes;
    note_tags(log, push);
}

static bool checkpoint_is_due(const struct log_server *log, uint64_t position)
{
    return log->checkpoint_count == 0 || log->since_checkpoint >= LOG_CHECKPOINT_EVERY ||
           position - log->checkpoints[log->checkpoint_count - 1].position >= LOG_CHECKPOINT_BYTES ||
           BUGGIFY(log->env, "a spilled version gets a checkpoint that is not due");
}

/* The version is on disk alone from now on. */
static void index_spilled(struct log_server *log, version_t version, uint64_t position)
{
    assert(version > log->spilled_through);
    log->spilled_through = version;
    if (checkpoint_is_due(log, position)) {
        if (log->checkpoint_count == log->checkpoint_capacity) {
            log->checkpoint_capacity = log->checkpoint_capacity == 0 ? 64 : log->checkpoint_capacity * 2;
            log->checkpoints = mem_realloc(log->checkpoints, log->checkpoint_capacity * sizeof(*log->checkpoints));
        }
        log->checkpoints[log->checkpoint_count++] = (struct log_checkpoint){version, position};
        log->since_checkpoint = 0;
    }
    log->since_checkpoint++;
}

void log_memory_replayed(struct log_server *log, const struct push *push, uint64_t position)
{
    index_spilled(log, push->version, position);
    note_tags(log, push);
}

static void remove_first(struct log_server *log)
{
    struct log_entry *entry = log_entry_at(log, 0);

    log->memory_bytes -= entry->bytes;
    message_unref(entry->message);
    log->entry_first = (log->entry_first + 1) & (log->entry_capacity - 1);
    log->entry_count--;
}

void log_memory_spill(struct log_server *log)
{
    while (log->entry_count > 1 && log_entry_at(log, 0)->version <= log->known_committed &&
           (log->memory_bytes > (size_t)log->env->knobs.log_memory_bytes_max ||
            BUGGIFY(log->env, "a version is served from disk although memory has room"))) {
        PROBE(log->env, "log spills a version to disk");
        index_spilled(log, log_entry_at(log, 0)->version, log_entry_at(log, 0)->position);
        remove_first(log);
    }
}

static version_t forgettable_through(const struct log_server *log)
{
    version_t safe = log->known_committed;

    for (uint32_t i = 0; i < log->tag_capacity; i++) {
        const struct log_tag *tag = &log->tags[i];

        if (tag->held && !tag->removed && tag->newest > tag->popped && tag->popped < safe)
            safe = tag->popped;
    }
    return safe;
}

/* Keeps the newest checkpoint at or below `safe`: reading starts there. */
static void drop_checkpoints(struct log_server *log, version_t safe)
{
    size_t drop = 0;

    if (log->spilled_through <= safe) {
        log->checkpoint_count = 0;
        return;
    }
    while (drop + 1 < log->checkpoint_count && log->checkpoints[drop + 1].version <= safe)
        drop++;
    if (drop == 0)
        return;
    memmove(log->checkpoints, log->checkpoints + drop, (log->checkpoint_count - drop) * sizeof(*log->checkpoints));
    log->checkpoint_count -= drop;
}

void log_memory_restored(struct log_server *log)
{
    if (log->snapshot_popped > log->popped_through) {
        log->popped_through = log->snapshot_popped;
        drop_checkpoints(log, log->popped_through);
        PROBE(log->env, "a restored log learns from its snapshot what was popped");
    }
    if (log->checkpoint_count > 0 && log->checkpoints[0].position < log->snapshot_needed)
        log->checkpoints[0].position = log->snapshot_needed;
}

void log_memory_popped(struct log_server *log)
{
    version_t safe = forgettable_through(log);

    if (safe <= log->popped_through)
        return;
    log->popped_through = safe;
    while (log->entry_count > 0 && log_entry_at(log, 0)->version <= safe)
        remove_first(log);
    if (log->spilled_through <= safe)
        log->spilled_through = safe;
    drop_checkpoints(log, safe);
    log_memory_pop_queue(log);
}

uint64_t log_memory_needed(const struct log_server *log)
{
    return log->checkpoint_count > 0 ? log->checkpoints[0].position
           : log->entry_count > 0    ? log->entries[log->entry_first].position
                                     : diskqueue_end(log->queue);
}

void log_memory_pop_queue(struct log_server *log)
{
    if (log_memory_needed(log) >= log->snapshot_due ||
        BUGGIFY_ONE_IN(log->env, 16, "a snapshot of the metadata is written though none is due"))
        log_start_fresh_snapshot(log);
}

void log_memory_done(struct log_server *log)
{
    while (log->entry_count > 0)
        remove_first(log);
    mem_free(log->entries);
    mem_free(log->checkpoints);
    mem_free(log->tags);
}
