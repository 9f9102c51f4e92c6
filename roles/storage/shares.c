/* How much came in at which versions: what a commit would write, and in which steps the window forgets.
 *
 * A ring of shares. A share ends when it holds STORAGE_FORGET_STEP_BYTES, at a whole version. */
#include "net/error.h"
#include "net/mem.h"
#include "roles/storage/storage_internal.h"

struct share *shares_at(struct storage_server *storage, size_t index)
{
    assert(index < storage->share_count);
    return &storage->shares[(storage->share_first + index) & (storage->share_capacity - 1)];
}

struct share *shares_oldest(struct storage_server *storage)
{
    return storage->share_count == 0 ? NULL : shares_at(storage, 0);
}

static int grow(struct storage_server *storage)
{
    size_t capacity = storage->share_capacity == 0 ? 64 : storage->share_capacity * 2;
    struct share *grown = mem_alloc(capacity * sizeof(*grown));

    if (grown == NULL)
        return ERROR_OUT_OF_MEMORY;
    for (size_t i = 0; i < storage->share_count; i++)
        grown[i] = *shares_at(storage, i);
    mem_free(storage->shares);
    storage->shares = grown;
    storage->share_capacity = capacity;
    storage->share_first = 0;
    return 0;
}

int shares_add(struct storage_server *storage, version_t version, size_t bytes)
{
    struct share *newest = storage->share_count == 0 ? NULL : shares_at(storage, storage->share_count - 1);

    if (newest == NULL || newest->bytes >= STORAGE_FORGET_STEP_BYTES) {
        if (storage->share_count == storage->share_capacity && grow(storage) != 0)
            return ERROR_OUT_OF_MEMORY;
        storage->share_count++;
        newest = shares_at(storage, storage->share_count - 1);
        *newest = (struct share){.first = version};
    }
    newest->last = version;
    newest->bytes += bytes;
    storage->share_bytes += bytes;
    return 0;
}

void shares_discard_above(struct storage_server *storage, version_t version)
{
    while (storage->share_count > 0) {
        struct share *newest = shares_at(storage, storage->share_count - 1);

        if (newest->last <= version)
            return;
        if (newest->first <= version) { /* how much of it stays is not known: it counts as all */
            newest->last = version;
            return;
        }
        storage->share_bytes -= newest->bytes;
        storage->share_count--;
    }
}

void shares_drop_oldest(struct storage_server *storage)
{
    storage->share_bytes -= shares_at(storage, 0)->bytes;
    storage->share_first = (storage->share_first + 1) & (storage->share_capacity - 1);
    storage->share_count--;
}

size_t shares_bytes_through(struct storage_server *storage, version_t version)
{
    size_t bytes = 0;

    for (size_t i = 0; i < storage->share_count && shares_at(storage, i)->first <= version; i++)
        bytes += shares_at(storage, i)->bytes;
    return bytes;
}
