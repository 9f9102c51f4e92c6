/* Versions in memory, the index of those on disk alone, and what may be forgotten.
 *
 * The newest versions stand in a ring with a reference on their push. When they take more than the knob allows, the oldest are
 * let go: of those only a checkpoint every LOG_CHECKPOINT_EVERY versions is kept, from which the disk is read in order. So a
 * storage server that lags, or is down for days, costs disk and next to no memory.
 *
 * A version may be forgotten when, for every tag held here that has data above what its server popped, it is at or below that pop. */
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

static void note_tags(struct log_server *log, const struct push *push)
{
    for (uint32_t i = 0; i < push->sections_count; i++) {
        for (uint32_t t = 0; t < push->sections[i].tags_count; t++) {
            struct log_tag *tag = log_tag_find(log, push->sections[i].tags[t], true);

            if (push->version > tag->newest)
                tag->newest = push->version;
        }
    }
}

void log_memory_add(struct log_server *log, const struct push *push, struct message *message, uint64_t position)
{
    struct log_entry *entry;

    assert(log->entry_count == 0 || log_entry_at(log, log->entry_count - 1)->version < push->version);
    if (log->entry_count == log->entry_capacity)
        grow(log);
    log->entry_count++;
    entry = log_entry_at(log, log->entry_count - 1);
    *entry = (struct log_entry){.version = push->version,
                                .prev_version = push->prev_version,
                                .position = position,
                                .hash = log_push_hash(push),
                                .message = message == NULL ? NULL : message_ref(message),
                                .bytes = sizeof(*entry)};
    if (message != NULL)
        entry->bytes += message->arena.reserved_bytes + push->metadata.len;
    for (uint32_t i = 0; message != NULL && i < push->sections_count; i++)
        entry->bytes += push->sections[i].mutations.len;
    log->memory_bytes += entry->bytes;
    note_tags(log, push);
}

static void add_checkpoint(struct log_server *log, const struct log_entry *entry)
{
    if (log->checkpoint_count == log->checkpoint_capacity) {
        log->checkpoint_capacity = log->checkpoint_capacity == 0 ? 64 : log->checkpoint_capacity * 2;
        log->checkpoints = mem_realloc(log->checkpoints, log->checkpoint_capacity * sizeof(*log->checkpoints));
    }
    log->checkpoints[log->checkpoint_count++] = (struct log_checkpoint){entry->version, entry->position};
}

/* The oldest entry leaves memory. spilled: it is still needed, from disk. */
static void remove_first(struct log_server *log, bool spilled)
{
    struct log_entry *entry = log_entry_at(log, 0);

    if (spilled) {
        if (log->checkpoint_count == 0 || log->since_checkpoint >= LOG_CHECKPOINT_EVERY) {
            add_checkpoint(log, entry);
            log->since_checkpoint = 0;
        }
        log->since_checkpoint++;
    }
    log->spilled_through = entry->version;
    log->memory_bytes -= entry->bytes;
    message_unref(entry->message);
    log->entry_first = (log->entry_first + 1) & (log->entry_capacity - 1);
    log->entry_count--;
}

void log_memory_spill(struct log_server *log)
{
    while (log->memory_bytes > (size_t)log->env->knobs.log_memory_bytes_max && log->entry_count > 1 &&
           log_entry_at(log, 0)->version <= log->durable) {
        PROBE(log->env, "log spills a version to disk");
        remove_first(log, true);
    }
}

static version_t needed_above(const struct log_server *log)
{
    version_t safe = log->durable < log->known_committed ? log->durable : log->known_committed;

    for (uint32_t i = 0; i < log->tag_count; i++) {
        const struct log_tag *tag = &log->tags[i];

        if (tag->held && tag->newest > tag->popped && tag->popped < safe)
            safe = tag->popped;
    }
    return safe;
}

void log_memory_popped(struct log_server *log)
{
    version_t safe = needed_above(log);

    if (safe <= log->popped_through)
        return;
    log->popped_through = safe;
    while (log->entry_count > 0 && log_entry_at(log, 0)->version <= safe)
        remove_first(log, false);
    if (log->spilled_through <= safe) {
        log->checkpoint_count = 0;
    } else { /* keep the newest checkpoint at or below `safe`: reading starts there */
        size_t drop = 0;

        while (drop + 1 < log->checkpoint_count && log->checkpoints[drop + 1].version <= safe)
            drop++;
        memmove(log->checkpoints, log->checkpoints + drop, (log->checkpoint_count - drop) * sizeof(*log->checkpoints));
        log->checkpoint_count -= drop;
    }
    log_memory_pop_queue(log);
}

void log_memory_pop_queue(struct log_server *log)
{
    uint64_t position = log->checkpoint_count > 0 ? log->checkpoints[0].position
                        : log->entry_count > 0    ? log_entry_at(log, 0)->position
                                                  : diskqueue_end(log->queue);

    /* The metadata above the snapshot stands in the pushes after it, so those stay with it: nothing above the known
     * committed version is ever folded, and nothing above it is ever popped. */
    diskqueue_pop(log->queue, position < log->snapshot_position ? position : log->snapshot_position);
    if (position > log->snapshot_position &&
        position - log->snapshot_position >= (uint64_t)log->env->knobs.log_segment_bytes)
        log_start_fresh_snapshot(log);
}

void log_memory_done(struct log_server *log)
{
    while (log->entry_count > 0)
        remove_first(log, false);
    mem_free(log->entries);
    mem_free(log->checkpoints);
    mem_free(log->tags);
}
