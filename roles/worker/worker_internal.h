/* What the worker's files share. */
#pragma once

#include "net/arena.h"
#include "net/op.h"
#include "roles/role.h"
#include "roles/worker/worker.h"
#include "storage/diskqueue.h"

enum { WORKER_ROLES_MAX = 256, COORDINATORS_MAX = 7 };

/* Where a description stands in their order. */
struct description_order {
    uint64_t epoch, term, number;
};

/* A role hosted here. */
struct hosted {
    struct list link; /* worker->roles */
    struct worker *worker;
    enum role_kind kind;
    uint64_t id;
    uint64_t epoch; /* 0: of no epoch (coordinator, storage, singletons) */
    struct description_order born; /* of a singleton: the description with which it was recruited; of a storage server: the epoch that created the database */
    void *role;     /* NULL: it has ended, and is only kept to say so */
    int error;      /* why it ended; 0 while it lives */
    bool ending;    /* to be destroyed at the end of the turn */
};

struct finder;

struct worker {
    struct role_context context;
    struct env *env;
    struct rpc *rpc;
    struct worker_options options; /* bytes copied into arena */
    char *data_directory;          /* in arena */
    struct arena arena;
    uint64_t worker_id; /* of this life of the process */
    struct uid cluster_id;
    struct slots *identity;
    struct address coordinators[COORDINATORS_MAX];
    uint32_t coordinator_count;
    bool hinted; /* they are not those of the cluster file, and no controller has named them */
    struct list roles;
    uint32_t role_count;
    struct coordinator *coordinator; /* NULL: none here, or its files are damaged */
    struct coordinator_member members[COORDINATORS_MAX]; /* as our own coordinator last told */
    uint32_t member_count;
    bool coordinator_ended;          /* its disk failed: the process ends with this turn */
    struct controller *controller; /* NULL: this process does not lead */
    struct message *description;   /* owned; the newest known */
    struct op_list ops;
    struct finder *finder;
    uint64_t sequence; /* of registrations */
    struct ready reap; /* destroys what has ended */
};

/* ---- worker.c ---- */
struct hosted *worker_find(struct worker *worker, enum role_kind kind, uint64_t id);
struct hosted *worker_host(struct worker *worker, enum role_kind kind, uint64_t id, uint64_t epoch, void *role);
struct description_order description_order(const struct description *d);
/* Of a singleton: a description newer than its recruitment names another one. */
bool worker_replaced(const struct description *d, enum role_kind kind, uint64_t id, struct description_order born);
/* What it hosts has changed: the controller should know. */
void worker_changed(struct worker *worker);
/* Takes in a description if it is newer: old roles go, storage servers hear of it, logs of no living generation are deleted. */
void worker_described(struct worker *worker, struct message *description);
/* The epochs of [from, below) never accepted commits, and never will: their roles end, files go. */
void worker_epochs_failed(struct worker *worker, uint64_t from, uint64_t below);
/* Remembers the cluster that this data directory belongs to. False when it belongs to another. */
bool worker_join_cluster(struct worker *worker, struct uid cluster_id);

void worker_end_process(struct worker *worker, int status, const char *why);

/* ---- coordinators.c: our own coordinator, if any, and where the others are ---- */
/* If we are one by the cluster file, or were one. */
int coordinators_start(struct worker *worker, char *ret_why, size_t why_size);
/* coordinator_join: answers it. */
void coordinators_join(struct worker *worker, struct rpc_request *request);
/* The controller says who they are: from now on, and in the cluster file. */
void coordinators_described(struct worker *worker, const struct description *d);
/* One that was replaced says who they may be. In memory alone: its word may be old. */
void coordinators_hint(struct worker *worker, const struct get_leader_reply *reply, struct address from);

/* ---- hosting.c: what differs between kinds of roles ---- */
/* Creates the role that an init_X message asks for; takes over the request. */
void hosting_recruit(struct worker *worker, struct rpc_request *request);
void hosting_destroy(struct hosted *hosted);
/* A newer description for a role that wants to hear of it. */
void hosting_described(const struct hosted *hosted, const struct description *d);
void hosting_status(const struct hosted *hosted, struct role_status *status, struct arena *arena);
/* Facts of a registration. */
void hosting_fill(const struct hosted *hosted, struct hosted_role *ret_role);
/* Opens logs and storage servers that an earlier process left. An error: one of them can't be read now; the process should end
 * and be started again. */
int hosting_restore(struct worker *worker, char *ret_why, size_t why_size);
/* Deletes the files of a log or storage server that no longer runs. */
void hosting_remove(struct worker *worker, enum role_kind kind, uint64_t id);

/* ---- finder.c: looks for the controller and registers with it, for ever ---- */
void finder_start(struct worker *worker);
void finder_stop(struct worker *worker);
/* Registers again (the old registration's answer no longer matters). */
void finder_register_again(struct worker *worker);
