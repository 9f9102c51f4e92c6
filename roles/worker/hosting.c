/* What differs between kinds of roles: how each is created, destroyed, restored, and what it says of itself. */
#include <stdio.h>
#include <stdlib.h>

#include "net/buggify.h"
#include "net/mem.h"
#include "roles/commit_proxy/commit_proxy.h"
#include "roles/distributor/distributor.h"
#include "roles/grv_proxy/grv_proxy.h"
#include "roles/log/log.h"
#include "roles/ratekeeper/ratekeeper.h"
#include "roles/resolver/resolver.h"
#include "roles/sequencer/sequencer.h"
#include "roles/storage/storage.h"
#include "roles/worker/worker_internal.h"

/* ---- recruitment ---- */

static int create(struct worker *worker, struct rpc_request *request, enum role_kind kind, void **ret_role)
{
    const struct role_context *context = &worker->context;

    switch (kind) {
    case ROLE_SEQUENCER:
        if (BUGGIFY_ONE_IN(worker->env, 8, "a worker can't create a sequencer"))
            return ERROR_RECRUITMENT_FAILED;
        return sequencer_create(context, request, (struct sequencer **)ret_role);
    case ROLE_GRV_PROXY:
        if (BUGGIFY_ONE_IN(worker->env, 8, "a worker can't create a GRV proxy"))
            return ERROR_RECRUITMENT_FAILED;
        return grv_proxy_create(context, request, (struct grv_proxy **)ret_role);
    case ROLE_COMMIT_PROXY:
        if (BUGGIFY_ONE_IN(worker->env, 8, "a worker can't create a commit proxy"))
            return ERROR_RECRUITMENT_FAILED;
        return commit_proxy_create(context, request, (struct commit_proxy **)ret_role);
    case ROLE_RESOLVER:
        if (BUGGIFY_ONE_IN(worker->env, 8, "a worker can't create a resolver"))
            return ERROR_RECRUITMENT_FAILED;
        return resolver_create(context, request, (struct resolver **)ret_role);
    case ROLE_LOG:
        if (BUGGIFY_ONE_IN(worker->env, 8, "a worker can't create a log"))
            return ERROR_RECRUITMENT_FAILED;
        return log_server_create(context, request, (struct log_server **)ret_role);
    case ROLE_STORAGE:
        return storage_server_create(context, request, (struct storage_server **)ret_role);
    case ROLE_DATA_DISTRIBUTOR:
        if (BUGGIFY_ONE_IN(worker->env, 8, "a worker can't create a data distributor"))
            return ERROR_RECRUITMENT_FAILED;
        return distributor_create(context, request, (struct distributor **)ret_role);
    case ROLE_RATEKEEPER:
        if (BUGGIFY_ONE_IN(worker->env, 8, "a worker can't create a ratekeeper"))
            return ERROR_RECRUITMENT_FAILED;
        return ratekeeper_create(context, request, (struct ratekeeper **)ret_role);
    default:
        return ERROR_UNSUPPORTED_OPERATION;
    }
}

/* What an init message asks for. */
struct order {
    enum role_kind kind;
    uint64_t id;
    uint64_t epoch; /* of the recovery that asks; 0: none does */
    uint64_t failed_from;
};

