/* What the scan has found, and how it tells: traces, numbers and sentences for the status. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#include "net/buggify.h"
#include "net/mem.h"
#include "net/trace.h"
#include "roles/distributor/scan_internal.h"

enum { KEPT_BYTES_MAX = 50000 }; /* of findings, in a value of the database */

static const char *outcome_name(enum scan_outcome outcome)
{
    static const char *const names[] = {
        [SCAN_REPAIRING] = "is fetched again", [SCAN_REPAIRED] = "was fetched again", [SCAN_OPEN] = "nothing was changed",
        [SCAN_GONE] = "it is equal by now", [SCAN_WAITING] = "was given up, waits for a server for another copy"};

    return names[outcome];
}

/* ---- found ---- */

/* Before anything is done about it: whoever comes after us must know. */
static void save_soon(struct scan *scan)
{
    scan->changed = true;
    scan->saved_us = env_now_us(scan->op.env) - 2 * SCAN_SAVE_INTERVAL_US;
}

/* Content that differs is what no disk of its own excuses. Damage that a replica has noticed itself is a disk's. */
static void trace_finding(const struct scan *scan, const struct scan_finding *finding)
{
    for (uint32_t i = 0; i < finding->count; i++)
        TRACE(scan->op.env, finding->content ? SEVERITY_ERROR : SEVERITY_WARN_ALWAYS,
              finding->content ? "ShardReplicasDiffer" : "ShardReplicaDamaged", {"Shard", trace_bytes(finding->shard)},
              {"Begin", trace_bytes(finding->begin)}, {"End", trace_bytes(finding->end)}, {"Server", trace_id(finding->servers[i])},
              {"Bad", trace_int(finding->bad >> i & 1)}, {"Error", trace_int(scan->asks[i].answer.error)},
              {"Pairs", trace_int(scan->asks[i].answer.pairs)}, {"Bytes", trace_int((int64_t)scan->asks[i].answer.bytes)});
}

/* It begins in the shard under examination, which may be a piece of the one that it was found in. */
static bool is_open_here(const struct scan *scan, const struct scan_finding *finding)
{
    return finding->count > 0 && finding->outcome == SCAN_OPEN && bytes_compare(finding->begin, bytes_buffer_bytes(&scan->begin)) >= 0 &&
           bytes_compare(finding->begin, bytes_buffer_bytes(&scan->end)) < 0;
}

/* One that was found before and could not be mended is told once. */
static struct scan_finding *entry_for(struct scan *scan)
{
    for (uint32_t i = 0; i < SCAN_FINDINGS_MAX; i++) {
        struct scan_finding *finding = &scan->findings[i];

        if (is_open_here(scan, finding))
            return finding;
    }
    scan->state.found++;
    return &scan->findings[scan->finding_count++ % SCAN_FINDINGS_MAX];
}

struct scan_finding *scan_found(struct scan *scan)
{
    uint64_t known = scan->state.found;
    struct scan_finding *finding = entry_for(scan);
    int64_t since_us = scan->state.found == known ? finding->wall_us : env_wall_us(scan->op.env);
    const struct scan_judgement *judgement = &scan->judgement;
    struct bytes end = judgement->through.len > 0 ? judgement->through : bytes_buffer_bytes(&scan->end);

    arena_done(&finding->arena);
    *finding = (struct scan_finding){.count = scan->count, .bad = judgement->bad, .content = judgement->content, .outcome = SCAN_OPEN};
    scan_must(arena_copy(&finding->arena, bytes_buffer_bytes(&scan->begin), &finding->shard));
    scan_must(arena_copy(&finding->arena, bytes_buffer_bytes(&scan->from), &finding->begin));
    scan_must(arena_copy(&finding->arena, end, &finding->end));
    memcpy(finding->servers, scan->ids, sizeof(finding->servers));
    finding->wall_us = since_us;
    save_soon(scan);
    trace_finding(scan, finding);
    return finding;
}

