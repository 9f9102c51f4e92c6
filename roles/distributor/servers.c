/* Storage servers come and go: recruited on workers that have none, removed when no shard names them, told to the controller.
 *
 * Recruiting, one at a time:
 *
 *   WORKERS -> CHOOSE -> TAG -> INIT -> ADD -> (WORKERS again)
 *
 * The list of workers is a long poll: the controller tells a newer one when there is one. What is known of it is looked at again when
 * something else has changed (servers_hurry) and after a while.
 *
 * A tag is used up by a transaction of its own before the server is born with it: whatever fails later, no other server ever gets it. A
 * server that was born and not added holds nothing, and ends itself, since nobody names its tag.
 *
 * Removing: a server that failed or is to be emptied, and that serverKeys has no entry of. The controller is told the whole list
 * (storage_servers), so that old log generations wait for nobody who is gone.
 *
 * A removed tag is never forgotten: a disk that comes back after years, in another machine perhaps, still holds a server of that tag; to a
 * log that knows nothing of the tag it would look like a server without mutations, which is up to date: it would answer clients
 * whose locations are as old as it is. But it takes no record of each: tags are never reused, and only the distributor lists servers. So a
 * removal, if nobody is being recruited, says at once that below nextTag whoever is not listed is removed, and clears the records of
 * single tags (`removedTagsBelow`). That is sound since the transaction reads nextTag and the lock: a tag taken meanwhile makes it try
 * again, and what an earlier distributor bore can't be listed any more, for its transaction read another lock. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#include "net/buggify.h"
#include "net/mem.h"
#include "net/trace.h"
#include "roles/distributor/distributor_internal.h"

enum { WORKERS, CHOOSE, TAG, INIT, ADD, RECRUIT_STAGES };
enum { REMOVE, REMOVED, REMOVE_STAGES };
enum { TELL, TOLD, TELL_STAGES };
enum { INIT_TIMEOUT_US = 10000000, TELL_TIMEOUT_US = 2000000, TELL_RETRY_US = 200000, AVOID_US = 10000000, AVOIDED_MAX = 32,
       WORKERS_LOOKS = 10 /* so many times dd_recruit_interval_us may a long poll last */ };

static void must(int error)
{
    assert(error == 0); /* a server dies of a failed allocation before it gets here */
}

/* ---- recruiting ---- */

struct recruiter {
    struct op op;
    struct distributor *distributor;
    struct rpc_call call;
    struct wait_timer timer;
    struct message *workers; /* owned: the newest list; NULL: none yet */
    bool looks_again;        /* what is known is enough */
    struct change change;
    const struct transaction_range *range; /* of the change's present try */
    struct arena arena;
    struct worker_interface worker; /* bytes in the arena; the one chosen */
    uint64_t server_id;
    uint32_t tag, engine;
    version_t version; /* of the tag's transaction */
    struct address avoided[AVOIDED_MAX]; /* could not a moment ago; a ring */
    int64_t avoided_until_us[AVOIDED_MAX];
    uint32_t avoided_next;
};

static struct recruiter *recruiter_of(struct op *op)
{
    return container_of(op, struct recruiter, op);
}

static void recruiter_resume(struct change *change)
{
    op_resume(&((struct recruiter *)change->parent)->op);
}

static bool same_address(struct address a, struct wire_address b)
{
    return a.ip == b.ip && a.port == b.port;
}

static bool is_avoided(const struct recruiter *recruiter, struct wire_address address)
{
    for (uint32_t i = 0; i < AVOIDED_MAX; i++)
        if (same_address(recruiter->avoided[i], address) && recruiter->avoided_until_us[i] > env_now_us(recruiter->op.env))
            return true;
    return false;
}

static bool avoids_somebody(const struct recruiter *recruiter)
{
    for (uint32_t i = 0; i < AVOIDED_MAX; i++)
        if (recruiter->avoided_until_us[i] > env_now_us(recruiter->op.env))
            return true;
    return false;
}

/* One a worker; a second one only beside a server that has failed there, or that is emptied because of its engine. */
static bool has_server(const struct distributor *self, struct wire_address address)
{
    list_each(node, after, &self->trackers) {
        const struct tracker *tracker = list_entry(node, struct tracker, link);

        if (same_address(tracker->endpoint.address, address) && !self->picture->servers[tracker->slot].failed &&
            self->plan.summary.draining != tracker->slot + 1)
            return true;
    }
    return false;
}

/* Storage class, then unset. Others keep no data unless the database was made on them. */
static int fitness(uint32_t process_class)
{
    return process_class == CLASS_STORAGE ? 0 : process_class == CLASS_UNSET ? 1 : -1;
}

