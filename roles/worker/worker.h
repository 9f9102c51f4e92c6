/* A process's worker: hosts its roles, finds the controller, registers, recruits what it is told.
 *
 * worker_create is all that quoind, the simulator and the embedded cluster call. One per env. */
#pragma once

#include "net/env.h"
#include "net/rpc.h"
#include "txn/messages.h"

enum { WORKER_FORMAT_VERSION = 1 }; /* of a data directory */

struct worker;
struct kv_map;

struct worker_options {
    const char *data_directory;       /* exists; borrowed for the worker's life */
    struct address public_address;
    struct address listen_address;    /* none: public_address */
    struct rpc *rpc;                  /* under public_address; borrowed for the worker's life. NULL: it makes its own, and listens */
    enum process_class process_class;
    struct bytes zone;                /* empty: the machine's */
    struct bytes machine;
    struct bytes rack, hall, data_center; /* may be empty */
    const struct address *coordinators; /* of the cluster file; borrowed during the call */
    size_t coordinator_count;
    struct bytes command_line;        /* for status */
    uint64_t pid;
    /* The shell's `kill`, or the data directory can't be used: the process should end. May be NULL. */
    void (*exit)(void *ctx, int status, const char *why);
    void *exit_ctx;
    /* The coordinators are others than before: a cluster file should say so. May be NULL. */
    void (*coordinators_changed)(void *ctx, const struct address *coordinators, uint32_t count);
    void *coordinators_ctx;
};

/* Opens or adopts the data directory (its identity, cluster id and format), restores logs and storage servers (blocking), starts
 * a coordinator if public_address is among the coordinators, listens, and begins to look for the controller. Errors are
 * traced, and *ret_why (static, or in a buffer of the worker module's) says what was wrong for a person. */
int worker_create(struct env *env, const struct worker_options *options, struct worker **ret_worker, char *ret_why,
                  size_t ret_why_size);
/* Destroys every role; also what a kill in the simulator does. Accepts NULL. */
void worker_destroy(struct worker *worker);
struct rpc *worker_rpc(struct worker *worker);
/* The kinds of roles that live in it, 1 << enum role_kind each. */
uint32_t worker_role_kinds(const struct worker *worker);
/* What get_worker_status is answered with. */
void worker_status(struct worker *worker, struct arena *arena, struct get_worker_status_reply *ret_status);
/* For checkers. The newest description known here, NULL or borrowed until the next turn. */
const struct description *worker_description(const struct worker *worker);
/* True while that role lives here. */
bool worker_hosts(const struct worker *worker, enum role_kind kind, uint64_t id);
/* The newest version that the log has received; VERSION_NONE when it does not live here. */
version_t worker_log_end(const struct worker *worker, uint64_t log_id);
/* The metadata of a commit proxy that lives here, borrowed until the next turn; NULL when it does not. */
const struct kv_map *worker_metadata(const struct worker *worker, uint64_t proxy_id);
/* What keeps a role here (the data distributor, the ratekeeper, a log) from being at rest (a literal); NULL. */
const char *worker_roles_unrest(const struct worker *worker);
/* True while a controller in this process ends an epoch or looks whether it must: logs may be locked. */
bool worker_recovers(const struct worker *worker);
/* Why a controller in this process is about to end an epoch that accepts commits (a literal); NULL. */
const char *worker_would_recover(const struct worker *worker);
/* Whether the controller in this process has heard of the other process, as it lives now; true when none is here. */
bool worker_knows(const struct worker *worker, const struct worker *other);
/* Whether those are the coordinators that it would ask for the leader. */
bool worker_knows_coordinators(const struct worker *worker, const struct address *list, size_t count);
