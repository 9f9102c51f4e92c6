/* One JSON line an event: {"Time":..,"Severity":..,"Type":"..",...fields}.
 *
 *   TRACE(env, SEVERITY_INFO, "RecoveryState", {"Epoch", trace_int(epoch)}, {"Stage", trace_str("LOCK_LOGS")});
 *
 * A field is a name and a value made by trace_int, trace_str, trace_bytes, trace_addr or trace_id; at least one.
 * An event of SEVERITY_ERROR fails a simulated run. */
#pragma once

#include "net/env.h"

struct trace_value {
    enum { TRACE_INT, TRACE_STR, TRACE_BYTES, TRACE_ADDR, TRACE_ID } kind;
    union {
        int64_t number;
        const char *string;    /* borrowed during the call */
        struct bytes bytes;    /* borrowed during the call */
        struct address address;
        uint64_t id;
    } u;
};

struct trace_field {
    const char *name;
    struct trace_value value;
};

static inline struct trace_value trace_int(int64_t number)
{
    return (struct trace_value){.kind = TRACE_INT, .u.number = number};
}
static inline struct trace_value trace_str(const char *string)
{
    return (struct trace_value){.kind = TRACE_STR, .u.string = string};
}
static inline struct trace_value trace_bytes(struct bytes bytes)
{
    return (struct trace_value){.kind = TRACE_BYTES, .u.bytes = bytes};
}
static inline struct trace_value trace_addr(struct address address)
{
    return (struct trace_value){.kind = TRACE_ADDR, .u.address = address};
}
static inline struct trace_value trace_id(uint64_t id) /* 16 hexadecimal digits */
{
    return (struct trace_value){.kind = TRACE_ID, .u.id = id};
}

void trace_event(struct env *env, enum severity severity, const char *type, const struct trace_field *fields, size_t count);

#define TRACE_FIELDS(...) ((const struct trace_field[]){__VA_ARGS__})
/* TRACE(env, SEVERITY_INFO, "RoleStarted", {"Role", trace_str("log")}, {"Id", trace_id(id)}); */
#define TRACE(env, severity, type, ...)                                          \
    trace_event((env), (severity), (type), TRACE_FIELDS(__VA_ARGS__),            \
                sizeof(TRACE_FIELDS(__VA_ARGS__)) / sizeof(struct trace_field))
