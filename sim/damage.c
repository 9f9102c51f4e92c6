#include "sim/damage.h"

static const char *const reports[] = {
    "\"Type\":\"DiskQueueDamaged\"",
    "\"Type\":\"CoordinatorFilesDamaged\"",
    "\"Type\":\"EngineDamaged\"",
    "\"Type\":\"StorageStoreDamaged\"",
};

void sim_damage_look(struct sim_world *world, const struct sim_process *process, struct bytes line)
{
    if (process->damaged || world->lies != NULL)
        return;
    for (size_t i = 0; i < sizeof(reports) / sizeof(reports[0]); i++)
        if (memmem(line.ptr, line.len, reports[i], strlen(reports[i])) != NULL)
            sim_world_fail(world, "%s finds damage on a disk that nobody harmed: %.*s", process->name, (int)line.len,
                           (const char *)line.ptr);
}