static bool parse(const struct message *message, struct order *ret)
{
    *ret = (struct order){0};
    switch (message->type->id) {
#define INIT(name, role)                                                   \
    case MESSAGE_init_##name:                                              \
        ret->kind = role;                                                  \
        ret->id = MESSAGE_BODY(init_##name, message)->role_id;             \
        ret->epoch = MESSAGE_BODY(init_##name, message)->epoch;            \
        ret->failed_from = MESSAGE_BODY(init_##name, message)->failed_from; \
        return true;
        INIT(sequencer, ROLE_SEQUENCER)
        INIT(grv_proxy, ROLE_GRV_PROXY)
        INIT(commit_proxy, ROLE_COMMIT_PROXY)
        INIT(resolver, ROLE_RESOLVER)
        INIT(log, ROLE_LOG)
#undef INIT
    case MESSAGE_init_storage:
        ret->kind = ROLE_STORAGE;
        ret->id = MESSAGE_BODY(init_storage, message)->server_id;
        ret->epoch = MESSAGE_BODY(init_storage, message)->epoch;
        ret->failed_from = MESSAGE_BODY(init_storage, message)->failed_from;
        return true;
    case MESSAGE_init_data_distributor:
        ret->kind = ROLE_DATA_DISTRIBUTOR;
        ret->id = MESSAGE_BODY(init_data_distributor, message)->role_id;
        return true;
    case MESSAGE_init_ratekeeper:
        ret->kind = ROLE_RATEKEEPER;
        ret->id = MESSAGE_BODY(init_ratekeeper, message)->role_id;
        return true;
    default:
        return false;
    }
}

/* Which description a singleton was recruited with. */
static struct description_order birth(const struct message *message)
{
    if (message->type->id == MESSAGE_init_data_distributor)
        return description_order(&MESSAGE_BODY(init_data_distributor, message)->description);
    if (message->type->id == MESSAGE_init_ratekeeper)
        return description_order(&MESSAGE_BODY(init_ratekeeper, message)->description);
    return (struct description_order){0};
}

/* An endpoint serves one role, whatever its kind. */
static bool id_is_taken(struct worker *worker, uint64_t id)
{
    list_each(node, after, &worker->roles)
        if (list_entry(node, struct hosted, link)->id == id)
            return true;
    return false;
}

void hosting_recruit(struct worker *worker, struct rpc_request *request)
{
    struct description_order born = birth(request->message);
    const struct description *d = worker->description == NULL ? NULL : MESSAGE_BODY(description, worker->description);
    struct hosted *hosted;
    struct order order;
    void *role = NULL;
    int error;

    if (!parse(request->message, &order)) {
        rpc_fail(request, ERROR_UNSUPPORTED_OPERATION);
        return;
    }
    if (order.failed_from != 0)
        worker_epochs_failed(worker, order.failed_from, order.epoch);
    /* An id that is here already, a reserved one, or an epoch that has ended: a late or repeated request. */
    if (order.id < 100 || id_is_taken(worker, order.id) || worker->role_count >= WORKER_ROLES_MAX ||
        (d != NULL && ((order.epoch != 0 && order.epoch < d->epoch) || worker_replaced(d, order.kind, order.id, born)))) {
        PROBE(worker->env, "a worker refuses a recruitment: repeated, or of an epoch that has ended");
        rpc_fail(request, ERROR_OPERATION_OBSOLETE);
        return;
    }
    error = create(worker, request, order.kind, &role);
    if (error != 0) {
        TRACE(worker->env, SEVERITY_WARN_ALWAYS, "RoleNotCreated", {"Role", trace_str(role_kind_name(order.kind))},
              {"Id", trace_id(order.id)}, {"Error", trace_str(error_name(error))});
        rpc_fail(request, error);
        return;
    }
    hosted = worker_host(worker, order.kind, order.id, order.kind == ROLE_STORAGE ? 0 : order.epoch, role);
    TRACE(worker->env, SEVERITY_INFO, "RoleCreated", {"Role", trace_str(role_kind_name(order.kind))}, {"Id", trace_id(order.id)},
          {"Epoch", trace_int((int64_t)hosted->epoch)});
    hosted->born = born;
    if (order.kind == ROLE_STORAGE)
        hosted->born.epoch = order.epoch;
    /* Which logs and singletons there are: nobody else tells it before the next change. To a proxy it is of the epoch before. */
    if (d != NULL && (order.kind != ROLE_STORAGE || d->epoch > 0))
        hosting_described(hosted, d);
    worker_changed(worker);
}

void hosting_destroy(struct hosted *hosted)
{
    void *role = hosted->role;

    hosted->role = NULL;
    if (role == NULL)
        return;
    TRACE(hosted->worker->env, SEVERITY_INFO, "RoleDestroyed", {"Role", trace_str(role_kind_name(hosted->kind))},
          {"Id", trace_id(hosted->id)}, {"Epoch", trace_int((int64_t)hosted->epoch)});
    switch (hosted->kind) {
    case ROLE_SEQUENCER:
        sequencer_destroy(role);
        break;
    case ROLE_GRV_PROXY:
        grv_proxy_destroy(role);
        break;
    case ROLE_COMMIT_PROXY:
        commit_proxy_destroy(role);
        break;
    case ROLE_RESOLVER:
        resolver_destroy(role);
        break;
    case ROLE_LOG:
        log_server_destroy(role);
        break;
    case ROLE_STORAGE:
        storage_server_destroy(role);
        break;
    case ROLE_DATA_DISTRIBUTOR:
        distributor_destroy(role);
        break;
    case ROLE_RATEKEEPER:
        ratekeeper_destroy(role);
        break;
    default:
        assert(false);
    }
}

void hosting_described(const struct hosted *hosted, const struct description *d)
{
    if (hosted->role == NULL || hosted->ending)
        return;
    switch (hosted->kind) {
    case ROLE_STORAGE:
        storage_server_described(hosted->role, d);
        break;
    case ROLE_LOG:
        log_server_described(hosted->role, d);
        break;
    case ROLE_GRV_PROXY:
        grv_proxy_described(hosted->role, d);
        break;
    case ROLE_COMMIT_PROXY:
        commit_proxy_described(hosted->role, d);
        break;
    case ROLE_DATA_DISTRIBUTOR:
        distributor_described(hosted->role, d);
        break;
    case ROLE_RATEKEEPER:
        ratekeeper_described(hosted->role, d);
        break;
    default:
        break;
    }
}

/* ---- what they say of themselves ---- */

void hosting_status(const struct hosted *hosted, struct role_status *status, struct arena *arena)
{
    status->kind = hosted->kind;
    status->id = hosted->id;
    status->epoch = hosted->epoch;
    if (hosted->role == NULL)
        return;
    switch (hosted->kind) {
    case ROLE_SEQUENCER:
        sequencer_status(hosted->role, status, arena);
        break;
    case ROLE_GRV_PROXY:
        grv_proxy_status(hosted->role, status, arena);
        break;
    case ROLE_COMMIT_PROXY:
        commit_proxy_status(hosted->role, status, arena);
        break;
    case ROLE_RESOLVER:
        resolver_status(hosted->role, status, arena);
        break;
    case ROLE_LOG:
        log_server_status(hosted->role, status, arena);
        break;
    case ROLE_STORAGE:
        storage_server_status(hosted->role, status, arena);
        break;
    case ROLE_DATA_DISTRIBUTOR:
        distributor_status(hosted->role, status, arena);
        break;
    case ROLE_RATEKEEPER:
        ratekeeper_status(hosted->role, status, arena);
        break;
    default:
        break;
    }
}

void hosting_fill(const struct hosted *hosted, struct hosted_role *ret_role)
{
    *ret_role = (struct hosted_role){.kind = hosted->kind, .id = hosted->id, .epoch = hosted->epoch};
    if (hosted->error != 0)
        ret_role->error = bytes_of_string(error_name(hosted->error));
    else if (hosted->role != NULL && hosted->kind == ROLE_LOG)
        ret_role->locked = log_server_is_locked(hosted->role);
    else if (hosted->role != NULL && hosted->kind == ROLE_STORAGE) {
        ret_role->tag = storage_server_tag(hosted->role);
        ret_role->version = storage_server_durable_version(hosted->role);
    }
}

/* ---- what an earlier process left ---- */

struct found {
    enum role_kind kind;
    uint64_t id;
};

struct search {
    struct found found[WORKER_ROLES_MAX];
    uint32_t count;
};

/* "log-<16 hex digits>", "storage-<16 hex digits>"; anything else is not ours. */
static bool parse_name(const char *name, struct found *ret)
{
    static const struct {
        const char *prefix;
        enum role_kind kind;
    } kinds[] = {{"log-", ROLE_LOG}, {"storage-", ROLE_STORAGE}};

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        size_t length = strlen(kinds[i].prefix);
        uint64_t id = 0;

        if (strncmp(name, kinds[i].prefix, length) != 0 || strlen(name) != length + 16)
            continue;
        for (const char *c = name + length; *c != '\0'; c++) {
            unsigned digit = *c >= '0' && *c <= '9' ? (unsigned)(*c - '0')
                             : *c >= 'a' && *c <= 'f' ? (unsigned)(*c - 'a' + 10)
                                                      : 16;

            if (digit == 16)
                return false;
            id = id << 4 | digit;
        }
        *ret = (struct found){kinds[i].kind, id};
        return true;
    }
    return false;
}

static void each_name(void *ctx, const char *name)
{
    struct search *search = ctx;

    if (search->count < WORKER_ROLES_MAX && parse_name(name, &search->found[search->count]))
        search->count++;
}

static int compare_found(const void *a, const void *b)
{
    const struct found *x = a, *y = b;

    return x->id < y->id ? -1 : x->id > y->id;
}

/* What is damaged counts as missing, and the process goes on with the rest; so does a directory without files, which an earlier
 * process made or had begun to remove when it died: nothing in it was ever acknowledged, or it was not needed any more. A file
 * that can't be read now may be read later: then the process must end and be started again, for whoever waits for this role
 * would wait for ever. */
static int restore_one(struct worker *worker, const struct found *found)
{
    void *role = NULL;
    uint64_t epoch = 0;
    int error;

    if (found->kind == ROLE_LOG) {
        error = log_server_restore(&worker->context, found->id, (struct log_server **)&role);
        epoch = error == 0 ? log_server_epoch(role) : 0;
    } else {
        error = storage_server_restore(&worker->context, found->id, (struct storage_server **)&role);
    }
    if (error != 0) {
        TRACE(worker->env, SEVERITY_WARN_ALWAYS, "RoleNotRestored", {"Role", trace_str(role_kind_name(found->kind))},
              {"Id", trace_id(found->id)}, {"Error", trace_str(error_name(error))});
        if (error == ERROR_FILE_NOT_FOUND) {
            PROBE(worker->env, "a role's directory without its files");
            hosting_remove(worker, found->kind, found->id);
            return 0;
        }
        return error == ERROR_FILE_CORRUPT || error == ERROR_UNSUPPORTED_FORMAT_VERSION ? 0 : error;
    }
    TRACE(worker->env, SEVERITY_INFO, "RoleRestored", {"Role", trace_str(role_kind_name(found->kind))},
          {"Id", trace_id(found->id)}, {"Epoch", trace_int((int64_t)epoch)});
    worker_host(worker, found->kind, found->id, epoch, role);
    return 0;
}

int hosting_restore(struct worker *worker, char *ret_why, size_t why_size)
{
    struct search *search = mem_zalloc(sizeof(*search));
    char path[ROLE_PATH_MAX];
    int error = env_dir_list(worker->env, worker->data_directory, each_name, search);

    if (error != 0)
        snprintf(ret_why, why_size, "%s can't be listed: %s", worker->data_directory, error_text(error));
    qsort(search->found, search->count, sizeof(search->found[0]), compare_found);
    for (uint32_t i = 0; i < search->count && error == 0; i++) {
        error = restore_one(worker, &search->found[i]);
        if (error != 0)
            snprintf(ret_why, why_size, "%s can't be opened: %s",
                     role_directory(worker->data_directory, search->found[i].kind, search->found[i].id, path),
                     error_text(error));
    }
    mem_free(search);
    return error;
}

void hosting_remove(struct worker *worker, enum role_kind kind, uint64_t id)
{
    int error = kind == ROLE_LOG ? log_server_remove(&worker->context, id) : storage_server_remove(&worker->context, id);

    TRACE(worker->env, error == 0 ? SEVERITY_INFO : SEVERITY_WARN, "RoleFilesRemoved",
          {"Role", trace_str(role_kind_name(kind))}, {"Id", trace_id(id)}, {"Error", trace_str(error_name(error))});
}
