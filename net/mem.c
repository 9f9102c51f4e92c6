/* malloc with two additions: a server dies of the first failure, a test chooses it. */
#include "net/mem.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

/* Process-wide on purpose: allocation has no context to hang these from. `fatal` is set before threads start; the rest may change
 * while they run, as the client library's do in a test. */
static bool fatal;
static _Atomic uint64_t countdown;
static atomic_bool fired, watches;

static bool must_fail(void)
{
    uint64_t left = atomic_load_explicit(&countdown, memory_order_relaxed);

    if (__builtin_expect(left == 0, 1))
        return false;
    while (left != 0 && !atomic_compare_exchange_weak(&countdown, &left, left - 1))
        ;
    if (left != 1)
        return false;
    atomic_store(&fired, true);
    return !atomic_load(&watches);
}

static void *checked(void *ptr, size_t size)
{
    if (__builtin_expect(ptr == NULL, 0) && fatal) {
        fprintf(stderr, "out of memory: an allocation of %zu bytes failed; the process ends\n", size);
        abort();
    }
    return ptr;
}

void *mem_alloc(size_t size)
{
    return checked(must_fail() ? NULL : malloc(size == 0 ? 1 : size), size);
}

void *mem_zalloc(size_t size)
{
    return checked(must_fail() ? NULL : calloc(1, size == 0 ? 1 : size), size);
}

void *mem_realloc(void *old, size_t size)
{
    return checked(must_fail() ? NULL : realloc(old, size == 0 ? 1 : size), size);
}

void mem_free(void *ptr)
{
    free(ptr);
}

void mem_set_fatal(bool value)
{
    fatal = value;
}

void mem_fail_nth(uint64_t nth)
{
    atomic_store(&watches, false);
    atomic_store(&fired, false);
    atomic_store(&countdown, nth);
}

void mem_watch_nth(uint64_t nth)
{
    mem_fail_nth(0);
    atomic_store(&watches, true);
    atomic_store(&countdown, nth);
}

uint64_t mem_armed(void)
{
    return atomic_load(&countdown);
}

bool mem_fail_fired(void)
{
    return atomic_load(&fired);
}
