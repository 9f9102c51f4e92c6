/* Watches on the client's side, against a storage server that the test plays: what is said to it, and what is made of its answers. */
#include <stdio.h>

#include "tests/unit/txn/client_fakes.h"
#include "txn/client/client_internal.h"
#include "txn/messages.h"
#include "txn/watch_digest.h"

enum { SEEN_MAX = 64, STEP_US = 2000, ENOUGH_STEPS = 2000 };

/* What the server was told, and the poll that it may answer. */
struct server {
    struct fakes fakes;
    struct rpc_request *poll;
    uint64_t session, number, sessions;
    struct watch_key added[SEEN_MAX]; /* without the keys */
    char keys[SEEN_MAX][16];
    uint64_t removed[SEEN_MAX];
    int added_count, removed_count;
    int lose_polls; /* so many come to nothing */
};

static void answer(struct server *server, const struct watch_event *event)
{
    struct message *message;
    struct watch_reply *reply = MESSAGE_NEW(watch_reply, &message);
    struct rpc_request *poll = server->poll;

    reply->events = arena_zalloc(&message->arena, sizeof(*reply->events));
    if (event != NULL) {
        reply->events[0] = *event;
        reply->events_count = 1;
    }
    server->poll = NULL;
    rpc_reply(poll, message);
}

static void hear(struct fakes *fakes, struct rpc_request *request)
{
    struct server *server = fakes->watch_ctx;
    const struct watch *m = MESSAGE_BODY(watch, request->message);

    if (server->lose_polls > 0) {
        server->lose_polls--;
        rpc_drop(request);
        return;
    }
    if (server->poll != NULL) /* the one before is answered by the next */
        answer(server, NULL);
    if (m->session != server->session) {
        cr_assert_eq(m->number, 1u, "a session begins with 1");
        server->session = m->session;
        server->sessions++;
    } else {
        cr_assert_eq(m->number, server->number + 1);
    }
    server->number = m->number;
    server->poll = request;
    for (uint32_t i = 0; i < m->added_count; i++, server->added_count++) {
        cr_assert_lt(server->added_count, SEEN_MAX);
        server->added[server->added_count] = m->added[i];
        snprintf(server->keys[server->added_count], 16, "%.*s", (int)m->added[i].key.len, (const char *)m->added[i].key.ptr);
    }
    for (uint32_t i = 0; i < m->removed_count; i++)
        server->removed[server->removed_count++] = m->removed[i];
}

static struct transaction *begin_watching(struct server *server)
{
    memset(server, 0, sizeof(*server));
    start(&server->fakes);
    server->fakes.on_watch = hear;
    server->fakes.watch_ctx = server;
    server->fakes.storage_a_dead = true; /* one server, one session */
    return begin(&server->fakes);
}

static void end(struct server *server, struct transaction *txn)
{
    transaction_destroy(txn);
    if (server->poll != NULL)
        rpc_drop(server->poll);
    stop(&server->fakes);
}

/* ---- waiting ---- */

static struct env *pausing;

static void pause_over(struct env_timer *timer)
{
    (void)timer;
    env_posix_stop(pausing);
}

static void run_for(struct server *server, int64_t us)
{
    struct env_timer timer = {.fire = pause_over};

    pausing = server->fakes.env;
    env_timer_start(pausing, &timer, env_now_us(pausing) + us);
    while (timer.heap_index_plus_1 != 0)
        env_posix_run(pausing);
}

static void wait_for_added(struct server *server, int count)
{
    for (int i = 0; i < ENOUGH_STEPS && server->added_count < count; i++)
        run_for(server, STEP_US);
    cr_assert_eq(server->added_count, count);
}

static void noted(struct client_call *call)
{
    (void)call;
}

static int wait_for(struct server *server, struct client_watch *watch)
{
    for (int i = 0; i < ENOUGH_STEPS && watch->call.under_way; i++)
        run_for(server, STEP_US);
    cr_assert_not(watch->call.under_way, "it waits");
    return watch->call.error;
}

static void watch_key(struct transaction *txn, struct client_watch *watch, const char *key)
{
    memset(watch, 0, sizeof(*watch));
    watch->call.done = noted;
    transaction_watch_start(watch, NULL, txn, bytes_of_string(key));
}

/* A watch of the key that the server knows. */
static void register_watch(struct server *server, struct transaction *txn, struct client_watch *watch, const char *key)
{
    int before = server->added_count;

    watch_key(txn, watch, key);
    cr_assert_eq(commit(&server->fakes, txn), 0);
    transaction_reset(txn);
    wait_for_added(server, before + 1);
    cr_assert_str_eq(server->keys[before], key);
}

/* ---- what holds ---- */

