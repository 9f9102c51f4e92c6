/* Opening: creating, replaying, telling a torn tail from damage, making the cut durable. The rules are in diskqueue.c.
 *
 * One pass over the segments, oldest first. Up to the first bad frame every frame is handed to the owner; from there on the
 * bytes are only searched, at every multiple of 8, for valid frames, for what they say about how far was synced. */
#include <assert.h>

#include "net/buggify.h"
#include "net/error.h"
#include "net/mem.h"
#include "net/trace.h"
#include "storage/diskqueue_impl.h"

struct names {
    struct diskqueue *queue;
    bool spares[SPARES_MAX], creating;
    bool removing; /* the queue is being removed: nothing of it counts */
    int error;
};

struct scan {
    struct diskqueue *queue;
    diskqueue_replay *replay;
    void *ctx;
    uint8_t *buffer; /* owned: the segment being looked at */
    size_t buffer_bytes;
    uint64_t synced, popped; /* the highest that anything valid names */
    bool cut_found;
    uint64_t cut;       /* where the first bad frame lies */
    size_t cut_segment; /* the last segment that stays */
};

/* ---- names ---- */

static bool note_spare(struct names *names, const char *name)
{
    for (unsigned i = 0; i < SPARES_MAX; i++)
        if (strcmp(name, spare_names[i]) == 0)
            return names->spares[i] = true;
    return false;
}

static void note_name(void *ctx, const char *name)
{
    struct names *names = ctx;
    struct segment segment = {0};

    if (note_spare(names, name))
        return;
    if (strcmp(name, "creating") == 0)
        names->creating = true;
    else if (strcmp(name, "removing") == 0)
        names->removing = true;
    else if (segment_name_parse(name, &segment.begin) && names->error == 0)
        names->error = segments_push(names->queue, segment);
}

static void sort_segments(struct diskqueue *queue)
{
    for (size_t i = 1; i < queue->segment_count; i++)
        for (size_t j = i; j > 0 && queue->segments[j].begin < queue->segments[j - 1].begin; j--) {
            struct segment swap = queue->segments[j];

            queue->segments[j] = queue->segments[j - 1];
            queue->segments[j - 1] = swap;
        }
}

static int list_names(struct diskqueue *queue, struct names *names)
{
    int error;

    *names = (struct names){.queue = queue};
    error = env_dir_list(queue->env, queue->directory, note_name, names);
    if (error == 0)
        error = names->error;
    if (error == 0)
        sort_segments(queue);
    return error;
}

static int sync_parent(struct env *env, const char *directory)
{
    char parent[DISKQUEUE_PATH_MAX];
    size_t len = strlen(directory);

    while (len > 0 && directory[len - 1] == '/')
        len--;
    while (len > 0 && directory[len - 1] != '/')
        len--;
    if (len == 0)
        return 0;
    memcpy(parent, directory, len);
    parent[len > 1 ? len - 1 : 1] = '\0';
    return env_dir_sync(env, parent);
}

/* ---- creating ---- */

/* The first segment gets its name when it is whole, so that a first segment without a valid header is damage. */
static int create_first(struct diskqueue *queue, uint64_t bytes)
{
    char from[DISKQUEUE_PATH_MAX], to[DISKQUEUE_PATH_MAX];
    struct segment first = {.capacity = bytes - SEGMENT_HEADER_BYTES};
    struct env *env = queue->env;
    int error;

    queue_path(queue->directory, "creating", from);
    segment_path(queue->directory, 0, to);
    error = env_file_open(env, from, ENV_OPEN_READ | ENV_OPEN_WRITE | ENV_OPEN_CREATE, &first.file);
    if (error != 0)
        return error;
    error = env_file_zero_fill(env, first.file, 0, bytes);
    if (error == 0)
        error = segment_write_header(queue, first.file, 0);
    if (error == 0)
        error = env_file_sync_now(env, first.file);
    if (error == 0)
        error = env_rename(env, from, to);
    if (error == 0)
        error = env_dir_sync(env, queue->directory);
    if (error == 0)
        error = sync_parent(env, queue->directory);
    if (error == 0)
        error = segments_push(queue, first);
    if (error != 0)
        env_file_close(env, first.file);
    return error;
}

static int remove_name(struct diskqueue *queue, const char *name)
{
    char path[DISKQUEUE_PATH_MAX];

    queue_path(queue->directory, name, path);
    return env_remove(queue->env, path);
}

/* Also what they hold goes: a frame of an unfinished batch may lie where one of these positions will lie again. */
static int remove_spares(struct diskqueue *queue, const struct names *names)
{
    int error = 0;

    for (unsigned i = 0; i < SPARES_MAX && error == 0; i++)
        if (names->spares[i])
            error = remove_name(queue, spare_names[i]);
    return error;
}

