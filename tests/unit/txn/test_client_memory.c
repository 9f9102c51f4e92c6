/* Allocations of the client fail one by one, through each of its calls: an error, never a crash, a hang or a leak.
 *
 * The servers are a process of their own, so that what fails is the client's. */
#include <stdio.h>

#include "tests/unit/nth.h"
#include "tests/unit/txn/client_apart.h"
#include "txn/client/include/quoin/layers.h"
#include "txn/client/include/quoin/quoin.h"

/* ---- the client on an env: one thread, so that the n-th is the same in every run ---- */

static int read_some(struct fakes *ours, struct transaction *txn)
{
    struct transaction_range range = {.call.done = call_done};
    struct transaction_range_options options = {.limit = 10};
    struct transaction_get read = {0};
    int error = get(ours, txn, "key", &read);

    if (error == 0)
        error = get(ours, txn, "zebra", &read);
    transaction_get_done(&read);
    if (error == 0) {
        transaction_range_start(&range, NULL, txn, SELECT_FIRST_AFTER(BYTES_LITERAL("a")), SELECT_LAST_BEFORE(BYTES_LITERAL("z")), &options);
        error = await(ours, &range.call);
        transaction_range_done(&range);
    }
    return error;
}

static int write_some(struct transaction *txn)
{
    uint8_t number[8] = {1};
    int error = transaction_set(txn, BYTES_LITERAL("key"), BYTES_LITERAL("value"));

    if (error == 0)
        error = transaction_clear_range(txn, BYTES_LITERAL("b"), BYTES_LITERAL("c"));
    if (error == 0)
        error = transaction_atomic(txn, MUTATION_ADD, BYTES_LITERAL("zebra"), bytes_of(number, sizeof(number)));
    if (error == 0)
        error = transaction_add_conflict_range(txn, CONFLICT_READ, BYTES_LITERAL("d"), BYTES_LITERAL("e"));
    return error;
}

static int transact(struct fakes *ours)
{
    struct transaction *txn;
    int error = transaction_create(ours->client, &txn);

    if (error != 0)
        return error;
    error = read_some(ours, txn);
    if (error == 0)
        error = write_some(txn);
    if (error == 0)
        error = read_some(ours, txn); /* now over its own writes */
    if (error == 0)
        error = commit(ours, txn);
    transaction_destroy(txn);
    return error;
}

Test(client_memory, every_call_of_a_client_returns_the_error, .timeout = 120)
{
    struct apart apart = serve_apart();
    unsigned refused = 0;

    FAIL_EACH(nth, nth_allocation) {
        struct env_posix_options env_options = {0};
        struct client_options options = {.coordinators = &apart.address, .coordinator_count = 1};
        struct fakes ours = {0}; /* the client's side of it */
        int error;

        cr_assert_eq(env_posix_create(&env_options, &ours.env), 0);
        nth_begin(&nth, NULL);
        error = client_create(ours.env, &options, &ours.client);
        if (error == 0)
            error = transact(&ours);
        nth_end(&nth);
        refused += error == ERROR_OUT_OF_MEMORY;
        /* Without memory for the rpc's own, the connection is closed: then a commit is not known to have failed. */
        cr_assert(error == 0 || (nth.fired && (error == ERROR_OUT_OF_MEMORY || error == ERROR_COMMIT_UNKNOWN_RESULT)), "%lu: %d",
                  nth.n, error);
        client_destroy(ours.client);
        env_posix_destroy(ours.env);
    }
    cr_assert_gt(refused, 20);
    end_apart(&apart);
}

/* ---- the public library: a network thread beside the caller's ---- */

static int end_of(struct quoin_future *future)
{
    int error = quoin_future_block_until_ready(future);

    return error != 0 ? error : quoin_future_get_error(future);
}

static int finish(struct quoin_future *future)
{
    int error = end_of(future);

    quoin_future_destroy(future);
    return error;
}

static int read_with(struct quoin_transaction *transaction)
{
    struct quoin_range_options options = {.limit = 10, .mode = QUOIN_MODE_EXACT};
    int error = finish(quoin_transaction_get_read_version(transaction));

    if (error == 0)
        error = finish(quoin_transaction_get(transaction, "key", 3, false));
    if (error == 0)
        error = finish(quoin_transaction_get_range(transaction, QUOIN_FIRST_AT_OR_AFTER("a", 1), QUOIN_FIRST_AT_OR_AFTER("z", 1), options));
    if (error == 0)
        error = finish(quoin_transaction_get_approximate_size(transaction));
    return error;
}

