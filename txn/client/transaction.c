/* A transaction's state: its life, its read version, back-off and time-out. What it writes is in transaction_write.c, its
 * options in transaction_options.c, its reads in get.c and range.c, its commit in commit.c.
 *
 * The lock guards what an application's thread may touch. Everything that talks to the cluster belongs to the env's thread; a
 * reset made elsewhere raises the incarnation, and the next transaction_sync() there ends what is of an older one. */
#include "txn/client/transaction.h"

#include <assert.h>
#include <stdio.h>

#include "net/planted_bug.h"
#include "txn/client/client_internal.h"
#include "txn/client/mapped.h"
#include "txn/client/special_keys.h"

enum { BACKOFF_US_FIRST = 10000, BACKOFF_MS_MAX = 1000, FUTURE_VERSION_DELAY_US = 10000, RESOURCE_BACKOFF_US_MAX = 30000000 };

static const struct transaction_settings new_settings = {
    .retry_limit = -1, .max_retry_delay_ms = BACKOFF_MS_MAX, .size_limit = TRANSACTION_BYTES_MAX, .api_version = API_VERSION_MAX};

/* ---- life ---- */

static void got_version(struct grv_wait *wait, int error, version_t version, bool locked);
static void timed_out(struct env_timer *timer);

int transaction_create(struct client *client, struct transaction **ret_txn)
{
    struct transaction *txn = mem_zalloc(sizeof(*txn));

    if (txn == NULL)
        return ERROR_OUT_OF_MEMORY;
    txn->client = client;
    pthread_mutex_init(&txn->lock, NULL);
    ryw_init(&txn->ryw);
    txn->read_version = txn->committed_version = VERSION_NONE;
    txn->stamp_error = ERROR_NO_COMMIT_VERSION;
    txn->backoff_us = BACKOFF_US_FIRST;
    txn->settings = txn->defaults = new_settings;
    txn->began_us = env_now_us(client->env);
    txn->grv.got = got_version;
    txn->timeout.fire = timed_out;
    list_init(&txn->ended);
    list_init(&txn->gets);
    list_init(&txn->ranges);
    list_init(&txn->specials);
    list_init(&txn->mappeds);
    list_init(&txn->watches);
    list_init(&txn->queries);
    list_init(&txn->version_waits);
    list_init(&txn->retry_waits);
    *ret_txn = txn;
    return 0;
}

static void end_queries(struct transaction *txn, int error, uint32_t but_incarnation)
{
    struct list kept;

    list_init(&kept);
    while (!list_empty(&txn->queries)) {
        struct transaction_query *query = list_entry(txn->queries.next, struct transaction_query, link);

        if (query->incarnation == but_incarnation) {
            list_remove(&query->link);
            list_push_back(&kept, &query->link);
        } else {
            query_fail(query, error);
        }
    }
    list_splice(&txn->queries, &kept);
}

static void end_specials(struct transaction *txn, int error, uint32_t but_incarnation)
{
    list_each(node, after, &txn->specials) {
        struct special_read *read = list_entry(node, struct special_read, link);

        if (read->incarnation != but_incarnation)
            special_read_fail(read, error);
    }
}

static void end_mappeds(struct transaction *txn, int error, uint32_t but_incarnation)
{
    list_each(node, after, &txn->mappeds) {
        struct transaction_mapped *mapped = list_entry(node, struct transaction_mapped, link);

        if (mapped->incarnation != but_incarnation)
            mapped_fail(mapped, error);
    }
}

