/* The storage server against fake logs and a naive multi-version model. */
#include "tests/unit/roles/storage_lab.h"

#include <stdio.h>

#define USER_END BYTES_LITERAL("\xff")

static void own_everything(struct lab *lab)
{
    struct bytes_buffer table = {0};

    lab_assign(&table, bytes_none(), USER_END, SERVER_KEYS_OWNED_EMPTY);
    lab_push(lab, lab->newest + 1, &table);
}

static uint64_t draw(struct lab *lab, uint64_t below)
{
    return sim_random_below(&lab->world->workload, below);
}

/* A server that owns [, \xff) and is up to date. */
static void lab_owned(struct lab *lab, uint64_t seed)
{
    lab_init(lab, seed, seed % 2 == 0 ? ENGINE_LMDB : ENGINE_MEMORY, false);
    own_everything(lab);
    lab_commit(lab, lab->newest);
    lab_catch_up(lab);
}

/* Versions for `seconds` of real time, all committed. */
static void idle(struct lab *lab, unsigned seconds)
{
    for (unsigned i = 0; i < seconds; i++) {
        lab_push_empty(lab, VERSIONS_PER_SECOND);
        lab_commit(lab, lab->newest);
        lab_run(lab, SIM_SECOND_US);
    }
}

static int64_t metric(struct lab *lab, const char *name)
{
    struct role_status status = {0};
    struct arena arena = {0};
    int64_t value = -1;

    storage_server_status(lab_server(lab), &status, &arena);
    for (uint32_t i = 0; i < status.metrics_count; i++)
        if (bytes_equal(status.metrics[i].name, bytes_of_string(name)))
            value = status.metrics[i].value;
    arena_done(&arena);
    return value;
}

/* ---- everything at once ---- */

static void read_somewhere(struct lab *lab, uint64_t *answered)
{
    version_t back = (version_t)draw(lab, 6 * VERSIONS_PER_SECOND), version = lab->newest - back;
    unsigned begin = (unsigned)draw(lab, LAB_KEYS), end = begin + 1 + (unsigned)draw(lab, LAB_KEYS - begin);
    uint32_t limit;

    if (draw(lab, 4) == 0)
        version = lab->known_committed;
    if (version < 1)
        version = 1;
    if (draw(lab, 2) == 0) {
        *answered += lab_check_get(lab, begin, version);
        return;
    }
    limit = (uint32_t)draw(lab, 6);
    *answered += lab_check_range(lab, begin, end, version, limit, draw(lab, 2) == 0);
}

static void something_bad(struct lab *lab)
{
    struct lab_generation *last = &lab->generations[lab->generation_count - 1];

    switch (draw(lab, 6)) {
    case 0:
    case 1:
        sim_process_stop(lab->storage, draw(lab, 2) == 0 ? SIM_KILL : SIM_POWER_OFF);
        lab_run(lab, (int64_t)draw(lab, 300000));
        sim_process_boot(lab->storage);
        break;
    case 2:
    case 3:
        if (lab->generation_count + 1 < LAB_GENERATIONS_MAX) {
            version_t known = lab->known_committed, end = known + (version_t)draw(lab, (uint64_t)(lab->newest - known) + 1);

            lab_recover(lab, end);
            lab_run(lab, (int64_t)draw(lab, 50000)); /* nobody has told the server yet */
            lab_describe(lab);
        }
        break;
    case 4:
        last->logs[draw(lab, LAB_LOGS)].silent = true;
        last->logs[draw(lab, LAB_LOGS)].silent = false;
        break;
    default:
        sim_net_drop(lab->world, draw(lab, 4), SIM_DROP_BOTH);
    }
}

