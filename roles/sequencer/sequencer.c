/* Hands out versions as the clock goes, one after the other, each with its predecessor.
 *
 * No request waits for anything but the committed version and missing predecessors, so none has an op: each is answered in its
 * turn, or stands in `waiting` until the turn in which it can be.
 *
 * What must hold:
 *   - A version is never more than VERSIONS_IN_FLIGHT_MAX above the committed one. Only the epoch's first is, for it stands
 *     above whatever the last epoch can have handed out; until it has committed there is no second.
 *   - The requests of one proxy get their versions in the order of their numbers. If request 7 arrives on a new connection
 *     before the repeated 6, it waits: otherwise the proxy's batch 6 would have to wait for the metadata of its batch 7.
 *   - A repeat gets the answer that the first one got.
 *   - A partition of the key space among the resolvers counts from a version that nobody has yet, and each proxy hears of it with the
 *     first version from there on: with every one that it asked for before it had it (balance.c).
 *   - Lock state and metadataVersion are always those as of the committed version: a report carries them as of its own
 *     version, and only the newest counts. */
#include "roles/sequencer/sequencer.h"

#include <assert.h>

#include "net/buggify.h"
#include "net/mem.h"
#include "net/planted_bug.h"
#include "roles/sequencer/sequencer_internal.h"

/* After a long silence the clock does not make up for all of it: versions would jump out of every reader's window. */
#define ADVANCE_MAX MAX_WRITE_TRANSACTION_LIFE_VERSIONS

static void invariant_sequencer(void *owner)
{
    const struct sequencer *self = owner;

    assert(self->committed <= self->newest);
    assert(self->state_version <= self->committed);
    assert(self->committed >= self->recovery_version);
    if (self->committed > self->recovery_version)
        assert(self->newest <= self->committed + VERSIONS_IN_FLIGHT_MAX);
    assert((self->waiting_count == 0) == list_empty(&self->waiting));
    /* Nobody has a version that a partition counts for and was not told of it: it counts from the next one at the latest. */
    assert(resolver_map_newest(&self->balance.map)->from <= self->newest + 1);
}

static void end(struct sequencer *self, int error)
{
    if (self->ended)
        return;
    self->ended = true;
    TRACE(self->context.env, SEVERITY_WARN_ALWAYS, "RoleCannotGoOn", {"Role", trace_str("sequencer")},
          {"Id", trace_id(self->id)}, {"Epoch", trace_int((int64_t)self->epoch)}, {"Error", trace_int(error)});
    self->context.ended(self->context.host, ROLE_SEQUENCER, self->id, error);
}

/* ---- commit versions ---- */

static struct proxy *find_proxy(struct sequencer *self, uint64_t id)
{
    for (size_t i = 0; i < self->proxy_count; i++)
        if (self->proxies[i]->id == id || PLANTED_BUG(VERSION_GIVEN_TWICE))
            return self->proxies[i];
    return NULL;
}

static struct proxy *add_proxy(struct sequencer *self, uint64_t id)
{
    struct proxy **grown, *proxy;

    if (self->proxy_count == PROXIES_MAX)
        return NULL;
    grown = mem_realloc(self->proxies, (self->proxy_count + 1) * sizeof(*grown));
    if (grown == NULL)
        return NULL;
    self->proxies = grown;
    proxy = mem_zalloc(sizeof(*proxy));
    if (proxy == NULL)
        return NULL;
    proxy->id = id;
    grown[self->proxy_count++] = proxy;
    return proxy;
}

