/* Fields of any message by name: what a scenario file says of them, `versions[0].version +1000`.
 *
 *   path   name(.name)*, where an array takes [3], [*] (each) or [?] (one drawn); # behind an array means its count
 *   change path =N | +N | -N        numbers and booleans
 *               flip | cut | empty  bytes: one bit, half of them gone, all gone
 *               invert N            the N-th byte
 *               swap | drop | empty | repeat  arrays: the first two exchanged, the last gone, all gone, the last twice
 *   test   path = N | > N | < N     numbers, booleans, and counts */
#pragma once

#include "net/arena.h"
#include "net/message.h"
#include "sim/random.h"

enum { LIE_PATH_MAX = 96 };

struct lie_change {
    char path[LIE_PATH_MAX];
    enum lie_op { LIE_SET, LIE_ADD, LIE_INVERT, LIE_FLIP, LIE_CUT, LIE_EMPTY, LIE_SWAP, LIE_DROP, LIE_REPEAT } op;
    int64_t number;
};

struct lie_test {
    char path[LIE_PATH_MAX];
    char relation; /* = < > */
    int64_t number;
};

/* False: it can't be understood, or the schema has no such field. */
bool lie_change_parse(const char *text, const struct schema *schema, struct lie_change *ret_change);
bool lie_test_parse(const char *text, const struct schema *schema, struct lie_test *ret_test);
/* True when something was really changed. New memory comes from the arena. */
bool lie_change_apply(const struct lie_change *change, const struct schema *schema, void *body, struct arena *arena,
                      struct sim_random *random);
/* With [*]: true when it holds for any. */
bool lie_test_holds(const struct lie_test *test, const struct schema *schema, void *body, struct sim_random *random);
