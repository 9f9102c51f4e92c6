/* The coordinator's life: opens its files, steps Raft and obeys its updates, tells its host who leads.
 *
 *   requests, timers, the disk, the watch -> raft_step -> persist, messages, applied entries -> replies, callbacks
 *
 * Every step goes through coordinator_step(), which obeys the update in the order that raft.h asks for. Nothing that it
 * does comes back into it: messages, replies and callbacks go through queues of the rpc and the env. The one exception, requests
 * that waited for the own term's no-op, is served when the update has been obeyed to its end. */
#include "roles/coordinator/coordinator.h"

#include <assert.h>
#include <stdio.h>

#include "net/buggify.h"
#include "net/error.h"
#include "net/mem.h"
#include "roles/coordinator/coordinator_internal.h"

const struct coordinator_record *coordinator_record(const struct coordinator *coordinator)
{
    return coordinator_disk_record(coordinator->disk);
}

/* ---- requests that wait ---- */

static void drop_dead(struct waiters *waiters)
{
    list_each(node, after, &waiters->list) {
        struct waiter *waiter = list_entry(node, struct waiter, link);

        if (!rpc_request_alive(waiter->request))
            rpc_drop(waiter_take(waiters, waiter));
    }
}

struct waiter *waiter_add(struct coordinator *coordinator, struct waiters *waiters, uint32_t most,
                          struct rpc_request *request, int64_t deadline_us)
{
    struct env_timer *timer = &coordinator->waiters_timer;
    struct waiter *waiter;

    if (waiters->count >= most && waiters != &coordinator->proposals)
        drop_dead(waiters);
    if (waiters->count >= most)
        return NULL;
    waiter = mem_zalloc(sizeof(*waiter));
    if (waiter == NULL)
        return NULL;
    waiter->request = request;
    waiter->deadline_us = deadline_us;
    list_push_back(&waiters->list, &waiter->link);
    waiters->count++;
    if (deadline_us != INT64_MAX && (timer->heap_index_plus_1 == 0 || timer->at_us > deadline_us))
        env_timer_start(coordinator->env, timer, deadline_us);
    return waiter;
}

struct rpc_request *waiter_take(struct waiters *waiters, struct waiter *waiter)
{
    struct rpc_request *request = waiter->request;

    assert(waiters->count > 0);
    list_remove(&waiter->link);
    waiters->count--;
    mem_free(waiter);
    return request;
}

static struct waiter *overdue(struct waiters *waiters, int64_t now_us, int64_t *next_us)
{
    list_each(node, after, &waiters->list) {
        struct waiter *waiter = list_entry(node, struct waiter, link);

        if (waiter->deadline_us <= now_us)
            return waiter;
        if (waiter->deadline_us < *next_us)
            *next_us = waiter->deadline_us;
    }
    return NULL;
}

static void waiters_timer_fire(struct env_timer *timer)
{
    struct coordinator *coordinator = container_of(timer, struct coordinator, waiters_timer);
    int64_t now_us = env_now_us(coordinator->env), next_us = INT64_MAX;
    struct waiter *waiter;

    while ((waiter = overdue(&coordinator->leader_waiters, now_us, &next_us)) != NULL)
        leader_answer(coordinator, waiter_take(&coordinator->leader_waiters, waiter));
    while ((waiter = overdue(&coordinator->ready_waiters, now_us, &next_us)) != NULL)
        rpc_fail(waiter_take(&coordinator->ready_waiters, waiter), ERROR_OPERATION_OBSOLETE);
    if (next_us != INT64_MAX)
        env_timer_start(coordinator->env, timer, next_us);
}

/* ---- callbacks to the host ---- */

/* Leadership that was lost and won again since the last call is told as both. */
static void announce(struct ready *ready)
{
    struct coordinator *coordinator = container_of(ready, struct coordinator, announce);
    const struct coordinator_record *record = coordinator_record(coordinator);
    void *host = coordinator->context.host;

    if (!coordinator->announced_cluster && coordinator->raft != NULL) {
        coordinator->announced_cluster = true;
        coordinator->callbacks.cluster_known(host, (struct uid){record->cluster_high, record->cluster_low});
    }
    members_announce(coordinator);
    if (coordinator->announced_term == coordinator->leading_term)
        return;
    if (coordinator->announced_term != 0) {
        coordinator->announced_term = 0;
        coordinator->callbacks.lost(host);
    }
    if (coordinator->leading_term != 0) {
        coordinator->announced_term = coordinator->leading_term;
        coordinator->callbacks.leading(host, coordinator->announced_term);
    }
}

