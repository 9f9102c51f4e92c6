/* A cluster of fakes for the client: coordinator, controller, proxies and two storage servers that share one map, all behind
 * one rpc. The database has no versions: version 7000 is what is there now. */
#pragma once

#include <criterion/criterion.h>

#include "net/env_posix.h"
#include "net/error.h"
#include "txn/client/transaction.h"
#include "txn/kv_map.h"

enum { GRV = 1001, PROXY = 1002, STORAGE_A = 1003, STORAGE_B = 1004, NOBODY = 1099, READ_VERSION_NOW = 7000 };

struct fakes {
    struct env *env;
    struct rpc *server;
    struct client *client;
    struct kv_map *map;
    struct address address;
    struct rpc_request *poll; /* the last long poll; never answered */
    bool locked, storage_a_dead, another_grv_is_lost, lost_grv_is_first;
    int wrong_shard_left, lose_commits_left, range_limit;
    bool hold_a, hold_b; /* they are silent: requests wait in `held` until fakes_release() */
    struct list held;
    int commits, grvs, get_messages, gets, gets_of_a, gets_of_b, asked; /* of_a, of_b: messages; asked: gets in them */
    int get_error; /* what gets are answered with */
    int ranges, keys_only; /* range reads; those of them that wanted no values */
    void (*on_watch)(struct fakes *fakes, struct rpc_request *request); /* takes the request; NULL: it is dropped */
    void *watch_ctx;
    struct bytes_buffer last_reads, last_writes;
    bool done;
    struct env_ops ops;  /* with a clock that stands still, after hold_the_clock() */
    int64_t clock_us;
    int64_t a_takes_us;  /* what a read of A moves that clock by */
};

/* The servers alone, in an env that is there already. */
void fakes_serve(struct fakes *fakes, struct env *env);
void fakes_end(struct fakes *fakes);
/* Answers what was held back. */
void fakes_release(struct fakes *fakes);
/* Servers and a client in one env. */
void start(struct fakes *fakes);
void stop(struct fakes *fakes);

/* A call's done(): ends await(). */
void call_done(struct client_call *call);
int await(struct fakes *fakes, struct client_call *call);

struct transaction *begin(struct fakes *fakes);
int get(struct fakes *fakes, struct transaction *txn, const char *key, struct transaction_get *get);
int commit(struct fakes *fakes, struct transaction *txn);
/* Into the servers' map. */
void put(struct fakes *fakes, const char *key, const char *value);
/* From here on time passes only where the test says so, however busy the machine is. */
void hold_the_clock(struct fakes *fakes);
