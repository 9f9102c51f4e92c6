/* The window against a model that keeps a whole snapshot of every version, over an engine that is an array.
 *
 * All keys that are ever named come from one small universe, in order. A few more (probes) are only looked at: they lie in
 * the gaps that sets can't reach and range clears must. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "net/error.h"
#include "net/mem.h"
#include "storage/window.h"
#include "tests/unit/draw.h"
#include "tests/unit/nth.h"

#define L BYTES_LITERAL

enum { NAMED = 121, UNIVERSE = NAMED + 81, KEY_LEN_MAX = 4, VERSIONS_MAX = 64, ABSENT = -1 };

struct snapshot {
    version_t version;
    version_t touched[UNIVERSE]; /* by the last mutation of the key */
    int value[UNIVERSE];         /* a number that stands for the value, or ABSENT */
};

struct model {
    uint8_t text[UNIVERSE][KEY_LEN_MAX + 1];
    struct bytes keys[UNIVERSE];
    bool is_probe[UNIVERSE];
    struct snapshot snapshots[VERSIONS_MAX]; /* [0] is what the engine holds, at window_forgotten */
    int count;
    struct window *window;
    uint64_t random;
    int next_value;
};

/* All strings over {0, 'a', 'b'} of up to 4 bytes, in order, and behind each longest one a probe. */
static void enumerate(struct model *model, int *count, const uint8_t *prefix, size_t len)
{
    uint8_t extended[KEY_LEN_MAX + 1];
    int at = (*count)++;

    memcpy(model->text[at], prefix, len);
    model->keys[at] = bytes_of(model->text[at], len);
    model->is_probe[at] = len > KEY_LEN_MAX;
    if (len > KEY_LEN_MAX)
        return;
    memcpy(extended, prefix, len);
    for (int i = 0; i < 3; i++) {
        extended[len] = (uint8_t)"\0ab"[i];
        if (len < KEY_LEN_MAX || i == 1)
            enumerate(model, count, extended, len + 1);
    }
}

static struct model *create_model(uint64_t seed)
{
    struct model *model = calloc(1, sizeof(*model));
    int count = 0;

    enumerate(model, &count, (const uint8_t *)"", 0);
    cr_assert_eq(count, UNIVERSE);
    for (int i = 1; i < UNIVERSE; i++)
        cr_assert_lt(bytes_compare(model->keys[i - 1], model->keys[i]), 0);
    model->random = seed;
    model->count = 1;
    model->snapshots[0].version = 1000;
    for (int i = 0; i < UNIVERSE; i++)
        model->snapshots[0].value[i] = i % 3 == 0 ? model->next_value++ : ABSENT;
    cr_assert_eq(window_create(1000, seed, &model->window), 0);
    return model;
}

static void destroy_model(struct model *model)
{
    window_destroy(model->window);
    free(model);
}

static int draw_int(struct model *model, int limit)
{
    return (int)draw_below(&model->random, (uint64_t)limit);
}

static int draw_named(struct model *model)
{
    int at = draw_int(model, UNIVERSE);

    return model->is_probe[at] ? at - 1 : at;
}

static struct bytes value_bytes(int number, uint8_t out[64])
{
    memset(out, number & 0xff, 64);
    put_le32(out, (uint32_t)number);
    return bytes_of(out, 4 + (size_t)number % 60);
}

static int value_number(struct bytes value)
{
    uint8_t expected[64];
    int number;

    cr_assert_geq(value.len, 4);
    number = (int)get_le32(value.ptr);
    cr_assert(bytes_equal(value, value_bytes(number, expected)));
    return number;
}

static struct snapshot *newest_of(struct model *model)
{
    return &model->snapshots[model->count - 1];
}

static void touch(struct model *model, int begin, int end, int value)
{
    struct snapshot *snapshot = newest_of(model);

    for (int i = begin; i < end; i++) {
        snapshot->value[i] = value;
        snapshot->touched[i] = snapshot->version;
    }
}

