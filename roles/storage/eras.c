/* Generations of the log system, as a storage server lives through them.
 *
 * An era is what we pulled from one generation. It tells three things: where a roll-back must go when the generation's recorded end
 * turns out to lie below what we hold; in which epoch our durable version lies (so that a restarted server knows too); and
 * which stretch of versions was only jumped over by a recovery, and does not count in the 5 s of history.
 *
 * An epoch that is described has committed its first transaction, on all of its logs: it ends above its begin, where the next one begins. So
 * a roll-back leaves something of the newest era, and the next era begins exactly there. Generations leave the coordinated state oldest
 * first: what a description goes on with is never older than our newest era. One that says otherwise is of no history, and refused. */
#include "net/buggify.h"
#include "net/error.h"
#include "net/mem.h"
#include "net/planted_bug.h"
#include "roles/storage/storage_internal.h"

static struct era *newest_era(const struct storage_server *storage)
{
    return storage->era_count == 0 ? NULL : &storage->eras[storage->era_count - 1];
}

int storage_era_enter(struct storage_server *storage, const struct generation *generation, version_t first)
{
    const struct era *newest = newest_era(storage);
    const struct description *d = storage->description;
    struct era *grown;

    if (newest != NULL && newest->epoch == generation->epoch)
        return 0;
    assert(newest == NULL || newest->epoch < generation->epoch);
    assert(first > generation->begin && storage_version(storage) >= generation->begin);
    assert(newest == NULL || storage_version(storage) == generation->begin);
    if (storage->era_count == storage->era_capacity) {
        uint32_t capacity = storage->era_capacity == 0 ? 4 : storage->era_capacity * 2;

        grown = mem_realloc(storage->eras, capacity * sizeof(*grown));
        if (grown == NULL)
            return ERROR_OUT_OF_MEMORY;
        storage->eras = grown;
        storage->era_capacity = capacity;
    }
    /* What comes first in a reply may not be the very first; of the newest epoch we are told. */
    if (generation->epoch == d->epoch && d->recovery_transaction_version > generation->begin &&
        d->recovery_transaction_version < first)
        first = d->recovery_transaction_version;
    /* One who comes late (a restart) has not lived through the jump. */
    if (storage_version(storage) > generation->begin)
        first = storage_version(storage);
    storage->eras[storage->era_count++] = (struct era){
        .epoch = generation->epoch, .begin = storage_version(storage), .first = first};
    return 0;
}

uint64_t storage_epoch_of(const struct storage_server *storage, version_t version)
{
    uint64_t epoch = storage->era_count == 0 ? 0 : storage->eras[0].epoch;

    for (uint32_t i = 0; i < storage->era_count && storage->eras[i].begin < version; i++)
        epoch = storage->eras[i].epoch;
    return epoch;
}

void storage_eras_prune(struct storage_server *storage)
{
    uint32_t past = 0;

    while (past + 1 < storage->era_count && storage->eras[past + 1].first <= storage->durable)
        past++;
    if (past == 0)
        return;
    storage->era_count -= past;
    memmove(storage->eras, storage->eras + past, storage->era_count * sizeof(*storage->eras));
}

/* `span` real versions below ours. */
static version_t step_back(const struct storage_server *storage, version_t span)
{
    version_t at = storage_version(storage);

    for (uint32_t i = storage->era_count; i > 0; i--) {
        const struct era *era = &storage->eras[i - 1];

        if (at <= era->begin) /* nothing of it has come yet, or it was taken back */
            continue;
        if (at - era->first >= span)
            return at - span;
        span -= at > era->first ? at - era->first : 0;
        at = era->begin;
    }
    return at - span;
}

void storage_update_oldest(struct storage_server *storage)
{
    version_t oldest = step_back(storage, MAX_READ_TRANSACTION_LIFE_VERSIONS);

    if (oldest > storage->known_committed)
        oldest = storage->known_committed;
    if (oldest > storage->oldest)
        storage->oldest = oldest;
}

const struct generation *storage_generation(const struct storage_server *storage)
{
    const struct description *d = storage->description;
    version_t version = storage_version(storage);

    for (uint32_t i = 0; i < d->generations_count; i++)
        if (d->generations[i].begin <= version && version < d->generations[i].end)
            return &d->generations[i];
    return NULL;
}

