/* The upkeep of a queue's files: naming new segments, recycling and removing popped ones, making spares; all of it off the loop.
 *
 * A disk that is busy takes a second to make a directory durable, and nothing that a commit waits for may wait for that. So the
 * names of segments are none of a batch's business: the next segment is a spare whose file, size and name ("spare", "spare1", ..)
 * have been durable for long, and a header at its beginning is what makes it a segment. Its own name comes later:
 *
 *      CREATE    open, fill piece by piece, sync the names     a spare
 *                   segments_advance: a header and frames      a segment that has a spare's name
 *      NAME      rename, sync the names                        a segment, <position>.queue
 *      RECYCLE   rename, sync the names, open                  a spare again, with the frames of its last life in it
 *      REMOVE    remove, sync the names
 *
 * One task at a time, one step of it a job. Where no spare is ready the last segment grows instead (segments_advance).
 *
 * Every step leaves names and contents that diskqueue_open understands after a crash at any point:
 *
 * - Only the oldest segment's position tells a spare that has become a segment from one that still holds the header of its last
 *   life: the one lies above it, the other below. So the oldest segment always has a name of its own: what has none is named
 *   before anything is recycled, the older first.
 * - A recycled segment is overwritten in place. What it holds are frames of popped positions, below everything that is ever
 *   read again, so none of them is valid at the place where it is found (the hash covers the position).
 * - Popped segments go oldest first, one directory sync each, and only when a durable frame names a popped position at or
 *   above their end: those that are left are always one unbroken run, and a first segment that is missing without such a
 *   frame is damage. */
#include <assert.h>

#include "net/buggify.h"
#include "net/error.h"
#include "storage/diskqueue_impl.h"

enum { FILL_STEP_BYTES = 1024 * 1024 }; /* and a sync of each: a commit's own sync waits for no more than that */

enum step { STEP_NAME, STEP_RECYCLE, STEP_REMOVE, STEP_OPEN, STEP_CREATE, STEP_FILL, STEP_SYNC_NAMES, STEP_END };

enum { STEPS_MAX = 4 };

static const enum step steps[][STEPS_MAX] = {
    [UPKEEP_NONE] = {STEP_END},
    [UPKEEP_NAME] = {STEP_NAME, STEP_SYNC_NAMES, STEP_END},
    [UPKEEP_RECYCLE] = {STEP_RECYCLE, STEP_SYNC_NAMES, STEP_OPEN, STEP_END},
    [UPKEEP_REMOVE] = {STEP_REMOVE, STEP_SYNC_NAMES, STEP_END},
    [UPKEEP_CREATE] = {STEP_CREATE, STEP_FILL, STEP_SYNC_NAMES, STEP_END},
};

static struct diskqueue *queue_of(struct upkeep *upkeep)
{
    return container_of(upkeep, struct diskqueue, upkeep);
}

static enum step step_of(const struct upkeep *upkeep)
{
    return steps[upkeep->task][upkeep->step];
}

/* ---- the steps: on a job's thread, with nothing of the queue but what never changes ---- */

static int rename_spare(struct upkeep *upkeep, bool to_spare)
{
    char spare[DISKQUEUE_PATH_MAX], segment[DISKQUEUE_PATH_MAX];

    spare_path(queue_of(upkeep)->directory, upkeep->spare, spare);
    segment_path(queue_of(upkeep)->directory, upkeep->begin, segment);
    return to_spare ? env_rename(upkeep->job.env, segment, spare) : env_rename(upkeep->job.env, spare, segment);
}

static int remove_segment(struct upkeep *upkeep)
{
    char path[DISKQUEUE_PATH_MAX];

    segment_path(queue_of(upkeep)->directory, upkeep->begin, path);
    return env_remove(upkeep->job.env, path);
}

