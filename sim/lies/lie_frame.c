/* Frames as net/rpc.h lays them out. A connection sends whole frames, so a send can be taken apart without memory of earlier ones. */
#define XXH_INLINE_ALL
#include "sim/lies/lie_frame.h"

#include <assert.h>
#include <xxhash.h>

#include "net/rpc.h"
#include "txn/messages.h"

enum { AT_HASH = 4, AT_TYPE = 12, AT_WHAT = 14, AT_ENDPOINT = 16, AT_REQUEST = 24 };

bool lie_name_fits(const struct sim_process *process, const char *name)
{
    size_t length = strlen(name);
    const char *rest;

    if (length == 0)
        return true;
    if (process == NULL || strncmp(process->name, name, length) != 0)
        return false;
    for (rest = process->name + length; *rest >= '0' && *rest <= '9'; rest++)
        ;
    return *rest == '\0';
}

/* Every process has a machine of its own, and the dialling side of a connection a port that nobody listens on. */
struct sim_process *lie_process_at(const struct sim_world *world, struct address address)
{
    for (size_t i = 0; i < world->process_count; i++)
        if (world->processes[i]->address.ip == address.ip)
            return world->processes[i];
    return NULL;
}

static void append(struct bytes_buffer *out, struct bytes bytes)
{
    int error = bytes_buffer_append(out, bytes);

    assert(error == 0);
}

void lie_frame_append(const struct lie_frame *frame, struct bytes_buffer *out)
{
    struct bytes_buffer body = {0};
    int error = message_encode(frame->type->schema, frame->body, &body);

    assert(error == 0);
    lie_frame_append_raw(frame, bytes_buffer_bytes(&body), out);
    bytes_buffer_done(&body);
}

void lie_frame_append_raw(const struct lie_frame *frame, struct bytes body, struct bytes_buffer *out)
{
    size_t start = out->len, length = RPC_FRAME_HEADER_BYTES + body.len;

    append(out, bytes_of(frame->whole.ptr, RPC_FRAME_HEADER_BYTES));
    append(out, body);
    put_le32(out->ptr + start, (uint32_t)(length - AT_HASH));
    put_le64(out->ptr + start + AT_REQUEST, frame->request_id);
    put_le64(out->ptr + start + AT_ENDPOINT, frame->endpoint_id);
    put_le64(out->ptr + start + AT_HASH, XXH3_64bits(out->ptr + start + AT_TYPE, length - AT_TYPE));
}

void lie_frame_reply(const struct lie_frame *request, const struct message_type *type, void *body, struct bytes_buffer *out)
{
    struct lie_frame reply = {.type = type, .body = body, .request_id = request->request_id};
    uint8_t header[RPC_FRAME_HEADER_BYTES] = {0};

    put_le16(header + AT_TYPE, type->id);
    put_le16(header + AT_WHAT, FRAME_IS_REPLY);
    reply.whole = bytes_of(header, sizeof(header));
    lie_frame_append(&reply, out);
}

static void flip(struct sim_world *world, struct bytes_buffer *out, size_t start, unsigned bits)
{
    size_t first = start + RPC_FRAME_HEADER_BYTES, count = out->len - first;

    if (count == 0) { /* no body: the header behind the length */
        first = start + AT_HASH;
        count = out->len - first;
    }
    for (unsigned i = 0; i < bits; i++) {
        uint64_t bit = sim_random_below(&world->faults, count * 8);

        out->ptr[first + bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
}

static void put_frame(struct sim_world *world, const struct lie_frame *frame, struct bytes_buffer *out)
{
    size_t start = out->len;

    if (frame->dropped)
        return;
    if (frame->changed)
        lie_frame_append(frame, out);
    else
        append(out, frame->whole);
    if (frame->flips > 0)
        flip(world, out, start, frame->flips);
}

static bool parse(struct lie_frame *frame, const bool *wanted)
{
    uint16_t type = get_le16(frame->whole.ptr + AT_TYPE);

    frame->what = get_le16(frame->whole.ptr + AT_WHAT);
    if (type >= MESSAGE_ID_END || message_types[type] == NULL || !wanted[type] || frame->what == FRAME_IS_ERROR)
        return false;
    frame->type = message_types[type];
    frame->endpoint_id = get_le64(frame->whole.ptr + AT_ENDPOINT);
    frame->request_id = get_le64(frame->whole.ptr + AT_REQUEST);
    frame->body = arena_zalloc(&frame->arena, frame->type->schema->size);
    return message_decode(frame->type->schema,
                          bytes_of(frame->whole.ptr + RPC_FRAME_HEADER_BYTES, frame->whole.len - RPC_FRAME_HEADER_BYTES),
                          &frame->arena, frame->body) == 0;
}

void lie_frames(struct sim_world *world, struct sim_process *from, struct address to, struct bytes_buffer *data,
                const bool *wanted, void (*look)(void *ctx, struct lie_frame *frame), void *ctx)
{
    struct bytes rest = bytes_buffer_bytes(data);
    struct bytes_buffer out = {0};

    while (rest.len >= RPC_FRAME_HEADER_BYTES) {
        size_t length = (size_t)get_le32(rest.ptr) + AT_HASH;
        struct lie_frame frame = {.from = from, .to = lie_process_at(world, to), .out = &out};

        if (length < RPC_FRAME_HEADER_BYTES || length > rest.len)
            break;
        frame.whole = bytes_of(rest.ptr, length);
        if (parse(&frame, wanted))
            look(ctx, &frame);
        put_frame(world, &frame, &out);
        arena_done(&frame.arena);
        rest = bytes_of(rest.ptr + length, rest.len - length);
    }
    append(&out, rest); /* no frame: a liar's own bytes */
    bytes_buffer_done(data);
    *data = out;
}
