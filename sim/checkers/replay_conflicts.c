/* Who should have conflicted, and who should not have.
 *
 * Commits are taken in their order; each key remembers its newest write. What a transaction read of its own writes is not in its
 * read ranges. An aborted transaction needs a write above its read version by somebody whose commit was called before the abort
 * was told; every write of every key is listed for that. Two more explain a conflict, and are counted apart: a write of a
 * transaction that itself did not commit, for one resolver of several may have entered it (at a version that nobody knows; a commit that
 * was called after that transaction had its answer has a higher one); and what a client commits to fence a
 * transaction whose reply was lost, before it says that the result is unknown: a write conflict on what that one wrote, at a
 * version of its own, and a copy of it may be on its way for longer than the client waits. */
#include "sim/checkers/replay_internal.h"

struct write {
    version_t version; /* VERSION_NONE: it did not commit */
    uint32_t number;
};

struct conflicts {
    struct replay *replay;
    version_t *newest;  /* by key */
    uint32_t *newest_by;
    uint32_t *own;      /* by key: the walk whose transaction has set or cleared it */
    uint32_t walk;      /* counts the walks through transactions */
    uint64_t *latest_call; /* by commit: the last call of a commit up to it */
    struct write *writes;
    size_t *first;      /* by key: its writes are [first[key], first[key + 1]), committed ones first and in order */
};

static bool writes_conflict(const struct history_op *op)
{
    return history_is_write(op->kind) || op->kind == HISTORY_WRITE_CONFLICT;
}

/* The keys that a read adds to the read conflict range: [*ret_begin, *ret_end). */
static bool reads_conflict(const struct history *history, const struct history_op *op, uint32_t *ret_begin, uint32_t *ret_end)
{
    struct bytes cursor = history_data(history, op), value;
    uint32_t key = op->begin;

    if ((op->kind > HISTORY_RANGE && op->kind != HISTORY_READ_CONFLICT) || (op->flags & HISTORY_SNAPSHOT) != 0)
        return false;
    *ret_begin = op->begin;
    *ret_end = op->end;
    if (op->kind != HISTORY_RANGE || (op->flags & HISTORY_MORE) == 0)
        return true;
    while (history_next_pair(&cursor, &key, &value))
        ;
    if ((op->flags & HISTORY_REVERSE) != 0)
        *ret_begin = key;
    else
        *ret_end = op->count == 0 ? op->begin : key + 1;
    return true;
}

/* Calls back for each key of the read conflict ranges, until one says stop. Explicit ranges hold own writes as well. A range read
 * does not hold the key that its own transaction set, but it holds what lies behind that key and before the next number, where
 * a range write of another may meet it: `gaps` counts that as the key. */
static bool each_read(struct conflicts *conflicts, uint32_t number, bool gaps,
                      bool (*stop)(struct conflicts *, uint32_t, uint32_t))
{
    const struct history *history = conflicts->replay->history;
    const struct history_transaction *t = &history->transactions[number];
    uint32_t begin, end;

    conflicts->walk++;
    for (uint32_t n = t->op_begin; n < t->op_begin + t->op_count; n++) {
        const struct history_op *op = &history->ops[n];

        if (reads_conflict(history, op, &begin, &end)) {
            bool all = op->kind == HISTORY_READ_CONFLICT || (gaps && op->kind == HISTORY_RANGE);

            for (uint32_t key = begin; key < end; key++)
                if ((all || conflicts->own[key] != conflicts->walk) && stop(conflicts, number, key))
                    return true;
        } else if (history_is_write(op->kind) && op->kind != HISTORY_ATOMIC) {
            for (uint32_t key = op->begin; key < op->end; key++)
                conflicts->own[key] = conflicts->walk;
        }
    }
    return false;
}

/* ---- those that committed ---- */

