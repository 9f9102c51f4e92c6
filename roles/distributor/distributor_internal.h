/* What the distributor's files share: its picture, its settings, what is under way. */
#pragma once

#include "net/arena.h"
#include "net/op.h"
#include "roles/distributor/change.h"
#include "roles/distributor/distributor.h"
#include "roles/distributor/plan.h"
#include "txn/operator_keys.h"
#include "txn/system_keys.h"

/* What the metadata asks for, as of `version`. */
struct dd_settings {
    struct arena arena;
    version_t version;
    struct configuration configuration;
    struct exclusions exclusions;
    uint64_t healthy_zone;   /* digest; 0: none */
    version_t healthy_until; /* below it that zone is away on purpose */
    bool off;                /* \xff/dataDistributionMode */
    bool balance_off;
    bool scan_off; /* consistencycheck off */
};

/* A storage server and what watches it. In place of a pointer in the picture: one for each slot. */
struct tracker {
    struct op op;
    struct distributor *distributor;
    struct list link; /* distributor->trackers */
    struct rpc_watch watch;
    struct rpc_call call;
    struct wait_timer timer;
    uint64_t id;
    uint32_t slot; /* in the picture */
    struct endpoint endpoint;
    int64_t silent_since_us;  /* when it fell silent first; 0: it has answered for a while */
    int64_t back_since_us;    /* it answers since; 0: it is silent */
    int64_t excused_until_us; /* its silence before counts for nothing: it was away on purpose */
    uint32_t returns;         /* since silent_since_us */
    bool on_purpose;          /* so was it at the last plan */
    struct bytes_buffer at;   /* where its next page begins */
    version_t version, lag;
};

struct distributor {
    struct role_context context;
    struct env *env;
    uint64_t id;
    struct op_list ops;
    struct client *client; /* owned */
    struct arena description_arena;
    struct description description;
    struct dd_settings settings;
    struct picture *picture;
    struct plan plan;
    struct list trackers;
    struct op *loader, *recruiter, *removal, *announcer; /* NULL: not running */
    struct scan *scan;                                   /* NULL: not yet */
    struct env_timer plan_timer;
    bool loaded, ended;
    bool shards_stale;   /* the picture's shards are to be read again */
    bool announce;     /* the controller has not been told of the servers as they are */
    /* Counters, for status. */
    uint64_t plans, moves_started, moves_finished, moves_failed, splits, merges, recruited, removed, bytes_moved;
    int64_t bytes_left; /* of the moves that fetch: what has not come yet */
    uint64_t by_reason[PLAN_REASONS];
};

/* ---- distributor.c ---- */
/* The role can't go on. */
void distributor_end(struct distributor *self, int error);
/* Something has changed: plans soon. */
void distributor_plan_soon(struct distributor *self);
/* What an op ended with that was to change shards: another's lock ends the role, a stale picture is read again. */
void distributor_changed_badly(struct distributor *self, int error);

/* ---- loader.c: takes the lock, reads everything, then settings and servers again and again ---- */
void loader_start(struct distributor *self);
/* Reads again now. */
void loader_hurry(struct distributor *self);

/* ---- trackers.c: one long look at each server ---- */
struct tracker *tracker_of(const struct distributor *self, uint64_t id);
/* The servers of serverList are those of the picture that are known: starts and ends trackers. */
void tracker_start(struct distributor *self, uint32_t slot, const struct wire_endpoint *endpoint);
void tracker_stop(struct tracker *tracker);
/* What time has made of servers that don't answer: before each plan. */
void trackers_judge(struct distributor *self);

/* ---- move.c, resize.c ---- */
void move_start(struct distributor *self, const struct plan_action *action);
/* key: where to cut; empty: one of the shard's servers is asked. */
void resize_start(struct distributor *self, const struct plan_action *action, struct bytes key);

/* ---- disturb.c: for tests ---- */
/* Moves, splits or merges something for no reason. */
void disturb(struct distributor *self);

/* ---- servers.c: recruits and removes storage servers, tells the controller ---- */
void servers_start(struct distributor *self);
/* A server has failed, or a setting has changed: there may be somebody to recruit. */
void servers_hurry(struct distributor *self);
void servers_look(struct distributor *self);
/* A server that may go: its removal is begun unless one is under way. */
void servers_remove(struct distributor *self, uint32_t slot);
