/* Conflict ranges in their final form: the byte table that a client writes once.
 *
 * A sequence of records without a header; an empty table is valid.
 *
 *   offset   size   field
 *   0        4      begin_len   little-endian
 *   4        4      end_len     little-endian; 0xffffffff: the record is the one key `begin` (a point) and has no end
 *   8        .      begin
 *   8+begin  .      end
 *
 * A record is well formed if and only if it lies wholly in the table. Points are most of what transactions read and
 * write; they cost no second key, and the conflict set keeps them in a hash. */
#pragma once

#include "net/bytes.h"
#include "net/error.h"
#include "txn/types.h"

#define CONFLICT_RANGE_HEADER_BYTES 8u
#define CONFLICT_RANGE_POINT UINT32_MAX

struct conflict_range {
    struct bytes begin; /* borrowed from the table */
    struct bytes end;   /* not there when is_point */
    bool is_point;      /* [begin, begin + '\0') */
};

/* Adds [begin, end); [k, k + '\0') becomes a point, an empty range adds nothing. 0, ERROR_OUT_OF_MEMORY,
 * ERROR_INVERTED_RANGE, or ERROR_KEY_TOO_LARGE when a key has TRANSACTION_BYTES_MAX bytes or more. */
int conflict_range_append(struct bytes_buffer *buffer, struct bytes begin, struct bytes end);
int conflict_range_append_point(struct bytes_buffer *buffer, struct bytes key);

/* Takes the next record off *cursor. 0; ERROR_END_OF_STREAM when the cursor is empty; ERROR_SERIALIZATION_FAILED when the
 * record is not well formed (the cursor does not move). Inline: this is the resolver's inner loop. */
static inline int conflict_range_next(struct bytes *cursor, struct conflict_range *ret);

/* Checks a whole table in one pass. Without `allow_system`, ranges end at \xff at the latest, but for those in \xff/SC/ and
 * \xff/metadataVersion; with it, at \xff\xff. On failure *ret_count is untouched. Errors: SERIALIZATION_FAILED 1044,
 * KEY_TOO_LARGE 2102 (limit + 1 is legal), INVERTED_RANGE 2005 (an empty range is valid, and conflicts with nothing),
 * KEY_OUTSIDE_LEGAL_RANGE 2004. */
int conflict_range_table_check(struct bytes table, bool allow_system, uint32_t *ret_count);

static inline int conflict_range_next(struct bytes *cursor, struct conflict_range *ret)
{
    uint32_t begin_len, end_len;
    uint64_t size;

    if (cursor->len == 0)
        return ERROR_END_OF_STREAM;
    if (cursor->len < CONFLICT_RANGE_HEADER_BYTES)
        return ERROR_SERIALIZATION_FAILED;
    begin_len = get_le32(cursor->ptr);
    end_len = get_le32(cursor->ptr + 4);
    ret->is_point = end_len == CONFLICT_RANGE_POINT;
    size = (uint64_t)CONFLICT_RANGE_HEADER_BYTES + begin_len + (ret->is_point ? 0 : end_len);
    if (size > cursor->len)
        return ERROR_SERIALIZATION_FAILED;
    ret->begin = bytes_of(cursor->ptr + CONFLICT_RANGE_HEADER_BYTES, begin_len);
    ret->end = ret->is_point ? bytes_none() : bytes_of(ret->begin.ptr + begin_len, end_len);
    *cursor = bytes_of(cursor->ptr + size, cursor->len - size);
    return 0;
}
