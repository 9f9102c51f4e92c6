/* The seed's random numbers: independent streams, equal on every machine and in every build.
 *
 * A stream is splitmix64. Streams are split by purpose (schedule, faults, workload, knobs), so that drawing one more fault
 * does not reshuffle the workload.
 *
 * C leaves the order of arguments, operands and initialisers open, and gcc and clang differ: never two draws in one
 * expression. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct sim_random {
    uint64_t state;
};

static inline uint64_t sim_mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static inline struct sim_random sim_random_stream(uint64_t seed, uint64_t purpose)
{
    return (struct sim_random){sim_mix(seed * UINT64_C(0x9e3779b97f4a7c15) + sim_mix(purpose + 1))};
}

static inline uint64_t sim_random_u64(struct sim_random *random)
{
    random->state += UINT64_C(0x9e3779b97f4a7c15);
    return sim_mix(random->state);
}

/* Uniform in [0, below); below > 0. */
static inline uint64_t sim_random_below(struct sim_random *random, uint64_t below)
{
    return sim_random_u64(random) % below;
}

/* Uniform in [low, high]. */
static inline int64_t sim_random_range(struct sim_random *random, int64_t low, int64_t high)
{
    return low + (int64_t)sim_random_below(random, (uint64_t)(high - low) + 1);
}

/* True once in n. */
static inline bool sim_random_one_in(struct sim_random *random, uint64_t n)
{
    return sim_random_below(random, n) == 0;
}

static inline bool sim_random_coin(struct sim_random *random)
{
    return (sim_random_u64(random) >> 63) != 0;
}
