/* Blocking reads for layers: one key, and a range as an iterator. */
#pragma once

#include <quoin/layers.h>

/* What a get brought. Owns a future until layer_value_done; data lives as long. */
struct layer_value {
    struct quoin_future *future; /* owned */
    const uint8_t *data;
    int length;
    bool present;
};
quoin_error layer_get(struct quoin_transaction *transaction, struct quoin_slice key, bool snapshot, struct layer_value *ret_value);
/* The end of a get that was started earlier; takes the future, also on failure. */
quoin_error layer_get_end(struct quoin_future *future, struct layer_value *ret_value);
void layer_value_done(struct layer_value *value);

/* All pairs of a range, one after another, in pages. Zero it, start it, take until NULL, end it. */
struct layer_scan {
    struct quoin_transaction *transaction;
    struct quoin_slice begin, end; /* borrowed until layer_scan_done; reverse: `end` moves */
    struct quoin_future *page;     /* owned: the pairs */
    const struct quoin_pair *pairs;
    int at, count, left; /* left: pairs that the limit still allows; 0: no limit */
    int iteration;
    bool more, snapshot, reverse;
};
void layer_scan_start(struct layer_scan *scan, struct quoin_transaction *transaction, struct quoin_slice begin, struct quoin_slice end,
                      int limit);
/* *ret_pair lives until the next call; NULL after the last. */
quoin_error layer_scan_next(struct layer_scan *scan, const struct quoin_pair **ret_pair);
void layer_scan_done(struct layer_scan *scan);

static inline struct quoin_slice layer_slice(const struct quoin_buffer *buffer)
{
    return (struct quoin_slice){buffer->data, buffer->length};
}
