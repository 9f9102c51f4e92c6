#include "tests/unit/roles/pipeline.h"

static const struct commit_reply *commit_now(struct pipeline *p, struct ask *ask, struct message *message)
{
    return ask_now(p, ask, ID_PROXY, message);
}

static int error_of(struct pipeline *p, unsigned proxy, struct message *message)
{
    struct ask ask;

    ask_start(p, &ask, ID_PROXY + proxy, message);
    ask_wait(&ask);
    ask_clear(&ask);
    return ask.error;
}

static int error_of_table(struct pipeline *p, unsigned flags, struct bytes_buffer *table)
{
    int error = error_of(p, 0, commit_of(VERSION_NONE, flags, bytes_buffer_bytes(table), NULL, "k"));

    table->len = 0;
    return error;
}

static void init(struct pipeline *p, unsigned proxies, unsigned resolvers)
{
    struct bytes_buffer metadata = two_servers();

    pipeline_init(p, 1, proxies, resolvers, bytes_buffer_bytes(&metadata));
    bytes_buffer_done(&metadata);
}

static version_t read_version(struct pipeline *p)
{
    struct ask ask;
    struct message *message;
    version_t version;

    MESSAGE_NEW(get_read_version, &message);
    version = ((const struct get_read_version_reply *)ask_now(p, &ask, ID_GRV, message))->version;
    ask_clear(&ask);
    return version;
}

/* The only mutation of a tag's stream at a version. */
static struct mutation only_mutation(const struct fake_log *log, version_t version, tag_t tag, struct bytes_buffer *space)
{
    struct mutation mutation;
    struct bytes cursor;

    *space = fake_log_of_tag(log, version, tag);
    cursor = bytes_buffer_bytes(space);
    cr_assert_eq(mutation_next(&cursor, &mutation), 0);
    cr_assert_eq(cursor.len, 0);
    return mutation;
}

Test(commit_proxy, a_commit_is_logged_and_readable_before_the_client_hears)
{
    struct pipeline p;
    struct ask ask;
    const struct commit_reply *reply;
    struct bytes_buffer space;

    init(&p, 1, 1);
    reply = commit_now(&p, &ask, commit_set("a", "1"));
    cr_assert_eq(reply->version, FIRST_VERSION);
    cr_assert_geq(read_version(&p), reply->version);
    for (int i = 0; i < LOGS; i++)
        cr_assert_geq(p.logs[i].end, reply->version);
    cr_assert(bytes_equal(only_mutation(&p.logs[1], reply->version, 1, &space).param1, BYTES_LITERAL("a")));
    bytes_buffer_done(&space);
    ask_clear(&ask);
    pipeline_done(&p);
}

Test(commit_proxy, nobody_hears_while_one_log_has_not_acknowledged)
{
    struct pipeline p;
    struct ask ask, later;

    init(&p, 1, 1);
    fake_log_hold(&p.logs[2], true);
    ask_start(&p, &ask, ID_PROXY, commit_set("a", "1"));
    ask_start(&p, &later, ID_PROXY, commit_set("b", "1"));
    pipeline_run(&p, SIM_SECOND_US);
    cr_assert_not(ask.done || later.done);
    cr_assert_eq(read_version(&p), RECOVERY_VERSION);
    fake_log_hold(&p.logs[2], false);
    ask_wait(&ask);
    ask_wait(&later);
    cr_assert(ask.error == 0 && later.error == 0);
    ask_clear(&ask);
    ask_clear(&later);
    pipeline_done(&p);
}

Test(commit_proxy, a_log_gets_the_tags_that_it_holds_and_every_version)
{
    struct pipeline p;
    struct ask ask;
    version_t version;

    init(&p, 1, 1);
    version = commit_now(&p, &ask, commit_set("a", "1"))->version; /* tag 1: logs 1 (zone b) and 0 (zone a) */
    cr_assert_eq(fake_log_push(&p.logs[0], version)->sections_count, 1);
    cr_assert_eq(fake_log_push(&p.logs[1], version)->sections_count, 1);
    cr_assert_eq(fake_log_push(&p.logs[2], version)->sections_count, 0);
    ask_clear(&ask);
    pipeline_done(&p);
}

