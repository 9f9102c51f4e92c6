/* The exact checker names each anomaly, and passes what a right database did. */
#include <criterion/criterion.h>

#include "net/error.h"
#include "sim/checkers/replay.h"
#include "tests/unit/draw.h"
#include "tests/unit/sim/history_maker.h"
#include "txn/mutation.h"

/* A made-up transaction, each event right behind the last. */
static void begin(struct history *history, struct history_record *record, version_t version)
{
    struct history_transaction *t;

    history_begin(history, record, 0);
    t = history_transaction_of(record);
    t->called = history_tick(history);
    t->read_version = version;
    t->answered = history_tick(history);
}

static void called(struct history_record *record)
{
    history_transaction_of(record)->commit_called = history_tick(record->history);
}

static void answered(struct history_record *record, enum history_outcome outcome, version_t version)
{
    history_transaction_of(record)->commit_answered = history_tick(record->history);
    history_finish(record, outcome, version, 0);
}

static void end(struct history_record *record, enum history_outcome outcome, version_t version)
{
    called(record);
    answered(record, outcome, version);
}

static void get(struct history_record *record, uint32_t key, const char *value)
{
    history_get(record, key, value != NULL ? HISTORY_PRESENT : 0, value != NULL ? bytes_of_string(value) : bytes_none());
}

static void set(struct history_record *record, uint32_t key, const char *value)
{
    history_write(record, HISTORY_SET, key, key + 1, 0, bytes_of_string(value));
}

/* One transaction that sets key 1 to a, b, .. at 10, 20, .. */
static void write_letters(struct history *history, const char *letters)
{
    for (version_t version = 10; *letters != '\0'; letters++, version += 10) {
        struct history_record record = {0};
        const char text[] = {*letters, '\0'};

        begin(history, &record, version - 5);
        set(&record, 1, text);
        end(&record, HISTORY_COMMITTED, version);
    }
}

static void expect(struct history *history, enum replay_anomaly anomaly)
{
    struct replay_options strict = {0};
    struct replay_report report;

    replay_check(history, &strict, &report);
    cr_assert_eq(report.anomaly, anomaly, "it said %s: %s", replay_name(report.anomaly), report.what);
    cr_assert_eq(report.what[0] == '\0', anomaly == REPLAY_OK);
    history_done(history);
}

static struct history with_read(const char *letters, version_t version, const char *value)
{
    struct history history;
    struct history_record record = {0};

    history_init(&history, 10);
    write_letters(&history, letters);
    begin(&history, &record, version);
    get(&record, 1, value);
    end(&record, HISTORY_READ_ONLY, 0);
    return history;
}

Test(replay, a_right_read_passes)
{
    struct history history = with_read("ab", 25, "b");

    expect(&history, REPLAY_OK);
}

Test(replay, names_a_stale_read)
{
    struct history history = with_read("ab", 25, "a");

    expect(&history, REPLAY_STALE_READ);
}

Test(replay, names_a_future_read)
{
    struct history history;
    struct history_record early = {0};

    history_init(&history, 10);
    begin(&history, &early, 5);
    write_letters(&history, "a");
    get(&early, 1, "a");
    end(&early, HISTORY_READ_ONLY, 0);
    expect(&history, REPLAY_FUTURE_READ);
}

Test(replay, names_a_value_that_nobody_wrote)
{
    struct history history = with_read("ab", 25, "z");

    expect(&history, REPLAY_WRONG_VALUE);
}

static struct history with_dead_write(enum history_outcome outcome)
{
    struct history history;
    struct history_record record = {0};

    history_init(&history, 10);
    write_letters(&history, "a");
    begin(&history, &record, 12);
    set(&record, 1, "dead");
    set(&record, 2, "dead");
    end(&record, outcome, 0);
    begin(&history, &record, 15);
    get(&record, 1, "dead");
    end(&record, HISTORY_READ_ONLY, 0);
    return history;
}

Test(replay, names_a_dirty_read)
{
    struct history history = with_dead_write(HISTORY_FAILED);

    expect(&history, REPLAY_DIRTY_READ);
}

Test(replay, names_an_unknown_result_that_is_there_in_part)
{
    struct history history = with_dead_write(HISTORY_UNKNOWN);

    expect(&history, REPLAY_PARTIAL_COMMIT);
}

Test(replay, names_an_unknown_result_of_which_a_part_is_missing)
{
    struct history history = with_dead_write(HISTORY_UNKNOWN);
    struct history_record record = {0};

    history_mark(&history, 14, 0, 1);
    begin(&history, &record, 16);
    get(&record, 2, NULL);
    end(&record, HISTORY_READ_ONLY, 0);
    expect(&history, REPLAY_PARTIAL_COMMIT);
}

