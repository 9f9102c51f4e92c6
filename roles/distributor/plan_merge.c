/* Small cold neighbours become one shard.
 *
 * Those on one team merge: nothing is copied. A run of neighbours on several teams is brought to one of these first, all of it at once and each
 * shard once: a move lasts its five seconds however small it is. What keeps that from going on for ever: a shard goes only to where a neighbour
 * stands or goes, that neighbour stays until they have merged, neighbours on one team merge before either goes elsewhere, and what is on its
 * way counts as merged, so that no more are sent than may merge. Merges come after splits and before moves for balance: a result is at
 * most a third of what would be split again, and what is to be one is neither spread nor balanced in parts. */
#include <string.h>

#include "roles/distributor/move_keys.h"
#include "roles/distributor/plan_internal.h"

enum {
    MERGES = 16,     /* of one plan */
    MERGED_PART = 3, /* a merged shard has at most 1/3 of the size at which it would be split */
    COLD_PART = 4,   /* and at most 1/4 of the load */
};

static bool may_merge(const struct planning *planning, size_t at, int64_t *bytes, int64_t *load)
{
    const struct picture_shard *shard = planning->picture->shards[at];
    const struct team *team = teams_at(&planning->picture->teams, shard->source);

    if (!planning_is_at_rest(planning, shard) || team->health.zones < planning->rules->replication || planning->ordered[at])
        return false;
    *bytes += shard->bytes;
    *load += shard->writes + picture_shard_reads(shard);
    return true;
}

static bool goes_to(const struct picture_shard *shard, uint32_t team)
{
    return picture_shard_holder(shard) == team && shard->source != team;
}

/* A neighbour is on its way to the shard's team, to merge with it there: it stays. */
static bool is_awaited(const struct picture *picture, size_t at)
{
    uint32_t team = picture->shards[at]->source;

    return (at > 0 && goes_to(picture->shards[at - 1], team)) || (at + 1 < picture->shard_count && goes_to(picture->shards[at + 1], team));
}

static bool reaches_over_system(const struct picture *picture, size_t at)
{
    return !move_keys_may_merge(picture_shard_begin(picture->shards[at]), picture_shard_begin(picture->shards[at + 1]));
}

/* Shards `at` and at + 1 as one. */
static int64_t merged_bytes_max(const struct planning *planning, size_t at)
{
    return planning_bytes_bound(planning, at + 1) / MERGED_PART;
}

/* A neighbour stands on the shard's team already: the two merge first. Else a shard that has just come would be left behind, and follow, for ever.
 * `at` and `next` are neighbours. */
static bool belongs_to(const struct planning *planning, size_t at, size_t next)
{
    const struct picture_shard *shard = planning->picture->shards[at], *neighbour = planning->picture->shards[next];
    size_t left = at < next ? at : next;

    return shard->source == neighbour->source && !reaches_over_system(planning->picture, left) &&
           (!neighbour->measured || neighbour->bytes + shard->bytes <= merged_bytes_max(planning, left));
}

static bool is_spoken_for(const struct planning *planning, size_t at)
{
    return (at > 0 && belongs_to(planning, at, at - 1)) ||
           (at + 1 < planning->picture->shard_count && belongs_to(planning, at, at + 1));
}

/* Neighbours that could be one shard. */
struct run {
    size_t first, count;
    int64_t bytes, load;
};

static struct run run_from(struct planning *planning, size_t first, size_t count_max)
{
    const struct picture *picture = planning->picture;
    int64_t load_max = planning_load_bound(planning) / COLD_PART;
    struct run run = {.first = first};

    for (size_t i = first; i < picture->shard_count && run.count < count_max; i++) {
        int64_t bytes = run.bytes, load = run.load;

        planning_looks(planning, 1);
        if ((i > first && reaches_over_system(picture, i - 1)) || !may_merge(planning, i, &bytes, &load))
            break;
        if (i > first && (bytes > merged_bytes_max(planning, i - 1) || load > load_max))
            break;
        run = (struct run){first, run.count + 1, bytes, load};
    }
    return run;
}

