/* Appending, group commit, popping and reading; diskqueue_open.c recovers, diskqueue_segment.c and
 * diskqueue_upkeep.c keep the files.
 *
 * A position is a logical byte offset. Segments hold consecutive stretches of positions; the file of the one that begins at
 * position B is named by B, sooner or later, and holds position p at offset 4096 + p - B. No frame crosses from one segment into the next.
 *
 *   segment header (4096 bytes)              frame (a multiple of 8 bytes)
 *    0  8 "QuoinLog"                          0  8 XXH3-64 of [8, 32 + length), seeded
 *    8  4 format, 1                           8  4 low half of the XXH3-64 of [12, 32), seeded
 *   12  4 zero                               12  4 length of the data
 *   16  8 file id                            16  8 synced: all below was durable when this was appended
 *   24  8 begin                              24  8 popped: all below was no longer needed
 *   32  8 synced                             32  . data, then zeros to a multiple of 8
 *   40  8 popped
 *   48  8 XXH3-64 of [0, 48)                 The seed is the XXH3-64 of (file id, position), 8 bytes each,
 *   56  . zero                               little-endian, as all numbers here.
 *
 * A frame is valid if and only if both hashes match for this queue's file id and for the position at which it lies, its length
 * is at most FRAME_DATA_BYTES_MAX and ends within the segment, and popped <= synced <= position. So a frame of another file,
 * or one that a recycled segment still holds from its last life, is never valid. A segment header is valid if and only if the
 * magic and hash match, the format is known, the file id is this queue's, and begin is the one that the file's name says, a
 * multiple of 8 and at most SEGMENT_BEGIN_MAX. A spare with a valid header whose begin lies above that of the oldest segment is a
 * segment that has not got its name yet; any other spare is nothing (diskqueue_upkeep.c).
 *
 * What a crash leaves. Writes of batches that were not synced may be on disk in any subset. So the first bad frame from the
 * front, at position T, may be followed by valid ones (of the same batch, of the one that overlapped it, in the next segment).
 * Nobody was told that those are durable, as commits complete in order; they are cut off with it. If one of them, or a segment
 * header, names a synced position above T, then T was durable once: that is damage, and the queue does not open. What was
 * synced last, with nothing written after it, can't be told from a torn tail here; who must know keeps its end elsewhere.
 *
 * Why the cut is made by zeros and not just by writing on: a stale frame beyond the cut is valid for its position. New frames
 * could end exactly where it begins, or a torn new frame could supply the bytes that a torn old one lacked. So opening removes
 * the segments beyond the cut, fills the rest of the last one with zeros and syncs both before anything may be appended.
 *
 * Group commit. Appended frames collect in `pending`. The first commit of a turn asks for the turn's end; there all of pending
 * is written at once and the files written to are synced: a batch. While two batches are under way a third waits and grows. */
#include "storage/diskqueue.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#include "net/buggify.h"
#include "net/error.h"
#include "net/mem.h"
#include "net/planted_bug.h"
#include "storage/diskqueue_impl.h"

struct batch {
    struct list link;
    struct diskqueue *queue;
    uint64_t end, popped; /* durable when the batch is */
    struct part *parts;   /* owned */
    unsigned unfinished;
};

/* One file of a batch; there is more than one only where a segment ended. */
struct part {
    struct env_sync sync;
    struct batch *batch;
    struct part *next;
    struct env_file *file;
};

static void flush_run(struct ready *ready);
static void answer_run(struct ready *ready);

struct diskqueue *diskqueue_alloc(struct env *env, const struct diskqueue_options *options)
{
    struct diskqueue *queue = mem_zalloc(sizeof(*queue));
    uint64_t segment_bytes = options->segment_bytes < SEGMENT_BYTES_MIN ? SEGMENT_BYTES_MIN : options->segment_bytes;
    size_t len = strlen(options->directory) + 1;

