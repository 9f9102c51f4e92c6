/* From reports to rates.
 *
 * Each thing that may run full is turned into a pressure: 0 or less is comfortable, 1 is where it should stand at most. Two laws:
 *
 * - What queues bytes (a storage server's memory, lags) integrates what comes in minus what goes out. There the limit is base / pressure,
 *   where base is what the thing can take for ever, over the bytes that a transaction brings: for its disk, the bytes a second that this was seen to take; for what it
 *   lacks of the newest versions, those that it was seen to take in. It meets base at pressure 1, gives way smoothly on both sides, and as it is proportional it settles
 *   without swinging; above 1 it stays near a base that was measured, so that a full server gets what it can take, and not next to nothing. A lag is
 *   counted in transactions that have started since, not in time: how long they will take is known when they start, their lag shows when they have waited.
 *   Where nothing was measured, base is what starts now, or did in the last seconds: then it shrinks for as long as the pressure is above 1.
 * - Commits that wait at a proxy are there within milliseconds of too much load, and gone as quickly; reports come ten times a second. So
 *   the limit is what leaves the proxy, corrected by so little that the queue nears its mark within seconds, not at once. It is let go by
 *   and by, and not before nobody waits for a start any more: else all who wait would start at once and be the next queue, and so on for ever.
 *
 * Free disk: what is left above the level at which nothing may be set any more is given out over DISK_HORIZON_S, so the rate falls with
 * it and the level is neared ever more slowly.
 *
 * Batch priority goes by the same laws with tighter marks, so it gives way first. A source that has gone silent counts for nothing: no
 * rate helps a dead server, and what its death costs is the distributor's to heal. One that was away for long and
 * catches up limits nobody. */
#include "roles/ratekeeper/ratekeeper_rate.h"

#include <assert.h>
#include <string.h>

#include "net/planted_bug.h"
#include "roles/ratekeeper/rate_tags.h"

#define KEPT_LEAST 0.25
#define BEHIND_MOST 1.5 /* no hurry: what is behind stands in memory, which has its own mark */
#define OVER_STEP 0.3
#define INTAKE_SMOOTHING_US 5000000
#define MOST_SMOOTHING_US 5000000
#define QUEUE_BEGIN 0.6 /* of what a storage server may hold in memory; from 0.75 on it gives up history by itself */
#define QUEUE_TARGET 0.8
#define LOG_QUEUE_BEGIN 0.5
#define LOG_QUEUE_TARGET 0.75
#define BATCH_TIGHTER 0.6 /* of every mark */
#define TAG_TIGHTER 0.75  /* a tag that makes much of the load is limited before everybody is */
#define DISK_HORIZON_S 10.0
#define DISK_BEGIN 4      /* times the level of holding back: there slowing down begins */
#define HOLD_RELEASE_NUM 5 /* sets come back at 5/4 of the level, so that it does not flap */
#define HOLD_RELEASE_DEN 4
#define STARTED_MIN 100.0
#define COMMIT_PACE_S 1.0   /* long against the time from a rate to its effect in the next report */
#define COMMIT_GROWTH 0.3  /* below the mark: at most so much above what starts now */
#define COMMIT_LEAST 0.5
#define COMMITS_FEW 64.0    /* that wait: one batch takes them all, and fewer would not wait for a shorter time where each step of a batch is slow */
#define COMMIT_EASING 1.0   /* doublings a second of a limit that is let go */
#define COMMIT_FREE 2.0     /* times what starts now: such a limit holds nobody back */
#define STARTS_WAIT_US 50000.0
#define RAMP 1.5            /* what starts lately is so much more than before: the load has just come */
#define LAG_SMOOTHING_US 300000
#define COST_SMOOTHING_US 3000000
#define PAST_SLOT_US 100000
#define PACE_LEAST 0.1 /* versions a second in parts of real time: of a server that stands still, or skips an epoch's jump, nothing is learned */
#define PACE_MOST 4.0
#define SANE_MAX (INT64_C(1) << 56)
enum { PROBES_MAX = 64, SMALL_DISK_PARTS = 10, LATELY_PARTS = 5, HISTORY_US = 5000000 };