static int create(struct diskqueue *queue, const struct diskqueue_options *options, const struct names *names)
{
    uint64_t bytes = options->first_segment_bytes & ~(uint64_t)(SEGMENT_HEADER_BYTES - 1);
    int error;

    if (options->must_exist)
        return ERROR_FILE_NOT_FOUND;
    error = remove_spares(queue, names);
    if (error == 0 && names->creating)
        error = remove_name(queue, "creating");
    if (error == 0)
        error = create_first(queue, bytes < SEGMENT_BYTES_MIN ? SEGMENT_BYTES_MIN : bytes);
    return error;
}

/* ---- reading a segment ---- */

static int reserve(struct scan *scan, size_t bytes)
{
    uint8_t *grown;

    if (scan->buffer_bytes >= bytes)
        return 0;
    grown = mem_realloc(scan->buffer, bytes);
    if (grown == NULL)
        return ERROR_OUT_OF_MEMORY;
    scan->buffer = grown;
    scan->buffer_bytes = bytes;
    return 0;
}

/* The whole file into the buffer, as the disk has it; what only the page cache had is on the disk after this. A file cut
 * short reads as zeros. */
static int read_file(struct scan *scan, struct env_file *file, struct segment *segment)
{
    struct env *env = scan->queue->env;
    uint64_t size;
    size_t got;
    int error = env_file_sync_now(env, file);

    if (error == 0)
        error = env_file_drop_cache(env, file);
    if (error == 0)
        error = env_file_size(env, file, &size);
    if (error != 0)
        return error;
    if (size < SEGMENT_BYTES_MIN)
        size = SEGMENT_BYTES_MIN;
    error = reserve(scan, size);
    if (error == 0)
        error = env_file_read(env, file, 0, scan->buffer, size, &got);
    if (error != 0)
        return error;
    memset(scan->buffer + got, 0, size - got);
    segment->capacity = (size - SEGMENT_HEADER_BYTES) & ~(uint64_t)(FRAME_ALIGN - 1);
    return 0;
}

static int read_path(struct scan *scan, const char *path, struct segment *segment)
{
    struct env_file *file;
    int error;

    error = env_file_open(scan->queue->env, path, ENV_OPEN_READ | ENV_OPEN_WRITE, &file);
    if (error != 0)
        return error;
    error = read_file(scan, file, segment);
    env_file_close(scan->queue->env, file);
    return error;
}

static int read_segment(struct scan *scan, struct segment *segment)
{
    char path[DISKQUEUE_PATH_MAX];

    segment_path(scan->queue->directory, segment->begin, path);
    return read_path(scan, path, segment);
}

/* ---- what a segment says ---- */

static void note_evidence(struct scan *scan, uint64_t synced, uint64_t popped)
{
    if (synced > scan->synced)
        scan->synced = synced;
    if (popped > scan->popped)
        scan->popped = popped;
}

/* *ret_valid: as diskqueue.c says. An intact header of another queue, or of a newer format, is no torn write. */
static int check_header(struct scan *scan, const struct segment *segment, bool *ret_valid)
{
    struct segment_header header;
    int error = segment_header_decode(scan->buffer, &header);

    *ret_valid = false;
    if (error == ERROR_UNSUPPORTED_FORMAT_VERSION)
        return error;
    if (error != 0)
        return 0;
    if (header.file_id != scan->queue->file_id)
        return ERROR_FILE_CORRUPT;
    if (header.begin != segment->begin)
        return 0;
    note_evidence(scan, header.synced, header.popped);
    *ret_valid = true;
    return 0;
}

/* Hands out valid frames from the segment's beginning; *ret_stopped is where the first bad one lies. */
static int replay_frames(struct scan *scan, uint64_t begin, struct bytes frames, uint64_t *ret_stopped)
{
    uint64_t at = 0;
    struct frame frame;

    while (frame_check(bytes_of(frames.ptr + at, frames.len - at), scan->queue->file_id, begin + at, &frame)) {
        int error;

        note_evidence(scan, frame.synced, frame.popped);
        error = scan->replay == NULL
                    ? 0
                    : scan->replay(scan->ctx, begin + at, begin + at + frame.bytes, frame.data);
        if (error != 0)
            return error;
        at += frame.bytes;
    }
    *ret_stopped = begin + at;
    return 0;
}

