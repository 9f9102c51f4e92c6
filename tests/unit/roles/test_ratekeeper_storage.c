/* The ratekeeper's law beside a storage server as it is: 5 s of history, commits that are seconds apart and large, a disk and a processor that take so much
 * and no more, and one that stands still. What starts must settle at what it can take, without dips to nothing, and what waits must stay bounded. */
#include <criterion/criterion.h>

#include "net/mem.h"
#include "roles/ratekeeper/ratekeeper_rate.h"
#include "roles/storage/drain.h"

#define MB 1000000.0
#define MEMORY 268435456.0
#define PRESSES 0.75 /* of the memory: history is given up, commits give way no more */
#define COMMIT_MOST 0.125
#define HISTORY_STEPS 500
#define START_US (1000 * (int64_t)SECOND_US)
enum { SECOND_US = 1000000, STEP_US = 10000, REPORT_US = 100000, STEPS_MAX = 40000, SECONDS_MAX = STEPS_MAX / 100 };

static const struct rate_limits limits = {.smoothing_us = SECOND_US,
                                          .stale_us = 3 * SECOND_US,
                                          .hold_free_bytes = 256000000,
                                          .read_lag_us = SECOND_US,
                                          .durability_lag_us = 60 * SECOND_US,
                                          .catch_up_us = 60 * SECOND_US,
                                          .commit_wait_us = 40000};

/* Steps are versions: what starts in a step has its number. */
struct server {
    double disk, disk_at_leisure, takes_in; /* bytes a second */
    double coming[STEPS_MAX];               /* in the logs, not pulled yet */
    double held[STEPS_MAX];                 /* in the window */
    double queue, pending, input, peak;
    int version, oldest, durable;
    struct drain drain;
    double commit_bytes, commit_left; /* bytes 0: none is under way */
    int commit_to;
    int64_t commit_us, full_us, committed_us; /* full_us 0: it gives way */
    bool hurried, stands_still;
};

struct model {
    struct rate_core core;
    struct rate_source *sources;
    int step;
    double offered, bytes, waiting, started;
    struct server server;
    double by_second[SECONDS_MAX];
};

static struct model *model_create(double offered, double bytes, double disk, double takes_in)
{
    struct model *m = mem_zalloc(sizeof(*m));

    m->sources = mem_zalloc(RATE_STORAGE_MAX * sizeof(*m->sources));
    rate_core_init(&m->core, &limits, m->sources);
    m->offered = offered;
    m->bytes = bytes;
    m->server.disk = m->server.disk_at_leisure = disk;
    m->server.takes_in = takes_in;
    m->server.oldest = m->server.durable = m->server.version = -1;
    return m;
}

static void model_destroy(struct model *m)
{
    mem_free(m->sources);
    mem_free(m);
}

static int64_t now_us(const struct model *m)
{
    return START_US + (int64_t)m->step * STEP_US;
}

/* ---- the server ---- */

static void pull(struct model *m, struct server *s)
{
    double room = s->takes_in * STEP_US / 1e6;

    while (s->version < m->step && (s->commit_bytes < 1 || s->queue <= MEMORY)) {
        double *coming = &s->coming[s->version + 1], some = *coming < room ? *coming : room;

        *coming -= some;
        room -= some;
        s->held[s->version + 1] += some;
        s->queue += some;
        s->pending += some;
        s->input += some;
        if (*coming > 0.5)
            break;
        s->version++;
    }
    if (s->version - HISTORY_STEPS > s->oldest)
        s->oldest = s->version - HISTORY_STEPS;
    s->peak = s->queue > s->peak ? s->queue : s->peak;
}

static void commit_ends(struct model *m, struct server *s)
{
    drain_committed(&s->drain, (size_t)s->commit_bytes, now_us(m) - s->commit_us, s->hurried || s->full_us == 0);
    s->queue -= s->commit_bytes;
    s->pending -= s->commit_bytes;
    s->durable = s->commit_to;
    s->committed_us = now_us(m);
    s->commit_bytes = 0;
}

static void commit_goes_on(struct model *m, struct server *s)
{
    if (s->full_us == 0 && s->queue > MEMORY * PRESSES) {
        s->hurried = true;
        s->full_us = now_us(m);
    }
    s->commit_left -= (s->full_us > 0 ? s->disk : s->disk_at_leisure) * STEP_US / 1e6;
    if (s->commit_left <= 0)
        commit_ends(m, s);
}

