/* Mapped ranges, made of the client's own range reads.
 *
 *   INDEX -> MAP -> MAPPED -> MAP -> ..      a few entries' reads at a time; their order is kept
 *
 * FoundationDB lets the storage server that has the index make the keys and read them (from itself, or as a client of others). Here the
 * client does: it costs a round trip, and the semantics are those of the reads it is made of, conflict ranges with them. What FoundationDB
 * forbids is forbidden: snapshot reads, read-your-writes off, and seeing what the transaction wrote itself. A byte limit counts what was
 * mapped; an answer that ends at it has `more'. */
#include "txn/client/mapped.h"

#include "net/planted_bug.h"
#include "txn/client/client_internal.h"
#include "txn/client/tuple_element.h"

enum { INDEX, MAP, MAPPED, MAPPED_STAGES };
enum { AT_ONCE = 16, ENTRY_PAIRS_MAX = 2000, ENTRY_BYTES_MAX = 10000000 };

enum part_kind { PART_ITSELF, PART_OF_KEY, PART_OF_VALUE };

struct mapper_part {
    enum part_kind kind;
    struct bytes element; /* packed */
    int64_t index;        /* -1: it says no number */
};

/* ---- the mapper ---- */

static struct bytes without_doubled(struct bytes string, uint8_t brace, struct arena *arena)
{
    uint8_t *copy = arena_alloc(arena, string.len + 1);
    size_t len = 0;

    for (size_t i = 0; copy != NULL && i < string.len; i++) {
        copy[len++] = string.ptr[i];
        i += string.ptr[i] == brace && i + 1 < string.len && string.ptr[i + 1] == brace;
    }
    return copy == NULL ? bytes_none() : bytes_of(copy, len);
}

/* As strtol would: digits, and whatever stands behind them. */
static int64_t index_in(struct bytes text)
{
    int64_t index = -1;

    for (size_t i = 0; i < text.len && text.ptr[i] >= '0' && text.ptr[i] <= '9' && index < INT32_MAX; i++)
        index = (index < 0 ? 0 : index * 10) + (text.ptr[i] - '0');
    return index;
}

static int take_string(struct transaction_mapped *mapped, struct mapper_part *part, bool is_last)
{
    struct bytes string, plain;
    struct bytes_buffer packed = {0};
    int error = tuple_element_string(part->element, &mapped->arena, &string);

    if (error != 0)
        return error;
    plain = without_doubled(without_doubled(string, '{', &mapped->arena), '}', &mapped->arena);
    if (plain.len < string.len) {
        error = tuple_element_append(&packed, plain);
        if (error == 0)
            error = arena_copy(&mapped->arena, bytes_buffer_bytes(&packed), &part->element);
        bytes_buffer_done(&packed);
    } else if (string.len > 5 && (bytes_starts_with(string, BYTES_LITERAL("{K[")) || bytes_starts_with(string, BYTES_LITERAL("{V["))) &&
               memcmp(string.ptr + string.len - 2, "]}", 2) == 0) {
        part->kind = string.ptr[1] == 'K' ? PART_OF_KEY : PART_OF_VALUE;
        part->index = index_in(bytes_of(string.ptr + 3, string.len - 5));
    } else if (bytes_equal(string, BYTES_LITERAL("{...}"))) {
        error = is_last ? 0 : ERROR_MAPPER_BAD_RANGE_DECRIPTOR;
        mapped->is_range = true;
        mapped->part_count--;
    }
    return error;
}

static int take_mapper(struct transaction_mapped *mapped, struct bytes mapper)
{
    struct bytes left, element;
    int error = arena_copy(&mapped->arena, mapper, &left);

    mapped->parts = arena_zalloc(&mapped->arena, (mapper.len + 1) * sizeof(*mapped->parts)); /* an element has a byte at least */
    if (error != 0 || mapped->parts == NULL)
        return ERROR_OUT_OF_MEMORY;
    for (struct bytes all = left; all.len > 0;)
        if (!tuple_element_next(&all, &element))
            return ERROR_MAPPER_NOT_TUPLE;
    while (error == 0 && tuple_element_next(&left, &element)) {
        struct mapper_part *part = &mapped->parts[mapped->part_count++];

        part->element = element;
        if (element.ptr[0] == TUPLE_CODE_BYTES || element.ptr[0] == TUPLE_CODE_TEXT)
            error = take_string(mapped, part, left.len == 0);
    }
    return error;
}

