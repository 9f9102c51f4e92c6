/* What get_values and get_range share: may it be read at all, and the wait for a version.
 *
 *   WAIT -> ANSWER
 *
 * A message whose versions have all come is answered in its turn, without an op. Otherwise one op waits for the newest of them, at
 * most storage_future_version_wait_us; then everything is checked again, ownership included: the shard may have moved
 * meanwhile. What waits is bounded: beyond that the server says at once that it is behind. */
#include "net/buggify.h"
#include "net/error.h"
#include "net/mem.h"
#include "net/planted_bug.h"
#include "roles/storage/storage_internal.h"

enum { WAIT, ANSWER, STAGES };

struct read_op {
    struct op op;
    struct storage_server *storage;
    struct rpc_request *request; /* owned until answered */
    struct wait_turn turn;
    struct wait_timer timer;
    version_t version;
    int64_t deadline_us;
    size_t bytes;
    struct read_op *next_spare;
};

/* ---- may it be read ---- */

int storage_check_version(struct storage_server *storage, version_t version, int late)
{
    if (version < storage->oldest) {
        PROBE(storage->env, "a read is too old for a storage server");
        storage->too_old++;
        return ERROR_TRANSACTION_TOO_OLD;
    }
    if (version > storage_version(storage) && !PLANTED_BUG(SERVE_ABOVE_VERSION)) {
        PROBE(storage->env, "a read's version does not come in time");
        if (late == ERROR_PROCESS_BEHIND)
            storage->behind++;
        else
            storage->future++;
        return late;
    }
    return 0;
}

int storage_read_failed(struct storage_server *storage, int error)
{
    if (error == ERROR_FILE_CORRUPT)
        PROBE(storage->env, "storage finds damage in its engine");
    if (!storage->ended)
        TRACE(storage->env, SEVERITY_WARN_ALWAYS, "StorageReplicaLost", {"Id", trace_id(storage->id)},
              {"Tag", trace_int(storage->tag)}, {"Error", trace_str(error_name(error))});
    storage_end(storage, error);
    /* What is damaged stays so. Anything else may have passed when the process is back: whoever reads tries again. */
    return error == ERROR_FILE_CORRUPT ? error : ERROR_BROKEN_PROMISE;
}

void storage_note_damage(struct storage_server *storage, struct bytes key)
{
    struct engine_status status;

    engine_status(storage->engine, &status);
    storage->damaged_records = status.damaged_records;
    storage->damaged_at.len = 0;
    storage->damaged = bytes_buffer_append(&storage->damaged_at, key) == 0;
}

int storage_record_failed(struct storage_server *storage, struct bytes key, int error)
{
    struct engine_status status;

    engine_status(storage->engine, &status);
    if (error != ERROR_FILE_CORRUPT || status.damaged_records <= storage->damaged_records)
        return storage_read_failed(storage, error);
    PROBE(storage->env, "storage finds a damaged record");
    TRACE(storage->env, SEVERITY_WARN_ALWAYS, "StorageRecordDamaged", {"Id", trace_id(storage->id)},
          {"Tag", trace_int(storage->tag)}, {"AtOrBehind", trace_bytes(key)});
    storage_note_damage(storage, key);
    return error;
}

/* ---- waiting ---- */

static struct read_op *take_spare(struct storage_server *storage)
{
    struct read_op *read = storage->spare_reads;

    if (read == NULL)
        return mem_zalloc(sizeof(*read));
    storage->spare_reads = read->next_spare;
    storage->spare_read_count--;
    memset(read, 0, sizeof(*read));
    return read;
}

static void answer(struct storage_server *storage, struct rpc_request *request, int late)
{
    if (request->message->type->id == MESSAGE_get_values)
        storage_answer_values(storage, request, late);
    else if (request->message->type->id != MESSAGE_get_range)
        storage_answer_chunk(storage, request, late);
    else
        storage_answer_range(storage, request, late);
}

static struct read_op *read_of(struct op *op)
{
    return container_of(op, struct read_op, op);
}

static enum op_result wait_for_version(struct op *op)
{
    struct read_op *read = read_of(op);
    struct storage_server *storage = read->storage;
    int64_t left_us = read->deadline_us - env_now_us(op->env);

