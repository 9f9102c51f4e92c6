/* The counter: an atomic add has no read, so nothing can conflict with it. */
#include "txn/layers/read.h"

#include "net/bytes.h"

quoin_error quoin_counter_add(struct quoin_transaction *transaction, const struct quoin_subspace *counter, int64_t delta)
{
    uint8_t bytes[8];

    put_le64(bytes, (uint64_t)delta);
    return quoin_transaction_atomic(transaction, QUOIN_ADD, counter->prefix.data, counter->prefix.length, bytes, sizeof(bytes));
}

quoin_error quoin_counter_get(struct quoin_transaction *transaction, const struct quoin_subspace *counter, bool snapshot,
                              int64_t *ret_value)
{
    struct layer_value value = {0};
    quoin_error error = layer_get(transaction, layer_slice(&counter->prefix), snapshot, &value);

    if (error == 0 && value.present && value.length != 8)
        error = QUOIN_ERROR_INVALID_DIRECTORY_LAYER_METADATA;
    if (error == 0)
        *ret_value = value.present ? (int64_t)get_le64(value.data) : 0;
    layer_value_done(&value);
    return error;
}

quoin_error quoin_counter_set(struct quoin_transaction *transaction, const struct quoin_subspace *counter, int64_t value)
{
    uint8_t bytes[8];

    put_le64(bytes, (uint64_t)value);
    return quoin_transaction_set(transaction, counter->prefix.data, counter->prefix.length, bytes, sizeof(bytes));
}
