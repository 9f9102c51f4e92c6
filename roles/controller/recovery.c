/* Recovery: ends the old epoch, starts a new one. Start-up of a new database is recovery from epoch 0.
 *
 * LOCK_STATE -> LOCK_LOGS -> LOAD_METADATA -> RECRUIT -> RECOVERY_TXN -> WRITE_STATE -> ACCEPTING_COMMITS
 *
 * What would break it, and what holds:
 * - Two recoveries at once: each raises the locked epoch (one Raft entry), and WRITE_STATE applies only while the locked
 *   epoch is still its own. Before that nobody outside learns of the epoch.
 * - A commit acknowledged by the old epoch and lost: the old logs are locked first (a locked log never acknowledges again), and
 *   the recovery version is at least every acknowledged version (recovery_logs.c).
 * - An old read version served as new: the GRV proxies of the old epoch ask its logs, which are locked in too many zones.
 * Anything that fails on the way ends this attempt; the controller starts another, with a higher epoch, after a pause. */
#include "roles/controller/recovery.h"

#include <stdio.h>

#include "net/buggify.h"
#include "net/mem.h"

enum {
    LOCK_STATE,
    STATE_LOCKED,
    LOCK_LOGS,
    LOAD_METADATA,
    METADATA_LOADED,
    RECRUIT,
    RECRUITING,
    RECRUITING_PROXIES,
    RECOVERY_TXN,
    TXN_COMMITTED,
    WRITE_STATE,
    STATE_WRITTEN,
    STAGES
};

/* For its word alone: where a process ends, its connections are closed, and nobody waits. */
enum { SEQUENCER_WAIT_US = 50000 };

static struct recovery *recovery_of(struct op *op)
{
    return container_of(op, struct recovery, op);
}

static int64_t call_timeout_us(const struct recovery *recovery)
{
    return recovery->controller->env->knobs.rpc_ping_timeout_us;
}

/* ---- the state ---- */

static enum op_result run_lock_state(struct op *op)
{
    struct recovery *recovery = recovery_of(op);
    struct controller *controller = recovery->controller;
    struct endpoint coordinator = controller_coordinator(controller);
    struct message *message;
    struct lock_state *m = MESSAGE_NEW(lock_state, &message);

    m->term = controller->term;
    m->lock_id = recovery->lock_id;
    rpc_call_start(&recovery->call, op, controller->rpc, &coordinator, message, 0);
    return op_wait(op, STATE_LOCKED);
}

static enum op_result run_state_locked(struct op *op)
{
    struct recovery *recovery = recovery_of(op);
    const struct state_reply *reply;
    int error;

    if (recovery->call.error != 0)
        return op_finish(op, recovery->call.error);
    reply = MESSAGE_BODY(state_reply, recovery->call.reply);
    if (!reply->accepted)
        return op_finish(op, ERROR_COORDINATED_STATE_CONFLICT);
    if (reply->state.locked_epoch > reply->state.written_epoch + 1)
        PROBE(op->env, "a recovery follows one that locked the state and never wrote it");
    if (message_copy_body(&schema_coordinated_state, &reply->state, &recovery->arena, &recovery->state) != 0)
        return op_finish(op, ERROR_OUT_OF_MEMORY);
    rpc_call_clear(&recovery->call);
    error = controller_state_set(recovery->controller, &recovery->state);
    if (error == 0 && recovery->state.locked_epoch <= recovery->state.written_epoch) /* it was not locked */
        error = ERROR_COORDINATED_STATE_CONFLICT;
    if (error != 0)
        return op_finish(op, error);
    if (BUGGIFY(op->env, "a recovery ends when it has locked the state"))
        return op_finish(op, ERROR_RECRUITMENT_FAILED);
    recovery->epoch = recovery->state.locked_epoch;
    recovery->old = controller_newest_generation(&recovery->state);
    recovery->creating = recovery->state.written_epoch == 0;
    assert(recovery->creating == (recovery->old == NULL));
    if (!recovery->creating)
        return op_move(op, LOCK_LOGS);
    if (!recovery->controller->creating)
        return op_finish(op, ERROR_RECRUITMENT_FAILED); /* nobody asks for a database any more */
    return op_move(op, RECRUIT);
}

