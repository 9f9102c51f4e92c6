/* Messages as lines of the trace. */
#pragma once

#include "sim/world.h"

/* One line a frame: who sends what to whom. `data` is what one send hands over: whole frames, or the end of one. */
void sim_describe_frames(struct sim_world *world, const struct sim_process *from, struct address to, struct bytes data);
