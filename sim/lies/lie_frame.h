/* A frame on its way out of a process, taken apart so that a lie can change it and put together again with a valid checksum. */
#pragma once

#include "net/arena.h"
#include "net/message.h"
#include "sim/world.h"

enum { FRAME_IS_REQUEST = 0, FRAME_IS_REPLY = 1, FRAME_IS_ERROR = 2 };

struct lie_frame {
    struct sim_process *from;
    struct sim_process *to; /* NULL: nobody has that address */
    const struct message_type *type;
    unsigned what; /* FRAME_IS_* */
    uint64_t endpoint_id, request_id;
    struct bytes whole; /* borrowed: as it was sent */
    void *body;         /* decoded, in the arena; to be changed at will */
    struct arena arena;
    struct bytes_buffer *out; /* what is appended here goes out in front of it */
    /* What becomes of it: set by the lie. */
    bool changed;    /* body was */
    bool dropped;
    unsigned flips;  /* bits to be flipped behind the header, without mending the checksum */
};

/* True when `name` is that of the process or, without its number, of its class ("log" of "log2"); empty: any. */
bool lie_name_fits(const struct sim_process *process, const char *name);
/* The same with a body that is not the frame's, packed or nonsense. */
void lie_frame_append_raw(const struct lie_frame *frame, struct bytes body, struct bytes_buffer *out);
/* The process that has the address, whichever port. NULL: none. */
struct sim_process *lie_process_at(const struct sim_world *world, struct address address);
/* Appends a reply to the request. */
void lie_frame_reply(const struct lie_frame *request, const struct message_type *type, void *body, struct bytes_buffer *out);
/* Takes a send apart, frame by frame, and lets look(ctx, frame) judge those whose type is `wanted` (by message id). `data` is
 * replaced by what comes out. */
void lie_frames(struct sim_world *world, struct sim_process *from, struct address to, struct bytes_buffer *data,
                const bool *wanted, void (*look)(void *ctx, struct lie_frame *frame), void *ctx);
/* Appends the frame with its present body, mended. */
void lie_frame_append(const struct lie_frame *frame, struct bytes_buffer *out);