/* The next version, or VERSION_NONE when the committed one must move first. */
static version_t next_version(struct sequencer *self)
{
    int64_t now_us = env_now_us(self->context.env);
    version_t advance = (now_us - self->newest_us) * VERSIONS_PER_SECOND / 1000000, next;
    version_t limit = self->committed + VERSIONS_IN_FLIGHT_MAX;

    if (self->newest == self->recovery_version) { /* the first of the epoch */
        self->newest_us = now_us;
        return self->recovery_version + VERSIONS_IN_FLIGHT_MAX + 1;
    }
    if (BUGGIFY(self->context.env, "versions jump ahead by up to a second"))
        advance += (version_t)env_random_below(self->context.env, (uint64_t)VERSIONS_PER_SECOND);
    if (BUGGIFY(self->context.env, "versions go up one by one"))
        advance = 1;
    if (BUGGIFY(self->context.env, "few versions may be in flight above the committed one"))
        limit = self->committed + FEW_VERSIONS;
    advance = advance < 1 ? 1 : advance > ADVANCE_MAX ? ADVANCE_MAX : advance;
    next = self->newest + advance < limit ? self->newest + advance : limit;
    if (next <= self->newest) {
        assert(self->newest > self->committed); /* a report will come */
        PROBE(self->context.env, "a version must wait until the committed one moves");
        return VERSION_NONE;
    }
    self->newest_us = now_us;
    return next;
}

static void answer(struct sequencer *self, struct rpc_request *request, const struct answer *answer)
{
    struct message *message;
    struct get_commit_version_reply *reply = MESSAGE_NEW(get_commit_version_reply, &message);
    uint64_t known = MESSAGE_BODY(get_commit_version, request->message)->partition;
    int error = ERROR_OUT_OF_MEMORY;

    if (reply != NULL) {
        reply->version = answer->version;
        reply->prev_version = answer->prev_version;
        error = balance_tell(self, known, &message->arena, reply);
    }
    if (error != 0) {
        message_unref(message);
        rpc_fail(request, ERROR_REQUEST_MAYBE_DELIVERED); /* it asks again, and is answered from memory */
        return;
    }
    rpc_reply(request, message);
}

static void answer_repeat(struct sequencer *self, struct rpc_request *request, const struct proxy *proxy, uint64_t number)
{
    self->repeats++;
    PROBE(self->context.env, "a request for a version was repeated");
    if (number + ANSWERS_KEPT <= proxy->newest)
        rpc_fail(request, ERROR_OPERATION_OBSOLETE);
    else
        answer(self, request, &proxy->answers[number % ANSWERS_KEPT]);
}

/* True when the request has been answered. */
static bool try_answer(struct sequencer *self, struct rpc_request *request)
{
    const struct get_commit_version *body = MESSAGE_BODY(get_commit_version, request->message);
    struct proxy *proxy = find_proxy(self, body->proxy);
    struct answer given;

    if (body->partition > proxy->partition)
        proxy->partition = body->partition;
    if (body->request <= proxy->newest) {
        answer_repeat(self, request, proxy, body->request);
        return true;
    }
    if (body->request != proxy->newest + 1) {
        PROBE(self->context.env, "a request for a version waits for the one before it");
        return false;
    }
    given = (struct answer){next_version(self), self->newest};
    if (given.version == VERSION_NONE)
        return false;
    assert(given.version > given.prev_version);
    self->newest = given.version;
    self->versions_given++;
    proxy->newest = body->request;
    proxy->answers[body->request % ANSWERS_KEPT] = given;
    answer(self, request, &given);
    return true;
}

/* One that was answered may be what another waited for. */
static void answer_waiting(struct sequencer *self)
{
    bool again = true;

    while (again) {
        again = false;
        list_each(node, after, &self->waiting) {
            struct rpc_request *request = list_entry(node, struct rpc_request, link);

            list_remove(node);
            if (try_answer(self, request)) {
                self->waiting_count--;
                again = true;
            } else {
                list_push_front(after->prev, node); /* back to its place */
            }
        }
    }
}

/* A repeat takes the place of the one that waits: its connection has gone. */
static void drop_older(struct sequencer *self, const struct get_commit_version *body)
{
    list_each(node, after, &self->waiting) {
        struct rpc_request *request = list_entry(node, struct rpc_request, link);
        const struct get_commit_version *other = MESSAGE_BODY(get_commit_version, request->message);

        if (other->proxy != body->proxy || other->request != body->request)
            continue;
        PROBE(self->context.env, "a repeat takes the place of a request for a version that waits");
        list_remove(node);
        self->waiting_count--;
        rpc_fail(request, ERROR_REQUEST_MAYBE_DELIVERED);
    }
}

