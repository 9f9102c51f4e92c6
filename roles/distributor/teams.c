/* A hash table with chains over one array, so that an id is an index and a shard pays four bytes for its team. */
#include "roles/distributor/teams.h"

#include <assert.h>
#include <string.h>

#include "net/mem.h"

enum { FIRST_CAPACITY = 16 };

static uint32_t hash_of(const uint32_t *servers, uint32_t count)
{
    uint64_t hash = UINT64_C(0x9e3779b97f4a7c15) * (count + 1);

    for (uint32_t i = 0; i < count; i++)
        hash = (hash ^ servers[i]) * UINT64_C(0xff51afd7ed558ccd), hash ^= hash >> 32;
    return (uint32_t)hash;
}

void teams_init(struct teams *teams)
{
    *teams = (struct teams){.capacity = FIRST_CAPACITY, .bucket_count = FIRST_CAPACITY, .count = 1};
    teams->all = mem_zalloc(FIRST_CAPACITY * sizeof(*teams->all));
    teams->buckets = mem_zalloc(FIRST_CAPACITY * sizeof(*teams->buckets));
    teams->all[0].refs = 1;
}

void teams_done(struct teams *teams)
{
    mem_free(teams->all);
    mem_free(teams->buckets);
    *teams = (struct teams){0};
}

static void grow(struct teams *teams)
{
    uint32_t capacity = 2 * teams->capacity;

    teams->all = mem_realloc(teams->all, capacity * sizeof(*teams->all));
    memset(teams->all + teams->capacity, 0, (capacity - teams->capacity) * sizeof(*teams->all));
    teams->buckets = mem_realloc(teams->buckets, capacity * sizeof(*teams->buckets));
    memset(teams->buckets, 0, capacity * sizeof(*teams->buckets));
    teams->capacity = teams->bucket_count = capacity;
    for (uint32_t id = 1; id < teams->count; id++) {
        struct team *team = &teams->all[id];
        uint32_t bucket = hash_of(team->servers, team->count) % capacity;

        if (team->refs == 0)
            continue;
        team->next = teams->buckets[bucket];
        teams->buckets[bucket] = id;
    }
}

static void sort(uint32_t *slots, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++)
        for (uint32_t k = i; k > 0 && slots[k] < slots[k - 1]; k--) {
            uint32_t higher = slots[k - 1];

            slots[k - 1] = slots[k];
            slots[k] = higher;
        }
}

static uint32_t new_entry(struct teams *teams)
{
    uint32_t id = teams->free;

    if (id != 0) {
        teams->free = teams->all[id].next;
        return id;
    }
    if (teams->count == teams->capacity)
        grow(teams);
    return teams->count++;
}

uint32_t teams_intern(struct teams *teams, const uint32_t *servers, uint32_t count)
{
    uint32_t sorted[TEAM_SERVERS_MAX] = {0}, hash, id;
    struct team *team;

    assert(count <= TEAM_SERVERS_MAX);
    if (count == 0)
        return TEAM_NONE;
    memcpy(sorted, servers, count * sizeof(*sorted));
    sort(sorted, count);
    hash = hash_of(sorted, count);
    for (id = teams->buckets[hash % teams->bucket_count]; id != 0; id = teams->all[id].next)
        if (teams->all[id].count == count && memcmp(teams->all[id].servers, sorted, count * sizeof(*sorted)) == 0) {
            teams->all[id].refs++;
            return id;
        }
    id = new_entry(teams); /* may change the number of buckets */
    team = &teams->all[id];
    *team = (struct team){.count = count, .refs = 1, .next = teams->buckets[hash % teams->bucket_count]};
    memcpy(team->servers, sorted, sizeof(sorted));
    teams->buckets[hash % teams->bucket_count] = id;
    teams->used++;
    return id;
}

void teams_ref(struct teams *teams, uint32_t id)
{
    if (id == TEAM_NONE)
        return;
    assert(teams->all[id].refs > 0);
    teams->all[id].refs++;
}

void teams_unref(struct teams *teams, uint32_t id)
{
    struct team *team = &teams->all[id];
    uint32_t *link;

    if (id == TEAM_NONE)
        return;
    assert(team->refs > 0);
    if (--team->refs > 0)
        return;
    link = &teams->buckets[hash_of(team->servers, team->count) % teams->bucket_count];
    while (*link != id)
        link = &teams->all[*link].next;
    *link = team->next;
    team->next = teams->free;
    teams->free = id;
    teams->used--;
}

bool team_has(const struct team *team, uint32_t server)
{
    for (uint32_t i = 0; i < team->count; i++)
        if (team->servers[i] == server)
            return true;
    return false;
}
