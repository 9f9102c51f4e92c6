/* Sessions and what they watch. The keys' order: watched_keys.c; the hash of a session's ids is here. */
#include "roles/storage/watches.h"

#include "net/buggify.h"
#include "net/error.h"
#include "net/mem.h"
#include "net/planted_bug.h"
#include "roles/storage/watched_keys.h"
#include "txn/watch_digest.h"

enum {
    SESSIONS_MAX = 20000,
    POLL_US_MAX = 60000000, /* then a poll is answered, with nothing: a client that is gone shows so */
    SILENCE_US_MAX = 30000000, /* of a session without a poll */
    SWEEP_US = 5000000,
    ID_BUCKETS_MIN = 16,
};

struct watch_entry {
    struct list of_key;   /* watched_key.entries */
    struct list dirty;    /* watches.dirty, if it may have something to say */
    struct watch_entry *next_of_id;
    struct watched_key *key;
    struct watch_session *session;
    uint64_t id, digest, seed;
    version_t due; /* look at a version at or above it */
};

struct watch_session {
    struct list link;
    uint64_t id, number;
    struct rpc_request *poll; /* owned; NULL: it is the client's turn */
    int64_t since_us;         /* when the poll came, or was answered */
    struct watch_entry **ids; /* owned: buckets, a power of two */
    uint32_t bucket_count, count;
    struct watch_event *events; /* owned: what the next answer says */
    uint32_t event_count, event_capacity;
    struct list to_answer; /* watches.to_answer */
};

struct watches {
    struct storage_server *storage;
    struct list sessions, dirty, to_answer;
    struct watched_keys keys;
    struct env_timer sweep;
    uint64_t count;
    uint32_t session_count;
    size_t bytes;
};

/* ---- a session's ids ---- */

static struct watch_entry **bucket_of(struct watch_session *session, uint64_t id)
{
    return &session->ids[(id * UINT64_C(0x9e3779b97f4a7c15) >> 32) & (session->bucket_count - 1)];
}

static struct watch_entry *find_entry(struct watch_session *session, uint64_t id)
{
    struct watch_entry *entry = session->bucket_count == 0 ? NULL : *bucket_of(session, id);

    while (entry != NULL && entry->id != id)
        entry = entry->next_of_id;
    return entry;
}

static int grow_ids(struct watches *watches, struct watch_session *session)
{
    uint32_t old_count = session->bucket_count, count = old_count == 0 ? ID_BUCKETS_MIN : old_count * 2;
    struct watch_entry **old = session->ids, **grown = mem_zalloc(count * sizeof(*grown));

    if (grown == NULL)
        return ERROR_OUT_OF_MEMORY;
    session->ids = grown;
    session->bucket_count = count;
    watches->bytes += (count - old_count) * sizeof(*grown);
    for (uint32_t i = 0; i < old_count; i++)
        while (old[i] != NULL) {
            struct watch_entry *entry = old[i], **bucket = bucket_of(session, entry->id);

            old[i] = entry->next_of_id;
            entry->next_of_id = *bucket;
            *bucket = entry;
        }
    mem_free(old);
    return 0;
}

static void take_id_out(struct watch_session *session, struct watch_entry *entry)
{
    struct watch_entry **at = bucket_of(session, entry->id);

    while (*at != entry)
        at = &(*at)->next_of_id;
    *at = entry->next_of_id;
}

/* ---- entries ---- */

static size_t bytes_of_entry(const struct watch_entry *entry)
{
    return sizeof(*entry) + sizeof(struct watch_event) + entry->key->key.len + WATCHED_KEY_BYTES;
}

static void remove_entry(struct watches *watches, struct watch_entry *entry)
{
    watches->bytes -= bytes_of_entry(entry);
    watches->count--;
    entry->session->count--;
    take_id_out(entry->session, entry);
    list_remove(&entry->of_key);
    list_remove(&entry->dirty);
    if (list_empty(&entry->key->entries))
        watched_keys_remove(&watches->keys, entry->key);
    mem_free(entry);
}

/* What is to be said is never more than what was watched: room for it is made when a watch is added. */
static void say(struct watches *watches, struct watch_session *session, uint64_t id, int error, version_t version)
{
    session->events[session->event_count++] = (struct watch_event){id, (uint32_t)error, version};
    if (!list_linked(&session->to_answer))
        list_push_back(&watches->to_answer, &session->to_answer);
}

static void fire(struct watches *watches, struct watch_entry *entry, int error, version_t version)
{
    say(watches, entry->session, entry->id, error, version);
    remove_entry(watches, entry);
}