static bool foreign_write(struct conflicts *conflicts, uint32_t number, uint32_t key)
{
    const struct history_transaction *t = &conflicts->replay->history->transactions[number];

    if (conflicts->newest[key] <= t->read_version)
        return false;
    replay_fail(conflicts->replay, REPLAY_MISSED_CONFLICT,
                "transaction %u read key %u at %lld, transaction %u wrote it at %lld, and it committed at %lld", number, key,
                (long long)t->read_version, conflicts->newest_by[key], (long long)conflicts->newest[key],
                (long long)conflicts->replay->commits[conflicts->replay->commit_of[number]].version);
    return true;
}

static void enter_writes(struct conflicts *conflicts, const struct replay_commit *commit)
{
    const struct history *history = conflicts->replay->history;
    const struct history_transaction *t = &history->transactions[commit->number];

    for (uint32_t n = t->op_begin; n < t->op_begin + t->op_count; n++)
        if (writes_conflict(&history->ops[n]))
            for (uint32_t key = history->ops[n].begin; key < history->ops[n].end; key++) {
                conflicts->newest[key] = commit->version;
                conflicts->newest_by[key] = commit->number;
            }
}

static int check_committed(struct conflicts *conflicts)
{
    struct replay *replay = conflicts->replay;

    for (size_t i = 0; i < replay->commit_count; i++) {
        if (each_read(conflicts, replay->commits[i].number, false, foreign_write))
            return REPLAY_MISSED_CONFLICT;
        enter_writes(conflicts, &replay->commits[i]);
    }
    return 0;
}

/* ---- those that did not ---- */

static void count_writes(struct conflicts *conflicts, uint32_t number, version_t version, bool place)
{
    const struct history *history = conflicts->replay->history;
    const struct history_transaction *t = &history->transactions[number];

    for (uint32_t n = t->op_begin; n < t->op_begin + t->op_count; n++)
        if (writes_conflict(&history->ops[n]))
            for (uint32_t key = history->ops[n].begin; key < history->ops[n].end; key++) {
                if (place)
                    conflicts->writes[conflicts->first[key]] = (struct write){version, number};
                conflicts->first[key] += 1;
            }
}

/* Its write conflicts may have been entered though it did not commit, or once more by its fence. */
static bool may_write_uncommitted(const struct replay *replay, uint32_t number)
{
    const struct history_transaction *t = &replay->history->transactions[number];

    return t->commit_called != 0 && (!replay_committed(replay, number) || t->outcome == HISTORY_UNKNOWN);
}

static void all_writes(struct conflicts *conflicts, bool place)
{
    struct replay *replay = conflicts->replay;

    for (size_t i = 0; i < replay->commit_count; i++)
        count_writes(conflicts, replay->commits[i].number, replay->commits[i].version, place);
    for (uint32_t number = 0; number < replay->history->transaction_count; number++)
        if (may_write_uncommitted(replay, number))
            count_writes(conflicts, number, VERSION_NONE, place);
}

/* Counts, sums up, places; placing moves each key's first to the next key's, so they move back by one. */
static void list_writes(struct conflicts *conflicts)
{
    uint32_t keys = conflicts->replay->history->key_count;
    size_t sum = 0;

    conflicts->first = checker_zalloc(keys + 1, sizeof(conflicts->first[0]));
    all_writes(conflicts, false);
    for (uint32_t key = 0; key <= keys; key++) {
        size_t count = conflicts->first[key];

        conflicts->first[key] = sum;
        sum += count;
    }
    conflicts->writes = checker_zalloc(sum, sizeof(conflicts->writes[0]));
    all_writes(conflicts, true);
    memmove(conflicts->first + 1, conflicts->first, keys * sizeof(conflicts->first[0]));
    conflicts->first[0] = 0;
}