static void live_roughly(uint64_t seed, bool buggify)
{
    struct lab lab;
    uint64_t answered = 0;

    lab_init(&lab, seed, seed % 2 == 0 ? ENGINE_LMDB : ENGINE_MEMORY, buggify);
    if (seed % 3 == 0)
        lab.world->knobs.storage_memory_bytes_max = 100000;
    lab.world->knobs.storage_commit_interval_us = 200000;
    lab.world->knobs.storage_future_version_wait_us = 300000;
    sim_process_stop(lab.storage, SIM_KILL); /* it takes in the knobs */
    sim_process_boot(lab.storage);
    own_everything(&lab);
    for (int i = 0; i < 600; i++) {
        lab_push_random(&lab, 1 + (version_t)draw(&lab, 200000));
        if (draw(&lab, 3) == 0)
            lab_commit(&lab, lab.newest - (version_t)draw(&lab, 2) * (lab.newest - lab.known_committed) / 2);
        lab_run(&lab, (int64_t)draw(&lab, 60000));
        if (draw(&lab, 40) == 0)
            something_bad(&lab);
        read_somewhere(&lab, &answered);
    }
    lab_commit(&lab, lab.newest);
    lab_catch_up(&lab);
    for (unsigned key = 0; key < LAB_KEYS; key++)
        cr_assert(lab_check_get(&lab, key, lab.newest));
    cr_assert(lab_check_range(&lab, 0, LAB_KEYS, lab.newest, 0, false));
    cr_assert_eq(lab.ended, 0, "%s", error_name(lab.ended));
    cr_assert_gt(answered, 200);
    cr_assert_gt(storage_server_durable_version(lab_server(&lab)), 0);
    cr_assert_eq(storage_server_check(lab_server(&lab), NULL, NULL), 0);
    lab_done(&lab);
}

Test(storage, equals_the_model_at_every_version_through_kills_and_recoveries)
{
    for (uint64_t seed = 0; seed < 12; seed++)
        live_roughly(seed, false);
}

Test(storage, equals_the_model_when_the_simulator_meddles)
{
    for (uint64_t seed = 100; seed < 112; seed++)
        live_roughly(seed, true);
}

/* ---- one behaviour each ---- */

Test(storage, a_read_ahead_waits_for_its_version)
{
    struct lab lab;
    struct lab_state state;

    lab_owned(&lab, 1);
    lab_push_set(&lab, 10, 5, "now");
    cr_assert_eq(lab_get(&lab, 5, lab.newest, &state), 0); /* asked before the server can have it */
    cr_assert(state.present && state.len == 3);
    lab_done(&lab);
}

Test(storage, a_read_too_far_ahead_gets_future_version_after_the_wait)
{
    struct lab lab;
    struct lab_state state;
    int64_t asked_us;

    lab_owned(&lab, 2);
    asked_us = lab.world->now_us;
    cr_assert_eq(lab_get(&lab, 5, lab.newest + 1, &state), ERROR_FUTURE_VERSION);
    cr_assert_geq(lab.world->now_us - asked_us, lab.world->knobs.storage_future_version_wait_us);
    cr_assert_lt(lab.world->now_us - asked_us, lab.world->knobs.storage_future_version_wait_us + 200000);
    lab_done(&lab);
}

Test(storage, what_is_older_than_five_seconds_of_versions_is_too_old)
{
    struct lab lab;
    struct lab_state state;
    version_t old;

    lab_owned(&lab, 3);
    lab_push_set(&lab, 10, 5, "old");
    old = lab.newest;
    idle(&lab, 5);
    cr_assert_eq(lab_get(&lab, 5, old, &state), 0);
    cr_assert(state.present);
    idle(&lab, 1);
    cr_assert_eq(lab_get(&lab, 5, old, &state), ERROR_TRANSACTION_TOO_OLD);
    lab_done(&lab);
}

Test(storage, a_recoverys_jump_does_not_age_what_can_be_read)
{
    struct lab lab;
    struct lab_state state;
    version_t old;

    lab_owned(&lab, 4);
    lab_push_set(&lab, 10, 5, "old");
    old = lab.newest;
    lab_commit(&lab, old);
    lab_catch_up(&lab);
    for (int i = 0; i < 3; i++) {
        lab_recover(&lab, lab.newest);
        lab_describe(&lab);
        idle(&lab, 1);
    }
    cr_assert_gt(lab.newest, old + 3 * VERSIONS_IN_FLIGHT_MAX);
    cr_assert_eq(lab_get(&lab, 5, old, &state), 0, "3 s of versions have passed");
    idle(&lab, 3);
    cr_assert_eq(lab_get(&lab, 5, old, &state), ERROR_TRANSACTION_TOO_OLD);
    lab_done(&lab);
}

