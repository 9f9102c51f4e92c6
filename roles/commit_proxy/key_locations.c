/* Answers where keys are, from the shard map as of the last applied batch: a client that is told too old a place learns so from
 * the storage server (wrong_shard_server) and asks again. */
#include "net/buggify.h"
#include "net/error.h"
#include "roles/commit_proxy/commit_proxy_impl.h"
#include "txn/keys.h"

enum { LOCATIONS_MAX = 1000 };

static int add_location(struct arena *arena, const struct shard *shard, struct location *location)
{
    const struct shard_team *team = shard->team;

    location->servers = arena_alloc(arena, team->readable_count * sizeof(*location->servers));
    if (location->servers == NULL || arena_copy(arena, shard->begin, &location->begin) != 0 ||
        arena_copy(arena, shard->end, &location->end) != 0)
        return ERROR_OUT_OF_MEMORY;
    for (uint32_t i = 0; i < team->readable_count; i++)
        location->servers[i] = team->readable[i]->endpoint;
    location->servers_count = team->readable_count;
    return 0;
}

static bool is_past_end(const struct get_key_locations *body, struct bytes at)
{
    if (bytes_compare(at, KEY_SYSTEM_END) >= 0 && !body->reverse)
        return true;
    return body->reverse ? bytes_compare(at, body->begin) <= 0 : bytes_compare(at, body->end) >= 0;
}

static int find(const struct commit_proxy *proxy, const struct get_key_locations *body, struct arena *arena,
                struct get_key_locations_reply *reply)
{
    struct bytes at = body->reverse ? body->end : body->begin;
    uint32_t limit = body->limit == 0 || body->limit > LOCATIONS_MAX ? LOCATIONS_MAX : body->limit;
    size_t most = shard_map_count(proxy->shards) + 1;

    limit = most < limit ? (uint32_t)most : limit;
    if (BUGGIFY(proxy->context.env, "a proxy names one location a reply"))
        limit = 1;
    reply->locations = arena_zalloc(arena, limit * sizeof(*reply->locations));
    if (reply->locations == NULL)
        return ERROR_OUT_OF_MEMORY;
    while (reply->locations_count < limit && !is_past_end(body, at)) {
        struct shard shard;

        if (body->reverse)
            shard_map_before(proxy->shards, at, &shard);
        else
            shard_map_at(proxy->shards, at, &shard);
        if (add_location(arena, &shard, &reply->locations[reply->locations_count]) != 0)
            return ERROR_OUT_OF_MEMORY;
        reply->locations_count++;
        at = body->reverse ? shard.begin : shard.end;
    }
    return 0;
}

void key_locations_receive(struct commit_proxy *proxy, struct rpc_request *request)
{
    const struct get_key_locations *body = MESSAGE_BODY(get_key_locations, request->message);
    struct message *message;
    struct get_key_locations_reply *reply;

    if (bytes_compare(body->begin, body->end) > 0) {
        rpc_fail(request, ERROR_INVERTED_RANGE);
        return;
    }
    if (BUGGIFY_ONE_IN(proxy->context.env, 16, "a proxy can't say where keys are")) {
        rpc_fail(request, ERROR_OPERATION_FAILED);
        return;
    }
    reply = MESSAGE_NEW(get_key_locations_reply, &message);
    if (reply == NULL || find(proxy, body, &message->arena, reply) != 0) {
        message_unref(message);
        rpc_fail(request, ERROR_OUT_OF_MEMORY);
        return;
    }
    proxy->locations++;
    rpc_reply(request, message);
}
