/* A graph whose edges have kinds: strongly connected parts, and one cycle of them in words. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum edge_kind { EDGE_WW = 1, EDGE_WR = 2, EDGE_RW = 4, EDGE_RT = 8 };

enum { GRAPH_NONE = UINT32_MAX };

struct edge {
    uint32_t from, to;
    uint32_t key; /* GRAPH_NONE: none */
    enum edge_kind kind;
};

struct graph {
    uint32_t node_count;
    struct edge *edges; /* owned */
    size_t edge_count, edge_capacity;
    uint32_t *first;    /* owned; by node, of edges, once sorted */
};

void graph_done(struct graph *graph);
void graph_add(struct graph *graph, uint32_t from, uint32_t to, enum edge_kind kind, uint32_t key); /* none to itself */
void graph_sort(struct graph *graph);
/* Numbers each node's strongly connected part over the edges of these kinds. True when some part has more than one node. */
bool graph_parts(const struct graph *graph, unsigned kinds, uint32_t *ret_part);
/* A shortest path over the kinds within from's part; its edges, in order. 0: none. At most max edges are returned. */
size_t graph_path(const struct graph *graph, unsigned kinds, const uint32_t *part, uint32_t from, uint32_t to,
                  const struct edge **ret_path, size_t max);