/* ---- the old logs ---- */

static void start_locks(struct recovery *recovery)
{
    struct controller *controller = recovery->controller;
    const struct generation *old = recovery->old;

    recovery->locks = arena_zalloc(&recovery->arena, old->logs_count * sizeof(*recovery->locks));
    for (uint32_t i = 0; i < old->logs_count; i++) {
        struct message *message;
        struct lock_log *m = MESSAGE_NEW(lock_log, &message);

        m->epoch = recovery->epoch;
        call_child_start(&recovery->locks[i], &controller->ops, &recovery->op, controller->rpc,
                         endpoint_of(&old->logs[i].endpoint), message, call_timeout_us(recovery), true);
    }
    for (uint32_t i = 0; i < recovery->state.roles_count; i++) {
        struct message *message;

        if (recovery->state.roles[i].kind != ROLE_SEQUENCER || recovery->old_sequencer.started)
            continue;
        (void)MESSAGE_NEW(get_committed, &message);
        call_child_start(&recovery->old_sequencer, &controller->ops, &recovery->op, controller->rpc,
                         endpoint_of(&recovery->state.roles[i].endpoint), message, call_timeout_us(recovery), false);
    }
}

static void cancel_locks(struct recovery *recovery)
{
    for (uint32_t i = 0; recovery->locks != NULL && i < recovery->old->logs_count; i++)
        call_child_cancel(&recovery->locks[i]);
    call_child_cancel(&recovery->old_sequencer);
}

/* Names the logs that are missing, for status: what would end the wait. */
static void say_missing(struct recovery *recovery)
{
    struct controller *controller = recovery->controller;
    size_t at = 0, size = sizeof(controller->waiting_for);

    at += (size_t)snprintf(controller->waiting_for, size, "needs the logs of epoch %llu in all but %u zones; missing:",
                           (unsigned long long)recovery->old->epoch, recovery->old->replication - 1);
    for (uint32_t i = 0; i < recovery->old->logs_count && at < size; i++) {
        const struct call_child *lock = &recovery->locks[i];
        char text[ADDRESS_TEXT_MAX];

        if (lock->ended && lock->error == 0)
            continue;
        at += (size_t)snprintf(controller->waiting_for + at, size - at, " %016llx at %s (%s)",
                               (unsigned long long)recovery->old->logs[i].endpoint.id,
                               address_print(endpoint_of(&recovery->old->logs[i].endpoint).address, text),
                               lock->last_error == 0 ? "no answer yet" : error_name(lock->last_error));
    }
}

static version_t old_sequencer_committed(const struct recovery *recovery)
{
    const struct call_child *child = &recovery->old_sequencer;

    if (!child->started || !child->ended || child->error != 0)
        return 0;
    return MESSAGE_BODY(get_committed_reply, child->call.reply)->version;
}

/* It knows newest what was acknowledged: were its answer behind those of logs that have all lost the same suffix, nobody would miss that. */
static bool sequencer_may_answer(struct recovery *recovery)
{
    int64_t now_us = env_now_us(recovery->controller->env);

    if (recovery->locked_us == 0)
        recovery->locked_us = now_us;
    return recovery->old_sequencer.started && !recovery->old_sequencer.ended && now_us - recovery->locked_us < SEQUENCER_WAIT_US;
}

/* A log that says what can't be counts as missing: NULL. */
static const struct lock_log_reply *believable(struct recovery *recovery, uint32_t log)
{
    const struct lock_log_reply *answer = MESSAGE_BODY(lock_log_reply, recovery->locks[log].call.reply);
    const char *wrong = recovery_lock_wrong(recovery->old, log, answer);

    if (wrong == NULL)
        return answer;
    TRACE(recovery->controller->env, SEVERITY_WARN_ALWAYS, "LogLockRefused", {"Epoch", trace_int((int64_t)recovery->old->epoch)},
          {"Id", trace_id(answer->log_id)}, {"Begin", trace_int(answer->begin)}, {"End", trace_int(answer->end)},
          {"KnownCommitted", trace_int(answer->known_committed)}, {"Why", trace_str(wrong)});
    return NULL;
}

