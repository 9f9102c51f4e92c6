/* The order of a plan: what the servers are worth, what each team is worth, which shards need help, and then the rest.
 *
 * A shard's need follows from its team alone, so each team is judged once and a shard costs an array access. Those in need are
 * sorted by counting (a few classes), and served until the bounds of moves in flight are reached: the next plan goes on. Shards that
 * nobody can help (no zone is left) are counted and left as they are: giving up a dead server's copy without another place would
 * only throw away what may come back. */
#include "roles/distributor/plan.h"

#include <assert.h>
#include <string.h>

#include "net/mem.h"
#include "roles/distributor/plan_internal.h"
#include "txn/system_keys.h"

enum { NEEDS = 12, NEED_NONE = 255, COPIES_CLASSES = 4 };

const char *plan_reason_name(enum plan_reason reason)
{
    static const char *const names[PLAN_REASONS] = {
        [PLAN_FEW_COPIES] = "few_copies",         [PLAN_SAME_ZONE] = "same_zone",
        [PLAN_UNWANTED] = "server_to_be_emptied", [PLAN_TEAM_SIZE] = "team_size",
        [PLAN_RESUME] = "resumed",                [PLAN_SPREAD] = "spread",
        [PLAN_SPLIT_BYTES] = "split_bytes",
        [PLAN_SPLIT_WRITES] = "split_writes",     [PLAN_SPLIT_READS] = "split_reads",
        [PLAN_BALANCE_BYTES] = "balance_bytes",   [PLAN_BALANCE_LOAD] = "balance_load",
        [PLAN_MERGE_SMALL] = "merge",             [PLAN_REPAIR] = "repair",
    };

    return (unsigned)reason < PLAN_REASONS ? names[reason] : "unknown";
}

/* ---- adding ---- */

struct plan_action *planning_add(struct planning *planning, enum plan_kind kind, enum plan_reason reason, size_t shard)
{
    struct plan *plan = planning->plan;

    if (plan->count == PLAN_ACTIONS_MAX)
        return NULL;
    planning->ordered[shard] = true;
    planning->ordered[shard + 1] |= kind == PLAN_MERGE;
    plan->actions[plan->count] = (struct plan_action){.kind = kind, .reason = reason, .shard = shard};
    return &plan->actions[plan->count++];
}

static int64_t bytes_of_shard(const struct picture_shard *shard)
{
    return shard->bytes < 0 ? 0 : shard->bytes;
}

/* The living source that has least to do counts for the move, as in picture_move_begin(). */
static void count_source(struct planning *planning, const struct team *from, int64_t bytes)
{
    uint32_t least = UINT32_MAX;

    for (uint32_t i = 0; i < from->count; i++) {
        uint32_t s = from->servers[i];

        if (!planning->picture->servers[s].failed && (least == UINT32_MAX || planning->sources[s] < planning->sources[least]))
            least = s;
    }
    if (least == UINT32_MAX)
        return;
    planning->sources[least]++;
    planning->source_bytes[least] += bytes;
}

void planning_move(struct planning *planning, enum plan_reason reason, size_t shard, const uint32_t *team, uint32_t count)
{
    struct plan_action *action = planning_add(planning, PLAN_MOVE, reason, shard);
    const struct team *from = teams_at(&planning->picture->teams, planning->picture->shards[shard]->source);
    int64_t bytes = bytes_of_shard(planning->picture->shards[shard]);
    uint32_t fetching = 0;

    if (action == NULL)
        return;
    memcpy(action->team, team, count * sizeof(*team));
    action->team_count = count;
    planning->moves++;
    for (uint32_t i = 0; i < count; i++)
        if (!team_has(from, team[i])) {
            planning->destinations[team[i]]++;
            planning->destination_bytes[team[i]] += bytes;
            fetching++;
        }
    if (fetching > 0)
        count_source(planning, from, bytes);
}

