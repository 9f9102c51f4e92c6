/* Read versions: all that a turn asks for travels in one message to one GRV proxy, a message a priority and a set of tags.
 *
 * A batch that could not be answered (its proxy died, its epoch ended) is asked again elsewhere: asking has no effect. The
 * first retry waits for a moment unless a new description comes. Only what the proxy says of the request itself goes up. */
#include <assert.h>

#include "net/buggify.h"
#include "net/planted_bug.h"
#include "txn/client/client_internal.h"

struct grv_batch {
    struct client_request request; /* first */
    struct list link;              /* client->grv_batches */
    struct list waits;
    struct tag_set tags; /* of each of them */
    uint32_t count;
    unsigned grv_class;
    version_t least; /* told to anybody before this was asked: what is given now is not below it */
};

void grv_ask(struct client *client, struct grv_wait *wait)
{
    struct grv_class *class = &client->grv[wait->grv_class];

    assert(!list_linked(&wait->link));
    list_push_back(&class->waiting, &wait->link);
    client_turn_end(client);
}

void grv_cancel(struct client *client, struct grv_wait *wait)
{
    (void)client; /* a batch that nobody waits for is harmless */
    list_remove(&wait->link);
}

static bool goes_up(int error)
{
    return error == ERROR_GRV_PROXY_MEMORY_LIMIT_EXCEEDED || error == ERROR_BATCH_TRANSACTION_THROTTLED ||
           error == ERROR_TAG_THROTTLED;
}

static void give(struct grv_batch *batch, int error, const struct get_read_version_reply *reply, int64_t tag_wait_us)
{
    while (!list_empty(&batch->waits)) {
        struct grv_wait *wait = list_entry(list_pop_front(&batch->waits), struct grv_wait, link);

        wait->tag_wait_us = tag_wait_us;
        wait->got(wait, error, reply == NULL ? VERSION_NONE : reply->version, reply != NULL && reply->locked);
    }
}

static void refuse(struct client *client, unsigned grv_class, int error)
{
    while (!list_empty(&client->grv[grv_class].waiting)) {
        struct grv_wait *wait = list_entry(list_pop_front(&client->grv[grv_class].waiting), struct grv_wait, link);

        wait->tag_wait_us = 0;
        wait->got(wait, error, VERSION_NONE, false);
    }
}

static void grv_timer_fired(struct env_timer *timer)
{
    grv_flush(container_of(timer, struct client, grv_timer));
}

/* Back into the queue, in front; asked again after a pause that doubles. */
static void ask_again(struct client *client, struct grv_batch *batch)
{
    struct grv_class *class = &client->grv[batch->grv_class];

    list_splice(&batch->waits, &class->waiting);
    list_splice(&class->waiting, &batch->waits);
    client->grv_delay_us = client->grv_delay_us == 0 ? RETRY_DELAY_US_MIN : client->grv_delay_us * 2;
    if (client->grv_delay_us > RETRY_DELAY_US_MAX)
        client->grv_delay_us = RETRY_DELAY_US_MAX;
    client->grv_timer.fire = grv_timer_fired;
    env_timer_start(client->env, &client->grv_timer, env_now_us(client->env) + client->grv_delay_us);
}

/* What of the time that the question took its tag was to blame for: a proxy may say anything. */
static int64_t tag_wait_of(const struct client_request *request, int error)
{
    int64_t took_us = request->client->env->turn_us - request->op.started_us;
    int64_t said_us = took_us;

    if (error != ERROR_TAG_THROTTLED)
        said_us = error == 0 ? MESSAGE_BODY(get_read_version_reply, request->rpc.reply)->tag_wait_us : 0;
    return said_us < 0 ? 0 : said_us < took_us ? said_us : took_us;
}

/* For use_grv_cache: as old as the question. */
static void remember(struct client *client, const struct grv_batch *batch, const struct get_read_version_reply *reply)
{
    if (batch->request.op.started_us < client->cached_us)
        return;
    client->cached_version = reply->version;
    client->cached_us = batch->request.op.started_us;
    client->cached_locked = reply->locked && !PLANTED_BUG(LOCK_NOT_CACHED);
}

static void batch_ended(struct client_request *request, int error)
{
    struct grv_batch *batch = container_of(request, struct grv_batch, request);
    struct client *client = request->client;

    assert(list_linked(&batch->link));
    list_remove(&batch->link);
    if (error == 0 && !client->destroying &&
        BUGGIFY_ONE_IN(client->env, 16, "a read version that came is dropped and asked for again"))
        error = ERROR_REQUEST_MAYBE_DELIVERED;
    if (error == 0 && MESSAGE_BODY(get_read_version_reply, request->rpc.reply)->version < batch->least) {
        client_refuse(client, "a read version below one that was given before");
        ask_again(client, batch);
    } else if (error == 0) {
        client_told_version(client, MESSAGE_BODY(get_read_version_reply, request->rpc.reply)->version);
        remember(client, batch, MESSAGE_BODY(get_read_version_reply, request->rpc.reply));
        client->grv_delay_us = 0;
        give(batch, 0, MESSAGE_BODY(get_read_version_reply, request->rpc.reply), tag_wait_of(request, 0));
    } else if (client->destroying || goes_up(error)) {
        give(batch, error, NULL, tag_wait_of(request, error));
    } else {
        PROBE(client->env, "a read version is asked for again");
        ask_again(client, batch);
    }
    rpc_call_clear(&request->rpc);
    mem_free(batch);
}

