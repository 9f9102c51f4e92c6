/* Futures: one word says done, has a callback, and how many sleep on it.
 *
 * The network thread publishes with one atomic operation and makes the futex call only when somebody sleeps. It reads the
 * callback before that: from then on the application may destroy the future (its own reference keeps the memory). Finished
 * futures go back to the pool that they came from: a get in the steady state allocates nothing. */
#include <limits.h>
#include <linux/futex.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "txn/client/quoin_internal.h"

enum { KEPT_VALUE_BYTES = 4096 };

/* ---- life ---- */

static size_t pooled_bytes(const struct quoin_future *future)
{
    bool keeps = future->kind == FUTURE_VALUE;

    return sizeof(*future) + (keeps ? future->u.get.key.capacity + future->u.get.value.capacity : 0);
}

static struct quoin_future *take_free(struct future_pool *pool)
{
    struct quoin_future *future;

    pthread_mutex_lock(&pool->lock);
    future = pool->free;
    if (future != NULL) {
        pool->free = future->next;
        pool->bytes -= pooled_bytes(future);
    }
    pthread_mutex_unlock(&pool->lock);
    return future;
}

/* False: the pool has enough of them. */
static bool give_free(struct future_pool *pool, struct quoin_future *future)
{
    size_t bytes = pooled_bytes(future);
    bool kept;

    pthread_mutex_lock(&pool->lock);
    kept = pool->bytes + bytes <= FUTURE_POOL_BYTES_MAX;
    if (kept) {
        future->next = pool->free;
        pool->free = future;
        pool->bytes += bytes;
    }
    pthread_mutex_unlock(&pool->lock);
    return kept;
}

static void drop_special(struct quoin_future *future)
{
    if (future->special == NULL)
        return;
    special_read_done(future->special);
    mem_free(future->special);
    future->special = NULL;
}

/* Drops what the kind owns; a get's buffers are kept for the next get. */
static void clean(struct quoin_future *future, enum future_kind next_kind)
{
    drop_special(future);
    if (future->kind == FUTURE_VALUE && next_kind == FUTURE_VALUE && future->u.get.value.capacity <= KEPT_VALUE_BYTES)
        return;
    if (future->kind == FUTURE_VALUE)
        transaction_get_done(&future->u.get);
    if ((future->kind == FUTURE_RANGE || future->kind == FUTURE_SELECTED) && future->u.range != NULL) {
        transaction_range_done(future->u.range);
        mem_free(future->u.range);
    }
    if (future->kind >= FUTURE_QUERY && future->kind <= FUTURE_STRINGS && future->u.query != NULL) {
        transaction_query_done(future->u.query);
        mem_free(future->u.query);
    }
    if (future->kind >= FUTURE_KEY && future->kind <= FUTURE_CONFLICTS)
        arena_done(&future->u.result.arena);
    if (future->kind == FUTURE_MAPPED && future->u.mapped != NULL) {
        transaction_mapped_done(&future->u.mapped->mapped);
        mem_free(future->u.mapped);
    }
    if (future->kind == FUTURE_OBJECT)
        future->u.object.destroy(future->u.object.ptr);
    if (future->kind == FUTURE_WATCH && future->u.watch != NULL) {
        client_watch_done(future->u.watch);
        mem_free(future->u.watch);
    }
    if (future->kind == FUTURE_PROTOCOL)
        client_call_cancel(&future->u.protocol.call);
    if (future->kind == FUTURE_REBOOT && future->u.reboot != NULL) {
        client_call_cancel(&future->u.reboot->call);
        mem_free(future->u.reboot);
    }
    memset(&future->u, 0, future->alone ? sizeof(void *) : sizeof(future->u));
    future->kind = FUTURE_NONE;
}

struct quoin_future *future_make(struct quoin_transaction *transaction, enum future_kind kind)
{
    struct quoin_future *future = take_free(transaction->pool);

    if (future == NULL)
        future = mem_zalloc(sizeof(*future));
    if (future == NULL)
        return NULL;
    clean(future, kind);
    future->kind = kind;
    future->transaction = transaction;
    future->network = transaction->db->network;
    future->callback = NULL;
    future->error = 0;
    future->number = 0;
    future->released = future->completed = false;
    atomic_store_explicit(&future->given, 0, memory_order_relaxed);
    atomic_store_explicit(&future->cancel_queued, false, memory_order_relaxed);
    atomic_store_explicit(&future->word, 0, memory_order_relaxed);
    atomic_store_explicit(&future->refs, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&transaction->refs, 1, memory_order_relaxed);
    return future;
}

