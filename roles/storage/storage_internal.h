/* What the storage server's files share.
 *
 * Versions, in order:  forgotten <= durable <= oldest <= known committed (or our version, if that is lower) ... version
 *
 *   durable     what the engine holds
 *   oldest      the least version that reads may name; the next commit may go up to here
 *   version     what we have of our tag's stream, committed or not: readable.now */
#pragma once

#include "net/arena.h"
#include "net/op.h"
#include "roles/rate_reporter.h"
#include "roles/tag_counter.h"
#include "roles/storage/drain.h"
#include "roles/storage/ownership.h"
#include "roles/storage/samples.h"
#include "roles/storage/storage.h"
#include "storage/engine.h"
#include "storage/window.h"
#include "txn/log_system.h"
#include "txn/mutation.h"

enum {
    STORAGE_FORMAT_VERSION = 1,
    STORAGE_WAITING_READS_MAX = 20000,                /* messages that wait for a version */
    STORAGE_WAITING_READ_BYTES_MAX = 64 * 1024 * 1024, /* and what they may hold */
    STORAGE_SPARE_READS_MAX = 256,
    STORAGE_REPLY_BYTES_MAX = 16 * 1024 * 1024,       /* a get_values reply beyond this answers no more gets */
    STORAGE_EMPTY_COMMIT_INTERVAL_US = 5000000, /* progress alone: an idle cluster must cost nothing */
    STORAGE_FORGET_STEP_BYTES = 65536,          /* the window forgets about this much at a time */
    STORAGE_CHUNK_PAIRS_MAX = 2000,             /* of a move's chunk: entering it takes a turn */
    STORAGE_WAITING_PROGRESS_MAX = 10000,       /* long polls for the progress of moves */
};

static_assert(STORAGE_REPLY_BYTES_MAX + 2 * VALUE_BYTES_MAX < RPC_FRAME_BYTES_MAX / 2, "a reply fits a frame");

/* The server's own record in the engine, beside its shards. `epoch` is of the generation that `version` lies in. */
#define FIELDS_server_record(F, S, A, L)                                                                       \
    F(u32, format) F(u64, cluster_high) F(u64, cluster_low) F(u64, server_id) F(u32, tag) F(u32, engine) F(i64, version) \
    F(u64, epoch)
SCHEMA_DECLARE(server_record)
#define META_RECORD "server"
#define META_SHARDS "shards"
#define META_SAMPLE "sample" /* as of some version at or below */

/* A generation of which we hold versions, or whose begin is our durable version. `first` is the first version that it handed out: between
 * begin and first lies a recovery's jump, which the 5 s do not count. */
struct era {
    uint64_t epoch;
    version_t begin, first;
};

/* What came in at versions [first, last], about STORAGE_FORGET_STEP_BYTES of it. */
struct share {
    version_t first, last;
    size_t bytes;
};

/* An ownership change that is not durable yet. */
struct assignment {
    struct list link;
    version_t version;
    uint32_t state;
    struct bytes begin, end; /* in the same block */
};

struct storage_commit;
struct chunk_block;
struct sweep_block;
struct watches;
struct read_op;

/* A chunk on its way into the engine; embedded in its fetch, which takes it off its list when it ends earlier. */
struct chunk_storing {
    struct list link;
    struct bytes begin;    /* borrowed from the fetch */
    struct message *chunk; /* borrowed from the fetch */
    int64_t since_us;      /* it waits */
    void (*done)(struct chunk_storing *storing, bool stored); /* not stored: it does not fit, or the window has something there */
};

/* Bytes that may be asked for, as of when. */
struct fetch_rate {
    int64_t tokens, tokens_us;
};

/* Moves: what we fetch (fetch.c, store_chunks.c), what was written meanwhile (fetch_buffer.c), what others fetch from us
 * (serve_chunk.c). */
struct moves {
    struct list fetches;
    uint32_t fetch_count, heal_count; /* heals are counted in both */
    struct bytes_buffer started; /* where the piece begins that was started last */
    version_t entered;           /* at which the last chunk came into the window */
    struct list buffer; /* of struct buffered, by version */
    size_t buffer_bytes;
    version_t floor;    /* through here the buffer was pruned: a chunk of a lower version can't come in */
    struct fetch_rate rate, heal_rate;
    struct list to_store;      /* of struct chunk_storing */
    struct chunk_block *block; /* being written; NULL: none */
    struct ready store;
    struct list asked;  /* requests for chunks that wait for their turn */
    struct ready serve;
    struct list waiting_progress;
    uint32_t waiting_progress_count, waiting_heal_count;
    uint64_t chunks, stored_chunks, bytes, pairs, failures, refused, damaged, served_chunks, served_bytes;
};

