/* What takes away what was durable: older images, other disks, rot, pages in the wrong place. */
#include <assert.h>

#include "net/mem.h"
#include "sim/sim_disk_internal.h"
#include "sim/world.h"

enum { SYNCS_BEHIND = 3 };

struct image_file {
    char *path; /* owned */
    uint64_t size;
    struct sim_page_block **pages; /* owned, one reference each */
    size_t page_count;
};

struct sim_disk_image {
    struct sim_world *world;
    struct image_file *files; /* owned */
    size_t file_count;
    char **dirs; /* owned array of owned */
    size_t dir_count;
};

/* ---- images ---- */

static void image_file_of(struct image_file *file, const struct sim_name *name)
{
    const struct sim_inode *inode = name->inode;

    *file = (struct image_file){.path = sim_strdup(name->path), .size = inode->durable_size, .page_count = inode->page_count};
    file->pages = sim_zalloc(file->page_count * sizeof(file->pages[0]));
    for (size_t i = 0; i < file->page_count; i++)
        file->pages[i] = block_ref(inode->pages[i].durable);
}

struct sim_disk_image *sim_disk_image(const struct sim_disk *disk)
{
    struct sim_disk_image *image = sim_zalloc(sizeof(*image));

    image->world = disk->world;
    image->files = sim_zalloc(disk->durable.count * sizeof(image->files[0]));
    image->dirs = sim_zalloc(disk->dir_count * sizeof(image->dirs[0]));
    for (; image->file_count < disk->durable.count; image->file_count++)
        image_file_of(&image->files[image->file_count], &disk->durable.names[image->file_count]);
    for (; image->dir_count < disk->dir_count; image->dir_count++)
        image->dirs[image->dir_count] = sim_strdup(disk->dirs[image->dir_count]);
    return image;
}

bool sim_disk_image_has(const struct sim_disk_image *image, const char *prefix)
{
    for (size_t i = 0; i < image->file_count; i++)
        if (strncmp(image->files[i].path, prefix, strlen(prefix)) == 0)
            return true;
    return false;
}

void sim_disk_image_free(struct sim_disk_image *image)
{
    if (image == NULL)
        return;
    for (size_t i = 0; i < image->file_count; i++) {
        struct image_file *file = &image->files[i];

        for (size_t page = 0; page < file->page_count; page++)
            block_unref(&image->world->pages, file->pages[page]);
        mem_free(file->pages);
        mem_free(file->path);
    }
    for (size_t i = 0; i < image->dir_count; i++)
        mem_free(image->dirs[i]);
    mem_free(image->files);
    mem_free(image->dirs);
    mem_free(image);
}

/* ---- whole disks ---- */

static void forget_all(struct sim_disk *disk)
{
    assert(disk->op_count == 0); /* the power was off */
    names_done(&disk->live);
    names_done(&disk->durable);
    disk_forget_dirs(disk);
}

static void put_file(struct sim_disk *disk, const struct image_file *file)
{
    struct sim_inode *inode = inode_create(disk);

    inode->live_size = inode->durable_size = file->size;
    for (size_t i = 0; i < file->page_count; i++)
        if (file->pages[i] != NULL)
            inode_set_page(inode, i, file->pages[i], file->pages[i]);
    names_set(&disk->live, file->path, inode);
    names_set(&disk->durable, file->path, inode);
    inode_unref(inode);
}

void sim_disk_put_image(struct sim_disk *disk, const struct sim_disk_image *image)
{
    forget_all(disk);
    for (size_t i = 0; i < image->dir_count; i++)
        disk_add_dir(disk, image->dirs[i]);
    for (size_t i = 0; i < image->file_count; i++)
        put_file(disk, &image->files[i]);
    sim_note(disk->world, NULL, "disk-rolled-back", sim_disk_digest(disk));
}

void sim_disk_erase(struct sim_process *process)
{
    assert(!process->alive);
    forget_all(process->disk);
    sim_scratch_erase(process);
    sim_note(process->world, process, "disk-erased", 0);
}

void sim_disk_swap(struct sim_process *a, struct sim_process *b)
{
    struct sim_disk *disk = a->disk;

    assert(!a->alive && !b->alive && a->disk->op_count == 0 && b->disk->op_count == 0);
    a->disk = b->disk;
    b->disk = disk;
    sim_scratch_swap(a, b);
    sim_note(a->world, a, "disk-swapped", b->id);
}

/* ---- pages at rest ---- */

/* Nobody writes it, and enough was written behind it for whoever reads it to know that it must be whole. */
static bool at_rest(const struct sim_inode *inode, size_t index)
{
    const struct page *page = &inode->pages[index];

    return !page->dirty && page->syncs == 0 && page->durable != NULL && page->durable == page->live &&
           page->durable_sync + SYNCS_BEHIND <= inode->sync_number;
}

static bool draw_page(struct sim_disk *disk, struct sim_random *random, struct sim_inode **ret_inode, size_t *ret_index)
{
    uint64_t seen = 0;

    for (size_t i = 0; i < disk->live.count; i++) {
        struct sim_inode *inode = disk->live.names[i].inode;

        for (size_t index = 0; index < inode->page_count; index++) {
            if (!at_rest(inode, index) || !sim_random_one_in(random, ++seen))
                continue;
            *ret_inode = inode;
            *ret_index = index;
        }
    }
    return seen != 0;
}

bool sim_disk_rot(struct sim_disk *disk, struct sim_random *random)
{
    struct sim_pages *pages = &disk->world->pages;
    int64_t bits = sim_random_range(random, 1, 32);
    bool cached = sim_random_coin(random); /* until it is read again, nobody sees it */
    struct sim_page_block *rotten;
    struct sim_inode *inode;
    size_t index;

    if (!draw_page(disk, random, &inode, &index))
        return false;
    rotten = block_copy(pages, inode->pages[index].durable);
    for (; bits > 0; bits--) {
        uint64_t bit = sim_random_below(random, SIM_PAGE_BYTES * 8);

        rotten->data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    inode_set_page(inode, index, cached ? inode->pages[index].live : rotten, rotten);
    block_unref(pages, rotten);
    disk->rotten_pages++;
    sim_note(disk->world, NULL, "rot", index);
    return true;
}

bool sim_disk_misdirect(struct sim_disk *disk, struct sim_random *random)
{
    struct sim_inode *from, *to;
    size_t from_index, to_index;
    struct sim_page_block *page;

    if (!draw_page(disk, random, &from, &from_index) || !draw_page(disk, random, &to, &to_index))
        return false;
    if (from == to && from_index == to_index)
        return false;
    page = block_ref(from->pages[from_index].durable);
    inode_set_page(to, to_index, page, page);
    inode_set_page(from, from_index, NULL, NULL);
    block_unref(&disk->world->pages, page);
    disk->rotten_pages += 2;
    sim_note(disk->world, NULL, "misdirect", from_index << 32 | to_index);
    return true;
}
