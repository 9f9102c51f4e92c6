/* Every read against the model.
 *
 * Transactions are taken in the order of their read versions, beside the commits in theirs: one model, moved forward, is all
 * the state. A transaction's own writes are made in the model and undone behind its last read. Only a mismatch is expensive: then
 * one key's whole life is replayed, to say what the wrong value is. */
#include <stdio.h>
#include <stdlib.h>

#include "sim/checkers/atomics.h"
#include "sim/checkers/replay_internal.h"
#include "txn/mutation.h"

struct cell {
    const uint8_t *ptr; /* in the blob or the arena */
    uint32_t len;
    uint32_t writer;
    bool present, atomic;
};

struct undo {
    uint32_t key;
    struct cell cell;
};

struct model {
    struct replay *replay;
    struct cell *cells;
    struct undo *undos; /* of the transaction whose own writes are in the model */
    size_t undo_count, undo_capacity;
    bool own;
};

/* ---- writes ---- */

static void put(struct model *model, uint32_t key, struct cell cell)
{
    if (model->own) {
        model->undos = checker_grow(model->undos, model->undo_count, &model->undo_capacity, sizeof(model->undos[0]));
        model->undos[model->undo_count++] = (struct undo){key, model->cells[key]};
    }
    model->cells[key] = cell;
}

static struct bytes stamp_of(struct replay *replay, uint32_t number)
{
    uint8_t *stamp = arena_alloc(&replay->arena, VERSIONSTAMP_BYTES);
    uint32_t place = replay->commit_of[number];

    assert(stamp != NULL);
    memset(stamp, 0, VERSIONSTAMP_BYTES);
    if (place != REPLAY_NONE)
        mutation_versionstamp(replay->commits[place].version, (uint16_t)replay->commits[place].index, stamp);
    return bytes_of(stamp, VERSIONSTAMP_BYTES);
}

/* What the operation leaves of one key that it writes. */
static struct cell written(struct replay *replay, const struct history_op *op, uint32_t number, struct cell old)
{
    struct bytes value = history_data(replay->history, op);
    struct cell cell = {.writer = number, .present = op->kind != HISTORY_CLEAR};

    if (op->kind == HISTORY_ATOMIC) {
        cell.present = checker_atomic(&replay->arena, op->type, old.present, bytes_of(old.ptr, old.len), value, &value);
        cell.atomic = true;
    } else if (op->kind == HISTORY_STAMP) {
        value = stamp_of(replay, number);
    }
    if (cell.present) {
        cell.ptr = value.ptr;
        cell.len = (uint32_t)value.len;
    }
    return cell;
}

static void apply(struct model *model, const struct history_op *op, uint32_t number)
{
    if (op->kind == HISTORY_CLEAR) {
        for (uint32_t key = op->begin; key < op->end; key++)
            if (model->cells[key].present || model->own)
                put(model, key, (struct cell){.writer = number});
    } else if (op->begin < op->end) {
        put(model, op->begin, written(model->replay, op, number, model->cells[op->begin]));
    }
}

static void apply_all(struct model *model, uint32_t number)
{
    const struct history *history = model->replay->history;
    const struct history_transaction *t = &history->transactions[number];

    for (uint32_t i = 0; i < t->op_count; i++)
        if (history_is_write(history->ops[t->op_begin + i].kind))
            apply(model, &history->ops[t->op_begin + i], number);
}

/* ---- a mismatch: what is it? ---- */

struct observed {
    bool present;
    struct bytes value;
};

static bool matches(const struct cell *cell, const struct observed *observed)
{
    return cell->present == observed->present &&
           (!cell->present || bytes_equal(bytes_of(cell->ptr, cell->len), observed->value));
}

static bool touches(const struct history_op *op, uint32_t key)
{
    return history_is_write(op->kind) && op->begin <= key && key < op->end;
}

static bool wrote_before(const struct history *history, const struct history_transaction *t, uint32_t op_number, uint32_t key)
{
    for (uint32_t i = t->op_begin; i < op_number; i++)
        if (touches(&history->ops[i], key))
            return true;
    return false;
}

