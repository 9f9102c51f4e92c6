/* The high-contention allocator: short unique integers for many transactions at once.
 *
 * Source: FoundationDB's directory layer. Candidates are drawn from a window of integers; (0, start) counts the allocations in the window
 * that begins at `start`, (1, candidate) marks what is taken. A transaction reads the count by snapshot and marks without a write conflict,
 * so that two conflict only when they drew the same candidate: one reads what the other adds a write conflict for. A window
 * that is half full gives way to the next.
 *
 * Where the draw comes from does not matter for what is allocated, only for how often two draw the same: the read version, the transaction's
 * address and how much it has written differ between transactions, processes and draws, and need no state. */
#include "txn/layers/read.h"

#include "net/bytes.h"

#define COUNTERS 0
#define RECENT 1

struct allocator {
    struct quoin_transaction *transaction;
    const struct quoin_subspace *subspace;
    struct quoin_tuple key; /* owned */
    int64_t start;          /* of the window */
    uint64_t draws;
};

static int64_t window_size(int64_t start)
{
    return start < 255 ? 64 : start < 65535 ? 1024 : 8192;
}

/* (kind, number) in a.key. */
static quoin_error make_key(struct allocator *a, int kind, int64_t number, struct quoin_slice *ret_key)
{
    quoin_subspace_start(a->subspace, &a->key);
    quoin_tuple_add_int(&a->key, kind);
    quoin_tuple_add_int(&a->key, number);
    return quoin_tuple_get(&a->key, ret_key);
}

static quoin_error kind_range(struct allocator *a, int kind, struct quoin_key_range *ret_range)
{
    quoin_subspace_start(a->subspace, &a->key);
    quoin_tuple_add_int(&a->key, kind);
    return quoin_tuple_range(&a->key, ret_range);
}

static quoin_error start_of(struct allocator *a, const struct quoin_pair *pair, int64_t *ret_start)
{
    struct quoin_unpacked *unpacked;
    quoin_error error = quoin_subspace_unpack(a->subspace, pair->key, pair->key_length, &unpacked);

    if (error != 0)
        return error == QUOIN_ERROR_OUT_OF_MEMORY ? error : QUOIN_ERROR_INVALID_DIRECTORY_LAYER_METADATA;
    error = quoin_unpacked_int(unpacked, 1, ret_start);
    quoin_unpacked_destroy(unpacked);
    return error != 0 || *ret_start < 0 || *ret_start > INT64_MAX / 2 ? QUOIN_ERROR_INVALID_DIRECTORY_LAYER_METADATA : 0;
}

/* Where the newest window starts. */
static quoin_error newest_start(struct allocator *a, int64_t *ret_start)
{
    struct quoin_key_range range = {0};
    struct layer_scan scan = {.snapshot = true, .reverse = true};
    const struct quoin_pair *last = NULL;
    quoin_error error = kind_range(a, COUNTERS, &range);

    if (error == 0) {
        layer_scan_start(&scan, a->transaction, layer_slice(&range.begin), layer_slice(&range.end), 1);
        error = layer_scan_next(&scan, &last);
    }
    if (error == 0 && last != NULL)
        error = start_of(a, last, ret_start);
    else if (error == 0)
        *ret_start = 0;
    layer_scan_done(&scan);
    quoin_key_range_done(&range);
    return error;
}

/* Counts this allocation in its window. */
static quoin_error count_up(struct allocator *a, int64_t *ret_count)
{
    uint8_t one[8];
    struct quoin_slice key;
    struct layer_value value = {0};
    quoin_error error = make_key(a, COUNTERS, a->start, &key);

    put_le64(one, 1);
    if (error == 0)
        error = quoin_transaction_atomic(a->transaction, QUOIN_ADD, key.data, key.length, one, sizeof(one));
    if (error == 0)
        error = layer_get(a->transaction, key, true, &value);
    if (error == 0 && value.present && value.length != 8)
        error = QUOIN_ERROR_INVALID_DIRECTORY_LAYER_METADATA;
    if (error == 0)
        *ret_count = value.present ? (int64_t)get_le64(value.data) : 0;
    layer_value_done(&value);
    return error;
}

static quoin_error without_write_conflict(struct allocator *a)
{
    return quoin_transaction_set_option(a->transaction, QUOIN_OPTION_NEXT_WRITE_NO_WRITE_CONFLICT_RANGE, NULL, 0);
}

