/* The n-th thing that can fail does, n = 1, 2, .. until a round had none left: the one loop for errors of the machine.
 *
 *   FAIL_EACH(nth, nth_allocation) {
 *       ...set up...
 *       nth_begin(&nth, NULL);
 *       error = what is tested;
 *       if (nth_end(&nth))
 *           cr_assert_eq(error, ERROR_OUT_OF_MEMORY);
 *       ...tear down; under the sanitizers a leak fails the test...
 *   }
 *
 * What fails is a door's choice: allocations (net/mem.h), file calls of libc (nth_files.h), calls of a fake disk (fake_disk.h).
 * One thing fails a round, once. A loop in whose first round nothing failed has tested nothing, and fails. */
#pragma once

#include <criterion/criterion.h>
#include <stdbool.h>
#include <stdint.h>

#include "net/mem.h"

enum { NTH_MAX = 20000 };

struct nth_door {
    void (*fail)(void *ctx, uint64_t n); /* the n-th from now on; 0: none */
    bool (*fired)(void *ctx);            /* whether it has, since then */
};

struct nth {
    const struct nth_door *door;
    void *ctx;
    uint64_t n; /* this one fails; at the end of the loop the first that did not */
    bool began, fired;
};

/* From here on the door counts. */
static inline void nth_begin(struct nth *nth, void *ctx)
{
    nth->began = true;
    nth->fired = false;
    nth->ctx = ctx;
    nth->door->fail(ctx, nth->n);
}

/* Has it failed by now? */
static inline bool nth_fired(const struct nth *nth)
{
    return nth->door->fired(nth->ctx);
}

/* Nothing fails any more; returns whether something did. */
static inline bool nth_end(struct nth *nth)
{
    nth->fired = nth_fired(nth);
    nth->door->fail(nth->ctx, 0);
    return nth->fired;
}

static inline bool nth_next(struct nth *nth)
{
    cr_assert(nth->n == 0 || nth->began, "a round without nth_begin()");
    cr_assert(nth->n != 1 || nth->fired, "there was nothing to fail");
    if (nth->n > 0 && !nth->fired)
        return false;
    nth->n++;
    nth->began = false;
    cr_assert_lt(nth->n, NTH_MAX, "it fails again and again");
    return true;
}

#define FAIL_EACH(name, door_) for (struct nth name = {.door = &(door_)}; nth_next(&name);)

static inline void nth_fail_allocation(void *ctx, uint64_t n)
{
    (void)ctx;
    mem_fail_nth(n);
}

static inline bool nth_allocation_fired(void *ctx)
{
    (void)ctx;
    return mem_fail_fired();
}

static const struct nth_door nth_allocation = {nth_fail_allocation, nth_allocation_fired};
