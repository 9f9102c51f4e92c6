/* See moves_bench.h. */
#include "tests/unit/roles/moves_bench.h"

#include "sim/buggify.h"

uint64_t draw(struct lab *lab, uint64_t below)
{
    return sim_random_below(&lab->world->workload, below);
}

version_t assign(struct lab *lab, struct bytes begin, struct bytes end, enum server_keys_state state)
{
    struct bytes_buffer table = {0};

    lab_assign(&table, begin, end, state);
    lab_push(lab, lab->newest + 10, &table);
    return lab->newest;
}

void bench_init(struct bench *bench, uint64_t seed, bool buggify)
{
    struct lab *lab = &bench->lab;

    lab_init(lab, seed, seed % 2 == 0 ? ENGINE_LMDB : ENGINE_MEMORY, buggify);
    source_init(&bench->source, lab);
    assign(lab, bytes_none(), OWN_END, SERVER_KEYS_OWNED_EMPTY);
    for (unsigned key = 0; key < LAB_KEYS; key += 1 + key % 3)
        lab_push_set(lab, 10, key, "before");
    lab_commit(lab, lab->newest);
    lab_catch_up(lab);
    if (buggify)
        lab->world->buggify->quiet = false;
}

void bench_done(struct bench *bench)
{
    source_done(&bench->source);
    lab_done(&bench->lab);
}

void idle(struct lab *lab, unsigned seconds)
{
    for (unsigned i = 0; i < seconds; i++) {
        lab_push_empty(lab, VERSIONS_PER_SECOND);
        lab_commit(lab, lab->newest);
        lab_run(lab, SIM_SECOND_US);
    }
}

int ask_progress_of(struct lab *lab, version_t version, int64_t wait_us, bool heals, bool *ret_ready)
{
    struct message *request, *reply;
    struct get_shard_progress *m = MESSAGE_NEW(get_shard_progress, &request);
    int error;

    *m = (struct get_shard_progress){.begin = OWN_END, .end = MOVED_END, .version = version, .wait_us = wait_us, .heals = heals};
    reply = lab_ask(lab, request, &error);
    *ret_ready = error == 0 && MESSAGE_BODY(shard_progress, reply)->ready;
    cr_assert(error != 0 || MESSAGE_BODY(shard_progress, reply)->version >= version);
    message_unref(reply);
    return error;
}

int ask_progress(struct lab *lab, version_t version, int64_t wait_us, bool *ret_ready)
{
    return ask_progress_of(lab, version, wait_us, false, ret_ready);
}

bool is_ready(struct lab *lab, version_t version)
{
    bool ready;
    int error = ask_progress(lab, version, 0, &ready);

    cr_assert(error == 0 || error == ERROR_FUTURE_VERSION || error == ERROR_CONNECTION_FAILED || error == ERROR_REQUEST_MAYBE_DELIVERED ||
              error == ERROR_BROKEN_PROMISE, "%s", error_name(error));
    return ready;
}

void finish(struct lab *lab, version_t version)
{
    for (int i = 0; !is_ready(lab, version); i++) {
        cr_assert_lt(i, 40, "not fetched after 40 s");
        idle(lab, 1);
    }
    assign(lab, OWN_END, MOVED_END, SERVER_KEYS_READY);
    lab_commit(lab, lab->newest);
    lab_catch_up(lab);
}

void compare(struct lab *lab)
{
    cr_assert_eq(lab->ended, 0, "%s", error_name(lab->ended));
    for (unsigned key = 0; key < LAB_KEYS; key++)
        cr_assert(lab_check_get(lab, key, lab->newest), "k%02u", key);
    cr_assert(lab_check_range(lab, 0, LAB_KEYS, lab->newest, 0, false));
    cr_assert(lab_check_range(lab, 0, LAB_KEYS, lab->newest, 3, true));
}

struct moves *moves_of(struct lab *lab)
{
    return &lab_server(lab)->moves;
}

void until_held(struct bench *bench)
{
    for (int i = 0; list_empty(&bench->source.held); i++) {
        cr_assert_lt(i, 100);
        lab_commit(&bench->lab, bench->lab.newest);
        lab_run(&bench->lab, 20000);
    }
}

version_t begin_held(struct bench *bench)
{
    version_t version;

    bench->source.moods[0] = bench->source.moods[1] = SOURCE_HOLDS;
    version = assign(&bench->lab, OWN_END, MOVED_END, SERVER_KEYS_FETCH);
    until_held(bench);
    return version;
}

void go_straight(struct lab *lab)
{
    lab->world->knobs.storage_fetch_store_bytes = 1;
    lab_server(lab)->env->knobs.storage_fetch_store_bytes = 1;
    idle(lab, 8); /* the window is empty: what was written in the range before is not in the way */
}