Test(replay, passes_an_unknown_result_that_is_there_wholly)
{
    struct history history = with_dead_write(HISTORY_UNKNOWN);

    history_mark(&history, 14, 0, 1);
    expect(&history, REPLAY_OK);
}

Test(replay, names_an_intermediate_read)
{
    struct history history;
    struct history_record record = {0};

    history_init(&history, 10);
    begin(&history, &record, 5);
    set(&record, 1, "first");
    set(&record, 1, "second");
    end(&record, HISTORY_COMMITTED, 10);
    begin(&history, &record, 15);
    get(&record, 1, "first");
    end(&record, HISTORY_READ_ONLY, 0);
    expect(&history, REPLAY_INTERMEDIATE_READ);
}

Test(replay, names_an_own_write_that_was_missed)
{
    struct history history;
    struct history_record record = {0};

    history_init(&history, 10);
    write_letters(&history, "a");
    begin(&history, &record, 15);
    set(&record, 1, "mine");
    get(&record, 1, "a");
    end(&record, HISTORY_COMMITTED, 20);
    expect(&history, REPLAY_OWN_WRITE_MISSED);
}

static struct history with_sum(uint8_t sum)
{
    struct history history;
    struct history_record record = {0};
    uint8_t number[2] = {200, 1}, result[2] = {sum, 3};

    history_init(&history, 10);
    for (version_t version = 10; version <= 20; version += 10) {
        begin(&history, &record, version - 5);
        history_write(&record, HISTORY_ATOMIC, 1, 2, MUTATION_ADD, bytes_of(number, 2));
        end(&record, HISTORY_COMMITTED, version);
    }
    begin(&history, &record, 25);
    history_get(&record, 1, HISTORY_PRESENT, bytes_of(result, 2));
    end(&record, HISTORY_READ_ONLY, 0);
    return history;
}

Test(replay, recomputes_atomic_operations)
{
    struct history right = with_sum(144), wrong = with_sum(145);

    expect(&right, REPLAY_OK);
    expect(&wrong, REPLAY_WRONG_ATOMIC);
}

static struct history with_range(uint8_t flags, uint32_t first, uint32_t second)
{
    struct history history;
    struct history_record record = {0};

    history_init(&history, 10);
    begin(&history, &record, 5);
    set(&record, 3, "three");
    set(&record, 5, "five");
    end(&record, HISTORY_COMMITTED, 10);
    begin(&history, &record, 15);
    history_range(&record, 1, 8, flags);
    if (first != 0)
        history_pair(&record, first, bytes_of_string(first == 3 ? "three" : "five"));
    if (second != 0)
        history_pair(&record, second, bytes_of_string(second == 3 ? "three" : "five"));
    end(&record, HISTORY_READ_ONLY, 0);
    return history;
}

Test(replay, range_reads_that_are_right_pass)
{
    struct history forward = with_range(0, 3, 5), back = with_range(HISTORY_REVERSE, 5, 3);
    struct history cut = with_range(HISTORY_MORE, 3, 0), cut_back = with_range(HISTORY_MORE | HISTORY_REVERSE, 5, 0);

    expect(&forward, REPLAY_OK);
    expect(&back, REPLAY_OK);
    expect(&cut, REPLAY_OK);
    expect(&cut_back, REPLAY_OK);
}

Test(replay, names_a_range_read_that_lacks_a_key_or_repeats_one)
{
    struct history lacks = with_range(0, 3, 0), skips = with_range(HISTORY_MORE, 5, 0), twice = with_range(0, 3, 5);

    expect(&lacks, REPLAY_STALE_READ);
    expect(&skips, REPLAY_STALE_READ);
    twice.ops[2].count = 2;
    put_le32(twice.blob.ptr + twice.ops[2].data + 8 + 5, 3); /* the second pair's key */
    expect(&twice, REPLAY_STALE_READ);
}

Test(replay, names_pairs_out_of_order)
{
    struct history history = with_range(0, 3, 5);
    struct history_record record = {0};

    begin(&history, &record, 16);
    history_range(&record, 1, 8, 0);
    history_pair(&record, 3, bytes_of_string("three"));
    history_pair(&record, 5, bytes_of_string("five"));
    history_pair(&record, 3, bytes_of_string("three"));
    end(&record, HISTORY_READ_ONLY, 0);
    expect(&history, REPLAY_WRONG_RANGE);
}

/* Reads at 15, somebody writes key 1 at 20, then ends. */
static struct history with_conflict(bool snapshot, uint32_t key, enum history_outcome outcome)
{
    struct history history;
    struct history_record reader = {0}, writer = {0};