/* A move lasts as long as the history, whatever its size: so there may be many small ones, and of large ones one at least. */
static bool fits(const struct planning *planning, uint32_t moves, uint32_t moves_max, int64_t under_way, int64_t bytes)
{
    int64_t bytes_max = planning->rules->move_bytes_per_server / (planning->balancing ? 2 : 1);

    return moves < moves_max && (moves == 0 || under_way + bytes <= bytes_max);
}

bool planning_has_room(const struct planning *planning, const struct picture_shard *shard, const struct team *team)
{
    const struct team *from = teams_at(&planning->picture->teams, shard->source);
    int64_t bytes = bytes_of_shard(shard);
    bool source = false, fetches = false;

    if (planning->moves >= planning->rules->moves_max || planning->plan->count == PLAN_ACTIONS_MAX)
        return false;
    for (uint32_t i = 0; i < team->count; i++) {
        if (team_has(from, team->servers[i]))
            continue;
        fetches = true;
        if (!fits(planning, planning->destinations[team->servers[i]], planning->rules->moves_per_destination,
                  planning->destination_bytes[team->servers[i]], bytes))
            return false;
    }
    for (uint32_t i = 0; i < from->count; i++)
        source |= !planning->picture->servers[from->servers[i]].failed &&
                  fits(planning, planning->sources[from->servers[i]], planning->rules->moves_per_source,
                       planning->source_bytes[from->servers[i]], bytes);
    return source || !fetches;
}

/* ---- servers and teams ---- */

/* Servers of another engine are emptied one after another: the first one only counts as unwanted. */
static bool is_of_other_engine(const struct planning *planning, const struct picture_server *server)
{
    return server->id != 0 && server->known && !server->failed && !server->excluded && server->engine != planning->rules->engine;
}

static void choose_draining(struct planning *planning)
{
    const struct picture *picture = planning->picture;
    uint32_t found = UINT32_MAX;

    for (uint32_t i = 0; i < picture->server_count; i++)
        if (is_of_other_engine(planning, &picture->servers[i]) &&
            (found == UINT32_MAX || picture->servers[i].id < picture->servers[found].id))
            found = i;
    planning->plan->summary.draining = found == UINT32_MAX ? 0 : found + 1;
}

static void judge_servers(struct planning *planning)
{
    struct picture *picture = planning->picture;

    choose_draining(planning);
    for (uint32_t i = 0; i < picture->server_count; i++) {
        struct picture_server *server = &picture->servers[i];

        server->wanted = server->id != 0 && server->known && !server->failed && !server->excluded &&
                         planning->plan->summary.draining != i + 1;
        server->may_take = server->wanted && !server->full && server->reachable;
        server->bytes = server->load = 0;
        server->shards = 0;
        planning->wanted += server->wanted;
        planning->sources[i] = server->sources;
        planning->destinations[i] = server->destinations;
        planning->source_bytes[i] = server->source_bytes;
        planning->destination_bytes[i] = server->destination_bytes;
    }
}

uint32_t planning_zones(const struct picture *picture, const uint32_t *servers, uint32_t count)
{
    uint32_t zones = 0;

    for (uint32_t i = 0; i < count; i++) {
        bool is_new = true;

        for (uint32_t k = 0; k < i; k++)
            is_new &= picture->servers[servers[k]].zone != picture->servers[servers[i]].zone;
        zones += is_new;
    }
    return zones;
}

static void judge_team(const struct picture *picture, struct team *team)
{
    uint32_t living[TEAM_SERVERS_MAX], reachable[TEAM_SERVERS_MAX], reachable_count = 0;

    team->health = (struct team_health){0};
    for (uint32_t i = 0; i < team->count; i++) {
        const struct picture_server *server = &picture->servers[team->servers[i]];

        if (!server->known)
            continue;
        if (server->reachable)
            reachable[reachable_count++] = team->servers[i];
        if (server->failed)
            continue;
        living[team->health.living++] = team->servers[i];
        team->health.unwanted += !server->wanted;
    }
    team->health.nearness = planning_nearness(picture, team);
    team->health.zones = (uint8_t)planning_zones(picture, living, team->health.living);
    team->health.reachable = (uint8_t)planning_zones(picture, reachable, reachable_count);
}