static int room_for_event(struct watch_session *session)
{
    uint32_t needed = session->event_count + session->count + 1, capacity = session->event_capacity;
    struct watch_event *grown;

    if (needed <= capacity)
        return 0;
    capacity = capacity < 8 ? 8 : capacity * 2;
    grown = mem_realloc(session->events, (capacity < needed ? needed : capacity) * sizeof(*grown));
    if (grown == NULL)
        return ERROR_OUT_OF_MEMORY;
    session->events = grown;
    session->event_capacity = capacity < needed ? needed : capacity;
    return 0;
}

static void make_dirty(struct watches *watches, struct watch_entry *entry)
{
    if (!list_linked(&entry->dirty))
        list_push_back(&watches->dirty, &entry->dirty);
}

static int add_entry(struct watches *watches, struct watch_session *session, const struct watch_key *asked)
{
    struct watch_entry *entry = mem_zalloc(sizeof(*entry));
    version_t newest = storage_version(watches->storage);
    int error = entry == NULL ? ERROR_OUT_OF_MEMORY : 0;

    if (error == 0 && session->count >= session->bucket_count)
        error = grow_ids(watches, session);
    if (error == 0)
        error = watched_keys_obtain(&watches->keys, asked->key, &entry->key);
    if (error != 0) {
        mem_free(entry);
        return error;
    }
    entry->session = session;
    entry->id = asked->id;
    entry->digest = asked->digest;
    entry->seed = asked->seed;
    /* What was applied before is not known to have touched the key: all of it is looked at once it is committed. */
    entry->due = asked->version > newest ? asked->version : newest;
    entry->next_of_id = *bucket_of(session, entry->id);
    *bucket_of(session, entry->id) = entry;
    list_push_back(&entry->key->entries, &entry->of_key);
    if (!PLANTED_BUG(WATCH_MISSED))
        make_dirty(watches, entry);
    session->count++;
    watches->count++;
    watches->bytes += bytes_of_entry(entry);
    return 0;
}

static int may_watch(const struct watches *watches, struct watch_session *session, const struct watch_key *asked)
{
    const struct storage_server *storage = watches->storage;

    if (asked->key.len > SYSTEM_KEY_BYTES_MAX)
        return ERROR_KEY_TOO_LARGE;
    if (find_entry(session, asked->id) != NULL)
        return ERROR_CLIENT_INVALID_OPERATION;
    if (!ownership_readable(storage->owned, asked->key, VERSION_MAX))
        return ERROR_WRONG_SHARD_SERVER;
    if (watches->bytes >= (size_t)storage->env->knobs.storage_watch_bytes_max) {
        PROBE(storage->env, "storage has too many watches");
        return ERROR_TOO_MANY_WATCHES;
    }
    return 0;
}

/* ---- sessions ---- */

static struct watch_session *find_session(struct watches *watches, uint64_t id)
{
    list_each(node, after, &watches->sessions) {
        struct watch_session *session = list_entry(node, struct watch_session, link);

        if (session->id == id)
            return session;
    }
    return NULL;
}

static void drop_session(struct watches *watches, struct watch_session *session)
{
    for (uint32_t i = 0; i < session->bucket_count; i++)
        while (session->ids[i] != NULL)
            remove_entry(watches, session->ids[i]);
    watches->bytes -= session->bucket_count * sizeof(*session->ids) + sizeof(*session);
    watches->session_count--;
    if (session->poll != NULL)
        rpc_fail(session->poll, ERROR_OPERATION_OBSOLETE);
    list_remove(&session->link);
    list_remove(&session->to_answer);
    mem_free(session->ids);
    mem_free(session->events);
    mem_free(session);
}

static void sweep(struct env_timer *timer);

static struct watch_session *make_session(struct watches *watches, uint64_t id)
{
    struct env *env = watches->storage->env;
    struct watch_session *session = watches->session_count >= SESSIONS_MAX ? NULL : mem_zalloc(sizeof(*session));

    if (session == NULL)
        return NULL;
    session->id = id;
    list_push_back(&watches->sessions, &session->link);
    watches->session_count++;
    watches->bytes += sizeof(*session);
    if (watches->sweep.heap_index_plus_1 == 0)
        env_timer_start(env, &watches->sweep, env_now_us(env) + SWEEP_US);
    return session;
}