Test(client_watch, it_is_registered_after_the_commit_with_what_the_transaction_saw_and_fires, .timeout = 30)
{
    struct client_watch watch;
    struct server server;
    struct transaction *txn = begin_watching(&server);

    put(&server.fakes, "k", "seen");
    watch_key(txn, &watch, "k");
    run_for(&server, 10 * STEP_US);
    cr_assert_eq(server.sessions, 0u, "nothing is said before the commit");
    cr_assert_eq(transaction_set(txn, BYTES_LITERAL("other"), BYTES_LITERAL("x")), 0);
    cr_assert_eq(commit(&server.fakes, txn), 0);
    wait_for_added(&server, 1);
    cr_assert_eq(server.added[0].digest, watch_digest(true, BYTES_LITERAL("seen"), server.added[0].seed));
    cr_assert_eq(server.added[0].version, transaction_committed_version(txn));
    run_for(&server, 10 * STEP_US);
    cr_assert(watch.call.under_way, "nothing has changed");
    answer(&server, &(struct watch_event){server.added[0].id, 0, server.added[0].version});
    cr_assert_eq(wait_for(&server, &watch), 0);
    client_watch_done(&watch);
    end(&server, txn);
}

/* A read of another transaction whose end commits this one: the value of the watch came with the same message, and nobody has taken it yet. */
struct then_commit {
    struct transaction_get get;
    struct client_call commit;
    struct transaction *txn;
};

static void commit_then(struct client_call *call)
{
    struct then_commit *then = container_of(call, struct then_commit, get.call);

    transaction_commit_start(&then->commit, NULL, then->txn);
}

Test(client_watch, a_commit_waits_until_the_value_is_known, .timeout = 30)
{
    struct then_commit then = {.get.call.done = commit_then, .commit.done = noted};
    struct transaction_get first = {0};
    struct client_watch watch;
    struct server server;
    struct transaction *txn = begin_watching(&server), *other = begin(&server.fakes);
    int messages;

    then.txn = txn;
    put(&server.fakes, "z", "seen");
    cr_assert_eq(get(&server.fakes, txn, "x", &first), 0); /* both have their read versions */
    transaction_get_done(&first);
    cr_assert_eq(get(&server.fakes, other, "x", &first), 0);
    messages = server.fakes.get_messages;
    transaction_get_start(&then.get, NULL, other, BYTES_LITERAL("y"), false);
    watch_key(txn, &watch, "z");
    wait_for_added(&server, 1);
    cr_assert_eq(server.fakes.get_messages, messages + 1, "they came apart, and nothing is shown");
    cr_assert_eq(server.added[0].digest, watch_digest(true, BYTES_LITERAL("seen"), server.added[0].seed));
    cr_assert_eq(then.commit.error, 0);
    transaction_get_done(&first);
    transaction_get_done(&then.get);
    client_watch_done(&watch);
    transaction_destroy(other);
    end(&server, txn);
}

Test(client_watch, the_transactions_own_writes_count, .timeout = 30)
{
    struct client_watch same, other, cleared;
    struct server server;
    struct transaction *txn = begin_watching(&server);

    put(&server.fakes, "same", "1");
    put(&server.fakes, "other", "1");
    cr_assert_eq(transaction_set(txn, BYTES_LITERAL("same"), BYTES_LITERAL("2")), 0);
    watch_key(txn, &same, "same"); /* it sees 2 */
    watch_key(txn, &other, "other");
    watch_key(txn, &cleared, "absent");
    run_for(&server, 20 * STEP_US);
    cr_assert_eq(transaction_set(txn, BYTES_LITERAL("same"), BYTES_LITERAL("2")), 0);
    cr_assert_eq(transaction_set(txn, BYTES_LITERAL("other"), BYTES_LITERAL("2")), 0);
    cr_assert_eq(transaction_clear(txn, BYTES_LITERAL("absent")), 0);
    transaction_sync(txn);
    cr_assert_eq(commit(&server.fakes, txn), 0);
    cr_assert_eq(wait_for(&server, &other), 0); /* overwritten with another value: at once */
    wait_for_added(&server, 2);
    cr_assert(same.call.under_way && cleared.call.under_way);
    client_watch_done(&same);
    client_watch_done(&other);
    client_watch_done(&cleared);
    end(&server, txn);
}

Test(client_watch, a_reset_a_failed_commit_and_a_disabled_look_end_it, .timeout = 30)
{
    struct client_watch watch;
    struct server server;
    struct transaction *txn = begin_watching(&server);

    watch_key(txn, &watch, "k");
    transaction_reset(txn);
    cr_assert_eq(wait_for(&server, &watch), ERROR_TRANSACTION_CANCELLED);
    client_watch_done(&watch);
    watch_key(txn, &watch, "k");
    cr_assert_eq(transaction_set(txn, BYTES_LITERAL("a"), BYTES_LITERAL("b")), 0);
    server.fakes.lose_commits_left = 1;
    cr_assert_eq(commit(&server.fakes, txn), ERROR_COMMIT_UNKNOWN_RESULT);
    cr_assert_eq(wait_for(&server, &watch), ERROR_COMMIT_UNKNOWN_RESULT);
    client_watch_done(&watch);
    transaction_reset(txn);
    cr_assert_eq(transaction_set_option(txn, 51, bytes_none()), 0);
    watch_key(txn, &watch, "k");
    cr_assert_eq(wait_for(&server, &watch), ERROR_WATCHES_DISABLED);
    client_watch_done(&watch);
    cr_assert_eq(server.sessions, 0u);
    end(&server, txn);
}

