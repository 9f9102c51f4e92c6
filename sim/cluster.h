/* A whole cluster in the world: server processes that run workers, client processes that run workloads. */
#pragma once

#include "sim/client.h"
#include "sim/scenario.h"
#include "txn/messages.h"

enum { CLUSTER_COORDINATORS_MAX = 7, CLUSTER_CLIENTS_MAX = 8 };

/* Of a coordinator by another server. */
struct sim_replacement {
    struct sim_process *joins; /* becomes a coordinator; NULL: nobody does */
    bool joined;               /* it is one, and the other has yet to go */
    bool two;                  /* two operators have asked at once */
    size_t leaves;             /* whose place it takes, of the cluster's */
    uint64_t count;            /* how many came to their end */
};

struct sim_cluster {
    struct sim_world *world;
    struct address coordinators[CLUSTER_COORDINATORS_MAX];
    size_t coordinator_count;
    struct sim_process *out;     /* what sim_cluster_exclude() excludes, and for how long */
    int64_t out_us;
    const struct sim_process *joining; /* a change of the coordinators that is under way makes it one; NULL: none is. How far it is nobody knows:
                                        * it and the others are all needed */
    struct sim_replacement replacement; /* what sim_cluster_replace_coordinator() does */
    char connection_string[512]; /* what a cluster file would say */
    uint32_t redundancy, engine;
    unsigned commit_proxies, grv_proxies, resolvers; /* to be configured at the start; 0: not */
    struct sim_client clients[CLUSTER_CLIENTS_MAX];
    unsigned client_count;
    struct list servers;         /* owned */
    struct sim_faults *faults;   /* borrowed: the run's, for workloads that attack */
    bool stopping;               /* workloads come to their end */
};

/* Draws the topology that the scenario leaves open and boots everything. There is no database yet. */
void sim_cluster_start(struct sim_cluster *cluster, struct sim_world *world, const struct scenario *scenario);
/* After sim_world_destroy(). */
void sim_cluster_done(struct sim_cluster *cluster);

/* The kinds of roles that live in a server, 1 << enum role_kind each; 0 when it is down. */
uint32_t sim_cluster_role_kinds(const struct sim_process *process);
enum process_class sim_cluster_class_of(const struct sim_process *server);
unsigned sim_cluster_zone_of(const struct sim_process *server);
/* The newest one that a living server knows; NULL: none. Borrowed, until the world goes on. */
const struct description *sim_cluster_description(const struct sim_world *world);
/* The metadata of one commit proxy of that; NULL: there is none now. */
const struct kv_map *sim_cluster_metadata(const struct sim_world *world);

/* What goes on that must come to an end in a healthy cluster; NULL: it is quiet. */
const char *sim_cluster_unrest(const struct sim_cluster *cluster);

/* Actors' mains. arg: the cluster. */
/* `configure new`: a cluster id for every coordinator, then the database, then the numbers of roles; goes on until it is there. */
void sim_cluster_configure(struct sim_actor *actor, void *arg);
/* Draws other numbers of logs, proxies and resolvers and commits them. */
void sim_cluster_reconfigure(struct sim_actor *actor, void *arg);
/* Excludes cluster->out, and includes it again after cluster->out_us. */
void sim_cluster_exclude(struct sim_actor *actor, void *arg);
/* Without it there are enough for everything. */
bool sim_cluster_may_exclude(const struct sim_cluster *cluster, const struct sim_process *process);
/* Excludes the process or includes it; from inside an actor. */
void sim_exclude(struct sim_actor *actor, struct sim_process *process, bool excluded);
/* Goes on with cluster->replacement until it is done. */
void sim_cluster_replace_coordinator(struct sim_actor *actor, void *arg);
/* It may become a coordinator, for none is being replaced now. */
bool sim_cluster_may_join(const struct sim_cluster *cluster, const struct sim_process *process);
void sim_replacement_begin(struct sim_replacement *replacement, struct sim_cluster *cluster, struct sim_process *process, size_t leaves);
/* Goes on with what was begun; false: not done within so many tries. With many, two operators ask at once when all coordinators live.
 * From inside an actor. */
bool sim_replace_coordinator(struct sim_actor *actor, struct sim_replacement *replacement, int tries);
/* The leader that this coordinator names; false when it names none. */
bool sim_find_leader(struct sim_actor *actor, size_t index, struct address *ret_leader);
/* Those replicas of each shard that answer now; how many there were. From inside an actor. */
size_t sim_cluster_compare_replicas(struct sim_actor *actor, struct sim_cluster *cluster);
/* All replicas of each shard, key by key, at one version. arg: a part of the keys; the parts are looked at by actors of their own, side by side,
 * for a thousand shards are asked one after another. */
enum { SIM_CONSISTENCY_PARTS = 4 };
struct sim_consistency_part {
    struct sim_cluster *cluster;
    unsigned part;
};
void sim_cluster_check_consistency(struct sim_actor *actor, void *arg);
/* The metadata of every commit proxy against the database's. */
void sim_cluster_check_metadata(struct sim_actor *actor, void *arg);
/* keyServers, serverKeys and serverList against each other, at one version. */
void sim_cluster_check_shard_map(struct sim_actor *actor, void *arg);
