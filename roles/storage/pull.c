/* Pulls the tag's stream: one op that lives as long as the server.
 *
 *   LOOK <-----------------+------------+
 *     | \--> (nothing to do: waits)     |
 *     v                    |            |
 *   PEEK -> TAKE -> APPLY -+  PAUSE ----+
 *             \---------------^
 *
 * LOOK decides where version + 1 is to be had: in the generation of the newest description that contains it, from one of the
 * logs that hold our tag there. PEEK is a long poll. TAKE judges the reply before anything of it counts. APPLY enters it, some versions
 * at a time. A newer description brings the op back to LOOK from wherever it is, after the roll-back (eras.c).
 *
 * What would break it: taking a version above the generation's recorded end (it never was); believing a log that lost its tail
 * that the generation ends there (the next generation's begin would hide the gap); pulling on while memory is full and a
 * commit could free some; not pulling while nothing may be committed (known committed comes with the replies). */
#include "net/buggify.h"
#include "net/error.h"
#include "net/planted_bug.h"
#include "roles/storage/storage_internal.h"
#include "roles/storage/watches.h"
#include "txn/digest.h"

enum { LOOK, PEEK, TAKE, APPLY, PAUSE, STAGES };
enum {
    PEEK_TIMEOUT_US = 5000000,  /* an epoch's proxies say something every second */
    PAUSE_US = 20000,           /* after every log of the tag failed; doubles */
    PAUSE_MAX_US = 500000,      /* a newer description ends a pause at once */
    APPLY_BYTES = 65536,        /* then others get their turn */
};

static struct storage_server *server_of(struct op *op)
{
    return container_of(op, struct storage_server, pull.op);
}

static version_t min_version(version_t a, version_t b)
{
    return a < b ? a : b;
}

/* ---- LOOK ---- */

static bool must_wait_for_memory(const struct storage_server *storage)
{
    return storage->commit != NULL &&
           (window_bytes(storage->window) > (size_t)storage->env->knobs.storage_memory_bytes_max ||
            BUGGIFY(storage->env, "storage pulls nothing during a commit although memory is free"));
}

/* The stream that we need is gone: we were removed, or have lost what we had said was durable. */
static void end_removed(struct storage_server *storage, version_t kept)
{
    TRACE(storage->env, SEVERITY_WARN_ALWAYS, "StorageStreamGone", {"Id", trace_id(storage->id)},
          {"Tag", trace_int(storage->tag)}, {"Durable", trace_int(storage->durable)},
          {"Version", trace_int(storage_version(storage))}, {"KeptAbove", trace_int(kept)});
    storage->removed = kept == VERSION_MAX;
    if (!storage->removed || !storage_engine_is_busy(storage))
        storage_end(storage, ERROR_WORKER_REMOVED);
}

static enum op_result look(struct op *op)
{
    struct storage_server *storage = server_of(op);
    const struct description *d = storage->description;
    const struct generation *generation;

    storage->pull.described = false;
    rpc_call_clear(&storage->pull.call);
    if (storage->ended || storage->removed || storage->discarding || d->generations_count == 0)
        return op_wait(op, LOOK);
    if (must_wait_for_memory(storage)) {
        PROBE(storage->env, "storage pulls nothing until a commit frees memory");
        return op_wait(op, LOOK);
    }
    generation = storage_generation(storage);
    if (generation == NULL && storage_version(storage) < d->generations[0].begin) {
        end_removed(storage, d->generations[0].begin);
        return op_wait(op, LOOK);
    }
    if (generation == NULL)
        return op_wait(op, LOOK); /* through with all that is described */
    if (generation->begin > storage->known_committed) {
        PROBE(op->env, "storage learns from a next generation that all of the last is committed");
        storage->known_committed = generation->begin; /* all of an ended generation is committed */
        storage_update_oldest(storage);
    }
    return op_move(op, PEEK);
}

/* ---- PEEK ---- */

static const struct generation *asked_generation(const struct storage_server *storage)
{
    const struct description *d = storage->description;

    for (uint32_t i = 0; i < d->generations_count; i++)
        if (d->generations[i].epoch == storage->pull.epoch)
            return &d->generations[i];
    return NULL;
}

static enum op_result peek(struct op *op)
{
    struct storage_server *storage = server_of(op);
    struct pull *pull = &storage->pull;
    const struct generation *generation = storage_generation(storage);
    uint32_t indexes[LOG_REPLICATION_MAX];
    unsigned count = log_system_logs_of_tag(generation, storage->tag, indexes);
    struct endpoint to;
    struct message *message;
    struct peek *m;

    if (count == 0)
        return op_wait(op, LOOK);
    if (pull->epoch != generation->epoch) {
        pull->epoch = generation->epoch;
        pull->log = (uint32_t)env_random_below(storage->env, count);
        pull->failures = 0;
    }
    pull->log %= count;
    pull->from = storage_version(storage);
    m = MESSAGE_NEW(peek, &message);
    m->tag = storage->tag;
    m->from = pull->from;
    m->known_committed = storage->known_committed;
    to = endpoint_of(&generation->logs[indexes[pull->log]].endpoint);
    rpc_call_start(&pull->call, op, storage->rpc, &to, message,
                   BUGGIFY_ONE_IN(op->env, 16, "a peek is given up after some milliseconds") ? PAUSE_US : PEEK_TIMEOUT_US);
    return op_wait(op, TAKE);
}

