/* Reads and writes at random over few keys, each beside its line in the history; at the end the exact replay.
 *
 * As sim/workloads/recorded.c does for simulated clients: every transaction that writes also puts its number under its own
 * versionstamp, so that the check knows what became of those whose result stayed unknown. */
#include "tests/real/history.h"

#include "net/error.h"
#include "net/mem.h"
#include "sim/checkers/replay.h"
#include "txn/mutation.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { OPERATIONS_MAX = 8, RANGE_KEYS_MAX = 12, KEY_DIGITS = 8 };

static const char prefix[] = "history/mix/", mark_prefix[] = "history/mix-log/", mark_end[] = "history/mix-log0";

/* One for the process, under the lock. */
static struct history history;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t values;      /* that were written, each of them once */
static bool outside;         /* a range read gave what was not asked for */

struct attempt {
    struct history_client *client;
    struct history_record record;
    bool writes;
};

struct mix_key {
    char text[32];
};

static struct bytes mix_key(struct mix_key *key, uint32_t number)
{
    int length = snprintf(key->text, sizeof(key->text), "%s%0*u", prefix, KEY_DIGITS, number);

    return bytes_of(key->text, (size_t)length);
}

/* Numbers an event of the transaction. */
static void note(struct attempt *attempt, uint64_t *(*field)(struct history_transaction *transaction))
{
    pthread_mutex_lock(&lock);
    *field(history_transaction_of(&attempt->record)) = history_tick(&history);
    pthread_mutex_unlock(&lock);
}

static uint64_t *called(struct history_transaction *transaction)
{
    return &transaction->called;
}

static uint64_t *answered(struct history_transaction *transaction)
{
    return &transaction->answered;
}

static uint64_t *commit_called(struct history_transaction *transaction)
{
    return &transaction->commit_called;
}

static uint64_t *commit_answered(struct history_transaction *transaction)
{
    return &transaction->commit_answered;
}

static int start(struct attempt *attempt)
{
    int64_t version;
    int error;

    attempt->writes = false;
    pthread_mutex_lock(&lock);
    history_begin(&history, &attempt->record, attempt->client->number);
    pthread_mutex_unlock(&lock);
    note(attempt, called);
    error = call_read_version(attempt->client->transaction, &version);
    if (error != 0)
        return error;
    note(attempt, answered);
    pthread_mutex_lock(&lock);
    history_transaction_of(&attempt->record)->read_version = version;
    pthread_mutex_unlock(&lock);
    return 0;
}

static void end(struct attempt *attempt, enum history_outcome outcome, version_t version, uint16_t index)
{
    pthread_mutex_lock(&lock);
    history_finish(&attempt->record, outcome, version, index);
    pthread_mutex_unlock(&lock);
}

/* ---- reads ---- */

static int read_key(struct attempt *attempt, uint32_t key, bool snapshot)
{
    uint8_t flags = snapshot ? HISTORY_SNAPSHOT : 0;
    struct bytes_buffer value = {0};
    struct mix_key text;
    bool present;
    int error = call_get(attempt->client->transaction, mix_key(&text, key), snapshot, &present, &value);

    if (error == 0)
        history_get(&attempt->record, key, present ? flags | HISTORY_PRESENT : flags, bytes_buffer_bytes(&value));
    bytes_buffer_done(&value);
    return error;
}

/* Pairs are kept until the whole range is there: the history wants the range's flags first. */
struct pairs {
    struct bytes_buffer bytes; /* key number, length, value */
    uint32_t begin, end;
};

static void see_pair(void *context, struct bytes key, struct bytes value)
{
    struct pairs *pairs = context;
    size_t skip = sizeof(prefix) - 1;
    uint8_t head[8];
    uint32_t number = 0;

    for (size_t i = skip; i < key.len; i++)
        number = number * 10 + (uint32_t)(key.ptr[i] - '0');
    if (key.len != skip + KEY_DIGITS || number < pairs->begin || number >= pairs->end) {
        outside = true;
        return;
    }
    put_le32(head, number);
    put_le32(head + 4, (uint32_t)value.len);
    bytes_buffer_append(&pairs->bytes, bytes_of(head, sizeof(head)));
    bytes_buffer_append(&pairs->bytes, value);
}

static int read_range(struct attempt *attempt, uint32_t begin, uint32_t until, struct call_range range)
{
    struct pairs pairs = {.begin = begin, .end = until};
    uint8_t flags = (uint8_t)((range.snapshot ? HISTORY_SNAPSHOT : 0) | (range.reverse ? HISTORY_REVERSE : 0));
    struct mix_key low, high;
    int error;

    range.see = see_pair;
    range.context = &pairs;
    error = call_get_range(attempt->client->transaction, mix_key(&low, begin), mix_key(&high, until), &range);
    if (error == 0) {
        history_range(&attempt->record, begin, until, range.more ? flags | HISTORY_MORE : flags);
        for (size_t at = 0; at < pairs.bytes.len; at += 8 + get_le32(pairs.bytes.ptr + at + 4))
            history_pair(&attempt->record, get_le32(pairs.bytes.ptr + at),
                         bytes_of(pairs.bytes.ptr + at + 8, get_le32(pairs.bytes.ptr + at + 4)));
    }
    bytes_buffer_done(&pairs.bytes);
    return error;
}

