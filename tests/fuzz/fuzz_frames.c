/* Any bytes, in any pieces, on the connections of a process: those that others dialled, and those that it dialled itself. A
 * bad frame closes its connection; what is answered is whole frames; every call ends. */
#include <assert.h>

#include "net/error.h"
#include "net/mem.h"
#include "net/rpc_internal.h"
#include "tests/fuzz/feed.h"
#include "tests/fuzz/fuzz_env.h"
#include "tests/fuzz/fuzz_input.h"

enum { CONNS = 3, CALLS = 4, SERVED = 1000, OPS_MAX = 100 };

struct caller {
    struct op op;
    struct rpc_call call;
    struct wire_play *play;
    bool busy;
};

struct wire_play {
    struct fuzz_env *fuzz;
    struct rpc *rpc;
    struct feed feed;
    struct op_list ops;
    struct env_conn *conns[CONNS];
    struct caller callers[CALLS];
    struct list held;
};

static void on_sent(void *ctx, struct env_conn *conn, struct bytes data)
{
    struct wire_play *play = ctx;

    (void)conn;
    while (data.len > 0) {
        size_t length = data.len >= RPC_FRAME_HEADER_BYTES ? frame_length(data.ptr, RPC_FRAME_BYTES_MAX) : 0;
        struct frame frame;

        assert(length > 0 && length <= data.len && frame_parse(bytes_of(data.ptr, length), &frame));
        feed_saw(&play->feed, frame.request_id);
        data = bytes_of(data.ptr + length, data.len - length);
    }
}

static void on_request(void *ctx, struct rpc_request *request)
{
    struct wire_play *play = ctx;
    uint8_t how = feed_byte(&play->feed);

    if (request->message->type->reply == NULL || how < 0x20)
        rpc_drop(request);
    else if (how < 0x60)
        rpc_fail(request, ERROR_OPERATION_FAILED);
    else if (how < 0x80)
        list_push_back(&play->held, &request->link);
    else
        rpc_reply(request, message_create(request->message->type->reply));
}

/* ---- calls to another process ---- */

static enum op_result run_call(struct op *op)
{
    struct caller *self = container_of(op, struct caller, op);
    struct endpoint to = {{0x0a000002, 4500 + feed_below(&self->play->feed, 2)}, SERVED};
    struct message *message;

    (void)MESSAGE_NEW(get_leader, &message);
    rpc_call_start(&self->call, op, self->play->rpc, &to, message, feed_below(&self->play->feed, 2) * 500000);
    return op_wait(op, 1);
}

static enum op_result run_done(struct op *op)
{
    return op_finish(op, 0);
}

static void call_ended(struct op *op)
{
    struct caller *self = container_of(op, struct caller, op);

    rpc_call_clear(&self->call);
    self->busy = false;
}

static const struct op_stage stages[] = {{"CALL", run_call, OP_STAGE(1)}, {"DONE", run_done, 0}};
static const struct op_type call_type = {"fuzz_call", stages, 2, READY_COMMIT, call_ended};

static void call(struct wire_play *play)
{
    struct caller *caller = &play->callers[feed_below(&play->feed, CALLS)];

    if (caller->busy) {
        op_cancel(&caller->op);
        return;
    }
    *caller = (struct caller){.play = play, .busy = true};
    op_start(&caller->op, &call_type, &play->ops);
}

/* ---- bytes ---- */

static struct env_conn *conn_of(struct wire_play *play)
{
    uint8_t which = feed_byte(&play->feed);
    struct env_conn **conn = &play->conns[which % CONNS];

    if (which & 0x80) {
        struct env_conn *dialled = fuzz_dialled(play->fuzz, which & 7);

        if (dialled != NULL)
            fuzz_conn_open(dialled);
        return dialled;
    }
    if (*conn == NULL || !fuzz_conn_alive(*conn))
        *conn = fuzz_dial(play->fuzz, (struct address){0x0a000003, 1000});
    return *conn;
}

static void give_pieces(struct wire_play *play, struct env_conn *conn, struct bytes data)
{
    while (data.len > 0) {
        uint8_t how = feed_byte(&play->feed);
        size_t len = how < 0x80 || how % 64u == 0 ? data.len : how % 64u;

        len = len < data.len ? len : data.len;
        fuzz_conn_give(conn, bytes_of(data.ptr, len));
        data = bytes_of(data.ptr + len, data.len - len);
        if (how & 0x40)
            fuzz_env_run(play->fuzz, 1, 10);
    }
}

