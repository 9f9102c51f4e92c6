/* A log server on the fake disk, asked over a real rpc of the same process. */
#pragma once

#include <criterion/criterion.h>

#include "net/mem.h"
#include "roles/log/log.h"
#include "tests/unit/draw.h"
#include "tests/unit/storage/fake_disk.h"
#include "txn/kv_map.h"
#include "txn/mutation.h"

enum { LOG_ID = 1000, EPOCH = 5, BEGIN = 100 };

struct bench {
    struct fake_disk *disk;
    struct rpc *rpc;
    struct op_list ops;
    struct role_context context;
    struct log_server *log; /* owned; NULL: none */
    unsigned ended;         /* how often the role said that it can't go on */
    int ended_error;
    uint64_t log_id; /* of the next one */
};

/* A request under way. */
struct asked {
    struct op op;
    struct rpc_call call;
    struct bench *bench;
    uint64_t to;
    struct message *request; /* owned until it is sent */
    struct message *reply;   /* owned */
    bool ended;
    int error;
};

void bench_init(struct bench *bench);
void bench_done(struct bench *bench);
struct asked *ask(struct bench *bench, struct message *message);
/* Runs until it is answered; frees what it asked. *ret_reply (may be NULL) is the caller's. */
int answer_of(struct bench *bench, struct asked *asked, struct message **ret_reply);
void asked_free(struct asked *asked);
/* Makes a log with the bench's id on BEGIN; `metadata` as of there. Returns what the recruiter is told. */
int recruit(struct bench *bench, struct bytes metadata);
struct message *init_message(uint64_t log_id);
/* The process goes and comes back: with FAKE_KEEP_ALL nothing is lost but what was not written. Returns what restore says. */
int restart(struct bench *bench, enum fake_crash how, uint64_t *random);
/* Destroys the log, whatever it is doing, and what was asked of it. */
void bench_stop(struct bench *bench);

/* With no section when there is no data. `metadata` and data are copied. */
struct message *push_message(version_t version, version_t prev, version_t known_committed, tag_t tag, struct bytes data,
                             struct bytes metadata);
struct message *text_push(version_t version, version_t prev, tag_t tag, const char *data);
void push_add(struct message *message, const tag_t *tags, uint32_t count, struct bytes data);
struct message *peek_message(tag_t tag, version_t from, version_t known_committed);
struct message *lock_message(uint64_t epoch);
void pop(struct bench *bench, tag_t tag, version_t version);
void say_committed(struct bench *bench, version_t version);
int64_t metric(struct bench *bench, const char *name);
