/* Coordinators in the simulated world: creation, election, the coordinated state, restarts, damaged files. */
#include <stdio.h>

#include "coordinator_lab.h"

/* ---- tests: one coordinator ---- */

Test(coordinator, without_a_record_it_says_so_after_the_wait)
{
    struct scene scene;
    int64_t began_us;

    scene_init(&scene, 1, 1);
    began_us = scene.world->now_us;
    cr_assert_eq(scene_ask(&scene, 0, leader_question(0, 0, SIM_SECOND_US)), 0);
    cr_assert_eq(leader_reply(&scene)->cluster_high, 0);
    cr_assert_eq(leader_reply(&scene)->leader_member, 0);
    cr_assert_geq(scene.world->now_us - began_us, SIM_SECOND_US * 9 / 10);
    cr_assert_eq(scene_ask_lock(&scene, 0, 0, 1), ERROR_OPERATION_OBSOLETE);
    scene_done(&scene);
}

Test(coordinator, one_alone_is_created_leads_and_keeps_the_state)
{
    struct scene scene;

    scene_created(&scene, 1, 2);
    cr_assert_eq(scene.nodes[0].cluster.high, 1);
    scene_lock(&scene, 10);
    cr_assert_eq(state_reply(&scene)->state.locked_epoch, 1);
    cr_assert(scene_write_version(&scene, 1, 10, 4242));
    cr_assert_eq(state_reply(&scene)->state.written_epoch, 1);
    cr_assert_eq(scene_read_back(&scene).recovery_transaction_version, 4242);
    scene_done(&scene);
}

Test(coordinator, a_write_after_anothers_lock_is_refused)
{
    struct scene scene;

    scene_created(&scene, 1, 3);
    scene_lock(&scene, 10);
    scene_lock(&scene, 11);
    cr_assert_not(scene_write_version(&scene, 1, 10, 4242));
    cr_assert_eq(state_reply(&scene)->state.lock_id, 11, "the state as it is comes with the refusal");
    cr_assert_eq(scene_read_back(&scene).written_epoch, 0);
    scene_done(&scene);
}

Test(coordinator, the_same_record_again_is_accepted_and_another_refused)
{
    struct scene scene;

    scene_created(&scene, 1, 4);
    cr_assert(scene_create_at(&scene, 0, 1));
    cr_assert_not(scene_create_at(&scene, 0, 77));
    cr_assert_eq(MESSAGE_BODY(coordinator_create_reply, scene.call.call.reply)->cluster_high, 1);
    scene_done(&scene);
}

Test(coordinator, who_is_not_among_the_members_does_not_become_one)
{
    struct scene scene;
    struct message *message;

    scene_init(&scene, 1, 5);
    message = create_message(&scene, 1);
    ((struct coordinator_create *)message->body)->members[0].address.port++;
    cr_assert_eq(scene_ask(&scene, 0, message), ERROR_CLIENT_INVALID_OPERATION);
    cr_assert(scene_create_at(&scene, 0, 1), "and is still free");
    scene_done(&scene);
}

Test(coordinator, requests_of_another_term_are_obsolete)
{
    struct scene scene;

    scene_created(&scene, 1, 6);
    cr_assert_eq(scene_ask_lock(&scene, 0, scene.nodes[0].leading_term + 1, 10), ERROR_OPERATION_OBSOLETE);
    cr_assert_eq(scene_read_back(&scene).locked_epoch, 0);
    scene_done(&scene);
}

Test(coordinator, the_state_is_there_after_power_failures)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct scene scene;

        scene_created(&scene, 1, seed);
        for (uint64_t i = 1; i <= 4 * seed; i++)
            scene_lock(&scene, i);
        cr_assert(scene_write_version(&scene, 4 * seed, 4 * seed, 9));
        scene_restart(&scene, 0, seed % 2 == 0 ? SIM_KILL : SIM_POWER_OFF);
        cr_assert_eq(scene.nodes[0].start_error, 0);
        cr_assert_eq(scene_read_back(&scene).written_epoch, 4 * seed, "seed %d", (int)seed);
        cr_assert_eq(scene.nodes[0].cluster.high, 1, "the host is told of a record that was found");
        scene_done(&scene);
    }
}

Test(coordinator, a_power_failure_in_the_middle_of_changes_loses_none_that_was_answered)
{
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct scene scene;
        uint64_t answered = 0;

        scene_created(&scene, 1, seed);
        for (int round = 0; round < 3; round++) {
            unsigned at = scene_leader(&scene);
            struct message *message;
            struct lock_state *m;

            for (uint64_t i = 0; i < seed % 7; i++)
                scene_lock(&scene, ++answered);
            m = MESSAGE_NEW(lock_state, &message);
            m->term = scene.nodes[at].leading_term;
            scene_begin_call(&scene, at, message);
            scene_run(&scene, (int64_t)(seed * 131 % 4000));
            scene_restart(&scene, 0, SIM_POWER_OFF);
            cr_assert_eq(scene.nodes[0].start_error, 0, "seed %d", (int)seed);
            scene_run(&scene, SIM_SECOND_US);
            cr_assert_geq(scene_read_back(&scene).locked_epoch, answered, "seed %d", (int)seed);
            answered = scene_read_back(&scene).locked_epoch;
        }
        scene_done(&scene);
    }
}

