/* The public transaction: arguments are checked, the state is changed in the caller's thread, and what must ask the cluster is
 * handed to the network thread. A read that the own writes answer never leaves the caller. */
#include <limits.h>
#include <stdlib.h>

#include "txn/client/quoin_internal.h"

static_assert(sizeof(struct quoin_pair) <= sizeof(struct client_pair), "pairs are turned into the public form in place");

/* ---- life ---- */

static void run_destroy(struct submission *submission)
{
    struct quoin_transaction *transaction = container_of(submission, struct quoin_transaction, destroy);
    struct quoin_database *db = transaction->db;

    transaction_destroy(transaction->txn);
    pthread_mutex_destroy(&transaction->lock);
    mem_free(transaction);
    database_unref(db);
}

void transaction_unref(struct quoin_transaction *transaction)
{
    if (atomic_fetch_sub_explicit(&transaction->refs, 1, memory_order_acq_rel) > 1)
        return;
    transaction->destroy.run = run_destroy;
    network_submit(transaction->db->network, &transaction->destroy);
}

static void run_sync(struct submission *submission)
{
    struct quoin_transaction *transaction = container_of(submission, struct quoin_transaction, sync);

    atomic_store(&transaction->sync_queued, false);
    transaction_sync(transaction->txn);
    transaction_give_stamps(transaction, transaction_incarnation(transaction->txn), true, ERROR_TRANSACTION_CANCELLED);
    transaction_unref(transaction);
}

/* Tells the network thread of a reset, a cancellation or a time-out. */
static void queue_sync(struct quoin_transaction *transaction)
{
    if (!transaction_wants_sync(transaction->txn) || atomic_exchange(&transaction->sync_queued, true))
        return;
    atomic_fetch_add_explicit(&transaction->refs, 1, memory_order_relaxed);
    transaction->sync.run = run_sync;
    network_submit(transaction->db->network, &transaction->sync);
}

quoin_error quoin_transaction_create(struct quoin_database *db, struct quoin_transaction **ret_transaction)
{
    struct quoin_transaction *transaction;
    int error;

    if (db == NULL || ret_transaction == NULL)
        return ERROR_CLIENT_INVALID_OPERATION;
    transaction = mem_zalloc(sizeof(*transaction));
    if (transaction == NULL)
        return ERROR_OUT_OF_MEMORY;
    error = transaction_create(db->client, &transaction->txn);
    if (error != 0) {
        mem_free(transaction);
        return error;
    }
    pthread_mutex_init(&transaction->lock, NULL);
    atomic_init(&transaction->refs, 1);
    transaction->db = db;
    transaction->pool = network_pool(db->network);
    atomic_fetch_add_explicit(&db->refs, 1, memory_order_relaxed);
    pthread_mutex_lock(&db->lock);
    if (db->has_settings) {
        transaction->txn->settings = transaction->txn->defaults = db->settings;
        transaction->txn->sync_wanted = db->settings.timeout_ms > 0;
    }
    pthread_mutex_unlock(&db->lock);
    queue_sync(transaction);
    *ret_transaction = transaction;
    return 0;
}

void quoin_transaction_reset(struct quoin_transaction *transaction)
{
    transaction_reset_mark(transaction->txn);
    queue_sync(transaction);
}

void quoin_transaction_cancel(struct quoin_transaction *transaction)
{
    transaction_cancel_mark(transaction->txn);
    queue_sync(transaction);
}

void quoin_transaction_destroy(struct quoin_transaction *transaction)
{
    if (transaction == NULL)
        return;
    if (atomic_load(&transaction->refs) > 1) /* futures that are not ready end now */
        quoin_transaction_cancel(transaction);
    transaction_unref(transaction);
}

/* ---- arguments ---- */

/* False: NULL with a length, or a negative length. */
bool quoin_take_bytes(const void *ptr, int length, struct bytes *ret)
{
    if (length < 0 || (ptr == NULL && length > 0))
        return false;
    *ret = bytes_of(ptr, (size_t)length);
    return true;
}

