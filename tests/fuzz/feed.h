/* Turns a fuzzer's bytes into choices, numbers and message bodies that get past the first check.
 *
 * Numbers come mostly from a pool of those that mean something here (epochs, ids, versions), which messages that went by
 * add to, and their neighbours. When the bytes end every choice is 0. */
#pragma once

#include "net/arena.h"
#include "net/rpc.h"
#include "txn/messages.h"

enum { FEED_POOL = 32 };

struct feed {
    const uint8_t *at;
    size_t left;
    uint64_t pool[FEED_POOL];
    unsigned pool_fixed, pool_count, pool_next; /* the fixed ones stay */
    struct address own;
};

void feed_init(struct feed *feed, const uint8_t *data, size_t size, struct address own);
void feed_fixed(struct feed *feed, uint64_t number); /* before any feed_saw */
void feed_saw(struct feed *feed, uint64_t number);
/* The 64-bit numbers of a body. */
void feed_saw_body(struct feed *feed, const struct schema *schema, const void *body);

static inline uint8_t feed_byte(struct feed *feed)
{
    if (feed->left == 0)
        return 0;
    feed->left--;
    return *feed->at++;
}

static inline unsigned feed_below(struct feed *feed, unsigned below)
{
    return feed_byte(feed) % below;
}

uint64_t feed_raw(struct feed *feed, unsigned bytes);
uint64_t feed_number(struct feed *feed);
/* Up to `most` bytes as they are, borrowed from the input. */
struct bytes feed_bytes(struct feed *feed, size_t most);
struct bytes feed_key(struct feed *feed, struct arena *arena);
struct bytes feed_mutations(struct feed *feed, struct arena *arena);
struct bytes feed_ranges(struct feed *feed, struct arena *arena);
void feed_body(struct feed *feed, const struct schema *schema, struct arena *arena, void *body);
