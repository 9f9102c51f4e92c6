/* What a log server promises, one behaviour a test; test_log_model.c does it all at random. */
#include "tests/unit/roles/log_bench.h"
#include "txn/system_keys.h"

static struct bench bench;

static void up(void)
{
    bench_init(&bench);
    cr_assert_eq(recruit(&bench, bytes_none()), 0);
}

static void down(void)
{
    bench_done(&bench);
}

TestSuite(log, .init = up, .fini = down);

static int push(version_t version, version_t prev, tag_t tag, const char *data)
{
    return answer_of(&bench, ask(&bench, text_push(version, prev, tag, data)), NULL);
}

static void push_many(unsigned count, tag_t tag, size_t len)
{
    static uint8_t data[1 << 20];

    for (unsigned i = 0; i < count; i++) {
        version_t version = metric(&bench, "version");

        cr_assert_eq(answer_of(&bench, ask(&bench, push_message(version + 1, version, version, tag,
                                                                bytes_of(data, len), bytes_none())), NULL), 0);
    }
}

static struct lock_log_reply lock(void)
{
    struct message *reply;
    struct lock_log_reply answer;

    cr_assert_eq(answer_of(&bench, ask(&bench, lock_message(EPOCH + 1)), &reply), 0);
    answer = *MESSAGE_BODY(lock_log_reply, reply);
    message_unref(reply);
    return answer;
}

static struct message *peek(tag_t tag, version_t from)
{
    struct message *reply;

    cr_assert_eq(answer_of(&bench, ask(&bench, peek_message(tag, from, 0)), &reply), 0);
    return reply;
}

Test(log, pushes_are_served_in_version_order_whatever_order_they_come_in)
{
    struct asked *third = ask(&bench, text_push(130, 120, 1, "c")), *second = ask(&bench, text_push(120, 110, 1, "b"));
    struct message *message;
    const struct peek_reply *reply;

    fake_disk_run(bench.disk, 20, true);
    cr_assert(!third->ended && !second->ended);
    cr_assert_eq(push(110, BEGIN, 1, "a"), 0);
    cr_assert_eq(answer_of(&bench, second, NULL), 0);
    cr_assert_eq(answer_of(&bench, third, NULL), 0);
    message = peek(1, BEGIN);
    reply = MESSAGE_BODY(peek_reply, message);
    cr_assert_eq(reply->versions_count, 3);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(reply->versions[i].version, 110 + 10 * i);
        cr_assert_eq(reply->versions[i].mutations.ptr[0], 'a' + i);
    }
    cr_assert_eq(reply->through, 130);
    cr_assert_eq(reply->end, 130);
    message_unref(message);
}

Test(log, many_in_flight_share_syncs)
{
    struct asked *asked[100];
    int64_t syncs = metric(&bench, "syncs");

    for (int i = 99; i >= 0; i--)
        asked[i] = ask(&bench, text_push(BEGIN + i + 1, BEGIN + i, 1, "x"));
    for (int i = 0; i < 100; i++)
        cr_assert_eq(answer_of(&bench, asked[i], NULL), 0);
    cr_assert_leq(metric(&bench, "syncs") - syncs, 10);
    cr_assert_eq(metric(&bench, "pushes"), 100);
}

Test(log, nothing_is_acknowledged_before_its_sync)
{
    struct asked *asked = ask(&bench, text_push(110, BEGIN, 1, "a"));

    fake_disk_run(bench.disk, 20, false);
    cr_assert_not(asked->ended);
    cr_assert_eq(metric(&bench, "durable_version"), BEGIN);
    cr_assert_eq(answer_of(&bench, asked, NULL), 0);
    cr_assert_eq(metric(&bench, "durable_version"), 110);
}

Test(log, a_repeat_is_answered_like_the_first)
{
    struct asked *first = ask(&bench, text_push(110, BEGIN, 1, "a")), *again;

    fake_disk_run(bench.disk, 3, false);
    again = ask(&bench, text_push(110, BEGIN, 1, "a"));
    fake_disk_run(bench.disk, 3, false);
    cr_assert(!first->ended && !again->ended);
    cr_assert_eq(answer_of(&bench, again, NULL), 0);
    cr_assert_eq(answer_of(&bench, first, NULL), 0);
    cr_assert_eq(push(110, BEGIN, 1, "a"), 0);
    say_committed(&bench, 110);
    cr_assert_eq(push(110, BEGIN, 1, "a"), 0);
    cr_assert_eq(metric(&bench, "pushes"), 1);
    cr_assert_eq(bench.ended, 0);
}

