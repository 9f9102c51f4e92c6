/* What is done when all shards are whole: sizes, and the servers' shares of bytes and load.
 *
 * Balance: let a server's share be its bytes (or its load) over the mean. A move is made only when the gap between the highest and
 * the lowest share passes a bound, and only if it lowers the sum of the squares of all shares, bytes and load together, by at least
 * a fixed part: that number can't fall for ever, so that balancing ends, and undoing a move would raise it. What is on its way
 * already counts where it goes. A shard that has moved stays for a while, since its loads have to be measured anew.
 *
 * Size: a shard is split above a size that follows the total; pieces come out at least half as big, and neighbours are merged only
 * if the result is at most a third: none of the two undoes the other. What a split or a merge writes lies in the shard map's own shards, with
 * the boundary's key in each record's key: were these cut as finely as others, each cut there would call for the next, with ever longer
 * keys. So they have a bound of their own, far above what the cuts can write, and are not cut for their load. */
#include <assert.h>

#include "net/mem.h"
#include "roles/distributor/plan_internal.h"

enum {
    SUBJECTS = 12,     /* shards of the fullest server that are tried */
    BALANCE_MOVES = 8, /* of one plan */
    GAIN_MIN = 4,      /* thousandths of a square: a fifteenth of a mean share, moved between equals */
};

struct share {
    double bytes, load;
};

static struct share share_of(const struct planning *planning, const struct picture_server *server)
{
    return (struct share){(double)server->bytes / (double)planning->mean_bytes, (double)server->load / (double)planning->mean_load};
}

/* ---- splits ---- */

int64_t planning_load_bound(const struct planning *planning)
{
    int64_t part = planning->mean_load / planning->rules->load_parts;

    return part > planning->rules->load_floor ? part : planning->rules->load_floor;
}

int64_t planning_bytes_bound(const struct planning *planning, size_t at)
{
    return at < planning->map_from ? planning->plan->summary.split_bytes : PLAN_MAP_SHARD_BYTES;
}

static void split_one(struct planning *planning, size_t at)
{
    const struct picture_shard *shard = planning->picture->shards[at];
    int64_t bound = planning_bytes_bound(planning, at), reads = picture_shard_reads(shard), writes = shard->writes;
    const struct team *team = teams_at(&planning->picture->teams, shard->source);
    int64_t load = writes + (team->count == 0 ? 0 : reads / team->count);
    struct plan_action *action;

    if (shard->bytes > bound) {
        int64_t pieces = (shard->bytes + bound - 1) / bound;

        pieces = pieces > PLAN_CUTS_MAX + 1 ? PLAN_CUTS_MAX + 1 : pieces;
        action = planning_add(planning, PLAN_SPLIT, PLAN_SPLIT_BYTES, at);
        if (action != NULL)
            action->chunk = shard->bytes / pieces;
    } else if (load > planning_load_bound(planning) && at < planning->map_from) {
        planning_add(planning, PLAN_SPLIT, 2 * writes > load ? PLAN_SPLIT_WRITES : PLAN_SPLIT_READS, at);
    }
}

void planning_split(struct planning *planning)
{
    const struct picture *picture = planning->picture;

    planning_looks(planning, picture->shard_count);
    for (size_t i = 0; i < picture->shard_count; i++) {
        const struct picture_shard *shard = picture->shards[i];

        if (!planning->ordered[i] && !shard->busy && shard->destination == TEAM_NONE && shard->measured && shard->whole_until_us <= planning->now_us && shard->rest_until_us <= planning->now_us)
            split_one(planning, i);
    }
}

/* ---- balance ---- */

bool planning_is_at_rest(const struct planning *planning, const struct picture_shard *shard)
{
    return !shard->busy && shard->rest_until_us <= planning->now_us && shard->destination == TEAM_NONE && shard->measured;
}

bool planning_is_settled(const struct planning *planning, const struct picture_shard *shard)
{
    return planning_is_at_rest(planning, shard) &&
           (shard->moved_us == 0 || shard->moved_us + planning->rules->settle_us <= planning->now_us);
}

bool planning_is_half_full(const struct planning *planning)
{
    return 2 * planning->moves >= planning->rules->moves_max + 1;
}

/* Copies that stand nearer to each other than they must. Each such move lowers one number of the shard, and none for balance raises it.
 * Where there is none further apart is asked once a team, and where all are busy a few times: not once for each of thousands of shards. */
