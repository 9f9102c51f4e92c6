#include "tests/fuzz/fuzz_env.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "net/error.h"
#include "net/mem.h"
#include "tests/fuzz/fuzz_input.h"

struct entry {
    struct list link; /* unlinked: removed, lives until the last handle goes */
    char path[FUZZ_PATH_MAX];
    uint64_t hash; /* of path */
    bool directory;
    uint8_t *ptr; /* owned; bytes from `stored` on are zeros that nobody keeps: files are preallocated, and most of them is empty */
    size_t len, stored, room;
    unsigned handles;
};

struct env_file {
    struct fuzz_env *fuzz;
    struct entry *entry;
};

struct env_listener {
    struct list link;
    const struct env_listener_events *events;
    void *ctx;
};

struct env_conn {
    struct list link;
    struct fuzz_env *fuzz;
    const struct env_conn_events *events;
    void *ctx;
    struct bytes_buffer held;
    bool outgoing, opened, paused, gone;
};

static struct fuzz_env *fuzz_of(struct env *env)
{
    return container_of(env, struct fuzz_env, env);
}

/* ---- clock ---- */

static int64_t now(struct env *env)
{
    return fuzz_of(env)->now_us;
}

static uint64_t next_random(struct env *env)
{
    uint64_t z = fuzz_of(env)->random += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static void wake_at(struct env *env)
{
    (void)env;
}

static void trace(struct env *env, enum severity severity, struct bytes json_line)
{
    (void)severity;
    fuzz_did(json_line);
    if (fuzz_of(env)->prints)
        fprintf(stderr, "%.*s\n", (int)json_line.len, (const char *)json_line.ptr);
}

static void exit_asked(struct env *env, int status, const char *why)
{
    (void)status;
    (void)why;
    fuzz_of(env)->exited = true;
}

/* ---- connections ---- */

static int start_listening(struct env *env, struct address at, const struct env_listener_events *events, void *ctx,
                           struct env_listener **ret_listener)
{
    struct env_listener *listener = mem_zalloc(sizeof(*listener));

    (void)at;
    listener->events = events;
    listener->ctx = ctx;
    list_push_back(&fuzz_of(env)->listeners, &listener->link);
    *ret_listener = listener;
    return 0;
}

static void stop_listening(struct env_listener *listener)
{
    list_remove(&listener->link);
    mem_free(listener);
}

static struct env_conn *conn_create(struct fuzz_env *fuzz)
{
    struct env_conn *conn = mem_zalloc(sizeof(*conn));

    conn->fuzz = fuzz;
    list_push_back(&fuzz->conns, &conn->link);
    return conn;
}

static int connect_to(struct env *env, struct address to, const struct env_conn_events *events, void *ctx,
                      struct env_conn **ret_conn)
{
    struct env_conn *conn = conn_create(fuzz_of(env));

    (void)to;
    conn->outgoing = true;
    conn->events = events;
    conn->ctx = ctx;
    *ret_conn = conn;
    return 0;
}

static void conn_adopt(struct env_conn *conn, const struct env_conn_events *events, void *ctx)
{
    conn->events = events;
    conn->ctx = ctx;
}

static void conn_send(struct env_conn *conn, struct bytes_buffer *data)
{
    assert(!conn->gone);
    fuzz_did(bytes_buffer_bytes(data));
    if (conn->fuzz->sent != NULL)
        conn->fuzz->sent(conn->fuzz->sent_ctx, conn, bytes_buffer_bytes(data));
    bytes_buffer_done(data);
}

static size_t conn_unsent_bytes(struct env_conn *conn)
{
    assert(!conn->gone);
    return 0;
}

static void conn_pause(struct env_conn *conn, bool paused)
{
    conn->paused = paused;
}

static void conn_close(struct env_conn *conn)
{
    assert(!conn->gone);
    conn->gone = true;
    bytes_buffer_done(&conn->held);
}

struct env_conn *fuzz_dial(struct fuzz_env *fuzz, struct address from)
{
    struct env_listener *listener;
    struct env_conn *conn;

    if (list_empty(&fuzz->listeners))
        return NULL;
    listener = list_entry(fuzz->listeners.next, struct env_listener, link);
    conn = conn_create(fuzz);
    conn->opened = true;
    listener->events->accepted(listener->ctx, conn, from);
    assert(conn->gone || conn->events != NULL);
    return conn->gone ? NULL : conn;
}

struct env_conn *fuzz_dialled(struct fuzz_env *fuzz, unsigned nth)
{
    unsigned count = 0;

    list_each(link, after, &fuzz->conns) {
        struct env_conn *conn = list_entry(link, struct env_conn, link);

        count += conn->outgoing && !conn->gone;
    }
    nth = count == 0 ? 0 : nth % count;
    list_each(link, after, &fuzz->conns) {
        struct env_conn *conn = list_entry(link, struct env_conn, link);

        if (conn->outgoing && !conn->gone && nth-- == 0)
            return conn;
    }
    return NULL;
}

void fuzz_conn_open(struct env_conn *conn)
{
    if (conn->gone || conn->opened)
        return;
    conn->opened = true;
    conn->events->opened(conn->ctx);
}

void fuzz_conn_give(struct env_conn *conn, struct bytes data)
{
    if (conn->gone || !conn->opened || data.len == 0)
        return;
    if (conn->paused || conn->held.len > 0)
        (void)bytes_buffer_append(&conn->held, data);
    else
        conn->events->received(conn->ctx, data);
}

static void give_held(struct env_conn *conn)
{
    struct bytes_buffer held = conn->held;

    if (conn->gone || conn->paused || held.len == 0)
        return;
    conn->held = (struct bytes_buffer){0};
    conn->events->received(conn->ctx, bytes_buffer_bytes(&held));
    bytes_buffer_done(&held);
}

void fuzz_conn_end(struct env_conn *conn)
{
    if (conn->gone)
        return;
    conn->gone = true;
    bytes_buffer_done(&conn->held);
    conn->events->closed(conn->ctx, ERROR_CONNECTION_FAILED);
}

bool fuzz_conn_alive(const struct env_conn *conn)
{
    return !conn->gone;
}

bool fuzz_conn_outgoing(const struct env_conn *conn)
{
    return conn->outgoing;
}

/* ---- files ---- */

static uint64_t hash_of(const char *path)
{
    uint64_t hash = UINT64_C(14695981039346656037);

    while (*path != '\0')
        hash = (hash ^ (uint8_t)*path++) * UINT64_C(1099511628211);
    return hash;
}

static struct entry *find(struct fuzz_env *fuzz, const char *path)
{
    uint64_t hash = hash_of(path);

    list_each(link, after, &fuzz->files) {
        struct entry *entry = list_entry(link, struct entry, link);

        if (entry->hash == hash && strcmp(entry->path, path) == 0)
            return entry;
    }
    return NULL;
}

static void entry_name(struct entry *entry, const char *path)
{
    size_t len = strlen(path);

    assert(len < sizeof(entry->path));
    memcpy(entry->path, path, len + 1);
    entry->hash = hash_of(path);
}

static struct entry *entry_create(struct fuzz_env *fuzz, const char *path, bool directory)
{
    struct entry *entry = mem_zalloc(sizeof(*entry));

    entry_name(entry, path);
    entry->directory = directory;
    list_push_back(&fuzz->files, &entry->link);
    return entry;
}

static void entry_free_unused(struct entry *entry)
{
    if (entry->handles > 0 || list_linked(&entry->link))
        return;
    mem_free(entry->ptr);
    mem_free(entry);
}

static void entry_remove(struct entry *entry)
{
    list_remove(&entry->link);
    entry_free_unused(entry);
}

static int entry_grow(struct entry *entry, uint64_t len)
{
    if (len > FUZZ_FILE_BYTES_MAX)
        return ERROR_IO_ERROR;
    if (len > entry->len)
        entry->len = (size_t)len;
    return 0;
}

/* Keeps the bytes before `end`, which lies in the file. */
static void entry_store(struct entry *entry, size_t end)
{
    if (end > entry->room) {
        entry->room = end < 4096 ? 4096 : 2 * end;
        entry->ptr = mem_realloc(entry->ptr, entry->room);
    }
    if (end > entry->stored) {
        memset(entry->ptr + entry->stored, 0, end - entry->stored);
        entry->stored = end;
    }
}

static void entry_cut(struct entry *entry, size_t len)
{
    entry->len = len;
    if (entry->stored > len)
        entry->stored = len;
}

static int file_open(struct env *env, const char *path, unsigned flags, struct env_file **ret_file)
{
    struct fuzz_env *fuzz = fuzz_of(env);
    struct entry *entry = find(fuzz, path);

    if (strlen(path) >= FUZZ_PATH_MAX || (entry != NULL && (entry->directory || (flags & ENV_OPEN_EXCLUSIVE))))
        return ERROR_FILE_NOT_WRITABLE;
    if (entry == NULL && !(flags & ENV_OPEN_CREATE))
        return ERROR_FILE_NOT_FOUND;
    if (entry == NULL)
        entry = entry_create(fuzz, path, false);
    entry->handles++;
    fuzz->open_files++;
    *ret_file = mem_zalloc(sizeof(**ret_file));
    **ret_file = (struct env_file){fuzz, entry};
    return 0;
}

static int file_read(struct env_file *file, uint64_t offset, void *into, size_t len, size_t *ret_read)
{
    size_t left = offset < file->entry->len ? file->entry->len - (size_t)offset : 0;

    size_t kept = offset < file->entry->stored ? file->entry->stored - (size_t)offset : 0;

    *ret_read = len < left ? len : left;
    kept = kept < *ret_read ? kept : *ret_read;
    if (kept > 0)
        memcpy(into, file->entry->ptr + offset, kept);
    if (kept < *ret_read)
        memset((uint8_t *)into + kept, 0, *ret_read - kept);
    return 0;
}

static int file_write(struct env_file *file, uint64_t offset, struct bytes data)
{
    struct entry *entry = file->entry;
    int error;

    if (offset > FUZZ_FILE_BYTES_MAX)
        return ERROR_IO_ERROR;
    error = entry_grow(entry, offset + data.len);
    if (error != 0 || data.len == 0)
        return error;
    fuzz_did(data);
    entry_store(entry, (size_t)offset + data.len);
    memcpy(entry->ptr + offset, data.ptr, data.len);
    return 0;
}

static int file_size(struct env_file *file, uint64_t *ret_size)
{
    *ret_size = file->entry->len;
    return 0;
}

static int file_truncate(struct env_file *file, uint64_t size)
{
    if (size >= file->entry->len)
        return entry_grow(file->entry, size);
    entry_cut(file->entry, (size_t)size);
    return 0;
}

static int file_zero_fill(struct env_file *file, uint64_t offset, uint64_t len)
{
    int error;

    if (offset > FUZZ_FILE_BYTES_MAX || len > FUZZ_FILE_BYTES_MAX)
        return ERROR_IO_ERROR;
    error = entry_grow(file->entry, offset + len);
    if (error != 0 || offset >= file->entry->stored)
        return error;
    if (offset + len >= file->entry->stored)
        file->entry->stored = (size_t)offset;
    else
        memset(file->entry->ptr + offset, 0, len);
    return 0;
}

static int file_drop_cache(struct env_file *file)
{
    (void)file;
    return 0;
}

static void sync_run(struct ready *ready)
{
    struct env_sync *sync = container_of(ready, struct env_sync, ready);

    sync->done(sync, 0);
}

static void file_sync(struct env_file *file, struct env_sync *sync)
{
    sync->ready.run = sync_run;
    list_push_back(&file->fuzz->syncs, &sync->ready.link);
}

static int file_sync_now(struct env_file *file)
{
    (void)file;
    return 0;
}

static void file_close(struct env_file *file)
{
    file->fuzz->open_files--;
    file->entry->handles--;
    entry_free_unused(file->entry);
    mem_free(file);
}

static int rename_to(struct env *env, const char *from, const char *to)
{
    struct entry *entry = find(fuzz_of(env), from), *old = find(fuzz_of(env), to);

    if (entry == NULL || strlen(to) >= FUZZ_PATH_MAX)
        return ERROR_FILE_NOT_FOUND;
    if (old != NULL && old != entry)
        entry_remove(old);
    entry_name(entry, to);
    return 0;
}

static int remove_path(struct env *env, const char *path)
{
    struct entry *entry = find(fuzz_of(env), path);

    if (entry == NULL)
        return ERROR_FILE_NOT_FOUND;
    entry_remove(entry);
    return 0;
}

static int dir_make(struct env *env, const char *path)
{
    struct entry *entry = find(fuzz_of(env), path);

    if (strlen(path) >= FUZZ_PATH_MAX || (entry != NULL && !entry->directory))
        return ERROR_FILE_NOT_WRITABLE;
    if (entry == NULL)
        entry_create(fuzz_of(env), path, true);
    return 0;
}

static int dir_sync(struct env *env, const char *path)
{
    (void)env;
    (void)path;
    return 0;
}

static int dir_list(struct env *env, const char *path, void (*each)(void *ctx, const char *name), void *ctx)
{
    size_t len = strlen(path);

    if (find(fuzz_of(env), path) == NULL)
        return ERROR_FILE_NOT_FOUND;
    list_each(link, after, &fuzz_of(env)->files) {
        const char *name = list_entry(link, struct entry, link)->path;

        if (strncmp(name, path, len) == 0 && name[len] == '/' && strchr(name + len + 1, '/') == NULL)
            each(ctx, name + len + 1);
    }
    return 0;
}

static int dir_space(struct env *env, const char *path, struct env_space *ret_space)
{
    (void)env;
    (void)path;
    *ret_space = (struct env_space){UINT64_C(1) << 40, UINT64_C(1) << 41};
    return 0;
}

static int real_path(struct env *env, const char *path, char *out, size_t out_size)
{
    const char *directory = fuzz_of(env)->real_directory;
    int len = directory == NULL ? -1 : snprintf(out, out_size, "%s/%s", directory, path);

    return len < 0 || (size_t)len >= out_size ? ERROR_FILE_NOT_WRITABLE : 0;
}

void fuzz_file_put(struct fuzz_env *fuzz, const char *path, struct bytes content)
{
    struct entry *entry = find(fuzz, path);

    if (entry == NULL)
        entry = entry_create(fuzz, path, false);
    entry_cut(entry, 0);
    assert(entry_grow(entry, content.len) == 0);
    entry_store(entry, content.len);
    if (content.len > 0)
        memcpy(entry->ptr, content.ptr, content.len);
}

struct bytes fuzz_file_content(struct fuzz_env *fuzz, const char *path, uint8_t **ret_at)
{
    struct entry *entry = find(fuzz, path);

    if (entry != NULL)
        entry_store(entry, entry->len);
    *ret_at = entry == NULL ? NULL : entry->ptr;
    return entry == NULL ? bytes_none() : bytes_of(entry->ptr, entry->len);
}

void fuzz_file_cut(struct fuzz_env *fuzz, const char *path, size_t len)
{
    struct entry *entry = find(fuzz, path);

    if (entry != NULL && len < entry->len)
        entry_cut(entry, len);
}

const char *fuzz_file_nth(struct fuzz_env *fuzz, unsigned nth)
{
    unsigned count = 0;

    list_each(link, after, &fuzz->files)
        count += !list_entry(link, struct entry, link)->directory;
    nth = count == 0 ? 0 : nth % count;
    list_each(link, after, &fuzz->files) {
        struct entry *entry = list_entry(link, struct entry, link);

        if (!entry->directory && nth-- == 0)
            return entry->path;
    }
    return NULL;
}

/* ---- jobs ---- */

static void job_run(struct ready *ready)
{
    struct env_job *job = container_of(ready, struct env_job, ready);

    job->run(job);
    job->done(job);
}

static void job_start(struct env *env, struct env_job *job)
{
    job->ready.run = job_run;
    list_push_back(&fuzz_of(env)->jobs, &job->ready.link);
}

static void job_hurry(struct env *env, struct env_job *job)
{
    (void)env;
    (void)job;
}

static void job_stopped(struct ready *ready)
{
    struct env_job *job = container_of(ready, struct env_job, ready);

    job->done(job);
}

static void job_stop(struct env *env, struct env_job *job)
{
    (void)env;
    job->ready.run = job_stopped;
}

/* ---- life ---- */

static const struct env_ops ops = {
    .now_us = now,
    .wall_us = now,
    .random = next_random,
    .wake_at = wake_at,
    .listen = start_listening,
    .listener_close = stop_listening,
    .connect = connect_to,
    .conn_adopt = conn_adopt,
    .conn_send = conn_send,
    .conn_unsent_bytes = conn_unsent_bytes,
    .conn_pause = conn_pause,
    .conn_close = conn_close,
    .file_open = file_open,
    .file_read = file_read,
    .file_write = file_write,
    .file_size = file_size,
    .file_truncate = file_truncate,
    .file_zero_fill = file_zero_fill,
    .file_drop_cache = file_drop_cache,
    .file_sync = file_sync,
    .file_sync_now = file_sync_now,
    .file_close = file_close,
    .rename = rename_to,
    .remove = remove_path,
    .dir_make = dir_make,
    .dir_sync = dir_sync,
    .dir_list = dir_list,
    .dir_space = dir_space,
    .real_path = real_path,
    .job_start = job_start,
    .job_hurry = job_hurry,
    .job_stop = job_stop,
    .trace = trace,
    .exit = exit_asked,
};

struct fuzz_env *fuzz_env_create(void)
{
    struct fuzz_env *fuzz = mem_zalloc(sizeof(*fuzz));

    env_init(&fuzz->env, &ops);
    fuzz->now_us = 1000000;
    fuzz->prints = getenv("FUZZ_TRACE") != NULL;
    fuzz->random = 1;
    fuzz->env.knobs.log_segment_bytes = 16384;
    fuzz->env.knobs.dd_enabled = 1;
    list_init(&fuzz->files);
    list_init(&fuzz->listeners);
    list_init(&fuzz->conns);
    list_init(&fuzz->syncs);
    list_init(&fuzz->jobs);
    return fuzz;
}

static void move_to_ready(struct env *env, struct list *from)
{
    struct list *link;

    while ((link = list_pop_front(from)) != NULL)
        env_ready(env, list_entry(link, struct ready, link), READY_COMMIT);
}

void fuzz_env_run(struct fuzz_env *fuzz, unsigned turns, int64_t step_us)
{
    for (unsigned i = 0; i < turns; i++) {
        fuzz->now_us += step_us;
        list_each(link, after, &fuzz->conns)
            give_held(list_entry(link, struct env_conn, link));
        move_to_ready(&fuzz->env, &fuzz->syncs);
        move_to_ready(&fuzz->env, &fuzz->jobs);
        env_turn(&fuzz->env);
    }
}

void fuzz_env_destroy(struct fuzz_env *fuzz)
{
    struct list *link;

    for (int i = 0; i < 64 && !(list_empty(&fuzz->syncs) && list_empty(&fuzz->jobs)); i++)
        fuzz_env_run(fuzz, 1, 10);
    fuzz_env_run(fuzz, 2, 10);
    assert(fuzz->open_files == 0 && fuzz->env.timer_count == 0 && list_empty(&fuzz->listeners));
    while ((link = list_pop_front(&fuzz->conns)) != NULL) {
        assert(list_entry(link, struct env_conn, link)->gone);
        mem_free(list_entry(link, struct env_conn, link));
    }
    while (!list_empty(&fuzz->files))
        entry_remove(list_entry(fuzz->files.next, struct entry, link));
    env_done(&fuzz->env);
    mem_free(fuzz);
}
