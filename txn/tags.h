/* Tags of transactions, and the keys in which their limits stand.
 *
 *   \xff\x02/throttledTags/tag/ <type> <priority> <length> <tag>   a limit; one byte each before the tag
 *       value: u64 0x0FDB00B070010001 | f64 starts a second | f64 expires (seconds since 1970; 0: not known yet) | f64 duration in
 *       seconds | u8 reason; all little-endian. Valid if and only if the length is 33 or 32 (no reason), and the numbers are finite and not negative
 *   \xff\x02/throttledTags/signal                  changes with each change of a limit
 *   \xff\x02/throttledTags/autoThrottlingEnabled   "1" or "0"
 *   \xff\x02/throttledTags/manualThrottleLimit     i64 little-endian: so many manual limits may be set; absent: THROTTLES_DEFAULT
 *   \xff\x02/throttledTags/manualThrottleCount     i64 little-endian: so many are
 *
 * FoundationDB's keys and bytes (7.1 and later), but for what an expiry counts from: there it is the server's own clock. Pure. */
#pragma once

#include <stdbool.h>

#include "net/bytes.h"
#include "txn/types.h"

#define KEY_THROTTLE_PREFIX BYTES_LITERAL("\xff\x02/throttledTags/tag/")
#define KEY_THROTTLE_END BYTES_LITERAL("\xff\x02/throttledTags/tag0")
#define KEY_THROTTLE_AUTO_PREFIX BYTES_LITERAL("\xff\x02/throttledTags/tag/\x01")
#define KEY_THROTTLE_SIGNAL BYTES_LITERAL("\xff\x02/throttledTags/signal")
#define KEY_THROTTLE_AUTO_ENABLED BYTES_LITERAL("\xff\x02/throttledTags/autoThrottlingEnabled")
#define KEY_THROTTLE_LIMIT BYTES_LITERAL("\xff\x02/throttledTags/manualThrottleLimit")
#define KEY_THROTTLE_COUNT BYTES_LITERAL("\xff\x02/throttledTags/manualThrottleCount")

enum { THROTTLES_DEFAULT = 40, THROTTLE_KEY_BYTES_MAX = 48, THROTTLE_VALUE_BYTES = 33 };

/* ---- names ---- */

struct tag_name {
    uint8_t len;
    uint8_t text[TRANSACTION_TAG_BYTES_MAX];
};

/* Of a transaction. */
struct tag_set {
    uint8_t count;
    struct tag_name names[TRANSACTION_TAGS_MAX];
};

static inline struct bytes tag_bytes(const struct tag_name *name)
{
    return bytes_of(name->text, name->len);
}
static inline bool tag_equal(const struct tag_name *a, const struct tag_name *b)
{
    return bytes_equal(tag_bytes(a), tag_bytes(b));
}
/* False when it is longer than a tag may be. Bytes behind the text are zero. */
bool tag_name_of(struct bytes text, struct tag_name *ret);
/* 0, ERROR_TAG_TOO_LONG or ERROR_TOO_MANY_TAGS. A tag given twice counts once. */
int tag_set_add(struct tag_set *set, struct bytes text);
/* The same tags, in any order. */
bool tag_set_equal(const struct tag_set *a, const struct tag_set *b);
uint64_t tag_hash(const struct tag_name *name);

/* ---- limits ---- */

/* On disk: never renumbered. */
enum throttle_type { THROTTLE_MANUAL = 0, THROTTLE_AUTO = 1 };
enum throttle_priority { THROTTLE_BATCH = 0, THROTTLE_DEFAULT = 1, THROTTLE_IMMEDIATE = 2, THROTTLE_PRIORITIES = 3 };
enum throttle_reason { THROTTLE_UNSET = 0, THROTTLE_BY_HAND = 1, THROTTLE_BUSY_READ = 2, THROTTLE_BUSY_WRITE = 3 };

/* Holds for its priority and those below it. */
struct throttle {
    struct tag_name tag;
    enum throttle_type type;
    enum throttle_priority priority;
    double rate;      /* starts a second, over the whole cluster */
    double expires_s; /* since 1970; 0: duration_s after the ratekeeper has first seen it */
    double duration_s;
    enum throttle_reason reason;
};

/* The key, without its terminating anything; returns its length. */
size_t throttle_key_write(uint8_t out[THROTTLE_KEY_BYTES_MAX], const struct throttle *throttle);
/* Sets tag, type and priority. False for what is no such key (or has several tags). */
bool throttle_key_parse(struct bytes key, struct throttle *ret);
void throttle_value_write(uint8_t out[THROTTLE_VALUE_BYTES], const struct throttle *throttle);
/* Sets the rest. False when it is malformed. */
bool throttle_value_parse(struct bytes value, struct throttle *ret);
const char *throttle_priority_name(enum throttle_priority priority);
const char *throttle_reason_name(enum throttle_reason reason);
/* The words of throttle_priority_name(); false for anything else. */
bool throttle_priority_parse(struct bytes text, enum throttle_priority *ret);
