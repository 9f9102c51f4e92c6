/* Questions to the server of the lab, and what the model says to its answers. */
#include "tests/unit/roles/storage_lab.h"

static enum op_result ask_send(struct op *op)
{
    struct lab_call *ask = container_of(op, struct lab_call, op);

    rpc_call_start(&ask->call, op, ask->rpc, &ask->to, ask->request, 0);
    ask->request = NULL;
    return op_wait(op, 1);
}

static enum op_result ask_answered(struct op *op)
{
    struct lab_call *ask = container_of(op, struct lab_call, op);

    ask->error = ask->call.error;
    ask->reply = ask->error == 0 ? rpc_call_take(&ask->call) : NULL;
    return op_finish(op, 0);
}

static void ask_ended(struct op *op)
{
    struct lab_call *ask = container_of(op, struct lab_call, op);

    rpc_call_clear(&ask->call);
    ask->done = true;
}

static const struct op_stage ask_stages[] = {{"SEND", ask_send, OP_STAGE(1)}, {"ANSWERED", ask_answered, 0}};
static const struct op_type ask_type = {"ask", ask_stages, 2, READY_READ, ask_ended};

static bool not_done(void *ctx)
{
    return !((struct lab_call *)ctx)->done;
}

void lab_call_start(struct lab *lab, struct lab_call *ask, uint64_t endpoint, struct message *request)
{
    *ask = (struct lab_call){.request = request, .rpc = lab_rpc(lab), .to = {lab->storage->address, endpoint}};
    op_start(&ask->op, &ask_type, lab_ops(lab));
}

struct message *lab_ask_at(struct lab *lab, uint64_t endpoint, struct message *request, int *ret_error)
{
    struct lab_call ask;

    lab_call_start(lab, &ask, endpoint, request);
    (void)sim_world_run_while(lab->world, not_done, &ask, lab->world->now_us + 20 * SIM_SECOND_US);
    cr_assert_not(lab->world->failed, "%s", lab->world->why);
    cr_assert(ask.done, "no answer within 20 s");
    *ret_error = ask.error;
    return ask.reply;
}

struct message *lab_ask(struct lab *lab, struct message *request, int *ret_error)
{
    return lab_ask_at(lab, LAB_SERVER_ID, request, ret_error);
}

int lab_get(struct lab *lab, unsigned key, version_t version, struct lab_state *ret_state)
{
    char text[1200];
    struct message *request, *answer_message;
    struct get_values *m = MESSAGE_NEW(get_values, &request);
    const struct value *value;
    int error;

    m->gets = arena_zalloc(&request->arena, sizeof(*m->gets));
    m->gets_count = 1;
    m->gets[0].version = version;
    cr_assert_eq(arena_copy(&request->arena, lab_key(key, text), &m->gets[0].key), 0);
    answer_message = lab_ask(lab, request, &error);
    if (error != 0)
        return error;
    cr_assert_eq(MESSAGE_BODY(get_values_reply, answer_message)->values_count, 1);
    value = &MESSAGE_BODY(get_values_reply, answer_message)->values[0];
    error = (int)value->error;
    cr_assert_leq(value->value.len, LAB_VALUE_MAX);
    *ret_state = (struct lab_state){.version = version, .present = value->present, .len = (uint8_t)value->value.len};
    if (value->value.len > 0)
        memcpy(ret_state->bytes, value->value.ptr, value->value.len);
    message_unref(answer_message);
    return error;
}

static void expect(const struct lab_state *got, const struct lab_state *wanted, unsigned key, version_t version)
{
    cr_assert_eq(got->present, wanted->present, "key %u at %ld: %d, not %d", key, (long)version, got->present, wanted->present);
    if (got->present)
        cr_assert(got->len == wanted->len && memcmp(got->bytes, wanted->bytes, got->len) == 0,
                  "key %u at %ld has another value than that of %ld", key, (long)version, (long)wanted->version);
}

