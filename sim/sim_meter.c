/* CPU time around each piece of work, summed up by the size of the work. */
#include "sim/sim_meter.h"

#include <inttypes.h>
#include <stdio.h>

static const uint64_t size_max[SIM_METER_SIZES] = {100, 300, 1000, 3000, 10000, 30000, 100000, UINT64_MAX};

static int64_t cpu_ns(const struct sim_meter *meter)
{
    return meter->cpu_ns == NULL ? 0 : meter->cpu_ns();
}

static void begin(struct meter *face, enum metered work)
{
    struct sim_meter *meter = (struct sim_meter *)face;

    (void)work;
    meter->began_ns = cpu_ns(meter);
}

static void end(struct meter *face, enum metered work, uint64_t units, uint64_t steps)
{
    struct sim_meter *meter = (struct sim_meter *)face;
    int64_t took_ns = cpu_ns(meter) - meter->began_ns;
    struct sim_metered *metered;
    unsigned size = 0;

    while (units > size_max[size])
        size++;
    metered = &meter->of[work][size];
    metered->times++;
    metered->units += units;
    metered->ns += took_ns;
    metered->steps += steps;
    if (units > 0 && steps / units > metered->steps_each_max)
        metered->steps_each_max = steps / units;
    if (units > metered->units_max)
        metered->units_max = units;
    if (took_ns > metered->ns_max)
        metered->ns_max = took_ns;
}

void sim_meter_init(struct sim_meter *meter)
{
    *meter = (struct sim_meter){.face = {begin, end}};
}

const struct sim_metered *sim_meter_largest(const struct sim_meter *meter, enum metered work)
{
    for (unsigned i = SIM_METER_SIZES; i-- > 0;)
        if (meter->of[work][i].times > 0)
            return &meter->of[work][i];
    return NULL;
}

void sim_meter_print(const struct sim_meter *meter, enum metered work, const char *unit, char *out, size_t out_size)
{
    size_t used = 0;

    out[0] = '\0';
    for (unsigned i = 0; i < SIM_METER_SIZES; i++) {
        const struct sim_metered *metered = &meter->of[work][i];
        int length;

        if (metered->times == 0 || metered->units == 0)
            continue;
        length = snprintf(out + used, out_size - used, "%s%" PRIu64 " times %" PRIu64 " %s: %" PRId64 " us (%" PRId64 " at most), %" PRId64 " ns and %" PRIu64 " steps each",
                          used == 0 ? "" : "; ", metered->times, metered->units / metered->times, unit,
                          metered->ns / (int64_t)metered->times / 1000, metered->ns_max / 1000,
                          metered->ns / (int64_t)metered->units, metered->steps / metered->units);
        if (length < 0 || (size_t)length >= out_size - used) {
            out[used] = '\0'; /* whole parts alone */
            return;
        }
        used += (size_t)length;
    }
}