/* ---- writes: their errors come back at the commit ---- */

static void set(struct attempt *attempt, uint32_t key)
{
    struct mix_key text;
    struct bytes at = mix_key(&text, key);
    uint8_t value[8];

    pthread_mutex_lock(&lock);
    put_le64(value, ++values << 16); /* room for small additions: no two values meet */
    pthread_mutex_unlock(&lock);
    quoin_transaction_set(attempt->client->transaction, at.ptr, (int)at.len, value, sizeof(value));
    history_write(&attempt->record, HISTORY_SET, key, key + 1, 0, bytes_of(value, sizeof(value)));
}

static void clear(struct attempt *attempt, uint32_t begin, uint32_t until)
{
    struct mix_key low, high;
    struct bytes from = mix_key(&low, begin), to = mix_key(&high, until);

    quoin_transaction_clear_range(attempt->client->transaction, from.ptr, (int)from.len, to.ptr, (int)to.len);
    history_write(&attempt->record, HISTORY_CLEAR, begin, until, 0, bytes_none());
}

static void atomic_operation(struct attempt *attempt, uint32_t key)
{
    static const uint8_t types[] = {QUOIN_ADD, QUOIN_BIT_AND, QUOIN_BIT_OR, QUOIN_BIT_XOR, QUOIN_MAX, QUOIN_MIN, QUOIN_BYTE_MIN,
                                    QUOIN_BYTE_MAX};
    uint8_t type = types[history_random(attempt->client, sizeof(types))], param[8];
    struct mix_key text;
    struct bytes at = mix_key(&text, key);

    put_le64(param, history_random(attempt->client, UINT64_MAX));
    quoin_transaction_atomic(attempt->client->transaction, type, at.ptr, (int)at.len, param, sizeof(param));
    history_write(&attempt->record, HISTORY_ATOMIC, key, key + 1, type, bytes_of(param, sizeof(param)));
}

/* ---- transactions ---- */

static int random_operation(struct attempt *attempt)
{
    struct history_client *client = attempt->client;
    uint32_t begin = (uint32_t)history_random(client, history.key_count - 1), left = history.key_count - 1 - begin;
    uint32_t until = begin + 1 + (uint32_t)history_random(client, left < RANGE_KEYS_MAX ? left : RANGE_KEYS_MAX);
    uint64_t kind = history_random(client, 10);
    bool snapshot = history_random(client, 10) == 0;

    if (kind < 3)
        return read_key(attempt, begin, snapshot);
    if (kind < 5)
        return read_range(attempt, begin, until, (struct call_range){.snapshot = snapshot, .reverse = history_random(client, 2) != 0,
                                                                     .limit = (uint32_t)history_random(client, 5)});
    attempt->writes = true;
    if (kind < 8)
        set(attempt, begin);
    else if (kind == 8)
        clear(attempt, begin, history_random(client, 2) != 0 ? begin + 1 : until);
    else
        atomic_operation(attempt, begin);
    return 0;
}

static void write_mark(struct attempt *attempt)
{
    uint8_t key[sizeof(mark_prefix) - 1 + VERSIONSTAMP_BYTES + VERSIONSTAMP_OFFSET_BYTES] = {0}, number[4];

    memcpy(key, mark_prefix, sizeof(mark_prefix) - 1);
    put_le32(key + sizeof(mark_prefix) - 1 + VERSIONSTAMP_BYTES, sizeof(mark_prefix) - 1);
    put_le32(number, attempt->record.number);
    quoin_transaction_atomic(attempt->client->transaction, QUOIN_SET_VERSIONSTAMPED_KEY, key, sizeof(key), number, sizeof(number));
}

static enum history_outcome outcome_of(const struct attempt *attempt, int error)
{
    if (error == 0)
        return attempt->writes ? HISTORY_COMMITTED : HISTORY_READ_ONLY;
    return error == ERROR_NOT_COMMITTED ? HISTORY_CONFLICT : error == ERROR_COMMIT_UNKNOWN_RESULT ? HISTORY_UNKNOWN : HISTORY_FAILED;
}

static int commit(struct attempt *attempt)
{
    struct quoin_transaction *transaction = attempt->client->transaction;
    struct quoin_future *stamp_future = quoin_transaction_get_versionstamp(transaction);
    const uint8_t *stamp = NULL;
    int length, error;

    if (attempt->writes)
        write_mark(attempt);
    note(attempt, commit_called);
    error = call_commit(transaction);
    note(attempt, commit_answered);
    if (error == 0 && attempt->writes &&
        (quoin_future_block_until_ready(stamp_future) != 0 || quoin_future_get_key(stamp_future, &stamp, &length) != 0 ||
         length != VERSIONSTAMP_BYTES))
        stamp = NULL; /* version 0: the check will say so */
    end(attempt, outcome_of(attempt, error), stamp == NULL ? 0 : (version_t)get_be64(stamp),
        stamp == NULL ? 0 : (uint16_t)(stamp[8] << 8 | stamp[9]));
    quoin_future_destroy(stamp_future);
    if (error == 0)
        atomic_fetch_add(attempt->client->run->committed, 1);
    return error;
}

