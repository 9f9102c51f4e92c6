/* Messages as words of the trace. */
#pragma once

#include "sim/cluster.h"

/* "reply push_reply(31) endpoint=0 request=77 {...}" of one whole frame; the body only on demand. */
void sim_describe_frame(struct bytes frame, bool with_body, char *out, size_t out_size);
/* " log storage": the kinds of roles that live in the process. */
void sim_describe_roles(const struct sim_process *process, char *out, size_t out_size);
/* Lines for the actors that have not returned. */
void sim_describe_actors(struct sim_cluster *cluster);
