/* The modules of the special keys: what stands in each, what must be known for it, and what a write to it does.
 *
 * A module is what one read may not leave. Its parts are the rows of the second table: who makes the pairs of a part, and (where it
 * can be written) what the commit does with what was written. A new part is a row and its functions. */
#include <stdio.h>
#include <stdlib.h>

#include "txn/client/client_internal.h"
#include "txn/client/special_keys.h"
#include "txn/operator_keys.h"
#include "txn/system_keys.h"

/* ---- the cluster ---- */

static int collect_cluster_id(struct special_read *read, const struct special_part *part)
{
    struct uid id = read->txn->client->cluster_id;
    char text[33];

    snprintf(text, sizeof(text), "%016llx%016llx", (unsigned long long)id.high, (unsigned long long)id.low);
    return uid_is_none(id) ? 0 : special_add(read, part->span.begin, bytes_none(), bytes_of_string(text));
}

static int collect_file_path(struct special_read *read, const struct special_part *part)
{
    return special_add(read, part->span.begin, bytes_none(), bytes_buffer_bytes(&read->txn->client->file_path));
}

static int collect_connection_string(struct special_read *read, const struct special_part *part)
{
    return special_add(read, part->span.begin, bytes_none(), bytes_buffer_bytes(&read->txn->client->connection_string));
}

static int collect_status(struct special_read *read, const struct special_part *part)
{
    struct bytes_buffer json = {0};
    bool came = !read->status.call.under_way && read->status.call.error == 0;
    int error = client_json_status(read->txn->client, came ? bytes_buffer_bytes(&read->status.json) : bytes_none(), &json);

    if (error == 0)
        error = special_add(read, part->span.begin, bytes_none(), bytes_buffer_bytes(&json));
    bytes_buffer_done(&json);
    return error;
}

static int collect_tracing(struct special_read *read, const struct special_part *part)
{
    int error = special_add(read, part->span.begin, BYTES_LITERAL("token"), BYTES_LITERAL("0"));

    return error != 0 ? error : special_add(read, part->span.begin, BYTES_LITERAL("transaction_id"), BYTES_LITERAL("0"));
}

/* What the transaction wrote there is what it reads there; there is no tracer to tell. */
static int commit_tracing(struct special_commit *commit, const struct special_part *part)
{
    (void)commit;
    (void)part;
    return 0;
}

static int collect_error_message(struct special_read *read, const struct special_part *part)
{
    struct transaction *txn = read->txn;
    int error = 0;

    transaction_lock(txn);
    if (txn->special_error.len > 0)
        error = special_add(read, part->span.begin, bytes_none(), bytes_buffer_bytes(&txn->special_error));
    transaction_unlock(txn);
    return error;
}

/* ---- the database's lock ---- */

enum { LOCK_ID_BYTES = 16 };

/* The id's bytes in hexadecimal, as the shell shows them. */
static int collect_lock(struct special_read *read, const struct special_part *part)
{
    char text[2 * LOCK_ID_BYTES + 1];
    struct bytes id;

    if (read->system.pair_count == 0)
        return 0;
    id = read->system.pairs[0].value;
    if (id.len != LOCK_ID_BYTES)
        return special_add(read, part->span.begin, bytes_none(), id);
    for (size_t i = 0; i < id.len; i++)
        snprintf(text + 2 * i, 3, "%02x", id.ptr[i]);
    return special_add(read, part->span.begin, bytes_none(), bytes_of_string(text));
}

static bool parse_lock_id(struct bytes text, uint8_t ret_id[LOCK_ID_BYTES])
{
    if (text.len != 2 * LOCK_ID_BYTES)
        return false;
    memset(ret_id, 0, LOCK_ID_BYTES);
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.ptr[i];
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;

        if (digit < 0)
            return false;
        ret_id[i / 2] = (uint8_t)(ret_id[i / 2] << 4 | digit);
    }
    return true;
}