/* Clears everything of a kind below the window's start. */
static quoin_error clear_below(struct allocator *a, int kind)
{
    struct quoin_key_range range = {0};
    struct quoin_slice end;
    quoin_error error = kind_range(a, kind, &range);

    if (error == 0)
        error = make_key(a, kind, a->start, &end);
    if (error == 0 && kind == RECENT)
        error = without_write_conflict(a);
    if (error == 0) /* from the prefix itself, as all bindings do */
        error = quoin_transaction_clear_range(a->transaction, range.begin.data, range.begin.length - 1, end.data, end.length);
    quoin_key_range_done(&range);
    return error;
}

/* The window that has room, with this allocation counted in it. */
static quoin_error find_window(struct allocator *a)
{
    int64_t count = 0;
    quoin_error error = newest_start(a, &a->start);

    while (error == 0) {
        error = count_up(a, &count);
        if (error == 0 && (count < 0 || count > INT64_MAX / 2))
            error = QUOIN_ERROR_INVALID_DIRECTORY_LAYER_METADATA;
        if (error != 0 || count * 2 < window_size(a->start))
            break;
        a->start += window_size(a->start);
        error = clear_below(a, COUNTERS);
        if (error == 0)
            error = clear_below(a, RECENT);
    }
    return error;
}

static uint64_t scramble(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static quoin_error number_of(struct quoin_future *future, int64_t *ret_number)
{
    quoin_error error = quoin_future_block_until_ready(future);

    if (error == 0)
        error = quoin_future_get_int64(future, ret_number);
    quoin_future_destroy(future);
    return error;
}

static quoin_error draw_candidate(struct allocator *a, int64_t *ret_candidate)
{
    int64_t version, written;
    quoin_error error = number_of(quoin_transaction_get_read_version(a->transaction), &version);
    uint64_t mixed;

    if (error == 0)
        error = number_of(quoin_transaction_get_approximate_size(a->transaction), &written);
    if (error != 0)
        return error;
    mixed = scramble((uint64_t)version + 0x9e3779b97f4a7c15u * ++a->draws);
    mixed = scramble(mixed ^ (uint64_t)(uintptr_t)a->transaction);
    mixed = scramble(mixed ^ (uint64_t)written);
    *ret_candidate = a->start + (int64_t)(mixed % (uint64_t)window_size(a->start));
    return 0;
}

/* Marks a candidate as taken; *ret_free says whether it was not yet. */
static quoin_error take_candidate(struct allocator *a, struct quoin_slice key, bool *ret_free)
{
    struct layer_value taken = {0};
    quoin_error error = layer_get(a->transaction, key, false, &taken);

    *ret_free = !taken.present;
    layer_value_done(&taken);
    if (error == 0)
        error = without_write_conflict(a);
    if (error == 0)
        error = quoin_transaction_set(a->transaction, key.data, key.length, NULL, 0);
    return error;
}

static quoin_error add_write_conflict(struct allocator *a, int64_t candidate)
{
    struct quoin_slice begin, after;
    quoin_error error = make_key(a, RECENT, candidate, &begin);

    if (error != 0)
        return error;
    quoin_tuple_add_raw(&a->key, "", 1); /* the next key */
    error = quoin_tuple_get(&a->key, &after);
    if (error == 0)
        error = quoin_transaction_add_conflict_range(a->transaction, QUOIN_CONFLICT_WRITE, after.data, after.length - 1, after.data,
                                                     after.length);
    return error;
}

/* Draws until it has one, or the window has moved (then *ret_candidate is -1). */
static quoin_error find_candidate(struct allocator *a, int64_t *ret_candidate)
{
    int64_t candidate = -1, newest = 0;
    struct quoin_slice key;
    bool is_free = false;
    quoin_error error = 0;

    while (error == 0 && !is_free) {
        error = draw_candidate(a, &candidate);
        if (error == 0)
            error = newest_start(a, &newest);
        if (error == 0)
            error = make_key(a, RECENT, candidate, &key);
        if (error == 0)
            error = take_candidate(a, key, &is_free);
        if (error == 0 && newest > a->start) {
            *ret_candidate = -1;
            return 0;
        }
    }
    if (error == 0)
        error = add_write_conflict(a, candidate);
    if (error == 0)
        *ret_candidate = candidate;
    return error;
}

quoin_error quoin_allocate(struct quoin_transaction *transaction, const struct quoin_subspace *subspace, struct quoin_tuple *ret_tuple)
{
    struct allocator a = {.transaction = transaction, .subspace = subspace};
    int64_t candidate = -1;
    quoin_error error = 0;

    while (error == 0 && candidate < 0) {
        error = find_window(&a);
        if (error == 0)
            error = find_candidate(&a, &candidate);
    }
    quoin_tuple_done(&a.key);
    if (error != 0)
        return error;
    quoin_tuple_reset(ret_tuple);
    quoin_tuple_add_int(ret_tuple, candidate);
    return ret_tuple->error;
}
