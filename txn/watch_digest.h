/* What a watch knows of a value: a seeded hash, which the client and the storage server must compute alike.
 *
 * The seed is random for each watch, so that nobody can choose two values that look the same to it. */
#pragma once

#include <stdbool.h>

#include "net/bytes.h"

/* Of a key's value, or of its absence. */
uint64_t watch_digest(bool present, struct bytes value, uint64_t seed);
