/* From lists to edges, and from cycles to names. */
#include "sim/checkers/cycles.h"

#include <stdarg.h>
#include <stdio.h>

#include "sim/checkers/cycles_graph.h"
#include "sim/checkers/grow.h"

/* ---- recording ---- */

void cycles_init(struct cycles_history *history, uint32_t key_count)
{
    *history = (struct cycles_history){.key_count = key_count};
}

void cycles_done(struct cycles_history *history)
{
    mem_free(history->transactions);
    mem_free(history->ops);
    mem_free(history->elements);
    *history = (struct cycles_history){0};
}

void cycles_begin(struct cycles_history *history, struct cycles_record *record, uint32_t client)
{
    assert(record->history == NULL);
    history->transactions = checker_grow(history->transactions, history->transaction_count,
                                         &history->transaction_capacity, sizeof(history->transactions[0]));
    *record = (struct cycles_record){.history = history, .number = (uint32_t)history->transaction_count++};
    history->transactions[record->number] =
        (struct cycles_transaction){.client = client, .called = cycles_tick(history)};
}

static struct cycles_op *add_op(struct cycles_record *record, struct cycles_op op)
{
    assert(op.key < record->history->key_count);
    record->ops = checker_grow(record->ops, record->op_count, &record->op_capacity, sizeof(record->ops[0]));
    record->ops[record->op_count] = op;
    return &record->ops[record->op_count++];
}

void cycles_read(struct cycles_record *record, uint32_t key, const uint32_t *elements, uint32_t count)
{
    add_op(record, (struct cycles_op){.key = key, .data = (uint32_t)record->read_count, .count = count});
    for (uint32_t i = 0; i < count; i++) {
        record->elements = checker_grow(record->elements, record->read_count, &record->read_capacity, sizeof(elements[0]));
        record->elements[record->read_count++] = elements[i];
    }
}

uint32_t cycles_new_element(struct cycles_history *history)
{
    return history->element_count++;
}

void cycles_append(struct cycles_record *record, uint32_t key, uint32_t element)
{
    add_op(record, (struct cycles_op){.key = key, .append = true, .element = element});
}

void cycles_finish(struct cycles_record *record, enum cycles_outcome outcome)
{
    struct cycles_history *history = record->history;
    struct cycles_transaction *transaction = &history->transactions[record->number];
    uint32_t base = (uint32_t)history->read_count;

    transaction->outcome = (uint8_t)outcome;
    transaction->answered = cycles_tick(history);
    transaction->op_begin = (uint32_t)history->op_count;
    transaction->op_count = (uint32_t)record->op_count;
    for (size_t i = 0; i < record->op_count; i++) {
        history->ops = checker_grow(history->ops, history->op_count, &history->op_capacity, sizeof(history->ops[0]));
        history->ops[history->op_count] = record->ops[i];
        history->ops[history->op_count++].data += record->ops[i].append ? 0 : base;
    }
    for (size_t i = 0; i < record->read_count; i++) {
        history->elements =
            checker_grow(history->elements, history->read_count, &history->read_capacity, sizeof(history->elements[0]));
        history->elements[history->read_count++] = record->elements[i];
    }
    cycles_drop(record);
}

void cycles_drop(struct cycles_record *record)
{
    mem_free(record->ops);
    mem_free(record->elements);
    *record = (struct cycles_record){0};
}

/* ---- what is known ---- */

struct element {
    uint32_t writer, key; /* GRAPH_NONE: nobody appended it */
    uint32_t next_own;    /* the writer's next append to the same list, or GRAPH_NONE */
    uint32_t place;       /* in its list, or GRAPH_NONE: it was never read */
};

struct list {
    const uint32_t *elements; /* of the longest read */
    uint32_t count;
    uint64_t last_called;     /* of the latest reader */
};

struct cycles {
    const struct cycles_history *history;
    struct cycles_report *report;
    struct element *elements;
    struct list *lists;
    struct graph graph;
    uint32_t *part;
};

__attribute__((format(printf, 3, 4))) static int fail(struct cycles *cycles, enum cycles_anomaly anomaly, const char *format, ...)
{
    va_list args;

    cycles->report->anomaly = anomaly;
    va_start(args, format);
    vsnprintf(cycles->report->what, sizeof(cycles->report->what), format, args);
    va_end(args);
    return (int)anomaly;
}

