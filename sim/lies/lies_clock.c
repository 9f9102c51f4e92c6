/* Clocks that jump, stand still or race: those of the section's `from`, or of who leads. */
#include "sim/lies/lies_table.h"

enum { HOUR_S = 3600 };

/* The process whose clock lies: host of that kind of role, else the leader. */
static struct sim_process *victim(struct lies *lies)
{
    for (int kind = ROLE_COORDINATOR; kind < ROLE_KINDS; kind++)
        if (strcmp(role_kind_name((enum role_kind)kind), lies->section->from) == 0)
            return lie_host(lies, (enum role_kind)kind, 0);
    return lie_host(lies, ROLE_CONTROLLER, 0);
}

static void jump(struct lies *lies)
{
    do {
        struct sim_process *process = victim(lies);
        int64_t jump_us = (int64_t)(1 + lie_random(lies, HOUR_S)) * SIM_SECOND_US;

        if (process == NULL)
            continue;
        process->clock_base_us += jump_us;
        sim_process_plan(process);
        lie_strikes(lies, "%s's clock is %d s ahead", process->name, (int)(jump_us / SIM_SECOND_US));
    } while (lie_sleep(lies, lies->section->every_us));
}

static void run_at(struct lies *lies, int64_t drift_ppm, const char *how)
{
    struct sim_process *process = victim(lies);

    if (process == NULL)
        return;
    sim_process_set_clock(process, drift_ppm, process->wall_offset_us);
    lie_strikes(lies, "%s's clock %s", process->name, how);
    while (lie_sleep(lies, SIM_SECOND_US))
        ;
}

static void freeze(struct lies *lies)
{
    run_at(lies, -999999, "stands still");
}

static void race(struct lies *lies)
{
    run_at(lies, 20000000, "runs twenty times as fast");
}

const struct lie_type lie_clock_jump = {.name = "clock-jump", .what = "a clock jumps by up to an hour", .run = jump};
const struct lie_type lie_clock_frozen = {.name = "clock-frozen", .what = "a clock stands still", .run = freeze};
const struct lie_type lie_clock_fast = {.name = "clock-fast", .what = "a clock runs twenty times as fast", .run = race};
