#include "tests/unit/roles/plan_model.h"

#include <criterion/criterion.h>
#include <math.h>

#include "net/list.h"
#include "net/mem.h"
#include "tests/unit/draw.h"
#include "txn/keys.h"
#include "txn/messages.h"

enum { FAILED_AFTER_US = 10 * 1000000 };
static const double KEYS = 255.0 * 16777216; /* below \xff */

double model_uniform(double x)
{
    return x;
}

double model_hot_range(double x)
{
    const double from = 0.42, width = 0.01, hot = 0.9;
    double inside = x < from ? 0 : x > from + width ? width : x - from;

    return hot * inside / width + (1 - hot) * x;
}

double model_zipf(double x)
{
    return log1p(999 * x) / log(1000);
}

/* ---- the cluster ---- */

void model_init(struct model *model, uint32_t replication, uint64_t seed)
{
    *model = (struct model){.picture = picture_create(),
                            .bytes_at = model_uniform,
                            .writes_at = model_uniform,
                            .reads_at = model_uniform,
                            .version = 1,
                            .now_us = 1000000,
                            .random = seed};
    model->rules = (struct plan_rules){.replication = replication,
                                       .engine = ENGINE_LMDB,
                                       .shard_bytes_min = 10000000,
                                       .shard_bytes_max = 500000000,
                                       .shards_target = 500,
                                       .load_floor = 100000,
                                       .load_parts = 8,
                                       .shards_per_server_min = 1,
                                       .balance_percent = 25,
                                       .settle_us = 10000000,
                                       .moves_max = 64,
                                       .moves_per_source = 4,
                                       .moves_per_destination = 4,
                                       .move_bytes_per_server = INT64_C(1) << 40,
                                       .move = true,
                                       .balance = true};
}

void model_done(struct model *model)
{
    for (unsigned i = 0; i < MODEL_MOVES_MAX; i++)
        if (model->moves[i].under_way)
            picture_move_end(model->picture, &model->moves[i].move);
    picture_destroy(model->picture);
}

uint32_t model_add_server(struct model *model, uint64_t id, uint32_t zone)
{
    uint32_t slot = picture_server(model->picture, id);
    struct picture_server *server = &model->picture->servers[slot];

    server->zone = zone + 1;
    server->engine = ENGINE_LMDB;
    server->known = true;
    return slot;
}

static struct bytes key_of(double x, uint8_t out[8])
{
    put_be64(out, (uint64_t)(x * KEYS) << 32);
    return bytes_of(out, 8);
}

static double place_of(struct bytes key)
{
    if (key.len == 0)
        return 0;
    return key.ptr[0] == 0xff ? 1 : (double)(get_be64(key.ptr) >> 32) / KEYS;
}

void model_make_shards(struct model *model, uint32_t count)
{
    struct picture *picture = model->picture;

    for (uint32_t i = 0; i <= count; i++) {
        uint32_t team[TEAM_SERVERS_MAX], members = 0;
        uint8_t key[8];
        struct bytes begin = i == count ? KEY_SYSTEM_BEGIN : key_of((double)i / count, key);

        for (uint32_t k = 0; k < picture->server_count && members < model->rules.replication; k++) {
            uint32_t slot = (i + k) % picture->server_count;
            bool taken = false;

            for (uint32_t m = 0; m < members; m++)
                taken |= picture->servers[team[m]].zone == picture->servers[slot].zone;
            if (!taken)
                team[members++] = slot;
        }
        picture_set_shard(picture, i == 0 ? bytes_none() : begin, team, members, NULL, 0, model->version);
    }
}

void model_kill(struct model *model, uint32_t slot)
{
    model->dead[slot] = true;
    model->dead_since[slot] = model->now_us;
    model->picture->servers[slot].reachable = false;
}

void model_return(struct model *model, uint32_t slot)
{
    model->dead[slot] = false;
    model->picture->servers[slot].reachable = true;
    model->picture->servers[slot].failed = false;
}

/* ---- measuring ---- */

static double part(model_density *density, double from, double to)
{
    return density(to) - density(from);
}

static void measure(struct model *model)
{
    struct picture *picture = model->picture;

    for (size_t i = 0; i < picture->shard_count; i++) {
        struct picture_shard *shard = picture->shards[i];
        const struct team *team = teams_at(&picture->teams, shard->source);
        struct bytes begin = picture_shard_begin(shard);
        double from = place_of(begin), to = place_of(picture_shard_end(picture, i));

        for (uint32_t k = 0; k < team->count; k++)
            if (!model->dead[team->servers[k]])
                picture_loads(picture, team->servers[k], begin, model->version, (int64_t)(model->bytes * part(model->bytes_at, from, to)),
                              (int64_t)(model->writes * part(model->writes_at, from, to)),
                              (int64_t)(model->reads * part(model->reads_at, from, to) / team->count));
    }
}

