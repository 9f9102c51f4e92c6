/* Tells the ratekeeper, now and then, how a role is doing, and hears what may start.
 *
 * Every role that has a queue embeds one: each rate_report_interval_us while it has work, else each rate_report_idle_us, it asks the role
 * for its report and sends that to the ratekeeper of the newest description. While there is none it waits, and costs nothing. */
#pragma once

#include "net/rpc.h"
#include "roles/role.h"

struct rate_reporter {
    struct op op;
    struct rpc_call call;
    struct wait_timer pause;
    struct rpc *rpc;    /* borrowed */
    struct endpoint to; /* id 0: there is no ratekeeper that we know of */
    bool busy;          /* as of the last report */
    /* The report, a new message; *ret_busy: it has work. NULL: nothing can be said now. */
    struct message *(*make)(void *ctx, bool *ret_busy);
    /* The answer; may be NULL. */
    void (*take)(void *ctx, const struct rate_lease *lease);
    void *ctx; /* borrowed */
    uint64_t answered;
};

/* rpc, make, take and ctx are set, the rest is zeroed. Its op goes with the list's others (op_cancel_all). */
void rate_reporter_start(struct rate_reporter *reporter, struct op_list *owner);
void rate_reporter_described(struct rate_reporter *reporter, const struct description *description);
/* There is work again: the next report goes out now if the last one said that there was none. */
void rate_reporter_hurry(struct rate_reporter *reporter);