void planning_spread(struct planning *planning)
{
    const struct picture *picture = planning->picture;
    uint32_t least = planning_nearness_min(planning), done = 0, busy = 0;

    for (size_t i = 0; i < picture->shard_count && done < BALANCE_MOVES && busy < PLAN_BUSY_MAX && !planning_is_half_full(planning); i++) {
        const struct picture_shard *shard = picture->shards[i];
        const struct team_health *health = &teams_at(&picture->teams, shard->source)->health;
        enum place place;
        struct team team;

        planning_looks(planning, 1);
        if (health->nearness <= least || health->zones < planning->rules->replication || planning->ordered[i] || !planning_is_settled(planning, shard))
            continue;
        place = planning_spread_place(planning, shard, &team);
        busy = place == PLACE_BUSY ? busy + 1 : place == PLACE_FOUND ? 0 : busy;
        if (place != PLACE_FOUND)
            continue;
        planning_move(planning, PLAN_SPREAD, i, team.servers, team.count);
        done++;
    }
}

static double square_change(double share, double by)
{
    return (share + by) * (share + by) - share * share;
}

/* How much the sum of squares falls when the shard goes from one team to the other, in thousandths. */
static double gain_of(const struct planning *planning, const struct picture_shard *shard, const struct team *from, const struct team *to)
{
    double bytes = (double)shard->bytes / (double)planning->mean_bytes;
    double load = (double)(shard->writes + picture_shard_reads(shard) / from->count) / (double)planning->mean_load;
    double change = 0;

    for (uint32_t i = 0; i < from->count; i++) {
        struct share share = share_of(planning, &planning->picture->servers[from->servers[i]]);

        if (!team_has(to, from->servers[i]))
            change += square_change(share.bytes, -bytes) + square_change(share.load, -load);
    }
    for (uint32_t i = 0; i < to->count; i++) {
        struct share share = share_of(planning, &planning->picture->servers[to->servers[i]]);

        if (!team_has(from, to->servers[i]))
            change += square_change(share.bytes, bytes) + square_change(share.load, load);
    }
    return -1000 * change;
}

uint32_t planning_new_members(const struct planning *planning, const struct team *from, const struct team *to)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < to->count; i++) {
        if (team_has(from, to->servers[i]))
            continue;
        if (!planning->picture->servers[to->servers[i]].may_take)
            return 0;
        count++;
    }
    return count;
}

/* The fullest server, and what it has above the emptiest. */
struct gap {
    uint32_t fullest, emptiest;
    int64_t amount;
};

struct balance_move {
    size_t shard;
    uint32_t team; /* TEAM_NONE: nothing found */
    double worth;
};

/* The best place for one shard away from the fullest server: what is gained for each copy made. */
static void try_shard(struct planning *planning, size_t at, uint32_t fullest, bool by_load, struct balance_move *best)
{
    const struct picture *picture = planning->picture;
    const struct picture_shard *shard = picture->shards[at];
    const struct team *from = teams_at(&picture->teams, shard->source);
    struct share full = share_of(planning, &picture->servers[fullest]);

    planning_looks(planning, picture->candidate_count);
    for (uint32_t i = 0; i < picture->candidate_count; i++) {
        const struct team *to = teams_at(&picture->teams, picture->candidates[i]);
        uint32_t copies = planning_new_members(planning, from, to);
        double gain;
        bool fuller = false;

        if (copies == 0 || team_has(to, fullest) || to->count < from->count || !planning_has_room(planning, shard, to) ||
            to->health.nearness > from->health.nearness)
            continue;
        gain = gain_of(planning, shard, from, to);
        for (uint32_t k = 0; k < to->count; k++) {
            struct share share = share_of(planning, &picture->servers[to->servers[k]]);

            if (!team_has(from, to->servers[k])) /* who keeps the shard may be as full: two that have all are, exactly */
                fuller |= by_load ? share.load >= full.load : share.bytes >= full.bytes;
        }
        if (fuller || gain < GAIN_MIN || gain / copies <= best->worth)
            continue;
        *best = (struct balance_move){.shard = at, .team = picture->candidates[i], .worth = gain / copies};
    }
}

static int64_t amount_of(const struct planning *planning, const struct picture_shard *shard, bool by_load)
{
    const struct team *team = teams_at(&planning->picture->teams, shard->source);

    return by_load ? shard->writes + picture_shard_reads(shard) / (team->count == 0 ? 1 : team->count) : shard->bytes;
}

/* One that the emptiest has as well can't go there: many of the same size could fill the list and leave no room for those that can. */
static bool may_balance(const struct planning *planning, size_t at, const struct gap *gap)
{
    const struct picture_shard *shard = planning->picture->shards[at];
    const struct team *team = teams_at(&planning->picture->teams, shard->source);

    return planning_is_settled(planning, shard) && team_has(team, gap->fullest) && !team_has(team, gap->emptiest) &&
           team->health.zones >= planning->rules->replication;
}

