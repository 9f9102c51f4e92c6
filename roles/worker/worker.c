/* Life of a process's worker: its data directory, its roles, descriptions.
 *
 * The data directory holds an identity (format, cluster id), and one directory a log, storage server or coordinator. A role
 * that ends by itself is destroyed at the end of the turn, and named in registrations until a later epoch is described;
 * a log, storage server or coordinator that ends so takes its process with it: its supervisor starts it again, with a
 * back-off, and it goes on from its files when what was wrong (a full disk) has passed. One whose files are damaged is not
 * started, and the process goes on without it; so it does without a storage server that was removed (whose files then go, too), or
 * whose database's creation never ended: another start would find it the same. */
#include <stdio.h>

#include "net/buggify.h"
#include "net/mem.h"
#include "roles/commit_proxy/commit_proxy.h"
#include "roles/controller/controller.h"
#include "roles/coordinator/coordinator.h"
#include "roles/log/log.h"
#include "roles/distributor/distributor.h"
#include "roles/ratekeeper/ratekeeper.h"
#include "roles/storage/storage.h"
#include "roles/worker/worker_internal.h"
#include "txn/log_system.h"

enum { IDENTITY_BYTES = 24 };

/* ---- roles ---- */

struct hosted *worker_find(struct worker *worker, enum role_kind kind, uint64_t id)
{
    list_each(node, after, &worker->roles) {
        struct hosted *hosted = list_entry(node, struct hosted, link);

        if (hosted->kind == kind && hosted->id == id)
            return hosted;
    }
    return NULL;
}

struct hosted *worker_host(struct worker *worker, enum role_kind kind, uint64_t id, uint64_t epoch, void *role)
{
    struct hosted *hosted = mem_zalloc(sizeof(*hosted));

    assert(worker_find(worker, kind, id) == NULL);
    *hosted = (struct hosted){.worker = worker, .kind = kind, .id = id, .epoch = epoch, .role = role};
    list_push_back(&worker->roles, &hosted->link);
    worker->role_count++;
    return hosted;
}

static void unhost(struct hosted *hosted)
{
    hosting_destroy(hosted);
    list_remove(&hosted->link);
    hosted->worker->role_count--;
    mem_free(hosted);
}

void worker_changed(struct worker *worker)
{
    finder_register_again(worker);
}

static void role_changed(void *host)
{
    worker_changed(host);
}

void worker_end_process(struct worker *worker, int status, const char *why)
{
    TRACE(worker->env, SEVERITY_WARN_ALWAYS, "ProcessEnding", {"Why", trace_str(why)}, {"Status", trace_int(status)});
    if (worker->options.exit != NULL)
        worker->options.exit(worker->options.exit_ctx, status, why);
    else
        env_exit(worker->env, status, why);
}

static void role_ended(void *host, enum role_kind kind, uint64_t role_id, int error)
{
    struct worker *worker = host;
    struct hosted *hosted = worker_find(worker, kind, role_id);

    TRACE(worker->env, SEVERITY_WARN, "RoleEnded", {"Role", trace_str(role_kind_name(kind))}, {"Id", trace_id(role_id)},
          {"Error", trace_str(error_name(error))});
    if (kind == ROLE_COORDINATOR) {
        worker->coordinator_ended = true;
        env_turn_end(worker->env, &worker->reap);
    }
    if (hosted == NULL || hosted->ending)
        return;
    hosted->error = error == 0 ? ERROR_OPERATION_FAILED : error;
    hosted->ending = true;
    env_turn_end(worker->env, &worker->reap);
}

