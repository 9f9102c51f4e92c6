/* What became of a commit whose answer was lost, from its idempotency id.
 *
 * The fence has ended it: it has happened at a version between what it read at and the fence, or never will. Its id, if it
 * happened, stands in the database under one of those versions (txn/idempotency.h), and a transaction of the library's own looks
 * for it there, a page at a time. */
#include "net/buggify.h"
#include "txn/client/client_internal.h"
#include "txn/idempotency.h"

enum { PAGE_PAIRS = 5000 };

struct commit_lookup {
    struct transaction *txn;
    struct transaction_range range;
    uint8_t begin[IDEMPOTENCY_KEY_BYTES + 1]; /* of what has not been looked at */
    size_t begin_len;
};

int lookup_create(struct client *client, version_t above, struct commit_lookup **ret_lookup)
{
    struct commit_lookup *lookup = mem_zalloc(sizeof(*lookup));
    int error = lookup == NULL ? ERROR_OUT_OF_MEMORY : transaction_create(client, &lookup->txn);

    if (error != 0) {
        mem_free(lookup);
        return error;
    }
    idempotency_key(above + 1, 0, lookup->begin);
    lookup->begin_len = IDEMPOTENCY_KEY_BYTES;
    *ret_lookup = lookup;
    return 0;
}

void lookup_destroy(struct commit_lookup *lookup)
{
    if (lookup == NULL)
        return;
    transaction_range_done(&lookup->range);
    transaction_destroy(lookup->txn);
    mem_free(lookup);
}

void lookup_page(struct commit_lookup *lookup, struct op *op)
{
    struct transaction_range_options options = {.limit = PAGE_PAIRS, .snapshot = true};
    uint8_t end[IDEMPOTENCY_KEY_BYTES];

    transaction_reset(lookup->txn);
    transaction_set_option(lookup->txn, 302, bytes_none()); /* read_system_keys */
    transaction_set_option(lookup->txn, 702, bytes_none()); /* read_lock_aware */
    transaction_set_option(lookup->txn, 200, bytes_none()); /* priority_system_immediate */
    idempotency_key(VERSION_MAX, UINT16_MAX, end);
    transaction_range_start(&lookup->range, op, lookup->txn, SELECT_FIRST_AT_OR_AFTER(bytes_of(lookup->begin, lookup->begin_len)),
                            SELECT_FIRST_AT_OR_AFTER(bytes_of(end, sizeof(end))), &options);
}

/* What follows the last key of the page. */
static void turn_page(struct commit_lookup *lookup, struct bytes last)
{
    if (last.len > IDEMPOTENCY_KEY_BYTES)
        last.len = IDEMPOTENCY_KEY_BYTES;
    memcpy(lookup->begin, last.ptr, last.len);
    lookup->begin[last.len] = 0;
    lookup->begin_len = last.len + 1;
}

int lookup_take(struct commit_lookup *lookup, struct bytes id, version_t above, struct lookup_result *ret)
{
    const struct transaction_range *range = &lookup->range;

    *ret = (struct lookup_result){0};
    if (range->call.error != 0)
        return range->call.error;
    for (uint32_t i = 0; i < range->pair_count; i++)
        if (bytes_equal(range->pairs[i].value, id) && idempotency_parse(range->pairs[i].key, &ret->version, &ret->order)) {
            ret->found = true;
            return 0;
        }
    ret->more = range->more;
    if (ret->more)
        turn_page(lookup, range->pairs[range->pair_count - 1].key);
    ret->may_have_expired = range->version - above > IDEMPOTENCY_LIFE_VERSIONS;
    return 0;
}