static bool passing(const struct lab *lab, int error)
{
    if (lab->world->buggify != NULL && (error == ERROR_WRONG_SHARD_SERVER || error == ERROR_PROCESS_BEHIND))
        return true;
    return error == ERROR_TRANSACTION_TOO_OLD || error == ERROR_FUTURE_VERSION || error == ERROR_CONNECTION_FAILED ||
           error == ERROR_REQUEST_MAYBE_DELIVERED || error == ERROR_BROKEN_PROMISE;
}

bool lab_check_get(struct lab *lab, unsigned key, version_t version)
{
    struct lab_state state;
    int error = lab_get(lab, key, version, &state);

    if (error != 0) {
        cr_assert(passing(lab, error), "%s", error_name(error));
        return false;
    }
    expect(&state, lab_model(lab, key, version), key, version);
    return true;
}

static struct message *ask_range(struct lab *lab, struct bytes begin, struct bytes end, version_t version, uint32_t limit,
                                 bool reverse, int *ret_error)
{
    struct message *request;
    struct get_range *m = MESSAGE_NEW(get_range, &request);

    m->version = version;
    m->limit = limit;
    m->reverse = reverse;
    cr_assert_eq(arena_copy(&request->arena, begin, &m->begin), 0);
    cr_assert_eq(arena_copy(&request->arena, end, &m->end), 0);
    return lab_ask(lab, request, ret_error);
}

/* Takes the next pair; it must be of the next key of the walk that the model says is present. */
static void expect_pair(struct lab *lab, struct bytes *pairs, int *at, int step, int last, version_t version, char text[1200])
{
    struct lab_state got = {.present = true};
    uint32_t key_len, value_len;
    struct bytes key;

    while (*at != last && !lab_model(lab, (unsigned)*at, version)->present)
        *at += step;
    cr_assert_neq(*at, last, "a pair too many at %ld", (long)version);
    cr_assert_geq(pairs->len, 8);
    key_len = get_le32(pairs->ptr);
    value_len = get_le32(pairs->ptr + 4);
    cr_assert(pairs->len >= 8 + (size_t)key_len + value_len && value_len <= LAB_VALUE_MAX);
    key = bytes_of(pairs->ptr + 8, key_len);
    cr_assert(bytes_equal(key, lab_key((unsigned)*at, text)), "at %ld another key than k%02d", (long)version, *at);
    got.len = (uint8_t)value_len;
    memcpy(got.bytes, pairs->ptr + 8 + key_len, value_len);
    expect(&got, lab_model(lab, (unsigned)*at, version), (unsigned)*at, version);
    *pairs = bytes_of(pairs->ptr + 8 + key_len + value_len, pairs->len - 8 - key_len - value_len);
}

bool lab_check_range(struct lab *lab, unsigned begin, unsigned end, version_t version, uint32_t limit, bool reverse)
{
    int at = reverse ? (int)end - 1 : (int)begin, last = reverse ? (int)begin - 1 : (int)end, step = reverse ? -1 : 1;
    char low[1200], high[1200], text[1200];
    struct bytes from = lab_key(begin, low), to = end == LAB_KEYS ? BYTES_LITERAL("k99") : lab_key(end, high);
    bool more = true;

    while (more) {
        int error;
        struct message *message = ask_range(lab, from, to, version, limit, reverse, &error);
        const struct get_range_reply *reply;
        struct bytes pairs;

        if (error != 0) {
            cr_assert(passing(lab, error), "%s", error_name(error));
            return false;
        }
        reply = MESSAGE_BODY(get_range_reply, message);
        cr_assert(limit == 0 || reply->count <= limit);
        cr_assert(!reply->more || reply->count > 0);
        pairs = reply->pairs;
        for (uint32_t i = 0; i < reply->count; i++, at += step)
            expect_pair(lab, &pairs, &at, step, last, version, text);
        cr_assert_eq(pairs.len, 0);
        more = reply->more;
        if (more && reverse)
            to = lab_key((unsigned)(at + 1), high);
        else if (more) {
            from = lab_key((unsigned)(at - 1), low);
            low[from.len++] = 0;
        }
        message_unref(message);
    }
    for (; at != last; at += step)
        cr_assert_not(lab_model(lab, (unsigned)at, version)->present, "k%02d is missing at %ld", at, (long)version);
    return true;
}
