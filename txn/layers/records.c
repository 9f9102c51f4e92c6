/* Records: (0, primary key...) = record; (1, index, entry..., (primary key...)) = empty.
 *
 * A put reads the record that is there and changes only the entries that differ, so that a put that changes no indexed field
 * conflicts with no reader of the index. A query by index starts the gets of a batch of entries before it waits for the first. */
#include "txn/layers/read.h"
#include "txn/layers/tuple.h"

#include <stdlib.h>

#include "net/arena.h"

#define RECORD_KEY 0
#define INDEX_KEY 1
#define BATCH 64

struct quoin_index_entries {
    struct arena arena;
    struct bytes *sorted; /* in the arena: packed, in order once sort_entries has run */
    size_t count, capacity;
    quoin_error error; /* the first */
};

/* ---- keys ---- */

static quoin_error record_key(const struct quoin_records *records, struct quoin_slice key, struct quoin_tuple *out,
                              struct quoin_slice *ret_key)
{
    quoin_subspace_start(records->subspace, out);
    quoin_tuple_add_int(out, RECORD_KEY);
    quoin_tuple_add_raw(out, key.data, key.length);
    return quoin_tuple_get(out, ret_key);
}

static void start_index_key(const struct quoin_records *records, const char *index, struct quoin_tuple *out)
{
    quoin_subspace_start(records->subspace, out);
    quoin_tuple_add_int(out, INDEX_KEY);
    quoin_tuple_add_text(out, index, (int)strlen(index));
}

static quoin_error entry_key(const struct quoin_records *records, const char *index, struct bytes entry, struct quoin_slice key,
                             struct quoin_tuple *out, struct quoin_slice *ret_key)
{
    start_index_key(records, index, out);
    quoin_tuple_add_raw(out, entry.ptr, (int)entry.len);
    quoin_tuple_add_nested(out, key.data, key.length);
    return quoin_tuple_get(out, ret_key);
}

/* ---- entries ---- */

static quoin_error grow_entries(struct quoin_index_entries *entries)
{
    size_t capacity = entries->capacity > 0 ? entries->capacity * 2 : 8;
    struct bytes *sorted = arena_alloc(&entries->arena, capacity * sizeof(*sorted));

    if (sorted == NULL)
        return QUOIN_ERROR_OUT_OF_MEMORY;
    if (entries->count > 0)
        memcpy(sorted, entries->sorted, entries->count * sizeof(*sorted));
    entries->sorted = sorted;
    entries->capacity = capacity;
    return 0;
}

quoin_error quoin_index_add(struct quoin_index_entries *entries, const struct quoin_tuple *entry)
{
    struct quoin_slice packed;
    quoin_error error = quoin_tuple_get(entry, &packed);

    if (error == 0 && entries->count == entries->capacity)
        error = grow_entries(entries);
    if (error == 0)
        error = arena_copy(&entries->arena, bytes_of(packed.data, (size_t)packed.length), &entries->sorted[entries->count]);
    if (error == 0)
        entries->count++;
    else if (entries->error == 0)
        entries->error = error;
    return error;
}

static int compare_entries(const void *a, const void *b)
{
    return bytes_compare(*(const struct bytes *)a, *(const struct bytes *)b);
}

/* The entries of a record, in order and each once; none of a record that is not there. */
static quoin_error extract(const struct quoin_record_index *index, struct quoin_slice key, const struct quoin_slice *record,
                           struct quoin_index_entries *out)
{
    quoin_error error = record != NULL ? index->extract(index->context, key, *record, out) : 0;
    size_t kept = 0;

    if (error == 0)
        error = out->error;
    if (error != 0 || out->count == 0)
        return error;
    qsort(out->sorted, out->count, sizeof(*out->sorted), compare_entries);
    for (size_t i = 0; i < out->count; i++) {
        if (kept == 0 || !bytes_equal(out->sorted[kept - 1], out->sorted[i]))
            out->sorted[kept++] = out->sorted[i];
    }
    out->count = kept;
    return 0;
}

/* Writes or clears one entry. */
static quoin_error change_entry(struct quoin_transaction *transaction, const struct quoin_records *records, const char *index,
                                struct bytes entry, struct quoin_slice key, bool present)
{
    struct quoin_tuple at = {0};
    struct quoin_slice packed;
    quoin_error error = entry_key(records, index, entry, key, &at, &packed);

    if (error == 0 && present)
        error = quoin_transaction_set(transaction, packed.data, packed.length, NULL, 0);
    else if (error == 0)
        error = quoin_transaction_clear(transaction, packed.data, packed.length);
    quoin_tuple_done(&at);
    return error;
}

