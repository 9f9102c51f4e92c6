/* The keys that somebody watches, in order: a skip list, for writes look one key up and clears a range. Pure. */
#pragma once

#include "net/bytes.h"
#include "net/list.h"
#include "txn/types.h"

enum { WATCHED_KEY_LEVELS = 16, WATCHED_KEY_BYTES = 80 /* about, without the key */ };

struct watched_key {
    struct bytes key;    /* in the same block */
    struct list entries; /* the owner's: never empty */
    version_t written;   /* the newest write of it that was seen; 0: none */
    uint32_t levels;
    struct watched_key *next[]; /* `levels` of them */
};

struct watched_keys {
    struct watched_key *first[WATCHED_KEY_LEVELS];
    uint64_t random;
};

void watched_keys_init(struct watched_keys *keys, uint64_t seed);
/* The key's node, made if it is not there. 0 or ERROR_OUT_OF_MEMORY. */
int watched_keys_obtain(struct watched_keys *keys, struct bytes key, struct watched_key **ret_key);
void watched_keys_remove(struct watched_keys *keys, struct watched_key *key);
/* NULL: none. */
struct watched_key *watched_keys_find(struct watched_keys *keys, struct bytes key);
struct watched_key *watched_keys_at_or_after(struct watched_keys *keys, struct bytes key);
struct watched_key *watched_keys_next(const struct watched_key *key);