/* What the engine still holds of ranges that are not ours (sweep.c). */
struct sweep {
    bool wanted;             /* a round is to be gone, or under way */
    struct bytes_buffer at;  /* how far it is */
    struct sweep_block *block; /* a slice under way; NULL: none */
    struct ready look;
    struct env_timer rest;   /* after a slice */
    uint64_t slices;
};

struct pull {
    struct op op;
    struct rpc_call call;
    struct wait_timer timer;
    bool started;
    bool described;         /* a newer description came while a reply was taken in */
    uint64_t epoch;         /* of the generation asked */
    version_t from;
    uint32_t log;           /* which of the logs that hold the tag */
    uint32_t failures;      /* in a row */
    uint32_t next_version;  /* of the reply, to be applied */
};

struct storage_server {
    struct role_context context;
    struct env *env;
    struct rpc *rpc;
    uint64_t id;
    tag_t tag;
    enum engine_kind engine_kind;
    struct uid cluster_id;
    struct op_list ops;
    struct engine *engine;
    struct window *window; /* owned; by the detached commit once the server is destroyed during one */
    bool registered;
    bool recorded; /* the record is durable: we exist */
    bool ended;
    bool removed;  /* the logs say that the tag is nobody's any more: ends when no commit is under way */
    struct rpc_request *init_request; /* owned until answered */

    struct arena description_arena;
    struct description *description; /* in description_arena; NULL: none yet */

    struct turnstile readable;
    version_t durable, oldest, known_committed;
    struct era *eras; /* oldest first */
    uint32_t era_count, era_capacity;
    bool discarding;       /* the window still holds what was rolled back: a commit is under way */
    version_t discard_to;

    struct ownership *owned;  /* as of version */
    struct ownership *base;   /* as of durable */
    struct list assignments;  /* above durable, in order */

    struct share *shares; /* a ring: what lies above durable, or is being forgotten */
    size_t share_first, share_count, share_capacity;
    size_t share_bytes;

    struct storage_commit *commit; /* under way; NULL: none */
    int64_t committed_us;          /* when the last one ended */
    int64_t due_us;                /* since when one is due that has to wait for the engine; 0: none */
    int64_t hurry_us, hurry_until_us; /* commits do not give way to other work; for how long the last time */
    struct env_timer commit_timer;
    struct ready forget;
    version_t forget_to;
    struct ready release; /* at the end of a turn that has read the engine */

    struct pull pull;
    struct arena atomic_arena;
    struct bytes_buffer pairs; /* range reads build their answer here */

    struct watches *watches; /* owned */
    struct moves moves;
    struct sweep sweep;
    struct byte_sample sample; /* as of version; what a roll-back takes back stays in it */
    struct load_sample writes_load, reads_load;

    struct rate_reporter reporter;
    struct tag_counter tag_reads;
    uint64_t reported_bytes;
    int64_t space_checked_us, free_bytes, total_bytes; /* of the disk, with the room in the engine's file */
    struct drain drain;

    uint64_t digests, digest_bytes; /* given to the consistency scan */
    uint64_t damaged_records;       /* that the engine has found, as far as we have looked */
    bool damaged;                   /* a record at damaged_at or behind it is damaged */
    struct bytes_buffer damaged_at; /* the one found last */

    struct read_op *spare_reads; /* a pool */
    uint32_t spare_read_count;
    uint32_t waiting_reads;
    size_t waiting_read_bytes;

    uint64_t reads, range_reads, rows_read, bytes_read, too_old, future, wrong_shard, behind, reads_waited;
    uint64_t mutations, mutation_bytes, atomics, assigns, commits, committed_changes, pulls, pull_failures, malformed, rollbacks;
};

static inline version_t storage_version(const struct storage_server *storage)
{
    return storage->readable.now;
}

/* It takes one commit at a time. */
static inline bool storage_engine_is_busy(const struct storage_server *storage)
{
    return storage->commit != NULL || storage->moves.block != NULL || storage->sweep.block != NULL;
}

/* ---- storage.c ---- */
/* Can't go on: traced, and the worker is told, once. */
void storage_end(struct storage_server *storage, int error);
/* The engine will be read in this turn. */
void storage_reads_engine(struct storage_server *storage);
/* Reads a key's newest or older state: the window, then the engine. Borrowed until the turn ends or the window changes. */
int storage_get(struct storage_server *storage, struct bytes key, version_t version, bool *ret_present,
                struct bytes *ret_value);

