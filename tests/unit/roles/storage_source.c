#include "tests/unit/roles/storage_source.h"

#include "txn/digest.h"

enum { PROXY_ID = 9000, SOURCE_ID = 9100 };

static void add_pair(struct bytes_buffer *pairs, struct bytes key, const struct lab_state *state)
{
    uint8_t header[8];

    put_le32(header, (uint32_t)key.len);
    put_le32(header + 4, state->len);
    cr_assert_eq(bytes_buffer_append(pairs, bytes_of(header, sizeof(header))), 0);
    cr_assert_eq(bytes_buffer_append(pairs, key), 0);
    cr_assert_eq(bytes_buffer_append(pairs, bytes_of(state->bytes, state->len)), 0);
}

static void fill(struct lab_source *source, const struct fetch_range *m, struct arena *arena, struct fetch_range_reply *reply)
{
    uint32_t limit = source->bytes_limit != 0 ? source->bytes_limit : m->bytes_limit;
    struct bytes_buffer pairs = {0};
    char text[1200];

    reply->version = m->version;
    cr_assert_eq(arena_copy(arena, m->end, &reply->through), 0);
    for (unsigned i = 0; i < LAB_KEYS; i++) {
        const struct lab_state *state = lab_model(source->lab, i, m->version);
        struct bytes key = lab_key(i, text);

        if (!state->present || bytes_compare(key, m->begin) < 0 || bytes_compare(key, m->end) >= 0)
            continue;
        if (bytes_compare(key, reply->through) >= 0) {
            reply->bytes_left += key.len + state->len;
            continue;
        }
        add_pair(&pairs, key, state);
        reply->count++;
        if (pairs.len >= limit)
            cr_assert_eq(key_after(arena, key, &reply->through), 0);
    }
    cr_assert_eq(arena_copy(arena, bytes_buffer_bytes(&pairs), &reply->pairs), 0);
    bytes_buffer_done(&pairs);
    reply->digest = fetch_digest(m->begin, reply);
}

static void damage(struct lab_source *source, struct fetch_range_reply *reply)
{
    if (reply->pairs.len > 0)
        ((uint8_t *)(uintptr_t)reply->pairs.ptr)[sim_random_below(&source->lab->world->workload, reply->pairs.len)] ^= 1;
    else
        reply->version++;
}

static void answer(struct lab_source *source, struct rpc_request *request, enum source_mood mood)
{
    const struct fetch_range *m = MESSAGE_BODY(fetch_range, request->message);
    struct fetch_range other = *m;
    struct message *message;
    struct fetch_range_reply *reply = MESSAGE_NEW(fetch_range_reply, &message);

    if (mood == SOURCE_WRONG_PART)
        other.begin = BYTES_LITERAL("");
    fill(source, mood == SOURCE_WRONG_PART ? &other : m, &message->arena, reply);
    if (mood == SOURCE_DAMAGED)
        damage(source, reply);
    rpc_reply(request, message);
}

static void on_fetch(struct lab_source *source, unsigned which, struct rpc_request *request)
{
    static const int errors[] = {[SOURCE_DEAD] = ERROR_BROKEN_PROMISE, [SOURCE_ELSEWHERE] = ERROR_WRONG_SHARD_SERVER,
                                 [SOURCE_BEHIND] = ERROR_FUTURE_VERSION, [SOURCE_FORGOT] = ERROR_TRANSACTION_TOO_OLD};
    enum source_mood mood = source->moods[which];

    cr_assert_eq(request->message->type->id, MESSAGE_fetch_range);
    source->asked[which]++;
    source->least_version = MESSAGE_BODY(fetch_range, request->message)->version;
    cr_assert_leq(source->least_version, source->lab->known_committed, "what may be taken back is not asked for");
    if (mood == SOURCE_HOLDS)
        list_push_back(&source->held, &request->link);
    else if (mood >= SOURCE_DEAD && mood <= SOURCE_FORGOT)
        rpc_fail(request, errors[mood]);
    else {
        source->given[which]++;
        answer(source, request, mood);
    }
}

static void on_first(void *ctx, struct rpc_request *request)
{
    on_fetch(ctx, 0, request);
}

static void on_second(void *ctx, struct rpc_request *request)
{
    on_fetch(ctx, 1, request);
}

static void on_proxy(void *ctx, struct rpc_request *request)
{
    struct lab_source *source = ctx;
    struct lab *lab = source->lab;
    const struct get_key_locations *m = MESSAGE_BODY(get_key_locations, request->message);
    struct wire_address address = {lab->logs->address.ip, lab->logs->address.port};
    struct message *message;
    struct get_key_locations_reply *reply;
    struct location *location;

    source->located++;
    if (source->proxy_silent) {
        rpc_fail(request, ERROR_OPERATION_FAILED);
        return;
    }
    reply = MESSAGE_NEW(get_key_locations_reply, &message);
    reply->locations = location = arena_zalloc(&message->arena, sizeof(*reply->locations));
    reply->locations_count = 1;
    cr_assert_eq(arena_copy(&message->arena, m->begin, &location->begin), 0);
    cr_assert_eq(arena_copy(&message->arena, m->end, &location->end), 0);
    location->servers = arena_zalloc(&message->arena, (SOURCES + 1) * sizeof(*location->servers));
    if (source->names_server)
        location->servers[location->servers_count++] =
            (struct wire_endpoint){{lab->storage->address.ip, lab->storage->address.port}, LAB_SERVER_ID};
    for (unsigned i = 0; i < SOURCES; i++)
        location->servers[location->servers_count++] = (struct wire_endpoint){address, SOURCE_ID + i};
    rpc_reply(request, message);
}

void source_init(struct lab_source *source, struct lab *lab)
{
    struct rpc *rpc = lab_rpc(lab);

    *source = (struct lab_source){.lab = lab};
    list_init(&source->held);
    rpc_register(rpc, PROXY_ID, on_proxy, source);
    rpc_register(rpc, SOURCE_ID, on_first, source);
    rpc_register(rpc, SOURCE_ID + 1, on_second, source);
    lab->proxy = (struct role_ref){
        .kind = ROLE_COMMIT_PROXY, .endpoint = {{lab->logs->address.ip, lab->logs->address.port}, PROXY_ID}};
    lab_describe(lab);
}

void source_release(struct lab_source *source)
{
    source->moods[0] = source->moods[1] = SOURCE_WELL;
    while (!list_empty(&source->held))
        answer(source, list_entry(list_pop_front(&source->held), struct rpc_request, link), SOURCE_WELL);
}

void source_done(struct lab_source *source)
{
    struct rpc *rpc = lab_rpc(source->lab);

    while (!list_empty(&source->held))
        rpc_drop(list_entry(list_pop_front(&source->held), struct rpc_request, link));
    for (unsigned i = 0; i < SOURCES; i++)
        rpc_unregister(rpc, SOURCE_ID + i);
    rpc_unregister(rpc, PROXY_ID);
}
