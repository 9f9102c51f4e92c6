/* What is special about some keys: the key space's landmarks, and the successors of a key.
 *
 * Keys are byte strings in unsigned lexicographic order. "" .. \xff belongs to applications, \xff .. \xff\xff to the
 * system, \xff\xff .. to the client library's special keys, which no server ever sees. */
#pragma once

#include "net/arena.h"
#include "net/bytes.h"
#include "txn/types.h"

struct key_range {
    struct bytes begin, end; /* borrowed; begin included, end not */
};

#define KEY_SYSTEM_BEGIN BYTES_LITERAL("\xff")
#define KEY_SYSTEM_END BYTES_LITERAL("\xff\xff")
#define KEY_SPECIAL_BEGIN BYTES_LITERAL("\xff\xff")
#define KEY_SPECIAL_END BYTES_LITERAL("\xff\xff\xff")
#define KEY_NON_METADATA_BEGIN BYTES_LITERAL("\xff\x02") /* system keys that are ordinary data */
#define KEY_NON_METADATA_END BYTES_LITERAL("\xff\x03")
#define KEY_METADATA_VERSION BYTES_LITERAL("\xff/metadataVersion")
#define KEY_SELF_CONFLICT_BEGIN BYTES_LITERAL("\xff/SC/") /* any transaction may name these in conflict ranges */
#define KEY_SELF_CONFLICT_END BYTES_LITERAL("\xff/SC0")

static inline bool key_is_system(struct bytes key)
{
    return key.len > 0 && key.ptr[0] == 0xff;
}

/* The longest legal key that shares its first byte with `key`. */
static inline size_t key_bytes_max(struct bytes key)
{
    return key_is_system(key) ? SYSTEM_KEY_BYTES_MAX : KEY_BYTES_MAX;
}

/* True when `end` is the key right after `key`, so that [key, end) holds that one key. */
static inline bool key_is_after(struct bytes key, struct bytes end)
{
    return end.len == key.len + 1 && end.ptr[key.len] == 0 && bytes_starts_with(end, key);
}

static inline bool key_range_contains(struct key_range range, struct bytes key)
{
    return bytes_compare(range.begin, key) <= 0 && bytes_compare(key, range.end) < 0;
}

static inline bool key_ranges_meet(struct key_range a, struct key_range b)
{
    return bytes_compare(a.begin, b.end) < 0 && bytes_compare(b.begin, a.end) < 0;
}

/* The first key after `key`: key and a zero byte. *ret_after lives in the arena. 0 or ERROR_OUT_OF_MEMORY. */
int key_after(struct arena *arena, struct bytes key, struct bytes *ret_after);

/* The first key that does not begin with `prefix`: trailing \xff cut off, the last byte raised by one. *ret_after lives
 * in the arena. 0, ERROR_OUT_OF_MEMORY, or ERROR_CLIENT_INVALID_OPERATION when there is none (all bytes \xff, or no
 * byte at all). */
int key_strinc(struct arena *arena, struct bytes prefix, struct bytes *ret_after);