static enum op_result run_lock_logs(struct op *op)
{
    struct recovery *recovery = recovery_of(op);
    const struct lock_log_reply *answers[LOGS_MAX] = {0};

    if (recovery->locks == NULL)
        start_locks(recovery);
    for (uint32_t i = 0; i < recovery->old->logs_count; i++)
        if (recovery->locks[i].ended && recovery->locks[i].error == 0)
            answers[i] = believable(recovery, i);
    if (!recovery_logs_suffice(recovery->old, answers, old_sequencer_committed(recovery), &recovery->locked_mask,
                               &recovery->recovery_version)) {
        PROBE(op->env, "a recovery waits for logs");
        say_missing(recovery);
        wait_timer_start(&recovery->timer, op, call_timeout_us(recovery)); /* to say again why each is missing */
        return op_wait(op, LOCK_LOGS);
    }
    if (sequencer_may_answer(recovery)) {
        wait_timer_start(&recovery->timer, op, SEQUENCER_WAIT_US);
        return op_wait(op, LOCK_LOGS);
    }
    if (BUGGIFY(op->env, "a recovery ends when it has locked the old logs"))
        return op_finish(op, ERROR_RECRUITMENT_FAILED);
    if (recovery->locked_mask != 0 && old_sequencer_committed(recovery) > 0)
        PROBE(op->env, "the old sequencer still says what was committed");
    if ((recovery->locked_mask & (recovery->locked_mask + 1)) != 0 ||
        (recovery->old->logs_count < 64 && recovery->locked_mask >> (recovery->old->logs_count - 1) == 0))
        PROBE(op->env, "an epoch is recovered without one of its logs");
    TRACE(recovery->controller->env, SEVERITY_INFO, "LogsLocked", {"Epoch", trace_int((int64_t)recovery->epoch)},
          {"RecoveryVersion", trace_int(recovery->recovery_version)}, {"Mask", trace_int((int64_t)recovery->locked_mask)});
    cancel_locks(recovery);
    recovery->controller->waiting_for[0] = '\0';
    recovery->metadata_from = 0;
    return op_move(op, LOAD_METADATA);
}

/* ---- metadata ---- */

static enum op_result run_load_metadata(struct op *op)
{
    struct recovery *recovery = recovery_of(op);
    struct endpoint log;
    struct message *message;
    struct get_metadata *m;

    while (recovery->metadata_from < recovery->old->logs_count &&
           (recovery->locked_mask >> recovery->metadata_from & 1) == 0)
        recovery->metadata_from++;
    if (recovery->metadata_from == recovery->old->logs_count)
        return op_finish(op, ERROR_TLOG_FAILED);
    m = MESSAGE_NEW(get_metadata, &message);
    m->version = recovery->recovery_version;
    log = endpoint_of(&recovery->old->logs[recovery->metadata_from].endpoint);
    rpc_call_start(&recovery->call, op, recovery->controller->rpc, &log, message, call_timeout_us(recovery));
    return op_wait(op, METADATA_LOADED);
}

static enum op_result run_metadata_loaded(struct op *op)
{
    struct recovery *recovery = recovery_of(op);

    if (recovery->call.error == 0 && BUGGIFY(op->env, "a recovery asks another log for the metadata although one gave it"))
        recovery->call.error = ERROR_REQUEST_MAYBE_DELIVERED;
    if (recovery->call.error != 0) {
        PROBE(op->env, "a recovery takes the metadata from another log");
        rpc_call_clear(&recovery->call);
        recovery->metadata_from++;
        return op_move(op, LOAD_METADATA);
    }
    if (BUGGIFY(op->env, "a recovery ends when it has the metadata"))
        return op_finish(op, ERROR_RECRUITMENT_FAILED);
    if (kv_map_apply(recovery->metadata, MESSAGE_BODY(get_metadata_reply, recovery->call.reply)->mutations) != 0) {
        TRACE(recovery->controller->env, SEVERITY_WARN_ALWAYS, "MetadataMalformed",
              {"Epoch", trace_int((int64_t)recovery->epoch)});
        return op_finish(op, ERROR_FILE_CORRUPT);
    }
    rpc_call_clear(&recovery->call);
    controller_read_metadata(recovery->controller, recovery->metadata);
    return op_move(op, RECRUIT);
}

