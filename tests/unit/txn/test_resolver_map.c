#include <criterion/criterion.h>

#include "net/error.h"
#include "tests/unit/draw.h"
#include "tests/unit/nth.h"
#include "txn/conflict_range.h"
#include "txn/conflict_set.h"
#include "txn/resolver_map.h"

#define L(s) BYTES_LITERAL(s)

static void add(struct resolver_map *map, version_t from, struct bytes one, struct bytes two)
{
    struct bytes begins[3] = {bytes_none(), one, two};

    cr_assert_eq(resolver_map_add(map, resolver_map_newest(map)->number + 1, from, begins, 3), 0);
}

/* Three resolvers: from version 0 cut at h and p, from 100 at c and p, from 200 at c and d. */
static struct resolver_map three(void)
{
    struct bytes begins[3] = {bytes_none(), L("h"), L("p")};
    struct resolver_map map;

    cr_assert_eq(resolver_map_init(&map, begins, 3), 0);
    add(&map, 100, L("c"), L("p"));
    add(&map, 200, L("c"), L("d"));
    return map;
}

Test(resolver_map, a_version_is_cut_by_the_newest_partition_that_counts_for_it)
{
    struct resolver_map map = three();

    cr_assert_eq(resolver_map_at(&map, 99), 0);
    cr_assert_eq(resolver_map_at(&map, 100), 1);
    cr_assert_eq(resolver_map_at(&map, 199), 1);
    cr_assert_eq(resolver_map_at(&map, 5000), 2);
    resolver_map_done(&map);
}

Test(resolver_map, a_read_reaches_back_to_who_held_its_keys_at_the_next_version)
{
    struct resolver_map map = three();
    uint32_t first;

    cr_assert(resolver_map_reach(&map, 98, &first) && first == 0);
    cr_assert(resolver_map_reach(&map, 99, &first) && first == 1); /* what was written at 99 is no conflict */
    cr_assert(resolver_map_reach(&map, 198, &first) && first == 1);
    cr_assert(resolver_map_reach(&map, 199, &first) && first == 2);
    resolver_map_done(&map);
}

Test(resolver_map, parts_that_touch_become_one_and_others_stay_apart)
{
    struct resolver_map map = three();
    struct key_part parts[RESOLVER_PARTITIONS_MAX];

    cr_assert_eq(resolver_map_parts(&map, 0, 2, 1, parts), 1); /* [h, p), [c, p), [c, d) */
    cr_assert(bytes_equal(parts[0].begin, L("c")) && bytes_equal(parts[0].end, L("p")) && !parts[0].endless);
    cr_assert_eq(resolver_map_parts(&map, 0, 2, 2, parts), 1); /* [p, ..), [d, ..) */
    cr_assert(bytes_equal(parts[0].begin, L("d")) && parts[0].endless);
    add(&map, 300, L("x"), L("y"));
    cr_assert_eq(resolver_map_parts(&map, 2, 3, 1, parts), 2); /* [c, d), [x, y) */
    cr_assert(bytes_equal(parts[0].begin, L("c")) && bytes_equal(parts[1].begin, L("x")));
    cr_assert_eq(resolver_map_parts(&map, 3, 3, 0, parts), 1);
    cr_assert(parts[0].begin.len == 0 && bytes_equal(parts[0].end, L("x")));
    resolver_map_done(&map);
}

Test(resolver_map, what_no_read_can_reach_is_forgotten_and_what_would_is_refused)
{
    struct resolver_map map = three();
    uint32_t first;

    resolver_map_forget(&map, 99);
    cr_assert_eq(map.partition_count, 3);
    resolver_map_forget(&map, 100);
    cr_assert_eq(map.partition_count, 2);
    cr_assert_not(resolver_map_reach(&map, 98, &first));
    cr_assert(resolver_map_reach(&map, 99, &first) && first == 0);
    resolver_map_forget(&map, 1000000);
    cr_assert(map.partition_count == 1 && resolver_map_newest(&map)->number == 3);
    resolver_map_done(&map);
}

Test(resolver_map, each_allocation_that_fails_leaves_it_as_it_was)
{
    struct bytes begins[3] = {bytes_none(), L("h"), L("p")};

    FAIL_EACH(nth, nth_allocation) {
        struct resolver_map map;
        int error;

        nth_begin(&nth, NULL);
        error = resolver_map_init(&map, begins, 3);
        if (error == 0) {
            error = resolver_map_add(&map, 2, 100, begins, 3);
            cr_assert_eq(resolver_map_at(&map, 100), error == 0 ? 1 : 0);
            resolver_map_done(&map);
        }
        cr_assert_eq(error, nth_end(&nth) ? ERROR_OUT_OF_MEMORY : 0);
    }
}

