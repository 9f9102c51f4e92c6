/* The frames of a log's disk queue.
 *
 * Every frame begins with a kind byte and 7 bytes of zero. All numbers are little-endian.
 *
 *   SNAPSHOT (1)  format u32, generation length u32, log id u64, epoch u64, begin i64, version i64, known committed i64,
 *                 generation (msgpack), metadata as of `version` (mutation table, to the end of the frame)
 *   PUSH (2)      version i64, prev version i64, known committed i64, section count u32, metadata length u32,
 *                 per section {tag count u32, length u32, tags u32 each}, the sections' mutations, the metadata mutations
 *   POPS (3)      {tag u32, zero u32, version i64} to the end of the frame
 *
 * A log's queue is valid if and only if its first snapshot comes before any need of it: a fresh one is durable before the queue
 * pops past the last. Pushes are in version order, each naming its predecessor. */
#include <stdio.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "net/mem.h"
#include "roles/log/log_internal.h"

enum frame_kind { FRAME_SNAPSHOT = 1, FRAME_PUSH = 2, FRAME_POPS = 3 };
enum { SNAPSHOT_HEADER_BYTES = 56, PUSH_HEADER_BYTES = 40, SECTION_HEADER_BYTES = 8, POP_BYTES = 16 };

/* ---- writing ---- */

int log_disk_append_snapshot(struct log_server *log, uint64_t *ret_position)
{
    uint8_t header[SNAPSHOT_HEADER_BYTES] = {FRAME_SNAPSHOT};
    struct bytes_buffer generation = {0}, metadata = {0};
    int error = message_encode(&schema_generation, &log->generation, &generation);

    if (error == 0)
        error = kv_map_dump(log->metadata, &metadata);
    if (error == 0) {
        put_le32(header + 8, LOG_FORMAT_VERSION);
        put_le32(header + 12, (uint32_t)generation.len);
        put_le64(header + 16, log->id);
        put_le64(header + 24, log->epoch);
        put_le64(header + 32, (uint64_t)log->begin);
        put_le64(header + 40, (uint64_t)log->metadata_version);
        put_le64(header + 48, (uint64_t)log->known_committed);
        struct bytes parts[] = {bytes_of(header, sizeof(header)), bytes_buffer_bytes(&generation),
                                bytes_buffer_bytes(&metadata)};
        error = diskqueue_append(log->queue, parts, 3, ret_position);
    }
    bytes_buffer_done(&generation);
    bytes_buffer_done(&metadata);
    return error;
}

int log_disk_append_pops(struct log_server *log)
{
    size_t size = 8 + (size_t)log->tag_count * POP_BYTES;
    uint8_t *frame = mem_zalloc(size);
    uint64_t position;
    struct bytes part = {frame, size};
    int error;

    if (frame == NULL)
        return ERROR_OUT_OF_MEMORY;
    frame[0] = FRAME_POPS;
    for (uint32_t i = 0; i < log->tag_count; i++) {
        put_le32(frame + 8 + i * POP_BYTES, log->tags[i].tag);
        put_le64(frame + 16 + i * POP_BYTES, (uint64_t)log->tags[i].popped);
    }
    error = diskqueue_append(log->queue, &part, 1, &position);
    mem_free(frame);
    return error;
}

int log_disk_append_push(struct log_server *log, const struct push *push, uint64_t *ret_position)
{
    size_t header_size = PUSH_HEADER_BYTES, at = PUSH_HEADER_BYTES;
    struct arena arena = {0};
    struct bytes *parts;
    uint8_t *header;
    int error;

    for (uint32_t i = 0; i < push->sections_count; i++)
        header_size += SECTION_HEADER_BYTES + 4 * (size_t)push->sections[i].tags_count;
    header = arena_zalloc(&arena, header_size);
    parts = arena_alloc(&arena, (push->sections_count + 2) * sizeof(*parts));
    header[0] = FRAME_PUSH;
    put_le64(header + 8, (uint64_t)push->version);
    put_le64(header + 16, (uint64_t)push->prev_version);
    put_le64(header + 24, (uint64_t)push->known_committed);
    put_le32(header + 32, push->sections_count);
    put_le32(header + 36, (uint32_t)push->metadata.len);
    for (uint32_t i = 0; i < push->sections_count; i++) {
        const struct push_section *section = &push->sections[i];

        put_le32(header + at, section->tags_count);
        put_le32(header + at + 4, (uint32_t)section->mutations.len);
        at += SECTION_HEADER_BYTES;
        for (uint32_t t = 0; t < section->tags_count; t++, at += 4)
            put_le32(header + at, section->tags[t]);
        parts[1 + i] = section->mutations;
    }
    assert(at == header_size);
    parts[0] = bytes_of(header, header_size);
    parts[1 + push->sections_count] = push->metadata;
    error = diskqueue_append(log->queue, parts, push->sections_count + 2, ret_position);
    arena_done(&arena);
    return error;
}

