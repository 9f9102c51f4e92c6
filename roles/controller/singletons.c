/* The data distributor and the ratekeeper: exactly one of each, beside the epoch.
 *
 * ASK -> STARTED, an op a kind. Neither is part of the epoch: their death never ends it, and they stay across recoveries. The
 * description names the one of each kind that counts; a worker ends any other. Two may live side by side for a moment (one that was taken
 * for lost, or that an earlier controller recruited): what they do must bear that, as the key \xff/moveKeysLock makes moves bear it.
 *
 * A new controller knows none. It takes over the one that a worker names in its registration, and recruits only when the workers
 * have had time to register (controller_recruit_wait_us). One that this controller knew and lost is replaced at once.
 *
 * While one is recruited, descriptions name none of the kind: those that still named an old one would end the new one, and there is
 * no telling which of two messages on two connections arrives first. */
#include "net/buggify.h"
#include "net/mem.h"
#include "roles/controller/controller_internal.h"

enum { ASK, STARTED, STAGES };

static struct singleton *singleton_of(struct op *op)
{
    return container_of(op, struct singleton, op);
}

static bool under_way(const struct singleton *singleton)
{
    return singleton->op.owner != NULL;
}

static bool is_at(const struct role_ref *ref, struct address address)
{
    return ref->kind != ROLE_NONE && address_equal(endpoint_of(&ref->endpoint).address, address);
}

uint32_t singletons_at(const struct controller *controller, struct address address)
{
    uint32_t count = 0;

    for (int i = 0; i < SINGLETONS; i++)
        count += is_at(&controller->singletons[i].known, address) || is_at(&controller->singletons[i].asked, address);
    return count;
}

uint32_t singletons_list(const struct controller *controller, struct role_ref ret_refs[SINGLETONS])
{
    uint32_t count = 0;

    for (int i = 0; i < SINGLETONS; i++)
        if (controller->singletons[i].known.kind != ROLE_NONE && !under_way(&controller->singletons[i]))
            ret_refs[count++] = controller->singletons[i].known;
    return count;
}

/* ---- recruitment ---- */

static uint32_t other_roles(const struct worker_info *worker)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < worker->role_count; i++)
        count += worker->roles[i].error.len == 0 && worker->roles[i].kind != ROLE_DATA_DISTRIBUTOR &&
                 worker->roles[i].kind != ROLE_RATEKEEPER;
    return count;
}

/* The fittest that has the fewest roles; among them, the one that shares with the other singleton only if it must. */
static struct worker_info *choose(struct controller *controller, enum role_kind kind)
{
    struct worker_info *worker;

    list_each(node, after, &controller->workers) {
        struct worker_info *w = list_entry(node, struct worker_info, link);

        w->assigned = other_roles(w);
    }
    recruitment_refresh(controller, env_now_us(controller->env));
    return recruitment_stateless(controller, kind, 1, &worker) == 0 ? NULL : worker;
}

static struct message *invitation(struct singleton *singleton, uint64_t role_id)
{
    const struct description *d = MESSAGE_BODY(description, singleton->controller->description);
    struct message *message;
    struct description *copy;
    int error;

    if (singleton->kind == ROLE_DATA_DISTRIBUTOR) {
        struct init_data_distributor *m = MESSAGE_NEW(init_data_distributor, &message);

        m->role_id = role_id;
        copy = &m->description;
    } else {
        struct init_ratekeeper *m = MESSAGE_NEW(init_ratekeeper, &message);

        m->role_id = role_id;
        copy = &m->description;
    }
    error = message_copy_body(&schema_description, d, &message->arena, copy);
    assert(error == 0); /* a server dies of a failed allocation before it gets here */
    return message;
}

static enum op_result run_ask(struct op *op)
{
    struct singleton *singleton = singleton_of(op);
    struct controller *controller = singleton->controller;
    struct worker_info *worker = choose(controller, singleton->kind);
    struct endpoint to;
    uint64_t id;

