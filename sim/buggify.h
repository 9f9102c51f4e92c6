/* Which BUGGIFY sites fire and which probes were reached; the twin of net/buggify.h.
 *
 * A site is active in a quarter of the seeds: hash(seed, file's base name, line); an active one fires a quarter of the time. */
#pragma once

#include <stdio.h>

#include "net/buggify.h"
#include "sim/random.h"

struct sim_site {
    const char *name; /* borrowed: a literal of the code; base name of the file, or the probe */
    int line;         /* 0: a probe */
    bool active;
    uint64_t asked, fired;
};

struct sim_buggify {
    struct buggify face; /* first */
    uint64_t seed;
    struct sim_random random;
    struct sim_site *sites; /* owned; in the order of first reach */
    size_t count, capacity;
    uint32_t *table; /* owned; open addressing: index + 1 */
    size_t table_size;
    bool quiet; /* the chaos is over: no site fires, probes still count */
};

struct sim_buggify *sim_buggify_create(uint64_t seed);
void sim_buggify_destroy(struct sim_buggify *buggify); /* accepts NULL */
/* One line a site: "site FILE:LINE asked fired" (inactive ones fired 0), "probe NAME count". */
void sim_buggify_report(const struct sim_buggify *buggify, FILE *out);
uint64_t sim_buggify_fired(const struct sim_buggify *buggify);
