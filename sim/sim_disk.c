/* Files as arrays of pages, each with up to three images: live (the page cache), syncing (what a sync under way saw) and
 * durable. Images are shared and copied on write, so a clean page costs one block; NULL is a page of zeros.
 *
 * Overlapping syncs of one file finish as they come; a page that both cover becomes durable with the first, in the newer
 * image: a disk may always write early. */
#include "sim/sim_disk.h"

#include <assert.h>
#include <stdlib.h>
#include <unistd.h>
#include <dirent.h>
#include <xxhash.h>

#include "net/error.h"
#include "net/mem.h"
#include "net/trace.h"
#include "sim/env_sim.h"
#include "sim/world.h"

struct page {
    struct sim_page_block *live, *syncing, *durable;
    bool dirty;
    bool in_sync; /* syncing is what a sync under way makes durable */
};

struct sim_inode {
    uint32_t refs; /* names (live, durable, ops), open files, syncs */
    uint64_t live_size, durable_size;
    struct page *pages; /* owned */
    size_t page_count;
    uint32_t *dirty; /* owned: indices of dirty pages */
    size_t dirty_count, dirty_capacity;
    struct sim_disk *disk;
};

struct env_file {
    struct list link; /* in the process */
    struct sim_process *process;
    struct sim_inode *inode;
    unsigned flags;
};

/* ---- page images ---- */

static struct sim_page_block *block_take(struct sim_pages *pages)
{
    struct sim_page_block *block = pages->spare;

    if (block != NULL)
        pages->spare = block->next;
    else
        block = mem_alloc(sizeof(*block));
    assert(block != NULL);
    block->refs = 1;
    return block;
}

static struct sim_page_block *block_ref(struct sim_page_block *block)
{
    if (block != NULL)
        block->refs++;
    return block;
}

static void block_unref(struct sim_pages *pages, struct sim_page_block *block)
{
    if (block == NULL || --block->refs != 0)
        return;
    block->next = pages->spare;
    pages->spare = block;
}

static void block_set(struct sim_pages *pages, struct sim_page_block **slot, struct sim_page_block *block)
{
    block_ref(block);
    block_unref(pages, *slot);
    *slot = block;
}

static const uint8_t *block_data(const struct sim_page_block *block)
{
    static const uint8_t zeros[SIM_PAGE_BYTES];

    return block == NULL ? zeros : block->data;
}

/* ---- inodes ---- */

static struct sim_inode *inode_create(struct sim_disk *disk)
{
    struct sim_inode *inode = sim_zalloc(sizeof(*inode));

    inode->refs = 1;
    inode->disk = disk;
    return inode;
}

static void inode_unref(struct sim_inode *inode)
{
    struct sim_pages *pages = &inode->disk->world->pages;

    if (--inode->refs != 0)
        return;
    for (size_t i = 0; i < inode->page_count; i++) {
        if (inode->pages[i].live != NULL)
            inode->disk->used_bytes -= SIM_PAGE_BYTES;
        block_unref(pages, inode->pages[i].live);
        block_unref(pages, inode->pages[i].syncing);
        block_unref(pages, inode->pages[i].durable);
    }
    mem_free(inode->pages);
    mem_free(inode->dirty);
    mem_free(inode);
}

static struct page *inode_page(struct sim_inode *inode, size_t index)
{
    if (index >= inode->page_count) {
        size_t count = inode->page_count * 2 > index + 1 ? inode->page_count * 2 : index + 1;

        inode->pages = mem_realloc(inode->pages, count * sizeof(inode->pages[0]));
        assert(inode->pages != NULL);
        memset(inode->pages + inode->page_count, 0, (count - inode->page_count) * sizeof(inode->pages[0]));
        inode->page_count = count;
    }
    return &inode->pages[index];
}

static void mark_dirty(struct sim_inode *inode, size_t index)
{
    if (inode->pages[index].dirty)
        return;
    inode->pages[index].dirty = true;
    if (inode->dirty_count == inode->dirty_capacity) {
        inode->dirty_capacity = inode->dirty_capacity == 0 ? 16 : inode->dirty_capacity * 2;
        inode->dirty = mem_realloc(inode->dirty, inode->dirty_capacity * sizeof(inode->dirty[0]));
        assert(inode->dirty != NULL);
    }
    inode->dirty[inode->dirty_count++] = (uint32_t)index;
}

