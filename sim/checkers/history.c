/* Recording, and a history as bytes. */
#include "sim/checkers/history.h"

#include "net/error.h"
#include "sim/checkers/grow.h"

void history_init(struct history *history, uint32_t key_count)
{
    assert(key_count > 0 && key_count <= HISTORY_KEYS_MAX);
    *history = (struct history){.key_count = key_count};
}

void history_done(struct history *history)
{
    mem_free(history->transactions);
    mem_free(history->ops);
    mem_free(history->marks);
    bytes_buffer_done(&history->blob);
    *history = (struct history){0};
}

void history_mark(struct history *history, version_t version, uint16_t index, uint32_t transaction)
{
    history->marks =
        checker_grow(history->marks, history->mark_count, &history->mark_capacity, sizeof(history->marks[0]));
    history->marks[history->mark_count++] = (struct history_mark){version, index, transaction};
}

static uint32_t append(struct bytes_buffer *buffer, struct bytes bytes)
{
    uint32_t at = (uint32_t)buffer->len;
    int error = bytes_buffer_append(buffer, bytes);

    assert(error == 0 && buffer->len < UINT32_MAX);
    return at;
}

/* ---- recording ---- */

void history_begin(struct history *history, struct history_record *record, uint32_t client)
{
    assert(record->history == NULL);
    history->transactions = checker_grow(history->transactions, history->transaction_count,
                                         &history->transaction_capacity, sizeof(history->transactions[0]));
    *record = (struct history_record){.history = history, .number = (uint32_t)history->transaction_count++};
    history->transactions[record->number] = (struct history_transaction){
        .client = client, .read_version = VERSION_NONE, .commit_version = VERSION_NONE};
}

struct history_transaction *history_transaction_of(const struct history_record *record)
{
    return &record->history->transactions[record->number];
}

static struct history_op *add(struct history_record *record, struct history_op op, struct bytes data)
{
    assert(op.begin < record->history->key_count && op.end <= record->history->key_count && op.begin <= op.end);
    op.data = append(&record->data, data);
    op.data_len = (uint32_t)data.len;
    record->ops = checker_grow(record->ops, record->op_count, &record->op_capacity, sizeof(record->ops[0]));
    record->ops[record->op_count] = op;
    return &record->ops[record->op_count++];
}

void history_get(struct history_record *record, uint32_t key, uint8_t flags, struct bytes value)
{
    add(record, (struct history_op){.kind = HISTORY_GET, .flags = flags, .begin = key, .end = key + 1},
        (flags & HISTORY_PRESENT) != 0 ? value : bytes_none());
}

void history_range(struct history_record *record, uint32_t begin, uint32_t end, uint8_t flags)
{
    add(record, (struct history_op){.kind = HISTORY_RANGE, .flags = flags, .begin = begin, .end = end}, bytes_none());
}

void history_pair(struct history_record *record, uint32_t key, struct bytes value)
{
    struct history_op *op = &record->ops[record->op_count - 1];
    uint8_t head[8];

    assert(op->kind == HISTORY_RANGE);
    put_le32(head, key);
    put_le32(head + 4, (uint32_t)value.len);
    append(&record->data, bytes_of(head, sizeof(head)));
    append(&record->data, value);
    op->data_len += (uint32_t)(sizeof(head) + value.len);
    op->count++;
}

void history_write(struct history_record *record, enum history_kind kind, uint32_t begin, uint32_t end, uint8_t type,
                   struct bytes data)
{
    assert(kind >= HISTORY_SET);
    add(record, (struct history_op){.kind = (uint8_t)kind, .type = type, .begin = begin, .end = end}, data);
}

void history_finish(struct history_record *record, enum history_outcome outcome, version_t version, uint16_t index)
{
    struct history *history = record->history;
    struct history_transaction *transaction = history_transaction_of(record);
    uint32_t base = append(&history->blob, bytes_buffer_bytes(&record->data));

    transaction->outcome = (uint8_t)outcome;
    transaction->commit_version = outcome == HISTORY_COMMITTED ? version : VERSION_NONE;
    transaction->index = outcome == HISTORY_COMMITTED ? index : 0;
    transaction->op_begin = (uint32_t)history->op_count;
    transaction->op_count = (uint32_t)record->op_count;
    for (size_t i = 0; i < record->op_count; i++) {
        history->ops = checker_grow(history->ops, history->op_count, &history->op_capacity, sizeof(history->ops[0]));
        history->ops[history->op_count] = record->ops[i];
        history->ops[history->op_count++].data += base;
    }
    history_drop(record);
}

