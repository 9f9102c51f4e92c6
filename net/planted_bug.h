/* Bugs on purpose, which the simulator must find: they exist in test builds alone (tools/build bugs).
 *
 * Each is one line of the code that it breaks, where the wrong guess would have been a natural one:
 *
 *     if (version > known && !PLANTED_BUG(THE_ID))
 *
 * In every other build PLANTED_BUG is the constant false, and nothing of a bug is left in a program: no symbol and no string
 * (tests/planted looks). sim/README.md tells how to add one; tools/planted-bugs says which seeds find which. */
#pragma once

#ifdef QUOIN_PLANTED_BUGS

#include <stdbool.h>
#include <stdio.h>

/* X(id, name, what it breaks) */
#define PLANTED_BUG_TABLE(X)                                                                                                   \
    X(ACK_BEFORE_SYNC, "acknowledge-before-fdatasync", "a disk queue calls durable what it has only written")                   \
    X(ACK_AFTER_FIRST_LOG, "acknowledge-after-first-log", "a commit proxy takes the first log's answer for all of them")        \
    X(REPLY_BEFORE_REPORT, "reply-before-sequencer-knows", "clients hear of a commit that new read versions do not see")        \
    X(LOG_NOT_LOCKED, "forget-to-lock-old-log", "a log answers its lock and goes on acknowledging")                             \
    X(RECOVERY_VERSION_MAX, "recovery-version-max", "an epoch ends at the highest end of its logs, not at the lowest")          \
    X(SKIP_ROLL_BACK, "storage-applies-rolled-back", "a storage server keeps what an ended epoch never committed")              \
    X(SNAPSHOT_INCLUSIVE, "snapshot-compare-inclusive", "a write at the read version itself counts as a conflict")              \
    X(GRV_WITHOUT_EPOCH_CHECK, "read-version-without-epoch-check", "a GRV proxy does not ask whether its epoch lives")          \
    X(VERSION_GIVEN_TWICE, "version-handed-out-twice", "the sequencer answers one proxy's repeat with another's version")       \
    X(SERVE_ABOVE_VERSION, "storage-serves-above-its-version", "a read ahead of the server is answered with what is there")     \
    X(POP_TOO_EARLY, "pop-too-early", "logs forget what a storage server has only in memory")                                   \
    X(VERSIONSTAMP_REUSED, "versionstamp-reused", "all transactions of a batch get the same stamp")

#define PLANTED_BUG_ID(id, name, breaks) PLANTED_##id,
enum planted_bug { PLANTED_NONE, PLANTED_BUG_TABLE(PLANTED_BUG_ID) };
#undef PLANTED_BUG_ID

/* Process-wide on purpose, so that pure code can have bugs too. Set before anything runs. */
extern enum planted_bug planted_bug_on;

#define PLANTED_BUG(id) __builtin_expect(planted_bug_on == PLANTED_##id, 0)

/* False when no bug has the name. */
bool planted_bug_turn_on(const char *name);
/* One a line: its name, then what it breaks. */
void planted_bug_list(FILE *out);

#else
#define PLANTED_BUG(id) false
#endif
