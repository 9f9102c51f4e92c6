#include "txn/watch_digest.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t watch_digest(bool present, struct bytes value, uint64_t seed)
{
    if (!present) /* no value is hashed with this seed by the same watch */
        return XXH3_64bits_withSeed("", 0, ~seed);
    return XXH3_64bits_withSeed(value.len == 0 ? "" : (const void *)value.ptr, value.len, seed);
}
