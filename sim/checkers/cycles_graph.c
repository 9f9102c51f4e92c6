/* Tarjan's strongly connected components (1972) without recursion; breadth-first search for the cycle to show. */
#include "sim/checkers/cycles_graph.h"

#include <string.h>

#include "sim/checkers/grow.h"

void graph_done(struct graph *graph)
{
    mem_free(graph->edges);
    mem_free(graph->first);
    *graph = (struct graph){0};
}

void graph_add(struct graph *graph, uint32_t from, uint32_t to, enum edge_kind kind, uint32_t key)
{
    if (from == to)
        return;
    graph->edges = checker_grow(graph->edges, graph->edge_count, &graph->edge_capacity, sizeof(graph->edges[0]));
    graph->edges[graph->edge_count++] = (struct edge){from, to, key, kind};
}

void graph_sort(struct graph *graph)
{
    struct edge *sorted = checker_zalloc(graph->edge_count, sizeof(sorted[0]));

    graph->first = checker_zalloc(graph->node_count + 2, sizeof(graph->first[0]));
    for (size_t i = 0; i < graph->edge_count; i++)
        graph->first[graph->edges[i].from + 2]++;
    for (uint32_t node = 0; node < graph->node_count; node++)
        graph->first[node + 2] += graph->first[node + 1];
    for (size_t i = 0; i < graph->edge_count; i++)
        sorted[graph->first[graph->edges[i].from + 1]++] = graph->edges[i];
    mem_free(graph->edges);
    graph->edges = sorted;
    graph->edge_capacity = graph->edge_count;
}

struct tarjan {
    const struct graph *graph;
    unsigned kinds;
    uint32_t *order, *low, *part; /* order: 0 is not visited */
    uint32_t *stack, *path, *next;
    uint32_t stacked, depth, counter, parts;
    bool found;
};

static void enter(struct tarjan *t, uint32_t node)
{
    t->order[node] = t->low[node] = ++t->counter;
    t->stack[t->stacked++] = node;
    t->path[t->depth++] = node;
    t->next[node] = t->graph->first[node];
}

static void leave(struct tarjan *t, uint32_t node)
{
    uint32_t size = 0, member;

    t->depth--;
    if (t->depth > 0 && t->low[node] < t->low[t->path[t->depth - 1]])
        t->low[t->path[t->depth - 1]] = t->low[node];
    if (t->low[node] != t->order[node])
        return;
    do {
        member = t->stack[--t->stacked];
        t->part[member] = t->parts;
        size++;
    } while (member != node);
    t->parts++;
    t->found = t->found || size > 1;
}

static void visit(struct tarjan *t, uint32_t root)
{
    enter(t, root);
    while (t->depth > 0) {
        uint32_t node = t->path[t->depth - 1];
        const struct edge *edge;

        if (t->next[node] == t->graph->first[node + 1]) {
            leave(t, node);
            continue;
        }
        edge = &t->graph->edges[t->next[node]++];
        if (((unsigned)edge->kind & t->kinds) == 0)
            continue;
        if (t->order[edge->to] == 0)
            enter(t, edge->to);
        else if (t->part[edge->to] == GRAPH_NONE && t->order[edge->to] < t->low[node])
            t->low[node] = t->order[edge->to];
    }
}

bool graph_parts(const struct graph *graph, unsigned kinds, uint32_t *ret_part)
{
    size_t count = graph->node_count;
    uint32_t *memory = checker_zalloc(count * 5, sizeof(memory[0]));
    struct tarjan t = {.graph = graph, .kinds = kinds, .part = ret_part};

    t.order = memory;
    t.low = memory + count;
    t.stack = memory + 2 * count;
    t.path = memory + 3 * count;
    t.next = memory + 4 * count;
    memset(ret_part, 0xff, count * sizeof(ret_part[0]));
    for (uint32_t node = 0; node < graph->node_count; node++)
        if (t.order[node] == 0)
            visit(&t, node);
    mem_free(memory);
    return t.found;
}

size_t graph_path(const struct graph *graph, unsigned kinds, const uint32_t *part, uint32_t from, uint32_t to,
                  const struct edge **ret_path, size_t max)
{
    const struct edge **by = checker_zalloc(graph->node_count, sizeof(by[0]));
    uint32_t *queue = checker_zalloc(graph->node_count, sizeof(queue[0]));
    size_t head = 0, tail = 0, length = 0;

    queue[tail++] = from;
    while (head < tail && by[to] == NULL) {
        uint32_t node = queue[head++];

        for (uint32_t i = graph->first[node]; i < graph->first[node + 1]; i++) {
            const struct edge *edge = &graph->edges[i];

            if (((unsigned)edge->kind & kinds) == 0 || part[edge->to] != part[from] || by[edge->to] != NULL ||
                edge->to == from)
                continue;
            by[edge->to] = edge;
            queue[tail++] = edge->to;
        }
    }
    if (by[to] != NULL) {
        uint32_t node = to;

        do {
            node = by[node]->from;
            length++;
        } while (node != from);
        for (size_t i = length; i-- > 0; to = by[to]->from)
            if (i < max)
                ret_path[i] = by[to];
    }
    mem_free(queue);
    mem_free(by);
    return length < max ? length : max;
}
