/* The list of workloads. */
#include "sim/workload.h"

#include <string.h>

const struct sim_workload *const sim_workloads[] = {
    &sim_workload_bulk,
    &sim_workload_configure,
    &sim_workload_cycle,
    &sim_workload_increment,
    &sim_workload_lock,
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
    NULL,
};

const struct sim_workload *sim_workload_find(const char *name)
{
    for (size_t i = 0; sim_workloads[i] != NULL; i++)
        if (strcmp(sim_workloads[i]->name, name) == 0)
            return sim_workloads[i];
    return NULL;
}
