#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net/env_posix.h"
#include "net/error.h"
#include "net/mem.h"
#include "storage/engine.h"
#include "tests/unit/draw.h"
#include "tests/unit/nth.h"
#include "txn/kv_map.h"

/* Both engines against an ordered map, on real files in a directory of the test's own. */

enum { CHANGES_MAX = 200, KEY_MAX = 2600 };

struct bench {
    struct env *env;
    struct engine *engine;
    enum engine_kind kind;
    char top[64], directory[80];
    bool closed;
};

static void bench_open_with(struct bench *bench, enum engine_kind kind, int64_t map_bytes)
{
    struct env_posix_options options = {0};

    memset(bench, 0, sizeof(*bench));
    bench->kind = kind;
    strcpy(bench->top, "/tmp/quoin_engine_XXXXXX");
    cr_assert_not_null(mkdtemp(bench->top));
    snprintf(bench->directory, sizeof(bench->directory), "%s/e", bench->top);
    cr_assert_eq(env_posix_create(&options, &bench->env), 0);
    bench->env->knobs.storage_engine_nosync = 1;
    bench->env->knobs.storage_engine_map_bytes = map_bytes;
    bench->env->knobs.log_segment_bytes = 1 << 18;
    cr_assert_eq(engine_open(bench->env, kind, bench->directory, &bench->engine), 0);
}

static void bench_init(struct bench *bench, enum engine_kind kind)
{
    bench_open_with(bench, kind, 1 << 30);
}

static void note_closed(void *ctx)
{
    struct bench *bench = ctx;

    bench->closed = true;
    env_posix_stop(bench->env);
}

static void bench_close(struct bench *bench)
{
    engine_release(bench->engine);
    bench->closed = false;
    engine_close(bench->engine, note_closed, bench);
    while (!bench->closed)
        env_posix_run(bench->env);
    bench->engine = NULL;
}

static void bench_reopen(struct bench *bench)
{
    bench_close(bench);
    cr_assert_eq(engine_open(bench->env, bench->kind, bench->directory, &bench->engine), 0);
}

static void bench_done(struct bench *bench)
{
    if (bench->engine != NULL)
        bench_close(bench);
    cr_assert_eq(engine_remove(bench->env, bench->directory), 0);
    env_posix_destroy(bench->env);
    cr_assert_eq(rmdir(bench->top), 0); /* nothing is left */
}

struct one_commit {
    struct engine_commit commit;
    struct bench *bench;
    bool done;
    int error;
};

static void note_done(struct engine_commit *commit, int error)
{
    struct one_commit *one = container_of(commit, struct one_commit, commit);

    one->done = true;
    one->error = error;
    env_posix_stop(one->bench->env);
}

static int commit_changes(struct bench *bench, const struct engine_change *changes, size_t change_count,
                          const struct engine_meta *meta, size_t meta_count)
{
    struct one_commit one = {.commit = {.changes = changes, .change_count = change_count, .meta = meta,
                                        .meta_count = meta_count, .done = note_done},
                             .bench = bench};

    engine_release(bench->engine);
    engine_commit_start(bench->engine, &one.commit);
    while (!one.done)
        env_posix_run(bench->env);
    return one.error;
}

static void set_one(struct bench *bench, struct bytes key, struct bytes value)
{
    struct engine_change change = {ENGINE_SET, key, value};

    cr_assert_eq(commit_changes(bench, &change, 1, NULL, 0), 0);
}

static bool get_is(struct bench *bench, struct bytes key, struct bytes value)
{
    struct bytes got;
    bool found;

    return engine_get(bench->engine, key, &found, &got) == 0 && found && bytes_equal(got, value);
}

static void on_both(void (*run)(struct bench *bench))
{
    struct bench bench;

    for (int kind = ENGINE_LMDB; kind <= ENGINE_MEMORY; kind++) {
        bench_init(&bench, (enum engine_kind)kind);
        run(&bench);
        bench_done(&bench);
    }
}

