/* The inside of the disk queue, shared by diskqueue*.c alone. */
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
    PENDING_KEEP_BYTES = 4 << 20, /* a larger buffer is given back after its flush */
    SPARES_MAX = 3,              /* segments to be: popped ones, mostly */
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
    struct env_file *file; /* owned; NULL while closed; the last one's is always open */
    unsigned spare;        /* 0, or its file still has the name of this spare, counted from 1 */
};

enum spare_state { SPARE_NONE, SPARE_MADE /* by the upkeep */, SPARE_READY, SPARE_TAKEN /* a segment has its name */ };

/* A file that may become the next segment at any moment: its size and name are durable. */
struct spare {
    enum spare_state state;
    struct env_file *file; /* owned while it is ready */
    uint64_t bytes;
};

enum upkeep_task { UPKEEP_NONE, UPKEEP_NAME, UPKEEP_RECYCLE, UPKEEP_REMOVE, UPKEEP_CREATE };

/* What is being done to one of the files, step by step; the job's while `running`. */
struct upkeep {
    struct env_job job;
    enum upkeep_task task;
    unsigned step;
    bool running;
    int error;
    unsigned spare;               /* which */
    uint64_t begin;               /* of the segment */
    uint64_t bytes, bytes_wanted; /* that the file has, and is to have as a spare */
    struct env_file *file;        /* owned: the spare's, before it is ready */
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
    struct spare spares[SPARES_MAX];
    struct upkeep upkeep;
    uint64_t commits, syncs, bytes_written;
    int error; /* sticky */
    bool closed;
};

/* ---- segments (diskqueue_segment.c) ---- */

void segment_path(const char *directory, uint64_t begin, char out[DISKQUEUE_PATH_MAX]);
extern const char *const spare_names[SPARES_MAX];
void spare_path(const char *directory, unsigned index, char out[DISKQUEUE_PATH_MAX]);
/* "<16 hexadecimal digits>.queue" */
bool segment_name_parse(const char *name, uint64_t *ret_begin);
void queue_path(const char *directory, const char *name, char out[DISKQUEUE_PATH_MAX]);
/* Adds to the end of the array. 0 or ERROR_OUT_OF_MEMORY. */
int segments_push(struct diskqueue *queue, struct segment segment);
struct segment *segments_find(struct diskqueue *queue, uint64_t position);
uint64_t segment_end(const struct diskqueue *queue, const struct segment *segment);
/* Durable as a whole, and named: it may be closed and opened again. */
bool segment_is_sealed(const struct diskqueue *queue, const struct segment *segment);
void segment_close(struct diskqueue *queue, struct segment *segment);
int segment_write_header(struct diskqueue *queue, struct env_file *file, uint64_t begin);
/* Makes room for a frame of `bytes` at `position`, the end of what was written: in a new segment if a spare is ready. */
int segments_advance(struct diskqueue *queue, uint64_t position, uint64_t bytes);
/* Files of sealed, durable segments; reading opens them again. Keeps the number of open files small. */
void segments_close_sealed(struct diskqueue *queue);

/* ---- upkeep (diskqueue_upkeep.c) ---- */

/* NULL when none is. */
struct spare *spare_ready(struct diskqueue *queue);
/* Begins what is next to do, if anything is; after each flush, batch and task. */
void upkeep_go_on(struct diskqueue *queue);
/* When it returns, no name of the directory changes any more. */
void upkeep_stop(struct diskqueue *queue);

/* Fails the queue for good: every waiting commit completes with the error. */
void diskqueue_fail(struct diskqueue *queue, int error);
/* Frees a queue whose last sync and job are back. */
void diskqueue_free(struct diskqueue *queue);
void diskqueue_free_if_idle(struct diskqueue *queue);
struct diskqueue *diskqueue_alloc(struct env *env, const struct diskqueue_options *options);
