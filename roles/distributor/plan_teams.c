/* Where data goes: a modest number of candidate teams, and the best of them for a shard.
 *
 * Any set of servers in different zones would do, but if every such set were in use, the loss of any few servers at once would
 * lose some shard. So each server is in a few teams only (TEAMS_PER_SERVER, with partners as different as they can be: a dead
 * server's shards are copied from and to several others). Candidates stay as long as their servers are wanted. Where there are too
 * few zones for a whole team, the best that is safe is put together shard by shard. */
#include <assert.h>
#include <string.h>

#include "net/mem.h"
#include "roles/distributor/plan_internal.h"

enum { TEAMS_PER_SERVER = 5, ATTEMPTS = 4, NEARNESS_BITS = 6, NEARNESS_SHIFT = 36 /* above any cost */ };

static_assert(TEAM_SERVERS_MAX * (TEAM_SERVERS_MAX - 1) / 2 < 1 << NEARNESS_BITS, "pairs of a team fit");

/* ---- candidates ---- */

static uint64_t mix(uint64_t a)
{
    a = (a ^ (a >> 31)) * UINT64_C(0x7fb5d329728ea185);
    a = (a ^ (a >> 27)) * UINT64_C(0x81dadef4bc2dd44d);
    return a ^ (a >> 33);
}

static uint64_t digest_of_wanted(const struct planning *planning)
{
    uint64_t digest = planning->rules->replication;

    for (uint32_t i = 0; i < planning->picture->server_count; i++) {
        const struct picture_server *server = &planning->picture->servers[i];

        if (server->wanted)
            digest += mix(server->id ^ mix(server->zone + i) ^ mix(server->data_center + 3 * server->hall + 7 * server->rack));
    }
    return digest == 0 ? 1 : digest;
}

static uint32_t next_partner(const struct planning *planning, const struct team *team, const uint32_t *in_teams, uint64_t salt);

/* How near the members of the best team are that a server can be in: it takes the furthest one after another. */
static uint32_t nearness_from(const struct planning *planning, uint32_t first, const uint32_t *none)
{
    struct team team = {.servers = {first}, .count = 1};
    uint32_t partner;

    while (team.count < planning->rules->replication && (partner = next_partner(planning, &team, none, 0)) != UINT32_MAX)
        team.servers[team.count++] = partner;
    return planning_nearness(planning->picture, &team);
}

/* It was made when there was no better one for any of its members. */
static bool is_near(const struct planning *planning, const struct team *team)
{
    uint32_t nearness = planning_nearness(planning->picture, team);
    uint32_t *none = nearness == 0 ? NULL : mem_zalloc((planning->picture->server_count + 1) * sizeof(*none));
    bool near = nearness > 0;

    for (uint32_t i = 0; i < team->count && near; i++)
        near = nearness > nearness_from(planning, team->servers[i], none);
    mem_free(none);
    return near;
}

static bool is_whole(const struct planning *planning, const struct team *team)
{
    if (team->count != planning->rules->replication || planning_zones(planning->picture, team->servers, team->count) != team->count)
        return false;
    for (uint32_t i = 0; i < team->count; i++)
        if (!planning->picture->servers[team->servers[i]].wanted)
            return false;
    return true;
}

static void keep_whole(struct planning *planning, uint32_t *in_teams)
{
    struct picture *picture = planning->picture;
    uint32_t kept = 0;

    for (uint32_t i = 0; i < picture->candidate_count; i++) {
        uint32_t id = picture->candidates[i];
        const struct team *team = teams_at(&picture->teams, id);

        if (!is_whole(planning, team) || is_near(planning, team)) {
            teams_unref(&picture->teams, id);
            continue;
        }
        for (uint32_t k = 0; k < team->count; k++)
            in_teams[team->servers[k]]++;
        picture->candidates[kept++] = id;
    }
    picture->candidate_count = kept;
}