static void run_survives(struct bench *bench)
{
    struct engine_meta meta[2] = {{"shard", BYTES_LITERAL("42")}, {"tag", BYTES_LITERAL("7")}};
    struct engine_change change = {ENGINE_SET, BYTES_LITERAL("a"), BYTES_LITERAL("1")};
    struct bytes value;
    bool found;

    cr_assert_eq(commit_changes(bench, &change, 1, meta, 2), 0);
    meta[0].value = bytes_none();
    cr_assert_eq(commit_changes(bench, NULL, 0, meta, 1), 0);
    bench_reopen(bench);
    cr_assert(get_is(bench, BYTES_LITERAL("a"), BYTES_LITERAL("1")));
    cr_assert_eq(engine_meta_get(bench->engine, "shard", &found, &value), 0);
    cr_assert(!found);
    cr_assert_eq(engine_meta_get(bench->engine, "tag", &found, &value), 0);
    cr_assert(found && bytes_equal(value, BYTES_LITERAL("7")));
    cr_assert_eq(engine_get(bench->engine, BYTES_LITERAL("b"), &found, &value), 0);
    cr_assert(!found);
}

Test(engine, what_was_committed_is_there_after_opening_again)
{
    on_both(run_survives);
}

/* A bounded clear does some of it each time, never more than the range, and comes to an end. */
static void run_bounded_clear(struct bench *bench)
{
    static uint8_t long_key[1200];
    struct engine_change clear = {ENGINE_CLEAR_RANGE, BYTES_LITERAL("k10"), BYTES_LITERAL("k90")};
    struct engine_status status;
    uint64_t keys, commits = 0;
    char key[16];

    for (int i = 0; i < 100; i++) {
        snprintf(key, sizeof(key), "k%02d", i);
        set_one(bench, bytes_of_string(key), BYTES_LITERAL("0123456789"));
    }
    memset(long_key, 'k', sizeof(long_key));
    memcpy(long_key, "k50", 3);
    set_one(bench, bytes_of(long_key, sizeof(long_key)), BYTES_LITERAL("long"));
    set_one(bench, bytes_of(long_key, sizeof(long_key) - 1), BYTES_LITERAL("long as well"));
    engine_status(bench->engine, &status);
    do {
        struct one_commit one = {.commit = {.changes = &clear, .change_count = 1, .clear_bytes_max = 60, .done = note_done}, .bench = bench};

        keys = status.keys;
        engine_release(bench->engine);
        engine_commit_start(bench->engine, &one.commit);
        while (!one.done)
            env_posix_run(bench->env);
        cr_assert_eq(one.error, 0);
        engine_status(bench->engine, &status);
        commits++;
        cr_assert(bench->kind == ENGINE_MEMORY || keys - status.keys <= 6, "%llu", (unsigned long long)(keys - status.keys));
    } while (status.keys != keys);
    cr_assert_eq(status.keys, 20);
    cr_assert(bench->kind == ENGINE_MEMORY ? commits == 2 : commits > 20);
    cr_assert(get_is(bench, BYTES_LITERAL("k09"), BYTES_LITERAL("0123456789")) && get_is(bench, BYTES_LITERAL("k90"), BYTES_LITERAL("0123456789")));
    cr_assert_eq(engine_check(bench->engine, NULL, NULL), 0);
}

Test(engine, a_bounded_clear_does_a_part_each_time)
{
    on_both(run_bounded_clear);
}

static void run_empty_and_large(struct bench *bench)
{
    static uint8_t key[SYSTEM_KEY_BYTES_MAX], value[VALUE_BYTES_MAX];
    struct bytes long_key = bytes_of(key, sizeof(key)), long_value = bytes_of(value, sizeof(value));

    memset(key, 0xff, sizeof(key));
    memset(value, 7, sizeof(value));
    set_one(bench, bytes_none(), BYTES_LITERAL("empty key"));
    set_one(bench, BYTES_LITERAL("e"), bytes_none());
    set_one(bench, long_key, long_value);
    set_one(bench, bytes_of(key, 501), BYTES_LITERAL("501"));
    bench_reopen(bench);
    cr_assert(get_is(bench, bytes_none(), BYTES_LITERAL("empty key")));
    cr_assert(get_is(bench, BYTES_LITERAL("e"), bytes_none()));
    cr_assert(get_is(bench, long_key, long_value));
    cr_assert(get_is(bench, bytes_of(key, 501), BYTES_LITERAL("501")));
    cr_assert_eq(engine_check(bench->engine, NULL, NULL), 0);
}