/* ---- recruitment ---- */

static enum op_result run_recruit(struct op *op)
{
    struct recovery *recovery = recovery_of(op);
    struct controller *controller = recovery->controller;

    if (!recovery_recruit_first(recovery)) {
        /* Registrations resume it; the timer, when it only waits for more of them. */
        wait_timer_start(&recovery->timer, op, controller->env->knobs.controller_recruit_wait_us);
        return op_wait(op, RECRUIT);
    }
    controller->waiting_for[0] = '\0';
    return op_move(op, RECRUITING);
}

/* The next attempt looks elsewhere first. */
static void avoid(struct recovery *recovery, const struct recruit *recruit)
{
    struct worker_info *worker = controller_worker_at(recovery->controller, recruit->address);

    TRACE(recovery->controller->env, SEVERITY_WARN, "RecruitFailed", {"Address", trace_addr(recruit->address)},
          {"Role", trace_str(role_kind_name(recruit->kind))}, {"Error", trace_str(error_name(recruit->child.error))});
    if (worker != NULL && worker->worker_id == recruit->worker_id)
        recruitment_avoid(worker, env_now_us(recovery->controller->env));
}

static void trust(const struct recovery *recovery)
{
    for (uint32_t i = 0; i < recovery->recruit_count; i++) {
        struct worker_info *worker = controller_worker_at(recovery->controller, recovery->recruits[i].address);

        if (worker != NULL && worker->worker_id == recovery->recruits[i].worker_id)
            worker->avoid_us = 0;
    }
}

/* 0 while some have not answered, -1 when all did, or the first error. */
static int look_at_recruits(struct recovery *recovery, bool proxies)
{
    bool all = true;

    if (recovery->lost) {
        PROBE(recovery->controller->env, "a process is lost that a recovery has recruited");
        return ERROR_RECRUITMENT_FAILED;
    }
    for (uint32_t i = 0; i < recovery->recruit_count; i++) {
        const struct recruit *recruit = &recovery->recruits[i];
        bool is_proxy = recruit->kind == ROLE_COMMIT_PROXY || recruit->kind == ROLE_GRV_PROXY;

        if (is_proxy && !proxies)
            continue;
        if (!recruit->child.ended) {
            all = false;
        } else if (recruit->child.error != 0) {
            avoid(recovery, recruit);
            return recruit->child.error;
        }
    }
    return all ? -1 : 0;
}

static enum op_result run_recruiting(struct op *op)
{
    struct recovery *recovery = recovery_of(op);
    int result = look_at_recruits(recovery, false);

    if (result == 0)
        return op_wait(op, RECRUITING);
    if (result < 0 && BUGGIFY(op->env, "a recovery ends when sequencer, resolvers and logs are there"))
        result = ERROR_RECRUITMENT_FAILED;
    if (result > 0)
        return op_finish(op, result);
    recovery_recruit_proxies(recovery);
    return op_move(op, RECRUITING_PROXIES);
}

static enum op_result run_recruiting_proxies(struct op *op)
{
    int result = look_at_recruits(recovery_of(op), true);

    if (result == 0)
        return op_wait(op, RECRUITING_PROXIES);
    if (result < 0 && BUGGIFY(op->env, "a recovery ends when all roles are there"))
        result = ERROR_RECRUITMENT_FAILED;
    if (result > 0)
        return op_finish(op, result);
    trust(recovery_of(op));
    return op_move(op, RECOVERY_TXN);
}

/* ---- the first transaction ---- */

static enum op_result run_recovery_txn(struct op *op)
{
    struct recovery *recovery = recovery_of(op);
    const struct recruit *proxy = recovery_find(recovery, ROLE_COMMIT_PROXY, 0);
    struct endpoint to = {proxy->address, proxy->role_id};

    rpc_call_start(&recovery->call, op, recovery->controller->rpc, &to, recovery_transaction(recovery), 0);
    return op_wait(op, TXN_COMMITTED);
}