static bool retry(struct attempt *attempt, int error)
{
    if (attempt->record.history != NULL) {
        note(attempt, commit_answered);
        end(attempt, HISTORY_FAILED, VERSION_NONE, 0);
    }
    return call_retry(attempt->client, error);
}

static void transact(struct history_client *client, int (*body)(struct attempt *attempt))
{
    struct attempt attempt = {.client = client};
    int error;

    quoin_transaction_reset(client->transaction);
    do {
        error = start(&attempt);
        if (error == 0)
            error = body(&attempt);
        if (error == 0)
            error = commit(&attempt);
    } while (error != 0 && retry(&attempt, error));
}

static int random_body(struct attempt *attempt)
{
    uint64_t count = 1 + history_random(attempt->client, OPERATIONS_MAX);
    uint64_t waits = history_random(attempt->client, 5) == 0 ? history_random(attempt->client, count) : count;
    int error = 0;

    for (uint64_t i = 0; i < count && error == 0; i++) {
        if (i == waits)
            history_pause(attempt->client, 300); /* so that others come between */
        error = random_operation(attempt);
    }
    return error;
}

void mix_once(struct history_client *client)
{
    transact(client, random_body);
}

/* ---- the check ---- */

static int read_all(struct attempt *attempt)
{
    return read_range(attempt, 0, history.key_count - 1, (struct call_range){0});
}

struct marks {
    struct bytes_buffer last; /* the key behind which the next batch begins */
    bool wrong;
};

static void see_mark(void *context, struct bytes key, struct bytes value)
{
    struct marks *marks = context;
    const uint8_t *stamp = key.ptr + sizeof(mark_prefix) - 1;

    marks->last.len = 0;
    bytes_buffer_append(&marks->last, key);
    bytes_buffer_append(&marks->last, bytes_of("\0", 1));
    if (key.len != sizeof(mark_prefix) - 1 + VERSIONSTAMP_BYTES || value.len != 4)
        marks->wrong = true;
    else
        history_mark(&history, (version_t)get_be64(stamp), (uint16_t)(stamp[8] << 8 | stamp[9]), get_le32(value.ptr));
}

/* In lots, each at a version of its own: there may be more than can be read in five seconds, and they don't change any more,
 * as every transaction has ended (an unknown result is reported only when it can't happen any more). */
static bool read_marks(struct history_client *client)
{
    struct marks marks = {0};
    struct call_range range = {.limit = 5000, .snapshot = true, .more = true, .see = see_mark, .context = &marks};
    bool good = true;

    bytes_buffer_append(&marks.last, bytes_of_string(mark_prefix));
    while (range.more && good) {
        struct bytes_buffer begin = {0};
        size_t before = history.mark_count;
        int error;

        bytes_buffer_append(&begin, bytes_buffer_bytes(&marks.last));
        quoin_transaction_reset(client->transaction);
        while ((error = call_get_range(client->transaction, bytes_buffer_bytes(&begin), bytes_of_string(mark_end), &range)) != 0 &&
               (good = call_retry(client, error)))
            history.mark_count = before;
        bytes_buffer_done(&begin);
    }
    bytes_buffer_done(&marks.last);
    history.marked = good && !marks.wrong;
    return history.marked;
}

static void keep_history(const char *path)
{
    struct bytes_buffer encoded = {0};
    FILE *file;

    history_encode(&history, &encoded);
    file = fopen(path, "we");
    if (file == NULL || fwrite(encoded.ptr, 1, encoded.len, file) != encoded.len)
        fprintf(stderr, "quoin-history: --keep %s: %s\n", path, strerror(errno));
    else
        printf("the history is in %s\n", path);
    if (file != NULL)
        fclose(file);
    bytes_buffer_done(&encoded);
}

bool mix_check(struct history_client *client)
{
    struct replay_report report;
    bool good;

    transact(client, read_all);
    if (!read_marks(client) || outside) {
        printf("WRONG: mix: %s\n", outside ? "a range read gave a key outside of it" : "the marks can't be read back");
        return false;
    }
    good = replay_check(&history, NULL, &report) == REPLAY_OK;
    if (!good)
        printf("WRONG: mix: %s: %s\n", replay_name(report.anomaly), report.what);
    else if (report.committed == 0)
        printf("WRONG: mix: nothing committed\n");
    printf("mix: %u committed, %u conflicts (%u cascaded, %u spurious), %u unknown (%u there), %llu reads\n", report.committed,
           report.conflicts, report.cascaded, report.spurious, report.unknown, report.unknown_applied,
           (unsigned long long)report.reads);
    if (!good && client->run->failed_history != NULL)
        keep_history(client->run->failed_history);
    return good && report.committed > 0;
}

void mix_init(struct history_run *run)
{
    history_init(&history, run->keys + 1);
}

void mix_done(void)
{
    history_done(&history);
}