    if (queue == NULL)
        return NULL;
    queue->env = env;
    queue->directory = mem_alloc(len);
    if (queue->directory == NULL) {
        mem_free(queue);
        return NULL;
    }
    memcpy(queue->directory, options->directory, len);
    queue->file_id = options->file_id;
    queue->segment_bytes = segment_bytes & ~(uint64_t)(SEGMENT_HEADER_BYTES - 1);
    list_init(&queue->waiting);
    list_init(&queue->batches);
    queue->flush_hook.run = flush_run;
    queue->answer.run = answer_run;
    return queue;
}

/* ---- ending ---- */

void diskqueue_free(struct diskqueue *queue)
{
    if (queue == NULL)
        return;
    assert(queue->batch_count == 0 && !queue->upkeep.running);
    for (size_t i = 0; i < queue->segment_count; i++)
        segment_close(queue, &queue->segments[i]);
    for (unsigned i = 0; i < SPARES_MAX; i++)
        env_file_close(queue->env, queue->spares[i].file);
    env_file_close(queue->env, queue->upkeep.file);
    env_ready_cancel(&queue->flush_hook);
    env_ready_cancel(&queue->answer);
    bytes_buffer_done(&queue->pending);
    mem_free(queue->segments);
    mem_free(queue->directory);
    mem_free(queue);
}

void diskqueue_free_if_idle(struct diskqueue *queue)
{
    if (queue->batch_count == 0 && !queue->upkeep.running)
        diskqueue_free(queue);
}

void diskqueue_close(struct diskqueue *queue)
{
    if (queue == NULL)
        return;
    assert(list_empty(&queue->waiting));
    queue->closed = true;
    env_ready_cancel(&queue->flush_hook);
    env_ready_cancel(&queue->answer);
    upkeep_stop(queue);
    diskqueue_free_if_idle(queue);
}

static void batch_free(struct batch *batch)
{
    while (batch->parts != NULL) {
        struct part *part = batch->parts;

        batch->parts = part->next;
        mem_free(part);
    }
    mem_free(batch);
}

/* ---- completing ---- */

static void complete(struct diskqueue *queue)
{
    list_each(link, after, &queue->waiting) {
        struct diskqueue_commit *commit = list_entry(link, struct diskqueue_commit, link);
        bool durable = commit->end <= (PLANTED_BUG(ACK_BEFORE_SYNC) ? queue->flushed_end : queue->durable_end);

        if (!durable && queue->error == 0)
            break;
        list_remove(&commit->link);
        commit->error = durable ? 0 : queue->error;
        wait_complete(&commit->wait, durable);
    }
}

static void answer_run(struct ready *ready)
{
    complete(container_of(ready, struct diskqueue, answer));
}

void diskqueue_fail(struct diskqueue *queue, int error)
{
    assert(error != 0);
    PROBE(queue->env, "a disk queue fails for good");
    if (queue->error == 0)
        queue->error = error;
    env_ready(queue->env, &queue->answer, READY_COMMIT);
}

static bool wants_flush(const struct diskqueue *queue)
{
    if (queue->error != 0 || list_empty(&queue->waiting))
        return false;
    return list_entry(queue->waiting.prev, struct diskqueue_commit, link)->end > queue->flushed_end;
}

static void finish_batch(struct diskqueue *queue, struct batch *batch)
{
    list_remove(&batch->link);
    queue->batch_count--;
    if (queue->error == 0) {
        assert(batch->end >= queue->durable_end);
        queue->durable_end = batch->end;
        queue->popped_durable = PLANTED_BUG(POPPED_KEPT) ? queue->popped_durable : batch->popped;
    }
    batch_free(batch);
}

/* Batches end in order, whichever sync was first. */
static void finish_batches(struct diskqueue *queue)
{
    while (!list_empty(&queue->batches)) {
        struct batch *batch = list_entry(queue->batches.next, struct batch, link);

        if (batch->unfinished > 0)
            break;
        finish_batch(queue, batch);
    }
    if (queue->closed) {
        diskqueue_free_if_idle(queue);
        return;
    }
    complete(queue);
    if (wants_flush(queue))
        env_turn_end(queue->env, &queue->flush_hook);
    upkeep_go_on(queue);
}

