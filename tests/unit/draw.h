/* Random draws of the unit tests: a fixed seed, so that a failure comes back. */
#pragma once

#include <stdint.h>

#include "net/bytes.h"

/* splitmix64 */
static inline uint64_t draw(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static inline uint64_t draw_below(uint64_t *state, uint64_t limit)
{
    return draw(state) % limit;
}

static inline struct bytes draw_bytes(uint64_t *state, uint8_t *out, size_t len)
{
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)draw(state);
    return bytes_of(out, len);
}