/* Locking writes all keys, so that a transaction which was under way conflicts. Locked with the same id: a repeat, which is done. */
static int commit_lock(struct special_commit *commit, const struct special_part *part)
{
    bool locked = commit->system.pair_count > 0;
    uint8_t id[LOCK_ID_BYTES];
    struct bytes value;
    int error;

    if (!special_written(commit->txn, part, &value))
        return locked ? special_system_clear(commit->txn, KEY_DB_LOCKED) : 0;
    if (!parse_lock_id(value, id))
        return special_refuse(commit->txn, "lock", "Invalid UID: give 32 hexadecimal digits");
    if (locked)
        return bytes_equal(commit->system.pairs[0].value, bytes_of(id, sizeof(id))) ? 0 : ERROR_DATABASE_LOCKED;
    error = special_system_set(commit->txn, KEY_DB_LOCKED, bytes_of(id, sizeof(id)));
    return error != 0 ? error : conflict_range_append(&commit->txn->write_conflicts, bytes_none(), KEY_SYSTEM_BEGIN);
}

static const struct get_workers_reply *workers_of(const struct special_read *read)
{
    return read->rpc.error != 0 || read->rpc.reply == NULL ? NULL : MESSAGE_BODY(get_workers_reply, read->rpc.reply);
}

static int collect_workers(struct special_read *read, const struct special_part *part)
{
    const struct get_workers_reply *workers = workers_of(read);
    char text[ADDRESS_TEXT_MAX];
    int error = 0;

    for (uint32_t i = 0; workers != NULL && i < workers->workers_count && error == 0; i++) {
        const struct worker_interface *worker = &workers->workers[i];

        address_print((struct address){worker->address.ip, worker->address.port}, text);
        error = special_add(read, part->span.begin, bytes_of_string(text), bytes_of_string(text));
    }
    return error;
}

static int collect_classes(struct special_read *read, const struct special_part *part)
{
    const struct get_workers_reply *workers = workers_of(read);
    char text[ADDRESS_TEXT_MAX + 32];
    int error = 0;

    for (uint32_t i = 0; workers != NULL && i < workers->workers_count && error == 0; i++) {
        const struct worker_interface *worker = &workers->workers[i];

        address_print((struct address){worker->address.ip, worker->address.port}, text);
        error = special_add(read, part->span.begin, bytes_of_string(text),
                         bytes_of_string(process_class_name((enum process_class)worker->process_class)));
    }
    return error;
}

/* ---- the transaction's own ranges ---- */

struct span {
    struct bytes begin, end;
};

static int by_begin(const void *a, const void *b)
{
    return bytes_compare(((const struct span *)a)->begin, ((const struct span *)b)->begin);
}

/* FoundationDB's form: a union of ranges is a "1" where one begins and a "0" where it ends. */
static int add_spans(struct special_read *read, const char *prefix, struct span *spans, uint32_t count)
{
    int error = 0;

    if (count > 0)
        qsort(spans, count, sizeof(*spans), by_begin);
    for (uint32_t i = 0; i < count && error == 0;) {
        struct bytes begin = spans[i].begin, end = spans[i].end;

        for (i++; i < count && bytes_compare(spans[i].begin, end) <= 0; i++)
            end = bytes_max(end, spans[i].end);
        error = special_add(read, prefix, begin, BYTES_LITERAL("1"));
        if (error == 0)
            error = special_add(read, prefix, end, BYTES_LITERAL("0"));
    }
    return error;
}

/* Under the lock. */
static int add_table(struct special_read *read, const char *prefix, struct bytes table)
{
    struct conflict_range range;
    struct bytes left = table;
    struct span *spans;
    uint32_t count = 0, filled = 0;
    int error = 0;

    while (conflict_range_next(&left, &range) == 0)
        count++;
    spans = arena_alloc(&read->arena, (count + 1) * sizeof(*spans));
    if (spans == NULL)
        return ERROR_OUT_OF_MEMORY;
    for (left = table; filled < count && conflict_range_next(&left, &range) == 0 && error == 0; filled++) {
        spans[filled] = (struct span){range.begin, range.end};
        if (range.is_point)
            error = key_after(&read->arena, range.begin, &spans[filled].end);
    }
    return error != 0 ? error : add_spans(read, prefix, spans, filled);
}

