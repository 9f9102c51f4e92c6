/* What a storage server's disk takes, learned from the engine's commits: for the ratekeeper.
 *
 * Pure: no clock, no I/O. Commits come seldom and large, so what is told between two of them goes on evenly: a commit under way counts as done as
 * far as one of its size is by now, and one that takes longer than it should lowers what the disk is said to take while it still runs. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct drain {
    double capacity; /* bytes a second; 0: nothing is known */
};

/* A commit has ended. took_us: from when it was due, or the one before had ended. at_leisure: it gave way to other work, so that the disk takes as much at
 * least. What a small one takes is the sync: it says nothing. */
void drain_committed(struct drain *drain, size_t bytes, int64_t took_us, bool at_leisure);
/* Bytes a second, with a commit of `bytes` (0: none) under way that has given way to nobody for past_us. 0: not known. */
double drain_capacity(const struct drain *drain, size_t bytes, int64_t past_us);
/* Which part of that commit is probably done: 0 to 1. */
double drain_done_part(const struct drain *drain, size_t bytes, int64_t past_us);