static void set_leading(struct coordinator *coordinator, uint64_t term)
{
    if (term == coordinator->leading_term)
        return;
    TRACE(coordinator->env, SEVERITY_INFO, term != 0 ? "CoordinatorLeads" : "CoordinatorLostLeadership",
          {"Term", trace_int((int64_t)(term != 0 ? term : coordinator->leading_term))});
    coordinator->leading_term = term;
    env_ready(coordinator->env, &coordinator->announce, READY_COMMIT);
}

void coordinator_fail(struct coordinator *coordinator, int error)
{
    if (coordinator->failed != 0)
        return;
    PROBE(coordinator->env, "a coordinator's disk fails: it takes no part any more");
    TRACE(coordinator->env, SEVERITY_WARN_ALWAYS, "CoordinatorFailed", {"Error", trace_str(error_name(error))});
    coordinator->failed = error;
    env_timer_cancel(coordinator->env, &coordinator->raft_timer);
    rpc_watch_cancel(&coordinator->leader_watch);
    coordinator->watched_leader = 0;
    requests_lost(coordinator);
    members_changed(coordinator, ERROR_OPERATION_OBSOLETE);
    while (!list_empty(&coordinator->leader_waiters.list))
        leader_answer(coordinator, waiter_take(&coordinator->leader_waiters,
                                               list_entry(coordinator->leader_waiters.list.next, struct waiter, link)));
    set_leading(coordinator, 0);
    coordinator->context.ended(coordinator->context.host, ROLE_COORDINATOR, 0, error);
}

/* ---- Raft ---- */

static void apply_snapshot(struct coordinator *coordinator, const struct raft_snapshot *snapshot)
{
    int error = coordinated_restore(&coordinator->coordinated, snapshot->data);

    PROBE(coordinator->env, "a coordinator that fell behind gets the state as a whole");
    if (error != 0) {
        TRACE(coordinator->env, SEVERITY_WARN_ALWAYS, "CoordinatorSnapshotBad", {"Index", trace_int((int64_t)snapshot->index)});
        coordinator_fail(coordinator, error);
        return;
    }
    coordinator->applied_index = snapshot->index;
    requests_applied(coordinator, snapshot->index, 0, false);
}

static void apply_entry(struct coordinator *coordinator, const struct raft_entry *entry)
{
    bool changed = entry->type == RAFT_ENTRY_DATA && coordinated_apply(&coordinator->coordinated, entry->data);

    assert(entry->index == coordinator->applied_index + 1);
    coordinator->applied_index = entry->index;
    requests_applied(coordinator, entry->index, entry->term, changed);
}

static void apply(struct coordinator *coordinator, const struct raft_update *update)
{
    if (update->snapshot_installed != NULL)
        apply_snapshot(coordinator, update->snapshot_installed);
    for (uint64_t i = update->apply_first; i <= update->apply_last && coordinator->failed == 0; i++)
        apply_entry(coordinator, raft_entry(coordinator->raft, i));
}

static void set_timer(struct coordinator *coordinator, uint64_t at_us)
{
    if (BUGGIFY_ONE_IN(coordinator->env, 64, "Raft's timer rings late by up to an election timeout"))
        at_us += env_random_below(coordinator->env, (uint64_t)coordinator->env->knobs.raft_election_timeout_us + 1);
    if (at_us >= INT64_MAX)
        env_timer_cancel(coordinator->env, &coordinator->raft_timer);
    else
        env_timer_start(coordinator->env, &coordinator->raft_timer, (int64_t)at_us);
}

/* What another leader's log replaces: the only way in which entries go that were vouched for. */
static void trace_truncation(struct coordinator *coordinator, const struct raft_persist *persist)
{
    uint64_t from = persist->truncate_from;

    if (persist->snapshot != NULL && !persist->snapshot_keeps_log)
        from = persist->snapshot->index + 1;
    if (from != 0)
        TRACE(coordinator->env, SEVERITY_DEBUG, "RaftTruncated", {"Member", trace_id(coordinator_record(coordinator)->member)},
              {"Index", trace_int((int64_t)from)});
}