version_t storage_old_end(const struct storage_server *storage)
{
    const struct description *d = storage->description;
    version_t end = VERSION_NONE;

    for (uint32_t i = 0; d != NULL && i < d->generations_count; i++)
        if (d->generations[i].end != VERSION_MAX && d->generations[i].end > end)
            end = d->generations[i].end;
    return end;
}

/* ---- rolling back ---- */

/* Where the epoch ended. One that is listed no more (all of it is durable everywhere, or it never committed) ended where the
 * next one begins. */
static version_t end_of(const struct description *d, uint64_t epoch)
{
    version_t end = VERSION_MAX;

    for (uint32_t i = 0; i < d->generations_count; i++) {
        const struct generation *generation = &d->generations[i];

        if (generation->epoch == epoch)
            return generation->end;
        if (generation->epoch > epoch && generation->begin < end)
            end = generation->begin;
    }
    return end;
}

const char *storage_description_wrong(const struct storage_server *storage, const struct description *d)
{
    const struct era *newest = newest_era(storage);
    version_t version = storage_version(storage), end;

    if (newest == NULL)
        return NULL;
    end = end_of(d, newest->epoch);
    if (storage->era_count > 1 && end <= newest->begin)
        return "an epoch ends where it began";
    if (version > end)
        version = end;
    for (uint32_t i = 0; i < d->generations_count; i++)
        if (d->generations[i].begin <= version && version < d->generations[i].end && d->generations[i].epoch < newest->epoch)
            return "an epoch goes on that has ended";
    return NULL;
}

/* Nothing known committed (which all that is durable or was read is) may ever be taken back. */
static bool roll_back_to(struct storage_server *storage, const struct era *era, version_t end)
{
    struct ownership *owned;
    version_t owned_to;
    int error;

    TRACE(storage->env, SEVERITY_INFO, "StorageRollback", {"Id", trace_id(storage->id)},
          {"Epoch", trace_int((int64_t)era->epoch)}, {"From", trace_int(storage_version(storage))}, {"To", trace_int(end)},
          {"Durable", trace_int(storage->durable)}, {"Oldest", trace_int(storage->oldest)});
    if (storage->known_committed > end) {
        TRACE(storage->env, SEVERITY_ERROR, "StorageCommittedAboveEnd", {"Id", trace_id(storage->id)},
              {"Durable", trace_int(storage->durable)}, {"KnownCommitted", trace_int(storage->known_committed)},
              {"End", trace_int(end)});
        storage_end(storage, ERROR_INTERNAL_ERROR);
        return false;
    }
    PROBE(storage->env, "storage rolls back what an epoch never committed");
    if (!list_empty(&storage->assignments) && list_entry(storage->assignments.prev, struct assignment, link)->version > end)
        PROBE(storage->env, "a roll-back takes back what was assigned or has come in");
    owned_to = PLANTED_BUG(CHUNK_KEPT) ? storage_version(storage) : end;
    storage_drop_assignments(storage, owned_to, VERSION_MAX);
    error = storage_owned_at(storage, owned_to, &owned);
    if (error != 0) {
        storage_end(storage, error);
        return false;
    }
    ownership_destroy(storage->owned);
    storage->owned = owned;
    shares_discard_above(storage, end);
    storage_buffer_roll_back(storage, end);
    /* Whoever waits does so for a version above the old one, so the turnstile may stand lower again. */
    storage->readable.now = end;
    storage->rollbacks++;
    storage->discarding = true;
    storage->discard_to = end;
    storage_discard(storage);
    return true;
}

bool storage_roll_back(struct storage_server *storage)
{
    const struct era *era = newest_era(storage);
    version_t end = era == NULL ? VERSION_MAX : end_of(storage->description, era->epoch);

    return storage_version(storage) <= end || PLANTED_BUG(SKIP_ROLL_BACK) || roll_back_to(storage, era, end);
}

void storage_discard(struct storage_server *storage)
{
    if (storage->discarding && storage->commit != NULL)
        PROBE(storage->env, "a roll-back waits until the engine's commit is done");
    if (!storage->discarding || storage->commit != NULL)
        return;
    window_discard_above(storage->window, storage->discard_to);
    storage->discarding = false;
}