/* ---- TAKE ---- */

/* We have more of the stream, or more of it is known committed. */
static void came_further(struct storage_server *storage)
{
    storage_update_oldest(storage);
    watches_check(storage->watches);
    storage_buffer_prune(storage);
    storage_fetch_look(storage);
    storage_consider_commit(storage);
}

/* The next log of the tag; a pause once each has failed. */
static enum op_result ask_another(struct op *op)
{
    struct storage_server *storage = server_of(op);
    struct pull *pull = &storage->pull;
    const struct generation *generation = asked_generation(storage);
    uint32_t indexes[LOG_REPLICATION_MAX];
    unsigned count = generation == NULL ? 0 : log_system_logs_of_tag(generation, storage->tag, indexes);

    pull->failures++;
    pull->log++;
    if (pull->failures < count)
        return op_move(op, LOOK);
    return op_move(op, PAUSE);
}

static enum op_result malformed(struct op *op, const char *what)
{
    struct storage_server *storage = server_of(op);

    storage->malformed++;
    PROBE(storage->env, "storage refuses a malformed peek reply");
    TRACE(storage->env, SEVERITY_WARN_ALWAYS, "StoragePeekMalformed", {"Id", trace_id(storage->id)},
          {"Epoch", trace_int((int64_t)storage->pull.epoch)}, {"From", trace_int(storage->pull.from)},
          {"What", trace_str(what)});
    return ask_another(op);
}

/* NULL, or what is wrong with it. */
static const char *judge(const struct storage_server *storage, const struct peek_reply *reply)
{
    version_t last = storage->pull.from;

    if (reply->through < storage->pull.from)
        return "it ends below what was asked for";
    if (reply->through > reply->end && reply->through > storage->pull.from)
        return "it is complete beyond the log's own end";
    for (uint32_t i = 0; i < reply->versions_count; i++) {
        if (reply->versions[i].version <= last || reply->versions[i].version > reply->through)
            return "versions out of order";
        last = reply->versions[i].version;
        if (reply->versions[i].digest != 0 &&
            reply->versions[i].digest != peek_digest(storage->tag, last, reply->versions[i].mutations))
            return "a digest does not fit";
        if (storage_check_mutations(reply->versions[i].mutations) != 0)
            return "mutations";
    }
    return NULL;
}

/* The reply has nothing new: a log that is locked, or one that lost what the recorded end says it had. */
static enum op_result no_progress(struct op *op, const struct generation *generation, const struct peek_reply *reply)
{
    struct storage_server *storage = server_of(op);

    if (reply->locked && generation->end == VERSION_MAX) {
        storage->pull.failures++;
        return op_move(op, PAUSE); /* until the next description tells where it ends */
    }
    if (reply->end < generation->end)
        PROBE(storage->env, "storage meets a log that ends below its generation");
    return ask_another(op);
}

static enum op_result take(struct op *op)
{
    struct storage_server *storage = server_of(op);
    struct pull *pull = &storage->pull;
    const struct generation *generation;
    const struct peek_reply *reply;
    const char *wrong;
    version_t committed;

    if (pull->described || storage->ended || (pull->call.reply == NULL && pull->call.error == 0)) {
        PROBE(op->env, "a peek's reply is dropped for a newer description");
        return op_move(op, LOOK);
    }
    if (BUGGIFY_ONE_IN(op->env, 16, "a peek's reply is thrown away and asked for again"))
        return op_move(op, LOOK);
    generation = asked_generation(storage);
    assert(generation != NULL && pull->from == storage_version(storage));
    if (pull->call.error != 0) {
        storage->pull_failures++;
        return ask_another(op);
    }
    reply = MESSAGE_BODY(peek_reply, pull->call.reply);
    wrong = judge(storage, reply);
    if (wrong != NULL)
        return malformed(op, wrong);
    if (reply->popped > storage->durable) {
        end_removed(storage, reply->popped);
        return op_wait(op, LOOK);
    }
    storage->pulls++;
    committed = min_version(reply->known_committed, generation->end);
    if (reply->through <= pull->from && committed <= storage->known_committed)
        return no_progress(op, generation, reply);
    pull->failures = 0;
    if (committed > storage->known_committed &&
        (reply->through <= pull->from || !BUGGIFY(op->env, "storage learns late how much is committed")))
        storage->known_committed = committed;
    if (reply->through > pull->from) {
        pull->next_version = 0;
        return op_move(op, APPLY);
    }
    came_further(storage);
    return op_move(op, LOOK);
}

/* ---- APPLY ---- */

