/* What the parts of quoin-history share: clients of a real cluster whose every read and write is written down.
 *
 * Two workloads, one for each oracle of sim/checkers: `mix` (reads, range reads, writes, clears and atomic operations over few
 * keys, for the exact replay) and `lists` (appends, for the cycles, which trust no version). They share nothing but the clock
 * of none: each has its own history under its own lock, and every call and answer is numbered while the lock is held. */
#pragma once

#include "net/bytes.h"
#include "txn/client/include/quoin/quoin.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

struct history_run {
    struct quoin_database *db; /* owned by main */
    const char *failed_history; /* where a history that can't be is written; NULL: nowhere */
    uint64_t seed;
    unsigned pause_ms; /* twice the mean pause between two transactions of a client */
    uint32_t keys;     /* of the mix */
    atomic_bool ending;
    atomic_int failed; /* the first error that is not retried */
    _Atomic uint64_t *committed; /* 8 bytes of a file, for whoever breaks the cluster meanwhile */
};

/* One client: a thread with its own transaction. */
struct history_client {
    struct history_run *run; /* borrowed */
    pthread_t thread;
    uint32_t number;
    uint64_t random;
    struct quoin_transaction *transaction; /* owned */
};

/* Blocking calls (history.c). Errors are the future's. */
int call_read_version(struct quoin_transaction *transaction, int64_t *ret_version);
/* *value is replaced; *ret_present false: not there. */
int call_get(struct quoin_transaction *transaction, struct bytes key, bool snapshot, bool *ret_present, struct bytes_buffer *value);
struct call_range {
    uint32_t limit; /* 0: none */
    bool reverse, snapshot;
    bool more; /* it ended at the limit */
    void (*see)(void *context, struct bytes key, struct bytes value);
    void *context;
};
int call_get_range(struct quoin_transaction *transaction, struct bytes begin, struct bytes end, struct call_range *range);
int call_commit(struct quoin_transaction *transaction);
/* True: start over. False: the error stays (and is counted as the run's failure unless it ends). */
bool call_retry(struct history_client *client, int error);
void history_pause(struct history_client *client, uint64_t ms_below);
uint64_t history_random(struct history_client *client, uint64_t below);

/* The mix (history_mix.c). */
void mix_init(struct history_run *run);
void mix_once(struct history_client *client);
/* Reads back and checks; prints one line; false when the history can't be. */
bool mix_check(struct history_client *client);
void mix_done(void);

/* The lists (history_lists.c). */
void lists_init(struct history_run *run);
void lists_once(struct history_client *client);
bool lists_check(struct history_client *client);
void lists_done(void);
