/* What the log server's files share. */
#pragma once

#include "net/arena.h"
#include "net/op.h"
#include "roles/log/log.h"
#include "roles/rate_reporter.h"
#include "storage/diskqueue.h"
#include "txn/kv_map.h"
#include "txn/log_system.h"

enum {
    LOG_FORMAT_VERSION = 1,
    LOG_CHECKPOINT_EVERY = 256,        /* versions, */
    LOG_CHECKPOINT_BYTES = 1024 * 1024, /* or this much of the queue: what a read from disk skips at most */
    LOG_WAITING_PEEKS_MAX = 10000,
    LOG_SPACE_CHECK_US = 200000,
    LOG_QUEUE_BYTES = 64 * 1024 * 1024, /* received and not synced: from here on a ratekeeper slows down */
    LOG_PUSHES_MAX = 4096, /* under way; an epoch's proxies have a few slots each */
    LOG_PUSHES_BYTES_MAX = 512 * 1024 * 1024,
    LOG_PUSH_BYTES_MAX = RPC_FRAME_BYTES_MAX / 2, /* so that a peek's reply with it fits a frame */
    LOG_TAGS_MAX = 65536,
    LOG_SCRATCH_KEEP_BYTES = 64 * 1024,
};

/* One version in memory: all that are not known committed, and of the rest as many as there is room for. */
struct log_entry {
    version_t version;
    uint64_t position;       /* of its frame */
    struct message *message; /* owned reference: a push */
    size_t bytes;
};

/* Where some version stands on disk, of those no longer in memory. */
struct log_checkpoint {
    version_t version;
    uint64_t position;
};

/* A tag that has been seen here. */
struct log_tag {
    tag_t tag;
    bool used;         /* a slot of the table that is taken */
    bool held;         /* log_system places it on this log */
    bool removed;      /* its server was: what is here for it is needed by nobody */
    version_t popped;  /* its server has made everything through here durable */
    version_t newest;  /* the newest version with data for it */
};

/* Metadata mutations of one version above what is folded. */
struct log_tail {
    version_t version;
    struct bytes mutations; /* owned */
};

struct log_server {
    struct role_context context;
    struct env *env;
    struct rpc *rpc;
    uint64_t id, epoch;
    version_t begin;
    struct arena generation_arena;
    struct generation generation; /* in generation_arena */
    uint32_t self;                /* our place in its list; UINT32_MAX when we are not in it */
    struct op_list ops;
    struct diskqueue *queue;
    bool registered; /* with the rpc */
    bool restored, locked, ended;
    uint64_t locked_by; /* the highest epoch that locked it */
    struct turnstile received; /* stands at the newest version appended */
    version_t durable, known_committed;
    /* entries[first, first + count) of a ring, in version order; what is older is on disk alone */
    struct log_entry *entries;
    size_t entry_first, entry_count, entry_capacity;
    size_t memory_bytes;
    struct log_checkpoint *checkpoints; /* of spilled versions, in order */
    size_t checkpoint_count, checkpoint_capacity;
    uint32_t since_checkpoint;
    version_t spilled_through; /* the newest version that is on disk alone; begin when none is */
    version_t popped_through;  /* everything up to here is needed by nobody */
    struct log_tag *tags; /* open addressing, at most half full */
    uint32_t tag_count, tag_capacity;
    struct kv_map *metadata;     /* folded through metadata_version */
    version_t metadata_version;
    tag_t *listed;               /* owned, sorted: tags that the folded serverList names; empty while removed_below is 0 */
    uint32_t listed_count, listed_capacity;
    uint64_t removed_below;      /* \xff/removedTagsBelow, as folded */
    struct log_tail *tail;
    size_t tail_count, tail_capacity;
    version_t snapshot_committed; /* known committed as of the newest durable snapshot */
    version_t snapshot_popped;    /* these two while opening: what the newest snapshot let go, */
    uint64_t snapshot_needed;     /* and where the queue may begin ever since */
    uint64_t snapshot_due;        /* a fresh one is written when nothing below this position is needed */
    struct op *snapshot_op;       /* a fresh snapshot on its way */
    struct arena scratch;         /* of one append or one read from disk; see log_scratch */
    uint32_t push_op_count;
    size_t push_op_bytes;
    struct list waiting_peeks;   /* rpc_request.link */
    uint32_t waiting_peek_count;
    struct ready answer_peeks;
    int64_t space_checked_us;
    struct rate_reporter reporter;
    uint64_t reported_bytes;
    bool disk_full;
    uint64_t free_bytes, total_bytes; /* of the disk, when it was last asked */
    uint64_t pushes, push_bytes, peeks, peek_bytes, repeats, refused_pushes;
};