/* Neighbours on one team: nothing has to be copied. Returns how many there will be less. */
static uint32_t merge_pairs(struct planning *planning, const struct run *run)
{
    struct picture_shard **shards = planning->picture->shards;
    uint32_t merged = 0;

    for (size_t i = run->first; i + 1 < run->first + run->count; i++)
        if (shards[i]->source == shards[i + 1]->source && planning_add(planning, PLAN_MERGE, PLAN_MERGE_SMALL, i) != NULL) {
            merged++;
            i++; /* the next one is spoken for */
        }
    return merged;
}

/* Copies may come to each of its servers. */
static bool takes(const struct planning *planning, uint32_t team)
{
    const struct team *to = teams_at(&planning->picture->teams, team);

    for (uint32_t i = 0; i < to->count; i++)
        if (!planning->picture->servers[to->servers[i]].may_take)
            return false;
    return to->health.zones >= planning->rules->replication;
}

/* Those on the left of the run that are, or will be, on one team: what was begun before and goes on. TEAM_NONE: there is no room beside them. */
static uint32_t team_before(struct planning *planning, const struct run *run)
{
    const struct picture *picture = planning->picture;
    int64_t bytes = run->bytes, load = run->load;
    uint32_t team;

    if (run->first == 0 || reaches_over_system(picture, run->first - 1))
        return TEAM_NONE;
    team = picture_shard_holder(picture->shards[run->first - 1]);
    for (size_t i = run->first; i-- > 0 && picture_shard_holder(picture->shards[i]) == team && !reaches_over_system(picture, i);) {
        planning_looks(planning, 1);
        bytes += picture->shards[i]->bytes < 0 ? 0 : picture->shards[i]->bytes;
        load += picture->shards[i]->writes + picture_shard_reads(picture->shards[i]);
        if (bytes > merged_bytes_max(planning, run->first) || load > planning_load_bound(planning) / COLD_PART)
            return TEAM_NONE;
    }
    return takes(planning, team) ? team : TEAM_NONE;
}

/* What is on a team already, of the run: an empty shard counts too. */
static int64_t weight_on(struct planning *planning, const struct run *run, uint32_t team)
{
    const struct picture *picture = planning->picture;
    int64_t weight = 0;

    planning_looks(planning, run->count);
    for (size_t i = run->first; i < run->first + run->count; i++)
        weight += picture->shards[i]->source == team ? picture->shards[i]->bytes + 1 : 0;
    return weight;
}

/* Where a run comes together, and the shard around which it does. */
struct meeting {
    struct team team; /* none: nowhere */
    size_t at;
};

/* On the team whose members are furthest apart; of these on the one that others go to already, else where most of the run is. Where all are nearer
 * than they must be, the run goes further apart at once: to merge first and to be spread then would be two moves. */
static struct meeting meeting_of(struct planning *planning, const struct run *run)
{
    const struct picture *picture = planning->picture;
    uint32_t before = team_before(planning, run), best = before;
    int64_t best_weight = before == TEAM_NONE ? 0 : INT64_MAX;
    size_t at = run->first;
    struct team further;

    for (size_t i = run->first; i < run->first + run->count; i++) {
        uint32_t team = picture->shards[i]->source;
        uint32_t near = teams_at(&picture->teams, team)->health.nearness;
        uint32_t best_near = best == TEAM_NONE ? UINT32_MAX : teams_at(&picture->teams, best)->health.nearness;
        int64_t weight = weight_on(planning, run, team);

        if (near > best_near || (near == best_near && weight <= best_weight) || !takes(planning, team))
            continue;
        best = team, best_weight = weight, at = i;
    }
    if (best != TEAM_NONE && teams_at(&picture->teams, best)->health.nearness > planning_nearness_min(planning) &&
        planning_spread_place(planning, picture->shards[at], &further) == PLACE_FOUND)
        return (struct meeting){further, run->first};
    return (struct meeting){*teams_at(&picture->teams, best), at};
}

