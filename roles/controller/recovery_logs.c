/* Which logs an epoch can end on.
 *
 * Every acknowledged commit was durable on every log of the generation, so the lowest end of any set of logs that kept what they
 * acknowledged is at or above all of them. A log whose end is below a version that anybody knows to be committed has lost
 * data and counts as missing. Each tag lives on `replication` logs in different zones: when those missing lie in fewer
 * zones, one log of each tag is left. */
#include <assert.h>

#include "net/planted_bug.h"
#include "roles/controller/recovery.h"

const char *recovery_lock_wrong(const struct generation *generation, uint32_t log, const struct lock_log_reply *answer)
{
    if (answer->log_id != generation->logs[log].endpoint.id)
        return "it is another log";
    if (answer->begin != generation->begin)
        return "it begins elsewhere";
    if (answer->end < answer->begin || answer->known_committed > answer->end)
        return "its versions contradict each other";
    return NULL;
}

bool recovery_logs_suffice(const struct generation *generation, const struct lock_log_reply *const *answers,
                           version_t known_committed, uint64_t *ret_mask, version_t *ret_version)
{
    uint64_t mask = 0, all = generation->logs_count == 64 ? UINT64_MAX : (UINT64_C(1) << generation->logs_count) - 1;
    version_t lowest = VERSION_MAX;

    assert(generation->logs_count > 0 && generation->logs_count <= LOGS_MAX);
    for (uint32_t i = 0; i < generation->logs_count; i++)
        if (answers[i] != NULL && answers[i]->known_committed > known_committed)
            known_committed = answers[i]->known_committed;
    for (uint32_t i = 0; i < generation->logs_count; i++) {
        if (answers[i] == NULL || answers[i]->end < known_committed || answers[i]->end < generation->begin)
            continue;
        mask |= UINT64_C(1) << i;
        if (PLANTED_BUG(RECOVERY_VERSION_MAX) ? lowest == VERSION_MAX || answers[i]->end > lowest : answers[i]->end < lowest)
            lowest = answers[i]->end;
    }
    if (mask == 0 || log_system_zone_count(generation, all & ~mask) >= generation->replication)
        return false;
    assert(lowest >= known_committed && lowest >= generation->begin);
    *ret_mask = mask;
    *ret_version = lowest;
    return true;
}
