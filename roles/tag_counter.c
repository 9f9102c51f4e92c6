#include "roles/tag_counter.h"

#include <stdlib.h>

enum { PER_US = 1000000 };

void tag_counter_add(struct tag_counter *counter, struct bytes tag, uint32_t server, double cost)
{
    struct tag_count *least = &counter->counts[0];
    struct tag_name name;

    if (!tag_name_of(tag, &name))
        return;
    for (unsigned i = 0; i < TAG_COUNTERS; i++) {
        struct tag_count *at = &counter->counts[i];

        if (at->cost > 0 && at->server == server && tag_equal(&at->name, &name)) {
            at->cost += cost;
            return;
        }
        if (at->cost < least->cost)
            least = at;
    }
    least->name = name;
    least->server = server;
    least->cost += cost;
}

void tag_counter_decay(struct tag_counter *counter, int64_t now_us)
{
    int64_t past_us = now_us - counter->decayed_us;
    double kept = PER_US / (double)(PER_US + past_us);

    if (past_us <= 0)
        return;
    counter->decayed_us = now_us;
    counter->total *= kept;
    for (unsigned i = 0; i < TAG_COUNTERS; i++) {
        counter->counts[i].cost *= kept;
        if (counter->counts[i].cost < 0.01)
            counter->counts[i].cost = 0;
    }
}

static int larger_first(const void *a, const void *b)
{
    const struct tag_count *x = *(const struct tag_count *const *)a, *y = *(const struct tag_count *const *)b;

    if (x->cost != y->cost)
        return x->cost > y->cost ? -1 : 1;
    return x->server != y->server ? (x->server < y->server ? -1 : 1) : memcmp(&x->name, &y->name, sizeof(x->name));
}

uint32_t tag_counter_report(struct tag_counter *counter, struct arena *arena, struct tag_cost **ret_costs)
{
    const struct tag_count *sorted[TAG_COUNTERS];
    uint32_t count = 0, told = 0;

    *ret_costs = NULL;
    for (unsigned i = 0; i < TAG_COUNTERS; i++)
        if (counter->counts[i].cost >= 1)
            sorted[count++] = &counter->counts[i];
    if (count == 0 || (*ret_costs = arena_zalloc(arena, count * sizeof(**ret_costs))) == NULL)
        return 0;
    qsort(sorted, count, sizeof(sorted[0]), larger_first);
    for (; told < count; told++) {
        if (arena_copy(arena, tag_bytes(&sorted[told]->name), &(*ret_costs)[told].tag) != 0)
            break;
        (*ret_costs)[told].server = sorted[told]->server;
        (*ret_costs)[told].cost = (int64_t)sorted[told]->cost;
    }
    return told;
}