/* ---- log.c ---- */
/* Can't go on: tells the worker, once. */
void log_end(struct log_server *log, int error);
/* NULL when there is none; with create: when there are LOG_TAGS_MAX others. */
struct log_tag *log_tag_find(struct log_server *log, tag_t tag, bool create);
/* True when the generation places the tag on this log. */
bool log_tag_is_held(const struct log_server *log, tag_t tag);
/* An empty arena; what the last caller had from it is gone. */
struct arena *log_scratch(struct log_server *log);
struct log_entry *log_entry_at(struct log_server *log, size_t index);
/* In memory; NULL if it is not (any more). */
struct log_entry *log_entry_find(struct log_server *log, version_t version);
/* What lies above what is durable here is no news but a lie, and cut. */
void log_known_committed(struct log_server *log, version_t version);
void log_role_started(struct log_server *log, struct rpc_request *request);

/* ---- log_disk.c: frames ---- */
int log_disk_open(struct log_server *log);
int log_disk_append_snapshot(struct log_server *log, uint64_t needed, uint64_t *ret_position);
int log_disk_append_pops(struct log_server *log);
int log_disk_append_push(struct log_server *log, const struct push *push, uint64_t *ret_position);
/* A version's frame from disk, as a push in the arena. ret_is_push is false for other frames. */
int log_disk_read(struct log_server *log, uint64_t position, struct arena *arena, bool *ret_is_push,
                  struct push *ret_push, uint64_t *ret_next);

/* ---- log_memory.c: entries, spilling, popping ---- */
/* False, and nothing is changed that counts, when the push names more tags than there can be. */
bool log_memory_admit(struct log_server *log, const struct push *push);
/* The next version, whose tags were admitted. */
void log_memory_add(struct log_server *log, struct message *message, uint64_t position);
/* The same for a version that was found on disk, and stays there. */
void log_memory_replayed(struct log_server *log, const struct push *push, uint64_t position);
/* All was replayed. What the newest snapshot let go is gone, though it may still be readable: the queue pops it any time. */
void log_memory_restored(struct log_server *log);
void log_memory_spill(struct log_server *log);
void log_memory_popped(struct log_server *log);
/* Everything in the queue below it is needed by nobody; a later push's frame is never below it. */
uint64_t log_memory_needed(const struct log_server *log);
/* Writes a fresh snapshot when enough of the queue is behind what is needed; the queue pops when that is durable. */
void log_memory_pop_queue(struct log_server *log);
void log_memory_done(struct log_server *log);

/* ---- log_metadata.c ---- */
/* What log_metadata_fold can apply without an error. */
bool log_metadata_is_valid(struct bytes mutations);
int log_metadata_add(struct log_server *log, version_t version, struct bytes mutations);
void log_metadata_fold(struct log_server *log);
/* Tags of servers that were removed, as far as that is known committed. look_at_tags: brings what is
 * known of tags in step with the folded metadata. */
bool log_metadata_tag_removed(const struct log_server *log, tag_t tag);
void log_metadata_look_at_tags(struct log_server *log);
void log_metadata_done(struct log_server *log);
void log_on_get_metadata(struct log_server *log, struct rpc_request *request);

/* ---- log_load.c ---- */
void log_load_start(struct log_server *log);
/* Asks at most every LOG_SPACE_CHECK_US. */
void log_look_at_space(struct log_server *log);

/* ---- log_push.c, log_peek.c, log_lock.c ---- */
void log_on_push(struct log_server *log, struct rpc_request *request);
/* Fails those that wait for their turn, which will not come: the log is locked or has ended. */
void log_stop_pushes(struct log_server *log);
void log_on_peek(struct log_server *log, struct rpc_request *request);
void log_on_pop(struct log_server *log, struct rpc_request *request);
void log_answer_peeks(struct ready *ready);
void log_on_lock(struct log_server *log, struct rpc_request *request);
void log_start_first_snapshot(struct log_server *log, struct rpc_request *request);
void log_start_fresh_snapshot(struct log_server *log);