static void part_done(struct env_sync *sync, int error)
{
    struct batch *batch = container_of(sync, struct part, sync)->batch;

    /* Not when its turn comes: the kernel reports a failed write once for a file, perhaps to the later of two syncs. */
    if (error == 0 && BUGGIFY_DEATH(batch->queue->env, 5000, "a sync of the queue says that it failed, and all is durable"))
        error = ERROR_IO_ERROR;
    if (error != 0 && batch->queue->error == 0)
        batch->queue->error = error;
    assert(batch->unfinished > 0);
    if (PLANTED_BUG(BATCHES_OUT_OF_ORDER) && batch->unfinished == 1 && batch->end > batch->queue->durable_end)
        batch->queue->durable_end = batch->end;
    if (--batch->unfinished == 0)
        finish_batches(batch->queue);
}

/* ---- flushing ---- */

static int batch_touch(struct batch *batch, struct env_file *file)
{
    struct part *part = batch->parts;

    if (part != NULL && part->file == file)
        return 0;
    part = mem_zalloc(sizeof(*part));
    if (part == NULL)
        return ERROR_OUT_OF_MEMORY;
    *part = (struct part){.sync.done = part_done, .batch = batch, .next = batch->parts, .file = file};
    batch->parts = part;
    batch->unfinished++;
    return 0;
}

/* Writes frames that fit the last segment. */
static int write_run(struct diskqueue *queue, struct batch *batch, struct bytes run)
{
    struct segment *last = &queue->segments[queue->segment_count - 1];
    int error;

    if (run.len == 0)
        return 0;
    error = batch_touch(batch, last->file);
    if (error == 0)
        error = env_file_write(queue->env, last->file, SEGMENT_HEADER_BYTES + queue->flushed_end - last->begin, run);
    if (error != 0)
        return error;
    queue->flushed_end += run.len;
    queue->bytes_written += run.len;
    return 0;
}

static uint64_t room_left(const struct diskqueue *queue, uint64_t position)
{
    const struct segment *last = &queue->segments[queue->segment_count - 1];

    return last->begin + last->capacity - position;
}

static bool rolls_early(struct diskqueue *queue, uint64_t position)
{
    return spare_ready(queue) != NULL && position > queue->segments[queue->segment_count - 1].begin &&
           BUGGIFY_ONE_IN(queue->env, 64, "a segment ends although there is room left in it");
}

static int write_pending(struct diskqueue *queue, struct batch *batch)
{
    struct bytes left = bytes_buffer_bytes(&queue->pending);
    size_t run = 0;
    int error;

    while (run < left.len) {
        uint64_t frame = frame_bytes(get_le32(left.ptr + run + 12));

        if (frame > room_left(queue, queue->flushed_end + run) || rolls_early(queue, queue->flushed_end + run)) {
            error = write_run(queue, batch, bytes_of(left.ptr, run));
            if (error == 0)
                error = segments_advance(queue, queue->flushed_end, frame);
            if (error != 0)
                return error;
            left = bytes_of(left.ptr + run, left.len - run);
            run = 0;
        }
        run += frame;
    }
    return write_run(queue, batch, left);
}

static void start_syncs(struct diskqueue *queue, struct batch *batch)
{
    list_push_back(&queue->batches, &batch->link);
    queue->batch_count++;
    for (struct part *part = batch->parts, *next; part != NULL; part = next) {
        next = part->next; /* nothing completes before env_file_sync returns, but keep to the rule */
        queue->syncs++;
        env_file_sync(queue->env, part->file, &part->sync);
    }
}

static void reset_pending(struct diskqueue *queue)
{
    queue->pending.len = 0;
    if (queue->pending.capacity > PENDING_KEEP_BYTES)
        bytes_buffer_done(&queue->pending);
}

