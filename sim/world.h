/* The simulated world: virtual time, machines, processes, and everything that happens between them.
 *
 * One thread, one agenda of events. The seed decides all: what is drawn comes from the world's streams alone, and a running
 * hash over every event proves it: the same seed gives the same hash in every build.
 *
 * A process is one env (sim/env_sim.c), one disk that outlives it (sim/sim_disk.h) and a program: start() creates whatever
 * runs in it, kill() destroys that at once. Shutting down, failing and being killed are one code path: kill() is called when
 * the process has already lost every means to act (its sends go nowhere, its files take nothing), so that what destructors
 * do can't be seen by anyone.
 *
 * What is in flight when a process goes:
 *   - connections: after a kill or an exit the kernel closes them at the peers, soon; after a power-off some peers hear of it
 *     late, others never do (half-open: the next byte they send is answered by a reset once the machine is up again);
 *   - syncs: their done() is called after kill(), with ERROR_OPERATION_CANCELLED; nothing became durable by them;
 *   - jobs: one whose run() has not happened runs or does not, as the seed decides; then done() is called after kill() in
 *     both cases, for its memory and files go with it. Its owner is gone (destroying it detached the job), so done() may
 *     only free, and must not expect that run() happened;
 *   - what these queue still runs (an engine that has closed says so);
 *   - any timer still armed after kill(), and anything still open after all that, is a leak and fails the run. */
#pragma once

#include <stdio.h>

#include "net/buggify.h"
#include "net/env.h"
#include "net/mem.h"
#include "sim/event.h"
#include "sim/machines.h"
#include "sim/random.h"
#include "sim/sim_meter.h"
#include "sim/sim_disk.h"
#include "sim/sim_net.h"
#include "sim/sim_trace.h"

enum { SIM_WHY_MAX = 512, SIM_PATH_MAX = 256 };

#define SIM_SECOND_US INT64_C(1000000)
#define SIM_NEVER INT64_MAX

struct sim_world;
struct sim_process;
struct sim_buggify;

/* What a process runs. start() returns 0, or an error: the process then ends at once (and is restarted as after an exit). */
struct sim_program {
    int (*start)(struct sim_process *process, void *ctx);
    void (*kill)(struct sim_process *process, void *ctx);
};

/* How a process goes. */
enum sim_stop {
    SIM_KILL,      /* kill -9: the kernel closes its connections, the page cache stays */
    SIM_POWER_OFF, /* the machine: unsynced pages are kept, lost or torn; peers may be unaware */
    SIM_EXIT,      /* env_exit() or a failed start: as a kill */
    SIM_END,       /* the run is over */
};

/* What the world is like; everything here is drawn by scenario or faults, or set by a test. Times in microseconds. */
struct sim_settings {
    int64_t latency_us;          /* typical time of a frame between machines */
    unsigned latency_tail;       /* one chunk in this many takes up to latency_tail_us */
    int64_t latency_tail_us;
    unsigned split_one_in;       /* chunks split at a random byte; 0: never */
    unsigned merge_one_in;       /* chunks delivered together with what follows */
    unsigned flip_one_in;        /* chunks with 1 to 32 flipped bits; 0: never */
    unsigned partial_one_in;     /* sends of which a part waits for up to partial_us; 0: never */
    int64_t partial_us;
    unsigned duplicate_one_in;   /* sends to a listener that arrive twice, the second time on another connection; 0: never */
    int64_t skew_us;             /* each direction of each connection is later by up to this, as skew_salt says; 0: none is */
    uint64_t skew_salt;
    unsigned far_one_in;         /* directions between two machines that take up to far_us longer, as far_salt says; 0: none does */
    int64_t far_us;
    uint64_t far_salt;
    size_t window_bytes;         /* what a connection takes before bytes count as unsent */
    int64_t sync_us;             /* typical sync */
    unsigned sync_tail;          /* one in this many takes up to sync_tail_us */
    int64_t sync_tail_us;
    int64_t job_us;              /* typical off-loop job */
    uint64_t disk_bytes;         /* capacity of each disk */
    int64_t restart_us;          /* a process that went comes back after up to this long; SIM_NEVER: not by itself */
};

struct sim_process {
    struct env env; /* first: the ops find the process by it; valid while alive */
    struct sim_world *world;
    const struct sim_program *program; /* borrowed */
    void *ctx;                         /* borrowed: the program's */
    void *instance;                    /* what start() made; the program's */
    const char *name;                  /* owned */
    unsigned id;                       /* index in the world */
    unsigned machine;
    struct address address;
    struct sim_disk *disk; /* owned */

