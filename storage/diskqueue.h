/* The disk queue: frames appended in order, made durable together, read back by position, popped from the front.
 *
 * The only module that appends to and recovers files: log servers, Raft and the memory engine use it, so tearing is solved
 * once. A queue is a directory of segments, preallocated and zero-filled (a sync has no metadata to write) and recycled.
 * Frame format and what makes a frame valid: diskqueue.c.
 *
 * Positions are logical byte offsets that only grow; a frame is named by the position of its first byte. Appended frames
 * are collected and written at diskqueue_commit; they are durable when the commit completes. At most 2 commits' syncs
 * overlap; commits complete in order. After a failed write or sync nothing is retried: every later call and commit fails with
 * the same error, and the owner ends itself.
 *
 * On opening, a bad frame below the highest synced position that a later valid frame names is damage: ERROR_FILE_CORRUPT.
 * At or above it, it is a torn tail: it is cut off, and the cut is durable before anything is appended. */
#pragma once

#include "net/arena.h"
#include "net/env.h"
#include "net/op.h"

struct diskqueue;

struct diskqueue_options {
    const char *directory; /* exists or is made; borrowed during the call */
    uint64_t file_id;      /* of whoever owns the queue; a frame of another id is never valid */
    uint64_t segment_bytes;      /* of later segments; one grows where a frame is larger, or while the next is not ready */
    uint64_t first_segment_bytes; /* small, so that creating is quick */
    bool must_exist;       /* else an absent one is created, empty */
};

/* One frame, while opening. `data` is borrowed during the call. Non-zero stops the opening with that error. */
typedef int diskqueue_replay(void *ctx, uint64_t position, uint64_t end, struct bytes data);

/* Opens (blocking: reads every segment from the disk, not from the page cache) and replays every valid frame from the oldest
 * kept segment on, in order (popped frames of the first kept segment too). 0, ERROR_FILE_CORRUPT (trace names file and
 * offset), ERROR_IO_ERROR, ERROR_FILE_NOT_FOUND, or what replay returned. */
int diskqueue_open(struct env *env, const struct diskqueue_options *options, diskqueue_replay *replay, void *ctx,
                   struct diskqueue **ret_queue);
/* Commits under way must have completed or been cancelled; files close when the last sync is back. Accepts NULL. */
void diskqueue_close(struct diskqueue *queue);
/* Removes a closed queue's files and directory. One that could only be removed in part is absent from then on: opening it removes the
 * rest. */
int diskqueue_remove(struct env *env, const char *directory);

/* Copies the parts into one frame. *ret_position names it. 0 or the sticky error. */
int diskqueue_append(struct diskqueue *queue, const struct bytes *parts, unsigned part_count, uint64_t *ret_position);
/* Where the next frame will begin: everything below is appended. */
uint64_t diskqueue_end(const struct diskqueue *queue);
/* Everything below is known durable. */
uint64_t diskqueue_durable_end(const struct diskqueue *queue);
uint64_t diskqueue_begin(const struct diskqueue *queue); /* the oldest position still kept */

/* A wait: completes when everything appended before the call is durable; error says so if not. Several waits share syncs. */
struct diskqueue_commit {
    struct wait wait;
    int error;
    uint64_t end;
    struct list link; /* the queue's */
};
void diskqueue_commit(struct diskqueue *queue, struct diskqueue_commit *commit, struct op *op);

/* Frames below `position` are no longer needed; whole segments below are recycled or removed. Takes effect on disk with later
 * commits; never ahead of what is durable. */
void diskqueue_pop(struct diskqueue *queue, uint64_t position);

/* Reads the frame at `position` back from disk (below durable_end), checked; *ret_data lives in the arena; *ret_next is the next frame's
 * position. ERROR_FILE_CORRUPT, ERROR_IO_ERROR, ERROR_OUT_OF_MEMORY. */
int diskqueue_read(struct diskqueue *queue, uint64_t position, struct arena *arena, struct bytes *ret_data,
                   uint64_t *ret_next);

struct diskqueue_status {
    uint64_t begin, end, durable_end;
    uint64_t file_bytes;
    uint32_t popped_segments; /* all of each is popped, and it is still there */
    uint64_t commits, syncs, bytes_written;
    int error; /* sticky, 0 */
};
void diskqueue_status(const struct diskqueue *queue, struct diskqueue_status *ret_status);

/* ---- two slots ----
 * A small record that is replaced as a whole: Raft's term and vote, a process's identity. Two slots of one file are written in
 * turn, each with a sequence number and a hash; reading takes the newest valid one. Writing never damages the other. */
enum { SLOTS_RECORD_BYTES_MAX = 4000 };
struct slots;
/* *ret_record (in the arena) has len 0 when the file is new. ERROR_FILE_CORRUPT when it exists and no slot is valid. */
int slots_open(struct env *env, const char *path, struct arena *arena, struct bytes *ret_record, struct slots **ret_slots);
/* Blocking: durable when it returns 0. For identities and start-up. */
int slots_write_now(struct slots *slots, struct bytes record);
/* Writes at once and syncs through `sync` (net/op.h); durable when that completes without an error. One at a time. */
int slots_write(struct slots *slots, struct bytes record, struct wait_sync *sync, struct op *op);
void slots_close(struct slots *slots);
