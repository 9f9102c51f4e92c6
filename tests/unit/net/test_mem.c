#include <criterion/criterion.h>
#include <signal.h>

#include "net/mem.h"

Test(mem, a_zeroed_allocation_is_zero)
{
    uint8_t *zeroed = mem_zalloc(1000);

    for (int i = 0; i < 1000; i++)
        cr_assert_eq(zeroed[i], 0);
    mem_free(zeroed);
    mem_free(NULL);
}

Test(mem, an_allocation_of_nothing_is_not_null)
{
    void *nothing = mem_alloc(0);

    cr_assert_not_null(nothing);
    mem_free(nothing);
}

Test(mem, only_the_nth_allocation_fails)
{
    void *first, *third;

    mem_fail_nth(2);
    first = mem_alloc(10);
    cr_assert_not(mem_fail_fired());
    cr_assert_null(mem_alloc(10));
    cr_assert(mem_fail_fired());
    third = mem_zalloc(10);
    cr_assert_not_null(first);
    cr_assert_not_null(third);
    mem_free(first);
    mem_free(third);
}

Test(mem, a_failed_realloc_keeps_the_old_memory)
{
    char *old = mem_alloc(4);

    memcpy(old, "old", 4);
    mem_fail_nth(1);
    cr_assert_null(mem_realloc(old, 1000));
    cr_assert_str_eq(old, "old");
    mem_free(old);
}

Test(mem, a_disturbed_allocation_has_other_garbage_and_keeps_what_it_held_when_it_grows)
{
    uint8_t *memory;

    mem_disturb(0x5a);
    memory = mem_alloc(100);
    cr_assert_eq(memory[0], 0x5a);
    cr_assert_eq(memory[99], 0x5a);
    memory[0] = 1;
    memory = mem_realloc(memory, 5000);
    cr_assert_eq(memory[0], 1);
    cr_assert_eq(memory[99], 0x5a);
    cr_assert_eq(memory[4999], 0x5a);
    mem_free(memory);
    memory = mem_zalloc(100);
    cr_assert_eq(memory[99], 0);
    mem_free(memory);
    mem_disturb(0);
}

Test(mem, in_a_server_a_failed_allocation_ends_the_process, .signal = SIGABRT)
{
    mem_set_fatal(true);
    mem_fail_nth(1);
    mem_alloc(10);
}
