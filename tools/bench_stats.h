/* Latency histograms, and the CPU time of processes: what quoin-bench measures with. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Log-linear: 64 steps a power of two, so every value is off by at most 1.6 %. Zeroed is empty. */
enum { HISTOGRAM_STEPS = 64, HISTOGRAM_POWERS = 40 };
struct histogram {
    uint64_t counts[HISTOGRAM_POWERS * HISTOGRAM_STEPS];
    uint64_t total, max;
};
void histogram_add(struct histogram *histogram, uint64_t value);
void histogram_merge(struct histogram *into, const struct histogram *from);
/* 0 < quantile <= 1. 0 when empty. */
uint64_t histogram_quantile(const struct histogram *histogram, double quantile);

/* User and system time of a process so far, in microseconds; -1 if there is no such process. */
int64_t cpu_us_of(int pid);

/* A key number by distribution: uniform, zipf:THETA (0 < THETA < 1) or hot:FRACTION (nine in ten draws are among that
 * fraction of the keys). */
struct key_draw {
    enum { DRAW_UNIFORM, DRAW_ZIPF, DRAW_HOT } kind;
    uint64_t keys;
    double parameter, zeta, alpha, eta;
};
/* False: malformed. */
bool key_draw_parse(struct key_draw *draw, const char *text, uint64_t keys);
uint64_t key_draw_next(const struct key_draw *draw, uint64_t random1, uint64_t random2);
