/* Where keys live: a bounded cache of shards, filled by a commit proxy, and what is known of each storage server.
 *
 * One query at a time; its reply brings the shards that follow as well, so a cold cache warms in a few round trips. A
 * location that proved wrong, or whose servers all failed, is forgotten and asked for again. */
#include <assert.h>

#include "net/buggify.h"
#include "net/planted_bug.h"
#include "txn/client/client_internal.h"

/* ---- servers ---- */

static struct client_server *server_obtain(struct client *client, struct endpoint endpoint)
{
    struct client_server *server;

    list_each(link, after, &client->servers) {
        server = list_entry(link, struct client_server, link);
        if (endpoint_equal(server->endpoint, endpoint)) {
            server->refs++;
            return server;
        }
    }
    server = mem_zalloc(sizeof(*server));
    if (server == NULL)
        return NULL;
    server->endpoint = endpoint;
    server->refs = 1;
    list_init(&server->gets);
    list_push_back(&client->servers, &server->link);
    return server;
}

void server_unref(struct client *client, struct client_server *server)
{
    (void)client;
    if (server == NULL || --server->refs > 0 || !list_empty(&server->gets))
        return; /* gets_flush takes a reference for those that wait */
    list_remove(&server->dirty);
    list_remove(&server->link);
    mem_free(server);
}

void server_sent(struct client_server *server, uint32_t count)
{
    server->outstanding += count;
}

void server_left(struct client_server *server, uint32_t count)
{
    assert(server->outstanding >= count);
    server->outstanding -= count;
}

void server_answered(struct client *client, struct client_server *server, int64_t took_us)
{
    second_answered(server, took_us);
    server->latency_us = server->latency_us == 0 ? took_us : (server->latency_us * 7 + took_us) / 8;
    server->answered_us = client->env->turn_us;
    server->failures = 0;
    server->avoid_until_us = server->late_until_us = 0;
}

/* A dead machine costs each request that tries it as long as a time-out: it is tried a fraction of the time alone. Two such
 * requests in one transaction would take all of its life. */
void server_failed(struct client *client, struct client_server *server, int64_t took_us)
{
    int64_t pause_us = RETRY_DELAY_US_MAX << (server->failures < 4 ? server->failures : 4);

    if (pause_us < took_us * AVOID_TIMES)
        pause_us = took_us * AVOID_TIMES;
    if (server->latency_us < took_us)
        server->latency_us = took_us; /* one that never answered is not the fastest */
    server->failures++;
    server->avoid_until_us = env_now_us(client->env) + pause_us;
    server->late_until_us = 0;
}

/* ---- the cache ---- */

