/* Moves, splits and merges for no reason: what tests need more of than a healthy small cluster gives them.
 *
 * They go the way of all others (the same ops, the same transactions), and keep to the same rules: a destination is one of the teams that
 * the planner would choose from, and nothing is begun with a shard that is busy or not whole. */
#include "roles/distributor/distributor_internal.h"
#include "roles/distributor/move_keys.h"

static bool is_at_rest(const struct distributor *self, size_t at)
{
    const struct picture_shard *shard = self->picture->shards[at];
    const struct team *team = teams_at(&self->picture->teams, shard->source);

    return !shard->busy && shard->destination == TEAM_NONE && shard->rest_until_us <= env_now_us(self->env) &&
           team->count > 0 && team->health.living == team->count;
}

static void move_somewhere(struct distributor *self, size_t at)
{
    struct picture *picture = self->picture;
    struct plan_action action = {.kind = PLAN_MOVE, .reason = PLAN_BALANCE_BYTES, .shard = at};
    const struct team *to;

    if (picture->candidate_count == 0 || picture->moves >= (uint32_t)self->env->knobs.dd_moves_max)
        return;
    to = teams_at(&picture->teams, picture->candidates[env_random_below(self->env, picture->candidate_count)]);
    for (uint32_t i = 0; i < to->count; i++) {
        if (!picture->servers[to->servers[i]].may_take)
            return;
        action.team[action.team_count++] = to->servers[i];
    }
    if (to != teams_at(&picture->teams, picture->shards[at]->source))
        move_start(self, &action);
}

/* One byte behind the begin, if that is inside. */
static void split_somewhere(struct distributor *self, size_t at)
{
    struct plan_action action = {.kind = PLAN_SPLIT, .reason = PLAN_SPLIT_BYTES, .shard = at};
    struct bytes begin = picture_shard_begin(self->picture->shards[at]);
    struct bytes_buffer key = {0};
    uint8_t byte = (uint8_t)env_random(self->env);
    bool fits = begin.len < 20 && bytes_buffer_append(&key, begin) == 0 && bytes_buffer_append(&key, bytes_of(&byte, 1)) == 0;

    if (fits && bytes_compare(bytes_buffer_bytes(&key), picture_shard_end(self->picture, at)) < 0)
        resize_start(self, &action, bytes_buffer_bytes(&key));
    bytes_buffer_done(&key);
}

static void merge_with_next(struct distributor *self, size_t at)
{
    struct picture *picture = self->picture;
    struct plan_action action = {.kind = PLAN_MERGE, .reason = PLAN_MERGE_SMALL, .shard = at};

    if (at + 1 < picture->shard_count && is_at_rest(self, at + 1) && picture->shards[at]->source == picture->shards[at + 1]->source &&
        move_keys_may_merge(picture_shard_begin(picture->shards[at]), picture_shard_begin(picture->shards[at + 1])))
        resize_start(self, &action, bytes_none());
}

void disturb(struct distributor *self)
{
    size_t at;

    if (self->picture->shard_count == 0)
        return;
    at = env_random_below(self->env, self->picture->shard_count);
    if (!is_at_rest(self, at))
        return;
    switch (env_random_below(self->env, 4)) {
    case 0:
        split_somewhere(self, at);
        break;
    case 1:
        merge_with_next(self, at);
        break;
    default:
        move_somewhere(self, at);
    }
}
