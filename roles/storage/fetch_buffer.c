/* What was written in pieces that are still to be fetched.
 *
 * A chunk brings the state as of its version F; what the stream wrote there above F must follow it, once and in order, and nothing
 * at or below F may. So mutations of such pieces are kept here, in the order of the stream, until no chunk can need them: a chunk
 * in flight needs what is above its F, and any later one is asked for at min(known committed, our version) or above, which never
 * sinks. What lies at or below all of those is pruned, and `floor` remembers how far: a chunk of a lower version is
 * refused when it arrives. So each mutation is in the chunk, or here, whatever the order of events.
 *
 * One buffer for all pieces: entries of a piece whose chunk has come in, or that was taken away, stay until they are pruned. They
 * meet no chunk again, for what is fetched a second time is fetched as of a later assignment.
 *
 * A roll-back takes back chunks too, whose entries may be pruned by then. It empties the buffer and raises the floor to where it
 * ended: all of that is committed, and the next epoch's first news say so.
 *
 * Memory: when a chunk dawdles and the buffer grows past a share of storage_memory_bytes_max, it is pruned all the same; the chunk is
 * then too old, and is asked for again. */
#include "net/buggify.h"
#include "net/error.h"
#include "net/mem.h"
#include "roles/storage/storage_internal.h"

enum { BUFFER_SHARE = 4 }; /* of the memory that the window may have */

struct buffered {
    struct list link;
    version_t version;
    enum mutation_type type;
    struct bytes param1, param2; /* in the same block */
    size_t bytes;
};

int storage_buffer(struct storage_server *storage, version_t version, enum mutation_type type, struct bytes param1,
                   struct bytes param2)
{
    size_t bytes = sizeof(struct buffered) + param1.len + param2.len;
    struct buffered *entry = mem_alloc(bytes);
    uint8_t *data;

    if (entry == NULL)
        return ERROR_OUT_OF_MEMORY;
    data = (uint8_t *)(entry + 1);
    if (param1.len > 0)
        memcpy(data, param1.ptr, param1.len);
    if (param2.len > 0)
        memcpy(data + param1.len, param2.ptr, param2.len);
    *entry = (struct buffered){.version = version, .type = type, .param1 = bytes_of(data, param1.len),
                               .param2 = bytes_of(data + param1.len, param2.len), .bytes = bytes};
    list_push_back(&storage->moves.buffer, &entry->link);
    storage->moves.buffer_bytes += bytes;
    PROBE(storage->env, "a mutation waits for the chunk that it lies in");
    return 0;
}

static int apply_entry(struct storage_server *storage, version_t version, const struct buffered *entry, struct bytes begin,
                       struct bytes end)
{
    struct bytes low = bytes_max(entry->param1, begin), high;

    if (entry->type != MUTATION_CLEAR_RANGE) {
        if (bytes_compare(entry->param1, begin) < 0 || bytes_compare(entry->param1, end) >= 0)
            return 0;
        return storage_apply_data(storage, version, entry->type, entry->param1, entry->param2);
    }
    high = bytes_min(entry->param2, end);
    return bytes_compare(low, high) >= 0 ? 0 : storage_apply_data(storage, version, entry->type, low, high);
}

int storage_buffer_apply(struct storage_server *storage, version_t version, struct bytes begin, struct bytes end, version_t above)
{
    version_t last = VERSION_NONE;

    assert(above >= storage->moves.floor);
    list_each(node, after, &storage->moves.buffer) {
        const struct buffered *entry = list_entry(node, struct buffered, link);
        int error;

        assert(entry->version >= last && entry->version <= version);
        last = entry->version;
        if (entry->version <= above)
            continue;
        error = apply_entry(storage, version, entry, begin, end);
        if (error != 0)
            return error;
    }
    return 0;
}

static void drop(struct storage_server *storage, struct buffered *entry)
{
    storage->moves.buffer_bytes -= entry->bytes;
    list_remove(&entry->link);
    mem_free(entry);
}

/* What any chunk that is not asked for yet will be at or above. */
static version_t least_next(const struct storage_server *storage)
{
    version_t version = storage_version(storage);

    return storage->known_committed < version ? storage->known_committed : version;
}

void storage_buffer_prune(struct storage_server *storage)
{
    version_t through = least_next(storage), oldest = storage_fetch_oldest(storage);

    if (list_empty(&storage->moves.buffer))
        return;
    if (oldest < through && storage->moves.buffer_bytes <= (size_t)storage->env->knobs.storage_memory_bytes_max / BUFFER_SHARE &&
        !BUGGIFY_ONE_IN(storage->env, 200, "a chunk dawdles until what was written since is dropped"))
        through = oldest;
    if (through > storage->moves.floor)
        storage->moves.floor = through;
    while (!list_empty(&storage->moves.buffer)) {
        struct buffered *entry = list_entry(storage->moves.buffer.next, struct buffered, link);

        if (entry->version > through)
            return;
        drop(storage, entry);
    }
}

void storage_buffer_roll_back(struct storage_server *storage, version_t end)
{
    while (!list_empty(&storage->moves.buffer))
        drop(storage, list_entry(storage->moves.buffer.next, struct buffered, link));
    if (end > storage->moves.floor)
        storage->moves.floor = end;
}
