/* The record codec, the one pass of checks, the versionstamps, and the arithmetic of atomic operations.
 *
 * A patched record must keep its size, or every record behind it would move and the table could not be patched where it
 * lies in the batch's memory. So a record may carry 4 skipped bytes after either parameter: there the versionstamp's
 * offset was. */
#include "txn/mutation.h"

#include "net/error.h"
#include "net/planted_bug.h"
#include "txn/keys.h"

static_assert(MUTATION_HEADER_BYTES + 2 * (uint64_t)UINT32_MAX + 2 * VERSIONSTAMP_OFFSET_BYTES < SIZE_MAX,
              "the size of a record can't overflow");

bool mutation_type_is_atomic(enum mutation_type type)
{
    switch (type) {
    case MUTATION_ADD:
    case MUTATION_AND:
    case MUTATION_OR:
    case MUTATION_XOR:
    case MUTATION_APPEND_IF_FITS:
    case MUTATION_MAX:
    case MUTATION_MIN:
    case MUTATION_BYTE_MIN:
    case MUTATION_BYTE_MAX:
    case MUTATION_MIN_V2:
    case MUTATION_AND_V2:
    case MUTATION_COMPARE_AND_CLEAR:
        return true;
    default:
        return false;
    }
}

int mutation_append(struct bytes_buffer *buffer, enum mutation_type type, struct bytes param1, struct bytes param2)
{
    uint8_t header[MUTATION_HEADER_BYTES] = {(uint8_t)type};
    int error;

    assert((int)type >= 0 && (int)type <= UINT8_MAX);
    if (param1.len > TRANSACTION_BYTES_MAX || param2.len > TRANSACTION_BYTES_MAX)
        return ERROR_CLIENT_INVALID_OPERATION;
    error = bytes_buffer_reserve(buffer, mutation_encoded_bytes(param1.len, param2.len));
    if (error != 0)
        return error;
    put_le32(header + 4, (uint32_t)param1.len);
    put_le32(header + 8, (uint32_t)param2.len);
    bytes_buffer_append(buffer, bytes_of(header, sizeof(header))); /* reserved: these can't fail */
    bytes_buffer_append(buffer, param1);
    bytes_buffer_append(buffer, param2);
    return 0;
}

static bool pads_are_well_formed(const uint8_t *record)
{
    uint8_t pad1 = record[1], pad2 = record[2];

    if (pad1 == 0 && pad2 == 0)
        return true;
    if (record[0] != MUTATION_SET)
        return false;
    return (pad1 == 0 || pad1 == VERSIONSTAMP_OFFSET_BYTES) && (pad2 == 0 || pad2 == VERSIONSTAMP_OFFSET_BYTES);
}

/* Like mutation_next, and says where the record begins. */
static int next_record(struct bytes *cursor, struct mutation *ret, const uint8_t **ret_record)
{
    const uint8_t *record = cursor->ptr;
    uint64_t len1, len2, size;

    if (cursor->len == 0)
        return ERROR_END_OF_STREAM;
    if (cursor->len < MUTATION_HEADER_BYTES || record[3] != 0 || !pads_are_well_formed(record))
        return ERROR_SERIALIZATION_FAILED;
    len1 = get_le32(record + 4);
    len2 = get_le32(record + 8);
    size = MUTATION_HEADER_BYTES + len1 + record[1] + len2 + record[2];
    if (size > cursor->len)
        return ERROR_SERIALIZATION_FAILED;
    ret->type = (enum mutation_type)record[0];
    ret->param1 = bytes_of(record + MUTATION_HEADER_BYTES, len1);
    ret->param2 = bytes_of(ret->param1.ptr + len1 + record[1], len2);
    *ret_record = record;
    *cursor = bytes_of(record + size, cursor->len - size);
    return 0;
}

int mutation_next(struct bytes *cursor, struct mutation *ret)
{
    const uint8_t *record;

    return next_record(cursor, ret, &record);
}