static void expect_end(struct message *lie)
{
    struct asked *waiting = ask(&bench, text_push(900, 800, 1, "z"));

    cr_assert_eq(answer_of(&bench, ask(&bench, lie), NULL), ERROR_TLOG_FAILED);
    cr_assert_eq(bench.ended, 1);
    cr_assert_eq(bench.ended_error, ERROR_TLOG_FAILED);
    cr_assert_eq(answer_of(&bench, waiting, NULL), ERROR_TLOG_STOPPED);
    cr_assert_eq(push(130, 120, 1, "c"), ERROR_TLOG_STOPPED);
    cr_assert_eq(bench.ended, 1);
}

Test(log, other_data_at_a_known_version_ends_the_role)
{
    cr_assert_eq(push(110, BEGIN, 1, "a"), 0);
    expect_end(text_push(110, BEGIN, 1, "b"));
}

Test(log, another_tag_at_a_known_version_ends_the_role)
{
    cr_assert_eq(push(110, BEGIN, 1, "a"), 0);
    expect_end(text_push(110, BEGIN, 2, "a"));
}

Test(log, other_metadata_at_a_known_version_ends_the_role)
{
    struct bytes_buffer table = {0};

    cr_assert_eq(push(110, BEGIN, 1, "a"), 0);
    cr_assert_eq(mutation_append(&table, MUTATION_SET, bytes_of_string("k"), bytes_of_string("v")), 0);
    expect_end(push_message(110, BEGIN, 0, 1, bytes_of_string("a"), bytes_buffer_bytes(&table)));
    bytes_buffer_done(&table);
}

Test(log, a_version_inside_a_known_step_ends_the_role)
{
    cr_assert_eq(push(110, BEGIN, 1, "a"), 0);
    cr_assert_eq(push(120, 110, 1, "a"), 0);
    expect_end(text_push(115, 110, 1, "a"));
}

Test(log, a_gap_ends_the_role)
{
    cr_assert_eq(push(110, BEGIN, 1, "a"), 0);
    cr_assert_eq(push(120, 110, 1, "b"), 0);
    expect_end(text_push(130, 110, 1, "c"));
}

Test(log, malformed_pushes_are_refused_and_leave_no_trace)
{
    struct bytes bad = bytes_of_string("not a mutation table"), none = bytes_none();
    struct message *messages[] = {
        text_push(-5, -7, 1, "a"),
        text_push(110, -1, 1, "a"),
        text_push(110, 110, 1, "a"),
        text_push(110, 120, 1, "a"),
        text_push(INT64_MIN, INT64_MIN, 1, "a"),
        text_push(50, 40, 1, "a"), /* of an epoch before this log's */
        push_message(110, BEGIN, 0, 1, none, bad),
        push_message(110, BEGIN, 110, 1, none, none), /* known to be committed before it was pushed */
    };

    for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++)
        cr_assert_eq(answer_of(&bench, ask(&bench, messages[i]), NULL), ERROR_CLIENT_INVALID_OPERATION, "%zu", i);
    cr_assert_eq(bench.ended, 0);
    cr_assert_eq(metric(&bench, "version"), BEGIN);
    cr_assert_eq(push(110, BEGIN, 1, "a"), 0);
}

Test(log, more_tags_than_there_can_be_are_refused)
{
    struct message *message = text_push(110, BEGIN, 1, "a");
    tag_t *tags = mem_alloc(100000 * sizeof(*tags));

    for (tag_t i = 0; i < 100000; i++)
        tags[i] = i;
    push_add(message, tags, 100000, bytes_of_string("b"));
    cr_assert_eq(answer_of(&bench, ask(&bench, message), NULL), ERROR_CLIENT_INVALID_OPERATION);
    message = text_push(110, BEGIN, 1, "a");
    push_add(message, tags, 60000, bytes_of_string("b"));
    cr_assert_eq(answer_of(&bench, ask(&bench, message), NULL), 0);
    mem_free(tags);
}