Test(engine, the_empty_key_the_empty_value_and_the_largest_of_both)
{
    on_both(run_empty_and_large);
}

/* What is borrowed in a turn stays as it was; what is read after done() is new. */
static void run_borrowed(struct bench *bench)
{
    struct engine_change change = {ENGINE_SET, BYTES_LITERAL("k"), BYTES_LITERAL("new")};
    struct one_commit one = {.commit = {.changes = &change, .change_count = 1, .done = note_done}, .bench = bench};
    struct bytes old;
    bool found;

    set_one(bench, BYTES_LITERAL("k"), BYTES_LITERAL("old"));
    cr_assert_eq(engine_get(bench->engine, BYTES_LITERAL("k"), &found, &old), 0);
    engine_commit_start(bench->engine, &one.commit);
    if (bench->kind == ENGINE_LMDB) {
        while (!one.done)
            env_posix_run(bench->env);
        cr_assert(bytes_equal(old, BYTES_LITERAL("old")));
        cr_assert(get_is(bench, BYTES_LITERAL("k"), BYTES_LITERAL("new")));
        cr_assert(bytes_equal(old, BYTES_LITERAL("old")));
    }
    engine_release(bench->engine);
    while (!one.done)
        env_posix_run(bench->env);
    cr_assert(get_is(bench, BYTES_LITERAL("k"), BYTES_LITERAL("new")));
}

Test(engine, what_is_borrowed_outlives_a_commit_that_completes)
{
    on_both(run_borrowed);
}

static void run_closing(struct bench *bench)
{
    struct engine_change change = {ENGINE_SET, BYTES_LITERAL("k"), BYTES_LITERAL("v")};
    struct one_commit one = {.commit = {.changes = &change, .change_count = 1, .done = note_done}, .bench = bench};

    engine_commit_start(bench->engine, &one.commit);
    bench_close(bench);
    cr_assert(one.done);
    cr_assert_eq(engine_open(bench->env, bench->kind, bench->directory, &bench->engine), 0);
    cr_assert_eq(get_is(bench, BYTES_LITERAL("k"), BYTES_LITERAL("v")), one.error == 0);
}

Test(engine, closing_waits_for_the_commit_under_way)
{
    on_both(run_closing);
}

/* ---- a random model ---- */

/* Few distinct bytes, many shared prefixes around multiples of the chunk. */
static struct bytes draw_key(uint64_t *random, uint8_t *out)
{
    static const size_t lengths[] = {499, 500, 501, 502, 999, 1000, 1001, 1500, 1501, 2500};
    size_t len = draw_below(random, 2) == 0 ? draw_below(random, 6) : lengths[draw_below(random, 10)];

    memset(out, draw_below(random, 4) == 0 ? 0 : 'a', len);
    for (unsigned i = 0; i < 3 && len > 0; i++) {
        static const size_t places[] = {0, 1, 498, 499, 500, 501, 999, 1000, 1499, 2499};
        size_t at = draw_below(random, 3) == 0 ? len - 1 : places[draw_below(random, 10)];

        if (at < len && draw_below(random, 2) == 0)
            out[at] = draw_below(random, 5) == 0 ? (uint8_t)draw(random) : (uint8_t)"\0ab\xff"[draw_below(random, 4)];
    }
    return bytes_of(out, len);
}

static void expect_pair(struct bytes key, struct bytes value, const struct kv_map *model, struct bytes model_key,
                        struct bytes model_value)
{
    (void)model;
    cr_assert(bytes_equal(key, model_key));
    cr_assert(bytes_equal(value, model_value));
}