/* Appends element `index`, as it is packed. */
static int append_element(struct bytes_buffer *out, struct bytes tuple, int64_t index, int not_tuple)
{
    struct bytes element, found = bytes_none();

    for (int64_t i = 0; tuple.len > 0; i++) {
        if (!tuple_element_next(&tuple, &element))
            return not_tuple;
        if (i == index)
            found = element;
    }
    return found.len == 0 ? ERROR_MAPPER_BAD_INDEX : bytes_buffer_append(out, found);
}

static int map_key(const struct transaction_mapped *mapped, const struct client_pair *pair, struct bytes_buffer *out)
{
    int error = 0;

    out->len = 0;
    for (uint32_t i = 0; i < mapped->part_count && error == 0; i++) {
        const struct mapper_part *part = &mapped->parts[i];

        if (part->kind == PART_ITSELF)
            error = bytes_buffer_append(out, part->element);
        else if (part->index < 0)
            error = ERROR_MAPPER_BAD_INDEX;
        else if (part->kind == PART_OF_KEY)
            error = append_element(out, pair->key, part->index, ERROR_KEY_NOT_TUPLE);
        else
            error = append_element(out, pair->value, part->index, ERROR_VALUE_NOT_TUPLE);
    }
    return error;
}

/* ---- own writes ---- */

/* Has the transaction written in [begin, end)? */
static int refuse_own(struct transaction_mapped *mapped, struct bytes begin, struct bytes end)
{
    struct transaction *txn = mapped->txn;
    struct ryw_segment segment;
    struct ryw_cursor cursor;
    int error = 0;

    if (bytes_compare(begin, end) >= 0)
        return 0;
    transaction_lock(txn);
    if (mapped->incarnation != transaction_incarnation(txn)) {
        error = ERROR_TRANSACTION_CANCELLED;
    } else if (!ryw_empty(&txn->ryw)) {
        ryw_cursor_init(&cursor, &txn->ryw, begin, end, false);
        error = ryw_cursor_next(&cursor, &segment) ? ERROR_GET_MAPPED_RANGE_READS_YOUR_WRITES : 0;
    }
    transaction_unlock(txn);
    return error;
}

/* Of the index only what was read of it counts. */
static int refuse_own_index(struct transaction_mapped *mapped)
{
    const struct transaction_range *index = &mapped->index;
    struct bytes begin = index->begin, end = index->end, last;
    int error = 0;

    if (index->more && index->pair_count > 0) {
        last = index->pairs[index->pair_count - 1].key;
        if (mapped->options.reverse)
            begin = last;
        else
            error = key_after(&mapped->arena, last, &end);
    }
    return error != 0 ? error : refuse_own(mapped, begin, end);
}

/* ---- stages ---- */

static struct transaction_mapped *mapped_of(struct op *op)
{
    return container_of(op, struct transaction_mapped, op);
}

static enum op_result read_index(struct op *op)
{
    struct transaction_mapped *mapped = mapped_of(op);

    transaction_range_submit(&mapped->index, op);
    return op_wait(op, MAP);
}

static int make_rows(struct transaction_mapped *mapped)
{
    const struct transaction_range *index = &mapped->index;
    int error = index->call.error != 0 ? index->call.error : refuse_own_index(mapped);

    if (error != 0)
        return error;
    mapped->rows = arena_zalloc(&mapped->arena, (index->pair_count + 1) * sizeof(*mapped->rows));
    mapped->reads = mem_zalloc(AT_ONCE * sizeof(*mapped->reads));
    mapped->more = index->more;
    return mapped->rows == NULL || mapped->reads == NULL ? ERROR_OUT_OF_MEMORY : 0;
}

