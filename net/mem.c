/* malloc with three additions: a server dies of the first failure, a test chooses it, a test changes addresses and garbage. */
#include "net/mem.h"

#include <malloc.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Process-wide on purpose: allocation has no context to hang these from. `fatal` is set before threads start; the rest may change
 * while they run, as the client library's do in a test. */
static bool fatal;
static _Atomic uint64_t countdown;
static atomic_bool fired, watches;
static uint64_t disturbance; /* state of a xorshift; 0: off */
static size_t junk;

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

/* What to ask for: at least 1, and when disturbed up to 7 units more, so that neighbours change places. */
static size_t asked(size_t size)
{
    size_t least = size == 0 ? 1 : size;

    if (__builtin_expect(disturbance == 0, 1))
        return least;
    disturbance ^= disturbance << 13;
    disturbance ^= disturbance >> 7;
    disturbance ^= disturbance << 17;
    return least > SIZE_MAX / 2 ? least : least + (disturbance >> 61) * 16;
}

static void *junked(void *ptr, size_t size)
{
    if (__builtin_expect(disturbance != 0, 0) && ptr != NULL)
        memset(ptr, (int)junk, size);
    return ptr;
}

static void *disturbed_realloc(void *old, size_t size)
{
    void *fresh = junked(malloc(asked(size)), size);
    size_t kept = old == NULL ? 0 : malloc_usable_size(old);

    if (fresh == NULL || old == NULL)
        return fresh;
    memcpy(fresh, old, kept < size ? kept : size);
    free(old);
    return fresh;
}

void *mem_alloc(size_t size)
{
    return checked(must_fail() ? NULL : junked(malloc(asked(size)), size), size);
}

void *mem_zalloc(size_t size)
{
    return checked(must_fail() ? NULL : calloc(1, asked(size)), size);
}

void *mem_realloc(void *old, size_t size)
{
    if (must_fail())
        return checked(NULL, size);
    return checked(disturbance != 0 ? disturbed_realloc(old, size) : realloc(old, asked(size)), size);
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

void mem_disturb(uint64_t seed)
{
    disturbance = seed == 0 ? 0 : seed * 0x9e3779b97f4a7c15u | 1;
    junk = seed & 0xff;
}
