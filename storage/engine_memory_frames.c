#include "storage/engine_memory_frames.h"

#include <assert.h>

#include "net/error.h"
#include "txn/types.h"

/* ---- writing ---- */

static int append_u32(struct bytes_buffer *out, size_t number)
{
    uint8_t encoded[4];

    assert(number <= UINT32_MAX);
    put_le32(encoded, (uint32_t)number);
    return bytes_buffer_append(out, bytes_of(encoded, sizeof(encoded)));
}

int frame_entry(struct bytes_buffer *out, unsigned type, struct bytes key, struct bytes value)
{
    uint8_t byte = (uint8_t)type;
    int error = bytes_buffer_append(out, bytes_of(&byte, 1));

    if (error == 0)
        error = append_u32(out, key.len);
    if (error == 0)
        error = append_u32(out, value.len);
    if (error == 0)
        error = bytes_buffer_append(out, key);
    if (error == 0)
        error = bytes_buffer_append(out, value);
    return error;
}

unsigned frame_entry_type(const struct engine_change *change)
{
    switch (change->type) {
    case ENGINE_SET:
        return ENTRY_SET;
    case ENGINE_CLEAR:
        return ENTRY_CLEAR;
    case ENGINE_CLEAR_RANGE:
        break;
    }
    return ENTRY_CLEAR_RANGE;
}

int frame_commit(const struct engine_commit *commit, struct bytes_buffer *out)
{
    uint8_t type = FRAME_COMMIT;
    int error = bytes_buffer_append(out, bytes_of(&type, 1));

    if (error == 0)
        error = append_u32(out, commit->change_count);
    if (error == 0)
        error = append_u32(out, commit->meta_count);
    for (size_t i = 0; i < commit->change_count && error == 0; i++) {
        const struct engine_change *change = &commit->changes[i];

        error = frame_entry(out, frame_entry_type(change), change->key,
                             change->type == ENGINE_CLEAR ? bytes_none() : change->value);
    }
    for (size_t i = 0; i < commit->meta_count && error == 0; i++)
        error = frame_entry(out, ENTRY_META, bytes_of_string(commit->meta[i].name), commit->meta[i].value);
    return error;
}

int frame_chunk_head(uint8_t flags, uint32_t pairs, uint32_t meta, struct bytes from, struct bytes to, struct bytes_buffer *out)
{
    uint8_t start[2] = {FRAME_CHUNK, flags};
    int error = bytes_buffer_append(out, bytes_of(start, sizeof(start)));

    if (error == 0)
        error = append_u32(out, pairs);
    if (error == 0)
        error = append_u32(out, meta);
    if (error == 0)
        error = append_u32(out, from.len);
    if (error == 0)
        error = bytes_buffer_append(out, from);
    if (error == 0)
        error = append_u32(out, to.len);
    if (error == 0)
        error = bytes_buffer_append(out, to);
    return error;
}

/* ---- reading ---- */

struct bytes frame_bytes(struct frame_reading *reading, size_t len)
{
    struct bytes taken = bytes_of(reading->left.ptr, len);

    if (len > reading->left.len) {
        reading->bad = true;
        return bytes_none();
    }
    reading->left = bytes_of(reading->left.ptr + len, reading->left.len - len);
    return taken;
}

uint32_t frame_u32(struct frame_reading *reading)
{
    struct bytes bytes = frame_bytes(reading, 4);

    return bytes.len == 4 ? get_le32(bytes.ptr) : 0;
}

uint8_t frame_u8(struct frame_reading *reading)
{
    struct bytes bytes = frame_bytes(reading, 1);

    return bytes.len == 1 ? bytes.ptr[0] : 0;
}

bool frame_entry_allowed(unsigned type, struct bytes key)
{
    if (type < ENTRY_SET || type > ENTRY_META)
        return false;
    return key.len <= (type == ENTRY_META ? (size_t)ENGINE_META_NAME_MAX : (size_t)SYSTEM_KEY_BYTES_MAX);
}
