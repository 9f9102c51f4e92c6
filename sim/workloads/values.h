/* What the workloads share: keys with a number, values that are one. */
#pragma once

#include <stdio.h>

#include "net/error.h"
#include "sim/transaction.h"
#include "sim/workload.h"

struct workload_key {
    char text[64];
};

/* "prefix/00000042" */
static inline struct bytes workload_key(struct workload_key *key, const char *prefix, uint64_t number)
{
    int length = snprintf(key->text, sizeof(key->text), "%s/%08llu", prefix, (unsigned long long)number);

    return bytes_of(key->text, (size_t)length);
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