struct quoin_future *quoin_submit(struct quoin_future *future, void (*run)(struct submission *submission))
{
    future_ref(future); /* the network thread's, until it is published */
    future->submit.run = run;
    network_submit(future->transaction->db->network, &future->submit);
    return future;
}

/* ---- reads ---- */

static void get_done(struct client_call *call)
{
    future_complete(container_of(call, struct quoin_future, u.get.call), call->error);
}

static void run_get(struct submission *submission)
{
    struct quoin_future *future = quoin_future_of(submission);

    future->u.get.call.done = get_done;
    transaction_get_submit(&future->u.get, NULL);
}

struct quoin_future *quoin_transaction_get(struct quoin_transaction *transaction, const void *key, int key_length, bool snapshot)
{
    struct quoin_future *future = future_make(transaction, FUTURE_VALUE);
    struct bytes bytes;

    if (future == NULL)
        return NULL;
    if (!quoin_take_bytes(key, key_length, &bytes))
        return future_finished(future, ERROR_CLIENT_INVALID_OPERATION);
    if (special_contains(bytes))
        return quoin_special_get(future, bytes);
    if (transaction_get_prepare(&future->u.get, transaction->txn, bytes, snapshot))
        return future_finished(future, future->u.get.call.error);
    return quoin_submit(future, run_get);
}

/* The pairs become the public ones where they lie. */
void quoin_make_public(struct transaction_range *range)
{
    for (uint32_t i = 0; i < range->pair_count; i++) {
        struct client_pair from = range->pairs[i];
        struct quoin_pair to = {from.key.ptr, (int)from.key.len, from.value.ptr, (int)from.value.len};

        memcpy((char *)range->pairs + i * sizeof(to), &to, sizeof(to));
    }
}

static void range_done(struct client_call *call)
{
    struct quoin_future *future = call->ctx;

    if (call->error == 0)
        quoin_make_public(future->u.range);
    future_complete(future, call->error);
}

static void run_range(struct submission *submission)
{
    struct quoin_future *future = quoin_future_of(submission);

    future->u.range->call.done = range_done;
    future->u.range->call.ctx = future;
    transaction_range_submit(future->u.range, NULL);
}

/* FoundationDB's sizes. 0: no limit. */
static uint32_t mode_bytes(enum quoin_mode mode, int iteration)
{
    static const uint32_t growing[] = {4096, 80000, 6144, 9216, 13824, 20736, 31104, 46656, 69984, 80000};
    size_t last = sizeof(growing) / sizeof(growing[0]) - 1;

    switch (mode) {
    case QUOIN_MODE_ITERATOR:
        return growing[iteration < 1 ? 0 : (size_t)iteration - 1 > last ? last : (size_t)iteration - 1];
    case QUOIN_MODE_SMALL:
        return 256;
    case QUOIN_MODE_MEDIUM:
        return 1000;
    case QUOIN_MODE_LARGE:
        return 4096;
    case QUOIN_MODE_SERIAL:
        return 80000;
    case QUOIN_MODE_WANT_ALL: /* more than FoundationDB's 80,000: who wants all of it waits for fewer answers */
        return 320000;
    case QUOIN_MODE_EXACT:
        break;
    }
    return 0;
}

int quoin_take_range_options(const struct quoin_range_options *from, struct transaction_range_options *ret)
{
    uint32_t bytes = mode_bytes(from->mode, from->iteration);

    if (from->limit < 0 || from->target_bytes < 0)
        return ERROR_RANGE_LIMITS_INVALID;
    if (from->mode < QUOIN_MODE_WANT_ALL || from->mode > QUOIN_MODE_SERIAL ||
        (from->mode == QUOIN_MODE_ITERATOR && from->iteration <= 0))
        return ERROR_CLIENT_INVALID_OPERATION;
    if (from->mode == QUOIN_MODE_EXACT && from->limit == 0 && from->target_bytes == 0)
        return ERROR_EXACT_MODE_WITHOUT_LIMITS;
    if (from->target_bytes > 0 && (bytes == 0 || (uint32_t)from->target_bytes < bytes))
        bytes = (uint32_t)from->target_bytes;
    *ret = (struct transaction_range_options){
        .limit = (uint32_t)from->limit, .bytes_limit = bytes, .reverse = from->reverse, .snapshot = from->snapshot};
    return 0;
}

