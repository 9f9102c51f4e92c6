/* Watches: from a transaction's read of a value to the storage server that says when it is another one.
 *
 * A watch is first its transaction's: it reads the value, and waits for the commit. A write of the same transaction that makes the
 * value another one fires it at once; a commit that fails fails it; a reset cancels it. After the commit it is the client's:
 *
 *   waiting (client->watches.waiting) --> session->adding --> session->registered --> fired
 *      ^______ the shard moved, the session ended _____________|
 *
 * A session is one client at one storage server: messages that count up, each a long poll (struct watch in txn/messages.h). When
 * anything goes wrong with it, all of its watches go back to waiting, and register again with the digest that they know: what
 * changed meanwhile fires then. So nothing is lost with a lost answer, and nothing that a server forgot is waited for.
 *
 * An idle watch is this struct and its key: what a wait for a location or a message needs is the session's or the client's. */
#include <assert.h>

#include "net/buggify.h"
#include "txn/client/client_internal.h"
#include "txn/client/watch.h"
#include "txn/watch_digest.h"

enum {
    ADDED_PER_MESSAGE_MAX = 2000,
    ADDED_BYTES_MAX = 1 << 20,
    POLLS_MAX = 2,            /* one to be answered by the next */
    FULL_PAUSE_US = 1000000,  /* a server with too many watches is asked again after this */
};

struct watch_session {
    struct list link; /* client_watches.sessions */
    struct client *client;
    struct client_server *server; /* shared */
    uint64_t id, number;
    struct list adding, registered; /* client_watch.link */
    struct bytes_buffer removed;    /* ids */
    uint32_t polls;                 /* under way */
    bool failed;                    /* it only waits for its polls to end */
};

/* A message of a session, under way. */
struct watch_poll {
    struct client_request request; /* first */
    struct watch_session *session;
};

/* ---- ids ---- */

/* An id is a place in the table and how often that was used. */
static int give_id(struct client_watches *watches, struct client_watch *watch)
{
    if (watches->free_slots == 0) {
        uint32_t capacity = watches->slot_count == 0 ? 16 : watches->slot_count * 2;
        struct watch_slot *grown = mem_realloc(watches->slots, capacity * sizeof(*grown));

        if (grown == NULL)
            return ERROR_OUT_OF_MEMORY;
        watches->slots = grown;
        for (uint32_t i = capacity; i > watches->slot_count; i--) {
            grown[i - 1] = (struct watch_slot){.next_free = watches->first_free};
            watches->first_free = i;
        }
        watches->free_slots = capacity - watches->slot_count;
        watches->slot_count = capacity;
    }
    watch->slot = watches->first_free;
    watches->first_free = watches->slots[watch->slot - 1].next_free;
    watches->slots[watch->slot - 1].watch = watch;
    watches->free_slots--;
    return 0;
}

static uint64_t id_of(const struct client_watches *watches, const struct client_watch *watch)
{
    return (uint64_t)watches->slots[watch->slot - 1].uses << 32 | watch->slot;
}

static struct client_watch *watch_of(const struct client_watches *watches, uint64_t id)
{
    uint32_t slot = (uint32_t)id;
    struct client_watch *watch = slot == 0 || slot > watches->slot_count ? NULL : watches->slots[slot - 1].watch;

    return watch != NULL && id_of(watches, watch) == id ? watch : NULL;
}

static void take_id(struct client_watches *watches, struct client_watch *watch)
{
    struct watch_slot *slot = &watches->slots[watch->slot - 1];

    *slot = (struct watch_slot){.uses = slot->uses + 1, .next_free = watches->first_free};
    watches->first_free = watch->slot;
    watches->free_slots++;
    watch->slot = 0;
}

/* ---- the end of a watch ---- */

/* The commit of its transaction waits for that. */
static void reading_over(struct client_watch *watch)
{
    transaction_get_done(watch->reading);
    mem_free(watch->reading);
    watch->reading = NULL;
    if (watch->txn == NULL)
        return;
    assert(watch->txn->watches_reading > 0);
    watch->txn->watches_reading--;
    transaction_reads_changed(watch->txn);
}

static void leave(struct client_watch *watch)
{
    struct client_watches *watches = &watch->client->watches;

    list_remove(&watch->link);
    if (watch->reading != NULL)
        reading_over(watch);
    mem_free(watch->key.ptr == NULL ? NULL : (void *)(uintptr_t)watch->key.ptr);
    watch->key = bytes_none();
    if (watch->slot != 0)
        take_id(watches, watch);
    if (watch->counted)
        watches->count--;
    if (watch->txn != NULL)
        atomic_fetch_sub_explicit(&watch->txn->watching, 1, memory_order_relaxed);
    watch->counted = false;
    watch->txn = NULL;
    watch->session = NULL;
}