static void judge_teams(struct planning *planning)
{
    struct teams *teams = &planning->picture->teams;

    for (uint32_t id = 0; id < teams->count; id++)
        if (teams->all[id].refs > 0)
            judge_team(planning->picture, &teams->all[id]);
}

static uint32_t wanted_zones(const struct picture *picture)
{
    uint32_t zones = 0;

    for (uint32_t i = 0; i < picture->server_count; i++) {
        bool is_new = picture->servers[i].wanted;

        for (uint32_t k = 0; k < i && is_new; k++)
            is_new = !picture->servers[k].wanted || picture->servers[k].zone != picture->servers[i].zone;
        zones += is_new;
    }
    return zones;
}

/* ---- what the servers will hold ---- */

static void add_shard(struct planning *planning, const struct picture_shard *shard)
{
    struct picture *picture = planning->picture;
    uint32_t holder = picture_shard_holder(shard);
    const struct team *source = teams_at(&picture->teams, shard->source), *holds = teams_at(&picture->teams, holder);
    bool moves = holder != shard->source || shard->destination != TEAM_NONE;
    int64_t bytes = shard->bytes < 0 ? 0 : shard->bytes, reads = picture_shard_reads(shard);

    for (uint32_t i = 0; i < holds->count; i++) {
        picture->servers[holds->servers[i]].bytes += bytes;
        picture->servers[holds->servers[i]].load += shard->writes + reads / holds->count;
    }
    for (uint32_t i = 0; i < source->count; i++)
        picture->servers[source->servers[i]].shards++;
    for (uint32_t i = 0; i < holds->count && moves; i++)
        picture->servers[holds->servers[i]].shards++;
    planning->plan->summary.total_bytes += bytes;
    planning->plan->summary.moving += moves;
    if (shard->busy && moves)
        planning->plan->summary.moving_bytes += bytes;
}

static int64_t clamp(int64_t value, int64_t low, int64_t high)
{
    return value < low ? low : value > high ? high : value;
}

static void add_up(struct planning *planning)
{
    const struct plan_rules *rules = planning->rules;
    struct picture *picture = planning->picture;
    struct plan_summary *summary = &planning->plan->summary;
    int64_t bytes = 0, load = 0;

    planning_looks(planning, picture->shard_count);
    for (size_t i = 0; i < picture->shard_count; i++)
        add_shard(planning, picture->shards[i]);
    for (uint32_t i = 0; i < picture->server_count; i++) {
        bytes += picture->servers[i].bytes;
        load += picture->servers[i].load;
    }
    planning->mean_bytes = planning->wanted == 0 ? 1 : bytes / planning->wanted + 1;
    planning->mean_load = planning->wanted == 0 ? 1 : load / planning->wanted + 1;
    summary->split_bytes = clamp(summary->total_bytes / rules->shards_target, rules->shard_bytes_min, rules->shard_bytes_max);
}

/* ---- needs ---- */

/* What is wrong with a team, 0: nothing; the lower of two others is the more urgent. */
static uint8_t need_of(const struct planning *planning, const struct team *team)
{
    const struct team_health *health = &team->health;
    uint32_t replication = planning->rules->replication;

    if (health->zones < replication && health->living < team->count)
        return health->zones == 0 ? NEED_NONE : health->zones; /* 1, 2: copies left */
    if (health->zones < replication)
        return health->zones == 0             ? NEED_NONE
               : health->living < replication ? health->zones
                                              : COPIES_CLASSES; /* enough copies, but zones with two */
    if (health->zones < health->living)
        return COPIES_CLASSES;
    if (health->unwanted > 0)
        return COPIES_CLASSES + 1;
    if (team->count > replication)
        return COPIES_CLASSES + 2;
    return 0;
}