    bool alive;
    bool dying;      /* kill() is running: nothing it does has an effect */
    bool running;    /* inside a turn */
    bool paused;
    bool stay_down;  /* no restart by itself */
    bool given_up;   /* dead for the rest of the run */
    bool server;     /* faults may hit the process and its disk */
    bool coordinator, keeps_data; /* set by who makes the cluster: what a loss of its disk takes away */
    bool excluded;   /* an operator may have excluded it: it is not counted on for new roles */
    bool damaged;    /* its disk was harmed: what it held may be gone, lawfully */
    bool newer;      /* its frames carry a field, and some of its requests a type, that nobody knows yet */
    bool foreign;    /* it speaks another protocol version */
    bool out_of_memory; /* an allocation of one of its next turns fails, which kills it */
    bool exiting;
    int exit_status;
    enum sim_stop stopped_by; /* how it went last */
    uint64_t incarnation;
    uint64_t stop_line, exit_line, pause_line, resume_line; /* of the trace: what did that last */
    int64_t resumed_us;

    struct sim_event wake;    /* the next turn without an event of its own */
    struct sim_event restart;
    struct list inbox;        /* events that wait for the process */
    int64_t busy_until_us;
    int64_t blocked_us;       /* what blocking calls of this turn cost */
    unsigned clock_calls;     /* of this turn: each lets a little time pass */
    unsigned slow_cpu;        /* turns cost this many times more; 0 = 1 */
    int64_t read_pause_us;    /* before it takes the next chunk of a connection; 0: it takes all at once */

    int64_t clock_base_us;    /* process clock at clock_at_us of the world */
    int64_t clock_at_us;
    int64_t clock_drift_ppm;
    int64_t wall_offset_us;

    struct sim_random random; /* the env's */
    struct list conns, listeners, files, syncs, jobs; /* what is open or in flight */
};

/* What a coordinator has promised, by its member id: its newest vote, and through where its log is a leader's (sim/ballot.h). */
struct sim_ballot {
    uint64_t member, term, vote, vouched;
};
enum { SIM_BALLOTS_MAX = 64 };

/* Hears every line that a process traces, in that process's turn: it may look, and plan an event for after the turn. */
struct sim_listener {
    struct list link; /* world->listeners */
    void (*heard)(struct sim_listener *listener, struct sim_process *process, struct bytes line);
};

struct sim_world {
    uint64_t seed;
    struct sim_random schedule, faults, workload, knobs_random;
    struct sim_settings settings;
    struct knobs knobs; /* every process starts with these */
    struct sim_agenda agenda;
    int64_t now_us;
    uint64_t events, turns;
    uint64_t hash;

    struct sim_process **processes; /* owned array of owned */
    size_t process_count, process_capacity;
    struct sim_net net;
    struct sim_pages pages;
    struct sim_buggify *buggify; /* owned; NULL: off */
    struct list spare_events;    /* pools of sim/env_sim.c */

    struct sim_trace *trace;     /* owned; NULL: none */
    struct sim_meter meter;      /* real CPU time: it differs from run to run, and nothing may depend on it */
    struct list listeners;       /* of lines that processes trace; borrowed */
    bool failed;
    char why[SIM_WHY_MAX];       /* the first failure */
    char shown[SIM_WHY_MAX];     /* what this run is about (sim_world_show); empty: nothing special */
    unsigned errors_allowed;     /* events of severity error that a test expects */
    uint64_t warnings;
    uint64_t commits;            /* acknowledged to clients */
    int64_t committed_us;        /* when the newest was */
    uint64_t commit_seconds;     /* the same, at most one a second */
    int64_t commit_second_us;    /* when the newest of those was counted */
    char scratch[SIM_PATH_MAX];  /* made by the first env_real_path */
    struct sim_ballot ballots[SIM_BALLOTS_MAX];
    size_t ballot_count;
    /* For who strikes at a moment of a move (workloads/attacks.c): when a chunk last came in, or a shard was given up, above what was known
     * committed there; the latter alone; and when a mover of shards last was about to hand one over. */
    int64_t moved_above_us, given_up_above_us, hands_over_us;
    struct sim_process *current; /* whose turn it is, for crash reports */
    /* What a whole frame says, for the trace. May be NULL. */
    void (*describe)(struct bytes frame, bool with_body, char *out, size_t out_size);
    /* The same of what lives in a process. */
    void (*describe_process)(const struct sim_process *process, char *out, size_t out_size);
    /* Of a run with a lie (sim/lies/lies.h); NULL in all others. tamper() may change or empty what a process sends. traced()
     * sees every line; true: an event of severity error that is wanted. */
    void (*tamper)(struct sim_world *world, struct sim_process *from, struct address to, struct bytes_buffer *data);
    bool (*traced)(struct sim_world *world, struct sim_process *process, enum severity severity, struct bytes line);
    void *lies;
};

