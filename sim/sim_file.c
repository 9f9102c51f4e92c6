/* The seam's calls on files and names, with the faults that they may meet.
 *
 * A dying process can't change anything any more: its calls fail. */
#include "sim/sim_disk_internal.h"

#include <assert.h>
#include <inttypes.h>

#include "net/error.h"
#include "net/mem.h"
#include "net/trace.h"
#include "sim/world.h"

struct env_file {
    struct list link; /* in the process */
    struct sim_process *process;
    struct sim_inode *inode;
    unsigned flags;
};

enum { HUNG_LOOK_US = 20000, FILE_KINDS_MAX = 16 };

/* ---- faults ---- */

static bool call_fails(struct sim_process *process, unsigned calls, const char *call)
{
    struct sim_disk *disk = process->disk;

    if (process->dying)
        return true;
    if (disk->error_one_in == 0 || (disk->error_calls != 0 && (disk->error_calls & calls) == 0) || !sim_random_one_in(&disk->world->faults, disk->error_one_in))
        return false;
    disk->errors++;
    sim_also(disk->world, disk->fault_line);
    sim_note(disk->world, process, call, 0);
    return true;
}

/* An allocation of this turn has failed: what the process still does until the turn's end never happened, but it must not notice,
 * for the code that runs is that of a process that lives. */
static bool process_is_cut_off(const struct sim_process *process)
{
    return !process->dying && sim_process_cut_off(process);
}

static uint64_t capacity_of(const struct sim_disk *disk)
{
    return disk->limit_bytes != 0 ? disk->limit_bytes : disk->world->settings.disk_bytes;
}

static bool has_space(struct sim_process *process, uint64_t more)
{
    struct sim_disk *disk = process->disk;

    if (!disk->full && disk->used_bytes + more <= capacity_of(disk))
        return true;
    TRACE(&process->env, SEVERITY_WARN, "DiskFull", {"UsedBytes", trace_int((int64_t)disk->used_bytes)});
    return false;
}

static int64_t sync_us(struct sim_disk *disk)
{
    struct sim_world *world = disk->world;
    const struct sim_settings *settings = &world->settings;

    if (world->now_us < disk->hung_until_us)
        return disk->hung_until_us - world->now_us;
    if (world->now_us < disk->slow_until_us)
        return sim_random_range(&world->schedule, 10000, SIM_SECOND_US);
    return sim_draw_us(&world->schedule, settings->sync_us, settings->sync_tail, settings->sync_tail_us);
}

/* ---- the trace ---- */

static const char *path_of(const struct sim_process *process, const struct sim_inode *inode)
{
    const struct sim_names *names = &process->disk->live;

    for (size_t i = 0; i < names->count; i++)
        if (names->names[i].inode == inode)
            return names->names[i].path;
    return "a removed file";
}

static bool is_traced(const struct sim_process *process)
{
    return process->world->trace != NULL;
}

/* ---- files ---- */

int sim_file_open(struct env *env, const char *path, unsigned flags, struct env_file **ret_file)
{
    struct sim_process *process = sim_process_of(env);
    struct sim_disk *disk = process->disk;
    struct sim_inode *inode = names_find(&disk->live, path);
    struct env_file *file;

    if (call_fails(process, SIM_DISK_READS, "open-error"))
        return ERROR_IO_ERROR;
    if ((flags & ENV_OPEN_EXCLUSIVE) != 0)
        flags |= ENV_OPEN_CREATE;
    if (inode == NULL && ((flags & ENV_OPEN_CREATE) == 0 || !disk_has_parent(disk, path)))
        return ERROR_FILE_NOT_FOUND;
    if (inode != NULL && (flags & ENV_OPEN_EXCLUSIVE) != 0)
        return ERROR_FILE_NOT_WRITABLE;
    if (inode == NULL && process_is_cut_off(process)) {
        inode = inode_create(disk);
        inode->refs--;
    } else if (inode == NULL) {
        if (!has_space(process, SIM_PAGE_BYTES))
            return ERROR_IO_ERROR;
        inode = inode_create(disk);
        names_set(&disk->live, path, inode);
        disk_push_op(disk, SIM_NAME_ADD, NULL, path, inode);
        inode->refs--; /* the creator's: the name and the op hold it */
    }
    inode->refs++;
    file = sim_zalloc(sizeof(*file));
    *file = (struct env_file){.process = process, .inode = inode, .flags = flags};
    list_push_back(&process->files, &file->link);
    *ret_file = file;
    return 0;
}

