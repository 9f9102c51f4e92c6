/* A cluster that does what the planner says, and checks that it never says what would harm: for tests of the planner.
 *
 * Keys are 8 big-endian bytes; a number from 0 to 2^32 - 1 stands for the first four. How many bytes, writes and reads a range has follows
 * from a density function over [0, 1). Time goes in steps of a second. */
#pragma once

#include "roles/distributor/plan.h"

enum { MODEL_MOVES_MAX = 256 };

/* Cumulative: the part of all that lies in [0, x). */
typedef double model_density(double x);
double model_uniform(double x);
double model_hot_range(double x); /* 90 % in 1 % of the keys */
double model_zipf(double x);

struct model_move {
    struct picture_move move;
    bool under_way;
};

struct model {
    struct picture *picture;
    struct plan_rules rules;
    struct plan plan;
    struct model_move moves[MODEL_MOVES_MAX];
    model_density *bytes_at, *writes_at, *reads_at;
    double bytes, writes, reads; /* in total */
    bool dead[512];              /* by slot: does not answer, and will be called failed FAILED_AFTER steps later */
    int64_t dead_since[512];
    int64_t now_us;
    version_t version;
    uint64_t random;
    uint64_t started, finished, splits, merges, balance_moves, cancelled; /* counters */
};

void model_init(struct model *model, uint32_t replication, uint64_t seed);
void model_done(struct model *model);
uint32_t model_add_server(struct model *model, uint64_t id, uint32_t zone);
/* Cuts the keys into `count` equal shards on the teams given by the first servers, round robin over zones. */
void model_make_shards(struct model *model, uint32_t count);
void model_kill(struct model *model, uint32_t slot);
void model_return(struct model *model, uint32_t slot);
/* A second: measure, plan, begin, end some. Returns how many actions were begun. */
uint32_t model_step(struct model *model);
/* Steps until `quiet` of them in a row began nothing and nothing is under way; false after `steps_max`. */
bool model_settle(struct model *model, unsigned steps_max, unsigned quiet);
/* Every shard: whole, on wanted servers, in different zones. */
bool model_is_healthy(const struct model *model);
/* Highest share of a wanted server over the mean share. */
double model_worst_bytes(const struct model *model);
double model_worst_load(const struct model *model);
