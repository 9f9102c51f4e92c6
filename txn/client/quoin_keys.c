/* The public transaction's smaller questions: where a key lives, how large a range is, what a commit conflicted with. */
#include "txn/client/quoin_internal.h"

/* Fails what is not there yet. */
static struct quoin_future *unsupported(struct quoin_transaction *transaction)
{
    struct quoin_future *future = future_make(transaction, FUTURE_NONE);

    return future == NULL ? NULL : future_finished(future, ERROR_UNSUPPORTED_OPERATION);
}

struct quoin_future *quoin_transaction_get_key(struct quoin_transaction *transaction, struct quoin_selector selector, bool snapshot)
{
    (void)selector;
    (void)snapshot;
    return unsupported(transaction);
}

struct quoin_future *quoin_transaction_watch(struct quoin_transaction *transaction, const void *key, int key_length)
{
    (void)key;
    (void)key_length;
    return unsupported(transaction);
}

struct quoin_future *quoin_transaction_get_addresses_for_key(struct quoin_transaction *transaction, const void *key, int key_length)
{
    (void)key;
    (void)key_length;
    return unsupported(transaction);
}

struct quoin_future *quoin_transaction_get_estimated_range_size(struct quoin_transaction *transaction, const void *begin,
                                                                int begin_length, const void *end, int end_length)
{
    (void)begin;
    (void)begin_length;
    (void)end;
    (void)end_length;
    return unsupported(transaction);
}

struct quoin_future *quoin_transaction_get_range_split_points(struct quoin_transaction *transaction, const void *begin, int begin_length,
                                                              const void *end, int end_length, int64_t chunk_bytes, int limit)
{
    (void)begin;
    (void)begin_length;
    (void)end;
    (void)end_length;
    (void)chunk_bytes;
    (void)limit;
    return unsupported(transaction);
}

struct quoin_future *quoin_transaction_get_boundary_keys(struct quoin_transaction *transaction, const void *begin, int begin_length,
                                                         const void *end, int end_length, int limit)
{
    (void)begin;
    (void)begin_length;
    (void)end;
    (void)end_length;
    (void)limit;
    return unsupported(transaction);
}

struct quoin_future *quoin_transaction_get_mapped_range(struct quoin_transaction *transaction, struct quoin_selector begin,
                                                        struct quoin_selector end, const void *mapper, int mapper_length,
                                                        struct quoin_range_options options)
{
    (void)begin;
    (void)end;
    (void)mapper;
    (void)mapper_length;
    (void)options;
    return unsupported(transaction);
}

struct quoin_future *quoin_transaction_get_total_cost(struct quoin_transaction *transaction)
{
    struct quoin_future *future = future_make(transaction, FUTURE_NUMBER);

    if (future == NULL)
        return NULL;
    future->number = 0;
    return future_finished(future, 0);
}

struct quoin_future *quoin_transaction_get_tag_throttled_duration(struct quoin_transaction *transaction)
{
    struct quoin_future *future = future_make(transaction, FUTURE_DOUBLE);

    return future == NULL ? NULL : future_finished(future, 0);
}

struct quoin_future *quoin_transaction_get_conflicts(struct quoin_transaction *transaction)
{
    return unsupported(transaction);
}