Test(resolver_map, too_many_partitions_push_out_the_oldest)
{
    struct resolver_map map = three();
    uint32_t first;

    for (version_t from = 300; from < 300 + RESOLVER_PARTITIONS_MAX; from++)
        add(&map, from, L("a"), L("b"));
    cr_assert_eq(map.partition_count, RESOLVER_PARTITIONS_MAX);
    cr_assert_not(resolver_map_reach(&map, 298, &first));
    cr_assert(resolver_map_reach(&map, 299, &first) && first == 0);
    resolver_map_done(&map);
}

Test(resolver_map, what_is_no_next_partition_is_refused)
{
    struct resolver_map map = three();
    struct bytes good[3] = {bytes_none(), L("b"), L("c")}, twice[3] = {bytes_none(), L("b"), L("b")}, gap[3] = {L("a"), L("b"), L("c")};

    cr_assert_eq(resolver_map_add(&map, 2, 300, good, 3), 0); /* known */
    cr_assert_eq(map.partition_count, 3);
    cr_assert_eq(resolver_map_add(&map, 5, 300, good, 3), ERROR_CLIENT_INVALID_OPERATION);
    cr_assert_eq(resolver_map_add(&map, 4, 200, good, 3), ERROR_CLIENT_INVALID_OPERATION);
    cr_assert_eq(resolver_map_add(&map, 4, 300, good, 2), ERROR_CLIENT_INVALID_OPERATION);
    cr_assert_eq(resolver_map_add(&map, 4, 300, twice, 3), ERROR_CLIENT_INVALID_OPERATION);
    cr_assert_eq(resolver_map_add(&map, 4, 300, gap, 3), ERROR_CLIENT_INVALID_OPERATION);
    cr_assert_eq(map.partition_count, 3);
    resolver_map_done(&map);
}

/* ---- random histories: several resolvers whose parts change, against what one would say ---- */

enum { KEYS = 24, RESOLVERS = 4, BATCH = 6, WINDOW = 400 };

struct history {
    uint64_t random;
    struct resolver_map map;
    struct conflict_set *sets[RESOLVERS];
    uint32_t resolvers;
    version_t version, written[KEYS], tried[KEYS]; /* the newest write of who committed; and of whoever wanted to write */
    unsigned committed, conflicts, invented, reached_back;
};

struct span {
    uint8_t begin, end;
};

struct drawn {
    struct span reads[2], writes[2];
    unsigned read_count, write_count;
    version_t read_version;
};

static const uint8_t key_bytes[KEYS + 1] = "abcdefghijklmnopqrstuvwxy";

static struct span draw_span(struct history *history)
{
    uint8_t begin = (uint8_t)draw_below(&history->random, KEYS);
    uint8_t width = draw_below(&history->random, 3) == 0 ? (uint8_t)(1 + draw_below(&history->random, (uint64_t)(KEYS - begin))) : 1;

    return (struct span){begin, (uint8_t)(begin + width)};
}

static struct drawn draw_transaction(struct history *history)
{
    struct drawn drawn = {.read_count = (unsigned)draw_below(&history->random, 3), .write_count = (unsigned)draw_below(&history->random, 3)};

    for (unsigned i = 0; i < 2; i++) {
        drawn.reads[i] = draw_span(history);
        drawn.writes[i] = draw_span(history);
    }
    drawn.read_version = history->version - (version_t)draw_below(&history->random, WINDOW / 2);
    return drawn;
}

/* What of the spans lies in the parts. */
static void cut(const struct span *spans, unsigned count, const struct key_part *parts, uint32_t part_count, struct bytes_buffer *out)
{
    for (unsigned i = 0; i < count; i++)
        for (uint32_t p = 0; p < part_count; p++) {
            struct bytes begin = bytes_max(bytes_of(&key_bytes[spans[i].begin], 1), parts[p].begin);
            struct bytes end = bytes_of(&key_bytes[spans[i].end], 1);

            if (!parts[p].endless)
                end = bytes_min(end, parts[p].end);
            if (bytes_compare(begin, end) < 0)
                conflict_range_append(out, begin, end);
        }
}

/* The verdicts of one resolver on a batch; true in ret_said where it says conflict. */
static void ask_one(struct history *history, uint32_t resolver, const struct drawn *batch, unsigned count, bool *ret_said)
{
    struct conflict_transaction transactions[BATCH] = {{0}};
    struct bytes_buffer reads[BATCH] = {{0}}, writes[BATCH] = {{0}};
    uint32_t now = resolver_map_at(&history->map, history->version);
    struct key_part parts[RESOLVER_PARTITIONS_MAX], write = resolver_map_part(&history->map, now, resolver);

    for (unsigned i = 0; i < count; i++) {
        uint32_t first, part_count;

        cr_assert(resolver_map_reach(&history->map, batch[i].read_version, &first));
        part_count = resolver_map_parts(&history->map, first, now, resolver, parts);
        history->reached_back += first < now;
        cut(batch[i].reads, batch[i].read_count, parts, part_count, &reads[i]);
        cut(batch[i].writes, batch[i].write_count, &write, 1, &writes[i]);
        transactions[i].read_version = batch[i].read_version;
        transactions[i].read_ranges = bytes_buffer_bytes(&reads[i]);
        transactions[i].write_ranges = bytes_buffer_bytes(&writes[i]);
    }
    cr_assert_eq(conflict_set_resolve(history->sets[resolver], history->version, transactions, count, NULL), 0);
    for (unsigned i = 0; i < count; i++) {
        cr_assert_neq(transactions[i].verdict, CONFLICT_TOO_OLD);
        ret_said[i] |= transactions[i].verdict == CONFLICT_CONFLICT;
        bytes_buffer_done(&reads[i]);
        bytes_buffer_done(&writes[i]);
    }
}

