/* The queue: keys are versionstamps, so the order is that of the commits and two pushes never write the same key.
 *
 * A pop reads by snapshot and adds a read conflict for the one key that it takes: another's push comes later in the order and can't
 * change which is the first, another's pop of the same item is a write to that key. Finding nothing depends on pushes alone, so
 * for that there is a key that no one stores: pushes are writes of it, finding nothing is a read of it. A push has no
 * other write conflict: its key is not known before the commit, and the client library would have to name all keys that it may become. */
#include "txn/layers/tuple.h"
#include "txn/layers/read.h"

/* As if the key that stands for "nothing was there" had been read, or written. */
static quoin_error add_empty_conflict(struct quoin_transaction *transaction, const struct quoin_subspace *queue, enum quoin_conflict kind)
{
    struct quoin_tuple key = {0};
    quoin_error error;

    quoin_subspace_start(queue, &key);
    quoin_tuple_add_null(&key);
    quoin_tuple_add_raw(&key, "", 1); /* the next key */
    error = key.error;
    if (error == 0)
        error = quoin_transaction_add_conflict_range(transaction, kind, key.data, key.length - 1, key.data, key.length);
    quoin_tuple_done(&key);
    return error;
}

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
        error = quoin_transaction_set_option(transaction, QUOIN_OPTION_NEXT_WRITE_NO_WRITE_CONFLICT_RANGE, NULL, 0);
    if (error == 0)
        error = quoin_transaction_atomic(transaction, QUOIN_SET_VERSIONSTAMPED_KEY, packed.data, packed.length, item, length);
    if (error == 0)
        error = add_empty_conflict(transaction, queue, QUOIN_CONFLICT_WRITE);
    quoin_tuple_done(&key);
    return error;
}

static quoin_error add_key_conflict(struct quoin_transaction *transaction, const struct quoin_pair *pair)
{
    struct quoin_tuple after = {0};
    quoin_error error;

    quoin_tuple_add_raw(&after, pair->key, pair->key_length);
    quoin_tuple_add_raw(&after, "", 1);
    error = after.error;
    if (error == 0)
        error = quoin_transaction_add_conflict_range(transaction, QUOIN_CONFLICT_READ, pair->key, pair->key_length, after.data, after.length);
    quoin_tuple_done(&after);
    return error;
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
        error = first != NULL ? add_key_conflict(transaction, first) : add_empty_conflict(transaction, queue, QUOIN_CONFLICT_READ);
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