static void obey(struct coordinator *coordinator, const struct raft_update *update)
{
    int error = 0;

    trace_truncation(coordinator, &update->persist);
    if (update->persist.sequence != 0)
        error = coordinator_disk_persist(coordinator->disk, coordinator->raft, &update->persist);
    if (error != 0) {
        coordinator_fail(coordinator, error);
        return;
    }
    for (size_t i = 0; i < update->message_count; i++)
        peers_send(coordinator, &update->messages[i]);
    apply(coordinator, update);
    if (coordinator->failed != 0)
        return;
    if (update->configuration_changed)
        peers_remember_all(coordinator);
    if (update->change != RAFT_CHANGE_NONE)
        members_changed(coordinator, update->change == RAFT_CHANGE_COMMITTED ? 0 : ERROR_TIMED_OUT);
    if (update->lost_leadership) {
        requests_lost(coordinator);
        members_changed(coordinator, ERROR_OPERATION_OBSOLETE);
    }
    peers_watch_leader(coordinator, update->leader_id);
    set_timer(coordinator, update->timeout_us);
}

/* The state as a snapshot in place of the entries that led to it. */
static void compact(struct coordinator *coordinator)
{
    int64_t entries_max = coordinator->env->knobs.raft_compact_entries;
    struct bytes_buffer state = {0};
    struct raft_update update;

    if (BUGGIFY(coordinator->env, "a coordinator compacts its log after each entry"))
        entries_max = 1;
    if (coordinator->applied_index - raft_snapshot(coordinator->raft)->index < (uint64_t)(entries_max < 1 ? 1 : entries_max))
        return;
    PROBE(coordinator->env, "a coordinator writes its state in place of its log");
    if (coordinated_encode(&coordinator->coordinated, coordinator->applied_index, &state) == 0) {
        (void)raft_compact(coordinator->raft, (uint64_t)env_now_us(coordinator->env), coordinator->applied_index,
                           bytes_buffer_bytes(&state), &update);
        obey(coordinator, &update);
    }
    bytes_buffer_done(&state);
}

static void notice_leadership(struct coordinator *coordinator)
{
    struct raft_status status;

    raft_status(coordinator->raft, &status);
    set_leading(coordinator, status.ready ? status.term : 0);
    if (members_are_news(coordinator, &status))
        env_ready(coordinator->env, &coordinator->announce, READY_COMMIT);
    leader_look(coordinator);
    requests_leading(coordinator);
}

int coordinator_step(struct coordinator *coordinator, struct raft_event *event, struct waiter *proposal)
{
    struct raft_update update;
    int error = ERROR_OPERATION_OBSOLETE;

    if (coordinator->failed == 0) {
        event->now_us = (uint64_t)env_now_us(coordinator->env);
        error = raft_step(coordinator->raft, event, &update);
        invariant_raft(coordinator->raft);
    }
    if (proposal != NULL && error != 0) {
        (void)waiter_take(&coordinator->proposals, proposal);
    } else if (proposal != NULL) {
        proposal->index = update.proposed_index;
        proposal->term = update.proposed_term;
    }
    if (coordinator->failed == 0)
        obey(coordinator, &update);
    if (coordinator->failed == 0)
        compact(coordinator);
    if (coordinator->failed == 0)
        notice_leadership(coordinator);
    return error;
}

static void raft_timer_fire(struct env_timer *timer)
{
    struct coordinator *coordinator = container_of(timer, struct coordinator, raft_timer);
    struct raft_event event = {.type = RAFT_EVENT_TICK};

    if (coordinator->leading_term != 0 && BUGGIFY_ONE_IN(coordinator->env, 300, "a leader hands leadership over"))
        event.type = RAFT_EVENT_TRANSFER;
    (void)coordinator_step(coordinator, &event, NULL);
}

static void disk_persisted(void *ctx, uint64_t sequence)
{
    struct raft_event event = {.type = RAFT_EVENT_PERSISTED, .sequence = sequence};

    (void)coordinator_step(ctx, &event, NULL);
}

static void disk_failed(void *ctx, int error)
{
    coordinator_fail(ctx, error);
}

static int restore_state(struct coordinator *coordinator, const struct raft_snapshot *snapshot)
{
    const struct coordinator_record *record = coordinator_record(coordinator);
    int error;

    coordinated_init(&coordinator->coordinated, record->cluster_high, record->cluster_low);
    coordinator->applied_index = snapshot->index;
    if (snapshot->index == 0)
        return 0;
    if (coordinated_refuses(record->cluster_high, record->cluster_low, snapshot->index, snapshot->data) != NULL)
        return ERROR_FILE_CORRUPT;
    error = coordinated_restore(&coordinator->coordinated, snapshot->data);
    return error == ERROR_SERIALIZATION_FAILED ? ERROR_FILE_CORRUPT : error;
}

