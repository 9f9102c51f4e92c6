/* Life, and how the cluster is found: every coordinator is asked who leads, until a controller is known; there a long poll
 * brings each new description. When it fails, the coordinators are asked for another leader than that one: they answer the
 * moment they know. Each keeps its last error, so that the client can always say what is in the way. */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

#include "net/buggify.h"
#include "net/trace.h"
#include "txn/client/client_internal.h"

enum { SAY_EVERY_US = 10000000 };

struct coordinator_request {
    struct client_request request; /* first */
    uint32_t index;
};

struct finder {
    struct env_timer retry; /* of all coordinators that are not being asked */
    uint64_t failed_member, failed_term;
    struct client_request *description;
    uint64_t member;
};

/* The client with what only this file sees. */
struct client_with_finder {
    struct client client; /* first */
    struct finder finder;
};

static struct finder *finder_of(struct client *client)
{
    return &container_of(client, struct client_with_finder, client)->finder;
}

static void ask_coordinators(struct client *client);
static void ask_controller(struct client *client);

/* ---- waiters ---- */

static void end_all(struct list *waiting, int error)
{
    while (!list_empty(waiting))
        client_call_end(list_entry(list_pop_front(waiting), struct client_call, link), error);
}

static void unlink_call(struct client_call *call)
{
    list_remove(&call->link);
}

void client_wait_ready(struct client_call *call, struct op *op, struct client *client)
{
    client_call_begin(call, op, client->env, unlink_call);
    if (client->description != NULL && client->description->epoch > 0)
        client_call_end(call, 0);
    else if (client->divided)
        client_call_end(call, ERROR_INVALID_CLUSTER_ID);
    else
        list_push_back(&client->waiting_ready, &call->link);
}

void client_wait_controller(struct client_call *call, struct op *op, struct client *client)
{
    client_call_begin(call, op, client->env, unlink_call);
    if (client->controller.port != 0)
        client_call_end(call, 0);
    else if (client->divided)
        client_call_end(call, ERROR_INVALID_CLUSTER_ID);
    else
        list_push_back(&client->waiting_controller, &call->link);
}

/* ---- the protocol ---- */

static bool tell_protocol(const struct client *client, struct client_protocol *protocol)
{
    if (client->protocol == 0 || client->protocol == protocol->expected)
        return false;
    protocol->version = client->protocol;
    client_call_end(&protocol->call, 0);
    return true;
}

void client_protocol_start(struct client_protocol *protocol, struct op *op, struct client *client)
{
    client_call_begin(&protocol->call, op, client->env, unlink_call);
    if (!tell_protocol(client, protocol))
        list_push_back(&client->waiting_protocol, &protocol->call.link);
}

/* A coordinator answered, or said that it speaks another version. */
static void protocol_heard(struct client *client, uint64_t version)
{
    struct list waiting;

    client->protocol = version;
    list_init(&waiting);
    list_splice(&waiting, &client->waiting_protocol);
    while (!list_empty(&waiting)) {
        struct client_call *call = list_entry(list_pop_front(&waiting), struct client_call, link);

        if (!tell_protocol(client, container_of(call, struct client_protocol, call)))
            list_push_back(&client->waiting_protocol, &call->link);
    }
}

/* ---- the description ---- */

static bool is_newer(const struct description *a, const struct description *b)
{
    if (b == NULL)
        return true;
    if (a->epoch != b->epoch)
        return a->epoch > b->epoch;
    if (a->term != b->term)
        return a->term > b->term;
    return a->number > b->number;
}

/* ---- other coordinators ---- */

static bool is_coordinator(const struct client *client, struct address address)
{
    for (uint32_t i = 0; i < client->coordinator_count; i++)
        if (address_equal(client->coordinators[i].address, address))
            return true;
    return false;
}

static void take_coordinators(struct client *client)
{
    struct coordinator *coordinators;

    for (uint32_t i = 0; i < client->coordinator_count && client->next_count > 0; i++)
        if (client->coordinators[i].request != NULL)
            return; /* it comes back here */
    if (client->next_count == 0)
        return;
    coordinators = mem_zalloc(client->next_count * sizeof(*coordinators));
    if (coordinators == NULL)
        return; /* those that are known stay; the next description tells again */
    for (uint32_t i = 0; i < client->next_count; i++)
        coordinators[i].address = client->next_coordinators[i];
    mem_free(client->coordinators);
    client->coordinators = coordinators;
    client->coordinator_count = client->next_count;
    client->next_count = 0;
}

