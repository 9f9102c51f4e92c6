/* What a transaction writes: checked, remembered for its own reads, and encoded in its final form at once.
 *
 * The order of checks is FoundationDB's. The first error of a write is kept: a caller that did not look at it must not get a
 * commit without that write. */
#include <assert.h>

#include "txn/client/client_internal.h"
#include "txn/client/special_keys.h"

static struct bytes write_end(const struct transaction *txn)
{
    return txn->system_write || txn->raw_access ? KEY_SYSTEM_END : KEY_SYSTEM_BEGIN;
}

/* Takes the lock; 0 when a write may go on. */
static int begin_write(struct transaction *txn)
{
    transaction_lock(txn);
    txn->touched = true;
    return transaction_failure(txn);
}

static int end_write(struct transaction *txn, int error)
{
    if (error != 0 && txn->deferred == 0 && txn->state == TXN_OPEN)
        txn->deferred = error;
    transaction_unlock(txn);
    return error;
}

int transaction_refuse(struct transaction *txn, int error)
{
    int earlier = begin_write(txn);

    return end_write(txn, earlier != 0 ? earlier : error);
}

static bool takes_conflict(struct transaction *txn)
{
    bool takes = !txn->no_write_conflict_next;

    txn->no_write_conflict_next = false;
    return takes;
}

static int add_point(struct transaction *txn, struct bytes key)
{
    if (!takes_conflict(txn))
        return 0;
    transaction_charge_conflict(txn, 2 * key.len + 1);
    return conflict_range_append_point(&txn->write_conflicts, key);
}

static int add_range(struct transaction *txn, struct bytes begin, struct bytes end)
{
    if (!takes_conflict(txn))
        return 0;
    transaction_charge_conflict(txn, begin.len + end.len);
    return conflict_range_append(&txn->write_conflicts, begin, end);
}

static int add_mutation(struct transaction *txn, enum mutation_type type, struct bytes param1, struct bytes param2)
{
    txn->size += param1.len + param2.len;
    return mutation_append(&txn->mutations, type, param1, param2);
}

static int check_key(const struct transaction *txn, struct bytes key)
{
    if (bytes_equal(key, KEY_METADATA_VERSION))
        return ERROR_CLIENT_INVALID_OPERATION;
    if (bytes_compare(key, write_end(txn)) >= 0)
        return ERROR_KEY_OUTSIDE_LEGAL_RANGE;
    return key.len > key_bytes_max(key) ? ERROR_KEY_TOO_LARGE : 0;
}

int transaction_set(struct transaction *txn, struct bytes key, struct bytes value)
{
    int error = begin_write(txn);

    if (error == 0 && special_contains(key))
        return end_write(txn, special_set(txn, key, value));
    if (error == 0)
        error = check_key(txn, key);
    if (error == 0 && value.len > VALUE_BYTES_MAX)
        error = ERROR_VALUE_TOO_LARGE;
    if (error == 0 && !txn->ryw_off)
        error = ryw_set(&txn->ryw, key, value);
    if (error == 0)
        error = add_mutation(txn, MUTATION_SET, key, value);
    if (error == 0)
        error = add_point(txn, key);
    return end_write(txn, error);
}

/* The mutation is the range of one key, whose end is the key and a zero byte. */
static int add_clear(struct transaction *txn, struct bytes key)
{
    struct arena arena = {0};
    struct bytes end;
    int error = key_after(&arena, key, &end);

    if (error == 0)
        error = add_mutation(txn, MUTATION_CLEAR_RANGE, key, end);
    arena_done(&arena);
    return error;
}

static int clear_special(struct transaction *txn, struct bytes key)
{
    struct arena arena = {0};
    struct bytes end;
    int error = key_after(&arena, key, &end);

    if (error == 0)
        error = special_clear(txn, key, end);
    arena_done(&arena);
    return error;
}

int transaction_clear(struct transaction *txn, struct bytes key)
{
    int error = begin_write(txn);

    if (error == 0 && special_contains(key))
        return end_write(txn, clear_special(txn, key));
    if (error == 0)
        error = check_key(txn, key);
    if (error == ERROR_KEY_TOO_LARGE) { /* there is no such key to clear */
        transaction_unlock(txn);
        return 0;
    }
    if (error == 0 && !txn->ryw_off)
        error = ryw_clear(&txn->ryw, key);
    if (error == 0)
        error = add_clear(txn, key);
    if (error == 0)
        error = add_point(txn, key);
    return end_write(txn, error);
}

/* No key is longer than the limit: a longer bound stands where its head and one byte more do. */
static struct bytes cut_bound(struct bytes key)
{
    size_t max = key_bytes_max(key) + 1;

    return key.len > max ? bytes_of(key.ptr, max) : key;
}