Test(log, pushes_that_wait_for_their_turn_are_bounded)
{
    struct asked *last = NULL, *waiting[5000];

    for (int i = 0; i < 5000; i++)
        last = waiting[i] = ask(&bench, text_push(100000 + i, 50000, 1, "a"));
    cr_assert_eq(answer_of(&bench, last, NULL), ERROR_SERVER_REQUEST_QUEUE_FULL);
    for (int i = 0; i < 4999; i++)
        asked_free(waiting[i]);
}

Test(log, a_push_of_another_epoch_is_refused)
{
    struct message *message = text_push(110, BEGIN, 1, "a");

    ((struct push *)message->body)->epoch = EPOCH + 1;
    cr_assert_eq(answer_of(&bench, ask(&bench, message), NULL), ERROR_TLOG_STOPPED);
    cr_assert_eq(bench.ended, 0);
}

Test(log, a_lie_about_what_is_committed_is_cut_to_what_is_durable)
{
    cr_assert_eq(push(110, BEGIN, 1, "a"), 0);
    say_committed(&bench, 5000);
    cr_assert_eq(metric(&bench, "known_committed_version"), 110);
}

/* ---- locking ---- */

Test(log, a_lock_waits_for_the_sync_in_flight_and_its_end_covers_everything_appended)
{
    struct asked *push1 = ask(&bench, text_push(110, BEGIN, 1, "a")), *push2, *locked, *waiting;
    struct message *reply;

    fake_disk_run(bench.disk, 3, false);
    push2 = ask(&bench, text_push(120, 110, 1, "b"));
    waiting = ask(&bench, text_push(200, 150, 1, "b"));
    fake_disk_run(bench.disk, 3, false);
    locked = ask(&bench, lock_message(EPOCH + 1));
    fake_disk_run(bench.disk, 10, false);
    cr_assert_not(locked->ended);
    cr_assert_eq(answer_of(&bench, waiting, NULL), ERROR_TLOG_STOPPED);
    cr_assert_eq(answer_of(&bench, push1, NULL), ERROR_TLOG_STOPPED);
    cr_assert_eq(answer_of(&bench, push2, NULL), ERROR_TLOG_STOPPED);
    cr_assert_eq(answer_of(&bench, locked, &reply), 0);
    cr_assert_eq(MESSAGE_BODY(lock_log_reply, reply)->end, 120);
    cr_assert_eq(MESSAGE_BODY(lock_log_reply, reply)->begin, BEGIN);
    cr_assert_eq(MESSAGE_BODY(lock_log_reply, reply)->log_id, LOG_ID);
    message_unref(reply);
    cr_assert_eq(push(130, 120, 1, "c"), ERROR_TLOG_STOPPED);
    cr_assert_eq(push(110, BEGIN, 1, "a"), ERROR_TLOG_STOPPED);
    cr_assert_eq(lock().end, 120);
}

Test(log, only_a_later_epoch_locks)
{
    cr_assert_eq(answer_of(&bench, ask(&bench, lock_message(EPOCH)), NULL), ERROR_OPERATION_OBSOLETE);
    cr_assert_not(log_server_is_locked(bench.log));
    lock();
    cr_assert(log_server_is_locked(bench.log));
}

Test(log, a_locked_log_denies_that_its_epoch_is_alive)
{
    struct message *message;

    MESSAGE_NEW(confirm_epoch, &message)->epoch = EPOCH;
    cr_assert_eq(answer_of(&bench, ask(&bench, message_ref(message)), NULL), 0);
    lock();
    cr_assert_eq(answer_of(&bench, ask(&bench, message), NULL), ERROR_TLOG_STOPPED);
}

Test(log, a_failed_sync_ends_the_role_and_acknowledges_nothing)
{
    struct asked *asked = ask(&bench, text_push(110, BEGIN, 1, "a"));

    fake_disk_run(bench.disk, 3, false);
    cr_assert_not_null(bench.disk->syncs);
    bench.disk->syncs->error = ERROR_IO_ERROR;
    cr_assert_eq(answer_of(&bench, asked, NULL), ERROR_TLOG_FAILED);
    cr_assert_eq(bench.ended_error, ERROR_IO_ERROR);
    cr_assert_eq(answer_of(&bench, ask(&bench, lock_message(EPOCH + 1)), NULL), ERROR_IO_ERROR);
}

/* ---- peeking ---- */

