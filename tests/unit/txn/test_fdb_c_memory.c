/* Allocations fail one by one through the FoundationDB C API: a code, never a crash, a hang or a leak. */
#include <pthread.h>
#include <stdio.h>

#include "tests/unit/nth.h"
#include "tests/unit/txn/client_apart.h"
#define FDB_API_VERSION 730
#include "txn/fdb_c/include/foundationdb/fdb_c.h"

enum { OUT_OF_MEMORY = 1501, UNKNOWN_RESULT = 1021 };

static const uint8_t *B(const char *text)
{
    return (const uint8_t *)text;
}

static fdb_error_t end_of(FDBFuture *f)
{
    fdb_error_t error = fdb_future_block_until_ready(f);

    if (error == 0)
        error = fdb_future_get_error(f);
    fdb_future_destroy(f);
    return error;
}

static void never(FDBFuture *f, void *context)
{
    (void)f, (void)context;
}

/* What the index has, each with what the key ("r",) has; and keys that only the client knows. */
static fdb_error_t read_more(FDBTransaction *tr)
{
    static const char settings[] = "\xff\xff/management/data_distribution/", settings_end[] = "\xff\xff/management/data_distribution0";
    fdb_error_t error = end_of(fdb_transaction_get_mapped_range(
        tr, FDB_KEYSEL_FIRST_GREATER_OR_EQUAL(B("a"), 1), FDB_KEYSEL_FIRST_GREATER_OR_EQUAL(B("z"), 1), B("\x01r\0"), 3, 0, 0,
        FDB_STREAMING_MODE_WANT_ALL, 0, 0, 0));

    if (error == 0)
        error = end_of(fdb_transaction_get(tr, B("\xff\xff/tracing/token"), 15, 0));
    if (error == 0)
        error = end_of(fdb_transaction_get_range(tr, FDB_KEYSEL_FIRST_GREATER_OR_EQUAL(B(settings), (int)sizeof(settings) - 1),
                                                 FDB_KEYSEL_FIRST_GREATER_OR_EQUAL(B(settings_end), (int)sizeof(settings_end) - 1), 0, 0,
                                                 FDB_STREAMING_MODE_WANT_ALL, 0, 0, 0));
    return error;
}

static fdb_error_t read_some(FDBTransaction *tr)
{
    FDBFuture *f = fdb_transaction_get(tr, B("key"), 3, 0);
    const FDBKeyValue *pairs;
    fdb_bool_t more;
    int count;
    fdb_error_t error = end_of(fdb_transaction_get_read_version(tr));

    if (fdb_future_set_callback(f, never, NULL) != 0)
        return fdb_future_destroy(f), ERROR_OPERATION_FAILED;
    if (error == 0)
        error = end_of(f);
    else
        fdb_future_destroy(f);
    if (error != 0)
        return error;
    f = fdb_transaction_get_range(tr, FDB_KEYSEL_FIRST_GREATER_OR_EQUAL(B("a"), 1), FDB_KEYSEL_LAST_LESS_THAN(B("z"), 1) + 1, 10, 0,
                                  FDB_STREAMING_MODE_ITERATOR, 1, 0, 0);
    error = fdb_future_block_until_ready(f);
    if (error == 0)
        error = fdb_future_get_keyvalue_array(f, &pairs, &count, &more);
    fdb_future_release_memory(f);
    fdb_future_destroy(f);
    if (error == 0)
        error = end_of(fdb_transaction_get_addresses_for_key(tr, B("key"), 3));
    if (error == 0)
        error = end_of(fdb_transaction_get_approximate_size(tr));
    if (error == 0)
        error = read_more(tr);
    return error;
}

/* Writes return nothing: what they met shows at the commit. */
static fdb_error_t write_some(FDBTransaction *tr)
{
    FDBFuture *stamp = fdb_transaction_get_versionstamp(tr), *watch;
    int64_t limit = 5;
    fdb_error_t error = fdb_transaction_set_option(tr, FDB_TR_OPTION_RETRY_LIMIT, (const uint8_t *)&limit, sizeof(limit));

    fdb_transaction_set(tr, B("key"), 3, B("value"), 5);
    fdb_transaction_clear_range(tr, B("b"), 1, B("c"), 1);
    fdb_transaction_atomic_op(tr, B("zebra"), 5, B("\1\0\0\0"), 4, FDB_MUTATION_TYPE_ADD);
    watch = fdb_transaction_watch(tr, B("watched"), 7);
    if (error == 0)
        error = fdb_transaction_add_conflict_range(tr, B("d"), 1, B("e"), 1, FDB_CONFLICT_RANGE_TYPE_READ);
    if (error == 0)
        error = end_of(fdb_transaction_commit(tr));
    if (error == 0)
        error = fdb_future_block_until_ready(stamp);
    fdb_future_destroy(stamp);
    fdb_future_destroy(watch);
    if (error == 0)
        error = end_of(fdb_transaction_on_error(tr, 1020));
    return error;
}

static fdb_error_t use_all(const char *cluster)
{
    FDBDatabase *db = NULL;
    FDBTransaction *tr = NULL;
    fdb_error_t error = fdb_create_database_from_connection_string(cluster, &db);

    if (error == 0)
        error = end_of(fdb_database_get_client_status(db));
    if (error == 0)
        error = fdb_database_create_transaction(db, &tr);
    if (error == 0)
        error = read_some(tr);
    if (error == 0)
        error = write_some(tr);
    fdb_transaction_destroy(tr);
    fdb_database_destroy(db);
    return error;
}

static void *run_network(void *context)
{
    (void)context;
    cr_assert_eq(fdb_run_network(), 0);
    return NULL;
}

Test(fdb_c_memory, every_call_returns_the_error, .timeout = 120)
{
    struct apart apart = serve_apart();
    unsigned refused = 0;
    pthread_t network;
    char cluster[64];

    snprintf(cluster, sizeof(cluster), "a:b@127.0.0.1:%u", apart.address.port);
    cr_assert_eq(fdb_select_api_version(FDB_API_VERSION), 0);
    cr_assert_eq(fdb_setup_network(), 0);
    cr_assert_eq(pthread_create(&network, NULL, run_network, NULL), 0);
    FAIL_EACH(nth, nth_allocation) {
        fdb_error_t error;

        nth_begin(&nth, NULL);
        error = use_all(cluster);
        nth_end(&nth);
        refused += error == OUT_OF_MEMORY;
        cr_assert(error == 0 || (nth.fired && (error == OUT_OF_MEMORY || error == UNKNOWN_RESULT)), "%lu: %d", nth.n, error);
    }
    cr_assert_gt(refused, 20);
    cr_assert_eq(fdb_stop_network(), 0);
    pthread_join(network, NULL);
    end_apart(&apart);
}

/* Before there is a network: a process of its own each, for it is set up but once. */
Test(fdb_c_memory, a_network_that_can_not_be_set_up_says_so, .timeout = 60)
{
    cr_assert_eq(fdb_select_api_version(FDB_API_VERSION), 0);
    FAIL_EACH(nth, nth_allocation) {
        fdb_error_t error;

        nth_begin(&nth, NULL);
        error = fdb_setup_network();
        nth_end(&nth);
        cr_assert(error == 0 ? !nth.fired : error == OUT_OF_MEMORY, "%lu: %d", nth.n, error);
    }
    cr_assert_eq(fdb_stop_network(), 0);
}