/* Answers the poll, if there is one, with what is to be said. */
static void answer(struct watches *watches, struct watch_session *session)
{
    struct rpc_request *poll = session->poll;
    struct message *message;
    struct watch_reply *reply;

    list_remove(&session->to_answer);
    if (poll == NULL)
        return;
    session->poll = NULL;
    session->since_us = env_now_us(watches->storage->env);
    reply = MESSAGE_NEW(watch_reply, &message);
    if (reply != NULL)
        reply->events = arena_alloc(&message->arena, session->event_count * sizeof(*reply->events));
    if (reply == NULL || reply->events == NULL) { /* the client begins another session */
        message_unref(message);
        rpc_fail(poll, ERROR_OUT_OF_MEMORY);
        return;
    }
    if (session->event_count > 0)
        memcpy(reply->events, session->events, session->event_count * sizeof(*reply->events));
    reply->events_count = session->event_count;
    session->event_count = 0;
    rpc_reply(poll, message);
}

/* ---- what came over the wire ---- */

/* What is known committed here. */
static version_t judged_at(const struct storage_server *storage)
{
    version_t version = storage_version(storage);

    return storage->known_committed < version ? storage->known_committed : version;
}

/* There is no room for it, so its client asks again from time to time: it must hear then of a value that is another one by now. As of a
 * version below that of the watch the value says nothing. */
static bool has_fired_already(struct storage_server *storage, const struct watch_key *asked, version_t version)
{
    struct bytes value = bytes_none();
    bool present = false;
    int error;

    if (storage->ended || storage->discarding || version < asked->version || !ownership_readable(storage->owned, asked->key, version))
        return false;
    error = storage_get(storage, asked->key, version, &present, &value);
    if (error != 0)
        (void)storage_read_failed(storage, error);
    return error == 0 && watch_digest(present, value, asked->seed) != asked->digest;
}

static void refuse(struct watches *watches, struct watch_session *session, const struct watch_key *asked, int error)
{
    version_t version = judged_at(watches->storage);

    if (error == ERROR_TOO_MANY_WATCHES && has_fired_already(watches->storage, asked, version))
        say(watches, session, asked->id, 0, version);
    else
        say(watches, session, asked->id, error, asked->version);
}

static int add_all(struct watches *watches, struct watch_session *session, const struct watch *m)
{
    for (uint32_t i = 0; i < m->added_count; i++) {
        int error = room_for_event(session), refused;

        if (error != 0)
            return error;
        refused = may_watch(watches, session, &m->added[i]);
        if (refused != 0)
            refuse(watches, session, &m->added[i], refused);
        else
            error = add_entry(watches, session, &m->added[i]);
        if (error != 0)
            return error;
    }
    return 0;
}

static void remove_all(struct watches *watches, struct watch_session *session, const struct watch *m)
{
    for (uint32_t i = 0; i < m->removed_count; i++) {
        struct watch_entry *entry = find_entry(session, m->removed[i]);

        if (entry != NULL) /* it has not fired meanwhile */
            remove_entry(watches, entry);
    }
}

void watches_receive(struct watches *watches, struct rpc_request *request)
{
    const struct watch *m = MESSAGE_BODY(watch, request->message);
    struct watch_session *session = find_session(watches, m->session);
    int error = 0;

    if (m->number == 1 && session == NULL)
        session = make_session(watches, m->session);
    if (session == NULL || m->number != session->number + 1) {
        rpc_fail(request, ERROR_OPERATION_OBSOLETE);
        return;
    }
    session->number = m->number;
    answer(watches, session); /* the poll before this one */
    session->poll = request;
    session->since_us = env_now_us(watches->storage->env);
    remove_all(watches, session, m);
    error = add_all(watches, session, m);
    if (error != 0) {
        session->poll = NULL;
        rpc_fail(request, error);
        drop_session(watches, session);
        return;
    }
    if (session->event_count > 0 && !list_linked(&session->to_answer))
        list_push_back(&watches->to_answer, &session->to_answer);
    watches_check(watches);
}

/* ---- what the stream says ---- */

static void touch(struct watches *watches, struct watched_key *key, version_t version)
{
    list_each(node, after, &key->entries) {
        struct watch_entry *entry = list_entry(node, struct watch_entry, of_key);

        if (!list_linked(&entry->dirty) && entry->due < version)
            entry->due = version; /* what stands on the list looks at this version as well, or comes to it in a second step */
        make_dirty(watches, entry);
    }
    key->written = version;
}

void watches_written(struct watches *watches, struct bytes key, version_t version)
{
    struct watched_key *found = watches->count == 0 ? NULL : watched_keys_find(&watches->keys, key);

    if (found != NULL)
        touch(watches, found, version);
}

