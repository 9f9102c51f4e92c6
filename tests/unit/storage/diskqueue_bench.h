/* A disk queue on a fake disk, for the tests of the queue: numbered frames go in, and what is replayed is checked. */
#pragma once

#include "storage/diskqueue.h"
#include "tests/unit/storage/fake_disk.h"

/* A frame's data says its number, so that what is replayed can be checked without a model of bytes. */

enum { FILE_ID = 77, WAITERS_MAX = 64 };

struct waiter {
    struct op op;
    struct diskqueue *queue;
    struct diskqueue_commit commit;
    bool ended;
    int error;
};

struct replayed {
    unsigned count;
    uint64_t first, last; /* numbers */
    uint64_t end;
    uint64_t life; /* never goes down: a stale frame behind a newer one would be from an earlier life */
    bool bad;
};

struct bench {
    struct fake_disk *disk;
    struct diskqueue *queue;
    struct op_list ops;
    struct replayed replayed;
    struct diskqueue_options options;
    uint64_t life;
};

void start(struct bench *bench, struct waiter *waiter);
int append(struct bench *bench, uint64_t number, size_t len, uint64_t *ret_position);
void commit_all(struct bench *bench);
void add(struct bench *bench, uint64_t number, size_t len);
void expect_frames(struct bench *bench, uint64_t first, uint64_t last);
int bench_open(struct bench *bench);
void bench_init(struct bench *bench, uint64_t first_bytes, uint64_t bytes);
void bench_close(struct bench *bench);
void bench_done(struct bench *bench);