bool quoin_take_selector(const struct quoin_selector *from, struct key_selector *ret)
{
    ret->or_equal = from->or_equal;
    ret->offset = from->offset;
    return quoin_take_bytes(from->key, from->key_length, &ret->key);
}

struct quoin_future *quoin_transaction_get_range(struct quoin_transaction *transaction, struct quoin_selector begin,
                                                 struct quoin_selector end, struct quoin_range_options options)
{
    struct quoin_future *future = future_make(transaction, FUTURE_RANGE);
    struct transaction_range_options taken;
    struct key_selector from, to;
    int error;

    if (future == NULL)
        return NULL;
    future->u.range = mem_zalloc(sizeof(*future->u.range));
    if (future->u.range == NULL)
        return future_finished(future, ERROR_OUT_OF_MEMORY);
    error = quoin_take_range_options(&options, &taken);
    if (error == 0 && (!quoin_take_selector(&begin, &from) || !quoin_take_selector(&end, &to)))
        error = ERROR_CLIENT_INVALID_OPERATION;
    if (error != 0)
        return future_finished(future, error);
    if (special_contains(from.key) && special_contains(to.key))
        return quoin_special_range(future, from, to, &taken);
    if (transaction_range_prepare(future->u.range, transaction->txn, from, to, &taken))
        return future_finished(future, future->u.range->call.error);
    return quoin_submit(future, run_range);
}

static void version_done(struct client_call *call)
{
    struct quoin_future *future = container_of(call, struct quoin_future, u.version.call);

    future->number = future->u.version.version;
    future_complete(future, call->error);
}

static void run_version(struct submission *submission)
{
    struct quoin_future *future = quoin_future_of(submission);

    future->u.version.call.done = version_done;
    transaction_read_version_submit(&future->u.version, NULL);
}

struct quoin_future *quoin_transaction_get_read_version(struct quoin_transaction *transaction)
{
    struct quoin_future *future = future_make(transaction, FUTURE_VERSION);

    if (future == NULL)
        return NULL;
    transaction_read_version_prepare(&future->u.version, transaction->txn);
    return quoin_submit(future, run_version);
}

/* ---- writes ---- */

/* Its own watches look at what it wrote, on the network thread. */
static int written(struct quoin_transaction *transaction, int error)
{
    struct transaction *txn = transaction->txn;

    if (atomic_load_explicit(&txn->watching, memory_order_relaxed) == 0)
        return error;
    transaction_lock(txn);
    txn->sync_wanted = true;
    transaction_unlock(txn);
    queue_sync(transaction);
    return error;
}

quoin_error quoin_transaction_set(struct quoin_transaction *transaction, const void *key, int key_length, const void *value,
                                  int value_length)
{
    struct bytes k, v;

    if (!quoin_take_bytes(key, key_length, &k) || !quoin_take_bytes(value, value_length, &v))
        return transaction_refuse(transaction->txn, ERROR_CLIENT_INVALID_OPERATION);
    return written(transaction, transaction_set(transaction->txn, k, v));
}

quoin_error quoin_transaction_clear(struct quoin_transaction *transaction, const void *key, int key_length)
{
    struct bytes k;

    if (!quoin_take_bytes(key, key_length, &k))
        return transaction_refuse(transaction->txn, ERROR_CLIENT_INVALID_OPERATION);
    return written(transaction, transaction_clear(transaction->txn, k));
}

quoin_error quoin_transaction_clear_range(struct quoin_transaction *transaction, const void *begin, int begin_length,
                                          const void *end, int end_length)
{
    struct bytes b, e;

    if (!quoin_take_bytes(begin, begin_length, &b) || !quoin_take_bytes(end, end_length, &e))
        return transaction_refuse(transaction->txn, ERROR_CLIENT_INVALID_OPERATION);
    return written(transaction, transaction_clear_range(transaction->txn, b, e));
}