static int index_append(struct cycles *cycles, uint32_t number, uint32_t op_number)
{
    const struct cycles_history *history = cycles->history;
    const struct cycles_op *op = &history->ops[op_number];
    struct element *element;

    if (op->element >= history->element_count || cycles->elements[op->element].writer != GRAPH_NONE)
        return fail(cycles, CYCLES_MALFORMED, "T%u appends element %u, which is not new", number, op->element);
    element = &cycles->elements[op->element];
    *element = (struct element){number, op->key, GRAPH_NONE, GRAPH_NONE};
    for (uint32_t n = op_number; n-- > history->transactions[number].op_begin;)
        if (history->ops[n].append && history->ops[n].key == op->key) {
            cycles->elements[history->ops[n].element].next_own = op->element;
            break;
        }
    return 0;
}

static int index_appends(struct cycles *cycles)
{
    const struct cycles_history *history = cycles->history;
    int failed = 0;

    for (uint32_t i = 0; i < history->element_count; i++)
        cycles->elements[i] = (struct element){GRAPH_NONE, GRAPH_NONE, GRAPH_NONE, GRAPH_NONE};
    for (uint32_t number = 0; number < history->transaction_count && failed == 0; number++) {
        const struct cycles_transaction *t = &history->transactions[number];

        cycles->report->committed += t->outcome == CYCLES_COMMITTED;
        cycles->report->aborted += t->outcome == CYCLES_ABORTED;
        cycles->report->unknown += t->outcome == CYCLES_UNKNOWN || t->outcome == CYCLES_OPEN;
        for (uint32_t n = t->op_begin; n < t->op_begin + t->op_count && failed == 0; n++)
            if (history->ops[n].append)
                failed = index_append(cycles, number, n);
    }
    return failed;
}

/* ---- reads ---- */

/* How many of the last elements are the transaction's own, made before this read. */
static uint32_t own_appends(const struct cycles_history *history, const struct cycles_transaction *t, uint32_t op_number)
{
    uint32_t count = 0;

    for (uint32_t n = t->op_begin; n < op_number; n++)
        count += history->ops[n].append && history->ops[n].key == history->ops[op_number].key;
    return count;
}

/* What it read. A history of empty reads has no array to point into. */
static const uint32_t *elements_of(const struct cycles_history *history, const struct cycles_op *op)
{
    return op->count == 0 ? NULL : history->elements + op->data;
}

/* Ends with its own appends, and agrees with its other reads of the list. */
static int check_internal(struct cycles *cycles, uint32_t number, uint32_t op_number, uint32_t own)
{
    const struct cycles_history *history = cycles->history;
    const struct cycles_op *op = &history->ops[op_number];
    const uint32_t *elements = elements_of(history, op);
    uint32_t left = own;

    if (own > op->count)
        return fail(cycles, CYCLES_INTERNAL, "T%u does not see its own appends to key %u", number, op->key);
    for (uint32_t n = op_number; n-- > history->transactions[number].op_begin;) {
        const struct cycles_op *other = &history->ops[n];

        if (other->key != op->key)
            continue;
        if (other->append && elements[op->count - own + --left] != other->element)
            return fail(cycles, CYCLES_INTERNAL, "T%u does not see its own append of %u to key %u", number, other->element,
                        op->key);
        if (!other->append && (other->count != op->count - own + left ||
                               (other->count > 0 && memcmp(elements_of(history, other), elements,
                                                           other->count * sizeof(elements[0])) != 0)))
            return fail(cycles, CYCLES_INTERNAL, "T%u reads key %u twice, differently", number, op->key);
    }
    return 0;
}

/* Against the longest list so far. */
static int check_list(struct cycles *cycles, uint32_t number, uint32_t key, const uint32_t *elements, uint32_t count)
{
    struct list *list = &cycles->lists[key];
    uint32_t shorter = count < list->count ? count : list->count;
    uint64_t called = cycles->history->transactions[number].called;

    if (called > list->last_called)
        list->last_called = called;
    if (shorter > 0 && memcmp(elements, list->elements, shorter * sizeof(elements[0])) != 0)
        return fail(cycles, CYCLES_INCOMPATIBLE_ORDER, "T%u reads key %u in an order that another read contradicts", number, key);
    for (uint32_t i = list->count; i < count; i++) {
        struct element *element = elements[i] < cycles->history->element_count ? &cycles->elements[elements[i]] : NULL;

        if (element == NULL || element->key != key)
            return fail(cycles, CYCLES_GARBAGE, "T%u reads %u in key %u: nobody appended it", number, elements[i], key);
        if (element->place != GRAPH_NONE)
            return fail(cycles, CYCLES_DUPLICATE, "T%u reads %u of T%u twice in key %u", number, elements[i], element->writer, key);
        element->place = i;
    }
    if (count > list->count)
        *list = (struct list){elements, count, list->last_called};
    return 0;
}

