/* The list oracle names each anomaly, and passes what a right database did. */
#include <criterion/criterion.h>

#include <stdarg.h>
#include <stdio.h>

#include "sim/checkers/cycles.h"
#include "tests/unit/sim/history_maker.h"

/* Element numbers of the made-up histories are given by hand: 0 .. 9. */
static struct cycles_history lists(void)
{
    struct cycles_history history;

    cycles_init(&history, 4);
    history.element_count = 10;
    return history;
}

/* "a01" appends 1 to list 0; "r012" reads [1, 2] in list 0. */
static void steps(struct cycles_record *record, const char *text)
{
    uint32_t elements[10], count = 0;

    if (text[0] == 'a') {
        cycles_append(record, (uint32_t)(text[1] - '0'), (uint32_t)(text[2] - '0'));
        return;
    }
    for (const char *p = text + 2; *p != '\0'; p++)
        elements[count++] = (uint32_t)(*p - '0');
    cycles_read(record, (uint32_t)(text[1] - '0'), elements, count);
}

/* One after the other, or (at_once) all called before any is answered. Each is "X step step", X: c(ommitted), a, u. */
static void run(bool at_once, enum cycles_anomaly anomaly, unsigned count, ...)
{
    struct cycles_history history = lists();
    struct cycles_record records[8] = {{0}};
    struct cycles_report report;
    va_list args;

    for (unsigned i = 0; at_once && i < count; i++)
        cycles_begin(&history, &records[i], i);
    va_start(args, count);
    for (unsigned i = 0; i < count; i++) {
        char text[64], *rest = text, *word;
        char outcome;

        snprintf(text, sizeof(text), "%s", va_arg(args, const char *));
        if (!at_once)
            cycles_begin(&history, &records[i], i);
        outcome = *strsep(&rest, " ");
        while ((word = strsep(&rest, " ")) != NULL)
            steps(&records[i], word);
        cycles_finish(&records[i], outcome == 'c' ? CYCLES_COMMITTED : outcome == 'a' ? CYCLES_ABORTED : CYCLES_UNKNOWN);
    }
    va_end(args);
    cycles_check(&history, &report);
    cr_assert_eq(report.anomaly, anomaly, "it said %s: %s", cycles_name(report.anomaly), report.what);
    cycles_done(&history);
}

Test(cycles, what_is_right_passes)
{
    run(false, CYCLES_OK, 3, "c a01 a13", "c r01 a02 r012", "c r012 r13");
    run(true, CYCLES_OK, 3, "c a01", "u a02", "c r02");
    run(true, CYCLES_OK, 2, "c r0 a11", "c r11 a02");
}

Test(cycles, names_internal_contradictions)
{
    run(true, CYCLES_INTERNAL, 1, "c a01 r0");
    run(true, CYCLES_INTERNAL, 2, "c a01", "c r0 r01");
    run(true, CYCLES_INTERNAL, 1, "c a01 a02 r021");
}

Test(cycles, names_what_is_not_of_the_history)
{
    run(true, CYCLES_GARBAGE, 1, "c r05");
    run(true, CYCLES_GARBAGE, 2, "c a15", "c r05");
    run(true, CYCLES_DUPLICATE, 2, "c a01", "c r011");
    run(true, CYCLES_MALFORMED, 2, "c a01", "c a01");
}

Test(cycles, names_a_time_that_was_not)
{
    struct cycles_history history = lists();
    struct cycles_record record = {0};
    struct cycles_report report;

    cycles_begin(&history, &record, 0);
    steps(&record, "a01");
    cycles_finish(&record, CYCLES_COMMITTED);
    history.transactions[0].answered = history.clock + 1;
    cr_assert_eq(cycles_check(&history, &report), CYCLES_MALFORMED, "it said %s: %s", cycles_name(report.anomaly), report.what);
    cycles_done(&history);
}