Test(commit_proxy, a_clear_is_split_at_shard_boundaries)
{
    struct pipeline p;
    struct ask ask;
    struct bytes_buffer table = {0}, space;
    struct mutation mutation;
    version_t version;

    init(&p, 1, 1);
    put(&table, MUTATION_CLEAR_RANGE, "c", "x");
    version = commit_now(&p, &ask, commit_of(VERSION_NONE, 0, bytes_buffer_bytes(&table), NULL, "k"))->version;
    mutation = only_mutation(&p.logs[2], version, 2, &space); /* server 2 holds [m, ..) alone of the two parts */
    cr_assert(bytes_equal(mutation.param1, BYTES_LITERAL("m")) && bytes_equal(mutation.param2, BYTES_LITERAL("x")));
    bytes_buffer_done(&space);
    space = fake_log_of_tag(&p.logs[0], version, 1);
    cr_assert_eq(space.len, 2 * mutation_encoded_bytes(1, 1));
    bytes_buffer_done(&space);
    bytes_buffer_done(&table);
    ask_clear(&ask);
    pipeline_done(&p);
}

Test(commit_proxy, one_bad_transaction_fails_alone)
{
    struct pipeline p;
    struct bytes_buffer table = {0};
    struct ask good, bad;

    init(&p, 1, 1);
    fake_log_hold(&p.logs[0], true); /* so that the next ones stand in one batch */
    ask_start(&p, &good, ID_PROXY, commit_set("a", "1"));
    pipeline_run(&p, 10000);
    put(&table, MUTATION_SET, "\xff/conf/logs", "5");
    ask_start(&p, &bad, ID_PROXY, commit_of(VERSION_NONE, 0, bytes_buffer_bytes(&table), NULL, "k"));
    fake_log_hold(&p.logs[0], false);
    ask_wait(&good);
    ask_wait(&bad);
    cr_assert_eq(good.error, 0);
    cr_assert_eq(bad.error, ERROR_KEY_OUTSIDE_LEGAL_RANGE);
    bytes_buffer_done(&table);
    ask_clear(&good);
    pipeline_done(&p);
}

Test(commit_proxy, refuses_what_a_client_must_not_send)
{
    struct pipeline p;
    struct bytes_buffer table = {0};
    struct message *message;

    init(&p, 1, 1);
    put(&table, MUTATION_PRIVATE_ASSIGN, "a", "b");
    cr_assert_eq(error_of_table(&p, 0, &table), ERROR_INVALID_MUTATION_TYPE);
    put(&table, MUTATION_CLEAR_RANGE, "b", "a");
    cr_assert_eq(error_of_table(&p, 0, &table), ERROR_INVERTED_RANGE);
    put(&table, MUTATION_SET_VERSIONSTAMPED_KEY, "short", "v");
    cr_assert_eq(error_of_table(&p, 0, &table), ERROR_CLIENT_INVALID_OPERATION);
    put(&table, MUTATION_SET, "\xff/keyServers/a", "not a team");
    cr_assert_eq(error_of_table(&p, COMMIT_ACCESS_SYSTEM, &table), ERROR_CLIENT_INVALID_OPERATION);
    message = commit_set("a", "b");
    ((struct commit *)message->body)->mutations.len--;
    cr_assert_eq(error_of(&p, 0, message), ERROR_SERIALIZATION_FAILED);
    message = commit_set("a", "b");
    ((struct commit *)message->body)->read_conflicts = BYTES_LITERAL("torn");
    cr_assert_eq(error_of(&p, 0, message), ERROR_SERIALIZATION_FAILED);
    cr_assert_eq(error_of(&p, 0, commit_of(VERSION_MAX - 1, 0, bytes_none(), "a", NULL)), ERROR_VERSION_INVALID);
    cr_assert_eq(error_of(&p, 0, commit_of(VERSION_NONE, 0, bytes_none(), "a", NULL)), ERROR_VERSION_INVALID);
    cr_assert_eq(p.ended_count, 0);
    bytes_buffer_done(&table);
    pipeline_done(&p);
}

