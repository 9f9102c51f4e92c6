/* Transactions for a role: the client library on the role's own loop, against the role's own cluster.
 *
 * A role that reads or changes the database (data distributor, ratekeeper) makes one client for life, and transactions of
 * txn/client/transaction.h on it: read versions, gets and ranges found by location, conflict ranges, commits, on_error. No thread,
 * no blocking: each call is a wait of the role's op. Destroy transactions and calls before the client; cancelling the ops that wait
 * for them does not do that. */
#pragma once

#include "roles/role.h"
#include "txn/client/client.h"
#include "txn/client/transaction.h"

/* It shares the process's rpc, and is owned by the caller (client_destroy). 0 or ERROR_OUT_OF_MEMORY. */
int role_client_create(const struct role_context *context, struct client **ret_client);
/* A transaction that is never throttled, may read and write system keys, and goes on in a locked database. These options last: set
 * them again (role_transaction_options) after each on_error or reset, which take them away as FoundationDB's do. */
int role_transaction_create(struct client *client, struct transaction **ret_txn);
int role_transaction_options(struct transaction *txn);
