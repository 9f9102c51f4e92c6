/* What the controller's files share: its workers, its view of the coordinated state, what it is doing. */
#pragma once

#include "net/arena.h"
#include "net/op.h"
#include "roles/controller/controller.h"
#include "txn/kv_map.h"
#include "txn/mutation.h"
#include "txn/operator_keys.h"
#include "txn/system_keys.h"

enum { COORDINATORS_MAX = 7, WORKERS_MAX = 4096, STORAGE_SERVERS_MAX = 4096, GENERATIONS_MAX = 32, STATUS_REQUESTS_MAX = 64, DESCRIPTION_WAITERS_MAX = 65536 };

/* A registered process. Lives from its first registration until its connection fails. */
struct worker_info {
    struct list link; /* controller->workers */
    struct controller *controller;
    struct address address;
    uint64_t worker_id; /* of this life of the process */
    uint64_t sequence;
    enum process_class process_class; /* the one that was set, else own_class */
    enum process_class own_class;     /* as registered */
    bool class_is_set;
    bool excluded, failed; /* by an operator */
    uint64_t pid;
    struct arena arena; /* holds what follows; replaced by each registration */
    struct bytes zone, machine, rack, hall, data_center, command_line, version_text;
    struct hosted_role *roles;
    uint32_t role_count;
    struct rpc_request *request; /* owned: its long poll; NULL between two */
    struct rpc_watch watch;
    int64_t avoid_until_us; /* it failed to start a role: others first, until then */
    int64_t avoid_us;       /* how long that was the last time; 0: it has started one since */
    bool avoid;             /* as of the last recruitment_refresh */
    uint32_t assigned; /* stateless roles given to it in the present recruitment */
    uint32_t singletons; /* that live there, as of the last recruitment_refresh */
};

/* A storage server of the database and how far it is known durable. */
struct known_server {
    uint64_t id;
    struct address address; /* where it was last heard of, or listed; all zero: not known */
    version_t durable;
};

enum controller_phase {
    CONTROLLER_READING,     /* the coordinated state is not known yet */
    CONTROLLER_NO_DATABASE, /* nothing was ever created */
    CONTROLLER_ADOPTING,    /* waiting for the living epoch's roles to register */
    CONTROLLER_RECOVERING,
    CONTROLLER_ACCEPTING,
};

/* For rates in status: the counters at the last request that came at least RATE_WINDOW_US after the one before. */
enum { STATUS_RATES_MAX = 16, RATE_WINDOW_US = 1000000 };
struct status_rates {
    int64_t at_us; /* 0: there was no request yet */
    int64_t values[STATUS_RATES_MAX];
    double hz[STATUS_RATES_MAX];
};

/* A data distributor or a ratekeeper: one in the cluster, beside the epoch. Its op recruits it (op.owner NULL: it does not). */
enum { SINGLETONS = 2 };
struct singleton {
    struct op op;
    struct rpc_call call;
    struct controller *controller;
    enum role_kind kind;
    struct role_ref known; /* the one that lives; kind ROLE_NONE: there is none */
    uint64_t worker_id;    /* of the process that hosts it, or was asked to */
    struct role_ref asked; /* while the op is under way */
    uint64_t named_by;     /* the number of the first description that names it */
    bool ever;             /* there was one in this controller's life: another is recruited at once */
    uint64_t recruited;
};

struct recovery;
struct adoption;