Test(commit_proxy, refuses_a_transaction_above_the_limit)
{
    struct pipeline p;
    struct bytes_buffer table = {0};
    char *value = mem_alloc(VALUE_BYTES_MAX + 1);

    init(&p, 1, 1);
    memset(value, 'v', VALUE_BYTES_MAX);
    value[VALUE_BYTES_MAX] = 0;
    for (int i = 0; i < 100; i++)
        put(&table, MUTATION_SET, "k", value);
    cr_assert_eq(error_of_table(&p, 0, &table), ERROR_TRANSACTION_TOO_LARGE);
    for (int i = 0; i < 99; i++)
        put(&table, MUTATION_SET, "k", value);
    cr_assert_eq(error_of_table(&p, 0, &table), 0);
    mem_free(value);
    bytes_buffer_done(&table);
    pipeline_done(&p);
}

/* Within the client's limit, but each clear stands twice in the push: no log could take many such in one version. */
Test(commit_proxy, refuses_clears_that_grow_too_large_when_they_are_split)
{
    enum { CLEARS = 1000000 };
    struct pipeline p;
    struct bytes_buffer table = {0};

    init(&p, 1, 1);
    for (int i = 0; i < CLEARS; i++)
        put(&table, MUTATION_CLEAR_RANGE, "c", "x");
    cr_assert_eq(error_of_table(&p, 0, &table), ERROR_TRANSACTION_TOO_LARGE);
    for (int i = 0; i < CLEARS; i++)
        put(&table, MUTATION_CLEAR_RANGE, "c", "d");
    cr_assert_eq(error_of_table(&p, 0, &table), 0);
    cr_assert_eq(p.ended_count, 0);
    bytes_buffer_done(&table);
    pipeline_done(&p);
}

Test(commit_proxy, conflicts_and_old_reads_are_refused)
{
    struct pipeline p;
    struct ask ask;
    version_t version;

    init(&p, 1, 3);
    cr_assert_eq(error_of(&p, 0, commit_set("k", "1")), 0);
    version = read_version(&p);
    commit_now(&p, &ask, commit_set("k", "2"));
    ask_clear(&ask);
    cr_assert_eq(error_of(&p, 0, commit_of(version, 0, bytes_none(), "k", "z")), ERROR_NOT_COMMITTED);
    cr_assert_eq(error_of(&p, 0, commit_of(version, 0, bytes_none(), "other", "z")), 0);
    cr_assert_eq(error_of(&p, 0, commit_of(RECOVERY_VERSION, 0, bytes_none(), "other", "z")), ERROR_TRANSACTION_TOO_OLD);
    pipeline_done(&p);
}

Test(commit_proxy, a_range_conflicts_across_resolvers)
{
    struct pipeline p;
    version_t version;
    struct bytes_buffer range = {0};
    struct message *message;

    init(&p, 1, 3);
    cr_assert_eq(error_of(&p, 0, commit_set("a", "1")), 0);
    version = read_version(&p);
    cr_assert_eq(error_of(&p, 0, commit_set("i", "1")), 0); /* the second resolver's part */
    conflict_range_append(&range, BYTES_LITERAL("a"), BYTES_LITERAL("z"));
    message = commit_of(version, 0, bytes_none(), NULL, "q");
    arena_copy(&message->arena, bytes_buffer_bytes(&range), &((struct commit *)message->body)->read_conflicts);
    cr_assert_eq(error_of(&p, 0, message), ERROR_NOT_COMMITTED);
    bytes_buffer_done(&range);
    pipeline_done(&p);
}

static void lock(struct pipeline *p, bool locked)
{
    struct bytes_buffer table = {0};

    if (locked)
        put(&table, MUTATION_SET, "\xff/dbLocked", "0123456789abcdef");
    else
        put(&table, MUTATION_CLEAR_RANGE, "\xff/dbLocked", "\xff/dbLocked!");
    cr_assert_eq(error_of_table(p, COMMIT_ACCESS_SYSTEM | COMMIT_LOCK_AWARE, &table), 0);
    bytes_buffer_done(&table);
}