Test(log, a_peek_sees_its_tag_alone_and_is_complete_through_versions_without_it)
{
    struct message *message = text_push(110, BEGIN, 1, "one");
    tag_t both[] = {1, 2};
    const struct peek_reply *reply;

    push_add(message, both, 2, bytes_of_string("both"));
    cr_assert_eq(answer_of(&bench, ask(&bench, message), NULL), 0);
    cr_assert_eq(push(120, 110, 2, "two"), 0);
    message = peek(1, BEGIN);
    reply = MESSAGE_BODY(peek_reply, message);
    cr_assert_eq(reply->versions_count, 1);
    cr_assert(bytes_equal(reply->versions[0].mutations, bytes_of_string("oneboth")));
    cr_assert_eq(reply->through, 120);
    message_unref(message);
    message = peek(3, BEGIN);
    cr_assert_eq(MESSAGE_BODY(peek_reply, message)->versions_count, 0);
    cr_assert_eq(MESSAGE_BODY(peek_reply, message)->through, 120);
    message_unref(message);
}

Test(log, a_peek_waits_and_is_answered_by_a_push_before_its_sync)
{
    struct asked *asked = ask(&bench, peek_message(1, BEGIN, BEGIN)), *pushed;

    fake_disk_run(bench.disk, 10, true);
    cr_assert_not(asked->ended);
    pushed = ask(&bench, text_push(110, BEGIN, 1, "a"));
    fake_disk_run(bench.disk, 5, false);
    cr_assert(asked->ended && !pushed->ended);
    cr_assert_eq(MESSAGE_BODY(peek_reply, asked->reply)->through, 110);
    cr_assert_eq(MESSAGE_BODY(peek_reply, asked->reply)->known_committed, BEGIN);
    asked_free(asked);
    asked_free(pushed);
}

Test(log, a_bare_known_committed_version_and_a_lock_answer_waiting_peeks)
{
    struct asked *asked;
    struct message *reply;

    cr_assert_eq(push(110, BEGIN, 1, "a"), 0);
    asked = ask(&bench, peek_message(1, 110, BEGIN));
    fake_disk_run(bench.disk, 5, true);
    cr_assert_not(asked->ended);
    say_committed(&bench, 110);
    cr_assert_eq(answer_of(&bench, asked, &reply), 0);
    cr_assert_eq(MESSAGE_BODY(peek_reply, reply)->known_committed, 110);
    message_unref(reply);
    asked = ask(&bench, peek_message(1, 110, 110));
    lock();
    cr_assert_eq(answer_of(&bench, asked, &reply), 0);
    cr_assert(MESSAGE_BODY(peek_reply, reply)->locked);
    message_unref(reply);
}

Test(log, a_peek_ends_after_the_version_that_reaches_its_limit)
{
    struct message *message;

    bench.disk->env.knobs.log_peek_bytes_max = 5;
    cr_assert_eq(push(110, BEGIN, 1, "aaa"), 0);
    cr_assert_eq(push(120, 110, 1, "bbb"), 0);
    cr_assert_eq(push(130, 120, 1, "ccc"), 0);
    message = peek(1, BEGIN);
    cr_assert_eq(MESSAGE_BODY(peek_reply, message)->versions_count, 2);
    cr_assert_eq(MESSAGE_BODY(peek_reply, message)->through, 120);
    cr_assert_eq(MESSAGE_BODY(peek_reply, message)->end, 130);
    message_unref(message);
}

/* Peeks on and on; every version in (from, end] once, in order. */
static unsigned read_all(tag_t tag, version_t from, unsigned *ret_peeks)
{
    unsigned versions = 0;
    struct message *message;

    for (*ret_peeks = 0; from < metric(&bench, "version"); message_unref(message), ++*ret_peeks) {
        const struct peek_reply *reply;

        message = peek(tag, from);
        reply = MESSAGE_BODY(peek_reply, message);
        cr_assert_gt(reply->through, from);
        for (uint32_t i = 0; i < reply->versions_count; i++)
            cr_assert_eq(reply->versions[i].version, from + 1 + i);
        versions += reply->versions_count;
        from = reply->through;
    }
    return versions;
}

