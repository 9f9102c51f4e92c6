/* The world's agenda: one heap of events, ordered by (time, sequence number).
 *
 * Events are embedded in what they belong to; nothing is allocated for one. A zeroed event is idle. The sequence number is
 * given when an event is put on the agenda, so that equal times keep the order of their causes and nothing depends on
 * addresses. */
#pragma once

#include "net/list.h"

#include <stdint.h>

struct sim_process;

struct sim_event {
    int64_t at_us;
    uint64_t sequence;
    uint64_t cause;              /* what it follows from (sim/sim_trace.h) */
    size_t heap_index_plus_1;    /* 0: not on the agenda */
    struct sim_process *process; /* whose turn it makes; NULL: the world's own. A process's event waits while it is busy */
    struct list link;            /* in the process's inbox while it waits there */
    void (*fire)(struct sim_event *event);
};

struct sim_agenda {
    struct sim_event **heap; /* owned array of borrowed events */
    size_t count, capacity;
    uint64_t sequence;
    const uint64_t *cause; /* borrowed; goes with what is put. NULL: nothing is traced */
};

void sim_agenda_done(struct sim_agenda *agenda);
/* Puts the event at at_us, or moves it there. */
void sim_agenda_put(struct sim_agenda *agenda, struct sim_event *event, int64_t at_us);
/* Takes it off the agenda or out of an inbox; accepts an idle one. */
void sim_agenda_remove(struct sim_agenda *agenda, struct sim_event *event);
/* The earliest, or NULL; stays on the agenda. */
struct sim_event *sim_agenda_first(const struct sim_agenda *agenda);

static inline bool sim_event_waiting(const struct sim_event *event)
{
    return event->heap_index_plus_1 != 0 || list_linked(&event->link);
}