static void set_live(struct sim_inode *inode, struct page *page, struct sim_page_block *block)
{
    struct sim_disk *disk = inode->disk;

    if (page->live == NULL && block != NULL)
        disk->used_bytes += SIM_PAGE_BYTES;
    if (page->live != NULL && block == NULL)
        disk->used_bytes -= SIM_PAGE_BYTES;
    block_set(&disk->world->pages, &page->live, block);
}

/* The page's live image, ready to be changed in place. */
static uint8_t *page_for_writing(struct sim_inode *inode, size_t index)
{
    struct page *page = inode_page(inode, index);
    struct sim_pages *pages = &inode->disk->world->pages;

    mark_dirty(inode, index);
    page = &inode->pages[index];
    if (page->live == NULL || page->live->refs > 1) {
        struct sim_page_block *block = block_take(pages);

        memcpy(block->data, block_data(page->live), SIM_PAGE_BYTES);
        set_live(inode, page, block);
        block_unref(pages, block);
    }
    return page->live->data;
}

static void zero_page(struct sim_inode *inode, size_t index)
{
    struct page *page = inode_page(inode, index);

    if (page->live == NULL && page->durable == NULL && !page->in_sync)
        return;
    set_live(inode, page, NULL);
    mark_dirty(inode, index);
}

static void zero_bytes(struct sim_inode *inode, uint64_t from, uint64_t to)
{
    while (from < to) {
        size_t index = (size_t)(from / SIM_PAGE_BYTES);
        uint64_t page_end = (uint64_t)(index + 1) * SIM_PAGE_BYTES;
        uint64_t end = to < page_end ? to : page_end;

        if (from % SIM_PAGE_BYTES == 0 && end == page_end)
            zero_page(inode, index);
        else if (index < inode->page_count)
            memset(page_for_writing(inode, index) + from % SIM_PAGE_BYTES, 0, (size_t)(end - from));
        from = end;
    }
}

/* ---- names ---- */