static const struct worker_interface *choose(const struct recruiter *recruiter)
{
    const struct get_workers_reply *reply = MESSAGE_BODY(get_workers_reply, recruiter->workers);
    const struct distributor *self = recruiter->distributor;
    const struct worker_interface *found = NULL;

    for (uint32_t i = 0; i < reply->workers_count; i++) {
        const struct worker_interface *worker = &reply->workers[i];
        struct address address = {worker->address.ip, worker->address.port};

        if (fitness(worker->process_class) < 0 || exclusions_find(&self->settings.exclusions, address) != NULL ||
            has_server(self, worker->address) || is_avoided(recruiter, worker->address))
            continue;
        if (found == NULL || fitness(worker->process_class) < fitness(found->process_class))
            found = worker;
    }
    return found;
}

/* After a while, without a question. */
static enum op_result later(struct recruiter *recruiter)
{
    rpc_call_clear(&recruiter->call);
    recruiter->looks_again = recruiter->workers != NULL;
    wait_timer_start(&recruiter->timer, &recruiter->op, recruiter->op.env->knobs.dd_recruit_interval_us);
    return op_wait(&recruiter->op, WORKERS);
}

static enum op_result run_workers(struct op *op)
{
    struct recruiter *recruiter = recruiter_of(op);
    struct distributor *self = recruiter->distributor;
    struct endpoint to = endpoint_of(&self->description.controller);
    struct message *message;

    if (self->settings.off || to.address.port == 0)
        return later(recruiter);
    if (recruiter->looks_again) {
        recruiter->looks_again = false;
        return op_move(op, CHOOSE);
    }
    MESSAGE_NEW(get_workers, &message)->known =
        recruiter->workers == NULL ? 0 : MESSAGE_BODY(get_workers_reply, recruiter->workers)->number;
    recruiter->call.error = 0;
    wait_timer_start(&recruiter->timer, op, WORKERS_LOOKS * op->env->knobs.dd_recruit_interval_us);
    rpc_call_start(&recruiter->call, op, self->context.rpc, &to, message, 0);
    return op_wait(op, CHOOSE);
}

void servers_hurry(struct distributor *self)
{
    const struct op *op = self->recruiter;

    if (op != NULL && op->waiting && op->stage == WORKERS && op->next_stage == CHOOSE) /* and not the change of a later stage */
        op_resume(self->recruiter);
}

/* Decimal digits and nothing else; -1: it is none, or no tag could be as large. */
static int64_t tag_of(struct bytes text)
{
    int64_t number = text.len == 0 ? -1 : 0;

    for (size_t i = 0; i < text.len && number >= 0; i++)
        number = text.ptr[i] < '0' || text.ptr[i] > '9' || number > UINT32_MAX ? -1 : number * 10 + (text.ptr[i] - '0');
    return number;
}

static void ask_tag(struct change *change)
{
    ((struct recruiter *)change->parent)->range = change_read_key(change, KEY_NEXT_TAG);
}

static int decide_tag(struct change *change)
{
    struct recruiter *recruiter = change->parent;
    int64_t next = recruiter->range->pair_count == 1 ? tag_of(recruiter->range->pairs[0].value) : -1;
    char text[24];

    if (next < 0 || next >= UINT32_MAX)
        return ERROR_SERIALIZATION_FAILED;
    recruiter->tag = (uint32_t)next;
    snprintf(text, sizeof(text), "%" PRId64, next + 1);
    must(mutation_append(&change->writes, MUTATION_SET, KEY_NEXT_TAG, bytes_of_string(text)));
    return 0;
}

static enum op_result run_choose(struct op *op)
{
    struct recruiter *recruiter = recruiter_of(op);
    const struct worker_interface *worker;

    if (recruiter->call.error != 0) {
        message_unref(recruiter->workers);
        recruiter->workers = NULL; /* another controller, perhaps, with another list */
        return later(recruiter);
    }
    if (recruiter->call.reply != NULL) {
        message_unref(recruiter->workers);
        recruiter->workers = rpc_call_take(&recruiter->call);
    }
    worker = recruiter->workers == NULL ? NULL : choose(recruiter);
    if (worker == NULL)
        return avoids_somebody(recruiter) ? later(recruiter) : op_move(op, WORKERS);
    arena_reset(&recruiter->arena);
    must(message_copy_body(&schema_worker_interface, worker, &recruiter->arena, &recruiter->worker));
    rpc_call_clear(&recruiter->call);
    do
        recruiter->server_id = env_random(op->env);
    while (recruiter->server_id < 100);
    recruiter->engine = recruiter->distributor->settings.configuration.engine;
    assert(!change_under_way(&recruiter->change));
    recruiter->change = (struct change){.ask = ask_tag, .decide = decide_tag, .done = recruiter_resume, .parent = recruiter};
    change_start(&recruiter->change, recruiter->distributor);
    return op_wait(op, TAG);
}

