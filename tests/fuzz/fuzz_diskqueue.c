/* Any bytes in a disk queue's files. What is replayed follows without a gap, lies between the ends, reads back, and a queue
 * that opened once opens again with the same frames; bytes flipped or cut in honest files never become a frame that was not
 * appended. */
#include <assert.h>
#include <stdio.h>
#include <xxhash.h>

#include "net/error.h"
#include "net/mem.h"
#include "storage/diskqueue_impl.h"
#include "tests/fuzz/feed.h"
#include "tests/fuzz/fuzz_env.h"
#include "tests/fuzz/fuzz_input.h"

enum { FILE_ID = 7, FRAMES_MAX = 64, SEGMENT = 16384 };

struct kept {
    uint64_t position[FRAMES_MAX], next[FRAMES_MAX], hash[FRAMES_MAX];
    unsigned count;
};

struct queue_play {
    struct fuzz_env *fuzz;
    struct feed feed;
    struct op_list ops;
    struct diskqueue *queue;
    struct kept written, seen;
    bool honest;
};

static int on_frame(void *ctx, uint64_t position, uint64_t end, struct bytes data)
{
    struct queue_play *play = ctx;
    struct kept *seen = &play->seen;
    uint64_t hash = XXH3_64bits(data.ptr, data.len); /* of the library, which is not slowed down by sanitizers */
    bool known = !play->honest;

    assert(end > position && data.len <= end - position);
    assert(seen->count == 0 || seen->next[(seen->count - 1) % FRAMES_MAX] == position);
    for (unsigned i = 0; i < play->written.count; i++)
        known |= play->written.position[i] == position && play->written.hash[i] == hash;
    assert(known);
    seen->position[seen->count % FRAMES_MAX] = position;
    seen->hash[seen->count % FRAMES_MAX] = hash;
    seen->next[seen->count++ % FRAMES_MAX] = end;
    return 0;
}

static int open_queue(struct queue_play *play)
{
    struct diskqueue_options options = {
        .directory = "queue", .file_id = FILE_ID, .segment_bytes = SEGMENT, .first_segment_bytes = SEGMENT / 2};

    play->seen.count = 0;
    return diskqueue_open(&play->fuzz->env, &options, on_frame, play, &play->queue);
}

struct commit_op {
    struct op op;
    struct diskqueue_commit commit;
};

static enum op_result run_commit(struct op *op)
{
    struct commit_op *self = container_of(op, struct commit_op, op);
    struct queue_play *play = op->owner->owner;

    diskqueue_commit(play->queue, &self->commit, op);
    return op_wait(op, 1);
}

static enum op_result run_done(struct op *op)
{
    return op_finish(op, 0);
}

static const struct op_stage stages[] = {{"COMMIT", run_commit, OP_STAGE(1)}, {"DONE", run_done, 0}};

static void nothing_more(struct op *op)
{
    (void)op;
}

static const struct op_type type = {"fuzz_commit", stages, 2, READY_COMMIT, nothing_more};

static void commit(struct queue_play *play)
{
    struct commit_op self = {0};

    op_start(&self.op, &type, &play->ops);
    fuzz_env_run(play->fuzz, 6, 10);
    op_cancel_all(&play->ops);
}

static void append(struct queue_play *play, size_t len)
{
    uint8_t *data = mem_zalloc(len + 1);
    struct bytes part = bytes_of(data, len);
    struct kept *written = &play->written;
    uint64_t position;

    memset(data, feed_byte(&play->feed), len);
    if (diskqueue_append(play->queue, &part, 1, &position) == 0 && written->count < FRAMES_MAX) {
        written->position[written->count] = position;
        written->next[written->count] = diskqueue_end(play->queue);
        written->hash[written->count++] = XXH3_64bits(part.ptr, part.len);
    }
    mem_free(data);
}

static void write_honestly(struct queue_play *play)
{
    unsigned count = feed_below(&play->feed, 24);

    assert(open_queue(play) == 0);
    for (unsigned i = 0; i < count; i++) {
        append(play, feed_raw(&play->feed, 1) * (feed_below(&play->feed, 8) == 0 ? 40 : 3));
        if (feed_below(&play->feed, 3) == 0)
            commit(play);
        if (feed_below(&play->feed, 8) == 1 && play->written.count > 0)
            diskqueue_pop(play->queue, play->written.position[feed_below(&play->feed, play->written.count)]);
    }
    commit(play);
    diskqueue_close(play->queue);
    fuzz_env_run(play->fuzz, 4, 10);
}