static quoin_error change_index(struct quoin_transaction *transaction, const struct quoin_records *records,
                                const struct quoin_record_index *index, struct quoin_slice key, const struct quoin_slice *before,
                                const struct quoin_slice *after)
{
    struct quoin_index_entries old = {0}, new = {0};
    quoin_error error = extract(index, key, before, &old);
    size_t i = 0, j = 0;

    if (error == 0)
        error = extract(index, key, after, &new);
    while (error == 0 && (i < old.count || j < new.count)) {
        int order = i == old.count ? 1 : j == new.count ? -1 : bytes_compare(old.sorted[i], new.sorted[j]);

        if (order < 0)
            error = change_entry(transaction, records, index->name, old.sorted[i], key, false);
        else if (order > 0)
            error = change_entry(transaction, records, index->name, new.sorted[j], key, true);
        i += order <= 0;
        j += order >= 0;
    }
    arena_done(&old.arena);
    arena_done(&new.arena);
    return error;
}

/* ---- one record ---- */

/* Puts `after` in the place of what is there; NULL removes. */
static quoin_error replace(struct quoin_transaction *transaction, const struct quoin_records *records, const struct quoin_tuple *key,
                           const struct quoin_slice *after, bool *ret_existed)
{
    struct quoin_tuple at = {0};
    struct layer_value old = {0};
    struct quoin_slice packed, record, before;
    quoin_error error = quoin_tuple_get(key, &packed);

    if (error == 0)
        error = record_key(records, packed, &at, &record);
    if (error == 0)
        error = layer_get(transaction, record, false, &old);
    before = (struct quoin_slice){old.data, old.length};
    for (int i = 0; error == 0 && i < records->index_count; i++)
        error = change_index(transaction, records, &records->indexes[i], packed, old.present ? &before : NULL, after);
    if (error == 0 && after != NULL)
        error = quoin_transaction_set(transaction, record.data, record.length, after->data, after->length);
    else if (error == 0 && old.present)
        error = quoin_transaction_clear(transaction, record.data, record.length);
    if (error == 0)
        *ret_existed = old.present;
    layer_value_done(&old);
    quoin_tuple_done(&at);
    return error;
}

quoin_error quoin_records_put(struct quoin_transaction *transaction, const struct quoin_records *records, const struct quoin_tuple *key,
                              const void *record, int length)
{
    struct quoin_slice after = {record, length};
    bool existed;

    if (length < 0 || (record == NULL && length > 0))
        return QUOIN_ERROR_CLIENT_INVALID_OPERATION;
    return replace(transaction, records, key, &after, &existed);
}

quoin_error quoin_records_remove(struct quoin_transaction *transaction, const struct quoin_records *records, const struct quoin_tuple *key,
                                 bool *ret_existed)
{
    return replace(transaction, records, key, NULL, ret_existed);
}

quoin_error quoin_records_get(struct quoin_transaction *transaction, const struct quoin_records *records, const struct quoin_tuple *key,
                              bool *ret_present, struct quoin_buffer *ret_record)
{
    struct quoin_tuple at = {0};
    struct layer_value value = {0};
    struct quoin_slice packed, record;
    quoin_error error = quoin_tuple_get(key, &packed);

    if (error == 0)
        error = record_key(records, packed, &at, &record);
    if (error == 0)
        error = layer_get(transaction, record, false, &value);
    if (error == 0 && value.present)
        error = layer_buffer_copy(ret_record, value.data, value.length);
    if (error == 0)
        *ret_present = value.present;
    layer_value_done(&value);
    quoin_tuple_done(&at);
    return error;
}

/* ---- queries ---- */

/* A found entry whose record is on its way. */
struct found {
    struct bytes key, entry;     /* packed, in the arena */
    struct quoin_future *record; /* owned; NULL with keys_only */
};

struct query {
    struct quoin_transaction *transaction;
    const struct quoin_records *records;
    const struct quoin_query *query;
    quoin_record_visitor *visit;
    void *context;
    struct quoin_tuple prefix, key, at; /* owned */
    struct arena arena;                 /* of a batch */
    struct found batch[BATCH];
    int count;
};

/* prefix and the tuple, and FF when all that begins so belongs to it. */
static quoin_error bound(struct query *q, const struct quoin_tuple *tuple, const void *suffix, int suffix_length, struct quoin_tuple *out)
{
    struct quoin_slice packed = {0};
    quoin_error error = tuple != NULL ? quoin_tuple_get(tuple, &packed) : 0;

    quoin_tuple_reset(out);
    quoin_tuple_add_raw(out, q->prefix.data, q->prefix.length);
    quoin_tuple_add_raw(out, packed.data, packed.length);
    quoin_tuple_add_raw(out, suffix, suffix_length);
    return error != 0 ? error : out->error;
}

static quoin_error start_query(struct query *q)
{
    const char *index = q->query->index;

    if (q->query->limit < 0)
        return 2012;
    if (index != NULL) {
        int i = 0;

        while (i < q->records->index_count && strcmp(q->records->indexes[i].name, index) != 0)
            i++;
        if (i == q->records->index_count)
            return QUOIN_ERROR_CLIENT_INVALID_OPERATION;
        start_index_key(q->records, index, &q->prefix);
    } else {
        quoin_subspace_start(q->records->subspace, &q->prefix);
        quoin_tuple_add_int(&q->prefix, RECORD_KEY);
    }
    return q->prefix.error;
}