static void receive_get_commit_version(struct sequencer *self, struct rpc_request *request)
{
    const struct get_commit_version *body = MESSAGE_BODY(get_commit_version, request->message);

    if (body->request == 0 || body->partition > resolver_map_newest(&self->balance.map)->number || (find_proxy(self, body->proxy) == NULL && add_proxy(self, body->proxy) == NULL)) {
        rpc_fail(request, ERROR_CLIENT_INVALID_OPERATION);
        return;
    }
    drop_older(self, body);
    if (BUGGIFY_DEATH(self->context.env, 5000, "a sequencer ends when it should give a version")) {
        rpc_fail(request, ERROR_BROKEN_PROMISE);
        end(self, ERROR_OPERATION_FAILED);
        return;
    }
    if (self->waiting_count == WAITING_MAX) {
        rpc_fail(request, ERROR_SERVER_REQUEST_QUEUE_FULL);
        return;
    }
    list_push_back(&self->waiting, &request->link);
    self->waiting_count++;
    answer_waiting(self);
}

/* ---- the committed version ---- */

static int take_state(struct sequencer *self, const struct report_committed *body)
{
    struct bytes_buffer *buffer = &self->metadata_version;
    int error = bytes_buffer_reserve(buffer, body->metadata_version.len);

    if (error != 0)
        return error;
    buffer->len = 0;
    bytes_buffer_append(buffer, body->metadata_version); /* there is room */
    self->locked = body->locked;
    self->state_version = body->version;
    return 0;
}

static int take_report(struct sequencer *self, const struct report_committed *body)
{
    int error = 0;

    if (body->version > self->newest || body->version <= self->recovery_version)
        return ERROR_CLIENT_INVALID_OPERATION; /* not a version of this epoch */
    self->reports++;
    if (body->version < self->committed)
        PROBE(self->context.env, "a report comes after that of a later version");
    if (body->changed && body->version > self->state_version && body->version >= self->committed)
        error = take_state(self, body);
    if (error == 0 && body->version > self->committed)
        self->committed = body->version;
    return error;
}

static void hear_report(struct sequencer *self, struct rpc_request *request)
{
    struct message *reply;
    int error = take_report(self, MESSAGE_BODY(report_committed, request->message));

    if (error == 0 && MESSAGE_NEW(done, &reply) == NULL)
        error = ERROR_OUT_OF_MEMORY;
    if (error != 0) {
        rpc_fail(request, error);
        if (error == ERROR_OUT_OF_MEMORY)
            end(self, error);
        return;
    }
    rpc_reply(request, reply);
    if (BUGGIFY_DEATH(self->context.env, 5000, "a sequencer ends when a version was reported"))
        end(self, ERROR_OPERATION_FAILED);
    answer_waiting(self);
}

static void hear_all(struct env_timer *timer)
{
    struct sequencer *self = container_of(timer, struct sequencer, hearing);

    while (!list_empty(&self->unheard))
        hear_report(self, list_entry(list_pop_front(&self->unheard), struct rpc_request, link));
    invariant_sequencer(self);
}

/* While the simulator lets one report be late, so are those behind it: else they would tell what it tells. */
static void receive_report(struct sequencer *self, struct rpc_request *request)
{
    struct env *env = self->context.env;

    if (list_empty(&self->unheard)) {
        if (!BUGGIFY(env, "a sequencer hears late of what has committed: read versions from before it")) {
            hear_report(self, request);
            return;
        }
        env_timer_start(env, &self->hearing, env_now_us(env) + (int64_t)env_random_below(env, DEAF_US));
    }
    list_push_back(&self->unheard, &request->link);
}

static void receive_get_committed(struct sequencer *self, struct rpc_request *request)
{
    struct message *message;
    struct get_committed_reply *reply = MESSAGE_NEW(get_committed_reply, &message);

    if (reply == NULL || arena_copy(&message->arena, bytes_buffer_bytes(&self->metadata_version), &reply->metadata_version) != 0) {
        message_unref(message);
        rpc_fail(request, ERROR_OUT_OF_MEMORY);
        return;
    }
    self->reads++;
    reply->epoch = self->epoch;
    reply->version = self->committed;
    reply->locked = self->locked;
    rpc_reply(request, message);
}

/* ---- life ---- */

