/* Arrays of the checkers that grow; they never fail, as nothing in the simulator does. */
#pragma once

#include <assert.h>

#include "net/mem.h"

static inline void *checker_grow(void *array, size_t count, size_t *capacity, size_t item_bytes)
{
    if (count < *capacity)
        return array;
    *capacity = *capacity == 0 ? 16 : *capacity * 2;
    array = mem_realloc(array, *capacity * item_bytes);
    assert(array != NULL);
    return array;
}

static inline void *checker_zalloc(size_t count, size_t item_bytes)
{
    void *array = mem_zalloc((count + 1) * item_bytes);

    assert(array != NULL);
    return array;
}