static void begin_version(struct model *model)
{
    struct snapshot *next = &model->snapshots[model->count];

    *next = *newest_of(model);
    next->version += 1 + draw_int(model, draw_int(model, 8) == 0 ? 400000 : 30000);
    model->count++;
    window_advance(model->window, next->version);
}

static void mutate(struct model *model)
{
    version_t version = newest_of(model)->version;
    int begin = draw_named(model), end, kind = draw_int(model, 16);
    uint8_t value[64];

    if (kind < 11) {
        struct bytes bytes = value_bytes(model->next_value, value);

        cr_assert_eq(window_set(model->window, version, model->keys[begin], bytes), 0);
        touch(model, begin, begin + 1, model->next_value++);
        return;
    }
    end = kind < 13 ? begin + 1 : begin + draw_int(model, kind == 15 ? UNIVERSE - begin : 20);
    end = end >= UNIVERSE ? UNIVERSE - 1 : end;
    end = model->is_probe[end] ? end - 1 : end;
    end = end < begin ? begin : end;
    cr_assert_eq(window_clear_range(model->window, version, model->keys[begin], model->keys[end]), 0);
    touch(model, begin, end, ABSENT);
}

static enum window_answer expected_answer(const struct model *model, const struct snapshot *snapshot, int key)
{
    if (snapshot->touched[key] <= model->snapshots[0].version)
        return WINDOW_UNKNOWN;
    return snapshot->value[key] == ABSENT ? WINDOW_CLEARED : WINDOW_FOUND;
}

static const struct snapshot *draw_snapshot(struct model *model)
{
    return &model->snapshots[draw_int(model, model->count)];
}

/* Any version from the snapshot's own to just below the next one reads the same. */
static version_t draw_version(struct model *model, const struct snapshot *snapshot)
{
    version_t next = snapshot == newest_of(model) ? snapshot->version + 10 : snapshot[1].version;

    return snapshot->version + (version_t)draw_below(&model->random, (uint64_t)(next - snapshot->version));
}

static void check_get(struct model *model)
{
    const struct snapshot *snapshot = draw_snapshot(model);
    int key = draw_int(model, UNIVERSE);
    struct bytes value;
    enum window_answer answer = window_get(model->window, model->keys[key], draw_version(model, snapshot), &value);

    cr_assert_eq(answer, expected_answer(model, snapshot, key));
    if (answer == WINDOW_FOUND)
        cr_assert_eq(value_number(value), snapshot->value[key]);
}

/* Marks what an entry says of the universe; the entry must lie in [*low, *high), which it shrinks. */
static void mark_entry(struct model *model, const struct window_entry *entry, const struct snapshot *snapshot, bool reverse,
                       struct bytes *low, struct bytes *high, bool seen[UNIVERSE])
{
    bool is_range = entry->kind == WINDOW_CLEARED_RANGE;

    cr_assert_geq(bytes_compare(entry->key, *low), 0);
    cr_assert_lt(bytes_compare(entry->key, *high), 0);
    cr_assert(!is_range || (bytes_compare(entry->key, entry->end) < 0 && bytes_compare(entry->end, *high) <= 0));
    for (int i = 0; i < UNIVERSE; i++) {
        bool inside = is_range ? bytes_compare(model->keys[i], entry->key) >= 0 && bytes_compare(model->keys[i], entry->end) < 0
                               : bytes_equal(model->keys[i], entry->key);

        if (!inside)
            continue;
        cr_assert_not(seen[i]);
        seen[i] = true;
        cr_assert_eq(expected_answer(model, snapshot, i), entry->kind == WINDOW_SET_KEY ? WINDOW_FOUND : WINDOW_CLEARED);
        if (entry->kind == WINDOW_SET_KEY)
            cr_assert_eq(value_number(entry->value), snapshot->value[i]);
    }
    if (reverse)
        *high = entry->key;
    else
        *low = is_range ? entry->end : entry->key;
}

