/* The metadata that every log keeps: a map folded through the known committed version, and a tail above it.
 *
 * Recovery asks for it as of the recovery version, which is never below any known committed version: so what is folded is
 * always part of the answer, and the tail is cut where it must be. */
#include <stdlib.h>

#include "net/buggify.h"
#include "net/mem.h"
#include "net/planted_bug.h"
#include "roles/log/log_internal.h"
#include "txn/mutation.h"
#include "txn/system_keys.h"

/* As kv_map_apply and, later, kv_map_dump take it. */
bool log_metadata_is_valid(struct bytes mutations)
{
    struct mutation m;
    int error;

    while ((error = mutation_next(&mutations, &m)) == 0)
        if ((m.type < MUTATION_PRIVATE_MIN && m.type != MUTATION_SET && m.type != MUTATION_CLEAR_RANGE &&
             !mutation_type_is_atomic(m.type)) ||
            m.param1.len > TRANSACTION_BYTES_MAX || m.param2.len > TRANSACTION_BYTES_MAX)
            return false;
    return error == ERROR_END_OF_STREAM;
}

int log_metadata_add(struct log_server *log, version_t version, struct bytes mutations)
{
    uint8_t *copy;

    if (mutations.len == 0 || version <= log->metadata_version)
        return 0;
    assert(log->tail_count == 0 || log->tail[log->tail_count - 1].version < version);
    if (log->tail_count == log->tail_capacity) {
        log->tail_capacity = log->tail_capacity == 0 ? 16 : log->tail_capacity * 2;
        log->tail = mem_realloc(log->tail, log->tail_capacity * sizeof(*log->tail));
    }
    copy = mem_alloc(mutations.len);
    if (copy == NULL)
        return ERROR_OUT_OF_MEMORY;
    memcpy(copy, mutations.ptr, mutations.len);
    log->tail[log->tail_count++] = (struct log_tail){version, bytes_of(copy, mutations.len)};
    return 0;
}

/* ---- removed servers ---- */

static int by_tag(const void *a, const void *b)
{
    tag_t left = *(const tag_t *)a, right = *(const tag_t *)b;

    return left < right ? -1 : left > right;
}

bool log_metadata_tag_removed(const struct log_server *log, tag_t tag)
{
    uint8_t text[SYSTEM_KEY_REMOVED_TAG_BYTES];
    struct bytes value;

    if (tag < log->removed_below && (log->listed_count == 0 || bsearch(&tag, log->listed, log->listed_count, sizeof(tag), by_tag) == NULL))
        return true;
    return kv_map_get(log->metadata, system_key_removed_tag(tag, text), &value);
}

static void take_listed(void *ctx, struct bytes key, struct bytes value)
{
    struct log_server *log = ctx;
    struct server_value server;
    struct arena arena = {0};

    (void)key;
    if (message_decode(&schema_server_value, value, &arena, &server) == 0) {
        if (log->listed_count == log->listed_capacity) {
            log->listed_capacity = log->listed_capacity == 0 ? 16 : log->listed_capacity * 2;
            log->listed = mem_realloc(log->listed, log->listed_capacity * sizeof(*log->listed));
        }
        log->listed[log->listed_count++] = server.tag;
    }
    arena_done(&arena);
}

void log_metadata_look_at_tags(struct log_server *log)
{
    struct bytes end = BYTES_LITERAL("\xff/serverList0"), below;

    log->listed_count = 0;
    log->removed_below = kv_map_get(log->metadata, KEY_REMOVED_TAGS_BELOW, &below) && below.len == 8 ? get_be64(below.ptr) : 0;
    if (log->removed_below > 0)
        kv_map_walk(log->metadata, KEY_SERVER_LIST_PREFIX, end, take_listed, log);
    if (log->listed_count > 0)
        qsort(log->listed, log->listed_count, sizeof(*log->listed), by_tag);
    for (uint32_t i = 0; i < log->tag_capacity; i++)
        log->tags[i].removed = log->tags[i].used && log_metadata_tag_removed(log, log->tags[i].tag);
}

static bool touches(const struct mutation *m, struct bytes prefix)
{
    return bytes_starts_with(m->param1, prefix) || (m->type == MUTATION_CLEAR_RANGE && bytes_compare(m->param1, prefix) < 0 &&
                                                    bytes_compare(m->param2, prefix) > 0);
}

/* removedTags/, removedTagsBelow, and who is listed. */
static bool touches_tags(struct bytes mutations)
{
    struct mutation m;

    while (mutation_next(&mutations, &m) == 0)
        if (touches(&m, BYTES_LITERAL("\xff/removedTags")) || touches(&m, KEY_SERVER_LIST_PREFIX))
            return true;
    return false;
}

/* ---- folding ---- */

void log_metadata_fold(struct log_server *log)
{
    bool tags_changed = false;
    size_t folded = 0;

    while (folded < log->tail_count && (log->tail[folded].version <= log->known_committed ||
                                        log->tail[folded].version <= log->metadata_version)) {
        struct log_tail *tail = &log->tail[folded++];

        if (tail->version > log->metadata_version) {
            int error = kv_map_apply(log->metadata, tail->mutations);

            assert(error == 0); /* log_metadata_is_valid was asked before it came here */
            log->metadata_version = tail->version;
            tags_changed = tags_changed || touches_tags(tail->mutations);
        }
        mem_free((void *)(uintptr_t)tail->mutations.ptr);
    }
    if (folded > 0) {
        memmove(log->tail, log->tail + folded, (log->tail_count - folded) * sizeof(*log->tail));
        log->tail_count -= folded;
    }
    if (tags_changed) {
        PROBE(log->env, "a log hears that a storage server was listed or removed");
        log_metadata_look_at_tags(log);
    }
}

void log_metadata_done(struct log_server *log)
{
    for (size_t i = 0; i < log->tail_count; i++)
        mem_free((void *)(uintptr_t)log->tail[i].mutations.ptr);
    mem_free(log->tail);
    mem_free(log->listed);
    kv_map_destroy(log->metadata);
}

void log_on_get_metadata(struct log_server *log, struct rpc_request *request)
{
    const struct get_metadata *m = MESSAGE_BODY(get_metadata, request->message);
    version_t version = m->version == 0 ? log->known_committed : m->version;
    struct bytes_buffer table = {0};
    struct get_metadata_reply *reply;
    struct message *message;
    int error;

    if (BUGGIFY(log->env, "a log can't give its metadata now")) {
        rpc_fail(request, ERROR_OPERATION_FAILED);
        return;
    }
    if (version < log->metadata_version || version > log->received.now) {
        rpc_fail(request, ERROR_VERSION_INVALID);
        return;
    }
    error = kv_map_dump(log->metadata, &table);
    if (log->tail_count > 0 && log->tail[log->tail_count - 1].version > version)
        PROBE(log->env, "metadata above the recovery version is left out");
    for (size_t i = 0; error == 0 && i < log->tail_count && (log->tail[i].version <= version || PLANTED_BUG(KEEP_SUFFIX)); i++)
        error = bytes_buffer_append(&table, log->tail[i].mutations);
    reply = MESSAGE_NEW(get_metadata_reply, &message);
    if (error == 0)
        error = arena_copy(&message->arena, bytes_buffer_bytes(&table), &reply->mutations);
    bytes_buffer_done(&table);
    if (error != 0) {
        message_unref(message);
        rpc_fail(request, error);
        return;
    }
    rpc_reply(request, message);
}