static void receive(void *ctx, struct rpc_request *request)
{
    struct sequencer *self = ctx;

    if (request->message->type == &message_type_get_commit_version)
        receive_get_commit_version(self, request);
    else if (request->message->type == &message_type_report_committed)
        receive_report(self, request);
    else if (request->message->type == &message_type_get_committed)
        receive_get_committed(self, request);
    else
        rpc_fail(request, ERROR_CLIENT_INVALID_OPERATION);
    invariant_sequencer(self);
}

static void dispose(struct sequencer *self)
{
    for (size_t i = 0; i < self->proxy_count; i++)
        mem_free(self->proxies[i]);
    mem_free(self->proxies);
    bytes_buffer_done(&self->metadata_version);
    balance_done(self);
    mem_free(self);
}

static int create(const struct role_context *context, const struct init_sequencer *init, struct sequencer **ret_sequencer)
{
    struct sequencer *self = mem_zalloc(sizeof(*self));
    int error;

    if (self == NULL)
        return ERROR_OUT_OF_MEMORY;
    self->context = *context;
    self->id = init->role_id;
    self->epoch = init->epoch;
    self->recovery_version = self->newest = self->committed = self->state_version = init->recovery_version;
    self->locked = init->locked;
    list_init(&self->waiting);
    list_init(&self->unheard);
    self->hearing.fire = hear_all;
    op_list_init(&self->ops, context->env, self);
    self->ops.invariant = invariant_sequencer;
    error = bytes_buffer_append(&self->metadata_version, init->metadata_version);
    if (error == 0)
        error = balance_init(self, init);
    if (error == 0)
        *ret_sequencer = self;
    else
        dispose(self);
    return error;
}

int sequencer_create(const struct role_context *context, struct rpc_request *request, struct sequencer **ret_sequencer)
{
    const struct init_sequencer *init = MESSAGE_BODY(init_sequencer, request->message);
    struct sequencer *self;
    struct message *message;
    struct role_started *started;
    int error;

    if (init->recovery_version < 0 || init->recovery_version > VERSION_MAX / 2)
        return ERROR_CLIENT_INVALID_OPERATION;
    error = create(context, init, &self);
    if (error != 0)
        return error;
    started = MESSAGE_NEW(role_started, &message);
    if (started == NULL) {
        dispose(self);
        return ERROR_OUT_OF_MEMORY;
    }
    started->role_id = self->id;
    rpc_register(context->rpc, self->id, receive, self);
    balance_start(self);
    rpc_reply(request, message);
    *ret_sequencer = self;
    return 0;
}

void sequencer_destroy(struct sequencer *self)
{
    if (self == NULL)
        return;
    rpc_unregister(self->context.rpc, self->id);
    op_cancel_all(&self->ops);
    env_timer_cancel(self->context.env, &self->hearing);
    while (!list_empty(&self->unheard))
        rpc_fail(list_entry(list_pop_front(&self->unheard), struct rpc_request, link), ERROR_BROKEN_PROMISE);
    while (!list_empty(&self->waiting))
        rpc_fail(list_entry(list_pop_front(&self->waiting), struct rpc_request, link), ERROR_BROKEN_PROMISE);
    dispose(self);
}

void sequencer_status(const struct sequencer *self, struct role_status *status, struct arena *arena)
{
    role_metric(status, arena, "version", self->newest);
    role_metric(status, arena, "committed_version", self->committed);
    role_metric(status, arena, "recovery_version", self->recovery_version);
    role_metric(status, arena, "locked", self->locked);
    role_metric(status, arena, "versions_given", (int64_t)self->versions_given);
    role_metric(status, arena, "reports", (int64_t)self->reports);
    role_metric(status, arena, "committed_version_reads", (int64_t)self->reads);
    role_metric(status, arena, "repeated_requests", (int64_t)self->repeats);
    role_metric(status, arena, "waiting_requests", (int64_t)self->waiting_count);
    role_metric(status, arena, "resolver_partition", (int64_t)resolver_map_newest(&self->balance.map)->number);
    role_metric(status, arena, "resolver_partition_version", resolver_map_newest(&self->balance.map)->from);
}