quoin_error quoin_transaction_atomic(struct quoin_transaction *transaction, enum quoin_mutation type, const void *key, int key_length,
                                     const void *param, int param_length)
{
    struct bytes k, p;

    if (!quoin_take_bytes(key, key_length, &k) || !quoin_take_bytes(param, param_length, &p))
        return transaction_refuse(transaction->txn, ERROR_CLIENT_INVALID_OPERATION);
    return written(transaction, transaction_atomic(transaction->txn, (enum mutation_type)type, k, p));
}

quoin_error quoin_transaction_add_conflict_range(struct quoin_transaction *transaction, enum quoin_conflict kind, const void *begin,
                                                 int begin_length, const void *end, int end_length)
{
    struct bytes b, e;

    if (!quoin_take_bytes(begin, begin_length, &b) || !quoin_take_bytes(end, end_length, &e) ||
        (kind != QUOIN_CONFLICT_READ && kind != QUOIN_CONFLICT_WRITE))
        return ERROR_CLIENT_INVALID_OPERATION;
    return transaction_add_conflict_range(transaction->txn, (enum conflict_kind)kind, b, e);
}

/* ---- options and facts ---- */

char *quoin_transaction_explain(struct quoin_transaction *transaction, char *out, int size)
{
    return size <= 0 ? out : transaction_explain(transaction->txn, out, (size_t)size);
}

quoin_error quoin_transaction_set_option(struct quoin_transaction *transaction, int option, const void *value, int value_length)
{
    struct bytes v;
    int error;

    if (!quoin_take_bytes(value, value_length, &v))
        return ERROR_INVALID_OPTION_VALUE;
    error = transaction_set_option(transaction->txn, option, v);
    if (error == 0)
        queue_sync(transaction);
    return error;
}

/* Tried on a transaction of its own, whose settings become the defaults. */
quoin_error quoin_database_set_transaction_option(struct quoin_database *db, int option, const void *value, int value_length)
{
    struct quoin_transaction *transaction;
    int error = quoin_transaction_create(db, &transaction);

    if (error != 0)
        return error;
    error = quoin_transaction_set_option(transaction, option, value, value_length);
    if (error == 0) {
        transaction_lock(transaction->txn);
        pthread_mutex_lock(&db->lock);
        db->settings = transaction->txn->settings;
        db->has_settings = true;
        pthread_mutex_unlock(&db->lock);
        transaction_unlock(transaction->txn);
    }
    quoin_transaction_destroy(transaction);
    return error;
}

quoin_error quoin_transaction_set_read_version(struct quoin_transaction *transaction, int64_t version)
{
    return transaction_set_read_version(transaction->txn, version);
}

quoin_error quoin_transaction_get_committed_version(struct quoin_transaction *transaction, int64_t *ret_version)
{
    if (ret_version == NULL)
        return ERROR_CLIENT_INVALID_OPERATION;
    *ret_version = transaction_committed_version(transaction->txn);
    return 0;
}

struct quoin_future *quoin_transaction_get_approximate_size(struct quoin_transaction *transaction)
{
    struct quoin_future *future = future_make(transaction, FUTURE_NUMBER);

    if (future == NULL)
        return NULL;
    future->number = transaction_approximate_size(transaction->txn);
    return future_finished(future, 0);
}

/* ---- versionstamps ---- */

void transaction_give_stamps(struct quoin_transaction *transaction, uint32_t incarnation, bool others, int error)
{
    struct quoin_future **at = &transaction->stamps, *taken = NULL;

    pthread_mutex_lock(&transaction->lock);
    while (*at != NULL) {
        struct quoin_future *future = *at;

        if ((future->incarnation == incarnation) == others) {
            at = &future->next;
            continue;
        }
        *at = future->next;
        future->next = taken;
        taken = future;
    }
    pthread_mutex_unlock(&transaction->lock);
    while (taken != NULL) {
        struct quoin_future *future = taken;

        taken = future->next;
        future_complete(future, error != 0 ? error : transaction_versionstamp(transaction->txn, future->key));
    }
}

