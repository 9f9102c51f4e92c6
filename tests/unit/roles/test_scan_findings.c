/* What a consistency scan has found outlives its distributor. */
#include <criterion/criterion.h>

#include "net/mem.h"
#include "roles/distributor/scan_internal.h"
#include "txn/keys.h"

static void add(struct scan *scan, char first, size_t key_bytes, enum scan_outcome outcome)
{
    struct scan_finding *finding = &scan->findings[scan->finding_count++ % SCAN_FINDINGS_MAX];
    uint8_t *key;

    arena_done(&finding->arena);
    key = arena_alloc(&finding->arena, key_bytes);
    memset(key, first, key_bytes);
    *finding = (struct scan_finding){.arena = finding->arena, .shard = bytes_of(key, key_bytes), .begin = bytes_of(key, key_bytes),
                                     .end = bytes_of(key, key_bytes), .servers = {7, 8, (uint64_t)first}, .count = 3, .bad = 2,
                                     .wall_us = first, .outcome = outcome, .away = outcome == SCAN_REPAIRING};
}

/* Through the bytes that stand in the database. */
static void hand_over(const struct scan *from, struct scan *to, size_t *ret_bytes)
{
    struct scan_state state = from->state, read;
    struct bytes_buffer packed = {0};
    struct arena arena = {0};

    cr_assert_eq(scan_findings_keep(from, &arena, &state), 0);
    cr_assert_eq(message_encode(&schema_scan_state, &state, &packed), 0);
    cr_assert_eq(message_decode(&schema_scan_state, bytes_buffer_bytes(&packed), &arena, &read), 0);
    *ret_bytes = packed.len;
    scan_findings_restore(to, &read);
    bytes_buffer_done(&packed);
    arena_done(&arena);
}

static void compare(const struct scan_finding *a, const struct scan_finding *b)
{
    cr_assert(bytes_equal(a->shard, b->shard) && bytes_equal(a->begin, b->begin) && bytes_equal(a->end, b->end));
    cr_assert(a->count == b->count && a->bad == b->bad && a->content == b->content && a->wall_us == b->wall_us);
    cr_assert(a->outcome == b->outcome && a->away == b->away && memcmp(a->servers, b->servers, sizeof(a->servers)) == 0);
}

Test(scan_findings, the_next_distributor_knows_them_and_looks_at_the_open_ones_again)
{
    struct scan *first = mem_zalloc(sizeof(*first)), *next = mem_zalloc(sizeof(*next));
    const enum scan_outcome outcomes[] = {SCAN_REPAIRED, SCAN_OPEN, SCAN_REPAIRING, SCAN_GONE};
    size_t bytes;

    for (unsigned i = 0; i < 4; i++)
        add(first, (char)('a' + i), 10, outcomes[i]);
    add(next, 'z', 10, SCAN_OPEN); /* of an earlier try */
    hand_over(first, next, &bytes);
    cr_assert_eq(next->finding_count, 4);
    for (unsigned i = 0; i < 4; i++) {
        compare(&first->findings[i], &next->findings[i]);
        cr_assert_eq(next->findings[i].again, outcomes[i] == SCAN_OPEN);
    }
    scan_findings_done(first);
    scan_findings_done(next);
    mem_free(first);
    mem_free(next);
}

Test(scan_findings, the_newest_are_kept_as_far_as_a_value_holds_them)
{
    struct scan *first = mem_zalloc(sizeof(*first)), *next = mem_zalloc(sizeof(*next));
    size_t bytes;

    for (unsigned i = 0; i < 2 * SCAN_FINDINGS_MAX + 3; i++) /* the ring has gone round */
        add(first, (char)('a' + i % 26), 5000, SCAN_OPEN);
    hand_over(first, next, &bytes);
    cr_assert(bytes > 40000 && bytes < VALUE_BYTES_MAX, "%zu bytes", bytes);
    cr_assert_eq(next->finding_count, 3);
    compare(&first->findings[(first->finding_count - 1) % SCAN_FINDINGS_MAX], &next->findings[2]);
    compare(&first->findings[(first->finding_count - 3) % SCAN_FINDINGS_MAX], &next->findings[0]);
    scan_findings_done(first);
    scan_findings_done(next);
    mem_free(first);
    mem_free(next);
}

Test(scan_findings, what_a_record_says_is_checked)
{
    struct scan *scan = mem_zalloc(sizeof(*scan));
    uint64_t ids[TEAM_SERVERS_MAX + 1] = {1};
    struct scan_record records[] = {{.servers_count = 0}, {.servers = ids, .servers_count = TEAM_SERVERS_MAX + 1},
                                    {.servers = ids, .servers_count = 1, .outcome = SCAN_OUTCOMES}};
    struct scan_state state = {.findings = records, .findings_count = 3};

    scan_findings_restore(scan, &state);
    cr_assert_eq(scan->finding_count, 0);
    mem_free(scan);
}

static void look_at(struct scan *scan, const char *begin, const char *end)
{
    scan->begin.len = scan->end.len = 0;
    cr_assert_eq(bytes_buffer_append(&scan->begin, bytes_of_string(begin)), 0);
    cr_assert_eq(bytes_buffer_append(&scan->end, bytes_of_string(end)), 0);
    scan_is_equal(scan);
}

Test(scan_findings, one_is_looked_for_in_all_pieces_of_the_shard_that_it_was_found_in)
{
    struct scan *scan = mem_zalloc(sizeof(*scan));
    struct scan_finding *finding = &scan->findings[0];

    add(scan, 'd', 1, SCAN_OPEN);
    finding->end = bytes_of_string("x");
    look_at(scan, "a", "c"); /* not where it begins */
    cr_assert(!finding->again && bytes_equal(finding->begin, bytes_of_string("d")));
    look_at(scan, "c", "m"); /* the shard was split at m */
    cr_assert(finding->again && finding->outcome == SCAN_OPEN && bytes_equal(finding->begin, bytes_of_string("m")));
    finding->again = false;
    look_at(scan, "m", "s"); /* and at s */
    cr_assert(finding->again && finding->outcome == SCAN_OPEN && bytes_equal(finding->begin, bytes_of_string("s")));
    bytes_buffer_done(&scan->begin);
    bytes_buffer_done(&scan->end);
    scan_findings_done(scan);
    mem_free(scan);
}
