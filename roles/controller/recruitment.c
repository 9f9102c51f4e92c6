/* Who gets which role: own class first, then unset, then any that is allowed; spread over workers and zones. */
#include "roles/controller/controller_internal.h"
#include "txn/log_system.h"

int recruitment_fitness(enum process_class process_class, enum role_kind kind)
{
    static const int8_t stateless[CLASS_COUNT] = {
        [CLASS_STATELESS] = 0, [CLASS_UNSET] = 1, [CLASS_LOG] = 2, [CLASS_STORAGE] = 3, [CLASS_COORDINATOR] = 4};
    static const int8_t log[CLASS_COUNT] = {[CLASS_LOG] = 0,
                                            [CLASS_UNSET] = 1,
                                            [CLASS_STORAGE] = 2,
                                            [CLASS_STATELESS] = RECRUIT_NEVER,
                                            [CLASS_COORDINATOR] = RECRUIT_NEVER};
    static const int8_t storage[CLASS_COUNT] = {[CLASS_STORAGE] = 0,
                                                [CLASS_UNSET] = 1,
                                                [CLASS_LOG] = 2,
                                                [CLASS_STATELESS] = RECRUIT_NEVER,
                                                [CLASS_COORDINATOR] = RECRUIT_NEVER};

    if ((unsigned)process_class >= CLASS_COUNT)
        return RECRUIT_NEVER;
    switch (kind) {
    case ROLE_SEQUENCER:
    case ROLE_GRV_PROXY:
    case ROLE_COMMIT_PROXY:
    case ROLE_RESOLVER:
    case ROLE_DATA_DISTRIBUTOR:
    case ROLE_RATEKEEPER:
        return stateless[process_class];
    case ROLE_LOG:
        return log[process_class];
    case ROLE_STORAGE:
        return storage[process_class];
    default:
        return RECRUIT_NEVER;
    }
}

/* One that could not start a role a moment ago (its disk is full, it hangs) is taken only if there is no other; an excluded one
 * never. */
static int fitness_of(const struct worker_info *worker, enum role_kind kind)
{
    int fitness = worker->excluded ? RECRUIT_NEVER : recruitment_fitness(worker->process_class, kind);

    return fitness == RECRUIT_NEVER || !worker->avoid ? fitness : fitness + RECRUIT_AVOID;
}

void recruitment_refresh(struct controller *controller, int64_t now_us)
{
    list_each(node, after, &controller->workers) {
        struct worker_info *worker = list_entry(node, struct worker_info, link);

        worker->avoid = worker->avoid_until_us > now_us;
        worker->singletons = singletons_at(controller, worker->address);
    }
}

void recruitment_avoid(struct worker_info *worker, int64_t now_us)
{
    worker->avoid_us = worker->avoid_us == 0 ? RECRUIT_AVOID_US : worker->avoid_us * 2;
    if (worker->avoid_us > RECRUIT_AVOID_US_MAX)
        worker->avoid_us = RECRUIT_AVOID_US_MAX;
    worker->avoid_until_us = now_us + worker->avoid_us;
}

int64_t recruitment_avoids_until_us(const struct controller *controller, int64_t now_us)
{
    int64_t soonest_us = 0;

    list_each(node, after, &controller->workers) {
        const struct worker_info *worker = list_entry(node, struct worker_info, link);

        if (worker->avoid_until_us > now_us && (soonest_us == 0 || worker->avoid_until_us < soonest_us))
            soonest_us = worker->avoid_until_us;
    }
    return soonest_us;
}

/* True when a is the better choice; ties go to the lower address, so that the choice is the same in every run. */
static bool better(const struct worker_info *a, const struct worker_info *b, enum role_kind kind)
{
    int fitness_a = fitness_of(a, kind), fitness_b = fitness_of(b, kind);

    if (fitness_a != fitness_b)
        return fitness_a < fitness_b;
    if (a->assigned != b->assigned)
        return a->assigned < b->assigned;
    if (a->singletons != b->singletons)
        return a->singletons < b->singletons;
    if (a->address.ip != b->address.ip)
        return a->address.ip < b->address.ip;
    return a->address.port < b->address.port;
}

static bool chosen(struct worker_info **workers, uint32_t count, const struct worker_info *worker)
{
    for (uint32_t i = 0; i < count; i++)
        if (workers[i] == worker)
            return true;
    return false;
}

static bool zone_chosen(struct worker_info **workers, uint32_t count, struct bytes zone)
{
    for (uint32_t i = 0; i < count; i++)
        if (bytes_equal(workers[i]->zone, zone))
            return true;
    return false;
}

