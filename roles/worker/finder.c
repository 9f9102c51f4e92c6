/* Looks for the controller and registers with it, for ever.
 *
 * ASK -> ASKED -> REGISTER -> REGISTERED -> REGISTER ...
 *  ^       \-> PAUSE <--------/  (any failure: another coordinator)
 *
 * Any coordinator says who leads; the registration is a long poll at the leader's controller, answered with each newer
 * description. When it fails, the leader has gone or the controller has dropped us: ask again. */
#include "net/buggify.h"
#include "net/mem.h"
#include "net/planted_bug.h"
#include "roles/worker/worker_internal.h"

enum { ASK, ASKED, REGISTER, REGISTERED, PAUSE, STAGES };

struct finder {
    struct op op;
    struct worker *worker;
    struct rpc_call call;
    struct wait_timer timer;
    uint32_t next; /* coordinator to ask */
    struct address asked;
    uint64_t leader_member, leader_term;
    struct address leader;
    uint32_t failures;
    bool again; /* registered facts changed while the registration was on its way */
};

static struct finder *finder_of(struct op *op)
{
    return container_of(op, struct finder, op);
}

static enum op_result run_ask(struct op *op)
{
    struct finder *finder = finder_of(op);
    struct worker *worker = finder->worker;
    struct endpoint coordinator = {worker->coordinators[finder->next % worker->coordinator_count], ENDPOINT_COORDINATOR};
    struct message *message;
    struct get_leader *m = MESSAGE_NEW(get_leader, &message);

    finder->asked = coordinator.address;
    m->known_member = finder->leader_member;
    m->known_term = finder->leader_term;
    m->wait_us = worker->env->knobs.client_connect_timeout_us;
    rpc_call_start(&finder->call, op, worker->rpc, &coordinator, message, 2 * worker->env->knobs.client_connect_timeout_us);
    return op_wait(op, ASKED);
}

static enum op_result run_asked(struct op *op)
{
    struct finder *finder = finder_of(op);
    struct worker *worker = finder->worker;
    const struct get_leader_reply *reply;
    struct uid cluster_id;

    if (finder->call.error == 0 && BUGGIFY_ONE_IN(op->env, 8, "a worker does not hear who leads"))
        finder->call.error = ERROR_REQUEST_MAYBE_DELIVERED;
    if (finder->call.error != 0)
        return op_move(op, PAUSE);
    reply = MESSAGE_BODY(get_leader_reply, finder->call.reply);
    cluster_id = (struct uid){reply->cluster_high, reply->cluster_low};
    if (!uid_is_none(cluster_id) && (uid_is_none(worker->cluster_id) || uid_equal(cluster_id, worker->cluster_id)))
        coordinators_hint(worker, reply, finder->asked);
    if (uid_is_none(cluster_id) || reply->leader_address.port == 0)
        return op_move(op, PAUSE);
    if (!worker_join_cluster(worker, cluster_id))
        return op_move(op, PAUSE);
    finder->leader_member = reply->leader_member;
    finder->leader_term = reply->term;
    finder->leader = (struct address){reply->leader_address.ip, reply->leader_address.port};
    rpc_call_clear(&finder->call);
    return op_move(op, REGISTER);
}

static void fill_roles(struct worker *worker, struct message *message, struct register_worker *m)
{
    m->roles = arena_zalloc(&message->arena, (worker->role_count + 1) * sizeof(*m->roles));
    list_each(node, after, &worker->roles)
        hosting_fill(list_entry(node, struct hosted, link), &m->roles[m->roles_count++]);
}

static struct message *registration(struct worker *worker)
{
    struct message *message;
    struct register_worker *m = MESSAGE_NEW(register_worker, &message);

