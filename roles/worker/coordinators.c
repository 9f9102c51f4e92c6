/* Our own coordinator, and where the others are.
 *
 * A process is a coordinator if its cluster file names it, if it was asked to join, or if it ever was one: one that was replaced goes
 * on to say who the members are. The addresses of the others come from the cluster file; then, in order, from the controller's
 * descriptions, which the leader alone makes, of what is committed. */
#include <stdio.h>

#include "net/buggify.h"
#include "roles/controller/controller.h"
#include "roles/coordinator/coordinator.h"
#include "roles/worker/worker_internal.h"

/* ---- callbacks ---- */

static void on_leading(void *host, uint64_t term)
{
    struct worker *worker = host;
    int error;

    assert(worker->controller == NULL);
    error = controller_create(&worker->context, term, &worker->controller);
    assert(error == 0);
    controller_set_coordinators(worker->controller, worker->members, worker->member_count);
}

static void on_lost(void *host)
{
    struct worker *worker = host;

    controller_destroy(worker->controller);
    worker->controller = NULL;
}

static void on_cluster_known(void *host, struct uid cluster_id)
{
    if (!worker_join_cluster(host, cluster_id))
        worker_end_process(host, 1, "the coordinator's record is of another cluster than the data directory");
}

static void on_members(void *host, const struct coordinator_member *members, uint32_t count)
{
    struct worker *worker = host;

    assert(count <= COORDINATORS_MAX);
    memcpy(worker->members, members, count * sizeof(*members));
    worker->member_count = count;
    if (worker->controller != NULL)
        controller_set_coordinators(worker->controller, members, count);
}

/* ---- life ---- */

static int create(struct worker *worker)
{
    static const struct coordinator_callbacks callbacks = {on_leading, on_lost, on_cluster_known, on_members};

    return coordinator_create(&worker->context, &callbacks, &worker->coordinator);
}

int coordinators_start(struct worker *worker, char *ret_why, size_t why_size)
{
    bool ours;
    int error = coordinator_was_here(worker->env, worker->data_directory, &ours);

    for (uint32_t i = 0; i < worker->coordinator_count; i++)
        ours |= address_equal(worker->coordinators[i], worker->options.public_address);
    if (error == 0 && !ours)
        return 0;
    error = error != 0 ? error : create(worker);
    if (error == ERROR_FILE_CORRUPT) /* traced; it takes no part, and what else is here goes on */
        return 0;
    if (error != 0)
        snprintf(ret_why, why_size, "%s/coordinator: %s", worker->data_directory, error_text(error));
    return error;
}

static int replace(struct worker *worker)
{
    int error = coordinator_forget(worker->coordinator);

    worker->coordinator = NULL;
    return error != 0 ? error : create(worker);
}

void coordinators_join(struct worker *worker, struct rpc_request *request)
{
    const struct coordinator_join *m = MESSAGE_BODY(coordinator_join, request->message);
    struct uid cluster_id = {m->cluster_high, m->cluster_low};
    int error = 0;

    if (uid_is_none(cluster_id) || (!uid_is_none(worker->cluster_id) && !uid_equal(cluster_id, worker->cluster_id)))
        error = ERROR_INVALID_CLUSTER_ID;
    else if (worker->controller != NULL || worker->coordinator_ended)
        error = ERROR_OPERATION_FAILED; /* it leads, or is about to end */
    else if (worker->coordinator == NULL)
        error = create(worker);
    else if (coordinator_must_forget(worker->coordinator, m))
        error = coordinator_is_writing(worker->coordinator) ? ERROR_OPERATION_FAILED : replace(worker); /* a moment later, then */
    if (error != 0)
        rpc_fail(request, error);
    else
        coordinator_join(worker->coordinator, request);
}

/* ---- the others ---- */

static bool is_listed(const struct address *list, uint32_t count, struct address address)
{
    for (uint32_t i = 0; i < count; i++)
        if (address_equal(list[i], address))
            return true;
    return false;
}

static uint32_t read_addresses(const struct coordinator_member *members, uint32_t member_count, struct address *ret)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < member_count && count < COORDINATORS_MAX; i++) {
        struct address address = {members[i].address.ip, members[i].address.port};

        if (address.port != 0 && address.port <= UINT16_MAX && !is_listed(ret, count, address))
            ret[count++] = address;
    }
    return count;
}

bool worker_knows_coordinators(const struct worker *worker, const struct address *list, size_t count)
{
    bool same = count == worker->coordinator_count;

    for (size_t i = 0; i < count && same; i++)
        same = is_listed(worker->coordinators, worker->coordinator_count, list[i]);
    return same;
}

static bool take(struct worker *worker, const struct coordinator_member *members, uint32_t member_count)
{
    struct address list[COORDINATORS_MAX];
    uint32_t count = read_addresses(members, member_count, list);

    if (count == 0 || worker_knows_coordinators(worker, list, count))
        return false;
    memcpy(worker->coordinators, list, count * sizeof(list[0]));
    worker->coordinator_count = worker->context.coordinator_count = count;
    return true;
}

void coordinators_described(struct worker *worker, const struct description *d)
{
    bool changed = take(worker, d->coordinators, d->coordinators_count);

    if (d->coordinators_count == 0 || (!changed && !worker->hinted))
        return;
    worker->hinted = false;
    PROBE(worker->env, "a worker hears of other coordinators");
    TRACE(worker->env, SEVERITY_INFO, "CoordinatorsChanged", {"Count", trace_int(worker->coordinator_count)},
          {"First", trace_addr(worker->coordinators[0])});
    if (worker->options.coordinators_changed != NULL)
        worker->options.coordinators_changed(worker->options.coordinators_ctx, worker->coordinators, worker->coordinator_count);
}

void coordinators_hint(struct worker *worker, const struct get_leader_reply *reply, struct address from)
{
    struct address list[COORDINATORS_MAX];
    uint32_t count = read_addresses(reply->members, reply->members_count, list);

    if (count == 0 || is_listed(list, count, from))
        return;
    if (!take(worker, reply->members, reply->members_count))
        return;
    PROBE(worker->env, "a coordinator that was replaced says who the others are");
    worker->hinted = true;
}
