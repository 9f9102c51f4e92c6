/* Point reads: all gets of a message, each with its own version and its own error. */
#include "net/buggify.h"
#include "net/error.h"
#include "roles/storage/storage_internal.h"

static int read_value(struct storage_server *storage, const struct get_value *get, int late, bool *ret_present,
                      struct bytes *ret_value)
{
    int error = storage_check_version(storage, get->version, late);

    if (error != 0)
        return error;
    if (get->key.len > SYSTEM_KEY_BYTES_MAX)
        return ERROR_KEY_TOO_LARGE;
    if (!ownership_readable(storage->owned, get->key, get->version) ||
        BUGGIFY_ONE_IN(storage->env, 64, "a storage server says that a key it holds is elsewhere")) {
        storage->wrong_shard++;
        return ERROR_WRONG_SHARD_SERVER;
    }
    error = storage_get(storage, get->key, get->version, ret_present, ret_value);
    return error == 0 ? 0 : storage_record_failed(storage, get->key, error);
}

/* What is read is borrowed from the window or the engine for this turn: the reply gets copies. */
static void fill(struct storage_server *storage, const struct get_value *get, int late, struct arena *arena,
                 struct value *ret)
{
    struct bytes value = bytes_none();
    bool present = false;
    int error = read_value(storage, get, late, &present, &value);

    if (error == 0 && present)
        error = arena_copy(arena, value, &ret->value);
    ret->version = get->version;
    ret->error = (uint32_t)error;
    ret->present = error == 0 && present;
    storage->rows_read += ret->present;
    storage->bytes_read += ret->value.len;
    if (error == 0)
        load_sample_add(&storage->reads_load, get->key, get->key.len + ret->value.len, storage->env->turn_us);
}

void storage_answer_values(struct storage_server *storage, struct rpc_request *request, int late)
{
    const struct get_values *m = MESSAGE_BODY(get_values, request->message);
    struct message *message;
    struct get_values_reply *reply = MESSAGE_NEW(get_values_reply, &message);
    uint64_t bytes_before;

    if (reply != NULL && m->gets_count > 0)
        reply->values = arena_zalloc(&message->arena, m->gets_count * sizeof(*reply->values));
    if (reply == NULL || (m->gets_count > 0 && reply->values == NULL)) {
        message_unref(message);
        rpc_fail(request, ERROR_OUT_OF_MEMORY);
        return;
    }
    reply->values_count = m->gets_count;
    bytes_before = storage->bytes_read;
    for (uint32_t i = 0; i < m->gets_count; i++) {
        if (message->arena.reserved_bytes < STORAGE_REPLY_BYTES_MAX &&
            (i == 0 || !BUGGIFY_ONE_IN(storage->env, 32, "a reply to many gets ends early"))) {
            fill(storage, &m->gets[i], late, &message->arena, &reply->values[i]);
            continue;
        }
        PROBE(storage->env, "storage answers only a part of many large gets");
        reply->values[i].error = ERROR_PROCESS_BEHIND; /* it is to be asked again */
        storage->behind++;
    }
    storage->reads += m->gets_count;
    storage_count_reads(storage, m->tags, m->tags_count, m->gets_count, storage->bytes_read - bytes_before);
    rpc_reply(request, message);
}