void watches_cleared(struct watches *watches, struct bytes begin, struct bytes end, version_t version)
{
    struct watched_key *key = watches->count == 0 ? NULL : watched_keys_at_or_after(&watches->keys, begin);

    for (; key != NULL && bytes_compare(key->key, end) < 0; key = watched_keys_next(key))
        touch(watches, key, version);
}

void watches_moved(struct watches *watches, struct bytes begin, struct bytes end)
{
    struct watched_key *key = watches->count == 0 ? NULL : watched_keys_at_or_after(&watches->keys, begin);

    while (key != NULL && bytes_compare(key->key, end) < 0) {
        struct watched_key *next = watched_keys_next(key);
        uint64_t left = 0;

        list_each(node, after, &key->entries)
            left++;
        while (left-- > 0) /* the last one takes the key along */
            fire(watches, list_entry(key->entries.next, struct watch_entry, of_key), ERROR_WRONG_SHARD_SERVER, VERSION_NONE);
        key = next;
    }
}

/* Looks at an entry whose time has come, as of `version`. False: the server can't read any more. */
static bool look(struct watches *watches, struct watch_entry *entry, version_t version)
{
    struct storage_server *storage = watches->storage;
    struct bytes key = entry->key->key, value = bytes_none();
    bool present = false;
    int error;

    if (!ownership_readable(storage->owned, key, version)) {
        fire(watches, entry, ERROR_WRONG_SHARD_SERVER, version);
        return true;
    }
    error = storage_get(storage, key, version, &present, &value);
    if (error != 0) {
        (void)storage_read_failed(storage, error);
        return false;
    }
    if (watch_digest(present, value, entry->seed) != entry->digest) {
        fire(watches, entry, 0, version);
        return true;
    }
    list_remove(&entry->dirty);
    if (entry->key->written > version) { /* and again, when that is committed */
        entry->due = entry->key->written;
        make_dirty(watches, entry);
    }
    return true;
}

void watches_check(struct watches *watches)
{
    struct storage_server *storage = watches->storage;
    version_t version = judged_at(storage);
    struct list due;

    if (storage->ended || storage->discarding)
        return;
    list_init(&due);
    list_splice(&due, &watches->dirty);
    while (!list_empty(&due)) {
        struct watch_entry *entry = list_entry(due.next, struct watch_entry, dirty);

        if (entry->due > version) {
            list_remove(&entry->dirty);
            list_push_back(&watches->dirty, &entry->dirty);
        } else if (!look(watches, entry, version)) {
            list_splice(&watches->dirty, &due);
            return;
        }
    }
    while (!list_empty(&watches->to_answer))
        answer(watches, list_entry(watches->to_answer.next, struct watch_session, to_answer));
}

/* ---- life ---- */

static void sweep(struct env_timer *timer)
{
    struct watches *watches = container_of(timer, struct watches, sweep);
    struct env *env = watches->storage->env;
    int64_t now_us = env_now_us(env);

    list_each(node, after, &watches->sessions) {
        struct watch_session *session = list_entry(node, struct watch_session, link);
        int64_t silent_us = now_us - session->since_us;

        if (session->poll != NULL ? !rpc_request_alive(session->poll) : silent_us > SILENCE_US_MAX) {
            PROBE(env, "storage drops the watches of a client that is gone");
            drop_session(watches, session);
        } else if (session->poll != NULL && silent_us > POLL_US_MAX) {
            answer(watches, session);
        }
    }
    if (watches->session_count > 0)
        env_timer_start(env, &watches->sweep, now_us + SWEEP_US);
}

int watches_create(struct storage_server *storage, struct watches **ret_watches)
{
    struct watches *watches = mem_zalloc(sizeof(*watches));

    if (watches == NULL)
        return ERROR_OUT_OF_MEMORY;
    watches->storage = storage;
    list_init(&watches->sessions);
    list_init(&watches->dirty);
    list_init(&watches->to_answer);
    watched_keys_init(&watches->keys, env_random(storage->env));
    watches->sweep.fire = sweep;
    *ret_watches = watches;
    return 0;
}

void watches_destroy(struct watches *watches)
{
    if (watches == NULL)
        return;
    while (!list_empty(&watches->sessions))
        drop_session(watches, list_entry(watches->sessions.next, struct watch_session, link));
    assert(watches->count == 0 && watches->bytes == 0);
    env_timer_cancel(watches->storage->env, &watches->sweep);
    mem_free(watches);
}

uint64_t watches_count(const struct watches *watches)
{
    return watches->count;
}

size_t watches_bytes(const struct watches *watches)
{
    return watches->bytes;
}