static void hello(struct wire_play *play, struct bytes_buffer *out)
{
    struct feed *feed = &play->feed;
    uint8_t how = feed_byte(feed);
    struct rpc_hello m = {.version = QUOIN_PROTOCOL_VERSION, .client = how & 1, .address = {0x0a000002, 4500}};
    struct frame head = {.type = 1};
    struct arena arena = {0};

    if (how >= 0xc0)
        feed_body(feed, &schema_rpc_hello, &arena, &m);
    (void)frame_append(out, &head, &schema_rpc_hello, &m);
    arena_done(&arena);
}

/* A frame whose hash fits; its body decodes or not. */
static void frame(struct wire_play *play, struct bytes_buffer *out)
{
    struct feed *feed = &play->feed;
    uint8_t how = feed_byte(feed);
    uint16_t id = feed_below(feed, 70);
    struct frame head = {.type = id, .what = how < 0x80 ? 0 : how % 4u, .endpoint_id = how & 1 ? SERVED : feed_number(feed),
                         .request_id = feed_number(feed)};
    const struct message_type *type = id < MESSAGE_ID_END ? message_types[id] : NULL;
    struct arena arena = {0};
    void *body;

    if (type == NULL || how >= 0xf0) {
        uint8_t header[RPC_FRAME_HEADER_BYTES];
        struct rpc_error error = {feed_byte(feed)};

        (void)frame_append(out, &head, id == 4 ? &schema_rpc_error : &schema_rpc_nothing, &error);
        if (how >= 0xf8 && out->len >= sizeof(header))
            out->ptr[feed_byte(feed) % out->len] ^= feed_byte(feed);
    } else {
        body = arena_alloc(&arena, type->schema->size);
        feed_body(feed, type->schema, &arena, body);
        (void)frame_append(out, &head, type->schema, body);
    }
    arena_done(&arena);
}

static void play_one(struct wire_play *play)
{
    static const int64_t steps[] = {10, 1000, 100000, 1000000, 3000000, 10, 10, 10};
    uint8_t what = feed_byte(&play->feed);
    struct bytes_buffer out = {0};
    struct env_conn *conn;

    if ((what & 7) == 6) {
        fuzz_env_run(play->fuzz, 1, steps[what >> 5]);
        return;
    }
    if ((what & 7) == 7 && what >= 0x40) {
        call(play);
        return;
    }
    conn = conn_of(play);
    if (conn == NULL)
        return;
    if ((what & 7) == 7)
        fuzz_conn_end(conn);
    else if ((what & 7) == 5)
        give_pieces(play, conn, feed_bytes(&play->feed, feed_below(&play->feed, 64)));
    else if ((what & 7) == 4)
        hello(play, &out);
    else
        frame(play, &out);
    give_pieces(play, conn, bytes_buffer_bytes(&out));
    bytes_buffer_done(&out);
}

int fuzz_input(const uint8_t *data, size_t size)
{
    struct rpc_options options = {.public_address = {0x0a000001, 4500}, .types = message_types, .type_count = MESSAGE_ID_END};
    struct wire_play play = {.fuzz = fuzz_env_create()};

    play.fuzz->sent = on_sent;
    play.fuzz->sent_ctx = &play;
    feed_init(&play.feed, data, size, options.public_address);
    list_init(&play.held);
    op_list_init(&play.ops, &play.fuzz->env, &play);
    if (feed_below(&play.feed, 2) == 1)
        options.cluster_id = (struct uid){1, 1};
    assert(rpc_create(&play.fuzz->env, &options, &play.rpc) == 0 && rpc_listen(play.rpc) == 0);
    rpc_register(play.rpc, SERVED, on_request, &play);
    for (int i = 0; i < OPS_MAX && play.feed.left > 0; i++)
        play_one(&play);
    fuzz_env_run(play.fuzz, 3, 10);
    op_cancel_all(&play.ops);
    while (!list_empty(&play.held))
        rpc_fail(list_entry(list_pop_front(&play.held), struct rpc_request, link), ERROR_OPERATION_FAILED);
    rpc_unregister(play.rpc, SERVED);
    fuzz_env_run(play.fuzz, 3, 10);
    rpc_destroy(play.rpc);
    fuzz_env_destroy(play.fuzz);
    return 0;
}
