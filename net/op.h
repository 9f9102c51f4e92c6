/* Ops: everything that must wait, as a struct with named stages.
 *
 * An op embeds `struct op` first. Its type is a table of stages {name, function, legal next stages}. A stage function runs to
 * completion and returns one of
 *
 *   op_move(op, NEXT)   go on with stage NEXT at once
 *   op_wait(op, NEXT)   something was started that will resume the op; it then goes on with stage NEXT
 *   op_finish(op, err)  the op has ended; type->ended(op) runs, which replies, releases and may free the op
 *
 * While an op waits it stays in the stage that started the waits. Leaving a stage (by being resumed, moved, finished or
 * cancelled) cancels every wait of it that has not completed: a late completion can't be seen. op_resume() is the only way
 * back in; it goes through the ready queue, so a submit never calls back before it returns.
 *
 * Waits (embedded in the op, none is allocated): struct wait_timer, struct wait_turn (of a turnstile), struct wait_sync,
 * struct wait_job, struct rpc_call (net/rpc.h). Each resumes its op when it completes, unless it was put into a
 * struct gather, which resumes once n of its m completed, or as soon as that can no longer be.
 *
 * Ownership: an op is on its owner's list from op_start to its end. Destroying a role calls op_cancel_all(&role->ops): each op
 * is cancelled in whatever stage it is (type->ended sees op->error == ERROR_OPERATION_CANCELLED). ended() must be correct
 * from every stage. */
#pragma once

#include "net/env.h"
#include "net/error.h"

struct op;
struct gather;

enum op_result { OP_READY, OP_PENDING, OP_FINISHED };

struct op_stage {
    const char *name;
    enum op_result (*run)(struct op *op);
    uint64_t next; /* bit n set: stage n is legal after this one */
};
#define OP_STAGE(n) (UINT64_C(1) << (n))

struct op_type {
    const char *name; /* "commit_batch" */
    const struct op_stage *stages;
    unsigned stage_count;
    enum ready_queue queue;
    void (*ended)(struct op *op); /* op->error says how; releases what the op holds, may free it */
};

/* The ops of one role. */
struct op_list {
    struct env *env; /* borrowed for the list's life */
    struct list ops;
    void (*invariant)(void *owner); /* may be NULL; runs after every handler in simulation */
    void *owner;
    size_t count;
    bool cancelling; /* op_cancel_all is at work: nothing may be started */
    bool *emptied;   /* borrowed from a running handler: set by op_cancel_all, after which the owner may be gone */
};

struct op {
    struct list link;
    const struct op_type *type;
    struct op_list *owner; /* borrowed; NULL = not started */
    struct env *env;
    uint8_t stage;
    uint8_t next_stage; /* where op_resume goes on */
    bool waiting;
    bool running; /* inside its own stage function */
    uint8_t slowest_stage;
    int error; /* how it ended, for ended() */
    int64_t started_us, stage_started_us, slowest_us;
    struct ready ready;
    struct list waits;      /* of the present stage, not yet completed */
    struct env_timer delay; /* the simulator's: holds a resume back */
};

void op_list_init(struct op_list *list, struct env *env, void *owner);
/* Cancels every op. No op may be started from ended() of a cancelled one. */
void op_cancel_all(struct op_list *list);

/* What the simulator holds back of these ops goes on now: for an owner that closes and waits for them to end by themselves. */
void op_hurry_all(struct op_list *list);

/* Puts the op on the list and runs its first stage (0) through the ready queue. */
void op_start(struct op *op, const struct op_type *type, struct op_list *owner);
/* The same, but runs it now. May end (and free) the op before it returns: only for callers that don't touch it after. */
void op_start_now(struct op *op, const struct op_type *type, struct op_list *owner);
/* Ends it with ERROR_OPERATION_CANCELLED from any stage, at once. Not from inside its own stage function. Accepts an op that was
 * zeroed and never started, or one that has ended. */
void op_cancel(struct op *op);
/* Queues a waiting op to go on; a no-op when it is queued already. Also from within its stage function (a child that ended at
 * once): it then counts if the stage ends in op_wait. */
void op_resume(struct op *op);