static void search_frames(struct scan *scan, uint64_t begin, struct bytes frames, uint64_t at)
{
    struct frame frame;

    while (at + FRAME_HEADER_BYTES <= frames.len) {
        /* Preallocated space is zeros, and no frame has two hashes that are both zero (but one in 2^96). */
        if (get_le64(frames.ptr + at) == 0 && get_le64(frames.ptr + at + 8) == 0) {
            at += FRAME_ALIGN;
        } else if (frame_check(bytes_of(frames.ptr + at, frames.len - at), scan->queue->file_id, begin + at, &frame)) {
            note_evidence(scan, frame.synced, frame.popped);
            at += frame.bytes;
        } else {
            at += FRAME_ALIGN;
        }
    }
}

/* A segment that begins where the last one ends and has no valid header was about to be made: it goes again. */
static void found_cut(struct scan *scan, size_t index, uint64_t position, bool stays)
{
    if (!stays)
        PROBE(scan->queue->env, "a segment that was about to be made is removed again");
    scan->cut_found = true;
    scan->cut = position;
    scan->cut_segment = stays ? index : index - 1;
}

static int scan_segment(struct scan *scan, size_t index)
{
    struct diskqueue *queue = scan->queue;
    struct segment *segment = &queue->segments[index];
    bool last = index + 1 == queue->segment_count, valid;
    struct bytes frames;
    uint64_t stopped;
    int error = read_segment(scan, segment);

    if (error == 0)
        error = check_header(scan, segment, &valid);
    if (error != 0)
        return error;
    if (index == 0 && !valid)
        return ERROR_FILE_CORRUPT;
    frames = bytes_of(scan->buffer + SEGMENT_HEADER_BYTES, segment->capacity);
    if (!last && segment[1].begin - segment->begin < frames.len)
        frames.len = segment[1].begin - segment->begin;
    stopped = segment->begin;
    if (!scan->cut_found && !valid)
        found_cut(scan, index, stopped, false);
    if (!scan->cut_found) {
        error = replay_frames(scan, segment->begin, frames, &stopped);
        if (error != 0)
            return error;
        if (last || stopped != segment[1].begin)
            found_cut(scan, index, stopped, true);
    }
    if (scan->cut_found)
        search_frames(scan, segment->begin, frames, stopped - segment->begin);
    return 0;
}

static int damaged(struct diskqueue *queue, uint64_t position, const char *what)
{
    struct segment *segment = segments_find(queue, position < queue->segments[0].begin ? queue->segments[0].begin : position);
    char path[DISKQUEUE_PATH_MAX];

    PROBE(queue->env, "a damaged queue does not open");
    segment_path(queue->directory, segment->begin, path);
    TRACE(queue->env, SEVERITY_WARN_ALWAYS, "DiskQueueDamaged", {"File", trace_str(path)},
          {"Offset", trace_int((int64_t)(SEGMENT_HEADER_BYTES + position - segment->begin))}, {"What", trace_str(what)});
    return ERROR_FILE_CORRUPT;
}

/* Its header was read from the disk, and so is this. */
static int spare_begins_at(struct diskqueue *queue, const char *path, uint64_t position, bool *ret_begins)
{
    uint8_t bytes[FRAME_HEADER_BYTES] = {0};
    struct env_file *file;
    uint32_t length;
    size_t got;
    int error = env_file_open(queue->env, path, ENV_OPEN_READ, &file);

    if (error != 0)
        return error;
    error = env_file_read(queue->env, file, SEGMENT_HEADER_BYTES, bytes, sizeof(bytes), &got);
    env_file_close(queue->env, file);
    if (error == 0)
        *ret_begins = frame_peek(bytes, queue->file_id, position, &length);
    return error;
}

/* Whose header is damaged: it can only be the one that begins at the cut, and then its frames say how far was synced. Of any
 * other spare, not even the first frame is valid there. */
static int search_spare(struct scan *scan, unsigned index)
{
    struct segment spare = {.begin = scan->cut};
    char path[DISKQUEUE_PATH_MAX];
    bool begins_there;
    int error;

    spare_path(scan->queue->directory, index, path);
    error = spare_begins_at(scan->queue, path, scan->cut, &begins_there);
    if (error != 0 || !begins_there)
        return error;
    error = read_path(scan, path, &spare);
    if (error == 0)
        search_frames(scan, scan->cut, bytes_of(scan->buffer + SEGMENT_HEADER_BYTES, spare.capacity), 0);
    return error;
}

