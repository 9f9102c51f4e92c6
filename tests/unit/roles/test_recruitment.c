/* Who gets which role: fitness, spreading, zones. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "roles/controller/controller_internal.h"

enum { WORKERS = 16 };

struct pool {
    struct controller controller;
    struct worker_info workers[WORKERS];
    char zones[WORKERS][8];
    uint32_t count;
};

static void pool_init(struct pool *pool)
{
    memset(pool, 0, sizeof(*pool));
    list_init(&pool->controller.workers);
}

static struct worker_info *add(struct pool *pool, enum process_class process_class, unsigned zone)
{
    struct worker_info *worker = &pool->workers[pool->count];

    snprintf(pool->zones[pool->count], sizeof(pool->zones[0]), "z%u", zone);
    worker->zone = bytes_of_string(pool->zones[pool->count]);
    worker->address = (struct address){0x0a000001, 4500 + pool->count};
    worker->process_class = process_class;
    list_push_back(&pool->controller.workers, &worker->link);
    pool->count++;
    return worker;
}

static unsigned zones_of(struct worker_info **workers, uint32_t count)
{
    unsigned zones = 0;

    for (uint32_t i = 0; i < count; i++) {
        bool first = true;

        for (uint32_t j = 0; j < i; j++)
            first &= !bytes_equal(workers[i]->zone, workers[j]->zone);
        zones += first;
    }
    return zones;
}

Test(recruitment, own_class_comes_first_then_unset_then_what_is_allowed)
{
    const enum role_kind kinds[] = {ROLE_LOG, ROLE_STORAGE, ROLE_SEQUENCER};
    const enum process_class own[] = {CLASS_LOG, CLASS_STORAGE, CLASS_STATELESS};

    for (unsigned i = 0; i < 3; i++) {
        cr_assert_eq(recruitment_fitness(own[i], kinds[i]), 0);
        for (unsigned c = 0; c < CLASS_COUNT; c++)
            if (c != (unsigned)own[i] && c != CLASS_UNSET)
                cr_assert_gt(recruitment_fitness((enum process_class)c, kinds[i]),
                             recruitment_fitness(CLASS_UNSET, kinds[i]));
    }
    cr_assert_eq(recruitment_fitness(CLASS_COORDINATOR, ROLE_LOG), RECRUIT_NEVER);
    cr_assert_eq(recruitment_fitness(CLASS_STATELESS, ROLE_STORAGE), RECRUIT_NEVER);
    cr_assert_eq(recruitment_fitness(CLASS_COUNT, ROLE_SEQUENCER), RECRUIT_NEVER);
    cr_assert_eq(recruitment_fitness(CLASS_UNSET, ROLE_COORDINATOR), RECRUIT_NEVER);
}

/* What shells check before they ask. */
Test(recruitment, what_a_class_may_host_is_what_has_a_fitness)
{
    for (unsigned c = 0; c <= CLASS_COUNT; c++)
        for (unsigned k = 0; k < ROLE_KINDS; k++)
            cr_assert_eq(process_class_may_host((enum process_class)c, (enum role_kind)k),
                         recruitment_fitness((enum process_class)c, (enum role_kind)k) < RECRUIT_NEVER, "class %u, kind %u", c, k);
}

Test(recruitment, stateless_roles_spread_over_idle_processes)
{
    struct pool pool;
    struct worker_info *got[8];

    pool_init(&pool);
    add(&pool, CLASS_LOG, 0);
    for (unsigned i = 0; i < 4; i++)
        add(&pool, CLASS_STATELESS, i);
    cr_assert_eq(recruitment_stateless(&pool.controller, ROLE_SEQUENCER, 1, got), 1);
    cr_assert_eq(got[0], &pool.workers[1]);
    cr_assert_eq(recruitment_stateless(&pool.controller, ROLE_COMMIT_PROXY, 2, got), 2);
    cr_assert_eq(got[0], &pool.workers[2]);
    cr_assert_eq(got[1], &pool.workers[3]);
    cr_assert_eq(recruitment_stateless(&pool.controller, ROLE_GRV_PROXY, 3, got), 1, "only one process is idle");
    cr_assert_eq(got[0], &pool.workers[4]);
    cr_assert_eq(recruitment_stateless(&pool.controller, ROLE_RESOLVER, 2, got), 1, "the first is given even so");
}