/* How near two servers are: a shared data centre is worse than a shared hall or rack, which it contains. What is not given is not shared. */
static uint32_t nearness_of(const struct picture_server *a, const struct picture_server *b)
{
    return (a->data_center != 0 && a->data_center == b->data_center ? 1U << 2 * NEARNESS_BITS : 0) +
           (a->hall != 0 && a->hall == b->hall ? 1U << NEARNESS_BITS : 0) + (a->rack != 0 && a->rack == b->rack);
}

static uint32_t nearness(const struct picture *picture, const struct team *team, const struct picture_server *b)
{
    uint32_t sum = 0;

    for (uint32_t i = 0; i < team->count; i++)
        sum += nearness_of(&picture->servers[team->servers[i]], b);
    return sum;
}

uint32_t planning_nearness(const struct picture *picture, const struct team *team)
{
    uint32_t sum = 0;

    for (uint32_t i = 0; i < team->count; i++)
        for (uint32_t k = 0; k < i; k++)
            sum += nearness_of(&picture->servers[team->servers[k]], &picture->servers[team->servers[i]]);
    return sum;
}

static bool zone_taken(const struct picture *picture, const struct team *team, uint64_t zone)
{
    for (uint32_t i = 0; i < team->count; i++)
        if (picture->servers[team->servers[i]].zone == zone)
            return true;
    return false;
}

/* The next member: as far away as possible, then of the right engine, then in the fewest teams; equal ones by a number that differs
 * from try to try. UINT32_MAX: no zone is left. */
static uint32_t next_partner(const struct planning *planning, const struct team *team, const uint32_t *in_teams, uint64_t salt)
{
    const struct picture *picture = planning->picture;
    uint64_t best_rank = 0, best_tie = 0;
    uint32_t best = UINT32_MAX;

    for (uint32_t i = 0; i < picture->server_count; i++) {
        const struct picture_server *server = &picture->servers[i];
        uint64_t rank, tie = mix(server->id ^ salt);

        if (!server->wanted || zone_taken(picture, team, server->zone))
            continue;
        rank = (uint64_t)nearness(picture, team, server) << 40 | (uint64_t)(server->engine != planning->rules->engine) << 36 |
               in_teams[i];
        if (best == UINT32_MAX || rank < best_rank || (rank == best_rank && tie < best_tie))
            best = i, best_rank = rank, best_tie = tie;
    }
    return best;
}

static bool is_candidate(const struct picture *picture, uint32_t id)
{
    for (uint32_t i = 0; i < picture->candidate_count; i++)
        if (picture->candidates[i] == id)
            return true;
    return false;
}

static void add_candidate(struct picture *picture, uint32_t id)
{
    if (picture->candidate_count == picture->candidate_capacity) {
        picture->candidate_capacity = picture->candidate_capacity == 0 ? 16 : 2 * picture->candidate_capacity;
        picture->candidates = mem_realloc(picture->candidates, picture->candidate_capacity * sizeof(*picture->candidates));
    }
    picture->candidates[picture->candidate_count++] = id;
}

/* One more team with `first` in it. False when none was found that is not there yet. */
static bool make_team(struct planning *planning, uint32_t first, uint32_t *in_teams)
{
    struct picture *picture = planning->picture;

    for (uint64_t attempt = 0; attempt < ATTEMPTS; attempt++) {
        struct team team = {.servers = {first}, .count = 1};
        uint64_t salt = mix(picture->servers[first].id + in_teams[first] * ATTEMPTS + attempt);
        uint32_t id, partner;

        while (team.count < planning->rules->replication &&
               (partner = next_partner(planning, &team, in_teams, salt)) != UINT32_MAX)
            team.servers[team.count++] = partner;
        if (team.count < planning->rules->replication)
            return false;
        id = teams_intern(&picture->teams, team.servers, team.count);
        if (is_candidate(picture, id)) {
            teams_unref(&picture->teams, id);
            continue;
        }
        add_candidate(picture, id);
        for (uint32_t i = 0; i < team.count; i++)
            in_teams[team.servers[i]]++;
        return true;
    }
    return false;
}

