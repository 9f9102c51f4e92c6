/* The bytes of frames and segment headers. diskqueue.c says when a frame counts as valid. */
#include <assert.h>
#include <xxhash.h>

#include "net/error.h"
#include "net/planted_bug.h"
#include "storage/diskqueue_impl.h"

static const uint8_t segment_magic[8] = {'Q', 'u', 'o', 'i', 'n', 'L', 'o', 'g'};

/* A frame is bound to its place by the seed: nothing of another file or position can match. */
static uint64_t frame_seed(uint64_t file_id, uint64_t position)
{
    uint8_t place[16];

    put_le64(place, file_id);
    put_le64(place + 8, position);
    return XXH3_64bits(place, sizeof(place));
}

void frame_seal(uint8_t *at, uint64_t file_id, uint64_t position, uint32_t length, uint64_t synced, uint64_t popped)
{
    uint64_t seed = frame_seed(file_id, position);

    assert(popped <= synced && synced <= position);
    put_le32(at + 12, length);
    put_le64(at + 16, synced);
    put_le64(at + 24, popped);
    put_le32(at + 8, (uint32_t)XXH3_64bits_withSeed(at + 12, 20, seed));
    put_le64(at, XXH3_64bits_withSeed(at + 8, 24 + (size_t)length, seed));
}

bool frame_peek(const uint8_t *at, uint64_t file_id, uint64_t position, uint32_t *ret_length)
{
    uint32_t length = get_le32(at + 12);
    uint64_t synced = get_le64(at + 16), popped = get_le64(at + 24);

    if (length > FRAME_DATA_BYTES_MAX || synced > position || popped > synced)
        return false; /* most of what is no frame ends here, without hashing */
    if (get_le32(at + 8) != (uint32_t)XXH3_64bits_withSeed(at + 12, 20, frame_seed(file_id, position)))
        return false;
    *ret_length = length;
    return true;
}

bool frame_check(struct bytes from, uint64_t file_id, uint64_t position, struct frame *ret_frame)
{
    uint32_t length;

    if (from.len < FRAME_HEADER_BYTES || !frame_peek(from.ptr, file_id, position, &length))
        return false;
    if (frame_bytes(length) > from.len)
        return false;
    if (get_le64(from.ptr) != XXH3_64bits_withSeed(from.ptr + 8, 24 + (size_t)length, frame_seed(file_id, position)) &&
        !PLANTED_BUG(TORN_RECORD))
        return false;
    *ret_frame = (struct frame){
        .data = bytes_of(from.ptr + FRAME_HEADER_BYTES, length),
        .synced = get_le64(from.ptr + 16),
        .popped = get_le64(from.ptr + 24),
        .bytes = frame_bytes(length),
    };
    return true;
}

void segment_header_encode(const struct segment_header *header, uint8_t out[SEGMENT_HEADER_BYTES])
{
    memset(out, 0, SEGMENT_HEADER_BYTES);
    memcpy(out, segment_magic, sizeof(segment_magic));
    put_le32(out + 8, SEGMENT_FORMAT);
    put_le64(out + 16, header->file_id);
    put_le64(out + 24, header->begin);
    put_le64(out + 32, header->synced);
    put_le64(out + 40, header->popped);
    put_le64(out + 48, XXH3_64bits(out, 48));
}

int segment_header_decode(const uint8_t in[SEGMENT_HEADER_BYTES], struct segment_header *ret_header)
{
    if (memcmp(in, segment_magic, sizeof(segment_magic)) != 0 || get_le64(in + 48) != XXH3_64bits(in, 48))
        return ERROR_FILE_CORRUPT;
    if (get_le32(in + 8) > SEGMENT_FORMAT)
        return ERROR_UNSUPPORTED_FORMAT_VERSION;
    if (get_le64(in + 24) > SEGMENT_BEGIN_MAX || get_le64(in + 24) % FRAME_ALIGN != 0)
        return ERROR_FILE_CORRUPT;
    *ret_header = (struct segment_header){
        .file_id = get_le64(in + 16),
        .begin = get_le64(in + 24),
        .synced = get_le64(in + 32),
        .popped = get_le64(in + 40),
    };
    return 0;
}