void scan_outcome(struct scan *scan, struct scan_finding *finding, enum scan_outcome outcome)
{
    if (finding->outcome == outcome)
        return;
    finding->outcome = outcome;
    scan->state.repaired += outcome == SCAN_REPAIRED;
    save_soon(scan);
    TRACE(scan->op.env, SEVERITY_WARN_ALWAYS, outcome == SCAN_REPAIRED || (outcome == SCAN_GONE && finding->bad != 0) ? "ShardReplicaRepaired" : "ShardReplicaRepair",
          {"Shard", trace_bytes(finding->shard)}, {"Outcome", trace_str(outcome_name(outcome))});
}

static bool still_has_it(const struct scan *scan, const struct scan_finding *finding, const struct picture_shard *shard)
{
    const struct picture *picture = scan->distributor->picture;
    const struct team *team = teams_at(&picture->teams, shard->source);

    for (uint32_t i = 0; i < finding->count; i++)
        for (uint32_t k = 0; (finding->bad >> i & 1) != 0 && k < team->count; k++)
            if (picture->servers[team->servers[k]].id == finding->servers[i])
                return true;
    return false;
}

/* The bad copy was given up, and no other has come yet: the move there was taken back, for want of a server, and the next is to come. */
static bool lacks_copies(const struct scan *scan, const struct scan_finding *finding, const struct picture_shard *shard)
{
    uint32_t wanted = scan->distributor->settings.configuration.replication;

    return teams_at(&scan->distributor->picture->teams, shard->source)->count < (wanted < finding->count ? wanted : finding->count);
}

/* Whoever carried the move on: it is mended when the shard is at rest again with all its copies, in however many pieces; one that was to
 * move away, if it did. */
void scan_look(struct scan *scan)
{
    const struct picture *picture = scan->distributor->picture;

    for (uint32_t i = 0; i < SCAN_FINDINGS_MAX; i++) {
        struct scan_finding *finding = &scan->findings[i];
        bool open = finding->count > 0 && (finding->outcome == SCAN_REPAIRING || finding->outcome == SCAN_WAITING);
        int64_t at = open ? picture_shard_of(picture, finding->begin) : -1;

        if (at < 0 || picture->shards[at]->busy || picture->shards[at]->destination != TEAM_NONE)
            continue;
        if (lacks_copies(scan, finding, picture->shards[at])) {
            PROBE(scan->op.env, "a copy that a scan gave up has no server yet");
            scan_outcome(scan, finding, SCAN_WAITING);
        } else if (finding->away && still_has_it(scan, finding, picture->shards[at])) {
            PROBE(scan->op.env, "a shard did not get away from a damaged replica");
            finding->again = true;
            scan_outcome(scan, finding, SCAN_OPEN);
        } else {
            scan_outcome(scan, finding, SCAN_REPAIRED);
        }
    }
}

void scan_again(struct scan *scan)
{
    for (uint32_t i = 0; i < SCAN_FINDINGS_MAX; i++) {
        struct scan_finding *finding = &scan->findings[i];

        if (is_open_here(scan, finding) && finding->bad != 0)
            finding->again = true;
    }
}

void scan_is_equal(struct scan *scan)
{
    for (uint32_t i = 0; i < SCAN_FINDINGS_MAX; i++) {
        struct scan_finding *finding = &scan->findings[i];

        if (!is_open_here(scan, finding))
            continue;
        if (bytes_compare(finding->end, bytes_buffer_bytes(&scan->end)) > 0) { /* the shard was split: the rest may be what differs */
            scan_must(arena_copy(&finding->arena, bytes_buffer_bytes(&scan->end), &finding->begin));
            finding->again = true;
        } else {
            finding->again = false;
            scan_outcome(scan, finding, SCAN_GONE);
        }
    }
}

/* ---- kept ---- */

/* The i-th newest; NULL: there are not so many. */
static const struct scan_finding *newest(const struct scan *scan, uint32_t i)
{
    const struct scan_finding *finding = &scan->findings[(scan->finding_count + SCAN_FINDINGS_MAX - 1 - i) % SCAN_FINDINGS_MAX];

    return i < SCAN_FINDINGS_MAX && finding->count > 0 ? finding : NULL;
}

