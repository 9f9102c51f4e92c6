/* Allocations of the client fail one by one, through each of its calls: an error, never a crash, a hang or a leak.
 *
 * The servers are a process of their own, so that what fails is the client's. */
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/nth.h"
#include "tests/unit/txn/client_fakes.h"
#include "txn/client/include/quoin/quoin.h"

/* ---- the servers ---- */

struct apart {
    pid_t pid;
    struct address address;
};

static void serve(int ready)
{
    struct env_posix_options options = {0};
    struct fakes fakes;
    struct env *env;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (env_posix_create(&options, &env) != 0)
        _exit(1);
    fakes_serve(&fakes, env);
    if (write(ready, &fakes.address, sizeof(fakes.address)) != sizeof(fakes.address))
        _exit(1);
    for (;;)
        env_posix_run(env);
}

static struct apart serve_apart(void)
{
    struct apart apart;
    int ready[2];

    cr_assert_eq(pipe(ready), 0);
    apart.pid = fork();
    cr_assert_geq(apart.pid, 0);
    if (apart.pid == 0)
        serve(ready[1]);
    cr_assert_eq(read(ready[0], &apart.address, sizeof(apart.address)), (ssize_t)sizeof(apart.address));
    close(ready[0]);
    close(ready[1]);
    return apart;
}

static void end_apart(struct apart *apart)
{
    kill(apart->pid, SIGKILL);
    waitpid(apart->pid, NULL, 0);
}

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
        struct client_options options = {&apart.address, 1, NULL};
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

static int use_library(const char *cluster)
{
    struct quoin_database *db = NULL;
    struct quoin_transaction *transaction = NULL;
    int error = quoin_open_text(cluster, &db);

    if (error == 0)
        error = quoin_transaction_create(db, &transaction);
    if (error == 0)
        error = read_with(transaction);
    if (error == 0)
        error = write_and_commit(transaction);
    if (error == 0)
        error = finish(quoin_transaction_on_error(transaction, QUOIN_ERROR_NOT_COMMITTED));
    quoin_transaction_destroy(transaction);
    quoin_database_destroy(db);
    return error;
}

Test(client_memory, every_call_of_the_library_returns_the_error, .timeout = 240)
{
    struct apart apart = serve_apart();
    char cluster[64];
    unsigned refused = 0;

    snprintf(cluster, sizeof(cluster), "a:b@127.0.0.1:%u", apart.address.port);
    FAIL_EACH(nth, nth_allocation) {
        int error;

        nth_begin(&nth, NULL);
        error = use_library(cluster);
        quoin_network_stop();
        nth_end(&nth);
        refused += error == QUOIN_ERROR_OUT_OF_MEMORY;
        cr_assert(error == 0 || (nth.fired && (error == QUOIN_ERROR_OUT_OF_MEMORY || error == QUOIN_ERROR_COMMIT_UNKNOWN_RESULT)),
                  "%lu: %d", nth.n, error);
    }
    cr_assert_gt(refused, 20);
    end_apart(&apart);
}