static const struct {
    const char *name, *text;
} reasons[RATE_REASONS] = {
    [RATE_WORKLOAD] = {"workload", "The database is not being saturated by the workload."},
    [RATE_STORAGE_QUEUE] = {"storage_server_write_queue_size", "Storage server performance (storage queue)."},
    [RATE_STORAGE_BEHIND] = {"storage_server_readable_behind", "Storage server version falling behind."},
    [RATE_LOG_QUEUE] = {"log_server_write_queue", "Log server performance (log queue)."},
    [RATE_STORAGE_DISK] = {"storage_server_min_free_space", "Storage server running out of space (approaching the reserve)."},
    [RATE_LOG_DISK] = {"log_server_min_free_space", "Log server running out of space (approaching the reserve)."},
    [RATE_STORAGE_DURABILITY] = {"storage_server_durability_lag", "Storage server durable version falling behind."},
    [RATE_COMMIT_QUEUE] = {"commit_proxy_queue", "Commits wait at a commit proxy."},
};

const char *rate_reason_name(enum rate_reason reason)
{
    return (unsigned)reason < RATE_REASONS && reasons[reason].name != NULL ? reasons[reason].name : "unknown";
}

const char *rate_reason_text(enum rate_reason reason)
{
    return (unsigned)reason < RATE_REASONS && reasons[reason].text != NULL ? reasons[reason].text : "Not known to this program.";
}

/* ---- smoothing ---- */

static double smooth(double old, double now, int64_t past_us, int64_t smoothing_us)
{
    return old + (now - old) * (double)past_us / (double)(past_us + smoothing_us);
}

/* A total below the last one is that of a role that began anew. */
void rate_smoother_add(struct rate_smoother *smoother, int64_t now_us, int64_t total, int64_t smoothing_us)
{
    int64_t past_us = now_us - smoother->at_us, known_us = smoother->at_us - smoother->since_us;

    if (!smoother->known || total < smoother->total) {
        *smoother = (struct rate_smoother){.since_us = now_us, .at_us = now_us, .total = total, .known = true};
        return;
    }
    if (past_us <= 0)
        return; /* counted with the next one */
    smoother->rate = smooth(smoother->rate, (double)(total - smoother->total) * 1e6 / (double)past_us, past_us,
                            known_us < smoothing_us ? known_us : smoothing_us); /* at first all that is known counts the same */
    smoother->at_us = now_us;
    smoother->total = total;
}

/* ---- what was said ---- */

/* No number that anybody says makes ours overflow. */
static int64_t sane(int64_t value)
{
    return value < 0 ? 0 : value > SANE_MAX ? SANE_MAX : value;
}

/* The place of a source: its own, or one that is free or whose owner has been silent. NULL: there is no room near. */
static struct rate_source *source_of(struct rate_source *sources, uint32_t capacity, uint64_t id, int64_t now_us, int64_t stale_us)
{
    struct rate_source *found = NULL;

    for (uint32_t i = 0; i < PROBES_MAX && i < capacity; i++) {
        struct rate_source *at = &sources[(id + i) % capacity];

        if (at->id == id)
            return at;
        if (found == NULL && (at->id == 0 || now_us - at->heard_us > stale_us))
            found = at;
    }
    if (found != NULL)
        *found = (struct rate_source){.id = id, .heard_us = now_us};
    return found;
}

void rate_core_init(struct rate_core *core, const struct rate_limits *limits, struct rate_source *storage)
{
    memset(core, 0, sizeof(*core));
    core->limits = *limits;
    core->storage = storage;
    core->normal.rate = core->batch.rate = RATE_UNLIMITED;
}

void rate_core_epoch(struct rate_core *core, version_t epoch_version)
{
    if (sane(epoch_version) > core->epoch_version)
        core->epoch_version = sane(epoch_version);
}

