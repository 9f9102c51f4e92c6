/* A workload: what clients do to the database, and how it is known to be right.
 *
 * Its functions run as fibers (sim/fiber.h) in simulated client processes, so they read like blocking code. setup() runs once,
 * on the first client, before the chaos; run() on every client, `actors` times at once, until sim_actor_stopping() (or workload_goes_on()); check()
 * once, on the first client, after the heal, when every run() has returned. What is wrong is said by sim_world_fail(). */
#pragma once

#include <stdint.h>

#include "sim/scenario.h"

struct sim_actor;

struct sim_workload_option {
    const char *key;
    int64_t value; /* default */
    int64_t min, max;
};

/* One workload of one run: what its actors share. */
struct sim_workload_run {
    const struct sim_workload *type;
    const int64_t *options; /* in the order of type->options */
    void *state;            /* type->state_bytes, zeroed; owned by the run */
    unsigned client_count;
};

struct sim_workload {
    const char *name;
    const char *what; /* one line: what it attacks */
    struct sim_workload_option options[SCENARIO_OPTIONS_MAX]; /* options[0] is "actors": fibers a client */
    size_t state_bytes;
    void (*setup)(struct sim_actor *actor, struct sim_workload_run *run);
    void (*run)(struct sim_actor *actor, struct sim_workload_run *run);
    void (*check)(struct sim_actor *actor, struct sim_workload_run *run);
    void (*done)(struct sim_workload_run *run); /* frees what state holds; may be NULL */
};

extern const struct sim_workload sim_workload_bulk, sim_workload_busy_tag, sim_workload_configure, sim_workload_cycle, sim_workload_increment,
    sim_workload_lock, sim_workload_many_shards, sim_workload_marker, sim_workload_recency;
extern const struct sim_workload sim_workload_serializability, sim_workload_conflict_range, sim_workload_write_during_read,
    sim_workload_atomic_ops, sim_workload_sideband, sim_workload_version_stamp, sim_workload_list_append, sim_workload_watches,
    sim_workload_idempotency, sim_workload_metadata_marks, sim_workload_random_moves,
    sim_workload_remove_servers, sim_workload_move_kills, sim_workload_two_distributors,
    sim_workload_storage_returns, sim_workload_configure_data;
extern const struct sim_workload sim_workload_api_correctness, sim_workload_fuzz_api, sim_workload_random_selector,
    sim_workload_low_latency, sim_workload_steady_reads, sim_workload_still, sim_workload_consistency_check,
    sim_workload_range_sizes;
extern const struct sim_workload sim_workload_machine_attrition, sim_workload_random_clogging, sim_workload_targeted_kill,
    sim_workload_rollback, sim_workload_tag_throttle;
extern const struct sim_workload sim_workload_mapped_ranges, sim_workload_special_keys;

/* All workloads, ended by NULL. */
extern const struct sim_workload *const sim_workloads[];
const struct sim_workload *sim_workload_find(const char *name);