Test(log, what_was_spilled_is_served_from_disk_a_bounded_part_a_peek_also_after_a_restart)
{
    unsigned peeks;

    bench.disk->env.knobs.log_memory_bytes_max = 10000;
    bench.disk->env.knobs.log_segment_bytes = 1 << 20;
    bench_stop(&bench);
    bench.log_id++;
    cr_assert_eq(recruit(&bench, bytes_none()), 0);
    push_many(100, 1, 50000);
    say_committed(&bench, BEGIN + 100);
    cr_assert_leq(metric(&bench, "memory_bytes"), 200000);
    cr_assert_eq(read_all(1, BEGIN, &peeks), 100);
    cr_assert_geq(peeks, 3);
    cr_assert_eq(read_all(1, BEGIN + 50, &peeks), 50);
    cr_assert_eq(restart(&bench, FAKE_KEEP_NOTHING, NULL), 0);
    cr_assert_eq(read_all(1, BEGIN, &peeks), 100);
    cr_assert_eq(read_all(1, BEGIN + 99, &peeks), 1);
}

Test(log, what_is_not_known_committed_is_not_let_go_of)
{
    bench.disk->env.knobs.log_memory_bytes_max = 1;
    for (version_t version = BEGIN; version < BEGIN + 50; version++)
        cr_assert_eq(push(version + 1, version, 1, "a"), 0);
    say_committed(&bench, BEGIN + 5);
    cr_assert_eq(push(BEGIN + 10, BEGIN + 9, 1, "a"), 0);
    expect_end(text_push(BEGIN + 10, BEGIN + 9, 1, "b"));
}

Test(log, a_peek_gets_on_where_one_skip_is_as_long_as_what_it_may_read)
{
    unsigned peeks;

    bench.disk->env.knobs.log_memory_bytes_max = 1;
    push_many(6, 1, 700000);
    say_committed(&bench, BEGIN + 6);
    for (version_t from = BEGIN; from < BEGIN + 6; from++)
        cr_assert_eq(read_all(1, from, &peeks), BEGIN + 6 - from);
}

Test(log, many_small_versions_are_found_between_checkpoints)
{
    unsigned peeks;

    bench.disk->env.knobs.log_memory_bytes_max = 5000;
    push_many(2000, 1, 5);
    say_committed(&bench, BEGIN + 1900);
    for (version_t from = BEGIN; from < BEGIN + 2000; from += 333)
        cr_assert_eq(read_all(1, from, &peeks), 2000 - (unsigned)(from - BEGIN));
}

/* ---- forgetting ---- */

Test(log, pops_let_the_queue_go_and_a_restart_keeps_end_and_metadata)
{
    struct bytes_buffer table = {0};
    struct lock_log_reply before, after;
    struct message *message, *reply;
    struct kv_map *map = kv_map_create();
    struct bytes value;

    cr_assert_eq(mutation_append(&table, MUTATION_SET, bytes_of_string("k"), bytes_of_string("v")), 0);
    cr_assert_eq(answer_of(&bench, ask(&bench, push_message(101, BEGIN, 0, 1, bytes_none(), bytes_buffer_bytes(&table))),
                           NULL), 0);
    for (int i = 0; i < 200; i++) {
        push_many(5, 1, 1000);
        say_committed(&bench, metric(&bench, "version"));
        pop(&bench, 1, metric(&bench, "version"));
    }
    fake_disk_run(bench.disk, 20, true);
    cr_assert_leq(metric(&bench, "queue_disk_used_bytes"), 400000);
    before = lock();
    cr_assert_eq(restart(&bench, FAKE_KEEP_NOTHING, NULL), 0);
    after = lock();
    cr_assert_eq(before.end, after.end);
    cr_assert_eq(before.end, 1101);
    MESSAGE_NEW(get_metadata, &message)->version = after.end;
    cr_assert_eq(answer_of(&bench, ask(&bench, message), &reply), 0);
    cr_assert_eq(kv_map_apply(map, MESSAGE_BODY(get_metadata_reply, reply)->mutations), 0);
    cr_assert(kv_map_get(map, bytes_of_string("k"), &value) && bytes_equal(value, bytes_of_string("v")));
    message_unref(reply);
    kv_map_destroy(map);
    bytes_buffer_done(&table);
}