Test(commit_proxy, a_locked_database_takes_only_what_is_lock_aware_through_every_proxy)
{
    struct pipeline p;
    struct bytes_buffer table = {0};
    struct ask ask;
    struct message *message;

    init(&p, 2, 2);
    lock(&p, true);
    cr_assert_eq(error_of(&p, 0, commit_set("a", "1")), ERROR_DATABASE_LOCKED);
    cr_assert_eq(error_of(&p, 1, commit_set("a", "1")), ERROR_DATABASE_LOCKED);
    put(&table, MUTATION_SET, "a", "2");
    cr_assert_eq(error_of_table(&p, COMMIT_LOCK_AWARE, &table), 0);
    MESSAGE_NEW(get_read_version, &message);
    cr_assert(((const struct get_read_version_reply *)ask_now(&p, &ask, ID_GRV, message))->locked);
    ask_clear(&ask);
    lock(&p, false);
    cr_assert_eq(error_of(&p, 1, commit_set("a", "1")), 0);
    bytes_buffer_done(&table);
    pipeline_done(&p);
}

/* Refused by its own proxy, a change of metadata must not be applied by the others either. */
Test(commit_proxy, metadata_that_the_lock_refused_is_refused_everywhere)
{
    struct pipeline p;
    struct bytes_buffer table = {0};
    struct ask ask;
    struct message *message;
    struct get_key_locations *body;

    init(&p, 2, 2);
    lock(&p, true);
    put_server(&table, 1, 9);
    put(&table, MUTATION_CLEAR_RANGE, "\xff/keyServers/m", "\xff/keyServers/n");
    cr_assert_eq(error_of_table(&p, COMMIT_ACCESS_SYSTEM, &table), ERROR_DATABASE_LOCKED);
    lock(&p, false);
    cr_assert_eq(error_of(&p, 1, commit_set("a", "1")), 0);
    body = MESSAGE_NEW(get_key_locations, &message);
    *body = (struct get_key_locations){.begin = BYTES_LITERAL("a"), .end = BYTES_LITERAL("z"), .limit = 10};
    cr_assert_eq(((const struct get_key_locations_reply *)ask_now(&p, &ask, ID_PROXY + 1, message))->locations_count, 2);
    ask_clear(&ask);
    bytes_buffer_done(&table);
    pipeline_done(&p);
}

Test(commit_proxy, proxies_learn_of_each_others_shards_before_they_tag)
{
    static const uint64_t three[] = {3};
    struct pipeline p;
    struct bytes_buffer table = {0}, space;
    struct ask ask;
    version_t version;

    init(&p, 2, 2);
    put_server(&table, 3, 5);
    put_shard(&table, "q", 1, three);
    cr_assert_eq(error_of_table(&p, COMMIT_ACCESS_SYSTEM, &table), 0);
    version = ((const struct commit_reply *)ask_now(&p, &ask, ID_PROXY + 1, commit_set("r", "1")))->version;
    cr_assert(bytes_equal(only_mutation(&p.logs[2], version, 5, &space).param1, BYTES_LITERAL("r")));
    bytes_buffer_done(&space);
    bytes_buffer_done(&table);
    ask_clear(&ask);
    pipeline_done(&p);
}

Test(commit_proxy, an_owner_hears_of_its_shard_first_and_in_its_tag_alone)
{
    static const uint64_t three[] = {3};
    struct pipeline p;
    struct bytes_buffer table = {0}, stream;
    struct bytes cursor;
    struct mutation mutation;
    struct ask ask;
    version_t version;

    init(&p, 1, 1);
    put(&table, MUTATION_SET, "r", "before");
    put_owner(&table, 3, "q", "\xff", SERVER_KEYS_OWNED_EMPTY); /* before the server itself */
    put_server(&table, 3, 5);
    put_shard(&table, "q", 1, three);
    version = commit_now(&p, &ask, commit_of(VERSION_NONE, COMMIT_ACCESS_SYSTEM, bytes_buffer_bytes(&table), NULL, "k"))->version;
    stream = fake_log_of_tag(&p.logs[2], version, 5);
    cursor = bytes_buffer_bytes(&stream);
    cr_assert_eq(mutation_next(&cursor, &mutation), 0);
    cr_assert_eq(mutation.type, MUTATION_PRIVATE_ASSIGN);
    cr_assert(bytes_equal(mutation.param1, BYTES_LITERAL("q")));
    cr_assert_eq(mutation_next(&cursor, &mutation), 0);
    cr_assert(bytes_equal(mutation.param1, BYTES_LITERAL("r")));
    bytes_buffer_done(&stream);
    stream = fake_log_of_tag(&p.logs[0], version, 1);
    for (cursor = bytes_buffer_bytes(&stream); mutation_next(&cursor, &mutation) == 0;)
        cr_assert_neq(mutation.type, MUTATION_PRIVATE_ASSIGN);
    for (int i = 0; i < LOGS; i++)
        cr_assert_gt(fake_log_push(&p.logs[i], version)->metadata.len, 0);
    bytes_buffer_done(&stream);
    bytes_buffer_done(&table);
    ask_clear(&ask);
    pipeline_done(&p);
}

