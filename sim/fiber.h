/* Fibers: a workload's code reads like blocking code while its process's loop goes on.
 *
 * Only workloads use them, never roles. A fiber runs until it waits; whoever finishes what it waits for resumes it, from the
 * loop of the same process. A fiber that is destroyed while it waits is abandoned: what it holds must belong to its client. */
#pragma once

#include <stdbool.h>

struct sim_fiber;

struct sim_fiber *sim_fiber_create(void (*main)(void *arg), void *arg);
void sim_fiber_destroy(struct sim_fiber *fiber); /* not from inside it; accepts NULL */
/* Runs it until it waits or ends. Not from inside a fiber. */
void sim_fiber_resume(struct sim_fiber *fiber);
/* From inside: back to whoever resumed. */
void sim_fiber_wait(struct sim_fiber *fiber);
bool sim_fiber_ended(const struct sim_fiber *fiber);