/* True: they are others than those that are known. */
static bool expect_coordinators(struct client *client, const struct coordinator_member *members, uint32_t member_count)
{
    bool same = member_count == client->coordinator_count;

    client->next_count = 0;
    for (uint32_t i = 0; i < member_count && i < CLIENT_COORDINATORS_MAX; i++) {
        struct address address = {members[i].address.ip, members[i].address.port};

        same &= is_coordinator(client, address);
        client->next_coordinators[client->next_count++] = address;
    }
    if (same)
        client->next_count = 0;
    return client->next_count > 0;
}

/* What the controller says is committed, and goes to the cluster file. */
static void coordinators_described(struct client *client, const struct description *description)
{
    struct address named[CLIENT_COORDINATORS_MAX];
    uint32_t count = 0;

    if (!expect_coordinators(client, description->coordinators, description->coordinators_count) && !client->hinted)
        return;
    for (; count < description->coordinators_count && count < CLIENT_COORDINATORS_MAX; count++)
        named[count] = (struct address){description->coordinators[count].address.ip, description->coordinators[count].address.port};
    if (count == 0)
        return;
    PROBE(client->env, "a client hears of other coordinators");
    client->hinted = false;
    if (client->coordinators_changed != NULL)
        client->coordinators_changed(client->coordinators_ctx, named, count);
    take_coordinators(client);
}

/* One that was replaced names those who may be it now; its word may be old, so it stays in memory. */
static void coordinators_hinted(struct client *client, const struct coordinator *from, const struct get_leader_reply *reply)
{
    for (uint32_t i = 0; i < reply->members_count; i++)
        if (reply->members[i].address.ip == from->address.ip && reply->members[i].address.port == from->address.port)
            return;
    if (reply->members_count > 0 && client->controller.port == 0)
        client->hinted |= expect_coordinators(client, reply->members, reply->members_count);
}

static void adopt(struct client *client, struct message *message)
{
    const struct description *description = MESSAGE_BODY(description, message);

    if (!is_newer(description, client->description)) {
        PROBE(client->env, "a client is told a description that is not newer");
        message_unref(message);
        return;
    }
    message_unref(client->description_message);
    client->description_message = message;
    client->description = description;
    coordinators_described(client, description);
    if (description->epoch == 0)
        return;
    end_all(&client->waiting_ready, 0);
    commit_description_changed(client);
    grv_description_changed(client);
    locate_description_changed(client);
}

/* The controller's port may be another cluster's by now. */
static bool is_foreign(const struct client *client, const struct description *description)
{
    struct uid id = {description->cluster_high, description->cluster_low};

    return !uid_is_none(id) && !uid_is_none(client->cluster_id) && !uid_equal(id, client->cluster_id);
}

static void controller_lost(struct client *client, int error)
{
    struct finder *finder = finder_of(client);

    client->controller_error = error;
    client->controller = (struct address){0};
    finder->failed_member = finder->member;
    finder->failed_term = client->leader_term;
    ask_coordinators(client);
}

static void described(struct client_request *request, int error)
{
    struct client *client = request->client;
    struct message *reply = rpc_call_take(&request->rpc);

    finder_of(client)->description = NULL;
    mem_free(request);
    if (error == 0 && is_foreign(client, MESSAGE_BODY(description, reply)))
        error = ERROR_INVALID_CLUSTER_ID;
    if (error == 0 && BUGGIFY_ONE_IN(client->env, 16, "a client believes that it lost the controller"))
        error = ERROR_CONNECTION_FAILED;
    if (error != 0) {
        message_unref(reply);
        if (!client->destroying)
            controller_lost(client, error);
        return;
    }
    client->controller_error = 0;
    adopt(client, reply);
    ask_controller(client);
}

static void ask_controller(struct client *client)
{
    struct finder *finder = finder_of(client);
    const struct description *known = client->description;
    struct client_request *request = mem_zalloc(sizeof(*request));
    struct message *message;
    struct get_description *body = MESSAGE_NEW(get_description, &message);

    assert(finder->description == NULL);
    if (request == NULL || body == NULL) {
        mem_free(request);
        message_unref(message);
        controller_lost(client, ERROR_OUT_OF_MEMORY);
        return;
    }
    if (known != NULL)
        *body = (struct get_description){known->epoch, known->term, known->number};
    request->ended = described;
    finder->description = request;
    client_request_start(request, client, (struct endpoint){client->controller, ENDPOINT_CONTROLLER}, message, 0);
}