Test(client_watch, a_lost_session_registers_again_what_it_knows, .timeout = 30)
{
    struct client_watch watch;
    struct server server;
    struct transaction *txn = begin_watching(&server);
    struct rpc_request *poll;

    put(&server.fakes, "k", "seen");
    register_watch(&server, txn, &watch, "k");
    put(&server.fakes, "k", "changed while nobody looked");
    poll = server.poll;
    server.poll = NULL;
    server.lose_polls = 2;
    rpc_drop(poll);
    wait_for_added(&server, 2);
    cr_assert_eq(server.sessions, 2u);
    cr_assert_eq(server.added[1].version, server.added[0].version);
    cr_assert_eq(server.added[1].digest, watch_digest(true, BYTES_LITERAL("seen"), server.added[1].seed), "not what is there now");
    answer(&server, &(struct watch_event){server.added[1].id, 0, server.added[1].version + 5});
    cr_assert_eq(wait_for(&server, &watch), 0);
    client_watch_done(&watch);
    end(&server, txn);
}

Test(client_watch, a_moved_shard_registers_it_where_the_key_is_now, .timeout = 30)
{
    struct client_watch watch;
    struct server server;
    struct transaction *txn = begin_watching(&server);
    uint64_t old;

    register_watch(&server, txn, &watch, "k");
    old = server.added[0].id;
    answer(&server, &(struct watch_event){old, ERROR_WRONG_SHARD_SERVER, VERSION_NONE});
    wait_for_added(&server, 2);
    cr_assert_neq(server.added[1].id, old, "an answer that is still under way is not this one's");
    cr_assert_eq(server.added[1].digest, server.added[0].digest);
    answer(&server, &(struct watch_event){old, 0, server.added[1].version});
    run_for(&server, 10 * STEP_US);
    cr_assert(watch.call.under_way);
    client_watch_done(&watch);
    end(&server, txn);
}

Test(client_watch, a_cancelled_one_is_taken_back_and_makes_room, .timeout = 30)
{
    struct client_watch watches[3];
    struct server server;
    struct transaction *txn = begin_watching(&server);

    atomic_store(&server.fakes.client->watches_max, 2);
    register_watch(&server, txn, &watches[0], "a");
    register_watch(&server, txn, &watches[1], "b");
    watch_key(txn, &watches[2], "c");
    cr_assert_eq(wait_for(&server, &watches[2]), ERROR_TOO_MANY_WATCHES);
    client_watch_done(&watches[2]);
    transaction_reset(txn);
    client_watch_done(&watches[0]);
    for (int i = 0; i < ENOUGH_STEPS && server.removed_count == 0; i++)
        run_for(&server, STEP_US);
    cr_assert_eq(server.removed_count, 1);
    cr_assert_eq(server.removed[0], server.added[0].id);
    register_watch(&server, txn, &watches[2], "c");
    client_watch_done(&watches[1]);
    client_watch_done(&watches[2]);
    end(&server, txn);
}

Test(client_watch, a_server_that_lies_is_left, .timeout = 30)
{
    struct client_watch watch;
    struct server server;
    struct transaction *txn = begin_watching(&server);

    register_watch(&server, txn, &watch, "k");
    answer(&server, &(struct watch_event){server.added[0].id, 0, server.added[0].version - 1}); /* before it was asked */
    wait_for_added(&server, 2);
    cr_assert(watch.call.under_way);
    cr_assert_eq(server.sessions, 2u);
    client_watch_done(&watch);
    end(&server, txn);
}

Test(client_watch, a_full_server_is_asked_again_later, .timeout = 30)
{
    struct client_watch watch;
    struct server server;
    struct transaction *txn = begin_watching(&server);
    int64_t began_us;

    register_watch(&server, txn, &watch, "k");
    began_us = env_now_us(server.fakes.env);
    answer(&server, &(struct watch_event){server.added[0].id, ERROR_TOO_MANY_WATCHES, VERSION_NONE});
    wait_for_added(&server, 2);
    cr_assert_geq(env_now_us(server.fakes.env) - began_us, 900000, "it is not to be asked in a circle");
    cr_assert(watch.call.under_way);
    client_watch_done(&watch);
    end(&server, txn);
}

Test(client_watch, watches_end_with_the_client, .timeout = 30)
{
    struct client_watch known, reading;
    struct server server;
    struct transaction *txn = begin_watching(&server);

    register_watch(&server, txn, &known, "k");
    watch_key(txn, &reading, "z");
    client_watch_done(&reading);
    client_watch_done(&known);
    end(&server, txn);
}