struct quoin_future *future_make_small(struct quoin_transaction *transaction, enum future_kind kind)
{
    struct quoin_future *future = mem_zalloc(offsetof(struct quoin_future, u) + sizeof(void *));

    if (future == NULL)
        return NULL;
    future->kind = kind;
    future->alone = true;
    future->transaction = transaction;
    future->network = transaction->db->network;
    atomic_store_explicit(&future->refs, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&transaction->refs, 1, memory_order_relaxed);
    return future;
}

void future_ref(struct quoin_future *future)
{
    atomic_fetch_add_explicit(&future->refs, 1, memory_order_relaxed);
}

void future_unref(struct quoin_future *future)
{
    struct quoin_transaction *transaction;

    if (atomic_fetch_sub_explicit(&future->refs, 1, memory_order_acq_rel) > 1)
        return;
    transaction = future->transaction; /* not before: a watch leaves its transaction on the network thread */
    drop_special(future); /* also of one whose other memory is kept for the next get */
    if (future->kind != FUTURE_VALUE)
        clean(future, FUTURE_NONE);
    if (transaction == NULL || future->alone) {
        struct quoin_database *db = future->db;

        mem_free(future);
        if (transaction != NULL)
            transaction_unref(transaction);
        if (db != NULL)
            database_unref(db);
        return;
    }
    if (!give_free(transaction->pool, future)) {
        clean(future, FUTURE_NONE);
        mem_free(future);
    }
    transaction_unref(transaction);
}

void future_pool_done(struct future_pool *pool)
{
    struct quoin_future *future;

    while ((future = take_free(pool)) != NULL) {
        clean(future, FUTURE_NONE);
        mem_free(future);
    }
    pthread_mutex_destroy(&pool->lock);
}

struct quoin_future *future_finished(struct quoin_future *future, int error)
{
    future->error = error;
    future->completed = true;
    atomic_store_explicit(&future->word, FUTURE_DONE, memory_order_release);
    return future;
}

struct quoin_future *quoin_future_failed(quoin_error error)
{
    struct quoin_future *future = mem_zalloc(sizeof(*future));

    if (future == NULL)
        return NULL;
    atomic_store_explicit(&future->refs, 1, memory_order_relaxed);
    return future_finished(future, error == 0 ? ERROR_CLIENT_INVALID_OPERATION : error);
}

struct quoin_future *future_of_object(void *object, void (*destroy)(void *object))
{
    struct quoin_future *future = mem_zalloc(sizeof(*future));

    if (future == NULL) {
        destroy(object);
        return NULL;
    }
    future->kind = FUTURE_OBJECT;
    future->u.object.ptr = object;
    future->u.object.destroy = destroy;
    atomic_store_explicit(&future->refs, 1, memory_order_relaxed);
    return future_finished(future, 0);
}

/* ---- the end ---- */