static void check_walk(struct model *model)
{
    const struct snapshot *snapshot = draw_snapshot(model);
    int a = draw_int(model, UNIVERSE), b = draw_int(model, UNIVERSE), begin = a < b ? a : b, end = a < b ? b : a;
    struct bytes low = model->keys[begin], high = model->keys[end];
    bool seen[UNIVERSE] = {false}, reverse = draw_int(model, 2) == 0;
    struct window_iterator iterator;
    struct window_entry entry;

    window_iterator_init(&iterator, model->window, draw_version(model, snapshot), low, high, reverse);
    while (window_iterator_next(&iterator, &entry))
        mark_entry(model, &entry, snapshot, reverse, &low, &high, seen);
    for (int i = 0; i < UNIVERSE; i++) {
        bool told = i >= begin && i < end && expected_answer(model, snapshot, i) != WINDOW_UNKNOWN;

        cr_assert_eq(seen[i], told);
    }
}

struct engine {
    const struct model *model;
    int value[UNIVERSE];
    struct bytes last; /* key of the last entry */
    bool any;
};

static int apply_to_engine(void *context, const struct window_entry *entry)
{
    struct engine *engine = context;

    cr_assert(!engine->any || bytes_compare(engine->last, entry->key) < 0);
    engine->any = true;
    engine->last = entry->key;
    for (int i = 0; i < UNIVERSE; i++) {
        struct bytes key = engine->model->keys[i];
        bool inside = entry->kind == WINDOW_CLEARED_RANGE ? bytes_compare(key, entry->key) >= 0 && bytes_compare(key, entry->end) < 0
                                                          : bytes_equal(key, entry->key);

        if (inside)
            engine->value[i] = entry->kind == WINDOW_SET_KEY ? value_number(entry->value) : ABSENT;
    }
    return 0;
}

static void check_collect(struct model *model, const struct snapshot *snapshot)
{
    struct engine engine = {.model = model};

    memcpy(engine.value, model->snapshots[0].value, sizeof(engine.value));
    cr_assert_eq(window_collect(model->window, snapshot->version, apply_to_engine, &engine), 0);
    cr_assert_arr_eq(engine.value, snapshot->value, sizeof(engine.value));
}

/* The window grows between the steps, above the version that is collected. */
static void check_collect_in_steps(struct model *model)
{
    struct snapshot snapshot = *draw_snapshot(model);
    struct window_collection collection = {.window = model->window, .version = snapshot.version};
    struct engine engine = {.model = model};
    bool more = true;

    if (snapshot.version == newest_of(model)->version)
        return;
    memcpy(engine.value, model->snapshots[0].value, sizeof(engine.value));
    while (more) {
        size_t entries_max = 1 + (size_t)draw_int(model, 5);

        cr_assert_eq(window_collect_step(&collection, entries_max, apply_to_engine, &engine, &more), 0);
        mutate(model);
    }
    cr_assert_arr_eq(engine.value, snapshot.value, sizeof(engine.value));
}

static void forget(struct model *model)
{
    int to = model->count == VERSIONS_MAX ? 1 + draw_int(model, model->count - 1) : draw_int(model, model->count);

    check_collect(model, &model->snapshots[to]);
    window_forget(model->window, model->snapshots[to].version);
    memmove(&model->snapshots[0], &model->snapshots[to], (size_t)(model->count - to) * sizeof(model->snapshots[0]));
    model->count -= to;
    cr_assert_eq(window_forgotten(model->window), model->snapshots[0].version);
}

static void discard(struct model *model)
{
    int to = draw_int(model, model->count);

    window_discard_above(model->window, model->snapshots[to].version);
    model->count = to + 1;
    cr_assert_eq(window_newest(model->window), newest_of(model)->version);
}

static void step(struct model *model)
{
    int kind = draw_int(model, 400);

    if (model->count == 1 || kind < 60)
        begin_version(model);
    if (model->count == VERSIONS_MAX || kind == 60)
        forget(model);
    if (kind == 61)
        discard(model);
    if (kind >= 62 && kind < 90)
        check_walk(model);
    if (kind == 90)
        check_collect(model, draw_snapshot(model));
    if (kind == 91)
        check_collect_in_steps(model);
    if (model->count > 1)
        mutate(model);
    check_get(model);
}

