/* Faults that know what a frame is (net/rpc.h has the format): what arrives twice, what arrives again after epochs, and what a
 * process of another version says.
 *
 * A copy travels on a connection of its own that nobody has dialled: the hello of the one it was taken from, then the frames.
 * Its near end is a ghost: what the receiver answers is lost. Frames that no receiver can know to be repeated, because nothing in
 * them says so and TCP never repeats them (a client's commit), are not copied. */
#include <assert.h>
#include <xxhash.h>

#include "net/mem.h"
#include "net/rpc.h"
#include "sim/sim_net_internal.h"
#include "txn/messages.h"

enum { AT_HASH = 4, AT_TYPE = 12, AT_WHAT = 14, RECORDS_MAX = 256, RECORD_ONE_IN = 8, COPY_BYTES_MAX = 1 << 16 };
enum { ARRAY_16 = 0xdc, FIXED_ARRAY = 0x90, FIXED_ARRAY_MAX = 15, NIL = 0xc0, UNSIGNED_64 = 0xcf };

struct record {
    struct sim_process *from; /* borrowed */
    struct address to;
    struct bytes_buffer bytes; /* hello, then frames */
};

struct sim_net_recorder {
    struct sim_random random;
    struct record records[RECORDS_MAX];
    size_t count;
};

/* The frame at the start of data, or nothing when it is no whole one. */
static struct bytes first_frame(struct bytes data)
{
    uint64_t length = data.len < RPC_FRAME_HEADER_BYTES ? 0 : (uint64_t)get_le32(data.ptr) + AT_HASH;

    return length < RPC_FRAME_HEADER_BYTES || length > data.len ? bytes_none() : bytes_of(data.ptr, (size_t)length);
}

static bool may_repeat(unsigned type)
{
    return type >= RPC_TYPE_FIRST && type != MESSAGE_commit && type != MESSAGE_create_database && type != MESSAGE_reboot_process;
}

/* Nothing but whole frames, each of which may arrive twice. */
static bool all_may_repeat(struct bytes data)
{
    if (data.len > COPY_BYTES_MAX)
        return false;
    while (data.len != 0) {
        struct bytes frame = first_frame(data);

        if (frame.len == 0 || !may_repeat(get_le16(frame.ptr + AT_TYPE)))
            return false;
        data = bytes_of(data.ptr + frame.len, data.len - frame.len);
    }
    return true;
}

static void append(struct bytes_buffer *buffer, struct bytes data)
{
    if (bytes_buffer_append(buffer, data) != 0)
        assert(false);
}

/* ---- copies ---- */

static void send_copy(struct sim_process *from, struct address to, struct bytes bytes, int64_t delay_us)
{
    struct sim_world *world = from->world;
    struct sim_link *link = link_create(from, to);
    struct chunk *chunk = chunk_take(world, CHUNK_DATA);

    link->ghost = true;
    append(&chunk->data, bytes);
    pipe_append(&link->pipes[1], chunk_take(world, CHUNK_SYN), delay_us);
    link->pipes[1].window_used += bytes.len;
    pipe_append(&link->pipes[1], chunk, 0);
    pipe_append_fin(&link->pipes[1], ERROR_CONNECTION_FAILED, SIM_SECOND_US);
    world->net.copies++;
    chunk->cause = sim_note_as(world, from, "copy", XXH3_64bits(bytes.ptr, bytes.len), "copy of %zu bytes that it once sent",
                               bytes.len);
}

/* Where somebody listens for what flows this way, and who sends it. */
static bool has_record(const struct sim_link *link)
{
    return !link->ghost && link->hello.len != 0;
}

static void duplicate(struct sim_link *link, struct bytes data)
{
    struct sim_world *world = world_of(link);
    struct bytes_buffer bytes = {0};

    append(&bytes, bytes_buffer_bytes(&link->hello));
    append(&bytes, data);
    send_copy(link->processes[0], link->to, bytes_buffer_bytes(&bytes),
              sim_random_range(&world->faults, 0, sim_random_one_in(&world->faults, 4) ? SIM_SECOND_US : 5000));
    bytes_buffer_done(&bytes);
}

static void record(struct sim_link *link, struct bytes data)
{
    struct sim_net_recorder *recorder = world_of(link)->net.recorder;
    struct record *into;

    if (!sim_random_one_in(&recorder->random, RECORD_ONE_IN))
        return;
    into = &recorder->records[recorder->count < RECORDS_MAX ? recorder->count++
                                                            : sim_random_below(&recorder->random, RECORDS_MAX)];
    into->from = link->processes[0];
    into->to = link->to;
    into->bytes.len = 0;
    append(&into->bytes, bytes_buffer_bytes(&link->hello));
    append(&into->bytes, data);
}