static int scan_all(struct scan *scan, const struct names *names)
{
    struct diskqueue *queue = scan->queue;
    int error = 0;

    for (size_t i = 0; i < queue->segment_count; i++) {
        error = scan_segment(scan, i);
        if (error == ERROR_FILE_CORRUPT)
            return damaged(queue, queue->segments[i].begin, "segment header");
        if (error != 0)
            return error;
    }
    assert(scan->cut_found);
    for (unsigned i = 0; i < SPARES_MAX && error == 0; i++)
        if (names->spares[i])
            error = search_spare(scan, i);
    if (error != 0)
        return error;
    if (scan->synced > scan->cut || scan->popped > scan->cut)
        return damaged(queue, scan->cut, "frame below the synced end");
    if (queue->segments[0].begin > scan->popped)
        return damaged(queue, queue->segments[0].begin, "segments before it are missing");
    return 0;
}

/* ---- the cut ---- */

static int remove_beyond(struct diskqueue *queue, size_t last)
{
    if (queue->segment_count > last + 1)
        PROBE(queue->env, "segments beyond a torn tail are removed");
    while (queue->segment_count > last + 1) {
        struct segment *gone = &queue->segments[queue->segment_count - 1];
        char path[DISKQUEUE_PATH_MAX];
        int error;

        segment_path(queue->directory, gone->begin, path);
        error = env_remove(queue->env, path);
        if (error != 0)
            return error;
        queue->segment_count--;
    }
    return 0;
}

static bool all_zero(const uint8_t *bytes, size_t len)
{
    return len == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, len - 1) == 0);
}

/* Zeros from the cut to the end of the last segment, unless it has them already. */
static int clear_beyond(struct scan *scan, struct segment *last)
{
    uint64_t offset = SEGMENT_HEADER_BYTES + scan->cut - last->begin;
    uint64_t size = SEGMENT_HEADER_BYTES + last->capacity, actual;
    struct env *env = scan->queue->env;
    int error = read_file(scan, last->file, last);

    if (error == 0)
        error = env_file_size(env, last->file, &actual);
    if (error != 0 || (actual >= size && all_zero(scan->buffer + offset, size - offset)))
        return error;
    PROBE(env, "a torn tail is cut off with zeros");
    error = env_file_zero_fill(env, last->file, offset, size - offset);
    if (error == 0)
        error = env_file_sync_now(env, last->file);
    return error;
}

static int make_cut(struct scan *scan, const struct names *names)
{
    struct diskqueue *queue = scan->queue;
    struct segment *last = &queue->segments[scan->cut_segment];
    char path[DISKQUEUE_PATH_MAX];
    int error = remove_beyond(queue, scan->cut_segment);

    segment_path(queue->directory, last->begin, path);
    if (error == 0)
        error = env_file_open(queue->env, path, ENV_OPEN_READ | ENV_OPEN_WRITE, &last->file);
    if (error == 0)
        error = clear_beyond(scan, last);
    if (error == 0)
        error = remove_spares(queue, names);
    if (error == 0) /* also what an earlier life removed or renamed last */
        error = env_dir_sync(queue->env, queue->directory);
    return error;
}

/* ---- segments without a name of their own ---- */

static int read_header(struct diskqueue *queue, const char *path, struct segment_header *ret_header)
{
    uint8_t bytes[SEGMENT_HEADER_BYTES];
    struct env_file *file;
    size_t got;
    int error = env_file_open(queue->env, path, ENV_OPEN_READ | ENV_OPEN_WRITE, &file);

    if (error != 0)
        return error;
    error = env_file_sync_now(queue->env, file); /* read_file says why */
    if (error == 0)
        error = env_file_drop_cache(queue->env, file);
    if (error == 0)
        error = env_file_read(queue->env, file, 0, bytes, sizeof(bytes), &got);
    env_file_close(queue->env, file);
    if (error != 0)
        return error;
    memset(bytes + got, 0, sizeof(bytes) - got);
    return segment_header_decode(bytes, ret_header);
}

static bool has_segment(const struct diskqueue *queue, uint64_t begin)
{
    for (size_t i = 0; i < queue->segment_count; i++)
        if (queue->segments[i].begin == begin)
            return true;
    return false;
}

/* What is no segment is left for remove_spares. */
static int name_spare(struct diskqueue *queue, struct names *names, unsigned index)
{
    char from[DISKQUEUE_PATH_MAX], to[DISKQUEUE_PATH_MAX];
    struct segment_header header;
    int error;

    spare_path(queue->directory, index, from);
    error = read_header(queue, from, &header);
    if (error == ERROR_FILE_CORRUPT)
        return 0; /* nothing was written to it, or its first batch is not whole */
    if (error != 0)
        return error;
    if (header.file_id != queue->file_id)
        return damaged(queue, queue->segments[0].begin, "a segment of another queue");
    if (header.begin <= queue->segments[0].begin || has_segment(queue, header.begin))
        return 0;
    PROBE(queue->env, "a segment that had no name of its own yet is found");
    segment_path(queue->directory, header.begin, to);
    error = env_rename(queue->env, from, to);
    if (error == 0)
        error = segments_push(queue, (struct segment){.begin = header.begin});
    names->spares[index] = false;
    return error;
}

