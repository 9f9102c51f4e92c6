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

#include "net/bytes.h"

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
    X(VERSIONSTAMP_REUSED, "versionstamp-reused", "all transactions of a batch get the same stamp")                             \
    X(BATCHES_OUT_OF_ORDER, "reply-before-previous-batch-logged", "a sync that overtakes another vouches for both")             \
    X(SKIP_CHECK_IN_BATCH, "skip-check-inside-batch", "a fresh read version needs no check: but its own batch has writes")      \
    X(RANGE_END_INCLUSIVE, "resolver-range-end-inclusive", "a range read conflicts with a write at its end")                    \
    X(RANGE_BEGIN_EXCLUSIVE, "resolver-range-begin-exclusive", "a range read does not conflict with a write at its begin")      \
    X(OLD_READ_VERSIONS, "resolver-accepts-old-read-versions", "a resolver judges reads from before it was born")               \
    X(EMPTY_BATCH_SKIPPED, "empty-batch-skipped-at-resolver", "a resolver's door stays where it is after an empty batch")       \
    X(METADATA_ONE_PROXY, "metadata-applied-by-one-proxy", "resolvers do not tell a proxy what another one changed")            \
    X(KEEP_SUFFIX, "keep-unacknowledged-suffix", "a new epoch starts with metadata that the old one never committed")           \
    X(SAME_ZONE, "team-in-one-zone", "a machine is taken for a zone: two replicas are in one")                                  \
    X(ENGINE_PAST_WINDOW, "engine-commits-past-window", "the engine takes versions that older reads still need")                \
    X(ABOVE_GENERATION_END, "storage-takes-above-generation-end", "what a log has beyond its generation's end is applied")      \
    X(CLEAR_MISSES_LAST, "clear-range-misses-last-key", "the memory engine keeps the last key of a range that is cleared")      \
    X(SIGNED_COMPARE, "signed-key-compare", "a walk over the window compares bytes as signed")                                  \
    X(ATOMIC_ON_MISSING, "atomic-on-missing-key", "AND and MIN take a missing key for zeros, as they once did")                \
    X(RPC_TWICE, "rpc-executed-twice", "a client sends a commit again that may have been delivered")                            \
    X(UNKNOWN_RETRIED, "unknown-result-retried-as-new", "a client takes an unknown result for a conflict")                      \
    X(CHECKSUM_IGNORED, "checksum-not-verified", "a frame from the wire is believed whatever its hash")                         \
    X(TORN_RECORD, "torn-record-accepted", "a frame on disk whose head is whole counts as whole")                               \
    X(WALL_CLOCK, "wall-clock-for-timeout", "the pause before a peer is dialled again ends by the wall clock")                  \
    X(UNINITIALIZED, "uninitialized-byte-in-message", "the last byte of a message's body is what malloc left there")                   \
    X(ADDRESS_ORDER, "iteration-in-address-order", "a push holds its sections in the order of pointers")                        \
    X(VOTE_NOT_PERSISTED, "raft-vote-not-persisted", "a coordinator's term is on disk, its vote is not")                        \
    X(COMMIT_OLD_TERM, "raft-commits-old-term-by-counting", "a leader commits an entry of an older term by its copies")         \
    X(SNAPSHOT_LOSES_TAIL, "raft-snapshot-loses-tail", "a snapshot takes the place of the entries behind it as well")           \
    X(WATCH_MISSED, "watch-missed", "what changed before the watch came to its server does not count")                         \
    X(FENCE_NOT_AWAITED, "fence-not-awaited", "a lost commit is taken for decided before its fence has committed")              \
    X(FETCH_LOSES_UPDATES, "fetch-loses-updates", "what is written between a chunk's version and its coming in is dropped")     \
    X(FETCH_APPLIES_TWICE, "fetch-applies-twice", "what was written while a chunk came is applied to it twice")                 \
    X(TAG_LIMITS_ALL, "tag-limit-applied-to-all", "who has not a limited tag waits for its limit as well")                       \
    X(DIGEST_OF_NOW, "digest-at-wrong-version", "a replica gives the consistency scan a digest of now, not of the version asked for") \
    X(SCAN_SHORT_PAGE, "scan-ignores-short-page", "the consistency scan compares pages that end at different keys")             \
    X(BAD_RECORD, "bad-record-returned", "a stored value whose checksum is wrong is served as it is")                          \
    X(CHUNK_OF_NOW, "chunk-at-wrong-version", "a source gives a chunk as it is now, not as it was asked for")                   \
    X(READY_BEFORE_DURABLE, "ready-before-durable", "a destination says that it is ready with what a crash would take")         \
    X(TWO_OWNERS, "two-owners-after-move", "a source goes on serving what it gave up")                                          \
    X(SOURCE_DROPS_EARLY, "source-drops-too-early", "a source gets no more writes once its shard moves")                        \
    X(OLD_RESOLVER_NOT_ASKED, "old-resolver-not-asked", "a read goes only to the resolver that holds its keys now")             \
    X(PARTITION_ONE_BATCH_LATE, "partition-one-batch-late", "a proxy cuts by new resolver ranges from its next batch on")       \
    X(LOCATION_KEPT, "location-never-invalidated", "a client asks the old place of a shard for ever")                           \
    X(CHUNK_KEPT, "chunk-survives-roll-back", "what came in above an epoch's end still counts as fetched")                      \
    X(MERGE_OVER_SYSTEM, "merge-across-system-boundary", "a shard of users' keys and one of system keys become one")            \
    X(TWO_DISTRIBUTORS, "two-distributors-at-once", "a distributor changes shards though another has the lock")                 \
    X(RATE_KEPT, "ratekeeper-never-lets-go", "a rate that went down stays down")                                                \
    X(TWO_CHANGES, "two-membership-changes", "a coordinator is added or removed before the last change has committed")          \
    X(GRV_CACHE_KEPT, "cached-read-version-kept", "a read version is taken from the cache however old it is")                   \
    X(MAPPED_OF_NOW, "mapped-at-newest-version", "a mapped range reads records at the newest version, not at its own")          \
    X(MAPPED_NO_CONFLICT, "mapped-record-without-conflict", "a mapped range reads the records as a snapshot")                   \
    X(MAPPED_MORE_LOST, "mapped-more-forgotten", "a mapped range that ends at its byte limit says that there is no more")       \
    X(MAPPED_OWN_WRITES, "mapped-ignores-own-writes", "a mapped range gives records that its own transaction has changed")      \
    X(CONFLICT_OF_OTHER, "conflict-of-another-transaction", "a transaction's place among those that a resolver was asked of is taken for its place in the batch") \
    X(CONFLICT_END, "conflicting-key-end-off-by-one", "a conflicting range ends behind its last key, not before it")            \
    X(CONFLICTS_KEPT, "conflicting-keys-kept", "a transaction that is tried again keeps the conflicts of its last attempt")     \
    X(REPORT_NEEDS_READS, "report-needs-reads", "a resolver that reports conflicts fails at a transaction that read nothing")     \
    X(SWEEP_TOO_EARLY, "sweep-too-early", "what was given up is cleared though the giving-up may still be rolled back")         \
    X(POPPED_KEPT, "popped-segments-kept", "a disk queue never lets the segments go that nobody needs any more")                 \
    X(CANCEL_FORGOTTEN, "cancelled-move-stays", "a move that is taken back stays in the database, between its two teams")        \
    X(LOCK_NOT_CACHED, "cached-version-of-locked-database", "a read version from the cache does not tell that the database is locked")

#define PLANTED_BUG_ID(id, name, breaks) PLANTED_##id,
enum planted_bug { PLANTED_NONE, PLANTED_BUG_TABLE(PLANTED_BUG_ID) };
#undef PLANTED_BUG_ID

/* Process-wide on purpose, so that pure code can have bugs too. Set before anything runs. */
extern enum planted_bug planted_bug_on;

#define PLANTED_BUG(id) __builtin_expect(planted_bug_on == PLANTED_##id, 0)
/* bytes_compare() by whoever thinks that char is unsigned. */
int planted_signed_compare(struct bytes a, struct bytes b);

/* False when no bug has the name. */
bool planted_bug_turn_on(const char *name);
/* One a line: its name, then what it breaks. */
void planted_bug_list(FILE *out);

#else
#define PLANTED_BUG(id) false
#define planted_signed_compare(a, b) 0
#endif