static void walk_forward(struct bench *bench, const struct kv_map *model, struct bytes from, unsigned most)
{
    uint8_t after[KEY_MAX + 1];
    struct bytes key, value, model_key, model_value;
    struct engine_cursor *cursor;
    bool found, expected = kv_map_at_or_after(model, from, &model_key, &model_value);

    cr_assert_eq(engine_cursor_open(bench->engine, false, &cursor), 0);
    cr_assert_eq(engine_cursor_seek(cursor, from, &found, &key, &value), 0);
    for (;;) {
        cr_assert_eq(found, expected);
        if (!found || most-- == 0)
            break;
        expect_pair(key, value, model, model_key, model_value);
        memcpy(after, key.ptr == NULL ? (const uint8_t *)"" : key.ptr, key.len);
        after[key.len] = 0;
        expected = kv_map_at_or_after(model, bytes_of(after, key.len + 1), &model_key, &model_value);
        cr_assert_eq(engine_cursor_next(cursor, &found, &key, &value), 0);
    }
    engine_cursor_close(cursor);
}

static void walk_backward(struct bench *bench, const struct kv_map *model, struct bytes from, unsigned most)
{
    uint8_t at[KEY_MAX];
    struct bytes key, value, model_key, model_value;
    struct engine_cursor *cursor;
    bool found, expected = kv_map_before(model, from, &model_key, &model_value);

    cr_assert_eq(engine_cursor_open(bench->engine, true, &cursor), 0);
    cr_assert_eq(engine_cursor_seek(cursor, from, &found, &key, &value), 0);
    for (;;) {
        cr_assert_eq(found, expected);
        if (!found || most-- == 0)
            break;
        expect_pair(key, value, model, model_key, model_value);
        memcpy(at, key.ptr == NULL ? (const uint8_t *)"" : key.ptr, key.len);
        expected = kv_map_before(model, bytes_of(at, key.len), &model_key, &model_value);
        cr_assert_eq(engine_cursor_next(cursor, &found, &key, &value), 0);
    }
    engine_cursor_close(cursor);
}

struct drawn_changes {
    struct engine_change changes[CHANGES_MAX];
    size_t count;
    struct arena arena;
};

static void draw_changes(struct drawn_changes *drawn, struct kv_map *model, uint64_t *random)
{
    uint8_t first[KEY_MAX], second[KEY_MAX], value_bytes[6000];

    drawn->count = 1 + draw_below(random, 40);
    for (size_t i = 0; i < drawn->count; i++) {
        struct engine_change *change = &drawn->changes[i];
        struct bytes a = draw_key(random, first), b = draw_key(random, second);
        uint64_t what = draw_below(random, 20);

        change->type = what < 14 ? ENGINE_SET : what < 18 ? ENGINE_CLEAR : ENGINE_CLEAR_RANGE;
        if (change->type == ENGINE_SET)
            b = draw_bytes(random, value_bytes, draw_below(random, 10) == 0 ? draw_below(random, 6000) : draw_below(random, 60));
        else if (bytes_compare(a, b) > 0) {
            struct bytes swap = a;

            a = b;
            b = swap;
        }
        arena_copy(&drawn->arena, a, &change->key);
        arena_copy(&drawn->arena, b, &change->value);
        if (change->type == ENGINE_SET) {
            kv_map_set(model, a, b);
        } else if (change->type == ENGINE_CLEAR_RANGE) {
            kv_map_clear_range(model, a, b);
        } else {
            uint8_t after[KEY_MAX + 1];

            memcpy(after, a.ptr, a.len);
            after[a.len] = 0;
            kv_map_clear_range(model, a, bytes_of(after, a.len + 1));
        }
    }
}

static void compare_counts(struct bench *bench, const struct kv_map *model)
{
    struct engine_status status;
    struct bytes key = bytes_none(), value;
    uint64_t bytes = 0;
    uint8_t after[KEY_MAX + 1];

    for (size_t len = 0; kv_map_at_or_after(model, bytes_of(after, len), &key, &value);) {
        bytes += key.len + value.len;
        memcpy(after, key.ptr == NULL ? (const uint8_t *)"" : key.ptr, key.len);
        after[key.len] = 0;
        len = key.len + 1;
    }
    engine_status(bench->engine, &status);
    cr_assert_eq(status.keys, kv_map_count(model));
    cr_assert_eq(status.bytes, bytes);
}