/* Ends what is of another incarnation. */
static void end_calls(struct transaction *txn, int error, uint32_t but_incarnation)
{
    struct list kept;

    end_mappeds(txn, error, but_incarnation); /* before the reads that they are made of */
    list_init(&kept);
    while (!list_empty(&txn->ranges)) {
        struct transaction_range *range = list_entry(txn->ranges.next, struct transaction_range, link);

        if (range->incarnation == but_incarnation) {
            list_remove(&range->link);
            list_push_back(&kept, &range->link);
        } else {
            range_fail(range, error);
        }
    }
    list_splice(&txn->ranges, &kept);
    list_each(link, after, &txn->gets) {
        struct transaction_get *get = list_entry(link, struct transaction_get, call.link);

        if (get->incarnation != but_incarnation)
            get_fail(get, error);
    }
    end_queries(txn, error, but_incarnation);
    end_specials(txn, error, but_incarnation);
    watches_end(txn, error, false, but_incarnation);
    list_each(link, after, &txn->version_waits) {
        struct transaction_version *wait = list_entry(link, struct transaction_version, call.link);

        if (wait->incarnation == but_incarnation)
            continue;
        list_remove(link);
        client_call_end(&wait->call, error);
    }
    list_each(link, after, &txn->retry_waits) {
        struct transaction_retry *wait = list_entry(link, struct transaction_retry, call.link);

        if (wait->incarnation == but_incarnation)
            continue;
        list_remove(link);
        env_timer_cancel(txn->client->env, &wait->timer);
        client_call_end(&wait->call, error);
    }
}

static void cancel_all(struct list *calls)
{
    while (!list_empty(calls))
        client_call_cancel(list_entry(calls->next, struct client_call, link));
}

void transaction_destroy(struct transaction *txn)
{
    if (txn == NULL)
        return;
    if (txn->commit_call != NULL)
        client_call_cancel(txn->commit_call);
    commit_cancel(txn);
    while (!list_empty(&txn->mappeds))
        client_call_cancel(&list_entry(txn->mappeds.next, struct transaction_mapped, link)->call);
    while (!list_empty(&txn->ranges))
        client_call_cancel(&list_entry(txn->ranges.next, struct transaction_range, link)->call);
    while (!list_empty(&txn->specials))
        client_call_cancel(&list_entry(txn->specials.next, struct special_read, link)->call);
    while (!list_empty(&txn->queries))
        client_call_cancel(&list_entry(txn->queries.next, struct transaction_query, link)->call);
    while (!list_empty(&txn->watches))
        client_call_cancel(&list_entry(txn->watches.next, struct client_watch, link)->call);
    cancel_all(&txn->gets);
    cancel_all(&txn->version_waits);
    cancel_all(&txn->retry_waits);
    cancel_all(&txn->ended);
    grv_cancel(txn->client, &txn->grv);
    env_timer_cancel(txn->client->env, &txn->timeout);
    mem_free(txn->why);
    ryw_done(&txn->ryw);
    bytes_buffer_done(&txn->mutations);
    bytes_buffer_done(&txn->read_conflicts);
    bytes_buffer_done(&txn->write_conflicts);
    bytes_buffer_done(&txn->special_table);
    bytes_buffer_done(&txn->special_error);
    bytes_buffer_done(&txn->commit.fence);
    bytes_buffer_done(&txn->idempotency_id);
    bytes_buffer_done(&txn->commit.id);
    arena_done(&txn->conflict_arena);
    pthread_mutex_destroy(&txn->lock);
    mem_free(txn);
}

/* A large transaction's memory is not kept for the small ones that follow. */
static void empty_buffer(struct bytes_buffer *buffer)
{
    enum { KEPT_BYTES = 65536 };

    if (buffer->capacity > KEPT_BYTES)
        bytes_buffer_done(buffer);
    buffer->len = 0;
}

/* Everything that an incarnation has, but settings, back-off and clock. Under the lock. */
static void empty(struct transaction *txn)
{
    atomic_store_explicit(&txn->incarnation, transaction_incarnation(txn) + 1, memory_order_release);
    txn->state = TXN_OPEN;
    txn->error = txn->deferred = txn->read_error = 0;
    mem_free(txn->why);
    txn->why = NULL;
    ryw_reset(&txn->ryw);
    empty_buffer(&txn->mutations);
    empty_buffer(&txn->read_conflicts);
    empty_buffer(&txn->write_conflicts);
    txn->special_table.len = txn->special_error.len = 0;
    txn->trace_id = txn->trace_token = txn->size = 0;
    txn->trace_id_set = txn->trace_token_wanted = false;
    txn->no_write_conflict_next = txn->ryw_off = txn->system_write = txn->system_read = txn->raw_access = false;
    txn->lock_aware = txn->read_lock_aware = txn->causal_write_risky = txn->touched = false;
    txn->include_port = txn->special_relaxed = txn->special_writes = txn->special_system = txn->use_grv_cache = txn->has_identifier = false;
    txn->tags.count = 0;
    txn->auto_tags = 0;
    txn->idempotency_id.len = 0;
    txn->conflict_count = PLANTED_BUG(CONFLICTS_KEPT) ? txn->conflict_count : 0;
    txn->grv_class = 0;
    txn->read_version = txn->committed_version = VERSION_NONE;
    txn->stamp_error = ERROR_NO_COMMIT_VERSION;
    txn->sync_wanted = true;
}