Test(cycles, names_incompatible_orders)
{
    run(true, CYCLES_INCOMPATIBLE_ORDER, 4, "c a01", "c a02", "c r012", "c r021");
}

Test(cycles, names_aborted_reads_and_dirty_writes)
{
    run(true, CYCLES_G1A, 2, "a a01", "c r01");
    run(true, CYCLES_DIRTY_WRITE, 3, "a a01", "c a02", "c r012");
}

Test(cycles, names_intermediate_reads)
{
    run(true, CYCLES_G1B, 3, "c a01 a02", "c r01", "c r012");
}

Test(cycles, names_lost_appends_and_updates)
{
    run(false, CYCLES_LOST_APPEND, 3, "c a01", "c a02", "c r02");
    run(true, CYCLES_LOST_UPDATE, 3, "c r0 a01", "c r0 a02", "c r012");
}

Test(cycles, names_g0)
{
    run(true, CYCLES_G0, 4, "c a01 a12", "c a03 a14", "c r013", "c r142");
}

Test(cycles, names_g1c)
{
    run(true, CYCLES_G1C, 2, "c a01 r12", "c a12 r01");
}

Test(cycles, names_g_single)
{
    run(true, CYCLES_G_SINGLE, 3, "c a01 a12", "c r01 r1", "c r12");
}

Test(cycles, names_g2)
{
    run(true, CYCLES_G2, 3, "c r0 a11", "c r1 a02", "c r02 r11");
}

Test(cycles, names_a_stale_read)
{
    run(false, CYCLES_STALE_READ, 3, "c a01", "c r01", "c r0");
}

Test(cycles, names_writes_against_real_time)
{
    run(false, CYCLES_G0_REALTIME, 3, "c a02", "c a01", "c r012");
    run(false, CYCLES_G1C_REALTIME, 2, "c r01", "c a01");
}

/* T0 spans both others; T1 ends before T2 begins. In the order of what they missed, T2 comes first. */
Test(cycles, names_write_skew_against_real_time)
{
    struct cycles_history history = lists();
    struct cycles_record spans = {0}, early = {0}, late = {0}, reader = {0};
    struct cycles_report report;

    cycles_begin(&history, &spans, 0);
    steps(&spans, "r0");
    steps(&spans, "a12");
    cycles_begin(&history, &early, 1);
    steps(&early, "a01");
    cycles_finish(&early, CYCLES_COMMITTED);
    cycles_begin(&history, &late, 2);
    steps(&late, "r1");
    cycles_begin(&history, &reader, 3);
    cycles_finish(&late, CYCLES_COMMITTED);
    cycles_finish(&spans, CYCLES_COMMITTED);
    steps(&reader, "r01");
    steps(&reader, "r12");
    cycles_finish(&reader, CYCLES_COMMITTED);
    cycles_check(&history, &report);
    cr_assert_eq(report.anomaly, CYCLES_G2_REALTIME, "it said %s: %s", cycles_name(report.anomaly), report.what);
    cycles_done(&history);
}

Test(cycles, ten_thousand_valid_histories_pass)
{
    uint64_t aborted = 0, applied = 0;

    for (uint64_t seed = 1; seed <= 10000; seed++) {
        struct maker_options options = {.seed = seed, .transactions = 5 + (uint32_t)(seed % 40), .keys = 2 + (uint32_t)(seed % 7),
                                        .at_once = 1 + (uint32_t)(seed % 6), .reads = 3, .writes = 2};
        struct cycles_history history;
        struct cycles_report report;

        make_lists(&options, &history);
        cycles_check(&history, &report);
        cr_assert_eq(report.anomaly, CYCLES_OK, "seed %d: %s: %s", (int)seed, cycles_name(report.anomaly), report.what);
        aborted += report.aborted;
        applied += report.unknown_applied;
        cycles_done(&history);
    }
    cr_assert(aborted > 10000 && applied > 1000, "%d aborted, %d applied", (int)aborted, (int)applied);
}
