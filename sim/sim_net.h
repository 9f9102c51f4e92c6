/* The simulated network: byte streams between processes, and what can go wrong with them.
 *
 * A connection is two one-way pipes. Chunks (what one send handed over) travel in order, with a drawn latency each, are split
 * and merged at will, and reach the receiver's kernel even while its process is busy or paused. A blocked direction between
 * two machines holds what travels there until it is unblocked. */
#pragma once

#include "net/env.h"
#include "sim/event.h"
#include "sim/machines.h"

struct sim_world;
struct sim_process;

struct sim_net {
    uint8_t blocked[SIM_MACHINES_MAX][SIM_MACHINES_MAX]; /* [from][to]: how many faults block it */
    uint64_t blocked_by[SIM_MACHINES_MAX][SIM_MACHINES_MAX]; /* the line of the trace that did it last */
    struct list links;        /* every connection */
    struct list spare_chunks;
    size_t link_count;
    /* Two machines have this address: those of the set reach the twin instead of the original. Of lies alone; 0: none. */
    struct address twin_address;
    unsigned twin_machine;
    struct sim_machines twin_seen_by;
    struct sim_net_recorder *recorder; /* owned; NULL: nothing is recorded */
    uint64_t chunks, bytes, flips, resets, drops, copies;
};

void sim_net_init(struct sim_net *net);
void sim_net_done(struct sim_world *world);
/* Blocks (+1) or unblocks (-1) one direction; blocks add up. from == to never blocks. */
void sim_net_block(struct sim_world *world, unsigned from, unsigned to, int change);
/* The same for every direction a to b where b is in blocks[a]; SIM_MACHINES_MAX of them. */
void sim_net_block_many(struct sim_world *world, const struct sim_machines *blocks, int change);
/* From now on keeps some of the requests that are sent, for sim_net_replay(). */
void sim_net_record(struct sim_world *world);
/* Sends one of them again, on a connection of its own; false when there is none. */
bool sim_net_replay(struct sim_world *world);
/* Takes every block away. */
void sim_net_heal(struct sim_world *world);
/* Breaks the nth connection (modulo their number): both sides hear of it, or only one, or none (half-open). */
enum sim_drop { SIM_DROP_BOTH, SIM_DROP_ONE, SIM_DROP_NONE };
void sim_net_drop(struct sim_world *world, size_t nth, enum sim_drop how);

/* The env_ops of connections. */
int sim_listen(struct env *env, struct address at, const struct env_listener_events *events, void *ctx,
               struct env_listener **ret_listener);
void sim_listener_close(struct env_listener *listener);
int sim_connect(struct env *env, struct address to, const struct env_conn_events *events, void *ctx,
                struct env_conn **ret_conn);
void sim_conn_adopt(struct env_conn *conn, const struct env_conn_events *events, void *ctx);
void sim_conn_send(struct env_conn *conn, struct bytes_buffer *data);
size_t sim_conn_unsent_bytes(struct env_conn *conn);
void sim_conn_pause(struct env_conn *conn, bool paused);
void sim_conn_close(struct env_conn *conn);

/* What a process left behind after kill(): closes it all and returns how much it was. */
size_t sim_net_sweep(struct sim_process *process);