static int name_spares(struct diskqueue *queue, struct names *names)
{
    size_t named = queue->segment_count;
    int error = 0;

    for (unsigned i = 0; i < SPARES_MAX && error == 0; i++)
        if (names->spares[i])
            error = name_spare(queue, names, i);
    if (queue->segment_count > named)
        sort_segments(queue);
    return error;
}

static int recover(struct diskqueue *queue, struct names *names, diskqueue_replay *replay, void *ctx)
{
    struct scan scan = {.queue = queue, .replay = replay, .ctx = ctx};
    int error = name_spares(queue, names);

    if (error == 0)
        error = scan_all(&scan, names);
    if (error == 0)
        error = make_cut(&scan, names);
    if (error == 0 && names->creating)
        error = remove_name(queue, "creating");
    mem_free(scan.buffer);
    if (error != 0)
        return error;
    queue->end = queue->flushed_end = queue->durable_end = scan.cut;
    queue->popped = queue->popped_named = queue->popped_durable = scan.popped;
    return 0;
}

/* ---- removing ---- */

static int remove_listed(struct diskqueue *queue, const struct names *names)
{
    char path[DISKQUEUE_PATH_MAX];
    int error = remove_spares(queue, names);

    if (error == 0 && names->creating)
        error = remove_name(queue, "creating");
    for (size_t i = queue->segment_count; i-- > 0 && error == 0;) {
        segment_path(queue->directory, queue->segments[i].begin, path);
        error = env_remove(queue->env, path);
    }
    return error;
}

/* What is half removed must be neither opened nor taken for damaged: the oldest segment is the mark, and goes last. A rename
 * needs no space, where the disk is full. */
static int mark_removing(struct diskqueue *queue, struct names *names)
{
    char from[DISKQUEUE_PATH_MAX], to[DISKQUEUE_PATH_MAX];
    int error;

    if (names->removing || queue->segment_count == 0)
        return 0;
    segment_path(queue->directory, queue->segments[0].begin, from);
    queue_path(queue->directory, "removing", to);
    error = env_rename(queue->env, from, to);
    if (error == 0)
        error = env_dir_sync(queue->env, queue->directory);
    names->removing = true;
    queue->segment_count--;
    memmove(queue->segments, queue->segments + 1, queue->segment_count * sizeof(*queue->segments));
    return error;
}

static int remove_all(struct diskqueue *queue, struct names *names)
{
    int error = mark_removing(queue, names);

    if (error == 0)
        error = remove_listed(queue, names);
    if (error == 0 && names->removing)
        error = env_dir_sync(queue->env, queue->directory);
    if (error == 0 && names->removing)
        error = remove_name(queue, "removing");
    return error;
}

/* An earlier life had begun to remove it. */
static int go_on_removing(struct diskqueue *queue, struct names *names)
{
    int error = remove_all(queue, names);

    PROBE(queue->env, "a queue that was half removed goes for good");
    queue->segment_count = 0;
    *names = (struct names){.queue = queue};
    return error;
}

int diskqueue_open(struct env *env, const struct diskqueue_options *options, diskqueue_replay *replay, void *ctx,
                   struct diskqueue **ret_queue)
{
    struct diskqueue *queue = diskqueue_alloc(env, options);
    struct names names;
    int error = 0;

    if (queue == NULL)
        return ERROR_OUT_OF_MEMORY;
    if (!options->must_exist)
        error = env_dir_make(env, options->directory);
    if (error == 0)
        error = list_names(queue, &names);
    if (error == 0 && names.removing)
        error = go_on_removing(queue, &names);
    if (error == 0)
        error = queue->segment_count == 0 ? create(queue, options, &names) : recover(queue, &names, replay, ctx);
    if (error != 0) {
        diskqueue_free(queue);
        return error;
    }
    *ret_queue = queue;
    return 0;
}

int diskqueue_remove(struct env *env, const char *directory)
{
    struct diskqueue_options options = {.directory = directory};
    struct diskqueue *queue = diskqueue_alloc(env, &options);
    struct names names;
    int error;

    if (queue == NULL)
        return ERROR_OUT_OF_MEMORY;
    error = list_names(queue, &names);
    if (error == 0)
        error = remove_all(queue, &names);
    if (error == 0)
        error = env_remove(env, directory);
    diskqueue_free(queue);
    return error;
}