int sim_file_read(struct env_file *file, uint64_t offset, void *into, size_t len, size_t *ret_read)
{
    struct sim_inode *inode = file->inode;
    uint8_t *out = into;

    if (call_fails(file->process, SIM_DISK_READS, "read-error"))
        return ERROR_IO_ERROR;
    if (offset >= inode->live_size)
        len = 0;
    else if (len > inode->live_size - offset)
        len = (size_t)(inode->live_size - offset);
    *ret_read = len;
    while (len > 0) {
        size_t index = (size_t)(offset / SIM_PAGE_BYTES), start = (size_t)(offset % SIM_PAGE_BYTES);
        size_t part = SIM_PAGE_BYTES - start < len ? SIM_PAGE_BYTES - start : len;

        memcpy(out, inode_page_data(inode, index) + start, part);
        out += part;
        offset += part;
        len -= part;
    }
    return 0;
}

int sim_file_write(struct env_file *file, uint64_t offset, struct bytes data)
{
    struct sim_inode *inode = file->inode;

    assert((file->flags & ENV_OPEN_WRITE) != 0);
    if (call_fails(file->process, SIM_DISK_WRITES, "write-error"))
        return ERROR_IO_ERROR;
    if (process_is_cut_off(file->process))
        return 0;
    /* Pages that exist may be written when the disk is full; a growing file may not. */
    if (offset + data.len > inode->live_size && !has_space(file->process, data.len))
        return ERROR_IO_ERROR;
    if (is_traced(file->process))
        sim_say(file->process->world, file->process, "write %s at %" PRIu64 ": %zu bytes", path_of(file->process, inode), offset,
                data.len);
    inode_write(inode, offset, data);
    return 0;
}

int sim_file_size(struct env_file *file, uint64_t *ret_size)
{
    *ret_size = file->inode->live_size;
    return 0;
}

int sim_file_truncate(struct env_file *file, uint64_t size)
{
    struct sim_inode *inode = file->inode;

    if (call_fails(file->process, SIM_DISK_WRITES, "truncate-error"))
        return ERROR_IO_ERROR;
    if (process_is_cut_off(file->process))
        return 0;
    if (is_traced(file->process))
        sim_say(file->process->world, file->process, "truncate %s to %" PRIu64, path_of(file->process, inode), size);
    if (size < inode->live_size)
        inode_zero(inode, size, inode->live_size);
    inode->live_size = size;
    return 0;
}

int sim_file_zero_fill(struct env_file *file, uint64_t offset, uint64_t len)
{
    struct sim_inode *inode = file->inode;
    uint64_t end = offset + len;

    if (call_fails(file->process, SIM_DISK_WRITES, "allocate-error"))
        return ERROR_IO_ERROR;
    if (process_is_cut_off(file->process))
        return 0;
    if (end > inode->live_size && !has_space(file->process, end - inode->live_size))
        return ERROR_IO_ERROR;
    inode_zero(inode, offset, end < inode->live_size ? end : inode->live_size);
    if (end > inode->live_size)
        inode->live_size = end;
    return 0;
}

int sim_file_drop_cache(struct env_file *file)
{
    inode_drop_cache(file->inode);
    return 0;
}

void sim_file_close(struct env_file *file)
{
    if (file == NULL)
        return;
    list_each(link, after, &file->process->syncs)
        assert(list_entry(link, struct sim_pending, link)->sync->file != file);
    list_remove(&file->link);
    inode_unref(file->inode);
    mem_free(file);
}

/* ---- syncs ---- */

static void sync_count(struct sim_disk *disk, int error)
{
    disk->syncs++;
    disk->failed_syncs += error != 0;
}

