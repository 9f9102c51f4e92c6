/* The passes that need no model: versions, marks and the order in time. */
#include "sim/checkers/replay_internal.h"

#include <stdio.h>
#include <stdlib.h>

int replay_fail(struct replay *replay, enum replay_anomaly anomaly, const char *format, ...)
{
    va_list args;

    replay->report->anomaly = anomaly;
    va_start(args, format);
    vsnprintf(replay->report->what, sizeof(replay->report->what), format, args);
    va_end(args);
    return (int)anomaly;
}

static const char *outcome_name(unsigned outcome)
{
    static const char *const names[] = {"open", "committed", "read-only", "in conflict", "failed", "unknown"};

    return names[outcome];
}

/* ---- who is in the database ---- */

static int place(struct replay *replay, uint32_t number, version_t version, uint16_t index)
{
    const struct history_transaction *t = &replay->history->transactions[number];

    if (version <= t->read_version)
        return replay_fail(replay, REPLAY_WRONG_VERSION, "transaction %u read at %lld and committed at %lld", number,
                           (long long)t->read_version, (long long)version);
    replay->commits[replay->commit_count] = (struct replay_commit){version, index, number};
    replay->commit_of[number] = (uint32_t)replay->commit_count++;
    return 0;
}

static int place_mark(struct replay *replay, const struct history_mark *mark)
{
    const struct history *history = replay->history;
    const struct history_transaction *t;

    if (mark->transaction >= history->transaction_count)
        return replay_fail(replay, REPLAY_MALFORMED, "a mark of transaction %u that nobody began", mark->transaction);
    t = &history->transactions[mark->transaction];
    if (replay_committed(replay, mark->transaction))
        return replay_fail(replay, REPLAY_APPLIED_TWICE, "transaction %u (%s) is there twice, again at %lld",
                           mark->transaction, outcome_name(t->outcome), (long long)mark->version);
    if (t->outcome == HISTORY_CONFLICT || t->outcome == HISTORY_FAILED || t->outcome == HISTORY_READ_ONLY)
        return replay_fail(replay, REPLAY_ABORTED_APPLIED, "transaction %u is %s, and is there at %lld", mark->transaction,
                           outcome_name(t->outcome), (long long)mark->version);
    if (t->outcome == HISTORY_COMMITTED && (t->commit_version != mark->version || t->index != mark->index))
        return replay_fail(replay, REPLAY_WRONG_VERSION, "transaction %u was told %lld/%u and is at %lld/%u",
                           mark->transaction, (long long)t->commit_version, t->index, (long long)mark->version, mark->index);
    replay->report->unknown_applied += t->outcome != HISTORY_COMMITTED;
    return place(replay, mark->transaction, mark->version, mark->index);
}

static int place_committed(struct replay *replay, uint32_t number)
{
    const struct history_transaction *t = &replay->history->transactions[number];

    replay->report->committed += t->outcome == HISTORY_COMMITTED;
    replay->report->conflicts += t->outcome == HISTORY_CONFLICT;
    replay->report->unknown += t->outcome == HISTORY_UNKNOWN || t->outcome == HISTORY_OPEN;
    if (t->outcome != HISTORY_COMMITTED || replay_committed(replay, number))
        return 0;
    if (replay->history->marked)
        return replay_fail(replay, REPLAY_LOST_COMMIT, "transaction %u was acknowledged at %lld and is not there", number,
                           (long long)t->commit_version);
    return place(replay, number, t->commit_version, t->index);
}