static bool meets(const struct drawn *drawn, const version_t *newest)
{
    for (unsigned i = 0; i < drawn->read_count; i++)
        for (unsigned key = drawn->reads[i].begin; key < drawn->reads[i].end; key++)
            if (newest[key] > drawn->read_version)
                return true;
    return false;
}

static void enter(const struct drawn *drawn, version_t *newest, version_t version)
{
    for (unsigned i = 0; i < drawn->write_count; i++)
        for (unsigned key = drawn->writes[i].begin; key < drawn->writes[i].end; key++)
            newest[key] = version;
}

static void run_batch(struct history *history)
{
    unsigned count = (unsigned)draw_below(&history->random, BATCH + 1);
    struct drawn batch[BATCH];
    bool said[BATCH] = {false};

    for (unsigned i = 0; i < count; i++)
        batch[i] = draw_transaction(history);
    history->version += 1 + (version_t)draw_below(&history->random, 20);
    for (uint32_t r = 0; r < history->resolvers; r++)
        ask_one(history, r, batch, count, said);
    for (unsigned i = 0; i < count; i++) {
        bool true_conflict = meets(&batch[i], history->written);

        cr_assert(said[i] || !true_conflict, "a conflict was missed at %lld", (long long)history->version);
        cr_assert(!said[i] || meets(&batch[i], history->tried), "a conflict with nobody at %lld", (long long)history->version);
        cr_assert(history->resolvers > 1 || said[i] == true_conflict);
        history->invented += said[i] && !true_conflict;
        history->conflicts += said[i];
        history->committed += !said[i];
        enter(&batch[i], history->tried, history->version);
        if (!said[i])
            enter(&batch[i], history->written, history->version);
    }
}

static void change_parts(struct history *history)
{
    struct bytes begins[RESOLVERS] = {bytes_none()};
    unsigned place = 0;

    for (uint32_t r = 1; r < history->resolvers; r++) {
        unsigned highest = KEYS - (history->resolvers - r);

        place += 1 + (unsigned)draw_below(&history->random, highest - place);
        begins[r] = bytes_of(&key_bytes[place], 1);
    }
    cr_assert_eq(resolver_map_add(&history->map, resolver_map_newest(&history->map)->number + 1,
                                  history->version + 1 + (version_t)draw_below(&history->random, 2), begins, history->resolvers), 0);
}

static struct history run_history(uint64_t seed, uint32_t resolvers, int batches)
{
    struct history history = {.random = seed, .resolvers = resolvers, .version = WINDOW};
    struct bytes begins[RESOLVERS] = {bytes_none(), L("g"), L("m"), L("s")};
    version_t changed = 0;

    memset(history.written, 0xff, sizeof(history.written));
    memset(history.tried, 0xff, sizeof(history.tried));
    cr_assert_eq(resolver_map_init(&history.map, begins, resolvers), 0);
    for (uint32_t r = 0; r < resolvers; r++)
        conflict_set_create(0, seed, &history.sets[r]);
    for (int i = 0; i < batches; i++) {
        run_batch(&history);
        if (history.version > changed + WINDOW / 8 && draw_below(&history.random, 3) == 0) {
            change_parts(&history);
            changed = resolver_map_newest(&history.map)->from;
        }
        resolver_map_forget(&history.map, history.version - WINDOW);
    }
    for (uint32_t r = 0; r < resolvers; r++)
        conflict_set_destroy(history.sets[r]);
    resolver_map_done(&history.map);
    return history;
}

Test(resolver_map, no_history_of_changes_hides_a_conflict)
{
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct history history = run_history(seed, 2 + (uint32_t)(seed % 3), 1500);

        cr_assert(history.committed > 1000 && history.conflicts > 500 && history.reached_back > 1000);
        cr_assert_gt(history.invented, 0); /* by a write that one resolver entered and another refused: there are some */
        cr_assert_lt(history.invented, history.conflicts);
    }
}

Test(resolver_map, one_resolver_invents_nothing)
{
    struct history history = run_history(1, 1, 5000);

    cr_assert(history.committed > 1000 && history.conflicts > 1000 && history.invented == 0);
}