int coordinator_start_raft(struct coordinator *coordinator, struct coordinator_restored *restored)
{
    struct env *env = coordinator->env;
    struct raft_event tick = {.type = RAFT_EVENT_TICK};
    struct raft_options options = {
        .id = coordinator_record(coordinator)->member,
        .seed = env_random(env),
        .heartbeat_us = (uint64_t)env->knobs.raft_heartbeat_us,
        .election_timeout_us = (uint64_t)env->knobs.raft_election_timeout_us,
    };
    int error = restore_state(coordinator, &restored->raft.snapshot);

    TRACE(env, SEVERITY_INFO, "RaftRestored", {"Member", trace_id(options.id)},
          {"Term", trace_int((int64_t)restored->raft.term)}, {"Vote", trace_id(restored->raft.vote)},
          {"Index", trace_int((int64_t)(restored->raft.snapshot.index + restored->raft.entry_count))});

    if (error == 0)
        error = raft_create(&options, &restored->raft, (uint64_t)env_now_us(env), &coordinator->raft);
    if (error == ERROR_FILE_CORRUPT)
        TRACE(env, SEVERITY_WARN_ALWAYS, "CoordinatorFilesDamaged", {"What", trace_str("the log contradicts itself")},
              {"Entries", trace_int((int64_t)restored->raft.entry_count)});
    arena_done(&restored->arena);
    if (error != 0)
        return error;
    for (uint32_t i = 0; i < coordinator_record(coordinator)->members_count; i++) {
        struct raft_member member = members_raft(&coordinator_record(coordinator)->members[i]);

        peers_remember(coordinator, &member);
    }
    peers_remember_all(coordinator);
    env_ready(env, &coordinator->announce, READY_COMMIT);
    (void)coordinator_step(coordinator, &tick, NULL);
    return 0;
}

/* ---- requests ---- */

static void on_request(void *ctx, struct rpc_request *request)
{
    struct coordinator *coordinator = ctx;

    switch (request->message->type->id) {
    case MESSAGE_raft_wire:
        peers_receive(coordinator, request);
        break;
    case MESSAGE_get_leader:
        leader_request(coordinator, request);
        break;
    case MESSAGE_coordinator_create:
        requests_create(coordinator, request);
        break;
    case MESSAGE_coordinator_change:
        members_change(coordinator, request);
        break;
    case MESSAGE_read_state:
    case MESSAGE_lock_state:
    case MESSAGE_write_state:
        requests_state(coordinator, request);
        break;
    default:
        rpc_fail(request, ERROR_CLIENT_INVALID_OPERATION);
    }
}

/* ---- life ---- */

static void init(struct coordinator *coordinator, const struct role_context *context,
                 const struct coordinator_callbacks *callbacks)
{
    coordinator->context = *context;
    coordinator->env = context->env;
    coordinator->rpc = context->rpc;
    coordinator->callbacks = *callbacks;
    list_init(&coordinator->leader_waiters.list);
    list_init(&coordinator->ready_waiters.list);
    list_init(&coordinator->proposals.list);
    coordinator->announce.run = announce;
    do
        coordinator->instance = env_random(context->env);
    while (coordinator->instance == 0);
    coordinator->raft_timer.fire = raft_timer_fire;
    coordinator->waiters_timer.fire = waiters_timer_fire;
}

int coordinator_create(const struct role_context *context, const struct coordinator_callbacks *callbacks,
                       struct coordinator **ret_coordinator)
{
    struct coordinator *coordinator = mem_zalloc(sizeof(*coordinator));
    struct coordinator_disk_owner owner = {disk_persisted, disk_failed, coordinator};
    struct coordinator_restored restored;
    int error;

    if (coordinator == NULL)
        return ERROR_OUT_OF_MEMORY;
    init(coordinator, context, callbacks);
    error = coordinator_disk_open(context->env, context->data_directory, &owner, &restored, &coordinator->disk);
    if (error == 0 && coordinator_record(coordinator) != NULL)
        error = coordinator_start_raft(coordinator, &restored);
    if (error != 0) {
        env_ready_cancel(&coordinator->announce);
        coordinated_done(&coordinator->coordinated);
        coordinator_disk_close(coordinator->disk);
        mem_free(coordinator);
        return error;
    }
    rpc_register(context->rpc, ENDPOINT_COORDINATOR, on_request, coordinator);
    TRACE(context->env, SEVERITY_INFO, "CoordinatorStarted", {"HasRecord", trace_int(coordinator->raft != NULL)},
          {"Applied", trace_int((int64_t)coordinator->applied_index)});
    *ret_coordinator = coordinator;
    return 0;
}

