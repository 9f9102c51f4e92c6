/* Messages and disks that lie, one lie a run, and the proof of what came of it.
 *
 * A lie either changes frames on their way out of a process (frame), or follows a script (run), a fiber of a process of its own, the
 * liar, which is no role but may send what a role sends. It says lie_strikes() each time that something untrue is in the
 * world. At the end the run holds the scenario's expectations against what was traced and counted since the first strike; a
 * lie that never struck fails the run.
 *
 * Beside that, in every run with a lie: two coordinators that say they lead the same term, or two recoveries that make the same epoch
 * accept commits, end it. */
#pragma once

#include "sim/cluster.h"
#include "sim/lies/lie_frame.h"
#include "sim/lies/lie_section.h"

enum lie_provocation { PROVOKE_NOTHING, PROVOKE_LEADER, PROVOKE_EPOCH, PROVOKE_LOG, PROVOKE_STORAGE, PROVOKE_FOLLOWER };
enum { LIE_KEPT_MAX = 64, LIE_SEEN_MAX = 256 };

struct lies;

struct lie_type {
    const char *name;
    const char *what; /* one line: what it does */
    /* A frame of the section's message (if it names one) that fits its conditions, while the lie is on. May be NULL. */
    void (*frame)(struct lies *lies, struct lie_frame *frame);
    /* The script; begins `after` seconds into the chaos. May be NULL. */
    void (*run)(struct lies *lies);
    /* Sees every frame of the section's message from the beginning on, whether the lie is on or not. May be NULL. */
    void (*observe)(struct lies *lies, struct lie_frame *frame);
    /* Sees every trace line. May be NULL. */
    void (*traced)(struct lies *lies, struct sim_process *process, struct bytes line);
};

/* A frame that is kept, to be told again. */
struct lie_kept {
    struct bytes_buffer bytes; /* owned: whole */
    struct sim_process *from, *to;
    unsigned what;
    uint64_t recovery;         /* how many there had been */
};

/* Who said it first. */
struct lie_claim {
    uint64_t number;
    const struct sim_process *process;
    uint64_t incarnation;
};

struct lies {
    const struct lie_section *section; /* borrowed */
    struct sim_world *world;           /* borrowed */
    struct sim_cluster *cluster;       /* borrowed */
    struct sim_client liar;            /* its process is the liar's */
    struct sim_actor *actor;           /* of the script; NULL: none */
    bool wanted[256];                  /* messages by id that are taken apart */
    bool on;
    int64_t begins_us, ends_us;
    uint64_t strikes;
    int64_t struck_us; /* the last time */
    uint64_t recoveries;               /* and new leaders */
    struct sim_event ticker;           /* begins and ends it, reads the metrics */
    struct sim_event provoker;
    bool over;                         /* the heal has begun */
    struct sim_machines blocked;       /* machines that a provocation cut off */
    struct lie_kept kept[LIE_KEPT_MAX];
    uint32_t kept_count, kept_next;
    bool seen[LIE_EXPECTS_MAX];        /* of the section's expects */
    int64_t counts[LIE_EXPECTS_MAX];
    int64_t counted[LIE_EXPECTS_MAX][SIM_MACHINES_MAX]; /* at the last look */
    struct lie_claim terms[LIE_SEEN_MAX], epochs[LIE_SEEN_MAX];
    uint32_t term_count, epoch_count;
    const struct sim_process *adopts; /* said so just now */
    struct sim_process *lost[SIM_MACHINES_MAX]; /* their replica has ended */
    uint32_t lost_count;
    struct bytes_buffer inject;        /* owned: a reply that is not the receiver's own, */
    const struct sim_process *inject_from, *inject_to; /* and between whom it travels */
    int64_t state[8];                  /* of the lie that runs */
};

/* NULL: there is none of that name. */
const struct lie_type *lie_find(const char *name);
/* Name and what it does, or NULL behind the last. */
const struct lie_type *lie_at(size_t index);

/* ---- for the run ---- */

/* Adds the liar to the cluster. A section without a lie: nothing happens, now and later. */
void lies_init(struct lies *lies, const struct lie_section *section, struct sim_cluster *cluster);
void lies_begin(struct lies *lies); /* with the chaos */
/* At the end of the chaos: true when it must go on, for the lie has not struck, or has not been answered. */
bool lies_unanswered(struct lies *lies);
void lies_heal(struct lies *lies);  /* with the heal: no lie any more */
bool lies_busy(const struct lies *lies);
/* At the end of a run: fails the world, or excuses its failure, as the expectations say. Returns true if the run has ended as
 * it must; *ret_excused is then the failure that was wanted, or NULL. */
bool lies_judge(struct lies *lies);
/* Before the world is destroyed. */
void lies_done(struct lies *lies);

/* ---- for lies ---- */

/* Something untrue is in the world now. */
__attribute__((format(printf, 2, 3))) void lie_strikes(struct lies *lies, const char *format, ...);
/* It has struck, and what must come of it while it lasts has come. */
bool lie_is_answered(const struct lies *lies);
/* False when it has struck often enough, or the dice say no. */
bool lie_may_strike(struct lies *lies);
/* A script's pause; false when the chaos is over. */
bool lie_sleep(struct lies *lies, int64_t us);
/* The nth living server that hosts the kind; NULL: none. */
struct sim_process *lie_host(struct lies *lies, enum role_kind kind, unsigned nth);
/* A coordinator that does not lead; NULL: none. */
struct sim_process *lie_follower(struct lies *lies, unsigned nth);
/* Cuts the machine off from all others, or lets it back. */
void lie_cut_off(struct lies *lies, const struct sim_process *process, bool cut_off);
/* Stops the process and keeps it down until lie_boot(). */
void lie_stop(struct sim_process *process, enum sim_stop how);
void lie_boot(struct sim_process *process);
uint64_t lie_random(struct lies *lies, uint64_t below);
/* Answers a request in its receiver's name, on its connection, when the receiver next sends something there (a pong will do). */
void lie_reply(struct lies *lies, const struct lie_frame *request, const struct message_type *type, void *body);
/* Keeps a copy of the frame, the oldest goes. */
void lie_keep(struct lies *lies, const struct lie_frame *frame);
/* One that was kept of the same way (from, to, what), drawn; NULL: none. before_recovery as in the section. */
const struct lie_kept *lie_kept_of(struct lies *lies, const struct lie_frame *frame);
/* The newest; with before_recovery, the oldest of those from before the newest recovery or leader. */
const struct lie_kept *lie_kept_newest(struct lies *lies);
/* Its body, decoded into the arena. */
void *lie_kept_body(const struct lie_kept *kept, const struct message_type *type, struct arena *arena);
/* True when the line is an event of that name. */
bool lie_is_event(struct bytes line, const char *name);