static void damage(struct queue_play *play)
{
    const char *path = fuzz_file_nth(play->fuzz, feed_byte(&play->feed));
    unsigned count = feed_below(&play->feed, 4);
    struct bytes content;
    uint8_t *at;

    for (unsigned i = 0; i < count && path != NULL; i++) {
        content = fuzz_file_content(play->fuzz, path, &at);
        if (content.len == 0)
            return;
        if (feed_below(&play->feed, 4) == 0)
            fuzz_file_cut(play->fuzz, path, feed_raw(&play->feed, 3) % content.len);
        else
            at[feed_raw(&play->feed, 2) % content.len] ^= (uint8_t)(1 + feed_byte(&play->feed));
        path = fuzz_file_nth(play->fuzz, feed_byte(&play->feed));
    }
}

/* Segments whose hashes fit, over numbers that nobody wrote. */
static void invent(struct queue_play *play)
{
    unsigned count = 1 + feed_below(&play->feed, 3);

    assert(env_dir_make(&play->fuzz->env, "queue") == 0);
    for (unsigned i = 0; i < count; i++) {
        uint8_t *file = mem_zalloc(SEGMENT_HEADER_BYTES + SEGMENT);
        uint64_t begin = feed_number(&play->feed) * 8;
        struct segment_header header = {FILE_ID, feed_below(&play->feed, 8) == 0 ? feed_number(&play->feed) : begin,
                                        feed_number(&play->feed), feed_number(&play->feed)};
        char path[DISKQUEUE_PATH_MAX];
        size_t at = 0;

        segment_header_encode(&header, file);
        while (feed_below(&play->feed, 4) != 0 && at + 4096 < SEGMENT) {
            uint32_t length = (uint32_t)feed_raw(&play->feed, 1) * 8;
            uint64_t position = begin + at, synced = feed_number(&play->feed), popped = feed_number(&play->feed);

            synced = synced > position ? position : synced;
            popped = popped > synced ? synced : popped;
            frame_seal(file + SEGMENT_HEADER_BYTES + at, FILE_ID, position, length, synced, popped);
            at += frame_bytes(length);
        }
        feed_saw(&play->feed, (begin + at) / 8);
        feed_saw(&play->feed, begin + at);
        if (feed_below(&play->feed, 4) == 3)
            spare_path("queue", feed_below(&play->feed, SPARES_MAX), path);
        else
            segment_path("queue", begin, path);
        fuzz_file_put(play->fuzz, path, bytes_of(file, SEGMENT_HEADER_BYTES + (feed_below(&play->feed, 4) ? SEGMENT : at)));
        mem_free(file);
    }
}

static void read_back(struct queue_play *play)
{
    uint64_t durable = diskqueue_durable_end(play->queue);

    for (unsigned i = 0; i < play->seen.count && i < FRAMES_MAX; i++) {
        struct arena arena = {0};
        struct bytes data;
        uint64_t next;
        int error;

        if (play->seen.position[i] < diskqueue_begin(play->queue) || play->seen.next[i] > durable)
            continue;
        error = diskqueue_read(play->queue, play->seen.position[i], &arena, &data, &next);
        assert(error == 0 && XXH3_64bits(data.ptr, data.len) == play->seen.hash[i] && next == play->seen.next[i]);
        arena_done(&arena);
    }
}

/* What opened goes on: it takes a frame, and has it after it is opened again. */
static void go_on(struct queue_play *play)
{
    uint64_t end = diskqueue_end(play->queue);
    unsigned seen = play->seen.count;

    read_back(play);
    append(play, 10);
    commit(play);
    diskqueue_close(play->queue);
    fuzz_env_run(play->fuzz, 4, 10);
    if (end > UINT64_MAX / 2)
        return;
    assert(open_queue(play) == 0);
    assert(play->seen.count > 0 && play->seen.count <= seen + 1);
    diskqueue_close(play->queue);
    fuzz_env_run(play->fuzz, 4, 10);
}

int fuzz_input(const uint8_t *data, size_t size)
{
    struct queue_play play = {.fuzz = fuzz_env_create()};
    int error;

    feed_init(&play.feed, data, size, (struct address){0});
    op_list_init(&play.ops, &play.fuzz->env, &play);
    play.honest = feed_below(&play.feed, 2) == 0;
    if (play.honest)
        write_honestly(&play);
    else
        invent(&play);
    damage(&play);
    error = open_queue(&play);
    assert(error == 0 || error == ERROR_FILE_CORRUPT || error == ERROR_UNSUPPORTED_FORMAT_VERSION || error == ERROR_IO_ERROR);
    if (error == 0)
        go_on(&play);
    fuzz_env_destroy(play.fuzz);
    return 0;
}