Test(storage, what_an_epoch_never_committed_is_taken_back)
{
    struct lab lab;
    struct bytes_buffer table = {0};
    struct lab_state state;
    version_t end;

    lab_owned(&lab, 5);
    lab_push_set(&lab, 10, 5, "kept");
    end = lab.newest;
    lab_commit(&lab, end);
    lab_push_set(&lab, 10, 5, "lost");
    lab_assign(&table, BYTES_LITERAL("k2"), BYTES_LITERAL("k3"), SERVER_KEYS_NONE);
    lab_push(&lab, lab.newest + 10, &table);
    lab_catch_up(&lab);
    cr_assert_eq(lab_get(&lab, 25, lab.newest, &state), ERROR_WRONG_SHARD_SERVER);
    lab_recover(&lab, end);
    lab_describe(&lab);
    lab_catch_up(&lab);
    cr_assert_eq(metric(&lab, "rollbacks"), 1);
    cr_assert(lab_check_get(&lab, 5, end));
    cr_assert(lab_check_get(&lab, 5, lab.newest));
    cr_assert(lab_check_get(&lab, 25, lab.newest), "the shard is ours again");
    lab_done(&lab);
}

Test(storage, a_history_in_which_an_epoch_ends_where_it_began_is_refused)
{
    struct lab lab;
    version_t end, version;

    lab_owned(&lab, 6);
    lab_push_set(&lab, 10, 5, "kept");
    end = lab.newest;
    lab_commit(&lab, end);
    lab_recover(&lab, end);
    lab_describe(&lab);
    lab_push_set(&lab, 10, 5, "of the epoch that is left out");
    lab_catch_up(&lab);
    version = metric(&lab, "data_version");
    lab_recover(&lab, end);
    lab.generations[1].unlisted = true;
    lab_describe(&lab);
    lab_run(&lab, 100);
    cr_assert_eq(metric(&lab, "rollbacks"), 0);
    cr_assert_eq(metric(&lab, "data_version"), version, "nothing is taken back");
    lab_done(&lab);
}

Test(storage, a_log_that_lost_its_tail_is_not_believed)
{
    struct lab lab;
    struct lab_generation *first;

    lab_owned(&lab, 7);
    sim_process_stop(lab.storage, SIM_KILL);
    lab_push_set(&lab, 10, 5, "tail");
    lab_commit(&lab, lab.newest);
    first = &lab.generations[0];
    lab_recover(&lab, lab.newest);
    first->logs[0].end = first->end - 5;
    sim_process_boot(lab.storage);
    lab_catch_up(&lab);
    cr_assert(lab_check_get(&lab, 5, lab.newest));
    lab_done(&lab);
}

Test(storage, a_logs_tail_above_the_recorded_end_is_not_taken)
{
    struct lab lab;

    lab_owned(&lab, 21);
    sim_process_stop(lab.storage, SIM_KILL);
    lab_push_set(&lab, 10, 5, "kept");
    lab_commit(&lab, lab.newest);
    lab_recover(&lab, lab.newest);
    lab.generations[0].logs[0].tail = lab.generations[0].logs[1].tail = true;
    sim_process_boot(lab.storage);
    lab_catch_up(&lab);
    cr_assert(lab_check_get(&lab, 5, lab.newest));
    cr_assert_eq(metric(&lab, "rollbacks"), 0);
    lab_done(&lab);
}

Test(storage, versions_that_run_ahead_of_what_is_committed_age_nothing)
{
    struct lab lab;
    version_t committed;

    lab_owned(&lab, 22);
    lab_push_set(&lab, 10, 5, "committed");
    committed = lab.newest;
    lab_commit(&lab, committed);
    for (int i = 0; i < 20; i++)
        lab_push_set(&lab, VERSIONS_PER_SECOND, 5, "not yet");
    lab_catch_up(&lab);
    lab_run(&lab, 3 * SIM_SECOND_US);
    cr_assert(lab_check_get(&lab, 5, committed));
    lab_recover(&lab, committed);
    lab_describe(&lab);
    lab_catch_up(&lab);
    cr_assert(lab_check_get(&lab, 5, lab.newest));
    cr_assert_eq(lab.ended, 0);
    lab_done(&lab);
}

