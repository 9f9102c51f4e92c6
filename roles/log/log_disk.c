/* The frames of a log's disk queue.
 *
 * Every frame begins with a kind byte and 7 bytes of zero. All numbers are little-endian.
 *
 *   SNAPSHOT (1)  format u32, generation length u32, log id u64, epoch u64, begin i64, version i64, known committed i64,
 *                 end i64, popped i64, needed u64, generation (msgpack), metadata as of `version` (mutation table, to the end of the frame)
 *   PUSH (2)      version i64, prev version i64, known committed i64, section count u32, metadata length u32,
 *                 per section {tag count u32, length u32, tags u32 each}, the sections' mutations, the metadata mutations
 *   POPS (3)      {tag u32, zero u32, version i64} to the end of the frame
 *
 * In a snapshot, begin <= version <= known committed <= end: `version` is the newest with metadata that is folded, `end` that of
 * the newest push before it; `popped` is what nobody needed, and `needed` the position up to which the queue then pops. A queue is valid if and only if its pushes are in version order, each naming its predecessor; every
 * snapshot's end is the version of the push before it, if that is still there; there is a snapshot; and every push above what
 * was known committed at the newest snapshot is there: its metadata stands nowhere else.
 *
 * So the queue pops when a fresh snapshot is durable, up to what nobody needed as that was written. Each snapshot is
 * followed by the pops as of then: a server that comes back empty finds out, also after a restart of the log. */
#include "net/buggify.h"
#include "net/mem.h"
#include "roles/log/log_internal.h"

enum frame_kind { FRAME_SNAPSHOT = 1, FRAME_PUSH = 2, FRAME_POPS = 3 };
enum { SNAPSHOT_HEADER_BYTES = 80, PUSH_HEADER_BYTES = 40, SECTION_HEADER_BYTES = 8, POP_BYTES = 16 };
enum { FIRST_SEGMENT_BYTES = 262144 };

/* ---- writing ---- */

int log_disk_append_snapshot(struct log_server *log, uint64_t needed, uint64_t *ret_position)
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
        put_le64(header + 56, (uint64_t)log->received.now);
        put_le64(header + 64, (uint64_t)log->popped_through);
        put_le64(header + 72, needed);
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
    uint8_t *at = frame + 8;
    int error;

    if (frame == NULL)
        return ERROR_OUT_OF_MEMORY;
    frame[0] = FRAME_POPS;
    for (uint32_t i = 0; i < log->tag_capacity; i++) {
        if (!log->tags[i].used)
            continue;
        put_le32(at, log->tags[i].tag);
        put_le64(at + 8, (uint64_t)log->tags[i].popped);
        at += POP_BYTES;
    }
    assert(at == frame + size);
    error = diskqueue_append(log->queue, &part, 1, &position);
    mem_free(frame);
    return error;
}

int log_disk_append_push(struct log_server *log, const struct push *push, uint64_t *ret_position)
{
    size_t header_size = PUSH_HEADER_BYTES, at = PUSH_HEADER_BYTES;
    struct arena *scratch = log_scratch(log);
    struct bytes *parts;
    uint8_t *header;

    for (uint32_t i = 0; i < push->sections_count; i++)
        header_size += SECTION_HEADER_BYTES + 4 * (size_t)push->sections[i].tags_count;
    header = arena_zalloc(scratch, header_size);
    parts = arena_alloc(scratch, (push->sections_count + 2) * sizeof(*parts));
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
    return diskqueue_append(log->queue, parts, push->sections_count + 2, ret_position);
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
    int error;

    /* Where to begin comes from a frame, and how far from others: their hashes fit, but they may not fit each other. */
    if (position % 8 != 0 || position < diskqueue_begin(log->queue) || position >= diskqueue_end(log->queue))
        return ERROR_FILE_CORRUPT;
    error = diskqueue_read(log->queue, position, arena, &frame, ret_next);
    if (error != 0)
        return error;
    if (frame.len < 8)
        return ERROR_FILE_CORRUPT;
    *ret_is_push = frame.ptr[0] == FRAME_PUSH;
    return *ret_is_push ? parse_push(frame, arena, ret_push) : 0;
}

/* ---- opening ---- */

static int replay_generation(struct log_server *log, struct bytes packed)
{
    struct arena arena = {0};
    int error = arena_copy(&arena, packed, &packed);

    if (error == 0)
        error = message_decode(&schema_generation, packed, &arena, &log->generation);
    arena_done(&log->generation_arena);
    log->generation_arena = arena;
    return error == 0 && log->generation.logs_count <= LOGS_MAX ? 0 : ERROR_FILE_CORRUPT;
}

/* Where the queue begins: what came before was popped. */
static void replay_begins(struct log_server *log, version_t version)
{
    log->received.now = log->durable = version;
    log->popped_through = log->spilled_through = version;
}

/* The snapshot's metadata; what the tail has at or below its version is part of it. */
static int replay_metadata(struct log_server *log, version_t version, version_t known_committed, struct bytes table)
{
    int error;

    kv_map_destroy(log->metadata);
    log->metadata = kv_map_create();
    error = kv_map_apply(log->metadata, table);
    log->metadata_version = version;
    log->snapshot_committed = known_committed;
    if (known_committed > log->known_committed)
        log->known_committed = known_committed;
    log_metadata_look_at_tags(log);
    log_metadata_fold(log);
    return error == 0 ? 0 : ERROR_FILE_CORRUPT;
}

