/* Sets of key ranges. */
#include "sim/workloads/spans.h"

#include <assert.h>
#include <stdlib.h>

struct spans *spans_create(struct sim_transaction *transaction)
{
    struct spans *spans = arena_zalloc(sim_transaction_arena(transaction), sizeof(*spans));

    spans->arena = sim_transaction_arena(transaction);
    return spans;
}

void spans_add(struct spans *spans, struct bytes begin, struct bytes end)
{
    struct span *span = &spans->at[spans->count];

    if (bytes_compare(begin, end) >= 0)
        return;
    assert(spans->count < SPANS_MAX);
    arena_copy(spans->arena, begin, &span->begin);
    arena_copy(spans->arena, end, &span->end);
    spans->count++;
}

void spans_add_key(struct spans *spans, struct bytes key)
{
    uint8_t *end = arena_zalloc(spans->arena, key.len + 1);

    memcpy(end, key.ptr, key.len);
    spans_add(spans, key, bytes_of(end, key.len + 1));
}

static int by_begin(const void *a, const void *b)
{
    return bytes_compare(((const struct span *)a)->begin, ((const struct span *)b)->begin);
}

void spans_join(struct spans *spans)
{
    size_t kept = 0;

    qsort(spans->at, spans->count, sizeof(spans->at[0]), by_begin);
    for (size_t i = 0; i < spans->count; i++) {
        struct span *last = kept == 0 ? NULL : &spans->at[kept - 1];

        if (last != NULL && bytes_compare(spans->at[i].begin, last->end) <= 0)
            last->end = bytes_max(last->end, spans->at[i].end);
        else
            spans->at[kept++] = spans->at[i];
    }
    spans->count = kept;
}

bool spans_cover(const struct spans *spans, struct bytes begin, struct bytes end)
{
    for (size_t i = 0; i < spans->count; i++)
        if (bytes_compare(spans->at[i].begin, begin) <= 0 && bytes_compare(end, spans->at[i].end) <= 0)
            return true;
    return false;
}

bool spans_meet(const struct spans *spans, struct bytes begin, struct bytes end)
{
    for (size_t i = 0; i < spans->count; i++)
        if (bytes_compare(spans->at[i].begin, end) < 0 && bytes_compare(begin, spans->at[i].end) < 0)
            return true;
    return false;
}

bool spans_equal(const struct spans *a, const struct spans *b)
{
    for (size_t i = 0; i < a->count && i < b->count; i++)
        if (!bytes_equal(a->at[i].begin, b->at[i].begin) || !bytes_equal(a->at[i].end, b->at[i].end))
            return false;
    return a->count == b->count;
}

/* Begins and ends take turns, and ascend. */
static bool take_pairs(struct spans *spans, size_t prefix, const struct sim_range *range)
{
    struct bytes last = bytes_none();

    for (size_t i = 0; i < range->count; i++) {
        struct bytes key = bytes_of(range->pairs[i].key.ptr + prefix, range->pairs[i].key.len - prefix);

        if (!bytes_equal(range->pairs[i].value, i % 2 == 0 ? BYTES_LITERAL("1") : BYTES_LITERAL("0")))
            return false;
        if (i > 0 && bytes_compare(last, key) >= 0)
            return false;
        if (i % 2 == 1)
            spans_add(spans, last, key);
        last = key;
    }
    return range->count % 2 == 0;
}

int spans_read(struct sim_transaction *transaction, const char *prefix, struct spans *ret_spans, bool *ret_well)
{
    struct bytes begin = bytes_of_string(prefix);
    uint8_t end[64];
    struct sim_range range = {0};
    int error;

    assert(begin.len <= sizeof(end));
    memcpy(end, begin.ptr, begin.len);
    end[begin.len - 1]++; /* '/' becomes '0' */
    error = sim_read_special(transaction, begin, bytes_of(end, begin.len), &range);
    ret_spans->count = 0;
    *ret_well = error == 0 && range.count <= 2 * SPANS_MAX && take_pairs(ret_spans, begin.len, &range);
    if (*ret_well)
        spans_join(ret_spans);
    return error;
}
