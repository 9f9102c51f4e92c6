/* A simulated disk: files in memory with what is in the page cache and what is durable, page by page.
 *
 * A write changes the live image; a finished sync makes the file's pages (as they were when the sync began) and its size
 * durable; a finished dir_sync makes the names of that directory durable. At a power-off each page that was not synced is
 * kept, lost or torn at its 512-byte sectors, with garbage or not; a changed size is kept or lost; of the changes of names a
 * prefix survives. After a failed sync its pages read as written but are clean: nothing will write them, as on Linux.
 * Directories themselves are durable when made. */
#pragma once

#include "net/env.h"
#include "sim/event.h"
#include "sim/random.h"

struct sim_world;
struct sim_process;
struct sim_inode;

enum { SIM_PAGE_BYTES = 4096, SIM_SECTOR_BYTES = 512 };

/* A pool of page images, shared by all disks of a world. */
struct sim_page_block {
    struct sim_page_block *next; /* in the pool */
    uint32_t refs;
    uint8_t data[SIM_PAGE_BYTES];
};
struct sim_pages {
    struct sim_page_block *spare;
};

struct sim_name {
    char *path; /* owned */
    struct sim_inode *inode;
};
struct sim_names { /* sorted by path */
    struct sim_name *names;
    size_t count, capacity;
};

enum sim_name_change { SIM_NAME_ADD, SIM_NAME_REMOVE, SIM_NAME_MOVE };
struct sim_name_op { /* a change of names that no dir_sync has made durable */
    enum sim_name_change change;
    char *from, *to; /* owned; from of REMOVE and MOVE, to of ADD and MOVE */
    struct sim_inode *inode;
};

/* Which calls fail. */
enum {
    SIM_DISK_READS = 1,  /* open, read */
    SIM_DISK_WRITES = 2, /* write, truncate, zero_fill */
    SIM_DISK_SYNCS = 4,  /* of files and directories */
    SIM_DISK_NAMES = 8,  /* rename, remove, dir_make */
    SIM_DISK_ALL_CALLS = 15,
};

struct sim_disk {
    struct sim_world *world;
    struct sim_names live, durable;
    struct sim_name_op *ops;
    size_t op_count, op_capacity;
    char **dirs; /* owned strings */
    size_t dir_count, dir_capacity;
    uint64_t used_bytes; /* of live pages */
    /* faults */
    int64_t slow_until_us;  /* syncs take up to a second until then */
    int64_t hung_until_us;  /* no sync comes back until then */
    unsigned error_one_in;  /* file calls fail; 0: never */
    unsigned error_calls;   /* those; 0: all */
    bool full;
    uint64_t limit_bytes; /* its capacity for now; 0: that of all disks */
    bool lying; /* syncs of files say that they are done and make nothing durable */
    uint64_t fault_line; /* of the trace: the strike behind the last of these */
    uint64_t syncs, failed_syncs, torn_pages, lost_pages, kept_pages, errors, rotten_pages;
};

struct sim_disk *sim_disk_create(struct sim_world *world);
void sim_disk_destroy(struct sim_disk *disk); /* accepts NULL */
/* The power goes: the live image becomes what the disk has. No file may be open. */
void sim_disk_power_off(struct sim_disk *disk, struct sim_random *random);
/* The whole content, for hashes: names, sizes, pages of the live image. */
uint64_t sim_disk_digest(const struct sim_disk *disk);

/* True when a name (of a file or directory) begins like that. */
bool sim_disk_has(const struct sim_disk *disk, const char *prefix);

/* A kind of file that is there, by its base name without the digits (of hexadecimal numbers too). False: there is no file. */
enum { SIM_FILE_KIND_MAX = 32 };
bool sim_disk_draw_kind(const struct sim_disk *disk, struct sim_random *random, char ret_kind[SIM_FILE_KIND_MAX]);
/* A file of that kind is being synced. If so, a power failure now is likely to tear what is written. */
bool sim_disk_hit(struct sim_process *process, const char *kind);

/* From now on, and for so long, syncs take up to a second. */
void sim_disk_slow(struct sim_process *process, int64_t lasts_us);
/* Everything works again; what was lost stays lost. */
void sim_disk_heal(struct sim_process *process);
void sim_disk_unhang(struct sim_process *process);

/* ---- harm (sim_disk_harm.c) ---- */

/* What is durable now: names, sizes, pages; shared with the disk until it changes them. */
struct sim_disk_image;
struct sim_disk_image *sim_disk_image(const struct sim_disk *disk);
bool sim_disk_image_has(const struct sim_disk_image *image, const char *prefix); /* a file whose path begins so */
void sim_disk_image_free(struct sim_disk_image *image); /* accepts NULL */
/* These three: the processes are down. What LMDB wrote in the scratch directory goes along, but for the image. */
void sim_disk_put_image(struct sim_disk *disk, const struct sim_disk_image *image);
void sim_disk_erase(struct sim_process *process);
void sim_disk_swap(struct sim_process *a, struct sim_process *b);
/* Flips bits of a page at rest; or puts a page's content where another's belongs, which is lost, and leaves the first empty. Pages
 * that fewer than three later syncs of the file have followed are spared. False when there is no other. */
bool sim_disk_rot(struct sim_disk *disk, struct sim_random *random);
bool sim_disk_misdirect(struct sim_disk *disk, struct sim_random *random);

/* The env_ops of files. */
int sim_file_open(struct env *env, const char *path, unsigned flags, struct env_file **ret_file);
int sim_file_read(struct env_file *file, uint64_t offset, void *into, size_t len, size_t *ret_read);
int sim_file_write(struct env_file *file, uint64_t offset, struct bytes data);
int sim_file_size(struct env_file *file, uint64_t *ret_size);
int sim_file_truncate(struct env_file *file, uint64_t size);
int sim_file_zero_fill(struct env_file *file, uint64_t offset, uint64_t len);
int sim_file_drop_cache(struct env_file *file);
void sim_file_sync(struct env_file *file, struct env_sync *sync);
int sim_file_sync_now(struct env_file *file);
void sim_file_close(struct env_file *file);
int sim_rename(struct env *env, const char *from, const char *to);
int sim_remove(struct env *env, const char *path);
int sim_dir_make(struct env *env, const char *path);
int sim_dir_sync(struct env *env, const char *path);
int sim_dir_list(struct env *env, const char *path, void (*each)(void *ctx, const char *name), void *ctx);
int sim_dir_space(struct env *env, const char *path, struct env_space *ret_space);

/* After kill(): gives every sync in flight back to its (detached) owner as cancelled. */
void sim_disk_cancel_syncs(struct sim_process *process);
/* Closes what a process left open and returns how much it was. */
size_t sim_disk_sweep(struct sim_process *process);
