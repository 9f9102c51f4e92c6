/* Where to cut the key space so that resolvers share the load: pure.
 *
 * From what each resolver says of its part, as a list of keys with the load from each to the next, the new begins are chosen
 * such that all parts carry about the same. A key that alone carries more than its share gets a part of its own, as far as the
 * sample tells. */
#pragma once

#include "txn/messages.h"
#include "txn/resolver_map.h"

struct partition_wish {
    int64_t floor;   /* ranges a second of the most loaded below which nothing is changed */
    int64_t percent; /* nor unless the most loaded has more than this of the least loaded */
};

/* True when `load` can be of that part: keys inside, ascending, weights and load without overflow. */
bool partition_load_is_sound(const struct resolver_load *load, const struct key_part *part);
/* loads: sound, one of each part, in order. True: ret_begins (in the arena, `count` of them) cut it better; false: it stays as it is,
 * or there is no memory. */
bool partition_choose(const struct partition_wish *wish, const struct resolver_load *const *loads, uint32_t count,
                      struct arena *arena, struct bytes ret_begins[RESOLVERS_MAX]);
/* Begins at places drawn among the sampled keys, for the simulator. False: there are too few keys. */
bool partition_draw(const struct resolver_load *const *loads, uint32_t count, uint64_t (*draw)(void *ctx), void *ctx,
                    struct arena *arena, struct bytes ret_begins[RESOLVERS_MAX]);