/* Where the 10 bytes go, from the 4-byte offset at the end of a versionstamped parameter. */
static int stamp_offset(struct bytes param, uint32_t *ret_offset)
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

/* The database's metadata version has one legal write: the stamp of the commit itself. */
static int check_metadata_version(const struct mutation *mutation)
{
    static const uint8_t required[VERSIONSTAMP_BYTES + VERSIONSTAMP_OFFSET_BYTES];

    if (mutation->type != MUTATION_SET_VERSIONSTAMPED_VALUE)
        return ERROR_CLIENT_INVALID_OPERATION;
    return bytes_equal(mutation->param2, bytes_of(required, sizeof(required))) ? 0 : ERROR_CLIENT_INVALID_OPERATION;
}

static int check_range(const struct mutation *mutation, struct bytes limit)
{
    if (mutation->param1.len > key_bytes_max(mutation->param1) + 1 ||
        mutation->param2.len > key_bytes_max(mutation->param2) + 1)
        return ERROR_KEY_TOO_LARGE;
    if (bytes_compare(mutation->param1, mutation->param2) > 0)
        return ERROR_INVERTED_RANGE;
    return bytes_compare(mutation->param2, limit) > 0 ? ERROR_KEY_OUTSIDE_LEGAL_RANGE : 0;
}

static int check_write(const struct mutation *mutation, struct bytes limit, unsigned allow)
{
    uint32_t offset;

    if (mutation->param1.len > key_bytes_max(mutation->param1))
        return ERROR_KEY_TOO_LARGE;
    if (mutation->param2.len > VALUE_BYTES_MAX)
        return ERROR_VALUE_TOO_LARGE;
    if (!(allow & MUTATION_ALLOW_PRIVATE) && bytes_equal(mutation->param1, KEY_METADATA_VERSION))
        return check_metadata_version(mutation);
    if (bytes_compare(mutation->param1, limit) >= 0)
        return ERROR_KEY_OUTSIDE_LEGAL_RANGE;
    if (mutation->type == MUTATION_SET_VERSIONSTAMPED_KEY)
        return stamp_offset(mutation->param1, &offset);
    if (mutation->type == MUTATION_SET_VERSIONSTAMPED_VALUE)
        return stamp_offset(mutation->param2, &offset);
    return 0;
}

/* Their reader knows what they mean; here only that they stay within what any mutation may hold. */
static int check_private(const struct mutation *mutation)
{
    if (mutation->param1.len > SYSTEM_KEY_BYTES_MAX + 1)
        return ERROR_KEY_TOO_LARGE;
    return mutation->param2.len > VALUE_BYTES_MAX ? ERROR_VALUE_TOO_LARGE : 0;
}

static bool is_versionstamped(const struct mutation *mutation)
{
    return mutation->type == MUTATION_SET_VERSIONSTAMPED_KEY || mutation->type == MUTATION_SET_VERSIONSTAMPED_VALUE;
}

static int check_mutation(const struct mutation *mutation, unsigned allow)
{
    struct bytes limit = allow & MUTATION_ALLOW_SYSTEM ? KEY_SYSTEM_END : KEY_SYSTEM_BEGIN;

    if (mutation->type >= MUTATION_PRIVATE_MIN)
        return allow & MUTATION_ALLOW_PRIVATE ? check_private(mutation) : ERROR_INVALID_MUTATION_TYPE;
    if (mutation->type == MUTATION_CLEAR_RANGE)
        return check_range(mutation, limit);
    if (mutation->type == MUTATION_SET || is_versionstamped(mutation) || mutation_type_is_atomic(mutation->type))
        return check_write(mutation, limit, allow);
    return ERROR_INVALID_MUTATION_TYPE;
}

static bool touches_system(const struct mutation *mutation)
{
    if (mutation->type == MUTATION_CLEAR_RANGE)
        return bytes_compare(mutation->param2, KEY_SYSTEM_BEGIN) > 0;
    return key_is_system(mutation->param1);
}

