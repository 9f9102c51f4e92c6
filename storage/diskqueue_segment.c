/* The files of a queue: making the next segment, recycling popped ones, keeping a spare ready.
 *
 * Every step leaves names and contents that diskqueue_open understands after a crash at any point:
 *
 * - The next segment is the spare, renamed to the position where it begins. The directory is synced before a byte is
 *   written into it; else a crash could bring back the old name with the new content.
 * - A recycled segment is overwritten in place. What it holds are frames of popped positions, below everything that is ever
 *   read again, so none of them is valid at the place where it is found (the hash covers the position).
 * - Popped segments go oldest first, one directory sync each, and only when a durable frame names a popped position at or
 *   above their end: those that are left are always one unbroken run, and a first segment that is missing without such a
 *   frame is damage.
 * - A new spare is filled with zeros piece by piece while the last segment's second half is written, then synced in the
 *   background, so that no commit waits for 16 MiB. */
#include <assert.h>
#include <stdio.h>

#include "net/buggify.h"
#include "net/error.h"
#include "net/mem.h"
#include "storage/diskqueue_impl.h"

enum { POPS_PER_FLUSH = 4, SPARE_STEP_BYTES = 256 * 1024, SEGMENTS_MIN = 8, BLOCK_BYTES = 4096 };

void queue_path(const char *directory, const char *name, char out[DISKQUEUE_PATH_MAX])
{
    int len = snprintf(out, DISKQUEUE_PATH_MAX, "%s/%s", directory, name);

    assert(len > 0 && len < DISKQUEUE_PATH_MAX);
}

void segment_path(const struct diskqueue *queue, uint64_t begin, char out[DISKQUEUE_PATH_MAX])
{
    char name[32];

    snprintf(name, sizeof(name), "%016llx.queue", (unsigned long long)begin);
    queue_path(queue->directory, name, out);
}

bool segment_name_parse(const char *name, uint64_t *ret_begin)
{
    uint64_t begin = 0;

    for (int i = 0; i < 16; i++) {
        char c = name[i];

        if (c >= '0' && c <= '9')
            begin = begin << 4 | (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            begin = begin << 4 | (uint64_t)(c - 'a' + 10);
        else
            return false;
    }
    if (strcmp(name + 16, ".queue") != 0)
        return false;
    *ret_begin = begin;
    return true;
}

int segments_push(struct diskqueue *queue, struct segment segment)
{
    if (queue->segment_count == queue->segment_room) {
        size_t room = queue->segment_room == 0 ? SEGMENTS_MIN : queue->segment_room * 2;
        struct segment *grown = mem_realloc(queue->segments, room * sizeof(*grown));

        if (grown == NULL)
            return ERROR_OUT_OF_MEMORY;
        queue->segments = grown;
        queue->segment_room = room;
    }
    queue->segments[queue->segment_count++] = segment;
    return 0;
}

/* The last one that begins at or below `position`. */
struct segment *segments_find(struct diskqueue *queue, uint64_t position)
{
    size_t low = 0, high = queue->segment_count;

    assert(queue->segment_count > 0 && queue->segments[0].begin <= position);
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;

        if (queue->segments[middle].begin <= position)
            low = middle;
        else
            high = middle;
    }
    return &queue->segments[low];
}

static struct segment *last_segment(const struct diskqueue *queue)
{
    assert(queue->segment_count > 0);
    return &queue->segments[queue->segment_count - 1];
}

uint64_t segment_end(const struct diskqueue *queue, const struct segment *segment)
{
    return segment == last_segment(queue) ? queue->flushed_end : segment[1].begin;
}

/* A file whose sync is under way stays open until that is back. */
static void close_file(struct diskqueue *queue, struct env_file *file)
{
    if (queue->spare_sync != NULL && queue->spare_sync->file == file)
        queue->spare_sync->close_file = true;
    else
        env_file_close(queue->env, file);
}

void segment_close(struct diskqueue *queue, struct segment *segment)
{
    if (segment->file != NULL)
        close_file(queue, segment->file);
    segment->file = NULL;
}

int segment_write_header(struct diskqueue *queue, struct env_file *file, uint64_t begin)
{
    struct segment_header header = {
        .file_id = queue->file_id,
        .begin = begin,
        .synced = queue->durable_end,
        .popped = queue->popped < queue->durable_end ? queue->popped : queue->durable_end,
    };
    uint8_t encoded[SEGMENT_HEADER_BYTES];

    segment_header_encode(&header, encoded);
    return env_file_write(queue->env, file, 0, bytes_of(encoded, sizeof(encoded)));
}

/* ---- the spare ---- */

static int spare_open(struct diskqueue *queue)
{
    char path[DISKQUEUE_PATH_MAX];
    int error;

    if (queue->spare != NULL)
        return 0;
    queue_path(queue->directory, "spare", path);
    error = env_file_open(queue->env, path, ENV_OPEN_READ | ENV_OPEN_WRITE | ENV_OPEN_CREATE, &queue->spare);
    queue->spare_bytes = 0;
    return error;
}

/* Fills it up to `bytes`. */
static int spare_fill(struct diskqueue *queue, uint64_t bytes)
{
    int error = spare_open(queue);

    if (error != 0 || queue->spare_bytes >= bytes)
        return error;
    error = env_file_zero_fill(queue->env, queue->spare, queue->spare_bytes, bytes - queue->spare_bytes);
    if (error == 0)
        queue->spare_bytes = bytes;
    return error;
}

static void spare_sync_done(struct env_sync *sync, int error)
{
    struct spare_sync *shared = container_of(sync, struct spare_sync, sync);
    struct diskqueue *queue = shared->queue;

    queue->spare_sync = NULL;
    if (shared->close_file)
        env_file_close(queue->env, shared->file);
    mem_free(shared);
    if (queue->closed)
        diskqueue_free_if_idle(queue);
    else if (error != 0)
        diskqueue_fail(queue, error);
}

