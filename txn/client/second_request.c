/* A second request, to another replica, when the first has not answered for longer than its server usually takes.
 *
 * Problem: a server that stands still (its process is paused, its disk hangs, a packet is lost) would hold each read until its
 * connection counts as dead, seconds later, though another replica could answer now. So each request carries a timer, set to the
 * server's smoothed latency and four mean deviations (as TCP sets its retransmission timer), and a knob's worth more. When it
 * rings, the server counts as late: new reads avoid it for a while, and those that wait are asked for again elsewhere. Whoever
 * answers first wins; the other's answer is only measured. One answer counts as at most twice the usual: the one that came after a
 * pause of seconds says nothing about the next, and would make the next pause a long one; when all answers get slow, a few of
 * them move the timer all the same.
 *
 * What must not happen is a storm when everything is slow: then twice the requests would make it slower. Three things prevent
 * it. Latencies that grow move the timers with them. A server that is late itself is no second choice (one that has failed is:
 * it may be back), so when all are late nobody is asked twice. And second requests are paid from a budget, to which each read gives a few percent of one.
 *
 * A client that was held up itself sees late servers everywhere, though their answers lie in its sockets: so a timer that rings
 * first lets one more turn pass. */
#include <assert.h>

#include "net/buggify.h"
#include "txn/client/client_internal.h"

enum {
    UNKNOWN_LATENCY_US = 50000, /* of a server that never answered */
    DEVIATIONS = 4,
    SLACK_US = 1000,
    GRACE_US = 1000,
    READ_PRICE = 100,          /* the budget counts hundredths of a read */
    BUDGET_MAX = 1000 * READ_PRICE,
    EARNED_EVERY_US = 100,     /* 100 reads a second, for a client whose reads all wait */
    LATE_PAUSE_US_MIN = 10000,
    LATE_PAUSE_US_MAX = 2000000,
};

static int64_t usual_most(const struct client_server *server)
{
    return server->usual_us == 0 ? UNKNOWN_LATENCY_US : server->usual_us + DEVIATIONS * server->deviation_us;
}

void second_answered(struct client_server *server, int64_t took_us)
{
    int64_t most_us = 2 * usual_most(server) + SLACK_US, off_us;

    took_us = took_us > most_us ? most_us : took_us < 1 ? 1 : took_us;
    off_us = took_us > server->usual_us ? took_us - server->usual_us : server->usual_us - took_us;
    server->deviation_us = server->usual_us == 0 ? took_us / 2 : (server->deviation_us * 3 + off_us) / 4;
    server->usual_us = server->usual_us == 0 ? took_us : (server->usual_us * 7 + took_us + 4) / 8;
    assert(server->usual_us > 0 && server->deviation_us >= 0);
}

static int64_t delay_of(const struct client *client, const struct client_server *server)
{
    if (BUGGIFY_ONE_IN(client->env, 32, "a second replica is asked at once"))
        return 0;
    return usual_most(server) + client->env->knobs.client_second_delay_us;
}

static void earn(struct client *client, int64_t hundredths)
{
    client->second_budget += hundredths;
    if (client->second_budget > BUDGET_MAX)
        client->second_budget = BUDGET_MAX;
    assert(client->second_budget >= 0);
}

/* New reads go elsewhere for as long as it has been silent, several times. An answer ends that. */
static void server_late(struct client *client, struct client_server *server, int64_t waited_us)
{
    int64_t pause_us = waited_us * AVOID_TIMES, until_us;

    pause_us = pause_us < LATE_PAUSE_US_MIN ? LATE_PAUSE_US_MIN : pause_us > LATE_PAUSE_US_MAX ? LATE_PAUSE_US_MAX : pause_us;
    until_us = env_now_us(client->env) + pause_us;
    if (server->late_until_us < until_us)
        server->late_until_us = until_us;
}

static void rang(struct env_timer *timer)
{
    struct second_request *second = container_of(timer, struct second_request, timer);
    struct env *env = second->client->env;
    int64_t now_us = env_now_us(env), waited_us = now_us - second->sent_us;

    assert(waited_us >= 0);
    if (!second->grace_over) {
        second->grace_over = true;
        env_timer_start(env, timer, now_us + GRACE_US);
        return;
    }
    server_late(second->client, second->server, waited_us);
    env_timer_start(env, timer, now_us + waited_us); /* perhaps nobody else can be asked yet */
    second->late(second);
}

void second_start(struct second_request *second, struct client *client, struct client_server *server, uint32_t reads,
                  void (*late)(struct second_request *second))
{
    struct env *env = client->env;

    assert(second->timer.heap_index_plus_1 == 0);
    second->client = client;
    second->server = server;
    second->late = late;
    second->grace_over = false;
    second->sent_us = env_now_us(env);
    second->timer.fire = rang;
    earn(client, reads * env->knobs.client_second_percent);
    if (env->knobs.client_second_percent > 0)
        env_timer_start(env, &second->timer, second->sent_us + delay_of(client, server));
}

void second_stop(struct second_request *second)
{
    if (second->client != NULL)
        env_timer_cancel(second->client->env, &second->timer);
}

/* Who waits for its first answers must not wait for the budget as well: time gives to it, too. */
static bool pay(struct client *client)
{
    int64_t now_us = env_now_us(client->env), earned = (now_us - client->second_earned_us) / EARNED_EVERY_US;

    earn(client, earned < BUDGET_MAX ? earned : BUDGET_MAX);
    client->second_earned_us = now_us;
    if (client->second_budget < READ_PRICE) {
        PROBE(client->env, "no second request: too many have gone out");
        return false;
    }
    client->second_budget -= READ_PRICE;
    return true;
}

struct client_server *second_pick(struct client *client, const struct client_location *location,
                                  const struct client_server *first, uint32_t tried, uint32_t *ret_replica)
{
    struct client_server *server = location_pick(client, location, tried | replica_bit(location_replica(location, first)), ret_replica);

    if (server == NULL)
        return NULL;
    assert(server != first);
    if (server->late_until_us > client->env->turn_us) {
        PROBE(client->env, "no second request: the other replica is late as well");
        return NULL;
    }
    return pay(client) ? server : NULL;
}
