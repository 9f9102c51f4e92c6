/* Which keys a resolver has been asked about lately, and how often: a bounded sample that forgets.
 *
 * Conflict ranges are counted, reads and writes alike, each at its begin: what a range costs a resolver hardly depends on its
 * width. Two windows, each of one interval: the present one and the one before it. Each holds at most RANGE_SAMPLE_KEYS
 * keys; a window that is full drops every other key, and from then on looks at every other transaction. Pure: the time comes in. */
#pragma once

#include "txn/messages.h"
#include "txn/resolver_map.h"

enum {
    RANGE_SAMPLE_KEYS = 512,
    RANGE_SAMPLE_KEY_BYTES = 256, /* of a longer key its first so many stand for it */
    RANGE_SAMPLE_TOLD = 100,      /* keys of an answer: each with about so much of the load, or one key alone with more; up to twice as many */
};

struct range_sample;

/* partition: a number that the owner may ask for. NULL: no memory. */
struct range_sample *range_sample_create(int64_t now_us, int64_t interval_us, uint64_t partition);
void range_sample_destroy(struct range_sample *sample); /* accepts NULL */
uint64_t range_sample_partition(const struct range_sample *sample);
/* Malformed tables count up to where they are. Without memory for a key it is passed over. */
void range_sample_take(struct range_sample *sample, int64_t now_us, const struct resolve *batch);
/* Fills an answer with what came to keys of `part`. 0 or ERROR_OUT_OF_MEMORY. */
int range_sample_tell(struct range_sample *sample, int64_t now_us, const struct key_part *part, struct arena *arena,
                     struct resolver_load *ret_load);
