/* malloc with two additions: a server dies of the first failure, a test chooses it. */
#include "net/mem.h"

#include <stdio.h>
#include <stdlib.h>

/* Process-wide on purpose: allocation has no context to hang these from. Set before threads start. */
static bool fatal;
static uint64_t countdown;
static bool fired, watches;

static bool must_fail(void)
{
    if (__builtin_expect(countdown == 0, 1))
        return false;
    if (--countdown != 0)
        return false;
    fired = true;
    return !watches;
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
    countdown = nth;
    fired = watches = false;
}

void mem_watch_nth(uint64_t nth)
{
    mem_fail_nth(nth);
    watches = true;
}

uint64_t mem_armed(void)
{
    return countdown;
}

bool mem_fail_fired(void)
{
    return fired;
}
