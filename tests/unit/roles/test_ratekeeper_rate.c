/* The ratekeeper's law: what each thing that runs full does to the rate, and closed loops that must settle. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "net/mem.h"
#include "roles/ratekeeper/ratekeeper_rate.h"

#define MB 1000000.0
#define SECOND_US 1000000
enum { STEP_US = 10000, REPORT_US = 100000, STALL_EVERY_US = 3000000 };

static const struct rate_limits limits = {.smoothing_us = SECOND_US,
                                          .stale_us = 2 * SECOND_US,
                                          .hold_free_bytes = 256000000,
                                          .read_lag_us = SECOND_US,
                                          .durability_lag_us = 60 * SECOND_US,
                                          .catch_up_us = 60 * SECOND_US,
                                          .commit_wait_us = 40000};

/* A cluster that is nothing but what the law sees: a storage server, a log, a GRV and a commit proxy. */
struct model {
    struct rate_core core;
    struct rate_source *sources;
    int64_t now_us;
    double offered, started;              /* transactions a second that come; all that have started */
    double bytes;                         /* that each writes */
    double disk, memory;                  /* bytes a second it takes; bytes that may be held */
    double input, durable, queue, peak_queue;
    double window[500], young;            /* input of the last 5 s by steps: it is not durable before that, unless memory presses */
    double commits, wait_us, peak_wait_us; /* a second that the proxy can do; 0: any number */
    double stall_s;                        /* of each STALL_EVERY_US it does nothing for so long */
    double waiting, refused;               /* transactions that wait for their start, a second's worth at most (if queues); beyond that */
    bool queues;
    double least_wait_us; /* that a commit waits, however few there are */
    double backlog, version, version_pace;
    int64_t free_bytes, durable_behind_us;
    double rate_sum, rate_squares, started_at_mark;
    unsigned rate_count;
};

static void model_init(struct model *m)
{
    memset(m, 0, sizeof(*m));
    m->sources = mem_zalloc(RATE_STORAGE_MAX * sizeof(*m->sources));
    rate_core_init(&m->core, &limits, m->sources);
    m->now_us = 1000 * (int64_t)SECOND_US;
    m->version = (double)m->now_us;
    m->offered = 1000;
    m->bytes = 1000;
    m->disk = 30 * MB;
    m->memory = 256 * MB;
    m->free_bytes = 100 * 1000 * 1000 * INT64_C(1000);
    m->version_pace = 1;
    m->durable_behind_us = 6 * SECOND_US;
}

static void model_done(struct model *m)
{
    mem_free(m->sources);
}

static void report(struct model *m)
{
    struct address at = {1, 1};
    struct storage_load storage = {.id = 11,
                                   .version = (int64_t)m->version,
                                   .durable_version = (int64_t)m->version - m->durable_behind_us,
                                   .queue_bytes = (int64_t)m->queue,
                                   .queue_max = (int64_t)m->memory,
                                   .input_bytes = (int64_t)m->input,
                                   .capacity = m->durable > MB ? (int64_t)m->disk : 0,
                                   .free_bytes = m->free_bytes,
                                   .total_bytes = INT64_C(1000000000000)};
    struct log_load log = {.id = 12,
                           .version = m->now_us,
                           .queue_max = 1000,
                           .input_bytes = (int64_t)m->input,
                           .free_bytes = INT64_C(100000000000),
                           .total_bytes = INT64_C(1000000000000)};
    struct proxy_load grv = {.id = 13, .kind = ROLE_GRV_PROXY, .started = (int64_t)m->started,
                             .wait_us = (int64_t)(m->waiting / m->offered * 1e6)};
    struct proxy_load commit = {.id = 14, .kind = ROLE_COMMIT_PROXY, .wait_us = (int64_t)m->wait_us,
                                .started = (int64_t)m->started, .done = (int64_t)(m->started - m->backlog)};

    rate_note_proxy(&m->core, m->now_us, at, &grv);
    rate_note_proxy(&m->core, m->now_us, at, &commit);
    rate_note_log(&m->core, m->now_us, at, &log);
    rate_note_storage(&m->core, m->now_us, at, &storage);
    rate_core_update(&m->core, m->now_us);
}