/* ---- reading ---- */

static int parse_push(struct bytes frame, struct arena *arena, struct push *ret)
{
    size_t at = PUSH_HEADER_BYTES;
    uint32_t count, metadata_len;

    if (frame.len < PUSH_HEADER_BYTES)
        return ERROR_FILE_CORRUPT;
    *ret = (struct push){.version = (version_t)get_le64(frame.ptr + 8),
                         .prev_version = (version_t)get_le64(frame.ptr + 16),
                         .known_committed = (version_t)get_le64(frame.ptr + 24)};
    count = get_le32(frame.ptr + 32);
    metadata_len = get_le32(frame.ptr + 36);
    if (count > (frame.len - at) / SECTION_HEADER_BYTES)
        return ERROR_FILE_CORRUPT;
    ret->sections = arena_zalloc(arena, (count + 1) * sizeof(*ret->sections));
    ret->sections_count = count;
    for (uint32_t i = 0; i < count; i++) {
        struct push_section *section = &ret->sections[i];

        if (frame.len - at < SECTION_HEADER_BYTES)
            return ERROR_FILE_CORRUPT;
        section->tags_count = get_le32(frame.ptr + at);
        section->mutations.len = get_le32(frame.ptr + at + 4);
        at += SECTION_HEADER_BYTES;
        if (section->tags_count > (frame.len - at) / 4)
            return ERROR_FILE_CORRUPT;
        section->tags = arena_alloc(arena, (section->tags_count + 1) * sizeof(uint32_t));
        for (uint32_t t = 0; t < section->tags_count; t++, at += 4)
            section->tags[t] = get_le32(frame.ptr + at);
    }
    for (uint32_t i = 0; i < count; i++) {
        if (ret->sections[i].mutations.len > frame.len - at)
            return ERROR_FILE_CORRUPT;
        ret->sections[i].mutations.ptr = frame.ptr + at;
        at += ret->sections[i].mutations.len;
    }
    if (metadata_len != frame.len - at)
        return ERROR_FILE_CORRUPT;
    ret->metadata = bytes_of(frame.ptr + at, metadata_len);
    return 0;
}

int log_disk_read(struct log_server *log, uint64_t position, struct arena *arena, bool *ret_is_push,
                  struct push *ret_push, uint64_t *ret_next)
{
    struct bytes frame;
    int error = diskqueue_read(log->queue, position, arena, &frame, ret_next);

    if (error != 0)
        return error;
    if (frame.len < 8)
        return ERROR_FILE_CORRUPT;
    *ret_is_push = frame.ptr[0] == FRAME_PUSH;
    return *ret_is_push ? parse_push(frame, arena, ret_push) : 0;
}

uint64_t log_push_hash(const struct push *push)
{
    XXH64_hash_t hash = XXH3_64bits_withSeed(push->metadata.ptr, push->metadata.len, (uint64_t)push->prev_version);

    for (uint32_t i = 0; i < push->sections_count; i++) {
        const struct push_section *section = &push->sections[i];

        hash = XXH3_64bits_withSeed(section->tags, section->tags_count * sizeof(uint32_t), hash);
        hash = XXH3_64bits_withSeed(section->mutations.ptr, section->mutations.len, hash);
    }
    return hash;
}

/* ---- opening ---- */