static int collect_transaction(struct special_read *read, const struct special_part *part)
{
    struct transaction *txn = read->txn;
    struct span *spans;
    int error;

    transaction_lock(txn);
    spans = arena_alloc(&read->arena, (txn->conflict_count + 1) * sizeof(*spans));
    for (uint32_t i = 0; spans != NULL && i < txn->conflict_count; i++)
        spans[i] = (struct span){txn->conflicts[i].read_begin, txn->conflicts[i].read_end};
    error = spans == NULL ? ERROR_OUT_OF_MEMORY : add_spans(read, "/transaction/conflicting_keys/", spans, txn->conflict_count);
    if (error == 0)
        error = add_table(read, "/transaction/read_conflict_range/", bytes_buffer_bytes(&txn->read_conflicts));
    if (error == 0)
        error = add_table(read, "/transaction/write_conflict_range/", bytes_buffer_bytes(&txn->write_conflicts));
    transaction_unlock(txn);
    (void)part;
    return error;
}

/* ---- the tables ---- */

const struct special_span special_modules[] = {
    {"/clusterId", NULL},
    {"/cluster_file_path", NULL},
    {"/configuration/", "/configuration0"},
    {"/connection_string", NULL},
    {"/error_message", NULL},
    {"/global_config/", "/global_config0"},
    {"/management/", "/management0"},
    {"/metrics/", "/metrics0"},
    {"/status/json", NULL},
    {"/tracing/", "/tracing0"},
    {"/transaction/", "/transaction0"},
    {"/worker_interfaces/", "/worker_interfaces0"},
    {NULL, NULL},
};

const struct special_part special_parts[] = {
    {.span = {"/clusterId", NULL}, .collect = collect_cluster_id},
    {.span = {"/cluster_file_path", NULL}, .collect = collect_file_path},
    {.span = {"/configuration/process/class_type/", "/configuration/process/class_type0"}, .needs = SPECIAL_NEEDS_WORKERS,
     .system_begin = KEY_PROCESS_CLASS_PREFIX, .system_end = KEY_PROCESS_CLASS_END, .collect = collect_classes,
     .commit = special_commit_mapped, .unread = true, .keeps_value = true, .command = "setclass", .refuses = special_refuses_class},
    {.span = {"/connection_string", NULL}, .collect = collect_connection_string},
    {.span = {"/error_message", NULL}, .collect = collect_error_message},
    {.span = {"/management/consistency_check_suspended", NULL}, .system_begin = KEY_CONSISTENCY_CHECK_SUSPEND,
     .system_end = BYTES_LITERAL("\xff\x02/ConsistencyCheck/Suspend\0"), .collect = special_collect_mapped,
     .commit = special_commit_mapped, .unread = true, .command = "consistencycheck", .refuses = special_refuses_nothing},
    {.span = {"/management/excluded/", "/management/excluded0"}, .system_begin = KEY_EXCLUDED_PREFIX, .system_end = KEY_EXCLUDED_END,
     .collect = special_collect_mapped, .commit = special_commit_mapped, .unread = true, .command = "exclude",
     .refuses = special_refuses_address},
    {.span = {"/management/failed/", "/management/failed0"}, .system_begin = KEY_FAILED_PREFIX, .system_end = KEY_FAILED_END,
     .collect = special_collect_mapped, .commit = special_commit_mapped, .unread = true, .command = "exclude failed",
     .refuses = special_refuses_address},
    {.span = {"/management/db_locked", NULL}, .system_begin = KEY_DB_LOCKED,
     .system_end = BYTES_LITERAL("\xff/dbLocked\0"), .collect = collect_lock, .commit = commit_lock},
    {.span = {"/status/json", NULL}, .needs = SPECIAL_NEEDS_STATUS, .collect = collect_status},
    {.span = {"/tracing/", "/tracing0"}, .collect = collect_tracing, .commit = commit_tracing},
    {.span = {"/transaction/", "/transaction0"}, .collect = collect_transaction},
    {.span = {"/worker_interfaces/", "/worker_interfaces0"}, .needs = SPECIAL_NEEDS_WORKERS, .collect = collect_workers},
    {.span = {NULL, NULL}},
};