Test(coordinator, compaction_keeps_the_log_short)
{
    struct scene scene;
    struct role_status status = {0};
    struct arena arena = {0};
    int64_t last = 0, snapshot = 0;

    scene_created(&scene, 1, 7);
    for (uint64_t i = 1; i <= 100; i++)
        scene_lock(&scene, i);
    coordinator_status(scene.nodes[0].coordinator, &status, &arena);
    for (uint32_t i = 0; i < status.metrics_count; i++) {
        if (bytes_equal(status.metrics[i].name, BYTES_LITERAL("last_index")))
            last = status.metrics[i].value;
        if (bytes_equal(status.metrics[i].name, BYTES_LITERAL("snapshot_index")))
            snapshot = status.metrics[i].value;
    }
    cr_assert_gt(last, 100);
    cr_assert_lt(last - snapshot, 25);
    arena_done(&arena);
    scene_restart(&scene, 0, SIM_POWER_OFF);
    cr_assert_eq(scene_read_back(&scene).locked_epoch, 100);
    scene_done(&scene);
}

/* ---- tests: damage ---- */

static void found_queue(void *ctx, const char *name)
{
    if (strstr(name, ".queue") != NULL)
        snprintf(ctx, 200, "data/coordinator/log/%s", name);
}

static void log_path(struct env *env, char out[200])
{
    out[0] = '\0';
    cr_assert_eq(env_dir_list(env, "data/coordinator/log", found_queue, out), 0);
    cr_assert_neq(out[0], '\0');
}

static void flip(struct env *env, const char *path, uint64_t offset)
{
    struct env_file *file;
    uint8_t byte;
    size_t got;

    cr_assert_eq(env_file_open(env, path, ENV_OPEN_READ | ENV_OPEN_WRITE, &file), 0);
    cr_assert_eq(env_file_read(env, file, offset, &byte, 1, &got), 0);
    cr_assert_eq(got, 1);
    byte ^= 0x10;
    cr_assert_eq(env_file_write(env, file, offset, bytes_of(&byte, 1)), 0);
    cr_assert_eq(env_file_sync_now(env, file), 0);
    env_file_close(env, file);
}

/* The last byte that is not zero lies in the newest frame, which the queue alone would take for a torn tail. */
static void spoil_last_frame(struct env *env)
{
    static uint8_t content[1 << 18];
    char path[200];
    struct env_file *file;
    size_t got;

    log_path(env, path);
    cr_assert_eq(env_file_open(env, path, ENV_OPEN_READ, &file), 0);
    cr_assert_eq(env_file_read(env, file, 0, content, sizeof(content), &got), 0);
    env_file_close(env, file);
    while (got > 0 && content[got - 1] == 0)
        got--;
    cr_assert_gt(got, 4096);
    flip(env, path, got - 1);
}

static void spoil_first_frame(struct env *env)
{
    char path[200];

    log_path(env, path);
    flip(env, path, 4096 + 40);
}

static void spoil_hard(struct env *env)
{
    flip(env, "data/coordinator/hard", 30);
    flip(env, "data/coordinator/hard", 4096 + 30);
}

static void spoil_record(struct env *env)
{
    flip(env, "data/coordinator/record", 30);
    flip(env, "data/coordinator/record", 4096 + 16);
}

static void remove_record(struct env *env)
{
    cr_assert_eq(env_remove(env, "data/coordinator/record"), 0);
}

static void remove_hard(struct env *env)
{
    cr_assert_eq(env_remove(env, "data/coordinator/hard"), 0);
}

static void remove_log(struct env *env)
{
    char path[200];

    log_path(env, path);
    cr_assert_eq(env_remove(env, path), 0);
}

Test(coordinator, damaged_files_are_detected_and_it_takes_no_part)
{
    void (*const spoil[])(struct env *env) = {spoil_last_frame, spoil_first_frame, spoil_hard,  spoil_record,
                                              remove_record,    remove_hard,       remove_log};

    for (unsigned i = 0; i < sizeof(spoil) / sizeof(spoil[0]); i++) {
        struct scene scene;

        scene_created(&scene, 1, 8 + i);
        scene_lock(&scene, 10);
        scene_lock(&scene, 11);
        scene.nodes[0].before_start = spoil[i];
        scene.nodes[0].process->damaged = true;
        scene_restart(&scene, 0, SIM_KILL);
        cr_assert_eq(scene.nodes[0].start_error, ERROR_FILE_CORRUPT, "spoiler %u", i);
        cr_assert_null(scene.nodes[0].coordinator);
        scene_done(&scene);
    }
}