/* ---- eras.c: generations, jumps, what is readable ---- */
int storage_era_enter(struct storage_server *storage, const struct generation *generation, version_t first);
uint64_t storage_epoch_of(const struct storage_server *storage, version_t version);
void storage_eras_prune(struct storage_server *storage);
/* 5 s of real versions below ours, but never above what is known committed. */
void storage_update_oldest(struct storage_server *storage);
/* The generation that version + 1 lies in, which is of the newest era's epoch or newer; NULL: none. */
const struct generation *storage_generation(const struct storage_server *storage);
/* What contradicts the eras in a description that is no older than they are; NULL: nothing. */
const char *storage_description_wrong(const struct storage_server *storage, const struct description *description);
/* The newest ended generation's end; VERSION_NONE when only one lives. */
version_t storage_old_end(const struct storage_server *storage);
/* What is above the end of the generation that it came from never was: takes it back. False: the server has ended. */
bool storage_roll_back(struct storage_server *storage);
/* Finishes a roll-back that a commit held up. */
void storage_discard(struct storage_server *storage);

/* ---- shares.c: bytes by version ---- */
int shares_add(struct storage_server *storage, version_t version, size_t bytes);
void shares_discard_above(struct storage_server *storage, version_t version);
/* The oldest share, or NULL. */
struct share *shares_oldest(struct storage_server *storage);
struct share *shares_at(struct storage_server *storage, size_t index);
void shares_drop_oldest(struct storage_server *storage);
/* Bytes at or below `version`. */
size_t shares_bytes_through(struct storage_server *storage, version_t version);

/* ---- apply.c ---- */
/* 0, or ERROR_SERIALIZATION_FAILED: a table that no proxy makes. Applies nothing. */
int storage_check_mutations(struct bytes table);
/* A checked table, at `version`. On an error the server can't go on. */
int storage_apply(struct storage_server *storage, version_t version, struct bytes table);
/* The pairs of [begin, end) are in the engine: its size is known. */
int storage_sample_pairs(struct storage_server *storage, struct bytes begin, struct bytes end, struct bytes pairs);
/* One checked mutation of data, evaluated. */
int storage_apply_data(struct storage_server *storage, version_t version, enum mutation_type type, struct bytes param1,
                       struct bytes param2);
/* [begin, end) has got `state` at `version`, which stays when it is rolled back to an older version. */
int storage_assign(struct storage_server *storage, version_t version, struct bytes begin, struct bytes end, uint32_t state);
/* `base` with what was assigned through `version`. */
int storage_owned_at(const struct storage_server *storage, version_t version, struct ownership **ret_ownership);
void storage_drop_assignments(struct storage_server *storage, version_t above, version_t through);

/* ---- sweep.c ---- */
void storage_sweep_init(struct storage_server *storage);
/* The durable map is another one: a new round. */
void storage_sweep(struct storage_server *storage);
/* The engine is free. */
void storage_sweep_look(struct storage_server *storage);
/* A slice under way is left to the engine. */
void storage_sweep_done(struct storage_server *storage);

/* ---- pull.c ---- */
/* Starts when the server exists and has been described. */
void storage_pull_start(struct storage_server *storage);
/* A newer description: whatever is under way starts again from it. */
void storage_pull_described(struct storage_server *storage);
/* Something that the op may wait for in LOOK has happened. */
void storage_pull_look(struct storage_server *storage);

/* ---- fetch.c, fetch_buffer.c ---- */
void storage_moves_init(struct storage_server *storage);
/* What was assigned, or how far the stream is, has changed: starts and resumes what may go on. */
void storage_fetch_look(struct storage_server *storage);
/* A mutation that lies in pieces which are not fetched yet is kept for their chunks; of a cleared range that part. */
int storage_buffer(struct storage_server *storage, version_t version, enum mutation_type type, struct bytes param1,
                   struct bytes param2);
/* Applies at `version` what was written in [begin, end) above `above`. */
int storage_buffer_apply(struct storage_server *storage, version_t version, struct bytes begin, struct bytes end, version_t above);
/* Drops what no chunk will need. */
void storage_buffer_prune(struct storage_server *storage);
/* What is above `end` never was; a chunk that had come in above it must be fetched again, as of `end` at least. */
void storage_buffer_roll_back(struct storage_server *storage, version_t end);
/* The least version of the chunks that were asked for; VERSION_MAX: none. */
version_t storage_fetch_oldest(const struct storage_server *storage);
/* What is still to be fetched of [begin, end), as the sources said with their last chunks; 0: not known, or nothing. */
uint64_t storage_fetch_bytes_left(const struct storage_server *storage, struct bytes begin, struct bytes end);
void storage_moves_done(struct storage_server *storage);

/* ---- store_chunks.c ---- */
/* True when the window says nothing of [begin, end). */
bool storage_window_is_clean(const struct storage_server *storage, struct bytes begin, struct bytes end);
/* Hands a chunk over; done() is called in a later turn. */
void storage_store_chunk(struct storage_server *storage, struct chunk_storing *storing);
/* The engine may be free. */
void storage_store_look(struct storage_server *storage);
void storage_store_chunks(struct ready *ready);
/* The server goes: the block under way keeps what it needs. */
void storage_store_detach(struct storage_server *storage);