static void reap(struct ready *ready)
{
    struct worker *worker = container_of(ready, struct worker, reap);
    bool fatal = worker->coordinator_ended, removed;

    list_each(node, after, &worker->roles) {
        struct hosted *hosted = list_entry(node, struct hosted, link);

        if (!hosted->ending || hosted->role == NULL)
            continue;
        fatal |= hosted->kind == ROLE_STORAGE ? hosted->error != ERROR_WORKER_REMOVED
                                              : hosted->kind == ROLE_LOG && hosted->error != ERROR_TLOG_STOPPED;
        removed = hosted->kind == ROLE_STORAGE && storage_server_was_removed(hosted->role);
        hosting_destroy(hosted);
        if (removed) {
            PROBE(worker->env, "the files of a storage server that was removed are deleted");
            hosting_remove(worker, ROLE_STORAGE, hosted->id);
        }
    }
    worker_changed(worker);
    if (fatal)
        PROBE(worker->env, "a process ends because a role with files can't go on");
    if (fatal)
        worker_end_process(worker, 1, "a log, storage server or coordinator could not go on; see RoleEnded");
}

/* ---- descriptions ---- */

struct description_order description_order(const struct description *d)
{
    return (struct description_order){d->epoch, d->term, d->number};
}

static bool is_newer(struct description_order a, struct description_order b)
{
    if (a.epoch != b.epoch)
        return a.epoch > b.epoch;
    if (a.term != b.term)
        return a.term > b.term;
    return a.number > b.number;
}

static bool generation_lists(const struct description *d, uint64_t log_id)
{
    for (uint32_t g = 0; g < d->generations_count; g++)
        for (uint32_t i = 0; i < d->generations[g].logs_count; i++)
            if (d->generations[g].logs[i].endpoint.id == log_id)
                return true;
    return false;
}

static bool is_singleton(enum role_kind kind)
{
    return kind == ROLE_DATA_DISTRIBUTOR || kind == ROLE_RATEKEEPER;
}

bool worker_replaced(const struct description *d, enum role_kind kind, uint64_t id, struct description_order born)
{
    for (uint32_t i = 0; i < d->singletons_count; i++)
        if (d->singletons[i].kind == kind)
            return d->singletons[i].endpoint.id != id && is_newer(description_order(d), born);
    return false;
}

/* One that ended by itself is kept until the controller, which was told so, names it no longer. */
static bool singleton_is_over(const struct hosted *hosted, const struct description *d)
{
    bool named = false;

    for (uint32_t i = 0; i < d->singletons_count; i++)
        named |= d->singletons[i].endpoint.id == hosted->id;
    return worker_replaced(d, hosted->kind, hosted->id, hosted->born) ||
           (hosted->role == NULL && !named && is_newer(description_order(d), hosted->born));
}

/* Roles of ended epochs go, and singletons that have been replaced; logs that no living generation needs go with their files. */
static bool retire(struct worker *worker, const struct description *d)
{
    bool changed = false;

    list_each(node, after, &worker->roles) {
        struct hosted *hosted = list_entry(node, struct hosted, link);
        uint64_t id = hosted->id;

        if (hosted->kind == ROLE_STORAGE || hosted->kind == ROLE_COORDINATOR)
            continue;
        if (is_singleton(hosted->kind)) {
            if (!singleton_is_over(hosted, d))
                continue;
            PROBE(worker->env, "a singleton ends because the description names another");
            unhost(hosted);
        } else if (hosted->kind == ROLE_LOG) {
            if (hosted->epoch > d->epoch || generation_lists(d, id) ||
                BUGGIFY(worker->env, "a log that no generation needs stays until the next description"))
                continue;
            unhost(hosted);
            hosting_remove(worker, ROLE_LOG, id);
        } else if (hosted->epoch < d->epoch && BUGGIFY(worker->env, "a role of an ended epoch stays until the next description")) {
            continue;
        } else if (hosted->epoch < d->epoch) {
            unhost(hosted);
        } else {
            continue;
        }
        changed = true;
    }
    return changed;
}

