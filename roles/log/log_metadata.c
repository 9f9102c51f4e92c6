/* The metadata that every log keeps: a map folded through the known committed version, and a tail above it.
 *
 * Recovery asks for it as of the recovery version, which is never below any known committed version: so what is folded is
 * always part of the answer, and the tail is cut where it must be. */
#include "net/buggify.h"
#include "net/mem.h"
#include "net/planted_bug.h"
#include "roles/log/log_internal.h"
#include "txn/mutation.h"

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

void log_metadata_fold(struct log_server *log)
{
    size_t folded = 0;

    while (folded < log->tail_count && (log->tail[folded].version <= log->known_committed ||
                                        log->tail[folded].version <= log->metadata_version)) {
        struct log_tail *tail = &log->tail[folded++];

        if (tail->version > log->metadata_version) {
            int error = kv_map_apply(log->metadata, tail->mutations);

            assert(error == 0); /* log_metadata_is_valid was asked before it came here */
            log->metadata_version = tail->version;
        }
        mem_free((void *)(uintptr_t)tail->mutations.ptr);
    }
    if (folded > 0) {
        memmove(log->tail, log->tail + folded, (log->tail_count - folded) * sizeof(*log->tail));
        log->tail_count -= folded;
    }
}

void log_metadata_done(struct log_server *log)
{
    for (size_t i = 0; i < log->tail_count; i++)
        mem_free((void *)(uintptr_t)log->tail[i].mutations.ptr);
    mem_free(log->tail);
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
