/* Transactions: arguments are put into quoin's form, and answers come back as they are. */
#include <limits.h>

#include "txn/client/quoin_internal.h"
#include "txn/fdb_c/fdb_internal.h"

/* ---- life ---- */

void fdb_transaction_destroy(FDBTransaction *tr)
{
    quoin_transaction_destroy(inner_transaction(tr));
}

void fdb_transaction_cancel(FDBTransaction *tr)
{
    if (tr != NULL)
        quoin_transaction_cancel(inner_transaction(tr));
}

void fdb_transaction_reset(FDBTransaction *tr)
{
    if (tr != NULL)
        quoin_transaction_reset(inner_transaction(tr));
}

fdb_error_t fdb_transaction_set_option_new(FDBTransaction *tr, FDBTransactionOption option, uint8_t const *value, int value_length)
{
    int error = fdb_check(tr);

    if (error == 0)
        error = quoin_transaction_set_option(inner_transaction(tr), (int)option, value, value_length);
    if (error == ERROR_INVALID_OPTION_VALUE && value_length == 8 && option != FDB_TR_OPTION_TIMEOUT) {
        (void)transaction_refuse(inner_transaction(tr)->txn, error); /* out of bounds: as in FoundationDB, what follows fails */
        error = 0;
    }
    return error;
}

void fdb_transaction_set_option_old(FDBTransaction *tr, FDBTransactionOption option)
{
    (void)fdb_transaction_set_option_new(tr, option, NULL, 0);
}

/* ---- versions ---- */

FDBFuture *fdb_transaction_get_read_version(FDBTransaction *tr)
{
    int error = fdb_check(tr);

    return error != 0 ? fdb_failed(error) : fdb_future_of(quoin_transaction_get_read_version(inner_transaction(tr)));
}

/* A refused version (2010, 2011) can't be told here: as in FoundationDB, what follows fails with it. */
void fdb_transaction_set_read_version(FDBTransaction *tr, int64_t version)
{
    int error = tr == NULL ? 0 : quoin_transaction_set_read_version(inner_transaction(tr), version);

    if (error != 0)
        (void)transaction_refuse(inner_transaction(tr)->txn, error);
}

fdb_error_t fdb_transaction_get_committed_version(FDBTransaction *tr, int64_t *out_version)
{
    return tr == NULL || out_version == NULL ? ERROR_CLIENT_INVALID_OPERATION
                                             : quoin_transaction_get_committed_version(inner_transaction(tr), out_version);
}

FDBFuture *fdb_transaction_get_versionstamp(FDBTransaction *tr)
{
    int error = fdb_check(tr);

    return error != 0 ? fdb_failed(error) : fdb_future_of(quoin_transaction_get_versionstamp(inner_transaction(tr)));
}

/* ---- reads ---- */

FDBFuture *fdb_transaction_get_new(FDBTransaction *tr, uint8_t const *key, int key_length, fdb_bool_t snapshot)
{
    int error = fdb_check(tr);

    return error != 0 ? fdb_failed(error)
                      : fdb_future_of(quoin_transaction_get(inner_transaction(tr), key, key_length, snapshot != 0));
}

FDBFuture *fdb_transaction_get_old(FDBTransaction *tr, uint8_t const *key, int key_length)
{
    return fdb_transaction_get_new(tr, key, key_length, 0);
}

FDBFuture *fdb_transaction_get_key_new(FDBTransaction *tr, uint8_t const *key, int key_length, fdb_bool_t or_equal, int offset,
                                       fdb_bool_t snapshot)
{
    struct quoin_selector selector = {key, key_length, or_equal != 0, offset};
    int error = fdb_check(tr);

    return error != 0 ? fdb_failed(error)
                      : fdb_future_of(quoin_transaction_get_key(inner_transaction(tr), selector, snapshot != 0));
}

FDBFuture *fdb_transaction_get_key_old(FDBTransaction *tr, uint8_t const *key, int key_length, fdb_bool_t or_equal, int offset)
{
    return fdb_transaction_get_key_new(tr, key, key_length, or_equal, offset, 0);
}