/* Each version adds one to a counter; what is known committed lags behind by some versions. */
static void push_counting(unsigned count, unsigned lag)
{
    static const uint8_t one[8] = {1};
    static uint8_t data[1000];
    struct bytes_buffer table = {0};

    cr_assert_eq(mutation_append(&table, MUTATION_ADD, bytes_of_string("sum"), bytes_of(one, 8)), 0);
    for (unsigned i = 0; i < count; i++) {
        version_t version = metric(&bench, "version"), known = version - lag > BEGIN ? version - lag : BEGIN;

        cr_assert_eq(answer_of(&bench, ask(&bench, push_message(version + 1, version, known, 1, bytes_of(data, 1000),
                                                                bytes_buffer_bytes(&table))), NULL), 0);
        pop(&bench, 1, version + 1);
    }
    bytes_buffer_done(&table);
}

static uint64_t counted(version_t version)
{
    struct kv_map *map = kv_map_create();
    struct message *message, *reply;
    struct bytes value = bytes_none();
    uint64_t sum;

    MESSAGE_NEW(get_metadata, &message)->version = version;
    cr_assert_eq(answer_of(&bench, ask(&bench, message), &reply), 0);
    cr_assert_eq(kv_map_apply(map, MESSAGE_BODY(get_metadata_reply, reply)->mutations), 0);
    cr_assert(kv_map_get(map, bytes_of_string("sum"), &value));
    sum = get_le64(value.ptr);
    message_unref(reply);
    kv_map_destroy(map);
    return sum;
}

/* large: the snapshot gets a segment of its own, so that a queue may begin with it. */
static void expect_whole(unsigned versions, unsigned lag, bool large)
{
    struct bytes_buffer table = {0};
    static uint8_t value[20000];
    unsigned wrong = 0;

    if (large)
        cr_assert_eq(mutation_append(&table, MUTATION_SET, bytes_of_string("large"), bytes_of(value, 20000)), 0);
    bench_stop(&bench);
    bench.log_id++;
    cr_assert_eq(recruit(&bench, bytes_buffer_bytes(&table)), 0);
    push_counting(versions, lag);
    cr_assert_eq(restart(&bench, FAKE_KEEP_NOTHING, NULL), 0, "%u versions, %u behind", versions, lag);
    cr_assert_eq(lock().end, BEGIN + versions);
    for (unsigned i = 0; i <= lag && i < versions; i++)
        wrong += counted(BEGIN + versions - i) != versions - i;
    cr_assert_eq(wrong, 0, "%u versions, %u behind", versions, lag);
    bench_stop(&bench);
    fake_disk_run(bench.disk, 20, true);
    (void)log_server_remove(&bench.context, bench.log_id);
    bytes_buffer_done(&table);
}

Test(log, end_and_metadata_are_whole_wherever_a_kill_finds_snapshots_and_pops)
{
    for (unsigned versions = 1; versions < 120; versions += 3)
        for (unsigned lag = 0; lag < 30; lag += 7)
            expect_whole(versions, lag, versions % 2 == 0);
}

Test(log, versions_that_no_tag_needs_are_forgotten_without_a_pop)
{
    push_many(3000, 0, 0);
    say_committed(&bench, metric(&bench, "version"));
    cr_assert_eq(metric(&bench, "memory_bytes"), 0);
    cr_assert_eq(metric(&bench, "popped_version"), BEGIN + 3000);
}

Test(log, a_tag_that_lags_keeps_what_it_needs)
{
    struct message *message;
    unsigned peeks;

    push_many(10, 1, 10);
    push_many(10, 2, 10);
    say_committed(&bench, BEGIN + 20);
    pop(&bench, 2, BEGIN + 20);
    cr_assert_eq(metric(&bench, "popped_version"), 0 + BEGIN);
    pop(&bench, 1, BEGIN + 5);
    cr_assert_eq(metric(&bench, "popped_version"), BEGIN + 5);
    message = peek(1, BEGIN);
    cr_assert_eq(MESSAGE_BODY(peek_reply, message)->popped, BEGIN + 5);
    cr_assert_eq(MESSAGE_BODY(peek_reply, message)->versions[0].version, BEGIN + 6);
    message_unref(message);
    cr_assert_eq(read_all(1, BEGIN + 5, &peeks), 5);
}

static struct bytes removal_of(tag_t tag, struct bytes_buffer *table)
{
    uint8_t key[SYSTEM_KEY_REMOVED_TAG_BYTES];

