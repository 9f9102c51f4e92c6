/* What the scan's files share: what it looks at, what it has found. */
#pragma once

#include <assert.h>

#include "roles/distributor/distributor_internal.h"
#include "roles/distributor/scan.h"
#include "roles/distributor/scan_judge.h"

enum { SCAN_FINDINGS_MAX = 16, SCAN_SAVE_INTERVAL_US = 10000000 /* of what is not news of a finding */ };

/* The stages of its op; see scan.c. */
enum { RESTORE, RESTORED, LOOK, SAVE, SAVED, VERSION, ASK, JUDGE, REPAIR, REPAIRED, STAGES };

/* What stands in the database. Totals count since the database began; times are of the wall clock, for people. */
#define FIELDS_scan_record(F, S, A, L)                                                                                       \
    F(bytes, shard) F(bytes, begin) F(bytes, end) L(u64, servers) F(u32, bad) F(boolean, content) F(i64, wall_us) F(u32, outcome) \
    F(boolean, away)
SCHEMA_DECLARE(scan_record)
#define FIELDS_scan_state(F, S, A, L)                                                                                        \
    F(u64, round) F(i64, began_us) F(bytes, at) F(u64, shards) F(u64, skipped) F(u64, bytes) F(i64, last_began_us)          \
    F(i64, last_ended_us) F(u64, last_shards) F(u64, last_skipped) F(u64, last_bytes) F(u64, found) F(u64, repaired) \
    A(scan_record, findings)
SCHEMA_DECLARE(scan_state)

enum scan_outcome {
    SCAN_REPAIRING, /* the bad replica fetches it again */
    SCAN_REPAIRED,
    SCAN_OPEN,      /* nobody can tell which replica is right, or no good copy was proven, or it is not mended yet */
    SCAN_GONE,      /* all of the shard was equal when it was read again */
    SCAN_WAITING,   /* the bad copy was given up, and there is no server for another */
    SCAN_OUTCOMES,
};

struct scan_finding {
    struct arena arena;
    struct bytes shard, begin, end; /* the shard's begin; the first keys that differ */
    uint64_t servers[TEAM_SERVERS_MAX]; /* the shard's, the bad ones by their bits */
    uint32_t count, bad;
    bool content;
    int64_t wall_us;
    enum scan_outcome outcome;
    bool away;  /* the shard moves from the bad server to another */
    bool again; /* to be looked at before the round goes on: what was known of it was another distributor's, or its repair failed */
};

enum scan_mode {
    SCAN_WALK,   /* page after page of all replicas */
    SCAN_NARROW, /* smaller and smaller pages, to the first key that differs */
    SCAN_PROVE,  /* the good ones alone, all of the shard: is there a copy to fetch from? */
};

/* A question to one replica. */
struct scan_ask {
    struct op op;
    struct scan *scan;
    struct rpc_call call;
    struct scan_answer answer;
    uint64_t id;
    bool done;
};

struct scan {
    struct op op;
    struct distributor *distributor;
    struct wait_timer timer;
    struct transaction *txn; /* owned; for the read version of a page */
    struct transaction_version read_version;
    struct change change;
    const struct transaction_range *stored; /* of the change's present try */

    /* The round. */
    struct scan_state state;         /* at: see `at` */
    struct bytes_buffer at;          /* owned: the round goes on there */
    struct bytes_buffer urgent;      /* owned: look there first */
    bool restored, is_urgent, changed, paused;
    int64_t pause_until_us, saved_us;
    int64_t tokens, tokens_us;       /* bytes that may be read, as of when */

    /* The shard under examination: that of `begin`, of these servers. */
    struct bytes_buffer begin, end;  /* owned */
    bool examining, by_round;        /* by_round: the round goes on behind it */
    uint64_t ids[TEAM_SERVERS_MAX];
    uint32_t count, asked;           /* asked: bits of those who are */
    enum scan_mode mode;
    struct bytes_buffer from, until; /* owned: what is asked; until is empty: to the end */
    struct bytes_buffer narrow;      /* owned: the page that differs ends there */
    uint32_t pairs_limit, tries;
    uint32_t closer;                 /* pages that differed since */
    bool suspected;                  /* it differed once: asked again, before anybody is accused */
    struct scan_judgement judgement;
    struct scan_ask asks[TEAM_SERVERS_MAX];
    uint32_t asks_waiting;
    struct scan_finding *finding;    /* what PROVE is for; borrowed from `findings` */
    uint64_t repairing;              /* the server */

    int64_t again_us;                /* no finding is looked at again before */
    struct scan_finding findings[SCAN_FINDINGS_MAX];
    uint32_t finding_count; /* since it began; the newest are kept */
};

static inline struct scan *scan_of_op(struct op *op)
{
    return container_of(op, struct scan, op);
}

static inline void scan_must(int error)
{
    assert(error == 0); /* a server dies of a failed allocation before it gets here */
}

/* ---- scan.c ---- */
/* Every one of it can be asked. */
bool scan_is_whole_team(const struct scan *scan, const struct team *team);
enum op_result scan_change(struct scan *scan, void (*ask)(struct change *), int (*decide)(struct change *), unsigned next);
/* After a change. False: another distributor has the lock, and ours ends. */
bool scan_may_go_on(struct scan *scan, int error);
/* Done with the shard under examination. */
void scan_leave(struct scan *scan);
/* It can't be examined, or mended, now: what was found in it and can be mended is not left to the next round. */
void scan_skip(struct scan *scan);

/* ---- scan_repair.c: the stages REPAIR and REPAIRED ---- */
enum op_result scan_run_repair(struct op *op);
enum op_result scan_run_repaired(struct op *op);

/* ---- scan_report.c ---- */
/* Traced; what the examination has found lies in [from, through). */
struct scan_finding *scan_found(struct scan *scan);
void scan_outcome(struct scan *scan, struct scan_finding *finding, enum scan_outcome outcome);
/* What can be mended in the shard under examination is looked at again before the round goes on. */
void scan_again(struct scan *scan);
/* Repairs that have come to their end since. */
void scan_look(struct scan *scan);
/* All of the shard under examination is equal. */
void scan_is_equal(struct scan *scan);
/* The newest ones as records, in the arena, as many as a value of the database should hold; and back. */
int scan_findings_keep(const struct scan *scan, struct arena *arena, struct scan_state *state);
void scan_findings_restore(struct scan *scan, const struct scan_state *state);
void scan_findings_done(struct scan *scan);