static void compare_some(struct bench *bench, const struct kv_map *model, uint64_t *random)
{
    uint8_t key_bytes[KEY_MAX];

    for (unsigned i = 0; i < 6; i++) {
        struct bytes key = draw_key(random, key_bytes), got, expected;
        bool found;

        cr_assert_eq(engine_get(bench->engine, key, &found, &got), 0);
        cr_assert_eq(found, kv_map_get(model, key, &expected));
        cr_assert(!found || bytes_equal(got, expected));
        walk_forward(bench, model, key, 5);
        walk_backward(bench, model, key, 5);
    }
}

static void run_model(struct bench *bench)
{
    static struct drawn_changes drawn;
    struct kv_map *model = kv_map_create();
    uint64_t random = 11 + (uint64_t)bench->kind;

    for (unsigned round = 0; round < 400; round++) {
        drawn.arena = (struct arena){0};
        draw_changes(&drawn, model, &random);
        cr_assert_eq(commit_changes(bench, drawn.changes, drawn.count, NULL, 0), 0);
        arena_done(&drawn.arena);
        compare_some(bench, model, &random);
        if (round % 10 == 0) {
            walk_forward(bench, model, bytes_none(), UINT32_MAX);
            walk_backward(bench, model, BYTES_LITERAL("\xff\xff\xff"), UINT32_MAX);
            compare_counts(bench, model);
            cr_assert_eq(engine_check(bench->engine, NULL, NULL), 0);
        }
        if (round % 100 == 99)
            bench_reopen(bench);
    }
    kv_map_destroy(model);
}

Test(engine, random_commits_agree_with_a_map, .timeout = 240)
{
    on_both(run_model);
}

/* ---- LMDB alone ---- */

Test(engine, lmdb_a_map_that_is_too_small_grows)
{
    static uint8_t value[50000];
    struct bench bench;

    bench_open_with(&bench, ENGINE_LMDB, 1 << 20);
    for (unsigned i = 0; i < 60; i++) {
        uint8_t key[4];

        put_le32(key, i);
        memset(value, (int)i, sizeof(value));
        set_one(&bench, bytes_of(key, 4), bytes_of(value, sizeof(value)));
        cr_assert(get_is(&bench, bytes_of(key, 4), bytes_of(value, sizeof(value))));
    }
    cr_assert_eq(engine_check(bench.engine, NULL, NULL), 0);
    bench_done(&bench);
}

static void flip(const char *directory, const char *find, size_t len)
{
    static uint8_t file[4 << 20];
    char path[120];
    size_t size, hits = 0;
    int fd;

    snprintf(path, sizeof(path), "%s/data.mdb", directory);
    fd = open(path, O_RDWR);
    size = (size_t)pread(fd, file, sizeof(file), 0);
    for (size_t at = 0; at + len <= size; at++)
        if (memcmp(file + at, find, len) == 0) {
            file[at] ^= 1;
            cr_assert_eq(pwrite(fd, file + at, 1, (off_t)at), 1);
            hits++;
        }
    close(fd);
    cr_assert_gt(hits, 0);
}

static void note_damage(void *ctx, struct bytes key, const char *what)
{
    (void)key;
    (void)what;
    ++*(unsigned *)ctx;
}

