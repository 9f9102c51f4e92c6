/* The exact checker: replays a history in commit order and says what can't have been.
 *
 * - Every read and range read, of transactions that committed or not, equals the model at its read version plus the
 *   transaction's own earlier writes; atomic operations are recomputed by the checker's own arithmetic.
 * - A committed transaction had no foreign write in its read ranges between its read and its commit version; one that was
 *   told not_committed had one (what has none is counted as spurious, and bounded).
 * - What was answered before a transaction asked for its read version is at or below that version; commits that follow each
 *   other in time have ascending versions.
 * - An unknown result is there wholly or not at all, once, and not after it was reported.
 * - (version, index) is unique, and the one that the client was told is the one in the database.
 *
 * Linear in the history (plus the sorting); range operations cost the keys that they span. */
#pragma once

#include "sim/checkers/history.h"

enum replay_anomaly {
    REPLAY_OK,
    REPLAY_MALFORMED,         /* not a history */
    REPLAY_STALE_READ,        /* an older state than that of the read version */
    REPLAY_FUTURE_READ,       /* a newer one */
    REPLAY_DIRTY_READ,        /* written by a transaction that did not commit */
    REPLAY_INTERMEDIATE_READ, /* overwritten by its own writer before the commit */
    REPLAY_OWN_WRITE_MISSED,
    REPLAY_PARTIAL_COMMIT,    /* an unknown result is there in part */
    REPLAY_WRONG_ATOMIC,      /* not what the operations make of the value */
    REPLAY_WRONG_VALUE,       /* nobody wrote that */
    REPLAY_WRONG_RANGE,       /* pairs out of order, twice or outside */
    REPLAY_MISSED_CONFLICT,
    REPLAY_SPURIOUS_CONFLICTS,
    REPLAY_STALE_VERSION,     /* a read version below what had been answered */
    REPLAY_COMMIT_ORDER,      /* a later commit at a lower version */
    REPLAY_VERSION_REUSED,    /* two transactions at one version and index */
    REPLAY_WRONG_VERSION,     /* the version told is not the one in the database, or not above the read version */
    REPLAY_LOST_COMMIT,       /* acknowledged, and not there */
    REPLAY_APPLIED_TWICE,
    REPLAY_ABORTED_APPLIED,   /* failed, and there */
    REPLAY_LATE_COMMIT,       /* an unknown result that happened after it was reported */
    REPLAY_ANOMALIES,
};

struct replay_options {
    uint32_t spurious_max;     /* so many are always allowed */
    uint32_t spurious_percent; /* of all conflicts, else */
};

struct replay_report {
    enum replay_anomaly anomaly;
    char what[320];            /* "transaction 17 read key 4 at 1200: ..."; empty when OK */
    uint32_t committed, unknown, unknown_applied, conflicts;
    uint32_t cascaded;         /* conflicts with one that did not commit itself, or with the fence of an unknown result: legal */
    uint32_t spurious;         /* conflicts with nobody */
    uint64_t reads;
};

/* options NULL: one conflict in a hundred may be spurious. */
enum replay_anomaly replay_check(const struct history *history, const struct replay_options *options,
                                 struct replay_report *ret_report);
const char *replay_name(enum replay_anomaly anomaly);