int transaction_failure(const struct transaction *txn)
{
    if (txn->error != 0)
        return txn->error;
    if (txn->state != TXN_OPEN && !txn->settings.used_during_commit_off)
        return ERROR_USED_DURING_COMMIT;
    return txn->deferred;
}

int transaction_check_read(const struct transaction *txn, struct bytes key, bool range_end)
{
    struct bytes end = txn->system_read || txn->raw_access ? KEY_SYSTEM_END : KEY_SYSTEM_BEGIN;
    int order = bytes_compare(key, end);

    if (order < 0 || (range_end && order == 0) || bytes_equal(key, KEY_METADATA_VERSION))
        return 0;
    return ERROR_KEY_OUTSIDE_LEGAL_RANGE;
}

/* Under the lock: as new, but for the facts of its commit. What programs before API version 410 expect. */
void transaction_reset_committed(struct transaction *txn)
{
    version_t committed = txn->committed_version;
    int stamp_error = txn->stamp_error;

    txn->settings = txn->defaults;
    txn->backoff_us = BACKOFF_US_FIRST;
    txn->retries = 0;
    txn->began_us = env_now_us(txn->client->env);
    empty(txn);
    txn->tag_throttled_us = 0;
    txn->committed_version = committed;
    txn->stamp_error = stamp_error;
}

void transaction_reset_mark(struct transaction *txn)
{
    transaction_lock(txn);
    txn->settings = txn->defaults;
    txn->backoff_us = BACKOFF_US_FIRST;
    txn->retries = 0;
    txn->began_us = env_now_us(txn->client->env);
    txn->tag_throttled_us = 0;
    empty(txn);
    transaction_unlock(txn);
}

void transaction_cancel_mark(struct transaction *txn)
{
    transaction_lock(txn);
    if (txn->error == 0)
        txn->error = ERROR_TRANSACTION_CANCELLED;
    atomic_store_explicit(&txn->incarnation, transaction_incarnation(txn) + 1, memory_order_release);
    txn->sync_wanted = true;
    transaction_unlock(txn);
}

bool transaction_wants_sync(struct transaction *txn)
{
    bool wanted;

    transaction_lock(txn);
    wanted = txn->sync_wanted;
    transaction_unlock(txn);
    return wanted;
}

void transaction_reset(struct transaction *txn)
{
    transaction_reset_mark(txn);
    transaction_sync(txn);
}

void transaction_cancel(struct transaction *txn)
{
    transaction_cancel_mark(txn);
    transaction_sync(txn);
}

static void arm_timeout(struct transaction *txn, int64_t timeout_ms, int64_t began_us)
{
    struct env *env = txn->client->env;

    if (timeout_ms > 0)
        env_timer_start(env, &txn->timeout, began_us + timeout_ms * 1000);
    else
        env_timer_cancel(env, &txn->timeout);
}

void transaction_sync(struct transaction *txn)
{
    uint32_t incarnation;
    int64_t timeout_ms, began_us;
    int error;

    transaction_lock(txn);
    incarnation = transaction_incarnation(txn);
    error = txn->error != 0 ? txn->error : ERROR_TRANSACTION_CANCELLED;
    timeout_ms = txn->error == 0 ? txn->settings.timeout_ms : 0;
    began_us = txn->began_us;
    txn->sync_wanted = false;
    transaction_unlock(txn);
    arm_timeout(txn, timeout_ms, began_us);
    if (!list_empty(&txn->watches))
        watches_look_at_writes(txn);
    if (incarnation == txn->synced_incarnation)
        return;
    txn->synced_incarnation = incarnation;
    grv_cancel(txn->client, &txn->grv);
    txn->grv_under_way = false;
    txn->grv_error = 0;
    if (txn->commit_call != NULL) {
        struct client_call *call = txn->commit_call;

        txn->commit_call = NULL;
        client_call_end(call, error);
        commit_cancel(txn);
    }
    end_calls(txn, error, incarnation);
}

