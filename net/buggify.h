/* The only doors by which the simulator reaches into product code: BUGGIFY and PROBE.
 *
 * BUGGIFY(env) is false in production. In the simulator each site (file:line) is active in a quarter of the runs, and an
 * active site fires a quarter of the time. PROBE(env, "name") records that a rare branch was reached. */
#pragma once

#include "net/env.h"

struct buggify {
    bool (*fire)(struct buggify *buggify, struct env *env, const char *file, int line);
    void (*probe)(struct buggify *buggify, struct env *env, const char *name);
};

#define BUGGIFY(env) \
    (__builtin_expect((env)->buggify != NULL, 0) && (env)->buggify->fire((env)->buggify, (env), __FILE__, __LINE__))
#define PROBE(env, name)                                                  \
    do {                                                                  \
        if (__builtin_expect((env)->buggify != NULL, 0))                  \
            (env)->buggify->probe((env)->buggify, (env), (name));         \
    } while (0)