void history_drop(struct history_record *record)
{
    mem_free(record->ops);
    bytes_buffer_done(&record->data);
    *record = (struct history_record){0};
}

bool history_next_pair(struct bytes *cursor, uint32_t *ret_key, struct bytes *ret_value)
{
    uint32_t length;

    if (cursor->len < 8)
        return false;
    length = get_le32(cursor->ptr + 4);
    if (length > cursor->len - 8)
        return false;
    *ret_key = get_le32(cursor->ptr);
    *ret_value = bytes_of(cursor->ptr + 8, length);
    *cursor = bytes_of(cursor->ptr + 8 + length, cursor->len - 8 - length);
    return true;
}

/* ---- as bytes ----
 *
 *   0    8   "quoinhst"
 *   8    4   key_count          12  4  marked (0, 1)
 *   16   4   transactions       20  4  operations
 *   24   4   marks              28  4  bytes of the blob
 *   32   8   clock
 *   40   .   transactions, 64 bytes each: outcome 1, zero 1, index 2, client 4, read version 8, commit version 8, called 8,
 *            answered 8, commit called 8, commit answered 8, first operation 4, operations 4
 *        .   operations, 24 bytes each: kind 1, flags 1, type 1, zero 1, begin 4, end 4, data 4, data length 4, count 4
 *        .   marks, 14 bytes each: version 8, index 2, transaction 4
 *        .   the blob
 *
 * Valid if and only if every number lies where it must (check_* below) and nothing follows. */

enum { HEAD_BYTES = 40, TRANSACTION_BYTES = 64, OP_BYTES = 24, MARK_BYTES = 14 };

static void encode_transaction(const struct history_transaction *t, uint8_t *p)
{
    p[0] = t->outcome;
    p[1] = 0;
    put_le16(p + 2, t->index);
    put_le32(p + 4, t->client);
    put_le64(p + 8, (uint64_t)t->read_version);
    put_le64(p + 16, (uint64_t)t->commit_version);
    put_le64(p + 24, t->called);
    put_le64(p + 32, t->answered);
    put_le64(p + 40, t->commit_called);
    put_le64(p + 48, t->commit_answered);
    put_le32(p + 56, t->op_begin);
    put_le32(p + 60, t->op_count);
}

static void decode_transaction(const uint8_t *p, struct history_transaction *t)
{
    *t = (struct history_transaction){.outcome = p[0], .index = get_le16(p + 2), .client = get_le32(p + 4),
                                      .read_version = (version_t)get_le64(p + 8),
                                      .commit_version = (version_t)get_le64(p + 16), .called = get_le64(p + 24),
                                      .answered = get_le64(p + 32), .commit_called = get_le64(p + 40),
                                      .commit_answered = get_le64(p + 48), .op_begin = get_le32(p + 56),
                                      .op_count = get_le32(p + 60)};
}

void history_encode(const struct history *history, struct bytes_buffer *out)
{
    uint8_t p[TRANSACTION_BYTES] = "quoinhst";

    put_le32(p + 8, history->key_count);
    put_le32(p + 12, history->marked);
    put_le32(p + 16, (uint32_t)history->transaction_count);
    put_le32(p + 20, (uint32_t)history->op_count);
    put_le32(p + 24, (uint32_t)history->mark_count);
    put_le32(p + 28, (uint32_t)history->blob.len);
    put_le64(p + 32, history->clock);
    append(out, bytes_of(p, HEAD_BYTES));
    for (size_t i = 0; i < history->transaction_count; i++) {
        encode_transaction(&history->transactions[i], p);
        append(out, bytes_of(p, TRANSACTION_BYTES));
    }
    for (size_t i = 0; i < history->op_count; i++) {
        const struct history_op *op = &history->ops[i];

        p[0] = op->kind, p[1] = op->flags, p[2] = op->type, p[3] = 0;
        put_le32(p + 4, op->begin);
        put_le32(p + 8, op->end);
        put_le32(p + 12, op->data);
        put_le32(p + 16, op->data_len);
        put_le32(p + 20, op->count);
        append(out, bytes_of(p, OP_BYTES));
    }
    for (size_t i = 0; i < history->mark_count; i++) {
        put_le64(p, (uint64_t)history->marks[i].version);
        put_le16(p + 8, history->marks[i].index);
        put_le32(p + 10, history->marks[i].transaction);
        append(out, bytes_of(p, MARK_BYTES));
    }
    append(out, bytes_buffer_bytes(&history->blob));
}