/* The largest shards of the server that don't overshoot: those that bring the two together with the fewest moves. */
static uint32_t subjects_of(struct planning *planning, const struct gap *gap, bool by_load, size_t subjects[SUBJECTS])
{
    uint32_t count = 0;

    planning_looks(planning, planning->picture->shard_count);
    for (size_t i = 0; i < planning->picture->shard_count; i++) {
        int64_t amount = amount_of(planning, planning->picture->shards[i], by_load);
        uint32_t k;

        if (amount <= 0 || amount > gap->amount || !may_balance(planning, i, gap))
            continue;
        for (k = count; k > 0 && amount_of(planning, planning->picture->shards[subjects[k - 1]], by_load) < amount; k--)
            if (k < SUBJECTS)
                subjects[k] = subjects[k - 1];
        if (k < SUBJECTS)
            subjects[k] = i;
        count += count < SUBJECTS && k < SUBJECTS;
    }
    return count;
}

static int64_t measure(const struct picture_server *server, bool by_load)
{
    return by_load ? server->load : server->bytes;
}

/* The fullest server and what it has above the emptiest one that may take more. */
static bool find_gap(const struct planning *planning, bool by_load, const bool *tried, struct gap *ret)
{
    const struct picture *picture = planning->picture;
    uint32_t fullest = UINT32_MAX, emptiest = UINT32_MAX;
    int64_t mean = by_load ? planning->mean_load : planning->mean_bytes;
    int64_t least = by_load ? planning->rules->load_floor : planning->plan->summary.split_bytes / 2;

    for (uint32_t i = 0; i < picture->server_count; i++) {
        const struct picture_server *server = &picture->servers[i];
        int64_t amount = measure(server, by_load);

        if (!server->wanted)
            continue;
        if (!tried[i] && (fullest == UINT32_MAX || amount > measure(&picture->servers[fullest], by_load)))
            fullest = i;
        if (server->may_take && (emptiest == UINT32_MAX || amount < measure(&picture->servers[emptiest], by_load)))
            emptiest = i;
    }
    if (fullest == UINT32_MAX || emptiest == UINT32_MAX)
        return false;
    *ret = (struct gap){fullest, emptiest, measure(&picture->servers[fullest], by_load) - measure(&picture->servers[emptiest], by_load)};
    return ret->amount > least && ret->amount > mean / 100 * planning->rules->balance_percent;
}

/* What the move will have done counts for the moves after it. */
static void count_move(struct planning *planning, const struct balance_move *move)
{
    struct picture *picture = planning->picture;
    const struct picture_shard *shard = picture->shards[move->shard];
    const struct team *from = teams_at(&picture->teams, shard->source), *to = teams_at(&picture->teams, move->team);
    int64_t load = shard->writes + picture_shard_reads(shard) / from->count;

    for (uint32_t i = 0; i < from->count; i++) {
        picture->servers[from->servers[i]].bytes -= shard->bytes;
        picture->servers[from->servers[i]].load -= load;
    }
    for (uint32_t i = 0; i < to->count; i++) {
        picture->servers[to->servers[i]].bytes += shard->bytes;
        picture->servers[to->servers[i]].load += load;
    }
}

static bool balance_one(struct planning *planning, bool by_load, const struct gap *gap)
{
    struct balance_move best = {.team = TEAM_NONE};
    size_t subjects[SUBJECTS];
    uint32_t count = subjects_of(planning, gap, by_load, subjects);

    for (uint32_t i = 0; i < count; i++)
        if (!planning->ordered[subjects[i]])
            try_shard(planning, subjects[i], gap->fullest, by_load, &best);
    if (best.team == TEAM_NONE)
        return false;
    planning_move(planning, by_load ? PLAN_BALANCE_LOAD : PLAN_BALANCE_BYTES, best.shard,
                  teams_at(&planning->picture->teams, best.team)->servers,
                  teams_at(&planning->picture->teams, best.team)->count);
    count_move(planning, &best);
    return true;
}

/* From the fullest server that can give something; half of the moves in flight at most, so that a shard in need finds room. */
static void balance_by(struct planning *planning, bool by_load, bool *tried)
{
    struct gap gap;

    for (uint32_t i = 0; i < BALANCE_MOVES; i++) {
        if (planning_is_half_full(planning) || !find_gap(planning, by_load, tried, &gap))
            return;
        if (!balance_one(planning, by_load, &gap))
            tried[gap.fullest] = true;
    }
}

void planning_balance(struct planning *planning)
{
    bool *tried;

    if (planning->plan->summary.few_copies > planning->plan->summary.stuck)
        return; /* healing first */
    tried = mem_zalloc(2 * (planning->picture->server_count + 1));
    balance_by(planning, false, tried);
    balance_by(planning, true, tried + planning->picture->server_count);
    mem_free(tried);
}
