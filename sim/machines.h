/* Sets of simulated machines: who is cut off, who stays dead, which zones hold something.
 *
 * A value of a few words, copied at will; {0} is the empty set. Members are machine numbers, 0 to SIM_MACHINES_MAX - 1 (a zone is
 * named by a machine's number too). Draws from a set go in ascending order of its members, so that they depend on the seed alone. */
#pragma once

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "sim/random.h"

enum { SIM_MACHINES_MAX = 128, SIM_MACHINES_WORDS = SIM_MACHINES_MAX / 64 };

struct sim_machines {
    uint64_t words[SIM_MACHINES_WORDS]; /* machine m: bit m % 64 of word m / 64 */
};

static inline bool machines_has(const struct sim_machines *set, unsigned machine)
{
    assert(machine < SIM_MACHINES_MAX);
    return (set->words[machine / 64] >> machine % 64 & 1) != 0;
}

static inline void machines_add(struct sim_machines *set, unsigned machine)
{
    assert(machine < SIM_MACHINES_MAX);
    set->words[machine / 64] |= UINT64_C(1) << machine % 64;
}

static inline void machines_remove(struct sim_machines *set, unsigned machine)
{
    assert(machine < SIM_MACHINES_MAX);
    set->words[machine / 64] &= ~(UINT64_C(1) << machine % 64);
}

static inline struct sim_machines machines_of(unsigned machine)
{
    struct sim_machines set = {0};

    machines_add(&set, machine);
    return set;
}

static inline void machines_add_all(struct sim_machines *set, const struct sim_machines *others)
{
    for (unsigned i = 0; i < SIM_MACHINES_WORDS; i++)
        set->words[i] |= others->words[i];
}

static inline struct sim_machines machines_without(const struct sim_machines *set, const struct sim_machines *others)
{
    struct sim_machines left = *set;

    for (unsigned i = 0; i < SIM_MACHINES_WORDS; i++)
        left.words[i] &= ~others->words[i];
    return left;
}

static inline struct sim_machines machines_all(void)
{
    struct sim_machines set;

    for (unsigned i = 0; i < SIM_MACHINES_WORDS; i++)
        set.words[i] = UINT64_MAX;
    return set;
}

static inline unsigned machines_count(const struct sim_machines *set)
{
    unsigned count = 0;

    for (unsigned i = 0; i < SIM_MACHINES_WORDS; i++)
        count += (unsigned)__builtin_popcountll(set->words[i]);
    return count;
}

static inline bool machines_empty(const struct sim_machines *set)
{
    return machines_count(set) == 0;
}

/* One member, each as likely; the set is not empty. One draw. */
static inline unsigned machines_draw(const struct sim_machines *set, struct sim_random *random)
{
    uint64_t nth = sim_random_below(random, machines_count(set));

    for (unsigned machine = 0;; machine++)
        if (machines_has(set, machine) && nth-- == 0)
            return machine;
}

/* Each member with one half. One draw for each 64 machines up to the highest member, one at least. */
static inline struct sim_machines machines_draw_half(const struct sim_machines *set, struct sim_random *random)
{
    struct sim_machines half = {0};
    unsigned words = SIM_MACHINES_WORDS;

    while (words > 1 && set->words[words - 1] == 0)
        words--;
    for (unsigned i = 0; i < words; i++)
        half.words[i] = set->words[i] & sim_random_u64(random);
    return half;
}
