/* What the passes of the exact checker share. */
#pragma once

#include <stdarg.h>

#include "net/arena.h"
#include "sim/checkers/grow.h"
#include "sim/checkers/replay.h"

/* A transaction that is in the database, and where. */
struct replay_commit {
    version_t version;
    uint32_t index, number;
};

struct replay {
    const struct history *history;
    const struct replay_options *options;
    struct replay_report *report;
    struct replay_commit *commits; /* in commit order */
    size_t commit_count;
    uint32_t *commit_of; /* by transaction: place in commits, or REPLAY_NONE */
    struct arena arena;  /* what atomic operations made */
};

enum { REPLAY_NONE = UINT32_MAX };

/* Each pass returns 0, or the anomaly that it has reported. */
int replay_reads(struct replay *replay);
int replay_conflicts(struct replay *replay);

__attribute__((format(printf, 3, 4))) int replay_fail(struct replay *replay, enum replay_anomaly anomaly, const char *format,
                                                      ...);

static inline bool replay_committed(const struct replay *replay, uint32_t number)
{
    return replay->commit_of[number] != REPLAY_NONE;
}