static void raise_oldest(struct server *s)
{
    double bytes = 0;

    for (int i = s->durable + 1; i < s->version && bytes < s->pending * COMMIT_MOST; i++) {
        bytes += s->held[i];
        s->oldest = i > s->oldest ? i : s->oldest;
    }
}

static void consider_commit(struct model *m, struct server *s)
{
    bool presses = s->queue > MEMORY * PRESSES;
    double bytes = 0;
    int to = s->durable;

    if (presses)
        raise_oldest(s);
    while (to < s->oldest && bytes < MEMORY * COMMIT_MOST)
        bytes += s->held[++to];
    if (bytes < 1) {
        s->durable = to;
        return;
    }
    if (!presses && now_us(m) - s->committed_us < SECOND_US && bytes < 32 * MB)
        return;
    s->commit_to = to;
    s->commit_bytes = s->commit_left = bytes;
    s->commit_us = now_us(m);
    s->full_us = presses ? now_us(m) : 0;
    s->hurried = false;
}

static struct storage_load load_of(const struct model *m, const struct server *s)
{
    int64_t past_us = s->full_us > 0 ? now_us(m) - s->full_us : 0;
    double done = drain_done_part(&s->drain, (size_t)s->commit_bytes, past_us);
    int durable = s->pending < 1 ? s->version : s->commit_bytes > 0 ? s->durable + (int)((s->commit_to - s->durable) * done) : s->durable;

    return (struct storage_load){.id = 11,
                                 .version = START_US + (int64_t)s->version * STEP_US,
                                 .durable_version = START_US + (int64_t)durable * STEP_US,
                                 .queue_bytes = (int64_t)(s->queue - s->commit_bytes * done),
                                 .queue_max = (int64_t)MEMORY,
                                 .input_bytes = (int64_t)s->input,
                                 .capacity = (int64_t)drain_capacity(&s->drain, (size_t)s->commit_bytes, past_us),
                                 .free_bytes = INT64_C(100000000000),
                                 .total_bytes = INT64_C(1000000000000)};
}

/* ---- the rest ---- */

static void report(struct model *m)
{
    struct address at = {1, 1};
    struct storage_load storage = load_of(m, &m->server);
    struct log_load log = {.id = 12, .version = now_us(m), .queue_max = 1000, .free_bytes = INT64_C(100000000000), .total_bytes = INT64_C(1000000000000)};
    struct proxy_load grv = {.id = 13, .kind = ROLE_GRV_PROXY, .started = (int64_t)m->started, .wait_us = (int64_t)(m->waiting / m->offered * 1e6)};

    rate_note_proxy(&m->core, now_us(m), at, &grv);
    rate_note_log(&m->core, now_us(m), at, &log);
    if (!m->server.stands_still)
        rate_note_storage(&m->core, now_us(m), at, &storage);
    rate_core_update(&m->core, now_us(m));
}

static void step(struct model *m)
{
    struct server *s = &m->server;
    double wanted = m->waiting + m->offered * STEP_US / 1e6, may = m->core.normal.rate * STEP_US / 1e6, starts = wanted < may ? wanted : may;

    m->waiting = wanted - starts < m->offered ? wanted - starts : m->offered; /* who would wait for longer than a second is refused */
    m->started += starts;
    m->by_second[m->step / 100] += starts;
    s->coming[m->step] += starts * m->bytes;
    if (!s->stands_still) {
        pull(m, s);
        if (s->commit_bytes > 0)
            commit_goes_on(m, s);
        if (s->commit_bytes <= 0)
            consider_commit(m, s);
    }
    if (now_us(m) % REPORT_US == 0)
        report(m);
    m->step++;
}

static void run(struct model *m, int seconds)
{
    for (int i = 0; i < seconds * 100; i++)
        step(m);
}

/* The second in which fewest started, from `first` on. */
static double least(const struct model *m, int first)
{
    double found = m->by_second[first];

    for (int i = first; i < m->step / 100; i++)
        found = m->by_second[i] < found ? m->by_second[i] : found;
    return found;
}

static double most(const struct model *m, int first)
{
    double found = 0;

    for (int i = first; i < m->step / 100; i++)
        found = m->by_second[i] > found ? m->by_second[i] : found;
    return found;
}

