/* What coordinators promised to candidates and leaders, and what they still know of it when they start again.
 *
 * "Term and vote are durable before any answer" (Raft, section 5.2): a coordinator that comes back in the term in which it has granted
 * a vote must remember whom. One that forgot could vote twice, which elects two leaders only in the rarest of runs; that it
 * forgot shows in every run that ends a coordinator soon after an election. The same holds for the log: what it has told a leader that it
 * has (section 5.3) it must still have, unless another leader's entries took its place. Reads the roles' trace; a disk that was harmed may forget. */
#pragma once

#include "sim/world.h"

/* One line of a process's trace. */
void sim_ballot_look(struct sim_world *world, const struct sim_process *process, struct bytes line);