static version_t later(version_t a, version_t b)
{
    return a > b ? a : b;
}

/* How far it lacks what some log had already at its last report: what has come since then may just be on its way. An epoch's first
 * version lies far above the one before; that jump is no lag. */
static double lag_of(const struct rate_core *core, const struct rate_source *source, version_t version)
{
    version_t from = later(version, core->epoch_version);

    return source->newest_before > from ? (double)(source->newest_before - from) : 0;
}

static void note(struct rate_source *source, struct address from, int64_t now_us, int64_t queue_bytes, int64_t queue_max)
{
    int64_t past_us = now_us - source->heard_us;

    source->address = from;
    source->queue_bytes = sane(queue_bytes);
    source->queue = smooth(source->queue, queue_max > 0 ? (double)sane(queue_bytes) / (double)queue_max : 0, past_us, LAG_SMOOTHING_US);
    source->heard_us = now_us;
}

/* Its busiest reader. */
static void note_reads(struct rate_source *source, const struct storage_load *load)
{
    int64_t most = 0;

    source->tag = load->tag;
    source->busy_read = 0;
    for (uint32_t i = 0; i < load->reads_count; i++) {
        if (load->reads[i].cost <= most || !tag_name_of(load->reads[i].tag, &source->busy_reader))
            continue;
        most = load->reads[i].cost;
    }
    if (most > 0 && load->reads_cost > 0)
        source->busy_read = most < load->reads_cost ? (double)most / (double)load->reads_cost : 1;
}

void rate_note_storage(struct rate_core *core, int64_t now_us, struct address from, const struct storage_load *load)
{
    struct rate_source *source = source_of(core->storage, RATE_STORAGE_MAX, load->id, now_us, core->limits.stale_us);
    int64_t past_us;

    if (load->id == 0 || source == NULL)
        return;
    past_us = now_us - source->heard_us;
    note(source, from, now_us, load->queue_bytes, load->queue_max);
    source->lag_us = smooth(source->lag_us, lag_of(core, source, sane(load->version)), past_us, LAG_SMOOTHING_US);
    source->newest_before = core->newest_version;
    source->behind_us = (double)sane(sane(load->version) - later(sane(load->durable_version), core->epoch_version));
    source->version = sane(load->version);
    source->free_bytes = sane(load->free_bytes);
    source->total_bytes = sane(load->total_bytes);
    source->capacity = (double)sane(load->capacity);
    note_reads(source, load);
    rate_smoother_add(&source->input, now_us, sane(load->input_bytes), core->limits.smoothing_us);
    rate_smoother_add(&source->history, now_us, sane(load->input_bytes), HISTORY_US);
    rate_smoother_add(&source->versions, now_us, source->version, core->limits.smoothing_us);
}

void rate_note_log(struct rate_core *core, int64_t now_us, struct address from, const struct log_load *load)
{
    struct rate_source *source = source_of(core->logs, RATE_LOGS_MAX, load->id, now_us, core->limits.stale_us);

    if (load->id == 0 || source == NULL)
        return;
    note(source, from, now_us, load->queue_bytes, load->queue_max);
    source->version = sane(load->version);
    source->free_bytes = sane(load->free_bytes);
    source->total_bytes = sane(load->total_bytes);
    source->capacity = (double)sane(load->reserve_bytes); /* of a log: the disk that it keeps free */
    rate_smoother_add(&source->input, now_us, sane(load->input_bytes), core->limits.smoothing_us);
    if (source->version > core->newest_version)
        core->newest_version = source->version;
}