    history_init(&history, 10);
    begin(&history, &reader, 15);
    history_get(&reader, key, snapshot ? HISTORY_SNAPSHOT : 0, bytes_none());
    begin(&history, &writer, 16);
    set(&writer, 1, "new");
    end(&writer, HISTORY_COMMITTED, 20);
    set(&reader, 2, "other");
    end(&reader, outcome, 30);
    return history;
}

Test(replay, names_a_missed_conflict)
{
    struct history missed = with_conflict(false, 1, HISTORY_COMMITTED), snapshot = with_conflict(true, 1, HISTORY_COMMITTED);
    struct history right = with_conflict(false, 1, HISTORY_CONFLICT);

    expect(&missed, REPLAY_MISSED_CONFLICT);
    expect(&snapshot, REPLAY_OK);
    expect(&right, REPLAY_OK);
}

Test(replay, names_conflicts_with_nobody)
{
    struct history history = with_conflict(false, 3, HISTORY_CONFLICT);

    expect(&history, REPLAY_SPURIOUS_CONFLICTS);
}

/* The unknown one committed at 10, below what the reader reads at; its client's fence wrote the key once more. */
Test(replay, the_fence_of_an_unknown_result_explains_a_conflict_on_its_keys_alone)
{
    for (uint32_t key = 1; key <= 2; key++) {
        struct history history;
        struct history_record unknown = {0}, reader = {0};

        history_init(&history, 10);
        begin(&history, &unknown, 5);
        set(&unknown, 1, "new");
        called(&unknown);
        history_mark(&history, 10, 0, 0);
        begin(&history, &reader, 15);
        history_get(&reader, key, key == 1 ? HISTORY_PRESENT : 0, key == 1 ? bytes_of_string("new") : bytes_none());
        set(&reader, 3, "other");
        answered(&unknown, HISTORY_UNKNOWN, 0);
        end(&reader, HISTORY_CONFLICT, 0);
        expect(&history, key == 1 ? REPLAY_OK : REPLAY_SPURIOUS_CONFLICTS);
    }
}

/* The aborted one was told before its batch was committed, so the reader, who came later, reads below its version: unless a
 * commit that was called after the abort is below what the reader reads at. */
Test(replay, an_aborted_write_explains_a_conflict_until_a_later_commit_can_be_read)
{
    for (version_t version = 20; version <= 40; version += 20) {
        struct history history;
        struct history_record aborted = {0}, later = {0}, reader = {0};

        history_init(&history, 10);
        begin(&history, &aborted, 10);
        get(&aborted, 6, NULL);
        set(&aborted, 1, "one resolver took it");
        begin(&history, &later, 11);
        set(&later, 6, "the reason of the abort");
        end(&later, HISTORY_COMMITTED, 12);
        end(&aborted, HISTORY_CONFLICT, 0);
        begin(&history, &later, 15);
        set(&later, 5, "x");
        called(&later);
        begin(&history, &reader, version);
        answered(&later, HISTORY_COMMITTED, 30);
        get(&reader, 1, NULL);
        set(&reader, 3, "other");
        end(&reader, HISTORY_CONFLICT, 0);
        expect(&history, version == 20 ? REPLAY_OK : REPLAY_SPURIOUS_CONFLICTS);
    }
}

Test(replay, a_limited_range_read_conflicts_up_to_its_last_key)
{
    for (uint32_t key = 5; key <= 6; key++) {
        struct history history = with_range(0, 3, 5);
        struct history_record reader = {0}, writer = {0};

        begin(&history, &reader, 16);
        history_range(&reader, 1, 8, HISTORY_MORE);
        history_pair(&reader, 3, bytes_of_string("three"));
        history_pair(&reader, 5, bytes_of_string("five"));
        begin(&history, &writer, 17);
        set(&writer, key, "new");
        end(&writer, HISTORY_COMMITTED, 20);
        set(&reader, 9, "other");
        end(&reader, HISTORY_COMMITTED, 30);
        expect(&history, key == 5 ? REPLAY_MISSED_CONFLICT : REPLAY_OK);
    }
}

Test(replay, names_a_read_version_below_what_was_answered)
{
    struct history history = with_read("ab", 15, "a");

    expect(&history, REPLAY_STALE_VERSION);
}

static struct history with_two_commits(version_t first, version_t second)
{
    struct history history;
    struct history_record a = {0}, b = {0};

    history_init(&history, 10);
    begin(&history, &a, 5);
    begin(&history, &b, 5);
    set(&a, 1, "a");
    set(&b, 2, "b");
    end(&a, HISTORY_COMMITTED, first);
    end(&b, HISTORY_COMMITTED, second);
    return history;
}

