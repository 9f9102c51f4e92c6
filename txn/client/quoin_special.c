/* Gets and ranges of special keys, behind the same futures as those of other keys. */
#include "txn/client/quoin_internal.h"

static int take_value(struct quoin_future *future)
{
    const struct special_read *read = future->special;

    future->u.get.present = read->count > 0;
    future->u.get.value.len = 0;
    return read->count == 0 ? 0 : bytes_buffer_append(&future->u.get.value, read->pairs[read->first].value);
}

static int take_pairs(struct quoin_future *future)
{
    const struct special_read *read = future->special;
    struct transaction_range *range = future->u.range;

    range->pairs = mem_alloc((read->count + 1) * sizeof(*range->pairs));
    if (range->pairs == NULL)
        return ERROR_OUT_OF_MEMORY;
    for (uint32_t i = 0; i < read->count; i++) {
        const struct client_pair *from = &read->pairs[read->first + i];

        if (arena_copy(&range->arena, from->key, &range->pairs[i].key) != 0 ||
            arena_copy(&range->arena, from->value, &range->pairs[i].value) != 0)
            return ERROR_OUT_OF_MEMORY;
    }
    range->pair_count = read->count;
    range->more = read->more;
    quoin_make_public(range);
    return 0;
}

static void special_done(struct client_call *call)
{
    struct quoin_future *future = call->ctx;
    int error = call->error;

    if (error == 0)
        error = future->kind == FUTURE_VALUE ? take_value(future) : take_pairs(future);
    future_complete(future, error);
}

static void run_special(struct submission *submission)
{
    struct quoin_future *future = quoin_future_of(submission);

    future->special->call.done = special_done;
    future->special->call.ctx = future;
    special_read_submit(future->special);
}

struct quoin_future *quoin_special_range(struct quoin_future *future, struct key_selector begin, struct key_selector end,
                                         const struct transaction_range_options *options)
{
    future->special = mem_zalloc(sizeof(*future->special));
    if (future->special == NULL)
        return future_finished(future, ERROR_OUT_OF_MEMORY);
    if (special_read_prepare(future->special, future->transaction->txn, begin, end, options))
        return future_finished(future, future->special->call.error);
    return quoin_submit(future, run_special);
}

struct quoin_future *quoin_special_get(struct quoin_future *future, struct bytes key)
{
    struct transaction_range_options options = {.limit = 1};

    return quoin_special_range(future, SELECT_FIRST_AT_OR_AFTER(key), SELECT_FIRST_AFTER(key), &options);
}