int mutation_table_check(struct bytes table, unsigned allow, struct mutation_table_facts *ret_facts)
{
    struct mutation_table_facts facts = {0};
    struct mutation mutation;
    const uint8_t *record;
    int error;

    while ((error = next_record(&table, &mutation, &record)) == 0) {
        if (!(allow & MUTATION_ALLOW_PRIVATE) && (record[1] | record[2]) != 0)
            return ERROR_SERIALIZATION_FAILED;
        error = check_mutation(&mutation, allow);
        if (error != 0)
            return error;
        facts.count++;
        facts.versionstamps += is_versionstamped(&mutation);
        facts.touches_system |= touches_system(&mutation);
    }
    if (error != ERROR_END_OF_STREAM)
        return error;
    *ret_facts = facts;
    return 0;
}

void mutation_versionstamp(version_t version, uint16_t batch_order, uint8_t ret_stamp[VERSIONSTAMP_BYTES])
{
    put_be64(ret_stamp, (uint64_t)version);
    put_be16(ret_stamp + 8, batch_order);
}

/* `field` is which of the record's parameters carries the stamp: 0 or 1. */
static int patch_record(uint8_t *record, int field, struct bytes param, const uint8_t stamp[VERSIONSTAMP_BYTES])
{
    uint8_t *at = (uint8_t *)param.ptr;
    uint32_t offset;
    int error = stamp_offset(param, &offset);

    if (error != 0)
        return error;
    memcpy(at + offset, stamp, VERSIONSTAMP_BYTES);
    memset(at + param.len - VERSIONSTAMP_OFFSET_BYTES, 0, VERSIONSTAMP_OFFSET_BYTES);
    record[0] = MUTATION_SET;
    record[1 + field] = VERSIONSTAMP_OFFSET_BYTES;
    put_le32(record + 4 + 4 * field, (uint32_t)(param.len - VERSIONSTAMP_OFFSET_BYTES));
    return 0;
}

int mutation_patch_versionstamps(uint8_t *table, size_t table_len, version_t version, uint16_t batch_order)
{
    struct bytes cursor = bytes_of(table, table_len);
    uint8_t stamp[VERSIONSTAMP_BYTES];
    struct mutation mutation;
    const uint8_t *record;
    int error;

    mutation_versionstamp(version, batch_order, stamp);
    while ((error = next_record(&cursor, &mutation, &record)) == 0) {
        uint8_t *writable = table + (record - table);

        if (mutation.type == MUTATION_SET_VERSIONSTAMPED_KEY)
            error = patch_record(writable, 0, mutation.param1, stamp);
        else if (mutation.type == MUTATION_SET_VERSIONSTAMPED_VALUE)
            error = patch_record(writable, 1, mutation.param2, stamp);
        if (error != 0)
            return error;
    }
    return error == ERROR_END_OF_STREAM ? 0 : error;
}

/* Atomic operations. Arithmetic and bit operations see the existing value cut or padded with zeros to the parameter's
 * length, byte 0 lowest. */

static uint8_t byte_at(struct bytes value, size_t i)
{
    return i < value.len ? value.ptr[i] : 0;
}

static void combine(enum mutation_type type, struct bytes existing, struct bytes param, uint8_t *out)
{
    unsigned carry = 0;

    for (size_t i = 0; i < param.len; i++) {
        uint8_t e = byte_at(existing, i), p = param.ptr[i];

        if (type == MUTATION_AND || type == MUTATION_AND_V2) {
            out[i] = e & p;
        } else if (type == MUTATION_OR) {
            out[i] = e | p;
        } else if (type == MUTATION_XOR) {
            out[i] = e ^ p;
        } else {
            carry += (unsigned)e + p;
            out[i] = (uint8_t)carry;
            carry >>= 8;
        }
    }
}