/* The first committed write of the key above the version. */
static size_t first_above(const struct conflicts *conflicts, uint32_t key, version_t version)
{
    size_t low = conflicts->first[key], high = conflicts->first[key + 1];

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (conflicts->writes[middle].version != VERSION_NONE && conflicts->writes[middle].version <= version)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void list_calls(struct conflicts *conflicts)
{
    const struct replay *replay = conflicts->replay;
    uint64_t latest = 0;

    conflicts->latest_call = checker_zalloc(replay->commit_count + 1, sizeof(conflicts->latest_call[0]));
    for (size_t i = 0; i < replay->commit_count; i++) {
        uint64_t called = replay->history->transactions[replay->commits[i].number].commit_called;

        latest = called > latest ? called : latest;
        conflicts->latest_call[i] = latest;
    }
}

/* May what did not commit have been tried above that version? An abort is told before its batch is committed: whoever reads later may
 * still read below it. But not once a commit that was called after the answer is at or below the version. */
static bool tried_above(const struct conflicts *conflicts, const struct history_transaction *t, version_t version)
{
    size_t low = 0, high = conflicts->replay->commit_count;

    if (t->outcome == HISTORY_UNKNOWN || t->commit_answered == 0)
        return true;
    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (conflicts->replay->commits[middle].version <= version)
            low = middle + 1;
        else
            high = middle;
    }
    return low == 0 || t->commit_answered > conflicts->latest_call[low - 1];
}

static bool explained(struct conflicts *conflicts, uint32_t number, uint32_t key, bool committed)
{
    const struct history *history = conflicts->replay->history;
    const struct history_transaction *t = &history->transactions[number];

    for (size_t i = first_above(conflicts, key, t->read_version); i < conflicts->first[key + 1]; i++) {
        const struct history_transaction *by = &history->transactions[conflicts->writes[i].number];
        bool here = conflicts->writes[i].version != VERSION_NONE;
        bool called = by->commit_called == 0 || by->commit_called < t->commit_answered;

        if (committed && !here)
            return false;
        if (here == committed && called && conflicts->writes[i].number != number &&
            (here || tried_above(conflicts, by, t->read_version)))
            return true;
    }
    return false;
}

static bool by_committed(struct conflicts *conflicts, uint32_t number, uint32_t key)
{
    return explained(conflicts, number, key, true);
}

static bool by_aborted(struct conflicts *conflicts, uint32_t number, uint32_t key)
{
    return explained(conflicts, number, key, false);
}

static int check_aborted(struct conflicts *conflicts)
{
    struct replay *replay = conflicts->replay;
    struct replay_report *report = replay->report;
    uint32_t last = 0;

    if (report->conflicts == 0)
        return 0;
    list_writes(conflicts);
    list_calls(conflicts);
    for (uint32_t number = 0; number < replay->history->transaction_count; number++) {
        if (replay->history->transactions[number].outcome != HISTORY_CONFLICT || each_read(conflicts, number, true, by_committed))
            continue;
        if (each_read(conflicts, number, true, by_aborted)) {
            report->cascaded++;
        } else {
            report->spurious++;
            last = number;
        }
    }
    if (report->spurious > replay->options->spurious_max &&
        report->spurious > (uint64_t)report->conflicts * replay->options->spurious_percent / 100)
        return replay_fail(replay, REPLAY_SPURIOUS_CONFLICTS,
                           "%u of %u conflicts are with nobody; the last is that of transaction %u at %lld", report->spurious,
                           report->conflicts, last, (long long)replay->history->transactions[last].read_version);
    return 0;
}

int replay_conflicts(struct replay *replay)
{
    uint32_t keys = replay->history->key_count;
    struct conflicts conflicts = {.replay = replay};
    int failed;

    conflicts.newest = checker_zalloc(keys, sizeof(conflicts.newest[0]));
    conflicts.newest_by = checker_zalloc(keys, sizeof(conflicts.newest_by[0]));
    conflicts.own = checker_zalloc(keys, sizeof(conflicts.own[0]));
    memset(conflicts.newest, 0xff, keys * sizeof(conflicts.newest[0])); /* VERSION_NONE */
    failed = check_committed(&conflicts);
    if (failed == 0)
        failed = check_aborted(&conflicts);
    mem_free(conflicts.newest);
    mem_free(conflicts.newest_by);
    mem_free(conflicts.own);
    mem_free(conflicts.writes);
    mem_free(conflicts.first);
    mem_free(conflicts.latest_call);
    return failed;
}