static enum op_result failed(struct recruiter *recruiter, int error)
{
    uint32_t at = recruiter->avoided_next++ % AVOIDED_MAX;

    PROBE(recruiter->op.env, "a storage server could not be recruited");
    TRACE(recruiter->op.env, SEVERITY_WARN, "StorageServerNotRecruited",
          {"Address", trace_addr((struct address){recruiter->worker.address.ip, recruiter->worker.address.port})},
          {"Error", trace_str(error_name(error))});
    recruiter->avoided[at] = (struct address){recruiter->worker.address.ip, recruiter->worker.address.port};
    recruiter->avoided_until_us[at] = env_now_us(recruiter->op.env) + AVOID_US;
    distributor_changed_badly(recruiter->distributor, error);
    return later(recruiter);
}

static enum op_result run_tag(struct op *op)
{
    struct recruiter *recruiter = recruiter_of(op);
    struct endpoint to = {{recruiter->worker.address.ip, recruiter->worker.address.port}, ENDPOINT_WORKER};
    struct message *message;
    struct init_storage *m;

    if (recruiter->change.error != 0)
        return failed(recruiter, recruiter->change.error);
    recruiter->version = recruiter->change.version;
    m = MESSAGE_NEW(init_storage, &message);
    m->server_id = recruiter->server_id;
    m->tag = recruiter->tag;
    m->engine = recruiter->engine;
    m->version = recruiter->version;
    rpc_call_start(&recruiter->call, op, recruiter->distributor->context.rpc, &to, message, INIT_TIMEOUT_US);
    return op_wait(op, INIT);
}

static void ask_server(struct change *change)
{
    struct recruiter *recruiter = change->parent;
    struct bytes_buffer key = {0};

    must(system_key_server_list(&key, recruiter->server_id));
    recruiter->range = change_read_key(change, bytes_buffer_bytes(&key));
    bytes_buffer_done(&key);
}

static int decide_server(struct change *change)
{
    struct recruiter *recruiter = change->parent;
    struct server_value value = {
        .endpoint = {recruiter->worker.address, recruiter->server_id},
        .zone = recruiter->worker.zone,
        .tag = recruiter->tag,
        .engine = recruiter->engine,
        .rack = recruiter->worker.rack,
        .hall = recruiter->worker.hall,
        .data_center = recruiter->worker.data_center,
    };
    struct bytes_buffer key = {0}, packed = {0};

    if (recruiter->range->pair_count != 0)
        return 0;
    must(system_key_server_list(&key, recruiter->server_id));
    must(message_encode(&schema_server_value, &value, &packed));
    must(mutation_append(&change->writes, MUTATION_SET, bytes_buffer_bytes(&key), bytes_buffer_bytes(&packed)));
    bytes_buffer_done(&key);
    bytes_buffer_done(&packed);
    return 0;
}

static enum op_result run_init(struct op *op)
{
    struct recruiter *recruiter = recruiter_of(op);

    if (recruiter->call.error == 0 && BUGGIFY_ONE_IN(op->env, 8, "a storage server was born, and nobody hears of it"))
        recruiter->call.error = ERROR_REQUEST_MAYBE_DELIVERED;
    if (recruiter->call.error != 0)
        return failed(recruiter, recruiter->call.error);
    rpc_call_clear(&recruiter->call);
    recruiter->change = (struct change){
        .ask = ask_server, .decide = decide_server, .done = recruiter_resume, .parent = recruiter};
    change_start(&recruiter->change, recruiter->distributor);
    return op_wait(op, ADD);
}

static enum op_result run_add(struct op *op)
{
    struct recruiter *recruiter = recruiter_of(op);

    if (recruiter->change.error != 0)
        return failed(recruiter, recruiter->change.error);
    TRACE(op->env, SEVERITY_INFO, "StorageServerAdded", {"Server", trace_id(recruiter->server_id)}, {"Tag", trace_int(recruiter->tag)},
          {"Address", trace_addr((struct address){recruiter->worker.address.ip, recruiter->worker.address.port})});
    recruiter->distributor->recruited++;
    loader_hurry(recruiter->distributor);
    return later(recruiter);
}