static int check_bounds(const struct transaction *txn, struct bytes begin, struct bytes end)
{
    if (bytes_compare(begin, write_end(txn)) > 0 || bytes_compare(end, write_end(txn)) > 0)
        return ERROR_KEY_OUTSIDE_LEGAL_RANGE;
    return bytes_compare(begin, end) > 0 ? ERROR_INVERTED_RANGE : 0;
}

int transaction_clear_range(struct transaction *txn, struct bytes begin, struct bytes end)
{
    int error = begin_write(txn);

    if (error == 0 && special_contains(begin) && begin.len > 2 && bytes_compare(begin, end) <= 0)
        return end_write(txn, special_clear(txn, begin, end));
    if (error == 0)
        error = check_bounds(txn, begin, end);
    begin = cut_bound(begin);
    end = cut_bound(end);
    if (error == 0 && bytes_equal(begin, end)) {
        transaction_unlock(txn);
        return 0;
    }
    if (error == 0 && !txn->ryw_off)
        error = ryw_clear_range(&txn->ryw, begin, end);
    if (error == 0)
        error = add_mutation(txn, MUTATION_CLEAR_RANGE, begin, end);
    if (error == 0)
        error = add_range(txn, begin, end);
    return end_write(txn, error);
}

/* ---- atomic operations ---- */

static int check_stamp(struct bytes param, uint32_t *ret_offset)
{
    uint64_t offset;

    if (param.len < VERSIONSTAMP_OFFSET_BYTES)
        return ERROR_CLIENT_INVALID_OPERATION;
    offset = get_le32(param.ptr + param.len - VERSIONSTAMP_OFFSET_BYTES);
    if (offset + VERSIONSTAMP_BYTES > param.len - VERSIONSTAMP_OFFSET_BYTES)
        return ERROR_CLIENT_INVALID_OPERATION;
    *ret_offset = (uint32_t)offset;
    return 0;
}

/* The keys that a stamped key can come to be: any stamp above the version that is read at. In the map's arena. */
static int stamped_range(struct transaction *txn, struct bytes key, uint32_t offset, struct bytes *ret_begin, struct bytes *ret_end)
{
    uint8_t *begin = arena_alloc(&txn->ryw.arena, key.len), *end = arena_alloc(&txn->ryw.arena, key.len + 1);

    if (begin == NULL || end == NULL)
        return ERROR_OUT_OF_MEMORY;
    memcpy(begin, key.ptr, key.len);
    memcpy(end, key.ptr, key.len);
    mutation_versionstamp(txn->read_version == VERSION_NONE ? 0 : txn->read_version, 0, begin + offset);
    memset(end + offset, 0xff, VERSIONSTAMP_BYTES);
    end[key.len] = 0;
    *ret_begin = bytes_of(begin, key.len);
    *ret_end = bytes_of(end, key.len + 1);
    return 0;
}

static int stamp_key(struct transaction *txn, struct bytes key, struct bytes value)
{
    struct bytes begin, end, bare = bytes_of(key.ptr, key.len - VERSIONSTAMP_OFFSET_BYTES);
    uint32_t offset;
    int error = check_stamp(key, &offset);

    if (error == 0 && bare.len > key_bytes_max(bare))
        error = ERROR_KEY_TOO_LARGE;
    if (error == 0 && value.len > VALUE_BYTES_MAX)
        error = ERROR_VALUE_TOO_LARGE;
    if (error == 0)
        error = stamped_range(txn, bare, offset, &begin, &end);
    if (error == 0 && bytes_compare(end, write_end(txn)) > 0)
        error = ERROR_KEY_OUTSIDE_LEGAL_RANGE;
    if (error == 0 && !txn->ryw_off)
        error = ryw_unreadable_range(&txn->ryw, begin, end);
    if (error == 0)
        error = add_mutation(txn, MUTATION_SET_VERSIONSTAMPED_KEY, key, value);
    return error != 0 ? error : add_range(txn, begin, end);
}

static int check_metadata_version(enum mutation_type type, struct bytes param)
{
    static const uint8_t required[VERSIONSTAMP_BYTES + VERSIONSTAMP_OFFSET_BYTES];

    return type == MUTATION_SET_VERSIONSTAMPED_VALUE && bytes_equal(param, bytes_of(required, sizeof(required)))
               ? 0
               : ERROR_CLIENT_INVALID_OPERATION;
}

