/* What a commit proxy tells the ratekeeper: against one that the test plays. */
#include "tests/unit/roles/pipeline.h"

enum { ID_RATEKEEPER = 1099, REPORTS_MAX = 64, REPORT_US = 10000000, LONG_US = 300000 };

struct heard {
    int64_t wait_us[REPORTS_MAX];
    unsigned count;
};

static void hear(void *ctx, struct rpc_request *request)
{
    struct heard *heard = ctx;
    struct message *message;
    struct rate_lease *lease = MESSAGE_NEW(rate_lease, &message);

    cr_assert(request->message->type == &message_type_proxy_load && heard->count < REPORTS_MAX);
    heard->wait_us[heard->count++] = MESSAGE_BODY(proxy_load, request->message)->wait_us;
    lease->rate_milli = lease->batch_rate_milli = -1;
    lease->lease_us = 60000000;
    rpc_reply(request, message);
}

static void init(struct pipeline *p, struct heard *heard)
{
    struct endpoint at;
    struct role_ref ratekeeper = {.kind = ROLE_RATEKEEPER};
    struct description description = {.singletons = &ratekeeper, .singletons_count = 1};
    struct bytes_buffer metadata = two_servers();

    pipeline_init(p, 1, 1, 1, bytes_buffer_bytes(&metadata));
    bytes_buffer_done(&metadata);
    p->env->knobs.rate_report_interval_us = p->env->knobs.rate_report_idle_us = REPORT_US;
    *heard = (struct heard){0};
    rpc_register(p->rpc, ID_RATEKEEPER, hear, heard);
    at = pipeline_endpoint(p, ID_RATEKEEPER);
    ratekeeper.endpoint.address.ip = at.address.ip;
    ratekeeper.endpoint.address.port = at.address.port;
    ratekeeper.endpoint.id = at.id;
    commit_proxy_described(p->proxy[0], &description);
    pipeline_run(p, 3 * REPORT_US);
}

static void commit_now(struct pipeline *p)
{
    struct ask ask;

    ask_now(p, &ask, ID_PROXY, commit_set("a", "1"));
    ask_clear(&ask);
}

/* Each slot of batches is taken by a commit whose log does not answer; one more waits. */
static void make_one_wait(struct pipeline *p)
{
    struct ask asks[8];

    fake_log_hold(&p->logs[0], true);
    for (int i = 0; i < 8; i++) {
        ask_start(p, &asks[i], ID_PROXY, commit_set("a", "2"));
        pipeline_run(p, 1000);
    }
    pipeline_run(p, LONG_US);
    fake_log_hold(&p->logs[0], false);
    for (int i = 0; i < 8; i++) {
        ask_wait(&asks[i]);
        ask_clear(&asks[i]);
    }
}

static int64_t next_report(struct pipeline *p, struct heard *heard)
{
    unsigned had = heard->count;

    for (int i = 0; i < 40 && heard->count == had; i++)
        pipeline_run(p, SIM_SECOND_US / 2);
    cr_assert_gt(heard->count, had);
    return heard->wait_us[heard->count - 1];
}

Test(commit_load, one_that_waited_long_is_no_queue_where_another_did_not)
{
    struct pipeline p;
    struct heard heard;

    init(&p, &heard);
    commit_now(&p);
    next_report(&p, &heard); /* from here on it reports each REPORT_US */
    make_one_wait(&p);
    commit_now(&p);
    cr_assert_lt(next_report(&p, &heard), LONG_US / 10, "the least that any has waited, not the most");
    rpc_unregister(p.rpc, ID_RATEKEEPER);
    pipeline_done(&p);
}

/* No batch could begin since the last report: the oldest stands there still. */
Test(commit_load, a_queue_that_never_empties_is_told)
{
    struct pipeline p;
    struct heard heard;
    struct ask asks[8];

    init(&p, &heard);
    commit_now(&p);
    next_report(&p, &heard);
    fake_log_hold(&p.logs[0], true);
    for (int i = 0; i < 8; i++) {
        ask_start(&p, &asks[i], ID_PROXY, commit_set("a", "2"));
        pipeline_run(&p, 1000);
    }
    next_report(&p, &heard); /* those that got a slot did not wait */
    cr_assert_gt(next_report(&p, &heard), REPORT_US / 2);
    fake_log_hold(&p.logs[0], false);
    for (int i = 0; i < 8; i++) {
        ask_wait(&asks[i]);
        ask_clear(&asks[i]);
    }
    rpc_unregister(p.rpc, ID_RATEKEEPER);
    pipeline_done(&p);
}
