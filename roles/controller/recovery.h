/* A recovery under way: what its files share. */
#pragma once

#include "roles/controller/controller_internal.h"
#include "txn/log_system.h"

enum {
    STATELESS_RECRUITS_MAX = 64, /* of a kind */
    STORAGE_RECRUITS_MAX = 256,
    RECRUITS_MAX = 1 + 3 * STATELESS_RECRUITS_MAX + LOGS_MAX + STORAGE_RECRUITS_MAX,
};

/* A role that this recovery has asked for. */
struct recruit {
    struct call_child child;
    enum role_kind kind;
    uint64_t role_id;
    struct address address;
    uint64_t worker_id;
    struct bytes zone; /* in the recovery's arena, as the next ones */
    struct bytes rack, hall, data_center;
    tag_t tag;         /* of storage servers */
};

struct recovery {
    struct op op;
    struct controller *controller;
    struct arena arena; /* everything below that points */
    struct rpc_call call;
    struct wait_timer timer;
    uint64_t lock_id;
    struct coordinated_state state; /* as locked */
    uint64_t epoch;
    bool creating;
    const struct generation *old; /* the newest generation of `state`; NULL when creating */
    struct call_child *locks;     /* one for each log of it */
    struct call_child old_sequencer;
    int64_t locked_us;    /* when enough logs had answered; 0: not yet */
    uint64_t locked_mask; /* logs that have all that was acknowledged */
    uint32_t metadata_from; /* the log that is asked for it */
    version_t recovery_version;
    struct kv_map *metadata; /* owned: as of the recovery version */
    struct bytes metadata_dump;
    struct recruit *recruits;
    uint32_t recruit_count;
    struct generation generation; /* the new one */
    bool lost; /* a process that was recruited has gone */
    version_t transaction_version;
    int64_t started_us;
};

/* ---- recovery_logs.c: pure ---- */
/* Looks at who answered: true when the logs that did not, or that have lost data, lie in fewer zones than the replication. Then
 * *ret_mask are those to trust and *ret_version is the recovery version. answers[i] is NULL for who did not answer. */
/* NULL, or what shows that the answer is not the log's, or not the truth: it then counts as not given. */
const char *recovery_lock_wrong(const struct generation *generation, uint32_t log, const struct lock_log_reply *answer);
bool recovery_logs_suffice(const struct generation *generation, const struct lock_log_reply *const *answers,
                           version_t known_committed, uint64_t *ret_mask, version_t *ret_version);

/* ---- recovery_recruit.c ---- */
/* Chooses processes and asks them for sequencer, resolvers, logs (and storage servers of a new database). False: there are too
 * few yet, controller->waiting_for says what. */
bool recovery_recruit_first(struct recovery *recovery);
/* Asks for the proxies. */
void recovery_recruit_proxies(struct recovery *recovery);
struct recruit *recovery_find(struct recovery *recovery, enum role_kind kind, uint32_t nth);

/* ---- recovery_txn.c ---- */
/* The first transaction of the epoch, as a commit message. */
struct message *recovery_transaction(struct recovery *recovery);
/* The state to be written: the new epoch's roles and generations. In the recovery's arena. */
void recovery_new_state(struct recovery *recovery, struct coordinated_state *ret_state);