/* ---- the leader ---- */

static void leader_found(struct client *client, const struct coordinator *coordinator)
{
    client->controller = coordinator->leader;
    client->leader_term = coordinator->leader_term;
    finder_of(client)->member = coordinator->leader_member;
    end_all(&client->waiting_controller, 0);
    ask_controller(client);
}

static uint32_t count_members(const struct client *client, struct uid cluster_id)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < client->coordinator_count; i++)
        count += client->coordinators[i].has_record && uid_equal(client->coordinators[i].cluster_id, cluster_id);
    return count;
}

/* More than half of the coordinators must say the same id: two clusters can't both have that, and no cluster has a leader
 * without it. */
static void choose_cluster(struct client *client)
{
    uint32_t unknown = 0, most = 0;
    struct uid chosen = {0};

    for (uint32_t i = 0; i < client->coordinator_count; i++) {
        const struct coordinator *coordinator = &client->coordinators[i];
        uint32_t count = coordinator->has_record ? count_members(client, coordinator->cluster_id) : 0;

        unknown += !coordinator->has_record;
        if (count > most) {
            most = count;
            chosen = coordinator->cluster_id;
        }
    }
    client->divided = most + unknown <= client->coordinator_count / 2;
    if (most > client->coordinator_count / 2) {
        client->cluster_id = chosen;
        if (client->own_rpc)
            rpc_set_cluster_id(client->rpc, chosen);
    }
}

static void refuse(struct client *client)
{
    end_all(&client->waiting_ready, ERROR_INVALID_CLUSTER_ID);
    end_all(&client->waiting_controller, ERROR_INVALID_CLUSTER_ID);
    client_turn_end(client);
}

/* The newest leader that a coordinator of this cluster names. */
static void follow(struct client *client)
{
    const struct coordinator *best = NULL;

    for (uint32_t i = 0; i < client->coordinator_count; i++) {
        struct coordinator *coordinator = &client->coordinators[i];

        if (coordinator->has_record && !uid_equal(coordinator->cluster_id, client->cluster_id))
            coordinator->error = ERROR_INVALID_CLUSTER_ID;
        else if (coordinator->leader.port != 0 && (best == NULL || coordinator->leader_term > best->leader_term))
            best = coordinator;
    }
    if (best != NULL && client->controller.port == 0)
        leader_found(client, best);
}

static void note_coordinator(struct client *client, struct coordinator *coordinator, int error, const struct message *message)
{
    const struct get_leader_reply *reply;

    coordinator->asked = true;
    coordinator->error = error;
    if (error == 0)
        protocol_heard(client, QUOIN_PROTOCOL_VERSION);
    else if (error == ERROR_INCOMPATIBLE_PROTOCOL_VERSION)
        protocol_heard(client, rpc_counters(client->rpc)->foreign_version);
    if (error != 0)
        return;
    reply = MESSAGE_BODY(get_leader_reply, message);
    coordinator->cluster_id = (struct uid){reply->cluster_high, reply->cluster_low};
    coordinator->has_record = !uid_is_none(coordinator->cluster_id);
    if (coordinator->has_record && reply->leader_member != 0) {
        coordinator->leader = (struct address){reply->leader_address.ip, reply->leader_address.port};
        coordinator->leader_member = reply->leader_member;
        coordinator->leader_term = reply->term;
    }
    if (uid_is_none(client->cluster_id))
        choose_cluster(client);
    if (!uid_is_none(client->cluster_id) && uid_equal(coordinator->cluster_id, client->cluster_id))
        coordinators_hinted(client, coordinator, reply);
    if (client->divided)
        refuse(client);
    else if (!uid_is_none(client->cluster_id))
        follow(client);
}

static void ask_coordinators_later(struct client *client)
{
    struct env_timer *retry = &finder_of(client)->retry;

    if (retry->heap_index_plus_1 == 0)
        env_timer_start(client->env, retry, env_now_us(client->env) + client->env->knobs.rpc_reconnect_delay_us);
}