    if (left_us <= 0 || turnstile_enter(&storage->readable, &read->turn, op, read->version))
        return op_move(op, ANSWER);
    wait_timer_start(&read->timer, op, left_us);
    return op_wait(op, WAIT); /* a roll-back may have taken the version away again */
}

static enum op_result answer_now(struct op *op)
{
    struct read_op *read = read_of(op);
    struct rpc_request *request = read->request;

    read->request = NULL;
    if (!rpc_request_alive(request))
        PROBE(op->env, "a read's version came, but its caller has gone");
    if (rpc_request_alive(request))
        answer(read->storage, request, ERROR_FUTURE_VERSION);
    else
        rpc_drop(request);
    return op_finish(op, 0);
}

static void ended(struct op *op)
{
    struct read_op *read = read_of(op);
    struct storage_server *storage = read->storage;

    if (read->request != NULL)
        rpc_fail(read->request, ERROR_BROKEN_PROMISE);
    storage->waiting_reads--;
    storage->waiting_read_bytes -= read->bytes;
    if (storage->spare_read_count >= STORAGE_SPARE_READS_MAX) {
        mem_free(read);
        return;
    }
    read->next_spare = storage->spare_reads;
    storage->spare_reads = read;
    storage->spare_read_count++;
}

static const struct op_stage stages[STAGES] = {
    [WAIT] = {"WAIT", wait_for_version, OP_STAGE(WAIT) | OP_STAGE(ANSWER)},
    [ANSWER] = {"ANSWER", answer_now, 0},
};
static const struct op_type read_type = {"storage_read", stages, STAGES, READY_READ, ended};

static void start_waiting(struct storage_server *storage, struct rpc_request *request, version_t version)
{
    struct read_op *read = take_spare(storage);

    if (read == NULL) {
        rpc_fail(request, ERROR_OUT_OF_MEMORY);
        return;
    }
    read->storage = storage;
    read->request = request;
    read->version = version;
    read->deadline_us = env_now_us(storage->env) + storage->env->knobs.storage_future_version_wait_us;
    if (BUGGIFY(storage->env, "a read that is ahead of the server waits for a millisecond only"))
        read->deadline_us = env_now_us(storage->env) + 1000;
    read->bytes = request->message->encoded_bytes;
    storage->waiting_reads++;
    storage->waiting_read_bytes += read->bytes;
    storage->reads_waited++;
    op_start_now(&read->op, &read_type, &storage->ops);
}

/* The newest version that the message names. */
static version_t newest_version(const struct rpc_request *request)
{
    const struct get_values *m;
    version_t newest = VERSION_NONE;

    if (request->message->type->id == MESSAGE_get_range)
        return MESSAGE_BODY(get_range, request->message)->version;
    if (request->message->type->id == MESSAGE_fetch_range)
        return MESSAGE_BODY(fetch_range, request->message)->version;
    if (request->message->type->id == MESSAGE_get_range_digest)
        return MESSAGE_BODY(get_range_digest, request->message)->version;
    m = MESSAGE_BODY(get_values, request->message);
    for (uint32_t i = 0; i < m->gets_count; i++)
        if (m->gets[i].version > newest)
            newest = m->gets[i].version;
    return newest;
}

void storage_on_read(struct storage_server *storage, struct rpc_request *request)
{
    version_t newest = newest_version(request);

    if (newest <= storage_version(storage) && !BUGGIFY(storage->env, "a read that could be answered at once becomes an op")) {
        answer(storage, request, ERROR_FUTURE_VERSION);
        return;
    }
    if (BUGGIFY_ONE_IN(storage->env, 64, "a storage server has too many reads waiting") ||
        storage->waiting_reads >= STORAGE_WAITING_READS_MAX ||
        storage->waiting_read_bytes >= STORAGE_WAITING_READ_BYTES_MAX) {
        PROBE(storage->env, "storage has too many reads waiting");
        answer(storage, request, ERROR_PROCESS_BEHIND);
        return;
    }
    start_waiting(storage, request, newest);
}

void storage_reads_done(struct storage_server *storage)
{
    struct read_op *read;

    while ((read = storage->spare_reads) != NULL) {
        storage->spare_reads = read->next_spare;
        mem_free(read);
    }
    storage->spare_read_count = 0;
}