void rate_note_proxy(struct rate_core *core, int64_t now_us, struct address from, const struct proxy_load *load)
{
    struct rate_proxy *proxy = NULL;

    for (int i = 0; i < RATE_PROXIES_MAX && load->id != 0; i++) {
        struct rate_proxy *at = &core->proxies[i];

        if (at->id == load->id) {
            proxy = at;
            break;
        }
        if (proxy == NULL && (at->id == 0 || now_us - at->heard_us > core->limits.stale_us))
            proxy = at;
    }
    if (proxy == NULL)
        return;
    if (proxy->id != load->id)
        *proxy = (struct rate_proxy){.id = load->id, .heard_us = now_us};
    proxy->address = from;
    proxy->kind = load->kind;
    proxy->wait_us = smooth(proxy->wait_us, (double)sane(load->wait_us), now_us - proxy->heard_us, LAG_SMOOTHING_US / 3);
    proxy->heard_us = now_us;
    rate_smoother_add(&proxy->started, now_us, sane(load->started), core->limits.smoothing_us);
    rate_smoother_add(&proxy->done, now_us, sane(load->done), core->limits.smoothing_us);
    rate_smoother_add(&proxy->lately, now_us, sane(load->started), core->limits.smoothing_us / LATELY_PARTS);
}

/* ---- the laws ---- */

static bool lives(const struct rate_core *core, int64_t now_us, uint64_t id, int64_t heard_us)
{
    return id != 0 && now_us - heard_us <= core->limits.stale_us;
}

static void limit(struct rate_output *output, double rate, enum rate_reason reason, uint64_t id, struct address address)
{
    if (rate >= output->rate)
        return;
    output->rate = rate;
    output->reason = reason;
    output->id = id;
    output->address = address;
}

/* Which part of the base starts. Above the mark a measured base needs little kept back to come down, and much only if it was measured wrongly. */
static double kept(double pressure, bool measured)
{
    double part = pressure <= 1 || !measured ? 1 / pressure : 1 - (pressure - 1) * OVER_STEP;

    return part < KEPT_LEAST ? KEPT_LEAST : part;
}

/* base / pressure, for both priorities. A base that is what starts now (not measured) would choke itself: it never goes below STARTED_MIN. */
static void press(struct rate_core *core, double value, double begin, double target, double base, bool measured, enum rate_reason reason,
                  const struct rate_source *source)
{
    double least = measured ? 0 : STARTED_MIN, rate;

    struct rate_output *outputs[] = {&core->normal, &core->batch};

    for (int i = 0; i < 2; i++) {
        double tighter = i == 0 ? 1 : BATCH_TIGHTER, pressure = (value / tighter - begin) / (target - begin);

        if (pressure <= 0)
            continue;
        rate = base * kept(pressure, measured);
        least = i == 0 ? least : least / 10;
        limit(outputs[i], rate > least ? rate : least, reason, source->id, source->address);
    }
}

/* Nothing is set any more when `wanted` bytes above the reserve are left; of a small disk a part, or it would always be nearly full. */
static void press_disk(struct rate_core *core, int64_t reserve, int64_t wanted, enum rate_reason reason, const struct rate_source *source)
{
    int64_t part = source->total_bytes / SMALL_DISK_PARTS, level = reserve + (wanted < part ? wanted : part);
    double left = (double)(source->free_bytes - level);

    if (source->total_bytes <= 0 || source->free_bytes >= level * DISK_BEGIN)
        return;
    if (left > 0 && source->cost > 0) {
        limit(&core->normal, left / DISK_HORIZON_S / source->cost, reason, source->id, source->address);
        limit(&core->batch, left / DISK_HORIZON_S / source->cost * BATCH_TIGHTER, reason, source->id, source->address);
    }
    if (source->free_bytes > (core->hold_sets ? level * HOLD_RELEASE_NUM / HOLD_RELEASE_DEN : level))
        return;
    core->hold_reason = reason;
    core->hold_id = source->id;
    core->hold_address = source->address;
    core->hold_free_bytes = source->free_bytes;
}

/* `released`, from the last update on. */
static void remember_released(struct rate_core *core, int64_t now_us)
{
    int64_t last = now_us / PAST_SLOT_US, first = core->updated_us / PAST_SLOT_US + 1;

    if (last - first >= RATE_PAST_SLOTS)
        first = last - RATE_PAST_SLOTS + 1;
    for (int64_t slot = first; slot <= last; slot++)
        core->past[slot % RATE_PAST_SLOTS] = core->released;
}

