/* Writes to special keys: kept in a table of their own, in order, until the commit makes mutations of them.
 *
 * The table has the form of mutations (SET and CLEAR_RANGE), so what a key was given last is found by walking it: a transaction
 * writes a handful of special keys. Whoever writes one is taken to know of the lock: unlocking a locked database is such a write. */
#include <stdio.h>

#include "txn/client/client_internal.h"
#include "txn/client/special_keys.h"

enum { MESSAGE_BYTES_MAX = 512 };

/* ---- writing ---- */

/* NULL: nobody takes a write there. */
static const struct special_part *writable(struct bytes key)
{
    for (const struct special_part *part = special_parts; part->span.begin != NULL; part++)
        if (part->commit != NULL && special_span_has(&part->span, key))
            return part;
    return NULL;
}

static const struct special_part *writable_end(struct bytes end)
{
    for (const struct special_part *part = special_parts; part->span.begin != NULL; part++)
        if (part->commit != NULL && special_span_ends_at(&part->span, end))
            return part;
    return NULL;
}

static int keep(struct transaction *txn, enum mutation_type type, struct bytes param1, struct bytes param2)
{
    int error = mutation_append(&txn->special_table, type, param1, param2);

    if (error == 0)
        txn->lock_aware = true;
    return error;
}

int special_set(struct transaction *txn, struct bytes key, struct bytes value)
{
    if (!txn->special_writes)
        return ERROR_SPECIAL_KEYS_WRITE_DISABLED;
    if (writable(key) == NULL)
        return ERROR_SPECIAL_KEYS_NO_WRITE_MODULE_FOUND;
    if (key.len > key_bytes_max(key))
        return ERROR_KEY_TOO_LARGE;
    return value.len > VALUE_BYTES_MAX ? ERROR_VALUE_TOO_LARGE : keep(txn, MUTATION_SET, key, value);
}

int special_clear(struct transaction *txn, struct bytes begin, struct bytes end)
{
    if (!txn->special_writes)
        return ERROR_SPECIAL_KEYS_WRITE_DISABLED;
    if (bytes_compare(begin, end) >= 0)
        return 0;
    if (writable(begin) != writable_end(end))
        return ERROR_SPECIAL_KEYS_CROSS_MODULE_CLEAR;
    if (writable(begin) == NULL)
        return ERROR_SPECIAL_KEYS_NO_WRITE_MODULE_FOUND;
    return keep(txn, MUTATION_CLEAR_RANGE, begin, end);
}

/* ---- for the parts ---- */

static bool touches(const struct mutation *write, const struct special_span *span)
{
    if (write->type == MUTATION_SET)
        return special_span_has(span, write->param1);
    return special_span_has(span, write->param1) && special_span_ends_at(span, write->param2);
}

bool special_written(const struct transaction *txn, const struct special_part *part, struct bytes *ret_value)
{
    struct bytes left = bytes_buffer_bytes(&txn->special_table);
    struct mutation write;
    bool present = false;

    while (mutation_next(&left, &write) == 0) {
        if (!touches(&write, &part->span))
            continue;
        present = write.type == MUTATION_SET;
        if (present)
            *ret_value = write.param2;
    }
    return present;
}

int special_system_set(struct transaction *txn, struct bytes key, struct bytes value)
{
    int error = mutation_append(&txn->mutations, MUTATION_SET, key, value);

    txn->special_system = true;
    return error != 0 ? error : conflict_range_append_point(&txn->write_conflicts, key);
}

int special_system_clear_range(struct transaction *txn, struct bytes begin, struct bytes end)
{
    int error = mutation_append(&txn->mutations, MUTATION_CLEAR_RANGE, begin, end);

    txn->special_system = true;
    return error != 0 ? error : conflict_range_append(&txn->write_conflicts, begin, end);
}

int special_system_clear(struct transaction *txn, struct bytes key)
{
    struct arena arena = {0};
    struct bytes end;
    int error = key_after(&arena, key, &end);

    if (error == 0)
        error = special_system_clear_range(txn, key, end);
    arena_done(&arena);
    return error;
}

int special_refuse(struct transaction *txn, const char *command, const char *message)
{
    char json[MESSAGE_BYTES_MAX];
    int error;

    snprintf(json, sizeof(json), "{\"retriable\":false,\"command\":\"%s\",\"message\":\"%s\"}", command, message);
    txn->special_error.len = 0;
    error = bytes_buffer_append(&txn->special_error, bytes_of_string(json));
    return error != 0 ? error : ERROR_SPECIAL_KEYS_API_FAILURE;
}

int special_system_prepare(struct transaction_range *range, struct transaction *txn, const struct special_part *part,
                           const struct transaction_range_options *options)
{
    (void)transaction_range_prepare(range, txn, SELECT_FIRST_AT_OR_AFTER(part->system_begin),
                                    SELECT_FIRST_AT_OR_AFTER(part->system_end), options);
    return range->call.error;
}

/* ---- the commit ---- */

static bool is_written(struct transaction *txn, const struct special_part *part)
{
    struct bytes left = bytes_buffer_bytes(&txn->special_table);
    struct mutation write;

    while (part->commit != NULL && mutation_next(&left, &write) == 0)
        if (touches(&write, &part->span))
            return true;
    return false;
}

static int read_system(struct special_commit *commit, const struct special_part *part, struct op *op)
{
    struct transaction *txn = commit->txn;
    struct transaction_range_options options = {.system = true};
    int error = special_system_prepare(&commit->system, txn, part, &options);

    if (error == 0 && commit->system.incarnation != txn->synced_incarnation) /* the commit's op can't be ended while it runs */
        error = ERROR_TRANSACTION_CANCELLED;
    if (error != 0)
        return error;
    commit->system_asked = true;
    transaction_range_submit(&commit->system, op);
    return 0;
}

static int commit_part(struct special_commit *commit, const struct special_part *part)
{
    struct transaction *txn = commit->txn;
    int error = commit->system_asked ? commit->system.call.error : 0;

    commit->system_asked = false;
    if (error != 0)
        return error;
    transaction_lock(txn);
    error = txn->synced_incarnation == transaction_incarnation(txn) ? part->commit(commit, part) : ERROR_TRANSACTION_CANCELLED;
    transaction_unlock(txn);
    return error;
}

int special_commit_go(struct special_commit *commit, struct transaction *txn, struct op *op, bool *ret_waits)
{
    int error = 0;

    commit->txn = txn;
    *ret_waits = false;
    for (; special_parts[commit->at].span.begin != NULL && error == 0; commit->at++) {
        const struct special_part *part = &special_parts[commit->at];
        bool written;

        transaction_lock(txn);
        written = is_written(txn, part);
        transaction_unlock(txn);
        if (!written)
            continue;
        if (part->system_begin.len > 0 && !part->unread && !commit->system_asked) {
            *ret_waits = true;
            return read_system(commit, part, op);
        }
        error = commit_part(commit, part);
    }
    return error;
}

void special_commit_done(struct special_commit *commit)
{
    transaction_range_done(&commit->system);
}