/* Changes one byte of every value in LMDB's file. */
static void damage(struct lab *lab)
{
    static const char value[] = "sixteen bytes...";
    char path[600], file[700];
    static uint8_t content[1 << 20];
    size_t len;
    FILE *data;

    cr_assert_eq(env_real_path(&lab->storage->env, "data/storage-0000000005702a6e/lmdb", path, sizeof(path)), 0);
    snprintf(file, sizeof(file), "%s/data.mdb", path);
    data = fopen(file, "r+b");
    cr_assert_not_null(data);
    len = fread(content, 1, sizeof(content), data);
    for (size_t at = 0; at + sizeof(value) <= len; at++) {
        if (memcmp(content + at, value, sizeof(value) - 1) != 0)
            continue;
        cr_assert_eq(fseek(data, (long)at, SEEK_SET), 0);
        cr_assert_eq(fputc('S', data), 'S');
    }
    fclose(data);
    lab->storage->damaged = true;
}

Test(storage, damage_in_the_engine_is_never_an_answer)
{
    struct lab lab;
    struct lab_state state;
    int error = 0, damaged = 0;

    lab_owned(&lab, 24);
    for (unsigned key = 0; key < LAB_KEYS; key++)
        lab_push_set(&lab, 10, key, "sixteen bytes...");
    idle(&lab, 12);
    damage(&lab);
    for (unsigned key = 0; key < LAB_KEYS; key++) {
        error = lab_get(&lab, key, lab.newest, &state);
        damaged += error == ERROR_FILE_CORRUPT;
        cr_assert(error == ERROR_FILE_CORRUPT ||
                  (error == 0 && state.present && state.len == 16 && memcmp(state.bytes, "sixteen bytes...", 16) == 0));
    }
    cr_assert_gt(damaged, 0);
    cr_assert_eq(lab.ended, 0, "others are served; the distributor has the shard fetched again");
    lab_done(&lab);
}

/* A thousand keys of their own in one version. */
static void push_many(struct lab *lab, unsigned round)
{
    struct bytes_buffer table = {0};
    char key[16];

    for (unsigned i = 0; i < 1000; i++) {
        int len = snprintf(key, sizeof(key), "m%04u", (i * 7 + round * 500) % 10000);

        cr_assert_eq(mutation_append(&table, MUTATION_SET, bytes_of(key, (size_t)len), bytes_of(&round, sizeof(round))), 0);
    }
    lab_push(lab, lab->newest + VERSIONS_PER_SECOND, &table);
}

Test(storage, killed_anywhere_in_a_commit_it_goes_on_from_the_last_one)
{
    for (uint64_t seed = 30; seed < 32; seed++) {
        struct lab lab;
        unsigned in_commit = 0;

        lab_owned(&lab, seed);
        lab.world->knobs.storage_commit_interval_us = 1000;
        lab.world->settings.sync_us = 2000;
        lab_push_set(&lab, 10, 5, "all along");
        for (unsigned round = 0; round < 30; round++) {
            push_many(&lab, round);
            lab_commit(&lab, lab.newest);
            for (int i = 0; i < 400 && lab_server(&lab)->commit == NULL; i++)
                lab_run(&lab, 100);
            lab_run(&lab, (int64_t)draw(&lab, 1000));
            in_commit += lab_server(&lab)->commit != NULL;
            sim_process_stop(lab.storage, draw(&lab, 2) == 0 ? SIM_KILL : SIM_POWER_OFF);
            lab_run(&lab, 1000);
            sim_process_boot(lab.storage);
            lab_catch_up(&lab);
            for (int tries = 0; !lab_check_get(&lab, 5, lab.newest); tries++) { /* the reader's connection was lost */
                cr_assert_lt(tries, 5);
                lab_run(&lab, 100000);
            }
        }
        cr_assert_gt(in_commit, 5);
        cr_assert_eq(lab.ended, 0);
        idle(&lab, 8);
        cr_assert_gt(metric(&lab, "keys"), 3000);
        cr_assert_eq(storage_server_check(lab_server(&lab), NULL, NULL), 0);
        lab_done(&lab);
    }
}

