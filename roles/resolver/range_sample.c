/* Whole transactions are sampled, one in `one_in`: so every range has the same chance, and one that is not looked at costs a
 * counter. All keys of a window stand for `one_in` ranges each: when every other one is dropped, the others stand for twice as many. */
#include "roles/resolver/range_sample.h"

#include <assert.h>
#include <stdlib.h>

#include "net/error.h"
#include "net/mem.h"
#include "txn/conflict_range.h"

enum { ONE_IN_MAX = 1 << 16, RATE_MAX = 1000000000 };

struct window {
    int64_t begun_us;
    uint64_t one_in;
    uint32_t count;
    struct arena arena; /* holds the keys: of what was dropped as well, until the window goes */
    struct bytes keys[RANGE_SAMPLE_KEYS];
};

struct range_sample {
    uint64_t partition, seen; /* transactions */
    int64_t interval_us;
    struct window windows[2], *now, *before; /* before: NULL while there is none */
};

struct range_sample *range_sample_create(int64_t now_us, int64_t interval_us, uint64_t partition)
{
    struct range_sample *sample = mem_zalloc(sizeof(*sample));

    if (sample == NULL)
        return NULL;
    sample->partition = partition;
    sample->interval_us = interval_us < 1 ? 1 : interval_us;
    sample->now = &sample->windows[0];
    sample->now->begun_us = now_us;
    sample->now->one_in = 1;
    return sample;
}

void range_sample_destroy(struct range_sample *sample)
{
    if (sample == NULL)
        return;
    arena_done(&sample->windows[0].arena);
    arena_done(&sample->windows[1].arena);
    mem_free(sample);
}

uint64_t range_sample_partition(const struct range_sample *sample)
{
    return sample->partition;
}

/* ---- taking ---- */

static void roll(struct range_sample *sample, int64_t now_us)
{
    struct window *old = sample->now, *fresh = old == &sample->windows[0] ? &sample->windows[1] : &sample->windows[0];

    if (now_us - old->begun_us < sample->interval_us)
        return;
    arena_reset(&fresh->arena);
    fresh->begun_us = now_us;
    fresh->count = 0;
    fresh->one_in = old->count < RANGE_SAMPLE_KEYS / 2 && old->one_in > 1 ? old->one_in / 2 : old->one_in;
    sample->before = old;
    sample->now = fresh;
}

static void drop_every_other(struct window *window)
{
    for (uint32_t i = 1; i < window->count / 2; i++)
        window->keys[i] = window->keys[2 * i];
    window->count /= 2;
    window->one_in *= 2;
}

static void take_key(struct window *window, struct bytes key)
{
    if (key.len > RANGE_SAMPLE_KEY_BYTES)
        key.len = RANGE_SAMPLE_KEY_BYTES;
    if (window->count == RANGE_SAMPLE_KEYS) {
        if (window->one_in >= ONE_IN_MAX)
            return;
        drop_every_other(window);
    }
    if (arena_copy(&window->arena, key, &window->keys[window->count]) == 0)
        window->count++;
}

static void take_table(struct window *window, struct bytes table)
{
    struct conflict_range range;

    while (conflict_range_next(&table, &range) == 0)
        take_key(window, range.begin);
}

void range_sample_take(struct range_sample *sample, int64_t now_us, const struct resolve *batch)
{
    roll(sample, now_us);
    for (uint32_t i = 0; i < batch->transactions_count; i++) {
        if (sample->seen++ % sample->now->one_in != 0)
            continue;
        take_table(sample->now, batch->transactions[i].read_conflicts);
        take_table(sample->now, batch->transactions[i].write_conflicts);
    }
}

/* ---- telling ---- */

struct weighed {
    struct bytes key;
    uint64_t weight;
};

static int by_key(const void *a, const void *b)
{
    return bytes_compare(((const struct weighed *)a)->key, ((const struct weighed *)b)->key);
}

static uint32_t add_window(const struct window *window, const struct key_part *part, struct weighed *out)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < window->count; i++)
        if (key_part_contains(part, window->keys[i]))
            out[count++] = (struct weighed){window->keys[i], window->one_in};
    return count;
}

static uint64_t sum_of(const struct weighed *all, uint32_t count)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < count; i++)
        sum += all[i].weight;
    return sum;
}

/* Equal keys become one; then neighbours, as long as they are light together. */
static int fill_keys(struct weighed *all, uint32_t count, uint64_t sum, struct arena *arena, struct resolver_load *load)
{
    uint64_t unit = sum / RANGE_SAMPLE_TOLD;

    load->keys = arena_alloc(arena, (count + 1) * sizeof(*load->keys));
    if (load->keys == NULL)
        return ERROR_OUT_OF_MEMORY;
    for (uint32_t i = 0; i < count;) {
        struct sampled_key *last = load->keys_count == 0 ? NULL : &load->keys[load->keys_count - 1];
        struct weighed key = all[i++];

        while (i < count && bytes_equal(all[i].key, key.key))
            key.weight += all[i++].weight;
        if (last != NULL && last->weight + key.weight <= unit) {
            last->weight += key.weight;
            continue;
        }
        last = &load->keys[load->keys_count++];
        last->weight = key.weight;
        if (arena_copy(arena, key.key, &last->key) != 0)
            return ERROR_OUT_OF_MEMORY;
    }
    return 0;
}

static int64_t rate_of(uint64_t sum, int64_t time_us)
{
    double rate = (double)sum * 1e6 / (double)(time_us < 1 ? 1 : time_us);

    return rate > RATE_MAX ? RATE_MAX : rate < 1 && sum > 0 ? 1 : (int64_t)rate;
}

int range_sample_tell(struct range_sample *sample, int64_t now_us, const struct key_part *part, struct arena *arena,
                     struct resolver_load *ret_load)
{
    struct weighed all[2 * RANGE_SAMPLE_KEYS];
    int64_t since_us;
    uint32_t count;
    uint64_t sum;

    roll(sample, now_us);
    since_us = sample->before != NULL ? sample->before->begun_us : sample->now->begun_us;
    count = add_window(sample->now, part, all);
    if (sample->before != NULL)
        count += add_window(sample->before, part, all + count);
    qsort(all, count, sizeof(all[0]), by_key);
    sum = sum_of(all, count);
    ret_load->ranges_per_s = rate_of(sum, now_us - since_us);
    return fill_keys(all, count, sum, arena, ret_load);
}