/* The life of one key: was the value ever there, and when? */
static enum replay_anomaly search_life(struct replay *replay, uint32_t key, version_t read_version,
                                       const struct observed *observed)
{
    const struct history *history = replay->history;
    enum replay_anomaly found = REPLAY_OK;
    struct cell cell = {.present = false};

    if (!observed->present)
        found = REPLAY_STALE_READ;
    for (size_t i = 0; i < replay->commit_count && found != REPLAY_STALE_READ; i++) {
        const struct history_transaction *t = &history->transactions[replay->commits[i].number];
        bool old = replay->commits[i].version <= read_version, inside = false;

        for (uint32_t n = t->op_begin; n < t->op_begin + t->op_count; n++) {
            if (!touches(&history->ops[n], key))
                continue;
            inside = inside || (cell.writer == replay->commits[i].number && matches(&cell, observed));
            cell = written(replay, &history->ops[n], replay->commits[i].number, cell);
        }
        if (cell.writer == replay->commits[i].number && matches(&cell, observed))
            found = old ? REPLAY_STALE_READ : found == REPLAY_OK ? REPLAY_FUTURE_READ : found;
        else if (inside && found == REPLAY_OK)
            found = REPLAY_INTERMEDIATE_READ;
    }
    return found;
}

/* Who set it without having committed? */
static enum replay_anomaly search_dead(struct replay *replay, uint32_t key, const struct observed *observed)
{
    const struct history *history = replay->history;

    for (uint32_t number = 0; number < history->transaction_count; number++) {
        const struct history_transaction *t = &history->transactions[number];

        if (replay_committed(replay, number))
            continue;
        for (uint32_t n = t->op_begin; n < t->op_begin + t->op_count; n++)
            if (history->ops[n].kind == HISTORY_SET && touches(&history->ops[n], key) && observed->present &&
                bytes_equal(history_data(history, &history->ops[n]), observed->value))
                return t->outcome == HISTORY_UNKNOWN || t->outcome == HISTORY_OPEN ? REPLAY_PARTIAL_COMMIT
                                                                                   : REPLAY_DIRTY_READ;
    }
    return REPLAY_OK;
}

static enum replay_anomaly diagnose(struct model *model, uint32_t number, uint32_t op_number, uint32_t key,
                                    const struct observed *observed)
{
    struct replay *replay = model->replay;
    const struct history *history = replay->history;
    const struct history_transaction *t = &history->transactions[number];
    const struct cell *expected = &model->cells[key];
    bool doubtful = expected->writer < history->transaction_count &&
                    history->transactions[expected->writer].outcome == HISTORY_UNKNOWN;
    enum replay_anomaly found;

    if (wrote_before(history, t, op_number, key))
        return REPLAY_OWN_WRITE_MISSED;
    found = search_life(replay, key, t->read_version, observed);
    if (found == REPLAY_STALE_READ && doubtful)
        return REPLAY_PARTIAL_COMMIT;
    if (found == REPLAY_OK)
        found = search_dead(replay, key, observed);
    if (found == REPLAY_OK)
        found = expected->atomic ? REPLAY_WRONG_ATOMIC : REPLAY_WRONG_VALUE;
    return found;
}

static int mismatch(struct model *model, uint32_t number, uint32_t op_number, uint32_t key, const struct observed *observed)
{
    const struct cell *cell = &model->cells[key];
    const struct history_transaction *t = &model->replay->history->transactions[number];
    char got[80] = "nothing", wanted[80] = "nothing";
    enum replay_anomaly anomaly = diagnose(model, number, op_number, key, observed);

    if (observed->present)
        bytes_print(observed->value, got, sizeof(got));
    if (cell->present)
        bytes_print(bytes_of(cell->ptr, cell->len), wanted, sizeof(wanted));
    return replay_fail(model->replay, anomaly, "transaction %u (client %u) at %lld, operation %u, key %u: got %s, not %s of transaction %d",
                       number, t->client, (long long)t->read_version, op_number - t->op_begin, key, got, wanted,
                       (int)cell->writer);
}

/* ---- reads ---- */

static int check_get(struct model *model, uint32_t number, uint32_t op_number)
{
    const struct history_op *op = &model->replay->history->ops[op_number];
    struct observed observed = {(op->flags & HISTORY_PRESENT) != 0, history_data(model->replay->history, op)};

    model->replay->report->reads++;
    return matches(&model->cells[op->begin], &observed) ? 0 : mismatch(model, number, op_number, op->begin, &observed);
}

