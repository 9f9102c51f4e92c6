/* The ordered keys that somebody watches, against an array. */
#include <criterion/criterion.h>
#include <string.h>

#include "net/error.h"
#include "roles/storage/watched_keys.h"
#include "tests/unit/draw.h"
#include "txn/watch_digest.h"

enum { KEYS = 200, STEPS = 20000 };

static struct bytes key_of(unsigned key, uint8_t out[2])
{
    out[0] = (uint8_t)(key / 7);
    out[1] = (uint8_t)(key % 7);
    return bytes_of(out, key % 7 == 0 ? 1 : 2); /* "a" sorts before "a\1" */
}

static void check_order(struct watched_keys *keys, const bool *there, unsigned from)
{
    struct watched_key *key;
    uint8_t text[2];

    while (from < KEYS && !there[from])
        from++;
    key = watched_keys_at_or_after(keys, key_of(from, text));
    for (; from < KEYS; from++) {
        if (!there[from])
            continue;
        cr_assert(key != NULL && bytes_equal(key->key, key_of(from, text)));
        key = watched_keys_next(key);
    }
    cr_assert(key == NULL);
}

Test(watched_keys, agrees_with_an_array, .timeout = 60)
{
    static bool there[KEYS];
    struct watched_keys keys;
    struct watched_key *found, *again;
    uint64_t random = 7;
    uint8_t text[2];

    watched_keys_init(&keys, 99);
    for (int step = 0; step < STEPS; step++) {
        unsigned chosen = (unsigned)draw_below(&random, KEYS);

        found = watched_keys_find(&keys, key_of(chosen, text));
        cr_assert_eq(found != NULL, there[chosen]);
        if (there[chosen]) {
            watched_keys_remove(&keys, found);
        } else {
            cr_assert_eq(watched_keys_obtain(&keys, key_of(chosen, text), &found), 0);
            cr_assert_eq(watched_keys_obtain(&keys, key_of(chosen, text), &again), 0);
            cr_assert_eq(found, again);
        }
        there[chosen] = !there[chosen];
        if (step % 100 == 0)
            check_order(&keys, there, (unsigned)draw_below(&random, KEYS));
    }
    for (unsigned i = 0; i < KEYS; i++)
        if (there[i])
            watched_keys_remove(&keys, watched_keys_find(&keys, key_of(i, text)));
    cr_assert(watched_keys_at_or_after(&keys, BYTES_LITERAL("")) == NULL);
}

Test(watched_keys, a_digest_tells_absent_from_empty_and_one_seed_from_another)
{
    cr_assert_neq(watch_digest(false, bytes_none(), 1), watch_digest(true, bytes_none(), 1));
    cr_assert_neq(watch_digest(true, BYTES_LITERAL("a"), 1), watch_digest(true, BYTES_LITERAL("a"), 2));
    cr_assert_neq(watch_digest(true, BYTES_LITERAL("a"), 1), watch_digest(true, BYTES_LITERAL("b"), 1));
    cr_assert_eq(watch_digest(true, BYTES_LITERAL("a"), 1), watch_digest(true, BYTES_LITERAL("a"), 1));
}