/* Those with the tags of the first: almost always all of them. */
static void take_waits(struct grv_class *class, struct grv_batch *batch, size_t max)
{
    batch->tags = list_entry(class->waiting.next, struct grv_wait, link)->tags;
    list_each(link, after, &class->waiting) {
        if (batch->count == max)
            return;
        if (!tag_set_equal(&list_entry(link, struct grv_wait, link)->tags, &batch->tags))
            continue;
        list_remove(link);
        list_push_back(&batch->waits, link);
        batch->count++;
    }
}

static struct grv_batch *make_batch(struct client *client, unsigned grv_class)
{
    struct grv_batch *batch = mem_zalloc(sizeof(*batch));
    size_t max = (size_t)client->env->knobs.client_grv_batch_max;

    if (BUGGIFY(client->env, "read versions are asked for one by one"))
        max = 1;
    if (batch == NULL)
        return NULL;
    list_init(&batch->waits);
    batch->grv_class = grv_class;
    batch->least = client->newest_told;
    take_waits(&client->grv[grv_class], batch, max);
    assert(batch->count > 0 && list_empty(&batch->waits) == false);
    batch->request.ended = batch_ended;
    list_push_back(&client->grv_batches, &batch->link);
    return batch;
}

static int fill(struct message *message, const struct grv_batch *batch, struct get_read_version *body)
{
    static const uint32_t flags[GRV_CLASSES] = {0, GRV_PRIORITY_BATCH, GRV_PRIORITY_IMMEDIATE};

    *body = (struct get_read_version){.count = batch->count, .flags = flags[batch->grv_class], .tags_count = batch->tags.count};
    if (batch->tags.count == 0)
        return 0;
    body->tags = arena_zalloc(&message->arena, batch->tags.count * sizeof(*body->tags));
    if (body->tags == NULL)
        return ERROR_OUT_OF_MEMORY;
    for (unsigned i = 0; i < batch->tags.count; i++)
        if (arena_copy(&message->arena, tag_bytes(&batch->tags.names[i]), &body->tags[i].tag) != 0)
            return ERROR_OUT_OF_MEMORY;
    return 0;
}

static void send_batch(struct client *client, unsigned grv_class)
{
    const struct role_ref *proxy = client_pick_role(client, ROLE_GRV_PROXY);
    struct grv_batch *batch = make_batch(client, grv_class);
    struct message *message;
    struct get_read_version *body = MESSAGE_NEW(get_read_version, &message);

    if (batch == NULL || body == NULL || fill(message, batch, body) != 0) {
        message_unref(message);
        if (batch != NULL) {
            list_remove(&batch->link);
            give(batch, ERROR_OUT_OF_MEMORY, NULL, 0);
        } else {
            refuse(client, grv_class, ERROR_OUT_OF_MEMORY);
        }
        mem_free(batch);
        return;
    }
    client_request_start(&batch->request, client, endpoint_of(&proxy->endpoint), message,
                         client->env->knobs.client_request_timeout_us);
}

void grv_flush(struct client *client)
{
    if (client->divided) /* there will be no proxy */
        for (unsigned grv_class = 0; grv_class < GRV_CLASSES; grv_class++)
            refuse(client, grv_class, ERROR_INVALID_CLUSTER_ID);
    if (client_role_count(client, ROLE_GRV_PROXY) == 0 || client->grv_timer.heap_index_plus_1 != 0)
        return; /* the next description, or the timer, comes here again */
    for (unsigned grv_class = 0; grv_class < GRV_CLASSES; grv_class++)
        while (!list_empty(&client->grv[grv_class].waiting) && client->grv_timer.heap_index_plus_1 == 0)
            send_batch(client, grv_class);
}

/* What was asked of a proxy that is no more is asked again at once. */
void grv_description_changed(struct client *client)
{
    list_each(link, after, &client->grv_batches) {
        struct grv_batch *batch = list_entry(link, struct grv_batch, link);

        if (!client_role_listed(client, batch->request.to)) {
            PROBE(client->env, "a read version was asked of a proxy that is no more");
            op_cancel(&batch->request.op);
        }
    }
    env_timer_cancel(client->env, &client->grv_timer);
    client_turn_end(client);
}
