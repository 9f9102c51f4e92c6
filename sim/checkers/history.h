/* A recorded history: what every transaction read, wrote and was told, for sim/checkers/replay.h.
 *
 * Keys are numbers below key_count, in the order of the bytes that they stand for; values are bytes. Time is a count of
 * events: history_tick() numbers calls and answers in the order in which they happened. Each attempt of a transaction is one
 * transaction here; a transaction that was never finished has an unknown result.
 *
 * What a history says of unknown results comes from marks: each writing transaction also writes its number under its own
 * versionstamp, and who reads those at the end adds them with history_mark().
 *
 * Pure. The history owns all it holds; allocation does not fail (an assert ends the program). */
#pragma once

#include "net/bytes.h"
#include "txn/types.h"

enum history_outcome {
    HISTORY_OPEN,      /* not finished: as UNKNOWN, and it may still happen */
    HISTORY_COMMITTED, /* acknowledged at commit_version, index */
    HISTORY_READ_ONLY, /* nothing to commit */
    HISTORY_CONFLICT,  /* not_committed */
    HISTORY_FAILED,    /* any other error that leaves nothing behind */
    HISTORY_UNKNOWN,   /* commit_unknown_result */
    HISTORY_OUTCOMES,
};

enum history_kind {
    HISTORY_GET,            /* begin; PRESENT and data */
    HISTORY_RANGE,          /* [begin, end); count pairs in data */
    HISTORY_SET,            /* begin, data */
    HISTORY_CLEAR,          /* [begin, end) */
    HISTORY_ATOMIC,         /* begin, type (txn/mutation.h's), data */
    HISTORY_STAMP,          /* begin becomes the transaction's versionstamp; not read before the commit */
    HISTORY_READ_CONFLICT,  /* [begin, end) */
    HISTORY_WRITE_CONFLICT, /* [begin, end) */
    HISTORY_KINDS,
};

enum history_flag {
    HISTORY_PRESENT = 1,
    HISTORY_SNAPSHOT = 2, /* no conflict range */
    HISTORY_REVERSE = 4,
    HISTORY_MORE = 8,     /* it ended at its limit: what lies behind the last pair was not read */
};

struct history_op {
    uint8_t kind, flags, type;
    uint32_t begin, end; /* a single key: end = begin + 1 */
    uint32_t data, data_len, count; /* in the blob; of a range: count times key (4 bytes), length (4), value */
};

struct history_transaction {
    uint8_t outcome;
    uint16_t index;         /* place in the batch */
    uint32_t client;
    version_t read_version; /* VERSION_NONE: it never had one, and read nothing */
    version_t commit_version;
    uint64_t called, answered;               /* read version; 0: not */
    uint64_t commit_called, commit_answered; /* 0: not; without a commit, commit_answered is the end */
    uint32_t op_begin, op_count;
};

struct history_mark {
    version_t version;
    uint16_t index;
    uint32_t transaction;
};

struct history {
    uint32_t key_count;
    bool marked;    /* all marks are here: a commit without one is lost */
    uint64_t clock; /* the last event */
    struct history_transaction *transactions;
    struct history_op *ops;
    struct history_mark *marks;
    size_t transaction_count, transaction_capacity, op_count, op_capacity, mark_count, mark_capacity;
    struct bytes_buffer blob;
};

/* Limits of what is read from outside. */
enum { HISTORY_KEYS_MAX = 1 << 20 };

void history_init(struct history *history, uint32_t key_count);
void history_done(struct history *history);
static inline uint64_t history_tick(struct history *history)
{
    return ++history->clock;
}
void history_mark(struct history *history, version_t version, uint16_t index, uint32_t transaction);

/* One transaction under way: its operations are kept apart until it is finished, so that many may be recorded at once.
 * Zeroed is idle. */
struct history_record {
    struct history *history; /* borrowed */
    uint32_t number;         /* of the transaction */
    struct history_op *ops;  /* owned */
    size_t op_count, op_capacity;
    struct bytes_buffer data; /* owned */
};
void history_begin(struct history *history, struct history_record *record, uint32_t client);
struct history_transaction *history_transaction_of(const struct history_record *record);
void history_get(struct history_record *record, uint32_t key, uint8_t flags, struct bytes value);
/* Then each pair, in the order of the read. */
void history_range(struct history_record *record, uint32_t begin, uint32_t end, uint8_t flags);
void history_pair(struct history_record *record, uint32_t key, struct bytes value);
void history_write(struct history_record *record, enum history_kind kind, uint32_t begin, uint32_t end, uint8_t type,
                   struct bytes data);
/* Moves it into the history with its outcome. Not finished: history_drop() frees it, and it stays OPEN. */
void history_finish(struct history_record *record, enum history_outcome outcome, version_t version, uint16_t index);
void history_drop(struct history_record *record);

/* Bytes and back. decode: 0 and a history that is safe to check, or ERROR_SERIALIZATION_FAILED (ret is untouched). */
void history_encode(const struct history *history, struct bytes_buffer *out);
int history_decode(struct bytes encoded, struct history *ret_history);

/* Walks the pairs of a range. False at the end. */
bool history_next_pair(struct bytes *cursor, uint32_t *ret_key, struct bytes *ret_value);

static inline struct bytes history_data(const struct history *history, const struct history_op *op)
{
    return op->data_len == 0 ? bytes_none() : bytes_of(history->blob.ptr + op->data, op->data_len); /* no blob, no sum */
}

static inline bool history_is_write(enum history_kind kind)
{
    return kind >= HISTORY_SET && kind <= HISTORY_STAMP;
}