/* The row's key and value, and what is to be read for it. */
static int make_row(struct transaction_mapped *mapped, const struct client_pair *pair, struct mapped_row *row)
{
    struct bytes_buffer key = {0};
    int error = map_key(mapped, pair, &key);

    if (error == 0)
        error = arena_copy(&mapped->arena, bytes_buffer_bytes(&key), &row->begin);
    if (error == 0 && mapped->is_range)
        error = row->begin.len == 0 ? ERROR_MAPPER_BAD_RANGE_DECRIPTOR : key_strinc(&mapped->arena, row->begin, &row->end);
    else if (error == 0)
        error = key_after(&mapped->arena, row->begin, &row->end);
    row->key = pair->key; /* the index lives as long as the rows */
    row->value = pair->value;
    bytes_buffer_done(&key);
    return error;
}

/* As the library's own: a commit that is called meanwhile waits for it. */
static int start_read(struct transaction_mapped *mapped, uint32_t n)
{
    struct transaction_range_options options = {.limit = ENTRY_PAIRS_MAX, .bytes_limit = ENTRY_BYTES_MAX, .system = true,
                                                .snapshot = PLANTED_BUG(MAPPED_NO_CONFLICT)};
    struct mapped_row *row = &mapped->rows[mapped->at + n];
    struct transaction_range *read = &mapped->reads[n];
    int error = make_row(mapped, &mapped->index.pairs[mapped->at + n], row);

    if (error != 0)
        return error;
    if (transaction_range_prepare(read, mapped->txn, SELECT_FIRST_AT_OR_AFTER(row->begin), SELECT_FIRST_AT_OR_AFTER(row->end), &options))
        return read->call.error;
    if (read->incarnation != mapped->incarnation) /* a reset that is not synced yet; this op can't be ended while it runs */
        return ERROR_TRANSACTION_CANCELLED;
    transaction_range_submit(read, &mapped->op);
    gather_add(&mapped->gather, &read->call.wait);
    return 0;
}

static enum op_result map(struct op *op)
{
    struct transaction_mapped *mapped = mapped_of(op);
    int error = mapped->rows == NULL ? make_rows(mapped) : 0;
    uint32_t left;

    if (error != 0)
        return op_finish(op, error);
    left = mapped->index.pair_count - mapped->at;
    if (left == 0) {
        mapped->row_count = mapped->at;
        return op_finish(op, 0);
    }
    mapped->reading = left < AT_ONCE ? left : AT_ONCE;
    gather_init(&mapped->gather, op, mapped->reading);
    for (uint32_t n = 0; n < mapped->reading && error == 0; n++)
        error = start_read(mapped, n);
    return error != 0 ? op_finish(op, error) : op_wait(op, MAPPED);
}

static int take_read(struct transaction_mapped *mapped, struct mapped_row *row, const struct transaction_range *read)
{
    int error = PLANTED_BUG(MAPPED_OWN_WRITES) ? 0 : refuse_own(mapped, row->begin, row->end);

    if (error != 0)
        return error;
    if (read->more)
        return ERROR_QUICK_GET_KEY_VALUES_HAS_MORE;
    row->pairs = arena_alloc(&mapped->arena, (read->pair_count + 1) * sizeof(*row->pairs));
    if (row->pairs == NULL)
        return ERROR_OUT_OF_MEMORY;
    mapped->bytes += row->key.len + row->value.len;
    for (uint32_t i = 0; i < read->pair_count; i++) {
        if (arena_copy(&mapped->arena, read->pairs[i].key, &row->pairs[i].key) != 0 ||
            arena_copy(&mapped->arena, read->pairs[i].value, &row->pairs[i].value) != 0)
            return ERROR_OUT_OF_MEMORY;
        mapped->bytes += read->pairs[i].key.len + read->pairs[i].value.len;
    }
    row->pair_count = read->pair_count;
    return 0;
}

