/* The parts of a plan: what plan.c (health), plan_teams.c (where to), plan_balance.c (splits, balance) and plan_merge.c share. */
#pragma once

#include "roles/distributor/plan.h"

/* After so many shards in a row for which all places are busy, the plan leaves the others for the next one. */
enum { PLAN_BUSY_MAX = 64 };

struct planning {
    struct picture *picture;
    const struct plan_rules *rules;
    struct plan *plan;
    int64_t now_us;
    int64_t mean_bytes, mean_load; /* of a wanted server; at least 1 */
    uint32_t wanted;               /* servers */
    uint32_t moves;                /* under way, with those of this plan */
    /* Of each slot, while the plan is made: moves that it has ordered already. */
    uint32_t *sources, *destinations;
    int64_t *source_bytes, *destination_bytes;
    size_t map_from; /* from this shard on: the shard map itself */
    bool balancing; /* what is ordered now is no need */
    bool *ordered; /* of each shard: this plan has an action for it, or wants none */
};

/* Counts what a plan costs. */
static inline void planning_looks(struct planning *planning, size_t count)
{
    planning->plan->summary.looks += count;
}
/* NULL when the plan is full. */
struct plan_action *planning_add(struct planning *planning, enum plan_kind kind, enum plan_reason reason, size_t shard);
/* A move to `team`, counted. */
void planning_move(struct planning *planning, enum plan_reason reason, size_t shard, const uint32_t *team, uint32_t count);
/* The number of zones among `count` servers. */
uint32_t planning_zones(const struct picture *picture, const uint32_t *servers, uint32_t count);
/* True when a move of the shard to the team stays within the bounds of moves in flight. */
bool planning_has_room(const struct planning *planning, const struct picture_shard *shard, const struct team *team);

/* ---- plan_teams.c ---- */

/* Makes the teams that data is moved to fit the servers that are wanted: each of them in several, of different partners. */
void planning_candidates(struct planning *planning);
/* How near to each other the members of a team are: see struct team_health. */
uint32_t planning_nearness(const struct picture *picture, const struct team *team);
enum place { PLACE_FOUND, PLACE_BUSY /* there is one, but its servers have enough to do */, PLACE_NONE };
/* A better team for a shard that is not placed well. */
enum place planning_place(struct planning *planning, const struct picture_shard *shard, struct team *ret_team);

/* A candidate whose members are further apart than those of the shard's team. */
enum place planning_spread_place(struct planning *planning, const struct picture_shard *shard, struct team *ret_team);
/* Of the candidates. */
uint32_t planning_nearness_min(const struct planning *planning);

/* ---- plan_balance.c ---- */

void planning_spread(struct planning *planning);
void planning_balance(struct planning *planning);
void planning_split(struct planning *planning);
/* Above which a shard is split. */
int64_t planning_load_bound(const struct planning *planning);
int64_t planning_bytes_bound(const struct planning *planning, size_t shard);
/* Nothing is under way with it, and what it weighs is known. */
bool planning_is_at_rest(const struct planning *planning, const struct picture_shard *shard);
/* And it has not moved just now. */
bool planning_is_settled(const struct planning *planning, const struct picture_shard *shard);
/* No more moves than that, but for shards in need. */
bool planning_is_half_full(const struct planning *planning);
/* Copies to be made; 0 also when one of those that lack it may take none. */
uint32_t planning_new_members(const struct planning *planning, const struct team *from, const struct team *to);

/* ---- plan_merge.c ---- */

void planning_merge(struct planning *planning);