/* What starts in a step. */
static double start_some(struct model *m, double seconds)
{
    double wanted = m->waiting + m->offered * seconds, may = m->core.normal.rate * seconds, starts = wanted < may ? wanted : may;

    m->waiting = m->queues ? wanted - starts : 0;
    if (m->waiting > m->offered) {
        m->refused += m->waiting - m->offered;
        m->waiting = m->offered;
    }
    return starts;
}

static void step(struct model *m)
{
    double seconds = STEP_US / 1e6, starts = start_some(m, seconds), in, old, out;
    unsigned slot = (unsigned)(m->now_us / STEP_US) % 500;
    bool stalls = (double)(m->now_us % STALL_EVERY_US) < m->stall_s * 1e6;

    m->started += starts;
    m->backlog += m->commits > 0 ? starts - (stalls ? 0 : m->commits * seconds) : 0;
    m->backlog = m->backlog < 0 ? 0 : m->backlog;
    m->wait_us = m->least_wait_us + (m->commits > 0 ? m->backlog / m->commits * 1e6 : 0);
    in = starts * m->bytes;
    old = m->window[slot];
    m->window[slot] = in;
    m->young += in - old;
    m->input += in * m->version_pace; /* of what has come it takes what its versions bring */
    m->queue += in;
    out = m->queue > m->memory * 0.75 ? m->queue : m->queue - m->young; /* memory presses: history is given up */
    out = out > m->disk * seconds ? m->disk * seconds : out;
    m->queue -= out > 0 ? out : 0;
    m->durable += out > 0 ? out : 0;
    m->version += m->version_pace * STEP_US;
    m->now_us += STEP_US;
    if (m->now_us % REPORT_US == 0)
        report(m);
    if (m->queue > m->peak_queue)
        m->peak_queue = m->queue;
    if (m->wait_us > m->peak_wait_us)
        m->peak_wait_us = m->wait_us;
    m->rate_sum += starts / seconds;
    m->rate_squares += starts / seconds * (starts / seconds);
    m->rate_count++;
}

static void run(struct model *m, double seconds)
{
    for (int i = 0; i < (int)(seconds * 1e6) / STEP_US; i++)
        step(m);
}

static void mark(struct model *m)
{
    m->rate_sum = m->rate_squares = 0;
    m->rate_count = 0;
    m->peak_queue = m->peak_wait_us = 0;
}

static double mean(const struct model *m)
{
    return m->rate_sum / m->rate_count;
}

/* Squared: the standard deviation in parts of the mean. */
static double unrest(const struct model *m)
{
    double average = mean(m);

    return (m->rate_squares / m->rate_count - average * average) / (average * average);
}

/* ---- one thing at a time ---- */

Test(ratekeeper_rate, an_idle_cluster_and_a_light_load_are_not_limited)
{
    struct model m;

    model_init(&m);
    report(&m);
    cr_assert_eq(m.core.normal.rate, RATE_UNLIMITED);
    run(&m, 30);
    cr_assert_eq(m.core.normal.rate, RATE_UNLIMITED, "%f %s", m.core.normal.rate, rate_reason_name(m.core.normal.reason));
    cr_assert_eq(m.core.normal.reason, RATE_WORKLOAD);
    cr_assert_eq(m.core.batch.rate, RATE_UNLIMITED);
    cr_assert(!m.core.hold_sets);
    model_done(&m);
}

Test(ratekeeper_rate, a_silent_server_counts_for_nothing)
{
    struct model m;
    struct storage_load full = {.id = 99, .queue_bytes = 1000, .queue_max = 1000, .input_bytes = 1};

    model_init(&m);
    run(&m, 5);
    for (int i = 0; i < 20; i++) {
        full.version = full.durable_version = (int64_t)m.version;
        rate_note_storage(&m.core, m.now_us, (struct address){2, 2}, &full);
        run(&m, 0.1);
    }
    cr_assert_eq(m.core.normal.reason, RATE_STORAGE_QUEUE);
    cr_assert_eq(m.core.normal.id, 99);
    run(&m, 3);
    cr_assert_eq(m.core.normal.reason, RATE_WORKLOAD);
    model_done(&m);
}

