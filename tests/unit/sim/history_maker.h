/* Makes histories that a right database could have made: many transactions at once over a multi-version store in memory. */
#pragma once

#include "sim/checkers/cycles.h"
#include "sim/checkers/history.h"

struct maker_options {
    uint64_t seed;
    uint32_t transactions, keys, at_once;
    uint32_t reads, writes; /* a transaction; point operations alone when `points` */
    bool points;
};

void make_history(const struct maker_options *options, struct history *ret_history);
void make_lists(const struct maker_options *options, struct cycles_history *ret_history);