static void end(struct client_watch *watch, int error)
{
    leave(watch);
    client_call_end(&watch->call, error);
}

static void send_later(struct client_watches *watches);

static void cancelled(struct client_call *call)
{
    struct client_watch *watch = container_of(call, struct client_watch, call);
    struct client_watches *watches = &watch->client->watches;
    struct watch_session *session = watch->session;
    uint64_t id = watch->registered ? id_of(watches, watch) : 0;

    leave(watch);
    /* No memory: the server keeps it until it fires or the session ends; what it says of it then is not heeded. */
    if (id != 0 && session != NULL && bytes_buffer_append(&session->removed, bytes_of((uint8_t *)&id, sizeof(id))) == 0)
        send_later(watches);
}

/* ---- sessions ---- */

static struct client *client_of(struct client_watches *watches)
{
    return container_of(watches, struct client, watches);
}

static void send_later(struct client_watches *watches)
{
    if (!client_of(watches)->destroying)
        env_turn_end(client_of(watches)->env, &watches->turn_end);
}

static void wait_for_place(struct client_watches *watches, struct client_watch *watch)
{
    list_remove(&watch->link);
    watch->session = NULL;
    watch->registered = false;
    list_push_back(&watches->waiting, &watch->link);
}

static void arm_timer(struct client_watches *watches, int64_t delay_us)
{
    struct env *env = client_of(watches)->env;

    if (watches->timer.heap_index_plus_1 == 0)
        env_timer_start(env, &watches->timer, env_now_us(env) + delay_us);
}

static void try_again(struct client_watches *watches)
{
    if (watches->timer.heap_index_plus_1 != 0)
        return;
    watches->delay_us = watches->delay_us == 0 ? RETRY_DELAY_US_MIN : watches->delay_us * 2;
    if (watches->delay_us > RETRY_DELAY_US_MAX)
        watches->delay_us = RETRY_DELAY_US_MAX;
    arm_timer(watches, watches->delay_us);
}

static void free_session(struct watch_session *session)
{
    assert(session->polls == 0 && list_empty(&session->adding) && list_empty(&session->registered));
    list_remove(&session->link);
    server_unref(session->client, session->server);
    bytes_buffer_done(&session->removed);
    mem_free(session);
}

/* Its watches register again, where their keys are then. */
static void fail_session(struct watch_session *session)
{
    struct client *client = session->client;
    struct list *lists[] = {&session->adding, &session->registered};

    session->failed = true;
    for (int i = 0; i < 2; i++)
        while (!list_empty(lists[i])) {
            struct client_watch *watch = list_entry(lists[i]->next, struct client_watch, link);

            location_forget(client, watch->key, false);
            wait_for_place(&client->watches, watch);
        }
    session->removed.len = 0;
    if (!client->destroying && !list_empty(&client->watches.waiting))
        try_again(&client->watches);
}

static struct watch_session *obtain_session(struct client *client, struct client_server *server)
{
    struct watch_session *session;

    list_each(node, after, &client->watches.sessions) {
        session = list_entry(node, struct watch_session, link);
        if (session->server == server && !session->failed)
            return session;
    }
    session = mem_zalloc(sizeof(*session));
    if (session == NULL)
        return NULL;
    session->client = client;
    session->server = server;
    server->refs++;
    session->id = env_random(client->env);
    list_init(&session->adding);
    list_init(&session->registered);
    list_push_back(&client->watches.sessions, &session->link);
    return session;
}

/* ---- what a server says ---- */

/* False: it says what it can't know. */
static bool take_event(struct watch_session *session, const struct watch_event *event)
{
    struct client_watches *watches = &session->client->watches;
    struct client_watch *watch = watch_of(watches, event->id);

    if (watch == NULL)
        return true; /* cancelled meanwhile */
    if (watch->session != session || !watch->registered)
        return false;
    if (event->error == 0 && event->version < watch->version)
        return false;
    if (event->error == 0) {
        PROBE(session->client->env, "client_watch_fired");
        end(watch, 0);
        return true;
    }
    take_id(watches, watch);
    if (give_id(watches, watch) != 0) {
        end(watch, ERROR_OUT_OF_MEMORY);
        return true;
    }
    if (event->error == ERROR_WRONG_SHARD_SERVER)
        location_forget(session->client, watch->key, false);
    wait_for_place(watches, watch);
    if (event->error == ERROR_TOO_MANY_WATCHES)
        arm_timer(watches, FULL_PAUSE_US);
    else
        try_again(watches);
    return true;
}

