/* What the two files of the simulated network share: connections as pairs of pipes.
 *
 * sim_net.c carries bytes, sim_net_faults.c breaks what it carries. */
#pragma once

#include "sim/sim_net.h"
#include "sim/world.h"

enum chunk_kind { CHUNK_SYN, CHUNK_OPEN, CHUNK_DATA, CHUNK_FIN };

struct chunk {
    struct list link;
    enum chunk_kind kind;
    int error; /* of a FIN */
    int64_t at_us;
    struct bytes_buffer data; /* owned */
    size_t start;             /* bytes of data that were handed over before */
    uint64_t cause, also;     /* of the trace: the send, and what held it up or damaged it */
};

struct pipe {
    struct sim_event event;
    struct sim_link *owner;
    unsigned to;        /* the side it flows to */
    struct list chunks; /* on the way */
    struct list unsent; /* behind the window */
    size_t window_used, unsent_bytes;
    struct sim_event resume; /* of unsent, when a kernel took a part of a send */
    int64_t last_at_us;
    uint64_t held_line; /* of the trace: why it was held */
    bool held;      /* its direction is blocked; the event is off */
    bool fin;       /* a FIN is on the way or has arrived: nothing follows it */
    bool swallowed; /* half-open: what is sent here vanishes */
};

struct env_conn {
    struct list process_link;
    struct sim_link *link;
    unsigned side;
    struct sim_process *process;
    const struct env_conn_events *events; /* borrowed; NULL until adopted */
    void *ctx;
    struct sim_event readable, drained, accepted;
    struct list arrived; /* chunks in the kernel */
    struct env_listener *listener; /* of a connection nobody has accepted yet */
    bool paused;
    bool gone;      /* closed; freed when no callback is under way */
    unsigned holds; /* callbacks under way */
};

struct sim_link {
    struct list link;
    struct env_conn *ends[2];
    struct sim_process *processes[2]; /* [1] NULL until accepted */
    unsigned machines[2];
    struct address to, from;
    struct pipe pipes[2];
    struct sim_event late_fin; /* a close that the other side hears of late */
    unsigned late_fin_to;
    struct bytes_buffer hello; /* what side 0 sent first */
    bool ghost;                /* a copy's connection (sim_net_frames.c): side 0 has no end, and what flows there is lost */
    uint64_t id;
};

struct env_listener {
    struct list link; /* in the process */
    struct sim_process *process;
    struct address at;
    const struct env_listener_events *events;
    void *ctx;
};

static inline struct sim_world *world_of(const struct sim_link *link)
{
    return link->processes[0]->world;
}

struct chunk *chunk_take(struct sim_world *world, enum chunk_kind kind);
void chunk_free(struct sim_world *world, struct chunk *chunk);
struct chunk *chunk_first(struct list *chunks); /* or NULL */
/* Some fault blocks the direction in which it flows. */
bool is_blocked(const struct pipe *pipe);
/* Puts the chunk on its way, extra_us later than it would go; takes it. */
void pipe_append(struct pipe *pipe, struct chunk *chunk, int64_t extra_us);
/* The same for data, which may be split and damaged. */
void pipe_append_data(struct pipe *pipe, struct chunk *chunk);
void pipe_append_fin(struct pipe *pipe, int error, int64_t extra_us);
void pipe_drop_all(struct pipe *pipe);
/* A connection that `process` dials; it has no ends yet. */
struct sim_link *link_create(struct sim_process *process, struct address to);
void link_free(struct sim_link *link);

/* ---- sim_net_faults.c ---- */

/* Returns the number of its line in the trace. */
uint64_t net_flip_bits(struct sim_world *world, struct bytes_buffer *data);

/* ---- sim_net_frames.c ---- */

/* A process has sent that, towards side `to`: perhaps it arrives twice, now or later. */
void net_sent(struct sim_link *link, unsigned to, struct bytes data);
void net_recorder_done(struct sim_world *world);
/* What a newer, or an incompatible, process would have said instead. */
void net_speak_newer(struct bytes_buffer *data);
void net_speak_foreign(struct bytes_buffer *data);