    cr_assert_eq(mutation_append(table, MUTATION_SET, system_key_removed_tag(tag, key), BYTES_LITERAL("server 1")), 0);
    return bytes_buffer_bytes(table);
}

Test(log, the_tag_of_a_removed_server_holds_nothing_up_and_says_so)
{
    struct bytes_buffer table = {0};
    struct message *message;

    push_many(10, 1, 10);
    push_many(10, 2, 10);
    say_committed(&bench, BEGIN + 20);
    pop(&bench, 2, BEGIN + 20);
    cr_assert_eq(answer_of(&bench, ask(&bench, push_message(BEGIN + 21, BEGIN + 20, BEGIN + 20, 2, bytes_none(), removal_of(1, &table))), NULL), 0);
    cr_assert_eq(metric(&bench, "popped_version"), BEGIN, "that is not known to be committed");
    message = peek(1, BEGIN);
    cr_assert_eq(MESSAGE_BODY(peek_reply, message)->popped, 0);
    message_unref(message);
    say_committed(&bench, BEGIN + 21);
    cr_assert_eq(metric(&bench, "popped_version"), BEGIN + 21);
    message = peek(1, BEGIN);
    cr_assert_eq(MESSAGE_BODY(peek_reply, message)->popped, VERSION_MAX);
    message_unref(message);
    message = peek(3, BEGIN);
    cr_assert_eq(MESSAGE_BODY(peek_reply, message)->popped, 0, "a tag that is new here is another matter");
    message_unref(message);
    push_many(1, 2, 1); /* says that it is committed */
    cr_assert_eq(restart(&bench, FAKE_KEEP_ALL, NULL), 0);
    message = peek(1, BEGIN);
    cr_assert_eq(MESSAGE_BODY(peek_reply, message)->popped, VERSION_MAX, "a restart does not forget it");
    message_unref(message);
    bytes_buffer_done(&table);
}

static void list_server(struct bytes_buffer *table, uint64_t id, uint32_t tag)
{
    struct server_value value = {.tag = tag};
    struct bytes_buffer key = {0}, packed = {0};

    cr_assert_eq(system_key_server_list(&key, id), 0);
    cr_assert_eq(message_encode(&schema_server_value, &value, &packed), 0);
    cr_assert_eq(mutation_append(table, MUTATION_SET, bytes_buffer_bytes(&key), bytes_buffer_bytes(&packed)), 0);
    bytes_buffer_done(&key);
    bytes_buffer_done(&packed);
}

static version_t popped_of(tag_t tag)
{
    struct message *message = peek(tag, BEGIN);
    version_t popped = MESSAGE_BODY(peek_reply, message)->popped;

    message_unref(message);
    return popped;
}

Test(log, below_removed_tags_below_whoever_is_not_listed_is_removed)
{
    struct bytes_buffer table = {0};
    uint8_t below[8];

    put_be64(below, 4);
    list_server(&table, 91, 3);
    list_server(&table, 90, 1);
    cr_assert_eq(mutation_append(&table, MUTATION_SET, KEY_REMOVED_TAGS_BELOW, bytes_of(below, 8)), 0);
    cr_assert_eq(answer_of(&bench, ask(&bench, push_message(110, BEGIN, BEGIN, 1, bytes_none(), bytes_buffer_bytes(&table))), NULL), 0);
    cr_assert_eq(popped_of(2), 0, "that is not known to be committed");
    say_committed(&bench, 110);
    for (int again = 0; again < 2; again++) {
        cr_assert(popped_of(1) != VERSION_MAX && popped_of(3) != VERSION_MAX, "they are listed");
        cr_assert_eq(popped_of(2), VERSION_MAX);
        cr_assert_eq(popped_of(0), VERSION_MAX);
        cr_assert_neq(popped_of(4), VERSION_MAX, "it may be listed yet");
        if (again == 1)
            break;
        push_many(1, 1, 1); /* says that it is committed */
        cr_assert_eq(restart(&bench, FAKE_KEEP_ALL, NULL), 0);
    }
    bytes_buffer_done(&table);
}

Test(log, what_a_tag_popped_is_known_after_a_restart_that_lost_the_versions)
{
    struct message *message;

    push_many(200, 1, 1000);
    say_committed(&bench, BEGIN + 200);
    pop(&bench, 1, BEGIN + 200);
    fake_disk_run(bench.disk, 20, true);
    push_many(200, 1, 1000);
    fake_disk_run(bench.disk, 20, true);
    cr_assert_eq(restart(&bench, FAKE_KEEP_NOTHING, NULL), 0);
    message = peek(1, BEGIN);
    cr_assert_geq(MESSAGE_BODY(peek_reply, message)->popped, BEGIN + 200);
    message_unref(message);
}