/* ---- tests: three coordinators ---- */

Test(coordinator, three_elect_one_and_all_of_them_name_it)
{
    struct scene scene;
    unsigned at;

    scene_created(&scene, 3, 20);
    at = scene_leader(&scene);
    scene_run(&scene, SIM_SECOND_US);
    for (unsigned i = 0; i < 3; i++) {
        cr_assert_eq(scene_ask(&scene, i, leader_question(0, 0, SIM_SECOND_US)), 0);
        cr_assert_eq(leader_reply(&scene)->leader_member, 100 + at);
        cr_assert_eq(leader_reply(&scene)->term, scene.nodes[at].leading_term);
        cr_assert_eq(leader_reply(&scene)->leader_address.ip, scene.nodes[at].process->address.ip);
        cr_assert_eq(leader_reply(&scene)->members_count, 3);
    }
    scene_done(&scene);
}

Test(coordinator, the_state_survives_the_leaders_kill)
{
    for (uint64_t seed = 1; seed <= 8; seed++) {
        struct scene scene;
        unsigned first, second;
        int64_t killed_us;

        scene_created(&scene, 3, seed);
        first = scene_leader(&scene);
        for (uint64_t i = 1; i <= 30; i++)
            scene_lock(&scene, i);
        killed_us = scene.world->now_us;
        sim_process_stop(scene.nodes[first].process, SIM_KILL);
        second = scene_leader(&scene);
        cr_assert_neq(first, second);
        cr_assert_lt(scene.world->now_us - killed_us, SIM_SECOND_US / 2, "a closed connection is noticed at once");
        cr_assert_eq(scene_read_back(&scene).locked_epoch, 30);
        scene_lock(&scene, 31);
        sim_process_boot(scene.nodes[first].process);
        scene_run(&scene, 2 * SIM_SECOND_US);
        sim_process_stop(scene.nodes[second].process, SIM_POWER_OFF);
        cr_assert_eq(scene_read_back(&scene).locked_epoch, 31, "the first is up to date again");
        scene_done(&scene);
    }
}

Test(coordinator, a_long_poll_hears_of_the_next_leader)
{
    struct scene scene;
    unsigned first, other;
    uint64_t term;

    scene_created(&scene, 3, 30);
    scene_run(&scene, SIM_SECOND_US);
    first = scene_leader(&scene);
    term = scene.nodes[first].leading_term;
    other = (first + 1) % 3;
    scene_begin_call(&scene, other, leader_question(100 + first, term, 10 * SIM_SECOND_US));
    scene_run(&scene, SIM_SECOND_US);
    cr_assert_not(scene.call.done, "it waits while nothing changes");
    sim_process_stop(scene.nodes[first].process, SIM_KILL);
    scene_run(&scene, 2 * SIM_SECOND_US);
    cr_assert(scene.call.done);
    cr_assert_eq(scene.call.call.error, 0);
    cr_assert_neq(leader_reply(&scene)->leader_member, 100 + first);
    cr_assert_gt(leader_reply(&scene)->term, term);
    scene_done(&scene);
}

Test(coordinator, one_of_three_alone_commits_nothing_and_stops_leading)
{
    struct scene scene;
    unsigned first;
    uint64_t term;
    struct message *message;
    struct lock_state *m;

    scene_created(&scene, 3, 40);
    first = scene_leader(&scene);
    term = scene.nodes[first].leading_term;
    sim_process_stop(scene.nodes[(first + 1) % 3].process, SIM_KILL);
    sim_process_stop(scene.nodes[(first + 2) % 3].process, SIM_KILL);
    m = MESSAGE_NEW(lock_state, &message);
    m->term = term;
    cr_assert_eq(scene_ask(&scene, first, message), ERROR_OPERATION_OBSOLETE, "its fate is not known");
    scene_run(&scene, SIM_SECOND_US);
    cr_assert_eq(scene.nodes[first].told_lost, 1);
    cr_assert_not(coordinator_leads(scene.nodes[first].coordinator));
    scene_done(&scene);
}

Test(coordinator, leadership_is_told_in_turns_through_kills_and_cuts)
{
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct scene scene;
        uint64_t locked = 0;

        scene_created(&scene, 3, 50 + seed);
        for (int i = 0; i < 12; i++) {
            unsigned victim = (unsigned)sim_random_below(&scene.world->faults, 3);

            scene_lock(&scene, 1);
            locked++;
            cr_assert_geq(state_reply(&scene)->state.locked_epoch, locked);
            scene_restart(&scene, victim, i % 2 == 0 ? SIM_KILL : SIM_POWER_OFF);
            scene_run(&scene, sim_random_range(&scene.world->faults, 1000, 2 * SIM_SECOND_US));
            scene_leader(&scene);
        }
        scene_run(&scene, 3 * SIM_SECOND_US);
        cr_assert_geq(scene_read_back(&scene).locked_epoch, locked);
        scene_done(&scene);
    }
}
