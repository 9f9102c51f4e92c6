/* What the simulator sees of product code: its trace, what each thing that runs follows from, the stages of ops, frames; its meter,
 * what CPU time a piece of work takes.
 *
 * env->observer is NULL outside a traced run. An observer only looks on: nothing that happens may depend on it. `cause`
 * is the number of the event that what runs now follows from; it goes along with whatever is queued (struct ready,
 * struct env_timer) and is back when that runs. A function below may set it, to the event that it has just written
 * down. */
#pragma once

#include "net/env.h"

struct message_type;
struct op;

enum observed_op { OBSERVED_STARTED, OBSERVED_STAGE, OBSERVED_ENDED };

/* A message that stays in its process. */
struct observed_message {
    const struct message_type *type; /* NULL: an error */
    const void *body;
    uint64_t endpoint_id;
    const void *call; /* names request and reply of one call; NULL: one way */
    bool reply;
    int error;
};

struct observer {
    uint64_t cause;
    void (*op)(struct observer *observer, const struct op *op, enum observed_op what);
    /* A frame that was put behind others for a connection; it is sent at the end of the turn. */
    void (*frame_out)(struct observer *observer, struct env *env, struct bytes frame);
    /* A whole frame that has arrived and whose hash fits. */
    void (*frame_in)(struct observer *observer, struct env *env, struct bytes frame);
    void (*handed_over)(struct observer *observer, struct env *env, const struct observed_message *message);
};

/* Work whose cost should follow its size. */
enum metered { METERED_PLAN, METERED_WORKS };

/* env->meter is NULL outside the simulator. Like the observer it only looks on: what it measures is real CPU time, for reports alone. `units`: the size of
 * the work; `steps`: what was done for it, counted by the worker, the same in each run of a seed. */
struct meter {
    void (*begin)(struct meter *meter, enum metered work);
    void (*end)(struct meter *meter, enum metered work, uint64_t units, uint64_t steps);
};

static inline void meter_begin(const struct env *env, enum metered work)
{
    if (__builtin_expect(env->meter != NULL, 0))
        env->meter->begin(env->meter, work);
}

static inline void meter_end(const struct env *env, enum metered work, uint64_t units, uint64_t steps)
{
    if (__builtin_expect(env->meter != NULL, 0))
        env->meter->end(env->meter, work, units, steps);
}

/* The cause of what runs now, to go back to after something in between. */
static inline uint64_t observed_cause(const struct env *env)
{
    return __builtin_expect(env->observer != NULL, 0) ? env->observer->cause : 0;
}

static inline void observed_set_cause(struct env *env, uint64_t cause)
{
    if (__builtin_expect(env->observer != NULL, 0))
        env->observer->cause = cause;
}
