/* Faults of the cluster as a whole: what makes it recruit, recover and number anew. */
#include "sim/faults_internal.h"

/* The sequencer's clock alone: what it hands out next lies as far ahead as it may. */
bool strike_version_jump(struct sim_faults *faults)
{
    struct sim_process *sequencer = fault_host(faults, KIND(ROLE_SEQUENCER));

    if (sequencer == NULL)
        return false;
    sim_process_jump_clock(sequencer, fault_long_tail(faults, SIM_SECOND_US, 10000 * SIM_SECOND_US), sequencer->wall_offset_us);
    return true;
}

bool strike_configuration(struct sim_faults *faults)
{
    if (faults->configure == NULL)
        return false;
    faults->configure(faults->operator_ctx);
    return true;
}

/* What it hosts must go elsewhere, and may come back. */
bool strike_exclusion(struct sim_faults *faults)
{
    struct sim_process *process = fault_server(faults);
    int64_t lasts_us = fault_range(faults, SIM_SECOND_US, 30 * SIM_SECOND_US);

    return faults->exclude != NULL && faults->exclude(faults->operator_ctx, process, lasts_us);
}

/* One comes, and then one goes, whatever else strikes meanwhile. */
bool strike_coordinators(struct sim_faults *faults)
{
    struct sim_process *process = fault_server(faults);
    uint64_t leaves = (uint64_t)fault_range(faults, 0, INT32_MAX);

    return faults->replace != NULL && faults->replace(faults->operator_ctx, process, leaves);
}

bool strike_rerecruitment(struct sim_faults *faults)
{
    static const enum role_kind kinds[] = {ROLE_SEQUENCER, ROLE_COMMIT_PROXY, ROLE_GRV_PROXY, ROLE_GRV_PROXY, ROLE_RESOLVER};
    enum role_kind kind = kinds[fault_range(faults, 0, (int64_t)(sizeof(kinds) / sizeof(kinds[0])) - 1)];
    struct sim_process *host = fault_host(faults, KIND(kind));
    int64_t lasts_us = fault_range(faults, SIM_SECOND_US, 20 * SIM_SECOND_US);

    return host != NULL && fault_keep_down(faults, host, SIM_KILL, lasts_us);
}

static void storm_hits(struct sim_active *active)
{
    static const enum role_kind kinds[] = {ROLE_SEQUENCER, ROLE_SEQUENCER, ROLE_CONTROLLER, ROLE_LOG};
    enum role_kind kind = kinds[fault_range(active->faults, 0, (int64_t)(sizeof(kinds) / sizeof(kinds[0])) - 1)];
    struct sim_process *host = fault_host(active->faults, KIND(kind));

    if (host != NULL)
        sim_process_stop(host, SIM_KILL);
}

/* In every stage of a recovery. */
bool strike_recovery_storm(struct sim_faults *faults)
{
    int64_t count = fault_range(faults, 3, 15), gap_us = fault_long_tail(faults, 20000, 2 * SIM_SECOND_US), delay_us = 0;

    for (; count > 0; count--) {
        fault_lasts(faults, NULL, storm_hits, delay_us, 0);
        delay_us += fault_range(faults, 0, 2 * gap_us);
    }
    return true;
}
