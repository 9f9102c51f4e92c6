#include "tests/unit/roles/pipeline.h"

static struct message *version_request(uint64_t proxy, uint64_t number)
{
    struct message *message;
    struct get_commit_version *body = MESSAGE_NEW(get_commit_version, &message);

    *body = (struct get_commit_version){proxy, number, 1};
    return message;
}

static struct get_commit_version_reply get_version(struct pipeline *pipeline, uint64_t proxy, uint64_t number)
{
    struct ask ask;
    struct get_commit_version_reply reply =
        *(const struct get_commit_version_reply *)ask_now(pipeline, &ask, ID_SEQUENCER, version_request(proxy, number));

    ask_clear(&ask);
    return reply;
}

static struct message *report_of(version_t version, bool changed, bool locked, const char *metadata_version)
{
    struct message *message;
    struct report_committed *body = MESSAGE_NEW(report_committed, &message);

    *body = (struct report_committed){version, changed, locked, bytes_of_string(metadata_version)};
    return message;
}

static void report(struct pipeline *pipeline, version_t version, bool changed, bool locked, const char *metadata_version)
{
    struct ask ask;

    ask_now(pipeline, &ask, ID_SEQUENCER, report_of(version, changed, locked, metadata_version));
    ask_clear(&ask);
}

static void expect_committed(struct pipeline *pipeline, version_t version, bool locked, const char *metadata_version)
{
    struct ask ask;
    struct message *message;
    const struct get_committed_reply *reply;

    MESSAGE_NEW(get_committed, &message);
    reply = ask_now(pipeline, &ask, ID_SEQUENCER, message);
    cr_assert_eq(reply->version, version);
    cr_assert_eq(reply->locked, locked);
    cr_assert(bytes_equal(reply->metadata_version, bytes_of_string(metadata_version)));
    ask_clear(&ask);
}

Test(sequencer, the_first_version_stands_above_all_that_the_last_epoch_gave)
{
    struct pipeline p;
    struct get_commit_version_reply reply;

    pipeline_init(&p, 1, 0, 0, bytes_none());
    reply = get_version(&p, 7, 1);
    cr_assert(reply.version == FIRST_VERSION && reply.prev_version == RECOVERY_VERSION);
    pipeline_done(&p);
}

Test(sequencer, no_second_version_before_the_first_has_committed)
{
    struct pipeline p;
    struct ask ask;

    pipeline_init(&p, 1, 0, 0, bytes_none());
    get_version(&p, 7, 1);
    ask_start(&p, &ask, ID_SEQUENCER, version_request(8, 1));
    pipeline_run(&p, SIM_SECOND_US);
    cr_assert_not(ask.done);
    report(&p, FIRST_VERSION, false, false, "");
    ask_wait(&ask);
    cr_assert_eq(MESSAGE_BODY(get_commit_version_reply, ask.reply)->prev_version, FIRST_VERSION);
    ask_clear(&ask);
    pipeline_done(&p);
}

Test(sequencer, versions_advance_with_the_clock_and_chain)
{
    struct pipeline p;
    struct get_commit_version_reply one, two;

    pipeline_init(&p, 1, 0, 0, bytes_none());
    get_version(&p, 7, 1);
    report(&p, FIRST_VERSION, false, false, "");
    one = get_version(&p, 7, 2);
    pipeline_run(&p, SIM_SECOND_US);
    two = get_version(&p, 8, 1);
    cr_assert_eq(two.prev_version, one.version);
    cr_assert(two.version - one.version > 900000 && two.version - one.version < 1100000);
    pipeline_done(&p);
}

Test(sequencer, a_repeat_gets_the_same_answer)
{
    struct pipeline p;
    struct get_commit_version_reply one, two, again;

    pipeline_init(&p, 1, 0, 0, bytes_none());
    one = get_version(&p, 7, 1);
    report(&p, one.version, false, false, "");
    two = get_version(&p, 7, 2);
    again = get_version(&p, 7, 1);
    cr_assert(again.version == one.version && again.prev_version == one.prev_version);
    again = get_version(&p, 7, 2);
    cr_assert(again.version == two.version && again.prev_version == two.prev_version);
    pipeline_done(&p);
}