/* Walks keys and pairs side by side. */
static int check_range(struct model *model, uint32_t number, uint32_t op_number)
{
    const struct history_op *op = &model->replay->history->ops[op_number];
    struct bytes cursor = history_data(model->replay->history, op);
    struct observed observed = {0};
    uint32_t pair_key = 0, left = op->count;
    bool pair = history_next_pair(&cursor, &pair_key, &observed.value);

    model->replay->report->reads++;
    for (uint32_t i = 0; i < op->end - op->begin && (left > 0 || (op->flags & HISTORY_MORE) == 0); i++) {
        uint32_t key = (op->flags & HISTORY_REVERSE) != 0 ? op->end - 1 - i : op->begin + i;
        struct observed here = {pair && pair_key == key, observed.value};

        if (!matches(&model->cells[key], &here))
            return mismatch(model, number, op_number, key, &here);
        if (here.present) {
            left--;
            pair = history_next_pair(&cursor, &pair_key, &observed.value);
        }
    }
    if (left != 0)
        return replay_fail(model->replay, REPLAY_WRONG_RANGE, "transaction %u: a range read gave key %u out of order or twice",
                           number, pair_key);
    return 0;
}

static uint32_t last_read(const struct history *history, const struct history_transaction *t)
{
    uint32_t end = 0;

    for (uint32_t i = 0; i < t->op_count; i++)
        if (history->ops[t->op_begin + i].kind <= HISTORY_RANGE)
            end = i + 1;
    return end;
}

static int check_reads(struct model *model, uint32_t number)
{
    const struct history *history = model->replay->history;
    const struct history_transaction *t = &history->transactions[number];
    uint32_t end = t->op_begin + last_read(history, t);
    int failed = 0;

    model->own = true;
    for (uint32_t n = t->op_begin; n < end && failed == 0; n++) {
        if (history->ops[n].kind == HISTORY_GET)
            failed = check_get(model, number, n);
        else if (history->ops[n].kind == HISTORY_RANGE)
            failed = check_range(model, number, n);
        else if (history_is_write(history->ops[n].kind))
            apply(model, &history->ops[n], number);
    }
    while (model->undo_count > 0) {
        model->undo_count--;
        model->cells[model->undos[model->undo_count].key] = model->undos[model->undo_count].cell;
    }
    model->own = false;
    return failed;
}

struct reader {
    version_t version;
    uint32_t number;
};

static int compare_readers(const void *a, const void *b)
{
    const struct reader *x = a, *y = b;

    if (x->version != y->version)
        return x->version < y->version ? -1 : 1;
    return x->number < y->number ? -1 : x->number > y->number;
}

/* A transaction that read must say at which version. */
static size_t list_readers(struct replay *replay, struct reader *readers)
{
    const struct history *history = replay->history;
    size_t count = 0;

    for (uint32_t i = 0; i < history->transaction_count; i++)
        if (last_read(history, &history->transactions[i]) != 0)
            readers[count++] = (struct reader){history->transactions[i].read_version, i};
    qsort(readers, count, sizeof(readers[0]), compare_readers);
    return count;
}

int replay_reads(struct replay *replay)
{
    const struct history *history = replay->history;
    struct model model = {.replay = replay, .cells = checker_zalloc(history->key_count, sizeof(model.cells[0]))};
    struct reader *readers = checker_zalloc(history->transaction_count, sizeof(readers[0]));
    size_t count = list_readers(replay, readers), next = 0;
    int failed = 0;

    for (uint32_t key = 0; key < history->key_count; key++)
        model.cells[key].writer = REPLAY_NONE;
    if (count > 0 && readers[0].version == VERSION_NONE)
        failed = replay_fail(replay, REPLAY_MALFORMED, "transaction %u read at no version", readers[0].number);
    for (size_t i = 0; i < count && failed == 0; i++) {
        while (next < replay->commit_count && replay->commits[next].version <= readers[i].version)
            apply_all(&model, replay->commits[next++].number);
        failed = check_reads(&model, readers[i].number);
    }
    mem_free(readers);
    mem_free(model.cells);
    mem_free(model.undos);
    return failed;
}