/* How many locations begin at or below `key` (strictly: below it). */
static size_t count_up_to(const struct client *client, struct bytes key, bool strictly)
{
    size_t low = 0, high = client->location_count;

    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = bytes_compare(client->locations[middle]->begin, key);

        if (order < 0 || (order == 0 && !strictly))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool find_index(const struct client *client, struct bytes key, bool before, size_t *ret_index)
{
    size_t count = count_up_to(client, key, before);
    const struct client_location *location;
    int order;

    if (count == 0)
        return false;
    location = client->locations[count - 1];
    order = bytes_compare(key, location->end);
    *ret_index = count - 1;
    return before ? order <= 0 : order < 0;
}

struct client_location *location_find(struct client *client, struct bytes key, bool before)
{
    size_t index;

    return find_index(client, key, before, &index) ? client->locations[index] : NULL;
}

static void free_location(struct client *client, struct client_location *location)
{
    for (uint32_t i = 0; i < location->server_count; i++)
        server_unref(client, location->servers[i]);
    mem_free(location);
}

static void remove_at(struct client *client, size_t index, size_t count)
{
    if (count == 0)
        return;
    for (size_t i = 0; i < count; i++)
        free_location(client, client->locations[index + i]);
    client->location_count -= count;
    memmove(client->locations + index, client->locations + index + count,
            (client->location_count - index) * sizeof(client->locations[0]));
}

void location_forget(struct client *client, struct bytes key, bool before)
{
    size_t index;

    if (find_index(client, key, before, &index) && !PLANTED_BUG(LOCATION_KEPT))
        remove_at(client, index, 1);
}

void locations_clear(struct client *client)
{
    remove_at(client, 0, client->location_count);
    list_each(link, after, &client->servers) { /* those whose gets were all cancelled */
        struct client_server *server = list_entry(link, struct client_server, link);

        server->refs++;
        server_unref(client, server);
    }
}

static struct client_location *make_location(struct client *client, const struct location *from)
{
    uint32_t count = from->servers_count < REPLICAS_MAX ? from->servers_count : REPLICAS_MAX;
    size_t head = sizeof(struct client_location) + count * sizeof(struct client_server *);
    struct client_location *location = mem_zalloc(head + from->begin.len + from->end.len);
    uint8_t *keys = (uint8_t *)location + head;

    if (location == NULL)
        return NULL;
    location->number = ++client->locations_made;
    for (uint32_t i = 0; i < count; i++) {
        location->servers[i] = server_obtain(client, endpoint_of(&from->servers[i]));
        if (location->servers[i] == NULL) {
            free_location(client, location);
            return NULL;
        }
        location->server_count++;
    }
    if (from->begin.len > 0)
        memcpy(keys, from->begin.ptr, from->begin.len);
    if (from->end.len > 0)
        memcpy(keys + from->begin.len, from->end.ptr, from->end.len);
    location->begin = bytes_of(keys, from->begin.len);
    location->end = bytes_of(keys + from->begin.len, from->end.len);
    return location;
}

/* Room for one more; beyond the bound a random one goes. */
static bool make_room(struct client *client)
{
    size_t max = (size_t)atomic_load_explicit(&client->location_cache_max, memory_order_relaxed), capacity;
    struct client_location **grown;

    if (BUGGIFY_ONE_IN(client->env, 16, "a client keeps few locations"))
        max = 2;
    while (client->location_count >= max && client->location_count > 0)
        remove_at(client, env_random_below(client->env, client->location_count), 1);
    if (client->location_count < client->location_capacity)
        return true;
    capacity = client->location_capacity == 0 ? 16 : client->location_capacity * 2;
    grown = mem_realloc(client->locations, capacity * sizeof(*grown));
    if (grown == NULL)
        return false;
    client->locations = grown;
    client->location_capacity = capacity;
    return true;
}

static void remember(struct client *client, const struct location *from)
{
    struct client_location *location;
    size_t first, last;

    if (from->servers_count == 0 || bytes_compare(from->begin, from->end) >= 0 || !make_room(client))
        return;
    location = make_location(client, from);
    if (location == NULL)
        return;
    first = count_up_to(client, location->begin, true);
    if (first > 0 && bytes_compare(client->locations[first - 1]->end, location->begin) > 0)
        first--;
    last = count_up_to(client, location->end, true);
    remove_at(client, first, last - first);
    memmove(client->locations + first + 1, client->locations + first,
            (client->location_count - first) * sizeof(client->locations[0]));
    client->locations[first] = location;
    client->location_count++;
}

/* ---- the choice of a replica ---- */

enum {
    TURN_GETS_MIN = 16,       /* so many gets of a turn may go to one server before it counts as loaded by them */
    LATENCY_US_FLOOR = 4000,  /* a scheduler's tick: below it, differences say nothing of the server */
    LATENCY_HALVES_US = 1000000, /* what is known of a server that nobody asks gets old */
};

/* About how long a read sent there now would take. */
static int64_t cost_of(const struct client *client, const struct client_server *server)
{
    int64_t halvings = (client->env->turn_us - server->answered_us) / LATENCY_HALVES_US;
    int64_t latency_us = halvings > 30 ? 0 : server->latency_us >> halvings;
    uint32_t gathered = server->get_count < TURN_GETS_MIN ? 0 : server->get_count;

    return (latency_us + LATENCY_US_FLOOR) * (1 + (int64_t)server->outstanding + gathered);
}

static bool is_avoided(const struct client *client, const struct client_server *server)
{
    return server->avoid_until_us > client->env->turn_us || server->late_until_us > client->env->turn_us;
}

/* Is `b`, which was drawn second, clearly better than `a`? Never one that has just failed, if the other has not. Then the one that this
 * turn's message goes to already; then the one that costs less by half: where they are about equal, the draw decides, and
 * the load is shared. */
static bool is_better(const struct client *client, const struct client_server *b, const struct client_server *a)
{
    int64_t cost_a = cost_of(client, a), cost_b = cost_of(client, b);
    bool a_avoided = is_avoided(client, a), b_avoided = is_avoided(client, b);
    bool a_open = a->get_count > 0 && a->get_count < TURN_GETS_MIN, b_open = b->get_count > 0 && b->get_count < TURN_GETS_MIN;

    if (a_avoided != b_avoided)
        return a_avoided;
    if (a_open != b_open)
        return b_open ? cost_b < cost_a * 2 : cost_b * 2 < cost_a;
    return cost_b * 3 < cost_a * 2;
}

uint32_t location_replica(const struct client_location *location, const struct client_server *server)
{
    for (uint32_t i = 0; i < location->server_count; i++)
        if (location->servers[i] == server)
            return i;
    return REPLICA_NONE;
}

/* Two at random, the better of them; when both have just failed, the others as well. */
struct client_server *location_pick(struct client *client, const struct client_location *location, uint32_t tried,
                                    uint32_t *ret_replica)
{
    uint32_t start = location->server_count > 1 ? (uint32_t)env_random_below(client->env, location->server_count) : 0;
    struct client_server *best = NULL;
    uint32_t seen = 0;
    bool any = BUGGIFY(client->env, "any replica is chosen, also a slow or failed one");

    for (uint32_t i = 0; i < location->server_count; i++) {
        uint32_t replica = (start + i) % location->server_count;
        struct client_server *server = location->servers[replica];

        if (tried & UINT32_C(1) << replica)
            continue;
        if (best == NULL || is_better(client, server, best)) {
            best = server;
            *ret_replica = replica;
        }
        if (any || (++seen >= 2 && !is_avoided(client, best)))
            break;
    }
    return best;
}

/* ---- queries ---- */

static void query(struct client *client);

static void locate_timer_fired(struct env_timer *timer)
{
    query(container_of(timer, struct client, locate_timer));
}

static void query_later(struct client *client)
{
    client->locate_delay_us = client->locate_delay_us == 0 ? RETRY_DELAY_US_MIN : client->locate_delay_us * 2;
    if (client->locate_delay_us > RETRY_DELAY_US_MAX)
        client->locate_delay_us = RETRY_DELAY_US_MAX;
    client->locate_timer.fire = locate_timer_fired;
    env_timer_start(client->env, &client->locate_timer, env_now_us(client->env) + client->locate_delay_us);
}

/* got() may ask again, which puts it at the end of the list; each is looked at once. */
static bool serve(struct client *client)
{
    struct list waiting;
    bool any = false;

    list_init(&waiting);
    list_splice(&waiting, &client->locating);
    while (!list_empty(&waiting)) {
        struct client_locate *locate = list_entry(list_pop_front(&waiting), struct client_locate, link);

        if (location_find(client, locate->key, locate->before) == NULL) {
            list_push_back(&client->locating, &locate->link);
            continue;
        }
        any = true;
        assert(!list_linked(&locate->link));
        locate->got(locate);
    }
    return any;
}

static void query_ended(struct client_request *request, int error)
{
    struct client *client = request->client;
    struct message *reply = rpc_call_take(&request->rpc);
    bool served = false;

    assert(client->location_query == request);
    client->location_query = NULL;
    mem_free(request);
    if (error == 0 && !client->destroying) {
        const struct get_key_locations_reply *body = MESSAGE_BODY(get_key_locations_reply, reply);

        uint32_t count = body->locations_count;

        if (count > 1 && BUGGIFY(client->env, "a client keeps the location alone that it asked for"))
            count = 1;
        for (uint32_t i = count; i > 0; i--) /* the wanted one last: a small cache drops others */
            remember(client, &body->locations[i - 1]);
        served = serve(client);
    }
    message_unref(reply);
    if (client->destroying || list_empty(&client->locating))
        return;
    if (served) {
        client->locate_delay_us = 0;
        query(client);
    } else {
        PROBE(client->env, "key locations are asked for again");
        query_later(client);
    }
}

static int fill_query(struct message *message, struct get_key_locations *body, const struct client_locate *locate)
{
    struct bytes key;
    int error = arena_copy(&message->arena, locate->key, &key);

    body->begin = locate->before ? bytes_none() : key;
    body->end = locate->before ? key : KEY_SYSTEM_END;
    body->limit = locate->before ? 2 : LOCATIONS_PER_QUERY;
    body->reverse = locate->before;
    return error;
}

static void query(struct client *client)
{
    const struct role_ref *proxy;
    struct client_request *request;
    struct get_key_locations *body;
    struct message *message;

    if (client->location_query != NULL || client->locate_timer.heap_index_plus_1 != 0 || list_empty(&client->locating))
        return;
    proxy = client_pick_role(client, ROLE_COMMIT_PROXY);
    if (proxy == NULL)
        return; /* the next description comes here again */
    request = mem_zalloc(sizeof(*request));
    body = MESSAGE_NEW(get_key_locations, &message);
    if (request == NULL || body == NULL ||
        fill_query(message, body, list_entry(client->locating.next, struct client_locate, link)) != 0) {
        mem_free(request);
        message_unref(message);
        query_later(client);
        return;
    }
    request->ended = query_ended;
    client->location_query = request;
    client_request_start(request, client, endpoint_of(&proxy->endpoint), message, client->env->knobs.client_request_timeout_us);
}

void locate_ask(struct client *client, struct client_locate *locate)
{
    assert(!list_linked(&locate->link));
    list_push_back(&client->locating, &locate->link);
    query(client);
}

void locate_cancel(struct client_locate *locate)
{
    list_remove(&locate->link);
}

void locate_description_changed(struct client *client)
{
    env_timer_cancel(client->env, &client->locate_timer);
    if (client->location_query != NULL && !client_role_listed(client, client->location_query->to))
        PROBE(client->env, "a proxy that was asked for locations is no more");
    if (client->location_query != NULL && !client_role_listed(client, client->location_query->to))
        op_cancel(&client->location_query->op);
    query(client);
}