static void poll_ended(struct client_request *request, int error)
{
    struct watch_poll *poll = container_of(request, struct watch_poll, request);
    struct watch_session *session = poll->session;
    struct client *client = request->client;
    struct message *reply = rpc_call_take(&request->rpc);
    const struct watch_reply *body = error != 0 ? NULL : MESSAGE_BODY(watch_reply, reply);

    session->polls--;
    for (uint32_t i = 0; body != NULL && !session->failed && i < body->events_count; i++)
        if (!take_event(session, &body->events[i]))
            error = ERROR_BROKEN_PROMISE;
    if (error == 0)
        client->watches.delay_us = 0;
    if (error != 0 && !session->failed) {
        PROBE(client->env, "client_watch_session_failed");
        if (client_error_is_transport(error))
            server_failed(client, session->server, 0);
        fail_session(session);
    }
    if (session->failed && session->polls == 0)
        free_session(session);
    else
        send_later(&client->watches);
    message_unref(reply);
    mem_free(poll);
}

/* ---- what is said to a server ---- */

static bool fill_added(struct watch_session *session, struct message *message, struct watch *body)
{
    const struct client_watches *watches = &session->client->watches;
    size_t bytes = 0;

    body->added = arena_alloc(&message->arena, ADDED_PER_MESSAGE_MAX * sizeof(*body->added));
    if (body->added == NULL)
        return false;
    list_each(node, after, &session->adding) {
        const struct client_watch *watch = list_entry(node, struct client_watch, link);
        struct watch_key *key = &body->added[body->added_count];

        if (body->added_count == ADDED_PER_MESSAGE_MAX || bytes > ADDED_BYTES_MAX)
            break;
        *key = (struct watch_key){
            .id = id_of(watches, watch), .digest = watch->digest, .seed = watch->seed, .version = watch->version};
        if (arena_copy(&message->arena, watch->key, &key->key) != 0)
            return false;
        bytes += watch->key.len;
        body->added_count++;
    }
    return true;
}

static bool fill_removed(struct watch_session *session, struct message *message, struct watch *body)
{
    struct bytes ids;

    if (arena_copy(&message->arena, bytes_buffer_bytes(&session->removed), &ids) != 0)
        return false;
    body->removed = (uint64_t *)(uintptr_t)ids.ptr;
    body->removed_count = (uint32_t)(ids.len / sizeof(uint64_t));
    return true;
}

static void send_poll(struct watch_session *session)
{
    struct watch_poll *poll = mem_zalloc(sizeof(*poll));
    struct message *message = NULL;
    struct watch *body = poll == NULL ? NULL : MESSAGE_NEW(watch, &message);

    if (body == NULL || !fill_removed(session, message, body) || !fill_added(session, message, body)) {
        message_unref(message);
        mem_free(poll);
        arm_timer(&session->client->watches, RETRY_DELAY_US_MAX); /* no memory: the timer comes here again */
        return;
    }
    body->session = session->id;
    body->number = ++session->number;
    session->removed.len = 0;
    for (uint32_t i = 0; i < body->added_count; i++) {
        struct client_watch *watch = list_entry(list_pop_front(&session->adding), struct client_watch, link);

        watch->registered = true;
        list_push_back(&session->registered, &watch->link);
    }
    poll->session = session;
    poll->request.ended = poll_ended;
    session->polls++;
    client_request_start(&poll->request, session->client, session->server->endpoint, message, 0);
}

static void send_session(struct watch_session *session)
{
    bool news = !list_empty(&session->adding) || session->removed.len > 0;

    if (session->failed)
        return;
    while (session->polls < POLLS_MAX && (!list_empty(&session->adding) || session->removed.len > 0)) {
        uint32_t before = session->polls;

        send_poll(session);
        if (session->polls == before)
            return;
    }
    if (session->polls == 0 && !news && !list_empty(&session->registered))
        send_poll(session);
    else if (session->polls == 0 && list_empty(&session->registered) && list_empty(&session->adding))
        free_session(session); /* the server drops it when nobody asks any more */
}

/* ---- finding a place ---- */

static void located(struct client_locate *locate)
{
    struct client_watches *watches = container_of(locate, struct client_watches, locate);

    env_turn_end(client_of(watches)->env, &watches->turn_end);
}