Test(sequencer, requests_of_one_proxy_are_answered_in_their_order)
{
    struct pipeline p;
    struct ask three, two;

    pipeline_init(&p, 1, 0, 0, bytes_none());
    report(&p, get_version(&p, 7, 1).version, false, false, "");
    ask_start(&p, &three, ID_SEQUENCER, version_request(7, 3));
    pipeline_run(&p, SIM_SECOND_US);
    cr_assert_not(three.done);
    ask_now(&p, &two, ID_SEQUENCER, version_request(7, 2));
    ask_wait(&three);
    cr_assert_eq(MESSAGE_BODY(get_commit_version_reply, three.reply)->prev_version,
                 MESSAGE_BODY(get_commit_version_reply, two.reply)->version);
    ask_clear(&two);
    ask_clear(&three);
    pipeline_done(&p);
}

Test(sequencer, a_repeat_of_one_that_waits_takes_its_place)
{
    struct pipeline p;
    struct ask first, again, two;

    pipeline_init(&p, 1, 0, 0, bytes_none());
    report(&p, get_version(&p, 7, 1).version, false, false, "");
    ask_start(&p, &first, ID_SEQUENCER, version_request(7, 3));
    pipeline_run(&p, 1000);
    ask_start(&p, &again, ID_SEQUENCER, version_request(7, 3));
    ask_wait(&first);
    cr_assert_eq(first.error, ERROR_REQUEST_MAYBE_DELIVERED);
    ask_now(&p, &two, ID_SEQUENCER, version_request(7, 2));
    ask_wait(&again);
    cr_assert_eq(again.error, 0);
    ask_clear(&again);
    ask_clear(&two);
    pipeline_done(&p);
}

Test(sequencer, never_goes_further_ahead_than_the_limit)
{
    struct pipeline p;
    struct get_commit_version_reply reply = {0};
    struct ask ask;
    uint64_t number = 1;

    pipeline_init(&p, 1, 0, 0, bytes_none());
    report(&p, get_version(&p, 7, number).version, false, false, "");
    while (reply.version < FIRST_VERSION + VERSIONS_IN_FLIGHT_MAX) {
        reply = get_version(&p, 7, ++number);
        cr_assert_leq(reply.version, FIRST_VERSION + VERSIONS_IN_FLIGHT_MAX);
        pipeline_run(&p, 5 * SIM_SECOND_US);
    }
    ask_start(&p, &ask, ID_SEQUENCER, version_request(7, ++number));
    pipeline_run(&p, SIM_SECOND_US);
    cr_assert_not(ask.done);
    report(&p, FIRST_VERSION + VERSIONS_IN_FLIGHT_MAX, false, false, "");
    ask_wait(&ask);
    cr_assert_eq(ask.error, 0);
    ask_clear(&ask);
    pipeline_done(&p);
}

Test(sequencer, state_is_that_of_the_newest_version)
{
    struct pipeline p;
    version_t one, two;

    pipeline_init(&p, 1, 0, 0, bytes_none());
    expect_committed(&p, RECOVERY_VERSION, false, "");
    one = get_version(&p, 7, 1).version;
    report(&p, one, true, true, "one");
    expect_committed(&p, one, true, "one");
    one = get_version(&p, 7, 2).version;
    two = get_version(&p, 7, 3).version;
    report(&p, two, true, false, "two");
    report(&p, one, true, true, "late");
    expect_committed(&p, two, false, "two");
    pipeline_done(&p);
}

Test(sequencer, a_report_of_a_version_it_never_gave_is_refused)
{
    struct pipeline p;
    struct ask ask;

    pipeline_init(&p, 1, 0, 0, bytes_none());
    ask_start(&p, &ask, ID_SEQUENCER, report_of(FIRST_VERSION, false, false, ""));
    ask_wait(&ask);
    cr_assert_eq(ask.error, ERROR_CLIENT_INVALID_OPERATION);
    expect_committed(&p, RECOVERY_VERSION, false, "");
    pipeline_done(&p);
}