static void add_name(void *ctx, const char *name)
{
    strncat(ctx, name, 100);
}

Test(storage, a_removed_servers_files_are_gone)
{
    struct lab lab;
    struct role_context context;

    for (uint64_t seed = 26; seed < 28; seed++) {
        char names[200] = "";

        lab_owned(&lab, seed);
        lab_push_set(&lab, 10, 5, "gone");
        idle(&lab, 8);
        context = (struct role_context){.env = &lab.storage->env, .data_directory = "data"};
        lab_forget_server(&lab);
        lab_run(&lab, SIM_SECOND_US);
        cr_assert_eq(storage_server_remove(&context, LAB_SERVER_ID), 0);
        cr_assert_eq(env_dir_list(context.env, "data", add_name, names), 0);
        cr_assert_str_empty(names);
        lab_done(&lab);
    }
}

Test(storage, without_a_whole_log_the_generations_end_is_never_reached)
{
    struct lab lab;
    struct lab_generation *first;

    lab_owned(&lab, 8);
    sim_process_stop(lab.storage, SIM_KILL);
    lab_push_set(&lab, 10, 5, "tail");
    lab_commit(&lab, lab.newest);
    first = &lab.generations[0];
    lab_recover(&lab, lab.newest);
    first->logs[0].end = first->logs[1].end = first->end - 5;
    sim_process_boot(lab.storage);
    lab_run(&lab, 3 * SIM_SECOND_US);
    cr_assert_eq(storage_version(lab_server(&lab)), first->end - 5);
    cr_assert_lt(first->logs[0].peeks + first->logs[1].peeks, 100, "and it does not ask all the time");
    lab_done(&lab);
}

Test(storage, durable_above_the_recorded_end_stops_the_server)
{
    struct lab lab;
    version_t end;

    lab_owned(&lab, 9);
    end = lab.newest;
    idle(&lab, 12);
    cr_assert_gt(storage_server_durable_version(lab_server(&lab)), end);
    lab.world->errors_allowed = 1;
    lab.known_committed = end; /* somebody lies */
    lab_recover(&lab, end);
    lab_describe(&lab);
    cr_assert_eq(lab.ended, ERROR_INTERNAL_ERROR);
    lab_done(&lab);
}

Test(storage, a_restarted_server_knows_its_epoch)
{
    struct lab lab;
    version_t end;

    lab_owned(&lab, 10);
    end = lab.newest;
    idle(&lab, 12);
    sim_process_stop(lab.storage, SIM_POWER_OFF);
    lab.world->errors_allowed = 1;
    lab.known_committed = end;
    lab_recover(&lab, end);
    sim_process_boot(lab.storage);
    cr_assert_eq(lab.ended, ERROR_INTERNAL_ERROR);
    lab_done(&lab);
}

Test(storage, popped_above_durable_means_removed)
{
    struct lab lab;

    lab_owned(&lab, 11);
    lab.generations[0].logs[0].popped = lab.generations[0].logs[1].popped = lab.newest + 1;
    lab_push_empty(&lab, 10);
    lab_run(&lab, SIM_SECOND_US);
    cr_assert_eq(lab.ended, ERROR_WORKER_REMOVED);
    lab_done(&lab);
}

Test(storage, whose_tag_is_nobodys_was_removed_and_its_files_may_go)
{
    struct lab lab;
    struct lab_generation *generation;

    lab_owned(&lab, 35);
    generation = &lab.generations[0];
    generation->logs[0].popped = generation->logs[1].popped = VERSION_MAX;
    lab_push_set(&lab, 10, 5, "never taken");
    lab_run(&lab, SIM_SECOND_US);
    cr_assert_eq(lab.ended, ERROR_WORKER_REMOVED);
    cr_assert(storage_server_was_removed(lab_server(&lab)));
    lab_done(&lab);
}