static enum op_result run_txn_committed(struct op *op)
{
    struct recovery *recovery = recovery_of(op);

    if (recovery->lost)
        return op_finish(op, ERROR_RECRUITMENT_FAILED);
    if (recovery->call.error != 0)
        return op_finish(op, recovery->call.error);
    if (BUGGIFY(op->env, "a recovery ends when its transaction is committed, before anyone knows of the epoch"))
        return op_finish(op, ERROR_RECRUITMENT_FAILED);
    recovery->transaction_version = MESSAGE_BODY(commit_reply, recovery->call.reply)->version;
    rpc_call_clear(&recovery->call);
    if (recovery->transaction_version <= recovery->recovery_version + VERSIONS_IN_FLIGHT_MAX)
        return op_finish(op, ERROR_RECRUITMENT_FAILED); /* no sequencer that we recruited gave that */
    return op_move(op, WRITE_STATE);
}

static enum op_result run_write_state(struct op *op)
{
    struct recovery *recovery = recovery_of(op);
    struct controller *controller = recovery->controller;
    struct endpoint coordinator = controller_coordinator(controller);
    struct coordinated_state state;
    struct message *message;
    struct write_state *m = MESSAGE_NEW(write_state, &message);

    m->term = controller->term;
    recovery_new_state(recovery, &state);
    if (message_copy_body(&schema_coordinated_state, &state, &message->arena, &m->state) != 0)
        return op_finish(op, ERROR_OUT_OF_MEMORY);
    rpc_call_start(&recovery->call, op, controller->rpc, &coordinator, message, 0);
    return op_wait(op, STATE_WRITTEN);
}

static enum op_result run_state_written(struct op *op)
{
    struct recovery *recovery = recovery_of(op);
    const struct state_reply *reply;
    int error;

    if (recovery->call.reply == NULL) /* failed, or a loss cut the wait short: its fate is unknown, the next attempt will see */
        return op_finish(op, recovery->call.error != 0 ? recovery->call.error : ERROR_RECRUITMENT_FAILED);
    if (BUGGIFY(op->env, "a recovery ends when the state is written: the epoch lives, and is ended at once"))
        return op_finish(op, ERROR_RECRUITMENT_FAILED);
    reply = MESSAGE_BODY(state_reply, recovery->call.reply);
    error = controller_state_set(recovery->controller, &reply->state);
    if (error == 0 && !reply->accepted)
        PROBE(op->env, "a recovery may not write its state: a later one has locked it");
    if (error == 0 && (!reply->accepted || reply->state.written_epoch != recovery->epoch))
        error = ERROR_COORDINATED_STATE_CONFLICT;
    if (error == 0 && BUGGIFY(op->env, "a process of the new epoch is lost as its state is written"))
        recovery->lost = true;
    return op_finish(op, error);
}

/* ---- life ---- */

static const struct op_stage stages[STAGES] = {
    [LOCK_STATE] = {"LOCK_STATE", run_lock_state, OP_STAGE(STATE_LOCKED)},
    [STATE_LOCKED] = {"STATE_LOCKED", run_state_locked, OP_STAGE(LOCK_LOGS) | OP_STAGE(RECRUIT)},
    [LOCK_LOGS] = {"LOCK_LOGS", run_lock_logs, OP_STAGE(LOCK_LOGS) | OP_STAGE(LOAD_METADATA)},
    [LOAD_METADATA] = {"LOAD_METADATA", run_load_metadata, OP_STAGE(METADATA_LOADED)},
    [METADATA_LOADED] = {"METADATA_LOADED", run_metadata_loaded, OP_STAGE(LOAD_METADATA) | OP_STAGE(RECRUIT)},
    [RECRUIT] = {"RECRUIT", run_recruit, OP_STAGE(RECRUIT) | OP_STAGE(RECRUITING)},
    [RECRUITING] = {"RECRUITING", run_recruiting, OP_STAGE(RECRUITING) | OP_STAGE(RECRUITING_PROXIES)},
    [RECRUITING_PROXIES] = {"RECRUITING_PROXIES", run_recruiting_proxies,
                            OP_STAGE(RECRUITING_PROXIES) | OP_STAGE(RECOVERY_TXN)},
    [RECOVERY_TXN] = {"RECOVERY_TXN", run_recovery_txn, OP_STAGE(TXN_COMMITTED)},
    [TXN_COMMITTED] = {"TXN_COMMITTED", run_txn_committed, OP_STAGE(WRITE_STATE)},
    [WRITE_STATE] = {"WRITE_STATE", run_write_state, OP_STAGE(STATE_WRITTEN)},
    [STATE_WRITTEN] = {"STATE_WRITTEN", run_state_written, 0},
};