struct controller {
    struct role_context context;
    struct env *env;
    struct rpc *rpc;
    uint64_t term;
    struct op_list ops;
    enum controller_phase phase;
    struct list workers;
    uint32_t worker_count;
    int64_t newest_worker_us; /* when the last new process registered */
    struct arena state_arena;
    struct coordinated_state state; /* as last read or written; in state_arena */
    struct coordinator_member coordinators[COORDINATORS_MAX];
    uint32_t coordinator_count;     /* 0: not known */
    struct message *description;    /* owned; NULL until there is something to say */
    uint64_t description_number;
    struct list description_waiters; /* rpc_request.link: clients' long polls */
    uint32_t description_waiter_count, description_sweep_at; /* the dead among them are looked for at that number */
    struct list workers_waiters;     /* rpc_request.link: long polls for the list of workers */
    uint64_t workers_changes;
    struct list create_requests;     /* rpc_request.link: answered when commits are accepted */
    bool creating;
    struct configuration configuration; /* of the database, or to be created */
    struct kv_map *settings;            /* owned: what an operator has set; NULL: not known yet */
    struct arena settings_arena;        /* holds exclusions */
    struct exclusions exclusions;
    version_t settings_version;         /* of the newest word of a commit proxy of this epoch; 0: none yet */
    bool settings_changed;              /* better_fired has not looked since */
    struct list settings_watches;
    struct known_server *servers;       /* owned array: the database's storage servers */
    uint32_t server_count;
    version_t servers_version; /* of the newest list that the distributor sent in this epoch; 0: none */
    struct recovery *recovery; /* NULL: none under way */
    struct adoption *adoption;
    struct op *upkeep;         /* a change of the state within the epoch under way (roles, generations) */
    struct env_timer upkeep_retry;
    struct env_timer better; /* looks whether a new epoch would be better */
    struct env_timer retry;    /* of a recovery that failed */
    struct singleton singletons[SINGLETONS];
    struct env_timer singleton_timer; /* looks again whether one is to be recruited */
    int64_t started_us;
    const char *recovery_cause; /* literal, for status and traces */
    int64_t recovery_started_us, accepting_since_us;
    uint64_t recoveries;
    uint32_t status_count; /* status ops under way */
    struct status_rates rates;
    char waiting_for[512]; /* what a waiting recovery lacks, for people */
};

/* ---- controller.c ---- */
/* Copies it. ERROR_COORDINATED_STATE_CONFLICT (traced) when no recovery can have written it: nothing is taken. */
int controller_state_set(struct controller *controller, const struct coordinated_state *state);
/* Tells workers and clients what the state is now. */
void controller_publish(struct controller *controller);
/* The epoch can't go on (or none was ever): starts a recovery unless one is under way. `cause` is a literal. */
void controller_recover(struct controller *controller, const char *cause);
/* After a failed attempt: again, after a pause. */
void controller_recover_later(struct controller *controller, const char *cause);
/* Commits are accepted: publishes, answers create_database, drops what is drained. */
void controller_accepting(struct controller *controller);
/* The epoch's roles at `address` are gone (id 0: all of them; else the one): a GRV proxy is replaced, any other ends the epoch. */
void controller_roles_lost(struct controller *controller, struct address address, uint64_t id, const char *cause);
/* There is a database already: who asked for one before that was known is refused. */
void controller_refuse_create(struct controller *controller);
struct worker_info *controller_worker_at(const struct controller *controller, struct address address);
/* The hosted role of that id at that address, alive; NULL otherwise. */
const struct hosted_role *controller_hosted(const struct controller *controller, const struct wire_endpoint *endpoint);
/* Takes the configuration and the list of storage servers from the metadata. */
void controller_read_metadata(struct controller *controller, const struct kv_map *metadata);
struct endpoint controller_coordinator(const struct controller *controller);
const struct generation *controller_newest_generation(const struct coordinated_state *state);

/* ---- recruitment.c: who gets which role (pure but for the assigned counters) ---- */
/* Lower is better; RECRUIT_NEVER: not allowed. Own class, then unset, then what is allowed. */
enum { RECRUIT_AVOID = 50, RECRUIT_NEVER = 100, RECRUIT_AVOID_US = 10000000, RECRUIT_AVOID_US_MAX = 640000000 };
/* Before a choice: who is to be avoided is a matter of time, and where singletons live changes. */
void recruitment_refresh(struct controller *controller, int64_t now_us);
/* It has failed to start a role: each time in a row keeps it away for twice as long. */
void recruitment_avoid(struct worker_info *worker, int64_t now_us);
/* When the next of those that are avoided will be as good as the others again; 0: none is avoided. */
int64_t recruitment_avoids_until_us(const struct controller *controller, int64_t now_us);
int recruitment_fitness(enum process_class process_class, enum role_kind kind);
/* Sets every worker's assigned counter back. */
void recruitment_forget(struct controller *controller);
/* Picks up to `wanted` different workers of one fitness for a stateless role, the least loaded first; the first one even if it
 * has a role already. Returns how many. */
uint32_t recruitment_stateless(struct controller *controller, enum role_kind kind, uint32_t wanted,
                               struct worker_info **ret_workers);
/* How the roles of a new epoch would be spread. */
enum { RECRUITS_OF_A_KIND_MAX = 64 };
struct plan_part {
    uint32_t count;
    struct worker_info *workers[RECRUITS_OF_A_KIND_MAX];
};
struct recruitment_plan {
    struct plan_part sequencers, commit_proxies, grv_proxies, resolvers, logs;
    uint32_t log_zones; /* that can have logs, as far as the replication wants them */
};
/* False: there are too few processes or zones; what could be filled in is. After recruitment_refresh(); sets the assigned
 * counters. */