Test(storage, nonsense_from_a_log_is_counted_and_another_log_asked)
{
    struct lab lab;

    lab_owned(&lab, 12);
    for (unsigned i = 0; i < 60; i++) {
        lab.generations[0].logs[i % 2].broken = true;
        lab.generations[0].logs[1 - i % 2].broken = false;
        lab_push_set(&lab, 1, 5, "fine");
        lab_run(&lab, 1000000);
    }
    lab_catch_up(&lab);
    cr_assert_gt(metric(&lab, "malformed_replies"), 20);
    cr_assert(lab_check_get(&lab, 5, lab.newest));
    lab_done(&lab);
}

Test(storage, a_shard_is_read_only_where_and_since_it_is_held)
{
    struct lab lab;
    struct bytes_buffer table = {0};
    struct lab_state state;
    version_t before;

    lab_init(&lab, 13, ENGINE_MEMORY, false);
    lab_push_empty(&lab, 10);
    before = lab.newest;
    lab_assign(&table, BYTES_LITERAL("k1"), BYTES_LITERAL("k2"), SERVER_KEYS_OWNED_EMPTY);
    lab_assign(&table, BYTES_LITERAL("k2"), BYTES_LITERAL("k3"), SERVER_KEYS_OWNED_EMPTY);
    lab_assign(&table, BYTES_LITERAL("k3"), BYTES_LITERAL("k4"), SERVER_KEYS_FETCH);
    lab_push(&lab, lab.newest + 10, &table);
    lab_catch_up(&lab);
    cr_assert_eq(lab_get(&lab, 15, before, &state), ERROR_WRONG_SHARD_SERVER);
    cr_assert_eq(lab_get(&lab, 15, lab.newest, &state), 0);
    cr_assert_eq(lab_get(&lab, 25, lab.newest, &state), 0);
    cr_assert_eq(lab_get(&lab, 35, lab.newest, &state), ERROR_WRONG_SHARD_SERVER);
    cr_assert_eq(lab_get(&lab, 5, lab.newest, &state), ERROR_WRONG_SHARD_SERVER);
    cr_assert(lab_check_range(&lab, 11, 29, lab.newest, 0, false), "two shards side by side");
    lab_done(&lab);
}

static int range_error(struct lab *lab, struct bytes begin, struct bytes end)
{
    struct message *request, *reply;
    struct get_range *m = MESSAGE_NEW(get_range, &request);
    int error;

    *m = (struct get_range){.begin = begin, .end = end, .version = lab->newest};
    reply = lab_ask(lab, request, &error);
    message_unref(reply);
    return error;
}

Test(storage, a_range_of_keys_alone_has_no_values)
{
    struct lab lab;
    struct message *request, *reply;
    const struct get_range_reply *body;
    struct get_range *m;
    int error;

    lab_owned(&lab, 14);
    lab_push_set(&lab, 10, 5, "five");
    lab_push_set(&lab, 10, 7, "seven");
    lab_catch_up(&lab);
    m = MESSAGE_NEW(get_range, &request);
    *m = (struct get_range){.begin = BYTES_LITERAL("k"), .end = BYTES_LITERAL("l"), .version = lab.newest, .keys_only = true};
    reply = lab_ask(&lab, request, &error);
    cr_assert_eq(error, 0);
    body = MESSAGE_BODY(get_range_reply, reply);
    cr_assert(bytes_equal(body->pairs, BYTES_LITERAL("\3\0\0\0\0\0\0\0k05\3\0\0\0\0\0\0\0k07")));
    cr_assert(body->count == 2 && !body->more);
    message_unref(reply);
    lab_done(&lab);
}

Test(storage, a_range_beyond_what_is_held_is_refused)
{
    struct lab lab;
    struct bytes_buffer table = {0};

    lab_init(&lab, 14, ENGINE_MEMORY, false);
    lab_assign(&table, BYTES_LITERAL("k1"), BYTES_LITERAL("k2"), SERVER_KEYS_OWNED_EMPTY);
    lab_push(&lab, 10, &table);
    lab_catch_up(&lab);
    cr_assert_eq(range_error(&lab, BYTES_LITERAL("k1"), BYTES_LITERAL("k2")), 0);
    cr_assert_eq(range_error(&lab, BYTES_LITERAL("k1"), BYTES_LITERAL("k20")), ERROR_WRONG_SHARD_SERVER);
    cr_assert_eq(range_error(&lab, BYTES_LITERAL("k0"), BYTES_LITERAL("k2")), ERROR_WRONG_SHARD_SERVER);
    cr_assert_eq(range_error(&lab, BYTES_LITERAL("k2"), BYTES_LITERAL("k1")), ERROR_INVERTED_RANGE);
    cr_assert_eq(range_error(&lab, BYTES_LITERAL("k9"), BYTES_LITERAL("k9")), 0, "nothing is asked for");
    lab_done(&lab);
}