int scan_findings_keep(const struct scan *scan, struct arena *arena, struct scan_state *state)
{
    size_t bytes = 0;

    state->findings = arena_zalloc(arena, SCAN_FINDINGS_MAX * sizeof(*state->findings));
    state->findings_count = 0;
    if (state->findings == NULL)
        return ERROR_OUT_OF_MEMORY;
    for (uint32_t i = 0; newest(scan, i) != NULL; i++) {
        const struct scan_finding *finding = newest(scan, i);

        bytes += finding->shard.len + finding->begin.len + finding->end.len + sizeof(*finding);
        if (bytes > KEPT_BYTES_MAX)
            break;
        state->findings[state->findings_count++] = (struct scan_record){
            .shard = finding->shard,
            .begin = finding->begin,
            .end = finding->end,
            .servers = (uint64_t *)(uintptr_t)finding->servers, /* only read */
            .servers_count = finding->count,
            .bad = finding->bad,
            .content = finding->content,
            .wall_us = finding->wall_us,
            .outcome = finding->outcome,
            .away = finding->away,
        };
    }
    return 0;
}

/* As old as it is known to be: the oldest goes in first. What is open is looked at again at once. */
void scan_findings_restore(struct scan *scan, const struct scan_state *state)
{
    scan_findings_done(scan); /* of an earlier try */
    memset(scan->findings, 0, sizeof(scan->findings));
    scan->finding_count = 0;
    for (uint32_t i = state->findings_count < SCAN_FINDINGS_MAX ? state->findings_count : SCAN_FINDINGS_MAX; i-- > 0;) {
        const struct scan_record *record = &state->findings[i];
        struct scan_finding *finding = &scan->findings[scan->finding_count % SCAN_FINDINGS_MAX];

        if (record->servers_count == 0 || record->servers_count > TEAM_SERVERS_MAX || record->outcome >= SCAN_OUTCOMES)
            continue;
        *finding = (struct scan_finding){.count = record->servers_count, .bad = record->bad, .content = record->content,
                                         .wall_us = record->wall_us, .outcome = (enum scan_outcome)record->outcome, .away = record->away,
                                         .again = record->outcome == SCAN_OPEN};
        scan_must(arena_copy(&finding->arena, record->shard, &finding->shard));
        scan_must(arena_copy(&finding->arena, record->begin, &finding->begin));
        scan_must(arena_copy(&finding->arena, record->end, &finding->end));
        memcpy(finding->servers, record->servers, record->servers_count * sizeof(*record->servers));
        scan->finding_count++;
    }
}

void scan_findings_done(struct scan *scan)
{
    for (uint32_t i = 0; i < SCAN_FINDINGS_MAX; i++)
        arena_done(&scan->findings[i].arena);
}

/* ---- status ---- */

static bool can_be_looked_at(const struct scan *scan, const struct scan_finding *finding)
{
    const struct picture *picture = scan->distributor->picture;
    int64_t at = picture_shard_of(picture, finding->begin);

    return at >= 0 && scan_is_whole_team(scan, teams_at(&picture->teams, picture->shards[at]->source));
}

const char *scan_unrest(const struct distributor *self)
{
    const struct scan *scan = self->scan;

    for (uint32_t i = 0; scan != NULL && i < SCAN_FINDINGS_MAX; i++) {
        const struct scan_finding *finding = &scan->findings[i];

        if (finding->count > 0 && finding->outcome == SCAN_REPAIRING)
            return "a damaged replica is fetched again";
        if (finding->count > 0 && finding->again && can_be_looked_at(scan, finding))
            return "the consistency scan is to look again at what it has found";
    }
    if (scan != NULL && scan->examining && (scan->mode != SCAN_WALK || scan->suspected))
        return "the consistency scan looks closer at a shard";
    return NULL;
}

static size_t print_servers(const struct distributor *self, const struct scan_finding *finding, char *out, size_t size)
{
    size_t used = 0;

    for (uint32_t i = 0; i < finding->count && used < size; i++) {
        const struct tracker *tracker = tracker_of(self, finding->servers[i]);
        char address[ADDRESS_TEXT_MAX] = "gone";

        if (finding->bad != 0 && (finding->bad >> i & 1) == 0)
            continue;
        if (tracker != NULL)
            address_print(tracker->endpoint.address, address);
        used += (size_t)snprintf(out + used, size - used, "%s%016" PRIx64 " (%s)", used == 0 ? "" : ", ", finding->servers[i], address);
    }
    return used;
}