static size_t names_position(const struct sim_names *names, const char *path, bool *ret_found)
{
    size_t low = 0, high = names->count;

    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = strcmp(names->names[middle].path, path);

        if (order == 0) {
            *ret_found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *ret_found = false;
    return low;
}

static struct sim_inode *names_find(const struct sim_names *names, const char *path)
{
    bool found;
    size_t position = names_position(names, path, &found);

    return found ? names->names[position].inode : NULL;
}

/* Makes `path` name `inode` (a new reference); NULL takes the name away. */
static void names_set(struct sim_names *names, const char *path, struct sim_inode *inode)
{
    bool found;
    size_t position = names_position(names, path, &found);
    struct sim_inode *old = found ? names->names[position].inode : NULL;

    if (inode != NULL)
        inode->refs++;
    if (found && inode != NULL) {
        names->names[position].inode = inode;
    } else if (found) {
        mem_free(names->names[position].path);
        memmove(&names->names[position], &names->names[position + 1],
                (--names->count - position) * sizeof(names->names[0]));
    } else if (inode != NULL) {
        if (names->count == names->capacity) {
            names->capacity = names->capacity == 0 ? 16 : names->capacity * 2;
            names->names = mem_realloc(names->names, names->capacity * sizeof(names->names[0]));
            assert(names->names != NULL);
        }
        memmove(&names->names[position + 1], &names->names[position],
                (names->count++ - position) * sizeof(names->names[0]));
        names->names[position] = (struct sim_name){sim_strdup(path), inode};
    }
    if (old != NULL)
        inode_unref(old);
}

static void names_done(struct sim_names *names)
{
    for (size_t i = 0; i < names->count; i++) {
        mem_free(names->names[i].path);
        inode_unref(names->names[i].inode);
    }
    mem_free(names->names);
    *names = (struct sim_names){0};
}

static void names_copy(struct sim_names *to, const struct sim_names *from)
{
    names_done(to);
    for (size_t i = 0; i < from->count; i++)
        names_set(to, from->names[i].path, from->names[i].inode);
}

static bool lies_in(const char *path, const char *dir)
{
    const char *slash = path == NULL ? NULL : strrchr(path, '/');
    size_t length = slash == NULL ? 0 : (size_t)(slash - path);
    size_t dir_length = strlen(dir);

    if (path == NULL)
        return false;
    while (dir_length > 0 && dir[dir_length - 1] == '/')
        dir_length--;
    return length == dir_length && strncmp(path, dir, length) == 0;
}

static void op_push(struct sim_disk *disk, enum sim_name_change change, const char *from, const char *to,
                    struct sim_inode *inode)
{
    if (disk->op_count == disk->op_capacity) {
        disk->op_capacity = disk->op_capacity == 0 ? 16 : disk->op_capacity * 2;
        disk->ops = mem_realloc(disk->ops, disk->op_capacity * sizeof(disk->ops[0]));
        assert(disk->ops != NULL);
    }
    if (inode != NULL)
        inode->refs++;
    disk->ops[disk->op_count++] = (struct sim_name_op){
        .change = change,
        .from = from == NULL ? NULL : sim_strdup(from),
        .to = to == NULL ? NULL : sim_strdup(to),
        .inode = inode,
    };
}

static void op_done(struct sim_name_op *op)
{
    mem_free(op->from);
    mem_free(op->to);
    if (op->inode != NULL)
        inode_unref(op->inode);
}

static void op_apply(struct sim_disk *disk, const struct sim_name_op *op)
{
    if (op->from != NULL)
        names_set(&disk->durable, op->from, NULL);
    if (op->to != NULL)
        names_set(&disk->durable, op->to, op->inode);
}

/* ---- the disk ---- */

static char *dir_name(const char *path)
{
    char *dir = sim_strdup(path);
    size_t length = strlen(dir);

    while (length > 1 && dir[length - 1] == '/')
        dir[--length] = '\0';
    return dir;
}

static bool dir_exists(const struct sim_disk *disk, const char *path)
{
    size_t length = strlen(path);

    while (length > 0 && path[length - 1] == '/')
        length--;
    if (length == 0 || (length == 1 && path[0] == '.'))
        return true;
    for (size_t i = 0; i < disk->dir_count; i++)
        if (strlen(disk->dirs[i]) == length && strncmp(disk->dirs[i], path, length) == 0)
            return true;
    return false;
}

static bool parent_exists(const struct sim_disk *disk, const char *path)
{
    const char *slash = strrchr(path, '/');
    char *parent;
    bool exists;

    if (slash == NULL)
        return true;
    parent = sim_strdup(path);
    parent[slash - path] = '\0';
    exists = dir_exists(disk, parent);
    mem_free(parent);
    return exists;
}

struct sim_disk *sim_disk_create(struct sim_world *world)
{
    struct sim_disk *disk = sim_zalloc(sizeof(*disk));

    disk->world = world;
    return disk;
}

void sim_disk_destroy(struct sim_disk *disk)
{
    if (disk == NULL)
        return;
    for (size_t i = 0; i < disk->op_count; i++)
        op_done(&disk->ops[i]);
    names_done(&disk->live);
    names_done(&disk->durable);
    for (size_t i = 0; i < disk->dir_count; i++)
        mem_free(disk->dirs[i]);
    mem_free(disk->dirs);
    mem_free(disk->ops);
    mem_free(disk);
}

/* ---- power-off ---- */

/* How much the disk had written by itself: every page draws, or all of them share one fate. */
enum power_fate { FATE_DRAWN, FATE_ALL_LOST, FATE_ALL_KEPT, POWER_FATES };

static void tear_page(struct sim_inode *inode, struct page *page, struct sim_random *random)
{
    struct sim_page_block *block = block_take(&inode->disk->world->pages);
    bool garbage = sim_random_one_in(random, 4);

    for (size_t sector = 0; sector < SIM_PAGE_BYTES; sector += SIM_SECTOR_BYTES) {
        uint64_t drawn = sim_random_below(random, garbage ? 3 : 2);

        if (drawn == 2)
            memset(block->data + sector, (int)(sim_random_u64(random) & 0xff), SIM_SECTOR_BYTES);
        else
            memcpy(block->data + sector, block_data(drawn == 0 ? page->live : page->durable) + sector, SIM_SECTOR_BYTES);
    }
    block_set(&inode->disk->world->pages, &page->durable, block);
    block_unref(&inode->disk->world->pages, block);
    inode->disk->torn_pages++;
}

static void page_power_off(struct sim_inode *inode, struct page *page, enum power_fate fate, struct sim_random *random)
{
    bool written_back = page->dirty || page->in_sync; /* a page whose sync failed is clean: nobody writes it */
    uint64_t drawn = fate == FATE_DRAWN ? sim_random_below(random, 3) : (uint64_t)fate;

    if (page->live == page->durable)
        drawn = FATE_ALL_KEPT;
    else if (!written_back)
        drawn = FATE_ALL_LOST;
    if (drawn == 0) {
        tear_page(inode, page, random);
    } else if (drawn == FATE_ALL_KEPT) {
        inode->disk->kept_pages += page->live != page->durable;
        block_set(&inode->disk->world->pages, &page->durable, page->live);
    } else {
        inode->disk->lost_pages++;
    }
    set_live(inode, page, page->durable);
    block_set(&inode->disk->world->pages, &page->syncing, NULL);
    page->dirty = page->in_sync = false;
}

static void inode_power_off(struct sim_inode *inode, enum power_fate fate, struct sim_random *random)
{
    for (size_t i = 0; i < inode->page_count; i++)
        page_power_off(inode, &inode->pages[i], fate, random);
    inode->dirty_count = 0;
    if (inode->live_size != inode->durable_size && fate != FATE_ALL_LOST &&
        (fate == FATE_ALL_KEPT || sim_random_coin(random)))
        inode->durable_size = inode->live_size;
    inode->live_size = inode->durable_size;
    zero_bytes(inode, inode->live_size, (uint64_t)inode->page_count * SIM_PAGE_BYTES);
    for (size_t i = 0; i < inode->page_count; i++) { /* what lies behind the end is no content */
        block_set(&inode->disk->world->pages, &inode->pages[i].durable, inode->pages[i].live);
        inode->pages[i].dirty = false;
    }
    inode->dirty_count = 0;
}

void sim_disk_power_off(struct sim_disk *disk, struct sim_random *random)
{
    enum power_fate fate = (enum power_fate)sim_random_below(random, POWER_FATES);
    size_t kept = fate == FATE_ALL_LOST || disk->op_count == 0 ? 0
                  : fate == FATE_ALL_KEPT                      ? disk->op_count
                                                               : sim_random_below(random, disk->op_count + 1);

    for (size_t i = 0; i < disk->op_count; i++) {
        if (i < kept)
            op_apply(disk, &disk->ops[i]);
        op_done(&disk->ops[i]);
    }
    disk->op_count = 0;
    names_copy(&disk->live, &disk->durable);
    for (size_t i = 0; i < disk->live.count; i++)
        inode_power_off(disk->live.names[i].inode, fate, random);
    sim_note(disk->world, NULL, "disk-after-power-off", sim_disk_digest(disk));
}

uint64_t sim_disk_digest(const struct sim_disk *disk)
{
    uint64_t digest = disk->live.count;

    for (size_t i = 0; i < disk->live.count; i++) {
        const struct sim_inode *inode = disk->live.names[i].inode;
        const char *path = disk->live.names[i].path;

        digest = sim_mix(digest ^ XXH3_64bits(path, strlen(path)) ^ inode->live_size);
        for (size_t page = 0; page < inode->page_count; page++)
            if (inode->pages[page].live != NULL)
                digest = sim_mix(digest ^ XXH3_64bits_withSeed(inode->pages[page].live->data, SIM_PAGE_BYTES, page));
    }
    return digest;
}

/* ---- faults ---- */

static bool call_fails(struct sim_process *process, const char *call)
{
    struct sim_disk *disk = process->disk;

    if (process->dying)
        return true;
    if (disk->error_one_in == 0 || !sim_random_one_in(&disk->world->faults, disk->error_one_in))
        return false;
    disk->errors++;
    sim_note(disk->world, process, call, 0);
    return true;
}

static bool has_space(struct sim_process *process, uint64_t more)
{
    struct sim_disk *disk = process->disk;

    if (!disk->full && disk->used_bytes + more <= disk->world->settings.disk_bytes)
        return true;
    TRACE(&process->env, SEVERITY_WARN, "DiskFull", {"UsedBytes", trace_int((int64_t)disk->used_bytes)});
    return false;
}

static int64_t sync_us(struct sim_disk *disk)
{
    struct sim_world *world = disk->world;
    const struct sim_settings *settings = &world->settings;

    if (world->now_us < disk->slow_until_us)
        return sim_random_range(&world->schedule, 10000, SIM_SECOND_US);
    return sim_draw_us(&world->schedule, settings->sync_us, settings->sync_tail, settings->sync_tail_us);
}

/* ---- files ---- */

int sim_file_open(struct env *env, const char *path, unsigned flags, struct env_file **ret_file)
{
    struct sim_process *process = sim_process_of(env);
    struct sim_disk *disk = process->disk;
    struct sim_inode *inode = names_find(&disk->live, path);
    struct env_file *file;

    if (call_fails(process, "open-error"))
        return ERROR_IO_ERROR;
    if ((flags & ENV_OPEN_EXCLUSIVE) != 0)
        flags |= ENV_OPEN_CREATE;
    if (inode == NULL && ((flags & ENV_OPEN_CREATE) == 0 || !parent_exists(disk, path)))
        return ERROR_FILE_NOT_FOUND;
    if (inode != NULL && (flags & ENV_OPEN_EXCLUSIVE) != 0)
        return ERROR_FILE_NOT_WRITABLE;
    if (inode == NULL) {
        if (!has_space(process, SIM_PAGE_BYTES))
            return ERROR_IO_ERROR;
        inode = inode_create(disk);
        names_set(&disk->live, path, inode);
        op_push(disk, SIM_NAME_ADD, NULL, path, inode);
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

    if (call_fails(file->process, "read-error"))
        return ERROR_IO_ERROR;
    if (offset >= inode->live_size)
        len = 0;
    else if (len > inode->live_size - offset)
        len = (size_t)(inode->live_size - offset);
    *ret_read = len;
    while (len > 0) {
        size_t index = (size_t)(offset / SIM_PAGE_BYTES), start = (size_t)(offset % SIM_PAGE_BYTES);
        size_t part = SIM_PAGE_BYTES - start < len ? SIM_PAGE_BYTES - start : len;

        memcpy(out, block_data(index < inode->page_count ? inode->pages[index].live : NULL) + start, part);
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
    if (call_fails(file->process, "write-error"))
        return ERROR_IO_ERROR;
    /* Pages that exist may be written when the disk is full; a growing file may not. */
    if (offset + data.len > inode->live_size && !has_space(file->process, data.len))
        return ERROR_IO_ERROR;
    if (offset + data.len > inode->live_size)
        inode->live_size = offset + data.len;
    while (data.len > 0) {
        size_t index = (size_t)(offset / SIM_PAGE_BYTES), start = (size_t)(offset % SIM_PAGE_BYTES);
        size_t part = SIM_PAGE_BYTES - start < data.len ? SIM_PAGE_BYTES - start : data.len;

        memcpy(page_for_writing(inode, index) + start, data.ptr, part);
        offset += part;
        data = bytes_of(data.ptr + part, data.len - part);
    }
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

    if (call_fails(file->process, "truncate-error"))
        return ERROR_IO_ERROR;
    if (size < inode->live_size)
        zero_bytes(inode, size, inode->live_size);
    inode->live_size = size;
    return 0;
}

int sim_file_zero_fill(struct env_file *file, uint64_t offset, uint64_t len)
{
    struct sim_inode *inode = file->inode;
    uint64_t end = offset + len;

    if (call_fails(file->process, "allocate-error"))
        return ERROR_IO_ERROR;
    if (end > inode->live_size && !has_space(file->process, end - inode->live_size))
        return ERROR_IO_ERROR;
    zero_bytes(inode, offset, end < inode->live_size ? end : inode->live_size);
    if (end > inode->live_size)
        inode->live_size = end;
    return 0;
}

int sim_file_drop_cache(struct env_file *file)
{
    struct sim_inode *inode = file->inode;

    for (size_t i = 0; i < inode->page_count; i++) {
        struct page *page = &inode->pages[i];

        if (!page->dirty && !page->in_sync && page->live != page->durable)
            set_live(inode, page, page->durable);
    }
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

static void pages_begin_sync(struct sim_pending *pending)
{
    struct sim_inode *inode = pending->inode;

    pending->size = inode->live_size;
    pending->pages = inode->dirty;
    pending->page_count = inode->dirty_count;
    inode->dirty = NULL;
    inode->dirty_count = inode->dirty_capacity = 0;
    for (size_t i = 0; i < pending->page_count; i++) {
        struct page *page = &inode->pages[pending->pages[i]];

        block_set(&inode->disk->world->pages, &page->syncing, page->live);
        page->dirty = false;
        page->in_sync = true;
    }
}

/* A page that an overlapping sync has already made durable is passed over. */
static void pages_end_sync(struct sim_pending *pending, bool cancelled)
{
    struct sim_inode *inode = pending->inode;
    struct sim_pages *pages = &inode->disk->world->pages;

    for (size_t i = 0; i < pending->page_count; i++) {
        struct page *page = &inode->pages[pending->pages[i]];

        if (!page->in_sync)
            continue;
        if (cancelled)
            mark_dirty(inode, pending->pages[i]); /* the kernel still has it to write */
        else if (pending->error == 0)
            block_set(pages, &page->durable, page->syncing);
        block_set(pages, &page->syncing, NULL);
        page->in_sync = false;
    }
    if (!cancelled && pending->error == 0)
        inode->durable_size = pending->size;
    pending->page_count = 0;
}

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

static void sync_heard(struct sim_event *event)
{
    struct sim_pending *pending = container_of(event, struct sim_pending, event);

    env_ready(&pending->process->env, &pending->sync->ready, READY_COMMIT);
}

static void sync_finishes(struct sim_event *event)
{
    struct sim_pending *pending = container_of(event, struct sim_pending, event);
    struct sim_process *process = pending->process;

    pending->ran = true;
    if (call_fails(process, "sync-error"))
        pending->error = ERROR_IO_ERROR;
    sync_count(process->disk, pending->error);
    pages_end_sync(pending, false);
    sim_note(process->world, process, "synced", pending->size);
    event->fire = sync_heard;
    event->process = process;
    sim_dispatch(process->world, event);
}

void sim_file_sync(struct env_file *file, struct env_sync *sync)
{
    struct sim_process *process = file->process;
    struct sim_pending *pending = sim_pending_take(process, &process->syncs);

    assert(sync->done != NULL && !process->dying);
    sync->file = file;
    sync->ready = (struct ready){.run = sync_ready};
    pending->sync = sync;
    pending->inode = file->inode;
    file->inode->refs++;
    pages_begin_sync(pending);
    pending->event.fire = sync_finishes;
    sim_event_in(process->world, &pending->event, sync_us(process->disk));
}

int sim_file_sync_now(struct env_file *file)
{
    struct sim_process *process = file->process;
    struct sim_pending pending = {.inode = file->inode};

    if (process->dying)
        return ERROR_IO_ERROR;
    process->blocked_us += sync_us(process->disk);
    if (call_fails(process, "sync-error"))
        pending.error = ERROR_IO_ERROR;
    sync_count(process->disk, pending.error);
    pages_begin_sync(&pending);
    pages_end_sync(&pending, false);
    mem_free(pending.pages);
    return pending.error;
}

void sim_disk_cancel_syncs(struct sim_process *process)
{
    struct list *link;

    while ((link = process->syncs.next) != &process->syncs) {
        struct sim_pending *pending = list_entry(link, struct sim_pending, link);
        struct env_sync *sync = pending->sync;

        env_ready_cancel(&sync->ready);
        if (!pending->ran)
            pages_end_sync(pending, true);
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

    if (call_fails(process, "rename-error"))
        return ERROR_IO_ERROR;
    if (inode == NULL || !parent_exists(disk, to))
        return ERROR_FILE_NOT_FOUND;
    op_push(disk, SIM_NAME_MOVE, from, to, inode);
    names_set(&disk->live, to, inode);
    names_set(&disk->live, from, NULL);
    return 0;
}

static bool dir_is_empty(const struct sim_disk *disk, const char *path)
{
    for (size_t i = 0; i < disk->live.count; i++)
        if (lies_in(disk->live.names[i].path, path))
            return false;
    for (size_t i = 0; i < disk->dir_count; i++)
        if (lies_in(disk->dirs[i], path))
            return false;
    return true;
}

static int remove_dir(struct sim_disk *disk, const char *path)
{
    for (size_t i = 0; i < disk->dir_count; i++) {
        if (strcmp(disk->dirs[i], path) != 0)
            continue;
        if (!dir_is_empty(disk, path))
            return ERROR_FILE_NOT_WRITABLE;
        mem_free(disk->dirs[i]);
        memmove(&disk->dirs[i], &disk->dirs[i + 1], (--disk->dir_count - i) * sizeof(disk->dirs[0]));
        return 0;
    }
    return ERROR_FILE_NOT_FOUND;
}

int sim_remove(struct env *env, const char *path)
{
    struct sim_process *process = sim_process_of(env);
    struct sim_disk *disk = process->disk;
    char real[SIM_PATH_MAX];

    if (call_fails(process, "remove-error"))
        return ERROR_IO_ERROR;
    if (names_find(&disk->live, path) != NULL) {
        op_push(disk, SIM_NAME_REMOVE, path, NULL, NULL);
        names_set(&disk->live, path, NULL);
        return 0;
    }
    /* What a library with its own I/O wrote under real_path(). */
    if (sim_scratch_path(process, path, false, real, sizeof(real)) && unlink(real) == 0)
        return 0;
    return remove_dir(disk, path);
}

int sim_dir_make(struct env *env, const char *path)
{
    struct sim_process *process = sim_process_of(env);
    struct sim_disk *disk = process->disk;

    if (call_fails(process, "mkdir-error"))
        return ERROR_IO_ERROR;
    if (dir_exists(disk, path))
        return 0;
    if (names_find(&disk->live, path) != NULL || !parent_exists(disk, path))
        return ERROR_FILE_NOT_FOUND;
    if (disk->dir_count == disk->dir_capacity) {
        disk->dir_capacity = disk->dir_capacity == 0 ? 8 : disk->dir_capacity * 2;
        disk->dirs = mem_realloc(disk->dirs, disk->dir_capacity * sizeof(disk->dirs[0]));
        assert(disk->dirs != NULL);
    }
    disk->dirs[disk->dir_count++] = dir_name(path);
    return 0;
}

int sim_dir_sync(struct env *env, const char *path)
{
    struct sim_process *process = sim_process_of(env);
    struct sim_disk *disk = process->disk;
    size_t kept = 0;

    if (!dir_exists(disk, path))
        return ERROR_FILE_NOT_FOUND;
    process->blocked_us += sync_us(disk);
    if (call_fails(process, "dir-sync-error"))
        return ERROR_IO_ERROR;
    for (size_t i = 0; i < disk->op_count; i++) {
        struct sim_name_op *op = &disk->ops[i];

        if (lies_in(op->from, path) || lies_in(op->to, path)) {
            op_apply(disk, op);
            op_done(op);
        } else {
            disk->ops[kept++] = *op;
        }
    }
    disk->op_count = kept;
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

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Files that a library with its own I/O made; the order of the machine's file system must not matter. */
static void list_scratch(struct sim_process *process, const char *path, struct listing *listing)
{
    char real[SIM_PATH_MAX];
    size_t first = listing->count;
    DIR *dir;

    if (!sim_scratch_path(process, path, false, real, sizeof(real)) || (dir = opendir(real)) == NULL)
        return;
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir))
        if (entry->d_type == DT_REG)
            listing_add(listing, entry->d_name);
    closedir(dir);
    if (listing->count > first)
        qsort(listing->names + first, listing->count - first, sizeof(listing->names[0]), compare_names);
}

int sim_dir_list(struct env *env, const char *path, void (*each)(void *ctx, const char *name), void *ctx)
{
    struct sim_process *process = sim_process_of(env);
    struct sim_disk *disk = process->disk;
    struct listing listing = {0};

    if (!dir_exists(disk, path))
        return ERROR_FILE_NOT_FOUND;
    for (size_t i = 0; i < disk->live.count; i++)
        if (lies_in(disk->live.names[i].path, path))
            listing_add(&listing, disk->live.names[i].path);
    for (size_t i = 0; i < disk->dir_count; i++)
        if (lies_in(disk->dirs[i], path))
            listing_add(&listing, disk->dirs[i]);
    list_scratch(process, path, &listing);
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
    uint64_t total = disk->world->settings.disk_bytes;

    (void)path;
    ret_space->total_bytes = total;
    ret_space->free_bytes = disk->full || disk->used_bytes > total ? 0 : total - disk->used_bytes;
    return 0;
}