Test(commit_proxy, a_versionstamp_is_the_version_and_the_place_in_the_batch)
{
    struct pipeline p;
    struct bytes_buffer table = {0}, space;
    struct ask ask;
    const struct commit_reply *reply;
    uint8_t stamp[VERSIONSTAMP_BYTES];
    struct mutation mutation;

    init(&p, 1, 1);
    mutation_append(&table, MUTATION_SET_VERSIONSTAMPED_KEY, BYTES_LITERAL("a..........\1\0\0\0"), BYTES_LITERAL("v"));
    reply = commit_now(&p, &ask, commit_of(VERSION_NONE, 0, bytes_buffer_bytes(&table), NULL, "k"));
    mutation_versionstamp(reply->version, (uint16_t)reply->batch_index, stamp);
    mutation = only_mutation(&p.logs[1], reply->version, 1, &space);
    cr_assert_eq(mutation.type, MUTATION_SET);
    cr_assert(mutation.param1.len == 11 && memcmp(mutation.param1.ptr + 1, stamp, 10) == 0);
    bytes_buffer_done(&space);
    bytes_buffer_done(&table);
    ask_clear(&ask);
    pipeline_done(&p);
}

Test(commit_proxy, metadata_version_is_the_stamp_of_its_commit_everywhere)
{
    static const uint8_t zeros[VERSIONSTAMP_BYTES + VERSIONSTAMP_OFFSET_BYTES];
    struct pipeline p;
    struct bytes_buffer table = {0};
    struct ask ask;
    struct message *message;
    const struct commit_reply *reply;
    uint8_t stamp[VERSIONSTAMP_BYTES];

    init(&p, 2, 2);
    mutation_append(&table, MUTATION_SET_VERSIONSTAMPED_VALUE, KEY_METADATA_VERSION, bytes_of(zeros, sizeof(zeros)));
    reply = commit_now(&p, &ask, commit_of(VERSION_NONE, 0, bytes_buffer_bytes(&table), NULL, NULL));
    mutation_versionstamp(reply->version, (uint16_t)reply->batch_index, stamp);
    cr_assert(bytes_equal(reply->metadata_version, bytes_of(stamp, sizeof(stamp))));
    ask_clear(&ask);
    reply = ask_now(&p, &ask, ID_PROXY + 1, commit_set("a", "1"));
    cr_assert(bytes_equal(reply->metadata_version, bytes_of(stamp, sizeof(stamp))));
    ask_clear(&ask);
    MESSAGE_NEW(get_read_version, &message);
    cr_assert(bytes_equal(((const struct get_read_version_reply *)ask_now(&p, &ask, ID_GRV, message))->metadata_version,
                          bytes_of(stamp, sizeof(stamp))));
    ask_clear(&ask);
    bytes_buffer_done(&table);
    pipeline_done(&p);
}

Test(commit_proxy, an_idle_one_tells_the_logs_what_is_committed_and_commits_empty_batches)
{
    struct pipeline p;
    struct ask ask;
    version_t version;

    init(&p, 2, 1);
    version = commit_now(&p, &ask, commit_set("a", "1"))->version;
    ask_clear(&ask);
    pipeline_run(&p, 10000);
    for (int i = 0; i < LOGS; i++)
        cr_assert(p.logs[i].bare == 1 && p.logs[i].known_committed == version);
    pipeline_run(&p, 10 * SIM_SECOND_US);
    for (int i = 0; i < LOGS; i++)
        cr_assert(p.logs[i].push_count >= 16 && p.logs[i].push_count <= 22, "%u", p.logs[i].push_count);
    pipeline_done(&p);
}

