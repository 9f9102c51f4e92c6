/* One store, a chain of versions a key; transactions take turns at random. */
#include "tests/unit/sim/history_maker.h"

#include "sim/checkers/grow.h"
#include "tests/unit/draw.h"
#include "txn/mutation.h"

enum { NONE = UINT32_MAX, OPS_MAX = 64 };

struct state {
    version_t version;
    uint64_t value;
    bool present;
    uint32_t older;
};

struct own {
    uint32_t key;
    bool present;
    uint64_t value;
};

struct slot {
    struct history_record record;
    unsigned step;
    struct own own[OPS_MAX * 8];
    unsigned own_count;
    uint32_t reads[OPS_MAX * 8]; /* keys of the read conflict ranges */
    unsigned read_count;
    enum history_outcome outcome;
    version_t version;
    uint16_t index;
};

struct maker {
    const struct maker_options *options;
    struct history *history;
    uint64_t random;
    uint32_t *newest; /* by key */
    struct state *states;
    size_t state_count, state_capacity;
    version_t version;
    uint16_t index;
    bool batch_open; /* nobody was told of this version yet */
    uint64_t unique;
};

static uint64_t below(struct maker *maker, uint64_t limit)
{
    return draw_below(&maker->random, limit);
}

static struct own at_version(struct maker *maker, const struct slot *slot, uint32_t key, version_t version)
{
    struct own found = {.key = key};

    for (uint32_t i = maker->newest[key]; i != NONE; i = maker->states[i].older)
        if (maker->states[i].version <= version) {
            found.present = maker->states[i].present;
            found.value = maker->states[i].value;
            break;
        }
    for (unsigned i = 0; i < slot->own_count; i++)
        if (slot->own[i].key == key)
            found = slot->own[i];
    return found;
}

static bool is_own(const struct slot *slot, uint32_t key)
{
    for (unsigned i = 0; i < slot->own_count; i++)
        if (slot->own[i].key == key)
            return true;
    return false;
}

/* What its own writes answered is not in the read conflict range. */
static void add_read(struct slot *slot, uint32_t key)
{
    if (!is_own(slot, key))
        slot->reads[slot->read_count++] = key;
}

static struct bytes number(uint8_t p[8], uint64_t value)
{
    put_le64(p, value);
    return bytes_of(p, 8);
}

static void do_get(struct maker *maker, struct slot *slot, version_t read_version)
{
    uint32_t key = (uint32_t)below(maker, maker->options->keys);
    struct own seen = at_version(maker, slot, key, read_version);
    uint8_t p[8];

    history_get(&slot->record, key, seen.present ? HISTORY_PRESENT : 0, number(p, seen.value));
    add_read(slot, key);
}

static void do_range(struct maker *maker, struct slot *slot, version_t read_version)
{
    uint32_t begin = (uint32_t)below(maker, maker->options->keys);
    uint32_t end = begin + 1 + (uint32_t)below(maker, maker->options->keys - begin);
    bool reverse = below(maker, 2) != 0, more = false;
    uint32_t limit = 1 + (uint32_t)below(maker, 8), count = 0;
    uint8_t p[8];

    history_range(&slot->record, begin, end, reverse ? HISTORY_REVERSE : 0);
    for (uint32_t i = 0; i < end - begin && !more; i++) {
        uint32_t key = reverse ? end - 1 - i : begin + i;
        struct own seen = at_version(maker, slot, key, read_version);

        add_read(slot, key);
        if (!seen.present)
            continue;
        history_pair(&slot->record, key, number(p, seen.value));
        more = ++count == limit;
    }
    if (more)
        slot->record.ops[slot->record.op_count - 1].flags |= HISTORY_MORE;
}

static void do_write(struct maker *maker, struct slot *slot, version_t read_version)
{
    uint32_t key = (uint32_t)below(maker, maker->options->keys);
    uint64_t kind = maker->options->points ? 0 : below(maker, 4), value = ++maker->unique << 20;
    struct own seen = at_version(maker, slot, key, read_version);
    uint8_t p[8];

    if (kind == 1) {
        uint32_t end = key + 1 + (uint32_t)below(maker, maker->options->keys - key < 4 ? maker->options->keys - key : 4);

        history_write(&slot->record, HISTORY_CLEAR, key, end, 0, bytes_none());
        for (; key < end; key++)
            slot->own[slot->own_count++] = (struct own){.key = key};
    } else if (kind == 2 && is_own(slot, key)) {
        history_write(&slot->record, HISTORY_ATOMIC, key, key + 1, MUTATION_ADD, number(p, 7));
        slot->own[slot->own_count++] = (struct own){key, true, (seen.present ? seen.value : 0) + 7};
    } else {
        history_write(&slot->record, HISTORY_SET, key, key + 1, 0, number(p, value));
        slot->own[slot->own_count++] = (struct own){key, true, value};
    }
}

