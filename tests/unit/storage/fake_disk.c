#include "tests/unit/storage/fake_disk.h"

#include <stdlib.h>

#include "net/error.h"
#include "tests/unit/draw.h"

struct env_file {
    struct fake_disk *disk;
    int inode;
    unsigned syncs;
};

static struct fake_disk *disk_of(struct env *env)
{
    return container_of(env, struct fake_disk, env);
}

static bool fails(struct fake_disk *disk)
{
    return ++disk->calls == disk->fail_at;
}

static void content_set(struct fake_content *to, const struct fake_content *from)
{
    to->ptr = realloc(to->ptr, from->len + 1);
    to->len = from->len;
    if (from->len > 0)
        memcpy(to->ptr, from->ptr, from->len);
}

static void content_grow(struct fake_content *content, size_t len)
{
    if (len <= content->len)
        return;
    content->ptr = realloc(content->ptr, len + 1);
    memset(content->ptr + content->len, 0, len - content->len);
    content->len = len;
}

static struct fake_name *find(struct fake_name *names, const char *name)
{
    for (int i = 0; i < FAKE_FILES_MAX; i++)
        if (strcmp(names[i].name, name) == 0)
            return &names[i];
    return NULL;
}

static void apply(struct fake_name *names, const struct fake_change *change)
{
    struct fake_name *from = change->from[0] != 0 ? find(names, change->from) : NULL;
    struct fake_name *to;

    if (from != NULL)
        *from = (struct fake_name){0};
    if (change->to[0] == 0)
        return;
    to = find(names, change->to);
    if (to == NULL)
        to = find(names, "");
    if (to == NULL)
        abort();
    memcpy(to->name, change->to, FAKE_NAME_MAX);
    to->inode = change->inode;
}

static void change(struct fake_disk *disk, const char *from, const char *to, int inode)
{
    struct fake_change *change;

    if (disk->change_count == FAKE_CHANGES_MAX)
        abort();
    change = &disk->changes[disk->change_count++];
    memset(change, 0, sizeof(*change));
    strncpy(change->from, from, FAKE_NAME_MAX - 1);
    strncpy(change->to, to, FAKE_NAME_MAX - 1);
    change->inode = inode;
    apply(disk->names, change);
}

static int new_inode(struct fake_disk *disk)
{
    for (int i = 0; i < FAKE_FILES_MAX; i++)
        if (!disk->inodes[i].used) {
            disk->inodes[i].used = true;
            disk->inodes[i].now.len = disk->inodes[i].durable.len = 0;
            return i;
        }
    abort();
}

static int64_t fake_now(struct env *env)
{
    return disk_of(env)->now_us;
}

static uint64_t fake_random(struct env *env)
{
    (void)env;
    return 4;
}

static void fake_wake(struct env *env)
{
    (void)env;
}

static int fake_open(struct env *env, const char *path, unsigned flags, struct env_file **ret_file)
{
    struct fake_disk *disk = disk_of(env);
    struct fake_name *name = find(disk->names, path);

    if (fails(disk))
        return ERROR_IO_ERROR;
    if (name == NULL) {
        if ((flags & ENV_OPEN_CREATE) == 0)
            return ERROR_FILE_NOT_FOUND;
        change(disk, "", path, new_inode(disk));
        disk->created++;
        name = find(disk->names, path);
    }
    *ret_file = calloc(1, sizeof(**ret_file));
    **ret_file = (struct env_file){.disk = disk, .inode = name->inode};
    disk->open_files++;
    return 0;
}

static struct fake_content *now_of(struct env_file *file)
{
    return &file->disk->inodes[file->inode].now;
}

static int fake_read(struct env_file *file, uint64_t offset, void *into, size_t len, size_t *ret_read)
{
    struct fake_content *content = now_of(file);

    if (fails(file->disk))
        return ERROR_IO_ERROR;
    *ret_read = offset >= content->len ? 0 : content->len - offset < len ? content->len - offset : len;
    if (*ret_read > 0)
        memcpy(into, content->ptr + offset, *ret_read);
    return 0;
}

static int fake_write(struct env_file *file, uint64_t offset, struct bytes data)
{
    struct fake_content *content = now_of(file);

    if (fails(file->disk))
        return ERROR_IO_ERROR;
    content_grow(content, offset + data.len);
    memcpy(content->ptr + offset, data.ptr, data.len);
    return 0;
}

static int fake_size(struct env_file *file, uint64_t *ret_size)
{
    if (fails(file->disk))
        return ERROR_IO_ERROR;
    *ret_size = now_of(file)->len;
    return 0;
}

static int fake_truncate(struct env_file *file, uint64_t size)
{
    if (fails(file->disk))
        return ERROR_IO_ERROR;
    content_grow(now_of(file), size);
    now_of(file)->len = size;
    return 0;
}

static int fake_zero_fill(struct env_file *file, uint64_t offset, uint64_t len)
{
    if (fails(file->disk))
        return ERROR_IO_ERROR;
    content_grow(now_of(file), offset + len);
    memset(now_of(file)->ptr + offset, 0, len);
    return 0;
}