Test(commit_proxy, a_stopped_log_ends_it_and_leaves_fates_unknown)
{
    struct pipeline p;

    init(&p, 1, 1);
    cr_assert_eq(error_of(&p, 0, commit_set("a", "1")), 0);
    p.logs[1].stopped = true;
    cr_assert_eq(error_of(&p, 0, commit_set("a", "2")), ERROR_BROKEN_PROMISE);
    cr_assert(p.ended_count == 1 && p.ended_id == ID_PROXY && p.ended_error == ERROR_TLOG_STOPPED);
    cr_assert_eq(error_of(&p, 0, commit_set("a", "3")), ERROR_BROKEN_PROMISE);
    pipeline_done(&p);
}

Test(commit_proxy, memory_for_waiting_commits_is_bounded)
{
    struct pipeline p;
    struct ask asks[20];
    int refused = 0;

    init(&p, 1, 1);
    p.env->knobs.commit_queue_bytes_max = 4000;
    fake_log_hold(&p.logs[0], true);
    for (int i = 0; i < 20; i++)
        ask_start(&p, &asks[i], ID_PROXY, commit_set("a", "a value that is not very long but long enough to count"));
    pipeline_run(&p, 10000);
    fake_log_hold(&p.logs[0], false);
    for (int i = 0; i < 20; i++) {
        ask_wait(&asks[i]);
        refused += asks[i].error == ERROR_COMMIT_PROXY_MEMORY_LIMIT_EXCEEDED;
        ask_clear(&asks[i]);
    }
    cr_assert(refused > 0 && refused < 20);
    cr_assert_eq(error_of(&p, 0, commit_set("a", "1")), 0);
    pipeline_done(&p);
}

Test(commit_proxy, says_where_keys_are_in_both_directions)
{
    struct pipeline p;
    struct ask ask;
    struct message *message;
    const struct get_key_locations_reply *reply;
    struct get_key_locations *body;

    init(&p, 1, 1);
    for (int reverse = 0; reverse < 2; reverse++) {
        body = MESSAGE_NEW(get_key_locations, &message);
        *body = (struct get_key_locations){BYTES_LITERAL("a"), BYTES_LITERAL("z"), 0, reverse == 1};
        reply = ask_now(&p, &ask, ID_PROXY, message);
        cr_assert_eq(reply->locations_count, 2);
        cr_assert(bytes_equal(reply->locations[reverse].begin, bytes_none()));
        cr_assert(bytes_equal(reply->locations[reverse].end, BYTES_LITERAL("m")));
        cr_assert_eq(reply->locations[reverse].servers_count, 1);
        cr_assert_eq(reply->locations[1 - reverse].servers_count, 2);
        cr_assert(bytes_equal(reply->locations[1 - reverse].end, KEY_SYSTEM_END));
        ask_clear(&ask);
    }
    body = MESSAGE_NEW(get_key_locations, &message);
    *body = (struct get_key_locations){BYTES_LITERAL("z"), BYTES_LITERAL("a"), 0, false};
    cr_assert_eq(error_of(&p, 0, message), ERROR_INVERTED_RANGE);
    pipeline_done(&p);
}

Test(commit_proxy, can_be_destroyed_at_any_stage)
{
    for (int64_t after_us = 0; after_us < 40; after_us++) {
        struct pipeline p;
        struct ask asks[8];

        init(&p, 1, 2);
        if (after_us % 2 == 0)
            fake_log_hold(&p.logs[0], true);
        for (int i = 0; i < 8; i++)
            ask_start(&p, &asks[i], ID_PROXY, commit_set("a", "1"));
        pipeline_run(&p, after_us * 3);
        commit_proxy_destroy(p.proxy[0]);
        p.proxy[0] = NULL;
        for (int i = 0; i < 8; i++) {
            ask_wait(&asks[i]);
            cr_assert(asks[i].error == 0 || asks[i].error == ERROR_BROKEN_PROMISE);
            ask_clear(&asks[i]);
        }
        pipeline_done(&p);
    }
}