static void recruiter_ended(struct op *op)
{
    struct recruiter *recruiter = recruiter_of(op);

    change_cancel(&recruiter->change);
    rpc_call_clear(&recruiter->call);
    message_unref(recruiter->workers);
    arena_done(&recruiter->arena);
    recruiter->distributor->recruiter = NULL;
    mem_free(recruiter);
}

static const struct op_stage recruiter_stages[RECRUIT_STAGES] = {
    [WORKERS] = {"WORKERS", run_workers, OP_STAGE(WORKERS) | OP_STAGE(CHOOSE)},
    [CHOOSE] = {"CHOOSE", run_choose, OP_STAGE(WORKERS) | OP_STAGE(TAG)},
    [TAG] = {"TAG", run_tag, OP_STAGE(WORKERS) | OP_STAGE(INIT)},
    [INIT] = {"INIT", run_init, OP_STAGE(WORKERS) | OP_STAGE(ADD)},
    [ADD] = {"ADD", run_add, OP_STAGE(WORKERS)},
};
static const struct op_type recruiter_type = {"recruiter", recruiter_stages, RECRUIT_STAGES, READY_COMMIT, recruiter_ended};

/* ---- removing ---- */

struct removal {
    struct op op;
    struct distributor *distributor;
    uint64_t server_id;
    struct change change;
    const struct transaction_range *listed, *entries, *next_tag; /* of the change's present try */
};

static void ask_removal(struct change *change)
{
    struct removal *removal = change->parent;
    struct bytes_buffer key = {0};
    struct bytes end;

    must(system_key_server_list(&key, removal->server_id));
    removal->listed = change_read_key(change, bytes_buffer_bytes(&key));
    key.len = 0;
    must(system_key_server_keys(&key, removal->server_id, bytes_none()));
    must(key_strinc(&change->arena, bytes_buffer_bytes(&key), &end));
    removal->entries = change_read(change, bytes_buffer_bytes(&key), end);
    removal->next_tag = change_read_key(change, KEY_NEXT_TAG);
    bytes_buffer_done(&key);
}

/* A tag is taken and its server not listed yet, as far as we know. */
static bool recruits(const struct distributor *self)
{
    const struct op *op = self->recruiter;

    return op != NULL && !(op->waiting && (op->next_stage == WORKERS || op->next_stage == CHOOSE));
}

/* The tag is dead: no log keeps anything for it, and its server hears of it when it returns. */
static void bury_tag(struct removal *removal, tag_t tag, struct bytes_buffer *writes)
{
    int64_t next = removal->next_tag->pair_count == 1 ? tag_of(removal->next_tag->pairs[0].value) : -1;
    uint8_t tag_key[SYSTEM_KEY_REMOVED_TAG_BYTES], number[8];

    if (next <= (int64_t)tag || recruits(removal->distributor) ||
        BUGGIFY_ONE_IN(removal->op.env, 4, "a removed tag has a record of its own")) {
        put_be64(number, removal->server_id);
        must(mutation_append(writes, MUTATION_SET, system_key_removed_tag(tag, tag_key), bytes_of(number, sizeof(number))));
        return;
    }
    PROBE(removal->op.env, "below a tag whoever is not listed is removed");
    put_be64(number, (uint64_t)next);
    must(mutation_append(writes, MUTATION_SET, KEY_REMOVED_TAGS_BELOW, bytes_of(number, sizeof(number))));
    must(mutation_append(writes, MUTATION_CLEAR_RANGE, KEY_REMOVED_TAGS_PREFIX, KEY_REMOVED_TAGS_END));
}

static int decide_removal(struct change *change)
{
    struct removal *removal = change->parent;
    struct bytes_buffer key = {0};
    struct server_value server;
    struct bytes after;

    if (removal->entries->pair_count > 0)
        return ERROR_OPERATION_OBSOLETE;
    if (removal->listed->pair_count == 0)
        return 0;
    if (message_decode(&schema_server_value, removal->listed->pairs[0].value, &change->arena, &server) != 0)
        return ERROR_SERIALIZATION_FAILED;
    bury_tag(removal, server.tag, &change->writes);
    must(system_key_server_list(&key, removal->server_id));
    must(key_after(&change->arena, bytes_buffer_bytes(&key), &after));
    must(mutation_append(&change->writes, MUTATION_CLEAR_RANGE, bytes_buffer_bytes(&key), after));
    bytes_buffer_done(&key);
    return 0;
}

static void removal_resume(struct change *change)
{
    op_resume(&((struct removal *)change->parent)->op);
}

static enum op_result run_remove(struct op *op)
{
    struct removal *removal = container_of(op, struct removal, op);