static int fake_drop_cache(struct env_file *file)
{
    return fails(file->disk) ? ERROR_IO_ERROR : 0;
}

/* What was written before the sync began is what it makes durable. */
static void fake_sync(struct env_file *file, struct env_sync *sync)
{
    struct env_sync **last = &file->disk->syncs;
    struct fake_content *snapshot = calloc(1, sizeof(*snapshot));

    content_set(snapshot, now_of(file));
    sync->error = fails(file->disk) ? ERROR_IO_ERROR : 0;
    sync->file = file;
    sync->next = NULL;
    sync->ready = (struct ready){.run = NULL, .link = {(struct list *)(void *)snapshot, NULL}};
    file->syncs++;
    while (*last != NULL)
        last = &(*last)->next;
    *last = sync;
}

static int fake_sync_now(struct env_file *file)
{
    if (fails(file->disk))
        return ERROR_IO_ERROR;
    content_set(&file->disk->inodes[file->inode].durable, now_of(file));
    return 0;
}

static void fake_close(struct env_file *file)
{
    if (file->syncs != 0)
        abort(); /* the file must stay open until its syncs are done */
    file->disk->open_files--;
    free(file);
}

static int fake_rename(struct env *env, const char *from, const char *to)
{
    struct fake_disk *disk = disk_of(env);
    struct fake_name *name = find(disk->names, from);

    if (fails(disk))
        return ERROR_IO_ERROR;
    if (name == NULL)
        return ERROR_FILE_NOT_FOUND;
    change(disk, from, to, name->inode);
    return 0;
}

static int fake_remove(struct env *env, const char *path)
{
    struct fake_disk *disk = disk_of(env);

    if (fails(disk))
        return ERROR_IO_ERROR;
    if (find(disk->names, path) == NULL)
        return ERROR_FILE_NOT_FOUND;
    change(disk, path, "", 0);
    disk->removed++;
    return 0;
}

static int fake_dir_make(struct env *env, const char *path)
{
    (void)path;
    return fails(disk_of(env)) ? ERROR_IO_ERROR : 0;
}

static int fake_dir_sync(struct env *env, const char *path)
{
    struct fake_disk *disk = disk_of(env);

    (void)path;
    if (fails(disk))
        return ERROR_IO_ERROR;
    memcpy(disk->durable_names, disk->names, sizeof(disk->names));
    disk->change_count = 0;
    disk->dir_syncs++;
    return 0;
}

static int fake_dir_list(struct env *env, const char *path, void (*each)(void *ctx, const char *name), void *ctx)
{
    struct fake_disk *disk = disk_of(env);
    size_t len = strlen(path);

    if (fails(disk))
        return ERROR_IO_ERROR;
    for (int i = 0; i < FAKE_FILES_MAX; i++)
        if (strncmp(disk->names[i].name, path, len) == 0 && disk->names[i].name[len] == '/')
            each(ctx, disk->names[i].name + len + 1);
    return 0;
}

static int fake_dir_space(struct env *env, const char *path, struct env_space *ret_space)
{
    (void)path;
    if (fails(disk_of(env)))
        return ERROR_IO_ERROR;
    *ret_space = (struct env_space){1 << 30, 1 << 30};
    return 0;
}

static void fake_job_start(struct env *env, struct env_job *job)
{
    struct fake_disk *disk = disk_of(env);

    if (disk->job != NULL)
        abort();
    disk->job = job;
    disk->job_ran = disk->job_stopped = false;
}

static void fake_job_stop(struct env *env, struct env_job *job)
{
    if (disk_of(env)->job == job)
        disk_of(env)->job_stopped = true;
}

static void fake_trace(struct env *env, enum severity severity, struct bytes line)
{
    (void)line;
    if (severity == SEVERITY_WARN_ALWAYS)
        disk_of(env)->traced_damage++;
}

static const struct env_ops fake_ops = {
    .now_us = fake_now,
    .wall_us = fake_now,
    .random = fake_random,
    .wake_at = fake_wake,
    .file_open = fake_open,
    .file_read = fake_read,
    .file_write = fake_write,
    .file_size = fake_size,
    .file_truncate = fake_truncate,
    .file_zero_fill = fake_zero_fill,
    .file_drop_cache = fake_drop_cache,
    .file_sync = fake_sync,
    .file_sync_now = fake_sync_now,
    .file_close = fake_close,
    .rename = fake_rename,
    .remove = fake_remove,
    .dir_make = fake_dir_make,
    .dir_sync = fake_dir_sync,
    .dir_list = fake_dir_list,
    .dir_space = fake_dir_space,
    .job_start = fake_job_start,
    .job_stop = fake_job_stop,
    .trace = fake_trace,
};

struct fake_disk *fake_disk_create(void)
{
    struct fake_disk *disk = calloc(1, sizeof(*disk));

    env_init(&disk->env, &fake_ops);
    return disk;
}

void fake_disk_destroy(struct fake_disk *disk)
{
    if (disk->open_files != 0 || disk->syncs != NULL || disk->job != NULL)
        abort();
    for (int i = 0; i < FAKE_FILES_MAX; i++) {
        free(disk->inodes[i].now.ptr);
        free(disk->inodes[i].durable.ptr);
    }
    env_done(&disk->env);
    free(disk);
}

