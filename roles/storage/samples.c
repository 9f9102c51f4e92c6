#include "roles/storage/samples.h"

#include <assert.h>
#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "net/error.h"
#include "net/mem.h"

enum { HEADER_BYTES = 12, SIZE_BYTES = 4 };

/* ---- bytes ---- */

static uint64_t hash_of(struct bytes key)
{
    return XXH3_64bits(key.len == 0 ? "" : (const void *)key.ptr, key.len);
}

/* By the upper half of the hash; the filter uses the lower one. */
static bool is_sampled(const struct byte_sample *sample, uint64_t hash, size_t bytes)
{
    return bytes >= sample->unit || (hash >> 32) * sample->unit < (uint64_t)bytes << 32;
}

static void filter_add(struct byte_sample *sample, uint64_t hash)
{
    uint32_t bit = (uint32_t)hash & (SAMPLE_FILTER_BITS - 1);

    sample->filter[bit / 64] |= UINT64_C(1) << bit % 64;
}

static bool may_hold(const struct byte_sample *sample, uint64_t hash)
{
    uint32_t bit = (uint32_t)hash & (SAMPLE_FILTER_BITS - 1);

    return (sample->filter[bit / 64] >> bit % 64 & 1) != 0;
}

int byte_sample_init(struct byte_sample *sample, uint64_t unit)
{
    *sample = (struct byte_sample){.keys = kv_map_create(), .unit = unit,
                                   .filter = mem_zalloc(SAMPLE_FILTER_BITS / 8)};
    assert(unit > 0);
    return sample->keys == NULL || sample->filter == NULL ? ERROR_OUT_OF_MEMORY : 0;
}

void byte_sample_done(struct byte_sample *sample)
{
    kv_map_destroy(sample->keys);
    mem_free(sample->filter);
    sample->keys = NULL;
    sample->filter = NULL;
}

/* The next key to look for, behind `key`; the buffer holds it. */
static int go_behind(struct bytes_buffer *next, struct bytes key, struct bytes *ret_at)
{
    int error;

    next->len = 0;
    error = bytes_buffer_append(next, key);
    if (error == 0)
        error = bytes_buffer_append(next, BYTES_LITERAL("\0"));
    *ret_at = bytes_buffer_bytes(next);
    return error;
}

/* What would not be in it with a unit twice as large goes. */
static int coarsen(struct byte_sample *sample)
{
    struct byte_sample fresh;
    struct bytes at = bytes_none(), key, size;
    struct bytes_buffer next = {0};
    int error = byte_sample_init(&fresh, sample->unit * 2);

    while (error == 0 && kv_map_at_or_after(sample->keys, at, &key, &size)) {
        uint64_t hash = hash_of(key);

        if (is_sampled(&fresh, hash, get_le32(size.ptr))) {
            error = kv_map_set(fresh.keys, key, size);
            filter_add(&fresh, hash);
        }
        if (error == 0)
            error = go_behind(&next, key, &at);
    }
    bytes_buffer_done(&next);
    if (error != 0) {
        byte_sample_done(&fresh);
        return error;
    }
    fresh.changes = sample->changes;
    byte_sample_done(sample);
    *sample = fresh;
    return 0;
}

static void remove_key(struct byte_sample *sample, struct bytes key)
{
    uint8_t after[SYSTEM_KEY_BYTES_MAX + 1];

    assert(key.len <= SYSTEM_KEY_BYTES_MAX);
    if (key.len > 0)
        memcpy(after, key.ptr, key.len);
    after[key.len] = 0;
    kv_map_clear_range(sample->keys, key, bytes_of(after, key.len + 1));
}

int byte_sample_set(struct byte_sample *sample, struct bytes key, size_t bytes)
{
    uint64_t hash = hash_of(key);
    uint8_t size[SIZE_BYTES];
    int error;

    if (!is_sampled(sample, hash, bytes)) {
        if (may_hold(sample, hash))
            remove_key(sample, key); /* it was larger */
        return 0;
    }
    put_le32(size, (uint32_t)bytes);
    error = kv_map_set(sample->keys, key, bytes_of(size, sizeof(size)));
    if (error != 0)
        return error;
    filter_add(sample, hash);
    sample->changes++;
    while (error == 0 && kv_map_count(sample->keys) > SAMPLE_KEYS_MAX)
        error = coarsen(sample);
    return error;
}