/* Where recoveries fail one after another, for a log's disk is full, say, no description ever comes to end what each has left here. */
void worker_epochs_failed(struct worker *worker, uint64_t from, uint64_t below)
{
    const struct description *d = worker->description == NULL ? NULL : MESSAGE_BODY(description, worker->description);

    if (d != NULL && d->epoch >= from)
        return; /* we know better: one of them accepted commits */
    list_each(node, after, &worker->roles) {
        struct hosted *hosted = list_entry(node, struct hosted, link);
        uint64_t epoch = hosted->kind == ROLE_STORAGE ? hosted->born.epoch : hosted->epoch, id = hosted->id;
        enum role_kind kind = hosted->kind;

        if (epoch < from || epoch >= below || (d != NULL && generation_lists(d, id)))
            continue;
        PROBE(worker->env, "a role of a recovery that failed ends when a later one recruits");
        unhost(hosted);
        if (kind == ROLE_LOG || kind == ROLE_STORAGE)
            hosting_remove(worker, kind, id);
    }
}

void worker_described(struct worker *worker, struct message *description)
{
    const struct description *d = MESSAGE_BODY(description, description);

    if (worker->description != NULL && !is_newer(description_order(d), description_order(MESSAGE_BODY(description, worker->description)))) {
        PROBE(worker->env, "a worker is told a description that is not newer");
        message_unref(description);
        return;
    }
    if (!log_system_description_is_sound(d)) {
        TRACE(worker->env, SEVERITY_WARN_ALWAYS, "DescriptionUnsound", {"Epoch", trace_int((int64_t)d->epoch)},
              {"Term", trace_int((int64_t)d->term)});
        message_unref(description);
        return;
    }
    message_unref(worker->description);
    worker->description = description;
    coordinators_described(worker, d);
    retire(worker, d);
    list_each(node, after, &worker->roles)
        hosting_described(list_entry(node, struct hosted, link), d);
}

/* ---- the cluster that we belong to ---- */

/* Into both slots: damage to one must not make this the directory of an earlier state, which belonged to no cluster. */
static int write_identity(struct worker *worker)
{
    uint8_t record[IDENTITY_BYTES] = {0};
    int error;

    put_le32(record, WORKER_FORMAT_VERSION);
    put_le64(record + 8, worker->cluster_id.high);
    put_le64(record + 16, worker->cluster_id.low);
    error = slots_write_now(worker->identity, bytes_of(record, sizeof(record)));
    return error != 0 ? error : slots_write_now(worker->identity, bytes_of(record, sizeof(record)));
}

bool worker_join_cluster(struct worker *worker, struct uid cluster_id)
{
    if (uid_equal(worker->cluster_id, cluster_id))
        return true;
    if (!uid_is_none(worker->cluster_id)) {
        TRACE(worker->env, SEVERITY_WARN_ALWAYS, "WrongCluster", {"Ours", trace_id(worker->cluster_id.high)},
              {"Theirs", trace_id(cluster_id.high)});
        return false;
    }
    worker->cluster_id = cluster_id;
    if (BUGGIFY_DEATH(worker->env, 8, "a process ends when it should write down its cluster") || write_identity(worker) != 0) {
        worker_end_process(worker, 1, "the data directory's identity can't be written");
        return false;
    }
    rpc_set_cluster_id(worker->rpc, cluster_id);
    TRACE(worker->env, SEVERITY_INFO, "ClusterJoined", {"ClusterHigh", trace_id(cluster_id.high)},
          {"ClusterLow", trace_id(cluster_id.low)});
    return true;
}

static int open_identity(struct worker *worker, char *ret_why, size_t why_size)
{
    char path[ROLE_PATH_MAX];
    struct arena arena = {0};
    struct bytes record;
    int error;

    snprintf(path, sizeof(path), "%s/process", worker->data_directory);
    error = slots_open(worker->env, path, &arena, &record, &worker->identity);
    if (error != 0) {
        snprintf(ret_why, why_size, "%s: %s", path, error_text(error));
    } else if (record.len == 0) {
        error = write_identity(worker);
        if (error != 0)
            snprintf(ret_why, why_size, "%s: %s", path, error_text(error));
    } else if (record.len < IDENTITY_BYTES || get_le32(record.ptr) > WORKER_FORMAT_VERSION) {
        error = ERROR_UNSUPPORTED_FORMAT_VERSION;
        snprintf(ret_why, why_size, "%s was written by a newer format (%u; this program knows up to %u)",
                 worker->data_directory, record.len >= 4 ? get_le32(record.ptr) : 0, (unsigned)WORKER_FORMAT_VERSION);
    } else {
        worker->cluster_id = (struct uid){get_le64(record.ptr + 8), get_le64(record.ptr + 16)};
    }
    arena_done(&arena);
    return error;
}