static void finish_oldest_sync(struct fake_disk *disk)
{
    struct env_sync *sync = disk->syncs;
    struct fake_content *snapshot;

    if (sync == NULL)
        return;
    disk->syncs = sync->next;
    snapshot = (struct fake_content *)(void *)sync->ready.link.next;
    if (sync->error == 0)
        content_set(&disk->inodes[sync->file->inode].durable, snapshot);
    free(snapshot->ptr);
    free(snapshot);
    sync->file->syncs--;
    sync->done(sync, sync->error);
}

static void go_on_with_job(struct fake_disk *disk)
{
    struct env_job *job = disk->job;

    if (job == NULL || (disk->jobs_wait && !disk->job_stopped))
        return;
    if (!disk->job_ran && !disk->job_stopped) {
        disk->job_ran = true;
        job->run(job);
        return;
    }
    disk->job = NULL;
    job->done(job);
}

void fake_disk_run(struct fake_disk *disk, unsigned turns, bool syncs)
{
    for (unsigned i = 0; i < turns; i++) {
        disk->now_us += 10;
        env_turn(&disk->env);
        if (syncs)
            finish_oldest_sync(disk);
        go_on_with_job(disk);
    }
}

void fake_disk_finish(struct fake_disk *disk)
{
    while (disk->syncs != NULL || disk->job != NULL)
        fake_disk_run(disk, 1, true);
}

static void crash_content(struct fake_inode *inode, enum fake_crash how, uint64_t *random)
{
    struct fake_content old = inode->durable, *now = &inode->now;

    if (how == FAKE_KEEP_ALL)
        return;
    if (how == FAKE_KEEP_SOME && draw_below(random, 2) == 0)
        content_grow(&old, now->len); /* the size was written */
    inode->durable = old;
    for (size_t at = 0; at < old.len && how == FAKE_KEEP_SOME; at += FAKE_SECTOR) {
        size_t end = at + FAKE_SECTOR < now->len ? at + FAKE_SECTOR : now->len;

        end = end < old.len ? end : old.len;
        if (at < end && draw_below(random, 2) == 0)
            memcpy(old.ptr + at, now->ptr + at, end - at);
    }
    content_set(now, &old);
}

static bool named(const struct fake_disk *disk, int inode)
{
    for (int i = 0; i < FAKE_FILES_MAX; i++)
        if (disk->names[i].name[0] != 0 && disk->names[i].inode == inode)
            return true;
    return false;
}

void fake_disk_crash(struct fake_disk *disk, enum fake_crash how, uint64_t *random)
{
    unsigned keep = how == FAKE_KEEP_ALL ? disk->change_count : 0;

    if (disk->open_files != 0)
        abort();
    if (how == FAKE_KEEP_SOME)
        keep = (unsigned)draw_below(random, disk->change_count + 1);
    for (unsigned i = 0; i < keep; i++)
        apply(disk->durable_names, &disk->changes[i]);
    memcpy(disk->names, disk->durable_names, sizeof(disk->names));
    disk->change_count = 0;
    for (int i = 0; i < FAKE_FILES_MAX; i++) {
        crash_content(&disk->inodes[i], how, random);
        content_set(&disk->inodes[i].durable, &disk->inodes[i].now);
        disk->inodes[i].used = named(disk, i);
    }
}

struct fake_content *fake_disk_content(struct fake_disk *disk, const char *name)
{
    struct fake_name *found = find(disk->names, name);

    return found == NULL ? NULL : &disk->inodes[found->inode].now;
}

void fake_disk_copy(struct fake_disk *to, const struct fake_disk *from)
{
    if (to->open_files != 0 || to->syncs != NULL)
        abort();
    memcpy(to->names, from->names, sizeof(to->names));
    memcpy(to->durable_names, from->names, sizeof(to->names));
    to->change_count = 0;
    to->calls = to->fail_at = 0;
    for (int i = 0; i < FAKE_FILES_MAX; i++) {
        to->inodes[i].used = from->inodes[i].used;
        content_set(&to->inodes[i].now, &from->inodes[i].now);
        content_set(&to->inodes[i].durable, &from->inodes[i].now);
    }
}

void fake_disk_fork(struct fake_disk *to, const struct fake_disk *from)
{
    fake_disk_copy(to, from);
    memcpy(to->durable_names, from->durable_names, sizeof(to->durable_names));
    memcpy(to->changes, from->changes, sizeof(to->changes));
    to->change_count = from->change_count;
    for (int i = 0; i < FAKE_FILES_MAX; i++)
        content_set(&to->inodes[i].durable, &from->inodes[i].durable);
}

static void fail_nth_call(void *ctx, uint64_t n)
{
    struct fake_disk *disk = ctx;

    disk->fail_at = n == 0 ? 0 : disk->calls + n;
}

static bool call_failed(void *ctx)
{
    const struct fake_disk *disk = ctx;

    return disk->fail_at != 0 && disk->calls >= disk->fail_at;
}

const struct nth_door fake_disk_calls = {fail_nth_call, call_failed};