/* "2026-03-01 14:05:09 UTC": days since 1970 as a date of the proleptic Gregorian calendar, counted from the 1st of March. */
static void print_utc(int64_t wall_us, char *out, size_t size)
{
    int64_t seconds = wall_us / 1000000, days = seconds / 86400 + 719468, era = days / 146097, of_era = days % 146097;
    int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year + year / 4 - year / 100), month = (5 * of_year + 2) / 153;

    snprintf(out, size, "%04d-%02d-%02d %02d:%02d:%02d UTC", (int)(year + era * 400 + (month >= 10)),
             (int)(month < 10 ? month + 3 : month - 9), (int)(of_year - (153 * month + 2) / 5 + 1), (int)(seconds % 86400 / 3600),
             (int)(seconds % 3600 / 60), (int)(seconds % 60));
}

static void note_finding(const struct distributor *self, const struct scan_finding *finding, struct role_status *status, struct arena *arena)
{
    char begin[128], end[128], servers[400] = "", time_text[100], text[1000];

    print_servers(self, finding, servers, sizeof(servers));
    print_utc(finding->wall_us, time_text, sizeof(time_text));
    bytes_print(finding->begin, begin, sizeof(begin));
    bytes_print(finding->end, end, sizeof(end));
    if (finding->bad == 0)
        snprintf(text, sizeof(text), "%s: the replicas of [%s, %s) are not equal, and it can't be told which is right: servers %s; nothing was changed.",
                 time_text, begin, end, servers);
    else
        snprintf(text, sizeof(text), "%s: [%s, %s) is %s on server %s; %s.", time_text, begin, end,
                 finding->content ? "not what the other replicas hold" : "damaged", servers, outcome_name(finding->outcome));
    role_text(status, arena, finding->outcome == SCAN_REPAIRED ? "scan_repaired" : "scan_finding", bytes_of_string(text));
}

static int64_t progress_of(const struct scan *scan)
{
    const struct picture *picture = scan->distributor->picture;
    int64_t at = picture_shard_of(picture, bytes_buffer_bytes(&scan->at));

    return at <= 0 ? 0 : at * 100 / (int64_t)picture->shard_count;
}

void scan_status(const struct distributor *self, struct role_status *status, struct arena *arena)
{
    const struct scan *scan = self->scan;
    const struct scan_state *state;

    if (scan == NULL || !scan->restored)
        return;
    state = &scan->state;
    role_metric(status, arena, "scan_known", 1);
    role_metric(status, arena, "scan_suspended", self->settings.scan_off);
    role_metric(status, arena, "scan_paused", scan->paused);
    role_metric(status, arena, "scan_bytes_per_second", self->env->knobs.dd_scan_bytes_per_second);
    role_metric(status, arena, "scan_round", (int64_t)state->round);
    role_metric(status, arena, "scan_round_began", state->began_us / 1000000);
    role_metric(status, arena, "scan_round_percent", progress_of(scan));
    role_metric(status, arena, "scan_round_shards", (int64_t)state->shards);
    role_metric(status, arena, "scan_round_skipped", (int64_t)state->skipped);
    role_metric(status, arena, "scan_round_bytes", (int64_t)state->bytes);
    role_metric(status, arena, "scan_last_began", state->last_began_us / 1000000);
    role_metric(status, arena, "scan_last_ended", state->last_ended_us / 1000000);
    role_metric(status, arena, "scan_last_shards", (int64_t)state->last_shards);
    role_metric(status, arena, "scan_last_skipped", (int64_t)state->last_skipped);
    role_metric(status, arena, "scan_last_bytes", (int64_t)state->last_bytes);
    role_metric(status, arena, "scan_found", (int64_t)state->found);
    role_metric(status, arena, "scan_repaired", (int64_t)state->repaired);
    for (uint32_t i = 0; i < SCAN_FINDINGS_MAX; i++)
        if (scan->findings[i].count > 0)
            note_finding(self, &scan->findings[i], status, arena);
}
