/* The list of workloads. */
#include "sim/workload.h"

#include <string.h>

const struct sim_workload *const sim_workloads[] = {
    &sim_workload_bulk,
    &sim_workload_busy_tag,
    &sim_workload_configure,
    &sim_workload_cycle,
    &sim_workload_increment,
    &sim_workload_lock,
    &sim_workload_many_shards,
    &sim_workload_marker,
    &sim_workload_recency,
    &sim_workload_serializability,
    &sim_workload_conflict_range,
    &sim_workload_write_during_read,
    &sim_workload_atomic_ops,
    &sim_workload_sideband,
    &sim_workload_version_stamp,
    &sim_workload_list_append,
    &sim_workload_watches,
    &sim_workload_api_correctness,
    &sim_workload_fuzz_api,
    &sim_workload_random_selector,
    &sim_workload_low_latency,
    &sim_workload_steady_reads,
    &sim_workload_range_sizes,
    &sim_workload_still,
    &sim_workload_consistency_check,
    &sim_workload_machine_attrition,
    &sim_workload_random_clogging,
    &sim_workload_targeted_kill,
    &sim_workload_rollback,
    &sim_workload_tag_throttle,
    &sim_workload_idempotency,
    &sim_workload_random_moves,
    &sim_workload_remove_servers,
    &sim_workload_move_kills,
    &sim_workload_two_distributors,
    &sim_workload_storage_returns,
    &sim_workload_configure_data,
    &sim_workload_metadata_marks,
    &sim_workload_mapped_ranges,
    &sim_workload_special_keys,
    NULL,
};

const struct sim_workload *sim_workload_find(const char *name)
{
    for (size_t i = 0; sim_workloads[i] != NULL; i++)
        if (strcmp(sim_workloads[i]->name, name) == 0)
            return sim_workloads[i];
    return NULL;
}