static void coordinator_answered(struct client_request *request, int error)
{
    struct client *client = request->client;
    struct coordinator *coordinator =
        &client->coordinators[container_of(request, struct coordinator_request, request)->index];
    struct message *reply = rpc_call_take(&request->rpc);

    coordinator->request = NULL;
    mem_free(request);
    if (error == 0 && !client->destroying && BUGGIFY(client->env, "a client does not hear a coordinator's answer")) {
        message_unref(reply);
        reply = NULL;
        error = ERROR_TIMED_OUT;
    }
    if (!client->destroying) {
        note_coordinator(client, coordinator, error, reply);
        take_coordinators(client);
        if (client->controller.port == 0)
            ask_coordinators_later(client);
    }
    message_unref(reply);
}

static void ask_coordinator(struct client *client, uint32_t index)
{
    struct finder *finder = finder_of(client);
    struct coordinator *coordinator = &client->coordinators[index];
    struct coordinator_request *request = mem_zalloc(sizeof(*request));
    int64_t timeout_us = client->env->knobs.client_connect_timeout_us;
    struct message *message;
    struct get_leader *body = MESSAGE_NEW(get_leader, &message);

    coordinator->leader = (struct address){0};
    if (request == NULL || body == NULL) {
        mem_free(request);
        message_unref(message);
        coordinator->error = ERROR_OUT_OF_MEMORY;
        ask_coordinators_later(client);
        return;
    }
    *body = (struct get_leader){finder->failed_member, finder->failed_term, timeout_us / 2};
    request->index = index;
    request->request.ended = coordinator_answered;
    coordinator->request = &request->request;
    client_request_start(&request->request, client, (struct endpoint){coordinator->address, ENDPOINT_COORDINATOR}, message,
                         timeout_us);
}

static void ask_coordinators(struct client *client)
{
    if (client->destroying || client->controller.port != 0)
        return;
    take_coordinators(client);
    if (client->next_count > 0)
        return; /* those that are being asked come back here */
    for (uint32_t i = 0; i < client->coordinator_count; i++)
        if (client->coordinators[i].request == NULL)
            ask_coordinator(client, i);
}

/* Whoever reads the log learns why nothing goes on: at once, and then every few seconds. */
static void say_why(struct client *client)
{
    char why[512];
    int64_t now_us = env_now_us(client->env);

    if (client->said_us != 0 && now_us - client->said_us < SAY_EVERY_US)
        return;
    if (client_explain(client, why, sizeof(why))[0] == '\0')
        return;
    client->said_us = now_us;
    TRACE(client->env, SEVERITY_WARN, "ClientCannotReachCluster", {"Why", trace_str(why)});
}

static void retry_fired(struct env_timer *timer)
{
    say_why(&container_of(timer, struct client_with_finder, finder.retry)->client);
    ask_coordinators(&container_of(timer, struct client_with_finder, finder.retry)->client);
}

/* ---- what it knows ---- */

const struct description *client_description(const struct client *client)
{
    return client->description;
}

uint32_t client_coordinator_count(const struct client *client)
{
    return client->coordinator_count;
}

void client_coordinator(const struct client *client, uint32_t index, struct client_coordinator *ret)
{
    const struct coordinator *coordinator = &client->coordinators[index];

    assert(index < client->coordinator_count);
    *ret = (struct client_coordinator){coordinator->address, coordinator->asked, coordinator->error, coordinator->has_record,
                                       coordinator->cluster_id};
}

struct address client_controller(const struct client *client)
{
    return client->controller;
}

__attribute__((format(printf, 4, 5))) static size_t say(char *out, size_t size, size_t len, const char *format, ...)
{
    va_list args;
    int more;

    if (len >= size)
        return len;
    va_start(args, format);
    more = vsnprintf(out + len, size - len, format, args);
    va_end(args);
    return more < 0 ? len : len + (size_t)more;
}

static const char *why_unreachable(int error)
{
    switch (error) {
    case ERROR_CONNECTION_FAILED:
    case ERROR_REQUEST_MAYBE_DELIVERED:
        return "the connection failed (is the process running?)";
    case ERROR_TIMED_OUT:
        return "no answer in time";
    case ERROR_BROKEN_PROMISE:
        return "the process there is no coordinator";
    case ERROR_INCOMPATIBLE_PROTOCOL_VERSION:
        return "it speaks another protocol version";
    case ERROR_INVALID_CLUSTER_ID:
        return "it belongs to another cluster";
    default:
        return error_text(error);
    }
}