/* ---- progress.c ---- */
void storage_answer_progress(struct storage_server *storage, struct rpc_request *request);
/* More is durable, or something was assigned. */
void storage_progress_look(struct storage_server *storage);
/* The piece heals: somebody who waits for its progress says that copies were lost. */
bool storage_piece_heals(const struct storage_server *storage, const struct held_shard *piece);
/* There may be such a piece. */
bool storage_heals_wait(const struct storage_server *storage);

/* ---- loads.c ---- */
void storage_answer_loads(struct storage_server *storage, struct rpc_request *request);
void storage_answer_split(struct storage_server *storage, struct rpc_request *request);

/* ---- serve_chunk.c ---- */
/* The version has come (or `late`): fetch_range and get_range_digest are answered in their turn, behind the reads. */
void storage_answer_chunk(struct storage_server *storage, struct rpc_request *request, int late);
void storage_serve_chunk(struct ready *ready);
/* 0, or why [begin, end) at `version` can't be given away now. Counts. */
int storage_check_chunk(struct storage_server *storage, struct bytes begin, struct bytes end, version_t version, int late);
/* The key just behind the last of `pairs`, which are not empty. */
int storage_after_pairs(struct bytes pairs, struct arena *arena, struct bytes *ret_key);

/* ---- serve_digest.c ---- */
void storage_serve_digest(struct storage_server *storage, struct rpc_request *request);
/* 0, or ERROR_FILE_CORRUPT: the store has lost keys. A large one is not looked at (*ret_checked). Damaged records are noted. */
int storage_check_store(struct storage_server *storage, bool *ret_checked);

/* ---- durable.c ---- */
/* Starts a commit if one is due, or arms the timer for it. */
void storage_consider_commit(struct storage_server *storage);
/* The first: an empty store with its record. */
int storage_commit_record(struct storage_server *storage);
bool storage_memory_presses(const struct storage_server *storage);
/* Sends what is durable to the logs that hold the tag, and to the controller where it waits for it. */
/* The engine's commits run like all other work: those that gave way took too long. */
bool storage_engine_hurries(const struct storage_server *storage);
void storage_report_durable(struct storage_server *storage, bool pops);
version_t storage_commit_version(const struct storage_server *storage); /* VERSION_NONE: none under way */
/* Of the commit under way: its bytes (0: none), and for how long it has given way to nobody (0: it still does). */
size_t storage_commit_under_way(const struct storage_server *storage, int64_t *ret_past_us);
void storage_forget(struct ready *ready);
void storage_commit_timer(struct env_timer *timer);
/* The server goes: the commit under way keeps what it needs. */
void storage_commit_detach(struct storage_server *storage);

/* ---- rate_load.c: what the ratekeeper is told ---- */
/* `reads` of a message cost so much, and these of them were those of tags. */
void storage_count_reads(struct storage_server *storage, const struct read_tag *tags, uint32_t tags_count, uint32_t reads, size_t bytes);
void storage_load_start(struct storage_server *storage);
/* ---- reads.c, read_values.c, read_range.c ---- */
void storage_on_read(struct storage_server *storage, struct rpc_request *request);
void storage_reads_done(struct storage_server *storage);
/* Answer now. What is ahead of the server gets `late`. */
void storage_answer_values(struct storage_server *storage, struct rpc_request *request, int late);
void storage_answer_range(struct storage_server *storage, struct rpc_request *request, int late);
/* Pairs of [begin, end), as in get_range_reply, into storage->pairs, until `limit` pairs or about `bytes_limit`. */
int storage_walk_range(struct storage_server *storage, struct key_range range, version_t version, uint32_t limit,
                       size_t bytes_limit, uint32_t *ret_count, bool *ret_more);
void storage_answer_metrics(struct storage_server *storage, struct rpc_request *request);
/* 0, or why [begin, end) can't be measured here: all of it must be readable now. Counts. */
int storage_check_range(struct storage_server *storage, struct bytes begin, struct bytes end);
/* 0, or why nothing can be read at `version` now. Counts. */
int storage_check_version(struct storage_server *storage, version_t version, int late);
/* The engine's error as a reader may see it; ends the server. */
int storage_read_failed(struct storage_server *storage, int error);
/* The same of what was read at `key` or behind it: one damaged record does not end the server. It is remembered, so that the distributor
 * has the shard fetched again. */
int storage_record_failed(struct storage_server *storage, struct bytes key, int error);
/* A record at `key`, or behind it, is damaged: all that the engine has counted until now is known. */
void storage_note_damage(struct storage_server *storage, struct bytes key);
