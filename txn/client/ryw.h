/* What a transaction wrote, in key order, so that its reads can see it.
 *
 * An ordered map of entries; each says what is known of its key, and of the keys between it and the next entry. Memory comes
 * from an arena that goes when the transaction is reset. Pure; deterministic. The caller has checked keys and sizes. */
#pragma once

#include "net/arena.h"
#include "txn/mutation.h"

/* An atomic operation on a value that is not known yet; a chain from the newest to the oldest, never changed once made. */
struct ryw_op {
    const struct ryw_op *older;
    enum mutation_type type;
    struct bytes param;
};

enum ryw_kind {
    RYW_UNKNOWN,    /* as in the database */
    RYW_SET,        /* value */
    RYW_CLEARED,    /* absent */
    RYW_OPS,        /* ops applied to what is in the database */
    RYW_UNREADABLE, /* a versionstamp will be there: 1036 */
};

struct ryw_value {
    enum ryw_kind kind;
    struct bytes value;       /* RYW_SET; borrowed until the map is reset */
    const struct ryw_op *ops; /* RYW_OPS; likewise */
};

/* A part of the key space that is not RYW_UNKNOWN: [begin, end), or one key when is_point. Only points have values. */
struct ryw_segment {
    struct bytes begin, end; /* borrowed until the map is reset; end is not there when is_point */
    bool is_point;
    bool begin_open; /* begin is not part of it (it is a known point, the segment before this one in key order) */
    struct ryw_value value;
};

enum { RYW_LEVELS = 12 };
struct ryw_entry;

struct ryw {
    struct arena arena;
    struct ryw_entry *head; /* of key "", made with the first write */
    uint32_t random;
    uint32_t count; /* entries, without the head */
};

void ryw_init(struct ryw *ryw);
void ryw_done(struct ryw *ryw);
void ryw_reset(struct ryw *ryw); /* keeps some memory */
static inline bool ryw_empty(const struct ryw *ryw)
{
    return ryw->head == NULL;
}

/* 0 or ERROR_OUT_OF_MEMORY. Keys and values are copied. */
int ryw_set(struct ryw *ryw, struct bytes key, struct bytes value);
int ryw_clear(struct ryw *ryw, struct bytes key);
int ryw_clear_range(struct ryw *ryw, struct bytes begin, struct bytes end);
/* A type that mutation_type_is_atomic; folded at once when the value is known. */
int ryw_atomic(struct ryw *ryw, enum mutation_type type, struct bytes key, struct bytes param);
int ryw_unreadable(struct ryw *ryw, struct bytes key);
int ryw_unreadable_range(struct ryw *ryw, struct bytes begin, struct bytes end);

void ryw_get(const struct ryw *ryw, struct bytes key, struct ryw_value *ret_value);
/* Applies a chain to what the database has. The result borrows from the chain, existing or the arena. */
int ryw_apply(struct arena *arena, const struct ryw_op *ops, bool exists, struct bytes existing, bool *ret_exists,
              struct bytes *ret_value);

/* The known parts of [begin, end) in order (reverse: from the end), each cut to the range. See ryw_cursor_next. */
struct ryw_cursor {
    const struct ryw *ryw;
    struct bytes begin, end; /* what is left; borrowed from the caller, then from the map */
    bool reverse;
    const struct ryw_entry *entry;
    bool at_gap; /* the entry's key is done, what follows it is next */
};
void ryw_cursor_init(struct ryw_cursor *cursor, const struct ryw *ryw, struct bytes begin, struct bytes end, bool reverse);
/* False at the end. Segments don't overlap. */
bool ryw_cursor_next(struct ryw_cursor *cursor, struct ryw_segment *ret_segment);
