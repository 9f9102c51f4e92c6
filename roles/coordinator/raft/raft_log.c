/* A vector of entries behind a snapshot. The state it carries is a few KB and is compacted every thousand entries or so:
 * moving the rest down at compaction costs less than any cleverer structure would in code. */
#include "roles/coordinator/raft/raft_log.h"

#include <assert.h>

#include "net/error.h"
#include "net/list.h"
#include "net/mem.h"

static struct raft_blob *blob_of(const uint8_t *bytes)
{
    return bytes == NULL ? NULL : container_of(bytes, struct raft_blob, bytes);
}

static struct raft_blob *blob_create(size_t size)
{
    struct raft_blob *blob = mem_alloc(sizeof(struct raft_blob) + size);

    if (blob != NULL)
        blob->next = NULL;
    return blob;
}

static void discard(struct raft_log *log, struct raft_blob *blob)
{
    if (blob == NULL)
        return;
    assert(blob->next == NULL);
    blob->next = log->garbage;
    log->garbage = blob;
}

void raft_log_collect(struct raft_log *log)
{
    while (log->garbage != NULL) {
        struct raft_blob *blob = log->garbage;

        log->garbage = blob->next;
        mem_free(blob);
    }
}

static void discard_entries(struct raft_log *log, size_t from, size_t to)
{
    assert(from <= to && to <= log->count);
    for (size_t i = from; i < to; i++)
        discard(log, blob_of(log->entries[i].data.ptr));
}

void raft_log_done(struct raft_log *log)
{
    discard_entries(log, 0, log->count);
    discard(log, log->snapshot_blob);
    raft_log_collect(log);
    mem_free(log->entries);
    mem_free(log->sequences);
    *log = (struct raft_log){0};
}

uint64_t raft_log_last_index(const struct raft_log *log)
{
    return log->snapshot.index + log->count;
}

uint64_t raft_log_last_term(const struct raft_log *log)
{
    return log->count == 0 ? log->snapshot.term : log->entries[log->count - 1].term;
}

const struct raft_entry *raft_log_entry(const struct raft_log *log, uint64_t index)
{
    if (index <= log->snapshot.index || index > raft_log_last_index(log))
        return NULL;
    return &log->entries[index - log->snapshot.index - 1];
}

bool raft_log_term(const struct raft_log *log, uint64_t index, uint64_t *ret_term)
{
    const struct raft_entry *entry = raft_log_entry(log, index);

    if (entry == NULL && index != log->snapshot.index)
        return false;
    *ret_term = entry == NULL ? log->snapshot.term : entry->term;
    return true;
}

uint64_t raft_log_sequence(const struct raft_log *log, uint64_t index)
{
    assert(index <= raft_log_last_index(log));
    if (index <= log->snapshot.index)
        return log->base_sequence;
    return log->sequences[index - log->snapshot.index - 1];
}

uint64_t raft_log_durable_index(const struct raft_log *log, uint64_t durable_sequence)
{
    size_t low = 0, high = log->count;

    if (log->base_sequence > durable_sequence)
        return 0;
    while (low < high) { /* sequences never fall along the log */
        size_t middle = low + (high - low) / 2;

        if (log->sequences[middle] <= durable_sequence)
            low = middle + 1;
        else
            high = middle;
    }
    return log->snapshot.index + low;
}

int raft_log_compare_end(const struct raft_log *log, uint64_t term, uint64_t index)
{
    uint64_t last_term = raft_log_last_term(log), last_index = raft_log_last_index(log);

    if (term != last_term)
        return term < last_term ? -1 : 1;
    return index < last_index ? -1 : index > last_index;
}

/* Room for one more. On failure everything stays valid: at worst one of the two arrays is larger than it need be. */
static int reserve_one(struct raft_log *log)
{
    size_t capacity = log->capacity == 0 ? 64 : log->capacity * 2;
    struct raft_entry *entries;
    uint64_t *sequences;

    if (log->count < log->capacity)
        return 0;
    entries = mem_realloc(log->entries, capacity * sizeof(*entries));
    if (entries == NULL)
        return ERROR_OUT_OF_MEMORY;
    log->entries = entries;
    sequences = mem_realloc(log->sequences, capacity * sizeof(*sequences));
    if (sequences == NULL)
        return ERROR_OUT_OF_MEMORY;
    log->sequences = sequences;
    log->capacity = capacity;
    return 0;
}

int raft_log_append(struct raft_log *log, const struct raft_entry *entry, uint64_t sequence)
{
    struct raft_entry copy = *entry;

    assert(entry->index == raft_log_last_index(log) + 1);
    assert(entry->term >= raft_log_last_term(log));
    assert(sequence >= raft_log_sequence(log, entry->index - 1));
    if (reserve_one(log) != 0)
        return ERROR_OUT_OF_MEMORY;
    copy.data = bytes_none();
    if (entry->data.len != 0) {
        struct raft_blob *blob = blob_create(entry->data.len);

        if (blob == NULL)
            return ERROR_OUT_OF_MEMORY;
        memcpy(blob->bytes, entry->data.ptr, entry->data.len);
        copy.data = bytes_of(blob->bytes, entry->data.len);
    }
    log->entries[log->count] = copy;
    log->sequences[log->count] = sequence;
    log->count++;
    return 0;
}

void raft_log_truncate(struct raft_log *log, uint64_t from)
{
    size_t keep = from - log->snapshot.index - 1;

    assert(from > log->snapshot.index);
    assert(from <= raft_log_last_index(log));
    discard_entries(log, keep, log->count);
    log->count = keep;
}

/* The first `drop` entries go; the rest move down. */
static void drop_front(struct raft_log *log, size_t drop)
{
    discard_entries(log, 0, drop);
    log->count -= drop;
    if (log->count == 0)
        return;
    memmove(log->entries, log->entries + drop, log->count * sizeof(*log->entries));
    memmove(log->sequences, log->sequences + drop, log->count * sizeof(*log->sequences));
}

int raft_log_set_snapshot(struct raft_log *log, const struct raft_snapshot *snapshot, bool keep_rest,
                          uint64_t sequence)
{
    size_t configuration_len = snapshot->configuration.len, data_len = snapshot->data.len;
    struct raft_blob *blob = blob_create(configuration_len + data_len);

    if (blob == NULL)
        return ERROR_OUT_OF_MEMORY;
    assert(snapshot->index >= log->snapshot.index);
    assert(!keep_rest || snapshot->index <= raft_log_last_index(log));
    if (configuration_len != 0)
        memcpy(blob->bytes, snapshot->configuration.ptr, configuration_len);
    if (data_len != 0)
        memcpy(blob->bytes + configuration_len, snapshot->data.ptr, data_len);
    log->base_sequence = keep_rest ? raft_log_sequence(log, snapshot->index) : sequence;
    drop_front(log, keep_rest ? snapshot->index - log->snapshot.index : log->count);
    discard(log, log->snapshot_blob);
    log->snapshot_blob = blob;
    log->snapshot = *snapshot;
    log->snapshot.configuration = bytes_of(blob->bytes, configuration_len);
    log->snapshot.data = bytes_of(blob->bytes + configuration_len, data_len);
    return 0;
}
