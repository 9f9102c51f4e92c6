/* Peeks: whole versions above a given one, filtered by tag; and pops.
 *
 * What is in memory is answered at once, also what is not synced yet: storage holds it in memory only. A peek below memory
 * reads frames from disk, and as these reads block the loop, few: it says how far it got, and is asked again. A peek with nothing to say waits;
 * all of those waiting are looked at once at the end of a turn in which something came. */
#include "net/buggify.h"
#include "net/mem.h"
#include "roles/log/log_internal.h"
#include "txn/digest.h"

enum { DISK_BYTES_A_PEEK = 1024 * 1024, DISK_FRAMES_A_PEEK = 1024, VERSIONS_A_PEEK = 100000 };

struct collector {
    struct log_server *log;
    tag_t tag;
    version_t through;
    struct message *message;
    struct peek_reply *reply;
    uint32_t capacity;
    size_t bytes, bytes_max;
};

static bool has_tag(const struct push_section *section, tag_t tag)
{
    for (uint32_t i = 0; i < section->tags_count; i++)
        if (section->tags[i] == tag)
            return true;
    return false;
}

static struct peek_version *add_version(struct collector *c, version_t version)
{
    struct peek_reply *reply = c->reply;
    struct peek_version *grown;

    if (reply->versions_count == c->capacity) {
        c->capacity = c->capacity == 0 ? 8 : c->capacity * 2;
        grown = arena_zalloc(&c->message->arena, c->capacity * sizeof(*grown));
        if (reply->versions_count > 0)
            memcpy(grown, reply->versions, reply->versions_count * sizeof(*grown));
        reply->versions = grown;
    }
    grown = &reply->versions[reply->versions_count++];
    grown->version = version;
    return grown;
}

/* Adds what the version has for the tag; always moves `through`. */
static void collect(struct collector *c, const struct push *push)
{
    struct peek_version *version;
    size_t length = 0, at = 0;
    uint8_t *into;

    assert(push->version > c->through);
    c->through = push->version;
    for (uint32_t i = 0; i < push->sections_count; i++)
        if (has_tag(&push->sections[i], c->tag))
            length += push->sections[i].mutations.len;
    if (length == 0)
        return;
    into = arena_alloc(&c->message->arena, length);
    for (uint32_t i = 0; i < push->sections_count; i++) {
        if (!has_tag(&push->sections[i], c->tag))
            continue;
        memcpy(into + at, push->sections[i].mutations.ptr, push->sections[i].mutations.len);
        at += push->sections[i].mutations.len;
    }
    version = add_version(c, push->version);
    version->mutations = bytes_of(into, length);
    version->digest = peek_digest(c->tag, push->version, version->mutations);
    c->bytes += length;
}

static bool is_full(const struct collector *c)
{
    return c->bytes >= c->bytes_max || c->reply->versions_count >= VERSIONS_A_PEEK;
}

/* The newest checkpoint at or below `through`, else the first. */
static uint64_t checkpoint_before(const struct log_server *log, version_t through)
{
    size_t low = 0, high = log->checkpoint_count;

    assert(high > 0);
    while (high - low > 1) {
        size_t middle = (low + high) / 2;

        if (log->checkpoints[middle].version <= through)
            low = middle;
        else
            high = middle;
    }
    return log->checkpoints[low].position;
}

/* Skips what lies between the checkpoint and the wanted version, then reads on within the bounds; at least one version, or the
 * same peek would come again for ever. */
static int collect_from_disk(struct collector *c)
{
    struct log_server *log = c->log;
    uint64_t position = checkpoint_before(log, c->through), first = position;
    version_t from = c->through;

    PROBE(log->env, "log serves a peek from disk");
    for (unsigned frames = 0; c->through < log->spilled_through && !is_full(c); frames++) {
        struct push push;
        bool is_push;
        int error;

        if (c->through > from && (position - first >= DISK_BYTES_A_PEEK || frames >= DISK_FRAMES_A_PEEK ||
                                  BUGGIFY(log->env, "a peek reads few frames from disk")))
            break;
        error = log_disk_read(log, position, log_scratch(log), &is_push, &push, &position);
        if (error != 0)
            return error;
        if (is_push && push.version > c->through)
            collect(c, &push);
    }
    return 0;
}

