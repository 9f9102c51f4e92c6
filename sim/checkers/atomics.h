/* The atomic operations once more, written for the checkers alone: an oracle that shares no code with what it checks. */
#pragma once

#include "net/arena.h"

/* What the operation `type` (txn/mutation.h's codes) makes of a value. False when it leaves none. The result borrows from old,
 * param or the arena. */
bool checker_atomic(struct arena *arena, unsigned type, bool present, struct bytes old, struct bytes param,
                    struct bytes *ret_value);