static bool check_range(const struct history *history, const struct history_op *op)
{
    struct bytes cursor = history_data(history, op), value;
    uint32_t key, count = 0;

    while (history_next_pair(&cursor, &key, &value))
        if (key < op->begin || key >= op->end || count++ == op->count)
            return false;
    return cursor.len == 0 && count == op->count;
}

static bool check_op(const struct history *history, const struct history_op *op)
{
    return op->kind < HISTORY_KINDS && op->flags < 16 && op->begin < history->key_count && op->begin <= op->end &&
           op->end <= history->key_count && op->data <= history->blob.len &&
           op->data_len <= history->blob.len - op->data && (op->kind != HISTORY_RANGE || check_range(history, op)) &&
           (op->kind == HISTORY_RANGE || op->count == 0);
}

static bool check_transaction(const struct history *history, const struct history_transaction *t)
{
    return t->outcome < HISTORY_OUTCOMES && t->read_version >= VERSION_NONE && t->commit_version >= VERSION_NONE &&
           (t->commit_version != VERSION_NONE) == (t->outcome == HISTORY_COMMITTED) && t->called <= history->clock &&
           t->answered <= history->clock && t->commit_called <= history->clock && t->commit_answered <= history->clock &&
           t->op_begin <= history->op_count && t->op_count <= history->op_count - t->op_begin;
}

/* Every event stands for one field of a transaction. */
static bool check_all(const struct history *history)
{
    if (history->clock > 4 * (uint64_t)history->transaction_count)
        return false;
    for (size_t i = 0; i < history->op_count; i++)
        if (!check_op(history, &history->ops[i]))
            return false;
    for (size_t i = 0; i < history->transaction_count; i++)
        if (!check_transaction(history, &history->transactions[i]))
            return false;
    for (size_t i = 0; i < history->mark_count; i++)
        if (history->marks[i].version < 0)
            return false;
    return true;
}

static void decode_lists(const uint8_t *p, struct history *history)
{
    for (size_t i = 0; i < history->transaction_count; i++, p += TRANSACTION_BYTES)
        decode_transaction(p, &history->transactions[i]);
    for (size_t i = 0; i < history->op_count; i++, p += OP_BYTES)
        history->ops[i] = (struct history_op){p[0], p[1], p[2], get_le32(p + 4), get_le32(p + 8), get_le32(p + 12),
                                              get_le32(p + 16), get_le32(p + 20)};
    for (size_t i = 0; i < history->mark_count; i++, p += MARK_BYTES)
        history->marks[i] = (struct history_mark){(version_t)get_le64(p), get_le16(p + 8), get_le32(p + 10)};
}

int history_decode(struct bytes encoded, struct history *ret_history)
{
    struct history history = {0};
    uint64_t size;
    const uint8_t *p = encoded.ptr;

    if (encoded.len < HEAD_BYTES || memcmp(p, "quoinhst", 8) != 0)
        return ERROR_SERIALIZATION_FAILED;
    history.key_count = get_le32(p + 8);
    history.marked = get_le32(p + 12) != 0;
    history.transaction_count = get_le32(p + 16);
    history.op_count = get_le32(p + 20);
    history.mark_count = get_le32(p + 24);
    history.clock = get_le64(p + 32);
    size = HEAD_BYTES + (uint64_t)history.transaction_count * TRANSACTION_BYTES + (uint64_t)history.op_count * OP_BYTES +
           (uint64_t)history.mark_count * MARK_BYTES + get_le32(p + 28);
    if (size != encoded.len || history.key_count == 0 || history.key_count > HISTORY_KEYS_MAX || get_le32(p + 12) > 1)
        return ERROR_SERIALIZATION_FAILED;
    history.transactions = checker_zalloc(history.transaction_count, sizeof(history.transactions[0]));
    history.ops = checker_zalloc(history.op_count, sizeof(history.ops[0]));
    history.marks = checker_zalloc(history.mark_count, sizeof(history.marks[0]));
    history.transaction_capacity = history.transaction_count;
    history.op_capacity = history.op_count;
    history.mark_capacity = history.mark_count;
    append(&history.blob, bytes_of(p + encoded.len - get_le32(p + 28), get_le32(p + 28)));
    decode_lists(p + HEAD_BYTES, &history);
    if (!check_all(&history)) {
        history_done(&history);
        return ERROR_SERIALIZATION_FAILED;
    }
    *ret_history = history;
    return 0;
}