/* The best worker not chosen yet; new_zone: in a zone that no chosen one is in; fitness_max bounds how unfit it may be. */
static struct worker_info *best(struct controller *controller, enum role_kind kind, struct worker_info **workers,
                                uint32_t count, bool new_zone, int fitness_max)
{
    struct worker_info *found = NULL;

    list_each(node, after, &controller->workers) {
        struct worker_info *worker = list_entry(node, struct worker_info, link);

        if (fitness_of(worker, kind) > fitness_max || chosen(workers, count, worker))
            continue;
        if (new_zone && zone_chosen(workers, count, worker->zone))
            continue;
        if (found == NULL || better(worker, found, kind))
            found = worker;
    }
    return found;
}

void recruitment_forget(struct controller *controller)
{
    list_each(node, after, &controller->workers)
        list_entry(node, struct worker_info, link)->assigned = 0;
}

uint32_t recruitment_stateless(struct controller *controller, enum role_kind kind, uint32_t wanted,
                               struct worker_info **ret_workers)
{
    uint32_t count = 0;
    struct worker_info *first = best(controller, kind, ret_workers, 0, false, RECRUIT_NEVER - 1);
    int fitness;

    if (first == NULL)
        return 0;
    fitness = fitness_of(first, kind);
    while (count < wanted) {
        struct worker_info *worker = best(controller, kind, ret_workers, count, false, fitness);

        if (worker == NULL)
            break;
        /* A second proxy on a process that has a role already gains nothing. */
        if (count > 0 && worker->assigned > 0)
            break;
        ret_workers[count++] = worker;
        worker->assigned++;
    }
    return count;
}

uint32_t recruitment_stateful(struct controller *controller, enum role_kind kind, uint32_t wanted, uint32_t zones,
                              struct worker_info **ret_workers, uint32_t *ret_zones)
{
    uint32_t count = 0, zones_found = 0;

    /* Zones first, with as unfit workers as it takes; then fill up with own class and unset. */
    while (zones_found < zones) {
        struct worker_info *worker = best(controller, kind, ret_workers, count, true, RECRUIT_NEVER - 1);

        if (worker == NULL)
            break;
        ret_workers[count++] = worker;
        zones_found++;
    }
    *ret_zones = zones_found;
    if (zones_found < zones)
        return 0;
    while (count < wanted) {
        struct worker_info *worker = best(controller, kind, ret_workers, count, true, 1);

        if (worker == NULL)
            worker = best(controller, kind, ret_workers, count, false, 1);
        if (worker == NULL)
            break;
        ret_workers[count++] = worker;
    }
    return count;
}

/* ---- a whole epoch ---- */

static uint32_t at_most(uint32_t count)
{
    return count > RECRUITS_OF_A_KIND_MAX ? RECRUITS_OF_A_KIND_MAX : count;
}

const struct plan_part *recruitment_part(const struct recruitment_plan *plan, enum role_kind kind)
{
    switch (kind) {
    case ROLE_COMMIT_PROXY:
        return &plan->commit_proxies;
    case ROLE_GRV_PROXY:
        return &plan->grv_proxies;
    case ROLE_RESOLVER:
        return &plan->resolvers;
    case ROLE_LOG:
        return &plan->logs;
    default:
        assert(kind == ROLE_SEQUENCER);
        return &plan->sequencers;
    }
}

static void plan_stateless(struct controller *controller, enum role_kind kind, uint32_t wanted, struct plan_part *ret)
{
    ret->count = recruitment_stateless(controller, kind, at_most(wanted), ret->workers);
}

bool recruitment_plan(struct controller *controller, const struct configuration *wanted, struct recruitment_plan *ret)
{
    static_assert((int)RECRUITS_OF_A_KIND_MAX == (int)LOGS_MAX, "a mask of logs is 64 bits");
    *ret = (struct recruitment_plan){.log_zones = 0};
    recruitment_forget(controller);
    ret->logs.count = recruitment_stateful(controller, ROLE_LOG, at_most(wanted->logs), wanted->replication, ret->logs.workers,
                                           &ret->log_zones);
    for (uint32_t i = 0; i < ret->logs.count; i++)
        ret->logs.workers[i]->assigned++; /* stateless roles go elsewhere if they can */
    plan_stateless(controller, ROLE_SEQUENCER, 1, &ret->sequencers);
    plan_stateless(controller, ROLE_COMMIT_PROXY, wanted->commit_proxies, &ret->commit_proxies);
    plan_stateless(controller, ROLE_GRV_PROXY, wanted->grv_proxies, &ret->grv_proxies);
    plan_stateless(controller, ROLE_RESOLVER, wanted->resolvers, &ret->resolvers);
    return ret->logs.count > 0 && ret->sequencers.count > 0;
}