/* In version 13 a negative limit reads from the end. */
static FDBFuture *get_range(FDBTransaction *tr, struct quoin_selector begin, struct quoin_selector end,
                            struct quoin_range_options options)
{
    int error = fdb_check(tr);

    if (options.limit < 0 && fdb_version() <= 13) {
        options.limit = options.limit == INT_MIN ? INT_MAX : -options.limit;
        options.reverse = true;
    }
    return error != 0 ? fdb_failed(error)
                      : fdb_future_of(quoin_transaction_get_range(inner_transaction(tr), begin, end, options));
}

FDBFuture *fdb_transaction_get_range_new(FDBTransaction *tr, uint8_t const *begin, int begin_length, fdb_bool_t begin_or_equal,
                                         int begin_offset, uint8_t const *end, int end_length, fdb_bool_t end_or_equal, int end_offset,
                                         int limit, int target_bytes, FDBStreamingMode mode, int iteration, fdb_bool_t snapshot,
                                         fdb_bool_t reverse)
{
    return get_range(tr, (struct quoin_selector){begin, begin_length, begin_or_equal != 0, begin_offset},
                     (struct quoin_selector){end, end_length, end_or_equal != 0, end_offset},
                     (struct quoin_range_options){limit, target_bytes, (enum quoin_mode)mode, iteration, snapshot != 0, reverse != 0});
}

FDBFuture *fdb_transaction_get_range_selector(FDBTransaction *tr, uint8_t const *begin, int begin_length, fdb_bool_t begin_or_equal,
                                              int begin_offset, uint8_t const *end, int end_length, fdb_bool_t end_or_equal,
                                              int end_offset, int limit)
{
    return get_range(tr, (struct quoin_selector){begin, begin_length, begin_or_equal != 0, begin_offset},
                     (struct quoin_selector){end, end_length, end_or_equal != 0, end_offset},
                     (struct quoin_range_options){.limit = limit, .mode = QUOIN_MODE_EXACT});
}

FDBFuture *fdb_transaction_get_range_old(FDBTransaction *tr, uint8_t const *begin, int begin_length, uint8_t const *end, int end_length,
                                         int limit)
{
    return fdb_transaction_get_range_selector(tr, FDB_KEYSEL_FIRST_GREATER_OR_EQUAL(begin, begin_length),
                                              FDB_KEYSEL_FIRST_GREATER_OR_EQUAL(end, end_length), limit);
}

FDBFuture *fdb_transaction_get_mapped_range(FDBTransaction *tr, uint8_t const *begin, int begin_length, fdb_bool_t begin_or_equal,
                                            int begin_offset, uint8_t const *end, int end_length, fdb_bool_t end_or_equal,
                                            int end_offset, uint8_t const *mapper, int mapper_length, int limit, int target_bytes,
                                            FDBStreamingMode mode, int iteration, fdb_bool_t snapshot, fdb_bool_t reverse)
{
    int error = fdb_check(tr);

    return error != 0 ? fdb_failed(error)
                      : fdb_future_of(quoin_transaction_get_mapped_range(
                            inner_transaction(tr), (struct quoin_selector){begin, begin_length, begin_or_equal != 0, begin_offset},
                            (struct quoin_selector){end, end_length, end_or_equal != 0, end_offset}, mapper, mapper_length,
                            (struct quoin_range_options){limit, target_bytes, (enum quoin_mode)mode, iteration, snapshot != 0, reverse != 0}));
}

FDBFuture *fdb_transaction_get_addresses_for_key(FDBTransaction *tr, uint8_t const *key_name, int key_name_length)
{
    int error = fdb_check(tr);

    return error != 0 ? fdb_failed(error)
                      : fdb_future_of(quoin_transaction_get_addresses_for_key(inner_transaction(tr), key_name, key_name_length));
}

FDBFuture *fdb_transaction_get_estimated_range_size_bytes(FDBTransaction *tr, uint8_t const *begin, int begin_length,
                                                          uint8_t const *end, int end_length)
{
    int error = fdb_check(tr);

    return error != 0 ? fdb_failed(error)
                      : fdb_future_of(quoin_transaction_get_estimated_range_size(inner_transaction(tr), begin, begin_length, end,
                                                                                 end_length));
}