Test(replay, names_commits_out_of_order_and_at_one_place)
{
    struct history order = with_two_commits(20, 10), reused = with_two_commits(10, 10), below = with_two_commits(5, 10);

    expect(&order, REPLAY_COMMIT_ORDER);
    expect(&reused, REPLAY_VERSION_REUSED);
    expect(&below, REPLAY_WRONG_VERSION);
}

static struct history with_marks(version_t first, version_t second)
{
    struct history history = with_two_commits(10, 20);

    history.marked = true;
    if (first != 0)
        history_mark(&history, first, 0, 0);
    if (second != 0)
        history_mark(&history, second, 0, 1);
    return history;
}

Test(replay, names_a_commit_that_is_lost_or_elsewhere_or_there_twice)
{
    struct history right = with_marks(10, 20), lost = with_marks(10, 0), moved = with_marks(10, 30), twice = with_marks(10, 20);

    history_mark(&twice, 25, 0, 1);
    expect(&right, REPLAY_OK);
    expect(&lost, REPLAY_LOST_COMMIT);
    expect(&moved, REPLAY_WRONG_VERSION);
    expect(&twice, REPLAY_APPLIED_TWICE);
}

Test(replay, names_a_failed_transaction_that_is_there)
{
    struct history history = with_dead_write(HISTORY_FAILED);

    history_mark(&history, 14, 0, 1);
    expect(&history, REPLAY_ABORTED_APPLIED);
}

Test(replay, names_an_unknown_result_that_happened_after_its_report)
{
    struct history history = with_dead_write(HISTORY_UNKNOWN);

    history_mark(&history, 18, 0, 1);
    expect(&history, REPLAY_LATE_COMMIT);
}

/* What no run can have recorded: it says nothing of the database. */
Test(replay, names_a_history_that_is_none)
{
    struct history mark = with_two_commits(10, 20), events = with_two_commits(10, 20), version = with_read("ab", VERSION_NONE, "b");

    history_mark(&mark, 30, 0, 2);
    events.transactions[1].answered = events.transactions[1].called - 1;
    expect(&mark, REPLAY_MALFORMED);
    expect(&events, REPLAY_MALFORMED);
    expect(&version, REPLAY_MALFORMED);
}

Test(replay, ten_thousand_valid_histories_pass)
{
    uint64_t conflicts = 0, unknown = 0;

    for (uint64_t seed = 1; seed <= 10000; seed++) {
        struct maker_options options = {.seed = seed, .transactions = 5 + (uint32_t)(seed % 40), .keys = 3 + (uint32_t)(seed % 17),
                                        .at_once = 1 + (uint32_t)(seed % 6), .reads = 4, .writes = 2};
        struct replay_options strict = {0};
        struct replay_report report;
        struct history history;

        make_history(&options, &history);
        replay_check(&history, &strict, &report);
        cr_assert_eq(report.anomaly, REPLAY_OK, "seed %d: %s: %s", (int)seed, replay_name(report.anomaly), report.what);
        conflicts += report.conflicts;
        unknown += report.unknown_applied;
        history_done(&history);
    }
    cr_assert(conflicts > 10000 && unknown > 1000, "%d conflicts, %d unknown", (int)conflicts, (int)unknown);
}

Test(replay, a_history_comes_back_from_its_bytes_and_damage_is_refused_or_harmless)
{
    struct maker_options options = {.seed = 7, .transactions = 30, .keys = 9, .at_once = 4, .reads = 4, .writes = 2};
    struct bytes_buffer encoded = {0}, again = {0};
    struct history history, decoded;
    struct replay_report report;
    uint64_t random = 1;

    make_history(&options, &history);
    history_encode(&history, &encoded);
    cr_assert_eq(history_decode(bytes_buffer_bytes(&encoded), &decoded), 0);
    history_encode(&decoded, &again);
    cr_assert(bytes_equal(bytes_buffer_bytes(&encoded), bytes_buffer_bytes(&again)));
    cr_assert_eq(replay_check(&decoded, NULL, &report), REPLAY_OK, "%s", report.what);
    history_done(&decoded);
    for (size_t length = 0; length < encoded.len; length += 7)
        cr_assert_eq(history_decode(bytes_of(encoded.ptr, length), &decoded), ERROR_SERIALIZATION_FAILED);
    for (int i = 0; i < 3000; i++) {
        size_t at = draw_below(&random, encoded.len);
        uint8_t was = encoded.ptr[at];

        encoded.ptr[at] = (uint8_t)draw(&random);
        if (history_decode(bytes_buffer_bytes(&encoded), &decoded) == 0) {
            replay_check(&decoded, NULL, &report);
            history_done(&decoded);
        }
        encoded.ptr[at] = was;
    }
    history_done(&history);
    bytes_buffer_done(&encoded);
    bytes_buffer_done(&again);
}
