/* Which BUGGIFY sites fire and which probes were reached; the twin of net/buggify.h.
 *
 * A site is active in a quarter of the seeds: hash(seed, file's base name, text); an active one fires one time in so many. */
#pragma once

#include <stdio.h>

#include "net/buggify.h"
#include "sim/random.h"

struct sim_site {
    const char *file, *what; /* borrowed: literals of the code; the file's base name */
    bool is_probe;
    bool active;
    bool muted; /* says that it fires, and does not */
    uint64_t asked, fired;
};

/* Where a site was found before: by the addresses of its literals, for speed alone. */
struct sim_site_slot {
    const char *file, *what;
    uint32_t index_plus_1;
};

struct sim_buggify {
    struct buggify face; /* first */
    uint64_t seed;
    struct sim_random random;
    struct sim_site *sites; /* owned; in the order of first reach */
    size_t count, capacity;
    struct sim_site_slot *table; /* owned; open addressing */
    size_t table_size, table_count;
    const char *mute; /* borrowed, may be NULL: the text of sites that are muted */
    bool quiet;       /* the scenario has it off, or the chaos is over: no site fires, probes still count */
};

struct sim_buggify *sim_buggify_create(uint64_t seed);
void sim_buggify_destroy(struct sim_buggify *buggify); /* accepts NULL */
/* One line each, tabs between: "site FILE TEXT ASKED FIRED" (inactive ones fired 0), "probe FILE TEXT COUNT". */
void sim_buggify_report(const struct sim_buggify *buggify, FILE *out);
uint64_t sim_buggify_fired(const struct sim_buggify *buggify);