static void sync_ready(struct ready *ready)
{
    struct env_sync *sync = container_of(ready, struct env_sync, ready);
    int error = ERROR_INTERNAL_ERROR;

    list_each(link, after, &sync->file->process->syncs) {
        struct sim_pending *pending = list_entry(link, struct sim_pending, link);

        if (pending->sync == sync) {
            error = pending->error;
            inode_unref(pending->inode);
            sim_pending_free(pending);
            break;
        }
    }
    sync->error = error;
    sync->done(sync, error);
}

/* What a lying disk says it has synced is as after a failed sync: clean, readable and not durable. */
static void end_sync(struct sim_disk *disk, struct sim_pending *pending)
{
    int error = pending->error;

    if (disk->lying)
        pending->error = ERROR_IO_ERROR;
    inode_end_sync(pending, false);
    pending->error = error;
}

static void sync_heard(struct sim_event *event)
{
    struct sim_pending *pending = container_of(event, struct sim_pending, event);

    env_ready(&pending->process->env, &pending->sync->ready, READY_COMMIT);
}

static void sync_finishes(struct sim_event *event)
{
    struct sim_pending *pending = container_of(event, struct sim_pending, event);
    struct sim_process *process = pending->process;

    if (process->world->now_us < process->disk->hung_until_us) { /* it began before the disk hung */
        sim_event_in(process->world, event, HUNG_LOOK_US);
        return;
    }
    pending->ran = true;
    if (call_fails(process, SIM_DISK_SYNCS, "sync-error"))
        pending->error = ERROR_IO_ERROR;
    sync_count(process->disk, pending->error);
    end_sync(process->disk, pending);
    sim_set_cause(process->world,
                  sim_note_as(process->world, process, "synced", pending->size, "synced %s: %s%s",
                              is_traced(process) ? path_of(process, pending->inode) : "",
                              pending->error == 0 ? "ok" : error_name(pending->error),
                              process->disk->lying ? ", and that is a lie" : ""));
    event->fire = sync_heard;
    event->process = process;
    sim_dispatch(process->world, event);
}

void sim_file_sync(struct env_file *file, struct env_sync *sync)
{
    struct sim_process *process = file->process;
    struct sim_pending *pending = sim_pending_take(process, &process->syncs);
    uint64_t outer = sim_cause(process->world);

    assert(sync->done != NULL && !process->dying);
    sync->file = file;
    sync->ready = (struct ready){.run = sync_ready};
    pending->sync = sync;
    pending->inode = file->inode;
    file->inode->refs++;
    inode_begin_sync(pending);
    pending->event.fire = sync_finishes;
    if (is_traced(process)) {
        sim_also(process->world, process->world->now_us < process->disk->slow_until_us ? process->disk->fault_line : 0);
        outer = sim_set_cause(process->world, sim_say(process->world, process, "sync %s", path_of(process, file->inode)));
    }
    sim_event_in(process->world, &pending->event, sync_us(process->disk));
    sim_set_cause(process->world, outer);
}

int sim_file_sync_now(struct env_file *file)
{
    struct sim_process *process = file->process;
    struct sim_pending pending = {.inode = file->inode};

    if (process->dying)
        return ERROR_IO_ERROR;
    if (process_is_cut_off(process))
        return 0;
    process->blocked_us += sync_us(process->disk);
    if (call_fails(process, SIM_DISK_SYNCS, "sync-error"))
        pending.error = ERROR_IO_ERROR;
    sync_count(process->disk, pending.error);
    if (is_traced(process))
        sim_say(process->world, process, "synced at once %s: %s", path_of(process, file->inode),
                pending.error == 0 ? "ok" : error_name(pending.error));
    inode_begin_sync(&pending);
    end_sync(process->disk, &pending);
    mem_free(pending.pages);
    return pending.error;
}

void sim_disk_unhang(struct sim_process *process)
{
    struct sim_world *world = process->world;

    process->disk->hung_until_us = 0;
    if (process->busy_until_us > world->now_us) { /* it may have blocked in a call until the end of the fault */
        process->busy_until_us = world->now_us;
        sim_process_plan(process);
    }
    list_each(link, after, &process->syncs) {
        struct sim_pending *pending = list_entry(link, struct sim_pending, link);

        if (!pending->ran && pending->event.at_us > world->now_us + HUNG_LOOK_US)
            sim_event_in(world, &pending->event, sim_random_range(&world->schedule, 0, HUNG_LOOK_US));
    }
}