static uint32_t least_teamed(const struct planning *planning, const uint32_t *in_teams, const bool *done)
{
    uint32_t found = UINT32_MAX;

    for (uint32_t i = 0; i < planning->picture->server_count; i++)
        if (planning->picture->servers[i].wanted && !done[i] && (found == UINT32_MAX || in_teams[i] < in_teams[found]))
            found = i;
    return found;
}

void planning_candidates(struct planning *planning)
{
    struct picture *picture = planning->picture;
    uint64_t digest = digest_of_wanted(planning);
    uint32_t *in_teams, server;
    bool *done;

    if (digest == picture->candidates_for)
        return;
    in_teams = mem_zalloc((picture->server_count + 1) * sizeof(*in_teams));
    done = mem_zalloc(picture->server_count + 1);
    keep_whole(planning, in_teams);
    while ((server = least_teamed(planning, in_teams, done)) != UINT32_MAX)
        if (in_teams[server] >= TEAMS_PER_SERVER || !make_team(planning, server, in_teams))
            done[server] = true;
    picture->candidates_for = digest;
    mem_free(in_teams);
    mem_free(done);
}

/* ---- a place for a shard ---- */

/* Lower is better; 0: as it should be. */
static uint32_t badness(const struct planning *planning, const struct team *team)
{
    const struct picture *picture = planning->picture;
    uint32_t replication = planning->rules->replication, living[TEAM_SERVERS_MAX], count = 0, unwanted = 0, zones;

    for (uint32_t i = 0; i < team->count; i++) {
        const struct picture_server *server = &picture->servers[team->servers[i]];

        if (!server->known || server->failed)
            continue;
        living[count++] = team->servers[i];
        unwanted += !server->wanted;
    }
    zones = planning_zones(picture, living, count);
    return (zones < replication ? replication - zones : 0) * 1000 + (count - zones) * 100 + unwanted * 10 +
           (team->count > replication ? team->count - replication : 0);
}

/* In thousandths: how full it is against the mean, bytes and load alike; what is on its way is in the numbers already. */
static int64_t fullness(const struct planning *planning, const struct picture_server *server)
{
    double bytes = (double)server->bytes / (double)planning->mean_bytes, load = (double)server->load / (double)planning->mean_load;

    return (int64_t)(1000 * (bytes + load));
}

/* What it costs to go there: a copy for each new member, more to a full or busy one. -1: it may not be done. */
static int64_t cost_of(const struct planning *planning, const struct team *from, const struct team *to)
{
    int64_t cost = 0;

    for (uint32_t i = 0; i < to->count; i++) {
        const struct picture_server *server = &planning->picture->servers[to->servers[i]];

        if (team_has(from, to->servers[i]))
            continue;
        if (!server->may_take)
            return -1;
        cost += 4000 + fullness(planning, server) + 500 * (int64_t)planning->destinations[to->servers[i]] +
                (server->engine != planning->rules->engine ? 2000 : 0);
    }
    return cost;
}

/* The cheapest of the candidates whose members are furthest apart; all of them nearer than `nearness`. */
static enum place best_candidate(struct planning *planning, const struct picture_shard *shard, uint32_t nearness, struct team *ret_team)
{
    const struct picture *picture = planning->picture;
    const struct team *from = teams_at(&picture->teams, shard->source);
    enum place place = PLACE_NONE;
    int64_t best = INT64_MAX;

    planning_looks(planning, picture->candidate_count);
    for (uint32_t i = 0; i < picture->candidate_count; i++) {
        const struct team *to = teams_at(&picture->teams, picture->candidates[i]);
        int64_t cost;

        if (to->health.nearness >= nearness)
            continue;
        cost = cost_of(planning, from, to);
        if (cost < 0)
            continue;
        cost += (int64_t)to->health.nearness << NEARNESS_SHIFT;
        if (cost >= best)
            continue;
        if (!planning_has_room(planning, shard, to)) {
            place = place == PLACE_NONE ? PLACE_BUSY : place;
            continue;
        }
        best = cost;
        *ret_team = *to;
        place = PLACE_FOUND;
    }
    return place;
}