static enum plan_reason reason_of(uint8_t need)
{
    return need < COPIES_CLASSES        ? PLAN_FEW_COPIES
           : need == COPIES_CLASSES     ? PLAN_SAME_ZONE
           : need == COPIES_CLASSES + 1 ? PLAN_UNWANTED
           : need == COPIES_CLASSES + 2 ? PLAN_TEAM_SIZE
                                        : PLAN_RESUME;
}

static void summarize(struct planning *planning, const struct team *source)
{
    struct plan_summary *summary = &planning->plan->summary;

    if (source->health.zones < summary->copies_min)
        summary->copies_min = source->health.zones;
    if (source->health.reachable < summary->reachable_min)
        summary->reachable_min = source->health.reachable;
    summary->missing += source->health.zones == 0;
    summary->few_copies += source->health.zones < planning->rules->replication;
}

static uint8_t need_of_shard(struct planning *planning, const struct picture_shard *shard)
{
    const struct team *source = teams_at(&planning->picture->teams, shard->source);
    uint8_t need = need_of(planning, source);

    summarize(planning, source);
    if (shard->busy || shard->rest_until_us > planning->now_us)
        return NEED_NONE;
    if (shard->destination != TEAM_NONE) /* nobody carries it on */
        return need != 0 && need < COPIES_CLASSES ? need : need == NEED_NONE ? need : COPIES_CLASSES + 3;
    return need == 0 ? NEED_NONE : need;
}

/* A move that was begun: to where it goes, as long as that is a good place. */
static void resume(struct planning *planning, size_t at, enum plan_reason reason)
{
    struct picture *picture = planning->picture;
    const struct picture_shard *shard = picture->shards[at];
    const struct team *to = teams_at(&picture->teams, shard->destination), *from = teams_at(&picture->teams, shard->source);
    struct team other;

    if (to->health.living == to->count && to->health.zones == to->count && to->health.unwanted == 0 &&
        to->count >= planning->rules->replication) {
        if (planning_has_room(planning, shard, to))
            planning_move(planning, reason == PLAN_FEW_COPIES ? reason : PLAN_RESUME, at, to->servers, to->count);
        return;
    }
    if (need_of(planning, from) == 0) {
        planning_add(planning, PLAN_CANCEL, PLAN_RESUME, at);
        return;
    }
    switch (planning_place(planning, shard, &other)) {
    case PLACE_FOUND:
        planning_move(planning, reason, at, other.servers, other.count);
        break;
    case PLACE_BUSY:
        break;
    case PLACE_NONE: /* the destination is of no use any more, and no other is to be had */
        planning->plan->summary.stuck++;
        planning_add(planning, PLAN_CANCEL, PLAN_RESUME, at);
        break;
    }
}

/* Returns false when all that could help is busy. */
static bool help(struct planning *planning, size_t at, uint8_t need)
{
    const struct picture_shard *shard = planning->picture->shards[at];
    struct team team;

    planning_looks(planning, 1);
    if (shard->destination != TEAM_NONE) {
        resume(planning, at, reason_of(need));
        return true;
    }
    switch (planning_place(planning, shard, &team)) {
    case PLACE_FOUND:
        planning_move(planning, reason_of(need), at, team.servers, team.count);
        return true;
    case PLACE_BUSY:
        return false;
    case PLACE_NONE:
        planning->plan->summary.stuck++;
        return true;
    }
    return true;
}

struct needs {
    uint32_t *shards; /* owned; sorted by need */
    uint8_t *need;    /* owned; of each shard */
    size_t count;
};

