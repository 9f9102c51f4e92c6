/* When the engine commits, how much, and with what priority. */
#include "tests/unit/roles/storage_lab.h"

#define USER_END BYTES_LITERAL("\xff")

static void init(struct lab *lab, uint64_t seed)
{
    struct bytes_buffer table = {0};

    lab_init(lab, seed, ENGINE_LMDB, false);
    lab_assign(&table, bytes_none(), USER_END, SERVER_KEYS_OWNED_EMPTY);
    lab_push(lab, lab->newest + 1, &table);
    lab_commit(lab, lab->newest);
    lab_catch_up(lab);
}

/* So many sets, a hundred a turn. */
static void push_many(struct lab *lab, int count, version_t step)
{
    for (int i = 0; i < count; i++) {
        lab_push_set(lab, step, (unsigned)i % LAB_KEYS, "a value");
        if (i % 100 == 99) {
            lab_commit(lab, lab->newest);
            lab_run(lab, 1000);
        }
    }
}

/* One that is due because 1,000 bytes are 5 s old, and takes minutes. */
static void start_one_that_gives_way(struct lab *lab)
{
    struct knobs *knobs = &lab->storage->env.knobs;
    int64_t past_us;

    knobs->storage_commit_interval_us = 1000 * SIM_SECOND_US;
    knobs->storage_commit_bytes_max = 1000;
    lab->world->settings.job_us = 60 * SIM_SECOND_US; /* ten times that for one that gives way */
    push_many(lab, 100, 100);
    lab_push_empty(lab, 6 * VERSIONS_PER_SECOND);
    lab_commit(lab, lab->newest);
    lab_run(lab, SIM_SECOND_US);
    cr_assert_gt(storage_commit_under_way(lab_server(lab), &past_us), 0);
    cr_assert_eq(past_us, 0, "it gives way");
}

Test(storage_commits, one_that_gives_way_does_so_no_more_when_memory_presses)
{
    struct lab lab;
    int64_t past_us;

    init(&lab, 1);
    lab.storage->env.knobs.storage_memory_bytes_max = 300000;
    start_one_that_gives_way(&lab);
    lab_run(&lab, 10 * SIM_SECOND_US);
    cr_assert_gt(storage_commit_under_way(lab_server(&lab), &past_us), 0);
    cr_assert_eq(past_us, 0, "nobody waits for it");
    push_many(&lab, 4000, 100);
    lab_run(&lab, SIM_SECOND_US);
    cr_assert_gt(storage_commit_under_way(lab_server(&lab), &past_us), 0);
    cr_assert_gt(past_us, 0, "everybody does");
    lab_done(&lab);
}

Test(storage_commits, one_that_gives_way_does_so_no_more_when_it_takes_too_long)
{
    struct lab lab;
    int64_t past_us;

    init(&lab, 2);
    start_one_that_gives_way(&lab);
    lab.storage->env.knobs.storage_commit_interval_us = SIM_SECOND_US;
    lab_run(&lab, 2 * SIM_SECOND_US);
    push_many(&lab, 100, 100);
    cr_assert_gt(storage_commit_under_way(lab_server(&lab), &past_us), 0);
    cr_assert_gt(past_us, 0);
    lab_done(&lab);
}

Test(storage_commits, one_takes_an_eighth_of_the_memory_at_most)
{
    struct lab lab;
    int64_t past_us;
    size_t largest = 0, all;

    init(&lab, 3);
    lab.storage->env.knobs.storage_memory_bytes_max = 4000000;
    lab.world->settings.job_us = 2 * SIM_SECOND_US;
    for (int i = 0; i < 40; i++) {
        push_many(&lab, 1000, 100);
        lab_push_empty(&lab, VERSIONS_PER_SECOND / 10);
        lab_commit(&lab, lab.newest);
        lab_run(&lab, SIM_SECOND_US / 10);
        all = storage_commit_under_way(lab_server(&lab), &past_us);
        largest = all > largest ? all : largest;
    }
    cr_assert_gt(largest, 0);
    cr_assert_lt(largest, 4000000 / 8 + 2 * STORAGE_FORGET_STEP_BYTES, "%zu", largest);
    cr_assert_gt(lab_server(&lab)->mutation_bytes, 4000000 / 4);
    lab.world->settings.job_us = 100;
    lab_catch_up(&lab);
    lab_done(&lab);
}
