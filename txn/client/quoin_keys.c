/* The public transaction's smaller questions: where a key lives, how large a range is, what a commit conflicted with. */
#include "txn/client/quoin_internal.h"

/* ---- the key of a selector ---- */

static void key_done(struct client_call *call)
{
    future_complete(call->ctx, call->error);
}

static void run_key(struct submission *submission)
{
    struct quoin_future *future = quoin_future_of(submission);

    future->u.range->call.done = key_done;
    future->u.range->call.ctx = future;
    transaction_range_submit(future->u.range, NULL);
}

struct quoin_future *quoin_transaction_get_key(struct quoin_transaction *transaction, struct quoin_selector selector, bool snapshot)
{
    struct quoin_future *future = future_make(transaction, FUTURE_SELECTED);
    struct key_selector from;

    if (future == NULL)
        return NULL;
    future->u.range = mem_zalloc(sizeof(*future->u.range));
    if (future->u.range == NULL)
        return future_finished(future, ERROR_OUT_OF_MEMORY);
    if (!quoin_take_selector(&selector, &from))
        return future_finished(future, ERROR_CLIENT_INVALID_OPERATION);
    if (transaction_key_prepare(future->u.range, transaction->txn, from, snapshot))
        return future_finished(future, future->u.range->call.error);
    return quoin_submit(future, run_key);
}

/* ---- questions about a range ---- */

static_assert(sizeof(struct quoin_key) <= sizeof(struct bytes) && sizeof(char *) <= sizeof(struct bytes),
              "items are turned into the public form in place");

static void make_public(struct quoin_future *future)
{
    struct bytes *items = future->u.query->items;

    for (uint32_t i = 0; i < future->u.query->count; i++) {
        struct bytes from = items[i];
        struct quoin_key key = {from.ptr, (int)from.len};

        if (future->kind == FUTURE_KEYS)
            memcpy((char *)items + i * sizeof(key), &key, sizeof(key));
        else
            memcpy((char *)items + i * sizeof(from.ptr), &from.ptr, sizeof(from.ptr));
    }
}

static void query_done(struct client_call *call)
{
    struct quoin_future *future = call->ctx;

    future->number = future->u.query->bytes;
    if (call->error == 0)
        make_public(future);
    future_complete(future, call->error);
}

static void run_query(struct submission *submission)
{
    struct quoin_future *future = quoin_future_of(submission);

    future->u.query->call.done = query_done;
    future->u.query->call.ctx = future;
    transaction_query_submit(future->u.query, NULL);
}

static struct quoin_future *ask(struct quoin_transaction *transaction, enum future_kind kind, const struct transaction_query *query,
                                const struct quoin_key *begin, const struct quoin_key *end)
{
    struct quoin_future *future = future_make(transaction, kind);
    struct bytes from, to;

    if (future == NULL)
        return NULL;
    future->u.query = mem_zalloc(sizeof(*future->u.query));
    if (future->u.query == NULL)
        return future_finished(future, ERROR_OUT_OF_MEMORY);
    future->u.query->kind = query->kind;
    future->u.query->chunk = query->chunk;
    future->u.query->limit = query->limit;
    if (!quoin_take_bytes(begin->key, begin->key_length, &from) || !quoin_take_bytes(end->key, end->key_length, &to))
        return future_finished(future, ERROR_CLIENT_INVALID_OPERATION);
    if (transaction_query_prepare(future->u.query, transaction->txn, from, to))
        return future_finished(future, future->u.query->call.error);
    return quoin_submit(future, run_query);
}

struct quoin_future *quoin_transaction_get_addresses_for_key(struct quoin_transaction *transaction, const void *key, int key_length)
{
    struct transaction_query query = {.kind = QUERY_ADDRESSES};
    struct quoin_key at = {key, key_length};

    return ask(transaction, FUTURE_STRINGS, &query, &at, &at);
}

struct quoin_future *quoin_transaction_get_estimated_range_size(struct quoin_transaction *transaction, const void *begin,
                                                                int begin_length, const void *end, int end_length)
{
    struct transaction_query query = {.kind = QUERY_SIZE};
    struct quoin_key from = {begin, begin_length}, to = {end, end_length};

    return ask(transaction, FUTURE_QUERY, &query, &from, &to);
}

static struct quoin_future *refuse(struct quoin_transaction *transaction, int error)
{
    struct quoin_future *future = future_make(transaction, FUTURE_NONE);

    return future == NULL ? NULL : future_finished(future, error);
}