Test(ratekeeper_rate, a_server_that_falls_behind_slows_starts_and_one_that_catches_up_does_not)
{
    struct model m;

    model_init(&m);
    run(&m, 10);
    m.version_pace = 0.5;
    run(&m, 8);
    cr_assert_eq(m.core.normal.reason, RATE_STORAGE_BEHIND);
    cr_assert_lt(m.core.normal.rate, 600);
    cr_assert_geq(m.core.normal.rate, RATE_FLOOR);
    m.version -= 70 * SECOND_US; /* it was away for more than a minute */
    m.version_pace = 20;
    m.core.storage[11].heard_us -= 70 * SECOND_US;
    run(&m, 1);
    mark(&m);
    run(&m, 5);
    cr_assert_gt(mean(&m), 900, "%f", mean(&m));
    model_done(&m);
}

Test(ratekeeper_rate, an_epochs_jump_of_versions_is_no_lag)
{
    struct model m;
    struct log_load log = {.id = 12, .queue_max = 1000};

    model_init(&m);
    run(&m, 5);
    log.version = m.now_us + VERSIONS_IN_FLIGHT_MAX;
    rate_core_epoch(&m.core, log.version);
    rate_note_log(&m.core, m.now_us, (struct address){1, 1}, &log);
    run(&m, 1);
    cr_assert_eq(m.core.normal.reason, RATE_WORKLOAD);
    m.version = (double)log.version + SECOND_US;
    m.durable_behind_us = VERSIONS_IN_FLIGHT_MAX; /* its disk stands where the last epoch ended */
    run(&m, 1);
    cr_assert_eq(m.core.normal.reason, RATE_WORKLOAD, "%s", rate_reason_name(m.core.normal.reason));
    model_done(&m);
}

Test(ratekeeper_rate, the_history_that_memory_keeps_limits_nobody_not_even_batches)
{
    struct model m;

    model_init(&m);
    m.core.limits.durability_lag_us = 4 * SECOND_US;
    m.offered = 10;
    run(&m, 5);
    cr_assert_geq(m.core.batch.rate, RATE_UNLIMITED, "%f", m.core.batch.rate); /* 6 s behind: 1 beyond the history */
    m.durable_behind_us = 5 * SECOND_US + 3 * SECOND_US;
    run(&m, 5);
    cr_assert_eq(m.core.normal.reason, RATE_STORAGE_DURABILITY);
    cr_assert_lt(m.core.normal.rate, RATE_UNLIMITED);
    model_done(&m);
}

Test(ratekeeper_rate, a_disk_that_fills_slows_writes_then_holds_sets_and_lets_them_go_later)
{
    struct model m;
    double before;

    model_init(&m);
    run(&m, 5);
    m.free_bytes = 800 * 1000 * 1000;
    run(&m, 5);
    before = m.core.normal.rate;
    m.free_bytes = 257 * 1000 * 1000;
    run(&m, 5);
    cr_assert_eq(m.core.normal.reason, RATE_STORAGE_DISK);
    cr_assert_lt(m.core.normal.rate, before / 10);
    cr_assert(!m.core.hold_sets);
    m.free_bytes = 255 * 1000 * 1000;
    run(&m, 1);
    cr_assert(m.core.hold_sets);
    cr_assert_eq(m.core.hold_id, 11);
    m.free_bytes = 270 * 1000 * 1000;
    run(&m, 1);
    cr_assert(m.core.hold_sets, "it must not flap");
    m.free_bytes = 330 * 1000 * 1000;
    run(&m, 1);
    cr_assert(!m.core.hold_sets);
    model_done(&m);
}

/* ---- closed loops ---- */

Test(ratekeeper_rate, a_slow_disk_settles_below_its_memory_at_what_it_can_take)
{
    for (double disk = 2 * MB; disk <= 64 * MB; disk *= 2) {
        struct model m;
        double best;

        model_init(&m);
        m.disk = disk;
        m.offered = 4 * disk / m.bytes;
        best = disk / m.bytes;
        run(&m, 400);
        cr_expect_lt(m.peak_queue, m.memory * 1.05, "disk %.0f: peak %.0f", disk, m.peak_queue);
        mark(&m);
        run(&m, 60);
        cr_expect_gt(mean(&m), 0.9 * best, "disk %.0f: %.0f of %.0f", disk, mean(&m), best);
        cr_expect_lt(unrest(&m), 0.05 * 0.05, "disk %.0f: it swings by %.2f squared", disk, unrest(&m));
        cr_expect_eq(m.core.normal.reason, RATE_STORAGE_QUEUE);
        cr_expect_leq(m.core.batch.rate, m.core.normal.rate * 0.8, "batch gives way first");
        model_done(&m);
    }
}

