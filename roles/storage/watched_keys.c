#include "roles/storage/watched_keys.h"

#include "net/error.h"
#include "net/mem.h"

void watched_keys_init(struct watched_keys *keys, uint64_t seed)
{
    *keys = (struct watched_keys){.random = seed | 1};
}

/* A quarter of the keys is on each higher level. */
static uint32_t draw_levels(struct watched_keys *keys)
{
    uint32_t levels = 1;

    keys->random ^= keys->random << 13;
    keys->random ^= keys->random >> 7;
    keys->random ^= keys->random << 17;
    while (levels < WATCHED_KEY_LEVELS && (keys->random >> (2 * levels) & 3) == 0)
        levels++;
    return levels;
}

/* Where `key` is, or would be: before[level] points to the link that leads there. */
static struct watched_key *descend(struct watched_keys *keys, struct bytes key, struct watched_key **before[WATCHED_KEY_LEVELS])
{
    struct watched_key **links = keys->first;

    for (int level = WATCHED_KEY_LEVELS - 1; level >= 0; level--) {
        while (links[level] != NULL && bytes_compare(links[level]->key, key) < 0)
            links = links[level]->next;
        before[level] = &links[level];
    }
    return *before[0];
}

int watched_keys_obtain(struct watched_keys *keys, struct bytes key, struct watched_key **ret_key)
{
    struct watched_key **before[WATCHED_KEY_LEVELS];
    struct watched_key *found = descend(keys, key, before);
    uint32_t levels;
    size_t head;

    if (found != NULL && bytes_equal(found->key, key)) {
        *ret_key = found;
        return 0;
    }
    levels = draw_levels(keys);
    head = sizeof(*found) + levels * sizeof(found->next[0]);
    found = mem_zalloc(head + key.len);
    if (found == NULL)
        return ERROR_OUT_OF_MEMORY;
    if (key.len > 0)
        memcpy((uint8_t *)found + head, key.ptr, key.len);
    found->key = bytes_of((uint8_t *)found + head, key.len);
    found->levels = levels;
    list_init(&found->entries);
    for (uint32_t level = 0; level < levels; level++) {
        found->next[level] = *before[level];
        *before[level] = found;
    }
    *ret_key = found;
    return 0;
}

void watched_keys_remove(struct watched_keys *keys, struct watched_key *key)
{
    struct watched_key **before[WATCHED_KEY_LEVELS];

    descend(keys, key->key, before);
    for (uint32_t level = 0; level < key->levels; level++)
        *before[level] = key->next[level];
    mem_free(key);
}

struct watched_key *watched_keys_at_or_after(struct watched_keys *keys, struct bytes key)
{
    struct watched_key **before[WATCHED_KEY_LEVELS];

    return descend(keys, key, before);
}

struct watched_key *watched_keys_find(struct watched_keys *keys, struct bytes key)
{
    struct watched_key *found = watched_keys_at_or_after(keys, key);

    return found != NULL && bytes_equal(found->key, key) ? found : NULL;
}

struct watched_key *watched_keys_next(const struct watched_key *key)
{
    return key->next[0];
}