void byte_sample_clear(struct byte_sample *sample, struct bytes begin, struct bytes end)
{
    bool one = end.len == begin.len + 1 && end.ptr[begin.len] == 0 && bytes_starts_with(end, begin);

    if (one && !may_hold(sample, hash_of(begin)))
        return;
    kv_map_clear_range(sample->keys, begin, end);
    sample->changes++;
}

static uint64_t weight_of(const struct byte_sample *sample, struct bytes size)
{
    return get_le32(size.ptr) < sample->unit ? sample->unit : get_le32(size.ptr);
}

bool byte_sample_next(const struct byte_sample *sample, struct bytes begin, struct bytes end, struct bytes *ret_key, uint64_t *ret_weight)
{
    struct bytes size;

    if (!kv_map_at_or_after(sample->keys, begin, ret_key, &size) || bytes_compare(*ret_key, end) >= 0)
        return false;
    *ret_weight = weight_of(sample, size);
    return true;
}

struct sum {
    const struct byte_sample *sample;
    uint64_t bytes;
    uint32_t keys;
};

static void add_up(void *ctx, struct bytes key, struct bytes size)
{
    struct sum *sum = ctx;

    (void)key;
    sum->bytes += weight_of(sum->sample, size);
    sum->keys++;
}

uint64_t byte_sample_sum(const struct byte_sample *sample, struct bytes begin, struct bytes end, uint32_t *ret_keys)
{
    struct sum sum = {.sample = sample};

    kv_map_walk(sample->keys, begin, end, add_up, &sum);
    *ret_keys = sum.keys;
    return sum.bytes;
}

uint64_t byte_sample_bytes(const struct byte_sample *sample, struct bytes begin, struct bytes end)
{
    uint32_t keys;

    return byte_sample_sum(sample, begin, end, &keys);
}

/* unit u64, count u32, then the map as a table of SETs: little-endian. */
int byte_sample_pack(struct byte_sample *sample, struct bytes_buffer *out)
{
    uint8_t header[HEADER_BYTES];
    int error;

    put_le64(header, sample->unit);
    put_le32(header + 8, (uint32_t)kv_map_count(sample->keys));
    error = bytes_buffer_append(out, bytes_of(header, sizeof(header)));
    if (error == 0)
        error = kv_map_dump(sample->keys, out);
    if (error == 0)
        sample->changes = 0;
    return error;
}

static int check_unpacked(struct byte_sample *sample)
{
    struct bytes at = bytes_none(), key, size;
    struct bytes_buffer next = {0};
    int error = 0;

    while (error == 0 && kv_map_at_or_after(sample->keys, at, &key, &size)) {
        if (key.len > SYSTEM_KEY_BYTES_MAX || size.len != SIZE_BYTES)
            error = ERROR_FILE_CORRUPT;
        filter_add(sample, hash_of(key));
        if (error == 0)
            error = go_behind(&next, key, &at);
    }
    bytes_buffer_done(&next);
    return error;
}

int byte_sample_unpack(struct byte_sample *sample, struct bytes packed)
{
    struct byte_sample fresh;
    uint64_t unit = packed.len < HEADER_BYTES ? 0 : get_le64(packed.ptr);
    int error;

    if (unit == 0 || unit > UINT32_MAX || get_le32(packed.ptr + 8) > SAMPLE_KEYS_MAX)
        return ERROR_FILE_CORRUPT;
    error = byte_sample_init(&fresh, unit);
    if (error == 0)
        error = kv_map_apply(fresh.keys, bytes_of(packed.ptr + HEADER_BYTES, packed.len - HEADER_BYTES));
    if (error != 0 && error != ERROR_OUT_OF_MEMORY)
        error = ERROR_FILE_CORRUPT;
    if (error == 0 && kv_map_count(fresh.keys) != get_le32(packed.ptr + 8))
        error = ERROR_FILE_CORRUPT;
    if (error == 0)
        error = check_unpacked(&fresh);
    if (error != 0) {
        byte_sample_done(&fresh);
        return error;
    }
    byte_sample_done(sample);
    *sample = fresh;
    return 0;
}