static void run_steps(uint64_t seed)
{
    struct model *model = create_model(seed);

    for (int i = 0; i < 300000; i++)
        step(model);
    destroy_model(model);
}

/* 1.2 million steps in the four of them: a mutation and a get each, now and then a walk, a collect, a forget, a roll-back. */
Test(window, agrees_with_the_model_1)
{
    run_steps(1);
}

Test(window, agrees_with_the_model_2)
{
    run_steps(2);
}

Test(window, agrees_with_the_model_3)
{
    run_steps(3);
}

Test(window, agrees_with_the_model_4)
{
    run_steps(4);
}

Test(window, the_last_mutation_within_a_version_wins)
{
    struct window *window;
    struct bytes value;

    cr_assert_eq(window_create(0, 1, &window), 0);
    window_set(window, 5, L("k"), L("1"));
    window_clear_range(window, 5, L("a"), L("z"));
    cr_assert_eq(window_get(window, L("k"), 5, &value), WINDOW_CLEARED);
    window_set(window, 5, L("k"), L("2"));
    cr_assert_eq(window_get(window, L("k"), 5, &value), WINDOW_FOUND);
    cr_assert(bytes_equal(value, L("2")));
    cr_assert_eq(window_get(window, L("k"), 4, &value), WINDOW_UNKNOWN);
    window_destroy(window);
}

Test(window, values_stay_where_they_are_while_the_window_grows)
{
    struct window *window;
    struct bytes value;
    uint8_t key[4];

    cr_assert_eq(window_create(0, 1, &window), 0);
    window_set(window, 1, L("k"), L("value"));
    cr_assert_eq(window_get(window, L("k"), 1, &value), WINDOW_FOUND);
    for (uint32_t i = 0; i < 5000; i++) {
        put_le32(key, i);
        window_set(window, 2 + i * 1000, bytes_of(key, 4), L("other"));
    }
    window_set(window, 6000000, L("k"), L("newer"));
    cr_assert(bytes_equal(value, L("value")));
    window_destroy(window);
}

Test(window, memory_goes_with_what_is_forgotten)
{
    struct window *window;
    uint8_t key[4], value[100] = {0};
    size_t empty, most = 0;

    cr_assert_eq(window_create(0, 1, &window), 0);
    empty = window_bytes(window);
    for (uint32_t i = 1; i <= 200000; i++) {
        put_le32(key, i * 2654435761u);
        cr_assert_eq(window_set(window, i * 1000, bytes_of(key, 4), bytes_of(value, sizeof(value))), 0);
        window_forget(window, i * 1000 - MAX_READ_TRANSACTION_LIFE_VERSIONS);
        most = window_bytes(window) > most ? window_bytes(window) : most;
    }
    cr_assert_lt(most, 5500 * 300 + 2 * (1 << 14) * 16 + 20 * 65536, "%zu bytes for 5,500 sets", most);
    window_forget(window, 200000000);
    cr_assert_leq(window_bytes(window), empty * 4);
    window_destroy(window);
}

/* Clears of the same range over and over must not grow with what they covered before. */
Test(window, a_clear_repeated_costs_the_same_each_time)
{
    struct window *window;
    size_t before, after;
    uint8_t begin[4], end[4];

    cr_assert_eq(window_create(0, 1, &window), 0);
    for (uint32_t i = 0; i < 1000; i++) {
        put_be16(begin, (uint16_t)(2 * i));
        put_be16(end, (uint16_t)(2 * i + 1));
        window_clear_range(window, 1 + i, bytes_of(begin, 2), bytes_of(end, 2));
    }
    window_clear_range(window, 2000, L(""), L("\xff"));
    before = window_bytes(window);
    for (uint32_t i = 0; i < 1000; i++)
        window_clear_range(window, 3000 + i, L(""), L("\xff"));
    after = window_bytes(window);
    cr_assert_lt(after - before, 1000 * 1000);
    window_destroy(window);
}

