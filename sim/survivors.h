/* Who stays dead when the chaos ends: the heal mends only a drawn set of servers that suffices.
 *
 * It suffices when
 *   - a majority of the coordinators lives; all of them, and all that ever were, while one is being replaced or somebody who lives has
 *     not heard who they are now: whoever knows of those alone that are dead finds nobody;
 *   - fewer than r zones (r: replication) that hold logs are dead, and the same for storage servers; what a server holds is read
 *     from its disk, for a dead process's files count as much as a living role;
 *   - of each ended generation, the logs that are dead, or whose own end is below the generation's, lie in fewer than r zones:
 *     what a log missed when its generation was ended, only the others have (roles/controller/recovery_logs.c);
 *   - r zones that may host logs live.
 * No log is given up while no controller accepts commits: a recovery may have locked some. */
#pragma once

#include "sim/cluster.h"

/* Ends the chosen servers for good; what is down already may be chosen too. Returns how many. */
unsigned sim_survivors_draw(struct sim_cluster *cluster);
/* The id of the living epoch's log at this server, as the newest description has it; 0: none. */
uint64_t sim_survivors_living_log(const struct sim_cluster *cluster, const struct sim_process *process);
/* Whether this server's disk may lose all that it holds: every epoch that ended, and that storage has not drained, has its logs
 * elsewhere. */
bool sim_survivors_may_lose(const struct sim_cluster *cluster, const struct sim_process *process);
