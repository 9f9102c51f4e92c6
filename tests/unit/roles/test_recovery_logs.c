/* Which logs an epoch can end on, and at which version. */
#include <criterion/criterion.h>

#include "roles/controller/recovery.h"
#include "tests/unit/draw.h"

enum { COUNT_MAX = 6 };

struct scene {
    struct generation generation;
    struct log_ref logs[COUNT_MAX];
    struct lock_log_reply replies[COUNT_MAX];
    const struct lock_log_reply *answers[COUNT_MAX];
    uint64_t mask;
    version_t version;
};

static const char *const zone_names[COUNT_MAX] = {"a", "b", "c", "d", "e", "f"};

static void scene_init(struct scene *scene, uint32_t count, uint32_t replication)
{
    memset(scene, 0, sizeof(*scene));
    for (uint32_t i = 0; i < count; i++)
        scene->logs[i] = (struct log_ref){.endpoint.id = 100 + i, .zone = bytes_of_string(zone_names[i])};
    scene->generation = (struct generation){.epoch = 1, .begin = 10, .end = VERSION_MAX, .replication = replication,
                                            .logs = scene->logs, .logs_count = count};
}

static void answers(struct scene *scene, uint32_t i, version_t end, version_t known_committed)
{
    scene->replies[i] = (struct lock_log_reply){.log_id = 100 + i, .begin = 10, .end = end, .known_committed = known_committed};
    scene->answers[i] = &scene->replies[i];
}

static bool suffice(struct scene *scene, version_t known_committed)
{
    return recovery_logs_suffice(&scene->generation, scene->answers, known_committed, &scene->mask, &scene->version);
}

Test(recovery_logs, the_lowest_end_is_the_recovery_version)
{
    struct scene scene;

    scene_init(&scene, 3, 2);
    answers(&scene, 0, 50, 40);
    answers(&scene, 1, 48, 41);
    answers(&scene, 2, 52, 39);
    cr_assert(suffice(&scene, 0));
    cr_assert_eq(scene.version, 48);
    cr_assert_eq(scene.mask, 7);
}

Test(recovery_logs, fewer_missing_zones_than_the_replication_are_enough)
{
    struct scene scene;

    scene_init(&scene, 3, 2);
    answers(&scene, 0, 50, 40);
    cr_assert_not(suffice(&scene, 0), "two zones are missing");
    answers(&scene, 2, 55, 40);
    cr_assert(suffice(&scene, 0));
    cr_assert_eq(scene.mask, 5);
    cr_assert_eq(scene.version, 50);
}

Test(recovery_logs, logs_of_one_zone_count_once)
{
    struct scene scene;

    scene_init(&scene, 4, 2);
    scene.logs[1].zone = scene.logs[0].zone;
    answers(&scene, 2, 50, 40);
    answers(&scene, 3, 50, 40);
    cr_assert(suffice(&scene, 0), "the two that are missing share a zone");
}

Test(recovery_logs, with_single_replication_all_are_needed)
{
    struct scene scene;

    scene_init(&scene, 2, 1);
    answers(&scene, 0, 50, 40);
    cr_assert_not(suffice(&scene, 0));
    answers(&scene, 1, 50, 40);
    cr_assert(suffice(&scene, 0));
}

Test(recovery_logs, a_log_below_what_another_knows_committed_has_lost_data)
{
    struct scene scene;

    scene_init(&scene, 3, 2);
    answers(&scene, 0, 50, 45);
    answers(&scene, 1, 44, 30);
    cr_assert_not(suffice(&scene, 0), "the one that lost data counts as missing, beside the silent one");
    answers(&scene, 2, 47, 45);
    cr_assert(suffice(&scene, 0));
    cr_assert_eq(scene.mask, 5);
    cr_assert_eq(scene.version, 47);
}

Test(recovery_logs, the_old_sequencers_word_counts_as_well)
{
    struct scene scene;

    scene_init(&scene, 3, 2);
    for (uint32_t i = 0; i < 3; i++)
        answers(&scene, i, 44 + i, 30);
    cr_assert(suffice(&scene, 45));
    cr_assert_eq(scene.mask, 6);
    cr_assert_eq(scene.version, 45);
    cr_assert_not(suffice(&scene, 46), "only one is left");
}

/* Every acknowledged version was on all logs when it was acknowledged; then some lose their tails or do not answer. */
Test(recovery_logs, no_acknowledged_commit_is_ever_above_the_recovery_version)
{
    uint64_t state = 1;

    for (int round = 0; round < 20000; round++) {
        struct scene scene;
        uint32_t count = 1 + (uint32_t)(draw(&state) % COUNT_MAX);
        version_t acknowledged = 20 + (version_t)(draw(&state) % 20), known[COUNT_MAX];
        bool lost = false;

        scene_init(&scene, count, 1 + (uint32_t)(draw(&state) % 3));
        for (uint32_t i = 0; i < count; i++) {
            bool loses = draw(&state) % 8 == 0;

            known[i] = acknowledged - (version_t)(draw(&state) % 5);
            lost |= loses;
            if (draw(&state) % 4 != 0)
                answers(&scene, i, loses ? known[i] - (version_t)(draw(&state) % 8) : acknowledged + (version_t)(draw(&state) % 5),
                        known[i]);
        }
        if (!suffice(&scene, lost ? acknowledged : 0))
            continue;
        cr_assert_geq(scene.version, acknowledged, "round %d", round);
        for (uint32_t i = 0; i < count; i++)
            if (scene.mask >> i & 1)
                cr_assert(scene.answers[i] != NULL && scene.answers[i]->end >= scene.version);
    }
}

Test(recovery_logs, an_answer_that_can_not_be_true_counts_as_none)
{
    struct scene scene;

    scene_init(&scene, 3, 2);
    answers(&scene, 0, 50, 40);
    cr_assert_null(recovery_lock_wrong(&scene.generation, 0, scene.answers[0]));
    cr_assert_not_null(recovery_lock_wrong(&scene.generation, 1, scene.answers[0]), "another log's");
    scene.replies[0].begin = 11;
    cr_assert_not_null(recovery_lock_wrong(&scene.generation, 0, scene.answers[0]), "of another generation");
    answers(&scene, 0, 50, 51);
    cr_assert_not_null(recovery_lock_wrong(&scene.generation, 0, scene.answers[0]), "more is committed than it has");
    answers(&scene, 0, 9, 0);
    cr_assert_not_null(recovery_lock_wrong(&scene.generation, 0, scene.answers[0]), "it ends before it begins");
}