/* ---- what holds ---- */

Test(ratekeeper_storage, a_disk_that_takes_so_much_and_no_more_gets_that_all_the_time)
{
    for (double disk = 2 * MB; disk <= 32 * MB; disk *= 2) {
        double best = disk / 1000;
        struct model *m = model_create(4 * best, 1000, disk, 1e12);

        run(m, 150);
        cr_expect_gt(least(m, 0), 0.6 * best, "disk %.0f: only %.2f of it in one second", disk, least(m, 0) / best);
        cr_expect_lt(m->server.peak, 1.25 * MEMORY, "disk %.0f: peak %.2f of the memory", disk, m->server.peak / MEMORY);
        cr_expect_gt(least(m, 60), 0.69 * best, "disk %.0f: %.2f", disk, least(m, 60) / best);
        cr_expect_lt(most(m, 60), (disk > 2 * MB ? 1.1 : 1.4) * best, "disk %.0f: it swings to %.2f", disk, most(m, 60) / best);
        model_destroy(m);
    }
}

Test(ratekeeper_storage, a_commit_that_gives_way_on_a_busy_machine_does_not_starve_the_cluster)
{
    double best = 8000;
    struct model *m = model_create(4 * best, 1000, best * 1000, 1e12);

    m->server.disk_at_leisure = m->server.disk / 20;
    run(m, 150);
    cr_expect_gt(least(m, 0), 0.4 * best, "%.2f", least(m, 0) / best);
    cr_expect_gt(least(m, 60), 0.9 * best, "%.2f", least(m, 60) / best);
    cr_expect_lt(m->server.peak, 1.25 * MEMORY, "%.2f of the memory", m->server.peak / MEMORY);
    model_destroy(m);
}

Test(ratekeeper_storage, a_server_that_can_take_in_only_so_much_gets_that_all_the_time)
{
    for (double bytes = 100; bytes <= 100000; bytes *= 10)
        for (double takes_in = 2 * MB; takes_in <= 32 * MB; takes_in *= 4) {
            double best = takes_in / bytes;
            struct model *m = model_create(4 * best, bytes, 4 * takes_in, takes_in);

            run(m, 60);
            if (best > 3 * RATE_FLOOR) {
                cr_expect_gt(least(m, 10), 0.7 * best, "%.0f bytes, %.0f/s: only %.2f of it in one second", bytes, takes_in, least(m, 10) / best);
                cr_expect_gt(least(m, 30), 0.9 * best, "%.0f bytes, %.0f/s: only %.2f of it in one second", bytes, takes_in, least(m, 30) / best);
                cr_expect_lt(most(m, 30), 1.1 * best, "%.0f bytes, %.0f/s: it swings to %.2f", bytes, takes_in, most(m, 30) / best);
            }
            cr_expect_lt(m->step - m->server.version, 200, "%.0f bytes, %.0f/s: %.1f s behind", bytes, takes_in, (m->step - m->server.version) / 100.0);
            model_destroy(m);
        }
}

Test(ratekeeper_storage, a_server_that_stood_still_for_two_seconds_is_no_reason_to_stop_all)
{
    for (double load = 0.3; load < 0.9; load += 0.25) {
        struct model *m = model_create(load * 20000, 1000, 40 * MB, 20 * MB);

        run(m, 30);
        m->server.stands_still = true;
        run(m, 2);
        m->server.stands_still = false;
        run(m, 30);
        cr_expect_gt(least(m, 30), 0.7 * m->offered, "%.2f of what it can take: only %.2f in one second", load, least(m, 30) / m->offered);
        cr_expect_gt(least(m, 40), 0.99 * m->offered, "%.2f of what it can take: only %.2f later", load, least(m, 40) / m->offered);
        model_destroy(m);
    }
}

/* A second of an idle cluster: now and then something starts, and the server lacks two seconds' versions. */
static void idle_second(struct rate_core *core, int64_t now_us, bool starts, bool lacks, struct proxy_load *grv, struct storage_load *storage)
{
    struct log_load log = {.id = 12, .version = now_us, .queue_max = 1000, .free_bytes = INT64_C(100000000000), .total_bytes = INT64_C(1000000000000)};
    struct address at = {1, 1};

    grv->started += starts;
    storage->version = storage->durable_version = now_us - (lacks ? 2 * SECOND_US : 0);
    rate_note_proxy(core, now_us, at, grv);
    rate_note_log(core, now_us, at, &log);
    rate_note_storage(core, now_us, at, storage);
    rate_core_update(core, now_us);
}

