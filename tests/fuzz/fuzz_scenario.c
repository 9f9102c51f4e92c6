/* Any bytes as a scenario file: a scenario within its limits, or a line and a reason. */
#include <assert.h>

#include "net/mem.h"
#include "sim/scenario.h"
#include "tests/fuzz/fuzz_input.h"

int fuzz_input(const uint8_t *data, size_t size)
{
    struct scenario *scenario = mem_zalloc(sizeof(*scenario));
    char *text = mem_alloc(size + 1), why[60] = "";

    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    if (scenario_parse(text, scenario, why, sizeof(why)) != 0)
        assert(why[0] != '\0' && strlen(why) < sizeof(why));
    else
        assert(scenario->workload_count <= SCENARIO_WORKLOADS_MAX && scenario->knob_count <= SCENARIO_KNOBS_MAX);
    mem_free(text);
    mem_free(scenario);
    return 0;
}
