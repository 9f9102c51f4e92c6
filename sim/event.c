/* A 4-ary heap of pointers: shallow, and each event knows its place, so that moving one costs no search. */
#include "sim/event.h"

#include <assert.h>

#include "net/mem.h"

enum { FAN = 4 };

static bool before(const struct sim_event *a, const struct sim_event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->sequence < b->sequence;
}

static void place(struct sim_agenda *agenda, size_t index, struct sim_event *event)
{
    agenda->heap[index] = event;
    event->heap_index_plus_1 = index + 1;
}

static void sift_up(struct sim_agenda *agenda, size_t index, struct sim_event *event)
{
    while (index > 0 && before(event, agenda->heap[(index - 1) / FAN])) {
        place(agenda, index, agenda->heap[(index - 1) / FAN]);
        index = (index - 1) / FAN;
    }
    place(agenda, index, event);
}

static void sift_down(struct sim_agenda *agenda, size_t index, struct sim_event *event)
{
    for (;;) {
        size_t first = index * FAN + 1;
        size_t least = first;

        if (first >= agenda->count)
            break;
        for (size_t i = first + 1; i < first + FAN && i < agenda->count; i++)
            if (before(agenda->heap[i], agenda->heap[least]))
                least = i;
        if (!before(agenda->heap[least], event))
            break;
        place(agenda, index, agenda->heap[least]);
        index = least;
    }
    place(agenda, index, event);
}

void sim_agenda_done(struct sim_agenda *agenda)
{
    mem_free(agenda->heap);
    *agenda = (struct sim_agenda){0};
}

static void grow(struct sim_agenda *agenda)
{
    size_t capacity = agenda->capacity == 0 ? 256 : agenda->capacity * 2;

    agenda->heap = mem_realloc(agenda->heap, capacity * sizeof(agenda->heap[0]));
    assert(agenda->heap != NULL);
    agenda->capacity = capacity;
}

void sim_agenda_put(struct sim_agenda *agenda, struct sim_event *event, int64_t at_us)
{
    assert(event->fire != NULL);
    sim_agenda_remove(agenda, event);
    if (agenda->count == agenda->capacity)
        grow(agenda);
    event->at_us = at_us;
    event->sequence = ++agenda->sequence;
    event->cause = agenda->cause == NULL ? 0 : *agenda->cause;
    sift_up(agenda, agenda->count++, event);
}

void sim_agenda_remove(struct sim_agenda *agenda, struct sim_event *event)
{
    size_t index = event->heap_index_plus_1 - 1;
    struct sim_event *last;

    list_remove(&event->link);
    if (event->heap_index_plus_1 == 0)
        return;
    assert(agenda->heap[index] == event);
    event->heap_index_plus_1 = 0;
    last = agenda->heap[--agenda->count];
    if (last == event)
        return;
    if (index > 0 && before(last, agenda->heap[(index - 1) / FAN]))
        sift_up(agenda, index, last);
    else
        sift_down(agenda, index, last);
}

struct sim_event *sim_agenda_first(const struct sim_agenda *agenda)
{
    return agenda->count == 0 ? NULL : agenda->heap[0];
}
