/* Which tags a message's reads are to be counted for, so that a storage server knows who keeps it busy.
 *
 * Nobody's read waits or fails for this: without memory, or beyond READ_TAGS_MAX tags in one message, reads go uncounted. */
#include "txn/client/client_internal.h"

enum { READ_TAGS_MAX = 16 };

static struct read_tag *find(struct arena *arena, struct read_tag *tags, uint32_t *count, struct bytes tag)
{
    struct bytes copy;

    for (uint32_t i = 0; i < *count; i++)
        if (bytes_equal(tags[i].tag, tag))
            return &tags[i];
    if (*count == READ_TAGS_MAX || arena_copy(arena, tag, &copy) != 0)
        return NULL;
    tags[*count] = (struct read_tag){.tag = copy};
    return &tags[(*count)++];
}

void read_tags_add(struct arena *arena, struct transaction *txn, struct read_tag **tags, uint32_t *count)
{
    if (atomic_load_explicit(&txn->auto_tags, memory_order_relaxed) == 0)
        return;
    if (*tags == NULL)
        *tags = arena_alloc(arena, READ_TAGS_MAX * sizeof(**tags));
    if (*tags == NULL)
        return;
    transaction_lock(txn);
    for (unsigned i = 0; i < txn->tags.count; i++) {
        struct read_tag *at = NULL;

        if ((txn->auto_tags >> i & 1) != 0)
            at = find(arena, *tags, count, tag_bytes(&txn->tags.names[i]));
        if (at != NULL)
            at->reads++;
    }
    transaction_unlock(txn);
}
