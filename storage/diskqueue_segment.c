/* The segments of a queue as its loop sees them: finding, closing, going on in the next one. Their files' names are the upkeep's.
 *
 * The next segment is a spare that is ready: a header makes it one, and that is durable with the batch that begins in it. Where none is
 * ready, the last one grows: its size is then the batch's to sync, and still nobody waits for a directory. */
#include <assert.h>
#include <stdio.h>

#include "net/buggify.h"
#include "net/error.h"
#include "net/mem.h"
#include "storage/diskqueue_impl.h"

enum { SEGMENTS_MIN = 8, BLOCK_BYTES = 4096, GROWTH_BYTES_MAX = 1024 * 1024 };

const char *const spare_names[SPARES_MAX] = {"spare", "spare1", "spare2"};

void queue_path(const char *directory, const char *name, char out[DISKQUEUE_PATH_MAX])
{
    int len = snprintf(out, DISKQUEUE_PATH_MAX, "%s/%s", directory, name);

    assert(len > 0 && len < DISKQUEUE_PATH_MAX);
}

void segment_path(const char *directory, uint64_t begin, char out[DISKQUEUE_PATH_MAX])
{
    char name[32];

    snprintf(name, sizeof(name), "%016llx.queue", (unsigned long long)begin);
    queue_path(directory, name, out);
}

void spare_path(const char *directory, unsigned index, char out[DISKQUEUE_PATH_MAX])
{
    assert(index < SPARES_MAX);
    queue_path(directory, spare_names[index], out);
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

/* What has no name of its own can't be opened again. */
bool segment_is_sealed(const struct diskqueue *queue, const struct segment *segment)
{
    return segment->spare == 0 && segment != last_segment(queue) && segment_end(queue, segment) <= queue->durable_end;
}

void segment_close(struct diskqueue *queue, struct segment *segment)
{
    env_file_close(queue->env, segment->file);
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

/* ---- the next segment ---- */

static uint64_t growth(const struct diskqueue *queue)
{
    uint64_t quarter = queue->segment_bytes / 4 / BLOCK_BYTES * BLOCK_BYTES;

    return quarter < BLOCK_BYTES ? BLOCK_BYTES : quarter < GROWTH_BYTES_MAX ? quarter : GROWTH_BYTES_MAX;
}

/* Room for `bytes` at `position` in the last segment: more than that if it goes on growing because no spare is ready. */
static int grow_last(struct diskqueue *queue, uint64_t position, uint64_t bytes)
{
    struct segment *last = last_segment(queue);
    uint64_t used = position - last->begin, step = used == 0 ? BLOCK_BYTES : growth(queue);
    uint64_t old = SEGMENT_HEADER_BYTES + last->capacity, grown = SEGMENT_HEADER_BYTES + used + bytes;
    int error;

    grown = (grown + step - 1) / step * step;
    if (grown <= old)
        return 0;
    error = env_file_zero_fill(queue->env, last->file, old, grown - old);
    if (error == 0)
        last->capacity = grown - SEGMENT_HEADER_BYTES;
    return error;
}

/* The spare stays under its name until the upkeep gives it its own. */
static int begin_segment(struct diskqueue *queue, struct spare *spare, uint64_t position)
{
    struct segment next = {.begin = position,
                           .capacity = spare->bytes - SEGMENT_HEADER_BYTES,
                           .file = spare->file,
                           .spare = (unsigned)(spare - queue->spares) + 1};
    int error = segment_write_header(queue, spare->file, position);

    if (error == 0)
        error = segments_push(queue, next);
    if (error == 0)
        *spare = (struct spare){.state = SPARE_TAKEN};
    return error;
}

int segments_advance(struct diskqueue *queue, uint64_t position, uint64_t bytes)
{
    struct spare *spare = spare_ready(queue);
    int error = 0;

    if (spare != NULL && last_segment(queue)->begin != position &&
        !BUGGIFY(queue->env, "the next segment is not ready when it is needed"))
        error = begin_segment(queue, spare, position);
    return error == 0 ? grow_last(queue, position, bytes) : error;
}

void segments_close_sealed(struct diskqueue *queue)
{
    for (size_t i = queue->segment_count - 1; i-- > 0;) {
        struct segment *segment = &queue->segments[i];

        if (segment->file != NULL && segment_is_sealed(queue, segment))
            segment_close(queue, segment);
    }
}
