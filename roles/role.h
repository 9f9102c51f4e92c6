/* What every role gets from the worker that hosts it, and what it owes in return.
 *
 * A role is created by its X_create(context, request), which takes over the init_X request and answers it (role_started, or
 * an error) when the role can serve; it registers its endpoint (the role id) with the rpc. It ends by X_destroy: that
 * cancels its ops from any stage, answers or drops every request it still holds (ERROR_BROKEN_PROMISE), unregisters, and leaks
 * nothing. A role that can't go on calls context->ended() once, with a reason, and then only waits to be destroyed:
 * the worker does that later, never from inside the call. */
#pragma once

#include "net/env.h"
#include "net/rpc.h"
#include "net/trace.h"
#include "txn/messages.h"

struct role_context {
    struct env *env;             /* borrowed for the role's life */
    struct rpc *rpc;             /* borrowed for the role's life */
    const char *data_directory;  /* of the process; borrowed for the role's life */
    const struct address *coordinators; /* of the cluster; borrowed for the role's life */
    uint32_t coordinator_count;
    /* "I can't go on": traced by the role before the call. */
    void (*ended)(void *host, enum role_kind kind, uint64_t role_id, int error);
    /* A storage server's or log's registered facts have changed: the worker registers again. May be NULL. */
    void (*changed)(void *host);
    void *host;
};

static inline struct endpoint endpoint_of(const struct wire_endpoint *wire)
{
    return (struct endpoint){{wire->address.ip, wire->address.port}, wire->id};
}

static inline struct wire_endpoint wire_of(const struct endpoint *endpoint)
{
    return (struct wire_endpoint){{endpoint->address.ip, endpoint->address.port}, endpoint->id};
}

/* Directories of roles with state: "<data>/log-<16 hex digits>", "<data>/storage-<16 hex digits>". */
enum { ROLE_PATH_MAX = 4096 };
char *role_directory(const char *data_directory, enum role_kind kind, uint64_t role_id, char out[ROLE_PATH_MAX]);
/* Adds one number to a status; name must be a literal. The arena owns the growth. */
void role_metric(struct role_status *status, struct arena *arena, const char *name, int64_t value);
/* A few words for status; the text is copied. */
void role_text(struct role_status *status, struct arena *arena, const char *name, struct bytes text);