struct quoin_future *quoin_transaction_get_range_split_points(struct quoin_transaction *transaction, const void *begin, int begin_length,
                                                              const void *end, int end_length, int64_t chunk_bytes, int limit)
{
    struct transaction_query query = {.kind = QUERY_SPLITS, .chunk = chunk_bytes, .limit = (uint32_t)limit};
    struct quoin_key from = {begin, begin_length}, to = {end, end_length};

    if (chunk_bytes < 1 || limit < 0)
        return refuse(transaction, ERROR_CLIENT_INVALID_OPERATION);
    return ask(transaction, FUTURE_KEYS, &query, &from, &to);
}

struct quoin_future *quoin_transaction_get_boundary_keys(struct quoin_transaction *transaction, const void *begin, int begin_length,
                                                         const void *end, int end_length, int limit)
{
    struct transaction_query query = {.kind = QUERY_BOUNDARIES, .limit = (uint32_t)limit};
    struct quoin_key from = {begin, begin_length}, to = {end, end_length};

    if (limit < 0)
        return refuse(transaction, ERROR_CLIENT_INVALID_OPERATION);
    return ask(transaction, FUTURE_KEYS, &query, &from, &to);
}

/* ---- watches ---- */

static void watch_done(struct client_call *call)
{
    future_complete(call->ctx, call->error);
}

/* From the commit on it holds the database, and its transaction may go. */
static void watch_detached(struct client_watch *watch)
{
    struct quoin_future *future = watch->call.ctx;
    struct quoin_transaction *transaction = future->transaction;

    future->db = transaction->db;
    atomic_fetch_add_explicit(&future->db->refs, 1, memory_order_relaxed);
    future->transaction = NULL;
    transaction_unref(transaction);
}

static void run_watch(struct submission *submission)
{
    struct quoin_future *future = quoin_future_of(submission);
    struct client_watch *watch = future->u.watch;

    watch->call.done = watch_done;
    watch->call.ctx = future;
    watch->detached = watch_detached;
    transaction_watch_submit(watch, NULL, future->transaction->txn);
}

struct quoin_future *quoin_transaction_watch(struct quoin_transaction *transaction, const void *key, int key_length)
{
    struct quoin_future *future = future_make_small(transaction, FUTURE_WATCH);
    struct bytes at;

    if (future == NULL)
        return NULL;
    future->u.watch = mem_zalloc(sizeof(*future->u.watch));
    if (future->u.watch == NULL)
        return future_finished(future, ERROR_OUT_OF_MEMORY);
    if (!quoin_take_bytes(key, key_length, &at))
        return future_finished(future, ERROR_CLIENT_INVALID_OPERATION);
    if (transaction_watch_prepare(future->u.watch, transaction->txn, at, quoin_random(future->network)))
        return future_finished(future, future->u.watch->call.error);
    return quoin_submit(future, run_watch);
}

/* ---- what is always nothing ---- */

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

    if (future == NULL)
        return NULL;
    future->number = transaction_tag_throttled_us(transaction->txn);
    return future_finished(future, 0);
}

/* ---- conflicts ---- */

static int copy_key(struct arena *arena, struct bytes from, struct quoin_key *to)
{
    struct bytes copy;
    int error = arena_copy(arena, from, &copy);

    if (error == 0)
        *to = (struct quoin_key){copy.ptr, (int)copy.len};
    return error;
}

static int copy_conflict(struct arena *arena, const struct conflict *from, struct quoin_conflict_report *to)
{
    int error = copy_key(arena, from->read_begin, &to->read_begin);

    to->version = from->version;
    if (error == 0)
        error = copy_key(arena, from->read_end, &to->read_end);
    if (error == 0)
        error = copy_key(arena, from->written_begin, &to->written_begin);
    return error != 0 ? error : copy_key(arena, from->written_end, &to->written_end);
}

struct quoin_future *quoin_transaction_get_conflicts(struct quoin_transaction *transaction)
{
    struct quoin_future *future = future_make(transaction, FUTURE_CONFLICTS);
    struct quoin_conflict_report *reports = NULL;
    struct transaction *txn = transaction->txn;
    int error = 0;

    if (future == NULL)
        return NULL;
    transaction_lock(txn);
    if (txn->conflict_count > 0) {
        reports = arena_alloc(&future->u.result.arena, txn->conflict_count * sizeof(*reports));
        error = reports == NULL ? ERROR_OUT_OF_MEMORY : 0;
    }
    for (uint32_t i = 0; i < txn->conflict_count && error == 0; i++)
        error = copy_conflict(&future->u.result.arena, &txn->conflicts[i], &reports[i]);
    future->u.result.items = reports;
    future->u.result.count = (int)txn->conflict_count;
    transaction_unlock(txn);
    return future_finished(future, error);
}