static int atomic(struct transaction *txn, enum mutation_type type, struct bytes key, struct bytes param)
{
    uint32_t offset;
    int error = special_contains(key) ? ERROR_KEY_OUTSIDE_LEGAL_RANGE : check_key(txn, key);

    if (bytes_equal(key, KEY_METADATA_VERSION))
        error = check_metadata_version(type, param);
    if (error == 0 && param.len > VALUE_BYTES_MAX)
        error = ERROR_VALUE_TOO_LARGE;
    if (error == 0 && type == MUTATION_SET_VERSIONSTAMPED_VALUE)
        error = check_stamp(param, &offset);
    if (error == 0 && !txn->ryw_off)
        error = type == MUTATION_SET_VERSIONSTAMPED_VALUE ? ryw_unreadable(&txn->ryw, key)
                                                          : ryw_atomic(&txn->ryw, type, key, param);
    if (error == 0)
        error = add_mutation(txn, type, key, param);
    return error != 0 ? error : add_point(txn, key);
}

/* The type that is meant: AND and MIN took an absent key for zeros before API version 510. 0: there is none. */
static enum mutation_type meant_type(const struct transaction *txn, enum mutation_type type)
{
    bool old = txn->settings.api_version < 510;

    switch (type) {
    case MUTATION_MIN:
        return old ? MUTATION_MIN : MUTATION_MIN_V2;
    case MUTATION_AND:
        return old ? MUTATION_AND : MUTATION_AND_V2;
    case MUTATION_MIN_V2:
    case MUTATION_AND_V2:
        return 0;
    case MUTATION_SET_VERSIONSTAMPED_KEY:
    case MUTATION_SET_VERSIONSTAMPED_VALUE:
        return type;
    default:
        return mutation_type_is_atomic(type) ? type : 0;
    }
}

/* Before API version 520 a stamped key ended in 2 bytes of offset, and a stamped value had none: its stamp was at its begin.
 * `room` is for what is made of it. */
static int modern_stamps(const struct transaction *txn, enum mutation_type type, struct bytes *key, struct bytes *param,
                         struct bytes_buffer *room)
{
    static const uint8_t zeros[VERSIONSTAMP_OFFSET_BYTES];
    bool in_key = type == MUTATION_SET_VERSIONSTAMPED_KEY;
    struct bytes *old = in_key ? key : param;
    int error;

    if (txn->settings.api_version >= 520 || (!in_key && type != MUTATION_SET_VERSIONSTAMPED_VALUE))
        return 0;
    if (in_key && key->len < 2)
        return ERROR_CLIENT_INVALID_OPERATION;
    error = bytes_buffer_append(room, *old);
    if (error == 0)
        error = bytes_buffer_append(room, bytes_of(zeros, in_key ? 2 : VERSIONSTAMP_OFFSET_BYTES));
    *old = bytes_buffer_bytes(room);
    return error;
}

int transaction_atomic(struct transaction *txn, enum mutation_type type, struct bytes key, struct bytes param)
{
    struct bytes_buffer room = {0};
    int error = begin_write(txn);
    enum mutation_type meant = meant_type(txn, type);

    if (error == 0)
        error = meant == 0 ? ERROR_INVALID_MUTATION_TYPE : modern_stamps(txn, type, &key, &param, &room);
    if (error == 0 && type == MUTATION_SET_VERSIONSTAMPED_KEY)
        error = key.len < VERSIONSTAMP_OFFSET_BYTES ? ERROR_CLIENT_INVALID_OPERATION : stamp_key(txn, key, param);
    else if (error == 0)
        error = atomic(txn, meant, key, param);
    bytes_buffer_done(&room);
    return end_write(txn, error);
}

/* ---- explicit conflict ranges ---- */

static struct bytes conflict_end(const struct transaction *txn, enum conflict_kind kind)
{
    bool system = txn->system_write || txn->raw_access || (kind == CONFLICT_READ && txn->system_read);

    return system ? KEY_SYSTEM_END : KEY_SYSTEM_BEGIN;
}

static int add_conflict(struct transaction *txn, enum conflict_kind kind, struct bytes begin, struct bytes end)
{
    struct bytes_buffer *table = kind == CONFLICT_READ ? &txn->read_conflicts : &txn->write_conflicts;
    struct bytes limit = conflict_end(txn, kind);

    if (bytes_compare(begin, limit) > 0 || bytes_compare(end, limit) > 0)
        return ERROR_KEY_OUTSIDE_LEGAL_RANGE;
    if (bytes_compare(begin, end) > 0)
        return ERROR_INVERTED_RANGE;
    begin = cut_bound(begin);
    end = cut_bound(end);
    transaction_charge_conflict(txn, begin.len + end.len);
    return conflict_range_append(table, begin, end);
}

int transaction_add_conflict_range(struct transaction *txn, enum conflict_kind kind, struct bytes begin, struct bytes end)
{
    int error;

    transaction_lock(txn);
    txn->touched = true;
    error = transaction_failure(txn);
    if (error == 0)
        error = add_conflict(txn, kind, begin, end);
    transaction_unlock(txn);
    return error;
}