Test(engine, lmdb_a_flipped_bit_in_a_value_or_a_key_is_found)
{
    static const char *const places[] = {"value-of-m", "key-m"};

    for (unsigned i = 0; i < 2; i++) {
        struct bench bench;
        struct engine_status status;
        struct bytes value;
        unsigned reported = 0;
        bool found;
        int error;

        bench_init(&bench, ENGINE_LMDB);
        set_one(&bench, BYTES_LITERAL("key-a"), BYTES_LITERAL("value-of-a"));
        set_one(&bench, BYTES_LITERAL("key-m"), BYTES_LITERAL("value-of-m"));
        bench_close(&bench);
        flip(bench.directory, places[i], strlen(places[i]));
        cr_assert_eq(engine_open(bench.env, ENGINE_LMDB, bench.directory, &bench.engine), 0);
        error = engine_get(bench.engine, BYTES_LITERAL("key-m"), &found, &value);
        cr_assert(i == 0 ? error == ERROR_FILE_CORRUPT : error == 0 && !found);
        cr_assert(get_is(&bench, BYTES_LITERAL("key-a"), BYTES_LITERAL("value-of-a")));
        cr_assert_gt(engine_check(bench.engine, note_damage, &reported), 0);
        cr_assert_gt(reported, 0);
        engine_status(bench.engine, &status);
        cr_assert_gt(status.damaged_records, 0);
        bench_done(&bench);
    }
}

/* The process dies while the guard says that it is inside LMDB: the third time in a row the engine is lost. */
Test(engine, lmdb_three_crashes_inside_mark_it_as_lost)
{
    struct bench bench;
    char path[120];

    bench_init(&bench, ENGINE_LMDB);
    set_one(&bench, BYTES_LITERAL("k"), BYTES_LITERAL("v"));
    bench_close(&bench);
    snprintf(path, sizeof(path), "%s/guard", bench.directory);
    for (int i = 1; i <= 3; i++) {
        int fd = open(path, O_RDWR);

        cr_assert_eq(pwrite(fd, "\1\0\0\0", 4, 0), 4);
        close(fd);
        cr_assert_eq(engine_open(bench.env, ENGINE_LMDB, bench.directory, &bench.engine), i < 3 ? 0 : ERROR_FILE_CORRUPT);
        if (i < 3)
            bench_close(&bench);
    }
    bench.engine = NULL;
    bench_done(&bench);
}

Test(engine, lmdb_a_commit_forgives_earlier_crashes)
{
    struct bench bench;
    char path[120];

    bench_init(&bench, ENGINE_LMDB);
    bench_close(&bench);
    snprintf(path, sizeof(path), "%s/guard", bench.directory);
    for (int i = 0; i < 6; i++) {
        int fd = open(path, O_RDWR);

        cr_assert_eq(pwrite(fd, "\0\0\0\0\1\0\0\0", 8, 0), 8);
        close(fd);
        cr_assert_eq(engine_open(bench.env, ENGINE_LMDB, bench.directory, &bench.engine), 0);
        set_one(&bench, BYTES_LITERAL("k"), BYTES_LITERAL("v"));
        bench_close(&bench);
    }
    bench_done(&bench);
}

/* A kill -9 at any time: what was acknowledged is there. */
Test(engine, lmdb_a_killed_process_loses_nothing_that_was_committed, .timeout = 60)
{
    for (unsigned round = 0; round < 5; round++) {
        struct bench bench;
        uint64_t acknowledged = 0;
        int pipes[2];
        pid_t child;

        bench_init(&bench, ENGINE_LMDB);
        bench_close(&bench);
        cr_assert_eq(pipe(pipes), 0);
        child = fork();
        if (child == 0) {
            struct env_posix_options options = {0};

            env_posix_create(&options, &bench.env);
            if (engine_open(bench.env, ENGINE_LMDB, bench.directory, &bench.engine) != 0)
                _exit(1);
            for (uint64_t i = 1;; i++) {
                uint8_t key[8];

                put_be64(key, i);
                set_one(&bench, bytes_of(key, 8), bytes_of(key, 8));
                if (write(pipes[1], &i, sizeof(i)) != sizeof(i))
                    _exit(2);
            }
        }
        close(pipes[1]);
        usleep(30000 + 20000 * round);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        while (read(pipes[0], &acknowledged, sizeof(acknowledged)) == sizeof(acknowledged))
            ;
        close(pipes[0]);
        cr_assert_eq(engine_open(bench.env, ENGINE_LMDB, bench.directory, &bench.engine), 0);
        for (uint64_t i = 1; i <= acknowledged; i++) {
            uint8_t key[8];

            put_be64(key, i);
            cr_assert(get_is(&bench, bytes_of(key, 8), bytes_of(key, 8)));
        }
        cr_assert_eq(engine_check(bench.engine, NULL, NULL), 0);
        bench_done(&bench);
    }
}

