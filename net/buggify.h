/* The only doors by which the simulator reaches into product code: BUGGIFY and PROBE.
 *
 * BUGGIFY(env, "a batch ends early: ...") is false in production. In the simulator each site is active in a quarter of the runs, and
 * an active site fires a quarter of the time; BUGGIFY_ONE_IN(env, n, what) fires one time in n, for sites that are asked often or that
 * hurt much; BUGGIFY_DEATH(env, n, what) is one that may end a role or its process. PROBE(env, "a push is answered from memory") records that a rare branch was reached.
 *
 * The text is a literal of one line that says what the site attacks, or which branch the probe proves. File and text are what a
 * site is known by (two with the same text in one file would be one: tests/lint.py refuses them), so an edit elsewhere in
 * the file changes no seed. A site does what a correct system must survive, and never makes a healthy cluster stand still. */
#pragma once

#include "net/buggify.h"
#include "net/env.h"

enum { BUGGIFY_FIRES_ONE_IN = 4 };

struct buggify {
    /* `file` and `what` are literals: they outlive everything. */
    bool (*fire)(struct buggify *buggify, struct env *env, const char *file, const char *what, unsigned one_in);
    void (*probe)(struct buggify *buggify, struct env *env, const char *file, const char *what);
    bool spares_lives; /* nobody would recruit or start again what dies: no BUGGIFY_DEATH fires */
};

#define BUGGIFY_ONE_IN(env, one_in, what)                     \
    (__builtin_expect((env)->buggify != NULL, 0) &&           \
     (env)->buggify->fire((env)->buggify, (env), __FILE__, what, (one_in)))
#define BUGGIFY_DEATH(env, one_in, what)                                                                \
    (__builtin_expect((env)->buggify != NULL, 0) && !(env)->buggify->spares_lives &&                    \
     (env)->buggify->fire((env)->buggify, (env), __FILE__, what, (one_in)))
#define BUGGIFY(env, what) BUGGIFY_ONE_IN(env, BUGGIFY_FIRES_ONE_IN, what)
#define PROBE(env, what)                                                  \
    do {                                                                  \
        if (__builtin_expect((env)->buggify != NULL, 0))                  \
            (env)->buggify->probe((env)->buggify, (env), __FILE__, what); \
    } while (0)
