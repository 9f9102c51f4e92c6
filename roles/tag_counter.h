/* Which tags cost most lately: a few counters, whatever number of tags there is.
 *
 * The space-saving algorithm (Metwally, Agrawal, El Abbadi 2005): a tag that has no counter takes over the smallest, with what it has
 * counted. So a tag that makes more than 1/TAG_COUNTERS of the cost always has one, and none is counted too low. All sink by half in about a
 * second, so that a counter is what its tag costs a second. No clock, no I/O. Zeroed is empty. */
#pragma once

#include "net/arena.h"
#include "txn/messages.h"
#include "txn/tags.h"

enum { TAG_COUNTERS = 32 };

struct tag_counter {
    struct tag_count {
        double cost; /* 0: free */
        uint32_t server;
        struct tag_name name;
    } counts[TAG_COUNTERS];
    double total; /* of what was added with or without tags */
    int64_t decayed_us;
};

/* server: costs are counted apart for each; 0 where there is but one. Tags that are none are left out. */
void tag_counter_add(struct tag_counter *counter, struct bytes tag, uint32_t server, double cost);
/* Time goes on. */
void tag_counter_decay(struct tag_counter *counter, int64_t now_us);
/* Those that cost at least 1, the largest first; in the arena. *ret_costs is NULL when there are none. */
uint32_t tag_counter_report(struct tag_counter *counter, struct arena *arena, struct tag_cost **ret_costs);
