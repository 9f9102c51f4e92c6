#include "tools/bench_stats.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- histograms ---- */

static unsigned slot_of(uint64_t value)
{
    unsigned power, shift;

    if (value < HISTOGRAM_STEPS)
        return (unsigned)value;
    power = 63 - (unsigned)__builtin_clzll(value);
    shift = power - 6; /* the 6 bits below the leading one choose the step */
    if (shift + 1 >= HISTOGRAM_POWERS)
        return HISTOGRAM_POWERS * HISTOGRAM_STEPS - 1;
    return (shift + 1) * HISTOGRAM_STEPS + (unsigned)((value >> shift) & (HISTOGRAM_STEPS - 1));
}

static uint64_t value_of(unsigned slot)
{
    unsigned shift = slot / HISTOGRAM_STEPS, step = slot % HISTOGRAM_STEPS;

    return shift == 0 ? step : (uint64_t)(HISTOGRAM_STEPS + step) << (shift - 1);
}

void histogram_add(struct histogram *histogram, uint64_t value)
{
    histogram->counts[slot_of(value)]++;
    histogram->total++;
    if (value > histogram->max)
        histogram->max = value;
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
    for (unsigned i = 0; i < HISTOGRAM_POWERS * HISTOGRAM_STEPS; i++)
        into->counts[i] += from->counts[i];
    into->total += from->total;
    if (from->max > into->max)
        into->max = from->max;
}

uint64_t histogram_quantile(const struct histogram *histogram, double quantile)
{
    uint64_t wanted = (uint64_t)ceil(quantile * (double)histogram->total), seen = 0;

    for (unsigned i = 0; i < HISTOGRAM_POWERS * HISTOGRAM_STEPS && histogram->total > 0; i++) {
        seen += histogram->counts[i];
        if (seen >= wanted)
            return value_of(i);
    }
    return histogram->max;
}

/* ---- processes ---- */

int64_t cpu_us_of(int pid)
{
    char path[64], text[1024];
    unsigned long long user, system;
    const char *after;
    FILE *file;
    size_t len;

    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    file = fopen(path, "re");
    if (file == NULL)
        return -1;
    len = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    text[len] = '\0';
    after = strrchr(text, ')'); /* the name may hold anything */
    if (after == NULL || sscanf(after + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user, &system) != 2)
        return -1;
    return (int64_t)((user + system) * (1000000 / (unsigned long long)sysconf(_SC_CLK_TCK)));
}

/* ---- distributions (Gray et al., "Quickly generating billion-record synthetic databases", for zipf) ---- */

static void prepare_zipf(struct key_draw *draw)
{
    double theta = draw->parameter, zeta2 = 1 + pow(0.5, theta);

    draw->zeta = 0;
    for (uint64_t i = 1; i <= draw->keys; i++)
        draw->zeta += 1 / pow((double)i, theta);
    draw->alpha = 1 / (1 - theta);
    draw->eta = (1 - pow(2.0 / (double)draw->keys, 1 - theta)) / (1 - zeta2 / draw->zeta);
}

bool key_draw_parse(struct key_draw *draw, const char *text, uint64_t keys)
{
    char *end;

    *draw = (struct key_draw){.kind = DRAW_UNIFORM, .keys = keys};
    if (strcmp(text, "uniform") == 0)
        return true;
    if (strncmp(text, "zipf:", 5) == 0)
        draw->kind = DRAW_ZIPF;
    else if (strncmp(text, "hot:", 4) == 0)
        draw->kind = DRAW_HOT;
    else
        return false;
    text = strchr(text, ':') + 1;
    draw->parameter = strtod(text, &end);
    if (end == text || *end != '\0' || !(draw->parameter > 0) || !(draw->parameter < 1))
        return false;
    if (draw->kind == DRAW_ZIPF)
        prepare_zipf(draw);
    return true;
}

static uint64_t draw_zipf(const struct key_draw *draw, double u)
{
    double uz = u * draw->zeta;
    uint64_t rank;

    if (uz < 1)
        rank = 0;
    else if (uz < 1 + pow(0.5, draw->parameter))
        rank = 1;
    else
        rank = (uint64_t)((double)draw->keys * pow(draw->eta * u - draw->eta + 1, draw->alpha));
    if (rank >= draw->keys)
        rank = draw->keys - 1;
    return (rank * UINT64_C(0x9e3779b97f4a7c15) >> 11) % draw->keys; /* the popular keys lie apart */
}

uint64_t key_draw_next(const struct key_draw *draw, uint64_t random1, uint64_t random2)
{
    double u = (double)(random1 >> 11) / 9007199254740992.0;
    uint64_t hot = (uint64_t)((double)draw->keys * draw->parameter);

    switch (draw->kind) {
    case DRAW_ZIPF:
        return draw_zipf(draw, u);
    case DRAW_HOT:
        hot = hot == 0 ? 1 : hot;
        return u < 0.9 ? random2 % hot : random2 % draw->keys;
    case DRAW_UNIFORM:
        break;
    }
    return random2 % draw->keys;
}