static struct message *settings_above(version_t known_version)
{
    struct message *message;
    struct get_settings *body = MESSAGE_NEW(get_settings, &message);

    body->known_version = known_version;
    return message;
}

static void set_setting(struct pipeline *p, const char *key, const char *value)
{
    struct bytes_buffer table = {0};

    put(&table, MUTATION_SET, key, value);
    cr_assert_eq(error_of_table(p, COMMIT_ACCESS_SYSTEM, &table), 0);
    bytes_buffer_done(&table);
}

/* The only pair of a table. */
static void expect_setting(struct bytes table, const char *key, const char *value)
{
    struct mutation mutation;

    cr_assert_eq(mutation_next(&table, &mutation), 0);
    cr_assert_eq(mutation.type, MUTATION_SET);
    cr_assert(bytes_equal(mutation.param1, bytes_of_string(key)));
    cr_assert(bytes_equal(mutation.param2, bytes_of_string(value)));
    cr_assert_eq(table.len, 0);
}

Test(commit_proxy, a_controller_hears_what_was_set_through_whichever_proxy)
{
    struct pipeline p;
    struct ask ask, later;
    const struct settings *told;
    version_t version;

    init(&p, 2, 2);
    told = ask_now(&p, &ask, ID_PROXY + 1, settings_above(0));
    cr_assert(told->version == RECOVERY_VERSION && told->mutations.len == 0, "what it began with is told at once");
    ask_clear(&ask);
    ask_start(&p, &ask, ID_PROXY + 1, settings_above(RECOVERY_VERSION));
    set_setting(&p, "\xff/lastEpoch", "7");
    set_setting(&p, "a", "b");
    pipeline_run(&p, 3 * SIM_SECOND_US);
    cr_assert_not(ask.done, "nothing of it was changed");
    set_setting(&p, "\xff/conf/excluded/1.2.3.4", "");
    told = ask_wait(&ask);
    expect_setting(told->mutations, "\xff/conf/excluded/1.2.3.4", "");
    version = told->version;
    ask_start(&p, &later, ID_PROXY, settings_above(version - 1));
    cr_assert_eq(((const struct settings *)ask_wait(&later))->version, version);
    ask_clear(&later);
    ask_clear(&ask);
    pipeline_done(&p);
}

Test(commit_proxy, what_is_set_is_told_only_once_it_is_known_committed)
{
    struct pipeline p;
    struct bytes_buffer table = {0};
    struct ask ask, commit;

    init(&p, 1, 1);
    ask_start(&p, &ask, ID_PROXY, settings_above(RECOVERY_VERSION));
    fake_log_hold(&p.logs[2], true);
    put(&table, MUTATION_SET, "\xff/processClass/1.2.3.4:5", "log");
    ask_start(&p, &commit, ID_PROXY, commit_of(VERSION_NONE, COMMIT_ACCESS_SYSTEM, bytes_buffer_bytes(&table), NULL, NULL));
    pipeline_run(&p, SIM_SECOND_US);
    cr_assert_not(ask.done || commit.done);
    fake_log_hold(&p.logs[2], false);
    expect_setting(((const struct settings *)ask_wait(&ask))->mutations, "\xff/processClass/1.2.3.4:5", "log");
    ask_wait(&commit);
    bytes_buffer_done(&table);
    ask_clear(&commit);
    ask_clear(&ask);
    pipeline_done(&p);
}

Test(commit_proxy, of_many_controllers_the_newest_are_kept_waiting)
{
    struct pipeline p;
    struct ask asks[9];

    init(&p, 1, 1);
    for (int i = 0; i < 9; i++) {
        ask_start(&p, &asks[i], ID_PROXY, settings_above(RECOVERY_VERSION));
        pipeline_run(&p, SIM_SECOND_US / 100);
    }
    cr_assert(asks[0].done && asks[0].error == ERROR_OPERATION_OBSOLETE);
    set_setting(&p, "\xff/conf/logs", "5");
    for (int i = 1; i < 9; i++)
        expect_setting(((const struct settings *)ask_wait(&asks[i]))->mutations, "\xff/conf/logs", "5");
    for (int i = 0; i < 9; i++)
        ask_clear(&asks[i]);
    pipeline_done(&p);
}
