/* Each call of the client library beside its line in the history. */
#include "sim/workloads/recorded.h"

#include <assert.h>
#include <stdio.h>

#include "net/mem.h"
#include "sim/checkers/replay.h"
#include "sim/workloads/values.h"
#include "txn/mutation.h"

void recorded_init(struct recorded *recorded, const char *name, const char *prefix, uint32_t keys)
{
    recorded->name = name;
    recorded->prefix = prefix;
    list_init(&recorded->open);
    history_init(&recorded->history, keys);
}

void recorded_done(struct recorded *recorded)
{
    if (recorded->name == NULL)
        return;
    while (!list_empty(&recorded->open)) {
        struct recorded_transaction *t = list_entry(recorded->open.next, struct recorded_transaction, link);

        list_remove(&t->link);
        history_drop(&t->record);
        mem_free(t);
    }
    history_done(&recorded->history);
}

struct recorded_transaction *recorded_create(struct sim_actor *actor, struct recorded *recorded)
{
    struct recorded_transaction *t = sim_zalloc(sizeof(*t));

    t->recorded = recorded;
    t->actor = actor;
    t->transaction = sim_transaction_create(actor);
    list_push_back(&recorded->open, &t->link);
    return t;
}

void recorded_destroy(struct recorded_transaction *t)
{
    if (t->record.history != NULL)
        history_finish(&t->record, HISTORY_FAILED, VERSION_NONE, 0);
    sim_transaction_destroy(t->transaction);
    list_remove(&t->link);
    mem_free(t);
}

int recorded_start(struct recorded_transaction *t)
{
    version_t version;
    int error;

    t->writes = false;
    history_begin(&t->recorded->history, &t->record, t->actor->client->index);
    history_transaction_of(&t->record)->called = history_tick(&t->recorded->history);
    error = sim_read_version(t->transaction, &version);
    if (error != 0)
        return error;
    history_transaction_of(&t->record)->read_version = version;
    history_transaction_of(&t->record)->answered = history_tick(&t->recorded->history);
    return 0;
}

static struct bytes key_of(struct recorded_transaction *t, struct workload_key *key, uint32_t number)
{
    return workload_key(key, t->recorded->prefix, number);
}

/* ---- reads ---- */

int recorded_get(struct recorded_transaction *t, uint32_t key, bool snapshot, bool *ret_present, struct bytes *ret_value)
{
    struct workload_key text;
    uint8_t flags = snapshot ? HISTORY_SNAPSHOT : 0;
    int error = snapshot ? sim_get_snapshot(t->transaction, key_of(t, &text, key), ret_present, ret_value)
                         : sim_get(t->transaction, key_of(t, &text, key), ret_present, ret_value);

    if (error == 0)
        history_get(&t->record, key, *ret_present ? flags | HISTORY_PRESENT : flags, *ret_value);
    return error;
}

int recorded_range(struct recorded_transaction *t, uint32_t begin, uint32_t end, struct sim_range *range)
{
    struct workload_key low, high;
    uint8_t flags = (uint8_t)((range->snapshot ? HISTORY_SNAPSHOT : 0) | (range->reverse ? HISTORY_REVERSE : 0));
    int error = sim_read_range(t->transaction, key_of(t, &low, begin), key_of(t, &high, end), range);

    if (error != 0)
        return error;
    history_range(&t->record, begin, end, range->more ? flags | HISTORY_MORE : flags);
    for (size_t i = 0; i < range->count; i++) {
        uint64_t key = 0;

        if (!workload_key_number(range->pairs[i].key, t->recorded->prefix, &key) || key < begin || key >= end)
            sim_world_fail(workload_world(t->actor), "%s: a range read gave a key outside of it", t->recorded->name);
        else
            history_pair(&t->record, (uint32_t)key, range->pairs[i].value);
    }
    return 0;
}

/* ---- writes ---- */

void recorded_set_value(struct recorded_transaction *t, uint32_t key, struct bytes value)
{
    struct workload_key text;

    t->writes = true;
    sim_set(t->transaction, key_of(t, &text, key), value);
    history_write(&t->record, HISTORY_SET, key, key + 1, 0, value);
}

void recorded_set(struct recorded_transaction *t, uint32_t key)
{
    uint8_t value[8];

    put_le64(value, ++t->recorded->values << 16);
    recorded_set_value(t, key, bytes_of(value, sizeof(value)));
}

void recorded_clear(struct recorded_transaction *t, uint32_t begin, uint32_t end)
{
    struct workload_key low, high;

    t->writes = true;
    sim_clear_range(t->transaction, key_of(t, &low, begin), key_of(t, &high, end));
    history_write(&t->record, HISTORY_CLEAR, begin, end, 0, bytes_none());
}

void recorded_atomic(struct recorded_transaction *t, unsigned type, uint32_t key, struct bytes param)
{
    struct workload_key text;

    t->writes = true;
    sim_atomic(t->transaction, type, key_of(t, &text, key), param);
    history_write(&t->record, HISTORY_ATOMIC, key, key + 1, (uint8_t)type, param);
}

void recorded_stamp(struct recorded_transaction *t, uint32_t key)
{
    static const uint8_t stamp[VERSIONSTAMP_BYTES + VERSIONSTAMP_OFFSET_BYTES] = {0};
    struct workload_key text;

    t->writes = true;
    sim_atomic(t->transaction, MUTATION_SET_VERSIONSTAMPED_VALUE, key_of(t, &text, key), bytes_of(stamp, sizeof(stamp)));
    history_write(&t->record, HISTORY_STAMP, key, key + 1, 0, bytes_none());
}

