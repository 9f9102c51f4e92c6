/* Peers: who is dialled, when again after a failure, and who hears of it.
 *
 * Dialling happens from the ready queue, so that its failure never reaches back into who asked. A peer that fails is left alone
 * for a pause that doubles; calls made meanwhile wait for its end, and so do watches. The pause is over at once when the peer
 * itself dials us: it is evidently there. A connection that had lived for a while and then closed costs no pause before the
 * first new try: a restarted process should be found immediately. */
#include <assert.h>

#include "net/buggify.h"
#include "net/mem.h"
#include "net/rpc_internal.h"

static struct list *bucket_of(struct rpc *rpc, struct address address)
{
    uint64_t key = (uint64_t)address.ip << 32 | address.port;

    return &rpc->peers[(key * UINT64_C(0x9e3779b97f4a7c15)) >> 58];
}
_Static_assert(PEER_BUCKETS == 1 << (64 - 58), "the hash fits the buckets");

bool peer_awaited(const struct rpc_peer *peer)
{
    return !list_empty(&peer->sent) || !list_empty(&peer->unsent) || !list_empty(&peer->watches) ||
           !list_empty(&peer->sends);
}

static void dial(struct ready *ready)
{
    struct rpc_peer *peer = container_of(ready, struct rpc_peer, dial);

    if (peer->conn != NULL || !peer_awaited(peer))
        return;
    peer->rpc->counters.dialled++;
    if (!BUGGIFY(peer->rpc->env, "dialling a peer fails at once"))
        peer->conn = conn_dial(peer);
    if (peer->conn == NULL)
        peer_failed(peer, ERROR_CONNECTION_FAILED, false);
}

static void pause_over(struct env_timer *timer)
{
    dial(&container_of(timer, struct rpc_peer, pause)->dial);
}

struct rpc_peer *peer_find(struct rpc *rpc, struct address address)
{
    struct list *bucket = bucket_of(rpc, address);

    list_each(link, after, bucket) {
        struct rpc_peer *peer = list_entry(link, struct rpc_peer, link);

        if (address_equal(peer->address, address))
            return peer;
    }
    return NULL;
}

struct rpc_peer *peer_obtain(struct rpc *rpc, struct address address)
{
    struct rpc_peer *peer = peer_find(rpc, address);

    if (peer != NULL)
        return peer;
    peer = mem_zalloc(sizeof(*peer));
    if (peer == NULL)
        return NULL;
    peer->rpc = rpc;
    peer->address = address;
    list_init(&peer->sent);
    list_init(&peer->unsent);
    list_init(&peer->sends);
    list_init(&peer->watches);
    peer->dial.run = dial;
    peer->pause.fire = pause_over;
    list_push_back(bucket_of(rpc, address), &peer->link);
    rpc_sweep_later(rpc);
    return peer;
}

static void drop_sends(struct rpc_peer *peer)
{
    while (!list_empty(&peer->sends)) {
        struct rpc_outgoing *out = list_entry(list_pop_front(&peer->sends), struct rpc_outgoing, link);

        message_unref(out->message);
        mem_free(out);
    }
    peer->send_count = 0;
}

void peer_destroy(struct rpc_peer *peer)
{
    drop_sends(peer);
    assert(!peer_awaited(peer));
    if (peer->conn != NULL) {
        struct rpc_conn *conn = peer->conn;

        peer->conn = NULL;
        conn->peer = NULL;
        conn_close(conn, ERROR_CONNECTION_IDLE);
    }
    env_ready_cancel(&peer->dial);
    env_timer_cancel(peer->rpc->env, &peer->pause);
    list_remove(&peer->link);
    mem_free(peer);
}

void peer_need(struct rpc_peer *peer)
{
    struct env *env = peer->rpc->env;
    int64_t pause_us = peer->not_before_us - peer_clock_us(peer);

    if (peer->conn != NULL || peer->pause.heap_index_plus_1 != 0)
        return;
    if (pause_us <= 0)
        env_ready(env, &peer->dial, READY_COMMIT);
    else
        env_timer_start(env, &peer->pause, env_now_us(env) + pause_us);
}

