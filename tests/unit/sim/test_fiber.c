/* Fibers: they wait where they are and go on from there. */
#include <criterion/criterion.h>

#include "sim/fiber.h"

struct counter {
    struct sim_fiber *fiber;
    int count, limit;
};

static void count_to_limit(void *arg)
{
    struct counter *counter = arg;

    while (counter->count < counter->limit) {
        char padding[512];

        memset(padding, counter->count, sizeof(padding));
        sim_fiber_wait(counter->fiber);
        cr_assert_eq(padding[100], (char)counter->count, "the stack is its own");
        counter->count++;
    }
}

Test(fiber, two_of_them_go_on_where_they_waited)
{
    struct counter a = {.limit = 3}, b = {.limit = 5};

    a.fiber = sim_fiber_create(count_to_limit, &a);
    b.fiber = sim_fiber_create(count_to_limit, &b);
    for (int i = 0; i <= 5; i++) {
        if (!sim_fiber_ended(a.fiber))
            sim_fiber_resume(a.fiber);
        sim_fiber_resume(b.fiber);
        cr_assert_eq(b.count, i);
    }
    cr_assert_eq(a.count, 3);
    cr_assert(sim_fiber_ended(a.fiber) && sim_fiber_ended(b.fiber));
    sim_fiber_destroy(a.fiber);
    sim_fiber_destroy(b.fiber);
}

Test(fiber, one_that_waits_may_be_abandoned)
{
    struct counter a = {.limit = 3};

    a.fiber = sim_fiber_create(count_to_limit, &a);
    sim_fiber_resume(a.fiber);
    cr_assert_not(sim_fiber_ended(a.fiber));
    sim_fiber_destroy(a.fiber);
    sim_fiber_destroy(NULL);
}
