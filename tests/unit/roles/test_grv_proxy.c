#include "tests/unit/roles/pipeline.h"

static struct message *grv_request(uint32_t count)
{
    struct message *message;
    struct get_read_version *body = MESSAGE_NEW(get_read_version, &message);

    body->count = count;
    return message;
}

Test(grv_proxy, gives_the_committed_version)
{
    struct pipeline p;
    struct ask ask;
    const struct get_read_version_reply *reply;

    pipeline_init(&p, 1, 0, 0, bytes_none());
    reply = ask_now(&p, &ask, ID_GRV, grv_request(1));
    cr_assert_eq(reply->version, RECOVERY_VERSION);
    cr_assert_not(reply->locked);
    ask_clear(&ask);
    pipeline_done(&p);
}

/* Zones a, b, b and replication 2: logs 1 and 2 are one zone. */
Test(grv_proxy, needs_unlocked_logs_in_as_many_zones_as_the_replication)
{
    struct pipeline p;
    struct ask ask;

    pipeline_init(&p, 1, 0, 0, bytes_none());
    p.logs[1].stopped = true;
    ask_now(&p, &ask, ID_GRV, grv_request(1));
    ask_clear(&ask);
    p.logs[2].stopped = true;
    ask_start(&p, &ask, ID_GRV, grv_request(1));
    ask_wait(&ask);
    cr_assert_eq(ask.error, ERROR_BROKEN_PROMISE);
    cr_assert(p.ended_count == 1 && p.ended_id == ID_GRV && p.ended_error == ERROR_TLOG_STOPPED);
    pipeline_done(&p);
}

Test(grv_proxy, one_that_ended_gives_no_version)
{
    struct pipeline p;
    struct ask ask;

    pipeline_init(&p, 1, 0, 0, bytes_none());
    p.logs[0].stopped = true;
    ask_start(&p, &ask, ID_GRV, grv_request(1));
    ask_wait(&ask);
    p.logs[0].stopped = false;
    ask_start(&p, &ask, ID_GRV, grv_request(1));
    ask_wait(&ask);
    cr_assert_eq(ask.error, ERROR_BROKEN_PROMISE);
    cr_assert_eq(p.ended_count, 1);
    pipeline_done(&p);
}

Test(grv_proxy, requests_of_one_turn_share_a_batch)
{
    struct pipeline p;
    struct ask asks[50];
    struct role_status status = {0};
    struct arena arena = {0};
    int64_t batches = 0;

    pipeline_init(&p, 1, 0, 0, bytes_none());
    for (int i = 0; i < 50; i++)
        ask_start(&p, &asks[i], ID_GRV, grv_request(10));
    for (int i = 0; i < 50; i++) {
        ask_wait(&asks[i]);
        cr_assert_eq(asks[i].error, 0);
        ask_clear(&asks[i]);
    }
    grv_proxy_status(p.grv, &status, &arena);
    for (uint32_t i = 0; i < status.metrics_count; i++)
        if (bytes_equal(status.metrics[i].name, BYTES_LITERAL("batches")))
            batches = status.metrics[i].value;
    cr_assert(batches >= 1 && batches <= 3, "%d", (int)batches);
    arena_done(&arena);
    pipeline_done(&p);
}

Test(grv_proxy, a_full_queue_refuses_but_never_the_only_one)
{
    struct pipeline p;
    struct ask asks[3];
    int refused = 0;

    pipeline_init(&p, 1, 0, 0, bytes_none());
    p.env->knobs.grv_queue_max = 100;
    ask_now(&p, &asks[0], ID_GRV, grv_request(5000));
    ask_clear(&asks[0]);
    for (int i = 0; i < 3; i++)
        ask_start(&p, &asks[i], ID_GRV, grv_request(60));
    for (int i = 0; i < 3; i++) {
        ask_wait(&asks[i]);
        refused += asks[i].error == ERROR_GRV_PROXY_MEMORY_LIMIT_EXCEEDED;
        ask_clear(&asks[i]);
    }
    cr_assert_eq(refused, 2);
    pipeline_done(&p);
}
