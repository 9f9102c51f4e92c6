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

    if (!special_fetched(&read->fetch, KEY_DB_LOCKED, &id))
        return 0;
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
    struct bytes value, present;
    bool locked = special_fetched(&commit->fetch, KEY_DB_LOCKED, &present);
    uint8_t id[LOCK_ID_BYTES];
    int error;

    if (!special_written(commit->txn, part, &value))
        return locked ? special_system_clear(commit->txn, KEY_DB_LOCKED) : 0;
    if (!parse_lock_id(value, id))
        return special_refuse(commit->txn, part->command, "Invalid UID: give 32 hexadecimal digits");
    if (locked)
        return bytes_equal(present, bytes_of(id, sizeof(id))) ? 0 : ERROR_DATABASE_LOCKED;
    error = special_system_set(commit->txn, KEY_DB_LOCKED, bytes_of(id, sizeof(id)));
    return error != 0 ? error : conflict_range_append(&commit->txn->write_conflicts, bytes_none(), KEY_SYSTEM_BEGIN);
}

static int collect_workers(struct special_read *read, const struct special_part *part)
{
    const struct get_workers_reply *workers = special_fetched_workers(&read->fetch);
    char text[ADDRESS_TEXT_MAX];
    int error = 0;

    for (uint32_t i = 0; workers != NULL && i < workers->workers_count && error == 0; i++) {
        const struct worker_interface *worker = &workers->workers[i];

        address_print((struct address){worker->address.ip, worker->address.port}, text);
        error = special_add(read, part->span.begin, bytes_of_string(text), bytes_of_string(text));
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

static bool judges_nothing(const struct transaction *txn, const struct special_part *part)
{
    (void)txn;
    (void)part;
    return false;
}

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

/* Ranges of keys of the system. */
#define ONE(key) {BYTES_LITERAL(key), BYTES_LITERAL(key "\0")}
#define CONFIGURATION {KEY_CONF_PREFIX, KEY_CONF_END} /* exclusions stand in it */
#define SERVERS {KEY_SERVER_LIST_PREFIX, BYTES_LITERAL("\xff/serverList0")}
#define SHARDS {KEY_KEY_SERVERS_PREFIX, BYTES_LITERAL("\xff/keyServers0")}
#define CLASSES {KEY_PROCESS_CLASS_PREFIX, KEY_PROCESS_CLASS_END}
#define DISTRIBUTOR_LOCK ONE("\xff/moveKeysLock")

/* A prefix of special keys, and the same rest behind another one of the system. */
#define MAPPED(begin, end) .map_begin = BYTES_LITERAL(begin), .map_end = BYTES_LITERAL(end), .to_collect.ranges = {{BYTES_LITERAL(begin), BYTES_LITERAL(end)}}

const struct special_part special_parts[] = {
    {.span = {"/clusterId", NULL}, .collect = collect_cluster_id},
    {.span = {"/cluster_file_path", NULL}, .collect = collect_file_path},
    {.span = {"/configuration/coordinators/", "/configuration/coordinators0"}, .collect = special_collect_coordinators,
     .commit = special_commit_coordinators, .command = "coordinators",
     .uncleared = "Clear operation is meaningless thus forbidden for coordinators"},
    {.span = {"/configuration/process/class_source/", "/configuration/process/class_source0"},
     .to_collect = {.what = SPECIAL_NEEDS_WORKERS, .ranges = {CLASSES}}, .collect = special_collect_class_sources},
    {.span = {"/configuration/process/class_type/", "/configuration/process/class_type0"}, .to_collect.what = SPECIAL_NEEDS_WORKERS,
     .collect = special_collect_classes, .to_commit = {.what = SPECIAL_NEEDS_WORKERS, .ranges = {CONFIGURATION, SERVERS}},
     .commit = special_commit_classes, .command = "setclass", .uncleared = "Clear operation is meaningless thus forbidden for setclass"},
    {.span = {"/connection_string", NULL}, .collect = collect_connection_string},
    {.span = {"/error_message", NULL}, .collect = collect_error_message},
    {.span = {"/global_config/", "/global_config0"}, MAPPED("\xff/globalConfig/k/", "\xff/globalConfig/k0"), .keeps_value = true,
     .collect = special_collect_global_config, .commit = special_commit_mapped, .judges = judges_nothing, .command = "global_config",
     .refuses = special_refuses_global_config},
    {.span = {"/management/auto_coordinators", NULL}, .to_collect = {.what = SPECIAL_NEEDS_WORKERS, .ranges = {CONFIGURATION}},
     .lock_aware = true, .collect = special_collect_auto_coordinators},
    {.span = {"/management/consistency_check_suspended", NULL}, .lock_aware = true,
     MAPPED("\xff\x02/ConsistencyCheck/Suspend", "\xff\x02/ConsistencyCheck/Suspend\0"), .collect = special_collect_mapped,
     .commit = special_commit_mapped, .judges = judges_nothing, .command = "consistencycheck", .refuses = special_refuses_nothing},
    {.span = {"/management/data_distribution/", "/management/data_distribution0"},
     .to_collect.ranges = {ONE("\xff/dataDistributionMode"), ONE("\xff\x02/rebalanceDDIgnored")}, .collect = special_collect_distribution,
     .commit = special_commit_distribution, .judges = judges_nothing, .command = "datadistribution"},
    {.span = {"/management/db_locked", NULL}, .to_collect.ranges = {ONE("\xff/dbLocked")}, .lock_aware = true, .collect = collect_lock,
     .to_commit.ranges = {ONE("\xff/dbLocked")}, .commit = commit_lock, .command = "lock"},
    {.span = {"/management/excluded/", "/management/excluded0"}, MAPPED("\xff/conf/excluded/", "\xff/conf/excluded0"),
     .collect = special_collect_mapped, .to_commit = {.what = SPECIAL_NEEDS_WORKERS, .ranges = {CONFIGURATION, SERVERS, DISTRIBUTOR_LOCK}},
     .judges = special_judges_exclusions, .commit = special_commit_exclusions, .command = "exclude", .refuses = special_refuses_nothing},
    {.span = {"/management/failed/", "/management/failed0"}, MAPPED("\xff/conf/failed/", "\xff/conf/failed0"),
     .collect = special_collect_mapped, .to_commit = {.what = SPECIAL_NEEDS_WORKERS, .ranges = {CONFIGURATION, SERVERS, SHARDS}},
     .judges = special_judges_exclusions, .commit = special_commit_exclusions, .command = "exclude failed",
     .refuses = special_refuses_nothing},
    {.span = {"/management/in_progress_exclusion/", "/management/in_progress_exclusion0"}, .to_collect.ranges = {CONFIGURATION, SERVERS},
     .lock_aware = true, .collect = special_collect_in_progress},
    {.span = {"/management/maintenance/", "/management/maintenance0"}, .to_collect.ranges = {ONE("\xff/healthyZone")}, .lock_aware = true,
     .collect = special_collect_maintenance, .to_commit.ranges = {ONE("\xff/healthyZone")}, .commit = special_commit_maintenance,
     .command = "maintenance"},
    {.span = {"/management/options/", "/management/options0"}, .collect = special_collect_nothing, .commit = special_commit_nothing,
     .judges = judges_nothing, .ignores = special_ignores_option},
    {.span = {"/management/profiling/", "/management/profiling0"},
     MAPPED("\xff\x02/fdbClientInfo/client_txn_", "\xff\x02/fdbClientInfo/client_txn`"), .keeps_value = true,
     .collect = special_collect_profiling, .commit = special_commit_mapped, .judges = judges_nothing, .command = "profile",
     .uncleared = "Clear operation is forbidden for profile client. You can set it to default to disable profiling.",
     .refuses = special_refuses_profiling},
    {.span = {"/metrics/data_distribution_stats/", "/metrics/data_distribution_stats0"}, .to_collect.what = SPECIAL_NEEDS_SHARDS,
     .collect = special_collect_shard_stats},
    {.span = {"/metrics/health/", "/metrics/health0"}, .to_collect.what = SPECIAL_NEEDS_STATUS, .collect = special_collect_health},
    {.span = {"/status/json", NULL}, .to_collect.what = SPECIAL_NEEDS_STATUS, .collect = collect_status},
    {.span = {"/tracing/", "/tracing0"}, .collect = special_collect_tracing, .commit = special_commit_tracing, .judges = judges_nothing,
     .sets_at_once = special_set_tracing, .command = "tracing", .uncleared = "clear disabled"},
    {.span = {"/transaction/", "/transaction0"}, .collect = collect_transaction},
    {.span = {"/worker_interfaces/", "/worker_interfaces0"}, .to_collect.what = SPECIAL_NEEDS_WORKERS, .collect = collect_workers},
    {.span = {NULL, NULL}},
};