static void add_member(const struct planning *planning, struct team *team, uint32_t server, bool new_zone_only)
{
    if (team->count < planning->rules->replication && !team_has(team, server) &&
        !(new_zone_only && zone_taken(planning->picture, team, planning->picture->servers[server].zone)))
        team->servers[team->count++] = server;
}

/* Copies that there are: wanted ones first, one a zone. */
static void keep_members(const struct planning *planning, const struct team *from, bool wanted, bool new_zone_only,
                         struct team *team)
{
    for (uint32_t i = 0; i < from->count; i++) {
        const struct picture_server *server = &planning->picture->servers[from->servers[i]];

        if (server->known && !server->failed && server->wanted == wanted)
            add_member(planning, team, from->servers[i], new_zone_only);
    }
}

/* Of the servers in zones that the team is not in, those furthest away; of these the emptiest. */
static uint32_t emptiest(const struct planning *planning, const struct team *team)
{
    const struct picture *picture = planning->picture;
    uint32_t found = UINT32_MAX, least = UINT32_MAX;
    int64_t full = 0;

    for (uint32_t i = 0; i < picture->server_count; i++) {
        uint32_t near = nearness(picture, team, &picture->servers[i]);
        int64_t own = fullness(planning, &picture->servers[i]);

        if (!picture->servers[i].may_take || zone_taken(picture, team, picture->servers[i].zone))
            continue;
        if (found == UINT32_MAX || near < least || (near == least && own < full))
            found = i, least = near, full = own;
    }
    return found;
}

/* Too few zones for a whole team, or none of those is to be had: as many zones as there are, and no copy less than there was. */
static enum place put_together(struct planning *planning, const struct picture_shard *shard, struct team *ret_team)
{
    const struct team *from = teams_at(&planning->picture->teams, shard->source);
    struct team team = {.count = 0};
    uint32_t server, replication = planning->rules->replication;

    keep_members(planning, from, true, true, &team);
    while (team.count < replication && (server = emptiest(planning, &team)) != UINT32_MAX)
        team.servers[team.count++] = server;
    keep_members(planning, from, false, true, &team);
    keep_members(planning, from, true, false, &team);
    keep_members(planning, from, false, false, &team);
    if (team.count == 0 || team.count < (from->count < replication ? from->count : replication))
        return PLACE_NONE;
    if (badness(planning, &team) >= badness(planning, from))
        return PLACE_NONE;
    *ret_team = team;
    return planning_has_room(planning, shard, &team) ? PLACE_FOUND : PLACE_BUSY;
}

/* Some of the servers that have the shard, when they suffice: nothing needs to be copied. */
static bool shrink(struct planning *planning, const struct team *from, struct team *ret_team)
{
    struct team team = {.count = 0};

    if (from->count <= planning->rules->replication)
        return false;
    keep_members(planning, from, true, true, &team);
    if (team.count < planning->rules->replication)
        return false;
    *ret_team = team;
    return true;
}

enum place planning_place(struct planning *planning, const struct picture_shard *shard, struct team *ret_team)
{
    enum place place;

    if (shrink(planning, teams_at(&planning->picture->teams, shard->source), ret_team))
        return planning->moves < planning->rules->moves_max ? PLACE_FOUND : PLACE_BUSY;
    place = best_candidate(planning, shard, UINT32_MAX, ret_team);
    return place == PLACE_NONE ? put_together(planning, shard, ret_team) : place;
}

enum place planning_spread_place(struct planning *planning, const struct picture_shard *shard, struct team *ret_team)
{
    struct team_health *health = &teams_at(&planning->picture->teams, shard->source)->health;
    enum place place = health->no_further ? PLACE_NONE : best_candidate(planning, shard, health->nearness, ret_team);

    health->no_further |= place == PLACE_NONE;
    return place;
}

uint32_t planning_nearness_min(const struct planning *planning)
{
    const struct picture *picture = planning->picture;
    uint32_t least = UINT32_MAX;

    for (uint32_t i = 0; i < picture->candidate_count; i++) {
        uint32_t nearness = teams_at(&picture->teams, picture->candidates[i])->health.nearness;

        least = nearness < least ? nearness : least;
    }
    return least;
}
