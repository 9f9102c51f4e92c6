/* An env over plain memory for the tests of files: what a crash leaves is the test's choice.
 *
 * Written bytes are durable after a finished sync, names after env_dir_sync. fake_disk_crash() goes back to what is durable
 * plus a drawn part of the rest: a prefix of the directory changes, any subset of the written 64-byte sectors. */
#pragma once

#include "net/env.h"
#include "tests/unit/nth.h"

enum { FAKE_FILES_MAX = 1024, FAKE_NAME_MAX = 200, FAKE_SECTOR = 64, FAKE_CHANGES_MAX = 64 };

struct fake_content {
    uint8_t *ptr; /* owned */
    size_t len;
};

struct fake_inode {
    bool used;
    struct fake_content now, durable;
};

struct fake_name {
    char name[FAKE_NAME_MAX]; /* empty: free */
    int inode;
};

struct fake_change {
    char from[FAKE_NAME_MAX], to[FAKE_NAME_MAX]; /* from empty: created; to empty: removed */
    int inode;
};

struct fake_disk {
    struct env env;
    struct fake_inode inodes[FAKE_FILES_MAX];
    struct fake_name names[FAKE_FILES_MAX], durable_names[FAKE_FILES_MAX];
    struct fake_change changes[FAKE_CHANGES_MAX];
    unsigned change_count;
    struct env_sync *syncs; /* under way, oldest first */
    struct env_job *job;    /* the same; one at a time */
    bool job_ran, job_stopped;
    bool jobs_wait;         /* none runs */
    uint64_t created, removed, dir_syncs; /* files; counters */
    unsigned open_files;
    uint64_t calls;   /* of file functions */
    uint64_t fail_at; /* this one fails; 0 = none */
    int64_t now_us;
    uint64_t traced_damage;
};

struct fake_disk *fake_disk_create(void);
void fake_disk_destroy(struct fake_disk *disk);
/* Runs turns; finishes the oldest sync after each turn if `syncs`. A job runs after one turn and is done after the next. */
void fake_disk_run(struct fake_disk *disk, unsigned turns, bool syncs);
/* Until no sync and no job is under way. */
void fake_disk_finish(struct fake_disk *disk);
enum fake_crash { FAKE_KEEP_ALL, FAKE_KEEP_NOTHING, FAKE_KEEP_SOME };
/* Nobody may hold a file. */
void fake_disk_crash(struct fake_disk *disk, enum fake_crash how, uint64_t *random);
/* The present content of a name, for damaging; NULL when there is none. */
struct fake_content *fake_disk_content(struct fake_disk *disk, const char *name);
/* Copies all files of `from`; both have nothing open and nothing under way. */
void fake_disk_copy(struct fake_disk *to, const struct fake_disk *from);
/* The same with all that a crash of `from` would lose at this moment; `from` may be in use. */
void fake_disk_fork(struct fake_disk *to, const struct fake_disk *from);
/* The n-th file call of a disk, which is the loop's ctx, fails. */
extern const struct nth_door fake_disk_calls;