static bool in_conflict(struct maker *maker, struct slot *slot, version_t read_version)
{
    for (unsigned i = 0; i < slot->read_count; i++) {
        uint32_t newest = maker->newest[slot->reads[i]];

        if (newest != NONE && maker->states[newest].version > read_version)
            return true;
    }
    return false;
}

static void apply(struct maker *maker, struct slot *slot)
{
    if (maker->batch_open && below(maker, 2) != 0) {
        maker->index++;
    } else {
        maker->version += 1 + (version_t)below(maker, 5);
        maker->index = 0;
        maker->batch_open = true;
    }
    slot->version = maker->version;
    slot->index = maker->index;
    for (unsigned i = 0; i < slot->own_count; i++) {
        maker->states = checker_grow(maker->states, maker->state_count, &maker->state_capacity, sizeof(maker->states[0]));
        maker->states[maker->state_count] = (struct state){maker->version, slot->own[i].value, slot->own[i].present,
                                                           maker->newest[slot->own[i].key]};
        maker->newest[slot->own[i].key] = (uint32_t)maker->state_count++;
    }
    history_mark(maker->history, slot->version, slot->index, slot->record.number);
}

static void begin(struct maker *maker, struct slot *slot)
{
    struct history_transaction *t;

    *slot = (struct slot){.step = 0};
    history_begin(maker->history, &slot->record, 0);
    t = history_transaction_of(&slot->record);
    t->called = history_tick(maker->history);
    t->read_version = maker->version;
    t->answered = history_tick(maker->history);
    maker->batch_open = false;
}

/* A conflict goes wrong at once; an unknown result has happened or not. */
static void commit(struct maker *maker, struct slot *slot)
{
    struct history_transaction *t = history_transaction_of(&slot->record);
    uint64_t fate = below(maker, 40);

    t->commit_called = history_tick(maker->history);
    if (slot->own_count == 0)
        slot->outcome = HISTORY_READ_ONLY;
    else if (in_conflict(maker, slot, t->read_version))
        slot->outcome = HISTORY_CONFLICT;
    else if (fate == 0)
        slot->outcome = HISTORY_UNKNOWN;
    else if (fate == 1)
        slot->outcome = HISTORY_FAILED;
    else
        slot->outcome = fate == 2 ? HISTORY_UNKNOWN : HISTORY_COMMITTED;
    if (slot->outcome == HISTORY_COMMITTED || fate == 2) {
        if (slot->outcome != HISTORY_READ_ONLY && slot->outcome != HISTORY_CONFLICT)
            apply(maker, slot);
    }
}

static void move(struct maker *maker, struct slot *slot)
{
    struct history_transaction *t = history_transaction_of(&slot->record);
    uint32_t ops = maker->options->reads + maker->options->writes;

    if (slot->step == ops) {
        commit(maker, slot);
    } else if (slot->step > ops) {
        t->commit_answered = history_tick(maker->history);
        maker->batch_open = false;
        history_finish(&slot->record, slot->outcome, slot->version, slot->index);
        return;
    } else if (maker->options->points ? slot->step < maker->options->reads : below(maker, ops) < maker->options->reads) {
        if (!maker->options->points && below(maker, 2) != 0)
            do_range(maker, slot, t->read_version);
        else
            do_get(maker, slot, t->read_version);
    } else {
        do_write(maker, slot, t->read_version);
    }
    slot->step++;
}

void make_history(const struct maker_options *options, struct history *ret_history)
{
    struct maker maker = {.options = options, .history = ret_history, .random = options->seed, .version = 10};
    struct slot *slots = checker_zalloc(options->at_once, sizeof(slots[0]));
    uint32_t under_way = 0;

    history_init(ret_history, options->keys);
    ret_history->marked = true;
    maker.newest = checker_zalloc(options->keys, sizeof(maker.newest[0]));
    memset(maker.newest, 0xff, options->keys * sizeof(maker.newest[0]));
    do {
        struct slot *slot = &slots[below(&maker, options->at_once)];
        bool idle = slot->record.history == NULL;

        if (idle && ret_history->transaction_count < options->transactions) {
            begin(&maker, slot);
            under_way++;
        } else if (!idle) {
            move(&maker, slot);
            under_way -= slot->record.history == NULL;
        }
    } while (under_way > 0 || ret_history->transaction_count < options->transactions);
    mem_free(maker.newest);
    mem_free(maker.states);
    mem_free(slots);
}

