/* Takes the frames of a send apart (net/rpc.h has the format) and prints each with its type's printer. */
#include "sim/describe.h"

#include <inttypes.h>

#include "net/rpc.h"
#include "txn/messages.h"

enum { BODY_TEXT_MAX = 400, FLAG_REPLY = 1, FLAG_ERROR = 2 };

static const char *process_name(const struct sim_world *world, struct address address)
{
    for (size_t i = 0; i < world->process_count; i++)
        if (world->processes[i]->address.ip == address.ip)
            return world->processes[i]->name;
    return "?";
}

static void describe_body(const struct message_type *type, struct bytes body, char out[BODY_TEXT_MAX])
{
    struct message *message;

    out[0] = '\0';
    if (type == NULL || message_from_packed(type, body, &message) != 0)
        return;
    message_print(type->schema, message->body, out, BODY_TEXT_MAX);
    message_unref(message);
}

static void describe_frame(struct sim_world *world, const struct sim_process *from, struct address to, struct bytes frame)
{
    uint16_t type_id = get_le16(frame.ptr + 12), flags = get_le16(frame.ptr + 14);
    const struct message_type *type = type_id < MESSAGE_ID_END ? message_types[type_id] : NULL;
    const char *name = type == NULL ? "" : type->name;
    char body[BODY_TEXT_MAX] = "";

    if ((flags & FLAG_ERROR) == 0)
        describe_body(type, bytes_of(frame.ptr + RPC_FRAME_HEADER_BYTES, frame.len - RPC_FRAME_HEADER_BYTES), body);
    sim_say(world, from, "> %s %s%s%s(%u) endpoint=%" PRIx64 " request=%" PRIu64 " %s", process_name(world, to),
            (flags & FLAG_REPLY) != 0 ? "reply " : "", (flags & FLAG_ERROR) != 0 ? "error " : "", name, type_id,
            get_le64(frame.ptr + 16), get_le64(frame.ptr + 24), body);
}

void sim_describe_frames(struct sim_world *world, const struct sim_process *from, struct address to, struct bytes data)
{
    while (data.len >= RPC_FRAME_HEADER_BYTES) {
        uint64_t length = (uint64_t)get_le32(data.ptr) + 4;

        if (length < RPC_FRAME_HEADER_BYTES || length > data.len)
            return;
        describe_frame(world, from, to, bytes_of(data.ptr, (size_t)length));
        data = bytes_of(data.ptr + length, data.len - (size_t)length);
    }
}