/* ---- memory alone ---- */

static uint64_t directory_bytes(const char *directory)
{
    char command[200];
    unsigned long long bytes = 0;
    FILE *out;

    snprintf(command, sizeof(command), "cat %s/queue/*.queue | wc -c", directory);
    out = popen(command, "r");
    cr_assert_eq(fscanf(out, "%llu", &bytes), 1);
    pclose(out);
    return bytes;
}

Test(engine, memory_the_queue_stays_bounded_by_the_data, .timeout = 120)
{
    static uint8_t value[20000];
    struct bench bench;
    struct engine_meta meta = {"version", BYTES_LITERAL("v")};

    bench_init(&bench, ENGINE_MEMORY);
    for (unsigned i = 0; i < 1500; i++) {
        uint8_t key[4];
        struct engine_change change = {ENGINE_SET, bytes_of(key, 4), bytes_of(value, sizeof(value))};

        put_le32(key, i % 40);
        put_le32(value, i);
        cr_assert_eq(commit_changes(&bench, &change, 1, &meta, i == 0), 0);
    }
    cr_assert_lt(directory_bytes(bench.directory), 6 << 20); /* of 30 MB written */
    bench_reopen(&bench);
    for (unsigned i = 1460; i < 1500; i++) {
        uint8_t key[4];
        struct bytes got;
        bool found;

        put_le32(key, i % 40);
        cr_assert_eq(engine_get(bench.engine, bytes_of(key, 4), &found, &got), 0);
        cr_assert(found && get_le32(got.ptr) == i);
        cr_assert_eq(engine_meta_get(bench.engine, "version", &found, &got), 0);
        cr_assert(found);
    }
    cr_assert_eq(engine_check(bench.engine, NULL, NULL), 0);
    bench_done(&bench);
}

/* ---- without memory ---- */

static int use_all(struct bench *bench, const struct engine_change *changes, size_t count)
{
    struct engine_cursor *cursor;
    struct bytes key, value;
    bool found;
    int error = engine_open(bench->env, bench->kind, bench->directory, &bench->engine);

    if (error != 0) {
        bench->engine = NULL;
        return error;
    }
    error = commit_changes(bench, changes, count, NULL, 0);
    if (error == 0)
        error = engine_get(bench->engine, changes[0].key, &found, &value);
    if (error == 0)
        error = engine_cursor_open(bench->engine, false, &cursor);
    if (error != 0)
        return error;
    error = engine_cursor_seek(cursor, bytes_none(), &found, &key, &value);
    while (error == 0 && found)
        error = engine_cursor_next(cursor, &found, &key, &value);
    engine_cursor_close(cursor);
    return error;
}

static void run_without_memory(struct bench *bench)
{
    static uint8_t key[2000];
    struct engine_change changes[2] = {{ENGINE_SET, bytes_of(key, sizeof(key)), BYTES_LITERAL("long")},
                                       {ENGINE_SET, BYTES_LITERAL("short"), BYTES_LITERAL("1")}};

    bench_close(bench);
    FAIL_EACH(nth, nth_allocation) {
        int error;

        nth_begin(&nth, NULL);
        error = use_all(bench, changes, 2);
        cr_assert(nth_end(&nth) ? error == 0 || error == ERROR_OUT_OF_MEMORY : error == 0);
        if (bench->engine != NULL)
            bench_close(bench);
    }
    cr_assert_eq(engine_open(bench->env, bench->kind, bench->directory, &bench->engine), 0);
    cr_assert(get_is(bench, bytes_of(key, sizeof(key)), BYTES_LITERAL("long")));
    cr_assert_eq(engine_check(bench->engine, NULL, NULL), 0);
}

Test(engine, a_failed_allocation_is_an_error_and_leaks_nothing, .timeout = 60)
{
    on_both(run_without_memory);
}