static bool is_there(const struct picture *picture, size_t at, const struct team *team)
{
    const struct team *source = teams_at(&picture->teams, picture->shards[at]->source);

    return source->count == team->count && memcmp(source->servers, team->servers, team->count * sizeof(*team->servers)) == 0;
}

/* PLACE_NONE: it stays, for now. */
static enum place send(struct planning *planning, size_t at, const struct team *to)
{
    const struct picture *picture = planning->picture;
    const struct picture_shard *shard = picture->shards[at];
    const struct team *from = teams_at(&picture->teams, shard->source);

    if (planning->ordered[at] || is_awaited(picture, at) || !planning_is_settled(planning, shard) || is_spoken_for(planning, at))
        return PLACE_NONE;
    if (planning_new_members(planning, from, to) == 0 || to->health.nearness > from->health.nearness)
        return PLACE_NONE;
    if (planning_is_half_full(planning) || !planning_has_room(planning, shard, to))
        return PLACE_BUSY;
    planning_move(planning, to->health.nearness < from->health.nearness ? PLAN_SPREAD : PLAN_MERGE_SMALL, at, to->servers, to->count);
    return PLACE_FOUND;
}

/* On one side of the middle, from there outwards: what has come touches what is there, however many there is room for now. */
static enum place bring_side(struct planning *planning, const struct meeting *meeting, bool left, size_t count, uint32_t *sent)
{
    enum place place = PLACE_FOUND;

    for (size_t n = 0; n < count && place == PLACE_FOUND; n++) {
        size_t at = left ? meeting->at - n : meeting->at + n;

        if (is_there(planning->picture, at, &meeting->team))
            continue;
        place = send(planning, at, &meeting->team);
        *sent += place == PLACE_FOUND;
    }
    return place;
}

/* All at once, and no byte twice: a move lasts its five seconds however small it is, and two by two a hundred shards were one after seven
 * rounds. Those that there is no room for now wait for it: they are not sent elsewhere. */
static uint32_t bring_together(struct planning *planning, const struct run *run)
{
    struct meeting meeting = meeting_of(planning, run);
    uint32_t sent = 0;
    enum place right, left;

    if (meeting.team.count == 0)
        return 0;
    right = bring_side(planning, &meeting, false, run->first + run->count - meeting.at, &sent);
    left = bring_side(planning, &meeting, true, meeting.at - run->first + 1, &sent);
    if (right == PLACE_BUSY || left == PLACE_BUSY)
        memset(planning->ordered + run->first, true, run->count);
    return sent;
}

/* On their way to merge. */
static int64_t awaited(struct planning *planning)
{
    const struct picture *picture = planning->picture;
    int64_t count = 0;

    planning_looks(planning, picture->shard_count);
    for (size_t i = 0; i < picture->shard_count; i++) {
        uint32_t to = picture_shard_holder(picture->shards[i]);

        count += to != picture->shards[i]->source && ((i > 0 && picture_shard_holder(picture->shards[i - 1]) == to) ||
                                                      (i + 1 < picture->shard_count && picture_shard_holder(picture->shards[i + 1]) == to));
    }
    return count;
}

void planning_merge(struct planning *planning)
{
    const struct picture *picture = planning->picture;
    int64_t room = (int64_t)picture->shard_count - planning->rules->shards_per_server_min * (int64_t)planning->wanted;
    uint32_t sent, nowhere = 0;
    struct run run;

    if (room <= 0)
        return;
    room -= awaited(planning);
    room = room < MERGES ? room : MERGES;
    for (size_t i = 0; i + 1 < picture->shard_count && room > 0; i += run.count > 1 ? run.count : 1) {
        run = run_from(planning, i, (size_t)room + 1);
        if (run.count < 2)
            continue;
        room -= merge_pairs(planning, &run);
        if (planning_is_half_full(planning) || nowhere == PLAN_BUSY_MAX)
            continue;
        sent = bring_together(planning, &run);
        nowhere = sent == 0 ? nowhere + 1 : 0;
        room -= sent;
    }
}