/* What started so many slots ago; 0: before what is remembered, or before the clock began. */
static double released_ago(const struct rate_core *core, int64_t now_us, int64_t slots)
{
    int64_t slot = now_us / PAST_SLOT_US - slots;

    return slots < RATE_PAST_SLOTS && slot >= 0 ? core->past[slot % RATE_PAST_SLOTS] : 0;
}

/* What a transaction brings it: what it took in of a second's versions, over what started in that second, which is not this one where it is behind.
 * Else one that works off what has piled up would seem to get it from the few that start now, and these few would be made fewer still. */
static void learn_cost(const struct rate_core *core, struct rate_source *source, double pace, int64_t now_us, int64_t past_us)
{
    double released = released_ago(core, now_us, (int64_t)source->lag_us / PAST_SLOT_US), cost;

    if (released < 1 || source->input.rate <= 0 || pace < PACE_LEAST || pace > PACE_MOST)
        return; /* what was known stays */
    cost = source->input.rate / pace / released;
    source->cost = smooth(source->cost, cost, past_us, source->cost_us);
    source->cost_us = source->cost_us + past_us < COST_SMOOTHING_US ? source->cost_us + past_us : COST_SMOOTHING_US;
}

/* How many have started since the versions that a server has which lacks so much. */
static double missing(const struct rate_core *core, double lag_us, int64_t now_us)
{
    int64_t slots = (int64_t)lag_us / PAST_SLOT_US, known = slots < RATE_PAST_SLOTS ? slots : RATE_PAST_SLOTS;
    double count = 0;

    for (int64_t i = 0; i < known; i++)
        count += released_ago(core, now_us, i) * PAST_SLOT_US / 1e6;
    return known == 0 ? core->released * lag_us / 1e6 : count * lag_us / (double)(known * PAST_SLOT_US);
}

/* What it can take in. That shows only while it lacks what some transaction brings: one that lacks nothing takes in all that comes, and of a
 * cluster that is idle hardly anything would be left in the end, beside which the least lag is much. */
static void learn_intake(const struct rate_core *core, struct rate_source *source, int64_t now_us, int64_t past_us)
{
    if (source->input.rate > source->intake)
        source->intake = source->input.rate;
    else if (missing(core, source->lag_us, now_us) >= 1)
        source->intake = smooth(source->intake, source->input.rate, past_us, INTAKE_SMOOTHING_US);
}

/* What starts now, as a base: of a cluster that is nearly idle that says nothing, and must not choke what comes next. */
static double started(const struct rate_core *core)
{
    return core->released > STARTED_MIN ? core->released : STARTED_MIN;
}

/* The same for what stays full for seconds whatever starts: a limit made of what it allowed itself would be at nothing by then. */
static double started_lately(const struct rate_core *core, struct rate_source *source, int64_t past_us)
{
    double now = started(core);

    source->most = now > source->most ? now : smooth(source->most, now, past_us, MOST_SMOOTHING_US);
    return source->most;
}

/* What its disk lacks beyond the history that it keeps in memory on purpose: that much it is behind wherever something is written, and limits nobody. */
static double late_us(const struct rate_source *source)
{
    double late = source->behind_us - (double)MAX_READ_TRANSACTION_LIFE_VERSIONS;

    return late > 0 ? late : 0;
}

static double tag_pressure(double value, double begin, double target)
{
    return (value / TAG_TIGHTER - begin) / (target - begin);
}