static int flush(struct diskqueue *queue)
{
    struct batch *batch = mem_zalloc(sizeof(*batch));
    int error;

    if (batch == NULL)
        return ERROR_OUT_OF_MEMORY;
    batch->queue = queue;
    batch->popped = queue->popped_named;
    error = write_pending(queue, batch);
    if (error != 0) {
        batch_free(batch);
        return error;
    }
    assert(queue->flushed_end == queue->end);
    batch->end = queue->end;
    reset_pending(queue);
    start_syncs(queue, batch);
    segments_close_sealed(queue);
    upkeep_go_on(queue);
    return 0;
}

static void flush_run(struct ready *ready)
{
    struct diskqueue *queue = container_of(ready, struct diskqueue, flush_hook);
    int error;

    if (!wants_flush(queue) || queue->batch_count == DISKQUEUE_BATCHES_MAX)
        return;
    if (queue->batch_count > 0 && BUGGIFY(queue->env, "a second batch waits until the first is durable"))
        return;
    error = flush(queue);
    if (error != 0)
        diskqueue_fail(queue, error);
}

/* ---- the face ---- */

static size_t parts_bytes(const struct bytes *parts, unsigned part_count)
{
    size_t total = 0;

    for (unsigned i = 0; i < part_count; i++) {
        assert(parts[i].len <= FRAME_DATA_BYTES_MAX);
        total += parts[i].len;
        assert(total <= FRAME_DATA_BYTES_MAX);
    }
    return total;
}

int diskqueue_append(struct diskqueue *queue, const struct bytes *parts, unsigned part_count, uint64_t *ret_position)
{
    size_t length = parts_bytes(parts, part_count), bytes = frame_bytes(length), at = FRAME_HEADER_BYTES;
    uint64_t popped = queue->popped < queue->durable_end ? queue->popped : queue->durable_end;
    uint8_t *frame;

    if (queue->error != 0)
        return queue->error;
    if (BUGGIFY(queue->env, "a frame names an older popped position"))
        popped = queue->popped_named;
    if (bytes_buffer_reserve(&queue->pending, bytes) != 0)
        return ERROR_OUT_OF_MEMORY;
    frame = queue->pending.ptr + queue->pending.len;
    for (unsigned i = 0; i < part_count; i++) {
        if (parts[i].len > 0)
            memcpy(frame + at, parts[i].ptr, parts[i].len);
        at += parts[i].len;
    }
    memset(frame + at, 0, bytes - at);
    frame_seal(frame, queue->file_id, queue->end, (uint32_t)length, queue->durable_end, popped);
    queue->pending.len += bytes;
    queue->popped_named = popped;
    *ret_position = queue->end;
    queue->end += bytes;
    return 0;
}

uint64_t diskqueue_end(const struct diskqueue *queue)
{
    return queue->end;
}

uint64_t diskqueue_durable_end(const struct diskqueue *queue)
{
    return queue->durable_end;
}

uint64_t diskqueue_begin(const struct diskqueue *queue)
{
    return queue->segments[0].begin;
}

static void commit_cancel(struct wait *wait)
{
    list_remove(&container_of(wait, struct diskqueue_commit, wait)->link);
}

static void commit_print(const struct wait *wait, char *out, size_t out_size)
{
    snprintf(out, out_size, "position %" PRIu64, container_of(wait, struct diskqueue_commit, wait)->end);
}

static const struct wait_type commit_type = {"disk queue", commit_cancel, commit_print};

void diskqueue_commit(struct diskqueue *queue, struct diskqueue_commit *commit, struct op *op)
{
    assert(!list_linked(&commit->link));
    commit->error = 0;
    commit->end = queue->end;
    wait_begin(&commit->wait, op, &commit_type);
    list_push_back(&queue->waiting, &commit->link);
    queue->commits++;
    if (queue->error != 0 || commit->end <= queue->durable_end)
        env_ready(queue->env, &queue->answer, READY_COMMIT);
    else if (wants_flush(queue) && queue->batch_count < DISKQUEUE_BATCHES_MAX)
        env_turn_end(queue->env, &queue->flush_hook);
}

void diskqueue_pop(struct diskqueue *queue, uint64_t position)
{
    assert(position <= queue->end);
    if (position > queue->popped)
        queue->popped = position;
}