static bool processes_live(struct recovery *recovery)
{
    for (uint32_t i = 0; i < recovery->recruit_count; i++) {
        const struct recruit *recruit = &recovery->recruits[i];
        const struct worker_info *worker = controller_worker_at(recovery->controller, recruit->address);

        if (recruit->kind != ROLE_STORAGE && (worker == NULL || worker->worker_id != recruit->worker_id))
            return false;
    }
    return true;
}

static void ended(struct op *op)
{
    struct recovery *recovery = recovery_of(op);
    struct controller *controller = recovery->controller;
    uint8_t stage = op->stage;
    int error = op->error;
    bool live = error == 0 && !recovery->lost && processes_live(recovery);

    cancel_locks(recovery);
    for (uint32_t i = 0; i < recovery->recruit_count; i++)
        call_child_cancel(&recovery->recruits[i].child);
    rpc_call_clear(&recovery->call);
    kv_map_destroy(recovery->metadata);
    arena_done(&recovery->arena);
    controller->recovery = NULL;
    mem_free(recovery->recruits);
    mem_free(recovery);
    if (error == ERROR_OPERATION_CANCELLED)
        return;
    if (error == 0) {
        controller_accepting(controller);
        if (!live)
            PROBE(controller->env, "an epoch is lived for a moment: a process was lost during its recovery");
        if (!live)
            controller_recover(controller, "a process was lost during recovery");
        return;
    }
    TRACE(controller->env, SEVERITY_WARN, "RecoveryFailed", {"Stage", trace_str(stages[stage].name)},
          {"Error", trace_str(error_name(error))});
    /* Our own coordinator said so: leadership is lost, and we are about to be destroyed. A worker that says it means its role. */
    if (error != ERROR_OPERATION_OBSOLETE || (stage != STATE_LOCKED && stage != STATE_WRITTEN))
        controller_recover_later(controller, controller->recovery_cause);
}

static const struct op_type type = {"recovery", stages, STAGES, READY_COMMIT, ended};

void recovery_start(struct controller *controller, const char *cause)
{
    struct recovery *recovery = mem_zalloc(sizeof(*recovery));

    (void)cause;
    recovery->controller = controller;
    recovery->recruits = mem_zalloc(RECRUITS_MAX * sizeof(*recovery->recruits));
    recovery->metadata = kv_map_create();
    recovery->started_us = env_now_us(controller->env);
    do
        recovery->lock_id = env_random(controller->env);
    while (recovery->lock_id == 0);
    controller->recovery = recovery;
    op_start(&recovery->op, &type, &controller->ops);
}

void recovery_workers_changed(struct controller *controller)
{
    struct recovery *recovery = controller->recovery;

    if (recovery != NULL && recovery->op.stage == RECRUIT && recovery->op.waiting)
        op_resume(&recovery->op);
}

void recovery_roles_lost(struct controller *controller, struct address address, uint64_t id)
{
    struct recovery *recovery = controller->recovery;

    if (recovery == NULL || recovery->op.stage < RECRUITING)
        return;
    for (uint32_t i = 0; i < recovery->recruit_count; i++) {
        const struct recruit *recruit = &recovery->recruits[i];

        if (!address_equal(recruit->address, address) || (id != 0 && recruit->role_id != id))
            continue;
        if (id != 0)
            PROBE(controller->env, "a role that a recovery has recruited ends by itself");
        recovery->lost = true;
        if (recovery->op.waiting)
            op_resume(&recovery->op);
        return;
    }
}

const char *recovery_stage_name(const struct recovery *recovery)
{
    return op_stage_name(&recovery->op);
}