/* One that had grown gets the usual size again. */
static int open_spare(struct upkeep *upkeep, unsigned flags)
{
    char path[DISKQUEUE_PATH_MAX];
    int error;

    spare_path(queue_of(upkeep)->directory, upkeep->spare, path);
    error = env_file_open(upkeep->job.env, path, ENV_OPEN_READ | ENV_OPEN_WRITE | flags, &upkeep->file);
    if (error == 0 && upkeep->bytes > upkeep->bytes_wanted) {
        error = env_file_truncate(upkeep->job.env, upkeep->file, upkeep->bytes_wanted);
        upkeep->bytes = upkeep->bytes_wanted;
    }
    return error;
}

static int fill_spare(struct upkeep *upkeep)
{
    uint64_t left = upkeep->bytes_wanted - upkeep->bytes, more = left < FILL_STEP_BYTES ? left : FILL_STEP_BYTES;
    int error = env_file_zero_fill(upkeep->job.env, upkeep->file, upkeep->bytes, more);

    if (error == 0)
        error = env_file_sync_now(upkeep->job.env, upkeep->file);
    upkeep->bytes += more;
    return error;
}

static int run_step(struct upkeep *upkeep)
{
    switch (step_of(upkeep)) {
    case STEP_NAME:
        return rename_spare(upkeep, false);
    case STEP_RECYCLE:
        return rename_spare(upkeep, true);
    case STEP_REMOVE:
        return remove_segment(upkeep);
    case STEP_OPEN:
        return open_spare(upkeep, 0);
    case STEP_CREATE:
        return open_spare(upkeep, ENV_OPEN_CREATE);
    case STEP_FILL:
        return fill_spare(upkeep);
    case STEP_SYNC_NAMES:
        return env_dir_sync(upkeep->job.env, queue_of(upkeep)->directory);
    case STEP_END:
        break;
    }
    assert(!"the end is no step");
    return ERROR_INTERNAL_ERROR;
}

static void step_run(struct env_job *job)
{
    struct upkeep *upkeep = container_of(job, struct upkeep, job);

    upkeep->error = run_step(upkeep);
}

/* ---- from step to step ---- */

static void step_done(struct env_job *job);

static void step_start(struct upkeep *upkeep)
{
    assert(!upkeep->running && step_of(upkeep) != STEP_END);
    upkeep->running = true;
    upkeep->error = ERROR_OPERATION_CANCELLED; /* at the end of a process a job may be done that never ran */
    upkeep->job = (struct env_job){.run = step_run, .done = step_done, .priority = ENV_JOB_NORMAL};
    env_job_start(queue_of(upkeep)->env, &upkeep->job);
}

static void task_end(struct diskqueue *queue)
{
    struct upkeep *upkeep = &queue->upkeep;
    struct spare *spare = &queue->spares[upkeep->spare];

    if (upkeep->task == UPKEEP_NAME) {
        struct segment *named = segments_find(queue, upkeep->begin);

        assert(named->begin == upkeep->begin && named->spare == upkeep->spare + 1);
        named->spare = 0;
        *spare = (struct spare){0};
    } else if (upkeep->task != UPKEEP_REMOVE) {
        assert(spare->state == SPARE_MADE && upkeep->file != NULL && upkeep->bytes == queue->segment_bytes);
        *spare = (struct spare){SPARE_READY, upkeep->file, upkeep->bytes};
        upkeep->file = NULL;
    }
    upkeep->task = UPKEEP_NONE;
}

/* A task whose step failed stays: nothing begins any more. */
static void step_done(struct env_job *job)
{
    struct upkeep *upkeep = container_of(job, struct upkeep, job);
    struct diskqueue *queue = queue_of(upkeep);

    upkeep->running = false;
    if (queue->closed) {
        diskqueue_free_if_idle(queue);
        return;
    }
    if (upkeep->error != 0) {
        diskqueue_fail(queue, upkeep->error);
        return;
    }
    if (step_of(upkeep) != STEP_FILL || upkeep->bytes == upkeep->bytes_wanted)
        upkeep->step++;
    if (step_of(upkeep) != STEP_END) {
        step_start(upkeep);
        return;
    }
    task_end(queue);
    upkeep_go_on(queue);
}