/* ---- lists ---- */

struct list_slot {
    struct cycles_record record;
    unsigned step;
    uint64_t version;
    uint32_t appends[OPS_MAX], keys[OPS_MAX];
    uint32_t reads[OPS_MAX];
    unsigned append_count, read_count;
};

struct list {
    uint32_t *elements;
    uint64_t *versions;
    size_t count, capacity, versions_capacity;
};

struct list_maker {
    const struct maker_options *options;
    struct cycles_history *history;
    uint64_t random, version;
    struct list *lists;
    uint32_t first_key; /* keys are used up in turn, so that lists stay short */
};

static void read_list(struct list_maker *maker, struct list_slot *slot, uint32_t key)
{
    struct list *list = &maker->lists[key];
    uint32_t elements[4096], count = 0;

    while (count < list->count && list->versions[count] <= slot->version) {
        elements[count] = list->elements[count];
        count++;
    }
    for (unsigned i = 0; i < slot->append_count; i++)
        if (slot->keys[i] == key)
            elements[count++] = slot->appends[i];
    cycles_read(&slot->record, key, elements, count);
    slot->reads[slot->read_count++] = key;
}

static void commit_lists(struct list_maker *maker, struct list_slot *slot)
{
    uint64_t fate = draw_below(&maker->random, 30);

    for (unsigned i = 0; i < slot->read_count; i++) {
        struct list *list = &maker->lists[slot->reads[i]];

        if (list->count > 0 && list->versions[list->count - 1] > slot->version && slot->append_count > 0)
            fate = 100;
    }
    if (fate <= 2 || fate == 100) {
        if (fate != 2) {
            cycles_finish(&slot->record, fate == 0 ? CYCLES_UNKNOWN : CYCLES_ABORTED);
            return;
        }
    }
    maker->version++;
    for (unsigned i = 0; i < slot->append_count; i++) {
        struct list *list = &maker->lists[slot->keys[i]];

        list->elements = checker_grow(list->elements, list->count, &list->capacity, sizeof(list->elements[0]));
        list->versions = checker_grow(list->versions, list->count, &list->versions_capacity, sizeof(list->versions[0]));
        list->elements[list->count] = slot->appends[i];
        list->versions[list->count++] = maker->version;
    }
    cycles_finish(&slot->record, fate == 2 ? CYCLES_UNKNOWN : CYCLES_COMMITTED);
}

static void move_lists(struct list_maker *maker, struct list_slot *slot)
{
    uint32_t window = maker->options->keys < 32 ? maker->options->keys : 32;
    uint32_t key = (maker->first_key + (uint32_t)draw_below(&maker->random, window)) % maker->options->keys;

    if (slot->step == maker->options->reads + maker->options->writes) {
        commit_lists(maker, slot);
        maker->first_key += draw_below(&maker->random, 4) == 0;
    } else if (slot->step < maker->options->reads) {
        read_list(maker, slot, key);
    } else {
        slot->keys[slot->append_count] = key;
        slot->appends[slot->append_count] = cycles_new_element(maker->history);
        cycles_append(&slot->record, key, slot->appends[slot->append_count++]);
    }
    slot->step++;
}

void make_lists(const struct maker_options *options, struct cycles_history *ret_history)
{
    struct list_maker maker = {.options = options, .history = ret_history, .random = options->seed};
    struct list_slot *slots = checker_zalloc(options->at_once, sizeof(slots[0]));
    uint32_t under_way = 0;

    cycles_init(ret_history, options->keys);
    maker.lists = checker_zalloc(options->keys, sizeof(maker.lists[0]));
    do {
        struct list_slot *slot = &slots[draw_below(&maker.random, options->at_once)];
        bool idle = slot->record.history == NULL;

        if (idle && ret_history->transaction_count < options->transactions) {
            *slot = (struct list_slot){.version = maker.version};
            cycles_begin(ret_history, &slot->record, 0);
            under_way++;
        } else if (!idle) {
            move_lists(&maker, slot);
            under_way -= slot->record.history == NULL;
        }
    } while (under_way > 0 || ret_history->transaction_count < options->transactions);
    for (uint32_t key = 0; key < options->keys; key++) {
        mem_free(maker.lists[key].elements);
        mem_free(maker.lists[key].versions);
    }
    mem_free(maker.lists);
    mem_free(slots);
}