/* As "4a00.queue" and "5c00.queue" are one kind. */
static void kind_of(const char *path, char ret_kind[SIM_FILE_KIND_MAX])
{
    const char *base = strrchr(path, '/'), *from = base == NULL ? path : base + 1;
    size_t len = 0;

    for (from += strspn(from, "0123456789abcdef") >= 16 ? 16 : 0; *from != '\0' && len + 1 < SIM_FILE_KIND_MAX; from++)
        if (*from < '0' || *from > '9')
            ret_kind[len++] = *from;
    ret_kind[len] = '\0';
}

bool sim_disk_draw_kind(const struct sim_disk *disk, struct sim_random *random, char ret_kind[SIM_FILE_KIND_MAX])
{
    char kinds[FILE_KINDS_MAX][SIM_FILE_KIND_MAX], kind[SIM_FILE_KIND_MAX];
    size_t count = 0, at;

    for (size_t i = 0; i < disk->live.count; i++) {
        kind_of(disk->live.names[i].path, kind);
        for (at = 0; at < count && strcmp(kinds[at], kind) != 0; at++)
            ;
        if (at == count && count < FILE_KINDS_MAX)
            memcpy(kinds[count++], kind, sizeof(kind));
    }
    if (count == 0)
        return false;
    memcpy(ret_kind, kinds[sim_random_below(random, count)], SIM_FILE_KIND_MAX);
    return true;
}

bool sim_disk_hit(struct sim_process *process, const char *kind)
{
    char its[SIM_FILE_KIND_MAX];
    bool any = false;

    list_each(link, after, &process->syncs) {
        struct sim_pending *pending = list_entry(link, struct sim_pending, link);

        kind_of(path_of(process, pending->inode), its);
        if (pending->ran || strcmp(its, kind) != 0)
            continue;
        pending->inode->hit = any = true;
    }
    return any;
}

void sim_disk_slow(struct sim_process *process, int64_t lasts_us)
{
    struct sim_world *world = process->world;

    process->disk->fault_line = sim_say(world, process, "its disk gets slow");
    process->disk->slow_until_us = world->now_us + lasts_us;
}

void sim_disk_heal(struct sim_process *process)
{
    struct sim_disk *disk = process->disk;
    bool held_up = disk->hung_until_us != 0 || disk->slow_until_us != 0;

    disk->error_one_in = disk->error_calls = 0;
    disk->full = false;
    disk->limit_bytes = 0;
    disk->slow_until_us = 0;
    if (held_up) /* a start on a slow disk blocks in dozens of syncs, each as slow as the disk was when the turn began */
        sim_disk_unhang(process);
}

void sim_disk_cancel_syncs(struct sim_process *process)
{
    struct list *link;

    while ((link = process->syncs.next) != &process->syncs) {
        struct sim_pending *pending = list_entry(link, struct sim_pending, link);
        struct env_sync *sync = pending->sync;

        env_ready_cancel(&sync->ready);
        if (!pending->ran)
            inode_end_sync(pending, true);
        inode_unref(pending->inode);
        sim_pending_free(pending);
        sync->done(sync, ERROR_OPERATION_CANCELLED);
    }
}

size_t sim_disk_sweep(struct sim_process *process)
{
    size_t left = 0;

    for (; !list_empty(&process->files); left++)
        sim_file_close(list_entry(process->files.next, struct env_file, link));
    return left;
}

/* ---- names ---- */

int sim_rename(struct env *env, const char *from, const char *to)
{
    struct sim_process *process = sim_process_of(env);
    struct sim_disk *disk = process->disk;
    struct sim_inode *inode = names_find(&disk->live, from);

    if (call_fails(process, SIM_DISK_NAMES, "rename-error"))
        return ERROR_IO_ERROR;
    if (process_is_cut_off(process))
        return 0;
    if (inode == NULL || !disk_has_parent(disk, to))
        return ERROR_FILE_NOT_FOUND;
    sim_say(disk->world, process, "rename %s to %s", from, to);
    disk_push_op(disk, SIM_NAME_MOVE, from, to, inode);
    names_set(&disk->live, to, inode);
    names_set(&disk->live, from, NULL);
    return 0;
}