    m->address = (struct wire_address){worker->options.public_address.ip, worker->options.public_address.port};
    m->worker_id = worker->worker_id;
    m->process_class = worker->options.process_class;
    m->zone = PLANTED_BUG(SAME_ZONE) ? worker->options.machine : worker->options.zone; /* the worker's arena outlives every message of its rpc */
    m->machine = worker->options.machine;
    m->rack = worker->options.rack;
    m->hall = worker->options.hall;
    m->data_center = worker->options.data_center;
    m->command_line = worker->options.command_line;
    m->version_text = BYTES_LITERAL(QUOIN_VERSION);
    m->pid = worker->options.pid;
    m->sequence = ++worker->sequence;
    if (worker->description != NULL) {
        const struct description *d = MESSAGE_BODY(description, worker->description);

        m->known_epoch = d->epoch;
        m->known_term = d->term;
        m->known_number = d->number;
    }
    fill_roles(worker, message, m);
    return message;
}

static enum op_result run_register(struct op *op)
{
    struct finder *finder = finder_of(op);
    struct endpoint controller = {finder->leader, ENDPOINT_CONTROLLER};

    finder->again = false;
    rpc_call_start(&finder->call, op, finder->worker->rpc, &controller, registration(finder->worker), 0);
    return op_wait(op, REGISTERED);
}

static enum op_result run_registered(struct op *op)
{
    struct finder *finder = finder_of(op);
    struct message *description;

    if (finder->again) {
        PROBE(op->env, "a worker registers again: its roles have changed");
        rpc_call_clear(&finder->call);
        return op_move(op, REGISTER);
    }
    if (finder->call.error == 0 && BUGGIFY_ONE_IN(op->env, 16, "a worker leaves its leader and looks for one"))
        finder->call.error = ERROR_REQUEST_MAYBE_DELIVERED;
    if (finder->call.error != 0)
        return op_move(op, PAUSE);
    finder->failures = 0;
    description = rpc_call_take(&finder->call);
    worker_described(finder->worker, description);
    return op_move(op, REGISTER);
}

/* The first look elsewhere comes at once: a leader that died has a successor within milliseconds. */
static enum op_result run_pause(struct op *op)
{
    struct finder *finder = finder_of(op);
    struct worker *worker = finder->worker;
    int64_t pause_us = worker->env->knobs.worker_register_retry_us;

    rpc_call_clear(&finder->call);
    finder->leader_member = 0;
    finder->leader_term = 0;
    finder->next = (finder->next + 1) % worker->coordinator_count;
    if (finder->failures++ < 8 && !BUGGIFY(op->env, "a worker pauses for long before it looks for a leader again"))
        pause_us = pause_us * finder->failures / 16;
    wait_timer_start(&finder->timer, op, pause_us);
    return op_wait(op, ASK);
}

static void ended(struct op *op)
{
    struct finder *finder = finder_of(op);

    rpc_call_clear(&finder->call);
    finder->worker->finder = NULL;
    mem_free(finder);
}

static const struct op_stage stages[STAGES] = {
    [ASK] = {"ASK", run_ask, OP_STAGE(ASKED)},
    [ASKED] = {"ASKED", run_asked, OP_STAGE(REGISTER) | OP_STAGE(PAUSE)},
    [REGISTER] = {"REGISTER", run_register, OP_STAGE(REGISTERED)},
    [REGISTERED] = {"REGISTERED", run_registered, OP_STAGE(REGISTER) | OP_STAGE(PAUSE)},
    [PAUSE] = {"PAUSE", run_pause, OP_STAGE(ASK)},
};
static const struct op_type type = {"finder", stages, STAGES, READY_COMMIT, ended};

void finder_start(struct worker *worker)
{
    struct finder *finder = mem_zalloc(sizeof(*finder));

    assert(worker->coordinator_count > 0);
    finder->worker = worker;
    finder->next = (uint32_t)env_random_below(worker->env, worker->coordinator_count);
    worker->finder = finder;
    op_start(&finder->op, &type, &worker->ops);
}

void finder_stop(struct worker *worker)
{
    if (worker->finder != NULL)
        op_cancel(&worker->finder->op);
}

void finder_register_again(struct worker *worker)
{
    struct finder *finder = worker->finder;

    if (finder == NULL || finder->op.stage != REGISTER || !finder->op.waiting)
        return;
    finder->again = true;
    op_resume(&finder->op);
}