Test(recruitment, one_process_gets_every_role)
{
    struct pool pool;
    struct worker_info *got[8];
    uint32_t zones;

    pool_init(&pool);
    add(&pool, CLASS_UNSET, 0);
    for (enum role_kind kind = ROLE_SEQUENCER; kind <= ROLE_RESOLVER; kind++)
        cr_assert_eq(recruitment_stateless(&pool.controller, kind, 3, got), 1);
    cr_assert_eq(recruitment_stateful(&pool.controller, ROLE_LOG, 3, 1, got, &zones), 1);
    cr_assert_eq(recruitment_stateful(&pool.controller, ROLE_STORAGE, 8, 1, got, &zones), 1);
}

Test(recruitment, who_just_failed_is_taken_only_if_there_is_no_other)
{
    struct pool pool;
    struct worker_info *got[8];
    uint32_t zones;

    pool_init(&pool);
    for (unsigned i = 0; i < 3; i++)
        add(&pool, CLASS_LOG, i);
    add(&pool, CLASS_STORAGE, 3);
    pool.workers[0].avoid_until_us = 100;
    recruitment_refresh(&pool.controller, 99);
    cr_assert_eq(recruitment_stateful(&pool.controller, ROLE_LOG, 3, 2, got, &zones), 2);
    cr_assert(got[0] == &pool.workers[1] && got[1] == &pool.workers[2]);
    cr_assert_eq(recruitment_stateful(&pool.controller, ROLE_LOG, 3, 4, got, &zones), 4, "all zones are needed");
    recruitment_refresh(&pool.controller, 100);
    cr_assert_eq(recruitment_stateful(&pool.controller, ROLE_LOG, 3, 2, got, &zones), 3);
}

Test(recruitment, who_fails_again_and_again_is_left_alone_for_longer)
{
    struct pool pool;
    struct worker_info *worker;

    pool_init(&pool);
    worker = add(&pool, CLASS_LOG, 0);
    add(&pool, CLASS_LOG, 1)->avoid_until_us = 15000000;
    cr_assert_eq(recruitment_avoids_until_us(&pool.controller, 15000000), 0);
    recruitment_avoid(worker, 0);
    cr_assert_eq(recruitment_avoids_until_us(&pool.controller, 0), RECRUIT_AVOID_US);
    cr_assert_eq(recruitment_avoids_until_us(&pool.controller, RECRUIT_AVOID_US), 15000000);
    recruitment_avoid(worker, 0);
    cr_assert_eq(worker->avoid_until_us, 2 * RECRUIT_AVOID_US);
    for (int i = 0; i < 20; i++)
        recruitment_avoid(worker, 7);
    cr_assert_eq(worker->avoid_until_us, 7 + RECRUIT_AVOID_US_MAX);
}

Test(recruitment, nobody_at_all_gives_nothing)
{
    struct pool pool;
    struct worker_info *got[8];
    uint32_t zones = 9;

    pool_init(&pool);
    cr_assert_eq(recruitment_stateless(&pool.controller, ROLE_SEQUENCER, 1, got), 0);
    cr_assert_eq(recruitment_stateful(&pool.controller, ROLE_LOG, 3, 1, got, &zones), 0);
    cr_assert_eq(zones, 0);
}

Test(recruitment, logs_cover_the_zones_with_less_fit_ones_if_need_be)
{
    struct pool pool;
    struct worker_info *got[8];
    uint32_t zones, count;

    pool_init(&pool);
    add(&pool, CLASS_LOG, 1);
    add(&pool, CLASS_LOG, 1);
    add(&pool, CLASS_STORAGE, 2);
    add(&pool, CLASS_COORDINATOR, 3);
    count = recruitment_stateful(&pool.controller, ROLE_LOG, 3, 2, got, &zones);
    cr_assert_eq(count, 3);
    cr_assert_eq(zones_of(got, count), 2);
    cr_assert_eq(recruitment_stateful(&pool.controller, ROLE_LOG, 3, 3, got, &zones), 0);
    cr_assert_eq(zones, 2, "it says how many zones there are");
}