/* Until a majority agrees, coordinators of several clusters are named in pairs: any of them may be the wrong one. */
static size_t explain_division(const struct client *client, char *out, size_t size)
{
    const struct coordinator *one = NULL;
    char a[ADDRESS_TEXT_MAX], b[ADDRESS_TEXT_MAX];
    size_t len = 0;

    if (!uid_is_none(client->cluster_id))
        return 0;
    for (uint32_t i = 0; i < client->coordinator_count; i++) {
        const struct coordinator *other = &client->coordinators[i];

        if (!other->has_record)
            continue;
        if (one == NULL)
            one = other;
        else if (!uid_equal(one->cluster_id, other->cluster_id))
            len = say(out, size, len, "the coordinators %s and %s belong to different clusters; ",
                      address_print(one->address, a), address_print(other->address, b));
    }
    return len;
}

static size_t explain_coordinators(const struct client *client, char *out, size_t size)
{
    char address[ADDRESS_TEXT_MAX];
    size_t len = explain_division(client, out, size);
    bool record = false;

    for (uint32_t i = 0; i < client->coordinator_count; i++) {
        const struct coordinator *coordinator = &client->coordinators[i];

        address_print(coordinator->address, address);
        record |= coordinator->has_record;
        if (!coordinator->asked)
            len = say(out, size, len, "coordinator %s: no answer yet; ", address);
        else if (coordinator->error != 0)
            len = say(out, size, len, "coordinator %s: %s; ", address, why_unreachable(coordinator->error));
    }
    if (len > 0)
        return len;
    return record ? say(out, size, len, "the coordinators have no leader; ")
                  : say(out, size, len, "the coordinators belong to no database yet: `configure new` creates one; ");
}

char *client_explain(const struct client *client, char *out, size_t out_size)
{
    char address[ADDRESS_TEXT_MAX];
    size_t len = 0;

    if (out_size == 0)
        return out;
    out[0] = '\0';
    if (client->controller.port == 0)
        len = explain_coordinators(client, out, out_size);
    if (client->controller.port == 0 && client->controller_error != 0)
        len = say(out, out_size, len, "the last cluster controller: %s; ", why_unreachable(client->controller_error));
    if (client->controller.port != 0 && client->description == NULL)
        len = say(out, out_size, len, "the cluster controller at %s has not answered yet; ",
                  address_print(client->controller, address));
    else if (client->controller.port != 0 && client->description->epoch == 0)
        len = say(out, out_size, len, "there is no database: `configure new` creates one; ");
    if (len >= out_size)
        len = out_size - 1;
    if (len >= 2 && out[len - 2] == ';')
        out[len - 2] = '\0';
    return out;
}

/* ---- roles ---- */

uint32_t client_role_count(const struct client *client, enum role_kind kind)
{
    const struct description *description = client->description;
    uint32_t count = 0;

    for (uint32_t i = 0; description != NULL && description->epoch != 0 && i < description->roles_count; i++)
        count += description->roles[i].kind == (uint32_t)kind;
    return count;
}

const struct role_ref *client_pick_role(struct client *client, enum role_kind kind)
{
    const struct description *description = client->description;
    uint32_t count = client_role_count(client, kind), pick;

    if (count == 0)
        return NULL;
    pick = client->grv_next++ % count;
    for (uint32_t i = 0; i < description->roles_count; i++)
        if (description->roles[i].kind == (uint32_t)kind && pick-- == 0)
            return &description->roles[i];
    return NULL;
}

bool client_role_listed(const struct client *client, struct endpoint endpoint)
{
    const struct description *description = client->description;

    for (uint32_t i = 0; description != NULL && i < description->roles_count; i++)
        if (endpoint_equal(endpoint_of(&description->roles[i].endpoint), endpoint))
            return true;
    return false;
}

/* ---- turns ---- */

static void turn_end(struct ready *ready)
{
    struct client *client = container_of(ready, struct client, turn_end);

    grv_flush(client);
    gets_flush(client);
}

void client_refuse(struct client *client, const char *what)
{
    client->lies++;
    PROBE(client->env, "a client does not believe an answer");
    TRACE(client->env, SEVERITY_WARN, "ClientAnswerRefused", {"What", trace_str(what)}, {"Refused", trace_int((int64_t)client->lies)});
}

