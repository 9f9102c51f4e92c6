/* Names, directories, and what is left of both when the power goes. */
#include "sim/sim_disk_internal.h"

#include <assert.h>
#include <inttypes.h>
#include <xxhash.h>

#include "net/error.h"
#include "net/mem.h"
#include "sim/world.h"

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

struct sim_inode *names_find(const struct sim_names *names, const char *path)
{
    bool found;
    size_t position = names_position(names, path, &found);

    return found ? names->names[position].inode : NULL;
}

/* Makes `path` name `inode` (a new reference); NULL takes the name away. */
void names_set(struct sim_names *names, const char *path, struct sim_inode *inode)
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

void names_done(struct sim_names *names)
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

bool lies_in(const char *path, const char *dir)
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

void disk_push_op(struct sim_disk *disk, enum sim_name_change change, const char *from, const char *to,
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

bool disk_has_dir(const struct sim_disk *disk, const char *path)
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

bool disk_has_parent(const struct sim_disk *disk, const char *path)
{
    const char *slash = strrchr(path, '/');
    char *parent;
    bool exists;

    if (slash == NULL)
        return true;
    parent = sim_strdup(path);
    parent[slash - path] = '\0';
    exists = disk_has_dir(disk, parent);
    mem_free(parent);
    return exists;
}

struct sim_disk *sim_disk_create(struct sim_world *world)
{
    struct sim_disk *disk = sim_zalloc(sizeof(*disk));

    disk->world = world;
    return disk;
}

void disk_forget_dirs(struct sim_disk *disk)
{
    while (disk->dir_count > 0)
        mem_free(disk->dirs[--disk->dir_count]);
}

void sim_disk_destroy(struct sim_disk *disk)
{
    if (disk == NULL)
        return;
    for (size_t i = 0; i < disk->op_count; i++)
        op_done(&disk->ops[i]);
    names_done(&disk->live);
    names_done(&disk->durable);
    disk_forget_dirs(disk);
    mem_free(disk->dirs);
    mem_free(disk->ops);
    mem_free(disk);
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

int disk_remove_dir(struct sim_disk *disk, const char *path)
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

void disk_add_dir(struct sim_disk *disk, const char *path)
{
    if (disk->dir_count == disk->dir_capacity) {
        disk->dir_capacity = disk->dir_capacity == 0 ? 8 : disk->dir_capacity * 2;
        disk->dirs = mem_realloc(disk->dirs, disk->dir_capacity * sizeof(disk->dirs[0]));
        assert(disk->dirs != NULL);
    }
    disk->dirs[disk->dir_count++] = dir_name(path);
}

void disk_sync_names(struct sim_disk *disk, const char *dir)
{
    size_t kept = 0;

    for (size_t i = 0; i < disk->op_count; i++) {
        struct sim_name_op *op = &disk->ops[i];

        if (lies_in(op->from, dir) || lies_in(op->to, dir)) {
            op_apply(disk, op);
            op_done(op);
        } else {
            disk->ops[kept++] = *op;
        }
    }
    disk->op_count = kept;
}

/* ---- power-off ---- */

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
    sim_note_as(disk->world, NULL, "disk-after-power-off", sim_disk_digest(disk),
                "power-off of a disk, in all: %" PRIu64 " pages torn, %" PRIu64 " lost, %" PRIu64
                " kept; %zu changes of names kept",
                disk->torn_pages, disk->lost_pages, disk->kept_pages, kept);
}

bool sim_disk_has(const struct sim_disk *disk, const char *prefix)
{
    size_t length = strlen(prefix);

    for (size_t i = 0; i < disk->live.count; i++)
        if (strncmp(disk->live.names[i].path, prefix, length) == 0)
            return true;
    for (size_t i = 0; i < disk->dir_count; i++)
        if (strncmp(disk->dirs[i], prefix, length) == 0)
            return true;
    return false;
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
