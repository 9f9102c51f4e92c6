/* Writes to special keys: kept in a table of their own, in order, until the commit makes mutations of them.
 *
 * The table has the form of mutations (SET and CLEAR_RANGE), so what a key was given last is found by walking it: a transaction
 * writes a handful of special keys. Whoever writes one is taken to know of the lock: unlocking a locked database is such a write. */
#include <stdarg.h>
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
    const struct special_part *part = writable(key);

    if (!txn->special_writes)
        return ERROR_SPECIAL_KEYS_WRITE_DISABLED;
    if (part == NULL)
        return ERROR_SPECIAL_KEYS_NO_WRITE_MODULE_FOUND;
    if (key.len > key_bytes_max(key))
        return ERROR_KEY_TOO_LARGE;
    if (value.len > VALUE_BYTES_MAX)
        return ERROR_VALUE_TOO_LARGE;
    if (part->ignores != NULL && part->ignores(special_rest(part, key)))
        return 0;
    if (part->sets_at_once != NULL)
        return part->sets_at_once(txn, special_rest(part, key), value);
    return keep(txn, MUTATION_SET, key, value);
}

int special_clear(struct transaction *txn, struct bytes begin, struct bytes end)
{
    const struct special_part *part;

    if (!txn->special_writes)
        return ERROR_SPECIAL_KEYS_WRITE_DISABLED;
    if (bytes_compare(begin, end) >= 0)
        return 0;
    if (writable(begin) != writable_end(end))
        return ERROR_SPECIAL_KEYS_CROSS_MODULE_CLEAR;
    part = writable(begin);
    if (part == NULL)
        return ERROR_SPECIAL_KEYS_NO_WRITE_MODULE_FOUND;
    if (part->uncleared != NULL)
        return special_refuse(txn, part->command, "%s", part->uncleared);
    return keep(txn, MUTATION_CLEAR_RANGE, begin, end);
}

/* ---- for the parts ---- */

static bool touches(const struct mutation *write, const struct special_span *span)
{
    if (write->type == MUTATION_SET)
        return special_span_has(span, write->param1);
    return special_span_has(span, write->param1) && special_span_ends_at(span, write->param2);
}

bool special_next_write(struct bytes *left, const struct special_part *part, struct mutation *ret_write)
{
    while (mutation_next(left, ret_write) == 0)
        if (touches(ret_write, &part->span))
            return true;
    return false;
}

bool special_written(const struct transaction *txn, const struct special_part *part, struct bytes *ret_value)
{
    struct bytes left = bytes_buffer_bytes(&txn->special_table);
    struct mutation write;
    bool present = false;

    while (special_next_write(&left, part, &write)) {
        present = write.type == MUTATION_SET;
        if (present)
            *ret_value = write.param2;
    }
    return present;
}

bool special_is_set(const struct transaction *txn, const char *key)
{
    struct bytes left = bytes_buffer_bytes(&txn->special_table), name = bytes_of_string(key);
    struct special_span span = {key, NULL};
    struct mutation write;
    bool is = false;

    while (mutation_next(&left, &write) == 0) {
        if (write.type == MUTATION_SET)
            is |= special_span_has(&span, write.param1);
        else if (bytes_compare(bytes_of(write.param1.ptr + 2, write.param1.len - 2), name) <= 0 &&
                 bytes_compare(bytes_of(write.param2.ptr + 2, write.param2.len - 2), name) > 0)
            is = false;
    }
    return is;
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

/* As a JSON string's inside. */
static int append_escaped(struct bytes_buffer *out, const char *text)
{
    int error = 0;

    for (; *text != '\0' && error == 0; text++) {
        uint8_t c = (uint8_t)*text;
        char escaped[8];

        if (c == '"' || c == '\\')
            snprintf(escaped, sizeof(escaped), "\\%c", c);
        else if (c < 0x20 || c >= 0x7f)
            snprintf(escaped, sizeof(escaped), "\\u%04x", c);
        else
            snprintf(escaped, sizeof(escaped), "%c", c);
        error = bytes_buffer_append(out, bytes_of_string(escaped));
    }
    return error;
}

int special_refuse(struct transaction *txn, const char *command, const char *format, ...)
{
    char message[MESSAGE_BYTES_MAX], before[64];
    va_list args;
    int error;

    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    snprintf(before, sizeof(before), "{\"retriable\":false,\"command\":\"%s\",\"message\":\"", command);
    txn->special_error.len = 0;
    error = bytes_buffer_append(&txn->special_error, bytes_of_string(before));
    if (error == 0)
        error = append_escaped(&txn->special_error, message);
    if (error == 0)
        error = bytes_buffer_append(&txn->special_error, BYTES_LITERAL("\"}"));
    return error != 0 ? error : ERROR_SPECIAL_KEYS_API_FAILURE;
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

static int commit_part(struct special_commit *commit, const struct special_part *part)
{
    struct transaction *txn = commit->txn;
    int error;

    transaction_lock(txn);
    error = txn->synced_incarnation == transaction_incarnation(txn) ? part->commit(commit, part) : ERROR_TRANSACTION_CANCELLED;
    transaction_unlock(txn);
    return error;
}

/* Was anything of the part written, and does it want to know something first? */
static bool look(struct transaction *txn, const struct special_part *part, bool *ret_judges)
{
    bool written;

    transaction_lock(txn);
    written = is_written(txn, part);
    *ret_judges = written && (part->judges == NULL || part->judges(txn, part));
    transaction_unlock(txn);
    return written;
}

int special_commit_go(struct special_commit *commit, struct transaction *txn, struct op *op, bool *ret_waits)
{
    int error = 0;

    commit->txn = txn;
    *ret_waits = false;
    for (; special_parts[commit->at].span.begin != NULL && error == 0; commit->at++) {
        const struct special_part *part = &special_parts[commit->at];
        bool judges;

        if (!look(txn, part, &judges))
            continue;
        if (judges)
            error = special_fetch_go(&commit->fetch, txn, txn->synced_incarnation, &part->to_commit, op, ret_waits);
        if (error != 0 || *ret_waits)
            return error;
        error = commit_part(commit, part);
        special_fetch_next(&commit->fetch);
    }
    return error;
}

void special_commit_done(struct special_commit *commit)
{
    special_fetch_done(&commit->fetch);
}