/* ---- doing ---- */

static uint32_t living_of(const struct model *model, const struct team *team)
{
    uint32_t living = 0;

    for (uint32_t i = 0; i < team->count; i++)
        living += !model->dead[team->servers[i]];
    return living;
}

static void check_destination(const struct model *model, const struct picture_shard *shard, const struct plan_action *action)
{
    const struct picture *picture = model->picture;
    const struct team *from = teams_at(&picture->teams, shard->source);
    uint32_t living = living_of(model, from), wanted = living < model->rules.replication ? living : model->rules.replication;

    cr_assert_geq(action->team_count, wanted, "a move may not lower the number of copies");
    for (uint32_t i = 0; i < action->team_count; i++) {
        cr_assert(picture->servers[action->team[i]].known && !picture->servers[action->team[i]].failed);
        cr_assert(team_has(from, action->team[i]) || picture->servers[action->team[i]].may_take);
        for (uint32_t k = 0; k < i && model->plan.summary.zones >= model->rules.replication; k++)
            cr_assert_neq(picture->servers[action->team[i]].zone, picture->servers[action->team[k]].zone,
                          "two copies in one zone");
    }
}

static void begin_move(struct model *model, struct picture_shard *shard, const struct plan_action *action)
{
    struct picture *picture = model->picture;
    const struct team source = *teams_at(&picture->teams, shard->source);
    unsigned at = 0;

    while (model->moves[at].under_way)
        cr_assert_lt(++at, MODEL_MOVES_MAX);
    check_destination(model, shard, action);
    picture_set_shard(picture, picture_shard_begin(shard), source.servers, source.count, action->team, action->team_count,
                      ++model->version);
    picture_move_begin(picture, shard, shard->destination, &model->moves[at].move);
    model->moves[at].under_way = true;
    model->started++;
    model->balance_moves += action->reason == PLAN_BALANCE_BYTES || action->reason == PLAN_BALANCE_LOAD;
}

static void end_move(struct model *model, struct model_move *m)
{
    struct picture *picture = model->picture;
    struct picture_shard *shard = m->move.shard;
    const struct team to = *teams_at(&picture->teams, m->move.destination);

    if (living_of(model, &to) == to.count) {
        picture_move_end(picture, &m->move);
        picture_set_shard(picture, picture_shard_begin(shard), to.servers, to.count, NULL, 0, ++model->version);
        shard->moved_us = model->now_us;
        model->finished++;
        m->under_way = false;
        return;
    }
    for (uint32_t i = 0; i < to.count; i++)
        if (picture->servers[to.servers[i]].failed) { /* the next plan finds the shard in the middle of a move */
            picture_move_end(picture, &m->move);
            m->under_way = false;
            return;
        }
}

/* Where the cumulative density passes the middle between two places, or each `parts`-th. */
static double cut_at(model_density *density, double from, double to, double fraction)
{
    double wanted = density(from) + fraction * part(density, from, to), low = from, high = to;

    for (unsigned i = 0; i < 60; i++) {
        double middle = (low + high) / 2;

        if (density(middle) < wanted)
            low = middle;
        else
            high = middle;
    }
    return high;
}

static void split(struct model *model, const uint8_t *begin_key, size_t begin_len, const struct plan_action *action)
{
    struct picture *picture = model->picture;
    int64_t at = picture_find_shard(picture, bytes_of(begin_key, begin_len));
    struct picture_shard *shard = picture->shards[at];
    const struct team team = *teams_at(&picture->teams, shard->source);
    double from = place_of(picture_shard_begin(shard)), to = place_of(picture_shard_end(picture, (size_t)at));
    model_density *density = action->reason == PLAN_SPLIT_BYTES    ? model->bytes_at
                             : action->reason == PLAN_SPLIT_WRITES ? model->writes_at
                                                                   : model->reads_at;
    int64_t pieces = action->reason == PLAN_SPLIT_BYTES ? (shard->bytes + action->chunk / 2) / action->chunk : 2;

    cr_assert_leq(pieces, PLAN_CUTS_MAX + 1, "a split makes no more cuts: what is behind them would stay as it is");
    model->version++;
    if (to - from < 2 / KEYS)
        shard->whole_until_us = model->now_us + 60000000;
    for (int64_t i = pieces - 1; i > 0 && to - from >= 2 / KEYS; i--) {
        uint8_t key[8];
        struct bytes cut = key_of(cut_at(density, from, to, (double)i / (double)pieces), key);

        if (bytes_compare(cut, bytes_of(begin_key, begin_len)) > 0 && place_of(cut) < to && picture_find_shard(picture, cut) < 0)
            picture_set_shard(picture, cut, team.servers, team.count, NULL, 0, model->version);
    }
    model->splits++;
}

