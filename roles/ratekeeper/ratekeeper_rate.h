/* How many transactions a second may start: a pure function of what storage servers, logs and proxies said of themselves.
 *
 * No clock, no I/O, no allocation: time comes in with every call, sources stand in arrays of the struct. The law is in
 * ratekeeper_rate.c. Rates are transactions a second over all GRV proxies; RATE_UNLIMITED is none at all. */
#pragma once

#include "net/env.h"
#include "txn/messages.h"
#include "txn/tags.h"

enum { RATE_STORAGE_MAX = 4096, RATE_LOGS_MAX = 64, RATE_PROXIES_MAX = 256, RATE_PAST_SLOTS = 128 };
#define RATE_UNLIMITED 1e12
/* Never less, whatever is wrong: without transactions nothing could be measured any more, and nobody could clear anything. */
#define RATE_FLOOR 10.0

/* Why the rate is what it is. The numbers are FoundationDB's, as its status has them; ours come after. */
enum rate_reason {
    RATE_WORKLOAD = 0, /* nothing limits */
    RATE_STORAGE_QUEUE = 1,
    RATE_STORAGE_BEHIND = 3, /* the newest versions can't be read there yet */
    RATE_LOG_QUEUE = 5,
    RATE_STORAGE_DISK = 6,
    RATE_LOG_DISK = 8,
    RATE_STORAGE_DURABILITY = 10,
    RATE_COMMIT_QUEUE = 20, /* commits wait at a commit proxy */
    RATE_REASONS = 21,
};
/* FoundationDB's name, and a sentence. */
const char *rate_reason_name(enum rate_reason reason);
const char *rate_reason_text(enum rate_reason reason);

/* What may be tuned; from the knobs. Sizes are in bytes, times in microseconds (or versions, which is the same). */
struct rate_limits {
    int64_t smoothing_us;      /* of rates */
    int64_t stale_us;          /* a source that has been silent for longer counts as gone */
    int64_t hold_free_bytes;   /* free disk below which a storage server holds back transactions that set */
    int64_t read_lag_us;       /* what a storage server may lack of the newest committed version */
    int64_t durability_lag_us; /* how far its disk may be behind its memory, beyond 5 s of history */
    int64_t catch_up_us;       /* one that lacks more was away: it limits nobody while it catches up */
    int64_t commit_wait_us;    /* what a commit may wait for its batch */
};

/* A total that grows, and how fast it has grown lately. Zeroed: nothing is known. */
struct rate_smoother {
    int64_t since_us, at_us, total;
    double rate; /* a second */
    bool known;
};
void rate_smoother_add(struct rate_smoother *smoother, int64_t now_us, int64_t total, int64_t smoothing_us);

struct rate_source {
    uint64_t id; /* 0: free */
    struct address address;
    int64_t heard_us;
    version_t version, newest_before; /* of all logs, at its last report */
    int64_t queue_bytes, free_bytes, total_bytes;
    double queue;        /* smoothed, in parts of what may be queued */
    double lag_us;       /* smoothed read lag */
    double behind_us;    /* durability lag */
    double capacity;     /* bytes a second that its disk takes; 0: not known */
    double intake;       /* bytes a second that it was seen to take in */
    double cost;         /* bytes a transaction brings it; 0: not known */
    int64_t cost_us;     /* over which time that was learned */
    double most;         /* transactions that started a second lately, at most */
    uint32_t tag;        /* in which its mutations come */
    double busy_read;    /* the part that its busiest tag makes of what its reads cost; 0: none is known */
    struct tag_name busy_reader;
    struct rate_smoother input, versions;
    struct rate_smoother history; /* input as it came while what is in its memory did */
};

struct rate_proxy {
    uint64_t id;
    struct address address;
    uint32_t kind; /* GRV or commit proxy */
    int64_t heard_us;
    double wait_us; /* smoothed */
    struct rate_smoother started, done, lately; /* lately: started, but of a shorter time */
};

/* For one priority: default, and batch, whose limits are reached earlier. */
struct rate_output {
    double rate; /* transactions a second; RATE_UNLIMITED: no limit */
    enum rate_reason reason;
    uint64_t id;            /* of the role that limits; 0: none */
    struct address address; /* its process */
};

struct rate_tags;

struct rate_core {
    struct rate_limits limits;
    struct rate_tags *tags; /* the caller's; NULL: tags are not limited */
    struct rate_source *storage; /* owned by the caller: RATE_STORAGE_MAX */
    struct rate_source logs[RATE_LOGS_MAX];
    struct rate_proxy proxies[RATE_PROXIES_MAX];
    version_t epoch_version;  /* versions of this epoch begin above it: a jump is no lag */
    version_t newest_version; /* that a log has said */
    double released; /* transactions that start a second, smoothed */
    double released_lately; /* the same over a shorter time */
    double past[RATE_PAST_SLOTS]; /* `released` by tenths of a second: what starts has to come to a server that is behind */
    bool starts_wait;       /* at a GRV proxy, for longer than a batch takes */
    double paced, paced_batch; /* what commits that wait allow, or allowed and is let go by and by; 0: anything */
    struct rate_output normal, batch;
    int64_t updated_us;
    bool hold_sets; /* a disk is nearly full: only transactions that set nothing may commit */
    enum rate_reason hold_reason;
    uint64_t hold_id;
    struct address hold_address;
    int64_t hold_free_bytes;
    uint32_t live_storage, live_logs, live_grv_proxies;
    double worst_queue, worst_lag_us, worst_behind_us; /* of living storage servers */
    double worst_log_queue;
};

/* `storage`: RATE_STORAGE_MAX zeroed entries, the caller's for as long. */
void rate_core_init(struct rate_core *core, const struct rate_limits *limits, struct rate_source *storage);
void rate_core_epoch(struct rate_core *core, version_t epoch_version);
void rate_note_storage(struct rate_core *core, int64_t now_us, struct address from, const struct storage_load *load);
void rate_note_log(struct rate_core *core, int64_t now_us, struct address from, const struct log_load *load);
void rate_note_proxy(struct rate_core *core, int64_t now_us, struct address from, const struct proxy_load *load);
/* Sets normal, batch and hold_sets from what was noted. */
void rate_core_update(struct rate_core *core, int64_t now_us);
