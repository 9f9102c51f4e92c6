/* Every lie, by file. A new one is a line here and a struct lie_type in its file. */
#pragma once

#include <assert.h>

#include "sim/lies/lies.h"

#define LIE_TABLE(X) \
    /* lies_messages.c */ \
    X(change) X(flip) X(double) X(drop) X(replay) X(stale)

#define X(name) extern const struct lie_type lie_##name;
LIE_TABLE(X)
#undef X