Test(storage, a_shard_given_up_is_gone_from_the_engine_and_after_a_restart)
{
    struct lab lab;
    struct bytes_buffer table = {0};
    struct lab_state state;

    lab_owned(&lab, 15);
    lab_push_set(&lab, 10, 5, "stays");
    lab_push_set(&lab, 10, 25, "goes");
    idle(&lab, 12);
    cr_assert_eq(metric(&lab, "keys"), 2);
    lab_assign(&table, BYTES_LITERAL("k2"), BYTES_LITERAL("k3"), SERVER_KEYS_NONE);
    lab_push(&lab, lab.newest + 10, &table);
    lab_catch_up(&lab);
    cr_assert_eq(lab_get(&lab, 25, lab.newest - 5, &state), ERROR_WRONG_SHARD_SERVER, "at once, for older versions too");
    idle(&lab, 12);
    cr_assert_eq(metric(&lab, "keys"), 1);
    sim_process_stop(lab.storage, SIM_KILL);
    sim_process_boot(lab.storage);
    lab_run(&lab, SIM_SECOND_US);
    cr_assert_eq(lab_get(&lab, 25, lab.newest, &state), ERROR_WRONG_SHARD_SERVER);
    cr_assert(lab_check_get(&lab, 5, lab.newest));
    lab_done(&lab);
}

Test(storage, an_idle_server_commits_rarely_but_its_logs_are_popped)
{
    struct lab lab;
    int64_t before;

    lab_owned(&lab, 16);
    idle(&lab, 20);
    before = metric(&lab, "commits");
    idle(&lab, 60);
    cr_assert_leq(metric(&lab, "commits") - before, 13);
    cr_assert_gt(lab.generations[0].logs[0].popped, lab.newest - 15 * VERSIONS_PER_SECOND);
    cr_assert_eq(lab.generations[0].logs[0].popped, lab.generations[0].logs[1].popped);
    cr_assert_eq(lab.durable_reports, 0, "one generation lives: the controller needs nothing");
    lab_done(&lab);
}

Test(storage, the_end_of_an_old_generation_is_made_durable_at_once)
{
    struct lab lab;
    version_t end;
    int64_t from_us, commits;

    lab_owned(&lab, 17);
    idle(&lab, 12);
    for (commits = metric(&lab, "commits"); metric(&lab, "commits") == commits;)
        idle(&lab, 1);
    idle(&lab, 2); /* the next commit of mere progress is 3 s away, and the one after it 8 */
    end = lab.newest;
    lab_recover(&lab, end);
    lab_describe(&lab);
    from_us = lab.world->now_us;
    while (lab.reported_durable < end && lab.world->now_us < from_us + 8 * SIM_SECOND_US) {
        lab_push_empty(&lab, VERSIONS_PER_SECOND / 10);
        lab_commit(&lab, lab.newest);
        lab_run(&lab, SIM_SECOND_US / 10);
    }
    cr_assert_geq(lab.reported_durable, end);
    cr_assert_lt(lab.world->now_us - from_us, 6 * SIM_SECOND_US, "five seconds of versions, not more");
    lab_done(&lab);
}

