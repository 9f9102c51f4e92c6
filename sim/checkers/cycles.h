/* The second oracle: looks for cycles in histories of appends to lists, and trusts no version.
 *
 * Transactions read whole lists and append elements, each of which exists once. The lists that were read say in which order
 * elements were appended; that gives edges between transactions: ww (appended behind), wr (read what it appended), rw (did not
 * read what it appended yet), and rt (answered before the other was called). A cycle is an order that can't be; its edges name it.
 * The idea and the names are those of Adya (G0, G1, G2) and of Kingsbury and Alvaro's Elle.
 *
 * Reads of transactions that did not commit count as well: they too see one state of the database. Pure. */
#pragma once

#include "net/bytes.h"

enum cycles_outcome { CYCLES_OPEN, CYCLES_COMMITTED, CYCLES_ABORTED, CYCLES_UNKNOWN, CYCLES_OUTCOMES };

struct cycles_op {
    uint32_t key;
    bool append;
    uint32_t element;     /* of an append */
    uint32_t data, count; /* of a read: elements in `elements` */
};

struct cycles_transaction {
    uint8_t outcome;
    uint32_t client;
    uint64_t called, answered; /* 0: not */
    uint32_t op_begin, op_count;
};

struct cycles_history {
    uint32_t key_count, element_count; /* elements are numbered from 0 */
    uint64_t clock;
    struct cycles_transaction *transactions;
    struct cycles_op *ops;
    uint32_t *elements; /* of all reads */
    size_t transaction_count, transaction_capacity, op_count, op_capacity, read_count, read_capacity;
};

enum cycles_anomaly {
    CYCLES_OK,
    CYCLES_MALFORMED,
    CYCLES_INTERNAL,           /* a transaction's reads contradict each other or its own appends */
    CYCLES_GARBAGE,            /* an element that nobody appended to that list */
    CYCLES_DUPLICATE,          /* an element twice: one append was applied twice */
    CYCLES_INCOMPATIBLE_ORDER, /* two reads of a list of which neither begins with the other */
    CYCLES_G1A,                /* aborted read */
    CYCLES_DIRTY_WRITE,        /* a committed append upon an aborted one */
    CYCLES_G1B,                /* intermediate read */
    CYCLES_LOST_APPEND,        /* acknowledged, and not in a later read */
    CYCLES_LOST_UPDATE,        /* read the list, appended, and another came between */
    CYCLES_G0,                 /* ww alone */
    CYCLES_G1C,                /* ww and wr */
    CYCLES_G_SINGLE,           /* one rw: read skew */
    CYCLES_G2,                 /* several rw: write skew */
    CYCLES_G0_REALTIME,        /* as above, with rt */
    CYCLES_G1C_REALTIME,
    CYCLES_STALE_READ,         /* one rw and rt: did not see what was answered before it was called */
    CYCLES_G2_REALTIME,
    CYCLES_ANOMALIES,
};

struct cycles_report {
    enum cycles_anomaly anomaly;
    char what[320]; /* the cycle: "T3 -rw(key 1)-> T7 -wr(key 0)-> T3" */
    uint32_t committed, aborted, unknown, unknown_applied, edges;
};

void cycles_init(struct cycles_history *history, uint32_t key_count);
void cycles_done(struct cycles_history *history);
static inline uint64_t cycles_tick(struct cycles_history *history)
{
    return ++history->clock;
}

/* One transaction under way, as struct history_record. */
struct cycles_record {
    struct cycles_history *history; /* borrowed */
    uint32_t number;
    struct cycles_op *ops; /* owned */
    uint32_t *elements;    /* owned */
    size_t op_count, op_capacity, read_count, read_capacity;
};
/* Calls and answers are ticked by begin and finish. */
void cycles_begin(struct cycles_history *history, struct cycles_record *record, uint32_t client);
void cycles_read(struct cycles_record *record, uint32_t key, const uint32_t *elements, uint32_t count);
uint32_t cycles_new_element(struct cycles_history *history);
void cycles_append(struct cycles_record *record, uint32_t key, uint32_t element);
void cycles_finish(struct cycles_record *record, enum cycles_outcome outcome);
void cycles_drop(struct cycles_record *record);

enum cycles_anomaly cycles_check(const struct cycles_history *history, struct cycles_report *ret_report);
const char *cycles_name(enum cycles_anomaly anomaly);
