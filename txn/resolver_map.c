#include "txn/resolver_map.h"

#include <assert.h>

#include "net/error.h"
#include "net/mem.h"

bool resolver_begins_are_sound(const struct bytes *begins, uint32_t count)
{
    if (count < 1 || count > RESOLVERS_MAX || begins[0].len != 0)
        return false;
    for (uint32_t i = 1; i < count; i++)
        if (begins[i].len > SYSTEM_KEY_BYTES_MAX + 1 || bytes_compare(begins[i - 1], begins[i]) >= 0)
            return false;
    return true;
}

static void destroy(struct resolver_partition *partition)
{
    if (partition == NULL)
        return;
    arena_done(&partition->arena);
    mem_free(partition);
}

static struct resolver_partition *create(uint64_t number, version_t from, const struct bytes *begins, uint32_t count)
{
    struct resolver_partition *partition = mem_zalloc(sizeof(*partition));

    if (partition == NULL)
        return NULL;
    partition->number = number;
    partition->from = from;
    for (uint32_t i = 0; i < count; i++)
        if (arena_copy(&partition->arena, begins[i], &partition->begins[i]) != 0) {
            destroy(partition);
            return NULL;
        }
    return partition;
}

int resolver_map_init(struct resolver_map *map, const struct bytes *begins, uint32_t count)
{
    struct resolver_partition *first;

    if (!resolver_begins_are_sound(begins, count))
        return ERROR_CLIENT_INVALID_OPERATION;
    first = create(1, 0, begins, count);
    if (first == NULL)
        return ERROR_OUT_OF_MEMORY;
    *map = (struct resolver_map){.resolver_count = count, .partition_count = 1, .partitions = {first}};
    return 0;
}

void resolver_map_done(struct resolver_map *map)
{
    for (uint32_t i = 0; i < map->partition_count; i++)
        destroy(map->partitions[i]);
    *map = (struct resolver_map){0};
}

static void forget_oldest(struct resolver_map *map)
{
    assert(map->partition_count > 1);
    destroy(map->partitions[0]);
    map->partition_count--;
    for (uint32_t i = 0; i < map->partition_count; i++)
        map->partitions[i] = map->partitions[i + 1];
}

int resolver_map_add(struct resolver_map *map, uint64_t number, version_t from, const struct bytes *begins, uint32_t count)
{
    const struct resolver_partition *newest = resolver_map_newest(map);
    struct resolver_partition *added;

    if (number <= newest->number)
        return 0;
    if (number != newest->number + 1 || from <= newest->from || count != map->resolver_count ||
        !resolver_begins_are_sound(begins, count))
        return ERROR_CLIENT_INVALID_OPERATION;
    added = create(number, from, begins, count);
    if (added == NULL)
        return ERROR_OUT_OF_MEMORY;
    if (map->partition_count == RESOLVER_PARTITIONS_MAX)
        forget_oldest(map);
    map->partitions[map->partition_count++] = added;
    return 0;
}

void resolver_map_forget(struct resolver_map *map, version_t oldest)
{
    while (map->partition_count > 1 && map->partitions[1]->from <= oldest)
        forget_oldest(map);
}

uint32_t resolver_map_at(const struct resolver_map *map, version_t version)
{
    uint32_t at = map->partition_count - 1;

    while (at > 0 && map->partitions[at]->from > version)
        at--;
    assert(map->partitions[at]->from <= version);
    return at;
}

bool resolver_map_reach(const struct resolver_map *map, version_t read_version, uint32_t *ret_first)
{
    uint32_t first = map->partition_count - 1;

    /* What was written at read_version itself is no conflict: the first version that counts is the next one. */
    while (first > 0 && map->partitions[first]->from > read_version + 1)
        first--;
    *ret_first = first;
    return map->partitions[first]->number == 1 || map->partitions[first]->from <= read_version + 1;
}

struct key_part resolver_map_part(const struct resolver_map *map, uint32_t index, uint32_t resolver)
{
    const struct bytes *begins = map->partitions[index]->begins;
    bool last = resolver + 1 == map->resolver_count;

    assert(index < map->partition_count && resolver < map->resolver_count);
    return (struct key_part){begins[resolver], last ? bytes_none() : begins[resolver + 1], last};
}

/* ---- what it held lately ---- */

static bool touch(const struct key_part *low, const struct key_part *high)
{
    return low->endless || bytes_compare(high->begin, low->end) <= 0;
}

static void widen(struct key_part *part, const struct key_part *by)
{
    part->begin = bytes_min(part->begin, by->begin);
    if (by->endless || (!part->endless && bytes_compare(part->end, by->end) < 0)) {
        part->end = by->end;
        part->endless = by->endless;
    }
}

/* Into parts that are apart and ascend; those that it touches become one with it. Returns how many there are now. */
static uint32_t insert(struct key_part *parts, uint32_t count, struct key_part part)
{
    uint32_t kept = 0, place = 0;

    for (uint32_t i = 0; i < count; i++) {
        if (touch(&parts[i], &part) && touch(&part, &parts[i])) {
            widen(&part, &parts[i]);
            continue;
        }
        if (bytes_compare(parts[i].begin, part.begin) < 0)
            place = kept + 1;
        parts[kept++] = parts[i];
    }
    for (uint32_t i = kept; i > place; i--)
        parts[i] = parts[i - 1];
    parts[place] = part;
    return kept + 1;
}

uint32_t resolver_map_parts(const struct resolver_map *map, uint32_t first, uint32_t last, uint32_t resolver,
                            struct key_part ret_parts[RESOLVER_PARTITIONS_MAX])
{
    uint32_t count = 0;

    assert(first <= last && last < map->partition_count);
    for (uint32_t i = first; i <= last; i++)
        count = insert(ret_parts, count, resolver_map_part(map, i, resolver));
    assert(count >= 1 && count <= RESOLVER_PARTITIONS_MAX);
    return count;
}
