/* Requests that a tag's limit holds back: only they, no longer than the limit lasts, and no faster than it says. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "net/mem.h"
#include "roles/grv_proxy/grv_tags.h"

#define SECOND_US 1000000

struct lab {
    struct grv_tags *tags;
    struct arena arena;
    int64_t now_us;
};

static void lab_init(struct lab *lab)
{
    *lab = (struct lab){.tags = mem_zalloc(sizeof(*lab->tags)), .now_us = 100 * SECOND_US};
    grv_tags_init(lab->tags, lab->now_us);
}

static void lab_done(struct lab *lab)
{
    arena_done(&lab->arena);
    mem_free(lab->tags);
}

static void limit(struct lab *lab, const char *tag, uint32_t priority, double rate, int64_t left_us)
{
    struct tag_rate one = {.tag = bytes_of_string(tag), .priority = priority, .rate_milli = (int64_t)(rate * 1000), .left_us = left_us};
    struct rate_lease lease = {.tags = &one, .tags_count = rate < 0 ? 0 : 1};

    grv_tags_lease(lab->tags, lab->now_us, &lease, 1000 * (int64_t)SECOND_US);
}

static struct get_read_version request_of(struct tag_text *texts, const char *first, const char *second)
{
    struct get_read_version body = {.count = 1, .tags = texts};

    if (first != NULL)
        texts[body.tags_count++].tag = bytes_of_string(first);
    if (second != NULL)
        texts[body.tags_count++].tag = bytes_of_string(second);
    return body;
}

/* Asks all the time, for `us`; returns how many start. */
static uint64_t start_all(struct lab *lab, const struct get_read_version *body, enum grv_priority priority, int64_t us)
{
    uint64_t started = 0;

    for (int64_t end_us = lab->now_us + us; lab->now_us < end_us; lab->now_us += 1000) {
        grv_tags_fill(lab->tags, lab->now_us);
        grv_tags_wanted(lab->tags, lab->now_us, body, 1);
        for (int i = 0; i < 100 && grv_tags_blocking(lab->tags, body, priority, false) == NULL; i++) {
            grv_tags_started(lab->tags, body, priority, 1);
            started++;
        }
    }
    return started;
}

Test(grv_tags, a_limited_tag_starts_at_its_rate_and_others_as_they_come)
{
    struct tag_text a[2], b[2], c[2];
    struct get_read_version greedy = request_of(a, "greedy", NULL), modest = request_of(b, "modest", NULL), none = request_of(c, NULL, NULL);
    struct lab lab;

    lab_init(&lab);
    limit(&lab, "greedy", 0, 20, 1000 * (int64_t)SECOND_US);
    cr_assert_float_eq((double)start_all(&lab, &greedy, GRV_DEFAULT, 10 * SECOND_US), 200, 5);
    cr_assert_eq(start_all(&lab, &modest, GRV_DEFAULT, SECOND_US), 100000);
    cr_assert_eq(start_all(&lab, &none, GRV_BATCH, SECOND_US), 100000);
    lab_done(&lab);
}

Test(grv_tags, a_transaction_with_two_tags_goes_by_the_lower_limit)
{
    struct tag_text a[2];
    struct get_read_version both = request_of(a, "fast", "slow");
    struct tag_rate rates[2] = {{BYTES_LITERAL("fast"), 0, 100000, SECOND_US * INT64_C(1000)}, {BYTES_LITERAL("slow"), 0, 10000, SECOND_US * INT64_C(1000)}};
    struct rate_lease lease = {.tags = rates, .tags_count = 2};
    struct lab lab;

    lab_init(&lab);
    grv_tags_lease(lab.tags, lab.now_us, &lease, 1000 * (int64_t)SECOND_US);
    cr_assert_float_eq((double)start_all(&lab, &both, GRV_DEFAULT, 10 * SECOND_US), 100, 5);
    lab_done(&lab);
}

Test(grv_tags, a_limit_of_batch_priority_is_no_other_priority_s)
{
    struct tag_text a[2];
    struct get_read_version body = request_of(a, "x", NULL);
    struct lab lab;

    lab_init(&lab);
    limit(&lab, "x", GRV_PRIORITY_BATCH, 10, 1000 * (int64_t)SECOND_US);
    cr_assert_eq(start_all(&lab, &body, GRV_DEFAULT, SECOND_US), 100000);
    cr_assert_float_eq((double)start_all(&lab, &body, GRV_BATCH, 10 * SECOND_US), 100, 5);
    limit(&lab, "x", 0, 5, 1000 * (int64_t)SECOND_US);
    cr_assert_float_eq((double)start_all(&lab, &body, GRV_BATCH, 10 * SECOND_US), 50, 5);
    lab_done(&lab);
}

