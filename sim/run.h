/* One run of one scenario with one seed, from an empty world to the last check.
 *
 *   set up       boot, configure new, every workload's setup()
 *   chaos        faults strike, workloads run
 *   heal         everything mended, or all but what is not needed; a commit must succeed within the scenario's recovery-limit
 *   quiet        workloads end, and for a second nothing recovers, moves or waits any more, within the scenario's quiet-limit
 *   check        the workloads' checks; the consistency check
 *
 * Reaching the scenario's time limit in any phase is a failure: it hangs. So is any event of severity error. */
#pragma once

#include "sim/scenario.h"

struct sim_run_options {
    uint64_t seed;
    FILE *trace;         /* borrowed; NULL: none */
    FILE *report;        /* borrowed; NULL: none. Fault classes, BUGGIFY sites and probes (README.md) */
    const char *mute;    /* borrowed; NULL: none. Text of the BUGGIFY sites that only say that they fire */
    int64_t (*cpu_ns)(void); /* for sim/sim_meter.h; NULL: none */
    /* Told of the world while it lives (NULL: it has gone), for crash reports. May be NULL. */
    void (*watch)(struct sim_world *world);
};

struct sim_run_result {
    bool ok;
    char why[SIM_WHY_MAX];
    uint64_t hash;
    double simulated_s;
    uint64_t events, turns;
    char faults[2 * SIM_WHY_MAX];
    char shown[SIM_WHY_MAX];    /* what the run is about (sim_world_show); empty: nothing special */
    char lost[2 * SIM_WHY_MAX]; /* beyond the limit (sim/loss.h); empty: nothing */
};

void sim_run(const struct scenario *scenario, const struct sim_run_options *options, struct sim_run_result *ret_result);