static int write_and_commit(struct quoin_transaction *transaction)
{
    struct quoin_future *stamp = quoin_transaction_get_versionstamp(transaction);
    int error = quoin_transaction_set(transaction, "key", 3, "value", 5);

    if (error == 0)
        error = quoin_transaction_atomic(transaction, QUOIN_ADD, "zebra", 5, "\1\0\0\0\0\0\0\0", 8);
    if (error == 0)
        error = quoin_transaction_add_conflict_range(transaction, QUOIN_CONFLICT_READ, "d", 1, "e", 1);
    if (error == 0)
        error = finish(quoin_transaction_commit(transaction));
    if (error == 0)
        error = end_of(stamp);
    quoin_future_destroy(stamp);
    return error;
}

/* Opens the cluster, does `what` in a transaction, closes all. */
static int use_library(const char *cluster, int (*what)(struct quoin_transaction *transaction))
{
    struct quoin_database *db = NULL;
    struct quoin_transaction *transaction = NULL;
    int error = quoin_open_text(cluster, &db);

    if (error == 0)
        error = quoin_transaction_create(db, &transaction);
    if (error == 0)
        error = what(transaction);
    quoin_transaction_destroy(transaction);
    quoin_database_destroy(db);
    quoin_network_stop();
    return error;
}

static void fail_each_allocation_of(int (*what)(struct quoin_transaction *transaction))
{
    struct apart apart = serve_apart();
    char cluster[64];
    unsigned refused = 0;

    snprintf(cluster, sizeof(cluster), "a:b@127.0.0.1:%u", apart.address.port);
    FAIL_EACH(nth, nth_allocation) {
        int error;

        nth_begin(&nth, NULL);
        error = use_library(cluster, what);
        nth_end(&nth);
        refused += error == QUOIN_ERROR_OUT_OF_MEMORY;
        cr_assert(error == 0 || (nth.fired && (error == QUOIN_ERROR_OUT_OF_MEMORY || error == QUOIN_ERROR_COMMIT_UNKNOWN_RESULT)),
                  "%lu: %d", nth.n, error);
    }
    cr_assert_gt(refused, 20);
    end_apart(&apart);
}

static int use_transaction(struct quoin_transaction *transaction)
{
    int error = read_with(transaction);

    if (error == 0)
        error = write_and_commit(transaction);
    if (error == 0)
        error = finish(quoin_transaction_on_error(transaction, QUOIN_ERROR_NOT_COMMITTED));
    return error;
}

Test(client_memory, every_call_of_the_library_returns_the_error, .timeout = 120)
{
    fail_each_allocation_of(use_transaction);
}

/* ---- the layers ---- */

static int use_directory(struct quoin_transaction *transaction, struct quoin_directory *root, struct quoin_subspace *ret_subspace)
{
    struct quoin_directory *made = NULL, *moved = NULL;
    struct quoin_names *names = NULL;
    bool exists;
    int error = quoin_directory_create_or_open(transaction, root, QUOIN_PATH(QUOIN_TEXT("a"), QUOIN_TEXT("b")), "layer", 5, &made);

    if (error == 0)
        error = quoin_directory_exists(transaction, root, QUOIN_PATH(QUOIN_TEXT("a")), &exists);
    if (error == 0)
        error = quoin_directory_list(transaction, root, QUOIN_PATH(QUOIN_TEXT("a")), &names);
    if (error == 0)
        error = quoin_directory_move(transaction, root, QUOIN_PATH(QUOIN_TEXT("a"), QUOIN_TEXT("b")), QUOIN_PATH(QUOIN_TEXT("c")), &moved);
    if (error == 0)
        error = quoin_directory_subspace(moved, ret_subspace);
    if (error == 0)
        error = quoin_directory_remove(transaction, root, QUOIN_PATH(QUOIN_TEXT("a")), &exists);
    quoin_names_destroy(names);
    quoin_directory_destroy(made);
    quoin_directory_destroy(moved);
    return error;
}