/* ---- loads ---- */

int load_sample_init(struct load_sample *load)
{
    *load = (struct load_sample){.entries = mem_zalloc(LOAD_SAMPLES * sizeof(struct load_entry)), .interval = LOAD_INTERVAL_MIN};
    return load->entries == NULL ? ERROR_OUT_OF_MEMORY : 0;
}

void load_sample_done(struct load_sample *load)
{
    mem_free(load->entries);
    load->entries = NULL;
}

/* A ring that comes round in half a window is too fine. */
static void adapt(struct load_sample *load, int64_t now_us)
{
    if (now_us - load->wrapped_us < LOAD_WINDOW_US / 2)
        load->interval *= 2;
    load->wrapped_us = now_us;
}

/* One of which a window takes less than a quarter is too coarse. */
void load_sample_refine(struct load_sample *load, int64_t now_us)
{
    uint32_t fourth = (load->next + LOAD_SAMPLES - LOAD_SAMPLES / 4) % LOAD_SAMPLES;

    if ((load->used < LOAD_SAMPLES / 4 || now_us - load->entries[fourth].at_us > LOAD_WINDOW_US) &&
        load->interval / 2 >= LOAD_INTERVAL_MIN)
        load->interval /= 2;
}

void load_sample_take(struct load_sample *load, struct bytes key, int64_t now_us)
{
    struct load_entry *entry = &load->entries[load->next];

    entry->at_us = now_us;
    entry->bytes = load->bytes;
    entry->count = load->count;
    entry->key_len = (uint8_t)(key.len < LOAD_KEY_BYTES ? key.len : LOAD_KEY_BYTES);
    if (entry->key_len > 0)
        memcpy(entry->key, key.ptr, entry->key_len);
    load->bytes = load->count = 0;
    load->used += load->used < LOAD_SAMPLES;
    load->next = (load->next + 1) % LOAD_SAMPLES;
    if (load->next == 0)
        adapt(load, now_us);
}

int64_t load_sample_span_us(const struct load_sample *load, int64_t now_us)
{
    const struct load_entry *oldest = &load->entries[load->next]; /* once the ring is full */
    int64_t span_us = LOAD_WINDOW_US;

    if (load->used == LOAD_SAMPLES && now_us - oldest->at_us < span_us)
        span_us = now_us - oldest->at_us;
    return span_us < 1000000 ? 1000000 : span_us;
}

uint64_t load_sample_rate(const struct load_sample *load, int64_t now_us)
{
    int64_t span_us = load_sample_span_us(load, now_us);
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < load->used; i++)
        if (now_us - load->entries[i].at_us <= span_us)
            bytes += load->entries[i].bytes;
    return bytes * 1000000 / (uint64_t)span_us;
}

static int by_key(const void *a, const void *b)
{
    return bytes_compare(load_entry_key(*(const struct load_entry *const *)a), load_entry_key(*(const struct load_entry *const *)b));
}

bool load_sample_median(const struct load_sample *load, struct bytes begin, struct bytes end, int64_t now_us, struct bytes *ret_key)
{
    const struct load_entry *chosen[LOAD_SAMPLES];
    int64_t span_us = load_sample_span_us(load, now_us);
    uint64_t total = 0, left = 0, best = UINT64_MAX;
    uint32_t count = 0;

    for (uint32_t i = 0; i < load->used; i++) {
        const struct load_entry *entry = &load->entries[i];

        if (now_us - entry->at_us > span_us || bytes_compare(load_entry_key(entry), begin) < 0 ||
            bytes_compare(load_entry_key(entry), end) >= 0)
            continue;
        chosen[count++] = entry;
        total += entry->bytes;
    }
    qsort(chosen, count, sizeof(chosen[0]), by_key);
    for (uint32_t i = 0; i < count; left += chosen[i]->bytes, i++) {
        uint64_t off = left * 2 > total ? left * 2 - total : total - left * 2;

        if (left == 0 || off >= best || bytes_compare(load_entry_key(chosen[i]), load_entry_key(chosen[i - 1])) == 0)
            continue;
        best = off;
        *ret_key = load_entry_key(chosen[i]);
    }
    return best != UINT64_MAX;
}
