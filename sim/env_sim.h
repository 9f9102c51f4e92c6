/* The simulator's implementation of net/env.h: the twin of net/env_posix.h. */
#pragma once

#include "net/env.h"
#include "sim/event.h"

struct sim_process;
struct sim_world;
struct sim_inode;

extern const struct env_ops sim_env_ops;

/* A sync or a job in flight. Pooled by the world. */
struct sim_pending {
    struct sim_event event; /* first: it finishes or runs, then the process hears of it */
    struct list link;       /* in the process's syncs or jobs, until done() is called */
    struct sim_process *process;
    struct env_job *job;    /* borrowed until done() */
    bool ran;
    bool cut_off;           /* its process ended before it could start it */
    struct env_sync *sync;  /* borrowed until done() */
    struct sim_inode *inode;
    uint32_t *pages;        /* owned: what the sync covers */
    struct sim_page_block **images; /* owned, one reference each: as they were when it began */
    size_t page_count;
    uint64_t sync_number;   /* of the inode's syncs, in the order in which they began */
    uint64_t size;          /* of the file when the sync began */
    int error;
};

struct sim_pending *sim_pending_take(struct sim_process *process, struct list *list);
/* Unlinks it and gives it back to the pool. */
void sim_pending_free(struct sim_pending *pending);

/* Ends jobs in flight after kill(): run() happens or not, done() always. */
void sim_jobs_end(struct sim_process *process, bool may_run);

/* Where `path` lies on the machine's file system, for libraries with their own I/O. False when the process has no such
 * directory yet and !make, or it can't be made. */
bool sim_scratch_path(struct sim_process *process, const char *path, bool make, char *out, size_t out_size);
/* The file names of a directory there, sorted: the order of the machine's file system must not matter. */
void sim_scratch_list(struct sim_process *process, const char *path, void (*each)(void *ctx, const char *name), void *ctx);
/* True when there was such a file. */
bool sim_scratch_unlink(struct sim_process *process, const char *path);
/* What is there of a process; and of two that exchange it. */
void sim_scratch_erase(struct sim_process *process);
void sim_scratch_swap(struct sim_process *a, struct sim_process *b);
/* Removes what sim_scratch_path made. */
void sim_scratch_remove(struct sim_world *world);
