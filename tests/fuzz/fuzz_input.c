/* Between libFuzzer and a target.
 *
 * libFuzzer's own search for leaks counts every allocation with atomic operations and stops the world for each doubt, and gives up
 * after a thousand; ours compares how much is allocated before an input and after it, for every input. What a library allocates
 * once and keeps is no leak, nor what libFuzzer's own thread does as it starts: the input is run again, and must then leave nothing. What
 * leaks does so every time. */
#include "tests/fuzz/fuzz_input.h"

#include <assert.h>
#include <sanitizer/allocator_interface.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { TWICE_EVERY = 64, TRIES_MAX = 16 };

static uint64_t behaviour;

void fuzz_did(struct bytes what)
{
    for (; what.len >= 8; what = bytes_of(what.ptr + 8, what.len - 8))
        behaviour = (behaviour ^ get_le64(what.ptr)) * UINT64_C(0x9e3779b97f4a7c15) ^ behaviour >> 29;
    for (size_t i = 0; i < what.len; i++)
        behaviour = (behaviour ^ what.ptr[i]) * UINT64_C(1099511628211);
}

/* How many bytes stay allocated. */
static size_t try_once(const uint8_t *data, size_t size)
{
    size_t before = __sanitizer_get_current_allocated_bytes();

    behaviour = 0;
    (void)fuzz_input(data, size);
    return __sanitizer_get_current_allocated_bytes() - before;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint64_t inputs;
    size_t left = try_once(data, size);
    uint64_t did = behaviour;

    if (left == 0 && inputs++ % TWICE_EVERY == 0)
        (void)try_once(data, size);
    for (int i = 0; i < TRIES_MAX && left != 0; i++)
        left = try_once(data, size);
    assert(left == 0 && "the input leaks");
    assert(behaviour == did && "a second run of the input does something else");
    return 0;
}