static int use_counter(struct quoin_transaction *transaction, const struct quoin_subspace *subspace, const struct quoin_tuple *tuple)
{
    int64_t number;
    int error = quoin_counter_add(transaction, subspace, 5);

    (void)tuple;
    return error == 0 ? quoin_counter_get(transaction, subspace, false, &number) : error;
}

static int use_multimap(struct quoin_transaction *transaction, const struct quoin_subspace *subspace, const struct quoin_tuple *tuple)
{
    int64_t number;
    bool existed;
    int error = quoin_multimap_add(transaction, subspace, tuple, tuple);

    if (error == 0)
        error = quoin_multimap_count(transaction, subspace, tuple, tuple, &number);
    return error == 0 ? quoin_multimap_remove(transaction, subspace, tuple, tuple, &existed) : error;
}

static int use_blob(struct quoin_transaction *transaction, const struct quoin_subspace *subspace, const struct quoin_tuple *tuple)
{
    uint8_t read[10];
    int length, error = quoin_blob_write(transaction, subspace, 10, "bytes", 5);

    (void)tuple;
    if (error == 0)
        error = quoin_blob_read(transaction, subspace, 5, read, sizeof(read), &length);
    return error == 0 ? quoin_blob_truncate(transaction, subspace, 3) : error;
}

static int use_queue(struct quoin_transaction *transaction, const struct quoin_subspace *subspace, const struct quoin_tuple *tuple)
{
    struct quoin_buffer item = {0};
    bool present;
    int error = quoin_queue_peek(transaction, subspace, &present, &item);

    (void)tuple;
    quoin_buffer_done(&item);
    return error == 0 ? quoin_queue_push(transaction, subspace, 0, "item", 4) : error;
}

static quoin_error first_byte(void *context, struct quoin_slice key, struct quoin_slice record, struct quoin_index_entries *entries)
{
    struct quoin_tuple entry = {0};
    int error;

    (void)context, (void)key;
    quoin_tuple_add_bytes(&entry, record.data, 1);
    error = quoin_index_add(entries, &entry);
    quoin_tuple_done(&entry);
    return error;
}

static quoin_error see_record(void *context, const struct quoin_record *record)
{
    (void)context, (void)record;
    return 0;
}

static int use_records(struct quoin_transaction *transaction, const struct quoin_subspace *subspace, const struct quoin_tuple *key)
{
    struct quoin_record_index index = {.name = "first", .extract = first_byte};
    struct quoin_records records = {subspace, &index, 1};
    struct quoin_query query = {.index = "first"};
    struct quoin_buffer record = {0};
    bool present;
    int error = quoin_records_put(transaction, &records, key, "record", 6);

    if (error == 0)
        error = quoin_records_get(transaction, &records, key, &present, &record);
    if (error == 0)
        error = quoin_records_query(transaction, &records, &query, see_record, NULL);
    if (error == 0)
        error = quoin_records_remove(transaction, &records, key, &present);
    quoin_buffer_done(&record);
    return error;
}

static int use_layers(struct quoin_transaction *transaction)
{
    static int (*const uses[])(struct quoin_transaction *, const struct quoin_subspace *, const struct quoin_tuple *) = {
        use_counter, use_multimap, use_blob, use_queue, use_records};
    struct quoin_directory *root = NULL;
    struct quoin_subspace all = {0};
    int error = quoin_directory_root(NULL, NULL, false, &root);

    if (error == 0)
        error = use_directory(transaction, root, &all);
    for (size_t i = 0; error == 0 && i < sizeof(uses) / sizeof(uses[0]); i++) {
        struct quoin_subspace own = {0};
        struct quoin_tuple tuple = {0};

        quoin_tuple_add_int(&tuple, (int64_t)i);
        error = quoin_subspace_init_tuple(&own, &all, &tuple); /* says what the tuple met, too */
        if (error == 0)
            error = uses[i](transaction, &own, &tuple);
        quoin_tuple_done(&tuple);
        quoin_subspace_done(&own);
    }
    quoin_subspace_done(&all);
    quoin_directory_destroy(root);
    return error;
}

Test(client_memory, every_call_of_the_layers_returns_the_error, .timeout = 120)
{
    fail_each_allocation_of(use_layers);
}