struct quoin_future *quoin_transaction_get_versionstamp(struct quoin_transaction *transaction)
{
    struct quoin_future *future = future_make(transaction, FUTURE_STAMP);

    if (future == NULL)
        return NULL;
    if (transaction_versionstamp(transaction->txn, future->key) == 0)
        return future_finished(future, 0);
    future_ref(future);
    future->incarnation = transaction_incarnation(transaction->txn);
    pthread_mutex_lock(&transaction->lock);
    future->next = transaction->stamps;
    transaction->stamps = future;
    pthread_mutex_unlock(&transaction->lock);
    return future;
}

/* ---- the end of a transaction ---- */

static void commit_done(struct client_call *call)
{
    struct quoin_future *future = container_of(call, struct quoin_future, u.commit);

    transaction_give_stamps(future->transaction, future->incarnation, false, call->error);
    future_complete(future, call->error);
}

static void run_commit(struct submission *submission)
{
    struct quoin_future *future = quoin_future_of(submission);

    future->u.commit.done = commit_done;
    transaction_commit_submit(&future->u.commit, NULL, future->transaction->txn);
}

struct quoin_future *quoin_transaction_commit(struct quoin_transaction *transaction)
{
    struct quoin_future *future = future_make(transaction, FUTURE_COMMIT);

    if (future == NULL)
        return NULL;
    future->incarnation = transaction_incarnation(transaction->txn);
    if (transaction_commit_prepare(&future->u.commit, transaction->txn))
        return future_finished(future, future->u.commit.error);
    return quoin_submit(future, run_commit);
}

static void retry_done(struct client_call *call)
{
    future_complete(container_of(call, struct quoin_future, u.retry.call), call->error);
}

static void run_retry(struct submission *submission)
{
    struct quoin_future *future = quoin_future_of(submission);

    future->u.retry.call.done = retry_done;
    transaction_on_error_submit(&future->u.retry, NULL);
    transaction_give_stamps(future->transaction, transaction_incarnation(future->transaction->txn), true,
                            ERROR_TRANSACTION_CANCELLED);
}

uint64_t quoin_random(struct quoin_network *network)
{
    static __thread uint64_t random;

    if (random == 0)
        random = (uint64_t)(uintptr_t)&random ^ (uint64_t)env_now_us(network_env(network));
    random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return random >> 20;
}

struct quoin_future *quoin_transaction_on_error(struct quoin_transaction *transaction, quoin_error error)
{
    struct quoin_future *future = future_make(transaction, FUTURE_RETRY);

    if (future == NULL)
        return NULL;
    if (transaction_on_error_prepare(&future->u.retry, transaction->txn, error, quoin_random(transaction->db->network)))
        return future_finished(future, future->u.retry.call.error);
    return quoin_submit(future, run_retry);
}

/* ---- the retry loop ---- */

static int wait_for(struct quoin_future *future)
{
    int error = quoin_future_block_until_ready(future);

    if (error == 0)
        error = quoin_future_get_error(future);
    quoin_future_destroy(future);
    return error;
}

quoin_error quoin_run(struct quoin_database *db, quoin_error (*body)(struct quoin_transaction *transaction, void *context),
                      void *context)
{
    struct quoin_transaction *transaction;
    int error = quoin_transaction_create(db, &transaction);
    int refused = 0;
    bool done = false;

    if (error != 0)
        return error;
    if (network_is_this_thread(db->network)) {
        quoin_transaction_destroy(transaction);
        return ERROR_BLOCKED_FROM_NETWORK_THREAD;
    }
    while (!done) {
        error = body(transaction, context);
        if (error == 0)
            error = wait_for(quoin_transaction_commit(transaction));
        refused = error == 0 ? 0 : wait_for(quoin_transaction_on_error(transaction, error));
        done = error == 0 || refused != 0;
    }
    quoin_transaction_destroy(transaction);
    return refused;
}
