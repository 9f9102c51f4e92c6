/* Which kind, and nothing else. */
#include "storage/engine.h"

#include <assert.h>

#include "net/buggify.h"
#include "net/error.h"
#include "storage/engine_impl.h"

int engine_open(struct env *env, enum engine_kind kind, const char *directory, struct engine **ret_engine)
{
    int error = strlen(directory) < ENGINE_PATH_MAX / 2 ? env_dir_make(env, directory) : ERROR_FILE_NOT_FOUND;

    if (error != 0)
        return error;
    switch (kind) {
    case ENGINE_LMDB:
        return engine_lmdb_open(env, directory, ret_engine);
    case ENGINE_MEMORY:
        return engine_memory_open(env, directory, ret_engine);
    }
    return ERROR_UNKNOWN_STORAGE_ENGINE;
}

int engine_remove(struct env *env, const char *directory)
{
    int error = engine_lmdb_remove(env, directory);

    if (error == 0)
        error = engine_memory_remove(env, directory);
    if (error == 0)
        error = env_remove(env, directory);
    return error == ERROR_FILE_NOT_FOUND ? 0 : error;
}

void engine_close(struct engine *engine, void (*closed)(void *ctx), void *ctx)
{
    engine->ops->close(engine, closed, ctx);
}

int engine_get(struct engine *engine, struct bytes key, bool *ret_found, struct bytes *ret_value)
{
    if (BUGGIFY_DEATH(engine->env, 1000, "a get of the engine fails"))
        return ERROR_IO_ERROR;
    return engine->ops->get(engine, key, ret_found, ret_value);
}

int engine_meta_get(struct engine *engine, const char *name, bool *ret_found, struct bytes *ret_value)
{
    if (BUGGIFY_DEATH(engine->env, 50, "the engine's record of its server can't be read"))
        return ERROR_IO_ERROR;
    return engine->ops->meta_get(engine, name, ret_found, ret_value);
}

int engine_cursor_open(struct engine *engine, bool reverse, struct engine_cursor **ret_cursor)
{
    if (BUGGIFY_DEATH(engine->env, 1000, "a range read of the engine fails"))
        return ERROR_IO_ERROR;
    return engine->ops->cursor_open(engine, reverse, ret_cursor);
}

int engine_cursor_seek(struct engine_cursor *cursor, struct bytes key, bool *ret_found, struct bytes *ret_key,
                       struct bytes *ret_value)
{
    return cursor->engine->ops->cursor_seek(cursor, key, ret_found, ret_key, ret_value);
}

int engine_cursor_next(struct engine_cursor *cursor, bool *ret_found, struct bytes *ret_key, struct bytes *ret_value)
{
    return cursor->engine->ops->cursor_next(cursor, ret_found, ret_key, ret_value);
}

void engine_cursor_close(struct engine_cursor *cursor)
{
    if (cursor != NULL)
        cursor->engine->ops->cursor_close(cursor);
}

void engine_release(struct engine *engine)
{
    engine->ops->release(engine);
}

void engine_commit_start(struct engine *engine, struct engine_commit *commit)
{
    assert(commit->done != NULL);
    for (size_t i = 0; i < commit->meta_count; i++)
        assert(strlen(commit->meta[i].name) >= 1 && strlen(commit->meta[i].name) <= ENGINE_META_NAME_MAX);
    commit->engine = engine;
    commit->error = 0;
    engine->ops->commit_start(engine, commit);
}

void engine_hurry(struct engine *engine)
{
    engine->ops->hurry(engine);
}

void engine_status(struct engine *engine, struct engine_status *ret_status)
{
    engine->ops->status(engine, ret_status);
}

const char engine_damaged_record[] = "checksum";

int64_t engine_check(struct engine *engine, void (*report)(void *ctx, struct bytes key, const char *what), void *ctx)
{
    return engine->ops->check(engine, report, ctx);
}
