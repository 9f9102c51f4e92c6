/* Blocking reads for layers. A page's pairs belong to its future, so the next page is asked for while the last one's key is
 * still there, and then the last one goes. */
#include "txn/layers/read.h"

quoin_error layer_get_end(struct quoin_future *future, struct layer_value *ret_value)
{
    struct layer_value value = {.future = future};
    quoin_error error = quoin_future_block_until_ready(future);

    if (error == 0)
        error = quoin_future_get_value(future, &value.present, &value.data, &value.length);
    if (error != 0)
        quoin_future_destroy(future);
    else
        *ret_value = value;
    return error;
}

quoin_error layer_get(struct quoin_transaction *transaction, struct quoin_slice key, bool snapshot, struct layer_value *ret_value)
{
    return layer_get_end(quoin_transaction_get(transaction, key.data, key.length, snapshot), ret_value);
}

void layer_value_done(struct layer_value *value)
{
    if (value->future != NULL)
        quoin_future_destroy(value->future);
    *value = (struct layer_value){0};
}

void layer_scan_start(struct layer_scan *scan, struct quoin_transaction *transaction, struct quoin_slice begin, struct quoin_slice end,
                      int limit)
{
    scan->transaction = transaction;
    scan->begin = begin;
    scan->end = end;
    scan->left = limit;
    scan->more = true;
}

static quoin_error read_page(struct layer_scan *scan)
{
    struct quoin_range_options options = {.limit = scan->left, .mode = QUOIN_MODE_ITERATOR, .iteration = ++scan->iteration,
                                          .snapshot = scan->snapshot, .reverse = scan->reverse};
    struct quoin_selector begin = QUOIN_FIRST_AT_OR_AFTER(scan->begin.data, scan->begin.length);
    struct quoin_selector end = QUOIN_FIRST_AT_OR_AFTER(scan->end.data, scan->end.length);
    struct quoin_future *page;
    quoin_error error;

    if (scan->count > 0) {
        const struct quoin_pair *last = &scan->pairs[scan->count - 1];

        if (scan->reverse)
            end = QUOIN_FIRST_AT_OR_AFTER(last->key, last->key_length);
        else
            begin = QUOIN_FIRST_AFTER(last->key, last->key_length);
    }
    page = quoin_transaction_get_range(scan->transaction, begin, end, options);
    if (scan->page != NULL)
        quoin_future_destroy(scan->page);
    scan->page = page;
    scan->at = scan->count = 0;
    error = quoin_future_block_until_ready(page);
    if (error == 0)
        error = quoin_future_get_range(page, &scan->pairs, &scan->count, &scan->more);
    return error;
}

quoin_error layer_scan_next(struct layer_scan *scan, const struct quoin_pair **ret_pair)
{
    quoin_error error;

    while (scan->at == scan->count) {
        if (!scan->more) {
            *ret_pair = NULL;
            return 0;
        }
        error = read_page(scan);
        if (error != 0) {
            scan->more = false;
            return error;
        }
        if (scan->count == 0)
            scan->more = false;
    }
    *ret_pair = &scan->pairs[scan->at++];
    if (scan->left > 0 && --scan->left == 0) {
        scan->more = false;
        scan->count = scan->at;
    }
    return 0;
}

void layer_scan_done(struct layer_scan *scan)
{
    if (scan->page != NULL)
        quoin_future_destroy(scan->page);
    *scan = (struct layer_scan){0};
}