static int replay_snapshot(struct log_server *log, uint64_t position, struct bytes frame)
{
    version_t version, known_committed, end;
    uint32_t generation_len;
    int error;

    if (frame.len < SNAPSHOT_HEADER_BYTES)
        return ERROR_FILE_CORRUPT;
    if (get_le32(frame.ptr + 8) != LOG_FORMAT_VERSION)
        return ERROR_UNSUPPORTED_FORMAT_VERSION;
    generation_len = get_le32(frame.ptr + 12);
    if (get_le64(frame.ptr + 16) != log->id || generation_len > frame.len - SNAPSHOT_HEADER_BYTES)
        return ERROR_FILE_CORRUPT;
    log->epoch = get_le64(frame.ptr + 24);
    log->begin = (version_t)get_le64(frame.ptr + 32);
    version = (version_t)get_le64(frame.ptr + 40);
    known_committed = (version_t)get_le64(frame.ptr + 48);
    end = (version_t)get_le64(frame.ptr + 56);
    log->snapshot_popped = (version_t)get_le64(frame.ptr + 64);
    log->snapshot_needed = get_le64(frame.ptr + 72);
    if (log->begin < 0 || version < log->begin || known_committed < version || end < known_committed ||
        log->snapshot_popped > known_committed || log->snapshot_needed > position || log->snapshot_needed % 8 != 0)
        return ERROR_FILE_CORRUPT;
    if (log->received.now == VERSION_NONE) {
        PROBE(log->env, "a log's queue begins with a snapshot");
        replay_begins(log, end);
    }
    if (log->received.now != end)
        return ERROR_FILE_CORRUPT;
    error = replay_generation(log, bytes_of(frame.ptr + SNAPSHOT_HEADER_BYTES, generation_len));
    if (error != 0)
        return error;
    generation_len += SNAPSHOT_HEADER_BYTES;
    return replay_metadata(log, version, known_committed,
                           bytes_of(frame.ptr + generation_len, frame.len - generation_len));
}

static int replay_push(struct log_server *log, uint64_t position, struct bytes frame)
{
    struct push push;
    int error = parse_push(frame, log_scratch(log), &push);

    if (error != 0)
        return error;
    if (log->received.now == VERSION_NONE)
        replay_begins(log, push.prev_version);
    if (push.prev_version != log->received.now || push.prev_version < 0 || push.version <= push.prev_version ||
        !log_metadata_is_valid(push.metadata) || !log_memory_admit(log, &push))
        return ERROR_FILE_CORRUPT;
    log->received.now = log->durable = push.version;
    log_memory_replayed(log, &push, position);
    if (push.known_committed > log->known_committed && push.known_committed <= push.version)
        log->known_committed = push.known_committed;
    error = log_metadata_add(log, push.version, push.metadata);
    log_metadata_fold(log);
    return error;
}

static int replay_pops(struct log_server *log, struct bytes frame)
{
    if ((frame.len - 8) % POP_BYTES != 0)
        return ERROR_FILE_CORRUPT;
    for (size_t at = 8; at < frame.len; at += POP_BYTES) {
        struct log_tag *tag = log_tag_find(log, get_le32(frame.ptr + at), true);
        version_t popped = (version_t)get_le64(frame.ptr + at + 8);

        if (tag == NULL)
            return ERROR_FILE_CORRUPT;
        if (popped > tag->popped)
            tag->popped = popped;
    }
    return 0;
}

static int replay(void *ctx, uint64_t position, uint64_t end, struct bytes frame)
{
    struct log_server *log = ctx;

    if (!log->restored) /* an id is drawn once: somebody else's files */
        return ERROR_CLIENT_INVALID_OPERATION;
    if (frame.len < 8)
        return ERROR_FILE_CORRUPT;
    if (log->snapshot_due == 0)
        log->snapshot_due = position + (uint64_t)log->env->knobs.log_segment_bytes;
    switch (frame.ptr[0]) {
    case FRAME_SNAPSHOT:
        log->snapshot_due += end - position;
        return replay_snapshot(log, position, frame);
    case FRAME_PUSH:
        return replay_push(log, position, frame);
    case FRAME_POPS:
        return replay_pops(log, frame);
    default:
        return ERROR_FILE_CORRUPT;
    }
}

int log_disk_open(struct log_server *log)
{
    char directory[ROLE_PATH_MAX];
    struct diskqueue_options options = {
        .directory = role_directory(log->context.data_directory, ROLE_LOG, log->id, directory),
        .file_id = log->id,
        .segment_bytes = (uint64_t)log->env->knobs.log_segment_bytes,
        .first_segment_bytes = FIRST_SEGMENT_BYTES,
        .must_exist = log->restored,
    };

    if (options.first_segment_bytes > options.segment_bytes)
        options.first_segment_bytes = options.segment_bytes;
    return diskqueue_open(log->env, &options, replay, log, &log->queue);
}