/* Little-endian compare of the existing value, cut or padded, with the parameter. */
static int compare_numbers(struct bytes existing, struct bytes param)
{
    for (size_t i = param.len; i-- > 0;) {
        uint8_t e = byte_at(existing, i);

        if (e != param.ptr[i])
            return e < param.ptr[i] ? -1 : 1;
    }
    return 0;
}

static int fit_to(struct arena *arena, struct bytes existing, size_t len, struct bytes *ret_value)
{
    uint8_t *out;

    if (existing.len >= len) {
        *ret_value = bytes_of(existing.ptr, len);
        return 0;
    }
    out = arena_zalloc(arena, len);
    if (out == NULL)
        return ERROR_OUT_OF_MEMORY;
    if (existing.len > 0)
        memcpy(out, existing.ptr, existing.len);
    *ret_value = bytes_of(out, len);
    return 0;
}

static int combine_into(struct arena *arena, enum mutation_type type, struct bytes existing, struct bytes param,
                        struct bytes *ret_value)
{
    uint8_t *out = arena_alloc(arena, param.len);

    if (out == NULL)
        return ERROR_OUT_OF_MEMORY;
    combine(type, existing, param, out);
    *ret_value = bytes_of(out, param.len);
    return 0;
}

static int append_if_fits(struct arena *arena, struct bytes existing, struct bytes param, struct bytes *ret_value)
{
    uint8_t *out;

    if (param.len == 0 || existing.len + param.len > VALUE_BYTES_MAX) {
        *ret_value = existing;
        return 0;
    }
    out = arena_alloc(arena, existing.len + param.len);
    if (out == NULL)
        return ERROR_OUT_OF_MEMORY;
    if (existing.len > 0)
        memcpy(out, existing.ptr, existing.len);
    memcpy(out + existing.len, param.ptr, param.len);
    *ret_value = bytes_of(out, existing.len + param.len);
    return 0;
}

/* The operations on a key that exists; all of them leave it existing. */
static int apply_to_existing(struct arena *arena, enum mutation_type type, struct bytes existing, struct bytes param,
                             struct bytes *ret_value)
{
    int order;

    switch (type) {
    case MUTATION_APPEND_IF_FITS:
        return append_if_fits(arena, existing, param, ret_value);
    case MUTATION_BYTE_MIN:
        *ret_value = bytes_min(existing, param);
        return 0;
    case MUTATION_BYTE_MAX:
        *ret_value = bytes_max(existing, param);
        return 0;
    case MUTATION_MAX:
    case MUTATION_MIN:
    case MUTATION_MIN_V2:
        order = compare_numbers(existing, param);
        if (type == MUTATION_MAX ? order > 0 : order < 0)
            return fit_to(arena, existing, param.len, ret_value);
        *ret_value = param;
        return 0;
    default:
        return combine_into(arena, type, existing, param, ret_value);
    }
}

int mutation_apply_atomic(struct arena *arena, enum mutation_type type, bool exists, struct bytes existing,
                          struct bytes param, bool *ret_exists, struct bytes *ret_value)
{
    struct bytes value = param;
    int error = 0;

    if (!mutation_type_is_atomic(type))
        return ERROR_INVALID_MUTATION_TYPE;
    if (type == MUTATION_COMPARE_AND_CLEAR) {
        *ret_exists = exists && !bytes_equal(existing, param);
        *ret_value = *ret_exists ? existing : bytes_none();
        return 0;
    }
    if (exists)
        error = apply_to_existing(arena, type, existing, param, &value);
    else if (type == MUTATION_AND || type == MUTATION_MIN || /* absent counts as zeros, which win */
             (PLANTED_BUG(ATOMIC_ON_MISSING) && (type == MUTATION_AND_V2 || type == MUTATION_MIN_V2)))
        error = fit_to(arena, bytes_none(), param.len, &value);
    if (error != 0)
        return error;
    *ret_exists = true;
    *ret_value = value;
    return 0;
}