void recorded_conflict(struct recorded_transaction *t, bool write, uint32_t begin, uint32_t end)
{
    struct workload_key low, high;

    t->writes = t->writes || write;
    sim_conflict_range(t->transaction, write, key_of(t, &low, begin), key_of(t, &high, end));
    history_write(&t->record, write ? HISTORY_WRITE_CONFLICT : HISTORY_READ_CONFLICT, begin, end, 0, bytes_none());
}

/* ---- the end ---- */

/* "prefix-log/", the versionstamp. */
static void write_mark(struct recorded_transaction *t)
{
    uint8_t key[64], value[4];
    int at = snprintf((char *)key, sizeof(key), "%s-log/", t->recorded->prefix);

    memset(key + at, 0, VERSIONSTAMP_BYTES);
    put_le32(key + at + VERSIONSTAMP_BYTES, (uint32_t)at);
    put_le32(value, t->record.number);
    sim_atomic(t->transaction, MUTATION_SET_VERSIONSTAMPED_KEY,
               bytes_of(key, (size_t)at + VERSIONSTAMP_BYTES + VERSIONSTAMP_OFFSET_BYTES), bytes_of(value, sizeof(value)));
}

int recorded_commit(struct recorded_transaction *t)
{
    struct history *history = &t->recorded->history;
    enum history_outcome outcome = HISTORY_FAILED;
    int error;

    memset(t->stamp, 0, sizeof(t->stamp));
    if (t->writes)
        write_mark(t);
    history_transaction_of(&t->record)->commit_called = history_tick(history);
    error = sim_commit(t->transaction);
    history_transaction_of(&t->record)->commit_answered = history_tick(history);
    if (error == 0 && t->writes && sim_versionstamp(t->transaction, t->stamp) != 0)
        sim_world_fail(workload_world(t->actor), "%s: a commit without a versionstamp", t->recorded->name);
    if (error == 0)
        outcome = t->writes ? HISTORY_COMMITTED : HISTORY_READ_ONLY;
    else if (error == ERROR_NOT_COMMITTED)
        outcome = HISTORY_CONFLICT;
    else if (error == ERROR_COMMIT_UNKNOWN_RESULT)
        outcome = HISTORY_UNKNOWN;
    history_finish(&t->record, outcome, (version_t)get_be64(t->stamp), (uint16_t)(t->stamp[8] << 8 | t->stamp[9]));
    return error;
}

bool recorded_retry(struct recorded_transaction *t, int error)
{
    if (t->record.history != NULL) {
        history_transaction_of(&t->record)->commit_answered = history_tick(&t->recorded->history);
        history_finish(&t->record, HISTORY_FAILED, VERSION_NONE, 0);
    }
    return sim_retry(t->transaction, error);
}

/* ---- the check ---- */

static void take_mark(struct sim_actor *actor, struct recorded *recorded, const struct sim_pair *pair, size_t skip)
{
    const uint8_t *stamp = pair->key.ptr + skip;

    if (pair->key.len != skip + VERSIONSTAMP_BYTES || pair->value.len != 4)
        sim_world_fail(workload_world(actor), "%s: a mark that nobody wrote", recorded->name);
    else
        history_mark(&recorded->history, (version_t)get_be64(stamp), (uint16_t)(stamp[8] << 8 | stamp[9]),
                     get_le32(pair->value.ptr));
}

/* All keys as one more transaction, then the marks at the same version. */
static int read_back(struct recorded_transaction *t)
{
    struct recorded *recorded = t->recorded;
    char begin[64], end[64];
    size_t skip = (size_t)snprintf(begin, sizeof(begin), "%s-log/", recorded->prefix);
    struct sim_range all = {0};
    const struct sim_pair *pairs;
    size_t count;
    int error = recorded_range(t, 0, recorded->history.key_count, &all);

    snprintf(end, sizeof(end), "%s-log0", recorded->prefix);
    if (error == 0)
        error = sim_get_range(t->transaction, bytes_of_string(begin), bytes_of_string(end), 1000, &pairs, &count);
    if (error != 0)
        return error;
    recorded->history.mark_count = 0;
    for (size_t i = 0; i < count; i++)
        take_mark(t->actor, recorded, &pairs[i], skip);
    recorded->history.marked = true;
    return 0;
}

void recorded_check(struct sim_actor *actor, struct recorded *recorded)
{
    struct recorded_transaction *t = recorded_create(actor, recorded);
    struct replay_report report;
    int error;

    do {
        error = recorded_start(t);
        if (error == 0)
            error = read_back(t);
        if (error == 0)
            error = recorded_commit(t);
    } while (error != 0 && recorded_retry(t, error));
    recorded_destroy(t);
    if (error != 0) {
        sim_world_fail(workload_world(actor), "%s: check: %s", recorded->name, error_name(error));
        return;
    }
    if (replay_check(&recorded->history, NULL, &report) != REPLAY_OK)
        sim_world_fail(workload_world(actor), "%s: %s: %s", recorded->name, replay_name(report.anomaly), report.what);
    else if (report.committed == 0)
        sim_world_fail(workload_world(actor), "%s: nothing committed", recorded->name);
    sim_say(workload_world(actor), actor->client->process,
            "%s: %u committed, %u conflicts (%u cascaded, %u spurious), %u unknown (%u there), %llu reads", recorded->name,
            report.committed, report.conflicts, report.cascaded, report.spurious, report.unknown, report.unknown_applied,
            (unsigned long long)report.reads);
}
