/* A call that is sent again on a new connection until somebody answers it.
 *
 * For requests that are keyed, so that a repeat does no harm (get_commit_version, resolve, push, report_committed,
 * get_committed, confirm_epoch). A failed connection (ERROR_CONNECTION_FAILED, ERROR_REQUEST_MAYBE_DELIVERED) means the same
 * content once more after a short pause; any other outcome is the answer. It is a child op: several of them run side by
 * side under one parent, which waits without a wait of its own and is resumed by their done(). */
#pragma once

#include "net/rpc.h"

struct steady_call {
    struct op op;
    struct rpc_call call;
    struct wait_timer pause;
    struct rpc *rpc;         /* borrowed */
    struct endpoint to;
    struct message *request; /* owned reference, until the answer */
    bool patient;            /* the receiver may not have been created yet: ERROR_BROKEN_PROMISE is tried again as well */
    uint64_t repeats;
    /* Called at the answer, from within the call's end; never when it was cancelled. It may op_resume() the parent. */
    void (*done)(struct steady_call *call);
    void *parent;          /* borrowed: for done() */
    unsigned index;        /* the parent's */
    int error;             /* the answer */
    struct message *reply; /* owned until steady_call_clear() or taken; NULL unless error is 0 */
};

/* `call` is zeroed or cleared; rpc, to, done, parent, index and patient are set. Takes one reference on `request`. */
void steady_call_start(struct steady_call *call, struct op_list *owner, struct message *request);
/* Cancels it if under way and drops the reply; accepts a zeroed one. */
void steady_call_clear(struct steady_call *call);
static inline bool steady_call_under_way(const struct steady_call *call)
{
    return call->op.owner != NULL;
}
