/* What a storage server knows of the sizes and the loads of ranges without looking at all of their keys.
 *
 * The byte sample holds a key with probability min(1, size / unit), by the key's hash alone; each counts as max(size, unit), so that
 * the sum over a range is its size, give or take. When it has more than SAMPLE_KEYS_MAX keys, the unit doubles and those go that
 * would not be in it now. A load sample is the last LOAD_SAMPLES keys of what was written or read, one for each `interval` bytes,
 * which adapts so that they span some seconds.
 *
 * Pure but for memory; bounded: about SAMPLE_KEYS_MAX keys and their bytes, and 150 bytes a load sample. Errors: ERROR_OUT_OF_MEMORY,
 * and nothing has changed. */
#pragma once

#include "net/bytes.h"
#include "txn/kv_map.h"
#include "txn/types.h"

enum {
    SAMPLE_KEYS_MAX = 32768,
    SAMPLE_FILTER_BITS = 1 << 19,
    LOAD_SAMPLES = 1024,
    LOAD_KEY_BYTES = 128,           /* longer keys are cut: it is an estimate */
    LOAD_WINDOW_US = 10000000,      /* rates are over this long */
    LOAD_INTERVAL_MIN = 64,
};

struct byte_sample {
    struct kv_map *keys; /* key -> size, LE u32 */
    uint64_t unit;
    uint64_t changes;    /* since it was packed */
    uint64_t *filter;    /* bits of the hashes of what may be in it */
};

int byte_sample_init(struct byte_sample *sample, uint64_t unit);
void byte_sample_done(struct byte_sample *sample);
/* The key has a value, `bytes` with the key. */
int byte_sample_set(struct byte_sample *sample, struct bytes key, size_t bytes);
/* [begin, end) is empty. */
void byte_sample_clear(struct byte_sample *sample, struct bytes begin, struct bytes end);
/* Walks [begin, end): false at its end. *ret_weight: what the key stands for. Borrowed until the sample changes. */
bool byte_sample_next(const struct byte_sample *sample, struct bytes begin, struct bytes end, struct bytes *ret_key, uint64_t *ret_weight);
/* All of it at once: a few nanoseconds a sampled key, where a step of the walk is a search. */
uint64_t byte_sample_bytes(const struct byte_sample *sample, struct bytes begin, struct bytes end);
uint64_t byte_sample_sum(const struct byte_sample *sample, struct bytes begin, struct bytes end, uint32_t *ret_keys);
/* As a record, and back: ERROR_FILE_CORRUPT. */
int byte_sample_pack(struct byte_sample *sample, struct bytes_buffer *out);
int byte_sample_unpack(struct byte_sample *sample, struct bytes packed);

struct load_entry {
    int64_t at_us;
    uint64_t bytes, count; /* that it stands for */
    uint8_t key_len;
    uint8_t key[LOAD_KEY_BYTES];
};

struct load_sample {
    struct load_entry *entries; /* a ring */
    uint32_t next, used;
    uint64_t interval, bytes, count; /* what came since the last one */
    int64_t wrapped_us;              /* when the ring began anew */
};

int load_sample_init(struct load_sample *load);
void load_sample_done(struct load_sample *load);
void load_sample_take(struct load_sample *load, struct bytes key, int64_t now_us);
/* One read or write of `bytes`: some nanoseconds, but for one in many. */
static inline void load_sample_add(struct load_sample *load, struct bytes key, size_t bytes, int64_t now_us)
{
    load->bytes += bytes;
    load->count++;
    if (load->bytes >= load->interval)
        load_sample_take(load, key, now_us);
}
/* From time to time, at least while somebody asks: after a load has gone down its sample gets finer again. */
void load_sample_refine(struct load_sample *load, int64_t now_us);
/* How long the sample spans now, and which entries count: those not older. At least a second. */
int64_t load_sample_span_us(const struct load_sample *load, int64_t now_us);
static inline const struct load_entry *load_sample_at(const struct load_sample *load, uint32_t index)
{
    return &load->entries[index];
}
static inline struct bytes load_entry_key(const struct load_entry *entry)
{
    return bytes_of(entry->key, entry->key_len);
}
/* Bytes a second over all keys. */
uint64_t load_sample_rate(const struct load_sample *load, int64_t now_us);
/* Where the load of [begin, end) has its median: a key strictly inside, with some load on both sides. False: nowhere. The key is borrowed
 * from the sample. */
bool load_sample_median(const struct load_sample *load, struct bytes begin, struct bytes end, int64_t now_us, struct bytes *ret_key);