/* ---- requests to the worker itself ---- */

void worker_status(struct worker *worker, struct arena *arena, struct get_worker_status_reply *m)
{
    const struct rpc_counters *c = rpc_counters(worker->rpc);
    struct role_status process = {0};

    role_metric(&process, arena, "frames_in", (int64_t)c->frames_in);
    role_metric(&process, arena, "frames_out", (int64_t)c->frames_out);
    role_metric(&process, arena, "bytes_in", (int64_t)c->bytes_in);
    role_metric(&process, arena, "bytes_out", (int64_t)c->bytes_out);
    role_metric(&process, arena, "bad_frames", (int64_t)c->bad_frames);
    role_metric(&process, arena, "bad_hash", (int64_t)c->bad_hash);
    role_metric(&process, arena, "bad_length", (int64_t)c->bad_length);
    role_metric(&process, arena, "bad_type", (int64_t)c->bad_type);
    role_metric(&process, arena, "unknown_type", (int64_t)c->unknown_type);
    role_metric(&process, arena, "bad_body", (int64_t)c->bad_body);
    role_metric(&process, arena, "bad_sender", (int64_t)c->bad_sender);
    role_metric(&process, arena, "wrong_version", (int64_t)c->wrong_version);
    role_metric(&process, arena, "wrong_cluster", (int64_t)c->wrong_cluster);
    role_metric(&process, arena, "turns", (int64_t)worker->env->turns);
    m->metrics = process.metrics;
    m->metrics_count = process.metrics_count;
    m->roles = arena_zalloc(arena, (worker->role_count + 2) * sizeof(*m->roles));
    list_each(node, after, &worker->roles) {
        struct hosted *hosted = list_entry(node, struct hosted, link);

        if (hosted->role != NULL)
            hosting_status(hosted, &m->roles[m->roles_count++], arena);
    }
    if (worker->coordinator != NULL) {
        m->roles[m->roles_count].kind = ROLE_COORDINATOR;
        coordinator_status(worker->coordinator, &m->roles[m->roles_count++], arena);
    }
    if (worker->controller != NULL) {
        m->roles[m->roles_count].kind = ROLE_CONTROLLER;
        controller_status(worker->controller, &m->roles[m->roles_count++], arena);
    }
}

static void on_request(void *ctx, struct rpc_request *request)
{
    struct worker *worker = ctx;
    struct message *reply;

    switch (request->message->type->id) {
    case MESSAGE_get_worker_status: {
        struct get_worker_status_reply *m = MESSAGE_NEW(get_worker_status_reply, &reply);

        worker_status(worker, &reply->arena, m);
        rpc_reply(request, reply);
        break;
    }
    case MESSAGE_reboot_process:
        (void)MESSAGE_NEW(done, &reply);
        rpc_reply(request, reply);
        worker_end_process(worker, 0, "told to reboot");
        break;
    case MESSAGE_coordinator_join:
        coordinators_join(worker, request);
        break;
    default:
        hosting_recruit(worker, request);
    }
}

/* ---- life ---- */

static struct bytes copy_bytes(struct worker *worker, struct bytes bytes)
{
    struct bytes copy;
    int error = arena_copy(&worker->arena, bytes, &copy);

    assert(error == 0);
    return copy;
}

