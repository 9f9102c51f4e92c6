#include "txn/conflict_range.h"

#include "txn/keys.h"

static int append(struct bytes_buffer *buffer, struct bytes begin, struct bytes end, bool is_point)
{
    uint8_t header[CONFLICT_RANGE_HEADER_BYTES];
    int error;

    if (begin.len >= TRANSACTION_BYTES_MAX || end.len >= TRANSACTION_BYTES_MAX)
        return ERROR_KEY_TOO_LARGE;
    error = bytes_buffer_reserve(buffer, sizeof(header) + begin.len + end.len);
    if (error != 0)
        return error;
    put_le32(header, (uint32_t)begin.len);
    put_le32(header + 4, is_point ? CONFLICT_RANGE_POINT : (uint32_t)end.len);
    bytes_buffer_append(buffer, bytes_of(header, sizeof(header))); /* reserved: these can't fail */
    bytes_buffer_append(buffer, begin);
    bytes_buffer_append(buffer, end);
    return 0;
}

int conflict_range_append(struct bytes_buffer *buffer, struct bytes begin, struct bytes end)
{
    int order = bytes_compare(begin, end);

    if (order > 0)
        return ERROR_INVERTED_RANGE;
    if (order == 0)
        return 0;
    if (key_is_after(begin, end))
        return append(buffer, begin, bytes_none(), true);
    return append(buffer, begin, end, false);
}

int conflict_range_append_point(struct bytes_buffer *buffer, struct bytes key)
{
    return append(buffer, key, bytes_none(), true);
}

/* May a transaction without leave name [begin, end) beyond the applications' key space? */
static bool is_open_to_all(const struct conflict_range *range)
{
    struct bytes end = range->is_point ? range->begin : range->end;

    if (bytes_compare(range->begin, KEY_SELF_CONFLICT_BEGIN) >= 0 && bytes_compare(end, KEY_SELF_CONFLICT_END) <= 0)
        return true;
    if (!bytes_equal(range->begin, KEY_METADATA_VERSION))
        return false;
    return range->is_point || key_is_after(range->begin, range->end);
}

static int check_place(const struct conflict_range *range, bool allow_system)
{
    struct bytes limit = allow_system ? KEY_SYSTEM_END : KEY_SYSTEM_BEGIN;
    bool inside = range->is_point ? bytes_compare(range->begin, limit) < 0 : bytes_compare(range->end, limit) <= 0;

    return inside || is_open_to_all(range) ? 0 : ERROR_KEY_OUTSIDE_LEGAL_RANGE;
}

static int check_range(const struct conflict_range *range, bool allow_system)
{
    if (range->begin.len > key_bytes_max(range->begin) + 1)
        return ERROR_KEY_TOO_LARGE;
    if (!range->is_point && range->end.len > key_bytes_max(range->end) + 1)
        return ERROR_KEY_TOO_LARGE;
    if (!range->is_point && bytes_compare(range->begin, range->end) > 0)
        return ERROR_INVERTED_RANGE;
    return check_place(range, allow_system);
}

int conflict_range_table_check(struct bytes table, bool allow_system, uint32_t *ret_count)
{
    struct conflict_range range;
    uint32_t count = 0;
    int error;

    while ((error = conflict_range_next(&table, &range)) == 0) {
        error = check_range(&range, allow_system);
        if (error != 0)
            return error;
        count++;
    }
    if (error != ERROR_END_OF_STREAM)
        return error;
    *ret_count = count;
    return 0;
}
