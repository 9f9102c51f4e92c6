/* Takes a frame apart (net/rpc.h has the format) and prints its body with its type's printer. */
#include "sim/describe.h"

#include <inttypes.h>

#include "net/error.h"
#include "net/rpc.h"
#include "txn/messages.h"

enum { FLAG_REPLY = 1, FLAG_ERROR = 2, TYPE_HELLO = 1, TYPE_PING = 2, TYPE_PONG = 3, MSGPACK_U16 = 0xcd };

static const char *own_name(unsigned type)
{
    return type == TYPE_HELLO ? "hello" : type == TYPE_PING ? "ping" : type == TYPE_PONG ? "pong" : "";
}

static void describe_body(const struct message_type *type, struct bytes body, char *out, size_t out_size)
{
    struct message *message;

    if (type == NULL || message_from_packed(type, body, &message) != 0)
        return;
    message_print(type->schema, message->body, out, out_size);
    message_unref(message);
}

/* An error's body is an array of one number (net/rpc.h): its last bytes. */
static void describe_error(struct bytes body, char *out, size_t out_size)
{
    unsigned code = body.len == 0 ? 0 : body.ptr[body.len - 1];

    if (body.len >= 3 && body.ptr[body.len - 3] == MSGPACK_U16)
        code |= (unsigned)body.ptr[body.len - 2] << 8;
    snprintf(out, out_size, "%s", error_name((int)code));
}

void sim_describe_frame(struct bytes frame, bool with_body, char *out, size_t out_size)
{
    unsigned type_id = get_le16(frame.ptr + 12), flags = get_le16(frame.ptr + 14);
    const struct message_type *type = type_id < MESSAGE_ID_END ? message_types[type_id] : NULL;
    struct bytes body = bytes_of(frame.ptr + RPC_FRAME_HEADER_BYTES, frame.len - RPC_FRAME_HEADER_BYTES);
    int used = snprintf(out, out_size, "%s%s%s(%u) endpoint=%" PRIx64 " request=%" PRIu64 " ",
                        (flags & FLAG_REPLY) != 0 ? "reply " : "", (flags & FLAG_ERROR) != 0 ? "error " : "",
                        type == NULL ? own_name(type_id) : type->name, type_id, get_le64(frame.ptr + 16),
                        get_le64(frame.ptr + 24));

    if (used < 0 || (size_t)used >= out_size)
        return;
    if ((flags & FLAG_ERROR) != 0)
        describe_error(body, out + used, out_size - (size_t)used);
    else if (with_body)
        describe_body(type, body, out + used, out_size - (size_t)used);
}

void sim_describe_roles(const struct sim_process *process, char *out, size_t out_size)
{
    uint32_t kinds = sim_cluster_role_kinds(process);
    size_t used = 0;

    out[0] = '\0';
    for (unsigned kind = 1; kind < ROLE_KINDS; kind++)
        if ((kinds >> kind & 1) != 0 && used < out_size)
            used += (size_t)snprintf(out + used, out_size - used, " %s", role_kind_name((enum role_kind)kind));
}

void sim_describe_actors(struct sim_cluster *cluster)
{
    for (unsigned i = 0; i < cluster->client_count; i++) {
        const struct sim_client *client = &cluster->clients[i];

        list_each (link, after, &client->actors) {
            const struct sim_actor *actor = list_entry(link, struct sim_actor, link);

            if (actor->ended)
                continue;
            sim_set_cause(client->world, actor->wait_line);
            sim_say(client->world, client->process, "WAITS actor %u since %.6f", actor->index,
                    (double)actor->wait_since_us / 1e6);
        }
    }
    sim_set_cause(cluster->world, 0);
}