/* ---- reading ---- */

static int read_pending(struct diskqueue *queue, uint64_t position, struct arena *arena, struct bytes *ret_data,
                        uint64_t *ret_next)
{
    const uint8_t *frame = queue->pending.ptr + (position - queue->flushed_end);
    uint32_t length = get_le32(frame + 12);
    int error = arena_copy(arena, bytes_of(frame + FRAME_HEADER_BYTES, length), ret_data);

    if (error == 0)
        *ret_next = position + frame_bytes(length);
    return error;
}

static int open_for_reading(struct diskqueue *queue, struct segment *segment)
{
    char path[DISKQUEUE_PATH_MAX];

    if (segment->file != NULL)
        return 0;
    PROBE(queue->env, "a sealed segment is opened again for reading");
    for (size_t i = 0; i + 1 < queue->segment_count; i++) /* at most one that is only read stays open */
        if (segment_is_sealed(queue, &queue->segments[i]))
            segment_close(queue, &queue->segments[i]);
    segment_path(queue->directory, segment->begin, path);
    return env_file_open(queue->env, path, ENV_OPEN_READ, &segment->file);
}

/* A file cut short reads as zeros, as it did when it was opened: the hash says whether that was all that it lost. */
static int read_padded(struct diskqueue *queue, struct env_file *file, uint64_t offset, uint8_t *into, size_t len)
{
    size_t got;
    int error = env_file_read(queue->env, file, offset, into, len, &got);

    if (error == 0)
        memset(into + got, 0, len - got);
    return error;
}

int diskqueue_read(struct diskqueue *queue, uint64_t position, struct arena *arena, struct bytes *ret_data,
                   uint64_t *ret_next)
{
    uint8_t header[FRAME_HEADER_BYTES], *bytes;
    struct segment *segment;
    struct frame frame;
    uint32_t length;
    uint64_t offset;
    int error;

    assert(position >= diskqueue_begin(queue) && position < queue->end && position % FRAME_ALIGN == 0);
    if (position >= queue->flushed_end)
        return read_pending(queue, position, arena, ret_data, ret_next);
    segment = segments_find(queue, position);
    error = open_for_reading(queue, segment);
    if (error != 0)
        return error;
    offset = SEGMENT_HEADER_BYTES + position - segment->begin;
    error = read_padded(queue, segment->file, offset, header, sizeof(header));
    if (error != 0)
        return error;
    if (!frame_peek(header, queue->file_id, position, &length) ||
        position + frame_bytes(length) > segment_end(queue, segment))
        return ERROR_FILE_CORRUPT;
    bytes = arena_alloc(arena, frame_bytes(length));
    if (bytes == NULL)
        return ERROR_OUT_OF_MEMORY;
    error = read_padded(queue, segment->file, offset, bytes, frame_bytes(length));
    if (error != 0)
        return error;
    if (!frame_check(bytes_of(bytes, frame_bytes(length)), queue->file_id, position, &frame))
        return ERROR_FILE_CORRUPT;
    *ret_data = frame.data;
    *ret_next = position + frame.bytes;
    return 0;
}

void diskqueue_status(const struct diskqueue *queue, struct diskqueue_status *ret_status)
{
    uint64_t file_bytes = 0;
    uint32_t popped_segments = 0;

    for (unsigned i = 0; i < SPARES_MAX; i++)
        file_bytes += queue->spares[i].bytes;
    for (size_t i = 0; i < queue->segment_count; i++) {
        file_bytes += SEGMENT_HEADER_BYTES + queue->segments[i].capacity;
        popped_segments += i + 1 < queue->segment_count && queue->segments[i + 1].begin <= queue->popped;
    }
    *ret_status = (struct diskqueue_status){
        .begin = diskqueue_begin(queue),
        .end = queue->end,
        .durable_end = queue->durable_end,
        .file_bytes = file_bytes,
        .popped_segments = popped_segments,
        .commits = queue->commits,
        .syncs = queue->syncs,
        .bytes_written = queue->bytes_written,
        .error = queue->error,
    };
}
