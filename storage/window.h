/* The multi-version window: what a storage server was told and its engine does not hold yet.
 *
 * Holds every set and clear of the versions in (forgotten, newest]. The engine below it holds the state at `forgotten` or,
 * while a commit is under way, at a version that no reader is below. A read at a version looks here first; UNKNOWN means
 * that nothing in the window up to that version touches the key: the engine has the answer.
 *
 * Versions that are applied never decrease; within one version the order of the calls counts. Atomic operations are not
 * known here: the caller evaluates them (window_get, then the engine) and sets the result.
 *
 * Ownership: keys and values are copied in. What is given out is borrowed until the next window_forget,
 * window_discard_above or window_destroy; window_set and window_clear_range move nothing that was given out, but end every
 * iterator. Memory is freed in generations of half a second of versions.
 *
 * Errors: ERROR_OUT_OF_MEMORY, and then the window is as it was. */
#pragma once

#include "net/arena.h"
#include "net/bytes.h"
#include "txn/types.h"

struct window;
struct window_point;

/* `version`: the engine's. `seed` (random, from env) keeps the hash and the index from being attacked by chosen keys. */
int window_create(version_t version, uint64_t seed, struct window **ret_window);
void window_destroy(struct window *window); /* accepts NULL */

/* Enter a mutation at `version` >= window_newest. An empty range clears nothing; begin <= end is the caller's promise.
 * A range that is one key costs no more than a set. */
int window_set(struct window *window, version_t version, struct bytes key, struct bytes value);
int window_clear_range(struct window *window, version_t version, struct bytes begin, struct bytes end);
/* A version without mutations, so that window_newest follows the stream. */
void window_advance(struct window *window, version_t version);

enum window_answer {
    WINDOW_UNKNOWN, /* ask the engine */
    WINDOW_FOUND,
    WINDOW_CLEARED, /* the key is absent, whatever the engine says */
};

/* The state of a key at a version >= window_forgotten. *ret_value is set only if FOUND. */
enum window_answer window_get(const struct window *window, struct bytes key, version_t version,
                              struct bytes *ret_value);

enum window_entry_kind {
    WINDOW_SET_KEY,
    WINDOW_CLEARED_KEY,   /* this one key is absent */
    WINDOW_CLEARED_RANGE, /* every key of [key, end) is absent */
};

struct window_entry {
    enum window_entry_kind kind;
    struct bytes key;   /* the begin of a CLEARED_RANGE */
    struct bytes end;   /* CLEARED_RANGE only */
    struct bytes value; /* SET_KEY only */
};

/* Walks the window's state at one version over [begin, end), in one direction. Its entries never overlap and come in order
 * (reverse: the same kinds, from the end down); a key that no entry covers is the engine's alone. A cleared stretch may
 * come in several touching pieces. Lives on the caller's stack, needs no clean-up; valid until the window changes. */
struct window_iterator {
    const struct window *window;
    version_t version;
    struct bytes begin, end; /* what is left to walk; borrowed from the caller at first, later from the window too */
    bool reverse;

    /* private */
    const struct window_point *point; /* next one to look at, in the direction of the walk */
    struct bytes stretch;             /* where the present stretch, of one and the same clear, ends */
    uint64_t cover;                   /* which clear that is; 0: none */
    bool stretch_known;
};

void window_iterator_init(struct window_iterator *iterator, const struct window *window, version_t version,
                          struct bytes begin, struct bytes end, bool reverse);
/* False at the end. */
bool window_iterator_next(struct window_iterator *iterator, struct window_entry *ret_entry);

/* What an engine must do to come from the state at window_forgotten to the state at `version`: calls `entry` in key order,
 * a cleared range before the keys set in it, each key once with its newest value. Ranges are joined as far as they go;
 * applying the entries one after another gives exactly the state. Stops at the first non-zero result and returns it. An
 * engine job off the loop works from an array that the callback filled: the window may grow meanwhile, and must not be
 * told to forget or discard. */
int window_collect(const struct window *window, version_t version,
                   int (*entry)(void *context, const struct window_entry *entry), void *context);

/* The same in steps of at most `entries_max`, so that no turn gets long. Between steps the window may grow, above `version`,
 * but must not forget or discard. Zeroed but for window and version it stands at the beginning. */
struct window_collection {
    const struct window *window; /* borrowed */
    version_t version;
    struct bytes begin, cleared_until; /* private; borrowed from the window */
};
/* *ret_more false: that was the end. */
int window_collect_step(struct window_collection *collection, size_t entries_max,
                        int (*entry)(void *context, const struct window_entry *entry), void *context, bool *ret_more);

/* Drops versions <= `version`: the engine holds them now. Lower values than window_forgotten do nothing. Takes time in
 * proportion to the sets dropped; may be called in steps. */
void window_forget(struct window *window, version_t version);

/* Drops versions > `version` >= window_forgotten: they belong to an ended epoch and were never committed. */
void window_discard_above(struct window *window, version_t version);

version_t window_forgotten(const struct window *window); /* least version that can be read */
version_t window_newest(const struct window *window);
size_t window_bytes(const struct window *window); /* all memory held */
