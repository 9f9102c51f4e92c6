/* Would a new epoch be a better one? The plan of a recruitment now is compared with what the living epoch has.
 *
 * A new epoch is a pause of milliseconds, so it has to be worth it:
 * - what an operator set asks for it (other numbers, another replication of the logs, a process of the epoch is excluded or of a class
 *   that may not host its role, and, once, when a setting has just changed, processes of a better class): at once;
 * - an epoch that was recruited while processes were away, or could not start a role, has fewer logs, proxies or resolvers than it could
 *   have now: when nothing has come or gone for a while. The pause now, and not the loss of the last spare log later.
 * A plan that would not do (too few zones) is no reason: the epoch goes on, and status says what is missing. */
#include "net/buggify.h"
#include "roles/controller/controller_internal.h"
#include "txn/log_system.h"

static const enum role_kind kinds[] = {ROLE_SEQUENCER, ROLE_COMMIT_PROXY, ROLE_GRV_PROXY, ROLE_RESOLVER, ROLE_LOG};
enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

/* What an epoch has, or would have, of a kind. */
struct part {
    uint32_t count;
    int worst; /* fitness of the least fit process; RECRUIT_NEVER: one may not host it */
};

static void count_at(const struct controller *controller, const struct wire_endpoint *endpoint, enum role_kind kind,
                     struct part *part)
{
    const struct worker_info *worker = controller_worker_at(controller, endpoint_of(endpoint).address);
    int fitness = worker == NULL ? 0 : recruitment_fitness(worker->process_class, kind);

    if (worker != NULL && worker->excluded)
        fitness = RECRUIT_NEVER;
    part->count++;
    part->worst = fitness > part->worst ? fitness : part->worst;
}

static struct part living(const struct controller *controller, enum role_kind kind)
{
    const struct coordinated_state *state = &controller->state;
    const struct generation *newest = controller_newest_generation(state);
    struct part part = {0};

    for (uint32_t i = 0; i < state->roles_count; i++)
        if (state->roles[i].kind == kind)
            count_at(controller, &state->roles[i].endpoint, kind, &part);
    for (uint32_t i = 0; kind == ROLE_LOG && i < newest->logs_count; i++)
        count_at(controller, &newest->logs[i].endpoint, kind, &part);
    return part;
}

static struct part planned(const struct recruitment_plan *plan, enum role_kind kind)
{
    const struct plan_part *workers = recruitment_part(plan, kind);
    struct part part = {.count = workers->count};

    for (uint32_t i = 0; i < workers->count; i++) {
        int fitness = recruitment_fitness(workers->workers[i]->process_class, kind);

        part.worst = fitness > part.worst ? fitness : part.worst;
    }
    return part;
}

static uint32_t configured(const struct configuration *configuration, enum role_kind kind)
{
    switch (kind) {
    case ROLE_COMMIT_PROXY:
        return configuration->commit_proxies;
    case ROLE_GRV_PROXY:
        return configuration->grv_proxies;
    case ROLE_RESOLVER:
        return configuration->resolvers;
    case ROLE_LOG:
        return configuration->logs;
    default:
        return 1;
    }
}

/* What asks for a new epoch whenever it is seen. */
static const char *why_needed(enum role_kind kind, const struct configuration *c, struct part now, struct part then)
{
    if (now.worst >= RECRUIT_NEVER && then.worst < RECRUIT_NEVER)
        return "a process of the epoch is excluded, or has a class that does not host its role";
    if (now.count > configured(c, kind) && then.count < now.count)
        return "the configuration asks for fewer";
    if (kind == ROLE_LOG && then.count > now.count)
        return "more logs can be recruited than the epoch has";
    if (kind != ROLE_LOG && kind != ROLE_GRV_PROXY && then.count > now.count) /* upkeep recruits GRV proxies */
        return "more proxies or resolvers can be recruited than the epoch has";
    return NULL;
}

static const char *why_better(struct controller *controller, bool changed)
{
    const struct configuration *c = &controller->configuration;
    struct recruitment_plan plan;
    bool fitter = false, less_fit = false;

    recruitment_refresh(controller, controller->env->turn_us);
    if (!recruitment_plan(controller, c, &plan))
        return NULL;
    if (controller_newest_generation(&controller->state)->replication != c->replication)
        return "the configuration asks for another replication";
    for (int i = 0; i < KINDS; i++) {
        struct part now = living(controller, kinds[i]), then = planned(&plan, kinds[i]);
        const char *why = why_needed(kinds[i], c, now, then);

        if (why != NULL)
            return why;
        fitter |= then.worst < now.worst;
        less_fit |= then.worst > now.worst;
    }
    return changed && fitter && !less_fit ? "processes of a better class can be recruited" : NULL;
}

const char *controller_would_recover(struct controller *controller)
{
    return controller->phase == CONTROLLER_ACCEPTING ? why_better(controller, controller->settings_changed) : NULL;
}

static void arm(struct controller *controller, int64_t at_us)
{
    env_timer_start(controller->env, &controller->better, at_us);
}

/* An epoch that did without a process that could not start a role then may have it when that one is no longer avoided. */
static void look_when_trusted(struct controller *controller)
{
    int64_t at_us = recruitment_avoids_until_us(controller, env_now_us(controller->env));

    if (at_us == 0 || controller->better.heap_index_plus_1 != 0)
        return;
    PROBE(controller->env, "an epoch waits for a process that could not start a role");
    arm(controller, at_us);
}

void better_fired(struct env_timer *timer)
{
    struct controller *controller = container_of(timer, struct controller, better);
    int64_t calm_since_us = controller->newest_worker_us > controller->accepting_since_us ? controller->newest_worker_us
                                                                                         : controller->accepting_since_us;
    int64_t due_us = calm_since_us + controller->env->knobs.controller_better_delay_us;
    bool changed = controller->settings_changed;
    const char *why;

    if (controller->phase != CONTROLLER_ACCEPTING || controller->recovery != NULL)
        return;
    if (!changed && due_us > env_now_us(controller->env)) {
        arm(controller, due_us);
        return;
    }
    controller->settings_changed = false;
    why = why_better(controller, changed);
    if (why == NULL && BUGGIFY(controller->env, "an epoch gives way to one that is no better"))
        why = "the simulator wants another epoch";
    if (why != NULL) {
        if (changed)
            PROBE(controller->env, "an epoch ends because an operator has set something else");
        controller_recover(controller, why);
        return;
    }
    singletons_spread(controller);
    if (changed)
        better_look(controller); /* what has come a moment ago may still be worth it */
    look_when_trusted(controller);
}

void better_look(struct controller *controller)
{
    int64_t at_us = env_now_us(controller->env) + controller->env->knobs.controller_better_delay_us;

    if (controller->better.heap_index_plus_1 == 0 || controller->better.at_us > at_us)
        arm(controller, at_us);
}

void better_look_now(struct controller *controller)
{
    controller->settings_changed = true;
    arm(controller, env_now_us(controller->env));
}