Test(grv_tags, a_limit_ends_when_its_time_is_over_or_no_lease_names_it)
{
    struct tag_text a[2];
    struct get_read_version body = request_of(a, "x", NULL);
    struct lab lab;

    lab_init(&lab);
    limit(&lab, "x", 0, 0, 3 * SECOND_US);
    cr_assert_leq(start_all(&lab, &body, GRV_DEFAULT, 2 * SECOND_US), 1);
    cr_assert_geq(start_all(&lab, &body, GRV_DEFAULT, 2 * SECOND_US), 90000);
    limit(&lab, "x", 0, 0, 1000 * (int64_t)SECOND_US);
    cr_assert_eq(lab.tags->limited, 1);
    limit(&lab, "x", 0, -1, 0);
    cr_assert_eq(lab.tags->limited, 0);
    cr_assert_eq(start_all(&lab, &body, GRV_DEFAULT, SECOND_US), 100000);
    lab_done(&lab);
}

Test(grv_tags, limits_go_when_no_lease_has_come_for_long)
{
    struct tag_text a[2];
    struct get_read_version body = request_of(a, "x", NULL);
    struct tag_rate rate = {BYTES_LITERAL("x"), 0, 0, SECOND_US * INT64_C(1000)};
    struct rate_lease lease = {.tags = &rate, .tags_count = 1};
    struct lab lab;

    lab_init(&lab);
    grv_tags_lease(lab.tags, lab.now_us, &lease, SECOND_US);
    cr_assert_leq(start_all(&lab, &body, GRV_DEFAULT, 2 * SECOND_US), 1);
    lab.now_us += GRV_KEEP_US;
    cr_assert_eq(start_all(&lab, &body, GRV_DEFAULT, SECOND_US), 100000);
    lab_done(&lab);
}

static struct rpc_request *make_request(const struct get_read_version *body, int64_t now_us)
{
    struct rpc_request *request = mem_zalloc(sizeof(*request));

    *MESSAGE_NEW(get_read_version, &request->message) = *body;
    request->owner_data = (void *)(intptr_t)now_us;
    return request;
}

static void drop(struct rpc_request *request)
{
    cr_assert_not_null(request);
    message_unref(request->message);
    mem_free(request);
}

Test(grv_tags, those_that_wait_start_in_order_and_the_late_ones_are_given_back)
{
    struct tag_text a[2];
    struct get_read_version body = request_of(a, "x", NULL);
    struct rpc_request *requests[3];
    struct grv_tag *tag;
    struct lab lab;

    lab_init(&lab);
    limit(&lab, "x", 0, 1, 1000 * (int64_t)SECOND_US);
    grv_tags_started(lab.tags, &body, GRV_DEFAULT, 1);
    tag = grv_tags_blocking(lab.tags, &body, GRV_DEFAULT, false);
    for (int i = 0; i < 3; i++)
        grv_tags_hold(lab.tags, tag, GRV_DEFAULT, requests[i] = make_request(&body, lab.now_us + i), 1);
    cr_assert_null(grv_tags_next(lab.tags, tag, GRV_DEFAULT));
    cr_assert(grv_tags_wait_us(lab.tags) > 0 && grv_tags_wait_us(lab.tags) <= SECOND_US + 1);
    grv_tags_fill(lab.tags, lab.now_us + SECOND_US);
    cr_assert_eq(grv_tags_blocking(lab.tags, &body, GRV_DEFAULT, false), tag, "nobody overtakes those that wait");
    cr_assert_eq(grv_tags_next(lab.tags, tag, GRV_DEFAULT), requests[0]);
    grv_tags_started(lab.tags, &body, GRV_DEFAULT, 1);
    cr_assert_null(grv_tags_late(lab.tags, tag, GRV_DEFAULT, lab.now_us));
    cr_assert_eq(grv_tags_late(lab.tags, tag, GRV_DEFAULT, lab.now_us + 2), requests[1]);
    cr_assert_eq(grv_tags_late(lab.tags, tag, GRV_DEFAULT, lab.now_us + 3), requests[2]);
    cr_assert_eq(lab.tags->queued, 0);
    for (int i = 0; i < 3; i++)
        drop(requests[i]);
    lab_done(&lab);
}

Test(grv_tags, any_number_of_tags_takes_one_table_and_limits_find_a_place)
{
    struct tag_text a[2];
    struct get_read_version body;
    struct proxy_load load = {0};
    char name[TRANSACTION_TAG_BYTES_MAX];
    struct lab lab;

    lab_init(&lab);
    for (int i = 0; i < 5000; i++) {
        snprintf(name, sizeof(name), "tag%d", i);
        body = request_of(a, name, NULL);
        grv_tags_wanted(lab.tags, lab.now_us, &body, i == 4 ? 1000 : 1);
    }
    cr_assert_gt(lab.tags->uncounted, 1000);
    limit(&lab, "last", 0, 1, 1000 * (int64_t)SECOND_US);
    cr_assert_eq(lab.tags->limited, 1);
    grv_tags_report(lab.tags, lab.now_us, &lab.arena, &load);
    cr_assert_eq(load.tags_count, GRV_TAGS_REPORTED);
    cr_assert(bytes_equal(load.tags[0].tag, BYTES_LITERAL("last")));
    cr_assert(bytes_equal(load.tags[1].tag, BYTES_LITERAL("tag4")));
    lab_done(&lab);
}