    if (worker == NULL || BUGGIFY(op->env, "there is no process for a singleton now"))
        return op_finish(op, ERROR_NO_MORE_SERVERS);
    do
        id = env_random(controller->env);
    while (id < 100);
    singleton->asked = (struct role_ref){.kind = singleton->kind,
                                         .endpoint = {{worker->address.ip, worker->address.port}, id}};
    singleton->worker_id = worker->worker_id;
    to = (struct endpoint){worker->address, ENDPOINT_WORKER};
    rpc_call_start(&singleton->call, op, controller->rpc, &to, invitation(singleton, id),
                   controller->env->knobs.rpc_ping_timeout_us);
    return op_wait(op, STARTED);
}

static enum op_result run_started(struct op *op)
{
    struct singleton *singleton = singleton_of(op);

    if (singleton->call.error == 0 && BUGGIFY_ONE_IN(op->env, 16, "the answer of a singleton that was recruited is lost"))
        return op_finish(op, ERROR_REQUEST_MAYBE_DELIVERED);
    return op_finish(op, singleton->call.error);
}

static void look_later(struct controller *controller, int64_t at_us)
{
    if (controller->singleton_timer.heap_index_plus_1 == 0)
        env_timer_start(controller->env, &controller->singleton_timer, at_us);
}

static void publish(struct controller *controller)
{
    if (controller->phase == CONTROLLER_ACCEPTING)
        controller_publish(controller);
}

static void took(struct singleton *singleton, const struct role_ref *ref, const char *how)
{
    struct controller *controller = singleton->controller;

    singleton->known = *ref;
    singleton->ever = true;
    singleton->named_by = controller->description_number + 1;
    TRACE(controller->env, SEVERITY_INFO, how, {"Role", trace_str(role_kind_name(singleton->kind))},
          {"Id", trace_id(ref->endpoint.id)}, {"Address", trace_addr(endpoint_of(&ref->endpoint).address)});
    publish(controller);
}

static void ended(struct op *op)
{
    struct singleton *singleton = singleton_of(op);
    struct controller *controller = singleton->controller;
    struct role_ref asked = singleton->asked;
    struct worker_info *worker = controller_worker_at(controller, endpoint_of(&asked.endpoint).address);
    bool is_there = asked.kind != ROLE_NONE && worker != NULL && worker->worker_id == singleton->worker_id;
    int error = op->error;

    rpc_call_clear(&singleton->call);
    singleton->asked = (struct role_ref){0};
    if (error == ERROR_OPERATION_CANCELLED)
        return;
    if (error == 0 && is_there) {
        singleton->recruited++;
        took(singleton, &asked, "SingletonRecruited");
        return;
    }
    PROBE(controller->env, "a singleton could not be recruited: the next try comes soon");
    if (singleton->known.kind != ROLE_NONE)
        publish(controller); /* it did not move: it is named again */
    if (error != 0 && is_there)
        recruitment_avoid(worker, env_now_us(controller->env));
    look_later(controller, env_now_us(controller->env) + controller->env->knobs.controller_retry_delay_us);
}

static const struct op_stage stages[STAGES] = {
    [ASK] = {"ASK", run_ask, OP_STAGE(STARTED)},
    [STARTED] = {"STARTED", run_started, 0},
};
static const struct op_type type = {"singleton", stages, STAGES, READY_COMMIT, ended};

void singletons_look(struct controller *controller)
{
    int64_t known_by_us = controller->started_us + controller->env->knobs.controller_recruit_wait_us;

    if (controller->phase != CONTROLLER_ACCEPTING)
        return;
    for (int i = 0; i < SINGLETONS; i++) {
        struct singleton *singleton = &controller->singletons[i];

        if (singleton->known.kind != ROLE_NONE || under_way(singleton))
            continue;
        if (!singleton->ever && env_now_us(controller->env) < known_by_us)
            look_later(controller, known_by_us);
        else
            op_start(&singleton->op, &type, &controller->ops);
    }
}

/* It shares its process with others, or may not be there (any more). */
static bool would_move(const struct worker_info *at, enum role_kind kind, bool *ret_must)
{
    *ret_must = at->excluded || recruitment_fitness(at->process_class, kind) >= RECRUIT_NEVER;
    return *ret_must || other_roles(at) > 0;
}