/* ---- restoring and ending ---- */

Test(log, a_restored_log_is_locked_for_good)
{
    cr_assert_eq(push(110, BEGIN, 1, "a"), 0);
    cr_assert_eq(restart(&bench, FAKE_KEEP_NOTHING, NULL), 0);
    cr_assert(log_server_is_locked(bench.log));
    cr_assert_eq(push(110, BEGIN, 1, "a"), ERROR_TLOG_STOPPED);
    cr_assert_eq(push(120, 110, 1, "a"), ERROR_TLOG_STOPPED);
    cr_assert_eq(lock().end, 110);
    cr_assert_eq(log_server_epoch(bench.log), EPOCH);
}

Test(log, a_log_that_never_answered_its_recruitment_does_not_come_back)
{
    struct asked *asked;

    bench_stop(&bench);
    bench.log_id++;
    asked = ask(&bench, init_message(bench.log_id));
    fake_disk_run(bench.disk, 2, false);
    cr_assert_not_null(bench.log);
    cr_assert_neq(restart(&bench, FAKE_KEEP_NOTHING, NULL), 0);
    cr_assert_null(bench.log);
    asked_free(asked);
}

Test(log, files_of_the_same_id_are_not_taken_over)
{
    bench_stop(&bench);
    cr_assert_neq(recruit(&bench, bytes_none()), 0);
    cr_assert_null(bench.log);
    cr_assert_eq(restart(&bench, FAKE_KEEP_NOTHING, NULL), 0);
}

/* The fake disk has no names of directories to remove. */
static void remove_files(void)
{
    char path[ROLE_PATH_MAX];

    role_directory("data", ROLE_LOG, bench.log_id, path);
    cr_assert_eq(log_server_remove(&bench.context, bench.log_id), ERROR_FILE_NOT_FOUND);
    for (int i = 0; i < FAKE_FILES_MAX; i++)
        cr_assert_null(strstr(bench.disk->names[i].name, path));
}

Test(log, removing_leaves_no_file)
{
    push_many(100, 1, 1000);
    bench_stop(&bench);
    fake_disk_run(bench.disk, 20, true);
    remove_files();
}

Test(log, destroying_it_in_any_turn_answers_or_drops_everything)
{
    for (unsigned turns = 0; turns < 12; turns++) {
        struct asked *asked[6];

        bench_stop(&bench);
        fake_disk_run(bench.disk, 20, true);
        bench.log_id++;
        cr_assert_eq(recruit(&bench, bytes_none()), 0);
        asked[0] = ask(&bench, text_push(120, 110, 1, "b"));
        asked[1] = ask(&bench, text_push(110, BEGIN, 1, "a"));
        asked[2] = ask(&bench, peek_message(1, 500, BEGIN));
        asked[3] = ask(&bench, text_push(900, 800, 1, "b"));
        fake_disk_run(bench.disk, turns / 2, turns % 2 == 0);
        asked[4] = ask(&bench, lock_message(EPOCH + 1));
        asked[5] = ask(&bench, text_push(110, BEGIN, 1, "a"));
        fake_disk_run(bench.disk, turns / 2, turns % 2 == 0);
        bench_stop(&bench);
        for (int i = 0; i < 6; i++) {
            cr_assert(asked[i]->ended, "%d after %u turns", i, turns);
            asked_free(asked[i]);
        }
        fake_disk_run(bench.disk, 20, true);
        remove_files();
    }
}

Test(log, destroying_it_before_its_first_snapshot_is_durable_answers_the_recruiter)
{
    struct asked *asked;

    bench_stop(&bench);
    bench.log_id++;
    asked = ask(&bench, init_message(bench.log_id));
    fake_disk_run(bench.disk, 2, false);
    cr_assert_not_null(bench.log);
    bench_stop(&bench);
    cr_assert(asked->ended);
    cr_assert_eq(asked->error, ERROR_BROKEN_PROMISE);
    asked_free(asked);
    fake_disk_run(bench.disk, 5, true);
}