static void copy_options(struct worker *worker, const struct worker_options *options)
{
    char text[ADDRESS_TEXT_MAX];
    size_t length = strlen(options->data_directory) + 1;

    worker->options = *options;
    worker->data_directory = arena_alloc(&worker->arena, length);
    memcpy(worker->data_directory, options->data_directory, length);
    worker->options.data_directory = worker->data_directory;
    worker->options.machine = copy_bytes(worker, options->machine);
    if (worker->options.machine.len == 0) { /* the machine is what shares an IP */
        struct address machine = {options->public_address.ip, 0};

        address_print(machine, text);
        *strrchr(text, ':') = '\0';
        worker->options.machine = copy_bytes(worker, bytes_of_string(text));
    }
    worker->options.zone = options->zone.len > 0 ? copy_bytes(worker, options->zone) : worker->options.machine;
    worker->options.rack = copy_bytes(worker, options->rack);
    worker->options.hall = copy_bytes(worker, options->hall);
    worker->options.data_center = copy_bytes(worker, options->data_center);
    worker->options.command_line = copy_bytes(worker, options->command_line);
    worker->coordinator_count = (uint32_t)options->coordinator_count;
    memcpy(worker->coordinators, options->coordinators, options->coordinator_count * sizeof(struct address));
    worker->options.coordinators = worker->coordinators;
}

static int start_rpc(struct worker *worker, char *ret_why, size_t why_size)
{
    struct rpc_options options = {
        .public_address = worker->options.public_address,
        .listen_address = worker->options.listen_address,
        .cluster_id = worker->cluster_id,
        .types = message_types,
        .type_count = MESSAGE_ID_END,
    };
    char text[ADDRESS_TEXT_MAX];
    int error = 0;

    worker->rpc = worker->options.rpc;
    if (worker->rpc != NULL)
        rpc_set_cluster_id(worker->rpc, worker->cluster_id);
    else
        error = rpc_create(worker->env, &options, &worker->rpc);
    if (error == 0) {
        worker->context.rpc = worker->rpc;
        error = worker->options.rpc != NULL ? 0 : rpc_listen(worker->rpc);
    }
    if (error == 0)
        rpc_register(worker->rpc, ENDPOINT_WORKER, on_request, worker);
    else
        snprintf(ret_why, why_size, "can't listen on %s: %s",
                 address_print(options.listen_address.port != 0 ? options.listen_address : options.public_address, text),
                 error_text(error));
    return error;
}

int worker_create(struct env *env, const struct worker_options *options, struct worker **ret_worker, char *ret_why,
                  size_t why_size)
{
    struct worker *worker;
    int error;

    if (options->coordinator_count == 0 || options->coordinator_count > COORDINATORS_MAX) {
        snprintf(ret_why, why_size, "the cluster file must name 1 to %d coordinators", COORDINATORS_MAX);
        return ERROR_CONNECTION_STRING_INVALID;
    }
    worker = mem_zalloc(sizeof(*worker));
    if (worker == NULL)
        return ERROR_OUT_OF_MEMORY;
    worker->env = env;
    list_init(&worker->roles);
    op_list_init(&worker->ops, env, worker);
    worker->reap.run = reap;
    copy_options(worker, options);
    do
        worker->worker_id = env_random(env);
    while (worker->worker_id == 0);
    worker->context = (struct role_context){.env = env,
                                            .data_directory = worker->data_directory,
                                            .coordinators = worker->coordinators,
                                            .coordinator_count = worker->coordinator_count,
                                            .ended = role_ended,
                                            .changed = role_changed,
                                            .host = worker};
    error = open_identity(worker, ret_why, why_size);
    if (error == 0)
        error = start_rpc(worker, ret_why, why_size);
    if (error != 0) {
        worker_destroy(worker);
        return error;
    }
    error = hosting_restore(worker, ret_why, why_size);
    if (error == 0)
        error = coordinators_start(worker, ret_why, why_size);
    if (error != 0) {
        worker_destroy(worker);
        return error;
    }
    finder_start(worker);
    *ret_worker = worker;
    return 0;
}