void client_doubt_version(struct client *client, version_t version)
{
    if (version <= client->newest_proven)
        return;
    if (client->cached_version >= version)
        client->cached_version = VERSION_NONE;
    if (client->newest_told < version)
        return;
    PROBE(client->env, "a read version that nobody has heard of is forgotten");
    client->newest_told = client->newest_proven;
}

void client_turn_end(struct client *client)
{
    env_turn_end(client->env, &client->turn_end);
}

/* ---- life ---- */

static void init_lists(struct client *client)
{
    list_init(&client->waiting_ready);
    list_init(&client->waiting_controller);
    list_init(&client->waiting_protocol);
    for (int i = 0; i < GRV_CLASSES; i++)
        list_init(&client->grv[i].waiting);
    list_init(&client->grv_batches);
    list_init(&client->servers);
    list_init(&client->dirty_servers);
    list_init(&client->locating);
    list_init(&client->transactions);
    client_watches_init(&client->watches);
    op_list_init(&client->ops, client->env, client);
}

static int make_rpc(struct client *client)
{
    struct rpc_options options = {.types = message_types, .type_count = MESSAGE_ID_END, .client = true};

    client->own_rpc = true;
    return rpc_create(client->env, &options, &client->rpc);
}

int client_create(struct env *env, const struct client_options *options, struct client **ret_client)
{
    struct client_with_finder *whole = mem_zalloc(sizeof(*whole));
    struct client *client;
    int error = 0;

    assert(options->coordinator_count > 0);
    if (whole == NULL)
        return ERROR_OUT_OF_MEMORY;
    client = &whole->client;
    client->env = env;
    client->turn_end.run = turn_end;
    client->cached_version = VERSION_NONE;
    client->self_conflicts = env_random(env);
    client->second_earned_us = env_now_us(env);
    atomic_init(&client->location_cache_max, env->knobs.client_location_cache_max);
    atomic_init(&client->watches_max, CLIENT_WATCHES_DEFAULT);
    whole->finder.retry.fire = retry_fired;
    init_lists(client);
    client->coordinators = mem_zalloc(options->coordinator_count * sizeof(*client->coordinators));
    if (client->coordinators == NULL)
        error = ERROR_OUT_OF_MEMORY;
    client->rpc = options->rpc;
    if (client->rpc != NULL)
        client->cluster_id = rpc_cluster_id(client->rpc);
    if (error == 0 && client->rpc == NULL)
        error = make_rpc(client);
    if (error != 0) {
        mem_free(client->coordinators);
        mem_free(whole);
        return error;
    }
    client->coordinators_changed = options->coordinators_changed;
    client->coordinators_ctx = options->ctx;
    client->coordinator_count = options->coordinator_count;
    for (uint32_t i = 0; i < client->coordinator_count; i++)
        client->coordinators[i].address = options->coordinators[i];
    ask_coordinators(client);
    *ret_client = client;
    return 0;
}

void client_destroy(struct client *client)
{
    struct env *env;

    if (client == NULL)
        return;
    env = client->env;
    client->destroying = true;
    env_timer_cancel(env, &finder_of(client)->retry);
    env_timer_cancel(env, &client->grv_timer);
    env_timer_cancel(env, &client->locate_timer);
    env_ready_cancel(&client->turn_end);
    end_all(&client->waiting_ready, ERROR_OPERATION_CANCELLED);
    end_all(&client->waiting_controller, ERROR_OPERATION_CANCELLED);
    end_all(&client->waiting_protocol, ERROR_OPERATION_CANCELLED);
    client_watches_stop(client);
    op_cancel_all(&client->ops);
    client_watches_done(&client->watches);
    locations_clear(client);
    assert(list_empty(&client->servers));
    message_unref(client->description_message);
    if (client->own_rpc)
        rpc_destroy(client->rpc);
    mem_free(client->locations);
    bytes_buffer_done(&client->file_path);
    bytes_buffer_done(&client->connection_string);
    mem_free(client->coordinators);
    mem_free(container_of(client, struct client_with_finder, client));
}

int client_set_names(struct client *client, struct bytes file_path, struct bytes connection_string)
{
    int error;

    client->file_path.len = client->connection_string.len = 0;
    error = bytes_buffer_append(&client->file_path, file_path);
    return error != 0 ? error : bytes_buffer_append(&client->connection_string, connection_string);
}

struct env *client_env(struct client *client)
{
    return client->env;
}

struct rpc *client_rpc(struct client *client)
{
    return client->rpc;
}