static int append_entry(void *context, const struct window_entry *entry)
{
    struct bytes_buffer *out = context;

    bytes_buffer_append(out, bytes_of(&entry->kind, 1));
    bytes_buffer_append(out, entry->key);
    bytes_buffer_append(out, entry->kind == WINDOW_CLEARED_RANGE ? entry->end : entry->value);
    return 0;
}

static struct bytes_buffer state_of(const struct window *window, version_t version)
{
    struct bytes_buffer out = {0};

    window_collect(window, version, append_entry, &out);
    return out;
}

static int mutate_by_script(struct window *window, uint32_t i)
{
    version_t version = 1 + i * 3000;
    uint8_t key[4], end[4];

    put_le32(key, i % 300 * 2654435761u);
    put_le32(end, 0x00feffff);
    if (i % 7 == 3)
        return window_clear_range(window, version, bytes_of(key, 4), bytes_of(end, 4));
    if (i % 7 == 5)
        return window_clear_range(window, version, bytes_of(key, 3), bytes_of(key, 4));
    return window_set(window, version, bytes_of(key, 4), bytes_of(end, 4));
}

/* Runs the script; a step that fails must leave the window as it was, and succeeds when it is tried again. */
static struct bytes_buffer run_script(struct nth *nth)
{
    struct window *window = NULL;
    struct bytes_buffer state;

    if (nth != NULL)
        nth_begin(nth, NULL);
    if (window_create(0, 1, &window) != 0)
        cr_assert_eq(window_create(0, 1, &window), 0);
    for (uint32_t i = 0; i < 400; i++) {
        int error = mutate_by_script(window, i);

        cr_assert(error == 0 || (nth != NULL && nth_fired(nth) && error == ERROR_OUT_OF_MEMORY));
        if (error == 0)
            continue;
        cr_assert_leq(window_newest(window), 1 + i * 3000);
        cr_assert_eq(mutate_by_script(window, i), 0);
    }
    if (nth != NULL)
        nth_end(nth);
    window_forget(window, 300000);
    state = state_of(window, window_newest(window));
    window_destroy(window);
    return state;
}

Test(window, every_failed_allocation_is_an_error_and_changes_nothing)
{
    struct bytes_buffer expected = run_script(NULL);

    cr_assert_gt(expected.len, 100);
    FAIL_EACH(nth, nth_allocation) {
        struct bytes_buffer state = run_script(&nth);

        cr_assert(bytes_equal(bytes_buffer_bytes(&state), bytes_buffer_bytes(&expected)));
        bytes_buffer_done(&state);
    }
    bytes_buffer_done(&expected);
}

static int stop_at_first(void *context, const struct window_entry *entry)
{
    (void)entry;
    ++*(int *)context;
    return ERROR_OPERATION_CANCELLED;
}

Test(window, collect_stops_when_its_callback_fails)
{
    struct window *window;
    int calls = 0;

    cr_assert_eq(window_create(0, 1, &window), 0);
    window_set(window, 1, L("a"), L("1"));
    window_set(window, 1, L("b"), L("2"));
    cr_assert_eq(window_collect(window, 1, stop_at_first, &calls), ERROR_OPERATION_CANCELLED);
    cr_assert_eq(calls, 1);
    window_destroy(window);
}

Test(window, a_cleared_range_is_collected_whole_before_the_keys_in_it)
{
    struct bytes_buffer state;
    struct window *window;

    cr_assert_eq(window_create(0, 1, &window), 0);
    window_set(window, 1, L("c"), L("old"));
    window_clear_range(window, 2, L("a"), L("d"));
    window_clear_range(window, 3, L("d"), L("f"));
    window_set(window, 4, L("b"), L("new"));
    state = state_of(window, 4);
    cr_assert(bytes_equal(bytes_buffer_bytes(&state), L("\x02" "af" "\x00" "bnew")));
    bytes_buffer_done(&state);
    window_destroy(window);
}