/* The same things as for everybody, at marks that come earlier. */
static void press_tags(struct rate_core *core, const struct rate_source *source, int64_t now_us)
{
    double behind_us = (double)core->limits.durability_lag_us, lag_us = (double)core->limits.read_lag_us;
    double queue = tag_pressure(source->queue, QUEUE_BEGIN, QUEUE_TARGET), behind = tag_pressure(late_us(source), behind_us / 2, behind_us);
    double lag = source->lag_us <= (double)core->limits.catch_up_us ? tag_pressure(source->lag_us, lag_us / 3, lag_us) : 0;

    if (core->tags == NULL)
        return;
    rate_tags_press(core->tags, now_us, source, queue > behind ? queue : behind, true, core->limits.stale_us);
    rate_tags_press(core->tags, now_us, source, lag, false, core->limits.stale_us);
}

static void look_at_storage(struct rate_core *core, struct rate_source *source, int64_t now_us, int64_t past_us)
{
    double pace = source->versions.rate / (double)VERSIONS_PER_SECOND, disk = started_lately(core, source, past_us), memory = started(core) * pace;
    double lag_max = (double)core->limits.durability_lag_us;
    bool disk_known, memory_known;

    learn_cost(core, source, pace, now_us, past_us);
    disk_known = source->cost > 0 && source->capacity > 0;
    if (disk_known)
        disk = source->capacity / source->cost;
    learn_intake(core, source, now_us, past_us);
    memory_known = source->cost > 0 && source->intake > 0;
    if (memory_known)
        memory = source->intake / source->cost;
    press(core, source->queue, QUEUE_BEGIN, QUEUE_TARGET, disk, disk_known, RATE_STORAGE_QUEUE, source);
    press(core, late_us(source) < lag_max * BEHIND_MOST ? late_us(source) : lag_max * BEHIND_MOST, lag_max / 2, lag_max, disk, disk_known,
          RATE_STORAGE_DURABILITY, source);
    if (source->lag_us <= (double)core->limits.catch_up_us)
        press(core, memory_known ? missing(core, source->lag_us, now_us) / memory * 1e6 : source->lag_us, (double)core->limits.read_lag_us / 3,
              (double)core->limits.read_lag_us, memory, memory_known,
              RATE_STORAGE_BEHIND, source);
    press_disk(core, 0, core->limits.hold_free_bytes, RATE_STORAGE_DISK, source);
    core->live_storage++;
    if ((double)source->queue_bytes > core->worst_queue)
        core->worst_queue = (double)source->queue_bytes;
    if (source->lag_us > core->worst_lag_us)
        core->worst_lag_us = source->lag_us;
    if (source->behind_us > core->worst_behind_us)
        core->worst_behind_us = source->behind_us;
}

static void look_at_log(struct rate_core *core, struct rate_source *source, int64_t now_us, int64_t past_us)
{
    learn_cost(core, source, 1, now_us, past_us);
    press(core, source->queue, LOG_QUEUE_BEGIN, LOG_QUEUE_TARGET, started_lately(core, source, past_us), false, RATE_LOG_QUEUE, source);
    press_disk(core, (int64_t)source->capacity, (int64_t)source->capacity, RATE_LOG_DISK, source);
    core->live_logs++;
    if ((double)source->queue_bytes > core->worst_log_queue)
        core->worst_log_queue = (double)source->queue_bytes;
}

/* What leaves the proxy, and a little more or less, so that the queue nears its mark with a time constant of COMMIT_PACE_S. Never so little
 * that only a few would wait: on a busy machine or a slow disk they wait for long whatever their number, and the rate would sink for ever. */
static double pace_of(const struct rate_core *core, double target_us, const struct rate_proxy *worst)
{
    double base = started(core), left_us = target_us - worst->wait_us, least = COMMITS_FEW * 1e6 / worst->wait_us, factor;

    if (core->released_lately > RAMP * base)
        base = core->released_lately;
    if (worst->started.rate > worst->done.rate && worst->done.rate > 0)
        base *= worst->done.rate / worst->started.rate;
    factor = left_us > 0 ? 1 + COMMIT_GROWTH * left_us / target_us : 1 + left_us / (COMMIT_PACE_S * 1e6);
    base *= factor < COMMIT_LEAST ? COMMIT_LEAST : factor;
    return base > least ? base : least > STARTED_MIN ? least : STARTED_MIN;
}

