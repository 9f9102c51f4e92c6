#include "roles/role_client.h"

#include <assert.h>

/* FoundationDB's codes. */
enum { OPTION_PRIORITY_SYSTEM_IMMEDIATE = 200, OPTION_ACCESS_SYSTEM_KEYS = 301, OPTION_LOCK_AWARE = 701 };

int role_client_create(const struct role_context *context, struct client **ret_client)
{
    struct client_options options = {
        .coordinators = context->coordinators, .coordinator_count = context->coordinator_count, .rpc = context->rpc};

    assert(context->coordinator_count > 0);
    return client_create(context->env, &options, ret_client);
}

int role_transaction_options(struct transaction *txn)
{
    static const int options[] = {OPTION_PRIORITY_SYSTEM_IMMEDIATE, OPTION_ACCESS_SYSTEM_KEYS, OPTION_LOCK_AWARE};
    int error = 0;

    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]) && error == 0; i++)
        error = transaction_set_option(txn, options[i], bytes_none());
    return error;
}

int role_transaction_create(struct client *client, struct transaction **ret_txn)
{
    struct transaction *txn;
    int error = transaction_create(client, &txn);

    if (error != 0)
        return error;
    error = role_transaction_options(txn);
    if (error != 0) {
        transaction_destroy(txn);
        return error;
    }
    *ret_txn = txn;
    return 0;
}