int sim_remove(struct env *env, const char *path)
{
    struct sim_process *process = sim_process_of(env);
    struct sim_disk *disk = process->disk;

    if (call_fails(process, SIM_DISK_NAMES, "remove-error"))
        return ERROR_IO_ERROR;
    if (process_is_cut_off(process))
        return 0;
    if (names_find(&disk->live, path) != NULL) {
        sim_say(disk->world, process, "remove %s", path);
        disk_push_op(disk, SIM_NAME_REMOVE, path, NULL, NULL);
        names_set(&disk->live, path, NULL);
        return 0;
    }
    /* What a library with its own I/O wrote under real_path(). */
    if (sim_scratch_unlink(process, path))
        return 0;
    return disk_remove_dir(disk, path);
}

int sim_dir_make(struct env *env, const char *path)
{
    struct sim_process *process = sim_process_of(env);
    struct sim_disk *disk = process->disk;

    if (call_fails(process, SIM_DISK_NAMES, "mkdir-error"))
        return ERROR_IO_ERROR;
    if (process_is_cut_off(process))
        return 0;
    if (disk_has_dir(disk, path))
        return 0;
    if (names_find(&disk->live, path) != NULL || !disk_has_parent(disk, path))
        return ERROR_FILE_NOT_FOUND;
    disk_add_dir(disk, path);
    return 0;
}

int sim_dir_sync(struct env *env, const char *path)
{
    struct sim_process *process = sim_process_of(env);
    struct sim_disk *disk = process->disk;

    if (!disk_has_dir(disk, path))
        return ERROR_FILE_NOT_FOUND;
    process->blocked_us += sync_us(disk);
    if (call_fails(process, SIM_DISK_SYNCS, "dir-sync-error"))
        return ERROR_IO_ERROR;
    if (process_is_cut_off(process))
        return 0;
    sim_say(disk->world, process, "synced the names in %s", path);
    disk_sync_names(disk, path);
    return 0;
}

/* The names in a directory, gathered first: `each` may change it. */
struct listing {
    char **names; /* owned array of owned */
    size_t count, capacity;
};

static void listing_add(struct listing *listing, const char *path)
{
    const char *slash = strrchr(path, '/');

    if (listing->count == listing->capacity) {
        listing->capacity = listing->capacity == 0 ? 16 : listing->capacity * 2;
        listing->names = mem_realloc(listing->names, listing->capacity * sizeof(listing->names[0]));
        assert(listing->names != NULL);
    }
    listing->names[listing->count++] = sim_strdup(slash == NULL ? path : slash + 1);
}

static void add_scratch_name(void *ctx, const char *name)
{
    listing_add(ctx, name);
}

int sim_dir_list(struct env *env, const char *path, void (*each)(void *ctx, const char *name), void *ctx)
{
    struct sim_process *process = sim_process_of(env);
    struct sim_disk *disk = process->disk;
    struct listing listing = {0};

    if (!disk_has_dir(disk, path))
        return ERROR_FILE_NOT_FOUND;
    for (size_t i = 0; i < disk->live.count; i++)
        if (lies_in(disk->live.names[i].path, path))
            listing_add(&listing, disk->live.names[i].path);
    for (size_t i = 0; i < disk->dir_count; i++)
        if (lies_in(disk->dirs[i], path))
            listing_add(&listing, disk->dirs[i]);
    sim_scratch_list(process, path, add_scratch_name, &listing);
    while (listing.count > 0) { /* in any order, as a file system does */
        size_t nth = sim_random_below(&disk->world->schedule, listing.count);
        char *name = listing.names[nth];

        listing.names[nth] = listing.names[--listing.count];
        each(ctx, name);
        mem_free(name);
    }
    mem_free(listing.names);
    return 0;
}

int sim_dir_space(struct env *env, const char *path, struct env_space *ret_space)
{
    struct sim_disk *disk = sim_process_of(env)->disk;
    uint64_t capacity = capacity_of(disk);

    (void)path;
    ret_space->total_bytes = disk->world->settings.disk_bytes;
    ret_space->free_bytes = disk->full || disk->used_bytes > capacity ? 0 : capacity - disk->used_bytes;
    return 0;
}
