/* The queue: keys are versionstamps, so the order is that of the commits and two pushes never write the same key.
 *
 * A pop reads by snapshot and adds a read conflict for the one key that it takes: another's push comes later in the order and can't change which
 * is the first, another's pop of the same item is a write to that key. Finding nothing depends on every key, so then the
 * whole range is in conflict. */
#include "txn/layers/tuple.h"
#include "txn/layers/read.h"

quoin_error quoin_queue_push(struct quoin_transaction *transaction, const struct quoin_subspace *queue, uint16_t order, const void *item,
                             int length)
{
    struct quoin_tuple key = {0};
    struct quoin_slice packed;
    quoin_error error;

    quoin_subspace_start(queue, &key);
    quoin_tuple_add_incomplete_versionstamp(&key, order);
    error = quoin_tuple_get_versionstamped(&key, &packed);
    if (error == 0)
        error = quoin_transaction_atomic(transaction, QUOIN_SET_VERSIONSTAMPED_KEY, packed.data, packed.length, item, length);
    quoin_tuple_done(&key);
    return error;
}

static quoin_error add_read_conflict(struct quoin_transaction *transaction, const struct quoin_pair *first,
                                     const struct quoin_key_range *range)
{
    uint8_t after[10001]; /* no key is longer than 10,000 bytes but system keys */

    if (first == NULL)
        return quoin_transaction_add_conflict_range(transaction, QUOIN_CONFLICT_READ, range->begin.data, range->begin.length,
                                                    range->end.data, range->end.length);
    if (first->key_length >= (int)sizeof(after))
        return QUOIN_ERROR_KEY_TOO_LARGE;
    memcpy(after, first->key, (size_t)first->key_length);
    after[first->key_length] = 0;
    return quoin_transaction_add_conflict_range(transaction, QUOIN_CONFLICT_READ, first->key, first->key_length, after,
                                                first->key_length + 1);
}

static quoin_error take(struct quoin_transaction *transaction, const struct quoin_subspace *queue, bool clear, bool *ret_present,
                        struct quoin_buffer *ret_item)
{
    struct quoin_key_range range = {0};
    struct layer_scan scan = {.snapshot = true};
    const struct quoin_pair *first = NULL;
    quoin_error error = quoin_subspace_range(queue, &range);

    if (error == 0) {
        layer_scan_start(&scan, transaction, layer_slice(&range.begin), layer_slice(&range.end), 1);
        error = layer_scan_next(&scan, &first);
    }
    if (error == 0)
        error = add_read_conflict(transaction, first, &range);
    if (error == 0 && first != NULL && clear)
        error = quoin_transaction_clear(transaction, first->key, first->key_length);
    if (error == 0 && first != NULL)
        error = layer_buffer_copy(ret_item, first->value, first->value_length);
    if (error == 0)
        *ret_present = first != NULL;
    layer_scan_done(&scan);
    quoin_key_range_done(&range);
    return error;
}

quoin_error quoin_queue_pop(struct quoin_transaction *transaction, const struct quoin_subspace *queue, bool *ret_present,
                            struct quoin_buffer *ret_item)
{
    return take(transaction, queue, true, ret_present, ret_item);
}

quoin_error quoin_queue_peek(struct quoin_transaction *transaction, const struct quoin_subspace *queue, bool *ret_present,
                             struct quoin_buffer *ret_item)
{
    return take(transaction, queue, false, ret_present, ret_item);
}

quoin_error quoin_queue_clear(struct quoin_transaction *transaction, const struct quoin_subspace *queue)
{
    struct quoin_key_range range = {0};
    quoin_error error = quoin_subspace_range(queue, &range);

    if (error == 0)
        error = quoin_transaction_clear_range(transaction, range.begin.data, range.begin.length, range.end.data, range.end.length);
    quoin_key_range_done(&range);
    return error;
}
