/* A simulated client process: its actors (fibers), and the ways they reach the cluster.
 *
 * Actors run workloads. sim_actor_call() speaks to any endpoint directly, as a checker needs it; transactions go through the
 * client library (sim/transaction.h). A client process is never killed: what it remembers is what the checks rest on. */
#pragma once

#include "net/op.h"
#include "net/rpc.h"
#include "sim/fiber.h"
#include "sim/world.h"

struct sim_cluster;
struct sim_actor;

struct sim_client {
    struct sim_world *world;     /* borrowed */
    struct sim_cluster *cluster; /* borrowed */
    struct sim_process *process; /* borrowed */
    unsigned index;
    bool server;                 /* speaks as a server would: the liar of sim/lies/ */
    struct rpc *rpc;             /* owned, while the process is alive */
    struct op_list calls;
    struct list actors;
    const bool *stopping;        /* borrowed: the run's */
    void *library;               /* sim/transaction.c's: the client library of this process */
};

struct sim_actor {
    struct list link;
    struct sim_client *client;
    struct sim_fiber *fiber; /* owned */
    void (*main)(struct sim_actor *actor, void *arg);
    void *arg;
    unsigned index;
    bool ended;
    int64_t wait_since_us; /* and where in the trace that was */
    uint64_t wait_line;
    struct env_timer timer;
    struct ready ready;
};

extern const struct sim_program sim_client_program; /* ctx: struct sim_client */

/* Runs main(actor, arg) as a fiber of the client's process, from its next turn on. */
struct sim_actor *sim_actor_start(struct sim_client *client, unsigned index,
                                  void (*main)(struct sim_actor *actor, void *arg), void *arg);
/* True when every actor of the client has returned. */
bool sim_client_idle(const struct sim_client *client);

/* ---- from inside an actor ---- */

/* True once the chaos is over: run() returns soon. */
bool sim_actor_stopping(const struct sim_actor *actor);
void sim_actor_sleep(struct sim_actor *actor, int64_t us);
/* Random numbers of the workload stream. */
uint64_t sim_actor_random(struct sim_actor *actor, uint64_t below);
/* Waits until somebody calls sim_actor_resume(). */
void sim_actor_wait(struct sim_actor *actor);
/* From the loop, never from a fiber. */
void sim_actor_resume(struct sim_actor *actor);
/* Calls and waits. Takes one reference on request. 0 and a reply that the caller unrefs, or the error. */
int sim_actor_call(struct sim_actor *actor, const struct endpoint *to, struct message *request, int64_t timeout_us,
                   struct message **ret_reply);
