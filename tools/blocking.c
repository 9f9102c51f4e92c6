/* Each call makes a future, waits for it, copies what it holds. A write that fails is remembered by the transaction, whose
 * commit then says so. */
#include "tools/blocking.h"

#include "net/error.h"
#include "net/mem.h"
#include "txn/client/include/quoin/quoin.h"

struct blocking {
    struct quoin_database *db; /* owned */
};

struct blocking_txn {
    struct quoin_transaction *transaction; /* borrowed */
};

struct body_call {
    int (*body)(struct blocking_txn *txn, void *context);
    void *context;
};

int blocking_open(const char *cluster_file, struct blocking **ret_store)
{
    struct blocking *store = mem_zalloc(sizeof(*store));
    int error = store == NULL ? ERROR_OUT_OF_MEMORY : quoin_open(cluster_file, &store->db);

    if (error != 0)
        mem_free(store);
    else
        *ret_store = store;
    return error;
}

void blocking_close(struct blocking *store)
{
    if (store == NULL)
        return;
    quoin_database_destroy(store->db);
    mem_free(store);
    quoin_network_stop();
}

static quoin_error run_body(struct quoin_transaction *transaction, void *context)
{
    struct body_call *call = context;
    struct blocking_txn txn = {transaction};

    return call->body(&txn, call->context);
}

int blocking_run(struct blocking *store, int (*body)(struct blocking_txn *txn, void *context), void *context)
{
    struct body_call call = {body, context};

    return quoin_run(store->db, run_body, &call);
}

static int end_of(struct quoin_future *future)
{
    int error = quoin_future_block_until_ready(future);

    return error != 0 ? error : quoin_future_get_error(future);
}

int blocking_reach(struct blocking *store, int64_t timeout_ms, char *why, int why_size)
{
    struct quoin_transaction *transaction;
    struct blocking_txn txn;
    int64_t version;
    int error = quoin_transaction_create(store->db, &transaction);

    if (error != 0)
        return error;
    txn.transaction = transaction;
    error = quoin_transaction_set_option(transaction, QUOIN_OPTION_TIMEOUT, &timeout_ms, sizeof(timeout_ms));
    if (error == 0)
        error = blocking_read_version(&txn, &version);
    if (error != 0)
        quoin_database_explain(store->db, why, why_size);
    quoin_transaction_destroy(transaction);
    return error;
}

int blocking_read_version(struct blocking_txn *txn, int64_t *ret_version)
{
    struct quoin_future *future = quoin_transaction_get_read_version(txn->transaction);
    int error = end_of(future);

    if (error == 0)
        error = quoin_future_get_int64(future, ret_version);
    quoin_future_destroy(future);
    return error;
}

int blocking_get(struct blocking_txn *txn, struct bytes key, struct bytes_buffer *value, bool *ret_present)
{
    struct quoin_future *future = quoin_transaction_get(txn->transaction, key.ptr, (int)key.len, false);
    const uint8_t *bytes;
    bool present;
    int length, error = end_of(future);

    if (error == 0)
        error = quoin_future_get_value(future, &present, &bytes, &length);
    if (error == 0) {
        value->len = 0;
        if (present)
            error = bytes_buffer_append(value, bytes_of(bytes, (size_t)length));
    }
    if (error == 0)
        *ret_present = present;
    quoin_future_destroy(future);
    return error;
}

/* One batch of pairs; the bound of the next one is copied to `from`. */
static int see_batch(struct quoin_future *future, struct bytes_buffer *from, void (*see)(void *context, struct bytes key, struct bytes value),
                     void *context, bool *ret_more)
{
    const struct quoin_pair *pairs;
    int count, error = end_of(future);

    if (error == 0)
        error = quoin_future_get_range(future, &pairs, &count, ret_more);
    if (error != 0)
        return error;
    for (int i = 0; i < count; i++)
        see(context, bytes_of(pairs[i].key, (size_t)pairs[i].key_length), bytes_of(pairs[i].value, (size_t)pairs[i].value_length));
    if (count == 0 || !*ret_more)
        return 0;
    from->len = 0;
    return bytes_buffer_append(from, bytes_of(pairs[count - 1].key, (size_t)pairs[count - 1].key_length));
}

int blocking_range(struct blocking_txn *txn, struct bytes prefix, void (*see)(void *context, struct bytes key, struct bytes value),
                   void *context)
{
    struct quoin_range_options options = {.mode = QUOIN_MODE_WANT_ALL};
    struct bytes_buffer from = {0}, end = {0};
    bool more = true, first = true;
    int error = bytes_buffer_append(&from, prefix);

    if (error == 0)
        error = bytes_buffer_append(&end, prefix);
    while (end.len > 0 && end.ptr[end.len - 1] == 0xff)
        end.len--;
    if (end.len > 0)
        end.ptr[end.len - 1]++;
    else if (error == 0)
        error = bytes_buffer_append(&end, BYTES_LITERAL("\xff"));
    while (more && error == 0) {
        struct quoin_selector begin = {from.ptr, (int)from.len, !first, 1};
        struct quoin_future *future =
            quoin_transaction_get_range(txn->transaction, begin, QUOIN_FIRST_AT_OR_AFTER(end.ptr, (int)end.len), options);

        error = see_batch(future, &from, see, context, &more);
        quoin_future_destroy(future);
        first = false;
    }
    bytes_buffer_done(&from);
    bytes_buffer_done(&end);
    return error;
}

void blocking_set(struct blocking_txn *txn, struct bytes key, struct bytes value)
{
    quoin_transaction_set(txn->transaction, key.ptr, (int)key.len, value.ptr, (int)value.len);
}

void blocking_clear(struct blocking_txn *txn, struct bytes key)
{
    quoin_transaction_clear(txn->transaction, key.ptr, (int)key.len);
}

void blocking_add(struct blocking_txn *txn, struct bytes key, uint64_t addend)
{
    uint8_t param[8];

    put_le64(param, addend);
    quoin_transaction_atomic(txn->transaction, QUOIN_ADD, key.ptr, (int)key.len, param, sizeof(param));
}
