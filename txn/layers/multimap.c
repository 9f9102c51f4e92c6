/* The multimap: ((key...), (value...)) = how often it was added. Nested, so that no key's values begin another key's. */
#include "txn/layers/read.h"
#include "txn/layers/tuple.h"

#include "net/bytes.h"

static quoin_error start_key(const struct quoin_subspace *map, const struct quoin_tuple *key, const struct quoin_tuple *value,
                             struct quoin_tuple *out)
{
    struct quoin_slice packed;
    quoin_error error = quoin_tuple_get(key, &packed);

    if (error != 0)
        return error;
    quoin_subspace_start(map, out);
    quoin_tuple_add_nested(out, packed.data, packed.length);
    if (value != NULL) {
        error = quoin_tuple_get(value, &packed);
        if (error == 0)
            quoin_tuple_add_nested(out, packed.data, packed.length);
    }
    return error != 0 ? error : out->error;
}

static quoin_error count_of(const uint8_t *data, int length, int64_t *ret_count)
{
    if (length != 8)
        return QUOIN_ERROR_INVALID_DIRECTORY_LAYER_METADATA;
    *ret_count = (int64_t)get_le64(data);
    return 0;
}

static quoin_error read_count(struct quoin_transaction *transaction, struct quoin_slice at, int64_t *ret_count)
{
    struct layer_value value = {0};
    quoin_error error = layer_get(transaction, at, false, &value);

    if (error == 0 && value.present)
        error = count_of(value.data, value.length, ret_count);
    else if (error == 0)
        *ret_count = 0;
    layer_value_done(&value);
    return error;
}

static quoin_error add_to(struct quoin_transaction *transaction, struct quoin_slice at, int64_t delta)
{
    uint8_t bytes[8];

    put_le64(bytes, (uint64_t)delta);
    return quoin_transaction_atomic(transaction, QUOIN_ADD, at.data, at.length, bytes, sizeof(bytes));
}

quoin_error quoin_multimap_add(struct quoin_transaction *transaction, const struct quoin_subspace *map, const struct quoin_tuple *key,
                               const struct quoin_tuple *value)
{
    struct quoin_tuple at = {0};
    struct quoin_slice packed;
    quoin_error error = start_key(map, key, value, &at);

    if (error == 0)
        error = quoin_tuple_get(&at, &packed);
    if (error == 0)
        error = add_to(transaction, packed, 1);
    quoin_tuple_done(&at);
    return error;
}

quoin_error quoin_multimap_remove(struct quoin_transaction *transaction, const struct quoin_subspace *map, const struct quoin_tuple *key,
                                  const struct quoin_tuple *value, bool *ret_existed)
{
    struct quoin_tuple at = {0};
    struct quoin_slice packed;
    int64_t count = 0;
    quoin_error error = start_key(map, key, value, &at);

    if (error == 0)
        error = quoin_tuple_get(&at, &packed);
    if (error == 0)
        error = read_count(transaction, packed, &count);
    if (error == 0 && count > 1)
        error = add_to(transaction, packed, -1);
    else if (error == 0 && count == 1)
        error = quoin_transaction_clear(transaction, packed.data, packed.length);
    if (error == 0)
        *ret_existed = count > 0;
    quoin_tuple_done(&at);
    return error;
}

static quoin_error key_range(const struct quoin_subspace *map, const struct quoin_tuple *key, struct quoin_key_range *ret_range,
                             int *ret_prefix)
{
    struct quoin_tuple at = {0};
    quoin_error error = start_key(map, key, NULL, &at);

    if (error == 0)
        error = quoin_tuple_range(&at, ret_range);
    if (error == 0)
        *ret_prefix = at.length;
    quoin_tuple_done(&at);
    return error;
}

quoin_error quoin_multimap_remove_key(struct quoin_transaction *transaction, const struct quoin_subspace *map, const struct quoin_tuple *key)
{
    struct quoin_key_range range = {0};
    int prefix;
    quoin_error error = key_range(map, key, &range, &prefix);

    if (error == 0)
        error = quoin_transaction_clear_range(transaction, range.begin.data, range.begin.length, range.end.data, range.end.length);
    quoin_key_range_done(&range);
    return error;
}

quoin_error quoin_multimap_count(struct quoin_transaction *transaction, const struct quoin_subspace *map, const struct quoin_tuple *key,
                                 const struct quoin_tuple *value, int64_t *ret_count)
{
    struct quoin_tuple at = {0};
    struct quoin_slice packed;
    quoin_error error = start_key(map, key, value, &at);

    if (error == 0)
        error = quoin_tuple_get(&at, &packed);
    if (error == 0)
        error = read_count(transaction, packed, ret_count);
    quoin_tuple_done(&at);
    return error;
}

static quoin_error visit_pair(const struct quoin_pair *pair, int prefix, struct quoin_tuple *value, quoin_multimap_visitor *visit,
                              void *context)
{
    struct quoin_slice packed;
    int64_t count;
    quoin_error error = layer_unnest(pair->key + prefix, pair->key_length - prefix, value);

    if (error == 0)
        error = count_of(pair->value, pair->value_length, &count);
    if (error == 0)
        error = quoin_tuple_get(value, &packed);
    return error != 0 ? error : visit(context, packed, count);
}

quoin_error quoin_multimap_get(struct quoin_transaction *transaction, const struct quoin_subspace *map, const struct quoin_tuple *key,
                               quoin_multimap_visitor *visit, void *context)
{
    struct quoin_key_range range = {0};
    struct layer_scan scan = {0};
    struct quoin_tuple value = {0};
    const struct quoin_pair *pair;
    int prefix = 0;
    quoin_error error = key_range(map, key, &range, &prefix);

    if (error == 0)
        layer_scan_start(&scan, transaction, layer_slice(&range.begin), layer_slice(&range.end), 0);
    while (error == 0 && (error = layer_scan_next(&scan, &pair)) == 0 && pair != NULL)
        error = visit_pair(pair, prefix, &value, visit, context);
    layer_scan_done(&scan);
    quoin_tuple_done(&value);
    quoin_key_range_done(&range);
    return error == QUOIN_STOP ? 0 : error;
}
