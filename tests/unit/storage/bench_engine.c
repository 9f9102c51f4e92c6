/* How fast the LMDB engine commits and reads: a store of a million, random 16-byte keys, 100-byte values.
 *
 *   bench_engine DIR [KEYS_A_COMMIT]     (a program to run by hand; no test) */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "net/env_posix.h"
#include "storage/engine.h"
#include "tests/unit/draw.h"

enum { STORE_KEYS = 1000000, KEY_BYTES = 16, VALUE_BYTES = 100, COMMITS = 6 };

struct pair {
    uint8_t key[KEY_BYTES], value[VALUE_BYTES];
};

static struct env *env;

static double now_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void note_done(struct engine_commit *commit, int error)
{
    (void)commit;
    if (error != 0)
        abort();
    env_posix_stop(env);
}

static int by_key(const void *a, const void *b)
{
    return memcmp(a, b, KEY_BYTES);
}

/* Key n of the store: the hash of n, so that they are in random order. */
static void key_of(uint64_t n, uint8_t *out)
{
    uint64_t state = n;

    for (int i = 0; i < KEY_BYTES; i += 8)
        put_be64(out + i, draw(&state));
}

static double commit_pairs(struct engine *engine, struct pair *pairs, struct engine_change *changes, size_t count)
{
    struct engine_commit commit = {.changes = changes, .change_count = count, .urgent = true, .done = note_done};
    double started;

    qsort(pairs, count, sizeof(*pairs), by_key);
    for (size_t i = 0; i < count; i++)
        changes[i] =
            (struct engine_change){ENGINE_SET, bytes_of(pairs[i].key, KEY_BYTES), bytes_of(pairs[i].value, VALUE_BYTES)};
    started = now_s();
    engine_commit_start(engine, &commit);
    env_posix_run(env);
    return now_s() - started;
}

static void read_some(struct engine *engine)
{
    double started = now_s();
    uint64_t random = 1, hits = 0;

    for (unsigned i = 0; i < STORE_KEYS; i++) {
        uint8_t key[KEY_BYTES];
        struct bytes value;
        bool found;

        key_of(draw_below(&random, STORE_KEYS), key);
        if (engine_get(engine, bytes_of(key, KEY_BYTES), &found, &value) != 0)
            abort();
        hits += found;
        if (i % 64 == 63)
            engine_release(engine);
    }
    printf("gets: %.0f/s (%llu hits)\n", STORE_KEYS / (now_s() - started), (unsigned long long)hits);
    engine_release(engine);
}

static void scan(struct engine *engine)
{
    double started = now_s();
    struct engine_cursor *cursor;
    struct bytes key, value;
    uint64_t pairs = 0;
    bool found;

    if (engine_cursor_open(engine, false, &cursor) != 0 ||
        engine_cursor_seek(cursor, bytes_none(), &found, &key, &value) != 0)
        abort();
    for (; found; pairs++)
        if (engine_cursor_next(cursor, &found, &key, &value) != 0)
            abort();
    engine_cursor_close(cursor);
    printf("scan: %.1f M pairs/s\n", (double)pairs / (now_s() - started) / 1e6);
    engine_release(engine);
}

int main(int argc, char **argv)
{
    struct env_posix_options options = {.trace_stderr = true};
    size_t per_commit = argc > 2 ? strtoul(argv[2], NULL, 10) : 100000;
    struct pair *pairs = calloc(STORE_KEYS, sizeof(*pairs));
    struct engine_change *changes = calloc(STORE_KEYS, sizeof(*changes));
    struct engine *engine;
    uint64_t random = 5;
    double spent = 0;

    if (argc < 2 || per_commit == 0 || per_commit > STORE_KEYS || env_posix_create(&options, &env) != 0 ||
        engine_open(env, ENGINE_LMDB, argv[1], &engine) != 0)
        return 1;
    for (uint64_t n = 0; n < STORE_KEYS; n++)
        key_of(n, pairs[n].key);
    printf("load: %.0f keys/s\n", STORE_KEYS / commit_pairs(engine, pairs, changes, STORE_KEYS));
    for (int i = 0; i < COMMITS; i++) {
        for (size_t k = 0; k < per_commit; k++) {
            key_of(draw_below(&random, STORE_KEYS), pairs[k].key);
            draw_bytes(&random, pairs[k].value, 8);
        }
        spent += commit_pairs(engine, pairs, changes, per_commit);
    }
    printf("commits of %zu: %.0f keys/s\n", per_commit, (double)(COMMITS * per_commit) / spent);
    read_some(engine);
    scan(engine);
    engine_close(engine, NULL, NULL);
    env_posix_destroy(env);
    free(pairs);
    free(changes);
    return 0;
}