FDBFuture *fdb_transaction_get_range_split_points_with_limit(FDBTransaction *tr, uint8_t const *begin, int begin_length,
                                                             uint8_t const *end, int end_length, int64_t chunk_size, int limit)
{
    int error = fdb_check(tr);

    return error != 0 ? fdb_failed(error)
                      : fdb_future_of(quoin_transaction_get_range_split_points(inner_transaction(tr), begin, begin_length, end,
                                                                               end_length, chunk_size, limit));
}

FDBFuture *fdb_transaction_get_range_split_points(FDBTransaction *tr, uint8_t const *begin, int begin_length, uint8_t const *end,
                                                  int end_length, int64_t chunk_size)
{
    return fdb_transaction_get_range_split_points_with_limit(tr, begin, begin_length, end, end_length, chunk_size, 0);
}

FDBFuture *fdb_transaction_watch(FDBTransaction *tr, uint8_t const *key_name, int key_name_length)
{
    int error = fdb_check(tr);

    return error != 0 ? fdb_failed(error)
                      : fdb_future_of(quoin_transaction_watch(inner_transaction(tr), key_name, key_name_length));
}

/* ---- writes: an error is the transaction's to remember ---- */

void fdb_transaction_set(FDBTransaction *tr, uint8_t const *key_name, int key_name_length, uint8_t const *value, int value_length)
{
    if (tr != NULL)
        (void)quoin_transaction_set(inner_transaction(tr), key_name, key_name_length, value, value_length);
}

void fdb_transaction_atomic_op(FDBTransaction *tr, uint8_t const *key_name, int key_name_length, uint8_t const *param,
                               int param_length, FDBMutationType operation_type)
{
    if (tr != NULL)
        (void)quoin_transaction_atomic(inner_transaction(tr), (enum quoin_mutation)operation_type, key_name, key_name_length, param,
                                       param_length);
}

void fdb_transaction_clear(FDBTransaction *tr, uint8_t const *key_name, int key_name_length)
{
    if (tr != NULL)
        (void)quoin_transaction_clear(inner_transaction(tr), key_name, key_name_length);
}

void fdb_transaction_clear_range(FDBTransaction *tr, uint8_t const *begin, int begin_length, uint8_t const *end, int end_length)
{
    if (tr != NULL)
        (void)quoin_transaction_clear_range(inner_transaction(tr), begin, begin_length, end, end_length);
}

fdb_error_t fdb_transaction_add_conflict_range(FDBTransaction *tr, uint8_t const *begin, int begin_length, uint8_t const *end,
                                               int end_length, FDBConflictRangeType type)
{
    int error = fdb_check(tr);

    return error != 0 ? error
                      : quoin_transaction_add_conflict_range(inner_transaction(tr), (enum quoin_conflict)type, begin, begin_length,
                                                             end, end_length);
}

/* ---- the end ---- */

FDBFuture *fdb_transaction_commit(FDBTransaction *tr)
{
    int error = fdb_check(tr);

    return error != 0 ? fdb_failed(error) : fdb_future_of(quoin_transaction_commit(inner_transaction(tr)));
}

FDBFuture *fdb_transaction_on_error(FDBTransaction *tr, fdb_error_t code)
{
    int error = fdb_check(tr);

    return error != 0 ? fdb_failed(error) : fdb_future_of(quoin_transaction_on_error(inner_transaction(tr), code));
}

FDBFuture *fdb_transaction_get_approximate_size(FDBTransaction *tr)
{
    int error = fdb_check(tr);

    return error != 0 ? fdb_failed(error) : fdb_future_of(quoin_transaction_get_approximate_size(inner_transaction(tr)));
}

FDBFuture *fdb_transaction_get_total_cost(FDBTransaction *tr)
{
    int error = fdb_check(tr);

    return error != 0 ? fdb_failed(error) : fdb_future_of(quoin_transaction_get_total_cost(inner_transaction(tr)));
}

FDBFuture *fdb_transaction_get_tag_throttled_duration(FDBTransaction *tr)
{
    int error = fdb_check(tr);

    return error != 0 ? fdb_failed(error) : fdb_future_of(quoin_transaction_get_tag_throttled_duration(inner_transaction(tr)));
}