Test(ratekeeper_rate, a_disk_that_gets_slower_and_recovers_is_followed)
{
    struct model m;

    model_init(&m);
    m.offered = 60000;
    run(&m, 60);
    m.disk = 5 * MB;
    mark(&m);
    run(&m, 60);
    cr_assert_lt(m.peak_queue, m.memory * 1.1, "peak %.0f", m.peak_queue);
    m.disk = 100 * MB;
    run(&m, 60);
    mark(&m);
    run(&m, 20);
    cr_assert_gt(mean(&m), 45000, "it stays at %.0f", mean(&m));
    model_done(&m);
}

Test(ratekeeper_rate, commits_that_wait_pace_the_starts_without_swinging)
{
    for (double commits = 300; commits <= 100000; commits *= 4) {
        struct model m;

        model_init(&m);
        m.bytes = 10;
        m.commits = commits;
        m.offered = 2 * commits;
        run(&m, 60);
        mark(&m);
        run(&m, 60);
        cr_expect_gt(mean(&m), 0.9 * commits, "%.0f: %.0f", commits, mean(&m));
        cr_expect_lt(unrest(&m), 0.10 * 0.10, "%.0f: it swings by %.3f squared", commits, unrest(&m));
        cr_expect_lt(m.peak_wait_us, 250000, "%.0f: they wait for %.0f us", commits, m.peak_wait_us);
        m.offered = commits / 4;
        run(&m, 60);
        cr_expect_eq(m.core.normal.rate, RATE_UNLIMITED, "it lets go");
        model_done(&m);
    }
}

/* A proxy that can do more than is asked of it, but stands still now and then: what has waited meanwhile must not come at once. */
Test(ratekeeper_rate, what_has_waited_for_its_start_is_not_let_loose_at_once)
{
    for (double commits = 300; commits <= 100000; commits *= 4) {
        struct model m;

        model_init(&m);
        m.bytes = 10;
        m.commits = commits;
        m.offered = 0.8 * commits;
        m.stall_s = 0.2;
        m.queues = true;
        run(&m, 30);
        mark(&m);
        m.refused = 0;
        run(&m, 60);
        cr_expect_gt(mean(&m), 0.98 * m.offered, "%.0f: %.0f of %.0f", commits, mean(&m), m.offered);
        cr_expect_lt(m.refused, 0.01 * 60 * m.offered, "%.0f: %.0f refused", commits, m.refused);
        cr_expect_lt(m.peak_wait_us, 250000, "%.0f: they wait for %.0f us", commits, m.peak_wait_us);
        cr_expect_lt(unrest(&m), 0.2 * 0.2, "%.0f: bursts, %.3f squared", commits, unrest(&m));
        model_done(&m);
    }
}

Test(ratekeeper_rate, a_load_that_comes_at_once_and_can_be_borne_is_hardly_held_back)
{
    for (double commits = 1200; commits <= 100000; commits *= 4) {
        struct model m;

        model_init(&m);
        m.bytes = 10;
        m.commits = commits;
        m.offered = commits / 100;
        m.queues = true;
        run(&m, 10);
        m.offered = 0.9 * commits;
        m.backlog = 0.1 * commits; /* it takes everybody a moment */
        run(&m, 2);
        mark(&m);
        run(&m, 5);
        cr_expect_gt(mean(&m), 0.95 * m.offered, "%.0f: %.0f of %.0f", commits, mean(&m), m.offered);
        cr_expect_lt(m.peak_wait_us, 100000, "%.0f: they wait for %.0f us", commits, m.peak_wait_us);
        model_done(&m);
    }
}

/* Each step of a batch is slow: all wait for longer than they should, but nobody would be served sooner if fewer came. */
Test(ratekeeper_rate, a_slow_machine_is_not_taken_for_too_much_load)
{
    struct model m;

    model_init(&m);
    m.bytes = 10;
    m.commits = 2000;
    m.offered = 600;
    m.least_wait_us = 80000;
    m.queues = true;
    run(&m, 30);
    mark(&m);
    run(&m, 60);
    cr_assert_gt(mean(&m), 0.98 * m.offered, "%f", mean(&m));
    cr_assert_lt(m.refused, 1);
    model_done(&m);
}
