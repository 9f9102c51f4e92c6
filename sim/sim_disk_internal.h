/* What the three files of the simulated disk share: inodes and their page images.
 *
 * sim_inode.c holds content, sim_disk.c names and the power-off, sim_file.c the seam. */
#pragma once

#include "sim/env_sim.h"
#include "sim/sim_disk.h"

struct page {
    struct sim_page_block *live, *durable;
    uint64_t durable_sync; /* number of the newest sync whose image is durable */
    uint32_t syncs;        /* under way that cover it */
    bool dirty;
};

struct sim_inode {
    uint32_t refs; /* names (live, durable, ops), open files, syncs */
    uint64_t live_size, durable_size;
    struct page *pages; /* owned */
    size_t page_count;
    uint64_t sync_number; /* of the newest sync; and of the one that durable_size comes from */
    uint64_t durable_size_sync;
    uint32_t *dirty; /* owned: indices of dirty pages */
    size_t dirty_count, dirty_capacity;
    struct sim_disk *disk;
    bool hit; /* the power goes just while it is written */
};

/* How much the disk had written by itself when the power went: every page draws, or all of them share one fate. */
enum power_fate { FATE_DRAWN, FATE_ALL_LOST, FATE_ALL_KEPT, POWER_FATES };

/* One reference, no name. */
struct sim_inode *inode_create(struct sim_disk *disk);
void inode_unref(struct sim_inode *inode);
/* What a reader sees from now on; what a power failure leaves is settled elsewhere. */
void inode_write(struct sim_inode *inode, uint64_t offset, struct bytes data);
const uint8_t *inode_page_data(const struct sim_inode *inode, size_t index);
/* [from, to) reads as zeros; pages that never had content stay without. */
void inode_zero(struct sim_inode *inode, uint64_t from, uint64_t to);
/* Gives the page these images; takes references of its own. */
void inode_set_page(struct sim_inode *inode, size_t index, struct sim_page_block *live, struct sim_page_block *durable);
/* A copy of the image, with one reference; NULL is a page of zeros. */
struct sim_page_block *block_copy(struct sim_pages *pages, const struct sim_page_block *block);
struct sim_page_block *block_ref(struct sim_page_block *block);
void block_unref(struct sim_pages *pages, struct sim_page_block *block);
/* Clean pages that differ from the disk are read from it again. */
void inode_drop_cache(struct sim_inode *inode);
/* A sync of pending->inode sees the dirty pages as they are now; they become clean. */
void inode_begin_sync(struct sim_pending *pending);
/* They become durable if pending->error is 0; cancelled: they are dirty again. */
void inode_end_sync(struct sim_pending *pending, bool cancelled);
void inode_power_off(struct sim_inode *inode, enum power_fate fate, struct sim_random *random);

struct sim_inode *names_find(const struct sim_names *names, const char *path);
/* Makes `path` name `inode` (a new reference); NULL takes the name away. */
void names_set(struct sim_names *names, const char *path, struct sim_inode *inode);
/* True when `path` is a name directly in `dir`. path may be NULL. */
bool lies_in(const char *path, const char *dir);
/* A change of names that is not durable yet. inode may be NULL. */
void disk_push_op(struct sim_disk *disk, enum sim_name_change change, const char *from, const char *to,
                  struct sim_inode *inode);
/* Makes the changes of names in `dir` durable. */
void disk_sync_names(struct sim_disk *disk, const char *dir);
bool disk_has_dir(const struct sim_disk *disk, const char *path);
bool disk_has_parent(const struct sim_disk *disk, const char *path);
void disk_add_dir(struct sim_disk *disk, const char *path);
/* 0, ERROR_FILE_NOT_FOUND, or ERROR_FILE_NOT_WRITABLE when it is not empty. */
int disk_remove_dir(struct sim_disk *disk, const char *path);
void names_done(struct sim_names *names);
void disk_forget_dirs(struct sim_disk *disk);