static int each_read(struct cycles *cycles,
                     int (*check)(struct cycles *cycles, uint32_t number, uint32_t op_number, uint32_t own))
{
    const struct cycles_history *history = cycles->history;
    int failed = 0;

    for (uint32_t number = 0; number < history->transaction_count; number++) {
        const struct cycles_transaction *t = &history->transactions[number];

        for (uint32_t n = t->op_begin; n < t->op_begin + t->op_count && failed == 0; n++)
            if (!history->ops[n].append)
                failed = check(cycles, number, n, own_appends(history, t, n));
    }
    return failed;
}

static int check_read(struct cycles *cycles, uint32_t number, uint32_t op_number, uint32_t own)
{
    const struct cycles_op *op = &cycles->history->ops[op_number];
    int failed = check_internal(cycles, number, op_number, own);

    return failed != 0 ? failed : check_list(cycles, number, op->key, elements_of(cycles->history, op), op->count - own);
}

static int check_intermediate(struct cycles *cycles, uint32_t number, uint32_t op_number, uint32_t own)
{
    const struct cycles_op *op = &cycles->history->ops[op_number];
    const struct element *last;

    if (op->count == own)
        return 0;
    last = &cycles->elements[cycles->history->elements[op->data + op->count - own - 1]];
    if (last->writer == number || last->next_own == GRAPH_NONE)
        return 0;
    return fail(cycles, CYCLES_G1B, "T%u reads key %u as it was within T%u", number, op->key, last->writer);
}

/* ---- lists ---- */

static bool committed(const struct cycles *cycles, uint32_t number)
{
    return cycles->history->transactions[number].outcome == CYCLES_COMMITTED;
}

static int check_aborted(struct cycles *cycles, uint32_t key)
{
    const struct list *list = &cycles->lists[key];
    uint32_t dead = GRAPH_NONE;

    for (uint32_t i = 0; i < list->count; i++) {
        uint32_t writer = cycles->elements[list->elements[i]].writer;
        unsigned outcome = cycles->history->transactions[writer].outcome;

        if (outcome == CYCLES_ABORTED && dead == GRAPH_NONE)
            dead = writer;
        else if (outcome == CYCLES_COMMITTED && dead != GRAPH_NONE)
            return fail(cycles, CYCLES_DIRTY_WRITE, "T%u committed upon what T%u, aborted, left in key %u", writer, dead, key);
        cycles->report->unknown_applied += outcome == CYCLES_UNKNOWN;
    }
    return dead == GRAPH_NONE ? 0 : fail(cycles, CYCLES_G1A, "what T%u, aborted, appended to key %u was read", dead, key);
}

static int check_lists(struct cycles *cycles)
{
    const struct cycles_history *history = cycles->history;
    int failed = 0;

    for (uint32_t key = 0; key < history->key_count && failed == 0; key++)
        failed = check_aborted(cycles, key);
    for (uint32_t i = 0; i < history->element_count && failed == 0; i++) {
        const struct element *element = &cycles->elements[i];

        if (element->writer != GRAPH_NONE && element->place == GRAPH_NONE && committed(cycles, element->writer) &&
            cycles->lists[element->key].last_called > history->transactions[element->writer].answered)
            failed = fail(cycles, CYCLES_LOST_APPEND, "T%u appended %u to key %u, and later reads don't have it",
                          element->writer, i, element->key);
    }
    return failed;
}

/* A read of the list before the first append to it: nobody may come between. */
static int check_update(struct cycles *cycles, uint32_t number, uint32_t op_number, uint32_t own)
{
    const struct cycles_history *history = cycles->history;
    const struct cycles_transaction *t = &history->transactions[number];
    const struct cycles_op *op = &history->ops[op_number];

    if (own != 0 || !committed(cycles, number))
        return 0;
    for (uint32_t n = op_number + 1; n < t->op_begin + t->op_count; n++)
        if (history->ops[n].append && history->ops[n].key == op->key) {
            uint32_t place = cycles->elements[history->ops[n].element].place;

            if (place == GRAPH_NONE || place <= op->count)
                return 0;
            return fail(cycles, CYCLES_LOST_UPDATE, "T%u read %u elements of key %u and appended behind T%u", number, op->count,
                        op->key, cycles->elements[cycles->lists[op->key].elements[op->count]].writer);
        }
    return 0;
}

