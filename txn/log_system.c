#include "txn/log_system.h"

#include <assert.h>

static bool zone_is_taken(const struct generation *generation, const uint32_t *indexes, unsigned count, struct bytes zone)
{
    for (unsigned i = 0; i < count; i++)
        if (bytes_equal(generation->logs[indexes[i]].zone, zone))
            return true;
    return false;
}

unsigned log_system_logs_of_tag(const struct generation *generation, tag_t tag, uint32_t ret_indexes[LOG_REPLICATION_MAX])
{
    uint32_t n = generation->logs_count;
    uint32_t wanted = generation->replication < LOG_REPLICATION_MAX ? generation->replication : LOG_REPLICATION_MAX;
    unsigned found = 0;

    for (uint32_t i = 0; i < n && found < wanted; i++) {
        uint32_t index = (uint32_t)(((uint64_t)tag + i) % n);

        if (!zone_is_taken(generation, ret_indexes, found, generation->logs[index].zone))
            ret_indexes[found++] = index;
    }
    return found;
}

uint64_t log_system_logs_of_tags(const struct generation *generation, const tag_t *tags, uint32_t count)
{
    uint32_t indexes[LOG_REPLICATION_MAX];
    uint64_t mask = 0;

    assert(generation->logs_count <= LOGS_MAX);
    for (uint32_t i = 0; i < count; i++) {
        unsigned found = log_system_logs_of_tag(generation, tags[i], indexes);

        for (unsigned j = 0; j < found; j++)
            mask |= UINT64_C(1) << indexes[j];
    }
    return mask;
}

static bool zone_is_before(const struct generation *generation, uint64_t mask, uint32_t index)
{
    for (uint32_t i = 0; i < index; i++)
        if ((mask >> i & 1) != 0 && bytes_equal(generation->logs[i].zone, generation->logs[index].zone))
            return true;
    return false;
}

unsigned log_system_zone_count(const struct generation *generation, uint64_t mask)
{
    unsigned zones = 0;

    assert(generation->logs_count <= LOGS_MAX);
    for (uint32_t i = 0; i < generation->logs_count; i++)
        if ((mask >> i & 1) != 0 && !zone_is_before(generation, mask, i))
            zones++;
    return zones;
}

bool log_system_is_sound(const struct generation *generation)
{
    return generation->logs_count >= 1 && generation->logs_count <= LOGS_MAX && generation->replication >= 1 &&
           generation->replication <= LOG_REPLICATION_MAX && generation->begin >= 0 && generation->end >= generation->begin &&
           log_system_zone_count(generation, UINT64_MAX) >= generation->replication;
}

bool log_system_are_sound(const struct generation *generations, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (!log_system_is_sound(&generations[i]))
            return false;
        if (i > 0 && (generations[i].epoch <= generations[i - 1].epoch || generations[i].begin < generations[i - 1].end))
            return false;
    }
    return true;
}

bool log_system_description_is_sound(const struct description *d)
{
    return d->generations_count > 0 && d->generations[d->generations_count - 1].epoch == d->epoch &&
           log_system_are_sound(d->generations, d->generations_count);
}

/* What an epoch can't be without; its GRV proxies may all be lost for a moment. */
static bool roles_are_sound(const struct coordinated_state *state)
{
    uint32_t sequencers = 0, commit_proxies = 0, resolvers = 0;

    for (uint32_t i = 0; i < state->roles_count; i++) {
        const enum role_kind kind = state->roles[i].kind;

        sequencers += kind == ROLE_SEQUENCER;
        commit_proxies += kind == ROLE_COMMIT_PROXY;
        resolvers += kind == ROLE_RESOLVER;
    }
    return sequencers == 1 && commit_proxies >= 1 && resolvers >= 1;
}

bool log_system_state_is_sound(const struct coordinated_state *state)
{
    if (state->written_epoch > state->locked_epoch || (state->written_epoch == 0) != (state->generations_count == 0))
        return false;
    if (state->written_epoch > 0 && !roles_are_sound(state))
        return false;
    return log_system_are_sound(state->generations, state->generations_count);
}