static bool is_full(const struct transaction_mapped *mapped)
{
    return mapped->options.bytes_limit != 0 && mapped->bytes >= mapped->options.bytes_limit;
}

static enum op_result mapped_some(struct op *op)
{
    struct transaction_mapped *mapped = mapped_of(op);
    uint32_t taken = 0;
    int error = 0;

    for (uint32_t n = 0; n < mapped->reading && error == 0; n++)
        error = mapped->reads[n].call.error;
    for (; taken < mapped->reading && error == 0 && !is_full(mapped); taken++)
        error = take_read(mapped, &mapped->rows[mapped->at + taken], &mapped->reads[taken]);
    for (uint32_t n = 0; n < mapped->reading; n++)
        transaction_range_done(&mapped->reads[n]);
    mapped->at += taken;
    if (error != 0)
        return op_finish(op, error);
    if (!is_full(mapped) || mapped->at == mapped->index.pair_count)
        return op_move(op, MAP);
    mapped->row_count = mapped->at;
    mapped->more = !PLANTED_BUG(MAPPED_MORE_LOST);
    return op_finish(op, 0);
}

static void ended(struct op *op)
{
    struct transaction_mapped *mapped = mapped_of(op);

    for (uint32_t n = 0; mapped->reads != NULL && n < AT_ONCE; n++)
        transaction_range_done(&mapped->reads[n]);
    mem_free(mapped->reads);
    mapped->reads = NULL;
    list_remove(&mapped->link);
    if (mapped->call.under_way) { /* not cancelled */
        client_call_end(&mapped->call, op->error);
        if (op->error != 0)
            transaction_read_failed(mapped->txn, mapped->incarnation, op->error);
    }
    transaction_reads_changed(mapped->txn);
}

static const struct op_stage stages[MAPPED_STAGES] = {
    [INDEX] = {"INDEX", read_index, OP_STAGE(MAP)},
    [MAP] = {"MAP", map, OP_STAGE(MAPPED)},
    [MAPPED] = {"MAPPED", mapped_some, OP_STAGE(MAP)},
};
static const struct op_type mapped_type = {
    .name = "client_mapped", .stages = stages, .stage_count = MAPPED_STAGES, .queue = READY_READ, .ended = ended};

/* ---- start ---- */

bool transaction_mapped_prepare(struct transaction_mapped *mapped, struct transaction *txn, struct key_selector begin,
                                struct key_selector end, struct bytes mapper, const struct transaction_range_options *options)
{
    int error;

    mapped->txn = txn;
    mapped->options = *options;
    transaction_lock(txn);
    error = transaction_failure(txn);
    if (error == 0 && (options->snapshot || txn->ryw_off))
        error = ERROR_UNSUPPORTED_OPERATION;
    transaction_unlock(txn);
    if (error == 0)
        error = take_mapper(mapped, mapper);
    if (error == 0) {
        (void)transaction_range_prepare(&mapped->index, txn, begin, end, options);
        mapped->incarnation = mapped->index.incarnation;
        error = mapped->index.call.error;
    }
    mapped->call.error = error;
    return error != 0;
}

static void cancelled(struct client_call *call)
{
    op_cancel(&container_of(call, struct transaction_mapped, call)->op);
}

void transaction_mapped_submit(struct transaction_mapped *mapped, struct op *op)
{
    struct transaction *txn = mapped->txn;

    transaction_call_begin(txn, &mapped->call, op, cancelled);
    list_push_back(&txn->mappeds, &mapped->link);
    op_start(&mapped->op, &mapped_type, &txn->client->ops);
    transaction_begun(txn, mapped->incarnation);
}

void mapped_fail(struct transaction_mapped *mapped, int error)
{
    if (mapped->call.under_way)
        client_call_end(&mapped->call, error);
    op_cancel(&mapped->op);
}

void transaction_mapped_done(struct transaction_mapped *mapped)
{
    client_call_cancel(&mapped->call);
    transaction_range_done(&mapped->index);
    arena_done(&mapped->arena);
    mapped->rows = NULL;
    mapped->row_count = 0;
}