/* Sorts by counting. */
static void gather_needs(struct planning *planning, struct needs *needs)
{
    struct picture *picture = planning->picture;
    size_t start[NEEDS + 1] = {0};

    planning_looks(planning, 2 * picture->shard_count);
    needs->need = mem_alloc(picture->shard_count + 1);
    for (size_t i = 0; i < picture->shard_count; i++) {
        needs->need[i] = need_of_shard(planning, picture->shards[i]);
        if (needs->need[i] == NEED_NONE)
            continue;
        start[needs->need[i] + 1]++;
        needs->count++;
        planning->plan->summary.waiting_bytes += picture->shards[i]->bytes < 0 ? 0 : picture->shards[i]->bytes;
    }
    for (size_t i = 1; i <= NEEDS; i++)
        start[i] += start[i - 1];
    needs->shards = mem_alloc((needs->count + 1) * sizeof(*needs->shards));
    for (size_t i = 0; i < picture->shard_count; i++)
        if (needs->need[i] != NEED_NONE)
            needs->shards[start[needs->need[i]]++] = (uint32_t)i;
    planning->plan->summary.waiting = needs->count;
}

static void heal(struct planning *planning)
{
    struct needs needs = {0};
    uint32_t busy = 0;

    gather_needs(planning, &needs);
    for (size_t i = 0; i < needs.count && busy < PLAN_BUSY_MAX && planning->rules->move; i++) {
        if (planning->plan->count == PLAN_ACTIONS_MAX || planning->moves >= planning->rules->moves_max)
            break;
        busy = help(planning, needs.shards[i], needs.need[needs.shards[i]]) ? 0 : busy + 1;
    }
    mem_free(needs.shards);
    mem_free(needs.need);
}

/* ---- the plan ---- */

/* The first shard with keys of the shard map; the last of all when the map's place is not known. */
static size_t map_from(const struct picture *picture)
{
    int64_t at = picture_shard_of(picture, KEY_KEY_SERVERS_PREFIX);

    return at < 0 ? picture->shard_count : (size_t)at;
}

void plan_make(struct picture *picture, const struct plan_rules *rules, int64_t now_us, struct plan *ret_plan)
{
    struct planning planning = {.picture = picture, .rules = rules, .plan = ret_plan, .now_us = now_us, .moves = picture->moves};
    struct plan_summary *summary = &ret_plan->summary;

    ret_plan->count = 0;
    *summary = (struct plan_summary){.shards = picture->shard_count,
                                     .copies_min = TEAM_SERVERS_MAX,
                                     .reachable_min = TEAM_SERVERS_MAX,
                                     .zones_wanted = rules->replication};
    planning.sources = mem_zalloc((picture->server_count + 1) * sizeof(*planning.sources));
    planning.destinations = mem_zalloc((picture->server_count + 1) * sizeof(*planning.destinations));
    planning.source_bytes = mem_zalloc((picture->server_count + 1) * sizeof(*planning.source_bytes));
    planning.destination_bytes = mem_zalloc((picture->server_count + 1) * sizeof(*planning.destination_bytes));
    planning.ordered = mem_zalloc(picture->shard_count + 1);
    planning.map_from = map_from(picture);
    judge_servers(&planning);
    planning_candidates(&planning);
    judge_teams(&planning);
    summary->zones = wanted_zones(picture);
    summary->teams = picture->candidate_count;
    add_up(&planning);
    heal(&planning);
    planning.balancing = true;
    if (rules->move && rules->balance) {
        planning_split(&planning);
        planning_merge(&planning); /* before those that are to be one are spread one by one */
        planning_spread(&planning);
        planning_balance(&planning);
    }
    mem_free(planning.sources);
    mem_free(planning.destinations);
    mem_free(planning.source_bytes);
    mem_free(planning.destination_bytes);
    mem_free(planning.ordered);
}

bool plan_may_remove(const struct picture *picture, const struct plan_summary *summary, uint32_t slot)
{
    const struct picture_server *server = &picture->servers[slot];

    return server->id != 0 && server->shards == 0 && server->sources == 0 && server->destinations == 0 &&
           (server->failed || server->excluded || summary->draining == slot + 1);
}