/* False: nothing more can be placed now. */
static bool place(struct client *client, struct client_watch *watch)
{
    const struct client_location *location = location_find(client, watch->key, false);
    struct client_server *server;
    struct watch_session *session;
    uint32_t replica;

    if (location == NULL)
        return false;
    server = location_pick(client, location, 0, &replica);
    session = server == NULL ? NULL : obtain_session(client, server);
    if (session == NULL)
        return false;
    list_remove(&watch->link);
    watch->session = session;
    list_push_back(&session->adding, &watch->link);
    return true;
}

/* The first key that is not known is asked for; its answer brings the shards behind it as well. */
static void ask_location(struct client *client, struct bytes key)
{
    struct client_watches *watches = &client->watches;

    if (list_linked(&watches->locate.link))
        return;
    watches->locate_buffer.len = 0;
    if (bytes_buffer_append(&watches->locate_buffer, key) != 0) {
        arm_timer(watches, RETRY_DELAY_US_MAX);
        return;
    }
    watches->locate = (struct client_locate){.key = bytes_buffer_bytes(&watches->locate_buffer), .got = located};
    locate_ask(client, &watches->locate);
}

static void turn_end(struct ready *ready)
{
    struct client_watches *watches = container_of(ready, struct client_watches, turn_end);
    struct client *client = client_of(watches);

    while (!list_empty(&watches->waiting) && watches->timer.heap_index_plus_1 == 0) {
        struct client_watch *watch = list_entry(watches->waiting.next, struct client_watch, link);

        if (place(client, watch))
            continue;
        if (location_find(client, watch->key, false) == NULL)
            ask_location(client, watch->key);
        else
            try_again(watches);
        break;
    }
    list_each(node, after, &watches->sessions)
        send_session(list_entry(node, struct watch_session, link));
}

static void timer_fired(struct env_timer *timer)
{
    struct client_watches *watches = container_of(timer, struct client_watches, timer);

    env_turn_end(client_of(watches)->env, &watches->turn_end);
}

/* ---- the transaction's part ---- */

static int take_value(struct client_watch *watch, bool present, struct bytes value)
{
    watch->digest = watch_digest(present, value, watch->seed);
    watch->present = present;
    watch->known = true;
    return 0;
}

static void read_done(struct client_call *call)
{
    struct transaction_get *get = container_of(call, struct transaction_get, call);
    struct client_watch *watch = call->ctx;
    int error = call->error;

    if (error == 0)
        error = take_value(watch, get->present, bytes_buffer_bytes(&get->value));
    if (error != 0) {
        end(watch, error);
        return;
    }
    watch->ops = get->ops;
    reading_over(watch);
}

static int copy_key(struct client_watch *watch, struct bytes key)
{
    uint8_t *copy = mem_alloc(key.len == 0 ? 1 : key.len);

    if (copy == NULL)
        return ERROR_OUT_OF_MEMORY;
    if (key.len > 0)
        memcpy(copy, key.ptr, key.len);
    watch->key = bytes_of(copy, key.len);
    return 0;
}

static bool reads_no_writes(struct transaction *txn)
{
    bool off;

    transaction_lock(txn);
    off = txn->ryw_off;
    transaction_unlock(txn);
    return off;
}

static int prepare(struct client_watch *watch, struct transaction *txn, struct bytes key)
{
    bool answered;
    int error;

    watch->reading = mem_zalloc(sizeof(*watch->reading));
    error = watch->reading == NULL ? ERROR_OUT_OF_MEMORY : copy_key(watch, key);
    if (error != 0)
        return error;
    answered = transaction_get_prepare(watch->reading, txn, key, false);
    if (answered && watch->reading->call.error != 0)
        return watch->reading->call.error;
    if (answered)
        return take_value(watch, watch->reading->present, bytes_buffer_bytes(&watch->reading->value));
    return 0;
}

bool transaction_watch_prepare(struct client_watch *watch, struct transaction *txn, struct bytes key, uint64_t seed)
{
    int error = reads_no_writes(txn) ? ERROR_WATCHES_DISABLED : 0;

    watch->client = txn->client;
    watch->seed = seed;
    watch->incarnation = transaction_incarnation(txn);
    if (error == 0)
        error = prepare(watch, txn, key);
    watch->call.error = error;
    if (error != 0)
        client_watch_done(watch);
    return error != 0;
}