bool recruitment_plan(struct controller *controller, const struct configuration *wanted, struct recruitment_plan *ret);
const struct plan_part *recruitment_part(const struct recruitment_plan *plan, enum role_kind kind);
/* Picks for logs (or storage servers): one a worker, min(wanted, own class and unset at hand), then less fit ones until
 * `zones` zones are covered. Returns how many; 0 if the zones can't be covered, and *ret_zones says how many can. */
uint32_t recruitment_stateful(struct controller *controller, enum role_kind kind, uint32_t wanted, uint32_t zones,
                              struct worker_info **ret_workers, uint32_t *ret_zones);

/* ---- better.c ---- */
/* Looks, once things are calm, whether a new epoch would be better; when a setting has changed, now. */
void better_look(struct controller *controller);
void better_look_now(struct controller *controller);
void better_fired(struct env_timer *timer);

/* ---- workers.c ---- */
void workers_asked(struct controller *controller, struct rpc_request *request);
/* A process came or went, or its class changed. */
void workers_changed(struct controller *controller);
void workers_done(struct controller *controller);

/* ---- settings.c ---- */
/* Takes what an operator has set from the metadata, or from the part of it that a commit proxy tells. True: it is not what was known. */
bool settings_read(struct controller *controller, const struct kv_map *metadata);
/* Class and exclusion of a worker that has registered. */
void settings_of_worker(const struct controller *controller, struct worker_info *worker);
/* Asks the commit proxies of the epoch for changes, until stopped. */
void settings_watch_start(struct controller *controller);
void settings_watch_stop(struct controller *controller);

/* ---- recovery.c, adoption.c, upkeep.c, status.c ---- */
void recovery_start(struct controller *controller, const char *cause);
/* A registration or a loss: what waits looks again. */
void recovery_workers_changed(struct controller *controller);
/* All roles of a process, or the one with this id (0: all). */
void recovery_roles_lost(struct controller *controller, struct address address, uint64_t id);
const char *recovery_stage_name(const struct recovery *recovery);
void adoption_start(struct controller *controller);
void adoption_workers_changed(struct controller *controller);
/* GRV proxy lost: recruits another in the same epoch. Generations drained: drops them. One at a time; looks for work. */
void upkeep_look(struct controller *controller);
void status_start(struct controller *controller, struct rpc_request *request);

/* ---- singletons.c: exactly one data distributor and one ratekeeper ---- */
void singletons_init(struct controller *controller);
void singletons_done(struct controller *controller); /* its ops have been cancelled */
/* Commits are accepted, or something has changed: recruits what is missing. */
void singletons_look(struct controller *controller);
/* A worker has registered, by what it knew: what it hosts may be one that an earlier controller recruited, or no longer one of ours. */
void singletons_registered(struct controller *controller, const struct worker_info *worker, uint64_t known_term,
                           uint64_t known_number);
/* Things are calm: one that shares a process with a role of the epoch moves to a process that has none. */
void singletons_spread(struct controller *controller);
void singletons_worker_lost(struct controller *controller, struct address address);
/* Those that live, for a description; returns how many. */
uint32_t singletons_list(const struct controller *controller, struct role_ref ret_refs[SINGLETONS]);
/* How many singletons live in, or were asked of, the worker. */
uint32_t singletons_at(const struct controller *controller, struct address address);

/* ---- call_child.c: a call as an op of its own, so that many go on while their parent looks at each answer ---- */
struct call_child {
    struct op op;
    struct rpc_call call;
    struct wait_timer pause;
    struct rpc *rpc;
    struct op *parent; /* resumed when the child has ended */
    struct endpoint to;
    struct message *request; /* owned */
    int64_t timeout_us;
    bool retry; /* connection failures and time-outs are tried again for ever, after a pause */
    bool started, ended;
    int error; /* once ended */
    int last_error; /* of the last attempt */
    void *tag; /* the parent's */
};
/* Takes the reference on `request`. The child must stay until ended, or call_child_cancel. */
void call_child_start(struct call_child *child, struct op_list *list, struct op *parent, struct rpc *rpc,
                      struct endpoint to, struct message *request, int64_t timeout_us, bool retry);
/* From any state; drops request and reply. */
void call_child_cancel(struct call_child *child);
