/* Limits of tags at the ratekeeper: by hand, by itself, and who gets which part of them. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "net/mem.h"
#include "roles/ratekeeper/rate_tags.h"
#include "roles/tag_counter.h"

#define SECOND_US 1000000
#define STALE_US (3 * SECOND_US)

static struct tag_name tag_of(const char *text)
{
    struct tag_name name;

    cr_assert(tag_name_of(bytes_of_string(text), &name));
    return name;
}

static void note(struct rate_tags *tags, int64_t now_us, uint64_t proxy, const char *tag, int64_t total)
{
    struct tag_load one = {.tag = bytes_of_string(tag), .started = total, .wanted = total};
    struct proxy_load load = {.id = proxy, .kind = ROLE_GRV_PROXY, .tags = &one, .tags_count = 1};

    rate_tags_note_proxy(tags, now_us, &load, SECOND_US);
}

static double leased(const struct rate_tags *tags, int64_t now_us, uint64_t proxy, uint32_t proxies)
{
    struct arena arena = {0};
    struct rate_lease lease = {0};
    double rate;

    rate_tags_lease(tags, now_us, proxy, proxies, STALE_US, &arena, &lease);
    rate = lease.tags_count == 0 ? -1 : (double)lease.tags[0].rate_milli / 1000;
    arena_done(&arena);
    return rate;
}

Test(rate_tags, a_limit_by_hand_holds_until_its_time_is_over)
{
    struct rate_tags *tags = mem_zalloc(sizeof(*tags));
    struct throttle throttle = {.tag = tag_of("x"), .type = THROTTLE_MANUAL, .priority = THROTTLE_DEFAULT, .rate = 100};
    int64_t left_us = 10 * SECOND_US, now_us = SECOND_US;

    rate_tags_set_manual(tags, now_us, &throttle, &left_us, 1);
    rate_tags_update(tags, now_us + 9 * SECOND_US, SECOND_US);
    cr_assert_float_eq(leased(tags, now_us + 9 * SECOND_US, 1, 2), 50, 0.01, "of two proxies that have said nothing each gets half");
    rate_tags_update(tags, now_us + 10 * SECOND_US, SECOND_US);
    cr_assert_eq(leased(tags, now_us + 10 * SECOND_US, 1, 2), -1);
    cr_assert_eq(tags->manual_count, 0);
    mem_free(tags);
}

Test(rate_tags, a_busy_proxy_gets_more_and_an_idle_one_can_begin)
{
    struct rate_tags *tags = mem_zalloc(sizeof(*tags));
    struct throttle throttle = {.tag = tag_of("x"), .type = THROTTLE_MANUAL, .priority = THROTTLE_DEFAULT, .rate = 100};
    int64_t left_us = 1000 * (int64_t)SECOND_US, now_us = SECOND_US;

    rate_tags_set_manual(tags, now_us, &throttle, &left_us, 1);
    for (int i = 0; i < 100; i++, now_us += SECOND_US / 10) {
        note(tags, now_us, 1, "x", i * 10);
        note(tags, now_us, 2, "x", 0);
    }
    cr_assert_float_eq(leased(tags, now_us, 1, 2), 75, 1);
    cr_assert_float_eq(leased(tags, now_us, 2, 2), 25, 1);
    mem_free(tags);
}

/* A storage server whose disk takes `capacity` bytes a second, a tag that wants more than that, and others. */
struct model {
    struct rate_tags *tags;
    struct rate_source source;
    int64_t now_us;
    double started, queue, others; /* the tag's starts in all; bytes in the server's memory; bytes a second that others write */
    double wanted, bytes, capacity;
};

static void step(struct model *m)
{
    enum { STEP_US = SECOND_US / 10 };
    double limit = leased(m->tags, m->now_us, 1, 1), rate = limit >= 0 && limit < m->wanted ? limit : m->wanted, input = rate * m->bytes + m->others;
    struct tag_cost cost = {.tag = BYTES_LITERAL("greedy"), .server = 7, .cost = (int64_t)(rate * m->bytes)};
    struct proxy_load load = {.id = 2, .kind = ROLE_COMMIT_PROXY, .writes = &cost, .writes_count = 1};

    m->now_us += STEP_US;
    m->started += rate / 10;
    m->queue += (input - m->capacity) / 10;
    m->queue = m->queue < 0 ? 0 : m->queue;
    note(m->tags, m->now_us, 1, "greedy", (int64_t)m->started);
    rate_tags_note_proxy(m->tags, m->now_us, &load, SECOND_US);
    m->source.input.rate += (input - m->source.input.rate) / 10;
    rate_tags_press(m->tags, m->now_us, &m->source, m->queue / 50e6, true, STALE_US);
    rate_tags_update(m->tags, m->now_us, STEP_US);
}

static void model_init(struct model *m)
{
    *m = (struct model){.tags = mem_zalloc(sizeof(struct rate_tags)), .now_us = SECOND_US, .others = 2e6, .wanted = 20000, .bytes = 1000, .capacity = 10e6};
    m->tags->auto_enabled = true;
    m->source = (struct rate_source){.id = 77, .tag = 7, .capacity = m->capacity};
}

