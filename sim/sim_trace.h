/* The trace of a run: every event as a numbered line that names the event it follows from.
 *
 *   [    12.345678] #4711 <4702 log1         > commit_proxy0 reply push_reply(31) ...
 *   [      seconds] #number <cause[,also] process  what
 *
 * The cause of a delivery is the send, of a send what its handler follows from, of a stage what resumed the op, of a
 * sync's end its start; of what a strike of a fault did, the strike. `also` is a second one: what held a message up, or
 * which fault made a call fail. 0: nothing that was traced. tools/explain reads these lines.
 *
 * Inside the world one number is current (the observer's cause); whatever is queued takes it along: events
 * (sim/event.h), what the env queues (net/observe.h), chunks of bytes, syncs, jobs. Tracing draws nothing and changes
 * nothing: the hash is the same. Without a trace all numbers are 0. */
#pragma once

#include <stdarg.h>
#include <stdio.h>

#include "net/observe.h"

struct sim_world;
struct sim_process;
struct sim_trace;

/* Writes to `out` (borrowed) from now on; before the first process is made. */
void sim_trace_start(struct sim_world *world, FILE *out);
void sim_trace_destroy(struct sim_trace *trace); /* accepts NULL */

/* What the env of each process gets; NULL without a trace. */
struct observer *sim_trace_observer(const struct sim_world *world);

/* A line; its number, or 0 without a trace. The current cause stays. */
__attribute__((format(printf, 3, 4))) uint64_t sim_say(struct sim_world *world, const struct sim_process *process,
                                                       const char *format, ...);
uint64_t sim_say_va(struct sim_world *world, const struct sim_process *process, const char *format, va_list arguments);
uint64_t sim_cause(const struct sim_world *world);
/* What runs from here on follows from `number`. Returns what was current, for going back. */
uint64_t sim_set_cause(struct sim_world *world, uint64_t number);
/* The next line follows from `number` too. */
void sim_also(struct sim_world *world, uint64_t number);

/* The frames of a send over a connection, a line each: `link_side` names the connection and the side that sends.
 * Returns the number of the last, or the current cause if none was whole. */
uint64_t sim_trace_send(struct sim_world *world, const struct sim_process *from, struct address to, uint64_t link_side,
                        struct bytes data);
/* Bytes of that connection are handed over now: what observer.frame_in sees is in them. `also`: what held them up. */
void sim_trace_receiving(struct sim_world *world, struct address from, uint64_t link_side, uint64_t also);

/* How it stands at the end: lines for each process, each blocked direction, and each op that is under way, with its
 * stage, since when, and for what. */
void sim_trace_end(struct sim_world *world);
