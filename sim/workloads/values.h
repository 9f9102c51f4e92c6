/* What the workloads share: keys with a number, values that are one. */
#pragma once

#include <stdio.h>

#include "net/error.h"
#include "sim/transaction.h"
#include "sim/workload.h"

struct workload_key {
    char text[64];
};

/* "prefix/" and then bytes that are hard on whoever compares keys: zeros, the sign bit, a key that begins another one. Four numbers
 * share their first byte, from 0x7e on: it alone, then with 00, 00 ff and 80 behind it. Numbers from 488 on are 0xfa and 8 bytes,
 * big-endian. Keys are in the order of their numbers. */
enum { WORKLOAD_KEY_FIRST = 0x7e, WORKLOAD_KEY_LONG = 0xfa, WORKLOAD_KEYS_SHORT = 4 * (0xf8 - 0x7e) };

/* For a run's loop: until the heal; and longer where chaos let nothing happen that the check could show. */
static inline bool workload_goes_on(const struct sim_actor *actor, bool shown)
{
    return !sim_actor_stopping(actor) || !shown;
}

static inline struct bytes workload_key(struct workload_key *key, const char *prefix, uint64_t number)
{
    static const struct bytes tails[4] = {BYTES_LITERAL(""), BYTES_LITERAL("\0"), BYTES_LITERAL("\0\xff"), BYTES_LITERAL("\x80")};
    int length = snprintf(key->text, sizeof(key->text) - 9, "%s/", prefix);
    uint8_t *at = (uint8_t *)key->text + length;
    bool is_short = number < WORKLOAD_KEYS_SHORT;

    at[0] = is_short ? (uint8_t)(WORKLOAD_KEY_FIRST + number / 4) : WORKLOAD_KEY_LONG;
    if (is_short)
        memcpy(at + 1, tails[number % 4].ptr, tails[number % 4].len);
    else
        put_be64(at + 1, number);
    return bytes_of(key->text, (size_t)length + 1 + (is_short ? tails[number % 4].len : 8));
}

/* The number of a key below "prefix/"; false when it is none of ours. */
static inline bool workload_key_number(struct bytes key, const char *prefix, uint64_t *ret_number)
{
    size_t skip = strlen(prefix) + 1;
    struct workload_key again;

    if (key.len <= skip)
        return false;
    if (key.ptr[skip] == WORKLOAD_KEY_LONG && key.len == skip + 9)
        *ret_number = get_be64(key.ptr + skip + 1);
    else
        *ret_number = 4 * (uint64_t)(key.ptr[skip] - WORKLOAD_KEY_FIRST) +
                      (key.len == skip + 1 ? 0 : key.len == skip + 3 ? 2 : key.ptr[skip + 1] == 0 ? 1 : 3);
    return bytes_equal(workload_key(&again, prefix, *ret_number), key);
}

/* Everything below the prefix: ["prefix/", "prefix0"). */
static inline struct bytes workload_begin(struct workload_key *key, const char *prefix)
{
    return bytes_of(key->text, (size_t)snprintf(key->text, sizeof(key->text), "%s/", prefix));
}

static inline struct bytes workload_end(struct workload_key *key, const char *prefix)
{
    return bytes_of(key->text, (size_t)snprintf(key->text, sizeof(key->text), "%s0", prefix));
}

/* A value of 8 bytes, little-endian; false when it is none. */
static inline bool workload_number(struct bytes value, uint64_t *ret_number)
{
    if (value.len != 8)
        return false;
    *ret_number = get_le64(value.ptr);
    return true;
}

static inline struct sim_world *workload_world(struct sim_actor *actor)
{
    return actor->client->world;
}