void transaction_watch_submit(struct client_watch *watch, struct op *op, struct transaction *txn)
{
    struct client_watches *watches = &txn->client->watches;
    struct transaction_get *reading = watch->reading;

    transaction_call_begin(txn, &watch->call, op, cancelled);
    watch->txn = txn;
    txn->watches_reading++;
    atomic_fetch_add_explicit(&txn->watching, 1, memory_order_relaxed);
    list_push_back(&txn->watches, &watch->link);
    transaction_begun(txn, watch->incarnation);
    if (!watch->call.under_way)
        return;
    if (watches->count >= atomic_load_explicit(&txn->client->watches_max, memory_order_relaxed)) {
        end(watch, ERROR_TOO_MANY_WATCHES);
        return;
    }
    watches->count++;
    watch->counted = true;
    if (watch->known) {
        watch->ops = reading->ops;
        reading_over(watch);
    } else {
        reading->call.done = read_done;
        reading->call.ctx = watch;
        transaction_get_submit(reading, NULL);
    }
}

void transaction_watch_start(struct client_watch *watch, struct op *op, struct transaction *txn, struct bytes key)
{
    int error;

    if (!transaction_watch_prepare(watch, txn, key, env_random(txn->client->env))) {
        transaction_watch_submit(watch, op, txn);
        return;
    }
    error = watch->call.error;
    transaction_call_begin(txn, &watch->call, op, cancelled);
    client_call_end(&watch->call, error);
}

void client_watch_done(struct client_watch *watch)
{
    client_call_cancel(&watch->call);
    if (watch->reading != NULL)
        reading_over(watch);
    mem_free(watch->key.ptr == NULL ? NULL : (void *)(uintptr_t)watch->key.ptr);
    watch->key = bytes_none();
}

/* Has the transaction written another value since the watch began? Under the lock. */
static bool overwritten(const struct transaction *txn, const struct client_watch *watch)
{
    struct ryw_value own;

    if (!watch->known || watch->incarnation != transaction_incarnation((struct transaction *)(uintptr_t)txn))
        return false;
    ryw_get(&txn->ryw, watch->key, &own);
    switch (own.kind) {
    case RYW_UNKNOWN:
        return false;
    case RYW_SET:
        return watch_digest(true, own.value, watch->seed) != watch->digest;
    case RYW_CLEARED:
        return watch->present;
    case RYW_OPS:
        return own.ops != watch->ops;
    case RYW_UNREADABLE:
        return true;
    }
    return false;
}

void watches_look_at_writes(struct transaction *txn)
{
    struct list fired;

    list_init(&fired);
    transaction_lock(txn);
    list_each(node, after, &txn->watches) {
        if (!overwritten(txn, list_entry(node, struct client_watch, link)))
            continue;
        list_remove(node);
        list_push_back(&fired, node);
    }
    transaction_unlock(txn);
    while (!list_empty(&fired))
        end(list_entry(fired.next, struct client_watch, link), 0);
}

void watches_end(struct transaction *txn, int error, bool all, uint32_t but_incarnation)
{
    list_each(node, after, &txn->watches) {
        struct client_watch *watch = list_entry(node, struct client_watch, link);

        if (all || watch->incarnation != but_incarnation)
            end(watch, error);
    }
}

void watches_begin(struct transaction *txn, version_t version)
{
    struct client_watches *watches = &txn->client->watches;

    list_each(node, after, &txn->watches) {
        struct client_watch *watch = list_entry(node, struct client_watch, link);

        if (!watch->known) /* asked for during the commit */
            continue;
        list_remove(node);
        atomic_fetch_sub_explicit(&txn->watching, 1, memory_order_relaxed);
        watch->txn = NULL;
        watch->call.ended = NULL; /* the transaction may go */
        watch->version = version;
        if (watch->detached != NULL)
            watch->detached(watch);
        if (give_id(watches, watch) != 0) {
            end(watch, ERROR_OUT_OF_MEMORY);
            continue;
        }
        list_push_back(&watches->waiting, &watch->link);
        env_turn_end(txn->client->env, &watches->turn_end);
    }
}

/* ---- life ---- */

void client_watches_init(struct client_watches *watches)
{
    list_init(&watches->waiting);
    list_init(&watches->sessions);
    watches->turn_end.run = turn_end;
    watches->timer.fire = timer_fired;
}

void client_watches_stop(struct client *client)
{
    struct client_watches *watches = &client->watches;

    env_timer_cancel(client->env, &watches->timer);
    env_ready_cancel(&watches->turn_end);
    locate_cancel(&watches->locate);
}

void client_watches_done(struct client_watches *watches)
{
    while (!list_empty(&watches->sessions))
        free_session(list_entry(watches->sessions.next, struct watch_session, link));
    assert(watches->count == 0);
    bytes_buffer_done(&watches->locate_buffer);
    mem_free(watches->slots);
}
