/* Histories that no cluster wrote, before both checkers: bytes that may decode, and calls in any order. A checker names an
 * anomaly or none, the same one each time, and what was decoded encodes to what decodes to it again. */
#include <assert.h>

#include "net/error.h"
#include "net/mem.h"
#include "sim/checkers/cycles.h"
#include "sim/checkers/replay.h"
#include "tests/fuzz/fuzz_input.h"
#include "txn/mutation.h"

enum { KEYS = 8, CLIENTS = 4, STEPS_MAX = 400, CHECKED_KEYS_MAX = 1 << 12, ELEMENTS_MAX = 16 };

struct input {
    const uint8_t *at;
    size_t left;
};

static unsigned take(struct input *input, unsigned below)
{
    if (input->left == 0)
        return 0;
    input->left--;
    return *input->at++ % below;
}

static struct bytes take_bytes(struct input *input)
{
    size_t len = take(input, 10);
    struct bytes bytes = bytes_of(input->at, len < input->left ? len : input->left);

    input->at += bytes.len;
    input->left -= bytes.len;
    return bytes;
}

/* ---- bytes ---- */

static enum replay_anomaly check_twice(const struct history *history)
{
    struct replay_report first, second;
    enum replay_anomaly anomaly = replay_check(history, NULL, &first);

    assert(anomaly < REPLAY_ANOMALIES && replay_name(anomaly) != NULL);
    assert(replay_check(history, NULL, &second) == anomaly && memcmp(first.what, second.what, sizeof(first.what)) == 0);
    return anomaly;
}

/* Encodes, decodes, and finds the same. */
static void check_round_trip(const struct history *history, enum replay_anomaly anomaly)
{
    struct bytes_buffer encoded = {0}, again = {0};
    struct history decoded;

    history_encode(history, &encoded);
    if (history_decode(bytes_buffer_bytes(&encoded), &decoded) == 0) {
        history_encode(&decoded, &again);
        assert(bytes_equal(bytes_buffer_bytes(&encoded), bytes_buffer_bytes(&again)));
        assert(check_twice(&decoded) == anomaly);
        history_done(&decoded);
    }
    bytes_buffer_done(&encoded);
    bytes_buffer_done(&again);
}

static void decode_any(struct bytes bytes)
{
    struct history history;

    if (history_decode(bytes, &history) != 0)
        return;
    if (history.key_count <= CHECKED_KEYS_MAX)
        check_round_trip(&history, check_twice(&history));
    history_done(&history);
}

/* ---- calls ---- */

static void record_step(struct input *input, struct history_record *record)
{
    static const enum history_kind writes[] = {HISTORY_SET,   HISTORY_CLEAR,         HISTORY_ATOMIC,
                                               HISTORY_STAMP, HISTORY_READ_CONFLICT, HISTORY_WRITE_CONFLICT};
    unsigned what = take(input, 8), begin = take(input, KEYS), end = begin + 1 + take(input, KEYS - begin);

    if (what == 0) {
        history_get(record, begin, (uint8_t)take(input, 16), take_bytes(input));
    } else if (what == 1) {
        history_range(record, begin, end, (uint8_t)take(input, 16));
        for (unsigned pairs = take(input, 4); pairs > 0; pairs--)
            history_pair(record, take(input, KEYS), take_bytes(input));
    } else {
        enum history_kind kind = writes[what - 2];
        bool single = kind == HISTORY_SET || kind == HISTORY_ATOMIC || kind == HISTORY_STAMP;
        uint8_t type = kind == HISTORY_ATOMIC ? (uint8_t)take(input, 24) : 0;

        history_write(record, kind, begin, single ? begin + 1 : end, type, single ? take_bytes(input) : bytes_none());
    }
}

static void begin_or_finish(struct input *input, struct history *history, struct history_record *record, unsigned client)
{
    struct history_transaction *transaction;
    unsigned how;

    if (record->history == NULL) {
        history_begin(history, record, client);
        transaction = history_transaction_of(record);
        transaction->read_version = (version_t)take(input, 32) * 8;
        transaction->called = history_tick(history);
        transaction->answered = history_tick(history);
        return;
    }
    how = take(input, HISTORY_OUTCOMES + 1);
    transaction = history_transaction_of(record);
    transaction->commit_called = history_tick(history);
    if (how == HISTORY_OPEN || how == HISTORY_OUTCOMES) {
        history_drop(record);
    } else {
        version_t version = (version_t)take(input, 32) * 8;
        uint16_t index = (uint16_t)take(input, 3);

        if (how == HISTORY_COMMITTED || how == HISTORY_UNKNOWN)
            history_mark(history, version, index, record->number);
        history_finish(record, (enum history_outcome)how, version, index);
    }
    *record = (struct history_record){0};
}

static void replay_calls(struct input *input)
{
    struct history_record records[CLIENTS] = {0};
    struct history history;

    history_init(&history, KEYS);
    for (int step = 0; step < STEPS_MAX && input->left > 0; step++) {
        unsigned client = take(input, CLIENTS);

        if (records[client].history == NULL || take(input, 4) == 0)
            begin_or_finish(input, &history, &records[client], client);
        else
            record_step(input, &records[client]);
    }
    for (int i = 0; i < CLIENTS; i++)
        if (records[i].history != NULL)
            history_drop(&records[i]);
    history.marked = take(input, 2) != 0;
    check_round_trip(&history, check_twice(&history));
    history_done(&history);
}

/* ---- cycles ---- */

static void cycles_step(struct input *input, struct cycles_history *history, struct cycles_record *record)
{
    uint32_t elements[ELEMENTS_MAX], count;

    if (take(input, 2) == 0) {
        cycles_append(record, take(input, KEYS), cycles_new_element(history));
        return;
    }
    count = take(input, ELEMENTS_MAX);
    for (uint32_t i = 0; i < count; i++)
        elements[i] = take(input, 64);
    cycles_read(record, take(input, KEYS), elements, count);
}

static void cycles_calls(struct input *input)
{
    struct cycles_record records[CLIENTS] = {0};
    struct cycles_history history;
    struct cycles_report first, second;

    cycles_init(&history, KEYS);
    for (int step = 0; step < STEPS_MAX && input->left > 0; step++) {
        unsigned client = take(input, CLIENTS);

        if (records[client].history == NULL) {
            cycles_begin(&history, &records[client], client);
        } else if (take(input, 4) == 0) {
            cycles_finish(&records[client], (enum cycles_outcome)(1 + take(input, CYCLES_OUTCOMES - 1)));
            records[client] = (struct cycles_record){0};
        } else {
            cycles_step(input, &history, &records[client]);
        }
    }
    for (int i = 0; i < CLIENTS; i++)
        if (records[i].history != NULL)
            cycles_drop(&records[i]);
    assert(cycles_check(&history, &first) < CYCLES_ANOMALIES && cycles_name(first.anomaly) != NULL);
    assert(cycles_check(&history, &second) == first.anomaly && memcmp(first.what, second.what, sizeof(first.what)) == 0);
    cycles_done(&history);
}

int fuzz_input(const uint8_t *data, size_t size)
{
    struct input input = {data, size};

    switch (take(&input, 3)) {
    case 0:
        decode_any(bytes_of(input.at, input.left));
        break;
    case 1:
        replay_calls(&input);
        break;
    default:
        cycles_calls(&input);
        break;
    }
    return 0;
}
