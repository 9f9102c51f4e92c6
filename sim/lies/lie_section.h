/* The [lie] section of a scenario file: which lie, when, how often, and what must come of it.
 *
 *   [lie]
 *   lie = change                       ; a name of LIE_TABLE (lies.h); first
 *   message = push                     ; of lies about messages: whose frames; before what names its fields
 *   if = version > 0                   ; only those for which all of these hold
 *   change = prev_version +1           ; what becomes of it (lie_fields.h); several are made together
 *   from = commit_proxy                ; hosts of that kind of role, or a process or a class of them by name
 *   to = log0
 *   before-recovery = yes              ; stale, replay: only what was sent before the newest recovery
 *   all = yes                          ; of lies about disks: all hosts of `from` at once; harmed-engine: each time another's, and other keys
 *   file = data/coordinator/log/       ; what the paths begin with that are harmed
 *   suffix = .queue                    ; and end with
 *   keys = still/                      ; harmed-engine: what the keys begin with that are harmed
 *   at = end                           ; where: first (the first frame), middle, end (the last byte), behind (what was never written)
 *   pause-ms = 100                     ; forge: between two of them
 *   as-client = yes                    ; forge: the liar says that it is a client
 *   after = 3                          ; seconds of chaos before it begins
 *   for = 5                            ; and how long it goes on; 0: until the heal
 *   one-in = 10                        ; how many of the messages it touches
 *   most = 3                           ; strikes; 0: no limit (harmed-engine: one), pause-ms between them
 *   provoke = leader                   ; what is killed now and then so that there is something to lie about
 *   every = 2                          ; seconds between two of these
 *   loses-replica = yes                ; a storage server may end for good: it counts as given up
 *   expect-trace = LogOtherContent     ; a trace event that must come after the first strike ("Name text": with this text in it)
 *                                      ; "This|That": one of them
 *   expect-error = RoleCannotGoOn      ; the same of severity error, which then is no failure of the run
 *   excuse-error = ShardReplicasDiffer ; the same, but it need not come
 *   expect-count = bad_frames >= 1     ; a metric, over all roles and processes
 *   expect-failure = the ring          ; the run must fail, and say this (or: this | that); without it, it must end well */
#pragma once

#include "sim/lies/lie_fields.h"

struct message_type;
struct lie_type;

enum { LIE_EXPECTS_MAX = 8, LIE_CHANGES_MAX = 6, LIE_TEXT_MAX = 96 };

enum lie_expect_kind { LIE_EXPECT_TRACE, LIE_EXPECT_ERROR, LIE_EXPECT_COUNT };

struct lie_expect {
    enum lie_expect_kind kind;
    char name[LIE_TEXT_MAX]; /* of the event or the metric */
    char text[LIE_TEXT_MAX]; /* in the event; may be empty */
    int64_t least;           /* of a count */
};

struct lie_section {
    const struct lie_type *type; /* NULL: the scenario has no lie */
    const struct message_type *message;
    struct lie_test tests[LIE_CHANGES_MAX];
    struct lie_change changes[LIE_CHANGES_MAX];
    uint32_t test_count, change_count, expect_count;
    char from[32], to[32];
    bool before_recovery, loses_replica, as_client, all;
    char file[48], suffix[16], at[16], keys[16];
    int64_t pause_ms;
    int64_t after_us, lasts_us, one_in, most, every_us;
    int provoke; /* enum lie_provocation of lies.h */
    struct lie_expect expects[LIE_EXPECTS_MAX];
    char failure[LIE_TEXT_MAX], excused[LIE_TEXT_MAX];
};

/* NULL, or what is wrong. */
const char *lie_section_parse(struct lie_section *section, const char *key, const char *value);
/* NULL, or what the whole section lacks. */
const char *lie_section_check(const struct lie_section *section);