Test(ratekeeper_storage, a_server_that_was_idle_for_long_and_lacks_something_for_a_moment_holds_nobody_back)
{
    struct storage_load storage = {.id = 11, .queue_max = (int64_t)MEMORY, .free_bytes = INT64_C(100000000000), .total_bytes = INT64_C(1000000000000)};
    struct proxy_load grv = {.id = 13, .kind = ROLE_GRV_PROXY};
    struct model *m = model_create(1, 1, MB, MB);
    int64_t now = START_US;

    for (int i = 0; i < 20; i++) {
        grv.started += 1000;
        storage.input_bytes += 1000000;
        idle_second(&m->core, now += SECOND_US, true, false, &grv, &storage);
    }
    for (int i = 0; i < 4000; i++) {
        idle_second(&m->core, now += SECOND_US, i % 10 == 0, i % 100 == 99, &grv, &storage);
        cr_assert_geq(m->core.normal.rate, 100, "after %d s: %g by %s", i, m->core.normal.rate, rate_reason_name(m->core.normal.reason));
    }
    model_destroy(m);
}

/* Half of the time: it can take 10,000 a second. */
Test(ratekeeper_storage, a_server_that_stands_still_now_and_then_is_given_what_it_can_take)
{
    struct model *m = model_create(16000, 1000, 40 * MB, 20 * MB);

    run(m, 20);
    for (int i = 0; i < 20; i++) {
        m->server.stands_still = true;
        run(m, 1);
        m->server.stands_still = false;
        run(m, 1);
    }
    cr_expect_gt(least(m, 20), 0.5 * 10000, "%.0f in one second", least(m, 20));
    cr_expect_lt(m->step - m->server.version, 500, "%.1f s behind", (m->step - m->server.version) / 100.0);
    model_destroy(m);
}

Test(ratekeeper_storage, a_disk_that_gets_slower_is_noticed_while_the_commit_runs)
{
    struct model *m = model_create(30000, 1000, 60 * MB, 1e12);

    run(m, 60);
    m->server.disk = m->server.disk_at_leisure = 4 * MB;
    run(m, 120);
    cr_expect_lt(m->server.peak, 1.4 * MEMORY, "%.2f of the memory", m->server.peak / MEMORY);
    cr_expect_gt(least(m, 60), 0.4 * 4000, "%.0f", least(m, 60));
    model_destroy(m);
}

/* ---- the disk's pace ---- */

Test(drain, a_commit_that_runs_late_lowers_what_is_told_at_once)
{
    struct drain drain = {0};

    cr_assert_eq(drain_capacity(&drain, 8 << 20, 500000), 0, "too early to say");
    cr_assert_float_eq(drain_capacity(&drain, 32 << 20, 4000000), 8 << 20, 1, "at most so much");
    drain_committed(&drain, 64 << 20, 1000000, false);
    cr_assert_float_eq(drain_capacity(&drain, 0, 0), 64 << 20, 1);
    cr_assert_float_eq(drain_capacity(&drain, 64 << 20, 900000), 64 << 20, 1);
    cr_assert_float_eq(drain_capacity(&drain, 64 << 20, 8000000), 8 << 20, 1);
    cr_assert_float_eq(drain_done_part(&drain, 64 << 20, 250000), 0.25, 0.001);
    cr_assert_float_eq(drain_done_part(&drain, 64 << 20, 8000000), 1, 0.001);
}

Test(drain, small_commits_and_those_that_gave_way_say_little)
{
    struct drain drain = {0};

    drain_committed(&drain, 1000, 100, false);
    cr_assert_eq(drain.capacity, 0);
    drain_committed(&drain, 64 << 20, 1000000, false);
    drain_committed(&drain, 64 << 20, 60000000, true);
    cr_assert_float_eq(drain.capacity, 64 << 20, 1, "it gave way: that says nothing");
    drain_committed(&drain, 1 << 20, 1000, true);
    cr_assert_lt(drain.capacity, 130 << 20, "a small one may have gone to memory alone");
    drain_committed(&drain, 64 << 20, 4000000, false);
    cr_assert_lt(drain.capacity, 48 << 20);
}