/* ---- edges ---- */

static void add_list_edges(struct cycles *cycles, uint32_t key)
{
    const struct list *list = &cycles->lists[key];

    for (uint32_t i = 1; i < list->count; i++)
        graph_add(&cycles->graph, cycles->elements[list->elements[i - 1]].writer, cycles->elements[list->elements[i]].writer,
                  EDGE_WW, key);
}

static int add_read_edges(struct cycles *cycles, uint32_t number, uint32_t op_number, uint32_t own)
{
    const struct cycles_op *op = &cycles->history->ops[op_number];
    const struct list *list = &cycles->lists[op->key];
    uint32_t count = op->count - own;

    if (count > 0)
        graph_add(&cycles->graph, cycles->elements[list->elements[count - 1]].writer, number, EDGE_WR, op->key);
    if (count < list->count)
        graph_add(&cycles->graph, number, cycles->elements[list->elements[count]].writer, EDGE_RW, op->key);
    return 0;
}

/* Time as a chain of nodes, one for each run of answers: answered > node > called. */
static int add_time_edges(struct cycles *cycles)
{
    const struct cycles_history *history = cycles->history;
    uint32_t *events = checker_zalloc(history->clock + 1, sizeof(events[0])); /* 2 n + 1: called, 2 n + 2: answered */
    uint32_t node = GRAPH_NONE;
    bool open = false;

    for (uint32_t i = 0; i < history->transaction_count; i++) {
        const struct cycles_transaction *t = &history->transactions[i];

        if (t->called > history->clock || t->answered > history->clock || (t->answered != 0 && t->answered <= t->called)) {
            mem_free(events);
            return fail(cycles, CYCLES_MALFORMED, "T%u has a time that was not", i);
        }
        events[t->called] = 2 * i + 1;
        events[t->answered] = 2 * i + 2;
    }
    for (uint64_t at = 1; at <= history->clock; at++) {
        uint32_t number = (events[at] - 1) / 2;

        if (events[at] == 0)
            continue;
        if (events[at] % 2 == 1) {
            open = false;
            if (node != GRAPH_NONE)
                graph_add(&cycles->graph, node, number, EDGE_RT, GRAPH_NONE);
            continue;
        }
        if (!open) {
            if (node != GRAPH_NONE)
                graph_add(&cycles->graph, node, cycles->graph.node_count, EDGE_RT, GRAPH_NONE);
            node = cycles->graph.node_count++;
            open = true;
        }
        graph_add(&cycles->graph, number, node, EDGE_RT, GRAPH_NONE);
    }
    mem_free(events);
    return 0;
}

/* ---- cycles ---- */

static const char *kind_name(enum edge_kind kind)
{
    return kind == EDGE_WW ? "ww" : kind == EDGE_WR ? "wr" : kind == EDGE_RW ? "rw" : "rt";
}

/* "T3 -rw(key 1)-> T7 -rt-> T3": nodes of time are left out. */
static int describe(struct cycles *cycles, enum cycles_anomaly anomaly, const struct edge **path, size_t length)
{
    uint32_t transactions = (uint32_t)cycles->history->transaction_count;
    char text[256];
    int used = 0;

    for (size_t i = 0; i < length && used < (int)sizeof(text) - 60; i++) {
        if (path[i]->from >= transactions)
            continue;
        used += snprintf(text + used, sizeof(text) - (size_t)used, "T%u -%s", path[i]->from, kind_name(path[i]->kind));
        if (path[i]->key != GRAPH_NONE)
            used += snprintf(text + used, sizeof(text) - (size_t)used, "(key %u)", path[i]->key);
        used += snprintf(text + used, sizeof(text) - (size_t)used, "-> ");
    }
    return fail(cycles, anomaly, "%s...", used > 0 ? text : "");
}

enum { PATH_SHOWN = 16, SEARCHES_MAX = 2000 };

/* A cycle with an edge of one of `first` kinds, the rest of `kinds`. 0: there is none (or, in a history that is broken all over,
 * a weaker name will do). */