void net_sent(struct sim_link *link, unsigned to, struct bytes data)
{
    struct sim_world *world = world_of(link);
    unsigned one_in = world->settings.duplicate_one_in;
    bool twice = one_in != 0 && sim_random_one_in(&world->faults, one_in);

    if (to != 1)
        return;
    if (link->hello.len == 0) { /* what queued up before the connection was there is sent in one piece with it */
        append(&link->hello, first_frame(data));
        data = bytes_of(data.ptr + link->hello.len, data.len - link->hello.len);
    }
    if ((!twice && world->net.recorder == NULL) || !has_record(link) || data.len == 0 || !all_may_repeat(data))
        return;
    if (twice)
        duplicate(link, data);
    if (world->net.recorder != NULL)
        record(link, data);
}

void sim_net_record(struct sim_world *world)
{
    if (world->net.recorder != NULL)
        return;
    world->net.recorder = sim_zalloc(sizeof(*world->net.recorder));
    world->net.recorder->random = sim_random_stream(world->seed, 101);
}

bool sim_net_replay(struct sim_world *world)
{
    struct sim_net_recorder *recorder = world->net.recorder;
    const struct record *chosen;

    if (recorder == NULL || recorder->count == 0)
        return false;
    chosen = &recorder->records[sim_random_below(&recorder->random, recorder->count)];
    send_copy(chosen->from, chosen->to, bytes_buffer_bytes(&chosen->bytes), 0);
    return true;
}

void net_recorder_done(struct sim_world *world)
{
    struct sim_net_recorder *recorder = world->net.recorder;

    if (recorder == NULL)
        return;
    for (size_t i = 0; i < recorder->count; i++)
        bytes_buffer_done(&recorder->records[i].bytes);
    mem_free(recorder);
    world->net.recorder = NULL;
}

/* ---- other versions ---- */

static void hash_frame(uint8_t *frame, size_t len)
{
    put_le32(frame, (uint32_t)(len - AT_HASH));
    put_le64(frame + AT_HASH, XXH3_64bits(frame + AT_TYPE, len - AT_TYPE));
}

/* Requests that came with a later version, and that whoever asks them does without: from a newer process they come as what nobody here
 * knows, as they would come to an older one. */
static bool is_addition(struct bytes frame)
{
    uint16_t type = get_le16(frame.ptr + AT_TYPE);

    return get_le16(frame.ptr + AT_WHAT) == 0 && (type == MESSAGE_get_resolver_load || type == MESSAGE_get_range_digest);
}

/* The frame with one value more at the end of its body's array: what a later minor version may add. */
static void append_newer(struct bytes_buffer *out, struct bytes frame)
{
    size_t start = out->len;
    uint8_t head = frame.len > RPC_FRAME_HEADER_BYTES ? frame.ptr[RPC_FRAME_HEADER_BYTES] : 0;
    static const uint8_t nil = NIL;

    if ((head & 0xf0) != FIXED_ARRAY) {
        append(out, frame);
        return;
    }
    append(out, bytes_of(frame.ptr, RPC_FRAME_HEADER_BYTES));
    if ((head & 0x0f) < FIXED_ARRAY_MAX) {
        head++;
        append(out, bytes_of(&head, 1));
    } else {
        append(out, bytes_of((const uint8_t[]){ARRAY_16, 0, FIXED_ARRAY_MAX + 1}, 3));
    }
    append(out, bytes_of(frame.ptr + RPC_FRAME_HEADER_BYTES + 1, frame.len - RPC_FRAME_HEADER_BYTES - 1));
    append(out, bytes_of(&nil, 1));
    if (is_addition(frame))
        put_le16(out->ptr + start + AT_TYPE, UINT16_MAX);
    hash_frame(out->ptr + start, out->len - start);
}

void net_speak_newer(struct bytes_buffer *data)
{
    struct bytes left = bytes_buffer_bytes(data);
    struct bytes_buffer out = {0};

    while (left.len != 0) {
        struct bytes frame = first_frame(left);

        if (frame.len == 0)
            break;
        append_newer(&out, frame);
        left = bytes_of(left.ptr + frame.len, left.len - frame.len);
    }
    append(&out, left);
    bytes_buffer_done(data);
    *data = out;
}

/* The version is the first field of a hello. */
void net_speak_foreign(struct bytes_buffer *data)
{
    struct bytes frame = first_frame(bytes_buffer_bytes(data));
    uint8_t *version = data->ptr + RPC_FRAME_HEADER_BYTES + 1;

    if (frame.len < RPC_FRAME_HEADER_BYTES + 10 || get_le16(frame.ptr + AT_TYPE) >= RPC_TYPE_FIRST || *version != UNSIGNED_64)
        return;
    version[8] ^= 2;
    hash_frame(data->ptr, frame.len);
}
