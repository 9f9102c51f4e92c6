/* The inside of the disk queue, shared by diskqueue.c, diskqueue_open.c, diskqueue_segment.c and diskqueue_frame.c alone. */
#pragma once

#include "net/arena.h"
#include "storage/diskqueue.h"

enum {
    SEGMENT_HEADER_BYTES = 4096, /* a block of its own: a torn frame never takes the header along */
    SEGMENT_BYTES_MIN = 8192,
    SEGMENT_FORMAT = 1,
    FRAME_HEADER_BYTES = 32,
    FRAME_ALIGN = 8,
    FRAME_DATA_BYTES_MAX = 1 << 30,
    DISKQUEUE_BATCHES_MAX = 2,   /* syncs that overlap */
    DISKQUEUE_PATH_MAX = 4096,
    PENDING_KEEP_BYTES = 4 << 20 /* a larger buffer is given back after its flush */
};

/* Nothing was ever appended that far; so positions in a segment never wrap. */
#define SEGMENT_BEGIN_MAX (UINT64_C(1) << 62)

/* ---- frames (diskqueue_frame.c) ---- */

struct frame {
    struct bytes data; /* borrowed from what was checked */
    uint64_t synced;   /* everything below was durable when the frame was appended */
    uint64_t popped;   /* everything below was no longer needed */
    uint64_t bytes;    /* header, data and padding */
};

static inline uint64_t frame_bytes(uint64_t data_bytes)
{
    return (FRAME_HEADER_BYTES + data_bytes + FRAME_ALIGN - 1) & ~(uint64_t)(FRAME_ALIGN - 1);
}

/* Fills in the header; the data already stands behind it, the padding is zero. */
void frame_seal(uint8_t *at, uint64_t file_id, uint64_t position, uint32_t length, uint64_t synced, uint64_t popped);
/* The data length of what looks like a frame's header at `position`; false if it is none. `at` has FRAME_HEADER_BYTES. */
bool frame_peek(const uint8_t *at, uint64_t file_id, uint64_t position, uint32_t *ret_length);
/* True if `from` begins with the whole, valid frame of this position. */
bool frame_check(struct bytes from, uint64_t file_id, uint64_t position, struct frame *ret_frame);

struct segment_header {
    uint64_t file_id;
    uint64_t begin;
    uint64_t synced, popped; /* as in a frame */
};
void segment_header_encode(const struct segment_header *header, uint8_t out[SEGMENT_HEADER_BYTES]);
/* 0, ERROR_FILE_CORRUPT or ERROR_UNSUPPORTED_FORMAT_VERSION. */
int segment_header_decode(const uint8_t in[SEGMENT_HEADER_BYTES], struct segment_header *ret_header);

/* ---- the queue ---- */

struct segment {
    uint64_t begin;        /* position of its first frame; its file's name */
    uint64_t capacity;     /* bytes for frames */
    struct env_file *file; /* NULL while closed; the last one's is always open */
};

/* The sync of a spare that has just been filled, so that its zeros are on disk before it is needed. Outlives the queue's
 * interest in the file. */
struct spare_sync {
    struct env_sync sync;
    struct diskqueue *queue;
    struct env_file *file;
    bool close_file; /* its segment is gone: close when the sync is back */
};

struct diskqueue {
    struct env *env;
    char *directory; /* owned */
    uint64_t file_id;
    uint64_t segment_bytes;
    struct segment *segments; /* owned, oldest first, never empty once open */
    size_t segment_count, segment_room;
    struct bytes_buffer pending; /* the frames of [flushed_end, end) */
    uint64_t end, flushed_end, durable_end;
    uint64_t popped;         /* asked for */
    uint64_t popped_named;   /* what the newest appended frame says */
    uint64_t popped_durable; /* named by a durable frame: segments below may go */
    struct list waiting;     /* struct diskqueue_commit, in order of their end */
    struct list batches;     /* struct batch, oldest first */
    unsigned batch_count;
    struct ready flush_hook; /* at the end of the turn */
    struct ready answer;     /* for commits that have nothing to wait for */
    struct env_file *spare;  /* NULL or the next segment's file, named "spare" */
    uint64_t spare_bytes;    /* of it that are filled */
    struct spare_sync *spare_sync; /* NULL or under way */
    uint64_t commits, syncs, bytes_written;
    int error; /* sticky */
    bool closed;
};

/* ---- segments (diskqueue_segment.c) ---- */

void segment_path(const struct diskqueue *queue, uint64_t begin, char out[DISKQUEUE_PATH_MAX]);
/* "<16 hexadecimal digits>.queue" */
bool segment_name_parse(const char *name, uint64_t *ret_begin);
void queue_path(const char *directory, const char *name, char out[DISKQUEUE_PATH_MAX]);
/* Adds to the end of the array. 0 or ERROR_OUT_OF_MEMORY. */
int segments_push(struct diskqueue *queue, struct segment segment);
struct segment *segments_find(struct diskqueue *queue, uint64_t position);
uint64_t segment_end(const struct diskqueue *queue, const struct segment *segment);
void segment_close(struct diskqueue *queue, struct segment *segment);
int segment_write_header(struct diskqueue *queue, struct env_file *file, uint64_t begin);
/* Makes room for a frame of `bytes` at `position`, the end of what was written. Blocks for a directory sync. */
int segments_advance(struct diskqueue *queue, uint64_t position, uint64_t bytes);
/* After a flush: lets popped segments go, fills the spare, closes files that nobody reads. */
int segments_maintain(struct diskqueue *queue, uint64_t flushed_bytes);

/* Fails the queue for good: every waiting commit completes with the error. */
void diskqueue_fail(struct diskqueue *queue, int error);
/* Frees a queue whose last sync is back. */
void diskqueue_free(struct diskqueue *queue);
void diskqueue_free_if_idle(struct diskqueue *queue);
struct diskqueue *diskqueue_alloc(struct env *env, const struct diskqueue_options *options);