void peer_seen(struct rpc_peer *peer)
{
    peer->not_before_us = 0;
    peer->delay_us = 0;
    if (peer->pause.heap_index_plus_1 == 0)
        return;
    PROBE(peer->rpc->env, "a peer that dials us ends the pause before it is dialled again");
    env_timer_cancel(peer->rpc->env, &peer->pause);
    env_ready(peer->rpc->env, &peer->dial, READY_COMMIT);
}

/* ---- failure ---- */

static void start_pause(struct rpc_peer *peer, bool lived)
{
    const struct knobs *knobs = &peer->rpc->env->knobs;

    if (lived && !BUGGIFY(peer->rpc->env, "a peer that was lost is left alone before it is dialled again")) {
        peer->delay_us = 0;
        peer->not_before_us = 0;
        return;
    }
    peer->delay_us = peer->delay_us == 0 ? knobs->rpc_reconnect_delay_us : peer->delay_us * 2;
    if (peer->delay_us > knobs->rpc_reconnect_delay_max_us || BUGGIFY(peer->rpc->env, "the first pause after a failed dial is the longest"))
        peer->delay_us = knobs->rpc_reconnect_delay_max_us;
    peer->not_before_us = peer_clock_us(peer) + peer->delay_us;
}

static void watch_failed(struct ready *ready)
{
    struct rpc_watch *watch = container_of(ready, struct rpc_watch, ready);

    watch->failed(watch, watch->error);
}

static void fail_watches(struct rpc_peer *peer, int error)
{
    while (!list_empty(&peer->watches)) {
        struct rpc_watch *watch = list_entry(list_pop_front(&peer->watches), struct rpc_watch, link);

        watch->peer = NULL;
        watch->error = error;
        env_ready(peer->rpc->env, &watch->ready, READY_COMMIT);
    }
}

void peer_failed(struct rpc_peer *peer, int error, bool lived)
{
    while (!list_empty(&peer->sent)) {
        struct rpc_call *call = list_entry(peer->sent.next, struct rpc_call, link);

        rpc_call_complete(call, ERROR_REQUEST_MAYBE_DELIVERED, NULL);
    }
    peer->conn = NULL;
    start_pause(peer, lived);
    while (!list_empty(&peer->unsent))
        rpc_call_complete(list_entry(peer->unsent.next, struct rpc_call, link), error, NULL);
    drop_sends(peer);
    fail_watches(peer, error);
}

/* An idle connection is closed, and a peer that nobody has wanted since the last look is forgotten. */
void peer_sweep(struct rpc_peer *peer, int64_t now_us)
{
    if (peer_awaited(peer) || peer->not_before_us > peer_clock_us(peer) || list_linked(&peer->dial.link))
        return;
    if (peer->conn != NULL && now_us - peer->conn->used_us < IDLE_US &&
        !BUGGIFY(peer->rpc->env, "a connection that nobody waits on is closed before it is idle for long"))
        return;
    PROBE(peer->rpc->env, "a connection that nobody used for long is closed");
    peer_destroy(peer);
}

/* ---- watches ---- */

void rpc_watch_start(struct rpc *rpc, struct rpc_watch *watch, struct address address)
{
    struct rpc_peer *peer;

    assert(watch->failed != NULL);
    assert(!list_linked(&watch->link) && !list_linked(&watch->ready.link));
    watch->address = address;
    watch->peer = NULL;
    watch->error = 0;
    watch->ready.run = watch_failed;
    if (address_equal(address, rpc->options.public_address))
        return;
    peer = peer_obtain(rpc, address);
    if (peer == NULL) {
        watch->error = ERROR_OUT_OF_MEMORY;
        env_ready(rpc->env, &watch->ready, READY_COMMIT);
        return;
    }
    watch->peer = peer;
    list_push_back(&peer->watches, &watch->link);
    if (peer->conn != NULL && peer->conn->state == CONN_LIVE)
        conn_awaited(peer->conn);
    else
        peer_need(peer);
    if (BUGGIFY_ONE_IN(rpc->env, 64, "a watch fails although its peer lives"))
        fail_watches(peer, ERROR_CONNECTION_FAILED);
}

void rpc_watch_cancel(struct rpc_watch *watch)
{
    list_remove(&watch->link);
    env_ready_cancel(&watch->ready);
    watch->peer = NULL;
}