void singletons_spread(struct controller *controller)
{
    for (int i = 0; i < SINGLETONS; i++) {
        struct singleton *singleton = &controller->singletons[i];
        const struct worker_info *at = controller_worker_at(controller, endpoint_of(&singleton->known.endpoint).address);
        const struct worker_info *other;
        bool must;

        if (singleton->known.kind == ROLE_NONE || at == NULL || under_way(singleton) || !would_move(at, singleton->kind, &must))
            continue;
        other = choose(controller, singleton->kind);
        if (other == NULL || other == at)
            continue;
        if (!must && (other_roles(other) > 0 || other->avoid ||
                      recruitment_fitness(other->process_class, singleton->kind) >
                          recruitment_fitness(at->process_class, singleton->kind)))
            continue;
        PROBE(controller->env, "a singleton moves to a process of its own");
        op_start(&singleton->op, &type, &controller->ops);
    }
}

static void timer_fired(struct env_timer *timer)
{
    singletons_look(container_of(timer, struct controller, singleton_timer));
}

/* ---- losses and registrations ---- */

/* The next description names none of the kind: until there is another, nobody takes the lost one's word. */
static void lost(struct singleton *singleton)
{
    struct controller *controller = singleton->controller;

    TRACE(controller->env, SEVERITY_WARN, "SingletonLost", {"Role", trace_str(role_kind_name(singleton->kind))},
          {"Id", trace_id(singleton->known.endpoint.id)});
    PROBE(controller->env, "a singleton is lost, and the epoch goes on");
    singleton->known = (struct role_ref){0};
    publish(controller);
    singletons_look(controller);
}

void singletons_worker_lost(struct controller *controller, struct address address)
{
    for (int i = 0; i < SINGLETONS; i++) {
        struct singleton *singleton = &controller->singletons[i];

        if (is_at(&singleton->asked, address) && under_way(singleton)) { /* its call fails later, or never */
            op_cancel(&singleton->op);
            singletons_look(controller);
        }
        if (is_at(&singleton->known, address))
            lost(singleton);
    }
}

/* The known one; while none is known, any that lives. */
static const struct hosted_role *named_by(const struct worker_info *worker, const struct singleton *singleton)
{
    for (uint32_t i = 0; i < worker->role_count; i++) {
        const struct hosted_role *role = &worker->roles[i];

        if (role->kind == singleton->kind && (singleton->known.kind == ROLE_NONE ? role->error.len == 0
                                                                                  : role->id == singleton->known.endpoint.id))
            return role;
    }
    return NULL;
}

/* A registration and the answer to a recruitment travel on different connections: one is missed only by a registration that was made
 * with the description that names it, or a later one, at hand. */
void singletons_registered(struct controller *controller, const struct worker_info *worker, uint64_t known_term,
                           uint64_t known_number)
{
    for (int i = 0; i < SINGLETONS; i++) {
        struct singleton *singleton = &controller->singletons[i];
        const struct hosted_role *role = named_by(worker, singleton);

        if (is_at(&singleton->known, worker->address)) {
            if (role == NULL ? known_term == controller->term && known_number >= singleton->named_by : role->error.len > 0)
                lost(singleton);
        } else if (singleton->known.kind == ROLE_NONE && role != NULL && !under_way(singleton)) {
            struct role_ref ref = {.kind = singleton->kind, .endpoint = {{worker->address.ip, worker->address.port}, role->id}};

            PROBE(controller->env, "a new controller takes over a singleton that lives");
            singleton->worker_id = worker->worker_id;
            took(singleton, &ref, "SingletonAdopted");
        }
    }
}

/* ---- life ---- */

void singletons_init(struct controller *controller)
{
    static const enum role_kind kinds[SINGLETONS] = {ROLE_DATA_DISTRIBUTOR, ROLE_RATEKEEPER};

    controller->singleton_timer.fire = timer_fired;
    for (int i = 0; i < SINGLETONS; i++) {
        controller->singletons[i].controller = controller;
        controller->singletons[i].kind = kinds[i];
    }
}

void singletons_done(struct controller *controller)
{
    env_timer_cancel(controller->env, &controller->singleton_timer);
    for (int i = 0; i < SINGLETONS; i++)
        assert(!under_way(&controller->singletons[i]));
}
