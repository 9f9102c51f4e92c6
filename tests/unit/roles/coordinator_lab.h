/* Coordinators in simulated processes, and one process that asks them: the scene of the coordinators' tests. */
#pragma once

#include <criterion/criterion.h>

#include "net/error.h"
#include "net/mem.h"
#include "roles/coordinator/coordinator.h"
#include "sim/world.h"

enum { NODES_MAX = 4 };

struct node {
    struct sim_process *process;
    struct rpc *rpc;
    struct coordinator *coordinator;
    int start_error; /* of the last coordinator_create */
    int ended_error;
    uint64_t leading_term; /* as told; 0: not */
    unsigned told_leading, told_lost;
    uint32_t member_count; /* as told last */
    unsigned forgot;
    struct uid cluster;
    void (*before_start)(struct env *env); /* spoils files */
};

struct client_call {
    struct op op;
    struct rpc_call call;
    struct rpc *rpc;
    struct endpoint to;
    struct message *request;
    bool done;
};

struct scene {
    struct sim_world *world;
    unsigned count;
    struct node nodes[NODES_MAX];
    struct sim_process *caller;
    struct rpc *rpc;
    struct op_list ops;
    struct client_call call;
};

/* A condition of sim_world_run_while; ctx: the scene. */
bool call_goes_on(void *ctx);
void scene_run(struct scene *scene, int64_t us);
/* Without waiting; takes the request. */
void scene_begin_call(struct scene *scene, unsigned node, struct message *request);
/* The error of the answer; the reply stays in scene->call until the next question. */
int scene_ask(struct scene *scene, unsigned node, struct message *request);
void scene_init(struct scene *scene, unsigned count, uint64_t seed);
void scene_done(struct scene *scene);
struct message *create_message(const struct scene *scene, uint64_t cluster);
bool scene_create_at(struct scene *scene, unsigned node, uint64_t cluster);
/* The index of the node that leads; runs until there is one. */
unsigned scene_leader(struct scene *scene);
/* scene_init, all `count` of them members, and one that leads. */
void scene_created(struct scene *scene, unsigned count, uint64_t seed);
const struct state_reply *state_reply(const struct scene *scene);
int scene_ask_lock(struct scene *scene, unsigned node, uint64_t term, uint64_t lock_id);
/* Until the leader takes it, whoever leads then. */
void scene_lock(struct scene *scene, uint64_t lock_id);
/* True if it was accepted. */
bool scene_write_version(struct scene *scene, uint64_t epoch, uint64_t lock_id, int64_t version);
struct coordinated_state scene_read_back(struct scene *scene);
struct message *leader_question(uint64_t member, uint64_t term, int64_t wait_us);
const struct get_leader_reply *leader_reply(const struct scene *scene);
void scene_restart(struct scene *scene, unsigned node, enum sim_stop how);