static void futex_wake(_Atomic uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

bool future_publish(struct quoin_future *future)
{
    uint32_t word = atomic_load_explicit(&future->word, memory_order_acquire);

    while (!atomic_compare_exchange_weak_explicit(&future->word, &word, word | FUTURE_DONE, memory_order_acq_rel,
                                                  memory_order_acquire))
        ;
    if ((word & FUTURE_SLEEPERS) != 0)
        futex_wake(&future->word);
    return (word & FUTURE_CALLBACK) != 0;
}

void future_complete(struct quoin_future *future, int error)
{
    if (future->completed)
        return;
    future->completed = true;
    future->error = error;
    network_completed(future->network, future);
}

static bool is_done(struct quoin_future *future)
{
    return (atomic_load_explicit(&future->word, memory_order_acquire) & FUTURE_DONE) != 0;
}

bool quoin_future_is_ready(struct quoin_future *future)
{
    return future == NULL || is_done(future);
}

static void sleep_until_done(struct quoin_future *future)
{
    uint32_t word = atomic_fetch_add_explicit(&future->word, 1, memory_order_acq_rel) + 1;

    while ((word & FUTURE_DONE) == 0) {
        syscall(SYS_futex, &future->word, FUTEX_WAIT_PRIVATE, word, NULL, NULL, 0);
        word = atomic_load_explicit(&future->word, memory_order_acquire);
    }
    atomic_fetch_sub_explicit(&future->word, 1, memory_order_relaxed);
}

quoin_error quoin_future_block_until_ready(struct quoin_future *future)
{
    struct quoin_network *network;

    if (future == NULL || is_done(future))
        return 0;
    network = future->network;
    if (network_is_this_thread(network))
        return ERROR_BLOCKED_FROM_NETWORK_THREAD;
    network_wait_begin(network, future);
    sleep_until_done(future);
    network_wait_end(network);
    return 0;
}

quoin_error quoin_future_set_callback(struct quoin_future *future, quoin_callback *callback, void *context)
{
    struct quoin_network *network;
    uint32_t word;

    if (callback == NULL)
        return ERROR_CLIENT_INVALID_OPERATION;
    if (future == NULL) {
        callback(future, context);
        return 0;
    }
    word = atomic_load_explicit(&future->word, memory_order_acquire);
    if ((word & FUTURE_CALLBACK) != 0 || future->callback != NULL)
        return ERROR_CLIENT_INVALID_OPERATION;
    network = future->network; /* the callback may destroy the future */
    future->callback = callback;
    future->callback_context = context;
    while ((word & FUTURE_DONE) == 0)
        if (atomic_compare_exchange_weak_explicit(&future->word, &word, word | FUTURE_CALLBACK, memory_order_acq_rel,
                                                  memory_order_acquire)) {
            network_callback_set(network);
            return 0;
        }
    callback(future, context);
    return 0;
}

/* ---- cancelling ---- */

static struct client_call *call_of(struct quoin_future *future)
{
    if (future->special != NULL)
        return &future->special->call;
    switch (future->kind) {
    case FUTURE_VALUE:
        return &future->u.get.call;
    case FUTURE_RANGE:
    case FUTURE_SELECTED:
        return &future->u.range->call;
    case FUTURE_MAPPED:
        return &future->u.mapped->mapped.call;
    case FUTURE_REBOOT:
        return &future->u.reboot->call;
    case FUTURE_PROTOCOL:
        return &future->u.protocol.call;
    case FUTURE_WATCH:
        return &future->u.watch->call;
    case FUTURE_QUERY:
    case FUTURE_KEYS:
    case FUTURE_STRINGS:
        return &future->u.query->call;
    case FUTURE_VERSION:
        return &future->u.version.call;
    case FUTURE_COMMIT:
        return &future->u.commit;
    case FUTURE_RETRY:
        return &future->u.retry.call;
    default:
        return NULL;
    }
}

static void take_stamp_out(struct quoin_future *future)
{
    struct quoin_transaction *transaction = future->transaction;

    pthread_mutex_lock(&transaction->lock);
    for (struct quoin_future **at = &transaction->stamps; *at != NULL; at = &(*at)->next)
        if (*at == future) {
            *at = future->next;
            break;
        }
    pthread_mutex_unlock(&transaction->lock);
}

static void run_cancel(struct submission *submission)
{
    struct quoin_future *future = container_of(submission, struct quoin_future, cancel);
    struct client_call *call = call_of(future);

    if (!future->completed) {
        if (call != NULL)
            client_call_cancel(call);
        else
            take_stamp_out(future);
        future_complete(future, ERROR_OPERATION_CANCELLED);
    }
    future_unref(future);
}

void quoin_future_cancel(struct quoin_future *future)
{
    if (future == NULL || is_done(future) || atomic_exchange(&future->cancel_queued, true))
        return;
    future_ref(future);
    future->cancel.run = run_cancel;
    network_submit(future->network, &future->cancel);
}

void quoin_future_destroy(struct quoin_future *future)
{
    if (future == NULL)
        return;
    quoin_future_cancel(future);
    future_unref(future);
}

void quoin_future_release_memory(struct quoin_future *future)
{
    if (future == NULL || !is_done(future) || future->released)
        return;
    if (atomic_load(&future->given) > 1) {
        atomic_fetch_sub(&future->given, 1);
        return;
    }
    future->released = true;
    clean(future, FUTURE_NONE);
}

/* ---- getters ---- */

quoin_error quoin_future_get_error(struct quoin_future *future)
{
    if (future == NULL)
        return ERROR_OUT_OF_MEMORY;
    return is_done(future) ? future->error : ERROR_FUTURE_NOT_SET;
}

/* 0 when the result of that kind can be given out; it counts as given. */
static int check(struct quoin_future *future, enum future_kind kind)
{
    int error = quoin_future_get_error(future);

    if (error == 0 && future->released)
        return ERROR_FUTURE_RELEASED;
    if (error == 0 && future->kind != kind)
        return ERROR_CLIENT_INVALID_OPERATION;
    if (error == 0)
        atomic_fetch_add_explicit(&future->given, 1, memory_order_relaxed);
    return error;
}

int future_object(struct quoin_future *future, void **ret_object)
{
    int error = check(future, FUTURE_OBJECT);

    if (error == 0)
        *ret_object = future->u.object.ptr;
    return error;
}

quoin_error quoin_future_get_value(struct quoin_future *future, bool *ret_present, const uint8_t **ret_value, int *ret_length)
{
    int error;

    if (future != NULL && future->kind == FUTURE_SELECTED) { /* a key is a value that is there: programs rely on it */
        error = quoin_future_get_key(future, ret_value, ret_length);
        if (error == 0)
            *ret_present = true;
        return error;
    }
    error = check(future, FUTURE_VALUE);
    if (error != 0)
        return error;
    *ret_present = future->u.get.present;
    *ret_value = future->u.get.value.ptr;
    *ret_length = (int)future->u.get.value.len;
    return 0;
}

quoin_error quoin_future_get_int64(struct quoin_future *future, int64_t *ret_number)
{
    enum future_kind kind = future == NULL ? FUTURE_NUMBER : future->kind;
    bool is_number = kind == FUTURE_VERSION || kind == FUTURE_QUERY || kind == FUTURE_REBOOT;
    int error = check(future, is_number ? kind : FUTURE_NUMBER);

    if (error == 0)
        *ret_number = future->number;
    return error;
}

quoin_error quoin_future_get_uint64(struct quoin_future *future, uint64_t *ret_number)
{
    bool is_protocol = future != NULL && future->kind == FUTURE_PROTOCOL;
    int error = check(future, is_protocol ? FUTURE_PROTOCOL : FUTURE_NUMBER);

    if (error == 0)
        *ret_number = (uint64_t)future->number;
    return error;
}

quoin_error quoin_future_get_bool(struct quoin_future *future, bool *ret_value)
{
    int error = check(future, FUTURE_NUMBER);

    if (error == 0)
        *ret_value = future->number != 0;
    return error;
}

quoin_error quoin_future_get_double(struct quoin_future *future, double *ret_number)
{
    int error = check(future, FUTURE_DOUBLE);

    if (error == 0)
        *ret_number = (double)future->number / 1e6;
    return error;
}

quoin_error quoin_future_get_key(struct quoin_future *future, const uint8_t **ret_key, int *ret_length)
{
    enum future_kind kind = future == NULL ? FUTURE_KEY : future->kind;
    bool has_key = kind == FUTURE_STAMP || kind == FUTURE_SELECTED;
    int error = check(future, has_key ? kind : FUTURE_KEY);
    struct bytes key;

    if (error != 0)
        return error;
    if (kind == FUTURE_SELECTED)
        key = future->u.range->begin;
    else
        key = kind == FUTURE_STAMP ? bytes_of(future->key, sizeof(future->key)) : future->u.result.key;
    *ret_key = key.ptr;
    *ret_length = (int)key.len;
    return 0;
}

quoin_error quoin_future_get_string_array(struct quoin_future *future, const char *const **ret_strings, int *ret_count)
{
    int error = check(future, FUTURE_STRINGS);

    if (error != 0)
        return error;
    *ret_strings = (const char *const *)(const void *)future->u.query->items;
    *ret_count = (int)future->u.query->count;
    return 0;
}

quoin_error quoin_future_get_key_array(struct quoin_future *future, const struct quoin_key **ret_keys, int *ret_count)
{
    int error = check(future, FUTURE_KEYS);

    if (error != 0)
        return error;
    *ret_keys = (const struct quoin_key *)(const void *)future->u.query->items;
    *ret_count = (int)future->u.query->count;
    return 0;
}

quoin_error quoin_future_get_conflicts(struct quoin_future *future, const struct quoin_conflict_report **ret_reports, int *ret_count)
{
    int error = check(future, FUTURE_CONFLICTS);

    if (error != 0)
        return error;
    *ret_reports = future->u.result.items;
    *ret_count = future->u.result.count;
    return 0;
}

quoin_error quoin_future_get_range(struct quoin_future *future, const struct quoin_pair **ret_pairs, int *ret_count, bool *ret_more)
{
    int error = check(future, FUTURE_RANGE);

    if (error != 0)
        return error;
    *ret_pairs = (const struct quoin_pair *)(const void *)future->u.range->pairs;
    *ret_count = (int)future->u.range->pair_count;
    *ret_more = future->u.range->more;
    return 0;
}

quoin_error quoin_future_get_mapped_range(struct quoin_future *future, const struct quoin_mapped **ret_rows, int *ret_count,
                                          bool *ret_more)
{
    int error = check(future, FUTURE_MAPPED);

    if (error != 0)
        return error;
    *ret_rows = future->u.mapped->rows;
    *ret_count = (int)future->u.mapped->mapped.row_count;
    *ret_more = future->u.mapped->mapped.more;
    return 0;
}