Test(storage, when_memory_presses_history_goes_and_nothing_else)
{
    struct lab lab;
    char value[LAB_VALUE_MAX + 1];

    lab_init(&lab, 18, ENGINE_LMDB, false);
    lab.storage->env.knobs.storage_memory_bytes_max = 300000;
    own_everything(&lab);
    for (int i = 0; i < 20000; i++) {
        snprintf(value, sizeof(value), "%d", i);
        lab_push_set(&lab, 100, (unsigned)i % LAB_KEYS, value);
        if (i % 100 == 0) {
            lab_commit(&lab, lab.newest);
            lab_run(&lab, 10000);
            cr_assert_lt(metric(&lab, "window_bytes"), 1000000);
        }
    }
    lab_commit(&lab, lab.newest);
    lab_catch_up(&lab);
    for (unsigned key = 0; key < LAB_KEYS; key++)
        cr_assert(lab_check_get(&lab, key, lab.newest));
    cr_assert_gt(metric(&lab, "commits"), 5);
    lab_done(&lab);
}

Test(storage, memory_that_nothing_can_free_does_not_stop_the_pull)
{
    struct lab lab;

    lab_init(&lab, 19, ENGINE_MEMORY, false);
    lab.storage->env.knobs.storage_memory_bytes_max = 100000;
    own_everything(&lab);
    for (int i = 0; i < 5000; i++)
        lab_push_set(&lab, 100, (unsigned)i % LAB_KEYS, "uncommitted");
    lab_catch_up(&lab);
    cr_assert_gt(metric(&lab, "window_bytes"), 100000);
    cr_assert_eq(storage_server_durable_version(lab_server(&lab)), 0);
    lab_commit(&lab, lab.newest);
    lab_run(&lab, 2 * SIM_SECOND_US);
    cr_assert_lt(metric(&lab, "window_bytes"), 100000);
    lab_done(&lab);
}

/* A version a second, each with something to write. */
static void seconds_of_writes(struct lab *lab, int seconds)
{
    for (int i = 0; i < seconds; i++) {
        lab_push_random(lab, VERSIONS_PER_SECOND);
        lab_commit(lab, lab->newest);
        lab_run(lab, SIM_SECOND_US);
    }
}

Test(storage, commits_of_the_engine_give_way_unless_that_starves_them)
{
    struct lab lab;

    lab_init(&lab, 21, ENGINE_LMDB, false);
    own_everything(&lab);
    seconds_of_writes(&lab, 20);
    cr_assert_eq(lab_server(&lab)->hurry_us, 0);
    lab.world->settings.job_us = SIM_SECOND_US / 2; /* ten times that for one that gives way */
    seconds_of_writes(&lab, 60);
    cr_assert_gt(lab_server(&lab)->hurry_us, 10 * SIM_SECOND_US, "tried again, and given up for longer");
    lab.world->settings.job_us = 100;
    seconds_of_writes(&lab, 60);
    cr_assert(lab_server(&lab)->hurry_us == 0 && !storage_engine_hurries(lab_server(&lab)));
    lab_done(&lab);
}

Test(storage, one_message_is_answered_get_by_get)
{
    struct lab lab;
    struct message *request, *answer;
    struct get_values *m = MESSAGE_NEW(get_values, &request);
    const struct get_values_reply *reply;
    int error;

    lab_owned(&lab, 20);
    idle(&lab, 8);
    lab_push_set(&lab, 10, 5, "here");
    m->gets = arena_zalloc(&request->arena, 4 * sizeof(*m->gets));
    m->gets_count = 4;
    m->gets[0] = (struct get_value){BYTES_LITERAL("k05"), lab.newest};
    m->gets[1] = (struct get_value){BYTES_LITERAL("k05"), 1};
    m->gets[2] = (struct get_value){BYTES_LITERAL("\xff/conf/logs"), lab.newest};
    m->gets[3] = (struct get_value){BYTES_LITERAL("k05"), lab.newest + 1000};
    answer = lab_ask(&lab, request, &error);
    cr_assert_eq(error, 0);
    reply = MESSAGE_BODY(get_values_reply, answer);
    cr_assert_eq(reply->values_count, 4);
    cr_assert(reply->values[0].error == 0 && reply->values[0].present);
    cr_assert_eq(reply->values[1].error, ERROR_TRANSACTION_TOO_OLD);
    cr_assert_eq(reply->values[2].error, ERROR_WRONG_SHARD_SERVER);
    cr_assert_eq(reply->values[3].error, ERROR_FUTURE_VERSION);
    message_unref(answer);
    lab_done(&lab);
}