static int find_cycle(struct cycles *cycles, unsigned first, unsigned kinds, enum cycles_anomaly anomaly)
{
    const struct edge *path[PATH_SHOWN];
    unsigned searches = 0;

    for (size_t i = 0; i < cycles->graph.edge_count && searches < SEARCHES_MAX; i++) {
        const struct edge *edge = &cycles->graph.edges[i];
        size_t length;

        if (((unsigned)edge->kind & first) == 0 || cycles->part[edge->from] != cycles->part[edge->to])
            continue;
        searches++;
        path[0] = edge;
        length = graph_path(&cycles->graph, kinds, cycles->part, edge->to, edge->from, path + 1, PATH_SHOWN - 1);
        if (length > 0)
            return describe(cycles, anomaly, path, length + 1);
    }
    return 0;
}

/* From the least edges to the most: the first cycle has the strongest name. One search of everything says quickly that there
 * is none. */
static int find_cycles(struct cycles *cycles)
{
    static const struct {
        unsigned first, rest;
        enum cycles_anomaly anomaly;
    } kinds[] = {
        {EDGE_WW, EDGE_WW, CYCLES_G0},
        {EDGE_WR, EDGE_WW | EDGE_WR, CYCLES_G1C},
        {EDGE_RW, EDGE_WW | EDGE_WR, CYCLES_G_SINGLE},
        {EDGE_RW, EDGE_WW | EDGE_WR | EDGE_RW, CYCLES_G2},
        {EDGE_WW, EDGE_WW | EDGE_RT, CYCLES_G0_REALTIME},
        {EDGE_WR, EDGE_WW | EDGE_WR | EDGE_RT, CYCLES_G1C_REALTIME},
        {EDGE_RW, EDGE_WW | EDGE_WR | EDGE_RT, CYCLES_STALE_READ},
        {EDGE_RW, EDGE_WW | EDGE_WR | EDGE_RW | EDGE_RT, CYCLES_G2_REALTIME},
    };
    int failed = 0;

    if (!graph_parts(&cycles->graph, EDGE_WW | EDGE_WR | EDGE_RW | EDGE_RT, cycles->part))
        return 0;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]) && failed == 0; i++)
        if (graph_parts(&cycles->graph, kinds[i].first | kinds[i].rest, cycles->part))
            failed = find_cycle(cycles, kinds[i].first, kinds[i].rest, kinds[i].anomaly);
    assert(failed != 0); /* the last kinds are all */
    return failed;
}

static int find_all(struct cycles *cycles)
{
    const struct cycles_history *history = cycles->history;
    int failed;

    cycles->graph.node_count = (uint32_t)history->transaction_count;
    for (uint32_t key = 0; key < history->key_count; key++)
        add_list_edges(cycles, key);
    each_read(cycles, add_read_edges);
    failed = add_time_edges(cycles);
    if (failed != 0)
        return failed;
    cycles->report->edges = (uint32_t)cycles->graph.edge_count;
    cycles->part = checker_zalloc(cycles->graph.node_count, sizeof(cycles->part[0]));
    graph_sort(&cycles->graph);
    return find_cycles(cycles);
}

enum cycles_anomaly cycles_check(const struct cycles_history *history, struct cycles_report *ret_report)
{
    struct cycles cycles = {.history = history, .report = ret_report};
    int failed;

    *ret_report = (struct cycles_report){0};
    cycles.elements = checker_zalloc(history->element_count, sizeof(cycles.elements[0]));
    cycles.lists = checker_zalloc(history->key_count, sizeof(cycles.lists[0]));
    failed = index_appends(&cycles);
    if (failed == 0)
        failed = each_read(&cycles, check_read);
    if (failed == 0)
        failed = check_lists(&cycles);
    if (failed == 0)
        failed = each_read(&cycles, check_intermediate);
    if (failed == 0)
        failed = each_read(&cycles, check_update);
    if (failed == 0)
        failed = find_all(&cycles);
    graph_done(&cycles.graph);
    mem_free(cycles.part);
    mem_free(cycles.elements);
    mem_free(cycles.lists);
    return (enum cycles_anomaly)failed;
}

const char *cycles_name(enum cycles_anomaly anomaly)
{
    static const char *const names[CYCLES_ANOMALIES] = {
        "ok", "malformed history", "internal", "garbage read", "duplicate element", "incompatible order", "G1a", "dirty write",
        "G1b", "lost append", "lost update", "G0", "G1c", "G-single", "G2", "G0-realtime", "G1c-realtime",
        "stale read", "G2-realtime"};

    return names[anomaly];
}