/* ---- what to do ---- */

static void task_start(struct diskqueue *queue, enum upkeep_task task, unsigned spare, uint64_t begin, uint64_t bytes)
{
    struct upkeep *upkeep = &queue->upkeep;

    assert(upkeep->task == UPKEEP_NONE && upkeep->file == NULL);
    upkeep->task = task;
    upkeep->step = 0;
    upkeep->spare = spare;
    upkeep->begin = begin;
    upkeep->bytes = bytes;
    upkeep->bytes_wanted = queue->segment_bytes;
    step_start(upkeep);
}

static struct segment *oldest_unnamed(struct diskqueue *queue)
{
    size_t i = queue->segment_count;

    while (i > 0 && queue->segments[i - 1].spare != 0)
        i--;
    return i == queue->segment_count ? NULL : &queue->segments[i];
}

static struct spare *spare_in(struct diskqueue *queue, enum spare_state state)
{
    for (unsigned i = 0; i < SPARES_MAX; i++)
        if (queue->spares[i].state == state)
            return &queue->spares[i];
    return NULL;
}

struct spare *spare_ready(struct diskqueue *queue)
{
    return spare_in(queue, SPARE_READY);
}

static bool first_may_go(struct diskqueue *queue)
{
    return queue->segment_count > 1 && queue->segments[1].begin <= queue->popped_durable &&
           !BUGGIFY(queue->env, "a popped segment stays until a later flush");
}

/* Nobody reads it from here on. */
static void let_first_go(struct diskqueue *queue)
{
    struct segment first = queue->segments[0];
    struct spare *spare = spare_in(queue, SPARE_NONE);
    uint64_t bytes = SEGMENT_HEADER_BYTES + first.capacity;

    assert(first.spare == 0 && queue->segments[1].spare == 0);
    segment_close(queue, &queue->segments[0]);
    queue->segment_count--;
    memmove(queue->segments, queue->segments + 1, queue->segment_count * sizeof(first));
    if (spare == NULL || bytes < queue->segment_bytes ||
        BUGGIFY(queue->env, "a popped segment is removed although it could be recycled")) {
        task_start(queue, UPKEEP_REMOVE, 0, first.begin, bytes);
        return;
    }
    spare->state = SPARE_MADE;
    task_start(queue, UPKEEP_RECYCLE, (unsigned)(spare - queue->spares), first.begin, bytes);
}

static bool wants_spare(struct diskqueue *queue)
{
    const struct segment *last = &queue->segments[queue->segment_count - 1];

    if (spare_ready(queue) != NULL || spare_in(queue, SPARE_NONE) == NULL)
        return false;
    return queue->flushed_end - last->begin >= last->capacity / 2;
}

static void make_spare(struct diskqueue *queue)
{
    struct spare *spare = spare_in(queue, SPARE_NONE);

    spare->state = SPARE_MADE;
    task_start(queue, UPKEEP_CREATE, (unsigned)(spare - queue->spares), 0, 0);
}

void upkeep_go_on(struct diskqueue *queue)
{
    struct segment *unnamed;

    if (queue->closed || queue->error != 0 || queue->upkeep.task != UPKEEP_NONE)
        return;
    unnamed = oldest_unnamed(queue);
    if (unnamed != NULL)
        task_start(queue, UPKEEP_NAME, unnamed->spare - 1, unnamed->begin, 0);
    else if (first_may_go(queue))
        let_first_go(queue);
    else if (wants_spare(queue))
        make_spare(queue);
}

void upkeep_stop(struct diskqueue *queue)
{
    struct upkeep *upkeep = &queue->upkeep;
    enum step step = step_of(upkeep);

    if (upkeep->running && step != STEP_SYNC_NAMES && step != STEP_FILL)
        env_job_stop(queue->env, &upkeep->job);
}