/* Versions up to APPLY_BYTES (one at least); *ret_through is what the server has come to. */
static int apply_some(struct storage_server *storage, const struct peek_reply *reply, version_t end, version_t *ret_through)
{
    struct pull *pull = &storage->pull;
    size_t bytes = 0, bytes_max = APPLY_BYTES;
    int error;

    if (BUGGIFY(storage->env, "storage applies one version a turn"))
        bytes_max = 1;
    while (pull->next_version < reply->versions_count && bytes < bytes_max) {
        const struct peek_version *version = &reply->versions[pull->next_version];

        if (version->version > end && !PLANTED_BUG(ABOVE_GENERATION_END)) {
            PROBE(storage->env, "a log has versions above its generation's end: they never were");
            break;
        }
        error = storage_apply(storage, version->version, version->mutations);
        if (error != 0)
            return error;
        bytes += version->mutations.len;
        *ret_through = version->version;
        pull->next_version++;
    }
    if (pull->next_version == reply->versions_count || reply->versions[pull->next_version].version > end) {
        *ret_through = min_version(reply->through, end);
        pull->next_version = reply->versions_count;
    }
    return 0;
}

static enum op_result apply(struct op *op)
{
    struct storage_server *storage = server_of(op);
    struct pull *pull = &storage->pull;
    const struct generation *generation;
    const struct peek_reply *reply;
    version_t through;
    int error;

    if (pull->described || storage->ended) {
        PROBE(op->env, "a newer description comes between two shares of a reply");
        return op_move(op, LOOK);
    }
    if (BUGGIFY_DEATH(op->env, 10000, "a storage server ends while it applies")) {
        (void)storage_read_failed(storage, ERROR_IO_ERROR);
        return op_wait(op, LOOK);
    }
    generation = asked_generation(storage);
    reply = MESSAGE_BODY(peek_reply, pull->call.reply);
    assert(reply->through > storage_version(storage));
    through = reply->versions_count == 0 ? reply->through : reply->versions[0].version;
    error = storage_era_enter(storage, generation, min_version(through, generation->end));
    if (error == 0)
        error = apply_some(storage, reply, generation->end, &through);
    if (error != 0) {
        (void)storage_read_failed(storage, error);
        return op_wait(op, LOOK);
    }
    assert(through > pull->from && through <= generation->end);
    window_advance(storage->window, through);
    turnstile_advance(&storage->readable, through);
    came_further(storage);
    if (pull->next_version == reply->versions_count) {
        if (BUGGIFY(storage->env, "storage turns to another log of its tag after a reply"))
            pull->log++;
        return op_move(op, LOOK);
    }
    op_resume(op); /* behind what else is ready */
    return op_wait(op, APPLY);
}

/* ---- PAUSE ---- */

static enum op_result pause_pull(struct op *op)
{
    struct storage_server *storage = server_of(op);
    uint32_t doublings = storage->pull.failures < 6 ? storage->pull.failures : 6;
    int64_t pause_us = (int64_t)PAUSE_US << doublings;

    if (BUGGIFY(op->env, "storage pauses for long after all logs of its tag failed"))
        pause_us = PAUSE_MAX_US;
    PROBE(op->env, "all logs of a tag failed, or its log is locked");

    wait_timer_start(&storage->pull.timer, op, pause_us < PAUSE_MAX_US ? pause_us : PAUSE_MAX_US);
    return op_wait(op, LOOK);
}

/* ---- the table, start ---- */

static void ended(struct op *op)
{
    struct storage_server *storage = server_of(op);

    rpc_call_clear(&storage->pull.call);
    storage->pull.started = false;
}

static const struct op_stage stages[STAGES] = {
    [LOOK] = {"LOOK", look, OP_STAGE(LOOK) | OP_STAGE(PEEK)},
    [PEEK] = {"PEEK", peek, OP_STAGE(LOOK) | OP_STAGE(TAKE)},
    [TAKE] = {"TAKE", take, OP_STAGE(LOOK) | OP_STAGE(APPLY) | OP_STAGE(PAUSE)},
    [APPLY] = {"APPLY", apply, OP_STAGE(LOOK) | OP_STAGE(APPLY)},
    [PAUSE] = {"PAUSE", pause_pull, OP_STAGE(LOOK)},
};
static const struct op_type pull_type = {"storage_pull", stages, STAGES, READY_COMMIT, ended};

void storage_pull_start(struct storage_server *storage)
{
    if (storage->pull.started || storage->ended || !storage->recorded || storage->description == NULL)
        return;
    storage->pull.started = true;
    op_start(&storage->pull.op, &pull_type, &storage->ops);
}

void storage_pull_look(struct storage_server *storage)
{
    if (storage->pull.started && storage->pull.op.waiting && storage->pull.op.stage == LOOK)
        op_resume(&storage->pull.op);
}

void storage_pull_described(struct storage_server *storage)
{
    storage_pull_start(storage);
    storage->pull.described = true;
    storage->pull.failures = 0;
    if (storage->pull.started && storage->pull.op.waiting)
        op_resume(&storage->pull.op);
}
