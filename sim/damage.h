/* Damage that a role reports on a disk that nobody harmed: a file that the role itself wrote wrongly, or lost.
 *
 * The roles take damage for a disk's fault and do without what it held; so a bug that spoils a file could hide behind the replicas. Reads
 * the roles' trace. A slot that is not valid is no damage: the last one written may be torn. */
#pragma once

#include "sim/world.h"

/* One line of a process's trace. */
void sim_damage_look(struct sim_world *world, const struct sim_process *process, struct bytes line);