/* A limit is let go by and by, and not at all before nobody waits for his start any more: all of them would come at once, and be the next queue. */
static double ease(const struct rate_core *core, double paced, int64_t past_us)
{
    double eased = paced * (1 + COMMIT_EASING * (double)past_us / 1e6), free = COMMIT_FREE * started(core);

    if (paced > 0 && core->starts_wait)
        return eased < free ? eased : free;
    return paced > 0 && eased < free ? eased : 0;
}

static void press_commits(struct rate_core *core, struct rate_output *output, double *paced, double target_us, const struct rate_proxy *worst,
                          int64_t past_us)
{
    *paced = worst != NULL && worst->wait_us >= target_us / 2 ? pace_of(core, target_us, worst) : ease(core, *paced, past_us);
    if (*paced > 0)
        limit(output, *paced, RATE_COMMIT_QUEUE, worst == NULL ? 0 : worst->id, worst == NULL ? (struct address){0} : worst->address);
}

static const struct rate_proxy *look_at_proxies(struct rate_core *core, int64_t now_us)
{
    const struct rate_proxy *worst = NULL;

    core->released = core->released_lately = 0;
    core->starts_wait = false;
    core->live_grv_proxies = 0;
    for (int i = 0; i < RATE_PROXIES_MAX; i++) {
        const struct rate_proxy *proxy = &core->proxies[i];

        if (!lives(core, now_us, proxy->id, proxy->heard_us))
            continue;
        if (proxy->kind == ROLE_GRV_PROXY) {
            core->live_grv_proxies++;
            core->released += proxy->started.rate;
            core->released_lately += proxy->lately.rate;
            core->starts_wait |= proxy->wait_us > STARTS_WAIT_US;
        } else if (worst == NULL || proxy->wait_us > worst->wait_us) {
            worst = proxy;
        }
    }
    return worst;
}

void rate_core_update(struct rate_core *core, int64_t now_us)
{
    int64_t past_us = now_us - core->updated_us;
    const struct rate_proxy *worst = look_at_proxies(core, now_us);

    remember_released(core, now_us);
    core->updated_us = now_us;
    core->normal = core->batch = PLANTED_BUG(RATE_KEPT) ? core->normal : (struct rate_output){.rate = RATE_UNLIMITED};
    core->hold_id = 0;
    core->live_storage = core->live_logs = 0;
    core->worst_queue = core->worst_lag_us = core->worst_behind_us = core->worst_log_queue = 0;
    for (int i = 0; i < RATE_STORAGE_MAX; i++)
        if (lives(core, now_us, core->storage[i].id, core->storage[i].heard_us)) {
            look_at_storage(core, &core->storage[i], now_us, past_us);
            press_tags(core, &core->storage[i], now_us);
        }
    for (int i = 0; i < RATE_LOGS_MAX; i++)
        if (lives(core, now_us, core->logs[i].id, core->logs[i].heard_us))
            look_at_log(core, &core->logs[i], now_us, past_us);
    press_commits(core, &core->normal, &core->paced, (double)core->limits.commit_wait_us, worst, past_us);
    press_commits(core, &core->batch, &core->paced_batch, (double)core->limits.commit_wait_us * BATCH_TIGHTER, worst, past_us);
    if (core->tags != NULL)
        rate_tags_update(core->tags, now_us, past_us);
    core->hold_sets = core->hold_id != 0;
    if (core->normal.rate < RATE_FLOOR)
        core->normal.rate = RATE_FLOOR;
    if (core->batch.rate < RATE_FLOOR / 10)
        core->batch.rate = RATE_FLOOR / 10;
    if (core->batch.rate > core->normal.rate)
        core->batch = core->normal;
    assert(core->normal.rate >= RATE_FLOOR && core->batch.rate <= core->normal.rate);
}