static int replay_snapshot(struct log_server *log, uint64_t position, struct bytes frame)
{
    struct arena arena = {0};
    uint32_t generation_len;
    version_t version;
    int error;

    if (frame.len < SNAPSHOT_HEADER_BYTES)
        return ERROR_FILE_CORRUPT;
    if (get_le32(frame.ptr + 8) > LOG_FORMAT_VERSION)
        return ERROR_UNSUPPORTED_FORMAT_VERSION;
    generation_len = get_le32(frame.ptr + 12);
    if (get_le64(frame.ptr + 16) != log->id || generation_len > frame.len - SNAPSHOT_HEADER_BYTES)
        return ERROR_FILE_CORRUPT;
    log->epoch = get_le64(frame.ptr + 24);
    log->begin = (version_t)get_le64(frame.ptr + 32);
    version = (version_t)get_le64(frame.ptr + 40);
    error = arena_copy(&arena, bytes_of(frame.ptr + SNAPSHOT_HEADER_BYTES, generation_len), &frame) == 0
                ? message_decode(&schema_generation, frame, &arena, &log->generation)
                : ERROR_OUT_OF_MEMORY;
    if (error != 0) {
        arena_done(&arena);
        return ERROR_FILE_CORRUPT;
    }
    arena_done(&log->generation_arena);
    log->generation_arena = arena;
    log->snapshot_position = position;
    log->metadata_version = version;
    return 0;
}

/* The snapshot's metadata; what the tail has at or below its version is part of it. */
static int replay_metadata(struct log_server *log, struct bytes frame)
{
    uint32_t skip = SNAPSHOT_HEADER_BYTES + get_le32(frame.ptr + 12);
    int error;

    kv_map_destroy(log->metadata);
    log->metadata = kv_map_create();
    error = kv_map_apply(log->metadata, bytes_of(frame.ptr + skip, frame.len - skip));
    log->known_committed = log->known_committed > (version_t)get_le64(frame.ptr + 48)
                               ? log->known_committed
                               : (version_t)get_le64(frame.ptr + 48);
    log_metadata_fold(log);
    return error == 0 ? 0 : ERROR_FILE_CORRUPT;
}

static int replay_push(struct log_server *log, uint64_t position, struct bytes frame)
{
    struct arena arena = {0};
    struct push push;
    int error = parse_push(frame, &arena, &push);

    if (error == 0 && log->received.now != VERSION_NONE && push.prev_version != log->received.now)
        error = ERROR_FILE_CORRUPT;
    if (error == 0 && push.version <= push.prev_version)
        error = ERROR_FILE_CORRUPT;
    if (error == 0) {
        log->received.now = push.version;
        log_memory_add(log, &push, NULL, position);
        error = log_metadata_add(log, push.version, push.metadata);
        log_known_committed(log, push.known_committed);
    }
    arena_done(&arena);
    return error;
}

static int replay_pops(struct log_server *log, struct bytes frame)
{
    if ((frame.len - 8) % POP_BYTES != 0)
        return ERROR_FILE_CORRUPT;
    for (size_t at = 8; at < frame.len; at += POP_BYTES) {
        struct log_tag *tag = log_tag_find(log, get_le32(frame.ptr + at), true);
        version_t popped = (version_t)get_le64(frame.ptr + at + 8);

        if (popped > tag->popped)
            tag->popped = popped;
    }
    return 0;
}

static int replay(void *ctx, uint64_t position, uint64_t end, struct bytes frame)
{
    struct log_server *log = ctx;
    int error;

    (void)end;
    if (frame.len < 8)
        return ERROR_FILE_CORRUPT;
    switch (frame.ptr[0]) {
    case FRAME_SNAPSHOT:
        error = replay_snapshot(log, position, frame);
        return error == 0 ? replay_metadata(log, frame) : error;
    case FRAME_PUSH:
        return replay_push(log, position, frame);
    case FRAME_POPS:
        return replay_pops(log, frame);
    default:
        return ERROR_FILE_CORRUPT;
    }
}

int log_disk_open(struct log_server *log, bool must_exist)
{
    char directory[ROLE_PATH_MAX];
    struct diskqueue_options options = {
        .directory = role_directory(log->context.data_directory, ROLE_LOG, log->id, directory),
        .file_id = log->id,
        .segment_bytes = (uint64_t)log->env->knobs.log_segment_bytes,
        .first_segment_bytes = 262144,
        .must_exist = must_exist,
    };

    return diskqueue_open(log->env, &options, replay, log, &log->queue);
}
