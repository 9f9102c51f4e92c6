/* ucontext, with the sanitizer told of each change of stacks. */
#include "sim/fiber.h"

#include <assert.h>
#include <stdint.h>
#include <ucontext.h>

#include "net/mem.h"
#include "sim/world.h"

#if defined(__SANITIZE_ADDRESS__)
#define FIBER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FIBER_ASAN 1
#endif
#endif
#ifdef FIBER_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

enum { STACK_BYTES = 256 * 1024 };

struct sim_fiber {
    ucontext_t here, back;
    void (*main)(void *arg);
    void *arg;
    uint8_t *stack; /* owned */
    bool inside, ended;
    void *fake_stack, *back_fake_stack; /* the sanitizer's */
    const void *back_stack;
    size_t back_stack_bytes;
};

static void enter_begin(struct sim_fiber *fiber)
{
#ifdef FIBER_ASAN
    __sanitizer_start_switch_fiber(&fiber->back_fake_stack, fiber->stack, STACK_BYTES);
#else
    (void)fiber;
#endif
}

static void enter_end(struct sim_fiber *fiber)
{
#ifdef FIBER_ASAN
    __sanitizer_finish_switch_fiber(fiber->fake_stack, &fiber->back_stack, &fiber->back_stack_bytes);
#else
    (void)fiber;
#endif
}

static void leave_begin(struct sim_fiber *fiber)
{
#ifdef FIBER_ASAN
    __sanitizer_start_switch_fiber(fiber->ended ? NULL : &fiber->fake_stack, fiber->back_stack, fiber->back_stack_bytes);
#else
    (void)fiber;
#endif
}

static void leave_end(struct sim_fiber *fiber)
{
#ifdef FIBER_ASAN
    __sanitizer_finish_switch_fiber(fiber->back_fake_stack, NULL, NULL);
#else
    (void)fiber;
#endif
}

static void trampoline(unsigned high, unsigned low)
{
    struct sim_fiber *fiber = (struct sim_fiber *)(uintptr_t)((uint64_t)high << 32 | low);

    enter_end(fiber);
    fiber->main(fiber->arg);
    fiber->ended = true;
    leave_begin(fiber);
    swapcontext(&fiber->here, &fiber->back);
    assert(false); /* nobody resumes what has ended */
}

struct sim_fiber *sim_fiber_create(void (*main)(void *arg), void *arg)
{
    struct sim_fiber *fiber = sim_zalloc(sizeof(*fiber));
    uint64_t address = (uint64_t)(uintptr_t)fiber;

    fiber->main = main;
    fiber->arg = arg;
    fiber->stack = mem_alloc(STACK_BYTES);
    assert(fiber->stack != NULL);
    getcontext(&fiber->here);
    fiber->here.uc_stack.ss_sp = fiber->stack;
    fiber->here.uc_stack.ss_size = STACK_BYTES;
    fiber->here.uc_link = NULL;
    makecontext(&fiber->here, (void (*)(void))(uintptr_t)trampoline, 2, (unsigned)(address >> 32), (unsigned)address);
    return fiber;
}

void sim_fiber_destroy(struct sim_fiber *fiber)
{
    if (fiber == NULL)
        return;
    assert(!fiber->inside);
    mem_free(fiber->stack);
    mem_free(fiber);
}

void sim_fiber_resume(struct sim_fiber *fiber)
{
    assert(!fiber->inside && !fiber->ended);
    fiber->inside = true;
    enter_begin(fiber);
    swapcontext(&fiber->back, &fiber->here);
    leave_end(fiber);
    fiber->inside = false;
}

void sim_fiber_wait(struct sim_fiber *fiber)
{
    assert(fiber->inside);
    leave_begin(fiber);
    swapcontext(&fiber->here, &fiber->back);
    enter_end(fiber);
}

bool sim_fiber_ended(const struct sim_fiber *fiber)
{
    return fiber->ended;
}