enum op_result op_move(struct op *op, unsigned next);
enum op_result op_wait(struct op *op, unsigned next);
enum op_result op_finish(struct op *op, int error);

static inline const char *op_stage_name(const struct op *op)
{
    return op->type->stages[op->stage].name;
}

/* ---- waits ---- */

struct wait;

struct wait_type {
    const char *name;                  /* "call" */
    void (*cancel)(struct wait *wait); /* stop it; it will not complete any more */
    /* What it waits for, for people: "push to 10.0.0.3:4500". May be NULL. */
    void (*print)(const struct wait *wait, char *out, size_t out_size);
};

/* The base of all waits; embedded first. Zeroed is idle. */
struct wait {
    struct list link;       /* in op->waits while under way */
    struct op *op;
    struct gather *gather;  /* NULL, or who counts it */
    const struct wait_type *type; /* borrowed */
};

/* For implementers of waits: begin links it to the op's present stage; complete unlinks it and resumes the op or tells the
 * gather whether it went well. */
void wait_begin(struct wait *wait, struct op *op, const struct wait_type *type);
void wait_complete(struct wait *wait, bool ok);
/* Cancels one wait early; accepts an idle or completed one. */
void wait_cancel(struct wait *wait);
static inline bool wait_under_way(const struct wait *wait)
{
    return list_linked(&wait->link);
}

/* n of m. gather_init, then start the waits with gather_add before or right after each start; the op is resumed when `needed`
 * completed well, or when that many no longer can. With needed == 0 the op is resumed at once. Add at least `needed` waits: a
 * gather cannot know that no more will come. */
struct gather {
    /* NULL, or: does this wait's failure alone decide that the gather is over, whoever else is still waited for? */
    bool (*gives_up)(const struct gather *gather, const struct wait *failed);
    struct op *op;
    unsigned needed, ok, failed, total;
    bool fired;
};
void gather_init(struct gather *gather, struct op *op, unsigned needed);
void gather_add(struct gather *gather, struct wait *wait);
static inline bool gather_succeeded(const struct gather *gather)
{
    return gather->ok >= gather->needed;
}

struct wait_timer {
    struct wait wait;
    struct env_timer timer;
};
void wait_timer_start(struct wait_timer *timer, struct op *op, int64_t delay_us);

/* Resumes in number order: a turnstile stands at a number; who waits for n goes on when it stands at n or above. */
struct turnstile {
    struct env *env;
    int64_t now;
    struct list waiting; /* sorted by number */
};
struct wait_turn {
    struct wait wait;
    struct turnstile *turnstile;
    struct list link;
    int64_t number;
};
void turnstile_init(struct turnstile *turnstile, struct env *env, int64_t now);
/* True when the turnstile already stands at `number` (nothing is started); else starts the wait. */
bool turnstile_enter(struct turnstile *turnstile, struct wait_turn *turn, struct op *op, int64_t number);
/* now never goes down. */
void turnstile_advance(struct turnstile *turnstile, int64_t now);

/* Off-loop work of an op. `shared` is allocated by whoever starts it (mem_alloc) and embeds struct wait_job_shared first; run()
 * touches nothing else. While the op waits it may look at it; when the job is done it belongs to the op again (free it with
 * wait_job_clear). If the op goes first, the env frees it after run(), through drop(). */
struct wait_job_shared {
    struct env_job job;
    struct wait_job *wait;                          /* NULL: detached */
    void (*run)(struct wait_job_shared *shared);    /* on a job thread */
    void (*drop)(struct wait_job_shared *shared);   /* frees it, on the loop */
};
struct wait_job {
    struct wait wait;
    struct wait_job_shared *shared; /* owned once completed */
};
void wait_job_start(struct wait_job *job, struct op *op, struct wait_job_shared *shared, enum env_job_priority priority);
void wait_job_clear(struct wait_job *job); /* drops `shared` if it is here; cancels if under way */

/* Cancelling a sync or a job detaches it: the env still owns what it needs, the op may go. So the env's part lives in a small
 * block of its own that both share. */
struct wait_sync {
    struct wait wait;
    int error; /* once completed */
    struct wait_sync_shared *shared; /* owned by the env until the sync is back */
};
void wait_sync_start(struct wait_sync *sync, struct op *op, struct env_file *file);