void transaction_begun(struct transaction *txn, uint32_t incarnation)
{
    int error;

    if (incarnation == txn->synced_incarnation)
        return; /* a reset since then comes by itself; who is asked for from inside a call must not be ended by it here */
    transaction_sync(txn);
    if (incarnation == txn->synced_incarnation)
        return;
    transaction_lock(txn);
    error = txn->error != 0 ? txn->error : ERROR_TRANSACTION_CANCELLED;
    transaction_unlock(txn);
    end_calls(txn, error, txn->synced_incarnation);
}

static void timed_out(struct env_timer *timer)
{
    struct transaction *txn = container_of(timer, struct transaction, timeout);

    char *why = mem_alloc(WHY_BYTES_MAX);

    if (why != NULL)
        client_explain(txn->client, why, WHY_BYTES_MAX);
    transaction_lock(txn);
    if (txn->error == 0)
        txn->error = ERROR_TRANSACTION_TIMED_OUT;
    mem_free(txn->why);
    txn->why = why;
    atomic_store_explicit(&txn->incarnation, transaction_incarnation(txn) + 1, memory_order_release);
    transaction_unlock(txn);
    transaction_sync(txn);
}

/* ---- the read version ---- */

static void fail_version(struct transaction *txn, int error)
{
    txn->grv_error = error;
    while (!list_empty(&txn->version_waits))
        client_call_end(list_entry(list_pop_front(&txn->version_waits), struct client_call, link), error);
    list_each(link, after, &txn->gets) {
        struct transaction_get *get = list_entry(link, struct transaction_get, call.link);

        if (get->version == VERSION_NONE)
            get_fail(get, error);
    }
    list_each(link, after, &txn->ranges)
        range_version_known(list_entry(link, struct transaction_range, link));
    commit_version_known(txn);
}

static void give_version(struct transaction *txn, version_t version)
{
    while (!list_empty(&txn->version_waits)) {
        struct transaction_version *wait =
            list_entry(list_pop_front(&txn->version_waits), struct transaction_version, call.link);

        wait->version = version;
        client_call_end(&wait->call, 0);
    }
    list_each(link, after, &txn->gets) {
        struct transaction_get *get = list_entry(link, struct transaction_get, call.link);

        if (get->version == VERSION_NONE)
            get_version_known(get, version);
    }
    list_each(link, after, &txn->ranges)
        range_version_known(list_entry(link, struct transaction_range, link));
    commit_version_known(txn);
}

static void got_version(struct grv_wait *wait, int error, version_t version, bool locked)
{
    struct transaction *txn = container_of(wait, struct transaction, grv);
    bool current;

    txn->grv_under_way = false;
    transaction_lock(txn);
    current = txn->synced_incarnation == transaction_incarnation(txn);
    txn->tag_throttled_us += wait->tag_wait_us;
    if (error == 0 && locked && !txn->lock_aware && !txn->read_lock_aware)
        error = ERROR_DATABASE_LOCKED;
    if (current && error == 0) {
        if (txn->read_version == VERSION_NONE)
            txn->read_version = version;
        version = txn->read_version;
    }
    transaction_unlock(txn);
    if (!current)
        transaction_sync(txn);
    else if (error != 0)
        fail_version(txn, error);
    else
        give_version(txn, version);
}

/* A version that was asked for a moment ago may be read at. Under the lock. */
static bool cache_serves(const struct transaction *txn)
{
    const struct client *client = txn->client;

    if (client->cached_version == VERSION_NONE ||
        (client->env->turn_us - client->cached_us > GRV_CACHE_US_MAX && !PLANTED_BUG(GRV_CACHE_KEPT)))
        return false;
    return !client->cached_locked || txn->lock_aware || txn->read_lock_aware;
}

/* What this client was told since is committed as well, and must be seen: its own commits, and what it has read. */
static version_t cached_version(const struct client *client)
{
    return client->cached_version > client->newest_told ? client->cached_version : client->newest_told;
}