/* Takes an index key apart into the entry and the primary key. */
static quoin_error split_entry(struct query *q, const struct quoin_pair *pair, struct found *ret_found)
{
    const uint8_t *rest = pair->key + q->prefix.length;
    int length = pair->key_length - q->prefix.length;
    struct quoin_tuple nested = {0};
    quoin_error error = layer_unnest(rest, length, &q->key);

    if (error != 0)
        return error;
    quoin_tuple_add_nested(&nested, q->key.data, q->key.length);
    error = nested.error;
    if (error == 0 && nested.length > length)
        error = QUOIN_ERROR_INVALID_TUPLE_DATA_TYPE;
    if (error == 0)
        error = arena_copy(&q->arena, bytes_of(rest, (size_t)(length - nested.length)), &ret_found->entry);
    if (error == 0)
        error = arena_copy(&q->arena, bytes_of(q->key.data, (size_t)q->key.length), &ret_found->key);
    quoin_tuple_done(&nested);
    return error;
}

static quoin_error add_found(struct query *q, const struct quoin_pair *pair)
{
    struct found *found = &q->batch[q->count];
    struct quoin_slice at;
    quoin_error error;

    *found = (struct found){0};
    error = split_entry(q, pair, found);
    if (error == 0 && !q->query->keys_only) {
        error = record_key(q->records, (struct quoin_slice){found->key.ptr, (int)found->key.len}, &q->at, &at);
        if (error == 0)
            found->record = quoin_transaction_get(q->transaction, at.data, at.length, q->query->snapshot);
    }
    q->count += error == 0;
    return error;
}

static quoin_error visit_found(struct query *q, struct found *found)
{
    struct layer_value value = {0};
    struct quoin_record record = {.key = {found->key.ptr, (int)found->key.len}, .entry = {found->entry.ptr, (int)found->entry.len}};
    quoin_error error = 0;

    if (!q->query->keys_only) {
        error = layer_get_end(found->record, &value);
        found->record = NULL;
        if (error == 0 && !value.present)
            error = 1000;
        record.record = (struct quoin_slice){value.data, value.length};
    }
    if (error == 0)
        error = q->visit(q->context, &record);
    layer_value_done(&value);
    return error;
}

/* Visits the batch; on an error only lets go of the rest. */
static quoin_error flush(struct query *q, quoin_error error)
{
    for (int i = 0; i < q->count; i++) {
        if (error == 0)
            error = visit_found(q, &q->batch[i]);
        else if (q->batch[i].record != NULL)
            quoin_future_destroy(q->batch[i].record);
    }
    q->count = 0;
    arena_reset(&q->arena);
    return error;
}

static quoin_error visit_primary(struct query *q, const struct quoin_pair *pair)
{
    struct quoin_record record = {.key = {pair->key + q->prefix.length, pair->key_length - q->prefix.length},
                                  .record = {pair->value, q->query->keys_only ? 0 : pair->value_length}};

    return q->visit(q->context, &record);
}

static quoin_error run_query(struct query *q, struct quoin_slice begin, struct quoin_slice end)
{
    struct layer_scan scan = {.snapshot = q->query->snapshot, .reverse = q->query->reverse};
    const struct quoin_pair *pair;
    quoin_error error = 0;

    layer_scan_start(&scan, q->transaction, begin, end, q->query->limit);
    while (error == 0 && (error = layer_scan_next(&scan, &pair)) == 0 && pair != NULL) {
        error = q->query->index != NULL ? add_found(q, pair) : visit_primary(q, pair);
        if (error == 0 && q->count == BATCH)
            error = flush(q, 0);
    }
    error = flush(q, error);
    layer_scan_done(&scan);
    return error;
}

quoin_error quoin_records_query(struct quoin_transaction *transaction, const struct quoin_records *records, const struct quoin_query *query,
                                quoin_record_visitor *visit, void *context)
{
    struct query q = {.transaction = transaction, .records = records, .query = query, .visit = visit, .context = context};
    struct quoin_tuple low = {0}, high = {0};
    bool to_the_end = query->high == NULL || query->high_included;
    quoin_error error = start_query(&q);

    if (error == 0)
        error = bound(&q, query->low, NULL, 0, &low);
    if (error == 0)
        error = bound(&q, query->high, "\xff", to_the_end ? 1 : 0, &high);
    if (error == 0)
        error = run_query(&q, (struct quoin_slice){low.data, low.length}, (struct quoin_slice){high.data, high.length});
    quoin_tuple_done(&low);
    quoin_tuple_done(&high);
    quoin_tuple_done(&q.prefix);
    quoin_tuple_done(&q.key);
    quoin_tuple_done(&q.at);
    arena_done(&q.arena);
    return error == QUOIN_STOP ? 0 : error;
}