static int compare_commits(const void *a, const void *b)
{
    const struct replay_commit *x = a, *y = b;

    if (x->version != y->version)
        return x->version < y->version ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

static int place_all(struct replay *replay)
{
    const struct history *history = replay->history;
    int failed = 0;

    for (size_t i = 0; i < history->mark_count && failed == 0; i++)
        failed = place_mark(replay, &history->marks[i]);
    for (uint32_t i = 0; i < history->transaction_count && failed == 0; i++)
        failed = place_committed(replay, i);
    if (failed != 0)
        return failed;
    qsort(replay->commits, replay->commit_count, sizeof(replay->commits[0]), compare_commits);
    for (uint32_t i = 0; i < replay->commit_count; i++) {
        replay->commit_of[replay->commits[i].number] = i;
        if (i > 0 && compare_commits(&replay->commits[i - 1], &replay->commits[i]) == 0)
            return replay_fail(replay, REPLAY_VERSION_REUSED, "transactions %u and %u are both at %lld/%u",
                               replay->commits[i - 1].number, replay->commits[i].number,
                               (long long)replay->commits[i].version, replay->commits[i].index);
    }
    return 0;
}

/* ---- the order in time ---- */

enum event_kind { EVENT_NONE, EVENT_CALLED, EVENT_ANSWERED, EVENT_COMMIT_CALLED, EVENT_COMMIT_ANSWERED };

struct event {
    uint32_t number;
    uint8_t kind;
};

struct order {
    version_t floor; /* what the next read version must reach */
    uint32_t floor_by;
    struct replay_commit last; /* the highest commit that was answered */
};

static bool put_event(struct event *events, uint64_t at, uint32_t number, enum event_kind kind)
{
    if (at == 0)
        return true;
    if (events[at].kind != EVENT_NONE)
        return false;
    events[at] = (struct event){number, (uint8_t)kind};
    return true;
}

static bool put_events(struct event *events, const struct history_transaction *t, uint32_t number)
{
    bool ordered = t->called < t->answered || t->answered == 0;

    ordered = ordered && (t->commit_called == 0 || (t->answered < t->commit_called));
    ordered = ordered && (t->commit_answered == 0 || t->commit_called < t->commit_answered);
    ordered = ordered && (t->read_version == VERSION_NONE) == (t->answered == 0) && (t->answered == 0 || t->called != 0);
    return ordered && put_event(events, t->called, number, EVENT_CALLED) &&
           put_event(events, t->answered, number, EVENT_ANSWERED) &&
           put_event(events, t->commit_called, number, EVENT_COMMIT_CALLED) &&
           put_event(events, t->commit_answered, number, EVENT_COMMIT_ANSWERED);
}

static void raise_floor(struct order *order, version_t version, uint32_t number)
{
    if (version > order->floor) {
        order->floor = version;
        order->floor_by = number;
    }
}

static int check_floor(struct replay *replay, const struct order *order, uint32_t number)
{
    const struct history_transaction *t = &replay->history->transactions[number];
    const struct history_transaction *by = &replay->history->transactions[order->floor_by];
    bool late = replay_committed(replay, order->floor_by) && by->outcome == HISTORY_UNKNOWN;

    return replay_fail(replay, late ? REPLAY_LATE_COMMIT : REPLAY_STALE_VERSION,
                       "transaction %u got read version %lld; transaction %u (%s) had %lld and was answered before it asked",
                       number, (long long)t->read_version, order->floor_by, outcome_name(by->outcome),
                       (long long)order->floor);
}

static int step(struct replay *replay, struct order *order, const struct event *event)
{
    const struct history_transaction *t = &replay->history->transactions[event->number];
    uint32_t place = replay->commit_of[event->number];

    if (event->kind == EVENT_CALLED && t->answered != 0 && t->read_version < order->floor)
        return check_floor(replay, order, event->number);
    if (event->kind == EVENT_ANSWERED)
        raise_floor(order, t->read_version, event->number);
    if (event->kind == EVENT_COMMIT_CALLED && place != REPLAY_NONE && replay->commits[place].version <= order->last.version)
        return replay_fail(replay, REPLAY_COMMIT_ORDER,
                           "transaction %u committed at %lld; transaction %u at %lld had been answered before", event->number,
                           (long long)replay->commits[place].version, order->last.number, (long long)order->last.version);
    if (event->kind == EVENT_COMMIT_ANSWERED && place != REPLAY_NONE) {
        raise_floor(order, replay->commits[place].version, event->number);
        if (replay->commits[place].version > order->last.version)
            order->last = replay->commits[place];
    }
    return 0;
}

static int check_order(struct replay *replay)
{
    const struct history *history = replay->history;
    struct event *events = checker_zalloc(history->clock + 1, sizeof(events[0]));
    struct order order = {.floor = VERSION_NONE, .last = {.version = VERSION_NONE}};
    int failed = 0;

    for (uint32_t i = 0; i < history->transaction_count && failed == 0; i++)
        if (!put_events(events, &history->transactions[i], i))
            failed = replay_fail(replay, REPLAY_MALFORMED, "the events of transaction %u are out of order", i);
    for (uint64_t at = 1; at <= history->clock && failed == 0; at++)
        if (events[at].kind != EVENT_NONE)
            failed = step(replay, &order, &events[at]);
    mem_free(events);
    return failed;
}

/* ---- all ---- */

enum replay_anomaly replay_check(const struct history *history, const struct replay_options *options,
                                 struct replay_report *ret_report)
{
    static const struct replay_options defaults = {.spurious_max = 0, .spurious_percent = 1};
    struct replay replay = {.history = history, .options = options == NULL ? &defaults : options, .report = ret_report};
    int failed;

    *ret_report = (struct replay_report){0};
    replay.commits = checker_zalloc(history->transaction_count, sizeof(replay.commits[0]));
    replay.commit_of = checker_zalloc(history->transaction_count, sizeof(replay.commit_of[0]));
    memset(replay.commit_of, 0xff, history->transaction_count * sizeof(replay.commit_of[0]));
    failed = place_all(&replay);
    if (failed == 0)
        failed = check_order(&replay);
    if (failed == 0)
        failed = replay_reads(&replay);
    if (failed == 0)
        failed = replay_conflicts(&replay);
    arena_done(&replay.arena);
    mem_free(replay.commits);
    mem_free(replay.commit_of);
    return (enum replay_anomaly)failed;
}

const char *replay_name(enum replay_anomaly anomaly)
{
    static const char *const names[REPLAY_ANOMALIES] = {
        "ok", "malformed history", "stale read", "future read", "dirty read", "intermediate read", "own write missed",
        "partial commit", "wrong atomic result", "wrong value", "wrong range", "missed conflict", "spurious conflicts",
        "stale read version", "commit order", "version reused", "wrong version", "lost commit", "applied twice",
        "aborted but applied", "late commit"};

    return names[anomaly];
}