bool transaction_version_or_ask(struct transaction *txn, version_t *ret_version)
{
    bool known;

    transaction_lock(txn);
    if (txn->read_version == VERSION_NONE && txn->use_grv_cache && cache_serves(txn))
        txn->read_version = cached_version(txn->client);
    known = txn->read_version != VERSION_NONE;
    *ret_version = txn->read_version;
    if (!txn->grv_under_way) {
        txn->grv.grv_class = txn->grv_class;
        txn->grv.tags = txn->tags;
    }
    transaction_unlock(txn);
    if (known || txn->grv_under_way)
        return known;
    txn->grv_under_way = true;
    grv_ask(txn->client, &txn->grv);
    return false;
}

static void version_cancelled(struct client_call *call)
{
    list_remove(&call->link);
}

void transaction_read_version_prepare(struct transaction_version *version, struct transaction *txn)
{
    version->txn = txn;
    version->incarnation = transaction_incarnation(txn);
}

void transaction_read_version_start(struct transaction_version *version, struct op *op, struct transaction *txn)
{
    transaction_read_version_prepare(version, txn);
    transaction_read_version_submit(version, op);
}

void transaction_read_version_submit(struct transaction_version *version, struct op *op)
{
    struct transaction *txn = version->txn;
    int error;

    transaction_call_begin(txn, &version->call, op, version_cancelled);
    list_push_back(&txn->version_waits, &version->call.link);
    transaction_begun(txn, version->incarnation);
    if (!version->call.under_way)
        return;
    list_remove(&version->call.link);
    transaction_lock(txn);
    error = transaction_failure(txn);
    if (error == ERROR_USED_DURING_COMMIT && txn->read_version != VERSION_NONE)
        error = 0;
    transaction_unlock(txn);
    if (error == 0)
        error = txn->grv_error;
    if (error != 0 || transaction_version_or_ask(txn, &version->version))
        client_call_end(&version->call, error);
    else
        list_push_back(&txn->version_waits, &version->call.link);
}

bool transaction_is_reading(const struct transaction *txn)
{
    return !list_empty(&txn->gets) || !list_empty(&txn->ranges) || !list_empty(&txn->mappeds) || txn->watches_reading > 0;
}

void transaction_reads_changed(struct transaction *txn)
{
    if (!transaction_is_reading(txn))
        commit_reads_over(txn);
}

/* FoundationDB's: without read-your-writes a commit does not look at the reads. */
void transaction_read_failed(struct transaction *txn, uint32_t incarnation, int error)
{
    transaction_lock(txn);
    if (error == ERROR_FUTURE_VERSION && incarnation == transaction_incarnation(txn))
        client_doubt_version(txn->client, txn->read_version);
    if (incarnation == transaction_incarnation(txn) && txn->read_error == 0 && !txn->ryw_off)
        txn->read_error = error;
    transaction_unlock(txn);
    commit_reads_over(txn);
}

/* ---- trying again ---- */

