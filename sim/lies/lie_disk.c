#include "sim/lies/lie_disk.h"

#include <assert.h>
#include <stdio.h>

#include "net/mem.h"
#include "sim/sim_disk_internal.h"

static bool begins(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static bool ends(const char *text, const char *suffix)
{
    size_t length = strlen(text), wanted = strlen(suffix);

    return length >= wanted && strcmp(text + length - wanted, suffix) == 0;
}

/* What was written becomes durable. */
static void settle(struct sim_inode *inode)
{
    struct sim_pending pending = {.inode = inode};

    inode_begin_sync(&pending);
    inode_end_sync(&pending, false);
    mem_free(pending.pages);
}

static void append_page(struct bytes_buffer *out, const uint8_t *page, uint64_t left)
{
    int error = bytes_buffer_append(out, bytes_of(page, left < SIM_PAGE_BYTES ? (size_t)left : SIM_PAGE_BYTES));

    assert(error == 0);
}

static void copy_content(const struct sim_inode *inode, bool durable, struct bytes_buffer *out)
{
    static const uint8_t zeros[SIM_PAGE_BYTES];
    uint64_t size = durable ? inode->durable_size : inode->live_size;

    for (size_t i = 0; i * SIM_PAGE_BYTES < size; i++) {
        const struct sim_page_block *block = i < inode->page_count ? inode->pages[i].durable : NULL;
        const uint8_t *data = durable ? (block == NULL ? zeros : block->data) : inode_page_data(inode, i);

        append_page(out, data, size - i * SIM_PAGE_BYTES);
    }
}

static void take(const struct sim_process *process, const char *prefix, bool durable, struct lie_files *ret_files)
{
    const struct sim_names *names = durable ? &process->disk->durable : &process->disk->live;

    *ret_files = (struct lie_files){.files = sim_zalloc((names->count + 1) * sizeof(*ret_files->files))};
    for (size_t i = 0; i < names->count; i++) {
        struct lie_file *file = &ret_files->files[ret_files->count];

        if (!begins(names->names[i].path, prefix))
            continue;
        file->path = sim_strdup(names->names[i].path);
        copy_content(names->names[i].inode, durable, &file->content);
        ret_files->count++;
    }
}

void lie_files_take(const struct sim_process *process, const char *prefix, struct lie_files *ret_files)
{
    assert(!process->alive);
    take(process, prefix, false, ret_files);
}

void lie_files_take_durable(const struct sim_process *process, const char *prefix, struct lie_files *ret_files)
{
    take(process, prefix, true, ret_files);
}

void lie_files_done(struct lie_files *files)
{
    for (size_t i = 0; i < files->count; i++) {
        mem_free(files->files[i].path);
        bytes_buffer_done(&files->files[i].content);
    }
    mem_free(files->files);
    *files = (struct lie_files){0};
}

static void write_inode(struct sim_inode *inode, uint64_t offset, struct bytes data)
{
    inode_write(inode, offset, data);
    settle(inode);
}

static void put_file(struct sim_disk *disk, const char *path, struct bytes content)
{
    struct sim_inode *inode = inode_create(disk);

    names_set(&disk->live, path, inode);
    names_set(&disk->durable, path, inode);
    inode_unref(inode);
    write_inode(inode, 0, content);
}

static void remove_files(struct sim_disk *disk, const char *prefix)
{
    for (size_t i = disk->live.count; i > 0; i--) {
        char *path;

        if (!begins(disk->live.names[i - 1].path, prefix))
            continue;
        path = sim_strdup(disk->live.names[i - 1].path);
        names_set(&disk->live, path, NULL);
        names_set(&disk->durable, path, NULL);
        mem_free(path);
    }
}

void lie_files_put(struct sim_process *process, const char *prefix, const struct lie_files *files, const char *from,
                   const char *to)
{
    assert(!process->alive && process->disk->op_count == 0);
    remove_files(process->disk, prefix);
    for (size_t i = 0; i < files->count; i++) {
        const struct lie_file *file = &files->files[i];
        const char *at = from == NULL ? NULL : strstr(file->path, from);
        char path[SIM_PATH_MAX];

        if (at == NULL)
            snprintf(path, sizeof(path), "%s", file->path);
        else
            snprintf(path, sizeof(path), "%.*s%s%s", (int)(at - file->path), file->path, to, at + strlen(from));
        put_file(process->disk, path, bytes_buffer_bytes(&file->content));
    }
    sim_note(process->world, process, "files-put", sim_disk_digest(process->disk));
}

const char *lie_file_find(const struct sim_process *process, const char *prefix, const char *suffix)
{
    const struct sim_names *names = &process->disk->live;

    for (size_t i = names->count; i > 0; i--)
        if (begins(names->names[i - 1].path, prefix) && ends(names->names[i - 1].path, suffix))
            return names->names[i - 1].path;
    return NULL;
}

const char *lie_dir_nth(const struct sim_process *process, const char *prefix, unsigned n)
{
    for (size_t i = 0; i < process->disk->dir_count; i++)
        if (begins(process->disk->dirs[i], prefix) && n-- == 0)
            return process->disk->dirs[i];
    return NULL;
}

const char *lie_dir_find(const struct sim_process *process, const char *prefix)
{
    return lie_dir_nth(process, prefix, 0);
}

void lie_dir_make(struct sim_process *process, const char *path)
{
    if (!disk_has_dir(process->disk, path))
        disk_add_dir(process->disk, path);
}

uint64_t lie_file_end(const struct sim_process *process, const char *path)
{
    const struct sim_inode *inode = names_find(&process->disk->live, path);

    assert(inode != NULL);
    for (uint64_t end = inode->live_size; end > 0; end--)
        if (inode_page_data(inode, (size_t)((end - 1) / SIM_PAGE_BYTES))[(end - 1) % SIM_PAGE_BYTES] != 0)
            return end;
    return 0;
}

void lie_file_xor(struct sim_process *process, const char *path, uint64_t offset, uint8_t mask)
{
    struct sim_inode *inode = names_find(&process->disk->live, path);
    uint8_t byte;

    assert(inode != NULL && mask != 0 && offset < inode->live_size);
    byte = inode_page_data(inode, (size_t)(offset / SIM_PAGE_BYTES))[offset % SIM_PAGE_BYTES] ^ mask;
    write_inode(inode, offset, bytes_of(&byte, 1));
    sim_note(process->world, process, "file-xor", offset);
}

void lie_file_write(struct sim_process *process, const char *path, uint64_t offset, struct bytes data)
{
    struct sim_inode *inode = names_find(&process->disk->live, path);

    assert(inode != NULL);
    write_inode(inode, offset, data);
    sim_note(process->world, process, "file-write", offset);
}

struct bytes lie_file_read(const struct sim_process *process, const char *path, uint64_t offset, void *into, size_t len)
{
    const struct sim_inode *inode = names_find(&process->disk->live, path);
    uint8_t *out = into;

    assert(inode != NULL);
    for (size_t i = 0; i < len; i++)
        out[i] = inode_page_data(inode, (size_t)((offset + i) / SIM_PAGE_BYTES))[(offset + i) % SIM_PAGE_BYTES];
    return bytes_of(out, len);
}
