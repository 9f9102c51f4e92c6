/* The inside of engines: what each kind implements. For engine*.c alone. */
#pragma once

#include "storage/engine.h"

enum { ENGINE_FORMAT = 1, ENGINE_PATH_MAX = 4096, ENGINE_META_NAME_MAX = 32 };

struct engine_ops {
    void (*close)(struct engine *engine, void (*closed)(void *ctx), void *ctx);
    int (*get)(struct engine *engine, struct bytes key, bool *ret_found, struct bytes *ret_value);
    int (*meta_get)(struct engine *engine, const char *name, bool *ret_found, struct bytes *ret_value);
    int (*cursor_open)(struct engine *engine, bool reverse, struct engine_cursor **ret_cursor);
    int (*cursor_seek)(struct engine_cursor *cursor, struct bytes key, bool *ret_found, struct bytes *ret_key,
                       struct bytes *ret_value);
    int (*cursor_next)(struct engine_cursor *cursor, bool *ret_found, struct bytes *ret_key, struct bytes *ret_value);
    void (*cursor_close)(struct engine_cursor *cursor);
    void (*release)(struct engine *engine);
    void (*commit_start)(struct engine *engine, struct engine_commit *commit);
    void (*hurry)(struct engine *engine);
    void (*status)(struct engine *engine, struct engine_status *ret_status);
    int64_t (*check)(struct engine *engine, void (*report)(void *ctx, struct bytes key, const char *what), void *ctx);
};

/* Embedded first in each kind's own struct. */
struct engine {
    const struct engine_ops *ops;
    struct env *env;
};

struct engine_cursor {
    struct engine *engine;
};

int engine_lmdb_open(struct env *env, const char *directory, struct engine **ret_engine);
int engine_lmdb_remove(struct env *env, const char *directory);
int engine_memory_open(struct env *env, const char *directory, struct engine **ret_engine);
int engine_memory_remove(struct env *env, const char *directory);