Test(rate_tags, a_tag_that_overloads_a_server_gets_what_the_others_leave)
{
    struct model m;
    double before;

    model_init(&m);
    for (int i = 0; i < 600; i++)
        step(&m);
    cr_assert_eq(m.tags->auto_count, 1);
    cr_assert_eq(m.tags->limits[0].throttle.reason, THROTTLE_BUSY_WRITE);
    before = m.started;
    for (int i = 0; i < 100; i++)
        step(&m);
    cr_assert_float_eq((m.started - before) / 10, 8000, 800, "%f a second", (m.started - before) / 10);
    cr_assert(m.queue > 20e6 && m.queue < 80e6, "it settles at the mark: %f", m.queue);
    mem_free(m.tags);
}

Test(rate_tags, a_limit_of_our_own_ends_when_the_tag_wants_less)
{
    struct model m;

    model_init(&m);
    for (int i = 0; i < 300; i++)
        step(&m);
    cr_assert_eq(m.tags->auto_count, 1);
    m.wanted = 100;
    for (int i = 0; i < 600; i++)
        step(&m);
    cr_assert_eq(m.tags->auto_count, 0);
    cr_assert_eq(leased(m.tags, m.now_us, 1, 1), -1);
    mem_free(m.tags);
}

Test(rate_tags, a_small_tag_is_not_to_blame)
{
    struct model m;

    model_init(&m);
    m.wanted = 100;
    m.others = 20e6;
    for (int i = 0; i < 300; i++)
        step(&m);
    cr_assert_eq(m.tags->auto_count, 0);
    mem_free(m.tags);
}

/* The storm is over and its bytes are still in the server's memory: a small tag that goes on makes nearly all that comes now. */
Test(rate_tags, who_is_left_after_a_storm_is_not_to_blame)
{
    struct model m;

    model_init(&m);
    m.wanted = 100;
    m.others = 0;
    m.capacity = 0; /* nothing is known of it: starts alone are the base */
    m.source = (struct rate_source){.id = 77, .tag = 7, .history = {.rate = 20e6}};
    m.queue = 100e6;
    for (int i = 0; i < 30; i++)
        step(&m);
    cr_assert_eq(m.tags->auto_count, 0);
    m.source.history.rate = 0; /* but it is when nobody else was there */
    for (int i = 0; i < 30; i++)
        step(&m);
    cr_assert_eq(m.tags->auto_count, 1);
    mem_free(m.tags);
}

/* The server takes in what the tag started seconds ago: that is not the others' writing, beside which nothing would be left for the tag. */
Test(rate_tags, what_a_late_server_works_off_is_not_taken_for_the_others_writes)
{
    struct model m;
    double before;

    model_init(&m);
    m.others = 0;
    for (int i = 0; i < 100; i++) {
        m.source.lag_us = 4e6;
        m.source.input.rate = 12e6;
        step(&m);
        m.queue = 60e6;
    }
    before = m.started;
    for (int i = 0; i < 50; i++) {
        m.source.input.rate = 12e6;
        step(&m);
        m.queue = 60e6;
    }
    cr_assert_gt((m.started - before) / 5, 0.9 * 10000 / 1.2, "%.0f a second", (m.started - before) / 5);
    mem_free(m.tags);
}

/* Nothing is known of the disk: a limit made of what it lets start itself shrinks, but by and by. */
Test(rate_tags, a_limit_of_an_unknown_disk_does_not_choke_at_once)
{
    struct model m;
    double limit;

    model_init(&m);
    m.source.capacity = 0;
    for (int i = 0; i < 150; i++) {
        step(&m);
        m.queue = i < 120 ? 0 : 100e6; /* twice the mark, for three seconds */
    }
    limit = leased(m.tags, m.now_us, 1, 1);
    cr_assert(limit > 20000 / 2 * 0.6 && limit <= 20000 / 2 * 1.01, "%f", limit);
    mem_free(m.tags);
}

Test(rate_tags, a_limit_begins_when_it_holds_somebody_back)
{
    struct model m;

    model_init(&m);
    m.wanted = 5000; /* half of what the disk takes */
    m.queue = 25e6;  /* half of the mark */
    for (int i = 0; i < 10; i++) {
        step(&m);
        m.queue = 25e6;
    }
    cr_assert_eq(m.tags->auto_count, 0);
    mem_free(m.tags);
}

Test(rate_tags, what_is_disabled_is_recommended_and_holds_for_nobody)
{
    struct model m;

    model_init(&m);
    m.tags->auto_enabled = false;
    for (int i = 0; i < 100; i++)
        step(&m);
    cr_assert_eq(m.tags->auto_count, 1);
    cr_assert_eq(leased(m.tags, m.now_us, 1, 1), -1);
    mem_free(m.tags);
}

Test(tag_counter, the_largest_of_any_number_of_tags_is_known)
{
    struct tag_counter counter = {0};
    struct arena arena = {0};
    struct tag_cost *costs;
    char name[TRANSACTION_TAG_BYTES_MAX];

    for (int round = 0; round < 100; round++) {
        for (unsigned char i = 0; i < 100; i++) {
            snprintf(name, sizeof(name), "small%u", i);
            tag_counter_add(&counter, bytes_of_string(name), 0, 1);
        }
        tag_counter_add(&counter, BYTES_LITERAL("large"), 3, 50);
    }
    cr_assert_gt(tag_counter_report(&counter, &arena, &costs), 0);
    cr_assert(bytes_equal(costs[0].tag, BYTES_LITERAL("large")) && costs[0].server == 3);
    cr_assert_geq(costs[0].cost, 5000);
    tag_counter_decay(&counter, SECOND_US);
    for (int i = 2; i < 100; i++)
        tag_counter_decay(&counter, i * SECOND_US);
    cr_assert_eq(tag_counter_report(&counter, &arena, &costs), 0);
    arena_done(&arena);
}
