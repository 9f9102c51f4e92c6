/* The frames of the memory engine's disk queue: their bytes, and nothing of the maps. For engine_memory.c alone.
 *
 * Little-endian:
 *
 *   commit  1 | 4 changes | 4 meta | entries
 *   chunk   2 | 1 flags (1: first of a sweep, 2: last) | 4 pairs | 4 meta | 4 length of from, from | 4 length of to, to | entries
 *   entry   1 type | 4 length of key | 4 length of value | key | value
 */
#pragma once

#include "storage/engine_impl.h"

enum {
    FRAME_COMMIT = 1,
    FRAME_CHUNK = 2,
    CHUNK_FIRST = 1,
    CHUNK_LAST = 2,
    ENTRY_SET = 1,
    ENTRY_CLEAR = 2,
    ENTRY_CLEAR_RANGE = 3,
    ENTRY_META = 4
};

unsigned frame_entry_type(const struct engine_change *change);

/* Writing: each appends to `out`; 0 or ERROR_OUT_OF_MEMORY, and then `out` holds a part. */
int frame_entry(struct bytes_buffer *out, unsigned type, struct bytes key, struct bytes value);
int frame_commit(const struct engine_commit *commit, struct bytes_buffer *out);
int frame_chunk_head(uint8_t flags, uint32_t pairs, uint32_t meta, struct bytes from, struct bytes to, struct bytes_buffer *out);

/* Reading: what is taken lies in the frame; `bad` once more was taken than there is, and what is taken then is empty or 0. */
struct frame_reading {
    struct bytes left;
    bool bad;
};

struct bytes frame_bytes(struct frame_reading *reading, size_t len);
uint32_t frame_u32(struct frame_reading *reading);
uint8_t frame_u8(struct frame_reading *reading);
bool frame_entry_allowed(unsigned type, struct bytes key);