    removal->change = (struct change){
        .ask = ask_removal, .decide = decide_removal, .done = removal_resume, .parent = removal};
    change_start(&removal->change, removal->distributor);
    return op_wait(op, REMOVED);
}

static enum op_result run_removed(struct op *op)
{
    struct removal *removal = container_of(op, struct removal, op);
    struct distributor *self = removal->distributor;

    if (removal->change.error != 0)
        return op_finish(op, removal->change.error);
    TRACE(op->env, SEVERITY_INFO, "StorageServerRemoved", {"Server", trace_id(removal->server_id)});
    self->removed++;
    loader_hurry(self);
    return op_finish(op, 0);
}

static void removal_ended(struct op *op)
{
    struct removal *removal = container_of(op, struct removal, op);

    change_cancel(&removal->change);
    removal->distributor->removal = NULL;
    if (op->error != 0 && op->error != ERROR_OPERATION_CANCELLED)
        distributor_changed_badly(removal->distributor, op->error);
    mem_free(removal);
}

static const struct op_stage removal_stages[REMOVE_STAGES] = {
    [REMOVE] = {"REMOVE", run_remove, OP_STAGE(REMOVED)},
    [REMOVED] = {"REMOVED", run_removed, 0},
};
static const struct op_type removal_type = {"removal", removal_stages, REMOVE_STAGES, READY_COMMIT, removal_ended};

void servers_remove(struct distributor *self, uint32_t slot)
{
    struct removal *removal;

    if (self->removal != NULL || !self->picture->servers[slot].known)
        return;
    removal = mem_zalloc(sizeof(*removal));
    removal->distributor = self;
    removal->server_id = self->picture->servers[slot].id;
    self->removal = &removal->op;
    op_start(&removal->op, &removal_type, &self->ops);
}

/* ---- telling the controller ---- */

struct announcer {
    struct op op;
    struct distributor *distributor;
    struct rpc_call call;
    struct wait_timer timer;
};

static enum op_result run_tell(struct op *op)
{
    struct announcer *announcer = container_of(op, struct announcer, op);
    struct distributor *self = announcer->distributor;
    struct endpoint to = endpoint_of(&self->description.controller);
    struct message *message;
    struct storage_servers *m;

    if (!self->announce)
        return op_finish(op, 0);
    self->announce = false;
    m = MESSAGE_NEW(storage_servers, &message);
    m->version = self->settings.version;
    m->ids = arena_alloc(&message->arena, (self->picture->server_count + 1) * sizeof(*m->ids));
    for (uint32_t i = 0; i < self->picture->server_count; i++)
        if (self->picture->servers[i].known)
            m->ids[m->ids_count++] = self->picture->servers[i].id;
    rpc_call_start(&announcer->call, op, self->context.rpc, &to, message, TELL_TIMEOUT_US);
    return op_wait(op, TOLD);
}

static enum op_result run_told(struct op *op)
{
    struct announcer *announcer = container_of(op, struct announcer, op);

    if (announcer->call.error != 0)
        announcer->distributor->announce = true;
    rpc_call_clear(&announcer->call);
    if (!announcer->distributor->announce)
        return op_finish(op, 0);
    wait_timer_start(&announcer->timer, op, TELL_RETRY_US);
    return op_wait(op, TELL);
}

static void announcer_ended(struct op *op)
{
    struct announcer *announcer = container_of(op, struct announcer, op);

    rpc_call_clear(&announcer->call);
    announcer->distributor->announcer = NULL;
    mem_free(announcer);
}

static const struct op_stage announcer_stages[TELL_STAGES] = {
    [TELL] = {"TELL", run_tell, OP_STAGE(TOLD)},
    [TOLD] = {"TOLD", run_told, OP_STAGE(TELL)},
};
static const struct op_type announcer_type = {"announcer", announcer_stages, TELL_STAGES, READY_COMMIT, announcer_ended};

/* ---- life ---- */

void servers_start(struct distributor *self)
{
    struct recruiter *recruiter = mem_zalloc(sizeof(*recruiter));

    recruiter->distributor = self;
    self->recruiter = &recruiter->op;
    self->announce = true;
    op_start(&recruiter->op, &recruiter_type, &self->ops);
}

void servers_look(struct distributor *self)
{
    struct announcer *announcer;

    if (!self->announce || self->announcer != NULL || self->description.controller.address.port == 0)
        return;
    announcer = mem_zalloc(sizeof(*announcer));
    announcer->distributor = self;
    self->announcer = &announcer->op;
    op_start(&announcer->op, &announcer_type, &self->ops);
}