static int spare_sync_start(struct diskqueue *queue)
{
    struct spare_sync *shared;

    if (queue->spare_sync != NULL)
        return 0;
    shared = mem_zalloc(sizeof(*shared));
    if (shared == NULL)
        return ERROR_OUT_OF_MEMORY;
    *shared = (struct spare_sync){.sync.done = spare_sync_done, .queue = queue, .file = queue->spare};
    queue->spare_sync = shared;
    env_file_sync(queue->env, queue->spare, &shared->sync);
    return 0;
}

static int spare_prepare(struct diskqueue *queue, uint64_t flushed_bytes)
{
    struct segment *last = last_segment(queue);
    uint64_t step = 2 * flushed_bytes > SPARE_STEP_BYTES ? 2 * flushed_bytes : SPARE_STEP_BYTES;
    uint64_t bytes = queue->spare_bytes + step;
    int error;

    if (queue->spare != NULL && queue->spare_bytes >= queue->segment_bytes)
        return 0;
    if (queue->flushed_end - last->begin < last->capacity / 2)
        return 0;
    if (BUGGIFY(queue->env, "the next segment is made when it is needed, not before"))
        return 0;
    bytes = bytes < queue->segment_bytes ? bytes : queue->segment_bytes;
    error = spare_fill(queue, bytes);
    if (error == 0 && bytes == queue->segment_bytes)
        error = spare_sync_start(queue);
    return error;
}

/* ---- the next segment ---- */

static uint64_t file_bytes_for(const struct diskqueue *queue, uint64_t frame)
{
    uint64_t needed = (SEGMENT_HEADER_BYTES + frame + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES;

    return needed > queue->segment_bytes ? needed : queue->segment_bytes;
}

/* An empty segment that is too small for its first frame: no second one may begin at the same position. */
static int grow_last(struct diskqueue *queue, uint64_t bytes)
{
    struct segment *last = last_segment(queue);
    uint64_t old = SEGMENT_HEADER_BYTES + last->capacity, grown = file_bytes_for(queue, bytes);
    int error = env_file_zero_fill(queue->env, last->file, old, grown - old);

    if (error == 0)
        last->capacity = grown - SEGMENT_HEADER_BYTES;
    return error;
}

int segments_advance(struct diskqueue *queue, uint64_t position, uint64_t bytes)
{
    char from[DISKQUEUE_PATH_MAX], to[DISKQUEUE_PATH_MAX];
    struct segment next = {.begin = position};
    int error;

    if (last_segment(queue)->begin == position)
        return grow_last(queue, bytes);
    error = spare_fill(queue, file_bytes_for(queue, bytes));
    if (error != 0)
        return error;
    queue_path(queue->directory, "spare", from);
    segment_path(queue, position, to);
    error = env_rename(queue->env, from, to);
    if (error == 0)
        error = env_dir_sync(queue->env, queue->directory);
    if (error == 0)
        error = segment_write_header(queue, queue->spare, position);
    if (error != 0)
        return error;
    next.capacity = queue->spare_bytes - SEGMENT_HEADER_BYTES;
    next.file = queue->spare;
    error = segments_push(queue, next);
    if (error != 0)
        return error; /* the spare is closed with the queue */
    queue->spare = NULL;
    queue->spare_bytes = 0;
    return 0;
}

/* ---- popped segments ---- */

static int make_spare_of(struct diskqueue *queue, const char *path, uint64_t bytes)
{
    char spare[DISKQUEUE_PATH_MAX];
    int error;

    queue_path(queue->directory, "spare", spare);
    error = env_rename(queue->env, path, spare);
    if (error == 0)
        error = env_file_open(queue->env, spare, ENV_OPEN_READ | ENV_OPEN_WRITE, &queue->spare);
    if (error == 0)
        queue->spare_bytes = bytes;
    return error;
}

static int drop_first(struct diskqueue *queue)
{
    struct segment *first = &queue->segments[0];
    uint64_t bytes = SEGMENT_HEADER_BYTES + first->capacity;
    char path[DISKQUEUE_PATH_MAX];
    int error;

    segment_path(queue, first->begin, path);
    segment_close(queue, first);
    if (queue->spare == NULL && bytes == queue->segment_bytes &&
        !BUGGIFY(queue->env, "a popped segment is removed although it could be recycled"))
        error = make_spare_of(queue, path, bytes);
    else
        error = env_remove(queue->env, path);
    if (error == 0)
        error = env_dir_sync(queue->env, queue->directory);
    if (error != 0)
        return error;
    queue->segment_count--;
    memmove(queue->segments, queue->segments + 1, queue->segment_count * sizeof(*first));
    return 0;
}

/* Files of sealed, durable segments; reading opens them again. Keeps the number of open files small. */
static void close_sealed(struct diskqueue *queue)
{
    for (size_t i = queue->segment_count - 1; i-- > 0;) {
        struct segment *segment = &queue->segments[i];

        if (segment->file != NULL && segment_end(queue, segment) <= queue->durable_end)
            segment_close(queue, segment);
    }
}

int segments_maintain(struct diskqueue *queue, uint64_t flushed_bytes)
{
    for (int i = 0; i < POPS_PER_FLUSH; i++) {
        int error;

        if (queue->segment_count < 2 || queue->segments[1].begin > queue->popped_durable ||
            BUGGIFY(queue->env, "a popped segment stays until a later flush"))
            break;
        error = drop_first(queue);
        if (error != 0)
            return error;
    }
    close_sealed(queue);
    return spare_prepare(queue, flushed_bytes);
}
