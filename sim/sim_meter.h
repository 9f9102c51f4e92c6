/* How much real CPU time work of product code takes, by its size (net/observe.h).
 *
 * For looking at after a run. Real time differs from run to run: it never goes into the hash, the trace, or a decision. */
#pragma once

#include <stddef.h>

#include "net/observe.h"

/* Sizes in half decades: up to 100 units, 300, 1,000, 3,000, 10,000, 30,000, 100,000, and more. */
enum { SIM_METER_SIZES = 8 };

struct sim_metered {
    uint64_t times;
    uint64_t units, units_max; /* of all times together; of one */
    int64_t ns, ns_max;
    uint64_t steps;
    uint64_t steps_each_max; /* of one time: steps a unit, rounded down */
};

struct sim_meter {
    struct meter face; /* first */
    int64_t (*cpu_ns)(void); /* CPU time that this process has used; NULL: work is counted, and takes no time */
    int64_t began_ns;
    struct sim_metered of[METERED_WORKS][SIM_METER_SIZES];
};

void sim_meter_init(struct sim_meter *meter);
/* The work with the most units; NULL: there was none. */
const struct sim_metered *sim_meter_largest(const struct sim_meter *meter, enum metered work);
/* "11 times 652 shards: 547 us (981 at most), 839 ns and 22 steps each; ..": as much as fits; `unit` names what is counted. */
void sim_meter_print(const struct sim_meter *meter, enum metered work, const char *unit, char *out, size_t out_size);