static void drop_all(struct waiters *waiters)
{
    list_each(node, after, &waiters->list)
        rpc_drop(waiter_take(waiters, list_entry(node, struct waiter, link)));
}

void coordinator_destroy(struct coordinator *coordinator)
{
    if (coordinator == NULL)
        return;
    rpc_unregister(coordinator->rpc, ENDPOINT_COORDINATOR);
    env_ready_cancel(&coordinator->announce);
    env_timer_cancel(coordinator->env, &coordinator->raft_timer);
    env_timer_cancel(coordinator->env, &coordinator->waiters_timer);
    rpc_watch_cancel(&coordinator->leader_watch);
    drop_all(&coordinator->leader_waiters);
    drop_all(&coordinator->ready_waiters);
    drop_all(&coordinator->proposals);
    if (coordinator->change != NULL)
        rpc_drop(coordinator->change);
    coordinator_disk_close(coordinator->disk);
    raft_destroy(coordinator->raft);
    coordinated_done(&coordinator->coordinated);
    mem_free(coordinator);
}

bool coordinator_leads(const struct coordinator *coordinator)
{
    return coordinator->leading_term != 0;
}

static void raft_metrics(const struct coordinator *coordinator, struct role_status *status, struct arena *arena)
{
    const struct raft_counters *counters = raft_counters(coordinator->raft);
    struct raft_status raft;

    raft_status(coordinator->raft, &raft);
    status->id = raft.id;
    role_metric(status, arena, "term", (int64_t)raft.term);
    role_metric(status, arena, "is_leader", coordinator->leading_term != 0);
    role_metric(status, arena, "leader_known", raft.leader_id != 0);
    role_metric(status, arena, "members", raft_configuration(coordinator->raft)->count);
    role_metric(status, arena, "commit_index", (int64_t)raft.commit_index);
    role_metric(status, arena, "applied_index", (int64_t)coordinator->applied_index);
    role_metric(status, arena, "last_index", (int64_t)raft.last_index);
    role_metric(status, arena, "durable_index", (int64_t)raft.durable_index);
    role_metric(status, arena, "snapshot_index", (int64_t)raft.snapshot_index);
    role_metric(status, arena, "locked_epoch", (int64_t)coordinator->coordinated.state.locked_epoch);
    role_metric(status, arena, "written_epoch", (int64_t)coordinator->coordinated.state.written_epoch);
    role_metric(status, arena, "elections_started", (int64_t)counters->elections_started);
    role_metric(status, arena, "elections_won", (int64_t)counters->elections_won);
    role_metric(status, arena, "raft_messages_sent", (int64_t)counters->messages_sent);
    role_metric(status, arena, "raft_messages_received", (int64_t)counters->messages_received);
    peers_metrics(counters, status, arena);
}

void coordinator_status(const struct coordinator *coordinator, struct role_status *status, struct arena *arena)
{
    struct diskqueue_status log;

    status->kind = ROLE_COORDINATOR;
    if (coordinator->raft != NULL)
        raft_metrics(coordinator, status, arena);
    coordinator_disk_status(coordinator->disk, &log);
    role_metric(status, arena, "has_record", coordinator->raft != NULL);
    role_metric(status, arena, "failed", coordinator->failed != 0);
    role_metric(status, arena, "log_bytes", (int64_t)log.file_bytes);
    role_metric(status, arena, "log_syncs", (int64_t)log.syncs);
    role_metric(status, arena, "proposals_waiting", coordinator->proposals.count);
    role_metric(status, arena, "leader_waiters", coordinator->leader_waiters.count);
    role_metric(status, arena, "ignored_wrong_cluster", (int64_t)coordinator->ignored_wrong_cluster);
    role_metric(status, arena, "ignored_malformed", (int64_t)coordinator->ignored_malformed);
    role_metric(status, arena, "ignored_no_record", (int64_t)coordinator->ignored_no_record);
    role_metric(status, arena, "ignored_superseded", (int64_t)coordinator->ignored_superseded);
    role_metric(status, arena, "ignored_bad_snapshot", (int64_t)coordinator->ignored_bad_snapshot);
}
