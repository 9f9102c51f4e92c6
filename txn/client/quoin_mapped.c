/* Mapped ranges behind futures. */
#include "txn/client/mapped.h"
#include "txn/client/quoin_internal.h"

static_assert(sizeof(struct quoin_mapped) == 112, "FoundationDB's FDBMappedKeyValue");

/* Pairs are turned into the public form where they lie. */
static void make_pairs(struct client_pair *pairs, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct client_pair from = pairs[i];
        struct quoin_pair to = {from.key.ptr, (int)from.key.len, from.value.ptr, (int)from.value.len};

        memcpy((char *)pairs + i * sizeof(to), &to, sizeof(to));
    }
}

static int make_public(struct transaction_mapped *mapped, struct quoin_mapped **ret)
{
    struct quoin_mapped *rows = arena_zalloc(&mapped->arena, (mapped->row_count + 1) * sizeof(*rows));

    for (uint32_t i = 0; rows != NULL && i < mapped->row_count; i++) {
        const struct mapped_row *row = &mapped->rows[i];

        make_pairs(row->pairs, row->pair_count);
        rows[i] = (struct quoin_mapped){
            .key = row->key.ptr, .key_length = (int)row->key.len, .value = row->value.ptr, .value_length = (int)row->value.len,
            .begin_key = row->begin.ptr, .begin_key_length = (int)row->begin.len, .begin_offset = 1,
            .end_key = row->end.ptr, .end_key_length = (int)row->end.len, .end_offset = 1,
            .pairs = (const struct quoin_pair *)(const void *)row->pairs, .pair_count = (int)row->pair_count,
            .pair_capacity = (int)row->pair_count,
        };
    }
    *ret = rows;
    return rows == NULL ? ERROR_OUT_OF_MEMORY : 0;
}

static void mapped_done(struct client_call *call)
{
    struct quoin_future *future = call->ctx;
    int error = call->error;

    if (error == 0)
        error = make_public(&future->u.mapped->mapped, &future->u.mapped->rows);
    future_complete(future, error);
}

static void run_mapped(struct submission *submission)
{
    struct quoin_future *future = quoin_future_of(submission);

    future->u.mapped->mapped.call.done = mapped_done;
    future->u.mapped->mapped.call.ctx = future;
    transaction_mapped_submit(&future->u.mapped->mapped, NULL);
}

struct quoin_future *quoin_transaction_get_mapped_range(struct quoin_transaction *transaction, struct quoin_selector begin,
                                                        struct quoin_selector end, const void *mapper, int mapper_length,
                                                        struct quoin_range_options options)
{
    struct quoin_future *future = future_make(transaction, FUTURE_MAPPED);
    struct transaction_range_options taken;
    struct key_selector from, to;
    struct bytes map;
    int error;

    if (future == NULL)
        return NULL;
    future->u.mapped = mem_zalloc(sizeof(*future->u.mapped));
    if (future->u.mapped == NULL)
        return future_finished(future, ERROR_OUT_OF_MEMORY);
    error = quoin_take_range_options(&options, &taken);
    if (error == 0 &&
        (!quoin_take_selector(&begin, &from) || !quoin_take_selector(&end, &to) || !quoin_take_bytes(mapper, mapper_length, &map)))
        error = ERROR_CLIENT_INVALID_OPERATION;
    if (error != 0)
        return future_finished(future, error);
    if (transaction_mapped_prepare(&future->u.mapped->mapped, transaction->txn, from, to, map, &taken))
        return future_finished(future, future->u.mapped->mapped.call.error);
    return quoin_submit(future, run_mapped);
}