void worker_destroy(struct worker *worker)
{
    if (worker == NULL)
        return;
    env_ready_cancel(&worker->reap);
    op_cancel_all(&worker->ops);
    controller_destroy(worker->controller);
    worker->controller = NULL;
    list_each(node, after, &worker->roles)
        unhost(list_entry(node, struct hosted, link));
    coordinator_destroy(worker->coordinator);
    if (worker->rpc != NULL) {
        rpc_unregister(worker->rpc, ENDPOINT_WORKER);
        if (worker->options.rpc == NULL)
            rpc_destroy(worker->rpc);
    }
    message_unref(worker->description);
    slots_close(worker->identity);
    arena_done(&worker->arena);
    mem_free(worker);
}

uint32_t worker_role_kinds(const struct worker *worker)
{
    uint32_t kinds = 0;

    list_each(node, after, &worker->roles) {
        const struct hosted *hosted = list_entry(node, struct hosted, link);

        if (hosted->role != NULL && !hosted->ending)
            kinds |= UINT32_C(1) << hosted->kind;
    }
    if (worker->coordinator != NULL)
        kinds |= UINT32_C(1) << ROLE_COORDINATOR;
    if (worker->controller != NULL)
        kinds |= UINT32_C(1) << ROLE_CONTROLLER;
    return kinds;
}

bool worker_hosts(const struct worker *worker, enum role_kind kind, uint64_t id)
{
    list_each(node, after, &worker->roles) {
        const struct hosted *hosted = list_entry(node, struct hosted, link);

        if (hosted->kind == kind && hosted->id == id && hosted->role != NULL && !hosted->ending)
            return true;
    }
    return false;
}

const struct description *worker_description(const struct worker *worker)
{
    const struct description *known =
        worker->description == NULL ? NULL : MESSAGE_BODY(description, worker->description);
    const struct description *own = worker->controller == NULL ? NULL : controller_description(worker->controller);

    return own != NULL && (known == NULL || own->epoch > known->epoch) ? own : known;
}

version_t worker_log_end(const struct worker *worker, uint64_t log_id)
{
    list_each(node, after, &worker->roles) {
        const struct hosted *hosted = list_entry(node, struct hosted, link);

        if (hosted->kind == ROLE_LOG && hosted->id == log_id && hosted->role != NULL && !hosted->ending)
            return log_server_end(hosted->role);
    }
    return VERSION_NONE;
}

const struct kv_map *worker_metadata(const struct worker *worker, uint64_t proxy_id)
{
    list_each(node, after, &worker->roles) {
        const struct hosted *hosted = list_entry(node, struct hosted, link);

        if (hosted->kind == ROLE_COMMIT_PROXY && hosted->id == proxy_id && hosted->role != NULL && !hosted->ending)
            return commit_proxy_metadata(hosted->role);
    }
    return NULL;
}

const char *worker_roles_unrest(const struct worker *worker)
{
    const char *unrest = NULL;

    list_each(node, after, &worker->roles) {
        const struct hosted *hosted = list_entry(node, struct hosted, link);

        if (hosted->role == NULL || hosted->ending || unrest != NULL)
            continue;
        if (hosted->kind == ROLE_DATA_DISTRIBUTOR)
            unrest = distributor_unrest(hosted->role);
        else if (hosted->kind == ROLE_RATEKEEPER)
            unrest = ratekeeper_unrest(hosted->role);
        else if (hosted->kind == ROLE_LOG)
            unrest = log_server_unrest(hosted->role);
    }
    return unrest;
}

bool worker_recovers(const struct worker *worker)
{
    return worker->controller != NULL && !controller_accepts_commits(worker->controller);
}

const char *worker_would_recover(const struct worker *worker)
{
    return worker->controller == NULL ? NULL : controller_would_recover(worker->controller);
}

bool worker_knows(const struct worker *worker, const struct worker *other)
{
    return worker->controller == NULL || controller_knows(worker->controller, other->options.public_address, other->worker_id);
}

struct rpc *worker_rpc(struct worker *worker)
{
    return worker->rpc;
}
