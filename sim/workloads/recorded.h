/* Transactions that are written down as they happen, for the exact checker (sim/checkers/replay.h).
 *
 * Keys are numbers; each workload has a prefix of its own. Every transaction that writes also puts its number under its
 * versionstamp, so that the check knows what became of those whose result stayed unknown.
 *
 *   struct recorded_transaction *t = recorded_create(actor, recorded);
 *   do {
 *       error = recorded_start(t);
 *       if (error == 0) error = ...recorded_get(t, ..), recorded_set(t, ..)...;
 *       if (error == 0) error = recorded_commit(t);
 *   } while (error != 0 && recorded_retry(t, error));
 *   recorded_destroy(t);
 */
#pragma once

#include "net/list.h"
#include "sim/checkers/history.h"
#include "sim/transaction.h"
#include "sim/workload.h"

struct recorded {
    const char *name, *prefix; /* literals */
    struct history history;
    struct list open; /* transactions that are not destroyed */
    uint64_t values;  /* that were written, each of them once */
};

struct recorded_transaction {
    struct list link;
    struct recorded *recorded;
    struct sim_actor *actor;
    struct sim_transaction *transaction;
    struct history_record record;
    bool writes;
    uint8_t stamp[VERSIONSTAMP_BYTES]; /* after recorded_commit() == 0 of one that writes */
};

void recorded_init(struct recorded *recorded, const char *name, const char *prefix, uint32_t keys);
void recorded_done(struct recorded *recorded); /* accepts zeroed */
/* Reads back what the database says, and fails the world if the history can't be. */
void recorded_check(struct sim_actor *actor, struct recorded *recorded);

struct recorded_transaction *recorded_create(struct sim_actor *actor, struct recorded *recorded);
void recorded_destroy(struct recorded_transaction *t);
/* Gets a read version. */
int recorded_start(struct recorded_transaction *t);
int recorded_get(struct recorded_transaction *t, uint32_t key, bool snapshot, bool *ret_present, struct bytes *ret_value);
int recorded_range(struct recorded_transaction *t, uint32_t begin, uint32_t end, struct sim_range *range);
/* A value that nobody else writes. */
void recorded_set(struct recorded_transaction *t, uint32_t key);
void recorded_set_value(struct recorded_transaction *t, uint32_t key, struct bytes value);
void recorded_clear(struct recorded_transaction *t, uint32_t begin, uint32_t end);
void recorded_atomic(struct recorded_transaction *t, unsigned type, uint32_t key, struct bytes param);
/* The key's value becomes the versionstamp; not to be read in this transaction. */
void recorded_stamp(struct recorded_transaction *t, uint32_t key);
void recorded_conflict(struct recorded_transaction *t, bool write, uint32_t begin, uint32_t end);
int recorded_commit(struct recorded_transaction *t);
bool recorded_retry(struct recorded_transaction *t, int error);