static void collect_from_memory(struct collector *c)
{
    struct log_server *log = c->log;
    size_t low = 0, high = log->entry_count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (log_entry_at(log, middle)->version <= c->through)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < log->entry_count && !is_full(c); low++) {
        collect(c, MESSAGE_BODY(push, log_entry_at(log, low)->message));
        if (BUGGIFY(log->env, "a peek reply ends early: versions per reply"))
            return;
    }
}

static version_t popped_of(struct log_server *log, tag_t id)
{
    struct log_tag *tag = log_tag_find(log, id, false);

    if (log_metadata_tag_removed(log, id)) {
        PROBE(log->env, "a storage server that was removed hears of it from a log");
        return VERSION_MAX;
    }
    return tag == NULL ? 0 : tag->popped;
}

static bool has_answer(const struct log_server *log, const struct peek *m)
{
    return log->received.now > m->from || log->known_committed > m->known_committed || log->locked;
}

static void answer(struct log_server *log, struct rpc_request *request)
{
    const struct peek *m = MESSAGE_BODY(peek, request->message);
    struct collector c = {.log = log,
                          .tag = m->tag,
                          .through = m->from,
                          .bytes_max = (size_t)log->env->knobs.log_peek_bytes_max};
    int error = 0;

    c.reply = MESSAGE_NEW(peek_reply, &c.message);
    /* What was forgotten has nothing for the tag, or its server popped it: one that asks again finds that in the answer. */
    if (c.through < log->popped_through) {
        PROBE(log->env, "a peek begins below what the log has forgotten");
        c.through = log->popped_through;
    }
    if (c.through < log->spilled_through)
        error = collect_from_disk(&c);
    if (error == 0 && c.through >= log->spilled_through)
        collect_from_memory(&c);
    if (error != 0) {
        message_unref(c.message);
        rpc_fail(request, error);
        log_end(log, error);
        return;
    }
    c.reply->through = c.through;
    c.reply->end = log->received.now;
    c.reply->known_committed = log->known_committed;
    c.reply->popped = popped_of(log, m->tag);
    c.reply->locked = log->locked;
    log->peeks++;
    log->peek_bytes += c.bytes;
    rpc_reply(request, c.message);
}

void log_answer_peeks(struct ready *ready)
{
    struct log_server *log = container_of(ready, struct log_server, answer_peeks);

    list_each(node, after, &log->waiting_peeks) {
        struct rpc_request *request = list_entry(node, struct rpc_request, link);

        if (rpc_request_alive(request) && !has_answer(log, MESSAGE_BODY(peek, request->message)))
            continue;
        list_remove(&request->link);
        log->waiting_peek_count--;
        if (!rpc_request_alive(request)) {
            PROBE(log->env, "a waiting peek's connection has gone");
            rpc_drop(request);
        } else {
            answer(log, request);
        }
    }
}

void log_on_peek(struct log_server *log, struct rpc_request *request)
{
    if (!log_tag_is_held(log, MESSAGE_BODY(peek, request->message)->tag)) {
        rpc_fail(request, ERROR_CLIENT_INVALID_OPERATION); /* what is here for the tag need not be all */
        return;
    }
    if (log->ended || log->waiting_peek_count >= LOG_WAITING_PEEKS_MAX ||
        BUGGIFY_ONE_IN(log->env, 64, "a log has too many peeks waiting")) {
        rpc_fail(request, ERROR_SERVER_REQUEST_QUEUE_FULL);
        return;
    }
    if (has_answer(log, MESSAGE_BODY(peek, request->message)) ||
        BUGGIFY_ONE_IN(log->env, 16, "a peek is answered early, with nothing")) {
        answer(log, request);
        return;
    }
    list_push_back(&log->waiting_peeks, &request->link);
    log->waiting_peek_count++;
}

void log_on_pop(struct log_server *log, struct rpc_request *request)
{
    const struct pop *m = MESSAGE_BODY(pop, request->message);
    struct log_tag *tag = log_tag_find(log, m->tag, false);
    version_t version = m->version < log->durable ? m->version : log->durable;

    /* A server that is ahead of an ended generation pops all of it; nothing above what is durable here is ever forgotten. */
    if (m->version > log->durable)
        PROBE(log->env, "a pop goes beyond what is durable in this log");
    if (tag != NULL && version > tag->popped && !BUGGIFY(log->env, "a pop is not heard")) {
        tag->popped = version;
        log_memory_popped(log);
    }
    rpc_drop(request);
}
