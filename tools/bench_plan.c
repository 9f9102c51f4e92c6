/* Which keys, which transactions.
 *
 * The zipf distribution is drawn as in "Quickly Generating Billion-Record Synthetic Databases" (Gray et al., SIGMOD 1994,
 * section 3.2), as YCSB does. Low numbers are the popular ones; bench_key spreads numbers over the key space, so that the popular
 * ones are not neighbours. */
#include "tools/bench.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "net/mem.h"

enum { HOT_PERCENT = 90, FIRST_BYTES = 0xff, HOT_FIRST_BYTE = 0x60, HOT_TRIES = 100000 };

static uint64_t mix(uint64_t z)
{
    /* The finalizer of splitmix64 (Steele, Lea, Flood 2014). */
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint64_t bench_random(uint64_t *state)
{
    *state += UINT64_C(0x9e3779b97f4a7c15);
    return mix(*state);
}

static uint64_t below(uint64_t *state, uint64_t limit)
{
    return (uint64_t)(((unsigned __int128)bench_random(state) * limit) >> 64);
}

/* ---- the space ---- */

void bench_space_init(struct bench_space *space, const struct bench_options *options)
{
    uint64_t state = 1;

    memset(space, 0, sizeof(*space));
    space->options = options;
    pthread_mutex_init(&space->lock, NULL);
    space->settling = mem_zalloc(BENCH_INSERTS_MAX);
    space->noise = mem_alloc(BENCH_NOISE_BYTES);
    for (size_t i = 0; i < BENCH_NOISE_BYTES; i += sizeof(uint64_t)) {
        uint64_t random = bench_random(&state);

        memcpy(space->noise + i, &random, sizeof(random));
    }
    if (options->distribution != BENCH_ZIPF)
        return;
    for (uint64_t i = 1; i <= options->keys; i++)
        space->zeta += pow(1.0 / (double)i, options->skew);
    space->zeta2 = 1.0 + pow(0.5, options->skew);
    space->alpha = 1.0 / (1.0 - options->skew);
    space->eta = (1.0 - pow(2.0 / (double)options->keys, 1.0 - options->skew)) / (1.0 - space->zeta2 / space->zeta);
}

void bench_space_done(struct bench_space *space)
{
    pthread_mutex_destroy(&space->lock);
    mem_free(space->settling);
    mem_free(space->noise);
}

static uint64_t draw_zipf(const struct bench_space *space, uint64_t *state)
{
    uint64_t keys = space->options->keys, rank;
    double u = (double)(bench_random(state) >> 11) * 0x1p-53, uz = u * space->zeta;

    if (uz < 1.0 || keys < 3)
        return uz < 1.0 ? 0 : keys - 1;
    if (uz < space->zeta2)
        return 1;
    rank = (uint64_t)((double)keys * pow(space->eta * u - space->eta + 1.0, space->alpha));
    return rank < keys ? rank : keys - 1;
}

/* Keys are in the order of their first byte, which is drawn from their number: see bench_key(). */
static uint8_t first_byte(uint64_t number)
{
    return (uint8_t)(mix(number) % FIRST_BYTES); /* never \xff, where the system's keys are */
}

static uint64_t draw_in_hot_range(const struct bench_options *options, uint64_t *state)
{
    unsigned width = (unsigned)ceil(FIRST_BYTES * options->skew);
    uint64_t number = below(state, options->keys);

    for (unsigned tries = 0; tries < HOT_TRIES && (unsigned)(first_byte(number) - HOT_FIRST_BYTE) >= width; tries++)
        number = below(state, options->keys);
    return number;
}

static uint64_t draw_key(struct bench_space *space, uint64_t *state)
{
    const struct bench_options *options = space->options;
    uint64_t number, hot;

    switch (options->distribution) {
    case BENCH_ZIPF:
        number = draw_zipf(space, state);
        break;
    case BENCH_HOT:
        hot = (uint64_t)ceil((double)options->keys * options->skew);
        number = below(state, below(state, 100) < HOT_PERCENT ? hot : options->keys);
        break;
    case BENCH_HOT_RANGE:
        number = below(state, 100) < HOT_PERCENT ? draw_in_hot_range(options, state) : below(state, options->keys);
        break;
    default:
        number = below(state, options->keys);
    }
    if (options->workload->latest) /* counted back from the newest */
        number = options->keys + atomic_load_explicit(&space->settled, memory_order_relaxed) - 1 - number;
    return number;
}

/* ---- plans ---- */

void bench_plan_init(struct bench_plan *plan, const struct bench_space *space, uint64_t seed)
{
    memset(plan, 0, sizeof(*plan));
    plan->reads = mem_zalloc((size_t)space->options->reads * sizeof(*plan->reads));
    plan->state = mix(seed + 1);
}

void bench_plan_done(struct bench_plan *plan)
{
    mem_free(plan->reads);
}

static enum bench_kind draw_kind(const struct bench_workload *workload, uint64_t *state)
{
    uint64_t at = below(state, 100);

    for (int kind = 0; kind < BENCH_KINDS; kind++) {
        if (at < workload->percent[kind])
            return (enum bench_kind)kind;
        at -= workload->percent[kind];
    }
    assert(!"percents add up to 100");
    return BENCH_GET;
}

void bench_plan_draw(struct bench_plan *plan, struct bench_space *space)
{
    const struct bench_options *options = space->options;

    plan->kind = draw_kind(options->workload, &plan->state);
    plan->read_count = plan->kind == BENCH_GET || plan->kind == BENCH_RMW ? options->reads : plan->kind == BENCH_SCAN ? 1 : 0;
    for (int i = 0; i < plan->read_count; i++)
        plan->reads[i] = draw_key(space, &plan->state);
    if (plan->kind == BENCH_SCAN)
        plan->scan_keys = options->workload->any_scan ? 1 + (int)below(&plan->state, BENCH_SCAN_KEYS) : BENCH_SCAN_KEYS;
    if (plan->kind == BENCH_PUT)
        plan->write = draw_key(space, &plan->state);
    else if (plan->kind == BENCH_RMW)
        plan->write = plan->reads[below(&plan->state, (uint64_t)plan->read_count)];
    else if (plan->kind == BENCH_INSERT)
        plan->write = options->keys + atomic_fetch_add(&space->inserted, 1);
}

int bench_plan_ops(const struct bench_plan *plan)
{
    if (plan->kind == BENCH_SCAN)
        return plan->scan_keys;
    return plan->read_count + bench_plan_writes(plan);
}

void bench_plan_settled(const struct bench_plan *plan, struct bench_space *space)
{
    uint64_t settled;

    if (plan->kind != BENCH_INSERT)
        return;
    pthread_mutex_lock(&space->lock);
    settled = atomic_load(&space->settled);
    space->settling[(plan->write - space->options->keys) % BENCH_INSERTS_MAX] = 1;
    for (; space->settling[settled % BENCH_INSERTS_MAX]; settled++)
        space->settling[settled % BENCH_INSERTS_MAX] = 0;
    atomic_store(&space->settled, settled);
    pthread_mutex_unlock(&space->lock);
}

double bench_plan_mean_ops(const struct bench_options *options)
{
    const unsigned *percent = options->workload->percent;
    double scanned = options->workload->any_scan ? (1 + BENCH_SCAN_KEYS) / 2.0 : BENCH_SCAN_KEYS;

    return (percent[BENCH_GET] * options->reads + percent[BENCH_PUT] + percent[BENCH_INSERT] + percent[BENCH_SCAN] * scanned +
            percent[BENCH_RMW] * (options->reads + 1.0)) / 100.0;
}

/* ---- keys and values ---- */

void bench_key(const struct bench_options *options, uint64_t index, uint8_t *out)
{
    out[0] = first_byte(index);
    for (int i = 1; i < options->key_bytes; i++) {
        out[i] = (uint8_t)('0' + index % 10);
        index /= 10;
    }
    assert(index == 0);
}

const uint8_t *bench_value(const struct bench_space *space, struct bench_plan *plan)
{
    return space->noise + below(&plan->state, BENCH_NOISE_BYTES - (uint64_t)space->options->value_bytes);
}