static void merge(struct model *model, const uint8_t *begin_key, size_t begin_len)
{
    struct picture *picture = model->picture;
    size_t at = (size_t)picture_find_shard(picture, bytes_of(begin_key, begin_len));
    struct picture_shard *after = picture->shards[at + 1];

    cr_assert_eq(picture->shards[at]->source, after->source, "only shards of one team merge");
    cr_assert(key_is_system(picture_shard_begin(after)) == key_is_system(picture_shard_begin(picture->shards[at])),
              "a merge over \\xff");
    picture_remove_shard(picture, picture_shard_begin(after), ++model->version);
    model->merges++;
}

/* Splits and merges change indexes: shards are named by their begins. */
static void act(struct model *model, const struct plan_action *action, uint8_t *begin, size_t begin_len)
{
    struct picture *picture = model->picture;
    int64_t at = picture_find_shard(picture, bytes_of(begin, begin_len));
    struct picture_shard *shard = picture->shards[at];
    struct team source;

    cr_assert(!shard->busy);
    switch (action->kind) {
    case PLAN_MOVE:
        begin_move(model, shard, action);
        break;
    case PLAN_CANCEL:
        source = *teams_at(&picture->teams, shard->source);
        picture_set_shard(picture, picture_shard_begin(shard), source.servers, source.count, NULL, 0, ++model->version);
        model->cancelled++;
        break;
    case PLAN_SPLIT:
        split(model, begin, begin_len, action);
        break;
    case PLAN_MERGE:
        merge(model, begin, begin_len);
        break;
    }
}

static void check_bounds(const struct model *model)
{
    cr_assert_leq(model->picture->moves, model->rules.moves_max + 1);
    for (uint32_t i = 0; i < model->picture->server_count; i++) {
        cr_assert_leq(model->picture->servers[i].sources, model->rules.moves_per_source + 1);
        cr_assert_leq(model->picture->servers[i].destinations, 2 * model->rules.moves_per_destination);
    }
}

uint32_t model_step(struct model *model)
{
    struct {
        uint8_t key[8];
        size_t len;
    } begins[PLAN_ACTIONS_MAX];
    struct picture *picture = model->picture;

    model->now_us += 1000000;
    for (uint32_t i = 0; i < picture->server_count; i++)
        if (model->dead[i] && model->dead_since[i] + FAILED_AFTER_US <= model->now_us)
            picture->servers[i].failed = true;
    measure(model);
    plan_make(picture, &model->rules, model->now_us, &model->plan);
    for (uint32_t i = 0; i < model->plan.count; i++) {
        struct bytes begin = picture_shard_begin(picture->shards[model->plan.actions[i].shard]);

        begins[i].len = begin.len;
        memcpy(begins[i].key, begin.ptr, begin.len);
    }
    for (uint32_t i = 0; i < model->plan.count; i++)
        act(model, &model->plan.actions[i], begins[i].key, begins[i].len);
    check_bounds(model);
    for (unsigned i = 0; i < MODEL_MOVES_MAX; i++)
        if (model->moves[i].under_way && draw_below(&model->random, 2) == 0)
            end_move(model, &model->moves[i]);
    return model->plan.count;
}

bool model_settle(struct model *model, unsigned steps_max, unsigned quiet)
{
    unsigned calm = 0;

    for (unsigned i = 0; i < steps_max; i++) {
        bool still = model_step(model) == 0 && model->picture->moves == 0;

        calm = still ? calm + 1 : 0;
        if (calm == quiet)
            return true;
    }
    return false;
}

/* ---- judging ---- */

bool model_is_healthy(const struct model *model)
{
    const struct picture *picture = model->picture;

    for (size_t i = 0; i < picture->shard_count; i++) {
        const struct team *team = teams_at(&picture->teams, picture->shards[i]->source);

        if (team->count != model->rules.replication || picture->shards[i]->destination != TEAM_NONE)
            return false;
        for (uint32_t k = 0; k < team->count; k++) {
            if (!picture->servers[team->servers[k]].wanted)
                return false;
            for (uint32_t m = 0; m < k; m++)
                if (picture->servers[team->servers[k]].zone == picture->servers[team->servers[m]].zone)
                    return false;
        }
    }
    return true;
}

static double worst(const struct model *model, bool load)
{
    const struct picture *picture = model->picture;
    double sum = 0, most = 0, count = 0;

    for (uint32_t i = 0; i < picture->server_count; i++) {
        double amount = (double)(load ? picture->servers[i].load : picture->servers[i].bytes);

        if (!picture->servers[i].wanted)
            continue;
        sum += amount;
        count++;
        most = amount > most ? amount : most;
    }
    return sum == 0 ? 1 : most * count / sum;
}

double model_worst_bytes(const struct model *model)
{
    return worst(model, false);
}

double model_worst_load(const struct model *model)
{
    return worst(model, true);
}