/* Defaults: a healthy local network and disks, nothing broken. The world owns all below it. */
struct sim_world *sim_world_create(uint64_t seed);
void sim_world_destroy(struct sim_world *world); /* ends every process; accepts NULL */
/* Turns BUGGIFY on (it is off in a new world). */
void sim_world_buggify(struct sim_world *world);

/* Runs until the virtual time `at_us`, or a failure. True if nothing failed. */
bool sim_world_run_until(struct sim_world *world, int64_t at_us);
/* Runs until done(ctx) (asked after each event), the limit or a failure. True if done. */
bool sim_world_run_while(struct sim_world *world, bool (*go_on)(void *ctx), void *ctx, int64_t limit_us);
/* The run has failed; the first reason is kept. */
__attribute__((format(printf, 2, 3))) void sim_world_fail(struct sim_world *world, const char *format, ...);

/* What this run is about, and in the end what it has proved: a line that is printed with its result. The last is kept. */
__attribute__((format(printf, 2, 3))) void sim_world_show(struct sim_world *world, const char *format, ...);

/* ---- lines that processes trace (net/trace.h) ---- */

bool sim_line_is(struct bytes line, const char *type);
/* The number of the field, in base 10, or 16 for ids. False when the line has no such field. */
bool sim_line_number(struct bytes line, const char *name, int base, uint64_t *ret_number);
/* The text of the field, as it stands between its quotes; borrowed. Empty when there is none. */
struct bytes sim_line_text(struct bytes line, const char *name);

/* Something happened: goes into the hash and, when asked for, the trace, as "what detail" or as the text. Returns the number of
 * the line (sim/sim_trace.h); the current cause stays. */
uint64_t sim_note(struct sim_world *world, const struct sim_process *process, const char *what, uint64_t detail);
__attribute__((format(printf, 5, 6))) uint64_t sim_note_as(struct sim_world *world, const struct sim_process *process,
                                                           const char *what, uint64_t detail, const char *format, ...);

/* ---- processes ---- */

/* A process that is down. machine: 0..SIM_MACHINES_MAX-1; the address is 10.0.0.(machine+1):port. */
struct sim_process *sim_process_create(struct sim_world *world, const char *name, unsigned machine, uint32_t port,
                                       const struct sim_program *program, void *ctx);
/* Starts it now; a no-op when alive. */
void sim_process_boot(struct sim_process *process);
/* Ends it now, without a trace. Not from inside its own turn. A no-op when it is down. It comes back after a drawn delay
 * unless stay_down or settings.restart_us says no. */
void sim_process_stop(struct sim_process *process, enum sim_stop how);
/* SIGSTOP and SIGCONT. A kill ends a pause. */
void sim_process_pause(struct sim_process *process);
void sim_process_resume(struct sim_process *process);
/* Lets the process's clock run faster or slower from now on, and moves its wall clock. */
void sim_process_set_clock(struct sim_process *process, int64_t drift_ppm, int64_t wall_offset_us);
/* Its clock leaps forward now, and its wall clock moves. */
void sim_process_jump_clock(struct sim_process *process, int64_t by_us, int64_t wall_offset_us);
/* A commit was acknowledged to a client. */
void sim_world_committed(struct sim_world *world);
/* Every process of the machine. */
void sim_machine_stop(struct sim_world *world, unsigned machine, enum sim_stop how);

/* ---- for the modules of sim/ ---- */

/* Hands an event to its process: in its turn at once, or when it is free. */
void sim_dispatch(struct sim_world *world, struct sim_event *event);
/* The event's process gets it `delay_us` from now. */
void sim_event_in(struct sim_world *world, struct sim_event *event, int64_t delay_us);
/* Plans the next turn of the process from its ready queues and timers. */
void sim_process_plan(struct sim_process *process);
int64_t sim_process_clock_us(const struct sim_process *process);
/* A duration around `typical`, one in `tail` up to `tail_us`. */
int64_t sim_draw_us(struct sim_random *random, int64_t typical_us, unsigned tail, int64_t tail_us);
/* mem_* that can't fail: the simulator does not test its own allocation. */
void *sim_zalloc(size_t size);
char *sim_strdup(const char *text);

/* Nothing that it does has an effect any more: it is being killed, or will be when this turn ends. */
static inline bool sim_process_cut_off(const struct sim_process *process)
{
    return process->dying || (process->out_of_memory && process->running && mem_fail_fired());
}

static inline struct sim_process *sim_process_of(struct env *env)
{
    return container_of(env, struct sim_process, env);
}