static int64_t min_of(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* FoundationDB's rule: the delay is drawn below the back-off, which then doubles. Under the lock. */
static int64_t draw_delay(struct transaction *txn, int error, uint64_t random)
{
    int64_t max_us = txn->settings.max_retry_delay_ms * 1000, delay_us;

    if (error == ERROR_TRANSACTION_TOO_OLD || error == ERROR_FUTURE_VERSION)
        return min_of(FUTURE_VERSION_DELAY_US, max_us);
    if (error == ERROR_COMMIT_PROXY_MEMORY_LIMIT_EXCEEDED || error == ERROR_GRV_PROXY_MEMORY_LIMIT_EXCEEDED)
        max_us = RESOURCE_BACKOFF_US_MAX;
    delay_us = min_of(txn->backoff_us, max_us);
    delay_us = (int64_t)(random % (uint64_t)(delay_us + 1));
    if (error == ERROR_TAG_THROTTLED)
        txn->tag_throttled_us += delay_us;
    txn->backoff_us = min_of(txn->backoff_us * 2, max_us);
    return delay_us;
}

/* The options that live through on_error are time-out, retry limit and maximum delay; before API version 610 none did. */
static void empty_for_retry(struct transaction *txn)
{
    struct transaction_settings kept = txn->settings;

    txn->settings = txn->defaults;
    if (kept.api_version < 610) {
        empty(txn);
        return;
    }
    txn->settings.timeout_ms = kept.timeout_ms;
    txn->settings.retry_limit = kept.retry_limit;
    txn->settings.max_retry_delay_ms = kept.max_retry_delay_ms;
    empty(txn);
}

bool transaction_on_error_prepare(struct transaction_retry *retry, struct transaction *txn, int error, uint64_t random)
{
    int result = 0;

    transaction_lock(txn);
    if (txn->error != 0)
        result = txn->error;
    else if (error == 0)
        result = ERROR_CLIENT_INVALID_OPERATION;
    else if (!error_is_retryable(error) || (txn->settings.retry_limit >= 0 && txn->retries >= txn->settings.retry_limit))
        result = error;
    if (result != 0 && txn->settings.api_version >= 610)
        txn->error = result;
    if (result == 0) {
        txn->retries++;
        retry->delay_us = draw_delay(txn, error, random);
        empty_for_retry(txn);
    }
    retry->txn = txn;
    retry->incarnation = transaction_incarnation(txn);
    transaction_unlock(txn);
    retry->call.error = result;
    return result != 0;
}

static void retry_fired(struct env_timer *timer)
{
    struct transaction_retry *retry = container_of(timer, struct transaction_retry, timer);

    list_remove(&retry->call.link);
    client_call_end(&retry->call, 0);
}

static void retry_cancelled(struct client_call *call)
{
    struct transaction_retry *retry = container_of(call, struct transaction_retry, call);

    list_remove(&call->link);
    env_timer_cancel(call->env, &retry->timer);
}

void transaction_on_error_submit(struct transaction_retry *retry, struct op *op)
{
    struct transaction *txn = retry->txn;
    struct env *env = txn->client->env;

    transaction_call_begin(txn, &retry->call, op, retry_cancelled);
    list_push_back(&txn->retry_waits, &retry->call.link);
    retry->timer.fire = retry_fired;
    env_timer_start(env, &retry->timer, env_now_us(env) + retry->delay_us);
    transaction_sync(txn);
    transaction_begun(txn, retry->incarnation);
}

void transaction_on_error_start(struct transaction_retry *retry, struct op *op, struct transaction *txn, int error)
{
    if (!transaction_on_error_prepare(retry, txn, error, env_random(txn->client->env))) {
        transaction_on_error_submit(retry, op);
        return;
    }
    error = retry->call.error;
    transaction_call_begin(txn, &retry->call, op, retry_cancelled);
    client_call_end(&retry->call, error);
}

/* ---- facts ---- */

char *transaction_explain(struct transaction *txn, char *out, size_t size)
{
    transaction_lock(txn);
    snprintf(out, size, "%s", txn->why == NULL ? "" : txn->why);
    transaction_unlock(txn);
    return out;
}

int transaction_set_read_version(struct transaction *txn, version_t version)
{
    int error;

    transaction_lock(txn);
    error = transaction_failure(txn);
    if (error == 0 && version <= 0)
        error = ERROR_VERSION_INVALID;
    if (error == 0 && txn->read_version != VERSION_NONE)
        error = ERROR_READ_VERSION_ALREADY_SET;
    if (error == 0)
        txn->read_version = version;
    transaction_unlock(txn);
    return error;
}

version_t transaction_committed_version(struct transaction *txn)
{
    version_t version;

    transaction_lock(txn);
    version = txn->committed_version;
    transaction_unlock(txn);
    return version;
}

int transaction_versionstamp(struct transaction *txn, uint8_t ret_stamp[VERSIONSTAMP_BYTES])
{
    int error;

    transaction_lock(txn);
    error = txn->stamp_error;
    if (error == 0)
        mutation_versionstamp(txn->committed_version, txn->stamp_order, ret_stamp);
    transaction_unlock(txn);
    return error;
}

int64_t transaction_tag_throttled_us(struct transaction *txn)
{
    int64_t throttled_us;

    transaction_lock(txn);
    throttled_us = txn->tag_throttled_us;
    transaction_unlock(txn);
    return throttled_us;
}

int64_t transaction_approximate_size(struct transaction *txn)
{
    int64_t size;

    transaction_lock(txn);
    size = (int64_t)txn->size;
    transaction_unlock(txn);
    return size;
}
