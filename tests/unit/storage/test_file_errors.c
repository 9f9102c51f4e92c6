/* Each file call of both engines and of the slots fails once, on real files: LMDB's own calls as well, which no env sees. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "net/env_posix.h"
#include "net/error.h"
#include "storage/diskqueue.h"
#include "storage/engine.h"
#include "tests/unit/nth_files.h"

enum { COMMITS = 5, VALUE_BYTES = 9000 };

/* A directory of the test's own, and what has been acknowledged in it. */
struct place {
    struct env *env;
    struct engine *engine;
    enum engine_kind kind;
    char top[64], directory[80];
    bool came; /* what the loop was run for */
    int error;
    uint64_t tried, acknowledged, failed; /* the commit that failed: there or not */
};

/* In memory: which calls fail is the point, not how long a sync takes. */
static void place_init(struct place *place, enum engine_kind kind)
{
    struct env_posix_options options = {0};

    *place = (struct place){.kind = kind, .top = "/dev/shm/quoin_errors_XXXXXX"};
    cr_assert_not_null(mkdtemp(place->top));
    snprintf(place->directory, sizeof(place->directory), "%s/e", place->top);
    cr_assert_eq(env_posix_create(&options, &place->env), 0);
    place->env->knobs.storage_engine_map_bytes = 1 << 26;
    place->env->knobs.log_segment_bytes = 1 << 15; /* so that the memory engine begins new segments */
}

static void place_done(struct place *place)
{
    cr_assert_eq(engine_remove(place->env, place->directory), 0);
    env_posix_destroy(place->env);
    cr_assert_eq(rmdir(place->top), 0);
}

static struct place *running;

static void came(int error)
{
    running->came = true;
    running->error = error;
    env_posix_stop(running->env);
}

static int wait_for(struct place *place)
{
    while (!place->came)
        env_posix_run(place->env);
    place->came = false;
    return place->error;
}

static void commit_done(struct engine_commit *commit, int error)
{
    (void)commit;
    came(error);
}

static void closed(void *ctx)
{
    (void)ctx;
    came(0);
}

static void close_engine(struct place *place)
{
    running = place;
    engine_release(place->engine);
    engine_close(place->engine, closed, NULL);
    wait_for(place);
}

/* Commit i writes key i and the meta record "number" = i. */
static int commit_number(struct place *place, uint64_t number)
{
    static uint8_t value[VALUE_BYTES];
    uint8_t key[8], count[8];
    struct engine_change change = {ENGINE_SET, bytes_of(key, 8), bytes_of(value, sizeof(value))};
    struct engine_meta meta = {"number", bytes_of(count, 8)};
    struct engine_commit commit = {.changes = &change, .change_count = 1, .meta = &meta, .meta_count = 1, .done = commit_done};

    put_be64(key, number);
    put_le64(count, number);
    running = place;
    engine_commit_start(place->engine, &commit);
    return wait_for(place);
}

/* Opens, commits until an error, closes. */
static void live(struct place *place)
{
    int error = engine_open(place->env, place->kind, place->directory, &place->engine);

    if (error != 0) {
        cr_assert_eq(error, ERROR_IO_ERROR);
        return;
    }
    while (error == 0 && place->tried < place->acknowledged + COMMITS && place->tried < 2 * COMMITS) {
        error = commit_number(place, ++place->tried);
        *(error == 0 ? &place->acknowledged : &place->failed) = place->tried;
    }
    cr_assert(error == 0 || error == ERROR_IO_ERROR);
    close_engine(place);
}

static uint64_t number_in(struct place *place)
{
    struct bytes number;
    bool found;

    cr_assert_eq(engine_meta_get(place->engine, "number", &found, &number), 0);
    return found ? get_le64(number.ptr) : 0;
}

/* The next life has all that was acknowledged, nothing by half, and goes on. */
static void check_reopened(struct place *place)
{
    uint64_t number;
    struct bytes value;
    uint8_t key[8];
    bool found;

    cr_assert_eq(engine_open(place->env, place->kind, place->directory, &place->engine), 0);
    number = number_in(place);
    cr_assert_geq(number, place->acknowledged, "%lu is gone", place->acknowledged);
    cr_assert_leq(number, place->tried);
    for (uint64_t i = 1; i <= place->tried; i++) {
        put_be64(key, i);
        cr_assert_eq(engine_get(place->engine, bytes_of(key, 8), &found, &value), 0);
        cr_assert(found == (i <= number) || i == place->failed);
        cr_assert(!found || value.len == VALUE_BYTES);
    }
    cr_assert_eq(engine_check(place->engine, NULL, NULL), 0);
    engine_release(place->engine);
    cr_assert_eq(commit_number(place, number + 1), 0);
    close_engine(place);
}

static void fail_each_call(enum engine_kind kind)
{
    FAIL_EACH(nth, nth_file_call) {
        struct place place;

        place_init(&place, kind);
        nth_begin(&nth, place.directory);
        live(&place);
        live(&place); /* what is there already is opened by other calls */
        nth_end(&nth);
        cr_assert(nth.fired || place.acknowledged == 2 * COMMITS);
        check_reopened(&place);
        place_done(&place);
    }
}

Test(file_errors, any_failing_call_of_lmdb_is_an_error_and_loses_nothing, .timeout = 120)
{
    fail_each_call(ENGINE_LMDB);
}

Test(file_errors, any_failing_call_of_the_memory_engine_is_an_error_and_loses_nothing, .timeout = 120)
{
    fail_each_call(ENGINE_MEMORY);
}

/* ---- slots ---- */

/* Opens, writes numbers until an error, closes; returns the number that it found, or `unknown` when it could not open. */
static uint64_t write_numbers(struct env *env, const char *path, uint64_t *tried, uint64_t *acknowledged, uint64_t unknown)
{
    struct arena arena = {0};
    struct slots *slots = NULL;
    struct bytes record;
    uint64_t found = unknown;
    uint8_t bytes[8];
    int error = slots_open(env, path, &arena, &record, &slots);

    if (error == 0)
        found = record.len == 0 ? 0 : get_le64(record.ptr);
    else
        cr_assert_eq(error, ERROR_IO_ERROR);
    for (int i = 0; error == 0 && i < 4; i++) {
        put_le64(bytes, ++*tried);
        error = slots_write_now(slots, bytes_of(bytes, 8));
        if (error == 0)
            *acknowledged = *tried;
    }
    cr_assert(error == 0 || error == ERROR_IO_ERROR);
    slots_close(slots);
    arena_done(&arena);
    return found;
}

Test(file_errors, any_failing_call_of_slots_is_an_error_and_loses_nothing)
{
    FAIL_EACH(nth, nth_file_call) {
        uint64_t tried = 0, acknowledged = 0, found, least, most;
        struct place place;
        char path[100];

        place_init(&place, ENGINE_MEMORY);
        cr_assert_eq(env_dir_make(place.env, place.directory), 0);
        snprintf(path, sizeof(path), "%s/slots", place.directory);
        nth_begin(&nth, place.directory);
        for (int life = 0; life < 2; life++)
            write_numbers(place.env, path, &tried, &acknowledged, 0);
        nth_end(&nth);
        least = acknowledged;
        most = tried;
        found = write_numbers(place.env, path, &tried, &acknowledged, UINT64_MAX);
        cr_assert(found >= least && found <= most, "%lu found, %lu acknowledged", found, least);
        env_remove(place.env, path);
        cr_assert_eq(rmdir(place.directory), 0);
        env_posix_destroy(place.env);
        cr_assert_eq(rmdir(place.top), 0);
    }
}