Test(recruitment, logs_do_not_take_storage_processes_beyond_the_zones)
{
    struct pool pool;
    struct worker_info *got[8];
    uint32_t zones, count;

    pool_init(&pool);
    add(&pool, CLASS_LOG, 1);
    add(&pool, CLASS_LOG, 2);
    add(&pool, CLASS_STORAGE, 3);
    count = recruitment_stateful(&pool.controller, ROLE_LOG, 3, 2, got, &zones);
    cr_assert_eq(count, 2);
    for (uint32_t i = 0; i < count; i++)
        cr_assert_eq(got[i]->process_class, CLASS_LOG);
}

Test(recruitment, never_more_than_asked_but_for_the_zones)
{
    struct pool pool;
    struct worker_info *got[WORKERS];
    uint32_t zones;

    pool_init(&pool);
    for (unsigned i = 0; i < 10; i++)
        add(&pool, CLASS_LOG, i % 5);
    for (uint32_t wanted = 1; wanted <= 10; wanted++)
        for (uint32_t replication = 1; replication <= 3; replication++) {
            uint32_t count = recruitment_stateful(&pool.controller, ROLE_LOG, wanted, replication, got, &zones);

            cr_assert_eq(count, wanted > replication ? wanted : replication);
            cr_assert_geq(zones_of(got, count), count < 5 ? count : 5, "zones are spread first");
        }
}

Test(recruitment, a_worker_with_a_log_is_the_second_choice_for_stateless_roles)
{
    struct pool pool;
    struct worker_info *got[8];

    pool_init(&pool);
    add(&pool, CLASS_UNSET, 0)->assigned = 1;
    add(&pool, CLASS_UNSET, 1);
    cr_assert_eq(recruitment_stateless(&pool.controller, ROLE_SEQUENCER, 1, got), 1);
    cr_assert_eq(got[0], &pool.workers[1]);
    recruitment_forget(&pool.controller);
    cr_assert_eq(pool.workers[0].assigned + pool.workers[1].assigned, 0);
}

Test(recruitment, who_is_excluded_gets_no_role_though_there_is_no_other)
{
    struct pool pool;
    struct worker_info *got[8];
    uint32_t zones;

    pool_init(&pool);
    for (unsigned i = 0; i < 3; i++)
        add(&pool, CLASS_UNSET, i);
    pool.workers[0].excluded = pool.workers[2].excluded = true;
    cr_assert_eq(recruitment_stateful(&pool.controller, ROLE_LOG, 3, 1, got, &zones), 1);
    cr_assert_eq(got[0], &pool.workers[1]);
    cr_assert_eq(recruitment_stateful(&pool.controller, ROLE_STORAGE, 3, 2, got, &zones), 0);
    cr_assert_eq(zones, 1);
    cr_assert_eq(recruitment_stateless(&pool.controller, ROLE_SEQUENCER, 1, got), 1);
    cr_assert_eq(got[0], &pool.workers[1]);
    pool.workers[1].excluded = true;
    cr_assert_eq(recruitment_stateless(&pool.controller, ROLE_SEQUENCER, 1, got), 0);
}

Test(recruitment, a_plan_has_what_the_configuration_asks_for)
{
    const struct configuration wanted = {.replication = 2, .logs = 3, .commit_proxies = 2, .grv_proxies = 1, .resolvers = 2};
    struct recruitment_plan plan;
    struct pool pool;

    pool_init(&pool);
    for (unsigned i = 0; i < 4; i++)
        add(&pool, CLASS_LOG, i);
    for (unsigned i = 0; i < 6; i++)
        add(&pool, CLASS_STATELESS, i);
    cr_assert(recruitment_plan(&pool.controller, &wanted, &plan));
    cr_assert_eq(recruitment_part(&plan, ROLE_LOG)->count, 3);
    cr_assert_eq(recruitment_part(&plan, ROLE_SEQUENCER)->count, 1);
    cr_assert_eq(recruitment_part(&plan, ROLE_COMMIT_PROXY)->count, 2);
    cr_assert_eq(recruitment_part(&plan, ROLE_GRV_PROXY)->count, 1);
    cr_assert_eq(recruitment_part(&plan, ROLE_RESOLVER)->count, 2);
    for (unsigned i = 4; i < 10; i++)
        cr_assert_eq(pool.workers[i].assigned, 1, "each has one role");
    for (unsigned i = 1; i < 4; i++)
        pool.workers[i].excluded = true;
    cr_assert_not(recruitment_plan(&pool.controller, &wanted, &plan));
    cr_assert_eq(plan.log_zones, 1);
}
